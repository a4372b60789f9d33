// SPDX-License-Identifier: GPL-2.0
/*
 * msr: read or write a model specific register from a program in the guest, the
 * way malware with root rights would.
 *
 * Usage: msr read REG | msr write REG VALUE      (numbers as strtoull takes them)
 *
 * It speaks through write(2) only and never forks: after a write to LSTAR that
 * was let through, the next system call is the last.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint64_t value;
	off_t reg;
	int fd;

	if (argc < 3 || (strcmp(argv[1], "read") && strcmp(argv[1], "write")) ||
	    argc != (argv[1][0] == 'r' ? 3 : 4)) {
		fprintf(stderr, "usage: msr read REG | msr write REG VALUE\n");
		return 2;
	}

	fd = open("/dev/cpu/0/msr", argv[1][0] == 'r' ? O_RDONLY : O_RDWR);
	if (fd < 0) {
		perror("msr: /dev/cpu/0/msr");
		return 1;
	}

	reg = strtoull(argv[2], NULL, 0);
	if (argv[1][0] == 'w') {
		value = strtoull(argv[3], NULL, 0);
		if (pwrite(fd, &value, sizeof(value), reg) != sizeof(value)) {
			perror("msr: write");
			return 1;
		}
	}
	if (pread(fd, &value, sizeof(value), reg) != sizeof(value)) {
		perror("msr: read");
		return 1;
	}
	printf("0x%016llx\n", (unsigned long long)value);
	return 0;
}
