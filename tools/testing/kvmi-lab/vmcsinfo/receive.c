// SPDX-License-Identifier: GPL-2.0
/*
 * receive FILE: the dump that port.c sent, out of the standard output of Bochs.
 */
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "port.h"

int main(int argc, char **argv)
{
	const size_t rest = offsetof(struct port_block, data) - sizeof(__u32);
	static struct port_block block;
	__u32 magic = 0;
	FILE *f;
	int c;

	f = argc == 2 ? fopen(argv[1], "r") : NULL;
	if (!f)
		return 2;
	/* What Bochs says itself comes before */
	while (magic != PORT_MAGIC && (c = getc(f)) != EOF)
		magic = magic >> 8 | (__u32)c << 24;
	while (magic == PORT_MAGIC) {
		if (fread(&block.size, rest, 1, f) != 1 || block.size > PORT_BLOCK)
			break;
		if (!block.size) {
			fflush(stdout);
			return ftruncate(1, block.offset) ? 1 : 0;
		}
		if (fread(block.data, 1, block.size, f) != block.size ||
		    fseeko(stdout, block.offset, SEEK_SET) ||
		    fwrite(block.data, 1, block.size, stdout) != block.size ||
		    fread(&magic, sizeof(magic), 1, f) != 1)
			break;
	}
	fprintf(stderr, "%s: there is no dump in it, or half of one\n", argv[1]);
	return 1;
}
