// SPDX-License-Identifier: GPL-2.0-only
/* KVM introspection: addresses of x86 guests. */

#include <linux/kvm_host.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include <asm/mtrr.h>

#include "introspection/arch.h"
#include "introspection/command.h"
#include "addresses.h"
#include "cpuid.h"
#include "mmu.h"
#include "x86.h"

/* Of the MSRs IA32_MTRR_PHYSMASKn */
#define MTRR_PHYSMASK_VALID	BIT_ULL(11)

/* Ends of the memory that fixed-range MTRRs describe */
#define FIXED_64K_END		0x80000
#define FIXED_16K_END		0xc0000
#define FIXED_4K_END		0x100000

static u8 byte_of(const u64 *msrs, unsigned int n)
{
	return msrs[n / 8] >> (n % 8 * 8);
}

static u8 fixed_type(const struct kvm_mtrr *mtrr, u64 gpa)
{
	if (gpa < FIXED_64K_END)
		return byte_of(&mtrr->fixed_64k, gpa / SZ_64K);
	if (gpa < FIXED_16K_END)
		return byte_of(mtrr->fixed_16k, (gpa - FIXED_64K_END) / SZ_16K);

	return byte_of(mtrr->fixed_4k, (gpa - FIXED_16K_END) / SZ_4K);
}

/*
 * Where ranges overlap UC takes precedence over all, and WT over WB.  Other
 * combinations are undefined, and UC is always safe.
 */
static u8 combine_types(u8 a, u8 b)
{
	if (a == b)
		return a;
	if ((a == MTRR_TYPE_WRTHROUGH && b == MTRR_TYPE_WRBACK) ||
	    (a == MTRR_TYPE_WRBACK && b == MTRR_TYPE_WRTHROUGH))
		return MTRR_TYPE_WRTHROUGH;

	return MTRR_TYPE_UNCACHABLE;
}

static u8 variable_type(const struct kvm_mtrr *mtrr, u64 gpa)
{
	u8 type = mtrr->deftype & 0xff;
	bool found = false;
	int i;

	for (i = 0; i < KVM_NR_VAR_MTRR; i++) {
		u64 base = mtrr->var[2 * i], mask = mtrr->var[2 * i + 1];

		if (!(mask & MTRR_PHYSMASK_VALID) ||
		    (gpa ^ base) & mask & PAGE_MASK)
			continue;
		type = found ? combine_types(type, base & 0xff) : base & 0xff;
		found = true;
	}

	return type;
}

static u8 memory_type(struct kvm_vcpu *vcpu, u64 gpa)
{
	const struct kvm_mtrr *mtrr = &vcpu->arch.mtrr_state;

	/* Without MTRRs all memory is WB. */
	if (!guest_cpu_cap_has(vcpu, X86_FEATURE_MTRR))
		return MTRR_TYPE_WRBACK;

	if (!(mtrr->deftype & MTRR_DEF_TYPE_E))
		return MTRR_TYPE_UNCACHABLE;
	if (gpa < FIXED_4K_END && mtrr->deftype & MTRR_DEF_TYPE_FE)
		return fixed_type(mtrr, gpa);

	return variable_type(mtrr, gpa);
}

int kvmi_vcpu_get_mtrr_type(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_get_mtrr_type *data = req->data;
	struct kvmi_vcpu_get_mtrr_type_reply *reply = req->reply;

	*reply = (struct kvmi_vcpu_get_mtrr_type_reply) {
		.type = memory_type(req->vcpu, data->gpa),
	};
	req->reply_size = sizeof(*reply);

	return 0;
}

static bool is_linear_address(struct kvm_vcpu *vcpu, u64 gva)
{
	if (is_long_mode(vcpu))
		return !is_noncanonical_address(gva, vcpu, 0);

	return gva <= U32_MAX;
}

/* Return the gpa that a linear address is mapped to, or INVALID_GPA. */
gpa_t kvmi_translate_gva(struct kvm_vcpu *vcpu, u64 gva)
{
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;
	gpa_t gpa;

	if (!is_linear_address(vcpu, gva))
		return INVALID_GPA;

	/*
	 * SMAP denies a supervisor access to user pages, but they are mapped.
	 */
	gpa = kvm_mmu_gva_to_gpa_system(vcpu, gva, NULL);
	if (gpa == INVALID_GPA)
		gpa = walk->gva_to_gpa(vcpu, walk, gva, PFERR_USER_MASK, NULL);

	return gpa;
}

int kvmi_vcpu_translate_gva(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_translate_gva *data = req->data;
	struct kvmi_vcpu_translate_gva_reply *reply = req->reply;

	reply->gpa = kvmi_translate_gva(req->vcpu, data->gva);
	req->reply_size = sizeof(*reply);

	return 0;
}

#define try_cmpxchg_user_as(type, ptr, old, new)			\
	__try_cmpxchg_user((type __user *)(ptr), (type *)(old),		\
			   *(const type *)(new), efault_##type)

/*
 * Exchange user memory that is aligned to @size, which is 1, 2, 4 or 8.  Return
 * 0; 1 if memory does not hold the bytes at @old, which are replaced by those
 * found; or -EFAULT.
 */
int kvmi_arch_try_cmpxchg_user(void __user *to, void *old, const void *new,
			       size_t size)
{
	switch (size) {
	case 1:
		return try_cmpxchg_user_as(u8, to, old, new);
	case 2:
		return try_cmpxchg_user_as(u16, to, old, new);
	case 4:
		return try_cmpxchg_user_as(u32, to, old, new);
	default:
		return try_cmpxchg_user_as(u64, to, old, new);
	}
}
