/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_PAGES_H
#define __KVMI_X86_HOOKS_PAGES_H

/* KVM introspection: the hooks for page faults, and for the MMU, see mmu/view.h. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

unsigned int __kvmi_page_access(struct kvm *kvm, union kvm_mmu_page_role role,
				gfn_t gfn);
int __kvmi_max_mapping_level(struct kvm *kvm, union kvm_mmu_page_role role,
			     gfn_t gfn, int level);
unsigned int __kvmi_vcpu_page_access(struct kvm_vcpu *vcpu,
				     union kvm_mmu_page_role role, gfn_t gfn);
gfn_t __kvmi_mapped_gfn(struct kvm_vcpu *vcpu, union kvm_mmu_page_role role,
			gfn_t gfn);
bool __kvmi_unmap_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range,
			    bool flush);
bool __kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 error_code, int *r);

/*
 * A TDP page fault.  Return true if the vCPU's view permits the access, with *@r
 * RET_PF_RETRY if what is accessed may have changed meanwhile.  Else *@r is what to
 * return to the run loop.
 */
static inline bool kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
				   u64 error_code, int *r)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_page_fault(vcpu, gpa, error_code, r);
}

#endif /* __KVMI_X86_HOOKS_PAGES_H */
