/* A SoftHSM token, which this process changes directly, and the module, which reaches it through the relay. */
#ifndef TOKEN_H
#define TOKEN_H

#include "relay.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

#define SO_PIN "so-pin-12345678"
#define USER_PIN "user-pin-12345678"
#define NEW_PIN "new-pin-12345678"

struct token {
    char directory[64];
    char address[144];            /* unix:path=… of the relay */
    CK_FUNCTION_LIST_PTR module;  /* keyfold-reconnect.so beside the test program */
    CK_FUNCTION_LIST_PTR softhsm; /* bare: somebody else */
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session; /* the module's: read-write, user logged in */
    CK_SLOT_ID softhsm_slot;
    CK_SESSION_HANDLE softhsm_session; /* the same, of somebody else */
};

/* Directory, token, relay, module, sessions. Ends the test on failure. */
void token_open(struct token *token);
void token_close(struct token *token);

/* The module's session, logged in; token_open has one. */
void token_log_in(struct token *token);

/* A softhsm2.conf for another token of the same label. */
void token_make_other(const struct token *token, char conf[128]);

/* Keys made by somebody else; id: one byte. */
void make_aes(const struct token *token, const char *label, CK_BYTE id);
void make_p256(const struct token *token, const char *label, CK_BYTE id);
void make_rsa(const struct token *token, const char *label, CK_BYTE id);
void make_data(const struct token *token, const char *label, const char *value);

/* The one object with this class and label. */
CK_OBJECT_HANDLE find_key(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
                          const char *label);
CK_OBJECT_HANDLE module_key(const struct token *token, CK_OBJECT_CLASS class, const char *label);
CK_OBJECT_HANDLE softhsm_key(const struct token *token, CK_OBJECT_CLASS class, const char *label);

/* ECDSA of 32 bytes through the module. */
CK_RV sign_with(const struct token *token, CK_OBJECT_HANDLE key);

#define ATTRIBUTE(type, variable) {(type), &(variable), sizeof(variable)}
#define ATTRIBUTE_TEXT(type, text) {(type), (void *)(size_t)(text), strlen(text)}
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
extern CK_BBOOL yes, no;

#endif
