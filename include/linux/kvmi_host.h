/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVMI_HOST_H
#define __LINUX_KVMI_HOST_H

/*
 * KVM introspection: what the rest of KVM sees of it.
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
 * On while any VM of the host is introspected, and a while longer: who hooks and
 * unhooks all the time must not have code patched all the time.
 */
extern struct static_key_false_deferred kvmi_key;
/* On while there is any VM that has ever been introspected, and a while longer. */
extern struct static_key_false_deferred kvmi_known_key;

void kvmi_exit(void);
int kvmi_check_extension(struct kvm *kvm);
long kvmi_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp);
void kvmi_vm_destroy(struct kvm *kvm);

int kvmi_vcpu_create(struct kvm_vcpu *vcpu);
void kvmi_vcpu_destroy(struct kvm_vcpu *vcpu);

int __kvmi_vcpu_service(struct kvm_vcpu *vcpu);

/**
 * kvmi_vcpu_service - do what the introspection tool wants of a vCPU
 * @vcpu: the vCPU, loaded; its SRCU lock is held and may be dropped and retaken
 *
 * To be called in the outer run loop, i.e. whether or not the vCPU is runnable.
 *
 * Return: 1 to go on, 0 or negative for KVM_RUN to return that.
 */
static inline int kvmi_vcpu_service(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key) &&
	    kvm_test_request(KVM_REQ_INTROSPECTION, vcpu))
		return __kvmi_vcpu_service(vcpu);
	return 1;
}

bool __kvmi_vm_hooked(struct kvm *kvm);

/**
 * kvmi_vm_hooked - is the VM introspected?
 * @kvm: the VM
 *
 * Return: true from KVM_INTROSPECTION_HOOK to KVM_INTROSPECTION_UNHOOK.
 */
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
