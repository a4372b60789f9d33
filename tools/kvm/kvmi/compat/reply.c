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
static bool means_retry(const struct domain *d, const struct open_event *open)
{
	const struct kint_event *event = &open->event;

	if (!kint_event_accepts(event, KVMI_EVENT_ACTION_RETRY))
		return false;
	return open->moved || (event->id == KVMI_VCPU_EVENT_PF &&
			       event->pf.view != d->vcpus[event->common.vcpu].view);
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
	} else if (event->id == KVMI_VCPU_EVENT_PF && size >= sizeof(r->context)) {
		memcpy(&r->context, data, sizeof(r->context));
		if (r->context.ctx_size > sizeof(r->context.ctx_data))
			r->context.ctx_size = sizeof(r->context.ctx_data);
		if (r->context.ctx_size)
			r->how = REPLY_CONTEXT;
	}
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
	if (hdr.vcpu != open->event.common.vcpu || event_id_of(reply.event) != open->event.id ||
	    reply.action > KVMI_EVENT_ACTION_CRASH)
		return -EINVAL;
	if (open->made_up)
		r->how = REPLY_NOTHING;
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

/*
 * What the vCPU is to read instead, from where the caller says.  That is mostly the
 * address that the event has, which is ~0 where hardware does not tell it.
 */
static void set_context(struct domain *d, const struct reply *r)
{
	const struct kint_event *event = &r->open->event;
	struct vcpu *v = &d->vcpus[event->common.vcpu];

	v->context = r->context;
	v->context_is_gpa = r->context.ctx_addr == event->pf.gva;
	v->context_gpa = event->pf.gpa;
}

/* It has been sent; @r->open is freed */
void reply_done(struct domain *d, struct reply *r)
{
	struct open_event **p = find_open(d, r->open->seq), *open = r->open;

	if (open->made_up)
		made_up_done(d, r);
	else if (r->how == REPLY_CONTEXT)
		set_context(d, r);
	*p = open->next;
	free(open);
	r->open = NULL;
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

/* An instruction reads or writes, and the caller may have said what it is to read */
int answer_access(struct domain *d, struct vcpu *v, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_access *access = &event->access;
	unsigned char data[sizeof(access->data)];
	bool replaced = false;
	unsigned int i;
	uint64_t at;

	memcpy(data, access->data, sizeof(data));
	for (i = 0; access->access == KVMI_PAGE_ACCESS_R && i < access->size; i++) {
		at = place_in_context(v, access, i);
		if (at >= v->context.ctx_size)
			continue;
		data[i] = v->context.ctx_data[at];
		replaced = true;
	}
	if (replaced)
		return kint_reply_access(d->conn, event, data);
	return kint_reply(d->conn, event, KVMI_EVENT_ACTION_ALLOW);
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
