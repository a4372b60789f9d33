// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection and nested virtualization exclude each other
 */
#include "kvmi_test_harness.h"
#include "smm.h"
#include "svm_util.h"
#include "vmx.h"

#define SMRAM_GPA	0x1000000
/* Of what an SMI saves there, see struct kvm_smram_state_64 */
#define SMRAM_EFER		0xfed0
#define SMRAM_SVM_GUEST_FLAG	0xfed8
#define SMRAM_SVM_GUEST_VMCB	0xfee0
#define SMI_PORT		0xe

#define EVIL_LSTAR		0x41414141ull

enum {
	STAGE_READY,
	STAGE_TRIED,
	STAGE_ON,
	STAGE_OFF,
	/* In a nested guest */
	STAGE_NESTED,
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

static void nested_guest_code(void)
{
	GUEST_SYNC2(STAGE_NESTED, 0ull);
	vmcall();
}

static u64 nr_int3;

static void int3_handler(struct ex_regs *regs)
{
	nr_int3++;
}

static void guest_code_with_nested_guest(struct vmx_pages *vmx)
{
	GUEST_SYNC2(STAGE_READY, 0ull);
	GUEST_ASSERT(prepare_for_vmx_operation(vmx));
	GUEST_ASSERT(load_vmcs(vmx));
	prepare_vmcs(vmx, nested_guest_code);
	GUEST_ASSERT(!vmlaunch());
	GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
	asm volatile("int3");
	GUEST_SYNC2(STAGE_TRIED, nr_int3);
	vmxoff();
	GUEST_SYNC2(STAGE_OFF, 0ull);
}

static void guest_code_int3(void)
{
	for (;;) {
		asm volatile("int3");
		GUEST_SYNC2(STAGE_ON, 0ull);
	}
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

/* The instructions that raise #UD while EFER.SVME is clear */
enum {
	SVM_VMLOAD,
	SVM_VMSAVE,
	SVM_VMRUN,
	SVM_CLGI,
	SVM_STGI,
	SVM_INVLPGA,
	SVM_SKINIT,
	NR_SVM_INSNS,
};

#define ALL_SVM_INSNS	(BIT(NR_SVM_INSNS) - 1)

static bool want_svme;

/* The same emulated, which KVM cannot: it knows only when they raise #UD. */
static u64 guest_emulated_svm_insn(struct svm_test_data *svm, int nr)
{
	switch (nr) {
	case SVM_VMLOAD:
		return kvm_asm_safe_fep("vmload %%rax", "a"(svm->vmcb_gpa));
	case SVM_VMSAVE:
		return kvm_asm_safe_fep("vmsave %%rax", "a"(svm->msr_gpa));
	case SVM_VMRUN:
		return kvm_asm_safe_fep("vmrun %%rax", "a"(svm->msr_gpa));
	case SVM_CLGI:
		return kvm_asm_safe_fep("clgi");
	case SVM_STGI:
		return kvm_asm_safe_fep("stgi");
	case SVM_INVLPGA:
		return kvm_asm_safe_fep("invlpga %%rax, %%ecx", "a"(0), "c"(0));
	default:
		return kvm_asm_safe_fep("skinit %%eax", "a"(0));
	}
}

static void guest_code_emulated(struct svm_test_data *svm)
{
	u64 vector;
	int i;

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	for (i = 0; i < NR_SVM_INSNS; i++) {
		vector = guest_emulated_svm_insn(svm, i);
		GUEST_SYNC2(i, vector);
	}
}

static u64 guest_svm_insn(struct svm_test_data *svm, int nr)
{
	switch (nr) {
	case SVM_VMLOAD:
		return kvm_asm_safe("vmload %%rax", "a"(svm->vmcb_gpa));
	case SVM_VMSAVE:
		return kvm_asm_safe("vmsave %%rax", "a"(svm->msr_gpa));
	/* There is nothing there that could run. */
	case SVM_VMRUN:
		return kvm_asm_safe("vmrun %%rax", "a"(svm->msr_gpa));
	case SVM_CLGI:
		return kvm_asm_safe("clgi");
	case SVM_STGI:
		return kvm_asm_safe("stgi");
	case SVM_INVLPGA:
		return kvm_asm_safe("invlpga %%rax, %%ecx", "a"(0), "c"(0));
	default:
		return kvm_asm_safe("skinit %%eax", "a"(0));
	}
}

/* Set or clear EFER.SVME, see what raises #UD then, and what is in LSTAR. */
static void guest_code_svme(struct svm_test_data *svm)
{
	u64 vector, uds;
	int i;

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, svm->save_area_gpa);
	asm volatile("vmsave %%rax" : : "a"(svm->vmcb_gpa) : "memory");

	for (;;) {
		if (READ_ONCE(want_svme))
			wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
		else
			wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);

		for (uds = 0, i = 0; i < NR_SVM_INSNS; i++) {
			vector = guest_svm_insn(svm, i);
			GUEST_ASSERT(!vector || vector == UD_VECTOR);
			if (vector)
				uds |= BIT(i);
		}
		GUEST_SYNC2(uds, rdmsr(MSR_LSTAR));
	}
}

/* On SVM prepare a nested guest, but with EFER.SVME clear in the end. */
static void guest_code_smm(struct svm_test_data *svm)
{
	if (this_cpu_has(X86_FEATURE_SVM)) {
		generic_svm_setup(svm, NULL);
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
	}
	for (;;)
		GUEST_SYNC2(STAGE_READY, 0ull);
}

/* The same in all modes of the processor */
static const u8 smi_handler[] = {
	0xe4, SMI_PORT,		/* in $SMI_PORT, %al */
	0x0f, 0xaa,		/* rsm */
};

FIXTURE(kvmi_nested) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct svm_test_data *svm_data;
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
		self->svm_data = vcpu_alloc_svm(self->vm, &gva);
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

/* The VMM cannot restore what the guest could not get into. */
KVMI_TEST(kvmi_nested, nested_state_of_a_hooked_vm)
{
	struct {
		struct kvm_nested_state hdr;
		u8 data[2 * 4096];
	} *state = calloc(1, sizeof(*state));

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
	TEST_ASSERT_ERRNO(__vcpu_nested_state_set(self->vcpu, &state->hdr), EBUSY);
	kvmi_unhook(&self->s);

	/* CR4.VMXE is clear.  It is what KVM_SET_SREGS would set later. */
	vcpu_nested_state_set(self->vcpu, &state->hdr);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
	free(state);
}

/*
 * A vCPU in a nested guest is restored when the VM is not hooked any more: the guest
 * that runs it has none of the tool's intercepts, either.
 */
KVMI_TEST(kvmi_nested, state_loaded_after_unhook)
{
	struct kvm_nested_state off = {
		.size = sizeof(off),
		.format = KVM_STATE_NESTED_FORMAT_VMX,
		.hdr.vmx.vmxon_pa = -1ull,
		.hdr.vmx.vmcs12_pa = -1ull,
	};
	struct kvm_x86_state *before, *nested;
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvmi_runner r = { };
	struct kvm_regs regs;
	struct kvmi_event ev;

	if (!self->vmx || !kvm_has_cap(KVM_CAP_NESTED_STATE))
		SKIP(return, "No nested VMX state");

	vm_install_exception_handler(self->vm, BP_VECTOR, int3_handler);
	vcpu_arch_set_entry_point(vcpu, guest_code_with_nested_guest);
	run_to(vcpu, STAGE_READY, 0);
	before = vcpu_save_state(vcpu);
	run_to(vcpu, STAGE_NESTED, 0);
	nested = vcpu_save_state(vcpu);
	TEST_ASSERT(kvm_x86_state_is_guest_mode(nested), "No nested guest");

	/* Without VMX, on another part of the stack */
	vcpu_nested_state_set(vcpu, &off);
	vcpu_load_state(vcpu, before);
	vcpu_regs_get(vcpu, &regs);
	regs.rip = (u64)guest_code_int3;
	regs.rsp = (regs.rsp & ~0xfull) - 4096 - 8;
	vcpu_regs_set(vcpu, &regs);
	kvmi_hook(&self->s, self->vm);
	kvmi_park(&r, &self->s, vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_exit(&r, KVM_EXIT_IO);
	kvmi_unhook(&self->s);

	vcpu_load_state(vcpu, nested);
	run_to(vcpu, STAGE_TRIED, 2);
	run_to(vcpu, STAGE_OFF, 0);
	kvm_x86_state_cleanup(before);
	kvm_x86_state_cleanup(nested);
}

/* Run the guest with EFER.SVME set or clear; what raises #UD? */
static void run_svme(struct _test_data_kvmi_nested *self, bool svme, u64 uds,
		     u64 lstar)
{
	struct ucall uc;

	write_guest_global(self->vm, want_svme, svme);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], uds);
	TEST_ASSERT_EQ(uc.args[1], lstar);
}

/*
 * Without hooking, and with EFER.SVME clear.  Older kernels leave STGI and CLGI to a
 * processor with vGIF, for which it is set: then it is so before and after.
 */
static void run_without_svme(struct _test_data_kvmi_nested *self, u64 lstar)
{
	static u64 normally;
	struct ucall uc;

	if (!normally) {
		write_guest_global(self->vm, want_svme, false);
		kvmi_run_to_sync(NULL, self->vcpu, &uc);
		normally = uc.args[0];
		TEST_ASSERT_EQ(normally | BIT(SVM_STGI) | BIT(SVM_CLGI), ALL_SVM_INSNS);
	}
	run_svme(self, false, normally, lstar);
}

/* Without hooking: the instructions work if EFER.SVME is set. */
static void run_svme_normally(struct _test_data_kvmi_nested *self, u64 lstar)
{
	/* KVM has no SKINIT. */
	run_svme(self, true, BIT(SVM_SKINIT), lstar);
	run_without_svme(self, lstar);
}

/* VMLOAD is as good as WRMSR of LSTAR, and others, but for the event. */
KVMI_TEST(kvmi_nested, svme_is_without_effect)
{
	struct kvmi_event ev;
	struct kvmi_runner r;
	struct vmcb *vmcb;
	struct ucall uc;

	if (!self->svm)
		SKIP(return, "No nested SVM");
	vmcb = self->svm_data->vmcb_hva;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_svme);
	run_svme_normally(self, 0);
	vmcb->save.lstar = EVIL_LSTAR;

	kvmi_hook(&self->s, self->vm);
	kvmi_park(&r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, MSR_LSTAR, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&r, &uc);

	run_svme(self, true, ALL_SVM_INSNS, 0);
	run_svme(self, true, ALL_SVM_INSNS, 0);
	run_svme(self, false, ALL_SVM_INSNS, 0);
	run_svme(self, true, ALL_SVM_INSNS, 0);

	/* It makes no odds that there is nobody to be asked. */
	kvmi_close(&self->s);
	run_svme(self, true, ALL_SVM_INSNS, 0);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);

	run_svme_normally(self, EVIL_LSTAR);
	run_svme_normally(self, EVIL_LSTAR);
}

/* The emulator does not see EFER.SVME either. */
KVMI_TEST(kvmi_nested, svme_is_without_effect_if_emulated)
{
	int i;

	if (!self->svm)
		SKIP(return, "No nested SVM");
	if (!is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	vcpu_arch_set_entry_point(self->vcpu, guest_code_emulated);
	kvmi_hook(&self->s, self->vm);
	for (i = 0; i < NR_SVM_INSNS; i++)
		run_to(self->vcpu, i, UD_VECTOR);
	kvmi_unhook(&self->s);
}

/* What the VMM restores of a vCPU that has no nested guest */
static void set_gif(struct kvm_vcpu *vcpu)
{
	struct kvm_nested_state state = {
		.format = KVM_STATE_NESTED_FORMAT_SVM,
		.flags = KVM_STATE_NESTED_GIF_SET,
		.size = sizeof(state),
	};

	vcpu_nested_state_set(vcpu, &state);
}

/* With vGIF, STGI is intercepted only while it is to raise #UD. */
KVMI_TEST(kvmi_nested, svme_is_without_effect_after_nested_state)
{
	if (!self->svm)
		SKIP(return, "No nested SVM");

	vcpu_arch_set_entry_point(self->vcpu, guest_code_svme);
	run_svme_normally(self, 0);
	set_gif(self->vcpu);
	run_without_svme(self, 0);

	kvmi_hook(&self->s, self->vm);
	run_svme(self, true, ALL_SVM_INSNS, 0);
	set_gif(self->vcpu);
	run_svme(self, true, ALL_SVM_INSNS, 0);
	kvmi_unhook(&self->s);
	run_svme_normally(self, 0);
}

/* Run until the SMI handler is there. */
static void run_to_smi_handler(struct _test_data_kvmi_nested *self)
{
	inject_smi(self->vcpu);
	vcpu_run(self->vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(self->vcpu, KVM_EXIT_IO);
	TEST_ASSERT_EQ(self->vcpu->run->io.port, SMI_PORT);
	TEST_ASSERT(self->vcpu->run->flags & KVM_RUN_X86_SMM, "Not in SMM");
}

/* Have the SMI handler return to a nested guest that was never entered. */
static void forge_smram(struct _test_data_kvmi_nested *self)
{
	u8 *smram = addr_gpa2hva(self->vm, SMRAM_GPA);

	*(u64 *)(smram + SMRAM_EFER) |= EFER_SVME;
	*(u64 *)(smram + SMRAM_SVM_GUEST_FLAG) = 1;
	*(u64 *)(smram + SMRAM_SVM_GUEST_VMCB) = self->svm_data->vmcb_gpa;
}

static bool in_guest_mode(struct kvm_vcpu *vcpu)
{
	struct {
		struct kvm_nested_state hdr;
		u8 data[2 * 4096];
	} *state = calloc(1, sizeof(*state));
	bool ret;

	state->hdr.size = sizeof(*state);
	vcpu_nested_state_get(vcpu, &state->hdr);
	ret = state->hdr.flags & KVM_STATE_NESTED_GUEST_MODE;
	free(state);
	return ret;
}

static void start_smm(struct _test_data_kvmi_nested *self)
{
	setup_smram(self->vm, self->vcpu, SMRAM_GPA, smi_handler,
		    sizeof(smi_handler));
	vcpu_arch_set_entry_point(self->vcpu, guest_code_smm);
	run_to(self->vcpu, STAGE_READY, 0);
}

/* What the next test is about: without hooking the guest gets there. */
KVMI_TEST(kvmi_nested, forged_smram_if_not_hooked)
{
	if (!self->svm || !kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "No nested SVM, or no SMM");

	start_smm(self);
	run_to_smi_handler(self);
	forge_smram(self);
	run_to(self->vcpu, STAGE_READY, 0);
	TEST_ASSERT(in_guest_mode(self->vcpu), "RSM did not enter a nested guest");
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
}

/* It takes no VMRUN to enter a nested guest. */
KVMI_TEST(kvmi_nested, forged_smram)
{
	if (!self->svm || !kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "No nested SVM, or no SMM");

	start_smm(self);
	kvmi_hook(&self->s, self->vm);
	run_to_smi_handler(self);
	run_to(self->vcpu, STAGE_READY, 0);

	run_to_smi_handler(self);
	forge_smram(self);
	vcpu_run(self->vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(self->vcpu, KVM_EXIT_SHUTDOWN);
	TEST_ASSERT(!in_guest_mode(self->vcpu), "RSM entered a nested guest");
	kvmi_unhook(&self->s);
}

/* What RSM returns to may be a nested guest. */
KVMI_TEST(kvmi_nested, hook_is_busy_in_smm)
{
	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");

	start_smm(self);
	run_to_smi_handler(self);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
	run_to(self->vcpu, STAGE_READY, 0);
	kvmi_hook(&self->s, self->vm);
	kvmi_unhook(&self->s);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
