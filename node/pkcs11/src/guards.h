/* The calls that change nothing, as the policy and the mechanism list permit them; docs/policy.md. */
#ifndef KEYFOLD_GUARDS_H
#define KEYFOLD_GUARDS_H

#include <p11-kit/pkcs11.h>

/* Put the guarded calls in place of SoftHSM's own. */
void guards_install(CK_FUNCTION_LIST_PTR list);

#endif
