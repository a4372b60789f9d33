// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Replies to events, and what they mean to this kernel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "compat.h"

static struct open_event **find_open(struct domain *d, unsigned int seq)
{
	struct open_event **p;

	for (p = &d->open; *p && (*p)->seq != seq; p = &(*p)->next)
		;
	return p;
}

/* The event that a vCPU waits in, or NULL */
static struct open_event *event_of(struct domain *d, uint16_t vcpu)
{
	struct open_event *open;

	for (open = d->open; open; open = open->next)
		if (!open->made_up && open->event.is_vcpu && open->event.common.vcpu == vcpu)
			return open;
	return NULL;
}

/* The registers of a vCPU have been set; true if it was somewhere else already */
bool registers_set(struct domain *d, uint16_t vcpu, const struct kvm_regs *regs)
{
	struct open_event *open = event_of(d, vcpu);
	bool before = open && open->moved;

	if (open)
		open->moved = regs->rip != open->event.common.arch.regs.rip;
	return before;
}

/* They have not: what registers_set() returned */
void registers_not_set(struct domain *d, uint16_t vcpu, bool before)
{
	struct open_event *open = event_of(d, vcpu);

	if (open)
		open->moved = before;
}

/*
 * CONTINUE is to go on from where the vCPU is, and in the view it is in: if that is
 * not where the event came from, there is nothing of the event left to be done.
 */
static bool is_elsewhere(const struct domain *d, const struct open_event *open)
{
	const struct kint_event *event = &open->event;
	uint16_t view = event->id == KVMI_VCPU_EVENT_PF ? event->pf.view :
							  event->common.arch.view;

	return open->moved || (open->id == KVMI_VCPU_EVENT_PF &&
			       view != d->vcpus[event->common.vcpu].view);
}

static bool means_retry(const struct domain *d, const struct open_event *open)
{
	return kint_event_accepts(&open->event, KVMI_EVENT_ACTION_RETRY) && is_elsewhere(d, open);
}

/* What the caller says that is read instead; false if it says nothing */
static bool get_context(const unsigned char *data, size_t size, struct kvmi_event_pf_reply *context)
{
	if (size < sizeof(*context))
		return false;
	memcpy(context, data, sizeof(*context));
	if (context->ctx_size > sizeof(context->ctx_data))
		context->ctx_size = sizeof(context->ctx_data);
	return context->ctx_size;
}

/* Without ACCESS events, or what KVM cannot emulate */
static bool can_replace(const struct domain *d, const struct kint_event *event)
{
	if (d->vcpus[event->common.vcpu].traces && !(event->pf.flags & KVMI_PF_NOT_EMULATED))
		return true;
	note(KVMI_LOG_LEVEL_ERROR, "vCPU %u: the instruction at %#llx reads memory",
	     event->common.vcpu, (unsigned long long)event->common.arch.regs.rip);
	return false;
}

static void prepare_continue(const struct domain *d, const unsigned char *data, size_t size,
			     struct reply *r)
{
	const struct kint_event *event = &r->open->event;

	r->action = KVMI_EVENT_ACTION_ALLOW;
	if (means_retry(d, r->open)) {
		r->action = KVMI_EVENT_ACTION_RETRY;
	} else if ((event->id == KVMI_VCPU_EVENT_CR || event->id == KVMI_VCPU_EVENT_MSR) &&
		   size >= sizeof(r->value)) {
		r->how = REPLY_VALUE;
		memcpy(&r->value, data, sizeof(r->value));
	} else if (event->id == KVMI_VCPU_EVENT_PF && get_context(data, size, &r->context) &&
		   can_replace(d, event)) {
		r->how = REPLY_CONTEXT;
		r->allows = true;
	}
}

/* Where in the context byte @i of an access is; beyond its end if it is not */
static uint64_t place_in_context(const struct vcpu *v, const struct kvmi_vcpu_event_access *access,
				 unsigned int i)
{
	uint64_t at = access->gva + i - v->context.ctx_addr;

	if (v->context.ctx_addr != ~0ull && at < v->context.ctx_size)
		return at;
	return v->context_is_gpa ? access->gpa + i - v->context_gpa : ~0ull;
}

/* What is read by what the caller has said; false if that is nothing but memory */
static bool replace(const struct vcpu *v, const struct kvmi_vcpu_event_access *access,
		    unsigned char data[32])
{
	bool replaced = false;
	unsigned int i;
	uint64_t at;

	memcpy(data, access->data, sizeof(access->data));
	for (i = 0; access->access == KVMI_PAGE_ACCESS_R && i < access->size; i++) {
		at = place_in_context(v, access, i);
		if (at >= v->context.ctx_size)
			continue;
		data[i] = v->context.ctx_data[at];
		replaced = true;
	}
	return replaced;
}

/*
 * What the vCPU is to read instead, from where the caller says.  That is mostly the
 * address that the event has, which is ~0 where hardware does not tell it.
 */
static void set_context(struct vcpu *v, const struct kint_event *event,
			const struct kvmi_event_pf_reply *context)
{
	bool is_pf = event->id == KVMI_VCPU_EVENT_PF;

	v->context = *context;
	v->context_is_gpa = context->ctx_addr == (is_pf ? event->pf.gva : event->access.gva);
	v->context_gpa = is_pf ? event->pf.gpa : event->access.gpa;
}

/*
 * The caller has answered what is a page fault to it, and an access of an instruction that
 * is in the middle.
 */
static void prepare_access(const struct domain *d, bool goes_on, const unsigned char *data,
			   size_t size, struct reply *r)
{
	const struct kint_event *event = &r->open->event;
	struct vcpu seen = { .context = { 0 } };

	r->action = KVMI_EVENT_ACTION_RETRY;
	if (!goes_on || is_elsewhere(d, r->open))
		return;
	r->action = KVMI_EVENT_ACTION_ALLOW;
	r->allows = true;
	if (event->access.access == KVMI_PAGE_ACCESS_W || !get_context(data, size, &r->context))
		return;
	set_context(&seen, event, &r->context);
	replace(&seen, &event->access, r->data);
	r->how = REPLY_DATA;
}

/* What @data, as the caller gave it, asks for */
int reply_prepare(struct domain *d, unsigned int seq, const void *data, size_t size,
		  struct reply *r)
{
	struct open_event *open = *find_open(d, seq);
	struct kvmi_vcpu_hdr hdr;
	struct kvmi_event_reply reply;

	if (!open || size < sizeof(hdr) + sizeof(reply))
		return -EINVAL;
	memcpy(&hdr, data, sizeof(hdr));
	memcpy(&reply, (const char *)data + sizeof(hdr), sizeof(reply));
	*r = (struct reply){ .open = open, .how = REPLY_ACTION, .action = reply.action };
	if (!open->event.is_vcpu) {
		r->how = REPLY_NOTHING;
		return 0;
	}
	if (hdr.vcpu != open->event.common.vcpu || event_id_of(reply.event) != open->id ||
	    reply.action > KVMI_EVENT_ACTION_CRASH)
		return -EINVAL;
	if (open->made_up)
		r->how = REPLY_NOTHING;
	else if (open->id != open->event.id && reply.action != KVMI_EVENT_ACTION_CRASH)
		prepare_access(d, reply.action == KVMI_EVENT_ACTION_CONTINUE,
			       (const unsigned char *)data + sizeof(hdr) + sizeof(reply),
			       size - sizeof(hdr) - sizeof(reply), r);
	else if (reply.action == KVMI_EVENT_ACTION_CONTINUE)
		prepare_continue(d, (const unsigned char *)data + sizeof(hdr) + sizeof(reply),
				 size - sizeof(hdr) - sizeof(reply), r);
	else if (!kint_event_accepts(&open->event, reply.action))
		r->action = KVMI_EVENT_ACTION_ALLOW;
	return 0;
}

static int send_reply(struct domain *d, const struct reply *r)
{
	switch (r->how) {
	case REPLY_ACTION:
		return kint_reply(d->conn, &r->open->event, r->action);
	case REPLY_VALUE:
		return kint_reply_value(d->conn, &r->open->event, r->value);
	case REPLY_CONTEXT:
		return kint_reply_pf(d->conn, &r->open->event, KVMI_PF_TRAP_ACCESS);
	case REPLY_DATA:
		return kint_reply_access(d->conn, &r->open->event, r->data);
	default:
		return 0;
	}
}

/* As send_reply(), in a batch, but for REPLY_NOTHING; its index there, or an error */
int reply_queue(struct kint_batch *batch, const struct reply *r)
{
	switch (r->how) {
	case REPLY_ACTION:
		return kint_queue_reply(batch, &r->open->event, r->action);
	case REPLY_VALUE:
		return kint_queue_reply_value(batch, &r->open->event, r->value);
	case REPLY_CONTEXT:
		return kint_queue_reply_pf(batch, &r->open->event, KVMI_PF_TRAP_ACCESS);
	case REPLY_DATA:
		return kint_queue_reply_access(batch, &r->open->event, r->data);
	default:
		return -EINVAL;
	}
}

/* The caller has answered a PAUSE event that was made up */
static void made_up_done(struct domain *d, const struct reply *r)
{
	struct vcpu *v = &d->vcpus[r->open->event.common.vcpu];
	unsigned int action = r->action;

	if (action == KVMI_EVENT_ACTION_RETRY)
		action = KVMI_EVENT_ACTION_ALLOW;
	v->made_up--;
	if (v->held && (!v->made_up || action == KVMI_EVENT_ACTION_CRASH)) {
		v->held = false;
		kint_reply(d->conn, &v->pause, action);
	} else if (action == KVMI_EVENT_ACTION_CRASH) {
		kint_shutdown(d->conn);
	}
}

static bool was_allowed(const struct vcpu *v, const struct kvmi_vcpu_event_access *access)
{
	unsigned int i;

	for (i = 0; i < v->nallowed; i++)
		if (v->allowed[i].gfn == access->gpa / 4096 &&
		    v->allowed[i].access & access->access)
			return true;
	return false;
}

/* For the rest of the instruction.  One that there is no room for is asked about again. */
static void remember_allowed(struct vcpu *v, const struct kint_event *event)
{
	bool is_pf = event->id == KVMI_VCPU_EVENT_PF;
	unsigned int i = v->nallowed;

	if (i == sizeof(v->allowed) / sizeof(v->allowed[0]))
		return;
	v->allowed[i].gfn = (is_pf ? event->pf.gpa : event->access.gpa) / 4096;
	v->allowed[i].access = is_pf ? event->pf.access : event->access.access;
	v->nallowed++;
}

/* It has been sent; @r->open is freed */
void reply_done(struct domain *d, struct reply *r)
{
	struct open_event **p, *open = r->open;
	const struct kint_event *event = &open->event;

	if (open->made_up)
		made_up_done(d, r);
	if (r->allows)
		remember_allowed(&d->vcpus[event->common.vcpu], event);
	if (r->allows && r->context.ctx_size)
		set_context(&d->vcpus[event->common.vcpu], event, &r->context);
	p = find_open(d, open->seq);
	*p = open->next;
	free(open);
	r->open = NULL;
}

/*
 * An instruction reads or writes, and the caller may have said what it is to read.  False
 * if it has to be asked about this page.
 */
bool answer_access(struct domain *d, struct vcpu *v, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_access *access = &event->access;
	unsigned char data[sizeof(access->data)];

	if (replace(v, access, data))
		kint_reply_access(d->conn, event, data);
	else if (was_allowed(v, access) ||
		 access_not_asked(d, event->common.arch.view, access->gpa, access->access))
		kint_reply(d->conn, event, KVMI_EVENT_ACTION_ALLOW);
	else
		return false;
	return true;
}

int kvmi_reply_event(void *dom, unsigned int seq, const void *data, size_t data_size)
{
	struct domain *d = domain_enter(dom);
	struct reply r;
	int err;

	if (!d)
		return -1;
	err = reply_prepare(d, seq, data, data_size, &r);
	if (!err)
		err = send_reply(d, &r);
	if (!err)
		reply_done(d, &r);
	return domain_leave(d, err);
}
