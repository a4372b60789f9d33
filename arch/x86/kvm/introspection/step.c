// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: single-stepping.
 *
 * An access that the tool allows is performed by the guest itself: its
 * instruction is executed with that access granted, to that vCPU alone, and
 * then the vCPU's view applies again.  Further accesses that are denied are
 * reported, and granted, like the first one.  A tool may also single-step all
 * instructions.
 *
 * Interrupts are held meanwhile.  An instruction that exits for another reason
 * completes without an MTF or #DB exit; have KVM's emulator say so, and compare
 * RIP before VM-Enter, to detect that.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/command.h"
#include "introspection/event.h"
#include "introspection/session.h"
#include "introspection/vcpu.h"
#include "introspection/view.h"
#include "changes.h"
#include "emulation.h"
#include "grants.h"
#include "hooks_entry.h"
#include "hooks_step.h"
#include "mmu.h"
#include "page_walk.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

/*
 * Make __kvmi_check_step() be called before VM-Enter, and __kvmi_prepare_step();
 * vCPU's thread only.
 */
void kvmi_set_todo(struct kvm_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->arch.introspection_todo, true);
	if (kvm_caps.single_steps_by_tf)
		kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/* The next instruction is the one that the step is for. */
static void set_insn(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	step->rip = kvm_get_linear_rip(vcpu);
	step->retired = false;
}

/*
 * KVM's emulator has executed the instruction, or an iteration of it.  That can be
 * what comes next, too.
 */
void kvmi_step_retired(struct kvm_vcpu *vcpu)
{
	kvmi_to_vcpu(vcpu)->arch.step.retired = true;
}

/* Return true if the tool wants the next instruction to be stepped. */
bool kvmi_step_is_wanted(const struct kvmi_step *step)
{
	return READ_ONCE(step->wanted) || READ_ONCE(step->once) ||
	       READ_ONCE(step->in_view);
}

bool __kvmi_single_steps(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && (READ_ONCE(vi->arch.step.allowed) ||
		      kvmi_step_is_wanted(&vi->arch.step));
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_single_steps);

unsigned int kvmi_vcpu_view(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi ? READ_ONCE(vi->arch.view) : 0;
}

/*
 * Return true if the next instruction, or event to be delivered, may do what others
 * of the vCPU may not.
 */
static bool is_privileged(const struct kvmi_step *step)
{
	return READ_ONCE(step->allowed) || READ_ONCE(step->in_view);
}

bool kvmi_step_is_privileged(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && is_privileged(&vi->arch.step);
}

/* Return true if accesses are granted to the vCPU. */
bool kvmi_step_is_allowed(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && READ_ONCE(vi->arch.step.allowed);
}

/*
 * Make the MMU switch to the vCPU's view, at VM-Enter and not in the middle of
 * an exit.  The vCPU's lock is held, or a command or an event is being handled.
 */
void kvmi_update_view(struct kvm_vcpu *vcpu)
{
	/* Granted accesses need page tables of this vCPU only. */
	kvm_mmu_set_view(vcpu, kvmi_vcpu_view(vcpu), kvmi_ad_disabled(vcpu),
			 kvmi_step_is_allowed(vcpu));
}

/* Update hardware state according to vi->arch.step. */
static void kvmi_update_step(struct kvm_vcpu *vcpu)
{
	kvm_x86_call(update_single_step)(vcpu);
	kvm_x86_call(update_exception_bitmap)(vcpu);
	kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/*
 * The event whose delivery continues at VM-Enter, 0 if there is none.  An
 * access during the delivery is reported like one of an instruction, and
 * another event is like another instruction.
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

/*
 * Execute the next instruction with one more access granted.  @asked: the tool
 * has allowed it, i.e. knows the instruction.  Return false if the session that
 * has allowed the access was unhooked meanwhile.
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
		set_insn(vcpu);
		step->delivers = event_to_deliver(vcpu);
		/* Includes registers that the tool has set */
		kvmi_arch_vcpu_get_context(vcpu, &step->at);
	}
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	if (begins) {
		kvmi_update_step(vcpu);
		/*
		 * Accesses that were granted to another instruction may still
		 * be in the TLB.
		 */
		kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);
	}

	return granted;
}

/*
 * Make a vCPU that has executed an instruction in another view come back.  Does
 * nothing if unhooking, which ends all views, was faster.
 */
static void come_back(struct kvm_vcpu_introspection *vi)
{
	struct kvmi_arch_vcpu *arch = &vi->arch;

	lockdep_assert_held(&vi->lock);

	if (!arch->step.in_view)
		return;

	if (vi->session)
		kvmi_view_put(vi->session, arch->view);
	WRITE_ONCE(arch->view, arch->step.home);
	WRITE_ONCE(arch->step.in_view, false);
}

/* The instruction has completed.  @failed: not by a single-step exit */
static void end_step(struct kvm_vcpu *vcpu, bool failed)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;
	bool once;

	spin_lock(&vi->lock);
	WRITE_ONCE(step->allowed, false);
	once = step->once;
	WRITE_ONCE(step->once, false);
	/* There is no tool left to disable single-stepping. */
	if (!vi->session || kvmi_goes_on_without_tool(vi->session)) {
		WRITE_ONCE(step->wanted, false);
		once = false;
	}
	step->pending = step->wanted || once;
	step->failed = failed;
	come_back(vi);
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	kvmi_update_step(vcpu);
	kvmi_end_grants(vcpu);
}

/*
 * Withdraw the grants of an instruction that restarts, or is not executed.
 * @leaves: nor is it in the view that it was to be stepped in
 */
static void cancel_step(struct kvm_vcpu *vcpu, bool leaves)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	spin_lock(&vi->lock);
	WRITE_ONCE(vi->arch.step.allowed, false);
	if (leaves)
		come_back(vi);
	kvmi_update_view(vcpu);
	spin_unlock(&vi->lock);

	kvmi_update_step(vcpu);
	kvmi_end_grants(vcpu);
}

void kvmi_step_cancel(struct kvm_vcpu *vcpu)
{
	if (kvmi_to_vcpu(vcpu)->arch.step.allowed)
		cancel_step(vcpu, false);
}

int __kvmi_single_step_exit(struct kvm_vcpu *vcpu)
{
	int r;

	/* Nothing is stepped if the VM was unhooked just now. */
	if (kvmi_to_vcpu(vcpu))
		end_step(vcpu, false);

	/* The VM exit may need further handling, in the vCPU's view. */
	r = kvm_mmu_reload(vcpu);
	return r ? r : 1;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_single_step_exit);

static void kvmi_report_step(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step = &vi->arch.step;
	struct kvmi_vcpu_event_singlestep event = { .failed = step->failed };
	int action;

	action = kvmi_event(vcpu, KVMI_VCPU_EVENT_SINGLESTEP, &event,
			    sizeof(event), NULL, 0);
	/* This event, not an earlier one, may be open, and be waited for in the run loop. */
	if (action != KVMI_EVENT_INTERRUPTED ||
	    (READ_ONCE(vi->event.state) != KVMI_EVENT_NONE &&
	     vi->event.id == KVMI_VCPU_EVENT_SINGLESTEP))
		step->pending = false;
}

/*
 * Send a SINGLESTEP event again that was lost with the tool.  Return 0, or
 * -EINTR to be called again.
 */
int kvmi_arch_vcpu_send_step(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	kvmi_set_todo(vcpu);
	step->pending = true;
	kvmi_report_step(vcpu);
	set_insn(vcpu);

	return step->pending ? -EINTR : 0;
}

/*
 * An exception that the instruction has caused is not part of it: its delivery
 * may access restricted pages.
 */
static bool delivers_other(struct kvm_vcpu *vcpu, const struct kvmi_step *step)
{
	return vcpu->arch.exception.pending ||
	       step->delivers != event_to_deliver(vcpu);
}

/*
 * Grants, and the view of a step, are for one instruction in one context.  The
 * context changes if KVM has executed the instruction, or a part of it, or if an
 * event is delivered instead.
 */
static bool step_is_over(struct kvm_vcpu *vcpu, const struct kvmi_step *step)
{
	struct kvmi_context now;

	if (step->retired)
		return true;
	if (!is_privileged(step))
		return step->rip != kvm_get_linear_rip(vcpu);

	kvmi_arch_vcpu_get_context(vcpu, &now);

	return memcmp(&now, &step->at, sizeof(now)) || delivers_other(vcpu, step);
}

/* The instruction being executed is the INT n that is queued. */
void kvmi_step_delivers(struct kvm_vcpu *vcpu)
{
	kvmi_to_vcpu(vcpu)->arch.step.delivers = event_to_deliver(vcpu);
}

/*
 * Return true if KVM has emulated an iteration of the string instruction that
 * accesses are granted to.  Grants are for one iteration.
 */
bool kvmi_step_repeats(struct kvm_vcpu *vcpu)
{
	const struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	/* All 64 bits, as in the context */
	return step->allowed && step->at.regs.rcx != kvm_rcx_read_raw(vcpu);
}

/*
 * About to enter the guest: end the step if another event is to be delivered than
 * the one that it is for, or if INIT, SIPI or an SMI has changed the context.
 */
void kvmi_step_check_delivery(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if (is_privileged(step) && step_is_over(vcpu, step))
		end_step(vcpu, true);
}

/*
 * End the step if KVM has emulated the instruction and may continue with the
 * next.
 */
void kvmi_step_check(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if ((step->allowed || kvmi_step_is_wanted(step)) && !step->pending &&
	    step_is_over(vcpu, step))
		end_step(vcpu, true);
}

/* The new task may have the RIP, or all of the context, of the old one. */
void __kvmi_task_switched(struct kvm_vcpu *vcpu)
{
	kvmi_step_retired(vcpu);
	kvmi_step_check(vcpu);
}

/*
 * Before VM-Enter: withdraw grants if the tool has set other registers since
 * __kvmi_check_step().
 */
void kvmi_arch_vcpu_recheck_step(struct kvm_vcpu *vcpu)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if (is_privileged(step) && step_is_over(vcpu, step))
		cancel_step(vcpu, true);
}

/*
 * The tool may want to be asked about what was granted without: the guest repeats
 * it.  vCPU's thread only.
 */
void kvmi_arch_vcpu_policy_changed(struct kvm_vcpu *vcpu)
{
	const struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	if (step->allowed && !step->asked)
		cancel_step(vcpu, false);
}

/* Make kvmi_event_check_answers() be called before VM-Enter; vCPU's thread only. */
void kvmi_arch_vcpu_watch_answers(struct kvm_vcpu *vcpu)
{
	kvmi_set_todo(vcpu);
}

bool __kvmi_check_step(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_step *step;
	bool watch;

	/* An emulation that KVM_RUN has interrupted has been completed. */
	kvmi_emulation_set_mode(&vi->arch.emulation, KVMI_EMULATE_FREELY);

	if (!kvmi_report_changes(vcpu))
		return false;

	watch = kvmi_event_check_answers(vcpu);
	step = &vi->arch.step;
	/* Unhooking ends a step, but only the vCPU's thread ends grants. */
	if (!step->allowed)
		kvmi_end_grants(vcpu);
	kvmi_step_check(vcpu);
	if (step->pending) {
		kvmi_report_step(vcpu);
		set_insn(vcpu);
	}

	/* For the next instruction */
	if (kvm_caps.single_steps_by_tf && __kvmi_single_steps(vcpu))
		kvm_make_request(KVM_REQ_EVENT, vcpu);

	/* Unhooking may have ended the step since, but not the grants. */
	if (!step->allowed && !kvmi_step_is_wanted(step) && !step->pending &&
	    !vi->arch.grants.nr && !watch)
		WRITE_ONCE(vcpu->arch.introspection_todo, false);

	return true;
}

/* The view that the tool has chosen for a vCPU */
unsigned int kvmi_arch_vcpu_view(const struct kvmi_arch_vcpu *arch)
{
	return READ_ONCE(arch->view);
}

/*
 * Accesses are granted in a view: what it maps is known then, and is what the vCPU's
 * own page tables of that view have.  The instruction asks anew in another one.
 */
static void leave_view(struct kvm_vcpu *vcpu, unsigned int view)
{
	if (kvmi_to_vcpu(vcpu)->arch.view != view)
		kvmi_step_cancel(vcpu);
}

/*
 * Return the view that the vCPU was to come back to after an instruction, and
 * does not any more, or 0; vCPU's thread only.
 */
unsigned int kvmi_arch_vcpu_set_view(struct kvm_vcpu *vcpu, unsigned int view)
{
	struct kvmi_arch_vcpu *arch = &kvmi_to_vcpu(vcpu)->arch;
	unsigned int home = 0;

	leave_view(vcpu, view);
	if (arch->step.in_view) {
		home = arch->step.home;
		WRITE_ONCE(arch->step.in_view, false);
		kvmi_update_step(vcpu);
	}
	WRITE_ONCE(arch->view, view);
	kvmi_update_view(vcpu);

	return home;
}

/* Make the run loop look at the step, in another view or not; vCPU's thread only. */
static void begin_step(struct kvm_vcpu *vcpu, bool in_view)
{
	struct kvmi_step *step = &kvmi_to_vcpu(vcpu)->arch.step;

	kvmi_set_todo(vcpu);
	/* A step that has begun is about the instruction that it has begun with. */
	if (!step->in_view || in_view)
		set_insn(vcpu);
	kvmi_update_step(vcpu);
}

/*
 * Execute the next instruction in a view.  @delivery: or what the event that is
 * being delivered does, which the tool was asked about.  Return the view that the
 * vCPU leaves for good, or 0; vCPU's thread only.
 */
unsigned int kvmi_arch_vcpu_step_in_view(struct kvm_vcpu *vcpu, unsigned int view,
					 bool delivery)
{
	struct kvmi_arch_vcpu *arch = &kvmi_to_vcpu(vcpu)->arch;
	unsigned int left = 0;

	leave_view(vcpu, view);
	if (arch->step.in_view)
		left = arch->view;
	else
		arch->step.home = arch->view;
	WRITE_ONCE(arch->step.in_view, true);
	arch->step.delivers = delivery ? event_to_deliver(vcpu) : 0;
	kvmi_arch_vcpu_get_context(vcpu, &arch->step.at);
	WRITE_ONCE(arch->view, view);
	kvmi_update_view(vcpu);
	begin_step(vcpu, true);

	return left;
}

/* Send a SINGLESTEP event after the next instruction; vCPU's thread only. */
void kvmi_arch_vcpu_step_once(struct kvm_vcpu *vcpu)
{
	WRITE_ONCE(kvmi_to_vcpu(vcpu)->arch.step.once, true);
	begin_step(vcpu, false);
}

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
	begin_step(req->vcpu, false);

	return 0;
}
