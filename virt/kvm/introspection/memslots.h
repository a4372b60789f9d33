/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_MEMSLOTS_H
#define __KVMI_MEMSLOTS_H

#include <linux/kvm_host.h>

#include "access_store.h"

struct kvm_introspection;
struct kvmi_vm_request;

u32 kvmi_memslots_cookie(struct kvm_introspection *session,
			 struct kvm_memslots *slots);
struct kvm_memory_slot *kvmi_memslot(struct kvm_memslots *slots, gfn_t gfn);

bool kvmi_find_memory(struct kvm_memslots *slots, const struct kvmi_gfn_range *range,
		      struct kvmi_gfn_range *slot_range);

/*
 * Return true if all of a range is guest memory.  @slots: protected by kvm->srcu
 */
static inline bool kvmi_range_has_memory(struct kvm_memslots *slots,
					 const struct kvmi_gfn_range *range)
{
	struct kvmi_gfn_range slot_range;

	return kvmi_find_memory(slots, range, &slot_range);
}

int kvmi_vm_get_max_gfn(struct kvmi_vm_request *req);
int kvmi_vm_get_memslots(struct kvmi_vm_request *req);

#endif /* __KVMI_MEMSLOTS_H */
