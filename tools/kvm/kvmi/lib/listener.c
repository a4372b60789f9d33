// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Listening and accepting.
 */
#define _GNU_SOURCE	/* accept4() */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/vm_sockets.h>
#include "internal.h"

#define BACKLOG		16
/* How long to wait for others that start or stop listening in the directory */
#define LOCK_MS		1000
#define LOCK_STEP_MS	10

struct kint_listener {
	int fd;
	/* Of the socket file, if there is one */
	char *path;
	dev_t dev;
	ino_t ino;
	pid_t pid;
	/* Whose connections count, of AF_VSOCK */
	bool local;
	unsigned int peer_cid;
};

/*
 * A path of a socket file is looked at and changed with its directory locked, so
 * that of two programs that start, or one that starts and one that ends, none takes
 * the other's socket for a dead one.  Whoever may read the directory can hold the
 * lock: it is not waited for without end.  Returns a descriptor, or -1.
 */
static int lock_directory(const char *path)
{
	int64_t deadline = kint_deadline(LOCK_MS);
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(copy);
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && kint_now_ms() < deadline)
		kint_wait_fd(-1, 0, kint_deadline(LOCK_STEP_MS), -1);
	return fd;
}

static void unlock_directory(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* A name beside @path, for the time before the socket is ready */
static int name_beside(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? slash + 1 - path : 0, keep = strlen(path);

	/* A dot and eight digits, and the end of the string */
	if (keep > size - 10)
		keep = size - 10;
	if (keep <= dir)
		return -ENAMETOOLONG;
	snprintf(name, size, "%.*s.%x", (int)keep, path, (unsigned int)getpid());
	return 0;
}

static int unix_address(struct sockaddr_un *sun, const char *path)
{
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path)
		return -EINVAL;
	if (strlen(path) >= sizeof(sun->sun_path))
		return -ENAMETOOLONG;
	memcpy(sun->sun_path, path, strlen(path));
	return 0;
}

/* Is there something that must not be replaced?  Only a socket that refuses may be. */
static int check_old(const char *path, const struct sockaddr_un *sun)
{
	struct stat st;
	int probe, err;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return -errno;
	err = connect(probe, (const struct sockaddr *)sun, sizeof(*sun)) ? errno : 0;
	close(probe);
	return err == ECONNREFUSED ? 0 : -EADDRINUSE;
}

/*
 * The socket gets its name when it can be connected to, and not by others than it
 * is for: until then it has another one.
 */
static int listen_unix(struct kint_listener *l, const char *path,
		       const struct kint_listen_options *opts)
{
	mode_t mode = opts && opts->mode ? opts->mode : 0600;
	char new_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct sockaddr_un sun, new_sun;
	struct stat st;
	int lock, err;

	err = unix_address(&sun, path);
	if (!err)
		err = name_beside(path, new_path, sizeof(new_path));
	if (!err)
		err = unix_address(&new_sun, new_path);
	if (err)
		return err;
	lock = lock_directory(path);
	err = check_old(path, &sun);
	if (err)
		goto out;
	/* Of a process of that number that was killed in between */
	unlink(new_path);
	/* The file gets the socket's own mode, less the umask */
	if (fchmod(l->fd, mode) || bind(l->fd, (struct sockaddr *)&new_sun, sizeof(new_sun))) {
		err = -errno;
		goto out;
	}
	if ((opts && opts->set_group && lchown(new_path, -1, opts->group)) ||
	    chmod(new_path, mode) || lstat(new_path, &st) || listen(l->fd, BACKLOG) ||
	    rename(new_path, path)) {
		err = -errno;
		unlink(new_path);
		goto out;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->pid = getpid();
	l->path = strdup(path);
	if (!l->path) {
		unlink(path);
		err = -ENOMEM;
	}
out:
	unlock_directory(lock);
	return err;
}

/* "PORT" or "CID:PORT" */
static int listen_vsock(struct kint_listener *l, const char *text)
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
	if (bind(l->fd, (struct sockaddr *)&svm, sizeof(svm)) || listen(l->fd, BACKLOG))
		return -errno;
	return 0;
}

int kint_listen_with(const char *address, const struct kint_listen_options *opts,
		     struct kint_listener **listener)
{
	bool local = !strncmp(address, "unix:", 5);
	struct kint_listener *l;
	int err;

	if (!local && strncmp(address, "vsock:", 6))
		return -EINVAL;
	if (opts && opts->mode & ~0777)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->local = local;
	l->peer_cid = opts ? opts->peer_cid : 0;
	l->fd = socket(local ? AF_UNIX : AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0) {
		err = -errno;
		free(l);
		return err;
	}
	err = local ? listen_unix(l, address + 5, opts) : listen_vsock(l, address + 6);
	if (err) {
		kint_listener_free(l);
		return err;
	}
	*listener = l;
	return 0;
}

int kint_listen(const char *address, struct kint_listener **listener)
{
	return kint_listen_with(address, NULL, listener);
}

int kint_listener_fd(const struct kint_listener *listener)
{
	return listener->fd;
}

void kint_listener_free(struct kint_listener *listener)
{
	struct stat st;
	int lock;

	if (!listener)
		return;
	if (listener->path && listener->pid == getpid()) {
		lock = lock_directory(listener->path);
		/* It may have been removed, and be another's now */
		if (!lstat(listener->path, &st) && st.st_dev == listener->dev &&
		    st.st_ino == listener->ino)
			unlink(listener->path);
		unlock_directory(lock);
	}
	close(listener->fd);
	free(listener->path);
	free(listener);
}

/*
 * On vsock, every guest of the host can connect that has such a device.  The device
 * manager is no guest: it is on the host, or on this very machine.
 */
static bool may_connect(const struct kint_listener *l, const struct sockaddr_vm *peer)
{
	if (l->local || l->peer_cid == VMADDR_CID_ANY)
		return true;
	if (l->peer_cid)
		return peer->svm_cid == l->peer_cid;
	return peer->svm_cid == VMADDR_CID_HOST || peer->svm_cid == VMADDR_CID_LOCAL;
}

int kint_accept(struct kint_listener *listener, const struct kint_options *opts,
		int wait_ms, struct kint_conn **conn)
{
	int64_t deadline = kint_deadline(wait_ms);
	struct sockaddr_vm peer;
	bool refused = false;
	socklen_t size;
	int fd, ret;

	for (;;) {
		/* Others may connect and leave for ever */
		if (refused && deadline >= 0 && kint_now_ms() > deadline)
			return -EAGAIN;
		if (kint_wait_fd(-1, 0, kint_now_ms(), opts ? opts->interrupt_fd : -1) == -EINTR)
			return -EINTR;
		size = sizeof(peer);
		fd = accept4(listener->fd, listener->local ? NULL : (struct sockaddr *)&peer,
			     listener->local ? NULL : &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
		refused = fd >= 0;
		if (fd >= 0 && !may_connect(listener, &peer)) {
			close(fd);
			continue;
		}
		if (fd >= 0) {
			ret = kint_open(fd, opts, conn);
			/* Somebody who looked whether we are there, and left */
			if (ret == -EPIPE)
				continue;
			return ret;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
		ret = kint_wait_fd(listener->fd, POLLIN, deadline, opts ? opts->interrupt_fd : -1);
		if (ret == -ETIMEDOUT)
			return -EAGAIN;
		if (ret < 0)
			return ret;
	}
}
