#ifndef UNRULY_H
#define UNRULY_H

#include <p11-kit/pkcs11.h>

enum unruly_mode {
    BEHAVES,
    IGNORES_TEMPLATE, /* C_CreateObject makes a token object whatever the template says */
    MAKES_EXTRACTABLE, /* C_CreateObject makes keys extractable and not sensitive, whatever the template says */
    TELLS_NOTHING,    /* C_GetAttributeValue fails, as when another thread closed the session */
    TELLS_ONLY_TOKEN, /* it answers CKA_TOKEN, but fails for what follows */
};

#endif
