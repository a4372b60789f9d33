/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_REGISTERS_H
#define __KVMI_X86_REGISTERS_H

#include <linux/types.h>

struct kvm_vcpu;

bool kvmi_delivers_interrupt(struct kvm_vcpu *vcpu);
int kvmi_get_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *data);

#endif /* __KVMI_X86_REGISTERS_H */
