// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: commands about the VM as a whole.
 */

#include <linux/kvm_host.h>

#include "arch.h"
#include "command.h"
#include "event.h"
#include "limits.h"
#include "session.h"
#include "vcpu.h"
#include "vm.h"

int kvmi_get_version(struct kvmi_vm_request *req)
{
	struct kvmi_get_version_reply *reply = req->reply;

	memset(reply, 0, sizeof(*reply));
	reply->version = KVMI_VERSION;
	reply->max_msg_size = KVMI_MAX_MSG_SIZE;
	kvmi_arch_features(&reply->features);
	req->reply_size = sizeof(*reply);

	return 0;
}

int kvmi_vm_check_command(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_check_command *data = req->data;

	if (data->padding1 || data->padding2)
		return -KVM_EINVAL;
	if (!kvmi_command_known(data->id))
		return -KVM_ENOENT;
	if (!kvmi_command_allowed(req->session, data->id))
		return -KVM_EPERM;

	return 0;
}

int kvmi_vm_check_event(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_check_event *data = req->data;

	if (data->padding1 || data->padding2)
		return -KVM_EINVAL;
	if (!kvmi_event_known(data->id))
		return -KVM_ENOENT;
	if (!kvmi_event_allowed(req->session, data->id))
		return -KVM_EPERM;

	return 0;
}

int kvmi_vm_get_info(struct kvmi_vm_request *req)
{
	struct kvmi_vm_get_info_reply *reply = req->reply;
	struct kvm *kvm = req->session->kvm;

	memset(reply, 0, sizeof(*reply));
	reply->vcpu_count = atomic_read(&kvm->online_vcpus);
	reply->arch = KVMI_ARCH_X86;
	reply->address_spaces = kvm_arch_nr_memslot_as_ids(kvm);
	req->reply_size = sizeof(*reply);

	return 0;
}

int kvmi_vm_control_events(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_control_events *data = req->data;

	if (data->padding1 || data->padding2 || data->enable > 1)
		return -KVM_EINVAL;
	if (!kvmi_event_of_vm(data->event_id))
		return -KVM_EINVAL;
	if (!kvmi_event_allowed(req->session, data->event_id))
		return -KVM_EPERM;

	assign_bit(data->event_id, req->session->vm_events, data->enable);

	return 0;
}

int kvmi_vm_get_features(struct kvmi_vm_request *req)
{
	struct kvmi_vm_get_features_reply *reply = req->reply;
	unsigned int id;

	static_assert(BITS_PER_BYTE * sizeof(reply->commands) >= KVMI_NR_COMMAND_IDS);
	static_assert(BITS_PER_BYTE * sizeof(reply->events) >= KVMI_NR_EVENT_IDS);

	memset(reply, 0, sizeof(*reply));
	for (id = 0; id < KVMI_NR_COMMAND_IDS; id++) {
		if (kvmi_command_known(id))
			reply->commands[id / 64] |= BIT_ULL(id % 64);
	}
	for (id = 0; id < KVMI_NR_EVENT_IDS; id++) {
		if (kvmi_event_known(id) && kvmi_arch_event_supported(id))
			reply->events |= BIT_ULL(id);
	}
	reply->access = kvmi_arch_page_access();
	reply->views = reply->access ? KVMI_NR_VIEWS : 0;
	reply->flags = kvmi_arch_feature_flags();
	reply->actions = BIT(KVMI_EVENT_ACTION_ALLOW) |
			 BIT(KVMI_EVENT_ACTION_RETRY) |
			 BIT(KVMI_EVENT_ACTION_CRASH) |
			 BIT(KVMI_EVENT_ACTION_SKIP);
	reply->address_spaces = kvm_arch_nr_memslot_as_ids(req->session->kvm);
	req->reply_size = sizeof(*reply);

	return 0;
}

static struct kvmi_vcpu_state state_of(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_vcpu_state state = {
		.vcpu = vcpu->vcpu_idx,
		.view = kvmi_arch_vcpu_view(&vi->arch),
	};

	if (kvmi_arch_vcpu_ready(vcpu))
		state.flags |= KVMI_VCPU_STARTED;

	guard(spinlock)(&vi->lock);

	if (vi->event.state == KVMI_EVENT_OPEN && vi->session &&
	    vi->event.attachment == vi->session->attachment) {
		/* With the event sent to the tool the vCPU takes commands. */
		state.flags |= KVMI_VCPU_STARTED | KVMI_VCPU_EVENT_OPEN;
		state.event = vi->event.id;
		state.seq = vi->event.seq;
	}

	return state;
}

int kvmi_vm_get_vcpus(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_get_vcpus *data = req->data;
	struct kvmi_vm_get_vcpus_reply *reply = req->reply;
	struct kvm_introspection *session = req->session;
	struct kvm_vcpu *vcpu;
	unsigned long i;
	u32 room, n = 0;

	static_assert(BITS_PER_BYTE * sizeof(reply->events) >= KVMI_NR_EVENT_IDS);

	if (data->padding)
		return -KVM_EINVAL;

	room = (KVMI_MAX_REPLY_DATA - sizeof(*reply)) / sizeof(reply->vcpus[0]);
	kvm_for_each_vcpu(i, vcpu, session->kvm) {
		if (i < data->start)
			continue;
		if (n == room)
			break;
		reply->vcpus[n++] = state_of(vcpu);
	}
	*reply = (struct kvmi_vm_get_vcpus_reply) {
		.nr_vcpus = atomic_read(&session->kvm->online_vcpus),
		.cleanup = session->cleanup,
		.count = n,
	};
	bitmap_to_arr64(&reply->events, session->vm_events, KVMI_NR_EVENT_IDS);
	req->reply_size = struct_size(reply, vcpus, n);

	return 0;
}

int kvmi_vm_control_cleanup(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_control_cleanup *data = req->data;

	if (memchr_inv(data->padding, 0, sizeof(data->padding)) || data->enable > 1)
		return -KVM_EINVAL;

	req->session->cleanup = data->enable;

	return 0;
}

/* Wait until the vCPUs of session->kicked have been outside of guest mode. */
static void wait_for_exits(struct kvm_introspection *session)
{
	kvm_make_vcpus_request_mask(session->kvm, KVM_REQ_OUTSIDE_GUEST_MODE,
				    session->kicked);
	bitmap_zero(session->kicked, KVM_MAX_VCPUS);
}

/* The same of one vCPU.  Receiver only. */
void kvmi_vm_wait_for_exit(struct kvm_introspection *session, struct kvm_vcpu *vcpu)
{
	__set_bit(vcpu->vcpu_idx, session->kicked);
	wait_for_exits(session);
}

int kvmi_vm_pause_vcpu(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_pause_vcpu *data = req->data;
	struct kvm_introspection *session = req->session;
	struct kvm_vcpu *vcpu;
	int err;

	if (data->padding1 || data->padding2 || data->wait > 1)
		return -KVM_EINVAL;
	if (!kvmi_event_allowed(session, KVMI_VCPU_EVENT_PAUSE))
		return -KVM_EPERM;
	vcpu = kvm_get_vcpu(session->kvm, data->vcpu);
	if (!vcpu)
		return -KVM_EINVAL;

	err = kvmi_vcpu_pause(vcpu);
	if (!err && data->wait)
		kvmi_vm_wait_for_exit(session, vcpu);

	return err;
}

int kvmi_vm_pause_all(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_pause_all *data = req->data;
	struct kvmi_vm_pause_all_reply *reply = req->reply;
	struct kvm_introspection *session = req->session;
	struct kvm_vcpu *vcpu;
	unsigned long i;
	u32 count = 0;

	if (memchr_inv(data->padding, 0, sizeof(data->padding)) || data->wait > 1)
		return -KVM_EINVAL;
	if (!kvmi_event_allowed(session, KVMI_VCPU_EVENT_PAUSE))
		return -KVM_EPERM;

	kvm_for_each_vcpu(i, vcpu, session->kvm) {
		if (kvmi_vcpu_pause(vcpu))
			continue;
		if (data->wait)
			__set_bit(i, session->kicked);
		count++;
	}
	if (!count)
		return -KVM_EBUSY;
	if (data->wait)
		wait_for_exits(session);

	*reply = (struct kvmi_vm_pause_all_reply) { .count = count };
	req->reply_size = sizeof(*reply);

	return 0;
}

/*
 * A VMM may unhook the VM as soon as one vCPU has stopped.
 * Therefore send the reply first, see kvmi_vm_finish_shutdown().
 */
int kvmi_vm_shutdown(struct kvmi_vm_request *req)
{
	req->session->shutdown = true;

	return 0;
}

/*
 * Stop the vCPUs if KVMI_VM_SHUTDOWN has requested that, after the reply was
 * sent or the connection was lost.  Receiver only, under reader.lock unless the
 * session is defunct.
 */
void kvmi_vm_finish_shutdown(struct kvm_introspection *session)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (!session->shutdown)
		return;

	session->shutdown = false;
	kvm_for_each_vcpu(i, vcpu, session->kvm)
		kvmi_vcpu_shutdown(vcpu);
}
