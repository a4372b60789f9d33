// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Opening and closing a connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "internal.h"

#define DEFAULT_TIMEOUT_MS 5000

static int make_poll_fd(struct kvmi_conn *conn)
{
	struct epoll_event ev = { .events = EPOLLIN };

	conn->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	conn->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (conn->wake_fd < 0 || conn->poll_fd < 0 ||
	    epoll_ctl(conn->poll_fd, EPOLL_CTL_ADD, conn->wake_fd, &ev) ||
	    epoll_ctl(conn->poll_fd, EPOLL_CTL_ADD, conn->sock, &ev))
		return -errno;
	return 0;
}

static int conn_new(int fd, const struct kvmi_options *opts, struct kvmi_conn **out)
{
	struct kvmi_conn *conn = calloc(1, sizeof(*conn));
	int err;

	if (!conn) {
		close(fd);
		return -ENOMEM;
	}
	conn->sock = fd;
	conn->wake_fd = -1;
	conn->poll_fd = -1;
	conn->interrupt_fd = opts ? opts->interrupt_fd : -1;
	conn->timeout_ms = opts && opts->timeout_ms ? opts->timeout_ms : DEFAULT_TIMEOUT_MS;
	conn->last_moment = -1;
	conn->queue_end = &conn->queue;

	err = make_poll_fd(conn);
	if (err) {
		kvmi_close(conn);
		return err;
	}
	*out = conn;
	return 0;
}

/*
 * The first command waits for the device manager to pass the socket to KVM, and
 * tells whether it did.
 */
static int begin(struct kvmi_conn *conn)
{
	int err = kvmi_get_version(conn, &conn->version);

	if (err)
		return err;
	return conn->version.version == KVMI_VERSION ? 0 : -EPROTO;
}

int kvmi_adopt(int fd, const struct kvmi_options *opts, struct kvmi_conn **out)
{
	struct kvmi_conn *conn;
	int err = conn_new(fd, opts, &conn);

	if (err)
		return err;
	err = begin(conn);
	if (err) {
		kvmi_close(conn);
		return err;
	}
	*out = conn;
	return 0;
}

int kvmi_open(int fd, const struct kvmi_options *opts, struct kvmi_conn **out)
{
	struct kvmi_conn *conn;
	int err = conn_new(fd, opts, &conn);

	if (err)
		return err;
	err = kvmi_handshake(fd, opts, conn->timeout_ms, &conn->peer);
	if (!err) {
		err = begin(conn);
		if (err == -EPIPE)
			err = -EACCES;
	}
	if (err) {
		kvmi_close(conn);
		return err;
	}
	*out = conn;
	return 0;
}

void kvmi_close(struct kvmi_conn *conn)
{
	if (!conn)
		return;
	if (conn->wake_fd >= 0)
		kvmi_events_free(conn);
	kvmi_wishes_free(conn);
	if (conn->poll_fd >= 0)
		close(conn->poll_fd);
	if (conn->wake_fd >= 0)
		close(conn->wake_fd);
	close(conn->sock);
	free(conn);
}

const struct kvmi_peer *kvmi_peer_info(const struct kvmi_conn *conn)
{
	return &conn->peer;
}

const struct kvmi_get_version_reply *kvmi_version(const struct kvmi_conn *conn)
{
	return &conn->version;
}

int kvmi_set_timeout(struct kvmi_conn *conn, int timeout_ms)
{
	int old = conn->timeout_ms;

	conn->timeout_ms = timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS;
	return old;
}

void kvmi_set_interrupt_fd(struct kvmi_conn *conn, int fd)
{
	conn->interrupt_fd = fd;
}
