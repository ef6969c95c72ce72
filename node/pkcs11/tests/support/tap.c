#include "tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks;
static int failures;

bool check(bool passed, const char *name, ...)
{
    va_list arguments;

    checks++;
    failures += passed ? 0 : 1;
    printf("%sok %d - ", passed ? "" : "not ", checks);
    va_start(arguments, name);
    vprintf(name, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    return passed;
}

bool check_number(unsigned long got, unsigned long wanted, const char *name)
{
    if (!check(got == wanted, "%s", name))
        printf("# got %#lx, wanted %#lx\n", got, wanted);
    return got == wanted;
}

bool check_text(const char *got, const char *wanted, const char *name)
{
    bool same = got != NULL && strcmp(got, wanted) == 0;

    if (!check(same, "%s", name))
        printf("# got    %s\n# wanted %s\n", got != NULL ? got : "(nothing)", wanted);
    return same;
}

void need(bool passed, const char *step)
{
    if (passed)
        return;
    printf("Bail out! %s\n", step);
    exit(2);
}

int finish_tap(void)
{
    printf("1..%d\n", checks);
    return failures == 0 ? 0 : 1;
}
