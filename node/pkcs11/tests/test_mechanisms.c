/*
 * A package's list of mechanisms (slots.mechanisms): the module enforces it on every call. SoftHSM 2.6.1 alone
 * does not on all; what it takes in spite of the list is checked, too, so that a newer one is seen to differ.
 */
#include "keys.h"
#include "tap.h"

#include <string.h>

static struct partition partition;
static CK_OBJECT_HANDLE aes_key, rsa_public, rsa_private, ec_public, ec_private;

/* Through `list`, with a mechanism that is not in the package's list. */
static CK_RV encrypt(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};

    return list->C_EncryptInit(partition.session, &ecb, aes_key);
}

static CK_RV decrypt(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};

    return list->C_DecryptInit(partition.session, &ecb, aes_key);
}

static CK_RV sign(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0};

    return list->C_SignInit(partition.session, &cmac, aes_key);
}

static CK_RV sign_with_private_key(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM pkcs = {CKM_SHA1_RSA_PKCS, NULL, 0};

    return list->C_SignInit(partition.session, &pkcs, rsa_private);
}

static CK_RV verify(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM pkcs = {CKM_SHA1_RSA_PKCS, NULL, 0};

    return list->C_VerifyInit(partition.session, &pkcs, rsa_public);
}

static CK_RV digest(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM md5 = {CKM_MD5, NULL, 0};

    return list->C_DigestInit(partition.session, &md5);
}

static CK_RV generate(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM des3 = {CKM_DES3_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key;

    return list->C_GenerateKey(partition.session, &des3, NULL, 0, &key);
}

static CK_RV generate_pair(CK_FUNCTION_LIST_PTR list)
{
    static CK_BYTE ed25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
    CK_MECHANISM edwards = {CKM_EC_EDWARDS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE curve = {CKA_EC_PARAMS, ed25519, sizeof ed25519};
    CK_OBJECT_HANDLE public_key, private_key;

    return list->C_GenerateKeyPair(partition.session, &edwards, &curve, 1, NULL, 0, &public_key, &private_key);
}

static CK_RV wrap(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_BYTE wrapped[64];
    CK_ULONG length = sizeof wrapped;

    return list->C_WrapKey(partition.session, &key_wrap, aes_key, aes_key, wrapped, &length);
}

static CK_RV unwrap(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
    CK_KEY_TYPE aes = CKK_AES;
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes)};
    CK_BYTE wrapped[40] = {0};
    CK_OBJECT_HANDLE key;

    return list->C_UnwrapKey(partition.session, &key_wrap, aes_key, wrapped, sizeof wrapped, template, 2, &key);
}

static CK_RV derive(CK_FUNCTION_LIST_PTR list)
{
    CK_BYTE data[32] = {0};
    CK_KEY_DERIVATION_STRING_DATA parameters = {data, sizeof data};
    CK_MECHANISM encrypt_data = {CKM_AES_ECB_ENCRYPT_DATA, &parameters, sizeof parameters};
    CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
    CK_KEY_TYPE aes = CKK_AES;
    CK_ULONG length = 32;
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes),
                               ATTRIBUTE(CKA_VALUE_LEN, length)};
    CK_OBJECT_HANDLE key;

    return list->C_DeriveKey(partition.session, &encrypt_data, aes_key, template, 3, &key);
}

static CK_RV sign_recover(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM raw = {CKM_RSA_X_509, NULL, 0};

    return list->C_SignRecoverInit(partition.session, &raw, rsa_private);
}

static CK_RV verify_recover(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM raw = {CKM_RSA_X_509, NULL, 0};

    return list->C_VerifyRecoverInit(partition.session, &raw, rsa_public);
}

static CK_RV information(CK_FUNCTION_LIST_PTR list)
{
    CK_MECHANISM_INFO info;

    return list->C_GetMechanismInfo(partition.slot, CKM_DES3_CBC, &info);
}

struct attempt {
    const char *call;
    CK_RV (*through)(CK_FUNCTION_LIST_PTR list);
    CK_RV alone; /* SoftHSM's own answer */
};

static const struct attempt attempts[] = {
    {"C_EncryptInit", encrypt, CKR_MECHANISM_INVALID},
    {"C_DecryptInit", decrypt, CKR_MECHANISM_INVALID},
    {"C_SignInit with a secret key", sign, CKR_MECHANISM_INVALID},
    {"C_SignInit with a private key", sign_with_private_key, CKR_MECHANISM_INVALID},
    {"C_VerifyInit", verify, CKR_MECHANISM_INVALID},
    {"C_DigestInit", digest, CKR_OK},
    {"C_GenerateKey", generate, CKR_OK},
    {"C_GenerateKeyPair", generate_pair, CKR_OK},
    {"C_WrapKey", wrap, CKR_MECHANISM_INVALID},
    {"C_UnwrapKey", unwrap, CKR_MECHANISM_INVALID},
    {"C_DeriveKey", derive, CKR_MECHANISM_INVALID},
    {"C_SignRecoverInit", sign_recover, CKR_FUNCTION_NOT_SUPPORTED},
    {"C_VerifyRecoverInit", verify_recover, CKR_FUNCTION_NOT_SUPPORTED},
    {"C_GetMechanismInfo", information, CKR_OK},
};

static void what_is_not_in_the_list_is_refused(void)
{
    for (size_t i = 0; i < COUNT(attempts); i++) {
        CK_SESSION_HANDLE session = partition.session;

        check_number(attempts[i].through(partition.module), CKR_MECHANISM_INVALID, attempts[i].call);
        /* A session of its own, because an operation may begin. */
        need(partition.softhsm->C_OpenSession(partition.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                              &partition.session) == CKR_OK, "C_OpenSession");
        check_number(attempts[i].through(partition.softhsm), attempts[i].alone, "and what SoftHSM says alone");
        partition.softhsm->C_CloseSession(partition.session);
        partition.session = session;
    }
}

static void what_is_in_the_list_is_done(void)
{
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_MECHANISM_TYPE types[8];
    CK_ULONG count = COUNT(types), length = 64;
    CK_BYTE signature[64], digest_value[32] = {0};
    CK_SESSION_HANDLE s = partition.session;

    check_number(partition.module->C_GetMechanismList(partition.slot, types, &count), CKR_OK, "C_GetMechanismList");
    check_number(count, 4, "shows the package's list");
    check_number(partition.module->C_SignInit(s, &ecdsa, ec_private), CKR_OK, "a listed mechanism begins");
    check_number(partition.module->C_Sign(s, digest_value, sizeof digest_value, signature, &length), CKR_OK, "and signs");
    check_number(partition.module->C_SignInit(0x7fffffff, &ecdsa, ec_private), CKR_SESSION_HANDLE_INVALID,
                 "a session that is none is refused as such");
}

static CK_RV begin_pss(CK_MECHANISM_TYPE hash, CK_RSA_PKCS_MGF_TYPE mask)
{
    CK_RSA_PKCS_PSS_PARAMS parameters = {hash, mask, 20};
    CK_MECHANISM pss = {CKM_RSA_PKCS_PSS, &parameters, sizeof parameters};
    CK_SESSION_HANDLE session;
    CK_RV rv;

    need(partition.module->C_OpenSession(partition.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session)
             == CKR_OK, "C_OpenSession");
    rv = partition.module->C_SignInit(session, &pss, rsa_private);
    partition.module->C_CloseSession(session);
    return rv;
}

static CK_RV begin_oaep(void)
{
    CK_RSA_PKCS_OAEP_PARAMS parameters = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
    CK_MECHANISM oaep = {CKM_RSA_PKCS_OAEP, &parameters, sizeof parameters};

    return partition.module->C_EncryptInit(partition.session, &oaep, rsa_public);
}

static void a_hash_in_parameters_is_in_the_list_that_names_hashes(void)
{
    CK_MECHANISM without = {CKM_RSA_PKCS_PSS, NULL, 0};

    check_number(begin_pss(CKM_SHA256, CKG_MGF1_SHA256), CKR_OK, "PSS with a listed hash begins");
    check_number(begin_pss(CKM_SHA_1, CKG_MGF1_SHA1), CKR_MECHANISM_PARAM_INVALID, "and with another it does not");
    check_number(begin_oaep(), CKR_MECHANISM_PARAM_INVALID, "nor does OAEP");
    check(partition.module->C_SignInit(partition.session, &without, rsa_private) != CKR_MECHANISM_PARAM_INVALID,
          "PSS without parameters is SoftHSM's to refuse");
}

static void a_list_without_hashes_does_not_judge_parameters(void)
{
    check_number(begin_pss(CKM_SHA_1, CKG_MGF1_SHA1), CKR_OK, "PSS with any hash begins where the list names none");
}

static void open_with(const char *mechanisms)
{
    CK_MECHANISM rsa = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ULONG bits = 1024;
    CK_ATTRIBUTE template = ATTRIBUTE(CKA_MODULUS_BITS, bits);

    partition_mechanisms = mechanisms;
    partition_open(&partition);
    need(partition.module->C_GenerateKeyPair(partition.session, &rsa, &template, 1, NULL, 0, &rsa_public, &rsa_private)
             == CKR_OK, "an RSA pair");
}

int main(void)
{
    open_with("CKM_ECDSA,CKM_EC_KEY_PAIR_GEN,CKM_AES_KEY_GEN,CKM_RSA_PKCS_KEY_PAIR_GEN");
    need(make_key(&partition, CK_TRUE, CK_TRUE, CK_TRUE, &aes_key) == CKR_OK, "an AES key");
    need(make_p256(partition.module, partition.session, true, true, "pair", &ec_public, &ec_private) == CKR_OK, "a pair");
    what_is_in_the_list_is_done();
    what_is_not_in_the_list_is_refused();
    partition_close(&partition);
    open_with("CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS_PSS,CKM_RSA_PKCS_OAEP,CKM_SHA256");
    a_hash_in_parameters_is_in_the_list_that_names_hashes();
    partition_close(&partition);
    open_with("CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS_PSS");
    a_list_without_hashes_does_not_judge_parameters();
    partition_close(&partition);
    return finish_tap();
}
