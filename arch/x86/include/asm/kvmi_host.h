/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_KVMI_HOST_H
#define _ASM_X86_KVMI_HOST_H

/*
 * KVM introspection: the hooks in KVM's x86 code.
 *
 * What a tool wants to be told of is a set of wishes per vCPU.  KVM adds them
 * to its own when it recomputes intercepts, so a wish can never take away an
 * intercept that KVM or userspace needs.
 */

#include <linux/bitops.h>
#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

/* MSRs that hardware can intercept one by one: two ranges of this size. */
#define KVMI_NR_RANGE_MSRS	0x2000
#define KVMI_HIGH_MSRS		0xc0000000

/**
 * struct kvmi_arch_vcpu - what a tool wants to be told of on an x86 vCPU
 * @crs: bit n: writes to CRn
 * @low_msrs: writes to the MSRs from 0
 * @high_msrs: writes to the MSRs from KVMI_HIGH_MSRS
 *
 * Changed on the vCPU's thread, and cleared by unhooking on any.  Read without
 * a lock: whoever reads too early is made to recompute by
 * KVM_REQ_RECALC_INTERCEPTS.
 */
struct kvmi_arch_vcpu {
	unsigned long crs;
	DECLARE_BITMAP(low_msrs, KVMI_NR_RANGE_MSRS);
	DECLARE_BITMAP(high_msrs, KVMI_NR_RANGE_MSRS);
};

/**
 * enum kvmi_verdict - what to do with an instruction a tool was asked about
 * @KVMI_ALLOW: go on
 * @KVMI_SKIP: move RIP past the instruction as if it had been executed
 * @KVMI_RETRY: return to the run loop, which knows whether the instruction is
 *	to run again, or KVM_RUN has to return first
 */
enum kvmi_verdict {
	KVMI_ALLOW,
	KVMI_SKIP,
	KVMI_RETRY,
};

#ifdef CONFIG_KVM_INTROSPECTION

bool __kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr);
bool __kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr);
enum kvmi_verdict __kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
				  unsigned long *val);
enum kvmi_verdict __kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 *data);

/**
 * kvmi_vcpu_known - has the vCPU ever been introspected?
 * @vcpu: the vCPU
 *
 * If so KVM_REQ_RECALC_INTERCEPTS may be there to take an intercept back, even
 * when nobody is introspecting any more.
 */
static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->introspection);
}

/**
 * kvmi_wants_cr - must writes to a control register cause VM exits?
 * @vcpu: the vCPU
 * @cr: 0, 3 or 4
 */
static inline bool kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr)
{
	return static_branch_unlikely(&kvmi_key) && __kvmi_wants_cr(vcpu, cr);
}

/**
 * kvmi_wants_msr - must writes to an MSR cause VM exits?
 * @vcpu: the vCPU
 * @msr: index of the MSR
 */
static inline bool kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	return static_branch_unlikely(&kvmi_key) && __kvmi_wants_msr(vcpu, msr);
}

/**
 * kvmi_cr_write - ask about a guest's write to a control register
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @cr: number of the register
 * @val: the value written; changed if the tool wants another
 */
static inline enum kvmi_verdict kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
					      unsigned long *val)
{
	if (static_branch_unlikely(&kvmi_key))
		return __kvmi_cr_write(vcpu, cr, val);
	return KVMI_ALLOW;
}

/**
 * kvmi_msr_write - ask about a guest's WRMSR
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @msr: index of the MSR
 * @data: the value written; changed if the tool wants another
 */
static inline enum kvmi_verdict kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr,
					       u64 *data)
{
	if (static_branch_unlikely(&kvmi_key))
		return __kvmi_msr_write(vcpu, msr, data);
	return KVMI_ALLOW;
}

#else /* !CONFIG_KVM_INTROSPECTION */

static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr) { return false; }
static inline bool kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr) { return false; }

static inline enum kvmi_verdict kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
					      unsigned long *val)
{
	return KVMI_ALLOW;
}

static inline enum kvmi_verdict kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr,
					       u64 *data)
{
	return KVMI_ALLOW;
}

#endif /* CONFIG_KVM_INTROSPECTION */

#endif /* _ASM_X86_KVMI_HOST_H */
