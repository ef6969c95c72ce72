/*
 * A PKCS#11 library that is SoftHSM but for what `unruly_mode` says: things SoftHSM 2.6.1 does only in a race,
 * made to happen every time.
 */
#include "unruly.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

__attribute__((visibility("default"))) enum unruly_mode unruly_mode;
__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

static CK_FUNCTION_LIST_PTR softhsm;
static CK_FUNCTION_LIST own_list;

static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count,
                           CK_OBJECT_HANDLE_PTR object)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE changed[16];

    if ((unruly_mode != IGNORES_TEMPLATE && unruly_mode != MAKES_EXTRACTABLE) || count >= 16)
        return softhsm->C_CreateObject(session, template, count, object);
    memcpy(changed, template, count * sizeof *template);
    if (unruly_mode == IGNORES_TEMPLATE)
        changed[count++] = (CK_ATTRIBUTE){CKA_TOKEN, &yes, sizeof yes};
    else
        for (CK_ULONG i = 0; i < count; i++)
            if (changed[i].type == CKA_EXTRACTABLE || changed[i].type == CKA_SENSITIVE)
                changed[i].pValue = changed[i].type == CKA_EXTRACTABLE ? &yes : &no;
    return softhsm->C_CreateObject(session, changed, count, object);
}

static CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                 CK_ULONG count)
{
    if (unruly_mode == TELLS_NOTHING)
        return CKR_SESSION_HANDLE_INVALID;
    if (unruly_mode == TELLS_ONLY_TOKEN && template[0].type != CKA_TOKEN)
        return CKR_GENERAL_ERROR;
    return softhsm->C_GetAttributeValue(session, object, template, count);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get_list = NULL;

    if (symbol == NULL)
        return CKR_GENERAL_ERROR;
    memcpy(&get_list, &symbol, sizeof get_list);
    if (get_list(&softhsm) != CKR_OK)
        return CKR_GENERAL_ERROR;
    own_list = *softhsm;
    own_list.C_CreateObject = create_object;
    own_list.C_GetAttributeValue = get_attribute_value;
    *list = &own_list;
    return CKR_OK;
}
