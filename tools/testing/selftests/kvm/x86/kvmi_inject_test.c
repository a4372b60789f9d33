// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_INJECT_EXCEPTION and the TRAP event that follows
 */
#include <fcntl.h>
#include <unistd.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define NOP		"\x90"
#define INT3		"\xcc"
#define INTO		"\xce"
#define CPUID		"\x0f\xa2"

/* In MSR_IA32_VMX_BASIC */
#define NO_HW_ERROR_CODE_CC	BIT_ULL(56)

#define ERROR_CODE	0x1234
#define ADDRESS		0x12345678
/* An interrupt */
#define IRQ_VECTOR	0x30

#define KVMI_GUEST_FIXTURE	kvmi_inject
#include "kvmi_guest_modes.h"

/*
 * QEMU's emulation of SVM looks at a list of its own for the exceptions that have
 * error codes, not at what it is asked to inject, whoever asks.
 */
static bool not_pushed[32];

static void look_at_processor(struct kvmi_guest *g, u8 nr)
{
	struct kvm_vcpu_events events = {
		.exception = {
			.injected = 1,
			.nr = nr,
			.has_error_code = 1,
			.error_code = ERROR_CODE,
		},
	};

	vcpu_events_set(g->vcpu, &events);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	not_pushed[nr] = kvmi_guest_stop(g) == nr && !g->frame.has_error_code;
	kvmi_guest_reset(g);
}

/* The processor has no such exception, and SVM takes it for an error. */
static bool is_reserved(u8 nr)
{
	if (!host_cpu_is_amd_compatible)
		return false;

	switch (nr) {
	case CP_VECTOR:
		return !kvm_cpu_has(X86_FEATURE_SHSTK);
	case VC_VECTOR:
		return !kvm_cpu_has(X86_FEATURE_SEV_ES);
	default:
		return nr == 9 || nr == 15 || nr == 20 || (nr >= 22 && nr <= 27) ||
		       nr == 31;
	}
}

FIXTURE_SETUP(kvmi_inject)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, variant->mode);
	kvmi_guest_code(g, NOP NOP);
	if (host_cpu_is_amd_compatible) {
		if (!is_reserved(CP_VECTOR))
			look_at_processor(g, CP_VECTOR);
		if (!is_reserved(VC_VECTOR))
			look_at_processor(g, VC_VECTOR);
		look_at_processor(g, SX_VECTOR);
	}
}

/* Inject before the guest's first instruction. */
static void inject(struct kvmi_guest *g, u8 nr)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, nr, ERROR_CODE, ADDRESS), 0);
	kvmi_unpark(&g->s, &pause);
}

/* VMX without CET has an own idea of which exceptions have error codes. */
static bool has_any_error_code(void)
{
	u64 basic;
	int fd;

	if (host_cpu_is_amd_compatible)
		return true;

	/* The host's own: what KVM has for nested guests may be less. */
	fd = open("/dev/cpu/0/msr", O_RDONLY);
	if (fd < 0 || pread(fd, &basic, sizeof(basic), MSR_IA32_VMX_BASIC) != sizeof(basic))
		basic = kvm_get_feature_msr(MSR_IA32_VMX_BASIC);
	if (fd >= 0)
		close(fd);

	return basic & NO_HW_ERROR_CODE_CC;
}

static bool has_error_code(struct kvmi_guest *g, u8 nr)
{
	switch (nr) {
	case DF_VECTOR:
	case TS_VECTOR:
	case NP_VECTOR:
	case SS_VECTOR:
	case GP_VECTOR:
	case PF_VECTOR:
	case AC_VECTOR:
		return !kvmi_guest_is_real(g);
	case CP_VECTOR:
		return !kvmi_guest_is_real(g) && has_any_error_code();
	case VC_VECTOR:
	case SX_VECTOR:
		return !kvmi_guest_is_real(g) && host_cpu_is_amd_compatible;
	default:
		return false;
	}
}

static void wait_trap(struct kvmi_guest *g, u8 nr, u64 rip, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, ev);
	TEST_ASSERT_EQ(ev->trap.nr, nr);
	TEST_ASSERT_EQ(ev->trap.error_code,
		       has_error_code(g, nr) ? ERROR_CODE : 0);
	TEST_ASSERT_EQ(ev->trap.address, nr == PF_VECTOR ? ADDRESS : 0);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev->common.arch.regs.rsp, g->start.regs.rsp);
}

static void stop_with(struct kvmi_guest *g, u8 nr, u64 rip)
{
	int vector = kvmi_guest_stop(g);

	TEST_ASSERT(vector == nr, "Vector %d instead of %u", vector, nr);
	TEST_ASSERT_EQ(g->frame.rip, rip);
	TEST_ASSERT_EQ(g->frame.cs, g->start.sregs.cs.selector);
	TEST_ASSERT_EQ(g->frame.has_error_code,
		       has_error_code(g, nr) && !not_pushed[nr]);
	if (g->frame.has_error_code)
		TEST_ASSERT_EQ(g->frame.error_code, ERROR_CODE);
	TEST_ASSERT_EQ(g->state.sregs.cr2, nr == PF_VECTOR ? ADDRESS : 0);
}

/* INT3 and INTO are where the guest is: the next instruction follows. */
static u64 return_rip(u8 nr, u64 rip)
{
	return rip + (nr == BP_VECTOR || nr == OF_VECTOR);
}

KVMI_TEST(kvmi_inject, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u8 nr;

	for (nr = 0; nr < 32; nr++) {
		if (nr == NMI_VECTOR || is_reserved(nr))
			continue;
		/* These belong to an instruction, the latter not to 64-bit code. */
		if (nr == BP_VECTOR)
			kvmi_guest_code(g, INT3 NOP);
		else if (nr == OF_VECTOR && !kvmi_guest_is_64bit(g))
			kvmi_guest_code(g, INTO NOP);
		else if (nr == OF_VECTOR)
			continue;
		else
			kvmi_guest_code(g, NOP NOP);
		inject(g, nr);
		wait_trap(g, nr, KVMI_GUEST_CODE, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		stop_with(g, nr, return_rip(nr, KVMI_GUEST_CODE));
	}
}

/* KVM does not know where such an instruction would end, but on Intel. */
KVMI_TEST(kvmi_inject, breakpoint_without_an_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* MOV AL, 1 */
	kvmi_guest_code(g, "\xb0\x01");
	inject(g, BP_VECTOR);
	wait_trap(g, BP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	if (host_cpu_is_amd_compatible) {
		g->start.regs.rax = 1;
		kvmi_guest_stop_unchanged(g);
	} else {
		stop_with(g, BP_VECTOR, KVMI_GUEST_CODE + 1);
	}
}

/* An exception in the delivery of an exception makes what the processor says. */
KVMI_TEST(kvmi_inject, in_delivery)
{
	static const struct {
		u8 nr;
		u8 next;
	} cases[] = {
		{ UD_VECTOR, NP_VECTOR },
		{ GP_VECTOR, DF_VECTOR },
		{ PF_VECTOR, DF_VECTOR },
		{ CP_VECTOR, DF_VECTOR },
	};
	struct kvmi_guest *g = &self->g;
	int i, size = kvmi_guest_is_long(g) ? 16 : 8;
	struct kvmi_event ev;
	u8 *gate;

	if (kvmi_guest_is_real(g))
		SKIP(return, "All handlers are present");

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (is_reserved(cases[i].nr))
			continue;
		/* The handler is not present. */
		gate = g->start.mem + KVMI_GUEST_IDT + cases[i].nr * size + 5;
		*gate &= ~0x80;
		kvmi_guest_reset(g);

		kvmi_guest_park(g, &ev);
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP,
						    1), 0);
		TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, cases[i].nr, ERROR_CODE,
					     ADDRESS), 0);
		kvmi_unpark(&g->s, &ev);
		wait_trap(g, cases[i].nr, KVMI_GUEST_CODE, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
		TEST_ASSERT_EQ(ev.trap.nr, cases[i].next);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), cases[i].next);
		*gate |= 0x80;
	}
}

/* One event for each, whether or not the tool wants those of the guest. */
KVMI_TEST(kvmi_inject, event_enabled)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, ADDRESS), 0);
	kvmi_unpark(&g->s, &ev);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);
}

/* Later ones are the guest's own. */
KVMI_TEST(kvmi_inject, event_for_one)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* UD2 */
	kvmi_guest_code(g, "\x0f\x0b");
	inject(g, GP_VECTOR);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), UD_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);
}

/* The tool has another idea. */
KVMI_TEST(kvmi_inject, retry)
{
	static const u8 faults[] = { UD_VECTOR, GP_VECTOR, PF_VECTOR };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		inject(g, faults[i]);
		wait_trap(g, faults[i], KVMI_GUEST_CODE, &ev);
		TEST_ASSERT_EQ(ev.trap.flags, KVMI_TRAP_RETRY);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		kvmi_guest_stop_unchanged(g);
		kvmi_guest_reset(g);
	}
}

KVMI_TEST(kvmi_inject, retry_of_a_trap)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	inject(g, DB_VECTOR);
	wait_trap(g, DB_VECTOR, KVMI_GUEST_CODE, &ev);
	TEST_ASSERT_EQ(ev.trap.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_expect_closed(&g->s);
	stop_with(g, DB_VECTOR, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_inject, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	inject(g, GP_VECTOR);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_CRASH);
	for (i = 0; i < 3; i++) {
		kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
		kvmi_guest_get_state(g, &g->state);
		TEST_ASSERT_EQ(g->state.regs.rip, KVMI_GUEST_CODE);
		g->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&g->r, &g->s, g->vcpu);
	}
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
}

KVMI_TEST(kvmi_inject, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	inject(g, GP_VECTOR);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_expect_closed(&g->s);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_inject, allow_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	inject(g, GP_VECTOR);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	regs = ev.common.arch.regs;
	regs.rip++;
	regs.rsi = 0x1234;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE + 1);
	TEST_ASSERT_EQ(g->state.regs.rsi, 0x1234);
}

/* Requests of an earlier event are about where that leaves the guest. */
static void start_cpuid(struct kvmi_guest *g, u8 action)
{
	struct kvmi_event ev;

	kvmi_guest_code(g, CPUID NOP);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, ADDRESS), 0);
	kvmi_reply(&g->s, &ev, action);
}

KVMI_TEST(kvmi_inject, after_an_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_cpuid(g, KVMI_EVENT_ACTION_ALLOW);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE + 2, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE + 2);
	TEST_ASSERT(g->state.regs.rdx, "CPUID has not been executed");
}

KVMI_TEST(kvmi_inject, after_a_skipped_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_cpuid(g, KVMI_EVENT_ACTION_SKIP);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE + 2, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE + 2);
	TEST_ASSERT_EQ(g->state.regs.rdx, 0);
}

KVMI_TEST(kvmi_inject, instead_of_an_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_cpuid(g, KVMI_EVENT_ACTION_RETRY);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(g->state.regs.rdx, 0);
}

/* The guest's own exception goes first; the tool learns of it. */
static void start_undefined(struct kvmi_guest *g, u8 action)
{
	struct kvmi_event ev;

	/* UD2 */
	kvmi_guest_code(g, "\x0f\x0b");
	kvmi_guest_start(g, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, UD_VECTOR);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 0), 0);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, ADDRESS), 0);
	kvmi_reply(&g->s, &ev, action);
}

KVMI_TEST(kvmi_inject, another_exception_takes_precedence)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_undefined(g, KVMI_EVENT_ACTION_ALLOW);
	wait_trap(g, UD_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, UD_VECTOR, KVMI_GUEST_CODE);

	/* It has been dropped, not put off. */
	kvmi_guest_reset(g);
	kvmi_guest_code(g, NOP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_inject, another_exception_is_replaced)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_undefined(g, KVMI_EVENT_ACTION_RETRY);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_inject, breakpoint_takes_precedence)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	kvmi_guest_code(g, INT3);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, ADDRESS), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	wait_trap(g, BP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, BP_VECTOR, KVMI_GUEST_CODE + 1);
}

/* A tool that uses INT3 itself gives the guest its own this way. */
KVMI_TEST(kvmi_inject, breakpoint_at_a_breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	kvmi_guest_code(g, INT3);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, BP_VECTOR, 0, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_trap(g, BP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, BP_VECTOR, KVMI_GUEST_CODE + 1);
}

/* The VMM has begun to deliver an interrupt, or an NMI. */
static void deliver(struct kvmi_guest *g, u8 vector)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(g->vcpu, &events);
	if (vector == NMI_VECTOR) {
		events.nmi.injected = 1;
	} else {
		events.interrupt.injected = 1;
		events.interrupt.nr = vector;
	}
	vcpu_events_set(g->vcpu, &events);
}

/* It comes first, as it would be lost, unlike an exception of an instruction. */
KVMI_TEST(kvmi_inject, in_delivery_of_an_interrupt)
{
	static const u8 vectors[] = { IRQ_VECTOR, NMI_VECTOR };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;
	int i;

	g->start.regs.rflags |= X86_EFLAGS_IF;
	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		kvmi_guest_reset(g);
		deliver(g, vectors[i]);
		kvmi_guest_park(g, &pause);
		TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0),
				 -KVM_EBUSY);
		kvmi_unpark(&g->s, &pause);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), vectors[i]);
		TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);
	}
}

/* The VMM begins when the tool has been answered: there is no TRAP then. */
KVMI_TEST(kvmi_inject, before_an_interrupt)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rflags |= X86_EFLAGS_IF;
	kvmi_guest_reset(g);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0), 0);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	deliver(g, IRQ_VECTOR);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_unpark(&g->s, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), IRQ_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);

	/* It has been dropped, and the tool can ask again. */
	kvmi_guest_reset(g);
	inject(g, UD_VECTOR);
	wait_trap(g, UD_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, UD_VECTOR, KVMI_GUEST_CODE);
}

/* The answer arrives while nobody runs the vCPU, and is used once. */
KVMI_TEST(kvmi_inject, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	for (i = 0; i < 2; i++) {
		inject(g, PF_VECTOR);
		wait_trap(g, PF_VECTOR, KVMI_GUEST_CODE, &ev);
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);

		kvmi_reply(&g->s, &ev, i ? KVMI_EVENT_ACTION_RETRY :
					   KVMI_EVENT_ACTION_ALLOW);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		if (i)
			kvmi_guest_stop_unchanged(g);
		else
			stop_with(g, PF_VECTOR, KVMI_GUEST_CODE);
		kvmi_guest_reset(g);
	}
}

KVMI_TEST(kvmi_inject, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	inject(g, GP_VECTOR);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_close(&g->s);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_inject, unhook)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	inject(g, GP_VECTOR);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);

	/* Of the next session, too. */
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	inject(g, UD_VECTOR);
	wait_trap(g, UD_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, UD_VECTOR, KVMI_GUEST_CODE);
}

FIXTURE(kvmi_inject_errors) {
	struct kvmi_guest g;
	struct kvmi_event pause;
};

FIXTURE_SETUP(kvmi_inject_errors)
{
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
	kvmi_guest_code(&self->g, NOP);
	kvmi_guest_park(&self->g, &self->pause);
}

FIXTURE_TEARDOWN(kvmi_inject_errors)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_inject_errors, invalid)
{
	static const struct kvmi_vcpu_inject_exception bad[] = {
		{ .nr = GP_VECTOR, .padding1 = 1 },
		{ .nr = GP_VECTOR, .padding2 = 0x8000 },
		{ .nr = NMI_VECTOR },
		{ .nr = 32 },
		{ .nr = 128 },
		{ .nr = 255 },
	};
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0,
					       KVMI_VCPU_INJECT_EXCEPTION,
					       &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);
	kvmi_unpark(&g->s, &self->pause);
	kvmi_guest_stop_unchanged(g);
}

/* What a tool may not see it may not cause. */
KVMI_TEST(kvmi_inject_errors, reserved)
{
	struct kvmi_vcpu_inject_exception req = { };

	if (!host_cpu_is_amd_compatible)
		SKIP(return, "VMX delivers any vector");

	for (req.nr = 0; req.nr < 32; req.nr++) {
		if (is_reserved(req.nr))
			TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->g.s, 0,
						       KVMI_VCPU_INJECT_EXCEPTION,
						       &req, sizeof(req), NULL, 0),
					 -KVM_EINVAL);
	}
	kvmi_unpark(&self->g.s, &self->pause);
	TEST_ASSERT_EQ(kvmi_guest_stop(&self->g), KVMI_GUEST_NO_EXCEPTION);
}

KVMI_TEST(kvmi_inject_errors, event_not_allowed)
{
	struct kvmi_vcpu_inject_exception bad = { .padding1 = 1 };
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_EQ(__kvmi_event(g->vm, 0, KVMI_VCPU_EVENT_TRAP), 0);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, 0, 0), -KVM_EPERM);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_INJECT_EXCEPTION,
				       &bad, sizeof(bad), NULL, 0), -KVM_EPERM);
	kvmi_unpark(&g->s, &self->pause);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_inject_errors, command_not_allowed)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_EQ(__kvmi_command(g->vm, 0, KVMI_VCPU_INJECT_EXCEPTION), 0);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, 0, 0), -KVM_EPERM);
	kvmi_unpark(&g->s, &self->pause);
	kvmi_guest_stop_unchanged(g);
}

/* One at a time, from the request until its event has been sent */
KVMI_TEST(kvmi_inject_errors, busy)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0), 0);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0),
			 -KVM_EBUSY);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, UD_VECTOR, 0, 0), -KVM_EBUSY);
	kvmi_unpark(&g->s, &self->pause);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_with(g, GP_VECTOR, KVMI_GUEST_CODE);

	kvmi_guest_reset(g);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, UD_VECTOR, 0, 0), 0);
	kvmi_unpark(&g->s, &ev);
	wait_trap(g, UD_VECTOR, KVMI_GUEST_CODE, &ev);

	/* That event has been sent. */
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_trap(g, GP_VECTOR, KVMI_GUEST_CODE, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_unchanged(g);
}

/* In protected mode with segments that not every processor enters a guest with */
FIXTURE(kvmi_inject_emulated) {
	struct kvmi_guest g;
	bool emulated;
};

FIXTURE_SETUP(kvmi_inject_emulated)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_PROT);
	kvmi_guest_code(g, CPUID NOP);
	self->emulated = host_cpu_is_intel && !kvm_is_unrestricted_guest_enabled();
}

FIXTURE_TEARDOWN(kvmi_inject_emulated)
{
	kvmi_guest_free(&self->g);
}

/* As the guest is between MOV to CR0 and the next jump.  The CPL is still 0. */
static void load_other_rpl(struct kvmi_guest *g)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(g->vcpu, &sregs);
	sregs.ss.selector |= 1;
	vcpu_sregs_set(g->vcpu, &sregs);
}

/* KVM has no way to deliver an exception. */
KVMI_TEST(kvmi_inject_emulated, instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	load_other_rpl(g);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0),
			 self->emulated ? -KVM_EBUSY : 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	if (!self->emulated) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
		TEST_ASSERT_EQ(ev.trap.nr, GP_VECTOR);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), GP_VECTOR);
		return;
	}

	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT(g->state.regs.rdx, "CPUID has not been executed");
}

/* Nor when it was asked for before.  There is no TRAP then. */
KVMI_TEST(kvmi_inject_emulated, before)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, ERROR_CODE, 0), 0);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	load_other_rpl(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_unpark(&g->s, &ev);
	if (!self->emulated) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
		TEST_ASSERT_EQ(ev.trap.nr, GP_VECTOR);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(kvmi_guest_stop(g), GP_VECTOR);
		return;
	}

	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	/* Neither does it come when it could. */
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
