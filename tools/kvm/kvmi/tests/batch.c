// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "test.h"

#define MANY 40		/* more than go out at a time */

/* What the peer was sent, one element for each message, and how many sends it took */
static struct peer_msg got[MANY + 8];
static unsigned int nr_got, nr_sends;

/* How it answers the command with that number; 1 for not at all */
static int answer_of[MANY + 8];

/* Several messages are one packet on this kind of socket if they were sent together */
static bool receive_packet(int fd)
{
	static unsigned char buf[65536];
	size_t done = 0;
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	struct peer_msg *msg;

	if (n <= 0)
		return false;
	nr_sends++;
	while (done < (size_t)n && nr_got < MANY + 8) {
		msg = &got[nr_got++];
		memcpy(&msg->hdr, buf + done, sizeof(msg->hdr));
		memcpy(msg->data, buf + done + sizeof(msg->hdr), msg->hdr.size);
		done += sizeof(msg->hdr) + msg->hdr.size;
	}
	return done == (size_t)n;
}

static void peer_batch(int fd)
{
	struct kvmi_vcpu_event_msr msr = { .msr = 1, .new_value = 5 };
	unsigned int answered = 0;
	struct peer_msg msg = { 0 };

	if (recv(fd, &msg, sizeof(msg), 0) <= 0 || !peer_version(fd, &msg))
		return;
	peer_vcpu_event(fd, 77, 1, KVMI_VCPU_EVENT_MSR, &msr, sizeof(msr));
	while (receive_packet(fd)) {
		for (; answered < nr_got; answered++) {
			const struct peer_msg *m = &got[answered];
			const struct kvmi_vm_read_physical *read = (const void *)m->data;
			unsigned char data[4096];

			if (m->hdr.id == KVMI_VCPU_EVENT || answer_of[answered] == 1)
				continue;
			memset(data, answered + 1, sizeof(data));
			peer_reply(fd, m, answer_of[answered], data,
				   m->hdr.id == KVMI_VM_READ_PHYSICAL ? read->size : 0);
		}
	}
}

static bool with_peer(void (*peer)(int fd), bool (*body)(struct kint_conn *conn))
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct script script = { .peer = peer };
	struct kint_conn *conn = NULL;
	pthread_t thread;
	bool ok = false;
	int sv[2];

	nr_got = 0;
	nr_sends = 0;
	memset(answer_of, 0, sizeof(answer_of));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv))
		abort();
	script.fd = sv[1];
	thread = run_in_thread(&script);
	last = kint_adopt(sv[0], &opts, &conn);
	CHECK(!last);
	if (!last)
		ok = body(conn);
	kint_close(conn);
	pthread_join(thread, NULL);
	return ok;
}

static bool body_order(struct kint_conn *conn)
{
	struct kvmi_page_access_entry entry = { .gpa = 0x5000, .access = 1 };
	struct kvm_regs regs = { .rip = 0x1234 };
	const struct kvm_regs *sent_regs = (const void *)(got[2].data + 8);
	const struct kvmi_vcpu_event_reply *reply = (const void *)(got[7].data + 8);
	unsigned char bytes[16] = { 0 }, data[4] = "abc";
	struct kint_batch *batch;
	struct kint_event event;

	CHECK(!(last = kint_next_event(conn, &event, TEST_TIMEOUT_MS)) && event.seq == 77);
	CHECK(!(last = kint_batch_new(conn, &batch)));
	CHECK(kint_queue_read_physical(batch, 0x1ff0, bytes, 16) == 0);
	CHECK(kint_queue_page_access(batch, 3, 0, &entry, 1) == 1);
	CHECK(kint_queue_set_registers(batch, 1, &regs) == 2);
	CHECK(kint_queue_write_physical(batch, 0x3000, data, 4) == 3);
	CHECK(kint_queue_change_gfn(batch, 3, 0, 7, 8) == 4);
	CHECK(kint_queue_set_view(batch, 1, 3) == 5);
	CHECK(kint_queue_pause_vcpu(batch, 1, false) == 6);
	/* They are copies: what the caller has may change */
	regs.rip = 0;
	memset(data, 0, 4);
	CHECK(kint_queue_reply_value(batch, &event, 9) == 7);
	CHECK(kint_queue_reply(batch, &event, KVMI_EVENT_ACTION_ALLOW) == -EINVAL);
	CHECK(kint_batch_error(batch, 0) == -EINVAL);
	CHECK(nr_got == 0);

	answer_of[1] = -ENOENT;
	answer_of[4] = -EBUSY;
	CHECK((last = kint_batch_commit(batch)) == -ENOENT);
	CHECK(nr_sends == 1 && nr_got == 8);
	CHECK(got[0].hdr.id == KVMI_VM_READ_PHYSICAL && got[1].hdr.id == KVMI_VM_SET_PAGE_ACCESS);
	CHECK(sent_regs->rip == 0x1234);
	CHECK(!memcmp(got[3].data + 16, "abc", 4));
	CHECK(got[7].hdr.id == KVMI_VCPU_EVENT && got[7].hdr.seq == 77 && !reply->action &&
	      reply->event == KVMI_VCPU_EVENT_MSR && got[7].data[0] == 1 && got[7].data[16] == 9);
	CHECK(bytes[0] == 1 && bytes[15] == 1);
	CHECK(!kint_batch_error(batch, 0) && kint_batch_error(batch, 1) == -ENOENT &&
	      !kint_batch_error(batch, 3) && kint_batch_error(batch, 4) == -EBUSY &&
	      !kint_batch_error(batch, 7) && kint_batch_error(batch, 8) == -EINVAL);
	/* The event has been answered, the batch is empty */
	CHECK((last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)) == -EINVAL);
	CHECK(kint_queue_reply(batch, &event, KVMI_EVENT_ACTION_ALLOW) == -EINVAL);
	CHECK(!(last = kint_batch_commit(batch)) && nr_got == 8);
	CHECK(kint_queue_pause_vcpu(batch, 0, false) == 0);
	CHECK(!(last = kint_batch_commit(batch)) && nr_got == 9);
	kint_batch_free(batch);
	kint_batch_free(NULL);
	return true;
}

static bool body_limits(struct kint_conn *conn)
{
	static struct kvmi_page_access_entry entries[KINT_MAX_SET_ACCESS + 1];
	struct kint_event vm_event = { .seq = 5 }, event;
	unsigned char bytes[2];
	struct kint_batch *batch;
	int i;

	CHECK(!(last = kint_next_event(conn, &event, TEST_TIMEOUT_MS)));
	CHECK(!(last = kint_batch_new(conn, &batch)));
	CHECK(kint_queue_read_physical(batch, 0x1fff, bytes, 2) == -EINVAL);
	CHECK(kint_queue_write_physical(batch, 0x1fff, bytes, 2) == -EINVAL);
	CHECK(kint_queue_read_physical(batch, 0, bytes, 0) == -EINVAL);
	CHECK(kint_queue_page_access(batch, 0, 0, entries, 0) == -EINVAL);
	CHECK(kint_queue_page_access(batch, 0, 0, entries, KINT_MAX_SET_ACCESS + 1) == -EINVAL);
	CHECK(kint_queue_reply(batch, &vm_event, KVMI_EVENT_ACTION_ALLOW) == -EINVAL);
	CHECK(kint_queue_reply(batch, &event, 7) == -EINVAL);
	CHECK(kint_queue_reply_pf(batch, &event, 0) == -EINVAL);
	CHECK(kint_queue_reply_access(batch, &event, "") == -EINVAL);
	CHECK(!(last = kint_batch_commit(batch)) && nr_got == 0);
	/* The largest messages do not fit together */
	CHECK(kint_queue_page_access(batch, 0, 0, entries, KINT_MAX_SET_ACCESS) == 0);
	CHECK(kint_queue_page_access(batch, 0, 0, entries, KINT_MAX_SET_ACCESS) == 1);
	CHECK(!(last = kint_batch_commit(batch)) && nr_got == 2 && nr_sends == 2);
	for (i = 0; i < KINT_MAX_BATCH; i++)
		if (kint_queue_pause_vcpu(batch, 0, false) != i)
			return false;
	CHECK(kint_queue_pause_vcpu(batch, 0, false) == -ENOBUFS);
	kint_batch_free(batch);
	return nr_got == 2;
}

/* More than go out at a time */
static bool body_many(struct kint_conn *conn)
{
	unsigned char bytes[MANY] = { 0 };
	struct kint_batch *batch;
	int i;

	CHECK(!(last = kint_batch_new(conn, &batch)));
	for (i = 0; i < MANY; i++)
		CHECK(kint_queue_read_physical(batch, i * 4096, bytes + i, 1) == i);
	CHECK(!(last = kint_batch_commit(batch)) && nr_got == MANY && nr_sends == 3);
	for (i = 0; i < MANY; i++)
		CHECK(bytes[i] == i + 1);
	kint_batch_free(batch);
	return true;
}

static bool body_timeout(struct kint_conn *conn)
{
	struct kint_batch *batch;
	unsigned int i;

	CHECK(!(last = kint_batch_new(conn, &batch)));
	for (i = 0; i < MANY; i++)
		kint_queue_pause_vcpu(batch, 0, false);
	answer_of[5] = 1;
	kint_set_timeout(conn, 2000);
	CHECK((last = kint_batch_commit(batch)) == -ETIMEDOUT && nr_got == MAX_RUN);
	CHECK(!kint_batch_error(batch, 0) && !kint_batch_error(batch, 6));
	CHECK(kint_batch_error(batch, 5) == -ETIMEDOUT);
	CHECK(kint_batch_error(batch, MANY - 1) == -ECANCELED);
	/* The connection lives on, and takes the late reply for what it is */
	kint_set_timeout(conn, TEST_TIMEOUT_MS);
	CHECK(!(last = kint_check_event(conn, 1)));
	kint_batch_free(batch);
	return true;
}

static void peer_leaves(int fd)
{
	struct peer_msg msg = { 0 };

	if (recv(fd, &msg, sizeof(msg), 0) > 0 && peer_version(fd, &msg) && receive_packet(fd))
		peer_reply(fd, &got[0], 0, NULL, 0);
}

static bool body_gone(struct kint_conn *conn)
{
	struct kint_batch *batch;
	unsigned int i;

	CHECK(!(last = kint_batch_new(conn, &batch)));
	for (i = 0; i < MANY; i++)
		kint_queue_pause_vcpu(batch, 0, false);
	CHECK((last = kint_batch_commit(batch)) == -EPIPE);
	CHECK(!kint_batch_error(batch, 0) && kint_batch_error(batch, 1) == -EPIPE &&
	      kint_batch_error(batch, MANY - 1) == -ECANCELED);
	kint_queue_pause_vcpu(batch, 0, false);
	CHECK((last = kint_batch_commit(batch)) == -EPIPE);
	kint_batch_free(batch);
	return true;
}

void batch_tests(void)
{
	result("a batch goes out at once, in its order", with_peer(peer_batch, body_order));
	result("what cannot be queued", with_peer(peer_batch, body_limits));
	result("a batch of more than go out at a time", with_peer(peer_batch, body_many));
	result("a batch that is not answered in time", with_peer(peer_batch, body_timeout));
	result("a batch when the other side leaves", with_peer(peer_leaves, body_gone));
}
