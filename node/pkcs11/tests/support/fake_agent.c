#include "fake_agent.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_CLIENTS 64
#define LONGEST_REQUEST 65536

struct client {
    int fd;
    size_t length;
    char request[LONGEST_REQUEST];
};

struct fake_agent {
    pthread_t thread;
    int listener;
    int stop_pipe[2];
    char socket_path[sizeof ((struct sockaddr_un *)0)->sun_path];
    struct client clients[MOST_CLIENTS];
    size_t open_clients;

    pthread_mutex_t mutex; /* guards what follows */
    const char *reply;
    const char *reply_to_begin;
    const char *reply_to_result;
    bool turns_away;
    fake_agent_hook *hook;
    void *context;
    size_t requests;
    size_t logins;
    size_t connections;
    size_t most_at_once;
    char last[LONGEST_REQUEST];
    char last_login[LONGEST_REQUEST];
};

static void drop(struct fake_agent *agent, size_t index)
{
    close(agent->clients[index].fd);
    agent->open_clients--;
    if (index != agent->open_clients)
        memcpy(&agent->clients[index], &agent->clients[agent->open_clients], sizeof agent->clients[0]);
}

/* Answer one request line; false if the connection is to be closed. */
static bool answer(struct fake_agent *agent, struct client *client)
{
    bool begins = strncmp(client->request, "{\"op\":\"login_begin\"", 19) == 0;
    bool results = strncmp(client->request, "{\"op\":\"login_result\"", 20) == 0;
    const char *reply;
    fake_agent_hook *hook;
    void *context;

    pthread_mutex_lock(&agent->mutex);
    if (begins || results) {
        agent->logins++;
        snprintf(agent->last_login, sizeof agent->last_login, "%s", client->request);
        reply = begins ? agent->reply_to_begin : agent->reply_to_result;
    } else {
        agent->requests++;
        snprintf(agent->last, sizeof agent->last, "%s", client->request);
        reply = agent->reply;
    }
    hook = agent->hook;
    context = agent->context;
    pthread_mutex_unlock(&agent->mutex);
    if (hook != NULL && !begins && !results)
        hook(client->request, context);
    if (reply == NULL)
        return true;
    if (reply[0] == '\0')
        return false;
    return send(client->fd, reply, strlen(reply), MSG_NOSIGNAL) >= 0;
}

/* Read what is there; false if the connection is to be closed. */
static bool serve(struct fake_agent *agent, struct client *client)
{
    ssize_t received = recv(client->fd, client->request + client->length,
                            sizeof client->request - 1 - client->length, 0);
    char *newline;

    if (received <= 0)
        return false;
    client->length += (size_t)received;
    client->request[client->length] = '\0';
    newline = strchr(client->request, '\n');
    if (newline == NULL)
        return true;
    *newline = '\0';
    client->length = 0;
    return answer(agent, client);
}

static void admit(struct fake_agent *agent)
{
    int fd = accept(agent->listener, NULL, NULL);
    bool turned_away;

    if (fd < 0 || agent->open_clients == MOST_CLIENTS)
        abort();
    agent->clients[agent->open_clients].fd = fd;
    agent->clients[agent->open_clients].length = 0;
    agent->open_clients++;
    pthread_mutex_lock(&agent->mutex);
    agent->connections++;
    if (agent->open_clients > agent->most_at_once)
        agent->most_at_once = agent->open_clients;
    turned_away = agent->turns_away;
    pthread_mutex_unlock(&agent->mutex);
    if (turned_away)
        drop(agent, agent->open_clients - 1);
}

static void *run(void *argument)
{
    struct fake_agent *agent = argument;

    for (;;) {
        struct pollfd watched[2 + MOST_CLIENTS] = {
            {.fd = agent->stop_pipe[0], .events = POLLIN},
            {.fd = agent->listener, .events = POLLIN},
        };
        size_t count = agent->open_clients;

        for (size_t i = 0; i < count; i++)
            watched[2 + i] = (struct pollfd){.fd = agent->clients[i].fd, .events = POLLIN};
        if (poll(watched, (nfds_t)(2 + count), -1) < 0 && errno != EINTR)
            abort();
        if (watched[0].revents != 0)
            return NULL;
        /* From the end, because drop() moves the last client into the gap. First those who left, so that a
         * connection that followed them is not counted as open at the same time. */
        for (size_t i = count; i-- > 0;)
            if (watched[2 + i].revents != 0 && !serve(agent, &agent->clients[i]))
                drop(agent, i);
        if (watched[1].revents != 0)
            admit(agent);
    }
}

struct fake_agent *fake_agent_start(const char *socket_path)
{
    struct fake_agent *agent = calloc(1, sizeof *agent);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (agent == NULL || strlen(socket_path) >= sizeof address.sun_path)
        abort();
    strcpy(address.sun_path, socket_path);
    strcpy(agent->socket_path, socket_path);
    agent->reply = agent->reply_to_begin = agent->reply_to_result = REPLY_DONE;
    pthread_mutex_init(&agent->mutex, NULL);
    agent->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(socket_path);
    if (agent->listener < 0 || bind(agent->listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(agent->listener, MOST_CLIENTS) != 0 || pipe(agent->stop_pipe) != 0
        || pthread_create(&agent->thread, NULL, run, agent) != 0)
        abort();
    return agent;
}

void fake_agent_stop(struct fake_agent *agent)
{
    if (write(agent->stop_pipe[1], "x", 1) != 1)
        abort();
    pthread_join(agent->thread, NULL);
    while (agent->open_clients > 0)
        drop(agent, agent->open_clients - 1);
    close(agent->listener);
    close(agent->stop_pipe[0]);
    close(agent->stop_pipe[1]);
    unlink(agent->socket_path);
    pthread_mutex_destroy(&agent->mutex);
    free(agent);
}

void fake_agent_reply(struct fake_agent *agent, const char *reply)
{
    pthread_mutex_lock(&agent->mutex);
    agent->reply = reply;
    pthread_mutex_unlock(&agent->mutex);
}

void fake_agent_reply_to_logins(struct fake_agent *agent, const char *to_begin, const char *to_result)
{
    pthread_mutex_lock(&agent->mutex);
    agent->reply_to_begin = to_begin;
    agent->reply_to_result = to_result;
    pthread_mutex_unlock(&agent->mutex);
}

void fake_agent_turn_away(struct fake_agent *agent, bool turn_away)
{
    pthread_mutex_lock(&agent->mutex);
    agent->turns_away = turn_away;
    pthread_mutex_unlock(&agent->mutex);
}

void fake_agent_on_request(struct fake_agent *agent, fake_agent_hook *hook, void *context)
{
    pthread_mutex_lock(&agent->mutex);
    agent->hook = hook;
    agent->context = context;
    pthread_mutex_unlock(&agent->mutex);
}

static size_t read_count(struct fake_agent *agent, const size_t *count)
{
    size_t value;

    pthread_mutex_lock(&agent->mutex);
    value = *count;
    pthread_mutex_unlock(&agent->mutex);
    return value;
}

size_t fake_agent_requests(struct fake_agent *agent)
{
    return read_count(agent, &agent->requests);
}

const char *fake_agent_last(struct fake_agent *agent)
{
    return fake_agent_requests(agent) > 0 ? agent->last : NULL;
}

size_t fake_agent_logins(struct fake_agent *agent)
{
    return read_count(agent, &agent->logins);
}

const char *fake_agent_last_login(struct fake_agent *agent)
{
    return fake_agent_logins(agent) > 0 ? agent->last_login : NULL;
}

size_t fake_agent_connections(struct fake_agent *agent)
{
    return read_count(agent, &agent->connections);
}

size_t fake_agent_most_at_once(struct fake_agent *agent)
{
    return read_count(agent, &agent->most_at_once);
}

void fake_agent_forget(struct fake_agent *agent)
{
    pthread_mutex_lock(&agent->mutex);
    agent->requests = 0;
    agent->logins = 0;
    agent->connections = 0;
    pthread_mutex_unlock(&agent->mutex);
}
