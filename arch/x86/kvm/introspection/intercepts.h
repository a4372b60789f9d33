/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_INTERCEPTS_H
#define __KVMI_X86_INTERCEPTS_H

#include <linux/types.h>

#include "hooks.h"

struct kvm_vcpu;

enum kvmi_verdict kvmi_action_to_verdict(int action);
u32 kvmi_msr_alias(u32 msr);
unsigned long kvmi_read_cr(struct kvm_vcpu *vcpu, int cr);
bool kvmi_cr_differs(int cr, u64 old, u64 new);
bool kvmi_get_insn_len(struct kvm_vcpu *vcpu, u8 *len);
enum kvmi_verdict kvmi_report_insn(struct kvm_vcpu *vcpu, u16 id, const void *data,
				   size_t size, void *reply, size_t reply_size);

#endif /* __KVMI_X86_INTERCEPTS_H */
