/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VIEW_H
#define __KVMI_VIEW_H

#include <linux/atomic.h>
#include <linux/xarray.h>

#include "access_store.h"
#include "session.h"

struct kvmi_vcpu_request;
struct kvmi_vm_request;

/*
 * A view of guest memory.
 *
 * The trees are authoritative, SPTEs only cache them.  Both are indexed by gfn,
 * per address space, and do not depend on memslots.
 *
 * Only the receiver changes a view.  vCPU threads read it within kvm->srcu, and
 * page fault handlers with mmu_lock held: changes that take access away, or
 * remap a gfn, are made with mmu_lock held for writing.
 */
struct kvmi_view {
	/* The access that is left to pages */
	struct kvmi_access_store access[KVM_MAX_NR_ADDRESS_SPACES];
	/* struct kvmi_changed_gfn, by the gfn at which a page is mapped */
	struct xarray changed[KVM_MAX_NR_ADDRESS_SPACES];
	/*
	 * vCPUs whose view this is, or is about to be; negative if the view is
	 * about to end.  View 0 does not end, and is not counted.
	 */
	atomic_t users;
};

struct kvmi_view *kvmi_view_create(void);
void kvmi_view_free(struct kvm_introspection *session, struct kvmi_view *view);
struct kvmi_view *kvmi_view_find(struct kvm *kvm, unsigned int id);
struct kvmi_view *kvmi_session_view(struct kvm_introspection *session,
				    unsigned int id, unsigned int as_id);

/* Return true if a view restricts nothing, and maps no other pages; lockless. */
static inline bool kvmi_view_is_plain(const struct kvmi_view *view, int as_id)
{
	return xa_empty(&view->access[as_id].top) && xa_empty(&view->changed[as_id]);
}

u8 kvmi_view_access(struct kvmi_view *view, int as_id, gfn_t gfn);
gfn_t kvmi_view_shown_gfn(struct kvmi_view *view, int as_id, gfn_t gfn);
bool kvmi_view_is_uniform(struct kvmi_view *view, int as_id,
			  const struct kvmi_gfn_range *range);

bool kvmi_mmu_lock_is_wanted(struct kvm *kvm);
void kvmi_mmu_lock_yield(struct kvm *kvm, bool *flush);

bool kvmi_view_get(struct kvm_introspection *session, unsigned int id);
void kvmi_view_put(struct kvm_introspection *session, unsigned int id);
void kvmi_view_enter(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		     unsigned int id);
void kvmi_view_step(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		    unsigned int id, bool delivery);

unsigned long kvmi_views_nr_nodes(struct kvm_introspection *session);
void kvmi_views_end(struct kvm_introspection *session);

int kvmi_vm_create_view(struct kvmi_vm_request *req);
int kvmi_vm_destroy_view(struct kvmi_vm_request *req);
int kvmi_vm_list_views(struct kvmi_vm_request *req);
int kvmi_vcpu_set_view(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_view(struct kvmi_vcpu_request *req);

#endif /* __KVMI_VIEW_H */
