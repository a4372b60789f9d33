// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest in which programs made at random run: tables, and handlers that log
 * exceptions and go on with the next instruction of the program.
 */
#include <linux/stringify.h>

#include "kvmi_program.h"
#include "test_util.h"

#define NR_VECTORS	256
#define STUB_SIZE	16
#define LDT		(KVMI_PROGRAM_GDT + 0x80)
#define TSS		(KVMI_PROGRAM_GDT + 0x100)
#define TSS2		(KVMI_PROGRAM_GDT + 0x200)
#define LDT_LIMIT	0x7

/* HLT, to be found wherever a program gets lost */
#define FILLER		0xf4

/* Vectors 1, 3 and 4: RIP is where to go on. */
#define TRAPS		0x1a
/* Vectors 8, 10 to 14, 17, 21, 29 and 30 */
#define ERROR_CODES	0x60227d00

const u32 kvmi_program_msrs[KVMI_PROGRAM_NR_MSRS] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
	MSR_IA32_CR_PAT,
};

/*
 * The stack has the vector, then, but for real mode, an error code, then what
 * the processor has pushed.  The code is copied: it has no address of its own.
 */
#define LOG		__stringify(KVMI_PROGRAM_LOG)
#define LOG_CODE	LOG "+" __stringify(KVMI_PROGRAM_LOG_CODE)
#define LOG_SIZE	LOG "+" __stringify(KVMI_PROGRAM_LOG_SIZE)
#define LOG_ENTRIES	LOG "+" __stringify(KVMI_PROGRAM_LOG_ENTRIES)
#define LOG_NEXT	LOG "+" __stringify(KVMI_PROGRAM_LOG_NEXT)
#define END_PORT	__stringify(KVMI_PROGRAM_END_PORT)
#define RF_BIT		"16"

asm(".pushsection .rodata\n"
	".code64\n"
	"kvmi_handler64:\n"
	"	push	%rax\n"
	"	push	%rcx\n"
	"	push	%rdx\n"
	/*
	 * Leave out RFLAGS.RF of what is no fault: Bochs sets it if an EPT violation
	 * interrupts the delivery.
	 */
	"	movzbl	24(%rsp), %ecx\n"
	"	cmp	$32, %ecx\n"
	"	jae	2f\n"
	"	mov	$" __stringify(TRAPS) ", %eax\n"
	"	bt	%ecx, %eax\n"
	"	jnc	1f\n"
	"2:	btrl	$" RF_BIT ", 56(%rsp)\n"
	"1:\n"
	"	mov	" LOG ", %eax\n"
	"	cmp	$" __stringify(KVMI_PROGRAM_LOG_MAX) ", %eax\n"
	"	jae	9f\n"
	"	incl	" LOG "\n"
	"	shl	$7, %eax\n"
	"	lea	" LOG_ENTRIES "(%rax), %rdx\n"
	"	movzbl	24(%rsp), %ecx\n"
	"	mov	%rcx, (%rdx)\n"
	"	mov	32(%rsp), %rcx\n"
	"	mov	%rcx, 8(%rdx)\n"
	"	mov	40(%rsp), %rcx\n"
	"	mov	%rcx, 16(%rdx)\n"
	"	mov	48(%rsp), %rcx\n"
	"	mov	%rcx, 24(%rdx)\n"
	"	mov	56(%rsp), %rcx\n"
	"	mov	%rcx, 32(%rdx)\n"
	"	mov	64(%rsp), %rcx\n"
	"	mov	%rcx, 40(%rdx)\n"
	"	mov	72(%rsp), %rcx\n"
	"	mov	%rcx, 48(%rdx)\n"
	"	mov	%cr2, %rcx\n"
	"	mov	%rcx, 56(%rdx)\n"
	"	mov	%dr6, %rcx\n"
	"	mov	%rcx, 64(%rdx)\n"
	"	mov	40(%rsp), %rcx\n"
	"	sub	" LOG_CODE ", %rcx\n"
	"	cmp	" LOG_SIZE ", %rcx\n"
	"	jae	9f\n"
	"	movzbl	24(%rsp), %eax\n"
	"	cmp	$32, %eax\n"
	"	jae	8f\n"
	"	mov	$" __stringify(TRAPS) ", %edx\n"
	"	bt	%eax, %edx\n"
	"	jc	8f\n"
	"	movzbl	" LOG_NEXT "(%rcx), %ecx\n"
	"	add	" LOG_CODE ", %rcx\n"
	"	mov	%rcx, 40(%rsp)\n"
	"8:	pop	%rdx\n"
	"	pop	%rcx\n"
	"	pop	%rax\n"
	"	add	$16, %rsp\n"
	"	iretq\n"
	"9:	out	%al, $" END_PORT "\n"
	"	jmp	9b\n"

	".code32\n"
	"kvmi_handler32:\n"
	"	push	%eax\n"
	"	push	%ecx\n"
	"	push	%edx\n"
	"	mov	%ds, %eax\n"
	"	push	%eax\n"
	"	mov	$" __stringify(KVMI_PROGRAM_KERNEL_DS) ", %eax\n"
	"	mov	%eax, %ds\n"
	"	movzbl	16(%esp), %ecx\n"
	"	cmp	$32, %ecx\n"
	"	jae	2f\n"
	"	mov	$" __stringify(TRAPS) ", %eax\n"
	"	bt	%ecx, %eax\n"
	"	jnc	1f\n"
	"2:	btrl	$" RF_BIT ", 32(%esp)\n"
	"1:\n"
	"	mov	" LOG ", %eax\n"
	"	cmp	$" __stringify(KVMI_PROGRAM_LOG_MAX) ", %eax\n"
	"	jae	9f\n"
	"	incl	" LOG "\n"
	"	shl	$7, %eax\n"
	"	lea	" LOG_ENTRIES "(%eax), %edx\n"
	"	movzbl	16(%esp), %ecx\n"
	"	mov	%ecx, (%edx)\n"
	"	mov	20(%esp), %ecx\n"
	"	mov	%ecx, 8(%edx)\n"
	"	mov	24(%esp), %ecx\n"
	"	mov	%ecx, 16(%edx)\n"
	"	mov	28(%esp), %ecx\n"
	"	mov	%ecx, 24(%edx)\n"
	"	mov	32(%esp), %ecx\n"
	"	mov	%ecx, 32(%edx)\n"
	"	mov	36(%esp), %ecx\n"
	"	mov	%ecx, 40(%edx)\n"
	"	mov	40(%esp), %ecx\n"
	"	mov	%ecx, 48(%edx)\n"
	"	mov	%cr2, %ecx\n"
	"	mov	%ecx, 56(%edx)\n"
	"	mov	%dr6, %ecx\n"
	"	mov	%ecx, 64(%edx)\n"
	"	mov	24(%esp), %ecx\n"
	"	sub	" LOG_CODE ", %ecx\n"
	"	cmp	" LOG_SIZE ", %ecx\n"
	"	jae	9f\n"
	"	movzbl	16(%esp), %eax\n"
	"	cmp	$32, %eax\n"
	"	jae	8f\n"
	"	mov	$" __stringify(TRAPS) ", %edx\n"
	"	bt	%eax, %edx\n"
	"	jc	8f\n"
	"	movzbl	" LOG_NEXT "(%ecx), %ecx\n"
	"	add	" LOG_CODE ", %ecx\n"
	"	mov	%ecx, 24(%esp)\n"
	"8:	pop	%ds\n"
	"	pop	%edx\n"
	"	pop	%ecx\n"
	"	pop	%eax\n"
	"	add	$8, %esp\n"
	"	iret\n"
	"9:	out	%al, $" END_PORT "\n"
	"	jmp	9b\n"

	".code16\n"
	"kvmi_handler16:\n"
	"	push	%eax\n"
	"	push	%bx\n"
	"	push	%cx\n"
	"	push	%bp\n"
	"	push	%ds\n"
	"	mov	%sp, %bp\n"
	"	xor	%ax, %ax\n"
	"	mov	%ax, %ds\n"
	"	mov	" LOG ", %bx\n"
	"	cmp	$" __stringify(KVMI_PROGRAM_LOG_MAX) ", %bx\n"
	"	jae	9f\n"
	"	incw	" LOG "\n"
	"	shl	$7, %bx\n"
	"	mov	12(%bp), %cx\n"
	"	mov	%cl, " LOG_ENTRIES "(%bx)\n"
	"	mov	14(%bp), %cx\n"
	"	mov	%cx, " LOG_ENTRIES "+16(%bx)\n"
	"	mov	16(%bp), %cx\n"
	"	mov	%cx, " LOG_ENTRIES "+24(%bx)\n"
	"	mov	18(%bp), %cx\n"
	"	mov	%cx, " LOG_ENTRIES "+32(%bx)\n"
	"	mov	%dr6, %eax\n"
	"	mov	%eax, " LOG_ENTRIES "+64(%bx)\n"
	"	mov	14(%bp), %bx\n"
	"	sub	" LOG_CODE ", %bx\n"
	"	cmp	" LOG_SIZE ", %bx\n"
	"	jae	9f\n"
	"	movzbw	12(%bp), %cx\n"
	"	cmp	$32, %cx\n"
	"	jae	8f\n"
	"	mov	$" __stringify(TRAPS) ", %ax\n"
	"	bt	%cx, %ax\n"
	"	jc	8f\n"
	"	movzbw	" LOG_NEXT "(%bx), %cx\n"
	"	add	" LOG_CODE ", %cx\n"
	"	mov	%cx, 14(%bp)\n"
	"8:	pop	%ds\n"
	"	pop	%bp\n"
	"	pop	%cx\n"
	"	pop	%bx\n"
	"	pop	%eax\n"
	"	add	$2, %sp\n"
	"	iret\n"
	"9:	out	%al, $" END_PORT "\n"
	"	jmp	9b\n"
	"kvmi_handler_end:\n"
	".code64\n"
	".popsection\n");

static void put(u8 *mem, u64 gpa, u64 val, int size)
{
	memcpy(mem + gpa, &val, size);
}

bool kvmi_program_on_qemu(void)
{
	static int on_qemu = -1;
	u32 eax, ebx, ecx, edx;

	if (on_qemu < 0) {
		cpuid(0x40000000, &eax, &ebx, &ecx, &edx);
		/* "TCGTCGTCGTCG" */
		on_qemu = this_cpu_has(X86_FEATURE_HYPERVISOR) &&
			  ebx == 0x54474354;
	}
	return on_qemu;
}

const char *kvmi_program_mode_name(const struct kvmi_program *p)
{
	static const char * const names[][2] = {
		[KVMI_PROGRAM_REAL] = { "real" },
		[KVMI_PROGRAM_FLAT] = { "flat", "flat user" },
		[KVMI_PROGRAM_PROT] = { "prot", "prot user" },
		[KVMI_PROGRAM_PAE] = { "pae", "pae user" },
		[KVMI_PROGRAM_COMPAT] = { "compat", "compat user" },
		[KVMI_PROGRAM_LONG] = { "long", "long user" },
	};

	return names[p->mode][p->user];
}

static void make_gdt(struct kvmi_program *p)
{
	bool is_long = kvmi_program_is_long(p);
	const struct kvm_segment segs[] = {
		kvmi_code_segment(KVMI_PROGRAM_KERNEL_CS, is_long),
		kvmi_data_segment(KVMI_PROGRAM_KERNEL_DS),
		kvmi_code_segment(KVMI_PROGRAM_USER_CS32, false),
		kvmi_data_segment(KVMI_PROGRAM_USER_DS),
		kvmi_code_segment(KVMI_PROGRAM_USER_CS64, is_long),
		kvmi_segment(KVMI_PROGRAM_TR, TSS, KVMI_TSS_LIMIT,
			     KVMI_TSS_BUSY, false),
		kvmi_segment(KVMI_PROGRAM_LDTR, LDT, LDT_LIMIT,
			     KVMI_LDT_SEGMENT, false),
		kvmi_segment(KVMI_PROGRAM_TR2, TSS2, KVMI_TSS_LIMIT,
			     KVMI_TSS_FREE, false),
	};
	struct kvm_segment absent = kvmi_data_segment(KVMI_PROGRAM_ABSENT_DS);
	u8 *gdt = p->mem + KVMI_PROGRAM_GDT;
	int i;

	/* The second half of long descriptors is 0 where nothing else is. */
	memset(gdt, 0, 0x300);
	for (i = 0; i < ARRAY_SIZE(segs); i++)
		kvmi_put_descriptor(gdt, &segs[i]);
	absent.present = 0;
	absent.dpl = 3;
	kvmi_put_descriptor(gdt, &absent);
	if (is_long) {
		put(gdt, KVMI_PROGRAM_LDTR + 8, 0, 8);
		kvmi_put_descriptor(gdt, &segs[7]);
	}
}

/* Users that take an exception find the supervisor's stack empty. */
static void make_tss(struct kvmi_program *p)
{
	u64 tss;

	for (tss = TSS; tss <= TSS2; tss += TSS2 - TSS) {
		put(p->mem, tss + 4, KVMI_PROGRAM_STACK, 4);
		if (!kvmi_program_is_long(p))
			put(p->mem, tss + 8, KVMI_PROGRAM_KERNEL_DS, 2);
		/* No I/O bitmap */
		put(p->mem, tss + KVMI_TSS_LIMIT - 1, KVMI_TSS_LIMIT + 1, 2);
	}
}

static void make_stub(struct kvmi_program *p, int vector)
{
	u64 stub = KVMI_PROGRAM_HANDLERS + vector * STUB_SIZE;
	bool has_error_code = vector < 32 && ERROR_CODES & BIT(vector);
	u64 next;

	/* PUSH 0; PUSH vector; JMP */
	if (!kvmi_program_is_real(p) && !has_error_code) {
		put(p->mem, stub, 0x006a, 2);
		stub += 2;
	}
	put(p->mem, stub, 0x6a | vector << 8, 2);
	stub += 2;
	p->mem[stub] = 0xe9;
	next = stub + (kvmi_program_is_real(p) ? 3 : 5);
	put(p->mem, stub + 1, KVMI_PROGRAM_COMMON - next,
	    kvmi_program_is_real(p) ? 2 : 4);
}

/* Users may use INT with every other vector. */
static void make_idt(struct kvmi_program *p)
{
	int size = kvmi_program_is_long(p) ? 16 : 8;
	u64 handler, gate;
	int i;

	for (i = 0; i < NR_VECTORS; i++) {
		handler = KVMI_PROGRAM_HANDLERS + i * STUB_SIZE;
		make_stub(p, i);
		if (kvmi_program_is_real(p)) {
			put(p->mem, KVMI_PROGRAM_IVT + i * 4, handler, 4);
			continue;
		}

		/* A present interrupt gate */
		gate = handler | KVMI_PROGRAM_KERNEL_CS << 16 | 0x8eull << 40;
		if (i == BP_VECTOR || i == OF_VECTOR || (i >= 32 && !(i & 1)))
			gate |= 3ull << 45;
		memset(p->mem + KVMI_PROGRAM_IDT + i * size, 0, size);
		put(p->mem, KVMI_PROGRAM_IDT + i * size, gate, 8);
	}
}

static void make_common(struct kvmi_program *p)
{
	const u8 *from = kvmi_handler64, *to = kvmi_handler32;

	if (kvmi_program_is_real(p)) {
		from = kvmi_handler16;
		to = kvmi_handler_end;
	} else if (!kvmi_program_is_long(p)) {
		from = kvmi_handler32;
		to = kvmi_handler16;
	}
	memcpy(p->mem + KVMI_PROGRAM_COMMON, from, to - from);
}

/* Present and writable */
#define PTE		0x3
#define PTE_USER	0x4
#define PTE_ACCESSED	0x20
#define PTE_DIRTY	0x40
#define PTE_NX		BIT_ULL(63)

static u64 pte(struct kvmi_program *p, u64 gpa)
{
	switch (gpa) {
	case KVMI_PROGRAM_IVT:
	case KVMI_PROGRAM_ABSENT:
		return 0;
	case KVMI_PROGRAM_READ_ONLY:
		/*
		 * Bochs has a panic when it is to set D of one that is read-only.
		 * KVM's emulator reads before it finds that it may not write.
		 */
		return gpa | (PTE & ~2) | PTE_USER | PTE_ACCESSED | PTE_DIRTY;
	case KVMI_PROGRAM_NO_EXEC:
		if (p->sregs.efer & EFER_NX)
			return gpa | PTE | PTE_USER | PTE_NX;
		return gpa | PTE | PTE_USER;
	default:
		if (gpa >= KVMI_PROGRAM_TABLES && gpa < KVMI_PROGRAM_MEM_SIZE)
			return 0;
		/* KVM does without a walk, if it knows the device's address. */
		if (gpa >= KVMI_PROGRAM_MMIO)
			return gpa | PTE | PTE_USER | PTE_DIRTY;
		if (gpa >= KVMI_PROGRAM_STACK)
			return gpa | PTE | PTE_USER;
		return gpa | PTE;
	}
}

static void make_tables(struct kvmi_program *p, bool accessed)
{
	int levels = kvmi_program_is_long(p) ? 4 : p->mode == KVMI_PROGRAM_PAE ? 3 : 2;
	int size = p->mode == KVMI_PROGRAM_PROT ? 4 : 8;
	u64 table = KVMI_PROGRAM_TABLES;
	u64 gpa, entry, flags;

	memset(p->mem + table, 0, levels * 4096);
	for (; levels > 1; levels--, table += 4096) {
		flags = PTE | PTE_USER | (accessed ? PTE_ACCESSED : 0);
		/* PDPTEs have no rights. */
		if (p->mode == KVMI_PROGRAM_PAE && levels == 3)
			flags = 1;
		put(p->mem, table, (table + 4096) | flags, size);
	}
	for (gpa = 0; gpa <= KVMI_PROGRAM_MMIO + 0x1000; gpa += 4096) {
		entry = pte(p, gpa);
		if (entry && accessed)
			entry |= PTE_ACCESSED | PTE_DIRTY;
		put(p->mem, table + gpa / 4096 * size, entry, size);
	}
}

static void make_segments(struct kvmi_program *p)
{
	struct kvm_sregs *sregs = &p->sregs;
	struct kvm_segment data;

	if (kvmi_program_is_real(p)) {
		data = kvmi_segment(0, 0, 0xffff, KVMI_DATA_SEGMENT, true);
		sregs->cs = data;
	} else {
		sregs->cs = kvmi_code_segment(!p->user ? KVMI_PROGRAM_KERNEL_CS :
					      kvmi_program_is_64bit(p) ?
					      KVMI_PROGRAM_USER_CS64 :
					      KVMI_PROGRAM_USER_CS32,
					      kvmi_program_is_64bit(p));
		data = kvmi_data_segment(p->user ? KVMI_PROGRAM_USER_DS :
						   KVMI_PROGRAM_KERNEL_DS);
	}

	sregs->ds = data;
	sregs->es = data;
	sregs->fs = data;
	sregs->gs = data;
	sregs->ss = data;
	if (kvmi_program_is_real(p)) {
		sregs->fs.selector = KVMI_PROGRAM_MMIO >> 4;
		sregs->fs.base = KVMI_PROGRAM_MMIO;
	}
	sregs->tr = kvmi_segment(KVMI_PROGRAM_TR, TSS, KVMI_TSS_LIMIT,
				 KVMI_TSS_BUSY, false);
	sregs->ldt.unusable = 1;
}

void kvmi_program_make_guest(struct kvmi_program *p)
{
	struct kvm_sregs *sregs = &p->sregs;

	memset(p->mem, FILLER, sizeof(p->mem));
	memset(p->mem + KVMI_PROGRAM_LOG, 0, 4096);
	memset(&p->debugregs, 0, sizeof(p->debugregs));
	p->debugregs.dr6 = KVMI_PROGRAM_DR6;
	p->debugregs.dr7 = KVMI_PROGRAM_DR7;

	memset(sregs, 0, sizeof(*sregs));
	sregs->cr0 = X86_CR0_ET | X86_CR0_NE;
	sregs->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	sregs->gdt.base = KVMI_PROGRAM_GDT;
	sregs->gdt.limit = KVMI_PROGRAM_GDT_SIZE - 1;
	if (kvmi_program_is_real(p)) {
		sregs->idt.limit = NR_VECTORS * 4 - 1;
	} else {
		sregs->cr0 |= X86_CR0_PE;
		sregs->idt.base = KVMI_PROGRAM_IDT;
		sregs->idt.limit = NR_VECTORS *
				   (kvmi_program_is_long(p) ? 16 : 8) - 1;
	}
	if (p->mode >= KVMI_PROGRAM_PROT) {
		sregs->cr0 |= X86_CR0_PG;
		sregs->cr3 = KVMI_PROGRAM_TABLES;
	}
	if (p->mode >= KVMI_PROGRAM_PAE) {
		sregs->cr4 |= X86_CR4_PAE;
		sregs->efer |= EFER_NX;
	}
	if (kvmi_program_is_long(p))
		sregs->efer |= EFER_LME | EFER_LMA;

	make_gdt(p);
	make_tss(p);
	make_idt(p);
	make_common(p);
	make_segments(p);
}

void kvmi_program_end_guest(struct kvmi_program *p)
{
	u8 *log = p->mem + KVMI_PROGRAM_LOG;
	int i, offset;

	if (p->mode >= KVMI_PROGRAM_PROT)
		make_tables(p, p->seed & 1);

	put(log, KVMI_PROGRAM_LOG_CODE, p->code, 8);
	put(log, KVMI_PROGRAM_LOG_SIZE, p->end - p->code, 8);
	for (i = 0, offset = 0; offset < p->end - p->code; offset++) {
		if (offset >= p->insns[i + 1])
			i++;
		log[KVMI_PROGRAM_LOG_NEXT + offset] = p->insns[i + 1];
	}
	/* UD2: the handler sees that the code is at its end. */
	put(p->mem, p->end, 0x0b0f, 2);
}
