/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_ASM_X86_KVMI_H
#define _UAPI_ASM_X86_KVMI_H

/*
 * KVM introspection: the x86 part of the messages in <linux/kvmi.h>.
 */

#include <linux/types.h>
#include <asm/kvm.h>

/**
 * struct kvmi_features - abilities of the host, in KVMI_GET_VERSION's reply
 * @singlestep: 1 if KVMI_VCPU_CONTROL_SINGLESTEP works
 * @padding: zero
 */
struct kvmi_features {
	__u8 singlestep;
	__u8 padding[7];
};

/* kvmi_vcpu_event_arch.mode: bytes of the default operand and address size */
#define KVMI_X86_MODE_16 2
#define KVMI_X86_MODE_32 4
#define KVMI_X86_MODE_64 8

/**
 * struct kvmi_vcpu_event_arch - state of an x86 vCPU, with every event
 * @mode: KVMI_X86_MODE_*
 * @as_id: address space that the vCPU is in, 1 in SMM where that has its own
 * @view: view of guest memory that the vCPU is in
 * @padding: zero
 * @regs: general registers, RIP and RFLAGS
 * @sregs: segments, descriptor tables, control registers, EFER, APIC base
 * @msrs: MSRs most tools want with every event
 * @msrs.sysenter_cs: IA32_SYSENTER_CS
 * @msrs.sysenter_esp: IA32_SYSENTER_ESP
 * @msrs.sysenter_eip: IA32_SYSENTER_EIP
 * @msrs.efer: IA32_EFER
 * @msrs.star: IA32_STAR
 * @msrs.lstar: IA32_LSTAR
 * @msrs.cstar: IA32_CSTAR
 * @msrs.pat: IA32_PAT
 * @msrs.shadow_gs: IA32_KERNEL_GS_BASE
 */
struct kvmi_vcpu_event_arch {
	__u8 mode;
	__u8 as_id;
	__u16 view;
	__u8 padding[4];
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct {
		__u64 sysenter_cs;
		__u64 sysenter_esp;
		__u64 sysenter_eip;
		__u64 efer;
		__u64 star;
		__u64 lstar;
		__u64 cstar;
		__u64 pat;
		__u64 shadow_gs;
	} msrs;
};

/**
 * struct kvmi_vcpu_get_info_reply - reply data of KVMI_VCPU_GET_INFO
 * @tsc_speed: TSC frequency of the guest in Hz; 0 without TSC scaling
 */
struct kvmi_vcpu_get_info_reply {
	__u64 tsc_speed;
};

/**
 * struct kvmi_vcpu_get_registers - request of KVMI_VCPU_GET_REGISTERS
 * @nmsrs: number of entries of @msrs_idx
 * @padding1: zero
 * @padding2: zero
 * @msrs_idx: indices of the MSRs wanted
 *
 * Errors: -KVM_EINVAL padding, a list longer than the message or than what
 * fits in the reply, an MSR that does not exist.
 */
struct kvmi_vcpu_get_registers {
	__u16 nmsrs;
	__u16 padding1;
	__u32 padding2;
	__u32 msrs_idx[];
};

/**
 * struct kvmi_vcpu_get_registers_reply - reply data of KVMI_VCPU_GET_REGISTERS
 * @mode: KVMI_X86_MODE_*
 * @padding: zero
 * @regs: general registers, RIP and RFLAGS
 * @sregs: segments, descriptor tables, control registers, EFER, APIC base
 * @msrs: the MSRs asked for, in the order of the request; their entries follow
 */
struct kvmi_vcpu_get_registers_reply {
	__u32 mode;
	__u32 padding;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_msrs msrs;
};

/*
 * The request of KVMI_VCPU_SET_REGISTERS is a struct kvm_regs.
 *
 * Errors: -KVM_EOPNOTSUPP no event is open on the vCPU; -KVM_EINVAL short, or RFLAGS
 * or RIP are such that hardware does not enter the guest; -KVM_EBUSY RFLAGS.IF is
 * clear while an interrupt is delivered.
 */

/*
 * flags of KVMI_VCPU_CONTROL_CR and KVMI_VCPU_CONTROL_MSR: report a write also if the
 * register has the value already.  Of a CR this works with CR3 only.
 */
#define KVMI_CONTROL_SAME_VALUE _BITUL(0)

/**
 * struct kvmi_vcpu_debugregs - request of KVMI_VCPU_SET_DEBUGREGS and reply data of
 *	KVMI_VCPU_GET_DEBUGREGS
 * @dr: DR0 to DR3
 * @dr6: DR6
 * @dr7: DR7
 *
 * What the guest reads with MOV, and as if it wrote it.  Reserved bits of @dr6 and
 * @dr7 become what the processor has there.
 *
 * Errors: -KVM_EINVAL short, or one of bits 63 to 32 of @dr6 or @dr7 is set.
 */
struct kvmi_vcpu_debugregs {
	__u64 dr[4];
	__u64 dr6;
	__u64 dr7;
};

/**
 * struct kvmi_vcpu_control_cr - request of KVMI_VCPU_CONTROL_CR
 * @cr: 0, 3 or 4
 * @enable: 0 or 1
 * @flags: KVMI_CONTROL_SAME_VALUE, with @enable only
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding, @enable, @cr or @flags; -KVM_EOPNOTSUPP
 * KVMI_CONTROL_SAME_VALUE for another register than CR3.
 */
struct kvmi_vcpu_control_cr {
	__u8 cr;
	__u8 enable;
	__u8 flags;
	__u8 padding1;
	__u32 padding2;
};

/*
 * flags of KVMI_VCPU_EVENT_CR, KVMI_VCPU_EVENT_MSR and KVMI_VCPU_EVENT_DESCRIPTOR: the
 * register has its new value already, as RSM or a task switch has loaded it.  RETRY
 * is not accepted, SKIP puts the old value back.
 */
#define KVMI_CHANGE_DONE _BITUL(0)

/**
 * struct kvmi_vcpu_event_cr - data of KVMI_VCPU_EVENT_CR
 * @cr: 0, 3 or 4
 * @flags: KVMI_CHANGE_DONE
 * @padding: zero
 * @old_value: value of the register
 * @new_value: value the guest writes; of CR3, without the bit that keeps TLB
 *	entries
 */
struct kvmi_vcpu_event_cr {
	__u8 cr;
	__u8 flags;
	__u8 padding[6];
	__u64 old_value;
	__u64 new_value;
};

/**
 * struct kvmi_vcpu_event_cr_reply - optional reply data of KVMI_VCPU_EVENT_CR
 * @new_val: with ALLOW, the value to write instead of the guest's.  Without
 *	reply data the guest's value is written.
 */
struct kvmi_vcpu_event_cr_reply {
	__u64 new_val;
};

/**
 * struct kvmi_vcpu_get_control_reply - reply data of KVMI_VCPU_GET_CONTROL
 * @events: events of the vCPU that are on, bit n: enum kvmi_vcpu_event_id n
 * @crs: control registers that KVMI_VCPU_CONTROL_CR has chosen, bit n: CRn
 * @same_crs: those of @crs with KVMI_CONTROL_SAME_VALUE
 * @singlestep: 1 if KVMI_VCPU_CONTROL_SINGLESTEP is on
 * @padding: zero
 * @msrs: MSRs that KVMI_VCPU_CONTROL_MSR has chosen: bit n of the first 128 words is
 *	MSR n, bit n of the others MSR 0xc0000000 + n
 * @same_msrs: those of @msrs with KVMI_CONTROL_SAME_VALUE
 */
struct kvmi_vcpu_get_control_reply {
	__u64 events;
	__u32 crs;
	__u32 same_crs;
	__u8 singlestep;
	__u8 padding[7];
	__u64 msrs[256];
	__u64 same_msrs[256];
};

/**
 * struct kvmi_vcpu_control_msr - request of KVMI_VCPU_CONTROL_MSR
 * @enable: 0 or 1
 * @flags: KVMI_CONTROL_SAME_VALUE, with @enable only
 * @padding: zero
 * @msr: 0 to 0x1fff or 0xc0000000 to 0xc0001fff
 *
 * Errors: -KVM_EINVAL padding, @enable, @flags or @msr, and for @enable an MSR that
 * cannot be read; -KVM_EPERM userspace's MSR filter denies the guest that write, it
 * is not for the tool to see; -KVM_EOPNOTSUPP an MSR whose writes cannot be intercepted
 * at all times.
 */
struct kvmi_vcpu_control_msr {
	__u8 enable;
	__u8 flags;
	__u16 padding;
	__u32 msr;
};

/**
 * struct kvmi_vcpu_event_msr - data of KVMI_VCPU_EVENT_MSR
 * @msr: index of the MSR
 * @flags: KVMI_CHANGE_DONE
 * @padding: zero
 * @old_value: value of the MSR
 * @new_value: value the guest writes
 */
struct kvmi_vcpu_event_msr {
	__u32 msr;
	__u8 flags;
	__u8 padding[3];
	__u64 old_value;
	__u64 new_value;
};

/**
 * struct kvmi_vcpu_event_msr_reply - optional reply data of KVMI_VCPU_EVENT_MSR
 * @new_val: as in struct kvmi_vcpu_event_cr_reply
 */
struct kvmi_vcpu_event_msr_reply {
	__u64 new_val;
};

/**
 * struct kvmi_vcpu_get_cpuid - request of KVMI_VCPU_GET_CPUID
 * @function: EAX of the CPUID
 * @index: ECX of the CPUID
 *
 * The answer is what the guest would get now, e.g. with the bits that follow CR4.
 * @index is not looked at where the leaf has no subleaves.
 *
 * Errors: -KVM_ENOENT the guest has no such leaf or subleaf.
 */
struct kvmi_vcpu_get_cpuid {
	__u32 function;
	__u32 index;
};

/**
 * struct kvmi_vcpu_get_cpuid_reply - reply data of KVMI_VCPU_GET_CPUID
 * @eax: EAX after the CPUID
 * @ebx: EBX after the CPUID
 * @ecx: ECX after the CPUID
 * @edx: EDX after the CPUID
 */
struct kvmi_vcpu_get_cpuid_reply {
	__u32 eax;
	__u32 ebx;
	__u32 ecx;
	__u32 edx;
};

/**
 * struct kvmi_vcpu_inject_exception - request of KVMI_VCPU_INJECT_EXCEPTION
 * @nr: vector, 0 to 31 but not that of the NMI
 * @padding1: zero
 * @padding2: zero
 * @error_code: for the vectors that have one
 * @address: for #PF, what CR2 is to be
 *
 * The exception is delivered before the guest executes another instruction,
 * after a TRAP event that tells so.  If another exception is about to be
 * delivered the request is dropped, and the TRAP event is about that one.
 *
 * Errors: -KVM_EPERM the TRAP event is not allowed; -KVM_EINVAL padding or @nr;
 * -KVM_EBUSY the TRAP event of an earlier request has not been sent yet,
 * KVMI_VCPU_CONTROL_SINGLESTEP is on, the delivery of an interrupt or NMI has
 * begun, or KVM emulates the guest in protected mode and can't deliver.
 */
struct kvmi_vcpu_inject_exception {
	__u8 nr;
	__u8 padding1;
	__u16 padding2;
	__u32 error_code;
	__u64 address;
};

/* kvmi_vcpu_event_trap.flags */
#define KVMI_TRAP_RETRY (1 << 0)

/**
 * struct kvmi_vcpu_event_trap - data of KVMI_VCPU_EVENT_TRAP
 * @nr: vector of the exception
 * @flags: KVMI_TRAP_RETRY: a fault; RETRY drops it and runs the instruction
 *	again
 * @padding: zero
 * @error_code: 0 if the exception has none
 * @address: #PF: the faulting linear address, CR2 when it is delivered; #DB:
 *	what is about to be added to DR6, with the meaning of the bits of the
 *	VMCS's pending debug exceptions; else 0
 */
struct kvmi_vcpu_event_trap {
	__u8 nr;
	__u8 flags;
	__u16 padding;
	__u32 error_code;
	__u64 address;
};

/**
 * struct kvmi_vcpu_get_xcr - request of KVMI_VCPU_GET_XCR
 * @xcr: 0
 * @padding: zero
 *
 * Errors: -KVM_EINVAL padding or @xcr.
 */
struct kvmi_vcpu_get_xcr {
	__u8 xcr;
	__u8 padding[7];
};

/**
 * struct kvmi_vcpu_get_xcr_reply - reply data of KVMI_VCPU_GET_XCR
 * @value: value of the register
 */
struct kvmi_vcpu_get_xcr_reply {
	__u64 value;
};

/*
 * The reply data of KVMI_VCPU_GET_XSAVE and the request of KVMI_VCPU_SET_XSAVE
 * are this many bytes in the format of struct kvm_xsave, i.e. XSAVE's without
 * compaction.  Components that lie beyond, wholly or in part, are left out, and
 * left alone.  Others whose bit in XSTATE_BV is 0 get their initial values, but
 * PKRU is left alone.
 *
 * Errors: -KVM_ENOMEM; of the latter also -KVM_EINVAL short, or a state the
 * guest cannot have.  Nothing is changed then.
 */
#define KVMI_XSAVE_SIZE 4096

/**
 * struct kvmi_vcpu_get_xsave2 - request of KVMI_VCPU_GET_XSAVE2
 * @offset: first byte wanted
 * @size: number of bytes wanted, 1 to 8168; fewer are sent if the state ends
 *	before
 *
 * Errors: -KVM_EINVAL @size, or @offset is not before the end; -KVM_ENOMEM.
 */
struct kvmi_vcpu_get_xsave2 {
	__u32 offset;
	__u32 size;
};

/**
 * struct kvmi_vcpu_get_xsave2_reply - reply data of KVMI_VCPU_GET_XSAVE2
 * @total: bytes of the whole state, in the format of struct kvm_xsave
 * @padding: zero
 * @data: the bytes wanted
 */
struct kvmi_vcpu_get_xsave2_reply {
	__u32 total;
	__u32 padding;
	__u8 data[];
};

/**
 * struct kvmi_vcpu_set_xsave2 - request of KVMI_VCPU_SET_XSAVE2
 * @offset: first byte to be changed
 * @padding: zero
 * @data: what to put there, up to the end of the message
 *
 * A state that does not fit in one message is set in parts; each has to leave a
 * state that is valid.
 *
 * Errors: -KVM_EINVAL padding, no data, a part beyond the end, or a state the
 * guest cannot have; -KVM_ENOMEM.
 */
struct kvmi_vcpu_set_xsave2 {
	__u32 offset;
	__u32 padding;
	__u8 data[];
};

/**
 * struct kvmi_vcpu_get_mtrr_type - request of KVMI_VCPU_GET_MTRR_TYPE
 * @gpa: guest physical address
 */
struct kvmi_vcpu_get_mtrr_type {
	__u64 gpa;
};

/**
 * struct kvmi_vcpu_get_mtrr_type_reply - reply data of KVMI_VCPU_GET_MTRR_TYPE
 * @type: memory type as encoded in the MTRRs: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB
 * @padding: zero
 *
 * Where variable ranges overlap in a way that is undefined it is UC.  A guest
 * that has no MTRRs has WB everywhere, one that has not turned them on UC.
 */
struct kvmi_vcpu_get_mtrr_type_reply {
	__u8 type;
	__u8 padding[7];
};

/**
 * struct kvmi_vcpu_translate_gva - request of KVMI_VCPU_TRANSLATE_GVA
 * @gva: guest virtual (linear) address
 *
 * The page tables in use are walked as for a supervisor's read, whatever the
 * guest is doing.  As with a read of the guest, accessed bits are set in them.
 * There need not be memory at the address they lead to.
 */
struct kvmi_vcpu_translate_gva {
	__u64 gva;
};

/**
 * struct kvmi_vcpu_translate_gva_reply - reply data of KVMI_VCPU_TRANSLATE_GVA
 * @gpa: guest physical address; ~0 if it is not mapped, or @gva is not an address
 *	in the mode of paging in use.  SMAP does not matter.
 */
struct kvmi_vcpu_translate_gva_reply {
	__u64 gpa;
};

/*
 * KVMI_VCPU_EVENT_HYPERCALL has no data.  The guest asks for it, at any CPL, with
 * RAX = KVM_HC_XEN_HVM_OP and in 64-bit mode RDI, else EBX, =
 * KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT and RSI, else ECX, = 0.
 */
#define KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT 24

/**
 * struct kvmi_vcpu_event_breakpoint - data of KVMI_VCPU_EVENT_BREAKPOINT
 * @gpa: guest physical address of the instruction; ~0 if it is not mapped
 * @insn_len: length of the instruction in bytes
 * @padding: zero
 */
struct kvmi_vcpu_event_breakpoint {
	__u64 gpa;
	__u8 insn_len;
	__u8 padding[7];
};

/**
 * struct kvmi_vcpu_event_xsetbv - data of KVMI_VCPU_EVENT_XSETBV
 * @xcr: 0
 * @padding: zero
 * @old_value: value of the register
 * @new_value: value the guest writes
 */
struct kvmi_vcpu_event_xsetbv {
	__u8 xcr;
	__u8 padding[7];
	__u64 old_value;
	__u64 new_value;
};

/* kvmi_vcpu_event_descriptor.descriptor */
#define KVMI_DESC_IDTR 1
#define KVMI_DESC_GDTR 2
#define KVMI_DESC_LDTR 3
#define KVMI_DESC_TR   4

/**
 * struct kvmi_vcpu_event_descriptor - data of KVMI_VCPU_EVENT_DESCRIPTOR
 * @descriptor: KVMI_DESC_*
 * @write: 1: LGDT, LIDT, LLDT or LTR; 0: SGDT, SIDT, SLDT or STR
 * @flags: KVMI_CHANGE_DONE
 * @padding: zero
 */
struct kvmi_vcpu_event_descriptor {
	__u8 descriptor;
	__u8 write;
	__u8 flags;
	__u8 padding[5];
};

/**
 * struct kvmi_vcpu_event_cpuid - data of KVMI_VCPU_EVENT_CPUID
 * @function: EAX
 * @index: ECX
 * @insn_len: length of the instruction in bytes
 * @padding: zero
 */
struct kvmi_vcpu_event_cpuid {
	__u32 function;
	__u32 index;
	__u8 insn_len;
	__u8 padding[7];
};

#endif /* _UAPI_ASM_X86_KVMI_H */
