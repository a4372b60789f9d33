// SPDX-License-Identifier: GPL-2.0-only
/*
 * A peer that breaks the protocol, or does not read
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "test.h"

/* What the peer answers each command with, once: data of @size bytes, or an error */
static struct {
	uint16_t id;
	int32_t err;
	unsigned char data[64];
	size_t size;
} answer;

static void peer_answers(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg))
		peer_reply(fd, &msg, answer.err, answer.data, answer.err ? 0 : answer.size);
}

/* ---- Numbers that nobody may allocate or count by ---- */
static const uint32_t too_many[] = { 65537, 0x7fffffff, 0x80000000, 0xffffffff };
static uint32_t number;

static bool body_vcpus(struct kint_conn *conn)
{
	struct kvmi_vm_get_info_reply info;

	CHECK((last = kint_get_info(conn, &info)) == -EPROTO);
	return true;
}

static bool body_pause_all(struct kint_conn *conn)
{
	uint32_t count = 0;

	CHECK((last = kint_pause_all(conn, true, &count)) == -EPROTO);
	CHECK(!count);
	return true;
}

static bool body_memslots(struct kint_conn *conn)
{
	CHECK((last = kint_get_memslots(conn, 0, NULL, 0, NULL)) == -EPROTO);
	return true;
}

static bool body_xsave(struct kint_conn *conn)
{
	size_t total = 0;

	CHECK((last = kint_get_xsave2(conn, 0, NULL, 0, &total)) == -EPROTO);
	return true;
}

/* A reply of @size bytes with the number in front */
static bool test_numbers(bool (*body)(struct kint_conn *conn), size_t size)
{
	unsigned int i;

	for (i = 0; i < sizeof(too_many) / sizeof(too_many[0]); i++) {
		/* An XSAVE area has its limit in bytes */
		number = body == body_xsave ? 0x100001 | too_many[i] : too_many[i];
		memset(&answer, 0, sizeof(answer));
		memcpy(answer.data, &number, sizeof(number));
		answer.size = size;
		if (!adopt_with(peer_answers, body))
			return false;
	}
	return true;
}

static bool body_most_vcpus(struct kint_conn *conn)
{
	struct kvmi_vm_get_info_reply info;

	CHECK(!(last = kint_get_info(conn, &info)));
	CHECK(info.vcpu_count == 65536);
	return true;
}

static bool test_most_vcpus(void)
{
	memset(&answer, 0, sizeof(answer));
	number = 65536;
	memcpy(answer.data, &number, sizeof(number));
	answer.size = sizeof(struct kvmi_vm_get_info_reply);
	return adopt_with(peer_answers, body_most_vcpus);
}

/* ---- A state that has another size when its second part is read ---- */
static void peer_growing(int fd)
{
	struct kvmi_vcpu_get_xsave2_reply hdr;
	unsigned char data[KINT_MAX_XSAVE_READ + sizeof(hdr)] = { 0 };
	struct peer_msg msg;
	unsigned int n = 0;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		hdr = (struct kvmi_vcpu_get_xsave2_reply){ .total = 10000 + 1000 * n++ };
		memcpy(data, &hdr, sizeof(hdr));
		peer_reply(fd, &msg, 0, data, sizeof(data));
	}
}

static bool body_growing(struct kint_conn *conn)
{
	static unsigned char data[16000];
	size_t total;

	CHECK((last = kint_get_xsave2(conn, 0, data, sizeof(data), &total)) == -EPROTO);
	return true;
}

/* ---- Errors that only the library itself may return ---- */
static bool body_error(struct kint_conn *conn)
{
	CHECK((last = kint_check_event(conn, 1)) == -EPROTO);
	return true;
}

static bool test_errors(void)
{
	static const int32_t errors[] = {
		EINTR, EIO, EPIPE, ETIMEDOUT, ECANCELED, EPROTO, ENOBUFS, EACCES, ENOSYS, 1001,
		4095, 0x7fffffff, -1, (int32_t)0x80000000,
	};
	unsigned int i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		memset(&answer, 0, sizeof(answer));
		answer.err = -(int64_t)errors[i];
		if (!adopt_with(peer_answers, body_error))
			return false;
	}
	return true;
}

/* ---- A socket that is full ---- */
#define NR_EVENTS 1000

static unsigned int answers;
static bool slow;	/* reads after a while, else never */

static void peer_deaf(int fd)
{
	const struct kvmi_vcpu_event_msr data = { .msr = 0xc0000082 };
	/* Leaving answers those that were asked for */
	uint16_t id = slow ? KVMI_VCPU_EVENT_MSR : KVMI_VCPU_EVENT_PAUSE;
	struct kvmi_vm_pause_all_reply all = { .count = NR_EVENTS };
	struct peer_msg msg;
	unsigned int i;

	if (!version_first(fd, &msg))
		return;
	if (!slow && peer_receive(fd, &msg))
		peer_reply(fd, &msg, 0, &all, sizeof(all));
	for (i = 0; i < NR_EVENTS; i++)
		if (!peer_vcpu_event(fd, 100 + i, i, id, &data, sizeof(data)))
			return;
	/* The other side is in the middle of its answers, with no room for more */
	usleep(200 * 1000);
	if (slow) {
		peer_vcpu_event(fd, 100 + i, i, KVMI_VCPU_EVENT_MSR, &data, sizeof(data));
		usleep(50 * 1000);
	} else {
		/* Longer than detaching may take */
		sleep(5);
	}
	while (peer_receive(fd, &msg))
		answers += msg.hdr.id == KVMI_VCPU_EVENT;
}

static bool take_events(struct kint_conn *conn, struct kint_event *events)
{
	unsigned int i;

	for (i = 0; i < NR_EVENTS; i++)
		CHECK(!(last = kint_next_event(conn, &events[i], TEST_TIMEOUT_MS)));
	return true;
}

static bool body_full(struct kint_conn *conn)
{
	static struct kint_event events[NR_EVENTS + 1];
	unsigned int i;

	take_events(conn, events);
	/* In the order of arrival: the last is the first of the library's list */
	for (i = NR_EVENTS; i-- && !last; )
		last = kint_reply(conn, &events[i], KVMI_EVENT_ACTION_ALLOW);
	CHECK(!last);
	CHECK(!(last = kint_next_event(conn, &events[NR_EVENTS], TEST_TIMEOUT_MS)));
	CHECK(!(last = kint_reply(conn, &events[NR_EVENTS], KVMI_EVENT_ACTION_ALLOW)));
	CHECK(!conn->open);
	return true;
}

static bool test_full(void)
{
	answers = 0;
	slow = true;
	return adopt_with(peer_deaf, body_full) && answers == NR_EVENTS + 1;
}

/* An answer that could not be sent may be sent later */
static bool body_again(struct kint_conn *conn)
{
	static struct kint_event events[NR_EVENTS];
	unsigned int i, failed;

	take_events(conn, events);
	kint_set_timeout(conn, 20);
	for (i = 0, last = 0; i < NR_EVENTS && !last; i++)
		last = kint_reply(conn, &events[i], KVMI_EVENT_ACTION_ALLOW);
	CHECK(last == -ETIMEDOUT || last == -EPROTO);
	failed = i - 1;
	kint_set_timeout(conn, TEST_TIMEOUT_MS);
	/* Unless it was sent in part */
	for (i = failed; i < NR_EVENTS && !conn->error; i++)
		CHECK(!(last = kint_reply(conn, &events[i], KVMI_EVENT_ACTION_ALLOW)));
	return true;
}

static bool test_again(void)
{
	slow = true;
	return adopt_with(peer_deaf, body_again);
}

/* Nobody reads: leaving takes no longer for a thousand events than for one */
static bool test_deaf(void)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	static struct kint_event events[NR_EVENTS];
	struct kint_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	int64_t begin;
	int fd;

	slow = false;
	start(&script, &thread, peer_deaf, &fd);
	CHECK(!(last = kint_adopt(fd, &opts, &conn)));
	CHECK(!(last = kint_pause_all(conn, false, NULL)));
	take_events(conn, events);
	begin = kint_now_ms();
	CHECK((last = kint_detach(conn)) == -ETIMEDOUT);
	CHECK(kint_now_ms() - begin < 4000);
	pthread_join(thread, NULL);
	return true;
}

/* ---- More to undo than there is time for ---- */
static void peer_slow(int fd)
{
	struct peer_msg msg;
	bool off;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		off = !msg.data[10];
		if (off)
			usleep(100 * 1000);
		peer_reply(fd, &msg, 0, NULL, 0);
	}
}

static bool test_slow(void)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kint_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	int fd, i;

	start(&script, &thread, peer_slow, &fd);
	CHECK(!(last = kint_adopt(fd, &opts, &conn)));
	for (i = 0; i < 50; i++)
		CHECK(!(last = kint_control_events(conn, i, KVMI_VCPU_EVENT_MSR, true)));
	CHECK((last = kint_detach(conn)) == -ETIMEDOUT);
	pthread_join(thread, NULL);
	return true;
}

void hostile_tests(void)
{
	result("too many vCPUs", test_numbers(body_vcpus, sizeof(struct kvmi_vm_get_info_reply)));
	result("as many vCPUs as can be", test_most_vcpus());
	result("too many PAUSE events", test_numbers(body_pause_all,
						     sizeof(struct kvmi_vm_pause_all_reply)));
	result("too many memory slots", test_numbers(body_memslots,
						     sizeof(struct kvmi_vm_get_memslots_reply)));
	result("too large an XSAVE area",
	       test_numbers(body_xsave, sizeof(struct kvmi_vcpu_get_xsave2_reply) + 1));
	result("an XSAVE area that grows meanwhile", adopt_with(peer_growing, body_growing));
	result("errors that are none of the protocol", test_errors());
	result("events arrive while answers wait for a full socket", test_full());
	result("an answer that found the socket full", test_again());
	result("detach when nobody reads", test_deaf());
	result("detach with more to undo than there is time for", test_slow());
}
