// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Messages: framing, time limits, and matching replies with commands.
 *
 * A command, or a run of them, is sent and waited for.  Whatever arrives
 * meanwhile is either a reply, an event (queued, see event.c), or the late reply
 * to a command that was given up on.  Anything else ends the connection.
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

int64_t kint_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A deadline of -1 is none */
int64_t kint_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : kint_now_ms() + timeout_ms;
}

/* When to give up what is begun now */
int64_t kint_conn_deadline(const struct kint_conn *conn)
{
	int64_t deadline = kint_deadline(conn->timeout_ms);

	if (conn->last_moment < 0 || (deadline >= 0 && deadline < conn->last_moment))
		return deadline;
	return conn->last_moment;
}

/* Returns the events that poll() saw, -ETIMEDOUT or -EINTR */
int kint_wait_fd(int fd, short events, int64_t deadline, int interrupt_fd)
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
			left = deadline - kint_now_ms();
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
		if (deadline >= 0 && kint_now_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

/* The first error is the one that is told ever after */
int kint_fail(struct kint_conn *conn, int error)
{
	if (!conn->error)
		conn->error = error;
	return conn->error;
}

/* A number that the other side tells: too large means that it broke the protocol */
int kint_bounded(struct kint_conn *conn, uint64_t number, uint64_t max)
{
	return number > max ? kint_fail(conn, -EPROTO) : 0;
}

static bool forget_late(struct kint_conn *conn, uint32_t seq)
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

/*
 * The kernel's error numbers are errno's, but for one.  All others are refused:
 * the library's own, -EINTR and -EPIPE say, mean something else to the caller.
 */
static int error_of(int32_t err)
{
	switch (-(int64_t)err) {
	case 0:
	case EPERM:		/* each is a KVM_E* of the same name */
	case ENOENT:
	case E2BIG:
	case EAGAIN:
	case ENOMEM:
	case EFAULT:
	case EBUSY:
	case EINVAL:
	case EOPNOTSUPP:
		return err;
	case 1000:		/* KVM_ENOSYS */
		return -ENOSYS;
	default:
		return -EPROTO;
	}
}

/* Returns -EPROTO if the reply is none to that command, else 0 */
static int reply_arrived(struct command *cmd, const struct kvmi_msg_hdr *hdr,
			 const unsigned char *payload)
{
	struct kvmi_error_code ec;
	size_t size = hdr->size;

	if (hdr->id != cmd->req.id || size < sizeof(ec))
		return -EPROTO;
	memcpy(&ec, payload, sizeof(ec));
	cmd->err = error_of(ec.err);
	if (cmd->err == -EPROTO)
		return -EPROTO;
	if (cmd->err) {
		cmd->replied = true;
		return 0;
	}

	/* A newer kernel may say more than was asked, never less */
	size -= sizeof(ec);
	if (cmd->got ? size > cmd->size : size < cmd->size)
		return -EPROTO;
	if (cmd->got)
		*cmd->got = size;
	else
		size = cmd->size;
	if (size)
		memcpy(cmd->data, payload + sizeof(ec), size);
	cmd->replied = true;
	return 0;
}

static int message_arrived(struct kint_conn *conn, const struct kvmi_msg_hdr *hdr,
			   const unsigned char *payload)
{
	unsigned int i;

	if (hdr->id == KVMI_VM_EVENT || hdr->id == KVMI_VCPU_EVENT)
		return kint_event_arrived(conn, hdr, payload);

	for (i = 0; i < conn->nrun; i++)
		if (conn->run[i].seq == hdr->seq && !conn->run[i].replied) {
			conn->narrived_then = conn->narrived;
			return reply_arrived(&conn->run[i], hdr, payload);
		}
	return forget_late(conn, hdr->seq) ? 0 : -EPROTO;
}

/* Read what the socket has, without waiting, and take the messages out of it */
int kint_receive(struct kint_conn *conn)
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
		return kint_fail(conn, -EPIPE);
	conn->rx_size += n;

	while (conn->rx_size - done >= sizeof(hdr)) {
		memcpy(&hdr, conn->rx + done, sizeof(hdr));
		if (hdr.size > KVMI_MAX_MSG_SIZE)
			return kint_fail(conn, -EPROTO);
		if (conn->rx_size - done < sizeof(hdr) + hdr.size)
			break;
		err = message_arrived(conn, &hdr, conn->rx + done + sizeof(hdr));
		if (err)
			return kint_fail(conn, err);
		done += sizeof(hdr) + hdr.size;
	}
	conn->rx_size -= done;
	memmove(conn->rx, conn->rx + done, conn->rx_size);
	return 0;
}

/* Put a message at the end of what is to be sent; false if there is no room for it */
static bool pack(struct kint_conn *conn, const struct kvmi_msg_hdr *hdr, const struct request *req)
{
	unsigned char *to = conn->tx + conn->tx_size;
	int i;

	if (sizeof(*hdr) + hdr->size > sizeof(conn->tx) - conn->tx_size)
		return false;
	memcpy(to, hdr, sizeof(*hdr));
	to += sizeof(*hdr);
	for (i = 0; i < 3; i++) {
		if (!req->size[i])
			continue;
		memcpy(to, req->part[i], req->size[i]);
		to += req->size[i];
	}
	conn->tx_size = to - conn->tx;
	return true;
}

/*
 * Write what has been packed with one send().  When the socket is full, which takes
 * a peer that does not read, go on receiving: the peer may be stuck in writing to us.
 * *@done is set to the bytes that were written.
 */
static int flush_packed(struct kint_conn *conn, int64_t deadline, size_t *done)
{
	size_t size = conn->tx_size;
	ssize_t n;
	int ret;

	conn->tx_size = 0;
	for (*done = 0; *done < size; ) {
		if (conn->error)
			return conn->error;
		n = send(conn->sock, conn->tx + *done, size - *done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			*done += n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR) {
			/* What was sent before the end may still be read */
			kint_receive(conn);
			return kint_fail(conn, -EPIPE);
		}
		ret = kint_wait_fd(conn->sock, POLLIN | POLLOUT, deadline, conn->interrupt_fd);
		if (ret == -ETIMEDOUT || ret == -EINTR)
			return ret;
		if (ret < 0)
			return kint_fail(conn, ret);
		if (ret & ~POLLOUT)
			kint_receive(conn);
	}
	return 0;
}

static size_t payload_of(const struct command *cmd)
{
	return cmd->req.size[0] + cmd->req.size[1] + cmd->req.size[2];
}

/*
 * Write the commands from @first on that have been packed.  If not all could be:
 * half a message out is the end, nothing sensible can follow it.
 */
static int flush_run(struct kint_conn *conn, unsigned int first, int64_t deadline)
{
	unsigned int i;
	size_t done;
	int err = flush_packed(conn, deadline, &done);

	for (i = first; i < conn->nrun && done; i++) {
		size_t size = sizeof(struct kvmi_msg_hdr) + payload_of(&conn->run[i]);

		if (done < size)
			return kint_fail(conn, err);
		conn->run[i].sent = true;
		done -= size;
	}
	conn->nrun = i;
	return err;
}

static bool all_replied(const struct kint_conn *conn)
{
	unsigned int i;

	for (i = 0; i < conn->nrun; i++)
		if (!conn->run[i].replied)
			return false;
	return true;
}

/* The replies that have not come, if they come, are to be dropped */
static int give_up(struct kint_conn *conn, int reason)
{
	unsigned int i;

	for (i = 0; i < conn->nrun; i++) {
		if (conn->run[i].replied)
			continue;
		if (conn->nlate == MAX_LATE)
			return kint_fail(conn, reason);
		conn->late[conn->nlate++] = conn->run[i].seq;
	}
	return reason;
}

/* As many messages as there is room for go out together */
static int send_run(struct kint_conn *conn, unsigned int n, int64_t deadline)
{
	unsigned int i, first = 0;
	struct kvmi_msg_hdr hdr;
	struct command *cmd;
	int err;

	for (i = 0; i < n; i++) {
		cmd = &conn->run[i];
		cmd->err = 0;
		cmd->sent = false;
		cmd->replied = cmd->answers;
		if (!cmd->answers)
			cmd->seq = ++conn->seq;
		hdr.id = cmd->req.id;
		hdr.size = payload_of(cmd);
		hdr.seq = cmd->seq;
		if (!pack(conn, &hdr, &cmd->req)) {
			err = flush_run(conn, first, deadline);
			if (err)
				return err;
			first = i;
			pack(conn, &hdr, &cmd->req);
		}
		/* It counts from before it is sent: replies may arrive while it is */
		conn->nrun = i + 1;
	}
	return flush_run(conn, first, deadline);
}

/*
 * Send commands and wait for all replies.  An error returned is one of the
 * connection; @cmds[].err is what the kernel said to each command.
 */
int kint_run(struct kint_conn *conn, struct command *cmds, unsigned int n)
{
	int64_t deadline = kint_conn_deadline(conn);
	bool asks = false;
	unsigned int i;
	int ret;

	for (i = 0; i < n; i++) {
		cmds[i].sent = false;
		asks |= !cmds[i].answers;
		if (payload_of(&cmds[i]) > KVMI_MAX_MSG_SIZE)
			return -EINVAL;
	}
	if (conn->error)
		return conn->error;
	/* What could not be waited for; an answer has a vCPU go on, which is not to wait */
	if (asks && conn->last_moment >= 0 && kint_now_ms() >= conn->last_moment)
		return -ETIMEDOUT;
	conn->run = cmds;
	ret = send_run(conn, n, deadline);
	while (!ret && !all_replied(conn)) {
		ret = kint_wait_fd(conn->sock, POLLIN, deadline, conn->interrupt_fd);
		if (ret > 0)
			ret = kint_receive(conn);
	}
	/* A reply may have come with the error right behind it */
	if (ret && conn->nrun == n && all_replied(conn))
		ret = 0;
	if (ret == -ETIMEDOUT || ret == -EINTR)
		ret = give_up(conn, ret);
	else if (ret)
		ret = kint_fail(conn, ret);
	conn->nrun = 0;
	return ret;
}

/*
 * Send one command and wait for its reply.
 *
 * The device manager says which commands and events are allowed after it has
 * hooked the VM, so a quick tool may be refused in the first milliseconds what
 * it is allowed a moment later.  Until GRACE_MS after the first reply of the
 * session, -EPERM is therefore a reason to try again.
 */
int kint_command(struct kint_conn *conn, const struct request *req, void *data, size_t size,
		 size_t *got)
{
	struct command cmd = { .req = *req, .data = data, .size = size, .got = got };
	int ret;

	for (;;) {
		ret = kint_run(conn, &cmd, 1);
		if (ret)
			return ret;
		if (!conn->grace_until)
			conn->grace_until = kint_now_ms() + GRACE_MS;
		if (cmd.err != -EPERM || kint_now_ms() >= conn->grace_until)
			return cmd.err;
		ret = kint_wait_fd(-1, 0, kint_deadline(GRACE_STEP_MS), conn->interrupt_fd);
		if (ret != -ETIMEDOUT)
			return ret;
	}
}
