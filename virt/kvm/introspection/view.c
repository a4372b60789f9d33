// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: views of guest memory.
 *
 * A view says what is left of the access to which pages, and which page is seen
 * where.  Each vCPU runs in one of them.
 */

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "kvm_mm.h"
#include "command.h"
#include "view.h"

/*
 * Nobody looks for gaps in it.  But freeing a subtree of a tree that does not keep
 * track of them takes the metadata of a full node for a child, see mt_free_walk().
 */
static void init_tree(struct maple_tree *mt)
{
	mt_init_flags(mt, MT_FLAGS_USE_RCU | MT_FLAGS_ALLOC_RANGE);
}

/* mtree_dup() allocates with a spinlock held. */
static int copy_tree(struct maple_tree *to, struct maple_tree *from)
{
	MA_STATE(mas, from, 0, 0);
	void *entry;
	int r = 0;

	rcu_read_lock();
	mas_for_each(&mas, entry, ULONG_MAX) {
		mas_pause(&mas);
		rcu_read_unlock();
		r = mtree_store_range(to, mas.index, mas.last, entry,
				      GFP_KERNEL_ACCOUNT);
		if (r)
			return r;
		cond_resched();
		rcu_read_lock();
	}
	rcu_read_unlock();

	return r;
}

/**
 * kvmi_view_create - make a view
 * @copy_of: the view to copy, with views_lock held; NULL for an empty one
 *
 * Return: NULL if there is no memory.
 */
struct kvmi_view *kvmi_view_create(struct kvmi_view *copy_of)
{
	struct kvmi_view *view;
	int i, r = 0;

	view = kzalloc_obj(*view, GFP_KERNEL_ACCOUNT);
	if (!view)
		return NULL;
	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		init_tree(&view->access[i]);
		init_tree(&view->changed[i]);
	}

	for (i = 0; copy_of && !r && i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		r = copy_tree(&view->access[i], &copy_of->access[i]);
		if (!r)
			r = copy_tree(&view->changed[i], &copy_of->changed[i]);
	}
	if (r) {
		kvmi_view_free(view);
		return NULL;
	}
	if (copy_of) {
		view->nr_ranges = copy_of->nr_ranges;
		view->nr_changed = copy_of->nr_changed;
	}

	return view;
}

/* Nobody reads it any more: its nodes need not wait for RCU. */
static void free_tree(struct maple_tree *mt)
{
	mt_clear_in_rcu(mt);
	mtree_destroy(mt);
}

/**
 * kvmi_view_free - free a view that nobody can find any more
 * @view: the view, or NULL
 */
void kvmi_view_free(struct kvmi_view *view)
{
	int i;

	if (!view)
		return;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		free_tree(&view->access[i]);
		free_tree(&view->changed[i]);
	}
	kfree(view);
}

/**
 * kvmi_view_find - look up a view
 * @kvm: the VM
 * @id: number of the view
 *
 * Context: kvm->mmu_lock is held, or within kvm->srcu; good until then.
 * Return: NULL if there is no such view, i.e. nothing is restricted.
 */
struct kvmi_view *kvmi_view_find(struct kvm *kvm, unsigned int id)
{
	struct kvm_introspection *session = READ_ONCE(kvm->introspection);

	if (!session || id >= KVMI_NR_VIEWS)
		return NULL;

	/* Pairs with smp_store_release() in kvmi_vm_create_view(). */
	return smp_load_acquire(&session->views[id]);
}

/**
 * kvmi_view_access - what is left of the access to a page
 * @view: the view
 * @as_id: address space
 * @gfn: guest frame number
 *
 * Return: KVMI_PAGE_ACCESS_*
 */
u8 kvmi_view_access(struct kvmi_view *view, int as_id, gfn_t gfn)
{
	void *entry = mtree_load(&view->access[as_id], gfn);

	return entry ? xa_to_value(entry) : KVMI_PAGE_ACCESS_RWX;
}

/**
 * kvmi_view_shown_gfn - which page is seen at an address?
 * @view: the view
 * @as_id: address space
 * @gfn: guest frame number of the address
 *
 * Return: guest frame number of the page.
 */
gfn_t kvmi_view_shown_gfn(struct kvmi_view *view, int as_id, gfn_t gfn)
{
	void *entry = mtree_load(&view->changed[as_id], gfn);

	return entry ? xa_to_value(entry) : gfn;
}

static bool is_uniform(struct maple_tree *mt, const struct kvmi_gfn_range *range)
{
	MA_STATE(mas, mt, range->first, range->first);

	if (mtree_empty(mt))
		return true;

	guard(rcu)();
	mas_walk(&mas);
	return mas.last >= range->last;
}

/**
 * kvmi_view_is_uniform - can a range of pages be mapped as one?
 * @view: the view
 * @as_id: address space
 * @range: guest frame numbers
 */
bool kvmi_view_is_uniform(struct kvmi_view *view, int as_id,
			  const struct kvmi_gfn_range *range)
{
	unsigned long next = range->first;
	void *entry;

	if (!is_uniform(&view->access[as_id], range))
		return false;

	/* kvmi_vm_change_gfn() has entries that change nothing for a moment. */
	mt_for_each(&view->changed[as_id], entry, next, range->last) {
		if (xa_to_value(entry) != next - 1)
			return false;
	}

	return true;
}

/**
 * kvmi_views_have_room - may there be so much more in the views of a session?
 * @session: the session, with views_lock held
 * @nr_ranges: ranges of pages with restricted access
 * @nr_changed: pages that are shown in place of others
 */
bool kvmi_views_have_room(struct kvm_introspection *session,
			  unsigned long nr_ranges, unsigned long nr_changed)
{
	unsigned int i;

	for (i = 0; i < KVMI_NR_VIEWS; i++) {
		if (!session->views[i])
			continue;
		nr_ranges += session->views[i]->nr_ranges;
		nr_changed += session->views[i]->nr_changed;
	}

	return nr_ranges <= KVMI_MAX_PAGE_RANGES &&
	       nr_changed <= KVMI_MAX_CHANGED_GFNS;
}

/**
 * kvmi_vm_create_view - KVMI_VM_CREATE_VIEW
 * @req: the request
 */
int kvmi_vm_create_view(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_create_view *data = req->data;
	struct kvmi_vm_create_view_reply *reply = req->reply;
	struct kvm_introspection *session = req->session;
	struct kvmi_view *view, *source;
	unsigned int id;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;
	if (memchr_inv(data->padding, 0, sizeof(data->padding)) ||
	    data->copy_of >= KVMI_NR_VIEWS)
		return -KVM_EINVAL;

	guard(mutex)(&session->views_lock);

	source = session->views[data->copy_of];
	if (!source)
		return -KVM_EINVAL;
	for (id = 0; session->views[id]; id++) {
		if (id == KVMI_NR_VIEWS - 1)
			return -KVM_EBUSY;
	}

	if (!kvmi_views_have_room(session, source->nr_ranges, source->nr_changed))
		return -KVM_ENOMEM;
	view = kvmi_view_create(source);
	if (!view)
		return -KVM_ENOMEM;
	/* Pairs with smp_load_acquire() in kvmi_view_find(). */
	smp_store_release(&session->views[id], view);

	*reply = (struct kvmi_vm_create_view_reply) { .view = id };
	req->reply_size = sizeof(*reply);

	return 0;
}

static bool in_use(struct kvm *kvm, unsigned int id)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (kvmi_arch_vcpu_view(&kvmi_to_vcpu(vcpu)->arch) == id)
			return true;
	}

	return false;
}

/**
 * kvmi_vm_destroy_view - KVMI_VM_DESTROY_VIEW
 * @req: the request
 */
int kvmi_vm_destroy_view(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_destroy_view *data = req->data;
	struct kvm_introspection *session = req->session;
	struct kvm *kvm = session->kvm;
	struct kvmi_view *view;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;
	if (memchr_inv(data->padding, 0, sizeof(data->padding)) ||
	    !data->view || data->view >= KVMI_NR_VIEWS)
		return -KVM_EINVAL;

	/*
	 * No vCPU enters a view without views_lock.  But some may wait for it within
	 * kvm->srcu, so it is not held while waiting for them, nor for slots_lock,
	 * whose holders wait for them.
	 */
	guard(mutex)(&kvm->slots_lock);
	scoped_guard(mutex, &session->views_lock) {
		view = session->views[data->view];
		if (!view)
			return -KVM_EINVAL;
		if (in_use(kvm, data->view))
			return -KVM_EBUSY;

		KVM_MMU_LOCK(kvm);
		WRITE_ONCE(session->views[data->view], NULL);
		kvmi_arch_end_view(kvm, data->view);
		KVM_MMU_UNLOCK(kvm);
	}

	kvmi_arch_free_views(kvm);
	synchronize_srcu(&kvm->srcu);
	kvmi_view_free(view);

	return 0;
}

/**
 * kvmi_vcpu_set_view - KVMI_VCPU_SET_VIEW
 * @req: the request
 */
int kvmi_vcpu_set_view(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_set_view *data = req->data;
	struct kvm_introspection *session = req->session;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;
	if (memchr_inv(data->padding, 0, sizeof(data->padding)) ||
	    data->view >= KVMI_NR_VIEWS)
		return -KVM_EINVAL;

	guard(mutex)(&session->views_lock);

	if (!session->views[data->view])
		return -KVM_EINVAL;
	kvmi_arch_vcpu_set_view(req->vcpu, data->view);

	return 0;
}

/**
 * kvmi_vcpu_get_view - KVMI_VCPU_GET_VIEW
 * @req: the request
 */
int kvmi_vcpu_get_view(struct kvmi_vcpu_request *req)
{
	struct kvmi_vcpu_get_view_reply *reply = req->reply;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	*reply = (struct kvmi_vcpu_get_view_reply) {
		.view = kvmi_arch_vcpu_view(&req->vi->arch),
	};
	req->reply_size = sizeof(*reply);

	return 0;
}

/**
 * kvmi_views_end - the end of all views, and of the session for those who map
 *	guest memory
 * @session: the session, which the vCPUs' threads do not use any more
 *
 * What was restricted is mapped again when the guest uses it.
 *
 * Context: kvm->lock is held.
 */
void kvmi_views_end(struct kvm_introspection *session)
{
	struct kvmi_view *view = session->views[0];
	struct kvm *kvm = session->kvm;
	bool flush = false;
	int i;

	/*
	 * All at once: what is unmapped must not be mapped again as it was, and who
	 * is still in another view must not have anything mapped there as it is not.
	 */
	mutex_lock(&kvm->slots_lock);
	KVM_MMU_LOCK(kvm);
	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		unsigned long gfn = 0;
		void *entry;

		mt_for_each(&view->changed[i], entry, gfn, ULONG_MAX) {
			struct kvmi_gfn_range range = { gfn - 1, gfn - 1 };

			flush = kvmi_arch_zap_gfns(kvm, 0, i, &range, false, flush);
		}
	}
	kvmi_arch_end_views(kvm);
	WRITE_ONCE(kvm->introspection, NULL);
	if (flush)
		kvm_flush_remote_tlbs(kvm);
	KVM_MMU_UNLOCK(kvm);

	/*
	 * Until here somebody may still be looking at them, or begin page tables of
	 * one that the vCPU was to be in.
	 */
	synchronize_srcu(&kvm->srcu);
	KVM_MMU_LOCK(kvm);
	kvmi_arch_end_views(kvm);
	KVM_MMU_UNLOCK(kvm);
	kvmi_arch_free_views(kvm);
	mutex_unlock(&kvm->slots_lock);

	for (i = 0; i < KVMI_NR_VIEWS; i++)
		kvmi_view_free(session->views[i]);
}
