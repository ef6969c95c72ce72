/*
 * P-256 signatures through any PKCS#11 module: sign MODULE TOKEN LABEL. Speaks as the programs beside it (subscriber.py): the
 * PIN, then requests `["sign", COUNT]`, each answered with the seconds that took. In C, because an interpreter's own time
 * would be in both sides of a ratio and hide what the module adds.
 */
#include <p11-kit/pkcs11.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 16

static CK_FUNCTION_LIST_PTR pkcs11;
static CK_SESSION_HANDLE session;

static void need(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "sign: %s failed\n", what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void load(const char *path)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    void *module = dlopen(path, RTLD_NOW);
    CK_C_GetFunctionList get_list;

    need(module != NULL, path);
    *(void **)&get_list = dlsym(module, "C_GetFunctionList");
    need(get_list != NULL && get_list(&pkcs11) == CKR_OK, "C_GetFunctionList");
    need(pkcs11->C_Initialize(&arguments) == CKR_OK, "C_Initialize");
}

static CK_SLOT_ID slot_of(const char *label)
{
    CK_SLOT_ID slots[SLOTS];
    CK_ULONG count = SLOTS;
    CK_TOKEN_INFO info;

    need(pkcs11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK, "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++) {
        need(pkcs11->C_GetTokenInfo(slots[i], &info) == CKR_OK, "C_GetTokenInfo");
        if (strncmp((const char *)info.label, label, strlen(label)) == 0)
            return slots[i];
    }
    need(0, "finding the token");
    return 0;
}

static CK_OBJECT_HANDLE private_key(char *label)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, strlen(label)}};
    CK_OBJECT_HANDLE key;
    CK_ULONG found = 0;

    need(pkcs11->C_FindObjectsInit(session, wanted, 2) == CKR_OK, "C_FindObjectsInit");
    need(pkcs11->C_FindObjects(session, &key, 1, &found) == CKR_OK && found == 1, "finding the key");
    need(pkcs11->C_FindObjectsFinal(session) == CKR_OK, "C_FindObjectsFinal");
    return key;
}

static double sign(CK_OBJECT_HANDLE key, long count)
{
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32] = {1}, signature[64];
    double begun = now();

    for (long i = 0; i < count; i++) {
        CK_ULONG length = sizeof signature;

        need(pkcs11->C_SignInit(session, &ecdsa, key) == CKR_OK, "C_SignInit");
        need(pkcs11->C_Sign(session, digest, sizeof digest, signature, &length) == CKR_OK, "C_Sign");
    }
    return now() - begun;
}

int main(int argc, char **argv)
{
    char line[256];
    long count;
    CK_OBJECT_HANDLE key;

    need(argc == 4, "usage: sign MODULE TOKEN LABEL; reading its arguments");
    load(argv[1]);
    need(pkcs11->C_OpenSession(slot_of(argv[2]), CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK, "C_OpenSession");
    need(fgets(line, sizeof line, stdin) != NULL, "reading the PIN");
    need(pkcs11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)line, strcspn(line, "\n")) == CKR_OK, "C_Login");
    key = private_key(argv[3]);
    while (fgets(line, sizeof line, stdin) != NULL) {
        need(sscanf(line, "[\"sign\", %ld]", &count) == 1, "reading a request");
        printf("{\"seconds\": %.6f}\n", sign(key, count));
        fflush(stdout);
    }
    return 0;
}
