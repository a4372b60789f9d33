/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_SESSION_H
#define __KVMI_SESSION_H

#include <linux/completion.h>
#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/uuid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <uapi/linux/kvmi.h>

#include <asm/kvmi_host.h>

#include "limits.h"

struct eventfd_ctx;
struct kvmi_view;
struct vhost_task;

/**
 * struct kvmi_frame - room for the largest message
 * @hdr: header
 * @payload: what follows it
 */
struct kvmi_frame {
	struct kvmi_msg_hdr hdr;
	u8 payload[KVMI_MAX_MSG_SIZE];
};

/**
 * struct kvm_introspection - the session of a tool with a VM
 * @kvm: the VM
 * @sock: connection to the tool; a reference is held
 * @receiver: thread that reads from @sock and runs the VM-wide commands
 * @receiver_task: the same, only to compare it
 * @defunct: there is nothing more to come from the tool; the session waits to be
 *	unhooked, or for another one.  Set by the receiver, then every vCPU is woken.
 * @over: the same, for unhooking to wait for
 * @attachment: number of tools there have been before this one
 * @lost: told when the session becomes defunct, or NULL
 * @stops_on_loss: vCPUs that would ask a tool that is lost stop
 * @on_timeout: KVM_INTROSPECTION_*: what becomes of a vCPU that has waited too long
 * @timeout: jiffies that the tool may take for an event without doing anything for
 *	the vCPU; MAX_SCHEDULE_TIMEOUT if there is no limit
 * @max_timeout: jiffies that it may take in all, or 0
 * @broken: @sock takes nothing any more.  Set once, under @send_lock; the
 *	receiver reads what there is, and then sets @defunct.
 * @ending: the session is being unhooked; the receiver does as with @broken
 * @ending_since: when that began, in jiffies; written before @ending
 * @late_messages: number of messages received since then, or since @broken was set
 * @late_since: when the first of them was, in jiffies; only the receiver uses the two
 * @cleanup: the end of the session also ends what it wanted to be told of; only
 *	the receiver changes it
 * @shutdown: the vCPUs are to stop when the reply to KVMI_VM_SHUTDOWN has been
 *	sent; only the receiver uses it
 * @commands: ids of the commands the device manager allows
 * @events: ids of the events the device manager allows
 * @vm_events: ids of the VM's events the tool has turned on
 * @policy: number of VM-wide commands that have changed what the tool wants; only
 *	the receiver changes it
 * @unhook_wanted: how often the device manager has wanted the UNHOOK event sent
 * @unhook_sent: value of @unhook_wanted when it was sent last; only the receiver
 *	writes it
 * @unhook_seq: number that event is going to have, 0 if it has none yet; only
 *	the receiver uses it
 * @seq: number of the last event sent
 * @cookie_base: what memory cookies count from
 * @watch: looks now and then for vCPUs that have been waiting for the tool for long
 * @watched: it is going to
 * @kicked: vCPUs to wait for; only the receiver uses it
 * @views: views of guest memory; the first one always exists.  Only the receiver
 *	changes them
 * @nr_changed: pages that are shown in place of others, in all of @views; only the
 *	receiver uses it
 * @shown: these by what is shown, for each address space; under mmu_lock
 * @send_lock: serializes writers to @sock, protects @unsent
 * @unsent_size: bytes in @unsent; also read without the lock
 * @unsent: end of a message whose beginning has been written
 * @received: bytes of @rx that have arrived; only the receiver uses it
 * @rx_end: bytes of @rx that may not be zero; only the receiver uses it
 * @rx: message being received; only the receiver uses it
 * @reply_size: bytes of @reply that could not be sent yet
 * @reply: reply of a VM-wide command; only the receiver uses it
 *
 * Made by KVM_INTROSPECTION_HOOK, freed by KVM_INTROSPECTION_UNHOOK or the end
 * of the VM, both under kvm->lock.  The receiver is stopped before.  A vCPU
 * thread may use the session between kvmi_vcpu_enter() and kvmi_vcpu_leave(),
 * which unhooking waits for.  Nobody else has a reference.
 */
struct kvm_introspection {
	struct kvm *kvm;
	struct socket *sock;
	struct vhost_task *receiver;
	struct task_struct *receiver_task;
	bool defunct;
	struct completion over;
	unsigned int attachment;
	struct eventfd_ctx *lost;
	bool stops_on_loss;
	u8 on_timeout;
	unsigned long timeout;
	unsigned long max_timeout;
	bool broken;
	bool ending;
	unsigned long ending_since;
	unsigned int late_messages;
	unsigned long late_since;
	bool cleanup;
	bool shutdown;

	DECLARE_BITMAP(commands, KVMI_NR_COMMAND_IDS);
	DECLARE_BITMAP(events, KVMI_NR_EVENT_IDS);
	DECLARE_BITMAP(vm_events, KVMI_NR_EVENT_IDS);

	u32 policy;
	unsigned int unhook_wanted;
	unsigned int unhook_sent;
	u32 unhook_seq;
	atomic_t seq;
	u32 cookie_base;
	struct delayed_work watch;
	bool watched;
	DECLARE_BITMAP(kicked, KVM_MAX_VCPUS);

	struct kvmi_view __rcu *views[KVMI_NR_VIEWS];
	unsigned int nr_changed;
	struct rb_root shown[KVM_MAX_NR_ADDRESS_SPACES];

	/* Serializes writers to @sock */
	struct mutex send_lock;
	size_t unsent_size;
	u8 unsent[sizeof(struct kvmi_frame)];

	size_t received;
	size_t rx_end;
	struct kvmi_frame rx;

	size_t reply_size;
	struct kvmi_frame reply;
};

void kvmi_session_wake_receiver(struct kvm_introspection *session);

/**
 * kvmi_nobody_asked - is there no tool any more, and the guest goes on without?
 * @session: the session
 */
static inline bool kvmi_nobody_asked(struct kvm_introspection *session)
{
	return READ_ONCE(session->defunct) &&
	       (!session->stops_on_loss || READ_ONCE(session->ending));
}

/**
 * kvmi_unhook_owed - does the device manager wait for the UNHOOK event to be sent?
 * @session: the session
 */
static inline bool kvmi_unhook_owed(struct kvm_introspection *session)
{
	return READ_ONCE(session->unhook_wanted) != READ_ONCE(session->unhook_sent);
}

static inline bool kvmi_command_allowed(struct kvm_introspection *session, u16 id)
{
	return id < KVMI_NR_COMMAND_IDS && test_bit(id, session->commands);
}

static inline bool kvmi_event_allowed(struct kvm_introspection *session, u16 id)
{
	return id < KVMI_NR_EVENT_IDS && test_bit(id, session->events);
}

#endif /* __KVMI_SESSION_H */
