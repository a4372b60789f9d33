/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __SVM_SINGLE_STEP_H
#define __SVM_SINGLE_STEP_H

#include <linux/types.h>

struct kvm_vcpu;

/**
 * struct svm_single_step - a VMRUN that is to execute one instruction only
 * @active: it is one, and what is below was set before it
 * @over: the instruction is over, and introspection does not know yet
 * @delivers: an event is injected, and nothing is to be executed
 * @caught: the instruction has not been executed, and there is another way to do so
 * @insn: enum kvmi_step_insn
 * @intercepts: instructions that cause a VM exit for this VMRUN alone
 * @refused: KVM could not execute the PUSHF or POPF
 * @syscall: it seems to be SYSCALL or SYSRET
 * @adds_shadow: there is an interrupt shadow that the guest knows nothing of
 * @cpl: that of the guest
 * @rip: that of the guest
 * @rsp: that of the guest
 * @rflags: those of the guest
 * @r11: what SYSRET loads RFLAGS from
 * @sfmask: what SYSCALL takes from RFLAGS
 * @dbgctl: that of the guest
 * @efer: that of the guest, as hardware has it
 * @vnmi_pending: V_NMI_PENDING_MASK, if it was set
 */
struct svm_single_step {
	bool active;
	bool over;
	bool delivers;
	bool caught;
	u8 insn;
	u8 intercepts;
	bool refused;
	bool syscall;
	bool adds_shadow;
	u8 cpl;
	u64 rip;
	u64 rsp;
	u64 rflags;
	unsigned long r11;
	u64 sfmask;
	u64 dbgctl;
	u64 efer;
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
