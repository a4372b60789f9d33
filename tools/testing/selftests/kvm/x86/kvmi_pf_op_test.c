// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_PF of the operations of the processor
 *
 * Atomic ones, those of the FPU and of vectors, of the stack and of descriptor
 * tables: one event each, and the result they have without introspection.
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/* Where RDI points to, with what is there, twice; RSI has the far pointer's address. */
#define OPERAND		(KVMI_GUEST_DATA + 0x100)
#define OLD_VALUE	0x0123456789ab0000
#define VALUE		0x1122334455667788
#define FAR_POINTER	0xd000
/* The stack of what takes from it: a page of its own */
#define STACK_TOP	0xe800

FIXTURE(kvmi_pf_op) {
	struct kvmi_guest g;
};

/*
 * @code writes to the operand or pushes; with @read it reads or pops.  KVM knows
 * where it ends unless it is @unknown.
 */
FIXTURE_VARIANT(kvmi_pf_op) {
	const char *code;
	size_t size;
	u64 rax;
	u64 rdx;
	bool stack;
	bool read;
	bool unknown;
};

#define CODE(bytes)	.code = bytes, .size = sizeof(bytes) - 1

/* XCHG [RDI], EAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, xchg) {
	CODE("\x87\x07"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_inc) {
	CODE("\xf0\xff\x07"),
};

/* LOCK XADD [RDI], RAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_xadd) {
	CODE("\xf0\x48\x0f\xc1\x07"),
};

/* LOCK BTS [RDI], EAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_bts) {
	CODE("\xf0\x0f\xab\x07"),
	.rax = 1,
};

/* LOCK CMPXCHG [RDI], RCX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_cmpxchg) {
	CODE("\xf0\x48\x0f\xb1\x0f"),
	.rax = OLD_VALUE,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_cmpxchg_failing) {
	CODE("\xf0\x48\x0f\xb1\x0f"),
	.rax = OLD_VALUE + 1,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_cmpxchg8b) {
	CODE("\xf0\x0f\xc7\x0f"),
	.rax = (u32)OLD_VALUE,
	.rdx = OLD_VALUE >> 32,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_cmpxchg16b) {
	CODE("\xf0\x48\x0f\xc7\x0f"),
	.rax = OLD_VALUE,
	.rdx = OLD_VALUE,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, lock_cmpxchg16b_failing) {
	CODE("\xf0\x48\x0f\xc7\x0f"),
	.rax = OLD_VALUE,
};

/* ADD [RDI], RAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, add) {
	CODE("\x48\x01\x07"),
	.rax = VALUE,
};

/* SETZ [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, setz) {
	CODE("\x0f\x94\x07"),
};

/* MOVNTI [RDI], RAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, movnti) {
	CODE("\x48\x0f\xc3\x07"),
};

/* MOVUPS [RDI], XMM0 */
FIXTURE_VARIANT_ADD(kvmi_pf_op, movups) {
	CODE("\x0f\x11\x07"),
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, fxsave) {
	CODE("\x0f\xae\x07"),
};

/* MOVD [RDI], MM0 */
FIXTURE_VARIANT_ADD(kvmi_pf_op, movd) {
	CODE("\x0f\x7e\x07"),
	.unknown = true,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, sgdt) {
	CODE("\x0f\x01\x07"),
};

/* POP [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, pop) {
	CODE("\x8f\x07"),
};

/* PUSH RAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, push) {
	CODE("\x50"),
	.stack = true,
};

/* CALL the next instruction */
FIXTURE_VARIANT_ADD(kvmi_pf_op, call) {
	CODE("\xe8\x00\x00\x00\x00"),
	.stack = true,
};

/* ENTER 64, 0 */
FIXTURE_VARIANT_ADD(kvmi_pf_op, enter) {
	CODE("\xc8\x40\x00\x00"),
	.stack = true,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, pushf) {
	CODE("\x9c"),
	.stack = true,
};

/* CALL FAR [RSI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, far_call) {
	CODE("\xff\x1e"),
	.stack = true,
};

/* MOV RAX, [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, mov_from) {
	CODE("\x48\x8b\x07"),
	.read = true,
};

/* CMP [RDI], RAX */
FIXTURE_VARIANT_ADD(kvmi_pf_op, cmp) {
	CODE("\x48\x39\x07"),
	.read = true,
};

/* MOVUPS XMM0, [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, movups_from) {
	CODE("\x0f\x10\x07"),
	.read = true,
};

/* PUSH [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, push_from) {
	CODE("\xff\x37"),
	.read = true,
};

FIXTURE_VARIANT_ADD(kvmi_pf_op, fxrstor) {
	CODE("\x0f\xae\x0f"),
	.read = true,
};

/* LGDT [RDI] */
FIXTURE_VARIANT_ADD(kvmi_pf_op, lgdt) {
	CODE("\x0f\x01\x17"),
	.read = true,
};

/* RET, to where the code ends */
FIXTURE_VARIANT_ADD(kvmi_pf_op, ret) {
	CODE("\xc3"),
	.stack = true,
	.read = true,
};

/* IRETQ, to the same */
FIXTURE_VARIANT_ADD(kvmi_pf_op, iret) {
	CODE("\x48\xcf"),
	.stack = true,
	.read = true,
};

static void put(struct kvmi_guest *g, u64 gpa, u64 val)
{
	memcpy(g->start.mem + gpa, &val, sizeof(val));
}

FIXTURE_SETUP(kvmi_pf_op)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs *regs = &g->start.regs;
	u64 end = KVMI_GUEST_CODE + variant->size;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	regs->rax = variant->rax;
	regs->rcx = VALUE;
	regs->rdx = variant->rdx;
	regs->rdi = OPERAND;
	regs->rsi = FAR_POINTER;
	regs->rsp = STACK_TOP;

	put(g, OPERAND, OLD_VALUE);
	put(g, OPERAND + 8, OLD_VALUE);
	put(g, FAR_POINTER, end);
	put(g, FAR_POINTER + 4, KVMI_GUEST_KERNEL_CS);

	/* What RET and IRET find */
	put(g, STACK_TOP, end);
	put(g, STACK_TOP + 8, KVMI_GUEST_KERNEL_CS);
	put(g, STACK_TOP + 16, X86_EFLAGS_FIXED | X86_EFLAGS_CF);
	put(g, STACK_TOP + 24, STACK_TOP - 64);
	put(g, STACK_TOP + 32, KVMI_GUEST_KERNEL_DS);

	__kvmi_guest_code(g, (const u8 *)variant->code, variant->size);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_pf_op)
{
	kvmi_guest_free(&self->g);
}

static void restrict_operand(struct _test_data_kvmi_pf_op *self,
			     const struct _fixture_variant_kvmi_pf_op *variant)
{
	kvmi_guest_restrict(&self->g, variant->stack ? STACK_TOP : OPERAND,
			    variant->read ? 0 : R | X);
}

static void start(struct _test_data_kvmi_pf_op *self,
		  const struct _fixture_variant_kvmi_pf_op *variant,
		  struct kvmi_event *ev)
{
	u64 gpa = variant->stack ? STACK_TOP : OPERAND;

	restrict_operand(self, variant);
	kvmi_guest_start(&self->g, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.gpa & -PAGE, gpa & -PAGE);
	TEST_ASSERT_EQ(ev->pf.access, variant->read ? R : W);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_pf_op, allow)
{
	struct kvmi_event ev;

	start(self, variant, &ev);
	kvmi_reply(&self->g.s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(&self->g);
}

KVMI_TEST(kvmi_pf_op, skip)
{
	struct kvmi_event ev;

	start(self, variant, &ev);
	if (variant->unknown) {
		kvmi_guest_skip_in_vain(&self->g, &ev);
		kvmi_guest_stop_normally(&self->g);
	} else {
		kvmi_reply(&self->g.s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(&self->g);
	}
}

KVMI_TEST(kvmi_pf_op, event_off)
{
	struct kvmi_guest *g = &self->g;

	restrict_operand(self, variant);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* A register of 32 bytes */
#define FEATURE_AVX	KVM_X86_CPU_FEATURE(0x1, 0, ECX, 28)

FIXTURE(kvmi_pf_avx) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_pf_avx)
{
	struct kvmi_guest *g = &self->g;
	int i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (!kvm_cpu_has(FEATURE_AVX))
		SKIP(return, "No AVX");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.xcr0 = XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM;
	g->start.regs.rsi = KVMI_GUEST_DATA;
	g->start.regs.rdi = 0xe000 - 13;
	for (i = 0; i < 32; i++)
		g->start.mem[KVMI_GUEST_DATA + i] = 0x40 + i;
	/* VMOVDQU YMM0, [RSI]; VMOVDQU [RDI], YMM0 */
	kvmi_guest_code(g, "\xc5\xfe\x6f\x06\xc5\xfe\x7f\x07");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.mem[0xe000], 0x40 + 13);
}

FIXTURE_TEARDOWN(kvmi_pf_avx)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_pf_avx, write)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 gpa;

	kvmi_guest_restrict(g, 0xd000, R | X);
	kvmi_guest_restrict(g, 0xe000, R | X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, W);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + 4);
	gpa = ev.pf.gpa;
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, W);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	TEST_ASSERT_EQ((ev.pf.gpa ^ gpa) & -PAGE, 0xd000 ^ 0xe000);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_avx, read)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, KVMI_GUEST_DATA, 0);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, R);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_avx, code)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	/* The two, and the one at the end that stops the guest */
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	for (i = 0; i < 2; i++) {
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + 4 * i);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.access, X);
	}
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
