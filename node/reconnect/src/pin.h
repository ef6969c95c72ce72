/* PINs in memory that is never swapped, dumped or inherited by a child; docs/threat-model.md. */
#ifndef RECONNECT_PIN_H
#define RECONNECT_PIN_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

#define MOST_PINS 15
#define MOST_PIN_BYTES 255

/* Keep a PIN in place `index` instead of what was there. False: it cannot be kept safely, and is not. */
bool pin_keep(unsigned index, const CK_BYTE *pin, CK_ULONG length);

/* False: none is kept. What is handed out stays valid until the next pin_keep or pin_wipe. */
bool pin_get(unsigned index, CK_BYTE **pin, CK_ULONG *length);

void pin_wipe(unsigned index);

#endif
