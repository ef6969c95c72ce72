/* Guesses at PINs: each is announced to the agent and its verdict told, and without the agent nothing is compared. */
#include "deadline.h"
#include "partition.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WRONG_PIN "not-the-pin"

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

static CK_UTF8CHAR_PTR text(const char *pin)
{
    return (CK_UTF8CHAR_PTR)(size_t)pin;
}

static CK_RV log_in(CK_USER_TYPE user, const char *pin)
{
    return module->C_Login(session, user, text(pin), strlen(pin));
}

static CK_RV set_pin(const char *old_pin, const char *new_pin)
{
    return module->C_SetPIN(session, text(old_pin), strlen(old_pin), text(new_pin), strlen(new_pin));
}

static bool is_logged_in(void)
{
    CK_SESSION_INFO info;

    need(partition.softhsm->C_GetSessionInfo(session, &info) == CKR_OK, "C_GetSessionInfo");
    return info.state == CKS_RW_USER_FUNCTIONS || info.state == CKS_RW_SO_FUNCTIONS;
}

/* The last call made `requests` login requests, the last of which was `wanted`. */
static void check_told(size_t requests, const char *wanted)
{
    check_number(fake_agent_logins(partition.agent), requests, "the agent is asked and told");
    check_text(fake_agent_last_login(partition.agent), wanted, "who it was and how it went, and no PIN");
    fake_agent_forget(partition.agent);
}

static void every_verdict_is_told(void)
{
    check_number(log_in(CKU_USER, USER_PIN), CKR_OK, "a login");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"user\",\"ok\":true}");
    check_number(log_in(CKU_USER, WRONG_PIN), CKR_USER_ALREADY_LOGGED_IN, "a second one");
    check_number(log_in(CKU_SO, WRONG_PIN), CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "the SO's beside it");
    check_number(log_in(77, WRONG_PIN), CKR_USER_TYPE_INVALID, "that of a user there is not");
    check_number(module->C_Login(session, CKU_USER, NULL, 0), CKR_ARGUMENTS_BAD, "one without a PIN");
    check_number(module->C_Login(0x7fffffff, CKU_USER, text(WRONG_PIN), 8), CKR_SESSION_HANDLE_INVALID,
                 "one in a session that is none");
    check_number(fake_agent_logins(partition.agent), 0, "are no guesses");
    module->C_Logout(session);
    check_number(log_in(CKU_USER, WRONG_PIN), CKR_PIN_INCORRECT, "a wrong PIN");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"user\",\"ok\":false}");
    check_number(log_in(CKU_SO, WRONG_PIN), CKR_PIN_INCORRECT, "a wrong SO PIN");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"so\",\"ok\":false}");
    check_number(log_in(CKU_SO, SO_PIN), CKR_OK, "the SO's login");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"so\",\"ok\":true}");
}

static void changing_a_pin_is_a_guess(void)
{
    CK_SESSION_HANDLE read_only;

    check_number(set_pin(WRONG_PIN, "a-new-pin"), CKR_PIN_INCORRECT, "the SO changes a PIN with a wrong one");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"so\",\"ok\":false}");
    module->C_Logout(session);
    check_number(set_pin(WRONG_PIN, "a-new-pin"), CKR_PIN_INCORRECT, "so does somebody who is not logged in");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"user\",\"ok\":false}");
    check_number(set_pin(USER_PIN, USER_PIN), CKR_OK, "a change with the right one");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"user\",\"ok\":true}");
    check_number(set_pin(USER_PIN, "short"), CKR_PIN_LEN_RANGE, "a new PIN too short");
    check_number(module->C_SetPIN(session, text(USER_PIN), 8, NULL, 0), CKR_ARGUMENTS_BAD, "or none");
    need(module->C_OpenSession(partition.slot, CKF_SERIAL_SESSION, NULL, NULL, &read_only) == CKR_OK, "C_OpenSession");
    check_number(module->C_SetPIN(read_only, text(WRONG_PIN), 8, text(USER_PIN), 8), CKR_SESSION_READ_ONLY,
                 "or a session that may not");
    module->C_CloseSession(read_only);
    check_number(fake_agent_logins(partition.agent), 0, "is no guess");
}

static void a_key_that_asks_each_time_asks_the_agent(void)
{
    CK_MECHANISM generate = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, sign = {CKM_SHA256_RSA_PKCS, NULL, 0};
    CK_ULONG bits = 1024;
    CK_ATTRIBUTE public_template = ATTRIBUTE(CKA_MODULUS_BITS, bits);
    CK_ATTRIBUTE private_template[] = {ATTRIBUTE(CKA_SIGN, yes), ATTRIBUTE(CKA_PRIVATE, yes),
                                       ATTRIBUTE(CKA_ALWAYS_AUTHENTICATE, yes)};
    CK_OBJECT_HANDLE public_key, private_key;
    CK_BYTE signature[128] = {0};
    CK_ULONG length = sizeof signature;

    need(log_in(CKU_USER, USER_PIN) == CKR_OK, "login");
    need(module->C_GenerateKeyPair(session, &generate, &public_template, 1, private_template, 3, &public_key,
                                   &private_key) == CKR_OK, "a pair");
    fake_agent_forget(partition.agent);
    check_number(log_in(CKU_CONTEXT_SPECIFIC, WRONG_PIN), CKR_OPERATION_NOT_INITIALIZED, "without an operation");
    check_told(1, "{\"op\":\"login_begin\",\"user\":\"user\"}");
    need(module->C_SignInit(session, &sign, private_key) == CKR_OK, "C_SignInit");
    check_number(log_in(CKU_CONTEXT_SPECIFIC, WRONG_PIN), CKR_PIN_INCORRECT, "a wrong PIN for one use of a key");
    check_told(2, "{\"op\":\"login_result\",\"user\":\"user\",\"ok\":false}");
    fake_agent_reply_to_logins(partition.agent, REPLY_REFUSED("locked"), REPLY_DONE);
    check_number(log_in(CKU_CONTEXT_SPECIFIC, USER_PIN), CKR_PIN_LOCKED, "is locked like any other");
    fake_agent_reply_to_logins(partition.agent, REPLY_DONE, REPLY_DONE);
    check_number(log_in(CKU_CONTEXT_SPECIFIC, USER_PIN), CKR_OK, "the right PIN");
    check_number(module->C_Sign(session, signature, 32, signature, &length), CKR_OK, "opens the key for one use");
    module->C_Logout(session);
}

static void a_locked_login_compares_nothing(void)
{
    fake_agent_reply_to_logins(partition.agent, REPLY_REFUSED("locked"), REPLY_DONE);
    fake_agent_forget(partition.agent);
    check_number(log_in(CKU_USER, USER_PIN), CKR_PIN_LOCKED, "a locked login");
    check_told(1, "{\"op\":\"login_begin\",\"user\":\"user\"}");
    check_number(log_in(CKU_USER, WRONG_PIN), CKR_PIN_LOCKED, "says the same to a wrong PIN");
    check_number(log_in(CKU_SO, SO_PIN), CKR_PIN_LOCKED, "and to the SO's");
    check_number(set_pin(USER_PIN, "a-new-pin"), CKR_PIN_LOCKED, "a PIN is not changed either");
    check(!is_logged_in(), "nobody is logged in");
    fake_agent_reply_to_logins(partition.agent, REPLY_DONE, REPLY_DONE);
    check_number(log_in(CKU_USER, USER_PIN), CKR_OK, "and the PIN is still the old one");
    fake_agent_reply_to_logins(partition.agent, REPLY_REFUSED("locked"), REPLY_DONE);
    make_aes(module, session, false, "use", &(CK_RV){0});
    check_number(count_labelled(&partition, "use"), 1, "a session that is logged in goes on while logins are locked");
    module->C_Logout(session);
    fake_agent_reply_to_logins(partition.agent, REPLY_DONE, REPLY_DONE);
}

static void without_the_agent_nothing_is_compared(void)
{
    int64_t begin = deadline_now();

    fake_agent_reply_to_logins(partition.agent, REPLY_REFUSED("no_quorum"), REPLY_DONE);
    check_number(log_in(CKU_USER, USER_PIN), CKR_DEVICE_ERROR, "an agent that refuses for another reason");
    fake_agent_stop(partition.agent);
    begin = deadline_now();
    check_number(log_in(CKU_USER, USER_PIN), CKR_DEVICE_ERROR, "without an agent");
    check(deadline_now() - begin >= 400, "it is waited for");
    check_number(log_in(CKU_USER, WRONG_PIN), CKR_DEVICE_ERROR, "a wrong PIN gets the same answer");
    check(!is_logged_in(), "nobody is logged in");
    partition.agent = fake_agent_start(partition.agent_socket);
}

/* A verdict nobody counted is not given, or guessing would be free while the agent is away. */
static void an_uncounted_verdict_is_not_given(void)
{
    static const char *const answers[] = {REPLY_HANG_UP, REPLY_NEVER, "nonsense\n", REPLY_REFUSED("internal")};

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        fake_agent_reply_to_logins(partition.agent, REPLY_DONE, answers[i]);
        check_number(log_in(CKU_USER, WRONG_PIN), CKR_DEVICE_ERROR, "a wrong PIN whose verdict is not counted");
        check_number(log_in(CKU_USER, USER_PIN), CKR_DEVICE_ERROR, "gets the same answer as the right one");
        check(!is_logged_in(), "and nobody is logged in");
        check_number(set_pin(USER_PIN, "a-new-pin"), CKR_DEVICE_ERROR, "no PIN is changed");
    }
    fake_agent_reply_to_logins(partition.agent, REPLY_DONE, REPLY_DONE);
    check_number(log_in(CKU_USER, USER_PIN), CKR_OK, "with the agent back the PIN is the old one");
    module->C_Logout(session);
}

static void *start_later(void *unused)
{
    struct timespec moment = {0, 150000000};

    (void)unused;
    nanosleep(&moment, NULL);
    partition.agent = fake_agent_start(partition.agent_socket);
    return NULL;
}

static void an_agent_that_restarts_is_waited_for(void)
{
    pthread_t thread;

    fake_agent_stop(partition.agent);
    need(pthread_create(&thread, NULL, start_later, NULL) == 0, "pthread_create");
    check_number(log_in(CKU_USER, USER_PIN), CKR_OK, "a login while the agent restarts");
    pthread_join(thread, NULL);
    module->C_Logout(session);
}

int main(void)
{
    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    module->C_Logout(session);
    every_verdict_is_told();
    changing_a_pin_is_a_guess();
    a_key_that_asks_each_time_asks_the_agent();
    a_locked_login_compares_nothing();
    without_the_agent_nothing_is_compared();
    an_uncounted_verdict_is_not_given();
    an_agent_that_restarts_is_waited_for();
    partition_close(&partition);
    return finish_tap();
}
