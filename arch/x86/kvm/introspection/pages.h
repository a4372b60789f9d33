/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_PAGES_H
#define __KVMI_X86_PAGES_H

#include <linux/kvm_types.h>

struct kvm_vcpu;

bool kvmi_may_access(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access);
bool kvmi_may_execute(struct kvm_vcpu *vcpu, gva_t gva, gfn_t gfn);
bool kvmi_execute_own(struct kvm_vcpu *vcpu, gpa_t gpa);
int kvmi_emulated_page_fault(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa, u8 access);
void kvmi_end_trace(struct kvm_vcpu *vcpu);
gfn_t kvmi_shown_gfn(struct kvm_vcpu *vcpu, gfn_t gfn);

#endif /* __KVMI_X86_PAGES_H */
