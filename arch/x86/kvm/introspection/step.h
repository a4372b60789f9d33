/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_STEP_H
#define __KVMI_X86_STEP_H

struct kvm_vcpu;

void kvmi_update_view(struct kvm_vcpu *vcpu);
void kvmi_step_allow(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_STEP_H */
