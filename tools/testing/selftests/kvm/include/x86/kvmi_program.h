/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Small guest programs made at random: instructions of all kinds in a mode of
 * the processor, with handlers that log the exceptions.
 */
#ifndef SELFTEST_KVM_KVMI_PROGRAM_H
#define SELFTEST_KVM_KVMI_PROGRAM_H

#include "kvmi_guest.h"

enum kvmi_program_mode {
	KVMI_PROGRAM_REAL,
	/* 32-bit protected mode: without paging, with it, with PAE */
	KVMI_PROGRAM_FLAT,
	KVMI_PROGRAM_PROT,
	KVMI_PROGRAM_PAE,
	/* 32-bit code of a 64-bit supervisor; always a user's */
	KVMI_PROGRAM_COMPAT,
	KVMI_PROGRAM_LONG,
	KVMI_PROGRAM_NR_MODES
};

/* Memory, mapped one to one in each mode.  Users have what is said to be theirs. */
#define KVMI_PROGRAM_IVT	0x0	/* of real mode; else not mapped */
#define KVMI_PROGRAM_IDT	0x1000
#define KVMI_PROGRAM_GDT	0x2000	/* the TSS, too */
#define KVMI_PROGRAM_HANDLERS	0x3000
#define KVMI_PROGRAM_COMMON	0x4000	/* what all handlers go through */
#define KVMI_PROGRAM_LOG	0x5000
#define KVMI_PROGRAM_STACK	0x7000	/* grows down */
#define KVMI_PROGRAM_USER_STACK	0x8000	/* grows down; users' */
#define KVMI_PROGRAM_DATA	0x8000	/* two pages, users' */
#define KVMI_PROGRAM_READ_ONLY	0xa000	/* users' */
#define KVMI_PROGRAM_NO_EXEC	0xb000	/* users' */
#define KVMI_PROGRAM_ABSENT	0xc000	/* not mapped */
#define KVMI_PROGRAM_CODE	0xd000	/* two pages, users' */
#define KVMI_PROGRAM_TABLES	0x10000	/* page tables, not mapped */
#define KVMI_PROGRAM_MEM_SIZE	0x14000
/* There is no memory; users'. */
#define KVMI_PROGRAM_MMIO	0x20000

/* Selectors; SYSCALL, SYSRET, SYSENTER and SYSEXIT want this order. */
#define KVMI_PROGRAM_KERNEL_CS	0x08
#define KVMI_PROGRAM_KERNEL_DS	0x10
#define KVMI_PROGRAM_USER_CS32	0x1b
#define KVMI_PROGRAM_USER_DS	0x23
#define KVMI_PROGRAM_USER_CS64	0x2b
#define KVMI_PROGRAM_TR		0x30
#define KVMI_PROGRAM_LDTR	0x40
#define KVMI_PROGRAM_ABSENT_DS	0x50
#define KVMI_PROGRAM_TR2	0x58
#define KVMI_PROGRAM_GDT_SIZE	0x68

/* Writing to this port ends the program. */
#define KVMI_PROGRAM_END_PORT	0xf4

/* Debug registers that say nothing */
#define KVMI_PROGRAM_DR6	0xffff0ff0
#define KVMI_PROGRAM_DR7	0x400

#define KVMI_PROGRAM_MAX_INSNS	64
#define KVMI_PROGRAM_MAX_SIZE	224

/*
 * The log: number of entries, the address and size of the code, then entries, and
 * for each byte of the code where the next instruction begins.
 */
#define KVMI_PROGRAM_LOG_CODE	0x08
#define KVMI_PROGRAM_LOG_SIZE	0x10
#define KVMI_PROGRAM_LOG_ENTRIES 0x80
#define KVMI_PROGRAM_LOG_NEXT	0xf00
/* So many exceptions end the program. */
#define KVMI_PROGRAM_LOG_MAX	8

/* In 32-bit modes without a change of CPL RSP and SS are not pushed. */
struct kvmi_program_entry {
	u64 vector;
	u64 error_code;
	u64 rip;
	u64 cs;
	u64 rflags;
	u64 rsp;
	u64 ss;
	u64 cr2;
	u64 dr6;
	u64 unused[7];
};

#define KVMI_PROGRAM_NR_MSRS	9
extern const u32 kvmi_program_msrs[KVMI_PROGRAM_NR_MSRS];

struct kvmi_program {
	u32 seed;
	enum kvmi_program_mode mode;
	bool user;
	bool has_hypercall;
	/* The first byte of the code, and of what comes behind it */
	u64 code;
	u64 end;
	/* Instructions as they were made, from the beginning of the code */
	int nr_insns;
	u8 insns[KVMI_PROGRAM_MAX_INSNS + 1];
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	u64 msrs[KVMI_PROGRAM_NR_MSRS];
	u8 mem[KVMI_PROGRAM_MEM_SIZE];
};

static inline bool kvmi_program_is_real(const struct kvmi_program *p)
{
	return p->mode == KVMI_PROGRAM_REAL;
}

static inline bool kvmi_program_is_64bit(const struct kvmi_program *p)
{
	return p->mode == KVMI_PROGRAM_LONG;
}

/* Is the supervisor 64-bit code? */
static inline bool kvmi_program_is_long(const struct kvmi_program *p)
{
	return p->mode >= KVMI_PROGRAM_COMPAT;
}

static inline const struct kvmi_program_entry *
kvmi_program_log(const u8 *mem, int *nr)
{
	*nr = mem[KVMI_PROGRAM_LOG];
	return (const void *)(mem + KVMI_PROGRAM_LOG + KVMI_PROGRAM_LOG_ENTRIES);
}

/* Is the host's processor emulated by QEMU (TCG), not the real thing? */
bool kvmi_program_on_qemu(void);

const char *kvmi_program_mode_name(const struct kvmi_program *p);

/* Make the program that belongs to a seed. */
void kvmi_program_make(struct kvmi_program *p, u32 seed);
/* Replace an instruction by NOPs, or put it back. */
void kvmi_program_drop(struct kvmi_program *p, int insn, u8 *saved);
void kvmi_program_restore(struct kvmi_program *p, int insn, const u8 *saved);

/* The state in which a program starts, but for the code: all but its random part */
void kvmi_program_make_guest(struct kvmi_program *p);
/* Finish it, with the code there. */
void kvmi_program_end_guest(struct kvmi_program *p);

/* The code of the handlers, in assembly */
extern const u8 kvmi_handler16[], kvmi_handler32[], kvmi_handler64[];
extern const u8 kvmi_handler_end[];

#endif /* SELFTEST_KVM_KVMI_PROGRAM_H */
