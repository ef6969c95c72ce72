#include "template.h"

#include "policy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* CKA_EXTRACTABLE and CKA_SENSITIVE. */
#define MOST_ADDED 2

bool attribute_holds_key_material(CK_ATTRIBUTE_TYPE type)
{
    switch (type) {
    case CKA_VALUE:
    case CKA_PRIVATE_EXPONENT:
    case CKA_PRIME_1:
    case CKA_PRIME_2:
    case CKA_EXPONENT_1:
    case CKA_EXPONENT_2:
    case CKA_COEFFICIENT:
        return true;
    default:
        return false;
    }
}

bool template_may_be_key(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    bool named = false;

    for (CK_ULONG i = 0; template != NULL && i < count; i++) {
        CK_OBJECT_CLASS class;

        if (template[i].type != CKA_CLASS)
            continue;
        if (template[i].pValue == NULL || template[i].ulValueLen != sizeof class)
            return true;
        memcpy(&class, template[i].pValue, sizeof class);
        if (class != CKO_PUBLIC_KEY && class != CKO_CERTIFICATE && class != CKO_DATA
            && class != CKO_DOMAIN_PARAMETERS)
            return true;
        named = true;
    }
    return !named;
}

/* A truth value as a template has it; the same attribute may be there twice. */
enum said { UNSAID, SAID_TRUE, SAID_FALSE, SAID_OTHERWISE };

static enum said said(const CK_ATTRIBUTE *template, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    enum said result = UNSAID;

    for (CK_ULONG i = 0; template != NULL && i < count; i++) {
        const CK_BBOOL *value = template[i].pValue;
        enum said now = SAID_OTHERWISE;

        if (template[i].type != type)
            continue;
        if (value != NULL && template[i].ulValueLen == sizeof *value)
            now = *value == CK_TRUE ? SAID_TRUE : *value == CK_FALSE ? SAID_FALSE : SAID_OTHERWISE;
        if (result != UNSAID && result != now)
            return SAID_OTHERWISE;
        result = now;
    }
    return result;
}

static CK_RV with_added(struct key_template *self, const CK_ATTRIBUTE *added, CK_ULONG added_count)
{
    CK_ULONG count = self->count;

    if (added_count == 0)
        return CKR_OK;
    if (count > SIZE_MAX / sizeof *added - MOST_ADDED)
        return CKR_ARGUMENTS_BAD;
    self->allocated = malloc((count + added_count) * sizeof *added);
    if (self->allocated == NULL)
        return CKR_HOST_MEMORY;
    if (count > 0)
        memcpy(self->allocated, self->attributes, count * sizeof *added);
    memcpy(self->allocated + count, added, added_count * sizeof *added);
    self->attributes = self->allocated;
    self->count = count + added_count;
    return CKR_OK;
}

CK_RV key_template_make(struct key_template *self, unsigned permitted, const struct object_nature *source)
{
    static CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
    CK_ATTRIBUTE added[MOST_ADDED];
    CK_ULONG added_count = 0;
    enum said extractable = said(self->attributes, self->count, CKA_EXTRACTABLE);
    enum said sensitive = said(self->attributes, self->count, CKA_SENSITIVE);

    if (self->attributes == NULL && self->count > 0)
        return CKR_ARGUMENTS_BAD;
    if ((permitted & POLICY_KEY_EXPORT) != 0)
        return CKR_OK;
    if (extractable == UNSAID && source != NULL && !source->extractable)
        extractable = SAID_FALSE;
    if ((permitted & POLICY_KEY_EXTRACT) == 0) {
        if (extractable == UNSAID) {
            added[added_count++] = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &no, sizeof no};
            extractable = SAID_FALSE;
        }
        if (extractable != SAID_FALSE)
            return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    /* SoftHSM's default is not extractable; a copy is what its source is. */
    if (extractable == UNSAID && source == NULL)
        extractable = SAID_FALSE;
    if (sensitive == UNSAID && source != NULL && source->sensitive)
        sensitive = SAID_TRUE;
    if (sensitive == UNSAID)
        added[added_count++] = (CK_ATTRIBUTE){CKA_SENSITIVE, &yes, sizeof yes};
    else if (sensitive != SAID_TRUE && extractable != SAID_FALSE)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return with_added(self, added, added_count);
}

void key_template_free(struct key_template *self)
{
    free(self->allocated);
    self->allocated = NULL;
}
