/* What changes something is never done twice: the application hears that the outcome is unknown, and goes on. */
#include "tap.h"
#include "token.h"

#include <string.h>

static CK_RV generate(const struct token *token, CK_BBOOL on_token, const char *label, CK_OBJECT_HANDLE *key)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG length = 32;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_TOKEN, on_token),   ATTRIBUTE(CKA_VALUE_LEN, length),
        ATTRIBUTE(CKA_ENCRYPT, yes),      ATTRIBUTE_TEXT(CKA_LABEL, label),
    };

    return token->module->C_GenerateKey(token->session, &mechanism, template, COUNT(template), key);
}

static CK_ULONG number_of(const struct token *token, const char *label)
{
    CK_ATTRIBUTE template = ATTRIBUTE_TEXT(CKA_LABEL, label);
    CK_OBJECT_HANDLE found[8];
    CK_ULONG count = 0;

    need(token->softhsm->C_FindObjectsInit(token->softhsm_session, &template, 1) == CKR_OK, "C_FindObjectsInit");
    need(token->softhsm->C_FindObjects(token->softhsm_session, found, 8, &count) == CKR_OK, "C_FindObjects");
    token->softhsm->C_FindObjectsFinal(token->softhsm_session);
    return count;
}

static CK_RV encrypt_with(const struct token *token, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = {CKM_AES_ECB, NULL, 0};
    CK_BYTE block[16] = {0}, result[16];
    CK_ULONG length = sizeof result;
    CK_RV rv = token->module->C_EncryptInit(token->session, &mechanism, key);

    return rv == CKR_OK ? token->module->C_Encrypt(token->session, block, sizeof block, result, &length) : rv;
}

static void a_generation_is_never_repeated(const struct token *token)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    relay_forget();
    relay_cut_at(CALL_GENERATE_KEY, 1, AFTER_IT_IS_DONE);
    check_number(generate(token, CK_TRUE, "done", &key), CKR_DEVICE_ERROR, "cut when the key was made: an error");
    check_number(relay_requests(CALL_GENERATE_KEY), 1, "it was sent once");
    check_number(number_of(token, "done"), 1, "there is one key, of which the application does not know");

    relay_forget();
    relay_cut_at(CALL_GENERATE_KEY, 1, BEFORE_IT_IS_DONE);
    check_number(generate(token, CK_TRUE, "not done", &key), CKR_DEVICE_ERROR, "cut before it was made: an error");
    check_number(relay_requests(CALL_GENERATE_KEY), 1, "it was sent once");
    check_number(number_of(token, "not done"), 0, "there is none");

    check_number(generate(token, CK_TRUE, "next", &key), CKR_OK, "the next call works");
    check_number(encrypt_with(token, key), CKR_OK, "and so does its key");
}

static void nothing_is_sent_on_a_connection_that_died_before(const struct token *token)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    relay_cut();
    check_number(generate(token, CK_TRUE, "after a pause", &key), CKR_OK, "cut between calls: the key is made");
    check_number(number_of(token, "after a pause"), 1, "once");
    relay_cut();
    check_number(encrypt_with(token, key), CKR_OK, "a key made through the module is found again");
}

static void session_objects_die_with_the_connection(const struct token *token)
{
    CK_OBJECT_HANDLE key, found[2];
    CK_ATTRIBUTE template = ATTRIBUTE_TEXT(CKA_LABEL, "passing");
    CK_ULONG count;
    CK_SESSION_HANDLE other;

    need(generate(token, CK_FALSE, "passing", &key) == CKR_OK, "a session key");
    check_number(encrypt_with(token, key), CKR_OK, "a session key serves");
    need(token->module->C_FindObjectsInit(token->session, &template, 1) == CKR_OK, "C_FindObjectsInit");
    need(token->module->C_FindObjects(token->session, found, 2, &count) == CKR_OK && count == 1, "C_FindObjects");
    token->module->C_FindObjectsFinal(token->session);
    check_number(found[0], key, "a search yields its handle too");
    relay_cut();
    check_number(encrypt_with(token, key), CKR_OBJECT_HANDLE_INVALID, "on another connection it is gone");
    check_number(encrypt_with(token, key), CKR_OBJECT_HANDLE_INVALID, "for good");

    need(token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &other) == CKR_OK,
         "another session");
    need(generate(token, CK_FALSE, "passing", &key) == CKR_OK, "a session key");
    check_number(token->module->C_CloseSession(other), CKR_OK, "another session is closed");
    check_number(encrypt_with(token, key), CKR_OK, "which leaves ours alone");
}

static void destroying_and_renaming(const struct token *token)
{
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE label = ATTRIBUTE_TEXT(CKA_LABEL, "renamed by us");

    need(generate(token, CK_TRUE, "to be destroyed", &key) == CKR_OK, "a key");
    relay_cut_at(CALL_DESTROY_OBJECT, 1, BEFORE_IT_IS_DONE);
    check_number(token->module->C_DestroyObject(token->session, key), CKR_DEVICE_ERROR, "cut in C_DestroyObject");
    check_number(encrypt_with(token, key), CKR_OK, "it was not done: the key serves");
    check_number(token->module->C_DestroyObject(token->session, key), CKR_OK, "it can be destroyed");
    relay_cut_at(CALL_SET_ATTRIBUTE_VALUE, 1, AFTER_IT_IS_DONE);
    need(generate(token, CK_TRUE, "to be renamed", &key) == CKR_OK, "a key");
    check_number(token->module->C_SetAttributeValue(token->session, key, &label, 1), CKR_DEVICE_ERROR,
                 "cut in C_SetAttributeValue");
    check_number(encrypt_with(token, key), CKR_OBJECT_HANDLE_INVALID,
                 "it was done: under its old name the key is not there");
    need(generate(token, CK_TRUE, "to be renamed too", &key) == CKR_OK, "a key");
    label = (CK_ATTRIBUTE)ATTRIBUTE_TEXT(CKA_LABEL, "renamed by us too");
    need(token->module->C_SetAttributeValue(token->session, key, &label, 1) == CKR_OK, "C_SetAttributeValue");
    relay_cut();
    check_number(encrypt_with(token, key), CKR_OK, "a key that we renamed is found by its new name");
}

int main(void)
{
    struct token token = {0};

    token_open(&token);
    a_generation_is_never_repeated(&token);
    nothing_is_sent_on_a_connection_that_died_before(&token);
    session_objects_die_with_the_connection(&token);
    destroying_and_renaming(&token);
    token_close(&token);
    return finish_tap();
}
