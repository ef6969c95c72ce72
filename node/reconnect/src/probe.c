#include "probe.h"

#include "deadline.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Even the last attempt of a call may take that long. */
#define LEAST_MS 1000

/* p11-kit's greeting: each side sends one byte, the version of the protocol. */
static bool greet(int fd, int64_t deadline)
{
    char version = 0;
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    int64_t left = deadline_left(deadline);

    if (send(fd, &version, 1, MSG_NOSIGNAL) != 1)
        return false;
    return poll(&answer, 1, (int)(left > LEAST_MS ? left : LEAST_MS)) == 1 && read(fd, &version, 1) == 1;
}

bool probe(const char *address, int64_t deadline)
{
    static const char unix_path[] = "unix:path=";
    struct sockaddr_un server = {.sun_family = AF_UNIX};
    const char *path;
    bool answers;
    int fd;

    if (address == NULL || strncmp(address, unix_path, sizeof unix_path - 1) != 0 || strchr(address, '%') != NULL)
        return true;
    path = address + sizeof unix_path - 1;
    if (strlen(path) >= sizeof server.sun_path)
        return true;
    memcpy(server.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    answers = connect(fd, (struct sockaddr *)&server, sizeof server) == 0 && greet(fd, deadline);
    close(fd);
    return answers;
}
