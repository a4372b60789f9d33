// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the layout of guest memory.
 *
 * Only the slots that userspace has made are guest memory.  Those that KVM
 * needs for itself are of no use to a tool.
 */

#include "command.h"
#include "memslots.h"

/* Has userspace made the slot, and is it there to stay? */
static bool is_guest_memory(const struct kvm_memory_slot *slot)
{
	return slot->id < KVM_USER_MEM_SLOTS &&
	       !(slot->flags & KVM_MEMSLOT_INVALID);
}

/**
 * kvmi_find_memory - is there guest memory at all of a range?
 * @slots: an address space, within kvm->srcu
 * @range: guest frame numbers
 * @slot_range: where to put those of the last slot of it
 */
bool kvmi_find_memory(struct kvm_memslots *slots, const struct kvmi_gfn_range *range,
		      struct kvmi_gfn_range *slot_range)
{
	const struct kvm_memory_slot *slot;
	gfn_t gfn;

	for (gfn = range->first; gfn <= range->last; gfn = slot_range->last + 1) {
		slot = __gfn_to_memslot(slots, gfn);
		if (!slot || !is_guest_memory(slot))
			return false;
		slot_range->first = slot->base_gfn;
		slot_range->last = slot->base_gfn + slot->npages - 1;
	}

	return true;
}

/* First gfn after the last slot of guest memory */
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

/**
 * kvmi_vm_get_max_gfn - KVMI_VM_GET_MAX_GFN
 * @req: the request
 */
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

/**
 * kvmi_vm_get_memslots - KVMI_VM_GET_MEMSLOTS
 * @req: the request
 */
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
	reply->cookie = kvmi_memory_cookie(req->session, data->as_id);
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
