/*
 * Guesses at PINs are counted by the agent, over all connections and nodes (docs/interfaces.md §3): SoftHSM has no
 * lockout. Around every call that compares a PIN:
 *
 *     login_begin -> the call to SoftHSM -> login_end
 *
 * The agent learns who is meant and whether it went well, never the PIN. Nobody learns a verdict that is not counted.
 */
#ifndef KEYFOLD_LOGIN_H
#define KEYFOLD_LOGIN_H

#include "private_fd.h"

#include <p11-kit/pkcs11.h>

/* How long an agent that restarts is waited for at the beginning, and any agent for its answer at the end. */
#ifndef LOGIN_WAIT_MS
#define LOGIN_WAIT_MS 5000
#endif

struct login {
    const char *call; /* the PKCS#11 function, for the report */
    const char *user; /* "user" or "so" */
    struct private_fd agent;
};

#define LOGIN(call_name, user_name) {.call = (call_name), .user = (user_name), .agent = PRIVATE_FD_CLOSED}

/* Whose PIN a session compares now: "so" in the security officer's session, otherwise "user". */
const char *login_user_of(CK_SESSION_HANDLE session);

/* CKR_OK; CKR_PIN_LOCKED if there were too many failures; CKR_DEVICE_ERROR without an agent. */
CK_RV login_begin(struct login *self);

/*
 * Tell the verdict if `rv` is one (CKR_OK, CKR_PIN_INCORRECT), over the connection on which the login was begun: the
 * agent counts a login whose connection ends before. Returns what the call is to return: `rv`, or CKR_DEVICE_ERROR for
 * a verdict that could not be told. Needed in every case, also when login_begin failed.
 */
CK_RV login_end(struct login *self, CK_RV rv);

#endif
