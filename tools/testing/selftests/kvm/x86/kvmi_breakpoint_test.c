// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_BREAKPOINT
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define KVMI_INSN_FIXTURE	kvmi_breakpoint
#define KVMI_INSN_EVENT		KVMI_VCPU_EVENT_BREAKPOINT

#define INT3	"\xcc"
/* An instruction as long, the effect of which can be seen */
#define STC	"\xf9"

#define KVMI_GUEST_FIXTURE	kvmi_breakpoint
#include "kvmi_guest_modes.h"

static int guest_debug(struct kvmi_guest *g, u32 control)
{
	struct kvm_guest_debug debug = { .control = control };

	return __vcpu_ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &debug);
}

#define DEBUG_SW_BP	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP)

FIXTURE_SETUP(kvmi_breakpoint)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	kvmi_guest_create_with_lapic(g, variant->mode);
	kvmi_guest_count_nmis(g);
	kvmi_guest_code(g, INT3);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, KVMI_GUEST_CODE + 1);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->breakpoint.gpa, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->breakpoint.insn_len, 1);
}

/* The guest's handler returns to where the instruction ends. */
static void stop_allowed(struct kvmi_guest *g)
{
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 1);
	TEST_ASSERT(!g->frame.has_error_code, "#BP has an error code");
}

#include "kvmi_insn_tests.h"

KVMI_TEST(kvmi_breakpoint, allow_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	regs = kvmi_insn_other_regs(g);
	start(g, &ev);
	kvmi_insn_set(g, regs, KVMI_GUEST_HANDLERS);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), BP_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 1);
	TEST_ASSERT_EQ(g->frame.rflags & X86_EFLAGS_CF, X86_EFLAGS_CF);
	TEST_ASSERT_EQ(g->state.regs.rax, regs.rax);
	TEST_ASSERT_EQ(g->state.regs.rdi, regs.rdi);
}

/* A tool that puts breakpoints into the guest takes them out like this. */
KVMI_TEST(kvmi_breakpoint, retry_with_the_byte_restored)
{
	struct {
		struct kvmi_vm_write_physical req;
		u8 data[1];
	} cmd = {
		.req.gpa = KVMI_GUEST_CODE,
		.req.size = 1,
		.data = { STC[0] },
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_WRITE_PHYSICAL, &cmd,
				  sizeof(cmd.req) + 1, NULL, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	g->start.mem[KVMI_GUEST_CODE] = STC[0];
	g->start.regs.rflags |= X86_EFLAGS_CF;
	kvmi_guest_stop_unchanged(g);
}

/* A longer instruction: the event has its length, SKIP and #BP its end. */
static void prefix(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_code(g, "\x66" INT3);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, KVMI_GUEST_CODE + 2);

	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->breakpoint.insn_len, 2);
}

KVMI_TEST(kvmi_breakpoint, prefix_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	prefix(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_breakpoint, prefix_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	prefix(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* INT with a vector of 3 is no breakpoint. */
KVMI_TEST(kvmi_breakpoint, int_3_is_not_reported)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_code(g, "\xcd\x03");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT,
					    1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* Nor are other exceptions. */
KVMI_TEST(kvmi_breakpoint, ud_is_not_reported)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_code(g, "\x0f\x0b");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, UD_VECTOR);

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT,
					    1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* Every one of a row */
KVMI_TEST(kvmi_breakpoint, row)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	kvmi_guest_code(g, INT3 INT3 INT3 STC);
	start(g, &ev);
	for (i = 1; i < 3; i++) {
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + i);
		TEST_ASSERT_EQ(ev.breakpoint.gpa, KVMI_GUEST_CODE + i);
	}
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs.rflags |= X86_EFLAGS_CF;
	kvmi_guest_stop_unchanged(g);
}

/* The physical address is that of the instruction, wherever it is mapped. */
KVMI_TEST(kvmi_breakpoint, gpa)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 rip;

	if (kvmi_guest_is_real(g)) {
		rip = KVMI_GUEST_CODE - KVMI_GUEST_DATA;
		g->start.sregs.cs.base = KVMI_GUEST_DATA;
		g->start.sregs.cs.selector = KVMI_GUEST_DATA >> 4;
	} else {
		rip = KVMI_GUEST_UNMAPPED;
		kvmi_guest_map(g, g->start.mem, rip, KVMI_GUEST_CODE,
			       KVMI_GUEST_PTE);
	}
	g->start.regs.rip = rip;
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);

	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev.breakpoint.gpa, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(g->frame.rip, rip + 1);
}

/*
 * VM exits while the #BP is delivered, as the page tables of KVM are empty, do
 * not lose it to the NMI that has come meanwhile.
 */
static void stop_with_nmi(struct kvmi_guest *g)
{
	TEST_ASSERT_EQ(kvmi_guest_stop(g), BP_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 1);
	TEST_ASSERT_EQ(g->state.mem[KVMI_GUEST_DATA], 1);
}

KVMI_TEST(kvmi_breakpoint, allow_with_nmi)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_guest_send_nmi(g);
	kvmi_guest_zap(g);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_nmi(g);
}

/* The same without introspection */
KVMI_TEST(kvmi_breakpoint, userspace_with_nmi)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_EQ(guest_debug(g, DEBUG_SW_BP), 0);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
	kvmi_guest_send_nmi(g);
	kvmi_guest_zap(g);
	TEST_ASSERT_EQ(guest_debug(g, DEBUG_SW_BP | KVM_GUESTDBG_INJECT_BP), 0);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	stop_with_nmi(g);
}

/* Breakpoints have one owner: the tool or userspace, whoever comes first. */
FIXTURE(kvmi_breakpoint_owner) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_breakpoint_owner)
{
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
	kvmi_guest_code(&self->g, INT3);
	kvmi_guest_run_normally(&self->g);
}

FIXTURE_TEARDOWN(kvmi_breakpoint_owner)
{
	kvmi_guest_free(&self->g);
}

static int control(struct kvmi_guest *g, u8 enable)
{
	return kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT, enable);
}

KVMI_TEST(kvmi_breakpoint_owner, nobody)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 0), -KVM_EBUSY);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	TEST_ASSERT_KVMI(control(g, 1), -KVM_EBUSY);
	TEST_ASSERT_KVMI(control(g, 0), 0);
	TEST_ASSERT_KVMI(control(g, 0), -KVM_EBUSY);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_breakpoint_owner, userspace)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	TEST_ASSERT_EQ(guest_debug(g, DEBUG_SW_BP), 0);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 1), -KVM_EBUSY);
	TEST_ASSERT_KVMI(control(g, 0), -KVM_EBUSY);
	kvmi_unpark(&g->s, &pause);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.exception, BP_VECTOR);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.pc, KVMI_GUEST_CODE);

	/* After it let go of them */
	TEST_ASSERT_EQ(guest_debug(g, 0), 0);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &pause);
	kvmi_reply(&g->s, &pause, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_breakpoint_owner, tool)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_ERRNO(guest_debug(g, DEBUG_SW_BP), EBUSY);

	/* It has not changed anything. */
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_KVMI(control(g, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);

	/* After it let go of them */
	kvmi_guest_reset(g);
	TEST_ASSERT_EQ(guest_debug(g, DEBUG_SW_BP), 0);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
	TEST_ASSERT_EQ(guest_debug(g, 0), 0);
}

KVMI_TEST(kvmi_breakpoint_owner, tool_until_unhook)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	kvmi_unhook(&g->s);
	g->s.vm = NULL;
	TEST_ASSERT_EQ(guest_debug(g, DEBUG_SW_BP), 0);
}

/* Userspace may have the debug registers nevertheless. */
KVMI_TEST(kvmi_breakpoint_owner, debug_registers)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg[0] = KVMI_GUEST_CODE + 1,
		.arch.debugreg[7] = 0x401,
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(__vcpu_ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);

	/* INT3 is the tool's, what follows is userspace's. */
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.exception, DB_VECTOR);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.pc, KVMI_GUEST_CODE + 1);
	TEST_ASSERT_EQ(guest_debug(g, 0), 0);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
