// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_TRANSLATE_GVA and KVMI_VCPU_GET_MTRR_TYPE
 */
#include "kvmi_guest.h"
#include "kvmi_test_harness.h"

#define PAGE		4096ul
#define UNMAPPED	(~0ull)

#define X86_FEATURE_MTRR	KVM_X86_CPU_FEATURE(0x1, 0, EDX, 12)

/* Pages that the tests add to those of kvmi_guest, all of the data's memory. */
#define GVA_SUPERVISOR	0x30000
#define GVA_READ_ONLY	0x31000
#define GVA_ABSENT	0x32000
#define GVA_ALIAS	0x33000
#define PTE_PRESENT	1
#define PTE_WRITABLE	2
#define PTE_USER	4

static u64 translate(struct kvmi_session *s, u64 gva)
{
	struct kvmi_vcpu_translate_gva req = { .gva = gva };
	struct kvmi_vcpu_translate_gva_reply rpl;

	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_TRANSLATE_GVA, &req,
				       sizeof(req), &rpl, sizeof(rpl)), 0);
	return rpl.gpa;
}

#define ASSERT_TRANSLATION(s, gva, wanted)				\
do {									\
	u64 __gva = (gva), __wanted = (wanted);				\
	u64 __gpa = translate(s, __gva);				\
									\
	TEST_ASSERT(__gpa == __wanted, "%lx: translated to %lx, not %lx", \
		    __gva, __gpa, __wanted);				\
} while (0)

#define KVMI_GUEST_FIXTURE	translation
#include "kvmi_guest_modes.h"

FIXTURE_SETUP(translation)
{
	struct kvmi_guest *g = &self->g;
	u8 *mem = g->start.mem;

	kvmi_guest_create(g, variant->mode);
	if (!kvmi_guest_is_real(g)) {
		kvmi_guest_map(g, mem, GVA_SUPERVISOR, KVMI_GUEST_DATA,
			       KVMI_GUEST_PTE & ~PTE_USER);
		kvmi_guest_map(g, mem, GVA_READ_ONLY, KVMI_GUEST_DATA,
			       KVMI_GUEST_PTE & ~PTE_WRITABLE);
		kvmi_guest_map(g, mem, GVA_ABSENT, KVMI_GUEST_DATA,
			       KVMI_GUEST_PTE & ~PTE_PRESENT);
		kvmi_guest_map(g, mem, GVA_ALIAS, KVMI_GUEST_DATA,
			       KVMI_GUEST_PTE);
	}
	/* A NOP; this puts all of it into the vCPU, too. */
	kvmi_guest_code(g, "\x90");
}

static void expect_one_to_one(struct kvmi_session *s)
{
	u64 gva;

	for (gva = 0; gva < KVMI_GUEST_MEM_SIZE; gva += PAGE) {
		ASSERT_TRANSLATION(s, gva, gva);
		ASSERT_TRANSLATION(s, gva + PAGE - 1, gva + PAGE - 1);
	}
}

/*
 * What the page tables say, whatever the privilege level is, and nothing that
 * the guest could notice: it ends as if nobody had asked.
 */
KVMI_TEST(translation, mapped_and_not)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_session *s = &g->s;
	struct kvmi_event pause;

	kvmi_guest_run_normally(g);
	kvmi_guest_park(g, &pause);
	expect_one_to_one(s);
	if (kvmi_guest_is_real(g)) {
		/* There is memory or not: paging does not care. */
		ASSERT_TRANSLATION(s, KVMI_GUEST_UNMAPPED, KVMI_GUEST_UNMAPPED);
		ASSERT_TRANSLATION(s, 0xffffffff, 0xffffffff);
	} else {
		ASSERT_TRANSLATION(s, GVA_SUPERVISOR + 5, KVMI_GUEST_DATA + 5);
		ASSERT_TRANSLATION(s, GVA_READ_ONLY + 6, KVMI_GUEST_DATA + 6);
		ASSERT_TRANSLATION(s, GVA_ALIAS + 0xfff, KVMI_GUEST_DATA + 0xfff);
		ASSERT_TRANSLATION(s, GVA_ABSENT, UNMAPPED);
		ASSERT_TRANSLATION(s, KVMI_GUEST_UNMAPPED, UNMAPPED);
		ASSERT_TRANSLATION(s, 0xfffff000, UNMAPPED);
	}
	kvmi_unpark(s, &pause);
	kvmi_guest_stop_normally(g);
}

/* Addresses that the guest cannot form */
KVMI_TEST(translation, not_an_address)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_session *s = &g->s;
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	ASSERT_TRANSLATION(s, 1ull << 63 | KVMI_GUEST_DATA, UNMAPPED);
	ASSERT_TRANSLATION(s, 1ull << 57 | KVMI_GUEST_DATA, UNMAPPED);
	ASSERT_TRANSLATION(s, 0x7fffull << 48 | KVMI_GUEST_DATA, UNMAPPED);
	if (!kvmi_guest_is_long(g))
		ASSERT_TRANSLATION(s, 1ull << 32 | KVMI_GUEST_DATA, UNMAPPED);
	ASSERT_TRANSLATION(s, ~0ull, UNMAPPED);
	kvmi_unpark(s, &pause);
	kvmi_guest_stop(g);
}

/* SMAP is between the guest's supervisor and its users. */
KVMI_TEST(translation, user_pages_with_smap)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	if (kvmi_guest_is_real(g))
		SKIP(return, "No paging in real mode");
	if (!kvm_cpu_has(X86_FEATURE_SMAP))
		SKIP(return, "The CPU has no SMAP");

	g->start.sregs.cr4 |= X86_CR4_SMAP;
	kvmi_guest_reset(g);
	kvmi_guest_park(g, &pause);
	expect_one_to_one(&g->s);
	ASSERT_TRANSLATION(&g->s, GVA_SUPERVISOR, KVMI_GUEST_DATA);
	ASSERT_TRANSLATION(&g->s, GVA_ABSENT, UNMAPPED);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop(g);
}

static void guest_code(void)
{
	for (;;)
		GUEST_SYNC(0);
}

FIXTURE(address) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	struct kvmi_event ev;
};

FIXTURE_SETUP(address)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(address)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void park(struct _test_data_address *self)
{
	kvmi_park(&self->r, &self->s, self->vcpu, &self->ev);
}

static void unpark(struct _test_data_address *self)
{
	struct ucall uc;

	kvmi_unpark(&self->s, &self->ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(address, large_page)
{
	u64 gpa, gva = 0x7f0000000000, size = 2ul << 20;

	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, 1ul << 30, 10,
				    size / PAGE, 0);
	virt_map_level(self->vm, gva, 1ul << 30, size, PG_LEVEL_2M);
	park(self);
	for (gpa = 1ul << 30; gpa < (1ul << 30) + size; gpa += 0x12345)
		ASSERT_TRANSLATION(&self->s, gva + gpa - (1ul << 30), gpa);
	ASSERT_TRANSLATION(&self->s, gva + size, UNMAPPED);
	ASSERT_TRANSLATION(&self->s, gva - 1, UNMAPPED);
	unpark(self);
}

/* The tables of the moment count, and they need not lead to memory. */
KVMI_TEST(address, changing_tables)
{
	gva_t gva = vm_alloc_page(self->vm);
	u64 *pte = vm_get_pte(self->vm, gva);
	u64 gpa = addr_gva2gpa(self->vm, gva), old = *pte;

	park(self);
	ASSERT_TRANSLATION(&self->s, gva + 7, gpa + 7);
	WRITE_ONCE(*pte, old & ~1ull);
	ASSERT_TRANSLATION(&self->s, gva + 7, UNMAPPED);
	WRITE_ONCE(*pte, (old & 0xfff) | 1ull << 33);
	ASSERT_TRANSLATION(&self->s, gva + 7, (1ull << 33) + 7);
	WRITE_ONCE(*pte, old);
	ASSERT_TRANSLATION(&self->s, gva + 7, gpa + 7);
	unpark(self);
}

static int get_type(struct kvmi_session *s, u64 gpa)
{
	struct kvmi_vcpu_get_mtrr_type req = { .gpa = gpa };
	struct kvmi_vcpu_get_mtrr_type_reply rpl;
	int i;

	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_MTRR_TYPE, &req,
				       sizeof(req), &rpl, sizeof(rpl)), 0);
	for (i = 0; i < ARRAY_SIZE(rpl.padding); i++)
		TEST_ASSERT_EQ(rpl.padding[i], 0);
	return rpl.type;
}

#define ASSERT_TYPE(s, gpa, wanted)					\
do {									\
	u64 __gpa = (gpa);						\
	int __wanted = (wanted), __type = get_type(s, __gpa);		\
									\
	TEST_ASSERT(__type == __wanted, "%lx: memory type %d, not %d",	\
		    __gpa, __type, __wanted);				\
} while (0)

enum { UC = 0, WC = 1, WT = 4, WP = 5, WB = 6 };

#define MTRR_DEFTYPE_E	BIT(11)
#define MTRR_DEFTYPE_FE	BIT(10)

#define MTRR_PHYSBASE(n)	(0x200 + 2 * (n))
#define MTRR_PHYSMASK(n)	(0x201 + 2 * (n))
#define MTRR_PHYSMASK_VALID	BIT(11)
#define MTRR_DEFTYPE		0x2ff

/* Of 64K, 16K and 4K, in the order of the memory they describe */
static const u32 fixed_msrs[] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e,
	0x26f,
};

/* A different type for neighbours */
static u8 fixed_type(int range)
{
	static const u8 types[] = { WB, UC, WP, WC, WT };

	return types[range % ARRAY_SIZE(types)];
}

static void set_fixed(struct kvm_vcpu *vcpu)
{
	int i, j, range = 0;

	for (i = 0; i < ARRAY_SIZE(fixed_msrs); i++) {
		u64 val = 0;

		for (j = 0; j < 8; j++)
			val |= (u64)fixed_type(range++) << (8 * j);
		vcpu_set_msr(vcpu, fixed_msrs[i], val);
	}
}

/* @size is a power of 2. */
static void set_variable(struct kvm_vcpu *vcpu, int nr, u64 base, u64 size,
			 u8 type, bool valid)
{
	u64 mask = ~(size - 1) & ((1ull << vcpu->vm->pa_bits) - 1);

	vcpu_set_msr(vcpu, MTRR_PHYSBASE(nr), base | type);
	vcpu_set_msr(vcpu, MTRR_PHYSMASK(nr), mask | (valid ? MTRR_PHYSMASK_VALID : 0));
}

KVMI_TEST(address, mtrrs_disabled)
{
	int i;

	/* Whatever they say, and so from the beginning */
	for (i = 0; i < 2; i++) {
		park(self);
		ASSERT_TYPE(&self->s, 0, UC);
		ASSERT_TYPE(&self->s, 0x80000000, UC);
		ASSERT_TYPE(&self->s, ~0ull, UC);
		unpark(self);

		set_fixed(self->vcpu);
		set_variable(self->vcpu, 0, 0x80000000, PAGE, WB, true);
		vcpu_set_msr(self->vcpu, MTRR_DEFTYPE, MTRR_DEFTYPE_FE | WB);
	}
}

KVMI_TEST(address, mtrr_default_type)
{
	static const u8 types[] = { UC, WC, WT, WP, WB };
	int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		vcpu_set_msr(self->vcpu, MTRR_DEFTYPE,
			     MTRR_DEFTYPE_E | types[i]);
		park(self);
		ASSERT_TYPE(&self->s, 0, types[i]);
		ASSERT_TYPE(&self->s, 0x12345678, types[i]);
		ASSERT_TYPE(&self->s, 1ull << 39, types[i]);
		unpark(self);
	}
}

KVMI_TEST(address, fixed_mtrrs)
{
	u64 gpa = 0, size;
	int range;

	set_fixed(self->vcpu);
	vcpu_set_msr(self->vcpu, MTRR_DEFTYPE,
		     MTRR_DEFTYPE_E | MTRR_DEFTYPE_FE | WT);
	/* They come before the variable ones. */
	set_variable(self->vcpu, 0, 0, 1ull << 21, UC, true);
	park(self);
	for (range = 0; range < 8 * ARRAY_SIZE(fixed_msrs); range++, gpa += size) {
		size = gpa < 0x80000 ? 0x10000 : gpa < 0xc0000 ? 0x4000 : 0x1000;
		ASSERT_TYPE(&self->s, gpa, fixed_type(range));
		ASSERT_TYPE(&self->s, gpa + size - 1, fixed_type(range));
	}
	TEST_ASSERT_EQ(gpa, 0x100000);
	ASSERT_TYPE(&self->s, gpa, UC);
	ASSERT_TYPE(&self->s, 1ull << 21, WT);
	unpark(self);

	/* Without them */
	vcpu_set_msr(self->vcpu, MTRR_DEFTYPE, MTRR_DEFTYPE_E | WT);
	set_variable(self->vcpu, 0, 0, 1ull << 21, WB, true);
	park(self);
	ASSERT_TYPE(&self->s, 0, WB);
	ASSERT_TYPE(&self->s, 0xfffff, WB);
	unpark(self);
}

KVMI_TEST(address, variable_mtrrs)
{
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvmi_session *s = &self->s;
	u64 base = 0x40000000;

	vcpu_set_msr(vcpu, MTRR_DEFTYPE, MTRR_DEFTYPE_E | WP);
	set_variable(vcpu, 0, base, PAGE, WB, true);
	set_variable(vcpu, 1, base + PAGE, PAGE, WC, false);
	set_variable(vcpu, 7, 2 * base, base, WT, true);
	park(self);
	ASSERT_TYPE(s, base - 1, WP);
	ASSERT_TYPE(s, base, WB);
	ASSERT_TYPE(s, base + PAGE - 1, WB);
	ASSERT_TYPE(s, base + PAGE, WP);
	ASSERT_TYPE(s, 2 * base - 1, WP);
	ASSERT_TYPE(s, 2 * base, WT);
	ASSERT_TYPE(s, 3 * base - 1, WT);
	ASSERT_TYPE(s, 3 * base, WP);
	unpark(self);
}

/* UC wins, and WT over WB.  What is undefined is UC. */
KVMI_TEST(address, overlapping_mtrrs)
{
	static const struct {
		u8 a;
		u8 b;
		u8 wanted;
	} overlaps[] = {
		{ UC, WB, UC }, { UC, WT, UC }, { UC, WC, UC }, { UC, WP, UC },
		{ WT, WB, WT }, { WB, WB, WB }, { WC, WC, WC }, { WT, WT, WT },
		{ WC, WB, UC }, { WP, WT, UC },
	};
	u64 base = 0x40000000, size = 0x10000;
	int i;

	vcpu_set_msr(self->vcpu, MTRR_DEFTYPE, MTRR_DEFTYPE_E | WB);
	for (i = 0; i < 2 * ARRAY_SIZE(overlaps); i++) {
		u8 a = overlaps[i / 2].a, b = overlaps[i / 2].b;

		/* The order of the registers does not matter. */
		set_variable(self->vcpu, 2 + (i & 1), base, size, a, true);
		set_variable(self->vcpu, 3 - (i & 1), base, size / 2, b, true);
		park(self);
		ASSERT_TYPE(&self->s, base, overlaps[i / 2].wanted);
		ASSERT_TYPE(&self->s, base + size / 2, a);
		ASSERT_TYPE(&self->s, base + size, WB);
		unpark(self);
	}
}

/* Three of them, in every order */
KVMI_TEST(address, three_overlapping_mtrrs)
{
	static const u8 types[] = { WB, WT, UC };
	u64 base = 0x40000000;
	int i, j;

	vcpu_set_msr(self->vcpu, MTRR_DEFTYPE, MTRR_DEFTYPE_E | WB);
	for (i = 0; i < 3; i++) {
		for (j = 0; j < 3; j++)
			set_variable(self->vcpu, j, base, PAGE << j,
				     types[(i + j) % 3], true);
		park(self);
		ASSERT_TYPE(&self->s, base, UC);
		unpark(self);
	}
}

/* A guest that has no MTRRs cannot turn them on: all memory is cached. */
KVMI_TEST(address, no_mtrrs)
{
	vcpu_clear_cpuid_feature(self->vcpu, X86_FEATURE_MTRR);
	park(self);
	ASSERT_TYPE(&self->s, 0, WB);
	ASSERT_TYPE(&self->s, 0xfee00000, WB);
	unpark(self);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
