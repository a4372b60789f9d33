// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: a tool that takes too long, is lost, or comes back
 *
 * What KVM_INTROSPECTION_HOOK chooses for that, and KVM_INTROSPECTION_ATTACH.
 */
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define CPUID	"\x0f\xa2"
/* MOV [RDI], AL */
#define WRITE	"\x88\x07"

#define RX	(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

/* It executes CPUID. */
static void create_guest(struct kvmi_guest *g)
{
	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_guest_code(g, CPUID);
	kvmi_guest_run_normally(g);
}

static void run(struct kvmi_guest *g)
{
	kvmi_run_start(&g->r, NULL, g->vcpu);
}

/* KVM_RUN returns for a reason of introspection's. */
static void expect_exit(struct kvmi_guest *g, u32 reason, u32 event, u32 seq)
{
	struct kvm_run *r = g->vcpu->run;

	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	TEST_ASSERT_EQ(r->introspection.reason, reason);
	TEST_ASSERT_EQ(r->introspection.event, event);
	TEST_ASSERT_EQ(r->introspection.seq, seq);
	TEST_ASSERT_EQ(r->introspection.pad, 0);
	r->exit_reason = KVM_EXIT_UNKNOWN;
}

/* Until KVM_RUN is done for another reason than that the tool is late */
static void run_past_timeouts(struct kvmi_guest *g)
{
	struct kvm_run *r = g->vcpu->run;

	for (;;) {
		while (kvmi_run_is_going(&g->r))
			usleep(1000);
		if (r->exit_reason != KVM_EXIT_INTROSPECTION)
			return;
		TEST_ASSERT_EQ(r->introspection.reason,
			       KVM_INTROSPECTION_EXIT_TIMEOUT);
		kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
		r->exit_reason = KVM_EXIT_UNKNOWN;
		run(g);
	}
}

static bool has_event(struct kvmi_session *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };

	return s->nr_queued || poll(&pfd, 1, 0) == 1;
}

static void start(struct kvmi_guest *g, u16 event, struct kvmi_event *ev)
{
	kvmi_guest_start(g, event, ev);
	/* Nobody is there at times, and who is gets messages at any time. */
	g->r.s = NULL;
}

FIXTURE(kvmi_timeout) {
	struct kvmi_guest g;
	struct kvmi_event ev;
};

FIXTURE_SETUP(kvmi_timeout)
{
	struct kvmi_guest *g = &self->g;

	create_guest(g);
}

FIXTURE_TEARDOWN(kvmi_timeout)
{
	kvmi_guest_free(&self->g);
}

static void hook_timeout(struct kvmi_guest *g, u32 timeout, u32 max_timeout,
			 u32 on_timeout)
{
	kvmi_hook_with(&g->s, g->vm, (struct kvm_introspection_hook) {
		.timeout = timeout,
		.max_timeout = max_timeout,
		.on_timeout = on_timeout,
	});
}

static u64 stat(struct kvmi_guest *g, const char *name)
{
	u64 value;

	kvm_get_stat(&g->vcpu->stats, name, &value, 1);
	return value;
}

static void expect_alive(struct kvmi_session *s)
{
	struct kvmi_vm_get_features_reply features;

	kvmi_get_features(s, &features);
}

/* The guest goes on, and the answer that comes too late is no breach of the protocol. */
KVMI_TEST(kvmi_timeout, allow)
{
	struct kvmi_guest *g = &self->g;

	hook_timeout(g, 200, 0, KVM_INTROSPECTION_ALLOW);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(stat(g, "introspection_timeouts"), 1);
	TEST_ASSERT_EQ(stat(g, "introspection_late_answers"), 0);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_CRASH);
	expect_alive(&g->s);
	TEST_ASSERT_EQ(stat(g, "introspection_late_answers"), 1);

	/* It has told nobody else anything, and the next event is as any. */
	kvmi_guest_reset(g);
	run(g);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* What the tool has set is for an answer of its own. */
KVMI_TEST(kvmi_timeout, registers_are_dropped)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;

	hook_timeout(g, 500, 0, KVM_INTROSPECTION_ALLOW);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	regs = self->ev.common.arch.regs;
	regs.rax = ~regs.rax;
	regs.rsi = ~regs.rsi;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_guest_stop_normally(g);
}

/* The tool is still busy with the last event when the next one is there already. */
KVMI_TEST(kvmi_timeout, registers_after_the_time)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event next;
	struct kvm_regs regs;

	kvmi_guest_code(g, CPUID CPUID);
	hook_timeout(g, 2000, 0, KVM_INTROSPECTION_ALLOW);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &next);
	regs = self->ev.common.arch.regs;
	regs.rsi = 0xbad;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), -KVM_EOPNOTSUPP);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);

	/* From here on it is about that one. */
	regs = next.common.arch.regs;
	regs.rdi = 0x600d;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &next, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.regs.rdi, 0x600d);
	TEST_ASSERT_EQ(g->state.regs.rsi, g->start.regs.rsi);
	TEST_ASSERT_EQ(stat(g, "introspection_late_answers"), 1);
}

/* Nor are they refused for ever if the tool does not answer the last one at all. */
KVMI_TEST(kvmi_timeout, answer_left_out)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;

	kvmi_guest_code(g, CPUID CPUID CPUID);
	hook_timeout(g, 2000, 0, KVM_INTROSPECTION_ALLOW);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &self->ev);
	regs = self->ev.common.arch.regs;
	regs.rdi = 0x600d;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.regs.rdi, 0x600d);
	TEST_ASSERT_EQ(stat(g, "introspection_timeouts"), 1);
}

/* An answer to what was never asked is one. */
KVMI_TEST(kvmi_timeout, answer_to_nothing)
{
	struct kvmi_guest *g = &self->g;

	hook_timeout(g, 200, 0, KVM_INTROSPECTION_ALLOW);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_guest_stop_normally(g);
	self->ev.hdr.seq++;
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_expect_closed(&g->s);
}

/* KVM_RUN returns the same whenever it is called. */
static void expect_dead(struct _test_data_kvmi_timeout *self)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < 3; i++) {
		expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT, KVMI_VCPU_EVENT_CPUID,
			    self->ev.hdr.seq);
		run(g);
	}
	expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT, KVMI_VCPU_EVENT_CPUID,
		    self->ev.hdr.seq);
}

/* Userspace has the tool take as long as it wants. */
KVMI_TEST(kvmi_timeout, stop)
{
	struct kvmi_guest *g = &self->g;
	int i;

	hook_timeout(g, 200, 0, KVM_INTROSPECTION_STOP);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	for (i = 0; i < 3; i++) {
		expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT, KVMI_VCPU_EVENT_CPUID,
			    self->ev.hdr.seq);
		run(g);
	}
	/* The event is still open.  A late answer it may be, between two exits. */
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	run_past_timeouts(g);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_timeout, stop_then_unhook)
{
	struct kvmi_guest *g = &self->g;

	hook_timeout(g, 200, 0, KVM_INTROSPECTION_STOP);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT, KVMI_VCPU_EVENT_CPUID,
		    self->ev.hdr.seq);
	kvmi_unhook(&g->s);
	run(g);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_timeout, crash)
{
	struct kvmi_guest *g = &self->g;

	hook_timeout(g, 200, 0, KVM_INTROSPECTION_CRASH);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	expect_dead(self);
	/* Too late */
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	expect_alive(&g->s);
	run(g);
	expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT, KVMI_VCPU_EVENT_CPUID,
		    self->ev.hdr.seq);
	kvmi_unhook(&g->s);
	run(g);
	kvmi_guest_stop_normally(g);
}

/* A tool that works on a vCPU takes longer, but not for ever. */
static void renew(struct _test_data_kvmi_timeout *self, u32 on_timeout)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_guest *g = &self->g;
	struct timespec begin, now;
	u32 seq;

	hook_timeout(g, 1500, 5000, on_timeout);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (kvmi_run_is_going(&g->r)) {
		seq = kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
		usleep(100000);
		if (!kvmi_run_is_going(&g->r))
			break;
		TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_GET_INFO, seq,
						 &info, sizeof(info)), 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* It can take longer than the limit, but never less. */
	TEST_ASSERT(now.tv_sec - begin.tv_sec >= 4, "It took %lu s",
		    now.tv_sec - begin.tv_sec);
}

KVMI_TEST(kvmi_timeout, renewed)
{
	struct kvmi_guest *g = &self->g;

	renew(self, KVM_INTROSPECTION_STOP);
	expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT, KVMI_VCPU_EVENT_CPUID,
		    self->ev.hdr.seq);
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
	run(g);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_timeout, renewed_allow)
{
	struct kvmi_guest *g = &self->g;

	renew(self, KVM_INTROSPECTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(stat(g, "introspection_timeouts"), 1);
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
}

KVMI_TEST(kvmi_timeout, renewed_crash)
{
	struct kvmi_guest *g = &self->g;

	renew(self, KVM_INTROSPECTION_CRASH);
	expect_dead(self);
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
}

/* Rules, of which each command waits for all vCPUs */
#define MAX_SETS	2000

/* What the tool has sent in time counts, also if KVM takes long to get to it. */
KVMI_TEST(kvmi_timeout, reply_behind_commands)
{
	const struct kvmi_vm_set_rules rules = { .event = KVMI_VCPU_EVENT_CPUID };
	const u64 timeout = 250;
	static struct kvmi_batch batch;
	struct kvmi_guest *g = &self->g;
	struct {
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply reply;
	} skip = {
		.reply.action = KVMI_EVENT_ACTION_SKIP,
		.reply.event = KVMI_VCPU_EVENT_CPUID,
	};
	struct timespec begin, now;
	u64 us, i, nr;

	hook_timeout(g, timeout, 0, KVM_INTROSPECTION_ALLOW);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (i = 0; i < 10; i++)
		TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_SET_RULES, &rules,
					  sizeof(rules), NULL, 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (now.tv_sec - begin.tv_sec) * 1000000 +
	     (now.tv_nsec - begin.tv_nsec) / 1000;
	/* Twice the time that the tool has */
	nr = 2 * timeout * 1000 * 10 / us;
	if (!nr || nr > MAX_SETS)
		SKIP(return, "A command takes %lu us", us / 10);

	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	for (i = 0; i < nr; i++)
		kvmi_batch_add(&batch, KVMI_VM_SET_RULES, i, &rules, sizeof(rules));
	kvmi_batch_add(&batch, KVMI_VCPU_EVENT, self->ev.hdr.seq, &skip, sizeof(skip));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	kvmi_send(&g->s, batch.data, batch.size);
	for (i = 0; i < nr; i++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VM_SET_RULES, i, NULL, 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (now.tv_sec - begin.tv_sec) * 1000000 +
	     (now.tv_nsec - begin.tv_nsec) / 1000;
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	if (us < timeout * 1000 || us > (timeout + 900) * 1000)
		SKIP(return, "The commands took %lu us", us);
	/* CPUID was skipped. */
	TEST_ASSERT_EQ(stat(g, "introspection_timeouts"), 0);
	TEST_ASSERT_EQ(stat(g, "introspection_late_answers"), 0);
}

/* Signals do not give the tool more time in KVM_RUN. */
KVMI_TEST(kvmi_timeout, signals)
{
	struct kvmi_guest *g = &self->g;

	hook_timeout(g, 1000, 0, KVM_INTROSPECTION_ALLOW);
	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	for (;;) {
		kvmi_run_signal(&g->r);
		kvmi_run_wait(&g->r);
		if (!g->r.ret)
			break;
		TEST_ASSERT_EQ(g->r.err, EINTR);
		run(g);
		usleep(50000);
	}
	TEST_ASSERT_EQ(g->vcpu->run->exit_reason, KVM_EXIT_IO);
	TEST_ASSERT_EQ(stat(g, "introspection_timeouts"), 1);
}

/* What the VMM does between two KVM_RUNs is not the tool's fault. */
FIXTURE(kvmi_timeout_away) {
	struct kvmi_guest g;
	struct kvmi_event ev;
};

FIXTURE_VARIANT(kvmi_timeout_away) {
	u32 max_timeout;
	u32 on_timeout;
};

FIXTURE_VARIANT_ADD(kvmi_timeout_away, allow) {
	.on_timeout = KVM_INTROSPECTION_ALLOW,
};

FIXTURE_VARIANT_ADD(kvmi_timeout_away, stop) {
	.on_timeout = KVM_INTROSPECTION_STOP,
};

FIXTURE_VARIANT_ADD(kvmi_timeout_away, crash) {
	.on_timeout = KVM_INTROSPECTION_CRASH,
};

FIXTURE_VARIANT_ADD(kvmi_timeout_away, max) {
	.max_timeout = 1500,
	.on_timeout = KVM_INTROSPECTION_CRASH,
};

FIXTURE_SETUP(kvmi_timeout_away)
{
	struct kvmi_guest *g = &self->g;

	create_guest(g);
	hook_timeout(g, 1500, variant->max_timeout, variant->on_timeout);
}

FIXTURE_TEARDOWN(kvmi_timeout_away)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_timeout_away, commands_are_run)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_guest *g = &self->g;
	u32 seq;
	int i;

	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	for (i = 0; i < 2; i++) {
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		/* The second time the tool does nothing meanwhile. */
		if (!i)
			seq = kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
		usleep(2000000);
		run(g);
		if (!i) {
			TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_GET_INFO,
							 seq, &info, sizeof(info)), 0);
		}
	}
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
	TEST_ASSERT_EQ(stat(g, "introspection_timeouts"), 0);
}

/* A tool that does not read what there is for it */
FIXTURE(kvmi_timeout_full) {
	struct kvmi_guest g;
	struct kvmi_event ev;
};

FIXTURE_VARIANT(kvmi_timeout_full) {
	u32 on_timeout;
};

FIXTURE_VARIANT_ADD(kvmi_timeout_full, allow) {
	.on_timeout = KVM_INTROSPECTION_ALLOW,
};

FIXTURE_VARIANT_ADD(kvmi_timeout_full, stop) {
	.on_timeout = KVM_INTROSPECTION_STOP,
};

FIXTURE_VARIANT_ADD(kvmi_timeout_full, crash) {
	.on_timeout = KVM_INTROSPECTION_CRASH,
};

FIXTURE_SETUP(kvmi_timeout_full)
{
	struct kvmi_guest *g = &self->g;

	create_guest(g);
	hook_timeout(g, 200, 0, variant->on_timeout);
}

FIXTURE_TEARDOWN(kvmi_timeout_full)
{
	kvmi_guest_free(&self->g);
}

#define NR_REQUESTS	120

/* Ask for more than the socket takes, but for no more than may wait to be asked. */
static void fill_socket(struct kvmi_session *s, u32 *seq)
{
	struct kvmi_vm_read_physical req = { .gpa = 0, .size = 4096 };
	int i, before;

	for (i = 0; i < NR_REQUESTS; i++)
		seq[i] = kvmi_send_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req));
	do {
		before = kvmi_bytes_to_read(s);
		usleep(200000);
	} while (kvmi_bytes_to_read(s) != before);
	TEST_ASSERT(before < NR_REQUESTS * 4096, "All of it was sent");
}

static void empty_socket(struct kvmi_session *s, const u32 *seq)
{
	u8 data[4096];
	int i;

	for (i = 0; i < NR_REQUESTS; i++) {
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VM_READ_PHYSICAL, seq[i], data,
						 sizeof(data)), 0);
	}
}

KVMI_TEST(kvmi_timeout_full, event)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;
	u32 seq[NR_REQUESTS];
	int i;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	/* It is asked when there is no room any more. */
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &pause, KVMI_EVENT_ACTION_ALLOW);
	fill_socket(&g->s, seq);
	g->r.s = NULL;
	run(g);

	switch (variant->on_timeout) {
	case KVM_INTROSPECTION_ALLOW:
		kvmi_guest_stop_normally(g);
		break;
	case KVM_INTROSPECTION_STOP:
		for (i = 0; i < 3; i++) {
			expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT,
				    KVMI_VCPU_EVENT_CPUID, 0);
			run(g);
		}
		/* It reads after all. */
		empty_socket(&g->s, seq);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &self->ev);
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
		run_past_timeouts(g);
		kvmi_guest_stop_normally(g);
		break;
	case KVM_INTROSPECTION_CRASH:
		for (i = 0; i < 3; i++) {
			expect_exit(g, KVM_INTROSPECTION_EXIT_TIMEOUT,
				    KVMI_VCPU_EVENT_CPUID, 0);
			run(g);
		}
		kvmi_run_wait(&g->r);
		break;
	}
	TEST_ASSERT(stat(g, "introspection_timeouts") > 0, "No time was over");
	/* Nobody waits for what is still in the socket. */
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
}

FIXTURE(kvmi_loss) {
	struct kvmi_guest g;
	struct kvmi_event ev;
	int eventfd;
};

FIXTURE_VARIANT(kvmi_loss) {
	const char *code;
	u16 event;
};

FIXTURE_VARIANT_ADD(kvmi_loss, cpuid) {
	.code = CPUID,
	.event = KVMI_VCPU_EVENT_CPUID,
};

FIXTURE_VARIANT_ADD(kvmi_loss, pf) {
	.code = WRITE,
	.event = KVMI_VCPU_EVENT_PF,
};

FIXTURE_VARIANT_ADD(kvmi_loss, trap) {
	/* UD2 */
	.code = "\x0f\x0b",
	.event = KVMI_VCPU_EVENT_TRAP,
};

static void hook_loss(struct _test_data_kvmi_loss *self, u16 event)
{
	self->eventfd = eventfd(0, EFD_NONBLOCK);
	TEST_ASSERT(self->eventfd >= 0, "eventfd()");
	kvmi_hook_with(&self->g.s, self->g.vm, (struct kvm_introspection_hook) {
		.on_loss = KVM_INTROSPECTION_STOP,
		.eventfd = self->eventfd,
	});
	if (event == KVMI_VCPU_EVENT_PF)
		kvmi_guest_restrict(&self->g, KVMI_GUEST_DATA, RX);
}

FIXTURE_SETUP(kvmi_loss)
{
	struct kvmi_guest *g = &self->g;

	if (variant->event == KVMI_VCPU_EVENT_PF && !kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = 0x5a;
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));
	kvmi_guest_run_normally(g);
	hook_loss(self, variant->event);
}

FIXTURE_TEARDOWN(kvmi_loss)
{
	if (!self->g.vm)
		return;
	kvmi_guest_free(&self->g);
	close(self->eventfd);
}

static bool told(struct _test_data_kvmi_loss *self)
{
	u64 count;

	return read(self->eventfd, &count, sizeof(count)) == sizeof(count);
}

static void wait_told(struct _test_data_kvmi_loss *self)
{
	struct pollfd pfd = { .fd = self->eventfd, .events = POLLIN };

	TEST_ASSERT(poll(&pfd, 1, KVMI_TIMEOUT * 1000) == 1 && told(self),
		    "Nobody is told");
}

/* The guest does not get anywhere. */
static void expect_lost(struct _test_data_kvmi_loss *self, u16 event)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < 3; i++) {
		expect_exit(g, KVM_INTROSPECTION_EXIT_LOST, event, 0);
		run(g);
	}
	expect_exit(g, KVM_INTROSPECTION_EXIT_LOST, event, 0);
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, KVMI_GUEST_DATA),
		       g->start.mem[KVMI_GUEST_DATA]);
}

/* It is asked about again, by a number of its own. */
static void expect_asked(struct _test_data_kvmi_loss *self, u16 event)
{
	struct kvmi_guest *g = &self->g;
	u32 seq = self->ev.hdr.seq;

	kvmi_attach(&g->s, g->vm);
	run(g);
	kvmi_wait_event(&g->s, event, &self->ev);
	TEST_ASSERT(self->ev.hdr.seq != seq, "The number was used before");
}

static void end_asked(struct _test_data_kvmi_loss *self, u16 event)
{
	struct kvmi_guest *g = &self->g;

	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_loss, while_it_is_asked)
{
	struct kvmi_guest *g = &self->g;

	start(g, variant->event, &self->ev);
	TEST_ASSERT(!told(self), "It is not lost yet");
	kvmi_close(&g->s);
	wait_told(self);
	expect_lost(self, variant->event);
	expect_asked(self, variant->event);
	end_asked(self, variant->event);
	TEST_ASSERT(!told(self), "It is back");
}

KVMI_TEST(kvmi_loss, before_it_is_asked)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, variant->event, 1), 0);
	kvmi_reply(&g->s, &pause, KVMI_EVENT_ACTION_ALLOW);
	g->r.s = NULL;
	kvmi_close(&g->s);
	wait_told(self);
	expect_lost(self, variant->event);
	expect_asked(self, variant->event);
	end_asked(self, variant->event);
}

/* Who breaks the protocol is lost, too. */
KVMI_TEST(kvmi_loss, garbage)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event wrong;

	start(g, variant->event, &self->ev);
	wrong = self->ev;
	wrong.hdr.seq += 1000;
	kvmi_reply(&g->s, &wrong, KVMI_EVENT_ACTION_ALLOW);
	wait_told(self);
	expect_lost(self, variant->event);
	kvmi_close(&g->s);
	expect_asked(self, variant->event);
	end_asked(self, variant->event);
}

KVMI_TEST(kvmi_loss, unhook)
{
	struct kvmi_guest *g = &self->g;

	start(g, variant->event, &self->ev);
	kvmi_close(&g->s);
	expect_lost(self, variant->event);
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	run(g);
	kvmi_guest_stop_normally(g);
}

/* Who only talks, and does not listen, is lost as well. */
KVMI_TEST(kvmi_loss, half_closed)
{
	struct kvmi_msg_hdr hdrs[64] = { };
	struct kvmi_guest *g = &self->g;
	time_t end;
	int i;

	for (i = 0; i < 64; i++)
		hdrs[i].id = KVMI_GET_VERSION;
	start(g, variant->event, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_RETRY);
	TEST_ASSERT(!shutdown(g->s.fd, SHUT_RD), "shutdown()");
	end = time(NULL) + KVMI_TIMEOUT;
	while (!told(self)) {
		(void)!send(g->s.fd, hdrs, sizeof(hdrs), MSG_NOSIGNAL | MSG_DONTWAIT);
		TEST_ASSERT(time(NULL) < end, "Nobody is told");
	}
	kvmi_close(&g->s);
	expect_lost(self, variant->event);
	expect_asked(self, variant->event);
	end_asked(self, variant->event);
}

/* What the event is about is refused by a rule, for as long as nobody replaces that. */
static void refuse_by_rule(struct kvmi_session *s, u16 event)
{
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rule;
	} req = {
		.hdr = { .event = event, .count = 1 },
		.rule = { .verdict = KVMI_RULE_SKIP },
	};

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, &req, sizeof(req), NULL, 0), 0);
}

KVMI_TEST(kvmi_loss, rule_decides)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	if (variant->event == KVMI_VCPU_EVENT_TRAP)
		SKIP(return, "An exception cannot be skipped");

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, variant->event, 1), 0);
	refuse_by_rule(&g->s, variant->event);
	kvmi_reply(&g->s, &pause, KVMI_EVENT_ACTION_ALLOW);
	g->r.s = NULL;
	kvmi_close(&g->s);
	wait_told(self);
	kvmi_guest_stop_unchanged(g);
}

/* Nothing is lost that is unhooked. */
KVMI_TEST(kvmi_loss, nobody_is_told_of_unhooking)
{
	struct kvmi_guest *g = &self->g;

	start(g, variant->event, &self->ev);
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT(!told(self), "It is unhooked");
}

/* A crash is reported whatever becomes of the session, and then the vCPU is the VMM's. */
KVMI_TEST(kvmi_loss, crash_and_unhook)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < 50; i++) {
		start(g, variant->event, &self->ev);
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_CRASH);
		usleep(i % 5 * 50);
		TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
		kvmi_close(&g->s);
		expect_exit(g, KVM_INTROSPECTION_EXIT_CRASH, variant->event,
			    self->ev.hdr.seq);

		run(g);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
		close(self->eventfd);
		hook_loss(self, variant->event);
	}
}

/* Return false if this thread cannot have a CPU for itself. */
static bool set_policy(int policy)
{
	struct sched_param param = {
		.sched_priority = policy == SCHED_FIFO,
	};

	return !sched_setscheduler(0, policy, &param);
}

/* Nor does a signal come before it: KVM_RUN has the answer when it sees the signal. */
KVMI_TEST(kvmi_loss, crash_and_signal)
{
	struct kvmi_guest *g = &self->g;
	cpu_set_t cpus;
	bool alone;
	int i;

	/* Threads that begin from here on have the same CPU. */
	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(cpus), &cpus), "sched_setaffinity()");
	for (i = 0; i < 10; i++) {
		start(g, variant->event, &self->ev);
		/* Until it waits */
		usleep(20000);
		alone = set_policy(SCHED_FIFO);
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_CRASH);
		kvmi_run_signal(&g->r);
		if (!alone) {
			kvmi_run_wait(&g->r);
			SKIP(return, "Needs real-time scheduling");
		}
		set_policy(SCHED_OTHER);
		expect_exit(g, KVM_INTROSPECTION_EXIT_CRASH, variant->event,
			    self->ev.hdr.seq);

		/* It is over with the session. */
		TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
		kvmi_close(&g->s);
		kvmi_guest_reset(g);
		run(g);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
		close(self->eventfd);
		hook_loss(self, variant->event);
	}
}

/* Its last word */
KVMI_TEST(kvmi_loss, answered)
{
	struct kvmi_guest *g = &self->g;

	start(g, variant->event, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
	wait_told(self);
}

/* The next tool is not given an answer to the last one's questions. */
KVMI_TEST(kvmi_loss, replies_are_dropped)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_guest *g = &self->g;
	u32 seq;

	start(g, variant->event, &self->ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_VIEW, NULL, 0);
	kvmi_close(&g->s);
	wait_told(self);
	kvmi_attach(&g->s, g->vm);
	seq = kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	run(g);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_GET_INFO, seq, &info,
					 sizeof(info)), 0);
	kvmi_wait_event(&g->s, variant->event, &self->ev);
	end_asked(self, variant->event);
}

/* Nor can it answer a question that it has not been asked. */
KVMI_TEST(kvmi_loss, old_number)
{
	struct kvmi_guest *g = &self->g;

	start(g, variant->event, &self->ev);
	kvmi_close(&g->s);
	expect_lost(self, variant->event);
	kvmi_attach(&g->s, g->vm);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_expect_closed(&g->s);
	run(g);
	expect_lost(self, variant->event);
}

KVMI_TEST(kvmi_loss, many_times)
{
	struct kvmi_guest *g = &self->g;
	int i;

	start(g, variant->event, &self->ev);
	for (i = 0; i < 50; i++) {
		kvmi_close(&g->s);
		wait_told(self);
		/* The vCPU may find the next tool before it has noticed. */
		kvmi_attach(&g->s, g->vm);
		if (!kvmi_run_is_going(&g->r)) {
			expect_exit(g, KVM_INTROSPECTION_EXIT_LOST, variant->event, 0);
			run(g);
		}
		while (!has_event(&g->s)) {
			if (kvmi_run_is_going(&g->r))
				continue;
			expect_exit(g, KVM_INTROSPECTION_EXIT_LOST, variant->event, 0);
			run(g);
		}
		kvmi_wait_event(&g->s, variant->event, &self->ev);
	}
	end_asked(self, variant->event);
}

/* Without STOP the guest goes on in between, and the next tool is asked from then on. */
FIXTURE(kvmi_loss_allow) {
	struct kvmi_guest g;
	struct kvmi_event ev;
};

FIXTURE_SETUP(kvmi_loss_allow)
{
	create_guest(&self->g);
	kvmi_hook(&self->g.s, self->g.vm);
}

FIXTURE_TEARDOWN(kvmi_loss_allow)
{
	kvmi_guest_free(&self->g);
}

/* Not even a rule refuses anything then. */
KVMI_TEST(kvmi_loss_allow, rule)
{
	struct kvmi_guest *g = &self->g;
	int lost = eventfd(0, 0);
	u64 count;

	TEST_ASSERT(lost >= 0, "eventfd()");
	kvmi_unhook(&g->s);
	kvmi_hook_with(&g->s, g->vm, (struct kvm_introspection_hook) {
		.on_loss = KVM_INTROSPECTION_ALLOW,
		.eventfd = lost,
	});
	refuse_by_rule(&g->s, KVMI_VCPU_EVENT_CPUID);
	kvmi_guest_park(g, &self->ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	g->r.s = NULL;
	kvmi_guest_stop_unchanged(g);

	kvmi_close(&g->s);
	TEST_ASSERT_EQ(read(lost, &count, sizeof(count)), sizeof(count));
	kvmi_guest_reset(g);
	run(g);
	kvmi_guest_stop_normally(g);
	close(lost);
}

KVMI_TEST(kvmi_loss_allow, attach)
{
	struct kvmi_guest *g = &self->g;

	start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
	kvmi_guest_reset(g);
	run(g);
	kvmi_guest_stop_normally(g);

	kvmi_attach(&g->s, g->vm);
	kvmi_guest_reset(g);
	run(g);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* What is not of an instruction is not forgotten, either. */
FIXTURE(kvmi_loss_of) {
	struct _test_data_kvmi_loss l;
};

FIXTURE_SETUP(kvmi_loss_of)
{
	struct kvmi_guest *g = &self->l.g;

	create_guest(g);
	hook_loss(&self->l, KVMI_VCPU_EVENT_CPUID);
}

FIXTURE_TEARDOWN(kvmi_loss_of)
{
	kvmi_guest_free(&self->l.g);
	close(self->l.eventfd);
}

KVMI_TEST(kvmi_loss_of, open_pause)
{
	struct _test_data_kvmi_loss *l = &self->l;

	kvmi_guest_park(&l->g, &l->ev);
	l->g.r.s = NULL;
	kvmi_close(&l->g.s);
	expect_lost(l, KVMI_VCPU_EVENT_PAUSE);
	expect_asked(l, KVMI_VCPU_EVENT_PAUSE);
	end_asked(l, KVMI_VCPU_EVENT_PAUSE);
}

KVMI_TEST(kvmi_loss_of, owed_pause)
{
	struct _test_data_kvmi_loss *l = &self->l;

	TEST_ASSERT_KVMI(kvmi_pause(&l->g.s, 0, 0), 0);
	kvmi_close(&l->g.s);
	wait_told(l);
	run(&l->g);
	expect_lost(l, KVMI_VCPU_EVENT_PAUSE);
	expect_asked(l, KVMI_VCPU_EVENT_PAUSE);
	end_asked(l, KVMI_VCPU_EVENT_PAUSE);
}

/* As the documentation has it */
#define MAX_PAUSES	1001

/* The limit is one for the next tool as well, with that which was open. */
KVMI_TEST(kvmi_loss_of, too_many_pauses)
{
	struct _test_data_kvmi_loss *l = &self->l;
	struct kvmi_guest *g = &l->g;
	int i;

	kvmi_guest_park(g, &l->ev);
	g->r.s = NULL;
	for (i = 0; i < MAX_PAUSES; i++)
		TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), -KVM_EBUSY);
	kvmi_close(&g->s);
	expect_lost(l, KVMI_VCPU_EVENT_PAUSE);

	kvmi_attach(&g->s, g->vm);
	for (i = 0; i < 3; i++)
		TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), -KVM_EBUSY);
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
	run(g);
	kvmi_guest_stop_normally(g);
}

/* An instruction that is over cannot raise its event again. */
KVMI_TEST(kvmi_loss_of, open_step)
{
	struct kvmi_vcpu_control_singlestep step = { .enable = 1 };
	struct _test_data_kvmi_loss *l = &self->l;
	struct kvmi_session *s = &l->g.s;
	u64 rip;
	int ret;

	kvmi_guest_park(&l->g, &l->ev);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_SINGLESTEP, 1), 0);
	ret = kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &step, sizeof(step),
			    NULL, 0);
	if (ret == -KVM_EOPNOTSUPP)
		SKIP(return, "No single-stepping here");
	TEST_ASSERT_KVMI(ret, 0);
	kvmi_unpark(s, &l->ev);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_SINGLESTEP, &l->ev);
	rip = l->ev.common.arch.regs.rip;
	l->g.r.s = NULL;
	kvmi_run_signal(&l->g.r);
	kvmi_run_wait_eintr(&l->g.r);
	kvmi_close(s);
	wait_told(l);
	run(&l->g);
	expect_lost(l, KVMI_VCPU_EVENT_SINGLESTEP);
	expect_asked(l, KVMI_VCPU_EVENT_SINGLESTEP);
	TEST_ASSERT_EQ(l->ev.common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(__kvmi_unhook(l->g.vm), 0);
	kvmi_close(s);
	kvmi_guest_stop_normally(&l->g);
}

/* All that the tool has chosen is in force for the next one, which can see it. */
KVMI_TEST(kvmi_loss_of, all_stays)
{
	struct _test_data_kvmi_loss *l = &self->l;
	struct kvmi_vcpu_get_control_reply before, after;
	struct kvmi_session *s = &l->g.s;
	u8 access;
	u16 view;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_park(&l->g, &l->ev);
	view = kvmi_new_view(s, 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, KVMI_GUEST_DATA, 1, RX), 0);
	TEST_ASSERT_KVMI(kvmi_set_view(s, 0, view), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_LSTAR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_CONTROL, NULL, 0, &before,
				       sizeof(before)), 0);
	l->g.r.s = NULL;
	kvmi_close(s);
	expect_lost(l, KVMI_VCPU_EVENT_PAUSE);
	expect_asked(l, KVMI_VCPU_EVENT_PAUSE);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_CONTROL, NULL, 0, &after,
				       sizeof(after)), 0);
	TEST_ASSERT(!memcmp(&before, &after, sizeof(before)), "Another choice");
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), view);
	TEST_ASSERT_KVMI(kvmi_get_page_access(s, view, KVMI_GUEST_DATA, &access), 0);
	TEST_ASSERT_EQ(access, RX);
	end_asked(l, KVMI_VCPU_EVENT_PAUSE);
}

KVMI_TEST(kvmi_loss_of, attach_errors)
{
	struct kvm_introspection_attach attach = { .flags = 1 };
	struct _test_data_kvmi_loss *l = &self->l;
	struct kvm_vm *vm = l->g.vm;
	int fds[2];

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");
	TEST_ASSERT_ERRNO(__kvmi_attach(vm, fds[0]), EBUSY);
	TEST_ASSERT_ERRNO(__kvmi_attach(vm, -1), EINVAL);
	attach.fd = fds[0];
	TEST_ASSERT_ERRNO(__vm_ioctl(vm, KVM_INTROSPECTION_ATTACH, &attach), EINVAL);
	TEST_ASSERT_ERRNO(ioctl(vm->fd, KVM_INTROSPECTION_ATTACH, NULL), EFAULT);
	expect_alive(&l->g.s);

	kvmi_close(&l->g.s);
	wait_told(l);
	TEST_ASSERT_ERRNO(__kvmi_attach(vm, vm->fd), EINVAL);
	TEST_ASSERT_EQ(__kvmi_attach(vm, fds[0]), 0);
	TEST_ASSERT_ERRNO(__kvmi_attach(vm, fds[0]), EBUSY);
	TEST_ASSERT_EQ(__kvmi_unhook(vm), 0);
	TEST_ASSERT_ERRNO(__kvmi_attach(vm, fds[0]), ENOTCONN);
	close(fds[0]);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
