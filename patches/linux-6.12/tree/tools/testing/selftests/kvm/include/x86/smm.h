/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_SMM_H
#define SELFTEST_KVM_SMM_H

/* See kvmi_compat.h. */

#include "kvm_util.h"
#include "processor.h"

#define SMRAM_SIZE	65536
#define SMRAM_MEMSLOT	((1 << 16) | 1)
#define SMRAM_PAGES	(SMRAM_SIZE / PAGE_SIZE)

static inline void setup_smram(struct kvm_vm *vm, struct kvm_vcpu *vcpu,
			       u64 smram_gpa, const void *smi_handler,
			       size_t handler_size)
{
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, smram_gpa,
				    SMRAM_MEMSLOT, SMRAM_PAGES, 0);
	TEST_ASSERT(vm_phy_pages_alloc(vm, SMRAM_PAGES, smram_gpa,
				       SMRAM_MEMSLOT) == smram_gpa,
		    "No memory for SMRAM");

	memset(addr_gpa2hva(vm, smram_gpa), 0, SMRAM_SIZE);
	memcpy(addr_gpa2hva(vm, smram_gpa) + 0x8000, smi_handler, handler_size);
	vcpu_set_msr(vcpu, MSR_IA32_SMBASE, smram_gpa);
}

static inline void inject_smi(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.smi.pending = 1;
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	vcpu_events_set(vcpu, &events);
}

#endif /* SELFTEST_KVM_SMM_H */
