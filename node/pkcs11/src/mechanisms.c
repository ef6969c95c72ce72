#include "mechanisms.h"

#include "softhsm.h"

#include <stddef.h>

/* SoftHSM 2.6.1 has 85. */
#define MOST_MECHANISMS 256

static CK_MECHANISM_TYPE allowed[MOST_MECHANISMS];
static CK_ULONG allowed_count;

const char *mechanisms_load(void)
{
    CK_SLOT_ID slots[64];
    CK_ULONG slot_count = sizeof slots / sizeof slots[0];
    CK_ULONG count = MOST_MECHANISMS;

    allowed_count = 0;
    /* The list is the same for every slot; SoftHSM always has one. */
    if (softhsm->C_GetSlotList(CK_FALSE, slots, &slot_count) != CKR_OK || slot_count == 0
        || softhsm->C_GetMechanismList(slots[0], allowed, &count) != CKR_OK)
        return "SoftHSM does not tell its mechanisms";
    allowed_count = count;
    return NULL;
}

bool mechanisms_has(CK_MECHANISM_TYPE type)
{
    for (CK_ULONG i = 0; i < allowed_count; i++)
        if (allowed[i] == type)
            return true;
    return false;
}

CK_RV mechanisms_admit(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism)
{
    CK_SESSION_INFO info;
    CK_RV rv;

    if (mechanism == NULL || mechanisms_has(mechanism->mechanism))
        return CKR_OK;
    rv = softhsm->C_GetSessionInfo(session, &info);
    return rv == CKR_OK ? CKR_MECHANISM_INVALID : rv;
}
