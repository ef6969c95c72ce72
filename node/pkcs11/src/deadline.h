/* Deadlines on the monotonic clock, in milliseconds. */
#ifndef KEYFOLD_DEADLINE_H
#define KEYFOLD_DEADLINE_H

#include <stdint.h>
#include <time.h>

static inline int64_t deadline_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t deadline_in(int64_t milliseconds)
{
    return deadline_now() + milliseconds;
}

/* Milliseconds left, never negative. */
static inline int64_t deadline_left(int64_t deadline)
{
    int64_t left = deadline - deadline_now();

    return left > 0 ? left : 0;
}

#endif
