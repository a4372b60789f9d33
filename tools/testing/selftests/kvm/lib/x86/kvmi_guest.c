// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that is nothing but a few instructions in a mode of the processor,
 * for tests of KVM introspection that compare its state.
 */
#include <sys/mman.h>

#include "apic.h"
#include "kvmi_guest.h"
#include "test_util.h"

#define NR_VECTORS	256
#define NR_EXCEPTIONS	32
#define HANDLER_SIZE	16
/* No device has it: writing to it is how the guest stops. */
#define STOP_PORT	0xf4

#define LDT_LIMIT	0x7

static void put(void *mem, u64 gpa, u64 val, int size)
{
	memcpy(mem + gpa, &val, size);
}

static u64 get(const void *mem, u64 gpa, int size)
{
	u64 val = 0;

	memcpy(&val, mem + gpa, size);
	return val;
}

struct kvm_segment kvmi_segment(u16 selector, u64 base, u32 limit, u8 type,
				bool s)
{
	return (struct kvm_segment) {
		.selector = selector,
		.base = base,
		.limit = limit,
		.type = type,
		.s = s,
		.dpl = selector & 3,
		.present = 1,
		.g = limit == -1u,
	};
}

struct kvm_segment kvmi_code_segment(u16 selector, bool is_64bit)
{
	struct kvm_segment seg = kvmi_segment(selector, 0, -1u, KVMI_CODE_SEGMENT, true);

	seg.l = is_64bit;
	seg.db = !is_64bit;
	return seg;
}

struct kvm_segment kvmi_data_segment(u16 selector)
{
	struct kvm_segment seg = kvmi_segment(selector, 0, -1u, KVMI_DATA_SEGMENT, true);

	seg.db = 1;
	return seg;
}

void kvmi_put_descriptor(void *gdt, const struct kvm_segment *seg)
{
	u32 limit = seg->g ? seg->limit >> 12 : seg->limit;
	u64 desc;

	desc = (u64)(limit & 0xffff) | (u64)(seg->base & 0xffffff) << 16 |
	       (u64)seg->type << 40 | (u64)seg->s << 44 | (u64)seg->dpl << 45 |
	       (u64)seg->present << 47 | (u64)(limit >> 16) << 48 |
	       (u64)seg->l << 53 | (u64)seg->db << 54 | (u64)seg->g << 55;
	put(gdt, seg->selector & ~7, desc, 8);
}

static void make_gdt(struct kvmi_guest *g)
{
	bool is_long = kvmi_guest_is_long(g);
	const struct kvm_segment segs[] = {
		kvmi_code_segment(KVMI_GUEST_KERNEL_CS, is_long),
		kvmi_data_segment(KVMI_GUEST_KERNEL_DS),
		kvmi_code_segment(KVMI_GUEST_USER_CS, kvmi_guest_is_64bit(g)),
		kvmi_data_segment(KVMI_GUEST_USER_DS),
		kvmi_segment(KVMI_GUEST_TR, KVMI_GUEST_TSS, KVMI_TSS_LIMIT, KVMI_TSS_BUSY,
			     false),
		kvmi_segment(KVMI_GUEST_LDTR, KVMI_GUEST_LDT, LDT_LIMIT,
			     KVMI_LDT_SEGMENT, false),
		kvmi_segment(KVMI_GUEST_TR2, KVMI_GUEST_TSS2, KVMI_TSS_LIMIT,
			     KVMI_TSS_FREE, false),
	};
	struct kvm_segment absent = kvmi_data_segment(KVMI_GUEST_ABSENT_DS);
	int i;

	for (i = 0; i < ARRAY_SIZE(segs); i++)
		kvmi_put_descriptor(g->start.mem + KVMI_GUEST_GDT, &segs[i]);
	absent.present = 0;
	absent.dpl = kvmi_guest_is_user(g) ? 3 : 0;
	kvmi_put_descriptor(g->start.mem + KVMI_GUEST_GDT, &absent);
}

/* Users that take an exception find the supervisor's stack empty. */
static void make_tss(struct kvmi_guest *g)
{
	u8 *mem = g->start.mem;
	u64 tss;

	for (tss = KVMI_GUEST_TSS; tss <= KVMI_GUEST_TSS2;
	     tss += KVMI_GUEST_TSS2 - KVMI_GUEST_TSS) {
		put(mem, tss + 4, KVMI_GUEST_STACK, 4);
		if (!kvmi_guest_is_long(g))
			put(mem, tss + 8, KVMI_GUEST_KERNEL_DS, 2);
		/* No I/O bitmap */
		put(mem, tss + KVMI_TSS_LIMIT - 1, KVMI_TSS_LIMIT + 1, 2);
	}
}

static void make_idt(struct kvmi_guest *g)
{
	u8 *mem = g->start.mem;
	u64 handler, gate;
	int i;

	for (i = 0; i < NR_VECTORS; i++) {
		handler = KVMI_GUEST_HANDLERS + i * HANDLER_SIZE;

		/* OUT STOP_PORT, AL; JMP back to it */
		put(mem, handler, 0xfceb00e6 | STOP_PORT << 8, 4);

		if (kvmi_guest_is_real(g)) {
			put(mem, i * 4, handler, 4);
			continue;
		}

		/* A present interrupt gate; what is no fault is for users, too. */
		gate = handler | KVMI_GUEST_KERNEL_CS << 16 | 0x8eull << 40;
		if (i == BP_VECTOR || i == OF_VECTOR || i >= NR_EXCEPTIONS)
			gate |= 3ull << 45;
		put(mem, KVMI_GUEST_IDT + i * (kvmi_guest_is_long(g) ? 16 : 8),
		    gate, 8);
	}
}

void kvmi_guest_map(struct kvmi_guest *g, u8 *mem, u64 gva, u64 gpa, u64 flags)
{
	int size = kvmi_guest_is_long(g) ? 8 : 4;
	u64 table = KVMI_GUEST_PAGE_TABLES;

	/* Upper levels have one entry each. */
	table += (kvmi_guest_is_long(g) ? 3 : 1) * 4096;
	put(mem, table + gva / 4096 * size, gpa | flags, size);
}

static void make_page_tables(struct kvmi_guest *g)
{
	int levels = kvmi_guest_is_long(g) ? 4 : 2;
	u8 *mem = g->start.mem;
	u64 table, gpa;

	for (table = KVMI_GUEST_PAGE_TABLES; --levels; table += 4096)
		put(mem, table, (table + 4096) | KVMI_GUEST_PTE, 4);
	for (gpa = 0; gpa < KVMI_GUEST_MEM_SIZE; gpa += 4096)
		kvmi_guest_map(g, mem, gpa, gpa, KVMI_GUEST_PTE);
}

static void make_sregs(struct kvmi_guest *g)
{
	struct kvm_sregs *sregs = &g->start.sregs;
	bool user = kvmi_guest_is_user(g);
	struct kvm_segment data;

	sregs->cr4 = X86_CR4_OSFXSR;
	if (vcpu_cpuid_has(g->vcpu, X86_FEATURE_XSAVE))
		sregs->cr4 |= X86_CR4_OSXSAVE;
	sregs->gdt.base = KVMI_GUEST_GDT;
	sregs->gdt.limit = 0x7f;

	if (kvmi_guest_is_real(g)) {
		sregs->cr0 = X86_CR0_ET | X86_CR0_NE;
		/* KVM makes any segment one of data where it matters. */
		data = kvmi_segment(0, 0, 0xffff, KVMI_DATA_SEGMENT, true);
		sregs->cs = data;
		sregs->idt.base = 0;
		sregs->idt.limit = NR_VECTORS * 4 - 1;
	} else {
		sregs->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG;
		sregs->cr3 = KVMI_GUEST_PAGE_TABLES;
		sregs->cs = kvmi_code_segment(user ? KVMI_GUEST_USER_CS :
						KVMI_GUEST_KERNEL_CS,
					 kvmi_guest_is_64bit(g));
		data = kvmi_data_segment(user ? KVMI_GUEST_USER_DS :
					   KVMI_GUEST_KERNEL_DS);
		sregs->idt.base = KVMI_GUEST_IDT;
		sregs->idt.limit = NR_VECTORS *
				   (kvmi_guest_is_long(g) ? 16 : 8) - 1;
	}
	if (kvmi_guest_is_long(g)) {
		sregs->cr4 |= X86_CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
	} else {
		sregs->efer = 0;
	}

	sregs->ds = data;
	sregs->es = data;
	sregs->fs = data;
	sregs->gs = data;
	sregs->ss = data;
	sregs->tr = kvmi_segment(KVMI_GUEST_TR, KVMI_GUEST_TSS, KVMI_TSS_LIMIT,
				 KVMI_TSS_BUSY, false);
	memset(&sregs->ldt, 0, sizeof(sregs->ldt));
	sregs->ldt.unusable = 1;
}

static void create(struct kvmi_guest *g, enum kvmi_guest_mode mode, bool lapic)
{
	memset(g, 0, sizeof(*g));
	g->mode = mode;
	g->stack = KVMI_GUEST_STACK;
	g->vm = vm_create_barebones();
	if (lapic)
		vm_enable_cap(g->vm, KVM_CAP_SPLIT_IRQCHIP, 24);
	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, 0, 0,
				    KVMI_GUEST_MEM_SIZE / getpagesize(), 0);
	g->vcpu = __vm_vcpu_add(g->vm, 0);
	vcpu_init_cpuid(g->vcpu, kvm_get_supported_cpuid());

	kvmi_guest_get_state(g, &g->start);
	vcpu_fpu_get(g->vcpu, &g->fpu);
	make_gdt(g);
	make_tss(g);
	make_idt(g);
	if (mode != KVMI_GUEST_REAL)
		make_page_tables(g);
	make_sregs(g);

	memset(&g->start.regs, 0, sizeof(g->start.regs));
	g->start.regs.rip = KVMI_GUEST_CODE;
	g->start.regs.rdi = KVMI_GUEST_DATA;
	g->start.regs.rbx = KVMI_GUEST_DATA;
	g->start.regs.rsp = KVMI_GUEST_STACK;
	g->start.regs.rflags = X86_EFLAGS_FIXED;
	if (kvmi_guest_is_user(g)) {
		g->start.regs.rsp = KVMI_GUEST_USER_STACK;
		/* For the OUT at the end */
		g->start.regs.rflags |= 3 * X86_EFLAGS_IOPL;
	}
}

void kvmi_guest_create(struct kvmi_guest *g, enum kvmi_guest_mode mode)
{
	create(g, mode, false);
}

void kvmi_guest_create_with_lapic(struct kvmi_guest *g, enum kvmi_guest_mode mode)
{
	struct kvm_lapic_state lapic;

	create(g, mode, true);
	/* KVM finds it by its ID once it has been written to. */
	vcpu_ioctl(g->vcpu, KVM_GET_LAPIC, &lapic);
	vcpu_ioctl(g->vcpu, KVM_SET_LAPIC, &lapic);
}

void kvmi_guest_free(struct kvmi_guest *g)
{
	if (g->s.vm)
		kvmi_unhook(&g->s);
	kvm_vm_free(g->vm);
}

void __kvmi_guest_code(struct kvmi_guest *g, const u8 *code, size_t size)
{
	u8 *mem = g->start.mem + KVMI_GUEST_CODE;

	memcpy(mem, code, size);
	g->end = KVMI_GUEST_CODE + size;
	/* OUT STOP_PORT, AL */
	mem[size] = 0xe6;
	mem[size + 1] = STOP_PORT;
	kvmi_guest_reset(g);
}

/* INC of the byte at the address of the data page; IRET, the long one if need be */
void kvmi_guest_count_nmis(struct kvmi_guest *g)
{
	put(g->start.mem, KVMI_GUEST_HANDLERS + NMI_VECTOR * HANDLER_SIZE,
	    kvmi_guest_is_long(g) ? 0xcf4807fe : 0xcf07fe, 4);
}

void kvmi_guest_send_nmi(struct kvmi_guest *g)
{
	struct kvm_msi msi = {
		.address_lo = APIC_DEFAULT_GPA,
		.data = APIC_DM_NMI,
	};

	TEST_ASSERT_EQ(__vm_ioctl(g->vm, KVM_SIGNAL_MSI, &msi), 1);
}

void kvmi_guest_zap(struct kvmi_guest *g)
{
	void *mem = addr_gpa2hva(g->vm, 0);

	TEST_ASSERT(!mprotect(mem, KVMI_GUEST_MEM_SIZE, PROT_NONE) &&
		    !mprotect(mem, KVMI_GUEST_MEM_SIZE, PROT_READ | PROT_WRITE),
		    "mprotect() failed: %s", strerror(errno));
}

void kvmi_guest_reset(struct kvmi_guest *g)
{
	struct kvm_xcrs xcrs = {
		.nr_xcrs = 1,
		.xcrs[0].value = g->start.xcr0,
	};
	struct kvm_sregs sregs = g->start.sregs;
	/* Nothing is pending, nor held off by an STI or MOV SS. */
	struct kvm_vcpu_events events = { .flags = KVM_VCPUEVENT_VALID_SHADOW };

	/*
	 * VMX insists on a busy TSS.  SVM does not care, but QEMU's emulation
	 * of it does not switch stacks with one; KVM says busy in any case.
	 */
	if (host_cpu_is_amd_compatible)
		sregs.tr.type = KVMI_TSS_FREE;

	memcpy(addr_gpa2hva(g->vm, 0), g->start.mem, sizeof(g->start.mem));
	vcpu_sregs_set(g->vcpu, &sregs);
	vcpu_regs_set(g->vcpu, &g->start.regs);
	vcpu_debugregs_set(g->vcpu, &g->start.debugregs);
	vcpu_events_set(g->vcpu, &events);
	vcpu_fpu_set(g->vcpu, &g->fpu);
	if (g->start.xcr0)
		vcpu_xcrs_set(g->vcpu, &xcrs);
}

/* A breakpoint that is not enabled may be there by chance. */
u64 kvmi_guest_dr6(const struct kvmi_guest *g, u64 dr6)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(g->start.debugregs.db); i++) {
		if (!(g->start.debugregs.dr7 >> 2 * i & 3))
			dr6 &= ~BIT_ULL(i);
	}

	return dr6;
}

void kvmi_guest_get_state(struct kvmi_guest *g, struct kvmi_guest_state *state)
{
	struct kvm_xcrs xcrs = {};

	vcpu_regs_get(g->vcpu, &state->regs);
	vcpu_sregs_get(g->vcpu, &state->sregs);
	vcpu_debugregs_get(g->vcpu, &state->debugregs);
	state->debugregs.dr6 = kvmi_guest_dr6(g, state->debugregs.dr6);
	if (vcpu_cpuid_has(g->vcpu, X86_FEATURE_XSAVE)) {
		vcpu_xcrs_get(g->vcpu, &xcrs);
		state->xcr0 = xcrs.xcrs[0].value;
	}
	memcpy(state->mem, addr_gpa2hva(g->vm, 0), sizeof(state->mem));
}

static void compare(const char *name, u64 a, u64 b)
{
	TEST_ASSERT(a == b, "%s: 0x%lx, wanted 0x%lx", name, a, b);
}

static void compare_segment(const char *name, const struct kvm_segment *a,
			    const struct kvm_segment *b)
{
	TEST_ASSERT(!memcmp(a, b, sizeof(*a)),
		    "%s: selector 0x%x, base 0x%llx, limit 0x%x, type %u; wanted 0x%x, 0x%llx, 0x%x, %u",
		    name, a->selector, a->base, a->limit, a->type,
		    b->selector, b->base, b->limit, b->type);
}

void kvmi_guest_compare(const struct kvmi_guest_state *a,
			const struct kvmi_guest_state *b)
{
	int i;

	compare("RIP", a->regs.rip, b->regs.rip);
	compare("RFLAGS", a->regs.rflags, b->regs.rflags);
	compare("RAX", a->regs.rax, b->regs.rax);
	compare("RBX", a->regs.rbx, b->regs.rbx);
	compare("RCX", a->regs.rcx, b->regs.rcx);
	compare("RDX", a->regs.rdx, b->regs.rdx);
	compare("RSI", a->regs.rsi, b->regs.rsi);
	compare("RDI", a->regs.rdi, b->regs.rdi);
	compare("RSP", a->regs.rsp, b->regs.rsp);
	compare("RBP", a->regs.rbp, b->regs.rbp);
	compare("R8", a->regs.r8, b->regs.r8);
	compare("R9", a->regs.r9, b->regs.r9);
	compare("R10", a->regs.r10, b->regs.r10);
	compare("R11", a->regs.r11, b->regs.r11);
	compare("R12", a->regs.r12, b->regs.r12);
	compare("R13", a->regs.r13, b->regs.r13);
	compare("R14", a->regs.r14, b->regs.r14);
	compare("R15", a->regs.r15, b->regs.r15);
	compare_segment("CS", &a->sregs.cs, &b->sregs.cs);
	compare_segment("DS", &a->sregs.ds, &b->sregs.ds);
	compare_segment("ES", &a->sregs.es, &b->sregs.es);
	compare_segment("FS", &a->sregs.fs, &b->sregs.fs);
	compare_segment("GS", &a->sregs.gs, &b->sregs.gs);
	compare_segment("SS", &a->sregs.ss, &b->sregs.ss);
	compare_segment("TR", &a->sregs.tr, &b->sregs.tr);
	compare_segment("LDTR", &a->sregs.ldt, &b->sregs.ldt);
	compare("GDTR base", a->sregs.gdt.base, b->sregs.gdt.base);
	compare("GDTR limit", a->sregs.gdt.limit, b->sregs.gdt.limit);
	compare("IDTR base", a->sregs.idt.base, b->sregs.idt.base);
	compare("IDTR limit", a->sregs.idt.limit, b->sregs.idt.limit);
	compare("CR0", a->sregs.cr0, b->sregs.cr0);
	compare("CR2", a->sregs.cr2, b->sregs.cr2);
	compare("CR3", a->sregs.cr3, b->sregs.cr3);
	compare("CR4", a->sregs.cr4, b->sregs.cr4);
	compare("EFER", a->sregs.efer, b->sregs.efer);
	for (i = 0; i < ARRAY_SIZE(a->debugregs.db); i++)
		compare("Breakpoint", a->debugregs.db[i], b->debugregs.db[i]);
	compare("DR6", a->debugregs.dr6, b->debugregs.dr6);
	compare("DR7", a->debugregs.dr7, b->debugregs.dr7);
	compare("XCR0", a->xcr0, b->xcr0);
	for (i = 0; i < sizeof(a->mem); i++)
		TEST_ASSERT(a->mem[i] == b->mem[i],
			    "Memory at 0x%x: 0x%x, wanted 0x%x",
			    i, a->mem[i], b->mem[i]);
}

/* Whether there is an error code is told by how much was pushed. */
static void get_frame(struct kvmi_guest *g)
{
	int size = kvmi_guest_is_long(g) ? 8 : kvmi_guest_is_real(g) ? 2 : 4;
	struct kvmi_guest_state *state = &g->state;
	struct kvmi_guest_frame *f = &g->frame;
	u64 sp = state->regs.rsp;
	int slots = 3;

	if (kvmi_guest_is_long(g) || kvmi_guest_is_user(g))
		slots = 5;
	/* And the data segments */
	if (g->start.regs.rflags & X86_EFLAGS_VM)
		slots = 9;

	TEST_ASSERT(sp < g->stack && sp >= KVMI_GUEST_CODE &&
		    g->stack <= sizeof(state->mem), "RSP: 0x%lx", sp);
	memset(f, 0, sizeof(*f));
	f->has_error_code = g->stack - sp == (slots + 1) * size;
	if (f->has_error_code) {
		f->error_code = get(state->mem, sp, size);
		sp += size;
	}
	TEST_ASSERT(g->stack - sp == slots * size, "%llu bytes were pushed",
		    g->stack - state->regs.rsp);

	f->rip = get(state->mem, sp, size);
	f->cs = get(state->mem, sp + size, size);
	f->rflags = get(state->mem, sp + 2 * size, size);
	/*
	 * Faults push RF set, and so does KVM.  QEMU's emulation of the
	 * processor does not: leave it out where memory is compared.
	 */
	if (size > 2)
		state->mem[sp + 2 * size + 2] &= ~(X86_EFLAGS_RF >> 16);
	if (slots == 5) {
		f->rsp = get(state->mem, sp + 3 * size, size);
		f->ss = get(state->mem, sp + 4 * size, size);
	}
}

int kvmi_guest_stopped_by(const struct kvm_vcpu *vcpu, u64 rip)
{
	if (vcpu->run->exit_reason != KVM_EXIT_IO || vcpu->run->io.port != STOP_PORT ||
	    rip < KVMI_GUEST_HANDLERS ||
	    rip >= KVMI_GUEST_HANDLERS + NR_VECTORS * HANDLER_SIZE)
		return KVMI_GUEST_NO_EXCEPTION;

	return (rip - KVMI_GUEST_HANDLERS) / HANDLER_SIZE;
}

int kvmi_guest_stop(struct kvmi_guest *g)
{
	int vector;
	u64 rip;

	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	TEST_ASSERT_EQ(g->vcpu->run->io.port, STOP_PORT);
	kvmi_guest_get_state(g, &g->state);

	/* KVM moves RIP on before it exits if it emulates the OUT. */
	if (g->state.regs.rip == g->end + 2)
		g->state.regs.rip = g->end;
	rip = g->state.regs.rip;
	if (rip == g->end)
		return KVMI_GUEST_NO_EXCEPTION;

	vector = kvmi_guest_stopped_by(g->vcpu, rip);
	TEST_ASSERT(vector != KVMI_GUEST_NO_EXCEPTION, "Stopped at 0x%lx", rip);
	get_frame(g);
	return vector;
}

void kvmi_guest_run_normally(struct kvmi_guest *g)
{
	kvmi_run_start(&g->r, NULL, g->vcpu);
	g->normal_vector = kvmi_guest_stop(g);
	g->normal = g->state;
	g->normal_frame = g->frame;
	kvmi_guest_reset(g);
}

static void hook(struct kvmi_guest *g)
{
	if (!g->s.vm)
		kvmi_hook(&g->s, g->vm);
}

void kvmi_guest_restrict(struct kvmi_guest *g, u64 gpa, u8 access)
{
	hook(g);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, 0, gpa, 1, access), 0);
}

void kvmi_guest_park(struct kvmi_guest *g, struct kvmi_event *pause)
{
	hook(g);
	kvmi_park(&g->r, &g->s, g->vcpu, pause);
}

void kvmi_guest_start(struct kvmi_guest *g, u16 event, struct kvmi_event *ev)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, event, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, event, ev);
	TEST_ASSERT_EQ(ev->common.vcpu, 0);
	TEST_ASSERT_EQ(ev->common.arch.mode,
		       kvmi_guest_is_64bit(g) ? KVMI_X86_MODE_64 :
		       kvmi_guest_is_real(g) ? KVMI_X86_MODE_16 :
					       KVMI_X86_MODE_32);
}

void kvmi_guest_stop_normally(struct kvmi_guest *g)
{
	int vector = kvmi_guest_stop(g);

	TEST_ASSERT(vector == g->normal_vector, "Exception %d instead of %d",
		    vector, g->normal_vector);
	kvmi_guest_compare(&g->state, &g->normal);
}

void kvmi_guest_stop_unchanged(struct kvmi_guest *g)
{
	int vector = kvmi_guest_stop(g);

	TEST_ASSERT(vector == KVMI_GUEST_NO_EXCEPTION, "Exception %d", vector);
	g->state.regs.rip = g->start.regs.rip;
	kvmi_guest_compare(&g->state, &g->start);
}

/* The instruction is asked about once more. */
static void expect_again(struct kvmi_guest *g, struct kvmi_event *ev, u8 flags)
{
	const struct kvmi_event old = *ev;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.flags, flags);
	TEST_ASSERT_EQ(ev->pf.gpa, old.pf.gpa);
	TEST_ASSERT_EQ(ev->pf.access, old.pf.access);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, old.common.arch.regs.rip);
}

void kvmi_guest_skip_in_vain(struct kvmi_guest *g, struct kvmi_event *ev)
{
	TEST_ASSERT_EQ(ev->pf.flags, 0);
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_SKIP);
	expect_again(g, ev, KVMI_PF_NOT_EMULATED);

	/* This time the tool has not asked for what cannot be done. */
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_RETRY);
	expect_again(g, ev, 0);

	/* If KVM_RUN was interrupted the event is still the one that is answered. */
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_SKIP);
	expect_again(g, ev, KVMI_PF_NOT_EMULATED);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
}

void kvmi_guest_crash(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	int i;

	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	for (i = 0; i < 3; i++) {
		g->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	}

	/* Nothing has happened. */
	kvmi_guest_get_state(g, &g->state);
	TEST_ASSERT_EQ(g->state.regs.rip, ev->common.arch.regs.rip);
	TEST_ASSERT(!memcmp(g->state.mem, g->start.mem, sizeof(g->state.mem)),
		    "Memory has changed");

	/* Without introspection there is nothing wrong with the guest. */
	kvmi_unhook(&g->s);
	g->s.vm = NULL;
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_guest_stop_normally(g);
}

bool kvmi_guest_int3_is_intercepted(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP,
	};
	struct kvmi_guest *g = malloc(sizeof(*g));
	bool intercepted;

	TEST_ASSERT(g, "malloc() failed");
	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_guest_code(g, "\xcc");
	vcpu_ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &debug);
	vcpu_run(g->vcpu);
	intercepted = g->vcpu->run->exit_reason == KVM_EXIT_DEBUG;
	kvmi_guest_free(g);
	free(g);
	return intercepted;
}
