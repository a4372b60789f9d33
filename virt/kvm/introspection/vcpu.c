// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the part of it that belongs to a vCPU.
 */

#include <linux/slab.h>

#include "command.h"
#include "event.h"

/**
 * kvmi_vcpu_attach - make a vCPU part of a session
 * @vcpu: the vCPU
 * @session: the session
 *
 * Context: kvm->lock is held.
 * Return: 0 or -ENOMEM.
 */
int kvmi_vcpu_attach(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = vcpu->introspection;

	lockdep_assert_held(&vcpu->kvm->lock);

	if (!vi) {
		vi = kvzalloc_obj(*vi, GFP_KERNEL_ACCOUNT);
		if (!vi)
			return -ENOMEM;
		vi->vcpu = vcpu;
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

/* An event that is not raised again by itself is lost with the tool it was sent to. */
static void owe_again(struct kvm_vcpu_introspection *vi, u16 id)
{
	lockdep_assert_held(&vi->lock);

	if (!vi->session || kvmi_nobody_asked(vi->session))
		return;

	if (id == KVMI_VCPU_EVENT_PAUSE)
		vi->pauses++;
	else if (id == KVMI_VCPU_EVENT_CREATE_VCPU)
		vi->created = true;
	else if (id == KVMI_VCPU_EVENT_SINGLESTEP)
		vi->step_lost = true;
	kvm_make_request(KVM_REQ_INTROSPECTION, vi->vcpu);
}

/**
 * kvmi_vcpu_release - let go a vCPU that waits for a tool that is gone
 * @vi: the vCPU's introspection
 *
 * The vCPU does what the tool has sent.  If that was no answer it goes on as with ALLOW,
 * or stops, as userspace has chosen.  What the vCPU is to intercept stays.
 *
 * Context: the receiver.
 */
void kvmi_vcpu_release(struct kvm_vcpu_introspection *vi)
{
	spin_lock(&vi->lock);
	if (kvmi_nobody_asked(vi->session))
		vi->pauses = 0;
	if (vi->event.state == KVMI_EVENT_OPEN && !vi->busy) {
		WRITE_ONCE(vi->event.state, KVMI_EVENT_NONE);
		owe_again(vi, vi->event.id);
	}
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);
}

/**
 * kvmi_vcpu_detach - end a vCPU's part in a session
 * @vi: the vCPU's introspection
 * @forget: what is to be intercepted, too, rather than keep it for the next
 *	session
 *
 * When this returns the vCPU's thread does not use the session any more.  The
 * caller makes the vCPU recompute its intercepts.
 *
 * Context: kvm->lock is held.  Waits for the vCPU's thread.
 */
void kvmi_vcpu_detach(struct kvm_vcpu_introspection *vi, bool forget)
{
	struct kvmi_command *cmd, *next;
	LIST_HEAD(commands);
	unsigned int id;

	lockdep_assert_held(&vi->vcpu->kvm->lock);

	spin_lock(&vi->lock);
	WRITE_ONCE(vi->session, NULL);
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);

	/* If it has an answer it still uses it, and the commands before. */
	wait_event(vi->wait, !READ_ONCE(vi->busy));

	spin_lock(&vi->lock);
	list_splice_init(&vi->commands, &commands);
	WRITE_ONCE(vi->nr_commands, 0);
	vi->pauses = 0;
	WRITE_ONCE(vi->crashed, false);
	vi->stop.reason = 0;
	vi->step_lost = false;
	vi->expired = 0;
	vi->answers_late = false;
	vi->created = false;
	kvm_clear_request(KVM_REQ_INTROSPECTION, vi->vcpu);
	vi->reply_size = 0;
	WRITE_ONCE(vi->event.state, KVMI_EVENT_NONE);
	/*
	 * The views first: who enters the guest without the intercepts does not do it
	 * in one of them, where there may be INT3s that are the tool's.
	 */
	kvmi_arch_vcpu_clear(vi->vcpu, forget);
	/* Pairs with that between vcpu->mode and requests in vcpu_enter_guest(). */
	smp_mb();
	for_each_set_bit(id, vi->events, KVMI_NR_EVENT_IDS)
		clear_bit(id, vi->events);
	spin_unlock(&vi->lock);

	list_for_each_entry_safe(cmd, next, &commands, node)
		kvfree(cmd);
}

/**
 * kvmi_vcpu_create - introspect a new vCPU, if its VM is introspected
 * @vcpu: the vCPU, not online yet
 *
 * Context: kvm->lock is held.
 * Return: 0 or -ENOMEM.
 */
int kvmi_vcpu_create(struct kvm_vcpu *vcpu)
{
	struct kvm_introspection *session = vcpu->kvm->introspection;
	int r;

	if (!session)
		return 0;

	r = kvmi_vcpu_attach(vcpu, session);
	if (!r) {
		/* The vCPU has no thread yet, and the receiver does not find it. */
		vcpu->introspection->created = true;
		kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	}

	return r;
}

/**
 * kvmi_vcpu_destroy - free what introspection keeps of a vCPU
 * @vcpu: the vCPU, which nobody uses any more
 */
void kvmi_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	kvfree(vcpu->introspection);
	vcpu->introspection = NULL;
}

/**
 * kvmi_vcpu_enter - begin to use the session on the vCPU's thread
 * @vi: the vCPU's introspection
 *
 * Return: the session, good until kvmi_vcpu_leave(); NULL if there is none.
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

/**
 * kvmi_vcpu_leave - end what kvmi_vcpu_enter() began
 * @vi: the vCPU's introspection
 */
void kvmi_vcpu_leave(struct kvm_vcpu_introspection *vi)
{
	spin_lock(&vi->lock);
	kvmi_event_suspend(vi);
	WRITE_ONCE(vi->busy, false);
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);
}

/**
 * kvmi_vcpu_request - make a vCPU's thread look at what the tool wants
 * @vcpu: the vCPU
 *
 * A halted or parked vCPU is woken, without changing its activity state.
 */
void kvmi_vcpu_request(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	kvm_make_request(KVM_REQ_UNBLOCK, vcpu);
	kvm_vcpu_kick(vcpu);
}

/**
 * kvmi_vcpu_queue - hand a command to a vCPU's thread
 * @vcpu: the vCPU
 * @cmd: the command; the vCPU's on success
 *
 * Context: the receiver.
 * Return: 0; -KVM_EAGAIN the vCPU has not been started yet; -KVM_EBUSY too many
 * commands are waiting for it.
 */
int kvmi_vcpu_queue(struct kvm_vcpu *vcpu, struct kvmi_command *cmd)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	if (vi->event.state == KVMI_EVENT_NONE && !kvmi_arch_vcpu_ready(vcpu)) {
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
	if (cmd->policy)
		WRITE_ONCE(vi->policy, vi->policy + 1);
	list_add_tail(&cmd->node, &vi->commands);
	WRITE_ONCE(vi->nr_commands, vi->nr_commands + 1);
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);

	kvmi_vcpu_request(vcpu);
	return 0;
}

/**
 * kvmi_vcpu_pause - make a vCPU send one more PAUSE event
 * @vcpu: the vCPU
 *
 * Context: the receiver.
 * Return: 0; -KVM_EBUSY too many are owed already.
 */
int kvmi_vcpu_pause(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	if (vi->pauses == KVMI_MAX_PAUSES) {
		spin_unlock(&vi->lock);
		return -KVM_EBUSY;
	}
	vi->pauses++;
	spin_unlock(&vi->lock);

	kvmi_vcpu_request(vcpu);
	return 0;
}

/**
 * kvmi_vcpu_crash - make KVM_RUN return from now on
 * @vcpu: the vCPU
 * @why: what it is to say; the first one counts
 *
 * Context: the vCPU's lock is held.
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

/**
 * kvmi_vcpu_shutdown - make KVM_RUN return from now on, as the tool wants
 * @vcpu: the vCPU
 *
 * Context: the receiver.
 */
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

/* A reply that cannot be sent any more is dropped. */
static int send_reply(struct kvm_vcpu *vcpu, struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	unsigned long left;
	int r;

	if (!vi->reply_size)
		return 0;

	kvmi_vcpu_begin_wait(vcpu, session);
	do {
		left = kvmi_event_time_left(vi, session);
		r = kvmi_message_send(session, vi->reply_to, &vi->reply,
				      vi->reply_size, min(left, session->timeout));
		/* A command may have begun the time for the event anew. */
	} while (r == -ETIME && left < session->timeout &&
		 kvmi_event_time_left(vi, session));
	kvmi_vcpu_end_wait(vcpu);
	/* If it is the event whose time is over, the reply is kept. */
	if (r == -EINTR || (r == -ETIME && left < session->timeout))
		return r;
	/* As good as lost */
	if (r == -ETIME)
		kvmi_message_give_up(session, vi->reply_to);

	vi->reply_size = 0;
	return 0;
}

static struct kvmi_command *next_command(struct kvm_vcpu_introspection *vi)
{
	struct kvmi_command *cmd;

	guard(spinlock)(&vi->lock);

	cmd = list_first_entry_or_null(&vi->commands, struct kvmi_command, node);
	if (cmd) {
		list_del(&cmd->node);
		WRITE_ONCE(vi->nr_commands, vi->nr_commands - 1);
	}

	return cmd;
}

/**
 * kvmi_vcpu_run_commands - run the commands and errands of a vCPU's thread
 * @vcpu: the vCPU, loaded; its SRCU lock is held and may be dropped and retaken
 * @session: the session
 *
 * Return: 0; -EINTR a signal is pending, or -ETIME the time for the open event is over,
 * and more may be to do.
 */
int kvmi_vcpu_run_commands(struct kvm_vcpu *vcpu,
			   struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_command *cmd;
	int r;

	for (;;) {
		kvmi_errand_serve(vcpu);
		r = send_reply(vcpu, session);
		if (r)
			return r;

		cmd = next_command(vi);
		if (!cmd)
			return 0;
		kvmi_command_run(vcpu, session, cmd);
		kvfree(cmd);
		cond_resched();

		/* A tool that never stops asking must not keep KVM_RUN. */
		r = send_reply(vcpu, session);
		if (!r && signal_pending(current))
			r = -EINTR;
		if (!r && !kvmi_event_time_left(vi, session))
			r = -ETIME;
		if (r)
			return r;
	}
}

static bool is_wanted(struct kvm_vcpu_introspection *vi, u16 id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_PAUSE:
		return vi->pauses;
	case KVMI_VCPU_EVENT_CREATE_VCPU:
		return vi->created;
	default:
		return test_bit(id, vi->events) ||
		       kvmi_arch_event_owed(&vi->arch, id);
	}
}

/**
 * kvmi_vcpu_take_event - begin to send an event
 * @vi: the vCPU's introspection
 * @id: enum kvmi_vcpu_event_id
 *
 * Context: the vCPU's thread, between kvmi_vcpu_enter() and kvmi_vcpu_leave().
 */
enum kvmi_asking kvmi_vcpu_take_event(struct kvm_vcpu_introspection *vi, u16 id)
{
	bool defunct;

	guard(spinlock)(&vi->lock);

	if (!vi->session || kvmi_nobody_asked(vi->session) || !is_wanted(vi, id))
		return KVMI_ASK_NOBODY;

	/* There may be another tool a moment later. */
	defunct = READ_ONCE(vi->session->defunct);
	if (defunct)
		return vi->session->stops_on_loss ? KVMI_ASK_LATER : KVMI_ASK_NOBODY;

	if (id == KVMI_VCPU_EVENT_PAUSE)
		vi->pauses--;
	else if (id == KVMI_VCPU_EVENT_CREATE_VCPU)
		vi->created = false;
	else if (id == KVMI_VCPU_EVENT_SINGLESTEP)
		vi->step_lost = false;

	return KVMI_ASK_TOOL;
}

/**
 * kvmi_vcpu_give_event_back - undo what kvmi_vcpu_take_event() did
 * @vi: the vCPU's introspection
 * @id: enum kvmi_vcpu_event_id
 *
 * Context: as kvmi_vcpu_take_event(), if the event could not be sent yet, or the
 *	tool is lost.
 */
void kvmi_vcpu_give_event_back(struct kvm_vcpu_introspection *vi, u16 id)
{
	guard(spinlock)(&vi->lock);

	if (vi->event.state == KVMI_EVENT_NONE)
		owe_again(vi, id);
}

static int send_owed(struct kvm_vcpu *vcpu, u16 id)
{
	int r = kvmi_event(vcpu, id, NULL, 0, NULL, 0);

	return r == KVMI_EVENT_INTERRUPTED ? -EINTR : 0;
}

/* A tool that does not want to know of new vCPUs by now is not owed this one. */
static bool owes_created(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	if (!vi->session || kvmi_nobody_asked(vi->session) ||
	    !test_bit(KVMI_VCPU_EVENT_CREATE_VCPU, vi->session->vm_events))
		vi->created = false;

	return vi->created;
}

static bool has_lost_step(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	return xchg(&vi->step_lost, false);
}

static bool owes_pause(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	return vi->pauses && vi->session && !kvmi_nobody_asked(vi->session);
}

/* Unhooking takes the request back, with the lock held. */
static void request_service(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	if (vi->session)
		kvm_make_request(KVM_REQ_INTROSPECTION, vi->vcpu);
}

/* Send the PAUSE events that are owed. */
static int send_pauses(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	int r;

	while (!READ_ONCE(vi->crashed) && owes_pause(vi)) {
		/* The exception the tool asked for comes before the pauses. */
		if (kvmi_arch_vcpu_trap_due(vcpu)) {
			request_service(vi);
			break;
		}
		r = send_owed(vcpu, KVMI_VCPU_EVENT_PAUSE);
		if (r)
			return r;
	}

	return 0;
}

/* Do all there is to do before the guest may be entered. */
static int service(struct kvm_vcpu *vcpu)
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

	/* Some may be left, if an event was answered without the tool. */
	if (r || vi->reply_size || kvmi_vcpu_has_work(vi))
		kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	kvmi_vcpu_leave(vi);

	if (!r && has_lost_step(vi))
		r = kvmi_arch_vcpu_send_step(vcpu);
	if (!r && owes_created(vi))
		r = send_owed(vcpu, KVMI_VCPU_EVENT_CREATE_VCPU);

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

/*
 * A tool that does not read any more is lost when what it has sent has been read,
 * which takes no more than KVMI_MAX_LATE_TIME.  Userspace could do nothing before.
 */
static void wait_until_lost(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_introspection *session;

	if (READ_ONCE(vi->stop.reason) != KVM_INTROSPECTION_EXIT_LOST)
		return;
	session = kvmi_vcpu_enter(vi);
	if (!session)
		return;

	kvmi_vcpu_begin_wait(vcpu, session);
	wait_event_interruptible(vi->wait, !READ_ONCE(session->broken) ||
					   READ_ONCE(session->defunct) ||
					   !READ_ONCE(vi->session));
	kvmi_vcpu_end_wait(vcpu);
	kvmi_vcpu_leave(vi);
}

/* Is there something that userspace has to know before the vCPU does anything? */
static bool has_to_stop(struct kvm_vcpu *vcpu, struct kvmi_exit *why, bool *crashed)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	guard(spinlock)(&vi->lock);

	/* Unhooking takes all of this back. */
	*crashed = vi->crashed;
	*why = vi->crashed ? vi->crash : vi->stop;
	vi->stop.reason = 0;
	if (!vi->session || !why->reason)
		return false;

	/* Either it is so for ever, or there is still something to wait for. */
	kvm_make_request(KVM_REQ_INTROSPECTION, vcpu);
	/* There may be another tool. */
	return why->reason != KVM_INTROSPECTION_EXIT_LOST ||
	       (why->attachment == READ_ONCE(vi->session->attachment) &&
		(READ_ONCE(vi->session->defunct) || READ_ONCE(vi->session->broken)));
}

int __kvmi_vcpu_service(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_exit why;
	bool crashed;
	int r;

	if (!vi || !kvm_check_request(KVM_REQ_INTROSPECTION, vcpu))
		return 1;

	wait_until_lost(vcpu);
	if (has_to_stop(vcpu, &why, &crashed) && !crashed)
		return stop_run(vcpu, &why);

	do {
		r = service(vcpu);
		wait_until_lost(vcpu);

		if (has_to_stop(vcpu, &why, &crashed)) {
			if (crashed)
				kvmi_arch_vcpu_shutdown(vcpu);
			return stop_run(vcpu, &why);
		}
		/* Without a signal another tool has come just now. */
	} while (r && !signal_pending(current));

	if (r) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		++vcpu->stat.signal_exits;
		return r;
	}

	kvmi_arch_vcpu_recheck_step(vcpu);
	return 1;
}
