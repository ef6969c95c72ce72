/*
 * One change of token objects: lock, connect, let SoftHSM change, commit, and undo if that failed
 * (design §5.1, docs/interfaces.md §3).
 *
 *     change_begin -> the call to SoftHSM -> change_commit -> (undo) -> change_end
 */
#ifndef KEYFOLD_CHANGE_H
#define KEYFOLD_CHANGE_H

#include "private_fd.h"
#include "protocol.h"

#include <p11-kit/pkcs11.h>

struct change {
    const char *call; /* the PKCS#11 function, for the report */
    enum commit_kind kind;
    struct private_fd lock;
    struct private_fd agent;
};

/* A change that holds nothing yet; change_end does nothing to it. */
#define CHANGE(call_name, commit_kind) \
    {.call = (call_name), .kind = (commit_kind), .lock = PRIVATE_FD_CLOSED, .agent = PRIVATE_FD_CLOSED}

/*
 * Take the lock and reach the agent. Anything but CKR_OK means that SoftHSM must not be asked to change anything:
 * CKR_FUNCTION_FAILED (no lock), CKR_DEVICE_ERROR (no agent), CKR_CRYPTOKI_NOT_INITIALIZED.
 */
CK_RV change_begin(struct change *self);

/*
 * change_begin of a change to what is on the token already, PINs included: CKR_TOKEN_WRITE_PROTECTED if the policy
 * is read_only, which `permitted` tells, and is read anew once the lock is had.
 */
CK_RV change_begin_update(struct change *self, unsigned *permitted);

/* change_begin succeeded. */
bool change_is_guarded(const struct change *self);

/*
 * Ask the agent to commit; sets *rv to what the call is to return: CKR_OK, CKR_DEVICE_MEMORY (refused for want
 * of room) or CKR_DEVICE_ERROR. Reports every failure. Removing what was created is the caller's part.
 */
enum commit_outcome change_commit(struct change *self, const struct object_hints *objects, size_t count,
                                  CK_RV *rv);

/* Let go of agent and lock; needed in every case, also when change_begin failed or was not called. */
void change_end(struct change *self);

#endif
