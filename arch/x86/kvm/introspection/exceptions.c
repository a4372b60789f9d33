// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: breakpoints, exceptions about to be injected, and
 * exceptions that a tool injects.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/command.h"
#include "introspection/event.h"
#include "introspection/session.h"
#include "introspection/vcpu.h"
#include "addresses.h"
#include "cpuid.h"
#include "hooks_emulator.h"
#include "hooks_exceptions.h"
#include "hooks_step.h"
#include "intercepts.h"
#include "kvm_emulate.h"
#include "pages.h"
#include "registers.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

/* Not caused by the guest, and not virtualized */
#define NOT_REPORTED (BIT(NMI_VECTOR) | BIT(MC_VECTOR) | BIT(VE_VECTOR))

/* Traps and aborts: no instruction to restart */
#define NOT_RETRIED (BIT(DB_VECTOR) | BIT(BP_VECTOR) | BIT(OF_VECTOR) | \
		     BIT(DF_VECTOR) | BIT(MC_VECTOR))

u32 __kvmi_wants_exceptions(struct kvm_vcpu *vcpu)
{
	u32 wanted = 0;

	/* The delivery of an exception may access restricted pages. */
	if (kvmi_step_is_privileged(vcpu))
		return ~(u32)NOT_REPORTED;
	/* The delivery would push RFLAGS.TF. */
	if (kvm_caps.single_steps_by_tf && __kvmi_single_steps(vcpu))
		return ~(u32)NOT_REPORTED;
	if (kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_TRAP))
		wanted = ~(u32)NOT_REPORTED & ~READ_ONCE(kvmi_to_vcpu(vcpu)->arch.unasked);
	if (kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_BREAKPOINT))
		wanted |= BIT(BP_VECTOR);

	return wanted;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_wants_exceptions);

static bool userspace_owns_breakpoints(struct kvm_vcpu *vcpu)
{
	unsigned long mask = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;

	return (vcpu->guest_debug & mask) == mask;
}

/*
 * Return 0 if an event can be enabled; -KVM_EOPNOTSUPP if the hardware can't
 * report it; -KVM_EBUSY if userspace uses it, which only the vCPU's thread knows.
 */
int kvmi_arch_vcpu_check_event(struct kvm_vcpu *vcpu, u16 id)
{
	if (id == KVMI_VCPU_EVENT_BREAKPOINT && userspace_owns_breakpoints(vcpu))
		return -KVM_EBUSY;

	return kvmi_arch_event_supported(id) ? 0 : -KVM_EOPNOTSUPP;
}

/* Return true if the hardware can report an event. */
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

/*
 * Report an INT3.  Tools place it in a page that a view maps instead of the
 * guest's own.  Without a reply, the guest executes its own instruction.
 * @insn_len: 0 if the INT3 has caused a VM exit
 */
static enum kvmi_verdict ask_breakpoint(struct kvm_vcpu *vcpu, u8 insn_len)
{
	struct kvmi_vcpu_event_breakpoint event = { .insn_len = insn_len };
	enum kvmi_verdict v;

	/* Unhooked since, and the page with the INT3 is not mapped any more. */
	if (!READ_ONCE(kvmi_to_vcpu(vcpu)->session))
		return KVMI_RETRY;
	if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_BREAKPOINT))
		return KVMI_ALLOW;

	if (!insn_len && !kvmi_get_insn_len(vcpu, &event.insn_len))
		return KVMI_RETRY;

	event.gpa = kvmi_translate_gva(vcpu, kvm_get_linear_rip(vcpu));
	v = kvmi_action_to_verdict(kvmi_event(vcpu, KVMI_VCPU_EVENT_BREAKPOINT,
					      &event, sizeof(event), NULL, 0));
	if (v == KVMI_ALLOW && !kvmi_event_answered(vcpu) &&
	    kvmi_execute_own(vcpu, event.gpa))
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

/*
 * Handle a VM exit for an exception that only introspection intercepts.  May
 * drop and retake the vCPU's SRCU lock.  Return what to return to the run loop.
 */
int kvmi_exception_exit(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			u32 error_code, unsigned long address)
{
	if (vector == BP_VECTOR) {
		switch (ask_breakpoint(vcpu, 0)) {
		case KVMI_ALLOW:
			break;
		case KVMI_SKIP:
			return kvm_skip_emulated_instruction(vcpu);
		case KVMI_RETRY:
			return 1;
		}
	}

	/* Reported with a TRAP event when it is about to be injected. */
	queue_exception(vcpu, vector, has_error_code, error_code, address);
	return 1;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_exception_exit);

/*
 * KVM's emulator, which can deliver exceptions in real mode, is about to do so for
 * INT3 or INTO.  Have the exception injected instead, for it to be reported.
 */
enum kvmi_verdict __kvmi_emulated_exception(struct kvm_vcpu *vcpu, u8 vector,
					    u8 insn_len)
{
	enum kvmi_verdict v;

	if (!(__kvmi_wants_exceptions(vcpu) & BIT(vector)))
		return KVMI_ALLOW;
	/* The guest can execute it. */
	if (!__kvmi_emulation_failed(vcpu))
		return KVMI_RETRY;

	if (vector == BP_VECTOR) {
		v = ask_breakpoint(vcpu, insn_len);
		if (v != KVMI_ALLOW)
			return v;
	}

	vcpu->arch.event_exit_inst_len = insn_len;
	queue_exception(vcpu, vector, false, 0, 0);

	return KVMI_RETRY;
}

/*
 * Return true if an exception of the guest's CPU has an error code.  Those
 * beyond the architectural list can be injected with one only if hardware does
 * not check.
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
 * Return true if KVM can deliver an exception at all.  With VMX without
 * unrestricted guest it can't while it emulates the guest in protected mode, and
 * has no way to go on with a vCPU that has one.
 */
static bool kvmi_can_deliver(struct kvm_vcpu *vcpu)
{
	struct kvm_queued_exception *ex = &vcpu->arch.exception;
	bool was_injected = ex->injected, can;

	ex->injected = true;
	can = !kvm_x86_call(unhandleable_emulation_required)(vcpu);
	ex->injected = was_injected;

	return can;
}

/*
 * Return true if an exception can be injected now.  It can't in place of an
 * interrupt or NMI whose delivery has begun: whoever has sent that waits for the
 * guest to handle it, and does not send it again.
 */
static bool kvmi_can_inject(struct kvm_vcpu *vcpu)
{
	return !vcpu->arch.nmi_injected && !kvmi_delivers_interrupt(vcpu) &&
	       kvmi_can_deliver(vcpu);
}

/*
 * Queue the exception that the tool has injected.  One that is queued already
 * takes precedence: drop the request, and let the TRAP event report that.  Drop
 * the request without an event if the VMM, or the end of the instruction that was
 * executed since, has made it impossible.
 *
 * Unhooking may clear the request at any time; an exception that was queued
 * stays.
 */
static void queue_injection(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_injection *injection = &vi->arch.injection;
	bool queued = vcpu->arch.exception.pending || vcpu->arch.exception.injected;
	bool can = kvmi_can_inject(vcpu);

	guard(spinlock)(&vi->lock);

	if (!injection->pending)
		return;

	WRITE_ONCE(injection->pending, false);
	WRITE_ONCE(injection->reported, queued || can);
	if (queued || !can)
		return;

	/* As for an INT3 or INTO without prefixes at RIP */
	if (kvm_exception_is_soft(injection->nr))
		vcpu->arch.event_exit_inst_len = 1;
	queue_exception(vcpu, injection->nr,
			has_error_code(vcpu, injection->nr),
			injection->error_code, injection->address);
}

/*
 * Return true if the exception was not delivered yet.  For a VMM without
 * KVM_CAP_EXCEPTION_PAYLOAD a pending one becomes injected by the VMM's use of
 * KVM_SET_VCPU_EVENTS.  If the tool has replied, it is still new.
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
	/* Of #NM it is what is in MSR_IA32_XFD_ERR. */
	if (ex->has_payload && (ex->vector == DB_VECTOR || ex->vector == PF_VECTOR))
		event->address = ex->payload;
	else if (ex->vector == PF_VECTOR)
		event->address = vcpu->arch.cr2;
}

/* The tool has the guest repeat the instruction that has raised the exception. */
void kvmi_arch_vcpu_drop_exception(struct kvm_vcpu *vcpu)
{
	vcpu->arch.exception.pending = false;
	vcpu->arch.exception.injected = false;
}

/*
 * Return true if two events are about the same exception.  What a #DB adds to DR6
 * is unknown once the VMM has made it an injected one, as that adds it.
 */
bool kvmi_arch_same_trap(const struct kvmi_vcpu_event_trap *before,
			 const struct kvmi_vcpu_event_trap *now)
{
	return before->nr == now->nr && before->flags == now->flags &&
	       before->error_code == now->error_code &&
	       (before->address == now->address || now->nr == DB_VECTOR);
}

static bool trap_wanted(struct kvm_vcpu *vcpu)
{
	return is_new(vcpu) && !(NOT_REPORTED & BIT(vcpu->arch.exception.vector)) &&
	       kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_TRAP);
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
	/* Userspace may have cleared it with KVM_SET_VCPU_EVENTS. */
	if (!ex->pending && !ex->injected)
		WRITE_ONCE(injection->reported, false);
	if (!READ_ONCE(injection->reported) && !trap_wanted(vcpu))
		return true;

	fill_trap(vcpu, &event);
	if (!(event.flags & KVMI_TRAP_RETRY))
		forbidden = BIT(KVMI_EVENT_ACTION_RETRY);

	action = __kvmi_event(vcpu, KVMI_VCPU_EVENT_TRAP, forbidden, &event,
			      sizeof(event), NULL, 0);
	if (action == KVMI_EVENT_INTERRUPTED)
		return false;

	WRITE_ONCE(injection->reported, false);

	return action == KVMI_EVENT_ACTION_ALLOW;
}

bool __kvmi_deliver_exception(struct kvm_vcpu *vcpu)
{
	if (!deliver_exception(vcpu))
		return false;

	kvmi_step_check_delivery(vcpu);
	return true;
}

/* Return true if an event is pending as the consequence of a command. */
bool kvmi_arch_event_pending(const struct kvmi_arch_vcpu *arch, u16 id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_TRAP:
		return READ_ONCE(arch->injection.reported);
	case KVMI_VCPU_EVENT_SINGLESTEP:
		return arch->step.pending;
	default:
		return false;
	}
}

/* Return true if an exception of the tool is about to be injected. */
bool kvmi_arch_vcpu_trap_due(struct kvm_vcpu *vcpu)
{
	struct kvmi_injection *injection = &kvmi_to_vcpu(vcpu)->arch.injection;

	return (READ_ONCE(injection->pending) || READ_ONCE(injection->reported)) &&
	       vcpu->arch.mp_state == KVM_MP_STATE_RUNNABLE &&
	       !vcpu->arch.apf.halted;
}

/* Return true for a command that precedes the reply to a TRAP event. */
static bool trap_is_open(const struct kvmi_vcpu_request *req)
{
	return READ_ONCE(req->vi->event.state) != KVMI_EVENT_NONE &&
	       req->vi->event.id == KVMI_VCPU_EVENT_TRAP;
}

/*
 * Return true if hardware can inject a vector as an exception.  VMX accepts
 * any; with SVM, VM-Enter fails for those that the CPU does not have.
 */
static bool is_exception(u8 nr)
{
	static const u32 amd = GENMASK(DF_VECTOR, DE_VECTOR) |
			       GENMASK(PF_VECTOR, TS_VECTOR) |
			       GENMASK(XM_VECTOR, MF_VECTOR) |
			       BIT(HV_VECTOR) | BIT(SX_VECTOR);

	if (nr >= 32 || nr == NMI_VECTOR)
		return false;
	if (boot_cpu_has(X86_FEATURE_VMX))
		return true;

	switch (nr) {
	case CP_VECTOR:
		return kvm_cpu_cap_has(X86_FEATURE_SHSTK);
	case VC_VECTOR:
		return kvm_cpu_cap_has(X86_FEATURE_SEV_ES);
	default:
		return amd & BIT(nr);
	}
}

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
	if (injection->pending || kvmi_step_is_wanted(&req->vi->arch.step) ||
	    (injection->reported && !trap_is_open(req)))
		return -KVM_EBUSY;
	if (!kvmi_can_inject(req->vcpu))
		return -KVM_EBUSY;

	injection->pending = true;
	injection->nr = data->nr;
	injection->error_code = data->error_code;
	injection->address = data->address;
	kvm_make_request(KVM_REQ_EVENT, req->vcpu);

	return 0;
}
