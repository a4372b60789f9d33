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

/* Return true while any VM of the host is introspected, see kvmi_key. */
static inline bool kvmi_in_use(void)
{
	return static_branch_unlikely(&kvmi_key.key);
}

/* The same, with kvmi_known_key. */
static inline bool kvmi_was_in_use(void)
{
	return static_branch_unlikely(&kvmi_known_key.key);
}

/*
 * Return true if hooks that are about more than one event have to be called: the
 * vCPU is introspected, or was.
 */
static inline bool kvmi_hooks_vcpu(struct kvm_vcpu *vcpu)
{
	return kvmi_in_use() && READ_ONCE(vcpu->introspection);
}

/* Return true if the tool has enabled an event for the vCPU.  No lock needed. */
static inline bool kvmi_event_wanted(struct kvm_vcpu *vcpu, u16 id)
{
	return READ_ONCE(vcpu->introspection_events) & BIT(id);
}

/* The same, for hooks */
static inline bool kvmi_hooks_event(struct kvm_vcpu *vcpu, u16 id)
{
	return kvmi_in_use() && kvmi_event_wanted(vcpu, id);
}

/*
 * Return true if the vCPU has ever been introspected.  If so,
 * KVM_REQ_RECALC_INTERCEPTS may be pending to remove intercepts, and VM exits
 * may be due to intercepts that have been removed, even if nothing is
 * introspected any more.
 */
static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu)
{
	return kvmi_was_in_use() && READ_ONCE(vcpu->introspection);
}

/* Return true if there may be views that restrict pages or remap gfns. */
static inline bool kvmi_has_views(struct kvm *kvm)
{
	return kvmi_in_use() && READ_ONCE(kvm->introspection_known);
}

#else /* !CONFIG_KVM_INTROSPECTION */

static inline void kvmi_exit(void) { }
static inline int kvmi_check_extension(struct kvm *kvm) { return 0; }
static inline void kvmi_vm_destroy(struct kvm *kvm) { }
static inline int kvmi_vcpu_create(struct kvm_vcpu *vcpu) { return 0; }
static inline void kvmi_vcpu_destroy(struct kvm_vcpu *vcpu) { }
static inline bool kvmi_in_use(void) { return false; }
static inline bool kvmi_was_in_use(void) { return false; }
static inline bool kvmi_hooks_vcpu(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_hooks_event(struct kvm_vcpu *vcpu, u16 id) { return false; }
static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_has_views(struct kvm *kvm) { return false; }

#endif /* CONFIG_KVM_INTROSPECTION */

int __kvmi_vcpu_service(struct kvm_vcpu *vcpu);

void __kvmi_vcpu_begin_run(struct kvm_vcpu *vcpu);

/* Called before the outer run loop. */
static inline void kvmi_vcpu_begin_run(struct kvm_vcpu *vcpu)
{
	if (kvmi_vcpu_known(vcpu))
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
	if (kvmi_vcpu_known(vcpu))
		return __kvmi_vcpu_end_run(vcpu, r);
	return r;
}

bool __kvmi_vm_hooked(struct kvm *kvm);

/* Return true from KVM_INTROSPECTION_HOOK to KVM_INTROSPECTION_UNHOOK. */
static inline bool kvmi_vm_hooked(struct kvm *kvm)
{
	return kvmi_in_use() && __kvmi_vm_hooked(kvm);
}

#endif /* __LINUX_KVMI_HOST_H */
