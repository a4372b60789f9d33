/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_READER_H
#define __KVMI_READER_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/spinlock.h>

struct kvm_introspection;
struct kvm_vcpu_introspection;
struct kvmi_waiter;

/* Who reads what the tool sends */
struct kvmi_reader {
	/*
	 * Held to read a message and to process it.  vCPU threads only try to
	 * get it, as the receiver holds it for as long as a command takes.
	 */
	struct mutex lock;
	/* A message in kvm_introspection.rx is the receiver's; under @lock */
	bool left;
	/* The error that reading ended with, for the receiver; under @lock */
	int error;
	/* The vCPU whose thread has @lock, or NULL; under @lock */
	const struct kvm_vcpu_introspection *reading;
	/* There was something to read while the receiver had @lock */
	bool again;
	/* Protects the fields below, and kvm_introspection.sock for vCPUs */
	spinlock_t waiters_lock;
	/* struct kvmi_waiter, vCPUs that wait for a reply */
	struct list_head waiters;
	/* The first one, which reads; also read without the lock */
	struct kvmi_waiter *first;
};

/* Return true if the wait queue of a socket was woken only for room to write. */
static inline bool kvmi_is_woken_for_room(void *key)
{
	const __poll_t room = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

	return key && !(key_to_poll(key) & ~room);
}

/* Return true if a vCPU's thread reads what the tool sends. */
static inline bool kvmi_reader_is_vcpu(const struct kvmi_reader *reader)
{
	return READ_ONCE(reader->first);
}

void kvmi_reader_init(struct kvmi_reader *reader);
bool kvmi_reader_is_behind(struct kvm_introspection *session);
int kvmi_reader_receive(struct kvm_introspection *session);
long kvmi_reader_wait(struct kvm_vcpu_introspection *vi,
		      struct kvm_introspection *session, long timeout,
		      bool (*done)(struct kvm_vcpu_introspection *vi,
				   struct kvm_introspection *session));

#endif /* __KVMI_READER_H */
