/*
 * The one connection: p11-kit-client.so, and whether somebody answers behind it.
 *
 * p11-kit 0.25 says CKR_DEVICE_ERROR to everything once its socket has failed, until C_Finalize and C_Initialize. A
 * token may say CKR_DEVICE_ERROR too, so it is asked for something harmless before the connection is taken for dead.
 */
#ifndef RECONNECT_CONNECTION_H
#define RECONNECT_CONNECTION_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* How long a call waits for a new connection, from when it noticed. */
#ifndef RECONNECT_MS
#define RECONNECT_MS 10000
#endif

/* p11-kit-client's function table, NULL before connection_open. */
extern CK_FUNCTION_LIST_PTR client;

/* The number of the connection: whatever was learnt on another one is void. */
extern unsigned long epoch;

/* Load p11-kit-client.so for the address (NULL: what the environment says) and try once to connect. */
CK_RV connection_open(const char *address);
void connection_close(void);

/* In a forked child: the connection is the parent's. */
void connection_abandon(void);

/* Begin a call: it has all of RECONNECT_MS, should it need them. */
void connection_begin(void);

/* CKR_OK when connected, if need be anew; otherwise what kept it from being so until the deadline. */
CK_RV connection_need(void);

/* Whether somebody answers: CKR_OK or CKR_DEVICE_ERROR. */
CK_RV connection_ask(void);

/* Whether a call that answered `rv` found the connection dead. */
bool connection_lost(CK_RV rv);

bool connection_is_up(void);

/* False: there has been no token since C_Initialize. */
bool connection_was_ever_up(void);

/* Whether something may have been written to a dead connection since connection_begin. */
bool connection_has_failed(void);

#endif
