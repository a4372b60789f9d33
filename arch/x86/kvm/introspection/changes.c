// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: registers that RSM and task switches change.
 *
 * No instruction writes just one of them.  They are reported afterwards, before
 * the guest executes another instruction.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/event.h"
#include "introspection/vcpu.h"
#include "changes.h"
#include "hooks_regs.h"
#include "intercepts.h"
#include "msrs.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

/* The change was made, so that nothing can be repeated */
#define FORBIDDEN	BIT(KVMI_EVENT_ACTION_RETRY)

static void get_segment(struct kvm_vcpu *vcpu, struct kvm_segment *seg, int nr)
{
	memset(seg, 0, sizeof(*seg));
	kvm_get_segment(vcpu, seg, nr);

	/* The other fields are irrelevant. */
	if (seg->unusable)
		*seg = (struct kvm_segment) { .unusable = 1 };
}

static void get_table(struct kvm_vcpu *vcpu, struct desc_ptr *dt, u8 descriptor)
{
	memset(dt, 0, sizeof(*dt));
	if (descriptor == KVMI_DESC_GDTR)
		kvm_x86_call(get_gdt)(vcpu, dt);
	else
		kvm_x86_call(get_idt)(vcpu, dt);
}

static void kvmi_save_registers(struct kvm_vcpu *vcpu,
				struct kvmi_saved_registers *saved)
{
	saved->cr0 = kvm_read_cr0(vcpu);
	saved->cr3 = kvm_read_cr3(vcpu);
	saved->cr4 = kvm_read_cr4(vcpu);
	saved->efer = vcpu->arch.efer;
	get_table(vcpu, &saved->gdt, KVMI_DESC_GDTR);
	get_table(vcpu, &saved->idt, KVMI_DESC_IDTR);
	get_segment(vcpu, &saved->ldt, VCPU_SREG_LDTR);
	get_segment(vcpu, &saved->tr, VCPU_SREG_TR);
	saved->session = READ_ONCE(kvmi_to_vcpu(vcpu)->nr_sessions);
}

static bool is_pending(struct kvm_vcpu_introspection *vi)
{
	/* Ignore registers that were saved in another session. */
	return vi->arch.before.session &&
	       vi->arch.before.session == READ_ONCE(vi->nr_sessions);
}

void __kvmi_enter_smm(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	/*
	 * Changes that were not reported yet are reported together with those
	 * of this SMI.
	 */
	if (is_pending(vi)) {
		vi->arch.before_smi = vi->arch.before;
		vi->arch.before.session = 0;
	} else {
		kvmi_save_registers(vcpu, &vi->arch.before_smi);
	}
}

/* The SMI handler's own registers are gone. */
void __kvmi_leave_smm(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	vi->arch.before = vi->arch.before_smi;
	kvmi_set_todo(vcpu);
	vi->arch.before_smi.session = 0;
}

/* INIT and reset load architectural values, nothing is left to report. */
void __kvmi_vcpu_reset(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	vi->arch.before.session = 0;
	vi->arch.before_smi.session = 0;
}

void __kvmi_task_switch(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	kvmi_save_registers(vcpu, &vi->arch.before);
	kvmi_set_todo(vcpu);
}

/*
 * The registers depend on each other, and a guest chooses what RSM loads.  If a
 * value that the tool has chosen can't be loaded, don't let the guest go on
 * with the one that the tool refuses.
 */
static void check_written(struct kvm_vcpu *vcpu, int err)
{
	if (err)
		kvm_make_request(KVM_REQ_TRIPLE_FAULT, vcpu);
}

/* Unlike where MOV to CR0 is executed, the CPL is whatever the guest has loaded. */
static int load_cr0(struct kvm_vcpu *vcpu, unsigned long val)
{
	if (!(val & X86_CR0_PE) && kvm_x86_call(get_cpl)(vcpu))
		return -EINVAL;

	return kvm_set_cr0(vcpu, val);
}

static void write_cr(struct kvm_vcpu *vcpu, int cr, unsigned long val)
{
	switch (cr) {
	case 0:
		check_written(vcpu, load_cr0(vcpu, val));
		break;
	case 3:
		check_written(vcpu, kvm_set_cr3(vcpu, val));
		break;
	default:
		check_written(vcpu, kvm_set_cr4(vcpu, val));
		break;
	}
}

static void write_efer(struct kvm_vcpu *vcpu, u64 val)
{
	check_written(vcpu, __kvm_emulate_msr_write(vcpu, MSR_EFER, val));
}

/*
 * The functions below report one register each, and apply the reply.
 *
 * Return KVMI_EVENT_ACTION_* or KVMI_EVENT_INTERRUPTED.
 */

static int ask_cr(struct kvm_vcpu *vcpu, int cr, unsigned long *before)
{
	struct kvmi_vcpu_event_cr_reply reply = { };
	struct kvmi_vcpu_event_cr event = {
		.cr = cr,
		.flags = KVMI_CHANGE_DONE,
		.old_value = *before,
	};
	unsigned long now = kvmi_read_cr(vcpu, cr);
	int action;

	if (!kvmi_cr_differs(cr, *before, now) || !__kvmi_wants_cr(vcpu, cr))
		return KVMI_EVENT_ACTION_ALLOW;

	event.new_value = now;
	reply.new_val = now;
	action = __kvmi_event(vcpu, KVMI_VCPU_EVENT_CR, FORBIDDEN, &event,
			      sizeof(event), &reply, sizeof(reply));
	if (action == KVMI_EVENT_INTERRUPTED)
		return action;

	if (action == KVMI_EVENT_ACTION_SKIP)
		write_cr(vcpu, cr, *before);
	else if (action == KVMI_EVENT_ACTION_ALLOW && reply.new_val != now)
		write_cr(vcpu, cr, reply.new_val);
	*before = kvmi_read_cr(vcpu, cr);

	return action;
}

static int ask_efer(struct kvm_vcpu *vcpu, u64 *before)
{
	struct kvmi_vcpu_event_msr_reply reply = { };
	struct kvmi_vcpu_event_msr event = {
		.msr = MSR_EFER,
		.flags = KVMI_CHANGE_DONE,
		.old_value = *before,
		.new_value = vcpu->arch.efer,
	};
	int action;

	if (event.old_value == event.new_value ||
	    !__kvmi_wants_msr(vcpu, MSR_EFER) ||
	    !kvm_msr_allowed(vcpu, MSR_EFER, KVM_MSR_FILTER_WRITE))
		return KVMI_EVENT_ACTION_ALLOW;

	reply.new_val = event.new_value;
	action = __kvmi_event(vcpu, KVMI_VCPU_EVENT_MSR, FORBIDDEN, &event,
			      sizeof(event), &reply, sizeof(reply));
	if (action == KVMI_EVENT_INTERRUPTED)
		return action;

	if (action == KVMI_EVENT_ACTION_SKIP)
		write_efer(vcpu, event.old_value);
	else if (action == KVMI_EVENT_ACTION_ALLOW &&
		 reply.new_val != event.new_value)
		write_efer(vcpu, reply.new_val);
	*before = vcpu->arch.efer;

	return action;
}

static int ask_descriptor(struct kvm_vcpu *vcpu, u8 descriptor)
{
	struct kvmi_vcpu_event_descriptor event = {
		.descriptor = descriptor,
		.write = 1,
		.flags = KVMI_CHANGE_DONE,
	};

	return __kvmi_event(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR, FORBIDDEN, &event,
			    sizeof(event), NULL, 0);
}

static int ask_table(struct kvm_vcpu *vcpu, u8 descriptor, struct desc_ptr *before)
{
	struct desc_ptr now;
	int action;

	get_table(vcpu, &now, descriptor);
	if ((now.address == before->address && now.size == before->size) ||
	    !kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR))
		return KVMI_EVENT_ACTION_ALLOW;

	action = ask_descriptor(vcpu, descriptor);
	if (action == KVMI_EVENT_INTERRUPTED)
		return action;

	if (action != KVMI_EVENT_ACTION_SKIP)
		*before = now;
	else if (descriptor == KVMI_DESC_GDTR)
		kvm_x86_call(set_gdt)(vcpu, before);
	else
		kvm_x86_call(set_idt)(vcpu, before);

	return action;
}

static int ask_segment(struct kvm_vcpu *vcpu, u8 descriptor, int nr,
		       struct kvm_segment *before, u64 efer_before)
{
	struct kvm_segment now;
	int action;

	get_segment(vcpu, &now, nr);
	if (!memcmp(&now, before, sizeof(now)) ||
	    !kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR))
		return KVMI_EVENT_ACTION_ALLOW;

	action = ask_descriptor(vcpu, descriptor);
	if (action == KVMI_EVENT_INTERRUPTED)
		return action;

	if (action == KVMI_EVENT_ACTION_SKIP) {
		/* A segment of another mode may make VM-Enter fail. */
		if ((vcpu->arch.efer ^ efer_before) & EFER_LMA)
			check_written(vcpu, -EINVAL);
		else
			kvm_set_segment(vcpu, before, nr);
	}
	get_segment(vcpu, before, nr);

	return action;
}

static int ask_about(struct kvm_vcpu *vcpu, struct kvmi_saved_registers *before,
		     unsigned int nr)
{
	switch (nr) {
	case 0:
		return ask_cr(vcpu, 0, &before->cr0);
	case 1:
		return ask_cr(vcpu, 3, &before->cr3);
	case 2:
		return ask_cr(vcpu, 4, &before->cr4);
	case 3:
		return ask_table(vcpu, KVMI_DESC_GDTR, &before->gdt);
	case 4:
		return ask_table(vcpu, KVMI_DESC_IDTR, &before->idt);
	case 5:
		return ask_segment(vcpu, KVMI_DESC_LDTR, VCPU_SREG_LDTR,
				   &before->ldt, before->efer);
	case 6:
		return ask_segment(vcpu, KVMI_DESC_TR, VCPU_SREG_TR, &before->tr,
				   before->efer);
	default:
		return ask_efer(vcpu, &before->efer);
	}
}

#define NR_QUESTIONS	8

/*
 * Report registers that RSM or a task switch has changed.  May drop and retake
 * the vCPU's SRCU lock.  Return false to go back to the run loop, and be called
 * again.
 */
bool kvmi_report_changes(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_saved_registers *before = &vi->arch.before;
	unsigned int i;
	int action;

	if (!is_pending(vi))
		return true;

	for (i = 0; i < NR_QUESTIONS; i++) {
		action = ask_about(vcpu, before, i);
		if (action == KVMI_EVENT_INTERRUPTED)
			return false;
		if (action == KVMI_EVENT_ACTION_CRASH ||
		    kvm_test_request(KVM_REQ_TRIPLE_FAULT, vcpu))
			break;
	}
	before->session = 0;

	return true;
}
