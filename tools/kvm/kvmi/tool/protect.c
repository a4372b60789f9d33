// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi protect: keep the guest from writing (or reading, or executing) ranges of
 * its memory, such as the text and the read-only data of its kernel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_RANGES	64
#define MAX_TRUSTED	16
#define MAX_SEEN	256

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
	bool json;

	bool begun;
	struct guest_kernel k;
	struct seen seen[MAX_SEEN];
	unsigned int nseen;
	unsigned long long denied, allowed;
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

static int find_trusted(void)
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
			return MONITOR_TOLD;
		}
		t->size = end - t->gpa;
	}
	return 0;
}

/* On the first vCPU: what holds for all of them */
static int begin(struct tool *tool, uint16_t vcpu)
{
	const struct kernel_range *r;
	unsigned int i;
	int err;

	err = check_access(tool, protect.left);
	if (!err && (protect.kernel || symbols_loaded()))
		err = kernel_find(tool, vcpu, &protect.k);
	if (!err)
		err = find_trusted();
	if (!err && protect.kernel && !protect.json)
		print_kernel(&protect.k);
	for (i = 0; i < protect.nranges && !err; i++)
		err = restrict_pages(tool, protect.ranges[i].gpa, protect.ranges[i].size,
				     protect.left);
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

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	int err;

	tool->doing = "turning the PF event on";
	err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_PF, true);
	if (err || protect.begun)
		return err;
	err = begin(tool, vcpu);
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

static bool is_new(const struct kint_event *event)
{
	struct seen s = {
		.rip = event->common.arch.regs.rip, .page = event->pf.gpa / PAGE_SIZE,
		.access = event->pf.access,
	};
	unsigned int i;

	for (i = 0; i < protect.nseen; i++)
		if (protect.seen[i].rip == s.rip && protect.seen[i].page == s.page &&
		    protect.seen[i].access == s.access)
			return false;
	if (protect.nseen < MAX_SEEN)
		protect.seen[protect.nseen++] = s;
	return true;
}

static void show(struct tool *tool, const struct kint_event *event, const char *verdict)
{
	uint64_t rip = event->common.arch.regs.rip;

	if (!protect.json && !is_new(event)) {
		protect.silent.count++;
		return;
	}
	if (!rate_allows())
		return;
	if (protect.json) {
		json_event(stdout, tool, event, verdict);
		return;
	}
	printf("%9.3f  vCPU %u  %-10s  ", session_seconds(tool), event->common.vcpu, verdict);
	print_target(&event->pf);
	printf(", by code at %#llx", ull(rip));
	print_symbol(stdout, rip);
	printf(", CPL %u\n", event->common.arch.sregs.ss.dpl);
}

static bool is_trusted(uint64_t rip)
{
	unsigned int i;

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

	if (event->id != KVMI_VCPU_EVENT_PF)
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	if (is_trusted(event->common.arch.regs.rip)) {
		protect.allowed++;
		show(tool, event, "trusted");
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	}
	protect.denied++;
	show(tool, event, verdicts[protect.policy]);
	return kint_reply(tool->conn, event, answers[protect.policy]);
}

static void on_begin(struct tool *tool)
{
	protect.begun = false;
	rate_begin();
	protect.nseen = 0;
	protect.denied = 0;
	protect.allowed = 0;
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

	if (!protect.json)
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
	if (protect.json) {
		json_end(stdout, tool, why);
		return;
	}
	printf("%9.3f  end after %llu accesses %s", session_seconds(tool), protect.denied,
	       verdicts[protect.policy]);
	if (protect.ntrusted)
		printf(", %llu trusted", protect.allowed);
	printf(": %s\n", why);
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
	error("--range %s: give START-LAST or START+LENGTH, physical addresses, %u ranges at most",
	      text, MAX_RANGES);
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
			error("--trust %s: give a symbol, or START-LAST of virtual addresses",
			      text);
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
	       "  --range RANGE    START-LAST or START+LENGTH, physical; may be repeated\n"
	       "  --against KINDS  what is taken away: some of rwx (w)\n"
	       "  --policy POLICY  deny: the instruction has no effect and the guest goes on\n"
	       "                   (default); report: it has; crash: the VM is shut down\n"
	       "  --trust CODE     a symbol or virtual START-LAST: code that may do it; repeatable\n"
	       "  --symbols FILE   System.map of the guest's kernel, for names\n"
	       "  --rate LINES     lines for accesses, a second on average (10); 0 is no limit\n"
	       "  --json           JSON lines, one for each access\n"
	       "  --once           leave when the session ends, instead of waiting for the next\n");
}

int cmd_protect(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "kernel", no_argument, NULL, 'k' },
		{ "range", required_argument, NULL, 'r' },
		{ "against", required_argument, NULL, 'a' },
		{ "policy", required_argument, NULL, 'p' },
		{ "trust", required_argument, NULL, 't' },
		{ "symbols", required_argument, NULL, 's' },
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
	streams_live(protect.json, true);
	return monitor_run(tool, &monitor);
}
