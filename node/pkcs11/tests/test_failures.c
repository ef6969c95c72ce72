/* Every way a commit can fail: what is returned, what is undone, what is said. */
#include "deadline.h"
#include "partition.h"
#include "tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

static CK_RV make_data(const char *label, CK_BBOOL *destroyable, CK_OBJECT_HANDLE *object)
{
    CK_OBJECT_CLASS data = CKO_DATA;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, data),
        ATTRIBUTE(CKA_TOKEN, yes),
        {CKA_DESTROYABLE, destroyable, sizeof *destroyable},
        {CKA_LABEL, (void *)(size_t)label, strlen(label)},
    };

    return module->C_CreateObject(session, template, 4, object);
}

static CK_OBJECT_HANDLE existing(const char *label)
{
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;

    fake_agent_reply(partition.agent, REPLY_DONE);
    need(make_data(label, &yes, &object) == CKR_OK, "an object to begin with");
    return object;
}

/* Standard error goes to a file while `said` watches. */
static int saved_stderr = -1;
static char stderr_path[128];

static void watch_stderr(void)
{
    int fd;

    snprintf(stderr_path, sizeof stderr_path, "%s/stderr", partition.directory);
    fd = open(stderr_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    need(fd >= 0 && saved_stderr >= 0 && dup2(fd, STDERR_FILENO) >= 0, "watch stderr");
    close(fd);
}

/* What was written since watch_stderr(). */
static const char *said(void)
{
    static char text[8192];
    ssize_t length;
    int fd = open(stderr_path, O_RDONLY | O_CLOEXEC);

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    length = read(fd, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    close(fd);
    return text;
}

static void check_said(const char *wanted)
{
    const char *text = said();

    check(strstr(text, wanted) != NULL && strchr(text, '\n') == text + strlen(text) - 1,
          "one line on standard error names %s", wanted);
    check(strstr(text, "secret") == NULL, "and no label");
}

static void every_creation_is_undone(const char *how, CK_RV wanted)
{
    size_t before = partition_object_files(&partition);
    CK_OBJECT_HANDLE object = 99, public_key = 99, private_key = 99;
    CK_RV rv;

    printf("# %s\n", how);
    watch_stderr();
    check_number(make_data("secret-new", &yes, &object), wanted, "C_CreateObject fails");
    check_said("C_CreateObject");
    check_number(object, CK_INVALID_HANDLE, "and gives no handle");
    check_number(make_p256(module, session, true, true, "secret-new", &public_key, &private_key), wanted,
                 "C_GenerateKeyPair fails");
    check(public_key == CK_INVALID_HANDLE && private_key == CK_INVALID_HANDLE, "and gives no handle");
    make_aes(module, session, true, "secret-new", &rv);
    check_number(rv, wanted, "C_GenerateKey fails");
    check_number(make_p256(module, session, false, true, "secret-new", &public_key, &private_key), wanted,
                 "a pair of which one half is a session object fails");
    check_number(count_labelled(&partition, "secret-new"), 0, "no object is left, not even the session object");
    check_number(partition_object_files(&partition), before, "and no file");
}

static void without_an_agent_nothing_is_changed(void)
{
    CK_OBJECT_HANDLE object = existing("kept"), made = 99;
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "secret-renamed");

    printf("# without an agent\n");
    fake_agent_stop(partition.agent);
    watch_stderr();
    check_number(module->C_DestroyObject(session, object), CKR_DEVICE_ERROR, "C_DestroyObject fails");
    check_said("cannot reach the agent: No such file or directory; not done: anything");
    check_number(module->C_SetAttributeValue(session, object, &renamed, 1), CKR_DEVICE_ERROR,
                 "C_SetAttributeValue fails");
    check_number(count_labelled(&partition, "kept"), 1, "the object is as it was");
    check_number(make_data("secret-new", &yes, &made), CKR_DEVICE_ERROR, "C_CreateObject fails");
    check_number(count_labelled(&partition, "secret-new"), 0, "nothing is made");
    partition.agent = fake_agent_start(partition.agent_socket);
    check_number(module->C_DestroyObject(session, object), CKR_OK, "once the agent is back, calls succeed");
}

/* The agent's part of a refusal: put the files back to what was committed. */
static struct file_names committed_files;

static void remove_new_files(const char *request, void *context)
{
    (void)request;
    (void)context;
    partition_remove_others(&partition, &committed_files);
}

static void put_files_back(const char *request, void *context)
{
    (void)request;
    (void)context;
    partition_put_back(&partition);
}

static void refused_creations_are_gone_here_too(void)
{
    CK_OBJECT_HANDLE object;

    partition_list_files(&partition, &committed_files);
    fake_agent_on_request(partition.agent, remove_new_files, NULL);
    fake_agent_reply(partition.agent, REPLY_REFUSED("no_quorum"));
    every_creation_is_undone("refused, and the agent has removed the files", CKR_DEVICE_ERROR);
    fake_agent_reply(partition.agent, REPLY_REFUSED("disk"));
    check_number(make_data("full", &yes, &object), CKR_DEVICE_MEMORY, "a full disk is told as such");
    fake_agent_reply(partition.agent, REPLY_REFUSED("too_large"));
    check_number(make_data("full", &yes, &object), CKR_DEVICE_MEMORY, "so is an object too large");
    fake_agent_reply(partition.agent, REPLY_REFUSED("quota"));
    check_number(make_data("full", &yes, &object), CKR_DEVICE_MEMORY, "so is a full partition");
    check_number(count_labelled(&partition, "full"), 0, "and nothing is left behind");
    check_number(make_data("undestroyable", &no, &object), CKR_DEVICE_MEMORY, "an undestroyable object fails too");
    check_number(count_labelled(&partition, "undestroyable"), 0, "and is gone");
    fake_agent_on_request(partition.agent, NULL, NULL);
    fake_agent_reply(partition.agent, REPLY_REFUSED("denied"));
    every_creation_is_undone("refused by an agent that left the files", CKR_DEVICE_ERROR);
}

static void refused_changes_are_seen_put_back(void)
{
    CK_OBJECT_HANDLE object = existing("original");
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "secret-renamed");

    partition_save(&partition);
    fake_agent_on_request(partition.agent, put_files_back, NULL);
    fake_agent_reply(partition.agent, REPLY_REFUSED("conflict"));
    watch_stderr();
    check_number(module->C_SetAttributeValue(session, object, &renamed, 1), CKR_DEVICE_ERROR,
                 "a refused C_SetAttributeValue fails");
    check_said("C_SetAttributeValue: the agent could not commit (conflict)");
    check_number(count_labelled(&partition, "original"), 1, "the old label is back");
    check_number(count_labelled(&partition, "secret-renamed"), 0, "the new one is gone");
    check_number(module->C_DestroyObject(session, object), CKR_DEVICE_ERROR, "a refused C_DestroyObject fails");
    /* SoftHSM 2.6.1 does not see a file come back that it has removed itself (README.md, limits). */
    partition_reopen(&partition);
    session = partition.session;
    check_number(count_labelled(&partition, "original"), 1, "the object is back for every process that starts now");
    fake_agent_on_request(partition.agent, NULL, NULL);
    fake_agent_reply(partition.agent, REPLY_DONE);
}

static void unusable_answers_undo_creations(void)
{
    int64_t begin;
    CK_OBJECT_HANDLE object;

    fake_agent_reply(partition.agent, REPLY_HANG_UP);
    every_creation_is_undone("the agent hangs up", CKR_DEVICE_ERROR);
    fake_agent_reply(partition.agent, "HTTP/1.1 400 Bad Request\r\n\r\n");
    every_creation_is_undone("the agent talks nonsense", CKR_DEVICE_ERROR);
    fake_agent_reply(partition.agent, "\n");
    every_creation_is_undone("the agent sends an empty line", CKR_DEVICE_ERROR);

    fake_agent_turn_away(partition.agent, true);
    every_creation_is_undone("the agent has hung up before it is asked (no SIGPIPE)", CKR_DEVICE_ERROR);
    fake_agent_turn_away(partition.agent, false);

    printf("# the agent does not answer\n");
    fake_agent_reply(partition.agent, REPLY_NEVER);
    begin = deadline_now();
    watch_stderr();
    check_number(make_data("secret-new", &yes, &object), CKR_DEVICE_ERROR, "C_CreateObject fails");
    check_said("no usable answer from the agent: Connection timed out");
    check(deadline_now() - begin >= 1000 && deadline_now() - begin < 5000, "after the deadline, not before");
    check_number(count_labelled(&partition, "secret-new"), 0, "no object is left");
    fake_agent_reply(partition.agent, "{\"ok\":true,\"revision\":1");
    check_number(make_data("secret-new", &yes, &object), CKR_DEVICE_ERROR, "half a reply is no reply");
    check_number(count_labelled(&partition, "secret-new"), 0, "no object is left");
    fake_agent_reply(partition.agent, REPLY_DONE);
}

static void a_change_nobody_decided_is_an_error(void)
{
    CK_OBJECT_HANDLE object = existing("undecided");

    fake_agent_reply(partition.agent, REPLY_HANG_UP);
    watch_stderr();
    check_number(module->C_DestroyObject(session, object), CKR_DEVICE_ERROR, "C_DestroyObject without an answer");
    check_said("not done: the commit; the agent commits the change or puts it back once it can");
    fake_agent_reply(partition.agent, REPLY_DONE);
}

static void an_undestroyable_object_is_admitted(void)
{
    CK_OBJECT_HANDLE object;

    fake_agent_reply(partition.agent, REPLY_HANG_UP);
    watch_stderr();
    check_number(make_data("undestroyable", &no, &object), CKR_DEVICE_ERROR, "an undestroyable object not committed");
    check(strstr(said(), "the object was made with CKA_DESTROYABLE false; not done: removing it") != NULL,
          "is said to remain");
    check_number(object, CK_INVALID_HANDLE, "but is not given out");
    fake_agent_reply(partition.agent, REPLY_DONE);
}

static void long_replies_are_read_to_their_end(void)
{
    static char reply[10000];
    CK_OBJECT_HANDLE object;
    int length = snprintf(reply, sizeof reply, "{\"ok\":true,\"padding\":\"%09000d\"}\n", 0);

    need(length > 9000, "a long reply");
    fake_agent_reply(partition.agent, reply);
    check_number(make_data("long", &yes, &object), CKR_OK, "a reply longer than is kept");
    fake_agent_reply(partition.agent, REPLY_DONE);
}

static void an_agent_that_takes_no_connection_is_waited_for(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int clients[8];
    size_t count = 0;
    int64_t begin;
    CK_OBJECT_HANDLE object = existing("kept-2");

    fake_agent_stop(partition.agent);
    strcpy(address.sun_path, partition.agent_socket);
    need(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 0) == 0, "listen");
    do {
        need(count < 8, "a full backlog");
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(clients[count++], (struct sockaddr *)&address, sizeof address) == 0);
    begin = deadline_now();
    watch_stderr();
    check_number(module->C_DestroyObject(session, object), CKR_DEVICE_ERROR, "a full backlog fails the call");
    check_said("cannot reach the agent: Connection timed out");
    check(deadline_now() - begin >= 1000 && deadline_now() - begin < 5000, "after the deadline, not before");
    check_number(count_labelled(&partition, "kept-2"), 1, "the object is as it was");
    while (count > 0)
        close(clients[--count]);
    close(listener);
    unlink(partition.agent_socket);
    partition.agent = fake_agent_start(partition.agent_socket);
}

static void a_broken_stderr_does_not_end_the_application(void)
{
    int ends[2];
    CK_OBJECT_HANDLE object;
    int original = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    need(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0, "pipe");
    close(ends[0]);
    close(ends[1]);
    fake_agent_reply(partition.agent, REPLY_HANG_UP);
    check_number(make_data("x", &yes, &object), CKR_DEVICE_ERROR, "with stderr a broken pipe the call still returns");
    dup2(original, STDERR_FILENO);
    close(original);
    fake_agent_reply(partition.agent, REPLY_DONE);
}

int main(void)
{
    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    without_an_agent_nothing_is_changed();
    refused_creations_are_gone_here_too();
    refused_changes_are_seen_put_back();
    unusable_answers_undo_creations();
    a_change_nobody_decided_is_an_error();
    an_undestroyable_object_is_admitted();
    long_replies_are_read_to_their_end();
    an_agent_that_takes_no_connection_is_waited_for();
    a_broken_stderr_does_not_end_the_application();
    partition_close(&partition);
    return finish_tap();
}
