// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: instructions that use RFLAGS.TF do not see that they are
 * stepped, be it that the tool wants to know of each instruction or that they
 * access a page that is restricted.  INT n goes where it is to when emulated, too.
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define CODE		KVMI_GUEST_CODE

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/*
 * Some of it is #UD in 64-bit mode, or #GP for users.  INTO is the first as well,
 * but QEMU's emulation of the processor does not know that.  Nor does it say that
 * it was delivering the #GP of an INT n, and not the INT n itself, if the guest
 * has to exit meanwhile.
 */
static const struct {
	const char *code;
	size_t size;
	bool not_64bit;
	bool not_user_on_svm;
} codes[] = {
#define CODE_ENTRY(bytes)	{ bytes, sizeof(bytes) - 1 }
	/* PUSHF; POPF; PUSHF, also with the other size of the operand */
	CODE_ENTRY("\x9c\x9d\x9c"),
	CODE_ENTRY("\x66\x9c\x66\x9d\x66\x9c"),
	/* NOP; INT 3, as two bytes; INT 5, which users may not; others */
	CODE_ENTRY("\x90\xcd\x03"),
	{ "\x90\xcd\x05", 3, .not_user_on_svm = true },
	CODE_ENTRY("\x90\xcd\x20"),
	CODE_ENTRY("\x90\xcd\x31"),
	CODE_ENTRY("\x90\xcd\x7f"),
	CODE_ENTRY("\x90\xcd\x80"),
	CODE_ENTRY("\x90\xcd\xff"),
	/* NOP; INT3; also with a prefix that means nothing */
	CODE_ENTRY("\x90\xcc"),
	CODE_ENTRY("\x90\x2e\xcc"),
	/* MOV AL, 0x7f; ADD AL, 1; INTO */
	{ "\xb0\x7f\x04\x01\xce", 5, .not_64bit = true },
	/* XOR AX, AX; INTO; PUSHF */
	{ "\x31\xc0\xce\x9c", 4, .not_64bit = true },
	/* STI; PUSHF; CLI; PUSHF */
	CODE_ENTRY("\xfb\x9c\xfa\x9c"),
	/* PUSH SS; POP SS; PUSHF */
	CODE_ENTRY("\x16\x17\x9c"),
	/* MOV AX, SS; MOV SS, AX; PUSHF, or INT 3 */
	CODE_ENTRY("\x8c\xd0\x8e\xd0\x9c"),
	CODE_ENTRY("\x8c\xd0\x8e\xd0\xcd\x03"),
	/* MOV SS, [BX], where the stack segment is; PUSHF */
	CODE_ENTRY("\x8e\x17\x9c"),
	/* UD2 */
	CODE_ENTRY("\x0f\x0b"),
};

static int control(struct kvmi_guest *g, u8 enable)
{
	struct kvmi_vcpu_control_singlestep req = { .enable = enable };

	return kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &req,
			     sizeof(req), NULL, 0);
}

#define KVMI_GUEST_FIXTURE	kvmi_trap_flag
#include "kvmi_guest_modes.h"

FIXTURE_SETUP(kvmi_trap_flag)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, variant->mode);
	g->start.mem[KVMI_GUEST_DATA] = KVMI_GUEST_KERNEL_DS;
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!(features.flags & KVMI_FEATURE_SINGLESTEP))
		SKIP(return, "No single-stepping");
}

static bool is_over(struct kvmi_guest *g, u64 rip)
{
	return rip == g->end ||
	       (rip >= KVMI_GUEST_HANDLERS && rip < KVMI_GUEST_DATA);
}

/* Step to the end of the code or to a handler. */
static void step(struct kvmi_guest *g)
{
	struct kvmi_event ev;
	u64 rip;

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	kvmi_unpark(&g->s, &ev);
	for (;;) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
		rip = ev.common.arch.regs.rip;
		TEST_ASSERT_EQ(ev.common.arch.regs.rflags & X86_EFLAGS_TF,
			       g->start.regs.rflags & X86_EFLAGS_TF);
		if (is_over(g, rip))
			break;
		/* A fault ends the step before the instruction. */
		TEST_ASSERT(rip >= CODE + !ev.singlestep.failed && rip < g->end,
			    "Event at 0x%lx", rip);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	TEST_ASSERT_KVMI(control(g, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

static bool load(struct kvmi_guest *g, int nr)
{
	if (codes[nr].not_64bit && kvmi_guest_is_64bit(g))
		return false;
	if (codes[nr].not_user_on_svm && kvmi_guest_is_user(g) &&
	    host_cpu_is_amd_compatible)
		return false;

	__kvmi_guest_code(g, (const u8 *)codes[nr].code, codes[nr].size);
	kvmi_guest_run_normally(g);

	return true;
}

KVMI_TEST(kvmi_trap_flag, step)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		if (!load(g, i))
			continue;
		step(g);
		kvmi_guest_reset(g);
	}
}

/* With the event off what is forbidden goes through as with ALLOW. */
static void run_restricted(struct kvmi_guest *g, u64 gpa, u8 access)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		if (!load(g, i))
			continue;
		kvmi_guest_restrict(g, gpa, access);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_guest_stop_normally(g);
		/* What is normal of the next code is seen without. */
		kvmi_guest_restrict(g, gpa, R | W | X);
		kvmi_guest_reset(g);
	}
}

KVMI_TEST(kvmi_trap_flag, code_is_restricted)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	run_restricted(&self->g, CODE, R | W);
}

KVMI_TEST(kvmi_trap_flag, stack_is_restricted)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	run_restricted(g, (g->stack - 1) & -(u64)PAGE_SIZE, R | X);
}

KVMI_TEST(kvmi_trap_flag, step_with_restrictions)
{
	struct kvmi_guest *g = &self->g;
	int i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		if (!load(g, i))
			continue;
		kvmi_guest_restrict(g, CODE, R | W);
		kvmi_guest_restrict(g, (g->stack - 1) & -(u64)PAGE_SIZE, R | X);
		step(g);
		kvmi_guest_restrict(g, CODE, R | W | X);
		kvmi_guest_restrict(g, (g->stack - 1) & -(u64)PAGE_SIZE, R | W | X);
		kvmi_guest_reset(g);
	}
}

/* In virtual-8086 mode, with all that IOPL allows; its code ends with #GP. */
KVMI_TEST(kvmi_trap_flag, virtual_8086_mode)
{
	const struct kvm_segment seg = {
		.limit = 0xffff,
		.type = KVMI_DATA_SEGMENT,
		.present = 1,
		.dpl = 3,
		.s = 1,
	};
	struct kvmi_guest *g = &self->g;
	struct kvm_sregs *sregs = &g->start.sregs;

	if (variant->mode != KVMI_GUEST_PROT_USER)
		SKIP(return, "Needs 32-bit protected mode");

	sregs->cs = seg;
	sregs->ss = seg;
	sregs->ds = seg;
	sregs->es = seg;
	sregs->fs = seg;
	sregs->gs = seg;
	g->start.regs.rflags |= X86_EFLAGS_VM | X86_EFLAGS_IOPL;
	/* PUSHF; POP AX; PUSH AX; POPF; PUSHF; PUSHFD; POPFD; NOP */
	kvmi_guest_code(g, "\x9c\x58\x50\x9d\x9c\x66\x9c\x66\x9d\x90");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, g->end);
	step(g);
}

FIXTURE(kvmi_trap_flag_long) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_trap_flag_long)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!(features.flags & KVMI_FEATURE_SINGLESTEP))
		SKIP(return, "No single-stepping");
}

FIXTURE_TEARDOWN(kvmi_trap_flag_long)
{
	kvmi_guest_free(&self->g);
}

/* The guest's user may do I/O, as that is how its code ends. */
static void load_sysret(struct kvmi_guest *g)
{
	g->start.sregs.efer |= EFER_SCE;
	g->start.regs.rcx = CODE + 3;
	g->start.regs.r11 = X86_EFLAGS_FIXED | 3 * X86_EFLAGS_IOPL |
			    X86_EFLAGS_CF;
	vcpu_set_msr(g->vcpu, MSR_STAR, (u64)KVMI_GUEST_KERNEL_CS << 48);
	/* SYSRETQ; NOP; PUSHF */
	kvmi_guest_code(g, "\x48\x0f\x07\x90\x9c");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.sregs.cs.dpl, 3);
}

KVMI_TEST(kvmi_trap_flag_long, sysret)
{
	load_sysret(&self->g);
	step(&self->g);
}

KVMI_TEST(kvmi_trap_flag_long, sysret_is_restricted)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	load_sysret(g);
	kvmi_guest_restrict(g, CODE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* What a step has changed for itself is as it was for the instruction after it. */
KVMI_TEST(kvmi_trap_flag_long, sysret_after_a_step)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	load_sysret(g);
	g->start.regs.rcx++;
	/* NOP; SYSRETQ; NOP; PUSHF */
	kvmi_guest_code(g, "\x90\x48\x0f\x07\x90\x9c");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal.sregs.cs.dpl, 3);

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	kvmi_unpark(&g->s, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 1);
	TEST_ASSERT_KVMI(control(g, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

static void load_syscall(struct kvmi_guest *g, u64 mask)
{
	g->start.sregs.efer |= EFER_SCE;
	vcpu_set_msr(g->vcpu, MSR_STAR, (u64)KVMI_GUEST_KERNEL_CS << 32);
	vcpu_set_msr(g->vcpu, MSR_LSTAR, CODE + 2);
	vcpu_set_msr(g->vcpu, MSR_SYSCALL_MASK, mask);
	/* SYSCALL; PUSHF; NOP */
	kvmi_guest_code(g, "\x0f\x05\x9c\x90");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.regs.r11 & X86_EFLAGS_TF, 0);
}

KVMI_TEST(kvmi_trap_flag_long, syscall)
{
	struct kvmi_guest *g = &self->g;

	load_syscall(g, X86_EFLAGS_IF);
	step(g);
	TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, MSR_SYSCALL_MASK), X86_EFLAGS_IF);
}

KVMI_TEST(kvmi_trap_flag_long, syscall_after_a_step)
{
	struct kvmi_guest *g = &self->g;

	load_syscall(g, X86_EFLAGS_IF);
	vcpu_set_msr(g->vcpu, MSR_LSTAR, CODE + 3);
	/* NOP; SYSCALL; PUSHF; NOP */
	kvmi_guest_code(g, "\x90\x0f\x05\x9c\x90");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	step(g);
}

KVMI_TEST(kvmi_trap_flag_long, syscall_masks_tf)
{
	struct kvmi_guest *g = &self->g;

	load_syscall(g, X86_EFLAGS_TF);
	step(g);
	TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, MSR_SYSCALL_MASK), X86_EFLAGS_TF);
}

KVMI_TEST(kvmi_trap_flag_long, syscall_is_restricted)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	load_syscall(g, X86_EFLAGS_TF);
	kvmi_guest_restrict(g, CODE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, MSR_SYSCALL_MASK), X86_EFLAGS_TF);
}

/* There is no DR6.BS that the guest did not cause. */
KVMI_TEST(kvmi_trap_flag_long, dr6)
{
	struct kvmi_guest *g = &self->g;

	/* NOP; MOV RAX, DR6; NOP; MOV RCX, DR6; MOV RDX, DR7 */
	kvmi_guest_code(g, "\x90\x0f\x21\xf0\x90\x0f\x21\xf1\x0f\x21\xfa");
	kvmi_guest_run_normally(g);
	step(g);
}

KVMI_TEST(kvmi_trap_flag_long, dr6_is_restricted)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	kvmi_guest_code(g, "\x90\x0f\x21\xf0\x90\x0f\x21\xf1\x0f\x21\xfa");
	kvmi_guest_run_normally(g);
	kvmi_guest_restrict(g, CODE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* To look at an instruction is no access to the page behind it. */
KVMI_TEST(kvmi_trap_flag_long, end_of_page_is_restricted)
{
	struct kvmi_guest *g = &self->g;
	u8 *mem = g->start.mem;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	/* Neither accessed nor dirty */
	kvmi_guest_map(g, mem, CODE + PAGE_SIZE, CODE + PAGE_SIZE, 0x7);
	/* NOP; JMP to the end of the code, and before that JMP here */
	memcpy(mem + CODE + 0xff8, "\x90\xe9\x07\xf0\xff\xff", 6);
	kvmi_guest_code(g, "\xe9\xf3\x0f\x00\x00");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	kvmi_guest_restrict(g, CODE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* The guest's own breakpoint on an instruction comes before it. */
static void load_breakpoint(struct kvmi_guest *g, u64 rflags)
{
	g->start.debugregs.db[0] = CODE + 1;
	/* L0, of execution */
	g->start.debugregs.dr7 |= 1;
	g->start.regs.rip = CODE + 1;
	g->start.regs.rflags |= rflags;
}

KVMI_TEST(kvmi_trap_flag_long, breakpoint_on_int)
{
	static const struct {
		const char *code;
		size_t size;
	} codes[] = {
		/* NOP; INT 0x80, or INT3 */
		{ "\x90\xcd\x80", 3 },
		{ "\x90\xcc", 2 },
	};
	struct kvmi_guest *g = &self->g;
	int i;

	load_breakpoint(g, 0);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		__kvmi_guest_code(g, (const u8 *)codes[i].code, codes[i].size);
		kvmi_guest_run_normally(g);
		if (g->normal_vector != DB_VECTOR)
			SKIP(return, "The processor has no breakpoints");
		TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 1);
		step(g);
		kvmi_guest_reset(g);
	}
}

/* With RF set it does not come, and RF is clear behind the instruction. */
KVMI_TEST(kvmi_trap_flag_long, resume_at_int)
{
	struct kvmi_guest *g = &self->g;

	load_breakpoint(g, X86_EFLAGS_RF);
	kvmi_guest_code(g, "\x90\xcd\x80");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, 0x80);
	if (g->normal_frame.rflags & X86_EFLAGS_RF)
		SKIP(return, "The (emulated) processor pushes RF");
	step(g);
	TEST_ASSERT_EQ(g->frame.rflags, g->normal_frame.rflags);
}

/* The guest's own trap comes after the instruction, once. */
KVMI_TEST(kvmi_trap_flag_long, own_trap)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rflags |= X86_EFLAGS_TF;
	kvmi_guest_code(g, "\xf9\x90");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 1);
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	kvmi_guest_restrict(g, CODE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

FIXTURE(kvmi_int_emulated) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_int_emulated)
{
	if (!is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");
	kvmi_guest_create(&self->g, KVMI_GUEST_REAL);
}

FIXTURE_TEARDOWN(kvmi_int_emulated)
{
	kvmi_guest_free(&self->g);
}

/* The vector is no signed number. */
KVMI_TEST(kvmi_int_emulated, vectors)
{
	static const u8 vectors[] = { 0x20, 0x7f, 0x80, 0xff };
	u8 code[] = { 0x0f, 0x0b, 'k', 'v', 'm', 0xcd, 0 };
	struct kvmi_guest *g = &self->g;
	u8 *mem = g->start.mem;
	int i;

	/* Negative vectors are there too, all like vector 0. */
	memcpy(mem + KVMI_GUEST_IDT, mem, 256 * 4);
	for (i = 1; i <= 128; i++)
		memcpy(mem + KVMI_GUEST_IDT - i * 4, mem, 4);
	g->start.sregs.idt.base = KVMI_GUEST_IDT;

	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		code[6] = vectors[i];
		__kvmi_guest_code(g, code, sizeof(code));
		kvmi_guest_run_normally(g);
		TEST_ASSERT_EQ(g->normal_vector, vectors[i]);
		TEST_ASSERT_EQ(g->normal_frame.rip, CODE + sizeof(code));
	}
}

/* It is the instruction's exception that is reported, with the address of that. */
static void start_emulated(struct kvmi_guest *g, u16 event, struct kvmi_event *ev)
{
	kvmi_guest_run_normally(g);
	kvmi_guest_park(g, ev);
	if (event != KVMI_VCPU_EVENT_TRAP)
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, event, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	kvmi_unpark(&g->s, ev);
	for (;;) {
		kvmi_wait_event(&g->s, event, ev);
		/* That of the prefix is KVM's, and not always known as such beforehand */
		if (event != KVMI_VCPU_EVENT_TRAP || ev->trap.nr != UD_VECTOR)
			break;
		kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
	}
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, CODE + 5);
}

#define PREFIX	"\x0f\x0bkvm"

KVMI_TEST(kvmi_int_emulated, breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, PREFIX "\xcc");
	start_emulated(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);
	TEST_ASSERT_EQ(ev.breakpoint.gpa, CODE + 5);
	TEST_ASSERT_EQ(ev.breakpoint.insn_len, 1);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, BP_VECTOR);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 5);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_int_emulated, breakpoint_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, PREFIX "\x2e\xcc");
	start_emulated(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_EQ(ev.breakpoint.insn_len, 2);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_int_emulated, breakpoint_retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, PREFIX "\xcc");
	start_emulated(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	/* NOP */
	*(u8 *)addr_gpa2hva(g->vm, CODE + 5) = 0x90;
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	g->start.mem[CODE + 5] = 0x90;
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_int_emulated, overflow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* There is none without OF. */
	kvmi_guest_code(g, PREFIX "\xce");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);

	g->start.regs.rflags |= X86_EFLAGS_OF;
	kvmi_guest_code(g, PREFIX "\xce");
	start_emulated(g, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(g->normal_vector, OF_VECTOR);
	TEST_ASSERT_EQ(ev.trap.nr, OF_VECTOR);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
