// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: sending events and waiting for the replies.
 *
 * A vCPU has at most one event open.  While waiting for the reply its thread
 * runs the commands that the tool sends, without any lock of KVM but
 * vcpu->mutex.
 *
 * A signal ends the wait, so that a slow tool can't keep the VMM from its vCPU:
 * KVM_RUN returns -EINTR and the event stays open.  The next KVM_RUN waits for
 * the reply first, see kvmi_event_resume(), and keeps it for when the guest
 * executes the same instruction with the same operands again.
 */

#include <linux/kvm_host.h>

#include "arch.h"
#include "command.h"
#include "event.h"
#include "limits.h"
#include "memslots.h"
#include "message.h"
#include "reader.h"
#include "rules.h"
#include "session.h"
#include "trace.h"
#include "vcpu.h"
#include "view.h"
#include "wait.h"

#define REPLY_IN_VIEW	(KVMI_REPLY_SET_VIEW | KVMI_REPLY_STEP_IN_VIEW)
#define REPLY_STEPS	(KVMI_REPLY_SINGLESTEP | KVMI_REPLY_STEP_IN_VIEW)

enum {
	ALLOW = BIT(KVMI_EVENT_ACTION_ALLOW),
	RETRY = BIT(KVMI_EVENT_ACTION_RETRY),
	CRASH = BIT(KVMI_EVENT_ACTION_CRASH),
	SKIP  = BIT(KVMI_EVENT_ACTION_SKIP),
};

enum kvmi_event_kind {
	/* No such event */
	KVMI_EVENT_UNKNOWN,
	/* Of the VM, without a reply */
	KVMI_EVENT_OF_VM,
	/* Of a vCPU, enabled for the VM */
	KVMI_EVENT_OF_NEW_VCPU,
	/* Of a vCPU, not caused by its guest */
	KVMI_EVENT_OF_VCPU,
	/* Of a vCPU, raised again if KVM_RUN is interrupted */
	KVMI_EVENT_OF_GUEST,
	/* The same, for an instruction that ALLOW and SKIP complete */
	KVMI_EVENT_OF_INSTRUCTION,
};

struct kvmi_event_desc {
	enum kvmi_event_kind kind;
	/* Bits of the KVMI_EVENT_ACTION_* that the event accepts */
	u8 actions;
	/* Most bytes of event-specific data in the reply */
	u8 reply_size;
	/*
	 * Offset of the value to be replaced in the event's data, a u64 that may
	 * change without the guest; 0 if there is none
	 */
	u8 old_value;
	/* Validates the event-specific data of the reply, or NULL */
	bool (*reply_is_good)(const void *reply);
};

/* Refuse unknown flags, so that they can be given a meaning */
static bool pf_reply_is_good(const void *reply)
{
	const struct kvmi_vcpu_event_pf_reply *pf = reply;

	return !(pf->flags & ~KVMI_PF_TRAP_ACCESS) && !pf->padding;
}

#define __INSTRUCTION(_reply_size, _old_value)			\
	{ .kind = KVMI_EVENT_OF_INSTRUCTION,			\
	  .actions = ALLOW | SKIP | RETRY | CRASH,		\
	  .reply_size = (_reply_size),				\
	  .old_value = (_old_value) }
#define INSTRUCTION(_reply_size)	__INSTRUCTION(_reply_size, 0)

static const struct kvmi_event_desc events[KVMI_NR_EVENT_IDS] = {
	[KVMI_VM_EVENT_UNHOOK] = { .kind = KVMI_EVENT_OF_VM },

	[KVMI_VCPU_EVENT_PAUSE] = {
		.kind = KVMI_EVENT_OF_VCPU,
		.actions = ALLOW | CRASH,
	},
	[KVMI_VCPU_EVENT_HYPERCALL] = INSTRUCTION(0),
	[KVMI_VCPU_EVENT_BREAKPOINT] = INSTRUCTION(0),
	[KVMI_VCPU_EVENT_CR] =
		__INSTRUCTION(sizeof(struct kvmi_vcpu_event_cr_reply),
			      offsetof(struct kvmi_vcpu_event_cr, old_value)),
	[KVMI_VCPU_EVENT_TRAP] = {
		.kind = KVMI_EVENT_OF_GUEST,
		.actions = ALLOW | RETRY | CRASH,
	},
	[KVMI_VCPU_EVENT_XSETBV] =
		__INSTRUCTION(0, offsetof(struct kvmi_vcpu_event_xsetbv, old_value)),
	[KVMI_VCPU_EVENT_DESCRIPTOR] = INSTRUCTION(0),
	[KVMI_VCPU_EVENT_MSR] =
		__INSTRUCTION(sizeof(struct kvmi_vcpu_event_msr_reply),
			      offsetof(struct kvmi_vcpu_event_msr, old_value)),
	[KVMI_VCPU_EVENT_PF] = {
		.kind = KVMI_EVENT_OF_INSTRUCTION,
		.actions = ALLOW | SKIP | RETRY | CRASH,
		.reply_size = sizeof(struct kvmi_vcpu_event_pf_reply),
		.reply_is_good = pf_reply_is_good,
	},
	[KVMI_VCPU_EVENT_SINGLESTEP] = {
		.kind = KVMI_EVENT_OF_VCPU,
		.actions = ALLOW | CRASH,
	},
	[KVMI_VCPU_EVENT_CPUID] = INSTRUCTION(0),
	[KVMI_VCPU_EVENT_ACCESS] =
		INSTRUCTION(sizeof(struct kvmi_vcpu_event_access_reply)),
	[KVMI_VCPU_EVENT_CREATE_VCPU] = {
		.kind = KVMI_EVENT_OF_NEW_VCPU,
		.actions = ALLOW | CRASH,
	},
};

/* kvm_vcpu.introspection_events */
static_assert(KVMI_NR_EVENT_IDS <= BITS_PER_LONG);
static_assert(sizeof(struct kvmi_vcpu_event_cr) <= KVMI_MAX_EVENT_DATA);
static_assert(sizeof(struct kvmi_vcpu_event_msr) <= KVMI_MAX_EVENT_DATA);
static_assert(sizeof(struct kvmi_vcpu_event_xsetbv) <= KVMI_MAX_EVENT_DATA);
static_assert(sizeof(struct kvmi_vcpu_event_pf) <= KVMI_MAX_EVENT_DATA);
static_assert(sizeof(struct kvmi_vcpu_event_access) <= KVMI_MAX_EVENT_DATA);
static_assert(sizeof(struct kvmi_vcpu_event_cr_reply) <= KVMI_MAX_EVENT_REPLY);
static_assert(sizeof(struct kvmi_vcpu_event_pf_reply) <= KVMI_MAX_EVENT_REPLY);
static_assert(sizeof(struct kvmi_vcpu_event_msr_reply) <= KVMI_MAX_EVENT_REPLY);
static_assert(sizeof(struct kvmi_vcpu_event_access_reply) <= KVMI_MAX_EVENT_REPLY);

/* Return true if this kernel implements the event. */
bool kvmi_event_known(u16 id)
{
	return id < ARRAY_SIZE(events) && events[id].kind != KVMI_EVENT_UNKNOWN;
}

/* Return true if the event is enabled for the VM. */
bool kvmi_event_of_vm(u16 id)
{
	return kvmi_event_known(id) && events[id].kind <= KVMI_EVENT_OF_NEW_VCPU;
}

static bool event_of_vcpu(u16 id)
{
	return kvmi_event_known(id) && events[id].kind > KVMI_EVENT_OF_NEW_VCPU;
}

/*
 * Return true if the guest re-executes the instruction, i.e. if a late reply
 * can still be matched.
 */
static bool raised_again(u16 id)
{
	return events[id].kind >= KVMI_EVENT_OF_GUEST;
}

/* Return true if rules can decide the event. */
bool kvmi_event_has_rules(u16 id)
{
	return kvmi_event_known(id) && raised_again(id);
}

/* Return true if the event accepts an action, at least at times. */
bool kvmi_event_accepts(u16 id, u8 action)
{
	return events[id].actions & BIT(action);
}

struct event_msg {
	struct kvmi_msg_hdr hdr;
	struct kvmi_event_hdr ev;
	struct kvmi_vcpu_event common;
	u8 data[KVMI_MAX_EVENT_DATA];
};

/* 0 is not used for events. */
static u32 next_seq(struct kvm_introspection *session)
{
	return atomic_inc_return(&session->seq) ?: atomic_inc_return(&session->seq);
}

/*
 * Drop an event, with what its reply requests if there is one.  The receiver
 * does not access replies that were kept.
 */
static void drop_event(struct kvm_vcpu_introspection *vi,
		       struct kvm_introspection *session, struct kvmi_event *event)
{
	guard(spinlock)(&vi->lock);

	if (event->state == KVMI_EVENT_ANSWERED && event->flags & REPLY_IN_VIEW &&
	    event->session == vi->nr_sessions)
		kvmi_view_put(session, event->view);
	event->flags = 0;
	WRITE_ONCE(event->state, KVMI_EVENT_NONE);
}

/* Return true if the tool that the open event was sent to is lost. */
static bool session_over(struct kvm_vcpu_introspection *vi,
			 struct kvm_introspection *session)
{
	return READ_ONCE(session->defunct) || !READ_ONCE(vi->session) ||
	       READ_ONCE(session->attachment) != vi->event.attachment;
}

/* jiffies at which the time for the event expires; only with a timeout */
static unsigned long end_of_time(const struct kvm_introspection *session,
				 const struct kvmi_event *event)
{
	unsigned long end = READ_ONCE(event->renewed) + session->timeout;
	unsigned long limit = event->begun + session->max_timeout;

	return session->max_timeout && time_before(limit, end) ? limit : end;
}

/* Jiffies for which the tool may still leave the event unanswered */
static long time_left(const struct kvm_introspection *session,
		      const struct kvmi_event *event)
{
	unsigned long end, now = jiffies;

	if (session->timeout == MAX_SCHEDULE_TIMEOUT)
		return MAX_SCHEDULE_TIMEOUT;

	end = end_of_time(session, event);

	return time_before(now, end) ? end - now : 0;
}

/*
 * The time for the event has expired, but the tool may have replied in time, and KVM
 * be late, e.g. with a command that takes long.  Return true to look again soon.
 */
static bool may_be_answered(struct kvm_introspection *session,
			    const struct kvmi_event *event)
{
	return time_before(jiffies, end_of_time(session, event) + KVMI_MAX_LATE_TIME) &&
	       kvmi_reader_is_behind(session);
}

/*
 * Return the jiffies for which the vCPU's thread may wait for the tool, or
 * MAX_SCHEDULE_TIMEOUT; 0 if the time for the open event has expired.  Between
 * kvmi_vcpu_enter() and kvmi_vcpu_leave().
 */
long kvmi_event_time_left(struct kvm_vcpu_introspection *vi,
			  struct kvm_introspection *session)
{
	if (READ_ONCE(vi->event.state) == KVMI_EVENT_OPEN)
		return time_left(session, &vi->event);

	return session->timeout;
}

/*
 * Stop the time for the open event while KVM_RUN has returned: commands are not
 * executed then, and what userspace does is not up to the tool.  Called when
 * the vCPU's thread stops using the session.
 */
void kvmi_event_suspend(struct kvm_vcpu_introspection *vi)
{
	struct kvmi_event *event = &vi->event;

	lockdep_assert_held(&vi->lock);

	if (event->state != KVMI_EVENT_OPEN)
		return;

	event->suspended = true;
	event->suspended_at = jiffies;
}

/*
 * Continue the time for the open event, or restart it if KVM_RUN has returned
 * because it expired.  Called when the vCPU's thread begins to use the session.
 */
void kvmi_event_continue(struct kvm_vcpu_introspection *vi)
{
	struct kvmi_event *event = &vi->event;
	unsigned long now = jiffies;
	unsigned long away = now - event->suspended_at;

	lockdep_assert_held(&vi->lock);

	if (event->stopped) {
		event->begun = now;
		WRITE_ONCE(event->renewed, now);
	} else if (event->suspended) {
		event->begun += away;
		/* Unless it was renewed meanwhile */
		if (time_after(event->renewed, event->suspended_at))
			WRITE_ONCE(event->renewed, now);
		else
			WRITE_ONCE(event->renewed, event->renewed + away);
	}
	event->stopped = false;
	event->suspended = false;
}

/* Return the size of the message. */
static size_t make_event(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			 struct event_msg *msg, u16 id, u16 flags,
			 const void *data, size_t size)
{
	size_t total = offsetof(struct event_msg, data) + size;
	int as_id = kvmi_arch_vcpu_address_space(vcpu);

	/* The frame is sent as it is, and must not have holes. */
	static_assert(offsetof(struct event_msg, data) ==
		      sizeof(msg->hdr) + sizeof(msg->ev) + sizeof(msg->common));

	*msg = (struct event_msg) {
		.hdr = {
			.id = KVMI_VCPU_EVENT,
			.size = total - sizeof(msg->hdr),
			.seq = next_seq(session),
		},
		.ev = {
			.event = id,
			.flags = flags,
		},
		.common = {
			.size = sizeof(msg->common),
			.vcpu = vcpu->vcpu_idx,
			.cookie = kvmi_memslots_cookie(session,
						       __kvm_memslots(vcpu->kvm, as_id)),
		},
	};
	kvmi_arch_vcpu_fill_event(vcpu, &msg->common.arch);
	if (size)
		memcpy(msg->data, data, size);

	return total;
}

static int send_event(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		      u16 id, u8 forbidden, const void *data, size_t size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_event *event = &vi->event;
	/* make_event() zeroes it. */
	struct event_msg msg __uninitialized;
	size_t total;
	int r;

	total = make_event(vcpu, session, &msg, id, 0, data, size);
	kvmi_arch_event_get_context(vcpu, &msg.common.arch, &event->at);
	WRITE_ONCE(event->since, jiffies);
	event->begun = jiffies;

	/* The reply may arrive before sending returns. */
	spin_lock(&vi->lock);
	WRITE_ONCE(event->state, KVMI_EVENT_OPEN);
	event->session = vi->nr_sessions;
	event->attachment = READ_ONCE(session->attachment);
	WRITE_ONCE(event->renewed, event->begun);
	event->id = id;
	event->actions = events[id].actions & ~forbidden;
	event->set_regs = false;
	event->flags = 0;
	event->unanswered = false;
	event->stopped = false;
	event->suspended = false;
	event->seq = msg.hdr.seq;
	event->data_size = size;
	memcpy(event->data, msg.data, size);
	event->reply_size = 0;
	spin_unlock(&vi->lock);

	vcpu->stat.introspection_events++;
	trace_kvmi_event(vcpu->kvm, vcpu->vcpu_idx, id, msg.hdr.seq,
			 msg.common.arch.regs.rip);

	/* The tool nearly always reads. */
	if (kvmi_message_send_now(session, event->attachment, &msg, total, false))
		return 0;

	kvmi_vcpu_begin_wait(vcpu, session);
	r = kvmi_message_send(session, event->attachment, &msg, total,
			      time_left(session, event));
	kvmi_vcpu_end_wait(vcpu);

	if (r) {
		/* It will be sent again. */
		vcpu->stat.introspection_events--;
		drop_event(vi, session, event);
	}

	return r;
}

/* Return true if a vCPU that waits for a reply has to wake up. */
static bool something_to_do(struct kvm_vcpu_introspection *vi,
			    struct kvm_introspection *session)
{
	return READ_ONCE(vi->event.state) != KVMI_EVENT_OPEN ||
	       kvmi_vcpu_has_work(vi) || session_over(vi, session);
}

/*
 * Return true if the event is answered; @over: there will be no reply any more
 */
static bool is_answered(struct kvm_vcpu_introspection *vi,
			struct kvm_introspection *session, bool *over)
{
	/*
	 * A reply is processed with this lock held, before the receiver marks
	 * the session as defunct.
	 */
	guard(spinlock)(&vi->lock);

	*over = session_over(vi, session);
	return vi->event.state == KVMI_EVENT_ANSWERED;
}

/* The vCPU goes on.  Notify its guest if it was stopped for long. */
static void end_standstill(struct kvm_vcpu *vcpu, const struct kvmi_event *event)
{
	if (time_after_eq(jiffies, event->since + KVMI_STANDSTILL))
		kvmi_arch_vcpu_stood_still(vcpu);
}

static void expect_late_answer(struct kvm_vcpu_introspection *vi)
{
	vi->expired = vi->event.seq;
	vi->expired_attachment = vi->event.attachment;
	vi->answers_late = true;
}

/*
 * The time for the open event has expired.  If KVM_RUN returns, the time
 * restarts with the next one.  If the guest goes on, that is a reply, which is
 * kept like others.
 *
 * Return false if there is a reply, possibly the tool's at the last moment.
 */
static bool kvmi_event_expire(struct kvm_vcpu_introspection *vi,
			      struct kvm_introspection *session)
{
	struct kvmi_event *event = &vi->event;

	guard(spinlock)(&vi->lock);

	if (event->state != KVMI_EVENT_OPEN)
		return false;

	switch (session->on_timeout) {
	case KVM_INTROSPECTION_STOP:
		event->stopped = true;
		return true;
	case KVM_INTROSPECTION_CRASH:
		expect_late_answer(vi);
		WRITE_ONCE(event->state, KVMI_EVENT_NONE);
		return true;
	default:
		vi->vcpu->stat.introspection_timeouts++;
		expect_late_answer(vi);
		event->unanswered = true;
		event->action = KVMI_EVENT_ACTION_ALLOW;
		/* The tool has not said what the registers are for. */
		event->set_regs = false;
		event->reply_size = 0;
		event->policy = READ_ONCE(vi->policy);
		event->vm_policy = READ_ONCE(session->policy);
		WRITE_ONCE(event->state, KVMI_EVENT_ANSWERED);
		return false;
	}
}

/*
 * Wait until the open event is answered, running commands meanwhile.  A reply
 * counts, and so do the commands before it, even if the tool is lost since.
 *
 * Return 0 if answered, -EINTR if a signal is pending, -ETIME if the time has
 * expired, another error if the session is over without a reply.
 */
static int wait_for_answer(struct kvm_vcpu *vcpu,
			   struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	bool look = kvmi_replies_left(&vi->replies), answered, over;
	long left, r;

	for (;; look = true) {
		/* Nearly always there is nothing yet to be done. */
		if (look) {
			/* Run commands that were sent before the reply first. */
			answered = is_answered(vi, session, &over);
			if (answered && vi->event.unanswered)
				return 0;
			r = kvmi_vcpu_run_commands(vcpu, session);
			if (r == -EINTR || (!r && answered))
				return r;
			if (!r && over)
				return -ENOTCONN;
		}
		left = time_left(session, &vi->event);
		/* No tool that does not read is waited for. */
		if (!left && !kvmi_replies_left(&vi->replies) &&
		    may_be_answered(session, &vi->event))
			left = 1;
		if (!left) {
			if (kvmi_event_expire(vi, session))
				return -ETIME;
			continue;
		}

		kvmi_vcpu_begin_wait(vcpu, session);
		r = kvmi_reader_wait(vi, session, left, something_to_do);
		kvmi_vcpu_end_wait(vcpu);
		if (r < 0)
			return -EINTR;
	}
}

/* The instruction is not the one any more that the reply is about. */
static void drop_steps(struct kvm_vcpu_introspection *vi,
		       struct kvm_introspection *session, struct kvmi_event *event)
{
	guard(spinlock)(&vi->lock);

	if (event->flags & KVMI_REPLY_STEP_IN_VIEW)
		kvmi_view_put(session, event->view);
	event->flags &= ~REPLY_STEPS;
}

static void forget_view(struct kvm_vcpu_introspection *vi,
			struct kvm_introspection *session, struct kvmi_event *answer,
			u32 policy_nr)
{
	guard(spinlock)(&vi->lock);

	if (answer->state != KVMI_EVENT_ANSWERED ||
	    !(answer->flags & KVMI_REPLY_SET_VIEW) ||
	    answer->session != vi->nr_sessions || (s32)(policy_nr - answer->policy) <= 0)
		return;

	answer->flags &= ~KVMI_REPLY_SET_VIEW;
	kvmi_view_put(session, answer->view);
}

/*
 * Forget the views that earlier replies have chosen, but are not entered yet, as
 * the tool has chosen another one since.  @policy_nr: of what chooses it; vCPU's
 * thread only.
 */
void kvmi_event_forget_views(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			     u32 policy_nr)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	unsigned int i;

	forget_view(vi, session, &vi->event, policy_nr);
	for (i = 0; i < KVMI_MAX_KEPT_ANSWERS; i++)
		forget_view(vi, session, &vi->answers[i], policy_nr);
}

static void apply_view(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		       struct kvmi_event *event)
{
	if (!(event->flags & KVMI_REPLY_SET_VIEW))
		return;

	event->flags &= ~KVMI_REPLY_SET_VIEW;
	kvmi_event_forget_views(vcpu, session, event->policy);
	kvmi_view_enter(vcpu, session, event->view);
}

/* Apply the reply to an event, whatever its kind, and return the action. */
static int take_answer(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		       struct kvmi_event *event, void *reply, size_t reply_size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	u8 steps;

	vi->answered = !event->unanswered;
	apply_view(vcpu, session, event);
	/* What is left of the flags is applied last, to the final registers. */
	steps = event->flags;
	event->flags = 0;
	drop_event(vi, session, event);

	if (event->set_regs) {
		/*
		 * The instruction's end is derived from its length by some
		 * hardware, from its address by other.  Only RETRY can move the
		 * guest.
		 */
		if (events[event->id].kind == KVMI_EVENT_OF_INSTRUCTION &&
		    event->action != KVMI_EVENT_ACTION_RETRY)
			event->regs.rip = event->at.regs.rip;
		kvmi_arch_vcpu_set_regs(vcpu, &event->regs);
	}
	/* The accesses of the instruction, which may be another one, begin anew. */
	if (event->action == KVMI_EVENT_ACTION_RETRY &&
	    (event->id == KVMI_VCPU_EVENT_PF ||
	     event->id == KVMI_VCPU_EVENT_ACCESS))
		kvmi_arch_vcpu_retry(vcpu);
	/* There is nothing to deliver before the instruction. */
	if (event->action == KVMI_EVENT_ACTION_RETRY &&
	    event->id == KVMI_VCPU_EVENT_TRAP)
		kvmi_arch_vcpu_drop_exception(vcpu);
	if (steps & KVMI_REPLY_STEP_IN_VIEW)
		kvmi_view_step(vcpu, session, event->view, raised_again(event->id));
	else if (steps & KVMI_REPLY_SINGLESTEP)
		kvmi_arch_vcpu_step_once(vcpu);
	if (event->reply_size == reply_size && reply_size)
		memcpy(reply, event->reply, reply_size);

	return event->action;
}

/* Make KVM_RUN return, once. */
static void stop_for(struct kvm_vcpu *vcpu, const struct kvmi_exit *why)
{
	kvmi_to_vcpu(vcpu)->stop = *why;
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
}

static int stop_lost(struct kvm_vcpu *vcpu, u16 id, unsigned int attachment)
{
	const struct kvmi_exit why = {
		.reason = KVM_INTROSPECTION_EXIT_LOST,
		.event = id,
		.attachment = attachment,
	};

	stop_for(vcpu, &why);
	return KVMI_EVENT_INTERRUPTED;
}

/*
 * The tool is lost with an event to be answered: go on as with ALLOW, or stop
 * the vCPU.
 *
 * Return KVMI_EVENT_*, see __kvmi_event().
 */
static int lose_event(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		      u16 id)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	drop_event(vi, session, &vi->event);
	if (!session->stops_on_loss || !READ_ONCE(vi->session) ||
	    READ_ONCE(session->ending))
		return KVMI_EVENT_ACTION_ALLOW;

	kvmi_vcpu_unclaim_event(vi, id);
	return stop_lost(vcpu, id, vi->event.attachment);
}

/*
 * The time for an event has expired.  @seq: its sequence number, 0 if it could
 * not be sent
 *
 * Return KVMI_EVENT_*, see __kvmi_event().
 */
static int expire_event(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			u16 id, u32 seq)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_exit why = {
		.reason = KVM_INTROSPECTION_EXIT_TIMEOUT,
		.event = id,
		.seq = seq,
	};

	vcpu->stat.introspection_timeouts++;
	switch (session->on_timeout) {
	case KVM_INTROSPECTION_STOP:
		/*
		 * An event that was not sent is raised again, as after a
		 * signal.
		 */
		if (!seq)
			kvmi_vcpu_unclaim_event(vi, id);
		stop_for(vcpu, &why);
		return KVMI_EVENT_INTERRUPTED;
	case KVM_INTROSPECTION_CRASH:
		scoped_guard(spinlock, &vi->lock)
			kvmi_vcpu_crash(vcpu, &why);
		return KVMI_EVENT_INTERRUPTED;
	default:
		return KVMI_EVENT_ACTION_ALLOW;
	}
}

/*
 * There is no reply.  @r: -ETIME, or another error if the tool is lost; @seq:
 * as for expire_event()
 *
 * Return KVMI_EVENT_*, see __kvmi_event().
 */
static int go_without_answer(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			     u16 id, u32 seq, int r)
{
	end_standstill(vcpu, &kvmi_to_vcpu(vcpu)->event);

	return r == -ETIME ? expire_event(vcpu, session, id, seq) :
			     lose_event(vcpu, session, id);
}

static bool same_data(const struct kvmi_event *event, const u8 *data, size_t size)
{
	size_t old = events[event->id].old_value;

	if (event->data_size != size)
		return false;
	if (event->id == KVMI_VCPU_EVENT_TRAP)
		return kvmi_arch_same_trap((const void *)event->data, (const void *)data);
	if (!old)
		return !memcmp(event->data, data, size);

	return !memcmp(event->data, data, old) &&
	       !memcmp(event->data + old + sizeof(u64), data + old + sizeof(u64),
		       size - old - sizeof(u64));
}

/*
 * The context has to match, too: the tool may have set registers for the
 * context that it saw, and another process may execute the same instruction.
 */
static bool same_context(const struct kvmi_event *event, struct kvm_vcpu *vcpu)
{
	struct kvmi_context now;

	kvmi_arch_vcpu_get_context(vcpu, &now);

	return !memcmp(&event->at, &now, sizeof(now));
}

/* Return true for a reply that was kept in the current session. */
static bool is_kept(const struct kvm_vcpu_introspection *vi,
		    const struct kvmi_event *answer)
{
	return answer->state == KVMI_EVENT_ANSWERED &&
	       answer->session == READ_ONCE(vi->nr_sessions) &&
	       READ_ONCE(vi->session);
}

/* After a command that changes what the tool requests, send the event again. */
static bool is_stale(struct kvm_vcpu_introspection *vi,
		     struct kvm_introspection *session,
		     const struct kvmi_event *event)
{
	return event->policy != READ_ONCE(vi->policy) ||
	       event->vm_policy != READ_ONCE(session->policy);
}

/*
 * Return true for two events that one instruction can raise, given the same
 * context.
 */
static bool of_one_instruction(u16 id, u16 other)
{
	return events[id].kind == KVMI_EVENT_OF_INSTRUCTION &&
	       events[other].kind == KVMI_EVENT_OF_INSTRUCTION;
}

/*
 * Drop a reply that was kept.  What it is about will not happen any more, but the
 * view that it chooses does not depend on that.
 */
static void drop_answer(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			struct kvmi_event *answer)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	if (is_kept(vi, answer))
		apply_view(vcpu, session, answer);
	drop_event(vi, session, answer);
}

/*
 * Find the reply that was kept for an event, and drop those that are stale.  An
 * instruction may raise more than one event, each of them again when it
 * restarts: keep the replies to the others as long as the context is the same.
 */
static struct kvmi_event *find_answer(struct kvm_vcpu *vcpu,
				      struct kvm_introspection *session, u16 id,
				      const void *data, size_t size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_event *answer, *found = NULL;

	for (answer = vi->answers; answer < vi->answers + KVMI_MAX_KEPT_ANSWERS; answer++) {
		bool same, other;

		if (answer->state == KVMI_EVENT_NONE)
			continue;

		same = answer->id == id && same_data(answer, data, size);
		other = answer->id != id && of_one_instruction(id, answer->id);
		if (!(same || other) || !same_context(answer, vcpu))
			drop_answer(vcpu, session, answer);
		else if (!is_kept(vi, answer) || is_stale(vi, session, answer))
			/* The tool is asked again, also for the view. */
			drop_event(vi, session, answer);
		else if (same)
			found = answer;
	}

	return found;
}

/*
 * Keep the reply to the open event for when the guest repeats what it is about,
 * which it has to do in the same view.
 */
static void keep_answer(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_event *answer = NULL;
	unsigned int i;

	for (i = 0; i < KVMI_MAX_KEPT_ANSWERS; i++) {
		if (vi->answers[i].state == KVMI_EVENT_NONE) {
			answer = &vi->answers[i];
			break;
		}
	}
	if (!answer)
		answer = &vi->answers[vi->oldest_answer++ % KVMI_MAX_KEPT_ANSWERS];

	drop_answer(vcpu, session, answer);
	*answer = vi->event;
	vi->keeps_answers = true;
	vi->event.flags = 0;
	drop_event(vi, session, &vi->event);
	if (answer->flags & KVMI_REPLY_SET_VIEW)
		kvmi_arch_vcpu_watch_answers(vcpu);
}

/*
 * Before VM-Enter: enter the view of a reply that was kept if the guest does not
 * repeat what the reply is about.  Return true if one is still kept.
 */
bool kvmi_event_check_answers(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_introspection *session;
	struct kvmi_event *answer;
	bool any = false;

	if (!vi->keeps_answers)
		return false;
	session = kvmi_vcpu_enter(vi);
	if (!session)
		return false;

	for (answer = vi->answers; answer < vi->answers + KVMI_MAX_KEPT_ANSWERS; answer++) {
		if (!is_kept(vi, answer) || !(answer->flags & KVMI_REPLY_SET_VIEW))
			continue;
		if (same_context(answer, vcpu))
			any = true;
		else
			drop_answer(vcpu, session, answer);
	}
	kvmi_vcpu_leave(vi);

	return any;
}

/* Return true if a reply was kept for an event; vCPU's thread only. */
bool kvmi_event_answer_kept(struct kvm_vcpu *vcpu, u16 id)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	unsigned int i;

	for (i = 0; i < KVMI_MAX_KEPT_ANSWERS; i++) {
		if (is_kept(vi, &vi->answers[i]) && vi->answers[i].id == id)
			return true;
	}

	return false;
}

/* Send an event that the guest does not wait for. */
static void notify(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		   struct kvmi_rules *rules, u16 id, const void *data, size_t size)
{
	unsigned int attachment = READ_ONCE(session->attachment);
	/* make_event() zeroes it. */
	struct event_msg msg __uninitialized;
	size_t total;

	total = make_event(vcpu, session, &msg, id, KVMI_EVENT_NOTIFICATION, data,
			   size);
	if (READ_ONCE(session->defunct) ||
	    !kvmi_message_send_now(session, attachment, &msg, total, true)) {
		atomic64_inc(&rules->dropped);
		return;
	}

	vcpu->stat.introspection_events++;
	trace_kvmi_event(vcpu->kvm, vcpu->vcpu_idx, id, msg.hdr.seq,
			 msg.common.arch.regs.rip);
}

/*
 * Decide an event by the rules of the tool.  Within kvm->srcu, and not for an
 * exception that the tool has injected.
 *
 * Return KVMI_EVENT_ACTION_*, or KVMI_EVENT_UNDECIDED to ask the tool.
 */
static int decide(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		  u16 id, u8 forbidden, const void *data, size_t size, void *reply)
{
	struct kvmi_rules *rules = kvmi_rules_of(session, id);
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	if (!rules || kvmi_arch_event_pending(&vi->arch, id))
		return KVMI_EVENT_UNDECIDED;

	switch (kvmi_rules_verdict(vcpu, rules, id, events[id].actions & ~forbidden,
				   data)) {
	case KVMI_RULE_ALLOW:
		break;
	case KVMI_RULE_SKIP:
		vi->answered = true;
		return KVMI_EVENT_ACTION_SKIP;
	case KVMI_RULE_CRASH:
		scoped_guard(spinlock, &vi->lock) {
			/* Not in the next session */
			if (vi->session)
				kvmi_vcpu_crash(vcpu, &(struct kvmi_exit) {
					.reason = KVM_INTROSPECTION_EXIT_CRASH,
					.event = id,
				});
		}
		return KVMI_EVENT_ACTION_CRASH;
	case KVMI_RULE_NOTIFY:
		notify(vcpu, session, rules, id, data, size);
		break;
	case KVMI_RULE_TRACE:
		((struct kvmi_vcpu_event_pf_reply *)reply)->flags = KVMI_PF_TRAP_ACCESS;
		break;
	default:
		return KVMI_EVENT_UNDECIDED;
	}

	vi->answered = true;
	return KVMI_EVENT_ACTION_ALLOW;
}

static bool has_kept_answers(struct kvm_vcpu_introspection *vi)
{
	unsigned int i;

	if (!vi->keeps_answers)
		return false;

	for (i = 0; i < KVMI_MAX_KEPT_ANSWERS; i++) {
		if (vi->answers[i].state != KVMI_EVENT_NONE)
			return true;
	}

	vi->keeps_answers = false;
	return false;
}

/*
 * Return the session if nothing precedes what its rules say about an event, else
 * NULL.  Valid within kvm->srcu, which unhooking waits for.
 */
static struct kvm_introspection *decides_at_once(struct kvm_vcpu_introspection *vi,
						 u16 id)
{
	struct kvm_introspection *session = READ_ONCE(vi->session);

	if (!session || !kvmi_has_rules(session, id) ||
	    kvmi_goes_on_without_tool(session) || !raised_again(id) ||
	    !kvmi_event_wanted(vi->vcpu, id))
		return NULL;
	if (READ_ONCE(vi->event.state) != KVMI_EVENT_NONE || has_kept_answers(vi) ||
	    READ_ONCE(vi->crashed) || READ_ONCE(vi->stop.reason))
		return NULL;

	return session;
}

/*
 * Return true for a reply that applies to the vCPU, whatever its guest does next.
 * @emulating: KVM is in the middle of an instruction, which RETRY has to end
 */
static bool is_for_vcpu(const struct kvmi_event *event, bool emulating)
{
	if (!raised_again(event->id) || event->action == KVMI_EVENT_ACTION_CRASH)
		return true;

	/* With RETRY of TRAP an exception has to be dropped. */
	return event->action == KVMI_EVENT_ACTION_RETRY && !emulating &&
	       events[event->id].kind == KVMI_EVENT_OF_INSTRUCTION;
}

/* The reply to an event that is still open is waited for first. */
static int resume_event(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			bool emulating)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	int r;

	if (!vcpu->wants_to_run)
		return -EINTR;

	r = wait_for_answer(vcpu, session);
	if (r == -EINTR)
		return r;
	if (r) {
		r = go_without_answer(vcpu, session, vi->event.id, vi->event.seq, r);
		return r == KVMI_EVENT_INTERRUPTED ? -EINTR : 0;
	}

	end_standstill(vcpu, &vi->event);
	if (is_for_vcpu(&vi->event, emulating)) {
		/*
		 * Userspace may have set registers since: drop those of the
		 * tool, and what it wants to be stepped.
		 */
		if (!same_context(&vi->event, vcpu)) {
			vi->event.set_regs = false;
			drop_steps(vi, session, &vi->event);
		}
		take_answer(vcpu, session, &vi->event, NULL, 0);
	} else {
		keep_answer(vcpu, session);
	}

	return 0;
}

/*
 * What __kvmi_event() does if rules do not decide.  @undecided: they have been asked.
 * Not inlined: an event that a rule decides needs none of the variables.
 */
static noinline int ask_tool(struct kvm_vcpu *vcpu, u16 id, u8 forbidden,
			     bool undecided, const void *data, size_t size,
			     void *reply, size_t reply_size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_introspection *session;
	enum kvmi_claim claim;
	u32 seq = 0;
	int r;

	session = kvmi_vcpu_enter(vi);
	if (!session)
		return KVMI_EVENT_ACTION_ALLOW;

	/* KVM may emulate more before it returns to the run loop. */
	if (READ_ONCE(vi->crashed) || vi->stop.reason)
		goto interrupted;

	if (READ_ONCE(vi->event.state) != KVMI_EVENT_NONE) {
		r = resume_event(vcpu, session, true);
		if (r || READ_ONCE(vi->crashed) || vi->stop.reason)
			goto interrupted;
		/* That was the reply to the other event. */
		vi->answered = false;
	}

	if (raised_again(id) && vi->keeps_answers) {
		struct kvmi_event *answer;

		answer = find_answer(vcpu, session, id, data, size);
		if (answer) {
			r = take_answer(vcpu, session, answer, reply, reply_size);
			goto out;
		}
	}

	/*
	 * The session may be another one than when the event was found to be
	 * enabled.
	 */
	claim = kvmi_vcpu_claim_event(vi, id);
	if (claim != KVMI_CLAIM_NONE && raised_again(id) && !undecided &&
	    kvmi_has_rules(session, id)) {
		r = decide(vcpu, session, id, forbidden, data, size, reply);
		if (r != KVMI_EVENT_UNDECIDED)
			goto out;
	}
	switch (claim) {
	case KVMI_CLAIM_NONE:
		r = KVMI_EVENT_ACTION_ALLOW;
		goto out;
	case KVMI_CLAIM_LOST:
		r = stop_lost(vcpu, id, READ_ONCE(session->attachment));
		goto out;
	case KVMI_CLAIM_SEND:
		break;
	}

	/*
	 * With immediate_exit KVM_RUN only completes an instruction that had to
	 * return to userspace, and must not wait for the tool.
	 */
	if (!vcpu->wants_to_run) {
		kvmi_vcpu_unclaim_event(vi, id);
		goto interrupted;
	}

	r = send_event(vcpu, session, id, forbidden, data, size);
	if (!r) {
		seq = vi->event.seq;
		r = wait_for_answer(vcpu, session);
	} else if (r == -EINTR) {
		kvmi_vcpu_unclaim_event(vi, id);
	}

	if (r == -EINTR)
		goto interrupted;
	if (r) {
		r = go_without_answer(vcpu, session, id, seq, r);
		goto out;
	}

	end_standstill(vcpu, &vi->event);
	r = take_answer(vcpu, session, &vi->event, reply, reply_size);
	goto out;

interrupted:
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	r = KVMI_EVENT_INTERRUPTED;
out:
	kvmi_vcpu_leave(vi);
	return r;
}

/*
 * Send an event, with @size bytes of event-specific data, and wait for the tool's
 * reply, on the vCPU's thread.  The vCPU is loaded, and its SRCU lock is held,
 * which may be dropped and retaken.  No other lock may be held but vcpu->mutex.
 * Bits of the KVMI_EVENT_ACTION_* in @forbidden are not accepted this time.
 *
 * If the reply has event-specific data, its @reply_size bytes are put into @reply.
 *
 * Return KVMI_EVENT_ACTION_*, which is ALLOW if the event is not sent, see
 * kvmi_event_answered(); or KVMI_EVENT_INTERRUPTED, with KVM_REQ_INTROSPECTION
 * pending: return to the run loop with the guest's state unchanged.
 */
int __kvmi_event(struct kvm_vcpu *vcpu, u16 id, u8 forbidden, const void *data,
		 size_t size, void *reply, size_t reply_size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_introspection *session;
	int r;

	vi->answered = false;
	/* It may be the rest of an instruction, before the run loop. */
	WRITE_ONCE(vi->in_run, vcpu->wants_to_run);
	session = decides_at_once(vi, id);
	if (session) {
		r = decide(vcpu, session, id, forbidden, data, size, reply);
		if (r != KVMI_EVENT_UNDECIDED)
			return r;
	}

	return ask_tool(vcpu, id, forbidden, session, data, size, reply, reply_size);
}

/*
 * Return true if the action of the last event was the tool's.  For the vCPU's
 * thread, after kvmi_event().
 */
bool kvmi_event_answered(struct kvm_vcpu *vcpu)
{
	return kvmi_to_vcpu(vcpu)->answered;
}

/*
 * Wait for the reply to an event that is still open, before the guest is
 * entered.  Return 0, or -EINTR if a signal is pending or KVM_RUN has to
 * return.
 */
int kvmi_event_resume(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	if (READ_ONCE(kvmi_to_vcpu(vcpu)->event.state) == KVMI_EVENT_NONE)
		return 0;

	return resume_event(vcpu, session, false);
}

/*
 * Return true for the reply to an event whose time has expired.  With the reply
 * to the last such event the tool has caught up.
 */
static bool take_late_answer(struct kvm_vcpu_introspection *vi,
			     struct kvm_introspection *session, u32 seq)
{
	if (!vi->expired || (s32)(vi->expired - seq) < 0 ||
	    vi->expired_attachment != session->attachment)
		return false;

	if (vi->expired == seq)
		vi->answers_late = false;
	vi->vcpu->stat.introspection_late_answers++;
	return true;
}

/* Return true for flags that go together, and with the action of the reply. */
static bool flags_are_good(const struct kvm_introspection *session,
			   const struct kvmi_event *event,
			   const struct kvmi_vcpu_event_reply *reply)
{
	u8 steps = reply->flags & REPLY_STEPS, view = reply->flags & REPLY_IN_VIEW;

	if (reply->flags & ~(REPLY_IN_VIEW | REPLY_STEPS) || (reply->view && !view))
		return false;
	if (view && !kvmi_command_allowed(session, KVMI_VCPU_SET_VIEW))
		return false;
	if (!steps)
		return true;

	if (!(kvmi_arch_feature_flags() & KVMI_FEATURE_SINGLESTEP))
		return false;
	if (steps == KVMI_REPLY_SINGLESTEP)
		return (reply->action == KVMI_EVENT_ACTION_ALLOW ||
			reply->action == KVMI_EVENT_ACTION_RETRY) &&
		       kvmi_command_allowed(session, KVMI_VCPU_CONTROL_SINGLESTEP) &&
		       kvmi_event_allowed(session, KVMI_VCPU_EVENT_SINGLESTEP);

	/* With ALLOW it may be KVM that executes the instruction. */
	return reply->flags == KVMI_REPLY_STEP_IN_VIEW &&
	       (reply->action == KVMI_EVENT_ACTION_RETRY ||
		(reply->action == KVMI_EVENT_ACTION_ALLOW &&
		 events[event->id].kind == KVMI_EVENT_OF_VCPU));
}

/*
 * Process the reply to an event of a vCPU, which is in session->rx.
 * reader.lock is held.  Return 0, or an error to end the session.
 */
int kvmi_event_receive_reply(struct kvm_introspection *session,
			     struct kvm_vcpu *vcpu)
{
	const struct {
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply common;
		u8 data[];
	} *msg = (void *)session->rx.payload;
	struct kvm_vcpu_introspection *vi;
	const struct kvmi_event_desc *desc;
	struct kvmi_event *event;
	size_t size;

	static_assert(sizeof(*msg) == KVMI_MIN_EVENT_REPLY);

	size = session->rx.hdr.size - sizeof(*msg);

	vi = kvmi_to_vcpu(vcpu);
	event = &vi->event;

	guard(spinlock)(&vi->lock);

	if (event->state != KVMI_EVENT_OPEN || event->seq != session->rx.hdr.seq ||
	    event->attachment != session->attachment ||
	    event->id != msg->common.event)
		return take_late_answer(vi, session, session->rx.hdr.seq) ? 0 : -EPROTO;

	desc = &events[event->id];
	if (size > desc->reply_size)
		return -EPROTO;
	if (size && desc->reply_is_good && !desc->reply_is_good(msg->data))
		return -EPROTO;
	if (msg->common.action >= BITS_PER_BYTE ||
	    !(event->actions & BIT(msg->common.action)))
		return -EPROTO;
	if (!flags_are_good(session, event, &msg->common))
		return -EPROTO;
	if (msg->common.flags & REPLY_IN_VIEW &&
	    !kvmi_view_get(session, msg->common.view))
		return -EPROTO;
	/* As with the command, replies that were kept before are stale. */
	if (msg->common.flags & KVMI_REPLY_SET_VIEW)
		WRITE_ONCE(vi->policy, vi->policy + 1);

	/* The tool has skipped the events whose time expired. */
	vi->answers_late = false;
	/* Zero-extend event-specific data, but leave out none. */
	event->reply_size = size ? desc->reply_size : 0;
	memcpy(event->reply, msg->data, event->reply_size);
	event->action = msg->common.action;
	event->flags = msg->common.flags;
	event->view = msg->common.view;
	event->policy = vi->policy;
	event->vm_policy = session->policy;
	if (event->action == KVMI_EVENT_ACTION_CRASH) {
		kvmi_vcpu_crash(vcpu, &(struct kvmi_exit) {
			.reason = KVM_INTROSPECTION_EXIT_CRASH,
			.event = event->id,
			.seq = event->seq,
		});
	}
	trace_kvmi_answer(session->kvm, vcpu->vcpu_idx, event->id, event->seq,
			  event->action);
	WRITE_ONCE(event->state, KVMI_EVENT_ANSWERED);
	/* It looks by itself if it is the one that reads. */
	if (session->reader.reading != vi)
		wake_up(&vi->wait);

	return 0;
}

/*
 * Send the UNHOOK event if that does not block; else it stays pending.
 * Receiver only.
 */
void kvmi_event_send_unhook(struct kvm_introspection *session)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_event_hdr ev;
	} msg = {
		.hdr = {
			.id = KVMI_VM_EVENT,
			.size = sizeof(msg.ev),
		},
		.ev.event = KVMI_VM_EVENT_UNHOOK,
	};
	unsigned int wanted = READ_ONCE(session->unhook_wanted);

	if (!session->unhook_seq)
		session->unhook_seq = next_seq(session);
	msg.hdr.seq = session->unhook_seq;

	if (kvmi_message_try_send(session, &msg, sizeof(msg)) == -EAGAIN)
		return;

	/* Another one may have been requested meanwhile. */
	WRITE_ONCE(session->unhook_sent, wanted);
	session->unhook_seq = 0;
	trace_kvmi_event(session->kvm, KVMI_TRACE_VM, msg.ev.event, msg.hdr.seq, 0);
}

static int check_control(struct kvmi_vcpu_request *req, u16 id)
{
	if (!event_of_vcpu(id))
		return -KVM_EINVAL;
	if (!kvmi_event_allowed(req->session, id))
		return -KVM_EPERM;

	return 0;
}

/* Return 0 if an event can be enabled. */
static int check_event(struct kvmi_vcpu_request *req, u16 id)
{
	/*
	 * KVM_SET_GUEST_DEBUG, which uses the same hardware, excludes BREAKPOINT.
	 * Without PF accesses are granted that the tool is to be asked about.
	 */
	if (req->unloaded &&
	    (id == KVMI_VCPU_EVENT_BREAKPOINT || id == KVMI_VCPU_EVENT_PF))
		return KVMI_ON_VCPU;

	return kvmi_arch_vcpu_check_event(req->vcpu, id);
}

int kvmi_vcpu_control_events(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_events *data = req->data;
	unsigned long *enabled = &req->vcpu->introspection_events;
	u16 id = data->event_id;
	int err;

	if (data->padding1 || data->padding2 || data->enable > 1)
		return -KVM_EINVAL;
	err = check_control(req, id);
	if (err)
		return err;

	/* Unlike for other events, there is an error if nothing changes. */
	if (id == KVMI_VCPU_EVENT_BREAKPOINT &&
	    test_bit(id, enabled) == data->enable)
		return -KVM_EBUSY;
	if (data->enable) {
		err = check_event(req, id);
		if (err)
			return err;
	}

	assign_bit(id, enabled, data->enable);
	kvmi_arch_vcpu_recalc(req->vcpu);

	return 0;
}

int kvmi_vcpu_control_event_set(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_event_set *data = req->data;
	struct kvmi_vcpu_control_event_set_reply *reply = req->reply;
	unsigned long *enabled = &req->vcpu->introspection_events;
	int err;
	u16 id;

	if (data->enable & data->disable)
		return -KVM_EINVAL;
	for (id = 0; id < BITS_PER_LONG_LONG; id++) {
		if (!((data->enable | data->disable) & BIT_ULL(id)))
			continue;
		err = check_control(req, id);
		if (err)
			return err;
		if (data->enable & BIT_ULL(id) && !test_bit(id, enabled)) {
			err = check_event(req, id);
			if (err)
				return err;
		}
	}

	reply->enabled = 0;
	for (id = 0; id < KVMI_NR_EVENT_IDS; id++) {
		if (data->enable & BIT_ULL(id))
			set_bit(id, enabled);
		else if (data->disable & BIT_ULL(id))
			clear_bit(id, enabled);
		if (test_bit(id, enabled))
			reply->enabled |= BIT_ULL(id);
	}
	kvmi_arch_vcpu_recalc(req->vcpu);
	req->reply_size = sizeof(*reply);

	return 0;
}
