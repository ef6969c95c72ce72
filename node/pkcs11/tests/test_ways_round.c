/* Ways round the policy that somebody with both PINs would try, on keys made before and after it became strict. */
#include "keys.h"
#include "policy.h"
#include "tap.h"

#include <stdio.h>
#include <string.h>

#define NO_EXPORT (POLICY_KEY_EXPORT | POLICY_KEY_EXTRACT)

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, public_class = CKO_PUBLIC_KEY;
static CK_KEY_TYPE aes = CKK_AES, generic = CKK_GENERIC_SECRET;
static CK_ULONG length_32 = 32;
static CK_MECHANISM generate_aes = {CKM_AES_KEY_GEN, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};

/* The value is not given out, whoever asks. */
static bool is_closed(CK_OBJECT_HANDLE key)
{
    return read_value(&partition, key) == CKR_ATTRIBUTE_SENSITIVE;
}

/* Neither by the policy of today nor by a weaker one later. */
static bool is_closed_for_good(CK_OBJECT_HANDLE key)
{
    return flag_of(&partition, key, CKA_EXTRACTABLE) == 0 && is_closed(key);
}

/* --- keys made while export was permitted ------------------------------------------------------------------ */

static void make_rsa(CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_MECHANISM generate = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = 1024;
    CK_BYTE exponent[] = {1, 0, 1};
    CK_ATTRIBUTE public_template[] = {ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_MODULUS_BITS, bits), ATTRIBUTE(CKA_WRAP, yes),
                                      {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
    CK_ATTRIBUTE private_template[] = {ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_EXTRACTABLE, yes),
                                       ATTRIBUTE(CKA_SENSITIVE, no), ATTRIBUTE(CKA_DECRYPT, yes)};

    need(module->C_GenerateKeyPair(session, &generate, public_template, 4, private_template, 4, public_key,
                                   private_key) == CKR_OK, "an RSA pair");
}

static void no_part_of_an_old_private_key_is_read(CK_OBJECT_HANDLE private_key)
{
    static const CK_ATTRIBUTE_TYPE parts[] = {CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2,
                                              CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT};
    CK_BYTE modulus[256], secret[256];

    for (size_t i = 0; i < COUNT(parts); i++) {
        CK_ATTRIBUTE wanted[] = {{parts[i], secret, sizeof secret}, {CKA_MODULUS, modulus, sizeof modulus},
                                 {parts[i], NULL, 0}};

        memset(secret, 0, sizeof secret);
        partition_permit(&partition, EVERYTHING);
        check_number(module->C_GetAttributeValue(session, private_key, wanted, 1), CKR_OK,
                     "a part of a private key can be read when permitted");
        memset(secret, 0, sizeof secret);
        wanted[0].ulValueLen = sizeof secret;
        partition_permit(&partition, WITHOUT(NO_EXPORT));
        check_number(module->C_GetAttributeValue(session, private_key, wanted, 3), CKR_ATTRIBUTE_SENSITIVE,
                     "and no longer when not");
        check(wanted[0].ulValueLen == CK_UNAVAILABLE_INFORMATION && wanted[2].ulValueLen == CK_UNAVAILABLE_INFORMATION
                  && secret[0] == 0 && secret[1] == 0, "not even its length");
        check_number(wanted[1].ulValueLen, 128, "the modulus beside it is given");
    }
}

static void old_keys_stay_inside(CK_OBJECT_HANDLE old_key, CK_OBJECT_HANDLE old_private, CK_OBJECT_HANDLE known,
                                 CK_OBJECT_HANDLE rsa_public)
{
    static const CK_MECHANISM_TYPE ways[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_CBC, CKM_RSA_PKCS,
                                             CKM_DES3_CBC, 0};
    CK_BYTE out[2048];
    CK_ATTRIBUTE label = ATTRIBUTE_TEXT(CKA_LABEL, "copy"), in_session = ATTRIBUTE(CKA_TOKEN, no);
    CK_OBJECT_HANDLE copy = 0;

    for (size_t i = 0; i < COUNT(ways); i++) {
        CK_MECHANISM way = {ways[i], NULL, 0};
        CK_ULONG length = sizeof out;
        CK_OBJECT_HANDLE under = ways[i] == CKM_RSA_PKCS ? rsa_public : known;

        check_number(module->C_WrapKey(session, &way, under, old_key, out, &length), CKR_KEY_UNEXTRACTABLE,
                     "an old key does not leave wrapped, whatever the mechanism");
        check_number(module->C_WrapKey(session, &way, under, old_private, NULL, &length), CKR_KEY_UNEXTRACTABLE,
                     "nor is its wrapped length told");
    }
    check_number(module->C_WrapKey(session, NULL, known, old_key, NULL, NULL), CKR_KEY_UNEXTRACTABLE,
                 "nor without any mechanism");
    check_number(module->C_CopyObject(session, old_key, &label, 1, &copy), CKR_OK, "a copy of an old key");
    check(is_closed_for_good(copy), "is not extractable");
    check_number(module->C_CopyObject(session, old_key, &in_session, 1, &copy), CKR_OK, "nor is one in the session");
    check(is_closed_for_good(copy), "for good");
    module->C_Logout(session);
    check(read_value(&partition, old_key) != CKR_OK, "without a login there is nothing either");
    need(module->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1) == CKR_OK, "login");
}

/* A key anybody may see, as CKA_PRIVATE false makes it. */
static void public_sessions_read_nothing(void)
{
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_PRIVATE, no), ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_EXTRACTABLE, yes),
                               ATTRIBUTE(CKA_SENSITIVE, no), ATTRIBUTE(CKA_VALUE_LEN, length_32)};
    CK_OBJECT_HANDLE key = 0;

    partition_permit(&partition, EVERYTHING);
    need(module->C_GenerateKey(session, &generate_aes, template, 5, &key) == CKR_OK, "a key that is not private");
    module->C_Logout(session);
    check_number(read_value(&partition, key), CKR_OK, "a key that is not private is read without a login");
    partition_permit(&partition, WITHOUT(NO_EXPORT));
    check(is_closed(key), "and no longer when export is not permitted");
    need(module->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1) == CKR_OK, "login");
}

/* --- templates that say two things -------------------------------------------------------------------------- */

static void templates_cannot_say_it_twice(void)
{
    CK_BBOOL two = 2;
    CK_ULONG wide = 0;
    CK_OBJECT_HANDLE key = 0;
    CK_ATTRIBUTE length = ATTRIBUTE(CKA_VALUE_LEN, length_32);
    CK_ATTRIBUTE said[][3] = {
        {length, ATTRIBUTE(CKA_EXTRACTABLE, no), ATTRIBUTE(CKA_EXTRACTABLE, yes)},
        {length, ATTRIBUTE(CKA_EXTRACTABLE, yes), ATTRIBUTE(CKA_EXTRACTABLE, no)},
        {length, ATTRIBUTE(CKA_EXTRACTABLE, two), ATTRIBUTE(CKA_SENSITIVE, yes)},
        {length, ATTRIBUTE(CKA_EXTRACTABLE, wide), ATTRIBUTE(CKA_SENSITIVE, yes)},
        {length, {CKA_EXTRACTABLE, NULL, 1}, ATTRIBUTE(CKA_SENSITIVE, yes)},
    };

    for (size_t i = 0; i < COUNT(said); i++)
        check_number(module->C_GenerateKey(session, &generate_aes, said[i], 3, &key), CKR_ATTRIBUTE_VALUE_INVALID,
                     "a template that says CKA_EXTRACTABLE twice, or badly, is refused");
    check_number(module->C_GenerateKey(session, &generate_aes, NULL, 3, &key), CKR_ARGUMENTS_BAD,
                 "no template with a length is refused");
}

static void flags_only_become_stricter(CK_OBJECT_HANDLE closed_key)
{
    CK_ATTRIBUTE extractable = ATTRIBUTE(CKA_EXTRACTABLE, yes), not_sensitive = ATTRIBUTE(CKA_SENSITIVE, no);
    CK_ATTRIBUTE in_session = ATTRIBUTE(CKA_TOKEN, no);
    CK_OBJECT_HANDLE copy = 0;

    partition_permit(&partition, EVERYTHING);
    check_number(module->C_SetAttributeValue(session, closed_key, &extractable, 1), CKR_ATTRIBUTE_READ_ONLY,
                 "even when all is permitted CKA_EXTRACTABLE is not set back");
    check_number(module->C_SetAttributeValue(session, closed_key, &not_sensitive, 1), CKR_ATTRIBUTE_READ_ONLY,
                 "nor is CKA_SENSITIVE");
    check_number(module->C_CopyObject(session, closed_key, &extractable, 1, &copy), CKR_ATTRIBUTE_READ_ONLY,
                 "nor by a copy");
    check_number(module->C_CopyObject(session, closed_key, &not_sensitive, 1, &copy), CKR_ATTRIBUTE_READ_ONLY,
                 "of either");
    check(is_closed_for_good(closed_key), "the key is what it was");
    partition_permit(&partition, WITHOUT(NO_EXPORT));
    check_number(module->C_CopyObject(session, closed_key, &in_session, 1, &copy), CKR_OK,
                 "a key that is closed already is copied as it is: Java stores its keys so");
    check(is_closed_for_good(copy), "and its copy is closed");
}

static void an_unwrap_template_opens_nothing(void)
{
    CK_ATTRIBUTE inner[] = {ATTRIBUTE(CKA_EXTRACTABLE, yes), ATTRIBUTE(CKA_SENSITIVE, no)};
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_VALUE_LEN, length_32), ATTRIBUTE(CKA_UNWRAP, yes), ATTRIBUTE(CKA_WRAP, yes),
                               ATTRIBUTE(CKA_EXTRACTABLE, yes), {CKA_UNWRAP_TEMPLATE, inner, sizeof inner}};
    CK_ATTRIBUTE unwrapped[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes)};
    CK_MECHANISM wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_BYTE blob[64];
    CK_ULONG length = sizeof blob;
    CK_OBJECT_HANDLE wrapping = 0, key = 0;
    CK_RV rv;

    partition_permit(&partition, EVERYTHING);
    need(module->C_GenerateKey(session, &generate_aes, template, 5, &wrapping) == CKR_OK, "a key with an unwrap template");
    need(module->C_WrapKey(session, &wrap, wrapping, wrapping, blob, &length) == CKR_OK, "C_WrapKey");
    partition_permit(&partition, WITHOUT(NO_EXPORT));
    rv = module->C_UnwrapKey(session, &wrap, wrapping, blob, length, unwrapped, 2, &key);
    printf("# C_UnwrapKey returned %#lx\n", rv);
    check(rv != CKR_OK || is_closed_for_good(key), "CKA_UNWRAP_TEMPLATE of an old key makes no extractable key");
}

/* --- derivation and digests --------------------------------------------------------------------------------- */

static CK_RV derive_bytes(CK_OBJECT_HANDLE public_key, CK_OBJECT_HANDLE private_key, CK_ULONG bytes,
                          CK_ATTRIBUTE *more, CK_OBJECT_HANDLE *key)
{
    CK_BYTE point[80];
    CK_ATTRIBUTE ec_point = {CKA_EC_POINT, point, sizeof point};
    CK_ECDH1_DERIVE_PARAMS parameters = {.kdf = CKD_NULL, .pPublicData = point};
    CK_MECHANISM ecdh = {CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, generic),
                               ATTRIBUTE(CKA_SIGN, yes), ATTRIBUTE(CKA_VALUE_LEN, bytes), {0, NULL, 0}};

    need(partition.softhsm->C_GetAttributeValue(session, public_key, &ec_point, 1) == CKR_OK, "CKA_EC_POINT");
    parameters.ulPublicDataLen = ec_point.ulValueLen;
    if (more != NULL)
        template[4] = *more;
    return module->C_DeriveKey(session, &ecdh, private_key, template, more != NULL ? 5 : 4, key);
}

/* A secret cut to one byte, two bytes, … and digested or MACed could be guessed byte by byte. */
static void a_derived_secret_is_not_learnt_byte_by_byte(CK_OBJECT_HANDLE public_key, CK_OBJECT_HANDLE private_key)
{
    static const CK_MECHANISM_TYPE macs[] = {CKM_MD5_HMAC, CKM_SHA_1_HMAC, CKM_SHA256_HMAC, CKM_SHA512_HMAC};
    CK_OBJECT_HANDLE key = 0;

    need(derive_bytes(public_key, private_key, 1, NULL, &key) == CKR_OK, "a secret of one byte");
    check(is_closed_for_good(key), "a derived secret is not extractable");
    need(module->C_DigestInit(session, &sha256) == CKR_OK, "C_DigestInit");
    check_number(module->C_DigestKey(session, key), CKR_KEY_INDIGESTIBLE, "nor digested");
    partition.softhsm->C_DigestFinal(session, (CK_BYTE[32]){0}, &(CK_ULONG){32});
    for (size_t i = 0; i < COUNT(macs); i++) {
        CK_MECHANISM mac = {macs[i], NULL, 0};

        check_number(module->C_SignInit(session, &mac, key), CKR_KEY_SIZE_RANGE, "nor, as short as that, used for a MAC");
    }
}

static void encrypted_data_derives_a_closed_key(CK_OBJECT_HANDLE old_key)
{
    CK_BYTE data[32] = {0};
    CK_KEY_DERIVATION_STRING_DATA parameters = {data, sizeof data};
    CK_MECHANISM derive = {CKM_AES_ECB_ENCRYPT_DATA, &parameters, sizeof parameters};
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes),
                               ATTRIBUTE(CKA_VALUE_LEN, length_32)};
    CK_OBJECT_HANDLE key = 0;

    check_number(module->C_DeriveKey(session, &derive, old_key, template, 3, &key), CKR_OK, "CKM_AES_ECB_ENCRYPT_DATA");
    check(is_closed_for_good(key), "derives a key that is not extractable");
}

/* SoftHSM has none of the mechanisms that derive a key's own bytes; a version that had would need a look here. */
static void no_mechanism_cuts_or_joins_keys(void)
{
    static const CK_MECHANISM_TYPE cutting[] = {CKM_CONCATENATE_BASE_AND_KEY, CKM_CONCATENATE_BASE_AND_DATA,
                                                CKM_CONCATENATE_DATA_AND_BASE, CKM_XOR_BASE_AND_DATA,
                                                CKM_EXTRACT_KEY_FROM_KEY};
    CK_MECHANISM_INFO info;

    for (size_t i = 0; i < COUNT(cutting); i++)
        check_number(module->C_GetMechanismInfo(partition.slot, cutting[i], &info), CKR_MECHANISM_INVALID,
                     "SoftHSM has no mechanism that cuts or joins keys");
}

static void operation_state_is_not_given(CK_OBJECT_HANDLE old_key)
{
    CK_BYTE iv[16] = {0}, state[1024];
    CK_MECHANISM cbc = {CKM_AES_CBC, iv, sizeof iv};
    CK_ULONG length = sizeof state;

    need(module->C_EncryptInit(session, &cbc, old_key) == CKR_OK, "C_EncryptInit");
    check_number(module->C_GetOperationState(session, state, &length), CKR_FUNCTION_NOT_SUPPORTED,
                 "C_GetOperationState gives nothing");
    check_number(module->C_SetOperationState(session, state, sizeof state, old_key, old_key), CKR_FUNCTION_NOT_SUPPORTED,
                 "C_SetOperationState takes nothing");
    length = sizeof state;
    partition.softhsm->C_Encrypt(session, iv, sizeof iv, state, &length);
}

static void values_are_not_guessed_by_searching(void)
{
    CK_ATTRIBUTE class = ATTRIBUTE(CKA_CLASS, secret_class), public = ATTRIBUTE(CKA_CLASS, public_class);
    CK_ATTRIBUTE value = {CKA_VALUE, known_key, sizeof known_key}, prime = {CKA_PRIME_1, known_key, 1};
    CK_ATTRIBUTE searches[][3] = {{value, class, class}, {prime, class, class}, {value, public, class}};

    for (size_t i = 0; i < COUNT(searches); i++)
        check_number(module->C_FindObjectsInit(session, searches[i], 3), CKR_ATTRIBUTE_TYPE_INVALID,
                     "a search by key material is refused");
}

/* --- import in disguise ------------------------------------------------------------------------------------- */

static void a_known_value_comes_in_by_no_other_call(CK_OBJECT_HANDLE session_key, CK_OBJECT_HANDLE public_key,
                                                    CK_OBJECT_HANDLE private_key)
{
    CK_ATTRIBUTE value = {CKA_VALUE, known_key, sizeof known_key};
    CK_ATTRIBUTE generated[] = {ATTRIBUTE(CKA_VALUE_LEN, length_32), value};
    CK_ATTRIBUTE twice[] = {ATTRIBUTE(CKA_CLASS, public_class), ATTRIBUTE(CKA_CLASS, secret_class),
                            ATTRIBUTE(CKA_KEY_TYPE, aes), value};
    CK_ATTRIBUTE thrice[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_CLASS, public_class),
                             ATTRIBUTE(CKA_KEY_TYPE, aes), value};
    CK_OBJECT_HANDLE key = 0;

    partition_permit(&partition, WITHOUT(POLICY_KEY_IMPORT));
    check_number(module->C_GenerateKey(session, &generate_aes, generated, 2, &key), CKR_ATTRIBUTE_READ_ONLY,
                 "C_GenerateKey takes no value");
    check_number(module->C_SetAttributeValue(session, session_key, &value, 1), CKR_ATTRIBUTE_READ_ONLY,
                 "C_SetAttributeValue sets none");
    check_number(module->C_CopyObject(session, session_key, &value, 1, &key), CKR_ATTRIBUTE_READ_ONLY,
                 "C_CopyObject changes none");
    check_number(derive_bytes(public_key, private_key, 32, &value, &key), CKR_ATTRIBUTE_READ_ONLY,
                 "C_DeriveKey takes none");
    check_number(module->C_CreateObject(session, twice, 4, &key), CKR_ATTRIBUTE_VALUE_INVALID,
                 "an object of two classes is taken for a key");
    check_number(module->C_CreateObject(session, thrice, 4, &key), CKR_ATTRIBUTE_VALUE_INVALID, "in either order");
    check_number(module->C_CreateObject(session, thrice + 2, 2, &key), CKR_ATTRIBUTE_VALUE_INVALID,
                 "so is one that does not say its class");
    partition_permit(&partition, WITHOUT(NO_EXPORT));
}

/* --- the other keys of the policy --------------------------------------------------------------------------- */

static void half_a_pair_is_judged_like_a_whole(void)
{
    CK_OBJECT_HANDLE public_key = 0, private_key = 0;
    size_t before = partition_object_files(&partition);

    partition_permit(&partition, WITHOUT(POLICY_WRITE));
    check_number(make_p256(module, session, true, false, "half", &public_key, &private_key), CKR_TOKEN_WRITE_PROTECTED,
                 "a pair with one half on a read-only token is refused");
    check_number(make_p256(module, session, false, true, "half", &public_key, &private_key), CKR_TOKEN_WRITE_PROTECTED,
                 "or the other");
    partition_permit(&partition, WITHOUT(POLICY_SESSION_OBJECTS));
    check_number(make_p256(module, session, true, false, "half", &public_key, &private_key),
                 CKR_ATTRIBUTE_VALUE_INVALID, "a pair with one half in the session is refused without session_objects");
    check_number(make_p256(module, session, false, true, "half", &public_key, &private_key),
                 CKR_ATTRIBUTE_VALUE_INVALID, "or the other");
    check_number(module->C_GenerateKey(session, &generate_aes, &(CK_ATTRIBUTE)ATTRIBUTE(CKA_VALUE_LEN, length_32), 1,
                                       &private_key), CKR_ATTRIBUTE_VALUE_INVALID,
                 "so is a key that does not say where it is to be");
    check_number(count_labelled(&partition, "half"), 0, "nothing was made");
    check_number(partition_object_files(&partition), before, "on the token either");
    partition_permit(&partition, EVERYTHING);
}

static void objects_leave_the_token_by_no_other_call(CK_OBJECT_HANDLE token_object)
{
    CK_ATTRIBUTE in_session = ATTRIBUTE(CKA_TOKEN, no);
    CK_UTF8CHAR label[32] = "x";
    size_t before = partition_object_files(&partition);

    partition_permit(&partition, WITHOUT(POLICY_DESTROY_OBJECTS));
    check_number(module->C_SetAttributeValue(session, token_object, &in_session, 1), CKR_ATTRIBUTE_READ_ONLY,
                 "without destroy_objects a token object is not made a session object");
    check_number(module->C_InitToken(partition.slot, (CK_UTF8CHAR_PTR)SO_PIN, sizeof SO_PIN - 1, label),
                 CKR_FUNCTION_NOT_SUPPORTED, "nor wiped with the token");
    check_number(partition_object_files(&partition), before, "all are there");
    partition_permit(&partition, EVERYTHING);
}

static void domain_parameters_are_no_keys(void)
{
    CK_MECHANISM generate = {CKM_DSA_PARAMETER_GEN, NULL, 0};
    CK_ULONG bits = 512;
    CK_ATTRIBUTE template = ATTRIBUTE(CKA_PRIME_BITS, bits);
    CK_OBJECT_HANDLE parameters = 0;

    partition_permit(&partition, WITHOUT(NO_EXPORT));
    check_number(module->C_GenerateKey(session, &generate, &template, 1, &parameters), CKR_OK,
                 "domain parameters are generated under the strictest policy");
}

/* Every call on a session, with arguments that do not matter. */
static void a_live_connection_gets_nothing_more(void)
{
    CK_BYTE b[64] = {0};
    CK_ULONG n = sizeof b;
    CK_OBJECT_HANDLE h = 0, h2 = 0;
    CK_SESSION_INFO info;
    CK_MECHANISM m = {CKM_AES_ECB, NULL, 0};
    CK_ATTRIBUTE a = ATTRIBUTE(CKA_TOKEN, yes);
    CK_FUNCTION_LIST_PTR f = module;
    CK_SESSION_HANDLE s = session;

    partition_permit(&partition, WITHOUT(POLICY_CLIENT_API_ACCESS));
#define REMOVED(call) check_number(f->call, CKR_DEVICE_REMOVED, "without client_api_access: " #call)
    REMOVED(C_GetSessionInfo(s, &info));
    REMOVED(C_GetOperationState(s, b, &n));
    REMOVED(C_SetOperationState(s, b, n, h, h));
    REMOVED(C_Login(s, CKU_USER, b, n));
    REMOVED(C_InitPIN(s, b, n));
    REMOVED(C_SetPIN(s, b, n, b, n));
    REMOVED(C_CreateObject(s, &a, 1, &h));
    REMOVED(C_CopyObject(s, h, &a, 1, &h));
    REMOVED(C_DestroyObject(s, h));
    REMOVED(C_GetObjectSize(s, h, &n));
    REMOVED(C_GetAttributeValue(s, h, &a, 1));
    REMOVED(C_SetAttributeValue(s, h, &a, 1));
    REMOVED(C_FindObjectsInit(s, &a, 1));
    REMOVED(C_FindObjects(s, &h, 1, &n));
    REMOVED(C_FindObjectsFinal(s));
    REMOVED(C_EncryptInit(s, &m, h));
    REMOVED(C_Encrypt(s, b, n, b, &n));
    REMOVED(C_EncryptUpdate(s, b, n, b, &n));
    REMOVED(C_EncryptFinal(s, b, &n));
    REMOVED(C_DecryptInit(s, &m, h));
    REMOVED(C_Decrypt(s, b, n, b, &n));
    REMOVED(C_DecryptUpdate(s, b, n, b, &n));
    REMOVED(C_DecryptFinal(s, b, &n));
    REMOVED(C_DigestInit(s, &m));
    REMOVED(C_Digest(s, b, n, b, &n));
    REMOVED(C_DigestUpdate(s, b, n));
    REMOVED(C_DigestKey(s, h));
    REMOVED(C_DigestFinal(s, b, &n));
    REMOVED(C_SignInit(s, &m, h));
    REMOVED(C_Sign(s, b, n, b, &n));
    REMOVED(C_SignUpdate(s, b, n));
    REMOVED(C_SignFinal(s, b, &n));
    REMOVED(C_SignRecoverInit(s, &m, h));
    REMOVED(C_SignRecover(s, b, n, b, &n));
    REMOVED(C_VerifyInit(s, &m, h));
    REMOVED(C_Verify(s, b, n, b, n));
    REMOVED(C_VerifyUpdate(s, b, n));
    REMOVED(C_VerifyFinal(s, b, n));
    REMOVED(C_VerifyRecoverInit(s, &m, h));
    REMOVED(C_VerifyRecover(s, b, n, b, &n));
    REMOVED(C_DigestEncryptUpdate(s, b, n, b, &n));
    REMOVED(C_DecryptDigestUpdate(s, b, n, b, &n));
    REMOVED(C_SignEncryptUpdate(s, b, n, b, &n));
    REMOVED(C_DecryptVerifyUpdate(s, b, n, b, &n));
    REMOVED(C_GenerateKey(s, &m, &a, 1, &h));
    REMOVED(C_GenerateKeyPair(s, &m, &a, 1, &a, 1, &h, &h2));
    REMOVED(C_WrapKey(s, &m, h, h, b, &n));
    REMOVED(C_UnwrapKey(s, &m, h, b, n, &a, 1, &h));
    REMOVED(C_DeriveKey(s, &m, h, &a, 1, &h));
    REMOVED(C_SeedRandom(s, b, n));
    REMOVED(C_GenerateRandom(s, b, n));
    partition_permit(&partition, WITHOUT(POLICY_USE_OBJECTS));
#define NO_USE(call) check_number(f->call, CKR_KEY_FUNCTION_NOT_PERMITTED, "without use_objects: " #call)
    NO_USE(C_EncryptInit(s, &m, h));
    NO_USE(C_Encrypt(s, b, n, b, &n));
    NO_USE(C_EncryptUpdate(s, b, n, b, &n));
    NO_USE(C_EncryptFinal(s, b, &n));
    NO_USE(C_DecryptInit(s, &m, h));
    NO_USE(C_Decrypt(s, b, n, b, &n));
    NO_USE(C_DecryptUpdate(s, b, n, b, &n));
    NO_USE(C_DecryptFinal(s, b, &n));
    NO_USE(C_DigestKey(s, h));
    NO_USE(C_SignInit(s, &m, h));
    NO_USE(C_Sign(s, b, n, b, &n));
    NO_USE(C_SignUpdate(s, b, n));
    NO_USE(C_SignFinal(s, b, &n));
    NO_USE(C_SignRecoverInit(s, &m, h));
    NO_USE(C_SignRecover(s, b, n, b, &n));
    NO_USE(C_VerifyInit(s, &m, h));
    NO_USE(C_Verify(s, b, n, b, n));
    NO_USE(C_VerifyUpdate(s, b, n));
    NO_USE(C_VerifyFinal(s, b, n));
    NO_USE(C_VerifyRecoverInit(s, &m, h));
    NO_USE(C_VerifyRecover(s, b, n, b, &n));
    NO_USE(C_DigestEncryptUpdate(s, b, n, b, &n));
    NO_USE(C_DecryptDigestUpdate(s, b, n, b, &n));
    NO_USE(C_SignEncryptUpdate(s, b, n, b, &n));
    NO_USE(C_DecryptVerifyUpdate(s, b, n, b, &n));
    NO_USE(C_WrapKey(s, &m, h, h, b, &n));
    NO_USE(C_UnwrapKey(s, &m, h, b, n, &a, 1, &h));
    NO_USE(C_DeriveKey(s, &m, h, &a, 1, &h));
    partition_permit(&partition, EVERYTHING);
    check_number(module->C_GetSessionInfo(s, &info), CKR_OK, "once permitted again the same session goes on");
    check_number(info.state, CKS_RW_USER_FUNCTIONS, "still logged in");
}

int main(void)
{
    CK_OBJECT_HANDLE old_key = 0, known = 0, old_private = 0, rsa_public = 0, rsa_private = 0, ec_public = 0,
                     ec_private = 0, closed = 0, in_session = 0, data = 0;

    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    public_sessions_read_nothing(); /* it logs out, which ends all handles */
    partition_permit(&partition, EVERYTHING);
    make_rsa(&rsa_public, &rsa_private);
    no_part_of_an_old_private_key_is_read(rsa_private);
    partition_permit(&partition, EVERYTHING);
    need(make_key(&partition, CK_TRUE, CK_TRUE, CK_FALSE, &old_key) == CKR_OK
             && import_key(&partition, CK_TRUE, CK_TRUE, CK_FALSE, &known) == CKR_OK
             && make_key(&partition, CK_FALSE, CK_TRUE, CK_FALSE, &in_session) == CKR_OK
             && make_key(&partition, CK_TRUE, CK_FALSE, CK_TRUE, &closed) == CKR_OK
             && import_private_key(&partition, &old_private) == CKR_OK
             && make_p256(module, session, true, true, "pair", &ec_public, &ec_private) == CKR_OK
             && make_data(&partition, CK_TRUE, &data) == CKR_OK, "objects");
    partition_permit(&partition, WITHOUT(NO_EXPORT));
    templates_cannot_say_it_twice();
    flags_only_become_stricter(closed);
    an_unwrap_template_opens_nothing();
    a_derived_secret_is_not_learnt_byte_by_byte(ec_public, ec_private);
    encrypted_data_derives_a_closed_key(old_key);
    no_mechanism_cuts_or_joins_keys();
    operation_state_is_not_given(old_key);
    values_are_not_guessed_by_searching();
    a_known_value_comes_in_by_no_other_call(in_session, ec_public, ec_private);
    half_a_pair_is_judged_like_a_whole();
    objects_leave_the_token_by_no_other_call(data);
    partition_permit(&partition, WITHOUT(NO_EXPORT));
    old_keys_stay_inside(old_key, old_private, known, rsa_public); /* the last: it logs out */
    domain_parameters_are_no_keys();
    a_live_connection_gets_nothing_more();
    partition_close(&partition);
    return finish_tap();
}
