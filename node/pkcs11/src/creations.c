#include "creations.h"

#include "change.h"
#include "mechanisms.h"
#include "object.h"
#include "policy.h"
#include "report.h"
#include "softhsm.h"
#include "template.h"

#include <stddef.h>

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
 * The template was judged beforehand; this is SoftHSM's word about what came of it, under the policy as it is now.
 * It holds whatever a template can be made to mean.
 */
static CK_RV judge_created(const struct object_nature *made)
{
    unsigned permitted = policy_now();
    CK_RV rv = policy_judge_place(permitted, made->tokenness != SESSION_OBJECT);

    if (rv != CKR_OK || !made->may_be_key || !made->extractable || (permitted & POLICY_KEY_EXPORT) != 0)
        return rv;
    return (permitted & POLICY_KEY_EXTRACT) != 0 && made->sensitive ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
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
        struct object_nature made = object_look(session, *created[i]);

        if (made.tokenness != SESSION_OBJECT && !object_describe(session, *created[i], &hints[token_objects])) {
            report(change->call, "the session was closed or logged out meanwhile", "the object is not stored",
                   "try again");
            return undo_created(change, session, created, count, CKR_FUNCTION_FAILED);
        }
        token_objects += made.tokenness != SESSION_OBJECT ? 1 : 0;
        rv = judge_created(&made);
        if (rv != CKR_OK)
            return undo_created(change, session, created, count, rv);
    }
    if (token_objects == 0)
        return CKR_OK;
    if (!change_is_guarded(change))
        rv = change_begin(change);
    if (rv == CKR_OK)
        change_commit(change, hints, token_objects, &rv);
    return rv == CKR_OK ? CKR_OK : undo_created(change, session, created, count, rv);
}

typedef CK_RV admission(unsigned *permitted);

/*
 * Begin beforehand if the call may make a token object; a pure session object needs no lock and no agent. Sets
 * `permitted` for the rest of the call.
 */
static CK_RV begin_creation(struct change *change, admission *admit, bool may_make_token_object, unsigned *permitted)
{
    CK_RV rv = admit(permitted);

    if (rv == CKR_OK)
        rv = policy_judge_place(*permitted, may_make_token_object);
    if (rv != CKR_OK || !may_make_token_object)
        return rv;
    rv = change_begin(change);
    /* The lock may have been waited for, and the policy may be another one now. */
    return rv == CKR_OK ? admit(permitted) : rv;
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
    struct key_template wanted = {template, count, NULL};
    unsigned permitted;
    CK_RV rv;

    if (object == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&change, policy_admit, template_token(template, count) == TOKEN_POSSIBLE, &permitted);
    if (rv == CKR_OK && template != NULL && template_may_be_key(template, count)) {
        if ((permitted & POLICY_KEY_IMPORT) == 0)
            rv = CKR_ATTRIBUTE_VALUE_INVALID;
        else
            rv = key_template_make(&wanted, permitted, NULL, template, count);
    }
    if (rv == CKR_OK)
        rv = softhsm->C_CreateObject(session, wanted.attributes, wanted.count, object);
    key_template_free(&wanted);
    return finish_created(&change, rv, session, &object, 1);
}

static CK_RV copy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE source, CK_ATTRIBUTE_PTR template,
                         CK_ULONG count, CK_OBJECT_HANDLE_PTR copy)
{
    struct change change = CHANGE("C_CopyObject", COMMIT_CREATE);
    struct key_template wanted = {template, count, NULL};
    enum template_token said = template_token(template, count);
    struct object_nature nature;
    unsigned permitted;
    CK_RV rv;

    if (copy == NULL)
        return CKR_ARGUMENTS_BAD;
    nature = object_look(session, source);
    /* A copy is what its source is, unless the template says otherwise. */
    rv = begin_creation(&change, policy_admit,
                        said == TOKEN_POSSIBLE || (said == TOKEN_UNSAID && nature.tokenness != SESSION_OBJECT),
                        &permitted);
    if (rv == CKR_OK && nature.tokenness != UNKNOWN_OBJECT && nature.may_be_key)
        rv = key_template_make(&wanted, permitted, &nature, template, count);
    if (rv == CKR_OK)
        rv = softhsm->C_CopyObject(session, source, wanted.attributes, wanted.count, copy);
    key_template_free(&wanted);
    return finish_created(&change, rv, session, &copy, 1);
}

/* Of these mechanisms domain parameters come, which are public and know neither attribute. */
static bool generates_parameters(const CK_MECHANISM *mechanism)
{
    return mechanism != NULL
           && (mechanism->mechanism == CKM_DSA_PARAMETER_GEN || mechanism->mechanism == CKM_DH_PKCS_PARAMETER_GEN
               || mechanism->mechanism == CKM_X9_42_DH_PARAMETER_GEN);
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR template,
                          CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct change change = CHANGE("C_GenerateKey", COMMIT_CREATE);
    struct key_template wanted = {template, count, NULL};
    unsigned permitted;
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&change, policy_admit, template_token(template, count) == TOKEN_POSSIBLE, &permitted);
    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    if (rv == CKR_OK && !generates_parameters(mechanism))
        rv = key_template_make(&wanted, permitted, NULL, template, count);
    if (rv == CKR_OK)
        rv = softhsm->C_GenerateKey(session, mechanism, wanted.attributes, wanted.count, key);
    key_template_free(&wanted);
    return finish_created(&change, rv, session, &key, 1);
}

/* Both halves, wherever each of them goes. */
static CK_RV judge_second_place(unsigned permitted, enum template_token public_said, enum template_token private_said)
{
    CK_RV rv = policy_judge_place(permitted, public_said == TOKEN_POSSIBLE);

    return rv == CKR_OK ? policy_judge_place(permitted, private_said == TOKEN_POSSIBLE) : rv;
}

static CK_RV generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism,
                               CK_ATTRIBUTE_PTR public_template, CK_ULONG public_count,
                               CK_ATTRIBUTE_PTR private_template, CK_ULONG private_count,
                               CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
    struct change change = CHANGE("C_GenerateKeyPair", COMMIT_CREATE);
    CK_OBJECT_HANDLE_PTR const pair[] = {public_key, private_key};
    enum template_token public_said = template_token(public_template, public_count);
    enum template_token private_said = template_token(private_template, private_count);
    struct key_template wanted = {private_template, private_count, NULL};
    unsigned permitted;
    CK_RV rv;

    if (public_key == NULL || private_key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&change, policy_admit, public_said == TOKEN_POSSIBLE || private_said == TOKEN_POSSIBLE,
                        &permitted);
    if (rv == CKR_OK)
        rv = judge_second_place(permitted, public_said, private_said);
    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    if (rv == CKR_OK)
        rv = key_template_make(&wanted, permitted, NULL, private_template, private_count);
    if (rv == CKR_OK)
        rv = softhsm->C_GenerateKeyPair(session, mechanism, public_template, public_count, wanted.attributes,
                                        wanted.count, public_key, private_key);
    key_template_free(&wanted);
    return finish_created(&change, rv, session, pair, 2);
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping_key,
                        CK_BYTE_PTR wrapped, CK_ULONG wrapped_length, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                        CK_OBJECT_HANDLE_PTR key)
{
    struct change change = CHANGE("C_UnwrapKey", COMMIT_CREATE);
    struct key_template wanted = {template, count, NULL};
    unsigned permitted;
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&change, policy_admit_use, template_token(template, count) == TOKEN_POSSIBLE, &permitted);
    if (rv == CKR_OK && (permitted & POLICY_KEY_IMPORT) == 0)
        rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    if (rv == CKR_OK)
        rv = key_template_make(&wanted, permitted, NULL, template, count);
    if (rv == CKR_OK)
        rv = softhsm->C_UnwrapKey(session, mechanism, unwrapping_key, wrapped, wrapped_length, wanted.attributes,
                                  wanted.count, key);
    key_template_free(&wanted);
    return finish_created(&change, rv, session, &key, 1);
}

static CK_RV derive_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base_key,
                        CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct change change = CHANGE("C_DeriveKey", COMMIT_CREATE);
    struct key_template wanted = {template, count, NULL};
    unsigned permitted;
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&change, policy_admit_use, template_token(template, count) == TOKEN_POSSIBLE, &permitted);
    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    if (rv == CKR_OK)
        rv = key_template_make(&wanted, permitted, NULL, template, count);
    if (rv == CKR_OK)
        rv = softhsm->C_DeriveKey(session, mechanism, base_key, wanted.attributes, wanted.count, key);
    key_template_free(&wanted);
    return finish_created(&change, rv, session, &key, 1);
}

void creations_install(CK_FUNCTION_LIST_PTR list)
{
    list->C_CreateObject = create_object;
    list->C_CopyObject = copy_object;
    list->C_GenerateKey = generate_key;
    list->C_GenerateKeyPair = generate_key_pair;
    list->C_UnwrapKey = unwrap_key;
    list->C_DeriveKey = derive_key;
}
