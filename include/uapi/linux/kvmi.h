/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI__LINUX_KVMI_H
#define _UAPI__LINUX_KVMI_H

/*
 * KVM introspection (KVMI): the messages a kernel and an introspection tool
 * exchange over the socket that the VMM hands to
 * KVM_INTROSPECTION_HOOK.
 *
 * All integers are in host byte order and naturally aligned.  Every message
 * starts with struct kvmi_msg_hdr and is written with one system call.
 * Padding is zero in both directions: the kernel refuses a message in which it
 * is not, and never sends anything else.
 *
 * Documentation/virt/kvm/introspection/ describes the behaviour.
 */

#include <linux/const.h>
#include <linux/types.h>
#include <asm/kvmi.h>

#define KVMI_VERSION 1

/* Largest payload of a message, i.e. the largest value of kvmi_msg_hdr.size. */
#define KVMI_MAX_MSG_SIZE (2 * 4096 - sizeof(struct kvmi_msg_hdr))

/* VM-wide messages have even ids, messages to one vCPU have odd ids. */
#define KVMI_VM_MESSAGE_ID(id)    ((id) << 1)
#define KVMI_VCPU_MESSAGE_ID(id) (((id) << 1) | 1)

/**
 * enum kvmi_vm_message_id - ids of the messages with VM scope
 * @KVMI_VM_EVENT: an event of the VM, sent by the kernel; there is no reply
 * @KVMI_GET_VERSION: protocol version and limits; always allowed
 * @KVMI_VM_CHECK_COMMAND: is a command known and allowed?  Always allowed.
 * @KVMI_VM_CHECK_EVENT: is an event known and allowed?  Always allowed.
 * @KVMI_VM_GET_INFO: number of vCPUs
 * @KVMI_VM_CONTROL_EVENTS: turn an event of the VM on or off
 * @KVMI_VM_READ_PHYSICAL: read guest memory
 * @KVMI_VM_WRITE_PHYSICAL: write guest memory
 * @KVMI_VM_PAUSE_VCPU: ask for one PAUSE event of a vCPU
 * @KVMI_VM_CONTROL_CLEANUP: does unhooking forget what the tool chose?
 * @KVMI_VM_SET_PAGE_ACCESS: take access to pages away, or give it back
 * @KVMI_VM_GET_FEATURES: what this kernel and host can do
 * @KVMI_VM_GET_MAX_GFN: where guest memory ends
 * @KVMI_VM_GET_MEMSLOTS: layout of guest memory
 * @KVMI_VM_GET_PAGE_ACCESS: what is left of the access to pages
 * @KVMI_VM_PAUSE_ALL: ask for one PAUSE event of every vCPU
 * @KVMI_VM_CREATE_VIEW: make another view of guest memory
 * @KVMI_VM_DESTROY_VIEW: end a view
 * @KVMI_VM_CHANGE_GFN: show another page in a view
 * @KVMI_VM_SHUTDOWN: make KVM_RUN of every vCPU return KVM_EXIT_INTROSPECTION
 * @KVMI_VM_SET_RULES: decide events in the kernel
 * @KVMI_VM_GET_RULES: the rules, and how often they have decided
 * @KVMI_VM_LIST_PAGE_ACCESS: restrictions in force
 * @KVMI_VM_LIST_CHANGED_GFNS: pages that a view shows in place of others
 * @KVMI_VM_LIST_VIEWS: views of guest memory
 * @KVMI_VM_GET_VCPUS: what the vCPUs are doing
 */
enum kvmi_vm_message_id {
	KVMI_VM_EVENT           = KVMI_VM_MESSAGE_ID(0),
	KVMI_GET_VERSION        = KVMI_VM_MESSAGE_ID(1),
	KVMI_VM_CHECK_COMMAND   = KVMI_VM_MESSAGE_ID(2),
	KVMI_VM_CHECK_EVENT     = KVMI_VM_MESSAGE_ID(3),
	KVMI_VM_GET_INFO        = KVMI_VM_MESSAGE_ID(4),
	KVMI_VM_CONTROL_EVENTS  = KVMI_VM_MESSAGE_ID(5),
	KVMI_VM_READ_PHYSICAL   = KVMI_VM_MESSAGE_ID(6),
	KVMI_VM_WRITE_PHYSICAL  = KVMI_VM_MESSAGE_ID(7),
	KVMI_VM_PAUSE_VCPU      = KVMI_VM_MESSAGE_ID(8),
	KVMI_VM_CONTROL_CLEANUP = KVMI_VM_MESSAGE_ID(9),
	KVMI_VM_SET_PAGE_ACCESS = KVMI_VM_MESSAGE_ID(10),
	KVMI_VM_GET_FEATURES    = KVMI_VM_MESSAGE_ID(32),
	KVMI_VM_GET_MAX_GFN     = KVMI_VM_MESSAGE_ID(33),
	KVMI_VM_GET_MEMSLOTS    = KVMI_VM_MESSAGE_ID(34),
	KVMI_VM_GET_PAGE_ACCESS = KVMI_VM_MESSAGE_ID(35),
	KVMI_VM_PAUSE_ALL       = KVMI_VM_MESSAGE_ID(36),
	KVMI_VM_SHUTDOWN        = KVMI_VM_MESSAGE_ID(37),
	KVMI_VM_CREATE_VIEW     = KVMI_VM_MESSAGE_ID(38),
	KVMI_VM_DESTROY_VIEW    = KVMI_VM_MESSAGE_ID(39),
	KVMI_VM_CHANGE_GFN      = KVMI_VM_MESSAGE_ID(40),
	KVMI_VM_SET_RULES       = KVMI_VM_MESSAGE_ID(41),
	KVMI_VM_GET_RULES       = KVMI_VM_MESSAGE_ID(42),
	KVMI_VM_LIST_PAGE_ACCESS = KVMI_VM_MESSAGE_ID(43),
	KVMI_VM_LIST_CHANGED_GFNS = KVMI_VM_MESSAGE_ID(44),
	KVMI_VM_LIST_VIEWS      = KVMI_VM_MESSAGE_ID(45),
	KVMI_VM_GET_VCPUS       = KVMI_VM_MESSAGE_ID(46),
};

/**
 * enum kvmi_vcpu_message_id - ids of the messages with vCPU scope
 * @KVMI_VCPU_EVENT: an event of a vCPU, and the tool's reply to it
 * @KVMI_VCPU_GET_INFO: TSC frequency
 * @KVMI_VCPU_CONTROL_EVENTS: turn an event of the vCPU on or off
 * @KVMI_VCPU_GET_REGISTERS: general, special and model-specific registers
 * @KVMI_VCPU_SET_REGISTERS: general registers, while an event is open
 * @KVMI_VCPU_GET_CPUID: what CPUID tells the guest
 * @KVMI_VCPU_CONTROL_CR: choose the control registers the CR event is for
 * @KVMI_VCPU_INJECT_EXCEPTION: have the guest take an exception
 * @KVMI_VCPU_GET_XCR: an extended control register
 * @KVMI_VCPU_GET_XSAVE: FPU and vector registers, the first 4096 bytes
 * @KVMI_VCPU_SET_XSAVE: FPU and vector registers, the first 4096 bytes
 * @KVMI_VCPU_GET_MTRR_TYPE: memory type of a guest physical address
 * @KVMI_VCPU_CONTROL_MSR: choose the MSRs the MSR event is for
 * @KVMI_VCPU_CONTROL_SINGLESTEP: tell about every instruction
 * @KVMI_VCPU_TRANSLATE_GVA: guest virtual to guest physical address
 * @KVMI_VCPU_SET_VIEW: change the view of guest memory the vCPU runs in
 * @KVMI_VCPU_GET_VIEW: the view of guest memory the vCPU runs in
 * @KVMI_VCPU_CONTROL_EVENT_SET: turn several events of the vCPU on and off
 * @KVMI_VCPU_GET_XSAVE2: part of the FPU and vector registers, of any size
 * @KVMI_VCPU_SET_XSAVE2: part of the FPU and vector registers, of any size
 * @KVMI_VCPU_GET_CONTROL: what the tool wants to be told of
 * @KVMI_VCPU_GET_DEBUGREGS: the debug registers
 * @KVMI_VCPU_SET_DEBUGREGS: the debug registers
 */
enum kvmi_vcpu_message_id {
	KVMI_VCPU_EVENT             = KVMI_VCPU_MESSAGE_ID(0),
	KVMI_VCPU_GET_INFO          = KVMI_VCPU_MESSAGE_ID(1),
	KVMI_VCPU_CONTROL_EVENTS    = KVMI_VCPU_MESSAGE_ID(2),
	KVMI_VCPU_GET_REGISTERS     = KVMI_VCPU_MESSAGE_ID(3),
	KVMI_VCPU_SET_REGISTERS     = KVMI_VCPU_MESSAGE_ID(4),
	KVMI_VCPU_GET_CPUID         = KVMI_VCPU_MESSAGE_ID(5),
	KVMI_VCPU_CONTROL_CR        = KVMI_VCPU_MESSAGE_ID(6),
	KVMI_VCPU_INJECT_EXCEPTION  = KVMI_VCPU_MESSAGE_ID(7),
	KVMI_VCPU_GET_XCR           = KVMI_VCPU_MESSAGE_ID(8),
	KVMI_VCPU_GET_XSAVE         = KVMI_VCPU_MESSAGE_ID(9),
	KVMI_VCPU_SET_XSAVE         = KVMI_VCPU_MESSAGE_ID(10),
	KVMI_VCPU_GET_MTRR_TYPE     = KVMI_VCPU_MESSAGE_ID(11),
	KVMI_VCPU_CONTROL_MSR       = KVMI_VCPU_MESSAGE_ID(12),
	KVMI_VCPU_CONTROL_SINGLESTEP = KVMI_VCPU_MESSAGE_ID(13),
	KVMI_VCPU_TRANSLATE_GVA     = KVMI_VCPU_MESSAGE_ID(14),
	KVMI_VCPU_SET_VIEW          = KVMI_VCPU_MESSAGE_ID(32),
	KVMI_VCPU_GET_VIEW          = KVMI_VCPU_MESSAGE_ID(33),
	KVMI_VCPU_CONTROL_EVENT_SET = KVMI_VCPU_MESSAGE_ID(34),
	KVMI_VCPU_GET_XSAVE2        = KVMI_VCPU_MESSAGE_ID(35),
	KVMI_VCPU_SET_XSAVE2        = KVMI_VCPU_MESSAGE_ID(36),
	KVMI_VCPU_GET_CONTROL       = KVMI_VCPU_MESSAGE_ID(37),
	KVMI_VCPU_GET_DEBUGREGS     = KVMI_VCPU_MESSAGE_ID(38),
	KVMI_VCPU_SET_DEBUGREGS     = KVMI_VCPU_MESSAGE_ID(39),
};

#define KVMI_VM_EVENT_ID(id)    ((id) << 1)
#define KVMI_VCPU_EVENT_ID(id) (((id) << 1) | 1)

/**
 * enum kvmi_vm_event_id - events of the VM
 * @KVMI_VM_EVENT_UNHOOK: the VMM is about to end the session; the
 *	tool should undo its changes and close the socket
 */
enum kvmi_vm_event_id {
	KVMI_VM_EVENT_UNHOOK = KVMI_VM_EVENT_ID(0),
};

/**
 * enum kvmi_vcpu_event_id - events of a vCPU
 * @KVMI_VCPU_EVENT_PAUSE: one per successful KVMI_VM_PAUSE_VCPU, and per vCPU of
 *	KVMI_VM_PAUSE_ALL
 * @KVMI_VCPU_EVENT_HYPERCALL: the guest asks for it, see KVM_HC_XEN_HVM_OP
 * @KVMI_VCPU_EVENT_BREAKPOINT: an INT3, before its #BP
 * @KVMI_VCPU_EVENT_CR: a write to a control register, before it takes effect
 * @KVMI_VCPU_EVENT_TRAP: an exception, before it is delivered
 * @KVMI_VCPU_EVENT_XSETBV: an XSETBV, before it takes effect
 * @KVMI_VCPU_EVENT_DESCRIPTOR: an access to a descriptor table register, before
 *	it takes effect
 * @KVMI_VCPU_EVENT_MSR: a WRMSR, before it takes effect
 * @KVMI_VCPU_EVENT_PF: an access that KVMI_VM_SET_PAGE_ACCESS took away, before
 *	it takes effect
 * @KVMI_VCPU_EVENT_SINGLESTEP: an instruction was executed, while
 *	KVMI_VCPU_CONTROL_SINGLESTEP is on
 * @KVMI_VCPU_EVENT_CPUID: a CPUID, before it takes effect
 * @KVMI_VCPU_EVENT_ACCESS: what an instruction reads from or writes to pages it
 *	may not, see KVMI_PF_TRAP_ACCESS
 * @KVMI_VCPU_EVENT_CREATE_VCPU: a vCPU that was added to the introspected VM,
 *	before it first enters the guest.  As there is no vCPU to ask before,
 *	it is turned on for the VM, with KVMI_VM_CONTROL_EVENTS.
 */
enum kvmi_vcpu_event_id {
	KVMI_VCPU_EVENT_PAUSE       = KVMI_VCPU_EVENT_ID(0),
	KVMI_VCPU_EVENT_HYPERCALL   = KVMI_VCPU_EVENT_ID(1),
	KVMI_VCPU_EVENT_BREAKPOINT  = KVMI_VCPU_EVENT_ID(2),
	KVMI_VCPU_EVENT_CR          = KVMI_VCPU_EVENT_ID(3),
	KVMI_VCPU_EVENT_TRAP        = KVMI_VCPU_EVENT_ID(4),
	KVMI_VCPU_EVENT_XSETBV      = KVMI_VCPU_EVENT_ID(5),
	KVMI_VCPU_EVENT_DESCRIPTOR  = KVMI_VCPU_EVENT_ID(6),
	KVMI_VCPU_EVENT_MSR         = KVMI_VCPU_EVENT_ID(7),
	KVMI_VCPU_EVENT_PF          = KVMI_VCPU_EVENT_ID(8),
	KVMI_VCPU_EVENT_SINGLESTEP  = KVMI_VCPU_EVENT_ID(9),
	KVMI_VCPU_EVENT_CPUID       = KVMI_VCPU_EVENT_ID(10),
	KVMI_VCPU_EVENT_ACCESS      = KVMI_VCPU_EVENT_ID(11),
	KVMI_VCPU_EVENT_CREATE_VCPU = KVMI_VCPU_EVENT_ID(12),
};

/*
 * What the tool decides about an event.  The events say which actions they
 * accept; any other action ends the session.
 *
 * ALLOW: the guest goes on, with what it was about to do done.
 * RETRY: the guest runs the instruction again.
 * CRASH: KVM_RUN returns KVM_EXIT_INTROSPECTION, until the VM is unhooked.
 * SKIP:  the guest goes on after the instruction, which had no effect.
 */
#define KVMI_EVENT_ACTION_ALLOW    0
#define KVMI_EVENT_ACTION_CONTINUE KVMI_EVENT_ACTION_ALLOW
#define KVMI_EVENT_ACTION_RETRY    1
#define KVMI_EVENT_ACTION_CRASH    2
#define KVMI_EVENT_ACTION_SKIP     3

/**
 * struct kvmi_msg_hdr - start of every message
 * @id: enum kvmi_vm_message_id or enum kvmi_vcpu_message_id
 * @size: bytes that follow this header, at most KVMI_MAX_MSG_SIZE
 * @seq: chosen by whoever asks; the answer carries the same number
 */
struct kvmi_msg_hdr {
	__u16 id;
	__u16 size;
	__u32 seq;
};

/**
 * struct kvmi_error_code - start of the payload of every command's reply
 * @err: 0 or a negative KVM_E* number; data follows only if it is 0
 * @padding: zero
 */
struct kvmi_error_code {
	__s32 err;
	__u32 padding;
};

/**
 * struct kvmi_vcpu_hdr - start of the payload of every message to a vCPU
 * @vcpu: index of the vCPU, below kvmi_vm_get_info_reply.vcpu_count
 * @padding1: zero
 * @padding2: zero
 *
 * Errors of all commands to a vCPU: -KVM_EINVAL padding or @vcpu; -KVM_EAGAIN
 * the vCPU has not been started; -KVM_EBUSY too many commands are waiting for
 * it; -KVM_ENOMEM.
 */
struct kvmi_vcpu_hdr {
	__u16 vcpu;
	__u16 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_get_version_reply - reply data of KVMI_GET_VERSION
 * @version: KVMI_VERSION
 * @max_msg_size: KVMI_MAX_MSG_SIZE of this kernel, in bytes
 * @features: what the host can do
 */
struct kvmi_get_version_reply {
	__u32 version;
	__u32 max_msg_size;
	struct kvmi_features features;
};

/**
 * struct kvmi_vm_check_command - request of KVMI_VM_CHECK_COMMAND
 * @id: message id of the command
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding; -KVM_ENOENT unknown; -KVM_EPERM not allowed.
 */
struct kvmi_vm_check_command {
	__u16 id;
	__u16 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_vm_check_event - request of KVMI_VM_CHECK_EVENT
 * @id: enum kvmi_vm_event_id or enum kvmi_vcpu_event_id
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: as struct kvmi_vm_check_command.
 */
struct kvmi_vm_check_event {
	__u16 id;
	__u16 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_vm_get_info_reply - reply data of KVMI_VM_GET_INFO
 * @vcpu_count: number of vCPUs that are online
 * @arch: KVMI_ARCH_X86
 * @address_spaces: number of guest address spaces, 2 where SMM has its own
 * @padding: zero
 */
struct kvmi_vm_get_info_reply {
	__u32 vcpu_count;
	__u32 arch;
	__u32 address_spaces;
	__u32 padding;
};

#define KVMI_ARCH_X86 0

/**
 * struct kvmi_vm_control_events - request of KVMI_VM_CONTROL_EVENTS
 * @event_id: enum kvmi_vm_event_id, or KVMI_VCPU_EVENT_CREATE_VCPU
 * @enable: 0 or 1
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding, @enable or @event_id; -KVM_EPERM not allowed.
 */
struct kvmi_vm_control_events {
	__u16 event_id;
	__u8 enable;
	__u8 padding1;
	__u32 padding2;
};

/* kvmi_vm_read_physical.flags, kvmi_vm_write_physical.flags */
#define KVMI_MEM_COOKIE  _BITUL(0)
#define KVMI_MEM_COMPARE _BITUL(1)

/**
 * struct kvmi_mem_cookie - generation of the guest's memory layout
 * @cookie: changes when the memory slots of the address space change
 * @padding: zero
 *
 * With KVMI_MEM_COOKIE it precedes the data of a read's reply and of a write's
 * request.
 */
struct kvmi_mem_cookie {
	__u32 cookie;
	__u32 padding;
};

/**
 * struct kvmi_vm_read_physical - request of KVMI_VM_READ_PHYSICAL
 * @gpa: guest physical address of the first byte
 * @size: number of bytes, from 1 to what fits in a reply.  Without
 *	KVMI_MEM_COOKIE the range must stay within one 4K page.
 * @flags: 0 or KVMI_MEM_COOKIE
 * @as_id: address space, 0 is the one the guest runs in outside of SMM
 * @padding: zero
 *
 * The reply data is @size bytes.
 *
 * Errors: -KVM_EINVAL padding, @flags, @size, @as_id, a page crossing, or a range
 * that goes beyond the last address; -KVM_ENOENT a page of the range is not backed by memory.
 */
struct kvmi_vm_read_physical {
	__u64 gpa;
	__u16 size;
	__u16 flags;
	__u16 as_id;
	__u16 padding;
};

/**
 * struct kvmi_vm_write_physical - request of KVMI_VM_WRITE_PHYSICAL
 * @gpa: as in struct kvmi_vm_read_physical; with KVMI_MEM_COMPARE a multiple of
 *	@size
 * @size: as in struct kvmi_vm_read_physical; with KVMI_MEM_COMPARE 1, 2, 4 or 8
 * @flags: KVMI_MEM_COOKIE, KVMI_MEM_COMPARE
 * @as_id: as in struct kvmi_vm_read_physical
 * @padding: zero
 * @data: with KVMI_MEM_COOKIE a struct kvmi_mem_cookie, with KVMI_MEM_COMPARE
 *	the @size bytes expected, then the @size bytes to write
 *
 * With KVMI_MEM_COMPARE memory that holds the bytes expected is changed in one
 * atomic operation.
 *
 * A message shorter than its data ends the session.
 *
 * A migration sees the write, in the dirty bitmap or in the dirty ring of a vCPU.
 * In the latter case the write is done on behalf of a vCPU, and waits while every
 * vCPU is in KVM_RUN without getting to its run loop.
 *
 * Errors: as for a read; -KVM_ENOENT also for read-only memory; -KVM_EAGAIN the
 * cookie is stale, memory holds other bytes than expected, or the dirty rings of
 * all vCPUs are full.  Nothing is written then.
 */
struct kvmi_vm_write_physical {
	__u64 gpa;
	__u16 size;
	__u16 flags;
	__u16 as_id;
	__u16 padding;
	__u8 data[];
};

/**
 * struct kvmi_vm_pause_vcpu - request of KVMI_VM_PAUSE_VCPU
 * @vcpu: index of the vCPU
 * @wait: 1 to be answered after the vCPU has left guest mode
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding, @wait or @vcpu; -KVM_EPERM the PAUSE event is
 * not allowed; -KVM_EBUSY too many pauses are outstanding.
 */
struct kvmi_vm_pause_vcpu {
	__u16 vcpu;
	__u8 wait;
	__u8 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_vm_control_cleanup - request of KVMI_VM_CONTROL_CLEANUP
 * @enable: 1 (the default of every session): the end of the session also ends
 *	the interest in control registers and MSRs that KVMI_VCPU_CONTROL_CR and
 *	KVMI_VCPU_CONTROL_MSR declared; 0: the next session of the VM finds it
 *	as it was.  Until then nothing is intercepted, and the next session has
 *	to turn on the events itself.
 * @padding: zero
 *
 * Errors: -KVM_EINVAL padding or @enable.
 */
struct kvmi_vm_control_cleanup {
	__u8 enable;
	__u8 padding[7];
};

/*
 * Kinds of access to a page.  Execution can be taken away from user mode and
 * supervisor mode separately where KVMI_FEATURE_USER_EXEC says so: X is both, and
 * either one of XS and XU leaves that one only.
 */
#define KVMI_PAGE_ACCESS_R   _BITUL(0)
#define KVMI_PAGE_ACCESS_W   _BITUL(1)
#define KVMI_PAGE_ACCESS_X   _BITUL(2)
#define KVMI_PAGE_ACCESS_XS  _BITUL(3)
#define KVMI_PAGE_ACCESS_XU  _BITUL(4)
#define KVMI_PAGE_ACCESS_RWX \
	(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X)

/**
 * struct kvmi_page_access_entry - what is left of the access to a range of pages
 * @gpa: guest physical address in the first page; the offset in the page does
 *	not matter
 * @access: KVMI_PAGE_ACCESS_*; KVMI_PAGE_ACCESS_RWX ends the restriction
 * @padding: zero
 * @npages: number of 4K pages; 0 is 1
 */
struct kvmi_page_access_entry {
	__u64 gpa;
	__u8 access;
	__u8 padding[3];
	__u32 npages;
};

/**
 * struct kvmi_vm_set_page_access - request of KVMI_VM_SET_PAGE_ACCESS
 * @count: number of entries
 * @view: the view; 0 is what every vCPU starts in
 * @as_id: address space
 * @padding: zero
 * @entries: what to change; of those that overlap the last one counts
 *
 * When the reply comes no vCPU can use more than what is left, or has yet to
 * execute an instruction for which the tool gave its consent.  All is done or
 * nothing.  The restrictions are those of addresses: they stay when memory slots
 * come and go, and when the host moves the memory behind them.
 *
 * A list longer than the message ends the session.
 *
 * Errors: -KVM_EOPNOTSUPP the host has no page tables of its own for the guest
 * (no EPT or NPT, or no TDP MMU); -KVM_EINVAL padding, @view, @as_id, an unknown
 * or impossible combination of kinds of access (W without R; execution without R
 * where KVMI_FEATURE_EXEC_ONLY is missing; no R where
 * kvmi_vm_get_features_reply.access has it not), or an address without memory;
 * -KVM_ENOMEM; -KVM_EAGAIN the session ends.
 */
struct kvmi_vm_set_page_access {
	__u16 count;
	__u16 view;
	__u16 as_id;
	__u16 padding;
	struct kvmi_page_access_entry entries[];
};

/**
 * struct kvmi_vm_get_page_access - request of KVMI_VM_GET_PAGE_ACCESS
 * @count: number of addresses, at most 1022
 * @view: as in struct kvmi_vm_set_page_access
 * @as_id: as in struct kvmi_vm_set_page_access
 * @padding: zero
 * @gpa: guest physical addresses
 *
 * The reply data is @count bytes of KVMI_PAGE_ACCESS_*.
 *
 * A list longer than the message ends the session.
 *
 * Errors: -KVM_EOPNOTSUPP as above; -KVM_EINVAL padding, @count, @view or @as_id.
 */
struct kvmi_vm_get_page_access {
	__u16 count;
	__u16 view;
	__u16 as_id;
	__u16 padding;
	__u64 gpa[];
};

/*
 * kvmi_rule.verdict: what becomes of the event
 *
 * ASK: it is sent, and the vCPU waits for the reply, as without rules.
 * ALLOW, SKIP, CRASH: as the action of that name in a reply.  SKIP is for events
 *	that accept it.
 * NOTIFY: as ALLOW, and the event is sent, with KVMI_EVENT_NOTIFICATION, if the
 *	socket has room for it; else it is dropped and counted.
 * TRACE: for PF, as ALLOW with KVMI_PF_TRAP_ACCESS.  Each access to restricted
 *	pages is an ACCESS event, which has rules of its own.
 */
#define KVMI_RULE_ASK    0
#define KVMI_RULE_ALLOW  1
#define KVMI_RULE_SKIP   2
#define KVMI_RULE_CRASH  3
#define KVMI_RULE_NOTIFY 4
#define KVMI_RULE_TRACE  5

/*
 * kvmi_rule.match: conditions, all of which have to be met.  These are about the
 * vCPU
 */
#define KVMI_MATCH_CPL     _BITUL(0)
#define KVMI_MATCH_CR3     _BITUL(1)
#define KVMI_MATCH_RIP     _BITUL(2)
#define KVMI_MATCH_VCPU    _BITUL(3)
#define KVMI_MATCH_VIEW    _BITUL(4)
/*
 * and these about the event:
 *
 * NUMBER: of the register (CR, MSR, XSETBV), leaf (CPUID) or vector (TRAP), or a
 *	guest physical address: of the INT3 (BREAKPOINT), of the page (PF), of the
 *	bytes accessed (ACCESS)
 * VALUE: the new value (CR, MSR, XSETBV), the subleaf (CPUID; 0 for leaves without),
 *	the error code (TRAP)
 * CHANGED: the bits that differ (CR, MSR, XSETBV)
 * KIND: KVMI_PAGE_ACCESS_* (PF, ACCESS), the descriptor table (DESCRIPTOR)
 */
#define KVMI_MATCH_NUMBER  _BITUL(5)
#define KVMI_MATCH_VALUE   _BITUL(6)
#define KVMI_MATCH_CHANGED _BITUL(7)
#define KVMI_MATCH_KIND    _BITUL(8)

/* kvmi_rule.kinds of DESCRIPTOR: bit n is a store of KVMI_DESC_ n, bit 16 + n a load */
#define KVMI_KIND_WRITE_SHIFT 16

/**
 * struct kvmi_rule - what to do about an event
 * @verdict: KVMI_RULE_*
 * @cpls: bit n: with KVMI_MATCH_CPL, applies at CPL n
 * @match: KVMI_MATCH_*
 * @vcpu: with KVMI_MATCH_VCPU, index of the vCPU
 * @view: with KVMI_MATCH_VIEW, view that the vCPU is in
 * @kinds: with KVMI_MATCH_KIND, one of these bits
 * @padding: zero
 * @cr3: with KVMI_MATCH_CR3, what the bits of @cr3_mask are, others zero
 * @cr3_mask: which bits of CR3 are compared; CR3 has the PCID in it
 * @rip_first: with KVMI_MATCH_RIP, the first and
 * @rip_last: the last linear address of the instruction
 * @first: with KVMI_MATCH_NUMBER, the first and
 * @last: the last of the numbers; with PF, of whole pages.  An access by
 *	several bytes (ACCESS) matches if one of them does, but with ALLOW and NOTIFY
 *	if all do.  An MSR that has two numbers matches by either, but with ALLOW and
 *	NOTIFY by the one that the guest uses.
 * @value: with KVMI_MATCH_VALUE, what the bits of @value_mask are, others zero
 * @value_mask: which bits are compared
 * @changed: with KVMI_MATCH_CHANGED, one of these bits has to differ
 *
 * What a condition that does not apply would use is zero.
 */
struct kvmi_rule {
	__u8 verdict;
	__u8 cpls;
	__u16 match;
	__u16 vcpu;
	__u16 view;
	__u32 kinds;
	__u32 padding;
	__u64 cr3;
	__u64 cr3_mask;
	__u64 rip_first;
	__u64 rip_last;
	__u64 first;
	__u64 last;
	__u64 value;
	__u64 value_mask;
	__u64 changed;
};

/**
 * struct kvmi_vm_set_rules - request of KVMI_VM_SET_RULES
 * @event: event of a vCPU that a guest causes: not PAUSE, SINGLESTEP, CREATE_VCPU
 * @count: number of rules, at most 64; 0 to be asked about everything
 * @padding: zero
 * @rules: in the order in which they are looked at; the first that matches
 *	decides, and if there is none the tool is asked
 *
 * Replaces the rules of the event for all vCPUs, with counters of zero.  When the
 * reply is sent no vCPU decides by the old rules any more.  The event also has to
 * be turned on.  An exception (TRAP) that the rules allow whatever else it is
 * like does not even cause a VM exit, and is not counted.
 *
 * A list longer than the message ends the session.
 *
 * Errors: -KVM_EINVAL padding, @event, @count, an unknown verdict, or one that the
 * event does not accept, an unknown condition, one that the event does not have or
 * that nothing can meet, a field that is not used and not zero; -KVM_EPERM the event is
 * not allowed; -KVM_ENOMEM.  The rules are as before then.
 */
struct kvmi_vm_set_rules {
	__u16 event;
	__u16 count;
	__u32 padding;
	struct kvmi_rule rules[];
};

/**
 * struct kvmi_vm_get_rules - request of KVMI_VM_GET_RULES
 * @event: as in struct kvmi_vm_set_rules
 * @reset: 1 to set the counters to zero as they are read
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding, @reset or @event; -KVM_EPERM the event is not allowed.
 */
struct kvmi_vm_get_rules {
	__u16 event;
	__u8 reset;
	__u8 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_rule_info - a rule that is in force
 * @rule: the rule
 * @hits: number of events that it has decided
 */
struct kvmi_rule_info {
	struct kvmi_rule rule;
	__u64 hits;
};

/**
 * struct kvmi_vm_get_rules_reply - reply data of KVMI_VM_GET_RULES
 * @count: number of entries of @rules
 * @padding: zero
 * @dropped: number of notifications that the socket had no room for
 * @rules: in the order of the request that has set them
 */
struct kvmi_vm_get_rules_reply {
	__u32 count;
	__u32 padding;
	__u64 dropped;
	struct kvmi_rule_info rules[];
};

/**
 * struct kvmi_vm_create_view - request of KVMI_VM_CREATE_VIEW
 * @copy_of: view whose restrictions and changed pages the new one starts with
 * @padding: zero
 *
 * Errors: -KVM_EOPNOTSUPP as above; -KVM_EINVAL padding or @copy_of; -KVM_EBUSY
 * there are kvmi_vm_get_features_reply.views already; -KVM_ENOMEM.
 */
struct kvmi_vm_create_view {
	__u16 copy_of;
	__u16 padding[3];
};

/**
 * struct kvmi_vm_create_view_reply - reply data of KVMI_VM_CREATE_VIEW
 * @view: the new view
 * @padding: zero
 */
struct kvmi_vm_create_view_reply {
	__u16 view;
	__u16 padding[3];
};

/**
 * struct kvmi_vm_destroy_view - request of KVMI_VM_DESTROY_VIEW
 * @view: the view
 * @padding: zero
 *
 * Errors: -KVM_EOPNOTSUPP as above; -KVM_EINVAL padding, @view is 0 or unknown;
 * -KVM_EBUSY a vCPU is in it.
 */
struct kvmi_vm_destroy_view {
	__u16 view;
	__u16 padding[3];
};

/**
 * struct kvmi_vm_change_gfn - request of KVMI_VM_CHANGE_GFN
 * @view: the view
 * @as_id: address space
 * @padding: zero
 * @gfn: guest frame number of the page to change
 * @new_gfn: guest frame number of the page to show in its place; @gfn to put it
 *	back
 *
 * The other page can be read and executed in that view, as far as the access to
 * @gfn allows.  A write to it is told with a PF event whatever the access is, and
 * goes to the guest's own page, @gfn, with ALLOW.  Every access is told and done
 * that way while there is no memory at @new_gfn.  Changes do not add up: what is
 * shown is what @new_gfn is in the view without any.
 *
 * Errors: -KVM_EOPNOTSUPP as above; -KVM_EINVAL padding, @view, @as_id, or a page
 * without memory; -KVM_EBUSY too many pages are changed; -KVM_ENOMEM.
 */
struct kvmi_vm_change_gfn {
	__u16 view;
	__u16 as_id;
	__u32 padding;
	__u64 gfn;
	__u64 new_gfn;
};

/**
 * struct kvmi_vm_list_page_access - request of KVMI_VM_LIST_PAGE_ACCESS
 * @view: the view
 * @as_id: address space
 * @padding: zero
 * @start: guest physical address to begin at; the offset in the page does not matter
 *
 * Errors: -KVM_EOPNOTSUPP as above; -KVM_EINVAL padding, @view or @as_id.
 */
struct kvmi_vm_list_page_access {
	__u16 view;
	__u16 as_id;
	__u32 padding;
	__u64 start;
};

/**
 * struct kvmi_vm_list_page_access_reply - reply data of KVMI_VM_LIST_PAGE_ACCESS
 * @count: number of entries
 * @padding: zero
 * @next: kvmi_vm_list_page_access.start to go on with, 0 if that was all
 * @entries: ranges that do not have all access, in the order of their addresses, as
 *	KVMI_VM_SET_PAGE_ACCESS takes them; as many as there are and fit in a message
 */
struct kvmi_vm_list_page_access_reply {
	__u32 count;
	__u32 padding;
	__u64 next;
	struct kvmi_page_access_entry entries[];
};

/**
 * struct kvmi_vm_list_changed_gfns - request of KVMI_VM_LIST_CHANGED_GFNS
 * @view: the view
 * @as_id: address space
 * @padding: zero
 * @start: guest frame number to begin at
 *
 * Errors: -KVM_EOPNOTSUPP as above; -KVM_EINVAL padding, @view or @as_id.
 */
struct kvmi_vm_list_changed_gfns {
	__u16 view;
	__u16 as_id;
	__u32 padding;
	__u64 start;
};

/**
 * struct kvmi_changed_page - a page that a view shows in place of another
 * @gfn: guest frame number of the page that is changed
 * @new_gfn: guest frame number of the page that is shown in its place
 */
struct kvmi_changed_page {
	__u64 gfn;
	__u64 new_gfn;
};

/**
 * struct kvmi_vm_list_changed_gfns_reply - reply data of KVMI_VM_LIST_CHANGED_GFNS
 * @count: number of pages
 * @padding: zero
 * @next: kvmi_vm_list_changed_gfns.start to go on with, 0 if that was all
 * @pages: in the order of their addresses, as many as there are and fit in a message
 */
struct kvmi_vm_list_changed_gfns_reply {
	__u32 count;
	__u32 padding;
	__u64 next;
	struct kvmi_changed_page pages[];
};

/**
 * struct kvmi_view_info - a view of guest memory
 * @view: its number
 * @padding: zero
 * @nr_vcpus: number of vCPUs that are in it, or about to be
 */
struct kvmi_view_info {
	__u16 view;
	__u16 padding;
	__u32 nr_vcpus;
};

/**
 * struct kvmi_vm_list_views_reply - reply data of KVMI_VM_LIST_VIEWS
 * @count: number of views
 * @padding: zero
 * @views: the views, view 0 first
 *
 * Errors: -KVM_EOPNOTSUPP as above.
 */
struct kvmi_vm_list_views_reply {
	__u32 count;
	__u32 padding;
	struct kvmi_view_info views[];
};

/**
 * struct kvmi_vm_get_vcpus - request of KVMI_VM_GET_VCPUS
 * @start: the first vCPU to tell about
 * @padding: zero
 *
 * Errors: -KVM_EINVAL padding.
 */
struct kvmi_vm_get_vcpus {
	__u32 start;
	__u32 padding;
};

/* kvmi_vcpu_state.flags */
#define KVMI_VCPU_STARTED	_BITUL(0)
#define KVMI_VCPU_EVENT_OPEN	_BITUL(1)

/**
 * struct kvmi_vcpu_state - what a vCPU is doing
 * @vcpu: the vCPU
 * @view: the view of guest memory that it is to be in
 * @event: the event that is open, if one is
 * @padding: zero
 * @flags: KVMI_VCPU_STARTED it takes commands, i.e. does not wait to be started;
 *	KVMI_VCPU_EVENT_OPEN it waits for the answer to an event
 * @seq: number of that event, which the answer carries
 */
struct kvmi_vcpu_state {
	__u16 vcpu;
	__u16 view;
	__u16 event;
	__u16 padding;
	__u32 flags;
	__u32 seq;
};

/**
 * struct kvmi_vm_get_vcpus_reply - reply data of KVMI_VM_GET_VCPUS
 * @nr_vcpus: number of vCPUs of the VM
 * @cleanup: what KVMI_VM_CONTROL_CLEANUP has chosen
 * @padding: zero
 * @events: VM events that are on, bit n: enum kvmi_vm_event_id or
 *	enum kvmi_vcpu_event_id n
 * @count: number of vCPUs in this message
 * @padding2: zero
 * @vcpus: the vCPUs from kvmi_vm_get_vcpus.start on, as many as there are and fit in
 *	a message
 */
struct kvmi_vm_get_vcpus_reply {
	__u32 nr_vcpus;
	__u8 cleanup;
	__u8 padding[3];
	__u64 events;
	__u32 count;
	__u32 padding2;
	struct kvmi_vcpu_state vcpus[];
};

/* kvmi_vm_get_features_reply.flags */
#define KVMI_FEATURE_EXEC_ONLY  _BITUL(0)
#define KVMI_FEATURE_SINGLESTEP _BITUL(1)
#define KVMI_FEATURE_USER_EXEC  _BITUL(2)
#define KVMI_FEATURE_SAME_VALUE _BITUL(3)
#define KVMI_FEATURE_REPLY_FLAGS _BITUL(4)
#define KVMI_FEATURE_RULES      _BITUL(5)

/**
 * struct kvmi_vm_get_features_reply - reply data of KVMI_VM_GET_FEATURES
 * @commands: bit n % 64 of element n / 64: this kernel knows the command with
 *	message id n, whether or not the tool may use it
 * @events: bit n: this kernel and host have the event with id n
 * @access: kinds of access that can be taken from pages; 0 for none
 * @actions: bit n: the action with the number n is known
 * @address_spaces: number of guest address spaces, 2 where SMM has its own
 * @views: number of views of guest memory; 0 for none
 * @flags: KVMI_FEATURE_*
 */
struct kvmi_vm_get_features_reply {
	__u64 commands[4];
	__u64 events;
	__u32 access;
	__u32 actions;
	__u16 address_spaces;
	__u16 views;
	__u32 flags;
};

/**
 * struct kvmi_vm_get_max_gfn_reply - reply data of KVMI_VM_GET_MAX_GFN
 * @gfn: guest frame number after the end of the highest memory slot of any
 *	address space; 0 without memory
 */
struct kvmi_vm_get_max_gfn_reply {
	__u64 gfn;
};

/**
 * struct kvmi_vm_get_memslots - request of KVMI_VM_GET_MEMSLOTS
 * @as_id: address space
 * @start: number of slots to leave out, e.g. as earlier replies had them
 * @padding: zero
 *
 * Errors: -KVM_EINVAL padding or @as_id.
 */
struct kvmi_vm_get_memslots {
	__u16 as_id;
	__u16 start;
	__u32 padding;
};

/* kvmi_memslot.flags */
#define KVMI_MEMSLOT_READONLY _BITUL(0)

/**
 * struct kvmi_memslot - a range of guest memory
 * @gfn: first guest frame number
 * @npages: number of 4K pages
 * @flags: KVMI_MEMSLOT_*
 * @padding: zero
 */
struct kvmi_memslot {
	__u64 gfn;
	__u64 npages;
	__u32 flags;
	__u32 padding;
};

/**
 * struct kvmi_vm_get_memslots_reply - reply data of KVMI_VM_GET_MEMSLOTS
 * @nr_slots: number of slots of the address space
 * @cookie: generation of the layout, as in struct kvmi_mem_cookie
 * @slots: those after the first kvmi_vm_get_memslots.start, in the order of
 *	their addresses, as many as there are and fit in a message
 */
struct kvmi_vm_get_memslots_reply {
	__u32 nr_slots;
	__u32 cookie;
	struct kvmi_memslot slots[];
};

/**
 * struct kvmi_vm_pause_all - request of KVMI_VM_PAUSE_ALL
 * @wait: 1 to be answered after the vCPUs have left guest mode
 * @padding: zero
 *
 * Errors: -KVM_EINVAL padding or @wait; -KVM_EPERM the PAUSE event is not
 * allowed; -KVM_EBUSY too many pauses of every vCPU are outstanding.
 */
struct kvmi_vm_pause_all {
	__u8 wait;
	__u8 padding[7];
};

/**
 * struct kvmi_vm_pause_all_reply - reply data of KVMI_VM_PAUSE_ALL
 * @count: number of vCPUs that owe one more PAUSE event; the others have too many
 *	outstanding
 * @padding: zero
 */
struct kvmi_vm_pause_all_reply {
	__u32 count;
	__u32 padding;
};

/*
 * KVMI_VM_SHUTDOWN has no data.  It is as if the tool had answered CRASH to an
 * event of every vCPU there is.  A vCPU that waits for the answer to an event
 * stops when it has got it.  The reply is sent before any of them stops, and the
 * reply to a later command of the VM when all have been told to.
 */

/**
 * struct kvmi_vcpu_control_events - request of KVMI_VCPU_CONTROL_EVENTS
 * @event_id: enum kvmi_vcpu_event_id
 * @enable: 0 or 1
 * @padding1: zero
 * @padding2: zero
 *
 * Errors: -KVM_EINVAL padding, @enable or @event_id; -KVM_EPERM not allowed;
 * -KVM_EOPNOTSUPP the hardware cannot do it; -KVM_EBUSY breakpoints belong to
 * somebody else.
 */
struct kvmi_vcpu_control_events {
	__u16 event_id;
	__u8 enable;
	__u8 padding1;
	__u32 padding2;
};

/**
 * struct kvmi_vcpu_control_event_set - request of KVMI_VCPU_CONTROL_EVENT_SET
 * @enable: bit n: turn the event with id n on, if it is not
 * @disable: bit n: turn the event with id n off, if it is on
 *
 * All is done or nothing.
 *
 * Errors: -KVM_EINVAL an id in both or not an event of a vCPU; others as
 * struct kvmi_vcpu_control_events.
 */
struct kvmi_vcpu_control_event_set {
	__u64 enable;
	__u64 disable;
};

/**
 * struct kvmi_vcpu_control_event_set_reply - reply data of
 *	KVMI_VCPU_CONTROL_EVENT_SET
 * @enabled: bit n: the event with id n is on now
 */
struct kvmi_vcpu_control_event_set_reply {
	__u64 enabled;
};

/**
 * struct kvmi_vcpu_control_singlestep - request of KVMI_VCPU_CONTROL_SINGLESTEP
 * @enable: 0 or 1
 * @padding: zero
 *
 * Errors: -KVM_EPERM the SINGLESTEP event is not allowed; -KVM_EINVAL padding or
 * @enable; -KVM_EOPNOTSUPP the hardware cannot do it.
 */
struct kvmi_vcpu_control_singlestep {
	__u8 enable;
	__u8 padding[7];
};

/**
 * struct kvmi_vcpu_set_view - request of KVMI_VCPU_SET_VIEW
 * @view: the view
 * @padding: zero
 *
 * Errors: -KVM_EOPNOTSUPP as struct kvmi_vm_set_page_access; -KVM_EINVAL padding
 * or @view.
 */
struct kvmi_vcpu_set_view {
	__u16 view;
	__u16 padding[3];
};

/**
 * struct kvmi_vcpu_get_view_reply - reply data of KVMI_VCPU_GET_VIEW
 * @view: the view
 * @padding: zero
 */
struct kvmi_vcpu_get_view_reply {
	__u16 view;
	__u16 padding[3];
};

/**
 * struct kvmi_event_hdr - which event
 * @event: enum kvmi_vm_event_id or enum kvmi_vcpu_event_id
 * @flags: KVMI_EVENT_NOTIFICATION: the guest went on, and there is no reply; only
 *	by a rule of the tool's own
 * @padding: zero
 */
struct kvmi_event_hdr {
	__u16 event;
	__u16 flags;
	__u16 padding[2];
};

/* kvmi_event_hdr.flags */
#define KVMI_EVENT_NOTIFICATION _BITUL(0)

/**
 * struct kvmi_vcpu_event - common part of the events of a vCPU
 * @size: bytes of this structure; the event's own data follows
 * @vcpu: index of the vCPU
 * @cookie: generation of the memory layout of the address space the vCPU is in
 * @arch: state of the vCPU
 */
struct kvmi_vcpu_event {
	__u16 size;
	__u16 vcpu;
	__u32 cookie;
	struct kvmi_vcpu_event_arch arch;
};

/**
 * struct kvmi_vcpu_event_reply - reply to an event of a vCPU, after
 *	struct kvmi_vcpu_hdr
 * @action: KVMI_EVENT_ACTION_*
 * @event: the event answered
 * @view: number of a view with KVMI_REPLY_SET_VIEW or KVMI_REPLY_STEP_IN_VIEW,
 *	else zero
 * @flags: KVMI_REPLY_*, where KVMI_FEATURE_REPLY_FLAGS says so, else zero
 *
 * What is not as it says here ends the session.
 */
struct kvmi_vcpu_event_reply {
	__u8 action;
	__u8 event;
	__u16 view;
	__u32 flags;
};

/*
 * kvmi_vcpu_event_reply.flags
 *
 * SET_VIEW: the vCPU goes on in @view, as with KVMI_VCPU_SET_VIEW right before
 *	the reply, which the VMM has to allow.
 * SINGLESTEP: a SINGLESTEP event follows one instruction, as if
 *	KVMI_VCPU_CONTROL_SINGLESTEP, which the VMM has to allow, was
 *	turned on now and off by that event.  Not with CRASH or SKIP.
 * STEP_IN_VIEW: the vCPU executes one instruction in @view, and goes on in the
 *	view that it was in before, without an event.  KVMI_VCPU_SET_VIEW has to
 *	be allowed.  With RETRY, or with ALLOW of PAUSE and SINGLESTEP; not with
 *	the other two flags.
 *
 * Stepping needs KVMI_FEATURE_SINGLESTEP.
 */
#define KVMI_REPLY_SET_VIEW     _BITUL(0)
#define KVMI_REPLY_SINGLESTEP   _BITUL(1)
#define KVMI_REPLY_STEP_IN_VIEW _BITUL(2)

/* kvmi_vcpu_event_pf.flags */
#define KVMI_PF_NOT_EMULATED (1 << 0)
#define KVMI_PF_AGAIN (1 << 1)
#define KVMI_PF_DELIVERY (1 << 2)

/**
 * struct kvmi_vcpu_event_pf - data of KVMI_VCPU_EVENT_PF
 * @gva: guest virtual (linear) address of the access; ~0 if it is not known
 * @gpa: guest physical address of the access
 * @access: what the instruction is about to do and may not: KVMI_PAGE_ACCESS_R,
 *	KVMI_PAGE_ACCESS_W or KVMI_PAGE_ACCESS_X
 * @flags: KVMI_PF_NOT_EMULATED: the tool has just asked for KVMI_PF_TRAP_ACCESS, or
 *	to SKIP the instruction, and KVM does not know it well enough for that;
 *	KVMI_PF_AGAIN: the tool has allowed another access of this instruction;
 *	KVMI_PF_DELIVERY: the access is not the instruction's, but part of the delivery
 *	of an exception or interrupt that came at this RIP, or one that the processor
 *	makes by itself
 * @view: view the vCPU is in
 * @padding: zero
 *
 * With ALLOW the instruction is executed with this access allowed, and no other:
 * each further one that it makes and may not is an event of its own.  What is
 * allowed is so for the instruction and for the vCPU alone.
 */
struct kvmi_vcpu_event_pf {
	__u64 gva;
	__u64 gpa;
	__u8 access;
	__u8 flags;
	__u16 view;
	__u32 padding;
};

/* kvmi_vcpu_event_pf_reply.flags */
#define KVMI_PF_TRAP_ACCESS _BITUL(0)

/**
 * struct kvmi_vcpu_event_pf_reply - optional reply data of KVMI_VCPU_EVENT_PF
 * @flags: KVMI_PF_TRAP_ACCESS: with ALLOW, have the instruction emulated, and
 *	tell with ACCESS events what it reads from and writes to restricted
 *	pages; other bits are refused
 * @padding: zero
 *
 * A reply that is refused ends the session.
 */
struct kvmi_vcpu_event_pf_reply {
	__u32 flags;
	__u32 padding;
};

/**
 * struct kvmi_vcpu_event_access - data of KVMI_VCPU_EVENT_ACCESS
 * @gva: guest virtual (linear) address of the first byte
 * @gpa: guest physical address of the first byte
 * @access: KVMI_PAGE_ACCESS_R or KVMI_PAGE_ACCESS_W
 * @size: number of bytes, 1 to 32, all in one page
 * @padding: zero
 * @data: the bytes read or about to be written; zeroes follow
 */
struct kvmi_vcpu_event_access {
	__u64 gva;
	__u64 gpa;
	__u8 access;
	__u8 size;
	__u8 padding[6];
	__u8 data[32];
};

/**
 * struct kvmi_vcpu_event_access_reply - optional reply data of
 *	KVMI_VCPU_EVENT_ACCESS
 * @data: with ALLOW, what the instruction is to read or write instead
 */
struct kvmi_vcpu_event_access_reply {
	__u8 data[32];
};

/**
 * struct kvmi_vcpu_event_singlestep - data of KVMI_VCPU_EVENT_SINGLESTEP
 * @failed: 1 if KVM had to do something for the guest in place of the
 *	instruction, which may not have been executed
 * @padding: zero
 */
struct kvmi_vcpu_event_singlestep {
	__u8 failed;
	__u8 padding[7];
};

#endif /* _UAPI__LINUX_KVMI_H */
