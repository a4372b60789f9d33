// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_PF
 *
 * One instruction that reads, writes or is executed where it may not, in the
 * modes of the processor.
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define KVMI_INSN_FIXTURE	kvmi_pf
#define KVMI_INSN_EVENT		KVMI_VCPU_EVENT_PF

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/* Somewhere in the data page; as an operand [BX], [EDI] or [RDI] */
#define OPERAND		(KVMI_GUEST_DATA + 0x128)
#define READ_BYTE	"\x8a\x07"
#define WRITE_BYTE	"\xc6\x07\x5a"
/* An instruction of one byte, the last one of a page */
#define STC		"\xf9"
#define LAST_BYTE	0xdfff

enum kind {
	READ,
	WRITE,
	FETCH,
};

FIXTURE(kvmi_pf) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf) {
	enum kvmi_guest_mode mode;
	enum kind kind;
};

FIXTURE_VARIANT_ADD(kvmi_pf, real_write) {
	.mode = KVMI_GUEST_REAL,
	.kind = WRITE,
};

FIXTURE_VARIANT_ADD(kvmi_pf, real_fetch) {
	.mode = KVMI_GUEST_REAL,
	.kind = FETCH,
};

FIXTURE_VARIANT_ADD(kvmi_pf, prot_write) {
	.mode = KVMI_GUEST_PROT,
	.kind = WRITE,
};

FIXTURE_VARIANT_ADD(kvmi_pf, prot_user_read) {
	.mode = KVMI_GUEST_PROT_USER,
	.kind = READ,
};

FIXTURE_VARIANT_ADD(kvmi_pf, compat_user_fetch) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.kind = FETCH,
};

FIXTURE_VARIANT_ADD(kvmi_pf, long_read) {
	.mode = KVMI_GUEST_LONG,
	.kind = READ,
};

FIXTURE_VARIANT_ADD(kvmi_pf, long_write) {
	.mode = KVMI_GUEST_LONG,
	.kind = WRITE,
};

FIXTURE_VARIANT_ADD(kvmi_pf, long_fetch) {
	.mode = KVMI_GUEST_LONG,
	.kind = FETCH,
};

FIXTURE_VARIANT_ADD(kvmi_pf, long_user_write) {
	.mode = KVMI_GUEST_LONG_USER,
	.kind = WRITE,
};

FIXTURE_VARIANT_ADD(kvmi_pf, long_user_fetch) {
	.mode = KVMI_GUEST_LONG_USER,
	.kind = FETCH,
};

/* What the test is about: the variant's */
static enum kind kind;

static u64 address(void)
{
	return kind == FETCH ? LAST_BYTE : OPERAND;
}

/* Where the host can read pages it cannot write, that takes less. */
static u8 rights(void)
{
	static const u8 left[] = { [READ] = 0, [WRITE] = R | X, [FETCH] = R | W };

	return left[kind];
}

static u8 needed(void)
{
	static const u8 access[] = { [READ] = R, [WRITE] = W, [FETCH] = X };

	return access[kind];
}

FIXTURE_SETUP(kvmi_pf)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kind = variant->kind;
	kvmi_guest_create(g, variant->mode);
	g->start.mem[OPERAND] = 0xa5;
	g->start.regs.rdi = OPERAND;
	g->start.regs.rbx = OPERAND;
	switch (kind) {
	case READ:
		kvmi_guest_code(g, READ_BYTE);
		break;
	case WRITE:
		kvmi_guest_code(g, WRITE_BYTE);
		break;
	case FETCH:
		/* The same code elsewhere */
		kvmi_guest_code(g, STC);
		memcpy(g->start.mem + LAST_BYTE, g->start.mem + KVMI_GUEST_CODE,
		       g->end - KVMI_GUEST_CODE + 2);
		g->start.regs.rip = LAST_BYTE;
		g->end = LAST_BYTE + 1;
		kvmi_guest_reset(g);
		break;
	}
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_pf)
{
	kvmi_guest_free(&self->g);
}

static void check(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	struct kvm_regs regs = ev->common.arch.regs;

	/* As with a fault, this one may be set for the instruction to go on. */
	regs.rflags &= ~X86_EFLAGS_RF;
	TEST_ASSERT(!memcmp(&regs, &g->start.regs, sizeof(regs)),
		    "Registers have changed: RIP 0x%llx, RFLAGS 0x%llx", regs.rip,
		    ev->common.arch.regs.rflags);

	/* AMD's processors do not tell the address of data. */
	if (host_cpu_is_intel || kind == FETCH)
		TEST_ASSERT_EQ(ev->pf.gva, address());
	else
		TEST_ASSERT_EQ(ev->pf.gva, ~0ull);
	TEST_ASSERT_EQ(ev->pf.gpa, address());
	TEST_ASSERT_EQ(ev->pf.access, needed());
	TEST_ASSERT_EQ(ev->pf.flags, 0);
	TEST_ASSERT_EQ(ev->pf.view, 0);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_guest_restrict(g, address(), rights());
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, ev);
	check(g, ev);
}

static void stop_allowed(struct kvmi_guest *g)
{
	kvmi_guest_stop_normally(g);
}

#include "kvmi_insn_tests.h"

/* The consent is for one time. */
KVMI_TEST(kvmi_pf, allow_each_time)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	start(g, &ev);
	for (i = 0; i < 3; i++) {
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		check(g, &ev);
	}
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* A tool may change its mind about the page, and have the guest try again. */
KVMI_TEST(kvmi_pf, retry_with_the_right_given_back)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start(g, &ev);
	kvmi_guest_restrict(g, address(), KVMI_PAGE_ACCESS_RWX);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* The right is taken while the guest has used it. */
KVMI_TEST(kvmi_pf, right_taken_after_use)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	for (i = 0; i < 2; i++) {
		kvmi_guest_restrict(g, address(), KVMI_PAGE_ACCESS_RWX);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);

		start(g, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
	}
}

/* Nobody asks: the guest gets through all the same, time and again. */
KVMI_TEST(kvmi_pf, event_off)
{
	struct kvmi_guest *g = &self->g;
	u8 access;
	int i;

	kvmi_guest_restrict(g, address(), rights());
	for (i = 0; i < 3; i++) {
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
	}
	TEST_ASSERT_KVMI(kvmi_get_page_access(&g->s, 0, address(), &access), 0);
	TEST_ASSERT_EQ(access, rights());
}

/* Nobody is there to ask. */
KVMI_TEST(kvmi_pf, tool_gone)
{
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_restrict(g, address(), rights());
	kvmi_close(&g->s);
	for (i = 0; i < 3; i++) {
		kvmi_run_start(&g->r, NULL, g->vcpu);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
	}
}

/* Every right is one of its own. */
KVMI_TEST(kvmi_pf, other_rights_taken)
{
	static const u8 left[] = { [READ] = R, [WRITE] = R | W, [FETCH] = R | X };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_restrict(g, address(), left[kind]);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf, all_rights_taken)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, address(), 0);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	check(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* A page that one kind of access has mapped is not open to another. */
FIXTURE(kvmi_taken) {
	struct kvmi_guest g;
	struct kvmi_vm_get_features_reply features;
};

FIXTURE_VARIANT(kvmi_taken) {
	enum kvmi_guest_mode mode;
	bool supervisor_page;
};

/* Without paging */
FIXTURE_VARIANT_ADD(kvmi_taken, real) { .mode = KVMI_GUEST_REAL };
FIXTURE_VARIANT_ADD(kvmi_taken, prot) { .mode = KVMI_GUEST_PROT };
FIXTURE_VARIANT_ADD(kvmi_taken, prot_user) { .mode = KVMI_GUEST_PROT_USER };
FIXTURE_VARIANT_ADD(kvmi_taken, compat_user) { .mode = KVMI_GUEST_COMPAT_USER };
FIXTURE_VARIANT_ADD(kvmi_taken, long) { .mode = KVMI_GUEST_LONG };
FIXTURE_VARIANT_ADD(kvmi_taken, long_user) { .mode = KVMI_GUEST_LONG_USER };

FIXTURE_VARIANT_ADD(kvmi_taken, prot_supervisor_page) {
	.mode = KVMI_GUEST_PROT,
	.supervisor_page = true,
};

FIXTURE_VARIANT_ADD(kvmi_taken, long_supervisor_page) {
	.mode = KVMI_GUEST_LONG,
	.supervisor_page = true,
};

#define XS		KVMI_PAGE_ACCESS_XS
#define XU		KVMI_PAGE_ACCESS_XU

static const u8 lefts[] = {
	0, R, X, XS, XU, R | X, R | XS, R | XU, R | W, R | W | XS, R | W | XU,
};

/* At the beginning of the data page, where all kinds of access are to */
#define RET		0xc3

FIXTURE_SETUP(kvmi_taken)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->mode);
	g->start.mem[KVMI_GUEST_DATA] = RET;
	g->start.regs.rax = RET;
	if (variant->supervisor_page)
		kvmi_guest_map(g, g->start.mem, KVMI_GUEST_DATA, KVMI_GUEST_DATA,
			       KVMI_GUEST_PTE & ~4);
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &self->features);
}

FIXTURE_TEARDOWN(kvmi_taken)
{
	kvmi_guest_free(&self->g);
}

static bool can_be_left(const struct kvmi_vm_get_features_reply *f, u8 left)
{
	if (left & (XS | XU) && !(f->flags & KVMI_FEATURE_USER_EXEC))
		return false;

	return !left || left & R || f->flags & KVMI_FEATURE_EXEC_ONLY;
}

/* Without paging every page is one of users. */
static bool is_left(u8 left, enum kind kind, bool supervisor_page)
{
	switch (kind) {
	case READ:
		return left & R;
	case WRITE:
		return left & W;
	default:
		return left & (X | (supervisor_page ? XS : XU));
	}
}

/* Instructions of two bytes */
static void put_access(u8 *code, enum kind kind)
{
	/* MOV AL, [RDI]; MOV [RDI], AL; CALL RDI; or in 16-bit code [BX] and DI */
	static const u8 insns[][2] = {
		[READ] = { 0x8a, 0x07 },
		[WRITE] = { 0x88, 0x07 },
		[FETCH] = { 0xff, 0xd7 },
	};

	memcpy(code, insns[kind], 2);
}

/* Run to the access that is @nr instructions behind the beginning. */
static void expect_taken(struct kvmi_guest *g, enum kind kind, int nr)
{
	static const u8 access[] = { [READ] = R, [WRITE] = W, [FETCH] = X };
	struct kvmi_event ev;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA);
	TEST_ASSERT_EQ(ev.pf.access, access[kind]);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip,
		       kind == FETCH ? KVMI_GUEST_DATA : KVMI_GUEST_CODE + 2 * nr);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

KVMI_TEST(kvmi_taken, after_another_access)
{
	struct kvmi_guest *g = &self->g;
	enum kind first, second;
	int i, n = 0;
	u8 code[4];

	for (i = 0; i < ARRAY_SIZE(lefts); i++) {
		for (first = READ; first <= FETCH; first++) {
			for (second = READ; second <= FETCH; second++) {
				if (!can_be_left(&self->features, lefts[i]) ||
				    !is_left(lefts[i], first, variant->supervisor_page) ||
				    is_left(lefts[i], second, variant->supervisor_page))
					continue;
				put_access(code, first);
				put_access(code + 2, second);
				__kvmi_guest_code(g, code, sizeof(code));
				kvmi_guest_zap(g);
				kvmi_guest_restrict(g, KVMI_GUEST_DATA, lefts[i]);
				expect_taken(g, second, 1);
				n++;
			}
		}
	}
	TEST_ASSERT(n, "Nothing was tried");
}

/* KVM has mapped what may be without an access of the guest. */
KVMI_TEST(kvmi_taken, after_prefault)
{
	struct kvm_pre_fault_memory range;
	struct kvmi_guest *g = &self->g;
	enum kind kind;
	u8 code[2];
	int i, r;

	for (i = 0; i < ARRAY_SIZE(lefts); i++) {
		for (kind = READ; kind <= FETCH; kind++) {
			if (!can_be_left(&self->features, lefts[i]) ||
			    is_left(lefts[i], kind, variant->supervisor_page))
				continue;
			put_access(code, kind);
			__kvmi_guest_code(g, code, sizeof(code));
			kvmi_guest_zap(g);
			kvmi_guest_restrict(g, KVMI_GUEST_DATA, lefts[i]);

			range = (struct kvm_pre_fault_memory) {
				.gpa = KVMI_GUEST_DATA,
				.size = 4096,
			};
			r = __vcpu_ioctl(g->vcpu, KVM_PRE_FAULT_MEMORY, &range);
			TEST_ASSERT(lefts[i] ? !r : r == -1 && errno == ENOENT,
				    "0x%x is left: %d, errno %d", lefts[i], r, errno);
			expect_taken(g, kind, 0);
		}
	}
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
