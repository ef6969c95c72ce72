#include "mechanism.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Parameters without pointers, among those that p11-kit carries. */
static bool is_flat(CK_MECHANISM_TYPE type)
{
    switch (type) {
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA1_RSA_PKCS_PSS:
    case CKM_SHA224_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS:
    case CKM_SHA512_RSA_PKCS_PSS:
    case CKM_DES3_CBC:
    case CKM_DES3_CBC_PAD:
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
    case CKM_AES_CTR:
        return true;
    default:
        return false;
    }
}

/* A block with the parameter behind the mechanism and `extra` bytes behind that. */
static CK_MECHANISM *with_room(const CK_MECHANISM *mechanism, size_t extra)
{
    CK_MECHANISM *copy = malloc(sizeof *copy + mechanism->ulParameterLen + extra);

    if (copy == NULL)
        return NULL;
    *copy = *mechanism;
    copy->pParameter = mechanism->ulParameterLen > 0 ? copy + 1 : NULL;
    if (mechanism->ulParameterLen > 0)
        memcpy(copy->pParameter, mechanism->pParameter, mechanism->ulParameterLen);
    return copy;
}

static CK_BYTE_PTR put(CK_BYTE_PTR *end, const void *bytes, CK_ULONG length)
{
    CK_BYTE_PTR at = *end;

    if (bytes == NULL)
        return NULL;
    memcpy(at, bytes, length);
    *end += length;
    return at;
}

static CK_MECHANISM *copy_gcm(const CK_MECHANISM *mechanism)
{
    const CK_GCM_PARAMS *theirs = mechanism->pParameter;
    CK_MECHANISM *copy = with_room(mechanism, theirs->ulIvLen + theirs->ulAADLen);
    CK_GCM_PARAMS *ours = copy != NULL ? copy->pParameter : NULL;
    CK_BYTE_PTR end = (CK_BYTE_PTR)(ours + 1);

    if (copy == NULL)
        return NULL;
    ours->pIv = put(&end, theirs->pIv, theirs->ulIvLen);
    ours->pAAD = put(&end, theirs->pAAD, theirs->ulAADLen);
    return copy;
}

static CK_MECHANISM *copy_oaep(const CK_MECHANISM *mechanism)
{
    const CK_RSA_PKCS_OAEP_PARAMS *theirs = mechanism->pParameter;
    CK_MECHANISM *copy = with_room(mechanism, theirs->ulSourceDataLen);
    CK_RSA_PKCS_OAEP_PARAMS *ours = copy != NULL ? copy->pParameter : NULL;
    CK_BYTE_PTR end = (CK_BYTE_PTR)(ours + 1);

    if (copy == NULL)
        return NULL;
    ours->pSourceData = put(&end, theirs->pSourceData, theirs->ulSourceDataLen);
    return copy;
}

CK_MECHANISM *mechanism_copy(const CK_MECHANISM *mechanism)
{
    if (mechanism->pParameter == NULL || mechanism->ulParameterLen == 0 || is_flat(mechanism->mechanism))
        return with_room(mechanism, 0);
    if (mechanism->mechanism == CKM_AES_GCM && mechanism->ulParameterLen == sizeof(CK_GCM_PARAMS))
        return copy_gcm(mechanism);
    if (mechanism->mechanism == CKM_RSA_PKCS_OAEP && mechanism->ulParameterLen == sizeof(CK_RSA_PKCS_OAEP_PARAMS))
        return copy_oaep(mechanism);
    return NULL;
}
