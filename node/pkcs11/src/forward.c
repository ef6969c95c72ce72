/*
 * The function list: SoftHSM's own, with the calls replaced that change something or that the policy may forbid. What
 * is left of SoftHSM's function pointers neither touches an object nor asks for a session.
 */
#include "config.h"
#include "creations.h"
#include "guards.h"
#include "mechanisms.h"
#include "pins.h"
#include "policy.h"
#include "private_fd.h"
#include "report.h"
#include "softhsm.h"
#include "token_file.h"
#include "updates.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

CK_FUNCTION_LIST_PTR softhsm;

static CK_FUNCTION_LIST own_list;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t initialize_mutex = PTHREAD_MUTEX_INITIALIZER;

struct obstacle {
    const char *problem; /* NULL: none */
    const char *next;
};

/* What is read once, beside the environment: policy, mechanisms. Without any of it nothing may be done. */
static struct obstacle configure(void)
{
    struct obstacle found = {policy_map(config_current()->policy),
                             "systemctl restart keyfold-agent, which writes /run/keyfold/policy"};

    if (found.problem == NULL)
        found = (struct obstacle){mechanisms_load(), "softhsm2-util --show-slots"};
    return found;
}

static CK_RV refuse_to_initialize(struct obstacle obstacle)
{
    report("C_Initialize", obstacle.problem, "the module is not initialised", obstacle.next);
    return CKR_GENERAL_ERROR;
}

static CK_RV initialize(CK_VOID_PTR arguments)
{
    struct obstacle obstacle = {NULL, "correct the environment"};
    CK_RV rv;

    pthread_mutex_lock(&initialize_mutex);
    obstacle.problem = config_load();
    rv = obstacle.problem == NULL ? token_file_initialize(arguments) : refuse_to_initialize(obstacle);
    /* SoftHSM may have been initialised without us, by an application that loads both; configure then, too. */
    if (rv == CKR_OK || (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED && !policy_is_mapped())) {
        obstacle = configure();
        if (obstacle.problem != NULL) {
            if (rv == CKR_OK)
                softhsm->C_Finalize(NULL);
            rv = refuse_to_initialize(obstacle);
        }
    }
    pthread_mutex_unlock(&initialize_mutex);
    return rv;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    CK_RV rv = token_file_info(slot, info);

    /* SoftHSM would take 4; applications that ask first shall hear the truth. */
    if (rv == CKR_OK && info->ulMinPinLen < LEAST_PIN_BYTES)
        info->ulMinPinLen = LEAST_PIN_BYTES;
    if (rv == CKR_OK && (policy_now() & POLICY_WRITE) == 0)
        info->flags |= CKF_WRITE_PROTECTED;
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
    creations_install(&own_list);
    updates_install(&own_list);
    pins_install(&own_list);
    guards_install(&own_list);
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
