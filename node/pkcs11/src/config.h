/* What the environment says; read once, when the application calls C_Initialize. */
#ifndef KEYFOLD_CONFIG_H
#define KEYFOLD_CONFIG_H

#include <limits.h>
#include <sys/un.h>

struct config {
    char agent_socket[sizeof ((struct sockaddr_un *)0)->sun_path]; /* KEYFOLD_AGENT_SOCKET */
    char partition_dir[PATH_MAX];                                  /* KEYFOLD_PARTITION_DIR: the locks */
    char policy[PATH_MAX];                                         /* KEYFOLD_POLICY: the policy file */
    char partition[32]; /* KEYFOLD_PARTITION, uid 0 only; empty: the agent knows by our uid */
};

/* The path of SoftHSM's library (KEYFOLD_SOFTHSM_LIBRARY). */
const char *config_softhsm_library(void);

/*
 * Read the environment anew. Returns NULL, or what is wrong with it (a phrase for report()); then what was
 * read before stays. Without KEYFOLD_PARTITION_DIR the directory of SOFTHSM2_CONF is used; its name is the partition's,
 * and says which policy file, without KEYFOLD_POLICY.
 */
const char *config_load(void);

/* What was read last, NULL before that. PKCS#11 lets nobody call while another thread is in C_Initialize. */
const struct config *config_current(void);

#endif
