// SPDX-License-Identifier: GPL-2.0-only
/*
 * SHA-1, the handshake, listening
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

/* ---- SHA-1 ---- */
static bool sha1_is(const char *text, size_t repeat, const char *hex)
{
	size_t len = strlen(text), i;
	char *data = malloc(len * repeat + 1), out[41];
	uint8_t digest[20];

	for (i = 0; i < repeat; i++)
		memcpy(data + i * len, text, len);
	kint_sha1(data, len * repeat, digest);
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

static int open_with(void (*peer)(int fd), struct kint_conn **conn, const char *cookie,
		     pthread_t *thread)
{
	static struct script script;
	struct kint_options opts = { .timeout_ms = peer == peer_silent ? 200 : TEST_TIMEOUT_MS };
	int fd;

	if (cookie) {
		opts.cookie = cookie;
		opts.cookie_size = strlen(cookie);
	}
	*conn = NULL;
	start(&script, thread, peer, &fd);
	return kint_open(fd, &opts, conn);
}

static int open_fails_with(void (*peer)(int fd))
{
	struct kint_conn *conn;
	pthread_t thread;
	int err = open_with(peer, &conn, NULL, &thread);

	kint_close(conn);
	pthread_join(thread, NULL);
	return err;
}

static bool test_handshake(void)
{
	uint8_t digest[20], none[20] = { 0 };
	struct kint_conn *conn;
	pthread_t thread;

	last = open_with(peer_good, &conn, "open sesame", &thread);
	CHECK(!last);
	CHECK(!strcmp(kint_peer_info(conn)->name, "guest"));
	CHECK(kint_peer_info(conn)->max_gpa == 0x8000000);
	CHECK(kint_peer_info(conn)->start_time == 1000);
	CHECK(kint_peer_info(conn)->uuid[15] == 0x5a);
	CHECK(kint_version(conn)->max_msg_size == 8184);
	kint_close(conn);
	pthread_join(thread, NULL);
	kint_sha1("open sesame", 11, digest);
	CHECK(!memcmp(digest, cookie_seen, 20));

	last = open_with(peer_good, &conn, NULL, &thread);
	CHECK(!last && !memcmp(cookie_seen, none, 20));
	kint_close(conn);
	pthread_join(thread, NULL);

	last = open_with(peer_long_intro, &conn, NULL, &thread);
	CHECK(!last && !strcmp(kint_peer_info(conn)->name, "long"));
	kint_close(conn);
	pthread_join(thread, NULL);

	last = open_with(peer_short_intro, &conn, NULL, &thread);
	CHECK(!last && kint_peer_info(conn)->start_time == 9 && !*kint_peer_info(conn)->name);
	CHECK(!kint_peer_info(conn)->max_gpa);
	kint_close(conn);
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

/* ---- Listening ---- */
static bool test_listen(void)
{
	struct kint_listener *one, *two;
	struct kint_options opts = { .timeout_ms = 100 };
	struct kint_conn *conn;
	char path[64], addr[80];

	snprintf(path, sizeof(path), "/tmp/kvmi-test-%d", getpid());
	snprintf(addr, sizeof(addr), "unix:%s", path);
	CHECK((last = kint_listen("tcp:1", &one)) == -EINVAL);
	CHECK((last = kint_listen("unix:", &one)) == -EINVAL);
	CHECK((last = kint_listen("unix:/nowhere/at/all", &one)) == -ENOENT);
	last = kint_listen("vsock:abc", &one);
	CHECK(last == -EINVAL || last == -EAFNOSUPPORT);
	CHECK(!(last = kint_listen(addr, &one)));
	CHECK((last = kint_listen(addr, &two)) == -EADDRINUSE);
	CHECK((last = kint_accept(one, &opts, 10, &conn)) == -EAGAIN);
	kint_listener_free(one);
	CHECK(access(path, F_OK));
	return true;
}

static int told_the_name;

static int handler(const struct kint_peer *peer, uint8_t hash[20], void *arg)
{
	told_the_name += !strcmp(peer->name, "guest") && peer->start_time == 1000 &&
			 peer->uuid[3] == 0x5a && peer->max_gpa == 0x8000000;
	memset(hash, 0xee, 20);
	return *(int *)arg;
}

/* Before the answer goes out, which may be another one, or none */
static bool test_handler(void)
{
	int refuse = 0;
	struct kint_options opts = {
		.timeout_ms = TEST_TIMEOUT_MS, .cookie = "x", .cookie_size = 1,
		.handshake = handler, .handshake_arg = &refuse,
	};
	struct kint_conn *conn;
	struct script script;
	pthread_t thread;
	unsigned int i;
	int fd;

	start(&script, &thread, peer_good, &fd);
	CHECK(!(last = kint_open(fd, &opts, &conn)) && told_the_name == 1);
	for (i = 0; i < 20; i++)
		CHECK(cookie_seen[i] == 0xee);
	kint_close(conn);
	pthread_join(thread, NULL);

	refuse = 1;
	memset(cookie_seen, 0, sizeof(cookie_seen));
	start(&script, &thread, peer_good, &fd);
	CHECK((last = kint_open(fd, &opts, &conn)) == -ECANCELED && told_the_name == 2);
	pthread_join(thread, NULL);
	CHECK(!cookie_seen[0]);
	return true;
}

void handshake_tests(void)
{
	result("SHA-1 of the standard's examples", test_sha1());
	result("handshake", test_handshake());
	result("handshake, everything that can be wrong", test_bad_handshake());
	result("handshake, with a function that looks and refuses", test_handler());
	result("listening", test_listen());
}
