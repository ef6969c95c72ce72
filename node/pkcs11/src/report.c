#include "report.h"

#include "sigpipe.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* A library must not end its application because the journal went away. */
static void write_quietly(const char *line, size_t length)
{
    int saved_errno = errno;
    struct sigpipe_guard guard = sigpipe_hold();
    bool raised = write(STDERR_FILENO, line, length) < 0 && errno == EPIPE;

    sigpipe_release(&guard, raised);
    errno = saved_errno;
}

void report(const char *call, const char *what, const char *not_done, const char *next)
{
    char line[1024];
    int length = snprintf(line, sizeof line, REPORT_NAME ": %s: %s; not done: %s; next: %s\n",
                          call, what, not_done, next);

    if (length < 0)
        return;
    if ((size_t)length >= sizeof line) {
        length = (int)sizeof line - 1;
        line[length - 1] = '\n';
    }
    write_quietly(line, (size_t)length);
}
