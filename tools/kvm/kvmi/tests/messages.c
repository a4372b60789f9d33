// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replies to commands, and what can be wrong with them
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "test.h"

static int32_t reply_err;
static size_t reply_bytes;

static void peer_answers(int fd)
{
	unsigned char data[600] = { 3 };
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg))
		peer_reply(fd, &msg, reply_err, data, reply_bytes);
}

static bool body_errors(struct kint_conn *conn)
{
	struct kvmi_vm_get_info_reply info;

	reply_bytes = 0;
	reply_err = -EINVAL;
	CHECK((last = kint_get_info(conn, &info)) == -EINVAL);
	reply_err = -ENOENT;
	CHECK((last = kint_check_event(conn, 99)) == -ENOENT);
	reply_err = -1000;
	CHECK((last = kint_get_info(conn, &info)) == -ENOSYS);
	reply_err = -EBUSY;
	CHECK((last = kint_pause_vcpu(conn, 0, false)) == -EBUSY);
	reply_err = 0;
	reply_bytes = sizeof(info);
	CHECK(!(last = kint_get_info(conn, &info)) && info.vcpu_count == 3);
	reply_bytes = sizeof(info) + 100;
	CHECK(!(last = kint_get_info(conn, &info)) && info.vcpu_count == 3);
	return true;
}

static bool body_short(struct kint_conn *conn)
{
	struct kvmi_vm_get_info_reply info;

	reply_err = 0;
	reply_bytes = sizeof(info) - 1;
	CHECK((last = kint_get_info(conn, &info)) == -EPROTO);
	CHECK((last = kint_get_info(conn, &info)) == -EPROTO);
	return true;
}

static bool body_positive(struct kint_conn *conn)
{
	reply_err = 5;
	reply_bytes = 0;
	CHECK((last = kint_check_event(conn, 1)) == -EPROTO);
	return true;
}

static void peer_no_error_code(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg))
		peer_send(fd, msg.hdr.id, msg.hdr.seq, "abc", 3);
	linger(fd);
}

static void peer_wrong_seq(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg)) {
		msg.hdr.seq += 7;
		peer_reply(fd, &msg, 0, NULL, 0);
	}
	linger(fd);
}

static void peer_wrong_id(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg)) {
		msg.hdr.id += 2;
		peer_reply(fd, &msg, 0, NULL, 0);
	}
	linger(fd);
}

static void peer_oversize(int fd)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_VM_CHECK_EVENT, .size = 8185 };
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg)) {
		hdr.seq = msg.hdr.seq;
		peer_write(fd, &hdr, sizeof(hdr));
	}
	linger(fd);
}

static void peer_closes(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg))
		peer_receive(fd, &msg);
}

static void peer_half_header(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg))
		peer_write(fd, "abc", 3);
}

static bool body_proto(struct kint_conn *conn)
{
	CHECK((last = kint_check_event(conn, 1)) == -EPROTO);
	return true;
}

static bool body_pipe(struct kint_conn *conn)
{
	struct kint_event event;

	CHECK((last = kint_check_event(conn, 1)) == -EPIPE);
	CHECK((last = kint_check_event(conn, 1)) == -EPIPE);
	CHECK((last = kint_next_event(conn, &event, -1)) == -EPIPE);
	return true;
}

/* The reply comes after the time limit, then the next command is answered */
static void peer_late(int fd)
{
	struct peer_msg first, second;

	if (!version_first(fd, &first) || !peer_receive(fd, &first) || !peer_receive(fd, &second))
		return;
	peer_reply(fd, &first, -EINVAL, NULL, 0);
	peer_reply(fd, &second, -ENOENT, NULL, 0);
	linger(fd);
}

static bool body_late(struct kint_conn *conn)
{
	kint_set_timeout(conn, 100);
	CHECK((last = kint_check_event(conn, 1)) == -ETIMEDOUT);
	kint_set_timeout(conn, TEST_TIMEOUT_MS);
	CHECK((last = kint_check_event(conn, 3)) == -ENOENT);
	return true;
}

static void peer_mute(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg))
		linger(fd);
}

static bool body_interrupt(struct kint_conn *conn)
{
	struct kint_event event;
	int fds[2];

	if (pipe(fds) || write(fds[1], "x", 1) != 1)
		return false;
	kint_set_timeout(conn, -1);
	kint_set_interrupt_fd(conn, fds[0]);
	CHECK((last = kint_check_event(conn, 1)) == -EINTR);
	CHECK((last = kint_next_event(conn, &event, -1)) == -EINTR);
	close(fds[0]);
	close(fds[1]);
	return true;
}

/* One byte at a time */
static void peer_drips(int fd)
{
	struct { struct kvmi_msg_hdr hdr; struct kvmi_error_code ec; } m = { 0 };
	struct peer_msg msg;
	size_t i;

	if (!version_first(fd, &msg) || !peer_receive(fd, &msg))
		return;
	m.hdr = msg.hdr;
	m.hdr.size = sizeof(m.ec);
	m.ec.err = -EBUSY;
	for (i = 0; i < sizeof(m); i++) {
		peer_write(fd, (char *)&m + i, 1);
		usleep(1000);
	}
	linger(fd);
}

static bool body_drips(struct kint_conn *conn)
{
	CHECK((last = kint_check_event(conn, 1)) == -EBUSY);
	return true;
}

/* Refused at first, as between HOOK and COMMAND; then for good */
static int eperms;

static void peer_grace(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg))
		peer_reply(fd, &msg, eperms-- > 0 ? -EPERM : 0, NULL, 0);
}

static bool body_grace(struct kint_conn *conn)
{
	eperms = 5;
	CHECK(!(last = kint_check_event(conn, 1)));
	eperms = 1 << 30;
	CHECK((last = kint_check_event(conn, 1)) == -EPERM);
	return true;
}

void message_tests(void)
{
	result("errors of commands, longer replies", adopt_with(peer_answers, body_errors));
	result("reply too short", adopt_with(peer_answers, body_short));
	result("positive error code", adopt_with(peer_answers, body_positive));
	result("reply without error code", adopt_with(peer_no_error_code, body_proto));
	result("reply with a wrong sequence number", adopt_with(peer_wrong_seq, body_proto));
	result("reply with a wrong id", adopt_with(peer_wrong_id, body_proto));
	result("message over the size limit", adopt_with(peer_oversize, body_proto));
	result("connection closed during a command", adopt_with(peer_closes, body_pipe));
	result("connection closed within a header", adopt_with(peer_half_header, body_pipe));
	result("late reply is dropped", adopt_with(peer_late, body_late));
	result("interrupted waits", adopt_with(peer_mute, body_interrupt));
	result("reply byte by byte", adopt_with(peer_drips, body_drips));
	result("refused in the first milliseconds, and for good",
	       adopt_with(peer_grace, body_grace));
}
