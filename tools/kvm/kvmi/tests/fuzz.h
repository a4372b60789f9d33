/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TEST_FUZZ_H
#define KVMI_TEST_FUZZ_H

/*
 * Harnesses for libFuzzer, and for compilers without it: fuzz.c then makes inputs of
 * pseudo-random bytes by their seeds.
 */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input that is taken byte by byte; zeroes when it is used up */
struct input {
	const uint8_t *data;
	size_t left;
};

static inline uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

/* Numbers that are often the ones at an edge */
static inline uint64_t take_number(struct input *in)
{
	static const uint64_t edges[] = {
		0, 1, 2, 7, 8, 255, 256, 4095, 4096, 8184, 8185, 65535, 65536, 0x7fffffff,
		0x80000000, 0xffffffff, 0x100000000, 0xfffffffffffff000, 0xffffffffffffffff,
	};
	uint64_t value = 0;
	unsigned int how = take(in), i;

	if (how < 2 * sizeof(edges) / sizeof(edges[0]))
		return edges[how / 2];
	for (i = 0; i <= how % 8; i++)
		value = value << 8 | take(in);
	return value;
}

#endif
