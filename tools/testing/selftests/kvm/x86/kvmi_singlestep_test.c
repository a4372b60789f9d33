// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_CONTROL_SINGLESTEP and KVMI_VCPU_EVENT_SINGLESTEP
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define CODE		KVMI_GUEST_CODE
#define DATA		KVMI_GUEST_DATA
/* Of an interrupt */
#define VECTOR		30
/* That a string instruction reads or writes */
#define NR_BYTES	3

#define DR7_FIXED	0x400
#define DR7_GLOBAL_0	0x2
#define DR7_WRITE_0	0x10000

#define NOP		"\x90"
#define STC		"\xf9"
#define CMC		"\xf5"
#define STI		"\xfb"
#define PUSHF		"\x9c"
#define POPF		"\x9d"
#define CPUID		"\x0f\xa2"
#define ICEBP		"\xf1"
#define POP_RAX		"\x58"
/* MOV [RDI], AL */
#define WRITE		"\x88\x07"
/* OR dword [RSP], X86_EFLAGS_TF */
#define SET_TF		"\x81\x0c\x24\x00\x01\x00\x00"
/* MOV RCX, RSP; PUSH 0x10; PUSH RCX; PUSHF */
#define BEGIN_FRAME	"\x48\x89\xe1\x6a\x10\x51" PUSHF
/* PUSH 8; PUSH; IRETQ */
#define FINISH_FRAME(rip)	"\x6a\x08\x68" rip "\x48\xcf"

static int control(struct kvmi_guest *g, u8 enable)
{
	struct kvmi_vcpu_control_singlestep req = { .enable = enable };

	return kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &req,
			     sizeof(req), NULL, 0);
}

static bool is_supported(struct kvmi_session *s)
{
	struct kvmi_vm_get_features_reply features;

	kvmi_get_features(s, &features);
	return features.flags & KVMI_FEATURE_SINGLESTEP;
}

#define KVMI_GUEST_FIXTURE	kvmi_singlestep
#include "kvmi_guest_modes.h"

FIXTURE_SETUP(kvmi_singlestep)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, variant->mode);
	kvmi_hook(&g->s, g->vm);
	if (!is_supported(&g->s))
		SKIP(return, "No single-stepping");
	kvmi_guest_code(g, NOP STC NOP CMC);
	kvmi_guest_run_normally(g);
}

/* What only 64-bit supervisors do, or is the same in all modes */
FIXTURE(kvmi_singlestep_long) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_singlestep_long)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_hook(&g->s, g->vm);
	if (!is_supported(&g->s))
		SKIP(return, "No single-stepping");
}

FIXTURE_TEARDOWN(kvmi_singlestep_long)
{
	kvmi_guest_free(&self->g);
}

static void start(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	kvmi_unpark(&g->s, &pause);
}

static void wait_step(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, ev);
	TEST_ASSERT_EQ(ev->common.vcpu, 0);
	TEST_ASSERT(ev->singlestep.failed <= 1, "failed: %u",
		    ev->singlestep.failed);
}

static void wait_step_at(struct kvmi_guest *g, u64 rip, struct kvmi_event *ev)
{
	wait_step(g, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev->singlestep.failed, 0);
}

static void reply(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
}

static void let_go(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	TEST_ASSERT_KVMI(control(g, 0), 0);
	reply(g, ev);
}

static bool is_handler(u64 rip)
{
	return rip >= KVMI_GUEST_HANDLERS && rip < DATA;
}

/*
 * Step to the end of the code or to an exception's handler.  The instructions
 * before lead to @nr offsets.  Returns how many times something got in the way;
 * that may be in place of the last @nr_optional of them.
 */
static int step(struct kvmi_guest *g, const u8 *offsets, int nr, int nr_optional)
{
	int i = 0, nr_failed = 0;
	struct kvmi_event ev;
	u64 rip;

	start(g);
	for (;;) {
		wait_step(g, &ev);
		rip = ev.common.arch.regs.rip;
		if (ev.singlestep.failed) {
			nr_failed++;
		} else if (!is_handler(rip)) {
			TEST_ASSERT(i < nr, "Event %d at 0x%lx", i, rip);
			TEST_ASSERT(rip == CODE + offsets[i],
				    "Event %d at 0x%lx instead of 0x%x", i, rip,
				    CODE + offsets[i]);
			i++;
		}
		if (rip == g->end || is_handler(rip))
			break;
		reply(g, &ev);
	}
	TEST_ASSERT(i + min(nr_failed, nr_optional) >= nr,
		    "%d events of %d, %d failed", i, nr, nr_failed);
	let_go(g, &ev);
	return nr_failed;
}

/* The guest does not see any of it. */
static int step_normally(struct kvmi_guest *g, const u8 *offsets, int nr,
			 int nr_optional)
{
	int nr_failed = step(g, offsets, nr, nr_optional);

	kvmi_guest_stop_normally(g);
	return nr_failed;
}

#define OFFSETS(...)	((const u8[]){ __VA_ARGS__ })
#define STEP_NORMALLY(g, nr_optional, ...)				\
	step_normally(g, OFFSETS(__VA_ARGS__), sizeof(OFFSETS(__VA_ARGS__)), \
		      nr_optional)

KVMI_TEST(kvmi_singlestep, every_instruction)
{
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < 3; i++) {
		TEST_ASSERT_EQ(STEP_NORMALLY(g, 0, 1, 2, 3, 4), 0);
		kvmi_guest_reset(g);
	}
}

/* What the instruction has done is in the event. */
KVMI_TEST(kvmi_singlestep, state)
{
	static const u64 carry[] = { 0, X86_EFLAGS_CF, X86_EFLAGS_CF, 0 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	start(g);
	for (i = 0; i < 4; i++) {
		wait_step_at(g, CODE + i + 1, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rflags,
			       (g->start.regs.rflags & ~X86_EFLAGS_CF) | carry[i]);
		if (i < 3)
			reply(g, &ev);
	}
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_singlestep, off_and_on)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g);
	wait_step_at(g, CODE + 1, &ev);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	TEST_ASSERT_KVMI(control(g, 0), 0);
	TEST_ASSERT_KVMI(control(g, 0), 0);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	reply(g, &ev);
	wait_step_at(g, CODE + 2, &ev);
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Not on by the event alone, which need not be turned on */
KVMI_TEST(kvmi_singlestep, event_alone)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_SINGLESTEP,
					    1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* An instruction is executed although it is the next one, too. */
KVMI_TEST(kvmi_singlestep, jump_to_itself)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;
	int i;

	kvmi_guest_code(g, "\xeb\xfe");
	start(g);
	for (i = 0; i < 3; i++) {
		wait_step(g, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE);
		if (i < 2)
			reply(g, &ev);
	}
	regs = ev.common.arch.regs;
	regs.rip = g->end;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	let_go(g, &ev);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_singlestep, flags_pushed)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, PUSHF PUSHF POPF POP_RAX PUSHF);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal.regs.rax & X86_EFLAGS_TF, 0);
	TEST_ASSERT_EQ(STEP_NORMALLY(g, 0, 1, 2, 3, 4, 5), 0);
}

KVMI_TEST(kvmi_singlestep, breakpoint_exception)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, NOP "\xcd\x03");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);
	STEP_NORMALLY(g, 0, 1);
}

KVMI_TEST(kvmi_singlestep, icebp)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, NOP ICEBP NOP);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);
	STEP_NORMALLY(g, 0, 1);
}

KVMI_TEST(kvmi_singlestep, undefined_instruction)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, NOP "\x0f\x0b");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, UD_VECTOR);
	STEP_NORMALLY(g, 0, 1);
}

/* An exit got in the way: the instruction was executed by KVM. */
KVMI_TEST(kvmi_singlestep, failed)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, NOP CPUID NOP);
	kvmi_guest_run_normally(g);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	reply(g, &ev);
	wait_step(g, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 3);
	TEST_ASSERT_EQ(ev.singlestep.failed, 1);
	reply(g, &ev);
	wait_step_at(g, CODE + 4, &ev);
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_singlestep, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g);
	wait_step_at(g, CODE + 1, &ev);
	kvmi_guest_crash(g, &ev);
}

KVMI_TEST(kvmi_singlestep, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g);
	wait_step_at(g, CODE + 1, &ev);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_singlestep, unhook)
{
	struct kvmi_vm_control_cleanup keep = { .enable = 0 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_CONTROL_CLEANUP, &keep,
				  sizeof(keep), NULL, 0), 0);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	kvmi_guest_stop_normally(g);

	/* The next session does not inherit it. */
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_singlestep_long, bad_actions)
{
	static const u8 bad[] = {
		KVMI_EVENT_ACTION_RETRY, KVMI_EVENT_ACTION_SKIP, 4, 0xff,
	};
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	kvmi_guest_code(g, NOP STC);
	kvmi_guest_run_normally(g);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		start(g);
		wait_step_at(g, CODE + 1, &ev);
		kvmi_reply(&g->s, &ev, bad[i]);
		kvmi_expect_closed(&g->s);
		kvmi_guest_stop_normally(g);
		kvmi_unhook(&g->s);
		kvmi_guest_reset(g);
		kvmi_hook(&g->s, g->vm);
	}
}

KVMI_TEST(kvmi_singlestep_long, errors)
{
	struct kvmi_vcpu_control_singlestep req = { };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;
	int i;

	kvmi_guest_code(g, NOP STC);
	kvmi_guest_run_normally(g);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 2), -KVM_EINVAL);
	TEST_ASSERT_KVMI(control(g, 0xff), -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(req.padding); i++) {
		req.enable = 1;
		req.padding[i] = 1;
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0,
					       KVMI_VCPU_CONTROL_SINGLESTEP, &req,
					       sizeof(req), NULL, 0), -KVM_EINVAL);
		req.padding[i] = 0;
	}

	/* Permission is that for the event. */
	TEST_ASSERT_EQ(__kvmi_event(g->vm, 0, KVMI_VCPU_EVENT_SINGLESTEP), 0);
	TEST_ASSERT_KVMI(control(g, 1), -KVM_EPERM);
	TEST_ASSERT_KVMI(control(g, 2), -KVM_EPERM);
	TEST_ASSERT_EQ(__kvmi_event(g->vm, 1, KVMI_VCPU_EVENT_SINGLESTEP), 0);

	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

/* There are no two who decide what comes after an instruction. */
KVMI_TEST(kvmi_singlestep_long, inject_exception)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, NOP STC);
	start(g);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, UD_VECTOR, 0, 0), -KVM_EBUSY);
	wait_step_at(g, CODE + 1, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, UD_VECTOR, 0, 0), -KVM_EBUSY);
	TEST_ASSERT_KVMI(control(g, 0), 0);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, UD_VECTOR, 0, 0), 0);
	reply(g, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	reply(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), UD_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, CODE + 1);
}

/* The tool moves the guest on, or back. */
KVMI_TEST(kvmi_singlestep_long, set_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct kvm_regs regs;

	kvmi_guest_code(g, NOP STC NOP CMC);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	regs = ev.common.arch.regs;
	regs.rip = CODE + 3;
	regs.rax = 0x1234;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	reply(g, &ev);
	wait_step_at(g, CODE + 4, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rflags & X86_EFLAGS_CF, X86_EFLAGS_CF);
	TEST_ASSERT_EQ(ev.common.arch.regs.rax, 0x1234);
	let_go(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* One event for one instruction, whatever the VMM does meanwhile. */
KVMI_TEST(kvmi_singlestep_long, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	kvmi_guest_code(g, NOP STC NOP CMC);
	kvmi_guest_run_normally(g);
	start(g);
	for (i = 1; i < 4; i++) {
		wait_step_at(g, CODE + i, &ev);
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		if (i & 1)
			reply(g, &ev);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		if (!(i & 1))
			reply(g, &ev);
	}
	wait_step_at(g, CODE + 4, &ev);
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Nor if another event is open meanwhile. */
KVMI_TEST(kvmi_singlestep_long, signal_in_other_event)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause, ev;
	struct kvm_regs regs;
	int i;

	kvmi_guest_code(g, NOP STC NOP CMC);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 1), 0);
	/* What was to be stepped is not executed. */
	for (i = 0; i < 3; i++) {
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		vcpu_regs_get(g->vcpu, &regs);
		regs.rip = CODE + 1;
		vcpu_regs_set(g->vcpu, &regs);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		usleep(20000);
	}
	kvmi_unpark(&g->s, &pause);
	wait_step(g, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 1);
	TEST_ASSERT_EQ(ev.singlestep.failed, 1);
	reply(g, &ev);
	wait_step_at(g, CODE + 2, &ev);
	let_go(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* An exit to userspace is no end of it. */
KVMI_TEST(kvmi_singlestep_long, exit_to_userspace)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* OUT 0x99, AL */
	kvmi_guest_code(g, NOP "\xe6\x99" STC);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	reply(g, &ev);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	TEST_ASSERT_EQ(g->vcpu->run->io.port, 0x99);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_step(g, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 3);
	TEST_ASSERT_EQ(ev.singlestep.failed, 1);
	reply(g, &ev);
	wait_step_at(g, CODE + 4, &ev);
	let_go(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.regs.rflags & X86_EFLAGS_CF, X86_EFLAGS_CF);
}

KVMI_TEST(kvmi_singlestep_long, iret)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, BEGIN_FRAME FINISH_FRAME("\x10\x50\x00\x00") NOP STC);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(STEP_NORMALLY(g, 0, 3, 5, 6, 7, 9, 14, 16, 17, 18), 0);
}

/* The guest steps by itself. */
KVMI_TEST(kvmi_singlestep_long, popf_sets_tf)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, PUSHF SET_TF POPF NOP STC);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 10);
	STEP_NORMALLY(g, 1, 1, 8, 9, 10);
}

KVMI_TEST(kvmi_singlestep_long, iret_sets_tf)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, BEGIN_FRAME SET_TF FINISH_FRAME("\x17\x50\x00\x00")
			   NOP STC);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 24);
	STEP_NORMALLY(g, 1, 3, 5, 6, 7, 14, 16, 21, 23, 24);
}

/* Stepping begins, and ends, when the guest has TF set. */
KVMI_TEST(kvmi_singlestep_long, tf_before_and_after)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rflags |= X86_EFLAGS_TF;
	kvmi_guest_code(g, NOP STC);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 1);
	TEST_ASSERT(g->normal_frame.rflags & X86_EFLAGS_TF, "TF was not pushed");

	start(g);
	wait_step(g, &ev);
	if (!ev.singlestep.failed && !is_handler(ev.common.arch.regs.rip)) {
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 1);
		TEST_ASSERT(ev.common.arch.regs.rflags & X86_EFLAGS_TF,
			    "The tool does not see TF");
	}
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

static void step_syscall(struct kvmi_guest *g, u64 mask)
{
	g->start.sregs.efer |= EFER_SCE;
	vcpu_set_msr(g->vcpu, MSR_STAR, (u64)KVMI_GUEST_KERNEL_CS << 32);
	vcpu_set_msr(g->vcpu, MSR_LSTAR, CODE + 3);
	vcpu_set_msr(g->vcpu, MSR_SYSCALL_MASK, mask);
	kvmi_guest_code(g, "\x0f\x05" NOP STC PUSHF);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.regs.rcx, CODE + 2);
	TEST_ASSERT_EQ(STEP_NORMALLY(g, 0, 3, 4, 5), 0);
}

KVMI_TEST(kvmi_singlestep_long, syscall)
{
	step_syscall(&self->g, 0);
}

KVMI_TEST(kvmi_singlestep_long, syscall_masks_tf)
{
	step_syscall(&self->g, X86_EFLAGS_TF | X86_EFLAGS_CF);
}

/* An instruction is in the shadow of the one before. */
KVMI_TEST(kvmi_singlestep_long, mov_ss)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rax = KVMI_GUEST_KERNEL_DS;
	/* MOV SS, AX */
	kvmi_guest_code(g, NOP "\x8e\xd0" NOP STC);
	kvmi_guest_run_normally(g);
	STEP_NORMALLY(g, 0, 1, 3, 4, 5);
}

/* The guest's own breakpoints, for a write and for an instruction */
KVMI_TEST(kvmi_singlestep_long, data_breakpoint)
{
	struct kvmi_guest *g = &self->g;

	g->start.debugregs.db[0] = DATA;
	g->start.debugregs.dr7 = DR7_FIXED | DR7_GLOBAL_0 | DR7_WRITE_0;
	kvmi_guest_code(g, NOP WRITE NOP STC);
	kvmi_guest_run_normally(g);
	if (g->normal_vector != DB_VECTOR)
		SKIP(return, "The (emulated) processor has no breakpoints");
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 3);
	STEP_NORMALLY(g, 1, 1, 3);
}

KVMI_TEST(kvmi_singlestep_long, breakpoint)
{
	struct kvmi_guest *g = &self->g;

	g->start.debugregs.db[0] = CODE + 2;
	g->start.debugregs.dr7 = DR7_FIXED | DR7_GLOBAL_0;
	kvmi_guest_code(g, NOP NOP STC);
	kvmi_guest_run_normally(g);
	if (g->normal_vector != DB_VECTOR)
		SKIP(return, "The (emulated) processor has no breakpoints");
	TEST_ASSERT_EQ(g->normal_frame.rip, CODE + 2);
	STEP_NORMALLY(g, 1, 1, 2);
}

/* The stack gets the error code, and CR2 the address. */
KVMI_TEST(kvmi_singlestep_long, page_fault)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = KVMI_GUEST_UNMAPPED;
	kvmi_guest_code(g, NOP WRITE NOP);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, PF_VECTOR);
	STEP_NORMALLY(g, 0, 1);
}

static void interrupt(struct kvmi_guest *g)
{
	struct kvm_interrupt irq = { .irq = VECTOR };

	vcpu_ioctl(g->vcpu, KVM_INTERRUPT, &irq);
}

/* A step that ends in the shadow of STI does not end the shadow. */
KVMI_TEST(kvmi_singlestep_long, sti)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	kvmi_guest_code(g, STI NOP STC NOP);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	g->vcpu->run->request_interrupt_window = 1;
	let_go(g, &ev);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IRQ_WINDOW_OPEN);
	vcpu_regs_get(g->vcpu, &regs);
	TEST_ASSERT_EQ(regs.rip, CODE + 2);
	g->vcpu->run->request_interrupt_window = 0;
	interrupt(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, CODE + 2);
}

/* It may be kept waiting, and is not lost. */
KVMI_TEST(kvmi_singlestep_long, interrupt)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 rip, next;

	g->start.regs.rflags |= X86_EFLAGS_IF;
	kvmi_guest_code(g, NOP NOP NOP NOP);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	interrupt(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	for (next = CODE + 1; next < g->end; next = rip) {
		reply(g, &ev);
		wait_step(g, &ev);
		rip = ev.common.arch.regs.rip;
		if (is_handler(rip))
			break;
		if (!ev.singlestep.failed)
			TEST_ASSERT_EQ(rip, next + 1);
	}
	let_go(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, next);
	TEST_ASSERT_EQ(g->frame.rflags & X86_EFLAGS_TF, 0);
	TEST_ASSERT_EQ(g->frame.rflags & X86_EFLAGS_IF, X86_EFLAGS_IF);
}

/*
 * One event for each round, or one for all.  QEMU's emulation of the processor
 * sees RCX to be 0 in a round of its own.
 */
KVMI_TEST(kvmi_singlestep_long, string_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int rounds = 0;

	g->start.regs.rcx = 8;
	g->start.regs.rsi = CODE;
	/* REP MOVSB */
	kvmi_guest_code(g, NOP "\xf3\xa4" NOP);
	kvmi_guest_run_normally(g);
	start(g);
	wait_step_at(g, CODE + 1, &ev);
	do {
		reply(g, &ev);
		wait_step(g, &ev);
		TEST_ASSERT_EQ(ev.singlestep.failed, 0);
		TEST_ASSERT(++rounds <= 9, "Too many events");
	} while (ev.common.arch.regs.rip == CODE + 1);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 3);
	TEST_ASSERT_EQ(ev.common.arch.regs.rcx, 0);
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

/*
 * The same with a port, an iteration of which is KVM's and the VMM's.  RCX may be seen
 * to be 0 in a round of its own.
 */
static void step_string(struct kvmi_guest *g, u8 direction)
{
	struct kvm_run *run = g->vcpu->run;
	struct kvmi_event ev;
	int rounds = 0;

	start(g);
	wait_step_at(g, CODE + 1, &ev);
	do {
		reply(g, &ev);
		if (rounds < NR_BYTES) {
			kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
			TEST_ASSERT_EQ(run->io.port, 0x99);
			TEST_ASSERT_EQ(run->io.direction, direction);
			TEST_ASSERT_EQ(run->io.count, 1);
			*((u8 *)run + run->io.data_offset) = '0' + rounds;
			kvmi_run_start(&g->r, &g->s, g->vcpu);
		}
		wait_step(g, &ev);
		rounds++;
		TEST_ASSERT(rounds <= NR_BYTES + 1, "Too many events");
		TEST_ASSERT_EQ(ev.common.arch.regs.rcx, max(NR_BYTES - rounds, 0));
		if (rounds <= NR_BYTES)
			TEST_ASSERT_EQ(ev.singlestep.failed, 1);
	} while (ev.common.arch.regs.rip == CODE + 1);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 3);
	reply(g, &ev);
	wait_step_at(g, CODE + 4, &ev);
	let_go(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.regs.rcx, 0);
}

KVMI_TEST(kvmi_singlestep_long, string_output)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rcx = NR_BYTES;
	g->start.regs.rdx = 0x99;
	g->start.regs.rsi = CODE;
	/* REP OUTSB */
	kvmi_guest_code(g, NOP "\xf3\x6e" NOP);
	step_string(g, KVM_EXIT_IO_OUT);
	TEST_ASSERT_EQ(g->state.regs.rsi, CODE + NR_BYTES);
}

KVMI_TEST(kvmi_singlestep_long, string_input)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rcx = NR_BYTES;
	g->start.regs.rdx = 0x99;
	/* REP INSB */
	kvmi_guest_code(g, NOP "\xf3\x6c" NOP);
	step_string(g, KVM_EXIT_IO_IN);
	TEST_ASSERT_EQ(g->state.regs.rdi, DATA + NR_BYTES);
	TEST_ASSERT(!memcmp(g->state.mem + DATA, "012", NR_BYTES), "Other bytes");
}

/* An access that the tool has forbidden is asked for before the step ends. */
KVMI_TEST(kvmi_singlestep_long, page_access)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_get_features(&g->s, &features);
	if (!features.access)
		SKIP(return, "Access to pages cannot be taken away");

	g->start.regs.rax = 0x5a;
	kvmi_guest_code(g, NOP WRITE STC);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, 0, DATA, 1,
					      KVMI_PAGE_ACCESS_R |
					      KVMI_PAGE_ACCESS_X), 0);
	start(g);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	wait_step_at(g, CODE + 1, &ev);
	reply(g, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 1);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	reply(g, &ev);
	wait_step_at(g, CODE + 3, &ev);
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, DATA), 0x5a);
	reply(g, &ev);
	wait_step_at(g, CODE + 4, &ev);
	let_go(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* A host that cannot do it says so. */
FIXTURE(kvmi_singlestep_unsupported) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_singlestep_unsupported)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_hook(&g->s, g->vm);
	if (is_supported(&g->s))
		SKIP(return, "Single-stepping is supported");
	kvmi_guest_code(g, NOP STC);
	kvmi_guest_run_normally(g);
}

FIXTURE_TEARDOWN(kvmi_singlestep_unsupported)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_singlestep_unsupported, control)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(control(g, 2), -KVM_EINVAL);
	TEST_ASSERT_KVMI(control(g, 1), -KVM_EOPNOTSUPP);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
