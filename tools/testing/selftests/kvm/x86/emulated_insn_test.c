// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that KVM emulates have the effects they have on the processor.
 * Unless they cause an exit anyhow, the forced emulation prefix makes them.
 */
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define MMIO_GPA		0xc0000000ul
#define INS_PORT		0x88

/* Real mode: two interrupt vector tables, so that there are negative vectors */
#define REAL_CODE		0x3000
#define REAL_HANDLER		0x4000
#define REAL_OTHER_HANDLER	0x5000
#define REAL_IDT		0x1400
#define REAL_IDT_SIZE		0x400
#define REAL_PORT		0x90
#define REAL_OTHER_PORT		0x91

KVM_ONE_VCPU_TEST_SUITE(emulated_insn);

static void run_to_done(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_DONE:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected exit: %s",
			  exit_reason_str(vcpu->run->exit_reason));
	}
}

/* Two bytes are stored, whatever the size of the operand. */
#define guest_store_rex_w(insn)						\
({									\
	u64 __val = ~0ull;						\
									\
	asm volatile(KVM_FEP "rex.w " insn				\
		     : "+m"(__val) : "a"(&__val));			\
	GUEST_ASSERT_EQ(__val >> 16, ~0ull >> 16);			\
	(u16)__val;							\
})

static void guest_store_selectors(void)
{
	u16 selector;

	selector = guest_store_rex_w("sldt (%%rax)");
	GUEST_ASSERT_EQ(selector, 0);
	selector = guest_store_rex_w("str (%%rax)");
	GUEST_ASSERT_EQ(selector, get_tr());
	selector = guest_store_rex_w("mov %%ds, (%%rax)");
	GUEST_ASSERT_EQ(selector, get_ds());
	GUEST_DONE();
}

KVM_ONE_VCPU_TEST(emulated_insn, store_selectors, guest_store_selectors)
{
	run_to_done(vcpu);
}

static void guest_store_to_mmio(void)
{
	asm volatile("sldt (%0)" : : "r"(MMIO_GPA) : "memory");
	asm volatile("str (%0)" : : "r"(MMIO_GPA) : "memory");
	GUEST_DONE();
}

/* A device sees the writes, and no reads. */
KVM_ONE_VCPU_TEST(emulated_insn, store_to_mmio, guest_store_to_mmio)
{
	struct kvm_run *run = vcpu->run;
	int i;

	virt_pg_map(vcpu->vm, MMIO_GPA, MMIO_GPA);

	for (i = 0; i < 2; i++) {
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MMIO);
		TEST_ASSERT(run->mmio.is_write, "%s reads its operand",
			    i ? "STR" : "SLDT");
		TEST_ASSERT_EQ(run->mmio.len, 2);
	}
	run_to_done(vcpu);
}

static int nr_traps;
static u64 trap_rip, trap_rcx;

/* Remember the first trap, and have no other one. */
static void guest_db_handler(struct ex_regs *regs)
{
	if (!nr_traps++) {
		trap_rip = regs->rip;
		trap_rcx = regs->rcx;
	}
	regs->rflags &= ~X86_EFLAGS_TF;
}

#define SET_TF	"pushfq; orl $0x100, (%%rsp); popfq;"

static void guest_trap_mov_ss(void)
{
	u64 end;

	asm volatile("lea 1f(%%rip), %[end];"
		     SET_TF
		     KVM_FEP "mov %[ss], %%ss;"
		     "nop; 1: nop"
		     : [end]"=&r"(end) : [ss]"r"((u64)get_ds()) : "cc", "memory");
	GUEST_ASSERT_EQ(nr_traps, 1);
	GUEST_ASSERT_EQ(trap_rip, end);
	GUEST_DONE();
}

/* The trap waits for the end of the instruction that follows. */
KVM_ONE_VCPU_TEST(emulated_insn, trap_mov_ss, guest_trap_mov_ss)
{
	vm_install_exception_handler(vcpu->vm, DB_VECTOR, guest_db_handler);
	run_to_done(vcpu);
}

static void guest_trap_rep_stos(void)
{
	u8 buf[4] = {};
	u64 insn, rcx = sizeof(buf);
	u8 *rdi = buf;

	asm volatile("lea 1f(%%rip), %[insn];"
		     SET_TF
		     KVM_FEP "1: rep stosb"
		     : [insn]"=&r"(insn), "+c"(rcx), "+D"(rdi)
		     : "a"(0x5a) : "cc", "memory");
	GUEST_ASSERT_EQ(nr_traps, 1);
	GUEST_ASSERT_EQ(trap_rip, insn);
	GUEST_ASSERT_EQ(trap_rcx, sizeof(buf) - 1);
	GUEST_ASSERT_EQ(rcx, 0);
	GUEST_ASSERT_EQ(buf[3], 0x5a);
	GUEST_DONE();
}

/* There is a trap after each iteration. */
KVM_ONE_VCPU_TEST(emulated_insn, trap_rep_stos, guest_trap_rep_stos)
{
	vm_install_exception_handler(vcpu->vm, DB_VECTOR, guest_db_handler);
	run_to_done(vcpu);
}

static void guest_trap_rep_ins(void)
{
	u8 buf[4] = {};
	u64 insn, rcx = sizeof(buf);
	u8 *rdi = buf;

	asm volatile("lea 1f(%%rip), %[insn];"
		     SET_TF
		     "1: rep insb"
		     : [insn]"=&r"(insn), "+c"(rcx), "+D"(rdi)
		     : "d"(INS_PORT) : "cc", "memory");
	GUEST_ASSERT_EQ(nr_traps, 1);
	GUEST_ASSERT_EQ(trap_rip, insn);
	GUEST_ASSERT_EQ(trap_rcx, sizeof(buf) - 1);
	GUEST_ASSERT_EQ(rcx, 0);
	GUEST_DONE();
}

/* One iteration is one access to the port. */
KVM_ONE_VCPU_TEST(emulated_insn, trap_rep_ins, guest_trap_rep_ins)
{
	struct kvm_run *run = vcpu->run;
	int i;

	vm_install_exception_handler(vcpu->vm, DB_VECTOR, guest_db_handler);
	for (i = 0; i < 2; i++) {
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
		TEST_ASSERT_EQ(run->io.port, INS_PORT);
		TEST_ASSERT_EQ(run->io.count, i ? 3 : 1);
	}
	run_to_done(vcpu);
}

extern char user_mov_cr1_fep[], user_mov_cr1_insn[];

/* Only what is behind the label is executed, without a stack. */
static void guest_user_mov_cr1(void)
{
	/* MOV RAX, CR1 */
	asm volatile("user_mov_cr1_fep:" KVM_FEP
		     "user_mov_cr1_insn: .byte 0x0f, 0x20, 0xc8; ud2");
}

static void guest_ud_handler(struct ex_regs *regs)
{
	GUEST_ASSERT_EQ(regs->rip, (u64)user_mov_cr1_insn);
	GUEST_ASSERT_EQ(regs->cs & 3, 3);
	GUEST_DONE();
}

/* Let the user execute the page at @gva. */
static void map_for_user(struct kvm_vm *vm, gva_t gva)
{
	gpa_t table = vm->mmu.pgd;
	int level;
	u64 *pte;

	for (level = vm->mmu.pgtable_levels; level; level--) {
		pte = addr_gpa2hva(vm, table);
		pte += (gva >> (12 + (level - 1) * 9)) & 0x1ff;
		*pte |= BIT(2);
		table = *pte & PHYSICAL_PAGE_MASK;
	}
}

/* There is no CR1, which is an error before the privilege is one. */
KVM_ONE_VCPU_TEST(emulated_insn, user_mov_cr1, guest_user_mov_cr1)
{
	struct kvm_vm *vm = vcpu->vm;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vm_install_exception_handler(vm, UD_VECTOR, guest_ud_handler);
	map_for_user(vm, (gva_t)user_mov_cr1_fep);
	map_for_user(vm, (gva_t)user_mov_cr1_insn + 2);

	vcpu_regs_get(vcpu, &regs);
	regs.rip = (u64)user_mov_cr1_fep;
	vcpu_regs_set(vcpu, &regs);
	/* The stack for exceptions, i.e. TSS.RSP0 */
	memcpy(addr_gva2hva(vm, vm->arch.tss) + 4, &regs.rsp, sizeof(regs.rsp));

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cs.selector |= 3;
	sregs.cs.dpl = 3;
	sregs.ss.selector |= 3;
	sregs.ss.dpl = 3;
	vcpu_sregs_set(vcpu, &sregs);
	run_to_done(vcpu);
}

static void set_real_mode(struct kvm_vcpu *vcpu)
{
	const struct kvm_segment data = {
		.limit = 0xffff,
		.type = 3,
		.present = 1,
		.s = 1,
	};
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr0 &= ~(X86_CR0_PE | X86_CR0_PG);
	sregs.cr4 = 0;
	sregs.efer = 0;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.cs = data;
	sregs.cs.type = 0xb;
	sregs.idt.base = REAL_IDT;
	sregs.idt.limit = REAL_IDT_SIZE - 1;
	vcpu_sregs_set(vcpu, &sregs);

	vcpu_regs_get(vcpu, &regs);
	regs.rip = REAL_CODE;
	regs.rsp = REAL_CODE;
	vcpu_regs_set(vcpu, &regs);
}

/* Vectors from 0x80 up are not negative. */
KVM_ONE_VCPU_TEST(emulated_insn, real_mode_int, NULL)
{
	static const u8 vectors[] = { 0x20, 0x7f, 0x80, 0xff };
	u8 code[] = { 0x0f, 0x0b, 'k', 'v', 'm', 0xcd, 0 };
	u8 *mem = addr_gpa2hva(vcpu->vm, 0);
	u16 *entry;
	int i;

	/* OUT imm8, AL */
	memcpy(mem + REAL_HANDLER, (u8[]){ 0xe6, REAL_PORT }, 2);
	memcpy(mem + REAL_OTHER_HANDLER, (u8[]){ 0xe6, REAL_OTHER_PORT }, 2);

	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		/* One entry leads to the handler, those in front of the IDT as well. */
		entry = (u16 *)(mem + REAL_IDT - REAL_IDT_SIZE);
		for (; entry < (u16 *)(mem + REAL_IDT + REAL_IDT_SIZE); entry += 2) {
			entry[0] = REAL_OTHER_HANDLER;
			entry[1] = 0;
		}
		entry = (u16 *)(mem + REAL_IDT);
		entry[vectors[i] * 2] = REAL_HANDLER;

		code[6] = vectors[i];
		memcpy(mem + REAL_CODE, code, sizeof(code));
		set_real_mode(vcpu);

		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
		TEST_ASSERT(vcpu->run->io.port == REAL_PORT,
			    "INT 0x%x calls another handler", vectors[i]);
		vcpu_run_complete_io(vcpu);
	}
}

/*
 * The guest has no handler for the trap after the write that enables protected mode.
 * Without unrestricted guest VM-Enter refuses a stack segment of another privilege
 * than the code segment's, and KVM can't emulate the delivery of the trap.
 */
KVM_ONE_VCPU_TEST(emulated_insn, trap_into_invalid_state, NULL)
{
	bool is_restricted = host_cpu_is_intel &&
			     !kvm_is_unrestricted_guest_enabled();
	u8 *mem = addr_gpa2hva(vcpu->vm, 0);
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	/* MOV CR0, EAX; OUT imm8, AL */
	memcpy(mem + REAL_CODE, (u8[]){ 0x0f, 0x22, 0xc0, 0xe6, REAL_PORT }, 5);
	set_real_mode(vcpu);

	vcpu_sregs_get(vcpu, &sregs);
	sregs.ss.selector = 3;
	sregs.ss.base = sregs.ss.selector << 4;
	sregs.idt.limit = 0;
	vcpu_sregs_set(vcpu, &sregs);

	vcpu_regs_get(vcpu, &regs);
	regs.rax = sregs.cr0 | X86_CR0_PE;
	regs.rflags = X86_EFLAGS_FIXED | X86_EFLAGS_TF;
	vcpu_regs_set(vcpu, &regs);

	vcpu_run(vcpu);
	if (is_restricted) {
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_INTERNAL_ERROR);
		TEST_ASSERT_EQ(vcpu->run->internal.suberror,
			       KVM_INTERNAL_ERROR_EMULATION);
		vcpu_regs_get(vcpu, &regs);
		TEST_ASSERT_EQ(regs.rip, REAL_CODE + 3);
	} else {
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_SHUTDOWN);
	}
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(is_forced_emulation_enabled);

	return test_harness_run(argc, argv);
}
