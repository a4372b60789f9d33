// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: interrupts of KVM's own irqchip while instructions are
 * executed one by one
 *
 * With APICv or AVIC it is the processor that delivers them.
 */
#include "kvmi_test_harness.h"
#include "apic.h"

#define VECTOR	0x50
/* Of a lower priority: it waits for the end of the other one */
#define LOW	0x40
#define RX	(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

/* What the guest's handler has seen of the page */
static u64 interrupts;
static u64 seen;

static void guest_irq(struct ex_regs *regs)
{
	u64 *page = (void *)regs->rdi;

	interrupts++;
	seen = READ_ONCE(*page);
	x2apic_write_reg(APIC_EOI, 0);
}

static void guest_code(u64 *page)
{
	x2apic_enable();
	sti_nop();
	for (;;) {
		GUEST_SYNC(0);
		asm volatile("movq $1, (%0)\n\tnop" : : "D"(page) : "memory");
		GUEST_SYNC2(interrupts, seen);
		*page = 0;
		interrupts = 0;
	}
}

/* The same with steps that the tool wants */
static void guest_code_nops(u64 *page)
{
	x2apic_enable();
	sti_nop();
	GUEST_SYNC(0);
	asm volatile("movq $1, (%0); nop; nop; nop; nop" : : "D"(page) : "memory");
	GUEST_SYNC2(interrupts, seen);
}

/*
 * Wait for an interrupt.  A processor may leave HLT without one: where HLT does not
 * exit, Bochs does so after each VM exit.
 */
static void guest_code_hlt(u64 *page)
{
	x2apic_enable();
	sti_nop();
	GUEST_SYNC(0);
	while (!READ_ONCE(interrupts))
		asm volatile("hlt; nop" : : "D"(page) : "memory");
	GUEST_SYNC2(interrupts, seen);
}

/* Wait for an interrupt with the stack at the end of the page. */
static void guest_code_stack(u64 *page)
{
	x2apic_enable();
	for (;;) {
		GUEST_SYNC(0);
		asm volatile("mov %%rsp, %%rbx\n\t"
			     "lea 4096(%%rdi), %%rsp\n\t"
			     "sti\n\t"
			     "1: pause\n\t"
			     "cmpq $0, %[interrupts]\n\t"
			     "je 1b\n\t"
			     "cli\n\t"
			     "mov %%rbx, %%rsp"
			     : : "D"(page), [interrupts] "m"(interrupts) : "rbx", "memory");
		GUEST_SYNC2(interrupts, seen);
		interrupts = 0;
	}
}

FIXTURE(kvmi_irqchip) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u64 gpa;
	u64 *hva;
};

#define PAGE	4096

/* Two pages below 1M, as all of a guest's code, for real mode to reach */
static void __aligned(PAGE) low_pages(void)
{
	asm volatile(".skip 2 * 4096");
}

static void create_with(struct _test_data_kvmi_irqchip *self, void *code,
			u64 disabled_exits)
{
	gva_t page = (gva_t)low_pages + PAGE;
	struct ucall uc;

	self->vm = vm_create(1);
	/* The boot CPU ignores SIPI. */
	vm_ioctl(self->vm, KVM_SET_BOOT_CPU_ID, (void *)1);
	if (disabled_exits)
		vm_enable_cap(self->vm, KVM_CAP_X86_DISABLE_EXITS, disabled_exits);
	self->vcpu = vm_vcpu_add(self->vm, 0, code);
	vm_install_exception_handler(self->vm, VECTOR, guest_irq);
	vm_install_exception_handler(self->vm, LOW, guest_irq);
	self->gpa = addr_gva2gpa(self->vm, page);
	self->hva = addr_gva2hva(self->vm, page);
	vcpu_args_set(self->vcpu, 1, page);
	kvmi_hook(&self->s, self->vm);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

static void create(struct _test_data_kvmi_irqchip *self, void *code)
{
	create_with(self, code, 0);
}

FIXTURE_SETUP(kvmi_irqchip)
{
}

FIXTURE_TEARDOWN(kvmi_irqchip)
{
	if (!self->vm)
		return;
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* Have the guest ask about its write. */
static void wait_write(struct _test_data_kvmi_irqchip *self, struct kvmi_event *ev)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, RX), 0);
	kvmi_park(&self->r, &self->s, self->vcpu, ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, ev);
}

static void send_msi(struct kvm_vm *vm, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = data };

	TEST_ASSERT_EQ(__vm_ioctl(vm, KVM_SIGNAL_MSI, &msi), 1);
}

/* An interrupt waits until the access that was allowed is over. */
KVMI_TEST(kvmi_irqchip, allowed_access)
{
	struct kvmi_event ev;
	struct ucall uc;

	create(self, guest_code);
	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");
	wait_write(self, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & ~0xfffull, self->gpa);
	send_msi(self->vm, VECTOR);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	/* There is no other PF. */
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
	TEST_ASSERT_EQ(uc.args[1], 1);
	TEST_ASSERT_EQ(*self->hva, 1);
}

/* Have an interrupt ask about what its delivery pushes. */
static void wait_delivery(struct _test_data_kvmi_irqchip *self, struct kvmi_event *ev)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, RX), 0);
	kvmi_park(&self->r, &self->s, self->vcpu, ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, ev);
	send_msi(self->vm, VECTOR);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.gpa & ~0xfffull, self->gpa);
	TEST_ASSERT_EQ(ev->pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev->pf.flags, KVMI_PF_DELIVERY);
}

static void allow_stack(struct _test_data_kvmi_irqchip *self)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1,
					      KVMI_PAGE_ACCESS_RWX), 0);
}

static void expect_interrupt(struct _test_data_kvmi_irqchip *self)
{
	struct ucall uc;

	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
}

/* The local APIC has handed the interrupt out: no exception takes its place. */
KVMI_TEST(kvmi_irqchip, delivery_and_injection)
{
	struct kvmi_event ev;
	struct ucall uc;

	create(self, guest_code_stack);
	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");
	wait_delivery(self, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&self->s, 0, UD_VECTOR, 0, 0), -KVM_EBUSY);
	allow_stack(self);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	expect_interrupt(self);

	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	send_msi(self->vm, VECTOR);
	expect_interrupt(self);
}

/* For the local APIC, an interrupt that is dropped is over. */
KVMI_TEST(kvmi_irqchip, delivery_skip)
{
	struct kvmi_event ev;
	struct ucall uc;
	u64 rip;

	create(self, guest_code_stack);
	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");
	wait_delivery(self, &ev);
	rip = ev.common.arch.regs.rip;
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT(ev.common.arch.regs.rip - rip + 16 < 32, "RIP: 0x%llx, was 0x%lx",
		    ev.common.arch.regs.rip, rip);
	allow_stack(self);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	send_msi(self->vm, LOW);
	expect_interrupt(self);

	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	send_msi(self->vm, VECTOR);
	expect_interrupt(self);
}

/* What SIPI starts is another instruction than the one that was allowed. */
KVMI_TEST(kvmi_irqchip, init_and_sipi)
{
	/* MOV byte CS:[PAGE], 0x77; HLT */
	static const u8 code[] = { 0x2e, 0xc6, 0x06, 0, PAGE >> 8, 0x77, 0xf4 };
	struct kvmi_event ev;
	u64 sipi_page;

	create(self, guest_code);
	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");
	sipi_page = self->gpa - PAGE;
	TEST_ASSERT(self->gpa < 1 << 20, "The code is at 0x%lx", sipi_page);
	memcpy(addr_gpa2hva(self->vm, sipi_page), code, sizeof(code));
	wait_write(self, &ev);
	send_msi(self->vm, APIC_DM_INIT);
	send_msi(self->vm, APIC_DM_STARTUP | sipi_page >> 12);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, 0);
	TEST_ASSERT_EQ(ev.common.arch.sregs.cs.base, sipi_page);
	TEST_ASSERT_EQ(ev.pf.gpa, self->gpa);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	TEST_ASSERT_EQ(*self->hva, 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	TEST_ASSERT_EQ(*self->hva, 0);
}

/* An interrupt waits as long as the tool steps. */
KVMI_TEST(kvmi_irqchip, steps)
{
	struct kvmi_vcpu_control_singlestep req = { .enable = 1 };
	struct kvmi_vm_get_features_reply features;
	struct kvmi_event ev;
	struct ucall uc;
	u64 rip;
	int i;

	create(self, guest_code_nops);
	kvmi_get_features(&self->s, &features);
	if (!(features.flags & KVMI_FEATURE_SINGLESTEP))
		SKIP(return, "No single-stepping");
	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");
	wait_write(self, &ev);
	rip = ev.common.arch.regs.rip;
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0,
					    KVMI_VCPU_EVENT_SINGLESTEP, 1), 0);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP,
				       &req, sizeof(req), NULL, 0), 0);
	send_msi(self->vm, VECTOR);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	for (i = 0; i < 4; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
		/* MOV has 7 bytes, NOP has one. */
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, rip + 7 + i);
		if (i == 3) {
			req.enable = 0;
			TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0,
						       KVMI_VCPU_CONTROL_SINGLESTEP,
						       &req, sizeof(req), NULL, 0), 0);
		}
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
	TEST_ASSERT_EQ(uc.args[1], 1);
}

/*
 * A vCPU that has halted is woken, and the interrupt follows what was to be stepped.
 * Return false if there is no single-stepping.
 */
static bool step_halted(struct _test_data_kvmi_irqchip *self, u64 disabled_exits)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_event ev;
	struct ucall uc;

	create_with(self, guest_code_hlt, disabled_exits);
	kvmi_get_features(&self->s, &features);
	if (!(features.flags & KVMI_FEATURE_SINGLESTEP))
		return false;
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	usleep(100000);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_SINGLESTEP, 1), 0);
	kvmi_reply_flags(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, KVMI_REPLY_SINGLESTEP, 0);
	usleep(100000);
	send_msi(self->vm, VECTOR);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
	return true;
}

KVMI_TEST(kvmi_irqchip, halted)
{
	if (!step_halted(self, 0))
		SKIP(return, "No single-stepping");
}

static void guest_db(struct ex_regs *regs)
{
	regs->rflags &= ~X86_EFLAGS_TF;
}

/* The processor that halts has executed its HLT, which is not what traps. */
KVMI_TEST(kvmi_irqchip, halted_in_guest_with_trap_flag)
{
	struct kvmi_event ev;
	struct kvm_regs regs;
	struct ucall uc;

	if (!(kvm_check_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		SKIP(return, "HLT always exits");
	create_with(self, guest_code_hlt, KVM_X86_DISABLE_EXITS_HLT);
	vm_install_exception_handler(self->vm, DB_VECTOR, guest_db);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	usleep(100000);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	regs = ev.common.arch.regs;
	regs.rflags |= X86_EFLAGS_TF;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	usleep(100000);
	send_msi(self->vm, VECTOR);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 1);
}

/* The processor itself halts, without a VM exit. */
KVMI_TEST(kvmi_irqchip, halted_in_guest)
{
	if (!(kvm_check_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		SKIP(return, "HLT always exits");
	if (!step_halted(self, KVM_X86_DISABLE_EXITS_HLT))
		SKIP(return, "No single-stepping");
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
