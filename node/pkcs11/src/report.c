#include "report.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Write without ever raising SIGPIPE: a library must not end its application because the journal went away. */
static void write_quietly(const char *line, size_t length)
{
    static const struct timespec at_once = {0, 0};
    sigset_t pipe_signal, previous, pending;
    int saved_errno = errno;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &previous);
    if (write(STDERR_FILENO, line, length) < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe_signal, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    errno = saved_errno;
}

void report(const char *call, const char *what, const char *not_done, const char *next)
{
    char line[1024];
    int length = snprintf(line, sizeof line, "keyfold-pkcs11: %s: %s; not done: %s; next: %s\n",
                          call, what, not_done, next);

    if (length < 0)
        return;
    if ((size_t)length >= sizeof line) {
        length = (int)sizeof line - 1;
        line[length - 1] = '\n';
    }
    write_quietly(line, (size_t)length);
}
