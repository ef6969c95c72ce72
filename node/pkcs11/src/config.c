#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config current;
static bool loaded;

static const char *setting(const char *name, const char *otherwise)
{
    /* secure_getenv: a setuid application must not let its caller redirect the library or the agent. */
    const char *value = secure_getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static bool copy(char *target, size_t size, const char *value)
{
    size_t length = strlen(value);

    if (length >= size)
        return false;
    memcpy(target, value, length + 1);
    return true;
}

/* ^[a-z][a-z0-9-]{0,26}[a-z0-9]$ (docs/interfaces.md §1) */
static bool is_partition_name(const char *name)
{
    size_t length = strlen(name);

    if (length < 2 || length > 28 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
        return false;
    return name[0] >= 'a' && name[length - 1] != '-';
}

const char *config_softhsm_library(void)
{
    return setting("KEYFOLD_SOFTHSM_LIBRARY", "/usr/lib/softhsm/libsofthsm2.so");
}

static const char *read_partition_dir(struct config *self)
{
    const char *directory = setting("KEYFOLD_PARTITION_DIR", NULL);
    const char *softhsm_conf = setting("SOFTHSM2_CONF", NULL);
    char *slash;

    if (directory != NULL)
        return copy(self->partition_dir, sizeof self->partition_dir, directory)
                   ? NULL : "KEYFOLD_PARTITION_DIR is too long";
    if (softhsm_conf == NULL)
        return "neither KEYFOLD_PARTITION_DIR nor SOFTHSM2_CONF says where the partition is";
    if (!copy(self->partition_dir, sizeof self->partition_dir, softhsm_conf))
        return "SOFTHSM2_CONF is too long";
    slash = strrchr(self->partition_dir, '/');
    if (slash == NULL)
        return "SOFTHSM2_CONF is not a full path";
    *slash = '\0';
    return NULL;
}

static const char *read_policy(struct config *self)
{
    const char *path = setting("KEYFOLD_POLICY", NULL);
    const char *slash = strrchr(self->partition_dir, '/');
    const char *name = slash != NULL ? slash + 1 : self->partition_dir;
    int length;

    if (path != NULL)
        return copy(self->policy, sizeof self->policy, path) ? NULL : "KEYFOLD_POLICY is too long";
    if (!is_partition_name(name))
        return "the partition's directory is not named like a partition, and KEYFOLD_POLICY does not name its policy";
    length = snprintf(self->policy, sizeof self->policy, "/run/keyfold/policy/%s", name);
    return length > 0 && (size_t)length < sizeof self->policy ? NULL : "the policy file's name is too long";
}

static const char *read_all(struct config *self)
{
    const char *partition = geteuid() == 0 ? setting("KEYFOLD_PARTITION", "") : "";
    const char *problem;

    if (!copy(self->agent_socket, sizeof self->agent_socket,
              setting("KEYFOLD_AGENT_SOCKET", "/run/keyfold/agent.sock")))
        return "KEYFOLD_AGENT_SOCKET is longer than a socket's path can be";
    if (partition[0] != '\0' && !is_partition_name(partition))
        return "KEYFOLD_PARTITION is not a partition's name";
    if (!copy(self->partition, sizeof self->partition, partition))
        return "KEYFOLD_PARTITION is too long";
    problem = read_partition_dir(self);
    return problem != NULL ? problem : read_policy(self);
}

const char *config_load(void)
{
    struct config fresh;
    const char *problem = read_all(&fresh);

    if (problem == NULL) {
        current = fresh;
        loaded = true;
    }
    return problem;
}

const struct config *config_current(void)
{
    return loaded ? &current : NULL;
}
