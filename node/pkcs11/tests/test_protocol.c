/* The request's text and the judgement of replies, without I/O. */
#include "protocol.h"
#include "tap.h"

#include <string.h>

static struct object_hints hints[MOST_OBJECTS];
static char text[REQUEST_BYTES];

static void set_hint(struct hint *hint, const void *value, size_t length)
{
    hint->present = true;
    hint->length = length;
    memcpy(hint->value, value, length);
}

static const char *written(enum commit_kind kind, const char *partition, size_t count)
{
    size_t length = request_write(text, kind, partition, hints, count);

    check(length == strlen(text) && length > 0 && text[length - 1] == '\n', "one line, newline last");
    text[length - 1] = '\0';
    return text;
}

static void requests_are_as_agreed(void)
{
    memset(hints, 0, sizeof hints);
    check_text(written(COMMIT_UPDATE, "", 0), "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[]}",
               "an update of no object, for a PIN");
    hints[0].class = CKO_PRIVATE_KEY;
    check_text(written(COMMIT_CREATE, "", 1), "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":3}]}",
               "only the class is known");
    check_text(written(COMMIT_CREATE, "system", 1),
               "{\"op\":\"commit\",\"kind\":\"create\",\"partition\":\"system\",\"objects\":[{\"class\":3}]}",
               "the administrator names the partition");
    hints[0].has_key_type = true;
    hints[0].key_type = CKK_EC;
    set_hint(&hints[0].label, "k", 1);
    set_hint(&hints[0].id, "\x00\xff", 2);
    hints[1].class = CKO_PUBLIC_KEY;
    check_text(written(COMMIT_CREATE, "", 2),
               "{\"op\":\"commit\",\"kind\":\"create\",\"objects\":[{\"class\":3,\"key_type\":3,\"label\":\"6b\","
               "\"id\":\"00ff\"},{\"class\":2}]}",
               "both halves of a pair in one request");
    set_hint(&hints[0].label, "\"}\n\0\xc3\xa9", 6);
    set_hint(&hints[0].id, "", 0);
    check_text(written(COMMIT_UPDATE, "", 1),
               "{\"op\":\"commit\",\"kind\":\"update\",\"objects\":[{\"class\":3,\"key_type\":3,"
               "\"label\":\"227d0a00c3a9\",\"id\":\"\"}]}",
               "quotes, newlines, NUL and UTF-8 are only hex");
}

static void the_largest_request_is_whole(void)
{
    static unsigned char filler[HINT_BYTES];

    memset(filler, 0xee, sizeof filler);
    for (size_t i = 0; i < MOST_OBJECTS; i++) {
        hints[i].class = ~0UL;
        hints[i].has_key_type = true;
        hints[i].key_type = ~0UL;
        set_hint(&hints[i].label, filler, sizeof filler);
        set_hint(&hints[i].id, filler, sizeof filler);
    }
    written(COMMIT_CREATE, "a-name-of-twenty-eight-bytes", MOST_OBJECTS);
    check(strcmp(text + strlen(text) - 5, "\"}]}") != 0 && strcmp(text + strlen(text) - 4, "\"}]}") == 0,
          "the largest request ends as every other");
    check(strlen(text) < REQUEST_BYTES - 100, "with room to spare");
}

static void judged(const char *line, enum commit_outcome outcome, const char *code)
{
    struct commit_reply reply;

    reply_read(line, &reply);
    check(reply.outcome == outcome, "outcome of %.60s", line);
    check_text(reply.code, code, "its code");
}

static void replies_are_judged(void)
{
    judged("{\"ok\":true,\"revision\":1}\n", COMMIT_DONE, "");
    judged("{\"ok\":true}", COMMIT_DONE, "");
    judged("{\"ok\":false,\"code\":\"no_quorum\",\"what\":\"x\"}", COMMIT_REFUSED, "no_quorum");
    judged("{\"ok\":false,\"exit_code\":9,\"code\": \"disk\"}", COMMIT_REFUSED, "disk");
    judged("{\"ok\":false}", COMMIT_REFUSED, "?");
    judged("{\"ok\":false,\"code\":12}", COMMIT_REFUSED, "?");
    judged("{\"ok\":false,\"code\":\"Evil\\u001b[31m\"}", COMMIT_REFUSED, "?");
    judged("{\"ok\":false,\"code\":\"an_endless_code_that_nobody_would_ever_send\"}", COMMIT_REFUSED, "?");
    judged("{\"ok\":false,\"what\":\"\\\"code\\\":\\\"disk\\\"\",\"code\":\"conflict\"}", COMMIT_REFUSED, "conflict");
    judged("{\"ok\":false,\"code\":\"cut", COMMIT_REFUSED, "?");
    judged("{\"ok\":truely}", COMMIT_UNKNOWN, "");
    judged("{\"ok\": true}", COMMIT_UNKNOWN, "");
    judged("{\"revision\":1,\"ok\":true}", COMMIT_UNKNOWN, "");
    judged("HTTP/1.1 400 Bad Request", COMMIT_UNKNOWN, "");
    judged("", COMMIT_UNKNOWN, "");
}

int main(void)
{
    requests_are_as_agreed();
    the_largest_request_is_whole();
    replies_are_judged();
    return finish_tap();
}
