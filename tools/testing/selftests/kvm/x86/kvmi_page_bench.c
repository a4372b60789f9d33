// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what page access, its events and views cost
 *
 * Not a test: nothing here passes or fails by a number; kvmi_cost_test does.
 *
 * Ticks are those of the TSC; an emulator may make these instructions.  All other
 * columns are exact counts.  They come from KVM's statistics and the kernel's
 * tracepoints, in a run of their own.
 *
 * Documentation/virt/kvm/introspection/cost.rst describes the columns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/membarrier.h>

#include "kvmi_trace.h"
#include "kvmi_util.h"
#include "kvmi_view.h"
#include "kvmi_workload.h"

/* What is restricted is every other page, or as many in a row. */
#define MANY_PAGES	100000ul
#define MEMORY_PAGES	(2 * MANY_PAGES)

/* The trace has room for what few commands do. */
#define TRACED_MESSAGES	2

#define NO_WRITE	(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)
#define NO_EXEC		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W)
#define NO_READ		0

static struct kvm_vcpu *vcpu;
static struct kvmi_session s;
static bool tracing;

/* Of the threads that there are now */
static void trace_start(void)
{
	pid_t threads[KVMI_TRACE_THREADS];
	int nr = kvmi_trace_threads_of(getpid(), threads, 0);

	tracing = kvmi_trace_open(threads, nr);
	if (tracing)
		kvmi_trace_start();
}

static void trace_stop(struct kvmi_trace_counts *counts)
{
	if (!tracing)
		return;
	kvmi_trace_stop(counts);
	kvmi_trace_close();
}

static void print_traced(double count)
{
	if (tracing)
		printf(" %9.2f", count);
	else
		printf(" %9s", "-");
}

static u64 flushes(void)
{
	return vm_get_stat(s.vm, remote_tlb_flush_requests);
}

/* In bytes, without what only waits for a grace period to be freed */
static u64 slab_size(void)
{
	char line[128];
	u64 kb = 0;
	FILE *f;
	int i;

	for (i = 0; i < 3; i++)
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	f = fopen("/proc/meminfo", "r");
	TEST_ASSERT(f, "Cannot read meminfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Slab: %lu", &kb) == 1)
			break;
	}
	fclose(f);
	return kb * 1024;
}

static void set_access(u16 view, u64 page, u64 npages, u8 access)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&s, view, KVMI_WORKLOAD_MEMORY +
					      page * PAGE_SIZE, npages, access), 0);
}

/* Every other page, as many in a message as there is room for */
static void set_scattered(u64 npages, u8 access)
{
	struct kvmi_page_entries msg = {};
	u64 page;

	for (page = 0; page < npages; page++) {
		msg.entries[msg.hdr.count++] = (struct kvmi_page_access_entry) {
			.gpa = KVMI_WORKLOAD_MEMORY + 2 * page * PAGE_SIZE,
			.access = access,
		};
		if (msg.hdr.count < KVMI_MAX_ENTRIES && page + 1 < npages)
			continue;
		TEST_ASSERT_KVMI(kvmi_set_page_entries(&s, &msg), 0);
		msg.hdr.count = 0;
	}
}

/* Have the guest's pages mapped, as many as it can use. */
static void map_pages(void)
{
	struct kvmi_workload_result result;

	kvmi_workload_use_pages(s.vm, KVMI_WORKLOAD_OPS);
	kvmi_workload_run(vcpu, OP_READ, KVMI_WORKLOAD_OPS, &result);
	kvmi_workload_run(vcpu, OP_WRITE, KVMI_WORKLOAD_OPS, &result);
	kvmi_workload_use_pages(s.vm, 1);
}

struct set {
	const char *name;
	u64 npages;
	bool scattered;
};

static const struct set sets[] = {
	{ "1 page", 1 },
	{ "1,000 pages in one range", 1000 },
	{ "1,000 ranges of one page", 1000, true },
	{ "100,000 pages in one range", MANY_PAGES },
	{ "100,000 ranges of one page", MANY_PAGES, true },
};

static void set_pages(const struct set *set, u8 access)
{
	if (set->scattered)
		set_scattered(set->npages, access);
	else
		set_access(0, 0, set->npages, access);
}

struct set_cost {
	u64 ticks;
	u64 flushed;
	s64 slab;
	u64 allocs;
};

static void measure_set(const struct set *set, u8 access, struct set_cost *cost)
{
	u64 slab = slab_size(), flushed = flushes(), start = rdtsc();

	set_pages(set, access);
	cost->ticks = rdtsc() - start;
	cost->flushed = flushes() - flushed;
	cost->slab = slab_size() - slab;
}

static void trace_set(const struct set *set, u8 access, struct set_cost *cost)
{
	struct kvmi_trace_counts counts = {};

	trace_start();
	set_pages(set, access);
	trace_stop(&counts);
	cost->allocs = kvmi_trace_sum(counts.other_allocs);
}

static void print_set(const struct set *set, const char *what, u64 messages,
		      const struct set_cost *cost)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", set->name, what);
	printf("%-40s %8lu %12lu %10.1f %8lu", name, messages, cost->ticks,
	       (double)cost->ticks / set->npages, cost->flushed);
	if (messages <= TRACED_MESSAGES)
		print_traced(cost->allocs);
	else
		printf(" %9s", "-");
	if (set->npages == MANY_PAGES && cost->slab > 0)
		printf(" %9.1f", (double)cost->slab / set->npages);
	printf("\n");
}

static void print_sets(void)
{
	struct set_cost without, again;
	u64 messages;
	int i;

	printf("\n%-40s %8s %12s %10s %8s %9s %9s\n", "VM_SET_PAGE_ACCESS",
	       "messages", "ticks", "per page", "flushes", "allocs", "B/page");
	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		map_pages();
		measure_set(&sets[i], NO_WRITE, &without);
		measure_set(&sets[i], KVMI_PAGE_ACCESS_RWX, &again);

		messages = sets[i].scattered ?
			   DIV_ROUND_UP(sets[i].npages, KVMI_MAX_ENTRIES) : 1;
		if (messages <= TRACED_MESSAGES) {
			map_pages();
			trace_set(&sets[i], NO_WRITE, &without);
			trace_set(&sets[i], KVMI_PAGE_ACCESS_RWX, &again);
		}
		print_set(&sets[i], ": no W", messages, &without);
		print_set(&sets[i], ": RWX", messages, &again);
	}
}

/* Events of pages */

struct row {
	const char *name;
	enum kvmi_workload_op op;
	/* Of the page; the events come if it is not KVMI_PAGE_ACCESS_RWX. */
	u8 access;
	u8 action;
	/* Two views, each with the page that the other has not */
	bool switch_views;
	/* Of the reply; instead of commands */
	u32 flags;
	/* A rule allows it. */
	bool rule;
};

static const struct row rows[] = {
	{ "read, no restriction", OP_READ, KVMI_PAGE_ACCESS_RWX },
	{ "write, no restriction", OP_WRITE, KVMI_PAGE_ACCESS_RWX },
	{ "read of a page without W", OP_READ, NO_WRITE,
	  KVMI_EVENT_ACTION_CRASH },
	{ "PF, write, ALLOW", OP_WRITE, NO_WRITE, KVMI_EVENT_ACTION_ALLOW },
	{ "PF, write, SKIP", OP_WRITE, NO_WRITE, KVMI_EVENT_ACTION_SKIP },
	{ "PF, read, ALLOW", OP_READ, NO_READ, KVMI_EVENT_ACTION_ALLOW },
	{ "PF, fetch, ALLOW", OP_CALL, NO_EXEC, KVMI_EVENT_ACTION_ALLOW },
	{ "PF, SET_VIEW, RETRY", OP_WRITE, NO_WRITE, KVMI_EVENT_ACTION_RETRY,
	  true },
	{ "PF, RETRY with SET_VIEW", OP_WRITE, NO_WRITE, KVMI_EVENT_ACTION_RETRY,
	  true, .flags = KVMI_REPLY_SET_VIEW },
	{ "PF, RETRY with STEP_IN_VIEW", OP_WRITE, NO_WRITE,
	  KVMI_EVENT_ACTION_RETRY, .flags = KVMI_REPLY_STEP_IN_VIEW },
	{ "PF, write, rule: ALLOW", OP_WRITE, NO_WRITE, .rule = true },
};

static int set_view(u16 view)
{
	struct kvmi_vcpu_set_view req = { .view = view };

	return kvmi_vcpu_cmd(&s, 0, KVMI_VCPU_SET_VIEW, &req, sizeof(req), NULL, 0);
}

static void set_rule(u16 count)
{
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rule;
	} req = {
		.hdr = { .event = KVMI_VCPU_EVENT_PF, .count = count },
		.rule.verdict = KVMI_RULE_ALLOW,
	};

	TEST_ASSERT_KVMI(kvmi_cmd(&s, KVMI_VM_SET_RULES, &req,
				  sizeof(req.hdr) + count * sizeof(req.rule),
				  NULL, 0), 0);
}

static bool has_events(const struct row *row)
{
	return !row->rule && row->access != KVMI_PAGE_ACCESS_RWX &&
	       row->action != KVMI_EVENT_ACTION_CRASH;
}

struct sample {
	u64 flushed;
	struct kvmi_workload_result result;
	struct kvmi_trace_counts counts;
};

/* Traced from the first event on, when the thread of the vCPU is there */
static void take_sample(const struct row *row, u64 n, bool traced,
			struct sample *sample)
{
	struct kvmi_workload_thread t = { .vcpu = vcpu, .op = row->op, .ops = n };
	struct kvmi_event ev;
	u64 i;

	traced &= has_events(row);
	memset(sample, 0, sizeof(*sample));
	sample->flushed = flushes();
	kvmi_workload_start(&t);
	for (i = 0; has_events(row) && i < n; i++) {
		kvmi_wait_event(&s, KVMI_VCPU_EVENT_PF, &ev);
		if (traced && !i)
			trace_start();
		if (row->flags) {
			kvmi_reply_flags(&s, &ev, row->action, row->flags, !ev.pf.view);
			continue;
		}
		if (row->switch_views)
			TEST_ASSERT_KVMI(set_view(!ev.pf.view), 0);
		kvmi_reply(&s, &ev, row->action);
	}
	kvmi_workload_finish(&t);
	if (traced)
		trace_stop(&sample->counts);
	sample->flushed = flushes() - sample->flushed;
	sample->result = t.result;
}

static double per_op(u64 one, u64 two, u64 n)
{
	return ((double)two - (double)one) / n;
}

/* As in kvmi_bench: a run of twice as many operations less one of them */
static void print_row(const struct row *row, u64 n)
{
	static struct sample untraced, one, two;

	kvmi_workload_use_pages(s.vm, row->switch_views ? 2 : 1);
	set_access(0, 0, 1, row->access);
	if (row->switch_views)
		set_access(1, 1, 1, row->access);
	if (row->rule)
		set_rule(1);

	take_sample(row, 2 * n, false, &untraced);
	take_sample(row, n, true, &one);
	take_sample(row, 2 * n, true, &two);
	printf("%-40s %8lu %8.2f %8.2f", row->name, untraced.result.ticks,
	       per_op(one.result.exits, two.result.exits, n),
	       per_op(one.flushed, two.flushed, n));
	print_traced(per_op(one.counts.kvm_ipis, two.counts.kvm_ipis, n));
	print_traced(per_op(kvmi_trace_sum(one.counts.switches),
			    kvmi_trace_sum(two.counts.switches), n));
	print_traced(per_op(kvmi_trace_sum(one.counts.other_allocs),
			    kvmi_trace_sum(two.counts.other_allocs), n));
	printf("\n");

	set_access(0, 0, 1, KVMI_PAGE_ACCESS_RWX);
	if (row->switch_views)
		set_access(1, 1, 1, KVMI_PAGE_ACCESS_RWX);
	if (row->rule)
		set_rule(0);
}

static void control_pf(void)
{
	struct kvmi_workload_thread t = { .vcpu = vcpu, .op = OP_NONE };
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(kvmi_pause(&s, 0, 0), 0);
	kvmi_workload_start(&t);
	kvmi_wait_event(&s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_reply(&s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_workload_finish(&t);
}

static void print_rows(u64 n, u32 access)
{
	struct kvmi_vm_create_view req = {};
	struct kvmi_vm_create_view_reply rpl;
	int i;

	TEST_ASSERT_KVMI(kvmi_cmd(&s, KVMI_VM_CREATE_VIEW, &req, sizeof(req), &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.view, 1);
	control_pf();

	printf("\n%-40s %8s %8s %8s %9s %9s %9s\n", "access of the guest", "ticks",
	       "exits", "flushes", "IPIs", "switches", "allocs");
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].access & KVMI_PAGE_ACCESS_R ||
		    access & KVMI_PAGE_ACCESS_R)
			print_row(&rows[i], n);
		else
			printf("%-40s cannot be restricted here\n", rows[i].name);
	}
}

/* The same writes to memory that is not mapped yet */
static u64 exits_of_workload(void)
{
	struct kvmi_workload_result result;

	kvmi_workload_use_pages(s.vm, KVMI_WORKLOAD_OPS);
	kvmi_workload_unmap_memory(s.vm);
	kvmi_workload_run(vcpu, OP_WRITE, KVMI_WORKLOAD_OPS, &result);
	return result.exits;
}

static void print_unhook(const char *name, u64 npages)
{
	u64 ticks, flushed;

	map_pages();
	if (npages)
		set_scattered(npages, NO_WRITE);
	flushed = flushes();
	ticks = rdtsc();
	TEST_ASSERT(!__kvmi_unhook(s.vm), "Cannot unhook");
	ticks = rdtsc() - ticks;
	kvmi_close(&s);
	printf("%-40s %12lu %8lu\n", name, ticks, flushes() - flushed);
}

static void bench(u64 n)
{
	struct kvmi_vm_get_features_reply features;
	u64 exits;

	kvmi_workload_add_memory(s.vm, MEMORY_PAGES);
	exits = exits_of_workload();
	exits = exits_of_workload();

	kvmi_hook(&s, s.vm);
	kvmi_get_features(&s, &features);
	printf("Exits of %u writes to new pages: %lu, hooked %lu\n",
	       KVMI_WORKLOAD_OPS, exits, exits_of_workload());
	if (!(features.access & KVMI_PAGE_ACCESS_W)) {
		printf("This host has no page access\n");
		kvmi_unhook(&s);
		return;
	}
	print_sets();
	print_rows(n, features.access);

	printf("\n%-40s %12s %8s\n", "unhook", "ticks", "flushes");
	print_unhook("with two views and no restriction", 0);
	kvmi_hook(&s, s.vm);
	print_unhook("with 100,000 restricted pages", MANY_PAGES);
	printf("Exits of the writes after unhooking: %lu\n", exits_of_workload());
}

int main(int argc, char *argv[])
{
	u64 n = 100;
	int opt;

	while ((opt = getopt(argc, argv, "n:")) != -1) {
		if (opt != 'n') {
			printf("usage: %s [-n OPERATIONS]\n", argv[0]);
			return 1;
		}
		n = atoi_positive("Number of operations", optarg);
	}
	TEST_ASSERT(n >= 2 && n <= KVMI_WORKLOAD_OPS / 2,
		    "From 2 to %u operations", KVMI_WORKLOAD_OPS / 2);
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	setvbuf(stdout, NULL, _IOLBF, 0);
	s.vm = kvmi_workload_create(&vcpu);
	bench(n);
	kvm_vm_free(s.vm);
	return 0;
}
