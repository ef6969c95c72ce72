/* What SoftHSM says about an object, and what a template says about the object to be. */
#ifndef KEYFOLD_OBJECT_H
#define KEYFOLD_OBJECT_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* A label or ID longer than this is left out of the hints. */
#define HINT_BYTES 1024

/* A byte string attribute. `present` is false if the object has none, or a longer one. */
struct hint {
    bool present;
    CK_ULONG length;
    CK_BYTE value[HINT_BYTES];
};

/* How the agent recognises the object among the changed files. */
struct object_hints {
    CK_OBJECT_CLASS class;
    bool has_key_type;
    CK_KEY_TYPE key_type;
    struct hint label;
    struct hint id;
};

enum tokenness { SESSION_OBJECT, TOKEN_OBJECT, UNKNOWN_OBJECT };

/* Ask SoftHSM for CKA_TOKEN. UNKNOWN_OBJECT: no such handle, or not readable in this session. */
enum tokenness object_tokenness(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);

/* What the policy asks about a new object; where SoftHSM does not answer, the worst. */
struct object_nature {
    enum tokenness tokenness;
    bool may_be_key; /* secret or private */
    bool extractable;
    bool sensitive;
};

struct object_nature object_look(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);

/* C_GetAttributeValue fills what it can even when it names one attribute it could not (PKCS#11 2.40 §5.7). */
bool object_filled_what_it_could(CK_RV rv);

/* CKA_TOKEN as a template has it. */
enum template_token { TOKEN_UNSAID, TOKEN_DENIED, TOKEN_POSSIBLE };

/* TOKEN_POSSIBLE unless every CKA_TOKEN in the template is a well-formed CK_FALSE, or there is none. */
enum template_token template_token(const CK_ATTRIBUTE *template, CK_ULONG count);

/* Fill `hints` from SoftHSM; false if it does not even tell the class. */
bool object_describe(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct object_hints *hints);

#endif
