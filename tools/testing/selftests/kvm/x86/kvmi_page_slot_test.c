// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: restricted pages, and what happens to the memory behind them
 *
 * A restriction is one of an address.  It neither gets lost nor gets in the way
 * when slots come and go, when writes are logged, and when the host moves, splits
 * or takes away the memory.
 */
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvmi_test_harness.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X
#define RWX		KVMI_PAGE_ACCESS_RWX

/* Mapped one to one, like the place that the slot moves to */
#define SLOT		10
#define SLOT_PAGES	16
#define GPA		0x10000000ul
#define MOVED_GPA	0x18000000ul
#define PAGE_GPA(n)	(GPA + (n) * PAGE)

/* The page of most tests */
#define P		5

#define HUGE_SLOT	11
#define HUGE_PAGES	512
#define HUGE_GPA	0x20000000ul

enum op {
	READ,
	WRITE,
	/* A function that only returns */
	EXEC,
};

#define RET	0xc3

static struct {
	enum op op;
	u64 addr;
	u64 val;
} todo;

static void guest_code(void)
{
	u64 *p, val;

	for (;;) {
		p = (void *)READ_ONCE(todo.addr);
		val = READ_ONCE(todo.val);
		switch (READ_ONCE(todo.op)) {
		case READ:
			val = READ_ONCE(*p);
			break;
		case WRITE:
			WRITE_ONCE(*p, val);
			break;
		case EXEC:
			((void (*)(void))p)();
			break;
		}
		GUEST_SYNC1(val);
	}
}

FIXTURE(kvmi_page_slot) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u8 *mem;
};

static void enable_pf(struct _test_data_kvmi_page_slot *self)
{
	struct kvmi_event pause;
	struct ucall uc;

	*(u64 *)addr_gva2hva(self->vm, (gva_t)&todo.addr) = (u64)&todo.val;
	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, &pause);
	kvmi_run_wait_sync(&self->r, &uc);
}

static void add_slot(struct kvm_vm *vm)
{
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, 0);
}

FIXTURE_SETUP(kvmi_page_slot)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	add_slot(self->vm);
	virt_map(self->vm, GPA, GPA, SLOT_PAGES);
	virt_map(self->vm, MOVED_GPA, MOVED_GPA, SLOT_PAGES);
	self->mem = addr_gpa2hva(self->vm, GPA);
	kvmi_hook(&self->s, self->vm);
	enable_pf(self);
}

FIXTURE_TEARDOWN(kvmi_page_slot)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* Have the guest do something. */
static void start(struct _test_data_kvmi_page_slot *self, enum op op, u64 addr,
		  u64 val)
{
	todo.op = op;
	todo.addr = addr;
	todo.val = val;
	sync_global_to_guest(self->vm, todo);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
}

/* Without an event.  Returns what was read. */
static u64 do_access(struct _test_data_kvmi_page_slot *self, enum op op, u64 addr,
		     u64 val)
{
	struct ucall uc;

	start(self, op, addr, val);
	kvmi_run_wait_sync(&self->r, &uc);
	return uc.args[0];
}

/* With a PF event, and this answer */
static void do_access_pf(struct _test_data_kvmi_page_slot *self, enum op op,
			 u64 addr, u64 val, u8 action)
{
	static const u8 access[] = { [READ] = R, [WRITE] = W, [EXEC] = X };
	struct kvmi_event ev;
	struct ucall uc;

	start(self, op, addr, val);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, addr);
	TEST_ASSERT_EQ(ev.pf.access, access[op]);
	kvmi_reply(&self->s, &ev, action);
	kvmi_run_wait_sync(&self->r, &uc);
}

static void set_access(struct _test_data_kvmi_page_slot *self, u64 gpa, u32 npages,
		       u8 rights)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, gpa, npages, rights), 0);
}

/* Page P, and no other, asks before it is written. */
static void check_restriction(struct _test_data_kvmi_page_slot *self)
{
	u64 *p = addr_gpa2hva(self->vm, PAGE_GPA(P)), old = *p;

	do_access(self, WRITE, PAGE_GPA(P - 1), 0x11);
	do_access_pf(self, WRITE, PAGE_GPA(P), old + 1, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(*p, old);
	do_access_pf(self, WRITE, PAGE_GPA(P), old + 2, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(*p, old + 2);
	do_access(self, WRITE, PAGE_GPA(P + 1), 0x33);
	TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), old + 2);
}

KVMI_TEST(kvmi_page_slot, restriction)
{
	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);
	check_restriction(self);
}

KVMI_TEST(kvmi_page_slot, deleted_and_created)
{
	int i;

	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);
	for (i = 0; i < 3; i++) {
		vm_mem_region_delete(self->vm, SLOT);
		add_slot(self->vm);
		check_restriction(self);
	}
}

/* It was not in use before. */
KVMI_TEST(kvmi_page_slot, deleted_and_created_before_use)
{
	set_access(self, PAGE_GPA(P), 1, R | X);
	vm_mem_region_delete(self->vm, SLOT);
	add_slot(self->vm);
	check_restriction(self);
}

/* What is remembered of a device must not outlive it. */
KVMI_TEST(kvmi_page_slot, touched_while_deleted)
{
	struct ucall uc;
	int i;

	set_access(self, PAGE_GPA(P), 1, 0);
	for (i = 0; i < 2; i++) {
		vm_mem_region_delete(self->vm, SLOT);
		start(self, READ, PAGE_GPA(P), 0);
		kvmi_run_wait_exit(&self->r, KVM_EXIT_MMIO);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
		kvmi_run_wait_sync(&self->r, &uc);
		add_slot(self->vm);
		do_access_pf(self, READ, PAGE_GPA(P), 0, KVMI_EVENT_ACTION_ALLOW);
	}
}

/* The memory leaves its restrictions behind, and finds others. */
KVMI_TEST(kvmi_page_slot, moved)
{
	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);

	vm_mem_region_move(self->vm, SLOT, MOVED_GPA);
	do_access(self, WRITE, MOVED_GPA + P * PAGE, 0x99);
	TEST_ASSERT_EQ(*(u64 *)(self->mem + P * PAGE), 0x99);
	set_access(self, MOVED_GPA + PAGE, 1, R | X);
	do_access_pf(self, WRITE, MOVED_GPA + PAGE, 0x88, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(*(u64 *)(self->mem + PAGE), 0x88);

	vm_mem_region_move(self->vm, SLOT, GPA);
	do_access(self, WRITE, PAGE_GPA(1), 0x77);
	check_restriction(self);
}

/* Another address of the same memory is another address. */
KVMI_TEST(kvmi_page_slot, alias)
{
	set_access(self, PAGE_GPA(P), 1, R | X);
	vm_set_user_memory_region(self->vm, SLOT + 5, 0, MOVED_GPA,
				  SLOT_PAGES * PAGE, self->mem);
	do_access(self, WRITE, MOVED_GPA + P * PAGE, 0x99);
	TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), 0x99);
	check_restriction(self);
	vm_set_user_memory_region(self->vm, SLOT + 5, 0, MOVED_GPA, 0, NULL);
	check_restriction(self);
}

/* The host's own accesses are not the guest's. */
KVMI_TEST(kvmi_page_slot, tool_and_vmm_write)
{
	struct {
		struct kvmi_vm_write_physical req;
		u64 val;
	} __packed msg = {
		.req = { .gpa = PAGE_GPA(P), .size = sizeof(msg.val) },
		.val = 0x1234,
	};

	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
				  sizeof(msg), NULL, 0), 0);
	TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), 0x1234);
	*(u64 *)(self->mem + P * PAGE) = 0x5678;
	TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), 0x5678);
	check_restriction(self);
}

/* The host takes pages away, and puts others in their place. */
KVMI_TEST(kvmi_page_slot, memory_discarded)
{
	u8 *p = self->mem + P * PAGE;
	void *new;

	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);

	TEST_ASSERT(!madvise(p, PAGE, MADV_DONTNEED), "madvise()");
	TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), 0);
	check_restriction(self);
	/* A write is the first one to find it gone. */
	TEST_ASSERT(!madvise(p, PAGE, MADV_DONTNEED), "madvise()");
	do_access_pf(self, WRITE, PAGE_GPA(P), 0x66, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), 0x66);

	new = mmap(p, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	TEST_ASSERT(new == p, "mmap()");
	check_restriction(self);

	/* To swap, if there is any; else this changes nothing. */
	madvise(p, PAGE, MADV_PAGEOUT);
	check_restriction(self);
}

/* One that cannot be written at all: the VMM's after the tool's say */
KVMI_TEST(kvmi_page_slot, read_only_slot)
{
	struct kvm_run *run = self->vcpu->run;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vm_mem_region_delete(self->vm, SLOT);
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, KVM_MEM_READONLY);
	for (i = 0; i < 2; i++) {
		start(self, WRITE, PAGE_GPA(P), 0x55);
		if (i) {
			kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
			TEST_ASSERT_EQ(ev.pf.access, W);
			kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		}
		kvmi_run_wait_exit(&self->r, KVM_EXIT_MMIO);
		TEST_ASSERT_EQ(run->mmio.phys_addr, PAGE_GPA(P));
		TEST_ASSERT_EQ(run->mmio.is_write, 1);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
		kvmi_run_wait_sync(&self->r, &uc);
		set_access(self, PAGE_GPA(P), 1, R | X);
	}
	do_access_pf(self, WRITE, PAGE_GPA(P), 0x55, KVMI_EVENT_ACTION_SKIP);
}

static u64 dirty_pages(struct kvm_vm *vm)
{
	u64 bitmap = 0;

	kvm_vm_get_dirty_log(vm, SLOT, &bitmap);
	return bitmap;
}

/* A write is logged when it was done, each time. */
static void check_log(struct _test_data_kvmi_page_slot *self)
{
	u64 gpa = PAGE_GPA(P);
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	dirty_pages(self->vm);
	for (i = 0; i < 3; i++) {
		do_access_pf(self, WRITE, gpa, i, KVMI_EVENT_ACTION_SKIP);
		TEST_ASSERT_EQ(dirty_pages(self->vm), 0);
		do_access_pf(self, WRITE, gpa, i, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P));
		do_access(self, READ, gpa, 0);
		TEST_ASSERT_EQ(dirty_pages(self->vm), 0);
		do_access(self, WRITE, gpa + PAGE, i);
		TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P + 1));
	}

	/* The right is given back with the event open. */
	start(self, WRITE, gpa, 0x77);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
	set_access(self, gpa, 1, RWX);
	TEST_ASSERT_EQ(dirty_pages(self->vm), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P));
	do_access(self, WRITE, gpa, 0x78);
	TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P));
	set_access(self, gpa, 1, R | X);
}

KVMI_TEST(kvmi_page_slot, dirty_log)
{
	int i;

	set_access(self, PAGE_GPA(P), 1, R | X);
	for (i = 0; i < 2; i++) {
		check_restriction(self);
		vm_mem_region_set_flags(self->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
		check_log(self);
		check_restriction(self);
		vm_mem_region_set_flags(self->vm, SLOT, 0);
	}
	check_restriction(self);
}

/* With the log on before there is a restriction */
KVMI_TEST(kvmi_page_slot, restricted_while_logged)
{
	vm_mem_region_set_flags(self->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	do_access(self, WRITE, PAGE_GPA(P), 1);
	do_access(self, WRITE, PAGE_GPA(P + 1), 1);
	TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P) | BIT(P + 1));
	set_access(self, PAGE_GPA(P), 1, R | X);
	check_log(self);
}

KVMI_TEST(kvmi_page_slot, dirty_log_with_event_off)
{
	struct kvmi_event pause;
	struct ucall uc;
	int i;

	set_access(self, PAGE_GPA(P), 1, R | X);
	vm_mem_region_set_flags(self->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	dirty_pages(self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 0), 0);
	kvmi_unpark(&self->s, &pause);
	kvmi_run_wait_sync(&self->r, &uc);
	for (i = 0; i < 3; i++) {
		do_access(self, WRITE, PAGE_GPA(P), i);
		TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P));
		TEST_ASSERT_EQ(do_access(self, READ, PAGE_GPA(P), 0), i);
		TEST_ASSERT_EQ(dirty_pages(self->vm), 0);
	}
}

/* Userspace says when pages are to be logged again. */
KVMI_TEST(kvmi_page_slot, dirty_log_cleared_by_hand)
{
	u64 all = BIT(SLOT_PAGES) - 1;
	int i;

	vm_enable_cap(self->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
		      KVM_DIRTY_LOG_INITIALLY_SET);
	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);
	vm_mem_region_set_flags(self->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	TEST_ASSERT_EQ(dirty_pages(self->vm), all);
	check_restriction(self);
	for (i = 0; i < 3; i++) {
		kvm_vm_clear_dirty_log(self->vm, SLOT, &all, 0, SLOT_PAGES);
		TEST_ASSERT_EQ(dirty_pages(self->vm), 0);
		do_access_pf(self, WRITE, PAGE_GPA(P), i, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(dirty_pages(self->vm), BIT(P));
	}
	check_restriction(self);
}

KVMI_TEST(kvmi_page_slot, unhook)
{
	set_access(self, PAGE_GPA(P), 1, R | X);
	check_restriction(self);
	kvmi_unhook(&self->s);
	self->s.fd = -1;
	do_access(self, WRITE, PAGE_GPA(P), 0x99);
	TEST_ASSERT_EQ(*(u64 *)(self->mem + P * PAGE), 0x99);
	kvmi_hook(&self->s, self->vm);
	enable_pf(self);
	do_access(self, WRITE, PAGE_GPA(P), 0x9a);
	TEST_ASSERT_EQ(*(u64 *)(self->mem + P * PAGE), 0x9a);
}

/* Memory that the host has in one piece of 2M */
FIXTURE(kvmi_page_huge) {
	struct _test_data_kvmi_page_slot slot;
};

static u64 huge_pages(struct _test_data_kvmi_page_slot *self)
{
	return vm_get_stat(self->vm, pages_2m);
}

FIXTURE_SETUP(kvmi_page_huge)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;
	u64 before;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (!thp_configured())
		SKIP(return, "No transparent huge pages");

	slot->vm = vm_create_with_one_vcpu(&slot->vcpu, guest_code);
	vm_userspace_mem_region_add(slot->vm, VM_MEM_SRC_ANONYMOUS_THP, HUGE_GPA,
				    HUGE_SLOT, HUGE_PAGES, 0);
	virt_map(slot->vm, HUGE_GPA, HUGE_GPA, HUGE_PAGES);
	slot->mem = addr_gpa2hva(slot->vm, HUGE_GPA);
	memset(slot->mem, 0x3c, HUGE_PAGES * PAGE);
	kvmi_hook(&slot->s, slot->vm);
	enable_pf(slot);
	before = huge_pages(slot);
	do_access(slot, WRITE, HUGE_GPA, 1);
	if (huge_pages(slot) == before)
		SKIP(return, "The host has not got the memory in one piece");
}

FIXTURE_TEARDOWN(kvmi_page_huge)
{
	kvmi_unhook(&self->slot.s);
	kvm_vm_free(self->slot.vm);
}

/* One page is taken out, and put back. */
KVMI_TEST(kvmi_page_huge, one_page)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;
	u64 whole = huge_pages(slot);
	int i;

	for (i = 0; i < 2; i++) {
		set_access(slot, HUGE_GPA + P * PAGE, 1, R | X);
		do_access(slot, WRITE, HUGE_GPA + (P + 1) * PAGE, 2);
		do_access(slot, WRITE, HUGE_GPA, 2);
		do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 2, KVMI_EVENT_ACTION_ALLOW);
		TEST_ASSERT_EQ(*(u64 *)(slot->mem + P * PAGE), 2);
		do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 3, KVMI_EVENT_ACTION_SKIP);
		TEST_ASSERT_EQ(do_access(slot, READ, HUGE_GPA + P * PAGE, 0), 2);

		set_access(slot, HUGE_GPA + P * PAGE, 1, RWX);
		do_access(slot, WRITE, HUGE_GPA + P * PAGE, 4);
		do_access(slot, WRITE, HUGE_GPA + PAGE, 4);
		TEST_ASSERT(huge_pages(slot) >= whole, "%lu of %lu are whole again",
			    huge_pages(slot), whole);
	}
}

/*
 * Where pages of 2M are not executable those that can be nothing but executed have no
 * rights left, so there are none.
 */
KVMI_TEST(kvmi_page_huge, execute_only)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;
	struct kvm_pre_fault_memory range = {
		.gpa = HUGE_GPA,
		.size = HUGE_PAGES * PAGE,
	};
	struct kvmi_vm_get_features_reply features;
	u64 whole;

	kvmi_get_features(&slot->s, &features);
	if (!(features.flags & KVMI_FEATURE_EXEC_ONLY))
		SKIP(return, "What can be executed can be read");

	set_access(slot, HUGE_GPA, HUGE_PAGES, X);
	whole = huge_pages(slot);
	while (range.size)
		vcpu_ioctl(slot->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	TEST_ASSERT_EQ(huge_pages(slot), whole + !get_kvm_param_bool("nx_huge_pages"));
	slot->mem[P * PAGE] = RET;
	do_access(slot, EXEC, HUGE_GPA + P * PAGE, 0);
	do_access_pf(slot, READ, HUGE_GPA + P * PAGE, 0, KVMI_EVENT_ACTION_ALLOW);
	do_access_pf(slot, READ, HUGE_GPA + (P + 1) * PAGE, 0, KVMI_EVENT_ACTION_ALLOW);
	do_access_pf(slot, WRITE, HUGE_GPA + (P + 1) * PAGE, 0, KVMI_EVENT_ACTION_SKIP);
}

/* A page of 2M with one right for all of it stays one. */
KVMI_TEST(kvmi_page_huge, all_of_it)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;
	u64 whole = huge_pages(slot);

	set_access(slot, HUGE_GPA, HUGE_PAGES, R | X);
	do_access(slot, READ, HUGE_GPA, 0);
	TEST_ASSERT_EQ(huge_pages(slot), whole);
	do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 2, KVMI_EVENT_ACTION_ALLOW);
	do_access_pf(slot, WRITE, HUGE_GPA + 511 * PAGE, 2, KVMI_EVENT_ACTION_SKIP);
	do_access(slot, READ, HUGE_GPA + P * PAGE, 0);
	TEST_ASSERT(huge_pages(slot) >= whole, "%lu of %lu are whole",
		    huge_pages(slot), whole);

	/* All but one page */
	set_access(slot, HUGE_GPA + P * PAGE, 1, RWX);
	do_access(slot, WRITE, HUGE_GPA + P * PAGE, 3);
	do_access_pf(slot, WRITE, HUGE_GPA + (P + 1) * PAGE, 3, KVMI_EVENT_ACTION_ALLOW);
	do_access_pf(slot, WRITE, HUGE_GPA + (P - 1) * PAGE, 3, KVMI_EVENT_ACTION_ALLOW);
}

/* The host splits it. */
KVMI_TEST(kvmi_page_huge, split_by_the_host)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;

	set_access(slot, HUGE_GPA, HUGE_PAGES, R | X);
	do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 2, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT(!madvise(slot->mem + P * PAGE, PAGE, MADV_DONTNEED), "madvise()");
	TEST_ASSERT_EQ(do_access(slot, READ, HUGE_GPA + P * PAGE, 0), 0);
	do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 2, KVMI_EVENT_ACTION_SKIP);
	do_access_pf(slot, WRITE, HUGE_GPA + (P + 1) * PAGE, 2, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(do_access(slot, READ, HUGE_GPA + (P + 1) * PAGE, 0), 2);
}

/* Logging splits it as well, and the log has single pages. */
KVMI_TEST(kvmi_page_huge, dirty_log)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;
	u64 bitmap[HUGE_PAGES / 64];

	set_access(slot, HUGE_GPA, HUGE_PAGES, R | X);
	do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 2, KVMI_EVENT_ACTION_ALLOW);
	vm_mem_region_set_flags(slot->vm, HUGE_SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	kvm_vm_get_dirty_log(slot->vm, HUGE_SLOT, bitmap);
	do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 3, KVMI_EVENT_ACTION_ALLOW);
	do_access_pf(slot, WRITE, HUGE_GPA + 3 * PAGE, 3, KVMI_EVENT_ACTION_SKIP);
	kvm_vm_get_dirty_log(slot->vm, HUGE_SLOT, bitmap);
	TEST_ASSERT_EQ(bitmap[0], BIT(P));
	vm_mem_region_set_flags(slot->vm, HUGE_SLOT, 0);
	do_access_pf(slot, WRITE, HUGE_GPA + P * PAGE, 4, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(do_access(slot, READ, HUGE_GPA + P * PAGE, 0), 4);
}

#define NX_HUGE_PAGES	"/sys/module/kvm/parameters/nx_huge_pages"

static void set_nx_huge_pages(const char *value)
{
	int fd = open(NX_HUGE_PAGES, O_WRONLY);

	TEST_ASSERT(fd >= 0 && write(fd, value, strlen(value)) > 0, "%s",
		    NX_HUGE_PAGES);
	close(fd);
}

/* KVM makes small pages of it for them to be executable: those that may be. */
KVMI_TEST(kvmi_page_huge, nx_huge_pages)
{
	struct _test_data_kvmi_page_slot *slot = &self->slot;
	char old[] = "N";
	u64 before;
	int fd;

	fd = open(NX_HUGE_PAGES, O_RDONLY);
	if (fd < 0 || read(fd, old, 1) != 1 || access(NX_HUGE_PAGES, W_OK))
		SKIP(return, "%s cannot be changed", NX_HUGE_PAGES);
	close(fd);

	slot->mem[0] = RET;
	slot->mem[PAGE] = RET;
	set_access(slot, HUGE_GPA, HUGE_PAGES, R | W);
	set_nx_huge_pages("force");
	before = huge_pages(slot);
	do_access(slot, READ, HUGE_GPA, 0);
	TEST_ASSERT(huge_pages(slot) > before, "The mapping is not huge");

	set_access(slot, HUGE_GPA, 1, RWX);
	do_access(slot, EXEC, HUGE_GPA, 0);
	do_access_pf(slot, EXEC, HUGE_GPA + PAGE, 0, KVMI_EVENT_ACTION_ALLOW);
	do_access_pf(slot, EXEC, HUGE_GPA + PAGE, 0, KVMI_EVENT_ACTION_ALLOW);
	set_nx_huge_pages(old);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
