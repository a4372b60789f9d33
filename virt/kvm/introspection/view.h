/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VIEW_H
#define __KVMI_VIEW_H

#include <linux/atomic.h>
#include <linux/xarray.h>

#include "access_store.h"
#include "session.h"

/**
 * struct kvmi_view - a view of guest memory
 * @access: what is left of the access to pages
 * @changed: struct kvmi_changed_gfn, by the gfn where a page is shown
 * @users: number of vCPUs that are to be in it; negative if it is about to end.
 *	View 0 does not end, and does not count.
 *
 * This is the truth, what hardware has is a cache of it.  All is of addresses,
 * for each address space, whether or not there is memory at the time.
 *
 * Only the receiver changes it.  Read by vCPU threads within kvm->srcu, and by
 * whoever maps guest memory within kvm->mmu_lock: what takes access away, or shows
 * another page, is changed with that held for writing.
 */
struct kvmi_view {
	struct kvmi_access_store access[KVM_MAX_NR_ADDRESS_SPACES];
	struct xarray changed[KVM_MAX_NR_ADDRESS_SPACES];
	atomic_t users;
};

struct kvmi_view *kvmi_view_create(void);
void kvmi_view_free(struct kvm_introspection *session, struct kvmi_view *view);
struct kvmi_view *kvmi_view_find(struct kvm *kvm, unsigned int id);
struct kvmi_view *kvmi_session_view(struct kvm_introspection *session,
				    unsigned int id, unsigned int as_id);
u8 kvmi_view_access(struct kvmi_view *view, int as_id, gfn_t gfn);
gfn_t kvmi_view_shown_gfn(struct kvmi_view *view, int as_id, gfn_t gfn);
bool kvmi_view_is_uniform(struct kvmi_view *view, int as_id,
			  const struct kvmi_gfn_range *range);

bool kvmi_mmu_lock_is_wanted(struct kvm *kvm);
void kvmi_mmu_lock_yield(struct kvm *kvm, bool *flush);

unsigned long kvmi_views_nr_nodes(struct kvm_introspection *session);
void kvmi_views_end(struct kvm_introspection *session);

#endif /* __KVMI_VIEW_H */
