/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_KVMI_HOST_H
#define _ASM_X86_KVMI_HOST_H

/* KVM introspection: state of x86 vCPUs. */

#include <linux/bitops.h>
#include <linux/kvm_host.h>

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

#endif /* _ASM_X86_KVMI_HOST_H */
