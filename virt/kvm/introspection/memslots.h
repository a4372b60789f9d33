/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_MEMSLOTS_H
#define __KVMI_MEMSLOTS_H

#include "view.h"

bool kvmi_find_memory(struct kvm_memslots *slots, const struct kvmi_gfn_range *range,
		      struct kvmi_gfn_range *slot_range);

/**
 * kvmi_range_has_memory - is there guest memory at all of a range?
 * @slots: an address space, within kvm->srcu
 * @range: guest frame numbers
 */
static inline bool kvmi_range_has_memory(struct kvm_memslots *slots,
					 const struct kvmi_gfn_range *range)
{
	struct kvmi_gfn_range slot_range;

	return kvmi_find_memory(slots, range, &slot_range);
}

#endif /* __KVMI_MEMSLOTS_H */
