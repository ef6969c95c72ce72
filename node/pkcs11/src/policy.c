#include "policy.h"

#include "private_fd.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file's own page, read-only; written by the agent while we look. */
static const unsigned char *_Atomic mapped;

/* Only who may change the policy may have written the file. */
static const char *judge_file(const struct stat *found)
{
    if (!S_ISREG(found->st_mode) || found->st_size != POLICY_BYTES)
        return "the policy file is not a file of 16 bytes";
    if ((found->st_uid != 0 && found->st_uid != geteuid()) || (found->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return "the policy file can be written by others than root";
    return NULL;
}

static const char *map_file(int fd, const unsigned char **page)
{
    struct stat found;
    const char *problem;
    void *address;

    if (fstat(fd, &found) != 0)
        return "the policy file cannot be examined";
    problem = judge_file(&found);
    if (problem != NULL)
        return problem;
    address = mmap(NULL, POLICY_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return "the policy file cannot be mapped";
    *page = address;
    if (memcmp(*page, POLICY_MAGIC, POLICY_VERSION_AT) == 0 && (*page)[POLICY_VERSION_AT] == POLICY_VERSION)
        return NULL;
    munmap(address, POLICY_BYTES);
    return "the policy file is not one of this version";
}

const char *policy_map(const char *path)
{
    struct private_fd file = PRIVATE_FD_CLOSED;
    const unsigned char *fresh = NULL;
    const char *problem;

    /* The directory is root's; a link in it would be root's wish, but the agent never makes one. */
    if (private_fd_open(&file, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) != 0)
        return "the policy file cannot be opened";
    problem = map_file(file.fd, &fresh);
    private_fd_close(&file);
    if (problem == NULL) {
        const unsigned char *before = atomic_exchange(&mapped, fresh);

        if (before != NULL)
            munmap((void *)(size_t)before, POLICY_BYTES);
    }
    return problem;
}

bool policy_is_mapped(void)
{
    return atomic_load_explicit(&mapped, memory_order_relaxed) != NULL;
}

unsigned policy_now(void)
{
    const volatile unsigned char *page = atomic_load_explicit(&mapped, memory_order_relaxed);

    return page != NULL ? page[POLICY_FLAGS_AT] : 0;
}

CK_RV policy_admit(unsigned *permitted)
{
    *permitted = policy_now();
    if ((*permitted & POLICY_CLIENT_API_ACCESS) != 0)
        return CKR_OK;
    return policy_is_mapped() ? CKR_DEVICE_REMOVED : CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV policy_admit_use(unsigned *permitted)
{
    CK_RV rv = policy_admit(permitted);

    if (rv == CKR_OK && (*permitted & POLICY_USE_OBJECTS) == 0)
        rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
    return rv;
}

CK_RV policy_judge_place(unsigned permitted, bool on_token)
{
    if (on_token)
        return (permitted & POLICY_WRITE) != 0 ? CKR_OK : CKR_TOKEN_WRITE_PROTECTED;
    return (permitted & POLICY_SESSION_OBJECTS) != 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}
