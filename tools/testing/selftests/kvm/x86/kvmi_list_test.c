// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the commands that list what is in force
 *
 * KVMI_VM_LIST_PAGE_ACCESS, KVMI_VM_LIST_CHANGED_GFNS, KVMI_VM_LIST_VIEWS,
 * KVMI_VM_GET_VCPUS and KVMI_VCPU_GET_CONTROL
 */
#include "kvmi_test_harness.h"
#include "kvmi_view.h"

#define PAGE		4096ul
#define GIB		BIT(30)
#define NR_VCPUS	2

/* Guest memory across the border of two gigabytes */
#define SLOT		10
#define SLOT_PAGES	4096
#define GPA		(4 * GIB - 2048 * PAGE)

#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)
#define RO		KVMI_PAGE_ACCESS_R

FIXTURE(kvmi_list) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct kvmi_session s;
	struct kvmi_runner r;
	struct kvmi_event pause;
};

static void guest_code(void)
{
	for (;;)
		GUEST_SYNC(0);
}

FIXTURE_SETUP(kvmi_list)
{
	self->vm = vm_create_with_vcpus(NR_VCPUS, guest_code, self->vcpus);
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, 0);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_list)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void park(struct _test_data_kvmi_list *self)
{
	kvmi_park(&self->r, &self->s, self->vcpus[0], &self->pause);
}

static void unpark(struct _test_data_kvmi_list *self)
{
	struct ucall uc;

	kvmi_unpark(&self->s, &self->pause);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* A command whose reply has as many bytes as it happens to have */
static int list(struct kvmi_session *s, u16 id, const void *req, size_t size,
		void *rpl, size_t *rpl_size)
{
	u32 seq = kvmi_send_cmd(s, id, req, size);
	struct kvmi_error_code ec;
	struct kvmi_msg msg;

	kvmi_recv(s, &msg);
	TEST_ASSERT(msg.hdr.id == id && msg.hdr.seq == seq, "Another message");
	memcpy(&ec, msg.data, sizeof(ec));
	*rpl_size = msg.hdr.size - sizeof(ec);
	if (ec.err)
		TEST_ASSERT_EQ(*rpl_size, 0);
	memcpy(rpl, msg.data + sizeof(ec), *rpl_size);
	return ec.err;
}

union reply {
	struct kvmi_vm_list_page_access_reply access;
	struct kvmi_vm_list_changed_gfns_reply changed;
	struct kvmi_vm_list_views_reply views;
	struct kvmi_vm_get_vcpus_reply vcpus;
	u8 bytes[KVMI_MAX_MSG_SIZE];
};

static void list_access(struct kvmi_session *s, u16 view, u64 start,
			union reply *rpl)
{
	struct kvmi_vm_list_page_access req = { .view = view, .start = start };
	size_t size;

	TEST_ASSERT_KVMI(list(s, KVMI_VM_LIST_PAGE_ACCESS, &req, sizeof(req), rpl,
			      &size), 0);
	TEST_ASSERT_EQ(size, offsetof(struct kvmi_vm_list_page_access_reply,
				      entries[rpl->access.count]));
	TEST_ASSERT_EQ(rpl->access.padding, 0);
}

static void list_changed(struct kvmi_session *s, u16 view, u64 start,
			 union reply *rpl)
{
	struct kvmi_vm_list_changed_gfns req = { .view = view, .start = start };
	size_t size;

	TEST_ASSERT_KVMI(list(s, KVMI_VM_LIST_CHANGED_GFNS, &req, sizeof(req), rpl,
			      &size), 0);
	TEST_ASSERT_EQ(size, offsetof(struct kvmi_vm_list_changed_gfns_reply,
				      pages[rpl->changed.count]));
	TEST_ASSERT_EQ(rpl->changed.padding, 0);
}

static void get_vcpus(struct kvmi_session *s, u32 start, union reply *rpl)
{
	struct kvmi_vm_get_vcpus req = { .start = start };
	size_t size;
	int i;

	TEST_ASSERT_KVMI(list(s, KVMI_VM_GET_VCPUS, &req, sizeof(req), rpl, &size), 0);
	TEST_ASSERT_EQ(size, offsetof(struct kvmi_vm_get_vcpus_reply,
				      vcpus[rpl->vcpus.count]));
	TEST_ASSERT_EQ(rpl->vcpus.nr_vcpus, NR_VCPUS);
	KVMI_ASSERT_ZERO(rpl->vcpus.padding);
	TEST_ASSERT_EQ(rpl->vcpus.padding2, 0);
	for (i = 0; i < rpl->vcpus.count; i++)
		TEST_ASSERT_EQ(rpl->vcpus.vcpus[i].padding, 0);
}

static void expect_entry(const union reply *rpl, int i, u64 gpa, u32 npages,
			 u8 access)
{
	const struct kvmi_page_access_entry *e = &rpl->access.entries[i];

	TEST_ASSERT(i < rpl->access.count, "There is no entry %d", i);
	TEST_ASSERT(e->gpa == gpa && e->npages == npages && e->access == access,
		    "Entry %d: 0x%llx, %u pages, 0x%x; wanted 0x%lx, %u, 0x%x", i,
		    e->gpa, e->npages, e->access, gpa, npages, access);
	KVMI_ASSERT_ZERO(e->padding);
}

static void set(struct kvmi_session *s, u16 view, u64 gpa, u32 npages, u8 access)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, gpa, npages, access), 0);
}

KVMI_TEST(kvmi_list, page_access)
{
	struct kvmi_session *s = &self->s;
	union reply rpl;
	u16 view;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	list_access(s, 0, 0, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 0);
	TEST_ASSERT_EQ(rpl.access.next, 0);

	/* Neighbours are one, wherever the store has them. */
	set(s, 0, GPA, 1, RX);
	set(s, 0, GPA + PAGE, 2, RX);
	set(s, 0, GPA + 3 * PAGE, 1, RO);
	set(s, 0, 4 * GIB - 700 * PAGE, 1400, RO);
	view = kvmi_new_view(s, 0);
	set(s, view, GPA, 4, KVMI_PAGE_ACCESS_RWX);
	list_access(s, 0, 0, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 3);
	TEST_ASSERT_EQ(rpl.access.next, 0);
	expect_entry(&rpl, 0, GPA, 3, RX);
	expect_entry(&rpl, 1, GPA + 3 * PAGE, 1, RO);
	expect_entry(&rpl, 2, 4 * GIB - 700 * PAGE, 1400, RO);
	list_access(s, view, 0, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 1);
	expect_entry(&rpl, 0, 4 * GIB - 700 * PAGE, 1400, RO);

	/* In the middle of a range, and behind all */
	list_access(s, 0, GPA + 2 * PAGE + 5, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 3);
	expect_entry(&rpl, 0, GPA + 2 * PAGE, 1, RX);
	list_access(s, 0, 4 * GIB + 100 * PAGE, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 1);
	expect_entry(&rpl, 0, 4 * GIB + 100 * PAGE, 600, RO);
	list_access(s, 0, 4 * GIB + 700 * PAGE, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 0);
	list_access(s, 0, -1ull, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 0);

	set(s, 0, GPA, SLOT_PAGES, KVMI_PAGE_ACCESS_RWX);
	list_access(s, 0, 0, &rpl);
	TEST_ASSERT_EQ(rpl.access.count, 0);
}

/* More than fits in a message: every other page, and the rest in one piece */
KVMI_TEST(kvmi_list, page_access_goes_on)
{
	struct kvmi_session *s = &self->s;
	int i, page = 0, messages = 0;
	union reply rpl;
	u64 start = 0;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	for (i = 0; i < 1500; i += 2)
		set(s, 0, GPA + i * PAGE, 1, RX);
	set(s, 0, GPA + 1500 * PAGE, SLOT_PAGES - 1500, RO);
	do {
		list_access(s, 0, start, &rpl);
		for (i = 0; i < rpl.access.count; i++) {
			if (page < 1500) {
				expect_entry(&rpl, i, GPA + page * PAGE, 1, RX);
				page += 2;
			} else {
				expect_entry(&rpl, i, GPA + page * PAGE,
					     SLOT_PAGES - 1500, RO);
				page = SLOT_PAGES;
			}
		}
		TEST_ASSERT(!rpl.access.next || rpl.access.next > start,
			    "The list does not end");
		start = rpl.access.next;
		messages++;
	} while (start);
	TEST_ASSERT_EQ(page, SLOT_PAGES);
	TEST_ASSERT(messages > 1, "All is in one message");
}

static int list_bad(struct kvmi_session *s, u16 id, u16 view, u16 as_id,
		    u32 padding)
{
	/* The requests of two commands look the same. */
	struct kvmi_vm_list_page_access req = {
		.view = view, .as_id = as_id, .padding = padding,
	};
	union reply rpl;
	size_t size;

	return list(s, id, &req, sizeof(req), &rpl, &size);
}

KVMI_TEST(kvmi_list, errors)
{
	static const u16 ids[] = {
		KVMI_VM_LIST_PAGE_ACCESS, KVMI_VM_LIST_CHANGED_GFNS,
	};
	struct kvmi_vm_get_vcpus vcpus = { .padding = 1 };
	struct kvmi_session *s = &self->s;
	union reply rpl;
	size_t size;
	int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		if (!kvmi_has_page_access()) {
			TEST_ASSERT_KVMI(list_bad(s, ids[i], 0, 0, 0),
					 -KVM_EOPNOTSUPP);
			continue;
		}
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 0, 0, 0), 0);
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 1, 0, 0), -KVM_EINVAL);
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 0xffff, 0, 0), -KVM_EINVAL);
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 0, 2, 0), -KVM_EINVAL);
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 0, 0xffff, 0), -KVM_EINVAL);
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 0, 0, 0x100), -KVM_EINVAL);
	}
	TEST_ASSERT_KVMI(list(s, KVMI_VM_LIST_VIEWS, NULL, 0, &rpl, &size),
			 kvmi_has_page_access() ? 0 : -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(list(s, KVMI_VM_GET_VCPUS, &vcpus, sizeof(vcpus), &rpl,
			      &size), -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, ids[i]), 0);
		TEST_ASSERT_KVMI(list_bad(s, ids[i], 0, 0, 0), -KVM_EPERM);
	}
}

KVMI_TEST(kvmi_list, changed_gfns)
{
	struct kvmi_session *s = &self->s;
	union reply rpl;
	u16 view;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	view = kvmi_new_view(s, 0);
	list_changed(s, view, 0, &rpl);
	TEST_ASSERT_EQ(rpl.changed.count, 0);
	TEST_ASSERT_EQ(rpl.changed.next, 0);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, view, GPA + PAGE, GPA), 0);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, view, GPA + 9 * PAGE, GPA + PAGE), 0);
	list_changed(s, 0, 0, &rpl);
	TEST_ASSERT_EQ(rpl.changed.count, 0);
	list_changed(s, view, 0, &rpl);
	TEST_ASSERT_EQ(rpl.changed.count, 2);
	TEST_ASSERT_EQ(rpl.changed.next, 0);
	TEST_ASSERT_EQ(rpl.changed.pages[0].gfn, GPA / PAGE + 1);
	TEST_ASSERT_EQ(rpl.changed.pages[0].new_gfn, GPA / PAGE);
	TEST_ASSERT_EQ(rpl.changed.pages[1].gfn, GPA / PAGE + 9);
	TEST_ASSERT_EQ(rpl.changed.pages[1].new_gfn, GPA / PAGE + 1);
	list_changed(s, view, GPA / PAGE + 2, &rpl);
	TEST_ASSERT_EQ(rpl.changed.count, 1);
	TEST_ASSERT_EQ(rpl.changed.pages[0].gfn, GPA / PAGE + 9);
	list_changed(s, view, -1ull, &rpl);
	TEST_ASSERT_EQ(rpl.changed.count, 0);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, view, GPA + PAGE, GPA + PAGE), 0);
	list_changed(s, view, 0, &rpl);
	TEST_ASSERT_EQ(rpl.changed.count, 1);
}

KVMI_TEST(kvmi_list, changed_gfns_go_on)
{
	struct kvmi_session *s = &self->s;
	int i, n = 0, messages = 0;
	union reply rpl;
	u64 start = 0;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	for (i = 0; i < 800; i++)
		TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, GPA + i * PAGE,
						 GPA + 2000 * PAGE), 0);
	do {
		list_changed(s, 0, start, &rpl);
		for (i = 0; i < rpl.changed.count; i++, n++)
			TEST_ASSERT_EQ(rpl.changed.pages[i].gfn, GPA / PAGE + n);
		start = rpl.changed.next;
		messages++;
	} while (start);
	TEST_ASSERT_EQ(n, 800);
	TEST_ASSERT(messages > 1, "All is in one message");
}

KVMI_TEST(kvmi_list, views)
{
	struct kvmi_session *s = &self->s;
	u16 views[3] = { 0 };
	union reply rpl;
	size_t size;
	int i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	views[1] = kvmi_new_view(s, 0);
	views[2] = kvmi_new_view(s, 0);
	park(self);
	TEST_ASSERT_KVMI(kvmi_set_view(s, 0, views[2]), 0);
	TEST_ASSERT_KVMI(list(s, KVMI_VM_LIST_VIEWS, NULL, 0, &rpl, &size), 0);
	TEST_ASSERT_EQ(size, offsetof(struct kvmi_vm_list_views_reply, views[3]));
	TEST_ASSERT_EQ(rpl.views.count, 3);
	TEST_ASSERT_EQ(rpl.views.padding, 0);
	for (i = 0; i < 3; i++) {
		TEST_ASSERT_EQ(rpl.views.views[i].view, views[i]);
		TEST_ASSERT_EQ(rpl.views.views[i].padding, 0);
	}
	TEST_ASSERT_EQ(rpl.views.views[0].nr_vcpus, NR_VCPUS - 1);
	TEST_ASSERT_EQ(rpl.views.views[1].nr_vcpus, 0);
	TEST_ASSERT_EQ(rpl.views.views[2].nr_vcpus, 1);

	TEST_ASSERT_KVMI(kvmi_destroy_view(s, views[1]), 0);
	TEST_ASSERT_KVMI(list(s, KVMI_VM_LIST_VIEWS, NULL, 0, &rpl, &size), 0);
	TEST_ASSERT_EQ(rpl.views.count, 2);
	TEST_ASSERT_EQ(rpl.views.views[1].view, views[2]);
	unpark(self);
}

KVMI_TEST(kvmi_list, vcpus)
{
	const u64 all = BIT_ULL(KVMI_VM_EVENT_UNHOOK) |
			BIT_ULL(KVMI_VCPU_EVENT_CREATE_VCPU);
	struct kvm_mp_state mp = { KVM_MP_STATE_UNINITIALIZED };
	struct kvmi_vm_control_cleanup keep = { };
	struct kvmi_session *s = &self->s;
	union reply rpl;
	u16 view = 0;

	get_vcpus(s, 0, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.count, NR_VCPUS);
	TEST_ASSERT_EQ(rpl.vcpus.cleanup, 1);
	TEST_ASSERT_EQ(rpl.vcpus.events, 0);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[1].vcpu, 1);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[1].flags, KVMI_VCPU_STARTED);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[1].event, 0);

	/* It waits for INIT and SIPI of another one. */
	vcpu_mp_state_set(self->vcpus[1], &mp);
	get_vcpus(s, 0, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].flags, KVMI_VCPU_STARTED);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[1].flags, 0);

	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VCPU_EVENT_CREATE_VCPU, 1), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CONTROL_CLEANUP, &keep, sizeof(keep),
				  NULL, 0), 0);
	if (kvmi_has_page_access())
		view = kvmi_new_view(s, 0);
	park(self);
	if (view)
		TEST_ASSERT_KVMI(kvmi_set_view(s, 0, view), 0);
	get_vcpus(s, 0, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.count, NR_VCPUS);
	TEST_ASSERT_EQ(rpl.vcpus.cleanup, 0);
	TEST_ASSERT_EQ(rpl.vcpus.events, all);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].vcpu, 0);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].view, view);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].flags,
		       KVMI_VCPU_STARTED | KVMI_VCPU_EVENT_OPEN);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].event, KVMI_VCPU_EVENT_PAUSE);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].seq, self->pause.hdr.seq);

	get_vcpus(s, 1, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.count, 1);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].vcpu, 1);
	get_vcpus(s, 2, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.count, 0);
	get_vcpus(s, -1u, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.count, 0);

	unpark(self);
	get_vcpus(s, 0, &rpl);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].flags, KVMI_VCPU_STARTED);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].event, 0);
	TEST_ASSERT_EQ(rpl.vcpus.vcpus[0].seq, 0);
}

static void get_control(struct kvmi_session *s,
			struct kvmi_vcpu_get_control_reply *rpl)
{
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_CONTROL, NULL, 0, rpl,
				       sizeof(*rpl)), 0);
	KVMI_ASSERT_ZERO(rpl->padding);
}

static int nr_bits(const __u64 *words, int nr)
{
	int n = 0;

	while (nr--)
		n += __builtin_popcountll(words[nr]);
	return n;
}

KVMI_TEST(kvmi_list, control)
{
	struct kvmi_vcpu_control_singlestep step = { .enable = 1 };
	struct kvmi_vcpu_get_control_reply rpl;
	struct kvmi_vm_get_features_reply features;
	struct kvmi_session *s = &self->s;

	kvmi_get_features(s, &features);
	park(self);
	get_control(s, &rpl);
	TEST_ASSERT_EQ(rpl.events, 0);
	TEST_ASSERT_EQ(rpl.crs, 0);
	TEST_ASSERT_EQ(rpl.same_crs, 0);
	TEST_ASSERT_EQ(rpl.singlestep, 0);
	TEST_ASSERT_EQ(nr_bits(rpl.msrs, 256), 0);

	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr_flags(s, 0, 3, KVMI_CONTROL_SAME_VALUE), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_LSTAR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr_flags(s, 0, MSR_IA32_SYSENTER_EIP,
						KVMI_CONTROL_SAME_VALUE), 0);
	get_control(s, &rpl);
	TEST_ASSERT_EQ(rpl.events, BIT_ULL(KVMI_VCPU_EVENT_CR) |
				   BIT_ULL(KVMI_VCPU_EVENT_CPUID));
	TEST_ASSERT_EQ(rpl.crs, BIT(3) | BIT(4));
	TEST_ASSERT_EQ(rpl.same_crs, BIT(3));
	TEST_ASSERT_EQ(nr_bits(rpl.msrs, 256), 2);
	TEST_ASSERT_EQ(nr_bits(rpl.same_msrs, 256), 1);
	TEST_ASSERT(rpl.msrs[MSR_IA32_SYSENTER_EIP / 64] &
		    rpl.same_msrs[MSR_IA32_SYSENTER_EIP / 64] &
		    BIT_ULL(MSR_IA32_SYSENTER_EIP % 64), "SYSENTER_EIP is not there");
	TEST_ASSERT(rpl.msrs[128 + (MSR_LSTAR & 0x1fff) / 64] &
		    BIT_ULL(MSR_LSTAR % 64), "LSTAR is not there");

	if (features.flags & KVMI_FEATURE_SINGLESTEP) {
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_SINGLESTEP,
					       &step, sizeof(step), NULL, 0), 0);
		get_control(s, &rpl);
		TEST_ASSERT_EQ(rpl.singlestep, 1);
		step.enable = 0;
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_SINGLESTEP,
					       &step, sizeof(step), NULL, 0), 0);
	}
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CPUID, 0), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 0), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_LSTAR, 0), 0);
	get_control(s, &rpl);
	TEST_ASSERT_EQ(rpl.events, 0);
	TEST_ASSERT_EQ(rpl.crs, BIT(3) | BIT(4));
	TEST_ASSERT_EQ(nr_bits(rpl.msrs, 256), 1);
	TEST_ASSERT_EQ(rpl.singlestep, 0);
	unpark(self);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
