// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a tool has left that was lost, where the device manager keeps the session for the
 * next one: rules, views of guest memory, and what it has turned on.
 *
 * A vCPU in such a view has nothing to do with what is taken away in view 0, and the view
 * may show copies with INT3s that nobody knows of any more.  So each vCPU goes back to view
 * 0 before it is armed, while an event of it is open, and a view that no vCPU is in any
 * more is ended.  What a vCPU has stopped for in such a view may be none of the guest's
 * doing: it is to come to it again.
 *
 * Nothing of what the lost tool was to be asked about is turned off before this one has turned
 * on what it wants.  But a vCPU that is stepped gets no interrupts, and may never come to what
 * this one waits for.
 */
#include <errno.h>
#include "tool.h"

static uint64_t left;	/* bit n: view n is left, of the session */

/* A session begins.  Says what is wrong. */
int takeover_begin(struct tool *tool)
{
	int err = rules_begin(tool);

	left = ~0ull;
	if (err)
		return err;
	err = kint_clear_views(tool->conn, &left);
	if (err && err != -EPIPE && err != -EINTR)
		error("views of another tool: %s", explain(err));
	return err;
}

/* An event of the vCPU is open, the first one */
int takeover_vcpu(struct tool *tool, uint16_t vcpu)
{
	int err;

	tool->doing = "taking it back from another tool that steps it";
	err = kint_control_singlestep(tool->conn, vcpu, false);
	if (err && err != -EPERM && err != -EOPNOTSUPP && err != -ENOSYS)
		return err;
	if (!left)
		return 0;
	tool->doing = "taking it back from another tool's view";
	err = kint_set_view(tool->conn, vcpu, 0);
	return err ? err : kint_clear_views(tool->conn, &left);
}

/* What this tool wants is turned on */
int takeover_armed(struct tool *tool, uint16_t vcpu)
{
	tool->doing = "turning off what another tool has turned on";
	return kint_clear_control(tool->conn, vcpu);
}

/* Of the vCPU's first event: is it to come to that again, in view 0? */
bool takeover_repeats(const struct kint_event *event)
{
	return event->common.arch.view && kint_event_accepts(event, KVMI_EVENT_ACTION_RETRY);
}
