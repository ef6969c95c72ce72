/* PKCS#11 libraries to test with. */
#ifndef PROVIDER_H
#define PROVIDER_H

#include <p11-kit/pkcs11.h>

/* The file `name` beside the test program. */
const char *beside_test(const char *name);

/* A function list out of a library; NULL with a diagnostic. */
CK_FUNCTION_LIST_PTR load_provider(const char *path);

#endif
