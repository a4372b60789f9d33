// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: vCPUs that run, and all stop when one has a reason to.
 *
 * A vCPU stands still while an event of it is open.  When one has stopped for gdb, a
 * PAUSE event is asked for of each other that runs; one that comes to something else
 * first stands still there.  What that is, a breakpoint say, is not looked at: when it goes on
 * it does so at the same instruction, and comes to the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "gdb.h"

/* How long to wait for a vCPU before it is asked whether it runs at all */
#define PATIENCE_MS	20
#define ASK_MS		300

static struct {
	struct gdb_vcpu **vcpus;
	unsigned int n;
	enum { RUNNING, STOPPING, STANDING } state;
	struct gdb_vcpu *reporter;	/* has stopped for its reason; or NULL */
	int64_t asked;
} run;

struct gdb_vcpu *gdb_vcpu(unsigned int nr)
{
	return nr < run.n ? run.vcpus[nr] : NULL;
}

/* The first that stands still after that one; -1 to begin */
struct gdb_vcpu *gdb_stopped_vcpu(int after)
{
	unsigned int i;

	for (i = after + 1; i < run.n; i++)
		if (run.vcpus[i]->stopped)
			return run.vcpus[i];
	return NULL;
}

bool gdb_stands(void)
{
	return run.state == STANDING;
}

/* They are about to */
bool gdb_stops(void)
{
	return run.state == STOPPING;
}

static bool grow(unsigned int n)
{
	struct gdb_vcpu **bigger;

	if (n <= run.n)
		return true;
	if (n > MAX_VCPUS)
		return false;
	bigger = realloc(run.vcpus, n * sizeof(*bigger));
	if (!bigger)
		return false;
	run.vcpus = bigger;
	for (; run.n < n; run.n++) {
		run.vcpus[run.n] = calloc(1, sizeof(**run.vcpus));
		if (!run.vcpus[run.n])
			return false;
		run.vcpus[run.n]->nr = run.n;
		run.vcpus[run.n]->want = GDB_GO;
	}
	return true;
}

void gdb_run_end(void)
{
	while (run.n)
		free(run.vcpus[--run.n]);
	free(run.vcpus);
	memset(&run, 0, sizeof(run));
}

static int set_singlestep(struct tool *tool, struct gdb_vcpu *v, bool on)
{
	int err = v->singlestep == on ? 0 : kint_control_singlestep(tool->conn, v->nr, on);

	if (!err)
		v->singlestep = on;
	return err;
}

static int set_view(struct tool *tool, struct gdb_vcpu *v, uint16_t view)
{
	uint16_t *now = &v->event.common.arch.view;
	int err = *now == view ? 0 : kint_set_view(tool->conn, v->nr, view);

	if (!err)
		*now = view;
	return err;
}

/* Writes of CR3 are of interest while there are breakpoints at what is not mapped */
static int set_crs(struct tool *tool, struct gdb_vcpu *v)
{
	bool on = gdb_break_wants_crs();
	int err;

	if (v->crs == on)
		return 0;
	err = kint_control_events(tool->conn, v->nr, KVMI_VCPU_EVENT_CR, on);
	if (!err)
		err = kint_control_cr(tool->conn, v->nr, 3, on);
	/* It does without, and looks again when all stand still */
	if (err == -EPERM)
		return 0;
	if (!err)
		v->crs = on;
	return err;
}

/* What a vCPU is to have when it goes on: steps, and the view that it is in */
static int prepare(struct tool *tool, struct gdb_vcpu *v)
{
	bool alone = v->want == GDB_STEP || v->excursion;
	int err;

	err = set_singlestep(tool, v, alone || v->watching);
	if (!err)
		err = set_view(tool, v, alone ? 0 : gdb_break_view(v));
	if (!err)
		err = set_crs(tool, v);
	v->stopped = false;
	v->repeats = false;
	return err;
}

int gdb_answer(struct tool *tool, struct gdb_vcpu *v, unsigned int action)
{
	int err = prepare(tool, v);

	return err ? err : kint_reply(tool->conn, &v->event, action);
}

int gdb_answer_pf(struct tool *tool, struct gdb_vcpu *v, uint32_t flags)
{
	int err = prepare(tool, v);

	return err ? err : kint_reply_pf(tool->conn, &v->event, flags);
}

int gdb_stop_all(struct tool *tool)
{
	unsigned int i;
	int err;

	run.state = STOPPING;
	run.asked = now_ns();
	for (i = 0; i < run.n; i++) {
		run.vcpus[i]->silent = false;
		if (run.vcpus[i]->stopped || run.vcpus[i]->pauses)
			continue;
		err = kint_pause_vcpu(tool->conn, i, false);
		/* It owes as many as there can be to tools that were lost: there will be one */
		if (err && err != -EBUSY)
			return err;
		run.vcpus[i]->pauses++;
	}
	return 0;
}

bool gdb_run_begin(struct tool *tool)
{
	if (!grow(tool->vcpus))
		return false;
	/* Those that are added later announce themselves, if that is allowed */
	kint_control_vm_events(tool->conn, KVMI_VCPU_EVENT_CREATE_VCPU, true);
	return true;
}

/* It runs and will stop, or waits for the guest to start it, or for the VM to run */
static int ask(struct tool *tool, struct gdb_vcpu *v)
{
	int timeout = kint_set_timeout(tool->conn, ASK_MS);
	struct kint_registers regs;
	int err;

	err = kint_get_registers(tool->conn, v->nr, &regs, NULL, NULL, 0);
	kint_set_timeout(tool->conn, timeout);
	if (err && err != -EAGAIN && err != -ETIMEDOUT)
		return err;
	v->silent = err;
	return 0;
}

/* Do all stand still now?  Then gdb is told. */
int gdb_settle(struct tool *tool)
{
	bool late = now_ns() - run.asked > PATIENCE_MS * 1000000ll;
	bool missing = false;
	struct gdb_vcpu *v;
	unsigned int i;
	int err = 0;

	if (run.state != STOPPING)
		return 0;
	for (i = 0; i < run.n && !err; i++) {
		v = run.vcpus[i];
		if (v->stopped || v->silent)
			continue;
		missing = true;
		if (late)
			err = ask(tool, v);
	}
	if (late)
		run.asked = now_ns();
	if (err || missing || !gdb_stopped_vcpu(-1))
		return err;
	run.state = STANDING;
	v = run.reporter;
	run.reporter = NULL;
	gdb_report(tool, v);
	if (v)
		v->reason = GDB_NO_REASON;
	return 0;
}

static int stop(struct tool *tool, struct gdb_vcpu *v)
{
	if (run.state != RUNNING)
		return 0;
	run.reporter = v;
	return gdb_stop_all(tool);
}

/* The event of a vCPU that has stood still, so that it comes to the same again */
static unsigned int action_of(const struct kint_event *event)
{
	switch (event->id) {
	case KVMI_VCPU_EVENT_BREAKPOINT:
	case KVMI_VCPU_EVENT_PF:
	case KVMI_VCPU_EVENT_CR:
		/* Not what has been loaded already, by RSM say */
		if (kint_event_accepts(event, KVMI_EVENT_ACTION_RETRY))
			return KVMI_EVENT_ACTION_RETRY;
		return KVMI_EVENT_ACTION_ALLOW;
	default:
		return KVMI_EVENT_ACTION_ALLOW;
	}
}

static int release(struct tool *tool, struct gdb_vcpu *v)
{
	/* It had a reason when another one had, too, which may be none any more */
	if (v->reason >= GDB_WATCH && gdb_break_watches(v->address))
		return stop(tool, v);
	v->reason = GDB_NO_REASON;
	v->from = v->event.common.arch.regs.rip;
	v->xsave_read = false;
	return gdb_answer(tool, v, v->repeats ? KVMI_EVENT_ACTION_RETRY : action_of(&v->event));
}

/* Have the vCPUs do what they are wanted to */
int gdb_resume(struct tool *tool)
{
	bool any_goes = false;
	unsigned int i;
	int err;

	for (i = 0; i < run.n; i++)
		any_goes |= run.vcpus[i]->stopped && run.vcpus[i]->want == GDB_GO;
	/* One that steps in view 0 alone has no breakpoint in its way */
	err = gdb_break_apply(tool, any_goes);
	if (err)
		return err;
	run.state = RUNNING;
	for (i = 0; i < run.n && run.state == RUNNING && !err; i++)
		if (run.vcpus[i]->stopped && run.vcpus[i]->want != GDB_STAY)
			err = release(tool, run.vcpus[i]);
	return err ? err : gdb_settle(tool);
}

/* Has KVM done something in the place of the instruction, which is yet to come? */
static bool goes_on(const struct gdb_vcpu *v)
{
	return v->event.singlestep.failed && v->event.common.arch.regs.rip == v->from;
}

static int on_singlestep(struct tool *tool, struct gdb_vcpu *v)
{
	bool wanted = v->excursion || v->watching || v->want == GDB_STEP;
	int err = 0;

	if (wanted && goes_on(v) && run.state == RUNNING)
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
	if (wanted && !goes_on(v))
		err = gdb_break_stepped(tool, v);
	if (err)
		return err;
	if (!v->reason && v->want == GDB_STEP && !goes_on(v))
		v->reason = GDB_STEPPED;
	if (!v->reason && run.state == RUNNING)
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
	return 0;
}

/* It is answered, or @v->reason set */
static int handle(struct tool *tool, struct gdb_vcpu *v)
{
	switch (v->event.id) {
	case KVMI_VCPU_EVENT_BREAKPOINT:
		return gdb_on_breakpoint(tool, v);
	case KVMI_VCPU_EVENT_PF:
		return gdb_on_page_fault(tool, v);
	case KVMI_VCPU_EVENT_CR:
		return gdb_on_cr(tool, v);
	default:
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
	}
}

int gdb_event(struct tool *tool, const struct kint_event *event)
{
	uint16_t id = event->id;
	struct gdb_vcpu *v;
	int err = 0;

	if (!event->is_vcpu)
		return id == KVMI_VM_EVENT_UNHOOK ? -ECANCELED : 0;
	if (!grow(event->common.vcpu + 1u))
		return -ENOMEM;
	if (tool->vcpus < run.n)
		tool->vcpus = run.n;
	v = run.vcpus[event->common.vcpu];
	v->event = *event;
	v->silent = false;
	if (id == KVMI_VCPU_EVENT_PAUSE && v->pauses)
		v->pauses--;
	/* Until it goes on, or for good */
	v->stopped = true;
	if (!v->armed) {
		v->repeats = takeover_repeats(event);
		err = takeover_vcpu(tool, v->nr);
		if (!err)
			err = gdb_break_arm(tool, v);
		if (!err)
			err = takeover_armed(tool, v->nr);
		if (err)
			return err;
		v->armed = true;
		v->event.common.arch.view = 0;
	}

	if (v->repeats && run.state == RUNNING)
		err = gdb_answer(tool, v, KVMI_EVENT_ACTION_RETRY);
	else if (id == KVMI_VCPU_EVENT_ACCESS)
		err = gdb_on_access(tool, v);
	else if (id == KVMI_VCPU_EVENT_SINGLESTEP)
		err = on_singlestep(tool, v);
	else if (run.state == RUNNING)
		err = handle(tool, v);
	if (!err && v->reason)
		err = stop(tool, v);
	return err ? err : gdb_settle(tool);
}
