// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_ACCESS, i.e. what an instruction that
 * KVMI_PF_TRAP_ACCESS was asked for reads and writes
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define PAGE	4096ul
#define CODE	KVMI_GUEST_CODE
#define DATA	KVMI_GUEST_DATA
/* Pages without a use, one after the other */
#define SECOND	0xd000
#define THIRD	0xe000
/* Mapped to where there is no memory */
#define DEVICE		0xf000
#define DEVICE_GPA	0x100000

/* Where an instruction of two bytes is in two pages */
#define END_OF_CODE	(CODE + PAGE - 1)
/* In the GDT */
#define FREE_SELECTOR	0x60

/* In the guest's page tables */
#define PTE_WRITABLE	0x2
#define PTE_USER	0x4

#define X	KVMI_PAGE_ACCESS_X
#define RX	(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

/* What is at the beginning of the data */
#define DATA_VALUE	0x8877665544332211ull
#define RAX_VALUE	0x123456789abcdef0ull

/* MOV RAX, [RDI]; MOV [RDI], RAX; ADD qword [RDI], 1 */
#define READ	"\x48\x8b\x07"
#define WRITE	"\x48\x89\x07"
#define INC	"\x48\x83\x07\x01"
/* FLD1; FSTP qword [RDI] */
#define FLD1	"\xd9\xe8"
#define FSTP	"\xdd\x1f"

FIXTURE(kvmi_access) {
	struct kvmi_guest g;
};

/* 32-bit code */
FIXTURE(kvmi_access_prot) {
	struct kvmi_guest g;
};

static bool can_restrict(struct kvmi_guest *g, u8 access)
{
	struct kvmi_vm_get_features_reply features;

	kvmi_get_features(&g->s, &features);
	return (features.access & access) == access &&
	       (features.events & BIT_ULL(KVMI_VCPU_EVENT_ACCESS)) &&
	       (access != KVMI_PAGE_ACCESS_R ||
		(features.flags & KVMI_FEATURE_EXEC_ONLY));
}

static bool setup(struct kvmi_guest *g, enum kvmi_guest_mode mode)
{
	u64 val = DATA_VALUE;

	kvmi_guest_create(g, mode);
	memcpy(g->start.mem + DATA, &val, sizeof(val));
	memcpy(g->start.mem + SECOND, &val, sizeof(val));
	g->start.regs.rax = RAX_VALUE;
	kvmi_hook(&g->s, g->vm);

	return can_restrict(g, KVMI_PAGE_ACCESS_W);
}

FIXTURE_SETUP(kvmi_access)
{
	if (!setup(&self->g, KVMI_GUEST_LONG))
		SKIP(return, "Access to pages cannot be taken away");
}

FIXTURE_TEARDOWN(kvmi_access)
{
	kvmi_guest_free(&self->g);
}

FIXTURE_SETUP(kvmi_access_prot)
{
	if (!setup(&self->g, KVMI_GUEST_PROT))
		SKIP(return, "Access to pages cannot be taken away");
}

FIXTURE_TEARDOWN(kvmi_access_prot)
{
	kvmi_guest_free(&self->g);
}

static void restrict_page(struct kvmi_guest *g, u64 gpa, u8 access)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, 0, gpa, 1, access), 0);
}

static void reply_trap(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	struct kvmi_vcpu_event_pf_reply data = { .flags = KVMI_PF_TRAP_ACCESS };

	kvmi_reply_data(&g->s, ev, KVMI_EVENT_ACTION_ALLOW, &data, sizeof(data));
}

static void reply_bytes(struct kvmi_guest *g, const struct kvmi_event *ev,
			const void *bytes, size_t size)
{
	struct kvmi_vcpu_event_access_reply data = { };

	memcpy(data.data, bytes, size);
	kvmi_reply_data(&g->s, ev, KVMI_EVENT_ACTION_ALLOW, &data, sizeof(data));
}

static void allow(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
}

static void wait_pf_at(struct kvmi_guest *g, u64 rip, u8 flags, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev->pf.flags, flags);
}

static void wait_pf(struct kvmi_guest *g, u8 flags, struct kvmi_event *ev)
{
	wait_pf_at(g, CODE, flags, ev);
}

/* Everything is mapped at its address. */
static void wait_access(struct kvmi_guest *g, u64 gpa, u8 access,
			const void *bytes, u8 size, struct kvmi_event *ev)
{
	int i;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, CODE);
	TEST_ASSERT_EQ(ev->access.gva, gpa);
	TEST_ASSERT_EQ(ev->access.gpa, gpa);
	TEST_ASSERT_EQ(ev->access.access, access);
	TEST_ASSERT_EQ(ev->access.size, size);
	TEST_ASSERT(!memcmp(ev->access.data, bytes, size), "Other bytes");
	for (i = size; i < sizeof(ev->access.data); i++)
		TEST_ASSERT_EQ(ev->access.data[i], 0);
}

static void start_pf(struct kvmi_guest *g, u16 event, struct kvmi_event *ev)
{
	kvmi_guest_park(g, ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	if (event)
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, event, 1), 0);
	kvmi_unpark(&g->s, ev);
	wait_pf(g, 0, ev);
}

static void start(struct kvmi_guest *g, u16 event)
{
	struct kvmi_event ev;

	start_pf(g, event, &ev);
	reply_trap(g, &ev);
}

#define START(g, code)							\
({									\
	struct kvmi_guest *__g = (g);					\
									\
	kvmi_guest_code(__g, code);					\
	kvmi_guest_run_normally(__g);					\
	start(__g, KVMI_VCPU_EVENT_ACCESS);				\
})

/* The instruction is fetched from two pages: the first is allowed, the second asked for. */
static void allow_first_of_two_pages(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_park(g, ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_unpark(&g->s, ev);
	wait_pf_at(g, END_OF_CODE, 0, ev);
	TEST_ASSERT_EQ(ev->pf.gpa & -PAGE, CODE);
	allow(g, ev);
	wait_pf_at(g, END_OF_CODE, KVMI_PF_AGAIN, ev);
	TEST_ASSERT_EQ(ev->pf.gpa & -PAGE, CODE + PAGE);
	TEST_ASSERT_EQ(ev->pf.access, KVMI_PAGE_ACCESS_X);
}

static u64 value_at(struct kvmi_guest *g, u64 gpa)
{
	return *(u64 *)addr_gpa2hva(g->vm, gpa);
}

static void stop(struct kvmi_guest *g)
{
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

static void start_write(struct kvmi_guest *g, struct kvmi_event *ev)
{
	u64 val = RAX_VALUE;

	restrict_page(g, DATA, RX);
	START(g, WRITE);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), ev);
	/* It has not happened. */
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
}

KVMI_TEST(kvmi_access, write)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, write_something_else)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 val = 0x4242424243434343;

	start_write(g, &ev);
	reply_bytes(g, &ev, &val, sizeof(val));
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), val);
	/* Registers are what they were. */
	TEST_ASSERT_EQ(g->state.regs.rax, RAX_VALUE);
}

KVMI_TEST(kvmi_access, write_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_access, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_guest_crash(g, &ev);
}

KVMI_TEST(kvmi_access, bad_action)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_reply(&g->s, &ev, 4);
	kvmi_expect_closed(&g->s);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, retry)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
	reply_trap(g, &ev);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* There may be nothing to ask about any more. */
KVMI_TEST(kvmi_access, retry_with_access)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	restrict_page(g, DATA, RX | KVMI_PAGE_ACCESS_W);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

/* The instruction has read, and begins with what the tool has stored. */
KVMI_TEST(kvmi_access, retry_with_registers)
{
	u64 val = DATA_VALUE + RAX_VALUE, other = DATA_VALUE + 1;
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	/* XADD [RDI], RAX */
	START(g, "\x48\x0f\xc1\x07");
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	regs = ev.common.arch.regs;
	regs.rax = 1;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rax, 1);
	reply_trap(g, &ev);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &other, sizeof(other), &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), other);
	TEST_ASSERT_EQ(g->state.regs.rax, DATA_VALUE);
}

/* To go on elsewhere is to leave out the instruction, whatever it has done so far. */
static void retry_elsewhere(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	struct kvm_regs regs = ev->common.arch.regs;

	regs.rip = g->normal.regs.rip;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_access, retry_elsewhere)
{
	struct kvmi_event ev;

	start_write(&self->g, &ev);
	retry_elsewhere(&self->g, &ev);
}

KVMI_TEST(kvmi_access, retry_elsewhere_push)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rsp = THIRD + PAGE;
	restrict_page(g, THIRD, RX);
	START(g, "\x50");
	wait_access(g, THIRD + PAGE - 8, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	retry_elsewhere(g, &ev);
}

/* The access of the page with the code is granted again by the next PF only. */
KVMI_TEST(kvmi_access, retry_code)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R);
	START(g, WRITE);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_X);
	restrict_page(g, CODE, RX | KVMI_PAGE_ACCESS_W);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* The answer to an event that a signal has interrupted */
KVMI_TEST(kvmi_access, retry_after_signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, retry_read)
{
	u64 val = DATA_VALUE, other = 7;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	restrict_page(g, DATA, X);
	START(g, READ);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_R, &val, sizeof(val), &ev);
	*(u64 *)addr_gpa2hva(g->vm, DATA) = other;
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_R, &other, sizeof(other), &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(g->state.regs.rax, other);
}

/* Iterations that are done stay so. */
KVMI_TEST(kvmi_access, retry_repeat)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rcx = 2;
	restrict_page(g, DATA, RX);
	START(g, "\xf3\x48\xab");
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	wait_access(g, DATA + 8, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA + 8);
	TEST_ASSERT_EQ(ev.common.arch.regs.rcx, 1);
	TEST_ASSERT_EQ(value_at(g, DATA), RAX_VALUE);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* The instruction ends with the registers that the tool has set. */
KVMI_TEST(kvmi_access, registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	start_write(g, &ev);
	regs = ev.common.arch.regs;
	regs.rax = 1;
	regs.rbx = 2;
	regs.rip = 0;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), RAX_VALUE);
	TEST_ASSERT_EQ(g->state.regs.rax, 1);
	TEST_ASSERT_EQ(g->state.regs.rbx, 2);
	TEST_ASSERT_EQ(g->state.regs.rip, g->normal.regs.rip);
}

KVMI_TEST(kvmi_access, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, unhook)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_write(g, &ev);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	kvmi_guest_stop_normally(g);
	kvmi_hook(&g->s, g->vm);
}

/* The instruction was begun once, and is done once. */
KVMI_TEST(kvmi_access, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 val = DATA_VALUE + 1;

	restrict_page(g, DATA, RX);
	START(g, INC);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
	allow(g, &ev);

	/* It begins anew, and has the answer for when it gets there. */
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Without the event the instruction is just done. */
KVMI_TEST(kvmi_access, event_is_off)
{
	struct kvmi_guest *g = &self->g;

	restrict_page(g, DATA, RX);
	kvmi_guest_code(g, WRITE);
	kvmi_guest_run_normally(g);
	start(g, 0);
	kvmi_guest_stop_normally(g);
}

static void write_of_size(struct kvmi_guest *g, const u8 *code, size_t code_size,
			  int size)
{
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	__kvmi_guest_code(g, code, code_size);
	kvmi_guest_run_normally(g);
	start(g, KVMI_VCPU_EVENT_ACCESS);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, size, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

#define WRITE_OF_SIZE(g, code, size)					\
	write_of_size(g, (const u8 *)"" code, sizeof(code) - 1, size)

KVMI_TEST(kvmi_access, write_1_byte)
{
	WRITE_OF_SIZE(&self->g, "\x88\x07", 1);
}

KVMI_TEST(kvmi_access, write_2_bytes)
{
	WRITE_OF_SIZE(&self->g, "\x66\x89\x07", 2);
}

KVMI_TEST(kvmi_access, write_4_bytes)
{
	WRITE_OF_SIZE(&self->g, "\x89\x07", 4);
}

KVMI_TEST(kvmi_access, write_16_bytes)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_xsave xsave;
	struct kvmi_event ev;
	u8 bytes[16];

	memset(bytes, 0x5a, sizeof(bytes));
	memcpy(g->fpu.xmm[0], bytes, sizeof(bytes));
	/* KVM_SET_FPU leaves it open whether XMM registers are in use. */
	vcpu_ioctl(g->vcpu, KVM_GET_XSAVE, &xsave);
	xsave.region[512 / sizeof(xsave.region[0])] |= XFEATURE_MASK_SSE;
	vcpu_ioctl(g->vcpu, KVM_SET_XSAVE, &xsave);
	restrict_page(g, DATA, RX);
	/* MOVUPS [RDI], XMM0 */
	START(g, "\x0f\x11\x07");
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, bytes, sizeof(bytes), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* What is read from a page that may be read is nobody's business. */
KVMI_TEST(kvmi_access, read_modify_write)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE + 1;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	START(g, INC);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, locked_exchange)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	/* XCHG [RDI], RAX */
	START(g, "\x48\x87\x07");
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Each page's bytes are an access of their own. */
KVMI_TEST(kvmi_access, write_across_pages)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	restrict_page(g, SECOND, RX);
	restrict_page(g, THIRD, RX);
	START(g, WRITE);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	allow(g, &ev);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Nothing is written before all of it has been asked about. */
KVMI_TEST(kvmi_access, increment_across_pages_and_signal)
{
	struct kvmi_guest *g = &self->g;
	u64 old = 0x00000000ffffffff, val = old + 1;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	memcpy(g->start.mem + THIRD - 3, &old, sizeof(old));
	restrict_page(g, SECOND, RX);
	restrict_page(g, THIRD, RX);
	START(g, INC);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	allow(g, &ev);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	TEST_ASSERT_EQ(value_at(g, THIRD - 3), old);
	allow(g, &ev);

	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	allow(g, &ev);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* What it reads to write it again is the guest's own, in both pages. */
KVMI_TEST(kvmi_access, increment_across_pages_and_shown)
{
	struct kvmi_guest *g = &self->g;
	u64 old = 0x00000000ffffffff, val = old + 1;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	memcpy(g->start.mem + THIRD - 3, &old, sizeof(old));
	restrict_page(g, SECOND, RX);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, THIRD, DATA), 0);
	START(g, INC);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	allow(g, &ev);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, write_across_pages_something_else)
{
	u8 first[3] = { 1, 2, 3 }, second[5] = { 4, 5, 6, 7, 8 };
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	restrict_page(g, SECOND, RX);
	restrict_page(g, THIRD, RX);
	START(g, WRITE);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	reply_bytes(g, &ev, first, sizeof(first));
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	reply_bytes(g, &ev, second, sizeof(second));
	stop(g);
	TEST_ASSERT_EQ(value_at(g, THIRD - 3), 0x0807060504030201);
}

/* Each part has an answer of its own. */
KVMI_TEST(kvmi_access, write_across_pages_skip_one)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	memset(g->start.mem + THIRD - 3, 0x77, sizeof(val));
	restrict_page(g, SECOND, RX);
	restrict_page(g, THIRD, RX);
	START(g, WRITE);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, THIRD - 3), (val & ~0xffffffull) | 0x777777);
}

/* But for those of a page that is not restricted */
KVMI_TEST(kvmi_access, write_across_pages_one_restricted)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	restrict_page(g, THIRD, RX);
	START(g, WRITE);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* What may be written when the instruction begins may not when the tool has answered. */
static void take_away_other_page(struct kvmi_guest *g, u8 action)
{
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	restrict_page(g, THIRD, RX);
	START(g, WRITE);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	restrict_page(g, SECOND, RX);
	kvmi_reply(&g->s, &ev, action);

	/* It begins anew, and is asked about. */
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(value_at(g, THIRD - 3), 0);
	reply_trap(g, &ev);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_W, &val, 3, &ev);
	TEST_ASSERT_EQ(value_at(g, THIRD - 3), 0);
	allow(g, &ev);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, write_across_pages_and_restrict)
{
	take_away_other_page(&self->g, KVMI_EVENT_ACTION_ALLOW);
}

KVMI_TEST(kvmi_access, write_across_pages_skip_and_restrict)
{
	take_away_other_page(&self->g, KVMI_EVENT_ACTION_SKIP);
}

/* The guest has the first page elsewhere by the time that the tool has answered. */
KVMI_TEST(kvmi_access, write_across_pages_and_map)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rdi = THIRD - 3;
	restrict_page(g, THIRD, RX);
	START(g, WRITE);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	kvmi_guest_map(g, addr_gpa2hva(g->vm, 0), SECOND, DEVICE, KVMI_GUEST_PTE);
	allow(g, &ev);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	wait_access(g, THIRD, KVMI_PAGE_ACCESS_W, (u8 *)&val + 3, 5, &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(g->state.mem[THIRD - 1], 0);
	TEST_ASSERT(!memcmp(g->state.mem + DEVICE + PAGE - 3, &val, 3), "Other bytes");
}

/* The same of the second page that is read, while the tool is asked about the first */
KVMI_TEST(kvmi_access, read_across_pages_and_map)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	g->start.regs.rdi = THIRD - 3;
	memcpy(g->start.mem + THIRD - 3, &val, sizeof(val));
	memset(g->start.mem + DEVICE, 0x99, 5);
	restrict_page(g, SECOND, X);
	START(g, READ);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_R, &val, 3, &ev);
	kvmi_guest_map(g, addr_gpa2hva(g->vm, 0), THIRD, DEVICE, KVMI_GUEST_PTE);
	allow(g, &ev);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	wait_access(g, THIRD - 3, KVMI_PAGE_ACCESS_R, &val, 3, &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(g->state.regs.rax, 0x9999999999332211);
}

KVMI_TEST(kvmi_access, push)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rsp = THIRD + PAGE;
	restrict_page(g, THIRD, RX);
	/* PUSH RAX */
	START(g, "\x50");
	wait_access(g, THIRD + PAGE - 8, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* All iterations are part of the instruction. */
KVMI_TEST(kvmi_access, repeat)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;
	int i;

	g->start.regs.rcx = 3;
	restrict_page(g, DATA, RX);
	/* REP STOSQ */
	START(g, "\xf3\x48\xab");
	for (i = 0; i < 3; i++) {
		wait_access(g, DATA + 8 * i, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rcx, 3 - i);
		allow(g, &ev);
	}
	kvmi_guest_stop_normally(g);
}

/* What has been done before a signal is not done again. */
KVMI_TEST(kvmi_access, repeat_and_signal)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	g->start.regs.rcx = 2;
	restrict_page(g, DATA, RX);
	START(g, "\xf3\x48\xab");
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	wait_access(g, DATA + 8, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	TEST_ASSERT_EQ(value_at(g, DATA), RAX_VALUE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA + 8);
	TEST_ASSERT_EQ(ev.common.arch.regs.rcx, 1);
	reply_trap(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, locked_add)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE + 1;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	START(g, "\xf0" INC);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Somebody else writes meanwhile: it begins anew, as it would have to. */
KVMI_TEST(kvmi_access, locked_add_and_memory_changes)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE + 1, other = 5;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	START(g, "\xf0" INC);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	*(u64 *)addr_gpa2hva(g->vm, DATA) = other;
	allow(g, &ev);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	other++;
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &other, sizeof(other), &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), other);
}

KVMI_TEST(kvmi_access, locked_add_skip)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE + 1;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	START(g, "\xf0" INC);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
	TEST_ASSERT_EQ(g->state.regs.rip, g->normal.regs.rip);
}

/* KVM_RUN returns between the two accesses of a MOVSQ. */
KVMI_TEST(kvmi_access, device)
{
	struct kvm_run *run = self->g.vcpu->run;
	struct kvmi_guest *g = &self->g;
	u64 val = 0x1234123412341234;
	struct kvmi_event ev;

	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
	g->start.regs.rsi = DEVICE;
	kvmi_guest_code(g, "\x48\xa5");
	kvmi_guest_reset(g);
	restrict_page(g, DATA, RX);
	/* To be told before the processor gets to read */
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	start(g, KVMI_VCPU_EVENT_ACCESS);

	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(run->mmio.phys_addr, DEVICE_GPA);
	memcpy(run->mmio.data, &val, sizeof(val));
	kvmi_run_start(&g->r, &g->s, g->vcpu);

	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_RWX);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), val);
	TEST_ASSERT_EQ(g->state.regs.rdi, DATA + 8);
}

/*
 * A push of what is in a device is asked about after KVM_RUN has returned, and ended
 * by a signal: it has not moved the stack pointer.
 */
KVMI_TEST(kvmi_access, push_from_device)
{
	struct kvm_run *run = self->g.vcpu->run;
	struct kvmi_guest *g = &self->g;
	u64 val = 0x1234123412341234;
	struct kvmi_event ev;
	struct kvm_regs regs;
	int i;

	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
	g->start.regs.rsi = DEVICE;
	g->start.regs.rsp = THIRD + PAGE;
	/* PUSH [RSI] */
	kvmi_guest_code(g, "\xff\x36");
	kvmi_guest_reset(g);
	restrict_page(g, THIRD, RX);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	start(g, KVMI_VCPU_EVENT_ACCESS);

	for (i = 0; i < 2; i++) {
		kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
		TEST_ASSERT_EQ(run->mmio.phys_addr, DEVICE_GPA);
		memcpy(run->mmio.data, &val, sizeof(val));
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		if (i)
			break;

		wait_access(g, THIRD + PAGE - 8, KVMI_PAGE_ACCESS_W, &val,
			    sizeof(val), &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rsp, THIRD + PAGE);
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		vcpu_regs_get(g->vcpu, &regs);
		TEST_ASSERT_EQ(regs.rsp, THIRD + PAGE);
		allow(g, &ev);

		kvmi_run_start(&g->r, &g->s, g->vcpu);
		wait_pf(g, 0, &ev);
		reply_trap(g, &ev);
	}

	/* The next instruction */
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 2);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_RWX);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	stop(g);
	TEST_ASSERT_EQ(g->state.regs.rsp, THIRD + PAGE - 8);
	TEST_ASSERT_EQ(value_at(g, THIRD + PAGE - 8), val);
}

/* SGDT stores ten bytes at once. */
KVMI_TEST(kvmi_access, store_descriptor_table)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u8 bytes[10];

	restrict_page(g, DATA, RX);
	kvmi_guest_code(g, "\x0f\x01\x07");
	kvmi_guest_run_normally(g);
	memcpy(bytes, g->normal.mem + DATA, sizeof(bytes));
	start(g, KVMI_VCPU_EVENT_ACCESS);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, bytes, sizeof(bytes), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* FXSAVE is told piece by piece.  KVM does not know that of 64-bit code. */
KVMI_TEST(kvmi_access_prot, many_bytes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u8 bytes[288];
	int i;

	restrict_page(g, DATA, RX);
	START(g, "\x0f\xae\x07");
	for (i = 0; i < sizeof(bytes); i += sizeof(ev.access.data)) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, &ev);
		TEST_ASSERT_EQ(ev.access.gva, DATA + i);
		TEST_ASSERT_EQ(ev.access.gpa, DATA + i);
		TEST_ASSERT_EQ(ev.access.access, KVMI_PAGE_ACCESS_W);
		TEST_ASSERT_EQ(ev.access.size, sizeof(ev.access.data));
		memcpy(bytes + i, ev.access.data, sizeof(ev.access.data));
		allow(g, &ev);
	}
	stop(g);
	TEST_ASSERT(!memcmp(g->state.mem + DATA, bytes, sizeof(bytes)),
		    "Other bytes");
	TEST_ASSERT(!memcmp(g->state.mem + DATA + sizeof(bytes),
			    g->start.mem + DATA + sizeof(bytes),
			    PAGE - sizeof(bytes)), "More bytes");
}

static void start_read(struct kvmi_guest *g, struct kvmi_event *ev)
{
	u64 val = DATA_VALUE;

	restrict_page(g, DATA, X);
	START(g, READ);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_R, &val, sizeof(val), ev);
}

KVMI_TEST(kvmi_access, read)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	start_read(g, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, read_is_not_skipped)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	start_read(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_expect_closed(&g->s);
	kvmi_guest_stop_normally(g);
}

/* The guest sees what the tool wants it to, and memory does not change. */
KVMI_TEST(kvmi_access, read_something_else)
{
	struct kvmi_guest *g = &self->g;
	u64 val = 0x4242424243434343;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	start_read(g, &ev);
	reply_bytes(g, &ev, &val, sizeof(val));
	stop(g);
	TEST_ASSERT_EQ(g->state.regs.rax, val);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
}

KVMI_TEST(kvmi_access, read_modify_write_something_else)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE, other = 0x100;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	restrict_page(g, DATA, X);
	START(g, INC);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_R, &val, sizeof(val), &ev);
	reply_bytes(g, &ev, &other, sizeof(other));
	other++;
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &other, sizeof(other), &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), other);
}

/* The value that is replaced is none that memory could be compared with. */
static void replace_locked(struct kvmi_guest *g, u64 other, u64 written)
{
	u64 val = DATA_VALUE;
	struct kvmi_event ev;

	wait_access(g, DATA, KVMI_PAGE_ACCESS_R, &val, sizeof(val), &ev);
	reply_bytes(g, &ev, &other, sizeof(other));
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &written, sizeof(written), &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), written);
}

KVMI_TEST(kvmi_access, locked_read_modify_write_something_else)
{
	struct kvmi_guest *g = &self->g;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	restrict_page(g, DATA, X);
	START(g, "\xf0" INC);
	replace_locked(g, 0x100, 0x101);
}

/*
 * Memory changes after it was read: the instruction begins anew, with the flags that
 * it began with.
 */
KVMI_TEST(kvmi_access, locked_add_with_carry_and_change)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE + RAX_VALUE + 1, other = 0x100;
	struct kvmi_event ev;

	g->start.regs.rflags |= X86_EFLAGS_CF;
	restrict_page(g, DATA, RX);
	/* LOCK ADC [RDI], RAX */
	START(g, "\xf0\x48\x11\x07");
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	memcpy(addr_gpa2hva(g->vm, DATA), &other, sizeof(other));
	allow(g, &ev);

	wait_pf(g, 0, &ev);
	/* Some processors set RF for a fault. */
	TEST_ASSERT_EQ(ev.common.arch.regs.rflags & ~X86_EFLAGS_RF,
		       g->start.regs.rflags);
	reply_trap(g, &ev);
	val = other + RAX_VALUE + 1;
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), val);
}

KVMI_TEST(kvmi_access, exchange_something_else)
{
	struct kvmi_guest *g = &self->g;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	restrict_page(g, DATA, X);
	/* XCHG [RDI], RAX */
	START(g, "\x48\x87\x07");
	replace_locked(g, 0x100, RAX_VALUE);
	TEST_ASSERT_EQ(g->state.regs.rax, 0x100);
}

KVMI_TEST(kvmi_access, copy)
{
	struct kvmi_guest *g = &self->g;
	u64 val = DATA_VALUE;
	struct kvmi_event ev;

	if (!can_restrict(g, KVMI_PAGE_ACCESS_R))
		SKIP(return, "Reading cannot be taken away");

	g->start.regs.rsi = SECOND;
	restrict_page(g, SECOND, X);
	restrict_page(g, DATA, X);
	/* MOVSQ */
	START(g, "\x48\xa5");
	wait_access(g, SECOND, KVMI_PAGE_ACCESS_R, &val, sizeof(val), &ev);
	allow(g, &ev);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Users' pages, which a supervisor may not access, and the other way round */
FIXTURE(kvmi_access_rights) {
	struct kvmi_guest g;
};

/* @size bytes at @gpa are accessed. */
FIXTURE_VARIANT(kvmi_access_rights) {
	const char *code;
	u64 gpa;
	u8 size;
	u8 access;
	enum kvmi_guest_mode mode;
	u64 rflags;
};

FIXTURE_VARIANT_ADD(kvmi_access_rights, user_writes) {
	.code = WRITE,
	.gpa = DATA,
	.size = 8,
	.access = KVMI_PAGE_ACCESS_W,
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_VARIANT_ADD(kvmi_access_rights, user_reads) {
	.code = READ,
	.gpa = DATA,
	.size = 8,
	.access = KVMI_PAGE_ACCESS_R,
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_VARIANT_ADD(kvmi_access_rights, supervisor_writes) {
	.code = WRITE,
	.gpa = DATA,
	.size = 8,
	.access = KVMI_PAGE_ACCESS_W,
	.mode = KVMI_GUEST_LONG,
	.rflags = X86_EFLAGS_AC,
};

/* MOV DS, EAX */
FIXTURE_VARIANT_ADD(kvmi_access_rights, user_loads_descriptor) {
	.code = "\x8e\xd8",
	.gpa = KVMI_GUEST_GDT + (KVMI_GUEST_USER_DS & ~7),
	.size = 8,
	.access = KVMI_PAGE_ACCESS_R,
	.mode = KVMI_GUEST_LONG_USER,
};

FIXTURE_SETUP(kvmi_access_rights)
{
	struct kvmi_guest *g = &self->g;

	if (!setup(g, variant->mode) || !can_restrict(g, variant->access))
		SKIP(return, "Access to pages cannot be taken away");
	if (!vcpu_cpuid_has(g->vcpu, X86_FEATURE_SMAP))
		SKIP(return, "The processor has no SMAP");

	g->start.sregs.cr4 |= X86_CR4_SMAP;
	g->start.regs.rflags |= variant->rflags;
	if (variant->gpa != DATA) {
		g->start.regs.rax = KVMI_GUEST_USER_DS;
		kvmi_guest_map(g, g->start.mem, variant->gpa & -PAGE,
			       variant->gpa & -PAGE, KVMI_GUEST_PTE & ~PTE_USER);
	}
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_access_rights)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_access_rights, allow)
{
	bool write = variant->access == KVMI_PAGE_ACCESS_W;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, variant->gpa & -PAGE, write ? RX : X);
	start(g, KVMI_VCPU_EVENT_ACCESS);
	wait_access(g, variant->gpa, variant->access,
		    (write ? g->normal.mem : g->start.mem) + variant->gpa,
		    variant->size, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

FIXTURE(kvmi_access_user) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_access_user)
{
	if (!setup(&self->g, KVMI_GUEST_LONG_USER))
		SKIP(return, "Access to pages cannot be taken away");
}

FIXTURE_TEARDOWN(kvmi_access_user)
{
	kvmi_guest_free(&self->g);
}

/* The guest takes its user's right away while the tool is asked. */
KVMI_TEST(kvmi_access_user, right_is_taken_away)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	START(g, WRITE);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	kvmi_guest_map(g, addr_gpa2hva(g->vm, 0), DATA, DATA,
		       KVMI_GUEST_PTE & ~PTE_WRITABLE);
	allow(g, &ev);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), PF_VECTOR);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
}

/*
 * The guest's page tables name other code by the time that the instruction is
 * emulated, in a page that is not to be executed.
 */
KVMI_TEST(kvmi_access, code_is_replaced)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	memcpy(g->start.mem + SECOND, INC, sizeof(INC));
	restrict_page(g, DATA, RX);
	restrict_page(g, SECOND, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_code(g, WRITE);
	kvmi_guest_run_normally(g);
	start_pf(g, KVMI_VCPU_EVENT_ACCESS, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	kvmi_guest_map(g, addr_gpa2hva(g->vm, 0), CODE, SECOND, KVMI_GUEST_PTE);
	reply_trap(g, &ev);

	/* Whether the TLB still has the old page is up to the processor. */
	wait_pf(g, KVMI_PF_NOT_EMULATED, &ev);
	kvmi_guest_map(g, addr_gpa2hva(g->vm, 0), CODE, CODE, KVMI_GUEST_PTE);
	if (ev.pf.gpa != DATA) {
		TEST_ASSERT_EQ(ev.pf.gpa, SECOND);
		TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_X);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		wait_pf(g, 0, &ev);
	}
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Unless the fetch is what the tool has allowed */
KVMI_TEST(kvmi_access, code_is_fetched)
{
	struct kvmi_guest *g = &self->g;
	u64 val = RAX_VALUE;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_code(g, WRITE);
	kvmi_guest_run_normally(g);
	start_pf(g, KVMI_VCPU_EVENT_ACCESS, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_X);
	reply_trap(g, &ev);
	wait_access(g, DATA, KVMI_PAGE_ACCESS_W, &val, sizeof(val), &ev);
	allow(g, &ev);
	/* That was for one instruction. */
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + sizeof(WRITE) - 1);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_X);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

static void start_not_emulated(struct kvmi_guest *g, struct kvmi_event *ev)
{
	struct kvmi_event pause;

	restrict_page(g, DATA, RX);
	kvmi_guest_code(g, FLD1 FSTP);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(*(u64 *)(g->normal.mem + DATA), 0x3ff0000000000000);

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.flags, 0);
	reply_trap(g, ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, CODE + 2);
	TEST_ASSERT_EQ(ev->pf.gpa, DATA);
	TEST_ASSERT_EQ(ev->pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev->pf.flags, KVMI_PF_NOT_EMULATED);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE);
}

KVMI_TEST(kvmi_access, not_emulated_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_not_emulated(g, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* The emulator has loaded CS by the time that it pushes. */
KVMI_TEST(kvmi_access, not_emulated_far_call)
{
	struct kvmi_guest *g = &self->g;
	struct {
		u32 offset;
		u16 selector;
	} __packed target = { CODE + 2, KVMI_GUEST_KERNEL_CS };
	struct kvmi_event ev;

	memcpy(g->start.mem + DATA, &target, sizeof(target));
	g->start.regs.rsp = THIRD + PAGE;
	/* CALL FAR [RDI], of what follows */
	kvmi_guest_code(g, "\xff\x1f");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal.regs.rsp, THIRD + PAGE - 8);
	restrict_page(g, THIRD, RX);
	start(g, KVMI_VCPU_EVENT_ACCESS);
	wait_pf(g, KVMI_PF_NOT_EMULATED, &ev);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* A far pointer as it is in memory */
struct far_pointer {
	u32 offset;
	u16 selector;
} __packed;

static void read_device(struct kvmi_guest *g, const struct far_pointer *ptr)
{
	struct kvm_run *run = g->vcpu->run;

	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(run->mmio.phys_addr, DEVICE_GPA);
	TEST_ASSERT_EQ(run->mmio.len, sizeof(*ptr));
	memcpy(run->mmio.data, ptr, sizeof(*ptr));
	kvmi_run_start(&g->r, &g->s, g->vcpu);
}

/* A far CALL or JMP through what is in a device */
static void load_far(struct kvmi_guest *g, const char *code, u64 rip)
{
	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
	g->start.regs.rdi = DEVICE;
	g->start.regs.rsp = THIRD + PAGE;
	g->start.regs.rip = rip;
	kvmi_guest_code(g, "\x90\x90");
	memcpy(g->start.mem + rip, code, 2);
	kvmi_guest_reset(g);
}

/* The device has been read when it turns out that the emulator cannot go on. */
KVMI_TEST(kvmi_access, not_emulated_far_call_from_device)
{
	struct far_pointer target = { CODE + 2, KVMI_GUEST_KERNEL_CS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	load_far(g, "\xff\x1f", CODE);
	restrict_page(g, THIRD, RX);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_unpark(&g->s, &ev);
	read_device(g, &target);
	wait_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_W);
	reply_trap(g, &ev);
	read_device(g, &target);

	/* It begins anew. */
	read_device(g, &target);
	wait_pf(g, KVMI_PF_NOT_EMULATED, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_W);
	allow(g, &ev);
	read_device(g, &target);
	stop(g);
	TEST_ASSERT_EQ(g->state.regs.rsp, THIRD + PAGE - 8);
}

KVMI_TEST(kvmi_access, not_emulated_gate_from_device)
{
	struct far_pointer target = { 0, FREE_SELECTOR };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 gate = CODE + 2;

	/* A present call gate */
	gate |= KVMI_GUEST_KERNEL_CS << 16 | 0x8cull << 40;
	memcpy(g->start.mem + KVMI_GUEST_GDT + FREE_SELECTOR, &gate, sizeof(gate));
	load_far(g, "\xff\x2f", CODE);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	start(g, KVMI_VCPU_EVENT_ACCESS);
	read_device(g, &target);
	wait_pf(g, KVMI_PF_NOT_EMULATED, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_X);

	/* Nor does KVM know how to execute it with the device. */
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_RWX);
	g->normal.regs.rip = CODE + 2;
	retry_elsewhere(g, &ev);
}

/* A step that is open does not execute it with what was allowed to be traced only. */
KVMI_TEST(kvmi_access, not_emulated_from_device_in_step)
{
	struct far_pointer target = { CODE + 2, KVMI_GUEST_KERNEL_CS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	load_far(g, "\xff\x1f", END_OF_CODE);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	restrict_page(g, CODE + PAGE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	restrict_page(g, THIRD, RX);
	allow_first_of_two_pages(g, &ev);
	reply_trap(g, &ev);
	read_device(g, &target);
	wait_pf_at(g, END_OF_CODE, KVMI_PF_AGAIN | KVMI_PF_NOT_EMULATED, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_X);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, CODE + PAGE);

	restrict_page(g, CODE, KVMI_PAGE_ACCESS_RWX);
	restrict_page(g, CODE + PAGE, KVMI_PAGE_ACCESS_RWX);
	restrict_page(g, THIRD, KVMI_PAGE_ACCESS_RWX);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	read_device(g, &target);
	stop(g);
	TEST_ASSERT_EQ(g->state.regs.rsp, THIRD + PAGE - 8);
}

/* To insist does not help, nor does it do harm. */
KVMI_TEST(kvmi_access, not_emulated_trap_again)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_not_emulated(g, &ev);
	reply_trap(g, &ev);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access, not_emulated_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_not_emulated(g, &ev);
	/* Nor is it known where the instruction ends. */
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 2);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_NOT_EMULATED);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* The vCPU halts, as it would without. */
KVMI_TEST(kvmi_access, halt)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_code(g, "\xf4");
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	reply_trap(g, &ev);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_HLT);
	kvmi_guest_get_state(g, &g->state);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
}

/* Other flags are refused, and so is what is no flag. */
static void refuse(struct kvmi_guest *g, u32 flags, u32 padding, u8 action)
{
	struct kvmi_vcpu_event_pf_reply data = { .flags = flags,
						 .padding = padding };
	struct kvmi_event ev;

	kvmi_guest_reset(g);
	kvmi_guest_restrict(g, DATA, RX);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	kvmi_reply_data(&g->s, &ev, action, &data, sizeof(data));
	kvmi_expect_closed(&g->s);
	/* The access is allowed, as nobody is there to say no. */
	kvmi_guest_stop_normally(g);
	kvmi_unhook(&g->s);
	g->s.vm = NULL;
}

KVMI_TEST(kvmi_access, unknown_flags)
{
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_code(g, WRITE);
	kvmi_guest_run_normally(g);
	for (i = 0; i < 32; i++) {
		if (BIT(i) != KVMI_PF_TRAP_ACCESS)
			refuse(g, BIT(i), 0, KVMI_EVENT_ACTION_ALLOW);
	}
	refuse(g, KVMI_PF_TRAP_ACCESS | BIT(31), 0, KVMI_EVENT_ACTION_ALLOW);
	refuse(g, KVMI_PF_TRAP_ACCESS, 1, KVMI_EVENT_ACTION_ALLOW);
	refuse(g, 0, 0x80000000, KVMI_EVENT_ACTION_ALLOW);
	refuse(g, BIT(1), 0, KVMI_EVENT_ACTION_SKIP);
}

/* It is for ALLOW, not for what is not to happen. */
KVMI_TEST(kvmi_access, trap_with_skip)
{
	struct kvmi_vcpu_event_pf_reply data = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	kvmi_guest_code(g, WRITE);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_SKIP, &data, sizeof(data));
	kvmi_guest_stop_unchanged(g);
}

/*
 * An instruction that is reported is so, too, if KVM emulates it: there is an event
 * beside the PF of its fetch.
 */
FIXTURE(kvmi_access_event) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_access_event) {
	const char *code;
	size_t size;
	u16 event;
	u64 rax;
	u64 rcx;
};

#define INSN(bytes)	.code = bytes, .size = sizeof(bytes) - 1

FIXTURE_VARIANT_ADD(kvmi_access_event, cpuid) {
	INSN("\x0f\xa2"),
	.event = KVMI_VCPU_EVENT_CPUID,
	.rax = KVM_CPUID_SIGNATURE,
};

/* LIDT [RDI] */
FIXTURE_VARIANT_ADD(kvmi_access_event, lidt) {
	INSN("\x0f\x01\x1f"),
	.event = KVMI_VCPU_EVENT_DESCRIPTOR,
};

/* LLDT AX */
FIXTURE_VARIANT_ADD(kvmi_access_event, lldt) {
	INSN("\x0f\x00\xd0"),
	.event = KVMI_VCPU_EVENT_DESCRIPTOR,
	.rax = KVMI_GUEST_LDTR,
};

/* STR EAX */
FIXTURE_VARIANT_ADD(kvmi_access_event, str) {
	INSN("\x0f\x00\xc8"),
	.event = KVMI_VCPU_EVENT_DESCRIPTOR,
};

/* MOV CR4, RAX */
FIXTURE_VARIANT_ADD(kvmi_access_event, cr4) {
	INSN("\x0f\x22\xe0"),
	.event = KVMI_VCPU_EVENT_CR,
	.rax = X86_CR4_OSFXSR | X86_CR4_PAE | X86_CR4_PSE,
};

FIXTURE_VARIANT_ADD(kvmi_access_event, wrmsr) {
	INSN("\x0f\x30"),
	.event = KVMI_VCPU_EVENT_MSR,
	.rax = 0x12345000,
	.rcx = MSR_IA32_SYSENTER_EIP,
};

FIXTURE_VARIANT_ADD(kvmi_access_event, xsetbv) {
	INSN("\x0f\x01\xd1"),
	.event = KVMI_VCPU_EVENT_XSETBV,
	.rax = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
};

FIXTURE_SETUP(kvmi_access_event)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;
	u64 base = KVMI_GUEST_IDT;
	u16 limit = 0xfff;

	if (!setup(g, KVMI_GUEST_LONG) || !can_restrict(g, X))
		SKIP(return, "Access to pages cannot be taken away");
	kvmi_get_features(&g->s, &features);
	if (!(features.events & BIT_ULL(variant->event)))
		SKIP(return, "The processor does not intercept it");
	if (variant->event == KVMI_VCPU_EVENT_XSETBV &&
	    !vcpu_cpuid_has(g->vcpu, X86_FEATURE_XSAVE))
		SKIP(return, "The processor has no XSETBV");

	/* For LIDT: another limit */
	memcpy(g->start.mem + DATA, &limit, sizeof(limit));
	memcpy(g->start.mem + DATA + sizeof(limit), &base, sizeof(base));
	g->start.regs.rax = variant->rax;
	g->start.regs.rcx = variant->rcx;
	if (variant->event == KVMI_VCPU_EVENT_XSETBV)
		g->start.xcr0 = XFEATURE_MASK_FP;
	__kvmi_guest_code(g, (const u8 *)variant->code, variant->size);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	if (variant->event == KVMI_VCPU_EVENT_MSR)
		vcpu_set_msr(g->vcpu, (u32)variant->rcx, 0);
}

FIXTURE_TEARDOWN(kvmi_access_event)
{
	kvmi_guest_free(&self->g);
}

static void start_event(struct _test_data_kvmi_access_event *self, u16 event,
			u64 rcx, struct kvmi_event *ev)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, event, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 4, 1), 0);
	if (event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_KVMI(kvmi_control_msr(&g->s, 0, rcx, 1), 0);
	kvmi_unpark(&g->s, &pause);
	wait_pf(g, 0, ev);
	reply_trap(g, ev);
	kvmi_wait_event(&g->s, event, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, CODE);
}

/* What comes next is fetched from that page, too. */
static void stop_event(struct kvmi_guest *g)
{
	struct kvmi_event ev;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, g->end);
	allow(g, &ev);
}

KVMI_TEST(kvmi_access_event, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_event(self, variant->event, variant->rcx, &ev);
	allow(g, &ev);
	stop_event(g);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access_event, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_event(self, variant->event, variant->rcx, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	stop_event(g);
	kvmi_guest_stop_unchanged(g);
}

/* The fetch comes first, and is asked about again. */
KVMI_TEST(kvmi_access_event, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_event(self, variant->event, variant->rcx, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	kvmi_wait_event(&g->s, variant->event, &ev);
	allow(g, &ev);
	stop_event(g);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_access_event, crash)
{
	struct kvmi_event ev;

	start_event(self, variant->event, variant->rcx, &ev);
	kvmi_guest_crash(&self->g, &ev);
}

/* KVM has no other way to emulate a hypercall than to let it be made. */
FIXTURE(kvmi_access_hypercall) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_access_hypercall) {
	enum kvmi_guest_mode mode;
	bool vmmcall;
};

FIXTURE_VARIANT_ADD(kvmi_access_hypercall, prot_vmcall) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_access_hypercall, prot_vmmcall) {
	.mode = KVMI_GUEST_PROT,
	.vmmcall = true,
};

FIXTURE_VARIANT_ADD(kvmi_access_hypercall, long_vmcall) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_VARIANT_ADD(kvmi_access_hypercall, long_user_vmmcall) {
	.mode = KVMI_GUEST_LONG_USER,
	.vmmcall = true,
};

FIXTURE_SETUP(kvmi_access_hypercall)
{
	struct kvmi_guest *g = &self->g;

	if (!setup(g, variant->mode) || !can_restrict(g, X))
		SKIP(return, "Access to pages cannot be taken away");
	/* KVM is to leave the guest's instruction as it is. */
	if (variant->vmmcall == host_cpu_is_intel)
		vm_enable_cap(g->vm, KVM_CAP_DISABLE_QUIRKS2,
			      KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
	g->start.regs.rax = 0x1234;
	if (variant->vmmcall)
		kvmi_guest_code(g, "\x0f\x01\xd9");
	else
		kvmi_guest_code(g, "\x0f\x01\xc1");
	kvmi_guest_run_normally(g);
}

FIXTURE_TEARDOWN(kvmi_access_hypercall)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_access_hypercall, not_emulated)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	start(g, 0);
	wait_pf(g, KVMI_PF_NOT_EMULATED, &ev);
	allow(g, &ev);
	if (g->normal_vector == KVMI_GUEST_NO_EXCEPTION)
		stop_event(g);
	kvmi_guest_stop_normally(g);
}

/* KVM's emulator delivers in real mode, without the events for an exception. */
FIXTURE(kvmi_access_real) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_access_real)
{
	if (!setup(&self->g, KVMI_GUEST_REAL))
		SKIP(return, "Access to pages cannot be taken away");
	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");
}

FIXTURE_TEARDOWN(kvmi_access_real)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_access_real, breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* INT3 */
	kvmi_guest_code(g, "\xcc");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, BP_VECTOR);
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	reply_trap(g, &ev);
	wait_pf(g, KVMI_PF_NOT_EMULATED, &ev);
	allow(g, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE);
	allow(g, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, BP_VECTOR);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* An IRET that KVM emulates lets the next NMI come, as that of a processor. */
KVMI_TEST(kvmi_access_real, iret_and_nmi)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 handler;
	int i;

	g->start.regs.rbx = DATA;
	g->start.regs.rsp = THIRD + PAGE / 2;
	kvmi_guest_count_nmis(g);
	/* NOPs */
	kvmi_guest_code(g, "\x90\x90\x90\x90");
	restrict_page(g, DATA, RX);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	vcpu_ioctl(g->vcpu, KVM_NMI, NULL);
	allow(g, &ev);
	kvmi_run_start(&g->r, &g->s, g->vcpu);

	/* The next one comes in the handler of this one. */
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	handler = ev.common.arch.regs.rip;
	restrict_page(g, THIRD, 0);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	vcpu_ioctl(g->vcpu, KVM_NMI, NULL);
	allow(g, &ev);
	kvmi_run_start(&g->r, &g->s, g->vcpu);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, THIRD);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler + 2);
	reply_trap(g, &ev);
	/* IP, CS, FLAGS */
	for (i = 0; i < 3; i++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, &ev);
		TEST_ASSERT_EQ(ev.access.gpa & -PAGE, THIRD);
		TEST_ASSERT_EQ(ev.access.access, KVMI_PAGE_ACCESS_R);
		if (i == 2)
			restrict_page(g, THIRD, RX | KVMI_PAGE_ACCESS_W);
		allow(g, &ev);
	}

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler);
	allow(g, &ev);
	stop(g);
	TEST_ASSERT_EQ(value_at(g, DATA), DATA_VALUE + 2);
}

/* In real mode, which on some machines KVM emulates, one instruction after the other */
FIXTURE(kvmi_access_step) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_access_step)
{
	struct kvmi_guest *g = &self->g;

	if (!setup(g, KVMI_GUEST_REAL))
		SKIP(return, "Access to pages cannot be taken away");
	/* No virtual-8086 mode has such a segment. */
	g->start.sregs.fs.limit = -1u;
	g->start.sregs.fs.g = 1;
	/* MOV [BX], AX; INC AX */
	kvmi_guest_code(g, "\x89\x07\x40");
	kvmi_guest_run_normally(g);
}

FIXTURE_TEARDOWN(kvmi_access_step)
{
	kvmi_guest_free(&self->g);
}

/* What one instruction was allowed is not for the next one. */
KVMI_TEST(kvmi_access_step, ends)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	restrict_page(g, DATA, RX);
	start_pf(g, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	allow(g, &ev);
	wait_pf(g, KVMI_PF_AGAIN, &ev);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_W);
	reply_trap(g, &ev);
	wait_pf_at(g, CODE + 2, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	allow(g, &ev);
	wait_pf_at(g, g->end, 0, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* Each is reported. */
KVMI_TEST(kvmi_access_step, is_reported)
{
	struct kvmi_vcpu_control_singlestep control = { .enable = 1 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &control,
				       sizeof(control), NULL, 0), 0);
	kvmi_unpark(&g->s, &ev);
	wait_pf(g, 0, &ev);
	reply_trap(g, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 2);
	TEST_ASSERT_EQ(ev.singlestep.failed, 1);
	allow(g, &ev);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE + 3);
	control.enable = 0;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &control,
				       sizeof(control), NULL, 0), 0);
	allow(g, &ev);
	kvmi_guest_stop_normally(g);
}

/* The instruction is not executed, although it might be. */
KVMI_TEST(kvmi_access_step, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	restrict_page(g, DATA, RX);
	start_pf(g, 0, &ev);
	restrict_page(g, DATA, KVMI_PAGE_ACCESS_RWX);
	kvmi_guest_crash(g, &ev);
}

KVMI_TEST(kvmi_access_step, jump_to_itself)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	kvmi_guest_code(g, "\xeb\xfe");
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	start_pf(g, 0, &ev);
	for (i = 0; i < 3; i++) {
		TEST_ASSERT_EQ(ev.pf.access, X);
		allow(g, &ev);
		wait_pf(g, 0, &ev);
	}
	restrict_page(g, CODE, KVMI_PAGE_ACCESS_RWX);
	g->normal.regs.rip = g->end;
	retry_elsewhere(g, &ev);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
