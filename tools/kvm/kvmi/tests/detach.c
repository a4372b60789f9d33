// SPDX-License-Identifier: GPL-2.0-only
/*
 * Leaving
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

static const struct kvmi_vcpu_event_msr msr_data = {
	.msr = 0xc0000082, .old_value = 1, .new_value = 2,
};

static unsigned int on_count, off_count, allowed;
static uint16_t last_off, last_but_one_off;
static bool mute;

static void peer_detach(int fd)
{
	const struct kvmi_vcpu_control_msr *msr;
	const struct kvmi_vcpu_event_reply *rpl;
	struct peer_msg msg;
	uint32_t seq = 100;
	bool enable;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_EVENT) {
			rpl = (const void *)(msg.data + 8);
			allowed += rpl->action == KVMI_EVENT_ACTION_ALLOW;
			continue;
		}
		if (msg.hdr.id == KVMI_VCPU_CONTROL_MSR) {
			msr = (const void *)(msg.data + 8);
			enable = msr->enable;
		} else if (msg.hdr.id == KVMI_VM_CONTROL_EVENTS) {
			enable = msg.data[2];
		} else if (msg.hdr.id == KVMI_VM_SET_RULES) {
			enable = msg.data[2];
		} else if (msg.hdr.id == KVMI_VCPU_CONTROL_EVENTS) {
			enable = msg.data[10];
		} else if (msg.hdr.id == KVMI_VCPU_CONTROL_SINGLESTEP) {
			enable = msg.data[8];
		} else {
			enable = msg.data[9];
		}
		*(enable ? &on_count : &off_count) += 1;
		if (!enable) {
			last_but_one_off = last_off;
			last_off = msg.hdr.id;
		}
		/* An event that comes while things are being turned off */
		if (!enable && off_count <= 2)
			peer_vcpu_event(fd, seq++, off_count - 1, KVMI_VCPU_EVENT_MSR, &msr_data,
					sizeof(msr_data));
		if (enable || !mute)
			peer_reply(fd, &msg, 0, NULL, 0);
	}
}

static bool test_detach(bool silent)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	int64_t start_ms = kint_now_ms();
	struct kvmi_rule rule = { .verdict = KVMI_RULE_ASK };
	struct kint_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	int fd;

	on_count = 0;
	off_count = 0;
	allowed = 0;
	mute = silent;
	start(&script, &thread, peer_detach, &fd);
	CHECK(!(last = kint_adopt(fd, &opts, &conn)));
	CHECK(!(last = kint_control_vm_events(conn, KVMI_VM_EVENT_UNHOOK, true)));
	CHECK(!(last = kint_set_rules(conn, KVMI_VCPU_EVENT_MSR, &rule, 1)));
	CHECK(!(last = kint_control_events(conn, 0, KVMI_VCPU_EVENT_MSR, true)));
	CHECK(!(last = kint_control_events(conn, 1, KVMI_VCPU_EVENT_MSR, true)));
	CHECK(!(last = kint_control_msr(conn, 0, 0xc0000082, true)));
	CHECK(!(last = kint_control_msr(conn, 1, 0xc0000082, true)));
	CHECK(!(last = kint_control_cr(conn, 0, 4, true)));
	CHECK(!(last = kint_control_cr(conn, 0, 4, true)));
	CHECK(!(last = kint_control_cr(conn, 1, 0, true)));
	CHECK(!(last = kint_control_singlestep(conn, 1, true)));
	last = kint_detach(conn);
	pthread_join(thread, NULL);
	CHECK(on_count == 10);
	if (silent) {
		CHECK(last == -ETIMEDOUT);
		CHECK(kint_now_ms() - start_ms < TEST_TIMEOUT_MS);
	} else {
		CHECK(!last);
		CHECK(off_count == 9);
		/* What the rules decide is off by then */
		CHECK(last_but_one_off == KVMI_VM_SET_RULES);
	}
	CHECK(allowed == 2);
	return true;
}

/* ---- Events that a tool was to be asked about that was lost ---- */
static uint32_t answered_vcpus;	/* bit n: an event of vCPU n was answered */
static unsigned int answered_pauses;	/* of vCPU 25, which owes one to that tool as well */

/* One of a vCPU each, from the first on */
static const uint16_t left_events[] = {
	KVMI_VCPU_EVENT_MSR, KVMI_VCPU_EVENT_BREAKPOINT, KVMI_VCPU_EVENT_PF,
	KVMI_VCPU_EVENT_TRAP, KVMI_VCPU_EVENT_CREATE_VCPU, KVMI_VCPU_EVENT_SINGLESTEP,
	KVMI_VCPU_EVENT_PAUSE,
};

#define NR_LEFT (sizeof(left_events) / sizeof(left_events[0]))

static void peer_left(int fd)
{
	static const unsigned char zero[56];
	struct kvmi_vcpu_event_cr cr = { .cr = 4 };
	struct kvmi_vcpu_event_trap trap = { .nr = 14 };
	struct kvmi_vm_pause_all_reply all = { .count = 2 };
	const struct kvmi_vcpu_event_reply *rpl;
	struct peer_msg msg;
	unsigned int i;

	if (!version_first(fd, &msg))
		return;
	for (i = 0; i < NR_LEFT; i++)
		peer_vcpu_event(fd, 100 + i, i, left_events[i], zero, sizeof(zero));
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_EVENT) {
			answered_vcpus |= 1u << msg.data[0];
			if (msg.data[0] == 25 && !answered_pauses++)
				peer_vcpu_event(fd, 125, 25, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
			rpl = (const void *)(msg.data + 8);
			if (rpl->flags & KVMI_REPLY_SINGLESTEP)
				peer_vcpu_event(fd, 129, msg.data[0], KVMI_VCPU_EVENT_SINGLESTEP,
						zero, 8);
			continue;
		}
		if (msg.hdr.id == KVMI_VM_PAUSE_ALL) {
			/* Some are faster than the reply */
			peer_vcpu_event(fd, 126, 26, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
			peer_reply(fd, &msg, 0, &all, sizeof(all));
			continue;
		}
		peer_reply(fd, &msg, msg.hdr.id == KVMI_VM_PAUSE_VCPU && msg.data[0] == 28 ?
			   -EBUSY : 0, NULL, 0);
		/* Of the caller's doing; and of another vCPU, which is none of it */
		if (msg.hdr.id == KVMI_VCPU_CONTROL_EVENTS && msg.data[10]) {
			peer_vcpu_event(fd, 120, msg.data[0], msg.data[8], &cr, sizeof(cr));
			peer_vcpu_event(fd, 121, msg.data[0] + 1, msg.data[8], &cr, sizeof(cr));
		} else if (msg.hdr.id == KVMI_VCPU_INJECT_EXCEPTION) {
			peer_vcpu_event(fd, 122, msg.data[0], KVMI_VCPU_EVENT_TRAP, &trap,
					sizeof(trap));
		} else if (msg.hdr.id == KVMI_VM_CONTROL_EVENTS && msg.data[2]) {
			peer_vcpu_event(fd, 123, 24, KVMI_VCPU_EVENT_CREATE_VCPU, NULL, 0);
		} else if (msg.hdr.id == KVMI_VM_PAUSE_VCPU) {
			if (msg.data[0] != 28)
				peer_vcpu_event(fd, 124, msg.data[0], KVMI_VCPU_EVENT_PAUSE, NULL,
						0);
		} else if (msg.hdr.id == KVMI_VCPU_CONTROL_MSR && msg.data[8]) {
			/* At last one of many that were owed */
			peer_vcpu_event(fd, 128, msg.data[0], KVMI_VCPU_EVENT_PAUSE, NULL, 0);
		} else if (msg.hdr.id == KVMI_VCPU_CONTROL_SINGLESTEP && msg.data[8]) {
			peer_vcpu_event(fd, 127, msg.data[0], KVMI_VCPU_EVENT_SINGLESTEP, zero, 8);
		}
	}
}

/* The next event of a vCPU; others are left to kint_detach() */
static bool next_of(struct kint_conn *conn, uint16_t vcpu, struct kint_event *ev)
{
	do {
		last = kint_next_event(conn, ev, TEST_TIMEOUT_MS);
	} while (!last && ev->common.vcpu != vcpu);
	return !last;
}

/* One PAUSE for each that was asked for, by a batch or not, and what is stepped */
static bool asks_for_pauses(struct kint_conn *conn)
{
	struct kint_batch *batch;
	struct kint_event ev;

	CHECK(!(last = kint_pause_vcpu(conn, 25, false)));
	CHECK(next_of(conn, 25, &ev) && kint_event_is_own(conn, &ev));
	CHECK(!(last = kint_reply(conn, &ev, KVMI_EVENT_ACTION_ALLOW)));
	CHECK(next_of(conn, 25, &ev) && !kint_event_is_own(conn, &ev));
	/* It owes so many that this one was not taken */
	CHECK((last = kint_pause_vcpu(conn, 28, false)) == -EBUSY);
	CHECK(!(last = kint_control_msr(conn, 28, 0xc0000082, true)));
	CHECK(next_of(conn, 28, &ev) && !kint_event_is_own(conn, &ev));
	CHECK(!(last = kint_batch_new(conn, &batch)));
	CHECK(kint_queue_pause_vcpu(batch, 29, false) == 0);
	last = kint_batch_commit(batch);
	kint_batch_free(batch);
	CHECK(!last && next_of(conn, 29, &ev) && kint_event_is_own(conn, &ev));
	CHECK(!(last = kint_reply_flags(conn, &ev, KVMI_EVENT_ACTION_ALLOW,
					KVMI_REPLY_SINGLESTEP, 0)));
	CHECK(next_of(conn, 29, &ev) && kint_event_is_own(conn, &ev));
	CHECK(!(last = kint_pause_all(conn, false, NULL)));
	CHECK(next_of(conn, 26, &ev) && kint_event_is_own(conn, &ev));
	CHECK(!(last = kint_control_singlestep(conn, 27, true)));
	return true;
}

static bool test_left(void)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kint_conn *conn = NULL;
	struct script script;
	struct kint_event ev;
	pthread_t thread;
	unsigned int i;
	int fd;

	answered_vcpus = 0;
	answered_pauses = 0;
	start(&script, &thread, peer_left, &fd);
	CHECK(!(last = kint_adopt(fd, &opts, &conn)));
	/* Some of them the caller has been given, and keeps */
	for (i = 0; i < 2; i++) {
		CHECK(!(last = kint_next_event(conn, &ev, TEST_TIMEOUT_MS)));
		CHECK(!kint_event_is_own(conn, &ev));
	}
	CHECK(!(last = kint_control_events(conn, 20, KVMI_VCPU_EVENT_CR, true)));
	CHECK(!(last = kint_inject_exception(conn, 23, 14, 0, 0)));
	CHECK(!(last = kint_control_vm_events(conn, KVMI_VCPU_EVENT_CREATE_VCPU, true)));
	/* What is turned off was turned on all the same when it happened */
	CHECK(!(last = kint_control_events(conn, 20, KVMI_VCPU_EVENT_CR, false)));
	CHECK(asks_for_pauses(conn));
	last = kint_detach(conn);
	pthread_join(thread, NULL);
	CHECK(!last);
	CHECK(answered_vcpus == (1u << 20 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26 | 1u << 27 |
				 1u << 29));
	CHECK(answered_pauses == 1);
	return true;
}

/* ---- kint_clear_control() ---- */
static char turned_off[256];
static int control_error;

static void peer_control(int fd)
{
	struct kvmi_vcpu_get_control_reply now = {
		.events = 1 << KVMI_VCPU_EVENT_CR | 1 << KVMI_VCPU_EVENT_MSR |
			  1 << KVMI_VCPU_EVENT_CPUID,
		.crs = 1 << 3 | 1 << 4, .singlestep = 1,
		.msrs = { [0x174 / 64] = 1ull << 0x174 % 64, [128 + 2] = 1 << 2 | 1 << 1 },
	};
	const struct kvmi_vcpu_control_msr *msr;
	struct peer_msg msg;
	char *end;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		end = turned_off + strlen(turned_off);
		msr = (const void *)(msg.data + 8);
		if (msg.hdr.id == KVMI_VCPU_GET_CONTROL) {
			peer_reply(fd, &msg, control_error, &now, control_error ? 0 : sizeof(now));
			continue;
		}
		if (msg.hdr.id == KVMI_VCPU_CONTROL_EVENTS && !msg.data[10])
			sprintf(end, "event %u;", msg.data[8]);
		else if (msg.hdr.id == KVMI_VCPU_CONTROL_CR && !msg.data[9])
			sprintf(end, "CR%u;", msg.data[8]);
		else if (msg.hdr.id == KVMI_VCPU_CONTROL_MSR && !msr->enable)
			sprintf(end, "MSR %x;", msr->msr);
		else if (msg.hdr.id == KVMI_VCPU_CONTROL_SINGLESTEP && !msg.data[8])
			sprintf(end, "steps;");
		/* What the host does not have is no reason to fail */
		peer_reply(fd, &msg, msg.hdr.id == KVMI_VCPU_CONTROL_CR && !msg.data[9] ?
			   -EOPNOTSUPP : 0, NULL, 0);
	}
}

static bool body_control(struct kint_conn *conn)
{
	turned_off[0] = 0;
	CHECK(!(last = kint_control_events(conn, 1, KVMI_VCPU_EVENT_MSR, true)));
	CHECK(!(last = kint_control_msr(conn, 1, 0xc0000082, true)));
	CHECK(!(last = kint_control_cr(conn, 1, 4, true)));
	/* Of another vCPU */
	CHECK(!(last = kint_control_events(conn, 0, KVMI_VCPU_EVENT_CR, true)));
	return !(last = kint_clear_control(conn, 1));
}

static bool test_clear_control(void)
{
	control_error = 0;
	CHECK(adopt_with(peer_control, body_control));
	CHECK(!strcmp(turned_off, "steps;event 7;event 21;CR3;MSR 174;MSR c0000081;"));
	control_error = -1000;
	CHECK(adopt_with(peer_control, body_control));
	CHECK(!strcmp(turned_off, "steps;"));
	return true;
}

/* ---- kint_set_deadline() ---- */
static unsigned int commands, replies;

static void peer_counts(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 100, 0, KVMI_VCPU_EVENT_MSR, &msr_data, sizeof(msr_data));
	while (peer_receive(fd, &msg)) {
		replies += msg.hdr.id == KVMI_VCPU_EVENT;
		commands += msg.hdr.id != KVMI_VCPU_EVENT;
	}
}

static bool test_deadline(void)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kvmi_vm_get_info_reply info;
	struct kint_conn *conn = NULL;
	struct script script;
	struct kint_event ev;
	pthread_t thread;
	int64_t begin;
	unsigned int i;
	int fd;

	commands = 0;
	replies = 0;
	start(&script, &thread, peer_counts, &fd);
	CHECK(!(last = kint_adopt(fd, &opts, &conn)));
	CHECK(!(last = kint_next_event(conn, &ev, TEST_TIMEOUT_MS)));
	begin = kint_now_ms();
	kint_set_deadline(conn, 50);
	/* More than the library remembers of what it has given up on */
	for (i = 0; i < 1000; i++)
		CHECK((last = kint_get_info(conn, &info)) == -ETIMEDOUT);
	CHECK(kint_now_ms() - begin < TEST_TIMEOUT_MS);
	/* What has a vCPU go on is sent all the same */
	CHECK(!(last = kint_reply(conn, &ev, KVMI_EVENT_ACTION_ALLOW)));
	kint_set_deadline(conn, -1);
	kint_set_timeout(conn, 50);
	CHECK((last = kint_get_info(conn, &info)) == -ETIMEDOUT);
	CHECK(!(last = kint_detach(conn)));
	pthread_join(thread, NULL);
	CHECK(commands >= 1 && commands <= 2 && replies == 1);
	return true;
}

/* ---- What kint_control_event_set() and kint_control_cleanup() leave to undo ---- */
static unsigned int events_off, crs_off, rules_off;

static void peer_kept(int fd)
{
	struct kvmi_vcpu_control_event_set_reply now = { .enabled = 0x180 };
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_CONTROL_EVENT_SET)
			peer_reply(fd, &msg, 0, &now, sizeof(now));
		else
			peer_reply(fd, &msg, 0, NULL, 0);
		events_off += msg.hdr.id == KVMI_VCPU_CONTROL_EVENTS && !msg.data[10];
		crs_off += msg.hdr.id == KVMI_VCPU_CONTROL_CR && !msg.data[9];
		rules_off += msg.hdr.id == KVMI_VM_SET_RULES && !msg.data[2];
	}
}

static bool test_kept(bool cleanup)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kvmi_rule rule = { .verdict = KVMI_RULE_ASK };
	struct kint_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	int fd;

	events_off = 0;
	crs_off = 0;
	rules_off = 0;
	start(&script, &thread, peer_kept, &fd);
	CHECK(!(last = kint_adopt(fd, &opts, &conn)));
	CHECK(!(last = kint_control_cleanup(conn, cleanup)));
	CHECK(!(last = kint_control_event_set(conn, 0, 0x1a0, 0, NULL)));
	CHECK(!(last = kint_control_event_set(conn, 0, 0, 0x20, NULL)));
	CHECK(!(last = kint_control_cr(conn, 0, 4, true)));
	/* Rules that have been taken back already */
	CHECK(!(last = kint_set_rules(conn, KVMI_VCPU_EVENT_CR, &rule, 1)));
	CHECK(!(last = kint_set_rules(conn, KVMI_VCPU_EVENT_CR, NULL, 0)));
	last = kint_detach(conn);
	pthread_join(thread, NULL);
	CHECK(!last && events_off == 2 && rules_off == 1);
	CHECK(crs_off == cleanup);
	return true;
}

void detach_tests(void)
{
	result("detach turns off a set of events", test_kept(true));
	result("detach without cleanup leaves control registers", test_kept(false));
	result("detach undoes everything and lets the vCPUs go", test_detach(false));
	result("detach leaves what a lost tool was to be asked about", test_left());
	result("detach when no vCPU answers", test_detach(true));
	result("what another tool has turned on is turned off", test_clear_control());
	result("a last moment for commands", test_deadline());
}
