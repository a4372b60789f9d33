/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_EXCEPTIONS_H
#define __KVMI_X86_EXCEPTIONS_H

#include <linux/types.h>

struct kvm_vcpu;

u8 kvmi_exit_insn_len(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_EXCEPTIONS_H */
