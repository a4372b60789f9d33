/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVMI_HOST_H
#define __LINUX_KVMI_HOST_H

/*
 * KVM introspection: the interface to the rest of KVM.
 *
 * While no VM of the host is introspected, each hook is a branch that is patched
 * out; else a VM that is not pays a test of one field at each hook.  With
 * CONFIG_KVM_INTROSPECTION=n the hooks are gone.
 */

#include <linux/bits.h>
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

/*
 * Return true if hooks that are about more than one event have to be called: the
 * vCPU is introspected, or was.
 */
static inline bool kvmi_hooks_vcpu(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       READ_ONCE(vcpu->introspection);
}

/* Return true if the tool has enabled an event for the vCPU.  No lock needed. */
static inline bool kvmi_event_wanted(struct kvm_vcpu *vcpu, u16 id)
{
	return READ_ONCE(vcpu->introspection_events) & BIT(id);
}

/* The same, for hooks */
static inline bool kvmi_hooks_event(struct kvm_vcpu *vcpu, u16 id)
{
	return static_branch_unlikely(&kvmi_key.key) && kvmi_event_wanted(vcpu, id);
}

int __kvmi_vcpu_service(struct kvm_vcpu *vcpu);

/*
 * Process what the tool requests of a vCPU.  Called in the outer run loop,
 * whether or not the vCPU is runnable.  The vCPU is loaded, and its SRCU lock
 * may be dropped and retaken.  Return 1 to go on, else what KVM_RUN has to
 * return.
 */
static inline int kvmi_vcpu_service(struct kvm_vcpu *vcpu)
{
	/* A crash may be left to be reported when the VM is not hooked any more. */
	if (static_branch_unlikely(&kvmi_known_key.key) &&
	    kvm_test_request(KVM_REQ_INTROSPECTION, vcpu))
		return __kvmi_vcpu_service(vcpu);
	return 1;
}

void __kvmi_vcpu_begin_run(struct kvm_vcpu *vcpu);

/* Called before the outer run loop. */
static inline void kvmi_vcpu_begin_run(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_known_key.key) &&
	    READ_ONCE(vcpu->introspection))
		__kvmi_vcpu_begin_run(vcpu);
}

int __kvmi_vcpu_end_run(struct kvm_vcpu *vcpu, int r);

/*
 * Called when the outer run loop has ended for what userspace may ignore, i.e. a
 * signal, or that an interrupt can be injected.  A crash precedes that.  Return what
 * KVM_RUN has to return.
 */
static inline int kvmi_vcpu_end_run(struct kvm_vcpu *vcpu, int r)
{
	if (static_branch_unlikely(&kvmi_known_key.key) &&
	    READ_ONCE(vcpu->introspection))
		return __kvmi_vcpu_end_run(vcpu, r);
	return r;
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
static inline void kvmi_vcpu_begin_run(struct kvm_vcpu *vcpu) { }
static inline int kvmi_vcpu_end_run(struct kvm_vcpu *vcpu, int r) { return r; }
static inline bool kvmi_vm_hooked(struct kvm *kvm) { return false; }

#endif /* CONFIG_KVM_INTROSPECTION */

#endif /* __LINUX_KVMI_HOST_H */
