/* What a library owes the process that loads it: signals, children, threads, and the PIN kept to itself. */
#include "provider.h"
#include "tap.h"
#include "token.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define SIGNATURES 50

static volatile sig_atomic_t pipes_broken;

static void note_broken_pipe(int signal)
{
    (void)signal;
    pipes_broken++;
}

static void no_signal_reaches_the_application(struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");

    signal(SIGPIPE, note_broken_pipe);
    relay_cut();
    check_number(sign_with(token, key), CKR_OK, "it signs over a connection that was closed");
    check_number((unsigned long)pipes_broken, 0, "and the application gets no SIGPIPE");
    relay_cut();
    token->module->C_Finalize(NULL);
    check_number((unsigned long)pipes_broken, 0, "nor when it finalizes over one");
    signal(SIGPIPE, SIG_DFL);
    need(token->module->C_Initialize(NULL) == CKR_OK, "C_Initialize");
    token_log_in(token);
}

static void a_busy_node_is_waited_for(struct token *token)
{
    CK_ULONG count = 0;

    relay_cut();
    need(token->module->C_Finalize(NULL) == CKR_OK, "C_Finalize");
    relay_greet_after(1300); /* more than an attempt to reconnect has at the least, less than it has in all */
    check_number(token->module->C_Initialize(NULL), CKR_OK, "C_Initialize with a node that is slow to greet");
    check_number(token->module->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK, "C_GetSlotList");
    check_number(count, 1, "its token is there");
    relay_greet_after(0);
    token_log_in(token);
}

static void *sign_often(void *argument)
{
    const struct token *token = argument;
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    size_t signatures = 0;

    if (token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return NULL;
    key = find_key(token->module, session, CKO_PRIVATE_KEY, "ec");
    for (int i = 0; i < SIGNATURES; i++) {
        CK_BYTE hash[32] = {1}, signature[128];
        CK_ULONG length = sizeof signature;

        if (token->module->C_SignInit(session, &mechanism, key) == CKR_OK &&
            token->module->C_Sign(session, hash, sizeof hash, signature, &length) == CKR_OK)
            signatures++;
    }
    token->module->C_CloseSession(session);
    return (void *)signatures;
}

static void threads_share_it(struct token *token)
{
    pthread_t threads[THREADS];
    size_t signatures = 0;

    for (int i = 0; i < THREADS; i++)
        need(pthread_create(&threads[i], NULL, sign_often, token) == 0, "a thread");
    for (int i = 0; i < 5; i++) {
        relay_cut_at(CALL_SIGN, 20, i % 2 == 0 ? BEFORE_IT_IS_DONE : AFTER_IT_IS_DONE);
        while (relay_cuts_left())
            usleep(1000);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;

        pthread_join(threads[i], &result);
        signatures += (size_t)result;
    }
    check_number(signatures, THREADS * SIGNATURES, "four threads sign on while the connection is cut five times");
}

/* In the child: 0 as it should be, otherwise which step was wrong. */
static int child(const struct token *token)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_SESSION_INFO info;
    struct token ours = *token;

    if (token->module->C_GetSessionInfo(token->session, &info) != CKR_CRYPTOKI_NOT_INITIALIZED)
        return 1;
    if (token->module->C_Initialize(&arguments) != CKR_OK)
        return 2;
    if (token->module->C_GetSessionInfo(token->session, &info) != CKR_SESSION_HANDLE_INVALID)
        return 3;
    token_log_in(&ours);
    if (sign_with(&ours, module_key(&ours, CKO_PRIVATE_KEY, "ec")) != CKR_OK)
        return 4;
    return token->module->C_Finalize(NULL) == CKR_OK ? 0 : 5;
}

static void a_child_begins_anew(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");
    pid_t pid;
    int status = -1;

    /* The relay serves one at a time. */
    relay_cut();
    pid = fork();
    if (pid == 0)
        _exit(child(token));
    waitpid(pid, &status, 0);
    check_number((unsigned long)status, 0, "a forked child initialises for itself, and signs");
    check_number(sign_with(token, key), CKR_OK, "the parent goes on");
}

#ifndef __SANITIZE_ADDRESS__ /* where mlock does nothing */
/* The flags of the mapping that holds the PIN: it is the only one of ours that is left out of dumps. */
static bool pin_is_locked(void)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool found = false;

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found = found || (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " lo") != NULL &&
                          strstr(line, " dd") != NULL && strstr(line, " wf") != NULL);
    if (maps != NULL)
        fclose(maps);
    return found;
}
#endif

/* A copy of the module is a module of its own, for another address. */
static CK_FUNCTION_LIST_PTR load_copy(const char *name)
{
    char command[9000];

    /* Beside the test: TMPDIR may be mounted noexec. */
    snprintf(command, sizeof command, "cd \"$(dirname '%s')\" && cp keyfold-reconnect.so %s", beside_test(name), name);
    need(system(command) == 0, "cp");
    return load_provider(beside_test(name));
}

static void one_module_per_address(const struct token *token)
{
    static const char elsewhere[] = "unix:path=/nowhere/pkcs11.sock";
    char parameter[200];
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK, .pReserved = parameter};
    CK_FUNCTION_LIST_PTR here = load_copy("copy1.so"), nowhere = load_copy("copy2.so");
    CK_ULONG count = 7;

    need(here != NULL && nowhere != NULL && here != nowhere, "copies are modules of their own");
    setenv("P11_KIT_SERVER_ADDRESS", elsewhere, 1);
    snprintf(parameter, sizeof parameter, "%s", token->address);
    check_number(here->C_Initialize(&arguments), CKR_ARGUMENTS_BAD, "a parameter that is not ours is refused");
    snprintf(parameter, sizeof parameter, "address=%s", token->address);
    relay_cut();
    check_number(here->C_Initialize(&arguments), CKR_OK, "an address can be given to C_Initialize");
    check_number(here->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK, "C_GetSlotList");
    check_number(count, 1, "there is its token");
    check_number(here->C_Finalize(NULL), CKR_OK, "C_Finalize");
    check(strcmp(getenv("P11_KIT_SERVER_ADDRESS"), elsewhere) == 0, "the environment is as before");
    check_number(nowhere->C_Initialize(NULL), CKR_OK, "without one it is the environment's");
    check_number(nowhere->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK, "C_GetSlotList");
    check_number(count, 0, "where nobody listens there are no slots");
    check_number(nowhere->C_Finalize(NULL), CKR_OK, "C_Finalize");
}

int main(void)
{
    struct token token = {0};
    CK_INFO info;

    token_open(&token);
    make_p256(&token, "ec", 1);
#ifndef __SANITIZE_ADDRESS__
    check(pin_is_locked(), "the PIN is in memory that is locked, not dumped, and wiped in children");
#endif
    no_signal_reaches_the_application(&token);
    a_busy_node_is_waited_for(&token);
    threads_share_it(&token);
    a_child_begins_anew(&token);
    one_module_per_address(&token);
    check_number(token.module->C_Finalize(NULL), CKR_OK, "C_Finalize");
    check_number(token.module->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED, "after it there is nothing");
    token_close(&token);
    return finish_tap();
}
