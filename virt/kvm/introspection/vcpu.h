/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VCPU_H
#define __KVMI_VCPU_H

#include <linux/list.h>
#include <linux/spinlock.h>

#include "errand.h"
#include "session.h"

/**
 * struct kvmi_command - a command that waits for a vCPU's thread
 * @node: in kvm_vcpu_introspection.commands
 * @hdr: header as received
 * @event_seq: number of the vCPU's event that was open when it arrived, or 0
 * @attachment: kvm_introspection.attachment then
 * @policy: it may change what the tool wants
 * @size: bytes of the request that were received
 * @request: what followed struct kvmi_vcpu_hdr, and zeroes up to what the
 *	handler expects at least
 */
struct kvmi_command {
	struct list_head node;
	struct kvmi_msg_hdr hdr;
	u32 event_seq;
	bool policy;
	unsigned int attachment;
	size_t size;
	u8 request[];
};

enum kvmi_event_state {
	KVMI_EVENT_NONE,
	KVMI_EVENT_OPEN,
	KVMI_EVENT_ANSWERED,
};

/**
 * struct kvmi_event - an event of a vCPU that was sent, and its answer
 * @state: OPEN once sent, ANSWERED once the tool has replied
 * @session: kvm_vcpu_introspection.nr_sessions when it was sent
 * @id: enum kvmi_vcpu_event_id
 * @actions: bits of the KVMI_EVENT_ACTION_* it accepts
 * @action: the answer, KVMI_EVENT_ACTION_*
 * @set_regs: the tool wants @regs to be loaded before the guest goes on
 * @unanswered: it is not the tool's answer: it has had no more time
 * @stopped: KVM_RUN has returned as the time was over; it begins anew with the next one
 * @suspended: KVM_RUN has returned for another reason, and the time does not go on
 * @suspended_at: since when, in jiffies
 * @seq: number the reply has to carry
 * @since: when the vCPU began to send it, in jiffies
 * @attachment: kvm_introspection.attachment then
 * @begun: when the time that the tool may take began, in jiffies
 * @renewed: when the tool did something for the vCPU last
 * @at: the guest's context then, RIP in it
 * @data_size: bytes in @data
 * @data: the event's own data
 * @reply_size: bytes of data the tool sent with its answer
 * @reply: that data
 * @policy: kvm_vcpu_introspection.policy when the answer came
 * @vm_policy: kvm_introspection.policy then
 * @regs: see @set_regs
 */
struct kvmi_event {
	enum kvmi_event_state state;
	unsigned int session;
	u16 id;
	u8 actions;
	u8 action;
	bool set_regs;
	bool unanswered;
	bool stopped;
	bool suspended;
	unsigned long suspended_at;
	u32 seq;
	unsigned long since;
	unsigned int attachment;
	unsigned long begun;
	unsigned long renewed;
	struct kvmi_context at;
	size_t data_size;
	u8 data[KVMI_MAX_EVENT_DATA];
	size_t reply_size;
	u8 reply[KVMI_MAX_EVENT_REPLY];
	u32 policy;
	u32 vm_policy;
	struct kvm_regs regs;
};

/**
 * struct kvmi_exit - why KVM_RUN returns KVM_EXIT_INTROSPECTION
 * @reason: KVM_INTROSPECTION_EXIT_*, 0 if it does not
 * @event: the event that is the reason
 * @seq: its number, 0 if it was not sent
 * @attachment: if the tool is lost, kvm_introspection.attachment of that one
 */
struct kvmi_exit {
	u32 reason;
	u32 event;
	u32 seq;
	unsigned int attachment;
};

/**
 * struct kvm_vcpu_introspection - what introspection keeps of a vCPU
 * @vcpu: the vCPU
 * @lock: protects what the receiver, unhooking and the vCPU's thread share:
 *	@session, @nr_sessions, @busy, @commands, @nr_commands, @errand, @pauses,
 *	@created, @crashed and the state of @event.  Who waits, or only wants to know
 *	whether there is something to do, also reads them without it.
 * @session: the session; NULL if there is none
 * @nr_sessions: how many there have been; tells @session from an earlier one
 * @busy: the vCPU's thread uses the session
 * @waits: the vCPU's thread waits for the tool, with an event open or not
 * @waits_since: when it began to, in jiffies; only the vCPU's thread writes the two
 * @wait: the vCPU's thread waits here for an answer or a command, unhooking
 *	waits for @busy to end
 * @commands: struct kvmi_command, oldest first
 * @nr_commands: length of @commands
 * @errand: what the receiver wants the vCPU's thread to do for it, or NULL
 * @pauses: PAUSE events that are owed to the tool
 * @created: the CREATE_VCPU event is owed to the tool, if it wants it
 * @crashed: KVM_RUN returns, and does so again whenever it is called
 * @crash: why; written before @crashed
 * @stop: why KVM_RUN is to return once; only the vCPU's thread uses it
 * @step_lost: a SINGLESTEP event was lost with the tool it was sent to
 * @events: ids of the vCPU's events the tool has turned on, changed bit by bit on the
 *	vCPU's thread and by unhooking
 * @event: the event the tool has not answered yet.  The answer is the receiver's
 *	to write, with @lock held, while the event is open; the rest, and all of it
 *	if it is not, is the vCPU's thread's.
 * @answered: the last event had an answer; only the vCPU's thread uses it
 * @expired: number of the last event that the tool has had no more time for
 * @expired_attachment: the tool that it was sent to
 * @answers_late: that tool has not answered it yet, nor a later one: its commands are
 *	not about the event that is open.  These three are under @lock.
 * @policy: number of commands to the vCPU that have changed what the tool wants;
 *	only the receiver changes it
 * @answers: answers that came after KVM_RUN had returned -EINTR; they are used if
 *	the guest does the same again, in the same session; only the vCPU's thread
 *	uses them
 * @oldest_answer: which of @answers is replaced when there are too many
 * @arch: what the tool wants to be told of
 * @reply_size: bytes of @reply that could not be sent yet
 * @reply: reply of a command; only the vCPU's thread uses it
 * @reply_to: kvm_introspection.attachment of the tool that it is for
 *
 * Made when the VM is hooked for the first time, or with the vCPU if that is
 * later, and freed with the vCPU.  So the hooks may look at it without a lock.
 */
struct kvm_vcpu_introspection {
	struct kvm_vcpu *vcpu;

	/* Protects what the receiver and the vCPU's thread share, see above */
	spinlock_t lock;
	struct kvm_introspection *session;
	unsigned int nr_sessions;
	bool busy;
	bool waits;
	unsigned long waits_since;
	wait_queue_head_t wait;

	struct list_head commands;
	unsigned int nr_commands;
	struct kvmi_errand *errand;
	unsigned int pauses;
	bool created;
	bool crashed;
	struct kvmi_exit crash;
	struct kvmi_exit stop;
	bool step_lost;

	DECLARE_BITMAP(events, KVMI_NR_EVENT_IDS);
	struct kvmi_event event;
	bool answered;
	u32 expired;
	unsigned int expired_attachment;
	bool answers_late;
	u32 policy;
	struct kvmi_event answers[KVMI_MAX_KEPT_ANSWERS];
	unsigned int oldest_answer;

	struct kvmi_arch_vcpu arch;

	size_t reply_size;
	struct kvmi_frame reply;
	unsigned int reply_to;
};

/**
 * kvmi_to_vcpu - introspection's part of a vCPU
 * @vcpu: the vCPU
 *
 * Return: NULL if the VM has never been introspected.
 */
static inline struct kvm_vcpu_introspection *kvmi_to_vcpu(struct kvm_vcpu *vcpu)
{
	/* Pairs with smp_store_release() in kvmi_vcpu_attach(). */
	return smp_load_acquire(&vcpu->introspection);
}

/**
 * kvmi_vcpu_has_work - has the vCPU's thread commands or an errand to run?
 * @vi: its introspection
 */
static inline bool kvmi_vcpu_has_work(struct kvm_vcpu_introspection *vi)
{
	return READ_ONCE(vi->nr_commands) || READ_ONCE(vi->errand);
}

int kvmi_vcpu_attach(struct kvm_vcpu *vcpu, struct kvm_introspection *session);
void kvmi_vcpu_detach(struct kvm_vcpu_introspection *vi, bool forget);
void kvmi_vcpu_release(struct kvm_vcpu_introspection *vi);
struct kvm_introspection *kvmi_vcpu_enter(struct kvm_vcpu_introspection *vi);
void kvmi_vcpu_leave(struct kvm_vcpu_introspection *vi);
void kvmi_vcpu_request(struct kvm_vcpu *vcpu);
int kvmi_vcpu_queue(struct kvm_vcpu *vcpu, struct kvmi_command *cmd);
int kvmi_vcpu_pause(struct kvm_vcpu *vcpu);
void kvmi_vcpu_crash(struct kvm_vcpu *vcpu, const struct kvmi_exit *why);
void kvmi_vcpu_shutdown(struct kvm_vcpu *vcpu);

/* Is the tool to be told of an event? */
enum kvmi_asking {
	KVMI_ASK_NOBODY,
	KVMI_ASK_TOOL,
	/* It is, and is lost. */
	KVMI_ASK_LATER,
};

enum kvmi_asking kvmi_vcpu_take_event(struct kvm_vcpu_introspection *vi, u16 id);
void kvmi_vcpu_give_event_back(struct kvm_vcpu_introspection *vi, u16 id);
int kvmi_vcpu_run_commands(struct kvm_vcpu *vcpu,
			   struct kvm_introspection *session);

/* wait.c */
void kvmi_vcpu_begin_wait(struct kvm_vcpu *vcpu,
			  struct kvm_introspection *session);
void kvmi_vcpu_end_wait(struct kvm_vcpu *vcpu);
void kvmi_waits_init(struct kvm_introspection *session);
void kvmi_waits_end(struct kvm_introspection *session);

#endif /* __KVMI_VCPU_H */
