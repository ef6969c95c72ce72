/* The calls that change token objects or PINs, with a commit; see README.md for what each returns. */
#ifndef KEYFOLD_CHANGES_H
#define KEYFOLD_CHANGES_H

#include <p11-kit/pkcs11.h>

/* Shorter PINs are refused before SoftHSM sees them; bytes, as everywhere in PKCS#11. */
#define LEAST_PIN_BYTES 8

/* Put the committing calls in place of SoftHSM's own. */
void changes_install(CK_FUNCTION_LIST_PTR list);

#endif
