// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: lookup and dispatch of commands.
 *
 * The receiver runs VM-wide commands itself.  Commands to a vCPU are queued for
 * the vCPU's thread, which runs them in KVM_RUN, if they need the vCPU.
 */

#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "arch.h"
#include "changed_gfns.h"
#include "command.h"
#include "event.h"
#include "limits.h"
#include "memory.h"
#include "memslots.h"
#include "message.h"
#include "page_access.h"
#include "rules.h"
#include "session.h"
#include "trace.h"
#include "vcpu.h"
#include "view.h"
#include "vm.h"

enum kvmi_scope {
	KVMI_SCOPE_NONE,
	KVMI_SCOPE_VM,
	KVMI_SCOPE_VCPU,
	KVMI_SCOPE_EVENT_REPLY,
};

/* Requests of commands from here on must not exceed what this kernel knows */
#define FIRST_YOUNGER_ID	KVMI_VM_MESSAGE_ID(32)

struct kvmi_command_desc {
	enum kvmi_scope scope;
	/* The VMM can't forbid the command */
	bool always_allowed;
	/* The command makes replies to events that were kept stale */
	bool policy;
	/* The command waits for nothing, and any task of the VM can run it */
	bool quick;
	/* The command is about what the tool wants of a vCPU, see try_unloaded() */
	bool unloaded;
	/* The request continues after @size bytes */
	bool is_list;
	/*
	 * Bytes of the request, or of its fixed part.  Shorter ones are
	 * zero-extended, as older tools may know fewer fields.
	 */
	size_t size;
	/* Handler for KVMI_SCOPE_VM */
	int (*vm)(struct kvmi_vm_request *req);
	/* Handler for KVMI_SCOPE_VCPU */
	int (*vcpu)(struct kvmi_vcpu_request *req);
};

#define VM(_handler, _size)						\
	{ .scope = KVMI_SCOPE_VM, .size = (_size), .vm = (_handler) }
#define VM_QUICK(_handler, _size)					\
	{ .scope = KVMI_SCOPE_VM, .size = (_size), .vm = (_handler),	\
	  .quick = true }
#define VM_ALWAYS(_handler, _size)					\
	{ .scope = KVMI_SCOPE_VM, .size = (_size), .vm = (_handler),	\
	  .always_allowed = true, .quick = true }
#define VM_POLICY(_handler, _size)					\
	{ .scope = KVMI_SCOPE_VM, .size = (_size), .vm = (_handler),	\
	  .policy = true }
#define VCPU(_handler, _size)						\
	{ .scope = KVMI_SCOPE_VCPU, .size = (_size), .vcpu = (_handler) }
#define VCPU_POLICY(_handler, _size)					\
	{ .scope = KVMI_SCOPE_VCPU, .size = (_size), .vcpu = (_handler),	\
	  .policy = true }
#define VCPU_UNLOADED(_handler, _size, _policy)				\
	{ .scope = KVMI_SCOPE_VCPU, .size = (_size), .vcpu = (_handler),	\
	  .unloaded = true, .policy = (_policy) }

static const struct kvmi_command_desc commands[KVMI_NR_COMMAND_IDS] = {
	[KVMI_GET_VERSION] =
		VM_ALWAYS(kvmi_get_version, 0),
	[KVMI_VM_CHECK_COMMAND] =
		VM_ALWAYS(kvmi_vm_check_command, sizeof(struct kvmi_vm_check_command)),
	[KVMI_VM_CHECK_EVENT] =
		VM_ALWAYS(kvmi_vm_check_event, sizeof(struct kvmi_vm_check_event)),
	[KVMI_VM_GET_INFO] =
		VM_QUICK(kvmi_vm_get_info, 0),
	[KVMI_VM_CONTROL_EVENTS] =
		VM_POLICY(kvmi_vm_control_events, sizeof(struct kvmi_vm_control_events)),
	[KVMI_VM_READ_PHYSICAL] =
		VM_QUICK(kvmi_vm_read_physical, sizeof(struct kvmi_vm_read_physical)),
	[KVMI_VM_WRITE_PHYSICAL] =
		VM(kvmi_vm_write_physical, sizeof(struct kvmi_vm_write_physical)),
	[KVMI_VM_PAUSE_VCPU] =
		VM(kvmi_vm_pause_vcpu, sizeof(struct kvmi_vm_pause_vcpu)),
	[KVMI_VM_CONTROL_CLEANUP] =
		VM_POLICY(kvmi_vm_control_cleanup, sizeof(struct kvmi_vm_control_cleanup)),
	[KVMI_VM_SET_PAGE_ACCESS] =
		VM_POLICY(kvmi_vm_set_page_access, sizeof(struct kvmi_vm_set_page_access)),
	[KVMI_VM_GET_FEATURES] =
		VM_QUICK(kvmi_vm_get_features, 0),
	[KVMI_VM_GET_MAX_GFN] =
		VM_QUICK(kvmi_vm_get_max_gfn, 0),
	[KVMI_VM_GET_MEMSLOTS] =
		VM_QUICK(kvmi_vm_get_memslots, sizeof(struct kvmi_vm_get_memslots)),
	[KVMI_VM_GET_PAGE_ACCESS] = {
		.scope = KVMI_SCOPE_VM,
		.quick = true,
		.is_list = true,
		.size = sizeof(struct kvmi_vm_get_page_access),
		.vm = kvmi_vm_get_page_access,
	},
	[KVMI_VM_CREATE_VIEW] =
		VM(kvmi_vm_create_view, sizeof(struct kvmi_vm_create_view)),
	[KVMI_VM_DESTROY_VIEW] =
		VM(kvmi_vm_destroy_view, sizeof(struct kvmi_vm_destroy_view)),
	[KVMI_VM_CHANGE_GFN] =
		VM_POLICY(kvmi_vm_change_gfn, sizeof(struct kvmi_vm_change_gfn)),
	[KVMI_VM_SET_RULES] = {
		.scope = KVMI_SCOPE_VM,
		.policy = true,
		.is_list = true,
		.size = sizeof(struct kvmi_vm_set_rules),
		.vm = kvmi_vm_set_rules,
	},
	[KVMI_VM_GET_RULES] =
		VM_QUICK(kvmi_vm_get_rules, sizeof(struct kvmi_vm_get_rules)),
	[KVMI_VM_LIST_PAGE_ACCESS] =
		VM_QUICK(kvmi_vm_list_page_access, sizeof(struct kvmi_vm_list_page_access)),
	[KVMI_VM_LIST_CHANGED_GFNS] =
		VM_QUICK(kvmi_vm_list_changed_gfns, sizeof(struct kvmi_vm_list_changed_gfns)),
	[KVMI_VM_LIST_VIEWS] =
		VM_QUICK(kvmi_vm_list_views, 0),
	[KVMI_VM_GET_VCPUS] =
		VM_QUICK(kvmi_vm_get_vcpus, sizeof(struct kvmi_vm_get_vcpus)),
	[KVMI_VM_PAUSE_ALL] =
		VM(kvmi_vm_pause_all, sizeof(struct kvmi_vm_pause_all)),
	[KVMI_VM_SHUTDOWN] =
		VM(kvmi_vm_shutdown, 0),

	[KVMI_VCPU_EVENT] = { .scope = KVMI_SCOPE_EVENT_REPLY },
	[KVMI_VCPU_GET_INFO] =
		VCPU(kvmi_vcpu_get_info, 0),
	[KVMI_VCPU_CONTROL_EVENTS] =
		VCPU_UNLOADED(kvmi_vcpu_control_events,
			      sizeof(struct kvmi_vcpu_control_events), true),
	[KVMI_VCPU_GET_REGISTERS] =
		VCPU(kvmi_vcpu_get_registers, sizeof(struct kvmi_vcpu_get_registers)),
	[KVMI_VCPU_SET_REGISTERS] =
		VCPU(kvmi_vcpu_set_registers, sizeof(struct kvm_regs)),
	[KVMI_VCPU_GET_CPUID] =
		VCPU(kvmi_vcpu_get_cpuid, sizeof(struct kvmi_vcpu_get_cpuid)),
	[KVMI_VCPU_CONTROL_CR] =
		VCPU_UNLOADED(kvmi_vcpu_control_cr,
			      sizeof(struct kvmi_vcpu_control_cr), true),
	[KVMI_VCPU_GET_XCR] =
		VCPU(kvmi_vcpu_get_xcr, sizeof(struct kvmi_vcpu_get_xcr)),
	[KVMI_VCPU_GET_XSAVE] =
		VCPU(kvmi_vcpu_get_xsave, 0),
	[KVMI_VCPU_SET_XSAVE] =
		VCPU_POLICY(kvmi_vcpu_set_xsave, KVMI_XSAVE_SIZE),
	[KVMI_VCPU_GET_XSAVE2] =
		VCPU(kvmi_vcpu_get_xsave2, sizeof(struct kvmi_vcpu_get_xsave2)),
	[KVMI_VCPU_SET_XSAVE2] = {
		.scope = KVMI_SCOPE_VCPU,
		.policy = true,
		.is_list = true,
		.size = sizeof(struct kvmi_vcpu_set_xsave2),
		.vcpu = kvmi_vcpu_set_xsave2,
	},
	[KVMI_VCPU_GET_CONTROL] =
		VCPU_UNLOADED(kvmi_vcpu_get_control, 0, false),
	[KVMI_VCPU_GET_DEBUGREGS] =
		VCPU(kvmi_vcpu_get_debugregs, 0),
	[KVMI_VCPU_SET_DEBUGREGS] =
		VCPU_POLICY(kvmi_vcpu_set_debugregs,
			    sizeof(struct kvmi_vcpu_debugregs)),
	[KVMI_VCPU_GET_MTRR_TYPE] =
		VCPU(kvmi_vcpu_get_mtrr_type, sizeof(struct kvmi_vcpu_get_mtrr_type)),
	[KVMI_VCPU_TRANSLATE_GVA] =
		VCPU(kvmi_vcpu_translate_gva, sizeof(struct kvmi_vcpu_translate_gva)),
	[KVMI_VCPU_CONTROL_MSR] =
		VCPU_UNLOADED(kvmi_vcpu_control_msr,
			      sizeof(struct kvmi_vcpu_control_msr), true),
	[KVMI_VCPU_INJECT_EXCEPTION] =
		VCPU(kvmi_vcpu_inject_exception,
		     sizeof(struct kvmi_vcpu_inject_exception)),
	[KVMI_VCPU_CONTROL_SINGLESTEP] =
		VCPU_POLICY(kvmi_vcpu_control_singlestep,
			    sizeof(struct kvmi_vcpu_control_singlestep)),
	[KVMI_VCPU_SET_VIEW] =
		VCPU_POLICY(kvmi_vcpu_set_view, sizeof(struct kvmi_vcpu_set_view)),
	[KVMI_VCPU_GET_VIEW] =
		VCPU_UNLOADED(kvmi_vcpu_get_view, 0, false),
	[KVMI_VCPU_CONTROL_EVENT_SET] =
		VCPU_UNLOADED(kvmi_vcpu_control_event_set,
			      sizeof(struct kvmi_vcpu_control_event_set), true),
};

static const struct kvmi_command_desc *find_command(u16 id)
{
	if (id >= ARRAY_SIZE(commands) || commands[id].scope == KVMI_SCOPE_NONE)
		return NULL;

	return &commands[array_index_nospec(id, ARRAY_SIZE(commands))];
}

/* Return true if this kernel implements the command. */
bool kvmi_command_known(u16 id)
{
	return find_command(id);
}

/* Return true if the VMM can't forbid the command. */
bool kvmi_command_always_allowed(u16 id)
{
	const struct kvmi_command_desc *desc = find_command(id);

	return desc && desc->always_allowed;
}

/* The vCPU that the message is for, not validated */
static int traced_vcpu(struct kvm_introspection *session)
{
	const struct kvmi_vcpu_hdr *vhdr = (void *)session->rx.payload;
	const struct kvmi_command_desc *desc = find_command(session->rx.hdr.id);

	return desc && desc->scope == KVMI_SCOPE_VCPU ? vhdr->vcpu : KVMI_TRACE_VM;
}

/*
 * The reply to the message in session->rx is sent before the next message is read
 * from the socket.  @more: if it was read already, they are sent together.
 */
static void __reply_to(struct kvm_introspection *session, int err, size_t size, bool more)
{
	kvmi_replies_add(&session->replies, &session->rx.hdr, err, size,
			 more && kvmi_message_is_ahead(session));
	if (trace_kvmi_reply_enabled())
		trace_kvmi_reply(session->kvm, traced_vcpu(session),
				 &session->replies.last.hdr, err);
}

static void reply_to(struct kvm_introspection *session, int err, size_t size)
{
	__reply_to(session, err, size, true);
}

bool __kvmi_command_replies_due(const struct kvm_introspection *session)
{
	lockdep_assert_held(&session->reader.lock);

	return session->replies.due || session->shutdown || session->reader.error ||
	       !kvmi_message_is_ahead(session);
}

/* Return false if replies are left. */
static bool send_replies(struct kvm_introspection *session,
			 int (*send)(struct kvm_introspection *session, void *data,
				     size_t size))
{
	void *data;
	size_t size;

	while ((data = kvmi_replies_first(&session->replies, &size))) {
		if (send(session, data, size))
			return false;
		kvmi_replies_sent(&session->replies);
	}

	return true;
}

/* 0 also for what can't be sent any more, which is dropped */
static int send_and_wait(struct kvm_introspection *session, void *data, size_t size)
{
	int r = kvmi_message_send(session, session->attachment, data, size,
				  session->timeout);

	return r == -EINTR || r == -ETIME ? -EINTR : 0;
}

static int send_now(struct kvm_introspection *session, void *data, size_t size)
{
	return kvmi_message_send_now(session, session->attachment, data, size,
				     false) ? 0 : -EAGAIN;
}

/*
 * Send the replies that are due.  Return 0, or -EINTR to be called again.  With a
 * timeout set, send_lock is not held while waiting, as vCPUs may have to give up.
 * Receiver only, under reader.lock.
 */
int kvmi_command_send_due_replies(struct kvm_introspection *session)
{
	if (!kvmi_command_replies_due(session))
		return 0;

	return send_replies(session, send_and_wait) ? 0 : -EINTR;
}

/*
 * The same on a vCPU's thread, when replies are due.  What the socket has no room
 * for is the receiver's.
 */
void kvmi_command_send_replies_now(struct kvm_introspection *session)
{
	if (!send_replies(session, send_now))
		kvmi_session_wake_receiver(session);
}

static int handle_vm_command(struct kvm_introspection *session,
			     const struct kvmi_command_desc *desc, size_t *size)
{
	struct kvmi_vm_request req = {
		.session = session,
		.data = session->rx.payload,
		.size = session->rx.hdr.size,
		.reply = kvmi_reply_data(&session->replies),
	};
	int r;

	r = desc->vm(&req);
	*size = req.reply_size;
	return r;
}

static void trace_received(struct kvm_introspection *session)
{
	if (trace_kvmi_command_received_enabled())
		trace_kvmi_command_received(session->kvm, traced_vcpu(session),
					    &session->rx.hdr);
}

static int run_vm_command(struct kvm_introspection *session,
			  const struct kvmi_command_desc *desc)
{
	size_t size;
	int r;

	session->kvm->stat.introspection_vm_commands++;
	if (desc->policy)
		WRITE_ONCE(session->policy, session->policy + 1);
	trace_kvmi_command_run(session->kvm, KVMI_TRACE_VM, &session->rx.hdr);
	r = handle_vm_command(session, desc, &size);
	if (r == KVMI_CLOSE)
		return -EPROTO;

	reply_to(session, r, size);
	return 0;
}

/*
 * The same in a vCPU's thread, which waits neither for the tool to read nor for a
 * page of the guest to be there.  Return 0, or -ENOENT to leave the command to the
 * receiver, as all that fails.
 */
static int run_quick_command(struct kvm_introspection *session,
			     const struct kvmi_command_desc *desc)
{
	size_t size;
	int r;

	pagefault_disable();
	r = handle_vm_command(session, desc, &size);
	pagefault_enable();
	if (r)
		return -ENOENT;

	/* What is left to the receiver is traced there. */
	trace_received(session);
	trace_kvmi_command_run(session->kvm, KVMI_TRACE_VM, &session->rx.hdr);
	session->kvm->stat.introspection_vm_commands++;
	reply_to(session, 0, size);

	return 0;
}

/* The vCPU that the message is for; NULL if it is malformed or there is none */
static struct kvm_vcpu *find_vcpu(struct kvm_introspection *session)
{
	const struct kvmi_vcpu_hdr *vhdr = (void *)session->rx.payload;

	if (vhdr->padding1 || vhdr->padding2)
		return NULL;

	return kvm_get_vcpu(session->kvm, vhdr->vcpu);
}

/* The vCPU that a reply to an event is for, or NULL */
static struct kvm_vcpu *find_vcpu_of_reply(struct kvm_introspection *session)
{
	return session->rx.hdr.size >= KVMI_MIN_EVENT_REPLY ? find_vcpu(session) : NULL;
}

static bool is_event_reply(const struct kvmi_command_desc *desc)
{
	return desc && desc->scope == KVMI_SCOPE_EVENT_REPLY;
}

static int receive_event_reply(struct kvm_introspection *session)
{
	struct kvm_vcpu *vcpu = find_vcpu_of_reply(session);

	if (vcpu)
		return kvmi_event_receive_reply(session, vcpu);
	if (session->rx.hdr.size < KVMI_MIN_EVENT_REPLY)
		return -EPROTO;

	reply_to(session, -KVM_EINVAL, 0);
	return 0;
}

/* Bytes of the request after struct kvmi_vcpu_hdr */
static size_t vcpu_request_size(const struct kvm_introspection *session)
{
	size_t size = session->rx.hdr.size;

	return size - min(size, sizeof(struct kvmi_vcpu_hdr));
}

/* Return 0, or the error to reply with. */
static int queue_vcpu_command(struct kvm_introspection *session, struct kvm_vcpu *vcpu,
			      const struct kvmi_command_desc *desc)
{
	const struct kvmi_msg_hdr *hdr = &session->rx.hdr;
	struct kvmi_command *cmd;
	size_t size, room;
	int err;

	size = vcpu_request_size(session);
	room = max(size, desc->size);
	cmd = kvzalloc_flex(*cmd, request, room, GFP_KERNEL_ACCOUNT);
	if (!cmd)
		return -KVM_ENOMEM;
	cmd->hdr = *hdr;
	cmd->more = kvmi_message_is_ahead(session);
	cmd->policy = desc->policy;
	cmd->attachment = session->attachment;
	cmd->size = size;
	memcpy(cmd->request, session->rx.payload + sizeof(struct kvmi_vcpu_hdr), size);

	err = kvmi_vcpu_queue(vcpu, cmd);
	if (err)
		kvfree(cmd);
	return err;
}

/*
 * Run a command on behalf of a vCPU whose thread has nothing to do with the session
 * at the moment.  Receiver only.
 *
 * Return 0 with @size bytes of reply, a negative KVM_E* to reply with, or
 * KVMI_ON_VCPU to queue the command.
 */
static int run_unloaded(struct kvm_introspection *session, struct kvm_vcpu *vcpu,
			const struct kvmi_command_desc *desc, size_t *size)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_vcpu_request req = {
		.vcpu = vcpu,
		.vi = vi,
		.unloaded = true,
		.session = session,
		.data = session->rx.payload + sizeof(struct kvmi_vcpu_hdr),
		.size = vcpu_request_size(session),
		.reply = kvmi_reply_data(&session->replies),
	};
	int r;

	guard(spinlock)(&vi->lock);

	if (!kvmi_vcpu_is_unused(vi))
		return KVMI_ON_VCPU;
	r = desc->vcpu(&req);
	if (r == KVMI_ON_VCPU)
		return r;
	if (desc->policy)
		WRITE_ONCE(vi->policy, vi->policy + 1);
	vcpu->stat.introspection_commands++;
	trace_kvmi_command_run(vcpu->kvm, vcpu->vcpu_idx, &session->rx.hdr);
	*size = req.reply_size;

	return r;
}

/*
 * The same, if that does not take longer than to ask the vCPU's thread: the guest
 * must not go on as before once the tool has the reply, but a thread that handles a
 * VM exit may have looked already whether there is something to do.
 */
static int try_unloaded(struct kvm_introspection *session, struct kvm_vcpu *vcpu,
			const struct kvmi_command_desc *desc, size_t *size)
{
	int mode, r;

	/* In userspace */
	if (mutex_trylock(&vcpu->mutex)) {
		r = run_unloaded(session, vcpu, desc, size);
		mutex_unlock(&vcpu->mutex);
		return r;
	}
	if (!kvm_vcpu_is_blocking(vcpu) && READ_ONCE(vcpu->mode) != IN_GUEST_MODE)
		return KVMI_ON_VCPU;

	r = run_unloaded(session, vcpu, desc, size);
	if (r || !desc->policy)
		return r;
	/*
	 * Pairs with those that begin the next section of the vCPU within
	 * kvm->srcu, where it handles the exit.
	 */
	smp_mb();
	mode = READ_ONCE(vcpu->mode);
	if (mode == IN_GUEST_MODE || mode == EXITING_GUEST_MODE)
		kvmi_vm_wait_for_exit(session, vcpu);
	else if (!kvm_vcpu_is_blocking(vcpu))
		synchronize_srcu_expedited(&vcpu->kvm->srcu);

	return r;
}

static void process_vcpu_command(struct kvm_introspection *session,
				 const struct kvmi_command_desc *desc)
{
	struct kvm_vcpu *vcpu = find_vcpu(session);
	int r = KVMI_ON_VCPU;
	size_t size = 0;

	if (!vcpu)
		r = -KVM_EINVAL;
	else if (desc->unloaded)
		r = try_unloaded(session, vcpu, desc, &size);

	if (r == KVMI_ON_VCPU) {
		r = queue_vcpu_command(session, vcpu, desc);
		if (!r)
			return;
	}
	/* The vCPU's reply to the next command must not come first. */
	__reply_to(session, r, size, false);
}

/* Return true if a request has data that this kernel would ignore. */
static bool has_surplus(const struct kvm_introspection *session,
			const struct kvmi_command_desc *desc)
{
	size_t known = desc->size, size = session->rx.hdr.size;

	if (desc->scope == KVMI_SCOPE_VCPU)
		known += sizeof(struct kvmi_vcpu_hdr);

	return !desc->is_list && size > known &&
	       memchr_inv(session->rx.payload + known, 0, size - known);
}

/* Return 0, or the error to reply with to a command that is refused. */
static int check_command(const struct kvm_introspection *session,
			 const struct kvmi_command_desc *desc)
{
	u16 id = session->rx.hdr.id;

	if (!desc)
		return -KVM_ENOSYS;
	if (!kvmi_command_allowed(session, id))
		return -KVM_EPERM;
	if (id >= FIRST_YOUNGER_ID && has_surplus(session, desc))
		return -KVM_E2BIG;

	return 0;
}

/*
 * Process the message in session->rx.  Return 0, with the reply left to
 * kvmi_command_send_due_replies(), or an error to end the session.
 */
int kvmi_command_receive(struct kvm_introspection *session)
{
	const struct kvmi_command_desc *desc = find_command(session->rx.hdr.id);
	int err;

	if (is_event_reply(desc))
		return receive_event_reply(session);

	trace_received(session);
	err = check_command(session, desc);
	if (!err && desc->scope == KVMI_SCOPE_VM)
		return run_vm_command(session, desc);
	if (err)
		reply_to(session, err, 0);
	else
		process_vcpu_command(session, desc);

	return 0;
}

/*
 * Process the message in session->rx if it is the reply to an event, a command
 * that can be queued for a vCPU, or a quick one.  Return 0; -ENOENT if the message
 * is the receiver's; another error to end the session.  May sleep for memory, not
 * for the tool.
 */
int kvmi_command_receive_for_vcpu(struct kvm_introspection *session)
{
	const struct kvmi_command_desc *desc = find_command(session->rx.hdr.id);
	struct kvm_vcpu *vcpu;

	if (is_event_reply(desc)) {
		vcpu = find_vcpu_of_reply(session);
		return vcpu ? kvmi_event_receive_reply(session, vcpu) : -ENOENT;
	}

	/* What fails is tried, and replied to, by the receiver. */
	if (check_command(session, desc))
		return -ENOENT;
	if (desc->scope == KVMI_SCOPE_VM)
		return desc->quick ? run_quick_command(session, desc) : -ENOENT;
	vcpu = find_vcpu(session);
	if (!vcpu || (desc->unloaded && kvmi_vcpu_has_no_event(vcpu)) ||
	    queue_vcpu_command(session, vcpu, desc))
		return -ENOENT;

	trace_received(session);
	return 0;
}

/*
 * Run a command on the vCPU's thread and put its reply in vi->replies.  If the next
 * command was read together with this one, both replies are sent together.
 */
void kvmi_command_run(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		      const struct kvmi_command *cmd)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_vcpu_request req = {
		.vcpu = vcpu,
		.vi = vi,
		.session = session,
		.in_event = cmd->event_seq && cmd->event_seq == vi->event.seq,
		.policy_nr = cmd->policy_nr,
		.data = cmd->request,
		.size = cmd->size,
		.reply = kvmi_reply_data(&vi->replies),
	};
	int err;

	vcpu->stat.introspection_commands++;
	trace_kvmi_command_run(vcpu->kvm, vcpu->vcpu_idx, &cmd->hdr);

	if (vi->reply_to != cmd->attachment) {
		kvmi_replies_drop(&vi->replies);
		vi->reply_to = cmd->attachment;
	}
	err = find_command(cmd->hdr.id)->vcpu(&req);
	if (cmd->policy)
		kvmi_arch_vcpu_policy_changed(vcpu);
	kvmi_replies_add(&vi->replies, &cmd->hdr, err, req.reply_size,
			 cmd->more && READ_ONCE(vi->nr_commands));
	trace_kvmi_reply(vcpu->kvm, vcpu->vcpu_idx, &vi->replies.last.hdr, err);
}
