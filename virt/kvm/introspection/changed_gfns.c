// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: gfns that a view remaps.
 *
 * They are looked up by gfn, in a view, and by the page that is mapped there,
 * in all views of a VM: unmapping a page has to find all gfns that it is mapped
 * at.
 */

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "kvm_mm.h"
#include "access_store.h"
#include "arch.h"
#include "changed_gfns.h"
#include "command.h"
#include "limits.h"
#include "memslots.h"
#include "session.h"
#include "view.h"

/* Return the gfn of the page that is mapped at @gfn; lockless. */
gfn_t kvmi_changed_shown(struct xarray *changed, gfn_t gfn)
{
	struct kvmi_changed_gfn *entry;

	guard(rcu)();

	entry = xa_load(changed, gfn);

	return entry ? READ_ONCE(entry->shown) : gfn;
}

/* Return true if any gfn of a range is remapped. */
bool kvmi_changed_any(struct xarray *changed, const struct kvmi_gfn_range *range)
{
	struct kvmi_changed_gfn *entry;
	unsigned long index;

	if (xa_empty(changed))
		return false;

	guard(rcu)();

	xa_for_each_range(changed, index, entry, range->first, range->last) {
		if (READ_ONCE(entry->shown) != entry->gfn)
			return true;
	}

	return false;
}

static bool shown_less(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct kvmi_changed_gfn, by_shown)->shown <
	       rb_entry(b, struct kvmi_changed_gfn, by_shown)->shown;
}

static void link_shown(struct kvm_introspection *session,
		       struct kvmi_changed_gfn *entry)
{
	if (entry->shown != entry->gfn)
		rb_add(&entry->by_shown, &session->shown[entry->as_id], shown_less);
}

static void unlink_shown(struct kvm_introspection *session,
			 struct kvmi_changed_gfn *entry)
{
	if (entry->shown != entry->gfn)
		rb_erase(&entry->by_shown, &session->shown[entry->as_id]);
}

static bool kvmi_zap_changed(struct kvm *kvm,
			     const struct kvmi_changed_gfn *entry, bool flush)
{
	struct kvmi_lost_gfns lost = {
		.base = entry->gfn & ~(KVMI_LEAF_PAGES - 1),
	};

	__set_bit(entry->gfn % KVMI_LEAF_PAGES, lost.gfns);

	return kvmi_arch_zap_lost(kvm, entry->view, entry->as_id, &lost, flush);
}

/*
 * Remap a gfn.  A page must not be mapped on top of the previous one: the
 * change takes effect after that was unmapped, as mmu_lock is held for writing.
 */
static bool kvmi_remap_gfn(struct kvm_introspection *session,
			   struct kvmi_changed_gfn *entry, gfn_t shown, bool flush)
{
	unlink_shown(session, entry);
	WRITE_ONCE(entry->shown, shown);
	link_shown(session, entry);

	return kvmi_zap_changed(session->kvm, entry, flush);
}

static struct kvmi_changed_gfn *add_entry(struct kvm_introspection *session,
					  struct kvmi_view *view, unsigned int id,
					  int as_id, gfn_t gfn, gfn_t shown)
{
	struct kvmi_changed_gfn *entry = kzalloc_obj(*entry, GFP_KERNEL_ACCOUNT);

	if (!entry)
		return NULL;

	entry->gfn = gfn;
	entry->shown = shown;
	entry->view = id;
	entry->as_id = as_id;
	if (xa_err(xa_store(&view->changed[as_id], gfn, entry, GFP_KERNEL_ACCOUNT))) {
		kfree(entry);
		return NULL;
	}
	session->nr_changed++;

	return entry;
}

/*
 * Remap in a new view what another one remaps.  The new view has to be freed
 * also if this fails.  Return 0 or -ENOMEM.
 */
int kvmi_changed_copy(struct kvm_introspection *session, struct kvmi_view *to,
		      unsigned int id, struct kvmi_view *from)
{
	struct kvmi_changed_gfn *entry;
	unsigned long index;
	bool flush = false;
	int i;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		xa_for_each(&from->changed[i], index, entry) {
			if (!add_entry(session, to, id, i, entry->gfn, entry->shown))
				return -ENOMEM;
		}
	}

	/*
	 * Nothing is mapped in the view before the view is published: unmapping
	 * a page may find some of the entries already.
	 */
	KVM_MMU_LOCK(session->kvm);
	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		xa_for_each(&to->changed[i], index, entry) {
			kvmi_mmu_lock_yield(session->kvm, &flush);
			link_shown(session, entry);
		}
	}
	KVM_MMU_UNLOCK(session->kvm);

	return 0;
}

/*
 * Undo all remapping of a view that is about to end.
 *
 * Each gfn is changed together with its SPTE, as by KVMI_VM_CHANGE_GFN, so that
 * mmu_lock may be dropped between any two of them:
 *
 * - Page faults map what the view maps at that time.  A gfn that is done maps its
 *   own page, so unmapping another page need not find it; the others are found.
 * - Entries are added and removed by the receiver only, or after its end, which
 *   is the current thread.
 * - Restrictions of the view do not change.
 *
 * A vCPU that runs in the view sees one gfn change after the other.  The caller
 * ensures that there is none, except for view 0 when the session ends.
 *
 * May sleep.  kvmi_changed_free() frees the entries.
 */
void kvmi_changed_end(struct kvm_introspection *session, struct kvmi_view *view)
{
	struct kvmi_changed_gfn *entry;
	struct kvm *kvm = session->kvm;
	unsigned long index;
	bool flush = false;
	int i;

	KVM_MMU_LOCK(kvm);
	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		xa_for_each(&view->changed[i], index, entry) {
			kvmi_mmu_lock_yield(kvm, &flush);
			flush = kvmi_remap_gfn(session, entry, entry->gfn, flush);
		}
	}
	if (flush)
		kvm_flush_remote_tlbs(kvm);
	KVM_MMU_UNLOCK(kvm);
}

/* Free what is left of remapped gfns once the view can't be found any more. */
void kvmi_changed_free(struct kvm_introspection *session, struct kvmi_view *view)
{
	struct kvmi_changed_gfn *entry;
	unsigned long index;
	int i;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		xa_for_each(&view->changed[i], index, entry) {
			kfree(entry);
			session->nr_changed--;
		}
		xa_destroy(&view->changed[i]);
	}
}

/*
 * Unmap pages wherever they are mapped at other gfns. mmu_lock is held for
 * writing.  Return true if a TLB flush is needed.
 */
bool kvmi_changed_unmap(struct kvm *kvm, int as_id,
			const struct kvmi_gfn_range *range, bool flush)
{
	struct kvm_introspection *session = READ_ONCE(kvm->introspection);
	struct kvmi_changed_gfn *entry;
	struct rb_node *node, *next;

	if (!session)
		return flush;

	/* The first entry that is not before the range */
	node = NULL;
	next = session->shown[as_id].rb_node;
	while (next) {
		entry = rb_entry(next, struct kvmi_changed_gfn, by_shown);
		if (entry->shown < range->first) {
			next = next->rb_right;
		} else {
			node = next;
			next = next->rb_left;
		}
	}

	for (; node; node = rb_next(node)) {
		entry = rb_entry(node, struct kvmi_changed_gfn, by_shown);
		if (entry->shown > range->last)
			break;
		flush = kvmi_zap_changed(kvm, entry, flush);
	}

	return flush;
}

static bool has_memory(struct kvm *kvm, u16 as_id, gfn_t gfn)
{
	struct kvmi_gfn_range range = { gfn, gfn };

	guard(srcu)(&kvm->srcu);
	return kvmi_range_has_memory(__kvm_memslots(kvm, as_id), &range);
}

int kvmi_vm_change_gfn(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_change_gfn *data = req->data;
	struct kvm_introspection *session = req->session;
	struct kvmi_changed_gfn *entry;
	struct kvm *kvm = session->kvm;
	struct kvmi_view *view;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	view = kvmi_session_view(session, data->view, data->as_id);
	if (data->padding || !view || !has_memory(kvm, data->as_id, data->gfn) ||
	    !has_memory(kvm, data->as_id, data->new_gfn))
		return -KVM_EINVAL;

	entry = xa_load(&view->changed[data->as_id], data->gfn);
	if (!entry) {
		if (data->new_gfn == data->gfn)
			return 0;
		if (session->nr_changed == KVMI_MAX_CHANGED_GFNS)
			return -KVM_EBUSY;
		/* An entry that changes nothing yet */
		entry = add_entry(session, view, data->view, data->as_id,
				  data->gfn, data->gfn);
		if (!entry)
			return -KVM_ENOMEM;
	}

	KVM_MMU_LOCK(kvm);
	if (kvmi_remap_gfn(session, entry, data->new_gfn, false))
		kvm_flush_remote_tlbs(kvm);
	KVM_MMU_UNLOCK(kvm);
	kvmi_arch_wait_for_accesses(kvm);

	if (data->new_gfn == data->gfn) {
		xa_erase(&view->changed[data->as_id], data->gfn);
		session->nr_changed--;
		kfree_rcu(entry, rcu);
	}

	return 0;
}

int kvmi_vm_list_changed_gfns(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_list_changed_gfns *data = req->data;
	struct kvmi_vm_list_changed_gfns_reply *reply = req->reply;
	struct kvmi_changed_gfn *entry;
	struct kvmi_view *view;
	unsigned long index;
	u32 room, n = 0;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;
	view = kvmi_session_view(req->session, data->view, data->as_id);
	if (data->padding || !view)
		return -KVM_EINVAL;

	room = (KVMI_MAX_REPLY_DATA - sizeof(*reply)) / sizeof(reply->pages[0]);
	*reply = (struct kvmi_vm_list_changed_gfns_reply) { };
	xa_for_each_start(&view->changed[data->as_id], index, entry, data->start) {
		if (n == room) {
			reply->next = entry->gfn;
			break;
		}
		reply->pages[n++] = (struct kvmi_changed_page) {
			.gfn = entry->gfn,
			.new_gfn = entry->shown,
		};
	}
	reply->count = n;
	req->reply_size = struct_size(reply, pages, n);

	return 0;
}
