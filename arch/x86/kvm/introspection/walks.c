// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: page walks of the processor in guest page tables that a view
 * restricts.
 *
 * A walk writes to the guest's page tables, as far as the host's page tables are
 * concerned: always with NPT, and with EPT that has accessed and dirty flags, and
 * whether or not there is a flag to be set in the guest's.  This is nothing that
 * an instruction of the guest does, and not what a tool that guards page tables
 * wants to know.
 *
 * EPT can do without these flags, in the views where that is of use and only as
 * long.  Then a walk writes when there is a flag to be set, which KVM does.  Else
 * the processor never completes a walk, and each instruction is one for KVM.
 *
 * The instruction that needs the walk cannot just be executed with nothing
 * restricted: it may do what it must not, too.  So KVM emulates it, whose walks are
 * not restricted and which sets the flags, and looks at each access that is the
 * instruction's own.
 */

#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include "introspection/command.h"
#include "emulation.h"
#include "gates.h"
#include "kvm_emulate.h"
#include "mmu.h"
#include "regs.h"
#include "step.h"
#include "walks.h"
#include "x86.h"

bool __kvmi_ad_disabled(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && (READ_ONCE(vi->arch.ad_disabled) &
		      BIT(__kvmi_vcpu_view(vcpu)));
}

static void disable_ad(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	if (vi->session)
		vi->arch.ad_disabled |= BIT(__kvmi_vcpu_view(vcpu));
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);
}

/*
 * Is it the same walk as at the VM exit before this one?  In between nothing but the
 * processor has done anything.
 */
static bool walks_again(struct kvm_vcpu *vcpu, gpa_t entry)
{
	struct kvmi_last_walk *last = &kvmi_to_vcpu(vcpu)->arch.last_walk;
	struct kvmi_last_walk this = {
		.entry = entry,
		.rip = kvm_get_linear_rip(vcpu),
		.exits = vcpu->stat.exits,
	};
	bool again = this.entry == last->entry && this.rip == last->rip &&
		     this.exits == last->exits + 1;

	*last = this;

	return again;
}

/* As far as this entry and CR0.WP tell */
static bool may_write(struct kvm_vcpu *vcpu, u8 flags)
{
	return (flags & PT_WRITABLE_MASK) || !kvm_is_cr0_bit_set(vcpu, X86_CR0_WP);
}

/*
 * Hardware does not tell which flag it is to be.  The processor needs no accessed
 * flag if there is one.  If it is there it may have been set, by another vCPU, since
 * the processor has looked, which then will go on.  The dirty flag is what is
 * wanted if it comes to this entry once more.
 */
static bool set_flag(struct kvm_vcpu *vcpu, gpa_t entry)
{
	bool again = walks_again(vcpu, entry);
	u8 __user *flags;
	unsigned long hva;
	u8 old, new;

	/* The processor reads another entry there. */
	if (kvmi_shown_gfn(vcpu, gpa_to_gfn(entry)) != gpa_to_gfn(entry))
		return false;
	hva = kvm_vcpu_gfn_to_hva(vcpu, gpa_to_gfn(entry));
	if (kvm_is_error_hva(hva))
		return false;

	flags = (u8 __user *)(hva + offset_in_page(entry));
	if (get_user(old, flags))
		return false;

	/* If the guest has changed it the walk begins anew. */
	if (!(old & PT_PRESENT_MASK))
		return true;
	if (!(old & PT_ACCESSED_MASK))
		new = old | PT_ACCESSED_MASK;
	else if (!again)
		return true;
	else if (!(old & PT_DIRTY_MASK) && may_write(vcpu, old))
		new = old | PT_DIRTY_MASK;
	else
		return false;

	if (__try_cmpxchg_user(flags, &old, new, fault) < 0)
		return false;
	kvm_vcpu_mark_page_dirty(vcpu, gpa_to_gfn(entry));

	return true;
}

/**
 * kvmi_complete_walk - let the processor complete a page walk that the vCPU's view
 *	forbids
 * @vcpu: the vCPU, with its SRCU lock held
 * @entry: guest physical address of the entry in the guest's page tables
 * @write: the walk writes to it
 *
 * Return: true if the walk is to begin anew.
 */
bool kvmi_complete_walk(struct kvm_vcpu *vcpu, gpa_t entry, bool write)
{
	/* NPT cannot. */
	if (!(kvmi_arch_page_access() & KVMI_PAGE_ACCESS_R) || !write)
		return false;
	if (vcpu->arch.root_mmu.root_role.ad_disabled)
		return set_flag(vcpu, entry);

	disable_ad(vcpu);
	return true;
}

/* Fetch and decode an instruction, for what follows to know what it is. */
static int decode(struct kvm_vcpu *vcpu, struct kvmi_emulation *emulation)
{
	struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	int r;

	/* It may not come so far. */
	ctxt->b = 0;
	ctxt->modrm = 0;

	emulation->mode = KVMI_EMULATE_CHECKED;
	emulation->refused = false;
	r = x86_decode_emulated_instruction(vcpu, 0, NULL, 0);
	emulation->mode = KVMI_EMULATE_FREELY;

	return r;
}

/*
 * Is the code in the page of the entry, where the view shows another page?  With the
 * access to the entry granted it is the guest's own page that the processor fetches
 * from, too, and so another instruction than has been decoded.
 */
static bool changes_code(struct kvm_vcpu *vcpu, gpa_t entry)
{
	const struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	gva_t first = kvm_get_linear_rip(vcpu), last;
	gfn_t gfn = gpa_to_gfn(entry);
	gpa_t gpa;

	if (kvmi_shown_gfn(vcpu, gfn) == gfn)
		return false;

	last = first + (ctxt->fetch.end - ctxt->fetch.data) - 1;
	for (; ; first = last) {
		gpa = kvm_mmu_gva_to_gpa_system(vcpu, first, NULL);
		if (gpa != INVALID_GPA && gpa_to_gfn(gpa) == gfn)
			return true;
		if (first == last)
			return false;
	}
}

static bool is_opcode(const struct x86_emulate_ctxt *ctxt, u8 len, u8 opcode)
{
	return ctxt->opcode_len == len && ctxt->b == opcode;
}

/* The I/O permission bitmap is looked up in the TSS. */
static bool is_io_privileged(struct kvm_vcpu *vcpu)
{
	return kvm_x86_call(get_cpl)(vcpu) <=
	       (kvm_get_rflags(vcpu) & X86_EFLAGS_IOPL) >> X86_EFLAGS_IOPL_BIT;
}

/*
 * Instructions that access no memory and may cause a VM exit.  They are executed by
 * the processor for KVM's exit handlers to see them.
 */
static bool may_exit(struct kvm_vcpu *vcpu, const struct x86_emulate_ctxt *ctxt)
{
	switch (ctxt->intercept) {
	case x86_intercept_cr_read:
	case x86_intercept_cr_write:
	case x86_intercept_clts:
	case x86_intercept_dr_read:
	case x86_intercept_dr_write:
	case x86_intercept_rdtsc:
	case x86_intercept_rdtscp:
	case x86_intercept_rdpmc:
	case x86_intercept_rdpid:
	case x86_intercept_cpuid:
	case x86_intercept_invd:
	case x86_intercept_wbinvd:
	case x86_intercept_pause:
	case x86_intercept_hlt:
	case x86_intercept_invlpg:
	case x86_intercept_vmmcall:
	case x86_intercept_monitor:
	case x86_intercept_mwait:
	case x86_intercept_rdmsr:
	case x86_intercept_wrmsr:
	case x86_intercept_xsetbv:
		return true;
	case x86_intercept_in:
	case x86_intercept_out:
		return is_io_privileged(vcpu);
	default:
		/* VMCALL */
		return is_opcode(ctxt, 2, 0x01) && ctxt->modrm == 0xc1;
	}
}

/* Instructions that the emulator does not know, and that access no memory */
static bool is_harmless(const struct x86_emulate_ctxt *ctxt)
{
	/* SYSRET, UD2, SYSEXIT, EMMS */
	if (is_opcode(ctxt, 2, 0x07) || is_opcode(ctxt, 2, 0x0b) ||
	    is_opcode(ctxt, 2, 0x35) || is_opcode(ctxt, 2, 0x77))
		return true;

	/* CLAC, STAC, SWAPGS, RDTSCP */
	return is_opcode(ctxt, 2, 0x01) &&
	       (ctxt->modrm == 0xca || ctxt->modrm == 0xcb ||
		ctxt->modrm == 0xf8 || ctxt->modrm == 0xf9);
}

static bool is_descriptor_access(const struct x86_emulate_ctxt *ctxt)
{
	return ctxt->intercept >= x86_intercept_lidt &&
	       ctxt->intercept <= x86_intercept_str;
}

/* An instruction that the emulator does not know */
static int check_unknown(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_pf *event)
{
	const struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;

	if (ctxt->intercept == x86_intercept_iret)
		return kvmi_check_return(vcpu, ctxt->op_bytes, event);
	if (ctxt->intercept == x86_intercept_intn)
		return kvmi_check_delivery(vcpu, ctxt->src.val, false, event);
	if (ctxt->intercept == x86_intercept_icebp)
		return kvmi_check_delivery(vcpu, DB_VECTOR, false, event);
	if (is_opcode(ctxt, 1, 0xcc))
		return kvmi_check_delivery(vcpu, BP_VECTOR, false, event);
	if (is_opcode(ctxt, 1, 0xce))
		return kvmi_check_delivery(vcpu, OF_VECTOR, false, event);

	return is_harmless(ctxt) ? 0 : -EOPNOTSUPP;
}

/*
 * Return: 1 the instruction is done, else what is to be thought of the processor
 * executing it with the access of this walk granted: 0 that does no harm, -EACCES it
 * does what it must not, -EOPNOTSUPP nobody knows.
 */
static int emulate(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_pf *event, int *r)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	bool decoded = decode(vcpu, emulation) == EMULATION_OK;

	if (decoded && may_exit(vcpu, ctxt))
		return changes_code(vcpu, event->gpa) ? -EOPNOTSUPP : 0;
	/* The emulator would not ask the tool. */
	if (decoded && is_descriptor_access(ctxt) && kvmi_wants_descriptor(vcpu))
		return -EOPNOTSUPP;

	if (!emulation->refused && (decoded || ctxt->have_exception)) {
		*r = kvmi_emulate(vcpu, KVMI_EMULATE_CHECKED);
		if (!emulation->refused && !emulation->failed)
			return 1;
	}
	/* What is refused is part of another iteration. */
	if (emulation->refused && kvmi_step_repeats(vcpu)) {
		*r = 1;
		return 1;
	}
	if (emulation->refused) {
		event->gva = emulation->gva;
		event->gpa = emulation->gpa;
		event->access = emulation->access;
		return -EACCES;
	}

	return changes_code(vcpu, event->gpa) ? -EOPNOTSUPP : check_unknown(vcpu, event);
}

/* An exception or interrupt is being delivered, no instruction executed. */
static int check_delivery(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_pf *event)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	if (arch->exception.injected)
		return kvmi_check_delivery(vcpu, arch->exception.vector,
					   arch->exception.has_error_code, event);
	if (arch->interrupt.injected)
		return kvmi_check_delivery(vcpu, arch->interrupt.nr, false, event);

	return kvmi_check_delivery(vcpu, NMI_VECTOR, false, event);
}

/**
 * kvmi_walk - deal with a page walk that the vCPU's view forbids
 * @vcpu: the vCPU, with its SRCU lock held
 * @event: the walk's access; changed if what needed the walk is forbidden, too
 * @r: with KVMI_WALK_DONE, what to return to the run loop
 *
 * If it is not known what will be accessed the tool is asked about the walk.
 */
enum kvmi_walk kvmi_walk(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_pf *event,
			 int *r)
{
	int access;

	if (kvm_event_needs_reinjection(vcpu))
		access = check_delivery(vcpu, event);
	else
		access = emulate(vcpu, event, r);

	if (access > 0)
		return KVMI_WALK_DONE;

	return access ? KVMI_WALK_ASK : KVMI_WALK_STEP;
}
