// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_CREATE_VIEW, KVMI_VM_DESTROY_VIEW,
 * KVMI_VCPU_SET_VIEW, KVMI_VCPU_GET_VIEW, and restrictions of one view
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

/* View 0 included */
#define NR_VIEWS	7

#define RWX		KVMI_PAGE_ACCESS_RWX
#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

#define DATA		KVMI_GUEST_DATA
/* Pages that the guest has no use for */
#define OTHER		0xd000

/* MOV [RDI], AL */
#define WRITE		"\x88\x07"
/* CMP byte [RDI], 0x77; JNE back to it */
#define WAIT_FOR_0x77	"\x80\x3f\x77\x75\xfb"

/* Not views, at first */
static const u16 no_views[] = { 1, 2, NR_VIEWS - 1, NR_VIEWS, 8, 0x100, 0xffff };

FIXTURE(kvmi_view) {
	struct kvmi_guest g;
	/* The vCPU is in this event at the beginning of a test. */
	struct kvmi_event pause;
};

FIXTURE_SETUP(kvmi_view)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = 0x5a;
	kvmi_guest_code(g, WRITE);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal.mem[DATA], 0x5a);

	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!features.views)
		SKIP(return, "No page tables for views");
	TEST_ASSERT_EQ(features.views, NR_VIEWS);
	kvmi_guest_park(g, &self->pause);
}

FIXTURE_TEARDOWN(kvmi_view)
{
	kvmi_guest_free(&self->g);
}

static u8 access_of(struct kvmi_session *s, u16 view, u64 gpa)
{
	u8 access;

	TEST_ASSERT_KVMI(kvmi_get_page_access(s, view, gpa, &access), 0);
	return access;
}

static void restrict_page(struct kvmi_session *s, u16 view, u64 gpa, u8 access)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, gpa, 1, access), 0);
	TEST_ASSERT_EQ(access_of(s, view, gpa), access);
}

static void enable_pf(struct kvmi_session *s)
{
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
}

static void switch_view(struct kvmi_session *s, u16 view)
{
	TEST_ASSERT_KVMI(kvmi_set_view(s, 0, view), 0);
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), view);
}

/* The guest's write is told. */
static void wait_pf(struct kvmi_guest *g, u16 view, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev->pf.gpa, DATA);
	TEST_ASSERT_EQ(ev->pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev->pf.flags, 0);
	TEST_ASSERT_EQ(ev->pf.view, view);
	TEST_ASSERT_EQ(ev->common.arch.view, view);
	TEST_ASSERT_EQ(ev->common.arch.as_id, 0);
	/* It has not happened. */
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, DATA), 0);
}

/* Let the guest run to the end, and prepare to have it do so again. */
static void finish(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	kvmi_guest_reset(g);
}

KVMI_TEST(kvmi_view, create_all)
{
	struct kvmi_session *s = &self->g.s;
	u16 views[NR_VIEWS] = {}, none;
	int i, j;

	for (i = 1; i < NR_VIEWS; i++) {
		views[i] = kvmi_new_view(s, 0);
		TEST_ASSERT(views[i] < NR_VIEWS, "View %u", views[i]);
		for (j = 0; j < i; j++)
			TEST_ASSERT(views[i] != views[j], "View %u twice", views[i]);
	}
	for (i = 0; i < 3; i++)
		TEST_ASSERT_KVMI(kvmi_create_view(s, 0, &none), -KVM_EBUSY);

	/* One that goes makes room for one. */
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, views[3]), 0);
	TEST_ASSERT_EQ(kvmi_new_view(s, 0), views[3]);
	TEST_ASSERT_KVMI(kvmi_create_view(s, 0, &none), -KVM_EBUSY);
	finish(&self->g, &self->pause);
}

KVMI_TEST(kvmi_view, create_many_times)
{
	struct kvmi_session *s = &self->g.s;
	u16 view;
	int i;

	for (i = 0; i < 1000; i++) {
		view = kvmi_new_view(s, 0);
		TEST_ASSERT_EQ(access_of(s, view, DATA), RWX);
		restrict_page(s, view, DATA, RX);
		TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), 0);
	}
	finish(&self->g, &self->pause);
}

KVMI_TEST(kvmi_view, create_errors)
{
	struct kvmi_vm_create_view_reply rpl;
	struct kvmi_vm_create_view req = { };
	struct kvmi_session *s = &self->g.s;
	u16 view;
	int i;

	for (i = 0; i < ARRAY_SIZE(no_views); i++)
		TEST_ASSERT_KVMI(kvmi_create_view(s, no_views[i], &view),
				 -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(req.padding); i++) {
		req.padding[i] = 0x100;
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CREATE_VIEW, &req,
					  sizeof(req), &rpl, sizeof(rpl)),
				 -KVM_EINVAL);
		req.padding[i] = 0;
	}

	/* What is wrong comes before what is full. */
	for (i = 1; i < NR_VIEWS; i++)
		kvmi_new_view(s, 0);
	TEST_ASSERT_KVMI(kvmi_create_view(s, NR_VIEWS, &view), -KVM_EINVAL);
	finish(&self->g, &self->pause);
}

KVMI_TEST(kvmi_view, destroy_errors)
{
	struct kvmi_session *s = &self->g.s;
	struct kvmi_vm_destroy_view req = { };
	int i;

	TEST_ASSERT_KVMI(kvmi_destroy_view(s, 0), -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(no_views); i++)
		TEST_ASSERT_KVMI(kvmi_destroy_view(s, no_views[i]), -KVM_EINVAL);

	req.view = kvmi_new_view(s, 0);
	for (i = 0; i < ARRAY_SIZE(req.padding); i++) {
		req.padding[i] = 1;
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_DESTROY_VIEW, &req,
					  sizeof(req), NULL, 0), -KVM_EINVAL);
		req.padding[i] = 0;
	}
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, req.view), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, req.view), -KVM_EINVAL);
	finish(&self->g, &self->pause);
}

/* Whether the vCPU is in KVM_RUN or not */
KVMI_TEST(kvmi_view, destroy_in_use)
{
	struct kvmi_guest *g = &self->g;
	u16 view = kvmi_new_view(&g->s, 0);

	switch_view(&g->s, view);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), -KVM_EBUSY);
	finish(g, &self->pause);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), -KVM_EBUSY);

	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_EQ(kvmi_view_of(&g->s, 0), view);
	switch_view(&g->s, 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), 0);
	finish(g, &self->pause);
}

/* The other commands do not know a view that was destroyed. */
KVMI_TEST(kvmi_view, destroyed)
{
	struct kvmi_session *s = &self->g.s;
	u16 view = kvmi_new_view(s, 0), other;
	u8 access;

	restrict_page(s, view, DATA, RX);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, view, OTHER, DATA), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), 0);

	TEST_ASSERT_KVMI(kvmi_set_view(s, 0, view), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_create_view(s, view, &other), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_get_page_access(s, view, DATA, &access), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, DATA, 1, RX), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, view, DATA, OTHER), -KVM_EINVAL);
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), 0);
	finish(&self->g, &self->pause);
}

KVMI_TEST(kvmi_view, set_errors)
{
	struct kvmi_session *s = &self->g.s;
	struct kvmi_vcpu_set_view req = { };
	u16 view;
	int i;

	for (i = 0; i < ARRAY_SIZE(no_views); i++)
		TEST_ASSERT_KVMI(kvmi_set_view(s, 0, no_views[i]), -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(req.padding); i++) {
		req.padding[i] = 0x8000;
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_VIEW, &req,
					       sizeof(req), NULL, 0), -KVM_EINVAL);
		req.padding[i] = 0;
	}
	TEST_ASSERT_KVMI(kvmi_set_view(s, 1, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_get_view(s, 1, &view), -KVM_EINVAL);
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), 0);
	finish(&self->g, &self->pause);
}

KVMI_TEST(kvmi_view, set_and_get)
{
	struct kvmi_session *s = &self->g.s;
	u16 view;
	int i;

	TEST_ASSERT_EQ(kvmi_view_of(s, 0), 0);
	switch_view(s, 0);
	for (i = 1; i < NR_VIEWS; i++) {
		view = kvmi_new_view(s, 0);
		switch_view(s, view);
		switch_view(s, view);
	}
	finish(&self->g, &self->pause);

	/* It stays there. */
	kvmi_guest_park(&self->g, &self->pause);
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), view);
	finish(&self->g, &self->pause);
}

/* An event says in which view the vCPU is, whatever it is about. */
KVMI_TEST(kvmi_view, view_of_events)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u16 view = kvmi_new_view(&g->s, 0);

	TEST_ASSERT_EQ(self->pause.common.arch.view, 0);
	switch_view(&g->s, view);
	TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), 0);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_EQ(ev.common.arch.view, view);
	switch_view(&g->s, 0);
	TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_EQ(ev.common.arch.view, 0);
	finish(g, &ev);
}

/* The view may have gone by the time the vCPU would go there. */
KVMI_TEST(kvmi_view, set_too_late)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_vcpu_set_view req;
	u32 seq;

	finish(g, &self->pause);
	req = (struct kvmi_vcpu_set_view){ .view = kvmi_new_view(&g->s, 0) };
	seq = kvmi_send_vcpu_cmd(&g->s, 0, KVMI_VCPU_SET_VIEW, &req, sizeof(req));
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, req.view), 0);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, KVMI_VCPU_SET_VIEW, seq, NULL, 0),
			 -KVM_EINVAL);
	kvmi_guest_stop_normally(g);
}

/* Views come and go while the vCPU is busy with going to one. */
KVMI_TEST(kvmi_view, set_and_destroy_at_once)
{
	struct kvmi_vcpu_set_view set = { .view = 0 };
	struct kvmi_session *s = &self->g.s;
	struct kvmi_vm_destroy_view destroy = { };
	struct kvmi_msg msg;
	int i, j;

	for (i = 0; i < 300; i++) {
		destroy.view = kvmi_new_view(s, 0);
		kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_SET_VIEW, &set, sizeof(set));
		kvmi_send_cmd(s, KVMI_VM_DESTROY_VIEW, &destroy, sizeof(destroy));
		for (j = 0; j < 2; j++) {
			kvmi_recv(s, &msg);
			TEST_ASSERT(msg.hdr.id == KVMI_VCPU_SET_VIEW ||
				    msg.hdr.id == KVMI_VM_DESTROY_VIEW,
				    "Message %u", msg.hdr.id);
			TEST_ASSERT_EQ(*(s32 *)msg.data, 0);
		}
	}
	finish(&self->g, &self->pause);
}

KVMI_TEST(kvmi_view, copy)
{
	struct kvmi_session *s = &self->g.s;
	u16 a, b, c;

	restrict_page(s, 0, DATA, RX);
	a = kvmi_new_view(s, 0);
	TEST_ASSERT_EQ(access_of(s, a, DATA), RX);
	TEST_ASSERT_EQ(access_of(s, a, OTHER), RWX);

	/* From now on each has its own. */
	restrict_page(s, a, OTHER, RX);
	TEST_ASSERT_EQ(access_of(s, 0, OTHER), RWX);
	restrict_page(s, 0, DATA, RWX);
	TEST_ASSERT_EQ(access_of(s, a, DATA), RX);

	b = kvmi_new_view(s, a);
	c = kvmi_new_view(s, 0);
	TEST_ASSERT_EQ(access_of(s, b, DATA), RX);
	TEST_ASSERT_EQ(access_of(s, b, OTHER), RX);
	TEST_ASSERT_EQ(access_of(s, c, DATA), RWX);
	TEST_ASSERT_EQ(access_of(s, c, OTHER), RWX);

	/* The copy does not go with what it was copied from. */
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, a), 0);
	TEST_ASSERT_EQ(access_of(s, b, DATA), RX);
	finish(&self->g, &self->pause);
}

/* What was copied is in force. */
KVMI_TEST(kvmi_view, copy_is_in_force)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u16 a, b;

	a = kvmi_new_view(&g->s, 0);
	restrict_page(&g->s, a, DATA, RX);
	b = kvmi_new_view(&g->s, a);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, a), 0);
	switch_view(&g->s, b);
	enable_pf(&g->s);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, b, &ev);
	finish(g, &ev);
}

/* An id that is used again comes without the past of the other view. */
KVMI_TEST(kvmi_view, destroyed_restrictions)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u16 view;

	view = kvmi_new_view(&g->s, 0);
	restrict_page(&g->s, view, DATA, RX);
	switch_view(&g->s, view);
	enable_pf(&g->s);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, view, &ev);
	switch_view(&g->s, 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, view), 0);
	finish(g, &ev);

	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_EQ(kvmi_new_view(&g->s, 0), view);
	TEST_ASSERT_EQ(access_of(&g->s, view, DATA), RWX);
	switch_view(&g->s, view);
	finish(g, &self->pause);
}

/* A restriction of one of all views counts in that one. */
KVMI_TEST(kvmi_view, restriction)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u16 restricted, view;

	for (view = 1; view < NR_VIEWS; view++)
		kvmi_new_view(&g->s, 0);
	enable_pf(&g->s);

	for (restricted = 0; restricted < NR_VIEWS; restricted++) {
		restrict_page(&g->s, restricted, DATA, RX);
		for (view = 0; view < NR_VIEWS; view++) {
			switch_view(&g->s, view);
			kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
			ev = self->pause;
			if (view == restricted) {
				wait_pf(g, view, &ev);
				kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
			}
			kvmi_guest_stop_normally(g);
			kvmi_guest_reset(g);
			kvmi_guest_park(g, &self->pause);
		}
		restrict_page(&g->s, restricted, DATA, RWX);
	}
	finish(g, &self->pause);
}

static void start_pf(struct kvmi_guest *g, const struct kvmi_event *pause,
		     u16 view, struct kvmi_event *ev)
{
	restrict_page(&g->s, view, DATA, RX);
	switch_view(&g->s, view);
	enable_pf(&g->s);
	kvmi_reply(&g->s, pause, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, view, ev);
}

/* A tool may answer an access by another view. */
KVMI_TEST(kvmi_view, switch_and_retry)
{
	struct kvmi_guest *g = &self->g;
	u16 view = kvmi_new_view(&g->s, 0);
	struct kvmi_event ev;

	start_pf(g, &self->pause, view, &ev);
	switch_view(&g->s, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_EQ(kvmi_view_of(&g->s, 0), 0);
	finish(g, &self->pause);
}

/* The same the other way: it is a restriction again that is met there. */
KVMI_TEST(kvmi_view, switch_to_restricted_and_retry)
{
	struct kvmi_guest *g = &self->g;
	u16 a = kvmi_new_view(&g->s, 0), b = kvmi_new_view(&g->s, 0);
	struct kvmi_event ev;
	int i;

	restrict_page(&g->s, b, DATA, RX);
	start_pf(g, &self->pause, a, &ev);
	for (i = 0; i < 10; i++) {
		switch_view(&g->s, i & 1 ? a : b);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		wait_pf(g, i & 1 ? a : b, &ev);
	}
	switch_view(&g->s, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

/* The instruction is let through, and the guest goes on in the other view. */
KVMI_TEST(kvmi_view, switch_and_allow)
{
	struct kvmi_guest *g = &self->g;
	u16 view = kvmi_new_view(&g->s, 0);
	struct kvmi_event ev;

	finish(g, &self->pause);
	kvmi_guest_code(g, WRITE WRITE);
	kvmi_guest_park(g, &self->pause);

	restrict_page(&g->s, view, DATA, RX);
	start_pf(g, &self->pause, 0, &ev);
	switch_view(&g->s, view);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + 2);
	TEST_ASSERT_EQ(ev.pf.view, view);
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, DATA), 0x5a);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* While the VMM has the vCPU the answer to the old event is there already. */
KVMI_TEST(kvmi_view, switch_and_signal)
{
	struct kvmi_guest *g = &self->g;
	u16 view = kvmi_new_view(&g->s, 0);
	struct kvmi_event ev;

	start_pf(g, &self->pause, view, &ev);
	switch_view(&g->s, 0);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* A guest that runs sees its new view at once. */
KVMI_TEST(kvmi_view, switch_while_the_guest_runs)
{
	struct kvmi_guest *g = &self->g;
	u16 view = kvmi_new_view(&g->s, 0);

	finish(g, &self->pause);
	g->start.mem[OTHER] = 0x77;
	kvmi_guest_code(g, WAIT_FOR_0x77);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, view, DATA, OTHER), 0);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT(kvmi_run_is_going(&g->r), "The guest sees another view");
	TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, view), 0);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* Unhooking forgets all views, whatever the tool wants to be kept. */
KVMI_TEST(kvmi_view, unhook)
{
	struct kvmi_vm_control_cleanup keep = { .enable = 0 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u16 view;
	int i;

	TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_CONTROL_CLEANUP, &keep,
				  sizeof(keep), NULL, 0), 0);
	for (i = 1; i < NR_VIEWS; i++)
		view = kvmi_new_view(&g->s, 0);
	restrict_page(&g->s, 0, DATA, RX);
	start_pf(g, &self->pause, view, &ev);
	kvmi_unhook(&g->s);
	g->r.s = NULL;
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	kvmi_guest_park(g, &ev);
	TEST_ASSERT_EQ(kvmi_view_of(&g->s, 0), 0);
	TEST_ASSERT_EQ(access_of(&g->s, 0, DATA), RWX);
	for (i = 1; i < NR_VIEWS; i++) {
		TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, i), -KVM_EINVAL);
		TEST_ASSERT_KVMI(kvmi_destroy_view(&g->s, i), -KVM_EINVAL);
	}
	for (i = 1; i < NR_VIEWS; i++)
		TEST_ASSERT_EQ(access_of(&g->s, kvmi_new_view(&g->s, 0), DATA), RWX);
	enable_pf(&g->s);
	finish(g, &ev);
}

/* Without a tool to ask the guest stays in its view and goes on. */
KVMI_TEST(kvmi_view, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	u16 view = kvmi_new_view(&g->s, 0);
	struct kvmi_event ev;
	int i;

	start_pf(g, &self->pause, view, &ev);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
	for (i = 0; i < 3; i++) {
		kvmi_guest_reset(g);
		kvmi_run_start(&g->r, NULL, g->vcpu);
		kvmi_guest_stop_normally(g);
	}
}

/*
 * The tool switches views while the guest writes to a register: what comes of the
 * write, which has KVM look anew at how it maps memory, is not to get in the way.
 */
FIXTURE(kvmi_view_write) {
	struct kvmi_guest g;
	struct kvmi_event ev;
	u16 view;
};

struct register_write {
	u16 event;
	/* Which control register, or MSR */
	u32 nr;
	/* What to flip */
	u64 bits;
	const char *code;
};

FIXTURE_VARIANT(kvmi_view_write) {
	const struct register_write *write;
	bool emulate;
};

/* MOV to a control register, WRMSR and XSETBV, with a NOP */
#define MOV_TO_CR0	"\x0f\x22\xc0\x90"
#define MOV_TO_CR4	"\x0f\x22\xe0\x90"
#define WRMSR		"\x0f\x30\x90\x90"
#define XSETBV		"\x0f\x01\xd1\x90"

static const struct register_write write_cr0_wp = {
	KVMI_VCPU_EVENT_CR, 0, X86_CR0_WP, MOV_TO_CR0
};

static const struct register_write write_cr0_am = {
	KVMI_VCPU_EVENT_CR, 0, X86_CR0_AM, MOV_TO_CR0
};

static const struct register_write write_cr0_wp_am = {
	KVMI_VCPU_EVENT_CR, 0, X86_CR0_WP | X86_CR0_AM, MOV_TO_CR0
};

static const struct register_write write_cr4_pse = {
	KVMI_VCPU_EVENT_CR, 4, X86_CR4_PSE, MOV_TO_CR4
};

static const struct register_write write_cr4_pge = {
	KVMI_VCPU_EVENT_CR, 4, X86_CR4_PGE, MOV_TO_CR4
};

static const struct register_write write_efer_nx = {
	KVMI_VCPU_EVENT_MSR, MSR_EFER, EFER_NX, WRMSR
};

static const struct register_write write_efer_sce = {
	KVMI_VCPU_EVENT_MSR, MSR_EFER, EFER_SCE, WRMSR
};

static const struct register_write write_xsetbv = {
	KVMI_VCPU_EVENT_XSETBV, 0, XFEATURE_MASK_SSE, XSETBV
};

FIXTURE_VARIANT_ADD(kvmi_view_write, cr0_wp) { &write_cr0_wp };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr0_wp_emulated) { &write_cr0_wp, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr0_am) { &write_cr0_am };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr0_am_emulated) { &write_cr0_am, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr0_wp_am) { &write_cr0_wp_am };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr0_wp_am_emulated) { &write_cr0_wp_am, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr4_pse) { &write_cr4_pse };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr4_pse_emulated) { &write_cr4_pse, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr4_pge) { &write_cr4_pge };
FIXTURE_VARIANT_ADD(kvmi_view_write, cr4_pge_emulated) { &write_cr4_pge, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, efer_nx) { &write_efer_nx };
FIXTURE_VARIANT_ADD(kvmi_view_write, efer_nx_emulated) { &write_efer_nx, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, efer_sce) { &write_efer_sce };
FIXTURE_VARIANT_ADD(kvmi_view_write, efer_sce_emulated) { &write_efer_sce, true };
FIXTURE_VARIANT_ADD(kvmi_view_write, xsetbv) { &write_xsetbv };
FIXTURE_VARIANT_ADD(kvmi_view_write, xsetbv_emulated) { &write_xsetbv, true };

/* What is in the pages */
#define OWN		0x11
#define SHOWN		0x77

/* MOV CL, [RDI]; MOV AL, 0x5a; MOV [RDI], AL */
#define READ_AND_WRITE	"\x8a\x0f\xb0\x5a\x88\x07"

FIXTURE_SETUP(kvmi_view_write)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_sregs *sregs = &g->start.sregs;
	struct kvm_regs *regs = &g->start.regs;
	const struct register_write *write = variant->write;
	char code[32];

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (variant->emulate && !is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");
	if (write->event == KVMI_VCPU_EVENT_XSETBV && !kvm_cpu_has(X86_FEATURE_XSAVE))
		SKIP(return, "Needs XSAVE");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.mem[DATA] = OWN;
	g->start.mem[OTHER] = SHOWN;
	regs->rcx = write->nr;
	regs->rax = write->bits;
	switch (write->event) {
	case KVMI_VCPU_EVENT_CR:
		regs->rax ^= write->nr ? sregs->cr4 : sregs->cr0;
		break;
	case KVMI_VCPU_EVENT_MSR:
		regs->rax ^= sregs->efer;
		break;
	case KVMI_VCPU_EVENT_XSETBV:
		regs->rax ^= g->start.xcr0;
		break;
	}

	/* The write, a read of the data page, and another one with a write to it */
	snprintf(code, sizeof(code), "%s%s" READ_AND_WRITE,
		 variant->emulate ? "\x0f\x0bkvm" : "", write->code);
	__kvmi_guest_code(g, (const u8 *)code, strlen(code));
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	if (write->event == KVMI_VCPU_EVENT_XSETBV && !variant->emulate &&
	    host_cpu_is_amd_compatible && g->normal.xcr0 == g->start.xcr0)
		SKIP(return, "The (emulated) processor does not intercept it");

	kvmi_hook(&g->s, g->vm);
	self->view = kvmi_new_view(&g->s, 0);
}

FIXTURE_TEARDOWN(kvmi_view_write)
{
	kvmi_guest_free(&self->g);
}

/* Run in one view until the write, and answer it after the switch to another one. */
static void switch_in_event(struct _test_data_kvmi_view_write *self,
			    const struct _fixture_variant_kvmi_view_write *variant,
			    u16 from, u16 to)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_session *s = &g->s;

	kvmi_guest_park(g, &self->ev);
	switch_view(s, from);
	if (variant->write->event == KVMI_VCPU_EVENT_CR)
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, variant->write->nr, 1), 0);
	if (variant->write->event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, variant->write->nr, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, variant->write->event, 1), 0);
	enable_pf(s);
	kvmi_unpark(s, &self->ev);

	kvmi_wait_event(s, variant->write->event, &self->ev);
	TEST_ASSERT_EQ(self->ev.common.arch.view, from);
	switch_view(s, to);
	kvmi_reply(s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
}

/* The guest wants to write to the data page, having read this from it. */
static void wait_write(struct kvmi_guest *g, u16 view, u8 read, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, g->end - 2);
	TEST_ASSERT_EQ(ev->common.arch.regs.rcx & 0xff, read);
	TEST_ASSERT_EQ(ev->pf.gpa, DATA);
	TEST_ASSERT_EQ(ev->pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev->pf.view, view);
	TEST_ASSERT_EQ(kvmi_view_of(&g->s, 0), view);
}

/* The guest has read this, and written. */
static void stop_written(struct kvmi_guest *g, u8 read)
{
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.regs.rcx & 0xff, read);
	TEST_ASSERT_EQ(g->state.mem[DATA], 0x5a);
	TEST_ASSERT_EQ(g->state.mem[OTHER], SHOWN);
}

/* Into the view, where this is read and the write is asked about, and out of it */
static void switch_there_and_back(struct _test_data_kvmi_view_write *self,
				  const struct _fixture_variant_kvmi_view_write *variant,
				  u8 read)
{
	struct kvmi_guest *g = &self->g;

	switch_in_event(self, variant, 0, self->view);
	wait_write(g, self->view, read, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	stop_written(g, read);
	kvmi_guest_reset(g);

	switch_in_event(self, variant, self->view, 0);
	stop_written(g, OWN);
	kvmi_guest_reset(g);
}

/* The page is mapped already where the guest comes from. */
KVMI_TEST(kvmi_view_write, restricted)
{
	struct kvmi_guest *g = &self->g;
	int i;

	restrict_page(&g->s, self->view, DATA, RX);
	for (i = 0; i < 3; i++)
		switch_there_and_back(self, variant, OWN);
}

/* It is not: what is mapped behind the write stays where it belongs. */
KVMI_TEST(kvmi_view_write, shown)
{
	struct kvmi_guest *g = &self->g;
	int i;

	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, self->view, DATA, OTHER), 0);
	for (i = 0; i < 3; i++) {
		kvmi_guest_zap(g);
		switch_there_and_back(self, variant, SHOWN);
	}
}

/* Another way to leave a view */
KVMI_TEST(kvmi_view_write, unhook)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, self->view, DATA, OTHER), 0);
	kvmi_guest_zap(g);
	switch_in_event(self, variant, 0, self->view);
	wait_write(g, self->view, SHOWN, &self->ev);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	stop_written(g, SHOWN);
	kvmi_guest_reset(g);

	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, variant->write->event, &self->ev);
	kvmi_unhook(&g->s);
	g->s.vm = NULL;
	g->r.s = NULL;
	/* It went on when its event ended, and its view did so after that. */
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[DATA], 0x5a);
	TEST_ASSERT_EQ(g->state.mem[OTHER], SHOWN);
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	stop_written(g, OWN);
}

/* Two vCPUs, each in a view of its own */
FIXTURE(kvmi_view_of_vcpu) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[2];
	struct kvmi_session s;
	struct kvmi_runner r[2];
	struct kvmi_event pause[2];
	gva_t gva;
	u64 gpa;
};

static void guest_code_write(u8 *p, u8 val)
{
	WRITE_ONCE(*p, val);
	GUEST_SYNC(READ_ONCE(*p));
}

FIXTURE_SETUP(kvmi_view_of_vcpu)
{
	struct kvmi_vm_get_features_reply features;
	int i;

	self->vm = vm_create_with_vcpus(2, guest_code_write, self->vcpus);
	self->gva = vm_alloc_page(self->vm);
	self->gpa = addr_gva2gpa(self->vm, self->gva);
	for (i = 0; i < 2; i++)
		vcpu_args_set(self->vcpus[i], 2, self->gva, 0x10 + i);

	kvmi_hook(&self->s, self->vm);
	kvmi_get_features(&self->s, &features);
	if (!features.views)
		SKIP(return, "No page tables for views");
	for (i = 0; i < 2; i++)
		kvmi_park(&self->r[i], &self->s, self->vcpus[i], &self->pause[i]);
}

FIXTURE_TEARDOWN(kvmi_view_of_vcpu)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_view_of_vcpu, restriction)
{
	struct kvmi_session *s = &self->s;
	u16 view = kvmi_new_view(s, 0);
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	restrict_page(s, view, self->gpa, RX);
	TEST_ASSERT_KVMI(kvmi_set_view(s, 1, view), 0);
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), 0);
	TEST_ASSERT_EQ(kvmi_view_of(s, 1), view);
	for (i = 0; i < 2; i++)
		TEST_ASSERT_KVMI(kvmi_control_event(s, i, KVMI_VCPU_EVENT_PF, 1), 0);

	kvmi_unpark(s, &self->pause[1]);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.vcpu, 1);
	TEST_ASSERT_EQ(ev.pf.gpa, self->gpa);
	TEST_ASSERT_EQ(ev.pf.view, view);

	/* Meanwhile the other is free to write. */
	kvmi_unpark(s, &self->pause[0]);
	kvmi_run_wait_sync(&self->r[0], &uc);
	TEST_ASSERT_EQ(uc.args[1], 0x10);

	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r[1], &uc);
	TEST_ASSERT_EQ(uc.args[1], 0x10);
}

/* A view is in use as long as any of them is in it. */
KVMI_TEST(kvmi_view_of_vcpu, destroy_in_use)
{
	struct kvmi_session *s = &self->s;
	u16 view = kvmi_new_view(s, 0);
	struct ucall uc;
	int i;

	for (i = 0; i < 2; i++)
		TEST_ASSERT_KVMI(kvmi_set_view(s, i, view), 0);
	for (i = 0; i < 2; i++) {
		TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), -KVM_EBUSY);
		TEST_ASSERT_KVMI(kvmi_set_view(s, i, 0), 0);
	}
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), 0);
	for (i = 0; i < 2; i++) {
		kvmi_unpark(s, &self->pause[i]);
		kvmi_run_wait_sync(&self->r[i], &uc);
	}
}

/* A vCPU that comes later starts in view 0. */
KVMI_TEST(kvmi_view_of_vcpu, new_vcpu)
{
	struct kvmi_session *s = &self->s;
	struct kvm_vcpu *vcpu;
	struct kvmi_runner r;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	for (i = 0; i < 2; i++) {
		TEST_ASSERT_KVMI(kvmi_set_view(s, i, kvmi_new_view(s, 0)), 0);
		kvmi_unpark(s, &self->pause[i]);
		kvmi_run_wait_sync(&self->r[i], &uc);
	}
	vcpu = vm_vcpu_add(self->vm, 2, guest_code_write);
	vcpu_args_set(vcpu, 2, self->gva, 0x12);
	kvmi_park(&r, s, vcpu, &ev);
	TEST_ASSERT_EQ(kvmi_view_of(s, 2), 0);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&r, &uc);
	TEST_ASSERT_EQ(uc.args[1], 0x12);
}

/* A host without page tables of its own for the guest */
FIXTURE(kvmi_view_unsupported) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
};

static void guest_code(void)
{
	GUEST_SYNC(0);
}

FIXTURE_SETUP(kvmi_view_unsupported)
{
	struct kvmi_vm_get_features_reply features;

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
	kvmi_get_features(&self->s, &features);
	if (features.views)
		SKIP(return, "Views are supported");
	TEST_ASSERT_EQ(features.access, 0);
}

FIXTURE_TEARDOWN(kvmi_view_unsupported)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_view_unsupported, all_commands)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event pause;
	struct kvmi_runner r;
	struct ucall uc;
	u16 view;
	u8 access;

	kvmi_park(&r, s, self->vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_create_view(s, 0, &view), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, 1), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, 0x1000, 0x2000), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, 0x1000, 1, RX), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_get_page_access(s, 0, 0x1000, &access),
			 -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_set_view(s, 0, 0), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_get_view(s, 0, &view), -KVM_EOPNOTSUPP);
	kvmi_unpark(s, &pause);
	kvmi_run_wait_sync(&r, &uc);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
