/* An agent that records what it is asked and answers what it is told. It runs in a thread of the test. */
#ifndef FAKE_AGENT_H
#define FAKE_AGENT_H

#include <stdbool.h>
#include <stddef.h>

struct fake_agent;

#define REPLY_DONE "{\"ok\":true,\"revision\":7}\n"
#define REPLY_REFUSED(code)                                                                                  \
    "{\"ok\":false,\"code\":\"" code "\",\"exit_code\":5,\"what\":\"w\",\"not_done\":\"n\",\"next\":\"x\"}\n"
#define REPLY_NEVER NULL     /* take the request, say nothing */
#define REPLY_HANG_UP ""     /* take the request, close the connection */

struct fake_agent *fake_agent_start(const char *socket_path);

/* Stop listening, close everything, remove the socket. */
void fake_agent_stop(struct fake_agent *agent);

/* What to answer from now on; the string must live as long. At first REPLY_DONE. */
void fake_agent_reply(struct fake_agent *agent, const char *reply);

/* From now on, close each connection as soon as it is made. */
void fake_agent_turn_away(struct fake_agent *agent, bool turn_away);

/* Called in the agent's thread for each request before it is answered; NULL: nothing. */
typedef void fake_agent_hook(const char *request, void *context);
void fake_agent_on_request(struct fake_agent *agent, fake_agent_hook *hook, void *context);

/* What to answer to login_begin and login_result from now on, as fake_agent_reply; at first REPLY_DONE. They are
 * counted apart: the requests below are all others. */
void fake_agent_reply_to_logins(struct fake_agent *agent, const char *to_begin, const char *to_result);
size_t fake_agent_logins(struct fake_agent *agent);
const char *fake_agent_last_login(struct fake_agent *agent);

/* Requests since the last fake_agent_forget(). */
size_t fake_agent_requests(struct fake_agent *agent);
/* The newest one without its newline, or NULL; valid until the next request. */
const char *fake_agent_last(struct fake_agent *agent);
void fake_agent_forget(struct fake_agent *agent);

/* Connections since the last fake_agent_forget(). */
size_t fake_agent_connections(struct fake_agent *agent);
/* The most connections ever open at one time. */
size_t fake_agent_most_at_once(struct fake_agent *agent);

#endif
