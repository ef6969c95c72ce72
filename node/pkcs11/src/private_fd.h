/*
 * Descriptors that belong to this process alone.
 *
 * O_CLOEXEC covers exec; this covers fork. A child forked while another thread commits would inherit the
 * open file description of that thread's lock, and if the parent were then killed the partition would stay
 * locked for as long as the child lives. So forked children close these at once.
 */
#ifndef KEYFOLD_PRIVATE_FD_H
#define KEYFOLD_PRIVATE_FD_H

#include <sys/types.h>

/* One open descriptor; lives wherever its owner wants, usually on the stack. */
struct private_fd {
    int fd; /* -1: closed */
    struct private_fd *next;
};

#define PRIVATE_FD_CLOSED {.fd = -1, .next = NULL}

/* Register the fork handlers; once per process, before anything is opened. 0 or an errno. */
int private_fd_setup(void);

/* Both return 0 or an errno, and set O_CLOEXEC themselves; a file that is created gets mode 0644. */
int private_fd_open(struct private_fd *self, const char *path, int flags);
int private_fd_stream_socket(struct private_fd *self);

/* Closes; harmless on one that is closed, and in a child that inherited it closed. */
void private_fd_close(struct private_fd *self);

#endif
