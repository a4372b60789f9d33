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

/* The vCPUs that are to stand still, unless the guest has not started them */
static unsigned int first_of(const struct held *held)
{
	return held->vcpu < 0 ? 0 : held->vcpu;
}

static unsigned int end_of(const struct held *held)
{
	return held->vcpu < 0 ? held->tool->vcpus : held->vcpu + 1u;
}

/* An event has come: does its vCPU stand still now? */
static int take(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	struct held *held = arg;
	uint16_t nr = event->common.vcpu;
	int err = 0;

	if (!event->is_vcpu)
		return -ECANCELED;
	if (event->id == KVMI_VCPU_EVENT_PAUSE && kint_event_is_own(conn, event)) {
		/* One that was added meanwhile waits until the tool leaves */
		if (!vcpu_set_has(&held->found, nr))
			return 0;
		held->events[held->n++] = *event;
	} else {
		err = pass_by(held->tool, event);
		if (err || !vcpu_set_has(&held->tool->left_open, nr))
			return err;
	}
	if (nr < first_of(held) || nr >= end_of(held) || vcpu_set_has(&held->stands, nr))
		return 0;
	vcpu_set_put(&held->stands, nr, true);
	held->standing++;
	if (held->tell)
		print_state(event);
	return 0;
}

/*
 * Which vCPUs has the guest started that were not known to be?  One that has not, or that waits
 * for the answer of a tool that was lost, is not asked to pause: it would do so after this tool has
 * left, and wait for one that knows why.  A vCPU has sent its events when it answers a command.
 */
static int find_started(struct held *held, unsigned int *found)
{
	struct kint_registers regs;
	unsigned int i;
	int err;

	*found = 0;
	held->wanted = end_of(held) - first_of(held);
	held->not_started = 0;
	for (i = first_of(held); i < end_of(held); i++) {
		if (vcpu_set_has(&held->found, i))
			continue;
		err = kint_get_registers(held->tool->conn, i, &regs, NULL, NULL, 0);
		if (err == -EAGAIN) {
			held->not_started++;
			held->wanted--;
			continue;
		}
		/* What may not be asked is no reason not to pause it */
		if (err && err != -EPERM)
			return err;
		vcpu_set_put(&held->found, i, true);
		++*found;
	}
	return 0;
}

/*
 * Ask for PAUSE events of those that have been started and do not stand still.  One that owes
 * as many as there can be will have one.
 */
static int ask(struct held *held)
{
	struct kint_conn *conn = held->tool->conn;
	unsigned int i;
	int err;

	if (held->vcpu < 0 && !held->not_started && !held->standing) {
		err = kint_pause_all(conn, true, NULL);
		/* An older kernel, or only the other one is allowed */
		if (err != -ENOSYS && err != -EPERM)
			return err == -EBUSY ? 0 : err;
	}
	for (i = first_of(held); i < end_of(held); i++) {
		if (!vcpu_set_has(&held->found, i) || vcpu_set_has(&held->stands, i))
			continue;
		err = kint_pause_vcpu(conn, i, false);
		if (err && err != -EBUSY)
			return err;
	}
	return 0;
}

static int collect(struct held *held)
{
	int64_t deadline = deadline_ns(held->tool->timeout_ms);
	struct kint_event event;
	int err = 0;

	while (held->standing < held->wanted && !err) {
		err = next_event(held->tool, &event, deadline);
		if (!err)
			err = take(held->tool->conn, &event, held);
	}
	return err;
}

static int hold_each(struct held *held)
{
	unsigned int i, found;
	int err;

	/* Since this session began */
	held->stands = held->tool->left_open;
	for (i = first_of(held); i < end_of(held); i++)
		held->standing += vcpu_set_has(&held->stands, i);
	/* Only when all of them stand still none can start another one any more */
	do {
		err = find_started(held, &found);
		if (!err)
			err = kint_dispatch(held->tool->conn, take, held);
		if (!err && found)
			err = ask(held);
		if (!err)
			err = collect(held);
	} while (!err && found && held->not_started);
	return err;
}

/*
 * Have the vCPU stand still, or with a negative number all that the guest has started.  One with
 * an event that pass_by() leaves open, which may be a PAUSE, does, and stays so.  Returns 0, or
 * an error after saying what is wrong; @held->events is the caller's to free in any case.
 */
int hold_vcpus(struct tool *tool, int vcpu, bool tell, struct held *held)
{
	int err;

	memset(held, 0, sizeof(*held));
	held->tool = tool;
	held->vcpu = vcpu;
	held->tell = tell;
	held->events = calloc(tool->vcpus + (size_t)1, sizeof(*held->events));
	err = held->events ? hold_each(held) : -ENOMEM;
	/* The one that was named */
	if (!err && vcpu >= 0 && held->not_started)
		err = -EAGAIN;
	if (err == -ETIMEDOUT)
		error("%s: %u of %u vCPUs did not stop: %s", tool->command,
		      held->wanted - held->standing, held->wanted, explain(err));
	else if (err)
		error("%s: %s", tool->command, explain(err));
	return err;
}

/* All that run, without a word but of what is wrong: MONITOR_TOLD; as hold_vcpus() */
int hold_guest(struct tool *tool, struct held *held)
{
	return hold_vcpus(tool, -1, false, held) ? MONITOR_TOLD : 0;
}

int let_go(struct tool *tool, const struct held *held)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < held->n && !err; i++)
		err = kint_reply(tool->conn, &held->events[i], KVMI_EVENT_ACTION_ALLOW);
	return err;
}

/* After let_go(), in a line that says that they go on: which do not? */
void print_left(const struct held *held)
{
	unsigned int left = held->standing - held->n;

	if (left)
		printf(", but for %u that wait%s for the answer of a tool that was lost", left,
		       left == 1 ? "s" : "");
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
	struct held held;
	int err, ended;

	err = hold_vcpus(tool, vcpu, true, &held);
	if (err) {
		free(held.events);
		return EXIT_ERROR;
	}
	printf("%9.3f  all of them stand still%s", session_seconds(tool),
	       hold_ms < 0 ? " until ^C" : "");
	if (held.not_started)
		printf("; %u the guest has not started", held.not_started);
	putchar('\n');
	ended = hold(tool, hold_ms);
	err = ended == -EPIPE ? ended : let_go(tool, &held);
	if (!err) {
		printf("%9.3f  and go on", session_seconds(tool));
		print_left(&held);
		printf("%s%s\n", ended == -ECANCELED ? ": " : "",
		       ended == -ECANCELED ? explain(ended) : "");
	}
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
