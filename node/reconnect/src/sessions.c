#include "sessions.h"

#include "connection.h"
#include "mechanism.h"
#include "objects.h"

#include <stdlib.h>
#include <string.h>

static struct session **sessions;
static size_t count;
static CK_SESSION_HANDLE last_handle;

struct session *session_find(CK_SESSION_HANDLE handle)
{
    for (size_t i = 0; i < count; i++)
        if (sessions[i]->handle == handle)
            return sessions[i];
    return NULL;
}

static CK_RV open_real(struct session *session)
{
    CK_RV rv = client->C_OpenSession(session->slot->id, session->flags, NULL, NULL, &session->real);

    if (rv == CKR_OK)
        session->epoch = epoch;
    return rv;
}

CK_RV session_open(CK_SLOT_ID id, CK_FLAGS flags, CK_SESSION_HANDLE *handle)
{
    struct session **grown = realloc(sessions, (count + 1) * sizeof(struct session *));
    struct session *session = calloc(1, sizeof *session);
    CK_RV rv = CKR_HOST_MEMORY;

    if (grown != NULL)
        sessions = grown;
    if (grown != NULL && session != NULL)
        rv = slot_take(id, &session->slot);
    if (rv == CKR_OK) {
        session->flags = flags;
        rv = open_real(session);
    }
    if (rv != CKR_OK) {
        free(session);
        return rv;
    }
    session->slot->sessions++;
    session->handle = ++last_handle;
    sessions[count++] = session;
    *handle = session->handle;
    return CKR_OK;
}

static void release(struct session *session)
{
    for (enum kind kind = ENCRYPT; kind < KINDS; kind++)
        operation_over(session, kind);
    search_over(session);
    objects_close_session(session->handle);
    free(session);
}

void session_close(struct session *session)
{
    size_t index = 0;

    while (sessions[index] != session)
        index++;
    sessions[index] = sessions[--count];
    if (session->slot->sessions == 1)
        objects_log_out(session->slot->id);
    slot_give_back(session->slot);
    release(session);
}

void sessions_close(CK_SLOT_ID slot)
{
    for (size_t i = count; i > 0; i--)
        if (sessions[i - 1]->slot->id == slot)
            session_close(sessions[i - 1]);
}

void sessions_forget(void)
{
    while (count > 0)
        release(sessions[--count]);
    free(sessions);
    sessions = NULL;
}

CK_RV session_use(CK_SESSION_HANDLE handle, struct session **session)
{
    CK_RV rv;

    *session = session_find(handle);
    if (*session == NULL)
        return CKR_SESSION_HANDLE_INVALID;
    rv = connection_need();
    if (rv != CKR_OK || (*session)->epoch == epoch)
        return rv;
    return open_real(*session);
}

CK_RV session_use_object(CK_SESSION_HANDLE handle, struct session **session, CK_OBJECT_HANDLE object,
                         CK_OBJECT_HANDLE *real)
{
    CK_RV rv = session_use(handle, session);

    return rv == CKR_OK ? object_use(object, real) : rv;
}

CK_RV operation_init(enum kind kind, CK_SESSION_HANDLE real, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE real_key)
{
    switch (kind) {
    case ENCRYPT:
        return client->C_EncryptInit(real, mechanism, real_key);
    case DECRYPT:
        return client->C_DecryptInit(real, mechanism, real_key);
    case SIGN:
        return client->C_SignInit(real, mechanism, real_key);
    case VERIFY:
        return client->C_VerifyInit(real, mechanism, real_key);
    default:
        return client->C_DigestInit(real, mechanism);
    }
}

CK_RV session_use_operation(CK_SESSION_HANDLE handle, struct session **session, enum kind kind)
{
    struct operation *operation;
    CK_OBJECT_HANDLE key;
    CK_RV rv = session_use(handle, session);

    if (rv != CKR_OK)
        return rv;
    operation = &(*session)->operations[kind];
    if (operation->state == IDLE || operation->epoch == epoch)
        return CKR_OK;
    if (operation->state == FED || operation->mechanism == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    rv = object_use(operation->key, &key);
    if (rv == CKR_OK)
        rv = operation_init(kind, (*session)->real, operation->mechanism, key);
    if (rv == CKR_OK)
        operation->epoch = epoch;
    return rv;
}

void operation_begun(struct session *session, enum kind kind, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    operation_over(session, kind);
    session->operations[kind] =
        (struct operation){.state = BEGUN, .epoch = epoch, .mechanism = mechanism_copy(mechanism), .key = key};
}

void operation_over(struct session *session, enum kind kind)
{
    struct operation *operation = &session->operations[kind];

    free(operation->mechanism);
    memset(operation, 0, sizeof *operation);
}

void search_over(struct session *session)
{
    free(session->found);
    session->found = NULL;
    session->searching = false;
}
