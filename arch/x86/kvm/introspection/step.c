// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: single instructions.
 *
 * An access that the tool allows is made by the guest itself: its instruction is
 * executed in a view of guest memory that restricts nothing, on that vCPU alone,
 * and then the vCPU is in its own view again.  A tool may also have all
 * instructions executed one by one.
 *
 * Interrupts wait meanwhile.  An instruction that makes KVM do something may be
 * over without the hardware having told of its end, which is why the vCPU's RIP
 * is looked at before it enters the guest.
 */

#include <linux/kvm_host.h>

#include "introspection/command.h"
#include "introspection/event.h"
#include "changes.h"
#include "mmu.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

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

	if (!vi)
		return 0;

	return READ_ONCE(vi->arch.step.allowed) ? KVMI_STEP_VIEW :
						  READ_ONCE(vi->arch.view);
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
	kvm_mmu_set_view(vcpu, __kvmi_vcpu_view(vcpu), __kvmi_ad_disabled(vcpu));
}

/* Have hardware do what vi->arch.step says. */
static void update(struct kvm_vcpu *vcpu)
{
	kvm_x86_call(update_single_step)(vcpu);
	kvm_x86_call(update_exception_bitmap)(vcpu);
	kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/**
 * kvmi_step_allow - execute an instruction with no page restricted
 * @vcpu: the vCPU, about to execute the instruction again
 */
void kvmi_step_allow(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;

	spin_lock(&vi->lock);
	/* Who has allowed it must not have been unhooked meanwhile. */
	if (vi->session && vi->arch.asked == vi->nr_sessions) {
		WRITE_ONCE(step->allowed, true);
		step->rip = kvm_get_linear_rip(vcpu);
	}
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	update(vcpu);
}

/* The instruction is over.  @failed: by other means than stepping */
static void end_step(struct kvm_vcpu *vcpu, bool failed)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;

	spin_lock(&vi->lock);
	WRITE_ONCE(step->allowed, false);
	/* Nobody is there to say when it is enough. */
	if (!vi->session || READ_ONCE(vi->session->defunct))
		WRITE_ONCE(step->wanted, false);
	step->owed = step->wanted;
	step->failed = failed;
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	update(vcpu);
}

/**
 * kvmi_single_step_exit - handle the VM exit after an instruction
 * @vcpu: the vCPU
 *
 * Return: what to return to the run loop.
 */
int kvmi_single_step_exit(struct kvm_vcpu *vcpu)
{
	/* Nothing is to be stepped if it was unhooked just now. */
	if (kvmi_to_vcpu(vcpu))
		end_step(vcpu, false);

	return 1;
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

/*
 * An exception that the instruction has caused is not part of it: what its
 * delivery touches is restricted.
 */
static bool step_is_over(struct kvm_vcpu *vcpu, const struct kvmi_step *step)
{
	return step->rip != kvm_get_linear_rip(vcpu) ||
	       (step->allowed && vcpu->arch.exception.pending);
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
	if ((step->allowed || step->wanted) && !step->owed &&
	    step_is_over(vcpu, step))
		end_step(vcpu, true);
	if (step->owed) {
		tell(vcpu);
		step->rip = kvm_get_linear_rip(vcpu);
	}

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
 * Context: the vCPU's thread, with views_lock held.
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

	WRITE_ONCE(step->wanted, data->enable);
	if (!step->allowed)
		step->rip = kvm_get_linear_rip(req->vcpu);
	kvm_x86_call(update_single_step)(req->vcpu);
	kvm_make_request(KVM_REQ_EVENT, req->vcpu);

	return 0;
}
