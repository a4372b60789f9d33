/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TEST_H
#define KVMI_TEST_H

/*
 * Tests of libkint against a scripted peer on the other end of a socket pair.
 */
#include <pthread.h>
#include <kint/libkint.h>
#include "peer.h"
#include "../lib/internal.h"

/* A condition that must hold for the next result() to be good */
#define CHECK(cond) check(cond, #cond, __FILE__, __LINE__)
void check(bool cond, const char *text, const char *file, int line);

/* Nothing is to run into this one, on a machine that has much else to do either */
#define TEST_TIMEOUT_MS 10000

/* What the last call returned, for the message of a failed check */
extern int last;

struct script {
	void (*peer)(int fd);
	int fd;
};

/* Run @script's peer, on its @fd */
pthread_t run_in_thread(struct script *script);

/* Run @peer in a thread; *@fd is the tool's end */
void start(struct script *script, pthread_t *thread, void (*peer)(int fd), int *fd);

/* A session after GET_VERSION, played by @peer; what @body returned */
bool adopt_with(void (*peer)(int fd), bool (*body)(struct kint_conn *conn));

/* What most peers do: answer GET_VERSION; stay until the other side leaves */
bool version_first(int fd, struct peer_msg *msg);
void linger(int fd);

void result(const char *name, bool ok);

void batch_tests(void);
void rules_tests(void);
void pages_tests(void);
void handshake_tests(void);
void message_tests(void);
void event_tests(void);
void command_tests(void);
void state_tests(void);
void detach_tests(void);
void hostile_tests(void);
void listener_tests(void);

#endif
