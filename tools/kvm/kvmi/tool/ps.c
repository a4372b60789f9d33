// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi ps: the processes of a Linux guest, without asking it.
 */
#include <errno.h>
#include <stdlib.h>
#include "tool.h"

static struct {
	bool threads, running, json;
	struct guest_kernel kernel;
	struct guest_linux guest;
	unsigned int found;
} ps;

static void print_json(const struct process *p)
{
	printf("{");
	json_process(stdout, p);
	if (p->ppid != NO_ID)
		printf(",\"ppid\":%u", p->ppid);
	if (p->uid != NO_ID)
		printf(",\"uid\":%u", p->uid);
	printf(",\"state\":\"%c\",\"threads\":%u,\"kernel\":%s,\"task\":\"%#llx\"", p->state,
	       p->threads, p->kernel ? "true" : "false", ull(p->task));
	if (p->cr3)
		printf(",\"cr3\":\"%#llx\"", ull(p->cr3));
	printf("}\n");
}

static void print_id(uint32_t id)
{
	if (id == NO_ID)
		printf(" %7s", "?");
	else
		printf(" %7u", id);
}

static int show(void *arg, const struct process *p)
{
	(void)arg;
	ps.found++;
	if (ps.json) {
		print_json(p);
		return 0;
	}
	printf("%7u", p->pid);
	if (ps.threads)
		print_id(p->tid);
	print_id(p->ppid);
	print_id(p->uid);
	printf("  %c", p->state);
	if (!ps.threads)
		printf("  %7u", p->threads);
	printf("  %#12llx  ", ull(p->cr3));
	/* As ps(1) has it: the kernel's have no program */
	printf(p->kernel ? "[" : "");
	print_text(stdout, p->comm);
	printf(p->kernel ? "]\n" : "\n");
	return 0;
}

static void print_head(void)
{
	if (ps.json)
		return;
	printf(ps.threads ? "    PID     TID    PPID     UID  S           CR3  COMMAND\n" :
	       "    PID    PPID     UID  S  THREADS           CR3  COMMAND\n");
}

/* With the guest standing still, or running if that is asked for */
static int list(struct tool *tool)
{
	int err = kernel_find(tool, 0, &ps.kernel);

	if (!err)
		err = linux_find(tool, 0, &ps.kernel, false, &ps.guest);
	if (err)
		return err;
	print_head();
	return linux_processes(tool, &ps.guest, ps.threads, show, NULL);
}

/* After what can be shown has been shown */
static void tell(const struct tool *tool, int err)
{
	const char *more = ps.running ? "; it may have changed meanwhile, try again" : "";

	if (kernel_missing(err))
		error("%s", kernel_missing(err));
	else if (err == -EFAULT)
		error("ps: the guest's list of processes leads nowhere after %u%s", ps.found, more);
	else if (err == -ELOOP)
		error("ps: the guest's list of processes has no end, %u are shown%s", ps.found,
		      more);
	else if (err < 0)
		error("ps: %s: %s", tool->doing, explain(err));
}

static void print_usage(void)
{
	printf("usage: kvmi ps --listen ADDRESS [options] [common options]\n"
	       "  --threads       a line for each thread\n"
	       "  --running       let the guest run meanwhile\n"
	       "  --symbols FILE  vmlinux of the guest's kernel, with its types, if it has no BTF\n"
	       "  --json          JSON lines\n");
}

int cmd_ps(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "threads", no_argument, NULL, 't' },
		{ "running", no_argument, NULL, 'r' },
		{ "symbols", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 }
	};
	struct held held = { 0 };
	int opt, err = 0, released;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 't':
			ps.threads = true;
			break;
		case 'r':
			ps.running = true;
			break;
		case 's':
			if (!symbols_load(optarg))
				return EXIT_USAGE;
			break;
		case 'j':
			ps.json = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;
	tool->doing = "pausing the guest";
	if (!ps.running)
		err = hold_guest(tool, &held);
	if (!err)
		err = list(tool);
	released = err == -EPIPE ? 0 : let_go(tool, &held);
	free(held.events);
	tell(tool, err ? err : released);
	return err || released ? EXIT_ERROR : EXIT_OK;
}
