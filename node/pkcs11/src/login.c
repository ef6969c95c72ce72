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

/* Ask once, over the connection that is open or a new one. 0 or an errno, as agent_ask. */
static int ask_once(struct login *self, const char *request, size_t length, int64_t deadline,
                    struct commit_reply *reply)
{
    int error = 0;

    *reply = (struct commit_reply){.outcome = COMMIT_UNKNOWN};
    if (self->agent.fd < 0)
        error = agent_connect(&self->agent, config_current()->agent_socket, deadline);
    if (error == 0)
        error = agent_ask(&self->agent, request, length, deadline, reply);
    if (reply->outcome == COMMIT_UNKNOWN)
        private_fd_close(&self->agent);
    return error;
}

/* An agent that was just restarted is back in a fraction of a second: ask until the deadline. */
static struct commit_reply ask(struct login *self, const char *request, size_t length, const char *not_done)
{
    int64_t deadline = deadline_in(LOGIN_WAIT_MS);
    struct commit_reply reply;
    char what[128];
    int error = ask_once(self, request, length, deadline, &reply);

    while (reply.outcome == COMMIT_UNKNOWN && deadline_left(deadline) > RETRY_PAUSE_MS) {
        pause_before_retry();
        error = ask_once(self, request, length, deadline, &reply);
    }
    if (reply.outcome == COMMIT_DONE)
        return reply;
    if (reply.outcome == COMMIT_REFUSED)
        snprintf(what, sizeof what, "the agent refused (%s)", reply.code);
    else
        snprintf(what, sizeof what, "no usable answer from the agent: %s",
                 error != 0 ? strerrordesc_np(error) : "not a reply");
    report(self->call, what, not_done,
           reply.outcome == COMMIT_REFUSED ? "keyfold status" : "systemctl status keyfold-agent");
    return reply;
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

    reply = ask(self, request, length, "the login; no PIN was compared");
    if (reply.outcome == COMMIT_DONE)
        return CKR_OK;
    return reply.outcome == COMMIT_REFUSED && strcmp(reply.code, "locked") == 0 ? CKR_PIN_LOCKED : CKR_DEVICE_ERROR;
}

CK_RV login_end(struct login *self, CK_RV rv)
{
    char request[LOGIN_REQUEST_BYTES];
    size_t length;

    /* Anything else is not about the PIN: closing the connection without a result says so. */
    if (rv == CKR_OK || rv == CKR_PIN_INCORRECT) {
        length = login_result_write(request, config_current()->partition, self->user, rv == CKR_OK);
        if (ask(self, request, length, "counting the login").outcome != COMMIT_DONE)
            rv = CKR_DEVICE_ERROR;
    }
    private_fd_close(&self->agent);
    return rv;
}
