/* The object handles that the application has: ours stay the same while p11-kit's change with the connection. */
#ifndef RECONNECT_OBJECTS_H
#define RECONNECT_OBJECTS_H

#include "slots.h"

#include <p11-kit/pkcs11.h>

/* Our handle for one of p11-kit's. What it is known by is read now (`now`) or when it is first used. */
CK_RV object_known(CK_SLOT_ID slot, CK_OBJECT_HANDLE real, bool now, CK_OBJECT_HANDLE *handle);

/* An object of a session: gone when that (ours) is closed, or the connection dies. */
CK_RV object_of_session(CK_SLOT_ID slot, CK_OBJECT_HANDLE real, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *handle);

/* p11-kit's handle on this connection; CK_INVALID_HANDLE stays that. */
CK_RV object_use(CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real);

/* Whether it may outlive its session: what a copy of it is, unless its template says otherwise. */
bool object_is_on_token(CK_OBJECT_HANDLE handle);

/* Its attributes were changed: read anew what it is known by. */
void object_changed(CK_OBJECT_HANDLE handle);

void object_gone(CK_OBJECT_HANDLE handle);
void objects_close_session(CK_SESSION_HANDLE session);
/* The user has logged out there: handles of private objects are void, as the standard has it. */
void objects_log_out(CK_SLOT_ID slot);
void objects_forget(void);

#endif
