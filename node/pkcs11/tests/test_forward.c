/* The function list: SoftHSM's own but for the calls that need a commit or that the policy may forbid. */
#include "partition.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const char *name;
    size_t offset;
    bool replaced;
};

#define DIRECT(function) {#function, offsetof(CK_FUNCTION_LIST, function), false}
#define REPLACED(function) {#function, offsetof(CK_FUNCTION_LIST, function), true}

static const struct entry entries[] = {
    REPLACED(C_Initialize), DIRECT(C_Finalize), DIRECT(C_GetInfo), REPLACED(C_GetFunctionList),
    DIRECT(C_GetSlotList), DIRECT(C_GetSlotInfo), REPLACED(C_GetTokenInfo), DIRECT(C_GetMechanismList),
    REPLACED(C_GetMechanismInfo), REPLACED(C_InitToken), REPLACED(C_InitPIN), REPLACED(C_SetPIN),
    REPLACED(C_OpenSession), DIRECT(C_CloseSession), DIRECT(C_CloseAllSessions), REPLACED(C_GetSessionInfo),
    REPLACED(C_GetOperationState), REPLACED(C_SetOperationState), REPLACED(C_Login), DIRECT(C_Logout),
    REPLACED(C_CreateObject), REPLACED(C_CopyObject), REPLACED(C_DestroyObject), REPLACED(C_GetObjectSize),
    REPLACED(C_GetAttributeValue), REPLACED(C_SetAttributeValue), REPLACED(C_FindObjectsInit),
    REPLACED(C_FindObjects), REPLACED(C_FindObjectsFinal), REPLACED(C_EncryptInit), REPLACED(C_Encrypt),
    REPLACED(C_EncryptUpdate), REPLACED(C_EncryptFinal), REPLACED(C_DecryptInit), REPLACED(C_Decrypt),
    REPLACED(C_DecryptUpdate), REPLACED(C_DecryptFinal), REPLACED(C_DigestInit), REPLACED(C_Digest),
    REPLACED(C_DigestUpdate), REPLACED(C_DigestKey), REPLACED(C_DigestFinal), REPLACED(C_SignInit),
    REPLACED(C_Sign), REPLACED(C_SignUpdate), REPLACED(C_SignFinal), REPLACED(C_SignRecoverInit),
    REPLACED(C_SignRecover), REPLACED(C_VerifyInit), REPLACED(C_Verify), REPLACED(C_VerifyUpdate),
    REPLACED(C_VerifyFinal), REPLACED(C_VerifyRecoverInit), REPLACED(C_VerifyRecover),
    REPLACED(C_DigestEncryptUpdate), REPLACED(C_DecryptDigestUpdate), REPLACED(C_SignEncryptUpdate),
    REPLACED(C_DecryptVerifyUpdate), REPLACED(C_GenerateKey), REPLACED(C_GenerateKeyPair),
    REPLACED(C_WrapKey), REPLACED(C_UnwrapKey), REPLACED(C_DeriveKey), REPLACED(C_SeedRandom),
    REPLACED(C_GenerateRandom), DIRECT(C_GetFunctionStatus), DIRECT(C_CancelFunction),
    DIRECT(C_WaitForSlotEvent),
};

static void table_is_softhsms_but_for_the_wrapped_calls(const struct partition *partition)
{
    size_t count = sizeof entries / sizeof entries[0];
    const char *module = (const char *)partition->module;
    const char *softhsm = (const char *)partition->softhsm;

    check_number(sizeof(CK_FUNCTION_LIST),
                 offsetof(CK_FUNCTION_LIST, C_Initialize) + count * sizeof(void (*)(void)),
                 "this test names every function of the table");
    check(memcmp(&partition->module->version, &partition->softhsm->version, sizeof(CK_VERSION)) == 0,
          "the version is SoftHSM's");
    for (size_t i = 0; i < count; i++) {
        bool same = memcmp(module + entries[i].offset, softhsm + entries[i].offset, sizeof(void (*)(void))) == 0;

        check(same != entries[i].replaced, "%s %s", entries[i].name,
              entries[i].replaced ? "is ours" : "goes directly to SoftHSM");
    }
}

static void get_function_list_answers_itself(const struct partition *partition)
{
    CK_FUNCTION_LIST_PTR list = NULL;

    check_number(partition->module->C_GetFunctionList(&list), CKR_OK, "C_GetFunctionList through the list");
    check(list == partition->module, "the list names itself, not SoftHSM's");
    check_number(partition->module->C_GetFunctionList(NULL), CKR_ARGUMENTS_BAD, "NULL is refused");
}

static void tokens_are_not_made_or_reset_here(const struct partition *partition)
{
    CK_UTF8CHAR label[32];

    memset(label, ' ', sizeof label);
    check_number(partition->module->C_InitToken(partition->slot, (CK_UTF8CHAR_PTR)SO_PIN, sizeof SO_PIN - 1, label),
                 CKR_FUNCTION_NOT_SUPPORTED, "C_InitToken is refused");
}

static void token_info_tells_the_shortest_pin(const struct partition *partition)
{
    CK_TOKEN_INFO ours, theirs;

    check_number(partition->module->C_GetTokenInfo(partition->slot, &ours), CKR_OK, "C_GetTokenInfo");
    partition->softhsm->C_GetTokenInfo(partition->slot, &theirs);
    check_number(ours.ulMinPinLen, 8, "ulMinPinLen is what the module insists on");
    check(memcmp(ours.label, theirs.label, sizeof ours.label) == 0 && ours.flags == theirs.flags,
          "the rest is SoftHSM's");
    check_number(partition->module->C_GetTokenInfo(partition->slot, NULL), CKR_ARGUMENTS_BAD,
                 "C_GetTokenInfo without a place to write is refused");
}

static void missing_out_pointers_are_refused(const struct partition *partition)
{
    CK_FUNCTION_LIST_PTR m = partition->module;
    CK_SESSION_HANDLE s = partition->session;
    CK_MECHANISM aes = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle = 0;
    CK_ATTRIBUTE token = ATTRIBUTE(CKA_TOKEN, yes);

    check_number(m->C_CreateObject(s, &token, 1, NULL), CKR_ARGUMENTS_BAD, "C_CreateObject without a handle");
    check_number(m->C_CopyObject(s, 1, &token, 1, NULL), CKR_ARGUMENTS_BAD, "C_CopyObject without a handle");
    check_number(m->C_GenerateKey(s, &aes, &token, 1, NULL), CKR_ARGUMENTS_BAD, "C_GenerateKey without a handle");
    check_number(m->C_GenerateKeyPair(s, &aes, &token, 1, &token, 1, &handle, NULL), CKR_ARGUMENTS_BAD,
                 "C_GenerateKeyPair without a private handle");
    check_number(m->C_GenerateKeyPair(s, &aes, &token, 1, &token, 1, NULL, &handle), CKR_ARGUMENTS_BAD,
                 "C_GenerateKeyPair without a public handle");
    check_number(m->C_UnwrapKey(s, &aes, 1, NULL, 0, &token, 1, NULL), CKR_ARGUMENTS_BAD,
                 "C_UnwrapKey without a handle");
    check_number(m->C_DeriveKey(s, &aes, 1, &token, 1, NULL), CKR_ARGUMENTS_BAD, "C_DeriveKey without a handle");
    check_number(m->C_CreateObject(s, NULL, 1, &handle), CKR_ARGUMENTS_BAD, "C_CreateObject without a template");
    check_number(fake_agent_requests(partition->agent), 0, "nothing of that was committed");
}

int main(void)
{
    struct partition partition;

    partition_open(&partition);
    table_is_softhsms_but_for_the_wrapped_calls(&partition);
    get_function_list_answers_itself(&partition);
    tokens_are_not_made_or_reset_here(&partition);
    token_info_tells_the_shortest_pin(&partition);
    missing_out_pointers_are_refused(&partition);
    partition_close(&partition);
    return finish_tap();
}
