// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: restricting access to pages.
 *
 * The receiver changes a view and zaps SPTEs together, with mmu_lock held for
 * writing: page faults that follow find the view that caused them, see
 * kvmi_view_access().
 */

#include <linux/kvm_host.h>

#include "kvm_mm.h"
#include "access_store.h"
#include "arch.h"
#include "command.h"
#include "limits.h"
#include "memslots.h"
#include "page_access.h"
#include "session.h"
#include "view.h"

/* Most entries that fit in a message */
#define MAX_ENTRIES							\
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_set_page_access)) /	\
	 sizeof(struct kvmi_page_access_entry))

/* What is zapped while mmu_lock is held */
struct zapping {
	struct kvm *kvm;
	/* Number of the view */
	u16 view;
	u16 as_id;
	/* A TLB flush is needed before mmu_lock is dropped */
	bool flush;
	/* There are pages that have lost access */
	bool any_lost;
	/* Pages to zap before that, too */
	struct kvmi_lost_gfns lost;
};

/* What a message changes */
struct message {
	const struct kvmi_vm_set_page_access *data;
	/* All pages get the same access */
	bool same_access;
	/*
	 * Entries, except those for a single page of the same leaf as the entry
	 * before: in a long message that is what most of them are.
	 */
	DECLARE_BITMAP(leaves, MAX_ENTRIES);
};

static bool check_entries(struct kvm *kvm, struct message *msg)
{
	const struct kvmi_page_access_entry *e = msg->data->entries;
	struct kvmi_gfn_range memory = { 1, 0 };
	struct kvm_memslots *slots;
	gfn_t leaf = INVALID_GPA;
	unsigned int i;
	u8 access = 0;

	guard(srcu)(&kvm->srcu);

	slots = __kvm_memslots(kvm, msg->data->as_id);
	msg->same_access = true;
	for (i = 0; i < msg->data->count; i++, e++) {
		struct kvmi_gfn_range range = kvmi_entry_range(e);

		if (e->padding[0] | e->padding[1] | e->padding[2])
			return false;
		if (!i || e->access != access) {
			if (!kvmi_arch_check_access(e->access))
				return false;
			msg->same_access &= !i;
			access = e->access;
		}

		/* Most pages are in the same memslot as the one before. */
		if (range.first < memory.first || range.last > memory.last) {
			if (!kvmi_find_memory(slots, &range, &memory))
				return false;
			cond_resched();
		}

		if (e->npages > 1) {
			__set_bit(i, msg->leaves);
			leaf = INVALID_GPA;
		} else if (range.first >> KVMI_LEAF_SHIFT != leaf) {
			__set_bit(i, msg->leaves);
			leaf = range.first >> KVMI_LEAF_SHIFT;
		}
	}

	return true;
}

static void zap_lost(struct zapping *z)
{
	if (!z->lost.any)
		return;

	z->flush = kvmi_arch_zap_lost(z->kvm, z->view, z->as_id, &z->lost, z->flush);
	bitmap_zero(z->lost.gfns, KVMI_LEAF_PAGES);
	z->lost.any = false;
	z->any_lost = true;
}

static void zap_and_flush(struct zapping *z)
{
	zap_lost(z);
	if (z->flush)
		kvm_flush_remote_tlbs(z->kvm);
	z->flush = false;
}

/* Drop and retake mmu_lock if there are waiters. */
static void make_way(struct zapping *z)
{
	if (!kvmi_mmu_lock_is_wanted(z->kvm))
		return;

	zap_lost(z);
	kvmi_mmu_lock_yield(z->kvm, &z->flush);
}

/*
 * A page fault must not map a page with its new access while it is still mapped
 * with the old.  Holding mmu_lock prevents that, but zapping this many pages
 * has to yield: let page faults retry meanwhile.
 */
static void commit_word(struct zapping *z, struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range, u8 access)
{
	if (!kvmi_access_commit_word(change, range->first, access))
		return;

	z->any_lost = true;
	zap_lost(z);
	kvm_mmu_invalidate_start(z->kvm);
	kvm_mmu_invalidate_range_add(z->kvm, range->first, range->last + 1);
	z->flush = kvmi_arch_zap_gfns(z->kvm, z->view, z->as_id, range, true, z->flush);
	kvm_mmu_invalidate_end(z->kvm);
}

static void commit_leaf(struct zapping *z, struct kvmi_access_change *change,
			const struct kvmi_gfn_range *range, u8 access)
{
	gfn_t base = range->first & ~(KVMI_LEAF_PAGES - 1);

	if (base != z->lost.base) {
		zap_lost(z);
		make_way(z);
		z->lost.base = base;
	}
	kvmi_access_commit(change, range, access, &z->lost);
}

static struct kvmi_gfn_range part_of(gfn_t first, gfn_t last, gfn_t pages)
{
	return (struct kvmi_gfn_range) { first, min(last, first | (pages - 1)) };
}

/*
 * A message can be about many times as many pages as there are, and an entry about
 * all of them.  Restrictions end with the session: whoever waits for that need not
 * wait for these.
 */
static bool gives_up(struct kvm_introspection *session)
{
	return READ_ONCE(session->ending) || fatal_signal_pending(current);
}

/* Return false if the session ends first. */
static bool commit_entry(struct kvm_introspection *session, struct zapping *z,
			 struct kvmi_access_change *change,
			 const struct kvmi_page_access_entry *e)
{
	struct kvmi_gfn_range range = kvmi_entry_range(e), part;
	gfn_t next = range.first;

	while (!gives_up(session)) {
		part = part_of(next, range.last, KVMI_DIR_PAGES);
		if (kvmi_access_is_word(change, &part)) {
			make_way(z);
			commit_word(z, change, &part, e->access);
		} else {
			part = part_of(next, range.last, KVMI_LEAF_PAGES);
			commit_leaf(z, change, &part, e->access);
		}
		if (part.last == range.last)
			return true;
		next = part.last + 1;
	}

	return false;
}

/* Return false if the session ends first. */
static bool kvmi_commit_page_access(struct kvm_introspection *session,
				    const struct message *msg,
				    struct kvmi_access_change *change)
{
	const struct kvmi_page_access_entry *entries = msg->data->entries;
	struct kvm *kvm = session->kvm;
	bool done = true;
	struct zapping z = {
		.kvm = kvm,
		.view = msg->data->view,
		.as_id = msg->data->as_id,
	};
	unsigned int i, next;

	KVM_MMU_LOCK(kvm);
	for_each_set_bit(i, msg->leaves, msg->data->count) {
		done = commit_entry(session, &z, change, &entries[i]);
		if (!done)
			break;
		next = find_next_bit(msg->leaves, msg->data->count, i + 1);
		kvmi_access_commit_pages(change, &entries[i + 1], next - i - 1,
					 &z.lost);
	}
	zap_and_flush(&z);
	KVM_MMU_UNLOCK(kvm);
	if (z.any_lost)
		kvmi_arch_wait_for_accesses(kvm);

	return done;
}

/* Return 0, -ENOMEM, or -EINTR if the session ends first. */
static int change_access(struct kvm_introspection *session,
			 struct kvmi_access_store *store, const struct message *msg)
{
	const struct kvmi_page_access_entry *entries = msg->data->entries;
	unsigned long room = KVMI_MAX_ACCESS_NODES - kvmi_views_nr_nodes(session);
	struct kvmi_access_change change;
	struct kvmi_gfn_range range;
	unsigned int i;
	int r = 0;

	kvmi_access_begin(&change, store, store->nr_nodes + room, msg->same_access);
	for_each_set_bit(i, msg->leaves, msg->data->count) {
		range = kvmi_entry_range(&entries[i]);
		r = gives_up(session) ? -EINTR :
		    kvmi_access_prepare(&change, &range, entries[i].access);
		if (r)
			break;
	}
	if (!r && !kvmi_commit_page_access(session, msg, &change))
		r = -EINTR;
	/* What is not settled is freed with the view. */
	for_each_set_bit(i, msg->leaves, msg->data->count) {
		if (gives_up(session))
			break;
		range = kvmi_entry_range(&entries[i]);
		kvmi_access_settle(&change, &range);
	}

	return r;
}

int kvmi_vm_set_page_access(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_set_page_access *data = req->data;
	struct kvm_introspection *session = req->session;
	struct message msg = { .data = data };
	struct kvmi_view *view;

	if (data->count && struct_size(data, entries, data->count) > req->size)
		return KVMI_CLOSE;
	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	view = kvmi_session_view(session, data->view, data->as_id);
	if (data->padding || !view || !check_entries(session->kvm, &msg))
		return -KVM_EINVAL;
	if (!data->count)
		return 0;

	switch (change_access(session, &view->access[data->as_id], &msg)) {
	case 0:
		return 0;
	case -EINTR:
		return -KVM_EAGAIN;
	default:
		return -KVM_ENOMEM;
	}
}

int kvmi_vm_get_page_access(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_get_page_access *data = req->data;
	struct kvm_introspection *session = req->session;
	size_t size = struct_size(data, gpa, data->count);
	struct kvmi_view *view;
	u8 *access = req->reply;
	unsigned int i;
	int err;

	err = kvmi_check_list(req, size, data->count);
	if (err)
		return err;
	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	view = kvmi_session_view(session, data->view, data->as_id);
	if (data->padding || !view)
		return -KVM_EINVAL;
	for (i = 0; i < data->count; i++)
		access[i] = kvmi_view_access(view, data->as_id,
					     gpa_to_gfn(data->gpa[i]));
	req->reply_size = data->count;

	return 0;
}

int kvmi_vm_list_page_access(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_list_page_access *data = req->data;
	struct kvmi_vm_list_page_access_reply *reply = req->reply;
	gfn_t gfn = gpa_to_gfn(data->start);
	struct kvmi_gfn_range range;
	struct kvmi_view *view;
	u32 room, n = 0;
	u8 access;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;
	view = kvmi_session_view(req->session, data->view, data->as_id);
	if (data->padding || !view)
		return -KVM_EINVAL;

	room = (KVMI_MAX_REPLY_DATA - sizeof(*reply)) / sizeof(reply->entries[0]);
	*reply = (struct kvmi_vm_list_page_access_reply) { };
	while (kvmi_access_next(&view->access[data->as_id], gfn, &range, &access)) {
		if (n == room) {
			reply->next = gfn_to_gpa(range.first);
			break;
		}
		/*
		 * The rest of a range that is too long for one entry follows in
		 * the next.
		 */
		range.last = min(range.last, range.first + U32_MAX - 1);
		reply->entries[n++] = (struct kvmi_page_access_entry) {
			.gpa = gfn_to_gpa(range.first),
			.access = access,
			.npages = range.last - range.first + 1,
		};
		gfn = range.last + 1;
	}
	reply->count = n;
	req->reply_size = struct_size(reply, entries, n);

	return 0;
}
