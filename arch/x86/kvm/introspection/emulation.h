/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_EMULATION_H
#define __KVMI_X86_EMULATION_H

#include <asm/kvmi_host.h>

int kvmi_emulate(struct kvm_vcpu *vcpu, enum kvmi_emulation_mode mode);

#endif /* __KVMI_X86_EMULATION_H */
