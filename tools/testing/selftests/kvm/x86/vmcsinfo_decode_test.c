// SPDX-License-Identifier: GPL-2.0-only
/*
 * The decoder of the module vmcsinfo-intel, against processors that keep fields of
 * a VMCS in ways that are right, and in ways that must not be believed.
 */
#include <string.h>

#include "kselftest_harness.h"

#include "../../../../../arch/x86/kvm/vmx/vmcsinfo_decode.c"

#define REGION_SIZE	4096

#define VPID		0x0000
#define CS_SELECTOR	0x0802
#define TSC_OFFSET	0x2010
#define EPTP		0x201a
#define PIN_CONTROLS	0x4000
#define EXIT_REASON	0x4402
#define CS_RIGHTS	0x4816
#define TR_RIGHTS	0x4822
#define LDTR_LIMIT	0x480c
#define CR0		0x6800
#define RIP		0x681e

/* How a processor makes the value of a field out of the region */
enum way {
	LITTLE_ENDIAN_WAY,
	BIG_ENDIAN_WAY,
	ROTATED_WAY,
	PACKED_WAY,
	/* The words of 16 bits in big-endian order, their bytes not */
	MIDDLE_ENDIAN_WAY,
	/* The upper half is missing; the lower half is; the upper half is twice there */
	CUT_WAY,
	CUT_BELOW_WAY,
	DOUBLED_WAY,
	/* One byte is from elsewhere */
	MOVED_BYTE_WAY,
	/* Not at a byte's boundary */
	SHIFTED_WAY,
	/* What is in the region, and something else */
	OR_WAY,
	AND_WAY,
	XOR_WAY,
	INVERTED_WAY,
	STUCK_WAY,
	ALL_ONES_WAY,
	ALL_ZEROS_WAY,
	/* More bits than the field has */
	SIGN_EXTENDED_WAY,
	/* Some bits are always clear, as the reserved bits of access rights */
	MASKED_WAY,
	/* The upper half by its own encoding is not the upper half of the field */
	HIGH_ELSEWHERE_WAY,
	HIGH_MISSING_WAY,
	HIGH_LONG_WAY,
	/* It changes while it is read */
	UNSTABLE_WAY,
};

struct cpu_field {
	u32 encoding;
	u32 offset;
	enum way way;
};

static u64 bytes(const u8 *region, u32 offset, unsigned int n)
{
	u64 value = 0;

	/* A hostile model may point anywhere */
	while (n--)
		value = value << 8 | region[(offset + n) % REGION_SIZE];
	return value;
}

static u64 swap(u64 value, unsigned int n)
{
	return __builtin_bswap64(value) >> (64 - 8 * n);
}

static u64 cpu_vmread(const u8 *region, const struct cpu_field *f, bool high, unsigned int pass)
{
	const unsigned int n = vmcsinfo_width(f->encoding);
	const u64 all = GENMASK_ULL(8 * n - 1, 0), half = GENMASK_ULL(4 * n - 1, 0);
	u64 value = bytes(region, f->offset, n);

	switch (f->way) {
	case LITTLE_ENDIAN_WAY:
		break;
	case BIG_ENDIAN_WAY:
		value = swap(value, n);
		break;
	case ROTATED_WAY:
		value = (value >> 8 | value << 24) & all;
		break;
	case PACKED_WAY:
		value = (value & 0xf0ff) | (value & 0x800) << 5;
		break;
	case MIDDLE_ENDIAN_WAY:
		value = (value >> 16 | value << 16) & all;
		break;
	case CUT_WAY:
		value &= half;
		break;
	case CUT_BELOW_WAY:
		value &= ~half;
		break;
	case DOUBLED_WAY:
		value = (value & half) | (value & half) << (4 * n);
		break;
	case MOVED_BYTE_WAY:
		value = (value & ~0xffull) | region[f->offset + 64];
		break;
	case SHIFTED_WAY:
		value = (value >> 1 | bytes(region, f->offset + 1, n) << 7) & all;
		break;
	case OR_WAY:
		value |= bytes(region, f->offset + 64, n);
		break;
	case AND_WAY:
		value &= bytes(region, f->offset + 64, n);
		break;
	case XOR_WAY:
		value ^= bytes(region, f->offset + 64, n);
		break;
	case INVERTED_WAY:
		value ^= all;
		break;
	case STUCK_WAY:
		value |= 0x10;
		break;
	case ALL_ONES_WAY:
		value = all;
		break;
	case ALL_ZEROS_WAY:
		value = 0;
		break;
	case SIGN_EXTENDED_WAY:
		value |= value >> (8 * n - 1) ? ~all : 0;
		break;
	case MASKED_WAY:
		value &= 0x1f0ff;
		break;
	case HIGH_ELSEWHERE_WAY:
		if (high)
			return bytes(region, f->offset + 64, 4);
		break;
	case HIGH_MISSING_WAY:
		if (high)
			return 0;
		break;
	case HIGH_LONG_WAY:
		if (high)
			return bytes(region, f->offset + 4, 8);
		break;
	case UNSTABLE_WAY:
		value ^= pass == 17 ? 2 : 0;
		break;
	}
	return high ? value >> 32 : value;
}

/* What the module does, with a model of a processor in place of VMREAD */
static unsigned int measure(const struct cpu_field *cpu, unsigned int nr, u32 size,
			    struct vmcsinfo_field *fields)
{
	static struct vmcsinfo_readings readings[16];
	static u64 words[REGION_SIZE / 8];
	const u8 *region = (u8 *)words;
	unsigned int i, pass;

	memset(readings, 0, sizeof(readings));
	/* Poison: the decoder is to set all but the encoding */
	memset(fields, 0xa5, nr * sizeof(*fields));
	for (i = 0; i < nr; i++)
		fields[i].encoding = cpu[i].encoding;
	memset(words, 0, sizeof(words));
	words[0] = 0x12;
	for (pass = 0; pass < VMCSINFO_NR_PASSES; pass++) {
		vmcsinfo_fill(words, size, pass);
		for (i = 0; i < nr; i++) {
			readings[i].part[0].value[pass] = cpu_vmread(region, &cpu[i], false, pass);
			if (vmcsinfo_has_high(cpu[i].encoding))
				readings[i].part[1].value[pass] =
					cpu_vmread(region, &cpu[i], true, pass);
		}
	}
	return vmcsinfo_decode(fields, readings, nr, size);
}

static bool is_zero(const struct vmcsinfo_field *f)
{
	return !f->offset && !f->size && !f->layout;
}

#define check_field(f, o, s, l)						\
do {									\
	const struct vmcsinfo_field *__f = (f);				\
									\
	EXPECT_EQ(__f->offset, o);					\
	EXPECT_EQ(__f->size, s);					\
	EXPECT_EQ(__f->layout, VMCSINFO_LAYOUT_##l);			\
} while (0)

/* The header stays, and no two bits of the region have the same history */
TEST(patterns)
{
	static u64 history[REGION_SIZE * 8];
	static u64 words[REGION_SIZE / 8];
	const u8 *region = (u8 *)words;
	unsigned int pass, bit;

	memcpy(words, "revision", 8);
	for (pass = 0; pass < VMCSINFO_NR_PASSES; pass++) {
		vmcsinfo_fill(words, REGION_SIZE, pass);
		ASSERT_EQ(memcmp(region, "revision", 8), 0);
		for (bit = 64; bit < REGION_SIZE * 8; bit++)
			history[bit] |= (u64)((region[bit / 8] >> bit % 8) & 1) << pass;
	}
	for (bit = 64; bit < REGION_SIZE * 8; bit++) {
		for (pass = 0; pass < VMCSINFO_NR_PASSES; pass += 2)
			ASSERT_EQ((history[bit] >> pass) & 3, (bit >> (pass / 2)) & 1 ? 1 : 2);
	}
}

TEST(all_layouts)
{
	static const struct cpu_field cpu[] = {
		{ VPID, 8 },
		{ CS_SELECTOR, 0x203, BIG_ENDIAN_WAY },
		{ TSC_OFFSET, 0x300 },
		{ EPTP, 0x308, BIG_ENDIAN_WAY },
		{ PIN_CONTROLS, 0x180 },
		{ EXIT_REASON, 0x401, BIG_ENDIAN_WAY },
		{ CS_RIGHTS, 0x500, ROTATED_WAY },
		{ TR_RIGHTS, 0x504, PACKED_WAY },
		{ LDTR_LIMIT, 0x506 },
		{ CR0, 0x600, BIG_ENDIAN_WAY },
		{ RIP, 4088 },
	};
	struct vmcsinfo_field f[ARRAY_SIZE(cpu)];

	ASSERT_EQ(measure(cpu, ARRAY_SIZE(cpu), REGION_SIZE, f), ARRAY_SIZE(cpu));
	check_field(&f[0], 8, 2, LITTLE_ENDIAN);
	check_field(&f[1], 0x203, 2, BIG_ENDIAN);
	check_field(&f[2], 0x300, 8, LITTLE_ENDIAN);
	check_field(&f[3], 0x308, 8, BIG_ENDIAN);
	check_field(&f[4], 0x180, 4, LITTLE_ENDIAN);
	check_field(&f[5], 0x401, 4, BIG_ENDIAN);
	check_field(&f[6], 0x500, 4, ROTATED);
	check_field(&f[7], 0x504, 2, PACKED);
	check_field(&f[8], 0x506, 4, LITTLE_ENDIAN);
	check_field(&f[9], 0x600, 8, BIG_ENDIAN);
	check_field(&f[10], 4088, 8, LITTLE_ENDIAN);
}

TEST(access_rights)
{
	struct cpu_field cpu = { CS_RIGHTS, 0x500 };
	struct vmcsinfo_field f;

	ASSERT_EQ(measure(&cpu, 1, REGION_SIZE, &f), 1);
	check_field(&f, 0x500, 4, LITTLE_ENDIAN);
	/* The CPU drops the reserved bits */
	cpu.way = MASKED_WAY;
	ASSERT_EQ(measure(&cpu, 1, REGION_SIZE, &f), 1);
	check_field(&f, 0x500, 4, LITTLE_ENDIAN);
	cpu.way = BIG_ENDIAN_WAY;
	ASSERT_EQ(measure(&cpu, 1, REGION_SIZE, &f), 1);
	check_field(&f, 0x500, 4, BIG_ENDIAN);
	/* Only access rights may be in such a form */
	cpu.encoding = PIN_CONTROLS;
	for (cpu.way = LITTLE_ENDIAN_WAY; cpu.way <= UNSTABLE_WAY; cpu.way++) {
		if (cpu.way < ROTATED_WAY || cpu.way >= HIGH_ELSEWHERE_WAY)
			continue;
		ASSERT_EQ(measure(&cpu, 1, REGION_SIZE, &f), 0) {
			TH_LOG("way %u", cpu.way);
		}
		ASSERT_TRUE(is_zero(&f));
	}
}

/* Each wrong way, for a field of each width and for access rights */
TEST(hostile)
{
	static const u32 encodings[] = { CS_SELECTOR, TSC_OFFSET, PIN_CONTROLS, CS_RIGHTS, RIP };
	struct cpu_field cpu[] = {
		{ 0, 0x500 },
		{ VPID, 0x700 },
	};
	struct vmcsinfo_field f[2];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(encodings); i++) {
		cpu[0].encoding = encodings[i];
		for (cpu[0].way = CUT_WAY; cpu[0].way <= UNSTABLE_WAY; cpu[0].way++) {
			const bool high = cpu[0].way >= HIGH_ELSEWHERE_WAY &&
					  cpu[0].way <= HIGH_LONG_WAY;

			if (cpu[0].way == MASKED_WAY && encodings[i] == CS_RIGHTS)
				continue;
			if (high && !vmcsinfo_has_high(encodings[i]))
				continue;
			/* There are no more bits than 64 */
			if (cpu[0].way == SIGN_EXTENDED_WAY && vmcsinfo_width(encodings[i]) == 8)
				continue;
			/* The other field is found all the same */
			ASSERT_EQ(measure(cpu, 2, REGION_SIZE, f), 1) {
				TH_LOG("encoding 0x%x, way %u", encodings[i], cpu[0].way);
			}
			ASSERT_TRUE(is_zero(&f[0]));
			check_field(&f[1], 0x700, 2, LITTLE_ENDIAN);
		}
	}
}

/* In the header, at its edge, at and over the end */
TEST(bounds)
{
	struct cpu_field cpu = { RIP };
	struct vmcsinfo_field f;
	u32 size;

	for (cpu.offset = 0; cpu.offset < 8; cpu.offset++) {
		ASSERT_EQ(measure(&cpu, 1, REGION_SIZE, &f), 0);
		ASSERT_TRUE(is_zero(&f));
	}
	ASSERT_EQ(measure(&cpu, 1, REGION_SIZE, &f), 1);

	for (size = 1024; size <= REGION_SIZE; size += 1024) {
		cpu.offset = size - 8;
		ASSERT_EQ(measure(&cpu, 1, size, &f), 1);
		check_field(&f, size - 8, 8, LITTLE_ENDIAN);
		for (cpu.offset = size - 7; cpu.offset < size; cpu.offset++) {
			ASSERT_EQ(measure(&cpu, 1, size, &f), 0);
			ASSERT_TRUE(is_zero(&f));
		}
	}
}

/* A size that the SDM does not allow, and none */
TEST(size)
{
	static struct vmcsinfo_readings readings;
	struct vmcsinfo_field f = { .encoding = RIP, .offset = 8 };

	ASSERT_EQ(vmcsinfo_decode(&f, &readings, 1, REGION_SIZE + 1), 0);
	ASSERT_TRUE(is_zero(&f));
	ASSERT_EQ(vmcsinfo_decode(&f, &readings, 1, 0), 0);
	ASSERT_TRUE(is_zero(&f));
	ASSERT_EQ(vmcsinfo_decode(&f, &readings, 0, REGION_SIZE), 0);
}

/* Two or three fields that share a byte: none of them is there */
TEST(shared_bytes)
{
	struct cpu_field cpu[] = {
		{ RIP, 0x500 },
		{ PIN_CONTROLS, 0x507 },
		{ VPID, 0x600 },
		{ CS_SELECTOR, 0x50a },
	};
	struct vmcsinfo_field f[ARRAY_SIZE(cpu)];
	unsigned int i;

	ASSERT_EQ(measure(cpu, ARRAY_SIZE(cpu), REGION_SIZE, f), 1);
	ASSERT_TRUE(is_zero(&f[0]));
	ASSERT_TRUE(is_zero(&f[1]));
	check_field(&f[2], 0x600, 2, LITTLE_ENDIAN);
	ASSERT_TRUE(is_zero(&f[3]));

	/* All in the same place */
	for (i = 0; i < ARRAY_SIZE(cpu); i++)
		cpu[i].offset = 0x600;
	ASSERT_EQ(measure(cpu, ARRAY_SIZE(cpu), REGION_SIZE, f), 0);

	/* Side by side */
	cpu[1].offset = 0x608;
	cpu[2].offset = 0x60c;
	cpu[3].offset = 0x5fe;
	ASSERT_EQ(measure(cpu, ARRAY_SIZE(cpu), REGION_SIZE, f), 4);
}

/* Noise, which is what nobody thought of: nothing comes out but what is right */
TEST(noise)
{
	static struct vmcsinfo_readings readings[8];
	struct vmcsinfo_field f[8];
	unsigned int round, i;
	u64 seed = 1;
	u8 *p;

	for (round = 0; round < 2000; round++) {
		for (p = (u8 *)readings; p < (u8 *)readings + sizeof(readings); p++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			*p = seed >> 56;
		}
		for (i = 0; i < ARRAY_SIZE(f); i++)
			f[i].encoding = (seed >> i) & 0x6c3e;
		ASSERT_EQ(vmcsinfo_decode(f, readings, ARRAY_SIZE(f), REGION_SIZE), 0);
		for (i = 0; i < ARRAY_SIZE(f); i++)
			ASSERT_TRUE(is_zero(&f[i]));
	}
}

TEST_HARNESS_MAIN
