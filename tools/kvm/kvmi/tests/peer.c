// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "peer.h"

bool peer_write(int fd, const void *data, size_t size)
{
	return send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

bool peer_read(int fd, void *data, size_t size)
{
	return !size || recv(fd, data, size, MSG_WAITALL) == (ssize_t)size;
}

bool peer_receive(int fd, struct peer_msg *msg)
{
	memset(msg, 0, sizeof(*msg));
	return peer_read(fd, &msg->hdr, sizeof(msg->hdr)) &&
	       msg->hdr.size <= KVMI_MAX_MSG_SIZE && peer_read(fd, msg->data, msg->hdr.size);
}

bool peer_send(int fd, uint16_t id, uint32_t seq, const void *data, size_t size)
{
	struct peer_msg msg = { .hdr = { .id = id, .size = size, .seq = seq } };

	if (size)
		memcpy(msg.data, data, size);
	return peer_write(fd, &msg, sizeof(msg.hdr) + size);
}

bool peer_reply(int fd, const struct peer_msg *msg, int32_t err, const void *data, size_t size)
{
	unsigned char buf[KVMI_MAX_MSG_SIZE] = { 0 };
	struct kvmi_error_code ec = { .err = err };

	memcpy(buf, &ec, sizeof(ec));
	if (size)
		memcpy(buf + sizeof(ec), data, size);
	return peer_send(fd, msg->hdr.id, msg->hdr.seq, buf, sizeof(ec) + size);
}

bool peer_version(int fd, const struct peer_msg *msg)
{
	struct kvmi_get_version_reply reply = {
		.version = KVMI_VERSION, .max_msg_size = KVMI_MAX_MSG_SIZE,
	};

	return peer_reply(fd, msg, 0, &reply, sizeof(reply));
}

struct kvm_regs peer_regs = { .rip = 0xffffffff81000123 };
struct kvm_sregs peer_sregs;
uint64_t peer_gs_base[4];
bool peer_in_program;
uint8_t peer_as_id;
uint16_t peer_view;

static bool send_vcpu_event(int fd, uint32_t seq, uint16_t vcpu,
			    const struct kvmi_event_hdr *hdr, const void *data, size_t size)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		unsigned char data[64];
	} ev = {
		.hdr = *hdr,
		.common = { .size = sizeof(ev.common), .vcpu = vcpu, .cookie = 77 },
	};

	ev.common.arch.mode = KVMI_X86_MODE_64;
	ev.common.arch.as_id = peer_as_id;
	ev.common.arch.view = peer_view;
	ev.common.arch.regs = peer_regs;
	ev.common.arch.sregs = peer_sregs;
	if (peer_in_program) {
		ev.common.arch.sregs.ss.dpl = 3;
		ev.common.arch.msrs.shadow_gs = peer_gs_base[vcpu % 4];
	} else {
		ev.common.arch.sregs.gs.base = peer_gs_base[vcpu % 4];
	}
	if (size)
		memcpy(ev.data, data, size);
	return peer_send(fd, KVMI_VCPU_EVENT, seq, &ev,
			 sizeof(ev.hdr) + sizeof(ev.common) + size);
}

bool peer_vcpu_event(int fd, uint32_t seq, uint16_t vcpu, uint16_t id, const void *data,
		     size_t size)
{
	struct kvmi_event_hdr hdr = { .event = id };

	return send_vcpu_event(fd, seq, vcpu, &hdr, data, size);
}

/* The guest does not wait for a reply */
bool peer_vcpu_notification(int fd, uint32_t seq, uint16_t vcpu, uint16_t id, const void *data,
			    size_t size)
{
	struct kvmi_event_hdr hdr = { .event = id, .flags = KVMI_EVENT_NOTIFICATION };

	return send_vcpu_event(fd, seq, vcpu, &hdr, data, size);
}

uint64_t peer_tool_gpa, peer_tool_size;

bool peer_handshake(int fd, const char *name, uint64_t max_gpa, uint8_t cookie[20])
{
	struct intro intro = {
		.struct_size = peer_tool_size ? sizeof(intro) : INTRO_SIZE,
		.start_time = 1000, .max_gpa = max_gpa,
		.tool_gpa = peer_tool_gpa, .tool_size = peer_tool_size,
	};
	struct { uint32_t struct_size; uint8_t hash[20]; } answer;

	memcpy(intro.name, name, strnlen(name, sizeof(intro.name)));
	memset(intro.uuid, 0x5a, sizeof(intro.uuid));
	if (!peer_write(fd, &intro, intro.struct_size) || !peer_read(fd, &answer, sizeof(answer)))
		return false;
	memcpy(cookie, answer.hash, sizeof(answer.hash));
	return answer.struct_size == sizeof(answer);
}
