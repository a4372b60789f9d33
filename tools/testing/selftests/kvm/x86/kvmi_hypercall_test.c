// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_HYPERCALL
 */
#include <asm/kvm_para.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define KVMI_INSN_FIXTURE	kvmi_hypercall
#define KVMI_INSN_EVENT		KVMI_VCPU_EVENT_HYPERCALL

#define VMCALL	"\x0f\x01\xc1"
#define VMMCALL	"\x0f\x01\xd9"

/* In the registers that do not count */
#define OTHER	0x1234

#define KVMI_GUEST_FIXTURE	kvmi_hypercall
#include "kvmi_guest_modes.h"

/* Registers a hypercall is made with */
static void set_args(struct kvmi_guest *g, u64 nr, u64 op, u64 arg)
{
	struct kvm_regs *regs = &g->start.regs;

	regs->rax = nr;
	regs->rdi = OTHER;
	regs->rsi = OTHER;
	regs->rbx = OTHER;
	regs->rcx = OTHER;
	if (kvmi_guest_is_64bit(g)) {
		regs->rdi = op;
		regs->rsi = arg;
	} else {
		regs->rbx = op;
		regs->rcx = arg;
	}
	kvmi_guest_reset(g);
}

FIXTURE_SETUP(kvmi_hypercall)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, variant->mode);
	if (host_cpu_is_amd_compatible)
		kvmi_guest_code(g, VMMCALL);
	else
		kvmi_guest_code(g, VMCALL);
	set_args(g, KVM_HC_XEN_HVM_OP, KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT, 0);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	/* Without introspection nobody answers. */
	TEST_ASSERT_EQ((s32)g->normal.regs.rax,
		       kvmi_guest_is_user(g) ? -KVM_EPERM : -KVM_ENOSYS);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_HYPERCALL, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
}

static void stop_allowed(struct kvmi_guest *g)
{
	g->normal.regs.rax = 0;
	kvmi_guest_stop_normally(g);
	/* What follows has another answer. */
	g->normal.regs.rax = kvmi_guest_is_user(g) ? -KVM_EPERM : -KVM_ENOSYS;
	if (!kvmi_guest_is_64bit(g))
		g->normal.regs.rax = (u32)g->normal.regs.rax;
}

#include "kvmi_insn_tests.h"

/* What the tool writes is there afterwards, but for the result. */
KVMI_TEST(kvmi_hypercall, allow_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	g->start.regs = kvmi_insn_other_regs(g);
	g->start.regs.rax = 0;
	kvmi_guest_stop_unchanged(g);
}

/* As changed, it is none that KVM knows. */
KVMI_TEST(kvmi_hypercall, retry_with_another_number)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start(g, &ev);
	regs = g->start.regs;
	regs.rax = 0x7654;
	kvmi_insn_set(g, regs, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

static void not_reported(struct kvmi_guest *g, u64 nr, u64 op, u64 arg)
{
	struct kvmi_event pause;

	set_args(g, nr, op, arg);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ((s32)g->normal.regs.rax,
		       kvmi_guest_is_user(g) ? -KVM_EPERM : -KVM_ENOSYS);

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_HYPERCALL,
					    1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_hypercall, other_number_is_not_reported)
{
	not_reported(&self->g, KVM_HC_XEN_HVM_OP + 1,
		     KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT, 0);
}

KVMI_TEST(kvmi_hypercall, other_operation_is_not_reported)
{
	not_reported(&self->g, KVM_HC_XEN_HVM_OP,
		     KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT + 1, 0);
}

KVMI_TEST(kvmi_hypercall, other_argument_is_not_reported)
{
	not_reported(&self->g, KVM_HC_XEN_HVM_OP,
		     KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT, 1);
}

/* Registers are as wide as the guest's code. */
KVMI_TEST(kvmi_hypercall, upper_half_of_the_argument)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_guest_is_64bit(g))
		SKIP(return, "Registers have no upper half");

	not_reported(g, KVM_HC_XEN_HVM_OP,
		     KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT, BIT_ULL(32));
}

/* The number has 32 bits in any mode. */
KVMI_TEST(kvmi_hypercall, upper_half_of_the_number)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_is_64bit(g))
		SKIP(return, "Registers have no upper half");

	set_args(g, BIT_ULL(32) | KVM_HC_XEN_HVM_OP,
		 KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT, 0);
	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_allowed(g);
}

/* KVM makes the other vendor's instruction its own. */
KVMI_TEST(kvmi_hypercall, instruction_of_the_other_vendor)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (host_cpu_is_amd_compatible)
		kvmi_guest_code(g, VMCALL);
	else
		kvmi_guest_code(g, VMMCALL);
	kvmi_guest_run_normally(g);
	if (g->normal_vector != KVMI_GUEST_NO_EXCEPTION)
		SKIP(return, "The emulator refuses it in this mode");

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_allowed(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
