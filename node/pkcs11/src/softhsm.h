/* SoftHSM's own function table: where every call ends up. */
#ifndef KEYFOLD_SOFTHSM_H
#define KEYFOLD_SOFTHSM_H

#include <p11-kit/pkcs11.h>

/* NULL until C_GetFunctionList succeeded; never changes afterwards. */
extern CK_FUNCTION_LIST_PTR softhsm;

#endif
