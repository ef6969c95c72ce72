#include "commit.h"

#include "deadline.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

/* Longest start of a reply that is kept; ok and code come first, the rest of the line is prose. */
#define REPLY_BYTES 2048

/* connect and send on a Unix socket honour SO_SNDTIMEO; connect has no other way to wait for a place in a
 * full backlog. */
static int limit_sending(int fd, int64_t deadline)
{
    int64_t left = deadline_left(deadline);
    struct timeval timeout = {.tv_sec = left / 1000, .tv_usec = (left % 1000) * 1000};

    if (left == 0)
        return ETIMEDOUT;
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) == 0 ? 0 : errno;
}

static int as_timeout(int error)
{
    return error == EAGAIN ? ETIMEDOUT : error;
}

int agent_connect(struct private_fd *connection, const char *socket_path, int64_t deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int error = private_fd_stream_socket(connection);

    if (error != 0)
        return error;
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    do {
        error = limit_sending(connection->fd, deadline);
        if (error == 0 && connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0)
            error = errno;
    } while (error == EINTR);
    if (error != 0)
        private_fd_close(connection);
    return as_timeout(error);
}

static int send_all(int fd, const char *bytes, size_t length, int64_t deadline)
{
    while (length > 0) {
        ssize_t sent;
        int error = limit_sending(fd, deadline);

        if (error != 0)
            return error;
        sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return as_timeout(errno);
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
    return 0;
}

/* Receive some bytes; their number, or a negative errno. */
static ssize_t receive_some(int fd, char *bytes, size_t size, int64_t deadline)
{
    for (;;) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int64_t left = deadline_left(deadline);
        int ready = left > 0 ? poll(&readable, 1, (int)left) : 0;
        ssize_t received;

        if (ready == 0)
            return -ETIMEDOUT;
        if (ready > 0) {
            received = recv(fd, bytes, size, MSG_DONTWAIT);
            if (received > 0)
                return received;
            if (received == 0)
                return -ECONNRESET;
        }
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

/* The start of one line, NUL-terminated; 0 only once its newline has come. */
static int receive_line(int fd, char line[REPLY_BYTES], int64_t deadline)
{
    char overflow[REPLY_BYTES];
    size_t kept = 0;

    for (;;) {
        size_t room = REPLY_BYTES - 1 - kept;
        char *place = room > 0 ? line + kept : overflow;
        ssize_t received = receive_some(fd, place, room > 0 ? room : sizeof overflow, deadline);

        if (received < 0)
            return (int)-received;
        if (room > 0)
            kept += (size_t)received;
        if (memchr(place, '\n', (size_t)received) != NULL) {
            line[kept] = '\0';
            return 0;
        }
    }
}

int agent_ask(struct private_fd *connection, const char *request, size_t length, int64_t deadline,
              struct commit_reply *reply)
{
    char line[REPLY_BYTES];
    int error = send_all(connection->fd, request, length, deadline);

    *reply = (struct commit_reply){.outcome = COMMIT_UNKNOWN};
    if (error == 0)
        error = receive_line(connection->fd, line, deadline);
    if (error == 0)
        reply_read(line, reply);
    return error;
}
