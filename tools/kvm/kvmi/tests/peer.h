/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TEST_PEER_H
#define KVMI_TEST_PEER_H

/*
 * The other end of a session, without KVM: what device manager and kernel send.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvmi.h>

struct peer_msg {
	struct kvmi_msg_hdr hdr;
	unsigned char data[KVMI_MAX_MSG_SIZE];
};

struct intro {
	uint32_t struct_size;
	uint8_t uuid[16];
	uint32_t padding;
	int64_t start_time;
	char name[64];
	uint64_t max_gpa;
	/* Only sent if there is such memory */
	uint64_t tool_gpa, tool_size;
};

#define INTRO_SIZE offsetof(struct intro, tool_gpa)	/* without it */

/* Each returns false when the other side is gone */
bool peer_write(int fd, const void *data, size_t size);
bool peer_read(int fd, void *data, size_t size);
bool peer_receive(int fd, struct peer_msg *msg);
bool peer_send(int fd, uint16_t id, uint32_t seq, const void *data, size_t size);
bool peer_reply(int fd, const struct peer_msg *msg, int32_t err, const void *data, size_t size);
bool peer_version(int fd, const struct peer_msg *msg);
bool peer_vcpu_event(int fd, uint32_t seq, uint16_t vcpu, uint16_t id, const void *data,
		     size_t size);
bool peer_vcpu_notification(int fd, uint32_t seq, uint16_t vcpu, uint16_t id, const void *data,
			    size_t size);
extern struct kvm_regs peer_regs;	/* of all events */
extern struct kvm_sregs peer_sregs;
extern uint64_t peer_gs_base[];		/* but for this one, of each of 4 vCPUs */
extern bool peer_in_program;		/* ... which is the other one then */
extern uint8_t peer_as_id;
extern uint16_t peer_view;		/* the address space that all of them are in */
extern uint64_t peer_tool_gpa, peer_tool_size;	/* memory for the tool, if it has a size */
bool peer_handshake(int fd, const char *name, uint64_t max_gpa, uint8_t cookie[20]);

#endif
