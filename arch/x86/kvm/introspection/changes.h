/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_CHANGES_H
#define __KVMI_X86_CHANGES_H

#include <linux/types.h>

struct kvm_vcpu;

bool kvmi_report_changes(struct kvm_vcpu *vcpu);

#endif /* __KVMI_X86_CHANGES_H */
