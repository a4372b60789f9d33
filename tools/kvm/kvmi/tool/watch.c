// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi watch: what the guest does that KVM can tell, live.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "tool.h"

#define MAX_MSRS	64
#define MAX_LEAVES	64
#define MAX_RANGES	64
#define MAX_EVENT_ID	63
#define CR4_PGE		(1ull << 7)
#define PF_VECTOR	14
#define ANY_CPL		0xf

/* The MSRs that say where system calls enter the kernel, and EFER */
static const uint32_t default_msrs[] = {
	0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176,
};

static struct {
	uint64_t events;		/* bit n: the event with id n was asked for */
	bool all;			/* of the others, those that can be had */
	bool cr[5];
	uint32_t msrs[MAX_MSRS];
	unsigned int nmsrs;
	uint32_t traps, traps_named;	/* bit n: exception n, and not by "all" */
	uint32_t leaves[MAX_LEAVES];	/* of CPUID, all without one */
	unsigned int nleaves;
	uint32_t descriptors;		/* bit n: KVMI_DESC_ n */
	struct { uint64_t gpa, size; } ranges[MAX_RANGES];
	unsigned int nranges;
	uint8_t actions[MAX_EVENT_ID + 1];
	bool json, cr3_all, cpuid_all;
	bool no_wait, explain;

	unsigned long long seen;
	uint64_t missing;		/* events that --all cannot have, told already */
	bool restricted;		/* the ranges are, for all vCPUs */
	bool ruled;			/* so are the rules */
	uint64_t faults_counted;	/* by the kernel, told already */
	/* CR4.PGE was cleared, not told yet: if it is set next, it was a flush */
	bool pge_off;
	struct kint_event pge_event;
} watch;

static bool wanted(uint16_t id)
{
	return watch.events >> id & 1;
}

static int arm_msrs(struct tool *tool, uint16_t vcpu)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < watch.nmsrs && !err; i++)
		err = kint_control_msr(tool->conn, vcpu, watch.msrs[i], true);
	return err;
}

static int arm_crs(struct tool *tool, uint16_t vcpu)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < 5 && !err; i++)
		if (watch.cr[i])
			err = kint_control_cr(tool->conn, vcpu, i, true);
	return err;
}

static int arm_ranges(struct tool *tool)
{
	const uint8_t left = KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X;
	unsigned int i;
	int err;

	if (watch.restricted)
		return 0;
	watch.restricted = true;
	err = check_access(tool, left);
	for (i = 0; i < watch.nranges && !err; i++)
		err = restrict_pages(tool, watch.ranges[i].gpa, watch.ranges[i].size, left);
	return err;
}

/* Whether an event is missing because it cannot be had here */
static bool unavailable(int err)
{
	return err == -EPERM || err == -EINVAL || err == -EOPNOTSUPP || err == -EBUSY;
}

static const char *why_unavailable(int err)
{
	switch (err) {
	case -EINVAL:
		return "the host's kernel does not have it";
	case -EBUSY:
		return "in use by a debugger of the device manager";
	default:
		return explain(err);
	}
}

static int arm_event(struct tool *tool, uint16_t vcpu, uint16_t id)
{
	int err = 0;

	tool->doing = event_name(id);
	if (id == KVMI_VCPU_EVENT_CR)
		err = arm_crs(tool, vcpu);
	else if (id == KVMI_VCPU_EVENT_MSR)
		err = arm_msrs(tool, vcpu);
	else if (id == KVMI_VCPU_EVENT_PF)
		err = arm_ranges(tool);
	if (!err)
		err = turn_event_on(tool, vcpu, id);
	if (!err || !unavailable(err))
		return err;
	if (wanted(id)) {
		error("vCPU %u: %s: %s", vcpu, event_name(id), why_unavailable(err));
		return MONITOR_TOLD;
	}
	if (!(watch.missing >> id & 1))
		error("%s is not watched: %s", event_name(id), why_unavailable(err));
	watch.missing |= 1ull << id;
	return 0;
}

/* All but PF, for which --all is no reason */
static const uint16_t watchable[] = {
	KVMI_VCPU_EVENT_CR, KVMI_VCPU_EVENT_MSR, KVMI_VCPU_EVENT_XSETBV,
	KVMI_VCPU_EVENT_HYPERCALL, KVMI_VCPU_EVENT_BREAKPOINT,
	KVMI_VCPU_EVENT_DESCRIPTOR, KVMI_VCPU_EVENT_CPUID, KVMI_VCPU_EVENT_TRAP,
};

/* Not if they were asked for by name */
static bool counts_page_faults(void)
{
	return watch.traps & ~watch.traps_named & 1u << PF_VECTOR;
}

/* Exceptions that nobody asked for, which do not even make the vCPU exit then */
static void allow_traps(struct rule_list *list)
{
	unsigned int first, nr;

	for (nr = 0; nr < NR_EXCEPTIONS; nr++) {
		if (watch.traps >> nr & 1)
			continue;
		for (first = nr; nr + 1 < NR_EXCEPTIONS && !(watch.traps >> (nr + 1) & 1); nr++)
			;
		rules_add_numbers(list, RULE_ALLOWS, KVMI_RULE_ALLOW, first, nr);
	}
	if (list->n)
		rules_reason(list, "exceptions that --trap has not: they do not leave the guest");
}

/* Page faults that have no line: any condition makes the kernel count them */
static void count_page_faults(struct rule_list *list)
{
	struct kvmi_rule *rule;

	if (!counts_page_faults() || watch.actions[KVMI_VCPU_EVENT_TRAP])
		return;
	rule = rules_add_numbers(list, RULE_COUNTS, KVMI_RULE_ALLOW, PF_VECTOR, PF_VECTOR);
	rule->match |= KVMI_MATCH_CPL;
	rule->cpls = ANY_CPL;
	rules_reason(list, "page faults: the kernel counts them, as they have no lines");
}

static void allow_descriptors(struct rule_list *list)
{
	struct kvmi_rule *rule;
	unsigned int i;

	for (i = KVMI_DESC_IDTR; i <= KVMI_DESC_TR; i++) {
		if (watch.descriptors >> i & 1)
			continue;
		rule = rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
		rule->match = KVMI_MATCH_KIND;
		rule->kinds = 1u << i | 1u << (i + KVMI_KIND_WRITE_SHIFT);
	}
	if (list->n)
		rules_reason(list, "tables that --descriptor has not");
}

/* Why the tool has to be asked about what is asked for */
static void explain_asking(uint16_t id, struct rule_list *list)
{
	const char *why = "asked about, as the guest waits until it is shown; see --no-wait";

	if (watch.actions[id])
		why = "--action: asked about, as each has a line before it is refused";
	else if (watch.no_wait)
		why = "--no-wait: the guest goes on while it is shown";
	else if (id == KVMI_VCPU_EVENT_CR && watch.cr[3] && !watch.cr3_all)
		why = "asked about, CR3 to count page tables; see --no-wait";
	rules_reason(list, "%s", why);
}

/* What passes() would let pass without a look, and what the guest need not wait for */
static void make_rules(uint16_t id, struct rule_list *list)
{
	bool notify = watch.no_wait && !watch.actions[id];
	enum rule_tag tag = notify ? RULE_ALLOWS : RULE_ASKS;
	unsigned int i;

	rules_new(list);
	if (id == KVMI_VCPU_EVENT_TRAP) {
		allow_traps(list);
		count_page_faults(list);
	}
	if (id == KVMI_VCPU_EVENT_DESCRIPTOR)
		allow_descriptors(list);
	if (id == KVMI_VCPU_EVENT_CPUID && watch.nleaves) {
		for (i = 0; i < watch.nleaves; i++)
			rules_add_numbers(list, tag, notify ? KVMI_RULE_NOTIFY : KVMI_RULE_ASK,
					  watch.leaves[i], watch.leaves[i]);
		rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
		rules_reason(list, "leaves that --cpuid has not");
	} else if (notify) {
		rules_add(list, tag, KVMI_RULE_NOTIFY);
	}
	explain_asking(id, list);
}

static int set_rules_of(struct tool *tool, uint16_t id)
{
	struct rule_list list;
	int err;

	make_rules(id, &list);
	err = rules_set(tool, id, &list);
	if (!err && watch.explain && !watch.json)
		rules_explain(id, &list);
	return err;
}

static int set_rules(struct tool *tool)
{
	unsigned int i;
	int err = 0;

	watch.ruled = true;
	if (watch.no_wait && !rules_available()) {
		error("--no-wait: " NO_RULES);
		return MONITOR_TOLD;
	}
	for (i = 0; i < sizeof(watchable) / sizeof(watchable[0]) && !err; i++)
		if (wanted(watchable[i]) || watch.all)
			err = set_rules_of(tool, watchable[i]);
	if (!err && wanted(KVMI_VCPU_EVENT_PF))
		err = set_rules_of(tool, KVMI_VCPU_EVENT_PF);
	return err;
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	const uint16_t *ids = watchable;
	unsigned int i;
	int err = 0;

	if (!watch.ruled)
		err = set_rules(tool);
	for (i = 0; i < sizeof(watchable) / sizeof(watchable[0]) && !err; i++)
		if (wanted(ids[i]) || watch.all)
			err = arm_event(tool, vcpu, ids[i]);
	if (!err && wanted(KVMI_VCPU_EVENT_PF))
		err = arm_event(tool, vcpu, KVMI_VCPU_EVENT_PF);
	return err;
}

static const char *verdict_of(unsigned int action)
{
	return action == KVMI_EVENT_ACTION_SKIP ? "skipped" :
	       action == KVMI_EVENT_ACTION_CRASH ? "crashed" : NULL;
}

static void show(struct tool *tool, const struct kint_event *event)
{
	const char *verdict = verdict_of(watch.actions[event->id]);

	if (!rate_allows())
		return;
	who_look(tool, event);
	if (watch.json) {
		json_event(stdout, tool, event, verdict);
		return;
	}
	printf("%9.3f  vCPU %u  ", session_seconds(tool), event->common.vcpu);
	print_who(stdout);
	print_event(stdout, event);
	if (verdict)
		printf(", %s", verdict);
	putchar('\n');
}

/*
 * A kernel flushes the TLB by clearing CR4.PGE and setting it again at once.
 * Returns true if the event is one half of that, which is counted.
 */
static bool is_flush(struct tool *tool, const struct kint_event *event)
{
	bool only_pge = event->id == KVMI_VCPU_EVENT_CR && event->cr.cr == 4 &&
			(event->cr.old_value ^ event->cr.new_value) == CR4_PGE;
	bool off = only_pge && (event->cr.old_value & CR4_PGE);

	if (watch.pge_off && watch.pge_event.common.vcpu == event->common.vcpu) {
		watch.pge_off = false;
		if (only_pge && !off) {
			tally_flush();
			return true;
		}
		show(tool, &watch.pge_event);
	}
	if (!off || watch.pge_off)
		return false;
	watch.pge_off = true;
	watch.pge_event = *event;
	/* When it is shown the vCPU may run another process */
	watch.pge_event.notified = true;
	return true;
}

/* Events come for all leaves, exceptions and tables: is it one asked for? */
static bool passes(const struct kint_event *event)
{
	unsigned int i;

	switch (event->id) {
	case KVMI_VCPU_EVENT_TRAP:
		return event->trap.nr >= NR_EXCEPTIONS || watch.traps >> event->trap.nr & 1;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		return event->descriptor.descriptor > KVMI_DESC_TR ||
		       watch.descriptors >> event->descriptor.descriptor & 1;
	case KVMI_VCPU_EVENT_CPUID:
		for (i = 0; i < watch.nleaves; i++)
			if (watch.leaves[i] == event->cpuid.function)
				return true;
		return !watch.nleaves;
	default:
		return true;
	}
}

/* Returns true for what is summed up once a second and has no line of its own */
static bool only_counted(const struct kint_event *event)
{
	switch (event->id) {
	case KVMI_VCPU_EVENT_CR:
		if (event->cr.cr != 3 || watch.cr3_all)
			return false;
		tally_cr3(event->cr.new_value);
		return true;
	case KVMI_VCPU_EVENT_CPUID:
		if (watch.cpuid_all)
			return false;
		return !tally_cpuid(event->cpuid.function, event->cpuid.index);
	case KVMI_VCPU_EVENT_TRAP:
		if (event->trap.nr != PF_VECTOR || !counts_page_faults())
			return false;
		tally_page_faults(1);
		return true;
	default:
		return false;
	}
}

/* Nobody waits for a reply to what was only notified */
static int answer(struct tool *tool, const struct kint_event *event, unsigned int action)
{
	return event->notified ? 0 : kint_reply(tool->conn, event, action);
}

static int on_event(struct tool *tool, const struct kint_event *event)
{
	if (event->id > MAX_EVENT_ID || !passes(event))
		return answer(tool, event, KVMI_EVENT_ACTION_ALLOW);

	watch.seen++;
	/* What the guest was denied is worth a line, and not only a count */
	if (watch.actions[event->id] ||
	    (!only_counted(event) && (watch.json || !is_flush(tool, event))))
		show(tool, event);
	return answer(tool, event, watch.actions[event->id]);
}

static void on_created(struct tool *tool, const struct kint_event *event)
{
	if (!wanted(KVMI_VCPU_EVENT_CREATE_VCPU) && !watch.all)
		return;
	watch.seen++;
	show(tool, event);
}

static void on_begin(struct tool *tool)
{
	watch.seen = 0;
	watch.missing = 0;
	watch.restricted = false;
	watch.ruled = false;
	watch.faults_counted = 0;
	watch.pge_off = false;
	process_begin();
	tally_reset();
	rate_begin();
	if (watch.json) {
		json_session(stdout, tool);
		return;
	}
	printf("watching ");
	session_describe(tool, stdout);
}

/* Those that the kernel has counted since the last time */
static void tally_counted_faults(void)
{
	uint64_t n = rules_hits(RULE_COUNTS);

	tally_page_faults(n - watch.faults_counted);
	watch.faults_counted = n;
}

static int on_tick(struct tool *tool)
{
	tally_counted_faults();
	tally_print(tool, watch.json, false);
	rate_print(tool, watch.json, false);
	return 0;
}

static void on_end(struct tool *tool, const char *why)
{
	if (watch.pge_off)
		show(tool, &watch.pge_event);
	tally_counted_faults();
	tally_print(tool, watch.json, true);
	rate_print(tool, watch.json, true);
	if (!watch.json)
		printf("%9.3f  end after %llu events", session_seconds(tool), watch.seen);
	rules_print_end(tool, watch.json);
	if (watch.json)
		json_end(stdout, tool, why);
	else
		printf(": %s\n", why);
	rules_tell_lost();
}

static bool add_cr(const char *cr)
{
	if (strcmp(cr, "0") && strcmp(cr, "3") && strcmp(cr, "4"))
		return false;
	watch.cr[*cr - '0'] = true;
	return true;
}

static bool add_msr(const char *name)
{
	return watch.nmsrs < MAX_MSRS && parse_msr(name, &watch.msrs[watch.nmsrs++]);
}

static bool add_trap(const char *name)
{
	uint8_t nr;

	if (!strcmp(name, "all")) {
		watch.traps = ~0u;
		return true;
	}
	if (!parse_exception(name, &nr))
		return false;
	watch.traps |= 1u << nr;
	watch.traps_named |= 1u << nr;
	return true;
}

static bool add_descriptor(const char *name)
{
	static const char *const names[] = {
		[KVMI_DESC_IDTR] = "idtr", [KVMI_DESC_GDTR] = "gdtr",
		[KVMI_DESC_LDTR] = "ldtr", [KVMI_DESC_TR] = "tr",
	};
	unsigned int i;

	if (!strcmp(name, "all")) {
		watch.descriptors = ~0u;
		return true;
	}
	for (i = KVMI_DESC_IDTR; i <= KVMI_DESC_TR && strcasecmp(name, names[i]); i++)
		;
	watch.descriptors |= 1u << i;
	return i <= KVMI_DESC_TR;
}

static bool leaves_all;

static bool add_leaf(const char *text)
{
	uint64_t value;

	if (!strcmp(text, "all")) {
		leaves_all = true;
		return true;
	}
	if (watch.nleaves == MAX_LEAVES || !parse_number(text, &value) || value > UINT32_MAX)
		return false;
	watch.leaves[watch.nleaves++] = value;
	return true;
}

static bool add_range(const char *item)
{
	if (watch.nranges == MAX_RANGES ||
	    !parse_extent(item, &watch.ranges[watch.nranges].gpa,
			  &watch.ranges[watch.nranges].size))
		return false;
	watch.nranges++;
	return true;
}

/* The options that choose events; with a list if there is a function for its items */
static const struct chooser {
	const char *name;
	uint16_t id;
	bool (*add)(const char *item);
	const char *items;
} choosers[] = {
	{ "cr", KVMI_VCPU_EVENT_CR, add_cr, "one or more of 0,3,4" },
	{ "msr", KVMI_VCPU_EVENT_MSR, add_msr, "names like LSTAR or numbers, 64 at most" },
	{ "trap", KVMI_VCPU_EVENT_TRAP, add_trap, "all, or exceptions like GP,UD or 13,6" },
	{ "descriptor", KVMI_VCPU_EVENT_DESCRIPTOR, add_descriptor,
	  "all, or some of gdtr,idtr,ldtr,tr" },
	{ "cpuid", KVMI_VCPU_EVENT_CPUID, add_leaf,
	  "all, or leaves like 1,0x40000000, 64 at most" },
	{ "write", KVMI_VCPU_EVENT_PF, add_range,
	  "physical addresses like 0x1000-0x1fff,8M+4K, 64 at most" },
	{ "hypercall", KVMI_VCPU_EVENT_HYPERCALL, NULL, NULL },
	{ "breakpoint", KVMI_VCPU_EVENT_BREAKPOINT, NULL, NULL },
	{ "xsetbv", KVMI_VCPU_EVENT_XSETBV, NULL, NULL },
	{ "create-vcpu", KVMI_VCPU_EVENT_CREATE_VCPU, NULL, NULL },
};

#define NCHOOSERS (sizeof(choosers) / sizeof(choosers[0]))

static bool choose(const struct chooser *c, char *list)
{
	char *save, *item;

	watch.events |= 1ull << c->id;
	if (!c->add)
		return true;
	item = strtok_r(list, ",", &save);
	if (!item)
		list = "";
	for (; item; item = strtok_r(NULL, ",", &save)) {
		if (!c->add(item)) {
			error("--%s %s: give %s", c->name, item, c->items);
			return false;
		}
	}
	if (*list)
		return true;
	error("--%s: give %s", c->name, c->items);
	return false;
}

/* "cpuid=skip" */
static bool parse_action(const char *text)
{
	static const char *const names[] = {
		[KVMI_EVENT_ACTION_ALLOW] = "allow", [KVMI_EVENT_ACTION_CRASH] = "crash",
		[KVMI_EVENT_ACTION_SKIP] = "skip",
	};
	const char *equals = strchr(text, '=');
	unsigned int i;
	uint16_t id;

	if (!equals || !parse_event_name(text, equals - text, &id) || id == KVMI_VCPU_EVENT_PAUSE ||
	    id == KVMI_VCPU_EVENT_CREATE_VCPU || !kint_event_actions(id)) {
		error("--action %s: give EVENT=ACTION, as in cpuid=skip", text);
		return false;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] && !strcmp(equals + 1, names[i]))
			break;
	if (i == sizeof(names) / sizeof(names[0]) || !(kint_event_actions(id) >> i & 1)) {
		error("--action %s: the actions of this event are allow%s", text,
		      kint_event_actions(id) >> KVMI_EVENT_ACTION_SKIP & 1 ? ", skip and crash" :
		      " and crash");
		return false;
	}
	watch.actions[id] = i;
	return true;
}

/* What is watched without a word about it, or with --all */
static void fill_in(void)
{
	uint64_t given = watch.events;
	unsigned int i;

	if (leaves_all)
		watch.nleaves = 0;
	if (given && !watch.all)
		return;
	if (!(given >> KVMI_VCPU_EVENT_CR & 1)) {
		watch.cr[0] = true;
		watch.cr[3] = true;
		watch.cr[4] = true;
	}
	if (!(given >> KVMI_VCPU_EVENT_MSR & 1)) {
		watch.nmsrs = sizeof(default_msrs) / sizeof(default_msrs[0]);
		for (i = 0; i < watch.nmsrs; i++)
			watch.msrs[i] = default_msrs[i];
	}
	if (!watch.traps)
		watch.traps = ~0u;
	if (!watch.descriptors)
		watch.descriptors = ~0u;
	if (!watch.all)
		watch.events = 1ull << KVMI_VCPU_EVENT_CR | 1ull << KVMI_VCPU_EVENT_MSR;
}

static bool actions_make_sense(void)
{
	unsigned int id;

	for (id = 0; id <= MAX_EVENT_ID; id++) {
		if (!watch.actions[id] || wanted(id) || watch.all)
			continue;
		error("--action for %s, which is not watched", event_name(id));
		return false;
	}
	return true;
}

static void print_usage(void)
{
	printf("usage: kvmi watch --listen ADDRESS [options] [common options]\n"
	       "What to watch; without any: CR0, CR3, CR4, EFER and where system calls enter\n"
	       "  --cr LIST          control registers, of 0,3,4\n"
	       "  --msr LIST         MSRs by name or number, LSTAR,0x174; may be repeated\n"
	       "  --xsetbv           XCR0\n"
	       "  --trap LIST        exceptions by name or number, GP,UD,3; or all\n"
	       "  --breakpoint       INT3\n"
	       "  --cpuid LIST       CPUID, by leaf, 1,0x40000000; or all\n"
	       "  --descriptor LIST  instructions that load or store gdtr,idtr,ldtr,tr; or all\n"
	       "  --write LIST       writes to memory, by pages, 0x1000-0x1fff,8M+4K\n"
	       "  --hypercall        hypercalls to the tool\n"
	       "  --create-vcpu      vCPUs that are added\n"
	       "  --all              all of that but --write, as far as it can be had here\n"
	       "How to show it\n"
	       "  --cr3-all          a line for each load of CR3, not a count every second\n"
	       "  --cpuid-all        a line for each CPUID, not only the first of each leaf\n"
	       "  --process          which process of a Linux guest it was\n"
	       "  --symbols FILE     for --process: vmlinux of a kernel that has no BTF\n"
	       "  --rate LINES       lines for events, a second on average; 0 is no limit (0)\n"
	       "  --json             JSON lines\n"
	       "  --explain          show first what the kernel decides without asking\n"
	       "What to do\n"
	       "  --no-wait          the guest does not wait while an event is shown; if events\n"
	       "                     come faster than that some are lost, and counted\n"
	       "  --action EVENT=ACTION  allow (default), skip (no effect, the guest goes on after\n"
	       "                     the instruction) or crash (the VM is shut down); of cr, msr,\n"
	       "                     xsetbv, trap, breakpoint, cpuid, descriptor, hypercall, pf\n"
	       "  --once             leave when the session ends, instead of waiting for the next\n");
}

/* getopt values of the choosers, after all others */
#define OPT_CHOOSE 512

int cmd_watch(struct tool *tool, int argc, char **argv)
{
	static const struct option others[] = {
		{ "all", no_argument, NULL, 'A' },
		{ "cr3-all", no_argument, NULL, 'a' },
		{ "cpuid-all", no_argument, NULL, 'u' },
		{ "action", required_argument, NULL, 'x' },
		{ "process", no_argument, NULL, OPT_PROCESS },
		{ "symbols", required_argument, NULL, 's' },
		{ "rate", required_argument, NULL, OPT_RATE },
		{ "no-wait", no_argument, NULL, 'n' },
		{ "explain", no_argument, NULL, 'e' },
		{ "json", no_argument, NULL, 'j' },
		{ "once", no_argument, NULL, OPT_ONCE },
		{ NULL, 0, NULL, 0 }
	};
	static struct monitor monitor = {
		.arm = on_arm,
		.event = on_event,
		.created = on_created,
		.begin = on_begin,
		.tick = on_tick,
		.end = on_end,
	};
	struct option options[NCHOOSERS + sizeof(others) / sizeof(others[0])];
	unsigned int i;
	int opt;

	for (i = 0; i < NCHOOSERS; i++)
		options[i] = (struct option){
			choosers[i].name,
			choosers[i].add ? required_argument : no_argument, NULL, OPT_CHOOSE + i,
		};
	memcpy(options + NCHOOSERS, others, sizeof(others));

	tool->wait_ms = -1;
	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		if (opt >= OPT_CHOOSE) {
			if (!choose(&choosers[opt - OPT_CHOOSE], optarg))
				return EXIT_USAGE;
			continue;
		}
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'A':
			watch.all = true;
			break;
		case 'a':
			watch.cr3_all = true;
			break;
		case 'u':
			watch.cpuid_all = true;
			break;
		case 'x':
			if (!parse_action(optarg))
				return EXIT_USAGE;
			break;
		case 'n':
			watch.no_wait = true;
			break;
		case 'e':
			watch.explain = true;
			break;
		case OPT_PROCESS:
			process_want();
			break;
		case 's':
			if (!symbols_load(optarg))
				return EXIT_USAGE;
			break;
		case OPT_RATE:
			if (!parse_rate(optarg))
				return EXIT_USAGE;
			break;
		case 'j':
			watch.json = true;
			break;
		case OPT_ONCE:
			tool->once = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	if (watch.no_wait && process_wanted()) {
		error("--process: not with --no-wait, the vCPU may run another one by then");
		return EXIT_USAGE;
	}
	fill_in();
	if (!actions_make_sense())
		return EXIT_USAGE;
	monitor.create_vcpu = wanted(KVMI_VCPU_EVENT_CREATE_VCPU);
	streams_live(watch.json, false);
	return monitor_run(tool, &monitor);
}
