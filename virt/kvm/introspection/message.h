/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_MESSAGE_H
#define __KVMI_MESSAGE_H

#include <linux/kvm_host.h>
#include <linux/lockdep.h>

#include "session.h"

/* Assert that waiting for the tool blocks nothing but the current task. */
static inline void kvmi_assert_may_wait(struct kvm *kvm)
{
	lockdep_assert_not_held(&kvm->lock);
	lockdep_assert_not_held(&kvm->slots_lock);
	lockdep_assert_not_held(&kvm->slots_arch_lock);
	lockdep_assert_not_held(&kvm->mmu_lock);
	lockdep_assert_not_held(&kvm->srcu);
	lockdep_assert_not_held(&kvm->irq_srcu);
}

int kvmi_message_receive(struct kvm_introspection *session);
int kvmi_message_send(struct kvm_introspection *session, unsigned int attachment,
		      void *msg, size_t size, long timeout);
int kvmi_message_try_send(struct kvm_introspection *session, void *msg,
			  size_t size);
bool kvmi_message_send_now(struct kvm_introspection *session, unsigned int attachment,
			   void *msg, size_t size, bool leave_room);
void kvmi_message_give_up(struct kvm_introspection *session, unsigned int attachment);
bool kvmi_message_pending(struct kvm_introspection *session);
bool kvmi_message_is_ahead(const struct kvm_introspection *session);
bool kvmi_socket_has_files(struct socket *sock);
bool kvmi_socket_has_data(struct socket *sock);

/* Where a handler puts the data of its reply */
static inline void *kvmi_reply_data(struct kvmi_replies *replies)
{
	return replies->last.payload + sizeof(struct kvmi_error_code);
}

static inline bool kvmi_replies_left(const struct kvmi_replies *replies)
{
	return replies->last_size || replies->earlier_size;
}

/* What the tool that they are for does not read any more */
static inline void kvmi_replies_drop(struct kvmi_replies *replies)
{
	replies->due = false;
	replies->last_size = 0;
	replies->earlier_size = 0;
}

void kvmi_replies_add(struct kvmi_replies *replies, const struct kvmi_msg_hdr *to,
		      int err, size_t size, bool more);
void *kvmi_replies_first(struct kvmi_replies *replies, size_t *size);
void kvmi_replies_sent(struct kvmi_replies *replies);

#endif /* __KVMI_MESSAGE_H */
