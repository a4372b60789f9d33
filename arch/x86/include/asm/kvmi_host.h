/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_KVMI_HOST_H
#define _ASM_X86_KVMI_HOST_H

/*
 * KVM introspection: the hooks in KVM's x86 code.
 *
 * What a tool requests to be intercepted is kept per vCPU.  KVM adds it to its
 * own intercepts when it recomputes them, so that it never removes an intercept
 * that KVM or userspace needs.
 *
 * Hooks that send events are called on the vCPU's thread, with the vCPU loaded
 * and its SRCU lock held, which may be dropped and retaken.  Those that return
 * enum kvmi_verdict, or have an @r for what to return to the run loop, are such
 * hooks.
 */

#include <linux/bitops.h>
#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <uapi/linux/kvmi.h>

#include <asm/kvmi.h>

/* MSRs that hardware can intercept individually: two ranges of this size */
#define KVMI_NR_RANGE_MSRS	0x2000
#define KVMI_RANGE_LONGS	BITS_TO_LONGS(KVMI_NR_RANGE_MSRS)
#define KVMI_HIGH_MSRS		0xc0000000

/* An exception that the tool injects */
struct kvmi_injection {
	/* Not queued yet */
	bool pending;
	/* Report it, or the exception that took its place, with a TRAP event */
	bool reported;
	/* Vector */
	u8 nr;
	/* For vectors that have an error code */
	u32 error_code;
	/* CR2, for #PF */
	u64 address;
};

/* The context that the guest executes an instruction in */
struct kvmi_context {
	struct kvm_regs regs;
	struct kvm_segment cs;
	u64 cr3;
	u8 cpl;
	/* Address space, i.e. SMM or not */
	u8 as_id;
};

/*
 * Pages that an instruction can be granted access to at the same time.  A far CALL
 * through a gate accesses eleven, and with page tables that can't be read, or are
 * emulated, four or five more for each of them.
 */
#define KVMI_MAX_GRANTS		96

/* An access that is granted while an instruction is executed */
struct kvmi_grant {
	gfn_t gfn;
	u8 as_id;
	/* KVMI_PAGE_ACCESS_* */
	u8 access;
	/* The access is to the guest's own page, even if the gfn is remapped */
	bool own;
};

/* All accesses that are granted to a vCPU; vCPU's thread only */
struct kvmi_grants {
	unsigned int nr;
	/* Index of the grant to replace when all are in use */
	unsigned int oldest;
	/* kvm_vcpu_introspection.nr_sessions of the session they belong to */
	unsigned int session;
	struct kvmi_grant all[KVMI_MAX_GRANTS];
};

/* How an instruction that is single-stepped with RFLAGS.TF uses TF */
enum kvmi_step_insn {
	/* Not specially */
	KVMI_STEP_OTHER,
	/* POPF or IRET */
	KVMI_STEP_LOADS_TF,
	/* Copies TF to R11 and may clear it */
	KVMI_STEP_SYSCALL,
	/* Loads TF from R11 */
	KVMI_STEP_SYSRET,
	/* MOV SS, POP SS or STI: blocks the trap */
	KVMI_STEP_SHADOW,
	/* Push and clear TF */
	KVMI_STEP_INT,
	KVMI_STEP_INT3,
	/* With the overflow flag set */
	KVMI_STEP_INTO,
};

/* Single-stepping */
struct kvmi_step {
	/* One instruction is executed with accesses granted */
	bool allowed;
	/* The tool has granted one of them */
	bool asked;
	/* The tool has enabled SINGLESTEP events */
	bool wanted;
	/* The tool has requested one SINGLESTEP event */
	bool once;
	/* One instruction is executed in another view, without an event */
	bool in_view;
	/* Number of the view to come back to */
	u8 home;
	/* A SINGLESTEP event is pending */
	bool pending;
	/* See struct kvmi_vcpu_event_singlestep */
	bool failed;
	/* The instruction, if RFLAGS.TF is used */
	enum kvmi_step_insn insn;
	/* Linear address of the instruction */
	unsigned long rip;
	/* KVM's emulator has executed the instruction, or an iteration of it */
	bool retired;
	/*
	 * If @allowed or @in_view, the event whose delivery is executed, see
	 * event_to_deliver(), or 0 for an instruction
	 */
	u64 delivers;
	/* If so, the context */
	struct kvmi_context at;
};

/* How accesses of KVM's emulator are checked */
enum kvmi_emulation_mode {
	/* Not, or no instruction is being emulated */
	KVMI_EMULATE_FREELY,
	/*
	 * An access that the vCPU's view denies ends the emulation and is
	 * reported.  For everything that KVM emulates for reasons of its own.
	 */
	KVMI_EMULATE_ASKED,
	/* An access that the vCPU's view denies ends the emulation */
	KVMI_EMULATE_CHECKED,
	/* Accesses that the vCPU's view denies are reported with their data */
	KVMI_EMULATE_TRACED,
};

/* Most bytes of an access that are checked at once */
#define KVMI_MAX_EMULATED_BYTES	32

/*
 * An instruction that KVM emulates for introspection; vCPU's thread only, but for
 * @mode, see kvmi_emulation_set_mode()
 */
struct kvmi_emulation {
	enum kvmi_emulation_mode mode;
	/* kvm_vcpu_introspection.nr_sessions of the session that has chosen it */
	unsigned int session;
	/* The emulator does not implement the instruction; no effect */
	bool failed;
	/* Where the fetch is that is granted to trace the instruction, or INVALID_GPA */
	gpa_t fetched;
	/* The access below has ended the emulation */
	bool refused;
	/* KVMI_PAGE_ACCESS_R, KVMI_PAGE_ACCESS_W or KVMI_PAGE_ACCESS_X */
	u8 access;
	gva_t gva;
	gpa_t gpa;
	/* What to write instead of the instruction's data, in each of two pages */
	u8 data[2][KVMI_MAX_EMULATED_BYTES];
	/* The tool has had the instruction read something else than memory */
	bool replaced;
	/* If so, where, and the bytes in memory */
	gva_t replaced_gva;
	u8 memory[8];
};

/* The last page walk that was to set a flag */
struct kvmi_last_walk {
	/* Guest physical address of the entry of the guest's page tables */
	gpa_t entry;
	/* Linear address of the instruction */
	unsigned long rip;
	/* Number of VM exits so far */
	u64 exits;
};

struct kvmi_descriptor_access {
	/* KVMI_DESC_*, or 0 for none */
	u8 descriptor;
	/* Load, not store */
	bool write;
};

/* Registers before RSM or a task switch may change them */
struct kvmi_saved_registers {
	/* kvm_vcpu_introspection.nr_sessions then; 0 if nothing is saved */
	unsigned int session;
	unsigned long cr0;
	unsigned long cr3;
	unsigned long cr4;
	u64 efer;
	struct desc_ptr gdt;
	struct desc_ptr idt;
	struct kvm_segment ldt;
	struct kvm_segment tr;
};

/*
 * What a tool has requested of a vCPU.
 *
 * Written by the vCPU's thread, and cleared by unhooking in any thread, with the
 * vCPU's lock held unless a command or an event is being handled, which unhooking
 * waits for.  Read without a lock: KVM_REQ_RECALC_INTERCEPTS makes a vCPU that
 * has read too early recompute its intercepts, and KVM_REQ_MMU_UPDATE_VIEW what
 * depends on @view, @ad_disabled and @step, see kvmi_update_view().
 */
struct kvmi_arch_vcpu {
	/* Bit n: intercept writes to CRn */
	unsigned long crs;
	/* Bit n: also report those that do not change the value */
	unsigned long same_crs;
	/* Intercept writes to the MSRs from 0, and from KVMI_HIGH_MSRS */
	unsigned long msrs[2][KVMI_RANGE_LONGS];
	/* Also report those that do not change the value */
	unsigned long same_msrs[2][KVMI_RANGE_LONGS];
	struct kvmi_injection injection;
	/*
	 * Vectors of exceptions that rules allow in any case; written by the
	 * receiver
	 */
	u32 unasked;
	/* Number of the view */
	u8 view;
	/*
	 * Bit n: view n denies page walks of the vCPU, and has no accessed and
	 * dirty flags in its page tables so that fewer of them are denied
	 */
	u8 ad_disabled;
	/* The last page walk that KVM completed; vCPU's thread only */
	struct kvmi_last_walk last_walk;
	struct kvmi_step step;
	struct kvmi_grants grants;
	struct kvmi_emulation emulation;
	/*
	 * The reply to a PF event was SKIP or KVMI_PF_TRAP_ACCESS, for an
	 * instruction that KVM does not implement, and its linear address
	 */
	bool not_emulated;
	unsigned long not_emulated_at;
	/*
	 * kvm_vcpu_introspection.nr_sessions when an access was found to be
	 * denied; vCPU's thread only
	 */
	unsigned int asked;
	/*
	 * What the tool has allowed of the instruction that is being emulated;
	 * vCPU's thread only
	 */
	struct kvmi_descriptor_access allowed;
	/* For RSM or a task switch to be reported; vCPU's thread only */
	struct kvmi_saved_registers before;
	/* Registers when the guest entered SMM; vCPU's thread only */
	struct kvmi_saved_registers before_smi;
};

/* What to do with an instruction */
enum kvmi_verdict {
	/* Go on */
	KVMI_ALLOW,
	/* Advance RIP past the instruction without executing it */
	KVMI_SKIP,
	/*
	 * Return to the run loop, which either restarts the instruction or
	 * returns to userspace first
	 */
	KVMI_RETRY,
};

/* For the MMU, see mmu/view.h */
unsigned int __kvmi_page_access(struct kvm *kvm, union kvm_mmu_page_role role,
				gfn_t gfn);
int __kvmi_max_mapping_level(struct kvm *kvm, union kvm_mmu_page_role role,
			     gfn_t gfn, int level);
unsigned int __kvmi_vcpu_page_access(struct kvm_vcpu *vcpu,
				     union kvm_mmu_page_role role, gfn_t gfn);
gfn_t __kvmi_mapped_gfn(struct kvm_vcpu *vcpu, union kvm_mmu_page_role role,
			gfn_t gfn);
bool __kvmi_unmap_gfn_range(struct kvm *kvm, const struct kvm_gfn_range *range,
			    bool flush);

#ifdef CONFIG_KVM_INTROSPECTION

void __kvmi_limit_caps(struct kvm_vcpu *vcpu);
bool __kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr);
bool __kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr);
enum kvmi_verdict __kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
				  unsigned long *val);
enum kvmi_verdict __kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 *data);
enum kvmi_verdict __kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr, u64 val);
enum kvmi_verdict __kvmi_cpuid(struct kvm_vcpu *vcpu);
bool __kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor, bool write,
			    int *r);
enum kvmi_verdict __kvmi_emulated_insn(struct kvm_vcpu *vcpu,
				       const struct x86_instruction_info *info);
void __kvmi_enter_smm(struct kvm_vcpu *vcpu);
void __kvmi_leave_smm(struct kvm_vcpu *vcpu);
void __kvmi_task_switch(struct kvm_vcpu *vcpu);
void __kvmi_vcpu_reset(struct kvm_vcpu *vcpu);
int __kvmi_hypercall(struct kvm_vcpu *vcpu);
u32 __kvmi_wants_exceptions(struct kvm_vcpu *vcpu);
bool __kvmi_deliver_exception(struct kvm_vcpu *vcpu);
int kvmi_exception_exit(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			u32 error_code, unsigned long address);
enum kvmi_verdict __kvmi_emulated_exception(struct kvm_vcpu *vcpu, u8 vector,
					    u8 insn_len);
bool kvmi_owns_breakpoints(struct kvm_vcpu *vcpu);
bool __kvmi_single_steps(struct kvm_vcpu *vcpu);
int kvmi_single_step_exit(struct kvm_vcpu *vcpu);
bool __kvmi_check_step(struct kvm_vcpu *vcpu);
bool __kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r);
enum kvmi_step_insn kvmi_step_insn(struct kvm_vcpu *vcpu);
bool kvmi_step_emulate(struct kvm_vcpu *vcpu, int *r);
unsigned int __kvmi_vcpu_view(struct kvm_vcpu *vcpu);
bool __kvmi_ad_disabled(struct kvm_vcpu *vcpu);
bool __kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa, u64 error_code, int *r);
gfn_t __kvmi_shown_gfn(struct kvm_vcpu *vcpu, gfn_t gfn);
void __kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type);
int __kvmi_emulation_end(struct kvm_vcpu *vcpu, int r);
bool __kvmi_emulation_watched(struct kvm_vcpu *vcpu);
bool __kvmi_emulation_wanted(struct kvm_vcpu *vcpu);
bool __kvmi_emulated_input(struct kvm_vcpu *vcpu);
unsigned int __kvmi_read_ahead(struct kvm_vcpu *vcpu, unsigned int size,
			       unsigned int count);
bool __kvmi_emulation_failed(struct kvm_vcpu *vcpu);
bool __kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   void *val, unsigned int bytes);
bool __kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			  bool system, void *val, unsigned int bytes);
bool __kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   bool system, const void **val, unsigned int bytes);
bool __kvmi_emulated_write_again(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
				 const void *val);
const void *__kvmi_expected_memory(struct kvm_vcpu *vcpu, gva_t gva, const void *read);

/*
 * Return true if the vCPU has ever been introspected.  If so,
 * KVM_REQ_RECALC_INTERCEPTS may be pending to remove intercepts, and VM exits
 * may be due to intercepts that have been removed, even if nothing is
 * introspected any more.
 */
static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_known_key.key) &&
	       READ_ONCE(vcpu->introspection);
}

/*
 * Return true if __kvmi_check_step() has to be called before VM-Enter: while
 * instructions are single-stepped or emulated, and if registers have to be
 * reported.
 */
static inline bool kvmi_has_todo(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       READ_ONCE(vcpu->arch.introspection_todo);
}

/* Return true if the run loop has to be gone through before the next instruction. */
static inline bool kvmi_needs_run_loop(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_known_key.key) &&
	       (READ_ONCE(vcpu->arch.introspection_todo) ||
		kvm_test_request(KVM_REQ_INTROSPECTION, vcpu));
}

/* Remove what can't be introspected from a vCPU's capabilities. */
static inline void kvmi_limit_caps(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_limit_caps(vcpu);
}

/* Return true if writes to CR0, CR3 or CR4 have to be intercepted. */
static inline bool kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_CR) &&
	       __kvmi_wants_cr(vcpu, cr);
}

/* Return true if writes to an MSR have to be intercepted. */
static inline bool kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_MSR) &&
	       __kvmi_wants_msr(vcpu, msr);
}

/*
 * A guest writes a control register.  The tool may change *@val, a copy of which
 * keeps the caller from having it in memory in any case.
 */
static inline enum kvmi_verdict kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
					      unsigned long *val)
{
	enum kvmi_verdict v;
	unsigned long copy;

	if (!kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_CR))
		return KVMI_ALLOW;

	copy = *val;
	v = __kvmi_cr_write(vcpu, cr, &copy);
	*val = copy;
	return v;
}

/* A guest executes WRMSR.  The tool may change *@data, as with kvmi_cr_write(). */
static inline enum kvmi_verdict kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr,
					       u64 *data)
{
	enum kvmi_verdict v;
	u64 copy;

	if (!kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_MSR))
		return KVMI_ALLOW;

	copy = *data;
	v = __kvmi_msr_write(vcpu, msr, &copy);
	*data = copy;
	return v;
}

/* A guest executes XSETBV at CPL 0. */
static inline enum kvmi_verdict kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr,
					    u64 val)
{
	if (kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_XSETBV))
		return __kvmi_xsetbv(vcpu, xcr, val);
	return KVMI_ALLOW;
}

static inline enum kvmi_verdict kvmi_cpuid(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_CPUID))
		return __kvmi_cpuid(vcpu);
	return KVMI_ALLOW;
}

/*
 * Return true if accesses to descriptor table registers have to be intercepted.
 */
static inline bool kvmi_wants_descriptor(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_DESCRIPTOR);
}

/*
 * Handle a VM exit for an access to a descriptor table register: emulate it if
 * the tool allows it.  Return false if introspection does not intercept it.
 */
static inline bool kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor,
					bool write, int *r)
{
	return kvmi_hooks_vcpu(vcpu) &&
	       __kvmi_descriptor_exit(vcpu, descriptor, write, r);
}

/* Return true if kvmi_emulated_insn() has to be called. */
static inline bool kvmi_wants_emulated_insns(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu);
}

/*
 * KVM's emulator is about to execute an instruction, and has not accessed its
 * memory operands yet.  Control registers, MSRs and XCR0 are reported when they
 * are written.
 */
static inline enum kvmi_verdict
kvmi_emulated_insn(struct kvm_vcpu *vcpu, const struct x86_instruction_info *info)
{
	return __kvmi_emulated_insn(vcpu, info);
}

/* Save the registers that RSM will load. */
static inline void kvmi_enter_smm(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_enter_smm(vcpu);
}

/* Report the registers that RSM has changed, before VM-Enter. */
static inline void kvmi_leave_smm(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_leave_smm(vcpu);
}

/*
 * Report the registers that a task switch is about to change, before VM-Enter.
 */
static inline void kvmi_task_switch(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_task_switch(vcpu);
}

/* Drop what was not reported yet of RSM or a task switch. */
static inline void kvmi_vcpu_reset(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_vcpu_reset(vcpu);
}

/*
 * Return true if a hypercall is the one of introspection, with what to return to
 * the run loop in *@r.
 */
static inline bool kvmi_hypercall(struct kvm_vcpu *vcpu, int *r)
{
	if (!kvmi_hooks_event(vcpu, KVMI_VCPU_EVENT_HYPERCALL))
		return false;

	*r = __kvmi_hypercall(vcpu);
	return *r != -ENOENT;
}

/* Return a bitmap of the vectors of exceptions to intercept. */
static inline u32 kvmi_wants_exceptions(struct kvm_vcpu *vcpu)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_wants_exceptions(vcpu);
	return 0;
}

/*
 * KVM's emulator is about to deliver #BP or #OF of an instruction.  KVMI_SKIP: the
 * instruction does nothing.  KVMI_RETRY: it is not for the emulator to execute.
 */
static inline enum kvmi_verdict
kvmi_emulated_exception(struct kvm_vcpu *vcpu, u8 vector, u8 insn_len)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_emulated_exception(vcpu, vector, insn_len);
	return KVMI_ALLOW;
}

/*
 * An exception is about to be injected.  May drop and retake the vCPU's SRCU
 * lock.  Return false to go back to the run loop with KVM_REQ_EVENT pending.
 */
static inline bool kvmi_deliver_exception(struct kvm_vcpu *vcpu)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_deliver_exception(vcpu);
}

/*
 * Return true if the vCPU has to exit after each instruction, and to hold
 * interrupts.
 */
static inline bool kvmi_single_steps(struct kvm_vcpu *vcpu)
{
	return kvmi_has_todo(vcpu) && __kvmi_single_steps(vcpu);
}

/**
 * kvmi_vcpu_prepare - check whether the instruction being stepped has completed, and
 *	process what the tool requests
 * @vcpu: the vCPU
 * @checked: set to false if an event is pending: the vCPU's state must not change
 *	before this was called again
 *
 * Context: the outer run loop, as kvmi_vcpu_service().  May drop and retake the
 * vCPU's SRCU lock.
 * Return: 1 to go on, else what KVM_RUN has to return.
 */
static inline int kvmi_vcpu_prepare(struct kvm_vcpu *vcpu, bool *checked)
{
	*checked = true;
	/* As in kvmi_vcpu_service() */
	if (static_branch_unlikely(&kvmi_known_key.key)) {
		if (READ_ONCE(vcpu->arch.introspection_todo))
			*checked = __kvmi_check_step(vcpu);
		if (kvm_test_request(KVM_REQ_INTROSPECTION, vcpu))
			return __kvmi_vcpu_service(vcpu);
	}

	return 1;
}

/*
 * Prepare to single-step the next instruction, where KVM_REQ_EVENT is handled,
 * which is pending then.  Return false if KVM has executed the instruction
 * instead.
 */
static inline bool kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r)
{
	return !kvmi_has_todo(vcpu) || __kvmi_prepare_step(vcpu, r);
}

/* Return true if there may be views that restrict pages or remap gfns. */
static inline bool kvmi_has_views(struct kvm *kvm)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       READ_ONCE(kvm->introspection_known);
}

/*
 * A TDP page fault.  Return true if the vCPU's view permits the access, with *@r
 * RET_PF_RETRY if what is accessed may have changed meanwhile.  Else *@r is what to
 * return to the run loop.
 */
static inline bool kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
				   u64 error_code, int *r)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_page_fault(vcpu, gpa, error_code, r);
}

/* Return the gfn of the page that is mapped at @gfn in the vCPU's view. */
static inline gfn_t kvmi_shown_gfn(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_shown_gfn(vcpu, gfn);
	return gfn;
}

/* KVM's emulator is about to emulate an instruction, or to continue with it. */
static inline void kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type)
{
	if (kvmi_hooks_vcpu(vcpu))
		__kvmi_emulation_begin(vcpu, emulation_type);
}

/*
 * KVM's emulator has returned @r: report an access that has ended the
 * emulation.  May drop and retake the vCPU's SRCU lock.  Return what to return
 * to the run loop.
 */
static inline int kvmi_emulation_end(struct kvm_vcpu *vcpu, int r)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_emulation_end(vcpu, r);
	return r;
}

/*
 * Return true if the instruction is emulated on request of the tool or
 * introspection.
 */
static inline bool kvmi_emulation_wanted(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu) && __kvmi_emulation_wanted(vcpu);
}

/* Return true if introspection checks each access of KVM's emulator. */
static inline bool kvmi_emulation_watched(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu) && __kvmi_emulation_watched(vcpu);
}

/* Limit the bytes that KVM's emulator accesses at once. */
static inline unsigned int kvmi_emulated_bytes(struct kvm_vcpu *vcpu,
					       unsigned int bytes)
{
	return kvmi_emulation_watched(vcpu) && bytes > KVMI_MAX_EMULATED_BYTES ?
	       KVMI_MAX_EMULATED_BYTES : bytes;
}

/*
 * KVM does not implement the instruction.  Return true if it is emulated for
 * introspection, which handles that.
 */
static inline bool kvmi_emulation_failed(struct kvm_vcpu *vcpu)
{
	return kvmi_hooks_vcpu(vcpu) && __kvmi_emulation_failed(vcpu);
}

/*
 * KVM's emulator has fetched @bytes within one page.  Replaced by what the
 * vCPU's view maps.  Return false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, void *val, unsigned int bytes)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulated_fetch(vcpu, gva, gpa, val, bytes);
}

/*
 * KVM's emulator has read @bytes within one page, at most
 * kvmi_emulated_bytes(); @system: as the processor, e.g. a descriptor, whatever
 * the CPL.  Replaced by what the vCPU's view maps, or by the
 * tool.  May drop and retake the vCPU's SRCU lock.  Return false to end the
 * emulation as intercepted.
 */
static inline bool kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva,
				      gpa_t gpa, bool system, void *val,
				      unsigned int bytes)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulated_read(vcpu, gva, gpa, system, val, bytes);
}

/*
 * An instruction is about to read from a device, which must not be done in
 * vain: check what it will write to.  Return false to end the emulation as
 * intercepted.
 */
static inline bool kvmi_emulated_input(struct kvm_vcpu *vcpu)
{
	return !kvmi_hooks_vcpu(vcpu) || __kvmi_emulated_input(vcpu);
}

/* How many iterations of INS KVM's emulator may read ahead; one that restarts loses them. */
static inline unsigned int kvmi_read_ahead(struct kvm_vcpu *vcpu, unsigned int size,
					   unsigned int count)
{
	if (kvmi_hooks_vcpu(vcpu))
		return __kvmi_read_ahead(vcpu, size, count);
	return count;
}

/**
 * kvmi_emulated_write - KVM's emulator is about to write to memory
 * @vcpu: the vCPU
 * @gva: linear address
 * @gpa: guest physical address
 * @system: the access is the processor's, e.g. to a descriptor, whatever the CPL
 * @val: the data; set to other data if the tool replaces it, and to NULL if the
 *	tool suppresses the write
 * @bytes: size of the data, within one page, at most kvmi_emulated_bytes()
 *
 * Context: may drop and retake the vCPU's SRCU lock.
 * Return: false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, bool system, const void **val,
				       unsigned int bytes)
{
	return !kvmi_emulation_watched(vcpu) ||
	       __kvmi_emulated_write(vcpu, gva, gpa, system, val, bytes);
}

/**
 * kvmi_emulated_write_again - does what kvmi_emulated_write() has said of a part of
 *	a write still hold after it was called for another part?
 * @vcpu: the vCPU, with its SRCU lock held
 * @gva: linear address
 * @gpa: guest physical address
 * @val: where the bytes are that are to be written
 *
 * Return: false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_write_again(struct kvm_vcpu *vcpu, gva_t gva,
					     gpa_t gpa, const void *val)
{
	return !kvmi_emulation_watched(vcpu) ||
	       __kvmi_emulated_write_again(vcpu, gva, gpa, val);
}

/*
 * What an atomic access expects in memory, at most 8 bytes, if the emulator has read
 * @read: the tool may have replaced that.
 */
static inline const void *kvmi_expected_memory(struct kvm_vcpu *vcpu, gva_t gva,
					       const void *read)
{
	return kvmi_emulation_watched(vcpu) ? __kvmi_expected_memory(vcpu, gva, read) : read;
}

#else /* !CONFIG_KVM_INTROSPECTION */

static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_has_todo(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_needs_run_loop(struct kvm_vcpu *vcpu) { return false; }
static inline void kvmi_limit_caps(struct kvm_vcpu *vcpu) { }
static inline bool kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr) { return false; }
static inline bool kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr) { return false; }

static inline enum kvmi_verdict kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
					      unsigned long *val)
{
	return KVMI_ALLOW;
}

static inline enum kvmi_verdict kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr,
					       u64 *data)
{
	return KVMI_ALLOW;
}

static inline enum kvmi_verdict kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr,
					    u64 val)
{
	return KVMI_ALLOW;
}

static inline enum kvmi_verdict kvmi_cpuid(struct kvm_vcpu *vcpu)
{
	return KVMI_ALLOW;
}

static inline bool kvmi_wants_descriptor(struct kvm_vcpu *vcpu) { return false; }

static inline bool kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor,
					bool write, int *r)
{
	return false;
}

static inline bool kvmi_wants_emulated_insns(struct kvm_vcpu *vcpu) { return false; }

static inline enum kvmi_verdict
kvmi_emulated_insn(struct kvm_vcpu *vcpu, const struct x86_instruction_info *info)
{
	return KVMI_ALLOW;
}

static inline void kvmi_enter_smm(struct kvm_vcpu *vcpu) { }
static inline void kvmi_leave_smm(struct kvm_vcpu *vcpu) { }
static inline void kvmi_task_switch(struct kvm_vcpu *vcpu) { }
static inline void kvmi_vcpu_reset(struct kvm_vcpu *vcpu) { }
static inline bool kvmi_hypercall(struct kvm_vcpu *vcpu, int *r) { return false; }
static inline u32 kvmi_wants_exceptions(struct kvm_vcpu *vcpu) { return 0; }
static inline bool kvmi_deliver_exception(struct kvm_vcpu *vcpu) { return true; }

static inline int kvmi_exception_exit(struct kvm_vcpu *vcpu, u8 vector,
				      bool has_error_code, u32 error_code,
				      unsigned long address)
{
	return 1;
}

static inline enum kvmi_verdict
kvmi_emulated_exception(struct kvm_vcpu *vcpu, u8 vector, u8 insn_len)
{
	return KVMI_ALLOW;
}

static inline bool kvmi_owns_breakpoints(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_single_steps(struct kvm_vcpu *vcpu) { return false; }
static inline int kvmi_single_step_exit(struct kvm_vcpu *vcpu) { return 1; }

static inline int kvmi_vcpu_prepare(struct kvm_vcpu *vcpu, bool *checked)
{
	*checked = true;
	return 1;
}

static inline bool kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r) { return true; }

static inline bool kvmi_has_views(struct kvm *kvm) { return false; }

static inline bool kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
				   u64 error_code, int *r)
{
	return true;
}

static inline gfn_t kvmi_shown_gfn(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	return gfn;
}

static inline void kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type) { }
static inline int kvmi_emulation_end(struct kvm_vcpu *vcpu, int r) { return r; }
static inline bool kvmi_emulation_watched(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_emulation_wanted(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_emulated_input(struct kvm_vcpu *vcpu) { return true; }
static inline bool kvmi_emulation_failed(struct kvm_vcpu *vcpu) { return false; }

static inline unsigned int kvmi_read_ahead(struct kvm_vcpu *vcpu, unsigned int size,
					   unsigned int count)
{
	return count;
}

static inline unsigned int kvmi_emulated_bytes(struct kvm_vcpu *vcpu,
					       unsigned int bytes)
{
	return bytes;
}

static inline bool kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, void *val, unsigned int bytes)
{
	return true;
}

static inline bool kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva,
				      gpa_t gpa, bool system, void *val,
				      unsigned int bytes)
{
	return true;
}

static inline bool kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, bool system, const void **val,
				       unsigned int bytes)
{
	return true;
}

static inline bool kvmi_emulated_write_again(struct kvm_vcpu *vcpu, gva_t gva,
					     gpa_t gpa, const void *val)
{
	return true;
}

static inline const void *kvmi_expected_memory(struct kvm_vcpu *vcpu, gva_t gva,
					       const void *read)
{
	return read;
}

#endif /* CONFIG_KVM_INTROSPECTION */

#endif /* _ASM_X86_KVMI_HOST_H */
