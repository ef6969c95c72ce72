#include "connection.h"

#include "deadline.h"
#include "probe.h"
#include "report.h"
#include "slots.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAUSE_MS 50
/* Connections per call that come up and die while we log in: each may have cost a login that was counted. */
#define MOST_RESTORES 3

CK_FUNCTION_LIST_PTR client;
unsigned long epoch;

static const char address_variable[] = "P11_KIT_SERVER_ADDRESS";
static char *server; /* the address that `client` was made for; NULL: p11-kit's default */
static bool up;
static bool has_been_up;
static bool has_failed;
static int64_t deadline; /* of the call under way, 0: it has not had to wait */

static CK_FUNCTION_LIST_PTR load(void)
{
    const char *path = secure_getenv("KEYFOLD_RECONNECT_MODULE");
    CK_FUNCTION_LIST_PTR list = NULL;
    CK_C_GetFunctionList get_list = NULL;
    void *library = dlopen(path != NULL ? path : CLIENT_MODULE, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;

    if (symbol == NULL) {
        report("C_Initialize", dlerror(), "nothing is loaded", "apt-get install p11-kit-modules");
        return NULL;
    }
    /* C has no cast from an object pointer to a function pointer; POSIX has them the same size. */
    memcpy(&get_list, &symbol, sizeof get_list);
    return get_list(&list) == CKR_OK ? list : NULL;
}

/* p11-kit-client reads its address out of the environment, once, when it is asked for its functions. */
static CK_FUNCTION_LIST_PTR load_for(const char *address)
{
    const char *current = getenv(address_variable);
    char *before = current != NULL ? strdup(current) : NULL;
    CK_FUNCTION_LIST_PTR list = NULL;

    if ((current != NULL && before == NULL) || setenv(address_variable, address, 1) != 0) {
        free(before);
        return NULL;
    }
    list = load();
    if (before != NULL)
        setenv(address_variable, before, 1);
    else
        unsetenv(address_variable);
    free(before);
    return list;
}

static void disconnect(void)
{
    has_failed = true;
    client->C_Finalize(NULL);
    up = false;
}

static bool connect_once(void)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_ULONG count = 0;

    if (!probe(server, deadline) || client->C_Initialize(&arguments) != CKR_OK)
        return false;
    /* Without a server p11-kit-client pretends to be a module without slots. */
    if (client->C_GetSlotList(CK_FALSE, NULL, &count) != CKR_OK || count == 0) {
        client->C_Finalize(NULL);
        return false;
    }
    epoch++;
    up = true;
    has_been_up = true;
    return true;
}

CK_RV connection_open(const char *address)
{
    if (client == NULL) {
        const char *environment = secure_getenv(address_variable);

        client = address != NULL ? load_for(address) : load();
        if (address == NULL)
            address = environment;
        server = client != NULL && address != NULL ? strdup(address) : NULL;
    }
    if (client == NULL)
        return CKR_GENERAL_ERROR;
    has_been_up = false;
    deadline = deadline_in(RECONNECT_MS);
    connect_once();
    return CKR_OK;
}

void connection_close(void)
{
    if (up)
        disconnect();
}

void connection_abandon(void)
{
    up = false;
}

void connection_begin(void)
{
    deadline = 0;
    has_failed = false;
}

bool connection_is_up(void)
{
    return up;
}

bool connection_was_ever_up(void)
{
    return has_been_up;
}

bool connection_has_failed(void)
{
    return has_failed;
}

CK_RV connection_ask(void)
{
    CK_INFO info;

    return client->C_GetInfo(&info) == CKR_OK ? CKR_OK : CKR_DEVICE_ERROR;
}

bool connection_lost(CK_RV rv)
{
    if (!up || rv != CKR_DEVICE_ERROR || connection_ask() == CKR_OK)
        return false;
    disconnect();
    return true;
}

CK_RV connection_need(void)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    CK_RV rv = CKR_DEVICE_ERROR;
    unsigned restores = 0;

    if (up)
        return CKR_OK;
    has_failed = true;
    if (deadline == 0)
        deadline = deadline_in(RECONNECT_MS);
    for (;;) {
        rv = CKR_DEVICE_ERROR;
        if (connect_once()) {
            restores++;
            rv = slots_restore();
        }
        if (up && !connection_lost(rv) && rv != CKR_TOKEN_NOT_PRESENT)
            return rv;
        /* Another token than before: as good as none. */
        if (up)
            disconnect();
        /*
         * Who has never been connected has nothing to lose: as with p11-kit-client, there is no token yet. The one
         * attempt has all the time, for a busy node is slow to greet.
         */
        if (!has_been_up || deadline_left(deadline) == 0 || (rv != CKR_TOKEN_NOT_PRESENT && restores == MOST_RESTORES))
            break;
        nanosleep(&pause, NULL);
    }
    if (has_been_up)
        report("reconnect", rv == CKR_TOKEN_NOT_PRESENT ? "the token that was used is not there" : "nobody answers",
               "the call", "systemctl status 'keyfold-client@*'");
    return rv;
}
