#include "guards.h"

#include "mechanisms.h"
#include "object.h"
#include "policy.h"
#include "softhsm.h"
#include "template.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* --- calls that only need to be admitted --------------------------------------------------------------- */

/* NAME forwards to SoftHSM's FUNCTION once ADMIT said CKR_OK. */
#define FORWARD(admit, name, function, parameters, arguments) \
    static CK_RV name parameters                              \
    {                                                         \
        unsigned permitted;                                   \
        CK_RV rv = admit(&permitted);                         \
                                                              \
        return rv == CKR_OK ? softhsm->function arguments : rv; \
    }

/* Any call on a session. */
#define ANY(name, function, parameters, arguments) FORWARD(policy_admit, name, function, parameters, arguments)
/* A step of an operation that uses a key: also one that began before the policy changed. */
#define USE(name, function, parameters, arguments) FORWARD(policy_admit_use, name, function, parameters, arguments)
/* The beginning of such an operation. */
#define BEGIN(name, function)                                                                    \
    static CK_RV name(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) \
    {                                                                                            \
        unsigned permitted;                                                                      \
        CK_RV rv = policy_admit_use(&permitted);                                                 \
                                                                                                 \
        if (rv == CKR_OK)                                                                        \
            rv = mechanisms_admit(session, mechanism);                                                    \
        return rv == CKR_OK ? softhsm->function(session, mechanism, key) : rv;                     \
    }

#define BYTES_IN CK_BYTE_PTR in, CK_ULONG in_length
#define BYTES_OUT CK_BYTE_PTR out, CK_ULONG_PTR out_length

ANY(get_session_info, C_GetSessionInfo, (CK_SESSION_HANDLE s, CK_SESSION_INFO_PTR info), (s, info))
ANY(get_operation_state, C_GetOperationState, (CK_SESSION_HANDLE s, BYTES_OUT), (s, out, out_length))
ANY(set_operation_state, C_SetOperationState,
    (CK_SESSION_HANDLE s, BYTES_IN, CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key),
    (s, in, in_length, encryption_key, authentication_key))
ANY(get_object_size, C_GetObjectSize, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ULONG_PTR size),
    (s, object, size))
ANY(find_objects, C_FindObjects,
    (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE_PTR found, CK_ULONG most, CK_ULONG_PTR count), (s, found, most, count))
ANY(find_objects_final, C_FindObjectsFinal, (CK_SESSION_HANDLE s), (s))
ANY(digest, C_Digest, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
ANY(digest_update, C_DigestUpdate, (CK_SESSION_HANDLE s, BYTES_IN), (s, in, in_length))
ANY(digest_final, C_DigestFinal, (CK_SESSION_HANDLE s, BYTES_OUT), (s, out, out_length))
ANY(seed_random, C_SeedRandom, (CK_SESSION_HANDLE s, BYTES_IN), (s, in, in_length))
ANY(generate_random, C_GenerateRandom, (CK_SESSION_HANDLE s, BYTES_IN), (s, in, in_length))

BEGIN(encrypt_init, C_EncryptInit)
USE(encrypt, C_Encrypt, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
USE(encrypt_update, C_EncryptUpdate, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
USE(encrypt_final, C_EncryptFinal, (CK_SESSION_HANDLE s, BYTES_OUT), (s, out, out_length))
BEGIN(decrypt_init, C_DecryptInit)
USE(decrypt, C_Decrypt, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
USE(decrypt_update, C_DecryptUpdate, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
USE(decrypt_final, C_DecryptFinal, (CK_SESSION_HANDLE s, BYTES_OUT), (s, out, out_length))
BEGIN(sign_init, C_SignInit)
USE(sign, C_Sign, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
USE(sign_update, C_SignUpdate, (CK_SESSION_HANDLE s, BYTES_IN), (s, in, in_length))
USE(sign_final, C_SignFinal, (CK_SESSION_HANDLE s, BYTES_OUT), (s, out, out_length))
BEGIN(sign_recover_init, C_SignRecoverInit)
USE(sign_recover, C_SignRecover, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
BEGIN(verify_init, C_VerifyInit)
USE(verify, C_Verify, (CK_SESSION_HANDLE s, BYTES_IN, CK_BYTE_PTR signature, CK_ULONG length),
    (s, in, in_length, signature, length))
USE(verify_update, C_VerifyUpdate, (CK_SESSION_HANDLE s, BYTES_IN), (s, in, in_length))
USE(verify_final, C_VerifyFinal, (CK_SESSION_HANDLE s, BYTES_IN), (s, in, in_length))
BEGIN(verify_recover_init, C_VerifyRecoverInit)
USE(verify_recover, C_VerifyRecover, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT), (s, in, in_length, out, out_length))
USE(digest_encrypt_update, C_DigestEncryptUpdate, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT),
    (s, in, in_length, out, out_length))
USE(decrypt_digest_update, C_DecryptDigestUpdate, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT),
    (s, in, in_length, out, out_length))
USE(sign_encrypt_update, C_SignEncryptUpdate, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT),
    (s, in, in_length, out, out_length))
USE(decrypt_verify_update, C_DecryptVerifyUpdate, (CK_SESSION_HANDLE s, BYTES_IN, BYTES_OUT),
    (s, in, in_length, out, out_length))

static CK_RV digest_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism)
{
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    return rv == CKR_OK ? softhsm->C_DigestInit(session, mechanism) : rv;
}

/* --- slots ---------------------------------------------------------------------------------------------- */

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE_PTR session)
{
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv == CKR_DEVICE_REMOVED)
        rv = CKR_TOKEN_NOT_PRESENT;
    return rv == CKR_OK ? softhsm->C_OpenSession(slot, flags, application, notify, session) : rv;
}

static CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
    CK_RV rv = softhsm->C_GetMechanismInfo(slot, type, info);

    return rv == CKR_OK && !mechanisms_has(type) ? CKR_MECHANISM_INVALID : rv;
}

/* --- key material ----------------------------------------------------------------------------------------- */

/* Not certainly the class of an object that is public. */
static bool may_be_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE wanted = {CKA_CLASS, &class, sizeof class};

    return softhsm->C_GetAttributeValue(session, object, &wanted, 1) != CKR_OK
           || template_may_be_key(&wanted, 1);
}

static bool asks_for_key_material(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; template != NULL && i < count; i++)
        if (attribute_holds_key_material(template[i].type))
            return true;
    return false;
}

/* All but the key material, which is reported as SoftHSM reports that of a sensitive key (PKCS#11 2.40 §5.7). */
static CK_RV get_all_but_key_material(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                      CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    CK_ATTRIBUTE_PTR rest = calloc(count, sizeof *rest);
    CK_ULONG rest_count = 0, taken = 0;
    CK_RV rv;

    if (rest == NULL)
        return CKR_HOST_MEMORY;
    for (CK_ULONG i = 0; i < count; i++)
        if (!attribute_holds_key_material(template[i].type))
            rest[rest_count++] = template[i];
    /* With nothing left CKA_CLASS is asked for, so that SoftHSM judges session and handle. */
    if (rest_count == 0)
        rest[rest_count++] = (CK_ATTRIBUTE){CKA_CLASS, NULL, 0};
    rv = softhsm->C_GetAttributeValue(session, object, rest, rest_count);
    if (rv == CKR_OK || object_filled_what_it_could(rv)) {
        for (CK_ULONG i = 0; i < count; i++)
            template[i].ulValueLen = attribute_holds_key_material(template[i].type)
                                         ? CK_UNAVAILABLE_INFORMATION : rest[taken++].ulValueLen;
        if (rv == CKR_OK)
            rv = CKR_ATTRIBUTE_SENSITIVE;
    }
    free(rest);
    return rv;
}

static CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                 CK_ULONG count)
{
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv != CKR_OK)
        return rv;
    /* Where the policy permits it, SoftHSM asks CKA_SENSITIVE and CKA_EXTRACTABLE of the key itself. */
    if ((permitted & POLICY_KEY_EXPORT) == 0 && asks_for_key_material(template, count)
        && may_be_key(session, object))
        return get_all_but_key_material(session, object, template, count);
    return softhsm->C_GetAttributeValue(session, object, template, count);
}

/* SoftHSM searches by the value of sensitive keys, too: whoever may search for a guess learns whether it is right. */
static CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv == CKR_OK && (permitted & POLICY_KEY_EXPORT) == 0 && asks_for_key_material(template, count)
        && template_may_be_key(template, count))
        rv = CKR_ATTRIBUTE_TYPE_INVALID;
    return rv == CKR_OK ? softhsm->C_FindObjectsInit(session, template, count) : rv;
}

/* SoftHSM digests sensitive keys: of a key that is short enough, the digest is the key. */
static CK_RV digest_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    unsigned permitted;
    CK_RV rv = policy_admit_use(&permitted);

    if (rv == CKR_OK && (permitted & POLICY_KEY_EXPORT) == 0)
        rv = CKR_KEY_INDIGESTIBLE;
    return rv == CKR_OK ? softhsm->C_DigestKey(session, key) : rv;
}

static CK_RV wrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE wrapping_key,
                      CK_OBJECT_HANDLE key, CK_BYTE_PTR wrapped, CK_ULONG_PTR wrapped_length)
{
    unsigned permitted;
    CK_RV rv = policy_admit_use(&permitted);

    if (rv == CKR_OK && (permitted & POLICY_KEY_EXTRACT) == 0)
        rv = CKR_KEY_UNEXTRACTABLE;
    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    return rv == CKR_OK ? softhsm->C_WrapKey(session, mechanism, wrapping_key, key, wrapped, wrapped_length) : rv;
}

void guards_install(CK_FUNCTION_LIST_PTR list)
{
    list->C_OpenSession = open_session;
    list->C_GetSessionInfo = get_session_info;
    list->C_GetOperationState = get_operation_state;
    list->C_SetOperationState = set_operation_state;
    list->C_GetMechanismInfo = get_mechanism_info;
    list->C_GetObjectSize = get_object_size;
    list->C_GetAttributeValue = get_attribute_value;
    list->C_FindObjectsInit = find_objects_init;
    list->C_FindObjects = find_objects;
    list->C_FindObjectsFinal = find_objects_final;
    list->C_EncryptInit = encrypt_init;
    list->C_Encrypt = encrypt;
    list->C_EncryptUpdate = encrypt_update;
    list->C_EncryptFinal = encrypt_final;
    list->C_DecryptInit = decrypt_init;
    list->C_Decrypt = decrypt;
    list->C_DecryptUpdate = decrypt_update;
    list->C_DecryptFinal = decrypt_final;
    list->C_DigestInit = digest_init;
    list->C_Digest = digest;
    list->C_DigestUpdate = digest_update;
    list->C_DigestKey = digest_key;
    list->C_DigestFinal = digest_final;
    list->C_SignInit = sign_init;
    list->C_Sign = sign;
    list->C_SignUpdate = sign_update;
    list->C_SignFinal = sign_final;
    list->C_SignRecoverInit = sign_recover_init;
    list->C_SignRecover = sign_recover;
    list->C_VerifyInit = verify_init;
    list->C_Verify = verify;
    list->C_VerifyUpdate = verify_update;
    list->C_VerifyFinal = verify_final;
    list->C_VerifyRecoverInit = verify_recover_init;
    list->C_VerifyRecover = verify_recover;
    list->C_DigestEncryptUpdate = digest_encrypt_update;
    list->C_DecryptDigestUpdate = decrypt_digest_update;
    list->C_SignEncryptUpdate = sign_encrypt_update;
    list->C_DecryptVerifyUpdate = decrypt_verify_update;
    list->C_WrapKey = wrap_key;
    list->C_SeedRandom = seed_random;
    list->C_GenerateRandom = generate_random;
}
