#include "change.h"

#include "commit.h"
#include "config.h"
#include "lock.h"
#include "report.h"

#include <stdio.h>
#include <string.h>

static const char look_at_agent[] = "systemctl status keyfold-agent";
static const char look_at_cluster[] = "keyfold status";
static const char nothing_changed[] = "anything; no object was changed";

static CK_RV begin_failed(const struct change *self, CK_RV rv, const char *subject, int error)
{
    char what[256];

    snprintf(what, sizeof what, "%s: %s", subject, strerrordesc_np(error));
    report(self->call, what, nothing_changed, look_at_agent);
    return rv;
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
        return begin_failed(self, CKR_FUNCTION_FAILED, lock_name, error);
    error = agent_connect(&self->agent, config->agent_socket);
    if (error != 0) {
        lock_release(&self->lock);
        return begin_failed(self, CKR_DEVICE_ERROR, "cannot reach the agent", error);
    }
    return CKR_OK;
}

bool change_is_guarded(const struct change *self)
{
    return self->agent.fd >= 0;
}

static CK_RV refusal(const char *code)
{
    /* No room, on this node's disk or in the partition's quota: the application can do something about it. */
    if (strcmp(code, "disk") == 0 || strcmp(code, "too_large") == 0)
        return CKR_DEVICE_MEMORY;
    return CKR_DEVICE_ERROR;
}

enum commit_outcome change_commit(struct change *self, const struct object_hints *objects, size_t count,
                                  const char *not_done, CK_RV *rv)
{
    char request[REQUEST_BYTES];
    char what[128];
    struct commit_reply reply;
    size_t length = request_write(request, self->kind, config_current()->partition, objects, count);
    int error = agent_commit(&self->agent, request, length, &reply);

    switch (reply.outcome) {
    case COMMIT_DONE:
        *rv = CKR_OK;
        break;
    case COMMIT_REFUSED:
        *rv = refusal(reply.code);
        snprintf(what, sizeof what, "the agent could not commit (%s)", reply.code);
        report(self->call, what, not_done, look_at_cluster);
        break;
    case COMMIT_UNKNOWN:
        *rv = CKR_DEVICE_ERROR;
        snprintf(what, sizeof what, "no usable answer from the agent: %s",
                 error != 0 ? strerrordesc_np(error) : "not a reply");
        report(self->call, what, not_done, look_at_agent);
        break;
    }
    return reply.outcome;
}

void change_end(struct change *self)
{
    private_fd_close(&self->agent);
    lock_release(&self->lock);
}
