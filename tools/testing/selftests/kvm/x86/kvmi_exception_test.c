// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_TRAP of the guest's own exceptions
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define DR6_BS		BIT(14)
#define DR7_FIXED	BIT(10)
#define NOP		"\x90"
#define UD2		"\x0f\x0b"

/* Ways to an exception */
enum cause {
	DIVIDE_BY_ZERO,
	SINGLE_STEP,
	ICEBP,
	WATCHPOINT,
	INT3,
	INTO,
	BOUND,
	UNDEFINED,
	FPU_NOT_AVAILABLE,
	SEGMENT_ABSENT,
	STACK_ABSENT,
	BAD_STACK_ADDRESS,
	BAD_SELECTOR,
	BAD_ADDRESS,
	PAGE_ABSENT,
	FPU_ERROR,
	UNALIGNED,
	SSE_ERROR,
};

static const u8 vectors[] = {
	[DIVIDE_BY_ZERO]	= DE_VECTOR,
	[SINGLE_STEP]		= DB_VECTOR,
	[ICEBP]			= DB_VECTOR,
	[WATCHPOINT]		= DB_VECTOR,
	[INT3]			= BP_VECTOR,
	[INTO]			= OF_VECTOR,
	[BOUND]			= BR_VECTOR,
	[UNDEFINED]		= UD_VECTOR,
	[FPU_NOT_AVAILABLE]	= NM_VECTOR,
	[SEGMENT_ABSENT]	= NP_VECTOR,
	[STACK_ABSENT]		= SS_VECTOR,
	[BAD_STACK_ADDRESS]	= SS_VECTOR,
	[BAD_SELECTOR]		= GP_VECTOR,
	[BAD_ADDRESS]		= GP_VECTOR,
	[PAGE_ABSENT]		= PF_VECTOR,
	[FPU_ERROR]		= MF_VECTOR,
	[UNALIGNED]		= AC_VECTOR,
	[SSE_ERROR]		= XM_VECTOR,
};

static bool is_fault(enum cause cause)
{
	switch (vectors[cause]) {
	case DB_VECTOR:
	case BP_VECTOR:
	case OF_VECTOR:
		return false;
	default:
		return true;
	}
}

static void set_cause(struct kvmi_guest *g, enum cause cause)
{
	struct kvmi_guest_state *start = &g->start;
	u8 *data = start->mem + KVMI_GUEST_DATA;
	u64 not_canonical = 0x8000000000000000;

	switch (cause) {
	case DIVIDE_BY_ZERO:
		/* DIV (E)CX */
		start->regs.rax = 100;
		kvmi_guest_code(g, "\xf7\xf1");
		break;
	case SINGLE_STEP:
		start->regs.rflags |= X86_EFLAGS_TF;
		kvmi_guest_code(g, NOP NOP);
		break;
	case ICEBP:
		kvmi_guest_code(g, "\xf1");
		break;
	case WATCHPOINT:
		/* MOV [(R|E)DI|BX], AL, watched by breakpoint 2 */
		start->debugregs.db[2] = KVMI_GUEST_DATA;
		start->debugregs.dr7 = DR7_FIXED | BIT(4) | BIT(24);
		kvmi_guest_code(g, "\x88\x07" NOP);
		break;
	case INT3:
		kvmi_guest_code(g, "\xcc");
		break;
	case INTO:
		start->regs.rflags |= X86_EFLAGS_OF;
		kvmi_guest_code(g, "\xce");
		break;
	case BOUND:
		/* BOUND (E)AX, [EDI|BX], which holds 0 and 0 */
		start->regs.rax = 1;
		kvmi_guest_code(g, "\x62\x07");
		break;
	case UNDEFINED:
		kvmi_guest_code(g, UD2);
		break;
	case FPU_NOT_AVAILABLE:
		/* FNOP */
		start->sregs.cr0 |= X86_CR0_TS;
		kvmi_guest_code(g, "\xd9\xd0");
		break;
	case SEGMENT_ABSENT:
		/* MOV FS, AX */
		start->regs.rax = KVMI_GUEST_ABSENT_DS;
		if (kvmi_guest_is_user(g))
			start->regs.rax |= 3;
		kvmi_guest_code(g, "\x8e\xe0");
		break;
	case STACK_ABSENT:
		/* MOV SS, AX */
		start->regs.rax = KVMI_GUEST_ABSENT_DS;
		kvmi_guest_code(g, "\x8e\xd0");
		break;
	case BAD_STACK_ADDRESS:
		/* SS: MOV AX, [BX] across the end, or MOV EAX, [RBP] */
		if (kvmi_guest_is_real(g)) {
			start->regs.rbx = 0xffff;
			kvmi_guest_code(g, "\x36\x8b\x07");
		} else {
			start->regs.rbp = not_canonical;
			kvmi_guest_code(g, "\x8b\x45\x00");
		}
		break;
	case BAD_SELECTOR:
		/* MOV GS, AX */
		start->regs.rax = 0x1000;
		kvmi_guest_code(g, "\x8e\xe8");
		break;
	case BAD_ADDRESS:
		/* MOV AX, [BX] across the end, or MOV EAX, [RDI] */
		start->regs.rbx = 0xffff;
		start->regs.rdi = not_canonical;
		kvmi_guest_code(g, "\x8b\x07");
		break;
	case PAGE_ABSENT:
		/* MOV [(R|E)DI], AL */
		start->regs.rax = 0x5a;
		start->regs.rdi = KVMI_GUEST_UNMAPPED + 0x123;
		kvmi_guest_code(g, "\x88\x07");
		break;
	case FPU_ERROR:
		/* FLDCW with the division by zero unmasked; FLD1; FLDZ; FDIVP; FWAIT */
		data[0] = 0x7b;
		data[1] = 0x03;
		kvmi_guest_code(g, "\xd9\x2f\xd9\xe8\xd9\xee\xde\xf9\x9b");
		break;
	case UNALIGNED:
		/* MOV EAX, [(R|E)DI] */
		start->sregs.cr0 |= X86_CR0_AM;
		start->regs.rflags |= X86_EFLAGS_AC;
		start->regs.rdi = KVMI_GUEST_DATA + 1;
		kvmi_guest_code(g, "\x8b\x07");
		break;
	case SSE_ERROR:
		/* LDMXCSR with invalid operations unmasked; XORPS; 0 / 0 */
		start->sregs.cr4 |= X86_CR4_OSXMMEXCPT;
		data[1] = 0x1f;
		kvmi_guest_code(g, "\x0f\xae\x17\x0f\x57\xc0\x0f\x5e\xc0");
		break;
	}

	kvmi_guest_run_normally(g);
}

FIXTURE(kvmi_trap) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_trap) {
	enum kvmi_guest_mode mode;
	enum cause cause;
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_divide_by_zero) {
	.mode = KVMI_GUEST_REAL,
	.cause = DIVIDE_BY_ZERO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_single_step) {
	.mode = KVMI_GUEST_REAL,
	.cause = SINGLE_STEP,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_watchpoint) {
	.mode = KVMI_GUEST_REAL,
	.cause = WATCHPOINT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_int3) {
	.mode = KVMI_GUEST_REAL,
	.cause = INT3,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_into) {
	.mode = KVMI_GUEST_REAL,
	.cause = INTO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_bound) {
	.mode = KVMI_GUEST_REAL,
	.cause = BOUND,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_undefined) {
	.mode = KVMI_GUEST_REAL,
	.cause = UNDEFINED,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_fpu_not_available) {
	.mode = KVMI_GUEST_REAL,
	.cause = FPU_NOT_AVAILABLE,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_bad_stack_address) {
	.mode = KVMI_GUEST_REAL,
	.cause = BAD_STACK_ADDRESS,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_bad_address) {
	.mode = KVMI_GUEST_REAL,
	.cause = BAD_ADDRESS,
};

FIXTURE_VARIANT_ADD(kvmi_trap, real_fpu_error) {
	.mode = KVMI_GUEST_REAL,
	.cause = FPU_ERROR,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_divide_by_zero) {
	.mode = KVMI_GUEST_PROT,
	.cause = DIVIDE_BY_ZERO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_single_step) {
	.mode = KVMI_GUEST_PROT,
	.cause = SINGLE_STEP,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_icebp) {
	.mode = KVMI_GUEST_PROT,
	.cause = ICEBP,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_int3) {
	.mode = KVMI_GUEST_PROT,
	.cause = INT3,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_into) {
	.mode = KVMI_GUEST_PROT,
	.cause = INTO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_bound) {
	.mode = KVMI_GUEST_PROT,
	.cause = BOUND,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_undefined) {
	.mode = KVMI_GUEST_PROT,
	.cause = UNDEFINED,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_segment_absent) {
	.mode = KVMI_GUEST_PROT,
	.cause = SEGMENT_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_stack_absent) {
	.mode = KVMI_GUEST_PROT,
	.cause = STACK_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_bad_selector) {
	.mode = KVMI_GUEST_PROT,
	.cause = BAD_SELECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_page_absent) {
	.mode = KVMI_GUEST_PROT,
	.cause = PAGE_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_user_into) {
	.mode = KVMI_GUEST_PROT_USER,
	.cause = INTO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_user_page_absent) {
	.mode = KVMI_GUEST_PROT_USER,
	.cause = PAGE_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, prot_user_unaligned) {
	.mode = KVMI_GUEST_PROT_USER,
	.cause = UNALIGNED,
};

FIXTURE_VARIANT_ADD(kvmi_trap, compat_user_int3) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.cause = INT3,
};

FIXTURE_VARIANT_ADD(kvmi_trap, compat_user_bound) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.cause = BOUND,
};

FIXTURE_VARIANT_ADD(kvmi_trap, compat_user_segment_absent) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.cause = SEGMENT_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_divide_by_zero) {
	.mode = KVMI_GUEST_LONG,
	.cause = DIVIDE_BY_ZERO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_single_step) {
	.mode = KVMI_GUEST_LONG,
	.cause = SINGLE_STEP,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_icebp) {
	.mode = KVMI_GUEST_LONG,
	.cause = ICEBP,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_watchpoint) {
	.mode = KVMI_GUEST_LONG,
	.cause = WATCHPOINT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_int3) {
	.mode = KVMI_GUEST_LONG,
	.cause = INT3,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_undefined) {
	.mode = KVMI_GUEST_LONG,
	.cause = UNDEFINED,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_fpu_not_available) {
	.mode = KVMI_GUEST_LONG,
	.cause = FPU_NOT_AVAILABLE,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_segment_absent) {
	.mode = KVMI_GUEST_LONG,
	.cause = SEGMENT_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_bad_stack_address) {
	.mode = KVMI_GUEST_LONG,
	.cause = BAD_STACK_ADDRESS,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_bad_selector) {
	.mode = KVMI_GUEST_LONG,
	.cause = BAD_SELECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_bad_address) {
	.mode = KVMI_GUEST_LONG,
	.cause = BAD_ADDRESS,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_page_absent) {
	.mode = KVMI_GUEST_LONG,
	.cause = PAGE_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_sse_error) {
	.mode = KVMI_GUEST_LONG,
	.cause = SSE_ERROR,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_user_divide_by_zero) {
	.mode = KVMI_GUEST_LONG_USER,
	.cause = DIVIDE_BY_ZERO,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_user_single_step) {
	.mode = KVMI_GUEST_LONG_USER,
	.cause = SINGLE_STEP,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_user_page_absent) {
	.mode = KVMI_GUEST_LONG_USER,
	.cause = PAGE_ABSENT,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_user_unaligned) {
	.mode = KVMI_GUEST_LONG_USER,
	.cause = UNALIGNED,
};

FIXTURE_VARIANT_ADD(kvmi_trap, long_user_fpu_error) {
	.mode = KVMI_GUEST_LONG_USER,
	.cause = FPU_ERROR,
};

FIXTURE_SETUP(kvmi_trap)
{
	struct kvmi_guest *g = &self->g;

	if ((variant->cause == INT3 || variant->cause == INTO) &&
	    !kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept it");

	kvmi_guest_create(g, variant->mode);
	set_cause(g, variant->cause);
	if (host_cpu_is_amd_compatible &&
	    g->normal_vector != vectors[variant->cause])
		SKIP(return, "The (emulated) processor has no such exception");
	TEST_ASSERT_EQ(g->normal_vector, vectors[variant->cause]);
}

FIXTURE_TEARDOWN(kvmi_trap)
{
	kvmi_guest_free(&self->g);
}

/* Does the event say what the guest's handler would find? */
static void check(struct kvmi_guest *g, const struct kvmi_event *ev,
		  bool may_retry)
{
	u64 rip = g->normal_frame.rip, address = 0, told = ev->trap.address;

	switch (g->normal_vector) {
	case DB_VECTOR:
		told = kvmi_guest_dr6(g, told);
		address = g->normal.debugregs.dr6 ^ g->start.debugregs.dr6;
		break;
	case BP_VECTOR:
	case OF_VECTOR:
		rip = KVMI_GUEST_CODE;
		break;
	case PF_VECTOR:
		address = g->normal.sregs.cr2;
		break;
	}

	TEST_ASSERT_EQ(ev->trap.nr, g->normal_vector);
	TEST_ASSERT_EQ(ev->trap.flags, may_retry ? KVMI_TRAP_RETRY : 0);
	TEST_ASSERT_EQ(ev->trap.error_code, g->normal_frame.error_code);
	TEST_ASSERT_EQ(told, address);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);

	/* It is not delivered yet. */
	TEST_ASSERT_EQ(ev->common.arch.sregs.cr2, g->start.sregs.cr2);
	TEST_ASSERT_EQ(ev->common.arch.regs.rsp, g->start.regs.rsp);
}

static void start_trap(struct kvmi_guest *g, enum cause cause,
		       struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_TRAP, ev);
	check(g, ev, is_fault(cause));
}

static void set_rip(struct kvmi_guest *g, const struct kvmi_event *ev, u64 rip)
{
	struct kvm_regs regs = ev->common.arch.regs;

	regs.rip = rip;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
}

KVMI_TEST(kvmi_trap, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, variant->cause, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* A session alone changes nothing. */
KVMI_TEST(kvmi_trap, not_enabled)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/*
 * Of an instruction that is stepped because it is forbidden.  With the PF event
 * off that is as with ALLOW.
 */
static bool restrict_code(struct kvmi_guest *g)
{
	if (!kvmi_has_page_access())
		return false;

	kvmi_guest_restrict(g, KVMI_GUEST_CODE,
			    KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	return true;
}

KVMI_TEST(kvmi_trap, stepped)
{
	struct kvmi_guest *g = &self->g;

	if (!restrict_code(g))
		SKIP(return, "Needs the TDP MMU");
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_trap, stepped_and_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!restrict_code(g))
		SKIP(return, "Needs the TDP MMU");
	start_trap(g, variant->cause, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* It comes again, until the tool moves the guest on. */
KVMI_TEST(kvmi_trap, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, variant->cause, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);

	if (!is_fault(variant->cause)) {
		/* There is no instruction to run again. */
		kvmi_expect_closed(&g->s);
		kvmi_guest_stop_normally(g);
		return;
	}

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	check(g, &ev, true);
	set_rip(g, &ev, g->end);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_unchanged(g);
}

/* A trap comes after what caused it. */
KVMI_TEST(kvmi_trap, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, variant->cause, &ev);
	if (!is_fault(variant->cause))
		memcpy(g->start.mem, addr_gpa2hva(g->vm, 0), sizeof(g->start.mem));
	kvmi_guest_crash(g, &ev);
}

/* Actions, sessions and registers, in all modes */
#define KVMI_GUEST_FIXTURE	kvmi_trap_modes
#include "kvmi_guest_modes.h"

FIXTURE_SETUP(kvmi_trap_modes)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, variant->mode);
	set_cause(g, UNDEFINED);
	TEST_ASSERT_EQ(g->normal_vector, UD_VECTOR);
}

/* The exception is delivered where the tool has put the guest. */
KVMI_TEST(kvmi_trap_modes, allow_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	regs = ev.common.arch.regs;
	regs.rip = KVMI_GUEST_CODE + 0x10;
	regs.rsp -= 0x100;
	regs.rax = 0x1234;
	regs.rflags |= X86_EFLAGS_CF;
	if (!kvmi_guest_is_user(g))
		g->stack -= 0x100;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), UD_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 0x10);
	TEST_ASSERT_EQ(g->frame.rflags & X86_EFLAGS_CF, X86_EFLAGS_CF);
	TEST_ASSERT_EQ(g->state.regs.rax, 0x1234);
	if (kvmi_guest_is_user(g) || kvmi_guest_is_long(g))
		TEST_ASSERT_EQ(g->frame.rsp, regs.rsp);
}

/* There is nothing to be skipped. */
KVMI_TEST(kvmi_trap_modes, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_expect_closed(&g->s);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_trap_modes, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);

	/* Nobody is there to be asked from now on. */
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_trap_modes, unhook)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	kvmi_guest_stop_normally(g);

	/* The next session does not inherit the event. */
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_trap_modes, disabled_again)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 0),
			 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_trap_modes, not_allowed)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_EQ(__kvmi_event(g->vm, 0, KVMI_VCPU_EVENT_TRAP), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1),
			 -KVM_EPERM);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* The answer arrives while nobody runs the vCPU, and is used once. */
KVMI_TEST(kvmi_trap_modes, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_guest_get_state(g, &g->state);
	/* Processors set it when a fault makes the guest exit. */
	g->state.regs.rflags &= ~X86_EFLAGS_RF;
	kvmi_guest_compare(&g->state, &g->start);

	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);

	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* The tool repairs what was wrong. */
KVMI_TEST(kvmi_trap_modes, retry_with_the_register_repaired)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct kvm_regs regs;

	set_cause(g, DIVIDE_BY_ZERO);
	start_trap(g, DIVIDE_BY_ZERO, &ev);
	regs = ev.common.arch.regs;
	regs.rcx = 7;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.regs.rax, 100 / 7);
	TEST_ASSERT_EQ(g->state.regs.rdx, 100 % 7);
	TEST_ASSERT_EQ(g->state.regs.rcx, 7);
}

KVMI_TEST(kvmi_trap_modes, retry_with_the_page_mapped)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (kvmi_guest_is_real(g))
		SKIP(return, "There are no pages");

	set_cause(g, PAGE_ABSENT);
	start_trap(g, PAGE_ABSENT, &ev);
	kvmi_guest_map(g, addr_gpa2hva(g->vm, 0), KVMI_GUEST_UNMAPPED,
		       KVMI_GUEST_DATA, KVMI_GUEST_PTE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);

	kvmi_guest_map(g, g->start.mem, KVMI_GUEST_UNMAPPED, KVMI_GUEST_DATA,
		       KVMI_GUEST_PTE);
	g->start.mem[KVMI_GUEST_DATA + 0x123] = 0x5a;
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_trap_modes, retry_with_the_code_repaired)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_trap(g, UNDEFINED, &ev);
	memset(g->start.mem + KVMI_GUEST_CODE, NOP[0], 2);
	memset(addr_gpa2hva(g->vm, KVMI_GUEST_CODE), NOP[0], 2);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_unchanged(g);
}

/* With both events on, a breakpoint is one first and an exception then. */
KVMI_TEST(kvmi_trap_modes, breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept it");

	set_cause(g, INT3);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT,
					    1), 0);
	kvmi_unpark(&g->s, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	check(g, &ev, false);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* Exceptions in the delivery of exceptions */
FIXTURE(kvmi_trap_delivery) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_trap_delivery) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_trap_delivery, prot) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_trap_delivery, prot_user) {
	.mode = KVMI_GUEST_PROT_USER,
};

FIXTURE_VARIANT_ADD(kvmi_trap_delivery, long) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_VARIANT_ADD(kvmi_trap_delivery, long_user) {
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_SETUP(kvmi_trap_delivery)
{
	kvmi_guest_create(&self->g, variant->mode);
}

FIXTURE_TEARDOWN(kvmi_trap_delivery)
{
	kvmi_guest_free(&self->g);
}

/* The handler of a vector is not present. */
static void remove_handler(struct kvmi_guest *g, u8 vector)
{
	g->start.mem[KVMI_GUEST_IDT +
		     vector * (kvmi_guest_is_long(g) ? 16 : 8) + 5] &= ~0x80;
}

static void expect_trap(struct kvmi_guest *g, u8 vector)
{
	struct kvmi_event ev;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, vector);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
}

static void enable(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	kvmi_unpark(&g->s, &pause);
}

KVMI_TEST(kvmi_trap_delivery, one_after_the_other)
{
	struct kvmi_guest *g = &self->g;

	remove_handler(g, UD_VECTOR);
	set_cause(g, UNDEFINED);
	TEST_ASSERT_EQ(g->normal_vector, NP_VECTOR);

	enable(g);
	expect_trap(g, UD_VECTOR);
	expect_trap(g, NP_VECTOR);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), NP_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);
	/* Not all emulated processors tell external causes from others. */
	TEST_ASSERT_EQ(g->frame.error_code | 1, g->normal_frame.error_code | 1);
}

KVMI_TEST(kvmi_trap_delivery, double_fault)
{
	struct kvmi_guest *g = &self->g;

	remove_handler(g, GP_VECTOR);
	set_cause(g, BAD_SELECTOR);
	if (host_cpu_is_amd_compatible && g->normal_vector == NP_VECTOR)
		SKIP(return, "The (emulated) processor makes no #DF of it");
	TEST_ASSERT_EQ(g->normal_vector, DF_VECTOR);

	enable(g);
	expect_trap(g, GP_VECTOR);
	expect_trap(g, DF_VECTOR);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT(g->frame.has_error_code, "#DF without an error code");
	TEST_ASSERT_EQ(g->frame.error_code, 0);
}

KVMI_TEST(kvmi_trap_delivery, triple_fault)
{
	struct kvmi_guest *g = &self->g;

	remove_handler(g, GP_VECTOR);
	remove_handler(g, DF_VECTOR);
	g->start.regs.rax = 0x1000;
	kvmi_guest_code(g, "\x8e\xe8");

	enable(g);
	expect_trap(g, GP_VECTOR);
	expect_trap(g, DF_VECTOR);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_SHUTDOWN);
}

/* Control protection exceptions: of an indirect jump, and of shadow stacks */
#define SHADOW_STACK	0xe000
/* Of a shadow stack: present, user, accessed, dirty, not writable */
#define SHADOW_PTE	0x65
#define CR4_CET		BIT(23)
#define SH_STK_EN	BIT_ULL(0)
#define ENDBR_EN	BIT_ULL(2)
#define CP_NEAR_RET	1
#define CP_ENDBR	3

FIXTURE(kvmi_control_protection) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_control_protection) {
	enum kvmi_guest_mode mode;
	bool shadow_stack;
};

FIXTURE_VARIANT_ADD(kvmi_control_protection, prot_user_jump) {
	.mode = KVMI_GUEST_PROT_USER,
};

FIXTURE_VARIANT_ADD(kvmi_control_protection, compat_user_jump) {
	.mode = KVMI_GUEST_COMPAT_USER,
};

FIXTURE_VARIANT_ADD(kvmi_control_protection, compat_user_return) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.shadow_stack = true,
};

FIXTURE_VARIANT_ADD(kvmi_control_protection, long_jump) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_VARIANT_ADD(kvmi_control_protection, long_user_jump) {
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_VARIANT_ADD(kvmi_control_protection, long_user_return) {
	.mode = KVMI_GUEST_LONG_USER,
	.shadow_stack = true,
};

/* Userspace's view of the registers that an earlier run has changed */
static void set_cet(struct kvmi_guest *g, bool shadow_stack)
{
	u64 cet = shadow_stack ? SH_STK_EN : ENDBR_EN;

	vcpu_set_msr(g->vcpu, kvmi_guest_is_user(g) ? MSR_IA32_U_CET :
						      MSR_IA32_S_CET, cet);
	if (shadow_stack)
		vcpu_set_reg(g->vcpu, KVM_X86_REG_KVM(KVM_REG_GUEST_SSP),
			     SHADOW_STACK);
}

FIXTURE_SETUP(kvmi_control_protection)
{
	struct kvmi_guest *g = &self->g;

	if (!(variant->shadow_stack ? kvm_cpu_has(X86_FEATURE_SHSTK) :
				      kvm_cpu_has(X86_FEATURE_IBT)))
		SKIP(return, "The (emulated) processor does not have it");

	kvmi_guest_create(g, variant->mode);
	g->start.sregs.cr0 |= X86_CR0_WP;
	g->start.sregs.cr4 |= CR4_CET;
	kvmi_guest_map(g, g->start.mem, SHADOW_STACK, SHADOW_STACK, SHADOW_PTE);
	/* ENDBR64; OUT; JMP back to it, as supervisors are tracked as well */
	memcpy(g->start.mem + KVMI_GUEST_HANDLERS + CP_VECTOR * 16,
	       "\xf3\x0f\x1e\xfa\xe6\xf4\xeb\xfc", 8);
	if (variant->shadow_stack)
		/* PUSH 1; RET, and not to where the shadow stack says */
		kvmi_guest_code(g, "\x6a\x01\xc3");
	else
		/* MOV EAX, the NOP's address; JMP (R|E)AX; NOP */
		kvmi_guest_code(g, "\xb8\x07\x50\x00\x00\xff\xe0" NOP);
	set_cet(g, variant->shadow_stack);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, CP_VECTOR);
	TEST_ASSERT(g->normal_frame.has_error_code, "#CP without an error code");
	TEST_ASSERT_EQ(g->normal_frame.error_code,
		       variant->shadow_stack ? CP_NEAR_RET : CP_ENDBR);
	set_cet(g, variant->shadow_stack);
}

FIXTURE_TEARDOWN(kvmi_control_protection)
{
	kvmi_guest_free(&self->g);
}

static void stop_with_error_code(struct kvmi_guest *g)
{
	kvmi_guest_stop_normally(g);
	TEST_ASSERT(g->frame.has_error_code, "#CP without an error code");
	TEST_ASSERT_EQ(g->frame.error_code, g->normal_frame.error_code);
}

static void expect_control_protection(struct kvmi_guest *g)
{
	struct kvmi_event ev;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, CP_VECTOR);
	TEST_ASSERT_EQ(ev.trap.flags, KVMI_TRAP_RETRY);
	TEST_ASSERT_EQ(ev.trap.error_code, g->normal_frame.error_code);
	TEST_ASSERT_EQ(ev.trap.address, 0);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, g->normal_frame.rip);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
}

KVMI_TEST(kvmi_control_protection, not_enabled)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	kvmi_unpark(&g->s, &pause);
	stop_with_error_code(g);
}

KVMI_TEST(kvmi_control_protection, allow)
{
	enable(&self->g);
	expect_control_protection(&self->g);
	stop_with_error_code(&self->g);
}

/* With the event off what is forbidden goes through as with ALLOW. */
KVMI_TEST(kvmi_control_protection, code_is_restricted)
{
	struct kvmi_guest *g = &self->g;

	if (!restrict_code(g))
		SKIP(return, "Needs the TDP MMU");
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	stop_with_error_code(g);
}

KVMI_TEST(kvmi_control_protection, code_is_restricted_and_allow)
{
	struct kvmi_guest *g = &self->g;

	if (!restrict_code(g))
		SKIP(return, "Needs the TDP MMU");
	enable(g);
	expect_control_protection(g);
	stop_with_error_code(g);
}

#define MCI_STATUS_VAL	BIT_ULL(63)
#define MCI_STATUS_UC	BIT_ULL(61)

/* What the VMM reports of the host's hardware is nothing that the guest has done. */
TEST(kvmi_machine_check)
{
	struct kvm_x86_mce mce = {
		.status = MCI_STATUS_VAL | MCI_STATUS_UC,
		/* RIPV */
		.mcg_status = BIT(0),
	};
	struct kvmi_event pause;
	struct kvmi_guest g;
	u64 banks = 1;

	kvmi_guest_create(&g, KVMI_GUEST_LONG);
	g.start.sregs.cr4 |= X86_CR4_MCE;
	kvmi_guest_code(&g, NOP);
	kvmi_guest_park(&g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g.s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	kvmi_run_signal(&g.r);
	kvmi_run_wait_eintr(&g.r);
	vcpu_ioctl(g.vcpu, KVM_X86_SETUP_MCE, &banks);
	vcpu_ioctl(g.vcpu, KVM_X86_SET_MCE, &mce);
	kvmi_reply(&g.s, &pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_start(&g.r, &g.s, g.vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(&g), MC_VECTOR);
	kvmi_guest_free(&g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
