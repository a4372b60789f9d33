/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_MEMSLOTS_H
#define __KVMI_MEMSLOTS_H

#include "view.h"

bool kvmi_range_has_memory(struct kvm_memslots *slots,
			   const struct kvmi_gfn_range *range);

#endif /* __KVMI_MEMSLOTS_H */
