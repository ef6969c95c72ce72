#include "provider.h"

#include "tap.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *beside_test(const char *name)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);

    need(length > 0, "/proc/self/exe");
    path[length] = '\0';
    strcpy(strrchr(path, '/') + 1, name);
    return path;
}

CK_FUNCTION_LIST_PTR load_provider(const char *path)
{
    CK_FUNCTION_LIST_PTR list = NULL;
    CK_C_GetFunctionList get_list = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;

    if (symbol == NULL) {
        printf("# %s\n", dlerror());
        return NULL;
    }
    memcpy(&get_list, &symbol, sizeof get_list);
    return get_list(&list) == CKR_OK ? list : NULL;
}
