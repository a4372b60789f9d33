// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_PF of instructions that fault or trap once
 * they are let through, and interrupts that come meanwhile
 */
#include <linux/kvm.h>

#include "apic.h"
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/* The code ends where this page does. */
#define CODE_PAGE	0xd000
#define CODE_END	(CODE_PAGE + PAGE)

/* In a page that may not be executed */
FIXTURE(kvmi_pf_fault) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf_fault) {
	const char *code;
	u8 vector;
	bool user;
	u64 rdi;
	u64 rflags;
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, undefined) {
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, user_undefined) {
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
	.user = true,
};

/* DIV ECX */
FIXTURE_VARIANT_ADD(kvmi_pf_fault, division) {
	.code = "\xf7\xf1",
	.vector = DE_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, breakpoint) {
	.code = "\xcc",
	.vector = BP_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, user_breakpoint) {
	.code = "\xcc",
	.vector = BP_VECTOR,
	.user = true,
};

/* INT 5 */
FIXTURE_VARIANT_ADD(kvmi_pf_fault, interrupt_instruction) {
	.code = "\xcd\x05",
	.vector = 5,
};

/* HLT */
FIXTURE_VARIANT_ADD(kvmi_pf_fault, user_protection) {
	.code = "\xf4",
	.vector = GP_VECTOR,
	.user = true,
};

/* MOV [RDI], AL */
FIXTURE_VARIANT_ADD(kvmi_pf_fault, page_fault) {
	.code = "\x88\x07",
	.vector = PF_VECTOR,
	.rdi = KVMI_GUEST_UNMAPPED + 0x123,
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, user_page_fault) {
	.code = "\x88\x07",
	.vector = PF_VECTOR,
	.user = true,
	.rdi = KVMI_GUEST_UNMAPPED + 0x123,
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, address) {
	.code = "\x88\x07",
	.vector = GP_VECTOR,
	.rdi = BIT_ULL(63),
};

/* JMP RDI */
FIXTURE_VARIANT_ADD(kvmi_pf_fault, jump_to_nowhere) {
	.code = "\xff\xe7",
	.vector = PF_VECTOR,
	.rdi = KVMI_GUEST_UNMAPPED,
};

/* STC: the guest steps itself */
FIXTURE_VARIANT_ADD(kvmi_pf_fault, trap_flag) {
	.code = "\xf9",
	.vector = DB_VECTOR,
	.rflags = X86_EFLAGS_TF,
};

FIXTURE_VARIANT_ADD(kvmi_pf_fault, user_trap_flag) {
	.code = "\xf9",
	.vector = DB_VECTOR,
	.user = true,
	.rflags = X86_EFLAGS_TF,
};

FIXTURE_SETUP(kvmi_pf_fault)
{
	struct kvmi_guest *g = &self->g;
	size_t size = strlen(variant->code);

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->user ? KVMI_GUEST_LONG_USER : KVMI_GUEST_LONG);
	memcpy(g->start.mem + CODE_END - size, variant->code, size);
	g->start.regs.rip = CODE_END - size;
	if (variant->rdi)
		g->start.regs.rdi = variant->rdi;
	g->start.regs.rflags |= variant->rflags;
	kvmi_guest_code(g, "");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, variant->vector);
}

FIXTURE_TEARDOWN(kvmi_pf_fault)
{
	kvmi_guest_free(&self->g);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_restrict(g, CODE_PAGE, R | W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.access, X);
	TEST_ASSERT_EQ(ev->pf.gpa, g->start.regs.rip);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, g->start.regs.rip);
	TEST_ASSERT_EQ(ev->common.arch.regs.rflags & ~X86_EFLAGS_RF,
		       g->start.regs.rflags);
}

KVMI_TEST(kvmi_pf_fault, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_fault, event_off)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_restrict(g, CODE_PAGE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* The handler is not part of the step. */
KVMI_TEST(kvmi_pf_fault, handler)
{
	u64 handler = KVMI_GUEST_HANDLERS + variant->vector * 16;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, KVMI_GUEST_HANDLERS, R | W);
	start(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	TEST_ASSERT_EQ(ev.pf.gpa, handler);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* Reported as any other exception, after the consent to the page */
KVMI_TEST(kvmi_pf_fault, trap_event)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (variant->vector == BP_VECTOR || variant->vector == 5)
		SKIP(return, "An interrupt that the guest asks for is no exception");

	start(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, variant->vector);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* A breakpoint of the guest's on the data that it may not write */
FIXTURE(kvmi_pf_watch) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_pf_watch)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.debugregs.db[0] = KVMI_GUEST_DATA;
	/* L0, and writes of one byte */
	g->start.debugregs.dr7 |= 1 | 1 << 16;
	/* MOV BYTE [RDI], 0x5a; NOP */
	kvmi_guest_code(g, "\xc6\x07\x5a\x90");
	kvmi_guest_run_normally(g);
}

FIXTURE_TEARDOWN(kvmi_pf_watch)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_pf_watch, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (g->normal_vector != DB_VECTOR)
		SKIP(return, "The processor has no breakpoints");

	kvmi_guest_restrict(g, KVMI_GUEST_DATA, R | X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, W);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* KVM's emulator does not know of breakpoints on data, introspected or not. */
KVMI_TEST(kvmi_pf_watch, emulated)
{
	struct kvmi_vcpu_event_pf_reply reply = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, KVMI_GUEST_DATA, R | X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, W);
	kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, &reply, sizeof(reply));
	g->start.mem[KVMI_GUEST_DATA] = 0x5a;
	kvmi_guest_stop_unchanged(g);
}

/* Traps of the guest's own that wait until the next instruction is over, or not */
FIXTURE(kvmi_pf_trap) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf_trap) {
	enum kvmi_guest_mode mode;
	const char *code;
	/* Instructions up to the trap */
	int instructions;
};

/* MOV SS, [(R|E)DI]; NOP; NOP */
FIXTURE_VARIANT_ADD(kvmi_pf_trap, long_mov) {
	.mode = KVMI_GUEST_LONG,
	.code = "\x8e\x17\x90\x90",
	.instructions = 2,
};

FIXTURE_VARIANT_ADD(kvmi_pf_trap, long_user_mov) {
	.mode = KVMI_GUEST_LONG_USER,
	.code = "\x8e\x17\x90\x90",
	.instructions = 2,
};

FIXTURE_VARIANT_ADD(kvmi_pf_trap, prot_mov) {
	.mode = KVMI_GUEST_PROT,
	.code = "\x8e\x17\x90\x90",
	.instructions = 2,
};

/* POP SS; NOP; NOP */
FIXTURE_VARIANT_ADD(kvmi_pf_trap, prot_pop) {
	.mode = KVMI_GUEST_PROT,
	.code = "\x17\x90\x90",
	.instructions = 2,
};

/* STI; NOP; NOP: a shadow for interrupts only */
FIXTURE_VARIANT_ADD(kvmi_pf_trap, long_sti) {
	.mode = KVMI_GUEST_LONG,
	.code = "\xfb\x90\x90",
	.instructions = 1,
};

/* MOV SS, [RDI]; CPUID; NOP */
FIXTURE_VARIANT_ADD(kvmi_pf_trap, long_mov_cpuid) {
	.mode = KVMI_GUEST_LONG,
	.code = "\x8e\x17\x0f\xa2\x90",
	.instructions = 2,
};

/* MOV SS, [RDI]; MOV CR4, RAX; NOP */
FIXTURE_VARIANT_ADD(kvmi_pf_trap, long_mov_cr4) {
	.mode = KVMI_GUEST_LONG,
	.code = "\x8e\x17\x0f\x22\xe0\x90",
	.instructions = 2,
};

/* REP STOSB; NOP: there is a trap after each iteration */
FIXTURE_VARIANT_ADD(kvmi_pf_trap, long_rep) {
	.mode = KVMI_GUEST_LONG,
	.code = "\xf3\xaa\x90",
	.instructions = 1,
};

FIXTURE_SETUP(kvmi_pf_trap)
{
	struct kvmi_guest *g = &self->g;
	u16 ss;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->mode);
	ss = g->start.sregs.ss.selector;
	memcpy(g->start.mem + KVMI_GUEST_DATA, &ss, sizeof(ss));
	if (variant->code[0] == 0x17) {
		/* The stack segment is on the stack. */
		memcpy(g->start.mem + KVMI_GUEST_STACK, &ss, sizeof(ss));
		g->stack += 4;
	}
	g->start.regs.rax = g->start.sregs.cr4;
	g->start.regs.rcx = 3;
	g->start.regs.rflags |= X86_EFLAGS_TF;
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, DB_VECTOR);
}

FIXTURE_TEARDOWN(kvmi_pf_trap)
{
	kvmi_guest_free(&self->g);
}

/* Each instruction is stepped, but for those that KVM executes instead. */
KVMI_TEST(kvmi_pf_trap, event_off)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* Have instructions executed by KVM, and those that follow by the processor. */
static void emulate(struct kvmi_guest *g, int emulated, int instructions)
{
	struct kvmi_vcpu_event_pf_reply reply = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_event ev;
	int i;

	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	for (i = 0; i < instructions; i++) {
		if (i)
			kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.access, X);
		TEST_ASSERT_EQ(ev.pf.flags, 0);
		if (i < emulated)
			kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW,
					&reply, sizeof(reply));
		else
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_trap, emulated)
{
	emulate(&self->g, variant->instructions, variant->instructions);
}

KVMI_TEST(kvmi_pf_trap, first_emulated)
{
	emulate(&self->g, 1, variant->instructions);
}

KVMI_TEST(kvmi_pf_trap, none_emulated)
{
	emulate(&self->g, 0, variant->instructions);
}

/* Interrupts that become pending while the tool thinks about it */
FIXTURE(kvmi_pf_interrupt) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u64 gpa;
};

FIXTURE_VARIANT(kvmi_pf_interrupt) {
	bool nmi;
};

FIXTURE_VARIANT_ADD(kvmi_pf_interrupt, irq) { };
FIXTURE_VARIANT_ADD(kvmi_pf_interrupt, nmi) { .nmi = true };

#define IRQ_VECTOR	0x55

/* The page that is restricted, and what the guest notices */
static u64 page[PAGE / sizeof(u64)] __aligned(PAGE);
static u64 interrupts, value_seen, rip_seen, rip_of_write;

static void handle_interrupt(struct ex_regs *regs)
{
	interrupts++;
	/* Only the first one is of interest, and not what comes after it. */
	if (interrupts == 1) {
		rip_seen = regs->rip;
		value_seen = regs->rcx;
	}
	if (regs->vector == IRQ_VECTOR)
		x2apic_write_reg(APIC_EOI, 0);
}

/* RCX tells whether the instruction was executed: it has what was in the page. */
static void guest_code_interrupt(void)
{
	u64 val;
	int i;

	x2apic_enable();
	sti();
	for (i = 1;; i++) {
		val = i;
		asm volatile("lea 1f(%%rip), %%rax\n\t"
			     "mov %%rax, %1\n\t"
			     "1: xchg %%rcx, %2\n\t"
			     "nop"
			     : "+c"(val), "=m"(rip_of_write), "+m"(page[0])
			     : : "rax", "memory");
		GUEST_SYNC3(page[0], interrupts, val);
	}
}

FIXTURE_SETUP(kvmi_pf_interrupt)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code_interrupt);
	vm_install_exception_handler(self->vm, IRQ_VECTOR, handle_interrupt);
	vm_install_exception_handler(self->vm, NMI_VECTOR, handle_interrupt);
	self->gpa = addr_gva2gpa(self->vm, (gva_t)page);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_pf_interrupt)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void send_interrupt(struct kvm_vm *vm, bool nmi)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000,
		.data = nmi ? 4 << 8 : IRQ_VECTOR,
	};
	int ret = __vm_ioctl(vm, KVM_SIGNAL_MSI, &msi);

	TEST_ASSERT(ret == 1, "The interrupt went nowhere: %d", ret);
}

/* Run to the write that is restricted. */
static void start_interrupt(struct _test_data_kvmi_pf_interrupt *self,
			    struct kvmi_event *ev)
{
	struct kvmi_event pause;
	struct ucall uc;

	/* Everything is in use before. */
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
	TEST_ASSERT_EQ(uc.args[1], 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, R | X), 0);
	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, &pause);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.access, W);
	TEST_ASSERT_EQ(ev->pf.gpa, self->gpa);
}

static u64 guest_u64(struct kvm_vm *vm, u64 *var)
{
	return *(u64 *)addr_gva2hva(vm, (gva_t)var);
}

/* The instruction that has the consent comes first. */
KVMI_TEST(kvmi_pf_interrupt, allow)
{
	struct kvmi_event ev;
	struct ucall uc;

	start_interrupt(self, &ev);
	send_interrupt(self->vm, variant->nmi);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 2);
	TEST_ASSERT_EQ(uc.args[1], 1);
	TEST_ASSERT_EQ(uc.args[2], 1);
	TEST_ASSERT_EQ(guest_u64(self->vm, &value_seen), 1);
	TEST_ASSERT(guest_u64(self->vm, &rip_seen) > ev.common.arch.regs.rip,
		    "The interrupt came first");
	TEST_ASSERT_EQ(guest_u64(self->vm, &rip_of_write), ev.common.arch.regs.rip);
}

KVMI_TEST(kvmi_pf_interrupt, skip)
{
	struct kvmi_event ev;
	struct ucall uc;

	start_interrupt(self, &ev);
	send_interrupt(self->vm, variant->nmi);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
	TEST_ASSERT_EQ(uc.args[1], 1);
	TEST_ASSERT_EQ(uc.args[2], 2);
	TEST_ASSERT_EQ(guest_u64(self->vm, &value_seen), 2);
}

/* The interrupt is taken before the instruction is tried again, or after it. */
KVMI_TEST(kvmi_pf_interrupt, retry)
{
	struct kvmi_event ev;
	struct ucall uc;

	start_interrupt(self, &ev);
	send_interrupt(self->vm, variant->nmi);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 2);
	TEST_ASSERT_EQ(uc.args[1], 1);
	TEST_ASSERT_EQ(uc.args[2], 1);
}

/* Neither is lost when there is nobody to ask. */
KVMI_TEST(kvmi_pf_interrupt, tool_gone)
{
	struct kvmi_event ev;
	struct ucall uc;

	start_interrupt(self, &ev);
	send_interrupt(self->vm, variant->nmi);
	kvmi_close(&self->s);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 2);
	TEST_ASSERT_EQ(uc.args[1], 1);
	TEST_ASSERT_EQ(uc.args[2], 1);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
