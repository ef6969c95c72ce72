/* Test results as TAP version 13, one line per check. */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/* Report one check; the name states the outcome. Returns `passed`. */
__attribute__((format(printf, 2, 3))) bool check(bool passed, const char *name, ...);

/* Print both values when they differ. */
bool check_number(unsigned long got, unsigned long wanted, const char *name);
bool check_text(const char *got, const char *wanted, const char *name);

/* A step the test needs to go on; ends the program if it failed. */
void need(bool passed, const char *step);

/* Print the plan; the exit status of the test. */
int finish_tap(void);

#endif
