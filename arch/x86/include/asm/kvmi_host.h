/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_KVMI_HOST_H
#define _ASM_X86_KVMI_HOST_H

/*
 * KVM introspection: the hooks in KVM's x86 code.
 *
 * What a tool wants to be told of is a set of wishes per vCPU.  KVM adds them
 * to its own when it recomputes intercepts, so a wish can never take away an
 * intercept that KVM or userspace needs.
 */

#include <linux/bitops.h>
#include <linux/kvm_host.h>
#include <linux/kvmi_host.h>

#include <asm/kvmi.h>

/* MSRs that hardware can intercept one by one: two ranges of this size. */
#define KVMI_NR_RANGE_MSRS	0x2000
#define KVMI_RANGE_LONGS	BITS_TO_LONGS(KVMI_NR_RANGE_MSRS)
#define KVMI_HIGH_MSRS		0xc0000000

/**
 * struct kvmi_injection - an exception a tool asked for
 * @pending: it is still to be queued
 * @reported: it, or what came instead, is to be told with a TRAP event
 * @nr: vector
 * @error_code: if the vector has one
 * @address: CR2, if the vector is that of #PF
 */
struct kvmi_injection {
	bool pending;
	bool reported;
	u8 nr;
	u32 error_code;
	u64 address;
};

/**
 * struct kvmi_context - what the guest executes an instruction with
 * @regs: general registers, RIP among them
 * @cs: code segment
 * @cr3: page tables
 * @cpl: privilege level
 * @as_id: guest address space, i.e. in SMM or not
 */
struct kvmi_context {
	struct kvm_regs regs;
	struct kvm_segment cs;
	u64 cr3;
	u8 cpl;
	u8 as_id;
};

/* Pages that an instruction can be granted access to at the same time */
#define KVMI_MAX_GRANTS		32

/**
 * struct kvmi_grant - an access that is granted while an instruction is executed
 * @gfn: guest frame number
 * @as_id: address space
 * @access: KVMI_PAGE_ACCESS_*
 * @own: it is to the guest's own page, whatever the view shows there
 */
struct kvmi_grant {
	gfn_t gfn;
	u8 as_id;
	u8 access;
	bool own;
};

/**
 * struct kvmi_grants - all that is granted to a vCPU
 * @nr: how many
 * @oldest: if there are too many, the next one takes the place of this one
 * @all: the grants
 *
 * Only the vCPU's thread uses it.
 */
struct kvmi_grants {
	u8 nr;
	u8 oldest;
	struct kvmi_grant all[KVMI_MAX_GRANTS];
};

/**
 * enum kvmi_step_insn - what RFLAGS.TF means to an instruction that is stepped
 * @KVMI_STEP_OTHER: no more than to most
 * @KVMI_STEP_LOADS_TF: it is POPF or IRET
 * @KVMI_STEP_SYSCALL: it copies TF to R11 and may clear it
 * @KVMI_STEP_SYSRET: it loads TF from R11
 * @KVMI_STEP_SHADOW: there is no trap after it, as it is MOV SS, POP SS or STI
 * @KVMI_STEP_INT: it pushes and clears TF, as do those that follow
 * @KVMI_STEP_INT3: as above
 * @KVMI_STEP_INTO: as above, with the overflow flag set
 */
enum kvmi_step_insn {
	KVMI_STEP_OTHER,
	KVMI_STEP_LOADS_TF,
	KVMI_STEP_SYSCALL,
	KVMI_STEP_SYSRET,
	KVMI_STEP_SHADOW,
	KVMI_STEP_INT,
	KVMI_STEP_INT3,
	KVMI_STEP_INTO,
};

/**
 * struct kvmi_step - the execution of single instructions
 * @allowed: one instruction is executed with accesses granted
 * @asked: the tool has granted one of them
 * @wanted: the tool wants to be told of each instruction
 * @owed: an instruction is over, and the tool is to be told
 * @failed: see struct kvmi_vcpu_event_singlestep
 * @insn: the instruction, where TF is used
 * @rip: linear address of the instruction
 * @delivers: if @allowed, the event whose delivery is executed, see
 *	event_to_deliver(); 0 if it is an instruction
 * @at: if @allowed, the context
 */
struct kvmi_step {
	bool allowed;
	bool asked;
	bool wanted;
	bool owed;
	bool failed;
	enum kvmi_step_insn insn;
	unsigned long rip;
	u64 delivers;
	struct kvmi_context at;
};

/**
 * enum kvmi_emulation_mode - what applies to accesses of KVM's emulator
 * @KVMI_EMULATE_FREELY: nothing, or no instruction is being emulated
 * @KVMI_EMULATE_ASKED: the vCPU's view; one that it forbids ends the emulation, and
 *	the tool is asked about it.  So it is with all that KVM emulates for reasons
 *	of its own
 * @KVMI_EMULATE_CHECKED: the vCPU's view; one that it forbids ends the emulation
 * @KVMI_EMULATE_TRACED: the tool is told of those that the vCPU's view forbids
 * @KVMI_EMULATE_ALLOWED: nothing, the tool has allowed the instruction
 */
enum kvmi_emulation_mode {
	KVMI_EMULATE_FREELY,
	KVMI_EMULATE_ASKED,
	KVMI_EMULATE_CHECKED,
	KVMI_EMULATE_TRACED,
	KVMI_EMULATE_ALLOWED,
};

/* Bytes of an access that are looked at together */
#define KVMI_MAX_EMULATED_BYTES	32

/**
 * struct kvmi_emulation - an instruction that introspection has KVM emulate
 * @mode: what applies to its accesses
 * @failed: the emulator does not know the instruction, which had no effect
 * @refused: it was ended by the access below
 * @access: KVMI_PAGE_ACCESS_R, KVMI_PAGE_ACCESS_W or KVMI_PAGE_ACCESS_X
 * @gva: linear address of that access
 * @gpa: its guest physical address
 * @data: what is written in place of what the instruction wants to write, in each
 *	of the two pages that a write can be to
 *
 * Only the vCPU's thread uses it.
 */
struct kvmi_emulation {
	enum kvmi_emulation_mode mode;
	bool failed;
	bool refused;
	u8 access;
	gva_t gva;
	gpa_t gpa;
	u8 data[2][KVMI_MAX_EMULATED_BYTES];
};

/**
 * struct kvmi_last_walk - the last page walk for which a flag was to be set
 * @entry: guest physical address of the entry in the guest's page tables
 * @rip: linear address of the instruction
 * @exits: how many VM exits there had been
 */
struct kvmi_last_walk {
	gpa_t entry;
	unsigned long rip;
	u64 exits;
};

/**
 * struct kvmi_descriptor_access - an access to a descriptor table register
 * @descriptor: KVMI_DESC_*, or 0 for none
 * @write: it is loaded, not stored
 */
struct kvmi_descriptor_access {
	u8 descriptor;
	bool write;
};

/**
 * struct kvmi_saved_registers - registers as they were before they may have changed
 * @session: the session then, by its number in struct
 *	kvm_vcpu_introspection.nr_sessions; 0: there are none
 * @cr0: CR0
 * @cr3: CR3
 * @cr4: CR4
 * @efer: EFER
 * @gdt: GDTR
 * @idt: IDTR
 * @ldt: LDTR
 * @tr: TR
 */
struct kvmi_saved_registers {
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

/**
 * struct kvmi_arch_vcpu - what a tool wants to be told of on an x86 vCPU
 * @crs: bit n: writes to CRn
 * @same_crs: bit n: also if CRn has the value already
 * @msrs: writes to the MSRs from 0, and from KVMI_HIGH_MSRS
 * @same_msrs: also if they have the value already
 * @injection: the exception it asked for
 * @view: the view of guest memory
 * @ad_disabled: bit n: view n forbids page walks of the vCPU, and has no accessed
 *	and dirty flags in its page tables for fewer of them to be forbidden
 * @last_walk: the last page walk that was completed for the processor; only the
 *	vCPU's thread uses it
 * @step: the execution of single instructions
 * @grants: accesses that the instruction being executed may make
 * @emulation: the instruction that introspection has KVM emulate
 * @not_emulated: the tool answered a PF event with SKIP or KVMI_PF_TRAP_ACCESS, and
 *	KVM does not know the instruction
 * @not_emulated_at: linear address of that instruction
 * @asked: the session that is asked about an access, by its number in struct
 *	kvm_vcpu_introspection.nr_sessions; only the vCPU's thread uses it
 * @allowed: what the tool has allowed already of the instruction that KVM is
 *	emulating; only the vCPU's thread uses it
 * @before: what RSM or a task switch, that is to be reported, began with; only the
 *	vCPU's thread uses it
 * @before_smi: what the guest had when it entered SMM; only the vCPU's thread uses it
 *
 * Changed on the vCPU's thread, and cleared by unhooking on any, with the vCPU's
 * lock held unless a command or an event is being handled, which unhooking waits
 * for.  Read without a lock: whoever reads too early is made to recompute by
 * KVM_REQ_RECALC_INTERCEPTS, and by KVM_REQ_MMU_UPDATE_VIEW what comes of @view,
 * @ad_disabled and @step, see kvmi_update_view().
 */
struct kvmi_arch_vcpu {
	unsigned long crs;
	unsigned long same_crs;
	unsigned long msrs[2][KVMI_RANGE_LONGS];
	unsigned long same_msrs[2][KVMI_RANGE_LONGS];
	struct kvmi_injection injection;
	u8 view;
	u8 ad_disabled;
	struct kvmi_last_walk last_walk;
	struct kvmi_step step;
	struct kvmi_grants grants;
	struct kvmi_emulation emulation;
	bool not_emulated;
	unsigned long not_emulated_at;
	unsigned int asked;
	struct kvmi_descriptor_access allowed;
	struct kvmi_saved_registers before;
	struct kvmi_saved_registers before_smi;
};

/**
 * enum kvmi_verdict - what to do with an instruction a tool was asked about
 * @KVMI_ALLOW: go on
 * @KVMI_SKIP: move RIP past the instruction as if it had been executed
 * @KVMI_RETRY: return to the run loop, which knows whether the instruction is
 *	to run again, or KVM_RUN has to return first
 */
enum kvmi_verdict {
	KVMI_ALLOW,
	KVMI_SKIP,
	KVMI_RETRY,
};

/* What the MMU asks, see mmu/view.h. */
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
bool __kvmi_wants_descriptor(struct kvm_vcpu *vcpu);
bool __kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor, bool write,
			    int *r);
enum kvmi_verdict __kvmi_emulated_insn(struct kvm_vcpu *vcpu,
				       const struct x86_instruction_info *info);
void __kvmi_enter_smm(struct kvm_vcpu *vcpu);
void __kvmi_leave_smm(struct kvm_vcpu *vcpu);
void __kvmi_task_switch(struct kvm_vcpu *vcpu);
void __kvmi_vcpu_reset(struct kvm_vcpu *vcpu);
bool __kvmi_hypercall(struct kvm_vcpu *vcpu, int *r);
u32 __kvmi_wants_exceptions(struct kvm_vcpu *vcpu);
bool __kvmi_deliver_exception(struct kvm_vcpu *vcpu);
int kvmi_exception_exit(struct kvm_vcpu *vcpu, u8 vector, bool has_error_code,
			u32 error_code, unsigned long address);
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
bool __kvmi_emulation_failed(struct kvm_vcpu *vcpu);
bool __kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   void *val, unsigned int bytes);
bool __kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			  void *val, unsigned int bytes);
bool __kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   const void **val, unsigned int bytes);

/**
 * kvmi_vcpu_known - has the vCPU ever been introspected?
 * @vcpu: the vCPU
 *
 * If so KVM_REQ_RECALC_INTERCEPTS may be there to take an intercept back, and a VM
 * exit be due to one that has been taken back, even when nobody is introspecting any
 * more.
 */
static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_known_key.key) &&
	       READ_ONCE(vcpu->introspection);
}

/**
 * kvmi_has_todo - is there anything to look at before the vCPU enters the guest?
 * @vcpu: the vCPU
 *
 * So it is while instructions are stepped or emulated, and when the vCPU is to change
 * its view or registers are to be reported.
 */
static inline bool kvmi_has_todo(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       READ_ONCE(vcpu->arch.introspection_todo);
}

/**
 * kvmi_limit_caps - take what cannot be introspected from a vCPU's capabilities
 * @vcpu: the vCPU, whose capabilities have just been set
 */
static inline void kvmi_limit_caps(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_limit_caps(vcpu);
}

/**
 * kvmi_wants_cr - must writes to a control register cause VM exits?
 * @vcpu: the vCPU
 * @cr: 0, 3 or 4
 */
static inline bool kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr)
{
	return static_branch_unlikely(&kvmi_key.key) && __kvmi_wants_cr(vcpu, cr);
}

/**
 * kvmi_wants_msr - must writes to an MSR cause VM exits?
 * @vcpu: the vCPU
 * @msr: index of the MSR
 */
static inline bool kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	return static_branch_unlikely(&kvmi_key.key) && __kvmi_wants_msr(vcpu, msr);
}

/**
 * kvmi_cr_write - ask about a guest's write to a control register
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @cr: number of the register
 * @val: the value written; changed if the tool wants another
 */
static inline enum kvmi_verdict kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
					      unsigned long *val)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_cr_write(vcpu, cr, val);
	return KVMI_ALLOW;
}

/**
 * kvmi_msr_write - ask about a guest's WRMSR
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @msr: index of the MSR
 * @data: the value written; changed if the tool wants another
 */
static inline enum kvmi_verdict kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr,
					       u64 *data)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_msr_write(vcpu, msr, data);
	return KVMI_ALLOW;
}

/**
 * kvmi_xsetbv - ask about a guest's XSETBV at CPL 0
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @xcr: index of the register
 * @val: the value written
 */
static inline enum kvmi_verdict kvmi_xsetbv(struct kvm_vcpu *vcpu, u32 xcr,
					    u64 val)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_xsetbv(vcpu, xcr, val);
	return KVMI_ALLOW;
}

/**
 * kvmi_cpuid - ask about a guest's CPUID
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 */
static inline enum kvmi_verdict kvmi_cpuid(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_cpuid(vcpu);
	return KVMI_ALLOW;
}

/**
 * kvmi_wants_descriptor - must accesses to the descriptor table registers cause
 *	VM exits?
 * @vcpu: the vCPU
 */
static inline bool kvmi_wants_descriptor(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) && __kvmi_wants_descriptor(vcpu);
}

/**
 * kvmi_descriptor_exit - ask about an access to a descriptor table register that has
 *	caused a VM exit, and emulate it if it is allowed
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @descriptor: KVMI_DESC_*
 * @write: it is loaded, not stored
 * @r: if true is returned, what to return to the run loop
 *
 * Return: false if it is not the tool's concern.
 */
static inline bool kvmi_descriptor_exit(struct kvm_vcpu *vcpu, u8 descriptor,
					bool write, int *r)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       __kvmi_descriptor_exit(vcpu, descriptor, write, r);
}

/**
 * kvmi_wants_emulated_insns - is KVM's emulator to ask about instructions?
 * @vcpu: the vCPU
 */
static inline bool kvmi_wants_emulated_insns(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) && kvmi_vcpu_known(vcpu);
}

/**
 * kvmi_emulated_insn - ask about an instruction that KVM's emulator is about to
 *	execute, if kvmi_wants_emulated_insns()
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @info: the instruction, none of whose memory operands has been accessed yet
 *
 * Control registers, MSRs and XCR0 are asked about when they are written.
 */
static inline enum kvmi_verdict
kvmi_emulated_insn(struct kvm_vcpu *vcpu, const struct x86_instruction_info *info)
{
	return __kvmi_emulated_insn(vcpu, info);
}

/**
 * kvmi_enter_smm - remember the registers that RSM will load
 * @vcpu: the vCPU, about to enter SMM
 */
static inline void kvmi_enter_smm(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_enter_smm(vcpu);
}

/**
 * kvmi_leave_smm - have the registers that RSM has loaded looked at
 * @vcpu: the vCPU
 */
static inline void kvmi_leave_smm(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_leave_smm(vcpu);
}

/**
 * kvmi_task_switch - have the registers that a task switch loads looked at
 * @vcpu: the vCPU, about to switch tasks
 */
static inline void kvmi_task_switch(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_task_switch(vcpu);
}

/**
 * kvmi_vcpu_reset - forget what has not been reported of RSM or a task switch
 * @vcpu: the vCPU
 */
static inline void kvmi_vcpu_reset(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_vcpu_reset(vcpu);
}

/**
 * kvmi_hypercall - is a hypercall for the tool?
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @r: if so, what to return to the run loop
 */
static inline bool kvmi_hypercall(struct kvm_vcpu *vcpu, int *r)
{
	return static_branch_unlikely(&kvmi_key.key) && __kvmi_hypercall(vcpu, r);
}

/**
 * kvmi_wants_exceptions - which exceptions must cause VM exits?
 * @vcpu: the vCPU
 *
 * Return: bit n: those with vector n.
 */
static inline u32 kvmi_wants_exceptions(struct kvm_vcpu *vcpu)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_wants_exceptions(vcpu);
	return 0;
}

/**
 * kvmi_deliver_exception - ask about an exception before it is injected
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 *
 * Return: false to go back to the run loop with KVM_REQ_EVENT pending.
 */
static inline bool kvmi_deliver_exception(struct kvm_vcpu *vcpu)
{
	return !static_branch_unlikely(&kvmi_key.key) ||
	       __kvmi_deliver_exception(vcpu);
}

/**
 * kvmi_single_steps - must the vCPU exit after each instruction, and interrupts
 *	wait?
 * @vcpu: the vCPU
 */
static inline bool kvmi_single_steps(struct kvm_vcpu *vcpu)
{
	return kvmi_has_todo(vcpu) && __kvmi_single_steps(vcpu);
}

/**
 * kvmi_check_step - see whether the instruction a vCPU was to execute is over
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 *
 * To be called in the outer run loop, before kvmi_vcpu_service().
 *
 * Return: false if the tool has to be asked first: nothing may happen to the vCPU
 * before this has been called again.
 */
static inline bool kvmi_check_step(struct kvm_vcpu *vcpu)
{
	return !kvmi_has_todo(vcpu) || __kvmi_check_step(vcpu);
}

/**
 * kvmi_prepare_step - have the next instruction stepped
 * @vcpu: the vCPU, about to enter the guest, with its SRCU lock held; it may be
 *	dropped and retaken
 * @r: if false is returned, what to return to the run loop
 *
 * Return: false if KVM has executed it in place of the guest.
 */
static inline bool kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r)
{
	return !kvmi_has_todo(vcpu) || __kvmi_prepare_step(vcpu, r);
}

/**
 * kvmi_has_views - may there be views in which anything is restricted or changed?
 */
static inline bool kvmi_has_views(void)
{
	return static_branch_unlikely(&kvmi_key.key);
}

/**
 * kvmi_page_fault - ask about an access that the page tables of the host refused
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @gpa: guest physical address
 * @error_code: PFERR_*
 * @r: if false is returned, what to return to the run loop
 *
 * Return: true if the access is not the tool's concern.
 */
static inline bool kvmi_page_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
				   u64 error_code, int *r)
{
	return !static_branch_unlikely(&kvmi_key.key) ||
	       __kvmi_page_fault(vcpu, gpa, error_code, r);
}

/**
 * kvmi_shown_gfn - which page does a vCPU see at an address?
 * @vcpu: the vCPU, with its SRCU lock held
 * @gfn: guest frame number of the address
 */
static inline gfn_t kvmi_shown_gfn(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_shown_gfn(vcpu, gfn);
	return gfn;
}

/**
 * kvmi_emulation_begin - KVM's emulator is about to emulate an instruction, or to
 *	go on with it
 * @vcpu: the vCPU
 * @emulation_type: EMULTYPE_*
 */
static inline void kvmi_emulation_begin(struct kvm_vcpu *vcpu, int emulation_type)
{
	if (static_branch_unlikely(&kvmi_key.key))
		__kvmi_emulation_begin(vcpu, emulation_type);
}

/**
 * kvmi_emulation_end - ask about an access that has ended the emulation
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @r: what the emulator wants to return to the run loop
 *
 * Return: what to return to the run loop.
 */
static inline int kvmi_emulation_end(struct kvm_vcpu *vcpu, int r)
{
	if (static_branch_unlikely(&kvmi_key.key))
		return __kvmi_emulation_end(vcpu, r);
	return r;
}

/**
 * kvmi_emulation_wanted - does KVM's emulator do what the tool or introspection has
 *	asked for?
 * @vcpu: the vCPU
 */
static inline bool kvmi_emulation_wanted(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       __kvmi_emulation_wanted(vcpu);
}

/**
 * kvmi_emulation_watched - does introspection look at each access of KVM's
 *	emulator?
 * @vcpu: the vCPU
 */
static inline bool kvmi_emulation_watched(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) &&
	       __kvmi_emulation_watched(vcpu);
}

/**
 * kvmi_emulated_bytes - how much may KVM's emulator access at once?
 * @vcpu: the vCPU
 * @bytes: what it would otherwise
 */
static inline unsigned int kvmi_emulated_bytes(struct kvm_vcpu *vcpu,
					       unsigned int bytes)
{
	return kvmi_emulation_watched(vcpu) && bytes > KVMI_MAX_EMULATED_BYTES ?
	       KVMI_MAX_EMULATED_BYTES : bytes;
}

/**
 * kvmi_emulation_failed - tell that KVM cannot emulate an instruction
 * @vcpu: the vCPU
 *
 * Return: true if introspection wanted it emulated, and knows what else to do.
 */
static inline bool kvmi_emulation_failed(struct kvm_vcpu *vcpu)
{
	return static_branch_unlikely(&kvmi_key.key) && __kvmi_emulation_failed(vcpu);
}

/**
 * kvmi_emulated_fetch - ask about a fetch of KVM's emulator
 * @vcpu: the vCPU, with its SRCU lock held
 * @gva: linear address
 * @gpa: guest physical address
 * @val: the bytes fetched; changed if the vCPU sees others
 * @bytes: number of them, in one page
 *
 * Return: false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, void *val, unsigned int bytes)
{
	return !static_branch_unlikely(&kvmi_key.key) ||
	       __kvmi_emulated_fetch(vcpu, gva, gpa, val, bytes);
}

/**
 * kvmi_emulated_read - ask about what KVM's emulator has read
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @gva: linear address
 * @gpa: guest physical address
 * @val: the bytes read; changed if the instruction is to see others
 * @bytes: number of them, in one page, at most kvmi_emulated_bytes()
 *
 * Return: false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva,
				      gpa_t gpa, void *val, unsigned int bytes)
{
	return !static_branch_unlikely(&kvmi_key.key) ||
	       __kvmi_emulated_read(vcpu, gva, gpa, val, bytes);
}

/**
 * kvmi_emulated_input - ask about what an instruction that KVM emulates will write
 *	when it has read from a device, which it is about to
 * @vcpu: the vCPU, with its SRCU lock held
 *
 * A device must not be read in vain.
 *
 * Return: false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_input(struct kvm_vcpu *vcpu)
{
	return !static_branch_unlikely(&kvmi_key.key) ||
	       __kvmi_emulated_input(vcpu);
}

/**
 * kvmi_emulated_write - ask about what KVM's emulator is about to write
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @gva: linear address
 * @gpa: guest physical address
 * @val: where the bytes are; changed to where others are if those are to be
 *	written, and to NULL if nothing is to be
 * @bytes: number of them, in one page, at most kvmi_emulated_bytes()
 *
 * Return: false to end the emulation as intercepted.
 */
static inline bool kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, const void **val,
				       unsigned int bytes)
{
	return !kvmi_emulation_watched(vcpu) ||
	       __kvmi_emulated_write(vcpu, gva, gpa, val, bytes);
}

#else /* !CONFIG_KVM_INTROSPECTION */

static inline bool kvmi_vcpu_known(struct kvm_vcpu *vcpu) { return false; }
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

static inline bool kvmi_owns_breakpoints(struct kvm_vcpu *vcpu) { return false; }
static inline bool kvmi_single_steps(struct kvm_vcpu *vcpu) { return false; }
static inline int kvmi_single_step_exit(struct kvm_vcpu *vcpu) { return 1; }
static inline bool kvmi_check_step(struct kvm_vcpu *vcpu) { return true; }
static inline bool kvmi_prepare_step(struct kvm_vcpu *vcpu, int *r) { return true; }

static inline bool kvmi_has_views(void) { return false; }

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
				      gpa_t gpa, void *val, unsigned int bytes)
{
	return true;
}

static inline bool kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva,
				       gpa_t gpa, const void **val,
				       unsigned int bytes)
{
	return true;
}

#endif /* CONFIG_KVM_INTROSPECTION */

#endif /* _ASM_X86_KVMI_HOST_H */
