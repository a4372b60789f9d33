/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VIEW_H
#define __KVMI_VIEW_H

#include <linux/maple_tree.h>

#include "session.h"

/**
 * struct kvmi_gfn_range - guest frame numbers
 * @first: the first one
 * @last: the last one
 */
struct kvmi_gfn_range {
	gfn_t first;
	gfn_t last;
};

/**
 * struct kvmi_view - a view of guest memory
 * @access: what is left of the access to ranges of gfns, KVMI_PAGE_ACCESS_* as
 *	the value of an entry; there is none where nothing is restricted
 * @changed: gfns that are shown in place of others, as the value of an entry
 * @nr_ranges: entries of @access
 * @nr_changed: entries of @changed
 *
 * This is the truth, what hardware has is a cache of it.  Both are of addresses,
 * for each address space, whether or not there is memory at the time.
 *
 * Changed under kvm_introspection.views_lock.  Read by vCPU threads within
 * kvm->srcu, and by whoever maps guest memory within kvm->mmu_lock: who changes
 * an entry takes that for writing before it relies on it.
 */
struct kvmi_view {
	struct maple_tree access[KVM_MAX_NR_ADDRESS_SPACES];
	struct maple_tree changed[KVM_MAX_NR_ADDRESS_SPACES];
	unsigned long nr_ranges;
	unsigned long nr_changed;
};

struct kvmi_view *kvmi_view_create(struct kvmi_view *copy_of);
void kvmi_view_free(struct kvmi_view *view);
struct kvmi_view *kvmi_view_find(struct kvm *kvm, unsigned int id);
u8 kvmi_view_access(struct kvmi_view *view, int as_id, gfn_t gfn);
gfn_t kvmi_view_shown_gfn(struct kvmi_view *view, int as_id, gfn_t gfn);
bool kvmi_view_is_uniform(struct kvmi_view *view, int as_id,
			  const struct kvmi_gfn_range *range);

bool kvmi_views_have_room(struct kvm_introspection *session,
			  unsigned long nr_ranges, unsigned long nr_changed);
void kvmi_views_end(struct kvm_introspection *session);

#endif /* __KVMI_VIEW_H */
