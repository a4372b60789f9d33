/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_EMULATION_H
#define __KVMI_X86_EMULATION_H

#include <asm/kvmi_host.h>

/*
 * Choose what applies to the accesses of KVM's emulator, KVMI_EMULATE_FREELY when
 * they are done.  After a view has changed, the emulator either is seen to be using
 * what was there before, or sees the change; see kvmi_arch_wait_for_accesses().
 */
static inline void kvmi_emulation_set_mode(struct kvmi_emulation *emulation,
					   enum kvmi_emulation_mode mode)
{
	if (mode == KVMI_EMULATE_FREELY) {
		/* The accesses come before.  Pairs with smp_load_acquire() there. */
		smp_store_release(&emulation->mode, mode);
	} else {
		/* The view is looked at after this.  Pairs with smp_mb() there. */
		smp_store_mb(emulation->mode, mode);
	}
}

int kvmi_emulate(struct kvm_vcpu *vcpu, enum kvmi_emulation_mode mode);

#endif /* __KVMI_X86_EMULATION_H */
