// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The handshake between device manager and tool, before the socket is passed to
 * KVM: the device manager introduces the VM, the tool shows that it knows the
 * secret.  Both structures start with their size and may grow.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include "internal.h"

struct to_tool {
	uint32_t struct_size;
	uint8_t uuid[16];
	uint32_t padding;
	int64_t start_time;
	char name[64];
	uint64_t max_gpa;
	uint64_t tool_gpa;
	uint64_t tool_size;
};

struct from_tool {
	uint32_t struct_size;
	uint8_t cookie_hash[20];
};

static_assert(sizeof(struct to_tool) == 120, "wire");
static_assert(sizeof(struct from_tool) == 24, "wire");

/* Up to start_time it has always been there */
#define TO_TOOL_MIN offsetof(struct to_tool, name)
#define TO_TOOL_MAX 65536

static int read_all(int fd, void *buf, size_t size, int64_t deadline, int interrupt_fd)
{
	size_t done = 0;
	ssize_t n;
	int ret;

	while (done < size) {
		n = recv(fd, (char *)buf + done, size - done, MSG_DONTWAIT);
		if (n > 0) {
			done += n;
			continue;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		ret = kint_wait_fd(fd, POLLIN, deadline, interrupt_fd);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int kint_handshake(int fd, const struct kint_options *opts, int timeout_ms,
		   struct kint_peer *peer)
{
	int64_t deadline = kint_deadline(timeout_ms);
	int interrupt_fd = opts ? opts->interrupt_fd : -1;
	struct from_tool answer = { .struct_size = sizeof(answer) };
	struct to_tool intro = { 0 };
	unsigned char surplus[256];
	size_t size, left, part;
	ssize_t n;
	int err;

	err = read_all(fd, &intro.struct_size, sizeof(intro.struct_size), deadline, interrupt_fd);
	if (err)
		return err;
	if (intro.struct_size < TO_TOOL_MIN || intro.struct_size > TO_TOOL_MAX)
		return -EPROTO;
	size = intro.struct_size < sizeof(intro) ? intro.struct_size : sizeof(intro);
	err = read_all(fd, (char *)&intro + sizeof(intro.struct_size),
		       size - sizeof(intro.struct_size), deadline, interrupt_fd);
	for (left = intro.struct_size - size; !err && left; left -= part) {
		part = left < sizeof(surplus) ? left : sizeof(surplus);
		err = read_all(fd, surplus, part, deadline, interrupt_fd);
	}
	if (err)
		return err;

	memcpy(peer->uuid, intro.uuid, sizeof(peer->uuid));
	memcpy(peer->name, intro.name, sizeof(intro.name));
	peer->start_time = intro.start_time;
	peer->max_gpa = intro.max_gpa;
	kint_pages_told(peer, intro.tool_gpa, intro.tool_size);

	if (opts && opts->cookie)
		kint_sha1(opts->cookie, opts->cookie_size, answer.cookie_hash);
	if (opts && opts->handshake &&
	    opts->handshake(peer, answer.cookie_hash, opts->handshake_arg))
		return -ECANCELED;
	/* 24 bytes always fit into the empty buffer of a new socket */
	n = send(fd, &answer, sizeof(answer), MSG_NOSIGNAL);
	return n == sizeof(answer) ? 0 : -EPIPE;
}
