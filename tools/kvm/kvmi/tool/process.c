// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who did it: the process that ran on the vCPU of an event, for the commands that live
 * on events.  The guest is looked at when there is something to say, and again when it
 * has booted or another kernel runs; without an answer the event is shown all the same.
 */
#include <errno.h>
#include "tool.h"

#define RETRY_NS 1000000000ll	/* between two looks for a kernel */
#define MAX_STALLS 16
/* How long an event of a guard's may wait for it, and how long it may take if none does */
#define EVENT_MS 250
#define IDLE_MS 10000

static struct {
	bool wanted;
	bool hopeless;		/* and told so */
	bool told_other;	/* another kernel than --symbols says runs */
	bool guards;		/* what is refused is allowed if the answer is late */
	bool idle;		/* no event is open that matters, as far as is known */
	int64_t gave_up;	/* it took too long, or 0 */
	int64_t tried;
	unsigned int stalls;	/* looks, one after the other, that took too long */
	struct guest_kernel kernel;
	struct kernel_wait wait;
	struct guest_linux guest;

	bool is_known;
	struct process process;	/* of the last event that was looked at */
} who;

void process_want(void)
{
	who.wanted = true;
}

bool process_wanted(void)
{
	return who.wanted;
}

void process_guards(void)
{
	who.guards = true;
}

void process_begin(void)
{
	who.hopeless = false;
	who.told_other = false;
	who.gave_up = 0;
	who.tried = 0;
	who.stalls = 0;
	who.wait = (struct kernel_wait){ 0 };
	who.guest.known = false;
}

/* As linux_find() */
int process_find(struct tool *tool, uint16_t vcpu, const struct guest_kernel *k)
{
	int err = linux_find(tool, vcpu, k, true, &who.guest);

	who.hopeless = err == MONITOR_TOLD;
	who.tried = now_ns();
	return err;
}

static int look_again(struct tool *tool, uint16_t vcpu)
{
	int err;

	if (who.hopeless || (who.tried && now_ns() - who.tried < RETRY_NS))
		return 0;
	err = kernel_wait_for(tool, vcpu, &who.kernel, &who.wait);
	if (!err)
		err = process_find(tool, vcpu, &who.kernel);
	who.hopeless = err == MONITOR_TOLD;
	if (err == MONITOR_OTHER && !who.told_other) {
		error("%s", kernel_missing(err));
		who.told_other = true;
	}
	who.tried = now_ns();
	return err;
}

/* While it is looked for: is somebody waiting by now? */
void process_hurry(struct tool *tool)
{
	if (!who.idle || !kint_pending(tool->conn))
		return;
	who.idle = false;
	kint_set_deadline(tool->conn, EVENT_MS);
}

/*
 * Get to know the guest before there is an event to show, now and then until it has booted.  For
 * when no event is open: it may take long, and what a vCPU waits with may not.  So may no single
 * command, in which an event is not noticed.  Returns false if there was no answer: the vCPU may
 * be busy, and another one not.  They are asked less and less, as all of them may be frozen: the
 * kernel keeps what it is asked.
 */
bool process_look(struct tool *tool, uint16_t vcpu)
{
	bool stalls;
	int err;

	if (!who.wanted || who.guest.known || kint_pending(tool->conn) ||
	    (who.stalls && now_ns() - who.tried < RETRY_NS << who.stalls))
		return true;
	who.idle = true;
	kint_set_deadline(tool->conn, IDLE_MS);
	if (tool->timeout_ms > EVENT_MS)
		kint_set_timeout(tool->conn, EVENT_MS);
	err = look_again(tool, vcpu);
	kint_set_timeout(tool->conn, tool->timeout_ms);
	kint_set_deadline(tool->conn, -1);
	stalls = err == -ETIMEDOUT && who.idle;
	if (err != -ETIMEDOUT)
		who.stalls = 0;
	else if (stalls && who.stalls < MAX_STALLS)
		who.stalls++;
	who.idle = false;
	return !stalls;
}

/* -EFAULT if it cannot be told */
int process_of(struct tool *tool, const struct kint_event *event, struct process *p)
{
	uint16_t vcpu = event->common.vcpu;
	int err = -EFAULT;

	/* In system management mode nothing is where Linux has it */
	if (event->common.arch.as_id || event->notified)
		return -EFAULT;
	if (who.guest.known)
		err = linux_current(tool, &who.guest, event, p);
	if (err != -EFAULT)
		return err;
	err = look_again(tool, vcpu);
	if (who.guest.known)
		return linux_current(tool, &who.guest, event, p);
	return err == -ETIMEDOUT ? err : -EFAULT;
}

/* name[PID], or name[PID/TID] of a thread that is not the first */
void print_process(FILE *out, const struct process *p)
{
	print_text(out, p->comm);
	fprintf(out, "[%u", p->pid);
	if (p->tid != p->pid)
		fprintf(out, "/%u", p->tid);
	fputc(']', out);
}

/* Before a line about the event begins: what it takes may have something to say */
void who_look(struct tool *tool, const struct kint_event *event)
{
	int err;

	/* After a notification the vCPU may be in another one */
	who.is_known = false;
	if (!who.wanted || event->notified ||
	    (who.gave_up && now_ns() - who.gave_up < RETRY_NS))
		return;
	/* The guest says how much there is to look at, and must not gain anything by that */
	if (who.guards)
		kint_set_deadline(tool->conn, EVENT_MS);
	err = process_of(tool, event, &who.process);
	if (who.guards)
		kint_set_deadline(tool->conn, -1);
	who.gave_up = err == -ETIMEDOUT ? now_ns() : 0;
	who.is_known = !err;
}

/* Who it was and two spaces, if that was asked for */
void print_who(FILE *out)
{
	if (!who.wanted)
		return;
	if (who.is_known)
		print_process(out, &who.process);
	else
		fputc('?', out);
	fprintf(out, "  ");
}

void json_who(FILE *out)
{
	if (!who.is_known)
		return;
	fputc(',', out);
	json_process(out, &who.process);
}
