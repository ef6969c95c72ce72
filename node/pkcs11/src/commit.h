/*
 * The agent's client: one connection per change, opened *before* SoftHSM is asked to change anything.
 *
 * If the agent is not there, nothing has happened yet and there is nothing to undo. Connecting anew each
 * time costs some microseconds and keeps no state that a fork or the agent's restart could make stale.
 */
#ifndef KEYFOLD_COMMIT_H
#define KEYFOLD_COMMIT_H

#include "private_fd.h"
#include "protocol.h"

#include <stdint.h>

/* The agent's time to take the connection, and again to answer (docs/interfaces.md §3). */
#ifndef AGENT_WAIT_MS
#define AGENT_WAIT_MS 15000
#endif

/* 0 or an errno; ETIMEDOUT if the agent does not take the connection before the deadline (deadline.h). */
int agent_connect(struct private_fd *connection, const char *socket_path, int64_t deadline);

/*
 * Send the request and wait for the reply. Returns 0 when a reply line came (judged into `reply`), otherwise
 * an errno: ETIMEDOUT, ECONNRESET if the agent hung up, … and reply->outcome is COMMIT_UNKNOWN.
 */
int agent_ask(struct private_fd *connection, const char *request, size_t length, int64_t deadline,
              struct commit_reply *reply);

#endif
