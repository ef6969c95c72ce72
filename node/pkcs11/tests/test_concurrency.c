/* Threads, processes and forks: changes of one partition happen one after another, and nothing outlives its owner. */
#include "deadline.h"
#include "partition.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define KEYS_EACH 3

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;

/* Each commit of a key must find exactly one file more than the commit before it; of a pair, two. */
struct tally {
    size_t files;
    size_t wrong;
};

static void expect_its_own_files_only(const char *request, void *context)
{
    struct tally *tally = context;
    size_t now = partition_object_files(&partition);
    size_t wanted = tally->files + (strstr(request, "},{") != NULL ? 2 : 1);

    tally->wrong += now == wanted ? 0 : 1;
    tally->files = now;
}

static void *make_keys(void *failures)
{
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE public_key, private_key;
    CK_RV rv;

    if (module->C_OpenSession(partition.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) != CKR_OK)
        return failures;
    for (int i = 0; i < KEYS_EACH; i++) {
        rv = make_p256(module, session, true, true, "thread", &public_key, &private_key);
        *(size_t *)failures += rv == CKR_OK ? 0 : 1;
        make_aes(module, session, true, "thread", &rv);
        *(size_t *)failures += rv == CKR_OK ? 0 : 1;
    }
    module->C_CloseSession(session);
    return NULL;
}

static void each_thread_commits_its_own(void)
{
    struct tally tally = {partition_object_files(&partition), 0};
    pthread_t threads[THREADS];
    size_t failures[THREADS] = {0}, failed = 0;
    void *lost;

    fake_agent_on_request(partition.agent, expect_its_own_files_only, &tally);
    for (size_t i = 0; i < THREADS; i++)
        need(pthread_create(&threads[i], NULL, make_keys, &failures[i]) == 0, "pthread_create");
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &lost);
        failed += failures[i] + (lost != NULL ? 1 : 0);
    }
    check_number(failed, 0, "threads creating at once all succeed");
    check_number(fake_agent_requests(partition.agent), THREADS * KEYS_EACH * 2, "each key is one commit");
    check_number(tally.wrong, 0, "which sees its own files and no other's");
    check_number(fake_agent_most_at_once(partition.agent), 1, "no two changes are under way at once");
    check_number(count_labelled(&partition, "thread"), THREADS * KEYS_EACH * 3, "all objects are there");
    fake_agent_on_request(partition.agent, NULL, NULL);
    fake_agent_forget(partition.agent);
}

/* Whether this process has a descriptor whose target contains `part`. */
static bool has_descriptor(const char *part)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    char path[64], target[256];
    bool found = false;

    while ((entry = readdir(directory)) != NULL) {
        ssize_t length;

        snprintf(path, sizeof path, "/proc/self/fd/%.20s", entry->d_name);
        length = readlink(path, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        found = found || strstr(target, part) != NULL;
    }
    closedir(directory);
    return found;
}

static bool wait_for_request(void)
{
    int64_t deadline = deadline_in(10000);
    struct timespec moment = {0, 1000000};

    while (fake_agent_requests(partition.agent) == 0 && deadline_left(deadline) > 0)
        nanosleep(&moment, NULL);
    return fake_agent_requests(partition.agent) > 0;
}

static void *make_one_key(void *result)
{
    make_aes(module, partition.session, true, "one", result);
    return NULL;
}

static void a_forked_child_holds_nothing_of_its_parents_commit(void)
{
    pthread_t thread;
    CK_RV rv = CKR_OK;
    pid_t child;
    int status = -1, hold_child[2];
    char byte;

    need(pipe(hold_child) == 0, "pipe");
    fake_agent_reply(partition.agent, REPLY_NEVER);
    need(pthread_create(&thread, NULL, make_one_key, &rv) == 0, "pthread_create");
    need(wait_for_request(), "a commit under way");
    check(has_descriptor("create.lock"), "during a commit the process holds the lock's descriptor");
    child = fork();
    if (child == 0) {
        close(hold_child[1]);
        status = has_descriptor("create.lock") ? 1 : 0;
        /* Stay until the parent has tried the lock: an inherited descriptor would keep it taken. */
        if (read(hold_child[0], &byte, 1) != 0)
            status = 2;
        _exit(status);
    }
    close(hold_child[0]);
    pthread_join(thread, NULL);
    fake_agent_reply(partition.agent, REPLY_DONE);
    check_number(rv, CKR_DEVICE_ERROR, "the commit that nobody answered fails");
    make_aes(module, partition.session, true, "one", &rv);
    check_number(rv, CKR_OK, "while the child lives, the parent's next commit succeeds");
    close(hold_child[1]);
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child had no descriptor of the lock");
    fake_agent_forget(partition.agent);
}

static void a_forked_child_can_commit_itself(void)
{
    int status = -1;
    CK_RV rv;
    pid_t child = fork();

    if (child == 0) {
        make_aes(module, partition.session, true, "child", &rv);
        _exit(rv == CKR_OK ? 0 : 1);
    }
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child makes a key");
    check_number(fake_agent_requests(partition.agent), 1, "and commits it");
    make_aes(module, partition.session, true, "parent", &rv);
    check_number(rv, CKR_OK, "the parent makes one afterwards");
    check_number(fake_agent_requests(partition.agent), 2, "and commits it");
    fake_agent_forget(partition.agent);
}

static void a_killed_process_leaves_the_lock_free(void)
{
    int status = -1;
    CK_RV rv;
    pid_t child;

    fake_agent_reply(partition.agent, REPLY_NEVER);
    child = fork();
    if (child == 0) {
        make_aes(module, partition.session, true, "killed", &rv);
        _exit(0);
    }
    need(wait_for_request(), "a commit under way in the child");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    check(WIFSIGNALED(status), "a process is killed while it commits");
    fake_agent_reply(partition.agent, REPLY_DONE);
    make_aes(module, partition.session, true, "next", &rv);
    check_number(rv, CKR_OK, "the next process is not kept waiting");
}

static void *release_later(void *descriptor)
{
    struct timespec moment = {0, 200000000};

    nanosleep(&moment, NULL);
    close(*(int *)descriptor);
    return NULL;
}

/* Somebody else has a lock; `call` is made meanwhile, and must not get through before that one gives it up. */
static void waits_for(const char *lock, int operation, CK_RV (*call)(void), const char *what)
{
    char path[128];
    int held;
    pthread_t thread;
    int64_t begin = deadline_now();

    snprintf(path, sizeof path, "%s/%s", partition.directory, lock);
    held = open(path, O_RDONLY | O_CLOEXEC);
    need(held >= 0 && flock(held, operation) == 0, lock);
    need(pthread_create(&thread, NULL, release_later, &held) == 0, "pthread_create");
    check_number(call(), CKR_OK, what);
    check(deadline_now() - begin >= 190, "until it is given up");
    pthread_join(thread, NULL);
}

static CK_RV change_something(void)
{
    CK_RV rv;

    make_aes(module, partition.session, true, "waited", &rv);
    return rv;
}

static CK_RV look_at_the_token(void)
{
    CK_TOKEN_INFO info;

    return module->C_GetTokenInfo(partition.slot, &info);
}

static CK_RV log_in_again(void)
{
    module->C_Logout(partition.session);
    return module->C_Login(partition.session, CKU_USER, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1);
}

static CK_RV initialize_again(void)
{
    module->C_Finalize(NULL);
    return module->C_Initialize(NULL);
}

static void a_lock_given_up_in_time_is_taken(void)
{
    waits_for("create.lock", LOCK_EX, change_something, "a change waits for the lock");
}

/* SoftHSM 2.6.1 leaves token.object torn for a moment at every login (src/token_file.h). */
static void who_reads_the_token_waits_for_who_logs_in_and_the_other_way_round(void)
{
    waits_for("login.lock", LOCK_EX, look_at_the_token, "C_GetTokenInfo waits for a login");
    waits_for("login.lock", LOCK_SH, log_in_again, "C_Login waits for those who read the token");
    waits_for("login.lock", LOCK_EX, log_in_again, "and for another login");
    waits_for("login.lock", LOCK_EX, initialize_again, "C_Initialize waits for a login");
    partition_reopen(&partition);
}

int main(void)
{
    partition_open(&partition);
    module = partition.module;
    each_thread_commits_its_own();
    a_forked_child_holds_nothing_of_its_parents_commit();
    a_forked_child_can_commit_itself();
    a_killed_process_leaves_the_lock_free();
    a_lock_given_up_in_time_is_taken();
    who_reads_the_token_waits_for_who_logs_in_and_the_other_way_round();
    partition_close(&partition);
    return finish_tap();
}
