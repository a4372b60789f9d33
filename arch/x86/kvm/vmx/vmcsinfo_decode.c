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

void vmcsinfo_fill(u64 *region, unsigned int size, unsigned int pass)
{
	static const u64 in_word[] = {
		0xaaaaaaaaaaaaaaaaull, 0xccccccccccccccccull, 0xf0f0f0f0f0f0f0f0ull,
		0xff00ff00ff00ff00ull, 0xffff0000ffff0000ull, 0xffffffff00000000ull,
	};
	const u64 invert = pass & 1 ? ~0ull : 0;
	const unsigned int bit = pass / 2;
	unsigned int i;

	for (i = VMCSINFO_FIRST_OFFSET / 8; i < size / 8; i++) {
		if (bit < 6)
			region[i] = in_word[bit] ^ invert;
		else
			region[i] = ((i >> (bit - 6)) & 1 ? ~0ull : 0) ^ invert;
	}
}

/*
 * Get which bit of the region each bit of the value comes from.  Returns a mask of
 * those bits that come from anywhere, and zero if one of the others isn't always
 * zero.
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
	for (bit = 0; bit < 64 && mask >> bit; bit++) {
		source[bit] = 0;
		if (!(mask & BIT_ULL(bit)))
			continue;
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

static void forget(struct vmcsinfo_field *field)
{
	field->offset = 0;
	field->size = 0;
	field->layout = 0;
}

/* Two fields can't be in one place.  Which of them is there isn't known: neither. */
static void forget_shared(struct vmcsinfo_field *fields, unsigned int nr)
{
	u64 once[VMCSINFO_MAX_REGION / 64] = {}, twice[VMCSINFO_MAX_REGION / 64] = {};
	unsigned int i, byte;

	for (i = 0; i < nr; i++) {
		for (byte = fields[i].offset; byte < fields[i].offset + fields[i].size; byte++) {
			twice[byte / 64] |= once[byte / 64] & BIT_ULL(byte % 64);
			once[byte / 64] |= BIT_ULL(byte % 64);
		}
	}
	for (i = 0; i < nr; i++) {
		for (byte = fields[i].offset; byte < fields[i].offset + fields[i].size; byte++) {
			if (twice[byte / 64] & BIT_ULL(byte % 64))
				forget(&fields[i]);
		}
	}
}

/*
 * Fill in offset, size and layout of @fields, whose encodings are set; all zero
 * for those that can't be decoded.  Returns how many can.
 */
unsigned int vmcsinfo_decode(struct vmcsinfo_field *fields,
			     const struct vmcsinfo_readings *readings,
			     unsigned int nr, unsigned int region_size)
{
	unsigned int i, decoded = 0;

	for (i = 0; i < nr; i++) {
		forget(&fields[i]);
		if (region_size <= VMCSINFO_MAX_REGION)
			decode_field(&fields[i], &readings[i], region_size);
	}
	forget_shared(fields, nr);
	for (i = 0; i < nr; i++)
		decoded += !!fields[i].offset;
	return decoded;
}
