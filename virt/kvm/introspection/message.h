/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_MESSAGE_H
#define __KVMI_MESSAGE_H

#include "session.h"

int kvmi_message_receive(struct kvm_introspection *session);
int kvmi_message_send(struct kvm_introspection *session, void *msg, size_t size);
int kvmi_message_try_send(struct kvm_introspection *session, void *msg,
			  size_t size);
int kvmi_message_flush(struct kvm_introspection *session);

/* Room for the data of a reply, after struct kvmi_error_code. */
#define KVMI_MAX_REPLY_DATA \
	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code))

/**
 * kvmi_reply_data - where a handler puts the data of its reply
 * @reply: frame of the reply
 */
static inline void *kvmi_reply_data(struct kvmi_frame *reply)
{
	return reply->payload + sizeof(struct kvmi_error_code);
}

size_t kvmi_reply_finish(struct kvmi_frame *reply, const struct kvmi_msg_hdr *to,
			 int err, size_t size);

#endif /* __KVMI_MESSAGE_H */
