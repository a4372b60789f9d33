/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_WAIT_H
#define __KVMI_WAIT_H

struct kvm_introspection;
struct kvm_vcpu;

void kvmi_vcpu_begin_wait(struct kvm_vcpu *vcpu,
			  struct kvm_introspection *session);
void kvmi_vcpu_end_wait(struct kvm_vcpu *vcpu);
void kvmi_waits_init(struct kvm_introspection *session);
void kvmi_waits_end(struct kvm_introspection *session);

#endif /* __KVMI_WAIT_H */
