// SPDX-License-Identifier: GPL-2.0-only
/*
 * STGI is an invalid instruction while EFER.SVME is clear, also if the processor
 * could execute it without KVM, i.e. with vGIF.
 */
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

static void guest_code(void)
{
	u8 vector;

	vector = kvm_asm_safe("stgi");
	GUEST_ASSERT_EQ(vector, UD_VECTOR);
	GUEST_SYNC(0);

	/* Userspace has restored the nested state. */
	vector = kvm_asm_safe("stgi");
	GUEST_ASSERT_EQ(vector, UD_VECTOR);
	GUEST_DONE();
}

static u64 run(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);

	return uc.cmd;
}

int main(int argc, char *argv[])
{
	struct kvm_nested_state state = {
		.format = KVM_STATE_NESTED_FORMAT_SVM,
		.flags = KVM_STATE_NESTED_GIF_SET,
		.size = sizeof(state),
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_SVM));
	TEST_REQUIRE(get_kvm_amd_param_integer("vgif"));

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	TEST_ASSERT_EQ(run(vcpu), UCALL_SYNC);
	vcpu_nested_state_set(vcpu, &state);
	TEST_ASSERT_EQ(run(vcpu), UCALL_DONE);
	kvm_vm_free(vm);

	return 0;
}
