/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_EVENT_H
#define __KVMI_EVENT_H

#include "vcpu.h"

struct kvmi_vcpu_request;

/* Returned by kvmi_event() besides the actions: KVM_RUN has to return first */
#define KVMI_EVENT_INTERRUPTED (-EINTR)
/* Not decided by rules */
#define KVMI_EVENT_UNDECIDED (-ENOENT)

/* Bytes of the payload of an event reply without event-specific data */
#define KVMI_MIN_EVENT_REPLY \
	(sizeof(struct kvmi_vcpu_hdr) + sizeof(struct kvmi_vcpu_event_reply))

bool kvmi_event_known(u16 id);
bool kvmi_event_of_vm(u16 id);
bool kvmi_event_has_rules(u16 id);
bool kvmi_event_accepts(u16 id, u8 action);

int __kvmi_event(struct kvm_vcpu *vcpu, u16 id, u8 forbidden, const void *data,
		 size_t size, void *reply, size_t reply_size);

/* As __kvmi_event(), for an event that accepts all actions of its kind */
static inline int kvmi_event(struct kvm_vcpu *vcpu, u16 id, const void *data,
			     size_t size, void *reply, size_t reply_size)
{
	return __kvmi_event(vcpu, id, 0, data, size, reply, reply_size);
}

bool kvmi_event_answered(struct kvm_vcpu *vcpu);
bool kvmi_event_answer_kept(struct kvm_vcpu *vcpu, u16 id);
long kvmi_event_time_left(struct kvm_vcpu_introspection *vi,
			  struct kvm_introspection *session);
void kvmi_event_suspend(struct kvm_vcpu_introspection *vi);
void kvmi_event_continue(struct kvm_vcpu_introspection *vi);
int kvmi_event_resume(struct kvm_vcpu *vcpu, struct kvm_introspection *session);
void kvmi_event_forget_views(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
			     u32 policy_nr);
bool kvmi_event_check_answers(struct kvm_vcpu *vcpu);
int kvmi_event_receive_reply(struct kvm_introspection *session,
			     struct kvm_vcpu *vcpu);
void kvmi_event_send_unhook(struct kvm_introspection *session);

int kvmi_vcpu_control_events(struct kvmi_vcpu_request *req);
int kvmi_vcpu_control_event_set(struct kvmi_vcpu_request *req);

#endif /* __KVMI_EVENT_H */
