// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_XSETBV
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define KVMI_INSN_FIXTURE	kvmi_xsetbv
#define KVMI_INSN_EVENT		KVMI_VCPU_EVENT_XSETBV

#define XSETBV		"\x0f\x01\xd1"

#define OLD		XFEATURE_MASK_FP
#define NEW		(XFEATURE_MASK_FP | XFEATURE_MASK_SSE)
/* Without the x87 state there is none. */
#define ILLEGAL		XFEATURE_MASK_SSE

FIXTURE(kvmi_xsetbv) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_xsetbv) {
	enum kvmi_guest_mode mode;
	bool large_segment;
};

/* The modes in which it is not a #GP */
FIXTURE_VARIANT_ADD(kvmi_xsetbv, real) {
	.mode = KVMI_GUEST_REAL,
};

/* Where hardware has no such state KVM emulates one instruction after the other. */
FIXTURE_VARIANT_ADD(kvmi_xsetbv, unreal) {
	.mode = KVMI_GUEST_REAL,
	.large_segment = true,
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv, prot) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv, long) {
	.mode = KVMI_GUEST_LONG,
};

static void set_value(struct kvmi_guest *g, u32 xcr, u64 val)
{
	g->start.regs.rcx = xcr;
	g->start.regs.rax = (u32)val;
	g->start.regs.rdx = val >> 32;
	kvmi_guest_code(g, XSETBV);
	kvmi_guest_run_normally(g);
}

FIXTURE_SETUP(kvmi_xsetbv)
{
	struct kvmi_guest *g = &self->g;

	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		SKIP(return, "Needs XSAVE");

	kvmi_guest_create(g, variant->mode);
	if (variant->large_segment) {
		g->start.sregs.ds.limit = -1u;
		g->start.sregs.ds.g = 1;
	}
	TEST_ASSERT_EQ(g->start.xcr0, OLD);
	set_value(g, 0, NEW);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	if (host_cpu_is_amd_compatible && g->normal.xcr0 == OLD)
		SKIP(return, "The (emulated) processor does not intercept it");
	TEST_ASSERT_EQ(g->normal.xcr0, NEW);
}

FIXTURE_TEARDOWN(kvmi_xsetbv)
{
	kvmi_guest_free(&self->g);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	struct kvmi_vcpu_get_xcr req = { };
	struct kvmi_vcpu_get_xcr_reply rpl;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_XSETBV, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->xsetbv.xcr, 0);
	TEST_ASSERT_EQ(ev->xsetbv.old_value, OLD);
	TEST_ASSERT_EQ(ev->xsetbv.new_value, NEW);

	/* It is not there yet. */
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_XCR, &req,
				       sizeof(req), &rpl, sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.value, OLD);
}

static void stop_allowed(struct kvmi_guest *g)
{
	kvmi_guest_stop_normally(g);
}

#include "kvmi_insn_tests.h"

/* The value is the one that was reported, wherever the registers are now. */
KVMI_TEST(kvmi_xsetbv, allow_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	g->start.regs = kvmi_insn_other_regs(g);
	g->start.xcr0 = NEW;
	kvmi_guest_stop_unchanged(g);
}

/* This way it is another value. */
KVMI_TEST(kvmi_xsetbv, retry_with_another_value)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	if (!(kvm_cpu_supported_xcr0() & XFEATURE_MASK_YMM))
		SKIP(return, "There are no more than two values");

	start(g, &ev);
	regs = g->start.regs;
	regs.rax = NEW | XFEATURE_MASK_YMM;
	kvmi_insn_set(g, regs, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_XSETBV, &ev);
	TEST_ASSERT_EQ(ev.xsetbv.old_value, OLD);
	TEST_ASSERT_EQ(ev.xsetbv.new_value, NEW | XFEATURE_MASK_YMM);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	g->start.regs = regs;
	g->start.xcr0 = NEW | XFEATURE_MASK_YMM;
	kvmi_guest_stop_unchanged(g);
}

/* To the tool it is a value as any other; the processor tells the guest. */
KVMI_TEST(kvmi_xsetbv, illegal_value_allowed)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	set_value(g, 0, ILLEGAL);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);

	kvmi_guest_start(g, KVMI_VCPU_EVENT_XSETBV, &ev);
	TEST_ASSERT_EQ(ev.xsetbv.new_value, ILLEGAL);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(g->state.xcr0, OLD);
}

KVMI_TEST(kvmi_xsetbv, illegal_value_skipped)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	set_value(g, 0, BIT_ULL(62) | NEW);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);

	kvmi_guest_start(g, KVMI_VCPU_EVENT_XSETBV, &ev);
	TEST_ASSERT_EQ(ev.xsetbv.new_value, BIT_ULL(62) | NEW);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

static void not_reported(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_XSETBV, 1),
			 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_xsetbv, same_value_is_not_reported)
{
	set_value(&self->g, 0, OLD);
	TEST_ASSERT_EQ(self->g.normal_vector, KVMI_GUEST_NO_EXCEPTION);
	not_reported(&self->g);
}

KVMI_TEST(kvmi_xsetbv, other_register_is_not_reported)
{
	set_value(&self->g, 1, NEW);
	TEST_ASSERT_EQ(self->g.normal_vector, GP_VECTOR);
	not_reported(&self->g);
}

KVMI_TEST(kvmi_xsetbv, disabled_in_cr4_is_not_reported)
{
	struct kvmi_guest *g = &self->g;

	g->start.sregs.cr4 &= ~X86_CR4_OSXSAVE;
	set_value(g, 0, NEW);
	if (host_cpu_is_amd_compatible &&
	    g->normal_vector == KVMI_GUEST_NO_EXCEPTION)
		SKIP(return, "The (emulated) processor does not look at CR4");
	TEST_ASSERT_EQ(g->normal_vector, UD_VECTOR);
	not_reported(g);
}

/* What the VMM writes is not the guest's doing. */
KVMI_TEST(kvmi_xsetbv, host_writes_are_not_reported)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	kvmi_guest_reset(g);
	kvmi_guest_get_state(g, &g->state);
	TEST_ASSERT_EQ(g->state.xcr0, OLD);
}

/*
 * The same by way of KVM's emulator: RIP is at the instruction, not the prefix
 * that makes KVM emulate it.
 */
#define FEP			"\x0f\x0bkvm"
#define FEP_SIZE		5

FIXTURE(kvmi_xsetbv_emulated) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_xsetbv_emulated) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv_emulated, real) {
	.mode = KVMI_GUEST_REAL,
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv_emulated, prot) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv_emulated, long) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_SETUP(kvmi_xsetbv_emulated)
{
	struct kvmi_guest *g = &self->g;

	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		SKIP(return, "Needs XSAVE");
	if (!is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	kvmi_guest_create(g, variant->mode);
	g->start.regs.rax = NEW;
	kvmi_guest_code(g, FEP XSETBV);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.xcr0, NEW);
}

FIXTURE_TEARDOWN(kvmi_xsetbv_emulated)
{
	kvmi_guest_free(&self->g);
}

static void start_emulated(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_XSETBV, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE + FEP_SIZE);
	TEST_ASSERT_EQ(ev->xsetbv.old_value, OLD);
	TEST_ASSERT_EQ(ev->xsetbv.new_value, NEW);
}

KVMI_TEST(kvmi_xsetbv_emulated, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_xsetbv_emulated, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_xsetbv_emulated, skip_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_HANDLERS);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

/* The prefix has to be run again, too, for KVM to emulate. */
KVMI_TEST(kvmi_xsetbv_emulated, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	start_emulated(g, &ev);
	for (i = 0; i < 3; i++) {
		kvmi_insn_set(g, g->start.regs, KVMI_GUEST_CODE);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_XSETBV, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip,
			       KVMI_GUEST_CODE + FEP_SIZE);
	}
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_xsetbv_emulated, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	kvmi_guest_get_state(g, &g->state);
	TEST_ASSERT_EQ(g->state.xcr0, OLD);
}

FIXTURE(kvmi_xsetbv_user) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_xsetbv_user) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv_user, prot) {
	.mode = KVMI_GUEST_PROT_USER,
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv_user, compat) {
	.mode = KVMI_GUEST_COMPAT_USER,
};

FIXTURE_VARIANT_ADD(kvmi_xsetbv_user, long) {
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_SETUP(kvmi_xsetbv_user)
{
	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		SKIP(return, "Needs XSAVE");

	kvmi_guest_create(&self->g, variant->mode);
}

FIXTURE_TEARDOWN(kvmi_xsetbv_user)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_xsetbv_user, is_not_reported)
{
	set_value(&self->g, 0, NEW);
	TEST_ASSERT_EQ(self->g.normal_vector, GP_VECTOR);
	TEST_ASSERT_EQ(self->g.normal.xcr0, OLD);
	not_reported(&self->g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
