/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_VIEW_H
#define __KVM_X86_MMU_VIEW_H

/*
 * Views of guest memory restrict, and remap, what the memslots provide.
 *
 * The TDP MMU has roots for each view, whose number is in their role.  It calls
 * the functions below, with the role of the page tables in question, when it
 * makes an SPTE and when it chooses a mapping level.  The contents of views
 * belong to introspection, which zaps SPTEs before it takes access away.
 *
 * View 0 is the one that every VM has.
 */

#include "introspection/hooks_pages.h"
#include "mmu.h"
#include "mmu_internal.h"
#include "spte.h"

/*
 * Return the ACC_* of a TDP page that can be read, written, and executed in
 * supervisor and in user mode.  NPT handles every access as a user access.  For
 * EPT, ACC_USER_MASK is the right to execute in user mode.
 */
static inline unsigned int kvm_tdp_access(bool r, bool w, bool xs, bool xu)
{
	unsigned int access = 0;

	if (r)
		access |= ACC_READ_MASK;
	if (w)
		access |= ACC_WRITE_MASK;
	if (xs)
		access |= ACC_EXEC_MASK;
	if (shadow_xs_mask ? xu : access)
		access |= ACC_USER_MASK;

	return access;
}

/* Return the ACC_* that a page may be mapped with. mmu_lock is held. */
static inline unsigned int kvm_gfn_access_mask(struct kvm *kvm,
					       union kvm_mmu_page_role role,
					       gfn_t gfn)
{
	if (kvmi_has_views(kvm))
		return __kvmi_page_access(kvm, role, gfn);
	return ACC_ALL;
}

/*
 * The same for a fault of a vCPU, which may have more access in its own roots.
 */
static inline unsigned int kvm_vcpu_gfn_access_mask(struct kvm_vcpu *vcpu,
						    union kvm_mmu_page_role role,
						    gfn_t gfn)
{
	if (kvmi_has_views(vcpu->kvm))
		return __kvmi_vcpu_page_access(vcpu, role, gfn);
	return ACC_ALL;
}

/*
 * Return the largest mapping level up to @level for which access is uniform.
 * mmu_lock is held.
 */
static inline int kvm_gfn_max_level(struct kvm *kvm, union kvm_mmu_page_role role,
				    gfn_t gfn, int level)
{
	if (!kvmi_has_views(kvm))
		return level;
	/* An execute-only page would be left without any access. */
	if (is_nx_huge_page_enabled(kvm) &&
	    !(__kvmi_page_access(kvm, role, gfn) & ACC_READ_MASK))
		return PG_LEVEL_4K;

	return __kvmi_max_mapping_level(kvm, role, gfn, level);
}

/*
 * Return the gfn whose memory has to be mapped at @gfn, valid while mmu_lock is
 * held; there may be no memory. mmu_lock is held, or kvm->srcu.
 */
static inline gfn_t kvm_gfn_to_slot_gfn(struct kvm_vcpu *vcpu,
					union kvm_mmu_page_role role, gfn_t gfn)
{
	if (kvmi_has_views(vcpu->kvm))
		return __kvmi_mapped_gfn(vcpu, role, gfn);
	return gfn;
}

/*
 * Unmap pages at the gfns that they are remapped to. mmu_lock is held for
 * writing.  Return true if a TLB flush is needed.
 */
static inline bool kvm_unmap_gfn_range_in_views(struct kvm *kvm,
						const struct kvm_gfn_range *range,
						bool flush)
{
	if (kvmi_has_views(kvm))
		return __kvmi_unmap_gfn_range(kvm, range, flush);
	return flush;
}

#endif /* __KVM_X86_MMU_VIEW_H */
