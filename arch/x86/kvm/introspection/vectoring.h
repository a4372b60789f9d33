/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_VECTORING_H
#define __KVMI_X86_VECTORING_H

#include <linux/types.h>

struct kvm_vcpu;
struct kvmi_vcpu_event_pf;

int kvmi_check_delivery(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			struct kvmi_vcpu_event_pf *refused);
int kvmi_check_iret(struct kvm_vcpu *vcpu, unsigned int size,
		    struct kvmi_vcpu_event_pf *refused);

#endif /* __KVMI_X86_VECTORING_H */
