/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_COMMAND_H
#define __KVMI_COMMAND_H

#include <linux/types.h>

#include <uapi/linux/kvmi.h>

#include "session.h"

struct kvm_vcpu;
struct kvm_vcpu_introspection;
struct kvmi_command;

/*
 * Returned by a handler if the message is malformed, e.g. shorter than its own
 * fields say: the connection is closed.
 */
#define KVMI_CLOSE 1

/* Room for the data of a reply, after struct kvmi_error_code. */
#define KVMI_MAX_REPLY_DATA \
	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code))

/*
 * A VM-wide command for its handler, which runs in the receiver and returns 0, a
 * negative KVM_E*, or KVMI_CLOSE.
 */
struct kvmi_vm_request {
	struct kvm_introspection *session;
	/* The request, at least as long as the table of commands says */
	const void *data;
	/* Bytes that were received */
	size_t size;
	/* Buffer for the data of the reply, KVMI_MAX_REPLY_DATA bytes */
	void *reply;
	/* Bytes of @reply to send; initially 0 */
	size_t reply_size;
};

/*
 * A command to a vCPU for its handler, which runs on the vCPU's thread and
 * returns 0 or a negative KVM_E*.
 */
struct kvmi_vcpu_request {
	/* Loaded */
	struct kvm_vcpu *vcpu;
	struct kvm_vcpu_introspection *vi;
	struct kvm_introspection *session;
	/* The command arrived while an event of the vCPU was open */
	bool in_event;
	/* kvmi_command.policy_nr */
	u32 policy_nr;
	/* As in struct kvmi_vm_request, without struct kvmi_vcpu_hdr */
	const void *data;
	size_t size;
	void *reply;
	size_t reply_size;
};

bool kvmi_command_known(u16 id);
bool kvmi_command_always_allowed(u16 id);
bool __kvmi_command_replies_due(const struct kvm_introspection *session);
int kvmi_command_send_due_replies(struct kvm_introspection *session);
void kvmi_command_send_replies_now(struct kvm_introspection *session);
int kvmi_command_receive(struct kvm_introspection *session);
int kvmi_command_receive_for_vcpu(struct kvm_introspection *session);
void kvmi_command_run(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		      const struct kvmi_command *cmd);

/*
 * Return true if replies of VM-wide commands have to be sent before anything else
 * is done.  Under reader.lock.
 */
static inline bool kvmi_command_replies_due(const struct kvm_introspection *session)
{
	return (session->reply_size || session->replies_size) &&
	       __kvmi_command_replies_due(session);
}

#endif /* __KVMI_COMMAND_H */
