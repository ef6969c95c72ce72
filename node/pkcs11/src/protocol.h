/* The requests to the agent and its reply as text (docs/interfaces.md §3). No I/O. */
#ifndef KEYFOLD_PROTOCOL_H
#define KEYFOLD_PROTOCOL_H

#include "object.h"

#include <stddef.h>

/* One call makes at most the two halves of a key pair. */
#define MOST_OBJECTS 2

/* Two objects with two hints of HINT_BYTES each in hex, and the rest. */
#define REQUEST_BYTES (MOST_OBJECTS * 2 * 2 * HINT_BYTES + 512)

enum commit_kind { COMMIT_CREATE, COMMIT_UPDATE };

/* Write the request, newline included, into `text`; returns its length. `partition` "" is left out. */
size_t request_write(char text[REQUEST_BYTES], enum commit_kind kind, const char *partition,
                     const struct object_hints *objects, size_t count);

/* Both login requests; the same rules. */
#define LOGIN_REQUEST_BYTES 128

/* `user` is "user" or "so". */
size_t login_begin_write(char text[LOGIN_REQUEST_BYTES], const char *partition, const char *user);
size_t login_result_write(char text[LOGIN_REQUEST_BYTES], const char *partition, const char *user, bool ok);

enum commit_outcome {
    COMMIT_DONE,    /* a majority has it */
    COMMIT_REFUSED, /* not committed, and the agent put the files back */
    COMMIT_UNKNOWN, /* no answer, or one that cannot be understood */
};

struct commit_reply {
    enum commit_outcome outcome;
    char code[24]; /* of a refusal: [a-z_]+, or "?" */
};

/* Judge one reply line (NUL-terminated, with or without its newline). */
void reply_read(const char *line, struct commit_reply *reply);

#endif
