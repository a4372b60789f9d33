// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi protect: keep the guest from writing (or reading, or executing) ranges of
 * its memory, such as the text and the read-only data of its kernel.
 *
 * Access is taken away from whole pages.  Where ranges are to be protected exactly the rest
 * of their pages, the gaps, may be written: KVM emulates what writes such a page, and each
 * access has an event with its size.  One that is within a gap is allowed, all others are
 * refused, and so is what KVM cannot emulate, as nobody knows how far it goes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_RANGES	64
#define MAX_TRUSTED	16
#define MAX_SEEN	256
#define MAX_GAPS	(2 * MAX_RANGES)

enum policy { REPORT, DENY, CRASH };

struct range {
	uint64_t gpa, size;
};

/* An access that has had its line */
struct seen {
	uint64_t rip, page;
	uint8_t access;
};

static struct {
	struct range ranges[MAX_RANGES];
	unsigned int nranges;
	uint8_t left;			/* of the access */
	bool kernel;
	enum policy policy;
	const char *trusted_names[MAX_TRUSTED];
	struct range trusted[MAX_TRUSTED];	/* code, by its virtual addresses */
	unsigned int ntrusted;
	bool json, exact, quiet, explain;

	bool begun;
	bool ranged;			/* the ranges are protected, and a kernel waited for */
	struct kernel_wait wait;
	struct range gaps[MAX_GAPS];	/* by address */
	unsigned int ngaps;
	struct guest_kernel k;
	struct seen seen[MAX_SEEN];
	unsigned int nseen;
	unsigned long long denied, allowed, beside;
	struct untold silent;
} protect = {
	.left = KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X,
	.policy = DENY,
};

static const char *const verdicts[] = {
	[REPORT] = "would-deny", [DENY] = "denied", [CRASH] = "crashed",
};

static void print_kernel(const struct guest_kernel *k)
{
	const struct kernel_range *r;

	printf("the guest's kernel, found from outside: system calls enter at %#llx\n",
	       ull(k->entry));
	for (r = k->ranges; r < k->ranges + k->nranges; r++)
		printf("  %#llx-%#llx  %-14s  %6llu KiB at %#llx\n", ull(r->gva),
		       ull(r->gva + r->size - 1), r->text ? "text" : "read-only data",
		       ull(r->size >> 10), ull(r->gpa));
	if (k->call_table)
		printf("  %#llx                     table of system calls\n", ull(k->call_table));
}

/* Where the code is that is trusted by its name.  Says what is wrong. */
static bool find_trusted(void)
{
	struct range *t;
	uint64_t end;
	unsigned int i;

	for (i = 0; i < protect.ntrusted; i++) {
		t = &protect.trusted[i];
		if (!protect.trusted_names[i])
			continue;
		if (!symbol_extent(protect.trusted_names[i], &t->gpa, &end)) {
			error("--trust %s: no such symbol, or no --symbols FILE",
			      protect.trusted_names[i]);
			return false;
		}
		t->size = end - t->gpa;
	}
	return true;
}

/* Names say nothing of a kernel that is not known */
static void forget_trusted(void)
{
	unsigned int i;

	for (i = 0; i < protect.ntrusted; i++)
		if (protect.trusted_names[i])
			protect.trusted[i] = (struct range){ 0 };
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *r = a, *s = b;

	return r->gpa < s->gpa ? -1 : r->gpa > s->gpa;
}

/* All that is protected, by address, and as few ranges as possible */
static unsigned int merge_ranges(struct range all[MAX_RANGES + MAX_KERNEL_RANGES])
{
	const struct kernel_range *k;
	unsigned int n, i, merged = 0;
	uint64_t last;

	memcpy(all, protect.ranges, protect.nranges * sizeof(*all));
	n = protect.nranges;
	k = protect.k.ranges;
	for (; protect.kernel && k < protect.k.ranges + protect.k.nranges; k++) {
		last = (k->gpa + k->size - 1) | (PAGE_SIZE - 1);
		all[n].gpa = k->gpa - k->gpa % PAGE_SIZE;
		all[n].size = last - all[n].gpa + 1;
		n++;
	}
	qsort(all, n, sizeof(*all), compare_ranges);
	for (i = 1; i < n; i++) {
		last = all[merged].gpa + all[merged].size - 1;
		if (all[i].gpa > last) {
			all[++merged] = all[i];
		} else if (all[i].gpa + all[i].size - 1 > last) {
			last = all[i].gpa + all[i].size - 1;
			all[merged].size = last - all[merged].gpa + 1;
		}
	}
	return merged + 1;
}

static void add_gap(uint64_t first, uint64_t end)
{
	if (first < end)
		protect.gaps[protect.ngaps++] = (struct range){ first, end - first };
}

/* What is left of pages of which a part is protected.  There are not more than two a range. */
static void find_gaps(void)
{
	struct range all[MAX_RANGES + MAX_KERNEL_RANGES];
	uint64_t free = 0, page, end, page_end;
	unsigned int n, i;

	protect.ngaps = 0;
	if (!protect.exact)
		return;
	n = merge_ranges(all);
	for (i = 0; i < n; i++) {
		page = all[i].gpa - all[i].gpa % PAGE_SIZE;
		add_gap(free > page ? free : page, all[i].gpa);
		end = all[i].gpa + all[i].size;
		page_end = (end + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
		/* Up to the next range is what is in front of that one */
		if (i + 1 == n || all[i + 1].gpa >= page_end)
			add_gap(end, page_end);
		free = end;
	}
}

static bool page_has_gap(uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < protect.ngaps; i++)
		if (protect.gaps[i].gpa / PAGE_SIZE == gpa / PAGE_SIZE)
			return true;
	return false;
}

static bool is_in_gap(uint64_t gpa, uint64_t size)
{
	const struct range *g;

	for (g = protect.gaps; g < protect.gaps + protect.ngaps; g++)
		if (gpa >= g->gpa && size <= g->size && gpa - g->gpa <= g->size - size)
			return true;
	return false;
}

/* Is the access to be looked at for itself?  Not if KVM has just failed to do so. */
static bool is_traced(const struct kvmi_vcpu_event_pf *pf)
{
	return pf->access == KVMI_PAGE_ACCESS_W && !(pf->flags & KVMI_PF_NOT_EMULATED) &&
	       page_has_gap(pf->gpa);
}

/* What is refused has a line, and what has one is asked about */
static void refuse_rest(struct rule_list *list)
{
	static const uint8_t refusals[] = {
		[REPORT] = KVMI_RULE_ALLOW, [DENY] = KVMI_RULE_SKIP, [CRASH] = KVMI_RULE_CRASH,
	};

	if (protect.quiet)
		rules_add(list, RULE_REFUSES, refusals[protect.policy]);
	rules_reason(list, "all else is %s", protect.quiet ? "refused, and counted" :
		     "asked about, for the line; see --quiet");
}

static void make_page_rules(struct rule_list *list)
{
	struct kvmi_rule *rule;
	uint64_t page = UNMAPPED;
	unsigned int i;

	rules_new(list);
	for (i = 0; i < protect.ntrusted && (protect.quiet || !process_wanted()); i++) {
		if (!protect.trusted[i].size)
			continue;
		/* Of all addresses: where it says which, a rule that allows is not for SMM */
		rule = rules_add_numbers(list, RULE_ALLOWS,
					 protect.quiet ? KVMI_RULE_ALLOW : KVMI_RULE_NOTIFY,
					 0, ~0ull);
		rule->match |= KVMI_MATCH_RIP;
		rule->rip_first = protect.trusted[i].gpa;
		rule->rip_last = protect.trusted[i].gpa + protect.trusted[i].size - 1;
	}
	if (protect.ntrusted && !protect.quiet && process_wanted())
		rules_reason(list, "--trust: asked about, for --process");
	else if (protect.ntrusted)
		rules_reason(list, "--trust: allowed%s", protect.quiet ? ", and counted" :
			     ", and the guest goes on while they are shown");
	for (i = 0; i < protect.ngaps; i++) {
		if (protect.gaps[i].gpa / PAGE_SIZE == page)
			continue;
		page = protect.gaps[i].gpa / PAGE_SIZE;
		rule = rules_add_numbers(list, RULE_ASKS, KVMI_RULE_TRACE, page * PAGE_SIZE,
					 page * PAGE_SIZE + PAGE_SIZE - 1);
		rule->match |= KVMI_MATCH_KIND;
		rule->kinds = KVMI_PAGE_ACCESS_W;
	}
	if (protect.ngaps)
		rules_reason(list, "--exact: what is written to these pages, see ACCESS");
	refuse_rest(list);
}

/* A rule that allows is for what is within its range as a whole */
static void make_access_rules(struct rule_list *list)
{
	const struct range *g;

	rules_new(list);
	for (g = protect.gaps; g < protect.gaps + protect.ngaps; g++)
		rules_add_numbers(list, RULE_COUNTS, KVMI_RULE_ALLOW, g->gpa,
				  g->gpa + g->size - 1);
	rules_reason(list, "--exact: writes beside the ranges are allowed");
	refuse_rest(list);
}

static int set_rules(struct tool *tool)
{
	struct rule_list list;
	int err;

	make_page_rules(&list);
	err = rules_set(tool, KVMI_VCPU_EVENT_PF, &list);
	make_access_rules(&list);
	return err || !protect.exact ? err : rules_set(tool, KVMI_VCPU_EVENT_ACCESS, &list);
}

static void explain_rules(void)
{
	struct rule_list list;

	make_page_rules(&list);
	rules_explain(KVMI_VCPU_EVENT_PF, &list);
	make_access_rules(&list);
	if (protect.exact)
		rules_explain(KVMI_VCPU_EVENT_ACCESS, &list);
}

/* On the first vCPU: what holds for all of them */
static int prepare(struct tool *tool, uint16_t vcpu)
{
	int err = check_access(tool, protect.left);

	if (!err && (protect.kernel || symbols_loaded()))
		err = kernel_wait_for(tool, vcpu, &protect.k, &protect.wait);
	if (!err && !find_trusted())
		err = MONITOR_TOLD;
	if (err)
		return err;
	if (protect.kernel && !protect.json)
		print_kernel(&protect.k);
	find_gaps();
	return set_rules(tool);
}

static int take_all(struct tool *tool)
{
	const struct kernel_range *r;
	unsigned int i;
	int err = 0;

	for (i = 0; i < protect.nranges && !protect.ranged && !err; i++)
		err = restrict_pages(tool, protect.ranges[i].gpa, protect.ranges[i].size,
				     protect.left);
	protect.ranged = !err;
	if (!protect.kernel)
		return err;
	/* What the guest maps is the guest's to say: it is no reason to leave all else alone */
	if (!err && protect.k.left_out)
		error("protect: %u pieces of the kernel are left out, it is in more than %u",
		      protect.k.left_out, MAX_KERNEL_RANGES);
	for (r = protect.k.ranges; r < protect.k.ranges + protect.k.nranges && !err; r++) {
		err = take_access(tool, r->gpa, r->size, protect.left);
		if (err != -EINVAL)
			continue;
		error("protect: %#llx-%#llx is left out, not all of it is memory", ull(r->gpa),
		      ull(r->gpa + r->size - 1));
		err = 0;
	}
	return err;
}

static int turn_on(struct tool *tool, uint16_t vcpu)
{
	int err = 0;

	tool->doing = "turning the ACCESS event on";
	if (protect.exact)
		err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_ACCESS, true);
	if (err)
		return err;
	tool->doing = "turning the PF event on";
	return kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_PF, true);
}

/* While a kernel is waited for: the ranges, which are protected whatever runs */
static int protect_ranges(struct tool *tool, uint16_t vcpu)
{
	bool first = !protect.ranged;
	int err = 0;

	memset(&protect.k, 0, sizeof(protect.k));
	find_gaps();
	if (first)
		err = set_rules(tool);
	if (!err)
		err = turn_on(tool, vcpu);
	if (err || !first)
		return err;
	err = take_all(tool);
	if (!err && !protect.json)
		printf("%9.3f  so far it is --range that is protected\n", session_seconds(tool));
	return err;
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	int err = 0, later;

	if (!protect.begun)
		err = prepare(tool, vcpu);
	if (kernel_missing(err) && protect.nranges && !tool->once) {
		later = err;
		err = protect_ranges(tool, vcpu);
		return err ? err : later;
	}
	if (!err)
		err = turn_on(tool, vcpu);
	if (err || protect.begun)
		return err;
	err = take_all(tool);
	protect.begun = !err;
	return err;
}

/* In words, what is at a physical address */
static void print_target(const struct kvmi_vcpu_event_pf *pf)
{
	const struct kernel_range *r = kernel_range_of(&protect.k, pf->gpa);
	uint64_t gva = pf->gpa + protect.k.offset, call;
	char buf[16];

	printf("%s of %#llx", access_name(pf->access), ull(pf->gpa));
	if (!r) {
		if (pf->gva != UNMAPPED)
			printf(" (virtual %#llx)", ull(pf->gva));
		return;
	}
	call = (gva - protect.k.call_table) / 8;
	if (protect.k.call_table && gva >= protect.k.call_table && call < NR_TABLE_CALLS)
		printf(" (table of system calls, entry %llu, %s)", ull(call),
		       call_name(call, buf));
	else
		printf(" (kernel %s%#llx)", r->text ? "text " : "read-only data ", ull(gva));
	print_symbol(stdout, gva);
}

/* What is accessed, of both kinds of events */
static struct kvmi_vcpu_event_pf target_of(const struct kint_event *event)
{
	if (event->id == KVMI_VCPU_EVENT_PF)
		return event->pf;
	return (struct kvmi_vcpu_event_pf){
		.gpa = event->access.gpa, .gva = event->access.gva,
		.access = event->access.access,
	};
}

static bool is_new(uint64_t rip, const struct kvmi_vcpu_event_pf *pf)
{
	struct seen s = { .rip = rip, .page = pf->gpa / PAGE_SIZE, .access = pf->access };
	unsigned int i;

	for (i = 0; i < protect.nseen; i++)
		if (protect.seen[i].rip == s.rip && protect.seen[i].page == s.page &&
		    protect.seen[i].access == s.access)
			return false;
	if (protect.nseen < MAX_SEEN)
		protect.seen[protect.nseen++] = s;
	return true;
}

/* Is it to have a line?  While the vCPU stands still it is found out who it was. */
static bool has_line(struct tool *tool, const struct kint_event *event)
{
	struct kvmi_vcpu_event_pf pf = target_of(event);

	if (protect.quiet)
		return false;
	if (!protect.json && !is_new(event->common.arch.regs.rip, &pf)) {
		protect.silent.count++;
		return false;
	}
	if (!rate_allows())
		return false;
	who_look(tool, event);
	return true;
}

static void show(struct tool *tool, const struct kint_event *event, const char *verdict)
{
	struct kvmi_vcpu_event_pf pf = target_of(event);
	uint64_t rip = event->common.arch.regs.rip;

	if (protect.json) {
		json_event(stdout, tool, event, verdict);
		return;
	}
	printf("%9.3f  vCPU %u  %-10s  ", session_seconds(tool), event->common.vcpu, verdict);
	print_who(stdout);
	print_target(&pf);
	printf(", by code at %#llx", ull(rip));
	print_symbol(stdout, rip);
	printf(", CPL %u\n", event->common.arch.sregs.ss.dpl);
}

static bool is_trusted(const struct kint_event *event)
{
	uint64_t rip = event->common.arch.regs.rip;
	unsigned int i;

	/* Any code may be at any address there */
	if (event->common.arch.as_id)
		return false;

	/* The address is a linear one, and in other modes the guest chooses the base */
	if (event->common.arch.mode != KVMI_X86_MODE_64)
		rip = (uint32_t)(rip + event->common.arch.sregs.cs.base);

	/* The code there was interrupted, and its stack may be anywhere */
	if (event->id == KVMI_VCPU_EVENT_PF && (event->pf.flags & KVMI_PF_DELIVERY))
		return false;

	for (i = 0; i < protect.ntrusted; i++)
		if (rip - protect.trusted[i].gpa < protect.trusted[i].size)
			return true;
	return false;
}

static int on_event(struct tool *tool, const struct kint_event *event)
{
	static const unsigned int answers[] = {
		[REPORT] = KVMI_EVENT_ACTION_ALLOW,
		[DENY] = KVMI_EVENT_ACTION_SKIP,
		[CRASH] = KVMI_EVENT_ACTION_CRASH,
	};

	bool is_pf = event->id == KVMI_VCPU_EVENT_PF;
	const char *verdict = NULL;
	bool allowed = false;
	int err;

	if (!is_pf && event->id != KVMI_VCPU_EVENT_ACCESS)
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	/* By a rule, which has counted it */
	if (event->notified) {
		if (has_line(tool, event))
			show(tool, event, "trusted");
		return 0;
	}
	if (is_trusted(event)) {
		protect.allowed++;
		verdict = "trusted";
		allowed = true;
	} else if (is_pf && is_traced(&event->pf)) {
		return kint_reply_pf(tool->conn, event, KVMI_PF_TRAP_ACCESS);
	} else if (!is_pf && event->access.access != KVMI_PAGE_ACCESS_W) {
		/* Only writing is protected exactly */
		allowed = true;
	} else if (!is_pf && is_in_gap(event->access.gpa, event->access.size)) {
		protect.beside++;
		allowed = true;
	}
	if (!allowed) {
		protect.denied++;
		verdict = verdicts[protect.policy];
	}
	if (verdict && !has_line(tool, event))
		verdict = NULL;
	/* A line may take its time */
	err = kint_reply(tool->conn, event,
			 allowed ? KVMI_EVENT_ACTION_ALLOW : answers[protect.policy]);
	if (verdict)
		show(tool, event, verdict);
	return err;
}

static void on_begin(struct tool *tool)
{
	protect.begun = false;
	protect.wait = (struct kernel_wait){ 0 };
	protect.ranged = false;
	forget_trusted();
	process_begin();
	rate_begin();
	protect.nseen = 0;
	protect.denied = 0;
	protect.allowed = 0;
	protect.beside = 0;
	untold_begin(&protect.silent);
	memset(&protect.k, 0, sizeof(protect.k));
	if (protect.json) {
		json_session(stdout, tool);
		return;
	}
	printf("protecting ");
	session_describe(tool, stdout);
}

static void on_armed(struct tool *tool)
{
	char buf[8];

	if (protect.explain && !protect.json)
		explain_rules();
	if (protect.json)
		json_armed(stdout, tool);
	else
		printf("%9.3f  protected: what is left is %s\n", session_seconds(tool),
		       access_letters(protect.left, buf));
}

/* At most once a second unless @now */
static void print_silent(struct tool *tool, bool now)
{
	if (untold_due(&protect.silent, now))
		printf("%9.3f  all     the same again, %llu times so far\n",
		       session_seconds(tool), protect.silent.count);
}

static bool restricts(void)
{
	return protect.ranged;
}

static int on_tick(struct tool *tool)
{
	print_silent(tool, false);
	rate_print(tool, protect.json, false);
	return 0;
}

static void on_end(struct tool *tool, const char *why)
{
	print_silent(tool, true);
	rate_print(tool, protect.json, true);
	if (!protect.json) {
		printf("%9.3f  end after %llu accesses %s", session_seconds(tool),
		       protect.denied + ull(rules_hits(RULE_REFUSES)), verdicts[protect.policy]);
		if (protect.ntrusted)
			printf(", %llu trusted", protect.allowed + ull(rules_hits(RULE_ALLOWS)));
		if (protect.exact)
			printf(", %llu beside the ranges",
			       protect.beside + ull(rules_hits(RULE_COUNTS)));
	}
	rules_print_end(tool, protect.json);
	if (protect.json)
		json_end(stdout, tool, why);
	else
		printf(": %s\n", why);
	rules_tell_lost();
}

static bool parse_policy(const char *text)
{
	static const char *const names[] = {
		[REPORT] = "report", [DENY] = "deny", [CRASH] = "crash",
	};
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]))
			continue;
		protect.policy = i;
		return true;
	}
	error("--policy %s: give report, deny or crash", text);
	return false;
}

static bool parse_against(const char *text)
{
	uint8_t taken;

	if (!parse_access(text, &taken) || !taken ||
	    (taken & ~KVMI_PAGE_ACCESS_RWX)) {
		error("--against %s: give some of the letters rwx", text);
		return false;
	}
	protect.left = KVMI_PAGE_ACCESS_RWX & ~taken;
	return true;
}

static bool add_range(const char *text)
{
	struct range *r = &protect.ranges[protect.nranges];

	if (protect.nranges < MAX_RANGES && parse_extent(text, &r->gpa, &r->size)) {
		protect.nranges++;
		return true;
	}
	error("--range %s: give START-LAST or START+LENGTH, physical addresses, %s; %u at most",
	      text, "or START for what is left of its page", MAX_RANGES);
	return false;
}

static bool add_trusted(const char *text)
{
	struct range *t = &protect.trusted[protect.ntrusted];

	if (protect.ntrusted == MAX_TRUSTED) {
		error("--trust %s: %u are the most", text, MAX_TRUSTED);
		return false;
	}
	if (!parse_extent(text, &t->gpa, &t->size)) {
		if (!*text || (*text >= '0' && *text <= '9')) {
			error("--trust %s: give a symbol, or START-LAST of virtual addresses, %s",
			      text, "or START for what is left of its page");
			return false;
		}
		protect.trusted_names[protect.ntrusted] = text;
	}
	protect.ntrusted++;
	return true;
}

static void print_usage(void)
{
	printf("usage: kvmi protect --listen ADDRESS [options] [common options]\n"
	       "  --kernel         text and read-only data of the guest's Linux kernel\n"
	       "  --range RANGE    START-LAST or START+LENGTH, physical, or START for what is left\n"
	       "                   of its page; may be repeated\n"
	       "  --exact          of the pages of these ranges, the rest may be written\n"
	       "  --against KINDS  what is taken away: some of rwx (w)\n"
	       "  --policy POLICY  deny: the instruction has no effect and the guest goes on\n"
	       "                   (default); report: it has; crash: the VM is shut down\n"
	       "  --trust CODE     code that may do it: a symbol, or START-LAST, virtual, or START\n"
	       "                   for what is left of its page; may be repeated\n"
	       "  --symbols FILE   System.map or vmlinux of the guest's kernel, for names\n"
	       "  --quiet          no lines: the kernel refuses by rules, and counts\n"
	       "  --explain        show what the kernel decides without asking\n"
	       "  --process        which process of a Linux guest it was\n"
	       "  --rate LINES     lines for accesses, a second on average (10); 0 is no limit\n"
	       "  --json           JSON lines, one for each access\n"
	       "  --once           leave when the session ends, instead of waiting for the next\n");
}

int cmd_protect(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "kernel", no_argument, NULL, 'k' },
		{ "range", required_argument, NULL, 'r' },
		{ "exact", no_argument, NULL, 'e' },
		{ "against", required_argument, NULL, 'a' },
		{ "policy", required_argument, NULL, 'p' },
		{ "trust", required_argument, NULL, 't' },
		{ "symbols", required_argument, NULL, 's' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "explain", no_argument, NULL, 'x' },
		{ "process", no_argument, NULL, OPT_PROCESS },
		{ "rate", required_argument, NULL, OPT_RATE },
		{ "json", no_argument, NULL, 'j' },
		{ "once", no_argument, NULL, OPT_ONCE },
		{ NULL, 0, NULL, 0 }
	};
	static const struct monitor monitor = {
		.late = "protected from",
		.arm = on_arm,
		.event = on_event,
		.begin = on_begin,
		.armed = on_armed,
		.restricts = restricts,
		.tick = on_tick,
		.end = on_end,
	};
	bool ok = true;
	int opt;

	tool->wait_ms = -1;
	rate_init(GUARDS_RATE);
	while (ok && (opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'k':
			protect.kernel = true;
			break;
		case 'r':
			ok = add_range(optarg);
			break;
		case 'e':
			protect.exact = true;
			break;
		case 'a':
			ok = parse_against(optarg);
			break;
		case 'p':
			ok = parse_policy(optarg);
			break;
		case 't':
			ok = add_trusted(optarg);
			break;
		case 's':
			ok = symbols_load(optarg);
			break;
		case 'q':
			protect.quiet = true;
			break;
		case 'x':
			protect.explain = true;
			break;
		case OPT_PROCESS:
			process_want();
			break;
		case OPT_RATE:
			ok = parse_rate(optarg);
			break;
		case 'j':
			protect.json = true;
			break;
		case OPT_ONCE:
			tool->once = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!ok || !no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	if (!protect.kernel && !protect.nranges) {
		error("protect: say what to protect: --kernel or --range");
		return EXIT_USAGE;
	}
	if (protect.exact && !protect.nranges) {
		error("protect: --exact is about --range");
		return EXIT_USAGE;
	}
	if (protect.exact && protect.left != (KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)) {
		error("protect: --exact is about writes: not with another --against");
		return EXIT_USAGE;
	}
	/* A guard that fails when the guest boots is no use, and the names do not change */
	if (!find_trusted())
		return EXIT_USAGE;
	streams_live(protect.json, true);
	return monitor_run(tool, &monitor);
}
