/* The fake agent as a program: agent SOCKET. Answers every request with OK until it is ended. */
#include "fake_agent.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: agent SOCKET\n");
        return 2;
    }
    fake_agent_start(argv[1]);
    pause();
    return 0;
}
