/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_REGS_H
#define __KVMI_X86_HOOKS_REGS_H

/* KVM introspection: the hooks for registers. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <uapi/linux/kvmi.h>

#include "hooks.h"

void __kvmi_limit_caps(struct kvm_vcpu *vcpu);
bool __kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr);
bool __kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr);
enum kvmi_verdict __kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
				  unsigned long *val);
enum kvmi_verdict __kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 *data);
void __kvmi_enter_smm(struct kvm_vcpu *vcpu);
void __kvmi_leave_smm(struct kvm_vcpu *vcpu);
void __kvmi_task_switch(struct kvm_vcpu *vcpu);
void __kvmi_vcpu_reset(struct kvm_vcpu *vcpu);

/* Remove what can't be introspected from a vCPU's capabilities. */
static inline void kvmi_limit_caps(struct kvm_vcpu *vcpu)
{
	if (kvmi_in_use())
		__kvmi_limit_caps(vcpu);
}

/* Return true if writes to CR0, CR3 or CR4 have to be intercepted. */
static inline bool kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_CR) &&
	       __kvmi_wants_cr(vcpu, cr);
}

/* Return true if writes to an MSR have to be intercepted. */
static inline bool kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_MSR) &&
	       __kvmi_wants_msr(vcpu, msr);
}

/*
 * A guest writes a control register.  The tool may change *@val, a copy of which
 * keeps the caller from having it in memory in any case.
 */
static inline enum kvmi_verdict kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
					      unsigned long *val)
{
	enum kvmi_verdict v;
	unsigned long copy;

	if (!kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_CR))
		return KVMI_ALLOW;

	copy = *val;
	v = __kvmi_cr_write(vcpu, cr, &copy);
	*val = copy;
	return v;
}

/* A guest executes WRMSR.  The tool may change *@data, as with kvmi_cr_write(). */
static inline enum kvmi_verdict kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr,
					       u64 *data)
{
	enum kvmi_verdict v;
	u64 copy;

	if (!kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_MSR))
		return KVMI_ALLOW;

	copy = *data;
	v = __kvmi_msr_write(vcpu, msr, &copy);
	*data = copy;
	return v;
}

/* Save the registers that RSM will load. */
static inline void kvmi_enter_smm(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_enter_smm(vcpu);
}

/* Report the registers that RSM has changed, before VM-Enter. */
static inline void kvmi_leave_smm(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_leave_smm(vcpu);
}

/*
 * Report the registers that a task switch is about to change, before VM-Enter.
 */
static inline void kvmi_task_switch(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_task_switch(vcpu);
}

/* Drop what was not reported yet of RSM or a task switch. */
static inline void kvmi_vcpu_reset(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_vcpu_reset(vcpu);
}

#endif /* __KVMI_X86_HOOKS_REGS_H */
