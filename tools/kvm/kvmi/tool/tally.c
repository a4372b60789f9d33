// SPDX-License-Identifier: GPL-2.0-only
/*
 * What watch counts instead of showing: loads of CR3, CPUID leaves that have
 * been seen, page faults, and flushes of the TLB.  Sums appear once a second.
 */
#include <string.h>
#include "tool.h"

#define MAX_SPACES	4096		/* power of two */
#define MAX_LEAVES	256
#define SUM_EVERY_NS	1000000000ll
#define SUM_LINE	"%9.3f  all     %-12s  "
#define CR3_ADDRESS	0x000ffffffffff000ull

/* What there is to sum up */
enum kind { CR3_LOADS, CPUIDS, PAGE_FAULTS, FLUSHES, NR_KINDS };

static struct {
	unsigned long long count[NR_KINDS], shown[NR_KINDS];
	int64_t sum_time;
	uint64_t spaces[MAX_SPACES];	/* hash of page tables seen, 0 is free */
	unsigned int nspaces;
	struct { uint32_t function, index; } leaves[MAX_LEAVES];
	unsigned int nleaves;
} tally;

void tally_reset(void)
{
	memset(&tally, 0, sizeof(tally));
}

void tally_cr3(uint64_t cr3)
{
	unsigned int i = (cr3 >> 12) * 2654435761u % MAX_SPACES;

	tally.count[CR3_LOADS]++;
	cr3 &= CR3_ADDRESS;
	if (!cr3 || tally.nspaces == MAX_SPACES / 2)
		return;
	while (tally.spaces[i] && tally.spaces[i] != cr3)
		i = (i + 1) % MAX_SPACES;
	if (!tally.spaces[i])
		tally.nspaces++;
	tally.spaces[i] = cr3;
}

/* Returns true for a leaf that was not asked for before */
bool tally_cpuid(uint32_t function, uint32_t index)
{
	unsigned int i;

	tally.count[CPUIDS]++;
	if (!leaf_has_subleaves(function))
		index = 0;
	for (i = 0; i < tally.nleaves; i++)
		if (tally.leaves[i].function == function && tally.leaves[i].index == index)
			return false;
	if (tally.nleaves == MAX_LEAVES)
		return false;
	tally.leaves[tally.nleaves].function = function;
	tally.leaves[tally.nleaves++].index = index;
	return true;
}

void tally_page_faults(uint64_t n)
{
	tally.count[PAGE_FAULTS] += n;
}

void tally_flush(void)
{
	tally.count[FLUSHES]++;
}

static const char *plural(unsigned long long n)
{
	return n == 1 ? "" : "s";
}

static void print_sum(const struct tool *tool, enum kind kind)
{
	static const char *const names[] = {
		[CR3_LOADS] = "CR3", [CPUIDS] = "CPUID", [PAGE_FAULTS] = "#PF", [FLUSHES] = "CR4",
	};
	unsigned long long n = tally.count[kind];

	printf(SUM_LINE, session_seconds(tool), names[kind]);
	switch (kind) {
	case CR3_LOADS:
		printf("loaded %llu time%s so far, with %u%s page table%s\n", n, plural(n),
		       tally.nspaces, tally.nspaces == MAX_SPACES / 2 ? " or more" : "",
		       plural(tally.nspaces));
		break;
	case CPUIDS:
		printf("asked %llu time%s so far, for %u%s leaves and subleaves\n", n, plural(n),
		       tally.nleaves, tally.nleaves == MAX_LEAVES ? " or more" : "");
		break;
	case PAGE_FAULTS:
		printf("%llu page fault%s so far\n", n, plural(n));
		break;
	default:
		printf("PGE off and on again, to flush the TLB, %llu time%s so far\n", n,
		       plural(n));
	}
}

static void json_sum(const struct tool *tool, enum kind kind)
{
	unsigned long long n = tally.count[kind];

	printf("{\"time\":%.6f,\"event\":", session_seconds(tool));
	switch (kind) {
	case CR3_LOADS:
		printf("\"cr3\",\"loads\":%llu,\"spaces\":%u}\n", n, tally.nspaces);
		break;
	case CPUIDS:
		printf("\"cpuid-sum\",\"asked\":%llu,\"leaves\":%u}\n", n, tally.nleaves);
		break;
	case PAGE_FAULTS:
		printf("\"pf-sum\",\"faults\":%llu}\n", n);
		break;
	default:
		printf("\"flush-sum\",\"flushes\":%llu}\n", n);
	}
}

/* What has been counted since the last time, at most once a second unless @now */
void tally_print(const struct tool *tool, bool json, bool now)
{
	enum kind kind;

	if (!now && now_ns() - tally.sum_time < SUM_EVERY_NS)
		return;
	for (kind = 0; kind < NR_KINDS; kind++) {
		if (tally.count[kind] == tally.shown[kind])
			continue;
		if (json)
			json_sum(tool, kind);
		else
			print_sum(tool, kind);
		tally.shown[kind] = tally.count[kind];
		tally.sum_time = now_ns();
	}
}
