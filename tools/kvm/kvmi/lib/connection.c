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

const char *kint_library_version(void)
{
	return KVMI_TOOL_VERSION;
}

static int make_poll_fd(struct kint_conn *conn)
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

static int conn_new(int fd, const struct kint_options *opts, struct kint_conn **out)
{
	struct kint_conn *conn = calloc(1, sizeof(*conn));
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
		kint_close(conn);
		return err;
	}
	*out = conn;
	return 0;
}

/*
 * The first command waits for the device manager to pass the socket to KVM, and
 * tells whether it did.
 */
static int begin(struct kint_conn *conn)
{
	int err = kint_get_version(conn, &conn->version);

	if (err)
		return err;
	return conn->version.version == KVMI_VERSION ? 0 : -EPROTO;
}

int kint_adopt(int fd, const struct kint_options *opts, struct kint_conn **out)
{
	struct kint_conn *conn;
	int err = conn_new(fd, opts, &conn);

	if (err)
		return err;
	err = begin(conn);
	if (err) {
		kint_close(conn);
		return err;
	}
	*out = conn;
	return 0;
}

int kint_open(int fd, const struct kint_options *opts, struct kint_conn **out)
{
	struct kint_conn *conn;
	int err = conn_new(fd, opts, &conn);

	if (err)
		return err;
	err = kint_handshake(fd, opts, conn->timeout_ms, &conn->peer);
	if (!err) {
		err = begin(conn);
		if (err == -EPIPE)
			err = -EACCES;
	}
	if (err) {
		kint_close(conn);
		return err;
	}
	*out = conn;
	return 0;
}

void kint_close(struct kint_conn *conn)
{
	if (!conn)
		return;
	if (conn->wake_fd >= 0)
		kint_events_free(conn);
	kint_wishes_free(conn);
	free(conn->pauses);
	kint_pages_free(conn);
	if (conn->poll_fd >= 0)
		close(conn->poll_fd);
	if (conn->wake_fd >= 0)
		close(conn->wake_fd);
	close(conn->sock);
	free(conn);
}

const struct kint_peer *kint_peer_info(const struct kint_conn *conn)
{
	return &conn->peer;
}

const struct kvmi_get_version_reply *kint_version(const struct kint_conn *conn)
{
	return &conn->version;
}

int kint_set_timeout(struct kint_conn *conn, int timeout_ms)
{
	int old = conn->timeout_ms;

	conn->timeout_ms = timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS;
	return old;
}

void kint_set_deadline(struct kint_conn *conn, int ms)
{
	conn->last_moment = kint_deadline(ms);
}

void kint_set_interrupt_fd(struct kint_conn *conn, int fd)
{
	conn->interrupt_fd = fd;
}
