/* The policy file: without a good one nothing starts, and a change is seen by what is running. */
#include "keys.h"
#include "policy.h"
#include "tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct partition partition;
static const unsigned char good[POLICY_BYTES] = POLICY_MAGIC "\x01\xff";

static void write_policy(const void *bytes, size_t length, mode_t mode)
{
    int fd;

    unlink(partition.policy);
    fd = open(partition.policy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    need(fd >= 0 && write(fd, bytes, length) == (ssize_t)length && fchmod(fd, mode) == 0, "policy");
    close(fd);
}

static void a_bad_file_is_refused(const char *name)
{
    CK_INFO info;

    check_number(partition.module->C_Initialize(NULL), CKR_GENERAL_ERROR, name);
    check_number(partition.module->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED, "and SoftHSM is not left initialised");
}

static void without_a_good_file_nothing_starts(void)
{
    unsigned char bytes[POLICY_BYTES + 1];

    partition.module->C_Finalize(NULL);
    unlink(partition.policy);
    a_bad_file_is_refused("no policy file");
    write_policy(good, 0, 0644);
    a_bad_file_is_refused("an empty policy file");
    write_policy(good, sizeof good - 1, 0644);
    a_bad_file_is_refused("a policy file that is too short");
    memcpy(bytes, good, sizeof good);
    bytes[POLICY_BYTES] = 0;
    write_policy(bytes, sizeof bytes, 0644);
    a_bad_file_is_refused("a policy file that is too long");
    bytes[0] = 'k';
    write_policy(bytes, sizeof good, 0644);
    a_bad_file_is_refused("a file that is no policy");
    bytes[0] = 'K';
    bytes[POLICY_VERSION_AT] = POLICY_VERSION + 1;
    write_policy(bytes, sizeof good, 0644);
    a_bad_file_is_refused("a policy of another version");
    write_policy(good, sizeof good, 0664);
    a_bad_file_is_refused("a policy file its group may write");
    write_policy(good, sizeof good, 0646);
    a_bad_file_is_refused("a policy file anybody may write");
    if (geteuid() == 0) {
        write_policy(good, sizeof good, 0644);
        need(chown(partition.policy, 65534, 65534) == 0, "chown");
        a_bad_file_is_refused("a policy file of somebody else's");
    }
    unlink(partition.policy);
    need(mkdir(partition.policy, 0755) == 0, "a directory");
    a_bad_file_is_refused("a directory");
    rmdir(partition.policy);
    need(mkfifo(partition.policy, 0644) == 0, "a pipe");
    a_bad_file_is_refused("a pipe, without waiting for it");
    unlink(partition.policy);
    need(symlink("/proc/self/exe", partition.policy) == 0, "a link");
    a_bad_file_is_refused("a symbolic link");
    write_policy(good, sizeof good, 0644);
    partition_reopen(&partition);
    check(true, "with a good one it starts");
}

/* The agent is another process. */
static void another_process_permits(unsigned permitted)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        partition_permit(&partition, permitted);
        _exit(0);
    }
    waitpid(child, &status, 0);
    need(status == 0, "another process changes the policy");
}

static void every_flag_is_seen_at_once(void)
{
    CK_SESSION_HANDLE session;

    for (unsigned flags = 0; flags <= 0xff; flags += 5) {
        bool open = (flags & POLICY_CLIENT_API_ACCESS) != 0;
        CK_RV rv;

        another_process_permits(flags);
        rv = partition.module->C_OpenSession(partition.slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
        if (!check(rv == (open ? CKR_OK : CKR_TOKEN_NOT_PRESENT), "a running process sees the policy change to %#x", flags))
            printf("# got %#lx\n", rv);
    }
}

static void nothing_is_done_before_c_initialize(void)
{
    CK_FUNCTION_LIST_PTR list = partition.module;
    CK_SESSION_HANDLE session;

    list->C_Finalize(NULL);
    check_number(list->C_OpenSession(partition.slot, CKF_SERIAL_SESSION, NULL, NULL, &session),
                 CKR_CRYPTOKI_NOT_INITIALIZED, "after C_Finalize there is no session");
    /* An application that loads both: SoftHSM is initialised, this module is not told. */
    need(partition.softhsm->C_Initialize(NULL) == CKR_OK, "SoftHSM's own C_Initialize");
    write_policy(good, sizeof good, 0666);
    check_number(list->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED, "with SoftHSM initialised by somebody else");
    partition_permit(&partition, EVERYTHING);
}

int main(void)
{
    partition_open(&partition);
    without_a_good_file_nothing_starts();
    every_flag_is_seen_at_once();
    another_process_permits(EVERYTHING);
    nothing_is_done_before_c_initialize();
    partition_close(&partition);
    return finish_tap();
}
