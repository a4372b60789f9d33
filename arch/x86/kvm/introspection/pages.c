// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: page faults in views, and what views allow to be mapped.
 *
 * A view is enforced by its own page tables, which are managed by the TDP MMU.
 * The TDP MMU looks up here what may be mapped, and at which level.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/access_store.h"
#include "introspection/arch.h"
#include "introspection/changed_gfns.h"
#include "introspection/event.h"
#include "introspection/limits.h"
#include "introspection/memslots.h"
#include "introspection/vcpu.h"
#include "introspection/view.h"
#include "emulation.h"
#include "grants.h"
#include "hooks_pages.h"
#include "hyperv.h"
#include "intercepts.h"
#include "kvm_emulate.h"
#include "lapic.h"
#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"
#include "mmu/tdp_mmu.h"
#include "mmu/view.h"
#include "page_walk.h"
#include "pages.h"
#include "registers.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

/* kvm_mmu_page_role.view has to hold the number of a view */
static_assert(BIT(3) >= KVMI_NR_VIEWS);

#define ACCESS_X_SPLIT (KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU)

/*
 * Return the KVMI_PAGE_ACCESS_* that can be restricted, 0 if views can't be
 * enforced.
 */
u32 kvmi_arch_page_access(void)
{
	u32 access = KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X;

	/* What the tool allows is executed in a single step. */
	if (!tdp_mmu_enabled || !kvm_caps.has_single_step)
		return 0;
	/* With NPT, a page that can be accessed can be read. */
	if (shadow_xs_mask)
		access |= KVMI_PAGE_ACCESS_R;
	if (kvm_caps.has_user_exec)
		access |= ACCESS_X_SPLIT;

	return access;
}

/* Return the KVMI_FEATURE_* of this host. */
u32 kvmi_arch_feature_flags(void)
{
	u32 flags = KVMI_FEATURE_SAME_VALUE | KVMI_FEATURE_REPLY_FLAGS |
		    KVMI_FEATURE_RULES;

	if (kvm_caps.has_single_step)
		flags |= KVMI_FEATURE_SINGLESTEP;
	if (kvmi_arch_page_access() && kvm_caps.has_exec_only)
		flags |= KVMI_FEATURE_EXEC_ONLY;
	if (kvmi_arch_page_access() && kvm_caps.has_user_exec)
		flags |= KVMI_FEATURE_USER_EXEC;

	return flags;
}

/* Return true if hardware can permit exactly this access. */
bool kvmi_arch_check_access(u8 access)
{
	if (access & ~(KVMI_PAGE_ACCESS_RWX | ACCESS_X_SPLIT))
		return false;
	if ((access & ACCESS_X_SPLIT) &&
	    (!kvm_caps.has_user_exec || (access & KVMI_PAGE_ACCESS_X)))
		return false;
	if (!access || access & KVMI_PAGE_ACCESS_R)
		return true;

	return !(access & KVMI_PAGE_ACCESS_W) && kvm_caps.has_exec_only;
}

/*
 * Zap the SPTEs of a range in a view. mmu_lock is held for writing, and may be
 * dropped and retaken if @can_yield.  Return true if a TLB flush is needed.
 */
bool kvmi_arch_zap_gfns(struct kvm *kvm, unsigned int view, int as_id,
			const struct kvmi_gfn_range *range, bool can_yield,
			bool flush)
{
	if (!tdp_mmu_enabled)
		return flush;

	return kvm_tdp_mmu_zap_view_leafs(kvm, as_id, view, range->first,
					  range->last + 1, can_yield, flush);
}

/*
 * Zap the SPTEs of pages that have lost access in a view. mmu_lock is held for
 * writing.  Return true if a TLB flush is needed.
 */
bool kvmi_arch_zap_lost(struct kvm *kvm, unsigned int view, int as_id,
			const struct kvmi_lost_gfns *lost, bool flush)
{
	static_assert(KVMI_LEAF_PAGES == SPTE_ENT_PER_PAGE);

	if (!tdp_mmu_enabled)
		return flush;

	return kvm_tdp_mmu_zap_view_bitmap(kvm, as_id, view, lost->base, lost->gfns,
					   flush);
}

/*
 * Invalidate the roots of a view. slots_lock is held, and mmu_lock for writing.
 */
void kvmi_arch_end_view(struct kvm *kvm, unsigned int view)
{
	kvm_mmu_end_view(kvm, view);
}

/*
 * Invalidate all roots that VMs without views don't have. slots_lock is held,
 * and mmu_lock for writing.
 */
void kvmi_arch_end_views(struct kvm *kvm)
{
	kvm_mmu_end_views(kvm);
}

/* Free the roots that were invalidated. slots_lock is held. */
void kvmi_arch_free_views(struct kvm *kvm)
{
	kvm_mmu_free_views(kvm);
}

static unsigned int acc_mask(u8 access)
{
	return kvm_tdp_access(access & KVMI_PAGE_ACCESS_R,
			      access & KVMI_PAGE_ACCESS_W,
			      access & (KVMI_PAGE_ACCESS_X | KVMI_PAGE_ACCESS_XS),
			      access & (KVMI_PAGE_ACCESS_X | KVMI_PAGE_ACCESS_XU));
}

/* The KVMI_PAGE_ACCESS_* left at @gfn */
static u8 view_access(struct kvmi_view *view, int as_id, gfn_t gfn)
{
	u8 access = kvmi_view_access(view, as_id, gfn);

	/*
	 * Deny writes to remapped pages, so that dirty tracking sees only the
	 * page's own gfn.
	 */
	if (kvmi_view_shown_gfn(view, as_id, gfn) != gfn)
		access &= ~KVMI_PAGE_ACCESS_W;

	return access;
}

unsigned int __kvmi_page_access(struct kvm *kvm, union kvm_mmu_page_role role,
				gfn_t gfn)
{
	struct kvmi_view *view = kvmi_view_find(kvm, role.view);

	if (!view)
		return ACC_ALL;

	return acc_mask(view_access(view, kvm_mmu_role_as_id(role), gfn));
}

/* Add what is granted to a vCPU, and what hardware can't deny with it. */
static u8 with_granted(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access)
{
	const struct kvmi_grant *grant = kvmi_granted(vcpu, gfn);

	if (!grant)
		return access;

	access |= grant->access;
	if ((access & KVMI_PAGE_ACCESS_W) || (access && !kvm_caps.has_exec_only))
		access |= KVMI_PAGE_ACCESS_R;

	return access;
}

unsigned int __kvmi_vcpu_page_access(struct kvm_vcpu *vcpu,
				     union kvm_mmu_page_role role, gfn_t gfn)
{
	struct kvmi_view *view = kvmi_view_find(vcpu->kvm, role.view);
	u8 access;

	if (!view)
		return ACC_ALL;

	access = view_access(view, kvm_mmu_role_as_id(role), gfn);
	if (role.local)
		access = with_granted(vcpu, gfn, access);

	return acc_mask(access);
}

int __kvmi_max_mapping_level(struct kvm *kvm, union kvm_mmu_page_role role,
			     gfn_t gfn, int level)
{
	struct kvmi_view *view = kvmi_view_find(kvm, role.view);

	for (; view && level > PG_LEVEL_4K; level--) {
		struct kvmi_gfn_range range = { gfn_round_for_level(gfn, level) };

		range.last = range.first + KVM_PAGES_PER_HPAGE(level) - 1;
		if (!kvmi_view_is_uniform(view, kvm_mmu_role_as_id(role), &range))
			continue;
		/* An access to one of these pages may be granted. */
		if (role.local &&
		    kvmi_view_access(view, kvm_mmu_role_as_id(role), gfn) !=
		    KVMI_PAGE_ACCESS_RWX)
			continue;
		break;
	}

	return level;
}

static bool is_there(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	return kvm_vcpu_gfn_to_memslot(vcpu, gfn);
}

/*
 * Return true if a vCPU accesses the guest's own page, even if the gfn is
 * remapped.
 */
static bool is_own(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	const struct kvmi_grant *grant = kvmi_granted(vcpu, gfn);

	return grant && grant->own;
}

gfn_t kvmi_shown_gfn(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvmi_view *view = kvmi_view_find(vcpu->kvm, kvmi_vcpu_view(vcpu));
	int as_id = kvm_arch_vcpu_memslots_id(vcpu);
	gfn_t shown;

	if (!view || kvmi_view_is_plain(view, as_id) || !is_there(vcpu, gfn) ||
	    is_own(vcpu, gfn))
		return gfn;

	shown = kvmi_view_shown_gfn(view, as_id, gfn);

	/*
	 * If the memslot of the other page is gone, only granted accesses get
	 * here.
	 */
	return is_there(vcpu, shown) ? shown : gfn;
}

gfn_t __kvmi_mapped_gfn(struct kvm_vcpu *vcpu, union kvm_mmu_page_role role,
			gfn_t gfn)
{
	struct kvmi_view *view = kvmi_view_find(vcpu->kvm, role.view);
	int as_id = kvm_mmu_role_as_id(role);
	struct kvmi_gfn_range range = { gfn, gfn };
	gfn_t shown;

	if (!view)
		return gfn;
	shown = kvmi_view_shown_gfn(view, as_id, gfn);
	if (shown == gfn || (role.local && is_own(vcpu, gfn)))
		return gfn;

	/* MMIO, and memslots being deleted, are not remapped. */
	return kvmi_range_has_memory(__kvm_memslots(vcpu->kvm, as_id), &range) ?
	       shown : gfn;
}

/* Pages that are unmapped may be mapped at other gfns, too. */
bool __kvmi_unmap_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range,
			    bool flush)
{
	struct kvmi_gfn_range pages = { range->start, range->end - 1 };

	return kvmi_changed_unmap(kvm, range->slot->as_id, &pages, flush);
}

static u8 wanted_access(u64 error_code)
{
	if (error_code & PFERR_WRITE_MASK)
		return KVMI_PAGE_ACCESS_W;
	if (!(error_code & PFERR_FETCH_MASK))
		return KVMI_PAGE_ACCESS_R;
	if (!kvm_caps.has_user_exec)
		return KVMI_PAGE_ACCESS_X;

	return error_code & PFERR_USER_MASK ? KVMI_PAGE_ACCESS_XU :
					      KVMI_PAGE_ACCESS_XS;
}

static bool has_access(u8 access, u8 wanted)
{
	if (access & KVMI_PAGE_ACCESS_X)
		access |= ACCESS_X_SPLIT;

	return access & wanted;
}

/*
 * Return true if the view or a grant permits the access.  @wanted: with X split
 */
static bool may_access(struct kvm_vcpu *vcpu, struct kvmi_view *view, gfn_t gfn,
		       u8 wanted)
{
	int as_id = kvm_arch_vcpu_memslots_id(vcpu);
	u8 access = view_access(view, as_id, gfn);

	if (!kvmi_step_repeats(vcpu))
		access = with_granted(vcpu, gfn, access);

	return has_access(access, wanted) &&
	       (is_own(vcpu, gfn) ||
		is_there(vcpu, kvmi_view_shown_gfn(view, as_id, gfn)));
}

/*
 * Return true if the vCPU's view or a grant permits an access, one of
 * KVMI_PAGE_ACCESS_R, W, XS and XU.  MMIO is not restricted.  Within kvm->srcu.
 */
bool kvmi_may_access(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access)
{
	struct kvmi_view *view = kvmi_view_find(vcpu->kvm, kvmi_vcpu_view(vcpu));

	if (!view || kvmi_view_is_plain(view, kvm_arch_vcpu_memslots_id(vcpu)) ||
	    !is_there(vcpu, gfn))
		return true;

	return may_access(vcpu, view, gfn, access);
}

/*
 * Return true if the vCPU's view or a grant permits a fetch.  Whether that is a
 * user fetch depends on the linear address, and not on the CPL.  Within
 * kvm->srcu.
 */
bool kvmi_may_execute(struct kvm_vcpu *vcpu, gva_t gva, gfn_t gfn)
{
	bool xs = kvmi_may_access(vcpu, gfn, KVMI_PAGE_ACCESS_XS);
	bool xu = kvmi_may_access(vcpu, gfn, KVMI_PAGE_ACCESS_XU);
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;

	if (xs == xu)
		return xs;

	return walk->gva_to_gpa(vcpu, walk, gva, PFERR_FETCH_MASK | PFERR_USER_MASK,
				NULL) == INVALID_GPA ? xs : xu;
}

/*
 * Report a failed emulation with the next PF event, which the instruction
 * raises.
 */
static int cannot_emulate(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_arch_vcpu *arch = &vi->arch;

	spin_lock(&vi->lock);
	/* Not in another session */
	arch->not_emulated = vi->session && arch->asked == vi->nr_sessions;
	arch->not_emulated_at = kvm_get_linear_rip(vcpu);
	spin_unlock(&vi->lock);

	return 1;
}

static int kvmi_skip_insn(struct kvm_vcpu *vcpu)
{
	/*
	 * A guest must not be able to crash the VM by this: KVM_RUN fails if the
	 * instruction can't be decoded, and another vCPU may change it at any time.
	 */
	if (x86_decode_emulated_instruction(vcpu, EMULTYPE_SKIP, NULL, 0) !=
	    EMULATION_OK)
		return cannot_emulate(vcpu);

	/* An IRET that is skipped unblocks nothing. */
	if (kvm_x86_call(get_nmi_mask)(vcpu))
		kvm_x86_call(set_nmi_mask)(vcpu, true);

	/* Includes traps at the end of an instruction. */
	return kvm_emulate_instruction(vcpu, EMULTYPE_SKIP | EMULTYPE_NO_DECODE |
					     EMULTYPE_COMPLETE_USER_EXIT);
}

/* Return true if the instruction at RIP is the INT n, INT3 or INTO for a vector. */
static bool is_int_insn(struct kvm_vcpu *vcpu, u8 vector)
{
	const struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;

	if (x86_decode_emulated_instruction(vcpu, EMULTYPE_SKIP, NULL, 0) !=
	    EMULATION_OK || ctxt->opcode_len != 1)
		return false;

	switch (ctxt->b) {
	case 0xcc:
		return vector == BP_VECTOR;
	case 0xcd:
		return vector == (u8)ctxt->src.val;
	case 0xce:
		return vector == OF_VECTOR;
	default:
		return false;
	}
}

/* Return the vector of the INT n, INT3 or INTO that may be being delivered, or -1. */
static int delivered_by_insn(struct kvm_vcpu *vcpu)
{
	const struct kvm_queued_exception *ex = &vcpu->arch.exception;
	const struct kvm_queued_interrupt *irq = &vcpu->arch.interrupt;

	if (irq->injected && irq->soft)
		return irq->nr;
	if (ex->injected && kvm_exception_is_soft(ex->vector))
		return ex->vector;
	return -1;
}

/* Return true if the local APIC is waiting for the end of a vector, and of it first. */
static bool is_in_service(struct kvm_lapic *apic, u8 nr)
{
	u32 isr = kvm_lapic_get_reg(apic, APIC_ISR + (nr >> 5) * 0x10);
	unsigned int i;

	if (isr >> (nr & 31) != 1)
		return false;
	for (i = (nr >> 5) + 1; i < 8; i++)
		if (kvm_lapic_get_reg(apic, APIC_ISR + i * 0x10))
			return false;
	return true;
}

/*
 * Tell whoever has sent the interrupt that is being delivered that the guest has
 * handled it.  Return false if that is not in KVM's hands, with userspace's
 * interrupt controller, or is only known to the guest, with a PIC.
 */
static bool end_interrupt(struct kvm_vcpu *vcpu)
{
	u8 nr = vcpu->arch.interrupt.nr;

	if (!lapic_in_kernel(vcpu))
		return false;

	if (is_in_service(vcpu->arch.apic, nr)) {
		kvm_lapic_set_eoi(vcpu);
		return true;
	}

	/* Others don't wait, but for the guest to tell a PIC. */
	return kvm_hv_synic_auto_eoi_set(vcpu, nr) || !kvm_apic_accept_pic_intr(vcpu);
}

/*
 * Drop the exception or interrupt that is being delivered, if there is no more to
 * it than that.  Return what to return to the run loop.
 */
static int drop_delivery(struct kvm_vcpu *vcpu)
{
	int vector = delivered_by_insn(vcpu);

	if (kvmi_delivers_interrupt(vcpu) && !end_interrupt(vcpu))
		return 1;

	kvm_clear_exception_queue(vcpu);
	kvm_clear_interrupt_queue(vcpu);
	if (vcpu->arch.nmi_injected) {
		vcpu->arch.nmi_injected = false;
		/* There will be no IRET to end it. */
		kvm_x86_call(set_nmi_mask)(vcpu, false);
	}

	/* Unless the tool has injected #BP or #OF without such an instruction */
	return vector >= 0 && is_int_insn(vcpu, vector) ? kvmi_skip_insn(vcpu) : 1;
}

/* Return true if emulating the instruction at RIP has just failed. */
static bool not_emulated(struct kvm_vcpu *vcpu)
{
	struct kvmi_arch_vcpu *arch = &kvmi_to_vcpu(vcpu)->arch;

	if (arch->not_emulated_at != kvm_get_linear_rip(vcpu))
		arch->not_emulated = false;

	return arch->not_emulated;
}

/*
 * Emulate the instruction, and report each access.  @event: the access that is
 * allowed, and is not reported itself if it is the fetch
 */
static int trap_access(struct kvm_vcpu *vcpu, const struct kvmi_vcpu_event_pf *event)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;

	/* There is no instruction to emulate. */
	if (event->flags & KVMI_PF_DELIVERY)
		return cannot_emulate(vcpu);

	emulation->fetched = INVALID_GPA;
	if (event->access == KVMI_PAGE_ACCESS_X) {
		/* Ended before VM-Enter */
		if (!kvmi_grant(vcpu, gpa_to_gfn(event->gpa), KVMI_PAGE_ACCESS_X))
			return 1;
		emulation->fetched = event->gpa;
	}

	return kvmi_emulate(vcpu, KVMI_EMULATE_TRACED);
}

/* KVM's emulator returns from a part, or all, of an instruction that is traced. */
void kvmi_end_trace(struct kvm_vcpu *vcpu)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;

	/* The guest may have replaced the code meanwhile, by what is not to be fetched. */
	if (!emulation->failed && !emulation->refused)
		return;

	/* A step that is open would execute it with the grant. */
	if (emulation->fetched != INVALID_GPA)
		kvmi_end_grant(vcpu, gpa_to_gfn(emulation->fetched),
			       KVMI_PAGE_ACCESS_X);
	cannot_emulate(vcpu);
}

/* The tool has the guest repeat an access: nothing of the instruction is allowed any more. */
void kvmi_arch_vcpu_retry(struct kvm_vcpu *vcpu)
{
	kvmi_step_cancel(vcpu);
	kvmi_to_vcpu(vcpu)->arch.not_emulated = false;
}

/*
 * Perform an access that is allowed.  @event: the access; @gfn: page of the
 * access that caused the VM exit
 *
 * Return true if the latter can be mapped now, with *@r set as by
 * __kvmi_page_fault(); else *@r is what to return to the run loop.
 */
static bool kvmi_allow_access(struct kvm_vcpu *vcpu,
			      const struct kvmi_vcpu_event_pf *event, gfn_t gfn,
			      bool asked, int *r)
{
	*r = 1;
	if (!kvmi_step_allow(vcpu, gpa_to_gfn(event->gpa), event->access, asked) ||
	    gpa_to_gfn(event->gpa) != gfn)
		return false;

	/*
	 * Avoid another VM exit: switch to the vCPU's own page tables, which
	 * were not examined yet for this fault.
	 */
	kvm_mmu_update_view(vcpu);
	*r = kvm_mmu_reload(vcpu);
	if (*r)
		return false;

	*r = RET_PF_RETRY;
	return true;
}

/*
 * Report an access, and apply the reply.  @gfn: page of the access that caused
 * the VM exit
 *
 * Return as kvmi_allow_access() does.
 */
static bool kvmi_report_fault(struct kvm_vcpu *vcpu,
			      struct kvmi_vcpu_event_pf *event, gfn_t gfn,
			      int *r)
{
	const struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;
	struct kvmi_vcpu_event_pf_reply reply = { };
	int action = KVMI_EVENT_ACTION_ALLOW;
	bool asked = false;

	if (not_emulated(vcpu))
		event->flags |= KVMI_PF_NOT_EMULATED;
	if (step->allowed && step->asked)
		event->flags |= KVMI_PF_AGAIN;
	if (kvm_event_needs_reinjection(vcpu))
		event->flags |= KVMI_PF_DELIVERY;
	if (kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_PF)) {
		action = kvmi_event(vcpu, KVMI_VCPU_EVENT_PF, event,
				    sizeof(*event), &reply, sizeof(reply));
		/* Not if the event was turned off, or the tool lost, meanwhile */
		asked = kvmi_event_answered(vcpu);
	}
	/*
	 * Report a failure once, but an event that was interrupted is raised
	 * again.
	 */
	if (action != KVMI_EVENT_INTERRUPTED)
		kvmi_to_vcpu(vcpu)->arch.not_emulated = false;

	*r = 1;
	switch (kvmi_action_to_verdict(action)) {
	case KVMI_ALLOW:
		if (!(reply.flags & KVMI_PF_TRAP_ACCESS) ||
		    (event->flags & KVMI_PF_NOT_EMULATED))
			return kvmi_allow_access(vcpu, event, gfn, asked, r);
		*r = trap_access(vcpu, event);
		break;
	case KVMI_SKIP:
		kvmi_step_cancel(vcpu);
		/* There is not always an instruction to skip, or something to drop. */
		if (!(event->flags & KVMI_PF_DELIVERY))
			*r = kvmi_skip_insn(vcpu);
		else if (kvm_event_needs_reinjection(vcpu))
			*r = drop_delivery(vcpu);
		break;
	case KVMI_RETRY:
		/*
		 * The tool's RETRY has withdrawn the grants already.  With the event
		 * still open, its instruction is the one being executed.
		 */
		break;
	}

	return false;
}

/*
 * Execute the guest's own instruction, once, at @gpa that its view remaps.
 * Return false if it is not remapped.
 */
bool kvmi_execute_own(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	gfn_t gfn = gpa_to_gfn(gpa);
	/* Reads return the guest's own page. */
	u8 access = KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X;

	/* Remapping ends with the session. */
	if (!READ_ONCE(vi->session))
		return true;
	if (gpa == INVALID_GPA || kvmi_shown_gfn(vcpu, gfn) == gfn)
		return false;

	vi->arch.asked = READ_ONCE(vi->nr_sessions);
	kvmi_step_allow(vcpu, gfn, access, false);

	return true;
}

/*
 * Report an access that KVM's emulator was denied, about to execute the
 * instruction again.  Return what to return to the run loop.
 */
int kvmi_emulated_page_fault(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa, u8 access)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_vcpu_event_pf event = {
		.gva = gva,
		.gpa = gpa,
		.access = access,
		.view = kvmi_vcpu_view(vcpu),
	};
	int r;

	vi->arch.asked = READ_ONCE(vi->nr_sessions);
	kvmi_report_fault(vcpu, &event, gpa_to_gfn(INVALID_GPA), &r);

	return r;
}

/*
 * With true, *@r is RET_PF_RETRY if the tool may have been asked: the guest, or the
 * tool, may have changed since what is accessed, which KVM must not emulate without
 * having the guest repeat it.  Else it is left alone.
 */
bool __kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 error_code, int *r)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	/* The view of the page tables that denied the access */
	unsigned int id = vcpu->arch.root_mmu.root_role.view;
	struct kvmi_vcpu_event_pf event = {
		.gpa = gpa,
		.view = id,
	};
	gfn_t gfn = gpa_to_gfn(gpa);
	struct kvmi_view *view;
	bool asynchronous;
	u8 wanted;

	if (error_code & PFERR_RSVD_MASK)
		return true;
	vi->arch.asked = READ_ONCE(vi->nr_sessions);
	view = kvmi_view_find(vcpu->kvm, id);
	if (!view || !is_there(vcpu, gfn))
		return true;
	wanted = wanted_access(error_code);
	if (may_access(vcpu, view, gfn, wanted))
		return true;

	event.access = wanted & ACCESS_X_SPLIT ? KVMI_PAGE_ACCESS_X : wanted;
	event.gva = kvm_x86_call(get_fault_gva)(vcpu, &asynchronous);
	if (asynchronous)
		event.flags = KVMI_PF_DELIVERY;
	if (event.gva == INVALID_GPA && (error_code & PFERR_FETCH_MASK))
		event.gva = kvm_get_linear_rip(vcpu);

	*r = 1;
	if ((error_code & PFERR_GUEST_PAGE_MASK) &&
	    kvmi_complete_walk(vcpu, gpa, wanted == KVMI_PAGE_ACCESS_W))
		return false;
	if (kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_PF) &&
	    (error_code & PFERR_GUEST_PAGE_MASK)) {
		switch (kvmi_handle_walk(vcpu, &event, r)) {
		case KVMI_WALK_DONE:
			return false;
		case KVMI_WALK_STEP:
			return kvmi_allow_access(vcpu, &event, gfn, false, r);
		case KVMI_WALK_ASK:
			break;
		}
	}

	return kvmi_report_fault(vcpu, &event, gfn, r);
}
