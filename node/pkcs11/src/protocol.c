#include "protocol.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *start;
    size_t length;
};

/* REQUEST_BYTES holds the largest request there can be, so nothing is ever cut; the bound is a safety net. */
__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
    va_list arguments;
    int written;

    va_start(arguments, format);
    written = vsnprintf(text->start + text->length, REQUEST_BYTES - text->length, format, arguments);
    va_end(arguments);
    if (written > 0 && (size_t)written < REQUEST_BYTES - text->length)
        text->length += (size_t)written;
}

/* Hex needs no escaping, whatever bytes a label holds. */
static void put_hint(struct text *text, const char *name, const struct hint *hint)
{
    static const char digits[] = "0123456789abcdef";

    if (!hint->present)
        return;
    put(text, ",\"%s\":\"", name);
    for (CK_ULONG i = 0; i < hint->length; i++) {
        text->start[text->length++] = digits[hint->value[i] >> 4];
        text->start[text->length++] = digits[hint->value[i] & 0xf];
    }
    put(text, "\"");
}

static void put_object(struct text *text, const struct object_hints *object)
{
    put(text, "{\"class\":%lu", object->class);
    if (object->has_key_type)
        put(text, ",\"key_type\":%lu", object->key_type);
    put_hint(text, "label", &object->label);
    put_hint(text, "id", &object->id);
    put(text, "}");
}

size_t request_write(char start[REQUEST_BYTES], enum commit_kind kind, const char *partition,
                     const struct object_hints *objects, size_t count)
{
    struct text text = {start, 0};

    put(&text, "{\"op\":\"commit\",\"kind\":\"%s\"", kind == COMMIT_CREATE ? "create" : "update");
    if (partition[0] != '\0')
        put(&text, ",\"partition\":\"%s\"", partition);
    put(&text, ",\"objects\":[");
    for (size_t i = 0; i < count; i++) {
        put(&text, "%s", i > 0 ? "," : "");
        put_object(&text, &objects[i]);
    }
    put(&text, "]}\n");
    return text.length;
}

/* A partition's name has at most 28 characters (config.c), so nothing is cut. */
static size_t login_write(char text[LOGIN_REQUEST_BYTES], const char *op, const char *partition, const char *user,
                          const char *result)
{
    bool named = partition[0] != '\0';
    int length = snprintf(text, LOGIN_REQUEST_BYTES, "{\"op\":\"%s\"%s%s%s,\"user\":\"%s\"%s}\n", op,
                          named ? ",\"partition\":\"" : "", partition, named ? "\"" : "", user, result);

    return length > 0 ? (size_t)length : 0;
}

size_t login_begin_write(char text[LOGIN_REQUEST_BYTES], const char *partition, const char *user)
{
    return login_write(text, "login_begin", partition, user, "");
}

size_t login_result_write(char text[LOGIN_REQUEST_BYTES], const char *partition, const char *user, bool ok)
{
    return login_write(text, "login_result", partition, user, ok ? ",\"ok\":true" : ",\"ok\":false");
}

/* A prefix that is followed by the end of its JSON value, so that `true` is not found in `truely`. */
static bool begins_with(const char *line, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(line, prefix, length) == 0 && (line[length] == ',' || line[length] == '}');
}

static void read_code(const char *line, char *code, size_t size)
{
    /* Inside a JSON string the quotes would be escaped, so this is found only as a key. */
    const char *found = strstr(line, "\"code\":");
    size_t length;

    snprintf(code, size, "?");
    if (found == NULL)
        return;
    found += strlen("\"code\":");
    found += strspn(found, " ");
    if (*found++ != '"')
        return;
    length = strspn(found, "abcdefghijklmnopqrstuvwxyz_");
    if (length > 0 && length < size && found[length] == '"')
        snprintf(code, size, "%.*s", (int)length, found);
}

void reply_read(const char *line, struct commit_reply *reply)
{
    reply->code[0] = '\0';
    if (begins_with(line, "{\"ok\":true")) {
        reply->outcome = COMMIT_DONE;
    } else if (begins_with(line, "{\"ok\":false")) {
        reply->outcome = COMMIT_REFUSED;
        read_code(line, reply->code, sizeof reply->code);
    } else {
        reply->outcome = COMMIT_UNKNOWN;
    }
}
