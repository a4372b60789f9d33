// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Events: those that the library answers by itself, and those that the caller gets.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "compat.h"

static_assert(sizeof(struct kvmi_event) == sizeof(struct kvmi_vcpu_event), "layout");
static_assert(offsetof(struct kvmi_event, arch) == offsetof(struct kvmi_vcpu_event, arch),
	      "layout");
static_assert(sizeof(struct kvmi_event_arch) == sizeof(struct kvmi_vcpu_event_arch), "layout");
static_assert(offsetof(struct kvmi_event_arch, view) ==
	      offsetof(struct kvmi_vcpu_event_arch, view), "layout");
static_assert(offsetof(struct kvmi_dom_event, event) == 8, "layout");
static_assert(offsetof(struct kvmi_dom_event, event.cr) == 8 + 544, "layout");
static_assert(offsetof(struct kvmi_dom_event, buf) == 8 + 544 + 24, "layout");
static_assert(sizeof(((struct kvmi_dom_event *)0)->buf) == 8184, "layout");
static_assert(offsetof(struct kvmi_dom_event, seq) == 8760, "layout");

/* By KVMI_EVENT_*; 1 is no event of the kernel's */
static const uint16_t event_ids[KVMI_NUM_EVENTS] = {
	[KVMI_EVENT_UNHOOK] = KVMI_VM_EVENT_UNHOOK,
	[KVMI_EVENT_CR] = KVMI_VCPU_EVENT_CR,
	[KVMI_EVENT_MSR] = KVMI_VCPU_EVENT_MSR,
	[KVMI_EVENT_XSETBV] = KVMI_VCPU_EVENT_XSETBV,
	[KVMI_EVENT_BREAKPOINT] = KVMI_VCPU_EVENT_BREAKPOINT,
	[KVMI_EVENT_HYPERCALL] = KVMI_VCPU_EVENT_HYPERCALL,
	[KVMI_EVENT_PF] = KVMI_VCPU_EVENT_PF,
	[KVMI_EVENT_TRAP] = KVMI_VCPU_EVENT_TRAP,
	[KVMI_EVENT_DESCRIPTOR] = KVMI_VCPU_EVENT_DESCRIPTOR,
	[KVMI_EVENT_CREATE_VCPU] = KVMI_VCPU_EVENT_CREATE_VCPU,
	[KVMI_EVENT_PAUSE_VCPU] = KVMI_VCPU_EVENT_PAUSE,
	[KVMI_EVENT_SINGLESTEP] = KVMI_VCPU_EVENT_SINGLESTEP,
	[KVMI_EVENT_CPUID] = KVMI_VCPU_EVENT_CPUID,
};

/* The kernel's id of an event, or -EINVAL */
int event_id_of(int v7_id)
{
	if (v7_id < 0 || v7_id >= KVMI_NUM_EVENTS || v7_id == KVMI_EVENT_CMD_ERROR)
		return -EINVAL;
	return event_ids[v7_id];
}

/* KVMI_EVENT_*, or -EINVAL */
static int v7_id_of(const struct kint_event *event)
{
	int id;

	for (id = 0; id < KVMI_NUM_EVENTS; id++)
		if (event_id_of(id) == event->id)
			return event->is_vcpu || id == KVMI_EVENT_UNHOOK ? id : -EINVAL;
	return -EINVAL;
}

/*
 * What the caller takes an event for: to it, the accesses of an instruction that is emulated
 * are page faults.
 */
static struct kint_event as_known(const struct kint_event *event)
{
	struct kint_event known = *event;

	if (event->id != KVMI_VCPU_EVENT_ACCESS)
		return known;
	known.id = KVMI_VCPU_EVENT_PF;
	known.pf = (struct kvmi_vcpu_event_pf){
		.gva = event->access.gva, .gpa = event->access.gpa,
		.access = event->access.access, .view = event->common.arch.view,
	};
	return known;
}

static void convert(const struct kint_event *event, int id, struct kvmi_dom_event *out)
{
	struct kvmi_event *common = &out->event.common;

	memcpy(&common->arch, &event->common.arch, sizeof(common->arch));
	common->arch.padding1 = 0;
	common->size = sizeof(*common);
	common->vcpu = event->common.vcpu;
	common->event = id;
	switch (id) {
	case KVMI_EVENT_CR:
		out->event.cr.cr = event->cr.cr;
		out->event.cr.old_value = event->cr.old_value;
		out->event.cr.new_value = event->cr.new_value;
		break;
	case KVMI_EVENT_MSR:
		out->event.msr.msr = event->msr.msr;
		out->event.msr.old_value = event->msr.old_value;
		out->event.msr.new_value = event->msr.new_value;
		break;
	case KVMI_EVENT_BREAKPOINT:
		out->event.breakpoint.gpa = event->breakpoint.gpa;
		out->event.breakpoint.insn_len = event->breakpoint.insn_len;
		break;
	case KVMI_EVENT_PF:
		out->event.page_fault.gva = event->pf.gva;
		out->event.page_fault.gpa = event->pf.gpa;
		out->event.page_fault.access = event->pf.access;
		out->event.page_fault.view = event->pf.view;
		break;
	case KVMI_EVENT_TRAP:
		out->event.trap.vector = event->trap.nr;
		out->event.trap.error_code = event->trap.error_code;
		out->event.trap.cr2 = event->trap.address;
		break;
	case KVMI_EVENT_DESCRIPTOR:
		out->event.desc.descriptor = event->descriptor.descriptor;
		out->event.desc.write = event->descriptor.write;
		break;
	case KVMI_EVENT_CPUID:
		out->event.cpuid.function = event->cpuid.function;
		out->event.cpuid.index = event->cpuid.index;
		out->event.cpuid.insn_length = event->cpuid.insn_len;
		break;
	case KVMI_EVENT_SINGLESTEP:
		out->event.ss.failed = event->singlestep.failed;
		break;
	}
}

/* Keep the caller's descriptor readable while there is something */
static void wake(struct domain *d)
{
	uint64_t one = 1;
	ssize_t n = write(d->wake_fd, &one, sizeof(one));

	(void)n;	/* the counter cannot overflow */
}

static void unwake(struct domain *d)
{
	uint64_t value;
	ssize_t n = read(d->wake_fd, &value, sizeof(value));

	(void)n;
	/* That may have been what kvmi_domain_close() wakes the others with */
	if (__atomic_load_n(&d->closing, __ATOMIC_SEQ_CST))
		wake(d);
}

static int enqueue(struct domain *d, const struct kint_event *event, int id, bool made_up)
{
	struct kvmi_dom_event *out = calloc(1, sizeof(*out));
	struct open_event *open = calloc(1, sizeof(*open));
	struct kint_event known;

	if (!out || !open) {
		free(out);
		free(open);
		return -ENOMEM;
	}
	known = as_known(event);
	convert(&known, id, out);
	out->seq = ++d->seq;
	open->seq = out->seq;
	open->id = known.id;
	open->made_up = made_up;
	open->event = *event;
	open->next = d->open;
	d->open = open;
	*d->queue_end = out;
	d->queue_end = (struct kvmi_dom_event **)&out->next;
	if (!d->nqueued++)
		wake(d);
	return 0;
}

/* The PAUSE event of a vCPU that does not run */
int make_up_pause(struct domain *d, uint16_t vcpu)
{
	struct kint_event event = { .id = KVMI_VCPU_EVENT_PAUSE, .is_vcpu = true };
	int err;

	event.common.vcpu = vcpu;
	event.common.arch.mode = KVMI_X86_MODE_16;
	event.common.arch.view = d->vcpus[vcpu].view;
	err = enqueue(d, &event, KVMI_EVENT_PAUSE_VCPU, true);
	if (!err)
		d->vcpus[vcpu].made_up++;
	return err;
}

/* A page fault that the caller need not know of; true if it is answered */
static bool answer_pf(struct domain *d, const struct vcpu *v, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_pf *pf = &event->pf;
	bool tried = pf->flags & KVMI_PF_NOT_EMULATED;
	bool not_asked = access_not_asked(d, pf->view, pf->gpa, pf->access);

	/*
	 * The instruction may read what it writes, or the page that it is in.  Its reads are
	 * events if it is emulated; else this stands for one.
	 */
	if (not_asked && reading_is_asked(d, pf)) {
		if (tried || !v->traces)
			return false;
		kint_reply_pf(d->conn, event, KVMI_PF_TRAP_ACCESS);
		return true;
	}
	if (!not_asked && !tried)
		return false;
	/* The caller would ask for the same, for ever */
	if (!not_asked)
		note(KVMI_LOG_LEVEL_ERROR,
		     "vCPU %u: KVM does not emulate the instruction at %#llx, it reads memory",
		     event->common.vcpu, (unsigned long long)event->common.arch.regs.rip);
	kint_reply(d->conn, event, KVMI_EVENT_ACTION_ALLOW);
	return true;
}

/* It comes from a view of a tool that was lost: the vCPU comes to it in view 0, if at all */
static bool is_of_another(const struct domain *d, const struct kint_event *event)
{
	return event->common.arch.view < 64 && d->left_views >> event->common.arch.view & 1 &&
	       kint_event_accepts(event, KVMI_EVENT_ACTION_RETRY);
}

/* Answer an event that the caller does not want; true if that is done */
static bool answer_alone(struct domain *d, struct vcpu *v, const struct kint_event *event)
{
	if (is_of_another(d, event)) {
		kint_reply(d->conn, event, KVMI_EVENT_ACTION_RETRY);
		return true;
	}
	switch (event->id) {
	case KVMI_VCPU_EVENT_PAUSE:
		if (!v->asleep)
			return false;
		vcpu_woken(d, event);
		return true;
	case KVMI_VCPU_EVENT_ACCESS:
		return answer_access(d, v, event);
	case KVMI_VCPU_EVENT_TRAP:
		/* There is one with each exception that the caller injects */
		if (v->events & 1u << KVMI_EVENT_TRAP)
			return false;
		break;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		if (v->stepped)
			return false;
		/* Of a tool that was lost.  The guest's interrupts wait as long as that is on. */
		kint_control_singlestep(d->conn, event->common.vcpu, false);
		break;
	case KVMI_VCPU_EVENT_PF:
		return answer_pf(d, v, event);
	default:
		if (v7_id_of(event) >= 0)
			return false;
	}
	kint_reply(d->conn, event, KVMI_EVENT_ACTION_ALLOW);
	return true;
}

/* Give the caller an event to answer */
static int ask(struct domain *d, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_pf *pf = &event->pf;
	struct kint_event known = as_known(event);

	/* A write, say, that stands for a read, see answer_pf() */
	if (event->id == KVMI_VCPU_EVENT_PF &&
	    access_not_asked(d, pf->view, pf->gpa, pf->access)) {
		known.pf.access |= KVMI_PAGE_ACCESS_R;
		return enqueue(d, &known, KVMI_EVENT_PF, false);
	}
	return enqueue(d, event, v7_id_of(&known), false);
}

/* What the vCPU is to read, and may do, is of an instruction that is over */
static void forget_instruction(struct vcpu *v)
{
	v->context.ctx_size = 0;
	v->nallowed = 0;
}

static void arrived(struct domain *d, const struct kint_event *event)
{
	struct vcpu *v;

	/* By a rule of a tool that was lost: nothing waits for an answer */
	if (event->notified)
		return;
	if (!event->is_vcpu) {
		if (d->vm_events & 1u << KVMI_EVENT_UNHOOK &&
		    enqueue(d, event, KVMI_EVENT_UNHOOK, false))
			note(KVMI_LOG_LEVEL_ERROR, "no memory for an event");
		return;
	}
	v = vcpu_get(d, event->common.vcpu);
	if (!v) {
		kint_reply(d->conn, event, KVMI_EVENT_ACTION_ALLOW);
		return;
	}
	if (event->id != KVMI_VCPU_EVENT_ACCESS)
		forget_instruction(v);
	if (answer_alone(d, v, event))
		return;
	if (ask(d, event)) {
		note(KVMI_LOG_LEVEL_ERROR, "no memory for an event of vCPU %u", event->common.vcpu);
		kint_reply(d->conn, event, KVMI_EVENT_ACTION_ALLOW);
	}
}

/* The others stay where they are counted: libkint ends a session with too many */
static bool is_full(const struct domain *d)
{
	return d->nqueued >= KINT_MAX_QUEUED_EVENTS;
}

/*
 * Page faults of the tool's own pages are answered by libkint.  An instruction may begin with one,
 * and it is not known of which vCPU it was: who is in the middle of another one is asked again.
 */
static void notice_others(struct domain *d)
{
	uint64_t refused = kint_refused_accesses(d->conn);
	unsigned int i;

	for (i = 0; i < d->nvcpus && refused != d->refused; i++)
		forget_instruction(&d->vcpus[i]);
	d->refused = refused;
}

static int on_event(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	struct domain *d = arg;

	(void)conn;
	notice_others(d);
	arrived(d, event);
	return is_full(d);
}

/*
 * Look at what has come, without waiting.  What comes meanwhile, as those that are answered here
 * have others follow, is for the next time: the caller is not kept from its own business.
 */
void pump(struct domain *d)
{
	if (!is_full(d) && kint_dispatch(d->conn, on_event, d) < 0)
		d->gone = true;
}

static struct kvmi_dom_event *dequeue(struct domain *d)
{
	struct kvmi_dom_event *event = d->queue;

	if (!event)
		return NULL;
	d->queue = event->next;
	if (!d->queue)
		d->queue_end = &d->queue;
	event->next = NULL;
	if (!--d->nqueued)
		unwake(d);
	return event;
}

void events_free(struct domain *d)
{
	struct kvmi_dom_event *event;
	struct open_event *open;

	while (d->queue) {
		event = d->queue;
		d->queue = event->next;
		free(event);
	}
	while (d->open) {
		open = d->open;
		d->open = open->next;
		free(open);
	}
}

/* ---- What the caller calls ---- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int kvmi_wait_event(void *dom, kvmi_timeout_t ms)
{
	struct domain *d = domain_enter(dom);
	int64_t end = now_ms() + ms, left = -1;
	struct pollfd pfd;
	int err = 0;

	if (!d)
		return -1;
	pfd = (struct pollfd){ .fd = d->poll_fd, .events = POLLIN };
	for (;;) {
		pump(d);
		if (d->nqueued)
			break;
		if (ms >= 0)
			left = end > now_ms() ? end - now_ms() : 0;
		if (d->gone || __atomic_load_n(&d->closing, __ATOMIC_SEQ_CST))
			err = -ENOTCONN;
		else if (!left)
			err = -ETIMEDOUT;
		if (err)
			break;
		/* Others may use the VM meanwhile */
		pthread_mutex_unlock(&d->lock);
		poll(&pfd, 1, left);
		pthread_mutex_lock(&d->lock);
	}
	return domain_leave(d, err);
}

int kvmi_pop_event(void *dom, struct kvmi_dom_event **event)
{
	struct domain *d = domain_enter(dom);

	*event = NULL;
	if (!d)
		return -1;
	if (!d->nqueued)
		pump(d);
	*event = dequeue(d);
	return domain_leave(d, *event ? 0 : d->gone ? -ENOTCONN : -EAGAIN);
}

size_t kvmi_get_pending_events(void *dom)
{
	struct domain *d = domain_enter(dom);
	size_t n;

	if (!d)
		return 0;
	pump(d);
	n = d->nqueued;
	domain_leave(d, 0);
	return n;
}
