#include "object.h"

#include "softhsm.h"
#include "template.h"

#include <stddef.h>

static bool has_value(const CK_ATTRIBUTE *attribute, CK_ULONG at_most)
{
    return attribute->ulValueLen != CK_UNAVAILABLE_INFORMATION && attribute->ulValueLen <= at_most;
}

bool object_filled_what_it_could(CK_RV rv)
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

struct object_nature object_look(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    enum { TOKEN, CLASS, EXTRACTABLE, SENSITIVE, WANTED };
    struct object_nature nature = {UNKNOWN_OBJECT, true, true, false};
    CK_BBOOL token = CK_TRUE, extractable = CK_TRUE, sensitive = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE wanted[WANTED] = {
        [TOKEN] = {CKA_TOKEN, &token, sizeof token},
        [CLASS] = {CKA_CLASS, &class, sizeof class},
        [EXTRACTABLE] = {CKA_EXTRACTABLE, &extractable, sizeof extractable},
        [SENSITIVE] = {CKA_SENSITIVE, &sensitive, sizeof sensitive},
    };

    if (!object_filled_what_it_could(softhsm->C_GetAttributeValue(session, object, wanted, WANTED)))
        return nature;
    if (wanted[TOKEN].ulValueLen == sizeof token)
        nature.tokenness = token == CK_FALSE ? SESSION_OBJECT : TOKEN_OBJECT;
    nature.may_be_key = template_may_be_key(&wanted[CLASS], 1);
    nature.extractable = wanted[EXTRACTABLE].ulValueLen != sizeof extractable || extractable != CK_FALSE;
    nature.sensitive = wanted[SENSITIVE].ulValueLen == sizeof sensitive && sensitive == CK_TRUE;
    return nature;
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

    if (!object_filled_what_it_could(softhsm->C_GetAttributeValue(session, object, wanted, WANTED)))
        return false;
    if (!has_value(&wanted[CLASS], sizeof hints->class))
        return false;
    hints->has_key_type = has_value(&wanted[KEY_TYPE], sizeof hints->key_type);
    take_hint(&hints->label, &wanted[LABEL]);
    take_hint(&hints->id, &wanted[ID]);
    return true;
}
