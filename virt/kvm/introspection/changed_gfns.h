/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_CHANGED_GFNS_H
#define __KVMI_CHANGED_GFNS_H

#include <linux/rbtree.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "view.h"

struct kvmi_vm_request;

/* A gfn at which a view maps another page than the guest's own */
struct kvmi_changed_gfn {
	/* Where the page is mapped */
	gfn_t gfn;
	/*
	 * The page.  Equal to @gfn for a moment while the entry is created or
	 * removed.  Written with mmu_lock held for writing.
	 */
	gfn_t shown;
	/* Number of the view */
	u16 view;
	u16 as_id;
	/* In kvm_introspection.shown, unless @shown is @gfn */
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

int kvmi_vm_change_gfn(struct kvmi_vm_request *req);
int kvmi_vm_list_changed_gfns(struct kvmi_vm_request *req);

#endif /* __KVMI_CHANGED_GFNS_H */
