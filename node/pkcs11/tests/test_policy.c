/*
 * Every row of the table in docs/policy.md: what is forbidden returns the row's code, and is done when permitted.
 * node/tests/unit/partition/test_policy_table.py compares the rows here with the table there.
 */
#include "keys.h"
#include "policy.h"
#include "tap.h"

#include <stdio.h>
#include <string.h>

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

/* Made while everything was permitted. */
static CK_OBJECT_HANDLE old_key, old_public, old_private, old_data, session_key;
static CK_BYTE wrapped[64];
static CK_ULONG wrapped_length = sizeof wrapped;

static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE aes = CKK_AES, generic = CKK_GENERIC_SECRET;
static CK_ULONG value_length = 32;
static CK_BYTE iv[16], block[16], result[512];
static CK_ULONG result_length;
static CK_MECHANISM aes_cbc = {CKM_AES_CBC, iv, sizeof iv}, ecdsa = {CKM_ECDSA, NULL, 0};
static CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0}, sha256 = {CKM_SHA256, NULL, 0};
static CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0};

/* --- attempts: CKR_OK when permitted, and nothing is left behind -------------------------------------------- */

static CK_RV gone_again(CK_RV rv, CK_OBJECT_HANDLE object)
{
    if (rv == CKR_OK)
        destroy_quietly(&partition, object);
    return rv;
}

static CK_RV create_secret_key(void)
{
    CK_OBJECT_HANDLE key = 0;

    return gone_again(import_key(&partition, CK_TRUE, CK_FALSE, CK_TRUE, &key), key);
}

static CK_RV create_private_key(void)
{
    CK_OBJECT_HANDLE key = 0;

    return gone_again(import_private_key(&partition, &key), key);
}

static CK_RV create_extractable(void)
{
    CK_OBJECT_HANDLE key = 0;

    return gone_again(import_key(&partition, CK_TRUE, CK_TRUE, CK_TRUE, &key), key);
}

static CK_RV create_readable(void)
{
    CK_OBJECT_HANDLE key = 0;

    return gone_again(import_key(&partition, CK_TRUE, CK_TRUE, CK_FALSE, &key), key);
}

static CK_RV create_data_on(CK_BBOOL token)
{
    CK_OBJECT_HANDLE object = 0;

    return gone_again(make_data(&partition, token, &object), object);
}

static CK_RV create_token_data(void)
{
    return create_data_on(CK_TRUE);
}

static CK_RV create_session_data(void)
{
    return create_data_on(CK_FALSE);
}

static CK_RV generate(CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive)
{
    CK_OBJECT_HANDLE key = 0;

    return gone_again(make_key(&partition, token, extractable, sensitive, &key), key);
}

static CK_RV generate_token_key(void)
{
    return generate(CK_TRUE, CK_FALSE, CK_TRUE);
}

static CK_RV generate_session_key(void)
{
    return generate(CK_FALSE, CK_FALSE, CK_TRUE);
}

static CK_RV generate_extractable(void)
{
    return generate(CK_TRUE, CK_TRUE, CK_TRUE);
}

static CK_RV generate_readable(void)
{
    return generate(CK_FALSE, CK_TRUE, CK_FALSE);
}

static CK_RV generate_pair(CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public_template[] = {ATTRIBUTE(CKA_TOKEN, token), {CKA_EC_PARAMS, p256, sizeof p256}};
    CK_ATTRIBUTE private_template[] = {ATTRIBUTE(CKA_TOKEN, token), ATTRIBUTE(CKA_EXTRACTABLE, extractable),
                                       ATTRIBUTE(CKA_SENSITIVE, sensitive)};
    CK_OBJECT_HANDLE public_key = 0, private_key = 0;
    CK_RV rv = module->C_GenerateKeyPair(session, &mechanism, public_template, 2, private_template, 3, &public_key,
                                         &private_key);

    return gone_again(gone_again(rv, public_key), private_key);
}

static CK_RV generate_token_pair(void)
{
    return generate_pair(CK_TRUE, CK_FALSE, CK_TRUE);
}

static CK_RV generate_session_pair(void)
{
    return generate_pair(CK_FALSE, CK_FALSE, CK_TRUE);
}

static CK_RV generate_extractable_pair(void)
{
    return generate_pair(CK_TRUE, CK_TRUE, CK_TRUE);
}

static CK_RV generate_readable_pair(void)
{
    return generate_pair(CK_TRUE, CK_TRUE, CK_FALSE);
}

static CK_RV unwrap(CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive)
{
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes),
                               ATTRIBUTE(CKA_TOKEN, token), ATTRIBUTE(CKA_EXTRACTABLE, extractable),
                               ATTRIBUTE(CKA_SENSITIVE, sensitive)};
    CK_OBJECT_HANDLE key = 0;

    return gone_again(module->C_UnwrapKey(session, &key_wrap, old_key, wrapped, wrapped_length, template, 5, &key),
                      key);
}

static CK_RV unwrap_token_key(void)
{
    return unwrap(CK_TRUE, CK_FALSE, CK_TRUE);
}

static CK_RV unwrap_session_key(void)
{
    return unwrap(CK_FALSE, CK_FALSE, CK_TRUE);
}

static CK_RV unwrap_extractable(void)
{
    return unwrap(CK_FALSE, CK_TRUE, CK_TRUE);
}

static CK_RV unwrap_readable(void)
{
    return unwrap(CK_FALSE, CK_TRUE, CK_FALSE);
}

static CK_RV derive(CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive)
{
    CK_BYTE point[80];
    CK_ATTRIBUTE ec_point = {CKA_EC_POINT, point, sizeof point};
    CK_ECDH1_DERIVE_PARAMS parameters = {.kdf = CKD_NULL};
    CK_MECHANISM ecdh = {CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class),  ATTRIBUTE(CKA_KEY_TYPE, generic),
                               ATTRIBUTE(CKA_TOKEN, token),         ATTRIBUTE(CKA_EXTRACTABLE, extractable),
                               ATTRIBUTE(CKA_SENSITIVE, sensitive), ATTRIBUTE(CKA_VALUE_LEN, value_length)};
    CK_OBJECT_HANDLE key = 0;

    need(partition.softhsm->C_GetAttributeValue(session, old_public, &ec_point, 1) == CKR_OK, "CKA_EC_POINT");
    parameters.pPublicData = point;
    parameters.ulPublicDataLen = ec_point.ulValueLen;
    return gone_again(module->C_DeriveKey(session, &ecdh, old_private, template, 6, &key), key);
}

static CK_RV derive_token_key(void)
{
    return derive(CK_TRUE, CK_FALSE, CK_TRUE);
}

static CK_RV derive_session_key(void)
{
    return derive(CK_FALSE, CK_FALSE, CK_TRUE);
}

static CK_RV derive_extractable(void)
{
    return derive(CK_FALSE, CK_TRUE, CK_TRUE);
}

static CK_RV derive_readable(void)
{
    return derive(CK_FALSE, CK_TRUE, CK_FALSE);
}

static CK_RV copy(CK_OBJECT_HANDLE source, CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive)
{
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_TOKEN, token), ATTRIBUTE(CKA_EXTRACTABLE, extractable),
                               ATTRIBUTE(CKA_SENSITIVE, sensitive)};
    CK_OBJECT_HANDLE made = 0;

    return gone_again(module->C_CopyObject(session, source, template, 3, &made), made);
}

static CK_RV copy_to_token(void)
{
    return copy(old_key, CK_TRUE, CK_FALSE, CK_TRUE);
}

static CK_RV copy_to_session(void)
{
    return copy(old_key, CK_FALSE, CK_FALSE, CK_TRUE);
}

static CK_RV copy_extractable(void)
{
    return copy(old_key, CK_TRUE, CK_TRUE, CK_TRUE);
}

static CK_RV copy_readable(void)
{
    return copy(old_key, CK_TRUE, CK_TRUE, CK_FALSE);
}

static CK_RV read_key_value(void)
{
    return read_value(&partition, old_key);
}

static CK_RV search_by_value(void)
{
    CK_ATTRIBUTE template[] = {{CKA_VALUE, known_key, sizeof known_key}};
    CK_RV rv = module->C_FindObjectsInit(session, template, 1);

    partition.softhsm->C_FindObjectsFinal(session);
    return rv;
}

static CK_RV digest_old_key(void)
{
    CK_RV rv;

    need(module->C_DigestInit(session, &sha256) == CKR_OK, "C_DigestInit");
    rv = module->C_DigestKey(session, old_key);
    result_length = sizeof result;
    partition.softhsm->C_DigestFinal(session, result, &result_length);
    return rv;
}

static CK_RV wrap_old_key(void)
{
    result_length = sizeof result;
    return module->C_WrapKey(session, &key_wrap, old_key, old_key, result, &result_length);
}

static CK_RV rename_token_object(void)
{
    CK_ATTRIBUTE label = ATTRIBUTE_TEXT(CKA_LABEL, "renamed");

    return module->C_SetAttributeValue(session, old_data, &label, 1);
}

static CK_RV destroy_token_object(void)
{
    CK_OBJECT_HANDLE object;
    CK_OBJECT_CLASS data = CKO_DATA;
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, data), ATTRIBUTE(CKA_TOKEN, yes)};
    CK_RV rv;

    need(partition.softhsm->C_CreateObject(session, template, 2, &object) == CKR_OK, "an object to destroy");
    rv = module->C_DestroyObject(session, object);
    if (rv != CKR_OK)
        destroy_quietly(&partition, object);
    return rv;
}

static CK_RV change_pin(void)
{
    return module->C_SetPIN(session, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1, (CK_UTF8CHAR_PTR)USER_PIN,
                            sizeof USER_PIN - 1);
}

/* A logout ends all handles of private objects; every_row_is_kept makes new ones. */
static bool handles_are_gone;

static void log_in(CK_USER_TYPE user, const char *pin)
{
    handles_are_gone = true;
    partition.softhsm->C_Logout(session);
    need(partition.softhsm->C_Login(session, user, (CK_UTF8CHAR_PTR)(size_t)pin, strlen(pin)) == CKR_OK, "login");
}

static CK_RV init_pin_as_so(void)
{
    CK_RV rv;

    log_in(CKU_SO, SO_PIN);
    rv = module->C_InitPIN(session, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1);
    log_in(CKU_USER, USER_PIN);
    return rv;
}

static CK_RV encrypt(void)
{
    CK_RV rv = module->C_EncryptInit(session, &aes_cbc, old_key);

    result_length = sizeof result;
    return rv == CKR_OK ? module->C_Encrypt(session, block, sizeof block, result, &result_length) : rv;
}

static CK_RV decrypt(void)
{
    CK_RV rv = module->C_DecryptInit(session, &aes_cbc, old_key);

    result_length = sizeof result;
    return rv == CKR_OK ? module->C_Decrypt(session, block, sizeof block, result, &result_length) : rv;
}

static CK_RV sign(void)
{
    CK_RV rv = module->C_SignInit(session, &ecdsa, old_private);

    result_length = sizeof result;
    return rv == CKR_OK ? module->C_Sign(session, known_key, sizeof known_key, result, &result_length) : rv;
}

static CK_RV verify(void)
{
    CK_RV rv = module->C_VerifyInit(session, &cmac, old_key);

    if (rv != CKR_OK)
        return rv;
    rv = module->C_Verify(session, block, sizeof block, iv, sizeof iv); /* not the MAC */
    return rv == CKR_SIGNATURE_INVALID ? CKR_OK : rv;
}

static CK_RV open_session(void)
{
    CK_SESSION_HANDLE other;
    CK_RV rv = module->C_OpenSession(partition.slot, CKF_SERIAL_SESSION, NULL, NULL, &other);

    if (rv == CKR_OK)
        module->C_CloseSession(other);
    return rv;
}

static CK_RV log_in_through_module(void)
{
    CK_RV rv;

    partition.softhsm->C_Logout(session);
    rv = module->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1);
    log_in(CKU_USER, USER_PIN);
    return rv;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

struct row {
    const char *key;    /* as the inventory says it */
    unsigned forbidden; /* what is not permitted then */
    const char *what;
    const char *call;
    CK_RV code;
    const char *code_name;
    CK_RV (*attempt)(void);
};

#define ROW(key, forbidden, what, call, code, attempt) {key, forbidden, what, #call, code, #code, attempt},

#define NO_IMPORT POLICY_KEY_IMPORT
#define NO_EXPORT POLICY_KEY_EXPORT
#define NO_EXTRACT (POLICY_KEY_EXPORT | POLICY_KEY_EXTRACT)

static const struct row rows[] = {
    ROW("key_import: false", NO_IMPORT, "a secret key", C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID, create_secret_key)
    ROW("key_import: false", NO_IMPORT, "a private key", C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID,
        create_private_key)
    ROW("key_import: false", NO_IMPORT, "any key", C_UnwrapKey, CKR_KEY_FUNCTION_NOT_PERMITTED, unwrap_token_key)

    ROW("key_export: false", NO_EXPORT, "key material", C_GetAttributeValue, CKR_ATTRIBUTE_SENSITIVE, read_key_value)
    ROW("key_export: false", NO_EXPORT, "by key material", C_FindObjectsInit, CKR_ATTRIBUTE_TYPE_INVALID,
        search_by_value)
    ROW("key_export: false", NO_EXPORT, "any key", C_DigestKey, CKR_KEY_INDIGESTIBLE, digest_old_key)
    ROW("key_export: false", NO_EXPORT, "extractable and not sensitive", C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID,
        create_readable)
    ROW("key_export: false", NO_EXPORT, "extractable and not sensitive", C_CopyObject, CKR_ATTRIBUTE_VALUE_INVALID,
        copy_readable)
    ROW("key_export: false", NO_EXPORT, "extractable and not sensitive", C_GenerateKey, CKR_ATTRIBUTE_VALUE_INVALID,
        generate_readable)
    ROW("key_export: false", NO_EXPORT, "extractable and not sensitive", C_GenerateKeyPair,
        CKR_ATTRIBUTE_VALUE_INVALID, generate_readable_pair)
    ROW("key_export: false", NO_EXPORT, "extractable and not sensitive", C_UnwrapKey, CKR_ATTRIBUTE_VALUE_INVALID,
        unwrap_readable)
    ROW("key_export: false", NO_EXPORT, "extractable and not sensitive", C_DeriveKey, CKR_ATTRIBUTE_VALUE_INVALID,
        derive_readable)

    ROW("key_extract: false", NO_EXTRACT, "any key", C_WrapKey, CKR_KEY_UNEXTRACTABLE, wrap_old_key)
    ROW("key_extract: false", NO_EXTRACT, "extractable", C_CreateObject, CKR_ATTRIBUTE_VALUE_INVALID,
        create_extractable)
    ROW("key_extract: false", NO_EXTRACT, "extractable", C_CopyObject, CKR_ATTRIBUTE_VALUE_INVALID, copy_extractable)
    ROW("key_extract: false", NO_EXTRACT, "extractable", C_GenerateKey, CKR_ATTRIBUTE_VALUE_INVALID,
        generate_extractable)
    ROW("key_extract: false", NO_EXTRACT, "extractable", C_GenerateKeyPair, CKR_ATTRIBUTE_VALUE_INVALID,
        generate_extractable_pair)
    ROW("key_extract: false", NO_EXTRACT, "extractable", C_UnwrapKey, CKR_ATTRIBUTE_VALUE_INVALID, unwrap_extractable)
    ROW("key_extract: false", NO_EXTRACT, "extractable", C_DeriveKey, CKR_ATTRIBUTE_VALUE_INVALID, derive_extractable)

    ROW("read_only: true", POLICY_WRITE, "on the token", C_CreateObject, CKR_TOKEN_WRITE_PROTECTED, create_token_data)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_CopyObject, CKR_TOKEN_WRITE_PROTECTED, copy_to_token)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_GenerateKey, CKR_TOKEN_WRITE_PROTECTED, generate_token_key)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_GenerateKeyPair, CKR_TOKEN_WRITE_PROTECTED,
        generate_token_pair)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_UnwrapKey, CKR_TOKEN_WRITE_PROTECTED, unwrap_token_key)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_DeriveKey, CKR_TOKEN_WRITE_PROTECTED, derive_token_key)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_SetAttributeValue, CKR_TOKEN_WRITE_PROTECTED,
        rename_token_object)
    ROW("read_only: true", POLICY_WRITE, "on the token", C_DestroyObject, CKR_TOKEN_WRITE_PROTECTED,
        destroy_token_object)
    ROW("read_only: true", POLICY_WRITE, "any PIN", C_SetPIN, CKR_TOKEN_WRITE_PROTECTED, change_pin)
    ROW("read_only: true", POLICY_WRITE, "the user's PIN", C_InitPIN, CKR_TOKEN_WRITE_PROTECTED, init_pin_as_so)

    ROW("session_objects: false", POLICY_SESSION_OBJECTS, "in the session", C_CreateObject,
        CKR_ATTRIBUTE_VALUE_INVALID, create_session_data)
    ROW("session_objects: false", POLICY_SESSION_OBJECTS, "in the session", C_CopyObject, CKR_ATTRIBUTE_VALUE_INVALID,
        copy_to_session)
    ROW("session_objects: false", POLICY_SESSION_OBJECTS, "in the session", C_GenerateKey,
        CKR_ATTRIBUTE_VALUE_INVALID, generate_session_key)
    ROW("session_objects: false", POLICY_SESSION_OBJECTS, "in the session", C_GenerateKeyPair,
        CKR_ATTRIBUTE_VALUE_INVALID, generate_session_pair)
    ROW("session_objects: false", POLICY_SESSION_OBJECTS, "in the session", C_UnwrapKey, CKR_ATTRIBUTE_VALUE_INVALID,
        unwrap_session_key)
    ROW("session_objects: false", POLICY_SESSION_OBJECTS, "in the session", C_DeriveKey, CKR_ATTRIBUTE_VALUE_INVALID,
        derive_session_key)

    ROW("destroy_objects: false", POLICY_DESTROY_OBJECTS, "on the token", C_DestroyObject, CKR_ACTION_PROHIBITED,
        destroy_token_object)

    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_EncryptInit, CKR_KEY_FUNCTION_NOT_PERMITTED, encrypt)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_DecryptInit, CKR_KEY_FUNCTION_NOT_PERMITTED, decrypt)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_SignInit, CKR_KEY_FUNCTION_NOT_PERMITTED, sign)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_VerifyInit, CKR_KEY_FUNCTION_NOT_PERMITTED, verify)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_DigestKey, CKR_KEY_FUNCTION_NOT_PERMITTED,
        digest_old_key)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_WrapKey, CKR_KEY_FUNCTION_NOT_PERMITTED, wrap_old_key)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_UnwrapKey, CKR_KEY_FUNCTION_NOT_PERMITTED,
        unwrap_token_key)
    ROW("use_objects: false", POLICY_USE_OBJECTS, "any key", C_DeriveKey, CKR_KEY_FUNCTION_NOT_PERMITTED,
        derive_session_key)

    ROW("client_api_access: false", POLICY_CLIENT_API_ACCESS, "a new session", C_OpenSession, CKR_TOKEN_NOT_PRESENT,
        open_session)
    ROW("client_api_access: false", POLICY_CLIENT_API_ACCESS, "anybody", C_Login, CKR_DEVICE_REMOVED,
        log_in_through_module)
    ROW("client_api_access: false", POLICY_CLIENT_API_ACCESS, "any key", C_SignInit, CKR_DEVICE_REMOVED, sign)
};

static void make_old_objects(void)
{
    wrapped_length = sizeof wrapped;
    handles_are_gone = false;
    need(make_key(&partition, CK_TRUE, CK_TRUE, CK_FALSE, &old_key) == CKR_OK, "a key");
    need(make_key(&partition, CK_FALSE, CK_TRUE, CK_FALSE, &session_key) == CKR_OK, "a session key");
    need(make_p256(module, session, true, true, "old", &old_public, &old_private) == CKR_OK, "a pair");
    need(make_data(&partition, CK_TRUE, &old_data) == CKR_OK, "a data object");
    need(module->C_WrapKey(session, &key_wrap, old_key, session_key, wrapped, &wrapped_length) == CKR_OK, "C_WrapKey");
}

static void every_row_is_kept(void)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        CK_RV rv;

        rv = row->attempt();
        if (!check(rv == CKR_OK, "%s %s is done when permitted", row->call, row->what))
            printf("# got %#lx\n", rv);
        if (handles_are_gone)
            make_old_objects();
        partition_permit(&partition, WITHOUT(row->forbidden));
        rv = row->attempt();
        if (!check(rv == row->code, "%s: %s %s returns %s", row->key, row->call, row->what, row->code_name))
            printf("# got %#lx, wanted %#lx\n", rv, row->code);
        partition_permit(&partition, EVERYTHING);
        if (handles_are_gone)
            make_old_objects();
    }
}

/* --- what goes on under a strict policy --------------------------------------------------------------------- */

/* As DEFAULT_POLICY of partition/policy.py. */
#define DEFAULT_PERMITS WITHOUT(NO_EXTRACT)

static void ordinary_work_goes_on_under_the_default_policy(void)
{
    CK_OBJECT_HANDLE key = 0, public_key = 0, private_key = 0;
    CK_MECHANISM generate_aes = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE unsaid[] = {ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_VALUE_LEN, value_length)};
    CK_ATTRIBUTE label = ATTRIBUTE_TEXT(CKA_LABEL, "copy");

    partition_permit(&partition, DEFAULT_PERMITS);
    check_number(generate(CK_TRUE, CK_FALSE, CK_FALSE), CKR_OK,
                 "a key that says it is not sensitive, but not extractable either (pkcs11-tool --keygen)");
    check_number(module->C_GenerateKey(session, &generate_aes, unsaid, 2, &key), CKR_OK, "a key that says neither");
    check(flag_of(&partition, key, CKA_EXTRACTABLE) == 0 && flag_of(&partition, key, CKA_SENSITIVE) == 1,
          "is sensitive and not extractable");
    destroy_quietly(&partition, key);
    check_number(make_p256(module, session, true, true, "pair", &public_key, &private_key), CKR_OK, "a pair");
    check(flag_of(&partition, private_key, CKA_EXTRACTABLE) == 0
              && flag_of(&partition, private_key, CKA_SENSITIVE) == 1, "whose private half is so, too");
    destroy_quietly(&partition, public_key);
    destroy_quietly(&partition, private_key);
    check_number(module->C_CopyObject(session, old_key, &label, 1, &key), CKR_OK, "a copy of an extractable key");
    check(flag_of(&partition, key, CKA_EXTRACTABLE) == 0 && flag_of(&partition, key, CKA_SENSITIVE) == 1,
          "is sensitive and not extractable, though its source is neither");
    destroy_quietly(&partition, key);
    check_number(create_secret_key(), CKR_OK, "an import");
    check_number(create_token_data(), CKR_OK, "a data object");
    check_number(read_value(&partition, old_data), CKR_OK, "whose value can be read");
    check_number(sign(), CKR_OK, "a signature");
    partition_permit(&partition, EVERYTHING);
}

static void wrapped_export_alone_keeps_keys_sensitive(void)
{
    CK_OBJECT_HANDLE key = 0;
    CK_MECHANISM generate_aes = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE extractable[] = {ATTRIBUTE(CKA_EXTRACTABLE, yes), ATTRIBUTE(CKA_VALUE_LEN, value_length)};
    CK_ATTRIBUTE label = ATTRIBUTE_TEXT(CKA_LABEL, "copy");

    partition_permit(&partition, WITHOUT(POLICY_KEY_EXPORT));
    check_number(module->C_GenerateKey(session, &generate_aes, extractable, 2, &key), CKR_OK,
                 "with key_extract an extractable key");
    check(flag_of(&partition, key, CKA_EXTRACTABLE) == 1 && flag_of(&partition, key, CKA_SENSITIVE) == 1,
          "is extractable, and sensitive");
    result_length = sizeof result;
    check_number(module->C_WrapKey(session, &key_wrap, old_key, key, result, &result_length), CKR_OK, "leaves wrapped");
    check_number(read_value(&partition, key), CKR_ATTRIBUTE_SENSITIVE, "but not in plain");
    check_number(module->C_CopyObject(session, old_key, &label, 1, &key), CKR_OK, "a copy of a readable key");
    check_number((unsigned long)flag_of(&partition, key, CKA_SENSITIVE), 1, "is sensitive");
    destroy_quietly(&partition, key);
    partition_permit(&partition, EVERYTHING);
}

static void public_objects_are_not_keys_to_import(void)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BYTE point[80];
    CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY, certificate = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE x509 = CKC_X_509;
    CK_KEY_TYPE ec = CKK_EC;
    CK_ATTRIBUTE public_template[] = {ATTRIBUTE(CKA_CLASS, public_class), ATTRIBUTE(CKA_KEY_TYPE, ec),
                                      {CKA_EC_PARAMS, p256, sizeof p256}, {CKA_EC_POINT, point, sizeof point}};
    CK_ATTRIBUTE certificate_template[] = {ATTRIBUTE(CKA_CLASS, certificate), ATTRIBUTE(CKA_CERTIFICATE_TYPE, x509),
                                           ATTRIBUTE_TEXT(CKA_SUBJECT, "0"), ATTRIBUTE_TEXT(CKA_VALUE, "0")};
    CK_OBJECT_HANDLE object = 0;

    need(partition.softhsm->C_GetAttributeValue(session, old_public, &public_template[3], 1) == CKR_OK, "the point");
    partition_permit(&partition, WITHOUT(NO_EXTRACT | NO_IMPORT));
    check_number(gone_again(module->C_CreateObject(session, public_template, 4, &object), object), CKR_OK,
                 "without key_import a public key may be created");
    check_number(module->C_CreateObject(session, certificate_template, 4, &object), CKR_OK, "so may a certificate");
    check_number(read_value(&partition, object), CKR_OK, "and be read without key_export");
    check_number(module->C_FindObjectsInit(session, certificate_template, 4), CKR_OK, "and be searched by its value");
    partition.softhsm->C_FindObjectsFinal(session);
    destroy_quietly(&partition, object);
    partition_permit(&partition, EVERYTHING);
}

/* --- live connections --------------------------------------------------------------------------------------- */

static void an_operation_under_way_stops(void)
{
    CK_BYTE out[64];
    CK_ULONG length = sizeof out;

    need(module->C_EncryptInit(session, &aes_cbc, old_key) == CKR_OK, "C_EncryptInit");
    check_number(module->C_EncryptUpdate(session, block, sizeof block, out, &length), CKR_OK, "an encryption begins");
    partition_permit(&partition, WITHOUT(POLICY_USE_OBJECTS));
    length = sizeof out;
    check_number(module->C_EncryptUpdate(session, block, sizeof block, out, &length), CKR_KEY_FUNCTION_NOT_PERMITTED,
                 "without use_objects its next step is refused");
    length = sizeof out;
    check_number(module->C_EncryptFinal(session, out, &length), CKR_KEY_FUNCTION_NOT_PERMITTED, "and its last");
    partition_permit(&partition, EVERYTHING);
    length = sizeof out;
    check_number(module->C_EncryptFinal(session, out, &length), CKR_OK, "once permitted again it ends");
}

static void a_read_only_token_says_so(void)
{
    CK_TOKEN_INFO info;

    partition_permit(&partition, WITHOUT(POLICY_WRITE));
    check(module->C_GetTokenInfo(partition.slot, &info) == CKR_OK && (info.flags & CKF_WRITE_PROTECTED) != 0,
          "a read-only partition has CKF_WRITE_PROTECTED");
    check_number(generate_session_key(), CKR_OK, "session objects go on there");
    partition_permit(&partition, EVERYTHING);
    check(module->C_GetTokenInfo(partition.slot, &info) == CKR_OK && (info.flags & CKF_WRITE_PROTECTED) == 0,
          "any other has not");
}

static void session_objects_may_always_be_destroyed(void)
{
    CK_OBJECT_HANDLE object = 0;

    need(make_data(&partition, CK_FALSE, &object) == CKR_OK, "a session object");
    partition_permit(&partition, WITHOUT(POLICY_DESTROY_OBJECTS | POLICY_WRITE));
    check_number(module->C_DestroyObject(session, object), CKR_OK, "a session object is destroyed whatever the policy");
    partition_permit(&partition, EVERYTHING);
}

static void over_quota(void)
{
    size_t before = partition_object_files(&partition);

    fake_agent_reply(partition.agent, REPLY_REFUSED("quota"));
    check_number(create_token_data(), CKR_DEVICE_MEMORY, "beyond max_size_bytes C_CreateObject fails");
    check_number(generate_token_pair(), CKR_DEVICE_MEMORY, "so does C_GenerateKeyPair");
    check_number(partition_object_files(&partition), before, "and nothing is left behind");
    fake_agent_reply(partition.agent, REPLY_DONE);
}

int main(void)
{
    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    make_old_objects();
    every_row_is_kept();
    ordinary_work_goes_on_under_the_default_policy();
    wrapped_export_alone_keeps_keys_sensitive();
    public_objects_are_not_keys_to_import();
    an_operation_under_way_stops();
    a_read_only_token_says_so();
    session_objects_may_always_be_destroyed();
    over_quota();
    partition_close(&partition);
    return finish_tap();
}
