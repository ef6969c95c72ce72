#include "keys.h"

#include <string.h>

CK_BYTE known_key[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                         16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY, private_class = CKO_PRIVATE_KEY, data_class = CKO_DATA;
static CK_KEY_TYPE aes = CKK_AES, ec = CKK_EC;

CK_RV make_key(const struct partition *partition, CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive,
               CK_OBJECT_HANDLE *key)
{
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG length = sizeof known_key;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_TOKEN, token),      ATTRIBUTE(CKA_EXTRACTABLE, extractable), ATTRIBUTE(CKA_SENSITIVE, sensitive),
        ATTRIBUTE(CKA_VALUE_LEN, length), ATTRIBUTE(CKA_ENCRYPT, yes),             ATTRIBUTE(CKA_DECRYPT, yes),
        ATTRIBUTE(CKA_SIGN, yes),         ATTRIBUTE(CKA_VERIFY, yes),              ATTRIBUTE(CKA_WRAP, yes),
        ATTRIBUTE(CKA_UNWRAP, yes),       ATTRIBUTE(CKA_DERIVE, yes),
    };

    return partition->module->C_GenerateKey(partition->session, &generate, template, COUNT(template), key);
}

CK_RV import_key(const struct partition *partition, CK_BBOOL token, CK_BBOOL extractable, CK_BBOOL sensitive,
                 CK_OBJECT_HANDLE *key)
{
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, secret_class),        ATTRIBUTE(CKA_KEY_TYPE, aes),        ATTRIBUTE(CKA_TOKEN, token),
        ATTRIBUTE(CKA_EXTRACTABLE, extractable),   ATTRIBUTE(CKA_SENSITIVE, sensitive), ATTRIBUTE(CKA_WRAP, yes),
        {CKA_VALUE, known_key, sizeof known_key},
    };

    return partition->module->C_CreateObject(partition->session, template, COUNT(template), key);
}

CK_RV import_private_key(const struct partition *partition, CK_OBJECT_HANDLE *key)
{
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, private_class), ATTRIBUTE(CKA_KEY_TYPE, ec), ATTRIBUTE(CKA_TOKEN, yes),
        ATTRIBUTE(CKA_SIGN, yes),            {CKA_EC_PARAMS, p256, sizeof p256},
        {CKA_VALUE, known_key, sizeof known_key},
    };

    return partition->module->C_CreateObject(partition->session, template, COUNT(template), key);
}

CK_RV make_data(const struct partition *partition, CK_BBOOL token, CK_OBJECT_HANDLE *object)
{
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, data_class), ATTRIBUTE(CKA_TOKEN, token),
                               ATTRIBUTE_TEXT(CKA_VALUE, "data")};

    return partition->module->C_CreateObject(partition->session, template, COUNT(template), object);
}

int flag_of(const struct partition *partition, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = CK_FALSE;
    CK_ATTRIBUTE wanted = {type, &value, sizeof value};

    if (partition->softhsm->C_GetAttributeValue(partition->session, object, &wanted, 1) != CKR_OK)
        return -1;
    return value == CK_TRUE;
}

CK_RV read_value(const struct partition *partition, CK_OBJECT_HANDLE object)
{
    CK_BYTE value[512];
    CK_ATTRIBUTE wanted = {CKA_VALUE, value, sizeof value};

    return partition->module->C_GetAttributeValue(partition->session, object, &wanted, 1);
}

void destroy_quietly(const struct partition *partition, CK_OBJECT_HANDLE object)
{
    partition->softhsm->C_DestroyObject(partition->session, object);
}
