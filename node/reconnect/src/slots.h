/* The slots in use: which token is in them, who is logged in, and a session of our own for looking things up. */
#ifndef RECONNECT_SLOTS_H
#define RECONNECT_SLOTS_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

struct slot {
    CK_SLOT_ID id;
    CK_ULONG sessions; /* the application's; 0: the slot is not in use */
    CK_TOKEN_INFO token;
    CK_SESSION_HANDLE own_session; /* valid in own_epoch */
    unsigned long own_epoch;
    bool logged_in;
    CK_USER_TYPE user;
};

/* Before the application's first session there: note its token. CKR_HOST_MEMORY: too many slots in use. */
CK_RV slot_take(CK_SLOT_ID id, struct slot **slot);
/* After it has closed a session; with the last one the login is over and ours is closed. */
void slot_give_back(struct slot *slot);
/* NULL: not in use. */
struct slot *slot_find(CK_SLOT_ID id);

/* A session in which nothing of the application's is under way. */
CK_RV slot_own_session(struct slot *slot, CK_SESSION_HANDLE *session);

void slot_logged_in(struct slot *slot, CK_USER_TYPE user, const CK_BYTE *pin, CK_ULONG length);
void slot_logged_out(struct slot *slot);
/* The PIN was changed by the one who is logged in. */
void slot_new_pin(struct slot *slot, const CK_BYTE *pin, CK_ULONG length);

/*
 * On a new connection: are the same tokens there (CKR_TOKEN_NOT_PRESENT), then log in as before, once. A login that
 * is refused is over: its answer is returned, and the PIN is forgotten.
 */
CK_RV slots_restore(void);

void slots_forget(void);

#endif
