// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what an answer is worth
 *
 * One that was given counts, whoever has gone since.  One that is kept, as a
 * signal came first, is for the question that was asked.
 */
#include <poll.h>
#include <sys/socket.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define ROUNDS	20

#define CPUID	"\x0f\xa2"
#define NOPS	"\x90\x90"
#define UD2	"\x0f\x0b"

/* What no guest has in R15 by itself */
#define R15	0x1357

struct question {
	u16 event;
	u8 code[4];
	/* Registers that the instruction takes its operands from */
	u64 rax;
	u64 rcx;
	/* The answer, which is not what happens without one */
	u8 action;
	u64 new_val;
	/* It says where to go on, which takes a command before. */
	bool moves_rip;
	bool vmx_only;
};

FIXTURE(kvmi_answer) {
	struct kvmi_guest g;
	struct kvmi_event ev;
};

FIXTURE_VARIANT(kvmi_answer) {
	struct question q;
};

FIXTURE_VARIANT_ADD(kvmi_answer, cr) {
	.q = {
		.event = KVMI_VCPU_EVENT_CR,
		/* MOV CR4, RAX */
		.code = "\x0f\x22\xe0",
		.rax = X86_CR4_PAE | X86_CR4_PSE,
		.action = KVMI_EVENT_ACTION_ALLOW,
		.new_val = X86_CR4_PAE | X86_CR4_MCE,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, msr) {
	.q = {
		.event = KVMI_VCPU_EVENT_MSR,
		/* WRMSR */
		.code = "\x0f\x30",
		.rax = 0x11,
		.rcx = MSR_IA32_SYSENTER_CS,
		.action = KVMI_EVENT_ACTION_ALLOW,
		.new_val = 0x22,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, cpuid) {
	.q = {
		.event = KVMI_VCPU_EVENT_CPUID,
		.code = CPUID,
		.action = KVMI_EVENT_ACTION_SKIP,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, descriptor) {
	.q = {
		.event = KVMI_VCPU_EVENT_DESCRIPTOR,
		/* SGDT [RDI] */
		.code = "\x0f\x01\x07",
		.action = KVMI_EVENT_ACTION_SKIP,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, int3) {
	.q = {
		.event = KVMI_VCPU_EVENT_BREAKPOINT,
		.code = "\xcc",
		.action = KVMI_EVENT_ACTION_SKIP,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, trap) {
	.q = {
		.event = KVMI_VCPU_EVENT_TRAP,
		.code = UD2,
		.action = KVMI_EVENT_ACTION_RETRY,
		.moves_rip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, pf) {
	.q = {
		.event = KVMI_VCPU_EVENT_PF,
		/* MOV [RDI], AL */
		.code = "\x88\x07",
		.rax = 0x5a,
		.action = KVMI_EVENT_ACTION_SKIP,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, pf_retry) {
	.q = {
		.event = KVMI_VCPU_EVENT_PF,
		.code = "\x88\x07",
		.rax = 0x5a,
		.action = KVMI_EVENT_ACTION_RETRY,
		.moves_rip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_answer, xsetbv) {
	.q = {
		.event = KVMI_VCPU_EVENT_XSETBV,
		.code = "\x0f\x01\xd1",
		.rax = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
		.action = KVMI_EVENT_ACTION_SKIP,
		.vmx_only = true,
	},
};

FIXTURE_SETUP(kvmi_answer)
{
	const struct question *q = &variant->q;
	struct kvmi_guest *g = &self->g;

	if (q->vmx_only && !host_cpu_is_intel)
		SKIP(return, "The (emulated) processor does not intercept it");
	if (q->event == KVMI_VCPU_EVENT_BREAKPOINT &&
	    !kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");
	if (q->event == KVMI_VCPU_EVENT_PF && !kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = q->rax;
	g->start.regs.rcx = q->rcx;
	if (q->event == KVMI_VCPU_EVENT_XSETBV) {
		if (!vcpu_cpuid_has(g->vcpu, X86_FEATURE_XSAVE))
			SKIP(return, "Needs XSAVE");
		g->start.sregs.cr4 |= X86_CR4_OSXSAVE;
	}
	__kvmi_guest_code(g, q->code, strlen((char *)q->code));
	kvmi_guest_run_normally(g);
}

FIXTURE_TEARDOWN(kvmi_answer)
{
	if (!self->g.vm)
		return;
	kvmi_guest_free(&self->g);
}

/* Begin anew, and wait for the question. */
static void ask(struct _test_data_kvmi_answer *self, const struct question *q)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_session *s = &g->s;
	struct kvmi_event pause;

	kvmi_guest_reset(g);
	if (q->event == KVMI_VCPU_EVENT_MSR)
		vcpu_set_msr(g->vcpu, (u32)q->rcx, 0);

	kvmi_guest_park(g, &pause);
	if (q->event == KVMI_VCPU_EVENT_CR)
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	if (q->event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, q->rcx, 1), 0);
	if (q->event == KVMI_VCPU_EVENT_PF)
		kvmi_guest_restrict(g, KVMI_GUEST_DATA,
				    KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, q->event, 1), 0);
	kvmi_unpark(s, &pause);
	kvmi_wait_event(s, q->event, &self->ev);
}

/* Messages that are sent at once */
struct batch {
	u8 data[4 * KVMI_MAX_MSG_SIZE];
	size_t size;
};

static void add(struct batch *b, const void *data, size_t size)
{
	TEST_ASSERT(b->size + size <= sizeof(b->data), "Too many messages");
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
}

static void add_command(struct batch *b, u16 id, const void *req, size_t size)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vcpu_hdr vcpu;
	} hdr = {
		.hdr = { .id = id, .size = sizeof(hdr.vcpu) + size, },
	};

	add(b, &hdr, sizeof(hdr));
	add(b, req, size);
}

static void add_reply(struct batch *b, const struct kvmi_event *ev, u8 action,
		      u64 new_val)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply rpl;
		u64 new_val;
	} msg = {
		.hdr.id = KVMI_VCPU_EVENT,
		.hdr.size = sizeof(msg.vcpu) + sizeof(msg.rpl),
		.hdr.seq = ev->hdr.seq,
		.rpl.action = action,
		.rpl.event = ev->ev.event,
		.new_val = new_val,
	};

	if (new_val)
		msg.hdr.size += sizeof(msg.new_val);
	add(b, &msg, sizeof(msg.hdr) + msg.hdr.size);
}

/* The answer, with commands before it or without */
static void answer(struct _test_data_kvmi_answer *self, const struct question *q,
		   bool commands)
{
	struct kvmi_vcpu_control_events off = { .event_id = q->event };
	struct kvm_regs regs = self->ev.common.arch.regs;
	struct kvmi_guest *g = &self->g;
	struct batch b = {};
	int i;

	if (commands) {
		/* Whatever their answers are, nobody is there to read them. */
		for (i = 0; i < 8; i++)
			add_command(&b, KVMI_VCPU_GET_INFO, NULL, 0);
		regs.r15 = R15;
	}
	if (q->moves_rip)
		regs.rip = g->end;
	if (commands || q->moves_rip)
		add_command(&b, KVMI_VCPU_SET_REGISTERS, &regs, sizeof(regs));
	if (commands)
		add_command(&b, KVMI_VCPU_CONTROL_EVENTS, &off, sizeof(off));
	add_reply(&b, &self->ev, q->action, q->new_val);
	kvmi_send(&g->s, b.data, b.size);
}

/* The tool goes away.  Nothing depends on it, but the kernel will have noticed. */
static void hangup(struct kvmi_guest *g)
{
	kvmi_close(&g->s);
	usleep(20000);
}

/* The thread may not be in KVM_RUN yet: try until it is. */
static void interrupt(struct kvmi_guest *g)
{
	do {
		kvmi_run_signal(&g->r);
	} while (kvmi_run_is_going(&g->r));
	kvmi_run_wait_eintr(&g->r);
}

/* The guest is at its end, as the answer wants it. */
static void check(struct _test_data_kvmi_answer *self, const struct question *q,
		  bool commands)
{
	struct kvmi_guest_state wanted = self->g.start;
	struct kvmi_guest *g = &self->g;
	int vector;

	g->r.s = NULL;
	vector = kvmi_guest_stop(g);
	TEST_ASSERT(vector == KVMI_GUEST_NO_EXCEPTION, "Exception %d", vector);
	wanted.regs.rip = g->end;
	if (commands)
		wanted.regs.r15 = R15;
	if (q->event == KVMI_VCPU_EVENT_CR)
		wanted.sregs.cr4 = q->new_val;
	if (q->event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, q->rcx), q->new_val);
	kvmi_guest_compare(&g->state, &wanted);
}

static void end_session(struct kvmi_guest *g)
{
	TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
	kvmi_close(&g->s);
	g->s.vm = NULL;
}

static void close_behind(struct _test_data_kvmi_answer *self,
			 const struct question *q, bool commands)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, q);
		answer(self, q, commands);
		kvmi_close(&g->s);
		check(self, q, commands);
		end_session(g);
	}
}

KVMI_TEST(kvmi_answer, then_close)
{
	close_behind(self, &variant->q, false);
}

KVMI_TEST(kvmi_answer, then_close_with_commands)
{
	close_behind(self, &variant->q, true);
}

/* The VMM unhooks as soon as it sees the hangup, or without. */
static void unhook_behind(struct _test_data_kvmi_answer *self,
			  const struct question *q, bool commands)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, q);
		answer(self, q, commands);
		if (i & 1)
			kvmi_close(&g->s);
		end_session(g);
		check(self, q, commands);
	}
}

KVMI_TEST(kvmi_answer, then_unhook)
{
	unhook_behind(self, &variant->q, false);
}

KVMI_TEST(kvmi_answer, then_unhook_with_commands)
{
	unhook_behind(self, &variant->q, true);
}

/* The tool says that it has nothing more to say, then reads to the end. */
KVMI_TEST(kvmi_answer, then_half_close)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, &variant->q);
		answer(self, &variant->q, false);
		shutdown(g->s.fd, SHUT_WR);
		check(self, &variant->q, false);
		end_session(g);
	}
}

/* Or it says that it wants to hear no more: then nothing can be sent to it. */
KVMI_TEST(kvmi_answer, after_half_close)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, &variant->q);
		shutdown(g->s.fd, SHUT_RD);
		answer(self, &variant->q, true);
		close(g->s.fd);
		g->s.fd = -1;
		check(self, &variant->q, true);
		end_session(g);
	}
}

static void signal_and_close(struct _test_data_kvmi_answer *self,
			     const struct question *q, bool commands)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, q);
		interrupt(g);
		answer(self, q, commands);
		hangup(g);
		kvmi_run_start(&g->r, NULL, g->vcpu);
		check(self, q, commands);
		end_session(g);
	}
}

KVMI_TEST(kvmi_answer, signal_then_close)
{
	signal_and_close(self, &variant->q, false);
}

static void expect_crashed(struct kvmi_guest *g)
{
	int i;

	for (i = 0; i < 3; i++) {
		kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
		g->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&g->r, NULL, g->vcpu);
	}
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
}

KVMI_TEST(kvmi_answer, crash_then_close)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, &variant->q);
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_CRASH);
		kvmi_close(&g->s);
		g->r.s = NULL;
		expect_crashed(g);
		end_session(g);
	}
}

KVMI_TEST(kvmi_answer, signal_then_crash_then_close)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ask(self, &variant->q);
		interrupt(g);
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_CRASH);
		hangup(g);
		kvmi_run_start(&g->r, NULL, g->vcpu);
		expect_crashed(g);
		end_session(g);
	}
}

/* CRASH is for the vCPU, whatever its guest does next. */
KVMI_TEST(kvmi_answer, crash_needs_no_match)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;

	ask(self, &variant->q);
	interrupt(g);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_CRASH);
	vcpu_regs_get(g->vcpu, &regs);
	regs.rip = g->end;
	vcpu_regs_set(g->vcpu, &regs);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	expect_crashed(g);
	end_session(g);
}

/* A guest of which one instruction is asked about */
FIXTURE(kvmi_kept) {
	struct kvmi_guest g;
	struct kvmi_event ev;
};

FIXTURE_SETUP(kvmi_kept)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_guest_code(g, CPUID);
	kvmi_guest_run_normally(g);
}

FIXTURE_TEARDOWN(kvmi_kept)
{
	kvmi_guest_free(&self->g);
}

/* Answer SKIP to the question about CPUID after a signal. */
static void keep_answer(struct _test_data_kvmi_kept *self)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	interrupt(g);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
}

static void run(struct kvmi_guest *g)
{
	kvmi_run_start(&g->r, &g->s, g->vcpu);
}

static void expect_used(struct kvmi_guest *g)
{
	kvmi_guest_stop_unchanged(g);
}

static void expect_question(struct _test_data_kvmi_kept *self)
{
	struct kvmi_guest *g = &self->g;
	u32 seq = self->ev.hdr.seq;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &self->ev);
	TEST_ASSERT(self->ev.hdr.seq != seq, "The number was used before");
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop(g);
}

KVMI_TEST(kvmi_kept, same)
{
	keep_answer(self);
	run(&self->g);
	expect_used(&self->g);
}

/* Another process with the same registers, at the same address */
KVMI_TEST(kvmi_kept, other_cr3)
{
	struct kvm_sregs sregs;

	keep_answer(self);
	vcpu_sregs_get(self->g.vcpu, &sregs);
	/* PCD: the same page tables by another name */
	sregs.cr3 ^= BIT(4);
	vcpu_sregs_set(self->g.vcpu, &sregs);
	run(&self->g);
	expect_question(self);
	TEST_ASSERT_EQ(self->ev.common.arch.sregs.cr3, sregs.cr3);
}

KVMI_TEST(kvmi_kept, other_cpl)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	keep_answer(self);
	vcpu_sregs_get(self->g.vcpu, &sregs);
	sregs.cs.dpl = 3;
	sregs.cs.selector |= 3;
	sregs.ss.dpl = 3;
	sregs.ss.selector |= 3;
	vcpu_sregs_set(self->g.vcpu, &sregs);
	run(&self->g);
	kvmi_wait_event(&self->g.s, KVMI_VCPU_EVENT_CPUID, &self->ev);
	regs = self->ev.common.arch.regs;
	/* For the OUT at the end */
	regs.rflags |= 3 * X86_EFLAGS_IOPL;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->g.s, 0, &regs), 0);
	kvmi_reply(&self->g.s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(&self->g), KVMI_GUEST_NO_EXCEPTION);
}

/* SMM, with the same memory */
KVMI_TEST(kvmi_kept, other_address_space)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;
	struct kvmi_event ev;

	if (vm_check_cap(g->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "No address space for SMM");

	vm_set_user_memory_region(g->vm, 1 << 16, 0, 0, KVMI_GUEST_MEM_SIZE,
				  addr_gpa2hva(g->vm, 0));
	keep_answer(self);
	vcpu_events_get(g->vcpu, &events);
	events.flags = KVM_VCPUEVENT_VALID_SMM;
	events.smi.smm = 1;
	vcpu_events_set(g->vcpu, &events);
	ev = self->ev;
	run(g);
	expect_question(self);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, self->ev.common.arch.regs.rip);
	TEST_ASSERT_EQ(ev.common.arch.as_id, 0);
	TEST_ASSERT_EQ(self->ev.common.arch.as_id, 1);

	events.smi.smm = 0;
	vcpu_events_set(g->vcpu, &events);
	vm_set_user_memory_region(g->vm, 1 << 16, 0, 0, 0, NULL);
}

/* The MSR runs by itself: the question is the same with another old value. */
KVMI_TEST(kvmi_kept, other_old_value)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause, ev;
	int i;

	g->start.regs.rcx = MSR_IA32_TSC;
	kvmi_guest_code(g, "\x0f\x30");
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_msr(&g->s, 0, MSR_IA32_TSC, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_MSR, &ev);
	/* More than once */
	for (i = 0; i < 3; i++) {
		interrupt(g);
		run(g);
	}
	interrupt(g);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(g);
	expect_used(g);
}

static void send_command(struct _test_data_kvmi_kept *self, u16 id,
			 const void *req, size_t size)
{
	if (id & 1)
		kvmi_send_vcpu_cmd(&self->g.s, 0, id, req, size);
	else
		TEST_ASSERT_KVMI(kvmi_cmd(&self->g.s, id, req, size, NULL, 0), 0);
}

/*
 * The tool thinks again, and is asked again.  A command to the vCPU waits for
 * KVM_RUN, but was sent all the same.
 */
static void think_again(struct _test_data_kvmi_kept *self, u16 id,
			const void *req, size_t size, size_t rpl_size)
{
	u8 rpl[64];
	u32 seq;

	keep_answer(self);
	send_command(self, id, req, size);
	seq = self->g.s.seq;
	/* KVM has seen what was sent before. */
	TEST_ASSERT_KVMI(kvmi_check_command(&self->g.s, KVMI_GET_VERSION), 0);
	run(&self->g);
	if (id & 1)
		TEST_ASSERT_KVMI(kvmi_recv_reply(&self->g.s, id, seq, rpl, rpl_size),
				 0);
	expect_question(self);
}

static bool has_message(struct kvmi_session *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/*
 * Two questions of one instruction: SGDT to a page that cannot be written.  It ends, even if
 * a signal comes whenever one of them is open.  @signals: which events, a bitmap
 */
static void ask_twice(struct _test_data_kvmi_kept *self, u64 signals)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event *ev = &self->ev;
	struct kvmi_msg msg;
	int questions = 0;
	u64 asked = 0;

	/* SGDT [RDI] */
	kvmi_guest_code(g, "\x0f\x01\x07");
	kvmi_guest_run_normally(g);
	kvmi_guest_reset(g);
	kvmi_guest_park(g, ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_DESCRIPTOR, 1),
			 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_guest_restrict(g, KVMI_GUEST_DATA,
			    KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X);
	kvmi_unpark(&g->s, ev);
	for (;;) {
		/* Until KVM_RUN returns because of the end */
		while (kvmi_run_is_going(&g->r) && !has_message(&g->s))
			usleep(1000);
		if (!has_message(&g->s))
			break;
		kvmi_recv(&g->s, &msg);
		kvmi_parse_event(&msg, ev);
		asked |= BIT_ULL(ev->ev.event);
		TEST_ASSERT(++questions < 10, "The instruction does not end");
		if (signals & BIT_ULL(ev->ev.event))
			interrupt(g);
		kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
		if (signals & BIT_ULL(ev->ev.event))
			run(g);
	}
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(asked, BIT_ULL(KVMI_VCPU_EVENT_DESCRIPTOR) |
			      BIT_ULL(KVMI_VCPU_EVENT_PF));
	TEST_ASSERT(!memcmp(g->state.mem + KVMI_GUEST_DATA,
			    g->normal.mem + KVMI_GUEST_DATA, 10), "Nothing was written");
}

KVMI_TEST(kvmi_kept, two_events)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	ask_twice(self, 0);
}

KVMI_TEST(kvmi_kept, two_events_signal_in_first)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	ask_twice(self, BIT_ULL(KVMI_VCPU_EVENT_DESCRIPTOR));
}

KVMI_TEST(kvmi_kept, two_events_signal_in_second)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	ask_twice(self, BIT_ULL(KVMI_VCPU_EVENT_PF));
}

KVMI_TEST(kvmi_kept, two_events_signal_in_both)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	ask_twice(self, BIT_ULL(KVMI_VCPU_EVENT_DESCRIPTOR) |
			BIT_ULL(KVMI_VCPU_EVENT_PF));
}

KVMI_TEST(kvmi_kept, control_events)
{
	struct kvmi_vcpu_control_events req = {
		.event_id = KVMI_VCPU_EVENT_CR,
		.enable = 1,
	};

	think_again(self, KVMI_VCPU_CONTROL_EVENTS, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, control_event_set)
{
	struct kvmi_vcpu_control_event_set req = {
		.enable = BIT_ULL(KVMI_VCPU_EVENT_CR),
	};

	think_again(self, KVMI_VCPU_CONTROL_EVENT_SET, &req, sizeof(req),
		    sizeof(struct kvmi_vcpu_control_event_set_reply));
}

KVMI_TEST(kvmi_kept, control_cr)
{
	struct kvmi_vcpu_control_cr req = { .cr = 3, .enable = 1 };

	think_again(self, KVMI_VCPU_CONTROL_CR, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, control_msr)
{
	struct kvmi_vcpu_control_msr req = { .msr = MSR_LSTAR, .enable = 1 };

	think_again(self, KVMI_VCPU_CONTROL_MSR, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, set_view)
{
	struct kvmi_vcpu_set_view req = { .view = 0 };

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	think_again(self, KVMI_VCPU_SET_VIEW, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, set_debugregs)
{
	struct kvmi_vcpu_debugregs req = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };

	think_again(self, KVMI_VCPU_SET_DEBUGREGS, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, control_vm_events)
{
	struct kvmi_vm_control_events req = {
		.event_id = KVMI_VCPU_EVENT_CREATE_VCPU,
		.enable = 1,
	};

	think_again(self, KVMI_VM_CONTROL_EVENTS, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, set_page_access)
{
	struct {
		struct kvmi_vm_set_page_access hdr;
		struct kvmi_page_access_entry entry;
	} req = {
		.hdr.count = 1,
		.entry.gpa = KVMI_GUEST_DATA,
		.entry.access = KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X,
	};

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	think_again(self, KVMI_VM_SET_PAGE_ACCESS, &req, sizeof(req), 0);
}

KVMI_TEST(kvmi_kept, change_gfn)
{
	struct kvmi_vm_change_gfn req = {
		.gfn = KVMI_GUEST_DATA / 4096,
		.new_gfn = KVMI_GUEST_USER_STACK / 4096,
	};

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	think_again(self, KVMI_VM_CHANGE_GFN, &req, sizeof(req), 0);
}

/* What was decided before the answer was known when it was given. */
KVMI_TEST(kvmi_kept, control_before)
{
	struct kvmi_vcpu_control_cr req = { .cr = 3, .enable = 1 };
	struct kvmi_guest *g = &self->g;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, &self->ev);
	interrupt(g);
	kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_CR, &req, sizeof(req));
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	run(g);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_CONTROL_CR, g->s.seq,
					 NULL, 0), 0);
	expect_used(g);
}

/* Nor is a question a decision. */
KVMI_TEST(kvmi_kept, get_registers)
{
	struct kvmi_vcpu_get_registers req = {};
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvmi_guest *g = &self->g;
	u32 seq;

	keep_answer(self);
	seq = kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_REGISTERS, &req,
				 sizeof(req));
	/* With the answer used KVM_RUN ends: the command has to be there before. */
	TEST_ASSERT_KVMI(kvmi_check_command(&g->s, KVMI_GET_VERSION), 0);
	run(g);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_GET_REGISTERS, seq,
					 &rpl, sizeof(rpl)), 0);
	expect_used(g);
}

/* An exception that the tool is asked about while it is pending */
static void keep_trap(struct _test_data_kvmi_kept *self, u8 action)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;

	kvmi_guest_code(g, UD2);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_TRAP, &self->ev);
	TEST_ASSERT_EQ(self->ev.trap.nr, UD_VECTOR);
	interrupt(g);
	/* Without KVM_CAP_EXCEPTION_PAYLOAD pending is injected to the VMM. */
	vcpu_events_get(g->vcpu, &events);
	TEST_ASSERT_EQ(events.exception.injected, 1);
	vcpu_events_set(g->vcpu, &events);
	kvmi_reply(&g->s, &self->ev, action);
}

KVMI_TEST(kvmi_kept, trap_retry)
{
	struct kvmi_guest *g = &self->g;

	keep_trap(self, KVMI_EVENT_ACTION_RETRY);
	memcpy(addr_gpa2hva(g->vm, KVMI_GUEST_CODE), NOPS, 2);
	memcpy(g->start.mem + KVMI_GUEST_CODE, NOPS, 2);
	run(g);
	expect_used(g);
}

KVMI_TEST(kvmi_kept, trap_allow)
{
	keep_trap(self, KVMI_EVENT_ACTION_ALLOW);
	run(&self->g);
	TEST_ASSERT_EQ(kvmi_guest_stop(&self->g), UD_VECTOR);
}

KVMI_TEST(kvmi_kept, trap_crash)
{
	struct kvmi_guest *g = &self->g;

	keep_trap(self, KVMI_EVENT_ACTION_CRASH);
	run(g);
	expect_crashed(g);
}

/* With what the VMM does DR6 has changed, and there is no more to say. */
KVMI_TEST(kvmi_kept, trap_of_db)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;

	g->start.regs.rflags |= X86_EFLAGS_TF;
	kvmi_guest_code(g, NOPS);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_TRAP, &self->ev);
	TEST_ASSERT_EQ(self->ev.trap.nr, DB_VECTOR);
	TEST_ASSERT(self->ev.trap.address, "Nothing is added to DR6");
	interrupt(g);
	vcpu_events_get(g->vcpu, &events);
	TEST_ASSERT_EQ(events.exception.injected, 1);
	vcpu_events_set(g->vcpu, &events);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	run(g);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
}

/* The VMM has the guest take another one. */
KVMI_TEST(kvmi_kept, trap_of_another_exception)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;

	keep_trap(self, KVMI_EVENT_ACTION_RETRY);
	vcpu_events_get(g->vcpu, &events);
	events.exception.nr = NM_VECTOR;
	vcpu_events_set(g->vcpu, &events);
	run(g);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &self->ev);
	TEST_ASSERT_EQ(self->ev.trap.nr, NM_VECTOR);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), NM_VECTOR);
}

/* What the tool has asked for before it went away is done. */
FIXTURE(kvmi_last_words) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_last_words)
{
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
	kvmi_guest_code(&self->g, NOPS);
}

FIXTURE_TEARDOWN(kvmi_last_words)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_last_words, command_then_close)
{
	struct kvmi_vcpu_inject_exception req = { .nr = UD_VECTOR };
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		kvmi_guest_reset(g);
		kvmi_hook(&g->s, g->vm);
		kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_INJECT_EXCEPTION, &req,
				   sizeof(req));
		/* It is waiting for KVM_RUN when this is answered. */
		TEST_ASSERT_KVMI(kvmi_check_command(&g->s, KVMI_VCPU_GET_INFO), 0);
		hangup(g);
		kvmi_run_start(&g->r, NULL, g->vcpu);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), UD_VECTOR);
		end_session(g);
	}
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
