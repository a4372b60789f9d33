/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_INTERCEPTS_H
#define __KVMI_X86_INTERCEPTS_H

#include <linux/types.h>

#include <asm/kvmi_host.h>

struct kvm_vcpu;

enum kvmi_verdict kvmi_action_to_verdict(int action);
unsigned long kvmi_read_cr(struct kvm_vcpu *vcpu, int cr);
bool kvmi_cr_differs(int cr, u64 old, u64 new);

#endif /* __KVMI_X86_INTERCEPTS_H */
