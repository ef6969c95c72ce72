/* A mechanism of our own, to begin an operation with again when the application's memory is gone. */
#ifndef RECONNECT_MECHANISM_H
#define RECONNECT_MECHANISM_H

#include <p11-kit/pkcs11.h>

/* One block for free(); NULL when its parameters are of a kind we do not know how to copy (or memory is out). */
CK_MECHANISM *mechanism_copy(const CK_MECHANISM *mechanism);

#endif
