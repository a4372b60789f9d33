// SPDX-License-Identifier: GPL-2.0-only
/*
 * Being asked to leave.
 *
 * A signal makes a descriptor readable, for as long as the tool lives: no wait can
 * miss one, and whatever blocks meanwhile returns with EINTR.
 */
#define _GNU_SOURCE	/* pipe2() */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include "tool.h"

static int wakeup[2] = { -1, -1 };

/* As if there had been a signal; may be called from a handler of one */
void leave_soon(void)
{
	ssize_t n = write(wakeup[1], "", 1);

	(void)n;	/* full is readable as well */
}

static void on_signal(int nr)
{
	(void)nr;
	leave_soon();
}

bool asked_to_leave(void)
{
	struct pollfd fd = { .fd = wakeup[0], .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* Returns the descriptor, or -1.  What is ignored stays ignored, as under nohup. */
int signals_init(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal }, old;
	unsigned int i;

	if (pipe2(wakeup, O_CLOEXEC | O_NONBLOCK))
		return -1;
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	return wakeup[0];
}
