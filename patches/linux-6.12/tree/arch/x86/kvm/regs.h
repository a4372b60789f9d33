/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_REGS_H
#define __KVM_X86_REGS_H

/*
 * What KVM of Linux 7.3 has on x86 and introspection uses, for Linux 6.12; see
 * linux/kvmi_compat.h for the rest, and for what point releases bring.  This file and msrs.h are only there in a tree
 * of Linux 6.12, in place of the headers of these names that 7.3 has.
 */

#include <linux/kvm_host.h>

#include "cpuid.h"
#include "kvm_cache_regs.h"
#include "smm.h"
#include "x86.h"

#ifndef kvm_nested_call
#define kvm_nested_call(func)	(kvm_x86_ops.nested_ops->func)
#endif

#ifndef guest_cpu_cap_clear
#define guest_cpu_cap_clear(vcpu, x86_feature)					\
	__clear_bit(kvm_governed_feature_index(x86_feature),			\
		    (vcpu)->arch.governed_features.enabled)
#endif

static inline u32 kvm_eax_read(struct kvm_vcpu *vcpu) { return kvm_rax_read(vcpu); }
static inline u32 kvm_ebx_read(struct kvm_vcpu *vcpu) { return kvm_rbx_read(vcpu); }
static inline u32 kvm_ecx_read(struct kvm_vcpu *vcpu) { return kvm_rcx_read(vcpu); }

/* The others of Linux 7.3 read 32 bits outside of 64-bit code. */
#ifndef kvm_rcx_read_raw
#define kvm_rcx_read_raw(vcpu)		kvm_rcx_read(vcpu)
#endif
#ifndef kvm_rsi_read_raw
#define kvm_rsi_read_raw(vcpu)		kvm_rsi_read(vcpu)
#endif
#ifndef kvm_rdi_read_raw
#define kvm_rdi_read_raw(vcpu)		kvm_rdi_read(vcpu)
#endif
#ifndef kvm_rax_write_raw
#define kvm_rax_write_raw(vcpu, val)	kvm_rax_write(vcpu, val)
#endif

/* Reads what userspace would. */
static inline int kvm_msr_read(struct kvm_vcpu *vcpu, u32 index, u64 *data)
{
	return __kvm_get_msr(vcpu, index, data, true);
}

/* These do what the guest would, whatever userspace's filter says. */
static inline int __kvm_emulate_msr_read(struct kvm_vcpu *vcpu, u32 index, u64 *data)
{
	return kvm_get_msr(vcpu, index, data);
}

static inline int __kvm_emulate_msr_write(struct kvm_vcpu *vcpu, u32 index, u64 data)
{
	return kvm_set_msr(vcpu, index, data);
}

/* CPUID faults in SMM, too. */
static inline bool kvm_is_cpuid_allowed(struct kvm_vcpu *vcpu)
{
	return !cpuid_fault_enabled(vcpu) || !kvm_x86_call(get_cpl)(vcpu);
}

#endif /* __KVM_X86_REGS_H */
