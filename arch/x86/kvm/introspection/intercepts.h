/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_INTERCEPTS_H
#define __KVMI_X86_INTERCEPTS_H

#include <asm/kvmi_host.h>

enum kvmi_verdict kvmi_verdict_of(int action);
unsigned long kvmi_read_cr(struct kvm_vcpu *vcpu, int cr);
bool kvmi_cr_differs(int cr, u64 old, u64 new);
u8 kvmi_exit_insn_len(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_INTERCEPTS_H */
