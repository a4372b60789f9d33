// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the flags of an event reply, KVMI_REPLY_*
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define CODE		KVMI_GUEST_CODE
#define DATA		KVMI_GUEST_DATA
/* A page that the guest has no use for */
#define OTHER		0xd000

#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

#define ALLOW		KVMI_EVENT_ACTION_ALLOW
#define RETRY		KVMI_EVENT_ACTION_RETRY
#define SKIP_IT		KVMI_EVENT_ACTION_SKIP
#define CRASH		KVMI_EVENT_ACTION_CRASH

#define SET_VIEW	KVMI_REPLY_SET_VIEW
#define SINGLESTEP	KVMI_REPLY_SINGLESTEP
#define STEP_IN_VIEW	KVMI_REPLY_STEP_IN_VIEW

/* INC byte [RDI] */
#define WRITE		"\xfe\x07"
#define CPUID		"\x0f\xa2"
#define UD2		"\x0f\x0b"
#define INT3		0xcc
/* MOV CR4, RAX */
#define WRITE_CR4	"\x0f\x22\xe0"

FIXTURE(kvmi_reply) {
	struct kvmi_guest g;
	/* The vCPU is in this event at the beginning of a test. */
	struct kvmi_event pause;
	/* A view that restricts nothing */
	u16 view;
};

static void begin(struct _test_data_kvmi_reply *self, const u8 *code, size_t size)
{
	struct kvmi_guest *g = &self->g;

	__kvmi_guest_code(g, code, size);
	kvmi_guest_run_normally(g);
	kvmi_guest_park(g, &self->pause);
	self->view = kvmi_new_view(&g->s, 0);
}

#define BEGIN(self, code) begin((self), (const u8 *)"" code, sizeof(code) - 1)

FIXTURE_SETUP(kvmi_reply)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = g->start.sregs.cr4;
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	TEST_ASSERT(features.flags & KVMI_FEATURE_REPLY_FLAGS, "No such feature");
	if (!features.views || !(features.flags & KVMI_FEATURE_SINGLESTEP))
		SKIP(return, "No views, or no single-stepping");
}

FIXTURE_TEARDOWN(kvmi_reply)
{
	kvmi_guest_free(&self->g);
}

static void restrict_data(struct kvmi_guest *g, u16 view)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, view, DATA, 1, RX), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
}

static u8 written(struct kvmi_guest *g)
{
	return *(u8 *)addr_gpa2hva(g->vm, DATA);
}

static void wait_pf(struct kvmi_guest *g, u16 view, u64 rip, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev->pf.gpa, DATA);
	TEST_ASSERT_EQ(ev->pf.view, view);
	TEST_ASSERT_EQ(ev->common.arch.view, view);
}

static void wait_step(struct kvmi_guest *g, u64 rip, u8 failed, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev->singlestep.failed, failed);
}

static void finish(struct kvmi_guest *g, const struct kvmi_event *ev)
{
	kvmi_reply(&g->s, ev, ALLOW);
	kvmi_guest_stop_normally(g);
}

/* Only a vCPU in KVM_RUN says in which view it is. */
static u16 view_at_the_end(struct kvmi_guest *g)
{
	struct kvmi_event pause;
	u16 view;

	kvmi_guest_reset(g);
	kvmi_guest_park(g, &pause);
	view = pause.common.arch.view;
	TEST_ASSERT_EQ(kvmi_view_of(&g->s, 0), view);
	kvmi_unpark(&g->s, &pause);
	return view;
}

KVMI_TEST(kvmi_reply, set_view)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, self->view);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, SET_VIEW, self->view);
	wait_pf(g, self->view, CODE, &ev);
	TEST_ASSERT_EQ(kvmi_view_of(&g->s, 0), self->view);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), -KVM_EBUSY);

	/* Back, for good */
	kvmi_reply_flags(&g->s, &ev, RETRY, SET_VIEW, 0);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), 0);
	TEST_ASSERT_EQ(view_at_the_end(g), 0);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_reply, set_view_to_go_on)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	wait_pf(g, 0, CODE, &ev);
	kvmi_reply_flags(&g->s, &ev, RETRY, SET_VIEW, self->view);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(view_at_the_end(g), self->view);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_reply, singlestep_once)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, SINGLESTEP, 0);
	wait_step(g, CODE + 2, 0, &ev);
	TEST_ASSERT_EQ(written(g), 1);
	/* Again, as the tool wants it again, and no more than that. */
	kvmi_reply_flags(&g->s, &ev, ALLOW, SINGLESTEP, 0);
	wait_step(g, CODE + 4, 0, &ev);
	TEST_ASSERT_EQ(written(g), 2);
	finish(g, &ev);
}

/* With an access that is granted, in a view that the same reply has set */
KVMI_TEST(kvmi_reply, singlestep_in_new_view)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, self->view);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, SET_VIEW | SINGLESTEP,
			 self->view);
	wait_pf(g, self->view, CODE, &ev);
	kvmi_reply(&g->s, &ev, ALLOW);
	wait_step(g, CODE + 2, 0, &ev);
	TEST_ASSERT_EQ(ev.common.arch.view, self->view);
	TEST_ASSERT_EQ(written(g), 1);
	kvmi_reply(&g->s, &ev, ALLOW);
	wait_pf(g, self->view, CODE + 2, &ev);
	kvmi_reply_flags(&g->s, &ev, ALLOW, SINGLESTEP, 0);
	wait_step(g, CODE + 4, 0, &ev);
	finish(g, &ev);
}

/* KVM executes the instruction: it is over, if not by a step. */
KVMI_TEST(kvmi_reply, singlestep_of_an_exit)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, CPUID WRITE);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply_flags(&g->s, &ev, ALLOW, SINGLESTEP, 0);
	wait_step(g, CODE + 2, 1, &ev);
	TEST_ASSERT_EQ(written(g), 0);
	finish(g, &ev);
}

KVMI_TEST(kvmi_reply, step_in_view)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	BEGIN(self, WRITE WRITE WRITE);
	restrict_data(g, 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	for (i = 0; i < 3; i++) {
		wait_pf(g, 0, CODE + 2 * i, &ev);
		TEST_ASSERT_EQ(written(g), i);
		kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, self->view);
	}
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(written(g), 3);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), 0);
	TEST_ASSERT_EQ(view_at_the_end(g), 0);
	wait_pf(g, 0, CODE, &ev);
	kvmi_unhook(&g->s);
	kvmi_guest_stop_normally(g);
}

/* Events that only accept ALLOW are between two instructions. */
KVMI_TEST(kvmi_reply, step_in_view_of_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE WRITE);
	restrict_data(g, 0);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, STEP_IN_VIEW, self->view);
	wait_pf(g, 0, CODE + 2, &ev);
	TEST_ASSERT_EQ(written(g), 1);
	kvmi_reply_flags(&g->s, &ev, ALLOW, SINGLESTEP, 0);
	wait_step(g, CODE + 4, 0, &ev);
	TEST_ASSERT_EQ(ev.common.arch.view, 0);
	kvmi_reply_flags(&g->s, &ev, ALLOW, STEP_IN_VIEW, self->view);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(written(g), 3);
}

/* A hidden breakpoint: one event and one reply for each hit */
KVMI_TEST(kvmi_reply, step_in_view_of_breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");

	/* DEC ECX; JNZ back to WRITE */
	g->start.regs.rcx = 4;
	BEGIN(self, WRITE "\xff\xc9\x75\xfa");
	memcpy(addr_gpa2hva(g->vm, OTHER), addr_gpa2hva(g->vm, CODE), 4096);
	*(u8 *)addr_gpa2hva(g->vm, OTHER) = INT3;
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, CODE, OTHER), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 1),
			 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	for (i = 0; i < 4; i++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE);
		TEST_ASSERT_EQ(ev.common.arch.view, 0);
		TEST_ASSERT_EQ(written(g), i);
		kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, self->view);
	}
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), 4);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
}

/* With RETRY there is no exception to deliver any more, pending or injected. */
KVMI_TEST(kvmi_reply, step_in_view_of_trap)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;
	struct kvmi_event ev;
	int i;

	/* DEC ECX; JNZ back to WRITE */
	g->start.regs.rcx = 2;
	BEGIN(self, WRITE "\xff\xc9\x75\xfa");
	memcpy(addr_gpa2hva(g->vm, OTHER), addr_gpa2hva(g->vm, CODE), 4096);
	memcpy(addr_gpa2hva(g->vm, OTHER), UD2, 2);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, CODE, OTHER), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	for (i = 0; i < 2; i++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
		TEST_ASSERT_EQ(ev.trap.nr, UD_VECTOR);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE);
		TEST_ASSERT_EQ(written(g), i);
		if (i) {
			kvmi_run_signal(&g->r);
			kvmi_run_wait_eintr(&g->r);
			vcpu_events_get(g->vcpu, &events);
			TEST_ASSERT_EQ(events.exception.injected, 1);
			vcpu_events_set(g->vcpu, &events);
			kvmi_run_start(&g->r, &g->s, g->vcpu);
		}
		kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, self->view);
	}
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), 2);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
}

/* An instruction that is over without a step, or not executed at all */
KVMI_TEST(kvmi_reply, step_in_view_of_an_exit)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, CPUID WRITE);
	restrict_data(g, 0);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, STEP_IN_VIEW, self->view);
	wait_pf(g, 0, CODE + 2, &ev);
	finish(g, &ev);
}

KVMI_TEST(kvmi_reply, step_in_view_of_a_fault)
{
	struct kvmi_guest *g = &self->g;

	BEGIN(self, UD2 WRITE);
	restrict_data(g, 0);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, STEP_IN_VIEW, self->view);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(view_at_the_end(g), 0);
	kvmi_guest_stop_normally(g);
}

/* The delivery of its exception is not part of the instruction. */
static void deliver_from_view(struct _test_data_kvmi_reply *self)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, 0, KVMI_GUEST_STACK - 8, 1, RX), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, STEP_IN_VIEW, self->view);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev.pf.view, 0);
	kvmi_reply(&g->s, &ev, ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_reply, step_in_view_and_delivery)
{
	BEGIN(self, UD2);
	deliver_from_view(self);
}

/* Not intercepted for any other reason */
KVMI_TEST(kvmi_reply, step_in_view_and_delivery_of_gp)
{
	self->g.start.regs.rax = 0x80;
	/* MOV DS, AX */
	BEGIN(self, "\x8e\xd8");
	deliver_from_view(self);
}

/* Where the guest goes on elsewhere, no instruction is executed in the view. */
KVMI_TEST(kvmi_reply, step_in_view_elsewhere)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev, pause;
	struct kvm_regs regs;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	wait_pf(g, 0, CODE, &ev);
	TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), 0);
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, self->view);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PAUSE, &pause);
	TEST_ASSERT_EQ(pause.common.arch.view, self->view);
	regs = pause.common.arch.regs;
	regs.rip = CODE + 2;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &pause, ALLOW);
	wait_pf(g, 0, CODE + 2, &ev);
	TEST_ASSERT_EQ(written(g), 0);
	kvmi_reply(&g->s, &ev, ALLOW);
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), 1);
}

/* The first registers of the reply decide which instruction it is about. */
KVMI_TEST(kvmi_reply, step_in_view_at_new_rip)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE WRITE);
	restrict_data(g, 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	wait_pf(g, 0, CODE, &ev);
	regs = ev.common.arch.regs;
	regs.rip = CODE + 2;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, self->view);
	wait_pf(g, 0, CODE + 4, &ev);
	TEST_ASSERT_EQ(written(g), 1);
	kvmi_reply(&g->s, &ev, ALLOW);
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), 2);
}

/* What happens in the view that is stepped in: another access, another view */
KVMI_TEST(kvmi_reply, event_in_the_step)
{
	struct kvmi_guest *g = &self->g;
	u16 view, third;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	view = self->view;
	third = kvmi_new_view(&g->s, 0);
	restrict_data(g, 0);
	restrict_data(g, view);
	TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, 0), 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	wait_pf(g, 0, CODE, &ev);
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, view);
	wait_pf(g, view, CODE, &ev);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), -KVM_EBUSY);
	/* A third view, and back to the first */
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, third);
	wait_pf(g, 0, CODE + 2, &ev);
	TEST_ASSERT_EQ(written(g), 1);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, third), 0);
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, view);
	wait_pf(g, view, CODE + 2, &ev);
	/* A grant within the step */
	kvmi_reply(&g->s, &ev, ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), 0);
	TEST_ASSERT_EQ(view_at_the_end(g), 0);
	wait_pf(g, 0, CODE, &ev);
	kvmi_unhook(&g->s);
	kvmi_guest_stop_normally(g);
}

/* The home of a step is in use, too. */
KVMI_TEST(kvmi_reply, home_in_use)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u16 home, view;

	BEGIN(self, WRITE WRITE);
	view = self->view;
	home = kvmi_new_view(&g->s, 0);
	restrict_data(g, home);
	restrict_data(g, view);
	kvmi_reply_flags(&g->s, &self->pause, ALLOW, SET_VIEW, home);
	wait_pf(g, home, CODE, &ev);
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW, view);
	wait_pf(g, view, CODE, &ev);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, home), -KVM_EBUSY);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), -KVM_EBUSY);

	/* A view that is set ends the step: there is no way back. */
	TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, home), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), 0);
	kvmi_reply(&g->s, &ev, RETRY);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(view_at_the_end(g), 0);
	kvmi_guest_stop_normally(g);
}

/* The session ends in the middle of a step. */
KVMI_TEST(kvmi_reply, unhook_in_the_step)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, 0);
	restrict_data(g, self->view);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	wait_pf(g, 0, CODE, &ev);
	kvmi_reply_flags(&g->s, &ev, RETRY, STEP_IN_VIEW | 0, self->view);
	wait_pf(g, self->view, CODE, &ev);
	kvmi_unhook(&g->s);
	kvmi_guest_stop_normally(g);

	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_EQ(view_at_the_end(g), 0);
	kvmi_guest_stop_normally(g);
}

/* Wait for a PF event, and reply when KVM_RUN has returned. */
static void reply_late(struct _test_data_kvmi_reply *self, u64 rip, u8 action, u32 flags)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	wait_pf(g, 0, rip, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply_flags(&g->s, &ev, action, flags, self->view);
	/* The view is in use from then on. */
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), -KVM_EBUSY);
}

/* Userspace has other plans. */
static void skip_write(struct kvmi_guest *g)
{
	struct kvm_regs regs;

	vcpu_regs_get(g->vcpu, &regs);
	regs.rip += sizeof(WRITE) - 1;
	vcpu_regs_set(g->vcpu, &regs);
}

static void begin_late(struct _test_data_kvmi_reply *self, u64 rip, u8 action, u32 flags)
{
	struct kvmi_guest *g = &self->g;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, 0);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	reply_late(self, rip, action, flags);
}

static void stop_in(struct _test_data_kvmi_reply *self, u8 value, u16 view)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), value);
	TEST_ASSERT_EQ(view_at_the_end(g), view);
	kvmi_guest_stop(g);
}

/* KVM_RUN returns while the event is open, and the reply is kept. */
KVMI_TEST(kvmi_reply, kept)
{
	struct kvmi_guest *g = &self->g;

	begin_late(self, CODE, RETRY, STEP_IN_VIEW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	reply_late(self, CODE + 2, RETRY, STEP_IN_VIEW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), 0);
}

/* A kept reply that no question is left for: its view is free again. */
KVMI_TEST(kvmi_reply, kept_in_vain)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	begin_late(self, CODE, RETRY, STEP_IN_VIEW);
	skip_write(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, 0, CODE + 2, &ev);
	TEST_ASSERT_EQ(written(g), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), 0);
	kvmi_reply(&g->s, &ev, ALLOW);
	kvmi_guest_stop(g);
}

/* All of a reply counts, not only the view that it chooses. */
KVMI_TEST(kvmi_reply, kept_view_and_retry)
{
	struct kvmi_guest *g = &self->g;

	begin_late(self, CODE, RETRY, SET_VIEW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	stop_in(self, 2, self->view);
}

KVMI_TEST(kvmi_reply, kept_view_and_step)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	begin_late(self, CODE, RETRY, SET_VIEW | SINGLESTEP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_step(g, CODE + 2, 0, &ev);
	TEST_ASSERT_EQ(ev.common.arch.view, self->view);
	TEST_ASSERT_EQ(written(g), 1);
	kvmi_reply_flags(&g->s, &ev, ALLOW, SET_VIEW, 0);
	reply_late(self, CODE + 2, RETRY, SET_VIEW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	stop_in(self, 2, self->view);
}

KVMI_TEST(kvmi_reply, kept_view_and_skip)
{
	struct kvmi_guest *g = &self->g;

	begin_late(self, CODE, SKIP_IT, SET_VIEW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	/* The second write is that of the view. */
	stop_in(self, 1, self->view);
}

KVMI_TEST(kvmi_reply, kept_view_and_allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	BEGIN(self, WRITE WRITE);
	restrict_data(g, 0);
	restrict_data(g, self->view);
	kvmi_reply(&g->s, &self->pause, ALLOW);
	reply_late(self, CODE, ALLOW, SET_VIEW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, self->view, CODE + 2, &ev);
	TEST_ASSERT_EQ(written(g), 1);
	TEST_ASSERT_EQ(ev.common.arch.view, self->view);
	kvmi_reply_flags(&g->s, &ev, SKIP_IT, SET_VIEW, 0);
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), 1);
}

/* The view counts whatever the guest does next. */
KVMI_TEST(kvmi_reply, kept_view_in_vain)
{
	static const u8 actions[] = { ALLOW, SKIP_IT, RETRY };
	struct kvmi_guest *g = &self->g;
	int i;

	for (i = 0; i < ARRAY_SIZE(actions); i++) {
		if (i) {
			kvmi_guest_reset(g);
			*(u8 *)addr_gpa2hva(g->vm, DATA) = 0;
			kvmi_guest_park(g, &self->pause);
			kvmi_reply_flags(&g->s, &self->pause, ALLOW, SET_VIEW, 0);
			reply_late(self, CODE, actions[i], SET_VIEW);
		} else {
			begin_late(self, CODE, actions[i], SET_VIEW);
		}
		skip_write(g);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		stop_in(self, 1, self->view);
	}
}

/* A view that is chosen later counts. */
KVMI_TEST(kvmi_reply, kept_view_and_later_one)
{
	struct kvmi_vcpu_set_view req = { .view = 0 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u32 seq;

	begin_late(self, CODE, SKIP_IT, SET_VIEW);
	seq = kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_VIEW, &req, sizeof(req));
	/* By then, the other one was received as well. */
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), -KVM_EBUSY);
	skip_write(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_SET_VIEW, seq, NULL, 0), 0);
	wait_pf(g, 0, CODE + 2, &ev);
	TEST_ASSERT_EQ(written(g), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, self->view), 0);
	TEST_ASSERT_EQ(ev.common.arch.view, 0);
	kvmi_reply(&g->s, &ev, ALLOW);
	kvmi_guest_stop(g);
	TEST_ASSERT_EQ(written(g), 1);
}

/* Replies that end the session */
FIXTURE(kvmi_reply_refused) {
	struct kvmi_guest g;
};

struct bad_reply {
	u16 event;
	u8 action;
	u32 flags;
	u16 view;
	/* What the VMM forbids, 0 for nothing */
	s32 command;
	s32 forbidden_event;
};

FIXTURE_VARIANT(kvmi_reply_refused) {
	struct bad_reply rpl;
};

#define BAD_PAUSE	.event = KVMI_VCPU_EVENT_PAUSE
#define BAD_CR		.event = KVMI_VCPU_EVENT_CR

FIXTURE_VARIANT_ADD(kvmi_reply_refused, unknown_flag) {
	.rpl = { BAD_PAUSE, .flags = 8 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, last_flag) {
	.rpl = { BAD_PAUSE, .flags = 1U << 31 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, unknown_with_known) {
	.rpl = { BAD_PAUSE, .flags = SET_VIEW | 0x100 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, view_for_nothing) {
	.rpl = { BAD_PAUSE, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, view_of_a_step) {
	.rpl = { BAD_PAUSE, .flags = SINGLESTEP, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_such_view) {
	.rpl = { BAD_PAUSE, .flags = SET_VIEW, .view = 2 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_view_to_step_in) {
	.rpl = { BAD_PAUSE, .flags = STEP_IN_VIEW, .view = 6 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, view_too_high) {
	.rpl = { BAD_PAUSE, .flags = SET_VIEW, .view = 7 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, view_wraps) {
	.rpl = { BAD_PAUSE, .flags = STEP_IN_VIEW, .view = 0x100 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, set_and_step_in_view) {
	.rpl = { BAD_PAUSE, .flags = SET_VIEW | STEP_IN_VIEW, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, both_steps) {
	.rpl = { BAD_PAUSE, .flags = SINGLESTEP | STEP_IN_VIEW, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, crash_and_singlestep) {
	.rpl = { BAD_PAUSE, .action = CRASH, .flags = SINGLESTEP },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, crash_and_step_in_view) {
	.rpl = { BAD_PAUSE, .action = CRASH, .flags = STEP_IN_VIEW, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, skip_and_singlestep) {
	.rpl = { BAD_CR, .action = SKIP_IT, .flags = SINGLESTEP },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, skip_and_step_in_view) {
	.rpl = { BAD_CR, .action = SKIP_IT, .flags = STEP_IN_VIEW, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, allow_and_step_in_view) {
	.rpl = { BAD_CR, .flags = STEP_IN_VIEW, .view = 1 },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_set_view) {
	.rpl = { BAD_PAUSE, .flags = SET_VIEW,
		 .view = 1, .command = KVMI_VCPU_SET_VIEW },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_set_view_0) {
	.rpl = { BAD_PAUSE, .flags = SET_VIEW, .command = KVMI_VCPU_SET_VIEW },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_set_view_to_step) {
	.rpl = { BAD_PAUSE, .flags = STEP_IN_VIEW,
		 .view = 1, .command = KVMI_VCPU_SET_VIEW },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_control_singlestep) {
	.rpl = { BAD_PAUSE, .flags = SINGLESTEP,
		 .command = KVMI_VCPU_CONTROL_SINGLESTEP },
};

FIXTURE_VARIANT_ADD(kvmi_reply_refused, no_singlestep_event) {
	.rpl = { BAD_PAUSE, .flags = SINGLESTEP,
		 .forbidden_event = KVMI_VCPU_EVENT_SINGLESTEP },
};

FIXTURE_SETUP(kvmi_reply_refused)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = g->start.sregs.cr4 ^ X86_CR4_MCE;
	kvmi_guest_code(g, WRITE_CR4);
	kvmi_guest_run_normally(g);
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!features.views || !(features.flags & KVMI_FEATURE_SINGLESTEP))
		SKIP(return, "No views, or no single-stepping");
}

FIXTURE_TEARDOWN(kvmi_reply_refused)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_reply_refused, ends_session)
{
	const struct bad_reply *rpl = &variant->rpl;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_park(g, &ev);
	TEST_ASSERT_EQ(kvmi_new_view(&g->s, 0), 1);
	if (rpl->event == KVMI_VCPU_EVENT_CR) {
		TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 4, 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
		kvmi_reply(&g->s, &ev, ALLOW);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, &ev);
	}
	if (rpl->command)
		TEST_ASSERT_EQ(__kvmi_command(g->vm, 0, rpl->command), 0);
	if (rpl->forbidden_event)
		TEST_ASSERT_EQ(__kvmi_event(g->vm, 0, rpl->forbidden_event), 0);
	kvmi_reply_flags(&g->s, &ev, rpl->action, rpl->flags, rpl->view);
	kvmi_expect_closed(&g->s);
	/* The guest goes on in its own view. */
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
