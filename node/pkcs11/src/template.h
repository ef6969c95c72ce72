/* What a template asks for, judged by the policy; and the template that is given to SoftHSM instead. */
#ifndef KEYFOLD_TEMPLATE_H
#define KEYFOLD_TEMPLATE_H

#include "object.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* Whether a secret is read by this attribute, if the object is a secret or private key (PKCS#11 2.40 §4). */
bool attribute_holds_key_material(CK_ATTRIBUTE_TYPE type);

/* Unless every CKA_CLASS named is a well-formed one of objects that are public: public key, certificate, data,
 * domain parameters. True without any. */
bool template_may_be_key(const CK_ATTRIBUTE *template, CK_ULONG count);

/* The template for SoftHSM; the application's own if nothing is to be added. */
struct key_template {
    CK_ATTRIBUTE_PTR attributes;
    CK_ULONG count;
    CK_ATTRIBUTE_PTR allocated; /* NULL: the application's */
};

/*
 * The application's template of a new secret or private key, made such as `permitted` (enum policy_flag) wants it:
 * - neither key_export nor key_extract: CKA_EXTRACTABLE false, CKA_SENSITIVE true where it is not said;
 * - key_extract without key_export: CKA_SENSITIVE true, but a key that is not extractable may say false.
 * Of a copy, `source` is what is copied (NULL otherwise): what it is already is not added, because SoftHSM lets nobody
 * say again what cannot change any more.
 * CKR_ATTRIBUTE_VALUE_INVALID if the template says the contrary. key_template_free in every case.
 */
CK_RV key_template_make(struct key_template *self, unsigned permitted, const struct object_nature *source);
void key_template_free(struct key_template *self);

#endif
