/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MMU_VIEW_H
#define __KVM_X86_MMU_VIEW_H

/*
 * Views of guest memory: what can be mapped on top of what the memslots say.
 *
 * The TDP MMU has roots for each view, whose number is in their role, and asks
 * here, with the role of the page tables in question, where it makes an SPTE and
 * where it chooses how large a page is.  What a view is like is introspection's
 * matter.  It zaps what is mapped before it takes anything away.
 *
 * View 0 is the one that every VM has.
 */

#include <asm/kvmi_host.h>

#include "mmu.h"
#include "mmu_internal.h"
#include "spte.h"

/*
 * The access of a TDP page: may it be read, written, and executed in supervisor
 * and in user mode?  NPT takes every access for one of a user.  To EPT this bit
 * is the right to execute in user mode.
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

/* What may be mapped of a page: ACC_*.  The caller holds mmu_lock. */
static inline unsigned int kvm_gfn_access_mask(struct kvm *kvm,
					       union kvm_mmu_page_role role,
					       gfn_t gfn)
{
	if (kvmi_has_views())
		return __kvmi_page_access(kvm, role, gfn);
	return ACC_ALL;
}

/* The same of a page that a vCPU accesses, which may have more in roots of its own. */
static inline unsigned int kvm_vcpu_gfn_access_mask(struct kvm_vcpu *vcpu,
						    union kvm_mmu_page_role role,
						    gfn_t gfn)
{
	if (kvmi_has_views())
		return __kvmi_vcpu_page_access(vcpu, role, gfn);
	return ACC_ALL;
}

/*
 * How large can a page be so that all of it has the same access, given that it can
 * be as large as PG_LEVEL_* @level otherwise?  The caller holds mmu_lock.
 */
static inline int kvm_gfn_max_level(struct kvm *kvm, union kvm_mmu_page_role role,
				    gfn_t gfn, int level)
{
	if (!kvmi_has_views())
		return level;
	/* What can only be executed would be left without any access. */
	if (is_nx_huge_page_enabled(kvm) &&
	    !(__kvmi_page_access(kvm, role, gfn) & ACC_READ_MASK))
		return PG_LEVEL_4K;

	return __kvmi_max_mapping_level(kvm, role, gfn, level);
}

/*
 * Whose memory is to be mapped at a gfn?  The answer is good as long as mmu_lock is
 * held, and there may be no memory.  The caller is within kvm->srcu or holds
 * mmu_lock.
 */
static inline gfn_t kvm_gfn_to_slot_gfn(struct kvm_vcpu *vcpu,
					union kvm_mmu_page_role role, gfn_t gfn)
{
	if (kvmi_has_views())
		return __kvmi_mapped_gfn(vcpu, role, gfn);
	return gfn;
}

/*
 * Unmap pages where they are mapped at other gfns than their own.  The caller holds
 * mmu_lock for writing.  Returns true if a TLB flush is needed.
 */
static inline bool kvm_unmap_gfn_range_in_views(struct kvm *kvm,
						const struct kvm_gfn_range *range,
						bool flush)
{
	if (kvmi_has_views())
		return __kvmi_unmap_gfn_range(kvm, range, flush);
	return flush;
}

#endif /* __KVM_X86_MMU_VIEW_H */
