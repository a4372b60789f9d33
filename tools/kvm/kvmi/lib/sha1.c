// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * SHA-1 (FIPS 180-4), for the cookie of the handshake.
 *
 * The handshake fixes the algorithm.  Neither libc nor libcrypt has it, the
 * kernel's AF_ALG sockets are missing from small kernels, and a library to link
 * with would be a dependency for twenty bytes sent once for each connection.
 */
#include <string.h>
#include "internal.h"

static uint32_t rol(uint32_t value, unsigned int bits)
{
	return value << bits | value >> (32 - bits);
}

static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
	uint32_t w[80], f, k, t;
	int i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
		       (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);

	for (i = 0; i < 80; i++) {
		if (i < 20) {
			f = (b & c) | (~b & d);
			k = 0x5a827999;
		} else if (i < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (i < 60) {
			f = (b & c) | (b & d) | (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		t = rol(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void kint_sha1(const void *data, size_t size, uint8_t digest[20])
{
	uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	const uint8_t *p = data;
	uint64_t bits = (uint64_t)size * 8;
	uint8_t last[128] = { 0 };
	size_t rest, tail;
	int i;

	for (rest = size; rest >= 64; rest -= 64, p += 64)
		sha1_block(state, p);

	/* The rest, a one bit, zeroes, the length in bits: one block or two */
	if (rest)
		memcpy(last, p, rest);
	last[rest] = 0x80;
	tail = rest < 56 ? 64 : 128;
	for (i = 0; i < 8; i++)
		last[tail - 1 - i] = bits >> (8 * i);
	sha1_block(state, last);
	if (tail == 128)
		sha1_block(state, last + 64);

	for (i = 0; i < 20; i++)
		digest[i] = state[i / 4] >> (24 - 8 * (i % 4));
}
