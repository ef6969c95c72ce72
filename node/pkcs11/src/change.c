#include "change.h"

#include "commit.h"
#include "config.h"
#include "deadline.h"
#include "lock.h"
#include "policy.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char look_at_agent[] = "systemctl status keyfold-agent";
static const char look_at_cluster[] = "keyfold status";
static const char nothing_changed[] = "anything; nothing was changed";
static const char removed_again[] = "the object is not stored; what was made is removed again";
static const char put_back[] = "the change; the agent has put back what was committed before";
static const char undecided[] = "the commit; the agent commits the change or puts it back once it can";

static CK_RV no_lock(const struct change *self, const char *lock_name, int error)
{
    char what[128];

    if (error == ETIMEDOUT)
        snprintf(what, sizeof what, "another change kept %s for %d s", lock_name, LOCK_WAIT_MS / 1000);
    else
        snprintf(what, sizeof what, "cannot use %s: %s", lock_name, strerrordesc_np(error));
    report(self->call, what, nothing_changed, look_at_agent);
    return CKR_FUNCTION_FAILED;
}

static CK_RV no_agent(const struct change *self, int error)
{
    char what[128];

    snprintf(what, sizeof what, "cannot reach the agent: %s", strerrordesc_np(error));
    report(self->call, what, nothing_changed, look_at_agent);
    return CKR_DEVICE_ERROR;
}

CK_RV change_begin(struct change *self)
{
    const struct config *config = config_current();
    const char *lock_name = self->kind == COMMIT_CREATE ? LOCK_CREATE : LOCK_UPDATE;
    int error;

    if (config == NULL)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    error = lock_take(&self->lock, config->partition_dir, lock_name);
    if (error != 0)
        return no_lock(self, lock_name, error);
    error = agent_connect(&self->agent, config->agent_socket, deadline_in(AGENT_WAIT_MS));
    return error == 0 ? CKR_OK : no_agent(self, error);
}

CK_RV change_begin_update(struct change *self, unsigned *permitted)
{
    CK_RV rv = policy_judge_place(*permitted, true);

    if (rv == CKR_OK)
        rv = change_begin(self);
    if (rv == CKR_OK)
        rv = policy_admit(permitted);
    return rv == CKR_OK ? policy_judge_place(*permitted, true) : rv;
}

bool change_is_guarded(const struct change *self)
{
    return self->agent.fd >= 0;
}

static CK_RV refusal(const char *code)
{
    /* No room, on this node's disk or in the partition's quota: the application can do something about it. */
    if (strcmp(code, "disk") == 0 || strcmp(code, "too_large") == 0 || strcmp(code, "quota") == 0)
        return CKR_DEVICE_MEMORY;
    return CKR_DEVICE_ERROR;
}

enum commit_outcome change_commit(struct change *self, const struct object_hints *objects, size_t count,
                                  CK_RV *rv)
{
    bool creates = self->kind == COMMIT_CREATE;
    char request[REQUEST_BYTES];
    char what[128];
    struct commit_reply reply;
    size_t length = request_write(request, self->kind, config_current()->partition, objects, count);
    int error = agent_ask(&self->agent, request, length, deadline_in(AGENT_WAIT_MS), &reply);

    switch (reply.outcome) {
    case COMMIT_DONE:
        *rv = CKR_OK;
        break;
    case COMMIT_REFUSED:
        *rv = refusal(reply.code);
        snprintf(what, sizeof what, "the agent could not commit (%s)", reply.code);
        report(self->call, what, creates ? removed_again : put_back, look_at_cluster);
        break;
    case COMMIT_UNKNOWN:
        *rv = CKR_DEVICE_ERROR;
        snprintf(what, sizeof what, "no usable answer from the agent: %s",
                 error != 0 ? strerrordesc_np(error) : "not a reply");
        report(self->call, what, creates ? removed_again : undecided, look_at_agent);
        break;
    }
    return reply.outcome;
}

void change_end(struct change *self)
{
    private_fd_close(&self->agent);
    lock_release(&self->lock);
}
