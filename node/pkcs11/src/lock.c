#include "lock.h"

#include "deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/*
 * flock has no deadline of its own, so it is asked again and again: the longer somebody has waited, the more
 * often. Otherwise an application that makes one key after another would take the lock again before a patient
 * waiter next asked. A commit takes some 20 ms, so even the longest pause is a fraction of what is waited for.
 */
#define LONGEST_PAUSE_US 4000
#define SHORTEST_PAUSE_US 500

static void pause_after_waiting(int64_t waited_ms)
{
    int64_t pause_us = LONGEST_PAUSE_US - waited_ms * 35;
    struct timespec pause = {0};

    pause.tv_nsec = (pause_us > SHORTEST_PAUSE_US ? pause_us : SHORTEST_PAUSE_US) * 1000;
    nanosleep(&pause, NULL);
}

static int open_lock_file(struct private_fd *self, const char *path)
{
    int error = private_fd_open(self, path, O_RDONLY | O_NOFOLLOW);

    if (error != ENOENT)
        return error;
    /* Read access is all that flock needs. The file must be readable for the partition's user even when
     * root's process was the first to come; others are kept out by the directory. */
    error = private_fd_open(self, path, O_RDONLY | O_NOFOLLOW | O_CREAT);
    if (error == 0)
        (void)fchmod(self->fd, 0644);
    return error;
}

static int wait_for(struct private_fd *self, const char *directory, const char *name, int operation)
{
    char path[PATH_MAX];
    int64_t deadline = deadline_in(LOCK_WAIT_MS);
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    int error;

    if (length < 0 || (size_t)length >= sizeof path)
        return ENAMETOOLONG;
    error = open_lock_file(self, path);
    if (error != 0)
        return error;
    while (flock(self->fd, operation | LOCK_NB) != 0) {
        error = errno;
        if (error == EWOULDBLOCK && deadline_left(deadline) == 0)
            error = ETIMEDOUT;
        if (error != EWOULDBLOCK && error != EINTR) {
            private_fd_close(self);
            return error;
        }
        pause_after_waiting(LOCK_WAIT_MS - deadline_left(deadline));
    }
    return 0;
}

int lock_take(struct private_fd *self, const char *directory, const char *name)
{
    return wait_for(self, directory, name, LOCK_EX);
}

int lock_share(struct private_fd *self, const char *directory, const char *name)
{
    return wait_for(self, directory, name, LOCK_SH);
}

void lock_release(struct private_fd *self)
{
    if (self->fd < 0)
        return;
    /* Unlock, not only close: a child made by a bare clone() ran no fork handlers and holds a duplicate. */
    (void)flock(self->fd, LOCK_UN);
    private_fd_close(self);
}
