/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_PAGE_WALK_H
#define __KVMI_X86_PAGE_WALK_H

#include <linux/kvm_types.h>

struct kvm_vcpu;
struct kvmi_vcpu_event_pf;

/* How to proceed with a page walk */
enum kvmi_walk_result {
	/* The instruction is done, or KVM_RUN has to return first */
	KVMI_WALK_DONE,
	/* Execute the next instruction with the access granted */
	KVMI_WALK_STEP,
	/* Report the access */
	KVMI_WALK_ASK,
};

bool kvmi_complete_walk(struct kvm_vcpu *vcpu, gpa_t entry, bool write);
enum kvmi_walk_result kvmi_handle_walk(struct kvm_vcpu *vcpu,
				       struct kvmi_vcpu_event_pf *event,
				       int *r);
bool kvmi_ad_disabled(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_PAGE_WALK_H */
