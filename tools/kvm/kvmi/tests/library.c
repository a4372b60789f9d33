// SPDX-License-Identifier: GPL-2.0-only
/*
 * libkvmi against a scripted peer on the other end of a socket pair: what it
 * makes of good answers, and of everything that can be wrong with them.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <kvmi/libkvmi.h>
#include "peer.h"
#include "../lib/internal.h"

static int failures, number;

static void result(const char *name, bool ok)
{
	printf("%sok %d %s\n", ok ? "" : "not ", ++number, name);
	failures += !ok;
}

#define CHECK(cond) do {							\
	if (!(cond)) {								\
		printf("# line %d: %s (errno of the last call: %d)\n",		\
		       __LINE__, #cond, last);					\
		return false;							\
	}									\
} while (0)

static int last;

struct script {
	void (*peer)(int fd);
	int fd;
};

static void *run_peer(void *arg)
{
	struct script *script = arg;

	script->peer(script->fd);
	close(script->fd);
	return NULL;
}

static void start(struct script *script, pthread_t *thread, void (*peer)(int fd), int *fd)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		abort();
	script->peer = peer;
	script->fd = sv[1];
	*fd = sv[0];
	if (pthread_create(thread, NULL, run_peer, script))
		abort();
}

/* A session after GET_VERSION, the rest as @peer plays it */
static bool adopt_with(void (*peer)(int fd), bool (*body)(struct kvmi_conn *conn))
{
	struct kvmi_options opts = { .timeout_ms = 300 };
	struct kvmi_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	bool ok = false;
	int fd;

	start(&script, &thread, peer, &fd);
	last = kvmi_adopt(fd, &opts, &conn);
	if (!last)
		ok = body(conn);
	else
		printf("# kvmi_adopt: %d\n", last);
	kvmi_close(conn);
	pthread_join(thread, NULL);
	return ok;
}

static bool version_first(int fd, struct peer_msg *msg)
{
	return peer_receive(fd, msg) && peer_version(fd, msg);
}

/* Stay until the other side leaves */
static void linger(int fd)
{
	struct peer_msg msg;

	while (peer_receive(fd, &msg))
		;
}

/* ---- SHA-1 ---- */
static bool sha1_is(const char *text, size_t repeat, const char *hex)
{
	size_t len = strlen(text), i;
	char *data = malloc(len * repeat + 1), out[41];
	uint8_t digest[20];

	for (i = 0; i < repeat; i++)
		memcpy(data + i * len, text, len);
	kvmi_sha1(data, len * repeat, digest);
	free(data);
	for (i = 0; i < 20; i++)
		sprintf(out + 2 * i, "%02x", digest[i]);
	return !strcmp(out, hex);
}

static bool test_sha1(void)
{
	return sha1_is("", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709") &&
	       sha1_is("abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d") &&
	       sha1_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
		       "84983e441c3bd26ebaae4aa1f95129e5e54670f1") &&
	       sha1_is("a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

/* ---- Handshake ---- */
static uint8_t cookie_seen[20];

static void peer_good(int fd)
{
	struct peer_msg msg;

	if (peer_handshake(fd, "guest", 0x8000000, cookie_seen) && version_first(fd, &msg))
		linger(fd);
}

static void peer_long_intro(int fd)
{
	struct { struct intro i; char more[1000]; } intro = {
		.i = { .struct_size = sizeof(intro), .name = "long" },
	};
	struct peer_msg msg;
	char answer[24];

	if (peer_write(fd, &intro, sizeof(intro)) && peer_read(fd, answer, 24) &&
	    version_first(fd, &msg))
		linger(fd);
}

static void peer_short_intro(int fd)
{
	struct intro intro = { .struct_size = 32, .start_time = 9 };
	struct peer_msg msg;
	char answer[24];

	if (peer_write(fd, &intro, 32) && peer_read(fd, answer, 24) && version_first(fd, &msg))
		linger(fd);
}

static void peer_tiny_intro(int fd)
{
	struct intro intro = { .struct_size = 31 };

	peer_write(fd, &intro, sizeof(intro));
	linger(fd);
}

static void peer_huge_intro(int fd)
{
	struct intro intro = { .struct_size = 65537 };

	peer_write(fd, &intro, sizeof(intro));
	linger(fd);
}

static void peer_half_intro(int fd)
{
	struct intro intro = { .struct_size = sizeof(intro) };

	peer_write(fd, &intro, 50);
}

static void peer_silent(int fd)
{
	linger(fd);
}

static void peer_wrong_cookie(int fd)
{
	peer_handshake(fd, "guest", 0, cookie_seen);
}

static void peer_other_version(int fd)
{
	struct kvmi_get_version_reply reply = { .version = 2 };
	struct peer_msg msg;

	if (peer_handshake(fd, "guest", 0, cookie_seen) && peer_receive(fd, &msg) &&
	    peer_reply(fd, &msg, 0, &reply, sizeof(reply)))
		linger(fd);
}

static int open_with(void (*peer)(int fd), struct kvmi_conn **conn, const char *cookie,
		     pthread_t *thread)
{
	static struct script script;
	struct kvmi_options opts = { .timeout_ms = 200 };
	int fd;

	if (cookie) {
		opts.cookie = cookie;
		opts.cookie_size = strlen(cookie);
	}
	*conn = NULL;
	start(&script, thread, peer, &fd);
	return kvmi_open(fd, &opts, conn);
}

static int open_fails_with(void (*peer)(int fd))
{
	struct kvmi_conn *conn;
	pthread_t thread;
	int err = open_with(peer, &conn, NULL, &thread);

	kvmi_close(conn);
	pthread_join(thread, NULL);
	return err;
}

static bool test_handshake(void)
{
	uint8_t digest[20], none[20] = { 0 };
	struct kvmi_conn *conn;
	pthread_t thread;

	last = open_with(peer_good, &conn, "open sesame", &thread);
	CHECK(!last);
	CHECK(!strcmp(kvmi_peer_info(conn)->name, "guest"));
	CHECK(kvmi_peer_info(conn)->max_gpa == 0x8000000);
	CHECK(kvmi_peer_info(conn)->start_time == 1000);
	CHECK(kvmi_peer_info(conn)->uuid[15] == 0x5a);
	CHECK(kvmi_version(conn)->max_msg_size == 8184);
	kvmi_close(conn);
	pthread_join(thread, NULL);
	kvmi_sha1("open sesame", 11, digest);
	CHECK(!memcmp(digest, cookie_seen, 20));

	last = open_with(peer_good, &conn, NULL, &thread);
	CHECK(!last && !memcmp(cookie_seen, none, 20));
	kvmi_close(conn);
	pthread_join(thread, NULL);

	last = open_with(peer_long_intro, &conn, NULL, &thread);
	CHECK(!last && !strcmp(kvmi_peer_info(conn)->name, "long"));
	kvmi_close(conn);
	pthread_join(thread, NULL);

	last = open_with(peer_short_intro, &conn, NULL, &thread);
	CHECK(!last && kvmi_peer_info(conn)->start_time == 9 && !*kvmi_peer_info(conn)->name);
	CHECK(!kvmi_peer_info(conn)->max_gpa);
	kvmi_close(conn);
	pthread_join(thread, NULL);
	return true;
}

static bool test_bad_handshake(void)
{
	CHECK((last = open_fails_with(peer_tiny_intro)) == -EPROTO);
	CHECK((last = open_fails_with(peer_huge_intro)) == -EPROTO);
	CHECK((last = open_fails_with(peer_half_intro)) == -EPIPE);
	CHECK((last = open_fails_with(peer_silent)) == -ETIMEDOUT);
	CHECK((last = open_fails_with(peer_wrong_cookie)) == -EACCES);
	CHECK((last = open_fails_with(peer_other_version)) == -EPROTO);
	return true;
}

/* ---- Replies ---- */
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

static bool body_errors(struct kvmi_conn *conn)
{
	struct kvmi_vm_get_info_reply info;

	reply_bytes = 0;
	reply_err = -EINVAL;
	CHECK((last = kvmi_get_info(conn, &info)) == -EINVAL);
	reply_err = -ENOENT;
	CHECK((last = kvmi_check_event(conn, 99)) == -ENOENT);
	reply_err = -1000;
	CHECK((last = kvmi_get_info(conn, &info)) == -ENOSYS);
	reply_err = -EBUSY;
	CHECK((last = kvmi_pause_vcpu(conn, 0, false)) == -EBUSY);
	reply_err = 0;
	reply_bytes = sizeof(info);
	CHECK(!(last = kvmi_get_info(conn, &info)) && info.vcpu_count == 3);
	reply_bytes = sizeof(info) + 100;
	CHECK(!(last = kvmi_get_info(conn, &info)) && info.vcpu_count == 3);
	return true;
}

static bool body_short(struct kvmi_conn *conn)
{
	struct kvmi_vm_get_info_reply info;

	reply_err = 0;
	reply_bytes = sizeof(info) - 1;
	CHECK((last = kvmi_get_info(conn, &info)) == -EPROTO);
	CHECK((last = kvmi_get_info(conn, &info)) == -EPROTO);
	return true;
}

static bool body_positive(struct kvmi_conn *conn)
{
	reply_err = 5;
	reply_bytes = 0;
	CHECK((last = kvmi_check_event(conn, 1)) == -EPROTO);
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

static bool body_proto(struct kvmi_conn *conn)
{
	CHECK((last = kvmi_check_event(conn, 1)) == -EPROTO);
	return true;
}

static bool body_pipe(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK((last = kvmi_check_event(conn, 1)) == -EPIPE);
	CHECK((last = kvmi_check_event(conn, 1)) == -EPIPE);
	CHECK((last = kvmi_next_event(conn, &event, -1)) == -EPIPE);
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

static bool body_late(struct kvmi_conn *conn)
{
	CHECK((last = kvmi_check_event(conn, 1)) == -ETIMEDOUT);
	CHECK((last = kvmi_check_event(conn, 3)) == -ENOENT);
	return true;
}

static void peer_mute(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg))
		linger(fd);
}

static bool body_interrupt(struct kvmi_conn *conn)
{
	struct kvmi_event event;
	int fds[2];

	if (pipe(fds) || write(fds[1], "x", 1) != 1)
		return false;
	kvmi_set_timeout(conn, -1);
	kvmi_set_interrupt_fd(conn, fds[0]);
	CHECK((last = kvmi_check_event(conn, 1)) == -EINTR);
	CHECK((last = kvmi_next_event(conn, &event, -1)) == -EINTR);
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

static bool body_drips(struct kvmi_conn *conn)
{
	CHECK((last = kvmi_check_event(conn, 1)) == -EBUSY);
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

static bool body_grace(struct kvmi_conn *conn)
{
	eperms = 5;
	CHECK(!(last = kvmi_check_event(conn, 1)));
	eperms = 1 << 30;
	CHECK((last = kvmi_check_event(conn, 1)) == -EPERM);
	return true;
}

/* ---- Events ---- */
static struct peer_msg event_reply;
static const struct kvmi_vcpu_event_msr msr_data = {
	.msr = 0xc0000082, .old_value = 1, .new_value = 2,
};
static const struct kvmi_vcpu_event_cr cr_data = { .cr = 4, .old_value = 0x20, .new_value = 0xa0 };

/* An event before the reply to the command, another after it */
static void peer_events(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg) || !peer_receive(fd, &msg))
		return;
	peer_vcpu_event(fd, 41, 1, KVMI_VCPU_EVENT_MSR, &msr_data, sizeof(msr_data));
	peer_reply(fd, &msg, -EINVAL, NULL, 0);
	peer_vcpu_event(fd, 42, 0, KVMI_VCPU_EVENT_CR, &cr_data, sizeof(cr_data));
	peer_receive(fd, &event_reply);
	linger(fd);
}

static int count_events(struct kvmi_conn *conn, const struct kvmi_event *event, void *arg)
{
	int *count = arg;

	(void)conn;
	*count += event->seq == 41 || event->seq == 42;
	return 0;
}

static bool reply_is(const struct peer_msg *msg, uint32_t seq, uint16_t vcpu, uint8_t action,
		     uint8_t event, uint64_t value)
{
	const struct kvmi_vcpu_hdr *hdr = (const void *)msg->data;
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(msg->data + 8);

	return msg->hdr.id == KVMI_VCPU_EVENT && msg->hdr.seq == seq && msg->hdr.size == 24 &&
	       hdr->vcpu == vcpu && !hdr->padding1 && !hdr->padding2 && rpl->action == action &&
	       rpl->event == event && !rpl->padding1 && !rpl->padding2 &&
	       !memcmp(msg->data + 16, &value, 8);
}

static bool body_events(struct kvmi_conn *conn)
{
	struct pollfd pfd = { .fd = kvmi_fd(conn), .events = POLLIN };
	struct kvmi_event event;

	CHECK(poll(&pfd, 1, 0) == 0);
	CHECK((last = kvmi_check_event(conn, 1)) == -EINVAL);
	CHECK(poll(&pfd, 1, 0) == 1);
	CHECK(!(last = kvmi_next_event(conn, &event, 0)));
	CHECK(event.is_vcpu && event.id == KVMI_VCPU_EVENT_MSR && event.common.vcpu == 1);
	CHECK(event.msr.msr == 0xc0000082 && event.msr.old_value == 1 && event.msr.new_value == 2);
	CHECK(event.common.cookie == 77 && event.common.arch.regs.rip == 0xffffffff81000123);
	CHECK((last = kvmi_reply(conn, &event, 9)) == -EINVAL);
	CHECK(!(last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)));
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)) == -EINVAL);
	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(event.id == KVMI_VCPU_EVENT_CR && event.cr.cr == 4 && event.cr.new_value == 0xa0);
	CHECK(poll(&pfd, 1, 0) == 0);
	CHECK((last = kvmi_next_event(conn, &event, 0)) == -EAGAIN);
	return true;
}

static bool body_dispatch(struct kvmi_conn *conn)
{
	struct pollfd pfd = { .fd = kvmi_fd(conn), .events = POLLIN };
	int count = 0;

	CHECK((last = kvmi_check_event(conn, 1)) == -EINVAL);
	while (count < 2 && poll(&pfd, 1, 1000) == 1)
		CHECK(!(last = kvmi_dispatch(conn, count_events, &count)));
	CHECK(count == 2);
	return true;
}

static void peer_one_event(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 50, 2, KVMI_VCPU_EVENT_CR, &cr_data, sizeof(cr_data));
	peer_receive(fd, &event_reply);
	linger(fd);
}

static bool body_value(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(!(last = kvmi_reply_value(conn, &event, 0x1234)));
	return true;
}

static bool body_retry(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(!(last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_RETRY)));
	return true;
}

static void peer_vm_events(int fd)
{
	struct kvmi_event_hdr hdr = { .event = KVMI_VM_EVENT_UNHOOK };
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_vcpu_event(fd, 60, 0, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	peer_send(fd, KVMI_VM_EVENT, 61, &hdr, sizeof(hdr));
	linger(fd);
}

static bool body_vm_events(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(event.is_vcpu && event.id == KVMI_VCPU_EVENT_PAUSE);
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_SKIP)) == -EINVAL);
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_RETRY)) == -EINVAL);
	CHECK((last = kvmi_reply_value(conn, &event, 0)) == -EINVAL);
	CHECK(!(last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)));
	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(!event.is_vcpu && event.id == KVMI_VM_EVENT_UNHOOK);
	CHECK((last = kvmi_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)) == -EINVAL);
	return true;
}

/* Events with something wrong: each ends the connection */
static size_t event_cut;
static uint16_t common_size;

static void peer_bad_event(int fd)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		struct kvmi_vcpu_event_msr msr;
	} ev = { .hdr = { .event = KVMI_VCPU_EVENT_MSR }, .common = { .size = common_size } };
	struct peer_msg msg;

	if (version_first(fd, &msg))
		peer_send(fd, KVMI_VCPU_EVENT, 1, &ev, event_cut);
	linger(fd);
}

static bool body_bad_event(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK((last = kvmi_next_event(conn, &event, 1000)) == -EPROTO);
	return true;
}

static bool test_bad_events(void)
{
	static const struct { size_t cut; uint16_t size; } cases[] = {
		{ 0, 544 }, { 7, 544 }, { 8, 544 }, { 551, 544 }, { 575, 544 },
		{ 576, 543 }, { 576, 0 }, { 576, 560 }, { 576, 569 }, { 576, 65535 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		event_cut = cases[i].cut;
		common_size = cases[i].size;
		if (!adopt_with(peer_bad_event, body_bad_event)) {
			printf("# case %u\n", i);
			return false;
		}
	}
	return true;
}

static void peer_longer_common(int fd)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		uint64_t newer;
		struct kvmi_vcpu_event_msr msr;
	} ev = {
		.hdr = { .event = KVMI_VCPU_EVENT_MSR },
		.common = { .size = sizeof(ev.common) + 8 }, .newer = 99, .msr = msr_data,
	};
	struct peer_msg msg;

	if (version_first(fd, &msg))
		peer_send(fd, KVMI_VCPU_EVENT, 1, &ev, sizeof(ev));
	linger(fd);
}

static bool body_longer_common(struct kvmi_conn *conn)
{
	struct kvmi_event event;

	CHECK(!(last = kvmi_next_event(conn, &event, 1000)));
	CHECK(event.msr.msr == 0xc0000082 && event.msr.new_value == 2);
	return true;
}

static void peer_flood(int fd)
{
	struct peer_msg msg;
	uint32_t seq = 0;

	if (version_first(fd, &msg))
		while (peer_vcpu_event(fd, ++seq, 0, KVMI_VCPU_EVENT_PAUSE, NULL, 0))
			;
}

static bool body_flood(struct kvmi_conn *conn)
{
	kvmi_set_timeout(conn, 30000);
	CHECK((last = kvmi_check_event(conn, 1)) == -ENOBUFS);
	return true;
}

/* ---- Memory ---- */
static unsigned char memory[5 * 4096];
static uint32_t layout = 5;
static unsigned int commands_seen;

static void peer_memory(int fd)
{
	struct kvmi_vm_read_physical req;
	struct { struct kvmi_mem_cookie c; unsigned char data[KVMI_MAX_COOKIE_READ]; } out;
	struct peer_msg msg;
	const unsigned char *data;
	bool ok;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		commands_seen++;
		memcpy(&req, msg.data, sizeof(req));
		data = msg.data + sizeof(req);
		ok = req.size && (req.flags || req.gpa % 4096 + req.size <= 4096);
		memset(&out, 0, sizeof(out));
		if (!ok) {
			peer_reply(fd, &msg, -EINVAL, NULL, 0);
		} else if (req.gpa + req.size > sizeof(memory)) {
			peer_reply(fd, &msg, -ENOENT, NULL, 0);
		} else if (msg.hdr.id == KVMI_VM_READ_PHYSICAL) {
			out.c.cookie = layout;
			memcpy(out.data, memory + req.gpa, req.size);
			if (req.flags)
				peer_reply(fd, &msg, 0, &out, 8 + req.size);
			else
				peer_reply(fd, &msg, 0, out.data, req.size);
		} else {
			if (req.flags) {
				memcpy(&out.c, data, 8);
				data += 8;
			}
			ok = msg.hdr.size == data - msg.data + req.size;
			if (req.flags && out.c.cookie != layout) {
				peer_reply(fd, &msg, -EAGAIN, NULL, 0);
				continue;
			}
			memcpy(memory + req.gpa, data, req.size);
			peer_reply(fd, &msg, ok ? 0 : -EINVAL, NULL, 0);
		}
	}
}

static bool body_memory(struct kvmi_conn *conn)
{
	static unsigned char buf[sizeof(memory)], new[sizeof(memory)];
	uint32_t cookie = 0;
	size_t i;

	for (i = 0; i < sizeof(memory); i++) {
		memory[i] = i * 7 + i / 256;
		new[i] = ~memory[i];
	}
	commands_seen = 0;
	CHECK(!(last = kvmi_read_physical(conn, 4000, buf, 10000)));
	CHECK(!memcmp(buf, memory + 4000, 10000) && commands_seen == 4);
	CHECK((last = kvmi_read_physical(conn, sizeof(memory) - 8, buf, 16)) == -ENOENT);
	CHECK(!(last = kvmi_write_physical(conn, 4090, new + 4090, 9000)));
	CHECK(!memcmp(memory + 4090, new + 4090, 9000) && memory[4089] != new[4089]);
	commands_seen = 0;
	CHECK(!(last = kvmi_read_physical_cookie(conn, 0, 0, buf, sizeof(buf), &cookie)));
	CHECK(!memcmp(buf, memory, sizeof(buf)) && cookie == 5 && commands_seen == 3);
	CHECK(!(last = kvmi_write_physical_cookie(conn, 0, 1, new + 1, sizeof(new) - 1, 5)));
	CHECK(!memcmp(memory + 1, new + 1, sizeof(new) - 1));
	CHECK((last = kvmi_write_physical_cookie(conn, 0, 0, buf, 4, 4)) == -EAGAIN);
	CHECK(!(last = kvmi_read_physical(conn, 0, buf, 0)));
	return true;
}

static void peer_short_memory(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg))
		peer_reply(fd, &msg, 0, "1234567", 7);
	linger(fd);
}

static bool body_short_memory(struct kvmi_conn *conn)
{
	char buf[8];

	CHECK((last = kvmi_read_physical(conn, 0, buf, 8)) == -EPROTO);
	return true;
}

/* ---- Registers ---- */
static unsigned int regs_told;

static void peer_registers(int fd)
{
	struct {
		struct kvmi_vcpu_get_registers_reply r;
		struct kvm_msr_entry e[2];
	} out = {
		.e = { { .index = 0x174, .data = 16 }, { .index = 0xc0000082, .data = 0xabc } },
	};
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	out.r.mode = 8;
	out.r.regs.rip = 0x1000;
	out.r.sregs.cr4 = 0x20;
	out.r.msrs.nmsrs = regs_told;
	while (peer_receive(fd, &msg))
		peer_reply(fd, &msg, 0, &out, sizeof(out));
}

static const uint32_t two_msrs[] = { 0x174, 0xc0000082 };

static bool body_registers(struct kvmi_conn *conn)
{
	struct kvmi_registers regs;
	static uint32_t many[500];
	static uint64_t values[500];

	CHECK(!(last = kvmi_get_registers(conn, 0, &regs, two_msrs, values, 2)));
	CHECK(regs.mode == 8 && regs.regs.rip == 0x1000 && regs.sregs.cr4 == 0x20);
	CHECK(values[0] == 16 && values[1] == 0xabc);
	CHECK((last = kvmi_get_registers(conn, 0, &regs, many, values, 482)) == -EINVAL);
	CHECK(!(last = kvmi_set_registers(conn, 0, &regs.regs)));
	return true;
}

static bool body_bad_registers(struct kvmi_conn *conn)
{
	struct kvmi_registers regs;
	uint64_t values[2];

	CHECK((last = kvmi_get_registers(conn, 0, &regs, two_msrs, values, 2)) == -EPROTO);
	return true;
}

/* ---- Detach ---- */
static unsigned int on_count, off_count, allowed;
static bool mute;

static void peer_detach(int fd)
{
	const struct kvmi_vcpu_control_msr *msr;
	const struct kvmi_vcpu_event_reply *rpl;
	struct peer_msg msg;
	uint32_t seq = 100;
	bool enable;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_EVENT) {
			rpl = (const void *)(msg.data + 8);
			allowed += rpl->action == KVMI_EVENT_ACTION_ALLOW;
			continue;
		}
		if (msg.hdr.id == KVMI_VCPU_CONTROL_MSR) {
			msr = (const void *)(msg.data + 8);
			enable = msr->enable;
		} else if (msg.hdr.id == KVMI_VM_CONTROL_EVENTS) {
			enable = msg.data[2];
		} else if (msg.hdr.id == KVMI_VCPU_CONTROL_EVENTS) {
			enable = msg.data[10];
		} else {
			enable = msg.data[9];
		}
		*(enable ? &on_count : &off_count) += 1;
		/* An event that comes while things are being turned off */
		if (!enable && off_count <= 2)
			peer_vcpu_event(fd, seq++, off_count - 1, KVMI_VCPU_EVENT_MSR, &msr_data,
					sizeof(msr_data));
		if (enable || !mute)
			peer_reply(fd, &msg, 0, NULL, 0);
	}
}

static bool test_detach(bool silent)
{
	struct kvmi_options opts = { .timeout_ms = 300 };
	int64_t start_ms = kvmi_now_ms();
	struct kvmi_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	int fd;

	on_count = off_count = allowed = 0;
	mute = silent;
	start(&script, &thread, peer_detach, &fd);
	CHECK(!(last = kvmi_adopt(fd, &opts, &conn)));
	CHECK(!(last = kvmi_control_vm_events(conn, KVMI_VM_EVENT_UNHOOK, true)));
	CHECK(!(last = kvmi_control_events(conn, 0, KVMI_VCPU_EVENT_MSR, true)));
	CHECK(!(last = kvmi_control_msr(conn, 0, 0xc0000082, true)));
	CHECK(!(last = kvmi_control_msr(conn, 1, 0xc0000082, true)));
	CHECK(!(last = kvmi_control_cr(conn, 0, 4, true)));
	CHECK(!(last = kvmi_control_cr(conn, 0, 4, true)));
	CHECK(!(last = kvmi_control_cr(conn, 1, 0, true)));
	last = kvmi_detach(conn);
	pthread_join(thread, NULL);
	CHECK(on_count == 7);
	if (silent) {
		CHECK(last == -ETIMEDOUT);
		CHECK(kvmi_now_ms() - start_ms < 3000);
	} else {
		CHECK(!last);
		CHECK(off_count == 6);
	}
	CHECK(allowed == 2);
	return true;
}

/* ---- Listening ---- */
static bool test_listen(void)
{
	struct kvmi_listener *one, *two;
	struct kvmi_options opts = { .timeout_ms = 100 };
	struct kvmi_conn *conn;
	char path[64], addr[80];

	snprintf(path, sizeof(path), "/tmp/kvmi-test-%d", getpid());
	snprintf(addr, sizeof(addr), "unix:%s", path);
	CHECK((last = kvmi_listen("tcp:1", &one)) == -EINVAL);
	CHECK((last = kvmi_listen("unix:", &one)) == -EINVAL);
	CHECK((last = kvmi_listen("unix:/nowhere/at/all", &one)) == -ENOENT);
	last = kvmi_listen("vsock:abc", &one);
	CHECK(last == -EINVAL || last == -EAFNOSUPPORT);
	CHECK(!(last = kvmi_listen(addr, &one)));
	CHECK((last = kvmi_listen(addr, &two)) == -EADDRINUSE);
	CHECK((last = kvmi_accept(one, &opts, 10, &conn)) == -EAGAIN);
	kvmi_listener_free(one);
	CHECK(access(path, F_OK));
	return true;
}

int main(void)
{
	static const struct {
		const char *name;
		void (*peer)(int fd);
		bool (*body)(struct kvmi_conn *conn);
	} tests[] = {
		{ "errors of commands, longer replies", peer_answers, body_errors },
		{ "reply too short", peer_answers, body_short },
		{ "positive error code", peer_answers, body_positive },
		{ "reply without error code", peer_no_error_code, body_proto },
		{ "reply with a wrong sequence number", peer_wrong_seq, body_proto },
		{ "reply with a wrong id", peer_wrong_id, body_proto },
		{ "message over the size limit", peer_oversize, body_proto },
		{ "connection closed during a command", peer_closes, body_pipe },
		{ "connection closed within a header", peer_half_header, body_pipe },
		{ "late reply is dropped", peer_late, body_late },
		{ "interrupted waits", peer_mute, body_interrupt },
		{ "reply byte by byte", peer_drips, body_drips },
		{ "refused in the first milliseconds, and for good", peer_grace, body_grace },
		{ "event in the middle of a command", peer_events, body_events },
		{ "events by kvmi_fd and kvmi_dispatch", peer_events, body_dispatch },
		{ "UNHOOK and PAUSE, and the actions they take", peer_vm_events, body_vm_events },
		{ "longer common part of an event", peer_longer_common, body_longer_common },
		{ "more events than can be", peer_flood, body_flood },
		{ "memory, any size, with and without cookie", peer_memory, body_memory },
		{ "memory reply too short", peer_short_memory, body_short_memory },
	};
	unsigned int i;

	result("SHA-1 of the standard's examples", test_sha1());
	result("handshake", test_handshake());
	result("handshake, everything that can be wrong", test_bad_handshake());
	for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		result(tests[i].name, adopt_with(tests[i].peer, tests[i].body));

	adopt_with(peer_events, body_events);
	result("reply on the wire: SKIP",
	       reply_is(&event_reply, 41, 1, KVMI_EVENT_ACTION_SKIP, KVMI_VCPU_EVENT_MSR, 2));
	result("reply with another value", adopt_with(peer_one_event, body_value) &&
	       reply_is(&event_reply, 50, 2, KVMI_EVENT_ACTION_ALLOW, KVMI_VCPU_EVENT_CR, 0x1234));
	result("reply RETRY", adopt_with(peer_one_event, body_retry) &&
	       reply_is(&event_reply, 50, 2, KVMI_EVENT_ACTION_RETRY, KVMI_VCPU_EVENT_CR, 0xa0));
	result("events that are cut short or lie about their size", test_bad_events());
	regs_told = 2;
	result("registers and MSRs", adopt_with(peer_registers, body_registers));
	regs_told = 3;
	result("registers with a wrong number of MSRs",
	       adopt_with(peer_registers, body_bad_registers));
	result("detach undoes everything and lets the vCPUs go", test_detach(false));
	result("detach when no vCPU answers", test_detach(true));
	result("listening", test_listen());

	printf("1..%d\n", number);
	return failures != 0;
}
