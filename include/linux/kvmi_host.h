/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVMI_HOST_H
#define __LINUX_KVMI_HOST_H

/*
 * KVM introspection: the interface to the rest of KVM.
 *
 * A VM that is not introspected pays one predicted branch at each hook; with
 * CONFIG_KVM_INTROSPECTION=n the hooks are gone.
 */

#include <linux/errno.h>
#include <linux/jump_label_ratelimit.h>
#include <linux/kvm_host.h>
#include <linux/types.h>

#ifdef CONFIG_KVM_INTROSPECTION

/*
 * Enabled while any VM of the host is introspected, and a while longer: hooking
 * and unhooking in a loop must not patch code in a loop.
 */
extern struct static_key_false_deferred kvmi_key;
/* The same, for VMs that have ever been introspected */
extern struct static_key_false_deferred kvmi_known_key;

void kvmi_exit(void);
int kvmi_check_extension(struct kvm *kvm);
long kvmi_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp);
void kvmi_vm_destroy(struct kvm *kvm);

int kvmi_vcpu_create(struct kvm_vcpu *vcpu);
void kvmi_vcpu_destroy(struct kvm_vcpu *vcpu);

int __kvmi_vcpu_service(struct kvm_vcpu *vcpu);

/*
 * Process what the tool requests of a vCPU.  Called in the outer run loop,
 * whether or not the vCPU is runnable.  The vCPU is loaded, and its SRCU lock
 * may be dropped and retaken.  Return 1 to go on, else what KVM_RUN has to
 * return.
 */
static inline int kvmi_vcpu_service(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key) &&
	    kvm_test_request(KVM_REQ_INTROSPECTION, vcpu))
		return __kvmi_vcpu_service(vcpu);
	return 1;
}

bool __kvmi_vm_hooked(struct kvm *kvm);

/* Return true from KVM_INTROSPECTION_HOOK to KVM_INTROSPECTION_UNHOOK. */
static inline bool kvmi_vm_hooked(struct kvm *kvm)
{
	return static_branch_unlikely(&kvmi_key.key) && __kvmi_vm_hooked(kvm);
}

#else /* !CONFIG_KVM_INTROSPECTION */

static inline void kvmi_exit(void) { }
static inline int kvmi_check_extension(struct kvm *kvm) { return 0; }
static inline void kvmi_vm_destroy(struct kvm *kvm) { }
static inline int kvmi_vcpu_create(struct kvm_vcpu *vcpu) { return 0; }
static inline void kvmi_vcpu_destroy(struct kvm_vcpu *vcpu) { }
static inline int kvmi_vcpu_service(struct kvm_vcpu *vcpu) { return 1; }
static inline bool kvmi_vm_hooked(struct kvm *kvm) { return false; }

#endif /* CONFIG_KVM_INTROSPECTION */

#endif /* __LINUX_KVMI_HOST_H */
