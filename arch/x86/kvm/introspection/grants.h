/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_GRANTS_H
#define __KVMI_X86_GRANTS_H

#include <linux/kvm_types.h>

struct kvm_vcpu;
struct kvmi_grant;

bool kvmi_grant(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access);
const struct kvmi_grant *kvmi_granted(struct kvm_vcpu *vcpu, gfn_t gfn);
void kvmi_end_grant(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access);
void kvmi_end_grants(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_GRANTS_H */
