/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that is nothing but a few instructions in a mode of the processor,
 * for tests of KVM introspection that compare its state.
 */
#ifndef SELFTEST_KVM_KVMI_GUEST_H
#define SELFTEST_KVM_KVMI_GUEST_H

#include "kvmi_util.h"

enum kvmi_guest_mode {
	KVMI_GUEST_REAL,
	/* 32-bit protected mode with paging, as supervisor and as user */
	KVMI_GUEST_PROT,
	KVMI_GUEST_PROT_USER,
	/* 32-bit user of a 64-bit supervisor */
	KVMI_GUEST_COMPAT_USER,
	KVMI_GUEST_LONG,
	KVMI_GUEST_LONG_USER,
};

/*
 * Memory: the same everywhere, mapped one to one and accessible for users, low
 * enough for real mode with segments at 0.
 */
#define KVMI_GUEST_IDT		0x1000
#define KVMI_GUEST_GDT		0x2000
#define KVMI_GUEST_TSS		0x2400
#define KVMI_GUEST_TSS2		0x2500
#define KVMI_GUEST_LDT		0x2600
#define KVMI_GUEST_HANDLERS	0x3000
#define KVMI_GUEST_DATA		0x4000
#define KVMI_GUEST_CODE		0x5000
#define KVMI_GUEST_STACK	0x7000
#define KVMI_GUEST_USER_STACK	0x8000
#define KVMI_GUEST_PAGE_TABLES	0x9000
#define KVMI_GUEST_MEM_SIZE	0x10000
/* Paging does not map what follows. */
#define KVMI_GUEST_UNMAPPED	0x20000

/* Selectors */
#define KVMI_GUEST_KERNEL_CS	0x08
#define KVMI_GUEST_KERNEL_DS	0x10
#define KVMI_GUEST_USER_CS	0x1b
#define KVMI_GUEST_USER_DS	0x23
#define KVMI_GUEST_TR		0x28
/* Not loaded: an LDT, a data segment that is not present, a free TSS */
#define KVMI_GUEST_LDTR		0x38
#define KVMI_GUEST_ABSENT_DS	0x48
#define KVMI_GUEST_TR2		0x50

/* Types of segments, and the size of a TSS less 1 */
#define KVMI_CODE_SEGMENT	0xb
#define KVMI_DATA_SEGMENT	0x3
#define KVMI_TSS_BUSY		0xb
#define KVMI_TSS_FREE		0x9
#define KVMI_LDT_SEGMENT	0x2
#define KVMI_TSS_LIMIT		0x67

/* Present segments with the DPL of the selector; the last two are flat. */
struct kvm_segment kvmi_segment(u16 selector, u64 base, u32 limit, u8 type,
				bool s);
struct kvm_segment kvmi_code_segment(u16 selector, bool is_64bit);
struct kvm_segment kvmi_data_segment(u16 selector);
/* The base is below 16M, and the second half of a long descriptor left out. */
void kvmi_put_descriptor(void *gdt, const struct kvm_segment *seg);

/* All there is to see of the guest */
struct kvmi_guest_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	u64 xcr0;
	u8 mem[KVMI_GUEST_MEM_SIZE];
};

/* What the processor pushed before it called an exception's handler */
struct kvmi_guest_frame {
	bool has_error_code;
	u64 error_code;
	u64 rip;
	u64 cs;
	u64 rflags;
	/* Of real mode and of an unchanged CPL in 32-bit mode: not pushed, 0 */
	u64 rsp;
	u64 ss;
};

struct kvmi_guest {
	enum kvmi_guest_mode mode;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	/* Where the code ends. */
	u64 end;
	/* Where the processor begins to push. */
	u64 stack;
	/* The state it starts with. */
	struct kvmi_guest_state start;
	struct kvm_fpu fpu;
	/* The last state and exception, see kvmi_guest_stop(). */
	struct kvmi_guest_state state;
	struct kvmi_guest_frame frame;
	/* The same of a run without introspection. */
	struct kvmi_guest_state normal;
	struct kvmi_guest_frame normal_frame;
	int normal_vector;
};

#define KVMI_GUEST_NO_EXCEPTION	-1

/* Create a VM with a vCPU in a mode. */
void kvmi_guest_create(struct kvmi_guest *g, enum kvmi_guest_mode mode);
/* The same with KVM's local APIC, for kvmi_guest_send_nmi() */
void kvmi_guest_create_with_lapic(struct kvmi_guest *g, enum kvmi_guest_mode mode);
void kvmi_guest_free(struct kvmi_guest *g);

/*
 * Put code into the starting state.  It finds the address of the data page in
 * RDI and RBX: as an operand this is [BX] in 16-bit code, else [EDI] or [RDI].
 */
void __kvmi_guest_code(struct kvmi_guest *g, const u8 *code, size_t size);
/* A string of code, e.g. "\x90" */
#define kvmi_guest_code(g, code)					\
	__kvmi_guest_code(g, (const u8 *)"" code, sizeof(code) - 1)

static inline bool kvmi_guest_is_user(const struct kvmi_guest *g)
{
	return g->mode == KVMI_GUEST_PROT_USER ||
	       g->mode == KVMI_GUEST_COMPAT_USER ||
	       g->mode == KVMI_GUEST_LONG_USER;
}

/* Is the supervisor 64-bit code? */
static inline bool kvmi_guest_is_long(const struct kvmi_guest *g)
{
	return g->mode >= KVMI_GUEST_COMPAT_USER;
}

static inline bool kvmi_guest_is_real(const struct kvmi_guest *g)
{
	return g->mode == KVMI_GUEST_REAL;
}

/* Is the guest's code 64-bit code? */
static inline bool kvmi_guest_is_64bit(const struct kvmi_guest *g)
{
	return g->mode >= KVMI_GUEST_LONG;
}

/* Present, writable, user; accessed and dirty, for memory not to change */
#define KVMI_GUEST_PTE		0x67

/* Write a page table entry of the guest to a copy of its memory. */
void kvmi_guest_map(struct kvmi_guest *g, u8 *mem, u64 gva, u64 gpa, u64 flags);

/*
 * Have the guest return from NMIs, and count them in the first byte of the data
 * page: in the starting state, so before kvmi_guest_code().
 */
void kvmi_guest_count_nmis(struct kvmi_guest *g);
/* Send one, also while the vCPU runs. */
void kvmi_guest_send_nmi(struct kvmi_guest *g);
/* Empty KVM's page tables: the next access to each page is a VM exit. */
void kvmi_guest_zap(struct kvmi_guest *g);

/* Put the vCPU and its memory into the starting state. */
void kvmi_guest_reset(struct kvmi_guest *g);
/* Run without introspection to see what is normal, then reset. */
void kvmi_guest_run_normally(struct kvmi_guest *g);
/* Hook, if that is to be done, and leave a page only this access. */
void kvmi_guest_restrict(struct kvmi_guest *g, u64 gpa, u8 access);
/* Hook, turn events on and run until the first one. */
void kvmi_guest_start(struct kvmi_guest *g, u16 event, struct kvmi_event *ev);
/* Hook and run, but stay in a PAUSE event: commands are possible now. */
void kvmi_guest_park(struct kvmi_guest *g, struct kvmi_event *pause);

/* Which exception has a vCPU taken that KVM_RUN has returned for at this RIP? */
int kvmi_guest_stopped_by(const struct kvm_vcpu *vcpu, u64 rip);
/* Wait until the guest is at its end or in a handler, and look at it. */
int kvmi_guest_stop(struct kvmi_guest *g);
/* DR6, or what is added to it, without breakpoints that the guest does not use */
u64 kvmi_guest_dr6(const struct kvmi_guest *g, u64 dr6);
/* Read the state. */
void kvmi_guest_get_state(struct kvmi_guest *g, struct kvmi_guest_state *state);
/* Have the registers and memory these values?  Names what has not. */
void kvmi_guest_compare(const struct kvmi_guest_state *state,
			const struct kvmi_guest_state *wanted);
/* Wait for the end, which must be as without introspection. */
void kvmi_guest_stop_normally(struct kvmi_guest *g);
/* Wait for the end; the guest has run to it and nothing else has changed. */
void kvmi_guest_stop_unchanged(struct kvmi_guest *g);
/*
 * Answer SKIP to a PF event of an instruction that KVM does not know, and see that
 * it is asked about again; then ALLOW.
 */
void kvmi_guest_skip_in_vain(struct kvmi_guest *g, struct kvmi_event *ev);
/* Answer CRASH, and see what comes of it. */
void kvmi_guest_crash(struct kvmi_guest *g, const struct kvmi_event *ev);

/*
 * Does interception of #BP and #OF work for INT3 and INTO?  Some emulators of SVM
 * take these for INT with a vector.
 */
bool kvmi_guest_int3_is_intercepted(void);

#endif /* SELFTEST_KVM_KVMI_GUEST_H */
