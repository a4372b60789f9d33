/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM introspection: tests that are the same for every event about an
 * instruction.
 *
 * To be included once by a test program, after it has defined
 *	KVMI_INSN_FIXTURE	its KVMI_GUEST_FIXTURE() with everything set up
 *	KVMI_INSN_EVENT		the event
 *	start()			have the guest raise the event with its first
 *				instruction, and check the event
 *	stop_allowed()		wait for the guest, as ALLOW should leave it
 */
#ifndef SELFTEST_KVM_KVMI_INSN_TESTS_H
#define SELFTEST_KVM_KVMI_INSN_TESTS_H

#include "kvmi_guest.h"

static void start(struct kvmi_guest *g, struct kvmi_event *ev);
static void stop_allowed(struct kvmi_guest *g);

/* Registers of the guest's width that it does not have by itself */
static inline struct kvm_regs kvmi_insn_other_regs(struct kvmi_guest *g)
{
	u64 high = kvmi_guest_is_64bit(g) ? 0x5a5a5a5a00000000 : 0;
	struct kvm_regs regs = g->start.regs;

	regs.rax = high | 0x11223344;
	regs.rbx = high | 0x55667788;
	regs.rcx = high | 0x99aabbcc;
	regs.rdx = high | 0xddeeff00;
	regs.rsi = high | 0x12345678;
	regs.rdi = high | 0x9abcdef0;
	regs.rbp = high | 0x87654321;
	regs.rflags |= X86_EFLAGS_CF | X86_EFLAGS_ZF;
	return regs;
}

static inline void kvmi_insn_disable(struct kvmi_guest *g)
{
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_INSN_EVENT, 0), 0);
}

static inline void kvmi_insn_set(struct kvmi_guest *g, struct kvm_regs regs,
				 u64 rip)
{
	regs.rip = rip;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
}

KVMI_TEST(KVMI_INSN_FIXTURE, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_allowed(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, allow_with_rip_moved)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_set(g, g->start.regs, KVMI_GUEST_HANDLERS);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_allowed(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, skip_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_HANDLERS);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	start(g, &ev);
	for (i = 0; i < 3; i++) {
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		kvmi_wait_event(&g->s, KVMI_INSN_EVENT, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, g->start.regs.rip);
	}
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_allowed(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, retry_with_rip_moved)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), g->end);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, retry_with_the_event_disabled)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_disable(g);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_guest_crash(g, &ev);
}

KVMI_TEST(KVMI_INSN_FIXTURE, bad_action)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, 4);
	kvmi_expect_closed(&g->s);
	stop_allowed(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_close(&g->s);
	stop_allowed(g);

	/* Nobody is there to be asked from now on. */
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	stop_allowed(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, unhook)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	stop_allowed(g);

	/* The next session does not inherit the event. */
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, not_enabled)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, disabled_again)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_disable(g);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);

	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(KVMI_INSN_FIXTURE, not_allowed)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_EQ(__kvmi_event(g->vm, 0, KVMI_INSN_EVENT), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_INSN_EVENT, 1),
			 -KVM_EPERM);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* The answer arrives while nobody runs the vCPU, and is used once. */
KVMI_TEST(KVMI_INSN_FIXTURE, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_guest_get_state(g, &g->state);
	/* Like a fault, an access that is reported may set it. */
	g->state.regs.rflags &= ~X86_EFLAGS_RF;
	kvmi_guest_compare(&g->state, &g->start);

	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_INSN_EVENT, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);

	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_unchanged(g);

	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_INSN_EVENT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_allowed(g);
}

/* The tool takes its time; the VMM comes back meanwhile. */
KVMI_TEST(KVMI_INSN_FIXTURE, answer_after_signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_CODE);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);

	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

#endif /* SELFTEST_KVM_KVMI_INSN_TESTS_H */
