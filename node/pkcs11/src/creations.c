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

/* One call that makes objects: what it commits, the template that SoftHSM is to have, the policy it is made under. */
struct creation {
    struct change change;
    struct key_template wanted;
    unsigned permitted; /* from begin_creation on */
};

#define CREATION(call, template, count) \
    {.change = CHANGE(call, COMMIT_CREATE), .wanted = {(template), (count), NULL}, .permitted = 0}

typedef CK_RV admission(unsigned *permitted);

/* Begin beforehand if the call may make a token object; a pure session object needs no lock and no agent. */
static CK_RV begin_creation(struct creation *self, admission *admit, bool may_make_token_object)
{
    CK_RV rv = admit(&self->permitted);

    if (rv == CKR_OK)
        rv = policy_judge_place(self->permitted, may_make_token_object);
    if (rv != CKR_OK || !may_make_token_object)
        return rv;
    rv = change_begin(&self->change);
    /* The lock may have been waited for, and the policy may be another one now. */
    return rv == CKR_OK ? admit(&self->permitted) : rv;
}

/* `rv`: how it went so far, SoftHSM's call included. */
static CK_RV end_creation(struct creation *self, CK_RV rv, CK_SESSION_HANDLE session,
                          CK_OBJECT_HANDLE_PTR const created[], size_t count)
{
    key_template_free(&self->wanted);
    if (rv == CKR_OK)
        rv = commit_created(&self->change, session, created, count);
    change_end(&self->change);
    return rv;
}

static bool wants_token_object(const struct key_template *wanted)
{
    return template_token(wanted->attributes, wanted->count) == TOKEN_POSSIBLE;
}

static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                           CK_OBJECT_HANDLE_PTR object)
{
    struct creation creation = CREATION("C_CreateObject", template, count);
    CK_RV rv;

    if (object == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&creation, policy_admit, wants_token_object(&creation.wanted));
    if (rv == CKR_OK && template != NULL && template_may_be_key(template, count)) {
        if ((creation.permitted & POLICY_KEY_IMPORT) == 0)
            rv = CKR_ATTRIBUTE_VALUE_INVALID;
        else
            rv = key_template_make(&creation.wanted, creation.permitted, NULL);
    }
    if (rv == CKR_OK)
        rv = softhsm->C_CreateObject(session, creation.wanted.attributes, creation.wanted.count, object);
    return end_creation(&creation, rv, session, &object, 1);
}

static CK_RV copy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE source, CK_ATTRIBUTE_PTR template,
                         CK_ULONG count, CK_OBJECT_HANDLE_PTR copy)
{
    struct creation creation = CREATION("C_CopyObject", template, count);
    enum template_token said = template_token(template, count);
    struct object_nature nature;
    CK_RV rv;

    if (copy == NULL)
        return CKR_ARGUMENTS_BAD;
    nature = object_look(session, source);
    /* A copy is what its source is, unless the template says otherwise. */
    rv = begin_creation(&creation, policy_admit,
                        said == TOKEN_POSSIBLE || (said == TOKEN_UNSAID && nature.tokenness != SESSION_OBJECT));
    if (rv == CKR_OK && nature.tokenness != UNKNOWN_OBJECT && nature.may_be_key)
        rv = key_template_make(&creation.wanted, creation.permitted, &nature);
    if (rv == CKR_OK)
        rv = softhsm->C_CopyObject(session, source, creation.wanted.attributes, creation.wanted.count, copy);
    return end_creation(&creation, rv, session, &copy, 1);
}

/* Of these mechanisms domain parameters come, which are public and know neither attribute. */
static bool generates_parameters(const CK_MECHANISM *mechanism)
{
    return mechanism != NULL
           && (mechanism->mechanism == CKM_DSA_PARAMETER_GEN || mechanism->mechanism == CKM_DH_PKCS_PARAMETER_GEN
               || mechanism->mechanism == CKM_X9_42_DH_PARAMETER_GEN);
}

/* Of the calls that make one secret or private key by a mechanism. */
static CK_RV begin_key(struct creation *self, admission *admit, CK_SESSION_HANDLE session,
                       const CK_MECHANISM *mechanism)
{
    CK_RV rv = begin_creation(self, admit, wants_token_object(&self->wanted));

    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    return rv == CKR_OK && !generates_parameters(mechanism)
               ? key_template_make(&self->wanted, self->permitted, NULL) : rv;
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR template,
                          CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct creation creation = CREATION("C_GenerateKey", template, count);
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_key(&creation, policy_admit, session, mechanism);
    if (rv == CKR_OK)
        rv = softhsm->C_GenerateKey(session, mechanism, creation.wanted.attributes, creation.wanted.count, key);
    return end_creation(&creation, rv, session, &key, 1);
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
    struct creation creation = CREATION("C_GenerateKeyPair", private_template, private_count);
    CK_OBJECT_HANDLE_PTR const pair[] = {public_key, private_key};
    enum template_token public_said = template_token(public_template, public_count);
    enum template_token private_said = template_token(private_template, private_count);
    CK_RV rv;

    if (public_key == NULL || private_key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_creation(&creation, policy_admit, public_said == TOKEN_POSSIBLE || private_said == TOKEN_POSSIBLE);
    if (rv == CKR_OK)
        rv = judge_second_place(creation.permitted, public_said, private_said);
    if (rv == CKR_OK)
        rv = mechanisms_admit(session, mechanism);
    if (rv == CKR_OK)
        rv = key_template_make(&creation.wanted, creation.permitted, NULL);
    if (rv == CKR_OK)
        rv = softhsm->C_GenerateKeyPair(session, mechanism, public_template, public_count,
                                        creation.wanted.attributes, creation.wanted.count, public_key, private_key);
    return end_creation(&creation, rv, session, pair, 2);
}

static CK_RV admit_import(unsigned *permitted)
{
    CK_RV rv = policy_admit_use(permitted);

    return rv == CKR_OK && (*permitted & POLICY_KEY_IMPORT) == 0 ? CKR_KEY_FUNCTION_NOT_PERMITTED : rv;
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping_key,
                        CK_BYTE_PTR wrapped, CK_ULONG wrapped_length, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                        CK_OBJECT_HANDLE_PTR key)
{
    struct creation creation = CREATION("C_UnwrapKey", template, count);
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_key(&creation, admit_import, session, mechanism);
    if (rv == CKR_OK)
        rv = softhsm->C_UnwrapKey(session, mechanism, unwrapping_key, wrapped, wrapped_length,
                                  creation.wanted.attributes, creation.wanted.count, key);
    return end_creation(&creation, rv, session, &key, 1);
}

static CK_RV derive_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base_key,
                        CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct creation creation = CREATION("C_DeriveKey", template, count);
    CK_RV rv;

    if (key == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = begin_key(&creation, policy_admit_use, session, mechanism);
    if (rv == CKR_OK)
        rv = softhsm->C_DeriveKey(session, mechanism, base_key, creation.wanted.attributes, creation.wanted.count,
                                  key);
    return end_creation(&creation, rv, session, &key, 1);
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
