/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_STEP_H
#define __KVMI_X86_STEP_H

#include <linux/kvm_types.h>

struct kvm_vcpu;
struct kvmi_step;

void kvmi_update_view(struct kvm_vcpu *vcpu);
bool kvmi_step_is_allowed(struct kvm_vcpu *vcpu);
bool kvmi_step_is_privileged(struct kvm_vcpu *vcpu);
bool kvmi_step_is_wanted(const struct kvmi_step *step);
bool kvmi_step_allow(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access, bool asked);
void kvmi_set_todo(struct kvm_vcpu *vcpu);
void kvmi_step_cancel(struct kvm_vcpu *vcpu);
void kvmi_step_delivers(struct kvm_vcpu *vcpu);
bool kvmi_step_repeats(struct kvm_vcpu *vcpu);
void kvmi_step_retired(struct kvm_vcpu *vcpu);
void kvmi_step_check(struct kvm_vcpu *vcpu);
void kvmi_step_check_delivery(struct kvm_vcpu *vcpu);
unsigned int kvmi_vcpu_view(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_STEP_H */
