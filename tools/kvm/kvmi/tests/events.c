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

static struct peer_msg event_reply, access_reply;
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

static int count_events(struct kint_conn *conn, const struct kint_event *event, void *arg)
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
	       rpl->event == event && !rpl->view && !rpl->flags &&
	       !memcmp(msg->data + 16, &value, 8);
}

static bool body_events(struct kint_conn *conn)
{
	struct pollfd pfd = { .fd = kint_fd(conn), .events = POLLIN };
	struct kint_event event;
	unsigned int pending;

	CHECK(poll(&pfd, 1, 0) == 0 && kint_pending(conn) == 0);
	CHECK((last = kint_check_event(conn, 1)) == -EINVAL);
	pending = kint_pending(conn);
	CHECK(poll(&pfd, 1, 0) == 1 && (pending == 1 || pending == 2));
	CHECK(!(last = kint_next_event(conn, &event, 0)));
	CHECK(kint_pending(conn) == pending - 1);
	CHECK(event.is_vcpu && event.id == KVMI_VCPU_EVENT_MSR && event.common.vcpu == 1);
	CHECK(event.msr.msr == 0xc0000082 && event.msr.old_value == 1 && event.msr.new_value == 2);
	CHECK(event.common.cookie == 77 && event.common.arch.regs.rip == 0xffffffff81000123);
	CHECK((last = kint_reply(conn, &event, 9)) == -EINVAL);
	CHECK(!(last = kint_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)));
	CHECK((last = kint_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)) == -EINVAL);
	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(event.id == KVMI_VCPU_EVENT_CR && event.cr.cr == 4 && event.cr.new_value == 0xa0);
	CHECK(poll(&pfd, 1, 0) == 0);
	CHECK((last = kint_next_event(conn, &event, 0)) == -EAGAIN);
	return true;
}

static bool body_dispatch(struct kint_conn *conn)
{
	struct pollfd pfd = { .fd = kint_fd(conn), .events = POLLIN };
	int count = 0;

	CHECK((last = kint_check_event(conn, 1)) == -EINVAL);
	while (count < 2 && poll(&pfd, 1, 1000) == 1)
		CHECK(!(last = kint_dispatch(conn, count_events, &count)));
	CHECK(count == 2);
	return true;
}

/* vCPUs that come to something else whenever there is a command */
static void peer_busy(int fd)
{
	struct peer_msg msg;
	uint32_t seq = 100;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_EVENT)
			continue;
		seq++;
		peer_vcpu_event(fd, seq, seq % 2, KVMI_VCPU_EVENT_CR, &cr_data, sizeof(cr_data));
		peer_reply(fd, &msg, 0, NULL, 0);
	}
}

static int send_command(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	int *count = arg, err;

	err = kint_control_singlestep(conn, event->common.vcpu, true);
	if (!err)
		err = kint_reply(conn, event, KVMI_EVENT_ACTION_ALLOW);
	return ++*count > 1000 ? 1 : err;
}

static bool body_busy(struct kint_conn *conn)
{
	struct pollfd pfd = { .fd = kint_fd(conn), .events = POLLIN };
	int count = 0;

	CHECK(!(last = kint_check_event(conn, 1)));
	CHECK(!(last = kint_dispatch(conn, send_command, &count)) && count == 1);
	CHECK(kint_pending(conn) == 1 && poll(&pfd, 1, 0) == 1);
	CHECK(!(last = kint_dispatch(conn, send_command, &count)) && count == 2);
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

static bool body_value(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(!(last = kint_reply_value(conn, &event, 0x1234)));
	return true;
}

static bool body_retry(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(!(last = kint_reply(conn, &event, KVMI_EVENT_ACTION_RETRY)));
	return true;
}

/* ---- The optional data of the replies to PF and ACCESS events ---- */
static void peer_two_events(int fd)
{
	struct kvmi_vcpu_event_pf pf = { .gpa = 0x1000, .access = KVMI_PAGE_ACCESS_W };
	struct kvmi_vcpu_event_access access = { .gpa = 0x1000, .size = 4 };
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 80, 1, KVMI_VCPU_EVENT_PF, &pf, sizeof(pf));
	peer_receive(fd, &event_reply);
	peer_vcpu_event(fd, 81, 1, KVMI_VCPU_EVENT_ACCESS, &access, sizeof(access));
	peer_receive(fd, &access_reply);
	if (peer_receive(fd, &msg))
		peer_reply(fd, &msg, -ENOENT, NULL, 0);
	linger(fd);
}

static bool body_two_events(struct kint_conn *conn)
{
	static const unsigned char zero[28];
	struct kint_event event;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK((last = kint_reply_access(conn, &event, "1234")) == -EINVAL);
	CHECK(!(last = kint_reply_pf(conn, &event, KVMI_PF_TRAP_ACCESS)));
	CHECK((last = kint_reply_pf(conn, &event, 0)) == -EINVAL);
	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK((last = kint_reply_pf(conn, &event, 0)) == -EINVAL);
	CHECK(!(last = kint_reply_access(conn, &event, "1234")));
	CHECK((last = kint_check_event(conn, 1)) == -ENOENT);
	CHECK(reply_is(&event_reply, 80, 1, KVMI_EVENT_ACTION_ALLOW, KVMI_VCPU_EVENT_PF,
		       KVMI_PF_TRAP_ACCESS));
	CHECK(access_reply.hdr.seq == 81 && access_reply.hdr.size == 16 + 32);
	CHECK(!memcmp(access_reply.data + 16, "1234", 4));
	CHECK(!memcmp(access_reply.data + 20, zero, sizeof(zero)));
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

static bool body_vm_events(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(event.is_vcpu && event.id == KVMI_VCPU_EVENT_PAUSE);
	CHECK((last = kint_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)) == -EINVAL);
	CHECK((last = kint_reply(conn, &event, KVMI_EVENT_ACTION_RETRY)) == -EINVAL);
	CHECK((last = kint_reply_value(conn, &event, 0)) == -EINVAL);
	CHECK(!(last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)));
	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(!event.is_vcpu && event.id == KVMI_VM_EVENT_UNHOOK);
	CHECK((last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)) == -EINVAL);
	return true;
}

/* ---- Each kind of event: its data, and the actions it accepts ---- */
static const struct kind {
	uint16_t id;
	unsigned char data[56];
	size_t size;
	uint32_t actions;
} kinds[] = {
	{ KVMI_VCPU_EVENT_PAUSE, "", 0, 0x5 },
	{ KVMI_VCPU_EVENT_HYPERCALL, "", 0, 0xf },
	{ KVMI_VCPU_EVENT_BREAKPOINT, { 0x34, 0x12, [8] = 1 }, 16, 0xf },
	{ KVMI_VCPU_EVENT_CR, { 4, [8] = 0x20, [16] = 0xa0 }, 24, 0xf },
	{ KVMI_VCPU_EVENT_TRAP, { 14, KVMI_TRAP_RETRY, 0, 0, 2, [8] = 0x99 }, 16, 0x7 },
	{ KVMI_VCPU_EVENT_TRAP, { 1, [8] = 0x40 }, 16, 0x5 },
	{ KVMI_VCPU_EVENT_XSETBV, { 0, [8] = 3, [16] = 7 }, 24, 0xf },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, { KVMI_DESC_LDTR, 1 }, 8, 0xf },
	{ KVMI_VCPU_EVENT_MSR, { 0x74, 1, [8] = 5, [16] = 6 }, 24, 0xf },
	{ KVMI_VCPU_EVENT_PF, { 0x56, [7] = 0xff, [8] = 0x34, [16] = 2, 1, 3 }, 24, 0xf },
	{ KVMI_VCPU_EVENT_SINGLESTEP, { 1 }, 8, 0x5 },
	{ KVMI_VCPU_EVENT_CPUID, { 7, [4] = 1, [8] = 2 }, 16, 0xf },
	{ KVMI_VCPU_EVENT_ACCESS, { 0x56, [8] = 0x34, [16] = 1, 2, [24] = 'h', 'i', [55] = 9 },
	  56, 0x7 },
	{ KVMI_VCPU_EVENT_ACCESS, { 0x56, [8] = 0x34, [16] = 2, 2, [24] = 'h', 'i', [55] = 9 },
	  56, 0xf },
	{ KVMI_VCPU_EVENT_CREATE_VCPU, "", 0, 0x5 },
	/* of a newer kernel */
	{ 51, "", 0, 0x5 },
};

static const struct kind *kind;
static size_t kind_size;
static struct peer_msg kind_reply;

static void peer_kind(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 70, 3, kind->id, kind->data, kind_size);
	kind_reply.hdr.id = 0;
	peer_receive(fd, &kind_reply);
	if (peer_receive(fd, &msg))
		peer_reply(fd, &msg, -ENOENT, NULL, 0);
	linger(fd);
}

static bool data_is_right(const struct kint_event *e)
{
	switch (e->id) {
	case KVMI_VCPU_EVENT_BREAKPOINT:
		return e->breakpoint.gpa == 0x1234 && e->breakpoint.insn_len == 1;
	case KVMI_VCPU_EVENT_CR:
		return e->cr.cr == 4 && e->cr.old_value == 0x20 && e->cr.new_value == 0xa0;
	case KVMI_VCPU_EVENT_TRAP:
		if (e->trap.nr == 1)
			return !e->trap.flags && e->trap.address == 0x40;
		return e->trap.nr == 14 && e->trap.flags == KVMI_TRAP_RETRY &&
		       e->trap.error_code == 2 && e->trap.address == 0x99;
	case KVMI_VCPU_EVENT_XSETBV:
		return !e->xsetbv.xcr && e->xsetbv.old_value == 3 && e->xsetbv.new_value == 7;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		return e->descriptor.descriptor == KVMI_DESC_LDTR && e->descriptor.write == 1;
	case KVMI_VCPU_EVENT_MSR:
		return e->msr.msr == 0x174 && e->msr.old_value == 5 && e->msr.new_value == 6;
	case KVMI_VCPU_EVENT_PF:
		return e->pf.gva == 0xff00000000000056 && e->pf.gpa == 0x34 &&
		       e->pf.access == KVMI_PAGE_ACCESS_W &&
		       e->pf.flags == KVMI_PF_NOT_EMULATED && e->pf.view == 3;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return e->singlestep.failed == 1;
	case KVMI_VCPU_EVENT_ACCESS:
		return e->access.gva == 0x56 && e->access.gpa == 0x34 &&
		       e->access.access == kind->data[16] && e->access.size == 2 &&
		       !memcmp(e->access.data, "hi", 2) && e->access.data[31] == 9;
	case KVMI_VCPU_EVENT_CPUID:
		return e->cpuid.function == 7 && e->cpuid.index == 1 && e->cpuid.insn_len == 2;
	default:
		return true;
	}
}

static bool body_kind(struct kint_conn *conn)
{
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(kind_reply.data + 8);
	struct kint_event event;
	unsigned int action, accepted = 0;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(event.is_vcpu && event.id == kind->id && event.common.vcpu == 3);
	CHECK(data_is_right(&event));
	/* Those that are refused leave it open; the highest one is sent */
	for (action = 33; action--; ) {
		last = kint_reply(conn, &event, action);
		if (action > 3 || !(kind->actions & (1u << action))) {
			CHECK(last == -EINVAL);
			continue;
		}
		CHECK(!last);
		accepted = action;
		break;
	}
	CHECK((last = kint_check_event(conn, 1)) == -ENOENT);
	CHECK(kind_reply.hdr.seq == 70 && rpl->action == accepted && rpl->event == kind->id);
	return true;
}

static bool body_cut_kind(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK((last = kint_next_event(conn, &event, 1000)) == -EPROTO);
	return true;
}

static bool test_kinds(void)
{
	for (kind = kinds; kind < kinds + sizeof(kinds) / sizeof(kinds[0]); kind++) {
		kind_size = kind->size;
		if (!adopt_with(peer_kind, body_kind)) {
			printf("# event %u\n", kind->id);
			return false;
		}
		if (kind->id != 51 && kind->id != KVMI_VCPU_EVENT_TRAP &&
		    kind->id != KVMI_VCPU_EVENT_ACCESS)
			CHECK(kint_event_actions(kind->id) == kind->actions);
	}
	CHECK(kint_event_actions(KVMI_VCPU_EVENT_TRAP) == 0x7 && !kint_event_actions(51));
	CHECK(kint_event_actions(KVMI_VCPU_EVENT_ACCESS) == 0xf);
	return true;
}

/* An access of more bytes than an event has */
static bool test_long_access(void)
{
	static const struct kind accesses[] = {
		{ KVMI_VCPU_EVENT_ACCESS, { [16] = 1, 33 }, 56, 0 },
		{ KVMI_VCPU_EVENT_ACCESS, { [16] = 2, 255 }, 56, 0 },
	};

	kind_size = sizeof(struct kvmi_vcpu_event_access);
	for (kind = accesses; kind < accesses + 2; kind++)
		CHECK(adopt_with(peer_kind, body_cut_kind));
	return true;
}

static bool test_cut_kinds(void)
{
	for (kind = kinds; kind < kinds + sizeof(kinds) / sizeof(kinds[0]); kind++) {
		if (!kind->size)
			continue;
		kind_size = kind->size - 1;
		if (!adopt_with(peer_kind, body_cut_kind)) {
			printf("# event %u\n", kind->id);
			return false;
		}
	}
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

static bool body_bad_event(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK((last = kint_next_event(conn, &event, 1000)) == -EPROTO);
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

static bool body_longer_common(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
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

static bool body_flood(struct kint_conn *conn)
{
	kint_set_timeout(conn, 30000);
	CHECK((last = kint_check_event(conn, 1)) == -ENOBUFS);
	return true;
}

/* Notifications while the caller waits for a reply, and an event */
#define NOTIFICATIONS 5000

static void peer_notifies(int fd)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
	} ev = {
		.hdr = { .event = KVMI_VCPU_EVENT_HYPERCALL, .flags = KVMI_EVENT_NOTIFICATION },
		.common = { .size = sizeof(ev.common) },
	};
	struct peer_msg msg;
	uint32_t i;

	if (!version_first(fd, &msg) || !peer_receive(fd, &msg))
		return;
	for (i = 0; i < NOTIFICATIONS; i++)
		peer_send(fd, KVMI_VCPU_EVENT, i, &ev, sizeof(ev));
	peer_vcpu_event(fd, i, 0, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	peer_reply(fd, &msg, -ENOENT, NULL, 0);
	linger(fd);
}

static bool body_notifies(struct kint_conn *conn)
{
	const unsigned int kept = KINT_MAX_QUEUED_EVENTS / 2;
	struct kint_event event;
	unsigned int i;

	kint_set_timeout(conn, 30000);
	CHECK(!kint_lost_notifications(conn));
	CHECK((last = kint_check_event(conn, 1)) == -ENOENT);
	CHECK(kint_pending(conn) == kept + 1);
	CHECK(kint_lost_notifications(conn) == NOTIFICATIONS - kept);
	for (i = 0; i < kept; i++)
		CHECK(!kint_next_event(conn, &event, 0) && event.notified && event.seq == i);
	CHECK(!kint_next_event(conn, &event, 0) && !event.notified);
	CHECK(event.id == KVMI_VCPU_EVENT_PAUSE && event.seq == NOTIFICATIONS);
	CHECK(!(last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)));
	return true;
}

/* An event of each vCPU that there can be, besides as many notifications as are kept */
static void peer_crowd(int fd)
{
	const unsigned int notes = KINT_MAX_QUEUED_EVENTS / 2;
	struct peer_msg msg;
	uint32_t seq;

	if (!version_first(fd, &msg) || !peer_receive(fd, &msg))
		return;
	for (seq = 1; seq <= notes; seq++)
		peer_vcpu_notification(fd, seq, 0, KVMI_VCPU_EVENT_HYPERCALL, NULL, 0);
	for (; seq <= notes + KINT_MAX_QUEUED_EVENTS; seq++)
		peer_vcpu_event(fd, seq, seq, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	peer_reply(fd, &msg, -ENOENT, NULL, 0);
	linger(fd);
}

static bool body_crowd(struct kint_conn *conn)
{
	kint_set_timeout(conn, 30000);
	CHECK((last = kint_check_event(conn, 1)) == -ENOENT);
	CHECK(kint_pending(conn) == KINT_MAX_QUEUED_EVENTS / 2 + KINT_MAX_QUEUED_EVENTS);
	CHECK(!kint_lost_notifications(conn));
	return true;
}

void event_tests(void)
{
	result("event in the middle of a command", adopt_with(peer_events, body_events));
	result("events by kint_fd and kint_dispatch", adopt_with(peer_events, body_dispatch));
	result("events without end", adopt_with(peer_busy, body_busy));
	result("UNHOOK and PAUSE, and the actions they take",
	       adopt_with(peer_vm_events, body_vm_events));
	result("each kind of event, and the actions it accepts", test_kinds());
	result("each kind of event without its last byte", test_cut_kinds());
	result("an access of more bytes than an event has", test_long_access());
	result("longer common part of an event",
	       adopt_with(peer_longer_common, body_longer_common));
	result("more events than can be", adopt_with(peer_flood, body_flood));
	result("more notifications than there is room for",
	       adopt_with(peer_notifies, body_notifies));
	result("as many events as there can be", adopt_with(peer_crowd, body_crowd));

	adopt_with(peer_events, body_events);
	result("reply on the wire: SKIP",
	       reply_is(&event_reply, 41, 1, KVMI_EVENT_ACTION_SKIP, KVMI_VCPU_EVENT_MSR, 2));
	result("reply with another value", adopt_with(peer_one_event, body_value) &&
	       reply_is(&event_reply, 50, 2, KVMI_EVENT_ACTION_ALLOW, KVMI_VCPU_EVENT_CR, 0x1234));
	result("reply RETRY", adopt_with(peer_one_event, body_retry) &&
	       reply_is(&event_reply, 50, 2, KVMI_EVENT_ACTION_RETRY, KVMI_VCPU_EVENT_CR, 0xa0));
	result("replies to PF and ACCESS events with data",
	       adopt_with(peer_two_events, body_two_events));
	result("events that are cut short or lie about their size", test_bad_events());
}
