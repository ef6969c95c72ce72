#include "object.h"

#include "softhsm.h"

#include <stddef.h>

static bool has_value(const CK_ATTRIBUTE *attribute, CK_ULONG at_most)
{
    return attribute->ulValueLen != CK_UNAVAILABLE_INFORMATION && attribute->ulValueLen <= at_most;
}

/* C_GetAttributeValue fills what it can even when it names one attribute it could not (PKCS#11 2.40 §5.7). */
static bool filled_what_it_could(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE
           || rv == CKR_BUFFER_TOO_SMALL;
}

enum tokenness object_tokenness(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    CK_BBOOL token = CK_FALSE;
    CK_ATTRIBUTE wanted = {CKA_TOKEN, &token, sizeof token};

    if (softhsm->C_GetAttributeValue(session, object, &wanted, 1) != CKR_OK
        || wanted.ulValueLen != sizeof token)
        return UNKNOWN_OBJECT;
    return token == CK_FALSE ? SESSION_OBJECT : TOKEN_OBJECT;
}

enum template_token template_token(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    enum template_token said = TOKEN_UNSAID;

    if (template == NULL)
        return TOKEN_UNSAID;
    for (CK_ULONG i = 0; i < count; i++) {
        const CK_BBOOL *value = template[i].pValue;

        if (template[i].type != CKA_TOKEN)
            continue;
        if (value == NULL || template[i].ulValueLen != sizeof *value || *value != CK_FALSE)
            return TOKEN_POSSIBLE;
        said = TOKEN_DENIED;
    }
    return said;
}

static void take_hint(struct hint *hint, const CK_ATTRIBUTE *answer)
{
    hint->present = has_value(answer, sizeof hint->value);
    hint->length = hint->present ? answer->ulValueLen : 0;
}

bool object_describe(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct object_hints *hints)
{
    enum { CLASS, KEY_TYPE, LABEL, ID, WANTED };
    CK_ATTRIBUTE wanted[WANTED] = {
        [CLASS] = {CKA_CLASS, &hints->class, sizeof hints->class},
        [KEY_TYPE] = {CKA_KEY_TYPE, &hints->key_type, sizeof hints->key_type},
        [LABEL] = {CKA_LABEL, hints->label.value, sizeof hints->label.value},
        [ID] = {CKA_ID, hints->id.value, sizeof hints->id.value},
    };

    if (!filled_what_it_could(softhsm->C_GetAttributeValue(session, object, wanted, WANTED)))
        return false;
    if (!has_value(&wanted[CLASS], sizeof hints->class))
        return false;
    hints->has_key_type = has_value(&wanted[KEY_TYPE], sizeof hints->key_type);
    take_hint(&hints->label, &wanted[LABEL]);
    take_hint(&hints->id, &wanted[ID]);
    return true;
}
