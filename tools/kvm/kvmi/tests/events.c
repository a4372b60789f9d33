// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events and the replies to them
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

static struct peer_msg event_reply;
static const struct kvmi_vcpu_event_msr msr_data = {
	.msr = 0xc0000082, .old_value = 1, .new_value = 2,
};

static const struct kvmi_vcpu_event_cr cr_data = { .cr = 4, .old_value = 0x20, .new_value = 0xa0 };

/* An event before the reply to the command, another after it */
static void peer_events(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg) || !peer_receive(fd, &msg))
		return;
	peer_vcpu_event(fd, 41, 1, KVMI_VCPU_EVENT_MSR, &msr_data, sizeof(msr_data));
	peer_reply(fd, &msg, -EINVAL, NULL, 0);
	peer_vcpu_event(fd, 42, 0, KVMI_VCPU_EVENT_CR, &cr_data, sizeof(cr_data));
	peer_receive(fd, &event_reply);
	linger(fd);
}

static int count_events(struct kvmi_conn *conn, const struct kvmi_event *event, void *arg)
{
	int *count = arg;

	(void)conn;
	*count += event->seq == 41 || event->seq == 42;
	return 0;
}

static bool reply_is(const struct peer_msg *msg, uint32_t seq, uint16_t vcpu, uint8_t action,
		     uint8_t event, uint64_t value)
{
	const struct kvmi_vcpu_hdr *hdr = (const void *)msg->data;
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(msg->data + 8);

	return msg->hdr.id == KVMI_VCPU_EVENT && msg->hdr.seq == seq && msg->hdr.size == 24 &&
	       hdr->vcpu == vcpu && !hdr->padding1 && !hdr->padding2 && rpl->action == action &&
	       rpl->event == event && !rpl->padding1 && !rpl->padding2 &&
	       !memcmp(msg->data + 16, &value, 8);
}

static bool body_events(struct kvmi_conn *conn)
{
	struct pollfd pfd = { .fd = kvmi_fd(conn), .events = POLLIN };
	struct kvmi_event event;

	CHECK(poll(&pfd, 1, 0) == 0);
	CHECK((last = kvmi_check_event(conn, 1)) == -EINVAL);
	CHECK(poll(&pfd, 1, 0) == 1);
	CHECK(!(last = kvmi_next_event(conn, &event, 0)));
	CHECK(event.is_vcpu && event.id == KVMI_VCPU_EVENT_MSR && event.common.vcpu == 1);
	CHECK(event.msr.msr == 0xc0000082 && event.msr.old_value == 1 && event.msr.new_value == 2);
	CHECK(event.common.cookie == 77 && event.common.arch.regs.rip == 0xffffffff81000123);
	CHECK((last = kvmi_reply(conn, &event, 9)) == -EINVAL);
	CHECK(!(last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)));
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)) == -EINVAL);
	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(event.id == KVMI_VCPU_EVENT_CR && event.cr.cr == 4 && event.cr.new_value == 0xa0);
	CHECK(poll(&pfd, 1, 0) == 0);
	CHECK((last = kvmi_next_event(conn, &event, 0)) == -EAGAIN);
	return true;
}

static bool body_dispatch(struct kvmi_conn *conn)
{
	struct pollfd pfd = { .fd = kvmi_fd(conn), .events = POLLIN };
	int count = 0;

	CHECK((last = kvmi_check_event(conn, 1)) == -EINVAL);
	while (count < 2 && poll(&pfd, 1, 1000) == 1)
		CHECK(!(last = kvmi_dispatch(conn, count_events, &count)));
	CHECK(count == 2);
	return true;
}

static void peer_one_event(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 50, 2, KVMI_VCPU_EVENT_CR, &cr_data, sizeof(cr_data));
	peer_receive(fd, &event_reply);
	linger(fd);
}

static bool body_value(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(!(last = kvmi_reply_value(conn, &event, 0x1234)));
	return true;
}

static bool body_retry(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(!(last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_RETRY)));
	return true;
}

static void peer_vm_events(int fd)
{
	struct kvmi_event_hdr hdr = { .event = KVMI_VM_EVENT_UNHOOK };
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 60, 0, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	peer_send(fd, KVMI_VM_EVENT, 61, &hdr, sizeof(hdr));
	linger(fd);
}

static bool body_vm_events(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(event.is_vcpu && event.id == KVMI_VCPU_EVENT_PAUSE);
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)) == -EINVAL);
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_RETRY)) == -EINVAL);
	CHECK((last = kvmi_reply_value(conn, &event, 0)) == -EINVAL);
	CHECK(!(last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)));
	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(!event.is_vcpu && event.id == KVMI_VM_EVENT_UNHOOK);
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)) == -EINVAL);
	return true;
}

/* Events with something wrong: each ends the connection */
static size_t event_cut;
static uint16_t common_size;

static void peer_bad_event(int fd)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		struct kvmi_vcpu_event_msr msr;
	} ev = { .hdr = { .event = KVMI_VCPU_EVENT_MSR }, .common = { .size = common_size } };
	struct peer_msg msg;

	if (version_first(fd, &msg))
		peer_send(fd, KVMI_VCPU_EVENT, 1, &ev, event_cut);
	linger(fd);
}

static bool body_bad_event(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK((last = kvmi_next_event(conn, &event, 1000)) == -EPROTO);
	return true;
}

static bool test_bad_events(void)
{
	static const struct { size_t cut; uint16_t size; } cases[] = {
		{ 0, 544 }, { 7, 544 }, { 8, 544 }, { 551, 544 }, { 575, 544 },
		{ 576, 543 }, { 576, 0 }, { 576, 560 }, { 576, 569 }, { 576, 65535 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		event_cut = cases[i].cut;
		common_size = cases[i].size;
		if (!adopt_with(peer_bad_event, body_bad_event)) {
			printf("# case %u\n", i);
			return false;
		}
	}
	return true;
}

static void peer_longer_common(int fd)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		uint64_t newer;
		struct kvmi_vcpu_event_msr msr;
	} ev = {
		.hdr = { .event = KVMI_VCPU_EVENT_MSR },
		.common = { .size = sizeof(ev.common) + 8 }, .newer = 99, .msr = msr_data,
	};
	struct peer_msg msg;

	if (version_first(fd, &msg))
		peer_send(fd, KVMI_VCPU_EVENT, 1, &ev, sizeof(ev));
	linger(fd);
}

static bool body_longer_common(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(event.msr.msr == 0xc0000082 && event.msr.new_value == 2);
	return true;
}

static void peer_flood(int fd)
{
	struct peer_msg msg;
	uint32_t seq = 0;

	if (version_first(fd, &msg))
		while (peer_vcpu_event(fd, ++seq, 0, KVMI_VCPU_EVENT_PAUSE, NULL, 0))
			;
}

static bool body_flood(struct kvmi_conn *conn)
{
	kvmi_set_timeout(conn, 30000);
	CHECK((last = kvmi_check_event(conn, 1)) == -ENOBUFS);
	return true;
}

void event_tests(void)
{
	result("event in the middle of a command", adopt_with(peer_events, body_events));
	result("events by kvmi_fd and kvmi_dispatch", adopt_with(peer_events, body_dispatch));
	result("UNHOOK and PAUSE, and the actions they take",
	       adopt_with(peer_vm_events, body_vm_events));
	result("longer common part of an event",
	       adopt_with(peer_longer_common, body_longer_common));
	result("more events than can be", adopt_with(peer_flood, body_flood));

	adopt_with(peer_events, body_events);
	result("reply on the wire: SKIP",
	       reply_is(&event_reply, 41, 1, KVMI_EVENT_ACTION_SKIP, KVMI_VCPU_EVENT_MSR, 2));
	result("reply with another value", adopt_with(peer_one_event, body_value) &&
	       reply_is(&event_reply, 50, 2, KVMI_EVENT_ACTION_ALLOW, KVMI_VCPU_EVENT_CR, 0x1234));
	result("reply RETRY", adopt_with(peer_one_event, body_retry) &&
	       reply_is(&event_reply, 50, 2, KVMI_EVENT_ACTION_RETRY, KVMI_VCPU_EVENT_CR, 0xa0));
	result("events that are cut short or lie about their size", test_bad_events());
}
