// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi guard: refuse writes to chosen MSRs, and the clearing of chosen bits.
 *
 * An MSR such as LSTAR is written while the guest boots, once on each vCPU, and
 * should never change again.  So an MSR that has its reset value, zero, may be
 * written --allow-first times, and one that has been written before the guard
 * came may not.  A bit may be set at any time and not be cleared.
 *
 * Of that the kernel decides by rules what has no line.  What is refused has one, and the
 * tool is asked, unless there is --quiet.  What no rule is about is asked, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_MSRS 32

enum action { BLOCK, REPORT, CRASH };

struct budget {
	struct budget *next;
	uint16_t vcpu;
	uint64_t left[MAX_MSRS];
	/* What was allowed last, if anything was.  The guest may come to the same write again. */
	struct {
		bool any;
		uint64_t old, new;
	} last[MAX_MSRS];
	bool closed[MAX_MSRS];		/* a write was refused: what was allowed is done */
};

static struct {
	uint32_t msrs[MAX_MSRS];
	unsigned int nmsrs;
	uint64_t cr_bits[5];		/* by number: 0 and 4 */
	uint64_t efer_bits;
	uint64_t allow_first;
	enum action action;
	bool json, quiet, explain;
	struct budget *budgets;
	bool ruled, rules_outdated;
	bool repeated;			/* the event is of a write that was allowed already */
	unsigned long long allowed, denied;
} guard = { .allow_first = 1 };

#define MSR_EFER 0xc0000080

static const char *const verdicts[] = {
	[BLOCK] = "blocked", [REPORT] = "would-block", [CRASH] = "crashed",
};

static void free_budgets(void)
{
	struct budget *b;

	while (guard.budgets) {
		b = guard.budgets;
		guard.budgets = b->next;
		free(b);
	}
}

static struct budget *budget_of(uint16_t vcpu)
{
	struct budget *b;

	for (b = guard.budgets; b && b->vcpu != vcpu; b = b->next)
		;
	return b;
}

static int make_budget(struct tool *tool, uint16_t vcpu)
{
	uint64_t values[MAX_MSRS];
	struct kint_registers regs;
	struct budget *b;
	unsigned int i;
	int err;

	err = kint_get_registers(tool->conn, vcpu, &regs, guard.msrs, values, guard.nmsrs);
	if (err)
		return err;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->vcpu = vcpu;
	for (i = 0; i < guard.nmsrs; i++)
		b->left[i] = values[i] ? 0 : guard.allow_first;
	b->next = guard.budgets;
	guard.budgets = b;
	return 0;
}

/* For what is refused whoever does it, and whatever else is so */
static struct kvmi_rule *add_refusal(struct rule_list *list)
{
	static const uint8_t refusals[] = {
		[BLOCK] = KVMI_RULE_SKIP, [REPORT] = KVMI_RULE_ALLOW, [CRASH] = KVMI_RULE_CRASH,
	};

	return guard.quiet ? rules_add(list, RULE_REFUSES, refusals[guard.action]) :
			     rules_add(list, RULE_ASKS, KVMI_RULE_ASK);
}

static void add_number(struct kvmi_rule *rule, uint64_t number)
{
	rule->match |= KVMI_MATCH_NUMBER;
	rule->first = number;
	rule->last = number;
}

/* A bit that has changed and is 0 was cleared */
static void refuse_clearing(struct rule_list *list, uint64_t number, uint64_t bits)
{
	struct kvmi_rule *rule;
	uint64_t bit;

	for (; bits; bits &= ~bit) {
		bit = bits & -bits;
		rule = add_refusal(list);
		add_number(rule, number);
		rule->match |= KVMI_MATCH_CHANGED | KVMI_MATCH_VALUE;
		rule->changed = bit;
		rule->value_mask = bit;
	}
}

/*
 * Who may still write the MSR is asked about: how often is for the tool to know.  So is who may
 * have the last of these writes before it: the kernel asks again about a write whose answer
 * was not used yet when rules change, or a signal ends KVM_RUN.
 */
static void refuse_msr(struct rule_list *list, unsigned int i)
{
	struct kvmi_rule *rule;
	const struct budget *b;

	for (b = guard.budgets; b; b = b->next) {
		if (!b->left[i] && (b->closed[i] || !b->last[i].any))
			continue;
		rule = rules_add_numbers(list, RULE_ASKS, KVMI_RULE_ASK, guard.msrs[i],
					 guard.msrs[i]);
		rule->match |= KVMI_MATCH_VCPU;
		rule->vcpu = b->vcpu;
	}
	add_number(add_refusal(list), guard.msrs[i]);
}

static bool guards_msr(uint32_t msr)
{
	unsigned int i;

	for (i = 0; i < guard.nmsrs && guard.msrs[i] != msr; i++)
		;
	return i < guard.nmsrs;
}

static void make_msr_rules(struct rule_list *list)
{
	unsigned int i;

	rules_new(list);
	if (guard.efer_bits) {
		refuse_clearing(list, MSR_EFER, guard.efer_bits);
		rules_reason(list, "--efer-bit: who clears one is %s",
			     guard.quiet ? "refused, and counted" : "asked about, for the line");
	}
	for (i = 0; i < guard.nmsrs && guard.quiet; i++)
		refuse_msr(list, i);
	if (guard.nmsrs && guard.quiet)
		rules_reason(list, "--msr: refused, and counted, where no writes are left");
	else if (guard.nmsrs)
		rules_reason(list, "--msr: asked about, for the line; see --quiet");
	if (!guard.efer_bits || guards_msr(MSR_EFER))
		return;
	if (!guard.quiet && process_wanted()) {
		rules_reason(list, "--process: other writes of EFER are asked about");
		return;
	}
	rules_add_numbers(list, RULE_ALLOWS, guard.quiet ? KVMI_RULE_ALLOW : KVMI_RULE_NOTIFY,
			  MSR_EFER, MSR_EFER);
	rules_reason(list, "--efer-bit: other writes of EFER are allowed%s",
		     guard.quiet ? "" : ", and the guest goes on while they are shown");
}

static void make_cr_rules(struct rule_list *list)
{
	unsigned int i;

	rules_new(list);
	for (i = 0; i < 5; i++)
		refuse_clearing(list, i, guard.cr_bits[i]);
	if (!list->n)
		return;
	rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
	rules_reason(list, "--cr0-bit, --cr4-bit: who clears one is %s",
		     guard.quiet ? "refused, and counted" : "asked about, for the line");
	rules_reason(list, "other writes are allowed, and have no lines");
}

static int set_rules(struct tool *tool)
{
	struct rule_list list;
	int err;

	guard.ruled = true;
	guard.rules_outdated = false;
	make_msr_rules(&list);
	err = rules_set(tool, KVMI_VCPU_EVENT_MSR, &list);
	make_cr_rules(&list);
	return err ? err : rules_set(tool, KVMI_VCPU_EVENT_CR, &list);
}

static void explain_rules(void)
{
	struct rule_list list;

	make_msr_rules(&list);
	if (guard.nmsrs || guard.efer_bits)
		rules_explain(KVMI_VCPU_EVENT_MSR, &list);
	make_cr_rules(&list);
	if (list.n)
		rules_explain(KVMI_VCPU_EVENT_CR, &list);
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	unsigned int i;
	int err;

	tool->doing = "reading the MSRs to guard";
	err = make_budget(tool, vcpu);
	/* Which writes are left is in the rules then */
	if (!err && (guard.quiet || !guard.ruled))
		err = set_rules(tool);
	if (!err)
		tool->doing = "turning events on";
	for (i = 0; i < guard.nmsrs && !err; i++)
		err = kint_control_msr(tool->conn, vcpu, guard.msrs[i], true);
	if (!err && guard.efer_bits)
		err = kint_control_msr(tool->conn, vcpu, MSR_EFER, true);
	if (!err && (guard.nmsrs || guard.efer_bits))
		err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_MSR, true);
	for (i = 0; i < 5 && !err; i++)
		if (guard.cr_bits[i])
			err = kint_control_cr(tool->conn, vcpu, i, true);
	if (!err && (guard.cr_bits[0] || guard.cr_bits[4]))
		err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_CR, true);
	return err;
}

static bool msr_allowed(const struct kint_event *event)
{
	uint64_t cleared = event->msr.old_value & ~event->msr.new_value;
	struct budget *b = budget_of(event->common.vcpu);
	uint32_t msr = event->msr.msr;
	unsigned int i;

	if (msr == MSR_EFER && (cleared & guard.efer_bits))
		return false;
	for (i = 0; i < guard.nmsrs; i++)
		if (guard.msrs[i] == msr || guard.msrs[i] == msr_alias(msr))
			break;
	if (i == guard.nmsrs)
		return true;
	if (!b)
		return false;
	/* The same write, which had no effect yet */
	if (b->last[i].any && b->last[i].old == event->msr.old_value &&
	    b->last[i].new == event->msr.new_value &&
	    event->msr.old_value != event->msr.new_value) {
		guard.repeated = true;
		return true;
	}
	if (!b->left[i]) {
		guard.rules_outdated |= b->last[i].any && !b->closed[i];
		b->closed[i] = true;
		return false;
	}
	b->left[i]--;
	b->last[i].any = true;
	b->last[i].old = event->msr.old_value;
	b->last[i].new = event->msr.new_value;
	return true;
}

static bool event_allowed(const struct kint_event *event)
{
	switch (event->id) {
	case KVMI_VCPU_EVENT_CR:
		return event->cr.cr > 4 || !(event->cr.old_value & ~event->cr.new_value &
					     guard.cr_bits[event->cr.cr]);
	case KVMI_VCPU_EVENT_MSR:
		return msr_allowed(event);
	default:
		return true;
	}
}

/* Is it to have a line?  While the vCPU stands still it is found out who it was. */
static bool has_line(struct tool *tool, const struct kint_event *event)
{
	if (guard.quiet || !rate_allows())
		return false;
	who_look(tool, event);
	return true;
}

static void report(struct tool *tool, const struct kint_event *event, const char *verdict)
{
	const struct kvmi_vcpu_event_arch *arch = &event->common.arch;

	if (guard.json) {
		json_event(stdout, tool, event, verdict);
		return;
	}
	printf("%9.3f  vCPU %u  %-11s  ", session_seconds(tool), event->common.vcpu, verdict);
	print_who(stdout);
	print_change(stdout, event);
	printf(", by code at %#llx\n", (unsigned long long)arch->regs.rip);
}

static int on_event(struct tool *tool, const struct kint_event *event)
{
	static const unsigned int answers[] = {
		[BLOCK] = KVMI_EVENT_ACTION_SKIP,
		[REPORT] = KVMI_EVENT_ACTION_ALLOW,
		[CRASH] = KVMI_EVENT_ACTION_CRASH,
	};

	bool allowed, line;
	int err;

	/* By a rule, which has counted it */
	if (event->notified) {
		if (has_line(tool, event))
			report(tool, event, "allowed");
		return 0;
	}
	guard.repeated = false;
	allowed = event_allowed(event);
	if (!allowed)
		guard.denied++;
	else if (!guard.repeated)
		guard.allowed++;
	line = (!allowed || (event->id == KVMI_VCPU_EVENT_MSR && !guard.repeated)) &&
	       has_line(tool, event);
	/* A line may take its time */
	err = kint_reply(tool->conn, event,
			 allowed ? KVMI_EVENT_ACTION_ALLOW : answers[guard.action]);
	if (line)
		report(tool, event, allowed ? "allowed" : verdicts[guard.action]);
	return err;
}

static void on_begin(struct tool *tool)
{
	free_budgets();
	process_begin();
	rate_begin();
	guard.allowed = 0;
	guard.denied = 0;
	guard.ruled = false;
	if (guard.json) {
		json_session(stdout, tool);
		return;
	}
	printf("guarding ");
	session_describe(tool, stdout);
}

static void on_armed(struct tool *tool)
{
	if (guard.explain && !guard.json)
		explain_rules();
	if (guard.json)
		json_armed(stdout, tool);
	else
		printf("%9.3f  every vCPU is guarded\n", session_seconds(tool));
}

static int on_tick(struct tool *tool)
{
	rate_print(tool, guard.json, false);
	return guard.quiet && guard.rules_outdated ? set_rules(tool) : 0;
}

static void on_end(struct tool *tool, const char *why)
{
	rate_print(tool, guard.json, true);
	if (!guard.json)
		printf("%9.3f  end after %llu writes allowed, %llu %s", session_seconds(tool),
		       guard.allowed + ull(rules_hits(RULE_ALLOWS)),
		       guard.denied + ull(rules_hits(RULE_REFUSES)), verdicts[guard.action]);
	rules_print_end(tool, guard.json);
	if (guard.json)
		json_end(stdout, tool, why);
	else
		printf(": %s\n", why);
	rules_tell_lost();
}

static bool parse_msrs(char *list)
{
	char *save, *name;

	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		if (guard.nmsrs == MAX_MSRS || !parse_msr(name, &guard.msrs[guard.nmsrs++]))
			return false;
	return true;
}

static bool parse_action(const char *text)
{
	if (!strcmp(text, "skip"))
		guard.action = BLOCK;
	else if (!strcmp(text, "allow"))
		guard.action = REPORT;
	else if (!strcmp(text, "crash"))
		guard.action = CRASH;
	else
		return false;
	return true;
}

static void print_usage(void)
{
	printf("usage: kvmi guard --listen ADDRESS [options] [common options]\n"
	       "  --msr LIST        MSRs by name or number that must not change, LSTAR,0x176\n"
	       "  --allow-first N   writes allowed for each vCPU to an MSR that is zero when the\n"
	       "                    guard begins, as at boot (1)\n"
	       "  --cr0-bit LIST    bits of CR0 that must not be cleared, WP\n"
	       "  --cr4-bit LIST    bits of CR4 that must not be cleared, SMEP,SMAP\n"
	       "  --efer-bit LIST   bits of EFER that must not be cleared, NX\n"
	       "  --action ACTION   skip: the write has no effect and the guest goes on (default);\n"
	       "                    allow: only report; crash: the VM is shut down\n"
	       "  --quiet           no lines: the kernel refuses by rules, and counts\n"
	       "  --explain         show what the kernel decides without asking\n"
	       "  --process         which process of a Linux guest it was\n"
	       "  --symbols FILE    for --process: vmlinux of a kernel that has no BTF\n"
	       "  --rate LINES      lines for writes, a second on average (10); 0 is no limit\n"
	       "  --json            JSON lines\n"
	       "  --once            leave when the session ends, instead of waiting for the next\n");
}

int cmd_guard(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "msr", required_argument, NULL, 'm' },
		{ "allow-first", required_argument, NULL, 'f' },
		{ "cr0-bit", required_argument, NULL, '0' },
		{ "cr4-bit", required_argument, NULL, '4' },
		{ "efer-bit", required_argument, NULL, 'e' },
		{ "action", required_argument, NULL, 'x' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "explain", no_argument, NULL, 'X' },
		{ "process", no_argument, NULL, OPT_PROCESS },
		{ "symbols", required_argument, NULL, OPT_SYMBOLS },
		{ "rate", required_argument, NULL, OPT_RATE },
		{ "json", no_argument, NULL, 'j' },
		{ "once", no_argument, NULL, OPT_ONCE },
		{ NULL, 0, NULL, 0 }
	};
	static const struct monitor monitor = {
		.late = "guarded",
		.arm = on_arm,
		.event = on_event,
		.begin = on_begin,
		.armed = on_armed,
		.tick = on_tick,
		.end = on_end,
	};
	bool ok = true;
	int opt, err;

	tool->wait_ms = -1;
	rate_init(GUARDS_RATE);
	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'm':
			ok = parse_msrs(optarg);
			break;
		case 'f':
			ok = parse_number(optarg, &guard.allow_first);
			break;
		case '0':
			ok = parse_bits(cr0_bits, optarg, &guard.cr_bits[0]);
			break;
		case '4':
			ok = parse_bits(cr4_bits, optarg, &guard.cr_bits[4]);
			break;
		case 'e':
			ok = parse_bits(efer_bits, optarg, &guard.efer_bits);
			break;
		case 'x':
			ok = parse_action(optarg);
			break;
		case 'q':
			guard.quiet = true;
			break;
		case 'X':
			guard.explain = true;
			break;
		case 'j':
			guard.json = true;
			break;
		case OPT_PROCESS:
			process_want();
			break;
		case OPT_SYMBOLS:
			if (!symbols_load(optarg))
				return EXIT_USAGE;
			break;
		case OPT_RATE:
			if (!parse_rate(optarg))
				return EXIT_USAGE;
			break;
		case OPT_ONCE:
			tool->once = true;
			break;
		default:
			return EXIT_USAGE;
		}
		if (!ok) {
			error("guard: '%s' is not known here; see kvmi guard --help", optarg);
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	if (!guard.nmsrs && !guard.cr_bits[0] && !guard.cr_bits[4] && !guard.efer_bits) {
		error("guard: say what to guard: --msr, --cr0-bit, --cr4-bit or --efer-bit");
		return EXIT_USAGE;
	}
	streams_live(guard.json, true);
	err = monitor_run(tool, &monitor);
	free_budgets();
	return err;
}
