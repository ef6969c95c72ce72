/*
 * Whole reads of token.object.
 *
 * SoftHSM 2.6.1 rewrites that file at every login and PIN change, and gives its own lock back before the new content has
 * left stdio's buffer: whoever opens the token or asks for its flags in that moment finds it torn ("Token integrity check
 * failed") and has no token. So those who make SoftHSM write it exclude those who make it read it, by `login.lock`.
 *
 * Best effort: where the lock cannot be had (a full disk, somebody who keeps it), the call goes on without it, because
 * using keys is not to depend on it.
 */
#ifndef KEYFOLD_TOKEN_FILE_H
#define KEYFOLD_TOKEN_FILE_H

#include <p11-kit/pkcs11.h>

/* SoftHSM's own calls, each under the lock. The first needs what config_load() read. */
CK_RV token_file_initialize(CK_VOID_PTR arguments);
CK_RV token_file_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info);
CK_RV token_file_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length);
CK_RV token_file_init_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG length);
CK_RV token_file_set_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_length,
                         CK_UTF8CHAR_PTR new_pin, CK_ULONG new_length);

#endif
