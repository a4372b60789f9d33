// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a tool has left that was lost, where the device manager keeps the session for the
 * next one: rules, and views of guest memory.
 *
 * A vCPU in such a view has nothing to do with what is taken away in view 0, and the view
 * may show copies with INT3s that nobody knows of any more.  So each vCPU goes back to view
 * 0 before it is armed, while an event of it is open, and a view that no vCPU is in any
 * more is ended.  What a vCPU has stopped for in such a view may be none of the guest's
 * doing: it is to come to it again.
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

	if (!left)
		return 0;
	tool->doing = "taking it back from another tool's view";
	err = kint_set_view(tool->conn, vcpu, 0);
	return err ? err : kint_clear_views(tool->conn, &left);
}

/* Of the vCPU's first event: is it to come to that again, in view 0? */
bool takeover_repeats(const struct kint_event *event)
{
	return event->common.arch.view && kint_event_accepts(event, KVMI_EVENT_ACTION_RETRY);
}
