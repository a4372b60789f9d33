// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: XSETBV, CPUID, accesses to descriptor table registers, and
 * hypercalls, which are reported before they take effect.
 */

#include <linux/kvm_host.h>
#include <linux/kvm_para.h>

#include <asm/fpu/xcr.h>
#include <asm/kvmi_host.h>

#include "introspection/event.h"
#include "introspection/vcpu.h"
#include "cpuid.h"
#include "hooks_emulator.h"
#include "hooks_insns.h"
#include "intercepts.h"
#include "kvm_emulate.h"
#include "regs.h"
#include "x86.h"

enum kvmi_verdict __kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr, u64 val)
{
	struct kvmi_vcpu_event_xsetbv event = {
		.xcr = xcr,
		.old_value = vcpu->arch.xcr0,
		.new_value = val,
	};

	/* Nothing to report for a register that does not exist */
	if (xcr != XCR_XFEATURE_ENABLED_MASK ||
	    event.old_value == event.new_value)
		return KVMI_ALLOW;

	return kvmi_report_insn(vcpu, KVMI_VCPU_EVENT_XSETBV, &event, sizeof(event),
				NULL, 0);
}

static enum kvmi_verdict ask_cpuid(struct kvm_vcpu *vcpu, u8 insn_len)
{
	struct kvmi_vcpu_event_cpuid event = {
		.function = kvm_eax_read(vcpu),
		.index = kvm_ecx_read(vcpu),
		.insn_len = insn_len,
	};

	return kvmi_action_to_verdict(kvmi_event(vcpu, KVMI_VCPU_EVENT_CPUID, &event,
						 sizeof(event), NULL, 0));
}

enum kvmi_verdict __kvmi_cpuid(struct kvm_vcpu *vcpu)
{
	u8 len;

	return kvmi_get_insn_len(vcpu, &len) ? ask_cpuid(vcpu, len) : KVMI_RETRY;
}

static enum kvmi_verdict ask_descriptor(struct kvm_vcpu *vcpu, u8 descriptor,
					bool write)
{
	struct kvmi_vcpu_event_descriptor event = {
		.descriptor = descriptor,
		.write = write,
	};

	if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR))
		return KVMI_ALLOW;

	/* UMIP's #GP takes precedence, also where KVM raises it. */
	if (!write && kvm_is_cr4_bit_set(vcpu, X86_CR4_UMIP) &&
	    kvm_x86_call(get_cpl)(vcpu) > 0)
		return KVMI_ALLOW;

	return kvmi_report_insn(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR, &event,
				sizeof(event), NULL, 0);
}

bool __kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor, bool write,
			    int *r)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	switch (ask_descriptor(vcpu, descriptor, write)) {
	case KVMI_ALLOW:
		/* KVM may fetch another instruction. */
		vi->arch.allowed.descriptor = descriptor;
		vi->arch.allowed.write = write;
		*r = kvm_emulate_instruction(vcpu, 0);
		vi->arch.allowed.descriptor = 0;
		break;
	case KVMI_SKIP:
		*r = kvm_skip_emulated_instruction(vcpu);
		break;
	case KVMI_RETRY:
		*r = 1;
		break;
	}

	return false;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_descriptor_exit);

static enum kvmi_verdict emulated_descriptor(struct kvm_vcpu *vcpu,
					     u8 descriptor, bool write)
{
	const struct kvmi_descriptor_access *allowed =
		&kvmi_to_vcpu(vcpu)->arch.allowed;

	if (allowed->descriptor == descriptor && allowed->write == write)
		return KVMI_ALLOW;

	return ask_descriptor(vcpu, descriptor, write);
}

static enum kvmi_verdict emulated_cpuid(struct kvm_vcpu *vcpu, u8 insn_len)
{
	/* CPUID faulting raises #GP instead. */
	if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_CPUID) ||
	    !kvm_is_cpuid_allowed(vcpu))
		return KVMI_ALLOW;

	return ask_cpuid(vcpu, insn_len);
}

enum kvmi_verdict __kvmi_emulated_insn(struct kvm_vcpu *vcpu,
				       const struct x86_instruction_info *info)
{
	switch (info->intercept) {
	case x86_intercept_cpuid:
		return emulated_cpuid(vcpu, info->next_rip - info->rip);
	case x86_intercept_ins:
		return __kvmi_emulated_input(vcpu) ? KVMI_ALLOW : KVMI_RETRY;
	case x86_intercept_lgdt:
		return emulated_descriptor(vcpu, KVMI_DESC_GDTR, true);
	case x86_intercept_lidt:
		return emulated_descriptor(vcpu, KVMI_DESC_IDTR, true);
	case x86_intercept_lldt:
		return emulated_descriptor(vcpu, KVMI_DESC_LDTR, true);
	case x86_intercept_ltr:
		return emulated_descriptor(vcpu, KVMI_DESC_TR, true);
	case x86_intercept_sgdt:
		return emulated_descriptor(vcpu, KVMI_DESC_GDTR, false);
	case x86_intercept_sidt:
		return emulated_descriptor(vcpu, KVMI_DESC_IDTR, false);
	case x86_intercept_sldt:
		return emulated_descriptor(vcpu, KVMI_DESC_LDTR, false);
	case x86_intercept_str:
		return emulated_descriptor(vcpu, KVMI_DESC_TR, false);
	default:
		return KVMI_ALLOW;
	}
}

static bool is_introspection_hypercall(struct kvm_vcpu *vcpu)
{
	unsigned long op, arg;

	if (is_64_bit_hypercall(vcpu)) {
		op = kvm_rdi_read_raw(vcpu);
		arg = kvm_rsi_read_raw(vcpu);
	} else {
		op = kvm_ebx_read(vcpu);
		arg = kvm_ecx_read(vcpu);
	}

	return kvm_eax_read(vcpu) == KVM_HC_XEN_HVM_OP &&
	       op == KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT && !arg;
}

/* -ENOENT: it is not introspection's. */
int __kvmi_hypercall(struct kvm_vcpu *vcpu)
{
	if (!is_introspection_hypercall(vcpu))
		return -ENOENT;

	switch (kvmi_report_insn(vcpu, KVMI_VCPU_EVENT_HYPERCALL, NULL, 0, NULL, 0)) {
	case KVMI_ALLOW:
		kvm_rax_write_raw(vcpu, 0);
		break;
	case KVMI_SKIP:
		break;
	case KVMI_RETRY:
		return 1;
	}

	return kvm_skip_emulated_instruction(vcpu);
}
