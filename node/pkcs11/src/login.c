#include "login.h"

#include "commit.h"
#include "config.h"
#include "deadline.h"
#include "protocol.h"
#include "report.h"
#include "softhsm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RETRY_PAUSE_MS 50

static void pause_before_retry(void)
{
    struct timespec pause = {0, RETRY_PAUSE_MS * 1000000L};

    nanosleep(&pause, NULL);
}

/* 0 or an errno; then reply->outcome is COMMIT_UNKNOWN and the connection closed. */
static int ask(struct login *self, const char *request, size_t length, int64_t deadline, struct commit_reply *reply)
{
    int error = agent_ask(&self->agent, request, length, deadline, reply);

    if (reply->outcome == COMMIT_UNKNOWN)
        private_fd_close(&self->agent);
    return error;
}

/* An agent that was just restarted is back in a fraction of a second: connect and ask until the deadline. */
static int ask_patiently(struct login *self, const char *request, size_t length, struct commit_reply *reply)
{
    int64_t deadline = deadline_in(LOGIN_WAIT_MS);

    for (;;) {
        int error = agent_connect(&self->agent, config_current()->agent_socket, deadline);

        *reply = (struct commit_reply){.outcome = COMMIT_UNKNOWN};
        if (error == 0)
            error = ask(self, request, length, deadline, reply);
        if (reply->outcome != COMMIT_UNKNOWN || deadline_left(deadline) <= RETRY_PAUSE_MS)
            return error;
        pause_before_retry();
    }
}

static void report_reply(const struct login *self, const struct commit_reply *reply, int error, const char *not_done)
{
    char what[128];

    if (reply->outcome == COMMIT_REFUSED)
        snprintf(what, sizeof what, "the agent refused (%s)", reply->code);
    else
        snprintf(what, sizeof what, "no usable answer from the agent: %s",
                 error != 0 ? strerrordesc_np(error) : "not a reply");
    report(self->call, what, not_done,
           reply->outcome == COMMIT_REFUSED ? "keyfold status" : "systemctl status keyfold-agent");
}

const char *login_user_of(CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info;

    return softhsm->C_GetSessionInfo(session, &info) == CKR_OK && info.state == CKS_RW_SO_FUNCTIONS ? "so" : "user";
}

CK_RV login_begin(struct login *self)
{
    char request[LOGIN_REQUEST_BYTES];
    struct commit_reply reply;
    size_t length = login_begin_write(request, config_current()->partition, self->user);
    int error = ask_patiently(self, request, length, &reply);

    if (reply.outcome == COMMIT_DONE)
        return CKR_OK;
    report_reply(self, &reply, error, "the login; no PIN was compared");
    return reply.outcome == COMMIT_REFUSED && strcmp(reply.code, "locked") == 0 ? CKR_PIN_LOCKED : CKR_DEVICE_ERROR;
}

CK_RV login_end(struct login *self, CK_RV rv)
{
    char request[LOGIN_REQUEST_BYTES];
    struct commit_reply reply;
    size_t length;
    int error;

    /* Not begun, or not about the PIN: then the agent hears no result, and counts what it does not know as a failure. */
    if (self->agent.fd >= 0 && (rv == CKR_OK || rv == CKR_PIN_INCORRECT)) {
        length = login_result_write(request, config_current()->partition, self->user, rv == CKR_OK);
        error = ask(self, request, length, deadline_in(LOGIN_WAIT_MS), &reply);
        if (reply.outcome != COMMIT_DONE) {
            report_reply(self, &reply, error, "counting the login, so its outcome is not told");
            rv = CKR_DEVICE_ERROR;
        }
    }
    private_fd_close(&self->agent);
    return rv;
}
