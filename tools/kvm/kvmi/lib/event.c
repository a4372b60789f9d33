// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Events: taken from the socket whenever it is read, queued until the caller
 * wants them, and remembered as open until they are answered.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

static_assert(sizeof(struct kvmi_msg_hdr) == 8, "wire");
static_assert(sizeof(struct kvmi_event_hdr) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_event) == 544, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_breakpoint) == 16, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_cr) == 24, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_trap) == 16, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_xsetbv) == 24, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_descriptor) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_msr) == 24, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_pf) == 24, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_pf_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_singlestep) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_cpuid) == 16, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_access) == 56, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_access_reply) == 32, "wire");
static_assert(sizeof(struct kvmi_vcpu_event_reply) == 8, "wire");

#define ALLOW	(1u << KVMI_EVENT_ACTION_ALLOW)
#define RETRY	(1u << KVMI_EVENT_ACTION_RETRY)
#define CRASH	(1u << KVMI_EVENT_ACTION_CRASH)
#define SKIP	(1u << KVMI_EVENT_ACTION_SKIP)

/* Keep kint_fd() readable exactly while events are queued */
static void wake(struct kint_conn *conn)
{
	uint64_t one = 1;
	ssize_t n = write(conn->wake_fd, &one, sizeof(one));

	(void)n;	/* the counter cannot overflow: it is set once at a time */
}

static void unwake(struct kint_conn *conn)
{
	uint64_t value;
	ssize_t n = read(conn->wake_fd, &value, sizeof(value));

	(void)n;
}

static int push(struct kint_conn *conn, const struct kint_event *event)
{
	struct queued_event *q;

	q = malloc(sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->next = NULL;
	q->event = *event;
	if (!conn->nqueued++)
		wake(conn);
	*conn->queue_end = q;
	conn->queue_end = &q->next;
	return 0;
}

/* A vCPU has one at most that it waits in */
static int enqueue(struct kint_conn *conn, const struct kint_event *event)
{
	if (conn->nqueued - conn->nnotes >= KINT_MAX_QUEUED_EVENTS)
		return -ENOBUFS;
	return push(conn, event);
}

/*
 * Nothing waits for it.  As the guest goes on there can be any number of them, and the
 * events that vCPUs wait in are to find room.
 */
static int enqueue_notification(struct kint_conn *conn, const struct kint_event *event)
{
	int err;

	if (conn->nnotes == KINT_MAX_QUEUED_EVENTS / 2) {
		conn->nlost++;
		return 0;
	}
	err = push(conn, event);
	if (!err)
		conn->nnotes++;
	return err;
}

static bool dequeue(struct kint_conn *conn, struct kint_event *event)
{
	struct queued_event *q = conn->queue;

	if (!q)
		return false;
	conn->queue = q->next;
	if (!conn->queue)
		conn->queue_end = &conn->queue;
	*event = q->event;
	free(q);
	if (event->notified)
		conn->nnotes--;
	if (!--conn->nqueued)
		unwake(conn);
	return true;
}

/* Where the data of an event goes, and how much of it there must be */
static void *event_data(struct kint_event *event, size_t *size)
{
	switch (event->id) {
	case KVMI_VCPU_EVENT_BREAKPOINT:
		*size = sizeof(event->breakpoint);
		return &event->breakpoint;
	case KVMI_VCPU_EVENT_CR:
		*size = sizeof(event->cr);
		return &event->cr;
	case KVMI_VCPU_EVENT_TRAP:
		*size = sizeof(event->trap);
		return &event->trap;
	case KVMI_VCPU_EVENT_XSETBV:
		*size = sizeof(event->xsetbv);
		return &event->xsetbv;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		*size = sizeof(event->descriptor);
		return &event->descriptor;
	case KVMI_VCPU_EVENT_MSR:
		*size = sizeof(event->msr);
		return &event->msr;
	case KVMI_VCPU_EVENT_PF:
		*size = sizeof(event->pf);
		return &event->pf;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		*size = sizeof(event->singlestep);
		return &event->singlestep;
	case KVMI_VCPU_EVENT_CPUID:
		*size = sizeof(event->cpuid);
		return &event->cpuid;
	case KVMI_VCPU_EVENT_ACCESS:
		*size = sizeof(event->access);
		return &event->access;
	default:
		*size = 0;
		return NULL;
	}
}

uint32_t kint_event_actions(uint16_t id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_PAUSE:
	case KVMI_VCPU_EVENT_CREATE_VCPU:
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return ALLOW | CRASH;
	case KVMI_VCPU_EVENT_TRAP:
		return ALLOW | CRASH | RETRY;
	case KVMI_VCPU_EVENT_HYPERCALL:
	case KVMI_VCPU_EVENT_BREAKPOINT:
	case KVMI_VCPU_EVENT_CR:
	case KVMI_VCPU_EVENT_XSETBV:
	case KVMI_VCPU_EVENT_DESCRIPTOR:
	case KVMI_VCPU_EVENT_MSR:
	case KVMI_VCPU_EVENT_PF:
	case KVMI_VCPU_EVENT_CPUID:
	case KVMI_VCPU_EVENT_ACCESS:
		return ALLOW | CRASH | RETRY | SKIP;
	default:
		return 0;
	}
}

/* Of a register that has its new value already, see KVMI_CHANGE_DONE */
static bool is_done(const struct kint_event *event)
{
	return (event->id == KVMI_VCPU_EVENT_CR && event->cr.flags & KVMI_CHANGE_DONE) ||
	       (event->id == KVMI_VCPU_EVENT_MSR && event->msr.flags & KVMI_CHANGE_DONE) ||
	       (event->id == KVMI_VCPU_EVENT_DESCRIPTOR &&
		event->descriptor.flags & KVMI_CHANGE_DONE);
}

/* An unknown event of a newer kernel can at least be let pass */
static uint32_t actions_of(const struct kint_event *event)
{
	uint32_t actions = kint_event_actions(event->id);

	if (event->id == KVMI_VCPU_EVENT_TRAP && !(event->trap.flags & KVMI_TRAP_RETRY))
		actions &= ~RETRY;
	if (is_done(event))
		actions &= ~RETRY;
	/* What is read has to come from somewhere */
	if (event->id == KVMI_VCPU_EVENT_ACCESS && event->access.access != KVMI_PAGE_ACCESS_W)
		actions &= ~SKIP;
	return actions ? actions : ALLOW | CRASH;
}

bool kint_event_accepts(const struct kint_event *event, unsigned int action)
{
	return event->is_vcpu && action <= 31 && actions_of(event) & (1u << action);
}

/*
 * @n more PAUSE events of the vCPU are asked for; or a negative number: that has failed, or one has
 * come.  They are counted before the command is sent: the event may be faster than the reply.
 */
int kint_pause_asked(struct kint_conn *conn, uint16_t vcpu, int n)
{
	unsigned int room = vcpu + 1u;
	int *pauses;

	if (room > conn->npauses) {
		pauses = realloc(conn->pauses, room * sizeof(*pauses));
		if (!pauses)
			return -ENOMEM;
		memset(pauses + conn->npauses, 0, (room - conn->npauses) * sizeof(*pauses));
		conn->pauses = pauses;
		conn->npauses = room;
	}
	conn->pauses[vcpu] += n;
	return 0;
}

/*
 * One PAUSE event is like another: where a lost tool has asked for some as well it does not matter
 * which of them is left to the next one, as the guest executes nothing in between.
 */
static bool is_own_pause(struct kint_conn *conn, uint16_t vcpu)
{
	int64_t asked = conn->pause_alls;

	if (vcpu < conn->npauses)
		asked += conn->pauses[vcpu];
	return asked > 0 && !kint_pause_asked(conn, vcpu, -1);
}

/* An event that is to come once has come: was there such a one? */
static bool is_own_once(struct kint_conn *conn, enum wish_kind kind, uint16_t vcpu)
{
	return kint_wishes(conn, kind, vcpu, 0) &&
	       !kint_wish_update(conn, kind, vcpu, 0, false, 0);
}

/* Has this connection asked for it?  Else a tool has that was lost, and whose session goes on. */
static bool is_own(struct kint_conn *conn, uint16_t vcpu, uint16_t id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_PAUSE:
		return is_own_pause(conn, vcpu);
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return is_own_once(conn, WISH_STEP_ONCE, vcpu) ||
		       kint_wishes(conn, WISH_STEP, vcpu, 0);
	case KVMI_VCPU_EVENT_CREATE_VCPU:
		return kint_wishes(conn, WISH_VM_EVENT, 0, id);
	case KVMI_VCPU_EVENT_TRAP:
		/* Of an exception that was injected, or of the one that came first instead */
		if (is_own_once(conn, WISH_TRAP, vcpu))
			return true;
	}
	return kint_wishes(conn, WISH_EVENT, vcpu, id);
}

/* Something was turned on: those that arrived from then on may be of that */
void kint_events_wished(struct kint_conn *conn, uint64_t from)
{
	struct open_event *open;

	for (open = conn->open; open; open = open->next)
		if (open->nr >= from && !open->own)
			open->own = is_own(conn, open->vcpu, open->id);
}

/* An error means that the kernel broke the protocol, or no memory */
int kint_event_arrived(struct kint_conn *conn, const struct kvmi_msg_hdr *hdr,
		       const unsigned char *payload)
{
	struct kint_event event = { .seq = hdr->seq };
	struct kvmi_event_hdr ehdr;
	size_t left = hdr->size, size;
	struct open_event *open;
	void *data;
	int err;

	if (left < sizeof(ehdr))
		return -EPROTO;
	memcpy(&ehdr, payload, sizeof(ehdr));
	payload += sizeof(ehdr);
	left -= sizeof(ehdr);
	event.id = ehdr.event;
	event.is_vcpu = hdr->id == KVMI_VCPU_EVENT;
	event.notified = event.is_vcpu && ehdr.flags & KVMI_EVENT_NOTIFICATION;
	if (!event.is_vcpu)
		return enqueue(conn, &event);

	/* A newer kernel may have a longer common part: it says its size */
	if (left < sizeof(event.common))
		return -EPROTO;
	memcpy(&event.common, payload, sizeof(event.common));
	if (event.common.size < sizeof(event.common) || event.common.size > left)
		return -EPROTO;
	payload += event.common.size;
	left -= event.common.size;

	data = event_data(&event, &size);
	if (left < size)
		return -EPROTO;
	if (size)
		memcpy(data, payload, size);
	/* Callers go by it */
	if (event.id == KVMI_VCPU_EVENT_ACCESS && event.access.size > sizeof(event.access.data))
		return -EPROTO;
	if (event.notified)
		return enqueue_notification(conn, &event);

	open = malloc(sizeof(*open));
	if (!open)
		return -ENOMEM;
	open->seq = event.seq;
	open->id = event.id;
	open->vcpu = event.common.vcpu;
	open->actions = actions_of(&event);
	open->nr = conn->narrived++;
	open->own = is_own(conn, open->vcpu, open->id);
	err = enqueue(conn, &event);
	if (err) {
		free(open);
		return err;
	}
	open->next = conn->open;
	conn->open = open;
	return 0;
}

void kint_events_free(struct kint_conn *conn)
{
	struct kint_event event;
	struct open_event *open;

	while (dequeue(conn, &event))
		;
	while (conn->open) {
		open = conn->open;
		conn->open = open->next;
		free(open);
	}
}

int kint_fd(const struct kint_conn *conn)
{
	return conn->poll_fd;
}

unsigned int kint_pending(const struct kint_conn *conn)
{
	return conn->nqueued;
}

uint64_t kint_lost_notifications(const struct kint_conn *conn)
{
	return conn->nlost;
}

int kint_next_event(struct kint_conn *conn, struct kint_event *event, int timeout_ms)
{
	int64_t deadline = kint_deadline(timeout_ms);
	int ret;

	for (;;) {
		if (dequeue(conn, event)) {
			ret = kint_page_event(conn, event);
			if (ret <= 0)
				return ret;
			/* A guest that asks all the time is not to make this endless */
			if (!conn->queue && deadline >= 0 && kint_now_ms() >= deadline)
				return -EAGAIN;
			continue;
		}
		if (conn->error)
			return conn->error;
		ret = kint_wait_fd(conn->sock, POLLIN, deadline, conn->interrupt_fd);
		if (ret == -ETIMEDOUT)
			return -EAGAIN;
		if (ret < 0)
			return ret;
		kint_receive(conn);
	}
}

int kint_dispatch(struct kint_conn *conn, kint_event_handler handler, void *arg)
{
	struct kint_event event;
	unsigned int n;
	int ret;

	/* What @handler does may have others arrive, without end: they are for the next time */
	kint_receive(conn);
	for (n = conn->nqueued; n && dequeue(conn, &event); n--) {
		ret = kint_page_event(conn, &event);
		if (!ret)
			ret = handler(conn, &event, arg);
		else if (ret > 0)
			ret = 0;
		if (ret)
			return ret;
	}
	return conn->nqueued ? 0 : conn->error;
}

static struct open_event **find_open(const struct kint_conn *conn, uint32_t seq)
{
	struct open_event **p;

	for (p = (struct open_event **)&conn->open; *p && (*p)->seq != seq; p = &(*p)->next)
		;
	return p;
}

bool kint_event_is_own(const struct kint_conn *conn, const struct kint_event *event)
{
	const struct open_event *open = event->is_vcpu ? *find_open(conn, event->seq) : NULL;

	return open && open->own;
}

/* A reply to the open event with number @seq */
static int make_answer(const struct kint_conn *conn, uint32_t seq, unsigned int action,
		       const void *data, size_t size, struct answer *answer)
{
	struct open_event *open = *find_open(conn, seq);

	if (!open || action > 31 || !(open->actions & (1u << action)))
		return -EINVAL;
	memset(answer, 0, sizeof(*answer));
	answer->vcpu.vcpu = open->vcpu;
	answer->reply.action = action;
	answer->reply.event = open->id;
	if (size)
		memcpy(answer->data, data, size);
	return offsetof(struct answer, data) + size;
}

/*
 * What answers an event: each returns the size of the message's payload, which is
 * @answer, or -EINVAL.
 */
int kint_answer(const struct kint_conn *conn, const struct kint_event *event,
		unsigned int action, const void *data, size_t size, struct answer *answer)
{
	return event->is_vcpu ? make_answer(conn, event->seq, action, data, size, answer) : -EINVAL;
}

/* The kernels of the first KVMI series write 0 if a reply lacks the value */
int kint_answer_value(const struct kint_conn *conn, const struct kint_event *event,
		      unsigned int action, uint64_t value, struct answer *answer)
{
	struct kvmi_vcpu_event_cr_reply cr = { .new_val = value };
	struct kvmi_vcpu_event_msr_reply msr = { .new_val = value };

	if (event->id == KVMI_VCPU_EVENT_CR)
		return kint_answer(conn, event, action, &cr, sizeof(cr), answer);
	if (event->id == KVMI_VCPU_EVENT_MSR)
		return kint_answer(conn, event, action, &msr, sizeof(msr), answer);
	return -EINVAL;
}

int kint_answer_action(const struct kint_conn *conn, const struct kint_event *event,
		       unsigned int action, struct answer *answer)
{
	if (event->is_vcpu && event->id == KVMI_VCPU_EVENT_CR)
		return kint_answer_value(conn, event, action, event->cr.new_value, answer);
	if (event->is_vcpu && event->id == KVMI_VCPU_EVENT_MSR)
		return kint_answer_value(conn, event, action, event->msr.new_value, answer);
	return kint_answer(conn, event, action, NULL, 0, answer);
}

int kint_answer_pf(const struct kint_conn *conn, const struct kint_event *event,
		   uint32_t flags, struct answer *answer)
{
	struct kvmi_vcpu_event_pf_reply pf = { .flags = flags };

	if (event->id != KVMI_VCPU_EVENT_PF)
		return -EINVAL;
	return kint_answer(conn, event, KVMI_EVENT_ACTION_ALLOW, &pf, sizeof(pf), answer);
}

int kint_answer_access(const struct kint_conn *conn, const struct kint_event *event,
		       const void *data, struct answer *answer)
{
	struct kvmi_vcpu_event_access_reply access = { 0 };

	if (!event->is_vcpu || event->id != KVMI_VCPU_EVENT_ACCESS ||
	    event->access.size > sizeof(access.data))
		return -EINVAL;
	memcpy(access.data, data, event->access.size);
	return kint_answer(conn, event, KVMI_EVENT_ACTION_ALLOW, &access, sizeof(access), answer);
}

void kint_answered(struct kint_conn *conn, uint32_t seq)
{
	struct open_event **p = find_open(conn, seq), *open = *p;

	if (open) {
		*p = open->next;
		free(open);
	}
}

/* @size is what made @answer returned */
static int send_answer(struct kint_conn *conn, uint32_t seq, const struct answer *answer, int size)
{
	struct command cmd = {
		.req = { KVMI_VCPU_EVENT, { answer }, { size } }, .seq = seq, .answers = true,
	};
	int err = size < 0 ? size : kint_run(conn, &cmd, 1);

	if (!err)
		kint_answered(conn, seq);
	return err;
}

int kint_reply(struct kint_conn *conn, const struct kint_event *event, unsigned int action)
{
	struct answer answer;
	int size = kint_answer_action(conn, event, action, &answer);

	return send_answer(conn, event->seq, &answer, size);
}

int kint_reply_flags(struct kint_conn *conn, const struct kint_event *event,
		     unsigned int action, uint32_t flags, uint16_t view)
{
	const uint32_t known = KVMI_REPLY_SET_VIEW | KVMI_REPLY_SINGLESTEP |
			       KVMI_REPLY_STEP_IN_VIEW;
	struct answer answer;
	int size = kint_answer_action(conn, event, action, &answer), err;

	if (size < 0 || flags & ~known)
		return -EINVAL;
	answer.reply.flags = flags;
	answer.reply.view = view;
	err = send_answer(conn, event->seq, &answer, size);
	if (err || !(flags & KVMI_REPLY_SINGLESTEP))
		return err;
	return kint_wish_update(conn, WISH_STEP_ONCE, event->common.vcpu, 0, true, 0);
}

int kint_reply_value(struct kint_conn *conn, const struct kint_event *event, uint64_t value)
{
	struct answer answer;
	int size = kint_answer_value(conn, event, KVMI_EVENT_ACTION_ALLOW, value, &answer);

	return send_answer(conn, event->seq, &answer, size);
}

int kint_reply_pf(struct kint_conn *conn, const struct kint_event *event, uint32_t flags)
{
	struct answer answer;
	int size = kint_answer_pf(conn, event, flags, &answer);

	return send_answer(conn, event->seq, &answer, size);
}

int kint_reply_access(struct kint_conn *conn, const struct kint_event *event, const void *data)
{
	struct answer answer;
	int size = kint_answer_access(conn, event, data, &answer);

	return send_answer(conn, event->seq, &answer, size);
}

/*
 * Let every vCPU go on that this connection has stopped, the caller being about to leave.  What
 * a lost tool was to be asked about stays open, for the one after this.  The first that cannot
 * be answered ends it: the others could not be either.
 */
int kint_allow_own(struct kint_conn *conn)
{
	struct open_event *open, *next;
	struct kint_event event;
	struct answer answer;
	int err = kint_receive(conn);
	uint32_t seq;
	int size;

	while (!err && dequeue(conn, &event)) {
		err = kint_page_event(conn, &event);
		if (err > 0)
			err = 0;
		else if (!err && kint_event_is_own(conn, &event))
			err = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW);
	}
	/*
	 * What the caller was given and did not answer: without the value, which
	 * means the guest's own to all but the first KVMI kernels.
	 */
	for (open = conn->open; !err && open; open = next) {
		next = open->next;
		if (!open->own)
			continue;
		seq = open->seq;
		size = make_answer(conn, seq, KVMI_EVENT_ACTION_ALLOW, NULL, 0, &answer);
		err = send_answer(conn, seq, &answer, size);
	}
	return err;
}
