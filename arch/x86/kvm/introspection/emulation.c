// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: instructions that KVM emulates, for reasons of its own or
 * on request of the tool or introspection.
 *
 * KVM's emulator calls the functions below for each access to guest memory,
 * with the address that it then uses.  If access is denied, or KVM_RUN must
 * return to userspace first, restart the instruction.  It may have written a
 * part of its data by then, as if another vCPU had looked in the middle of it.
 *
 * Fetches and reads return what the vCPU's view maps.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/event.h"
#include "introspection/vcpu.h"
#include "emulation.h"
#include "hooks_emulator.h"
#include "intercepts.h"
#include "kvm_emulate.h"
#include "pages.h"
#include "step.h"
#include "x86.h"

/*
 * Emulate the next instruction.  May drop and retake the vCPU's SRCU lock.
 * struct kvmi_emulation reports failures.  Return what to return to the run loop.
 */
int kvmi_emulate(struct kvm_vcpu *vcpu, enum kvmi_emulation_mode mode)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	int r;

	/*
	 * Have __kvmi_check_step() end the mode at last.  KVM_REQ_EVENT, which
	 * kvmi_set_todo() makes too, would keep the vCPU from entering the guest to
	 * have hardware repeat an access that is denied, see kvmi_step_emulate().
	 */
	WRITE_ONCE(vcpu->arch.introspection_todo, true);
	/* What the tool has said counts in its session only. */
	emulation->session = mode == KVMI_EMULATE_TRACED ?
			     kvmi_to_vcpu(vcpu)->arch.asked :
			     READ_ONCE(kvmi_to_vcpu(vcpu)->nr_sessions);
	kvmi_emulation_set_mode(emulation, mode);
	emulation->failed = false;
	emulation->refused = false;
	r = kvm_emulate_instruction(vcpu, 0);

	/*
	 * If KVM_RUN returns first, e.g. for MMIO, the rest follows later, and asks
	 * by itself unless the tool has said how it is to be emulated.
	 */
	if (r > 0 || mode == KVMI_EMULATE_CHECKED)
		kvmi_emulation_set_mode(emulation, KVMI_EMULATE_FREELY);

	/* HLT is left to the caller of the emulator. */
	if (vcpu->arch.halt_request) {
		vcpu->arch.halt_request = 0;
		return kvm_emulate_halt_noskip(vcpu);
	}

	return r;
}

void __kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	vcpu->arch.emulate_ctxt->retired = false;

	/*
	 * Whoever reads registers from now on, while the tool is asked or after
	 * the instruction was aborted, gets those from before the instruction,
	 * and not those that the emulator has not written back.
	 */
	if (emulation_type & EMULTYPE_NO_DECODE)
		vcpu->arch.emulate_regs_need_sync_to_vcpu = false;

	/*
	 * Skipping an instruction accesses nothing, and the CPU has fetched it.
	 */
	if (emulation_type & EMULTYPE_SKIP)
		return;
	vi->arch.emulation.replaced = false;
	if (vi->arch.emulation.mode != KVMI_EMULATE_FREELY &&
	    vi->arch.emulation.session == READ_ONCE(vi->nr_sessions))
		return;

	kvmi_emulation_set_mode(&vi->arch.emulation, KVMI_EMULATE_ASKED);
	vi->arch.emulation.refused = false;
}

int __kvmi_emulation_end(struct kvm_vcpu *vcpu, int r)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_emulation *emulation = &vi->arch.emulation;

	if (vcpu->arch.emulate_ctxt->retired)
		kvmi_step_retired(vcpu);

	switch (emulation->mode) {
	case KVMI_EMULATE_ASKED:
		break;
	case KVMI_EMULATE_TRACED:
		/* Also if KVM_RUN has returned meanwhile, e.g. for MMIO */
		kvmi_end_trace(vcpu);
		return r;
	default:
		return r;
	}

	kvmi_emulation_set_mode(emulation, KVMI_EMULATE_FREELY);
	/* A denied access may be part of the next iteration, which restarts. */
	if (emulation->refused && !kvmi_step_repeats(vcpu))
		r = kvmi_emulated_page_fault(vcpu, emulation->gva, emulation->gpa,
					     emulation->access);

	/* The tool may have had the instruction emulated. */
	kvmi_step_check(vcpu);

	return r;
}

bool __kvmi_emulation_watched(struct kvm_vcpu *vcpu)
{
	return kvmi_to_vcpu(vcpu)->arch.emulation.mode != KVMI_EMULATE_FREELY;
}

bool __kvmi_emulation_wanted(struct kvm_vcpu *vcpu)
{
	return __kvmi_emulation_watched(vcpu) &&
	       kvmi_to_vcpu(vcpu)->arch.emulation.mode != KVMI_EMULATE_ASKED;
}

bool __kvmi_emulation_failed(struct kvm_vcpu *vcpu)
{
	if (!__kvmi_emulation_wanted(vcpu))
		return true;

	kvmi_to_vcpu(vcpu)->arch.emulation.failed = true;
	return false;
}

static bool kvmi_refuse_access(struct kvmi_emulation *emulation, gva_t gva,
			       gpa_t gpa, u8 access)
{
	emulation->refused = true;
	emulation->access = access;
	emulation->gva = gva;
	emulation->gpa = gpa;

	return false;
}

/* Read what the vCPU's view maps at @gpa. */
static bool read_shown(struct kvm_vcpu *vcpu, gpa_t gpa, void *val,
		       unsigned int bytes)
{
	gfn_t gfn = gpa_to_gfn(gpa), shown = kvmi_shown_gfn(vcpu, gfn);

	return shown == gfn ||
	       !kvm_vcpu_read_guest_page(vcpu, shown, val, offset_in_page(gpa),
					 bytes);
}

static bool kvmi_check_access(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			      u8 access)
{
	return kvmi_may_access(vcpu, gpa_to_gfn(gpa), access) ||
	       kvmi_refuse_access(&kvmi_to_vcpu(vcpu)->arch.emulation, gva, gpa,
				  access);
}

bool __kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   void *val, unsigned int bytes)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	enum kvmi_emulation_mode mode = vi->arch.emulation.mode;

	/* To trace an instruction's accesses is not to allow its fetch. */
	if ((mode == KVMI_EMULATE_ASKED || mode == KVMI_EMULATE_CHECKED ||
	     mode == KVMI_EMULATE_TRACED) &&
	    !kvmi_may_execute(vcpu, gva, gpa_to_gfn(gpa)))
		return kvmi_refuse_access(&vi->arch.emulation, gva, gpa,
					  KVMI_PAGE_ACCESS_X);

	return read_shown(vcpu, gpa, val, bytes);
}

/* The memory operand that the instruction writes, if any */
static bool get_destination(struct kvm_vcpu *vcpu, gva_t *gva, unsigned int *bytes)
{
	struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	const struct operand *dst = &ctxt->dst;
	unsigned int seg = dst->addr.mem.seg;

	if (dst->type != OP_MEM)
		return false;

	*gva = dst->addr.mem.ea;
	*bytes = dst->bytes;
	if (ctxt->mode != X86EMUL_MODE_PROT64 || seg >= VCPU_SREG_FS)
		*gva += kvm_x86_call(get_segment_base)(vcpu, seg);
	if (ctxt->mode == X86EMUL_MODE_PROT64)
		*gva = ctxt->ops->get_untagged_addr(ctxt, *gva, X86EMUL_F_WRITE);
	else
		*gva = (u32)*gva;

	return true;
}

/*
 * Return true if the instruction reads from a page that it then writes to, i.e. from the
 * page itself, as with the write granted.
 */
static bool reads_destination(struct kvm_vcpu *vcpu, gva_t gva)
{
	unsigned int bytes;
	gva_t first, last;

	if (!get_destination(vcpu, &first, &bytes))
		return false;
	last = first + bytes - 1;
	if (vcpu->arch.emulate_ctxt->mode != X86EMUL_MODE_PROT64)
		last = (u32)last;

	return !((gva ^ first) & PAGE_MASK) || !((gva ^ last) & PAGE_MASK);
}

bool __kvmi_emulated_input(struct kvm_vcpu *vcpu)
{
	enum kvmi_emulation_mode mode = kvmi_to_vcpu(vcpu)->arch.emulation.mode;
	unsigned int bytes;
	gva_t gva, last;
	gpa_t gpa;

	if ((mode != KVMI_EMULATE_ASKED && mode != KVMI_EMULATE_CHECKED) ||
	    !get_destination(vcpu, &gva, &bytes))
		return true;

	for (last = gva + bytes - 1; ; gva = last & PAGE_MASK) {
		gpa = kvm_mmu_gva_to_gpa_write(vcpu, gva, NULL);
		/* The exception is raised by the access itself. */
		if (gpa != INVALID_GPA && !kvmi_check_access(vcpu, gva, gpa,
							     KVMI_PAGE_ACCESS_W))
			return false;
		if (!((gva ^ last) & PAGE_MASK))
			return true;
	}
}

/* As far as the page of the iteration that __kvmi_emulated_input() looked at goes */
static unsigned int iterations_in_page(struct kvm_vcpu *vcpu, unsigned int size,
				       unsigned int count)
{
	const struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	unsigned int bytes, nr;
	gva_t gva;

	if (!get_destination(vcpu, &gva, &bytes))
		return count;

	if (ctxt->eflags & X86_EFLAGS_DF)
		nr = offset_in_page(gva) / size + 1;
	else
		nr = max((PAGE_SIZE - offset_in_page(gva)) / size, 1);

	return min(count, nr);
}

unsigned int __kvmi_read_ahead(struct kvm_vcpu *vcpu, unsigned int size,
			       unsigned int count)
{
	switch (kvmi_to_vcpu(vcpu)->arch.emulation.mode) {
	case KVMI_EMULATE_ASKED:
		return iterations_in_page(vcpu, size, count);
	case KVMI_EMULATE_CHECKED:
	case KVMI_EMULATE_TRACED:
		return 1;
	case KVMI_EMULATE_FREELY:
		break;
	}

	return count;
}

/*
 * Other vCPUs have run while the tool was replying, and may not have waited for
 * this one to flush its TLB.  The access must still be one that the guest's page
 * tables allow.
 */
static bool still_there(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa, bool write,
			bool system)
{
	struct kvm_pagewalk *walk = &vcpu->arch.gva_walk;
	u64 access = write ? PFERR_WRITE_MASK : 0;

	if (system)
		access |= PFERR_IMPLICIT_ACCESS;
	else if (kvm_x86_call(get_cpl)(vcpu) == 3)
		access |= PFERR_USER_MASK;

	return walk->gva_to_gpa(vcpu, walk, gva, access, NULL) == gpa;
}

/* Report an access; @reply: the data to read or write if allowed */
static enum kvmi_verdict
kvmi_report_access(struct kvm_vcpu *vcpu,
		   const struct kvmi_vcpu_event_access *event, bool system,
		   struct kvmi_vcpu_event_access_reply *reply)
{
	bool write = event->access == KVMI_PAGE_ACCESS_W;
	u8 forbidden = 0;
	int action;

	/* A read can't be skipped. */
	if (!write)
		forbidden = BIT(KVMI_EVENT_ACTION_SKIP);

	action = __kvmi_event(vcpu, KVMI_VCPU_EVENT_ACCESS, forbidden, event,
			      sizeof(*event), reply, sizeof(*reply));
	if (!still_there(vcpu, event->gva, event->gpa, write, system))
		return KVMI_RETRY;

	return kvmi_action_to_verdict(action);
}

/* As with a granted access, the restricted page is the guest's own. */
static bool trace_read(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa, bool system,
		       void *val, unsigned int bytes)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	struct kvmi_vcpu_event_access_reply reply = { };
	struct kvmi_vcpu_event_access event = {
		.gva = gva,
		.gpa = gpa,
		.access = KVMI_PAGE_ACCESS_R,
		.size = bytes,
	};

	/* The tool may have been asked since the address was translated. */
	if (!still_there(vcpu, gva, gpa, false, system))
		return false;
	if (kvmi_may_access(vcpu, gpa_to_gfn(gpa), KVMI_PAGE_ACCESS_R))
		return reads_destination(vcpu, gva) ||
		       read_shown(vcpu, gpa, val, bytes);
	if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_ACCESS))
		return true;
	if (WARN_ON_ONCE(bytes > sizeof(event.data)))
		return false;

	memcpy(event.data, val, bytes);
	memcpy(reply.data, val, bytes);
	if (kvmi_report_access(vcpu, &event, system, &reply) == KVMI_RETRY)
		return false;

	emulation->replaced = bytes <= sizeof(emulation->memory) &&
			      memcmp(val, reply.data, bytes);
	if (emulation->replaced) {
		emulation->replaced_gva = gva;
		memcpy(emulation->memory, val, bytes);
	}
	memcpy(val, reply.data, bytes);

	return true;
}

const void *__kvmi_expected_memory(struct kvm_vcpu *vcpu, gva_t gva, const void *read)
{
	const struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;

	return emulation->replaced && emulation->replaced_gva == gva ?
	       emulation->memory : read;
}

bool __kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			  bool system, void *val, unsigned int bytes)
{
	switch (kvmi_to_vcpu(vcpu)->arch.emulation.mode) {
	case KVMI_EMULATE_TRACED:
		return trace_read(vcpu, gva, gpa, system, val, bytes);
	case KVMI_EMULATE_ASKED:
	case KVMI_EMULATE_CHECKED:
		if (!kvmi_check_access(vcpu, gva, gpa, KVMI_PAGE_ACCESS_R))
			return false;
		break;
	case KVMI_EMULATE_FREELY:
		break;
	}

	return read_shown(vcpu, gpa, val, bytes);
}

/*
 * Return true for an instruction that must not be interrupted when it writes: the tool
 * would see the CS that a far CALL is about to have.
 */
static bool is_far_call(struct kvm_vcpu *vcpu)
{
	const struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;

	return ctxt->opcode_len == 1 &&
	       (ctxt->b == 0x9a || (ctxt->b == 0xff && (ctxt->modrm >> 3 & 7) == 3));
}

bool __kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   bool system, const void **val, unsigned int bytes)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	/* The other part is reported before this one is written. */
	u8 *data = emulation->data[!offset_in_page(gpa)];
	struct kvmi_vcpu_event_access_reply reply = { };
	struct kvmi_vcpu_event_access event = {
		.gva = gva,
		.gpa = gpa,
		.access = KVMI_PAGE_ACCESS_W,
		.size = bytes,
	};

	if (emulation->mode == KVMI_EMULATE_ASKED ||
	    emulation->mode == KVMI_EMULATE_CHECKED)
		return kvmi_check_access(vcpu, gva, gpa, KVMI_PAGE_ACCESS_W);

	if (emulation->mode != KVMI_EMULATE_TRACED ||
	    !kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_ACCESS) ||
	    kvmi_may_access(vcpu, gpa_to_gfn(gpa), KVMI_PAGE_ACCESS_W))
		return true;
	if (WARN_ON_ONCE(bytes > sizeof(event.data)))
		return false;
	if (is_far_call(vcpu)) {
		emulation->failed = true;
		return false;
	}

	memcpy(event.data, *val, bytes);
	memcpy(reply.data, *val, bytes);
	switch (kvmi_report_access(vcpu, &event, system, &reply)) {
	case KVMI_ALLOW:
		*val = memcpy(data, reply.data, bytes);
		return true;
	case KVMI_SKIP:
		*val = NULL;
		return true;
	case KVMI_RETRY:
		break;
	}

	return false;
}

bool __kvmi_emulated_write_again(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
				 const void *val)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;

	/* In no other mode is the tool waited for. */
	if (emulation->mode != KVMI_EMULATE_TRACED)
		return true;
	if (!still_there(vcpu, gva, gpa, true, false))
		return false;

	/* These are the bytes that the tool has allowed. */
	return val == emulation->data[0] ||
	       !kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_ACCESS) ||
	       kvmi_may_access(vcpu, gpa_to_gfn(gpa), KVMI_PAGE_ACCESS_W);
}

/*
 * Wait for accesses of KVM's emulator that it may make by what a view was before it was
 * changed.  Receiver only, and not within kvm->srcu.
 *
 * The emulator looks at the view and makes the access without leaving kvm->srcu, which
 * is left to wait for the tool, and then looks again.
 */
void kvmi_arch_wait_for_accesses(struct kvm *kvm)
{
	struct kvm_vcpu_introspection *vi;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	/* Pairs with smp_store_mb() in kvmi_emulation_set_mode(). */
	smp_mb();
	kvm_for_each_vcpu(i, vcpu, kvm) {
		vi = kvmi_to_vcpu(vcpu);
		if (!vi)
			continue;
		/* Pairs with smp_store_release() in kvmi_emulation_set_mode(). */
		if (smp_load_acquire(&vi->arch.emulation.mode) != KVMI_EMULATE_FREELY) {
			synchronize_srcu_expedited(&kvm->srcu);
			break;
		}
	}
}
