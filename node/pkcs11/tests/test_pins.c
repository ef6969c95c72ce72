/* PINs: short ones never reach SoftHSM; a change that is not committed leaves the old one in force. */
#include "partition.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define NEW_PIN "new-pin-8"
#define SHORT_PIN "7-bytes"

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

static CK_UTF8CHAR_PTR text(const char *pin)
{
    return (CK_UTF8CHAR_PTR)(size_t)pin;
}

static CK_RV set_pin(const char *old_pin, const char *new_pin)
{
    return module->C_SetPIN(session, text(old_pin), strlen(old_pin), text(new_pin), strlen(new_pin));
}

static bool logs_in_with(CK_USER_TYPE user, const char *pin)
{
    CK_RV rv;

    module->C_Logout(session);
    rv = module->C_Login(session, user, text(pin), strlen(pin));
    module->C_Logout(session);
    return rv == CKR_OK;
}

static void a_changed_pin_is_committed(void)
{
    check_number(set_pin(USER_PIN, NEW_PIN), CKR_OK, "C_SetPIN");
    check_text(fake_agent_last(partition.agent), "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[]}",
               "commits an update that names no object and no PIN");
    check_number(fake_agent_requests(partition.agent), 1, "once");
    check(logs_in_with(CKU_USER, NEW_PIN), "the new PIN is in force");
    check_number(set_pin(NEW_PIN, USER_PIN), CKR_OK, "C_SetPIN back, nobody logged in");
    fake_agent_forget(partition.agent);
}

static void short_pins_are_refused(void)
{
    check_number(set_pin(USER_PIN, SHORT_PIN), CKR_PIN_LEN_RANGE, "C_SetPIN with 7 bytes");
    check_number(set_pin(USER_PIN, ""), CKR_PIN_LEN_RANGE, "C_SetPIN with none");
    check_number(module->C_InitPIN(session, text(SHORT_PIN), 7), CKR_PIN_LEN_RANGE, "C_InitPIN with 7 bytes");
    check(logs_in_with(CKU_USER, USER_PIN), "the old PIN is still in force");
    check_number(set_pin(USER_PIN, "8-bytes!"), CKR_OK, "C_SetPIN with 8 bytes");
    check_number(set_pin("8-bytes!", USER_PIN), CKR_OK, "and back");
    check_number(set_pin("not-the-pin", NEW_PIN), CKR_PIN_INCORRECT, "SoftHSM's error for a wrong PIN comes through");
    check_number(module->C_SetPIN(session, text(USER_PIN), sizeof USER_PIN - 1, NULL, 0), CKR_ARGUMENTS_BAD,
                 "no new PIN at all is SoftHSM's to refuse");
    check_number(fake_agent_requests(partition.agent), 2, "only the changes are committed");
    fake_agent_forget(partition.agent);
}

static void the_security_officer_sets_pins_too(void)
{
    need(module->C_Login(session, CKU_SO, text(SO_PIN), sizeof SO_PIN - 1) == CKR_OK, "SO login");
    check_number(module->C_InitPIN(session, text(NEW_PIN), sizeof NEW_PIN - 1), CKR_OK, "C_InitPIN");
    check_text(fake_agent_last(partition.agent), "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[]}",
               "commits an update that names no object and no PIN");
    check_number(module->C_InitPIN(session, text(USER_PIN), sizeof USER_PIN - 1), CKR_OK, "C_InitPIN back");
    check_number(set_pin(SO_PIN, "so-pin-new"), CKR_OK, "C_SetPIN of the SO");
    check_number(set_pin("so-pin-new", SO_PIN), CKR_OK, "and back");
    check_number(fake_agent_requests(partition.agent), 4, "each is committed");
    fake_agent_forget(partition.agent);
    check(logs_in_with(CKU_USER, USER_PIN), "the user's PIN is the last one set");
}

static void a_pin_nobody_committed_is_set_back(void)
{
    fake_agent_reply(partition.agent, REPLY_HANG_UP);
    check_number(set_pin(USER_PIN, NEW_PIN), CKR_DEVICE_ERROR, "C_SetPIN without an answer");
    check(logs_in_with(CKU_USER, USER_PIN), "the old PIN is in force");
    check(!logs_in_with(CKU_USER, NEW_PIN), "the new one is not");
    partition_reopen(&partition);
    session = partition.session;
    check(logs_in_with(CKU_USER, USER_PIN), "also for a process that starts now");
    fake_agent_stop(partition.agent);
    check_number(set_pin(USER_PIN, NEW_PIN), CKR_DEVICE_ERROR, "C_SetPIN without an agent");
    partition.agent = fake_agent_start(partition.agent_socket);
    check(logs_in_with(CKU_USER, USER_PIN), "changes nothing");
    need(module->C_Login(session, CKU_SO, text(SO_PIN), sizeof SO_PIN - 1) == CKR_OK, "SO login");
    fake_agent_stop(partition.agent);
    check_number(module->C_InitPIN(session, text(NEW_PIN), sizeof NEW_PIN - 1), CKR_DEVICE_ERROR,
                 "C_InitPIN without an agent");
    partition.agent = fake_agent_start(partition.agent_socket);
    check(logs_in_with(CKU_USER, USER_PIN), "changes nothing");
}

static void put_files_back(const char *request, void *context)
{
    (void)request;
    (void)context;
    partition_put_back(&partition);
}

static void a_refused_pin_is_the_old_one_for_new_processes(void)
{
    partition_save(&partition);
    fake_agent_on_request(partition.agent, put_files_back, NULL);
    fake_agent_reply(partition.agent, REPLY_REFUSED("no_quorum"));
    check_number(set_pin(USER_PIN, NEW_PIN), CKR_DEVICE_ERROR, "C_SetPIN refused, and the file put back");
    partition_reopen(&partition);
    session = partition.session;
    check(logs_in_with(CKU_USER, USER_PIN), "the old PIN is in force");
    check(!logs_in_with(CKU_USER, NEW_PIN), "the new one is not");
}

int main(void)
{
    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    a_changed_pin_is_committed();
    short_pins_are_refused();
    the_security_officer_sets_pins_too();
    a_pin_nobody_committed_is_set_back();
    a_refused_pin_is_the_old_one_for_new_processes();
    partition_close(&partition);
    return finish_tap();
}
