/* The environment: defaults, refusals at C_Initialize, and what only the administrator may say. */
#include "config.h"
#include "partition.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void clear(void)
{
    unsetenv("KEYFOLD_AGENT_SOCKET");
    unsetenv("KEYFOLD_PARTITION_DIR");
    unsetenv("KEYFOLD_PARTITION");
    unsetenv("KEYFOLD_SOFTHSM_LIBRARY");
    unsetenv("KEYFOLD_POLICY");
    setenv("SOFTHSM2_CONF", "/var/lib/keyfold/partitions/acme/softhsm2.conf", 1);
}

static void refused(const char *name, const char *value, const char *outcome)
{
    clear();
    setenv(name, value, 1);
    check(config_load() != NULL, "%s", outcome);
}

static void defaults(void)
{
    clear();
    check(config_current() == NULL, "nothing is configured at first");
    check(config_load() == NULL, "SOFTHSM2_CONF alone is enough");
    check_text(config_current()->agent_socket, "/run/keyfold/agent.sock", "the agent's socket");
    check_text(config_current()->partition_dir, "/var/lib/keyfold/partitions/acme", "the partition's directory");
    check_text(config_current()->policy, "/run/keyfold/policy/acme", "the policy is that of the directory's name");
    check_text(config_current()->partition, "", "no partition is named");
    check_text(config_softhsm_library(), "/usr/lib/softhsm/libsofthsm2.so", "SoftHSM's library");
    setenv("KEYFOLD_PARTITION_DIR", "/elsewhere", 1);
    setenv("KEYFOLD_POLICY", "/c.policy", 1);
    setenv("KEYFOLD_AGENT_SOCKET", "/a.sock", 1);
    setenv("KEYFOLD_SOFTHSM_LIBRARY", "/b.so", 1);
    check(config_load() == NULL, "all can be set");
    check_text(config_current()->partition_dir, "/elsewhere", "the directory as told");
    check_text(config_current()->agent_socket, "/a.sock", "the socket as told");
    check_text(config_current()->policy, "/c.policy", "the policy as told");
    check_text(config_softhsm_library(), "/b.so", "the library as told");
}

static void refusals(void)
{
    char much[5000];

    memset(much, 'x', sizeof much - 1);
    much[0] = '/';
    much[sizeof much - 1] = '\0';
    refused("KEYFOLD_PARTITION_DIR", much, "a directory too long");
    refused("SOFTHSM2_CONF", much, "a SoftHSM configuration too long");
    refused("SOFTHSM2_CONF", "softhsm2.conf", "a SoftHSM configuration that is no full path");
    refused("SOFTHSM2_CONF", "", "no SoftHSM configuration");
    refused("KEYFOLD_AGENT_SOCKET", much, "a socket's path too long");
    refused("KEYFOLD_POLICY", much, "a policy's path too long");
    refused("SOFTHSM2_CONF", "/tmp/Not-A-Partition/softhsm2.conf", "a directory no partition can have, and no policy named");
    check_text(config_current()->partition_dir, "/elsewhere", "what was configured before stays");
}

static void only_the_administrator_names_a_partition(void)
{
    static const char *const wrong[] = {"a", "Acme", "acme-", "-acme", "1acme", "ac\"me", "ac me", "acme\n",
                                        "a-name-of-twenty-nine-bytes-x", "../etc"};

    if (geteuid() != 0) {
        check(true, "who may name a partition # SKIP needs uid 0");
        return;
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refused("KEYFOLD_PARTITION", wrong[i], "a name no partition can have");
    clear();
    setenv("KEYFOLD_PARTITION", "system", 1);
    check(config_load() == NULL, "uid 0 may name a partition");
    check_text(config_current()->partition, "system", "which goes into the request");
    need(seteuid(65534) == 0, "seteuid");
    check(config_load() == NULL, "for any other uid the name is ignored");
    check_text(config_current()->partition, "", "and not sent");
    setenv("KEYFOLD_PARTITION", "\"}", 1);
    check(config_load() == NULL, "whatever it is");
    need(seteuid(0) == 0, "seteuid");
}

/* Each in a process of its own: a library can be loaded only once. The child's status is its answer. */
static int in_child(int (*act)(void))
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(act());
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int load_without_softhsm(void)
{
    setenv("KEYFOLD_SOFTHSM_LIBRARY", "/nonexistent.so", 1);
    return load_provider(beside_test("keyfold-pkcs11.so")) == NULL ? 0 : 1;
}

static int load_no_provider_at_all(void)
{
    setenv("KEYFOLD_SOFTHSM_LIBRARY", "libm.so.6", 1);
    return load_provider(beside_test("keyfold-pkcs11.so")) == NULL ? 0 : 1;
}

static CK_FUNCTION_LIST_PTR fresh_module(void)
{
    clear();
    setenv("SOFTHSM2_CONF", "/dev/null", 1);
    return load_provider(beside_test("keyfold-pkcs11.so"));
}

static int initialize_without_partition(void)
{
    CK_FUNCTION_LIST_PTR module = fresh_module();
    CK_INFO info;

    unsetenv("SOFTHSM2_CONF");
    if (module->C_Initialize(NULL) != CKR_GENERAL_ERROR)
        return 1;
    return module->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED ? 0 : 2;
}

static int call_before_initialize(void)
{
    CK_FUNCTION_LIST_PTR module = fresh_module();
    CK_OBJECT_HANDLE key;
    CK_RV rv;

    key = make_aes(module, 1, true, "early", &rv);
    return key == CK_INVALID_HANDLE && rv == CKR_CRYPTOKI_NOT_INITIALIZED ? 0 : 1;
}

int main(void)
{
    defaults();
    refusals();
    only_the_administrator_names_a_partition();
    check_number((unsigned long)in_child(load_without_softhsm), 0, "without SoftHSM there is no function list");
    check_number((unsigned long)in_child(load_no_provider_at_all), 0, "nor with a library that is no PKCS#11 module");
    check_number((unsigned long)in_child(initialize_without_partition), 0,
                 "without a partition C_Initialize fails, and SoftHSM is not left initialised");
    check_number((unsigned long)in_child(call_before_initialize), 0, "calls before C_Initialize are refused");
    return finish_tap();
}
