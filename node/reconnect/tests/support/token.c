#include "token.h"

#include "provider.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CK_BBOOL yes = CK_TRUE;
CK_BBOOL no = CK_FALSE;

static void shell(const char *directory, const char *command)
{
    char line[1024];

    snprintf(line, sizeof line, "cd '%s' && %s", directory, command);
    need(system(line) == 0, line);
}

static void make_token(const char *directory, const char *name)
{
    char command[512];

    snprintf(command, sizeof command,
             "mkdir %s && echo directories.tokendir = $PWD/%s >%s.conf && SOFTHSM2_CONF=$PWD/%s.conf softhsm2-util "
             "--init-token --free --label keyfold --so-pin " SO_PIN " --pin " USER_PIN " >/dev/null",
             name, name, name, name);
    shell(directory, command);
}

static CK_SESSION_HANDLE log_in(CK_FUNCTION_LIST_PTR list, CK_SLOT_ID *slot)
{
    CK_SLOT_ID slots[4];
    CK_ULONG count = 4;
    CK_SESSION_HANDLE session;

    need(list->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK && count > 0, "a slot");
    *slot = slots[0];
    need(list->C_OpenSession(*slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) == CKR_OK,
         "C_OpenSession");
    need(list->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1) == CKR_OK, "C_Login");
    return session;
}

void token_log_in(struct token *token)
{
    token->session = log_in(token->module, &token->slot);
}

void token_open(struct token *token)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    const char *parent = getenv("TMPDIR");
    char path[128], conf[128];

    snprintf(token->directory, sizeof token->directory, "%s/keyfold-reconnect-XXXXXX",
             parent != NULL ? parent : "/tmp");
    need(mkdtemp(token->directory) != NULL, "mkdtemp");
    make_token(token->directory, "first");
    snprintf(conf, sizeof conf, "%s/first.conf", token->directory);
    setenv("SOFTHSM2_CONF", conf, 1);
    token->softhsm = load_provider("/usr/lib/softhsm/libsofthsm2.so");
    need(token->softhsm != NULL && token->softhsm->C_Initialize(&arguments) == CKR_OK, "SoftHSM");
    token->softhsm_session = log_in(token->softhsm, &token->softhsm_slot);

    snprintf(path, sizeof path, "%s/relay.sock", token->directory);
    snprintf(token->address, sizeof token->address, "unix:path=%s", path);
    relay_start(path, conf);
    setenv("P11_KIT_SERVER_ADDRESS", token->address, 1);
    token->module = load_provider(beside_test("keyfold-reconnect.so"));
    need(token->module != NULL && token->module->C_Initialize(&arguments) == CKR_OK, "C_Initialize");
    token_log_in(token);
}

void token_close(struct token *token)
{
    token->module->C_Finalize(NULL);
    relay_stop();
    token->softhsm->C_Finalize(NULL);
    shell(token->directory, "rm -rf \"$PWD\"");
}

void token_make_other(const struct token *token, char conf[128])
{
    make_token(token->directory, "other");
    snprintf(conf, 128, "%s/other.conf", token->directory);
}

void make_aes(const struct token *token, const char *label, CK_BYTE id)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG length = 32;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_TOKEN, yes),   ATTRIBUTE(CKA_VALUE_LEN, length),  ATTRIBUTE(CKA_ENCRYPT, yes),
        ATTRIBUTE(CKA_DECRYPT, yes), ATTRIBUTE_TEXT(CKA_LABEL, label), ATTRIBUTE(CKA_ID, id),
    };
    CK_OBJECT_HANDLE key;

    need(token->softhsm->C_GenerateKey(token->softhsm_session, &mechanism, template, COUNT(template), &key) == CKR_OK,
         "an AES key");
}

static void make_pair(const struct token *token, CK_MECHANISM_TYPE type, CK_ATTRIBUTE kind, CK_ATTRIBUTE more,
                      const char *label, CK_BYTE id)
{
    CK_MECHANISM mechanism = {type, NULL, 0};
    CK_ATTRIBUTE public_template[] = {
        ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_VERIFY, yes), ATTRIBUTE(CKA_PRIVATE, no),
        ATTRIBUTE_TEXT(CKA_LABEL, label), ATTRIBUTE(CKA_ID, id), kind, more,
    };
    CK_ATTRIBUTE private_template[] = {
        ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_PRIVATE, yes), ATTRIBUTE(CKA_SIGN, yes),
        ATTRIBUTE_TEXT(CKA_LABEL, label), ATTRIBUTE(CKA_ID, id),
    };
    CK_OBJECT_HANDLE public_key, private_key;

    need(token->softhsm->C_GenerateKeyPair(token->softhsm_session, &mechanism, public_template, COUNT(public_template),
                                           private_template, COUNT(private_template), &public_key,
                                           &private_key) == CKR_OK,
         "a key pair");
}

void make_p256(const struct token *token, const char *label, CK_BYTE id)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

    make_pair(token, CKM_EC_KEY_PAIR_GEN, (CK_ATTRIBUTE)ATTRIBUTE(CKA_EC_PARAMS, p256),
              (CK_ATTRIBUTE)ATTRIBUTE(CKA_ENCRYPT, no), label, id);
}

void make_rsa(const struct token *token, const char *label, CK_BYTE id)
{
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = {1, 0, 1};

    make_pair(token, CKM_RSA_PKCS_KEY_PAIR_GEN, (CK_ATTRIBUTE)ATTRIBUTE(CKA_MODULUS_BITS, bits),
              (CK_ATTRIBUTE)ATTRIBUTE(CKA_PUBLIC_EXPONENT, exponent), label, id);
}

void make_data(const struct token *token, const char *label, const char *value)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, class), ATTRIBUTE(CKA_TOKEN, yes),
                               ATTRIBUTE_TEXT(CKA_LABEL, label), ATTRIBUTE_TEXT(CKA_VALUE, value)};
    CK_OBJECT_HANDLE object;

    need(token->softhsm->C_CreateObject(token->softhsm_session, template, COUNT(template), &object) == CKR_OK,
         "a data object");
}

CK_OBJECT_HANDLE find_key(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
                          const char *label)
{
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, class), ATTRIBUTE_TEXT(CKA_LABEL, label)};
    CK_OBJECT_HANDLE found[2] = {CK_INVALID_HANDLE};
    CK_ULONG count = 0;

    need(list->C_FindObjectsInit(session, template, 2) == CKR_OK, "C_FindObjectsInit");
    need(list->C_FindObjects(session, found, 2, &count) == CKR_OK, "C_FindObjects");
    list->C_FindObjectsFinal(session);
    need(count == 1, label);
    return found[0];
}

CK_OBJECT_HANDLE module_key(const struct token *token, CK_OBJECT_CLASS class, const char *label)
{
    return find_key(token->module, token->session, class, label);
}

CK_OBJECT_HANDLE softhsm_key(const struct token *token, CK_OBJECT_CLASS class, const char *label)
{
    return find_key(token->softhsm, token->softhsm_session, class, label);
}

CK_RV sign_with(const struct token *token, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE hash[32] = {1}, signature[128];
    CK_ULONG length = sizeof signature;
    CK_RV rv = token->module->C_SignInit(token->session, &mechanism, key);

    return rv == CKR_OK ? token->module->C_Sign(token->session, hash, sizeof hash, signature, &length) : rv;
}
