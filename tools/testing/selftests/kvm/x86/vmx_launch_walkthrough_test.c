// SPDX-License-Identifier: GPL-2.0-only
/*
 * A walk through the launch of a guest with VMX, to be read from top to bottom.
 *
 * The guest of the test (L1) is the VMM of the lesson.  It enters VMX operation,
 * fills in a VMCS, and launches a guest of its own (L2): a task in virtual-8086
 * mode that reads CR0 and writes what it sees to the serial port.  What can go
 * wrong on the way is tried, too.  All expectations are those of the SDM, volume
 * 3; "chapter" refers to the chapters there that have the names given.
 */
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "vmx.h"

/* ------------------------------------------------------------------------
 * 1. The encoding of a component (chapter "Virtual Machine Control Structures",
 * section "VMREAD, VMWRITE, and Encodings of VMCS Fields")
 *
 *	bits 14:13	width: 16 bits, 64 bits, 32 bits, natural
 *	bits 11:10	type: control, read-only, guest, host
 *	bits 9:1	index
 *	bit 0		access: the whole field, or the upper half of a 64-bit one
 */
enum { WIDTH_16, WIDTH_64, WIDTH_32, WIDTH_NATURAL };
enum { TYPE_CONTROL, TYPE_READ_ONLY, TYPE_GUEST, TYPE_HOST };

#define ENCODING(width, type, index)	((width) << 13 | (type) << 10 | (index) << 1)
#define ENCODING_WIDTH(e)		(((e) >> 13) & 3)
#define ENCODING_TYPE(e)		(((e) >> 10) & 3)
#define ENCODING_INDEX(e)		(((e) >> 1) & 0x1ff)
#define ENCODING_HIGH			1

/* ------------------------------------------------------------------------
 * 2. All components, in their six categories
 *
 * Each has a variable.  Setting up a VMCS is setting variables, and one loop
 * that writes all of them; looking at it is one loop that reads.
 */
static struct {
	/* Guest state */
	u64 guest_es_selector, guest_cs_selector, guest_ss_selector, guest_ds_selector,
	    guest_fs_selector, guest_gs_selector, guest_ldtr_selector,
	    guest_tr_selector, vmcs_link_pointer, guest_ia32_debugctl, guest_es_limit,
	    guest_cs_limit, guest_ss_limit, guest_ds_limit, guest_fs_limit,
	    guest_gs_limit, guest_ldtr_limit, guest_tr_limit, guest_gdtr_limit,
	    guest_idtr_limit, guest_es_access_rights, guest_cs_access_rights,
	    guest_ss_access_rights, guest_ds_access_rights, guest_fs_access_rights,
	    guest_gs_access_rights, guest_ldtr_access_rights, guest_tr_access_rights,
	    guest_interruptibility, guest_activity_state, guest_ia32_sysenter_cs,
	    guest_cr0, guest_cr3, guest_cr4, guest_es_base, guest_cs_base,
	    guest_ss_base, guest_ds_base, guest_fs_base, guest_gs_base,
	    guest_ldtr_base, guest_tr_base, guest_gdtr_base, guest_idtr_base,
	    guest_dr7, guest_rsp, guest_rip, guest_rflags, guest_pending_debug,
	    guest_ia32_sysenter_esp, guest_ia32_sysenter_eip;
	/* Host state; RSP and RIP are written where the guest is entered, see enter() */
	u64 host_es_selector, host_cs_selector, host_ss_selector, host_ds_selector,
	    host_fs_selector, host_gs_selector, host_tr_selector,
	    host_ia32_sysenter_cs, host_cr0, host_cr3, host_cr4, host_fs_base,
	    host_gs_base, host_tr_base, host_gdtr_base, host_idtr_base,
	    host_ia32_sysenter_esp, host_ia32_sysenter_eip, host_rsp, host_rip;
	/* VM-execution controls */
	u64 pin_controls, processor_controls, exception_bitmap,
	    page_fault_error_code_mask, page_fault_error_code_match, io_bitmap_a,
	    io_bitmap_b, tsc_offset, msr_bitmap, cr0_mask, cr0_shadow, cr4_mask,
	    cr4_shadow, cr3_target_count;
	/* VM-exit controls */
	u64 exit_controls, exit_msr_store_count, exit_msr_store_address,
	    exit_msr_load_count, exit_msr_load_address;
	/* VM-entry controls */
	u64 entry_controls, entry_msr_load_count, entry_msr_load_address,
	    entry_interruption_info, entry_exception_error_code,
	    entry_instruction_length;
	/* VM-exit information, read-only */
	u64 instruction_error, exit_reason, exit_qualification, exit_interruption_info,
	    exit_interruption_error_code, idt_vectoring_info, idt_vectoring_error_code,
	    exit_instruction_length, exit_instruction_info, exit_guest_linear_address;
} vmcs;

static const struct component {
	u32 encoding;
	u64 *variable;
} components[] = {
	/* Guest state */
	{ GUEST_ES_SELECTOR, &vmcs.guest_es_selector },
	{ GUEST_CS_SELECTOR, &vmcs.guest_cs_selector },
	{ GUEST_SS_SELECTOR, &vmcs.guest_ss_selector },
	{ GUEST_DS_SELECTOR, &vmcs.guest_ds_selector },
	{ GUEST_FS_SELECTOR, &vmcs.guest_fs_selector },
	{ GUEST_GS_SELECTOR, &vmcs.guest_gs_selector },
	{ GUEST_LDTR_SELECTOR, &vmcs.guest_ldtr_selector },
	{ GUEST_TR_SELECTOR, &vmcs.guest_tr_selector },
	{ VMCS_LINK_POINTER, &vmcs.vmcs_link_pointer },
	{ GUEST_IA32_DEBUGCTL, &vmcs.guest_ia32_debugctl },
	{ GUEST_ES_LIMIT, &vmcs.guest_es_limit },
	{ GUEST_CS_LIMIT, &vmcs.guest_cs_limit },
	{ GUEST_SS_LIMIT, &vmcs.guest_ss_limit },
	{ GUEST_DS_LIMIT, &vmcs.guest_ds_limit },
	{ GUEST_FS_LIMIT, &vmcs.guest_fs_limit },
	{ GUEST_GS_LIMIT, &vmcs.guest_gs_limit },
	{ GUEST_LDTR_LIMIT, &vmcs.guest_ldtr_limit },
	{ GUEST_TR_LIMIT, &vmcs.guest_tr_limit },
	{ GUEST_GDTR_LIMIT, &vmcs.guest_gdtr_limit },
	{ GUEST_IDTR_LIMIT, &vmcs.guest_idtr_limit },
	{ GUEST_ES_AR_BYTES, &vmcs.guest_es_access_rights },
	{ GUEST_CS_AR_BYTES, &vmcs.guest_cs_access_rights },
	{ GUEST_SS_AR_BYTES, &vmcs.guest_ss_access_rights },
	{ GUEST_DS_AR_BYTES, &vmcs.guest_ds_access_rights },
	{ GUEST_FS_AR_BYTES, &vmcs.guest_fs_access_rights },
	{ GUEST_GS_AR_BYTES, &vmcs.guest_gs_access_rights },
	{ GUEST_LDTR_AR_BYTES, &vmcs.guest_ldtr_access_rights },
	{ GUEST_TR_AR_BYTES, &vmcs.guest_tr_access_rights },
	{ GUEST_INTERRUPTIBILITY_INFO, &vmcs.guest_interruptibility },
	{ GUEST_ACTIVITY_STATE, &vmcs.guest_activity_state },
	{ GUEST_SYSENTER_CS, &vmcs.guest_ia32_sysenter_cs },
	{ GUEST_CR0, &vmcs.guest_cr0 },
	{ GUEST_CR3, &vmcs.guest_cr3 },
	{ GUEST_CR4, &vmcs.guest_cr4 },
	{ GUEST_ES_BASE, &vmcs.guest_es_base },
	{ GUEST_CS_BASE, &vmcs.guest_cs_base },
	{ GUEST_SS_BASE, &vmcs.guest_ss_base },
	{ GUEST_DS_BASE, &vmcs.guest_ds_base },
	{ GUEST_FS_BASE, &vmcs.guest_fs_base },
	{ GUEST_GS_BASE, &vmcs.guest_gs_base },
	{ GUEST_LDTR_BASE, &vmcs.guest_ldtr_base },
	{ GUEST_TR_BASE, &vmcs.guest_tr_base },
	{ GUEST_GDTR_BASE, &vmcs.guest_gdtr_base },
	{ GUEST_IDTR_BASE, &vmcs.guest_idtr_base },
	{ GUEST_DR7, &vmcs.guest_dr7 },
	{ GUEST_RSP, &vmcs.guest_rsp },
	{ GUEST_RIP, &vmcs.guest_rip },
	{ GUEST_RFLAGS, &vmcs.guest_rflags },
	{ GUEST_PENDING_DBG_EXCEPTIONS, &vmcs.guest_pending_debug },
	{ GUEST_SYSENTER_ESP, &vmcs.guest_ia32_sysenter_esp },
	{ GUEST_SYSENTER_EIP, &vmcs.guest_ia32_sysenter_eip },
	/* Host state */
	{ HOST_ES_SELECTOR, &vmcs.host_es_selector },
	{ HOST_CS_SELECTOR, &vmcs.host_cs_selector },
	{ HOST_SS_SELECTOR, &vmcs.host_ss_selector },
	{ HOST_DS_SELECTOR, &vmcs.host_ds_selector },
	{ HOST_FS_SELECTOR, &vmcs.host_fs_selector },
	{ HOST_GS_SELECTOR, &vmcs.host_gs_selector },
	{ HOST_TR_SELECTOR, &vmcs.host_tr_selector },
	{ HOST_IA32_SYSENTER_CS, &vmcs.host_ia32_sysenter_cs },
	{ HOST_CR0, &vmcs.host_cr0 },
	{ HOST_CR3, &vmcs.host_cr3 },
	{ HOST_CR4, &vmcs.host_cr4 },
	{ HOST_FS_BASE, &vmcs.host_fs_base },
	{ HOST_GS_BASE, &vmcs.host_gs_base },
	{ HOST_TR_BASE, &vmcs.host_tr_base },
	{ HOST_GDTR_BASE, &vmcs.host_gdtr_base },
	{ HOST_IDTR_BASE, &vmcs.host_idtr_base },
	{ HOST_IA32_SYSENTER_ESP, &vmcs.host_ia32_sysenter_esp },
	{ HOST_IA32_SYSENTER_EIP, &vmcs.host_ia32_sysenter_eip },
	{ HOST_RSP, &vmcs.host_rsp },
	{ HOST_RIP, &vmcs.host_rip },
	/* VM-execution controls */
	{ PIN_BASED_VM_EXEC_CONTROL, &vmcs.pin_controls },
	{ CPU_BASED_VM_EXEC_CONTROL, &vmcs.processor_controls },
	{ EXCEPTION_BITMAP, &vmcs.exception_bitmap },
	{ PAGE_FAULT_ERROR_CODE_MASK, &vmcs.page_fault_error_code_mask },
	{ PAGE_FAULT_ERROR_CODE_MATCH, &vmcs.page_fault_error_code_match },
	{ IO_BITMAP_A, &vmcs.io_bitmap_a },
	{ IO_BITMAP_B, &vmcs.io_bitmap_b },
	{ TSC_OFFSET, &vmcs.tsc_offset },
	{ MSR_BITMAP, &vmcs.msr_bitmap },
	{ CR0_GUEST_HOST_MASK, &vmcs.cr0_mask },
	{ CR0_READ_SHADOW, &vmcs.cr0_shadow },
	{ CR4_GUEST_HOST_MASK, &vmcs.cr4_mask },
	{ CR4_READ_SHADOW, &vmcs.cr4_shadow },
	{ CR3_TARGET_COUNT, &vmcs.cr3_target_count },
	/* VM-exit controls */
	{ VM_EXIT_CONTROLS, &vmcs.exit_controls },
	{ VM_EXIT_MSR_STORE_COUNT, &vmcs.exit_msr_store_count },
	{ VM_EXIT_MSR_STORE_ADDR, &vmcs.exit_msr_store_address },
	{ VM_EXIT_MSR_LOAD_COUNT, &vmcs.exit_msr_load_count },
	{ VM_EXIT_MSR_LOAD_ADDR, &vmcs.exit_msr_load_address },
	/* VM-entry controls */
	{ VM_ENTRY_CONTROLS, &vmcs.entry_controls },
	{ VM_ENTRY_MSR_LOAD_COUNT, &vmcs.entry_msr_load_count },
	{ VM_ENTRY_MSR_LOAD_ADDR, &vmcs.entry_msr_load_address },
	{ VM_ENTRY_INTR_INFO_FIELD, &vmcs.entry_interruption_info },
	{ VM_ENTRY_EXCEPTION_ERROR_CODE, &vmcs.entry_exception_error_code },
	{ VM_ENTRY_INSTRUCTION_LEN, &vmcs.entry_instruction_length },
	/* VM-exit information, read-only */
	{ VM_INSTRUCTION_ERROR, &vmcs.instruction_error },
	{ VM_EXIT_REASON, &vmcs.exit_reason },
	{ EXIT_QUALIFICATION, &vmcs.exit_qualification },
	{ VM_EXIT_INTR_INFO, &vmcs.exit_interruption_info },
	{ VM_EXIT_INTR_ERROR_CODE, &vmcs.exit_interruption_error_code },
	{ IDT_VECTORING_INFO_FIELD, &vmcs.idt_vectoring_info },
	{ IDT_VECTORING_ERROR_CODE, &vmcs.idt_vectoring_error_code },
	{ VM_EXIT_INSTRUCTION_LEN, &vmcs.exit_instruction_length },
	{ VMX_INSTRUCTION_INFO, &vmcs.exit_instruction_info },
	{ GUEST_LINEAR_ADDRESS, &vmcs.exit_guest_linear_address },
};

/* ------------------------------------------------------------------------
 * 3. The instructions, and how they fail (chapter "VMX Instruction Reference",
 * section "Conventions")
 *
 *	VMfailInvalid	CF is set; there is no current VMCS
 *	VMfailValid(n)	ZF is set; the VM-instruction error of the current VMCS is n
 */
#define VMSUCCEED		0
#define VMFAIL_INVALID		(-1)
#define VMFAIL_VALID(n)		(n)

/* Section "VM Instruction Error Numbers" */
enum {
	VMCLEAR_INVALID_ADDRESS		= 2,
	VMCLEAR_VMXON_POINTER		= 3,
	VMLAUNCH_NONCLEAR_VMCS		= 4,
	VMRESUME_NONLAUNCHED_VMCS	= 5,
	ENTRY_INVALID_CONTROL		= 7,
	ENTRY_INVALID_HOST_STATE	= 8,
	VMPTRLD_INVALID_ADDRESS		= 9,
	VMPTRLD_VMXON_POINTER		= 10,
	VMPTRLD_INCORRECT_REVISION	= 11,
	UNSUPPORTED_COMPONENT		= 12,
	VMWRITE_READ_ONLY_COMPONENT	= 13,
	VMXON_IN_ROOT_OPERATION		= 15,
	ENTRY_BLOCKED_BY_MOV_SS		= 26,
};

static int vmread_field(u32 encoding, u64 *value)
{
	u64 error = 0;
	bool cf, zf;

	asm volatile("vmread %[encoding], %[value]"
		     : [value] "=r"(*value), "=@ccc"(cf), "=@ccz"(zf)
		     : [encoding] "r"((u64)encoding));
	if (zf) {
		asm volatile("vmread %[encoding], %[value]" : [value] "=r"(error)
			     : [encoding] "r"((u64)VM_INSTRUCTION_ERROR) : "cc");
	}
	return cf ? VMFAIL_INVALID : VMFAIL_VALID(error);
}

static int outcome(bool cf, bool zf)
{
	u64 error = 0;

	if (zf)
		GUEST_ASSERT_EQ(vmread_field(VM_INSTRUCTION_ERROR, &error), VMSUCCEED);
	return cf ? VMFAIL_INVALID : VMFAIL_VALID(error);
}

static int vmwrite_field(u32 encoding, u64 value)
{
	bool cf, zf;

	asm volatile("vmwrite %[value], %[encoding]"
		     : "=@ccc"(cf), "=@ccz"(zf)
		     : [value] "r"(value), [encoding] "r"((u64)encoding));
	return outcome(cf, zf);
}

/* Those that take the physical address of a region */
#define region_insn(insn, physical_address)				\
({									\
	u64 __address = (physical_address);				\
	bool __cf, __zf;						\
									\
	asm volatile(insn " %[address]"					\
		     : "=@ccc"(__cf), "=@ccz"(__zf)			\
		     : [address] "m"(__address) : "memory");		\
	outcome(__cf, __zf);						\
})

#define WHERE_TO_RETURN							\
	"vmwrite %%rsp, %[host_rsp]\n\t"				\
	"lea 1f(%%rip), %%rax\n\t"					\
	"vmwrite %%rax, %[host_rip]\n\t"

/*
 * A VM exit continues at HOST_RIP with flags that say success, like a VM entry
 * that fails late; if it fails early, execution goes on after the instruction.
 * General registers aren't part of a VMCS: guest_regs has the guest's.
 */
#define enter(insn)							\
({									\
	u64 __rax;							\
	bool __cf, __zf;						\
									\
	asm volatile(WHERE_TO_RETURN					\
		     VMX_SWITCH_GPRS_ASM				\
		     insn "\n"						\
		     "1:\n\t"						\
		     VMX_SWITCH_GPRS_ASM				\
		     : "=@ccc"(__cf), "=@ccz"(__zf), "=&a"(__rax)	\
		     : [host_rsp] "r"((u64)HOST_RSP),			\
		       [host_rip] "r"((u64)HOST_RIP),			\
		       GUEST_REGS_OFFSETS				\
		     : "memory");					\
	outcome(__cf, __zf);						\
})

/* ------------------------------------------------------------------------
 * 4. What the VMM has of memory
 */
struct page {
	u8 *address;
	u64 physical;
};

static struct {
	struct page vmxon, vmcs, other_vmcs;
	/* Of the virtual-8086 task */
	struct page directory, table, code, stack, data, tss;
} pages;

/* Real-mode addresses: the segments of the task */
#define TASK_CODE	0x1000
#define TASK_STACK	0x2000
#define TASK_DATA	0x3000
/* Linear address of what real mode does not have */
#define TASK_TSS	0x40000

#define SERIAL_PORT	0x3f8

/*
 * What the task does, in 16-bit code.  SMSW is the instruction that reads CR0 at
 * any privilege level, and virtual-8086 mode is privilege level 3.
 */
static const u8 task[] = {
	0x0f, 0x01, 0xe0,	/* again: smsw ax */
	0xba, 0xf8, 0x03,	/*	  mov dx, SERIAL_PORT */
	0xee,			/*	  out dx, al */
	0x88, 0xe0,		/*	  mov al, ah */
	0xee,			/*	  out dx, al */
	0x0f, 0x01, 0xc1,	/*	  vmcall */
	0xeb, 0xf1,		/*	  jmp again */
};

/* ------------------------------------------------------------------------
 * 5. Into VMX operation (chapter "Introduction to Virtual Machine Extensions",
 * section "Enabling and Entering VMX Operation")
 */
static void set_fixed_bits(void)
{
	set_cr0((get_cr0() & rdmsr(MSR_IA32_VMX_CR0_FIXED1)) | rdmsr(MSR_IA32_VMX_CR0_FIXED0));
	set_cr4((get_cr4() & rdmsr(MSR_IA32_VMX_CR4_FIXED1)) | rdmsr(MSR_IA32_VMX_CR4_FIXED0) |
		X86_CR4_VMXE);

	if (!(rdmsr(MSR_IA32_FEAT_CTL) & FEAT_CTL_LOCKED))
		wrmsr(MSR_IA32_FEAT_CTL, FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX);
}

/* The first word of a region is the revision; the rest is the CPU's business */
static u32 revision(void)
{
	return rdmsr(MSR_IA32_VMX_BASIC) & GENMASK(30, 0);
}

static void set_revision(struct page *page, u32 value)
{
	*(u32 *)page->address = value;
}

static void enter_vmx_operation(void)
{
	set_fixed_bits();
	set_revision(&pages.vmxon, revision());
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical), VMSUCCEED);
}

/* VMCLEAR makes a VMCS of a region, in the state "clear"; VMPTRLD makes it current */
static void make_vmcs_current(void)
{
	set_revision(&pages.vmcs, revision());
	GUEST_ASSERT_EQ(region_insn("vmclear", pages.vmcs.physical), VMSUCCEED);
	GUEST_ASSERT_EQ(region_insn("vmptrld", pages.vmcs.physical), VMSUCCEED);
}

static bool is_read_only(u32 encoding)
{
	return ENCODING_TYPE(encoding) == TYPE_READ_ONLY;
}

static void write_all(void)
{
	const struct component *c;

	for (c = components; c < components + ARRAY_SIZE(components); c++) {
		if (!is_read_only(c->encoding))
			GUEST_ASSERT_EQ(vmwrite_field(c->encoding, *c->variable), VMSUCCEED);
	}
}

static void read_all(void)
{
	const struct component *c;

	for (c = components; c < components + ARRAY_SIZE(components); c++)
		GUEST_ASSERT_EQ(vmread_field(c->encoding, c->variable), VMSUCCEED);
}

/* ------------------------------------------------------------------------
 * 6. Controls (appendix "VMX Capability Reporting Facility")
 *
 * The low half of a capability MSR has the bits that must be 1, the high half
 * those that may be.
 */
static bool adjust_controls(u32 msr, u32 wanted, u64 *control)
{
	const u64 capability = rdmsr(msr);
	const u32 low = capability, high = capability >> 32;

	*control = (wanted & high) | low;
	return !(wanted & ~high);
}

static void set_controls(u32 wanted_exit, u32 wanted_entry)
{
	GUEST_ASSERT(adjust_controls(MSR_IA32_VMX_PINBASED_CTLS, 0, &vmcs.pin_controls));
	GUEST_ASSERT(adjust_controls(MSR_IA32_VMX_PROCBASED_CTLS, CPU_BASED_UNCOND_IO_EXITING,
				     &vmcs.processor_controls));
	GUEST_ASSERT(adjust_controls(MSR_IA32_VMX_EXIT_CTLS, wanted_exit, &vmcs.exit_controls));
	GUEST_ASSERT(adjust_controls(MSR_IA32_VMX_ENTRY_CTLS, wanted_entry, &vmcs.entry_controls));

	/* The task is to do what it does, any exception in it is an exit */
	vmcs.exception_bitmap = ~0u;
}

/* ------------------------------------------------------------------------
 * 7. The host's state: that of the VMM here and now, as it is after each exit
 */
static void set_host_state(void)
{
	vmcs.host_es_selector = get_es();
	vmcs.host_cs_selector = get_cs();
	vmcs.host_ss_selector = get_ss();
	vmcs.host_ds_selector = get_ds();
	vmcs.host_fs_selector = get_fs();
	vmcs.host_gs_selector = get_gs();
	vmcs.host_tr_selector = get_tr();
	vmcs.host_ia32_sysenter_cs = rdmsr(MSR_IA32_SYSENTER_CS);
	vmcs.host_ia32_sysenter_esp = rdmsr(MSR_IA32_SYSENTER_ESP);
	vmcs.host_ia32_sysenter_eip = rdmsr(MSR_IA32_SYSENTER_EIP);
	vmcs.host_cr0 = get_cr0();
	vmcs.host_cr3 = get_cr3();
	vmcs.host_cr4 = get_cr4();
	vmcs.host_fs_base = rdmsr(MSR_FS_BASE);
	vmcs.host_gs_base = rdmsr(MSR_GS_BASE);
	vmcs.host_gdtr_base = get_gdt().address;
	vmcs.host_idtr_base = get_idt().address;
	vmcs.host_tr_base = get_desc64_base((void *)(get_gdt().address + get_tr()));
}

/* ------------------------------------------------------------------------
 * 8. The guest's state: a virtual-8086 task (chapter "VM Entries", section
 * "Checks on the Guest State Area")
 */
static void set_segment(u64 *selector, u64 *base, u64 *limit, u64 *access_rights, u16 paragraph)
{
	*selector = paragraph;
	*base = paragraph * 16;
	*limit = 0xffff;
	/* Present, privilege level 3, a segment of writable data, accessed */
	*access_rights = 0xf3;
}

#define SET_SEGMENT(name, paragraph)					\
	set_segment(&vmcs.guest_##name##_selector,			\
		    &vmcs.guest_##name##_base,				\
		    &vmcs.guest_##name##_limit,				\
		    &vmcs.guest_##name##_access_rights, paragraph)

static void set_common_guest_state(void)
{
	/* There is no other VMCS that this one links to */
	vmcs.vmcs_link_pointer = -1ull;
	vmcs.guest_dr7 = 0x400;
	vmcs.guest_rflags = X86_EFLAGS_FIXED;
}

/* Of page tables: present, writable, for users, which the task is one of */
#define PAGE_PERMISSIONS	7

static void map(u64 linear, struct page *page)
{
	((u32 *)pages.table.address)[linear / 4096] = page->physical | PAGE_PERMISSIONS;
}

static void set_task(void)
{
	SET_SEGMENT(cs, TASK_CODE);
	SET_SEGMENT(ss, TASK_STACK);
	SET_SEGMENT(ds, TASK_DATA);
	SET_SEGMENT(es, TASK_DATA);
	SET_SEGMENT(fs, TASK_DATA);
	SET_SEGMENT(gs, TASK_DATA);

	/* An LDT, and a busy TSS whose bitmap allows all ports up to 0x3ff */
	vmcs.guest_ldtr_access_rights = 0x82;
	vmcs.guest_ldtr_limit = 0xffff;
	vmcs.guest_tr_access_rights = 0x8b;
	vmcs.guest_tr_base = TASK_TSS;
	vmcs.guest_tr_limit = 0x68 + 0x400 / 8;
	*(u16 *)(pages.tss.address + 0x66) = 0x68;
	pages.tss.address[0x68 + 0x400 / 8] = 0xff;

	/* 32-bit paging: a page directory, one page table */
	*(u32 *)pages.directory.address = pages.table.physical | PAGE_PERMISSIONS;
	map(TASK_CODE * 16, &pages.code);
	map(TASK_STACK * 16, &pages.stack);
	map(TASK_DATA * 16, &pages.data);
	map(TASK_TSS, &pages.tss);

	vmcs.guest_cr0 = X86_CR0_PG | X86_CR0_NE | X86_CR0_ET | X86_CR0_PE;
	vmcs.guest_cr3 = pages.directory.physical;
	vmcs.guest_cr4 = X86_CR4_VMXE;
	vmcs.guest_rflags |= X86_EFLAGS_VM;
	vmcs.guest_rsp = 0x1000;
	vmcs.guest_rip = 0;

	memcpy(pages.code.address, task, sizeof(task));
}

/* All that is needed for a VMLAUNCH of the task */
static void prepare_task(void)
{
	enter_vmx_operation();
	make_vmcs_current();

	memset(&vmcs, 0, sizeof(vmcs));
	set_controls(VM_EXIT_HOST_ADDR_SPACE_SIZE, 0);
	set_host_state();
	set_common_guest_state();
	set_task();
	write_all();
}

/* ------------------------------------------------------------------------
 * 9. The launch, and the VM exits after it
 */
static bool launched;

/* Enter the guest until the next VM exit, whose reason is returned */
static u32 run(void)
{
	int r = launched ? enter("vmresume") : enter("vmlaunch");

	GUEST_ASSERT_EQ(r, VMSUCCEED);
	launched = true;
	read_all();
	return vmcs.exit_reason;
}

static void skip_instruction(void)
{
	vmwrite_field(GUEST_RIP, vmcs.guest_rip + vmcs.exit_instruction_length);
}

/* Run the task once; what it wrote to the serial port is the value it saw */
static u16 run_task(void)
{
	u16 seen = 0;
	int i;

	for (i = 0; i < 2; i++) {
		GUEST_ASSERT_EQ(run(), EXIT_REASON_IO_INSTRUCTION);
		/* One byte out, the port in DX */
		GUEST_ASSERT_EQ(vmcs.exit_qualification, (u64)SERIAL_PORT << 16);
		seen |= (guest_regs.rax & 0xff) << (8 * i);
		skip_instruction();
	}
	GUEST_ASSERT_EQ(run(), EXIT_REASON_VMCALL);
	skip_instruction();
	return seen;
}

static void launch(void)
{
	prepare_task();
	GUEST_ASSERT_EQ(run_task(), X86_CR0_NE | X86_CR0_ET | X86_CR0_PE);

	/* The guest is where it stopped, in the mode that it was launched in */
	GUEST_ASSERT_EQ(vmcs.guest_cs_selector, TASK_CODE);
	GUEST_ASSERT_EQ(vmcs.guest_rip, 10);
	GUEST_ASSERT(vmcs.guest_rflags & X86_EFLAGS_VM);

	/* VMRESUME goes on there, and the task starts again */
	GUEST_ASSERT_EQ(run_task(), X86_CR0_NE | X86_CR0_ET | X86_CR0_PE);
	GUEST_DONE();
}

/* ------------------------------------------------------------------------
 * 10. Masks and shadows (chapter "Virtual Machine Control Structures", section
 * "Guest/Host Masks and Read Shadows for CR0 and CR4")
 *
 * Where a bit of the mask is 1, the host owns it: the guest sees the shadow's.
 */
static u64 expected(u64 mask, u64 shadow, u64 actual)
{
	return (shadow & mask) | (actual & ~mask);
}

/* Value number @i of those that consist of the bits of @bits */
static u64 subset(u64 bits, unsigned int i)
{
	u64 value = 0, bit;

	for (bit = 1; bit && bit <= bits; bit <<= 1) {
		if (!(bits & bit))
			continue;
		if (i & 1)
			value |= bit;
		i >>= 1;
	}
	return value;
}

/*
 * For each combination of @bits.  The bits of @fixed are 1 in the register, and
 * those of @visible are what the guest gets to see of it.
 */
static void try_all_combinations(u64 bits, u64 fixed, u64 visible, u32 mask_encoding,
				 u32 shadow_encoding, u32 actual_encoding, u64 (*seen)(void))
{
	const unsigned int n = 1 << __builtin_popcountll(bits);
	unsigned int mask, shadow, actual;
	u64 value, m, s;

	for (actual = 0; actual < n; actual++) {
		value = subset(bits, actual) | fixed;
		GUEST_ASSERT_EQ(vmwrite_field(actual_encoding, value), VMSUCCEED);
		for (mask = 0; mask < n; mask++) {
			m = subset(bits, mask);
			GUEST_ASSERT_EQ(vmwrite_field(mask_encoding, m), VMSUCCEED);
			for (shadow = 0; shadow < n; shadow++) {
				s = subset(bits, shadow);
				GUEST_ASSERT_EQ(vmwrite_field(shadow_encoding, s), VMSUCCEED);
				GUEST_ASSERT_EQ(seen(), visible & expected(m, s, value));
			}
		}
	}

	/* A fixed bit is 1, and the guest may be shown a 0 */
	GUEST_ASSERT_EQ(vmwrite_field(mask_encoding, fixed), VMSUCCEED);
	GUEST_ASSERT_EQ(vmwrite_field(shadow_encoding, 0), VMSUCCEED);
	GUEST_ASSERT_EQ(seen(), subset(bits, n - 1));
	/* All is the host's, and shown is what is not there */
	GUEST_ASSERT_EQ(vmwrite_field(mask_encoding, -1ull), VMSUCCEED);
	GUEST_ASSERT_EQ(vmwrite_field(shadow_encoding, 0x5555), VMSUCCEED);
	GUEST_ASSERT_EQ(seen(), 0x5555);
}

static u64 cr0_of_task(void)
{
	return run_task();
}

static void cr0_mask_and_shadow(void)
{
	prepare_task();
	GUEST_ASSERT_EQ(run_task(), X86_CR0_NE | X86_CR0_ET | X86_CR0_PE);
	/* SMSW has 16 bits */
	try_all_combinations(X86_CR0_MP | X86_CR0_EM | X86_CR0_TS,
			     X86_CR0_NE | X86_CR0_ET | X86_CR0_PE | X86_CR0_PG, 0xffff,
			     CR0_GUEST_HOST_MASK, CR0_READ_SHADOW, GUEST_CR0, cr0_of_task);
	GUEST_DONE();
}

/* A guest that reads CR4 must be privileged: 64-bit code in the VMM's own memory */
static void cr4_reader(void)
{
	asm volatile("1: mov %%cr4, %%rax\n\t"
		     "vmcall\n\t"
		     "jmp 1b" : : : "rax");
}

#define SET_FLAT_SEGMENT(name, selector, rights)			\
do {									\
	vmcs.guest_##name##_selector = selector;			\
	vmcs.guest_##name##_base = 0;					\
	vmcs.guest_##name##_limit = ~0u;				\
	vmcs.guest_##name##_access_rights = rights;			\
} while (0)

#define UNUSABLE	0x10000

static void prepare_64bit_guest(void *rip)
{
	enter_vmx_operation();
	make_vmcs_current();

	memset(&vmcs, 0, sizeof(vmcs));
	set_controls(VM_EXIT_HOST_ADDR_SPACE_SIZE, VM_ENTRY_IA32E_MODE);
	set_host_state();
	set_common_guest_state();
	SET_FLAT_SEGMENT(cs, get_cs(), 0xa09b);
	SET_FLAT_SEGMENT(ss, get_ss(), 0xc093);
	SET_FLAT_SEGMENT(ds, 0, UNUSABLE);
	SET_FLAT_SEGMENT(es, 0, UNUSABLE);
	SET_FLAT_SEGMENT(fs, 0, UNUSABLE);
	SET_FLAT_SEGMENT(gs, 0, UNUSABLE);
	vmcs.guest_ldtr_access_rights = UNUSABLE;
	vmcs.guest_tr_selector = get_tr();
	vmcs.guest_tr_base = vmcs.host_tr_base;
	vmcs.guest_tr_limit = 0x67;
	vmcs.guest_tr_access_rights = 0x8b;
	vmcs.guest_gdtr_base = vmcs.host_gdtr_base;
	vmcs.guest_gdtr_limit = get_gdt().size;
	vmcs.guest_idtr_base = vmcs.host_idtr_base;
	vmcs.guest_idtr_limit = get_idt().size;
	vmcs.guest_cr0 = get_cr0();
	vmcs.guest_cr3 = get_cr3();
	vmcs.guest_cr4 = get_cr4();
	vmcs.guest_rip = (u64)rip;
	vmcs.guest_rsp = (u64)pages.stack.address + 4096;
	write_all();
}

static u64 run_cr4_reader(void)
{
	GUEST_ASSERT_EQ(run(), EXIT_REASON_VMCALL);
	skip_instruction();
	return guest_regs.rax;
}

static void cr4_mask_and_shadow(void)
{
	prepare_64bit_guest(cr4_reader);
	GUEST_ASSERT_EQ(run_cr4_reader(), get_cr4());
	try_all_combinations(X86_CR4_TSD | X86_CR4_DE | X86_CR4_PCE,
			     X86_CR4_VMXE | X86_CR4_PAE, -1ull,
			     CR4_GUEST_HOST_MASK, CR4_READ_SHADOW, GUEST_CR4, run_cr4_reader);
	GUEST_DONE();
}

/* ------------------------------------------------------------------------
 * 11. The table again: each component is what was written, whatever its width
 */
static u64 mask_of(u32 encoding)
{
	static const u8 bits[] = { 16, 64, 32, 64 };

	/* CPUs need not keep the reserved bits of access rights */
	if (encoding >= GUEST_ES_AR_BYTES && encoding <= GUEST_TR_AR_BYTES)
		return 0x1f0ff;
	return GENMASK_ULL(bits[ENCODING_WIDTH(encoding)] - 1, 0);
}

static void table(void)
{
	const u32 max_index = (rdmsr(MSR_IA32_VMX_VMCS_ENUM) >> 1) & 0x1ff;
	const struct component *c;
	u64 value;
	int pass;

	GUEST_ASSERT_EQ(ENCODING(WIDTH_16, TYPE_GUEST, 1), GUEST_CS_SELECTOR);
	GUEST_ASSERT_EQ(ENCODING(WIDTH_64, TYPE_CONTROL, 8), TSC_OFFSET);
	GUEST_ASSERT_EQ(ENCODING(WIDTH_32, TYPE_READ_ONLY, 1), VM_EXIT_REASON);
	GUEST_ASSERT_EQ(ENCODING(WIDTH_NATURAL, TYPE_HOST, 0xb), HOST_RIP);

	enter_vmx_operation();
	make_vmcs_current();

	/* Each has a value of its own, and then another */
	for (pass = 0; pass < 2; pass++) {
		for (c = components; c < components + ARRAY_SIZE(components); c++)
			*c->variable = 0x0123456789abcdefull * (2 * (c - components) + 3 + pass);
		write_all();
		read_all();
		for (c = components; c < components + ARRAY_SIZE(components); c++) {
			GUEST_ASSERT(ENCODING_INDEX(c->encoding) <= max_index);
			if (is_read_only(c->encoding))
				continue;
			value = 0x0123456789abcdefull * (2 * (c - components) + 3 + pass);
			GUEST_ASSERT_EQ(*c->variable & mask_of(c->encoding),
					value & mask_of(c->encoding));

			/* The upper half has an encoding of its own, if there is one */
			if (ENCODING_WIDTH(c->encoding) != WIDTH_64) {
				GUEST_ASSERT_EQ(vmread_field(c->encoding | ENCODING_HIGH, &value),
						VMFAIL_VALID(UNSUPPORTED_COMPONENT));
				continue;
			}
			GUEST_ASSERT_EQ(vmread_field(c->encoding | ENCODING_HIGH, &value),
					VMSUCCEED);
			GUEST_ASSERT_EQ(value, *c->variable >> 32);
			GUEST_ASSERT_EQ(vmwrite_field(c->encoding | ENCODING_HIGH, 0x12345678),
					VMSUCCEED);
			GUEST_ASSERT_EQ(vmread_field(c->encoding, &value), VMSUCCEED);
			GUEST_ASSERT_EQ(value, (*c->variable & 0xffffffff) | 0x12345678ull << 32);
		}
	}
	GUEST_DONE();
}

static void controls(void)
{
	static const u32 msrs[] = {
		MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_PROCBASED_CTLS,
		MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_ENTRY_CTLS,
	};
	u32 low, high;
	u64 control;
	int i, bit;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		low = rdmsr(msrs[i]);
		high = rdmsr(msrs[i]) >> 32;
		/* What must be 1 may be 1 */
		GUEST_ASSERT_EQ(low & ~high, 0);
		for (bit = 0; bit < 32; bit++) {
			GUEST_ASSERT_EQ(adjust_controls(msrs[i], BIT(bit), &control),
					!!(high & BIT(bit)));
			GUEST_ASSERT_EQ(control, low | (high & BIT(bit)));
		}
	}
	GUEST_DONE();
}

/* ------------------------------------------------------------------------
 * 12. Each way to get it wrong
 */

/* Before there is a current VMCS, and with what is no VMCS */
static void wrong_region(void)
{
	const u64 unaligned = pages.vmcs.physical + 8;
	u64 value;

	/* VMX operation is not enabled: VMX instructions don't exist */
	set_fixed_bits();
	set_cr4(get_cr4() & ~X86_CR4_VMXE);
	set_revision(&pages.vmxon, revision());
	GUEST_ASSERT_EQ(kvm_asm_safe("vmxon %[address]", [address] "m"(pages.vmxon.physical)),
			UD_VECTOR);
	set_cr4(get_cr4() | X86_CR4_VMXE);

	/* A VMXON region of another revision, or of one with bit 31, or unaligned */
	set_revision(&pages.vmxon, revision() ^ 1);
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical), VMFAIL_INVALID);
	set_revision(&pages.vmxon, revision() | BIT(31));
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical), VMFAIL_INVALID);
	set_revision(&pages.vmxon, revision());
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical + 8), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical), VMSUCCEED);

	/* Without a current VMCS there is no place for an error number */
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(vmread_field(GUEST_RIP, &value), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(vmwrite_field(GUEST_RIP, 0), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(enter("vmlaunch"), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(enter("vmresume"), VMFAIL_INVALID);
	set_revision(&pages.vmcs, revision() ^ 1);
	GUEST_ASSERT_EQ(region_insn("vmclear", pages.vmcs.physical), VMSUCCEED);
	GUEST_ASSERT_EQ(region_insn("vmptrld", pages.vmcs.physical), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(region_insn("vmptrld", unaligned), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(region_insn("vmclear", unaligned), VMFAIL_INVALID);
	GUEST_ASSERT_EQ(region_insn("vmclear", pages.vmxon.physical), VMFAIL_INVALID);

	/* The same with a current VMCS */
	make_vmcs_current();
	GUEST_ASSERT_EQ(region_insn("vmxon", pages.vmxon.physical),
			VMFAIL_VALID(VMXON_IN_ROOT_OPERATION));
	GUEST_ASSERT_EQ(region_insn("vmclear", unaligned),
			VMFAIL_VALID(VMCLEAR_INVALID_ADDRESS));
	GUEST_ASSERT_EQ(region_insn("vmclear", pages.vmxon.physical),
			VMFAIL_VALID(VMCLEAR_VMXON_POINTER));
	GUEST_ASSERT_EQ(region_insn("vmptrld", unaligned),
			VMFAIL_VALID(VMPTRLD_INVALID_ADDRESS));
	GUEST_ASSERT_EQ(region_insn("vmptrld", pages.vmxon.physical),
			VMFAIL_VALID(VMPTRLD_VMXON_POINTER));
	set_revision(&pages.other_vmcs, revision() ^ 1);
	GUEST_ASSERT_EQ(region_insn("vmptrld", pages.other_vmcs.physical),
			VMFAIL_VALID(VMPTRLD_INCORRECT_REVISION));

	/* After VMCLEAR of the current VMCS there is none */
	GUEST_ASSERT_EQ(region_insn("vmclear", pages.vmcs.physical), VMSUCCEED);
	GUEST_ASSERT_EQ(vmread_field(GUEST_RIP, &value), VMFAIL_INVALID);
	GUEST_DONE();
}

/* Of IA32_VMX_MISC: VMWRITE writes all components */
#define VMX_MISC_VMWRITE_ALL	BIT(29)

static void wrong_component(void)
{
	const bool writable = rdmsr(MSR_IA32_VMX_MISC) & VMX_MISC_VMWRITE_ALL;
	u64 value;

	enter_vmx_operation();
	make_vmcs_current();

	/* An index that is never used; reserved bits; the upper half of 32 bits */
	GUEST_ASSERT_EQ(vmread_field(ENCODING(WIDTH_32, TYPE_HOST, 0x1ff), &value),
			VMFAIL_VALID(UNSUPPORTED_COMPONENT));
	GUEST_ASSERT_EQ(vmwrite_field(ENCODING(WIDTH_32, TYPE_HOST, 0x1ff), 0),
			VMFAIL_VALID(UNSUPPORTED_COMPONENT));
	GUEST_ASSERT_EQ(vmread_field(GUEST_RIP | BIT(12), &value),
			VMFAIL_VALID(UNSUPPORTED_COMPONENT));
	GUEST_ASSERT_EQ(vmread_field(GUEST_RIP | BIT(15), &value),
			VMFAIL_VALID(UNSUPPORTED_COMPONENT));
	GUEST_ASSERT_EQ(vmwrite_field(VM_ENTRY_CONTROLS | ENCODING_HIGH, 0),
			VMFAIL_VALID(UNSUPPORTED_COMPONENT));

	GUEST_ASSERT_EQ(vmwrite_field(VM_EXIT_REASON, 0), writable ? VMSUCCEED :
			VMFAIL_VALID(VMWRITE_READ_ONLY_COMPONENT));
	GUEST_DONE();
}

/* What VMLAUNCH does with one component changed; it is as it was then */
static int launch_with(u32 encoding, u64 value)
{
	u64 old;
	int r;

	GUEST_ASSERT_EQ(vmread_field(encoding, &old), VMSUCCEED);
	GUEST_ASSERT_EQ(vmwrite_field(encoding, value), VMSUCCEED);
	r = enter("vmlaunch");
	GUEST_ASSERT_EQ(vmwrite_field(encoding, old), VMSUCCEED);
	return r;
}

/* In the end it's still a VMCS that can be launched */
static void launch_after_all(void)
{
	GUEST_ASSERT_EQ(enter("vmlaunch"), VMSUCCEED);
	read_all();
	GUEST_ASSERT_EQ(vmcs.exit_reason, EXIT_REASON_IO_INSTRUCTION);
}

/* One bit too many, or one too few, of each control */
static void wrong_controls(void)
{
	static const struct {
		u32 encoding, msr;
	} c[] = {
		{ PIN_BASED_VM_EXEC_CONTROL, MSR_IA32_VMX_TRUE_PINBASED_CTLS },
		{ CPU_BASED_VM_EXEC_CONTROL, MSR_IA32_VMX_TRUE_PROCBASED_CTLS },
		{ VM_EXIT_CONTROLS, MSR_IA32_VMX_TRUE_EXIT_CTLS },
		{ VM_ENTRY_CONTROLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS },
	};
	u32 low, high;
	int i, bit;
	u64 value;

	prepare_task();
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		low = rdmsr(c[i].msr);
		high = rdmsr(c[i].msr) >> 32;
		GUEST_ASSERT_EQ(vmread_field(c[i].encoding, &value), VMSUCCEED);
		for (bit = 0; bit < 32; bit++) {
			if (!(high & BIT(bit)))
				GUEST_ASSERT_EQ(launch_with(c[i].encoding, value | BIT(bit)),
						VMFAIL_VALID(ENTRY_INVALID_CONTROL));
			if (low & BIT(bit))
				GUEST_ASSERT_EQ(launch_with(c[i].encoding, value & ~BIT(bit)),
						VMFAIL_VALID(ENTRY_INVALID_CONTROL));
		}
	}

	/* More CR3 targets than there are */
	GUEST_ASSERT_EQ(launch_with(CR3_TARGET_COUNT, 257),
			VMFAIL_VALID(ENTRY_INVALID_CONTROL));
	/* An event of the reserved type 1, to be injected */
	GUEST_ASSERT_EQ(launch_with(VM_ENTRY_INTR_INFO_FIELD, BIT(31) | 1 << 8),
			VMFAIL_VALID(ENTRY_INVALID_CONTROL));
	launch_after_all();
	GUEST_DONE();
}

static void wrong_host_state(void)
{
	static const struct {
		u32 encoding;
		u64 value;
	} c[] = {
		{ HOST_CR0, X86_CR0_PE | X86_CR0_PG },		/* no NE */
		{ HOST_CR4, X86_CR4_PAE },			/* no VMXE */
		{ HOST_CR4, X86_CR4_VMXE },			/* 64-bit without PAE */
		{ HOST_CR3, 1ull << 62 },
		{ HOST_CS_SELECTOR, 0 },
		{ HOST_TR_SELECTOR, 0 },
		{ HOST_CS_SELECTOR, 0xb },			/* RPL */
		{ HOST_DS_SELECTOR, 0x4 },			/* TI */
		{ HOST_FS_BASE, 1ull << 63 },			/* not canonical */
		{ HOST_GDTR_BASE, 1ull << 63 },
		{ HOST_TR_BASE, 1ull << 63 },
		{ HOST_IA32_SYSENTER_EIP, 1ull << 63 },
	};
	int i;

	prepare_task();
	for (i = 0; i < ARRAY_SIZE(c); i++)
		GUEST_ASSERT_EQ(launch_with(c[i].encoding, c[i].value),
				VMFAIL_VALID(ENTRY_INVALID_HOST_STATE));
	launch_after_all();
	GUEST_DONE();
}

/*
 * With the host's state loaded as by a VM exit, and a bit in the exit reason that
 * says that there was no entry.
 */
#define INVALID_GUEST_STATE	(EXIT_REASON_FAILED_VMENTRY | EXIT_REASON_INVALID_STATE)

#define BAD_QUALIFICATION_LINK	4

static void check_guest_state(u32 encoding, u64 value, u64 qualification)
{
	GUEST_ASSERT_EQ(launch_with(encoding, value), VMSUCCEED);
	read_all();
	__GUEST_ASSERT(vmcs.exit_reason == INVALID_GUEST_STATE,
		       "Launch with 0x%x = 0x%lx: exit reason 0x%lx", encoding, value,
		       vmcs.exit_reason);
	GUEST_ASSERT_EQ(vmcs.exit_qualification, qualification);
}

static void wrong_guest_state(void)
{
	static const u32 segments[] = {
		GUEST_ES_SELECTOR, GUEST_CS_SELECTOR, GUEST_SS_SELECTOR,
		GUEST_DS_SELECTOR, GUEST_FS_SELECTOR, GUEST_GS_SELECTOR,
	};
	int i, segment;

	prepare_task();

	/* In virtual-8086 mode all of a segment follows from its selector */
	for (i = 0; i < ARRAY_SIZE(segments); i++) {
		segment = ENCODING_INDEX(segments[i]);
		check_guest_state(GUEST_ES_BASE + 2 * segment, 0x12340, 0);
		check_guest_state(GUEST_ES_LIMIT + 2 * segment, 0xfffff, 0);
		check_guest_state(GUEST_ES_AR_BYTES + 2 * segment, 0x93, 0);
		check_guest_state(GUEST_ES_AR_BYTES + 2 * segment, 0xfb, 0);
		check_guest_state(GUEST_ES_AR_BYTES + 2 * segment, 0xf3 | UNUSABLE, 0);
	}

	/* TR: unusable, not busy, or in the LDT.  LDTR: no LDT */
	check_guest_state(GUEST_TR_AR_BYTES, 0x8b | UNUSABLE, 0);
	check_guest_state(GUEST_TR_AR_BYTES, 0x89, 0);
	check_guest_state(GUEST_TR_SELECTOR, 0x4, 0);
	check_guest_state(GUEST_LDTR_AR_BYTES, 0x8b, 0);

	check_guest_state(GUEST_GDTR_LIMIT, 0x10000, 0);
	check_guest_state(GUEST_IDTR_LIMIT, 0x10000, 0);
	check_guest_state(GUEST_RFLAGS, X86_EFLAGS_VM, 0);		/* bit 1 is 1 */
	check_guest_state(GUEST_RFLAGS, X86_EFLAGS_VM | X86_EFLAGS_FIXED | BIT(15), 0);
	check_guest_state(GUEST_CR0, X86_CR0_PE | X86_CR0_PG, 0);	/* no NE */
	check_guest_state(GUEST_CR4, 0, 0);				/* no VMXE */
	check_guest_state(GUEST_ACTIVITY_STATE, 4, 0);
	check_guest_state(GUEST_INTERRUPTIBILITY_INFO, BIT(5), 0);
	/* Blocking by STI with RFLAGS.IF clear */
	check_guest_state(GUEST_INTERRUPTIBILITY_INFO, BIT(0), 0);

	/* What is linked is no VMCS, or no address of one */
	check_guest_state(VMCS_LINK_POINTER, 0, BAD_QUALIFICATION_LINK);
	check_guest_state(VMCS_LINK_POINTER, pages.data.physical, BAD_QUALIFICATION_LINK);
	check_guest_state(VMCS_LINK_POINTER, pages.vmcs.physical | 1, BAD_QUALIFICATION_LINK);

	/* There was no launch: VMRESUME is still wrong, VMLAUNCH right */
	GUEST_ASSERT_EQ(enter("vmresume"), VMFAIL_VALID(VMRESUME_NONLAUNCHED_VMCS));
	launch_after_all();
	GUEST_DONE();
}

static void wrong_order(void)
{
	bool cf, zf;
	u64 rax;

	prepare_task();

	GUEST_ASSERT_EQ(enter("vmresume"), VMFAIL_VALID(VMRESUME_NONLAUNCHED_VMCS));

	/*
	 * VMCALL fails in root operation, too, but not here: it's how a guest of
	 * KVM, whichever mode it's in, calls KVM.
	 */

	/* The instruction after MOV SS can't be a VM entry */
	asm volatile("mov %%ss, %%eax\n\t"
		     "mov %%eax, %%ss\n\t"
		     "vmlaunch" : "=@ccc"(cf), "=@ccz"(zf), "=a"(rax) : : "memory");
	GUEST_ASSERT_EQ(outcome(cf, zf), VMFAIL_VALID(ENTRY_BLOCKED_BY_MOV_SS));

	/* Nor can a guest be launched twice, until a VMCLEAR */
	GUEST_ASSERT_EQ(run_task(), X86_CR0_NE | X86_CR0_ET | X86_CR0_PE);
	GUEST_ASSERT_EQ(enter("vmlaunch"), VMFAIL_VALID(VMLAUNCH_NONCLEAR_VMCS));
	GUEST_ASSERT_EQ(run_task(), X86_CR0_NE | X86_CR0_ET | X86_CR0_PE);
	make_vmcs_current();
	GUEST_ASSERT_EQ(enter("vmresume"), VMFAIL_VALID(VMRESUME_NONLAUNCHED_VMCS));
	launch_after_all();

	/* Out of VMX operation its instructions don't exist */
	asm volatile("vmxoff");
	GUEST_ASSERT_EQ(kvm_asm_safe("vmptrld %[address]", [address] "m"(pages.vmcs.physical)),
			UD_VECTOR);
	GUEST_DONE();
}

/* ------------------------------------------------------------------------
 * 13. Outside of the lesson: the VM that the VMM runs in
 */
FIXTURE(walkthrough) {
	struct kvm_vcpu *vcpu;
};

FIXTURE_SETUP(walkthrough)
{
	struct page *page;
	struct kvm_vm *vm;
	gva_t gva;

	vm = vm_create_with_one_vcpu(&self->vcpu, NULL);
	for (page = (void *)&pages; page < (struct page *)(&pages + 1); page++) {
		gva = vm_alloc_page(vm);
		memset(addr_gva2hva(vm, gva), 0, 4096);
		page->address = (void *)gva;
		page->physical = addr_gva2gpa(vm, gva);
	}
	sync_global_to_guest(vm, pages);
}

FIXTURE_TEARDOWN(walkthrough)
{
	kvm_vm_free(self->vcpu->vm);
}

static void run_vmm(struct kvm_vcpu *vcpu, void (*vmm)(void))
{
	struct ucall uc;

	vcpu_arch_set_entry_point(vcpu, vmm);
	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_DONE:
		return;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		TEST_FAIL("Unexpected exit: %s", exit_reason_str(vcpu->run->exit_reason));
	}
}

TEST_F(walkthrough, table)
{
	run_vmm(self->vcpu, table);
}

TEST_F(walkthrough, controls)
{
	run_vmm(self->vcpu, controls);
}

TEST_F(walkthrough, launch)
{
	run_vmm(self->vcpu, launch);
}

TEST_F(walkthrough, cr0_mask_and_shadow)
{
	run_vmm(self->vcpu, cr0_mask_and_shadow);
}

TEST_F(walkthrough, cr4_mask_and_shadow)
{
	run_vmm(self->vcpu, cr4_mask_and_shadow);
}

TEST_F(walkthrough, wrong_region)
{
	run_vmm(self->vcpu, wrong_region);
}

TEST_F(walkthrough, wrong_controls)
{
	run_vmm(self->vcpu, wrong_controls);
}

TEST_F(walkthrough, wrong_host_state)
{
	run_vmm(self->vcpu, wrong_host_state);
}

TEST_F(walkthrough, wrong_guest_state)
{
	run_vmm(self->vcpu, wrong_guest_state);
}

TEST_F(walkthrough, wrong_order)
{
	run_vmm(self->vcpu, wrong_order);
}

TEST_F(walkthrough, wrong_component)
{
	run_vmm(self->vcpu, wrong_component);
}

TEST_F(walkthrough, wrong_component_read_only)
{
	u64 misc = vcpu_get_msr(self->vcpu, MSR_IA32_VMX_MISC);

	vcpu_set_msr(self->vcpu, MSR_IA32_VMX_MISC, misc & ~VMX_MISC_VMWRITE_ALL);
	run_vmm(self->vcpu, wrong_component);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_VMX));

	return test_harness_run(argc, argv);
}
