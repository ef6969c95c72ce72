/*
 * A socket that p11-kit-client connects to, in the place of tunnel and node: each connection is a `p11-kit remote` with
 * bare SoftHSM, and can be cut between two calls or at one of them.
 */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>

/* p11-kit's numbers of the calls, of its rpc-message.h. */
enum call {
    CALL_INITIALIZE = 1,
    CALL_OPEN_SESSION = 10,
    CALL_LOGIN = 18,
    CALL_DESTROY_OBJECT = 22,
    CALL_GET_ATTRIBUTE_VALUE = 24,
    CALL_SET_ATTRIBUTE_VALUE = 25,
    CALL_FIND_OBJECTS_INIT = 26,
    CALL_FIND_OBJECTS = 27,
    CALL_SIGN_INIT = 42,
    CALL_SIGN = 43,
    CALL_SIGN_UPDATE = 44,
    CALL_GENERATE_KEY = 58,
    CALLS = 128,
};

/* Listen at `path`; the servers read this softhsm2.conf. */
void relay_start(const char *path, const char *softhsm_conf);
void relay_stop(void);

/* The servers to come read another one. */
void relay_use(const char *softhsm_conf);

/* Cut the connection there is; returns when it is closed. */
void relay_cut(void);

/*
 * Cut it at the `nth` (1: next) of these calls: before the server has it, or before the client has the answer. Or do not
 * cut it: answer CKR_DEVICE_ERROR, as a token does that cannot.
 */
enum moment { BEFORE_IT_IS_DONE, AFTER_IT_IS_DONE, TOKEN_CANNOT };
void relay_cut_at(enum call call, unsigned nth, enum moment moment);

/* Whether the one asked for is still to come. */
bool relay_cuts_left(void);

/* Close every new connection at once, as a tunnel does that reaches no node. */
void relay_refuse(bool refuse);

/* Pass on the servers' greetings only after so long, as of a busy node. */
void relay_greet_after(unsigned milliseconds);

/* Requests since the start, or since relay_forget. */
unsigned relay_requests(enum call call);
void relay_forget(void);

#endif
