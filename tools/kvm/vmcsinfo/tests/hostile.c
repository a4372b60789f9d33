// SPDX-License-Identifier: GPL-2.0-only
/*
 * hostile TOOL DUMP TYPES COUNT: have the tool read the dump cut short and changed in
 * COUNT ways.  It may refuse it or make something of it, but not crash.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What ASan ends a program with, see dumps.sh */
#define SANITIZER	99
#define MAX_SIZE	(1 << 20)

static uint64_t state = 1;

static uint32_t rnd(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % n;
}

static int run(char **args)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 1);
		if (!getenv("VERBOSE"))
			dup2(null, 2);
		alarm(60);
		execv(args[0], args);
		_exit(98);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void save(const char *name, const uint8_t *data, size_t size)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		exit(3);
	close(fd);
}

/* Values at which arithmetic goes wrong */
static uint64_t interesting(void)
{
	static const uint64_t values[] = {
		0, 1, 7, 0xfff, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 63,
		~0ull, ~0ull - 4095, 0x7fffffffffffffff, 0x101007, 0x102007, 0x103087,
	};

	return values[rnd(sizeof(values) / sizeof(values[0]))];
}

int main(int argc, char **argv)
{
	static uint8_t base[MAX_SIZE], data[MAX_SIZE];
	char dump[] = "hostile.dump", types[] = "hostile.types";
	unsigned int i, j, n, good = 0;
	size_t size, types_size, cut;
	int status;
	FILE *f;

	if (argc != 5)
		return 2;
	f = fopen(argv[2], "r");
	size = f ? fread(base, 1, sizeof(base), f) : 0;
	if (!size)
		return 3;
	fclose(f);
	char *commands[][10] = {
		{ argv[1], "fields", "-d", dump },
		{ argv[1], "find", "-d", dump, "-t", argv[3] },
		{ argv[1], "print", "-d", dump, "0x101000" },
		{ argv[1], "core", "-d", dump, "-o", "hostile.core", "-f", "0x101000" },
		{ argv[1], "core", "-d", dump, "-o", "hostile.core", "-t", argv[3] },
	};
	for (i = 0; i < (unsigned int)atoi(argv[4]); i++) {
		memcpy(data, base, size);
		cut = size;
		if (i % 4 == 0) {
			cut = i % 8 ? rnd(size) : rnd(600);
		} else {
			n = 1 + rnd(4);
			for (j = 0; j < n; j++) {
				/* Headers; the note, the VMCS and tables; anything */
				uint32_t at = i % 4 == 1 ? rnd(300) :
					      i % 4 == 2 ? 4096 + rnd(16 * 4096) : rnd(size - 8);
				uint64_t value = interesting();

				memcpy(data + at, &value, 1 << rnd(4));
			}
		}
		save(dump, data, cut);
		for (j = 0; j < sizeof(commands) / sizeof(commands[0]); j++) {
			status = run(commands[j]);
			good += !status;
			if (status > 1) {
				printf("dump %u (kept), %s: status %d%s\n", i, commands[j][1],
				       status, status == SANITIZER ? ", sanitizer" : "");
				return 1;
			}
		}
	}

	/* Types that are cut short or changed */
	f = fopen(argv[3], "r");
	types_size = f ? fread(base, 1, sizeof(base), f) : 0;
	if (!types_size)
		return 3;
	fclose(f);
	commands[4][3] = argv[2];
	commands[4][7] = types;
	for (i = 0; i < (unsigned int)atoi(argv[4]) / 4; i++) {
		memcpy(data, base, types_size);
		cut = i % 3 ? types_size : rnd(types_size);
		for (j = 0; j < 3; j++) {
			uint64_t value = interesting();

			memcpy(data + rnd(types_size - 8), &value, 1 << rnd(4));
		}
		save(types, data, cut);
		status = run(commands[4]);
		if (status > 1) {
			printf("types %u (kept): status %d\n", i, status);
			return 1;
		}
	}
	printf("%u of the dumps read\n", good);
	return !good;
}
