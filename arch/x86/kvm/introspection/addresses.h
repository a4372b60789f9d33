/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_ADDRESSES_H
#define __KVMI_X86_ADDRESSES_H

#include <linux/kvm_types.h>

gpa_t kvmi_translate_gva(struct kvm_vcpu *vcpu, u64 gva);

#endif /* __KVMI_X86_ADDRESSES_H */
