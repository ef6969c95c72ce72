/* Writing to what may have been closed, without ever raising SIGPIPE in the application. */
#ifndef KEYFOLD_SIGPIPE_H
#define KEYFOLD_SIGPIPE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct sigpipe_guard {
    sigset_t previous;
    bool pending; /* one was waiting before: not ours to take */
};

static inline struct sigpipe_guard sigpipe_hold(void)
{
    struct sigpipe_guard guard;
    sigset_t pipe_signal, pending;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    guard.pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &guard.previous);
    return guard;
}

/* `raised`: a write may have raised one, which is taken away. */
static inline void sigpipe_release(const struct sigpipe_guard *guard, bool raised)
{
    static const struct timespec at_once = {0, 0};
    sigset_t pipe_signal;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    if (raised && !guard->pending)
        sigtimedwait(&pipe_signal, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &guard->previous, NULL);
}

#endif
