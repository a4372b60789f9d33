// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_SET_PAGE_ACCESS and KVMI_VM_GET_PAGE_ACCESS
 *
 * What the commands accept and remember; kvmi_page_slot_test and kvmi_pf_test
 * look at what the guest notices.
 */
#include "kvmi_test_harness.h"
#include "kvmi_view.h"

#define PAGE		4096ul

/* Two slots side by side, and nothing around them */
#define SLOT		10
#define SLOT_PAGES	16
#define GPA		0x10000000ul
#define NEXT_PAGES	4
#define NEXT_GPA	(GPA + SLOT_PAGES * PAGE)
#define END		(NEXT_GPA + NEXT_PAGES * PAGE)
#define NR_PAGES	(SLOT_PAGES + NEXT_PAGES)
#define READONLY_GPA	0x20000000ul
#define SMM_SLOT	(SLOT | 1 << 16)

#define RWX		KVMI_PAGE_ACCESS_RWX
/* Rights that every host can do */
#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)
#define RW		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W)
#define RO		KVMI_PAGE_ACCESS_R

#define MAX_ADDRESSES							\
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_get_page_access)) /	\
	 sizeof(u64))

struct get_msg {
	struct kvmi_vm_get_page_access hdr;
	u64 gpa[MAX_ADDRESSES];
};

FIXTURE(kvmi_page_access) {
	struct kvm_vm *vm;
	struct kvmi_session s;
	struct kvmi_vm_get_features_reply features;
};

FIXTURE_SETUP(kvmi_page_access)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_barebones();
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, 0);
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, NEXT_GPA,
				    SLOT + 1, NEXT_PAGES, 0);
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, READONLY_GPA,
				    SLOT + 2, 1, KVM_MEM_READONLY);
	kvmi_hook(&self->s, self->vm);
	kvmi_get_features(&self->s, &self->features);
}

FIXTURE_TEARDOWN(kvmi_page_access)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static struct kvmi_page_access_entry entry(int page, u32 npages, u8 access)
{
	return (struct kvmi_page_access_entry) {
		.gpa = GPA + page * PAGE,
		.npages = npages,
		.access = access,
	};
}

/* A list of entries; as many as have an access */
#define SET(s, ...)							\
({									\
	struct kvmi_page_access_entry __list[] = { __VA_ARGS__ };	\
	struct kvmi_page_entries __msg = {				\
		.hdr.count = ARRAY_SIZE(__list),			\
	};								\
									\
	memcpy(__msg.entries, __list, sizeof(__list));			\
	kvmi_set_page_entries(s, &__msg);				\
})

static void get_list(struct kvmi_session *s, u16 as_id, const u64 *gpa, u16 count,
		     u8 *access)
{
	struct get_msg msg = { .hdr.count = count, .hdr.as_id = as_id };

	memcpy(msg.gpa, gpa, count * sizeof(*gpa));
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, &msg,
				  offsetof(struct get_msg, gpa[count]),
				  access, count), 0);
}

static u8 get(struct kvmi_session *s, u64 gpa)
{
	u8 access;

	TEST_ASSERT_KVMI(kvmi_get_page_access(s, 0, gpa, &access), 0);
	return access;
}

/* The rights of all pages, e.g. "777155777..." */
static void expect(struct kvmi_session *s, u16 as_id, const char *wanted)
{
	char found[NR_PAGES + 1] = {};
	u64 gpa[NR_PAGES];
	u8 access[NR_PAGES];
	int i;

	for (i = 0; i < NR_PAGES; i++)
		gpa[i] = GPA + i * PAGE;
	get_list(s, as_id, gpa, NR_PAGES, access);
	for (i = 0; i < NR_PAGES; i++)
		found[i] = access[i] < 10 ? '0' + access[i] : '?';
	TEST_ASSERT(!strcmp(found, wanted), "Access is %s, wanted %s", found,
		    wanted);
}

#define NOTHING_RESTRICTED	"77777777777777777777"

/* What GET_FEATURES promises of the commands is there. */
KVMI_TEST(kvmi_page_access, features)
{
	struct kvmi_vm_get_features_reply *f = &self->features;
	static const u16 commands[] = {
		KVMI_VM_SET_PAGE_ACCESS, KVMI_VM_GET_PAGE_ACCESS,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		TEST_ASSERT(f->commands[commands[i] / 64] &
			    BIT_ULL(commands[i] % 64),
			    "No command %u", commands[i]);
	TEST_ASSERT(f->events & BIT_ULL(KVMI_VCPU_EVENT_PF), "No PF");
	TEST_ASSERT(f->views > 1, "%u views", f->views);

	/* Nested paging has a bit for each; AMD's pages can always be read. */
	TEST_ASSERT(f->access & KVMI_PAGE_ACCESS_W, "No W");
	TEST_ASSERT(f->access & KVMI_PAGE_ACCESS_X, "No X");
	TEST_ASSERT_EQ(!!(f->access & KVMI_PAGE_ACCESS_R), host_cpu_is_intel);
	if (f->flags & KVMI_FEATURE_EXEC_ONLY)
		TEST_ASSERT(f->access & KVMI_PAGE_ACCESS_R, "Only execution");
	TEST_ASSERT_EQ(!!(f->flags & KVMI_FEATURE_USER_EXEC),
		       !!(f->access & KVMI_PAGE_ACCESS_XU));
	TEST_ASSERT_EQ(!!(f->flags & KVMI_FEATURE_USER_EXEC),
		       !!(f->access & KVMI_PAGE_ACCESS_XS));
}

KVMI_TEST(kvmi_page_access, nothing_is_restricted_at_first)
{
	expect(&self->s, 0, NOTHING_RESTRICTED);
	TEST_ASSERT_EQ(get(&self->s, 0), RWX);
	TEST_ASSERT_EQ(get(&self->s, END), RWX);
	TEST_ASSERT_EQ(get(&self->s, READONLY_GPA), RWX);
	TEST_ASSERT_EQ(get(&self->s, -1ul), RWX);
}

/* Does the host know how to leave this? */
static bool is_possible(const struct kvmi_vm_get_features_reply *f, u8 access)
{
	u8 split = KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU;

	if (access & ~(RWX | split))
		return false;
	if (access & split && (!(f->flags & KVMI_FEATURE_USER_EXEC) ||
			       access & KVMI_PAGE_ACCESS_X))
		return false;
	/* Nothing is possible everywhere. */
	if (!access || access & KVMI_PAGE_ACCESS_R)
		return true;
	return !(access & KVMI_PAGE_ACCESS_W) && f->flags & KVMI_FEATURE_EXEC_ONLY;
}

KVMI_TEST(kvmi_page_access, every_combination)
{
	struct kvmi_session *s = &self->s;
	int access, err, found;

	for (access = 0; access < 256; access++) {
		TEST_ASSERT_KVMI(SET(s, entry(0, 1, RX)), 0);
		err = SET(s, entry(0, 1, access));
		found = get(s, GPA);
		if (!is_possible(&self->features, access)) {
			TEST_ASSERT(err == -KVM_EINVAL && found == RX,
				    "0x%x: answered %d, access is 0x%x", access,
				    err, found);
			continue;
		}
		TEST_ASSERT(!err, "0x%x: answered %d", access, err);
		/* Both halves of execution may be told as the whole. */
		if (!(access & (KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU)))
			TEST_ASSERT_EQ(found, access);
	}
}

/* Half of the execution right is remembered as such. */
KVMI_TEST(kvmi_page_access, user_and_supervisor_execution)
{
	static const u8 rights[] = {
		RO | KVMI_PAGE_ACCESS_XS, RW | KVMI_PAGE_ACCESS_XS,
		RO | KVMI_PAGE_ACCESS_XU, RW | KVMI_PAGE_ACCESS_XU,
	};
	int i;

	if (!(self->features.flags & KVMI_FEATURE_USER_EXEC))
		SKIP(return, "No mode-based execute control");

	for (i = 0; i < ARRAY_SIZE(rights); i++) {
		TEST_ASSERT_KVMI(SET(&self->s, entry(0, 1, rights[i])), 0);
		TEST_ASSERT_EQ(get(&self->s, GPA), rights[i]);
	}
}

KVMI_TEST(kvmi_page_access, range)
{
	struct kvmi_session *s = &self->s;

	/* No number of pages, as v12 has it, is one. */
	TEST_ASSERT_KVMI(SET(s, entry(1, 0, RX)), 0);
	expect(s, 0, "75777777777777777777");
	TEST_ASSERT_KVMI(SET(s, entry(3, 1, RO)), 0);
	expect(s, 0, "75717777777777777777");
	TEST_ASSERT_KVMI(SET(s, entry(5, 4, RW)), 0);
	expect(s, 0, "75717333377777777777");
	/* Up to the end of a slot, over the border of slots, and all */
	TEST_ASSERT_KVMI(SET(s, entry(14, 2, RO)), 0);
	expect(s, 0, "75717333377777117777");
	TEST_ASSERT_KVMI(SET(s, entry(15, 2, RX)), 0);
	expect(s, 0, "75717333377777155777");
	TEST_ASSERT_KVMI(SET(s, entry(0, NR_PAGES, RX)), 0);
	expect(s, 0, "55555555555555555555");
	TEST_ASSERT_EQ(get(s, GPA - PAGE), RWX);
	TEST_ASSERT_EQ(get(s, END), RWX);
}

/* A range that ends inside of another, or cuts it in two */
KVMI_TEST(kvmi_page_access, range_in_range)
{
	struct kvmi_session *s = &self->s;

	TEST_ASSERT_KVMI(SET(s, entry(2, 10, RX)), 0);
	TEST_ASSERT_KVMI(SET(s, entry(5, 2, RWX)), 0);
	expect(s, 0, "77555775555577777777");
	TEST_ASSERT_KVMI(SET(s, entry(0, 4, RO)), 0);
	expect(s, 0, "11115775555577777777");
	TEST_ASSERT_KVMI(SET(s, entry(9, 1, RW)), 0);
	expect(s, 0, "11115775535577777777");
	TEST_ASSERT_KVMI(SET(s, entry(11, 4, RW)), 0);
	expect(s, 0, "11115775535333377777");
	TEST_ASSERT_KVMI(SET(s, entry(3, 10, RWX)), 0);
	expect(s, 0, "11177777777773377777");
	TEST_ASSERT_KVMI(SET(s, entry(0, NR_PAGES, RWX)), 0);
	expect(s, 0, NOTHING_RESTRICTED);
}

/* Where in the page the address is does not matter. */
KVMI_TEST(kvmi_page_access, offset_in_page)
{
	struct kvmi_page_access_entry e = entry(2, 2, RX);
	struct kvmi_session *s = &self->s;

	e.gpa += PAGE - 1;
	TEST_ASSERT_KVMI(SET(s, e), 0);
	expect(s, 0, "77557777777777777777");
	TEST_ASSERT_EQ(get(s, GPA + 2 * PAGE - 1), RWX);
	TEST_ASSERT_EQ(get(s, GPA + 2 * PAGE + 1), RX);
	TEST_ASSERT_EQ(get(s, GPA + 4 * PAGE - 1), RX);
}

/* Of entries that overlap the last one counts. */
KVMI_TEST(kvmi_page_access, overlap)
{
	struct kvmi_session *s = &self->s;

	TEST_ASSERT_KVMI(SET(s, entry(0, 1, RX), entry(0, 1, RO)), 0);
	expect(s, 0, "17777777777777777777");
	TEST_ASSERT_KVMI(SET(s, entry(0, 1, RO), entry(0, 1, RX)), 0);
	expect(s, 0, "57777777777777777777");
	TEST_ASSERT_KVMI(SET(s, entry(0, 1, RO), entry(0, 1, RWX)), 0);
	expect(s, 0, NOTHING_RESTRICTED);

	TEST_ASSERT_KVMI(SET(s, entry(0, 8, RX), entry(4, 8, RO),
			     entry(2, 1, RWX), entry(7, 2, RW)), 0);
	expect(s, 0, "55751113311177777777");
	TEST_ASSERT_KVMI(SET(s, entry(0, 12, RO), entry(0, 12, RWX),
			     entry(5, 1, RX), entry(5, 1, RWX)), 0);
	expect(s, 0, NOTHING_RESTRICTED);
}

/* As many entries as fit in a message, one page each */
KVMI_TEST(kvmi_page_access, many_entries)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_page_entries msg = {};
	int i;

	/* Of every page the last entry is one of the last twenty. */
	msg.hdr.count = KVMI_MAX_ENTRIES;
	for (i = 0; i < KVMI_MAX_ENTRIES; i++)
		msg.entries[i] = entry(i % NR_PAGES, 1,
				       i % 2 && i >= KVMI_MAX_ENTRIES - NR_PAGES ? RX : RO);
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	expect(s, 0, "15151515151515151515");
}

KVMI_TEST(kvmi_page_access, no_entries)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_page_entries msg = {};

	TEST_ASSERT_KVMI(SET(s, entry(0, 1, RX)), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	expect(s, 0, "57777777777777777777");
	get_list(s, 0, NULL, 0, NULL);
}

/* As many addresses as fit in a message, in any order, with repetitions */
KVMI_TEST(kvmi_page_access, many_addresses)
{
	struct kvmi_session *s = &self->s;
	u8 access[MAX_ADDRESSES];
	u64 gpa[MAX_ADDRESSES];
	int i;

	TEST_ASSERT_EQ(MAX_ADDRESSES, 1022);
	TEST_ASSERT_KVMI(SET(s, entry(3, 1, RX), entry(6, 2, RO)), 0);
	for (i = 0; i < MAX_ADDRESSES; i++)
		gpa[i] = GPA + (i * 7 % NR_PAGES) * PAGE + i;
	get_list(s, 0, gpa, MAX_ADDRESSES, access);
	for (i = 0; i < MAX_ADDRESSES; i++)
		TEST_ASSERT_EQ(access[i], get(s, gpa[i]));
}

static const struct kvmi_vm_set_page_access bad_headers[] = {
	{ .padding = 1 },
	{ .padding = 0x8000 },
	{ .view = 1 },
	{ .view = 7 },
	{ .view = 0xffff },
	{ .as_id = 2 },
	{ .as_id = 0xffff },
};

KVMI_TEST(kvmi_page_access, header_errors)
{
	struct kvmi_session *s = &self->s;
	struct get_msg get = {};
	struct kvmi_page_entries set = {};
	u8 access;
	int i, count;

	/* What is not there is zero, which is no list. */
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_PAGE_ACCESS, NULL, 0, NULL, 0), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, NULL, 0, NULL, 0), 0);

	/* With an entry and without */
	for (i = 0; i < ARRAY_SIZE(bad_headers); i++) {
		for (count = 0; count < 2; count++) {
			set.hdr = bad_headers[i];
			set.hdr.count = count;
			set.entries[0] = entry(0, 1, RX);
			TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_PAGE_ACCESS, &set,
						  offsetof(struct kvmi_page_entries,
							   entries[count]),
						  NULL, 0), -KVM_EINVAL);

			get.hdr.count = count;
			get.hdr.view = bad_headers[i].view;
			get.hdr.as_id = bad_headers[i].as_id;
			get.hdr.padding = bad_headers[i].padding;
			get.gpa[0] = GPA;
			TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, &get,
						  offsetof(struct get_msg, gpa[count]),
						  &access, count), -KVM_EINVAL);
		}
	}
	expect(s, 0, NOTHING_RESTRICTED);
}

/* One entry that is wrong makes the whole list wrong, and nothing changes. */
KVMI_TEST(kvmi_page_access, entry_errors)
{
	static const struct kvmi_page_access_entry bad[] = {
		{ .gpa = GPA, .access = RX, .padding = { 1, 0, 0 } },
		{ .gpa = GPA, .access = RX, .padding = { 0, 0, 0x80 } },
		/* W without R */
		{ .gpa = GPA, .access = KVMI_PAGE_ACCESS_W },
		{ .gpa = GPA, .access = KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X },
		/* Unknown */
		{ .gpa = GPA, .access = RWX | 0x20 },
		{ .gpa = GPA, .access = RX | 0x80 },
		/* No memory */
		{ .gpa = 0, .access = RX },
		{ .gpa = GPA - 1, .access = RX },
		{ .gpa = END, .access = RX },
		{ .gpa = END, .access = RWX },
		{ .gpa = -1ull, .access = RX },
		{ .gpa = BIT_ULL(52), .access = RX },
		{ .gpa = GPA | BIT_ULL(63), .access = RX },
		/* Not all of it has memory. */
		{ .gpa = GPA - PAGE, .access = RX, .npages = 2 },
		{ .gpa = GPA, .access = RX, .npages = NR_PAGES + 1 },
		{ .gpa = GPA, .access = RX, .npages = -1u },
		{ .gpa = END - 1, .access = RX, .npages = 2 },
		{ .gpa = -PAGE, .access = RX, .npages = 2 },
		{ .gpa = GPA, .access = RX,
		  .npages = (READONLY_GPA - GPA) / PAGE + 1 },
	};
	struct kvmi_session *s = &self->s;
	int i;

	TEST_ASSERT_KVMI(SET(s, entry(2, 2, RO)), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		TEST_ASSERT_KVMI(SET(s, bad[i]), -KVM_EINVAL);
		TEST_ASSERT_KVMI(SET(s, bad[i], entry(1, 4, RX)), -KVM_EINVAL);
		TEST_ASSERT_KVMI(SET(s, entry(1, 4, RX), bad[i]), -KVM_EINVAL);
		TEST_ASSERT_KVMI(SET(s, entry(1, 4, RWX), bad[i],
				     entry(8, 1, RX)), -KVM_EINVAL);
		expect(s, 0, "77117777777777777777");
	}
}

/* What the guest cannot write anyway has rights, too. */
KVMI_TEST(kvmi_page_access, read_only_slot)
{
	struct kvmi_session *s = &self->s;

	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, READONLY_GPA, 1, RO), 0);
	TEST_ASSERT_EQ(get(s, READONLY_GPA), RO);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, READONLY_GPA, 1, RWX), 0);
	TEST_ASSERT_EQ(get(s, READONLY_GPA), RWX);
}

/* An address has its rights in each address space. */
KVMI_TEST(kvmi_page_access, address_spaces)
{
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;
	struct kvmi_page_entries msg = {
		.hdr.count = 1,
		.hdr.as_id = 1,
		.entries[0] = entry(1, 2, RX),
	};

	if (vm_check_cap(vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "No address space for SMM");

	/* There is no memory yet. */
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), -KVM_EINVAL);
	vm_set_user_memory_region(vm, SMM_SLOT, 0, GPA, 8 * PAGE,
				  addr_gpa2hva(vm, GPA));
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	expect(s, 0, NOTHING_RESTRICTED);
	expect(s, 1, "75577777777777777777");

	TEST_ASSERT_KVMI(SET(s, entry(2, 2, RO)), 0);
	expect(s, 0, "77117777777777777777");
	expect(s, 1, "75577777777777777777");

	msg.entries[0].access = RWX;
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	expect(s, 0, "77117777777777777777");
	expect(s, 1, NOTHING_RESTRICTED);
	vm_set_user_memory_region(vm, SMM_SLOT, 0, GPA, 0, NULL);
}

/* Rights belong to addresses, not to the memory that happens to be there. */
KVMI_TEST(kvmi_page_access, slots_come_and_go)
{
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;

	TEST_ASSERT_KVMI(SET(s, entry(15, 3, RX)), 0);
	vm_mem_region_delete(vm, SLOT + 1);
	expect(s, 0, "77777777777777755577");

	/* It takes memory to change them, but not to keep them. */
	TEST_ASSERT_KVMI(SET(s, entry(16, 1, RWX)), -KVM_EINVAL);
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, NEXT_GPA, SLOT + 1,
				    NEXT_PAGES, 0);
	expect(s, 0, "77777777777777755577");

	vm_mem_region_move(vm, SLOT + 1, END + 64 * PAGE);
	expect(s, 0, "77777777777777755577");
	TEST_ASSERT_EQ(get(s, END + 64 * PAGE), RWX);
	vm_mem_region_move(vm, SLOT + 1, NEXT_GPA);
	TEST_ASSERT_KVMI(SET(s, entry(16, 1, RWX)), 0);
	expect(s, 0, "77777777777777757577");
}

/* Nothing is left for the next session, cleanup or not. */
KVMI_TEST(kvmi_page_access, unhook)
{
	struct kvmi_vm_control_cleanup cleanup = {};
	struct kvmi_session *s = &self->s;
	int i;

	for (i = 0; i < 2; i++) {
		cleanup.enable = i;
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CONTROL_CLEANUP, &cleanup,
					  sizeof(cleanup), NULL, 0), 0);
		TEST_ASSERT_KVMI(SET(s, entry(0, NR_PAGES, RX)), 0);
		kvmi_unhook(s);
		kvmi_hook(s, self->vm);
		expect(s, 0, NOTHING_RESTRICTED);
	}
}

/* Each command has its own permission. */
KVMI_TEST(kvmi_page_access, not_allowed)
{
	struct kvmi_session *s = &self->s;
	u8 access;

	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, KVMI_VM_SET_PAGE_ACCESS), 0);
	TEST_ASSERT_KVMI(SET(s, entry(0, 1, RX)), -KVM_EPERM);
	TEST_ASSERT_EQ(get(s, GPA), RWX);

	TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, KVMI_VM_SET_PAGE_ACCESS), 0);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, KVMI_VM_GET_PAGE_ACCESS), 0);
	TEST_ASSERT_KVMI(SET(s, entry(0, 1, RX)), 0);
	TEST_ASSERT_KVMI(kvmi_get_page_access(s, 0, GPA, &access), -KVM_EPERM);
}

/* A list that is not all there ends the session, and changes nothing. */
FIXTURE(kvmi_short_list) {
	struct kvm_vm *vm;
	struct kvmi_session s;
};

FIXTURE_VARIANT(kvmi_short_list) {
	u16 id;
	u16 count;
	size_t size;
};

FIXTURE_VARIANT_ADD(kvmi_short_list, set_nothing) {
	.id = KVMI_VM_SET_PAGE_ACCESS,
	.count = 1,
	.size = offsetof(struct kvmi_page_entries, entries[0]),
};

FIXTURE_VARIANT_ADD(kvmi_short_list, set_part) {
	.id = KVMI_VM_SET_PAGE_ACCESS,
	.count = 2,
	.size = offsetof(struct kvmi_page_entries, entries[2]) - 1,
};

FIXTURE_VARIANT_ADD(kvmi_short_list, set_too_many) {
	.id = KVMI_VM_SET_PAGE_ACCESS,
	.count = KVMI_MAX_ENTRIES + 1,
	.size = sizeof(struct kvmi_page_entries),
};

FIXTURE_VARIANT_ADD(kvmi_short_list, set_most) {
	.id = KVMI_VM_SET_PAGE_ACCESS,
	.count = 0xffff,
	.size = sizeof(struct kvmi_page_entries),
};

FIXTURE_VARIANT_ADD(kvmi_short_list, get_nothing) {
	.id = KVMI_VM_GET_PAGE_ACCESS,
	.count = 1,
	.size = offsetof(struct get_msg, gpa[0]),
};

FIXTURE_VARIANT_ADD(kvmi_short_list, get_part) {
	.id = KVMI_VM_GET_PAGE_ACCESS,
	.count = 2,
	.size = offsetof(struct get_msg, gpa[2]) - 1,
};

FIXTURE_VARIANT_ADD(kvmi_short_list, get_too_many) {
	.id = KVMI_VM_GET_PAGE_ACCESS,
	.count = MAX_ADDRESSES + 1,
	.size = sizeof(struct get_msg),
};

FIXTURE_SETUP(kvmi_short_list)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_barebones();
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, 0);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_short_list)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_short_list, ends_the_session)
{
	union {
		struct kvmi_page_entries set;
		struct get_msg get;
	} msg = {};
	int i;

	if (variant->id == KVMI_VM_SET_PAGE_ACCESS) {
		for (i = 0; i < KVMI_MAX_ENTRIES; i++)
			msg.set.entries[i] = entry(i % SLOT_PAGES, 1, RX);
	}
	/* The number of entries comes first in both. */
	msg.set.hdr.count = variant->count;
	kvmi_send_cmd(&self->s, variant->id, &msg, variant->size);
	kvmi_expect_closed(&self->s);
}

/* Shadow paging */
FIXTURE(kvmi_no_page_access) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

static void guest_code(void)
{
	GUEST_SYNC(0);
}

FIXTURE_SETUP(kvmi_no_page_access)
{
	if (kvmi_has_page_access())
		SKIP(return, "The host has the TDP MMU");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_no_page_access)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_no_page_access, commands)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_page_entries msg = {};
	u8 access;

	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, 0, 1, RX), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, 0, 1, RWX), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_get_page_access(s, 0, 0, &access), -KVM_EOPNOTSUPP);
}

KVMI_TEST(kvmi_no_page_access, features)
{
	struct kvmi_vm_get_features_reply f;

	kvmi_get_features(&self->s, &f);
	TEST_ASSERT_EQ(f.access, 0);
	TEST_ASSERT_EQ(f.views, 0);
	TEST_ASSERT_EQ(f.flags & (KVMI_FEATURE_EXEC_ONLY | KVMI_FEATURE_USER_EXEC), 0);
	TEST_ASSERT(!(f.events & BIT_ULL(KVMI_VCPU_EVENT_PF)), "PF");
	TEST_ASSERT(!(f.events & BIT_ULL(KVMI_VCPU_EVENT_ACCESS)), "ACCESS");
}

KVMI_TEST(kvmi_no_page_access, events)
{
	static const u16 events[] = { KVMI_VCPU_EVENT_PF, KVMI_VCPU_EVENT_ACCESS };
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	kvmi_park(&self->r, s, self->vcpu, &ev);
	for (i = 0; i < ARRAY_SIZE(events); i++)
		TEST_ASSERT_KVMI(kvmi_control_event(s, 0, events[i], 1),
				 -KVM_EOPNOTSUPP);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

#define PTE_GVA		0x30000000ul
#define NR_SWITCHES	6

static u64 *switched_page, *switched_pte;

/* Map one of two pages, in turn, by a write to the page table. */
static void guest_switch_pages(void)
{
	u64 ptes[] = { switched_pte[0], switched_pte[1] };
	int i;

	for (i = 0; i < NR_SWITCHES; i++) {
		WRITE_ONCE(switched_pte[0], ptes[i % 2]);
		set_cr3(get_cr3());
		GUEST_SYNC(READ_ONCE(*switched_page));
	}
}

/*
 * What the guest writes to a page table that KVM shadows has effect.  That KVM syncs
 * the page table, and does not throw it away with a warning, the kernel's log shows.
 */
KVMI_TEST(kvmi_no_page_access, page_table)
{
	struct ucall uc;
	gva_t page;
	gpa_t gpa;
	int i;

	page = vm_alloc_pages(self->vm, 2);
	gpa = addr_hva2gpa(self->vm, vm_get_pte(self->vm, page));
	virt_map(self->vm, PTE_GVA, gpa & -PAGE, 1);
	write_guest_global(self->vm, switched_page, (u64 *)page);
	write_guest_global(self->vm, switched_pte,
			   (u64 *)(PTE_GVA + (gpa & (PAGE - 1))));
	for (i = 0; i < 2; i++)
		*(u64 *)addr_gva2hva(self->vm, page + i * PAGE) = i + 1;

	vcpu_arch_set_entry_point(self->vcpu, guest_switch_pages);
	for (i = 0; i < NR_SWITCHES; i++) {
		kvmi_run_to_sync(&self->s, self->vcpu, &uc);
		TEST_ASSERT_EQ(uc.args[1], i % 2 + 1);
	}
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
