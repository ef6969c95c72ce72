#include "mechanisms.h"

#include "softhsm.h"

#include <stddef.h>
#include <string.h>

/* SoftHSM 2.6.1 has 85. */
#define MOST_MECHANISMS 256

static CK_MECHANISM_TYPE allowed[MOST_MECHANISMS];
static CK_ULONG allowed_count;
/* Whether the list names a hash at all; one that does not says nothing about those in parameters. */
static bool names_hashes;

static const CK_MECHANISM_TYPE hashes[] = {CKM_MD5, CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512};

const char *mechanisms_load(void)
{
    CK_SLOT_ID slots[64];
    CK_ULONG slot_count = sizeof slots / sizeof slots[0];
    CK_ULONG count = MOST_MECHANISMS;

    allowed_count = 0;
    /* The list is the same for every slot; SoftHSM always has one. */
    if (softhsm->C_GetSlotList(CK_FALSE, slots, &slot_count) != CKR_OK || slot_count == 0
        || softhsm->C_GetMechanismList(slots[0], allowed, &count) != CKR_OK)
        return "SoftHSM does not tell its mechanisms";
    allowed_count = count;
    names_hashes = false;
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
        names_hashes = names_hashes || mechanisms_has(hashes[i]);
    return NULL;
}

bool mechanisms_has(CK_MECHANISM_TYPE type)
{
    for (CK_ULONG i = 0; i < allowed_count; i++)
        if (allowed[i] == type)
            return true;
    return false;
}

/* RSA-PSS and OAEP; the mask's hash is the same one: SoftHSM 2.6.1 takes no other. */
static bool hash_in_parameters_is_allowed(const CK_MECHANISM *mechanism)
{
    CK_MECHANISM_TYPE hash;

    switch (mechanism->mechanism) {
    case CKM_RSA_PKCS_OAEP:
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA1_RSA_PKCS_PSS:
    case CKM_SHA224_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS:
    case CKM_SHA512_RSA_PKCS_PSS:
        break;
    default:
        return true;
    }
    /* Parameters that are none are SoftHSM's to refuse. */
    if (!names_hashes || mechanism->pParameter == NULL || mechanism->ulParameterLen < sizeof hash)
        return true;
    /* The first field of CK_RSA_PKCS_PSS_PARAMS and of CK_RSA_PKCS_OAEP_PARAMS. */
    memcpy(&hash, mechanism->pParameter, sizeof hash);
    return mechanisms_has(hash);
}

CK_RV mechanisms_admit(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism)
{
    CK_SESSION_INFO info;
    CK_RV rv, refusal = CKR_MECHANISM_INVALID;

    if (mechanism == NULL)
        return CKR_OK;
    if (mechanisms_has(mechanism->mechanism)) {
        if (hash_in_parameters_is_allowed(mechanism))
            return CKR_OK;
        refusal = CKR_MECHANISM_PARAM_INVALID;
    }
    rv = softhsm->C_GetSessionInfo(session, &info);
    return rv == CKR_OK ? refusal : rv;
}
