// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_READ_PHYSICAL and KVMI_VM_WRITE_PHYSICAL
 */
#include <sys/mman.h>

#include "kvmi_test_harness.h"

#define PAGE		4096ul

/* Bytes that fit in a reply, and in a request, both with a cookie. */
#define MAX_READ	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) - \
			 sizeof(struct kvmi_mem_cookie))
#define MAX_WRITE	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_write_physical) - \
			 sizeof(struct kvmi_mem_cookie))

/* Guest memory of the tests' own: slots with a hole behind each pair. */
#define SLOT_A		10
#define SLOT_B		11
#define SLOT_C		12
#define SLOT_PAGES	4
#define GPA_A		0x10000000ul
#define GPA_B		(GPA_A + SLOT_PAGES * PAGE)
#define GPA_HOLE	(GPA_B + SLOT_PAGES * PAGE)
#define GPA_C		(GPA_A + 0x1000000ul)

static u64 guest_data = 0x1111;

static void guest_code(void)
{
	for (;;)
		GUEST_SYNC1(READ_ONCE(guest_data));
}

FIXTURE(kvmi_memory) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u8 *a;
	u8 *b;
	u8 buf[KVMI_MAX_MSG_SIZE];
};

static u8 *add_slot(struct kvm_vm *vm, u32 slot, u64 gpa, u32 flags)
{
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, gpa, slot,
				    SLOT_PAGES, flags);
	return addr_gpa2hva(vm, gpa);
}

static void fill(u8 *p, size_t size, u8 seed)
{
	while (size--)
		*p++ = seed += 37;
}

FIXTURE_SETUP(kvmi_memory)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	self->a = add_slot(self->vm, SLOT_A, GPA_A, 0);
	self->b = add_slot(self->vm, SLOT_B, GPA_B, 0);
	fill(self->a, SLOT_PAGES * PAGE, 1);
	fill(self->b, SLOT_PAGES * PAGE, 2);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_memory)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static int do_read(struct kvmi_session *s, u64 gpa, u16 size, u16 as_id,
		   void *buf)
{
	struct kvmi_vm_read_physical req = {
		.gpa = gpa,
		.size = size,
		.as_id = as_id,
	};

	return kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req), buf, size);
}

static int read_gpa(struct kvmi_session *s, u64 gpa, u16 size, void *buf)
{
	return do_read(s, gpa, size, 0, buf);
}

static int read_cookie(struct kvmi_session *s, u64 gpa, u16 size, void *buf,
		       u32 *cookie)
{
	struct kvmi_vm_read_physical req = {
		.gpa = gpa,
		.size = size,
		.flags = KVMI_MEM_COOKIE,
	};
	struct {
		struct kvmi_mem_cookie cookie;
		u8 data[KVMI_MAX_MSG_SIZE];
	} rpl;
	int err;

	err = kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req), &rpl,
		       sizeof(rpl.cookie) + size);
	if (!err) {
		TEST_ASSERT_EQ(rpl.cookie.padding, 0);
		*cookie = rpl.cookie.cookie;
		memcpy(buf, rpl.data, size);
	}
	return err;
}

static u32 get_cookie(struct kvmi_session *s)
{
	u32 cookie;
	u8 byte;

	TEST_ASSERT_KVMI(read_cookie(s, GPA_A, 1, &byte, &cookie), 0);
	return cookie;
}

struct write_msg {
	struct kvmi_vm_write_physical req;
	u8 data[KVMI_MAX_MSG_SIZE];
};

static int write_gpa(struct kvmi_session *s, u64 gpa, u16 size, const void *buf)
{
	struct write_msg msg = { .req = { .gpa = gpa, .size = size } };

	memcpy(msg.data, buf, size);
	return kvmi_cmd(s, KVMI_VM_WRITE_PHYSICAL, &msg, sizeof(msg.req) + size,
			NULL, 0);
}

static int write_cookie(struct kvmi_session *s, u64 gpa, u16 size,
			const void *buf, u32 cookie)
{
	struct kvmi_mem_cookie mc = { .cookie = cookie };
	struct write_msg msg = {
		.req = { .gpa = gpa, .size = size, .flags = KVMI_MEM_COOKIE },
	};

	memcpy(msg.data, &mc, sizeof(mc));
	memcpy(msg.data + sizeof(mc), buf, size);
	return kvmi_cmd(s, KVMI_VM_WRITE_PHYSICAL, &msg,
			sizeof(msg.req) + sizeof(mc) + size, NULL, 0);
}

#define ASSERT_SAME(a, b, size)						\
	TEST_ASSERT(!memcmp(a, b, size), "%s and %s differ", #a, #b)

KVMI_TEST(kvmi_memory, read_within_a_page)
{
	static const struct {
		u16 offset;
		u16 size;
	} reads[] = {
		{ 0, 1 }, { 4095, 1 }, { 1, 4095 }, { 0, 4096 }, { 123, 457 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(reads); i++) {
		memset(self->buf, 0, sizeof(self->buf));
		TEST_ASSERT_KVMI(read_gpa(&self->s, GPA_A + PAGE + reads[i].offset,
					  reads[i].size, self->buf), 0);
		ASSERT_SAME(self->buf, self->a + PAGE + reads[i].offset,
			    reads[i].size);
	}
}

KVMI_TEST(kvmi_memory, write_within_a_page)
{
	static const struct {
		u16 offset;
		u16 size;
	} writes[] = {
		{ 0, 1 }, { 4095, 1 }, { 1, 4095 }, { 0, 4096 }, { 123, 457 },
	};
	u8 wanted[SLOT_PAGES * PAGE];
	int i;

	memcpy(wanted, self->a, sizeof(wanted));
	for (i = 0; i < ARRAY_SIZE(writes); i++) {
		fill(self->buf, sizeof(self->buf), 100 + i);
		TEST_ASSERT_KVMI(write_gpa(&self->s, GPA_A + PAGE + writes[i].offset,
					   writes[i].size, self->buf), 0);
		memcpy(wanted + PAGE + writes[i].offset, self->buf,
		       writes[i].size);
		/* This much and no more. */
		ASSERT_SAME(self->a, wanted, sizeof(wanted));
	}
}

/* Without a cookie a range stays within one page, as in version 12. */
KVMI_TEST(kvmi_memory, page_crossing_needs_a_cookie)
{
	u8 before[2 * PAGE];
	u32 cookie;

	memcpy(before, self->a, sizeof(before));
	TEST_ASSERT_KVMI(read_gpa(&self->s, GPA_A + 4095, 2, self->buf),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(read_gpa(&self->s, GPA_A + 1, 4096, self->buf),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(read_gpa(&self->s, GPA_A, 4097, self->buf),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(write_gpa(&self->s, GPA_A + 4095, 2, self->buf),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(write_gpa(&self->s, GPA_A + 1, 4096, self->buf),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(write_gpa(&self->s, GPA_A, 4097, self->buf),
			 -KVM_EINVAL);
	ASSERT_SAME(self->a, before, sizeof(before));

	TEST_ASSERT_KVMI(read_cookie(&self->s, GPA_A + 4095, 2, self->buf,
				     &cookie), 0);
	ASSERT_SAME(self->buf, self->a + 4095, 2);
}

KVMI_TEST(kvmi_memory, span_of_pages_and_slots)
{
	u64 start = GPA_B - MAX_READ / 2;
	u32 cookie;
	u8 *p;

	/* The end of slot A and the beginning of B */
	TEST_ASSERT_KVMI(read_cookie(&self->s, start, MAX_READ, self->buf,
				     &cookie), 0);
	p = self->a + (start - GPA_A);
	ASSERT_SAME(self->buf, p, GPA_B - start);
	ASSERT_SAME(self->buf + (GPA_B - start), self->b,
		    MAX_READ - (GPA_B - start));

	start = GPA_B - 5000;
	fill(self->buf, MAX_WRITE, 77);
	TEST_ASSERT_KVMI(write_cookie(&self->s, start, MAX_WRITE, self->buf,
				      cookie), 0);
	p = self->a + (start - GPA_A);
	ASSERT_SAME(self->buf, p, 5000);
	ASSERT_SAME(self->buf + 5000, self->b, MAX_WRITE - 5000);
}

KVMI_TEST(kvmi_memory, sizes)
{
	struct kvmi_session *s = &self->s;
	u32 cookie;

	TEST_ASSERT_KVMI(read_gpa(s, GPA_A, 0, self->buf), -KVM_EINVAL);
	TEST_ASSERT_KVMI(write_gpa(s, GPA_A, 0, self->buf), -KVM_EINVAL);
	TEST_ASSERT_KVMI(read_cookie(s, GPA_A, 0, self->buf, &cookie),
			 -KVM_EINVAL);

	TEST_ASSERT_KVMI(read_cookie(s, GPA_A, MAX_READ, self->buf, &cookie), 0);
	TEST_ASSERT_KVMI(read_cookie(s, GPA_A, MAX_READ + 1, self->buf, &cookie),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(read_cookie(s, GPA_A, 0xffff, self->buf, &cookie),
			 -KVM_EINVAL);

	TEST_ASSERT_KVMI(write_cookie(s, GPA_A, 0, self->buf, cookie),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(write_cookie(s, GPA_A, MAX_WRITE, self->buf, cookie), 0);
}

KVMI_TEST(kvmi_memory, bad_requests)
{
	static const struct kvmi_vm_read_physical bad[] = {
		{ .size = 1, .gpa = GPA_A, .padding = 1 },
		{ .size = 1, .gpa = GPA_A, .padding = 0x8000 },
		{ .size = 1, .gpa = GPA_A, .flags = 4 },
		{ .size = 1, .gpa = GPA_A, .flags = 0x8000 },
		{ .size = 1, .gpa = GPA_A, .flags = KVMI_MEM_COOKIE | 4 },
		{ .size = 1, .gpa = GPA_A, .as_id = 2 },
		{ .size = 1, .gpa = GPA_A, .as_id = 0xffff },
		/* In a hole as well: what is wrong with the request comes first. */
		{ .size = 1, .gpa = GPA_HOLE, .padding = 1 },
		{ .size = 0, .gpa = GPA_HOLE },
	};
	static const struct kvmi_vm_read_physical compare = {
		.size = 1,
		.gpa = GPA_A,
		.flags = KVMI_MEM_COMPARE,
	};
	struct write_msg msg = {};
	u8 before[16];
	int i;

	memcpy(before, self->a, sizeof(before));
	/* Only a write compares. */
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_READ_PHYSICAL, &compare,
				  sizeof(compare), NULL, 0), -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_READ_PHYSICAL,
					  &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);
		memcpy(&msg, &bad[i], sizeof(bad[i]));
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL,
					  &msg, sizeof(msg.req) + 16, NULL, 0),
				 -KVM_EINVAL);
	}
	ASSERT_SAME(self->a, before, sizeof(before));
}

/* What KVM has put into the guest's address space is no memory of the guest's. */
KVMI_TEST(kvmi_memory, slots_of_kvm)
{
	u64 apic = 0xfee00000;

	/* Where hardware accelerates the APIC, but not in x2APIC mode */
	vcpu_run(self->vcpu);
	TEST_ASSERT_KVMI(read_gpa(&self->s, apic, 1, self->buf), -KVM_ENOENT);
	TEST_ASSERT_KVMI(write_gpa(&self->s, apic, 1, self->buf), -KVM_ENOENT);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, apic, 1, 0),
			 kvmi_has_page_access() ? -KVM_EINVAL : -KVM_EOPNOTSUPP);
}

/* The padding of a cookie is padding, too. */
KVMI_TEST(kvmi_memory, cookie_padding)
{
	struct kvmi_mem_cookie mc = {
		.cookie = get_cookie(&self->s),
		.padding = 1,
	};
	struct write_msg msg = {
		.req = { .gpa = GPA_A, .size = 1, .flags = KVMI_MEM_COOKIE },
	};
	u8 before = *self->a;

	memcpy(msg.data, &mc, sizeof(mc));
	msg.data[sizeof(mc)] = ~before;
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
				  sizeof(msg.req) + sizeof(mc) + 1, NULL, 0),
			 -KVM_EINVAL);
	TEST_ASSERT_EQ(*self->a, before);
}

KVMI_TEST(kvmi_memory, smm_address_space)
{
	struct write_msg msg = {
		.req = { .gpa = GPA_A, .size = 1, .as_id = 1 },
	};
	u8 byte;

	if (vm_check_cap(self->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "No address space for SMM");

	/* There, but nothing is in it. */
	TEST_ASSERT_KVMI(do_read(&self->s, GPA_A, 1, 1, &byte), -KVM_ENOENT);

	vm_set_user_memory_region(self->vm, SLOT_C | 1 << 16, 0, GPA_A,
				  PAGE, self->b);
	TEST_ASSERT_KVMI(do_read(&self->s, GPA_A, 1, 1, &byte), 0);
	TEST_ASSERT_EQ(byte, *self->b);
	TEST_ASSERT_KVMI(do_read(&self->s, GPA_A, 1, 0, &byte), 0);
	TEST_ASSERT_EQ(byte, *self->a);

	byte = ~*self->b;
	msg.data[0] = byte;
	TEST_ASSERT(byte != *self->a, "The address spaces look alike");
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
				  sizeof(msg.req) + 1, NULL, 0), 0);
	TEST_ASSERT_EQ(*self->b, byte);
	TEST_ASSERT(*self->a != byte, "Written to the wrong address space");
	vm_set_user_memory_region(self->vm, SLOT_C | 1 << 16, 0, GPA_A, 0, NULL);
}

KVMI_TEST(kvmi_memory, hole)
{
	static const u64 nothing[] = {
		GPA_HOLE, GPA_HOLE + PAGE - 1, GPA_A - 1, 1ul << 45, 1ul << 52,
		~0ul - 1, ~0ul,
	};
	struct kvmi_session *s = &self->s;
	u8 before[PAGE];
	u32 cookie;
	int i;

	cookie = get_cookie(s);
	for (i = 0; i < ARRAY_SIZE(nothing); i++) {
		TEST_ASSERT_KVMI(read_gpa(s, nothing[i], 1, self->buf),
				 -KVM_ENOENT);
		TEST_ASSERT_KVMI(write_gpa(s, nothing[i], 1, self->buf),
				 -KVM_ENOENT);
		TEST_ASSERT_KVMI(write_cookie(s, nothing[i], 1, self->buf, cookie),
				 -KVM_ENOENT);
	}

	/* A range that goes from memory into the hole transfers nothing. */
	memcpy(before, self->b + 3 * PAGE, PAGE);
	memset(self->buf, 0xee, sizeof(self->buf));
	TEST_ASSERT_KVMI(read_cookie(s, GPA_HOLE - PAGE, PAGE + 1, self->buf,
				     &cookie), -KVM_ENOENT);
	TEST_ASSERT_KVMI(write_cookie(s, GPA_HOLE - PAGE, PAGE + 1, self->buf,
				      cookie), -KVM_ENOENT);
	ASSERT_SAME(self->b + 3 * PAGE, before, PAGE);
	TEST_ASSERT_KVMI(write_cookie(s, GPA_HOLE - PAGE, PAGE, self->buf,
				      cookie), 0);
	ASSERT_SAME(self->b + 3 * PAGE, self->buf, PAGE);
}

/* Addresses do not go round at the end. */
KVMI_TEST(kvmi_memory, wraparound)
{
	u32 cookie = get_cookie(&self->s);
	u8 first;
	int err;

	memcpy(&first, addr_gpa2hva(self->vm, 0), 1);
	memset(self->buf, ~first, 32);
	err = write_cookie(&self->s, -16ul, 32, self->buf, cookie);
	TEST_ASSERT(err == -KVM_EINVAL || err == -KVM_ENOENT, "Answered %d", err);
	err = read_cookie(&self->s, -16ul, 32, self->buf, &cookie);
	TEST_ASSERT(err == -KVM_EINVAL || err == -KVM_ENOENT, "Answered %d", err);
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(self->vm, 0), first);
}

/* Memory that the VMM has not got itself. */
KVMI_TEST(kvmi_memory, not_backed)
{
	struct kvmi_session *s = &self->s;
	u8 before[PAGE];
	u32 cookie;

	memcpy(before, self->a, PAGE);
	TEST_ASSERT(!mprotect(self->a + PAGE, PAGE, PROT_NONE), "mprotect()");

	TEST_ASSERT_KVMI(read_gpa(s, GPA_A + PAGE, 1, self->buf), -KVM_ENOENT);
	TEST_ASSERT_KVMI(write_gpa(s, GPA_A + PAGE, 1, self->buf), -KVM_ENOENT);

	cookie = get_cookie(s);
	memset(self->buf, 0xee, 2 * PAGE - 100);
	TEST_ASSERT_KVMI(write_cookie(s, GPA_A, PAGE + 1, self->buf, cookie),
			 -KVM_ENOENT);
	ASSERT_SAME(self->a, before, PAGE);
	TEST_ASSERT_KVMI(read_cookie(s, GPA_A, PAGE + 1, self->buf, &cookie),
			 -KVM_ENOENT);

	TEST_ASSERT(!mprotect(self->a + PAGE, PAGE, PROT_READ), "mprotect()");
	TEST_ASSERT_KVMI(read_gpa(s, GPA_A + PAGE, 1, self->buf), 0);
	TEST_ASSERT_KVMI(write_gpa(s, GPA_A + PAGE, 1, self->buf), -KVM_ENOENT);
	TEST_ASSERT(!mprotect(self->a + PAGE, PAGE, PROT_READ | PROT_WRITE),
		    "mprotect()");
	TEST_ASSERT_KVMI(write_gpa(s, GPA_A + PAGE, 1, self->buf), 0);
}

KVMI_TEST(kvmi_memory, read_only_slot)
{
	struct kvmi_session *s = &self->s;
	u8 before[PAGE];
	u32 cookie;
	u8 *c;

	if (!kvm_has_cap(KVM_CAP_READONLY_MEM))
		SKIP(return, "No read-only slots");

	c = add_slot(self->vm, SLOT_C, GPA_C, KVM_MEM_READONLY);
	fill(c, PAGE, 9);
	memcpy(before, c, PAGE);

	TEST_ASSERT_KVMI(read_cookie(s, GPA_C, PAGE, self->buf, &cookie), 0);
	ASSERT_SAME(self->buf, c, PAGE);

	memset(self->buf, 0xee, PAGE);
	TEST_ASSERT_KVMI(write_gpa(s, GPA_C, PAGE, self->buf), -KVM_ENOENT);
	TEST_ASSERT_KVMI(write_cookie(s, GPA_C, PAGE, self->buf, cookie),
			 -KVM_ENOENT);
	ASSERT_SAME(before, c, PAGE);
}

KVMI_TEST(kvmi_memory, cookie_is_current)
{
	u32 cookie = get_cookie(&self->s);
	struct kvmi_event ev;
	struct ucall uc;

	fill(self->buf, PAGE, 3);
	TEST_ASSERT_KVMI(write_cookie(&self->s, GPA_A, PAGE, self->buf, cookie), 0);
	ASSERT_SAME(self->a, self->buf, PAGE);

	/* Reading, writing and running the guest do not age it. */
	TEST_ASSERT_EQ(get_cookie(&self->s), cookie);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_EQ(ev.common.cookie, cookie);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(get_cookie(&self->s), cookie);
}

static void assert_stale(struct kvmi_session *s, u8 *a, u32 cookie)
{
	u8 byte = ~*a;

	TEST_ASSERT_KVMI(write_cookie(s, GPA_A, 1, &byte, cookie), -KVM_EAGAIN);
	TEST_ASSERT_EQ(*a, (u8)~byte);
}

KVMI_TEST(kvmi_memory, cookie_gets_stale)
{
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;
	struct kvmi_event ev;
	struct ucall uc;
	u32 cookies[6];
	int i, n = 0;

	cookies[n++] = get_cookie(s);
	assert_stale(s, self->a, cookies[0] + 1);
	assert_stale(s, self->a, ~cookies[0]);

	add_slot(vm, SLOT_C, GPA_C, 0);
	cookies[n++] = get_cookie(s);
	vm_mem_region_move(vm, SLOT_C, GPA_C + 0x100000);
	cookies[n++] = get_cookie(s);
	vm_mem_region_set_flags(vm, SLOT_C, KVM_MEM_LOG_DIRTY_PAGES);
	cookies[n++] = get_cookie(s);
	vm_mem_region_delete(vm, SLOT_C);
	cookies[n++] = get_cookie(s);

	for (i = 0; i < n - 1; i++) {
		TEST_ASSERT(cookies[i] != cookies[i + 1],
			    "Change %d left the cookie as it was", i);
		assert_stale(s, self->a, cookies[i]);
	}
	TEST_ASSERT_KVMI(write_cookie(s, GPA_A, 1, self->a, cookies[n - 1]), 0);

	kvmi_park(&self->r, s, self->vcpu, &ev);
	TEST_ASSERT_EQ(ev.common.cookie, cookies[n - 1]);
	add_slot(vm, SLOT_C, GPA_C, 0);
	assert_stale(s, self->a, ev.common.cookie);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* A tool cannot take a cookie along from one session to the next. */
KVMI_TEST(kvmi_memory, cookie_of_another_session)
{
	u32 cookies[4];
	int i;

	for (i = 0; i < ARRAY_SIZE(cookies); i++) {
		cookies[i] = get_cookie(&self->s);
		kvmi_unhook(&self->s);
		kvmi_hook(&self->s, self->vm);
	}
	/* They are random: four in a row that are the same are no accident. */
	for (i = 1; i < ARRAY_SIZE(cookies); i++) {
		if (cookies[i] != cookies[0])
			return;
	}
	TEST_FAIL("Every session starts with the same cookie");
}

static u8 dirty_pages(struct kvm_vm *vm, u32 slot)
{
	unsigned long bitmap = 0;

	kvm_vm_get_dirty_log(vm, slot, &bitmap);
	return bitmap;
}

/* Migration has to see what the tool has written. */
KVMI_TEST(kvmi_memory, dirty_log)
{
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;
	u32 cookie, stale;

	stale = get_cookie(s);
	vm_mem_region_set_flags(vm, SLOT_A, KVM_MEM_LOG_DIRTY_PAGES);
	cookie = get_cookie(s);
	dirty_pages(vm, SLOT_A);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), 0);

	TEST_ASSERT_KVMI(write_gpa(s, GPA_A + 2 * PAGE + 5, 1, self->buf), 0);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), BIT(2));
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), 0);

	TEST_ASSERT_KVMI(write_cookie(s, GPA_A + PAGE - 1, PAGE + 2, self->buf,
				      cookie), 0);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), BIT(0) | BIT(1) | BIT(2));

	/* From a slot that is logged into one that is not. */
	TEST_ASSERT_KVMI(write_cookie(s, GPA_B - 1, 2, self->buf, cookie), 0);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), BIT(3));

	/* Reading, or failing, is not writing. */
	TEST_ASSERT_KVMI(read_gpa(s, GPA_A, PAGE, self->buf), 0);
	TEST_ASSERT_KVMI(write_cookie(s, GPA_A, 1, self->buf, stale),
			 -KVM_EAGAIN);
	TEST_ASSERT_KVMI(write_gpa(s, GPA_A + 1, PAGE, self->buf), -KVM_EINVAL);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), 0);
}

/* The same with KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, where all starts dirty. */
KVMI_TEST(kvmi_memory, dirty_log_manual_protect)
{
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;
	unsigned long bitmap;

	if (!kvm_has_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2))
		SKIP(return, "No manual protection of the dirty log");

	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	vm_mem_region_set_flags(vm, SLOT_A, KVM_MEM_LOG_DIRTY_PAGES);
	bitmap = 0xf;
	kvm_vm_clear_dirty_log(vm, SLOT_A, &bitmap, 0, SLOT_PAGES);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), 0);

	TEST_ASSERT_KVMI(write_gpa(s, GPA_A + 3 * PAGE, 8, self->buf), 0);
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), BIT(3));
	/* Dirty until cleared. */
	TEST_ASSERT_EQ(dirty_pages(vm, SLOT_A), BIT(3));
}

KVMI_TEST(kvmi_memory, guest_sees_the_write)
{
	u64 gpa = addr_gva2gpa(self->vm, (gva_t)&guest_data);
	u64 val;
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0x1111);

	TEST_ASSERT_KVMI(read_gpa(&self->s, gpa, sizeof(val), &val), 0);
	TEST_ASSERT_EQ(val, 0x1111);

	/* While the vCPU is in userspace, and while it is in an event. */
	val = 0x2222;
	TEST_ASSERT_KVMI(write_gpa(&self->s, gpa, sizeof(val), &val), 0);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0x2222);

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	val = 0x3333;
	TEST_ASSERT_KVMI(write_gpa(&self->s, gpa, sizeof(val), &val), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0x3333);
}

/* A write that does not bring its data ends the session. */
KVMI_TEST(kvmi_memory, write_without_data_closes)
{
	struct write_msg msg = { .req = { .gpa = GPA_A, .size = 100 } };
	u8 before = *self->a;

	msg.data[0] = ~before;
	kvmi_send_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
		      sizeof(msg.req) + 99);
	kvmi_expect_closed(&self->s);
	TEST_ASSERT_EQ(*self->a, before);
}

KVMI_TEST(kvmi_memory, write_without_cookie_closes)
{
	struct write_msg msg = {
		.req = { .gpa = GPA_A, .size = 1, .flags = KVMI_MEM_COOKIE },
	};

	kvmi_send_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
		      sizeof(msg.req) + sizeof(struct kvmi_mem_cookie));
	kvmi_expect_closed(&self->s);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
