/*
 * Does a server answer at a p11-kit address? Asked before p11-kit-client is, because p11-kit 0.25.5 waits without a
 * deadline, and each C_Initialize that fails while it greets the server leaves a socket open.
 */
#ifndef RECONNECT_PROBE_H
#define RECONNECT_PROBE_H

#include <stdbool.h>
#include <stdint.h>

/* True: it does, or the address is not of the kind unix:path=/… */
bool probe(const char *address, int64_t deadline);

#endif
