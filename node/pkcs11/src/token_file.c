#include "token_file.h"

#include "config.h"
#include "lock.h"
#include "private_fd.h"
#include "softhsm.h"

#include <stddef.h>

static void begin_read(struct private_fd *lock)
{
    if (config_current() != NULL)
        (void)lock_share(lock, config_current()->partition_dir, LOCK_LOGIN);
}

static void begin_write(struct private_fd *lock)
{
    if (config_current() != NULL)
        (void)lock_take(lock, config_current()->partition_dir, LOCK_LOGIN);
}

CK_RV token_file_initialize(CK_VOID_PTR arguments)
{
    struct private_fd lock = PRIVATE_FD_CLOSED;
    CK_RV rv;

    begin_read(&lock);
    rv = softhsm->C_Initialize(arguments);
    lock_release(&lock);
    return rv;
}

CK_RV token_file_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    struct private_fd lock = PRIVATE_FD_CLOSED;
    CK_RV rv;

    begin_read(&lock);
    rv = softhsm->C_GetTokenInfo(slot, info);
    lock_release(&lock);
    return rv;
}

CK_RV token_file_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct private_fd lock = PRIVATE_FD_CLOSED;
    CK_RV rv;

    begin_write(&lock);
    rv = softhsm->C_Login(session, user, pin, length);
    lock_release(&lock);
    return rv;
}

CK_RV token_file_init_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    struct private_fd lock = PRIVATE_FD_CLOSED;
    CK_RV rv;

    begin_write(&lock);
    rv = softhsm->C_InitPIN(session, pin, length);
    lock_release(&lock);
    return rv;
}

CK_RV token_file_set_pin(CK_SESSION_HANDLE session, CK_UTF8CHAR_PTR old_pin, CK_ULONG old_length,
                         CK_UTF8CHAR_PTR new_pin, CK_ULONG new_length)
{
    struct private_fd lock = PRIVATE_FD_CLOSED;
    CK_RV rv;

    begin_write(&lock);
    rv = softhsm->C_SetPIN(session, old_pin, old_length, new_pin, new_length);
    lock_release(&lock);
    return rv;
}
