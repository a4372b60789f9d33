// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single instructions of introspected guests.
 *
 * RFLAGS.TF is set right before VMRUN and is as the guest has left it right after,
 * so that neither the rest of KVM nor userspace ever sees it.  The #DB is
 * intercepted.  See introspection/trap_flag.c for what the guest could see.
 */

#include <linux/kvm_host.h>

#include <asm/debugreg.h>
#include <asm/kvmi_host.h>
#include <asm/msr-index.h>

#include "lapic.h"
#include "svm.h"

static bool is_trap(const struct vmcb *vmcb)
{
	return vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + DB_VECTOR &&
	       vmcb->save.dr6 & DR6_BS;
}

/**
 * svm_begin_single_step - have VMRUN execute one instruction, or deliver one event
 * @vcpu: the vCPU, with interrupts disabled
 *
 * Return: whether an interrupt of the host is needed for VMRUN to come back.  It
 * comes after the event that is injected and before the first instruction.
 */
bool svm_begin_single_step(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	struct vmcb_control_area *control = &svm->vmcb->control;
	struct vmcb_save_area *save = &svm->vmcb->save;

	step->active = true;
	step->over = false;
	step->delivers = control->event_inj & SVM_EVTINJ_VALID;

	/* With TF set neither an NMI nor an interrupt must be delivered. */
	step->vnmi_pending = control->int_ctl & V_NMI_PENDING_MASK;
	if (is_vnmi_enabled(svm))
		control->int_ctl &= ~step->vnmi_pending;
	if (step->delivers)
		return true;

	step->adds_shadow = kvm_vcpu_apicv_active(vcpu) &&
			    !(control->int_state & SVM_INTERRUPT_SHADOW_MASK);
	if (step->adds_shadow)
		control->int_state |= SVM_INTERRUPT_SHADOW_MASK;

	step->insn = kvmi_step_insn(vcpu);
	if (!(vcpu->arch.efer & EFER_LMA) &&
	    (step->insn == KVMI_STEP_SYSCALL || step->insn == KVMI_STEP_SYSRET))
		step->insn = KVMI_STEP_OTHER;

	step->rflags = save->rflags;
	save->rflags |= X86_EFLAGS_TF;

	/* These trap if TF is set when they are done, not if it was before. */
	step->sfmask = svm->vmcb01.ptr->save.sfmask;
	if (step->insn == KVMI_STEP_SYSCALL)
		svm->vmcb01.ptr->save.sfmask &= ~X86_EFLAGS_TF;
	step->r11 = vcpu->arch.regs[VCPU_REGS_R11];
	if (step->insn == KVMI_STEP_SYSRET)
		vcpu->arch.regs[VCPU_REGS_R11] |= X86_EFLAGS_TF;

	/* A guest that steps from branch to branch goes on doing so. */
	step->dbgctl = save->dbgctl;
	if (save->dbgctl & DEBUGCTLMSR_BTF && !(step->rflags & X86_EFLAGS_TF)) {
		save->dbgctl &= ~DEBUGCTLMSR_BTF;
		vmcb_mark_dirty(svm->vmcb, VMCB_LBR);
	}

	return false;
}

/* TF as it is after the instruction; @own_trap: would the guest have got a #DB? */
static u64 guest_tf(struct kvm_vcpu *vcpu, bool trapped, bool *own_trap)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	u64 tf = step->rflags & X86_EFLAGS_TF;

	*own_trap = tf;
	if (!trapped)
		return tf;

	switch (step->insn) {
	case KVMI_STEP_LOADS_TF:
		return svm->vmcb->save.rflags & X86_EFLAGS_TF;
	case KVMI_STEP_SYSCALL:
		if (!tf)
			vcpu->arch.regs[VCPU_REGS_R11] &= ~X86_EFLAGS_TF;
		tf &= ~step->sfmask;
		*own_trap = tf;
		return tf;
	case KVMI_STEP_SYSRET:
		tf = step->r11 & X86_EFLAGS_TF;
		*own_trap = tf;
		return tf;
	default:
		return tf;
	}
}

/**
 * svm_end_single_step - undo what svm_begin_single_step() has done
 * @vcpu: the vCPU, right after VMRUN
 */
void svm_end_single_step(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	struct vmcb_control_area *control = &svm->vmcb->control;
	struct vmcb_save_area *save = &svm->vmcb->save;
	bool trapped = is_trap(svm->vmcb), own_trap;
	u64 tf;
	int i;

	step->active = false;
	if (is_vnmi_enabled(svm))
		control->int_ctl |= step->vnmi_pending;

	if (step->delivers) {
		step->over = !(control->exit_int_info & SVM_EXITINTINFO_VALID) &&
			     !svm_is_vmrun_failure(control->exit_code);
		return;
	}

	step->over = trapped;
	if (step->adds_shadow && !trapped)
		control->int_state &= ~SVM_INTERRUPT_SHADOW_MASK;

	if (step->insn == KVMI_STEP_SYSCALL)
		svm->vmcb01.ptr->save.sfmask = step->sfmask;
	if (step->insn == KVMI_STEP_SYSRET)
		vcpu->arch.regs[VCPU_REGS_R11] = step->r11;
	save->dbgctl = step->dbgctl;

	tf = guest_tf(vcpu, trapped, &own_trap);
	save->rflags &= ~X86_EFLAGS_TF;
	save->rflags |= tf;
	if (!trapped)
		return;
	if (!own_trap)
		save->dr6 &= ~DR6_BS;
	/* What is in DR0 to DR3 may be stale; a trap matches it all the same. */
	for (i = 0; i < KVM_NR_DB_REGS; i++) {
		if (!(save->dr7 & (DR_LOCAL_ENABLE | DR_GLOBAL_ENABLE) <<
				  i * DR_ENABLE_SIZE))
			save->dr6 &= ~(DR_TRAP0 << i);
	}
}

/**
 * svm_single_step_exit - tell introspection that an instruction is over
 * @vcpu: the vCPU, with its SRCU lock held
 *
 * Return: true if that was all that the VM exit was for.
 */
bool svm_single_step_exit(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	u64 dr6 = svm->vmcb->save.dr6 ^ DR6_ACTIVE_LOW;

	step->over = false;
	if (!step->delivers && step->insn == KVMI_STEP_PUSHF &&
	    !(step->rflags & X86_EFLAGS_TF))
		kvmi_hide_pushed_tf(vcpu);
	kvmi_single_step_exit(vcpu);

	/* The guest may have had a breakpoint, or have stepped by itself. */
	return !step->delivers && !dr6;
}
