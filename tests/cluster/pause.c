/* Waits for ever. It is the first process of a pod's sandbox and of a node, so whatever loses its parent there ends up
   here: ignoring SIGCHLD makes the kernel take such processes away without leaving zombies. */
#include <signal.h>
#include <unistd.h>

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

int main(void) {
    signal(SIGCHLD, SIG_IGN);
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    for (;;) pause();
}
