// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: an instruction that is allowed or skipped is over
 *
 * With all that the end of an instruction means: the trap of RFLAGS.TF, the step of
 * userspace, the end of the shadow of an STI or MOV SS.
 */
#include <pthread.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_triggers.h"

#define DR6_BS		BIT(14)

#define KVMI_GUEST_FIXTURE	kvmi_skip
#include "kvmi_guest_modes.h"

FIXTURE_SETUP(kvmi_skip)
{
	kvmi_guest_create(&self->g, variant->mode);
	kvmi_hook(&self->g.s, self->g.vm);
}

/* Is it an event about an instruction? */
static bool is_instruction(struct kvmi_guest *g, enum kvmi_trigger_id n)
{
	return kvmi_triggers[n].actions & KVMI_CAN_SKIP &&
	       kvmi_trigger_is_possible(g, n);
}

static u64 end_of(u64 rip, enum kvmi_trigger_id n)
{
	return rip + kvmi_triggers[n].size;
}

/* One trap, right behind the instruction */
static void expect_trap(struct kvmi_guest *g, u64 rip)
{
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, rip);
	TEST_ASSERT(g->frame.rflags & X86_EFLAGS_TF, "TF is not what was pushed");
	TEST_ASSERT(g->state.debugregs.dr6 & DR6_BS, "Not a trap of TF");
}

static void trap(struct kvmi_guest *g, u8 action)
{
	enum kvmi_trigger_id n;
	struct kvmi_event ev;
	u64 rip;

	g->start.regs.rflags |= X86_EFLAGS_TF;
	for (n = 0; n < KVMI_NR_TRIGGERS; n++) {
		if (!is_instruction(g, n))
			continue;

		rip = kvmi_trigger_load(g, n, KVMI_NO_SHADOW);
		kvmi_trigger_start(g, n, &ev);
		kvmi_trigger_control(g, n, 0);
		kvmi_reply(&g->s, &ev, action);
		if (n == KVMI_BY_BREAKPOINT && action == KVMI_EVENT_ACTION_ALLOW) {
			TEST_ASSERT_EQ(kvmi_guest_stop(g), BP_VECTOR);
			continue;
		}
		expect_trap(g, end_of(rip, n));
	}
}

KVMI_TEST(kvmi_skip, trap)
{
	trap(&self->g, KVMI_EVENT_ACTION_SKIP);
}

KVMI_TEST(kvmi_skip, trap_allow)
{
	trap(&self->g, KVMI_EVENT_ACTION_ALLOW);
}

/* An instruction that cannot be executed where it is */
KVMI_TEST(kvmi_skip, trap_fetch)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	g->start.regs.rflags |= X86_EFLAGS_TF;
	kvmi_guest_code(g, "\x90\x90\x90");
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	expect_trap(g, KVMI_GUEST_CODE + 1);
}

/* RFLAGS.RF is for one instruction. */
KVMI_TEST(kvmi_skip, resume_flag)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_trigger_load(g, KVMI_BY_PF, KVMI_NO_SHADOW);
	g->start.regs.rflags |= X86_EFLAGS_RF;
	kvmi_guest_reset(g);
	kvmi_trigger_start(g, KVMI_BY_PF, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs.rflags &= ~X86_EFLAGS_RF;
	kvmi_guest_stop_unchanged(g);
}

static void step(struct kvmi_guest *g, u8 action)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct kvm_guest_debug none = { };
	enum kvmi_trigger_id n;
	struct kvmi_event ev;
	u64 rip;

	for (n = 0; n < KVMI_NR_TRIGGERS; n++) {
		if (!is_instruction(g, n) || n == KVMI_BY_BREAKPOINT)
			continue;

		rip = kvmi_trigger_load(g, n, KVMI_NO_SHADOW);
		vcpu_guest_debug_set(g->vcpu, &debug);
		kvmi_trigger_start(g, n, &ev);
		kvmi_trigger_control(g, n, 0);
		kvmi_reply(&g->s, &ev, action);
		kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
		TEST_ASSERT_EQ(g->vcpu->run->debug.arch.exception, DB_VECTOR);
		TEST_ASSERT_EQ(g->vcpu->run->debug.arch.pc, end_of(rip, n));
		vcpu_guest_debug_set(g->vcpu, &none);
	}
}

KVMI_TEST(kvmi_skip, step)
{
	step(&self->g, KVMI_EVENT_ACTION_SKIP);
}

KVMI_TEST(kvmi_skip, step_allow)
{
	step(&self->g, KVMI_EVENT_ACTION_ALLOW);
}

/* Interrupts are possible again. */
static void shadow(struct kvmi_guest *g, u8 action)
{
	enum kvmi_shadow shadow;
	enum kvmi_trigger_id n;
	struct kvm_regs regs;
	struct kvmi_event ev;
	u64 rip;

	for (n = 0; n < KVMI_NR_TRIGGERS; n++) {
		if (!is_instruction(g, n) ||
		    (n == KVMI_BY_BREAKPOINT && action == KVMI_EVENT_ACTION_ALLOW))
			continue;

		for (shadow = KVMI_STI; shadow < KVMI_NR_SHADOWS; shadow++) {
			g->start.regs.rflags &= ~X86_EFLAGS_IF;
			if (shadow != KVMI_STI)
				g->start.regs.rflags |= X86_EFLAGS_IF;
			rip = kvmi_trigger_load(g, n, shadow);
			kvmi_trigger_start(g, n, &ev);
			kvmi_trigger_control(g, n, 0);
			g->vcpu->run->request_interrupt_window = 1;
			kvmi_reply(&g->s, &ev, action);
			kvmi_run_wait_exit(&g->r, KVM_EXIT_IRQ_WINDOW_OPEN);
			g->vcpu->run->request_interrupt_window = 0;
			vcpu_regs_get(g->vcpu, &regs);
			TEST_ASSERT(regs.rip == end_of(rip, n),
				    "%d: RIP 0x%llx, wanted 0x%lx", n, regs.rip,
				    end_of(rip, n));
		}
	}
}

KVMI_TEST(kvmi_skip, shadow)
{
	shadow(&self->g, KVMI_EVENT_ACTION_SKIP);
}

KVMI_TEST(kvmi_skip, shadow_allow)
{
	shadow(&self->g, KVMI_EVENT_ACTION_ALLOW);
}

/* What KVM's emulator does not know: FADD, and FST to the data page */
#define UNKNOWN_OPCODE	0xd8
#define UNKNOWN_STORE	0x17d9
/* MOV to the data page, from AL */
#define KNOWN_STORE	0x0788

/* A step that begins here says nothing about the instruction that is asked about. */
static void step_for_a_moment(struct kvmi_guest *g)
{
	if (!kvmi_trigger_is_possible(g, KVMI_BY_SINGLESTEP))
		return;

	kvmi_trigger_control(g, KVMI_BY_SINGLESTEP, 1);
	kvmi_trigger_control(g, KVMI_BY_SINGLESTEP, 0);
}

/* Another vCPU overwrites the instruction while the tool is asked about it. */
static void overwrite(struct kvmi_guest *g, u8 action)
{
	enum kvmi_trigger_id n;
	struct kvmi_event ev;
	u64 rip;
	u8 *code;

	for (n = 0; n < KVMI_NR_TRIGGERS; n++) {
		/* With ALLOW of some KVM executes what is there then; PF is below. */
		if (!is_instruction(g, n) || n == KVMI_BY_PF ||
		    (action == KVMI_EVENT_ACTION_ALLOW &&
		     (n == KVMI_BY_BREAKPOINT || n == KVMI_BY_DESCRIPTOR)))
			continue;

		rip = kvmi_trigger_load(g, n, KVMI_NO_SHADOW);
		kvmi_trigger_start(g, n, &ev);
		kvmi_trigger_control(g, n, 0);
		step_for_a_moment(g);
		code = addr_gpa2hva(g->vm, rip);
		WRITE_ONCE(*code, UNKNOWN_OPCODE);
		kvmi_reply(&g->s, &ev, action);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	}
}

KVMI_TEST(kvmi_skip, overwritten)
{
	overwrite(&self->g, KVMI_EVENT_ACTION_SKIP);
}

KVMI_TEST(kvmi_skip, overwritten_allow)
{
	overwrite(&self->g, KVMI_EVENT_ACTION_ALLOW);
}

/* The same with an INT3 that is stepped, which KVM may deliver itself */
KVMI_TEST(kvmi_skip, overwritten_int3)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u8 *code;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_code(g, "\xcc\x90\x90");
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	if (!kvmi_trigger_is_possible(g, KVMI_BY_SINGLESTEP))
		SKIP(return, "Needs single-stepping");
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 1), 0);
	kvmi_unpark(&g->s, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_EQ(ev.breakpoint.insn_len, 1);

	step_for_a_moment(g);
	code = addr_gpa2hva(g->vm, KVMI_GUEST_CODE);
	WRITE_ONCE(*code, UNKNOWN_OPCODE);
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, KVMI_PAGE_ACCESS_RWX);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

struct toggler {
	u16 *code;
	bool stop;
};

static void *toggle(void *arg)
{
	struct toggler *t = arg;

	while (!READ_ONCE(t->stop)) {
		WRITE_ONCE(*t->code, UNKNOWN_STORE);
		WRITE_ONCE(*t->code, KNOWN_STORE);
	}

	return NULL;
}

/* An instruction that is sometimes known, and sometimes not, and writes in any case */
KVMI_TEST(kvmi_skip, toggled)
{
	struct kvmi_guest *g = &self->g;
	struct toggler t = { };
	struct kvmi_event ev;
	pthread_t thread;
	int i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "Needs two CPUs");

	/* MOV [RDI], AL; JMP back to it */
	kvmi_guest_code(g, "\x88\x07\xeb\xfc");
	kvmi_guest_restrict(g, KVMI_GUEST_DATA, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	t.code = addr_gpa2hva(g->vm, KVMI_GUEST_CODE);
	TEST_ASSERT(!pthread_create(&thread, NULL, toggle, &t), "pthread_create() failed");
	for (i = 0; i < 1000; i++) {
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	}
	WRITE_ONCE(t.stop, true);
	pthread_join(thread, NULL);

	/* Have the loop end. */
	memset(t.code + 1, 0x90, 2);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
