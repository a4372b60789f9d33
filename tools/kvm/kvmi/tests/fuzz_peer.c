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
		struct kvmi_event_hdr ev = { .event = take(in) % 24 };
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

/* What is there before the next call, for up to some commands of it */
static void play(struct kint_conn *conn, struct input *in, uint16_t id)
{
	unsigned int n = take(in) % 4, i, how, kind;

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
			send_message(in, id, conn->seq + 1 + (how & 0x80 ? take(in) : i),
				     how & 0x70 ? how & 1 : how);
		}
	}
	if (take(in) & 7)
		drain();
}

static void call(struct kint_conn *conn, struct input *in)
{
	static unsigned char data[20000];
	static struct kvmi_memslot slots[512];
	struct kvmi_vcpu_get_cpuid_reply cpuid;
	struct kvmi_vm_get_features_reply features;
	struct kvmi_vm_get_info_reply info;
	struct kint_registers regs;
	uint32_t msrs[4] = { 1, 2, 3, 4 }, cookie = 0, count;
	uint64_t values[4], number;
	struct kint_event event;
	uint16_t vcpu = take(in);
	size_t total;

	switch (take(in) % 16) {
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
		kint_control_events(conn, vcpu, take(in) % 24, take(in) & 1);
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
