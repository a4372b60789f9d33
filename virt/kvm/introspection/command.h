/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_COMMAND_H
#define __KVMI_COMMAND_H

#include <linux/string.h>
#include <linux/types.h>

#include <uapi/linux/kvmi.h>

#include "message.h"
#include "session.h"

struct kvm_vcpu;
struct kvm_vcpu_introspection;
struct kvmi_command;

/*
 * Returned by a handler if the message is malformed, e.g. shorter than its own
 * fields say: the connection is closed.
 */
#define KVMI_CLOSE 1

/*
 * Returned by a handler that was called without the vCPU: the vCPU's thread has to
 * call it.
 */
#define KVMI_ON_VCPU 2

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
 * A command to a vCPU for its handler, which runs on the vCPU's thread, or, see
 * @unloaded, in the receiver, and returns 0, a negative KVM_E* or KVMI_ON_VCPU.
 */
struct kvmi_vcpu_request {
	struct kvm_vcpu *vcpu;
	struct kvm_vcpu_introspection *vi;
	/*
	 * The vCPU is not loaded, may be in guest mode, and does not use the
	 * session; under kvm_vcpu_introspection.lock
	 */
	bool unloaded;
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

/*
 * Check the length of a request that ends with a list of @count entries, and is
 * @size bytes with it.  Return 0, KVMI_CLOSE if the list is not there, or -KVM_E2BIG
 * if something follows.
 */
static inline int kvmi_check_list(const struct kvmi_vm_request *req, size_t size,
				  unsigned int count)
{
	if (size > req->size)
		return count ? KVMI_CLOSE : 0;

	return memchr_inv(req->data + size, 0, req->size - size) ? -KVM_E2BIG : 0;
}

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
 * Return true if replies to what the receiver has processed have to be sent before
 * anything else is done.  Under reader.lock.
 */
static inline bool kvmi_command_replies_due(const struct kvm_introspection *session)
{
	return kvmi_replies_left(&session->replies) && __kvmi_command_replies_due(session);
}

#endif /* __KVMI_COMMAND_H */
