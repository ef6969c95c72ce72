/*
 * The partition's locks: flock(2) on files in the partition's directory (docs/interfaces.md §3).
 *
 * They order the processes of one partition among each other and against the agent. Two threads of one
 * process exclude each other too, because each takes the lock on a descriptor of its own.
 */
#ifndef KEYFOLD_LOCK_H
#define KEYFOLD_LOCK_H

#include "private_fd.h"

#define LOCK_CREATE "create.lock"
#define LOCK_UPDATE "update.lock"
#define LOCK_LOGIN "login.lock"

/* Longer than two agent deadlines: the holder may need one to connect and one for the answer. */
#ifndef LOCK_WAIT_MS
#define LOCK_WAIT_MS 60000
#endif

/* For one alone, or for all who only read; 0, ETIMEDOUT after LOCK_WAIT_MS, or the errno of opening the file. */
int lock_take(struct private_fd *self, const char *directory, const char *name);
int lock_share(struct private_fd *self, const char *directory, const char *name);

void lock_release(struct private_fd *self);

#endif
