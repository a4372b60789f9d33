/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_KVMI_COMPAT_H
#define SELFTEST_KVM_KVMI_COMPAT_H

/*
 * What the library of KVM's selftests has in Linux 7.3, for the tests of
 * introspection in Linux 6.12.  This file, smm.h and cgroup_util.h are only there in a
 * tree of Linux 6.12, whose Makefile has the compiler include this one first.
 */

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <sys/eventfd.h>

#include "kvm_util.h"
#include "processor.h"
#include "svm_util.h"

typedef vm_paddr_t gpa_t;
typedef vm_vaddr_t gva_t;

#define INVALID_GPA (~(u64)0)

#define X86_EFLAGS_CF		BIT(0)
#define X86_EFLAGS_PF		BIT(2)
#define X86_EFLAGS_AF		BIT(4)
#define X86_EFLAGS_ZF		BIT(6)
#define X86_EFLAGS_SF		BIT(7)
#define X86_EFLAGS_TF		BIT(8)
#define X86_EFLAGS_IF		BIT(9)
#define X86_EFLAGS_DF		BIT(10)
#define X86_EFLAGS_OF		BIT(11)
#define X86_EFLAGS_IOPL		BIT(12)
#define X86_EFLAGS_NT		BIT(14)
#define X86_EFLAGS_RF		BIT(16)
#define X86_EFLAGS_VM		BIT(17)
#define X86_EFLAGS_AC		BIT(18)
#define X86_EFLAGS_VIF		BIT(19)
#define X86_EFLAGS_VIP		BIT(20)
#define X86_EFLAGS_ID		BIT(21)

#define CP_VECTOR 21
#define HV_VECTOR 28
#define VC_VECTOR 29
#define SX_VECTOR 30

#define APIC_SELF_IPI 0x3F0

#define host_cpu_is_amd_compatible host_cpu_is_amd

#define kvm_random_state	guest_random_state
#define new_kvm_random_state	new_guest_random_state
#define kvm_random_u32		guest_random_u32
#define kvm_random_u64		guest_random_u64

#define vm_alloc_page(vm)	vm_vaddr_alloc_page(vm)
#define vm_alloc_pages(vm, nr)	vm_vaddr_alloc_pages(vm, nr)
#define vm_get_pte(vm, gva)	vm_get_page_table_entry(vm, gva)

/* That of Linux 6.12 lacks the prefix: nothing is emulated. */
#undef kvm_asm_safe_fep
#define kvm_asm_safe_fep(insn, inputs...)					\
({										\
	u64 ign_error_code;							\
										\
	kvm_asm_safe_ec_fep(insn, ign_error_code, inputs);			\
})

#define kvm_is_ignore_msrs()	get_kvm_param_bool("ignore_msrs")
#define kvm_get_module_param_bool(module, param)				\
({										\
	TEST_ASSERT(!strcmp(module, "kvm"), "Not a parameter of kvm");		\
	get_kvm_param_bool(param);						\
})

/* KVM of Linux 6.12 has no shadow stacks, and no such register. */
#define KVM_REG_GUEST_SSP 0
#define KVM_X86_REG_KVM(reg)							\
({										\
	TEST_FAIL("No register %d", reg);					\
	0;									\
})

static inline bool kvm_is_unrestricted_guest_enabled(void)
{
	return get_kvm_intel_param_bool("unrestricted_guest");
}

static inline void kvm_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
				      void *(*fn)(void *), void *arg)
{
	int ret = pthread_create(thread, attr, fn, arg);

	TEST_ASSERT(!ret, "pthread_create() failed: %s", strerror(ret));
}

static inline void kvm_pthread_join(pthread_t thread, void **retval)
{
	int ret = pthread_join(thread, retval);

	TEST_ASSERT(!ret, "pthread_join() failed: %s", strerror(ret));
}

static inline int kvm_new_eventfd(void)
{
	int fd = eventfd(0, 0);

	TEST_ASSERT(fd >= 0, "eventfd() failed: %s", strerror(errno));
	return fd;
}

static inline void kvm_get_stat(struct kvm_binary_stats *stats, const char *name,
				u64 *data, size_t max_elements)
{
	struct kvm_stats_desc *desc;
	size_t size_desc;
	unsigned int i;

	if (!stats->desc) {
		read_stats_header(stats->fd, &stats->header);
		stats->desc = read_stats_descriptors(stats->fd, &stats->header);
	}

	size_desc = get_stats_descriptor_size(&stats->header);
	for (i = 0; i < stats->header.num_desc; i++) {
		desc = (void *)stats->desc + i * size_desc;
		if (strcmp(desc->name, name))
			continue;
		read_stat_data(stats->fd, &stats->header, desc, data, max_elements);
		return;
	}

	TEST_FAIL("Unable to find stat '%s'", name);
}

#define vcpu_get_stat(vcpu, stat)						\
({										\
	u64 data;								\
										\
	kvm_get_stat(&(vcpu)->stats, #stat, &data, 1);				\
	data;									\
})

/* There is no default for the nested guest's stack. */
#define generic_svm_setup(svm, rip) generic_svm_setup(svm, rip, NULL)

/* That of Linux 6.12 takes the name as a string. */
#define vm_get_stat(vm, stat) vm_get_stat(vm, #stat)

static inline void set_cr0(u64 val)
{
	asm volatile("mov %0, %%cr0" : : "r" (val) : "memory");
}

static inline u64 get_cr2(void)
{
	u64 cr2;

	asm volatile("mov %%cr2, %0" : "=r" (cr2));
	return cr2;
}

static inline void set_cr3(u64 val)
{
	asm volatile("mov %0, %%cr3" : : "r" (val) : "memory");
}

static inline void sti(void)
{
	asm volatile("sti");
}

static inline void sti_nop(void)
{
	asm volatile("sti; nop");
}

static inline void cli(void)
{
	asm volatile("cli");
}

#endif /* SELFTEST_KVM_KVMI_COMPAT_H */
