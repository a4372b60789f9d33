// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi break: stop at instructions of the guest, tell, and go on, without the
 * guest noticing.
 *
 * At a breakpoint the vCPU executes one instruction in a view that shows the guest's
 * own code, and comes back by itself: one event and one reply, on a kernel that has
 * flags of replies.  A vCPU that reads or writes a page with breakpoints, be it at
 * another breakpoint, goes to view 0, the guest's own memory, for one instruction.
 * It may write any of these pages, whatever it was reported for: all are looked at
 * before it comes back, and before another instruction can be executed from a copy.
 *
 * In view 0, and where a breakpoint is stepped over, there is no INT3 of the tool's.  One
 * that a vCPU meets there is the guest's own, a debugger's or that of a kernel that patches
 * its text, and is left to it.  Those are for the kernel to decide, by rules.  A stop is asked
 * about: no rule can have an instruction executed in another view.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define NO_CALL (~0u)

/* A vCPU that is in view 0 for an instruction */
struct excursion {
	struct excursion *next;
	uint16_t vcpu;
	bool under_way;
	uint64_t from;		/* RIP */
};

struct point {
	uint64_t gva, gpa;
	unsigned int call;	/* of the table of system calls, or NO_CALL */
};

static struct {
	const char *places[MAX_HIDDEN];
	unsigned int calls[MAX_HIDDEN];
	unsigned int nplaces, ncalls;
	uint64_t count;
	bool json, visible, explain;

	bool begun;
	struct guest_kernel k;
	struct point points[MAX_HIDDEN];
	unsigned int npoints;
	struct excursion *excursions;
	uint64_t hits;
} brk;

static struct excursion *excursion_of(uint16_t vcpu)
{
	struct excursion *e;

	for (e = brk.excursions; e && e->vcpu != vcpu; e = e->next)
		;
	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->vcpu = vcpu;
	e->next = brk.excursions;
	brk.excursions = e;
	return e;
}

static void free_excursions(void)
{
	struct excursion *e;

	while (brk.excursions) {
		e = brk.excursions;
		brk.excursions = e->next;
		free(e);
	}
}

static int check_host(struct tool *tool)
{
	struct kvmi_vm_get_features_reply f;
	const char *why = NULL;
	int err;

	tool->doing = "what the host can do";
	err = kint_get_features(tool->conn, &f);
	if (err)
		return err;
	if (f.views < 2)
		why = "the host has no views of guest memory: it has no EPT or NPT";
	else if (!(f.flags & KVMI_FEATURE_SINGLESTEP))
		why = "the host cannot single-step";
	else if (!(f.flags & KVMI_FEATURE_EXEC_ONLY) && !brk.visible)
		why = "no pages that can be executed and not read here; --visible goes on anyway";
	if (!why)
		return 0;
	error("break: %s", why);
	return MONITOR_TOLD;
}

static int add_point(struct tool *tool, uint16_t vcpu, uint64_t gva, unsigned int call)
{
	uint8_t access = KVMI_PAGE_ACCESS_X | (brk.visible ? KVMI_PAGE_ACCESS_R : 0);
	struct point *p = &brk.points[brk.npoints];
	int err;

	tool->doing = "setting a breakpoint";
	err = kint_translate_gva(tool->conn, vcpu, gva, &p->gpa);
	if (err == -EFAULT) {
		error("break: nothing is mapped at %#llx", ull(gva));
		return MONITOR_TOLD;
	}
	if (!err)
		err = hidden_add(tool, p->gpa, access);
	if (err)
		return err;
	p->gva = gva;
	p->call = call;
	brk.npoints++;
	if (brk.json)
		return 0;
	printf("breakpoint at %#llx", ull(gva));
	print_symbol(stdout, gva);
	printf(", physical %#llx\n", ull(p->gpa));
	return 0;
}

static int add_places(struct tool *tool, uint16_t vcpu)
{
	unsigned int i;
	uint64_t gva;
	int err = 0;

	for (i = 0; i < brk.nplaces && !err; i++) {
		if (!parse_number(brk.places[i], &gva) &&
		    !symbol_address(brk.places[i], &gva)) {
			error("break: %s: no address, and no symbol of --symbols FILE",
			      brk.places[i]);
			return MONITOR_TOLD;
		}
		err = add_point(tool, vcpu, gva, NO_CALL);
	}
	if (!err && brk.ncalls && !brk.k.call_table) {
		error("break: the guest's kernel has no table of system calls that was found");
		return MONITOR_TOLD;
	}
	for (i = 0; i < brk.ncalls && !err; i++)
		err = add_point(tool, vcpu, brk.k.calls[brk.calls[i]], brk.calls[i]);
	return err;
}

/* Asked about are all pages that have breakpoints, which are fewer */
static void make_rules(struct rule_list *list)
{
	struct kvmi_rule *rule;
	uint64_t page;
	unsigned int i, k;

	rules_new(list);
	if (hidden_step_view()) {
		rule = rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
		rule->match = KVMI_MATCH_VIEW;
		rule->view = hidden_step_view();
	}
	for (i = 0; i < brk.npoints; i++) {
		page = brk.points[i].gpa / PAGE_SIZE;
		for (k = 0; brk.points[k].gpa / PAGE_SIZE != page; k++)
			;
		if (k == i)
			rules_add_numbers(list, RULE_ASKS, KVMI_RULE_ASK, page * PAGE_SIZE,
					  page * PAGE_SIZE + PAGE_SIZE - 1);
	}
	rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
	rules_reason(list, "stops are asked about, as each is shown, and steps in another view");
	rules_reason(list, "INT3s of the guest's own, elsewhere, are allowed");
}

static void explain_rules(void)
{
	struct rule_list list;

	make_rules(&list);
	rules_explain(KVMI_VCPU_EVENT_BREAKPOINT, &list);
	rules_new(&list);
	rules_reason(&list, "who reads or writes these pages steps in view 0, copies move");
	rules_explain(KVMI_VCPU_EVENT_PF, &list);
}

static int begin(struct tool *tool, uint16_t vcpu)
{
	struct rule_list list;
	int err = check_host(tool);

	if (!err && (brk.ncalls || symbols_loaded()))
		err = kernel_find(tool, vcpu, &brk.k);
	tool->doing = "making a view";
	if (!err)
		err = hidden_begin(tool, KVMI_PAGE_ACCESS_RWX);
	if (err)
		return err;
	err = add_places(tool, vcpu);
	if (!err) {
		make_rules(&list);
		err = rules_set(tool, KVMI_VCPU_EVENT_BREAKPOINT, &list);
	}
	if (err)
		hidden_end(tool);
	return err;
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	int err = 0;

	if (!brk.begun)
		err = begin(tool, vcpu);
	if (err)
		return err;
	brk.begun = true;
	tool->doing = "turning events on";
	err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_BREAKPOINT, true);
	if (!err)
		err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_PF, true);
	tool->doing = "changing the view of a vCPU";
	if (!err)
		err = kint_set_view(tool->conn, vcpu, hidden_view());
	return err;
}

static const struct point *point_of(const struct kint_event *event)
{
	unsigned int i;

	for (i = 0; i < brk.npoints; i++)
		if (event->breakpoint.gpa == brk.points[i].gpa)
			return &brk.points[i];
	return NULL;
}

/* Have the instruction executed in the guest's own memory, and say when it is done */
static int step_over(struct tool *tool, const struct kint_event *event)
{
	uint16_t vcpu = event->common.vcpu;
	struct excursion *e = excursion_of(vcpu);
	int err;

	if (!e)
		return -ENOMEM;
	e->under_way = true;
	e->from = event->common.arch.regs.rip;
	if (hidden_step_view())
		return kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_RETRY,
					KVMI_REPLY_SET_VIEW | KVMI_REPLY_SINGLESTEP, 0);
	err = kint_set_view(tool->conn, vcpu, 0);
	if (!err)
		err = kint_control_singlestep(tool->conn, vcpu, true);
	return err ? err : kint_reply(tool->conn, event, KVMI_EVENT_ACTION_RETRY);
}

static int come_back(struct tool *tool, const struct kint_event *event)
{
	uint16_t vcpu = event->common.vcpu;
	struct excursion *e = excursion_of(vcpu);
	int err;

	if (!e || !e->under_way)
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	/* Something else came first, and the instruction has not been executed */
	if (event->singlestep.failed && event->common.arch.regs.rip == e->from)
		return hidden_step_view() ?
		       kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_ALLOW,
					KVMI_REPLY_SINGLESTEP, 0) :
		       kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	e->under_way = false;
	err = hidden_refresh(tool);
	if (!err && hidden_step_view())
		return kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_ALLOW,
					KVMI_REPLY_SET_VIEW, hidden_view());
	if (!err)
		err = kint_control_singlestep(tool->conn, vcpu, false);
	if (!err)
		err = kint_set_view(tool->conn, vcpu, hidden_view());
	return err ? err : kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

static void show(struct tool *tool, const struct kint_event *event, const struct point *p)
{
	const struct kvm_regs *r = &event->common.arch.regs;

	brk.hits++;
	if (!rate_allows())
		return;
	if (brk.json) {
		json_event(stdout, tool, event, NULL);
		return;
	}
	who_look(tool, event);
	printf("%9.3f  vCPU %u  ", session_seconds(tool), event->common.vcpu);
	print_who(stdout);
	if (p->call != NO_CALL) {
		print_call(stdout, tool, event, p->call);
		putchar('\n');
		return;
	}
	printf("%#llx", ull(r->rip));
	print_symbol(stdout, r->rip);
	printf("  rdi %#llx  rsi %#llx  rdx %#llx  rcx %#llx\n", ull(r->rdi), ull(r->rsi),
	       ull(r->rdx), ull(r->rcx));
}

static int on_breakpoint(struct tool *tool, const struct kint_event *event)
{
	const struct excursion *e = excursion_of(event->common.vcpu);
	const struct point *p = point_of(event);
	int err;

	/* In the view of the steps, as in view 0, it is the guest's own */
	if (!p || (e && e->under_way) ||
	    (hidden_step_view() && event->common.arch.view == hidden_step_view()))
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	if (!brk.count || brk.hits < brk.count)
		show(tool, event, p);
	if (hidden_step_view())
		err = kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_RETRY,
				       KVMI_REPLY_STEP_IN_VIEW, hidden_step_view());
	else
		err = step_over(tool, event);
	return !err && brk.count && brk.hits == brk.count ? -EINTR : err;
}

static int on_event(struct tool *tool, const struct kint_event *event)
{
	int err;

	switch (event->id) {
	case KVMI_VCPU_EVENT_BREAKPOINT:
		return on_breakpoint(tool, event);
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return come_back(tool, event);
	case KVMI_VCPU_EVENT_PF:
		if (hidden_has(event->pf.gpa))
			return step_over(tool, event);
		if (!hidden_is_copy(event->pf.gpa))
			break;
		err = hidden_move(tool, event->pf.gpa);
		return err ? err : kint_reply(tool->conn, event, KVMI_EVENT_ACTION_RETRY);
	}
	return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

/*
 * Before breakpoints are no longer reported no vCPU may run into one: all go back
 * to view 0, where there are none.  What had been hit until then is retried.
 */
static int last_events(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	unsigned int action = KVMI_EVENT_ACTION_ALLOW;

	(void)arg;
	if (!event->is_vcpu)
		return 0;
	if (event->id == KVMI_VCPU_EVENT_BREAKPOINT && point_of(event))
		action = KVMI_EVENT_ACTION_RETRY;
	kint_reply(conn, event, action);
	return 0;
}

static void on_leave(struct tool *tool)
{
	unsigned int vcpu;

	if (!brk.begun)
		return;
	for (vcpu = 0; vcpu < tool->vcpus; vcpu++)
		kint_set_view(tool->conn, vcpu, 0);
	kint_dispatch(tool->conn, last_events, NULL);
	hidden_end(tool);
}

static void on_begin(struct tool *tool)
{
	brk.begun = false;
	brk.npoints = 0;
	brk.hits = 0;
	free_excursions();
	process_begin();
	rate_begin();
	if (brk.json) {
		json_session(stdout, tool);
		return;
	}
	printf("breakpoints in ");
	session_describe(tool, stdout);
}

static void on_armed(struct tool *tool)
{
	if (brk.explain && !brk.json)
		explain_rules();
	if (!brk.json)
		printf("%9.3f  every vCPU will stop there\n", session_seconds(tool));
}

static int on_tick(struct tool *tool)
{
	rate_print(tool, brk.json, false);
	/* What a device of the guest writes to its text is reported by no vCPU */
	return brk.begun ? hidden_refresh(tool) : 0;
}

static void on_end(struct tool *tool, const char *why)
{
	bool enough = brk.count && brk.hits >= brk.count;
	const char *undone = strchr(why, ';');

	rate_print(tool, brk.json, true);
	if (!brk.json)
		printf("%9.3f  end after %llu stops", session_seconds(tool), ull(brk.hits));
	rules_print_end(tool, brk.json);
	if (brk.json)
		json_end(stdout, tool, why);
	else
		printf(": %s%s\n", enough ? "as many as wanted" : why,
		       enough && undone ? undone : "");
}

static bool add_calls(char *list)
{
	char *save, *name;

	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (brk.ncalls < MAX_HIDDEN && parse_call(name, &brk.calls[brk.ncalls])) {
			brk.ncalls++;
			continue;
		}
		error("--call %s: not known here; give the number of the system call", name);
		return false;
	}
	return true;
}

static void print_usage(void)
{
	printf("usage: kvmi break --listen ADDRESS [options] [common options] [PLACE]...\n"
	       "PLACE is a virtual address or, with --symbols, a name of the guest's kernel\n"
	       "  --call LIST     system calls of 64-bit Linux, by name or number, openat,execve:\n"
	       "                  show each with its arguments\n"
	       "  --symbols FILE  System.map or vmlinux of the guest's kernel\n"
	       "  --count N       leave after N stops\n"
	       "  --spare RANGE   physical START+LENGTH the guest has and does not use; pages of\n"
	       "                  it that are all zero hold copies (below 640K, as Linux has it)\n"
	       "  --visible       on a host without execute-only pages: who reads the code of\n"
	       "                  the guest sees the breakpoints\n"
	       "  --explain       show what the kernel decides without asking\n"
	       "  --process       which process of a Linux guest it was\n"
	       "  --rate LINES    lines for stops, a second on average; 0 is no limit (0)\n"
	       "  --json          JSON lines\n"
	       "  --once          leave when the session ends, instead of waiting for the next\n");
}

static bool parse_count(const char *text)
{
	if (parse_number(text, &brk.count) && brk.count)
		return true;
	error("--count %s: give a number above 0", text);
	return false;
}

int cmd_break(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "call", required_argument, NULL, 'c' },
		{ "symbols", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'n' },
		{ "spare", required_argument, NULL, 'p' },
		{ "visible", no_argument, NULL, 'v' },
		{ "explain", no_argument, NULL, 'e' },
		{ "process", no_argument, NULL, OPT_PROCESS },
		{ "rate", required_argument, NULL, OPT_RATE },
		{ "json", no_argument, NULL, 'j' },
		{ "once", no_argument, NULL, OPT_ONCE },
		{ NULL, 0, NULL, 0 }
	};
	static const struct monitor monitor = {
		.arm = on_arm,
		.event = on_event,
		.begin = on_begin,
		.armed = on_armed,
		.tick = on_tick,
		.leave = on_leave,
		.end = on_end,
	};
	bool ok = true;
	int opt, err;

	tool->wait_ms = -1;
	while (ok && (opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'c':
			ok = add_calls(optarg);
			break;
		case 's':
			ok = symbols_load(optarg);
			break;
		case 'n':
			ok = parse_count(optarg);
			break;
		case 'p':
			ok = parse_spare(optarg);
			break;
		case 'v':
			brk.visible = true;
			break;
		case 'e':
			brk.explain = true;
			break;
		case OPT_PROCESS:
			process_want();
			break;
		case OPT_RATE:
			ok = parse_rate(optarg);
			break;
		case 'j':
			brk.json = true;
			break;
		case OPT_ONCE:
			tool->once = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!ok)
		return EXIT_USAGE;
	for (; optind < argc && brk.nplaces < MAX_HIDDEN; optind++)
		brk.places[brk.nplaces++] = argv[optind];
	if (!brk.nplaces && !brk.ncalls) {
		error("break: say where: PLACE or --call");
		return EXIT_USAGE;
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	streams_live(brk.json, false);
	err = monitor_run(tool, &monitor);
	free_excursions();
	return err;
}
