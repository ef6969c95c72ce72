/* The calls that compare or change PINs: counted, and committed; README.md. */
#ifndef KEYFOLD_PINS_H
#define KEYFOLD_PINS_H

#include <p11-kit/pkcs11.h>

/* Shorter PINs are refused before SoftHSM sees them; bytes, as everywhere in PKCS#11. */
#define LEAST_PIN_BYTES 8
/* SoftHSM's own limit. */
#define MOST_PIN_BYTES 255

/* Put them in place of SoftHSM's own. */
void pins_install(CK_FUNCTION_LIST_PTR list);

#endif
