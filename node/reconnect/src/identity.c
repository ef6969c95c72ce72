#include "identity.h"

#include <stdlib.h>
#include <string.h>

#include "connection.h"

/* What is longer does not count as part of the identity. */
#define MOST_BYTES 4096

static const CK_ATTRIBUTE_TYPE types[PARTS] = {
    [PART_CLASS] = CKA_CLASS,           [PART_TOKEN] = CKA_TOKEN,
    [PART_PRIVATE] = CKA_PRIVATE,
    [PART_KEY_TYPE] = CKA_KEY_TYPE,     [PART_LABEL] = CKA_LABEL,
    [PART_ID] = CKA_ID,                 [PART_MODULUS] = CKA_MODULUS,
    [PART_PUBLIC_EXPONENT] = CKA_PUBLIC_EXPONENT, [PART_EC_PARAMS] = CKA_EC_PARAMS,
    [PART_EC_POINT] = CKA_EC_POINT,     [PART_CHECK_VALUE] = CKA_CHECK_VALUE,
    [PART_VALUE] = CKA_VALUE,
};

/* Read parts first … last in one call; what the object has not, or does not show, stays empty. */
static CK_RV read_parts(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct identity *identity, unsigned first,
                        unsigned last)
{
    static CK_BYTE bytes[PARTS][MOST_BYTES];
    CK_ATTRIBUTE wanted[PARTS];
    CK_ULONG count = 0;
    CK_RV rv;

    for (unsigned i = first; i <= last; i++)
        wanted[count++] = (CK_ATTRIBUTE){types[i], bytes[i], MOST_BYTES};
    rv = client->C_GetAttributeValue(session, object, wanted, count);
    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_ATTRIBUTE_SENSITIVE && rv != CKR_BUFFER_TOO_SMALL)
        return rv;
    for (unsigned i = first; i <= last; i++) {
        CK_ULONG length = wanted[i - first].ulValueLen;

        if (length > MOST_BYTES)
            continue;
        identity->part[i].pValue = malloc(length + 1);
        if (identity->part[i].pValue == NULL)
            return CKR_HOST_MEMORY;
        memcpy(identity->part[i].pValue, bytes[i], length);
        identity->part[i].ulValueLen = length;
    }
    return CKR_OK;
}

static bool has(const struct identity *identity, enum identity_part part)
{
    return identity->part[part].pValue != NULL && identity->part[part].ulValueLen > 0;
}

static bool is(const struct identity *identity, enum identity_part part, CK_BBOOL wanted)
{
    return has(identity, part) && *(const CK_BBOOL *)identity->part[part].pValue == wanted;
}

bool identity_is_public(const struct identity *identity)
{
    return is(identity, PART_PRIVATE, CK_FALSE);
}

static CK_ULONG number(const struct identity *identity, enum identity_part part)
{
    CK_ULONG value = CK_UNAVAILABLE_INFORMATION;

    if (identity->part[part].pValue != NULL && identity->part[part].ulValueLen == sizeof value)
        memcpy(&value, identity->part[part].pValue, sizeof value);
    return value;
}

/* The one object that matches, CK_INVALID_HANDLE when there are none or several. */
static CK_RV find_only(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *object)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG number_found = 0;
    CK_RV rv = client->C_FindObjectsInit(session, template, count);

    *object = CK_INVALID_HANDLE;
    if (rv != CKR_OK)
        return rv;
    rv = client->C_FindObjects(session, found, 2, &number_found);
    client->C_FindObjectsFinal(session);
    if (rv == CKR_OK && number_found == 1)
        *object = found[0];
    return rv;
}

/* The public key that belongs to a private EC key, as far as one can tell from its ID. */
static CK_RV find_public_half(CK_SESSION_HANDLE session, const struct identity *identity, CK_OBJECT_HANDLE *half)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_BBOOL token = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_TOKEN, &token, sizeof token},
        identity->part[PART_KEY_TYPE],     identity->part[PART_ID],
    };

    *half = CK_INVALID_HANDLE;
    if (!has(identity, PART_ID) || !has(identity, PART_KEY_TYPE))
        return CKR_OK;
    return find_only(session, template, 4, half);
}

/* Whether the public key verifies what the private key signs. */
static CK_RV prove_pair(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
    /* Says of itself, to whoever meets a signature of it, that it is none of a message: no hash is like this. */
    static CK_BYTE challenge[32] = "keyfold-reconnect: is this mine";
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE signature[256];
    CK_ULONG length = sizeof signature;
    CK_RV rv = client->C_SignInit(session, &mechanism, private_key);

    if (rv == CKR_OK)
        rv = client->C_Sign(session, challenge, sizeof challenge, signature, &length);
    if (rv == CKR_OK)
        rv = client->C_VerifyInit(session, &mechanism, public_key);
    if (rv == CKR_OK)
        rv = client->C_Verify(session, challenge, sizeof challenge, signature, length);
    /* Dead connections are found out by this one. */
    return rv == CKR_OK || rv == CKR_DEVICE_ERROR ? rv : CKR_OBJECT_HANDLE_INVALID;
}

static bool is_private_ec(const struct identity *identity)
{
    return number(identity, PART_CLASS) == CKO_PRIVATE_KEY && number(identity, PART_KEY_TYPE) == CKK_EC;
}

static CK_RV read_by_class(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct identity *identity)
{
    CK_OBJECT_HANDLE half;
    CK_RV rv = CKR_OK;

    switch (number(identity, PART_CLASS)) {
    case CKO_PRIVATE_KEY:
        identity->certain = has(identity, PART_MODULUS);
        if (!is_private_ec(identity))
            return CKR_OK;
        rv = find_public_half(session, identity, &half);
        if (rv == CKR_OK && half != CK_INVALID_HANDLE)
            rv = read_parts(session, half, identity, PART_EC_POINT, PART_EC_POINT);
        identity->certain = has(identity, PART_EC_POINT);
        return rv;
    case CKO_SECRET_KEY:
        identity->certain = has(identity, PART_CHECK_VALUE);
        return CKR_OK;
    case CKO_PUBLIC_KEY:
        identity->certain = has(identity, PART_MODULUS) || has(identity, PART_EC_POINT);
        return CKR_OK;
    case CKO_CERTIFICATE:
    case CKO_DATA:
        rv = read_parts(session, object, identity, PART_VALUE, PART_VALUE);
        identity->certain = has(identity, PART_VALUE);
        return rv;
    default:
        return CKR_OK;
    }
}

CK_RV identity_read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct identity *identity)
{
    CK_RV rv;

    memset(identity, 0, sizeof *identity);
    for (unsigned i = 0; i < PARTS; i++)
        identity->part[i].type = types[i];
    rv = read_parts(session, object, identity, 0, PART_VALUE - 1);
    identity->token = is(identity, PART_TOKEN, CK_TRUE);
    if (rv == CKR_OK && identity->token)
        rv = read_by_class(session, object, identity);
    if (rv != CKR_OK)
        identity_free(identity);
    return rv;
}

void identity_free(struct identity *identity)
{
    for (unsigned i = 0; i < PARTS; i++)
        free(identity->part[i].pValue);
    memset(identity, 0, sizeof *identity);
}

static bool same(const struct identity *left, const struct identity *right)
{
    for (unsigned i = 0; i < PARTS; i++) {
        const CK_ATTRIBUTE *a = &left->part[i], *b = &right->part[i];

        if ((a->pValue == NULL) != (b->pValue == NULL) || a->ulValueLen != b->ulValueLen)
            return false;
        if (a->pValue != NULL && memcmp(a->pValue, b->pValue, a->ulValueLen) != 0)
            return false;
    }
    return true;
}

CK_RV identity_find(CK_SESSION_HANDLE session, const struct identity *identity, CK_OBJECT_HANDLE *object)
{
    static const enum identity_part sought[] = {PART_CLASS, PART_TOKEN, PART_KEY_TYPE, PART_LABEL, PART_ID};
    CK_ATTRIBUTE template[sizeof sought / sizeof sought[0]];
    CK_ULONG count = 0;
    CK_OBJECT_HANDLE found, half;
    struct identity now;
    CK_RV rv;

    if (!identity->certain)
        return CKR_OBJECT_HANDLE_INVALID;
    for (unsigned i = 0; i < sizeof sought / sizeof sought[0]; i++)
        if (identity->part[sought[i]].pValue != NULL)
            template[count++] = identity->part[sought[i]];
    rv = find_only(session, template, count, &found);
    if (rv == CKR_OK && found == CK_INVALID_HANDLE)
        rv = CKR_OBJECT_HANDLE_INVALID;
    if (rv == CKR_OK)
        rv = identity_read(session, found, &now);
    if (rv != CKR_OK)
        return rv;
    if (!same(identity, &now))
        rv = CKR_OBJECT_HANDLE_INVALID;
    identity_free(&now);
    if (rv == CKR_OK && is_private_ec(identity)) {
        rv = find_public_half(session, identity, &half);
        if (rv == CKR_OK)
            rv = prove_pair(session, found, half);
    }
    *object = found;
    return rv;
}
