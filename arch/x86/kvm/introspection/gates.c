// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the memory that a processor accesses on its way into the
 * handler of an exception or interrupt, and back.
 *
 * KVM's emulator does not go this way.  So this is not done here, it is only found
 * out whether all of it is left to the vCPU, and then the processor does it.
 */

#include <linux/kvm_host.h>

#include <asm/desc.h>

#include "introspection/command.h"
#include "gates.h"
#include "kvm_emulate.h"
#include "mmu.h"
#include "pages.h"
#include "regs.h"
#include "x86.h"

/* Offsets in a TSS: the stack pointers of CPL 0 to 2, and 7 more of 64 bits */
#define TSS_SP		4
#define TSS_IST		36

/* What is in bit 3 of the type of a TSS: one of 32 or 64 bits */
#define TSS_NOT_16BIT	8

/* Type of a code segment */
#define CODE_CONFORMING	4
/* Type of a segment */
#define SEG_ACCESSED	1

/* The functions below return one of these, or 0 if nothing is refused. */
#define REFUSED		(-EACCES)
/* It is not known what will be accessed. */
#define UNKNOWN		(-EOPNOTSUPP)
/* The processor will raise an exception, and access nothing more. */
#define FAULTS		(-EFAULT)

/**
 * struct way - what is common to all accesses
 * @vcpu: the vCPU
 * @refused: the first access that the vCPU's view forbids
 */
struct way {
	struct kvm_vcpu *vcpu;
	struct kvmi_vcpu_event_pf *refused;
};

static int check(const struct way *way, gva_t gva, u8 access, gpa_t *gpa)
{
	struct kvm_vcpu *vcpu = way->vcpu;
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;
	u64 pferr = PFERR_IMPLICIT_ACCESS;

	if (access == KVMI_PAGE_ACCESS_W)
		pferr |= PFERR_WRITE_MASK;
	*gpa = walk->gva_to_gpa(vcpu, walk, gva, pferr, NULL);
	if (*gpa == INVALID_GPA)
		return FAULTS;
	if (kvmi_may_access(vcpu, gpa_to_gfn(*gpa), access))
		/* What is read where another page is shown is not known here. */
		return kvmi_shown_gfn(vcpu, gpa_to_gfn(*gpa)) ==
		       gpa_to_gfn(*gpa) ? 0 : UNKNOWN;

	way->refused->gva = gva;
	way->refused->gpa = *gpa;
	way->refused->access = access;

	return REFUSED;
}

static int check_write(const struct way *way, gva_t gva, unsigned int bytes)
{
	gpa_t gpa;
	int r;

	r = check(way, gva, KVMI_PAGE_ACCESS_W, &gpa);
	if (!r && offset_in_page(gva) + bytes > PAGE_SIZE)
		r = check(way, (gva | ~PAGE_MASK) + 1, KVMI_PAGE_ACCESS_W, &gpa);

	return r;
}

static int load(const struct way *way, gva_t gva, void *to, unsigned int bytes)
{
	while (bytes) {
		unsigned int offset = offset_in_page(gva);
		unsigned int n = min_t(unsigned int, bytes, PAGE_SIZE - offset);
		gpa_t gpa;
		int r;

		r = check(way, gva, KVMI_PAGE_ACCESS_R, &gpa);
		if (r)
			return r;
		if (kvm_vcpu_read_guest_page(way->vcpu, gpa_to_gfn(gpa), to,
					     offset, n))
			return UNKNOWN;

		gva += n;
		to += n;
		bytes -= n;
	}

	return 0;
}

/* The descriptor of a segment that is loaded, and marked as accessed. */
static int load_segment(const struct way *way, u16 selector,
			struct desc_struct *desc)
{
	gva_t gva = selector & ~(SEGMENT_TI_MASK | SEGMENT_RPL_MASK);
	struct kvm_segment ldt;
	struct desc_ptr gdt;
	u32 limit;
	int r;

	if (!(selector & ~SEGMENT_RPL_MASK))
		return FAULTS;
	if (selector & SEGMENT_TI_MASK) {
		kvm_get_segment(way->vcpu, &ldt, VCPU_SREG_LDTR);
		if (ldt.unusable)
			return FAULTS;
		limit = ldt.limit;
	} else {
		kvm_x86_call(get_gdt)(way->vcpu, &gdt);
		limit = gdt.size;
	}
	if (gva + sizeof(*desc) - 1 > limit)
		return FAULTS;

	gva += selector & SEGMENT_TI_MASK ? ldt.base : gdt.address;
	r = load(way, gva, desc, sizeof(*desc));
	if (r)
		return r;
	if (!desc->p || !desc->s)
		return FAULTS;

	return desc->type & SEG_ACCESSED ? 0 : check_write(way, gva, sizeof(*desc));
}

/* Frames of 64 bits are the same with and without a change of CPL. */
static int check_stack64(const struct way *way, unsigned int ist, int cpl,
			 int new_cpl, unsigned int nr_slots)
{
	u64 sp = kvm_rsp_read(way->vcpu), size = nr_slots * sizeof(u64);
	struct kvm_segment tss;
	gva_t gva;
	int r;

	if (ist || new_cpl != cpl) {
		kvm_get_segment(way->vcpu, &tss, VCPU_SREG_TR);
		gva = ist ? TSS_IST + (ist - 1) * sizeof(sp) :
			    TSS_SP + new_cpl * sizeof(sp);
		r = load(way, tss.base + gva, &sp, sizeof(sp));
		if (r)
			return r;
	}

	return check_write(way, (sp & ~0xfull) - size, size);
}

static int check_stack32(const struct way *way, int cpl, int new_cpl,
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
		kvm_get_segment(way->vcpu, &seg, VCPU_SREG_SS);
		inner.sp = kvm_rsp_read(way->vcpu);
		ss.d = seg.db;
	} else {
		kvm_get_segment(way->vcpu, &seg, VCPU_SREG_TR);
		if (!(seg.type & TSS_NOT_16BIT))
			return UNKNOWN;
		r = load(way, seg.base + TSS_SP + new_cpl * sizeof(u64), &inner,
			 sizeof(inner));
		if (!r)
			r = load_segment(way, inner.ss, &ss);
		if (r)
			return r;
		seg.base = get_desc_base(&ss);
	}

	inner.sp -= size;
	if (!ss.d)
		inner.sp = (u16)inner.sp;

	return check_write(way, (u32)(seg.base + inner.sp), size);
}

static int check_gate(const struct way *way, u8 vector, bool has_error_code)
{
	struct kvm_vcpu *vcpu = way->vcpu;
	int cpl = kvm_x86_call(get_cpl)(vcpu), new_cpl;
	bool is_64bit = is_long_mode(vcpu);
	unsigned int size = is_64bit ? 16 : 8;
	struct desc_struct cs;
	struct desc_ptr idt;
	gate_desc gate;
	int r;

	kvm_x86_call(get_idt)(vcpu, &idt);
	if (vector * size + size - 1 > idt.size)
		return FAULTS;
	r = load(way, idt.address + vector * size, &gate, size);
	if (r)
		return r;
	if (!gate.bits.p)
		return FAULTS;
	if (gate.bits.type != GATE_INTERRUPT && gate.bits.type != GATE_TRAP)
		return is_64bit ? FAULTS : UNKNOWN;
	r = load_segment(way, gate.segment, &cs);
	if (r)
		return r;
	new_cpl = cs.type & CODE_CONFORMING ? cpl : cs.dpl;
	if (new_cpl > cpl)
		return FAULTS;

	if (is_64bit)
		return check_stack64(way, gate.bits.ist, cpl, new_cpl,
				     5 + has_error_code);
	return check_stack32(way, cpl, new_cpl,
			     (new_cpl == cpl ? 3 : 5) + has_error_code);
}

/* Shadow stacks, and what 16-bit systems do */
static bool is_exotic(struct kvm_vcpu *vcpu)
{
	return kvm_is_cr4_bit_set(vcpu, X86_CR4_CET) ||
	       (kvm_get_rflags(vcpu) & (X86_EFLAGS_VM | X86_EFLAGS_NT));
}

/**
 * kvmi_check_delivery - may a vCPU call the handler of an exception or interrupt?
 * @vcpu: the vCPU, in protected mode
 * @vector: the exception or interrupt
 * @has_error_code: an error code is pushed
 * @refused: if not, what it must not access: gva, gpa, access
 *
 * Return: 0; -EACCES it may not; -EOPNOTSUPP that cannot be told.
 */
int kvmi_check_delivery(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			struct kvmi_vcpu_event_pf *refused)
{
	const struct way way = { .vcpu = vcpu, .refused = refused };
	int r;

	if (is_exotic(vcpu))
		return UNKNOWN;
	r = check_gate(&way, vector, has_error_code);

	return r == FAULTS ? 0 : r;
}

static int check_frame(const struct way *way, unsigned int size)
{
	bool is_64bit = is_64_bit_mode(way->vcpu);
	int cpl = kvm_x86_call(get_cpl)(way->vcpu);
	/* IP, CS, flags; SP, SS */
	u64 frame[5] = { };
	struct kvm_segment ss;
	struct desc_struct desc;
	unsigned int i, nr = 3;
	unsigned long sp;
	int r;

	kvm_get_segment(way->vcpu, &ss, VCPU_SREG_SS);
	sp = kvm_rsp_read(way->vcpu);
	for (i = 0; i < nr; i++) {
		gva_t gva = sp + i * size;

		if (!is_64bit)
			gva = (u32)(ss.base + (ss.db ? (u32)gva : (u16)gva));
		r = load(way, gva, &frame[i], size);
		if (r)
			return r;
		if (i == 1 && (is_64bit || (frame[i] & SEGMENT_RPL_MASK) > cpl))
			nr = 5;
	}
	/* Back to virtual-8086 mode */
	if (!is_long_mode(way->vcpu) && (frame[2] & X86_EFLAGS_VM))
		return UNKNOWN;

	r = load_segment(way, frame[1], &desc);
	/* 64-bit code does without a stack segment. */
	if (!r && (frame[4] & ~(u64)SEGMENT_RPL_MASK))
		r = load_segment(way, frame[4], &desc);

	return r;
}

/**
 * kvmi_check_return - may a vCPU return from a handler with IRET?
 * @vcpu: the vCPU, in protected mode
 * @size: size of the operands
 * @refused: if not, what it must not access: gva, gpa, access
 *
 * Return: 0; -EACCES it may not; -EOPNOTSUPP that cannot be told.
 */
int kvmi_check_return(struct kvm_vcpu *vcpu, unsigned int size,
		      struct kvmi_vcpu_event_pf *refused)
{
	const struct way way = { .vcpu = vcpu, .refused = refused };
	int r;

	if (is_exotic(vcpu))
		return UNKNOWN;
	r = check_frame(&way, size);

	return r == FAULTS ? 0 : r;
}
