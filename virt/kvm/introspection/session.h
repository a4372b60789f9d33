/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_SESSION_H
#define __KVMI_SESSION_H

#include <linux/completion.h>
#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <uapi/linux/kvmi.h>

#include <asm/kvmi_host.h>

#include "limits.h"
#include "reader.h"

struct eventfd_ctx;
struct kvmi_rules;
struct kvmi_view;
struct vhost_task;

/* Buffer for the largest message */
struct kvmi_frame {
	struct kvmi_msg_hdr hdr;
	u8 payload[KVMI_MAX_MSG_SIZE];
};

/* Replies to commands that are still to be sent */
struct kvmi_replies {
	/* They don't wait for others */
	bool due;
	/* Bytes of @last that are to be sent after @earlier */
	size_t last_size;
	/* The reply that was made last */
	struct kvmi_frame last;
	/* Bytes of @earlier */
	size_t earlier_size;
	/* Replies that are sent together */
	u8 earlier[sizeof(struct kvmi_frame)];
};

/*
 * The session of a tool with a VM.
 *
 * Created by KVM_INTROSPECTION_HOOK, freed by KVM_INTROSPECTION_UNHOOK or when
 * the VM is destroyed, all under kvm->lock, after the receiver has stopped.
 * vCPU threads may use the session between kvmi_vcpu_enter() and
 * kvmi_vcpu_leave(), which unhooking waits for.  There are no other references.
 *
 * "Receiver only" fields are accessed by the receiver, and by the ioctls while
 * it does not run.
 */
struct kvm_introspection {
	struct kvm *kvm;
	/* Connection to the tool; the session holds a reference */
	struct socket *sock;
	/* Reads from @sock and runs the VM-wide commands */
	struct vhost_task *receiver;
	/*
	 * The tool is lost: everything it has sent was processed.  Until
	 * another one is attached no events are sent.  Set by the receiver,
	 * which then wakes every vCPU.
	 */
	bool defunct;
	/* Completed with @defunct, for unhooking to wait for */
	struct completion over;
	/* Number of tools that were attached before this one */
	unsigned int attachment;
	/* Signaled when the session becomes defunct, or NULL */
	struct eventfd_ctx *lost;
	/* With the tool lost, vCPUs stop instead of going on without an event */
	bool stops_on_loss;
	/* KVM_INTROSPECTION_*: what to do when @timeout or @max_timeout expires */
	u8 on_timeout;
	/*
	 * Jiffies for which the tool may leave an event unanswered without
	 * sending the vCPU a command, or MAX_SCHEDULE_TIMEOUT
	 */
	unsigned long timeout;
	/* Jiffies for which it may do so in total, 0 for no limit */
	unsigned long max_timeout;
	/*
	 * @sock can't be written to any more.  Set under @send_lock.  The
	 * receiver reads what is left, and then sets @defunct.
	 */
	bool broken;
	/* The session is being unhooked; the receiver ends as with @broken */
	bool ending;
	/* jiffies when that began; written before @ending */
	unsigned long ending_since;
	/* Messages received since @ending or @broken was set; receiver only */
	unsigned int late_messages;
	/* jiffies when the first of them was received; receiver only */
	unsigned long late_since;
	/*
	 * Unhooking clears the choice of control registers and MSRs; written
	 * by the receiver only
	 */
	bool cleanup;
	/* Shut down the vCPUs after the reply was sent; under @reader.lock */
	bool shutdown;

	/* Commands and events that the VMM allows */
	DECLARE_BITMAP(commands, KVMI_NR_COMMAND_IDS);
	DECLARE_BITMAP(events, KVMI_NR_EVENT_IDS);
	/* Events of the VM that the tool has enabled */
	DECLARE_BITMAP(vm_events, KVMI_NR_EVENT_IDS);

	/*
	 * Number of VM-wide commands that were executed and make replies that
	 * were kept stale; written by the receiver only
	 */
	u32 policy;
	/* Number of UNHOOK events that the VMM has requested */
	unsigned int unhook_wanted;
	/* Value of @unhook_wanted that was sent last; written by the receiver */
	unsigned int unhook_sent;
	/* Sequence number of the pending UNHOOK event, or 0; receiver only */
	u32 unhook_seq;
	/* Sequence number of the last event */
	atomic_t seq;
	/* Offset of memory cookies */
	u32 cookie_base;
	/* Looks for vCPUs that have been waiting for the tool for long */
	struct delayed_work watch;
	/* @watch is scheduled */
	bool watched;
	/* vCPUs to wait for; receiver only */
	DECLARE_BITMAP(kicked, KVM_MAX_VCPUS);

	/* Views of guest memory; view 0 always exists.  Written by the receiver */
	struct kvmi_view __rcu *views[KVMI_NR_VIEWS];
	/* Number of remapped gfns in all of @views; receiver only */
	unsigned int nr_changed;
	/* The same, per address space, by the page mapped; under mmu_lock */
	struct rb_root shown[KVM_MAX_NR_ADDRESS_SPACES];

	/*
	 * What decides events without the tool, or NULL; read within kvm->srcu,
	 * written by the receiver
	 */
	struct kvmi_rules __rcu *rules[KVMI_NR_EVENT_IDS];

	/* Serializes writers to @sock, protects @unsent */
	struct mutex send_lock;
	/* Bytes in @unsent; also read without the lock */
	size_t unsent_size;
	/* The rest of a message that was written in part */
	u8 unsent[sizeof(struct kvmi_frame)];

	/* Who reads from @sock */
	struct kvmi_reader reader;
	/* Bytes of @rx that have arrived; under @reader.lock */
	size_t received;
	/* End of the bytes of @rx that may not be zero; under @reader.lock */
	size_t rx_end;
	/* The message being received; under @reader.lock */
	struct kvmi_frame rx;
	/* Bytes in @ahead; under @reader.lock, also read without it */
	size_t ahead_size;
	/* Where they begin; under @reader.lock */
	size_t ahead_begin;
	/* What a stream had after the last message that was read from it */
	u8 ahead[sizeof(struct kvmi_frame)];

	/* To commands that were not run on a vCPU's thread; under @reader.lock */
	struct kvmi_replies replies;
};

void kvmi_session_wake_receiver(struct kvm_introspection *session);
bool kvmi_session_too_late(struct kvm_introspection *session);

/* Return true if the tool is lost and the guest goes on without it. */
static inline bool kvmi_goes_on_without_tool(struct kvm_introspection *session)
{
	return READ_ONCE(session->defunct) &&
	       (!session->stops_on_loss || READ_ONCE(session->ending));
}

/* Return true if an UNHOOK event is still to be sent. */
static inline bool kvmi_unhook_pending(struct kvm_introspection *session)
{
	return READ_ONCE(session->unhook_wanted) != READ_ONCE(session->unhook_sent);
}

static inline bool kvmi_command_allowed(const struct kvm_introspection *session,
					u16 id)
{
	return id < KVMI_NR_COMMAND_IDS && test_bit(id, session->commands);
}

static inline bool kvmi_event_allowed(const struct kvm_introspection *session, u16 id)
{
	return id < KVMI_NR_EVENT_IDS && test_bit(id, session->events);
}

#endif /* __KVMI_SESSION_H */
