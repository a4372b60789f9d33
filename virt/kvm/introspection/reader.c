// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: who reads what the tool sends.
 *
 * While a vCPU waits for the reply to an event its thread reads the socket, as
 * the reply is likely to be next: with the receiver in between, the guest would
 * wait for one more task to be scheduled.  If several vCPUs wait, the one that
 * has done so for longest reads for all.  Otherwise, the receiver reads.
 *
 * A vCPU's thread processes replies to events, queues commands for vCPUs, and
 * runs those VM-wide commands that only look at something.  It leaves everything
 * else to the receiver: what may have to wait, or needs another context.
 *
 * Both are in the socket's wait queue.  Whoever does not read ignores that there
 * is something to read.
 */

#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/net.h>
#include <linux/poll.h>

#include "command.h"
#include "message.h"
#include "reader.h"
#include "session.h"
#include "vcpu.h"

/* No time to stop waiting at */
#define KVMI_NEVER	0

/* A vCPU that waits for the reply to an event */
struct kvmi_waiter {
	/* In kvm_vcpu_introspection.wait */
	struct wait_queue_entry reply;
	/* In the wait queue of the socket */
	struct wait_queue_entry data;
	/* In kvmi_reader.waiters */
	struct list_head node;
	struct kvm_introspection *session;
	struct kvm_vcpu_introspection *vi;
	/* The socket, which another tool may replace */
	struct file *file;
};

void kvmi_reader_init(struct kvmi_reader *reader)
{
	mutex_init(&reader->lock);
	spin_lock_init(&reader->waiters_lock);
	INIT_LIST_HEAD(&reader->waiters);
}

static int wake_for_data(struct wait_queue_entry *entry, unsigned int mode,
			 int flags, void *key)
{
	struct kvmi_waiter *waiter = container_of(entry, struct kvmi_waiter, data);

	if (kvmi_is_woken_for_room(key) ||
	    READ_ONCE(waiter->session->reader.first) != waiter)
		return 0;
	/* By this thread itself, which wakes the receiver */
	if (!key && waiter->reply.private == current)
		return 0;

	return woken_wake_function(&waiter->reply, mode, flags, key);
}

static struct wait_queue_head *queue_of(const struct kvmi_waiter *waiter)
{
	return &sock_from_file(waiter->file)->wq.wait;
}

static void update_first(struct kvmi_reader *reader)
{
	lockdep_assert_held(&reader->waiters_lock);

	WRITE_ONCE(reader->first,
		   list_first_entry_or_null(&reader->waiters, struct kvmi_waiter,
					    node));
}

static void begin_waiting(struct kvmi_waiter *waiter)
{
	struct kvmi_reader *reader = &waiter->session->reader;

	init_wait_func(&waiter->data, wake_for_data);
	init_wait_func(&waiter->reply, woken_wake_function);

	guard(spinlock)(&reader->waiters_lock);
	waiter->file = get_file(waiter->session->sock->file);
	add_wait_queue(queue_of(waiter), &waiter->data);
	add_wait_queue(&waiter->vi->wait, &waiter->reply);
	/* From here on the receiver does not wake up for data. */
	list_add_tail(&waiter->node, &reader->waiters);
	update_first(reader);
}

/* Wake the vCPU that reads next, or the receiver, for what is left. */
static void wake_next(struct kvm_introspection *session)
{
	guard(spinlock)(&session->reader.waiters_lock);

	if (session->reader.first)
		wake_up(&session->reader.first->vi->wait);
	else
		kvmi_session_wake_receiver(session);
}

/*
 * The socket wakes one task after the other, and all may ignore that if the one
 * that reads changes meanwhile: look for data after each change.
 */
static bool has_data(const struct kvmi_waiter *waiter)
{
	/* Pairs with that of wq_has_sleeper(), before the socket is woken. */
	smp_mb();
	return READ_ONCE(waiter->session->ahead_size) ||
	       kvmi_socket_has_data(sock_from_file(waiter->file));
}

static void end_waiting(struct kvmi_waiter *waiter)
{
	struct kvmi_reader *reader = &waiter->session->reader;
	bool was_first;

	scoped_guard(spinlock, &reader->waiters_lock) {
		was_first = reader->first == waiter;
		list_del(&waiter->node);
		update_first(reader);
	}
	if (was_first && has_data(waiter))
		wake_next(waiter->session);

	remove_wait_queue(&waiter->vi->wait, &waiter->reply);
	remove_wait_queue(queue_of(waiter), &waiter->data);
	fput(waiter->file);
}

/* Return false if the receiver is at work, and looks once more when it is done. */
static bool lock_to_read(struct kvmi_reader *reader)
{
	if (mutex_trylock(&reader->lock))
		return true;

	/* Pairs with the barrier in kvmi_reader_receive(). */
	smp_store_mb(reader->again, true);
	return mutex_trylock(&reader->lock);
}

/* Return false if the receiver has to find what there is to read. */
static bool may_read(struct kvm_introspection *session,
		     const struct kvm_vcpu_introspection *vi)
{
	lockdep_assert_held(&session->reader.lock);

	return !session->reader.left && !session->reader.error &&
	       !kvmi_command_replies_due(session) && !READ_ONCE(session->ending) &&
	       !READ_ONCE(session->broken) && !READ_ONCE(session->defunct) &&
	       session->attachment == vi->event.attachment;
}

/*
 * Read a message.  Return 0 if it was processed; -EAGAIN if there is none;
 * another error if the receiver has to continue.
 */
static int read_message(struct kvm_introspection *session,
			const struct kvm_vcpu_introspection *vi)
{
	struct kvmi_reader *reader = &session->reader;
	int r;

	lockdep_assert_held(&reader->lock);

	if (!may_read(session, vi))
		return -EBUSY;

	r = kvmi_message_receive(session);
	if (r == -EAGAIN || r == -EINTR)
		return -EAGAIN;
	if (r) {
		reader->error = r;
		return r;
	}

	r = kvmi_command_receive_for_vcpu(session);
	if (r == -ENOENT)
		reader->left = true;
	else
		reader->error = r;
	if (kvmi_command_replies_due(session))
		kvmi_command_send_replies_now(session);
	return r;
}

/*
 * Commands that were sent together are run, and replied to, together.  Return true
 * if the vCPU has some, but others may follow.
 */
static bool may_queue_more(const struct kvm_introspection *session,
			   const struct kvm_vcpu_introspection *vi)
{
	unsigned int nr = READ_ONCE(vi->nr_commands);

	return nr && nr < KVMI_MAX_QUEUED_COMMANDS &&
	       READ_ONCE(vi->event.state) == KVMI_EVENT_OPEN &&
	       kvmi_message_is_ahead(session);
}

/* Return true if the tool has sent something that was not processed yet. */
bool kvmi_reader_is_behind(struct kvm_introspection *session)
{
	struct file *file;
	bool behind;

	if (mutex_is_locked(&session->reader.lock) || READ_ONCE(session->ahead_size))
		return true;

	scoped_guard(spinlock, &session->reader.waiters_lock)
		file = get_file(session->sock->file);
	behind = kvmi_socket_has_data(sock_from_file(file));
	fput(file);

	return behind;
}

/* Jiffies, 0 if it is too late */
static long time_left_until(unsigned long end)
{
	unsigned long now = jiffies;

	if (end == KVMI_NEVER)
		return MAX_SCHEDULE_TIMEOUT;

	return time_before(now, end) ? end - now : 0;
}

/*
 * Read until the vCPU has something to do, or has waited for long enough.  What is
 * left is somebody else's, see end_waiting().
 */
static void read_messages(struct kvm_introspection *session,
			  struct kvm_vcpu_introspection *vi, unsigned long end,
			  bool (*done)(struct kvm_vcpu_introspection *vi,
				       struct kvm_introspection *session))
{
	struct kvmi_reader *reader = &session->reader;
	bool more;
	int r;

	for (;;) {
		if (!lock_to_read(reader))
			return;
		reader->reading = vi;
		r = read_message(session, vi);
		reader->reading = NULL;
		more = !r && may_queue_more(session, vi);
		mutex_unlock(&reader->lock);
		if (r || (!more && done(vi, session)) || signal_pending(current) ||
		    !time_left_until(end))
			break;
		cond_resched();
	}

	if (r && r != -EAGAIN)
		kvmi_session_wake_receiver(session);
}

/*
 * Wait for the reply to an event, or for a command, on the vCPU's thread, between
 * kvmi_vcpu_begin_wait() and kvmi_vcpu_end_wait(): until @done returns true, and
 * for at most @timeout jiffies or MAX_SCHEDULE_TIMEOUT.  Return 0, or -EINTR if a
 * signal is pending.
 */
long kvmi_reader_wait(struct kvm_vcpu_introspection *vi,
		      struct kvm_introspection *session, long timeout,
		      bool (*done)(struct kvm_vcpu_introspection *vi,
				   struct kvm_introspection *session))
{
	struct kvmi_waiter waiter = { .session = session, .vi = vi };
	unsigned long end = KVMI_NEVER;
	long r = 0;

	if (done(vi, session))
		return 0;
	vi->vcpu->stat.introspection_waits++;
	if (timeout != MAX_SCHEDULE_TIMEOUT)
		end = (jiffies + timeout) ?: 1;

	begin_waiting(&waiter);
	if (READ_ONCE(session->reader.first) == &waiter && has_data(&waiter))
		read_messages(session, vi, end, done);
	while (!done(vi, session)) {
		if (signal_pending(current)) {
			r = -EINTR;
			break;
		}
		timeout = time_left_until(end);
		if (!timeout)
			break;
		wait_woken(&waiter.reply, TASK_INTERRUPTIBLE, timeout);
		if (READ_ONCE(session->reader.first) == &waiter && !done(vi, session))
			read_messages(session, vi, end, done);
	}
	end_waiting(&waiter);

	return r;
}

/*
 * Read the next message, or take the one that a vCPU's thread has left.  Receiver
 * only.
 *
 * Return 0 with reader.lock held, to process the message; -EAGAIN if there is
 * nothing to read; -EINTR to be called again, e.g. after the reply of a quick
 * command was sent; another error as kvmi_message_receive() does.
 */
int kvmi_reader_receive(struct kvm_introspection *session)
{
	struct kvmi_reader *reader = &session->reader;
	int r;

	do {
		mutex_lock(&reader->lock);
		WRITE_ONCE(reader->again, false);
		if (kvmi_command_replies_due(session)) {
			/* kvmi_command_send_due_replies() is first. */
			r = -EINTR;
		} else if (reader->error) {
			r = reader->error;
		} else if (reader->left) {
			reader->left = false;
			return 0;
		} else {
			r = kvmi_message_receive(session);
			if (!r)
				return 0;
		}
		mutex_unlock(&reader->lock);
		/* Pairs with smp_store_mb() in lock_to_read(). */
		smp_mb();
	} while (r == -EAGAIN && READ_ONCE(reader->again));

	return r;
}
