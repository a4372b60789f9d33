// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the layout of guest memory.
 *
 * Only memslots that userspace has created are guest memory; KVM's internal
 * ones are not reported.
 */

#include <linux/kvm_host.h>

#include "command.h"
#include "memslots.h"
#include "session.h"

/*
 * The generation of an address space's memslots, as reported to tools.  While
 * new memslots are being installed they are in use with the generation of the
 * old ones and a flag on top: distinguish the two.
 */
u32 kvmi_memslots_cookie(struct kvm_introspection *session,
			 struct kvm_memslots *slots)
{
	u64 gen = READ_ONCE(slots->generation);
	bool updating = gen & KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS;

	return session->cookie_base + ((u32)gen << 1 | updating);
}

/* Userspace has created the memslot and is not deleting it */
static bool is_guest_memory(const struct kvm_memory_slot *slot)
{
	return slot->id < KVM_USER_MEM_SLOTS &&
	       !(slot->flags & KVM_MEMSLOT_INVALID);
}

/*
 * Return the memslot of guest memory that a page is in, or NULL.  @slots: protected
 * by kvm->srcu
 */
struct kvm_memory_slot *kvmi_memslot(struct kvm_memslots *slots, gfn_t gfn)
{
	struct kvm_memory_slot *slot = __gfn_to_memslot(slots, gfn);

	return slot && is_guest_memory(slot) ? slot : NULL;
}

/*
 * Return true if all of a range is guest memory, and the range of its last
 * memslot in @slot_range.  @slots: protected by kvm->srcu
 */
bool kvmi_find_memory(struct kvm_memslots *slots, const struct kvmi_gfn_range *range,
		      struct kvmi_gfn_range *slot_range)
{
	const struct kvm_memory_slot *slot;
	gfn_t gfn;

	for (gfn = range->first; gfn <= range->last; gfn = slot_range->last + 1) {
		slot = kvmi_memslot(slots, gfn);
		if (!slot)
			return false;
		slot_range->first = slot->base_gfn;
		slot_range->last = slot->base_gfn + slot->npages - 1;
	}

	return true;
}

/* First gfn behind the last memslot of guest memory */
static gfn_t end_of_memory(struct kvm_memslots *slots)
{
	const struct kvm_memory_slot *slot;
	struct rb_node *node;

	for (node = rb_last(&slots->gfn_tree); node; node = rb_prev(node)) {
		slot = rb_entry(node, struct kvm_memory_slot,
				gfn_node[slots->node_idx]);
		if (is_guest_memory(slot))
			return slot->base_gfn + slot->npages;
	}

	return 0;
}

int kvmi_vm_get_max_gfn(struct kvmi_vm_request *req)
{
	struct kvmi_vm_get_max_gfn_reply *reply = req->reply;
	struct kvm *kvm = req->session->kvm;
	int as_id;

	guard(srcu)(&kvm->srcu);

	reply->gfn = 0;
	for (as_id = 0; as_id < kvm_arch_nr_memslot_as_ids(kvm); as_id++)
		reply->gfn = max(reply->gfn,
				 end_of_memory(__kvm_memslots(kvm, as_id)));
	req->reply_size = sizeof(*reply);

	return 0;
}

int kvmi_vm_get_memslots(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_get_memslots *data = req->data;
	struct kvmi_vm_get_memslots_reply *reply = req->reply;
	struct kvm *kvm = req->session->kvm;
	struct kvm_memslots *slots;
	struct rb_node *node;
	u32 room, n = 0;

	if (data->padding || data->as_id >= kvm_arch_nr_memslot_as_ids(kvm))
		return -KVM_EINVAL;
	room = (KVMI_MAX_REPLY_DATA - sizeof(*reply)) / sizeof(reply->slots[0]);

	guard(srcu)(&kvm->srcu);

	slots = __kvm_memslots(kvm, data->as_id);
	reply->nr_slots = 0;
	reply->cookie = kvmi_memslots_cookie(req->session, slots);
	for (node = rb_first(&slots->gfn_tree); node; node = rb_next(node)) {
		const struct kvm_memory_slot *slot;

		slot = rb_entry(node, struct kvm_memory_slot,
				gfn_node[slots->node_idx]);
		if (!is_guest_memory(slot))
			continue;
		if (reply->nr_slots++ < data->start || n == room)
			continue;

		reply->slots[n++] = (struct kvmi_memslot) {
			.gfn = slot->base_gfn,
			.npages = slot->npages,
			.flags = slot->flags & KVM_MEM_READONLY ?
				 KVMI_MEMSLOT_READONLY : 0,
		};
		cond_resched();
	}
	req->reply_size = struct_size(reply, slots, n);

	return 0;
}
