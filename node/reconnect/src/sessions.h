/* The application's sessions, and what is under way in them. */
#ifndef RECONNECT_SESSIONS_H
#define RECONNECT_SESSIONS_H

#include "slots.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

enum kind { ENCRYPT, DECRYPT, DIGEST, SIGN, VERIFY, KINDS };

struct operation {
    enum { IDLE, BEGUN, FED } state; /* FED: the token has data, or a login, that we have not kept */
    unsigned long epoch;
    CK_MECHANISM *mechanism; /* NULL: cannot be begun again */
    CK_OBJECT_HANDLE key;
};

struct session {
    CK_SESSION_HANDLE handle; /* ours */
    CK_SESSION_HANDLE real;   /* in `epoch` */
    unsigned long epoch;
    struct slot *slot;
    CK_FLAGS flags;
    struct operation operations[KINDS];
    bool searching;
    CK_OBJECT_HANDLE *found; /* ours, of the search */
    CK_ULONG found_count, found_next;
};

CK_RV session_open(CK_SLOT_ID slot, CK_FLAGS flags, CK_SESSION_HANDLE *handle);
/* NULL: no such session. */
struct session *session_find(CK_SESSION_HANDLE handle);
void session_close(struct session *session);
void sessions_close(CK_SLOT_ID slot);
void sessions_forget(void);

/* Connected, and with a session there. */
CK_RV session_use(CK_SESSION_HANDLE handle, struct session **session);
/* … and with p11-kit's handle of an object. */
CK_RV session_use_object(CK_SESSION_HANDLE handle, struct session **session, CK_OBJECT_HANDLE object,
                         CK_OBJECT_HANDLE *real);
/* … and with the operation under way that was: CKR_OPERATION_NOT_INITIALIZED if it had been fed. */
CK_RV session_use_operation(CK_SESSION_HANDLE handle, struct session **session, enum kind kind);

/* The token's own C_…Init. */
CK_RV operation_init(enum kind kind, CK_SESSION_HANDLE real, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE real_key);
void operation_begun(struct session *session, enum kind kind, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
void operation_over(struct session *session, enum kind kind);

void search_over(struct session *session);

#endif
