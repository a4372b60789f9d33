// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who did it: the process that ran on the vCPU of an event, for the commands that live
 * on events.  The guest is looked at when there is something to say, and again when it
 * has booted or another kernel runs; without an answer the event is shown all the same.
 */
#include <errno.h>
#include "tool.h"

#define RETRY_NS 1000000000ll	/* between two looks for a kernel */

static struct {
	bool wanted;
	bool hopeless;		/* and told so */
	int64_t tried;
	struct guest_kernel kernel;
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

void process_begin(void)
{
	who.hopeless = false;
	who.tried = 0;
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

static void look_again(struct tool *tool, uint16_t vcpu)
{
	int err;

	if (who.hopeless || (who.tried && now_ns() - who.tried < RETRY_NS))
		return;
	err = kernel_find(tool, vcpu, &who.kernel);
	if (!err)
		err = process_find(tool, vcpu, &who.kernel);
	who.hopeless = err == MONITOR_TOLD;
	who.tried = now_ns();
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
	look_again(tool, vcpu);
	return who.guest.known ? linux_current(tool, &who.guest, event, p) : -EFAULT;
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
	/* After a notification the vCPU may be in another one */
	who.is_known = who.wanted && !event->notified &&
		       !process_of(tool, event, &who.process);
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
