// SPDX-License-Identifier: GPL-2.0
/*
 * A file out of the emulated machine: "port" writes its input to port 0xe9, which
 * Bochs copies to its standard output; "port FILE" gets it from there.
 *
 * A serial line would take hours.  What goes over the port is what isn't zero, in
 * blocks, each with its place in the file; the last one is empty.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <unistd.h>

#define PORT	0xe9
#define MAGIC	0x5aa5c33cu
#define BLOCK	4096

struct block {
	uint32_t magic, size;
	uint64_t offset;
	uint8_t data[BLOCK];
};

static struct block block = { .magic = MAGIC };

static void out(size_t size)
{
	const void *p = &block;

	asm volatile("rep outsb" : "+S"(p), "+c"(size) : "d"(PORT) : "memory");
}

static int send(void)
{
	static const uint8_t zeros[BLOCK];
	size_t n;

	if (ioperm(PORT, 1, 1)) {
		perror("ioperm");
		return 1;
	}
	while ((n = fread(block.data, 1, BLOCK, stdin)) > 0) {
		block.size = n;
		/* The first says where it starts, the last but one how long it is */
		if (!block.offset || n < BLOCK || memcmp(block.data, zeros, n))
			out(sizeof(block) - BLOCK + n);
		block.offset += n;
	}
	block.size = 0;
	out(sizeof(block) - BLOCK);
	return 0;
}

static int receive(const char *name)
{
	FILE *f = fopen(name, "r");
	uint32_t magic = 0;
	int c;

	if (!f) {
		perror(name);
		return 1;
	}
	/* What Bochs says itself comes before */
	while (magic != MAGIC && (c = getc(f)) != EOF)
		magic = magic >> 8 | (uint32_t)c << 24;
	while (magic == MAGIC) {
		if (fread(&block.size, sizeof(block) - BLOCK - 4, 1, f) != 1 || block.size > BLOCK)
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
	fprintf(stderr, "%s: the file in it does not end\n", name);
	return 1;
}

int main(int argc, char **argv)
{
	return argc > 1 ? receive(argv[1]) : send();
}
