/* After a reconnect a handle means the object that it meant before, or nothing. */
#include "tap.h"
#include "token.h"

#include <string.h>

static CK_RV use(const struct token *token, CK_OBJECT_HANDLE object)
{
    CK_ULONG class;
    CK_ATTRIBUTE wanted = ATTRIBUTE(CKA_CLASS, class);

    return token->module->C_GetAttributeValue(token->session, object, &wanted, 1);
}

static void destroy(const struct token *token, CK_OBJECT_CLASS class, const char *label)
{
    need(token->softhsm->C_DestroyObject(token->softhsm_session, softhsm_key(token, class, label)) == CKR_OK,
         "C_DestroyObject");
}

static void rename_to(const struct token *token, CK_OBJECT_CLASS class, const char *label, const char *other)
{
    CK_ATTRIBUTE name = ATTRIBUTE_TEXT(CKA_LABEL, other);

    need(token->softhsm->C_SetAttributeValue(token->softhsm_session, softhsm_key(token, class, label), &name, 1) ==
             CKR_OK,
         "C_SetAttributeValue");
}

static void unchanged_objects_are_found(const struct token *token)
{
    static const struct {
        CK_OBJECT_CLASS class;
        const char *label;
    } objects[] = {
        {CKO_PRIVATE_KEY, "ec"}, {CKO_PUBLIC_KEY, "ec"}, {CKO_PRIVATE_KEY, "rsa"}, {CKO_PUBLIC_KEY, "rsa"},
        {CKO_SECRET_KEY, "aes"}, {CKO_DATA, "data"},
    };
    CK_OBJECT_HANDLE handles[COUNT(objects)];

    make_p256(token, "ec", 1);
    make_rsa(token, "rsa", 2);
    make_aes(token, "aes", 3);
    make_data(token, "data", "value");
    for (size_t i = 0; i < COUNT(objects); i++)
        handles[i] = module_key(token, objects[i].class, objects[i].label);
    relay_cut();
    for (size_t i = 0; i < COUNT(objects); i++)
        check(use(token, handles[i]) == CKR_OK, "%s, class %lu, is found again", objects[i].label, objects[i].class);
}

static void a_renamed_key_is_not_guessed(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_SECRET_KEY, "aes");

    rename_to(token, CKO_SECRET_KEY, "aes", "other");
    relay_cut();
    check_number(use(token, key), CKR_OBJECT_HANDLE_INVALID, "a key that was renamed is not guessed");
    rename_to(token, CKO_SECRET_KEY, "other", "aes");
    check_number(use(token, key), CKR_OK, "renamed back, it is the one again");
}

static void of_two_alike_none_is_taken(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "rsa"), copy;
    CK_ATTRIBUTE on_token = ATTRIBUTE(CKA_TOKEN, yes);

    need(token->softhsm->C_CopyObject(token->softhsm_session, softhsm_key(token, CKO_PRIVATE_KEY, "rsa"), &on_token, 1,
                                      &copy) == CKR_OK,
         "C_CopyObject");
    relay_cut();
    check_number(use(token, key), CKR_OBJECT_HANDLE_INVALID, "of a key and its copy none is taken");
    token->softhsm->C_DestroyObject(token->softhsm_session, copy);
    check_number(use(token, key), CKR_OK, "when the copy is gone, the key is");
}

static void a_new_key_under_an_old_name_is_refused(const struct token *token)
{
    CK_OBJECT_HANDLE ec = module_key(token, CKO_PRIVATE_KEY, "ec"), rsa = module_key(token, CKO_PRIVATE_KEY, "rsa");
    CK_OBJECT_HANDLE aes = module_key(token, CKO_SECRET_KEY, "aes"), data = module_key(token, CKO_DATA, "data");

    destroy(token, CKO_PRIVATE_KEY, "ec");
    destroy(token, CKO_PUBLIC_KEY, "ec");
    make_p256(token, "ec", 1);
    destroy(token, CKO_PRIVATE_KEY, "rsa");
    destroy(token, CKO_PUBLIC_KEY, "rsa");
    make_rsa(token, "rsa", 2);
    destroy(token, CKO_SECRET_KEY, "aes");
    make_aes(token, "aes", 3);
    destroy(token, CKO_DATA, "data");
    make_data(token, "data", "other");
    relay_cut();
    check_number(use(token, ec), CKR_OBJECT_HANDLE_INVALID, "a new EC pair under the old name and ID is refused");
    check_number(use(token, rsa), CKR_OBJECT_HANDLE_INVALID, "a new RSA pair is");
    check_number(use(token, aes), CKR_OBJECT_HANDLE_INVALID, "a new AES key is");
    check_number(use(token, data), CKR_OBJECT_HANDLE_INVALID, "new data are");
    check_number(sign_with(token, module_key(token, CKO_PRIVATE_KEY, "ec")), CKR_OK, "who searches anew has them");
}

/* In the middle of somebody's rotation: the private key is the new one already, the public one still the old one. */
static void half_a_new_pair_is_refused(const struct token *token)
{
    CK_OBJECT_HANDLE key = module_key(token, CKO_PRIVATE_KEY, "ec");

    make_p256(token, "new", 9);
    destroy(token, CKO_PRIVATE_KEY, "ec");
    rename_to(token, CKO_PRIVATE_KEY, "new", "ec");
    {
        CK_BYTE id = 1;
        CK_ATTRIBUTE same = ATTRIBUTE(CKA_ID, id);

        need(token->softhsm->C_SetAttributeValue(token->softhsm_session, softhsm_key(token, CKO_PRIVATE_KEY, "ec"),
                                                 &same, 1) == CKR_OK,
             "C_SetAttributeValue");
    }
    relay_cut();
    check_number(sign_with(token, key), CKR_OBJECT_HANDLE_INVALID,
                 "a private key whose public half is not its own is refused");
}

static void without_anything_to_tell_by_it_is_refused(const struct token *token)
{
    CK_OBJECT_HANDLE key;
    char value[4200] = "";

    make_p256(token, "lonely", 20);
    destroy(token, CKO_PUBLIC_KEY, "lonely");
    key = module_key(token, CKO_PRIVATE_KEY, "lonely");
    check_number(sign_with(token, key), CKR_OK, "an EC key without its public half serves");
    relay_cut();
    check_number(sign_with(token, key), CKR_OBJECT_HANDLE_INVALID, "but cannot be told from another: it is refused");

    memset(value, 'v', sizeof value - 1);
    make_data(token, "long", value);
    key = module_key(token, CKO_DATA, "long");
    relay_cut();
    check_number(use(token, key), CKR_OBJECT_HANDLE_INVALID, "so are data too long to be compared");
}

static void what_is_gone_is_gone(const struct token *token)
{
    CK_OBJECT_HANDLE key;

    make_aes(token, "leaving", 30);
    key = module_key(token, CKO_SECRET_KEY, "leaving");
    destroy(token, CKO_SECRET_KEY, "leaving");
    relay_cut();
    check_number(use(token, key), CKR_OBJECT_HANDLE_INVALID, "a key that was destroyed is gone");
}

static void in_a_large_search_a_key_is_known_from_its_first_use(const struct token *token)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template = ATTRIBUTE(CKA_CLASS, class);
    CK_OBJECT_HANDLE found[256];
    CK_ULONG count = 0;
    char label[16];

    for (int i = 0; i < 101; i++) {
        label[0] = (char)('0' + i / 100);
        label[1] = (char)('0' + i / 10 % 10);
        label[2] = (char)('0' + i % 10);
        label[3] = '\0';
        make_data(token, label, label);
    }
    need(token->module->C_FindObjectsInit(token->session, &template, 1) == CKR_OK, "C_FindObjectsInit");
    need(token->module->C_FindObjects(token->session, found, 256, &count) == CKR_OK && count > 100, "C_FindObjects");
    token->module->C_FindObjectsFinal(token->session);
    need(use(token, found[count - 1]) == CKR_OK, "the first use");
    relay_cut();
    check_number(use(token, found[count - 1]), CKR_OK, "what was used is found again");
    check_number(use(token, found[count - 2]), CKR_OBJECT_HANDLE_INVALID, "what was not is refused");
}

int main(void)
{
    struct token token = {0};

    token_open(&token);
    unchanged_objects_are_found(&token);
    a_renamed_key_is_not_guessed(&token);
    of_two_alike_none_is_taken(&token);
    a_new_key_under_an_old_name_is_refused(&token);
    half_a_new_pair_is_refused(&token);
    without_anything_to_tell_by_it_is_refused(&token);
    what_is_gone_is_gone(&token);
    in_a_large_search_a_key_is_known_from_its_first_use(&token);
    token_close(&token);
    return finish_tap();
}
