// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: sessions, and the VMM's ioctls.
 *
 *   KVM_INTROSPECTION_HOOK         tool is lost
 *  ------------------------> LIVE -----------------> DEFUNCT
 *                             |  <-----------------     |
 *                             | KVM_INTROSPECTION_ATTACH|
 *                             | KVM_INTROSPECTION_UNHOOK, end of the VM
 *                             +------------+------------+
 *                                          v
 *                                        gone
 *
 * All transitions but the one to DEFUNCT are made under kvm->lock.  In a DEFUNCT
 * session vCPUs go on as if every event was answered with ALLOW, or KVM_RUN
 * returns, as userspace has chosen.  Restrictions and intercepts stay until the
 * session is unhooked.
 *
 * Messages that the tool has sent before it was lost count: the receiver makes
 * the session DEFUNCT when it has read all of them.
 */

#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/jump_label_ratelimit.h>
#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>
#include <linux/moduleparam.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/sched/vhost_task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/af_unix.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "arch.h"
#include "command.h"
#include "event.h"
#include "limits.h"
#include "message.h"
#include "rules.h"
#include "session.h"
#include "vcpu.h"
#include "view.h"
#include "vm.h"
#include "wait.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static bool enable_introspection;
module_param_named(introspection, enable_introspection, bool, 0444);
MODULE_PARM_DESC(introspection,
		 "Let the owner of a VM hand it to an introspection tool (default: off)");

DEFINE_STATIC_KEY_DEFERRED_FALSE(kvmi_key, HZ);
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_key);

DEFINE_STATIC_KEY_DEFERRED_FALSE(kvmi_known_key, HZ);
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_known_key);

/* Nothing of introspection may run after KVM is unloaded. */
void kvmi_exit(void)
{
	static_key_deferred_flush(&kvmi_key);
	static_key_deferred_flush(&kvmi_known_key);
}

/*
 * Return the value of KVM_CAP_INTROSPECTION, for a VM or (NULL) for the host:
 * KVMI_VERSION, or 0 if introspection is off or the VM can't be introspected.
 */
int kvmi_check_extension(struct kvm *kvm)
{
	if (!enable_introspection || (kvm && !kvmi_arch_vm_supported(kvm)))
		return 0;

	return KVMI_VERSION;
}

bool __kvmi_vm_hooked(struct kvm *kvm)
{
	return READ_ONCE(kvm->introspection);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_vm_hooked);

/* Nothing more will arrive from the tool. */
static void set_defunct(struct kvm_introspection *session)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (!READ_ONCE(session->ending))
		trace_kvmi_defunct(session->kvm);
	WRITE_ONCE(session->defunct, true);
	kernel_sock_shutdown(session->sock, SHUT_RDWR);

	kvm_for_each_vcpu(i, vcpu, session->kvm)
		kvmi_vcpu_release(kvmi_to_vcpu(vcpu));
	if (session->lost && !READ_ONCE(session->ending))
		eventfd_signal(session->lost);
	complete_all(&session->over);
}

void kvmi_session_wake_receiver(struct kvm_introspection *session)
{
	/* KVM_INTROSPECTION_ATTACH may replace the socket. */
	guard(rcu)();
	wake_up_interruptible(&READ_ONCE(session->sock)->wq.wait);
}

/* Write what no other thread does, without blocking. */
static void send_pending(struct kvm_introspection *session)
{
	if (READ_ONCE(session->unsent_size))
		kvmi_message_try_send(session, NULL, 0);
	if (kvmi_unhook_pending(session))
		kvmi_event_send_unhook(session);
}

/*
 * Return true if messages have been processed for long enough.  Those that were
 * sent before the session ends count, but a tool that floods the socket, or
 * whose commands take long, has to be stopped.
 */
bool kvmi_session_too_late(struct kvm_introspection *session)
{
	/* Pairs with smp_store_release() in stop_receiver(). */
	bool ending = smp_load_acquire(&session->ending);

	if (session->late_messages > KVMI_MAX_LATE_MESSAGES)
		return true;

	return (ending && time_after(jiffies,
				     session->ending_since + KVMI_MAX_LATE_TIME)) ||
	       (session->late_messages &&
		time_after(jiffies, session->late_since + KVMI_MAX_LATE_TIME));
}

struct receiver_wait {
	struct wait_queue_entry entry;
	struct kvm_introspection *session;
};

/*
 * There is room to write whenever the tool has read an event, and what it replies
 * is read by a vCPU's thread.
 */
static int wake_receiver(struct wait_queue_entry *entry, unsigned int mode,
			 int flags, void *key)
{
	struct receiver_wait *wait = container_of(entry, struct receiver_wait, entry);

	if (key && !kvmi_message_pending(wait->session) &&
	    (kvmi_is_woken_for_room(key) ||
	     kvmi_reader_is_vcpu(&wait->session->reader)))
		return 0;

	return woken_wake_function(entry, mode, flags, key);
}

/*
 * Wait for the next message and read it.  The socket's wait queue is woken for
 * data, for room to write, and by kvmi_session_wake_receiver().  Return 0 with
 * reader.lock held.
 */
static int receive_next(struct kvm_introspection *session)
{
	struct receiver_wait wait = { .session = session };
	bool last;
	int r;

	init_wait_func(&wait.entry, wake_receiver);
	add_wait_queue(&session->sock->wq.wait, &wait.entry);
	/* Pairs with that of wq_has_sleeper(). */
	smp_mb();
	for (;;) {
		send_pending(session);

		/* By now, a lost tool has sent everything. */
		last = READ_ONCE(session->broken) || READ_ONCE(session->ending);
		/* Read the socket after these: then all of that is found. */
		smp_rmb();
		r = kvmi_reader_receive(session);
		if (r != -EAGAIN)
			break;
		if (last) {
			r = -ENOTCONN;
			break;
		}
		if (signal_pending(current)) {
			r = -EINTR;
			break;
		}
		wait_woken(&wait.entry, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	}
	remove_wait_queue(&session->sock->wq.wait, &wait.entry);

	return r;
}

/* Return true if the tool has shut down reading but may still send. */
static bool only_talks(struct kvm_introspection *session)
{
	return READ_ONCE(session->broken) &&
	       !(READ_ONCE(session->sock->sk->sk_shutdown) & RCV_SHUTDOWN);
}

/* The replies to what was sent before are sent before the session ends. */
static int end_after_replies(struct kvm_introspection *session, int error)
{
	guard(mutex)(&session->reader.lock);

	session->reader.error = error;

	return kvmi_command_replies_due(session) ? -EINTR : error;
}

static int receive_message(struct kvm_introspection *session)
{
	int r;

	/* Threads of vCPUs only try to get the lock, and make the receiver look again. */
	scoped_guard(mutex, &session->reader.lock) {
		r = kvmi_command_send_due_replies(session);
		if (r)
			return r;
		kvmi_vm_finish_shutdown(session);
	}

	r = receive_next(session);
	if (r)
		return r;

	if (READ_ONCE(session->ending) || only_talks(session)) {
		if (!session->late_messages++)
			session->late_since = jiffies;
	}
	r = kvmi_session_too_late(session) ? -ENOTCONN : kvmi_command_receive(session);
	/* Nothing that follows counts. */
	if (r)
		session->reader.error = r;
	mutex_unlock(&session->reader.lock);

	return r;
}

static bool kvmi_receive(void *data)
{
	struct kvm_introspection *session = data;
	int r;

	/* Nothing is left to do, sleep until being stopped. */
	if (READ_ONCE(session->defunct)) {
		kvmi_vm_finish_shutdown(session);
		return false;
	}

	__set_current_state(TASK_RUNNING);

	/*
	 * Whoever ends the session waits for this task, which must not be frozen
	 * or stopped meanwhile.
	 */
	do {
		r = receive_message(session);
		if (r && r != -EINTR)
			r = end_after_replies(session, r);
	} while ((!r || r == -EINTR) && READ_ONCE(session->ending) &&
		 !kvmi_session_too_late(session) && !fatal_signal_pending(current));
	if (r && r != -EINTR) {
		scoped_guard(mutex, &session->reader.lock)
			kvmi_vm_finish_shutdown(session);
		set_defunct(session);
	}

	return true;
}

static void kvmi_receiver_killed(void *data)
{
	struct kvm_introspection *session = data;

	if (!READ_ONCE(session->defunct))
		set_defunct(session);
}

/*
 * Files that are passed with a message are closed by whoever reads it, which may
 * destroy a VM: a vCPU's thread would do so with the vCPU loaded, and a receiver that
 * the VM's end waits for.  Have them refused when they are sent, whatever userspace
 * sets later, and accept no socket that has some already.
 */
static int refuse_files(struct socket *sock)
{
	if (sock->ops->family != AF_UNIX)
		return 0;

	unix_refuse_rights(sock->sk);

	return kvmi_socket_has_files(sock) ? -EINVAL : 0;
}

static struct socket *get_socket(int fd)
{
	struct socket *sock;
	int err;

	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return ERR_PTR(-EINVAL);

	/* Records of a vsock may be written and read in part. */
	if (((sock->type == SOCK_STREAM && (sock->ops->family == AF_UNIX ||
					    sock->ops->family == AF_VSOCK)) ||
	     (sock->type == SOCK_SEQPACKET && sock->ops->family == AF_UNIX)) &&
	    READ_ONCE(sock->sk->sk_state) == TCP_ESTABLISHED)
		err = refuse_files(sock);
	else
		err = -EINVAL;
	if (err) {
		sockfd_put(sock);
		return ERR_PTR(err);
	}

	return sock;
}

static void allow_all_commands(struct kvm_introspection *session, bool allow)
{
	unsigned int id;

	for (id = 0; id < KVMI_NR_COMMAND_IDS; id++)
		assign_bit(id, session->commands,
			   allow || kvmi_command_always_allowed(id));
}

static struct kvm_introspection *create_session(struct kvm *kvm)
{
	struct kvm_introspection *session;
	struct kvmi_view *view;

	session = kvzalloc_obj(*session, GFP_KERNEL_ACCOUNT);
	if (!session)
		return NULL;

	session->kvm = kvm;
	session->cleanup = true;
	session->cookie_base = get_random_u32();
	init_completion(&session->over);
	mutex_init(&session->send_lock);
	kvmi_reader_init(&session->reader);
	kvmi_waits_init(session);
	allow_all_commands(session, false);

	view = kvmi_view_create();
	if (!view) {
		kvfree(session);
		return NULL;
	}
	rcu_assign_pointer(session->views[0], view);

	return session;
}

static void detach_vcpus(struct kvm *kvm, bool forget)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (vcpu->introspection)
			kvmi_vcpu_detach(vcpu->introspection, forget);
	}
}

static int check_vcpus(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (kvmi_arch_vcpu_in_nested_operation(vcpu))
			return -EBUSY;
		if (!kvmi_arch_vcpu_supported(vcpu))
			return -EOPNOTSUPP;
	}

	return 0;
}

static struct vhost_task *create_receiver(struct kvm_introspection *session)
{
	return vhost_task_create(kvmi_receive, kvmi_receiver_killed, session,
				 "kvm-introspection");
}

static int start_session(struct kvm *kvm, struct kvm_introspection *session)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	int r;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		r = kvmi_vcpu_attach(vcpu, session);
		if (r)
			goto fail;
	}

	/* Fail without affecting a guest that has nested guests. */
	r = check_vcpus(kvm);
	if (r)
		goto fail;

	/*
	 * From here on no vCPU can enter nested operation.  Those that were
	 * about to have done so when the grace period ends.
	 */
	WRITE_ONCE(kvm->introspection, session);
	synchronize_srcu(&kvm->srcu);
	r = check_vcpus(kvm);
	if (r)
		goto fail;

	session->receiver = create_receiver(session);
	if (IS_ERR(session->receiver)) {
		r = PTR_ERR(session->receiver);
		goto fail;
	}
	kvm->stat.introspection_sessions++;
	trace_kvmi_hook(kvm);
	vhost_task_start(session->receiver);

	/* The choices that the last session may have left apply again. */
	kvmi_arch_vm_recalc(kvm);

	return 0;
fail:
	detach_vcpus(kvm, false);
	kvmi_waits_end(session);
	kvmi_views_end(session);
	kvmi_arch_vm_recalc(kvm);
	return r;
}

static bool known_policy(const struct kvm_introspection_hook *hook)
{
	return hook->on_loss <= KVM_INTROSPECTION_STOP &&
	       hook->on_timeout <= KVM_INTROSPECTION_CRASH;
}

static bool known_ids(const struct kvm_introspection_hook *hook)
{
	unsigned int id;

	for (id = KVMI_NR_COMMAND_IDS; id < BITS_PER_BYTE * sizeof(hook->commands); id++) {
		if (hook->commands[id / 64] & BIT_ULL(id % 64))
			return false;
	}

	return !(hook->events & ~GENMASK_ULL(KVMI_NR_EVENT_IDS - 1, 0));
}

static int check_hook(const struct kvm_introspection_hook *hook)
{
	if (hook->flags || hook->pad ||
	    memchr_inv(hook->reserved, 0, sizeof(hook->reserved)))
		return -EINVAL;
	if (!known_policy(hook) || !known_ids(hook))
		return -EINVAL;
	/* Refuse combinations without effect */
	if ((!hook->timeout && (hook->max_timeout || hook->on_timeout)) ||
	    (hook->max_timeout && hook->max_timeout < hook->timeout))
		return -EINVAL;

	return 0;
}

static void kvmi_configure(struct kvm_introspection *session,
			   const struct kvm_introspection_hook *hook)
{
	unsigned int id;

	session->stops_on_loss = hook->on_loss == KVM_INTROSPECTION_STOP;
	session->on_timeout = hook->on_timeout;
	session->timeout = hook->timeout ? msecs_to_jiffies(hook->timeout) :
					   MAX_SCHEDULE_TIMEOUT;
	session->max_timeout = msecs_to_jiffies(hook->max_timeout);
	for (id = 0; id < KVMI_NR_COMMAND_IDS; id++) {
		if (hook->commands[id / 64] & BIT_ULL(id % 64))
			__set_bit(id, session->commands);
	}
	for (id = 0; id < KVMI_NR_EVENT_IDS; id++) {
		if (hook->events & BIT_ULL(id))
			__set_bit(id, session->events);
	}
}

static int __kvmi_hook(struct kvm *kvm, struct socket *sock,
		       struct eventfd_ctx *lost,
		       const struct kvm_introspection_hook *hook, bool *first)
{
	struct kvm_introspection *session;
	int r;

	guard(mutex)(&kvm->lock);

	if (kvm->introspection)
		return -EEXIST;
	if (!kvmi_arch_vm_supported(kvm))
		return -EOPNOTSUPP;

	session = create_session(kvm);
	if (!session)
		return -ENOMEM;
	session->sock = sock;
	session->lost = lost;
	kvmi_configure(session, hook);

	*first = !kvm->introspection_known;
	kvm->introspection_known = true;
	r = start_session(kvm, session);
	if (r)
		kvfree(session);

	return r;
}

static struct eventfd_ctx *get_eventfd(int fd)
{
	return fd == -1 ? NULL : eventfd_ctx_fdget(fd);
}

static void put_eventfd(struct eventfd_ctx *eventfd)
{
	if (eventfd)
		eventfd_ctx_put(eventfd);
}

static int kvmi_ioctl_hook(struct kvm *kvm, void __user *argp)
{
	struct kvm_introspection_hook hook;
	struct eventfd_ctx *lost;
	struct socket *sock;
	bool first = false;
	int r;

	if (copy_from_user(&hook, argp, sizeof(hook)))
		return -EFAULT;
	r = check_hook(&hook);
	if (r)
		return r;
	lost = get_eventfd(hook.eventfd);
	if (IS_ERR(lost))
		return PTR_ERR(lost);
	sock = get_socket(hook.fd);
	if (IS_ERR(sock)) {
		put_eventfd(lost);
		return PTR_ERR(sock);
	}

	/* Not under kvm->lock, patching code takes other locks. */
	static_branch_deferred_inc(&kvmi_known_key);
	static_branch_deferred_inc(&kvmi_key);
	r = __kvmi_hook(kvm, sock, lost, &hook, &first);
	if (r) {
		static_branch_slow_dec_deferred(&kvmi_key);
		sockfd_put(sock);
		put_eventfd(lost);
	}
	/* One reference per VM, until it is destroyed */
	if (!first)
		static_branch_slow_dec_deferred(&kvmi_known_key);

	return r;
}

/*
 * Restrictions and intercepts stay.  Only messages that were on their way to
 * the previous tool are dropped.
 */
static int replace_tool(struct kvm_introspection *session, struct socket **sock)
{
	struct vhost_task *receiver;
	struct socket *old;

	receiver = create_receiver(session);
	if (IS_ERR(receiver))
		return PTR_ERR(receiver);
	/* The previous receiver has nothing left to do. */
	vhost_task_stop(session->receiver);
	session->receiver = receiver;

	/* vCPUs that waited for the previous tool may still be looking. */
	guard(mutex)(&session->reader.lock);

	mutex_lock(&session->send_lock);
	old = session->sock;
	scoped_guard(spinlock, &session->reader.waiters_lock)
		WRITE_ONCE(session->sock, *sock);
	*sock = old;
	WRITE_ONCE(session->attachment, session->attachment + 1);
	WRITE_ONCE(session->broken, false);
	WRITE_ONCE(session->unsent_size, 0);
	mutex_unlock(&session->send_lock);

	session->reader.left = false;
	session->reader.error = 0;
	session->received = 0;
	WRITE_ONCE(session->ahead_size, 0);
	/* Whatever the previous tool has sent */
	session->rx_end = sizeof(session->rx);
	session->late_messages = 0;
	kvmi_replies_drop(&session->replies);
	WRITE_ONCE(session->unhook_sent, READ_ONCE(session->unhook_wanted));
	session->unhook_seq = 0;
	reinit_completion(&session->over);
	/* Publishes the new connection together with the new state. */
	smp_store_release(&session->defunct, false);
	vhost_task_start(receiver);

	return 0;
}

static int __kvmi_attach(struct kvm *kvm, struct socket **sock)
{
	struct kvm_introspection *session;
	int r;

	guard(mutex)(&kvm->lock);

	session = kvm->introspection;
	if (!session)
		return -ENOTCONN;
	if (!READ_ONCE(session->defunct))
		return -EBUSY;

	r = replace_tool(session, sock);
	if (!r)
		trace_kvmi_attach(kvm);

	return r;
}

static int kvmi_ioctl_attach(struct kvm *kvm, void __user *argp)
{
	struct kvm_introspection_attach attach;
	struct socket *sock;
	int r;

	if (copy_from_user(&attach, argp, sizeof(attach)))
		return -EFAULT;
	if (attach.flags)
		return -EINVAL;
	sock = get_socket(attach.fd);
	if (IS_ERR(sock))
		return PTR_ERR(sock);

	r = __kvmi_attach(kvm, &sock);
	/* The previous socket, or the new one on failure */
	sockfd_put(sock);

	return r;
}

/*
 * Wait until what the tool has sent was processed, and stop the receiver.
 * kvm->lock is held: the receiver must not take it.
 */
static void stop_receiver(struct kvm_introspection *session)
{
	/* vCPUs stop waiting for the tool, but what it has sent counts. */
	session->ending_since = jiffies;
	/* Pairs with smp_load_acquire() in kvmi_session_too_late(). */
	smp_store_release(&session->ending, true);
	kernel_sock_shutdown(session->sock, SHUT_WR);
	kvmi_session_wake_receiver(session);
	wait_for_completion(&session->over);
	vhost_task_stop(session->receiver);
}

static bool __kvmi_unhook(struct kvm *kvm)
{
	struct kvm_introspection *session;

	guard(mutex)(&kvm->lock);

	session = kvm->introspection;
	if (!session)
		return false;

	stop_receiver(session);
	detach_vcpus(kvm, session->cleanup);
	session->shutdown = false;
	kvmi_views_end(session);
	/* Which has waited for vCPUs that were deciding something. */
	kvmi_rules_free(session);
	kvmi_waits_end(session);
	/* Last, as some intercepts depend on whether the VM is hooked */
	kvmi_arch_vm_recalc(kvm);

	sockfd_put(session->sock);
	put_eventfd(session->lost);
	kvfree(session);
	trace_kvmi_unhook(kvm);

	return true;
}

static void kvmi_unhook(struct kvm *kvm)
{
	if (__kvmi_unhook(kvm))
		static_branch_slow_dec_deferred(&kvmi_key);
}

static int allow_command(struct kvm_introspection *session,
			 const struct kvm_introspection_feature *feature)
{
	if (feature->id == -1) {
		allow_all_commands(session, feature->allow);
		return 0;
	}

	if (!feature->allow && kvmi_command_always_allowed(feature->id))
		return -EPERM;
	assign_bit(feature->id, session->commands, feature->allow);

	return 0;
}

static int allow_event(struct kvm_introspection *session,
		       const struct kvm_introspection_feature *feature)
{
	unsigned int id;

	for (id = 0; id < KVMI_NR_EVENT_IDS; id++) {
		if (feature->id == -1 || feature->id == id)
			assign_bit(id, session->events, feature->allow);
	}

	return 0;
}

/*
 * Arguments are checked even without a session, so that a VMM can
 * validate its configuration before there is a tool.
 */
static int kvmi_ioctl_allow(struct kvm *kvm, void __user *argp, int nr_ids,
			    int (*fn)(struct kvm_introspection *session,
				      const struct kvm_introspection_feature *feature))
{
	struct kvm_introspection_feature feature;

	if (copy_from_user(&feature, argp, sizeof(feature)))
		return -EFAULT;
	if (feature.allow > 1 || feature.id < -1 || feature.id >= nr_ids)
		return -EINVAL;

	guard(mutex)(&kvm->lock);

	if (!kvm->introspection)
		return -ENOTCONN;

	return fn(kvm->introspection, &feature);
}

/*
 * A tool that does not read must not keep the VMM from unhooking:
 * leave sending the event to the receiver.
 */
static int kvmi_ioctl_preunhook(struct kvm *kvm)
{
	struct kvm_introspection *session;

	guard(mutex)(&kvm->lock);

	session = kvm->introspection;
	if (!session)
		return -ENOTCONN;
	if (READ_ONCE(session->defunct) || READ_ONCE(session->broken) ||
	    vfs_poll(session->sock->file, NULL) & EPOLLHUP)
		return -EPIPE;
	if (!test_bit(KVMI_VM_EVENT_UNHOOK, session->vm_events))
		return -ENOENT;

	WRITE_ONCE(session->unhook_wanted, session->unhook_wanted + 1);
	kvmi_session_wake_receiver(session);

	return 0;
}

/* The introspection ioctls of the VM file descriptor */
long kvmi_vm_ioctl(struct kvm *kvm, unsigned int ioctl, void __user *argp)
{
	if (!enable_introspection)
		return -ENOTTY;

	switch (ioctl) {
	case KVM_INTROSPECTION_HOOK:
		return kvmi_ioctl_hook(kvm, argp);
	case KVM_INTROSPECTION_UNHOOK:
		kvmi_unhook(kvm);
		return 0;
	case KVM_INTROSPECTION_COMMAND:
		return kvmi_ioctl_allow(kvm, argp, KVMI_NR_COMMAND_IDS,
					allow_command);
	case KVM_INTROSPECTION_EVENT:
		return kvmi_ioctl_allow(kvm, argp, KVMI_NR_EVENT_IDS,
					allow_event);
	case KVM_INTROSPECTION_PREUNHOOK:
		return kvmi_ioctl_preunhook(kvm);
	case KVM_INTROSPECTION_ATTACH:
		return kvmi_ioctl_attach(kvm, argp);
	default:
		return -ENOTTY;
	}
}

/* The VM has no users any more. */
void kvmi_vm_destroy(struct kvm *kvm)
{
	kvmi_unhook(kvm);
	if (kvm->introspection_known)
		static_branch_slow_dec_deferred(&kvmi_known_key);
}
