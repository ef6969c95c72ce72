/* What each call asks the agent, to the byte, and that it answers OK only after the agent did. */
#include "object.h"
#include "partition.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct partition partition;
static CK_FUNCTION_LIST_PTR module;
static CK_SESSION_HANDLE session;

/* The call returned rv; exactly one request must have come, with this text. */
static void committed(CK_RV rv, const char *request, const char *call)
{
    check_number(rv, CKR_OK, call);
    check_number(fake_agent_requests(partition.agent), 1, "one request");
    check_number(fake_agent_connections(partition.agent), 1, "over one connection");
    check_text(fake_agent_last(partition.agent), request, "its text");
    fake_agent_forget(partition.agent);
}

/* A data object with any label. */
static CK_RV make_data(const void *label, size_t length, CK_OBJECT_HANDLE *object)
{
    CK_OBJECT_CLASS data = CKO_DATA;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, data),
        ATTRIBUTE(CKA_TOKEN, yes),
        {CKA_LABEL, (void *)(size_t)label, length},
        ATTRIBUTE_TEXT(CKA_VALUE, "value"),
    };

    return module->C_CreateObject(session, template, 4, object);
}

static void creating_calls(void)
{
    CK_OBJECT_HANDLE object, copy, public_key, private_key, secret;
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "copied");
    CK_RV rv;

    committed(make_data("data", 4, &object),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":0,\"label\":\"64617461\"}]}",
              "C_CreateObject");
    committed(module->C_CopyObject(session, object, &renamed, 1, &copy),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":0,\"label\":\"636f70696564\"}]}",
              "C_CopyObject of a token object");
    secret = make_aes(module, session, true, "aes", &rv);
    committed(rv, "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":4,\"key_type\":31,"
                  "\"label\":\"616573\",\"id\":\"0102\"}]}", "C_GenerateKey");
    check(secret != CK_INVALID_HANDLE, "the key's handle is given");
    committed(make_p256(module, session, true, true, "pair", &public_key, &private_key),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":["
              "{\"class\":2,\"key_type\":3,\"label\":\"70616972\",\"id\":\"ab\"},"
              "{\"class\":3,\"key_type\":3,\"label\":\"70616972\",\"id\":\"ab\"}]}",
              "C_GenerateKeyPair, both halves in one commit");
    committed(make_p256(module, session, false, true, "half", &public_key, &private_key),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":["
              "{\"class\":3,\"key_type\":3,\"label\":\"68616c66\",\"id\":\"ab\"}]}",
              "C_GenerateKeyPair with a public session object");
    committed(make_p256(module, session, true, false, "half", &public_key, &private_key),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":["
              "{\"class\":2,\"key_type\":3,\"label\":\"68616c66\",\"id\":\"ab\"}]}",
              "C_GenerateKeyPair with a private session object");
}

static void unwrapping_and_deriving(void)
{
    CK_MECHANISM wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_BYTE wrapped[64];
    CK_ULONG wrapped_length = sizeof wrapped;
    CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET, aes = CKK_AES;
    CK_ULONG length = 32;
    CK_RV rv;
    CK_OBJECT_HANDLE wrapping = make_aes(module, session, true, "wrapping", &rv);
    CK_OBJECT_HANDLE inner, unwrapped, derived, public_key, private_key;
    CK_BYTE point[80];
    CK_ATTRIBUTE ec_point = {CKA_EC_POINT, point, sizeof point};
    CK_ECDH1_DERIVE_PARAMS parameters = {.kdf = CKD_NULL};
    CK_MECHANISM derive = {CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
    CK_ATTRIBUTE inner_template[] = {
        ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes), ATTRIBUTE(CKA_EXTRACTABLE, yes),
        ATTRIBUTE_TEXT(CKA_VALUE, "0123456789abcdef"),
    };
    CK_ATTRIBUTE unwrap_template[] = {
        ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, aes), ATTRIBUTE(CKA_TOKEN, yes),
        ATTRIBUTE_TEXT(CKA_LABEL, "in"),
    };
    CK_ATTRIBUTE derive_template[] = {
        ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, generic), ATTRIBUTE(CKA_TOKEN, yes),
        ATTRIBUTE(CKA_VALUE_LEN, length),   ATTRIBUTE_TEXT(CKA_LABEL, "dh"),
    };

    need(rv == CKR_OK, "a wrapping key");
    need(module->C_CreateObject(session, inner_template, 4, &inner) == CKR_OK, "a key to wrap");
    need(module->C_WrapKey(session, &wrap, wrapping, inner, wrapped, &wrapped_length) == CKR_OK, "C_WrapKey");
    fake_agent_forget(partition.agent);
    committed(module->C_UnwrapKey(session, &wrap, wrapping, wrapped, wrapped_length, unwrap_template, 4, &unwrapped),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":4,\"key_type\":31,\"label\":\"696e\","
              "\"id\":\"\"}]}", "C_UnwrapKey");

    need(make_p256(module, session, false, false, "ecdh", &public_key, &private_key) == CKR_OK, "an ECDH key");
    need(module->C_GetAttributeValue(session, public_key, &ec_point, 1) == CKR_OK, "its point");
    parameters.pPublicData = point;
    parameters.ulPublicDataLen = ec_point.ulValueLen;
    committed(module->C_DeriveKey(session, &derive, private_key, derive_template, 5, &derived),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":4,\"key_type\":16,\"label\":\"6468\","
              "\"id\":\"\"}]}", "C_DeriveKey");
}

static void changing_calls(void)
{
    CK_OBJECT_HANDLE object;
    CK_ATTRIBUTE renamed = ATTRIBUTE_TEXT(CKA_LABEL, "new");

    need(make_data("old", 3, &object) == CKR_OK, "an object");
    fake_agent_forget(partition.agent);
    committed(module->C_SetAttributeValue(session, object, &renamed, 1),
              "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[{\"class\":0,\"label\":\"6e6577\"}]}",
              "C_SetAttributeValue");
    committed(module->C_DestroyObject(session, object),
              "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[{\"class\":0,\"label\":\"6e6577\"}]}",
              "C_DestroyObject");
}

static void unusual_labels(void)
{
    static unsigned char bytes[HINT_BYTES + 1];
    char wanted[4096];
    CK_OBJECT_HANDLE object;

    committed(make_data("a\"\\\n\0\xc3\xa9\xff", 8, &object),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":0,\"label\":\"61225c0a00c3a9ff\"}]}",
              "a label with quotes, NUL, UTF-8 and an illegal byte");
    committed(make_data("", 0, &object),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":0,\"label\":\"\"}]}", "an empty label");
    memset(bytes, 'x', sizeof bytes);
    strcpy(wanted, "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":0,\"label\":\"");
    for (size_t i = 0; i < sizeof bytes - 1; i++)
        strcat(wanted, "78");
    strcat(wanted, "\"}]}");
    committed(make_data(bytes, sizeof bytes - 1, &object), wanted, "a label of 1 KiB");
    committed(make_data(bytes, sizeof bytes, &object),
              "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":0}]}",
              "a longer label is left out");
}

static void failed_calls_commit_nothing(void)
{
    CK_MECHANISM unknown = {0x7fffffff, NULL, 0};
    CK_ATTRIBUTE token = ATTRIBUTE(CKA_TOKEN, yes);
    CK_OBJECT_HANDLE handle;

    check_number(module->C_GenerateKey(session, &unknown, &token, 1, &handle), CKR_MECHANISM_INVALID,
                 "SoftHSM's error comes through from C_GenerateKey");
    check_number(module->C_DestroyObject(session, 0x7fffffff), CKR_OBJECT_HANDLE_INVALID,
                 "and from C_DestroyObject");
    check_number(module->C_SetAttributeValue(session, 0x7fffffff, &token, 1), CKR_OBJECT_HANDLE_INVALID,
                 "and from C_SetAttributeValue");
    check_number(module->C_CopyObject(session, 0x7fffffff, &token, 1, &handle), CKR_OBJECT_HANDLE_INVALID,
                 "and from C_CopyObject");
    check_number(module->C_GenerateKey(0x7fffffff, &unknown, &token, 1, &handle), CKR_SESSION_HANDLE_INVALID,
                 "and for a session that is none");
    check_number(fake_agent_requests(partition.agent), 0, "nothing was committed");
}

/* Has SoftHSM's change reached the disk when the agent is asked? */
static void count_files(const char *request, void *files)
{
    (void)request;
    *(size_t *)files = partition_object_files(&partition);
}

static void the_agent_is_asked_after_softhsm_and_before_ok(void)
{
    size_t before = partition_object_files(&partition), during = 0;
    CK_OBJECT_HANDLE public_key, private_key;

    fake_agent_on_request(partition.agent, count_files, &during);
    check_number(make_p256(module, session, true, true, "order", &public_key, &private_key), CKR_OK, "a key pair");
    check_number(during, before + 2, "its files are there when the agent is asked");
    check_number(module->C_DestroyObject(session, private_key), CKR_OK, "one half destroyed");
    check_number(during, before + 1, "its file is gone when the agent is asked");
    fake_agent_on_request(partition.agent, NULL, NULL);
    fake_agent_forget(partition.agent);
}

int main(void)
{
    partition_open(&partition);
    module = partition.module;
    session = partition.session;
    creating_calls();
    unwrapping_and_deriving();
    changing_calls();
    unusual_labels();
    failed_calls_commit_nothing();
    the_agent_is_asked_after_softhsm_and_before_ok();
    partition_close(&partition);
    return finish_tap();
}
