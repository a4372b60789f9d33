// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: memory that the CPU accesses to deliver an exception or
 * interrupt, and to return from it.
 *
 * KVM's emulator can't deliver events.  Check that the view permits every
 * access of the delivery, then let the CPU do it.
 */

#include <linux/kvm_host.h>
#include <linux/kvmi.h>

#include <asm/desc.h>

#include "kvm_emulate.h"
#include "mmu.h"
#include "pages.h"
#include "regs.h"
#include "vectoring.h"
#include "x86.h"

/* Offsets in a TSS: the stack pointers of CPL 0 to 2, and the 7 of the IST */
#define TSS_SP		4
#define TSS_IST		36

/* Of the type of a TSS */
#define TSS_NOT_16BIT	8

/* Type of a code segment */
#define CODE_CONFORMING	4
/* Type of a segment */
#define SEG_ACCESSED	1

/*
 * The functions below return one of these, or 0 if all accesses are permitted.
 */
#define REFUSED		(-EACCES)
/*
 * The accesses are unknown.  So are they if the CPU seems to raise an exception: a
 * wrong guess would let it access what has not been checked.
 */
#define UNKNOWN		(-EOPNOTSUPP)

/* Access rights with which descriptor tables and TSSs are accessed */
#define SYSTEM		PFERR_IMPLICIT_ACCESS

/* What a check has read: at most an IRET's frame and two descriptors */
struct kvmi_loaded {
	u8 bytes[64];
	unsigned int nr;
};

struct kvmi_vectoring {
	struct kvm_vcpu *vcpu;
	/* The first access that the vCPU's view denies: gva, gpa, access */
	struct kvmi_vcpu_event_pf *refused;
	struct kvmi_loaded *loaded;
};

/* And stacks: for a supervisor RFLAGS.AC disables SMAP, unlike for SYSTEM. */
static u64 stack_of(int cpl)
{
	return cpl == 3 ? PFERR_USER_MASK : 0;
}

static int kvmi_vectoring_check(const struct kvmi_vectoring *v, gva_t gva, u64 as,
				u8 access, gpa_t *gpa)
{
	struct kvm_vcpu *vcpu = v->vcpu;
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;
	u64 pferr = as;

	if (access == KVMI_PAGE_ACCESS_W)
		pferr |= PFERR_WRITE_MASK;
	*gpa = walk->gva_to_gpa(vcpu, walk, gva, pferr, NULL);
	if (*gpa == INVALID_GPA)
		return UNKNOWN;
	if (kvmi_may_access(vcpu, gpa_to_gfn(*gpa), access))
		/* The contents of a remapped gfn are not known here. */
		return kvmi_shown_gfn(vcpu, gpa_to_gfn(*gpa)) ==
		       gpa_to_gfn(*gpa) ? 0 : UNKNOWN;

	v->refused->gva = gva;
	v->refused->gpa = *gpa;
	v->refused->access = access;

	return REFUSED;
}

static int check_write(const struct kvmi_vectoring *v, gva_t gva, u64 as,
		       unsigned int bytes)
{
	gpa_t gpa;
	int r;

	r = kvmi_vectoring_check(v, gva, as, KVMI_PAGE_ACCESS_W, &gpa);
	if (!r && offset_in_page(gva) + bytes > PAGE_SIZE)
		r = kvmi_vectoring_check(v, (gva | ~PAGE_MASK) + 1, as,
					 KVMI_PAGE_ACCESS_W, &gpa);

	return r;
}

static int kvmi_vectoring_load(const struct kvmi_vectoring *v, gva_t gva, u64 as,
			       void *to, unsigned int bytes)
{
	struct kvmi_loaded *loaded = v->loaded;

	if (WARN_ON_ONCE(loaded->nr + bytes > sizeof(loaded->bytes)))
		return UNKNOWN;

	while (bytes) {
		unsigned int offset = offset_in_page(gva);
		unsigned int n = min_t(unsigned int, bytes, PAGE_SIZE - offset);
		gpa_t gpa;
		int r;

		r = kvmi_vectoring_check(v, gva, as, KVMI_PAGE_ACCESS_R, &gpa);
		if (r)
			return r;
		if (kvm_vcpu_read_guest_page(v->vcpu, gpa_to_gfn(gpa), to,
					     offset, n))
			return UNKNOWN;
		memcpy(loaded->bytes + loaded->nr, to, n);
		loaded->nr += n;

		gva += n;
		to += n;
		bytes -= n;
	}

	return 0;
}

/*
 * Load a segment descriptor.  One that the CPU has to mark as accessed may be part of
 * what it reads next.
 */
static int load_segment(const struct kvmi_vectoring *v, u16 selector,
			struct desc_struct *desc)
{
	gva_t gva = selector & ~(SEGMENT_TI_MASK | SEGMENT_RPL_MASK);
	struct kvm_segment ldt;
	struct desc_ptr gdt;
	u32 limit;
	int r;

	if (!(selector & ~SEGMENT_RPL_MASK))
		return UNKNOWN;
	if (selector & SEGMENT_TI_MASK) {
		kvm_get_segment(v->vcpu, &ldt, VCPU_SREG_LDTR);
		if (ldt.unusable)
			return UNKNOWN;
		limit = ldt.limit;
	} else {
		kvm_x86_call(get_gdt)(v->vcpu, &gdt);
		limit = gdt.size;
	}
	if (gva + sizeof(*desc) - 1 > limit)
		return UNKNOWN;

	gva += selector & SEGMENT_TI_MASK ? ldt.base : gdt.address;
	r = kvmi_vectoring_load(v, gva, SYSTEM, desc, sizeof(*desc));
	if (r)
		return r;
	if (!desc->p || !desc->s)
		return UNKNOWN;
	if (desc->type & SEG_ACCESSED)
		return 0;

	return check_write(v, gva, SYSTEM, sizeof(*desc)) ?: UNKNOWN;
}

/*
 * Return true if a page table with which @gva is translated is at @gfn, or if that
 * is unknown.
 */
static bool is_table_of(struct kvm_vcpu *vcpu, gfn_t gfn, gva_t gva)
{
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;
	unsigned int size = walk->cpu_role.base.has_4_byte_gpte ? sizeof(u32) : sizeof(u64);
	unsigned int bits = PAGE_SHIFT - ilog2(size);
	unsigned int level = walk->cpu_role.base.level;
	u64 entry = walk->get_guest_pgd(vcpu);

	for (; level; level--) {
		gfn_t table = gpa_to_gfn(entry & GENMASK_ULL(51, PAGE_SHIFT));
		unsigned int index = gva >> (PAGE_SHIFT + (level - 1) * bits) & (BIT(bits) - 1);

		if (table == gfn)
			return true;

		entry = 0;
		if (level == PT32E_ROOT_LEVEL && !is_long_mode(vcpu))
			entry = walk->get_pdptr(vcpu, index);
		else if (kvm_vcpu_read_guest_page(vcpu, kvmi_shown_gfn(vcpu, table),
						  &entry, index * size, size))
			return true;
		if (!(entry & PT_PRESENT_MASK))
			return true;
		if (level > PG_LEVEL_4K && entry & PT_PAGE_SIZE_MASK &&
		    (size == sizeof(u64) || is_pse(vcpu)))
			return false;
	}

	return false;
}

/*
 * What is pushed first may be in the page table of the other page, and so decide
 * where that is.
 */
static int check_push(const struct kvmi_vectoring *v, gva_t gva, int cpl,
		      unsigned int bytes)
{
	u64 as = stack_of(cpl);
	gpa_t gpa;
	int r;

	r = kvmi_vectoring_check(v, gva, as, KVMI_PAGE_ACCESS_W, &gpa);
	if (r || offset_in_page(gva) + bytes <= PAGE_SIZE)
		return r;

	r = kvmi_vectoring_check(v, (gva | ~PAGE_MASK) + 1, as, KVMI_PAGE_ACCESS_W,
				 &gpa);
	if (!r && is_table_of(v->vcpu, gpa_to_gfn(gpa), gva))
		r = UNKNOWN;

	return r;
}

/* 64-bit frames are the same with and without a change of CPL. */
static int check_stack64(const struct kvmi_vectoring *v, unsigned int ist, int cpl,
			 int new_cpl, unsigned int nr_slots)
{
	u64 sp = kvm_rsp_read(v->vcpu), size = nr_slots * sizeof(u64);
	struct kvm_segment tss;
	gva_t gva;
	int r;

	if (ist || new_cpl != cpl) {
		kvm_get_segment(v->vcpu, &tss, VCPU_SREG_TR);
		gva = ist ? TSS_IST + (ist - 1) * sizeof(sp) :
			    TSS_SP + new_cpl * sizeof(sp);
		r = kvmi_vectoring_load(v, tss.base + gva, SYSTEM, &sp, sizeof(sp));
		if (r)
			return r;
	}

	return check_push(v, (sp & ~0xfull) - size, new_cpl, size);
}

static int check_stack32(const struct kvmi_vectoring *v, int cpl, int new_cpl,
			 unsigned int nr_slots)
{
	u32 size = nr_slots * sizeof(u32);
	struct kvm_segment seg;
	struct desc_struct ss;
	struct {
		u32 sp;
		u16 ss;
	} __packed inner;
	int r;

	if (new_cpl == cpl) {
		kvm_get_segment(v->vcpu, &seg, VCPU_SREG_SS);
		inner.sp = kvm_rsp_read(v->vcpu);
		ss.d = seg.db;
	} else {
		kvm_get_segment(v->vcpu, &seg, VCPU_SREG_TR);
		if (!(seg.type & TSS_NOT_16BIT))
			return UNKNOWN;
		r = kvmi_vectoring_load(v,
					seg.base + TSS_SP + new_cpl * sizeof(u64),
					SYSTEM, &inner, sizeof(inner));
		if (!r)
			r = load_segment(v, inner.ss, &ss);
		if (r)
			return r;
		seg.base = get_desc_base(&ss);
	}

	/* SP may wrap around between two of the slots. */
	if (!ss.d)
		return UNKNOWN;

	return check_push(v, (u32)(seg.base + inner.sp - size), new_cpl, size);
}

static int check_gate(const struct kvmi_vectoring *v, u8 vector, bool has_error_code)
{
	struct kvm_vcpu *vcpu = v->vcpu;
	int cpl = kvm_x86_call(get_cpl)(vcpu), new_cpl;
	bool is_64bit = is_long_mode(vcpu);
	unsigned int size = is_64bit ? 16 : 8;
	struct desc_struct cs;
	struct desc_ptr idt;
	gate_desc gate;
	int r;

	kvm_x86_call(get_idt)(vcpu, &idt);
	if (vector * size + size - 1 > idt.size)
		return UNKNOWN;
	r = kvmi_vectoring_load(v, idt.address + vector * size, SYSTEM, &gate, size);
	if (r)
		return r;
	if (!gate.bits.p ||
	    (gate.bits.type != GATE_INTERRUPT && gate.bits.type != GATE_TRAP))
		return UNKNOWN;
	r = load_segment(v, gate.segment, &cs);
	if (r)
		return r;
	new_cpl = cs.type & CODE_CONFORMING ? cpl : cs.dpl;
	if (new_cpl > cpl)
		return UNKNOWN;

	if (is_64bit)
		return check_stack64(v, gate.bits.ist, cpl, new_cpl,
				     5 + has_error_code);
	return check_stack32(v, cpl, new_cpl,
			     (new_cpl == cpl ? 3 : 5) + has_error_code);
}

/* Shadow stacks, virtual-8086 mode and task returns */
static bool is_exotic(struct kvm_vcpu *vcpu)
{
	return kvm_is_cr4_bit_set(vcpu, X86_CR4_CET) ||
	       (kvm_get_rflags(vcpu) & (X86_EFLAGS_VM | X86_EFLAGS_NT));
}

/*
 * Translating an address sets the accessed and dirty flags of the guest's page tables,
 * which may be part of what was read.  So everything is checked twice: the flags are set
 * then, and if the same is read as before, so it is by the CPU.
 */
static int compare(const struct kvmi_loaded *once, const struct kvmi_loaded *again)
{
	return memcmp(once, again, sizeof(*once)) ? UNKNOWN : 0;
}

/*
 * Check whether a vCPU in protected mode may deliver an exception or
 * interrupt.  Return 0; -EACCES if the view denies the access in @refused;
 * -EOPNOTSUPP if unknown.
 */
int kvmi_check_delivery(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			struct kvmi_vcpu_event_pf *refused)
{
	struct kvmi_loaded loaded[2] = { };
	const struct kvmi_vectoring once = { vcpu, refused, &loaded[0] };
	const struct kvmi_vectoring again = { vcpu, refused, &loaded[1] };

	if (is_exotic(vcpu))
		return UNKNOWN;

	return check_gate(&once, vector, has_error_code) ?:
	       check_gate(&again, vector, has_error_code) ?:
	       compare(&loaded[0], &loaded[1]);
}

static int check_frame(const struct kvmi_vectoring *v, unsigned int size)
{
	bool is_64bit = is_64_bit_mode(v->vcpu);
	int cpl = kvm_x86_call(get_cpl)(v->vcpu);
	/* IP, CS, flags; SP, SS */
	u64 frame[5] = { };
	struct kvm_segment ss;
	struct desc_struct desc;
	unsigned int i, nr = 3;
	unsigned long sp;
	int r;

	kvm_get_segment(v->vcpu, &ss, VCPU_SREG_SS);
	/* SP may wrap around in the middle of a slot. */
	if (!is_64bit && !ss.db)
		return UNKNOWN;
	sp = kvm_rsp_read(v->vcpu);
	for (i = 0; i < nr; i++) {
		gva_t gva = sp + i * size;

		if (!is_64bit)
			gva = (u32)(ss.base + gva);
		r = kvmi_vectoring_load(v, gva, stack_of(cpl), &frame[i], size);
		if (r)
			return r;
		if (i == 1 && (is_64bit || (frame[i] & SEGMENT_RPL_MASK) > cpl))
			nr = 5;
	}
	/* Back to virtual-8086 mode */
	if (!is_long_mode(v->vcpu) && (frame[2] & X86_EFLAGS_VM))
		return UNKNOWN;

	r = load_segment(v, frame[1], &desc);
	/* 64-bit code needs no stack segment. */
	if (!r && (frame[4] & ~(u64)SEGMENT_RPL_MASK))
		r = load_segment(v, frame[4], &desc);

	return r;
}

/*
 * Check whether a vCPU in protected mode may execute IRET, with operands of
 * @size bytes.  Return 0; -EACCES if the view denies the access in @refused;
 * -EOPNOTSUPP if unknown.
 */
int kvmi_check_iret(struct kvm_vcpu *vcpu, unsigned int size,
		    struct kvmi_vcpu_event_pf *refused)
{
	struct kvmi_loaded loaded[2] = { };
	const struct kvmi_vectoring once = { vcpu, refused, &loaded[0] };
	const struct kvmi_vectoring again = { vcpu, refused, &loaded[1] };

	if (is_exotic(vcpu))
		return UNKNOWN;

	return check_frame(&once, size) ?: check_frame(&again, size) ?:
	       compare(&loaded[0], &loaded[1]);
}
