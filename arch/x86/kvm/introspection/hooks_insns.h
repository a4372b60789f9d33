/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_INSNS_H
#define __KVMI_X86_HOOKS_INSNS_H

/* KVM introspection: the hooks for instructions. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <uapi/linux/kvmi.h>

#include "hooks.h"

struct x86_instruction_info;

enum kvmi_verdict __kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr, u64 val);
enum kvmi_verdict __kvmi_cpuid(struct kvm_vcpu *vcpu);
bool __kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor, bool write,
			    int *r);
enum kvmi_verdict __kvmi_emulated_insn(struct kvm_vcpu *vcpu,
				       const struct x86_instruction_info *info);
int __kvmi_hypercall(struct kvm_vcpu *vcpu);

/* A guest executes XSETBV at CPL 0. */
static inline enum kvmi_verdict kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr,
					    u64 val)
{
	if (kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_XSETBV))
		return __kvmi_xsetbv(vcpu, xcr, val);
	return KVMI_ALLOW;
}

/* A guest executes CPUID. */
static inline enum kvmi_verdict kvmi_cpuid(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_CPUID))
		return __kvmi_cpuid(vcpu);
	return KVMI_ALLOW;
}

/*
 * Return true if accesses to descriptor table registers have to be intercepted.
 */
static inline bool kvmi_wants_descriptor(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR);
}

/*
 * Handle a VM exit for an access to a descriptor table register: emulate it if
 * the tool allows it.  Return true if introspection does not intercept it.
 */
static inline bool kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor,
					bool write, int *r)
{
	return !kvmi_hooks_vcpu(vcpu) ||
	       __kvmi_descriptor_exit(vcpu, descriptor, write, r);
}

/* Return true if kvmi_emulated_insn() has to be called. */
static inline bool kvmi_wants_emulated_insns(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu);
}

/*
 * KVM's emulator is about to execute an instruction, and has not accessed its
 * memory operands yet.  Control registers, MSRs and XCR0 are reported when they
 * are written.
 */
static inline enum kvmi_verdict
kvmi_emulated_insn(struct kvm_vcpu *vcpu, const struct x86_instruction_info *info)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_emulated_insn(vcpu, info);
	return KVMI_ALLOW;
}

/*
 * A guest makes a hypercall.  Return true unless it is the one of introspection,
 * which is reported.
 */
static inline bool kvmi_hypercall(struct kvm_vcpu *vcpu, int *r)
{
	if (!kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_HYPERCALL))
		return true;

	*r = __kvmi_hypercall(vcpu);
	return *r == -ENOENT;
}

#endif /* __KVMI_X86_HOOKS_INSNS_H */
