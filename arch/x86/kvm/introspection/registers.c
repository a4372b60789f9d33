// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the registers of an x86 vCPU.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/command.h"
#include "introspection/vcpu.h"
#include "cpuid.h"
#include "hooks_regs.h"
#include "kvm_emulate.h"
#include "msrs.h"
#include "registers.h"
#include "regs.h"
#include "smm.h"
#include "x86.h"

/* KVM structures that are part of the wire format */
static_assert(sizeof(struct kvm_regs) == 144);
static_assert(sizeof(struct kvm_sregs) == 312);
static_assert(sizeof(struct kvmi_vcpu_event_arch) == 536);
static_assert(offsetof(struct kvmi_vcpu_event_arch, as_id) == 1);
static_assert(offsetof(struct kvmi_vcpu_event_arch, view) == 2);
static_assert(offsetof(struct kvmi_vcpu_event_arch, regs) == 8);
static_assert(offsetof(struct kvmi_vcpu_event_arch, sregs) == 152);
static_assert(offsetof(struct kvmi_vcpu_event_arch, msrs) == 464);
static_assert(sizeof(struct kvmi_vcpu_get_registers_reply) == 472);

void kvmi_arch_features(struct kvmi_features *features)
{
	features->singlestep = kvm_caps.has_single_step;
}

/*
 * Return false if the guest's memory or registers are hidden from the host, or
 * its memory is not what userspace has mapped.  A VM of the default type may
 * become an SEV guest, but not while it is hooked.  The result is stable while
 * kvm->lock is held.
 */
bool kvmi_arch_vm_supported(struct kvm *kvm)
{
	return !kvm->arch.has_protected_state && !kvm_arch_has_private_mem(kvm) &&
	       !READ_ONCE(kvm->arch.has_encrypted_mem);
}

/*
 * Return true if the vCPU can be introspected.  The vCPU may be running.
 * Hardware suppresses MTF exits in an SGX enclave: accesses that are granted to
 * one instruction would be granted to all of the enclave.
 */
bool kvmi_arch_vcpu_supported(struct kvm_vcpu *vcpu)
{
	return !guest_cpu_cap_has(vcpu, X86_FEATURE_SGX);
}

void __kvmi_limit_caps(struct kvm_vcpu *vcpu)
{
	/*
	 * Pairs with synchronize_srcu() in start_session(): either this finds
	 * the session, or that finds the capability.
	 */
	smp_mb();
	if (READ_ONCE(vcpu->kvm->introspection))
		guest_cpu_cap_clear(vcpu, X86_FEATURE_SGX);
}

/*
 * Return true if the vCPU may have a nested guest.  The vCPU may be running.
 * KVM's state for nested guests stays allocated while SMM hides the rest, but
 * SMRAM alone may determine what RSM returns to.  CR4.VMXE and EFER.SVME are
 * set by guests that are about to enter nested operation.
 */
bool kvmi_arch_vcpu_in_nested_operation(struct kvm_vcpu *vcpu)
{
	return is_smm(vcpu) || kvm_nested_call(has_state)(vcpu) ||
	       READ_ONCE(vcpu->arch.cr4) & X86_CR4_VMXE ||
	       READ_ONCE(vcpu->arch.efer) & EFER_SVME;
}

/*
 * Return false until userspace or another vCPU has initialized the vCPU:
 * KVM_RUN does not reach the run loop before.
 */
bool kvmi_arch_vcpu_ready(struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.mp_state) != KVM_MP_STATE_UNINITIALIZED;
}

int kvmi_arch_vcpu_address_space(struct kvm_vcpu *vcpu)
{
	return kvm_arch_vcpu_memslots_id(vcpu);
}

/*
 * RFLAGS.RF is left out of a context: it is set if an exception was delivered
 * before the instruction, which is still the same.
 */
static void complete_context(struct kvm_vcpu *vcpu, struct kvmi_context *context)
{
	context->regs.rflags &= ~X86_EFLAGS_RF;
	context->cpl = kvm_x86_call(get_cpl)(vcpu);
	context->as_id = kvm_arch_vcpu_memslots_id(vcpu);
}

/* Fill in the context of an event, including padding. */
void kvmi_arch_vcpu_get_context(struct kvm_vcpu *vcpu,
				struct kvmi_context *context)
{
	memset(context, 0, sizeof(*context));
	__kvm_get_regs(vcpu, &context->regs);
	context->cr3 = kvm_read_cr3(vcpu);
	kvm_get_segment(vcpu, &context->cs, VCPU_SREG_CS);
	complete_context(vcpu, context);
}

/* The same of an event that kvmi_arch_vcpu_fill_event() has just filled in */
void kvmi_arch_event_get_context(struct kvm_vcpu *vcpu,
				 const struct kvmi_vcpu_event_arch *event,
				 struct kvmi_context *context)
{
	memset(context, 0, sizeof(*context));
	context->regs = event->regs;
	context->cr3 = event->sregs.cr3;
	context->cs = event->sregs.cs;
	complete_context(vcpu, context);
}

/* Bit 1 is always set */
#define RFLAGS_MASK								\
	(X86_EFLAGS_CF | X86_EFLAGS_FIXED | X86_EFLAGS_PF | X86_EFLAGS_AF |	\
	 X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_IF |	\
	 X86_EFLAGS_DF | X86_EFLAGS_OF | X86_EFLAGS_IOPL | X86_EFLAGS_NT |	\
	 X86_EFLAGS_RF | X86_EFLAGS_VM | X86_EFLAGS_AC | X86_EFLAGS_VIF |	\
	 X86_EFLAGS_VIP | X86_EFLAGS_ID)

/*
 * Return true if VM-Enter accepts these registers.  SVM checks less than VMX,
 * but the behavior of what it does not check is undefined.
 */
static bool regs_are_valid(struct kvm_vcpu *vcpu, const struct kvm_regs *regs)
{
	if (regs->rflags & ~(u64)RFLAGS_MASK)
		return false;

	/* VM requires matching segment registers, which are not changed. */
	if ((regs->rflags ^ kvm_get_rflags(vcpu)) & X86_EFLAGS_VM)
		return false;

	if (!is_64_bit_mode(vcpu))
		return !upper_32_bits(regs->rip);

	/*
	 * The guest can run into a non-canonical address, but not jump to it.
	 */
	return !is_noncanonical_address(regs->rip, vcpu, 0) ||
	       regs->rip == kvm_rip_read(vcpu);
}

/* Return true if the delivery of an interrupt, and not of INT n, has begun. */
bool kvmi_delivers_interrupt(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.interrupt.injected && !vcpu->arch.interrupt.soft;
}

/* The guest goes on elsewhere. */
static void leave_instruction(struct kvm_vcpu *vcpu)
{
	struct kvm_queued_exception *ex = &vcpu->arch.exception;

	/* An IRET that was begun unblocks nothing. */
	if (kvm_x86_call(get_nmi_mask)(vcpu))
		kvm_x86_call(set_nmi_mask)(vcpu, true);

	/* INT n, INT3 and INTO end with what they deliver. */
	if (vcpu->arch.interrupt.injected && vcpu->arch.interrupt.soft)
		kvm_clear_interrupt_queue(vcpu);
	if (ex->injected && kvm_exception_is_soft(ex->vector))
		ex->injected = false;
}

/*
 * Load the general registers, as accepted by kvmi_vcpu_set_registers().  Unlike
 * with KVM_SET_REGS, a pending exception stays pending.
 *
 * If the reply has come after KVM_RUN was interrupted, userspace may have
 * changed the state that the registers were validated against.  Then don't load
 * them, as VM-Enter might fail, or load them with RFLAGS.IF set if userspace
 * has injected an interrupt.
 */
void kvmi_arch_vcpu_set_regs(struct kvm_vcpu *vcpu, struct kvm_regs *regs)
{
	bool pending = vcpu->arch.exception.pending;
	unsigned long changed;

	if (!regs_are_valid(vcpu, regs))
		return;
	if (kvmi_delivers_interrupt(vcpu))
		regs->rflags |= X86_EFLAGS_IF;

	/*
	 * An STI or MOV SS shadow belongs to the next instruction, and is
	 * invalid with IF cleared or TF set in between.
	 */
	changed = regs->rflags ^ kvm_get_rflags(vcpu);
	if (changed & (X86_EFLAGS_IF | X86_EFLAGS_TF) ||
	    regs->rip != kvm_rip_read(vcpu))
		kvm_x86_call(set_interrupt_shadow)(vcpu, 0);
	if (regs->rip != kvm_rip_read(vcpu))
		leave_instruction(vcpu);

	__kvm_set_regs(vcpu, regs);
	vcpu->arch.exception.pending = pending;
	/* A processor that halts must not do so with TF set. */
	if (regs->rflags & X86_EFLAGS_TF)
		kvm_x86_call(update_single_step)(vcpu);

	/*
	 * An instruction that is being emulated completes with these registers.
	 */
	emulator_invalidate_register_cache(vcpu->arch.emulate_ctxt);
	vcpu->arch.emulate_ctxt->eflags = kvm_get_rflags(vcpu);
	vcpu->arch.emulate_ctxt->tf = regs->rflags & X86_EFLAGS_TF;
}

/* Drop what KVM_RUN is in the middle of. */
void kvmi_arch_vcpu_shutdown(struct kvm_vcpu *vcpu)
{
	vcpu->mmio_needed = 0;
}

/*
 * Notify the guest at the next VM-Enter that the vCPU was stopped, as
 * KVM_KVMCLOCK_CTRL does, so that its watchdogs don't report a lockup.  Any
 * thread.
 */
void kvmi_arch_vcpu_stood_still(struct kvm_vcpu *vcpu)
{
	if (!READ_ONCE(vcpu->arch.pv_time.active))
		return;

	WRITE_ONCE(vcpu->arch.pvclock_set_guest_stopped_request, true);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/*
 * A pending exception updates CR2 or DR6 when it is injected, not when a tool
 * reads them, unlike with KVM_GET_SREGS.
 */
static void get_sregs(struct kvm_vcpu *vcpu, struct kvm_sregs *sregs)
{
	struct kvm_queued_exception *ex = &vcpu->arch.exception;
	bool has_payload = ex->has_payload;

	ex->has_payload = false;
	__kvm_get_sregs(vcpu, sregs);
	ex->has_payload = has_payload;
}

static u8 vcpu_mode(struct kvm_vcpu *vcpu, const struct kvm_sregs *sregs)
{
	if (is_long_mode(vcpu) && sregs->cs.l)
		return KVMI_X86_MODE_64;

	return sregs->cs.db ? KVMI_X86_MODE_32 : KVMI_X86_MODE_16;
}

/* Read an MSR of the guest.  Return 0, or not 0 if there is no such MSR. */
int kvmi_get_msr(struct kvm_vcpu *vcpu, u32 msr, u64 *data)
{
	/*
	 * KVM expects only the guest to read PAT in KVM_RUN, as a nested guest
	 * may have another value.  There is no nested guest.
	 */
	if (msr == MSR_IA32_CR_PAT) {
		*data = vcpu->arch.pat;
		return 0;
	}

	return kvm_msr_read(vcpu, msr, data);
}

/*
 * Read one of the MSRs that are part of every event.  These are vendor code's, and
 * KVM checks nothing before it reads them.
 */
static u64 event_msr(struct kvm_vcpu *vcpu, u32 index)
{
	struct msr_data msr = { .index = index, .host_initiated = true };

	return kvm_x86_call(get_msr)(vcpu, &msr) ? 0 : msr.data;
}

/* Fill in the state that is part of every event.  @arch: zeroed */
void kvmi_arch_vcpu_fill_event(struct kvm_vcpu *vcpu,
			       struct kvmi_vcpu_event_arch *arch)
{
	__kvm_get_regs(vcpu, &arch->regs);
	get_sregs(vcpu, &arch->sregs);
	arch->mode = vcpu_mode(vcpu, &arch->sregs);
	arch->as_id = kvm_arch_vcpu_memslots_id(vcpu);
	arch->view = kvmi_arch_vcpu_view(&kvmi_to_vcpu(vcpu)->arch);

	arch->msrs.sysenter_cs = event_msr(vcpu, MSR_IA32_SYSENTER_CS);
	arch->msrs.sysenter_esp = event_msr(vcpu, MSR_IA32_SYSENTER_ESP);
	arch->msrs.sysenter_eip = event_msr(vcpu, MSR_IA32_SYSENTER_EIP);
	arch->msrs.efer = vcpu->arch.efer;
	arch->msrs.star = event_msr(vcpu, MSR_STAR);
	arch->msrs.lstar = event_msr(vcpu, MSR_LSTAR);
	arch->msrs.cstar = event_msr(vcpu, MSR_CSTAR);
	arch->msrs.pat = vcpu->arch.pat;
	arch->msrs.shadow_gs = event_msr(vcpu, MSR_KERNEL_GS_BASE);
}

int kvmi_vcpu_get_info(struct kvmi_vcpu_request *req)
{
	struct kvmi_vcpu_get_info_reply *reply = req->reply;

	reply->tsc_speed = 0;
	if (kvm_caps.has_tsc_control)
		reply->tsc_speed = 1000ull * req->vcpu->arch.virtual_tsc_khz;
	req->reply_size = sizeof(*reply);

	return 0;
}

int kvmi_vcpu_get_registers(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_get_registers *data = req->data;
	struct kvmi_vcpu_get_registers_reply *reply = req->reply;
	struct kvm_vcpu *vcpu = req->vcpu;
	size_t size;
	u16 i;

	if (data->padding1 || data->padding2)
		return -KVM_EINVAL;
	if (data->nmsrs && req->size < struct_size(data, msrs_idx, data->nmsrs))
		return -KVM_EINVAL;
	size = struct_size(reply, msrs.entries, data->nmsrs);
	if (size > KVMI_MAX_REPLY_DATA)
		return -KVM_EINVAL;

	memset(reply, 0, size);
	__kvm_get_regs(vcpu, &reply->regs);
	get_sregs(vcpu, &reply->sregs);
	reply->mode = vcpu_mode(vcpu, &reply->sregs);
	reply->msrs.nmsrs = data->nmsrs;
	for (i = 0; i < data->nmsrs; i++) {
		struct kvm_msr_entry *entry = &reply->msrs.entries[i];

		entry->index = data->msrs_idx[i];
		if (kvmi_get_msr(vcpu, entry->index, &entry->data))
			return -KVM_EINVAL;
	}
	req->reply_size = size;

	return 0;
}

/* The registers are loaded with the reply to the event; the last ones count. */
int kvmi_vcpu_set_registers(struct kvmi_vcpu_request *req)
{
	struct kvmi_event *event = &req->vi->event;
	const struct kvm_regs *regs = req->data;

	if (!req->in_event || READ_ONCE(event->state) == KVMI_EVENT_NONE)
		return -KVM_EOPNOTSUPP;
	if (req->size < sizeof(*regs) || !regs_are_valid(req->vcpu, regs))
		return -KVM_EINVAL;
	if (!(regs->rflags & X86_EFLAGS_IF) && kvmi_delivers_interrupt(req->vcpu))
		return -KVM_EBUSY;

	event->regs = *regs;
	event->set_regs = true;

	return 0;
}

/* Breakpoints of userspace are not the guest's, and not reported. */
int kvmi_vcpu_get_debugregs(struct kvmi_vcpu_request *req)
{
	struct kvmi_vcpu_debugregs *reply = req->reply;
	int i;

	for (i = 0; i < ARRAY_SIZE(reply->dr); i++)
		reply->dr[i] = kvm_get_dr(req->vcpu, i);
	reply->dr6 = kvm_get_dr(req->vcpu, 6);
	reply->dr7 = kvm_get_dr(req->vcpu, 7);
	req->reply_size = sizeof(*reply);

	return 0;
}

int kvmi_vcpu_set_debugregs(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_debugregs *data = req->data;
	int i;

	if (req->size < sizeof(*data))
		return -KVM_EINVAL;
	if (!kvm_dr6_valid(data->dr6) || !kvm_dr7_valid(data->dr7))
		return -KVM_EINVAL;

	for (i = 0; i < ARRAY_SIZE(data->dr); i++)
		kvm_set_dr(req->vcpu, i, data->dr[i]);
	kvm_set_dr(req->vcpu, 6, data->dr6);
	kvm_set_dr(req->vcpu, 7, data->dr7);

	return 0;
}

int kvmi_vcpu_get_cpuid(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_get_cpuid *data = req->data;
	struct kvmi_vcpu_get_cpuid_reply *reply = req->reply;

	reply->eax = data->function;
	reply->ecx = data->index;
	if (!kvm_cpuid(req->vcpu, &reply->eax, &reply->ebx, &reply->ecx,
		       &reply->edx, true))
		return -KVM_ENOENT;
	req->reply_size = sizeof(*reply);

	return 0;
}
