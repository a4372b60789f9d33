/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_ERRAND_H
#define __KVMI_ERRAND_H

#include <linux/completion.h>

struct kvm_introspection;
struct kvm_vcpu;

/**
 * struct kvmi_errand - something that has to be done on behalf of a vCPU
 * @fn: does it, with some vCPU loaded on the current CPU
 * @result: what @fn returned
 * @done: it was done by the vCPU's thread
 */
struct kvmi_errand {
	int (*fn)(struct kvmi_errand *errand);
	int result;
	struct completion done;
};

int kvmi_errand_run(struct kvm_introspection *session, struct kvmi_errand *errand);
void kvmi_errand_serve(struct kvm_vcpu *vcpu);

#endif /* __KVMI_ERRAND_H */
