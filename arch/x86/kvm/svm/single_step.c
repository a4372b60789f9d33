// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-stepping of introspected guests.
 *
 * RFLAGS.TF is set right before VMRUN and restored right after, so that neither
 * the rest of KVM nor userspace ever sees it.  The #DB is intercepted.  See
 * introspection/trap_flag.c for what the guest could see.
 */

#include <linux/kvm_host.h>

#include <asm/debugreg.h>
#include <asm/msr-index.h>

#include "introspection/hooks_step.h"
#include "lapic.h"
#include "svm.h"

#define MAX_INSN_BYTES	15

/*
 * Only hardware determines which instruction is executed: another vCPU may
 * change its bytes after KVM has read them.  Intercept those that need
 * handling; they have no effect before the VM exit.
 */
static const struct {
	u32 exit_code;
	u32 intercept;
} caught_insns[] = {
	{ SVM_EXIT_SWINT, INTERCEPT_INTn },
	{ SVM_EXIT_PUSHF, INTERCEPT_PUSHF },
	{ SVM_EXIT_POPF, INTERCEPT_POPF },
	{ SVM_EXIT_IRET, INTERCEPT_IRET },
};

/*
 * Return true if an instruction has to be intercepted, given the one that is
 * expected.
 */
static bool svm_single_step_catches(struct kvm_vcpu *vcpu, u32 exit_code)
{
	struct svm_single_step *step = &to_svm(vcpu)->single_step;

	switch (exit_code) {
	case SVM_EXIT_IRET:
		return step->insn != KVMI_STEP_LOADS_TF;
	case SVM_EXIT_PUSHF:
	case SVM_EXIT_POPF:
		/* KVM emulates them, and leaves a denied access to hardware. */
		if (step->refused)
			return false;
		fallthrough;
	default:
		/* Leave to hardware what CR4.VME, or a #GP, is about. */
		return !(step->rflags & X86_EFLAGS_VM) ||
		       (step->rflags & X86_EFLAGS_IOPL) == X86_EFLAGS_IOPL;
	}
}

static void begin_catching(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	unsigned int i;

	step->caught = false;
	step->intercepts = 0;
	for (i = 0; i < ARRAY_SIZE(caught_insns); i++) {
		if (!svm_single_step_catches(vcpu, caught_insns[i].exit_code) ||
		    vmcb_is_intercept(&svm->vmcb->control, caught_insns[i].intercept))
			continue;
		vmcb_set_intercept(&svm->vmcb->control, caught_insns[i].intercept);
		step->intercepts |= BIT(i);
	}
	vmcb_mark_dirty(svm->vmcb, VMCB_INTERCEPTS);
	step->refused = false;

	/*
	 * SYSCALL and SYSRET may clear TF: let them raise #UD unless they are
	 * expected.
	 */
	step->efer = svm->vmcb->save.efer;
	if (vcpu->arch.efer & EFER_LMA &&
	    step->insn != KVMI_STEP_SYSCALL && step->insn != KVMI_STEP_SYSRET) {
		svm->vmcb->save.efer &= ~EFER_SCE;
		vmcb_mark_dirty(svm->vmcb, VMCB_CR);
	}
}

static void end_catching(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	u64 exit_code = svm->vmcb->control.exit_code;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(caught_insns); i++) {
		if (!(step->intercepts & BIT(i)))
			continue;
		vmcb_clr_intercept(&svm->vmcb->control, caught_insns[i].intercept);
		if (exit_code == caught_insns[i].exit_code)
			step->caught = true;
	}
	vmcb_mark_dirty(svm->vmcb, VMCB_INTERCEPTS);

	/* If it is no SYSCALL, the exception is raised once more. */
	step->syscall = (step->efer ^ svm->vmcb->save.efer) & EFER_SCE &&
			exit_code == SVM_EXIT_EXCP_BASE + UD_VECTOR;
	step->found_at = svm->vmcb->save.rip;
	step->caught |= step->syscall;
	if (svm->vmcb->save.efer != step->efer) {
		svm->vmcb->save.efer = step->efer;
		vmcb_mark_dirty(svm->vmcb, VMCB_CR);
	}
}

static bool is_trap(const struct vmcb *vmcb)
{
	return vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + DB_VECTOR &&
	       vmcb->save.dr6 & DR6_BS;
}

/*
 * Make VMRUN execute one instruction, or deliver one event.  Interrupts are
 * disabled.  Return true if VMRUN needs an interrupt of the host to exit: it is
 * taken after the injected event was delivered and before the first
 * instruction.
 */
bool svm_begin_single_step(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	struct vmcb_control_area *control = &svm->vmcb->control;
	struct vmcb_save_area *save = &svm->vmcb->save;

	step->active = true;
	step->over = false;
	step->caught = false;
	step->delivers = control->event_inj & SVM_EVTINJ_VALID;

	/* With TF set, neither an NMI nor an interrupt must be delivered. */
	step->vnmi_pending = control->int_ctl & V_NMI_PENDING_MASK;
	if (is_vnmi_enabled(svm))
		control->int_ctl &= ~step->vnmi_pending;
	/* What was found out about an instruction is of no use for another one. */
	if (step->delivers || save->rip != step->found_at) {
		step->refused = false;
		step->syscall = false;
	}
	if (step->delivers)
		return true;

	step->adds_shadow = kvm_vcpu_apicv_active(vcpu) &&
			    !(control->int_state & SVM_INTERRUPT_SHADOW_MASK);
	if (step->adds_shadow)
		control->int_state |= SVM_INTERRUPT_SHADOW_MASK;

	step->insn = step->syscall ? KVMI_STEP_SYSCALL : kvmi_step_insn(vcpu);
	step->syscall = false;
	if (!(vcpu->arch.efer & EFER_LMA) &&
	    (step->insn == KVMI_STEP_SYSCALL || step->insn == KVMI_STEP_SYSRET))
		step->insn = KVMI_STEP_OTHER;

	step->rflags = save->rflags;
	step->cpl = save->cpl;
	step->rip = save->rip;
	step->rsp = save->rsp;
	save->rflags |= X86_EFLAGS_TF;

	begin_catching(vcpu);

	/*
	 * These trap if TF is set afterwards, not before.  The instruction may
	 * be either.
	 */
	step->sfmask = svm->vmcb01.ptr->save.sfmask;
	step->r11 = vcpu->arch.regs[VCPU_REGS_R11];
	if (step->insn == KVMI_STEP_SYSCALL || step->insn == KVMI_STEP_SYSRET) {
		svm->vmcb01.ptr->save.sfmask &= ~X86_EFLAGS_TF;
		vcpu->arch.regs[VCPU_REGS_R11] |= X86_EFLAGS_TF;
	}

	/* Keep the guest stepping from branch to branch. */
	step->dbgctl = save->dbgctl;
	if (save->dbgctl & DEBUGCTLMSR_BTF && !(step->rflags & X86_EFLAGS_TF)) {
		save->dbgctl &= ~DEBUGCTLMSR_BTF;
		vmcb_mark_dirty(svm->vmcb, VMCB_LBR);
	}

	return false;
}

/* Return true after a POPF or IRET, which both change the stack pointer. */
static bool has_popped(struct kvm_vcpu *vcpu)
{
	struct svm_single_step *step = &to_svm(vcpu)->single_step;

	return vcpu->arch.regs[VCPU_REGS_RSP] != step->rsp ||
	       kvm_rip_read(vcpu) - step->rip > MAX_INSN_BYTES;
}

/* Return true after a SYSRET. */
static bool is_return(struct kvm_vcpu *vcpu)
{
	struct svm_single_step *step = &to_svm(vcpu)->single_step;

	return step->cpl != 3 && to_svm(vcpu)->vmcb->save.cpl == 3;
}

/* Return true after a SYSCALL. */
static bool is_call(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct vmcb_save_area *msrs = &svm->vmcb01.ptr->save;

	return !svm->vmcb->save.cpl && (svm->vmcb->save.rip == msrs->lstar ||
					svm->vmcb->save.rip == msrs->cstar);
}

/* TF after the instruction; @own_trap: the guest would have got a #DB, too */
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
		return has_popped(vcpu) ? svm->vmcb->save.rflags & X86_EFLAGS_TF : tf;
	case KVMI_STEP_SYSCALL:
	case KVMI_STEP_SYSRET:
		if (is_return(vcpu)) {
			tf = step->r11 & X86_EFLAGS_TF;
		} else if (is_call(vcpu)) {
			vcpu->arch.regs[VCPU_REGS_R11] = step->rflags & ~X86_EFLAGS_RF;
			tf &= ~step->sfmask;
		}
		*own_trap = tf;
		return tf;
	default:
		return tf;
	}
}

/*
 * Undo svm_begin_single_step(), after a VMRUN that has left all of the VMCB clean:
 * the CPU may go on with what it has loaded of what is not marked as dirty.
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

	end_catching(vcpu);
	if (step->insn == KVMI_STEP_SYSCALL || step->insn == KVMI_STEP_SYSRET) {
		svm->vmcb01.ptr->save.sfmask = step->sfmask;
		if (!(trapped && is_call(vcpu)) &&
		    vcpu->arch.regs[VCPU_REGS_R11] == (step->r11 | X86_EFLAGS_TF))
			vcpu->arch.regs[VCPU_REGS_R11] = step->r11;
	}
	if (save->dbgctl != step->dbgctl) {
		save->dbgctl = step->dbgctl;
		vmcb_mark_dirty(svm->vmcb, VMCB_LBR);
	}

	tf = guest_tf(vcpu, trapped, &own_trap);
	save->rflags &= ~X86_EFLAGS_TF;
	save->rflags |= tf;
	if (!trapped)
		return;
	vmcb_mark_dirty(svm->vmcb, VMCB_DR);
	if (!own_trap)
		save->dr6 &= ~DR6_BS;
	/* DR0 to DR3 may be stale; a trap compares them all the same. */
	for (i = 0; i < KVM_NR_DB_REGS; i++) {
		if (!(save->dr7 & (DR_LOCAL_ENABLE | DR_GLOBAL_ENABLE) <<
				  i * DR_ENABLE_SIZE))
			save->dr6 &= ~(DR_TRAP0 << i);
	}
}

static bool step_over(struct kvm_vcpu *vcpu, int *r)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	u64 dr6 = svm->vmcb->save.dr6 ^ DR6_ACTIVE_LOW;

	svm->single_step.over = false;
	*r = kvmi_single_step_exit(vcpu);

	/* The guest may have a breakpoint, or be stepping itself. */
	return *r <= 0 || (!svm->single_step.delivers && !dr6);
}

/*
 * Handle a VM exit of a VMRUN for one instruction.  Return true if the VM exit
 * needs no other handling, with what to return to the run loop in *@r.
 */
bool svm_single_step_exit(struct kvm_vcpu *vcpu, int *r)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct svm_single_step *step = &svm->single_step;
	u64 exit_code = svm->vmcb->control.exit_code;

	if (step->over)
		return step_over(vcpu, r);
	if (!step->caught)
		return false;

	step->caught = false;
	*r = 1;
	if (exit_code == SVM_EXIT_PUSHF || exit_code == SVM_EXIT_POPF)
		step->refused = !kvmi_step_emulate(vcpu, r);

	/* The others are examined again before the next VMRUN. */
	return true;
}
