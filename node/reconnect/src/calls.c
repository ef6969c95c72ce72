/*
 * The function list. Each call takes the one lock, connects if need be, and is made with p11-kit's handles.
 *
 * Calls that only read or use keys are made again when the connection has died under them (AGAIN). Calls that change
 * something are made once (ONCE): whether it was done before the connection died, nobody here can tell.
 */
#include "connection.h"
#include "objects.h"
#include "report.h"
#include "sessions.h"
#include "sigpipe.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A request that kills every server that it meets is not sent for ever. */
#define MOST_TRIES 3

/* Searches that find more do not read at once what each object is known by: that is a round trip apiece. */
#define MOST_IDENTIFIED 100

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialized;

static CK_RV begin(struct sigpipe_guard *guard)
{
    pthread_mutex_lock(&lock);
    if (!initialized) {
        pthread_mutex_unlock(&lock);
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    /* p11-kit-client writes to a socket that may have been closed. */
    *guard = sigpipe_hold();
    connection_begin();
    return CKR_OK;
}

static CK_RV end(const struct sigpipe_guard *guard, CK_RV rv)
{
    sigpipe_release(guard, connection_has_failed());
    pthread_mutex_unlock(&lock);
    return rv;
}

#define BEGIN                                                                                                          \
    struct sigpipe_guard guard;                                                                                        \
    CK_RV rv = begin(&guard);                                                                                          \
    if (rv != CKR_OK)                                                                                                  \
        return rv
#define END return end(&guard, rv)

/* rv = call, on a connection on which `ready` holds; on the next one if that dies. */
#define AGAIN(ready, call)                                                                                             \
    for (int tries = 0; tries < MOST_TRIES; tries++) {                                                                 \
        rv = (ready);                                                                                                  \
        if (rv == CKR_OK)                                                                                              \
            rv = (call);                                                                                               \
        if (!connection_lost(rv))                                                                                      \
            break;                                                                                                     \
    }

/* A connection that died unnoticed is found out before anything is sent on it. */
#define ONCE(ready, call)                                                                                              \
    AGAIN(ready, connection_ask())                                                                                     \
    if (rv == CKR_OK) {                                                                                                \
        rv = (call);                                                                                                   \
        (void)connection_lost(rv);                                                                                     \
    }

#define USE session_use(handle, &session)
#define USE_OBJECT(object, real) session_use_object(handle, &session, object, real)

static void forget_everything(void)
{
    sessions_forget();
    objects_forget();
    slots_forget();
}

/* The child has neither the connection nor the PINs (pin.c); another thread may have been in the middle of a call. */
static void in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    initialized = false;
    connection_abandon();
}

static void register_fork(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

/* p11-kit's x-init-reserved arrives as a string in pReserved. */
static CK_RV address_of(const CK_C_INITIALIZE_ARGS *arguments, const char **address)
{
    static const char key[] = "address=";

    *address = NULL;
    if (arguments == NULL)
        return CKR_OK;
    if ((arguments->flags & CKF_OS_LOCKING_OK) == 0 && arguments->CreateMutex != NULL)
        return CKR_CANT_LOCK;
    if (arguments->pReserved == NULL)
        return CKR_OK;
    if (strncmp(arguments->pReserved, key, sizeof key - 1) != 0)
        return CKR_ARGUMENTS_BAD;
    *address = (const char *)arguments->pReserved + sizeof key - 1;
    return CKR_OK;
}

static CK_RV initialize(CK_VOID_PTR arguments)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sigpipe_guard guard;
    const char *address;
    CK_RV rv = address_of(arguments, &address);

    if (rv != CKR_OK)
        return rv;
    pthread_once(&once, register_fork);
    pthread_mutex_lock(&lock);
    guard = sigpipe_hold();
    if (initialized) {
        rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
    } else {
        /* What a parent process left behind. */
        forget_everything();
        connection_begin();
        rv = connection_open(address);
        initialized = rv == CKR_OK;
    }
    sigpipe_release(&guard, true);
    pthread_mutex_unlock(&lock);
    return rv;
}

static CK_RV finalize(CK_VOID_PTR reserved)
{
    BEGIN;
    if (reserved != NULL) {
        rv = CKR_ARGUMENTS_BAD;
    } else {
        forget_everything();
        connection_close();
        initialized = false;
    }
    END;
}

static CK_RV get_info(CK_INFO_PTR info)
{
    static const CK_INFO ours = {
        .cryptokiVersion = {2, 40},
        .manufacturerID = "Keyfold                         ",
        .libraryDescription = "p11-kit-client that reconnects  ",
        .libraryVersion = {1, 0},
    };

    BEGIN;
    if (info == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else
        *info = ours;
    END;
}

/* Slots */

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count)
{
    CK_ULONG room;

    BEGIN;
    if (count == NULL) {
        rv = CKR_ARGUMENTS_BAD;
        END;
    }
    room = *count;
    AGAIN(connection_need(), (*count = room, client->C_GetSlotList(present, list, count)));
    if (rv == CKR_DEVICE_ERROR && !connection_was_ever_up()) {
        *count = 0;
        rv = CKR_OK;
    }
    END;
}

#define SLOT_CALL(name, parameters, call)                                                                              \
    static CK_RV name parameters                                                                                       \
    {                                                                                                                  \
        BEGIN;                                                                                                         \
        AGAIN(connection_need(), client->call);                                                                        \
        END;                                                                                                           \
    }

SLOT_CALL(get_slot_info, (CK_SLOT_ID slot, CK_SLOT_INFO_PTR info), C_GetSlotInfo(slot, info))
SLOT_CALL(get_token_info, (CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info), C_GetTokenInfo(slot, info))
SLOT_CALL(get_mechanism_info, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info),
          C_GetMechanismInfo(slot, type, info))

static CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
    CK_ULONG room;

    BEGIN;
    if (count == NULL) {
        rv = CKR_ARGUMENTS_BAD;
        END;
    }
    room = *count;
    AGAIN(connection_need(), (*count = room, client->C_GetMechanismList(slot, list, count)));
    END;
}

static CK_RV wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved)
{
    /* As SoftHSM: nobody waits, least of all with the lock held. */
    if ((flags & CKF_DONT_BLOCK) == 0)
        return CKR_FUNCTION_NOT_SUPPORTED;
    BEGIN;
    AGAIN(connection_need(), client->C_WaitForSlotEvent(flags, slot, reserved));
    END;
}

static CK_RV init_token(CK_SLOT_ID slot, CK_UTF8CHAR_PTR pin, CK_ULONG length, CK_UTF8CHAR_PTR label)
{
    BEGIN;
    ONCE(connection_need(), client->C_InitToken(slot, pin, length, label));
    END;
}

/* Sessions */

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE_PTR handle)
{
    (void)application;
    (void)notify; /* p11-kit carries none */
    BEGIN;
    if (handle == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else
        AGAIN(connection_need(), session_open(slot, flags, handle));
    END;
}

/* What is closed or logged out is so for good, on whatever connection: the answer is the token's, if there is one. */
static CK_RV close_session(CK_SESSION_HANDLE handle)
{
    struct session *session;

    BEGIN;
    session = session_find(handle);
    if (session == NULL) {
        rv = CKR_SESSION_HANDLE_INVALID;
        END;
    }
    if (connection_is_up() && session->epoch == epoch) {
        rv = client->C_CloseSession(session->real);
        rv = connection_lost(rv) ? CKR_OK : rv;
    }
    session_close(session);
    END;
}

static CK_RV close_all_sessions(CK_SLOT_ID slot)
{
    BEGIN;
    if (connection_is_up()) {
        rv = client->C_CloseAllSessions(slot);
        rv = connection_lost(rv) ? CKR_OK : rv;
    }
    if (rv == CKR_OK)
        sessions_close(slot);
    END;
}

static CK_RV get_session_info(CK_SESSION_HANDLE handle, CK_SESSION_INFO_PTR info)
{
    struct session *session;

    BEGIN;
    AGAIN(USE, client->C_GetSessionInfo(session->real, info));
    END;
}

static CK_RV login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct session *session;

    BEGIN;
    /* Not again: a wrong PIN would be counted twice. */
    ONCE(USE, client->C_Login(session->real, user, pin, length));
    if (rv == CKR_OK && user != CKU_CONTEXT_SPECIFIC)
        slot_logged_in(session->slot, user, pin, length);
    /* A login for one operation is not kept. */
    for (enum kind kind = ENCRYPT; rv == CKR_OK && user == CKU_CONTEXT_SPECIFIC && kind < KINDS; kind++)
        if (session->operations[kind].state == BEGUN)
            session->operations[kind].state = FED;
    END;
}

static CK_RV logout(CK_SESSION_HANDLE handle)
{
    struct session *session;
    CK_SLOT_ID slot;

    BEGIN;
    session = session_find(handle);
    if (session == NULL) {
        rv = CKR_SESSION_HANDLE_INVALID;
        END;
    }
    slot = session->slot->id;
    rv = session->slot->logged_in ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
    slot_logged_out(session->slot);
    objects_log_out(slot);
    if (connection_is_up()) {
        CK_RV answer = session_use(handle, &session);

        if (answer == CKR_OK)
            answer = client->C_Logout(session->real);
        rv = connection_lost(answer) ? rv : answer;
    }
    END;
}

static CK_RV init_pin(CK_SESSION_HANDLE handle, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct session *session;

    BEGIN;
    ONCE(USE, client->C_InitPIN(session->real, pin, length));
    END;
}

static CK_RV set_pin(CK_SESSION_HANDLE handle, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_length, CK_UTF8CHAR_PTR new_pin,
                     CK_ULONG new_length)
{
    struct session *session;

    BEGIN;
    ONCE(USE, client->C_SetPIN(session->real, old_pin, old_length, new_pin, new_length));
    if (rv == CKR_OK)
        slot_new_pin(session->slot, new_pin, new_length);
    END;
}

/* Objects */

static bool says_token(const CK_ATTRIBUTE *template, CK_ULONG count, bool otherwise)
{
    for (CK_ULONG i = 0; template != NULL && i < count; i++)
        if (template[i].type == CKA_TOKEN && template[i].pValue != NULL && template[i].ulValueLen == sizeof(CK_BBOOL))
            return *(const CK_BBOOL *)template[i].pValue != CK_FALSE;
    return otherwise;
}

/* Our handle for what a call has made. It is made even when the connection dies while we look at it. */
static CK_RV made(struct session *session, CK_OBJECT_HANDLE real, bool on_token, CK_OBJECT_HANDLE_PTR handle)
{
    CK_RV rv = CKR_OK;

    if (!on_token)
        return object_of_session(session->slot->id, real, session->handle, handle);
    rv = object_known(session->slot->id, real, true, handle);
    return connection_lost(rv) ? CKR_OK : rv;
}

static CK_RV create_object(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                           CK_OBJECT_HANDLE_PTR object)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    ONCE(USE, client->C_CreateObject(session->real, template, count, object != NULL ? &real : NULL));
    if (rv == CKR_OK)
        rv = made(session, real, says_token(template, count, false), object);
    END;
}

static CK_RV copy_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE source, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                         CK_OBJECT_HANDLE_PTR object)
{
    struct session *session;
    CK_OBJECT_HANDLE real_source, real;

    BEGIN;
    ONCE(USE_OBJECT(source, &real_source),
         client->C_CopyObject(session->real, real_source, template, count, object != NULL ? &real : NULL));
    if (rv == CKR_OK)
        rv = made(session, real, says_token(template, count, object_is_on_token(source)), object);
    END;
}

static CK_RV destroy_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    ONCE(USE_OBJECT(object, &real), client->C_DestroyObject(session->real, real));
    if (rv == CKR_OK)
        object_gone(object);
    END;
}

static CK_RV get_object_size(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ULONG_PTR size)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    AGAIN(USE_OBJECT(object, &real), client->C_GetObjectSize(session->real, real, size));
    END;
}

/* A call that died may have written lengths that are more than there is room for. */
static CK_RV get_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                            const CK_ULONG *rooms, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++)
        template[i].ulValueLen = rooms[i];
    return client->C_GetAttributeValue(session, object, template, count);
}

static CK_RV get_attribute_value(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                 CK_ULONG count)
{
    struct session *session;
    CK_OBJECT_HANDLE real;
    CK_ULONG *rooms;

    BEGIN;
    rooms = calloc(count + 1, sizeof *rooms);
    if (rooms == NULL || template == NULL) {
        rv = template == NULL ? CKR_ARGUMENTS_BAD : CKR_HOST_MEMORY;
    } else {
        for (CK_ULONG i = 0; i < count; i++)
            rooms[i] = template[i].ulValueLen;
        AGAIN(USE_OBJECT(object, &real), get_attributes(session->real, real, template, rooms, count));
    }
    free(rooms);
    END;
}

static CK_RV set_attribute_value(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                 CK_ULONG count)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    ONCE(USE_OBJECT(object, &real), client->C_SetAttributeValue(session->real, real, template, count));
    if (rv == CKR_OK)
        object_changed(object);
    END;
}

/* The whole search at once, as SoftHSM does it too: so it can be done again as a whole. */
static CK_RV collect(struct session *session)
{
    CK_OBJECT_HANDLE batch[256];
    CK_ULONG got = 0;
    CK_RV rv;

    do {
        CK_OBJECT_HANDLE *grown;

        rv = client->C_FindObjects(session->real, batch, 256, &got);
        if (rv != CKR_OK || got == 0)
            return rv;
        grown = realloc(session->found, (session->found_count + got) * sizeof *grown);
        if (grown == NULL)
            return CKR_HOST_MEMORY;
        session->found = grown;
        memcpy(grown + session->found_count, batch, got * sizeof *grown);
        session->found_count += got;
    } while (true);
}

static CK_RV search(struct session *session, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    CK_RV rv = client->C_FindObjectsInit(session->real, template, count);

    if (rv != CKR_OK)
        return rv;
    search_over(session);
    session->found_count = session->found_next = 0;
    rv = collect(session);
    if (rv != CKR_DEVICE_ERROR)
        client->C_FindObjectsFinal(session->real);
    for (CK_ULONG i = 0; rv == CKR_OK && i < session->found_count; i++)
        rv = object_known(session->slot->id, session->found[i], session->found_count <= MOST_IDENTIFIED,
                          &session->found[i]);
    if (rv == CKR_OK)
        session->searching = true;
    else
        search_over(session);
    return rv;
}

static CK_RV find_objects_init(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    struct session *session;

    BEGIN;
    session = session_find(handle);
    if (session != NULL && session->searching)
        rv = CKR_OPERATION_ACTIVE;
    else
        AGAIN(USE, search(session, template, count));
    END;
}

static CK_RV searching_session(CK_SESSION_HANDLE handle, struct session **session)
{
    *session = session_find(handle);
    if (*session == NULL)
        return CKR_SESSION_HANDLE_INVALID;
    return (*session)->searching ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED;
}

static CK_RV find_objects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE_PTR objects, CK_ULONG most, CK_ULONG_PTR count)
{
    struct session *session;

    BEGIN;
    rv = objects == NULL || count == NULL ? CKR_ARGUMENTS_BAD : searching_session(handle, &session);
    if (rv == CKR_OK) {
        CK_ULONG left = session->found_count - session->found_next;

        *count = left < most ? left : most;
        for (CK_ULONG i = 0; i < *count; i++)
            objects[i] = session->found[session->found_next++];
    }
    END;
}

static CK_RV find_objects_final(CK_SESSION_HANDLE handle)
{
    struct session *session;

    BEGIN;
    rv = searching_session(handle, &session);
    if (rv == CKR_OK)
        search_over(session);
    END;
}

/* Using keys */

static CK_RV init_operation(CK_SESSION_HANDLE handle, enum kind kind, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    AGAIN(USE_OBJECT(key, &real), operation_init(kind, session->real, mechanism, real));
    if (rv == CKR_OK)
        operation_begun(session, kind, mechanism, key);
    END;
}

/*
 * What a call leaves of its operation. A question for the length, or too little room for the answer, leaves it as it
 * was; so does a call that was not made, because nobody could be reached: it can be begun again later.
 */
static void settle(CK_SESSION_HANDLE handle, enum kind kind, CK_RV rv, bool asked_only, bool ends)
{
    struct session *session = session_find(handle);

    if (session == NULL || rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && asked_only) || !connection_is_up())
        return;
    if (rv != CKR_OK || ends)
        operation_over(session, kind);
    else if (session->operations[kind].state == BEGUN)
        session->operations[kind].state = FED;
}

#define INIT(name, kind)                                                                                               \
    static CK_RV name(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)                      \
    {                                                                                                                  \
        return mechanism == NULL ? CKR_ARGUMENTS_BAD : init_operation(handle, kind, mechanism, key);                   \
    }

/* Data in, something out. */
#define TRANSFORM(name, kind, function, ends)                                                                          \
    static CK_RV name(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR result,                 \
                      CK_ULONG_PTR result_length)                                                                      \
    {                                                                                                                  \
        struct session *session;                                                                                       \
        CK_ULONG room = result_length != NULL ? *result_length : 0;                                                    \
        if (result_length == NULL)                                                                                     \
            return CKR_ARGUMENTS_BAD;                                                                                  \
        BEGIN;                                                                                                         \
        AGAIN(session_use_operation(handle, &session, kind),                                                           \
              (*result_length = room, client->function(session->real, data, length, result, result_length)));          \
        settle(handle, kind, rv, result == NULL, ends);                                                                \
        END;                                                                                                           \
    }

/* Data in, nothing out. */
#define FEED(name, kind, function)                                                                                     \
    static CK_RV name(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length)                                     \
    {                                                                                                                  \
        struct session *session;                                                                                       \
        BEGIN;                                                                                                         \
        AGAIN(session_use_operation(handle, &session, kind), client->function(session->real, data, length));           \
        settle(handle, kind, rv, false, false);                                                                        \
        END;                                                                                                           \
    }

/* Nothing in, something out. */
#define FINISH(name, kind, function)                                                                                   \
    static CK_RV name(CK_SESSION_HANDLE handle, CK_BYTE_PTR result, CK_ULONG_PTR result_length)                        \
    {                                                                                                                  \
        struct session *session;                                                                                       \
        CK_ULONG room = result_length != NULL ? *result_length : 0;                                                    \
        if (result_length == NULL)                                                                                     \
            return CKR_ARGUMENTS_BAD;                                                                                  \
        BEGIN;                                                                                                         \
        AGAIN(session_use_operation(handle, &session, kind),                                                           \
              (*result_length = room, client->function(session->real, result, result_length)));                        \
        settle(handle, kind, rv, result == NULL, true);                                                                \
        END;                                                                                                           \
    }

INIT(encrypt_init, ENCRYPT)
TRANSFORM(encrypt, ENCRYPT, C_Encrypt, true)
TRANSFORM(encrypt_update, ENCRYPT, C_EncryptUpdate, false)
FINISH(encrypt_final, ENCRYPT, C_EncryptFinal)
INIT(decrypt_init, DECRYPT)
TRANSFORM(decrypt, DECRYPT, C_Decrypt, true)
TRANSFORM(decrypt_update, DECRYPT, C_DecryptUpdate, false)
FINISH(decrypt_final, DECRYPT, C_DecryptFinal)
TRANSFORM(digest, DIGEST, C_Digest, true)
FEED(digest_update, DIGEST, C_DigestUpdate)
FINISH(digest_final, DIGEST, C_DigestFinal)
INIT(sign_init, SIGN)
TRANSFORM(sign, SIGN, C_Sign, true)
FEED(sign_update, SIGN, C_SignUpdate)
FINISH(sign_final, SIGN, C_SignFinal)
INIT(verify_init, VERIFY)
FEED(verify_update, VERIFY, C_VerifyUpdate)

static CK_RV digest_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism)
{
    return mechanism == NULL ? CKR_ARGUMENTS_BAD : init_operation(handle, DIGEST, mechanism, CK_INVALID_HANDLE);
}

static CK_RV digest_key(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE key)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    AGAIN((rv = session_use_operation(handle, &session, DIGEST)) == CKR_OK ? object_use(key, &real) : rv,
          client->C_DigestKey(session->real, real));
    settle(handle, DIGEST, rv, false, false);
    END;
}

static CK_RV verify(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                    CK_ULONG signature_length)
{
    struct session *session;

    BEGIN;
    AGAIN(session_use_operation(handle, &session, VERIFY),
          client->C_Verify(session->real, data, length, signature, signature_length));
    settle(handle, VERIFY, rv, false, true);
    END;
}

static CK_RV verify_final(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG length)
{
    struct session *session;

    BEGIN;
    AGAIN(session_use_operation(handle, &session, VERIFY), client->C_VerifyFinal(session->real, signature, length));
    settle(handle, VERIFY, rv, false, true);
    END;
}

/* Keys */

static CK_RV generate_key(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR template,
                          CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct session *session;
    CK_OBJECT_HANDLE real;

    BEGIN;
    ONCE(USE, client->C_GenerateKey(session->real, mechanism, template, count, key != NULL ? &real : NULL));
    if (rv == CKR_OK)
        rv = made(session, real, says_token(template, count, false), key);
    END;
}

static CK_RV generate_key_pair(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR public_template,
                               CK_ULONG public_count, CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
                               CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
    struct session *session;
    CK_OBJECT_HANDLE real_public, real_private;

    BEGIN;
    ONCE(USE, client->C_GenerateKeyPair(session->real, mechanism, public_template, public_count, private_template,
                                        private_count, public_key != NULL ? &real_public : NULL,
                                        private_key != NULL ? &real_private : NULL));
    if (rv == CKR_OK)
        rv = made(session, real_public, says_token(public_template, public_count, false), public_key);
    if (rv == CKR_OK)
        rv = made(session, real_private, says_token(private_template, private_count, false), private_key);
    END;
}

static CK_RV wrap_key(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE wrapping,
                      CK_OBJECT_HANDLE key, CK_BYTE_PTR wrapped, CK_ULONG_PTR wrapped_length)
{
    struct session *session;
    CK_OBJECT_HANDLE real_wrapping, real;
    CK_ULONG room = wrapped_length != NULL ? *wrapped_length : 0;

    if (wrapped_length == NULL)
        return CKR_ARGUMENTS_BAD;
    BEGIN;
    AGAIN((rv = USE_OBJECT(wrapping, &real_wrapping)) == CKR_OK ? object_use(key, &real) : rv,
          (*wrapped_length = room,
           client->C_WrapKey(session->real, mechanism, real_wrapping, real, wrapped, wrapped_length)));
    END;
}

static CK_RV unwrap_key(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping,
                        CK_BYTE_PTR wrapped, CK_ULONG length, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                        CK_OBJECT_HANDLE_PTR key)
{
    struct session *session;
    CK_OBJECT_HANDLE real_unwrapping, real;

    BEGIN;
    ONCE(USE_OBJECT(unwrapping, &real_unwrapping),
         client->C_UnwrapKey(session->real, mechanism, real_unwrapping, wrapped, length, template, count,
                             key != NULL ? &real : NULL));
    if (rv == CKR_OK)
        rv = made(session, real, says_token(template, count, false), key);
    END;
}

static CK_RV derive_key(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base,
                        CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct session *session;
    CK_OBJECT_HANDLE real_base, real;

    BEGIN;
    ONCE(USE_OBJECT(base, &real_base), client->C_DeriveKey(session->real, mechanism, real_base, template, count,
                                                           key != NULL ? &real : NULL));
    if (rv == CKR_OK)
        rv = made(session, real, says_token(template, count, false), key);
    END;
}

static CK_RV seed_random(CK_SESSION_HANDLE handle, CK_BYTE_PTR seed, CK_ULONG length)
{
    struct session *session;

    BEGIN;
    AGAIN(USE, client->C_SeedRandom(session->real, seed, length));
    END;
}

static CK_RV generate_random(CK_SESSION_HANDLE handle, CK_BYTE_PTR bytes, CK_ULONG length)
{
    struct session *session;

    BEGIN;
    AGAIN(USE, client->C_GenerateRandom(session->real, bytes, length));
    END;
}

/* What SoftHSM does not do either. */

#define UNSUPPORTED(name, answer, ...)                                                                                 \
    static CK_RV name(__VA_ARGS__) { return answer; }

#define HANDLE_ __attribute__((unused)) CK_SESSION_HANDLE a
#define BYTES_(n) __attribute__((unused)) CK_BYTE_PTR n
#define ULONG_(n) __attribute__((unused)) CK_ULONG n
#define ULONG_PTR_(n) __attribute__((unused)) CK_ULONG_PTR n

UNSUPPORTED(get_operation_state, CKR_FUNCTION_NOT_SUPPORTED, HANDLE_, BYTES_(b), ULONG_PTR_(c))
UNSUPPORTED(set_operation_state, CKR_FUNCTION_NOT_SUPPORTED, HANDLE_, BYTES_(b), ULONG_(c), ULONG_(d), ULONG_(e))
UNSUPPORTED(recover_init, CKR_FUNCTION_NOT_SUPPORTED, HANDLE_, __attribute__((unused)) CK_MECHANISM_PTR b, ULONG_(c))
UNSUPPORTED(two_at_once, CKR_FUNCTION_NOT_SUPPORTED, HANDLE_, BYTES_(b), ULONG_(c), BYTES_(d), ULONG_PTR_(e))
UNSUPPORTED(legacy, CKR_FUNCTION_NOT_PARALLEL, HANDLE_)

static CK_FUNCTION_LIST own_list;

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = &own_list;
    return CKR_OK;
}

static CK_FUNCTION_LIST own_list = {
    .version = {2, 40},
    .C_Initialize = initialize,
    .C_Finalize = finalize,
    .C_GetInfo = get_info,
    .C_GetFunctionList = C_GetFunctionList,
    .C_GetSlotList = get_slot_list,
    .C_GetSlotInfo = get_slot_info,
    .C_GetTokenInfo = get_token_info,
    .C_GetMechanismList = get_mechanism_list,
    .C_GetMechanismInfo = get_mechanism_info,
    .C_InitToken = init_token,
    .C_InitPIN = init_pin,
    .C_SetPIN = set_pin,
    .C_OpenSession = open_session,
    .C_CloseSession = close_session,
    .C_CloseAllSessions = close_all_sessions,
    .C_GetSessionInfo = get_session_info,
    .C_GetOperationState = get_operation_state,
    .C_SetOperationState = set_operation_state,
    .C_Login = login,
    .C_Logout = logout,
    .C_CreateObject = create_object,
    .C_CopyObject = copy_object,
    .C_DestroyObject = destroy_object,
    .C_GetObjectSize = get_object_size,
    .C_GetAttributeValue = get_attribute_value,
    .C_SetAttributeValue = set_attribute_value,
    .C_FindObjectsInit = find_objects_init,
    .C_FindObjects = find_objects,
    .C_FindObjectsFinal = find_objects_final,
    .C_EncryptInit = encrypt_init,
    .C_Encrypt = encrypt,
    .C_EncryptUpdate = encrypt_update,
    .C_EncryptFinal = encrypt_final,
    .C_DecryptInit = decrypt_init,
    .C_Decrypt = decrypt,
    .C_DecryptUpdate = decrypt_update,
    .C_DecryptFinal = decrypt_final,
    .C_DigestInit = digest_init,
    .C_Digest = digest,
    .C_DigestUpdate = digest_update,
    .C_DigestKey = digest_key,
    .C_DigestFinal = digest_final,
    .C_SignInit = sign_init,
    .C_Sign = sign,
    .C_SignUpdate = sign_update,
    .C_SignFinal = sign_final,
    .C_SignRecoverInit = recover_init,
    .C_SignRecover = two_at_once,
    .C_VerifyInit = verify_init,
    .C_Verify = verify,
    .C_VerifyUpdate = verify_update,
    .C_VerifyFinal = verify_final,
    .C_VerifyRecoverInit = recover_init,
    .C_VerifyRecover = two_at_once,
    .C_DigestEncryptUpdate = two_at_once,
    .C_DecryptDigestUpdate = two_at_once,
    .C_SignEncryptUpdate = two_at_once,
    .C_DecryptVerifyUpdate = two_at_once,
    .C_GenerateKey = generate_key,
    .C_GenerateKeyPair = generate_key_pair,
    .C_WrapKey = wrap_key,
    .C_UnwrapKey = unwrap_key,
    .C_DeriveKey = derive_key,
    .C_SeedRandom = seed_random,
    .C_GenerateRandom = generate_random,
    .C_GetFunctionStatus = legacy,
    .C_CancelFunction = legacy,
    .C_WaitForSlotEvent = wait_for_slot_event,
};
