#include "slots.h"

#include "connection.h"
#include "pin.h"
#include "report.h"

#include <string.h>

static struct slot slots[MOST_PINS];

static unsigned index_of(const struct slot *slot)
{
    return (unsigned)(slot - slots);
}

struct slot *slot_find(CK_SLOT_ID id)
{
    for (unsigned i = 0; i < MOST_PINS; i++)
        if (slots[i].sessions > 0 && slots[i].id == id)
            return &slots[i];
    return NULL;
}

CK_RV slot_take(CK_SLOT_ID id, struct slot **slot)
{
    CK_RV rv;

    *slot = slot_find(id);
    for (unsigned i = 0; i < MOST_PINS && *slot == NULL; i++)
        if (slots[i].sessions == 0)
            *slot = &slots[i];
    if (*slot == NULL)
        return CKR_HOST_MEMORY;
    if ((*slot)->sessions == 0) {
        memset(*slot, 0, sizeof **slot);
        (*slot)->id = id;
        rv = client->C_GetTokenInfo(id, &(*slot)->token);
        if (rv != CKR_OK)
            return rv;
    }
    return CKR_OK;
}

static void close_own(struct slot *slot)
{
    if (slot->own_epoch == epoch && slot->own_epoch != 0 && connection_is_up())
        (void)connection_lost(client->C_CloseSession(slot->own_session));
    slot->own_epoch = 0;
}

void slot_give_back(struct slot *slot)
{
    if (slot->sessions == 0 || --slot->sessions > 0)
        return;
    slot_logged_out(slot);
    close_own(slot);
}

CK_RV slot_own_session(struct slot *slot, CK_SESSION_HANDLE *session)
{
    CK_RV rv;

    if (slot->own_epoch != epoch) {
        /* Read-write, because a read-only session would keep the SO from logging in; a token may refuse it. */
        rv = client->C_OpenSession(slot->id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &slot->own_session);
        if (rv == CKR_TOKEN_WRITE_PROTECTED)
            rv = client->C_OpenSession(slot->id, CKF_SERIAL_SESSION, NULL, NULL, &slot->own_session);
        if (rv != CKR_OK)
            return rv;
        slot->own_epoch = epoch;
    }
    *session = slot->own_session;
    return CKR_OK;
}

void slot_logged_in(struct slot *slot, CK_USER_TYPE user, const CK_BYTE *pin, CK_ULONG length)
{
    slot->logged_in = true;
    slot->user = user;
    if (!pin_keep(index_of(slot), pin, length))
        report("C_Login", "the PIN cannot be kept in locked memory", "logging in again after a reconnect",
               "raise the application's RLIMIT_MEMLOCK");
}

void slot_logged_out(struct slot *slot)
{
    slot->logged_in = false;
    pin_wipe(index_of(slot));
}

void slot_new_pin(struct slot *slot, const CK_BYTE *pin, CK_ULONG length)
{
    if (slot->logged_in)
        slot_logged_in(slot, slot->user, pin, length);
}

static bool same_token(const CK_TOKEN_INFO *left, const CK_TOKEN_INFO *right)
{
    return memcmp(left->label, right->label, sizeof left->label) == 0 &&
           memcmp(left->serialNumber, right->serialNumber, sizeof left->serialNumber) == 0 &&
           memcmp(left->manufacturerID, right->manufacturerID, sizeof left->manufacturerID) == 0 &&
           memcmp(left->model, right->model, sizeof left->model) == 0;
}

static CK_RV log_in_again(struct slot *slot)
{
    CK_SESSION_HANDLE session;
    CK_BYTE *pin;
    CK_ULONG length;
    CK_RV rv;

    if (!slot->logged_in)
        return CKR_OK;
    if (!pin_get(index_of(slot), &pin, &length)) {
        slot_logged_out(slot);
        return CKR_USER_NOT_LOGGED_IN;
    }
    rv = slot_own_session(slot, &session);
    if (rv == CKR_OK)
        rv = client->C_Login(session, slot->user, pin, length);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN || connection_lost(rv))
        return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
    slot_logged_out(slot);
    report("reconnect", "the login was refused", "logging in again", "log in with the PIN that is valid now");
    return rv;
}

CK_RV slots_restore(void)
{
    CK_TOKEN_INFO token;
    CK_RV rv = CKR_OK;

    for (unsigned i = 0; i < MOST_PINS; i++) {
        if (slots[i].sessions == 0)
            continue;
        rv = client->C_GetTokenInfo(slots[i].id, &token);
        if (rv == CKR_SLOT_ID_INVALID || (rv == CKR_OK && !same_token(&token, &slots[i].token)))
            rv = CKR_TOKEN_NOT_PRESENT;
        if (rv != CKR_OK)
            return rv;
    }
    for (unsigned i = 0; i < MOST_PINS; i++) {
        CK_RV answer = slots[i].sessions > 0 ? log_in_again(&slots[i]) : CKR_OK;

        if (!connection_is_up())
            return answer;
        if (answer != CKR_OK)
            rv = answer;
    }
    return rv;
}

void slots_forget(void)
{
    for (unsigned i = 0; i < MOST_PINS; i++)
        pin_wipe(i);
    memset(slots, 0, sizeof slots);
}
