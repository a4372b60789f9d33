// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: breakpoints, exceptions on their way to the guest, and
 * exceptions a tool asks for.
 */

#include <linux/kvm_host.h>

#include "introspection/command.h"
#include "introspection/event.h"
#include "addresses.h"
#include "cpuid.h"
#include "intercepts.h"
#include "kvm_emulate.h"
#include "pages.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

/*
 * Interrupts and machine checks are not the guest's own doing, and #VE is not
 * virtualized.
 */
#define NOT_REPORTED (BIT(NMI_VECTOR) | BIT(MC_VECTOR) | BIT(VE_VECTOR))

/* Traps and aborts: there is no instruction that could run again. */
#define NOT_RETRIED (BIT(DB_VECTOR) | BIT(BP_VECTOR) | BIT(OF_VECTOR) | \
		     BIT(DF_VECTOR) | BIT(MC_VECTOR))

u32 __kvmi_wants_exceptions(struct kvm_vcpu *vcpu)
{
	/* What the delivery of an exception touches may be restricted. */
	if (kvmi_step_is_allowed(vcpu))
		return ~(u32)NOT_REPORTED;
	/* It would push RFLAGS.TF. */
	if (kvm_caps.single_steps_by_tf && __kvmi_single_steps(vcpu))
		return ~(u32)NOT_REPORTED;
	if (kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_TRAP))
		return ~(u32)NOT_REPORTED;
	if (kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_BREAKPOINT))
		return BIT(BP_VECTOR);

	return 0;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_wants_exceptions);

/**
 * kvmi_owns_breakpoints - does the tool want the guest's breakpoints?
 * @vcpu: the vCPU
 *
 * If so KVM_SET_GUEST_DEBUG cannot have them.
 */
bool kvmi_owns_breakpoints(struct kvm_vcpu *vcpu)
{
	return kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_BREAKPOINT);
}

static bool userspace_owns_breakpoints(struct kvm_vcpu *vcpu)
{
	unsigned long mask = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;

	return (vcpu->guest_debug & mask) == mask;
}

/**
 * kvmi_arch_vcpu_check_event - can an event be turned on?
 * @vcpu: the vCPU
 * @id: enum kvmi_vcpu_event_id
 *
 * Context: the vCPU's thread.
 * Return: 0; -KVM_EOPNOTSUPP the hardware cannot report it; -KVM_EBUSY somebody
 * else has it.
 */
int kvmi_arch_vcpu_check_event(struct kvm_vcpu *vcpu, u16 id)
{
	if (id == KVMI_VCPU_EVENT_BREAKPOINT && userspace_owns_breakpoints(vcpu))
		return -KVM_EBUSY;

	return kvmi_arch_event_supported(id) ? 0 : -KVM_EOPNOTSUPP;
}

/**
 * kvmi_arch_event_supported - can the hardware report an event?
 * @id: event id
 */
bool kvmi_arch_event_supported(u16 id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		return kvm_caps.has_descriptor_intercepts;
	case KVMI_VCPU_EVENT_PF:
	case KVMI_VCPU_EVENT_ACCESS:
		return kvmi_arch_page_access();
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return kvm_caps.has_single_step;
	default:
		return true;
	}
}

/**
 * kvmi_exit_insn_len - length of the instruction that caused the VM exit
 * @vcpu: the vCPU
 *
 * Return: bytes; 0 if it cannot be told.
 */
u8 kvmi_exit_insn_len(struct kvm_vcpu *vcpu)
{
	struct x86_emulate_ctxt *ctxt = vcpu->arch.emulate_ctxt;
	u8 len = kvm_x86_call(get_exit_insn_len)(vcpu);

	if (!len && x86_decode_emulated_instruction(vcpu, EMULTYPE_SKIP, NULL,
						    0) == EMULATION_OK)
		len = ctxt->_eip - ctxt->eip;

	return len;
}

/*
 * Ask about an INT3.  A tool has it in what a view shows, in place of an instruction of
 * the guest's own.  With nobody there to answer, the guest is to execute that one.
 *
 * @r: with KVMI_RETRY, what to return to the run loop
 */
static enum kvmi_verdict ask_breakpoint(struct kvm_vcpu *vcpu, int *r)
{
	struct kvmi_vcpu_event_breakpoint event = { };
	enum kvmi_verdict v;

	*r = 1;
	/* Unhooked since, and what the view has shown is not there any more. */
	if (!READ_ONCE(kvmi_to_vcpu(vcpu)->session))
		return KVMI_RETRY;
	if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_BREAKPOINT))
		return KVMI_ALLOW;

	event.gpa = kvmi_translate_gva(vcpu, kvm_get_linear_rip(vcpu));
	event.insn_len = kvmi_exit_insn_len(vcpu);

	v = kvmi_verdict_of(kvmi_event(vcpu, KVMI_VCPU_EVENT_BREAKPOINT, &event,
				       sizeof(event), NULL, 0));
	if (v == KVMI_ALLOW && !kvmi_event_answered(vcpu) &&
	    kvmi_execute_own(vcpu, event.gpa, r))
		return KVMI_RETRY;

	return v;
}

static void queue_exception(struct kvm_vcpu *vcpu, u8 vector,
			    bool has_error_code, u32 error_code,
			    unsigned long address)
{
	struct x86_exception fault = {
		.vector = vector,
		.error_code_valid = true,
		.error_code = error_code,
		.address = address,
	};

	if (vector == PF_VECTOR)
		kvm_inject_page_fault(vcpu, &fault, false);
	else if (has_error_code)
		kvm_queue_exception_e(vcpu, vector, error_code);
	else
		kvm_queue_exception(vcpu, vector);
}

/**
 * kvmi_exception_exit - handle a VM exit for an exception of the guest's that
 *	only introspection intercepts
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @vector: the exception
 * @has_error_code: hardware would have pushed an error code
 * @error_code: that error code
 * @address: the faulting address, if it is a #PF
 *
 * Return: what to return to the run loop.
 */
int kvmi_exception_exit(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			u32 error_code, unsigned long address)
{
	int r;

	if (vector == BP_VECTOR) {
		switch (ask_breakpoint(vcpu, &r)) {
		case KVMI_ALLOW:
			break;
		case KVMI_SKIP:
			return kvm_skip_emulated_instruction(vcpu);
		case KVMI_RETRY:
			return r;
		}
	}

	/* Asked about with a TRAP event when it is about to be injected. */
	queue_exception(vcpu, vector, has_error_code, error_code, address);
	return 1;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_exception_exit);

/*
 * Has an exception of the guest's processor an error code?  Those that are newer
 * than the architectural list can be injected with one only if hardware does not
 * compare the two.
 */
static bool has_error_code(struct kvm_vcpu *vcpu, u8 vector)
{
	switch (vector) {
	case CP_VECTOR:
		return kvm_caps.has_any_error_code;
	case VC_VECTOR:
	case SX_VECTOR:
		return kvm_caps.has_any_error_code &&
		       guest_cpuid_is_amd_compatible(vcpu);
	default:
		return x86_exception_has_error_code(vector);
	}
}

/*
 * Queue the exception the tool has asked for.  One that is on its way already
 * takes precedence; the request is dropped, and the TRAP event tells.
 *
 * Unhooking takes the request back at any time; what it finds queued is the
 * guest's.
 */
static void queue_injection(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_injection *injection = &vi->arch.injection;

	guard(spinlock)(&vi->lock);

	if (!injection->pending)
		return;

	WRITE_ONCE(injection->pending, false);
	WRITE_ONCE(injection->reported, true);

	if (vcpu->arch.exception.pending || vcpu->arch.exception.injected)
		return;

	/* As if the instruction at RIP was an INT3 or INTO without prefixes. */
	if (kvm_exception_is_soft(injection->nr))
		vcpu->arch.event_exit_inst_len = 1;
	queue_exception(vcpu, injection->nr,
			has_error_code(vcpu, injection->nr),
			injection->error_code, injection->address);
}

/*
 * Is the exception still to be delivered for the first time?  For a VMM without
 * KVM_CAP_EXCEPTION_PAYLOAD one that is pending is injected as soon as it uses
 * KVM_SET_VCPU_EVENTS.  If the tool has been asked about it that is not over.
 */
static bool is_new(struct kvm_vcpu *vcpu)
{
	const struct kvm_queued_exception *ex = &vcpu->arch.exception;

	return ex->pending ||
	       (ex->injected &&
		kvmi_event_answer_kept(vcpu, KVMI_VCPU_EVENT_TRAP));
}

static bool retry_allowed(struct kvm_vcpu *vcpu)
{
	return is_new(vcpu) && !(NOT_RETRIED & BIT(vcpu->arch.exception.vector));
}

static void fill_trap(struct kvm_vcpu *vcpu, struct kvmi_vcpu_event_trap *event)
{
	const struct kvm_queued_exception *ex = &vcpu->arch.exception;

	event->nr = ex->vector;
	event->flags = retry_allowed(vcpu) ? KVMI_TRAP_RETRY : 0;
	if (ex->has_error_code && is_protmode(vcpu))
		event->error_code = ex->error_code;
	if (ex->has_payload)
		event->address = ex->payload;
	else if (ex->vector == PF_VECTOR)
		event->address = vcpu->arch.cr2;
}

static bool deliver_exception(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvm_queued_exception *ex = &vcpu->arch.exception;
	struct kvmi_vcpu_event_trap event = { };
	struct kvmi_injection *injection;
	u8 forbidden = 0;
	int action;

	injection = &vi->arch.injection;
	if (READ_ONCE(injection->pending))
		queue_injection(vcpu);
	/* Userspace may have taken it back with KVM_SET_VCPU_EVENTS. */
	if (!ex->pending && !ex->injected)
		WRITE_ONCE(injection->reported, false);
	if (!READ_ONCE(injection->reported) &&
	    !(is_new(vcpu) && kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_TRAP)))
		return true;

	fill_trap(vcpu, &event);
	if (!(event.flags & KVMI_TRAP_RETRY))
		forbidden = BIT(KVMI_EVENT_ACTION_RETRY);

	action = __kvmi_event(vcpu, KVMI_VCPU_EVENT_TRAP, forbidden, &event,
			      sizeof(event), NULL, 0);
	if (action == KVMI_EVENT_INTERRUPTED)
		return false;

	WRITE_ONCE(injection->reported, false);
	if (action == KVMI_EVENT_ACTION_RETRY) {
		ex->pending = false;
		ex->injected = false;
	}

	return action == KVMI_EVENT_ACTION_ALLOW;
}

bool __kvmi_deliver_exception(struct kvm_vcpu *vcpu)
{
	if (!kvmi_to_vcpu(vcpu))
		return true;
	if (!deliver_exception(vcpu))
		return false;

	kvmi_step_check_delivery(vcpu);
	return true;
}

/**
 * kvmi_arch_event_owed - is an event the consequence of a command?
 * @arch: what the tool wants of the vCPU
 * @id: enum kvmi_vcpu_event_id
 */
bool kvmi_arch_event_owed(const struct kvmi_arch_vcpu *arch, u16 id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_TRAP:
		return arch->injection.reported;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return arch->step.owed;
	default:
		return false;
	}
}

/**
 * kvmi_arch_vcpu_trap_due - is there an exception the tool asked for, and the
 *	vCPU about to enter the guest with it?
 * @vcpu: the vCPU
 */
bool kvmi_arch_vcpu_trap_due(struct kvm_vcpu *vcpu)
{
	struct kvmi_injection *injection = &kvmi_to_vcpu(vcpu)->arch.injection;

	return (READ_ONCE(injection->pending) || READ_ONCE(injection->reported)) &&
	       vcpu->arch.mp_state == KVM_MP_STATE_RUNNABLE &&
	       !vcpu->arch.apf.halted;
}

/* Is the tool asking while it has a TRAP event to answer? */
static bool trap_is_open(const struct kvmi_vcpu_request *req)
{
	return READ_ONCE(req->vi->event.state) != KVMI_EVENT_NONE &&
	       req->vi->event.id == KVMI_VCPU_EVENT_TRAP;
}

/*
 * Can hardware be told to deliver it?  VMX delivers any vector as an exception.  SVM
 * refuses to enter the guest with those that AMD's processors do not have.
 */
static bool is_exception(u8 nr)
{
	static const u32 amd = GENMASK(DF_VECTOR, DE_VECTOR) |
			       GENMASK(PF_VECTOR, TS_VECTOR) |
			       GENMASK(XM_VECTOR, MF_VECTOR) | BIT(CP_VECTOR) |
			       GENMASK(SX_VECTOR, HV_VECTOR);

	return nr < 32 && nr != NMI_VECTOR &&
	       (boot_cpu_has(X86_FEATURE_VMX) || amd & BIT(nr));
}

/**
 * kvmi_vcpu_inject_exception - KVMI_VCPU_INJECT_EXCEPTION
 * @req: the request
 */
int kvmi_vcpu_inject_exception(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_inject_exception *data = req->data;
	struct kvmi_injection *injection = &req->vi->arch.injection;

	if (!kvmi_event_allowed(req->session, KVMI_VCPU_EVENT_TRAP))
		return -KVM_EPERM;
	if (data->padding1 || data->padding2)
		return -KVM_EINVAL;
	if (!is_exception(data->nr))
		return -KVM_EINVAL;
	if (injection->pending || req->vi->arch.step.wanted ||
	    (injection->reported && !trap_is_open(req)))
		return -KVM_EBUSY;

	injection->pending = true;
	injection->nr = data->nr;
	injection->error_code = data->error_code;
	injection->address = data->address;
	kvm_make_request(KVM_REQ_EVENT, req->vcpu);

	return 0;
}
