// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: single-stepping with RFLAGS.TF.
 *
 * Without better hardware support, KVM sets TF while the guest runs, which the
 * guest must not notice.  Most instructions neither read nor write TF.  Find
 * those that do, and those after which the trap is delayed or does not occur.
 * KVM executes some of them, and hardware the others with a little help.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/vcpu.h"
#include "emulation.h"
#include "hooks_exceptions.h"
#include "hooks_step.h"
#include "mmu.h"
#include "pages.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

#define MAX_INSN_BYTES	15

/* The first bytes of the instruction at RIP, as the vCPU fetches them */
struct insn {
	u8 bytes[MAX_INSN_BYTES];
	/* Number of bytes that were read */
	unsigned int nr;
	/* Number of bytes that were decoded */
	unsigned int pos;
	/* Operand of INT n */
	u8 vector;
};

/* Read bytes within one page; false if the vCPU may not execute them. */
static bool kvmi_fetch_insn(struct kvm_vcpu *vcpu, gva_t gva, u8 *bytes,
			    unsigned int nr)
{
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;
	u64 access = PFERR_FETCH_MASK;
	gpa_t gpa;
	gfn_t gfn;

	if (kvm_x86_call(get_cpl)(vcpu) == 3)
		access |= PFERR_USER_MASK;
	gpa = walk->gva_to_gpa(vcpu, walk, gva, access, NULL);
	if (gpa == INVALID_GPA)
		return false;

	gfn = gpa_to_gfn(gpa);
	if (!kvmi_may_execute(vcpu, gva, gfn))
		return false;

	return !kvm_vcpu_read_guest_page(vcpu, kvmi_shown_gfn(vcpu, gfn), bytes,
					 offset_in_page(gpa), nr);
}

/*
 * Read up to the end of the page.  Read the next page only if the instruction
 * extends to it: translating its address sets the accessed bit.
 */
static bool fetch_more(struct kvm_vcpu *vcpu, struct insn *insn)
{
	gva_t gva = kvm_get_linear_rip(vcpu) + insn->nr;
	unsigned int nr = min_t(unsigned int, MAX_INSN_BYTES - insn->nr,
				PAGE_SIZE - offset_in_page(gva));

	if (!nr || !kvmi_fetch_insn(vcpu, gva, insn->bytes + insn->nr, nr))
		return false;
	insn->nr += nr;
	return true;
}

static bool next_byte(struct kvm_vcpu *vcpu, struct insn *insn, u8 *byte)
{
	if (insn->pos == insn->nr && !fetch_more(vcpu, insn))
		return false;
	*byte = insn->bytes[insn->pos++];
	return true;
}

static bool is_prefix(struct kvm_vcpu *vcpu, u8 byte)
{
	switch (byte) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
	case 0x66: case 0x67: case 0xf2: case 0xf3:
		return true;
	case 0x40 ... 0x4f:
		return is_64_bit_mode(vcpu);
	default:
		return false;
	}
}

/* In virtual-8086 mode INT n depends on more than its gate. */
static bool may_raise(struct kvm_vcpu *vcpu)
{
	unsigned long rflags = kvm_get_rflags(vcpu);

	return !(rflags & X86_EFLAGS_VM) ||
	       (rflags & X86_EFLAGS_IOPL) == X86_EFLAGS_IOPL;
}

static enum kvmi_step_insn kvmi_classify_insn(struct kvm_vcpu *vcpu,
					      struct insn *insn)
{
	u8 opcode, next = 0;

	do {
		if (!next_byte(vcpu, insn, &opcode))
			return KVMI_STEP_OTHER;
	} while (is_prefix(vcpu, opcode));

	switch (opcode) {
	case 0x0f:
	case 0x8e:
	case 0xcd:
		if (!next_byte(vcpu, insn, &next))
			return KVMI_STEP_OTHER;
		break;
	}

	switch (opcode) {
	case 0x0f:
		if (next == 0x05)
			return KVMI_STEP_SYSCALL;
		return next == 0x07 ? KVMI_STEP_SYSRET : KVMI_STEP_OTHER;
	case 0x17: /* POP SS */
		return is_64_bit_mode(vcpu) ? KVMI_STEP_OTHER : KVMI_STEP_SHADOW;
	case 0x8e: /* MOV to a segment register */
		return (next >> 3 & 7) == VCPU_SREG_SS ? KVMI_STEP_SHADOW :
							 KVMI_STEP_OTHER;
	case 0xfb: /* STI */
		return KVMI_STEP_SHADOW;
	case 0x9d: /* POPF */
	case 0xcf: /* IRET */
		return KVMI_STEP_LOADS_TF;
	case 0xcc: /* INT3; if it is userspace's it causes a VM exit. */
		return vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP ?
		       KVMI_STEP_OTHER : KVMI_STEP_INT3;
	case 0xcd:
		insn->vector = next;
		return may_raise(vcpu) ? KVMI_STEP_INT : KVMI_STEP_OTHER;
	case 0xce:
		return !is_64_bit_mode(vcpu) &&
		       kvm_get_rflags(vcpu) & X86_EFLAGS_OF ? KVMI_STEP_INTO :
							      KVMI_STEP_OTHER;
	default:
		return KVMI_STEP_OTHER;
	}
}

/*
 * Emulate the instruction to be stepped.  May drop and retake the vCPU's SRCU
 * lock.  Return false if KVM can't, or must not; else *@r is what to return to
 * the run loop.
 */
bool kvmi_step_emulate(struct kvm_vcpu *vcpu, int *r)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	unsigned long rip = kvm_get_linear_rip(vcpu);

	*r = kvmi_emulate(vcpu, KVMI_EMULATE_CHECKED);
	/* Hardware repeats the denied access, which raises a PF event. */
	if (emulation->refused || emulation->failed)
		return false;

	if (rip != kvm_get_linear_rip(vcpu))
		kvmi_single_step_exit(vcpu);

	return true;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_step_emulate);

/*
 * Have KVM deliver the event of an instruction, which the processor then does not
 * fetch.  Return what to return to the run loop.
 */
static int queue_event(struct kvm_vcpu *vcpu, enum kvmi_step_insn insn, u8 vector)
{
	unsigned long rflags;
	int r = 1;

	if (kvm_vcpu_check_code_breakpoint(vcpu, 0, &r))
		return r;

	switch (insn) {
	case KVMI_STEP_INT:
		kvm_queue_interrupt(vcpu, vector, true);
		break;
	case KVMI_STEP_INT3:
		r = kvmi_exception_exit(vcpu, BP_VECTOR, false, 0, 0);
		break;
	default:
		r = kvmi_exception_exit(vcpu, OF_VECTOR, false, 0, 0);
		break;
	}

	/* What is pushed is for the instruction behind this one. */
	rflags = kvm_get_rflags(vcpu);
	if ((rflags & X86_EFLAGS_RF) &&
	    (vcpu->arch.exception.pending || vcpu->arch.interrupt.injected))
		kvm_set_rflags(vcpu, rflags & ~X86_EFLAGS_RF);
	if (insn == KVMI_STEP_INT)
		kvmi_step_delivers(vcpu);

	return r;
}

bool __kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct insn insn = {};

	if (!vi || !kvm_caps.single_steps_by_tf || !__kvmi_single_steps(vcpu))
		return true;

	/* An event is delivered first, and no instruction executed then. */
	vi->arch.step.insn = KVMI_STEP_OTHER;
	if (kvm_event_needs_reinjection(vcpu))
		return true;

	vi->arch.step.insn = kvmi_classify_insn(vcpu, &insn);

	*r = 1;
	switch (vi->arch.step.insn) {
	case KVMI_STEP_SHADOW:
		/* The trap is delayed by one instruction. */
		return !kvmi_step_emulate(vcpu, r);
	case KVMI_STEP_INT:
	case KVMI_STEP_INT3:
	case KVMI_STEP_INTO:
		*r = queue_event(vcpu, vi->arch.step.insn, insn.vector);
		return false;
	default:
		return true;
	}
}

/* The instruction that is about to be stepped */
enum kvmi_step_insn kvmi_step_insn(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi ? vi->arch.step.insn : KVMI_STEP_OTHER;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_step_insn);
