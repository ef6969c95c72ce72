/*
 * The mechanisms this partition's package allows. The list is SoftHSM's (slots.mechanisms in softhsm2.conf, written
 * by provisioning), but SoftHSM 2.6.1 does not ask it in C_DigestInit, C_GenerateKey, C_GenerateKeyPair and
 * C_GetMechanismInfo. So it is enforced here, for every call alike.
 */
#ifndef KEYFOLD_MECHANISMS_H
#define KEYFOLD_MECHANISMS_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* Take SoftHSM's list, after its C_Initialize. NULL, or what went wrong (a phrase for report()). */
const char *mechanisms_load(void);

/* Whether the list has it. */
bool mechanisms_has(CK_MECHANISM_TYPE type);

/*
 * CKR_OK, or CKR_MECHANISM_INVALID for one that is not in the list, or CKR_MECHANISM_PARAM_INVALID where the list names
 * hashes and the one in the parameters of RSA-PSS or OAEP is not among them; CKR_SESSION_HANDLE_INVALID, … go before that
 * (PKCS#11 2.40 §5.1). A missing mechanism is SoftHSM's to refuse.
 */
CK_RV mechanisms_admit(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism);

#endif
