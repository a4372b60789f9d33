// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi break: stop at instructions of the guest, tell, and go on, without the
 * guest noticing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define NO_CALL (~0u)

static struct {
	const char *places[MAX_HIDDEN];
	unsigned int calls[MAX_HIDDEN];
	unsigned int nplaces, ncalls;
	uint64_t count;
	bool json, visible, explain;

	bool begun;
	struct guest_kernel k;
	unsigned int at[MAX_HIDDEN];	/* a breakpoint's system call, or NO_CALL */
	unsigned int nat;
	uint64_t hits;
} brk;

static int add_point(struct tool *tool, uint16_t vcpu, uint64_t gva, unsigned int call)
{
	uint64_t gpa;
	int err = stops_add(tool, vcpu, gva, &gpa);

	if (err)
		return err;
	brk.at[brk.nat++] = call;
	if (brk.json)
		return 0;
	printf("breakpoint at %#llx", ull(gva));
	print_symbol(stdout, gva);
	printf(", physical %#llx\n", ull(gpa));
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

static void show(struct tool *tool, const struct kint_event *event, unsigned int call)
{
	const struct kvm_regs *r = &event->common.arch.regs;

	brk.hits++;
	if (!rate_allows())
		return;
	who_look(tool, event);
	if (brk.json) {
		json_event(stdout, tool, event, NULL);
		return;
	}
	printf("%9.3f  vCPU %u  ", session_seconds(tool), event->common.vcpu);
	print_who(stdout);
	if (call != NO_CALL) {
		print_call(stdout, tool, event, call);
		putchar('\n');
		return;
	}
	printf("%#llx", ull(r->rip));
	print_symbol(stdout, r->rip);
	printf("  rdi %#llx  rsi %#llx  rdx %#llx  rcx %#llx\n", ull(r->rdi), ull(r->rsi),
	       ull(r->rdx), ull(r->rcx));
}

static int on_hit(struct tool *tool, const struct kint_event *event, unsigned int point)
{
	if (!brk.count || brk.hits < brk.count)
		show(tool, event, brk.at[point]);
	return brk.count && brk.hits == brk.count ? -EINTR : 0;
}

static int begin(struct tool *tool, uint16_t vcpu)
{
	int err = stops_check_host(tool, brk.visible);

	if (!err && (brk.ncalls || symbols_loaded()))
		err = kernel_find(tool, vcpu, &brk.k);
	if (!err)
		err = stops_open(tool, on_hit);
	if (err)
		return err;
	err = add_places(tool, vcpu);
	if (!err)
		err = stops_set_rules(tool);
	if (err)
		stops_cancel(tool);
	return err;
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	int err = brk.begun ? 0 : begin(tool, vcpu);

	if (err)
		return err;
	brk.begun = true;
	return stops_arm(tool, vcpu);
}

static void on_begin(struct tool *tool)
{
	brk.begun = false;
	brk.nat = 0;
	brk.hits = 0;
	stops_forget();
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
		stops_explain(tool);
	if (brk.json)
		json_armed(stdout, tool);
	else
		printf("%9.3f  every vCPU will stop there\n", session_seconds(tool));
}

static int on_tick(struct tool *tool)
{
	rate_print(tool, brk.json, false);
	return stops_tick(tool);
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
		if (brk.ncalls < MAX_HIDDEN && parse_call(name, &brk.calls[brk.ncalls]) &&
		    brk.calls[brk.ncalls] < NR_TABLE_CALLS) {
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
		.event = stops_event,
		.begin = on_begin,
		.armed = on_armed,
		.tick = on_tick,
		.leave = stops_leave,
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
			ok = parse_count(optarg, &brk.count);
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
	stops_forget();
	return err;
}
