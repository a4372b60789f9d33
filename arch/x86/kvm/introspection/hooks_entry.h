/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_ENTRY_H
#define __KVMI_X86_HOOKS_ENTRY_H

/* KVM introspection: the hooks before VM-Enter. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

bool __kvmi_check_step(struct kvm_vcpu *vcpu);

/*
 * Return true if __kvmi_check_step() has to be called before VM-Enter: while
 * instructions are single-stepped or emulated, and if registers have to be
 * reported.
 */
static inline bool kvmi_has_todo(struct kvm_vcpu *vcpu)
{
	return kvmi_in_use() && READ_ONCE(vcpu->arch.introspection_todo);
}

/* Return true if the run loop has to be gone through before the next instruction. */
static inline bool kvmi_needs_run_loop(struct kvm_vcpu *vcpu)
{
	return kvmi_was_in_use() &&
	       (READ_ONCE(vcpu->arch.introspection_todo) ||
		kvm_test_request(KVM_REQ_INTROSPECTION, vcpu));
}

/*
 * Check whether the instruction being stepped is over, and do what is requested.
 * Called in the outer run loop, whether or not the vCPU is runnable.  The vCPU is
 * loaded, and its SRCU lock may be dropped and retaken.  *@checked is false if an
 * event is pending: the vCPU's state must not change before this is called again.
 * Return 1 to go on, else what KVM_RUN has to return.
 */
static inline int kvmi_vcpu_prepare(struct kvm_vcpu *vcpu, bool *checked)
{
	*checked = true;
	/* A crash may be left to be reported when the VM is not hooked any more. */
	if (kvmi_was_in_use()) {
		if (READ_ONCE(vcpu->arch.introspection_todo))
			*checked = __kvmi_check_step(vcpu);
		if (kvm_test_request(KVM_REQ_INTROSPECTION, vcpu))
			return __kvmi_vcpu_service(vcpu);
	}

	return 1;
}

#endif /* __KVMI_X86_HOOKS_ENTRY_H */
