/*
 * What an object is known by, so that it can be found again on another connection, and nothing else be taken for it.
 *
 * Class, key type, label and ID do not suffice: a key may have been replaced by another under the same name. So an
 * identity is `certain` only with something that depends on the key itself: an RSA modulus, a public key's or a
 * certificate's value, a secret key's check value; for a private EC key, which shows nothing of itself, the point of
 * the one public key with the same ID, and a signature of the one that the other verifies.
 */
#ifndef RECONNECT_IDENTITY_H
#define RECONNECT_IDENTITY_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

enum identity_part {
    PART_CLASS,
    PART_TOKEN,
    PART_PRIVATE,
    PART_KEY_TYPE,
    PART_LABEL,
    PART_ID,
    PART_MODULUS,
    PART_PUBLIC_EXPONENT,
    PART_EC_PARAMS,
    PART_EC_POINT,
    PART_CHECK_VALUE,
    PART_VALUE, /* never of a secret or private key */
    PARTS,
};

struct identity {
    CK_ATTRIBUTE part[PARTS]; /* pValue NULL: it has none */
    bool certain;
    bool token; /* not an object of a session, which ends with it */
};

/* Read it through a session with nothing under way. */
CK_RV identity_read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct identity *identity);
/* Whether it is known to be an object that anybody may see. */
bool identity_is_public(const struct identity *identity);
void identity_free(struct identity *identity);

/* Find the object; CKR_OBJECT_HANDLE_INVALID: it is gone, changed, or more than one could be meant. */
CK_RV identity_find(CK_SESSION_HANDLE session, const struct identity *identity, CK_OBJECT_HANDLE *object);

#endif
