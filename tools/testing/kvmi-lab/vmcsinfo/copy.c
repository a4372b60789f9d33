// SPDX-License-Identifier: GPL-2.0
/*
 * copy FROM TO: copy what is not zero.  Through read(), /proc/vmcore maps each page by
 * itself, which takes a processor that is emulated minutes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

static int is_zero(const void *page)
{
	const unsigned long *p = page;
	unsigned int i;

	for (i = 0; i < PAGE / sizeof(*p); i += 8) {
		if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] |
		    p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7])
			return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	int from, to;
	struct stat st;
	char *p;
	off_t i;

	if (argc != 3)
		return 2;
	from = open(argv[1], O_RDONLY);
	to = open(argv[2], O_WRONLY);
	if (from < 0 || to < 0 || fstat(from, &st)) {
		perror("open");
		return 1;
	}
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, from, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (i = 0; i < st.st_size; i += PAGE) {
		if (!is_zero(p + i) && pwrite(to, p + i, PAGE, i) != PAGE) {
			perror("write");
			return 1;
		}
	}
	return 0;
}
