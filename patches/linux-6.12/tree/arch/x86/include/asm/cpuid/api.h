/* SPDX-License-Identifier: GPL-2.0-only */
/* Linux 7.3 has more than one header for CPUID; see linux/kvmi_compat.h. */
#include <asm/cpuid.h>

#define CPUID_LEAF_XSTATE 0xd
