// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: commands about the VM as a whole, i.e. KVMI_VM_GET_FEATURES,
 * KVMI_VM_GET_MAX_GFN, KVMI_VM_GET_MEMSLOTS, KVMI_VM_PAUSE_ALL, KVMI_VM_SHUTDOWN
 * and KVMI_VM_CONTROL_CLEANUP
 */
#include "kvmi_test_harness.h"

#define PAGE		4096ul

/* Slots that fit in a reply */
#define MAX_SLOTS	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) - \
			  sizeof(struct kvmi_vm_get_memslots_reply)) /	\
			 sizeof(struct kvmi_memslot))

/* Pauses that may be outstanding */
#define MAX_PAUSES	1001

/* How often a vCPU is stopped and the VM unhooked */
#define SHUTDOWN_ROUNDS	100

#define FIRST_SLOT	10
#define SLOT_GPA	0x100000000ul

static u64 stop;

static void guest_code(void)
{
	for (;;)
		GUEST_SYNC(0);
}

static void guest_code_spin(void)
{
	while (!READ_ONCE(stop))
		cpu_relax();
	GUEST_SYNC(0);
}

static void guest_code_halt(void)
{
	asm volatile("cli; hlt");
	GUEST_FAIL("The guest went on after HLT");
}

/* Write all that a session can choose: two control registers and an MSR. */
static void guest_code_write(void)
{
	u64 cr3 = get_cr3();

	for (;;) {
		set_cr4(get_cr4() ^ X86_CR4_PGE);
		/* PCD of the page tables, for there to be another value */
		cr3 ^= 0x10;
		set_cr3(cr3);
		wrmsr(MSR_LSTAR, rdmsr(MSR_LSTAR) ^ 0x1000);
		GUEST_SYNC(0);
	}
}

FIXTURE(kvmi_vm) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_vm)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_vm)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* Is it an event that some hosts cannot have? */
static bool is_optional_event(int id)
{
	return id == KVMI_VCPU_EVENT_DESCRIPTOR || id == KVMI_VCPU_EVENT_PF ||
	       id == KVMI_VCPU_EVENT_SINGLESTEP || id == KVMI_VCPU_EVENT_ACCESS;
}

/* The same answers as from the commands that ask for one. */
KVMI_TEST(kvmi_vm, features)
{
	int address_spaces = vm_check_cap(self->vm, KVM_CAP_MULTI_ADDRESS_SPACE);
	struct kvmi_vm_get_features_reply rpl;
	struct kvmi_session *s = &self->s;
	int id;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_FEATURES, NULL, 0, &rpl,
				  sizeof(rpl)), 0);

	for (id = 0; id < 256; id++) {
		bool known = rpl.commands[id / 64] & BIT_ULL(id % 64);

		TEST_ASSERT_KVMI(kvmi_check_command(s, id),
				 known ? 0 : -KVM_ENOENT);
	}
	/* What the host has not got is missing, known though it is. */
	for (id = 0; id < 64; id++) {
		if (rpl.events & BIT_ULL(id))
			TEST_ASSERT_KVMI(kvmi_check_event(s, id), 0);
		else if (!is_optional_event(id))
			TEST_ASSERT_KVMI(kvmi_check_event(s, id), -KVM_ENOENT);
	}
	TEST_ASSERT(rpl.events & BIT_ULL(KVMI_VM_EVENT_UNHOOK), "No UNHOOK");
	TEST_ASSERT(rpl.events & BIT_ULL(KVMI_VCPU_EVENT_PAUSE), "No PAUSE");

	TEST_ASSERT_EQ(rpl.actions, 0xf);
	TEST_ASSERT_EQ(rpl.address_spaces, max(address_spaces, 1));
}

#define PAGE_ACCESS_USER_EXEC	(KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU)

/* What is said of access to pages and of single-stepping, in more than one way */
KVMI_TEST(kvmi_vm, features_of_the_host)
{
	struct kvmi_vm_get_features_reply rpl;
	struct kvmi_get_version_reply version;
	struct kvmi_session *s = &self->s;
	u32 flags = KVMI_FEATURE_SINGLESTEP | KVMI_FEATURE_SAME_VALUE |
		    KVMI_FEATURE_REPLY_FLAGS | KVMI_FEATURE_RULES;

	kvmi_get_features(s, &rpl);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, NULL, 0, &version,
				  sizeof(version)), 0);
	TEST_ASSERT_EQ(!!(rpl.flags & KVMI_FEATURE_SINGLESTEP),
		       !!(rpl.events & BIT_ULL(KVMI_VCPU_EVENT_SINGLESTEP)));
	TEST_ASSERT_EQ(!!(rpl.flags & KVMI_FEATURE_SINGLESTEP),
		       version.features.singlestep);

	if (rpl.access) {
		TEST_ASSERT_EQ(rpl.access & ~(KVMI_PAGE_ACCESS_RWX |
					      PAGE_ACCESS_USER_EXEC), 0);
		TEST_ASSERT_EQ(rpl.access & KVMI_PAGE_ACCESS_W, KVMI_PAGE_ACCESS_W);
		TEST_ASSERT_EQ(rpl.access & KVMI_PAGE_ACCESS_X, KVMI_PAGE_ACCESS_X);
		TEST_ASSERT_EQ(rpl.access & PAGE_ACCESS_USER_EXEC,
			       rpl.flags & KVMI_FEATURE_USER_EXEC ?
			       PAGE_ACCESS_USER_EXEC : 0);
		flags |= KVMI_FEATURE_USER_EXEC;
		if (rpl.access & KVMI_PAGE_ACCESS_R)
			flags |= KVMI_FEATURE_EXEC_ONLY;
	}
	TEST_ASSERT_EQ(rpl.flags & ~flags, 0);
	TEST_ASSERT_EQ(rpl.flags & KVMI_FEATURE_SAME_VALUE,
		       KVMI_FEATURE_SAME_VALUE);
	TEST_ASSERT_EQ(rpl.flags & KVMI_FEATURE_REPLY_FLAGS,
		       KVMI_FEATURE_REPLY_FLAGS);
	TEST_ASSERT_EQ(rpl.flags & KVMI_FEATURE_RULES, KVMI_FEATURE_RULES);
	TEST_ASSERT_EQ(rpl.views, rpl.access ? 7 : 0);
	TEST_ASSERT_EQ(!!(rpl.events & BIT_ULL(KVMI_VCPU_EVENT_PF)), !!rpl.access);
	TEST_ASSERT_EQ(!!(rpl.events & BIT_ULL(KVMI_VCPU_EVENT_ACCESS)), !!rpl.access);
}

/* An event that is offered can be turned on, one that is not cannot. */
KVMI_TEST(kvmi_vm, features_and_control_events)
{
	struct kvmi_vm_get_features_reply rpl;
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int id, err;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_FEATURES, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	for (id = 1; id < 64; id += 2) {
		if (id == KVMI_VCPU_EVENT_CREATE_VCPU)
			continue;
		err = kvmi_control_event(s, 0, id, 1);
		if (rpl.events & BIT_ULL(id))
			TEST_ASSERT(!err, "Event %d: answered %d", id, err);
		else if (is_optional_event(id))
			TEST_ASSERT_EQ(err, -KVM_EOPNOTSUPP);
		else
			TEST_ASSERT(err == -KVM_EINVAL,
				    "Event %d: answered %d", id, err);
		if (!err)
			TEST_ASSERT_KVMI(kvmi_control_event(s, 0, id, 0), 0);
	}
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* What the VMM forbids is known all the same. */
KVMI_TEST(kvmi_vm, features_do_not_depend_on_permission)
{
	struct kvmi_vm_get_features_reply all, rpl;
	struct kvmi_session *s = &self->s;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_FEATURES, NULL, 0, &all,
				  sizeof(all)), 0);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, -1), 0);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, -1), 0);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, KVMI_VM_GET_FEATURES), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_FEATURES, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT(!memcmp(&all, &rpl, sizeof(all)), "Other features");
}

static u64 max_gfn(struct kvmi_session *s)
{
	struct kvmi_vm_get_max_gfn_reply rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_MAX_GFN, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	return rpl.gfn;
}

/* The end of what the test itself has set up */
static u64 end_of_memory(struct kvm_vm *vm)
{
	struct userspace_mem_region *region;
	u64 end = 0;
	int i;

	hash_for_each(vm->regions.slot_hash, i, region, slot_node)
		end = max_t(u64, end, region->region.guest_phys_addr +
				      region->region.memory_size);
	return end / PAGE;
}

KVMI_TEST(kvmi_vm, max_gfn)
{
	struct kvm_vm *vm = self->vm;
	u64 end;

	end = end_of_memory(vm);
	TEST_ASSERT_EQ(max_gfn(&self->s), end);

	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, SLOT_GPA,
				    FIRST_SLOT, 3, 0);
	TEST_ASSERT_EQ(max_gfn(&self->s), SLOT_GPA / PAGE + 3);
	vm_mem_region_move(vm, FIRST_SLOT, 4 * SLOT_GPA);
	TEST_ASSERT_EQ(max_gfn(&self->s), 4 * SLOT_GPA / PAGE + 3);

	/* A hole is no end, and below the end nothing changes it. */
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, SLOT_GPA,
				    FIRST_SLOT + 1, 3, 0);
	TEST_ASSERT_EQ(max_gfn(&self->s), 4 * SLOT_GPA / PAGE + 3);
	vm_mem_region_delete(vm, FIRST_SLOT);
	TEST_ASSERT_EQ(max_gfn(&self->s), SLOT_GPA / PAGE + 3);
	vm_mem_region_delete(vm, FIRST_SLOT + 1);
	TEST_ASSERT_EQ(max_gfn(&self->s), end);
}

KVMI_TEST(kvmi_vm, max_gfn_of_smm)
{
	void *mem = addr_gpa2hva(self->vm, 0);

	if (vm_check_cap(self->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "No address space for SMM");

	vm_set_user_memory_region(self->vm, FIRST_SLOT | 1 << 16, 0, SLOT_GPA,
				  PAGE, mem);
	TEST_ASSERT_EQ(max_gfn(&self->s), SLOT_GPA / PAGE + 1);
	vm_set_user_memory_region(self->vm, FIRST_SLOT | 1 << 16, 0, SLOT_GPA,
				  0, NULL);
	TEST_ASSERT_EQ(max_gfn(&self->s), end_of_memory(self->vm));
}

KVMI_TEST(kvmi_vm, max_gfn_without_memory)
{
	struct kvmi_vm_get_memslots_reply slots;
	struct kvmi_vm_get_memslots req = {};
	struct kvmi_session s;
	struct kvm_vm *vm;

	vm = vm_create_barebones();
	kvmi_hook(&s, vm);
	TEST_ASSERT_EQ(max_gfn(&s), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(&s, KVMI_VM_GET_MEMSLOTS, &req, sizeof(req),
				  &slots, sizeof(slots)), 0);
	TEST_ASSERT_EQ(slots.nr_slots, 0);
	kvmi_unhook(&s);
	kvm_vm_free(vm);
}

struct memslots {
	struct kvmi_vm_get_memslots_reply rpl;
	struct kvmi_memslot slots[MAX_SLOTS];
};

/* Returns the number of slots in the reply, which must be this. */
static void get_memslots(struct kvmi_session *s, u16 as_id, u16 start,
			 struct memslots *out, u32 nr)
{
	struct kvmi_vm_get_memslots req = { .as_id = as_id, .start = start };

	TEST_ASSERT(nr <= MAX_SLOTS, "%u slots in a reply", nr);
	memset(out, 0xff, sizeof(*out));
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_MEMSLOTS, &req, sizeof(req),
				  out, sizeof(out->rpl) +
				       nr * sizeof(out->slots[0])), 0);
}

static u32 memory_cookie(struct kvmi_session *s)
{
	struct kvmi_vm_read_physical req = {
		.gpa = 0,
		.size = 1,
		.flags = KVMI_MEM_COOKIE,
	};
	struct {
		struct kvmi_mem_cookie cookie;
		u8 data;
	} __packed rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req),
				  &rpl, sizeof(rpl)), 0);
	return rpl.cookie.cookie;
}

/* As the VM has them, sorted; returns how many */
static int own_memslots(struct kvm_vm *vm, struct kvmi_memslot *slots)
{
	struct userspace_mem_region *region;
	int i, n, nr = 0;

	hash_for_each(vm->regions.slot_hash, i, region, slot_node) {
		struct kvmi_memslot slot = {
			.gfn = region->region.guest_phys_addr / PAGE,
			.npages = region->region.memory_size / PAGE,
			.flags = region->region.flags & KVM_MEM_READONLY ?
				 KVMI_MEMSLOT_READONLY : 0,
		};

		for (n = nr++; n && slots[n - 1].gfn > slot.gfn; n--)
			slots[n] = slots[n - 1];
		slots[n] = slot;
	}
	return nr;
}

/* All of them, none of KVM's own, in the order of their addresses */
static void assert_memslots(struct kvmi_session *s)
{
	struct kvmi_memslot wanted[MAX_SLOTS];
	int i, nr = own_memslots(s->vm, wanted);
	struct memslots slots;

	for (i = 0; i <= nr; i++) {
		get_memslots(s, 0, i, &slots, nr - i);
		TEST_ASSERT_EQ(slots.rpl.nr_slots, nr);
		TEST_ASSERT_EQ(slots.rpl.cookie, memory_cookie(s));
		TEST_ASSERT(!memcmp(slots.slots, wanted + i,
				    (nr - i) * sizeof(wanted[0])),
			    "Other slots from %d on", i);
	}
	get_memslots(s, 0, nr + 1, &slots, 0);
	get_memslots(s, 0, 0xffff, &slots, 0);
}

KVMI_TEST(kvmi_vm, memslots)
{
	struct kvm_vm *vm = self->vm;
	struct kvmi_session *s = &self->s;

	assert_memslots(s);

	/* Ids are in another order than addresses. */
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, 2 * SLOT_GPA,
				    FIRST_SLOT, 3, 0);
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, SLOT_GPA,
				    FIRST_SLOT + 1, 5, KVM_MEM_LOG_DIRTY_PAGES);
	if (kvm_has_cap(KVM_CAP_READONLY_MEM))
		vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS,
					    SLOT_GPA + 5 * PAGE, FIRST_SLOT + 2,
					    7, KVM_MEM_READONLY);
	assert_memslots(s);

	vm_mem_region_move(vm, FIRST_SLOT, SLOT_GPA - 3 * PAGE);
	assert_memslots(s);
	vm_mem_region_delete(vm, FIRST_SLOT + 1);
	assert_memslots(s);
}

/* As many as fit: the rest is asked for again. */
KVMI_TEST(kvmi_vm, memslots_limit)
{
	struct kvmi_memslot wanted[MAX_SLOTS + 1];
	void *mem = addr_gpa2hva(self->vm, 0);
	struct kvmi_session *s = &self->s;
	struct memslots slots;
	int i, own;

	TEST_ASSERT_EQ(MAX_SLOTS, 340);
	own = own_memslots(self->vm, wanted);
	for (i = own; i < MAX_SLOTS; i++)
		vm_set_user_memory_region(self->vm, FIRST_SLOT + i, 0,
					  SLOT_GPA + i * PAGE, PAGE, mem);
	get_memslots(s, 0, 0, &slots, MAX_SLOTS);
	TEST_ASSERT_EQ(slots.rpl.nr_slots, MAX_SLOTS);

	vm_set_user_memory_region(self->vm, FIRST_SLOT + i, 0,
				  SLOT_GPA + i * PAGE, PAGE, mem);
	get_memslots(s, 0, 0, &slots, MAX_SLOTS);
	TEST_ASSERT_EQ(slots.rpl.nr_slots, MAX_SLOTS + 1);
	for (i = own; i < MAX_SLOTS; i++)
		TEST_ASSERT_EQ(slots.slots[i].gfn, SLOT_GPA / PAGE + i);
	get_memslots(s, 0, 1, &slots, MAX_SLOTS);
	get_memslots(s, 0, MAX_SLOTS, &slots, 1);
	TEST_ASSERT_EQ(slots.rpl.nr_slots, MAX_SLOTS + 1);
	TEST_ASSERT_EQ(slots.slots[0].gfn, SLOT_GPA / PAGE + MAX_SLOTS);
	TEST_ASSERT_EQ(slots.slots[0].npages, 1);

	for (i = own; i <= MAX_SLOTS; i++)
		vm_set_user_memory_region(self->vm, FIRST_SLOT + i, 0,
					  SLOT_GPA + i * PAGE, 0, NULL);
}

KVMI_TEST(kvmi_vm, memslots_of_smm)
{
	void *mem = addr_gpa2hva(self->vm, 0);
	struct kvmi_session *s = &self->s;
	struct memslots slots;

	if (vm_check_cap(self->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "No address space for SMM");

	get_memslots(s, 1, 0, &slots, 0);
	TEST_ASSERT_EQ(slots.rpl.nr_slots, 0);
	vm_set_user_memory_region(self->vm, FIRST_SLOT | 1 << 16, 0, SLOT_GPA,
				  PAGE, mem);
	get_memslots(s, 1, 0, &slots, 1);
	TEST_ASSERT_EQ(slots.slots[0].gfn, SLOT_GPA / PAGE);
	assert_memslots(s);
	vm_set_user_memory_region(self->vm, FIRST_SLOT | 1 << 16, 0, SLOT_GPA,
				  0, NULL);
}

KVMI_TEST(kvmi_vm, memslots_errors)
{
	static const struct kvmi_vm_get_memslots bad[] = {
		{ .padding = 1 },
		{ .padding = 0x80000000 },
		{ .as_id = 2 },
		{ .as_id = 0xffff },
		{ .as_id = 2, .start = 0xffff },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_GET_MEMSLOTS, &bad[i],
					  sizeof(bad[i]), NULL, 0), -KVM_EINVAL);
}

static int pause_all(struct kvmi_session *s, u8 wait, u32 *count)
{
	struct kvmi_vm_pause_all req = { .wait = wait };
	struct kvmi_vm_pause_all_reply rpl;
	int err;

	err = kvmi_cmd(s, KVMI_VM_PAUSE_ALL, &req, sizeof(req), &rpl,
		       sizeof(rpl));
	if (!err) {
		TEST_ASSERT_EQ(rpl.padding, 0);
		*count = rpl.count;
	}
	return err;
}

/* One event for each vCPU, whatever it does */
KVMI_TEST(kvmi_vm, pause_all)
{
	struct kvm_vcpu *vcpus[3] = { self->vcpu };
	struct kvmi_runner r[3];
	struct kvmi_event ev[3];
	struct ucall uc;
	int i, wait, n;
	u32 count;

	vcpus[1] = vm_vcpu_add(self->vm, 1, guest_code_spin);
	vcpus[2] = vm_vcpu_add(self->vm, 2, guest_code);
	kvmi_run_start(&r[1], &self->s, vcpus[1]);

	for (wait = 0; wait < 2; wait++) {
		bool seen[3] = {};

		TEST_ASSERT_KVMI(pause_all(&self->s, wait, &count), 0);
		TEST_ASSERT_EQ(count, 3);
		/* Two are in userspace, and owe it. */
		for (i = 0; i < 3; i += 2)
			kvmi_run_start(&r[i], &self->s, vcpus[i]);
		for (i = 0; i < 3; i++) {
			kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev[i]);
			n = ev[i].common.vcpu;
			TEST_ASSERT(n < 3 && !seen[n], "vCPU %d again", n);
			seen[n] = true;
		}
		for (i = 0; i < 3; i++)
			kvmi_unpark(&self->s, &ev[i]);
		for (i = 0; i < 3; i += 2)
			kvmi_run_wait_sync(&r[i], &uc);
	}

	write_guest_global(self->vm, stop, 1);
	kvmi_run_wait_sync(&r[1], &uc);
}

KVMI_TEST(kvmi_vm, pause_all_errors)
{
	static const struct kvmi_vm_pause_all bad[] = {
		{ .wait = 2 },
		{ .wait = 255 },
		{ .padding = { 1 } },
		{ .padding = { [6] = 0x80 } },
	};
	struct kvmi_session *s = &self->s;
	struct ucall uc;
	int i, allow;
	u32 count;

	for (allow = 1; allow >= 0; allow--) {
		TEST_ASSERT_EQ(__kvmi_event(self->vm, allow,
					    KVMI_VCPU_EVENT_PAUSE), 0);
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_PAUSE_ALL, &bad[i],
						  sizeof(bad[i]), NULL, 0),
					 -KVM_EINVAL);
	}
	TEST_ASSERT_KVMI(pause_all(s, 0, &count), -KVM_EPERM);
	TEST_ASSERT_KVMI(pause_all(s, 1, &count), -KVM_EPERM);

	/* None of them paused anything. */
	kvmi_run_to_sync(s, self->vcpu, &uc);
}

/* A vCPU that owes too many is left out; there is an error if all are. */
KVMI_TEST(kvmi_vm, pause_all_limit)
{
	struct kvm_vcpu *other = vm_vcpu_add(self->vm, 1, guest_code);
	struct kvmi_event ev;
	struct ucall uc;
	u32 count;
	int i;

	for (i = 0; i < MAX_PAUSES - 1; i++)
		TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_KVMI(pause_all(&self->s, 0, &count), 0);
	TEST_ASSERT_EQ(count, 2);
	for (i = 1; i < MAX_PAUSES; i++) {
		TEST_ASSERT_KVMI(pause_all(&self->s, i & 1, &count), 0);
		TEST_ASSERT_EQ(count, 1);
	}
	TEST_ASSERT_KVMI(pause_all(&self->s, 0, &count), -KVM_EBUSY);
	TEST_ASSERT_KVMI(pause_all(&self->s, 1, &count), -KVM_EBUSY);

	kvmi_run_start(&self->r, &self->s, other);
	for (i = 0; i < MAX_PAUSES; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
		TEST_ASSERT_EQ(ev.common.vcpu, 1);
		kvmi_unpark(&self->s, &ev);
	}
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_KVMI(pause_all(&self->s, 0, &count), 0);
	TEST_ASSERT_EQ(count, 1);
}

static void shut_down(struct kvmi_session *s)
{
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SHUTDOWN, NULL, 0, NULL, 0), 0);
	/* The reply comes first, the vCPUs have been told when this one comes. */
	TEST_ASSERT_KVMI(kvmi_check_command(s, KVMI_VM_SHUTDOWN), 0);
}

static void assert_shut_down(struct kvmi_session *s, struct kvm_vcpu *vcpu)
{
	struct kvmi_runner r;
	int i;

	for (i = 0; i < 2; i++) {
		vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&r, s, vcpu);
		kvmi_run_wait_exit(&r, KVM_EXIT_INTROSPECTION);
	}
}

static void wait_until_blocked(struct kvm_vcpu *vcpu)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;

	while (!vcpu_get_stat(vcpu, blocking)) {
		TEST_ASSERT(time(NULL) < end, "The vCPU does not halt");
		sched_yield();
	}
}

/* In the guest, in HLT, waiting for a start-up IPI, and in userspace */
KVMI_TEST(kvmi_vm, shutdown)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	struct kvm_vcpu *vcpus[4] = { self->vcpu };
	struct kvmi_runner r[4];
	struct ucall uc;
	int i;

	vcpus[1] = vm_vcpu_add(self->vm, 1, guest_code_spin);
	vcpus[2] = vm_vcpu_add(self->vm, 2, guest_code_halt);
	vcpus[3] = vm_vcpu_add(self->vm, 3, guest_code);
	vcpu_mp_state_set(vcpus[3], &mp);
	for (i = 1; i < 4; i++)
		kvmi_run_start(&r[i], &self->s, vcpus[i]);
	wait_until_blocked(vcpus[2]);
	wait_until_blocked(vcpus[3]);

	shut_down(&self->s);
	for (i = 1; i < 4; i++)
		kvmi_run_wait_exit(&r[i], KVM_EXIT_INTROSPECTION);
	for (i = 0; i < 4; i++)
		assert_shut_down(&self->s, vcpus[i]);

	/* That is the session's doing, and ends with it. */
	kvmi_unhook(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	kvmi_hook(&self->s, self->vm);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

/* Unhooking when a vCPU has stopped does not overtake the reply. */
KVMI_TEST(kvmi_vm, shutdown_then_unhook)
{
	struct kvm_vcpu *other = vm_vcpu_add(self->vm, 1, guest_code_spin);
	struct kvmi_session *s = &self->s;
	u32 seq;
	int i;

	for (i = 0; i < SHUTDOWN_ROUNDS; i++) {
		/* Whoever waits does not look at what the tool gets. */
		kvmi_run_start(&self->r, NULL, other);
		seq = kvmi_send_cmd(s, KVMI_VM_SHUTDOWN, NULL, 0);
		kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
		TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VM_SHUTDOWN, seq,
						 NULL, 0), 0);
		kvmi_close(s);
		kvmi_hook(s, self->vm);
	}
}

/* A vCPU that waits for an answer stops when it has got it. */
KVMI_TEST(kvmi_vm, shutdown_in_an_event)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	shut_down(&self->s);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	TEST_ASSERT(kvmi_run_is_going(&self->r), "It did not wait");
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	assert_shut_down(&self->s, self->vcpu);
}

/* The tool can still look at what it has stopped, but no event is sent. */
KVMI_TEST(kvmi_vm, shutdown_then_commands)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_vcpu_get_info_reply rpl;
	struct kvmi_session *s = &self->s;
	u32 seq;

	shut_down(s);
	shut_down(s);
	TEST_ASSERT_KVMI(kvmi_pause(s, 0, 1), 0);
	seq = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	/* The vCPU runs but for a moment: the command has to be there. */
	kvmi_get_features(s, &features);
	kvmi_run_start(&self->r, s, self->vcpu);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_GET_INFO, seq, &rpl,
					 sizeof(rpl)), 0);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
}

/* Those that come later are not concerned. */
KVMI_TEST(kvmi_vm, shutdown_then_another_vcpu)
{
	struct kvm_vcpu *other;
	struct ucall uc;

	shut_down(&self->s);
	other = vm_vcpu_add(self->vm, 1, guest_code);
	kvmi_run_to_sync(&self->s, other, &uc);
	assert_shut_down(&self->s, self->vcpu);
}

/* It survives the tool. */
KVMI_TEST(kvmi_vm, shutdown_then_close)
{
	shut_down(&self->s);
	kvmi_close(&self->s);
	assert_shut_down(NULL, self->vcpu);
}

static int control_cleanup(struct kvmi_session *s, u8 enable)
{
	struct kvmi_vm_control_cleanup req = { .enable = enable };

	return kvmi_cmd(s, KVMI_VM_CONTROL_CLEANUP, &req, sizeof(req), NULL, 0);
}

KVMI_TEST(kvmi_vm, cleanup_errors)
{
	static const struct kvmi_vm_control_cleanup bad[] = {
		{ .enable = 2 },
		{ .enable = 255 },
		{ .padding = { 1 } },
		{ .enable = 1, .padding = { [6] = 0x80 } },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_CONTROL_CLEANUP,
					  &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 1), 0);
}

/* Choose the registers, turn the events on if asked to, and run to the end. */
static void choose(struct _test_data_kvmi_vm *self, u8 enable, bool events)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_park(&self->r, s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 3, enable), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, enable), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_LSTAR, enable), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, events), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_MSR, events), 0);
	kvmi_unpark(s, &ev);

	if (events && enable) {
		kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
		kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
		kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(s, KVMI_VCPU_EVENT_MSR, &ev);
		kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Turn the events on, without saying about which registers. */
static void turn_on(struct _test_data_kvmi_vm *self)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;

	kvmi_park(&self->r, s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
	kvmi_unpark(s, &ev);
}

static void expect_nothing_chosen(struct _test_data_kvmi_vm *self)
{
	struct ucall uc;

	turn_on(self);
	kvmi_run_wait_sync(&self->r, &uc);
}

static void expect_all_chosen(struct _test_data_kvmi_vm *self)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;

	turn_on(self);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.cr, 4);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.cr, 3);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.msr, MSR_LSTAR);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
}

static void hook_again(struct _test_data_kvmi_vm *self)
{
	struct ucall uc;

	kvmi_unhook(&self->s);
	/* The guest writes the registers, and nobody is asked. */
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	kvmi_hook(&self->s, self->vm);
}

KVMI_TEST(kvmi_vm, cleanup_by_default)
{
	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	choose(self, 1, true);
	hook_again(self);
	expect_nothing_chosen(self);
}

KVMI_TEST(kvmi_vm, cleanup_turned_off_and_on)
{
	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	choose(self, 1, true);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 1), 0);
	hook_again(self);
	expect_nothing_chosen(self);
}

KVMI_TEST(kvmi_vm, no_cleanup)
{
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	choose(self, 1, true);

	/* The choice survives, the events are off. */
	hook_again(self);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	expect_all_chosen(self);

	/* Not the choice of no cleanup. */
	hook_again(self);
	expect_nothing_chosen(self);
}

/* Whoever comes next can take the choice back, and pass that on. */
KVMI_TEST(kvmi_vm, no_cleanup_of_nothing)
{
	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	choose(self, 1, false);
	hook_again(self);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	choose(self, 0, true);
	hook_again(self);
	expect_nothing_chosen(self);
}

/* The guest runs all the time, and feels the intercepts of the next session. */
KVMI_TEST(kvmi_vm, no_cleanup_of_a_tool_that_closes)
{
	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	choose(self, 1, false);
	kvmi_close(&self->s);
	hook_again(self);
	expect_all_chosen(self);
}

/* All else ends: events, pauses, queued commands, the crash. */
KVMI_TEST(kvmi_vm, no_cleanup_of_the_rest)
{
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	choose(self, 1, true);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_send_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	shut_down(&self->s);
	kvmi_unhook(&self->s);
	kvmi_hook(&self->s, self->vm);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

/* A HOOK that fails is no session: the one after it finds the choice. */
KVMI_TEST(kvmi_vm, no_cleanup_then_failing_hook)
{
	struct kvm_sregs sregs;
	bool svm = kvm_cpu_has(X86_FEATURE_SVM);

	if (!svm && !kvm_cpu_has(X86_FEATURE_VMX))
		SKIP(return, "No nested virtualization, which makes HOOK fail");

	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	TEST_ASSERT_KVMI(control_cleanup(&self->s, 0), 0);
	choose(self, 1, false);
	kvmi_unhook(&self->s);

	vcpu_sregs_get(self->vcpu, &sregs);
	if (svm)
		sregs.efer ^= EFER_SVME;
	else
		sregs.cr4 ^= X86_CR4_VMXE;
	vcpu_sregs_set(self->vcpu, &sregs);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EBUSY);
	if (svm)
		sregs.efer ^= EFER_SVME;
	else
		sregs.cr4 ^= X86_CR4_VMXE;
	vcpu_sregs_set(self->vcpu, &sregs);

	kvmi_hook(&self->s, self->vm);
	expect_all_chosen(self);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
