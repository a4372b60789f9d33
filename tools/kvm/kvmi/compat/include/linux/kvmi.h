/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBKVMI_LINUX_KVMI_H
#define LIBKVMI_LINUX_KVMI_H

/*
 * What programs for libkvmi know of events, replies and ids.  It is not the
 * kernel's <linux/kvmi.h>, which has other messages by similar names: a source file
 * includes one or the other.
 */

#include <linux/types.h>
#include <asm/kvm.h>

#define KVMI_VERSION 1

/* For kvmi_check_command() */
enum {
	KVMI_EVENT_REPLY = 0,
	KVMI_EVENT = 1,
	KVMI_GET_VERSION = 2,
	KVMI_CHECK_COMMAND = 3,
	KVMI_CHECK_EVENT = 4,
	KVMI_GET_GUEST_INFO = 5,
	KVMI_GET_VCPU_INFO = 6,
	KVMI_PAUSE_VCPU = 7,
	KVMI_CONTROL_VM_EVENTS = 8,
	KVMI_CONTROL_EVENTS = 9,
	KVMI_CONTROL_CR = 10,
	KVMI_CONTROL_MSR = 11,
	KVMI_CONTROL_VE = 12,
	KVMI_GET_REGISTERS = 13,
	KVMI_SET_REGISTERS = 14,
	KVMI_GET_CPUID = 15,
	KVMI_GET_XSAVE = 16,
	KVMI_READ_PHYSICAL = 17,
	KVMI_WRITE_PHYSICAL = 18,
	KVMI_INJECT_EXCEPTION = 19,
	KVMI_GET_PAGE_ACCESS = 20,
	KVMI_SET_PAGE_ACCESS = 21,
	KVMI_GET_MAP_TOKEN = 22,
	KVMI_GET_MTRR_TYPE = 23,
	KVMI_CONTROL_SPP = 24,
	KVMI_GET_PAGE_WRITE_BITMAP = 25,
	KVMI_SET_PAGE_WRITE_BITMAP = 26,
	KVMI_CONTROL_CMD_RESPONSE = 27,
	KVMI_SET_VE_INFO_PAGE = 28,
	KVMI_GET_MAX_GFN = 29,
	KVMI_SET_EPT_PAGE_CONV = 30,
	KVMI_GET_EPT_PAGE_CONV = 31,
	KVMI_SWITCH_EPT_VIEW = 32,
	KVMI_DISABLE_VE = 33,
	KVMI_GET_EPT_VIEW = 34,
	KVMI_VCPU_TRANSLATE_GVA = 35,
	KVMI_CONTROL_EPT_VIEW = 36,
	KVMI_VCPU_GET_XCR = 37,
	KVMI_VCPU_SET_XSAVE = 38,
	KVMI_QUERY_PHYSICAL = 39,
	KVMI_VCPU_ALLOC_GFN = 41,
	KVMI_VCPU_FREE_GFN = 42,
	KVMI_VCPU_CREATE_EPT_VIEW = 43,
	KVMI_VCPU_DESTROY_EPT_VIEW = 44,
	KVMI_VCPU_CHANGE_GFN = 60,
	KVMI_VCPU_CONTROL_SINGLESTEP = 63,

	KVM_NUM_MESSAGES
};

enum {
	KVMI_EVENT_UNHOOK = 0,
	KVMI_EVENT_CR = 1,
	KVMI_EVENT_MSR = 2,
	KVMI_EVENT_XSETBV = 3,
	KVMI_EVENT_BREAKPOINT = 4,
	KVMI_EVENT_HYPERCALL = 5,
	KVMI_EVENT_PF = 6,
	KVMI_EVENT_TRAP = 7,
	KVMI_EVENT_DESCRIPTOR = 8,
	KVMI_EVENT_CREATE_VCPU = 9,
	KVMI_EVENT_PAUSE_VCPU = 10,
	KVMI_EVENT_SINGLESTEP = 11,
	KVMI_EVENT_CMD_ERROR = 12,
	KVMI_EVENT_CPUID = 13,

	KVMI_NUM_EVENTS
};

#define KVMI_EVENT_ACTION_CONTINUE 0
#define KVMI_EVENT_ACTION_RETRY 1
#define KVMI_EVENT_ACTION_CRASH 2

#define KVMI_PAGE_ACCESS_R 1
#define KVMI_PAGE_ACCESS_W 2
#define KVMI_PAGE_ACCESS_X 4
#define KVMI_PAGE_ACCESS_SVE 8

#define KVMI_DESC_IDTR 1
#define KVMI_DESC_GDTR 2
#define KVMI_DESC_LDTR 3
#define KVMI_DESC_TR 4

struct kvmi_msg_hdr {
	__u16 id;
	__u16 size;
	__u32 seq;
};

#define KVMI_MSG_SIZE (8192 - sizeof(struct kvmi_msg_hdr))

/* Programs compute by them how many pages they pass at a time */
struct kvmi_page_access_entry {
	__u64 gpa;
	__u8 access;
	__u8 padding1;
	__u16 padding2;
	__u32 padding3;
};

struct kvmi_set_page_access {
	__u16 view;
	__u16 count;
	__u32 padding;
	struct kvmi_page_access_entry entries[];
};

struct kvmi_features {
	__u8 spp;
	__u8 vmfunc;
	__u8 eptp;
	__u8 ve;
	__u8 singlestep;
	__u8 padding[3];
};

/* ---- Events ---- */

struct kvmi_event_arch {
	__u8 mode;		/* bytes of an address: 2, 4 or 8 */
	__u8 padding1;
	__u16 view;		/* that the vCPU is in */
	__u8 padding2[4];
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

struct kvmi_event {
	__u16 size;
	__u16 vcpu;
	__u8 event;		/* KVMI_EVENT_* */
	__u8 padding[3];
	struct kvmi_event_arch arch;
};

struct kvmi_event_cr {
	__u16 cr;
	__u16 padding[3];
	__u64 old_value;
	__u64 new_value;
};

struct kvmi_event_msr {
	__u32 msr;
	__u32 padding;
	__u64 old_value;
	__u64 new_value;
};

struct kvmi_event_breakpoint {
	__u64 gpa;
	__u8 insn_len;
	__u8 padding[7];
};

struct kvmi_event_pf {
	__u64 gva;
	__u64 gpa;
	__u8 access;
	__u8 padding1;
	__u16 view;
	__u32 padding2;
};

struct kvmi_event_trap {
	__u8 vector;
	__u8 padding1;
	__u16 padding2;
	__u32 error_code;
	__u64 cr2;
};

struct kvmi_event_descriptor {
	__u8 descriptor;	/* KVMI_DESC_* */
	__u8 write;
	__u8 padding[6];
};

struct kvmi_event_cpuid {
	__u32 function;
	__u32 index;
	__u8 insn_length;
	__u8 padding1[3];
	__u32 padding2;
};

struct kvmi_event_singlestep {
	__u8 failed;
	__u8 padding[7];
};

/* ---- Replies: struct kvmi_vcpu_hdr, struct kvmi_event_reply, and what the event has ---- */

struct kvmi_vcpu_hdr {
	__u16 vcpu;
	__u16 padding1;
	__u32 padding2;
};

struct kvmi_event_reply {
	__u8 action;		/* KVMI_EVENT_ACTION_* */
	__u8 event;		/* KVMI_EVENT_* */
	__u16 padding1;
	__u32 padding2;
};

struct kvmi_event_cr_reply {
	__u64 new_val;
};

struct kvmi_event_msr_reply {
	__u64 new_val;
};

/* With ctx_size, what the instruction reads from ctx_addr on is ctx_data */
struct kvmi_event_pf_reply {
	__u64 ctx_addr;
	__u32 ctx_size;
	__u8 singlestep;	/* not looked at */
	__u8 rep_complete;	/* not looked at */
	__u16 padding;
	__u8 ctx_data[256];
};

#endif /* LIBKVMI_LINUX_KVMI_H */
