// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Messages: framing, time limits, and matching replies with commands.
 *
 * One command is under way at a time.  Whatever arrives meanwhile is either its
 * reply, an event (queued, see event.c), or the late reply to a command that
 * was given up on.  Anything else ends the connection.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "internal.h"

/* How long after the session's start -EPERM may still turn into success */
#define GRACE_MS	500
#define GRACE_STEP_MS	5

int64_t kvmi_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A deadline of -1 is none */
int64_t kvmi_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : kvmi_now_ms() + timeout_ms;
}

/* Returns the events that poll() saw, -ETIMEDOUT or -EINTR */
int kvmi_wait_fd(int fd, short events, int64_t deadline, int interrupt_fd)
{
	struct pollfd fds[2] = {
		{ .fd = fd, .events = events },
		{ .fd = interrupt_fd > 0 ? interrupt_fd : -1, .events = POLLIN },
	};
	int64_t left;
	int n;

	for (;;) {
		left = -1;
		if (deadline >= 0) {
			left = deadline - kvmi_now_ms();
			if (left < 0)
				left = 0;
			if (left > 3600 * 1000)
				left = 3600 * 1000;
		}
		n = poll(fds, 2, left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && fds[1].revents)
			return -EINTR;
		if (n > 0)
			return fds[0].revents;
		if (deadline >= 0 && kvmi_now_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

/* The first error is the one that is told ever after */
int kvmi_fail(struct kvmi_conn *conn, int error)
{
	if (!conn->error)
		conn->error = error;
	return conn->error;
}

static bool forget_late(struct kvmi_conn *conn, uint32_t seq)
{
	unsigned int i;

	for (i = 0; i < conn->nlate; i++) {
		if (conn->late[i] != seq)
			continue;
		conn->late[i] = conn->late[--conn->nlate];
		return true;
	}
	return false;
}

static int message_arrived(struct kvmi_conn *conn, const struct kvmi_msg_hdr *hdr,
			   const unsigned char *payload)
{
	if (hdr->id == KVMI_VM_EVENT || hdr->id == KVMI_VCPU_EVENT)
		return kvmi_event_arrived(conn, hdr, payload);

	if (conn->waiting && !conn->replied && hdr->seq == conn->seq) {
		if (hdr->id != conn->reply_id)
			return -EPROTO;
		memcpy(conn->reply, payload, hdr->size);
		conn->reply_size = hdr->size;
		conn->replied = true;
		return 0;
	}
	return forget_late(conn, hdr->seq) ? 0 : -EPROTO;
}

/* Read what the socket has, without waiting, and take the messages out of it */
int kvmi_receive(struct kvmi_conn *conn)
{
	struct kvmi_msg_hdr hdr;
	size_t done = 0;
	ssize_t n;
	int err;

	if (conn->error)
		return conn->error;

	n = recv(conn->sock, conn->rx + conn->rx_size, sizeof(conn->rx) - conn->rx_size,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return kvmi_fail(conn, -EPIPE);
	conn->rx_size += n;

	while (conn->rx_size - done >= sizeof(hdr)) {
		memcpy(&hdr, conn->rx + done, sizeof(hdr));
		if (hdr.size > KVMI_MAX_MSG_SIZE)
			return kvmi_fail(conn, -EPROTO);
		if (conn->rx_size - done < sizeof(hdr) + hdr.size)
			break;
		err = message_arrived(conn, &hdr, conn->rx + done + sizeof(hdr));
		if (err)
			return kvmi_fail(conn, err);
		done += sizeof(hdr) + hdr.size;
	}
	conn->rx_size -= done;
	memmove(conn->rx, conn->rx + done, conn->rx_size);
	return 0;
}

/*
 * Write a message with one send().  When the socket is full, which takes a peer
 * that does not read, go on receiving: the peer may be stuck in writing to us.
 */
int kvmi_send(struct kvmi_conn *conn, const struct kvmi_msg_hdr *hdr,
	      const struct request *req, int64_t deadline)
{
	size_t size = sizeof(*hdr), done = 0;
	ssize_t n;
	int i, ret;

	memcpy(conn->tx, hdr, sizeof(*hdr));
	for (i = 0; i < 3; i++) {
		if (!req->size[i])
			continue;
		memcpy(conn->tx + size, req->part[i], req->size[i]);
		size += req->size[i];
	}

	for (;;) {
		if (conn->error)
			return conn->error;
		n = send(conn->sock, conn->tx + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			done += n;
			if (done == size)
				return 0;
		} else if (errno != EAGAIN && errno != EINTR) {
			/* What was sent before the end may still be read */
			kvmi_receive(conn);
			return kvmi_fail(conn, -EPIPE);
		}
		ret = kvmi_wait_fd(conn->sock, POLLIN | POLLOUT, deadline, conn->interrupt_fd);
		if (ret == -ETIMEDOUT || ret == -EINTR)
			/* Half a message out: nothing sensible can follow it */
			return done ? kvmi_fail(conn, ret) : ret;
		if (ret < 0)
			return kvmi_fail(conn, ret);
		if (ret & ~POLLOUT)
			kvmi_receive(conn);
	}
}

/* The kernel's error numbers are errno's, but for one */
static int error_of(int32_t err)
{
	if (err == -1000)	/* KVM_ENOSYS */
		return -ENOSYS;
	if (err > 0 || err < -4095)
		return -EPROTO;
	return err;
}

static int command_once(struct kvmi_conn *conn, const struct request *req, void *data,
			size_t size, size_t *got)
{
	int64_t deadline = kvmi_deadline(conn->timeout_ms);
	struct kvmi_msg_hdr hdr = { .id = req->id };
	struct kvmi_error_code ec;
	int i, ret;

	for (i = 0, ret = 0; i < 3; i++)
		ret += req->size[i];
	if ((size_t)ret > KVMI_MAX_MSG_SIZE)
		return -EINVAL;
	hdr.size = ret;
	hdr.seq = ++conn->seq;

	conn->reply_id = req->id;
	conn->replied = false;
	conn->waiting = true;
	ret = kvmi_send(conn, &hdr, req, deadline);
	if (ret) {
		conn->waiting = false;
		return ret;
	}

	while (!conn->replied && !conn->error) {
		ret = kvmi_wait_fd(conn->sock, POLLIN, deadline, conn->interrupt_fd);
		if (ret > 0)
			kvmi_receive(conn);
		else if (ret == -ETIMEDOUT || ret == -EINTR)
			break;
		else
			kvmi_fail(conn, ret);
	}
	conn->waiting = false;
	if (!conn->replied) {
		if (conn->error)
			return conn->error;
		if (conn->nlate == MAX_LATE)
			return kvmi_fail(conn, ret);
		conn->late[conn->nlate++] = hdr.seq;
		return ret;
	}

	if (conn->reply_size < sizeof(ec))
		return kvmi_fail(conn, -EPROTO);
	memcpy(&ec, conn->reply, sizeof(ec));
	if (ec.err) {
		ret = error_of(ec.err);
		return ret == -EPROTO ? kvmi_fail(conn, ret) : ret;
	}
	/* A newer kernel may say more than was asked, never less */
	conn->reply_size -= sizeof(ec);
	if (got) {
		*got = conn->reply_size;
		if (*got > size)
			return kvmi_fail(conn, -EPROTO);
		size = *got;
	} else if (conn->reply_size < size) {
		return kvmi_fail(conn, -EPROTO);
	}
	if (size)
		memcpy(data, conn->reply + sizeof(ec), size);
	return 0;
}

/*
 * Send a command and wait for its reply.  @data takes @size bytes of reply data;
 * with @got the reply may be shorter, and *@got is set to its size.
 *
 * The device manager says which commands and events are allowed after it has
 * hooked the VM, so a quick tool may be refused in the first milliseconds what
 * it is allowed a moment later.  Until GRACE_MS after the first reply of the
 * session, -EPERM is therefore a reason to try again.
 */
int kvmi_command(struct kvmi_conn *conn, const struct request *req, void *data, size_t size,
		 size_t *got)
{
	int ret;

	for (;;) {
		ret = command_once(conn, req, data, size, got);
		if (!conn->grace_until && conn->replied)
			conn->grace_until = kvmi_now_ms() + GRACE_MS;
		if (ret != -EPERM || kvmi_now_ms() >= conn->grace_until)
			return ret;
		ret = kvmi_wait_fd(-1, 0, kvmi_deadline(GRACE_STEP_MS), conn->interrupt_fd);
		if (ret != -ETIMEDOUT)
			return ret;
	}
}
