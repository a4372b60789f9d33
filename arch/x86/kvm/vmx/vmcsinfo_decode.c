// SPDX-License-Identifier: GPL-2.0-only
/*
 * Find where the fields of a VMCS lie in the region, from what VMREAD returns for
 * a region filled with patterns.
 *
 * There is a pattern for each address bit: bit N of the region is that bit of N.
 * So each bit of a value that VMREAD returns spells, over the patterns, which bit
 * of the region it comes from, whatever the order of bytes or bits.  Each pattern
 * is there a second time with all bits inverted, which proves that a bit of the
 * value is one bit of the region and nothing else: constants, and what is
 * computed from several bits, don't change sides.
 *
 * Nothing is assumed that is not checked; what fails a check has no offset.
 *
 * This file has no dependencies, the selftests compile it for userspace.
 */
#include "vmcsinfo.h"

#define AR_FIRST	0x4814
#define AR_LAST		0x4822
/* The bits of access rights that are not reserved */
#define AR_DEFINED	0x1f0ffull

/* Another field is in the same place; not part of what is published */
#define SHARED		0x80

/* No bit of the value comes from there */
#define NOWHERE		0xffff

void vmcsinfo_fill(u8 *region, unsigned int size, unsigned int pass)
{
	static const u8 in_byte[] = { 0xaa, 0xcc, 0xf0 };
	const u8 invert = pass & 1 ? 0xff : 0;
	const unsigned int bit = pass / 2;
	unsigned int i;

	for (i = VMCSINFO_FIRST_OFFSET; i < size; i++) {
		if (bit < 3)
			region[i] = in_byte[bit] ^ invert;
		else
			region[i] = ((i >> (bit - 3)) & 1 ? 0xff : 0) ^ invert;
	}
}

/*
 * Get which bit of the region each bit of the value comes from.  Returns a mask of
 * those that come from anywhere, zero if one of the others isn't always zero.
 */
static u64 trace(const struct vmcsinfo_reading *reading, u16 source[64])
{
	const u64 *v = reading->value;
	const u64 mask = v[0] ^ v[1];
	unsigned int bit, i;

	for (i = 0; i < VMCSINFO_ADDRESS_BITS; i++, v += 2) {
		if ((v[0] ^ v[1]) != mask || v[0] & ~mask)
			return 0;
	}
	for (bit = 0; bit < 64; bit++) {
		source[bit] = NOWHERE;
		if (!(mask & BIT_ULL(bit)))
			continue;
		source[bit] = 0;
		for (i = 0; i < VMCSINFO_ADDRESS_BITS; i++)
			source[bit] |= ((reading->value[2 * i] >> bit) & 1) << i;
	}
	return mask;
}

/* Where bit @bit of a value of @width bytes is, in bits from the field's start */
static unsigned int bit_in_layout(unsigned int layout, unsigned int width, unsigned int bit)
{
	const unsigned int byte = bit / 8;

	switch (layout) {
	case VMCSINFO_LAYOUT_BIG_ENDIAN:
		return (width - 1 - byte) * 8 + bit % 8;
	case VMCSINFO_LAYOUT_ROTATED:
		return (byte + 1) % 4 * 8 + bit % 8;
	case VMCSINFO_LAYOUT_PACKED:
		return bit == 16 ? 11 : bit;
	default:
		return bit;
	}
}

static bool has_layout(struct vmcsinfo_field *field, unsigned int layout, u64 mask,
		       const u16 source[64], unsigned int region_size)
{
	const unsigned int width = vmcsinfo_width(field->encoding);
	const unsigned int size = layout == VMCSINFO_LAYOUT_PACKED ? 2 : width;
	int start = -1, s;
	unsigned int bit;

	for (bit = 0; bit < width * 8; bit++) {
		if (!(mask & BIT_ULL(bit)))
			continue;
		s = source[bit] - (int)bit_in_layout(layout, width, bit);
		if (start < 0)
			start = s;
		if (s < 0 || s != start)
			return false;
	}
	if (start < 0 || start % 8)
		return false;
	start /= 8;
	if (start < VMCSINFO_FIRST_OFFSET || start + size > region_size)
		return false;
	field->offset = start;
	field->size = size;
	field->layout = layout;
	return true;
}

static bool decode_field(struct vmcsinfo_field *field,
			 const struct vmcsinfo_readings *readings, unsigned int region_size)
{
	const unsigned int width = vmcsinfo_width(field->encoding);
	const bool ar = field->encoding >= AR_FIRST && field->encoding <= AR_LAST;
	const u64 all = GENMASK_ULL(width * 8 - 1, 0);
	u16 source[64], high[64];
	unsigned int bit;
	u64 mask;

	mask = trace(&readings->part[0], source);
	if (mask & ~all)
		return false;

	/* Of access rights, reserved bits may be missing */
	if (ar ? (mask & AR_DEFINED) != AR_DEFINED : mask != all)
		return false;

	if (vmcsinfo_has_high(field->encoding)) {
		if (trace(&readings->part[1], high) != GENMASK_ULL(31, 0))
			return false;
		for (bit = 0; bit < 32; bit++) {
			if (high[bit] != source[32 + bit])
				return false;
		}
	}

	return has_layout(field, VMCSINFO_LAYOUT_LITTLE_ENDIAN, mask, source, region_size) ||
	       has_layout(field, VMCSINFO_LAYOUT_BIG_ENDIAN, mask, source, region_size) ||
	       (ar && has_layout(field, VMCSINFO_LAYOUT_ROTATED, mask, source, region_size)) ||
	       (ar && mask == AR_DEFINED &&
		has_layout(field, VMCSINFO_LAYOUT_PACKED, mask, source, region_size));
}

static bool overlap(const struct vmcsinfo_field *a, const struct vmcsinfo_field *b)
{
	return a->offset && b->offset && a->offset < b->offset + b->size &&
	       b->offset < a->offset + a->size;
}

/*
 * Fill in offset, size and layout of @fields, whose encodings are set; all zero
 * for those that can't be decoded.  Returns how many can.
 */
unsigned int vmcsinfo_decode(struct vmcsinfo_field *fields,
			     const struct vmcsinfo_readings *readings,
			     unsigned int nr, unsigned int region_size)
{
	unsigned int i, j, decoded = 0;
	bool shared;

	for (i = 0; i < nr; i++) {
		fields[i].offset = 0;
		fields[i].size = 0;
		fields[i].layout = 0;
		if (region_size <= VMCSINFO_MAX_REGION)
			decode_field(&fields[i], &readings[i], region_size);
	}

	/*
	 * Two fields can't be in one place.  Which of them is there is not known,
	 * so neither is; a bit of the layout marks those until all are compared.
	 */
	for (i = 0; i < nr; i++) {
		shared = false;
		for (j = 0; j < nr && !shared; j++)
			shared = i != j && overlap(&fields[i], &fields[j]);
		if (shared)
			fields[i].layout |= SHARED;
	}
	for (i = 0; i < nr; i++) {
		if (fields[i].layout & SHARED) {
			fields[i].offset = 0;
			fields[i].size = 0;
			fields[i].layout = 0;
		}
		decoded += !!fields[i].offset;
	}
	return decoded;
}
