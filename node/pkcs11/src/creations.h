/* The calls that make objects, as the policy permits, with a commit of what is on the token; README.md. */
#ifndef KEYFOLD_CREATIONS_H
#define KEYFOLD_CREATIONS_H

#include <p11-kit/pkcs11.h>

/* Put them in place of SoftHSM's own. */
void creations_install(CK_FUNCTION_LIST_PTR list);

#endif
