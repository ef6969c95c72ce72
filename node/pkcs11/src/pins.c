#include "pins.h"

#include "change.h"
#include "login.h"
#include "policy.h"
#include "softhsm.h"
#include "token_file.h"

#include <stdbool.h>
#include <stddef.h>

static bool is_too_short(CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    return pin != NULL && length < LEAST_PIN_BYTES;
}

static CK_RV init_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct change change = CHANGE("C_InitPIN", COMMIT_UPDATE);
    unsigned permitted;
    CK_RV rv = policy_admit(&permitted);

    if (rv == CKR_OK && is_too_short(pin, length))
        rv = CKR_PIN_LEN_RANGE;
    if (rv == CKR_OK)
        rv = change_begin_update(&change, &permitted);
    if (rv == CKR_OK)
        rv = token_file_init_pin(session, pin, length);
    if (rv == CKR_OK)
        change_commit(&change, NULL, 0, &rv);
    change_end(&change);
    return rv;
}

/*
 * What SoftHSM would refuse without looking at the PIN is refused here, in its words, so that the agent does not count it:
 * applications log in again and again, to be sure.
 */
static CK_RV judge_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin)
{
    CK_SESSION_INFO info;
    CK_RV rv = softhsm->C_GetSessionInfo(session, &info);
    bool is_so;

    if (rv != CKR_OK)
        return rv;
    if (pin == NULL)
        return CKR_ARGUMENTS_BAD;
    if (user == CKU_CONTEXT_SPECIFIC)
        return CKR_OK;
    if (user != CKU_USER && user != CKU_SO)
        return CKR_USER_TYPE_INVALID;
    if (info.state == CKS_RO_PUBLIC_SESSION || info.state == CKS_RW_PUBLIC_SESSION)
        return CKR_OK;
    is_so = info.state == CKS_RW_SO_FUNCTIONS;
    return is_so == (user == CKU_SO) ? CKR_USER_ALREADY_LOGGED_IN : CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct login counted = LOGIN("C_Login", user == CKU_SO ? "so" : login_user_of(session));
    unsigned permitted;
    bool logged_in = false;
    CK_RV rv = policy_admit(&permitted);

    if (rv == CKR_OK)
        rv = judge_login(session, user, pin);
    if (rv == CKR_OK)
        rv = login_begin(&counted);
    if (rv == CKR_OK) {
        rv = token_file_login(session, user, pin, length);
        logged_in = rv == CKR_OK;
    }
    rv = login_end(&counted, rv);
    /* A login that was not counted must not stand, or its success would tell what its code does not. */
    if (rv != CKR_OK && logged_in)
        softhsm->C_Logout(session);
    return rv;
}

/* As judge_login. */
static CK_RV judge_set_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_UTF8CHAR_PTR new_pin,
                           CK_ULONG new_length)
{
    CK_SESSION_INFO info;
    CK_RV rv = softhsm->C_GetSessionInfo(session, &info);

    if (rv != CKR_OK)
        return rv;
    if (old_pin == NULL || new_pin == NULL)
        return CKR_ARGUMENTS_BAD;
    if (new_length < LEAST_PIN_BYTES || new_length > MOST_PIN_BYTES)
        return CKR_PIN_LEN_RANGE;
    return (info.flags & CKF_RW_SESSION) != 0 ? CKR_OK : CKR_SESSION_READ_ONLY;
}

/* The old PIN is compared, so this is a guess as C_Login is (login.h). */
static CK_RV set_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_length,
                     CK_UTF8CHAR_PTR new_pin, CK_ULONG new_length)
{
    struct change change = CHANGE("C_SetPIN", COMMIT_UPDATE);
    struct login counted = LOGIN("C_SetPIN", login_user_of(session));
    unsigned permitted;
    bool changed = false, decided = false;
    CK_RV rv = policy_admit(&permitted);

    if (rv == CKR_OK)
        rv = judge_set_pin(session, old_pin, new_pin, new_length);
    if (rv == CKR_OK)
        rv = change_begin_update(&change, &permitted);
    if (rv == CKR_OK)
        rv = login_begin(&counted);
    if (rv == CKR_OK) {
        rv = token_file_set_pin(session, old_pin, old_length, new_pin, new_length);
        changed = rv == CKR_OK;
    }
    rv = login_end(&counted, rv);
    if (rv == CKR_OK)
        decided = change_commit(&change, NULL, 0, &rv) != COMMIT_UNKNOWN;
    if (changed && !decided)
        /* Nobody has put the file back. The caller is told that the PIN did not change, so let it be true. */
        token_file_set_pin(session, new_pin, new_length, old_pin, old_length);
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

void pins_install(CK_FUNCTION_LIST_PTR list)
{
    list->C_InitToken = init_token;
    list->C_InitPIN = init_pin;
    list->C_SetPIN = set_pin;
    list->C_Login = login;
}
