// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi watch: what the guest writes to control registers and MSRs, live.
 */
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_MSRS	64
#define MAX_SPACES	4096		/* power of two */
#define CR3_EVERY_NS	1000000000ll
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
	FILE *out;

	unsigned long long events;
	unsigned long long cr3_loads, cr3_shown;
	int64_t cr3_time;
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

static void cr3_summary(struct tool *tool, bool now)
{
	if (watch.cr3_loads == watch.cr3_shown ||
	    (!now && now_ns() - watch.cr3_time < CR3_EVERY_NS))
		return;
	if (watch.json)
		fprintf(watch.out, "{\"time\":%.6f,\"event\":\"cr3\",\"loads\":%llu,\"spaces\":%u}\n",
			session_seconds(tool), watch.cr3_loads, watch.nspaces);
	else
		fprintf(watch.out, "%9.3f          CR3           %llu loads so far, %u%s different page tables\n",
			session_seconds(tool), watch.cr3_loads, watch.nspaces,
			watch.nspaces == MAX_SPACES / 2 ? " or more" : "");
	watch.cr3_shown = watch.cr3_loads;
	watch.cr3_time = now_ns();
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

static int on_event(struct tool *tool, const struct kvmi_event *event)
{
	watch.events++;
	if (event->id == KVMI_VCPU_EVENT_CR && event->cr.cr == 3) {
		watch.cr3_loads++;
		seen_space(event->cr.new_value);
		if (!watch.cr3_all)
			return kvmi_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	}
	if (event->id == KVMI_VCPU_EVENT_CR || event->id == KVMI_VCPU_EVENT_MSR) {
		if (watch.json) {
			json_change(watch.out, tool, event, NULL);
		} else {
			fprintf(watch.out, "%9.3f  vCPU %u  ", session_seconds(tool),
				event->common.vcpu);
			print_change(watch.out, event);
			fputc('\n', watch.out);
		}
	}
	return kvmi_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

static void on_begin(struct tool *tool)
{
	watch.events = 0;
	watch.cr3_loads = 0;
	watch.cr3_shown = 0;
	watch.cr3_time = 0;
	watch.nspaces = 0;
	memset(watch.spaces, 0, sizeof(watch.spaces));
	if (watch.json) {
		json_session(watch.out, tool);
		return;
	}
	fprintf(watch.out, "watching ");
	session_describe(tool, watch.out);
}

static void on_tick(struct tool *tool)
{
	if (!watch.cr3_all)
		cr3_summary(tool, false);
}

static void on_end(struct tool *tool, const char *why)
{
	if (!watch.cr3_all)
		cr3_summary(tool, true);
	if (watch.json)
		json_end(watch.out, tool, why);
	else
		fprintf(watch.out, "%9.3f  %llu events; end: %s\n", session_seconds(tool),
			watch.events, why);
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

static void usage(void)
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
		COMMON_OPTIONS
	};
	static const struct monitor monitor = {
		.arm = on_arm,
		.event = on_event,
		.begin = on_begin,
		.tick = on_tick,
		.end = on_end,
	};
	int opt, err;

	tool->wait_ms = -1;
	watch.out = stdout;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			usage();
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
			err = common_option(tool, opt, optarg);
			if (err)
				return err;
		}
	}
	if (optind < argc) {
		error("watch: '%s' is too much; see kvmi watch --help", argv[optind]);
		return EXIT_USAGE;
	}
	if (!watch.cr_given && !watch.nmsrs) {
		watch.cr[0] = true;
		watch.cr[3] = true;
		watch.cr[4] = true;
		watch.nmsrs = sizeof(default_msrs) / sizeof(default_msrs[0]);
		memcpy(watch.msrs, default_msrs, sizeof(default_msrs));
	}
	return monitor_run(tool, &monitor);
}
