#include "changes.h"

#include "change.h"
#include "report.h"
#include "softhsm.h"

#include <stddef.h>

/* --- calls that make objects ------------------------------------------------------------------------- */

/* Through SoftHSM, so that the handles die in this process too, even when the agent has removed the files. */
static CK_RV undo_created(const struct change *change, CK_SESSION_HANDLE session,
                          CK_OBJECT_HANDLE_PTR const created[], size_t count, CK_RV rv)
{
    for (size_t i = 0; i < count; i++) {
        if (softhsm->C_DestroyObject(session, *created[i]) == CKR_ACTION_PROHIBITED)
            report(change->call, "the object was made with CKA_DESTROYABLE false", "removing it",
                   "keyfold object list, to see whether the agent kept it");
        *created[i] = CK_INVALID_HANDLE;
    }
    return rv;
}

/*
 * After SoftHSM made `created`: commit those that are token objects. Either all of them stay or none.
 * SoftHSM's word decides what is a token object; the template only decided whether to begin beforehand.
 */
static CK_RV commit_created(struct change *change, CK_SESSION_HANDLE session,
                            CK_OBJECT_HANDLE_PTR const created[], size_t count)
{
    struct object_hints hints[MOST_OBJECTS];
    size_t token_objects = 0;
    CK_RV rv = CKR_OK;

    for (size_t i = 0; i < count; i++) {
        if (object_tokenness(session, *created[i]) == SESSION_OBJECT)
            continue;
        if (!object_describe(session, *created[i], &hints[token_objects])) {
            report(change->call, "the session was closed or logged out meanwhile", "the object is not stored",
                   "try again");
            return undo_created(change, session, created, count, CKR_FUNCTION_FAILED);
        }
        token_objects++;
    }
    if (token_objects == 0)
        return CKR_OK;
    if (!change_is_guarded(change))
        rv = change_begin(change);
    if (rv == CKR_OK)
        change_commit(change, hints, token_objects, &rv);
    return rv == CKR_OK ? CKR_OK : undo_created(change, session, created, count, rv);
}

/* Begin beforehand if the call may make a token object; a pure session object needs no lock and no agent. */
static CK_RV begin_if(struct change *change, bool may_make_token_object)
{
    return may_make_token_object ? change_begin(change) : CKR_OK;
}

static CK_RV finish_created(struct change *change, CK_RV rv, CK_SESSION_HANDLE session,
                            CK_OBJECT_HANDLE_PTR const created[], size_t count)
{
    if (rv == CKR_OK)
        rv = commit_created(change, session, created, count);
    change_end(change);
    return rv;
}

static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                           CK_OBJECT_HANDLE_PTR object)
{
    struct change change = CHANGE("C_CreateObject", COMMIT_CREATE);
    CK_RV rv;

    if (object == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_if(&change, template_token(template, count) == TOKEN_POSSIBLE);
    if (rv == CKR_OK)
        rv = softhsm->C_CreateObject(session, template, count, object);
    return finish_created(&change, rv, session, &object, 1);
}

static CK_RV copy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE source, CK_ATTRIBUTE_PTR template,
                         CK_ULONG count, CK_OBJECT_HANDLE_PTR copy)
{
    struct change change = CHANGE("C_CopyObject", COMMIT_CREATE);
    enum template_token said = template_token(template, count);
    CK_RV rv;

    if (copy == NULL)
        return CKR_ARGUMENTS_BAD;
    /* A copy is what its source is, unless the template says otherwise. */
    rv = begin_if(&change, said == TOKEN_POSSIBLE
                               || (said == TOKEN_UNSAID && object_tokenness(session, source) != SESSION_OBJECT));
    if (rv == CKR_OK)
        rv = softhsm->C_CopyObject(session, source, template, count, copy);
    return finish_created(&change, rv, session, &copy, 1);
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR template,
                          CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct change change = CHANGE("C_GenerateKey", COMMIT_CREATE);
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_if(&change, template_token(template, count) == TOKEN_POSSIBLE);
    if (rv == CKR_OK)
        rv = softhsm->C_GenerateKey(session, mechanism, template, count, key);
    return finish_created(&change, rv, session, &key, 1);
}

static CK_RV generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
                               CK_ATTRIBUTE_PTR public_template, CK_ULONG public_count,
                               CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
                               CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
    struct change change = CHANGE("C_GenerateKeyPair", COMMIT_CREATE);
    CK_OBJECT_HANDLE_PTR const pair[] = {public_key, private_key};
    CK_RV rv;

    if (public_key == NULL || private_key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_if(&change, template_token(public_template, public_count) == TOKEN_POSSIBLE
                               || template_token(private_template, private_count) == TOKEN_POSSIBLE);
    if (rv == CKR_OK)
        rv = softhsm->C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
                                        private_count, public_key, private_key);
    return finish_created(&change, rv, session, pair, 2);
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping_key,
                        CK_BYTE_PTR wrapped, CK_ULONG wrapped_length, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                        CK_OBJECT_HANDLE_PTR key)
{
    struct change change = CHANGE("C_UnwrapKey", COMMIT_CREATE);
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_if(&change, template_token(template, count) == TOKEN_POSSIBLE);
    if (rv == CKR_OK)
        rv = softhsm->C_UnwrapKey(session, mechanism, unwrapping_key, wrapped, wrapped_length, template, count,
                                  key);
    return finish_created(&change, rv, session, &key, 1);
}

static CK_RV derive_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base_key,
                        CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct change change = CHANGE("C_DeriveKey", COMMIT_CREATE);
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_if(&change, template_token(template, count) == TOKEN_POSSIBLE);
    if (rv == CKR_OK)
        rv = softhsm->C_DeriveKey(session, mechanism, base_key, template, count, key);
    return finish_created(&change, rv, session, &key, 1);
}

/* --- calls that change or destroy one object ---------------------------------------------------------- */

static CK_RV set_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                 CK_ULONG count)
{
    struct change change = CHANGE("C_SetAttributeValue", COMMIT_UPDATE);
    struct object_hints hints;
    CK_RV rv;

    if (object_tokenness(session, object) == SESSION_OBJECT)
        return softhsm->C_SetAttributeValue(session, object, template, count);
    rv = change_begin(&change);
    if (rv == CKR_OK)
        rv = softhsm->C_SetAttributeValue(session, object, template, count);
    if (rv == CKR_OK) {
        size_t described = object_describe(session, object, &hints) ? 1 : 0;

        change_commit(&change, &hints, described, &rv);
    }
    change_end(&change);
    return rv;
}

static CK_RV destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct change change = CHANGE("C_DestroyObject", COMMIT_UPDATE);
    struct object_hints hints;
    size_t described = 0;
    CK_RV rv;

    if (object_tokenness(session, object) == SESSION_OBJECT)
        return softhsm->C_DestroyObject(session, object);
    rv = change_begin(&change);
    if (rv == CKR_OK) {
        described = object_describe(session, object, &hints) ? 1 : 0;
        rv = softhsm->C_DestroyObject(session, object);
    }
    if (rv == CKR_OK)
        change_commit(&change, &hints, described, &rv);
    change_end(&change);
    return rv;
}

/* --- PINs --------------------------------------------------------------------------------------------- */

static bool is_too_short(CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    return pin != NULL && length < LEAST_PIN_BYTES;
}

static CK_RV init_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct change change = CHANGE("C_InitPIN", COMMIT_UPDATE);
    CK_RV rv;

    if (is_too_short(pin, length))
        return CKR_PIN_LEN_RANGE;
    rv = change_begin(&change);
    if (rv == CKR_OK)
        rv = softhsm->C_InitPIN(session, pin, length);
    if (rv == CKR_OK)
        change_commit(&change, NULL, 0, &rv);
    change_end(&change);
    return rv;
}

static CK_RV set_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_length,
                     CK_UTF8CHAR_PTR new_pin, CK_ULONG new_length)
{
    struct change change = CHANGE("C_SetPIN", COMMIT_UPDATE);
    CK_RV rv;

    if (is_too_short(new_pin, new_length))
        return CKR_PIN_LEN_RANGE;
    rv = change_begin(&change);
    if (rv == CKR_OK)
        rv = softhsm->C_SetPIN(session, old_pin, old_length, new_pin, new_length);
    if (rv == CKR_OK
        && change_commit(&change, NULL, 0, &rv) == COMMIT_UNKNOWN)
        /* Nobody has put the file back. The caller is told that the PIN did not change, so let it be true. */
        softhsm->C_SetPIN(session, new_pin, new_length, old_pin, old_length);
    change_end(&change);
    return rv;
}

/*
 * A token made here would exist on this node only, outside the mirror, and re-initialising the partition's own
 * token would destroy every object in it. Partitions are made with `keyfold partition apply`.
 */
static CK_RV init_token(CK_SLOT_ID slot, CK_UTF8CHAR_PTR pin, CK_ULONG length, CK_UTF8CHAR_PTR label)
{
    (void)slot;
    (void)pin;
    (void)length;
    (void)label;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

void changes_install(CK_FUNCTION_LIST_PTR list)
{
    list->C_InitToken = init_token;
    list->C_InitPIN = init_pin;
    list->C_SetPIN = set_pin;
    list->C_CreateObject = create_object;
    list->C_CopyObject = copy_object;
    list->C_DestroyObject = destroy_object;
    list->C_SetAttributeValue = set_attribute_value;
    list->C_GenerateKey = generate_key;
    list->C_GenerateKeyPair = generate_key_pair;
    list->C_UnwrapKey = unwrap_key;
    list->C_DeriveKey = derive_key;
}
