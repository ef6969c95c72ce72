#include "private_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* Held from before a descriptor exists until it is listed, so that no fork falls in between. */
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct private_fd *open_list;

static void before_fork(void)
{
    pthread_mutex_lock(&open_mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&open_mutex);
}

static void after_fork_in_child(void)
{
    for (struct private_fd *item = open_list; item != NULL; item = item->next) {
        close(item->fd);
        item->fd = -1;
    }
    open_list = NULL;
    pthread_mutex_unlock(&open_mutex);
}

int private_fd_setup(void)
{
    return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static int list_opened(struct private_fd *self, int fd)
{
    if (fd < 0)
        return errno;
    self->fd = fd;
    self->next = open_list;
    open_list = self;
    return 0;
}

int private_fd_open(struct private_fd *self, const char *path, int flags)
{
    int error;

    pthread_mutex_lock(&open_mutex);
    error = list_opened(self, open(path, flags | O_CLOEXEC, 0644));
    pthread_mutex_unlock(&open_mutex);
    return error;
}

int private_fd_stream_socket(struct private_fd *self)
{
    int error;

    pthread_mutex_lock(&open_mutex);
    error = list_opened(self, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    pthread_mutex_unlock(&open_mutex);
    return error;
}

void private_fd_close(struct private_fd *self)
{
    pthread_mutex_lock(&open_mutex);
    if (self->fd >= 0) {
        for (struct private_fd **link = &open_list; *link != NULL; link = &(*link)->next) {
            if (*link == self) {
                *link = self->next;
                break;
            }
        }
        close(self->fd);
        self->fd = -1;
    }
    pthread_mutex_unlock(&open_mutex);
}
