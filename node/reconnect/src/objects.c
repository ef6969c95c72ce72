#include "objects.h"

#include "connection.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

struct object {
    CK_OBJECT_HANDLE handle;   /* ours */
    CK_OBJECT_HANDLE real;     /* in `epoch` */
    CK_SESSION_HANDLE session; /* ours, of a session object that we saw made */
    unsigned long epoch;
    CK_SLOT_ID slot;
    struct identity identity;
    bool identified;
};

/* In the order of their handles, which are never used twice. */
static struct object *objects;
static size_t count, room;
static CK_OBJECT_HANDLE last_handle;

static struct object *find(CK_OBJECT_HANDLE handle)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (objects[middle].handle == handle)
            return &objects[middle];
        if (objects[middle].handle < handle)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void remove_at(size_t index)
{
    identity_free(&objects[index].identity);
    count--;
    memmove(&objects[index], &objects[index + 1], (count - index) * sizeof objects[0]);
}

static struct object *add(CK_SLOT_ID slot, CK_OBJECT_HANDLE real)
{
    struct object *grown = objects;

    if (count == room) {
        grown = realloc(objects, (room + 64) * 2 * sizeof *grown);
        if (grown == NULL)
            return NULL;
        objects = grown;
        room = (room + 64) * 2;
    }
    objects[count] = (struct object){.handle = ++last_handle, .real = real, .epoch = epoch, .slot = slot};
    return &objects[count++];
}

static CK_RV own_session_for(const struct object *object, CK_SESSION_HANDLE *session)
{
    struct slot *slot = slot_find(object->slot);

    return slot != NULL ? slot_own_session(slot, session) : CKR_OBJECT_HANDLE_INVALID;
}

static CK_RV identify(struct object *object)
{
    CK_SESSION_HANDLE session;
    CK_RV rv;

    if (object->identified || object->session != 0)
        return CKR_OK;
    rv = own_session_for(object, &session);
    if (rv == CKR_OK)
        rv = identity_read(session, object->real, &object->identity);
    object->identified = rv == CKR_OK;
    return rv;
}

CK_RV object_known(CK_SLOT_ID slot, CK_OBJECT_HANDLE real, bool now, CK_OBJECT_HANDLE *handle)
{
    struct object *object = NULL;

    for (size_t i = 0; i < count && object == NULL; i++)
        if (objects[i].epoch == epoch && objects[i].real == real && objects[i].slot == slot)
            object = &objects[i];
    if (object == NULL)
        object = add(slot, real);
    if (object == NULL)
        return CKR_HOST_MEMORY;
    *handle = object->handle;
    /* An object that cannot be read any more is simply not found again. */
    return now && identify(object) == CKR_DEVICE_ERROR ? CKR_DEVICE_ERROR : CKR_OK;
}

CK_RV object_of_session(CK_SLOT_ID slot, CK_OBJECT_HANDLE real, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *handle)
{
    struct object *object = add(slot, real);

    if (object == NULL)
        return CKR_HOST_MEMORY;
    object->session = session;
    *handle = object->handle;
    return CKR_OK;
}

CK_RV object_use(CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real)
{
    struct object *object = find(handle);
    CK_SESSION_HANDLE session;
    CK_RV rv = CKR_OK;

    *real = CK_INVALID_HANDLE;
    if (handle == CK_INVALID_HANDLE)
        return CKR_OK;
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    if (object->epoch == epoch) {
        rv = identify(object);
    } else if (!object->identified) {
        return CKR_OBJECT_HANDLE_INVALID;
    } else {
        rv = own_session_for(object, &session);
        if (rv == CKR_OK)
            rv = identity_find(session, &object->identity, &object->real);
        if (rv != CKR_OK)
            return rv;
        object->epoch = epoch;
    }
    *real = object->real;
    return rv == CKR_DEVICE_ERROR ? rv : CKR_OK;
}

bool object_is_on_token(CK_OBJECT_HANDLE handle)
{
    const struct object *object = find(handle);

    return object != NULL && object->session == 0 && object->identity.token;
}

void object_changed(CK_OBJECT_HANDLE handle)
{
    struct object *object = find(handle);

    if (object == NULL)
        return;
    identity_free(&object->identity);
    object->identified = false;
    (void)connection_lost(identify(object));
}

void object_gone(CK_OBJECT_HANDLE handle)
{
    struct object *object = find(handle);

    if (object != NULL)
        remove_at((size_t)(object - objects));
}

void objects_close_session(CK_SESSION_HANDLE session)
{
    for (size_t i = count; i > 0; i--)
        if (objects[i - 1].session == session)
            remove_at(i - 1);
}

void objects_log_out(CK_SLOT_ID slot)
{
    for (size_t i = count; i > 0; i--)
        if (objects[i - 1].slot == slot && !identity_is_public(&objects[i - 1].identity))
            remove_at(i - 1);
}

void objects_forget(void)
{
    while (count > 0)
        remove_at(count - 1);
    free(objects);
    objects = NULL;
    room = 0;
}
