// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection and nested virtualization exclude each other
 */
#include "kvmi_test_harness.h"
#include "svm_util.h"
#include "vmx.h"

enum {
	STAGE_READY,
	STAGE_TRIED,
	STAGE_ON,
	STAGE_OFF,
};

static void guest_enable_vmx(struct vmx_pages *vmx)
{
	u64 required = FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX;

	set_cr0((get_cr0() & rdmsr(MSR_IA32_VMX_CR0_FIXED1)) |
		rdmsr(MSR_IA32_VMX_CR0_FIXED0));
	set_cr4((get_cr4() & rdmsr(MSR_IA32_VMX_CR4_FIXED1)) |
		rdmsr(MSR_IA32_VMX_CR4_FIXED0) | X86_CR4_VMXE);
	if ((rdmsr(MSR_IA32_FEAT_CTL) & required) != required)
		wrmsr(MSR_IA32_FEAT_CTL, rdmsr(MSR_IA32_FEAT_CTL) | required);
	*(u32 *)vmx->vmxon = vmcs_revision();
}

/* VMXON, told by the exception it raises */
static u64 guest_vmxon(struct vmx_pages *vmx)
{
	u64 pa = vmx->vmxon_gpa;

	return kvm_asm_safe("vmxon %[pa]", [pa]"m"(pa));
}

static void guest_code_vmx(struct vmx_pages *vmx)
{
	u64 vector;

	guest_enable_vmx(vmx);
	GUEST_SYNC2(STAGE_READY, 0ull);
	vector = guest_vmxon(vmx);
	GUEST_SYNC2(STAGE_TRIED, vector);
	vector = guest_vmxon(vmx);
	GUEST_SYNC2(STAGE_ON, vector);
	vmxoff();
	set_cr4(get_cr4() & ~X86_CR4_VMXE);
	GUEST_SYNC2(STAGE_OFF, 0ull);
}

/* VMRUN of something that cannot run */
static u64 guest_vmrun(struct svm_test_data *svm)
{
	u64 pa = svm->vmcb_gpa;

	return kvm_asm_safe("vmrun %[pa]", [pa]"a"(pa));
}

static void guest_code_svm(struct svm_test_data *svm)
{
	u64 vector;

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, svm->save_area_gpa);
	GUEST_SYNC2(STAGE_READY, 0ull);
	vector = guest_vmrun(svm);
	GUEST_SYNC2(STAGE_TRIED, vector);
	vector = guest_vmrun(svm);
	GUEST_SYNC2(STAGE_ON, vector);
	/* VMRUN has left it clear. */
	stgi();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
	GUEST_SYNC2(STAGE_OFF, 0ull);
}

FIXTURE(kvmi_nested) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	bool vmx;
	bool svm;
};

FIXTURE_SETUP(kvmi_nested)
{
	gva_t gva;

	self->vmx = kvm_cpu_has(X86_FEATURE_VMX);
	self->svm = kvm_cpu_has(X86_FEATURE_SVM);
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code_vmx);
	if (self->vmx) {
		vcpu_alloc_vmx(self->vm, &gva);
	} else {
		vcpu_arch_set_entry_point(self->vcpu, guest_code_svm);
		vcpu_alloc_svm(self->vm, &gva);
	}
	vcpu_args_set(self->vcpu, 1, gva);
}

FIXTURE_TEARDOWN(kvmi_nested)
{
	kvm_vm_free(self->vm);
}

static void run_to(struct kvm_vcpu *vcpu, u64 stage, u64 vector)
{
	struct ucall uc;

	kvmi_run_to_sync(NULL, vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], stage);
	TEST_ASSERT_EQ(uc.args[1], vector);
}

/* VMXON or VMRUN while hooked, then not hooked any more. */
KVMI_TEST(kvmi_nested, instruction_raises_ud_while_hooked)
{
	if (!self->vmx && !self->svm)
		SKIP(return, "No nested virtualization");

	kvmi_hook(&self->s, self->vm);
	run_to(self->vcpu, STAGE_READY, 0);
	run_to(self->vcpu, STAGE_TRIED, UD_VECTOR);
	kvmi_unhook(&self->s);
	run_to(self->vcpu, STAGE_ON, 0);
	run_to(self->vcpu, STAGE_OFF, 0);
}

/* A tool that has gone leaves the VM hooked. */
KVMI_TEST(kvmi_nested, instruction_raises_ud_while_defunct)
{
	if (!self->vmx && !self->svm)
		SKIP(return, "No nested virtualization");

	kvmi_hook(&self->s, self->vm);
	run_to(self->vcpu, STAGE_READY, 0);
	kvmi_close(&self->s);
	run_to(self->vcpu, STAGE_TRIED, UD_VECTOR);
	kvmi_unhook(&self->s);
	run_to(self->vcpu, STAGE_ON, 0);
	run_to(self->vcpu, STAGE_OFF, 0);
}

/* With VMXE or SVME set there is no hooking. */
KVMI_TEST(kvmi_nested, hook_is_busy)
{
	if (!self->vmx && !self->svm)
		SKIP(return, "No nested virtualization");

	run_to(self->vcpu, STAGE_READY, 0);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
	run_to(self->vcpu, STAGE_TRIED, 0);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);

	run_to(self->vcpu, STAGE_ON, 0);
	run_to(self->vcpu, STAGE_OFF, 0);
	kvmi_hook(&self->s, self->vm);
	kvmi_unhook(&self->s);
}

/* It takes only one vCPU. */
KVMI_TEST(kvmi_nested, hook_is_busy_for_the_second_vcpu)
{
	if (!self->vmx && !self->svm)
		SKIP(return, "No nested virtualization");

	vm_vcpu_add(self->vm, 1, guest_code_svm);
	run_to(self->vcpu, STAGE_READY, 0);
	run_to(self->vcpu, STAGE_TRIED, 0);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
	run_to(self->vcpu, STAGE_ON, 0);
	run_to(self->vcpu, STAGE_OFF, 0);
	kvmi_hook(&self->s, self->vm);
	kvmi_unhook(&self->s);
}

/* The device manager cannot restore what the guest could not get into. */
KVMI_TEST(kvmi_nested, nested_state_of_a_hooked_vm)
{
	struct {
		struct kvm_nested_state hdr;
		u8 data[2 * 4096];
	} *state = calloc(1, sizeof(*state));
	int ret;

	if (!self->vmx || !kvm_has_cap(KVM_CAP_NESTED_STATE))
		SKIP(return, "No nested VMX state");

	run_to(self->vcpu, STAGE_READY, 0);
	run_to(self->vcpu, STAGE_TRIED, 0);
	state->hdr.size = sizeof(*state);
	vcpu_nested_state_get(self->vcpu, &state->hdr);
	TEST_ASSERT(state->hdr.hdr.vmx.vmxon_pa != ~0ull, "Not in VMX operation");
	run_to(self->vcpu, STAGE_ON, 0);
	run_to(self->vcpu, STAGE_OFF, 0);

	kvmi_hook(&self->s, self->vm);
	ret = __vcpu_nested_state_set(self->vcpu, &state->hdr);
	TEST_ASSERT(ret == -1, "The vCPU is in VMX operation and hooked");
	kvmi_unhook(&self->s);
	vcpu_nested_state_set(self->vcpu, &state->hdr);
	free(state);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
