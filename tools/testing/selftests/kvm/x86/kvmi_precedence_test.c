// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: a tool and userspace that want the same thing of KVM.  Who
 * wins does not depend on who came first.
 */
#include "hyperv.h"
#include "kvmi_guest.h"
#include "kvmi_test_harness.h"

static void control(struct kvmi_session *s, u16 event, u8 enable)
{
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, event, enable), 0);
}

/*
 * Guest debugging: in all of these the tool wants to know about exceptions, and
 * is not told of those that are for userspace.
 */
FIXTURE(kvmi_debug) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_debug) {
	bool tool_first;
};

FIXTURE_VARIANT_ADD(kvmi_debug, tool_first) {
	.tool_first = true,
};

FIXTURE_VARIANT_ADD(kvmi_debug, userspace_first) {
	.tool_first = false,
};

FIXTURE_SETUP(kvmi_debug)
{
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
}

FIXTURE_TEARDOWN(kvmi_debug)
{
	kvmi_guest_free(&self->g);
}

static int set_guest_debug(struct kvmi_guest *g, u32 control, u64 address)
{
	struct kvm_guest_debug debug = {
		.control = control,
	};

	if (control & KVM_GUESTDBG_USE_HW_BP) {
		debug.arch.debugreg[0] = address;
		debug.arch.debugreg[7] = 0x402;
	}
	return __vcpu_ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &debug);
}

static void wait_debug_exit(struct kvmi_guest *g, u32 vector, u64 rip)
{
	kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.exception, vector);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.pc, rip);
}

static void run(struct kvmi_guest *g)
{
	kvmi_run_start(&g->r, &g->s, g->vcpu);
}

/*
 * Have the tool turn on the events, and userspace the debugging, in the order
 * of the variant, then run.
 */
static void start_debug(struct kvmi_guest *g, bool tool_first, u16 event,
			u32 debug, u64 address)
{
	struct kvmi_event pause;

	if (!tool_first)
		TEST_ASSERT_EQ(set_guest_debug(g, debug, address), 0);
	kvmi_guest_park(g, &pause);
	control(&g->s, KVMI_VCPU_EVENT_TRAP, 1);
	if (event == KVMI_VCPU_EVENT_CR)
		TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 4, 1), 0);
	control(&g->s, event, 1);
	if (tool_first) {
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		TEST_ASSERT_EQ(set_guest_debug(g, debug, address), 0);
		run(g);
	}
	kvmi_unpark(&g->s, &pause);
}

/*
 * Does userspace get what it wants without a tool?  Emulators of SVM may neither
 * intercept INT3 as an exception nor load breakpoints on VMRUN.
 */
static bool debug_works(struct kvmi_guest *g, u32 debug, u64 address)
{
	bool works;

	TEST_ASSERT_EQ(set_guest_debug(g, debug, address), 0);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_run_wait(&g->r);
	works = g->vcpu->run->exit_reason == KVM_EXIT_DEBUG;
	TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);
	kvmi_guest_reset(g);
	return works;
}

#define HW_BP	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP)
#define SW_BP	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP)
#define STEP	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP)

#define INT3	"\xcc"
#define NOP	"\x90"

static void start_step_over_cr4(struct kvmi_guest *g, bool tool_first,
				struct kvmi_event *ev)
{
	g->start.regs.rax = g->start.sregs.cr4 ^ X86_CR4_DE;
	/* MOV CR4, RAX */
	kvmi_guest_code(g, "\x0f\x22\xe0" NOP);
	start_debug(g, tool_first, KVMI_VCPU_EVENT_CR, STEP, 0);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
}

static void stop_step_over_cr4(struct kvmi_guest *g, u64 cr4)
{
	wait_debug_exit(g, DB_VECTOR, KVMI_GUEST_CODE + 3);
	TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);
	run(g);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.sregs.cr4, cr4);
}

/* The tool decides about the instruction, userspace has its step. */
KVMI_TEST(kvmi_debug, singlestep_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_step_over_cr4(g, variant->tool_first, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_step_over_cr4(g, g->start.regs.rax);
}

KVMI_TEST(kvmi_debug, singlestep_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_step_over_cr4(g, variant->tool_first, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	stop_step_over_cr4(g, g->start.sregs.cr4);
}

/* The step is over when an instruction is. */
KVMI_TEST(kvmi_debug, singlestep_retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_step_over_cr4(g, variant->tool_first, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_step_over_cr4(g, g->start.regs.rax);
}

KVMI_TEST(kvmi_debug, singlestep_cpuid)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int skip;

	/* CPUID, twice */
	kvmi_guest_code(g, "\x0f\xa2\x0f\xa2" NOP);
	start_debug(g, variant->tool_first, KVMI_VCPU_EVENT_CPUID, STEP, 0);
	for (skip = 0; skip < 2; skip++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
		kvmi_reply(&g->s, &ev, skip ? KVMI_EVENT_ACTION_SKIP :
					      KVMI_EVENT_ACTION_ALLOW);
		wait_debug_exit(g, DB_VECTOR, KVMI_GUEST_CODE + 2 * (skip + 1));
		if (skip)
			TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);
		run(g);
	}
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

KVMI_TEST(kvmi_debug, hw_breakpoint)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, NOP NOP NOP);
	if (!debug_works(g, HW_BP, KVMI_GUEST_CODE + 1))
		SKIP(return, "No hardware breakpoints");

	start_debug(g, variant->tool_first, KVMI_VCPU_EVENT_TRAP, HW_BP,
		    KVMI_GUEST_CODE + 1);
	wait_debug_exit(g, DB_VECTOR, KVMI_GUEST_CODE + 1);

	TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);
	run(g);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* The tool has its INT3, and userspace its hardware breakpoint. */
KVMI_TEST(kvmi_debug, hw_breakpoint_after_int3)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, INT3 NOP NOP);
	if (!debug_works(g, HW_BP, KVMI_GUEST_HANDLERS + BP_VECTOR * 16) ||
	    !debug_works(g, SW_BP, 0))
		SKIP(return, "No breakpoints");

	start_debug(g, variant->tool_first, KVMI_VCPU_EVENT_BREAKPOINT, HW_BP,
		    KVMI_GUEST_CODE + 2);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	wait_debug_exit(g, DB_VECTOR, KVMI_GUEST_CODE + 2);
}

static u64 enabled_events(struct kvmi_session *s)
{
	struct kvmi_vcpu_control_event_set_reply rpl;
	struct kvmi_vcpu_control_event_set set = { };
	int err;

	err = kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_EVENT_SET, &set, sizeof(set),
			    &rpl, sizeof(rpl));
	TEST_ASSERT_KVMI(err, 0);
	return rpl.enabled;
}

/* Software breakpoints have one owner: here the order does matter. */
KVMI_TEST(kvmi_debug, sw_breakpoint_owner)
{
	struct kvmi_vcpu_control_event_set set = {
		.enable = BIT(KVMI_VCPU_EVENT_BREAKPOINT) |
			  BIT(KVMI_VCPU_EVENT_CPUID),
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_code(g, NOP);
	if (!variant->tool_first)
		TEST_ASSERT_EQ(set_guest_debug(g, SW_BP, 0), 0);
	kvmi_guest_park(g, &pause);
	control(&g->s, KVMI_VCPU_EVENT_TRAP, 1);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT,
					    1), variant->tool_first ? 0 : -KVM_EBUSY);
	if (!variant->tool_first) {
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_EVENT_SET,
					       &set, sizeof(set), NULL, 0),
				 -KVM_EBUSY);
		TEST_ASSERT_EQ(enabled_events(&g->s), BIT(KVMI_VCPU_EVENT_TRAP));
		/* It has got nothing that it could give back. */
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0,
						    KVMI_VCPU_EVENT_BREAKPOINT,
						    0), -KVM_EBUSY);
	}
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);

	if (variant->tool_first) {
		TEST_ASSERT_ERRNO(set_guest_debug(g, SW_BP, 0), EBUSY);
		/* Not without ENABLE, and not for anything else */
		TEST_ASSERT_EQ(set_guest_debug(g, KVM_GUESTDBG_USE_SW_BP, 0), 0);
		TEST_ASSERT_EQ(set_guest_debug(g, STEP, 0), 0);
	}
	TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);

	/* The owner changes. */
	run(g);
	control(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, !variant->tool_first);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	if (variant->tool_first)
		TEST_ASSERT_EQ(set_guest_debug(g, SW_BP, 0), 0);
	else
		TEST_ASSERT_ERRNO(set_guest_debug(g, SW_BP, 0), EBUSY);

	kvmi_unpark(&g->s, &pause);
	run(g);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_debug, sw_breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev, pause;

	kvmi_guest_code(g, INT3 NOP);
	if (!debug_works(g, SW_BP, 0))
		SKIP(return, "INT3 is not intercepted");

	if (variant->tool_first) {
		kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(g);

		/* Userspace can give up what it has not got. */
		TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);
		kvmi_guest_reset(g);
		run(g);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(g);

		kvmi_guest_reset(g);
		kvmi_guest_park(g, &pause);
		control(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, 0);
		kvmi_unpark(&g->s, &pause);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), BP_VECTOR);

		kvmi_guest_reset(g);
		TEST_ASSERT_EQ(set_guest_debug(g, SW_BP, 0), 0);
		run(g);
		wait_debug_exit(g, BP_VECTOR, KVMI_GUEST_CODE);
	} else {
		start_debug(g, false, KVMI_VCPU_EVENT_TRAP, SW_BP, 0);
		wait_debug_exit(g, BP_VECTOR, KVMI_GUEST_CODE);

		TEST_ASSERT_EQ(set_guest_debug(g, 0, 0), 0);
		kvmi_guest_park(g, &pause);
		control(&g->s, KVMI_VCPU_EVENT_TRAP, 0);
		control(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, 1);
		kvmi_unpark(&g->s, &pause);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(g);
	}
}

/* The end of the session gives them back, too. */
KVMI_TEST(kvmi_debug, sw_breakpoint_after_unhook)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, INT3 NOP);
	if (!debug_works(g, SW_BP, 0))
		SKIP(return, "INT3 is not intercepted");

	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
	kvmi_unhook(&g->s);
	g->s.vm = NULL;

	kvmi_guest_reset(g);
	TEST_ASSERT_EQ(set_guest_debug(g, SW_BP, 0), 0);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	wait_debug_exit(g, BP_VECTOR, KVMI_GUEST_CODE);
}

/*
 * UMIP, which KVM may emulate with the intercepts that the event DESCRIPTOR
 * uses.  The guest is a user that executes SGDT, and gets its #GP without the
 * tool being asked.
 */
FIXTURE(kvmi_umip) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_umip)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG_USER);
	if (!vcpu_cpuid_has(g->vcpu, X86_FEATURE_UMIP))
		SKIP(return, "KVM has no UMIP");

	g->start.sregs.cr4 |= X86_CR4_UMIP;
	/* SGDT [RDI] */
	kvmi_guest_code(g, "\x0f\x01\x07");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);
}

FIXTURE_TEARDOWN(kvmi_umip)
{
	kvmi_guest_free(&self->g);
}

static void set_umip(struct kvmi_guest *g, bool set)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(g->vcpu, &sregs);
	sregs.cr4 = set ? sregs.cr4 | X86_CR4_UMIP : sregs.cr4 & ~X86_CR4_UMIP;
	vcpu_sregs_set(g->vcpu, &sregs);
}

/* The tool's wish goes, UMIP stays. */
KVMI_TEST(kvmi_umip, umip_first)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	control(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, 1);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	kvmi_guest_park(g, &pause);
	control(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* UMIP comes and goes, the tool's wish stays. */
KVMI_TEST(kvmi_umip, tool_first)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	set_umip(g, false);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);

	for (i = 0; i < 2; i++) {
		kvmi_guest_reset(g);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_guest_stop_normally(g);

		kvmi_guest_reset(g);
		set_umip(g, false);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	}
}

/* Who answers hypercalls that are not the tool's */
enum hypercalls {
	KVM_HYPERCALLS,
	XEN_HYPERCALLS,
	HYPERV_HYPERCALLS,
};

#define XEN_RESULT	0x1234
#define NO_HYPERV_CALL	0xffff

/* One for the tool, one that is not. */
static void guest_code_hypercalls(void)
{
	u64 op = KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT;
	u64 ret;

	for (;; op ^= 1) {
		ret = KVM_HC_XEN_HVM_OP;
		if (host_cpu_is_intel)
			asm volatile("vmcall" : "+a"(ret) : "D"(op), "S"(0ull),
				     "c"((u64)NO_HYPERV_CALL), "d"(0ull),
				     "b"(0ull) : "memory");
		else
			asm volatile("vmmcall" : "+a"(ret) : "D"(op), "S"(0ull),
				     "c"((u64)NO_HYPERV_CALL), "d"(0ull),
				     "b"(0ull) : "memory");
		GUEST_SYNC1(ret);
	}
}

FIXTURE(kvmi_hypercall_owner) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	enum hypercalls owner;
};

FIXTURE_VARIANT(kvmi_hypercall_owner) {
	enum hypercalls owner;
};

FIXTURE_VARIANT_ADD(kvmi_hypercall_owner, kvm) {
	.owner = KVM_HYPERCALLS,
};

FIXTURE_VARIANT_ADD(kvmi_hypercall_owner, xen) {
	.owner = XEN_HYPERCALLS,
};

FIXTURE_VARIANT_ADD(kvmi_hypercall_owner, hyperv) {
	.owner = HYPERV_HYPERCALLS,
};

FIXTURE_SETUP(kvmi_hypercall_owner)
{
	if (variant->owner == XEN_HYPERCALLS &&
	    !(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL))
		SKIP(return, "KVM has no Xen hypercalls");
	if (variant->owner == HYPERV_HYPERCALLS && !kvm_has_cap(KVM_CAP_HYPERV))
		SKIP(return, "KVM has no Hyper-V hypercalls");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code_hypercalls);
	if (variant->owner == HYPERV_HYPERCALLS)
		vcpu_set_hv_cpuid(self->vcpu);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_hypercall_owner)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void turn_on_owner(struct _test_data_kvmi_hypercall_owner *self,
			  enum hypercalls owner)
{
	struct kvm_xen_hvm_config hvmc = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000200,
	};

	self->owner = owner;
	if (owner == XEN_HYPERCALLS)
		vm_ioctl(self->vm, KVM_XEN_HVM_CONFIG, &hvmc);
	else if (owner == HYPERV_HYPERCALLS)
		vcpu_set_msr(self->vcpu, HV_X64_MSR_GUEST_OS_ID, 1);
}

static void start_hypercall(struct _test_data_kvmi_hypercall_owner *self)
{
	kvmi_run_start(&self->r, &self->s, self->vcpu);
}

/* Switch the event before the next hypercall. */
static void start_hypercall_with(struct _test_data_kvmi_hypercall_owner *self, u8 enable)
{
	struct kvmi_event pause;

	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	control(&self->s, KVMI_VCPU_EVENT_HYPERCALL, enable);
	kvmi_unpark(&self->s, &pause);
}

static void tool_answers(struct _test_data_kvmi_hypercall_owner *self)
{
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_HYPERCALL, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0);
}

static void owner_answers(struct _test_data_kvmi_hypercall_owner *self, u64 op)
{
	struct kvm_run *run = self->vcpu->run;
	struct ucall uc;

	if (self->owner == XEN_HYPERCALLS) {
		kvmi_run_wait_exit(&self->r, KVM_EXIT_XEN);
		TEST_ASSERT_EQ(run->xen.type, KVM_EXIT_XEN_HCALL);
		TEST_ASSERT_EQ(run->xen.u.hcall.input, KVM_HC_XEN_HVM_OP);
		TEST_ASSERT_EQ(run->xen.u.hcall.params[0], op);
		run->xen.u.hcall.result = XEN_RESULT;
		start_hypercall(self);
	}

	kvmi_run_wait_sync(&self->r, &uc);
	switch (self->owner) {
	case KVM_HYPERCALLS:
		TEST_ASSERT_EQ(uc.args[0], -KVM_ENOSYS);
		break;
	case XEN_HYPERCALLS:
		TEST_ASSERT_EQ(uc.args[0], XEN_RESULT);
		break;
	case HYPERV_HYPERCALLS:
		TEST_ASSERT_EQ(uc.args[0], HV_STATUS_INVALID_HYPERCALL_CODE);
		break;
	}
}

#define TOOLS_OP	KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT
#define OTHER_OP	(TOOLS_OP ^ 1)

KVMI_TEST(kvmi_hypercall_owner, tool_first)
{
	start_hypercall_with(self, 1);
	tool_answers(self);
	start_hypercall(self);
	owner_answers(self, OTHER_OP);

	turn_on_owner(self, variant->owner);
	start_hypercall(self);
	tool_answers(self);
	start_hypercall(self);
	owner_answers(self, OTHER_OP);

	start_hypercall_with(self, 0);
	owner_answers(self, TOOLS_OP);
}

KVMI_TEST(kvmi_hypercall_owner, userspace_first)
{
	turn_on_owner(self, variant->owner);
	start_hypercall(self);
	owner_answers(self, TOOLS_OP);
	start_hypercall(self);
	owner_answers(self, OTHER_OP);

	start_hypercall_with(self, 1);
	tool_answers(self);
	start_hypercall(self);
	owner_answers(self, OTHER_OP);

	start_hypercall_with(self, 0);
	owner_answers(self, TOOLS_OP);
}

/* MSRs that userspace has asked KVM to hand to it */
static void guest_code_wrmsr(u64 msr, u64 val)
{
	for (;;)
		GUEST_SYNC1(wrmsr_safe(msr, val));
}

/* In the range of those that can be watched, and there is none. */
#define NO_MSR		0x1eee
#define LEGAL		0xffffffff81000000
#define ILLEGAL		BIT(62)

FIXTURE(kvmi_user_msr) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_VARIANT(kvmi_user_msr) {
	bool tool_first;
};

FIXTURE_VARIANT_ADD(kvmi_user_msr, tool_first) {
	.tool_first = true,
};

FIXTURE_VARIANT_ADD(kvmi_user_msr, userspace_first) {
	.tool_first = false,
};

FIXTURE_SETUP(kvmi_user_msr)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code_wrmsr);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_user_msr)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void ask_for_exits(struct kvm_vm *vm)
{
	u8 bitmap = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_WRITE,
			.nmsrs = 1,
			.base = MSR_CSTAR,
			.bitmap = &bitmap,
		},
	};

	vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR,
		      KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
		      KVM_MSR_EXIT_REASON_FILTER);
	vm_ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter);
}

/* Start a guest that writes an MSR both are interested in. */
static void start_wrmsr(struct _test_data_kvmi_user_msr *self, bool tool_first,
			u32 msr, u64 val, int err)
{
	struct kvmi_event pause;

	vcpu_args_set(self->vcpu, 2, (u64)msr, val);
	if (!tool_first)
		ask_for_exits(self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, msr, 1), err);
	control(&self->s, KVMI_VCPU_EVENT_MSR, 1);
	if (tool_first)
		ask_for_exits(self->vm);
	kvmi_unpark(&self->s, &pause);
}

static void wait_wrmsr_exit(struct _test_data_kvmi_user_msr *self, u32 reason,
			    u32 msr, u64 val)
{
	struct kvm_run *run = self->vcpu->run;

	kvmi_run_wait_exit(&self->r, KVM_EXIT_X86_WRMSR);
	TEST_ASSERT_EQ(run->msr.reason, reason);
	TEST_ASSERT_EQ(run->msr.index, msr);
	TEST_ASSERT_EQ(run->msr.data, val);
}

/* Userspace tells how it went: the tool is not asked once more. */
static void complete_wrmsr(struct _test_data_kvmi_user_msr *self, u8 error)
{
	struct ucall uc;

	self->vcpu->run->msr.error = error;
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], error ? GP_VECTOR : 0);
}

KVMI_TEST(kvmi_user_msr, filtered)
{
	int i;

	start_wrmsr(self, variant->tool_first, MSR_CSTAR, LEGAL,
		    variant->tool_first ? 0 : -KVM_EPERM);
	for (i = 0; i < 2; i++) {
		wait_wrmsr_exit(self, KVM_MSR_EXIT_REASON_FILTER, MSR_CSTAR, LEGAL);
		complete_wrmsr(self, i);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	}
	wait_wrmsr_exit(self, KVM_MSR_EXIT_REASON_FILTER, MSR_CSTAR, LEGAL);
}

KVMI_TEST(kvmi_user_msr, unknown)
{
	int i;

	start_wrmsr(self, variant->tool_first, NO_MSR, LEGAL, -KVM_EINVAL);
	for (i = 0; i < 2; i++) {
		wait_wrmsr_exit(self, KVM_MSR_EXIT_REASON_UNKNOWN, NO_MSR, LEGAL);
		complete_wrmsr(self, i);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	}
	wait_wrmsr_exit(self, KVM_MSR_EXIT_REASON_UNKNOWN, NO_MSR, LEGAL);
}

/* The tool comes first, what it lets pass goes to userspace if KVM refuses it. */
KVMI_TEST(kvmi_user_msr, illegal)
{
	struct kvmi_event ev;
	struct ucall uc;

	start_wrmsr(self, variant->tool_first, MSR_LSTAR, ILLEGAL, 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	wait_wrmsr_exit(self, KVM_MSR_EXIT_REASON_INVAL, MSR_LSTAR, ILLEGAL);
	complete_wrmsr(self, 1);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, ILLEGAL + 1);
	wait_wrmsr_exit(self, KVM_MSR_EXIT_REASON_INVAL, MSR_LSTAR, ILLEGAL + 1);
	complete_wrmsr(self, 0);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, LEGAL);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0);
	TEST_ASSERT_EQ(vcpu_get_msr(self->vcpu, MSR_LSTAR), LEGAL);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
