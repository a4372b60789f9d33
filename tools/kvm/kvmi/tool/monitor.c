// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loop of watch and guard.
 *
 * A vCPU is armed while an event is open on it.  One of type PAUSE is asked for: it
 * comes before the first instruction of a vCPU that has not run yet, so nothing
 * is missed at boot, and a vCPU that is stopped does not keep the tool waiting.  Where a
 * tool was lost something else may come first, which is not to be judged by a tool that
 * knows nothing yet.
 * A vCPU that is added later announces itself with a CREATE_VCPU event, where the
 * kernel has it and the device manager allows it; else it is looked for.
 */
#include <errno.h>
#include <poll.h>
#include "tool.h"

#define TICK_MS		200
#define NEW_VCPUS_TICKS	5

enum state { RUNNING, UNHOOKED, FAILED };

struct loop {
	struct tool *tool;
	const struct monitor *monitor;
	unsigned int paused, armed;
	uint16_t witness;		/* the vCPU that tells of the guest, see process_look() */
	enum state state;
	bool later;			/* a vCPU is to be armed again */
	unsigned int told_later;	/* bit n: why, which is MONITOR_ n, has been told */
	struct vcpu_set is_armed;
	struct vcpu_set is_asked;	/* for a PAUSE event, which will come */
};

/*
 * A VM that has not answered in time may have been frozen, or its host is busy: then it
 * connects again, and a guard that had left would not be there.
 */
static bool may_come_again(const struct tool *tool, int err)
{
	return err == -ETIMEDOUT && !tool->once;
}

/* Turn on what is wanted on a vCPU that has an event open, once */
static int arm(struct loop *loop, uint16_t vcpu)
{
	struct tool *tool = loop->tool;
	int err;

	if (vcpu_set_has(&loop->is_armed, vcpu))
		return 0;
	err = takeover_vcpu(tool, vcpu);
	if (!err) {
		tool->doing = "arming";
		err = loop->monitor->arm(tool, vcpu);
	}
	if (!err)
		err = takeover_armed(tool, vcpu);
	if (err == -EPIPE || err == -EINTR)
		return err;
	if (kernel_missing(err) && !tool->once) {
		/* As after a reboot: who ends a protection by that has gained nothing */
		if (!(loop->told_later & 1u << err))
			error("%s; waiting for it", kernel_missing(err));
		loop->told_later |= 1u << err;
		loop->later = true;
		return 0;
	}
	if (err) {
		if (kernel_missing(err))
			error("%s", kernel_missing(err));
		else if (err != MONITOR_TOLD)
			error("vCPU %u: %s: %s", vcpu, tool->doing, explain(err));
		if (may_come_again(tool, err))
			return err;
		loop->state = FAILED;
		return 1;
	}
	vcpu_set_put(&loop->is_armed, vcpu, true);
	if (vcpu >= tool->vcpus)
		tool->vcpus = vcpu + 1;
	loop->witness = vcpu;
	if (++loop->armed != tool->vcpus)
		return 0;
	if (loop->monitor->armed)
		loop->monitor->armed(tool);
	return 0;
}

/* Another vCPU that is armed, if there is one */
static uint16_t next_armed(const struct loop *loop, uint16_t vcpu)
{
	unsigned int i, next;

	for (i = 1; i < loop->tool->vcpus; i++) {
		next = (vcpu + i) % loop->tool->vcpus;
		if (vcpu_set_has(&loop->is_armed, next))
			return next;
	}
	return vcpu;
}

/* An event that is nothing but an opportunity to arm the vCPU */
static bool is_pause(const struct kint_event *event)
{
	return event->id == KVMI_VCPU_EVENT_PAUSE || event->id == KVMI_VCPU_EVENT_CREATE_VCPU;
}

static int on_event(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	struct loop *loop = arg;
	bool repeats;
	int err = 0, ret;

	if (!event->is_vcpu) {
		if (event->id == KVMI_VM_EVENT_UNHOOK)
			loop->state = UNHOOKED;
		return loop->state != RUNNING;
	}
	/* Nothing waits for an answer to it */
	if (event->notified)
		return loop->monitor->event(loop->tool, event);

	if (event->id == KVMI_VCPU_EVENT_PAUSE)
		vcpu_set_put(&loop->is_asked, event->common.vcpu, false);
	else if (event->id == KVMI_VCPU_EVENT_CREATE_VCPU && loop->monitor->created)
		loop->monitor->created(loop->tool, event);
	repeats = takeover_repeats(event) && !vcpu_set_has(&loop->is_armed, event->common.vcpu);
	/* What is waited for is looked for at a PAUSE event, and not whatever happens */
	if (is_pause(event) || !loop->told_later)
		err = arm(loop, event->common.vcpu);
	/*
	 * Also if it was not armed.  While a kernel is waited for it leaves that view at the next
	 * PAUSE event, which it owes, and so before it comes to that again.
	 */
	if (repeats) {
		ret = kint_reply(conn, event, KVMI_EVENT_ACTION_RETRY);
		return err ? err : ret;
	}
	if (err)
		return err;
	return is_pause(event) ? kint_reply(conn, event, KVMI_EVENT_ACTION_ALLOW) :
				 loop->monitor->event(loop->tool, event);
}

/*
 * Ask for a PAUSE event of every vCPU there is and that was not asked yet.  One that the guest
 * has not started is not asked again and again: the kernel counts what it owes.
 */
static int pause_vcpus(struct loop *loop)
{
	struct tool *tool = loop->tool;
	int err;

	for (; loop->paused < tool->vcpus; loop->paused++) {
		if (vcpu_set_has(&loop->is_armed, loop->paused) ||
		    vcpu_set_has(&loop->is_asked, loop->paused))
			continue;
		err = kint_pause_vcpu(tool->conn, loop->paused, false);
		/* It owes as many as there can be to tools that were lost: there will be one */
		if (err == -EBUSY)
			err = 0;
		if (err == -EPERM)
			error("pausing a vCPU: %s", explain(err));
		if (err)
			return err;
		vcpu_set_put(&loop->is_asked, loop->paused, true);
	}
	return 0;
}

static int find_new_vcpus(struct loop *loop)
{
	struct kvmi_vm_get_info_reply info;
	int err = kint_get_info(loop->tool->conn, &info);

	if (err)
		return err;
	if (info.vcpu_count > loop->tool->vcpus)
		loop->tool->vcpus = info.vcpu_count;
	if (loop->later)
		loop->paused = 0;
	loop->later = false;
	return pause_vcpus(loop);
}

/* Old kernels have no such event; then find_new_vcpus() has to do */
static int want_new_vcpus(struct loop *loop)
{
	int err = kint_control_vm_events(loop->tool->conn, KVMI_VCPU_EVENT_CREATE_VCPU, true);
	const char *why;

	if (!err || err == -EPIPE || err == -EINTR)
		return err;
	why = err == -EINVAL ? "the host's kernel does not have it" : explain(err);
	if (loop->monitor->late)
		error("vCPUs that are added are %s a second late: CREATE_VCPU event: %s",
		      loop->monitor->late, why);
	if (!loop->monitor->create_vcpu)
		return 0;
	error("CREATE_VCPU event: %s", why);
	loop->state = FAILED;
	return 1;
}

static int run_session(struct loop *loop)
{
	struct tool *tool = loop->tool;
	struct pollfd fds[2] = {
		{ .fd = kint_fd(tool->conn), .events = POLLIN },
		{ .fd = tool->signal_fd, .events = POLLIN },
	};
	int64_t next_tick = now_ns(), now;
	unsigned int ticks = 0;
	int err, wait;

	err = takeover_begin(tool);
	if (!err)
		err = want_new_vcpus(loop);
	if (!err)
		err = pause_vcpus(loop);
	while (!err) {
		now = now_ns();
		if (now >= next_tick) {
			next_tick = now + TICK_MS * 1000000ll;
			err = rules_count(tool, false);
			if (!err && loop->monitor->tick)
				err = loop->monitor->tick(tool);
			if (!err && ++ticks % NEW_VCPUS_TICKS == 0)
				err = find_new_vcpus(loop);
			if (err)
				break;
		}
		wait = (next_tick - now) / 1000000 + 1;
		if (poll(fds, 2, wait) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -EINTR;
		err = kint_dispatch(tool->conn, on_event, loop);
		/* All events have their answers: what a vCPU waits with does not wait for this */
		if (!err && loop->monitor->late && loop->armed &&
		    !process_look(tool, loop->witness))
			loop->witness = next_armed(loop, loop->witness);
	}
	return err;
}

/*
 * Whoever guards is not to undo that because of an error, when the device manager may hold the
 * guest without a tool.  One that has never begun has nothing to undo.  One that has begun on a
 * single vCPU has: others may never be started, and all have been asked for a PAUSE event, or
 * announce themselves, and so come to that before their first instruction, whoever is asked then.
 */
static bool stays_guarded(const struct loop *loop, int err)
{
	const struct monitor *monitor = loop->monitor;

	if (!monitor->late || loop->state == UNHOOKED || err == -EINTR || err == -EPIPE)
		return false;
	/* While a kernel is waited for something may be guarded already, and need not be */
	return may_come_again(loop->tool, err) || loop->armed ||
	       (monitor->restricts && monitor->restricts());
}

int monitor_run(struct tool *tool, const struct monitor *monitor)
{
	static struct loop loop;
	int err, left, detached;
	const char *why;

	if (monitor->late)
		process_guards();
	do {
		loop = (struct loop){ .tool = tool, .monitor = monitor };
		err = session_open(tool);
		if (err)
			return asked_to_leave() ? EXIT_OK : err;
		monitor->begin(tool);
		err = run_session(&loop);
		if (loop.state == UNHOOKED)
			why = explain(-ECANCELED);
		else if (loop.state == FAILED)
			why = "an error";
		else
			why = explain(err);
		left = 0;
		if (stays_guarded(&loop, err)) {
			/* As far as the VMM goes without a tool */
			kint_close(tool->conn);
			tool->conn = NULL;
			monitor->end(tool, why);
			if (may_come_again(tool, err))
				continue;
			error("%s: nothing is undone: that is left to the device manager",
			      tool->command);
			return EXIT_ERROR;
		}
		if (err != -EPIPE) {
			leave_within(tool, LEAVE_VCPUS_MS);
			rules_count(tool, true);
			if (loop.monitor->leave)
				left = loop.monitor->leave(tool);
		}
		/*
		 * Before the last words: everything is undone when they appear.  A vCPU may be at
		 * breakpoints of the tool's still if that failed: no event is to be turned off.
		 */
		if (left)
			kint_close(tool->conn);
		detached = left ? left : kint_detach(tool->conn);
		tool->conn = NULL;
		if (err == -EINTR)
			why = detached ? "interrupted; left to the device manager to undo" :
			      "interrupted; everything is undone";
		monitor->end(tool, why);
		if (err == -EINTR)
			return detached ? EXIT_ERROR : EXIT_OK;
		if (loop.state == FAILED ||
		    (err != -EPIPE && loop.state != UNHOOKED && !may_come_again(tool, err)))
			return EXIT_ERROR;
	} while (!tool->once);
	/* It may have ended before it had begun everywhere */
	return loop.armed < tool->vcpus ? EXIT_ERROR : EXIT_OK;
}
