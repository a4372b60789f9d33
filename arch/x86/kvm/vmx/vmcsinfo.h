/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_VMX_VMCSINFO_H
#define __KVM_X86_VMX_VMCSINFO_H

#include <linux/bits.h>
#include <linux/types.h>

#include <asm/vmcsinfo.h>

/* A VMCS region starts with the revision and the abort indicator */
#define VMCSINFO_FIRST_OFFSET	8
#define VMCSINFO_MAX_REGION	4096

/* Address bits of a bit in a region */
#define VMCSINFO_ADDRESS_BITS	15
#define VMCSINFO_NR_PASSES	(2 * VMCSINFO_ADDRESS_BITS)

/*
 * What VMREAD returned for one field, by the pattern that the region was filled
 * with, see vmcsinfo_fill().  A field that VMREAD refuses reads as zeros.
 */
struct vmcsinfo_reading {
	u64 value[VMCSINFO_NR_PASSES];
};

/* Index 0 is the whole field, 1 the upper half of a 64-bit field */
struct vmcsinfo_readings {
	struct vmcsinfo_reading part[2];
};

static inline unsigned int vmcsinfo_width(u32 encoding)
{
	static const u8 widths[] = { 2, 8, 4, 8 };

	return widths[(encoding >> 13) & 3];
}

static inline bool vmcsinfo_has_high(u32 encoding)
{
	return ((encoding >> 13) & 3) == 1;
}

void vmcsinfo_fill(u64 *region, unsigned int size, unsigned int pass);
unsigned int vmcsinfo_decode(struct vmcsinfo_field *fields,
			     const struct vmcsinfo_readings *readings,
			     unsigned int nr, unsigned int region_size);

#endif /* __KVM_X86_VMX_VMCSINFO_H */
