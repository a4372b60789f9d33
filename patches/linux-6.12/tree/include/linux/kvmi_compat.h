/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __LINUX_KVMI_COMPAT_H
#define __LINUX_KVMI_COMPAT_H

/*
 * What Linux 7.3 has and introspection uses, for Linux 6.12; linux/kvm_host.h
 * includes it.  This file is only there in a tree of Linux 6.12.  What is KVM's
 * own on x86 is in arch/x86/kvm/regs.h.
 *
 * A point release may bring any of it, with a fix: what there is takes precedence.
 */

#include <linux/export.h>
#include <linux/wait.h>

#ifndef EXPORT_SYMBOL_FOR_KVM_INTERNAL
#define EXPORT_SYMBOL_FOR_KVM_INTERNAL(symbol) EXPORT_SYMBOL_GPL(symbol)
#endif

#ifndef init_wait_func
#define init_wait_func(wait, function)						\
	do {									\
		(wait)->private = current;					\
		(wait)->func = function;					\
		INIT_LIST_HEAD(&(wait)->entry);					\
		(wait)->flags = 0;						\
	} while (0)
#endif

#define kvm_mmu_invalidate_start(kvm) kvm_mmu_invalidate_begin(kvm)

/*
 * What a walk of the guest's page tables goes by is part of an MMU of the vCPU, and
 * that is this one, as introspected VMs have no nested guests.
 */
#define kvm_pagewalk kvm_mmu
#define gva_walk root_mmu

/* Vectors that asm/kvm.h does not define */
#ifndef CP_VECTOR
#define CP_VECTOR 21
#endif
#ifndef HV_VECTOR
#define HV_VECTOR 28
#endif
#ifndef VC_VECTOR
#define VC_VECTOR 29
#endif
#ifndef SX_VECTOR
#define SX_VECTOR 30
#endif

#endif /* __LINUX_KVMI_COMPAT_H */
