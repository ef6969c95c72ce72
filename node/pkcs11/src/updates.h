/* The calls that change or destroy one object, as the policy permits, with a commit; README.md. */
#ifndef KEYFOLD_UPDATES_H
#define KEYFOLD_UPDATES_H

#include <p11-kit/pkcs11.h>

/* Put them in place of SoftHSM's own. */
void updates_install(CK_FUNCTION_LIST_PTR list);

#endif
