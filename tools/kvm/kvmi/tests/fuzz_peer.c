// SPDX-License-Identifier: GPL-2.0-only
/*
 * The library against a peer that sends what the input says: replies to the commands
 * that are sent and to others, events, pieces of messages, the end.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../lib/internal.h"
#include "fuzz.h"

#define MAX_CALLS 64
#define TOOL_GPA 0x100000	/* memory for the tool, if there is */
#define TOOL_PAGES 4

static int peer;

static void put(const void *data, size_t size)
{
	ssize_t n = send(peer, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)n;
}

/* Most peers read; one that does not has the library's socket fill up */
static void drain(void)
{
	static char buf[65536];

	while (recv(peer, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static size_t fill(struct input *in, unsigned char *data, size_t max)
{
	size_t size = take_number(in) % (max + 1), i;

	for (i = 0; i < size; i++)
		data[i] = i < 64 ? take(in) : 0;
	return size;
}

static void send_message(struct input *in, uint16_t id, uint32_t seq, unsigned int how)
{
	static unsigned char buf[sizeof(struct kvmi_msg_hdr) + 65536];
	struct kvmi_msg_hdr hdr = { .id = id, .seq = seq };
	struct kvmi_error_code ec = { 0 };
	size_t size = 0;

	if (id != KVMI_VCPU_EVENT && id != KVMI_VM_EVENT) {
		if (how & 1)
			ec.err = -(int64_t)(uint32_t)take_number(in);
		memcpy(buf + sizeof(hdr), &ec, sizeof(ec));
		size = sizeof(ec);
	} else if (id == KVMI_VCPU_EVENT) {
		struct kvmi_event_hdr ev = {
			.event = take(in) % 28,
			.flags = how & 0x40 ? KVMI_EVENT_NOTIFICATION : 0,
		};
		struct kvmi_vcpu_event common = { .size = sizeof(common), .vcpu = take(in) };

		if (how & 2)
			common.size = take_number(in);
		memcpy(buf + sizeof(hdr), &ev, sizeof(ev));
		memcpy(buf + sizeof(hdr) + sizeof(ev), &common, sizeof(common));
		size = sizeof(ev) + sizeof(common);
	}
	size += fill(in, buf + sizeof(hdr) + size, KVMI_MAX_MSG_SIZE - size);
	hdr.size = how & 4 ? take_number(in) : size;
	memcpy(buf, &hdr, sizeof(hdr));
	put(buf, sizeof(hdr) + (how & 8 ? take_number(in) % (size + 1) : size));
}

/* What is there before the next call, for the commands of it that come one after the other */
static void play_all(struct kint_conn *conn, struct input *in, const uint16_t *ids,
		     unsigned int nids)
{
	unsigned int n = take(in) % (nids < 4 ? 4 : nids), i, how, kind;

	for (i = 0; i <= n; i++) {
		how = take(in);
		kind = take(in) % 8;
		switch (kind) {
		case 0:
			send_message(in, KVMI_VCPU_EVENT, take(in), how);
			break;
		case 1:
			send_message(in, KVMI_VM_EVENT, take(in), how);
			break;
		case 2:
			send_message(in, take(in), conn->seq + 1 + i, how);
			break;
		default:
			if (kind == 3 && how < 8)
				shutdown(peer, SHUT_WR);
			send_message(in, ids[i % nids],
				     conn->seq + 1 + (how & 0x80 ? take(in) : i),
				     how & 0x70 ? how & 1 : how);
		}
	}
	if (take(in) & 7)
		drain();
}

/* One command, or the same some times */
static void play(struct kint_conn *conn, struct input *in, uint16_t id)
{
	play_all(conn, in, &id, 1);
}

/* Some of all that can be sent together */
static void call_batch(struct kint_conn *conn, struct input *in)
{
	static const uint16_t ids[] = {
		KVMI_VM_READ_PHYSICAL, KVMI_VM_PAUSE_VCPU, KVMI_VCPU_SET_VIEW, KVMI_VM_CHANGE_GFN,
	};
	static unsigned char data[8][4096];
	struct kint_batch *batch;
	struct kint_event event;
	uint16_t sent[8];
	int index[8];
	unsigned int n, i;

	if (kint_batch_new(conn, &batch))
		return;
	for (n = 0; n < 8 && take(in) % 8; n++) {
		sent[n] = ids[take(in) % 4];
		if (sent[n] == KVMI_VM_READ_PHYSICAL)
			index[n] = kint_queue_read_physical(batch, 0, data[n],
							    take_number(in) % 4097);
		else if (sent[n] == KVMI_VM_PAUSE_VCPU)
			index[n] = kint_queue_pause_vcpu(batch, take(in), take(in) & 1);
		else if (sent[n] == KVMI_VCPU_SET_VIEW)
			index[n] = kint_queue_set_view(batch, take(in), take(in));
		else
			index[n] = kint_queue_change_gfn(batch, take(in) % 8, take(in) & 1,
							 take_number(in), take_number(in));
	}
	if (n)
		play_all(conn, in, sent, n);
	while (take(in) & 1 && !kint_next_event(conn, &event, 0))
		kint_queue_reply(batch, &event, take(in) % 5);
	kint_batch_commit(batch);
	for (i = 0; i < n; i++)
		kint_batch_error(batch, index[i]);
	kint_batch_free(batch);
}

/* Pages for the tool, and where they are shown */
static void call_pages(struct kint_conn *conn, struct input *in)
{
	static const uint16_t alloc[] = {
		KVMI_VM_GET_INFO, KVMI_VM_GET_PAGE_ACCESS, KVMI_VM_SET_PAGE_ACCESS,
		KVMI_VM_WRITE_PHYSICAL,
	}, end[] = { KVMI_VM_WRITE_PHYSICAL, KVMI_VM_SET_PAGE_ACCESS };
	uint64_t gfn = TOOL_GPA / 4096 + take(in) % (TOOL_PAGES + 1);
	uint16_t view;

	switch (take(in) % 5) {
	case 0:
		/* The first has to find out about address spaces */
		play_all(conn, in, alloc + !!conn->pages, 4 - !!conn->pages);
		kint_alloc_page(conn, &gfn);
		break;
	case 1:
		play_all(conn, in, end, 2);
		kint_free_page(conn, gfn);
		break;
	case 2:
		play(conn, in, KVMI_VM_CHANGE_GFN);
		kint_change_gfn(conn, take(in) % 8, take(in) & 1, take(in), gfn);
		break;
	case 3:
		play(conn, in, KVMI_VM_CREATE_VIEW);
		kint_create_view(conn, take(in) % 8, &view);
		break;
	default:
		play(conn, in, KVMI_VM_DESTROY_VIEW);
		kint_destroy_view(conn, take(in) % 8);
	}
	if (kint_pages_left(conn) > TOOL_PAGES)
		abort();
}

/* What a tool does that takes another one's place */
static void call_clear(struct kint_conn *conn, struct input *in, uint16_t vcpu)
{
	static const uint16_t control[] = {
		KVMI_VCPU_GET_CONTROL, KVMI_VCPU_CONTROL_SINGLESTEP, KVMI_VCPU_CONTROL_EVENTS,
		KVMI_VCPU_CONTROL_MSR,
	}, views[] = { KVMI_VM_LIST_VIEWS, KVMI_VM_DESTROY_VIEW },
	rules[] = { KVMI_VM_GET_RULES, KVMI_VM_SET_RULES };
	uint64_t mask = ~0ull;

	switch (take(in) % 3) {
	case 0:
		play_all(conn, in, control, 4);
		kint_clear_control(conn, vcpu);
		break;
	case 1:
		play_all(conn, in, views, 2);
		kint_clear_views(conn, &mask);
		break;
	default:
		play_all(conn, in, rules, 2);
		kint_clear_rules(conn);
	}
}

static void call(struct kint_conn *conn, struct input *in)
{
	static unsigned char data[20000];
	static struct kvmi_memslot slots[512];
	struct kvmi_vcpu_get_cpuid_reply cpuid;
	struct kvmi_vm_get_features_reply features;
	struct kvmi_vm_get_info_reply info;
	static struct kvmi_rule_info rules[KINT_MAX_RULES];
	struct kint_registers regs;
	uint32_t msrs[4] = { 1, 2, 3, 4 }, cookie = 0, count;
	uint64_t values[4], number;
	struct kint_event event;
	uint16_t vcpu = take(in);
	size_t total;

	switch (take(in) % 20) {
	case 0:
		play(conn, in, KVMI_VM_GET_INFO);
		if (!kint_get_info(conn, &info) && info.vcpu_count > 65536)
			abort();
		break;
	case 1:
		play(conn, in, KVMI_VM_PAUSE_ALL);
		count = 0;
		if (!kint_pause_all(conn, true, &count) && count > 65536)
			abort();
		break;
	case 2:
		play(conn, in, KVMI_VM_GET_MEMSLOTS);
		kint_get_memslots(conn, 0, slots, take_number(in) % 513, &cookie);
		break;
	case 3:
		play(conn, in, KVMI_VCPU_GET_XSAVE2);
		kint_get_xsave2(conn, vcpu, data, take_number(in) % (sizeof(data) + 1), &total);
		break;
	case 4:
		play(conn, in, KVMI_VCPU_GET_REGISTERS);
		kint_get_registers(conn, vcpu, &regs, msrs, values, take(in) % 5);
		break;
	case 5:
		play(conn, in, KVMI_VM_READ_PHYSICAL);
		kint_read_physical(conn, take_number(in), data, take_number(in) % sizeof(data));
		break;
	case 6:
		play(conn, in, KVMI_VM_READ_PHYSICAL);
		kint_read_physical_cookie(conn, 0, take_number(in), data,
					  take_number(in) % sizeof(data), &cookie);
		break;
	case 7:
		play(conn, in, KVMI_VM_WRITE_PHYSICAL);
		kint_write_physical(conn, take_number(in), data, take_number(in) % sizeof(data));
		break;
	case 8:
		play(conn, in, KVMI_VCPU_CONTROL_EVENTS);
		kint_control_events(conn, vcpu, take(in) % 28, take(in) & 1);
		break;
	case 9:
		play(conn, in, KVMI_VCPU_CONTROL_MSR);
		kint_control_msr(conn, vcpu, take_number(in), take(in) & 1);
		break;
	case 10:
		play(conn, in, KVMI_VM_GET_FEATURES);
		kint_get_features(conn, &features);
		break;
	case 11:
		play(conn, in, KVMI_VCPU_GET_CPUID);
		kint_get_cpuid(conn, vcpu, 0, 0, &cpuid);
		break;
	case 12:
		play(conn, in, KVMI_VM_GET_PAGE_ACCESS);
		kint_get_page_access(conn, 0, 0, (uint64_t *)slots, data, take(in));
		break;
	case 13:
		play(conn, in, KVMI_VM_SET_PAGE_ACCESS);
		kint_set_page_access(conn, 0, 0, (void *)slots, take_number(in) % 700);
		break;
	case 14:
		play(conn, in, KVMI_VCPU_TRANSLATE_GVA);
		kint_translate_gva(conn, vcpu, take_number(in), &number);
		break;
	case 15:
		play(conn, in, KVMI_VM_GET_RULES);
		if (!kint_get_rules(conn, KVMI_VCPU_EVENT_MSR, true, rules, take(in) % 65, &total,
				    &number) && total > KINT_MAX_RULES)
			abort();
		break;
	case 16:
		call_batch(conn, in);
		break;
	case 17:
		call_pages(conn, in);
		break;
	case 18:
		call_clear(conn, in, vcpu);
		break;
	default:
		play(conn, in, KVMI_VCPU_EVENT);
		while (!kint_next_event(conn, &event, 0))
			if (take(in) & 3)
				kint_reply(conn, &event, take(in) % 5);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kvmi_get_version_reply version = {
		.version = KVMI_VERSION, .max_msg_size = KVMI_MAX_MSG_SIZE,
	};
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_error_code ec;
		struct kvmi_get_version_reply version;
	} first = {
		.hdr = { .id = KVMI_GET_VERSION, .seq = 1,
			 .size = sizeof(first) - sizeof(first.hdr) },
		.version = version,
	};
	struct kint_options opts = { .timeout_ms = 1 };
	struct input in = { data, size };
	struct kint_conn *conn;
	unsigned int calls;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		abort();
	peer = sv[1];
	put(&first, sizeof(first));
	if (!kint_adopt(sv[0], &opts, &conn)) {
		/* As in a handshake, which there is none of here */
		if (take(&in) & 1)
			kint_pages_told(&conn->peer, TOOL_GPA, TOOL_PAGES * 4096);
		for (calls = 0; calls < MAX_CALLS && in.left; calls++)
			call(conn, &in);
		if (size & 1) {
			/* Nobody is to wait for a peer that says nothing */
			shutdown(peer, SHUT_RDWR);
			kint_detach(conn);
		} else {
			kint_close(conn);
		}
	}
	close(peer);
	return 0;
}
