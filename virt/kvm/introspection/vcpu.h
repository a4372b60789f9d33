/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VCPU_H
#define __KVMI_VCPU_H

#include <linux/list.h>
#include <linux/spinlock.h>

#include "session.h"
#include "vcpu_work.h"

/* A command that is queued for a vCPU's thread */
struct kvmi_command {
	/* In kvm_vcpu_introspection.commands */
	struct list_head node;
	/* Header as received */
	struct kvmi_msg_hdr hdr;
	/* Sequence number of the event that was open when it arrived, or 0 */
	u32 event_seq;
	/* Other messages were read with it */
	bool more;
	/* The command makes replies that were kept stale */
	bool policy;
	/* If so, kvm_vcpu_introspection.policy when it arrived, with it */
	u32 policy_nr;
	/* kvm_introspection.attachment of the tool that sent the command */
	unsigned int attachment;
	/* Bytes of the request that were received */
	size_t size;
	/*
	 * What followed struct kvmi_vcpu_hdr, zero-extended to the size that
	 * the handler expects
	 */
	u8 request[];
};

/*
 * State of kvm_vcpu_introspection.event, and of each of .answers:
 *
 *          the vCPU sends      the reply arrives, or
 *          the event           on_timeout is to go on
 *   NONE ----------------> OPEN ----------------> ANSWERED
 *    ^                      |                     |     |
 *    |   tool lost, unhook, |                     |     | KVM_RUN was interrupted,
 *    |   on_timeout = CRASH |   the vCPU uses the |     | the guest has to repeat
 *    +----------------------+   reply at once     |     | what the event is about
 *    |                                            |     v
 *    +--------------------------------------------+   ANSWERED, in .answers
 *    |                                                  |
 *    +--------------------------------------------------+
 *        used when the guest repeats it, or dropped if the context, the tool's
 *        requests or the session have changed
 *
 * While the event is OPEN the reply belongs to who reads the socket, under
 * kvm_vcpu_introspection.lock; everything else belongs to the vCPU's thread.
 * OPEN and ANSWERED outlast the return of KVM_RUN with -EINTR: the next KVM_RUN
 * continues to wait.
 */
enum kvmi_event_state {
	/* No event */
	KVMI_EVENT_NONE,
	/* Sent, or about to be */
	KVMI_EVENT_OPEN,
	/* The reply is there */
	KVMI_EVENT_ANSWERED,
};

/* An event of a vCPU and its reply */
struct kvmi_event {
	enum kvmi_event_state state;
	/* kvm_vcpu_introspection.nr_sessions when the event was sent */
	unsigned int session;
	/* enum kvmi_vcpu_event_id */
	u16 id;
	/* Bits of the KVMI_EVENT_ACTION_* that the event accepts */
	u8 actions;
	/* KVMI_EVENT_ACTION_* of the reply */
	u8 action;
	/* Load @regs before the guest goes on */
	bool set_regs;
	/* KVMI_REPLY_* of the reply; with a view, this is one of its users */
	u8 flags;
	/* The view of the reply */
	u8 view;
	/* The time expired and @action was chosen without the tool */
	bool unanswered;
	/* KVM_RUN has returned as the time expired; the next one restarts it */
	bool stopped;
	/* KVM_RUN has returned for another reason, and the time is suspended */
	bool suspended;
	/* Since when, in jiffies */
	unsigned long suspended_at;
	/* Sequence number */
	u32 seq;
	/* jiffies when the vCPU began to send the event */
	unsigned long since;
	/* kvm_introspection.attachment then */
	unsigned int attachment;
	/* jiffies when the time for the reply began */
	unsigned long begun;
	/* jiffies when the tool sent the last command to the vCPU */
	unsigned long renewed;
	/* Context of the guest when the event was sent */
	struct kvmi_context at;
	/* Event-specific data */
	size_t data_size;
	u8 data[KVMI_MAX_EVENT_DATA];
	/* Event-specific data of the reply */
	size_t reply_size;
	u8 reply[KVMI_MAX_EVENT_REPLY];
	/* kvm_vcpu_introspection.policy when the reply arrived */
	u32 policy;
	/* kvm_introspection.policy then */
	u32 vm_policy;
	/* See @set_regs */
	struct kvm_regs regs;
};

/* Why KVM_RUN returns KVM_EXIT_INTROSPECTION */
struct kvmi_exit {
	/* KVM_INTROSPECTION_EXIT_*, 0 for no exit */
	u32 reason;
	/* The event that is the reason, and its sequence number, 0 if not sent */
	u32 event;
	u32 seq;
	/* With a lost tool, its kvm_introspection.attachment */
	unsigned int attachment;
};

/*
 * Per-vCPU state, and the command queue.
 *
 * Allocated when the VM is hooked for the first time, or with the vCPU if that
 * is later, and freed with the vCPU.  Therefore hooks may read it without a lock.
 *
 * "Under @lock" fields are shared by whoever reads the socket, unhooking and the
 * vCPU's thread.  To wait, or to check for work, they are also read without it.
 */
struct kvm_vcpu_introspection {
	struct kvm_vcpu *vcpu;

	/* Protects the fields below that say so, and the state of @event */
	spinlock_t lock;
	/* The session, or NULL; under @lock */
	struct kvm_introspection *session;
	/* Number of sessions so far, to identify @session; under @lock */
	unsigned int nr_sessions;
	/* The vCPU's thread uses the session; under @lock */
	bool busy;
	/*
	 * The vCPU's thread waits for the tool, with an event open or not, and
	 * since when, in jiffies; written by the vCPU's thread
	 */
	bool waits;
	unsigned long waits_since;
	/*
	 * The vCPU's thread waits here for replies and commands, and unhooking
	 * waits for @busy to be cleared
	 */
	wait_queue_head_t wait;

	/* struct kvmi_command, oldest first; under @lock */
	struct list_head commands;
	/* Length of @commands; under @lock */
	unsigned int nr_commands;
	/* Work of the receiver for the vCPU's thread, or NULL; under @lock */
	struct kvmi_vcpu_work *work;
	/* Number of pending PAUSE events; under @lock */
	unsigned int pauses;
	/* A CREATE_VCPU event is pending, if the tool enables it; under @lock */
	bool create_pending;
	/* KVM_RUN returns from now on; under @lock */
	bool crashed;
	/* KVM_RUN has returned for that */
	bool crash_reported;
	/* KVM_RUN has to return for a crash of a session that has ended; under @lock */
	bool crash_left;
	/*
	 * The vCPU is in KVM_RUN, which reports a crash before it returns for
	 * something else; written by the vCPU's thread, cleared under @lock
	 */
	bool in_run;
	/* Why; written before @crashed */
	struct kvmi_exit crash;
	/* Why KVM_RUN returns once; written by the vCPU's thread */
	struct kvmi_exit stop;
	/* A SINGLESTEP event was lost with the tool; under @lock */
	bool step_lost;

	/* See enum kvmi_event_state */
	struct kvmi_event event;
	/* The tool has answered the last event; vCPU's thread only */
	bool answered;
	/* Sequence number of the last event whose time expired */
	u32 expired;
	/* The tool that it was sent to; under @lock */
	unsigned int expired_attachment;
	/*
	 * That tool has answered neither that event nor a later one: its
	 * commands are not about the open event.  Under @lock.
	 */
	bool answers_late;
	/*
	 * Number of commands to the vCPU, and of replies, that make replies that
	 * were kept stale; written under @lock
	 */
	u32 policy;
	/*
	 * Replies that arrived after KVM_RUN had returned -EINTR, for when the
	 * guest repeats what they are about; vCPU's thread only
	 */
	struct kvmi_event answers[KVMI_MAX_KEPT_ANSWERS];
	/* There may be one in @answers */
	bool keeps_answers;
	/* Which of @answers to replace when all are in use */
	unsigned int oldest_answer;

	struct kvmi_arch_vcpu arch;

	/* To commands; vCPU's thread only, and who has @lock while not @busy */
	struct kvmi_replies replies;
	/* kvm_introspection.attachment of the tool that sent these */
	unsigned int reply_to;
};

/*
 * Return introspection's state of a vCPU; NULL if the VM was never
 * introspected.
 */
static inline struct kvm_vcpu_introspection *kvmi_to_vcpu(struct kvm_vcpu *vcpu)
{
	/* Pairs with smp_store_release() in kvmi_vcpu_attach(). */
	return smp_load_acquire(&vcpu->introspection);
}

/* Return true if there are commands or other work for the vCPU's thread. */
static inline bool kvmi_vcpu_has_work(struct kvm_vcpu_introspection *vi)
{
	return READ_ONCE(vi->nr_commands) || READ_ONCE(vi->work);
}

/* Return true if no event of the vCPU is open, or answered and still to be used. */
static inline bool kvmi_vcpu_has_no_event(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(kvmi_to_vcpu(vcpu)->event.state) == KVMI_EVENT_NONE;
}

int kvmi_vcpu_attach(struct kvm_vcpu *vcpu, struct kvm_introspection *session);
void kvmi_vcpu_detach(struct kvm_vcpu_introspection *vi, bool forget);
void kvmi_vcpu_release(struct kvm_vcpu_introspection *vi);
struct kvm_introspection *kvmi_vcpu_enter(struct kvm_vcpu_introspection *vi);
void kvmi_vcpu_leave(struct kvm_vcpu_introspection *vi);
void kvmi_vcpu_request(struct kvm_vcpu *vcpu);
bool kvmi_vcpu_is_unused(const struct kvm_vcpu_introspection *vi);
int kvmi_vcpu_queue(struct kvm_vcpu *vcpu, struct kvmi_command *cmd);
int kvmi_vcpu_pause(struct kvm_vcpu *vcpu);
void kvmi_vcpu_crash(struct kvm_vcpu *vcpu, const struct kvmi_exit *why);
void kvmi_vcpu_shutdown(struct kvm_vcpu *vcpu);

/* Whether to send an event */
enum kvmi_claim {
	KVMI_CLAIM_NONE,
	KVMI_CLAIM_SEND,
	/* The tool is lost, and the vCPU has to stop */
	KVMI_CLAIM_LOST,
};

enum kvmi_claim kvmi_vcpu_claim_event(struct kvm_vcpu_introspection *vi, u16 id);
void kvmi_vcpu_unclaim_event(struct kvm_vcpu_introspection *vi, u16 id);
int kvmi_vcpu_run_commands(struct kvm_vcpu *vcpu,
			   struct kvm_introspection *session);

#endif /* __KVMI_VCPU_H */
