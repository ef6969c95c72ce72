/* SoftHSM's word counts, not the template's; and a word that cannot be had is not taken for a yes. */
#include "keys.h"
#include "policy.h"
#include "provider/unruly.h"
#include "tap.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static struct partition partition;
static enum unruly_mode *mode;

static CK_RV make_data_as(CK_BBOOL *token, CK_OBJECT_HANDLE *object)
{
    CK_OBJECT_CLASS data = CKO_DATA;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, data), ATTRIBUTE_TEXT(CKA_LABEL, "unruly"), {CKA_TOKEN, token, sizeof *token},
    };

    return partition.module->C_CreateObject(partition.session, template, token != NULL ? 3 : 2, object);
}

static void a_token_object_nobody_asked_for_is_committed(void)
{
    CK_OBJECT_HANDLE object;

    *mode = IGNORES_TEMPLATE;
    check_number(make_data_as(&no, &object), CKR_OK, "an object asked for in the session, made on the token");
    check_number(fake_agent_requests(partition.agent), 1, "is committed");
    check_number(make_data_as(NULL, &object), CKR_OK, "the same when the template says nothing");
    check_number(fake_agent_requests(partition.agent), 2, "is committed");
    fake_agent_stop(partition.agent);
    check_number(make_data_as(NULL, &object), CKR_DEVICE_ERROR, "without an agent the call fails");
    check_number(object, CK_INVALID_HANDLE, "gives no handle");
    check_number(partition_object_files(&partition), 2, "and leaves no object");
    partition.agent = fake_agent_start(partition.agent_socket);
}

static void an_object_that_cannot_be_described_is_undone(enum unruly_mode how, const char *name)
{
    CK_OBJECT_HANDLE object;
    size_t before = partition_object_files(&partition);

    *mode = how;
    check_number(make_data_as(&yes, &object), CKR_FUNCTION_FAILED, name);
    check_number(object, CK_INVALID_HANDLE, "gives no handle");
    check_number(partition_object_files(&partition), before, "and leaves no object");
    check_number(fake_agent_requests(partition.agent), 0, "nothing was committed");
    *mode = BEHAVES;
}

static void a_change_that_cannot_be_described_is_committed_all_the_same(void)
{
    CK_OBJECT_HANDLE object;
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "renamed");

    need(make_data_as(&yes, &object) == CKR_OK, "an object");
    fake_agent_forget(partition.agent);
    *mode = TELLS_NOTHING;
    check_number(partition.module->C_SetAttributeValue(partition.session, object, &renamed, 1), CKR_OK,
                 "C_SetAttributeValue on an object SoftHSM tells nothing about");
    check_text(fake_agent_last(partition.agent), "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[]}",
               "commits without hints");
    fake_agent_forget(partition.agent);
    check_number(partition.module->C_DestroyObject(partition.session, object), CKR_OK,
                 "C_DestroyObject on an object SoftHSM tells nothing about");
    check_text(fake_agent_last(partition.agent), "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[]}",
               "commits without hints");
    *mode = BEHAVES;
}

/* Whatever a template was made to mean: what came of it is judged before it is committed. */
static void what_the_policy_forbids_does_not_stay(void)
{
    CK_OBJECT_HANDLE object;
    size_t before = partition_object_files(&partition);

    fake_agent_forget(partition.agent);
    *mode = IGNORES_TEMPLATE;
    partition_permit(&partition, WITHOUT(POLICY_WRITE));
    check_number(make_data_as(&no, &object), CKR_TOKEN_WRITE_PROTECTED, "an object made on a read-only token");
    check_number(object, CK_INVALID_HANDLE, "gives no handle");
    check_number(partition_object_files(&partition), before, "and leaves no object");
    *mode = MAKES_EXTRACTABLE;
    partition_permit(&partition, WITHOUT(POLICY_KEY_EXPORT | POLICY_KEY_EXTRACT));
    check_number(import_key(&partition, CK_TRUE, CK_FALSE, CK_TRUE, &object), CKR_ATTRIBUTE_VALUE_INVALID,
                 "a key made extractable against the policy");
    check_number(object, CK_INVALID_HANDLE, "gives no handle");
    check_number(partition_object_files(&partition), before, "and leaves no object");
    partition_permit(&partition, WITHOUT(POLICY_KEY_EXPORT));
    check_number(import_key(&partition, CK_TRUE, CK_TRUE, CK_TRUE, &object), CKR_ATTRIBUTE_VALUE_INVALID,
                 "an extractable key made not sensitive against the policy");
    check_number(fake_agent_requests(partition.agent), 0, "nothing of that was committed");
    *mode = TELLS_NOTHING;
    check_number(partition.module->C_GetAttributeValue(partition.session, 1, &(CK_ATTRIBUTE){CKA_VALUE, NULL, 0}, 1),
                 CKR_SESSION_HANDLE_INVALID, "the value of an object SoftHSM tells nothing about is not asked for");
    *mode = BEHAVES;
    partition_permit(&partition, EVERYTHING);
}

int main(void)
{
    void *library;

    setenv("KEYFOLD_SOFTHSM_LIBRARY", beside_test("unruly.so"), 1);
    partition_open(&partition);
    library = dlopen(beside_test("unruly.so"), RTLD_NOW | RTLD_NOLOAD);
    mode = library != NULL ? dlsym(library, "unruly_mode") : NULL;
    need(mode != NULL, "unruly_mode");
    a_token_object_nobody_asked_for_is_committed();
    an_object_that_cannot_be_described_is_undone(TELLS_NOTHING, "an object SoftHSM tells nothing about");
    an_object_that_cannot_be_described_is_undone(TELLS_ONLY_TOKEN, "an object whose class SoftHSM does not tell");
    a_change_that_cannot_be_described_is_committed_all_the_same();
    what_the_policy_forbids_does_not_stay();
    partition_close(&partition);
    return finish_tap();
}
