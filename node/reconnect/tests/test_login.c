/* It logs in again by itself, once per reconnect, for as long as the application would be logged in. */
#include "deadline.h"
#include "tap.h"
#include "token.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static CK_ULONG state_of(const struct token *token)
{
    CK_SESSION_INFO info;

    need(token->module->C_GetSessionInfo(token->session, &info) == CKR_OK, "C_GetSessionInfo");
    return info.state;
}

static CK_RV log_in(const struct token *token, const char *pin)
{
    return token->module->C_Login(token->session, CKU_USER, (CK_UTF8CHAR_PTR)(size_t)pin, strlen(pin));
}

static void somebody_sets_pin(const struct token *token, const char *old_pin, const char *new_pin)
{
    need(token->softhsm->C_SetPIN(token->softhsm_session, (CK_UTF8CHAR_PTR)(size_t)old_pin, strlen(old_pin),
                                  (CK_UTF8CHAR_PTR)(size_t)new_pin, strlen(new_pin)) == CKR_OK,
         "C_SetPIN by somebody else");
}

static void one_login_per_reconnect(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");
    int64_t begun;

    relay_forget();
    relay_cut();
    begun = deadline_now();
    check_number(sign_with(token, key), CKR_OK, "a call on a dead connection is answered");
    printf("# after %d ms\n", (int)(deadline_now() - begun));
    check_number(state_of(token), CKS_RW_USER_FUNCTIONS, "logged in again");
    check_number(relay_requests(CALL_LOGIN), 1, "with one login");
    check_number(relay_requests(CALL_INITIALIZE), 1, "on one connection");
}

static void a_pin_that_was_changed_is_tried_once(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");

    somebody_sets_pin(token, USER_PIN, NEW_PIN);
    relay_cut();
    relay_forget();
    check_number(sign_with(token, key), CKR_PIN_INCORRECT, "the PIN was changed: the application hears it once");
    check_number(state_of(token), CKS_RW_PUBLIC_SESSION, "then it is not logged in");
    check_number(sign_with(token, key), CKR_OBJECT_HANDLE_INVALID, "and the private key is not to be seen");
    relay_cut();
    check_number(state_of(token), CKS_RW_PUBLIC_SESSION, "nor after the next reconnect");
    check_number(relay_requests(CALL_LOGIN), 1, "in all that the PIN was tried once");
    check_number(log_in(token, NEW_PIN), CKR_OK, "with the PIN of now it logs in");
    check_number(sign_with(token, key), CKR_OK, "and has its key again");
    relay_cut();
    check_number(sign_with(token, key), CKR_OK, "on every connection to come");
}

static void our_own_change_of_pin_is_noted(const struct token *token)
{
    need(token->module->C_SetPIN(token->session, (CK_UTF8CHAR_PTR)NEW_PIN, sizeof NEW_PIN - 1, (CK_UTF8CHAR_PTR)USER_PIN,
                                 sizeof USER_PIN - 1) == CKR_OK,
         "C_SetPIN");
    relay_cut();
    check_number(state_of(token), CKS_RW_USER_FUNCTIONS, "after C_SetPIN it logs in with the new PIN");
}

static void logging_out_is_for_good(struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");

    check_number(token->module->C_Logout(token->session), CKR_OK, "C_Logout");
    check_number(sign_with(token, key), CKR_OBJECT_HANDLE_INVALID, "private handles are void");
    relay_forget();
    relay_cut();
    check_number(state_of(token), CKS_RW_PUBLIC_SESSION, "after C_Logout nobody logs in again");
    check_number(relay_requests(CALL_LOGIN), 0, "nor tries");

    need(log_in(token, USER_PIN) == CKR_OK, "C_Login");
    relay_cut();
    check_number(token->module->C_Logout(token->session), CKR_OK, "C_Logout on a connection that died");
    check_number(state_of(token), CKS_RW_PUBLIC_SESSION, "is one");

    need(log_in(token, USER_PIN) == CKR_OK, "C_Login");
    check_number(token->module->C_CloseSession(token->session), CKR_OK, "the last session is closed");
    need(token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &token->session) ==
             CKR_OK,
         "C_OpenSession");
    check_number(state_of(token), CKS_RW_PUBLIC_SESSION, "which logs out, as the standard has it");
    relay_cut();
    check_number(state_of(token), CKS_RW_PUBLIC_SESSION, "for good");
    need(log_in(token, USER_PIN) == CKR_OK, "C_Login");
}

static void a_dying_login_is_not_tried_for_ever(const struct token *token)
{
    relay_cut();
    relay_forget();
    for (unsigned i = 0; i < 2; i++) {
        CK_SESSION_INFO info;

        /* Only one cut can be asked for at a time; the relay's own refusal of the login stands for the others. */
        relay_cut_at(CALL_LOGIN, 1, BEFORE_IT_IS_DONE);
        check_number(token->module->C_GetSessionInfo(token->session, &info), CKR_OK, "a login that died is repeated");
        check_number(relay_requests(CALL_LOGIN), 2 * (i + 1), "once");
        relay_cut();
    }
}

static size_t open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void it_waits_for_a_while(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");
    int64_t begun;
    size_t open_before;

    relay_cut();
    need(sign_with(token, key) == CKR_OK, "a signature");
    open_before = open_files();
    relay_refuse(true);
    relay_cut();
    begun = deadline_now();
    check_number(sign_with(token, key), CKR_DEVICE_ERROR, "when nobody answers, a call says so");
    check(deadline_now() - begun >= 1900, "after its deadline");
    check(deadline_now() - begun < 8000, "not for ever");
    relay_refuse(false);
    check_number(sign_with(token, key), CKR_OK, "when somebody does, the next one works");
    check_number(open_files(), open_before, "the attempts have left no file open");
}

static void another_token_is_none(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");
    char conf[128], first[128];

    token_make_other(token, conf);
    snprintf(first, sizeof first, "%s/first.conf", token->directory);
    relay_use(conf);
    relay_cut();
    relay_forget();
    check_number(sign_with(token, key), CKR_TOKEN_NOT_PRESENT, "another token of the same label is not ours");
    check_number(relay_requests(CALL_LOGIN), 0, "and is not told the PIN");
    relay_use(first);
    check_number(sign_with(token, key), CKR_OK, "when ours is back, it goes on");
}

int main(void)
{
    struct token token = {0};

    token_open(&token);
    make_p256(&token, "ec", 1);
    one_login_per_reconnect(&token);
    a_pin_that_was_changed_is_tried_once(&token);
    our_own_change_of_pin_is_noted(&token);
    logging_out_is_for_good(&token);
    a_dying_login_is_not_tried_for_ever(&token);
    it_waits_for_a_while(&token);
    another_token_is_none(&token);
    token_close(&token);
    return finish_tap();
}
