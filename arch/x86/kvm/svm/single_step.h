/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __SVM_SINGLE_STEP_H
#define __SVM_SINGLE_STEP_H

#include <linux/types.h>

struct kvm_vcpu;

/* A VMRUN that executes one instruction only */
struct svm_single_step {
	/* The fields below are set, and the next VMRUN is such */
	bool active;
	/* The instruction has completed, and this was not handled yet */
	bool over;
	/* An event is injected, and no instruction is to be executed */
	bool delivers;
	/* The instruction was not executed, and has to be otherwise */
	bool caught;
	/* enum kvmi_step_insn */
	u8 insn;
	/* Bitmap of caught_insns[] that are intercepted for this VMRUN only */
	u8 intercepts;
	/* KVM could not emulate the PUSHF or POPF */
	bool refused;
	/* The instruction seems to be SYSCALL or SYSRET */
	bool syscall;
	/* The RIP that these two are about */
	u64 found_at;
	/* The interrupt shadow is not the guest's */
	bool adds_shadow;
	/* The guest's registers before VMRUN */
	u8 cpl;
	u64 rip;
	u64 rsp;
	u64 rflags;
	/* What SYSRET loads RFLAGS from */
	unsigned long r11;
	/* What SYSCALL clears in RFLAGS */
	u64 sfmask;
	u64 dbgctl;
	/* The value in the VMCB */
	u64 efer;
	/* V_NMI_PENDING_MASK, if it was set */
	u32 vnmi_pending;
};

#ifdef CONFIG_KVM_INTROSPECTION
bool svm_begin_single_step(struct kvm_vcpu *vcpu);
void svm_end_single_step(struct kvm_vcpu *vcpu);
bool svm_single_step_exit(struct kvm_vcpu *vcpu, int *r);
#else
static inline bool svm_begin_single_step(struct kvm_vcpu *vcpu) { return false; }
static inline void svm_end_single_step(struct kvm_vcpu *vcpu) { }

static inline bool svm_single_step_exit(struct kvm_vcpu *vcpu, int *r)
{
	return false;
}
#endif

#endif /* __SVM_SINGLE_STEP_H */
