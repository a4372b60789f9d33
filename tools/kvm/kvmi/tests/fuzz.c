// SPDX-License-Identifier: GPL-2.0-only
/*
 * A harness without libFuzzer: inputs by their seeds, or from files.
 *
 *	fuzz-WHAT [-n INPUTS] [-s FIRST-SEED] [FILE]...
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuzz.h"

#define MAX_INPUT 4096

static uint64_t state;

/* splitmix64: any seed is as good as another */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* What a crash leaves behind says which input it was */
static unsigned long long current;

static void tell_seed(void)
{
	fprintf(stderr, "seed %llu\n", current);
}

static void on_abort(int nr)
{
	(void)nr;
	tell_seed();
}

/* Of ASan and UBSan, if they are linked in */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static size_t generate(uint64_t seed, uint8_t *data)
{
	size_t size, i;

	state = seed;
	size = next() % MAX_INPUT;
	for (i = 0; i < size; i++)
		data[i] = next();
	return size;
}

static bool run_file(const char *path)
{
	uint8_t *data = malloc(MAX_INPUT * 16);
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file || !data) {
		perror(path);
		return false;
	}
	size = fread(data, 1, MAX_INPUT * 16, file);
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return true;
}

int main(int argc, char **argv)
{
	unsigned long long n = 1000, seed = 1, i;
	static uint8_t data[MAX_INPUT];
	const char *name = strrchr(argv[0], '/');
	uint8_t *exact;
	size_t size;
	int opt;

	signal(SIGABRT, on_abort);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(tell_seed);
	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		if (opt == 'n')
			n = strtoull(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	if (optind < argc)
		n = 0;
	for (; optind < argc; optind++)
		if (!run_file(argv[optind]))
			return 1;
	for (i = 0; i < n; i++) {
		/* Of its own size, so that reading beyond it is seen */
		size = generate(seed + i, data);
		exact = malloc(size ? size : 1);
		if (!exact)
			return 1;
		memcpy(exact, data, size);
		current = seed + i;
		LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	printf("1..1\nok 1 %s: %llu inputs from seed %llu\n", name ? name + 1 : argv[0], n, seed);
	return 0;
}
