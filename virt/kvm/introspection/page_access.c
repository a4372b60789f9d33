// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: taking access to pages away, and showing others in their
 * place.
 *
 * The receiver changes the view first, then what hardware has of it: from then on
 * a vCPU that is refused an access finds out here, see kvmi_view_access().
 */

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "kvm_mm.h"
#include "command.h"
#include "memslots.h"
#include "view.h"

/* What fits in a message */
#define MAX_ENTRIES							\
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_set_page_access)) /	\
	 sizeof(struct kvmi_page_access_entry))

/*
 * How a view was before a change: pieces of ranges, the oldest first.  If there is
 * no memory for all of a change none of it is done.
 */
struct undo {
	struct maple_tree *mt;
	size_t nr;
	size_t room;
	struct undo_piece {
		struct kvmi_gfn_range range;
		void *entry;
	} *pieces;
};

static int undo_add(struct undo *undo, unsigned long first, unsigned long last,
		    void *entry)
{
	if (undo->nr == undo->room) {
		size_t room = max_t(size_t, 2 * undo->room, 64);
		void *pieces;

		pieces = kvrealloc(undo->pieces, room * sizeof(*undo->pieces),
				   GFP_KERNEL_ACCOUNT);
		if (!pieces)
			return -ENOMEM;
		undo->pieces = pieces;
		undo->room = room;
	}

	undo->pieces[undo->nr++] = (struct undo_piece) {
		.range = { first, last },
		.entry = entry,
	};

	return 0;
}

/* Remember what @range is, without holes. */
static int undo_remember(struct undo *undo, const struct kvmi_gfn_range *range)
{
	MA_STATE(mas, undo->mt, range->first, range->first);
	unsigned long next = range->first;
	void *entry;
	int r = 0;

	/* Nobody but who holds views_lock changes it. */
	mas_lock(&mas);
	mas_for_each(&mas, entry, range->last) {
		unsigned long first = max(mas.index, range->first);
		unsigned long last = min(mas.last, range->last);

		mas_pause(&mas);
		mas_unlock(&mas);
		if (first > next)
			r = undo_add(undo, next, first - 1, NULL);
		if (!r)
			r = undo_add(undo, first, last, entry);
		cond_resched();
		mas_lock(&mas);
		next = last + 1;
		if (r)
			break;
	}
	mas_unlock(&mas);
	if (!r && next <= range->last)
		r = undo_add(undo, next, range->last, NULL);

	return r;
}

/* Make @range one with its neighbours if they are the same. */
static void widen(struct maple_tree *mt, struct kvmi_gfn_range *range, void *entry)
{
	MA_STATE(mas, mt, 0, 0);

	if (!entry)
		return;

	guard(rcu)();
	if (range->first) {
		mas_set(&mas, range->first - 1);
		if (mas_walk(&mas) == entry)
			range->first = mas.index;
	}
	mas_set(&mas, range->last + 1);
	if (mas_walk(&mas) == entry)
		range->last = mas.last;
}

static void undo_all(struct undo *undo)
{
	const struct undo_piece *piece;
	struct kvmi_gfn_range range;

	/* There is no way to go on without. */
	while (undo->nr) {
		piece = &undo->pieces[--undo->nr];
		range = piece->range;
		widen(undo->mt, &range, piece->entry);
		mtree_store_range(undo->mt, range.first, range.last, piece->entry,
				  GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	}
}

static long count_ranges(struct maple_tree *mt, const struct kvmi_gfn_range *range)
{
	unsigned long next = range->first ? range->first - 1 : 0;
	void *entry;
	long n = 0;

	mt_for_each(mt, entry, next, range->last + 1) {
		n++;
		cond_resched();
	}

	return n;
}

static int store(struct kvmi_view *view, struct maple_tree *mt,
		 const struct kvmi_gfn_range *range, void *entry)
{
	struct kvmi_gfn_range wide = *range;
	long before;
	int r;

	widen(mt, &wide, entry);
	before = count_ranges(mt, range);
	r = mtree_store_range(mt, wide.first, wide.last, entry,
			      GFP_KERNEL_ACCOUNT);
	if (!r)
		view->nr_ranges += count_ranges(mt, range) - before;

	return r;
}

static u8 access_of(const void *entry)
{
	return entry ? xa_to_value(entry) : KVMI_PAGE_ACCESS_RWX;
}

/* X is both of XS and XU. */
static u8 split_exec(u8 access)
{
	if (access & KVMI_PAGE_ACCESS_X)
		access |= KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU;

	return access & ~KVMI_PAGE_ACCESS_X;
}

static u8 join_exec(u8 access)
{
	const u8 both = KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU;

	if ((access & both) == both)
		access = (access & ~both) | KVMI_PAGE_ACCESS_X;

	return access;
}

/* Does a change take away anything that the pieces since @from had? */
static bool restricts(const struct undo *undo, size_t from, u8 access)
{
	for (; from < undo->nr; from++) {
		if (split_exec(access_of(undo->pieces[from].entry)) &
		    ~split_exec(access))
			return true;
	}

	return false;
}

static struct kvmi_gfn_range entry_range(const struct kvmi_page_access_entry *e)
{
	gfn_t first = gpa_to_gfn(e->gpa);

	return (struct kvmi_gfn_range) {
		first, first + (e->npages ?: 1) - 1,
	};
}

static bool check_entry(struct kvm_memslots *slots,
			const struct kvmi_page_access_entry *e)
{
	struct kvmi_gfn_range range = entry_range(e);

	return !memchr_inv(e->padding, 0, sizeof(e->padding)) &&
	       kvmi_arch_check_access(e->access) &&
	       kvmi_range_has_memory(slots, &range);
}

static bool check_entries(struct kvm *kvm, const struct kvmi_vm_set_page_access *data)
{
	struct kvm_memslots *slots;
	unsigned int i;

	guard(srcu)(&kvm->srcu);

	slots = __kvm_memslots(kvm, data->as_id);
	for (i = 0; i < data->count; i++) {
		if (!check_entry(slots, &data->entries[i]))
			return false;
	}

	return true;
}

/* Change the view, and say with @restricting what hardware has to forget. */
static int change_view(struct kvm_introspection *session,
		       const struct kvmi_vm_set_page_access *data,
		       unsigned long *restricting)
{
	struct kvmi_view *view = session->views[data->view];
	struct undo undo = { .mt = &view->access[data->as_id] };
	unsigned long nr_ranges = view->nr_ranges;
	unsigned int i;
	int r = 0;

	for (i = 0; i < data->count && !r; i++) {
		struct kvmi_gfn_range range = entry_range(&data->entries[i]);
		u8 access = join_exec(data->entries[i].access);
		void *entry = NULL;
		size_t from = undo.nr;

		if (access != KVMI_PAGE_ACCESS_RWX)
			entry = xa_mk_value(access);
		r = undo_remember(&undo, &range);
		if (r)
			break;
		assign_bit(i, restricting, restricts(&undo, from, access));
		r = store(view, undo.mt, &range, entry);
		if (r)
			undo.nr = from;
		else if (!kvmi_views_have_room(session, 0, 0))
			r = -ENOMEM;
	}
	if (r) {
		undo_all(&undo);
		view->nr_ranges = nr_ranges;
	}
	kvfree(undo.pieces);

	return r;
}

/*
 * A page fault must not map a page with the rights it is to have while it is
 * mapped with those it had: have all in the range of the change retried.
 */
static void change_begins(struct kvm *kvm, const struct kvmi_vm_set_page_access *data)
{
	unsigned int i;

	KVM_MMU_LOCK(kvm);
	kvm_mmu_invalidate_start(kvm);
	for (i = 0; i < data->count; i++) {
		struct kvmi_gfn_range range = entry_range(&data->entries[i]);

		kvm_mmu_invalidate_range_add(kvm, range.first, range.last + 1);
	}
	KVM_MMU_UNLOCK(kvm);
}

static void change_ends(struct kvm *kvm, const struct kvmi_vm_set_page_access *data,
			const unsigned long *restricting)
{
	bool flush = false;
	unsigned int i;

	KVM_MMU_LOCK(kvm);
	for_each_set_bit(i, restricting, data->count) {
		struct kvmi_gfn_range range = entry_range(&data->entries[i]);
		bool can_yield = range.last - range.first >= KVMI_MAX_UNMAP_AT_ONCE;

		flush = kvmi_arch_zap_gfns(kvm, data->view, data->as_id, &range,
					   can_yield, flush);
	}
	if (flush)
		kvm_flush_remote_tlbs(kvm);
	kvm_mmu_invalidate_end(kvm);
	KVM_MMU_UNLOCK(kvm);
}

static bool check_view(struct kvm_introspection *session, u16 view, u16 as_id)
{
	return view < KVMI_NR_VIEWS && session->views[view] &&
	       as_id < kvm_arch_nr_memslot_as_ids(session->kvm);
}

/**
 * kvmi_vm_set_page_access - KVMI_VM_SET_PAGE_ACCESS
 * @req: the request
 */
int kvmi_vm_set_page_access(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_set_page_access *data = req->data;
	struct kvm_introspection *session = req->session;
	DECLARE_BITMAP(restricting, MAX_ENTRIES) = { };
	int r;

	if (struct_size(data, entries, data->count) > req->size)
		return KVMI_CLOSE;
	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	guard(mutex)(&session->views_lock);

	if (data->padding || !check_view(session, data->view, data->as_id) ||
	    !check_entries(session->kvm, data))
		return -KVM_EINVAL;
	if (!data->count)
		return 0;

	change_begins(session->kvm, data);
	r = change_view(session, data, restricting);
	/* Page faults of others may have found what has been undone. */
	if (r)
		bitmap_fill(restricting, data->count);
	change_ends(session->kvm, data, restricting);

	return r ? -KVM_ENOMEM : 0;
}

/**
 * kvmi_vm_get_page_access - KVMI_VM_GET_PAGE_ACCESS
 * @req: the request
 */
int kvmi_vm_get_page_access(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_get_page_access *data = req->data;
	struct kvm_introspection *session = req->session;
	size_t size = struct_size(data, gpa, data->count);
	u8 *access = req->reply;
	unsigned int i;

	if (size > req->size)
		return KVMI_CLOSE;
	if (memchr_inv((const u8 *)data + size, 0, req->size - size))
		return -KVM_E2BIG;
	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	guard(mutex)(&session->views_lock);

	if (data->padding || !check_view(session, data->view, data->as_id))
		return -KVM_EINVAL;
	for (i = 0; i < data->count; i++)
		access[i] = kvmi_view_access(session->views[data->view],
					     data->as_id,
					     gpa_to_gfn(data->gpa[i]));
	req->reply_size = data->count;

	return 0;
}

static bool has_memory(struct kvm *kvm, u16 as_id, gfn_t gfn)
{
	struct kvmi_gfn_range range = { gfn, gfn };

	guard(srcu)(&kvm->srcu);
	return kvmi_range_has_memory(__kvm_memslots(kvm, as_id), &range);
}

/**
 * kvmi_vm_change_gfn - KVMI_VM_CHANGE_GFN
 * @req: the request
 */
int kvmi_vm_change_gfn(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_change_gfn *data = req->data;
	struct kvm_introspection *session = req->session;
	struct kvmi_gfn_range range = { data->gfn, data->gfn };
	struct kvm *kvm = session->kvm;
	struct kvmi_view *view;
	struct maple_tree *mt;
	bool was;

	if (!kvmi_arch_page_access())
		return -KVM_EOPNOTSUPP;

	guard(mutex)(&session->views_lock);

	if (data->padding || !check_view(session, data->view, data->as_id) ||
	    !has_memory(kvm, data->as_id, data->gfn) ||
	    !has_memory(kvm, data->as_id, data->new_gfn))
		return -KVM_EINVAL;

	view = session->views[data->view];
	mt = &view->changed[data->as_id];
	was = mtree_load(mt, data->gfn);
	if (!was) {
		if (data->new_gfn == data->gfn)
			return 0;
		if (!kvmi_views_have_room(session, 0, 1))
			return -KVM_EBUSY;
		/* Each is an entry of its own, as kvmi_views_end() expects. */
		if (mtree_store(mt, data->gfn, xa_mk_value(data->gfn),
				GFP_KERNEL_ACCOUNT))
			return -KVM_ENOMEM;
		view->nr_changed++;
	}

	/*
	 * A page must not be mapped on top of the one that was shown: nobody sees
	 * the change before that one is unmapped.  There is an entry already, thus
	 * it takes no memory.
	 */
	KVM_MMU_LOCK(kvm);
	WARN_ON_ONCE(mtree_store(mt, data->gfn, xa_mk_value(data->new_gfn),
				 GFP_NOWAIT));
	if (kvmi_arch_zap_gfns(kvm, data->view, data->as_id, &range, false, false))
		kvm_flush_remote_tlbs(kvm);
	KVM_MMU_UNLOCK(kvm);

	if (data->new_gfn == data->gfn) {
		mtree_erase(mt, data->gfn);
		view->nr_changed--;
	}

	return 0;
}
