// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: views of guest memory.
 *
 * A view determines the access that is left to pages, and which gfns are
 * remapped.  Each vCPU runs in one view.
 */

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "kvm_mm.h"
#include "access_store.h"
#include "arch.h"
#include "changed_gfns.h"
#include "command.h"
#include "event.h"
#include "limits.h"
#include "session.h"
#include "vcpu.h"
#include "view.h"

/* Number of users of a view that is about to end */
#define NO_MORE_USERS (-1)

/* Create a view that restricts nothing.  Return NULL if out of memory. */
struct kvmi_view *kvmi_view_create(void)
{
	struct kvmi_view *view = kzalloc_obj(*view, GFP_KERNEL_ACCOUNT);
	int i;

	for (i = 0; view && i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		kvmi_access_init(&view->access[i]);
		xa_init_flags(&view->changed[i], XA_FLAGS_ACCOUNT);
	}

	return view;
}

/* Free a view that can't be found any more, or NULL. */
void kvmi_view_free(struct kvm_introspection *session, struct kvmi_view *view)
{
	int i;

	if (!view)
		return;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++)
		kvmi_access_free(&view->access[i]);
	kvmi_changed_free(session, view);
	kfree(view);
}

/*
 * Look up a view by its number.  Return NULL if there is none, i.e. nothing is
 * restricted.  Valid while mmu_lock is held, or within kvm->srcu.
 */
struct kvmi_view *kvmi_view_find(struct kvm *kvm, unsigned int id)
{
	struct kvm_introspection *session = READ_ONCE(kvm->introspection);

	if (!session || id >= KVMI_NR_VIEWS)
		return NULL;

	return srcu_dereference_check(session->views[id], &kvm->srcu,
				      lockdep_is_held(&kvm->mmu_lock));
}

/*
 * Look up a view for the receiver, which alone creates and ends views.  Return
 * NULL if there is no such view or address space.
 */
struct kvmi_view *kvmi_session_view(struct kvm_introspection *session,
				    unsigned int id, unsigned int as_id)
{
	if (id >= KVMI_NR_VIEWS || as_id >= kvm_arch_nr_memslot_as_ids(session->kvm))
		return NULL;

	return rcu_dereference_protected(session->views[id], true);
}

/* Return the KVMI_PAGE_ACCESS_* left to a page. */
u8 kvmi_view_access(struct kvmi_view *view, int as_id, gfn_t gfn)
{
	return kvmi_access_get(&view->access[as_id], gfn);
}

/* Return the gfn of the page that is mapped at @gfn. */
gfn_t kvmi_view_shown_gfn(struct kvmi_view *view, int as_id, gfn_t gfn)
{
	return kvmi_changed_shown(&view->changed[as_id], gfn);
}

/*
 * Return true if a range, a page table or a directory, can be mapped as one
 * page.
 */
bool kvmi_view_is_uniform(struct kvmi_view *view, int as_id,
			  const struct kvmi_gfn_range *range)
{
	return kvmi_access_is_uniform(&view->access[as_id], range) &&
	       !kvmi_changed_any(&view->changed[as_id], range);
}

/* Return true if mmu_lock, held for writing, should be dropped for a moment. */
bool kvmi_mmu_lock_is_wanted(struct kvm *kvm)
{
	if (need_resched())
		return true;
#ifdef KVM_HAVE_MMU_RWLOCK
	return rwlock_needbreak(&kvm->mmu_lock);
#else
	return spin_needbreak(&kvm->mmu_lock);
#endif
}

/*
 * Drop and retake mmu_lock if there are waiters, after a TLB flush if needed.
 */
void kvmi_mmu_lock_yield(struct kvm *kvm, bool *flush)
{
	if (!kvmi_mmu_lock_is_wanted(kvm))
		return;

	if (*flush)
		kvm_flush_remote_tlbs(kvm);
	*flush = false;
	KVM_MMU_UNLOCK(kvm);
	cond_resched();
	KVM_MMU_LOCK(kvm);
}

static unsigned long nr_nodes_of(const struct kvmi_view *view)
{
	unsigned long nr = 0;
	int i;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++)
		nr += view->access[i].nr_nodes;

	return nr;
}

/* Memory that the views of a session use, as in struct kvmi_access_store */
unsigned long kvmi_views_nr_nodes(struct kvm_introspection *session)
{
	unsigned long nr = 0;
	unsigned int id;

	for (id = 0; id < KVMI_NR_VIEWS; id++) {
		struct kvmi_view *view = kvmi_session_view(session, id, 0);

		if (view)
			nr += nr_nodes_of(view);
	}

	return nr;
}

static unsigned int nr_changed_of(struct kvmi_view *view)
{
	struct kvmi_changed_gfn *entry;
	unsigned long index;
	unsigned int nr = 0;
	int i;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
		xa_for_each(&view->changed[i], index, entry)
			nr++;
	}

	return nr;
}

static struct kvmi_view *copy_view(struct kvm_introspection *session,
				   struct kvmi_view *from, unsigned int id)
{
	struct kvmi_view *view = kvmi_view_create();
	int i, r = 0;

	if (!view)
		return NULL;

	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES && !r; i++)
		r = kvmi_access_copy(&view->access[i], &from->access[i]);
	if (!r)
		r = kvmi_changed_copy(session, view, id, from);
	if (r) {
		kvmi_view_free(session, view);
		return NULL;
	}

	return view;
}

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

	source = kvmi_session_view(session, data->copy_of, 0);
	if (!source)
		return -KVM_EINVAL;
	for (id = 0; kvmi_session_view(session, id, 0); id++) {
		if (id == KVMI_NR_VIEWS - 1)
			return -KVM_EBUSY;
	}

	if (kvmi_views_nr_nodes(session) + nr_nodes_of(source) >
	    KVMI_MAX_ACCESS_NODES ||
	    session->nr_changed + nr_changed_of(source) > KVMI_MAX_CHANGED_GFNS)
		return -KVM_ENOMEM;
	view = copy_view(session, source, id);
	if (!view)
		return -KVM_ENOMEM;
	rcu_assign_pointer(session->views[id], view);

	*reply = (struct kvmi_vm_create_view_reply) { .view = id };
	req->reply_size = sizeof(*reply);

	return 0;
}

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

	view = kvmi_session_view(session, data->view, 0);
	if (!view)
		return -KVM_EINVAL;
	/* No vCPU can enter the view any more. */
	if (atomic_cmpxchg(&view->users, 0, NO_MORE_USERS))
		return -KVM_EBUSY;

	scoped_guard(mutex, &kvm->slots_lock) {
		kvmi_changed_end(session, view);
		KVM_MMU_LOCK(kvm);
		rcu_assign_pointer(session->views[data->view], NULL);
		kvmi_arch_end_view(kvm, data->view);
		KVM_MMU_UNLOCK(kvm);
		kvmi_arch_free_views(kvm);
	}
	synchronize_srcu(&kvm->srcu);
	kvmi_view_free(session, view);

	return 0;
}

/*
 * Become a user of a view, which keeps it from being destroyed.  Return false if
 * there is no such view.  Within kvm->srcu, or with reader.lock held.
 */
bool kvmi_view_get(struct kvm_introspection *session, unsigned int id)
{
	struct kvmi_view *view;

	if (!kvmi_arch_page_access() || id >= KVMI_NR_VIEWS)
		return false;
	/* View 0 always exists. */
	if (!id)
		return true;
	/* Commands destroy views. */
	view = rcu_dereference_check(session->views[id],
				     srcu_read_lock_held(&session->kvm->srcu) ||
				     lockdep_is_held(&session->reader.lock));

	return view && atomic_inc_unless_negative(&view->users);
}

/* Within kvm->srcu. */
void kvmi_view_put(struct kvm_introspection *session, unsigned int id)
{
	struct kvmi_view *view;

	if (!id)
		return;
	view = srcu_dereference(session->views[id], &session->kvm->srcu);
	atomic_dec(&view->users);
}

/*
 * Make a vCPU go on in a view that the caller is a user of, now in the vCPU's
 * name; vCPU's thread only.
 */
void kvmi_view_enter(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		     unsigned int id)
{
	unsigned int old = kvmi_arch_vcpu_view(&kvmi_to_vcpu(vcpu)->arch);

	/* The vCPU does not come back from the view that it steps in. */
	kvmi_view_put(session, kvmi_arch_vcpu_set_view(vcpu, id));
	kvmi_view_put(session, old);
}

/* The same, for one instruction, or @delivery: also for that of an event. */
void kvmi_view_step(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		    unsigned int id, bool delivery)
{
	kvmi_view_put(session, kvmi_arch_vcpu_step_in_view(vcpu, id, delivery));
}

int kvmi_vcpu_set_view(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_set_view *data = req->data;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;
	if (memchr_inv(data->padding, 0, sizeof(data->padding)) ||
	    !kvmi_view_get(req->session, data->view))
		return -KVM_EINVAL;

	kvmi_event_forget_views(req->vcpu, req->session, req->policy_nr);
	kvmi_view_enter(req->vcpu, req->session, data->view);

	return 0;
}

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

int kvmi_vm_list_views(struct kvmi_vm_request *req)
{
	struct kvmi_vm_list_views_reply *reply = req->reply;
	struct kvm_introspection *session = req->session;
	u32 nr_vcpus[KVMI_NR_VIEWS] = { }, n = 0;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	static_assert(struct_size_t(struct kvmi_vm_list_views_reply, views,
				    KVMI_NR_VIEWS) <= KVMI_MAX_REPLY_DATA);

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	/* Count each vCPU once: it may be switching views. */
	kvm_for_each_vcpu(i, vcpu, session->kvm)
		nr_vcpus[kvmi_arch_vcpu_view(&kvmi_to_vcpu(vcpu)->arch)]++;

	for (i = 0; i < KVMI_NR_VIEWS; i++) {
		if (!kvmi_session_view(session, i, 0))
			continue;
		reply->views[n++] = (struct kvmi_view_info) {
			.view = i,
			.nr_vcpus = nr_vcpus[i],
		};
	}
	reply->count = n;
	reply->padding = 0;
	req->reply_size = struct_size(reply, views, n);

	return 0;
}

/*
 * Undo all remapping, gfn by gfn.  Only vCPUs in view 0 see that: other views
 * are not entered any more, and their page tables are invalidated first.
 */
static void end_changed(struct kvm_introspection *session)
{
	struct kvm *kvm = session->kvm;
	unsigned int id;

	if (!session->nr_changed)
		return;

	KVM_MMU_LOCK(kvm);
	kvmi_arch_end_views(kvm);
	KVM_MMU_UNLOCK(kvm);

	for (id = 0; id < KVMI_NR_VIEWS; id++) {
		struct kvmi_view *view = kvmi_session_view(session, id, 0);

		if (view)
			kvmi_changed_end(session, view);
	}
}

/*
 * End all views, and the session as far as page faults see it, when vCPU
 * threads do not use the session any more.  Pages that were restricted are
 * mapped again on demand. kvm->lock is held.
 */
void kvmi_views_end(struct kvm_introspection *session)
{
	struct kvm *kvm = session->kvm;
	unsigned int id;

	mutex_lock(&kvm->slots_lock);
	end_changed(session);

	/*
	 * Atomically: a vCPU still in another view must not have a page mapped
	 * there by the new rules.
	 */
	KVM_MMU_LOCK(kvm);
	kvmi_arch_end_views(kvm);
	WRITE_ONCE(kvm->introspection, NULL);
	KVM_MMU_UNLOCK(kvm);

	/*
	 * Up to the end of the grace period page faults may still use the
	 * views, or allocate page tables of a view that the vCPU was about to
	 * enter.
	 */
	synchronize_srcu(&kvm->srcu);
	KVM_MMU_LOCK(kvm);
	kvmi_arch_end_views(kvm);
	KVM_MMU_UNLOCK(kvm);
	kvmi_arch_free_views(kvm);
	mutex_unlock(&kvm->slots_lock);

	for (id = 0; id < KVMI_NR_VIEWS; id++)
		kvmi_view_free(session, kvmi_session_view(session, id, 0));
}
