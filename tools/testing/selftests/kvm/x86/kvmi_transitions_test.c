// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what becomes of a session, its wishes and its open events
 * when the state of a vCPU changes under them: INIT, SIPI, SMM, triple faults,
 * and the VMM that sets registers or resets the VM
 */
#include "apic.h"
#include "kvmi_test_harness.h"
#include "smm.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>

/* Written at will: an address that the guest never uses */
#define TEST_MSR		MSR_IA32_SYSENTER_EIP
#define TEST_MSR_BIT		0x10
/* PWT, which changes nothing without paging, and little with it */
#define TEST_CR3_BIT		BIT(3)
#define TEST_CR4_BIT		X86_CR4_PSE

#define REAL_MODE_GPA		0x8000
#define SMRAM_GPA		0x1000000
#define DONE_PORT		0xe

/*
 * Code for real mode: that of a processor after SIPI, and SMI handlers.  The
 * writes flip the bits above.
 */
#define WRITE_CR4							\
	"mov %cr4, %eax\n\t"						\
	"xor $0x10, %al\n\t"						\
	"mov %eax, %cr4\n\t"
#define WRITE_CR4_OFFSET	5
#define WRITE_CR3							\
	"mov %cr3, %eax\n\t"						\
	"xor $0x8, %al\n\t"						\
	"mov %eax, %cr3\n\t"
#define WRITE_MSR							\
	"mov $0x176, %ecx\n\t"						\
	"rdmsr\n\t"							\
	"xor $0x10, %al\n\t"						\
	"wrmsr\n\t"

#define REAL_MODE_CODE(code)	asm(".code16\n\t" code "\n\t.code64")
#define REAL_MODE_CODE_SIZE	64

static __attribute__((naked)) void startup(void)
{
	REAL_MODE_CODE(WRITE_CR4 WRITE_CR3 WRITE_MSR "in $0xe, %al; hlt");
}

static __attribute__((naked)) void smi_handler(void)
{
	REAL_MODE_CODE("in $0xe, %al; rsm");
}

static __attribute__((naked)) void smi_handler_that_writes(void)
{
	REAL_MODE_CODE(WRITE_CR4 WRITE_MSR "in $0xe, %al; rsm");
}

static void guest_code(void)
{
	for (;;) {
		set_cr4(get_cr4() ^ TEST_CR4_BIT);
		set_cr3(get_cr3() ^ TEST_CR3_BIT);
		wrmsr(TEST_MSR, rdmsr(TEST_MSR) ^ TEST_MSR_BIT);
		GUEST_SYNC1(get_cr4());
	}
}

/* @die: the first time around, with a triple fault */
static u64 die;

static void guest_code_triple_fault(void)
{
	struct desc_ptr idt = { };

	if (READ_ONCE(die))
		asm volatile("lidt %0; ud2" : : "m"(idt));
	guest_code();
}

/* What the first vCPU sends, by way of its APIC */
static u64 icr;

static void guest_code_send(void)
{
	x2apic_enable();
	for (;;) {
		x2apic_write_reg(APIC_ICR, READ_ONCE(icr));
		GUEST_SYNC(0);
	}
}

static void guest_code_clock(u64 msr, u64 gpa, struct pvclock_vcpu_time_info *ti)
{
	wrmsr(msr, gpa | KVM_MSR_ENABLED);
	GUEST_SYNC1(READ_ONCE(ti->version));
}

static u64 nr_nmis;
static u64 nr_uds;

static void guest_nmi_handler(struct ex_regs *regs)
{
	WRITE_ONCE(nr_nmis, nr_nmis + 1);
}

FIXTURE(kvmi_transitions) {
	struct kvm_vm *vm;
	/* @bsp is there to send to the other, whose life is looked at. */
	struct kvm_vcpu *bsp;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u64 cr4;
};

static u64 host_cr4(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	return sregs.cr4;
}

FIXTURE_SETUP(kvmi_transitions)
{
	self->vm = vm_create_with_one_vcpu(&self->bsp, guest_code_send);
	self->vcpu = vm_vcpu_add(self->vm, 1, guest_code);
	self->cr4 = host_cr4(self->vcpu);
	memcpy(addr_gpa2hva(self->vm, REAL_MODE_GPA), startup,
	       REAL_MODE_CODE_SIZE);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_transitions)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void enable_all(struct kvmi_session *s)
{
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 1, 3, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 1, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 1, KVMI_VCPU_EVENT_CR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 1, TEST_MSR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 1, KVMI_VCPU_EVENT_MSR, 1), 0);
}

/* Turn the events on, before the guest has run. */
static void park_and_enable(struct _test_data_kvmi_transitions *self)
{
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable_all(&self->s);
	kvmi_unpark(&self->s, &ev);
}

/* Have the event of the guest's first write open. */
static void start(struct _test_data_kvmi_transitions *self, struct kvmi_event *ev)
{
	park_and_enable(self);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, ev);
	TEST_ASSERT_EQ(ev->cr.cr, 4);
	TEST_ASSERT_EQ(ev->cr.old_value, self->cr4);
	TEST_ASSERT_EQ(ev->cr.new_value, self->cr4 ^ TEST_CR4_BIT);
}

/* The same, with the vCPU's thread called away by a signal. */
static void start_and_interrupt(struct _test_data_kvmi_transitions *self,
				struct kvmi_event *ev)
{
	start(self, ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
}

static void run(struct _test_data_kvmi_transitions *self)
{
	kvmi_run_start(&self->r, &self->s, self->vcpu);
}

/* Answer the writes that follow the one to CR4. */
static void answer_the_rest(struct kvmi_session *s, u8 action)
{
	struct kvmi_event ev;

	kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.cr, 3);
	kvmi_reply(s, &ev, action);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.msr, TEST_MSR);
	kvmi_reply(s, &ev, action);
}

/* From any of the writes to CR4 on, the guest does what is allowed. */
static void finish(struct _test_data_kvmi_transitions *self, u64 cr4)
{
	struct ucall uc;

	answer_the_rest(&self->s, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4);
}

/* The guest asks about the write to CR4 once more, or for the first time. */
static void ask_again(struct _test_data_kvmi_transitions *self,
		      const struct kvmi_event *before)
{
	struct kvmi_event ev;

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.cr, 4);
	TEST_ASSERT(!before || ev.hdr.seq != before->hdr.seq,
		    "An old event came again");
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
}

static void wait_port(struct _test_data_kvmi_transitions *self)
{
	kvmi_run_wait_exit(&self->r, KVM_EXIT_IO);
	TEST_ASSERT_EQ(self->vcpu->run->io.port, DONE_PORT);
	TEST_ASSERT_EQ(self->vcpu->run->io.direction, KVM_EXIT_IO_IN);
}

/* Have the other vCPU send something to the vCPU. */
static void send_ipi(struct _test_data_kvmi_transitions *self, u32 mode)
{
	u64 val = (1ull << 32) | APIC_INT_ASSERT | mode;
	struct kvmi_runner r;
	struct ucall uc;

	write_guest_global(self->vm, icr, val);
	kvmi_run_start(&r, NULL, self->bsp);
	kvmi_run_wait_sync(&r, &uc);
}

static void send_init_sipi(struct _test_data_kvmi_transitions *self)
{
	send_ipi(self, APIC_DM_INIT);
	send_ipi(self, APIC_DM_STARTUP | REAL_MODE_GPA >> 12);
}

/* The code in real mode is reported like any other. */
static void expect_real_mode(struct _test_data_kvmi_transitions *self)
{
	struct kvmi_event ev;

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.common.arch.mode, KVMI_X86_MODE_16);
	TEST_ASSERT_EQ(ev.common.arch.sregs.cs.base, REAL_MODE_GPA);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, WRITE_CR4_OFFSET);
	TEST_ASSERT_EQ(ev.cr.cr, 4);
	TEST_ASSERT_EQ(ev.cr.old_value, 0);
	TEST_ASSERT_EQ(ev.cr.new_value, TEST_CR4_BIT);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	answer_the_rest(&self->s, KVMI_EVENT_ACTION_SKIP);
	wait_port(self);
	TEST_ASSERT_EQ(host_cr4(self->vcpu), TEST_CR4_BIT);
}

KVMI_TEST(kvmi_transitions, init_sipi)
{
	struct kvmi_event ev;

	start(self, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, self->cr4 ^ TEST_CR4_BIT);

	send_init_sipi(self);
	run(self);
	expect_real_mode(self);
}

/* What the answer is about comes before INIT. */
KVMI_TEST(kvmi_transitions, init_sipi_in_an_event)
{
	struct kvmi_event ev;

	start(self, &ev);
	send_init_sipi(self);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	expect_real_mode(self);
}

/* An answer that is not used before INIT is not used after it. */
KVMI_TEST(kvmi_transitions, init_sipi_in_an_interrupted_event)
{
	struct kvmi_event ev;

	start_and_interrupt(self, &ev);
	send_init_sipi(self);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	expect_real_mode(self);
}

KVMI_TEST(kvmi_transitions, init_sipi_after_crash)
{
	struct kvmi_event ev;

	start(self, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	send_init_sipi(self);
	run(self);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);

	kvmi_unhook(&self->s);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	wait_port(self);
}

/* Commands reach a processor that waits for SIPI, and last beyond it. */
KVMI_TEST(kvmi_transitions, enabled_while_waiting_for_sipi)
{
	send_ipi(self, APIC_DM_INIT);
	park_and_enable(self);
	send_ipi(self, APIC_DM_STARTUP | REAL_MODE_GPA >> 12);
	expect_real_mode(self);
}

/* KVM knows nothing of a reset; it is the VMM that sets the registers. */
KVMI_TEST(kvmi_transitions, reset_by_the_vmm)
{
	struct kvm_x86_state *state = vcpu_save_state(self->vcpu);
	struct kvmi_event ev;
	int i;

	start(self, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, self->cr4 ^ TEST_CR4_BIT);

	for (i = 0; i < 2; i++) {
		vcpu_load_state(self->vcpu, state);
		run(self);
		ask_again(self, &ev);
		finish(self, self->cr4 ^ TEST_CR4_BIT);
	}
	kvm_x86_state_cleanup(state);
}

KVMI_TEST(kvmi_transitions, reset_by_the_vmm_in_an_event)
{
	struct kvm_x86_state *state = vcpu_save_state(self->vcpu);
	struct kvmi_event ev;

	start_and_interrupt(self, &ev);
	state->sregs.cr4 ^= X86_CR4_MCE;
	vcpu_load_state(self->vcpu, state);
	kvm_x86_state_cleanup(state);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	ask_again(self, &ev);
	finish(self, self->cr4 ^ X86_CR4_MCE ^ TEST_CR4_BIT);
}

/* It is for the VMM to unhook. */
KVMI_TEST(kvmi_transitions, reset_by_the_vmm_after_crash)
{
	struct kvm_x86_state *state = vcpu_save_state(self->vcpu);
	struct kvmi_event ev;
	struct ucall uc;

	start(self, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);

	vcpu_load_state(self->vcpu, state);
	run(self);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);

	kvmi_unhook(&self->s);
	vcpu_load_state(self->vcpu, state);
	kvm_x86_state_cleanup(state);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], self->cr4 ^ TEST_CR4_BIT);
}

KVMI_TEST(kvmi_transitions, triple_fault)
{
	struct kvm_x86_state *state;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_triple_fault);
	write_guest_global(self->vm, die, 1);
	state = vcpu_save_state(self->vcpu);
	park_and_enable(self);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_SHUTDOWN);

	write_guest_global(self->vm, die, 0);
	vcpu_load_state(self->vcpu, state);
	kvm_x86_state_cleanup(state);
	run(self);
	ask_again(self, NULL);
	finish(self, self->cr4 ^ TEST_CR4_BIT);
}

static u32 cookie_of(struct kvmi_session *s, u16 as_id)
{
	struct kvmi_vm_read_physical req = {
		.gpa = SMRAM_GPA,
		.size = 1,
		.flags = KVMI_MEM_COOKIE,
		.as_id = as_id,
	};
	struct {
		struct kvmi_mem_cookie cookie;
		u8 data;
	} __packed rpl;
	int err;

	/* There is nothing in the other address space to be read there. */
	if (!as_id)
		req.gpa = REAL_MODE_GPA;
	err = kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req), &rpl,
		       sizeof(rpl));
	TEST_ASSERT_KVMI(err, 0);
	return rpl.cookie.cookie;
}

static void wait_smi_handler(struct _test_data_kvmi_transitions *self)
{
	wait_port(self);
	TEST_ASSERT(self->vcpu->run->flags & KVM_RUN_X86_SMM, "Not in SMM");
}

/* Writes in SMM are reported, and where they happen can be told. */
static void expect_smi_handler_writes(struct _test_data_kvmi_transitions *self)
{
	struct kvmi_event ev;

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.common.arch.mode, KVMI_X86_MODE_16);
	TEST_ASSERT_EQ(ev.common.arch.sregs.cs.base, SMRAM_GPA);
	TEST_ASSERT_EQ(ev.common.cookie, cookie_of(&self->s, 1));
	TEST_ASSERT_EQ(ev.cr.cr, 4);
	TEST_ASSERT_EQ(ev.cr.old_value, 0);
	TEST_ASSERT_EQ(ev.cr.new_value, TEST_CR4_BIT);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.common.cookie, cookie_of(&self->s, 1));
	TEST_ASSERT_EQ(ev.msr.msr, TEST_MSR);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);

	wait_smi_handler(self);
	TEST_ASSERT_EQ(host_cr4(self->vcpu), 0);
	run(self);
}

/* Neither SMI nor RSM is a write of the guest. */
KVMI_TEST(kvmi_transitions, smm)
{
	struct kvmi_event ev;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");
	setup_smram(self->vm, self->vcpu, SMRAM_GPA, smi_handler,
		    REAL_MODE_CODE_SIZE);

	start(self, &ev);
	TEST_ASSERT_EQ(ev.common.cookie, cookie_of(&self->s, 0));
	TEST_ASSERT(ev.common.cookie != cookie_of(&self->s, 1),
		    "Both address spaces have the same cookie");
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, self->cr4 ^ TEST_CR4_BIT);

	vcpu_ioctl(self->vcpu, KVM_SMI, NULL);
	run(self);
	wait_smi_handler(self);
	run(self);
	ask_again(self, &ev);
	finish(self, self->cr4);
}

KVMI_TEST(kvmi_transitions, smm_writes)
{
	struct kvmi_event ev;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");
	setup_smram(self->vm, self->vcpu, SMRAM_GPA, smi_handler_that_writes,
		    REAL_MODE_CODE_SIZE);

	start(self, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, self->cr4 ^ TEST_CR4_BIT);

	vcpu_ioctl(self->vcpu, KVM_SMI, NULL);
	run(self);
	expect_smi_handler_writes(self);
	ask_again(self, &ev);
	finish(self, self->cr4);
}

/* What the answer is about comes before the SMI. */
KVMI_TEST(kvmi_transitions, smi_in_an_event)
{
	struct kvmi_event ev;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");
	setup_smram(self->vm, self->vcpu, SMRAM_GPA, smi_handler_that_writes,
		    REAL_MODE_CODE_SIZE);

	start(self, &ev);
	send_ipi(self, APIC_DM_SMI);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	expect_smi_handler_writes(self);
	finish(self, self->cr4 ^ TEST_CR4_BIT);
}

/* The instruction comes after the SMI, and then gets its answer. */
KVMI_TEST(kvmi_transitions, smi_in_an_interrupted_event)
{
	struct kvmi_event ev;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");
	setup_smram(self->vm, self->vcpu, SMRAM_GPA, smi_handler,
		    REAL_MODE_CODE_SIZE);

	start_and_interrupt(self, &ev);
	vcpu_ioctl(self->vcpu, KVM_SMI, NULL);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	wait_smi_handler(self);
	run(self);
	finish(self, self->cr4);
}

/* Only one answer is kept: events of the handler void it. */
KVMI_TEST(kvmi_transitions, smi_handler_writes_in_an_interrupted_event)
{
	struct kvmi_event ev;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");
	setup_smram(self->vm, self->vcpu, SMRAM_GPA, smi_handler_that_writes,
		    REAL_MODE_CODE_SIZE);

	start_and_interrupt(self, &ev);
	vcpu_ioctl(self->vcpu, KVM_SMI, NULL);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	expect_smi_handler_writes(self);
	ask_again(self, &ev);
	finish(self, self->cr4 ^ TEST_CR4_BIT);
}

/* What the VMM writes back as it has read it makes no odds. */
KVMI_TEST(kvmi_transitions, same_state_set_in_an_event)
{
	struct kvm_x86_state *state;
	struct kvmi_event ev;

	start_and_interrupt(self, &ev);
	state = vcpu_save_state(self->vcpu);
	vcpu_load_state(self->vcpu, state);
	kvm_x86_state_cleanup(state);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	finish(self, self->cr4);
}

KVMI_TEST(kvmi_transitions, regs_set_in_an_event)
{
	struct kvmi_event ev;
	struct kvm_regs regs;

	start_and_interrupt(self, &ev);
	vcpu_regs_get(self->vcpu, &regs);
	regs.r15 ^= 1;
	vcpu_regs_set(self->vcpu, &regs);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	ask_again(self, &ev);
	finish(self, self->cr4 ^ TEST_CR4_BIT);
}

/* The answer is about what the guest writes, not about what is there. */
KVMI_TEST(kvmi_transitions, sregs_set_in_an_event)
{
	struct kvm_sregs sregs;
	struct kvmi_event ev;

	start_and_interrupt(self, &ev);
	vcpu_sregs_get(self->vcpu, &sregs);
	sregs.cr4 ^= X86_CR4_MCE;
	vcpu_sregs_set(self->vcpu, &sregs);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	finish(self, self->cr4 ^ X86_CR4_MCE);
}

KVMI_TEST(kvmi_transitions, msrs_set_in_an_event)
{
	struct kvmi_event ev;
	struct ucall uc;

	start(self, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	vcpu_set_msr(self->vcpu, TEST_MSR, ev.msr.old_value ^ 0x100);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(vcpu_get_msr(self->vcpu, TEST_MSR),
		       ev.msr.old_value ^ 0x100);
}

/* The guest handles what is injected first, then the instruction goes on. */
KVMI_TEST(kvmi_transitions, nmi_set_in_an_event)
{
	struct kvm_vcpu_events events;
	struct kvmi_event ev;

	vm_install_exception_handler(self->vm, NMI_VECTOR, guest_nmi_handler);
	start_and_interrupt(self, &ev);
	vcpu_events_get(self->vcpu, &events);
	events.nmi.pending = 1;
	events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	vcpu_events_set(self->vcpu, &events);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	finish(self, self->cr4);
	sync_global_from_guest(self->vm, nr_nmis);
	TEST_ASSERT_EQ(nr_nmis, 1);
}

static void set_exception(struct kvm_vcpu *vcpu, u8 vector, bool pending)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	events.exception.nr = vector;
	events.exception.pending = pending;
	events.exception.injected = !pending;
	vcpu_events_set(vcpu, &events);
}

/* Dropped here by the tool, which voids the answer to the first event. */
KVMI_TEST(kvmi_transitions, exception_set_in_an_event)
{
	struct kvmi_event ev, trap;

	vm_enable_cap(self->vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
	start(self, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 1, KVMI_VCPU_EVENT_TRAP, 1),
			 0);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	set_exception(self->vcpu, UD_VECTOR, true);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_TRAP, &trap);
	TEST_ASSERT_EQ(trap.trap.nr, UD_VECTOR);
	TEST_ASSERT_EQ(trap.trap.flags, KVMI_TRAP_RETRY);
	TEST_ASSERT_EQ(trap.common.arch.regs.rip, ev.common.arch.regs.rip);
	kvmi_reply(&self->s, &trap, KVMI_EVENT_ACTION_RETRY);
	ask_again(self, &ev);
	finish(self, self->cr4 ^ TEST_CR4_BIT);
}

static void guest_ud_handler(struct ex_regs *regs)
{
	WRITE_ONCE(nr_uds, nr_uds + 1);
}

/* One that the VMM has found half delivered is not a new one. */
KVMI_TEST(kvmi_transitions, injected_exception_set_in_an_event)
{
	struct kvmi_event ev;

	vm_enable_cap(self->vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
	vm_install_exception_handler(self->vm, UD_VECTOR, guest_ud_handler);
	start(self, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 1, KVMI_VCPU_EVENT_TRAP, 1),
			 0);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	set_exception(self->vcpu, UD_VECTOR, false);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	run(self);
	finish(self, self->cr4);
	sync_global_from_guest(self->vm, nr_uds);
	TEST_ASSERT_EQ(nr_uds, 1);
}

static gpa_t setup_clock(struct _test_data_kvmi_transitions *self, u32 msr)
{
	gva_t gva = vm_alloc_page(self->vm);
	gpa_t gpa = addr_gva2gpa(self->vm, gva);

	vcpu_arch_set_entry_point(self->vcpu, guest_code_clock);
	vcpu_args_set(self->vcpu, 3, (u64)msr, gpa, gva);
	return gpa;
}

/* The older of kvm-clock's MSRs is one that a tool can watch. */
KVMI_TEST(kvmi_transitions, kvm_clock)
{
	gpa_t gpa = setup_clock(self, MSR_KVM_SYSTEM_TIME);
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable_all(&self->s);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 1, MSR_KVM_SYSTEM_TIME, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.msr, MSR_KVM_SYSTEM_TIME);
	TEST_ASSERT_EQ(ev.msr.old_value, 0);
	TEST_ASSERT_EQ(ev.msr.new_value, gpa | KVM_MSR_ENABLED);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT(!uc.args[0], "The clock is on");

	setup_clock(self, MSR_KVM_SYSTEM_TIME);
	run(self);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT(uc.args[0], "The clock is off");
}

/* By its newer index, too: it is the same register. */
KVMI_TEST(kvmi_transitions, kvm_clock_alias)
{
	gpa_t gpa = setup_clock(self, MSR_KVM_SYSTEM_TIME_NEW);
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable_all(&self->s);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 1, MSR_KVM_SYSTEM_TIME, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.msr, MSR_KVM_SYSTEM_TIME_NEW);
	TEST_ASSERT_EQ(ev.msr.old_value, 0);
	TEST_ASSERT_EQ(ev.msr.new_value, gpa | KVM_MSR_ENABLED);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT(!uc.args[0], "The clock is on");
}

/* Nor do rules let it pass: what they say of a register is for both. */
KVMI_TEST(kvmi_transitions, kvm_clock_alias_rules)
{
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rules[2];
	} req = {
		.hdr = { .event = KVMI_VCPU_EVENT_MSR, .count = 2 },
		.rules = {
			{
				.verdict = KVMI_RULE_SKIP,
				.match = KVMI_MATCH_NUMBER,
				.first = MSR_KVM_SYSTEM_TIME,
				.last = MSR_KVM_SYSTEM_TIME,
			},
			{ .verdict = KVMI_RULE_ALLOW },
		},
	};
	struct kvmi_event ev;
	struct ucall uc;

	setup_clock(self, MSR_KVM_SYSTEM_TIME_NEW);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable_all(&self->s);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 1, MSR_KVM_SYSTEM_TIME, 1), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_SET_RULES, &req, sizeof(req), NULL, 0),
			 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT(!uc.args[0], "The clock is on");
}

/* The newer index cannot be chosen. */
KVMI_TEST(kvmi_transitions, kvm_clock_new)
{
	struct kvmi_event ev;
	struct ucall uc;

	setup_clock(self, MSR_KVM_SYSTEM_TIME_NEW);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable_all(&self->s);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 1, MSR_KVM_SYSTEM_TIME_NEW, 1),
			 -KVM_EINVAL);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT(uc.args[0], "The clock is off");
}

/*
 * Asynchronous page faults: what the guest reads is not there before the test
 * puts it there.
 */
#define APF_GPA		0xc0000000
#define APF_SLOT	10
#define APF_VECTOR	0xf0
#define APF_VALUE	0x1234567890abcdef

static struct kvm_vcpu_pv_apf_data apf_data __aligned(64);
static u64 apf_token;
static bool apf_not_present;
static bool apf_ready;

/* As Linux does: with the interrupt that tells, the access is tried again. */
static void guest_apf_handler(struct ex_regs *regs)
{
	GUEST_ASSERT_EQ(READ_ONCE(apf_data.flags), KVM_PV_REASON_PAGE_NOT_PRESENT);
	WRITE_ONCE(apf_data.flags, 0);
	WRITE_ONCE(apf_token, get_cr2());
	WRITE_ONCE(apf_not_present, true);
	sti();
	while (!READ_ONCE(apf_ready))
		cpu_relax();
	cli();
}

static void guest_ready_handler(struct ex_regs *regs)
{
	u32 token = READ_ONCE(apf_data.token);

	WRITE_ONCE(apf_data.token, 0);
	x2apic_write_reg(APIC_EOI, 0);
	wrmsr(MSR_KVM_ASYNC_PF_ACK, 1);
	/* All who may be waiting are woken when it is turned on. */
	if (token != ~0u) {
		GUEST_ASSERT_EQ(token, (u32)apf_token);
		WRITE_ONCE(apf_ready, true);
	}
}

static void guest_code_apf(u64 gpa)
{
	u64 val;

	x2apic_enable();
	wrmsr(MSR_KVM_ASYNC_PF_INT, APF_VECTOR);
	wrmsr(MSR_KVM_ASYNC_PF_EN, gpa | KVM_ASYNC_PF_ENABLED |
				   KVM_ASYNC_PF_SEND_ALWAYS |
				   KVM_ASYNC_PF_DELIVERY_AS_INT);
	sti();
	GUEST_SYNC(0);
	val = READ_ONCE(*(u64 *)APF_GPA);
	GUEST_ASSERT(READ_ONCE(apf_not_present));
	GUEST_SYNC2(val, READ_ONCE(apf_token));
}

static int withhold_memory(void *hva)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (u64)hva,
		.range.len = PAGE_SIZE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0) {
		TEST_ASSERT(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API");
		TEST_ASSERT(!ioctl(fd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
	}
	return fd;
}

static void provide_memory(int fd, void *hva)
{
	static u64 page[PAGE_SIZE / sizeof(u64)] __aligned(PAGE_SIZE) = { APF_VALUE };
	struct uffdio_copy copy = {
		.src = (u64)page,
		.dst = (u64)hva,
		.len = PAGE_SIZE,
	};

	TEST_ASSERT(!ioctl(fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
}

/* Its #PF is an exception like any other. */
KVMI_TEST(kvmi_transitions, async_page_fault)
{
	struct kvm_vm *vm = self->vm;
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvmi_event ev, pause;
	struct ucall uc;
	void *hva;
	int fd;

	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, APF_GPA, APF_SLOT,
				    1, 0);
	virt_map(vm, APF_GPA, APF_GPA, 1);
	hva = addr_gpa2hva(vm, APF_GPA);
	fd = withhold_memory(hva);
	if (fd < 0)
		SKIP(return, "The kernel has no userfaultfd");

	vm_install_exception_handler(vm, PF_VECTOR, guest_apf_handler);
	vm_install_exception_handler(vm, APF_VECTOR, guest_ready_handler);
	vcpu_arch_set_entry_point(vcpu, guest_code_apf);
	vcpu_args_set(vcpu, 1, addr_gva2gpa(vm, (gva_t)&apf_data));
	kvmi_run_to_sync(&self->s, vcpu, &uc);

	kvmi_park(&self->r, &self->s, vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 1, KVMI_VCPU_EVENT_TRAP, 1),
			 0);
	kvmi_unpark(&self->s, &pause);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, PF_VECTOR);
	TEST_ASSERT_EQ(ev.trap.error_code, 0);
	TEST_ASSERT(ev.trap.address != APF_GPA, "A page fault of the guest's own");
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	provide_memory(fd, hva);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], APF_VALUE);
	TEST_ASSERT_EQ(uc.args[1], ev.trap.address);
	close(fd);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
