// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what it must not cost
 *
 * Counts only, nothing here depends on time.  kvmi_bench shows the whole price.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "kvmi_test_harness.h"
#include "kvmi_trace.h"
#include "kvmi_workload.h"

#define OPS	100

#define NO_WRITE	(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

/*
 * Exits of the guest for as many instructions, the fewest of three runs:
 * whatever the host does on its own, e.g. NMIs, can only add some.
 */
static u64 count_exits(struct kvm_vcpu *vcpu, enum kvmi_workload_op op)
{
	struct kvmi_workload_result result;
	u64 exits = ~0ull;
	int i;

	/* The first time KVM has to map memory. */
	kvmi_workload_run(vcpu, op, OPS, &result);
	for (i = 0; i < 3; i++) {
		kvmi_workload_run(vcpu, op, OPS, &result);
		exits = min(exits, result.exits);
	}
	return exits;
}

/* Count what all threads of this process do.  Return false without tracefs. */
static bool start_counting(void)
{
	pid_t threads[KVMI_TRACE_THREADS];
	int nr = kvmi_trace_threads_of(getpid(), threads, 0);

	if (!kvmi_trace_open(threads, nr))
		return false;
	kvmi_trace_start();
	return true;
}

static void stop_counting(struct kvmi_trace_counts *counts)
{
	kvmi_trace_stop(counts);
	kvmi_trace_close();
}

FIXTURE(kvmi_cost) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	u64 exits;
};

FIXTURE_VARIANT(kvmi_cost) {
	enum kvmi_workload_op op;
	u16 event;
	u8 cr;
	u32 msr;
};

FIXTURE_VARIANT_ADD(kvmi_cost, cpuid) {
	.op = OP_CPUID,
	.event = KVMI_VCPU_EVENT_CPUID,
};

FIXTURE_VARIANT_ADD(kvmi_cost, cr0) {
	.op = OP_CR0,
	.event = KVMI_VCPU_EVENT_CR,
	.cr = 0,
};

FIXTURE_VARIANT_ADD(kvmi_cost, cr3) {
	.op = OP_CR3,
	.event = KVMI_VCPU_EVENT_CR,
	.cr = 3,
};

FIXTURE_VARIANT_ADD(kvmi_cost, cr4) {
	.op = OP_CR4,
	.event = KVMI_VCPU_EVENT_CR,
	.cr = 4,
};

FIXTURE_VARIANT_ADD(kvmi_cost, msr) {
	.op = OP_MSR,
	.event = KVMI_VCPU_EVENT_MSR,
	.msr = MSR_LSTAR,
};

FIXTURE_VARIANT_ADD(kvmi_cost, hypercall) {
	.op = OP_HYPERCALL,
	.event = KVMI_VCPU_EVENT_HYPERCALL,
};

FIXTURE_VARIANT_ADD(kvmi_cost, breakpoint) {
	.op = OP_INT3,
	.event = KVMI_VCPU_EVENT_BREAKPOINT,
};

FIXTURE_VARIANT_ADD(kvmi_cost, trap) {
	.op = OP_UD2,
	.event = KVMI_VCPU_EVENT_TRAP,
};

FIXTURE_VARIANT_ADD(kvmi_cost, xsetbv) {
	.op = OP_XSETBV,
	.event = KVMI_VCPU_EVENT_XSETBV,
};

FIXTURE_VARIANT_ADD(kvmi_cost, descriptor) {
	.op = OP_SGDT,
	.event = KVMI_VCPU_EVENT_DESCRIPTOR,
};

FIXTURE_SETUP(kvmi_cost)
{
	self->vm = kvmi_workload_create(&self->vcpu);
	self->exits = count_exits(self->vcpu, variant->op);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_cost)
{
	if (self->s.fd >= 0)
		kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/*
 * Turn the event of the variant on or off.  What it is to be about stays chosen:
 * without the event that is nothing to leave the guest for.
 */
static void control(struct _test_data_kvmi_cost *self,
		    const struct _fixture_variant_kvmi_cost *variant, u8 enable)
{
	struct kvmi_workload_thread g = { .vcpu = self->vcpu, .op = OP_NONE };
	struct kvmi_session *s = &self->s;
	struct kvmi_event pause;

	TEST_ASSERT_KVMI(kvmi_pause(s, 0, 0), 0);
	kvmi_workload_start(&g);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_PAUSE, &pause);
	if (variant->event == KVMI_VCPU_EVENT_CR)
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, variant->cr, 1), 0);
	if (variant->event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, variant->msr, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, variant->event, enable), 0);
	kvmi_reply(s, &pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_workload_finish(&g);
}

static void set_rule(struct kvmi_session *s, u16 event, u8 verdict)
{
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rule;
	} req = {
		.hdr = { .event = event, .count = 1 },
		.rule.verdict = verdict,
	};

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, &req, sizeof(req), NULL, 0), 0);
}

/* A VM that is hooked has the exits of one that is not. */
KVMI_TEST(kvmi_cost, exits_hooked)
{
	TEST_ASSERT_EQ(count_exits(self->vcpu, variant->op), self->exits);
}

/* So has one of which the tool has heard enough. */
KVMI_TEST(kvmi_cost, exits_disabled)
{
	control(self, variant, 1);
	control(self, variant, 0);
	TEST_ASSERT_EQ(count_exits(self->vcpu, variant->op), self->exits);
}

/* Unhooking takes back what the tool had turned on. */
KVMI_TEST(kvmi_cost, exits_unhooked)
{
	control(self, variant, 1);
	kvmi_unhook(&self->s);
	TEST_ASSERT_EQ(count_exits(self->vcpu, variant->op), self->exits);
}

/*
 * A rule decides without another exit, and an exception that is allowed in any case
 * without any.
 */
KVMI_TEST(kvmi_cost, exits_by_rule)
{
	u64 exits;

	set_rule(&self->s, variant->event, KVMI_RULE_ALLOW);
	control(self, variant, 1);
	exits = count_exits(self->vcpu, variant->op);
	if (variant->event == KVMI_VCPU_EVENT_TRAP)
		TEST_ASSERT_EQ(exits, self->exits);
	/* One is that of the guest's end. */
	TEST_ASSERT(exits <= max(self->exits, OPS + 1ul), "%lu exits for %d instructions",
		    exits, OPS);
}

/* Receive an event, which is all there is to read, with one system call. */
static void get_event(struct kvmi_session *s, struct kvmi_event *ev)
{
	ssize_t n = recv(s->fd, ev, sizeof(*ev), 0);

	TEST_ASSERT(n == sizeof(ev->hdr) + ev->hdr.size,
		    "recv() returned %zd for a message of %u bytes", n,
		    ev->hdr.size);
	TEST_ASSERT_EQ(ev->hdr.id, KVMI_VCPU_EVENT);
}

/*
 * Whose counts are where: the tool's, the vCPU's, the receiver's, and those of
 * whatever thread KVM has besides
 */
enum { TOOL, VCPU, RECEIVER };

/* Count what goes on from one event until @n events later. */
static bool count_events(struct _test_data_kvmi_cost *self,
			 enum kvmi_workload_op op, u64 n,
			 struct kvmi_trace_counts *counts)
{
	struct kvmi_workload_thread g = { .vcpu = self->vcpu, .op = op, .ops = n + 1 };
	pid_t threads[KVMI_TRACE_THREADS], all[KVMI_TRACE_THREADS];
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	bool tracing;
	int nr, i, next = RECEIVER;

	kvmi_workload_start(&g);
	get_event(s, &ev);

	nr = kvmi_trace_threads_of(getpid(), all, 0);
	for (i = 0; i < nr; i++) {
		if (all[i] == getpid())
			threads[TOOL] = all[i];
		else if (all[i] == g.tid)
			threads[VCPU] = all[i];
		else
			threads[next++] = all[i];
	}
	TEST_ASSERT(nr == next && nr > RECEIVER, "%d threads", nr);
	tracing = kvmi_trace_open(threads, nr);
	if (tracing)
		kvmi_trace_start();
	for (i = 0; i < n; i++) {
		kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
		get_event(s, &ev);
	}
	if (tracing)
		stop_counting(counts);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_workload_finish(&g);
	return tracing;
}

FIXTURE(kvmi_event_cost) {
	struct _test_data_kvmi_cost cost;
	struct kvmi_trace_counts one, two;
};

FIXTURE_SETUP(kvmi_event_cost)
{
	const struct _fixture_variant_kvmi_cost cpuid = {
		.event = KVMI_VCPU_EVENT_CPUID,
	};
	struct _test_data_kvmi_cost *cost = &self->cost;

	cost->vm = kvmi_workload_create(&cost->vcpu);
	kvmi_hook(&cost->s, cost->vm);
	control(cost, &cpuid, 1);
	if (!count_events(cost, OP_CPUID, OPS, &self->one) ||
	    !count_events(cost, OP_CPUID, 2 * OPS, &self->two))
		SKIP(return, "Needs tracefs with events");
}

FIXTURE_TEARDOWN(kvmi_event_cost)
{
	kvmi_unhook(&self->cost.s);
	kvm_vm_free(self->cost.vm);
}

/* Of sending an event and waiting, but for the socket's buffer */
KVMI_TEST(kvmi_event_cost, vcpu_allocates_nothing)
{
	TEST_ASSERT(self->two.other_allocs[VCPU] < OPS,
		    "%lu allocations in %u events, e.g. in %s",
		    self->two.other_allocs[VCPU], 2 * OPS,
		    self->two.sites[0].name);
}

/* Of receiving the answer */
KVMI_TEST(kvmi_event_cost, receiver_allocates_nothing)
{
	u64 allocs = kvmi_trace_sum(self->two.other_allocs) -
		     self->two.other_allocs[TOOL] - self->two.other_allocs[VCPU];

	TEST_ASSERT(allocs < OPS, "%lu allocations in %u events, e.g. in %s",
		    allocs, 2 * OPS, self->two.sites[0].name);
}

/*
 * It is the vCPU's thread that reads the answer, unless the tool gets the CPU, and
 * answers, before that thread begins to wait.
 */
KVMI_TEST(kvmi_event_cost, receiver_sleeps)
{
	u64 wakeups = kvmi_trace_sum(self->two.wakeups) -
		      self->two.wakeups[TOOL] - self->two.wakeups[VCPU];

	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		SKIP(return, "A tool on another CPU may be faster");
	TEST_ASSERT(wakeups < OPS / 2, "%lu wake-ups in %d events", wakeups, 2 * OPS);
}

/* The tool gets the CPU, and then the vCPU. */
KVMI_TEST(kvmi_event_cost, two_switches)
{
	u64 switches = kvmi_trace_sum(self->two.switches);

	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		SKIP(return, "Threads need not take turns on several CPUs");
	/* The scheduler, too, may have a thread take turns. */
	TEST_ASSERT(switches <= 2 * OPS * 22 / 10, "%lu switches in %d events", switches,
		    2 * OPS);
}

/* One per direction is enough: an event is there as a whole. */
KVMI_TEST(kvmi_event_cost, tool_needs_two_syscalls)
{
	TEST_ASSERT_EQ(self->two.syscalls[TOOL] - self->one.syscalls[TOOL],
		       2 * OPS);
}

/* The vCPU stays in KVM_RUN. */
KVMI_TEST(kvmi_event_cost, vcpu_needs_no_syscall)
{
	TEST_ASSERT_EQ(self->two.syscalls[VCPU], 0);
}

/* Nobody is asked, and nobody woken. */
KVMI_TEST(kvmi_event_cost, rule_wakes_nobody)
{
	struct _test_data_kvmi_cost *cost = &self->cost;
	struct kvmi_workload_result result;
	struct kvmi_trace_counts counts;

	set_rule(&cost->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_ALLOW);
	TEST_ASSERT(start_counting(), "Cannot trace");
	kvmi_workload_run(cost->vcpu, OP_CPUID, KVMI_WORKLOAD_OPS, &result);
	stop_counting(&counts);
	TEST_ASSERT(kvmi_trace_sum(counts.wakeups) < OPS, "%lu wake-ups in %d events",
		    kvmi_trace_sum(counts.wakeups), KVMI_WORKLOAD_OPS);
	TEST_ASSERT(result.exits >= KVMI_WORKLOAD_OPS, "%lu exits", result.exits);
}

#define BATCH		64

/* Commands that are sent together are read, and replied to, at once. */
KVMI_TEST(kvmi_event_cost, batch_wakes_once)
{
	struct kvmi_session *s = &self->cost.s;
	struct kvmi_msg_hdr cmds[BATCH] = { };
	struct kvmi_get_version_reply rpl;
	struct kvmi_trace_counts counts;
	int i;

	for (i = 0; i < BATCH; i++)
		cmds[i] = (struct kvmi_msg_hdr) { .id = KVMI_GET_VERSION, .seq = i };
	TEST_ASSERT(start_counting(), "Cannot trace");
	kvmi_send(s, cmds, sizeof(cmds));
	for (i = 0; i < BATCH; i++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, i, &rpl,
						 sizeof(rpl)), 0);
	stop_counting(&counts);
	/* The receiver, and the tool */
	TEST_ASSERT(kvmi_trace_sum(counts.wakeups) <= 4, "%lu wake-ups for %d commands",
		    kvmi_trace_sum(counts.wakeups), BATCH);
}

/* Pages that the guest has in use when the tool restricts some of them */
#define PAGES		512

FIXTURE(kvmi_page_cost) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	u64 exits;
};

/* Writes to memory that KVM has yet to map, and to such that it has */
static u64 exits_of_writes(struct _test_data_kvmi_page_cost *self)
{
	struct kvmi_workload_result first, second;

	kvmi_workload_use_pages(self->vm, PAGES);
	kvmi_workload_unmap_memory(self->vm);
	kvmi_workload_run(self->vcpu, OP_WRITE, PAGES, &first);
	kvmi_workload_run(self->vcpu, OP_WRITE, PAGES, &second);
	return first.exits + second.exits;
}

FIXTURE_SETUP(kvmi_page_cost)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_workload_thread g;
	struct kvmi_event pause;

	self->vm = kvmi_workload_create(&self->vcpu);
	kvmi_workload_add_memory(self->vm, PAGES);
	exits_of_writes(self);
	self->exits = exits_of_writes(self);

	kvmi_hook(&self->s, self->vm);
	kvmi_get_features(&self->s, &features);
	if (!(features.access & KVMI_PAGE_ACCESS_W))
		SKIP(return, "Needs page access");

	g = (struct kvmi_workload_thread) { .vcpu = self->vcpu, .op = OP_NONE };
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_workload_start(&g);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_reply(&self->s, &pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_workload_finish(&g);
}

FIXTURE_TEARDOWN(kvmi_page_cost)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static u64 flushes(struct kvm_vm *vm)
{
	return vm_get_stat(vm, remote_tlb_flush_requests);
}

/* Every other page in use, and its access, with one command */
static void set_scattered(struct kvmi_session *s, u8 access)
{
	struct {
		struct kvmi_vm_set_page_access hdr;
		struct kvmi_page_access_entry entries[PAGES / 2];
	} req = { .hdr.count = PAGES / 2 };
	int i;

	for (i = 0; i < PAGES / 2; i++) {
		req.entries[i].gpa = KVMI_WORKLOAD_MEMORY + 2 * i * PAGE_SIZE;
		req.entries[i].access = access;
	}
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_PAGE_ACCESS, &req, sizeof(req),
				  NULL, 0), 0);
}

/* Without a restricted page, and without one any more */
KVMI_TEST(kvmi_page_cost, exits_hooked)
{
	TEST_ASSERT_EQ(exits_of_writes(self), self->exits);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, KVMI_WORKLOAD_MEMORY,
					      PAGES, NO_WRITE), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, KVMI_WORKLOAD_MEMORY,
					      PAGES, KVMI_PAGE_ACCESS_RWX), 0);
	TEST_ASSERT_EQ(exits_of_writes(self), self->exits);
}

/* Unhooking leaves nothing behind. */
KVMI_TEST(kvmi_page_cost, exits_unhooked)
{
	set_scattered(&self->s, NO_WRITE);
	kvmi_unhook(&self->s);
	TEST_ASSERT_EQ(exits_of_writes(self), self->exits);
	kvmi_hook(&self->s, self->vm);
}

/* Once, or more often if others want the MMU lock: not more often than each 2M */
KVMI_TEST(kvmi_page_cost, restrict_flushes)
{
	u64 flushed;

	exits_of_writes(self);
	flushed = flushes(self->vm);
	set_scattered(&self->s, NO_WRITE);
	flushed = flushes(self->vm) - flushed;
	TEST_ASSERT(flushed >= 1 && flushed <= PAGES / 512 + 1, "%lu flushes", flushed);
}

KVMI_TEST(kvmi_page_cost, relax_flushes_nothing)
{
	u64 before;

	exits_of_writes(self);
	set_scattered(&self->s, NO_WRITE);
	before = flushes(self->vm);
	set_scattered(&self->s, KVMI_PAGE_ACCESS_RWX);
	TEST_ASSERT_EQ(flushes(self->vm) - before, 0);
}

/* What a number of events took, apart from the first and the last of them */
struct page_events {
	struct kvmi_workload_result result;
	struct kvmi_trace_counts counts;
	u64 flushes;
	bool traced;
};

/*
 * How the tool lets the guest go on: in the same view, in another one by a command or
 * by flags of the answer, or for one instruction
 */
enum answer { ALLOW, COMMAND, SET_VIEW, STEP_IN_VIEW };

static void answer_page_event(struct kvmi_session *s, const struct kvmi_event *ev,
			      enum answer how)
{
	struct kvmi_vcpu_set_view req = { .view = !ev->pf.view };

	switch (how) {
	case ALLOW:
		kvmi_reply(s, ev, KVMI_EVENT_ACTION_ALLOW);
		break;
	case COMMAND:
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_VIEW, &req, sizeof(req),
					       NULL, 0), 0);
		kvmi_reply(s, ev, KVMI_EVENT_ACTION_RETRY);
		break;
	case SET_VIEW:
		kvmi_reply_flags(s, ev, KVMI_EVENT_ACTION_RETRY, KVMI_REPLY_SET_VIEW,
				 req.view);
		break;
	case STEP_IN_VIEW:
		kvmi_reply_flags(s, ev, KVMI_EVENT_ACTION_RETRY, KVMI_REPLY_STEP_IN_VIEW,
				 req.view);
		break;
	}
}

static void count_page_events(struct _test_data_kvmi_page_cost *self, u64 n,
			      enum answer how, struct page_events *events)
{
	struct kvmi_workload_thread g = {
		.vcpu = self->vcpu,
		.op = OP_WRITE,
		.ops = n,
	};
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	u64 i, before = 0;

	kvmi_workload_use_pages(self->vm, how == COMMAND || how == SET_VIEW ? 2 : 1);
	kvmi_workload_start(&g);
	for (i = 0; i < n; i++) {
		kvmi_wait_event(s, KVMI_VCPU_EVENT_PF, &ev);
		if (!i) {
			events->traced = start_counting();
			before = flushes(self->vm);
		}
		if (i + 1 == n) {
			events->flushes = flushes(self->vm) - before;
			if (events->traced)
				stop_counting(&events->counts);
		}
		answer_page_event(s, &ev, how);
	}
	kvmi_workload_finish(&g);
	events->result = g.result;
}

/* The event of a write: one event, two exits, nobody else is disturbed. */
KVMI_TEST(kvmi_page_cost, allow)
{
	struct page_events one, two;

	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, KVMI_WORKLOAD_MEMORY, 1,
					      NO_WRITE), 0);
	/* The first time KVM has to map memory. */
	count_page_events(self, OPS, ALLOW, &one);
	count_page_events(self, OPS, ALLOW, &one);
	count_page_events(self, 2 * OPS, ALLOW, &two);
	TEST_ASSERT(two.result.exits - one.result.exits <= 2 * OPS,
		    "%lu exits for %u events", two.result.exits - one.result.exits,
		    OPS);
	TEST_ASSERT_EQ(two.flushes, 0);
	if (two.traced)
		TEST_ASSERT_EQ(two.counts.kvm_ipis, 0);
}

static void create_view(struct kvmi_session *s)
{
	struct kvmi_vm_create_view_reply rpl;
	struct kvmi_vm_create_view req = {};

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CREATE_VIEW, &req, sizeof(req), &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.view, 1);
}

/* An answer that switches views: the exit of the event is the only one. */
static void count_switches_of_views(struct _test_data_kvmi_page_cost *self,
				    enum answer how)
{
	struct page_events one, two;

	create_view(&self->s);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, KVMI_WORKLOAD_MEMORY, 1,
					      NO_WRITE), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 1, KVMI_WORKLOAD_MEMORY +
					      PAGE_SIZE, 1, NO_WRITE), 0);
	count_page_events(self, OPS, how, &one);
	count_page_events(self, OPS, how, &one);
	count_page_events(self, 2 * OPS, how, &two);
	TEST_ASSERT_EQ(two.result.exits - one.result.exits, OPS);
	TEST_ASSERT_EQ(two.flushes, 0);
}

KVMI_TEST(kvmi_page_cost, switch_views)
{
	count_switches_of_views(self, COMMAND);
}

KVMI_TEST(kvmi_page_cost, switch_views_by_answer)
{
	count_switches_of_views(self, SET_VIEW);
}

/* One instruction in another view, as at a hidden breakpoint: one event, two exits */
KVMI_TEST(kvmi_page_cost, step_in_view)
{
	struct kvmi_vm_get_features_reply features;
	struct page_events one, two;

	kvmi_get_features(&self->s, &features);
	if (!(features.flags & KVMI_FEATURE_SINGLESTEP))
		SKIP(return, "No single-stepping");
	create_view(&self->s);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, KVMI_WORKLOAD_MEMORY, 1,
					      NO_WRITE), 0);
	count_page_events(self, OPS, STEP_IN_VIEW, &one);
	count_page_events(self, OPS, STEP_IN_VIEW, &one);
	count_page_events(self, 2 * OPS, STEP_IN_VIEW, &two);
	TEST_ASSERT(two.result.exits - one.result.exits <= 2 * OPS,
		    "%lu exits for %u events", two.result.exits - one.result.exits, OPS);
	TEST_ASSERT_EQ(two.flushes, 0);
}

/* Without an event, and as cheap in exits */
KVMI_TEST(kvmi_page_cost, rule)
{
	struct kvmi_workload_result one, two;

	set_rule(&self->s, KVMI_VCPU_EVENT_PF, KVMI_RULE_ALLOW);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, KVMI_WORKLOAD_MEMORY, 1,
					      NO_WRITE), 0);
	kvmi_workload_use_pages(self->vm, 1);
	kvmi_workload_run(self->vcpu, OP_WRITE, OPS, &one);
	kvmi_workload_run(self->vcpu, OP_WRITE, OPS, &one);
	kvmi_workload_run(self->vcpu, OP_WRITE, 2 * OPS, &two);
	TEST_ASSERT(two.exits - one.exits <= 2 * OPS, "%lu exits for %u writes",
		    two.exits - one.exits, OPS);
	TEST_ASSERT(two.exits - one.exits >= OPS, "%lu exits for %u writes",
		    two.exits - one.exits, OPS);
}

/* Pages of which no two that are restricted are neighbours share what is allocated. */
KVMI_TEST(kvmi_page_cost, isolated_pages_share_memory)
{
	struct kvmi_trace_counts counts;

	if (!start_counting())
		SKIP(return, "Needs tracefs with events");
	set_scattered(&self->s, NO_WRITE);
	stop_counting(&counts);
	TEST_ASSERT(kvmi_trace_sum(counts.other_allocs) < PAGES / 16,
		    "%lu allocations for %d pages, e.g. in %s",
		    kvmi_trace_sum(counts.other_allocs), PAGES / 2, counts.sites[0].name);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
