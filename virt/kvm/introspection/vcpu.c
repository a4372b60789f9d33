// SPDX-License-Identifier: GPL-2.0-only
/* KVM introspection: per-vCPU state and the command queue. */

#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>
#include <linux/slab.h>

#include "arch.h"
#include "command.h"
#include "event.h"
#include "limits.h"
#include "message.h"
#include "session.h"
#include "vcpu.h"
#include "vcpu_work.h"
#include "wait.h"

/* Make a vCPU part of a session. kvm->lock is held.  Return 0 or -ENOMEM. */
int kvmi_vcpu_attach(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = vcpu->introspection;

	lockdep_assert_held(&vcpu->kvm->lock);

	if (!vi) {
		vi = kvzalloc_obj(*vi, GFP_KERNEL_ACCOUNT);
		if (!vi)
			return -ENOMEM;
		vi->vcpu = vcpu;
		/* It may be, and does not begin then. */
		vi->in_run = true;
		spin_lock_init(&vi->lock);
		init_waitqueue_head(&vi->wait);
		INIT_LIST_HEAD(&vi->commands);
		/* Pairs with smp_load_acquire() in kvmi_to_vcpu(). */
		smp_store_release(&vcpu->introspection, vi);
	}

	spin_lock(&vi->lock);
	WRITE_ONCE(vi->nr_sessions, vi->nr_sessions + 1);
	WRITE_ONCE(vi->session, session);
	spin_unlock(&vi->lock);

	return 0;
}

/*
 * Make an event pending again that was lost with the tool and is not raised
 * again.
 */
static void make_pending_again(struct kvm_vcpu_introspection *vi, u16 id)
{
	lockdep_assert_held(&vi->lock);

	if (!vi->session || kvmi_goes_on_without_tool(vi->session))
		return;

	if (id == KVMI_VCPU_EVENT_PAUSE)
		vi->pauses++;
	else if (id == KVMI_VCPU_EVENT_CREATE_VCPU)
		vi->create_pending = true;
	else if (id == KVMI_VCPU_EVENT_SINGLESTEP)
		vi->step_lost = true;
	kvm_make_request(KVM_REQ_INTROSPECTION, vi->vcpu);
}

/*
 * Wake a vCPU that waits for a lost tool.  The vCPU processes what the tool has
 * sent.  If there was no reply, it goes on as with ALLOW, or stops, as
 * userspace has chosen.  Its intercepts stay.  Receiver only.
 */
void kvmi_vcpu_release(struct kvm_vcpu_introspection *vi)
{
	spin_lock(&vi->lock);
	if (kvmi_goes_on_without_tool(vi->session))
		vi->pauses = 0;
	if (vi->event.state == KVMI_EVENT_OPEN && !vi->busy) {
		WRITE_ONCE(vi->event.state, KVMI_EVENT_NONE);
		make_pending_again(vi, vi->event.id);
	}
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);
}

/*
 * Remove a vCPU from its session.  When this returns the vCPU's thread does not
 * use the session any more.  The caller has to make the vCPU recompute its
 * intercepts.  With @forget, clear the choice of control registers and MSRs
 * instead of keeping it for the next session.
 *
 * kvm->lock is held, and stays so while this waits for the vCPU's thread to call
 * kvmi_vcpu_leave(), before which that must not take kvm->lock.
 */
void kvmi_vcpu_detach(struct kvm_vcpu_introspection *vi, bool forget)
{
	struct kvmi_command *cmd, *next;
	LIST_HEAD(commands);

	lockdep_assert_held(&vi->vcpu->kvm->lock);

	spin_lock(&vi->lock);
	WRITE_ONCE(vi->session, NULL);
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);

	/*
	 * With a reply at hand, the vCPU still uses it, and the commands
	 * before.
	 */
	wait_event(vi->wait, !READ_ONCE(vi->busy));

	spin_lock(&vi->lock);
	list_splice_init(&vi->commands, &commands);
	WRITE_ONCE(vi->nr_commands, 0);
	vi->pauses = 0;
	/*
	 * What the tool has decided before it left holds: the instruction that it
	 * was asked about must not be executed.  A vCPU that waits for INIT was not
	 * asked, and executes nothing until it is another's guest.
	 */
	if (vi->crashed && !vi->crash_reported && READ_ONCE(vi->in_run) &&
	    READ_ONCE(vi->vcpu->wants_to_run) && kvmi_arch_vcpu_ready(vi->vcpu))
		vi->crash_left = true;
	vi->crash_reported = false;
	WRITE_ONCE(vi->crashed, false);
	WRITE_ONCE(vi->stop.reason, 0);
	vi->step_lost = false;
	vi->expired = 0;
	vi->answers_late = false;
	vi->create_pending = false;
	if (!vi->crash_left)
		kvm_clear_request(KVM_REQ_INTROSPECTION, vi->vcpu);
	kvmi_replies_drop(&vi->replies);
	WRITE_ONCE(vi->event.state, KVMI_EVENT_NONE);
	/*
	 * Clear the view before the events: a vCPU that enters the guest
	 * without the intercepts must not do so in a view whose pages may
	 * contain INT3s of the tool.
	 */
	kvmi_arch_vcpu_clear(vi->vcpu, forget);
	/* Pairs with that between vcpu->mode and requests in vcpu_enter_guest(). */
	smp_mb();
	WRITE_ONCE(vi->vcpu->introspection_events, 0);
	spin_unlock(&vi->lock);

	list_for_each_entry_safe(cmd, next, &commands, node)
		kvfree(cmd);
}

/*
 * Introspect a new vCPU that is not online yet, if its VM is introspected.
 * kvm->lock is held.  Return 0 or -ENOMEM.
 */
int kvmi_vcpu_create(struct kvm_vcpu *vcpu)
{
	struct kvm_introspection *session = vcpu->kvm->introspection;
	int r;

	if (!session)
		return 0;

	r = kvmi_vcpu_attach(vcpu, session);
	if (!r) {
		/*
		 * The vCPU has no thread yet, and the receiver cannot find it.
		 */
		vcpu->introspection->create_pending = true;
		kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	}

	return r;
}

void kvmi_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	kvfree(vcpu->introspection);
	vcpu->introspection = NULL;
}

/*
 * Begin to use the session on the vCPU's thread.  Not recursive.  Return the
 * session, which is valid until kvmi_vcpu_leave(), or NULL if there is none.
 *
 * Unhooking waits for kvmi_vcpu_leave(), with kvm->lock held.
 */
struct kvm_introspection *kvmi_vcpu_enter(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	if (!vi->session)
		return NULL;

	WARN_ON_ONCE(vi->busy);
	WRITE_ONCE(vi->busy, true);
	kvmi_event_continue(vi);
	return vi->session;
}

void kvmi_vcpu_leave(struct kvm_vcpu_introspection *vi)
{
	spin_lock(&vi->lock);
	kvmi_event_suspend(vi);
	WRITE_ONCE(vi->busy, false);
	/* Only unhooking may be there. */
	if (wq_has_sleeper(&vi->wait))
		wake_up(&vi->wait);
	spin_unlock(&vi->lock);
}

/*
 * Make a vCPU's thread call kvmi_vcpu_prepare().  Wakes a halted or parked
 * vCPU, without changing its activity state.
 */
void kvmi_vcpu_request(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	kvm_make_request(KVM_REQ_UNBLOCK, vcpu);
	kvm_vcpu_kick(vcpu);
}

/*
 * Return true if a vCPU's thread does not use the session, and has nothing left to
 * do for the tool.
 */
bool kvmi_vcpu_is_unused(const struct kvm_vcpu_introspection *vi)
{
	lockdep_assert_held(&vi->lock);

	/* While it does not use the session, its own fields do not change. */
	return !vi->busy && vi->event.state == KVMI_EVENT_NONE && !vi->nr_commands &&
	       !kvmi_replies_left(&vi->replies) && kvmi_arch_vcpu_ready(vi->vcpu);
}

/*
 * Queue a command for a vCPU's thread.  reader.lock is held.  Return 0, with @cmd
 * owned by the vCPU; -KVM_EAGAIN if the vCPU was not started yet, or is unhooked;
 * -KVM_EBUSY if the queue is full.
 */
int kvmi_vcpu_queue(struct kvm_vcpu *vcpu, struct kvmi_command *cmd)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	if (!vi->session ||
	    (vi->event.state == KVMI_EVENT_NONE && !kvmi_arch_vcpu_ready(vcpu))) {
		spin_unlock(&vi->lock);
		return -KVM_EAGAIN;
	}
	if (vi->nr_commands == KVMI_MAX_QUEUED_COMMANDS) {
		spin_unlock(&vi->lock);
		return -KVM_EBUSY;
	}
	cmd->event_seq = 0;
	if (vi->event.state == KVMI_EVENT_OPEN &&
	    vi->event.attachment == cmd->attachment) {
		WRITE_ONCE(vi->event.renewed, jiffies);
		/* A tool that is late has not got to the open event yet. */
		if (!vi->answers_late || vi->expired_attachment != cmd->attachment)
			cmd->event_seq = vi->event.seq;
	}
	if (cmd->policy) {
		cmd->policy_nr = vi->policy + 1;
		WRITE_ONCE(vi->policy, cmd->policy_nr);
	}
	list_add_tail(&cmd->node, &vi->commands);
	WRITE_ONCE(vi->nr_commands, vi->nr_commands + 1);
	wake_up(&vi->wait);
	/* Once unhooked the vCPU has no use for the request, and would keep it. */
	kvmi_vcpu_request(vcpu);
	spin_unlock(&vi->lock);

	return 0;
}

/*
 * Make one more PAUSE event pending.  Receiver only.  Return 0, or -KVM_EBUSY
 * if there are too many.
 */
int kvmi_vcpu_pause(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	/* One that was sent is pending again if the tool is lost. */
	if (vi->pauses >= KVMI_MAX_PAUSES) {
		spin_unlock(&vi->lock);
		return -KVM_EBUSY;
	}
	vi->pauses++;
	spin_unlock(&vi->lock);

	kvmi_vcpu_request(vcpu);
	return 0;
}

/*
 * Make KVM_RUN return from now on.  @why: what to report; the first one counts
 */
void kvmi_vcpu_crash(struct kvm_vcpu *vcpu, const struct kvmi_exit *why)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	lockdep_assert_held(&vi->lock);

	if (!vi->crashed)
		vi->crash = *why;
	WRITE_ONCE(vi->crashed, true);
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
}

/* Make KVM_RUN return from now on, on request of the tool.  Receiver only. */
void kvmi_vcpu_shutdown(struct kvm_vcpu *vcpu)
{
	static const struct kvmi_exit why = {
		.reason = KVM_INTROSPECTION_EXIT_SHUTDOWN,
	};
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	kvmi_vcpu_crash(vcpu, &why);
	spin_unlock(&vi->lock);

	kvmi_vcpu_request(vcpu);
}

/* Replies that can't be sent any more are dropped. */
static int send_some_replies(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			     void *data, size_t size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	unsigned long left;
	int r;

	kvmi_vcpu_begin_wait(vcpu, session);
	do {
		left = kvmi_event_time_left(vi, session);
		r = kvmi_message_send(session, vi->reply_to, data, size,
				      min(left, session->timeout));
		/* A command may have restarted the time for the event. */
	} while (r == -ETIME && left < session->timeout &&
		 kvmi_event_time_left(vi, session));
	kvmi_vcpu_end_wait(vcpu);
	/* If the time for the event has expired, the replies are kept. */
	if (r == -EINTR || (r == -ETIME && left < session->timeout))
		return r;
	/* A tool that does not read counts as lost. */
	if (r == -ETIME)
		kvmi_message_give_up(session, vi->reply_to);

	return 0;
}

static int send_replies(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	void *data;
	size_t size;
	int r;

	while ((data = kvmi_replies_first(&vi->replies, &size))) {
		r = send_some_replies(vcpu, session, data, size);
		if (r)
			return r;
		kvmi_replies_sent(&vi->replies);
	}

	return 0;
}

/* Replies that are sent together wait for the next one. */
static int send_due_replies(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	if (!kvmi_replies_left(&vi->replies) ||
	    (!vi->replies.due && READ_ONCE(vi->nr_commands)))
		return 0;

	return send_replies(vcpu, session);
}

static struct kvmi_command *next_command(struct kvm_vcpu_introspection *vi)
{
	struct kvmi_command *cmd;

	if (!READ_ONCE(vi->nr_commands))
		return NULL;

	guard(spinlock)(&vi->lock);

	cmd = list_first_entry_or_null(&vi->commands, struct kvmi_command, node);
	if (cmd) {
		list_del(&cmd->node);
		WRITE_ONCE(vi->nr_commands, vi->nr_commands - 1);
	}

	return cmd;
}

/* Return 0 if there is time for another command, else what ends them. */
static int check_time(struct kvm_vcpu_introspection *vi,
		      struct kvm_introspection *session)
{
	if (signal_pending(current))
		return -EINTR;

	return kvmi_event_time_left(vi, session) ? 0 : -ETIME;
}

/*
 * Run the commands and other work of a vCPU's thread.  The vCPU's SRCU lock may
 * be dropped and retaken.  Return 0; -EINTR if a signal is pending, or -ETIME
 * if the time for the open event has expired, with work possibly left.
 */
int kvmi_vcpu_run_commands(struct kvm_vcpu *vcpu,
			   struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_command *cmd;
	int r, end;

	for (;;) {
		kvmi_vcpu_run_work(vcpu);
		r = send_due_replies(vcpu, session);
		if (r)
			return r;

		cmd = next_command(vi);
		if (!cmd)
			return 0;
		kvmi_command_run(vcpu, session, cmd);
		kvfree(cmd);
		cond_resched();

		/* A tool that keeps sending commands must not block KVM_RUN. */
		end = check_time(vi, session);
		if (end) {
			r = send_replies(vcpu, session);
			return r ?: end;
		}
	}
}

static bool is_wanted(struct kvm_vcpu_introspection *vi, u16 id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_PAUSE:
		return vi->pauses;
	case KVMI_VCPU_EVENT_CREATE_VCPU:
		return vi->create_pending;
	default:
		return kvmi_event_wanted(vi->vcpu, id) ||
		       kvmi_arch_event_pending(&vi->arch, id);
	}
}

/*
 * Claim an event that is about to be sent: it is not pending any more.  Between
 * kvmi_vcpu_enter() and kvmi_vcpu_leave().
 */
enum kvmi_claim kvmi_vcpu_claim_event(struct kvm_vcpu_introspection *vi, u16 id)
{
	bool defunct;

	guard(spinlock)(&vi->lock);

	if (!vi->session || kvmi_goes_on_without_tool(vi->session) ||
	    !is_wanted(vi, id))
		return KVMI_CLAIM_NONE;

	/* Read once: another tool may be attached at any time. */
	defunct = READ_ONCE(vi->session->defunct);
	if (defunct)
		return vi->session->stops_on_loss ? KVMI_CLAIM_LOST : KVMI_CLAIM_NONE;

	if (id == KVMI_VCPU_EVENT_PAUSE)
		vi->pauses--;
	else if (id == KVMI_VCPU_EVENT_CREATE_VCPU)
		vi->create_pending = false;
	else if (id == KVMI_VCPU_EVENT_SINGLESTEP)
		vi->step_lost = false;

	return KVMI_CLAIM_SEND;
}

/*
 * Undo kvmi_vcpu_claim_event() for an event that could not be sent yet, or was
 * lost with the tool.
 */
void kvmi_vcpu_unclaim_event(struct kvm_vcpu_introspection *vi, u16 id)
{
	guard(spinlock)(&vi->lock);

	if (vi->event.state == KVMI_EVENT_NONE)
		make_pending_again(vi, id);
}

static int send_pending(struct kvm_vcpu *vcpu, u16 id)
{
	int r = kvmi_event(vcpu, id, NULL, 0, NULL, 0);

	return r == KVMI_EVENT_INTERRUPTED ? -EINTR : 0;
}

/* Return true if a CREATE_VCPU event is pending and still enabled. */
static bool create_is_pending(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	if (!vi->session || kvmi_goes_on_without_tool(vi->session) ||
	    !test_bit(KVMI_VCPU_EVENT_CREATE_VCPU, vi->session->vm_events))
		vi->create_pending = false;

	return vi->create_pending;
}

static bool has_lost_step(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	return xchg(&vi->step_lost, false);
}

static bool pause_is_pending(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	return vi->pauses && vi->session && !kvmi_goes_on_without_tool(vi->session);
}

/* Unhooking clears the request, with the lock held. */
static void request_service(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	if (vi->session)
		kvm_make_request(KVM_REQ_INTROSPECTION, vi->vcpu);
}

/* Send pending PAUSE events. */
static int send_pauses(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	int r;

	while (!READ_ONCE(vi->crashed) && pause_is_pending(vi)) {
		/* An injected exception is reported before the pauses. */
		if (kvmi_arch_vcpu_trap_due(vcpu)) {
			request_service(vi);
			break;
		}
		r = send_pending(vcpu, KVMI_VCPU_EVENT_PAUSE);
		if (r)
			return r;
	}

	return 0;
}

/* Do everything that has to precede VM-Enter. */
static int kvmi_service_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_introspection *session;
	int r;

	session = kvmi_vcpu_enter(vi);
	if (!session)
		return 0;

	r = kvmi_vcpu_run_commands(vcpu, session);
	if (!r || r == -ETIME)
		r = kvmi_event_resume(vcpu, session);

	/* Work may be left if the time for an event has expired. */
	if (r || kvmi_replies_left(&vi->replies) || kvmi_vcpu_has_work(vi))
		kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	kvmi_vcpu_leave(vi);

	if (!r && has_lost_step(vi))
		r = kvmi_arch_vcpu_send_step(vcpu);
	if (!r && create_is_pending(vi))
		r = send_pending(vcpu, KVMI_VCPU_EVENT_CREATE_VCPU);

	return r ? r : send_pauses(vcpu);
}

static int stop_run(struct kvm_vcpu *vcpu, const struct kvmi_exit *why)
{
	vcpu->run->exit_reason = KVM_EXIT_INTROSPECTION;
	vcpu->run->introspection.reason = why->reason;
	vcpu->run->introspection.event = why->event;
	vcpu->run->introspection.seq = why->seq;
	vcpu->run->introspection.pad = 0;
	return 0;
}

static bool going_to_be_lost(struct kvm_vcpu_introspection *vi,
			     struct kvm_introspection *session)
{
	/* Pairs with smp_store_release() in replace_tool(), which mends the session. */
	return !smp_load_acquire(&session->defunct) && READ_ONCE(session->broken) &&
	       READ_ONCE(vi->session);
}

/*
 * A tool that does not read any more is lost when what it has sent was read,
 * which takes at most KVMI_MAX_LATE_TIME.  Userspace can't attach another tool
 * before.
 */
static void wait_until_lost(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_introspection *session;
	int r;

	if (READ_ONCE(vi->stop.reason) != KVM_INTROSPECTION_EXIT_LOST)
		return;
	session = kvmi_vcpu_enter(vi);
	if (!session)
		return;

	do {
		kvmi_vcpu_begin_wait(vcpu, session);
		r = wait_event_interruptible(vi->wait, READ_ONCE(vi->work) ||
					     !going_to_be_lost(vi, session));
		kvmi_vcpu_end_wait(vcpu);
		/* The receiver may not get on without this vCPU. */
		kvmi_vcpu_run_work(vcpu);
	} while (!r && going_to_be_lost(vi, session));

	kvmi_vcpu_leave(vi);
}

static void take_crash(struct kvm_vcpu *vcpu, struct kvmi_exit *why)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	lockdep_assert_held(&vi->lock);

	*why = vi->crash;
	vi->crash_reported = vi->crashed;
	/* It is permanent as long as the session is. */
	if (vi->crashed)
		kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	vi->crash_left = false;
	WRITE_ONCE(vi->in_run, false);
}

/*
 * Return true if KVM_RUN has to return before the vCPU does anything else, which it
 * then does.  @crashed: not NULL if it may return because the vCPU has crashed
 */
static bool has_to_stop(struct kvm_vcpu *vcpu, struct kvmi_exit *why, bool *crashed)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	guard(spinlock)(&vi->lock);

	/* Unhooking clears all of this but a crash that is not reported yet. */
	*why = vi->stop;
	vi->stop.reason = 0;
	if (vi->crashed || vi->crash_left) {
		if (!crashed)
			return false;
		*crashed = true;
		take_crash(vcpu, why);
		return true;
	}
	if (!vi->session || !why->reason)
		return false;

	/* There is still a reply to wait for. */
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	/* Another tool may be attached. */
	if (why->reason == KVM_INTROSPECTION_EXIT_LOST &&
	    (why->attachment != READ_ONCE(vi->session->attachment) ||
	     (!READ_ONCE(vi->session->defunct) && !READ_ONCE(vi->session->broken))))
		return false;

	WRITE_ONCE(vi->in_run, false);
	return true;
}

/*
 * Return true if KVM_RUN has to return for a crash instead of what it was about to
 * return for.  From here on it is userspace that decides what the vCPU executes.
 */
static bool crash_unreported(struct kvm_vcpu *vcpu, struct kvmi_exit *why)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	guard(spinlock)(&vi->lock);

	if (vi->crash_left || (vi->crashed && !vi->crash_reported)) {
		take_crash(vcpu, why);
		return true;
	}

	WRITE_ONCE(vi->in_run, false);
	return false;
}

void __kvmi_vcpu_begin_run(struct kvm_vcpu *vcpu)
{
	WRITE_ONCE(kvmi_to_vcpu(vcpu)->in_run, true);
}

int __kvmi_vcpu_end_run(struct kvm_vcpu *vcpu, int r)
{
	struct kvmi_exit why;

	if (!crash_unreported(vcpu, &why))
		return r;

	kvmi_arch_vcpu_shutdown(vcpu);
	return stop_run(vcpu, &why);
}

int __kvmi_vcpu_service(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	bool crashed = false;
	struct kvmi_exit why;
	int r;

	if (!vi || !kvm_check_request(KVM_REQ_INTROSPECTION, vcpu))
		return 1;

	wait_until_lost(vcpu);
	if (has_to_stop(vcpu, &why, NULL))
		return stop_run(vcpu, &why);

	do {
		r = kvmi_service_vcpu(vcpu);
		wait_until_lost(vcpu);

		if (has_to_stop(vcpu, &why, &crashed)) {
			if (crashed)
				kvmi_arch_vcpu_shutdown(vcpu);
			return stop_run(vcpu, &why);
		}
		/* Without a signal, another tool was attached just now. */
	} while (r && !signal_pending(current));

	if (r) {
		kvm_handle_signal_exit(vcpu);
		return __kvmi_vcpu_end_run(vcpu, r);
	}

	/* Userspace, or the tool, may have set other registers. */
	kvmi_event_check_answers(vcpu);
	kvmi_arch_vcpu_recheck_step(vcpu);
	return 1;
}
