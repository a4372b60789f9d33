// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_PF of instructions that exit to KVM, or to
 * userspace, when they are let through
 *
 * Each is the last one of a page that may not be executed.
 */
#include <linux/kvm_para.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

#define CODE_PAGE	0xd000
#define CODE_END	(CODE_PAGE + PAGE)

/* Ports and an address that nothing else uses */
#define PORT		0x1234
#define SHORT_PORT	0x88
#define MMIO		0xf000
#define MMIO_GPA	0x100000
/* What userspace answers, byte by byte */
#define DEVICE_BYTE	0x42

FIXTURE(kvmi_pf_exit) {
	struct kvmi_guest g;
};

/*
 * @exit is that to userspace, @vector an exception.  KVM knows where @code ends
 * unless it is @unknown.
 */
FIXTURE_VARIANT(kvmi_pf_exit) {
	const char *code;
	size_t size;
	u64 rax;
	u64 rcx;
	u64 rdx;
	u64 rdi;
	u64 stack;
	u32 exit;
	u8 vector;
	bool unknown;
};

#define CODE(bytes)	.code = bytes, .size = sizeof(bytes) - 1

/* IN AL, DX */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, in) {
	CODE("\xec"),
	.rdx = PORT,
	.exit = KVM_EXIT_IO,
};

/* OUT DX, AL */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, out) {
	CODE("\xee"),
	.rax = 0x77,
	.rdx = PORT,
	.exit = KVM_EXIT_IO,
};

/* OUT 0x88, EAX */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, out_immediate) {
	CODE("\xe7\x88"),
	.rax = 0x77665544,
	.exit = KVM_EXIT_IO,
};

/* INSB */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, ins) {
	CODE("\x6c"),
	.rdx = PORT,
	.exit = KVM_EXIT_IO,
};

/* OUTSB */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, outs) {
	CODE("\x6e"),
	.rdx = PORT,
	.exit = KVM_EXIT_IO,
};

/* MOV EAX, [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, mmio_read) {
	CODE("\x8b\x07"),
	.rdi = MMIO,
	.exit = KVM_EXIT_MMIO,
};

/* MOV [RDI], EAX */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, mmio_write) {
	CODE("\x89\x07"),
	.rax = 0x77665544,
	.rdi = MMIO,
	.exit = KVM_EXIT_MMIO,
};

/* MOVSB */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, mmio_movs) {
	CODE("\xa4"),
	.rdi = MMIO,
	.exit = KVM_EXIT_MMIO,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, hlt) {
	CODE("\xf4"),
	.exit = KVM_EXIT_HLT,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, cpuid) {
	CODE("\x0f\xa2"),
	.rax = KVM_CPUID_SIGNATURE,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, rdmsr) {
	CODE("\x0f\x32"),
	.rcx = MSR_IA32_APICBASE,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, wrmsr) {
	CODE("\x0f\x30"),
	.rax = 0x10,
	.rcx = MSR_IA32_SYSENTER_CS,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, rdmsr_unknown) {
	CODE("\x0f\x32"),
	.rcx = 0x12345678,
	.vector = GP_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, rdpmc) {
	CODE("\x0f\x33"),
	.rcx = 0x12345678,
	.vector = GP_VECTOR,
};

/* VMCALL; AMD's is put in its place */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, hypercall) {
	CODE("\x0f\x01\xc1"),
	.rax = KVM_HC_VAPIC_POLL_IRQ,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_to_cr0) {
	CODE("\x0f\x22\xc0"),
	.rax = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG |
	       X86_CR0_AM,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_to_cr3) {
	CODE("\x0f\x22\xd8"),
	.rax = KVMI_GUEST_PAGE_TABLES | 0x18,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_to_cr4) {
	CODE("\x0f\x22\xe0"),
	.rax = X86_CR4_PAE | X86_CR4_PSE | X86_CR4_MCE,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_to_cr8) {
	CODE("\x44\x0f\x22\xc0"),
	.rax = 5,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_from_cr8) {
	CODE("\x44\x0f\x20\xc0"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_to_dr7) {
	CODE("\x0f\x23\xf8"),
	.rax = 0x500,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_from_dr6) {
	CODE("\x0f\x21\xf0"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, clts) {
	CODE("\x0f\x06"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, lmsw) {
	CODE("\x0f\x01\xf0"),
	.rax = X86_CR0_PE | X86_CR0_MP,
};

/* INVLPG [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, invlpg) {
	CODE("\x0f\x01\x3f"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, wbinvd) {
	CODE("\x0f\x09"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, pause) {
	CODE("\xf3\x90"),
};

/* LIDT [RSI] */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, lidt) {
	CODE("\x0f\x01\x1e"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, swapgs) {
	CODE("\x0f\x01\xf8"),
	.unknown = true,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, pushf) {
	CODE("\x9c"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, popf) {
	CODE("\x9d"),
	.stack = X86_EFLAGS_FIXED | X86_EFLAGS_CF,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, popf_trap_flag) {
	CODE("\x9d"),
	.stack = X86_EFLAGS_FIXED | X86_EFLAGS_TF,
};

FIXTURE_VARIANT_ADD(kvmi_pf_exit, sti) {
	CODE("\xfb"),
};

/* MOV SS, EAX */
FIXTURE_VARIANT_ADD(kvmi_pf_exit, mov_ss) {
	CODE("\x8e\xd0"),
	.rax = KVMI_GUEST_KERNEL_DS,
};

/* Be the device, if there is an exit to userspace. */
static void serve_exit(struct kvmi_guest *g, u32 exit)
{
	struct kvm_run *run = g->vcpu->run;

	if (!exit)
		return;

	kvmi_run_wait_exit(&g->r, exit);
	switch (exit) {
	case KVM_EXIT_IO:
		TEST_ASSERT(run->io.port == PORT || run->io.port == SHORT_PORT,
			    "Port 0x%x", run->io.port);
		if (run->io.direction == KVM_EXIT_IO_IN)
			memset((void *)run + run->io.data_offset, DEVICE_BYTE,
			       run->io.size * run->io.count);
		break;
	case KVM_EXIT_MMIO:
		TEST_ASSERT_EQ(run->mmio.phys_addr, MMIO_GPA);
		if (!run->mmio.is_write)
			memset(run->mmio.data, DEVICE_BYTE, run->mmio.len);
		break;
	}
	kvmi_run_start(&g->r, g->r.s, g->vcpu);
}

static int serve(struct kvmi_guest *g, u32 exit)
{
	serve_exit(g, exit);
	return kvmi_guest_stop(g);
}

static void serve_normally(struct kvmi_guest *g, u32 exit)
{
	TEST_ASSERT_EQ(serve(g, exit), g->normal_vector);
	kvmi_guest_compare(&g->state, &g->normal);
}

FIXTURE_SETUP(kvmi_pf_exit)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs *regs = &g->start.regs;
	u8 *code;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	regs->rax = variant->rax;
	regs->rcx = variant->rcx;
	regs->rdx = variant->rdx;
	regs->rsi = KVMI_GUEST_DATA + 0x80;
	if (variant->rdi)
		regs->rdi = variant->rdi;
	/* A descriptor table register for LIDT, and what POPF finds */
	memcpy(g->start.mem + regs->rsi, "\xff\x01\x00\x10", 4);
	regs->rsp -= 64;
	memcpy(g->start.mem + regs->rsp, &variant->stack, sizeof(variant->stack));
	kvmi_guest_map(g, g->start.mem, MMIO, MMIO_GPA, KVMI_GUEST_PTE);

	kvmi_guest_code(g, "");
	memcpy(g->start.mem + CODE_END, g->start.mem + KVMI_GUEST_CODE, 2);
	code = g->start.mem + CODE_END - variant->size;
	memcpy(code, variant->code, variant->size);
	if (variant->rax == KVM_HC_VAPIC_POLL_IRQ && host_cpu_is_amd_compatible)
		code[2] = 0xd9;
	regs->rip = CODE_END - variant->size;
	g->end = CODE_END;
	g->stack = regs->rsp;
	kvmi_guest_reset(g);

	kvmi_run_start(&g->r, NULL, g->vcpu);
	g->normal_vector = serve(g, variant->exit);
	g->normal = g->state;
	TEST_ASSERT_EQ(g->normal_vector,
		       variant->vector ?: KVMI_GUEST_NO_EXCEPTION);
	kvmi_guest_reset(g);
}

FIXTURE_TEARDOWN(kvmi_pf_exit)
{
	kvmi_guest_free(&self->g);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_restrict(g, CODE_PAGE, R | W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.access, X);
	TEST_ASSERT_EQ(ev->pf.gpa, g->start.regs.rip);
}

KVMI_TEST(kvmi_pf_exit, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	serve_normally(g, variant->exit);
}

KVMI_TEST(kvmi_pf_exit, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	if (variant->unknown) {
		kvmi_guest_skip_in_vain(g, &ev);
		serve_normally(g, variant->exit);
	} else {
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(g);
	}
}

/* Time and again, so that nothing of a step is left behind */
KVMI_TEST(kvmi_pf_exit, event_off)
{
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_restrict(g, CODE_PAGE, R | W);
	for (i = 0; i < 3; i++) {
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		serve_normally(g, variant->exit);
		kvmi_guest_reset(g);
	}
}

KVMI_TEST(kvmi_pf_exit, tool_gone)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_close(&g->s);
	serve_normally(g, variant->exit);
}

/* The next instruction is not part of the step. */
KVMI_TEST(kvmi_pf_exit, next_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (variant->vector)
		SKIP(return, "An exception's handler is next");

	kvmi_guest_restrict(g, CODE_END, R | W);
	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	serve_exit(g, variant->exit);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	TEST_ASSERT_EQ(ev.pf.gpa, CODE_END);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE_END);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	serve_normally(g, 0);
}

/* The tool is asked about the page, and then about the instruction. */
FIXTURE(kvmi_pf_and_event) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf_and_event) {
	u8 action;
};

FIXTURE_VARIANT_ADD(kvmi_pf_and_event, allow) {
	.action = KVMI_EVENT_ACTION_ALLOW,
};

FIXTURE_VARIANT_ADD(kvmi_pf_and_event, skip) {
	.action = KVMI_EVENT_ACTION_SKIP,
};

FIXTURE_VARIANT_ADD(kvmi_pf_and_event, retry) {
	.action = KVMI_EVENT_ACTION_RETRY,
};

FIXTURE_SETUP(kvmi_pf_and_event)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	kvmi_guest_create(g, KVMI_GUEST_LONG);
}

FIXTURE_TEARDOWN(kvmi_pf_and_event)
{
	kvmi_guest_free(&self->g);
}

FIXTURE(kvmi_pf_exit_retry) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_pf_exit_retry)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
}

FIXTURE_TEARDOWN(kvmi_pf_exit_retry)
{
	kvmi_guest_free(&self->g);
}

static void start_both(struct kvmi_guest *g, u16 event, struct kvmi_event *ev)
{
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, event, 1), 0);
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, event, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
}

/* The end is on the page, too. */
static void finish_both(struct kvmi_guest *g, u16 event, u8 action,
			struct kvmi_event *ev)
{
	kvmi_reply(&g->s, ev, action);
	if (action == KVMI_EVENT_ACTION_RETRY) {
		/* It may still be executed, as that has not been done yet. */
		kvmi_wait_event(&g->s, event, ev);
		kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.gpa, g->end);
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
	if (action == KVMI_EVENT_ACTION_SKIP)
		kvmi_guest_stop_unchanged(g);
	else
		kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_and_event, cpuid)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rax = KVM_CPUID_SIGNATURE;
	kvmi_guest_code(g, "\x0f\xa2");
	kvmi_guest_run_normally(g);
	start_both(g, KVMI_VCPU_EVENT_CPUID, &ev);
	finish_both(g, KVMI_VCPU_EVENT_CPUID, variant->action, &ev);
}

KVMI_TEST(kvmi_pf_and_event, msr)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev, pause;
	u64 old = vcpu_get_msr(g->vcpu, MSR_IA32_SYSENTER_CS);

	g->start.regs.rcx = MSR_IA32_SYSENTER_CS;
	g->start.regs.rax = 0x10;
	kvmi_guest_code(g, "\x0f\x30");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, MSR_IA32_SYSENTER_CS), 0x10);
	vcpu_set_msr(g->vcpu, MSR_IA32_SYSENTER_CS, old);

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_msr(&g->s, 0, MSR_IA32_SYSENTER_CS, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
	kvmi_guest_reset(g);
	vcpu_set_msr(g->vcpu, MSR_IA32_SYSENTER_CS, old);

	start_both(g, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.new_value, 0x10);
	finish_both(g, KVMI_VCPU_EVENT_MSR, variant->action, &ev);
	TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, MSR_IA32_SYSENTER_CS),
		       variant->action == KVMI_EVENT_ACTION_SKIP ? old : 0x10);
}

/* The consent was for one instruction, wherever the tool has the guest go on. */
KVMI_TEST(kvmi_pf_exit_retry, another_instruction)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	/* CPUID; MOV [RDI], AL */
	g->start.regs.rdi = KVMI_GUEST_DATA;
	kvmi_guest_code(g, "\x0f\xa2\x88\x07");
	kvmi_guest_restrict(g, KVMI_GUEST_DATA, R | X);
	start_both(g, KVMI_VCPU_EVENT_CPUID, &ev);
	regs = ev.common.arch.regs;
	regs.rip += 2;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_CODE + 2);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, g->end);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_unchanged(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
