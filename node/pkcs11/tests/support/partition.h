/* A partition of its own for each test: directory, softhsm2.conf, a real SoftHSM token, and the module loaded. */
#ifndef PARTITION_H
#define PARTITION_H

#include "fake_agent.h"
#include "provider.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

#define SO_PIN "so-pin-12345678"
#define USER_PIN "user-pin-12345678"

struct partition {
    char directory[64];    /* of the locks, softhsm2.conf and agent.sock */
    char tokens[96];       /* directory/tokens */
    char agent_socket[96]; /* directory/agent.sock */
    char policy[96];       /* directory/policy */
    CK_FUNCTION_LIST_PTR softhsm; /* bare: changes nobody commits */
    CK_FUNCTION_LIST_PTR module;  /* keyfold-pkcs11.so beside the test program */
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session; /* read-write, user logged in */
    struct fake_agent *agent;
};

/* slots.mechanisms in softhsm2.conf, before partition_open; NULL: all. */
extern const char *partition_mechanisms;

/* Everything: directory, environment, agent, token with both PINs, session. Ends the test on failure. */
void partition_open(struct partition *partition);
/* Finalize, initialize and log in again: what a process that starts now would see. */
void partition_reopen(struct partition *partition);
void partition_close(struct partition *partition);

/* Publish a policy, as the agent does: enum policy_flag of src/policy.h. At first everything is permitted. */
#define EVERYTHING 0xffU
#define WITHOUT(flags) (EVERYTHING & ~(unsigned)(flags))
void partition_permit(const struct partition *partition, unsigned permitted);

/* Number of *.object files but token.object. */
size_t partition_object_files(const struct partition *partition);

/* What a node's agent does when it puts files back: bump SoftHSM's `generation`, so that processes look again. */
void partition_bump_generation(const struct partition *partition);
/* Remove all object files not in `keep` (partition_list_files) and bump. */
#define MOST_FILES 256
struct file_names {
    size_t count;
    char name[MOST_FILES][64];
};
void partition_list_files(const struct partition *partition, struct file_names *names);
void partition_remove_others(const struct partition *partition, const struct file_names *keep);
/* Copy the token directory to directory/saved, and put its files back and bump. */
void partition_save(const struct partition *partition);
void partition_put_back(const struct partition *partition);

/* Objects with this label that a fresh search through `list` finds. */
size_t count_labelled(const struct partition *partition, const char *label);

/* Make keys through `list`; the handle, or CK_INVALID_HANDLE with *rv set. */
CK_OBJECT_HANDLE make_aes(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, bool token, const char *label,
                          CK_RV *rv);
CK_RV make_p256(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, bool public_token, bool private_token,
                const char *label, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);

/* Attributes for templates. */
#define ATTRIBUTE(type, variable) {(type), &(variable), sizeof(variable)}
#define ATTRIBUTE_TEXT(type, text) {(type), (void *)(size_t)(text), sizeof(text) - 1}
extern CK_BBOOL yes, no;

#endif
