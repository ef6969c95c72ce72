/* One line on standard error (the journal, on a node) per failure. Never a PIN, a label or a value. */
#ifndef KEYFOLD_REPORT_H
#define KEYFOLD_REPORT_H

#ifndef REPORT_NAME
#define REPORT_NAME "keyfold-pkcs11"
#endif

/* REPORT_NAME: CALL: WHAT; not done: NOT_DONE; next: NEXT */
void report(const char *call, const char *what, const char *not_done, const char *next);

#endif
