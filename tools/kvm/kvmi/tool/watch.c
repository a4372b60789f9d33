// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi watch: what the guest writes to control registers and MSRs, live.
 */
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_MSRS	64
#define MAX_SPACES	4096		/* power of two */
#define SUM_EVERY_NS	1000000000ll
#define SUM_LINE	"%9.3f  all     %-12s  "
#define CR4_PGE		(1ull << 7)
#define CR3_ADDRESS	0x000ffffffffff000ull

/* The MSRs that say where system calls enter the kernel, and EFER */
static const uint32_t default_msrs[] = {
	0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176,
};

static struct {
	bool cr[5];
	bool cr_given;
	uint32_t msrs[MAX_MSRS];
	unsigned int nmsrs;
	bool json;
	bool cr3_all;
	unsigned long long events;
	unsigned long long cr3_loads, cr3_shown, flushes, flushes_shown;
	int64_t sum_time;
	/* CR4.PGE was cleared, not told yet: if it is set next, it was a flush */
	bool pge_off;
	struct kvmi_event pge_event;
	uint64_t spaces[MAX_SPACES];	/* hash of page tables seen, 0 is free */
	unsigned int nspaces;
} watch;

static void seen_space(uint64_t cr3)
{
	unsigned int i = (cr3 >> 12) * 2654435761u % MAX_SPACES;

	cr3 &= CR3_ADDRESS;
	if (!cr3 || watch.nspaces == MAX_SPACES / 2)
		return;
	while (watch.spaces[i] && watch.spaces[i] != cr3)
		i = (i + 1) % MAX_SPACES;
	if (!watch.spaces[i])
		watch.nspaces++;
	watch.spaces[i] = cr3;
}

/* What is counted only, at most once a second */
static void summary(struct tool *tool, bool now)
{
	if (!now && now_ns() - watch.sum_time < SUM_EVERY_NS)
		return;
	if (watch.cr3_loads != watch.cr3_shown && !watch.cr3_all) {
		if (watch.json)
			printf("{\"time\":%.6f,\"event\":\"cr3\",\"loads\":%llu,\"spaces\":%u}\n",
			       session_seconds(tool), watch.cr3_loads, watch.nspaces);
		else
			printf(SUM_LINE "loaded %llu time%s so far, with %u%s page table%s\n",
			       session_seconds(tool), "CR3", watch.cr3_loads,
			       watch.cr3_loads == 1 ? "" : "s", watch.nspaces,
			       watch.nspaces == MAX_SPACES / 2 ? " or more" : "",
			       watch.nspaces == 1 ? "" : "s");
		watch.cr3_shown = watch.cr3_loads;
		watch.sum_time = now_ns();
	}
	if (watch.flushes != watch.flushes_shown) {
		printf(SUM_LINE "PGE off and on again, to flush the TLB, %llu time%s so far\n",
		       session_seconds(tool), "CR4", watch.flushes, watch.flushes == 1 ? "" : "s");
		watch.flushes_shown = watch.flushes;
		watch.sum_time = now_ns();
	}
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < 5 && !err; i++)
		if (watch.cr[i])
			err = kvmi_control_cr(tool->conn, vcpu, i, true);
	if (!err && (watch.cr[0] || watch.cr[3] || watch.cr[4]))
		err = kvmi_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_CR, true);
	for (i = 0; i < watch.nmsrs && !err; i++)
		err = kvmi_control_msr(tool->conn, vcpu, watch.msrs[i], true);
	if (!err && watch.nmsrs)
		err = kvmi_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_MSR, true);
	return err;
}

static void print_event(struct tool *tool, const struct kvmi_event *event)
{
	printf("%9.3f  vCPU %u  ", session_seconds(tool), event->common.vcpu);
	print_change(stdout, event);
	putchar('\n');
}

/*
 * A kernel flushes the TLB by clearing CR4.PGE and setting it again at once.
 * Returns true if the event is one half of that, which is counted.
 */
static bool is_flush(struct tool *tool, const struct kvmi_event *event)
{
	bool only_pge = event->id == KVMI_VCPU_EVENT_CR && event->cr.cr == 4 &&
			(event->cr.old_value ^ event->cr.new_value) == CR4_PGE;
	bool off = only_pge && (event->cr.old_value & CR4_PGE);

	if (watch.pge_off && watch.pge_event.common.vcpu == event->common.vcpu) {
		watch.pge_off = false;
		if (only_pge && !off) {
			watch.flushes++;
			return true;
		}
		print_event(tool, &watch.pge_event);
	}
	if (!off || watch.pge_off)
		return false;
	watch.pge_off = true;
	watch.pge_event = *event;
	return true;
}

static int on_event(struct tool *tool, const struct kvmi_event *event)
{
	bool cr3 = event->id == KVMI_VCPU_EVENT_CR && event->cr.cr == 3;

	watch.events++;
	if (cr3) {
		watch.cr3_loads++;
		seen_space(event->cr.new_value);
	}
	if (cr3 && !watch.cr3_all)
		;	/* counted */
	else if (watch.json)
		json_change(stdout, tool, event, NULL);
	else if (!is_flush(tool, event))
		print_event(tool, event);
	return kvmi_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

static void on_begin(struct tool *tool)
{
	watch.events = 0;
	watch.cr3_loads = 0;
	watch.cr3_shown = 0;
	watch.flushes = 0;
	watch.flushes_shown = 0;
	watch.sum_time = 0;
	watch.pge_off = false;
	watch.nspaces = 0;
	memset(watch.spaces, 0, sizeof(watch.spaces));
	if (watch.json) {
		json_session(stdout, tool);
		return;
	}
	printf("watching ");
	session_describe(tool, stdout);
}

static void on_tick(struct tool *tool)
{
	summary(tool, false);
}

static void on_end(struct tool *tool, const char *why)
{
	if (watch.pge_off)
		print_event(tool, &watch.pge_event);
	summary(tool, true);
	if (watch.json)
		json_end(stdout, tool, why);
	else
		printf("%9.3f  end after %llu events: %s\n", session_seconds(tool), watch.events,
		       why);
}

static bool parse_crs(char *list)
{
	char *save, *cr;

	watch.cr_given = true;
	for (cr = strtok_r(list, ",", &save); cr; cr = strtok_r(NULL, ",", &save)) {
		if ((strcmp(cr, "0") && strcmp(cr, "3") && strcmp(cr, "4")))
			return false;
		watch.cr[*cr - '0'] = true;
	}
	return true;
}

static bool parse_msrs(char *list)
{
	char *save, *name;

	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		if (watch.nmsrs == MAX_MSRS || !parse_msr(name, &watch.msrs[watch.nmsrs++]))
			return false;
	return true;
}

static void print_usage(void)
{
	printf("usage: kvmi watch --listen ADDRESS [options] [common options]\n"
	       "  --cr LIST    control registers, of 0,3,4\n"
	       "  --msr LIST   MSRs by name or number, LSTAR,0x174; may be repeated\n"
	       "               without both: CR0, CR3, CR4, EFER and where system calls enter\n"
	       "  --cr3-all    a line for each load of CR3, not a count every second\n"
	       "  --json       JSON lines\n"
	       "  --once       leave when the session ends, instead of waiting for the next\n");
}

int cmd_watch(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "cr", required_argument, NULL, 'c' },
		{ "msr", required_argument, NULL, 'm' },
		{ "cr3-all", no_argument, NULL, 'a' },
		{ "json", no_argument, NULL, 'j' },
		{ "once", no_argument, NULL, OPT_ONCE },
		{ NULL, 0, NULL, 0 }
	};
	static const struct monitor monitor = {
		.arm = on_arm,
		.event = on_event,
		.begin = on_begin,
		.tick = on_tick,
		.end = on_end,
	};
	int opt;

	tool->wait_ms = -1;
	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'c':
			if (parse_crs(optarg))
				break;
			error("--cr: give one or more of 0,3,4");
			return EXIT_USAGE;
		case 'm':
			if (parse_msrs(optarg))
				break;
			error("--msr: give names like LSTAR or numbers, %d at most", MAX_MSRS);
			return EXIT_USAGE;
		case 'a':
			watch.cr3_all = true;
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
	if (!watch.cr_given && !watch.nmsrs) {
		watch.cr[0] = true;
		watch.cr[3] = true;
		watch.cr[4] = true;
		watch.nmsrs = sizeof(default_msrs) / sizeof(default_msrs[0]);
		memcpy(watch.msrs, default_msrs, sizeof(default_msrs));
	}
	return monitor_run(tool, &monitor);
}
