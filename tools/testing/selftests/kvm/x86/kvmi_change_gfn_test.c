// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_CHANGE_GFN, i.e. pages that are others in a view
 */
#include <sys/mman.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define PAGE		4096ul

/* Pages that can be changed at the same time, in all views together */
#define MAX_CHANGED	1024

#define RWX		KVMI_PAGE_ACCESS_RWX

/* The page to change, what is shown in its place, and one more */
#define DATA		KVMI_GUEST_DATA
#define OTHER		0xd000
#define THIRD		0xe000
/* What they hold */
#define DATA_BYTE	0x11
#define OTHER_BYTE	0x22
#define THIRD_BYTE	0x33

/* A slot of the tests' own, the beginning of which the guest has mapped */
#define SLOT		1
#define SLOT_GPA	0x400000ul
#define SLOT_PAGES	(MAX_CHANGED + 2)
#define SLOT_GVA	KVMI_GUEST_UNMAPPED
#define SLOT_MAPPED	4
#define SLOT_BYTE	0x44

/* And one more page */
#define SLOT2		2
#define SLOT2_GPA	0xa00000ul

/* MOV AL, [RDI]; MOV [RDI], AL; ADD byte [RDI], 1 */
#define READ		"\x8a\x07"
#define WRITE		"\x88\x07"
#define INC		"\x80\x07\x01"
/* CMP byte [RDI], OTHER_BYTE; JE back to it.  The same with JNE. */
#define WHILE_OTHER	"\x80\x3f\x22\x74\xfb"
#define UNTIL_OTHER	"\x80\x3f\x22\x75\xfb"
/* INC byte [RBX] */
#define TELL		"\xfe\x03"
#define NOP		"\x90"
#define INT3		"\xcc"
#define STC		"\xf9"

FIXTURE(kvmi_change_gfn) {
	struct kvmi_guest g;
	u16 view;
	/* The vCPU is in it between start() and finish(). */
	struct kvmi_event pause;
};

static u8 *byte_of(struct kvmi_guest *g, u64 gpa)
{
	return addr_gpa2hva(g->vm, gpa);
}

static void add_slot(struct kvmi_guest *g, enum vm_mem_backing_src_type type)
{
	int i;

	vm_userspace_mem_region_add(g->vm, type, SLOT_GPA, SLOT, SLOT_PAGES, 0);
	memset(byte_of(g, SLOT_GPA), SLOT_BYTE, SLOT_MAPPED * PAGE);
	for (i = 0; i < SLOT_MAPPED; i++)
		kvmi_guest_map(g, g->start.mem, SLOT_GVA + i * PAGE,
			       SLOT_GPA + i * PAGE, KVMI_GUEST_PTE);
}

FIXTURE_SETUP(kvmi_change_gfn)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	memset(g->start.mem + DATA, DATA_BYTE, PAGE);
	memset(g->start.mem + OTHER, OTHER_BYTE, PAGE);
	memset(g->start.mem + THIRD, THIRD_BYTE, PAGE);
	add_slot(g, VM_MEM_SRC_ANONYMOUS);
	kvmi_guest_code(g, READ);

	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!features.views)
		SKIP(return, "No page tables for views");
	self->view = kvmi_new_view(&g->s, 0);
}

FIXTURE_TEARDOWN(kvmi_change_gfn)
{
	kvmi_guest_free(&self->g);
}

static void change(struct kvmi_guest *g, u16 view, u64 gpa, u64 new_gpa)
{
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, view, gpa, new_gpa), 0);
}

static void set_view(struct kvmi_guest *g, u16 view)
{
	TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, view), 0);
}

static void enable(struct kvmi_guest *g, u16 event)
{
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, event, 1), 0);
}

static void stop(struct kvmi_guest *g)
{
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

static u8 al(struct kvmi_guest *g)
{
	return g->state.regs.rax;
}

/*
 * Run the guest's code once, without any event but the pauses before and after:
 * what has it read?
 */
static u8 run(struct kvmi_guest *g, struct kvmi_event *pause)
{
	kvmi_unpark(&g->s, pause);
	stop(g);
	vcpu_regs_set(g->vcpu, &g->start.regs);
	kvmi_guest_park(g, pause);
	return al(g);
}

static u8 run_in(struct kvmi_guest *g, u16 view, struct kvmi_event *pause)
{
	set_view(g, view);
	return run(g, pause);
}

static void start(struct kvmi_guest *g, u16 view, struct kvmi_event *pause)
{
	kvmi_guest_park(g, pause);
	set_view(g, view);
}

static void finish(struct kvmi_guest *g, struct kvmi_event *pause)
{
	kvmi_unpark(&g->s, pause);
	stop(g);
}

KVMI_TEST(kvmi_change_gfn, read)
{
	struct kvmi_vm_read_physical req = { .gpa = DATA, .size = 1 };
	struct kvmi_guest *g = &self->g;
	u8 byte;
	int i;

	change(g, self->view, DATA, OTHER);
	start(g, 0, &self->pause);
	for (i = 0; i < 3; i++) {
		TEST_ASSERT_EQ(run_in(g, 0, &self->pause), DATA_BYTE);
		TEST_ASSERT_EQ(run_in(g, self->view, &self->pause), OTHER_BYTE);
	}

	/* There is no view for the tool and the VMM. */
	TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req),
				  &byte, 1), 0);
	TEST_ASSERT_EQ(byte, DATA_BYTE);
	TEST_ASSERT_EQ(*byte_of(g, DATA), DATA_BYTE);
	finish(g, &self->pause);
}

/* Also in the view that everybody starts in */
KVMI_TEST(kvmi_change_gfn, read_in_view_0)
{
	struct kvmi_guest *g = &self->g;

	change(g, 0, DATA, OTHER);
	start(g, 0, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(run_in(g, self->view, &self->pause), DATA_BYTE);
	finish(g, &self->pause);
}

/* Bytes on both sides of the end of a page */
KVMI_TEST(kvmi_change_gfn, read_across_pages)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SLOT_GVA + PAGE - 4;
	/* MOV RAX, [RDI] */
	kvmi_guest_code(g, "\x48\x8b\x07");
	change(g, self->view, SLOT_GPA + PAGE, OTHER);
	start(g, self->view, &self->pause);
	finish(g, &self->pause);
	TEST_ASSERT_EQ(g->state.regs.rax, 0x2222222244444444);
}

KVMI_TEST(kvmi_change_gfn, execute)
{
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_code(g, NOP);
	memcpy(g->start.mem + OTHER, g->start.mem + KVMI_GUEST_CODE, PAGE);
	g->start.mem[OTHER] = STC[0];
	kvmi_guest_reset(g);
	change(g, self->view, KVMI_GUEST_CODE, OTHER);
	start(g, 0, &self->pause);
	for (i = 0; i < 3; i++) {
		run_in(g, 0, &self->pause);
		TEST_ASSERT_EQ(g->state.regs.rflags & X86_EFLAGS_CF, 0);
		run_in(g, self->view, &self->pause);
		TEST_ASSERT_EQ(g->state.regs.rflags & X86_EFLAGS_CF, X86_EFLAGS_CF);
	}
	finish(g, &self->pause);
}

static bool can_hide(struct kvmi_guest *g)
{
	struct kvmi_vm_get_features_reply features;

	kvmi_get_features(&g->s, &features);
	return (features.flags & KVMI_FEATURE_EXEC_ONLY) &&
	       kvmi_guest_int3_is_intercepted();
}

/* INT3 is executed, and cannot be seen if hardware can have it so. */
static void hide_int3(struct kvmi_guest *g, u16 view, struct kvmi_event *pause)
{
	/* MOV AL, [first byte of the code] */
	kvmi_guest_code(g, NOP "\x8a\x05\xf9\xff\xff\xff");
	memcpy(g->start.mem + OTHER, g->start.mem + KVMI_GUEST_CODE, PAGE);
	g->start.mem[OTHER] = INT3[0];
	kvmi_guest_reset(g);

	change(g, view, KVMI_GUEST_CODE, OTHER);
	if (can_hide(g)) {
		TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, view, KVMI_GUEST_CODE,
						      1, KVMI_PAGE_ACCESS_X), 0);
	}
	start(g, view, pause);
	enable(g, KVMI_VCPU_EVENT_BREAKPOINT);
	enable(g, KVMI_VCPU_EVENT_PF);
}

static void start_hidden_int3(struct kvmi_guest *g, u16 view,
			      struct kvmi_event *pause, struct kvmi_event *ev)
{
	hide_int3(g, view, pause);
	kvmi_unpark(&g->s, pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->breakpoint.gpa, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_change_gfn, hidden_int3)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!can_hide(g))
		SKIP(return, "No execute-only pages, or INT3 is not intercepted");

	start_hidden_int3(g, self->view, &self->pause, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + 1);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_R);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop(g);
	TEST_ASSERT_EQ(al(g), (u8)NOP[0]);
}

/* The instruction that INT3 stands for is executed in view 0. */
KVMI_TEST(kvmi_change_gfn, hidden_int3_and_view_0)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!can_hide(g))
		SKIP(return, "No execute-only pages, or INT3 is not intercepted");

	start_hidden_int3(g, self->view, &self->pause, &ev);
	set_view(g, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	stop(g);
	TEST_ASSERT_EQ(al(g), (u8)NOP[0]);
}

/*
 * The guest has executed what it has in its own memory.  @hidden: and has read that
 */
static void expect_own_code(struct kvmi_guest *g, bool hidden)
{
	stop(g);
	TEST_ASSERT_EQ(al(g), hidden ? (u8)NOP[0] : (u8)INT3[0]);
}

/* With the tool gone nobody knows what INT3 stands for, but for the guest's memory. */
KVMI_TEST(kvmi_change_gfn, hidden_int3_and_tool_that_dies)
{
	struct kvmi_guest *g = &self->g;
	bool hidden = can_hide(g);
	struct kvmi_event ev;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "INT3 is not intercepted");

	start_hidden_int3(g, self->view, &self->pause, &ev);
	kvmi_close(&g->s);
	expect_own_code(g, hidden);
}

KVMI_TEST(kvmi_change_gfn, hidden_int3_and_tool_that_is_dead)
{
	struct kvmi_guest *g = &self->g;
	bool hidden = can_hide(g);

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "INT3 is not intercepted");

	hide_int3(g, self->view, &self->pause);
	/* That answers the pause. */
	kvmi_close(&g->s);
	expect_own_code(g, hidden);
}

/* What the guest has of its own is its own. */
KVMI_TEST(kvmi_change_gfn, own_int3_and_tool_that_is_dead)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "INT3 is not intercepted");

	hide_int3(g, self->view, &self->pause);
	*byte_of(g, KVMI_GUEST_CODE) = INT3[0];
	kvmi_close(&g->s);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), BP_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 1);
}

/* Unhooking meets the vCPU anywhere on its way from INT3 to the tool and back. */
KVMI_TEST(kvmi_change_gfn, hidden_int3_and_unhook)
{
	struct kvmi_guest *g = &self->g;
	bool hidden = can_hide(g);
	struct kvmi_event ev;
	int i, j;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "INT3 is not intercepted");

	for (i = 0; i < 20; i++) {
		start_hidden_int3(g, self->view, &self->pause, &ev);
		for (j = 0; j < i; j++) {
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
			kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
		}
		if (i & 1)
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		TEST_ASSERT_EQ(__kvmi_unhook(g->vm), 0);
		kvmi_close(&g->s);
		stop(g);
		/* Without execute-only pages it may still have been in the view. */
		if (hidden)
			TEST_ASSERT_EQ(al(g), (u8)NOP[0]);
		kvmi_hook(&g->s, g->vm);
		self->view = kvmi_new_view(&g->s, 0);
	}
}

KVMI_TEST(kvmi_change_gfn, put_back)
{
	struct kvmi_guest *g = &self->g;
	int i;

	start(g, self->view, &self->pause);
	/* Nothing to do */
	change(g, self->view, DATA, DATA);
	TEST_ASSERT_EQ(run(g, &self->pause), DATA_BYTE);
	for (i = 0; i < 3; i++) {
		change(g, self->view, DATA, OTHER);
		TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
		change(g, self->view, DATA, THIRD);
		TEST_ASSERT_EQ(run(g, &self->pause), THIRD_BYTE);
		change(g, self->view, DATA, DATA);
		TEST_ASSERT_EQ(run(g, &self->pause), DATA_BYTE);
	}

	/* It can be written to again without anybody being asked. */
	finish(g, &self->pause);
	kvmi_guest_code(g, INC);
	start(g, self->view, &self->pause);
	enable(g, KVMI_VCPU_EVENT_PF);
	finish(g, &self->pause);
	TEST_ASSERT_EQ(*byte_of(g, DATA), DATA_BYTE + 1);
}

/* What is shown is what is there without changes. */
KVMI_TEST(kvmi_change_gfn, chain)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rsi = OTHER;
	/* Also: MOV AH, [RSI] */
	kvmi_guest_code(g, READ "\x8a\x26");
	change(g, self->view, DATA, OTHER);
	change(g, self->view, OTHER, THIRD);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(g->state.regs.rax >> 8, THIRD_BYTE);

	/* Two that have changed places */
	change(g, self->view, OTHER, DATA);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(g->state.regs.rax >> 8, DATA_BYTE);
	finish(g, &self->pause);
}

KVMI_TEST(kvmi_change_gfn, copy_of_view)
{
	struct kvmi_guest *g = &self->g;
	u16 copy;

	change(g, self->view, DATA, OTHER);
	copy = kvmi_new_view(&g->s, self->view);
	change(g, self->view, DATA, THIRD);
	start(g, copy, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	change(g, copy, DATA, DATA);
	TEST_ASSERT_EQ(run(g, &self->pause), DATA_BYTE);
	TEST_ASSERT_EQ(run_in(g, self->view, &self->pause), THIRD_BYTE);
	finish(g, &self->pause);
}

static void start_write(struct kvmi_guest *g, u16 view, struct kvmi_event *pause,
			struct kvmi_event *ev)
{
	change(g, view, DATA, OTHER);
	start(g, view, pause);
	enable(g, KVMI_VCPU_EVENT_PF);
	kvmi_unpark(&g->s, pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->pf.gpa, DATA);
	TEST_ASSERT_EQ(ev->pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev->pf.view, view);
}

static void assert_bytes(struct kvmi_guest *g, u8 data, u8 other)
{
	TEST_ASSERT_EQ(*byte_of(g, DATA), data);
	TEST_ASSERT_EQ(*byte_of(g, OTHER), other);
}

/* Writes go to the guest's own page, and are not seen in the view. */
KVMI_TEST(kvmi_change_gfn, write_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u8 access;

	g->start.regs.rax = 0x5a;
	kvmi_guest_code(g, WRITE READ);
	start_write(g, self->view, &self->pause, &ev);
	TEST_ASSERT_KVMI(kvmi_get_page_access(&g->s, self->view, DATA, &access), 0);
	TEST_ASSERT_EQ(access, RWX);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop(g);
	assert_bytes(g, 0x5a, OTHER_BYTE);
	TEST_ASSERT_EQ(al(g), OTHER_BYTE);
}

/* What the instruction reads, it reads there, too. */
KVMI_TEST(kvmi_change_gfn, increment_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, INC);
	start_write(g, self->view, &self->pause, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop(g);
	assert_bytes(g, DATA_BYTE + 1, OTHER_BYTE);
}

KVMI_TEST(kvmi_change_gfn, write_skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, INC);
	start_write(g, self->view, &self->pause, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	stop(g);
	assert_bytes(g, DATA_BYTE, OTHER_BYTE);
}

KVMI_TEST(kvmi_change_gfn, write_retry_in_view_0)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, INC);
	start_write(g, self->view, &self->pause, &ev);
	set_view(g, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	stop(g);
	assert_bytes(g, DATA_BYTE + 1, OTHER_BYTE);
}

/* The tool lets the guest have what it sees. */
KVMI_TEST(kvmi_change_gfn, write_retry_after_put_back)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_code(g, INC);
	start_write(g, self->view, &self->pause, &ev);
	change(g, self->view, DATA, DATA);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	stop(g);
	assert_bytes(g, DATA_BYTE + 1, OTHER_BYTE);
}

KVMI_TEST(kvmi_change_gfn, write_without_event)
{
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_code(g, INC);
	change(g, self->view, DATA, OTHER);
	start(g, self->view, &self->pause);
	for (i = 1; i < 4; i++) {
		run(g, &self->pause);
		assert_bytes(g, DATA_BYTE + i, OTHER_BYTE);
	}
	finish(g, &self->pause);
}

KVMI_TEST(kvmi_change_gfn, errors)
{
	struct kvmi_vm_change_gfn req, good = {
		.view = self->view,
		.gfn = DATA / PAGE,
		.new_gfn = OTHER / PAGE,
	};
	struct kvmi_guest *g = &self->g;
	static const u16 no_views[] = { 7, 8, 0xffff };
	static const u64 no_memory[] = {
		0x20, SLOT_GPA / PAGE + SLOT_PAGES, 1ull << 52, ~0ull,
	};
	int i;

#define expect_error(error)						\
	TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_CHANGE_GFN, &req,	\
				  sizeof(req), NULL, 0), error)

	req = good;
	req.padding = 1;
	expect_error(-KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(no_views); i++) {
		req = good;
		req.view = no_views[i];
		expect_error(-KVM_EINVAL);
	}
	req = good;
	req.view = self->view + 1;
	expect_error(-KVM_EINVAL);
	/* Either there is no such address space, or it has no memory. */
	for (i = 1; i < 3; i++) {
		req = good;
		req.as_id = i;
		expect_error(-KVM_EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(no_memory); i++) {
		req = good;
		req.gfn = no_memory[i];
		expect_error(-KVM_EINVAL);
		req = good;
		req.new_gfn = no_memory[i];
		expect_error(-KVM_EINVAL);
	}

	/* Nothing has come of it. */
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), DATA_BYTE);
	req = good;
	expect_error(0);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
#undef expect_error
	finish(g, &self->pause);
}

/* All views share the limit. */
KVMI_TEST(kvmi_change_gfn, limit)
{
	struct kvmi_guest *g = &self->g;
	u16 second = kvmi_new_view(&g->s, 0), third;
	int i, err;

	for (i = 0; i < MAX_CHANGED; i++)
		change(g, i & 1 ? self->view : second, SLOT_GPA + i * PAGE, OTHER);
	for (i = 0; i < 3; i++) {
		TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, i ? self->view : second,
						 SLOT_GPA + MAX_CHANGED * PAGE,
						 OTHER), -KVM_EBUSY);
		TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, DATA, OTHER),
				 -KVM_EBUSY);
	}
	/* One that is changed may change again. */
	change(g, second, SLOT_GPA, THIRD);

	/* A copy would have too many. */
	err = kvmi_create_view(&g->s, second, &third);
	TEST_ASSERT(err == -KVM_EBUSY || err == -KVM_ENOMEM, "Answered %d", err);
	third = kvmi_new_view(&g->s, 0);

	/* One less is room for one. */
	change(g, second, SLOT_GPA, SLOT_GPA);
	change(g, third, DATA, OTHER);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, DATA, OTHER), -KVM_EBUSY);

	/* Those of a view go with it. */
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, second), 0);
	for (i = 0; i < MAX_CHANGED / 2 - 1; i++)
		change(g, third, SLOT_GPA + i * PAGE, OTHER);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, DATA, OTHER), -KVM_EBUSY);
}

/* The guest executes TELL when it has seen the other page. */
static void until_told(struct kvmi_guest *g)
{
	while (READ_ONCE(*byte_of(g, THIRD)) == THIRD_BYTE)
		sched_yield();
}

/* A guest that runs sees the change at once. */
KVMI_TEST(kvmi_change_gfn, change_while_the_guest_runs)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rbx = THIRD;
	kvmi_guest_code(g, UNTIL_OTHER TELL WHILE_OTHER);
	start(g, self->view, &self->pause);
	kvmi_unpark(&g->s, &self->pause);
	TEST_ASSERT(kvmi_run_is_going(&g->r), "The guest sees what is not there");
	change(g, self->view, DATA, OTHER);
	until_told(g);
	change(g, self->view, DATA, DATA);
	stop(g);
}

/* The host replaces the memory of the page that is shown. */
KVMI_TEST(kvmi_change_gfn, shown_page_is_unmapped)
{
	struct kvmi_guest *g = &self->g;
	u8 *other = byte_of(g, OTHER);
	int i;

	change(g, self->view, DATA, OTHER);
	start(g, self->view, &self->pause);
	for (i = 0; i < 3; i++) {
		TEST_ASSERT_EQ(run(g, &self->pause), *other);
		TEST_ASSERT_EQ(madvise(other, PAGE, MADV_DONTNEED), 0);
		TEST_ASSERT_EQ(run(g, &self->pause), 0);
		TEST_ASSERT_EQ(madvise(other, PAGE, MADV_DONTNEED), 0);
		*other = 0x60 + i;
	}
	finish(g, &self->pause);
	TEST_ASSERT_EQ(al(g), *other);
}

/* And the memory of the page in whose place it is shown */
KVMI_TEST(kvmi_change_gfn, changed_page_is_unmapped)
{
	struct kvmi_guest *g = &self->g;

	change(g, self->view, DATA, OTHER);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(madvise(byte_of(g, DATA), PAGE, MADV_DONTNEED), 0);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(run_in(g, 0, &self->pause), 0);
	finish(g, &self->pause);
}

/* A slot goes, and another comes there. */
static void replace_slot(struct kvmi_guest *g, u8 byte)
{
	vm_mem_region_delete(g->vm, SLOT);
	add_slot(g, VM_MEM_SRC_ANONYMOUS);
	memset(byte_of(g, SLOT_GPA), byte, SLOT_MAPPED * PAGE);
}

KVMI_TEST(kvmi_change_gfn, slot_of_shown_page)
{
	struct kvmi_guest *g = &self->g;
	int i;

	change(g, self->view, DATA, SLOT_GPA);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), SLOT_BYTE);
	for (i = 0; i < 3; i++) {
		replace_slot(g, 0x60 + i);
		TEST_ASSERT_EQ(run(g, &self->pause), 0x60 + i);
	}
	TEST_ASSERT_EQ(run_in(g, 0, &self->pause), DATA_BYTE);
	finish(g, &self->pause);
}

KVMI_TEST(kvmi_change_gfn, slot_of_changed_page)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SLOT_GVA;
	kvmi_guest_reset(g);
	change(g, self->view, SLOT_GPA, OTHER);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	replace_slot(g, 0x66);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(run_in(g, 0, &self->pause), 0x66);
	finish(g, &self->pause);
}

static void expect_mmio(struct kvmi_guest *g, bool is_write)
{
	struct kvm_run *run = g->vcpu->run;

	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(run->mmio.phys_addr, SLOT_GPA);
	TEST_ASSERT_EQ(run->mmio.len, 1);
	TEST_ASSERT_EQ(run->mmio.is_write, is_write);
}

/* What is a device now is one in all views. */
KVMI_TEST(kvmi_change_gfn, slot_of_changed_page_is_gone)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rdi = SLOT_GVA;
	/* MOV AL, [RDI]; MOV [RDI], AL */
	kvmi_guest_code(g, READ "\x88\x07");
	change(g, self->view, SLOT_GPA, OTHER);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	vm_mem_region_delete(g->vm, SLOT);
	kvmi_unpark(&g->s, &self->pause);
	expect_mmio(g, false);
	g->vcpu->run->mmio.data[0] = 0x77;
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	expect_mmio(g, true);
	TEST_ASSERT_EQ(g->vcpu->run->mmio.data[0], 0x77);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	stop(g);

	/* It is changed again when it is memory again. */
	add_slot(g, VM_MEM_SRC_ANONYMOUS);
	vcpu_regs_set(g->vcpu, &g->start.regs);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	TEST_ASSERT_EQ(*byte_of(g, OTHER), OTHER_BYTE);
	finish(g, &self->pause);
}

/*
 * What was a device meanwhile is memory again, and what is shown in its place is not:
 * the guest finds its own page.
 */
KVMI_TEST(kvmi_change_gfn, slot_of_changed_page_is_back)
{
	struct kvmi_guest *g = &self->g;

	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, SLOT2_GPA, SLOT2, 1, 0);
	memset(byte_of(g, SLOT2_GPA), OTHER_BYTE, PAGE);
	g->start.regs.rdi = SLOT_GVA;
	kvmi_guest_code(g, READ);
	change(g, self->view, SLOT_GPA, SLOT2_GPA);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
	vm_mem_region_delete(g->vm, SLOT2);
	vm_mem_region_delete(g->vm, SLOT);
	kvmi_unpark(&g->s, &self->pause);
	expect_mmio(g, false);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	stop(g);

	add_slot(g, VM_MEM_SRC_ANONYMOUS);
	vcpu_regs_set(g->vcpu, &g->start.regs);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), SLOT_BYTE);
	finish(g, &self->pause);
}

/* There may be nothing to show: nobody sees memory that was the guest's. */
KVMI_TEST(kvmi_change_gfn, slot_of_shown_page_is_gone)
{
	struct kvmi_guest *g = &self->g;

	change(g, self->view, DATA, SLOT_GPA);
	start(g, self->view, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), SLOT_BYTE);
	vm_mem_region_delete(g->vm, SLOT);
	TEST_ASSERT_EQ(run(g, &self->pause), DATA_BYTE);
	add_slot(g, VM_MEM_SRC_ANONYMOUS);
	TEST_ASSERT_EQ(run(g, &self->pause), SLOT_BYTE);
	finish(g, &self->pause);
}

static u32 *counter_of(struct kvmi_guest *g)
{
	return (u32 *)byte_of(g, THIRD + 4);
}

/* Have the JMP at the end of the guest's code go on to the next instruction. */
static void leave_loop(struct kvmi_guest *g)
{
	WRITE_ONCE(*byte_of(g, g->end - 1), 0);
	stop(g);
}

/* What has the guest read since it was called? */
static u8 byte_read(struct kvmi_guest *g)
{
	u32 first = READ_ONCE(*counter_of(g));

	/* What it has begun to read may be older. */
	while (READ_ONCE(*counter_of(g)) - first < 2)
		sched_yield();

	return READ_ONCE(*byte_of(g, THIRD));
}

/*
 * MOV AL, [RDI]; MOV [RBX], AL; MOV [RDI + 8], AL; INC dword [RBX + 4];
 * JMP back
 */
#define READ_AND_WRITE	READ "\x88\x03\x88\x47\x08\xff\x43\x04\xeb\xf4"

/* Change what is shown at DATA, several times at once, while the guest runs. */
static void change_in_flight(struct kvmi_guest *g, u16 view, int i)
{
	struct kvmi_vm_change_gfn req = {
		.view = view,
		.gfn = DATA / PAGE,
	};
	u32 seq[4];
	int j;

	for (j = 0; j < ARRAY_SIZE(seq); j++) {
		req.new_gfn = (i + j) % 2 ? DATA / PAGE : OTHER / PAGE;
		seq[j] = kvmi_send_cmd(&g->s, KVMI_VM_CHANGE_GFN, &req,
				       sizeof(req));
	}
	for (j = 0; j < ARRAY_SIZE(seq); j++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VM_CHANGE_GFN,
						 seq[j], NULL, 0), 0);
}

/* The guest's page faults are in flight when what is shown changes again. */
KVMI_TEST(kvmi_change_gfn, faults_at_the_same_time)
{
	struct kvmi_guest *g = &self->g;
	int i;

	/* MOV AL, [RDI]; MOV [RBX], AL; INC dword [RBX + 4]; JMP back */
	g->start.regs.rbx = THIRD;
	kvmi_guest_code(g, READ "\x88\x03\xff\x43\x04\xeb\xf7");
	start(g, self->view, &self->pause);
	kvmi_unpark(&g->s, &self->pause);
	for (i = 0; i < 300; i++) {
		change_in_flight(g, self->view, i);
		TEST_ASSERT_EQ(byte_read(g), i % 2 ? OTHER_BYTE : DATA_BYTE);
	}
	leave_loop(g);
}

/* A write finds the other page mapped when its own is shown again. */
KVMI_TEST(kvmi_change_gfn, writes_at_the_same_time)
{
	struct kvmi_guest *g = &self->g;
	int i;

	g->start.regs.rbx = THIRD;
	kvmi_guest_code(g, READ_AND_WRITE);
	start(g, self->view, &self->pause);
	kvmi_unpark(&g->s, &self->pause);
	for (i = 0; i < 1000; i++)
		change_in_flight(g, self->view, i);
	byte_read(g);
	leave_loop(g);
}

/* One page in the midst of a huge one; its neighbours are what they were. */
KVMI_TEST(kvmi_change_gfn, huge_page)
{
	struct kvmi_guest *g = &self->g;
	int i;

	vm_mem_region_delete(g->vm, SLOT);
	add_slot(g, VM_MEM_SRC_ANONYMOUS_THP);
	memset(byte_of(g, SLOT_GPA), SLOT_BYTE, SLOT_PAGES * PAGE);
	g->start.regs.rdi = SLOT_GVA + PAGE;
	g->start.regs.rsi = SLOT_GVA + 2 * PAGE;
	g->start.regs.rbx = SLOT_GVA;
	/* MOV AL, [RDI]; MOV AH, [RSI]; MOV CL, [RBX] */
	kvmi_guest_code(g, READ "\x8a\x26\x8a\x0b");

	start(g, self->view, &self->pause);
	for (i = 0; i < 3; i++) {
		change(g, self->view, SLOT_GPA + PAGE, SLOT_GPA + PAGE);
		TEST_ASSERT_EQ(run(g, &self->pause), SLOT_BYTE);
		change(g, self->view, SLOT_GPA + PAGE, OTHER);
		TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
		TEST_ASSERT_EQ(g->state.regs.rax >> 8, SLOT_BYTE);
		TEST_ASSERT_EQ(g->state.regs.rcx, SLOT_BYTE);
	}
	finish(g, &self->pause);
}

/* Migration sees the writes of the page that is written. */
KVMI_TEST(kvmi_change_gfn, dirty_log)
{
	u64 bits = BIT(DATA / PAGE) | BIT(OTHER / PAGE);
	struct kvmi_guest *g = &self->g;
	u64 dirty;
	int i;

	change(g, self->view, DATA, OTHER);
	start(g, self->view, &self->pause);
	run(g, &self->pause);
	vm_mem_region_set_flags(g->vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
	kvm_vm_get_dirty_log(g->vm, 0, &dirty);
	for (i = 0; i < 3; i++) {
		TEST_ASSERT_EQ(run(g, &self->pause), OTHER_BYTE);
		kvm_vm_get_dirty_log(g->vm, 0, &dirty);
		TEST_ASSERT_EQ(dirty & bits, 0);
	}

	finish(g, &self->pause);
	kvmi_guest_code(g, INC);
	start(g, self->view, &self->pause);
	for (i = 0; i < 3; i++) {
		kvm_vm_get_dirty_log(g->vm, 0, &dirty);
		run(g, &self->pause);
		kvm_vm_get_dirty_log(g->vm, 0, &dirty);
		TEST_ASSERT_EQ(dirty & bits, BIT(DATA / PAGE));
	}
	vm_mem_region_set_flags(g->vm, 0, 0);
	finish(g, &self->pause);
	assert_bytes(g, DATA_BYTE + 4, OTHER_BYTE);
}

/* The guest has its own pages back at once. */
KVMI_TEST(kvmi_change_gfn, unhook)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rbx = THIRD;
	kvmi_guest_code(g, UNTIL_OTHER TELL WHILE_OTHER READ);
	change(g, self->view, DATA, OTHER);
	change(g, 0, DATA, OTHER);
	start(g, self->view, &self->pause);
	kvmi_unpark(&g->s, &self->pause);
	until_told(g);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	stop(g);
	TEST_ASSERT_EQ(al(g), DATA_BYTE);

	/* The next session finds nothing changed. */
	kvmi_hook(&g->s, g->vm);
	kvmi_guest_code(g, READ);
	start(g, 0, &self->pause);
	TEST_ASSERT_EQ(run(g, &self->pause), DATA_BYTE);
	TEST_ASSERT_EQ(run_in(g, kvmi_new_view(&g->s, 0), &self->pause), DATA_BYTE);
	finish(g, &self->pause);
}

/* A write finds the other page mapped when there is no view any more. */
KVMI_TEST(kvmi_change_gfn, unhook_while_the_guest_writes)
{
	struct kvmi_guest *g = &self->g;
	u16 view;
	int i;

	kvmi_unhook(&g->s);
	g->start.regs.rbx = THIRD;
	kvmi_guest_code(g, READ_AND_WRITE);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	for (i = 0; i < 300; i++) {
		kvmi_hook(&g->s, g->vm);
		view = kvmi_new_view(&g->s, 0);
		change(g, view, DATA, OTHER);
		set_view(g, view);
		TEST_ASSERT_EQ(byte_read(g), OTHER_BYTE);
		kvmi_unhook(&g->s);
		TEST_ASSERT_EQ(byte_read(g), DATA_BYTE);
	}
	leave_loop(g);
}

/* Nobody is there to put it back. */
KVMI_TEST(kvmi_change_gfn, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_code(g, INC READ);
	change(g, self->view, DATA, OTHER);
	start(g, self->view, &self->pause);
	enable(g, KVMI_VCPU_EVENT_PF);
	kvmi_close(&g->s);
	for (i = 0; i < 3; i++) {
		stop(g);
		TEST_ASSERT_EQ(al(g), OTHER_BYTE);
		assert_bytes(g, DATA_BYTE + 1, OTHER_BYTE);
		kvmi_guest_reset(g);
		kvmi_run_start(&g->r, NULL, g->vcpu);
	}
	stop(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
