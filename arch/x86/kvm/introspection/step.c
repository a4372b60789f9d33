// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: single instructions.
 *
 * An access that the tool allows is made by the guest itself: its instruction is
 * executed with that access granted, to that vCPU alone, and then the vCPU has what
 * its view leaves again.  A further access that is not left is asked about, and
 * granted, as the first one.  A tool may also have all instructions executed one by
 * one.
 *
 * Interrupts wait meanwhile.  An instruction that makes KVM do something may be
 * over without the hardware having told of its end, which is why the vCPU's RIP
 * is looked at before it enters the guest.
 */

#include <linux/kvm_host.h>

#include "introspection/command.h"
#include "introspection/event.h"
#include "changes.h"
#include "grants.h"
#include "mmu.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

/**
 * kvmi_set_todo - have __kvmi_check_step() called before the vCPU enters the guest
 * @vcpu: the vCPU
 *
 * Context: the vCPU's thread.
 */
void kvmi_set_todo(struct kvm_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->arch.introspection_todo, true);
}

bool __kvmi_single_steps(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && (READ_ONCE(vi->arch.step.allowed) ||
		      READ_ONCE(vi->arch.step.wanted));
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_single_steps);

unsigned int __kvmi_vcpu_view(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi ? READ_ONCE(vi->arch.view) : 0;
}

/**
 * kvmi_step_is_allowed - has the vCPU more access than its view leaves?
 * @vcpu: the vCPU
 */
bool kvmi_step_is_allowed(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && READ_ONCE(vi->arch.step.allowed);
}

/**
 * kvmi_update_view - have the MMU go to the view that a vCPU is to be in
 * @vcpu: the vCPU
 *
 * It goes there when the vCPU enters the guest, not in the middle of whatever KVM
 * is doing for it.
 *
 * Context: the vCPU's lock is held, or a command or an event is being handled.
 */
void kvmi_update_view(struct kvm_vcpu *vcpu)
{
	/* More access than the view leaves is for this vCPU only. */
	kvm_mmu_set_view(vcpu, __kvmi_vcpu_view(vcpu), __kvmi_ad_disabled(vcpu),
			 kvmi_step_is_allowed(vcpu));
}

/* Have hardware do what vi->arch.step says. */
static void update(struct kvm_vcpu *vcpu)
{
	kvm_x86_call(update_single_step)(vcpu);
	kvm_x86_call(update_exception_bitmap)(vcpu);
	kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/*
 * The event whose delivery is to go on, 0 if there is none.  An access that it makes
 * is asked about as one of an instruction, and with another event it is another one.
 */
static u64 event_to_deliver(struct kvm_vcpu *vcpu)
{
	const struct kvm_vcpu_arch *arch = &vcpu->arch;

	if (arch->exception.injected)
		return BIT_ULL(32) | arch->exception.vector |
		       (u64)arch->exception.has_error_code << 8;
	if (arch->nmi_injected)
		return BIT_ULL(33);
	if (arch->interrupt.injected)
		return BIT_ULL(34) | arch->interrupt.nr |
		       (u64)arch->interrupt.soft << 8;

	return 0;
}

/**
 * kvmi_step_allow - execute an instruction with one more access granted
 * @vcpu: the vCPU, about to execute the instruction again
 * @gfn: guest frame number
 * @access: KVMI_PAGE_ACCESS_*
 * @asked: the tool has allowed it, which knows of the instruction now
 *
 * Return: false if who has allowed it has been unhooked meanwhile.
 */
bool kvmi_step_allow(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access, bool asked)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;
	bool begins = !step->allowed, granted;

	granted = kvmi_grant(vcpu, gfn, access);

	spin_lock(&vi->lock);
	if (granted && vi->session) {
		kvmi_set_todo(vcpu);
		WRITE_ONCE(step->allowed, true);
		step->asked = (!begins && step->asked) || asked;
		step->rip = kvm_get_linear_rip(vcpu);
		step->delivers = event_to_deliver(vcpu);
		/* With the registers that the tool has set */
		kvmi_arch_vcpu_get_context(vcpu, &step->at);
	}
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	if (begins) {
		update(vcpu);
		/* What was granted to another instruction may still be cached. */
		kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);
	}

	return granted;
}

/* The instruction is over.  @failed: by other means than stepping */
static void end_step(struct kvm_vcpu *vcpu, bool failed)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;

	spin_lock(&vi->lock);
	WRITE_ONCE(step->allowed, false);
	/* Nobody is there to say when it is enough. */
	if (!vi->session || kvmi_nobody_asked(vi->session))
		WRITE_ONCE(step->wanted, false);
	step->owed = step->wanted;
	step->failed = failed;
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	update(vcpu);
	kvmi_end_grants(vcpu);
}

/**
 * kvmi_step_cancel - take back what is granted to an instruction that begins anew,
 *	or is not executed
 * @vcpu: the vCPU
 */
void kvmi_step_cancel(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	if (!vi->arch.step.allowed)
		return;

	spin_lock(&vi->lock);
	WRITE_ONCE(vi->arch.step.allowed, false);
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	update(vcpu);
	kvmi_end_grants(vcpu);
}

/**
 * kvmi_single_step_exit - handle the VM exit after an instruction
 * @vcpu: the vCPU
 *
 * Return: what to return to the run loop.
 */
int kvmi_single_step_exit(struct kvm_vcpu *vcpu)
{
	int r;

	/* Nothing is to be stepped if it was unhooked just now. */
	if (kvmi_to_vcpu(vcpu))
		end_step(vcpu, false);

	/* There may be more that the VM exit is for, in the vCPU's view. */
	r = kvm_mmu_reload(vcpu);
	return r ? r : 1;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvmi_single_step_exit);

static void tell(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;
	struct kvmi_vcpu_event_singlestep event = { .failed = step->failed };
	int action;

	action = kvmi_event(vcpu, KVMI_VCPU_EVENT_SINGLESTEP, &event,
			    sizeof(event), NULL, 0);
	/* It may have been sent, and be waited for elsewhere. */
	if (action != KVMI_EVENT_INTERRUPTED ||
	    READ_ONCE(vi->event.state) != KVMI_EVENT_NONE)
		step->owed = false;
}

/**
 * kvmi_arch_vcpu_send_step - send a SINGLESTEP event again that was lost with the tool
 * @vcpu: the vCPU
 *
 * Context: the vCPU's thread, in the run loop.
 * Return: 0, or -EINTR to be called again.
 */
int kvmi_arch_vcpu_send_step(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	kvmi_set_todo(vcpu);
	step->owed = true;
	tell(vcpu);
	step->rip = kvm_get_linear_rip(vcpu);

	return step->owed ? -EINTR : 0;
}

/*
 * An exception that the instruction has caused is not part of it: what its
 * delivery touches is restricted.
 */
static bool delivers_other(struct kvm_vcpu *vcpu, const struct kvmi_step *step)
{
	return vcpu->arch.exception.pending ||
	       step->delivers != event_to_deliver(vcpu);
}

/*
 * What is granted is so for one instruction in one context.  It has changed if KVM
 * has executed the instruction, or a part of it, or if it is none any more.
 */
static bool step_is_over(struct kvm_vcpu *vcpu, const struct kvmi_step *step)
{
	struct kvmi_context now;

	if (!step->allowed)
		return step->rip != kvm_get_linear_rip(vcpu);

	kvmi_arch_vcpu_get_context(vcpu, &now);

	return memcmp(&now, &step->at, sizeof(now)) || delivers_other(vcpu, step);
}

/**
 * kvmi_step_delivers - the instruction that is executed is the INT that is queued
 * @vcpu: the vCPU
 */
void kvmi_step_delivers(struct kvm_vcpu *vcpu)
{
	kvmi_to_vcpu(vcpu)->arch.step.delivers = event_to_deliver(vcpu);
}

/**
 * kvmi_step_repeats - has KVM emulated an iteration of the string instruction to
 *	which accesses are granted?
 * @vcpu: the vCPU
 *
 * Grants are for one iteration.
 */
bool kvmi_step_repeats(struct kvm_vcpu *vcpu)
{
	const struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	return step->allowed && step->at.regs.rcx != kvm_rcx_read(vcpu);
}

/**
 * kvmi_step_check_delivery - see whether a vCPU is about to deliver another event
 *	than the one that may make the accesses granted
 * @vcpu: the vCPU
 */
void kvmi_step_check_delivery(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if (step->allowed && delivers_other(vcpu, step))
		end_step(vcpu, true);
}

/**
 * kvmi_step_check - see whether the instruction a vCPU was to execute is over now
 *	that KVM has emulated one
 * @vcpu: the vCPU
 *
 * KVM may go on with the next one.
 */
void kvmi_step_check(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if ((step->allowed || step->wanted) && !step->owed &&
	    step_is_over(vcpu, step))
		end_step(vcpu, true);
}

/**
 * kvmi_arch_vcpu_recheck_step - take back what is granted if the tool has set other
 *	registers, or another view, since kvmi_check_step()
 * @vcpu: the vCPU
 *
 * Context: the vCPU's thread, about to enter the guest.
 */
void kvmi_arch_vcpu_recheck_step(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if (step->allowed && step_is_over(vcpu, step))
		kvmi_step_cancel(vcpu);
}

bool __kvmi_check_step(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step;

	if (!vi)
		return true;

	/* Its rest is done if KVM_RUN returned in the middle. */
	vi->arch.emulation.mode = KVMI_EMULATE_FREELY;

	if (!kvmi_report_changes(vcpu))
		return false;

	step = &vi->arch.step;
	/* Unhooking ends a step, and only the vCPU's thread what was granted. */
	if (!step->allowed)
		kvmi_end_grants(vcpu);
	kvmi_step_check(vcpu);
	if (step->owed) {
		tell(vcpu);
		step->rip = kvm_get_linear_rip(vcpu);
	}

	/* Unhooking may have ended the step since, but not what was granted. */
	if (!step->allowed && !step->wanted && !step->owed && !vi->arch.grants.nr)
		WRITE_ONCE(vcpu->arch.introspection_todo, false);

	return true;
}

/**
 * kvmi_arch_vcpu_view - the view the tool wants a vCPU to be in
 * @arch: the tool's wishes
 */
unsigned int kvmi_arch_vcpu_view(const struct kvmi_arch_vcpu *arch)
{
	return READ_ONCE(arch->view);
}

/**
 * kvmi_arch_vcpu_set_view - have a vCPU go to another view
 * @vcpu: the vCPU
 * @view: the view
 *
 * Context: the vCPU's thread.
 */
void kvmi_arch_vcpu_set_view(struct kvm_vcpu *vcpu, unsigned int view)
{
	WRITE_ONCE(kvmi_to_vcpu(vcpu)->arch.view, view);
	kvmi_update_view(vcpu);
}

/**
 * kvmi_vcpu_control_singlestep - KVMI_VCPU_CONTROL_SINGLESTEP
 * @req: the request
 */
int kvmi_vcpu_control_singlestep(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_singlestep *data = req->data;
	struct kvmi_step *step = &req->vi->arch.step;

	if (!kvmi_event_allowed(req->session, KVMI_VCPU_EVENT_SINGLESTEP))
		return -KVM_EPERM;
	if (memchr_inv(data->padding, 0, sizeof(data->padding)) || data->enable > 1)
		return -KVM_EINVAL;
	if (!kvm_caps.has_single_step)
		return -KVM_EOPNOTSUPP;

	kvmi_set_todo(req->vcpu);
	WRITE_ONCE(step->wanted, data->enable);
	if (!step->allowed)
		step->rip = kvm_get_linear_rip(req->vcpu);
	kvm_x86_call(update_single_step)(req->vcpu);
	kvm_make_request(KVM_REQ_EVENT, req->vcpu);

	return 0;
}
