/*
 * The function list: SoftHSM's own, with the calls that change something replaced. Signing, finding and the rest
 * are SoftHSM's function pointers and go there directly, at no cost.
 */
#include "changes.h"
#include "config.h"
#include "private_fd.h"
#include "report.h"
#include "softhsm.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

CK_FUNCTION_LIST_PTR softhsm;

static CK_FUNCTION_LIST own_list;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t initialize_mutex = PTHREAD_MUTEX_INITIALIZER;

static CK_RV initialize(CK_VOID_PTR arguments)
{
    const char *problem;
    CK_RV rv;

    pthread_mutex_lock(&initialize_mutex);
    rv = softhsm->C_Initialize(arguments);
    /* SoftHSM may have been initialised without us, by an application that loads both; configure then, too. */
    if (rv == CKR_OK || (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED && config_current() == NULL)) {
        problem = config_load();
        if (problem != NULL) {
            report("C_Initialize", problem, "the module is not initialised", "correct the environment");
            if (rv == CKR_OK)
                softhsm->C_Finalize(NULL);
            rv = CKR_GENERAL_ERROR;
        }
    }
    pthread_mutex_unlock(&initialize_mutex);
    return rv;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    CK_RV rv = softhsm->C_GetTokenInfo(slot, info);

    /* SoftHSM would take 4; applications that ask first shall hear the truth. */
    if (rv == CKR_OK && info->ulMinPinLen < LEAST_PIN_BYTES)
        info->ulMinPinLen = LEAST_PIN_BYTES;
    return rv;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

static CK_FUNCTION_LIST_PTR load_softhsm(void)
{
    const char *path = config_softhsm_library();
    CK_FUNCTION_LIST_PTR list = NULL;
    CK_C_GetFunctionList get_list = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;

    if (symbol == NULL) {
        report("C_GetFunctionList", dlerror(), "SoftHSM is not loaded", "apt-get install libsofthsm2");
        return NULL;
    }
    /* C has no cast from an object pointer to a function pointer; POSIX has them the same size. */
    memcpy(&get_list, &symbol, sizeof get_list);
    if (get_list(&list) != CKR_OK || list == NULL || list->version.major != 2) {
        report("C_GetFunctionList", "the library has no PKCS#11 2.x function list", "SoftHSM is not loaded",
               "correct KEYFOLD_SOFTHSM_LIBRARY");
        return NULL;
    }
    return list;
}

static void load(void)
{
    CK_FUNCTION_LIST_PTR theirs = load_softhsm();

    if (theirs == NULL || private_fd_setup() != 0)
        return;
    own_list = *theirs;
    own_list.C_Initialize = initialize;
    own_list.C_GetFunctionList = C_GetFunctionList;
    own_list.C_GetTokenInfo = get_token_info;
    changes_install(&own_list);
    softhsm = theirs;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    pthread_once(&load_once, load);
    if (softhsm == NULL)
        return CKR_GENERAL_ERROR;
    *list = &own_list;
    return CKR_OK;
}
