/*
 * The partition's policy as this node's agent publishes it (docs/policy.md, docs/interfaces.md §7): a small file,
 * mapped at C_Initialize, that the agent changes in place. So a change is seen by the very next call of every
 * live connection, and asking costs one load.
 */
#ifndef KEYFOLD_POLICY_H
#define KEYFOLD_POLICY_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* What the policy permits; all in one byte of the file, so that no reader ever sees half of a change. */
enum policy_flag {
    POLICY_KEY_IMPORT = 1 << 0,
    POLICY_KEY_EXPORT = 1 << 1,
    POLICY_KEY_EXTRACT = 1 << 2,
    POLICY_WRITE = 1 << 3, /* not read_only */
    POLICY_SESSION_OBJECTS = 1 << 4,
    POLICY_DESTROY_OBJECTS = 1 << 5,
    POLICY_USE_OBJECTS = 1 << 6,
    POLICY_CLIENT_API_ACCESS = 1 << 7,
};

#define POLICY_BYTES 16
#define POLICY_MAGIC "KEYFOLDP"
#define POLICY_VERSION 1
#define POLICY_VERSION_AT 8
#define POLICY_FLAGS_AT 9

/* Map the file instead of the one mapped before. NULL, or what is wrong with it (a phrase for report()). */
const char *policy_map(const char *path);

/* Whether a policy is mapped: C_Initialize succeeded once. */
bool policy_is_mapped(void);

/* What is permitted now; nothing, if no policy is mapped. */
unsigned policy_now(void);

/*
 * What every call on a session begins with. CKR_OK and, in *permitted, one look at the policy for the whole call;
 * CKR_DEVICE_REMOVED without client_api_access, CKR_CRYPTOKI_NOT_INITIALIZED before C_Initialize.
 */
CK_RV policy_admit(unsigned *permitted);

/* The same for a call that uses a key: CKR_KEY_FUNCTION_NOT_PERMITTED without use_objects. */
CK_RV policy_admit_use(unsigned *permitted);

/*
 * Whether an object may be made, or changed, where it is: CKR_TOKEN_WRITE_PROTECTED on the token of a read-only
 * partition, CKR_ATTRIBUTE_VALUE_INVALID (CKA_TOKEN false) in a session without session_objects.
 */
CK_RV policy_judge_place(unsigned permitted, bool on_token);

#endif
