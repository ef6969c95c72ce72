#include "relay.h"

#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_BYTES 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t thread;
static int listener = -1;
static int connection = -1; /* the client's end of the one there is */
static bool refusing;
static unsigned greeting_ms;
static unsigned requests[CALLS];
static char conf[256];
static struct {
    unsigned call, nth;
    enum moment moment;
} cut;

static bool read_exactly(int fd, unsigned char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t got = read(fd, bytes, length);

        if (got <= 0)
            return false;
        bytes += got;
        length -= (size_t)got;
    }
    return true;
}

static bool send_exactly(int fd, const unsigned char *bytes, size_t length)
{
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static uint32_t number_at(const unsigned char *bytes)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof number);
    return ntohl(number);
}

/* A message of p11-kit's: code, length of options, length of body; the body begins with the number of the call. */
static size_t read_message(int fd, unsigned char message[MOST_BYTES], unsigned *call)
{
    size_t options, body;

    if (!read_exactly(fd, message, 12))
        return 0;
    options = number_at(message + 4);
    body = number_at(message + 8);
    if (12 + options + body > MOST_BYTES || !read_exactly(fd, message + 12, options + body))
        return 0;
    *call = body >= 4 ? number_at(message + 12 + options) : 0;
    return 12 + options + body;
}

static bool is_cut_here(unsigned call, enum moment moment)
{
    bool here;

    pthread_mutex_lock(&lock);
    if (moment == BEFORE_IT_IS_DONE && call < CALLS)
        requests[call]++;
    here = cut.nth > 0 && cut.call == call && cut.moment == moment && --cut.nth == 0;
    pthread_mutex_unlock(&lock);
    return here;
}

/* p11-kit's error message in answer to one with this code: no call, the signature "u", the value. */
static bool send_device_error(int fd, const unsigned char *request)
{
    unsigned char answer[12 + 17] = {[11] = 17, [19] = 1, [20] = 'u', [28] = 0x30 /* CKR_DEVICE_ERROR */};

    memcpy(answer, request, 4);
    return send_exactly(fd, answer, sizeof answer);
}

static void pump(int client, int server)
{
    unsigned char message[MOST_BYTES];
    unsigned call = 0, answer;
    size_t length;
    unsigned wait_ms;

    pthread_mutex_lock(&lock);
    wait_ms = greeting_ms;
    pthread_mutex_unlock(&lock);
    /* One byte each way before the first message. */
    if (!read_exactly(client, message, 1) || !send_exactly(server, message, 1) || !read_exactly(server, message, 1))
        return;
    usleep(wait_ms * 1000);
    if (!send_exactly(client, message, 1))
        return;
    while ((length = read_message(client, message, &call)) > 0) {
        if (is_cut_here(call, TOKEN_CANNOT)) {
            if (!send_device_error(client, message))
                return;
            continue;
        }
        if (is_cut_here(call, BEFORE_IT_IS_DONE) || !send_exactly(server, message, length))
            return;
        length = read_message(server, message, &answer);
        if (length == 0 || is_cut_here(call, AFTER_IT_IS_DONE) || !send_exactly(client, message, length))
            return;
    }
}

static pid_t start_server(int fd)
{
    char variable[300];
    char *arguments[] = {"p11-kit", "remote", "--provider", "/usr/lib/softhsm/libsofthsm2.so",
                         "pkcs11:token=keyfold", NULL};
    char *environment[] = {variable, "PATH=/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    pthread_mutex_lock(&lock);
    snprintf(variable, sizeof variable, "SOFTHSM2_CONF=%s", conf);
    pthread_mutex_unlock(&lock);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    posix_spawn_file_actions_adddup2(&actions, fd, 1);
    /* p11-kit-client's sockets are not close-on-exec. */
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    need(posix_spawnp(&pid, "p11-kit", &actions, NULL, arguments, environment) == 0, "p11-kit remote");
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void serve(int client)
{
    int ends[2];
    pid_t pid;

    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    pid = start_server(ends[1]);
    close(ends[1]);
    pump(client, ends[0]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ends[0]);
}

static void *run(void *unused)
{
    (void)unused;
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        bool refused;

        if (client < 0)
            return NULL;
        pthread_mutex_lock(&lock);
        refused = refusing;
        connection = refused ? -1 : client;
        pthread_mutex_unlock(&lock);
        if (!refused)
            serve(client);
        pthread_mutex_lock(&lock);
        connection = -1;
        close(client);
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
}

void relay_start(const char *path, const char *softhsm_conf)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    relay_use(softhsm_conf);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 8) == 0,
         "the relay's socket");
    need(pthread_create(&thread, NULL, run, NULL) == 0, "the relay's thread");
}

void relay_stop(void)
{
    relay_cut();
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}

void relay_use(const char *softhsm_conf)
{
    pthread_mutex_lock(&lock);
    snprintf(conf, sizeof conf, "%s", softhsm_conf);
    pthread_mutex_unlock(&lock);
}

void relay_cut(void)
{
    pthread_mutex_lock(&lock);
    while (connection >= 0) {
        shutdown(connection, SHUT_RDWR);
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void relay_cut_at(enum call call, unsigned nth, enum moment moment)
{
    pthread_mutex_lock(&lock);
    cut.call = call;
    cut.nth = nth;
    cut.moment = moment;
    pthread_mutex_unlock(&lock);
}

bool relay_cuts_left(void)
{
    bool left;

    pthread_mutex_lock(&lock);
    left = cut.nth > 0;
    pthread_mutex_unlock(&lock);
    return left;
}

void relay_refuse(bool refuse)
{
    pthread_mutex_lock(&lock);
    refusing = refuse;
    pthread_mutex_unlock(&lock);
}

void relay_greet_after(unsigned milliseconds)
{
    pthread_mutex_lock(&lock);
    greeting_ms = milliseconds;
    pthread_mutex_unlock(&lock);
}

unsigned relay_requests(enum call call)
{
    unsigned number;

    pthread_mutex_lock(&lock);
    number = requests[call];
    pthread_mutex_unlock(&lock);
    return number;
}

void relay_forget(void)
{
    pthread_mutex_lock(&lock);
    memset(requests, 0, sizeof requests);
    pthread_mutex_unlock(&lock);
}
