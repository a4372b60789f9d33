// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_WRITE_PHYSICAL with KVMI_MEM_COMPARE
 */
#include "kvmi_test_harness.h"

#define PAGE		4096ul

#define SLOT		10
#define SLOT_PAGES	2
#define GPA		0x10000000ul
#define READ_ONLY_SLOT	11
#define READ_ONLY_GPA	0x11000000ul

#define ROUNDS		2000

static u64 counter;

static void guest_code_count(void)
{
	u64 i;

	for (i = 0; i < ROUNDS; i++)
		asm volatile("lock incq %0" : "+m" (counter));
	for (;;)
		GUEST_SYNC(0);
}

FIXTURE(kvmi_exchange) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u8 *mem;
};

FIXTURE_SETUP(kvmi_exchange)
{
	u8 *p;

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code_count);
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, 0);
	self->mem = addr_gpa2hva(self->vm, GPA);
	for (p = self->mem; p < self->mem + SLOT_PAGES * PAGE; p++)
		*p = 37 * (p - self->mem) + 11;
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_exchange)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

struct exchange_msg {
	struct kvmi_vm_write_physical req;
	u8 data[64];
};

static int exchange(struct kvmi_session *s, u64 gpa, u16 size, const void *old,
		    const void *new)
{
	struct exchange_msg msg = {
		.req = { .gpa = gpa, .size = size, .flags = KVMI_MEM_COMPARE },
	};

	memcpy(msg.data, old, size);
	memcpy(msg.data + size, new, size);
	return kvmi_cmd(s, KVMI_VM_WRITE_PHYSICAL, &msg,
			sizeof(msg.req) + 2 * size, NULL, 0);
}

static int exchange_cookie(struct kvmi_session *s, u64 gpa, u16 size,
			   const void *old, const void *new, u32 cookie)
{
	struct kvmi_mem_cookie mc = { .cookie = cookie };
	struct exchange_msg msg = {
		.req = {
			.gpa = gpa,
			.size = size,
			.flags = KVMI_MEM_COMPARE | KVMI_MEM_COOKIE,
		},
	};

	memcpy(msg.data, &mc, sizeof(mc));
	memcpy(msg.data + sizeof(mc), old, size);
	memcpy(msg.data + sizeof(mc) + size, new, size);
	return kvmi_cmd(s, KVMI_VM_WRITE_PHYSICAL, &msg,
			sizeof(msg.req) + sizeof(mc) + 2 * size, NULL, 0);
}

static u32 read_bytes(struct kvmi_session *s, u64 gpa, u16 size, void *data)
{
	struct kvmi_vm_read_physical req = {
		.gpa = gpa,
		.size = size,
		.flags = KVMI_MEM_COOKIE,
	};
	struct {
		struct kvmi_mem_cookie cookie;
		u8 data[64];
	} rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req),
				  &rpl, sizeof(rpl.cookie) + size), 0);
	memcpy(data, rpl.data, size);
	return rpl.cookie.cookie;
}

#define ASSERT_MEM(wanted)						\
	TEST_ASSERT(!memcmp(self->mem, wanted, SLOT_PAGES * PAGE),	\
		    "Memory is not as it should be")

static const u16 sizes[] = { 1, 2, 4, 8 };

KVMI_TEST(kvmi_exchange, exchanges_what_is_expected)
{
	u8 wanted[SLOT_PAGES * PAGE], new[8];
	u64 offset;
	int i, j;

	memcpy(wanted, self->mem, sizeof(wanted));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		u64 offsets[] = { 0, 3 * sizes[i], PAGE - sizes[i], PAGE };

		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			offset = offsets[j];
			memset(new, 16 * i + j, sizeof(new));
			TEST_ASSERT_KVMI(exchange(&self->s, GPA + offset, sizes[i],
						  wanted + offset, new), 0);
			/* This much and no more */
			memcpy(wanted + offset, new, sizes[i]);
			ASSERT_MEM(wanted);
		}
	}
}

KVMI_TEST(kvmi_exchange, leaves_what_is_not_expected)
{
	u8 before[SLOT_PAGES * PAGE], old[8], new[8];
	int i, byte;

	memcpy(before, self->mem, sizeof(before));
	memset(new, 0xee, sizeof(new));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (byte = 0; byte < sizes[i]; byte++) {
			memcpy(old, before + 64, sizeof(old));
			old[byte] ^= 1;
			TEST_ASSERT_KVMI(exchange(&self->s, GPA + 64, sizes[i],
						  old, new), -KVM_EAGAIN);
			ASSERT_MEM(before);
		}
	}
}

KVMI_TEST(kvmi_exchange, sizes_and_alignment)
{
	static const u16 bad[] = { 0, 3, 5, 6, 7, 9, 16, 32 };
	u8 before[SLOT_PAGES * PAGE], data[32] = {};
	int i, offset;

	memcpy(before, self->mem, sizeof(before));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(exchange(&self->s, GPA, bad[i], before, data),
				 -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (offset = 1; offset < sizes[i]; offset++)
			TEST_ASSERT_KVMI(exchange(&self->s, GPA + offset, sizes[i],
						  before + offset, data),
					 -KVM_EINVAL);
	}
	ASSERT_MEM(before);
}

KVMI_TEST(kvmi_exchange, with_a_cookie)
{
	u8 before[SLOT_PAGES * PAGE], new[8];
	u32 cookie;
	u64 old;

	cookie = read_bytes(&self->s, GPA, sizeof(old), &old);
	memset(new, 0x77, sizeof(new));
	memcpy(before, self->mem, sizeof(before));

	TEST_ASSERT_KVMI(exchange_cookie(&self->s, GPA, 8, &old, new, ~cookie),
			 -KVM_EAGAIN);
	ASSERT_MEM(before);
	TEST_ASSERT_KVMI(exchange_cookie(&self->s, GPA, 8, new, new, cookie),
			 -KVM_EAGAIN);
	ASSERT_MEM(before);
	TEST_ASSERT_KVMI(exchange_cookie(&self->s, GPA, 8, &old, new, cookie), 0);
	memcpy(before, new, sizeof(new));
	ASSERT_MEM(before);
}

KVMI_TEST(kvmi_exchange, no_memory)
{
	u64 old, hole = GPA + SLOT_PAGES * PAGE;
	u8 *mem;

	memset(&old, 0, sizeof(old));
	TEST_ASSERT_KVMI(exchange(&self->s, hole, 8, &old, &old), -KVM_ENOENT);
	TEST_ASSERT_KVMI(exchange(&self->s, ~7ull, 4, &old, &old), -KVM_ENOENT);

	if (!kvm_has_cap(KVM_CAP_READONLY_MEM))
		SKIP(return, "No read-only slots");

	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, READ_ONLY_GPA,
				    READ_ONLY_SLOT, 1, KVM_MEM_READONLY);
	mem = addr_gpa2hva(self->vm, READ_ONLY_GPA);
	memset(&old, 0xff, sizeof(old));
	TEST_ASSERT_KVMI(exchange(&self->s, READ_ONLY_GPA, 8, mem, &old),
			 -KVM_ENOENT);
	TEST_ASSERT_EQ(*mem, 0);
}

/* As a write: the data has to be there. */
KVMI_TEST(kvmi_exchange, without_data_closes)
{
	struct exchange_msg msg = {
		.req = { .gpa = GPA, .size = 8, .flags = KVMI_MEM_COMPARE },
	};
	u8 before[SLOT_PAGES * PAGE];

	memcpy(before, self->mem, sizeof(before));
	memcpy(msg.data, self->mem, 8);
	kvmi_send_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
		      sizeof(msg.req) + 15);
	kvmi_expect_closed(&self->s);
	ASSERT_MEM(before);
}

KVMI_TEST(kvmi_exchange, without_data_and_cookie_closes)
{
	struct exchange_msg msg = {
		.req = {
			.gpa = GPA,
			.size = 8,
			.flags = KVMI_MEM_COMPARE | KVMI_MEM_COOKIE,
		},
	};

	kvmi_send_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
		      sizeof(msg.req) + 16);
	kvmi_expect_closed(&self->s);
}

KVMI_TEST(kvmi_exchange, dirty_log)
{
	unsigned long dirty = 0;
	u64 old, new = 0;

	memcpy(&old, self->mem + PAGE, sizeof(old));
	vm_mem_region_set_flags(self->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	kvm_vm_get_dirty_log(self->vm, SLOT, &dirty);

	TEST_ASSERT_KVMI(exchange(&self->s, GPA + PAGE, 8, &new, &new),
			 -KVM_EAGAIN);
	kvm_vm_get_dirty_log(self->vm, SLOT, &dirty);
	TEST_ASSERT_EQ(dirty, 0);
	TEST_ASSERT_KVMI(exchange(&self->s, GPA + PAGE, 8, &old, &new), 0);
	kvm_vm_get_dirty_log(self->vm, SLOT, &dirty);
	TEST_ASSERT_EQ(dirty, BIT(1));
}

/* The guest and the tool count together, and none of their steps is lost. */
KVMI_TEST(kvmi_exchange, atomic)
{
	u64 gpa = addr_gva2gpa(self->vm, (gva_t)&counter), old, new;
	struct ucall uc;
	int i, err;

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	for (i = 0; i < ROUNDS; i += !err) {
		read_bytes(&self->s, gpa, sizeof(old), &old);
		new = old + 1;
		err = exchange(&self->s, gpa, sizeof(old), &old, &new);
		TEST_ASSERT(!err || err == -KVM_EAGAIN, "Answered %d", err);
	}
	kvmi_run_wait_sync(&self->r, &uc);
	read_bytes(&self->s, gpa, sizeof(old), &old);
	TEST_ASSERT_EQ(old, 2 * ROUNDS);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
