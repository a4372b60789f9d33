/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VCPU_WORK_H
#define __KVMI_VCPU_WORK_H

#include <linux/completion.h>

struct kvm_introspection;
struct kvm_vcpu;

/* Work that needs a vCPU loaded on the current CPU */
struct kvmi_vcpu_work {
	int (*fn)(struct kvmi_vcpu_work *work);
	/* What @fn has returned */
	int result;
	/* Completed if the vCPU's thread has called @fn, or has not had room for it */
	struct completion done;
	bool ran;
};

int kvmi_run_on_vcpu(struct kvm_introspection *session,
		     struct kvmi_vcpu_work *work);
void kvmi_vcpu_run_work(struct kvm_vcpu *vcpu);

#endif /* __KVMI_VCPU_WORK_H */
