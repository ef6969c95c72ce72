#include "updates.h"

#include "change.h"
#include "object.h"
#include "policy.h"
#include "softhsm.h"

#include <stddef.h>

static CK_RV set_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                 CK_ULONG count)
{
    struct change change = CHANGE("C_SetAttributeValue", COMMIT_UPDATE);
    struct object_hints hints;
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv != CKR_OK)
        return rv;
    if (object_tokenness(session, object) == SESSION_OBJECT)
        return softhsm->C_SetAttributeValue(session, object, template, count);
    rv = change_begin_update(&change, &permitted);
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
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv != CKR_OK)
        return rv;
    if (object_tokenness(session, object) == SESSION_OBJECT)
        return softhsm->C_DestroyObject(session, object);
    rv = change_begin_update(&change, &permitted);
    if (rv == CKR_OK && (permitted & POLICY_DESTROY_OBJECTS) == 0)
        rv = CKR_ACTION_PROHIBITED;
    if (rv == CKR_OK) {
        described = object_describe(session, object, &hints) ? 1 : 0;
        rv = softhsm->C_DestroyObject(session, object);
    }
    if (rv == CKR_OK)
        change_commit(&change, &hints, described, &rv);
    change_end(&change);
    return rv;
}

void updates_install(CK_FUNCTION_LIST_PTR list)
{
    list->C_DestroyObject = destroy_object;
    list->C_SetAttributeValue = set_attribute_value;
}
