// SPDX-License-Identifier: GPL-2.0
/*
 * tsc-khz: the frequency of this machine's TSC in kHz, which is the one that
 * QEMU's TCG shows its guest.
 *
 * A kernel that boots while the machine is busy measures it badly, then better
 * a second later, and KVM, which saw the first value, refuses to run guests at
 * that speed ("user requested TSC rate below hardware speed").  So tell it.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static int64_t ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Both clocks at one moment: the try that was disturbed least */
static void sample(int64_t *time, uint64_t *tsc)
{
	uint64_t a, b, best = UINT64_MAX;
	int64_t t;

	for (int i = 0; i < 1000; i++) {
		a = __rdtsc();
		t = ns();
		b = __rdtsc();
		if (b - a < best) {
			best = b - a;
			*time = t;
			*tsc = a + best / 2;
		}
	}
}

int main(void)
{
	struct timespec wait = { .tv_nsec = 300000000 };
	uint64_t tsc0, tsc1;
	int64_t t0, t1;

	sample(&t0, &tsc0);
	nanosleep(&wait, NULL);
	sample(&t1, &tsc1);
	printf("%llu\n", (unsigned long long)((tsc1 - tsc0) * 1000000.0 / (t1 - t0) + 0.5));
	return 0;
}
