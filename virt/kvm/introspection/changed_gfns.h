/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_CHANGED_GFNS_H
#define __KVMI_CHANGED_GFNS_H

#include <linux/rbtree.h>
#include <linux/types.h>

#include "view.h"

/**
 * struct kvmi_changed_gfn - a page that a view shows in place of another
 * @gfn: where it is shown
 * @shown: the page; for a moment that may be @gfn
 * @view: number of the view
 * @as_id: address space
 * @by_shown: in kvm_introspection.shown, unless @shown is @gfn
 * @rcu: to free it
 *
 * To change @shown it takes mmu_lock for writing.
 */
struct kvmi_changed_gfn {
	gfn_t gfn;
	gfn_t shown;
	u16 view;
	u16 as_id;
	struct rb_node by_shown;
	struct rcu_head rcu;
};

gfn_t kvmi_changed_shown(struct xarray *changed, gfn_t gfn);
bool kvmi_changed_any(struct xarray *changed, const struct kvmi_gfn_range *range);
int kvmi_changed_copy(struct kvm_introspection *session, struct kvmi_view *to,
		      unsigned int id, struct kvmi_view *from);
void kvmi_changed_end(struct kvm_introspection *session, struct kvmi_view *view);
void kvmi_changed_free(struct kvm_introspection *session, struct kvmi_view *view);
bool kvmi_changed_unmap(struct kvm *kvm, int as_id,
			const struct kvmi_gfn_range *range, bool flush);

#endif /* __KVMI_CHANGED_GFNS_H */
