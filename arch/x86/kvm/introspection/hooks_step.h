/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_STEP_H
#define __KVMI_X86_HOOKS_STEP_H

/* KVM introspection: the hooks for single-stepping. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <asm/kvmi_host.h>

#include "hooks_entry.h"

bool __kvmi_single_steps(struct kvm_vcpu *vcpu);
int __kvmi_single_step_exit(struct kvm_vcpu *vcpu);
void __kvmi_task_switched(struct kvm_vcpu *vcpu);
bool __kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r);
enum kvmi_step_insn kvmi_step_insn(struct kvm_vcpu *vcpu);
bool kvmi_step_emulate(struct kvm_vcpu *vcpu, int *r);

/*
 * Return true if the vCPU has to exit after each instruction, and to hold
 * interrupts.
 */
static inline bool kvmi_single_steps(struct kvm_vcpu *vcpu)
{
	return kvmi_has_todo(vcpu) && __kvmi_single_steps(vcpu);
}

/*
 * Prepare to single-step the next instruction, where KVM_REQ_EVENT is handled,
 * which is pending then.  Return false if KVM has executed the instruction
 * instead.
 */
static inline bool kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r)
{
	return !kvmi_has_todo(vcpu) || __kvmi_prepare_step(vcpu, r);
}

/*
 * Handle the VM exit after an instruction.  Return what to return to the run
 * loop.
 */
static inline int kvmi_single_step_exit(struct kvm_vcpu *vcpu)
{
	if (kvmi_vcpu_known(vcpu))
		return __kvmi_single_step_exit(vcpu);
	return 1;
}

/* KVM has switched to another task, which ends the step of an instruction. */
static inline void kvmi_task_switched(struct kvm_vcpu *vcpu)
{
	if (kvmi_has_todo(vcpu))
		__kvmi_task_switched(vcpu);
}

#endif /* __KVMI_X86_HOOKS_STEP_H */
