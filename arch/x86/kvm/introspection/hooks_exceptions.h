/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_EXCEPTIONS_H
#define __KVMI_X86_HOOKS_EXCEPTIONS_H

/* KVM introspection: the hooks for exceptions. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <uapi/linux/kvmi.h>

#include "hooks.h"

u32 __kvmi_wants_exceptions(struct kvm_vcpu *vcpu);
bool __kvmi_deliver_exception(struct kvm_vcpu *vcpu);
int kvmi_exception_exit(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			u32 error_code, unsigned long address);
enum kvmi_verdict __kvmi_emulated_exception(struct kvm_vcpu *vcpu, u8 vector,
					    u8 insn_len);

/* Return a bitmap of the vectors of exceptions to intercept. */
static inline u32 kvmi_wants_exceptions(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_wants_exceptions(vcpu);
	return 0;
}

/*
 * KVM's emulator is about to deliver #BP or #OF of an instruction.  KVMI_SKIP: the
 * instruction does nothing.  KVMI_RETRY: it is not for the emulator to execute.
 */
static inline enum kvmi_verdict
kvmi_emulated_exception(struct kvm_vcpu *vcpu, u8 vector, u8 insn_len)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_emulated_exception(vcpu, vector, insn_len);
	return KVMI_ALLOW;
}

/*
 * An exception is about to be injected.  May drop and retake the vCPU's SRCU
 * lock.  Return false to go back to the run loop with KVM_REQ_EVENT pending.
 */
static inline bool kvmi_deliver_exception(struct kvm_vcpu *vcpu)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_deliver_exception(vcpu);
}

/*
 * Return true if the tool intercepts breakpoints, which KVM_SET_GUEST_DEBUG
 * must not.
 */
static inline bool kvmi_owns_breakpoints(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_BREAKPOINT);
}

#endif /* __KVMI_X86_HOOKS_EXCEPTIONS_H */
