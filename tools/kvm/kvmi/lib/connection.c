// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Listening, accepting, opening and closing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
#include "internal.h"

#define DEFAULT_TIMEOUT_MS 5000

struct kvmi_listener {
	int fd;
	char *path;
};

static int bind_unix(int fd, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	int probe, err;

	if (!*path || strlen(path) >= sizeof(sun.sun_path))
		return -EINVAL;
	memcpy(sun.sun_path, path, strlen(path));
	if (!bind(fd, (struct sockaddr *)&sun, sizeof(sun)))
		return 0;
	if (errno != EADDRINUSE || lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return -errno;

	/* Left behind, or in use?  Only a socket that refuses is left behind. */
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return -errno;
	err = connect(probe, (struct sockaddr *)&sun, sizeof(sun)) ? errno : 0;
	close(probe);
	if (err != ECONNREFUSED)
		return -EADDRINUSE;
	if (unlink(path))
		return -errno;
	return bind(fd, (struct sockaddr *)&sun, sizeof(sun)) ? -errno : 0;
}

/* "PORT" or "CID:PORT" */
static int bind_vsock(int fd, const char *text)
{
	struct sockaddr_vm svm = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (end != text && *end == ':') {
		if (errno || value > UINT_MAX)
			return -EINVAL;
		svm.svm_cid = value;
		text = end + 1;
		value = strtoul(text, &end, 0);
	}
	if (end == text || *end || errno || value >= UINT_MAX)
		return -EINVAL;
	svm.svm_port = value;
	return bind(fd, (struct sockaddr *)&svm, sizeof(svm)) ? -errno : 0;
}

int kvmi_listen(const char *address, struct kvmi_listener **listener)
{
	bool local = !strncmp(address, "unix:", 5);
	struct kvmi_listener *l;
	int err;

	if (!local && strncmp(address, "vsock:", 6))
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->fd = socket(local ? AF_UNIX : AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0) {
		err = -errno;
		free(l);
		return err;
	}

	err = local ? bind_unix(l->fd, address + 5) : bind_vsock(l->fd, address + 6);
	if (!err && local) {
		l->path = strdup(address + 5);
		if (!l->path)
			err = -ENOMEM;
	}
	if (!err && listen(l->fd, 16))
		err = -errno;
	if (err) {
		kvmi_listener_free(l);
		return err;
	}
	*listener = l;
	return 0;
}

int kvmi_listener_fd(const struct kvmi_listener *listener)
{
	return listener->fd;
}

void kvmi_listener_free(struct kvmi_listener *listener)
{
	if (!listener)
		return;
	close(listener->fd);
	if (listener->path)
		unlink(listener->path);
	free(listener->path);
	free(listener);
}

int kvmi_accept(struct kvmi_listener *listener, const struct kvmi_options *opts,
		int wait_ms, struct kvmi_conn **conn)
{
	int64_t deadline = kvmi_deadline(wait_ms);
	int fd, ret;

	for (;;) {
		fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			ret = kvmi_open(fd, opts, conn);
			/* Somebody who looked whether we are there, and left */
			if (ret == -EPIPE)
				continue;
			return ret;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
		ret = kvmi_wait_fd(listener->fd, POLLIN, deadline, opts ? opts->interrupt_fd : -1);
		if (ret == -ETIMEDOUT)
			return -EAGAIN;
		if (ret < 0)
			return ret;
	}
}

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
