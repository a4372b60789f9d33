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
	__u8 padding[7];
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
 * Errors: -KVM_EOPNOTSUPP no event is open on the vCPU; -KVM_EINVAL short.
 */

/**
 * struct kvmi_vcpu_control_cr - request of KVMI_VCPU_CONTROL_CR
 * @cr: 0, 3 or 4
 * @enable: 0 or 1
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding, @enable or @cr.
 */
struct kvmi_vcpu_control_cr {
	__u8 cr;
	__u8 enable;
	__u16 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_vcpu_event_cr - data of KVMI_VCPU_EVENT_CR
 * @cr: 0, 3 or 4
 * @padding: zero
 * @old_value: value of the register
 * @new_value: value the guest writes
 */
struct kvmi_vcpu_event_cr {
	__u8 cr;
	__u8 padding[7];
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
 * struct kvmi_vcpu_control_msr - request of KVMI_VCPU_CONTROL_MSR
 * @enable: 0 or 1
 * @padding1: zero
 * @padding2: zero
 * @msr: 0 to 0x1fff or 0xc0000000 to 0xc0001fff
 *
 * Errors: -KVM_EINVAL padding, @enable or @msr; -KVM_EPERM userspace's MSR
 * filter denies the guest that write, it is not for the tool to see.
 */
struct kvmi_vcpu_control_msr {
	__u8 enable;
	__u8 padding1;
	__u16 padding2;
	__u32 msr;
};

/**
 * struct kvmi_vcpu_event_msr - data of KVMI_VCPU_EVENT_MSR
 * @msr: index of the MSR
 * @padding: zero
 * @old_value: value of the MSR
 * @new_value: value the guest writes
 */
struct kvmi_vcpu_event_msr {
	__u32 msr;
	__u32 padding;
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

#endif /* _UAPI_ASM_X86_KVMI_H */
