// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stopping at instructions of the guest without the guest noticing, for break and trace.
 *
 * At a breakpoint the vCPU executes one instruction in a view that shows the guest's
 * own code, and comes back by itself: one event and one reply, on a kernel that has
 * flags of replies.  A vCPU that reads or writes a page with breakpoints, be it at
 * another breakpoint, goes to view 0, the guest's own memory, for one instruction.
 * It may write any of these pages, whatever it was reported for: all are looked at
 * before it comes back, and before another instruction can be executed from a copy.
 *
 * In view 0, and where a breakpoint is stepped over, there is no INT3 of the tool's.  One
 * that a vCPU meets there is the guest's own, a debugger's or that of a kernel that
 * patches its text, and is left to it.  Those are for the kernel to decide, by rules, where
 * it is known beforehand where all breakpoints are.  A stop is asked about: no rule can
 * have an instruction executed in another view.
 */
#include <errno.h>
#include <stdlib.h>
#include "tool.h"

/* A vCPU that is in view 0 for an instruction */
struct excursion {
	struct excursion *next;
	uint16_t vcpu;
	bool under_way;
	uint64_t from;		/* RIP */
};

static struct {
	int (*hit)(struct tool *tool, const struct kint_event *event, unsigned int point);
	bool visible;
	bool open;
	uint64_t points[MAX_HIDDEN];	/* physical addresses */
	unsigned int npoints;
	struct excursion *excursions;
} stops;

static struct excursion *excursion_of(uint16_t vcpu)
{
	struct excursion *e;

	for (e = stops.excursions; e && e->vcpu != vcpu; e = e->next)
		;
	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->vcpu = vcpu;
	e->next = stops.excursions;
	stops.excursions = e;
	return e;
}

/* A session begins, or the last one has ended */
void stops_forget(void)
{
	struct excursion *e;

	while (stops.excursions) {
		e = stops.excursions;
		stops.excursions = e->next;
		free(e);
	}
	stops.open = false;
	stops.npoints = 0;
}

/*
 * Can the host do it?  @visible: even if the guest can see it.  MONITOR_TOLD it cannot.
 */
int stops_check_host(struct tool *tool, bool visible)
{
	struct kvmi_vm_get_features_reply f;
	const char *why = NULL;
	int err;

	tool->doing = "what the host can do";
	err = kint_get_features(tool->conn, &f);
	if (err)
		return err;
	stops.visible = visible;
	if (f.views < 2)
		why = "the host has no views of guest memory: it has no EPT or NPT";
	else if (!(f.flags & KVMI_FEATURE_SINGLESTEP))
		why = "the host cannot single-step";
	else if (!(f.flags & KVMI_FEATURE_EXEC_ONLY) && !visible)
		why = "no pages that can be executed and not read here; --visible goes on anyway";
	if (!why)
		return 0;
	error("%s: %s", tool->command, why);
	return MONITOR_TOLD;
}

/*
 * Have a view for breakpoints.  @hit is called at each, with the number it was added as,
 * and does not answer the event.  What it returns if that is not 0 ends the session, after
 * the vCPU was let go on.
 */
int stops_open(struct tool *tool,
	       int (*hit)(struct tool *tool, const struct kint_event *event,
			  unsigned int point))
{
	int err;

	tool->doing = "making a view";
	stops.hit = hit;
	err = hidden_begin(tool, KVMI_PAGE_ACCESS_RWX);
	stops.open = !err;
	return err;
}

/* The first is number 0; *@gpa is set to where it is */
int stops_add(struct tool *tool, uint16_t vcpu, uint64_t gva, uint64_t *gpa)
{
	uint8_t access = KVMI_PAGE_ACCESS_X | (stops.visible ? KVMI_PAGE_ACCESS_R : 0);
	int err;

	tool->doing = "setting a breakpoint";
	err = kint_translate_gva(tool->conn, vcpu, gva, gpa);
	if (err == -EFAULT) {
		error("%s: nothing is mapped at %#llx", tool->command, ull(gva));
		return MONITOR_TOLD;
	}
	if (!err)
		err = hidden_add(tool, *gpa, access);
	if (!err)
		stops.points[stops.npoints++] = *gpa;
	return err;
}

/* Asked about are all pages that have breakpoints, which are fewer */
static void make_rules(struct rule_list *list)
{
	struct kvmi_rule *rule;
	uint64_t page;
	unsigned int i, k;

	rules_new(list);
	if (hidden_step_view()) {
		rule = rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
		rule->match = KVMI_MATCH_VIEW;
		rule->view = hidden_step_view();
	}
	for (i = 0; i < stops.npoints; i++) {
		page = stops.points[i] / PAGE_SIZE;
		for (k = 0; stops.points[k] / PAGE_SIZE != page; k++)
			;
		if (k == i)
			rules_add_numbers(list, RULE_ASKS, KVMI_RULE_ASK, page * PAGE_SIZE,
					  page * PAGE_SIZE + PAGE_SIZE - 1);
	}
	rules_add(list, RULE_ALLOWS, KVMI_RULE_ALLOW);
	rules_reason(list, "stops are asked about, as each is shown, and steps in another view");
	rules_reason(list, "INT3s of the guest's own, elsewhere, are allowed");
}

/* After the last breakpoint was added */
int stops_set_rules(struct tool *tool)
{
	struct rule_list list;

	make_rules(&list);
	return rules_set(tool, KVMI_VCPU_EVENT_BREAKPOINT, &list);
}

void stops_explain(struct tool *tool)
{
	struct rule_list list;

	make_rules(&list);
	rules_explain(KVMI_VCPU_EVENT_BREAKPOINT, &list);
	rules_new(&list);
	rules_reason(&list, "who reads or writes these pages steps in view 0, copies move");
	rules_explain(KVMI_VCPU_EVENT_PF, &list);
	hidden_explain(tool);
}

/* No vCPU is there yet */
void stops_cancel(struct tool *tool)
{
	if (stops.open)
		hidden_end(tool);
	stops.open = false;
	stops.npoints = 0;
}

/*
 * In a session that a lost tool has left the event may be on already, which is an error
 * for BREAKPOINT alone.
 */
int turn_event_on(struct tool *tool, uint16_t vcpu, uint16_t event)
{
	int err = kint_control_events(tool->conn, vcpu, event, true);

	if (err != -EBUSY || event != KVMI_VCPU_EVENT_BREAKPOINT)
		return err;
	/* If it is not on, a debugger of the device manager has the breakpoints */
	err = kint_control_events(tool->conn, vcpu, event, false);
	return err ? err : kint_control_events(tool->conn, vcpu, event, true);
}

int stops_arm(struct tool *tool, uint16_t vcpu)
{
	int err;

	tool->doing = "turning events on";
	err = turn_event_on(tool, vcpu, KVMI_VCPU_EVENT_BREAKPOINT);
	if (!err)
		err = kint_control_events(tool->conn, vcpu, KVMI_VCPU_EVENT_PF, true);
	if (err)
		return err;
	tool->doing = "changing the view of a vCPU";
	err = kint_set_view(tool->conn, vcpu, hidden_view());
	/* Until now it could write the pages without being asked */
	return err ? err : hidden_refresh(tool);
}

/* The number of the breakpoint, or how many there are */
static unsigned int point_of(const struct kint_event *event)
{
	unsigned int i;

	for (i = 0; i < stops.npoints && event->breakpoint.gpa != stops.points[i]; i++)
		;
	return i;
}

/*
 * Have the instruction executed in the guest's own memory, and say when it is done.  @action:
 * RETRY, or ALLOW if it is in the middle.
 */
static int step_over(struct tool *tool, const struct kint_event *event, unsigned int action)
{
	uint16_t vcpu = event->common.vcpu;
	struct excursion *e = excursion_of(vcpu);
	int err;

	if (!e)
		return -ENOMEM;
	e->under_way = true;
	e->from = event->common.arch.regs.rip;
	if (hidden_step_view())
		return kint_reply_flags(tool->conn, event, action,
					KVMI_REPLY_SET_VIEW | KVMI_REPLY_SINGLESTEP, 0);
	err = kint_set_view(tool->conn, vcpu, 0);
	if (!err)
		err = kint_control_singlestep(tool->conn, vcpu, true);
	return err ? err : kint_reply(tool->conn, event, action);
}

static int come_back(struct tool *tool, const struct kint_event *event)
{
	uint16_t vcpu = event->common.vcpu;
	struct excursion *e = excursion_of(vcpu);
	int err;

	if (!e || !e->under_way)
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	/* Something else came first, and the instruction has not been executed */
	if (event->singlestep.failed && event->common.arch.regs.rip == e->from)
		return hidden_step_view() ?
		       kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_ALLOW,
					KVMI_REPLY_SINGLESTEP, 0) :
		       kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	e->under_way = false;
	err = hidden_refresh(tool);
	if (!err && hidden_step_view())
		return kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_ALLOW,
					KVMI_REPLY_SET_VIEW, hidden_view());
	if (!err)
		err = kint_control_singlestep(tool->conn, vcpu, false);
	if (!err)
		err = kint_set_view(tool->conn, vcpu, hidden_view());
	return err ? err : kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

static int on_breakpoint(struct tool *tool, const struct kint_event *event)
{
	const struct excursion *e = excursion_of(event->common.vcpu);
	unsigned int point = point_of(event);
	int err, ret;

	/* In the view of the steps, as in view 0, it is the guest's own */
	if (point == stops.npoints || (e && e->under_way) ||
	    (hidden_step_view() && event->common.arch.view == hidden_step_view()))
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	ret = stops.hit(tool, event, point);
	if (hidden_step_view())
		err = kint_reply_flags(tool->conn, event, KVMI_EVENT_ACTION_RETRY,
				       KVMI_REPLY_STEP_IN_VIEW, hidden_step_view());
	else
		err = step_over(tool, event, KVMI_EVENT_ACTION_RETRY);
	return err ? err : ret;
}

/* Of an instruction that is emulated as it uses memory that is for the tool */
static int on_access(struct tool *tool, const struct kint_event *event)
{
	int ret = hidden_on_access(tool, &event->access);

	if (ret < 0)
		return ret;
	return ret ? step_over(tool, event, KVMI_EVENT_ACTION_ALLOW) :
		     kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

int stops_event(struct tool *tool, const struct kint_event *event)
{
	int err;

	switch (event->id) {
	case KVMI_VCPU_EVENT_BREAKPOINT:
		return on_breakpoint(tool, event);
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return come_back(tool, event);
	case KVMI_VCPU_EVENT_ACCESS:
		return on_access(tool, event);
	case KVMI_VCPU_EVENT_PF:
		if (hidden_has(event->pf.gpa))
			return step_over(tool, event, KVMI_EVENT_ACTION_RETRY);
		if (!hidden_is_copy(event->pf.gpa))
			break;
		err = hidden_move(tool, event->pf.gpa);
		return err ? err : kint_reply(tool->conn, event, KVMI_EVENT_ACTION_RETRY);
	}
	return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
}

/* What a device of the guest writes to its text is reported by no vCPU, nor by a stop */
int stops_tick(struct tool *tool)
{
	return stops.open ? hidden_refresh(tool) : 0;
}

/*
 * Before breakpoints are no longer reported no vCPU may run into one: all go back
 * to view 0, where there are none.  What had been hit until then is retried, also in the view
 * of another tool, by a vCPU that had not been armed yet.
 */
static int last_events(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	uint16_t view = event->common.arch.view;

	if (!event->is_vcpu)
		return 0;
	if ((event->id == KVMI_VCPU_EVENT_BREAKPOINT && point_of(event) < stops.npoints) ||
	    (view != hidden_view() && view != hidden_step_view() && takeover_repeats(event)))
		kint_reply(conn, event, KVMI_EVENT_ACTION_RETRY);
	else
		pass_by(arg, event);
	return 0;
}

/* Returns 0, or the error that leaves something to the device manager */
int stops_leave(struct tool *tool)
{
	int err;

	if (!stops.open)
		return 0;
	err = hidden_leave(tool, tool->vcpus);
	kint_dispatch(tool->conn, last_events, tool);
	leave_within(tool, LEAVE_VM_MS);
	hidden_end(tool);
	/* Of a vCPU that has not answered, and comes to a breakpoint now */
	kint_dispatch(tool->conn, last_events, tool);
	stops.open = false;
	return err;
}
