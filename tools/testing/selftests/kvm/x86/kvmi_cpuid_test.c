// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_CPUID
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define KVMI_INSN_FIXTURE	kvmi_cpuid
#define KVMI_INSN_EVENT		KVMI_VCPU_EVENT_CPUID

#define CPUID	"\x0f\xa2"

/* What has KVM emulate the instruction that follows */
#define PREFIX		"\x0f\x0bkvm"
#define PREFIX_SIZE	(sizeof(PREFIX) - 1)

/* Deterministic cache parameters: a leaf with an index, on Intel and AMD */
#define LEAF		(host_cpu_is_intel ? 4 : 0x8000001d)
#define INDEX		1
/* KVM's signature, which has none */
#define OTHER_LEAF	KVM_CPUID_SIGNATURE

#define KVMI_GUEST_FIXTURE	kvmi_cpuid
#include "kvmi_guest_modes.h"

FIXTURE_SETUP(kvmi_cpuid)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, variant->mode);
	g->start.regs.rax = LEAF;
	g->start.regs.rcx = INDEX;
	kvmi_guest_code(g, CPUID);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, ev);
	TEST_ASSERT_EQ(ev->cpuid.function, LEAF);
	TEST_ASSERT_EQ(ev->cpuid.index, INDEX);
	TEST_ASSERT_EQ(ev->cpuid.insn_len, 2);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
}

/* The answer of KVM to a leaf that the tool has chosen, or to the guest's own */
static void stop_with_leaf(struct kvmi_guest *g, u32 function, u32 index)
{
	const struct kvm_cpuid_entry2 *entry;

	entry = get_cpuid_entry(g->vcpu->cpuid, function, index);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	g->normal.regs.rax = entry->eax;
	g->normal.regs.rbx = entry->ebx;
	g->normal.regs.rcx = entry->ecx;
	g->normal.regs.rdx = entry->edx;
	kvmi_guest_compare(&g->state, &g->normal);
}

static void stop_allowed(struct kvmi_guest *g)
{
	kvmi_guest_stop_normally(g);
}

#include "kvmi_insn_tests.h"

/* The guest has the answer of its CPUID table. */
KVMI_TEST(kvmi_cpuid, allow_answers_from_the_table)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_leaf(g, LEAF, INDEX);
}

/* It is the registers as the tool leaves them that KVM answers for. */
KVMI_TEST(kvmi_cpuid, allow_with_another_leaf)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start(g, &ev);
	regs = ev.common.arch.regs;
	regs.rax = OTHER_LEAF;
	regs.rcx = 0;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_leaf(g, OTHER_LEAF, 0);
}

KVMI_TEST(kvmi_cpuid, allow_with_another_index)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start(g, &ev);
	regs = ev.common.arch.regs;
	regs.rcx = INDEX + 1;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_leaf(g, LEAF, INDEX + 1);
}

KVMI_TEST(kvmi_cpuid, retry_with_another_leaf)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start(g, &ev);
	regs = ev.common.arch.regs;
	regs.rax = OTHER_LEAF;
	regs.rcx = 0x1234;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_EQ(ev.cpuid.function, OTHER_LEAF);
	TEST_ASSERT_EQ(ev.cpuid.index, 0x1234);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_leaf(g, OTHER_LEAF, 0);
}

/* An answer is for what was asked: the VMM has moved the guest. */
KVMI_TEST(kvmi_cpuid, answer_dropped)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);

	g->start.regs.rcx = INDEX + 1;
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_EQ(ev.cpuid.index, INDEX + 1);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_leaf(g, LEAF, INDEX + 1);
}

/* The event has the length the processor found, and SKIP uses it. */
KVMI_TEST(kvmi_cpuid, prefix)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* An operand size prefix does nothing */
	kvmi_guest_code(g, "\x66" CPUID);
	kvmi_guest_run_normally(g);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_EQ(ev.cpuid.insn_len, 3);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* A CPUID that faults has no effect to be asked about. */
KVMI_TEST(kvmi_cpuid, faulting)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_is_user(g))
		SKIP(return, "Only users can be kept from using CPUID");

	vcpu_set_msr(g->vcpu, MSR_PLATFORM_INFO,
		     vcpu_get_msr(g->vcpu, MSR_PLATFORM_INFO) | BIT_ULL(31));
	vcpu_set_msr(g->vcpu, MSR_MISC_FEATURES_ENABLES, 1);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1),
			 0);
	kvmi_unpark(&g->s, &ev);
	kvmi_guest_stop_normally(g);
}

/* The same where it is KVM that comes across the instruction */
FIXTURE(kvmi_cpuid_emulated) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_cpuid_emulated) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_cpuid_emulated, real) {
	.mode = KVMI_GUEST_REAL,
};

FIXTURE_VARIANT_ADD(kvmi_cpuid_emulated, prot) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_cpuid_emulated, long) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_VARIANT_ADD(kvmi_cpuid_emulated, long_user) {
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_SETUP(kvmi_cpuid_emulated)
{
	struct kvmi_guest *g = &self->g;

	if (!is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	kvmi_guest_create(g, variant->mode);
	g->start.regs.rax = LEAF;
	g->start.regs.rcx = INDEX;
	kvmi_guest_code(g, PREFIX CPUID);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_cpuid_emulated)
{
	kvmi_guest_free(&self->g);
}

static void check_emulated(const struct kvmi_event *ev)
{
	TEST_ASSERT_EQ(ev->cpuid.function, LEAF);
	TEST_ASSERT_EQ(ev->cpuid.index, INDEX);
	TEST_ASSERT_EQ(ev->cpuid.insn_len, 2);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE + PREFIX_SIZE);
}

static void start_emulated(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, ev);
	check_emulated(ev);
}

KVMI_TEST(kvmi_cpuid_emulated, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_cpuid_emulated, allow_with_another_leaf)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	regs = ev.common.arch.regs;
	regs.rax = OTHER_LEAF;
	regs.rcx = 0;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with_leaf(g, OTHER_LEAF, 0);
}

KVMI_TEST(kvmi_cpuid_emulated, skip_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_HANDLERS);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

/* It is the processor's from then on, behind the prefix. */
KVMI_TEST(kvmi_cpuid_emulated, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	check_emulated(&ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_cpuid_emulated, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_guest_crash(g, &ev);
}

KVMI_TEST(kvmi_cpuid_emulated, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_unchanged(g);
}

/* SKIP ends the instruction, with the trap that follows each. */
KVMI_TEST(kvmi_cpuid_emulated, skip_with_trap_flag)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rflags |= X86_EFLAGS_TF;
	kvmi_guest_code(g, PREFIX CPUID);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);

	start_emulated(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, g->end);
	TEST_ASSERT_EQ(g->state.regs.rax, LEAF);
}

KVMI_TEST(kvmi_cpuid_emulated, faulting)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_is_user(g))
		SKIP(return, "Only users can be kept from using CPUID");

	vcpu_set_msr(g->vcpu, MSR_PLATFORM_INFO,
		     vcpu_get_msr(g->vcpu, MSR_PLATFORM_INFO) | BIT_ULL(31));
	vcpu_set_msr(g->vcpu, MSR_MISC_FEATURES_ENABLES, 1);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1),
			 0);
	kvmi_unpark(&g->s, &ev);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
