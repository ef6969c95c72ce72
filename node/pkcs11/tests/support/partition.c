#include "partition.h"

#include "policy.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

CK_BBOOL yes = CK_TRUE;
CK_BBOOL no = CK_FALSE;
const char *partition_mechanisms;

/* Run a shell command in the partition's directory. */
static void shell(const struct partition *partition, const char *command)
{
    char line[1024];

    snprintf(line, sizeof line, "cd '%s' && %s", partition->directory, command);
    need(system(line) == 0, line);
}

void partition_permit(const struct partition *partition, unsigned permitted)
{
    unsigned char bytes[POLICY_BYTES] = POLICY_MAGIC;
    int fd = open(partition->policy, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    bytes[POLICY_VERSION_AT] = POLICY_VERSION;
    bytes[POLICY_FLAGS_AT] = (unsigned char)permitted;
    need(fd >= 0 && pwrite(fd, bytes, sizeof bytes, 0) == sizeof bytes, "policy");
    close(fd);
}

static void make_directory(struct partition *partition)
{
    const char *parent = getenv("TMPDIR");
    char path[128];
    FILE *conf;

    snprintf(partition->directory, sizeof partition->directory, "%s/keyfold-pkcs11-XXXXXX",
             parent != NULL ? parent : "/tmp");
    need(mkdtemp(partition->directory) != NULL, "mkdtemp");
    snprintf(partition->tokens, sizeof partition->tokens, "%s/tokens", partition->directory);
    snprintf(partition->agent_socket, sizeof partition->agent_socket, "%s/agent.sock", partition->directory);
    snprintf(partition->policy, sizeof partition->policy, "%s/policy", partition->directory);
    need(mkdir(partition->tokens, 0700) == 0, "mkdir tokens");
    partition_permit(partition, EVERYTHING);
    snprintf(path, sizeof path, "%s/softhsm2.conf", partition->directory);
    conf = fopen(path, "w");
    need(conf != NULL, "softhsm2.conf");
    fprintf(conf, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", partition->tokens);
    if (partition_mechanisms != NULL)
        fprintf(conf, "slots.mechanisms = %s\n", partition_mechanisms);
    fclose(conf);
    setenv("SOFTHSM2_CONF", path, 1);
    setenv("KEYFOLD_AGENT_SOCKET", partition->agent_socket, 1);
    setenv("KEYFOLD_POLICY", partition->policy, 1);
}

static void make_token(struct partition *partition)
{
    CK_UTF8CHAR label[32];
    CK_ULONG count = 1;
    CK_SESSION_HANDLE session;
    CK_FUNCTION_LIST_PTR softhsm = partition->softhsm;

    memset(label, ' ', sizeof label);
    memcpy(label, "test", 4);
    need(softhsm->C_GetSlotList(CK_TRUE, &partition->slot, &count) == CKR_OK && count == 1, "a free slot");
    need(softhsm->C_InitToken(partition->slot, (CK_UTF8CHAR_PTR)SO_PIN, sizeof SO_PIN - 1, label) == CKR_OK,
         "C_InitToken");
    need(softhsm->C_OpenSession(partition->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session)
             == CKR_OK, "C_OpenSession");
    need(softhsm->C_Login(session, CKU_SO, (CK_UTF8CHAR_PTR)SO_PIN, sizeof SO_PIN - 1) == CKR_OK, "SO login");
    need(softhsm->C_InitPIN(session, (CK_UTF8CHAR_PTR)USER_PIN, sizeof USER_PIN - 1) == CKR_OK, "C_InitPIN");
    softhsm->C_Logout(session);
    softhsm->C_CloseSession(session);
}

/* Log in to the one slot that has a token; initialising it gave the slot a new number. */
static void log_in(struct partition *partition)
{
    CK_SLOT_ID slots[2];
    CK_ULONG count = 2;
    CK_TOKEN_INFO info;

    need(partition->softhsm->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK, "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++)
        if (partition->softhsm->C_GetTokenInfo(slots[i], &info) == CKR_OK
            && (info.flags & CKF_TOKEN_INITIALIZED) != 0)
            partition->slot = slots[i];
    need(partition->module->C_OpenSession(partition->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                          &partition->session) == CKR_OK, "C_OpenSession");
    need(partition->module->C_Login(partition->session, CKU_USER, (CK_UTF8CHAR_PTR)USER_PIN,
                                    sizeof USER_PIN - 1) == CKR_OK, "login");
}

void partition_open(struct partition *partition)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    const char *library = getenv("KEYFOLD_SOFTHSM_LIBRARY");

    make_directory(partition);
    partition->agent = fake_agent_start(partition->agent_socket);
    partition->module = load_provider(beside_test("keyfold-pkcs11.so"));
    need(partition->module != NULL, "keyfold-pkcs11.so");
    partition->softhsm = load_provider(library != NULL ? library : "/usr/lib/softhsm/libsofthsm2.so");
    need(partition->softhsm != NULL, "libsofthsm2.so");
    need(partition->module->C_Initialize(&arguments) == CKR_OK, "C_Initialize");
    make_token(partition);
    log_in(partition);
    fake_agent_forget(partition->agent);
}

void partition_reopen(struct partition *partition)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};

    partition->module->C_Finalize(NULL);
    need(partition->module->C_Initialize(&arguments) == CKR_OK, "C_Initialize");
    log_in(partition);
}

void partition_close(struct partition *partition)
{
    partition->module->C_Finalize(NULL);
    if (partition->agent != NULL)
        fake_agent_stop(partition->agent);
    shell(partition, "rm -rf \"$PWD\"");
}

static void token_directory(const struct partition *partition, char path[512])
{
    DIR *directory = opendir(partition->tokens);
    struct dirent *entry;

    need(directory != NULL, "tokens");
    path[0] = '\0';
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.')
            snprintf(path, 512, "%s/%s", partition->tokens, entry->d_name);
    closedir(directory);
    need(path[0] != '\0', "a token's directory");
}

static bool is_object_file(const char *name)
{
    size_t length = strlen(name);

    return length > 7 && strcmp(name + length - 7, ".object") == 0 && strcmp(name, "token.object") != 0;
}

void partition_list_files(const struct partition *partition, struct file_names *names)
{
    char path[512];
    DIR *directory;
    struct dirent *entry;

    token_directory(partition, path);
    directory = opendir(path);
    names->count = 0;
    while ((entry = readdir(directory)) != NULL)
        if (is_object_file(entry->d_name) && names->count < MOST_FILES)
            snprintf(names->name[names->count++], sizeof names->name[0], "%.63s", entry->d_name);
    closedir(directory);
}

size_t partition_object_files(const struct partition *partition)
{
    struct file_names names;

    partition_list_files(partition, &names);
    return names.count;
}

void partition_bump_generation(const struct partition *partition)
{
    char path[600];
    unsigned char bytes[8];
    int fd;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    token_directory(partition, path);
    strcat(path, "/generation");
    fd = open(path, O_RDWR | O_CLOEXEC);
    need(fd >= 0 && fcntl(fd, F_SETLKW, &whole) == 0 && pread(fd, bytes, 8, 0) == 8, "generation");
    for (int i = 7; i >= 0 && ++bytes[i] == 0; i--)
        continue;
    need(pwrite(fd, bytes, 8, 0) == 8, "generation");
    close(fd);
}

void partition_remove_others(const struct partition *partition, const struct file_names *keep)
{
    char path[512], file[600];
    struct file_names now;

    token_directory(partition, path);
    partition_list_files(partition, &now);
    for (size_t i = 0; i < now.count; i++) {
        bool kept = false;

        for (size_t k = 0; k < keep->count; k++)
            kept = kept || strcmp(now.name[i], keep->name[k]) == 0;
        if (kept)
            continue;
        snprintf(file, sizeof file, "%s/%s", path, now.name[i]);
        unlink(file);
        strcpy(strrchr(file, '.'), ".lock");
        unlink(file);
    }
    partition_bump_generation(partition);
}

void partition_save(const struct partition *partition)
{
    shell(partition, "rm -rf saved && cp -a tokens saved");
}

void partition_put_back(const struct partition *partition)
{
    shell(partition, "cd saved && for d in *; do cp -a $d/*.object $d/*.lock ../tokens/$d/; done");
    partition_bump_generation(partition);
}

size_t count_labelled(const struct partition *partition, const char *label)
{
    CK_ATTRIBUTE template = {CKA_LABEL, (void *)(size_t)label, strlen(label)};
    CK_OBJECT_HANDLE found[MOST_FILES];
    CK_ULONG count = 0;

    need(partition->softhsm->C_FindObjectsInit(partition->session, &template, 1) == CKR_OK, "C_FindObjectsInit");
    need(partition->softhsm->C_FindObjects(partition->session, found, MOST_FILES, &count) == CKR_OK,
         "C_FindObjects");
    partition->softhsm->C_FindObjectsFinal(partition->session);
    return count;
}

CK_OBJECT_HANDLE make_aes(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, bool token, const char *label,
                          CK_RV *rv)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_BBOOL on_token = token ? CK_TRUE : CK_FALSE;
    CK_ULONG length = 32;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_TOKEN, on_token),
        ATTRIBUTE(CKA_VALUE_LEN, length),
        ATTRIBUTE(CKA_WRAP, yes),
        ATTRIBUTE(CKA_UNWRAP, yes),
        {CKA_LABEL, (void *)(size_t)label, strlen(label)},
        {CKA_ID, (void *)(size_t)"\x01\x02", 2},
    };
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;

    *rv = list->C_GenerateKey(session, &mechanism, template, sizeof template / sizeof template[0], &key);
    return key;
}

CK_RV make_p256(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, bool public_token, bool private_token,
                const char *label, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    static const unsigned char p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_BBOOL public_on_token = public_token ? CK_TRUE : CK_FALSE;
    CK_BBOOL private_on_token = private_token ? CK_TRUE : CK_FALSE;
    CK_ATTRIBUTE public_template[] = {
        ATTRIBUTE(CKA_TOKEN, public_on_token),
        ATTRIBUTE(CKA_VERIFY, yes),
        {CKA_EC_PARAMS, (void *)(size_t)p256, sizeof p256},
        {CKA_LABEL, (void *)(size_t)label, strlen(label)},
        {CKA_ID, (void *)(size_t)"\xab", 1},
    };
    CK_ATTRIBUTE private_template[] = {
        ATTRIBUTE(CKA_TOKEN, private_on_token),
        ATTRIBUTE(CKA_PRIVATE, yes),
        ATTRIBUTE(CKA_SIGN, yes),
        ATTRIBUTE(CKA_DERIVE, yes),
        {CKA_LABEL, (void *)(size_t)label, strlen(label)},
        {CKA_ID, (void *)(size_t)"\xab", 1},
    };

    return list->C_GenerateKeyPair(session, &mechanism, public_template, 5, private_template, 6, public_key,
                                   private_key);
}
