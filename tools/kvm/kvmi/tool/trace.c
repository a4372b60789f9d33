// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi trace: the system calls of a Linux guest, with arguments and results, by process.
 *
 * All 64-bit system calls are made by one instruction, where the kernel is entered, and
 * come back to the next one.  There is a breakpoint at each, and at both the stack has
 * the program's registers on top: the call's number and arguments, and afterwards its
 * result.  Where they are on the stack tells which call it is that comes back, as each
 * thread has a stack of its own; the guest's processes need not be known for that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define CALL_SIZE	5	/* of the instruction that makes them */
#define MAX_OPEN	8192	/* calls that have not come back */
#define NR_HEADS	1024
#define MAX_FILTER	64

#define SYSCALL_SIZE	2	/* of the program's instruction */

/*
 * What a 64-bit program has on its stack in a signal handler: where the handler returns to,
 * a head of 40 bytes, then registers, among which these words.
 */
#define SIGNAL_REGS	48
#define SIGNAL_AX	13
#define SIGNAL_IP	16

enum { POINT_CALL, POINT_RETURN };

/* How it ended */
enum how { RETURNED, NOT_YET, RESTARTED, SIGNALLED, NR_HOW };

static const char *const how_text[NR_HOW] = {
	[NOT_YET] = "?", [RESTARTED] = "? (made again after a signal)",
	[SIGNALLED] = "? (a signal is handled first)",
};

static const char *const how_json[NR_HOW] = {
	[RETURNED] = "returned", [NOT_YET] = "open", [RESTARTED] = "restarted",
	[SIGNALLED] = "signalled",
};

/* These do not come back, or to somewhere else */
#define NR_RT_SIGRETURN	15
#define NR_EXECVE	59
#define NR_EXIT		60
#define NR_EXIT_GROUP	231
#define NR_EXECVEAT	322
#define NR_NONE		UINT32_MAX	/* what execve() and rt_sigreturn() leave behind */

/* A call that has not come back */
struct open_call {
	struct open_call *next;		/* with the same hash */
	uint64_t regs;			/* where the program's registers are */
	double time;
	unsigned int nr;
	uint16_t vcpu;
	bool is_known;
	struct process process;
	uint64_t args[NR_CALL_ARGS];
	uint64_t ip;			/* where the program goes on */
	bool began_before;		/* the tool came */
	bool incomplete;		/* a string was not in memory */
	char *text;			/* as it is shown */
};

static struct {
	unsigned int calls[MAX_FILTER], ncalls;
	uint32_t pids[MAX_FILTER];
	unsigned int npids;
	uint64_t count;
	bool json, visible;

	bool begun;
	struct guest_kernel k;
	struct open_call *heads[NR_HEADS];
	unsigned int nopen;
	unsigned long long seen;
} trace;

static struct open_call **head_of(uint64_t regs)
{
	return &trace.heads[(regs * 0x9e3779b97f4a7c15ull) >> 54];
}

static void free_call(struct open_call *call)
{
	if (call)
		free(call->text);
	free(call);
}

/* The caller's to free */
static struct open_call *take_call(uint64_t regs)
{
	struct open_call **at = head_of(regs), *call;

	for (; *at; at = &(*at)->next) {
		call = *at;
		if (call->regs != regs)
			continue;
		*at = call->next;
		trace.nopen--;
		return call;
	}
	return NULL;
}

/* ---- What is shown ---- */
static bool enough(void)
{
	return trace.count && trace.seen >= trace.count;
}

static void show_json(const struct tool *tool, const struct open_call *call, enum how how,
		      uint64_t result)
{
	unsigned int i, n = call_args(call->nr);
	char buf[16];
	int err;

	printf("{\"time\":%.6f,\"vcpu\":%u", call->time, call->vcpu);
	if (call->is_known) {
		putchar(',');
		json_process(stdout, &call->process);
	}
	printf(",\"event\":\"call\",\"nr\":%u,\"name\":", call->nr);
	json_string(stdout, call_name(call->nr, buf));
	printf(",\"args\":[");
	for (i = 0; i < n; i++)
		printf("%s\"%#llx\"", i ? "," : "", ull(call->args[i]));
	printf("],\"text\":");
	json_string(stdout, call->text);
	printf(",\"end\":\"%s\"", how_json[how]);
	if (how == RETURNED) {
		printf(",\"result\":\"%#llx\"", ull(result));
		err = call_error(result);
		if (err)
			printf(",\"errno\":%d", err);
		if (err && strerrorname_np(err))
			printf(",\"error\":\"%s\"", strerrorname_np(err));
	}
	if (call->began_before)
		printf(",\"began_before\":true");
	else if (how != NOT_YET)
		printf(",\"took\":%.6f", session_seconds(tool) - call->time);
	printf("}\n");
}

static void show(const struct tool *tool, const struct open_call *call, enum how how,
		 uint64_t result)
{
	if (enough())
		return;
	trace.seen++;
	if (!rate_allows())
		return;
	if (trace.json) {
		show_json(tool, call, how, result);
		return;
	}
	printf("%9.3f  vCPU %u  ", call->time, call->vcpu);
	if (call->is_known)
		print_process(stdout, &call->process);
	else
		putchar('?');
	printf("  %s = ", call->text);
	if (how == RETURNED)
		print_call_result(stdout, call->nr, result);
	else
		printf("%s", how_text[how]);
	printf(call->began_before ? " (began before)\n" : "\n");
}

static bool is_wanted(const struct open_call *call)
{
	unsigned int i;

	for (i = 0; i < trace.ncalls && trace.calls[i] != call->nr; i++)
		;
	if (trace.ncalls && i == trace.ncalls)
		return false;
	for (i = 0; i < trace.npids; i++)
		if (call->is_known && trace.pids[i] == call->process.pid)
			return true;
	return !trace.npids;
}

/* ---- What happens ---- */

static int make_text(struct tool *tool, uint16_t vcpu, struct open_call *c)
{
	size_t size;
	FILE *text;

	free(c->text);
	c->text = NULL;
	text = open_memstream(&c->text, &size);
	if (!text)
		return -ENOMEM;
	c->incomplete = !print_call_args(text, tool, vcpu, c->nr, c->args);
	return fclose(text) ? -ENOMEM : 0;
}

/* *@call is set to what the program asks for, or NULL if that is of no interest */
static int read_call(struct tool *tool, const struct kint_event *event, struct open_call **call)
{
	uint64_t at = event->common.arch.regs.rsp, regs[NR_PT_REGS];
	struct open_call c = {
		.regs = at, .time = session_seconds(tool), .vcpu = event->common.vcpu,
	};
	int err;

	*call = NULL;
	err = read_virtual(tool, c.vcpu, at, regs, sizeof(regs));
	if (err)
		return err == -EFAULT ? 0 : err;
	c.nr = regs[PT_REGS_NR];
	c.ip = regs[PT_REGS_IP];
	call_args_of(regs, c.args);
	if (c.nr == NR_NONE)
		return 0;
	c.is_known = !process_of(tool, event, &c.process);
	if (!is_wanted(&c))
		return 0;
	err = make_text(tool, c.vcpu, &c);
	if (err)
		return err;
	*call = malloc(sizeof(c));
	if (!*call) {
		free(c.text);
		return -ENOMEM;
	}
	**call = c;
	return 0;
}

static int on_call(struct tool *tool, const struct kint_event *event)
{
	struct open_call *call, *old = take_call(event->common.arch.regs.rsp), **head;
	int err;

	/* The thread was ended in it, and another one has its stack by now */
	if (old)
		show(tool, old, NOT_YET, 0);
	free_call(old);
	err = read_call(tool, event, &call);
	if (err || !call)
		return err;
	/* These do not come back, and others are too many: what there is to show is shown */
	if (call->nr == NR_EXIT || call->nr == NR_EXIT_GROUP || trace.nopen == MAX_OPEN) {
		show(tool, call, NOT_YET, 0);
		free_call(call);
		return 0;
	}
	head = head_of(call->regs);
	call->next = *head;
	*head = call;
	trace.nopen++;
	return 0;
}

static enum how how_ended(const struct open_call *call, uint64_t ip)
{
	return ip == call->ip ? RETURNED :
	       ip == call->ip - SYSCALL_SIZE ? RESTARTED : SIGNALLED;
}

/*
 * The result is the program's RAX, if it goes on where it made the call.  Before a signal
 * is handled it is among what the handler will return to, on the program's stack.
 */
static int read_result(struct tool *tool, uint16_t vcpu, const struct open_call *call,
		       const uint64_t regs[NR_PT_REGS], enum how *how, uint64_t *result)
{
	uint64_t saved[SIGNAL_IP + 1];
	int err;

	*how = RETURNED;
	*result = regs[PT_REGS_AX];
	if (call->nr == NR_RT_SIGRETURN || call->nr == NR_EXECVE || call->nr == NR_EXECVEAT)
		return 0;
	*how = how_ended(call, regs[PT_REGS_IP]);
	if (*how != SIGNALLED)
		return 0;
	err = read_virtual(tool, vcpu, regs[PT_REGS_SP] + SIGNAL_REGS, saved, sizeof(saved));
	if (err)
		return err == -EFAULT ? 0 : err;
	*how = how_ended(call, saved[SIGNAL_IP]);
	*result = saved[SIGNAL_AX];
	return 0;
}

static int on_return(struct tool *tool, const struct kint_event *event)
{
	uint64_t at = event->common.arch.regs.rsp, regs[NR_PT_REGS], result = 0;
	uint16_t vcpu = event->common.vcpu;	/* not always the one it was made on */
	struct open_call *call = take_call(at);
	enum how how = NOT_YET;
	int err = 0;

	if (!call) {
		err = read_call(tool, event, &call);
		if (call)
			call->began_before = true;
	}
	if (err || !call)
		return err;
	err = read_virtual(tool, vcpu, at, regs, sizeof(regs));
	if (!err)
		err = read_result(tool, vcpu, call, regs, &how, &result);
	else if (err == -EFAULT)
		err = 0;
	/* The kernel has read it by now, unless it is of a program that is there no more */
	if (!err && call->incomplete && how == RETURNED && regs[PT_REGS_IP] == call->ip)
		err = make_text(tool, vcpu, call);
	if (!err)
		show(tool, call, how, result);
	free_call(call);
	return err;
}

static int on_hit(struct tool *tool, const struct kint_event *event, unsigned int point)
{
	int err = point == POINT_CALL ? on_call(tool, event) : on_return(tool, event);

	if (!err && enough())
		return -EINTR;
	return err;
}

static int find_places(struct tool *tool, uint16_t vcpu)
{
	uint64_t call, gpa;
	int err;

	err = kernel_find(tool, vcpu, &trace.k);
	if (err)
		return err;
	err = kernel_find_dispatch(tool, &trace.k, &call);
	if (err == -ENOENT) {
		error("trace: where system calls enter, the guest's kernel is unlike others");
		return MONITOR_TOLD;
	}
	if (!err)
		err = process_find(tool, vcpu, &trace.k);
	/* Without processes there is as much to see, but nothing to choose by */
	if (err && (err != MONITOR_TOLD || trace.npids))
		return err;
	err = stops_open(tool, on_hit);
	if (err)
		return err;
	err = stops_add(tool, vcpu, call, &gpa);
	if (!err)
		err = stops_add(tool, vcpu, call + CALL_SIZE, &gpa);
	if (err)
		stops_cancel(tool);
	return err;
}

static int on_arm(struct tool *tool, uint16_t vcpu)
{
	int err = 0;

	if (!trace.begun)
		err = stops_check_host(tool, trace.visible);
	if (!err && !trace.begun)
		err = find_places(tool, vcpu);
	if (err)
		return err;
	trace.begun = true;
	return stops_arm(tool, vcpu);
}

/* Tell those that have not come back */
static void end_calls(const struct tool *tool)
{
	struct open_call *call;
	unsigned int i;

	for (i = 0; i < NR_HEADS; i++) {
		while (trace.heads[i]) {
			call = trace.heads[i];
			trace.heads[i] = call->next;
			show(tool, call, NOT_YET, 0);
			free_call(call);
		}
	}
	trace.nopen = 0;
}

static void on_begin(struct tool *tool)
{
	trace.begun = false;
	trace.seen = 0;
	stops_forget();
	process_begin();
	rate_begin();
	if (trace.json) {
		json_session(stdout, tool);
		return;
	}
	printf("system calls in ");
	session_describe(tool, stdout);
}

static void on_armed(struct tool *tool)
{
	if (trace.json)
		json_armed(stdout, tool);
	else
		printf("%9.3f  every vCPU is traced\n", session_seconds(tool));
}

static int on_tick(struct tool *tool)
{
	rate_print(tool, trace.json, false);
	return stops_tick(tool);
}

static void on_end(struct tool *tool, const char *why)
{
	const char *undone = strchr(why, ';');
	bool cut = enough();

	end_calls(tool);
	rate_print(tool, trace.json, true);
	if (trace.json)
		json_end(stdout, tool, why);
	else
		printf("%9.3f  end after %llu calls: %s%s\n", session_seconds(tool), trace.seen,
		       cut ? "as many as wanted" : why, cut && undone ? undone : "");
}

static bool add_calls(char *list)
{
	char *save, *name;

	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (trace.ncalls < MAX_FILTER && parse_call(name, &trace.calls[trace.ncalls])) {
			trace.ncalls++;
			continue;
		}
		error("--call %s: give names or numbers of system calls, %u at most", name,
		      MAX_FILTER);
		return false;
	}
	return true;
}

static bool add_pids(char *list)
{
	char *save, *text;
	uint64_t pid;

	for (text = strtok_r(list, ",", &save); text; text = strtok_r(NULL, ",", &save)) {
		if (trace.npids < MAX_FILTER && parse_number(text, &pid) && pid < NO_ID) {
			trace.pids[trace.npids++] = pid;
			continue;
		}
		error("--pid %s: give numbers of processes, %u at most", text, MAX_FILTER);
		return false;
	}
	return true;
}

static void print_usage(void)
{
	printf("usage: kvmi trace --listen ADDRESS [options] [common options]\n"
	       "  --call LIST     only these system calls, by name or number\n"
	       "  --pid LIST      only these processes, all threads of each\n"
	       "  --symbols FILE  vmlinux of the guest's kernel, if it has no BTF\n"
	       "  --count N       leave after that many calls\n"
	       "  --spare RANGE   START+LENGTH or START-LAST, physical memory that the guest\n"
	       "                  does not use, for copies of its code (below 640K)\n"
	       "  --visible       go on if the guest can see breakpoints when it reads its code\n"
	       "  --rate LINES    lines for calls, a second on average; 0 is no limit (0)\n"
	       "  --json          JSON lines\n"
	       "  --once          leave when the session ends, instead of waiting for the next\n");
}

int cmd_trace(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "call", required_argument, NULL, 'c' },
		{ "pid", required_argument, NULL, 'i' },
		{ "symbols", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'n' },
		{ "spare", required_argument, NULL, 'p' },
		{ "visible", no_argument, NULL, 'v' },
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
		case 'i':
			ok = add_pids(optarg);
			break;
		case 's':
			ok = symbols_load(optarg);
			break;
		case 'n':
			ok = parse_count(optarg, &trace.count);
			break;
		case 'p':
			ok = parse_spare(optarg);
			break;
		case 'v':
			trace.visible = true;
			break;
		case OPT_RATE:
			ok = parse_rate(optarg);
			break;
		case 'j':
			trace.json = true;
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
	streams_live(trace.json, false);
	err = monitor_run(tool, &monitor);
	stops_forget();
	return err;
}
