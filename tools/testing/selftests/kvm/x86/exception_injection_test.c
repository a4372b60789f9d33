// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exceptions that userspace injects reach the guest, with the right return
 * address and once, whatever else happens at the time.
 */
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define UNKNOWN_MSR		0x474f4f00

#define STACK_GPA		0x40000000ul
#define STACK_SLOT		10

#define CP_VECTOR		21
#define VC_VECTOR		29

KVM_ONE_VCPU_TEST_SUITE(exception_injection);

static void run_to_done(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_DONE:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected exit: %s",
			  exit_reason_str(vcpu->run->exit_reason));
	}
}

/* Run to a GUEST_SYNC() of @value. */
static void run_to_sync(struct kvm_vcpu *vcpu, u64 value)
{
	struct ucall uc;

	vcpu_run(vcpu);
	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT_EQ(uc.cmd, UCALL_SYNC);
	TEST_ASSERT_EQ(uc.args[1], value);
}

static void inject(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
		   bool nmi)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.exception.injected = 1;
	events.exception.nr = vector;
	events.exception.has_error_code = has_error_code;
	events.exception.error_code = 0;
	if (nmi) {
		events.nmi.pending = 1;
		events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	}
	vcpu_events_set(vcpu, &events);
}

static void set_rip(struct kvm_vcpu *vcpu, void *rip)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	regs.rip = (u64)rip;
	vcpu_regs_set(vcpu, &regs);
}

extern char int3_insn[], int3_end[];
static int nr_bp, nr_nmi;

static void guest_bp_handler(struct ex_regs *regs)
{
	nr_bp++;
	GUEST_ASSERT_EQ(regs->rip, (u64)int3_end);
}

static void guest_nmi_handler(struct ex_regs *regs)
{
	nr_nmi++;
}

static void guest_int3(void)
{
	asm volatile("int3_insn: int3; int3_end: nop");
	GUEST_ASSERT_EQ(nr_bp, 1);
	GUEST_SYNC(nr_nmi);
	GUEST_DONE();
}

/* An NMI has to wait for the exception, and not to take its place. */
TEST_F(exception_injection, bp_and_nmi)
{
	struct kvm_vcpu *vcpu = self->vcpu;

	if (!host_cpu_is_amd_compatible)
		SKIP(return, "VMX has another way to find the end of INT3");

	vcpu_arch_set_entry_point(vcpu, guest_int3);
	vm_install_exception_handler(vcpu->vm, BP_VECTOR, guest_bp_handler);
	vm_install_exception_handler(vcpu->vm, NMI_VECTOR, guest_nmi_handler);
	set_rip(vcpu, int3_insn);
	inject(vcpu, BP_VECTOR, false, true);

	run_to_sync(vcpu, 1);
	run_to_done(vcpu);
}

static void guest_vc(void)
{
	GUEST_FAIL("#VC is lost");
}

static void guest_done_handler(struct ex_regs *regs)
{
	GUEST_DONE();
}

/* A #VC is injected again if there is no memory for the stack yet. */
TEST_F(exception_injection, vc_without_stack)
{
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvm_regs regs;

	if (!host_cpu_is_amd_compatible)
		SKIP(return, "VMX has no #VC");

	vcpu_arch_set_entry_point(vcpu, guest_vc);
	vm_userspace_mem_region_add(vcpu->vm, VM_MEM_SRC_ANONYMOUS, STACK_GPA,
				    STACK_SLOT, 4, 0);
	virt_map(vcpu->vm, STACK_GPA, STACK_GPA, 4);
	vm_install_exception_handler(vcpu->vm, VC_VECTOR, guest_done_handler);

	vcpu_regs_get(vcpu, &regs);
	regs.rsp = STACK_GPA + 4 * getpagesize() - 8;
	vcpu_regs_set(vcpu, &regs);
	inject(vcpu, VC_VECTOR, true, false);
	run_to_done(vcpu);
}

static void guest_rdmsr(void)
{
	asm volatile("rdmsr" : : "c"(UNKNOWN_MSR) : "rax", "rdx");
	GUEST_FAIL("RDMSR raises no exception");
}

static void guest_gp_handler(struct ex_regs *regs)
{
	GUEST_FAIL("#GP while a #CP is delivered is no #DF");
}

/* #CP is contributory: with a #GP on top of it, it becomes a #DF. */
KVM_ONE_VCPU_TEST(exception_injection, cp_and_gp, guest_rdmsr)
{
	vm_enable_cap(vcpu->vm, KVM_CAP_X86_USER_SPACE_MSR,
		      KVM_MSR_EXIT_REASON_UNKNOWN);
	vm_install_exception_handler(vcpu->vm, GP_VECTOR, guest_gp_handler);
	vm_install_exception_handler(vcpu->vm, DF_VECTOR, guest_done_handler);

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_X86_RDMSR);
	vcpu->run->msr.error = 1;
	inject(vcpu, CP_VECTOR, true, false);
	run_to_done(vcpu);
}

int main(int argc, char *argv[])
{
	return test_harness_run(argc, argv);
}
