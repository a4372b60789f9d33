/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_MSRS_H
#define __KVM_X86_MSRS_H

#include "regs.h"

#endif /* __KVM_X86_MSRS_H */
