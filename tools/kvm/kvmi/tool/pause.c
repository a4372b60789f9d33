// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi pause: hold vCPUs, show where they are, let them go.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

static void print_state(const struct kint_event *event)
{
	const struct kvmi_vcpu_event_arch *a = &event->common.arch;

	printf("vCPU %u  paused at %#llx, %u-bit code, CPL %u, cr3 %#llx, rsp %#llx\n",
	       event->common.vcpu, ull(a->regs.rip), mode_bits(a->mode), a->sregs.ss.dpl,
	       ull(a->sregs.cr3), ull(a->regs.rsp));
}

/* Ask for PAUSE events; @held->wanted is set to how many will come */
static int ask(struct tool *tool, int vcpu, struct held *held)
{
	int err = 0;

	if (vcpu >= 0) {
		held->wanted = 1;
		return kint_pause_vcpu(tool->conn, vcpu, true);
	}
	err = kint_pause_all(tool->conn, true, &held->wanted);
	if (err != -ENOSYS && err != -EPERM)
		return err;
	/* An older kernel, or only the other one is allowed */
	err = 0;
	for (held->wanted = 0; held->wanted < tool->vcpus && !err; ++held->wanted)
		err = kint_pause_vcpu(tool->conn, held->wanted, true);
	return err;
}

/*
 * Take events until as many vCPUs stand still as are wanted.  One with an event that pass_by()
 * leaves open, which may be a PAUSE, does, and stays so.
 */
static int collect(struct tool *tool, int vcpu, struct held *held, bool tell)
{
	int64_t deadline = deadline_ns(tool->timeout_ms);
	struct kint_event event;
	unsigned int left_open;
	int err;

	if (vcpu < 0)
		held->wanted -= tool->left_open < held->wanted ? tool->left_open : held->wanted;
	while (held->n < held->wanted) {
		err = next_event(tool, &event, deadline);
		if (err)
			return err;
		if (event.id == KVMI_VCPU_EVENT_PAUSE && kint_event_is_own(tool->conn, &event)) {
			held->events[held->n++] = event;
			if (tell)
				print_state(&event);
			continue;
		}
		left_open = tool->left_open;
		err = pass_by(tool, &event);
		if (err)
			return err;
		if (tool->left_open == left_open || (vcpu >= 0 && event.common.vcpu != vcpu))
			continue;
		held->wanted--;
		if (tell)
			print_state(&event);
	}
	return 0;
}

/*
 * Have the vCPU stand still, or with a negative number all but @not_started, which the
 * guest has not started and which cannot be paused.  Returns 0, or an error after
 * saying what is wrong; @held->events is the caller's to free in any case.
 */
int hold_vcpus(struct tool *tool, int vcpu, unsigned int not_started, bool tell,
	       struct held *held)
{
	int err;

	memset(held, 0, sizeof(*held));
	err = ask(tool, vcpu, held);
	if (!err) {
		held->events = calloc(held->wanted + (size_t)1, sizeof(*held->events));
		held->wanted -= not_started < held->wanted ? not_started : held->wanted;
		err = held->events ? collect(tool, vcpu, held, tell) : -ENOMEM;
	}
	if (err == -ETIMEDOUT && held->events)
		error("%s: %u of %u vCPUs did not stop: %s", tool->command,
		      held->wanted - held->n, held->wanted, explain(err));
	else if (err)
		error("%s: %s", tool->command, explain(err));
	return err;
}

/* How many vCPUs the guest has not started, or an error */
static int count_not_started(struct tool *tool)
{
	struct kint_registers regs;
	unsigned int i;
	int n = 0, err;

	for (i = 0; i < tool->vcpus; i++) {
		err = kint_get_registers(tool->conn, i, &regs, NULL, NULL, 0);
		if (err == -EAGAIN)
			n++;
		else if (err)
			return err;
	}
	return n;
}

/* All that run, without a word but of what is wrong: MONITOR_TOLD; as hold_vcpus() */
int hold_guest(struct tool *tool, struct held *held)
{
	int n = count_not_started(tool);

	if (n < 0)
		return n;
	return hold_vcpus(tool, -1, n, false, held) ? MONITOR_TOLD : 0;
}

int let_go(struct tool *tool, const struct held *held)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < held->n && !err; i++)
		err = kint_reply(tool->conn, &held->events[i], KVMI_EVENT_ACTION_ALLOW);
	return err;
}

/* Returns 0 when the time is over, else what ended it */
static int hold(struct tool *tool, int hold_ms)
{
	int64_t deadline = deadline_ns(hold_ms);
	struct kint_event event;
	int err;

	for (;;) {
		err = next_event(tool, &event, deadline);
		if (err == -ETIMEDOUT)
			return 0;
		if (!err)
			err = pass_by(tool, &event);
		if (err)
			return err;
	}
}

static int pause_and_hold(struct tool *tool, int vcpu, int hold_ms)
{
	int n = vcpu < 0 ? count_not_started(tool) : 0, err, ended;
	struct held held;

	/* What is wrong with those that do not answer is said when they do not stop */
	err = hold_vcpus(tool, vcpu, n > 0 ? n : 0, true, &held);
	if (err) {
		free(held.events);
		return EXIT_ERROR;
	}
	printf("%9.3f  all of them stand still%s", session_seconds(tool),
	       hold_ms < 0 ? " until ^C" : "");
	if (n > 0)
		printf("; %d the guest has not started", n);
	putchar('\n');
	ended = hold(tool, hold_ms);
	err = ended == -EPIPE ? ended : let_go(tool, &held);
	if (!err)
		printf("%9.3f  and go on%s%s\n", session_seconds(tool),
		       ended == -ECANCELED ? ": " : "", ended == -ECANCELED ? explain(ended) : "");
	if (ended && ended != -ECANCELED && ended != -EINTR)
		err = ended;
	free(held.events);
	if (err)
		error("pause: %s", explain(err));
	return err ? EXIT_ERROR : EXIT_OK;
}

static void print_usage(void)
{
	printf("usage: kvmi pause --listen ADDRESS [options] [common options]\n"
	       "  --vcpu N       only this vCPU, else all\n"
	       "  --for SECONDS  let go after that time, else on ^C; 0 only shows where they are\n");
}

int cmd_pause(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ "for", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 }
	};
	int opt, err, vcpu = -1, hold_ms = -1;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'v':
			if (!parse_vcpu(optarg, &vcpu))
				return EXIT_USAGE;
			break;
		case 'f':
			if (parse_seconds(optarg, &hold_ms))
				break;
			error("--for %s: give a number of seconds", optarg);
			return EXIT_USAGE;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;
	if (!vcpu_exists(tool, vcpu))
		return EXIT_ERROR;
	return pause_and_hold(tool, vcpu, hold_ms);
}
