/* Templates and keys for the tests of the policy. */
#ifndef KEYS_H
#define KEYS_H

#include "partition.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* An AES token key for every use, or with what the three say. */
CK_RV make_key(const struct partition *partition, CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive,
               CK_OBJECT_HANDLE *key);
/* C_CreateObject of the AES key 00 01 … 1f. */
extern CK_BYTE known_key[32];
CK_RV import_key(const struct partition *partition, CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive,
                 CK_OBJECT_HANDLE *key);
CK_RV import_private_key(const struct partition *partition, CK_OBJECT_HANDLE *key);
/* C_CreateObject of a data object. */
CK_RV make_data(const struct partition *partition, CK_BBOOL token, CK_OBJECT_HANDLE *object);

/* A truth value of an object: 0, 1, or -1 if it cannot be read. */
int flag_of(const struct partition *partition, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
/* Whether CKA_VALUE can be read through the module. */
CK_RV read_value(const struct partition *partition, CK_OBJECT_HANDLE object);

/* Through bare SoftHSM, whatever the policy says. */
void destroy_quietly(const struct partition *partition, CK_OBJECT_HANDLE object);

#endif
