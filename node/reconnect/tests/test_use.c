/* What only reads or uses keys goes on over a connection that died, before, between and in the middle of calls. */
#include "tap.h"
#include "token.h"

#include <stdlib.h>
#include <string.h>

static CK_BYTE hash[32] = "what is signed in these tests..";

static bool verifies(const struct token *token, CK_BYTE *signature, CK_ULONG length)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_OBJECT_HANDLE key = softhsm_key(token, CKO_PUBLIC_KEY, "ec");

    need(token->softhsm->C_VerifyInit(token->softhsm_session, &mechanism, key) == CKR_OK, "C_VerifyInit");
    return token->softhsm->C_Verify(token->softhsm_session, hash, sizeof hash, signature, length) == CKR_OK;
}

static void signs(const struct token *token, CK_OBJECT_HANDLE key, void (*before_init)(void),
                  void (*before_sign)(void), const char *name)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE signature[128];
    CK_ULONG length = sizeof signature;

    before_init();
    check_number(token->module->C_SignInit(token->session, &mechanism, key), CKR_OK, name);
    before_sign();
    check_number(token->module->C_Sign(token->session, hash, sizeof hash, signature, &length), CKR_OK, name);
    check(verifies(token, signature, length), "%s: the signature verifies with the key that was meant", name);
}

static void nothing(void) {}

static void cut_at_sign(void)
{
    relay_cut_at(CALL_SIGN, 1, BEFORE_IT_IS_DONE);
}

static void cut_after_sign(void)
{
    relay_cut_at(CALL_SIGN, 1, AFTER_IT_IS_DONE);
}

static void cut_at_init(void)
{
    relay_cut_at(CALL_SIGN_INIT, 1, AFTER_IT_IS_DONE);
}

static void cut_twice(void)
{
    /* The second one meets the new connection while it is being set up. */
    relay_cut();
    relay_cut_at(CALL_LOGIN, 1, AFTER_IT_IS_DONE);
}

static void signing_survives(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");

    signs(token, key, relay_cut, nothing, "cut before C_SignInit");
    signs(token, key, nothing, relay_cut, "cut between C_SignInit and C_Sign");
    signs(token, key, cut_at_init, nothing, "cut in C_SignInit");
    signs(token, key, nothing, cut_at_sign, "cut before C_Sign is done");
    signs(token, key, nothing, cut_after_sign, "cut before C_Sign has answered");
    signs(token, key, relay_cut, relay_cut, "cut before each call");
    signs(token, key, cut_twice, nothing, "cut again in the login of the new connection");
}

static void a_length_that_was_asked_for_still_holds(const struct token *token)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");
    CK_BYTE signature[128];
    CK_ULONG length = 0;

    need(token->module->C_SignInit(token->session, &mechanism, key) == CKR_OK, "C_SignInit");
    need(token->module->C_Sign(token->session, hash, sizeof hash, NULL, &length) == CKR_OK, "the length");
    relay_cut();
    check_number(token->module->C_Sign(token->session, hash, sizeof hash, signature, &length), CKR_OK,
                 "cut between the question for the length and C_Sign");
    check_number(token->module->C_Sign(token->session, hash, sizeof hash, signature, &length),
                 CKR_OPERATION_NOT_INITIALIZED, "an operation that is over stays over");
}

static void what_was_fed_is_lost_and_said_so(const struct token *token)
{
    CK_MECHANISM mechanism = {CKM_SHA256_RSA_PKCS, NULL, 0};
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "rsa");
    CK_BYTE signature[256];
    CK_ULONG length = sizeof signature;

    need(token->module->C_SignInit(token->session, &mechanism, key) == CKR_OK, "C_SignInit");
    relay_cut_at(CALL_SIGN_UPDATE, 1, BEFORE_IT_IS_DONE);
    check_number(token->module->C_SignUpdate(token->session, hash, 16), CKR_OK, "the first part is sent again");
    relay_cut();
    check_number(token->module->C_SignUpdate(token->session, hash + 16, 16), CKR_OPERATION_NOT_INITIALIZED,
                 "a second part without the first is refused");
    check_number(token->module->C_SignFinal(token->session, signature, &length), CKR_OPERATION_NOT_INITIALIZED,
                 "there is no signature of half a message");
    check_number(token->module->C_SignInit(token->session, &mechanism, key), CKR_OK, "it can be begun anew");
    check_number(token->module->C_SignUpdate(token->session, hash, 32), CKR_OK, "and fed");
    check_number(token->module->C_SignFinal(token->session, signature, &length), CKR_OK, "and finished");
}

static void mechanisms_are_ours_to_keep(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_SECRET_KEY, "aes");
    CK_GCM_PARAMS *parameters = calloc(1, sizeof *parameters);
    CK_BYTE *iv = calloc(1, 12), *aad = calloc(1, 5);
    CK_MECHANISM mechanism = {CKM_AES_GCM, parameters, sizeof *parameters};
    CK_BYTE first[64], second[64];
    CK_ULONG first_length = sizeof first, second_length = sizeof second;

    memset(iv, 7, 12);
    memcpy(aad, "bound", 5);
    *parameters = (CK_GCM_PARAMS){.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .pAAD = aad, .ulAADLen = 5, .ulTagBits = 128};
    need(token->module->C_EncryptInit(token->session, &mechanism, key) == CKR_OK, "C_EncryptInit");
    need(token->module->C_Encrypt(token->session, hash, sizeof hash, first, &first_length) == CKR_OK, "C_Encrypt");
    need(token->module->C_EncryptInit(token->session, &mechanism, key) == CKR_OK, "C_EncryptInit");
    memset(iv, 0, 12);
    memset(aad, 0, 5);
    memset(parameters, 0xff, sizeof *parameters);
    free(iv);
    free(aad);
    free(parameters);
    relay_cut();
    check_number(token->module->C_Encrypt(token->session, hash, sizeof hash, second, &second_length), CKR_OK,
                 "cut between C_EncryptInit and C_Encrypt");
    check(first_length == second_length && memcmp(first, second, first_length) == 0,
          "the application's parameters were copied, with what they point at");
}

static void a_search_goes_on(const struct token *token)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, class)};
    CK_OBJECT_HANDLE found[8];
    CK_ULONG count = 0, more = 0;
    CK_BYTE value[16];
    CK_ATTRIBUTE wanted = {CKA_VALUE, value, sizeof value};

    relay_cut_at(CALL_FIND_OBJECTS, 1, BEFORE_IT_IS_DONE);
    check_number(token->module->C_FindObjectsInit(token->session, template, 1), CKR_OK, "cut while it searches");
    check_number(token->module->C_FindObjects(token->session, found, 1, &count), CKR_OK, "the first is found");
    relay_cut();
    check_number(token->module->C_FindObjects(token->session, found + 1, 7, &more), CKR_OK, "cut, and more are found");
    check_number(count + more, 3, "all three, none twice");
    check_number(token->module->C_FindObjectsFinal(token->session), CKR_OK, "and it ends");
    check_number(token->module->C_GetAttributeValue(token->session, found[2], &wanted, 1), CKR_OK,
                 "what was found before can be read on the new connection");
    check(found[0] != found[1] && found[1] != found[2], "they are different objects");
    relay_cut_at(CALL_GET_ATTRIBUTE_VALUE, 1, BEFORE_IT_IS_DONE);
    wanted.ulValueLen = sizeof value;
    check_number(token->module->C_GetAttributeValue(token->session, found[0], &wanted, 1), CKR_OK,
                 "cut in C_GetAttributeValue");
}

static void handles_stay(const struct token *token)
{
    CK_OBJECT_HANDLE before = module_key(token, CKO_PRIVATE_KEY, "ec");
    CK_SESSION_INFO info;

    check_number(module_key(token, CKO_PRIVATE_KEY, "ec"), before, "an object that is found again has its handle");
    relay_cut();
    check_number(token->module->C_GetSessionInfo(token->session, &info), CKR_OK, "the session is there");
    check_number(info.state, CKS_RW_USER_FUNCTIONS, "read-write, and logged in");
    relay_cut();
    check_number(sign_with(token, before), CKR_OK, "the handle serves on every connection");
}

static void token_errors_are_not_taken_for_a_dead_connection(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");

    relay_forget();
    relay_cut_at(CALL_SIGN_INIT, 1, TOKEN_CANNOT);
    check_number(sign_with(token, key), CKR_DEVICE_ERROR, "a token's own CKR_DEVICE_ERROR is handed on");
    check_number(relay_requests(CALL_INITIALIZE), 0, "and nobody reconnects for it");
    check_number(sign_with(token, key), CKR_OK, "the session goes on");
}

int main(void)
{
    struct token token = {0};

    token_open(&token);
    make_p256(&token, "ec", 1);
    make_rsa(&token, "rsa", 2);
    make_aes(&token, "aes", 3);
    make_data(&token, "one", "1");
    make_data(&token, "two", "2");
    make_data(&token, "three", "3");
    signing_survives(&token);
    a_length_that_was_asked_for_still_holds(&token);
    what_was_fed_is_lost_and_said_so(&token);
    mechanisms_are_ours_to_keep(&token);
    a_search_goes_on(&token);
    handles_stay(&token);
    token_errors_are_not_taken_for_a_dead_connection(&token);
    token_close(&token);
    return finish_tap();
}
