/* Session objects cost nothing: no lock is taken and no agent is asked. Here both are out of reach. */
#include "partition.h"
#include "tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

static void hold(const char *name)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/%s", partition.directory, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    need(fd >= 0 && flock(fd, LOCK_EX) == 0, name);
}

static void creating(CK_OBJECT_HANDLE token_key)
{
    CK_OBJECT_HANDLE key, copy, public_key, private_key;
    CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET, aes_type = CKK_AES;
    CK_ULONG length = 32;
    CK_MECHANISM aes = {CKM_AES_KEY_GEN, NULL, 0};
    CK_BYTE point[80], wrapped[64];
    CK_ULONG wrapped_length = sizeof wrapped;
    CK_ATTRIBUTE ec_point = {CKA_EC_POINT, point, sizeof point};
    CK_ECDH1_DERIVE_PARAMS parameters = {.kdf = CKD_NULL};
    CK_MECHANISM derive = {CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
    CK_MECHANISM wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_ATTRIBUTE unsaid[] = {ATTRIBUTE(CKA_VALUE_LEN, length), ATTRIBUTE(CKA_EXTRACTABLE, yes)};
    CK_ATTRIBUTE derived[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, generic),
                              ATTRIBUTE(CKA_TOKEN, no), ATTRIBUTE(CKA_VALUE_LEN, length)};
    CK_ATTRIBUTE unwrapped[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes_type)};
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "copy");
    CK_ATTRIBUTE in_session[] = {ATTRIBUTE(CKA_TOKEN, no), ATTRIBUTE_TEXT(CKA_LABEL, "copy")};
    CK_RV rv;

    make_aes(module, session, false, "session", &rv);
    check_number(rv, CKR_OK, "C_GenerateKey with CKA_TOKEN false");
    check_number(module->C_GenerateKey(session, &aes, unsaid, 2, &key), CKR_OK, "C_GenerateKey without CKA_TOKEN");
    check_number(module->C_WrapKey(session, &wrap, token_key, key, wrapped, &wrapped_length), CKR_OK, "C_WrapKey");
    check_number(module->C_UnwrapKey(session, &wrap, token_key, wrapped, wrapped_length, unwrapped, 2, &copy),
                 CKR_OK, "C_UnwrapKey into the session");
    check_number(module->C_CopyObject(session, key, &renamed, 1, &copy), CKR_OK, "C_CopyObject of a session object");
    check_number(module->C_CopyObject(session, token_key, in_session, 2, &copy), CKR_OK,
                 "C_CopyObject of a token object into the session");
    check_number(make_p256(module, session, false, false, "session", &public_key, &private_key), CKR_OK,
                 "C_GenerateKeyPair in the session");
    need(module->C_GetAttributeValue(session, public_key, &ec_point, 1) == CKR_OK, "its point");
    parameters.pPublicData = point;
    parameters.ulPublicDataLen = ec_point.ulValueLen;
    check_number(module->C_DeriveKey(session, &derive, private_key, derived, 4, &key), CKR_OK, "C_DeriveKey");
    check_number(module->C_SetAttributeValue(session, key, &renamed, 1), CKR_OK, "C_SetAttributeValue");
    check_number(module->C_DestroyObject(session, key), CKR_OK, "C_DestroyObject");
    check_number(count_labelled(&partition, "session"), 3, "the session objects are there");
}

/* A key pair with one half on the token, made in a thread of its own. */
struct half_pair {
    bool public_token;
    atomic_bool done;
    CK_RV rv;
};

static void *make_half_pair(void *argument)
{
    struct half_pair *pair = argument;
    CK_OBJECT_HANDLE public_key, private_key;

    pair->rv = make_p256(module, session, pair->public_token, !pair->public_token, "half", &public_key, &private_key);
    atomic_store(&pair->done, true);
    return NULL;
}

/* Without the lock SoftHSM must not even begin: the agent could take the files for somebody else's. */
static void softhsm_is_not_called_before_the_lock_is_had(bool public_token, const char *outcome)
{
    struct half_pair pair = {.public_token = public_token};
    struct timespec moment = {0, 5000000};
    size_t before = partition_object_files(&partition), most = before;
    pthread_t thread;

    need(pthread_create(&thread, NULL, make_half_pair, &pair) == 0, "pthread_create");
    while (!atomic_load(&pair.done)) {
        size_t now = partition_object_files(&partition);

        most = now > most ? now : most;
        nanosleep(&moment, NULL);
    }
    pthread_join(thread, NULL);
    check_number(pair.rv, CKR_FUNCTION_FAILED, outcome);
    check_number(most, before, "and no file was made meanwhile");
}

int main(void)
{
    CK_OBJECT_HANDLE token_key, copy;
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "copy");
    CK_RV rv;

    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    token_key = make_aes(module, session, true, "token", &rv);
    need(rv == CKR_OK, "a token key");
    fake_agent_stop(partition.agent);
    partition.agent = NULL;
    hold("create.lock");
    hold("update.lock");
    creating(token_key);
    check_number(partition_object_files(&partition), 1, "on the token there is only the token key");

    /* The proof that lock and agent really are out of reach. */
    make_aes(module, session, true, "token", &rv);
    check_number(rv, CKR_FUNCTION_FAILED, "C_GenerateKey of a token key waits for the lock and gives up");
    check_number(module->C_CopyObject(session, token_key, &renamed, 1, &copy), CKR_FUNCTION_FAILED,
                 "so does C_CopyObject of a token key");
    check_number(module->C_DestroyObject(session, token_key), CKR_FUNCTION_FAILED,
                 "so does C_DestroyObject of a token key");
    softhsm_is_not_called_before_the_lock_is_had(true, "a pair with its public half on the token waits");
    softhsm_is_not_called_before_the_lock_is_had(false, "a pair with its private half on the token waits");
    check_number(count_labelled(&partition, "token"), 1, "nothing was made or destroyed");
    partition_close(&partition);
    return finish_tap();
}
