// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tests of the library, and what they have in common
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "test.h"

int last;
static int failures, number;
static bool broken;

void check(bool cond, const char *text, const char *file, int line)
{
	if (cond)
		return;
	printf("# %s:%d: %s (the last call returned %d)\n", file, line, text, last);
	broken = true;
}

void result(const char *name, bool ok)
{
	ok = ok && !broken;
	broken = false;
	printf("%sok %d %s\n", ok ? "" : "not ", ++number, name);
	failures += !ok;
}

static void *run_peer(void *arg)
{
	struct script *script = arg;

	script->peer(script->fd);
	close(script->fd);
	return NULL;
}

pthread_t run_in_thread(struct script *script)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_peer, script))
		abort();
	return thread;
}

void start(struct script *script, pthread_t *thread, void (*peer)(int fd), int *fd)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		abort();
	script->peer = peer;
	script->fd = sv[1];
	*fd = sv[0];
	*thread = run_in_thread(script);
}

/* A session after GET_VERSION, the rest as @peer plays it */
bool adopt_with(void (*peer)(int fd), bool (*body)(struct kint_conn *conn))
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kint_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	bool ok = false;
	int fd;

	start(&script, &thread, peer, &fd);
	last = kint_adopt(fd, &opts, &conn);
	if (!last)
		ok = body(conn);
	else
		printf("# kint_adopt: %d\n", last);
	kint_close(conn);
	pthread_join(thread, NULL);
	return ok;
}

bool version_first(int fd, struct peer_msg *msg)
{
	return peer_receive(fd, msg) && peer_version(fd, msg);
}

/* Stay until the other side leaves */
void linger(int fd)
{
	struct peer_msg msg;

	while (peer_receive(fd, &msg))
		;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	handshake_tests();
	message_tests();
	batch_tests();
	rules_tests();
	pages_tests();
	event_tests();
	command_tests();
	state_tests();
	detach_tests();
	hostile_tests();
	listener_tests();
	printf("1..%d\n", number);
	return failures != 0;
}
