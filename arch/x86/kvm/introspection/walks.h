/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_WALKS_H
#define __KVMI_X86_WALKS_H

#include <linux/kvm_types.h>

struct kvm_vcpu;
struct kvmi_vcpu_event_pf;

/**
 * enum kvmi_walk - what to do about a page walk
 * @KVMI_WALK_DONE: the instruction is done, or KVM_RUN is to return first
 * @KVMI_WALK_STEP: what is executed next may go on with that access granted
 * @KVMI_WALK_ASK: ask the tool
 */
enum kvmi_walk {
	KVMI_WALK_DONE,
	KVMI_WALK_STEP,
	KVMI_WALK_ASK,
};

bool kvmi_complete_walk(struct kvm_vcpu *vcpu, gpa_t entry, bool write);
enum kvmi_walk kvmi_walk(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_pf *event,
			 int *r);

#endif /* __KVMI_X86_WALKS_H */
