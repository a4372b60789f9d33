// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the CPU's page walks in guest page tables that a view
 * restricts.
 *
 * To the host's page tables a walk is a write to the guest's page tables:
 * always with NPT, and with EPT that has accessed and dirty flags, even if
 * there is no flag to be set in the guest's.  Instructions of the guest do not
 * cause these writes, and tools that protect page tables are not interested in
 * them.
 *
 * EPT can do without these flags, which is used in the views where it helps,
 * for as long as it does.  Then a walk writes only if there is a flag to be
 * set, which KVM does.  Otherwise the CPU never completes a walk, and KVM has
 * to execute each instruction.
 *
 * The instruction that needs the walk can't be executed unrestricted, as other
 * accesses of it may have to be denied.  So KVM emulates it: the emulator's
 * walks are not restricted and set the flags, while the instruction's own
 * accesses are checked.
 */

#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/vcpu.h"
#include "addresses.h"
#include "emulation.h"
#include "hooks_insns.h"
#include "kvm_emulate.h"
#include "mmu.h"
#include "page_walk.h"
#include "pages.h"
#include "regs.h"
#include "step.h"
#include "vectoring.h"
#include "x86.h"

bool kvmi_ad_disabled(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && (READ_ONCE(vi->arch.ad_disabled) &
		      BIT(kvmi_vcpu_view(vcpu)));
}

static void disable_ad(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	if (vi->session)
		vi->arch.ad_disabled |= BIT(kvmi_vcpu_view(vcpu));
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);
}

/*
 * Return true if the previous VM exit was for the same walk, so that nothing
 * but the CPU has done anything since.
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

/* According to this entry and CR0.WP only */
static bool may_write(struct kvm_vcpu *vcpu, u8 flags)
{
	return (flags & PT_WRITABLE_MASK) || !kvm_is_cr0_bit_set(vcpu, X86_CR0_WP);
}

/*
 * Set the flag that the CPU needs, which hardware does not report.  The CPU
 * does not need the accessed flag if it is set; another vCPU may have set it
 * since the CPU has read the entry, in which case the walk succeeds now.  If
 * the CPU gets to this entry again, it needs the dirty flag.
 */
static bool set_flag(struct kvm_vcpu *vcpu, gpa_t entry)
{
	bool again = walks_again(vcpu, entry);
	u8 __user *flags;
	unsigned long hva;
	u8 old, new;

	/* The CPU reads the entry from another page. */
	if (kvmi_shown_gfn(vcpu, gpa_to_gfn(entry)) != gpa_to_gfn(entry))
		return false;
	hva = kvm_vcpu_gfn_to_hva(vcpu, gpa_to_gfn(entry));
	if (kvm_is_error_hva(hva))
		return false;

	flags = (u8 __user *)(hva + offset_in_page(entry));
	if (get_user(old, flags))
		return false;

	/* The guest has changed the entry: restart the walk. */
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

/*
 * Let the CPU complete a page walk that accesses @entry, of the guest's page
 * tables, which the view denies.  Return true to restart the walk.
 */
bool kvmi_complete_walk(struct kvm_vcpu *vcpu, gpa_t entry, bool write)
{
	/* Not with NPT */
	if (!(kvmi_arch_page_access() & KVMI_PAGE_ACCESS_R) || !write)
		return false;
	if (vcpu->arch.root_mmu.root_role.ad_disabled)
		return set_flag(vcpu, entry);

	disable_ad(vcpu);
	return true;
}

/* Fetch and decode the instruction. */
static int kvmi_decode_insn(struct kvm_vcpu *vcpu,
			    struct kvmi_emulation *emulation)
{
	struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	int r;

	/* Decoding may fail before these are set. */
	ctxt->b = 0;
	ctxt->modrm = 0;

	kvmi_emulation_set_mode(emulation, KVMI_EMULATE_CHECKED);
	emulation->refused = false;
	r = x86_decode_emulated_instruction(vcpu, 0, NULL, 0);
	kvmi_emulation_set_mode(emulation, KVMI_EMULATE_FREELY);

	return r;
}

/*
 * Return true if the code is in the page of the entry, which the view remaps.
 * With the access to the entry granted, the CPU fetches from the guest's own
 * page, too, and thus another instruction than was decoded.
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
		gpa = kvmi_translate_gva(vcpu, first);
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

/* Unless privileged, the CPU reads the I/O permission bitmap in the TSS. */
static bool is_io_privileged(struct kvm_vcpu *vcpu)
{
	return kvm_x86_call(get_cpl)(vcpu) <=
	       (kvm_get_rflags(vcpu) & X86_EFLAGS_IOPL) >> X86_EFLAGS_IOPL_BIT;
}

/*
 * Instructions that access no memory and may cause a VM exit.  Let the CPU
 * execute them, for KVM to handle the exit.
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

/*
 * Instructions that the emulator does not implement and that access no memory
 */
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

/* Instructions that the emulator does not implement */
static int check_unknown(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_pf *event)
{
	const struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;

	if (ctxt->intercept == x86_intercept_iret)
		return kvmi_check_iret(vcpu, ctxt->op_bytes, event);
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

/* The bytes that an instruction was decoded from */
struct kvmi_code {
	int decoded;
	unsigned int size;
	u8 bytes[X86_MAX_INSTRUCTION_LENGTH];
};

static void decode(struct kvm_vcpu *vcpu, struct kvmi_code *code)
{
	const struct fetch_cache *fetch = &vcpu->arch.emulate_ctxt->fetch;

	code->decoded = kvmi_decode_insn(vcpu, &kvmi_to_vcpu(vcpu)->arch.emulation);
	code->size = fetch->ptr - fetch->data;
	memcpy(code->bytes, fetch->data, code->size);
}

/*
 * Translating an address sets flags in the guest's page tables, which the code may be a
 * part of.  Return true if the CPU fetches the instruction that was decoded.
 */
static bool is_same_insn(struct kvm_vcpu *vcpu, const struct kvmi_code *code)
{
	struct kvmi_code now;

	decode(vcpu, &now);

	return now.decoded == code->decoded && now.size == code->size &&
	       !memcmp(now.bytes, code->bytes, now.size);
}

/*
 * Return 1 if the instruction is done, else whether the CPU may execute it with
 * the access of this walk granted: 0 if so, -EACCES if the view denies another
 * access, -EOPNOTSUPP if unknown.
 */
static int kvmi_emulate_walk(struct kvm_vcpu *vcpu,
			     struct kvmi_vcpu_event_pf *event, int *r)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	struct kvmi_code code;
	bool decoded;
	int access;

	decode(vcpu, &code);
	decoded = code.decoded == EMULATION_OK;

	if (decoded && may_exit(vcpu, ctxt))
		return changes_code(vcpu, event->gpa) || !is_same_insn(vcpu, &code) ?
		       -EOPNOTSUPP : 0;
	/* The emulator would not report the access. */
	if (decoded && is_descriptor_access(ctxt) && kvmi_wants_descriptor(vcpu))
		return -EOPNOTSUPP;

	if (!emulation->refused && (decoded || ctxt->have_exception)) {
		*r = kvmi_emulate(vcpu, KVMI_EMULATE_CHECKED);
		if (!emulation->refused && !emulation->failed)
			return 1;
	}
	/* The denied access is part of the next iteration. */
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

	if (changes_code(vcpu, event->gpa))
		return -EOPNOTSUPP;
	access = check_unknown(vcpu, event);

	return access || is_same_insn(vcpu, &code) ? access : -EOPNOTSUPP;
}

/* An exception or interrupt is being delivered. */
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

/*
 * Handle a page walk that the vCPU's view denies.  @event: the access of the
 * walk, replaced by a denied access of the instruction that needs it; @r: with
 * KVMI_WALK_DONE, what to return to the run loop.  If the accesses are unknown,
 * report the walk.  Within kvm->srcu.
 */
enum kvmi_walk_result kvmi_handle_walk(struct kvm_vcpu *vcpu,
				       struct kvmi_vcpu_event_pf *event, int *r)
{
	int access;

	if (kvm_event_needs_reinjection(vcpu))
		access = check_delivery(vcpu, event);
	else
		access = kvmi_emulate_walk(vcpu, event, r);

	if (access > 0)
		return KVMI_WALK_DONE;

	return access ? KVMI_WALK_ASK : KVMI_WALK_STEP;
}
