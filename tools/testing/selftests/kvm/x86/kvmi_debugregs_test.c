// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_GET_DEBUGREGS and KVMI_VCPU_SET_DEBUGREGS
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define CODE		KVMI_GUEST_CODE
#define DATA		KVMI_GUEST_DATA

#define NOP		"\x90"
#define CPUID		"\x0f\xa2"
/* MOV [EDI], AL */
#define WRITE		"\x88\x07"

#define DR6_B0		BIT(0)
#define DR6_BS		BIT(14)
#define DR6_FIXED	0xffff0ff0ull
#define DR7_FIXED	0x400ull
#define DR7_G0		BIT(1)
#define DR7_WRITE_0	BIT(16)

#define HIGH		BIT_ULL(32)

FIXTURE(kvmi_debugregs) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_debugregs) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_debugregs, prot) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_debugregs, long) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_VARIANT_ADD(kvmi_debugregs, long_user) {
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_SETUP(kvmi_debugregs)
{
	kvmi_guest_create(&self->g, variant->mode);
}

FIXTURE_TEARDOWN(kvmi_debugregs)
{
	kvmi_guest_free(&self->g);
}

static int get(struct kvmi_guest *g, struct kvmi_vcpu_debugregs *regs)
{
	return kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_DEBUGREGS, NULL, 0, regs,
			     sizeof(*regs));
}

static int set(struct kvmi_guest *g, const struct kvmi_vcpu_debugregs *regs)
{
	return kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_DEBUGREGS, regs, sizeof(*regs),
			     NULL, 0);
}

/* Without what depends on the guest's processor */
static u64 without_fixed(u64 dr6)
{
	return dr6 & ~DR6_FIXED;
}

static void expect(struct kvmi_guest *g, const struct kvmi_vcpu_debugregs *wanted)
{
	struct kvmi_vcpu_debugregs got;
	int i;

	TEST_ASSERT_KVMI(get(g, &got), 0);
	for (i = 0; i < ARRAY_SIZE(got.dr); i++)
		TEST_ASSERT(got.dr[i] == wanted->dr[i], "DR%d is 0x%llx, wanted 0x%llx",
			    i, got.dr[i], wanted->dr[i]);
	TEST_ASSERT_EQ(without_fixed(got.dr6), without_fixed(wanted->dr6));
	TEST_ASSERT_EQ(got.dr7, wanted->dr7);
}

/* Whatever the VMM has loaded */
KVMI_TEST(kvmi_debugregs, get)
{
	struct kvmi_vcpu_debugregs wanted = {
		.dr = { 0x1000, 0x2000, 0xffff800000003000, 0x123456789abcdef0 },
		.dr6 = DR6_FIXED | DR6_BS,
		.dr7 = DR7_FIXED | DR7_WRITE_0,
	};
	struct kvm_debugregs *start = &self->g.start.debugregs;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	memcpy(start->db, wanted.dr, sizeof(start->db));
	start->dr6 = wanted.dr6;
	start->dr7 = wanted.dr7;
	kvmi_guest_code(g, NOP);
	kvmi_guest_park(g, &ev);
	expect(g, &wanted);
	kvmi_unpark(&g->s, &ev);
	kvmi_guest_stop_unchanged(g);
}

/* What the guest itself has loaded */
KVMI_TEST(kvmi_debugregs, get_from_guest)
{
	struct kvmi_vcpu_debugregs wanted = {
		.dr = { 0x1111, 0x1111, 0x1111, 0x1111 },
		.dr6 = DR6_FIXED,
		.dr7 = DR7_FIXED,
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (kvmi_guest_is_user(g))
		SKIP(return, "Not for users");

	/* MOV DR0, RSI; MOV DR1, RSI; MOV DR2, RSI; MOV DR3, RSI; CPUID */
	g->start.regs.rsi = 0x1111;
	kvmi_guest_code(g, "\x0f\x23\xc6\x0f\x23\xce\x0f\x23\xd6\x0f\x23\xde" CPUID);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, &ev);
	expect(g, &wanted);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* The guest, the VMM and the tool see the same. */
KVMI_TEST(kvmi_debugregs, set)
{
	struct kvmi_vcpu_debugregs regs = {
		.dr = { 0x1000, 0x2000, 0x3000, 0x123456789abcdef0 },
		.dr6 = DR6_FIXED | DR6_BS,
		.dr7 = DR7_FIXED | DR7_WRITE_0,
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	/* MOV RCX, DR0; MOV RDX, DR1; MOV RSI, DR2; MOV RBP, DR7 */
	if (!kvmi_guest_is_user(g))
		kvmi_guest_code(g, "\x0f\x21\xc1\x0f\x21\xca\x0f\x21\xd6\x0f\x21\xfd");
	else
		kvmi_guest_code(g, NOP);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(set(g, &regs), 0);
	expect(g, &regs);
	kvmi_unpark(&g->s, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	for (i = 0; i < ARRAY_SIZE(regs.dr); i++)
		TEST_ASSERT_EQ(g->state.debugregs.db[i], regs.dr[i]);
	TEST_ASSERT_EQ(without_fixed(g->state.debugregs.dr6), DR6_BS);
	TEST_ASSERT_EQ(g->state.debugregs.dr7, regs.dr7);
	if (kvmi_guest_is_user(g))
		return;
	TEST_ASSERT_EQ(g->state.regs.rcx, regs.dr[0]);
	TEST_ASSERT_EQ(g->state.regs.rdx, regs.dr[1]);
	TEST_ASSERT_EQ(g->state.regs.rsi, regs.dr[2]);
	TEST_ASSERT_EQ(g->state.regs.rbp, regs.dr7);
}

/* No event is open, and none comes. */
KVMI_TEST(kvmi_debugregs, set_without_event)
{
	struct kvmi_vcpu_debugregs regs = {
		.dr = { 0x1000, 0x2000, 0x3000, 0x4000 },
		.dr6 = DR6_FIXED,
		.dr7 = DR7_FIXED,
	};
	struct kvmi_guest *g = &self->g;

	/* JMP to itself */
	kvmi_guest_code(g, "\xeb\xfe");
	kvmi_hook(&g->s, g->vm);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_KVMI(set(g, &regs), 0);
	expect(g, &regs);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
}

/* Reserved bits are what they always are, whatever they are set to. */
KVMI_TEST(kvmi_debugregs, set_reserved)
{
	struct kvmi_vcpu_debugregs ones = { .dr6 = ~0u, .dr7 = 0xffffdcffu };
	struct kvmi_vcpu_debugregs zeroes = { }, got;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 dr6;

	kvmi_guest_code(g, NOP);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(set(g, &ones), 0);
	TEST_ASSERT_KVMI(get(g, &got), 0);
	TEST_ASSERT(!(got.dr6 & BIT(12)), "DR6 is 0x%llx", got.dr6);
	TEST_ASSERT_EQ(got.dr6 & 0xe00f, 0xe00f);
	TEST_ASSERT(!(got.dr7 & (BIT(12) | BIT(14) | BIT(15))), "DR7 is 0x%llx", got.dr7);
	TEST_ASSERT(got.dr7 & DR7_FIXED, "DR7 is 0x%llx", got.dr7);

	TEST_ASSERT_KVMI(set(g, &zeroes), 0);
	TEST_ASSERT_KVMI(get(g, &got), 0);
	dr6 = got.dr6;
	TEST_ASSERT_EQ(dr6 & 0xf00f, 0);
	TEST_ASSERT_EQ(dr6 & 0xff0, 0xff0);
	TEST_ASSERT_EQ(got.dr7, DR7_FIXED);

	/* What was read can be written. */
	TEST_ASSERT_KVMI(set(g, &got), 0);
	TEST_ASSERT_KVMI(get(g, &got), 0);
	TEST_ASSERT_EQ(got.dr6, dr6);
	kvmi_unpark(&g->s, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

KVMI_TEST(kvmi_debugregs, set_errors)
{
	struct kvmi_vcpu_debugregs good = {
		.dr = { 1, 2, 3, 4 }, .dr6 = DR6_FIXED, .dr7 = DR7_FIXED,
	};
	struct {
		struct kvmi_vcpu_debugregs regs;
		u8 surplus[8];
	} req = { };
	struct kvmi_guest *g = &self->g;
	struct kvmi_vcpu_debugregs bad;
	struct kvmi_event ev;

	kvmi_guest_code(g, NOP);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(set(g, &good), 0);

	bad = (struct kvmi_vcpu_debugregs) { .dr6 = HIGH, .dr7 = DR7_FIXED };
	TEST_ASSERT_KVMI(set(g, &bad), -KVM_EINVAL);
	bad.dr6 = BIT_ULL(63);
	TEST_ASSERT_KVMI(set(g, &bad), -KVM_EINVAL);
	bad = (struct kvmi_vcpu_debugregs) { .dr7 = HIGH };
	TEST_ASSERT_KVMI(set(g, &bad), -KVM_EINVAL);
	bad.dr7 = BIT_ULL(63);
	TEST_ASSERT_KVMI(set(g, &bad), -KVM_EINVAL);

	/* Too short; longer, but with nothing else to say; with something else */
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_DEBUGREGS, &req,
				       sizeof(req.regs) - 1, NULL, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_DEBUGREGS, NULL, 0,
				       NULL, 0), -KVM_EINVAL);
	req.surplus[7] = 1;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_DEBUGREGS, &req,
				       sizeof(req), NULL, 0), -KVM_E2BIG);
	/* None of them has changed a thing. */
	expect(g, &good);

	req.regs = good;
	req.regs.dr[2] = 0x1234;
	req.surplus[7] = 0;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_DEBUGREGS, &req,
				       sizeof(req), NULL, 0), 0);
	expect(g, &req.regs);

	kvmi_unpark(&g->s, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

KVMI_TEST(kvmi_debugregs, get_errors)
{
	struct kvmi_vcpu_debugregs regs;
	struct kvmi_guest *g = &self->g;
	u8 surplus[8] = { };
	struct kvmi_event ev;

	kvmi_guest_code(g, NOP);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_DEBUGREGS, surplus,
				       sizeof(surplus), &regs, sizeof(regs)), 0);
	surplus[0] = 1;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_GET_DEBUGREGS, surplus,
				       sizeof(surplus), NULL, 0), -KVM_E2BIG);
	kvmi_unpark(&g->s, &ev);
	kvmi_guest_stop_unchanged(g);
}

/* Does the processor obey the guest's own breakpoint?  Then see what comes of it. */
static bool breakpoint_works(struct kvmi_guest *g, u64 address, u64 dr7)
{
	struct kvm_debugregs none = g->start.debugregs;

	g->start.debugregs.db[0] = address;
	g->start.debugregs.dr7 = dr7;
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	g->start.debugregs = none;
	kvmi_guest_reset(g);

	return g->normal_vector == DB_VECTOR;
}

/* It is all the same whether the guest or the tool has set it. */
static void run_to_breakpoint(struct kvmi_guest *g, u64 address, u64 dr7)
{
	struct kvmi_vcpu_debugregs regs = {
		.dr = { address }, .dr6 = DR6_FIXED, .dr7 = dr7,
	};
	struct kvmi_event ev;

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(set(g, &regs), 0);
	kvmi_unpark(&g->s, &ev);
	g->start.debugregs.dr7 = dr7;
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, g->normal_frame.rip);
	TEST_ASSERT(g->state.debugregs.dr6 & DR6_B0, "DR6 is 0x%llx",
		    g->state.debugregs.dr6);
	kvmi_guest_compare(&g->state, &g->normal);
}

KVMI_TEST(kvmi_debugregs, breakpoint)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, NOP NOP NOP);
	if (!breakpoint_works(g, CODE + 1, DR7_FIXED | DR7_G0))
		SKIP(return, "The (emulated) processor has no breakpoints");
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 1);
	run_to_breakpoint(g, CODE + 1, DR7_FIXED | DR7_G0);
}

KVMI_TEST(kvmi_debugregs, data_breakpoint)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, NOP WRITE NOP NOP);
	if (!breakpoint_works(g, DATA, DR7_FIXED | DR7_G0 | DR7_WRITE_0))
		SKIP(return, "The (emulated) processor has no breakpoints");
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 3);
	run_to_breakpoint(g, DATA, DR7_FIXED | DR7_G0 | DR7_WRITE_0);
}

/* The tool sees it on its way to the guest. */
KVMI_TEST(kvmi_debugregs, breakpoint_trap)
{
	struct kvmi_vcpu_debugregs regs = {
		.dr = { CODE + 1 }, .dr6 = DR6_FIXED, .dr7 = DR7_FIXED | DR7_G0,
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, NOP NOP NOP);
	if (!breakpoint_works(g, CODE + 1, DR7_FIXED | DR7_G0))
		SKIP(return, "The (emulated) processor has no breakpoints");

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(set(g, &regs), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	kvmi_unpark(&g->s, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, DB_VECTOR);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 1);
	TEST_ASSERT(ev.trap.address & DR6_B0, "Payload 0x%llx", ev.trap.address);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	g->start.debugregs.dr7 = regs.dr7;
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	kvmi_guest_compare(&g->state, &g->normal);
}

static void set_guest_debug(struct kvmi_guest *g, u32 control, u64 address)
{
	struct kvm_guest_debug debug = {
		.control = control,
		.arch.debugreg[0] = address,
		.arch.debugreg[7] = DR7_FIXED | DR7_G0,
	};

	vcpu_guest_debug_set(g->vcpu, &debug);
}

/* The VMM's breakpoints are not those of the guest, and stand in for them. */
KVMI_TEST(kvmi_debugregs, userspace)
{
	struct kvmi_vcpu_debugregs regs = {
		.dr = { CODE + 1 }, .dr6 = DR6_FIXED, .dr7 = DR7_FIXED | DR7_G0,
	};
	struct kvmi_vcpu_debugregs none = { .dr6 = DR6_FIXED, .dr7 = DR7_FIXED };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, NOP NOP NOP NOP);
	if (!breakpoint_works(g, CODE + 1, DR7_FIXED | DR7_G0))
		SKIP(return, "The (emulated) processor has no breakpoints");

	set_guest_debug(g, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, CODE + 2);
	kvmi_guest_park(g, &ev);
	expect(g, &none);
	TEST_ASSERT_KVMI(set(g, &regs), 0);
	expect(g, &regs);
	kvmi_unpark(&g->s, &ev);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_DEBUG);
	TEST_ASSERT_EQ(g->vcpu->run->debug.arch.pc, CODE + 2);

	/* The guest's come into force when the VMM has given up its own. */
	set_guest_debug(g, 0, 0);
	vcpu_regs_set(g->vcpu, &g->start.regs);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, CODE + 1);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
