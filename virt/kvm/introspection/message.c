// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: reading and writing messages.
 *
 * One task reads at a time, see reader.c.  A message that has arrived in part is
 * kept, so that a signal, e.g. of the freezer, loses nothing.
 *
 * Any thread of the VM may write.  A message is written as a whole or not at
 * all, as far as other writers and the tool can see: if the socket takes only
 * its beginning, the rest is kept and precedes whatever is sent next.  The
 * receiver writes what no other thread does, see kvmi_message_pending().
 *
 * A socket that can't be written to any more does not end the session at once,
 * as messages that the tool has sent before count.  The receiver ends the
 * session when nothing is left to read.
 */

#include <linux/poll.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/af_unix.h>
#include <net/sock.h>

#include "limits.h"
#include "message.h"
#include "session.h"

/* Fixed by the wire format */
static_assert(sizeof(struct kvmi_msg_hdr) == 8);
static_assert(sizeof(struct kvmi_vcpu_hdr) == 8);
static_assert(sizeof(struct kvmi_error_code) == 8);
static_assert(sizeof(struct kvmi_event_hdr) == 8);
static_assert(sizeof(struct kvmi_vcpu_event_reply) == 8);
static_assert(offsetof(struct kvmi_vcpu_event, vcpu) == 2);
static_assert(offsetof(struct kvmi_vcpu_event, cookie) == 4);
static_assert(offsetof(struct kvmi_vcpu_event, arch) == 8);
static_assert(offsetof(struct kvmi_vcpu_event_reply, event) == 1);
static_assert(sizeof(struct kvmi_vcpu_event_pf) == 24);
static_assert(sizeof(struct kvmi_vcpu_event_pf_reply) == 8);
static_assert(sizeof(struct kvmi_vcpu_event_singlestep) == 8);
static_assert(sizeof(struct kvmi_vcpu_event_access) == 56);

/* Return true if files are in flight to a socket. */
bool kvmi_socket_has_files(struct socket *sock)
{
	return sock->ops->family == AF_UNIX &&
	       atomic_read(&unix_sk(sock->sk)->scm_stat.nr_fds);
}

/*
 * Return true if there is something to read from a socket, or nothing will be any
 * more.  As poll() says, which takes several times as long.
 */
bool kvmi_socket_has_data(struct socket *sock)
{
	struct sock *sk = sock->sk;

	if (sock->ops->family != AF_UNIX)
		return vfs_poll(sock->file, NULL) & (EPOLLIN | EPOLLHUP | EPOLLERR);

	return !skb_queue_empty_lockless(&sk->sk_receive_queue) ||
	       READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN || READ_ONCE(sk->sk_err);
}

/*
 * Return true if a whole message was read with an earlier one: the next one is
 * received without the socket.  Under reader.lock.
 */
bool kvmi_message_is_ahead(const struct kvm_introspection *session)
{
	struct kvmi_msg_hdr hdr;

	if (session->ahead_size < sizeof(hdr))
		return false;
	memcpy(&hdr, session->ahead + session->ahead_begin, sizeof(hdr));

	return session->ahead_size - sizeof(hdr) >= hdr.size;
}

/* Take what was read with an earlier message, up to @size bytes. */
static size_t take_ahead(struct kvm_introspection *session, void *to, size_t size)
{
	size = min(size, session->ahead_size);
	memcpy(to, session->ahead + session->ahead_begin, size);
	session->ahead_begin += size;
	WRITE_ONCE(session->ahead_size, session->ahead_size - size);

	return size;
}

/*
 * Read until @session->received is at least @size.  A call to the socket takes as
 * much as there is, as it costs more than most messages do otherwise.
 */
static int receive_up_to(struct kvm_introspection *session, size_t size)
{
	while (session->received < size) {
		struct kvec vec = {
			.iov_base = (u8 *)&session->rx + session->received,
			.iov_len = sizeof(session->rx) - session->received,
		};
		struct msghdr msg = { };
		int n;

		if (session->ahead_size)
			n = take_ahead(session, vec.iov_base, size - session->received);
		else
			n = kernel_recvmsg(session->sock, &msg, &vec, 1, vec.iov_len,
					   MSG_DONTWAIT);
		if (n == -ERESTARTSYS)
			return -EINTR;
		if (n <= 0)
			return n ? n : -ENOTCONN;
		session->received += n;
	}

	return 0;
}

/* Read a record as a whole, the rest of it would be lost. */
static int receive_record(struct kvm_introspection *session)
{
	struct kvec vec = {
		.iov_base = &session->rx,
		.iov_len = sizeof(session->rx),
	};
	struct msghdr msg = { };
	int n;

	n = kernel_recvmsg(session->sock, &msg, &vec, 1, vec.iov_len,
			   MSG_DONTWAIT | MSG_TRUNC);
	/*
	 * The error for data that the tool did not read precedes what the tool
	 * has sent.
	 */
	if (n == -ECONNRESET)
		n = kernel_recvmsg(session->sock, &msg, &vec, 1, vec.iov_len,
				   MSG_DONTWAIT | MSG_TRUNC);
	if (n == -ERESTARTSYS)
		return -EINTR;
	if (n <= 0)
		return n ? n : -ENOTCONN;
	if (n < sizeof(session->rx.hdr) || n > sizeof(session->rx) ||
	    n != sizeof(session->rx.hdr) + session->rx.hdr.size)
		return -EPROTO;

	session->received = n;
	return 0;
}

/* Keep what was read beyond the end of a message; then nothing else is kept. */
static void keep_ahead(struct kvm_introspection *session, size_t end)
{
	if (session->received == end)
		return;

	session->ahead_begin = 0;
	WRITE_ONCE(session->ahead_size, session->received - end);
	memcpy(session->ahead, (u8 *)&session->rx + end, session->ahead_size);
}

/*
 * Read the next message into session->rx; what follows it there is zeroed.
 * Return 0; -EAGAIN if it is not complete; -EINTR to be called again after
 * signals were handled; another error if nothing more will arrive.
 */
int kvmi_message_receive(struct kvm_introspection *session)
{
	struct kvmi_frame *rx = &session->rx;
	size_t end;
	int r;

	if (session->sock->type == SOCK_SEQPACKET) {
		r = receive_record(session);
	} else {
		r = receive_up_to(session, sizeof(rx->hdr));
		if (!r && rx->hdr.size > sizeof(rx->payload))
			r = -EPROTO;
		if (!r)
			r = receive_up_to(session, sizeof(rx->hdr) + rx->hdr.size);
	}
	if (r)
		return r;

	end = sizeof(rx->hdr) + rx->hdr.size;
	keep_ahead(session, end);
	session->rx_end = max(session->rx_end, session->received);
	if (end < session->rx_end)
		memset((u8 *)rx + end, 0, session->rx_end - end);
	session->rx_end = end;
	session->received = 0;
	return 0;
}

static int send_some(struct kvm_introspection *session, void *data, size_t size,
		     unsigned int flags)
{
	struct kvec vec = { .iov_base = data, .iov_len = size };
	int n;

	for (;;) {
		struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };

		n = kernel_sendmsg(session->sock, &msg, &vec, 1, size);
		if (n != -EAGAIN || flags & MSG_DONTWAIT)
			break;

		/* The owner of the socket has set SO_SNDTIMEO. */
		schedule_timeout_interruptible(1);
		if (signal_pending(current))
			return -EINTR;
	}

	return n == -ERESTARTSYS ? -EINTR : n;
}

static int send_unsent(struct kvm_introspection *session, unsigned int flags)
{
	lockdep_assert_held(&session->send_lock);

	while (session->unsent_size) {
		int n = send_some(session, session->unsent, session->unsent_size,
				  flags);

		if (n < 0)
			return n;
		WRITE_ONCE(session->unsent_size, session->unsent_size - n);
		memmove(session->unsent, session->unsent + n, session->unsent_size);
	}

	return 0;
}

/* Write a message, or begin it and leave the rest to the next writer. */
static int send_message(struct kvm_introspection *session, void *msg, size_t size,
			unsigned int flags)
{
	int r;

	lockdep_assert_held(&session->send_lock);

	if (READ_ONCE(session->broken))
		return -EPIPE;

	r = send_unsent(session, flags);
	if (!r && size)
		r = send_some(session, msg, size, flags);
	if (r >= 0 && r < size) {
		WRITE_ONCE(session->unsent_size, size - r);
		memcpy(session->unsent, msg + r, session->unsent_size);
		r = send_unsent(session, flags);
		/* A message that has begun will be completed. */
		if (r == -EINTR || r == -EAGAIN)
			r = 0;
	}
	if (r < 0 && r != -EINTR && r != -EAGAIN) {
		WRITE_ONCE(session->unsent_size, 0);
		WRITE_ONCE(session->broken, true);
	}

	return r < 0 ? r : 0;
}

/* Return true if the receiver has to write something. */
bool kvmi_message_pending(struct kvm_introspection *session)
{
	return READ_ONCE(session->unsent_size) || kvmi_unhook_pending(session);
}

static int send_and_wait(struct kvm_introspection *session, unsigned int attachment,
			 void *msg, size_t size)
{
	int r;

	r = mutex_lock_interruptible(&session->send_lock);
	if (r)
		return r;
	r = session->attachment == attachment ?
	    send_message(session, msg, size, 0) : -EPIPE;
	mutex_unlock(&session->send_lock);

	return r;
}

/* -EAGAIN: the tool does not read, or another thread is writing. */
static int try_send(struct kvm_introspection *session, unsigned int attachment,
		    void *msg, size_t size)
{
	int r;

	if (!mutex_trylock(&session->send_lock))
		return -EAGAIN;
	r = session->attachment == attachment ?
	    send_message(session, msg, size, MSG_DONTWAIT) : -EPIPE;
	mutex_unlock(&session->send_lock);

	return r;
}

/* No waiting as long as the tool reads */
static int send_within(struct kvm_introspection *session, unsigned int attachment,
		       void *msg, size_t size, long timeout)
{
	unsigned long end = jiffies + timeout;
	int r;

	for (;;) {
		r = try_send(session, attachment, msg, size);
		if (r != -EAGAIN)
			return r;
		if (time_after_eq(jiffies, end))
			return -ETIME;
		schedule_timeout_interruptible(1);
		if (signal_pending(current))
			return -EINTR;
	}
}

/* For the receiver to write what is left, or to end the session */
static void wake_for_pending(struct kvm_introspection *session)
{
	/*
	 * Pairs with the barrier in kvmi_message_try_send(): either the receiver
	 * gets the lock, or it is woken.
	 */
	smp_mb();
	if (READ_ONCE(session->broken) || kvmi_message_pending(session))
		kvmi_session_wake_receiver(session);
}

/*
 * Write a message, including its header, of at most the size of struct
 * kvmi_frame, to the tool of kvm_introspection.attachment @attachment.  Sleeps
 * until the tool has read enough, at most @timeout jiffies or
 * MAX_SCHEDULE_TIMEOUT.  No lock of KVM may be held but vcpu->mutex, see
 * kvmi_assert_may_wait().
 *
 * Return 0; -EINTR if a signal is pending, or -ETIME, with nothing of the message
 * written; another error if the socket can't be written to any more.
 */
int kvmi_message_send(struct kvm_introspection *session, unsigned int attachment,
		      void *msg, size_t size, long timeout)
{
	int r;

	kvmi_assert_may_wait(session->kvm);

	if (timeout == MAX_SCHEDULE_TIMEOUT)
		r = send_and_wait(session, attachment, msg, size);
	else
		r = send_within(session, attachment, msg, size, timeout);

	wake_for_pending(session);

	return r;
}

/* Whoever writes copies a message, or waits for a tool that does not read. */
static bool try_to_lock(struct mutex *lock)
{
	unsigned int i;

	for (i = 0; i < KVMI_MAX_LOCK_TRIES; i++) {
		if (mutex_trylock(lock))
			return true;
		cpu_relax();
	}

	return false;
}

/* Return true if more than a message can be written: a part of the socket's buffer. */
static bool has_room(struct kvm_introspection *session)
{
	return vfs_poll(session->sock->file, NULL) & EPOLLOUT;
}

/*
 * Write a message without waiting for the tool.  @leave_room: don't use what room
 * is left for others, which the tool is asked or waits for.  May sleep for memory.
 * Return false if the message was not written.
 */
bool kvmi_message_send_now(struct kvm_introspection *session, unsigned int attachment,
			   void *msg, size_t size, bool leave_room)
{
	int r = -EAGAIN;

	if (!try_to_lock(&session->send_lock))
		return false;
	if (session->attachment == attachment && (!leave_room || has_room(session)))
		r = send_message(session, msg, size, MSG_DONTWAIT);
	mutex_unlock(&session->send_lock);
	wake_for_pending(session);

	return !r;
}

/*
 * Send nothing more to a tool that does not read.  The session becomes defunct
 * when the receiver has read what the tool has sent.  May sleep; only if the
 * session has a timeout.
 */
void kvmi_message_give_up(struct kvm_introspection *session, unsigned int attachment)
{
	/* With a timeout, no thread waits with this lock held. */
	mutex_lock(&session->send_lock);
	if (session->attachment == attachment)
		WRITE_ONCE(session->broken, true);
	mutex_unlock(&session->send_lock);

	kvmi_session_wake_receiver(session);
}

/*
 * Write a message without waiting, or with @size 0 only the rest of an earlier
 * one.  Receiver only, which is woken when it is worth another try.  Return 0;
 * -EAGAIN if the tool does not read or another thread is writing; another error
 * if the socket can't be written to any more.
 */
int kvmi_message_try_send(struct kvm_introspection *session, void *msg,
			  size_t size)
{
	/* Pairs with the barrier in kvmi_message_send(). */
	smp_mb();
	return try_send(session, session->attachment, msg, size);
}

/*
 * Fill in the fixed parts of a command's reply, whose data is at
 * kvmi_reply_data() already.  There is no data if @err is not 0.
 *
 * To write to the socket takes longer than many a command.  @more: another reply
 * follows soon, have this one sent with it if there is room.
 */
void kvmi_replies_add(struct kvmi_replies *replies, const struct kvmi_msg_hdr *to,
		      int err, size_t size, bool more)
{
	struct kvmi_error_code ec = { .err = err };
	struct kvmi_frame *last = &replies->last;

	if (err)
		size = 0;

	last->hdr = *to;
	last->hdr.size = sizeof(ec) + size;
	memcpy(last->payload, &ec, sizeof(ec));
	size = sizeof(last->hdr) + last->hdr.size;

	if ((more || replies->earlier_size) &&
	    size <= sizeof(replies->earlier) - replies->earlier_size) {
		memcpy(replies->earlier + replies->earlier_size, last, size);
		replies->earlier_size += size;
		replies->due = !more;
	} else {
		replies->last_size = size;
		replies->due = true;
	}
}

/* Return what to send next, of @size bytes, or NULL if nothing is left. */
void *kvmi_replies_first(struct kvmi_replies *replies, size_t *size)
{
	*size = replies->earlier_size;
	if (*size)
		return replies->earlier;

	*size = replies->last_size;
	return *size ? &replies->last : NULL;
}

/* What kvmi_replies_first() has returned was sent. */
void kvmi_replies_sent(struct kvmi_replies *replies)
{
	if (replies->earlier_size)
		replies->earlier_size = 0;
	else
		replies->last_size = 0;
	if (!replies->last_size)
		replies->due = false;
}
