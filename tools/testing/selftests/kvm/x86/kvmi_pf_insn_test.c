// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_PF of many kinds of instructions
 *
 * With the tool's consent each does what it does without introspection, and as a
 * whole: operands in several restricted pages, one behind the other, strings,
 * atomic operations, vectors.
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/* Two pages that nothing else uses */
#define FIRST		0xd000
#define SECOND		0xe000

/* Rights without W, X, R; the last only where the host can */
#define NO_WRITE	(R | X)
#define NO_EXEC		(R | W)
#define NO_READ		0

#define VALUE		0x1122334455667788

static void create(struct kvmi_guest *g)
{
	kvmi_guest_create(g, KVMI_GUEST_LONG);
	/* In the way of nobody, and not zero */
	memset(g->start.mem + FIRST, 0x3c, 2 * PAGE);
	memset(g->start.mem + KVMI_GUEST_DATA, 0x3c, PAGE);
}

/* Run with the event on. */
static void begin(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&g->s, &pause);
}

static void wait_pf(struct kvmi_guest *g, struct kvmi_event *ev, u8 access)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT(ev->pf.access == access, "Access %u to 0x%llx, wanted %u",
		    ev->pf.access, ev->pf.gpa, access);
}

/* One event about each of these pages, in whichever order, then the end. */
static void allow_and_stop(struct kvmi_guest *g, u8 access, u64 page, u64 other)
{
	struct kvmi_event ev;
	u64 found;

	begin(g);
	wait_pf(g, &ev, access);
	found = ev.pf.gpa & -PAGE;
	TEST_ASSERT(found == page || found == other, "Address 0x%llx", ev.pf.gpa);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	if (page != other) {
		wait_pf(g, &ev, access);
		TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, page + other - found);
		TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_guest_stop_normally(g);
}

/* What lies across the border of two pages, of which some are restricted */
FIXTURE(kvmi_pf_straddle) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf_straddle) {
	bool first, second;
};

FIXTURE_VARIANT_ADD(kvmi_pf_straddle, first) { .first = true };
FIXTURE_VARIANT_ADD(kvmi_pf_straddle, second) { .second = true };
FIXTURE_VARIANT_ADD(kvmi_pf_straddle, both) { .first = true, .second = true };

FIXTURE_SETUP(kvmi_pf_straddle)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	create(&self->g);
}

FIXTURE_TEARDOWN(kvmi_pf_straddle)
{
	kvmi_guest_free(&self->g);
}

static void straddle(struct kvmi_guest *g, bool first, bool second, u8 rights,
		     u8 access)
{
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	if (first)
		kvmi_guest_restrict(g, FIRST, rights);
	if (second)
		kvmi_guest_restrict(g, SECOND, rights);
	allow_and_stop(g, access, first ? FIRST : SECOND, second ? SECOND : FIRST);
}

KVMI_TEST(kvmi_pf_straddle, write)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SECOND - 3;
	g->start.regs.rax = VALUE;
	/* MOV [RDI], RAX */
	kvmi_guest_code(g, "\x48\x89\x07");
	straddle(g, variant->first, variant->second, NO_WRITE, W);
}

KVMI_TEST(kvmi_pf_straddle, read)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SECOND - 3;
	/* MOV RAX, [RDI] */
	kvmi_guest_code(g, "\x48\x8b\x07");
	straddle(g, variant->first, variant->second, NO_READ, R);
}

KVMI_TEST(kvmi_pf_straddle, read_and_write)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SECOND - 3;
	g->start.regs.rax = VALUE;
	/* ADD [RDI], RAX */
	kvmi_guest_code(g, "\x48\x01\x07");
	straddle(g, variant->first, variant->second, NO_WRITE, W);
}

KVMI_TEST(kvmi_pf_straddle, fetch)
{
	/* JMP KVMI_GUEST_CODE */
	const struct {
		u8 opcode;
		s32 offset;
	} __packed jmp = { 0xe9, KVMI_GUEST_CODE - (SECOND + 2) };
	struct kvmi_guest *g = &self->g;

	g->start.regs.rip = SECOND - 3;
	memcpy(g->start.mem + SECOND - 3, &jmp, sizeof(jmp));
	kvmi_guest_code(g, "");
	straddle(g, variant->first, variant->second, NO_EXEC, X);
}

/* Nothing is written to the page that may be, either. */
KVMI_TEST(kvmi_pf_straddle, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rdi = SECOND - 3;
	g->start.regs.rax = VALUE;
	kvmi_guest_code(g, "\x48\x89\x07");
	if (variant->first)
		kvmi_guest_restrict(g, FIRST, NO_WRITE);
	if (variant->second)
		kvmi_guest_restrict(g, SECOND, NO_WRITE);
	begin(g);
	wait_pf(g, &ev, W);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* Instructions on their own */
FIXTURE(kvmi_pf_insn) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_pf_insn)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	create(&self->g);
}

FIXTURE_TEARDOWN(kvmi_pf_insn)
{
	kvmi_guest_free(&self->g);
}

/* Two operands; consent to one is no consent to the other. */
KVMI_TEST(kvmi_pf_insn, read_one_page_write_another)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rsi = FIRST + 8;
	g->start.regs.rdi = SECOND + 16;
	g->start.mem[FIRST + 8] = 0x77;
	/* MOVSB */
	kvmi_guest_code(g, "\xa4");
	kvmi_guest_run_normally(g);
	kvmi_guest_restrict(g, FIRST, NO_READ);
	kvmi_guest_restrict(g, SECOND, NO_WRITE);
	begin(g);

	/* Reading comes first. */
	wait_pf(g, &ev, R);
	TEST_ASSERT_EQ(ev.pf.gpa, FIRST + 8);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, &ev, W);
	TEST_ASSERT_EQ(ev.pf.gpa, SECOND + 16);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* STOSB in a page that may not be executed, to one that may not be written */
KVMI_TEST(kvmi_pf_insn, code_and_data)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rax = 0x77;
	kvmi_guest_code(g, "");
	memcpy(g->start.mem + SECOND, g->start.mem + KVMI_GUEST_CODE, 2);
	g->start.mem[SECOND - 1] = 0xaa;
	g->start.regs.rip = SECOND - 1;
	g->end = SECOND;
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal.mem[KVMI_GUEST_DATA], 0x77);

	kvmi_guest_restrict(g, FIRST, NO_EXEC);
	kvmi_guest_restrict(g, KVMI_GUEST_DATA, NO_WRITE);
	begin(g);
	wait_pf(g, &ev, X);
	TEST_ASSERT_EQ(ev.pf.gpa, SECOND - 1);
	TEST_ASSERT_EQ(ev.pf.gva, SECOND - 1);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, &ev, W);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* What is stepped is one instruction, not what follows it. */
KVMI_TEST(kvmi_pf_insn, each_instruction_is_asked_about)
{
	/* MOV [RDI], AL; MOV AL, [RDI]; MOV [RDI], AH; MOV [RDI + 8], AL */
	static const u8 offsets[] = { 0, 4, 6 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	g->start.regs.rax = 0x1234;
	kvmi_guest_code(g, "\x88\x07\x8a\x07\x88\x27\x88\x47\x08");
	kvmi_guest_run_normally(g);
	kvmi_guest_restrict(g, KVMI_GUEST_DATA, NO_WRITE);
	begin(g);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		wait_pf(g, &ev, W);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + offsets[i]);
		TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA + (i == 2 ? 8 : 0));
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_guest_stop_normally(g);
}

/* The address the guest uses is not that of the memory. */
KVMI_TEST(kvmi_pf_insn, virtual_and_physical_address)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_map(g, g->start.mem, FIRST, SECOND, KVMI_GUEST_PTE);
	g->start.regs.rdi = FIRST + 0x321;
	g->start.regs.rax = VALUE;
	/* MOV [RDI], RAX */
	kvmi_guest_code(g, "\x48\x89\x07");
	kvmi_guest_run_normally(g);
	/* What is at the virtual address does not matter. */
	kvmi_guest_restrict(g, FIRST, NO_WRITE);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
	kvmi_guest_reset(g);

	kvmi_guest_restrict(g, SECOND, NO_WRITE);
	begin(g);
	wait_pf(g, &ev, W);
	TEST_ASSERT_EQ(ev.pf.gpa, SECOND + 0x321);
	TEST_ASSERT_EQ(ev.pf.gva, host_cpu_is_intel ? FIRST + 0x321 : ~0ull);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* Strings: one iteration at a time where it is restricted */
static void expect_iterations(struct kvmi_guest *g, u64 page, u8 rights,
			      u8 access, u64 first, int n, int step)
{
	struct kvmi_event ev;
	int i;

	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	kvmi_guest_restrict(g, page, rights);
	begin(g);
	for (i = 0; i < n; i++) {
		wait_pf(g, &ev, access);
		TEST_ASSERT_EQ(ev.pf.gpa, first + i * step);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
		TEST_ASSERT_EQ(ev.common.arch.regs.rcx, g->normal.regs.rcx + n - i);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_insn, rep_stos)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = FIRST + 5;
	g->start.regs.rcx = 6;
	g->start.regs.rax = 0x77;
	/* REP STOSB */
	kvmi_guest_code(g, "\xf3\xaa");
	expect_iterations(g, FIRST, NO_WRITE, W, FIRST + 5, 6, 1);
}

/* The first iterations are the guest's own business. */
KVMI_TEST(kvmi_pf_insn, rep_movs_into_restricted_page)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rsi = KVMI_GUEST_DATA;
	g->start.regs.rdi = SECOND - 24;
	g->start.regs.rcx = 6;
	memset(g->start.mem + KVMI_GUEST_DATA + 24, 0x99, 8);
	/* REP MOVSQ */
	kvmi_guest_code(g, "\xf3\x48\xa5");
	expect_iterations(g, SECOND, NO_WRITE, W, SECOND, 3, 8);
}

KVMI_TEST(kvmi_pf_insn, rep_stos_backwards)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SECOND + 4;
	g->start.regs.rcx = 5;
	g->start.regs.rax = VALUE;
	g->start.regs.rflags |= X86_EFLAGS_DF;
	/* REP STOSD */
	kvmi_guest_code(g, "\xf3\xab");
	expect_iterations(g, FIRST, NO_WRITE, W, SECOND - 4, 3, -4);
}

KVMI_TEST(kvmi_pf_insn, repne_scas)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = FIRST;
	g->start.regs.rcx = 20;
	g->start.regs.rax = 0x77;
	g->start.mem[FIRST + 4] = 0x77;
	/* REPNE SCASB */
	kvmi_guest_code(g, "\xf2\xae");
	expect_iterations(g, FIRST, NO_READ, R, FIRST, 5, 1);
}

/* No iteration, no access */
KVMI_TEST(kvmi_pf_insn, rep_stos_of_nothing)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = FIRST;
	kvmi_guest_code(g, "\xf3\xaa");
	expect_iterations(g, FIRST, NO_WRITE, W, FIRST, 0, 1);
}

/* The instruction is what is skipped, with the iterations left. */
KVMI_TEST(kvmi_pf_insn, rep_stos_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	g->start.regs.rdi = FIRST;
	g->start.regs.rcx = 6;
	g->start.regs.rax = 0x77;
	kvmi_guest_code(g, "\xf3\xaa");
	kvmi_guest_restrict(g, FIRST, NO_WRITE);
	begin(g);
	for (i = 0; i < 3; i++) {
		wait_pf(g, &ev, W);
		kvmi_reply(&g->s, &ev, i < 2 ? KVMI_EVENT_ACTION_ALLOW :
					       KVMI_EVENT_ACTION_SKIP);
	}
	g->start.regs.rdi = FIRST + 2;
	g->start.regs.rcx = 4;
	memset(g->start.mem + FIRST, 0x77, 2);
	kvmi_guest_stop_unchanged(g);
}

/* Whole pages without anyone to ask */
KVMI_TEST(kvmi_pf_insn, rep_stos_event_off)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = FIRST;
	g->start.regs.rcx = 2 * PAGE / 8;
	g->start.regs.rax = VALUE;
	/* REP STOSQ */
	kvmi_guest_code(g, "\xf3\x48\xab");
	kvmi_guest_run_normally(g);
	kvmi_guest_restrict(g, SECOND, NO_WRITE);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
