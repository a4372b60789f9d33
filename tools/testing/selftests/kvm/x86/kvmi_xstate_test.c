// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_GET_XCR, KVMI_VCPU_GET_XSAVE, KVMI_VCPU_SET_XSAVE,
 * KVMI_VCPU_GET_XSAVE2 and KVMI_VCPU_SET_XSAVE2
 */
#include "kvmi_test_harness.h"

/* Most bytes that a reply, and a request, has room for. */
#define MAX_PART	8168

/* More than any state that the guest has without asking for AMX. */
#define IMAGE_SIZE	4096

/* Where the parts of the first two components are. */
#define FCW		0
#define MXCSR		24
#define ST0		32
#define XMM0		160
#define XMM_END		416

#define X86_FEATURE_AVX	KVM_X86_CPU_FEATURE(0x1, 0, ECX, 28)

/* A reserved bit of MXCSR */
#define MXCSR_BAD	BIT(31)

union image {
	struct xstate state;
	u8 bytes[IMAGE_SIZE];
};

/* What the guest loads first, and what it has in the end. */
static union image guest_in, guest_out;
static u64 guest_mask, guest_ready, guest_go;

static void guest_xstate(void)
{
	u32 low = guest_mask, high = guest_mask >> 32;

	set_cr4(get_cr4() | X86_CR4_OSXSAVE);
	/* Nothing but these instructions uses the registers. */
	asm volatile("xrstor64 %[in]\n\t"
		     "movq $1, %[ready]\n"
		     "1:\n\t"
		     "pause\n\t"
		     "cmpq $0, %[go]\n\t"
		     "je 1b\n\t"
		     "xsave64 %[out]"
		     : [out] "+m" (guest_out), [ready] "=m" (guest_ready)
		     : [in] "m" (guest_in), [go] "m" (guest_go),
		       "a" (low), "d" (high)
		     : "memory");
	GUEST_SYNC1(xgetbv(0));
}

FIXTURE(kvmi_xstate) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	struct kvmi_event ev;
	union image in;
	u64 mask;
};

static u64 read_global(struct kvm_vm *vm, u64 *p)
{
	return READ_ONCE(*(u64 *)addr_gva2hva(vm, (gva_t)p));
}

static void wait_until_ready(struct kvm_vm *vm)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;

	while (!read_global(vm, &guest_ready)) {
		TEST_ASSERT(time(NULL) < end, "The guest does not come so far");
		sched_yield();
	}
}

/* The place of a component in an image; bytes 0 if the guest has not got it */
static u32 component(struct kvm_vcpu *vcpu, int nr, u32 *offset)
{
	const struct kvm_cpuid_entry2 *leaf;

	leaf = get_cpuid_entry(vcpu->cpuid, 0xd, nr);
	*offset = leaf->ebx;
	return leaf->eax;
}

static void fill(u8 *p, size_t size, u8 seed)
{
	while (size--)
		*p++ = seed += 29;
}

/* An image with a pattern in the components that tests look at. */
static void make_image(struct kvm_vcpu *vcpu, u64 mask, union image *image,
		       u8 seed)
{
	u32 offset, size;

	memset(image, 0, sizeof(*image));
	image->state.header.xstate_bv = mask;
	*(u16 *)(image->bytes + FCW) = 0x037f ^ (seed & 0xf);
	*(u32 *)(image->bytes + MXCSR) = 0x1f80 ^ ((seed & 0xf) << 8 & 0x1000);
	/* 80 bits each, and 48 that are reserved. */
	for (offset = ST0; offset < XMM0; offset += 16)
		fill(image->bytes + offset, 10, seed + offset);
	fill(image->bytes + XMM0, XMM_END - XMM0, seed);
	if (mask & XFEATURE_MASK_YMM) {
		size = component(vcpu, 2, &offset);
		fill(image->bytes + offset, size, seed + 1);
	}
}

static void assert_bytes(const u8 *image, const u8 *wanted, u32 offset, u32 size)
{
	TEST_ASSERT(!memcmp(image + offset, wanted + offset, size),
		    "The images differ in %u bytes from %u on", size, offset);
}

/* Have they the same registers? */
static void compare(struct kvm_vcpu *vcpu, u64 mask, const u8 *image,
		    const u8 *wanted)
{
	u32 offset, size;

	assert_bytes(image, wanted, FCW, 2);
	assert_bytes(image, wanted, MXCSR, 4);
	for (offset = ST0; offset < XMM0; offset += 16)
		assert_bytes(image, wanted, offset, 10);
	assert_bytes(image, wanted, XMM0, XMM_END - XMM0);
	if (mask & XFEATURE_MASK_YMM) {
		size = component(vcpu, 2, &offset);
		assert_bytes(image, wanted, offset, size);
	}
}

/* With all components that it can have */
static struct kvm_vm *create_vm(struct kvm_vcpu **vcpu)
{
	struct kvm_xcrs xcrs = {
		.nr_xcrs = 1,
		.xcrs[0].value = kvm_cpu_supported_xcr0(),
	};
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, guest_xstate);

	vcpu_xcrs_set(*vcpu, &xcrs);
	return vm;
}

FIXTURE_SETUP(kvmi_xstate)
{
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_XSAVE));

	self->vm = create_vm(&self->vcpu);
	self->mask = kvm_cpu_supported_xcr0() &
		     (XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM);
	make_image(self->vcpu, self->mask, &self->in, 3);
	write_guest_global(self->vm, guest_in, self->in);
	write_guest_global(self->vm, guest_mask, self->mask);

	/* The registers are loaded and the vCPU is in an event. */
	kvmi_hook(&self->s, self->vm);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	wait_until_ready(self->vm);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &self->ev);
}

FIXTURE_TEARDOWN(kvmi_xstate)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* Let the guest store what it has; returns its XCR0. */
static u64 finish(struct _test_data_kvmi_xstate *self, union image *out)
{
	u64 go = 1;
	struct ucall uc;

	write_guest_global(self->vm, guest_go, go);
	kvmi_unpark(&self->s, &self->ev);
	kvmi_run_wait_sync(&self->r, &uc);
	memcpy(out, addr_gva2hva(self->vm, (gva_t)&guest_out), sizeof(*out));
	return uc.args[0];
}

static void finish_unchanged(struct _test_data_kvmi_xstate *self)
{
	union image out;

	finish(self, &out);
	compare(self->vcpu, self->mask, out.bytes, self->in.bytes);
}

static int get_xsave(struct kvmi_session *s, void *image)
{
	return kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_XSAVE, NULL, 0, image,
			     KVMI_XSAVE_SIZE);
}

static int set_xsave(struct kvmi_session *s, const void *image)
{
	return kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_XSAVE, image, KVMI_XSAVE_SIZE,
			     NULL, 0);
}

/* @got bytes are expected. */
static int get_xsave2(struct kvmi_session *s, u32 offset, u32 size, u32 got,
		      u32 *total, void *data)
{
	struct kvmi_vcpu_get_xsave2 req = { .offset = offset, .size = size };
	struct {
		struct kvmi_vcpu_get_xsave2_reply rpl;
		u8 data[MAX_PART];
	} rpl;
	int err;

	err = kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_XSAVE2, &req, sizeof(req), &rpl,
			    sizeof(rpl.rpl) + got);
	if (!err) {
		TEST_ASSERT_EQ(rpl.rpl.padding, 0);
		*total = rpl.rpl.total;
		memcpy(data, rpl.data, got);
	}
	return err;
}

static u32 total_size(struct kvmi_session *s)
{
	u32 total;
	u8 byte;

	TEST_ASSERT_KVMI(get_xsave2(s, 0, 1, 1, &total, &byte), 0);
	return total;
}

static int set_xsave2(struct kvmi_session *s, u32 offset, const void *data,
		      u32 size)
{
	struct {
		struct kvmi_vcpu_set_xsave2 req;
		u8 data[MAX_PART];
	} req = { .req.offset = offset };

	memcpy(req.data, data, size);
	return kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_XSAVE2, &req,
			     sizeof(req.req) + size, NULL, 0);
}

KVMI_TEST(kvmi_xstate, get_xcr)
{
	struct kvmi_vcpu_get_xcr req = { .xcr = 0 };
	struct kvmi_vcpu_get_xcr_reply rpl;
	union image out;

	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_XCR, &req,
				       sizeof(req), &rpl, sizeof(rpl)), 0);
	TEST_ASSERT_EQ(finish(self, &out), rpl.value);
	TEST_ASSERT(rpl.value & XFEATURE_MASK_SSE, "XCR0 is %llx", rpl.value);
}

KVMI_TEST(kvmi_xstate, get_xcr_errors)
{
	static const struct kvmi_vcpu_get_xcr bad[] = {
		{ .xcr = 1 },
		{ .xcr = 255 },
		{ .padding = { 1 } },
		{ .padding = { [6] = 0x80 } },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_XCR,
					       &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);
	finish_unchanged(self);
}

KVMI_TEST(kvmi_xstate, get_xsave)
{
	union image image;

	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	compare(self->vcpu, self->mask, image.bytes, self->in.bytes);
	TEST_ASSERT_EQ(image.state.header.xstate_bv & self->mask, self->mask);
	TEST_ASSERT_EQ(image.state.header.xcomp_bv, 0);
	/* Looking changes nothing. */
	finish_unchanged(self);
}

/* While the guest runs, without an event, too. */
KVMI_TEST(kvmi_xstate, get_xsave_of_a_running_vcpu)
{
	union image image;
	struct ucall uc;
	u64 go = 1;
	int i;

	kvmi_unpark(&self->s, &self->ev);
	for (i = 0; i < 10; i++) {
		TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
		compare(self->vcpu, self->mask, image.bytes, self->in.bytes);
	}
	write_guest_global(self->vm, guest_go, go);
	kvmi_run_wait_sync(&self->r, &uc);
	memcpy(&image, addr_gva2hva(self->vm, (gva_t)&guest_out), sizeof(image));
	compare(self->vcpu, self->mask, image.bytes, self->in.bytes);
}

/* The registers of the VMM's thread are not the guest's. */
KVMI_TEST(kvmi_xstate, same_as_kvm_get_xsave)
{
	union image image, out;
	struct kvm_xsave *xsave;
	u32 total;

	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	total = total_size(&self->s);
	finish(self, &out);

	TEST_ASSERT_EQ(total, max(vm_check_cap(self->vm, KVM_CAP_XSAVE2), 4096));
	xsave = calloc(1, total);
	vcpu_xsave2_get(self->vcpu, xsave);
	compare(self->vcpu, self->mask, image.bytes, (u8 *)xsave);
	free(xsave);
}

KVMI_TEST(kvmi_xstate, set_xsave)
{
	union image image, wanted, out;

	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	make_image(self->vcpu, self->mask, &wanted, 100);
	wanted.state.header.xstate_bv |= image.state.header.xstate_bv;
	TEST_ASSERT_KVMI(set_xsave(&self->s, &wanted), 0);

	/* The tool reads what it wrote, and the guest has it. */
	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	compare(self->vcpu, self->mask, image.bytes, wanted.bytes);
	finish(self, &out);
	compare(self->vcpu, self->mask, out.bytes, wanted.bytes);
}

KVMI_TEST(kvmi_xstate, set_what_was_read)
{
	union image image, again;

	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	TEST_ASSERT_KVMI(set_xsave(&self->s, &image), 0);
	TEST_ASSERT_KVMI(get_xsave(&self->s, &again), 0);
	TEST_ASSERT(!memcmp(&image, &again, sizeof(image)), "It has changed");
	finish_unchanged(self);
}

/* Components that are not in the image get their initial values. */
KVMI_TEST(kvmi_xstate, set_initial_state)
{
	union image image, wanted = {}, out;

	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	image.state.header.xstate_bv = 0;
	TEST_ASSERT_KVMI(set_xsave(&self->s, &image), 0);

	finish(self, &out);
	*(u16 *)(wanted.bytes + FCW) = 0x37f;
	/* Not of a component: XRSTOR loads it with SSE or AVX. */
	memcpy(wanted.bytes + MXCSR, out.bytes + MXCSR, 4);
	compare(self->vcpu, self->mask, out.bytes, wanted.bytes);
}

/* What the guest cannot have changes nothing. */
KVMI_TEST(kvmi_xstate, set_xsave_errors)
{
	union image image, bad;
	u32 total, mxcsr;

	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);
	total = total_size(&self->s);

	/* A component that does not exist */
	make_image(self->vcpu, self->mask, &bad, 50);
	bad.state.header.xstate_bv |= BIT_ULL(62);
	TEST_ASSERT_KVMI(set_xsave(&self->s, &bad), -KVM_EINVAL);
	TEST_ASSERT_KVMI(set_xsave2(&self->s, 0, &bad, IMAGE_SIZE), -KVM_EINVAL);

	/* The compacted format, and what is reserved */
	make_image(self->vcpu, self->mask, &bad, 51);
	bad.state.header.xcomp_bv = BIT_ULL(63) | self->mask;
	TEST_ASSERT_KVMI(set_xsave(&self->s, &bad), -KVM_EINVAL);
	make_image(self->vcpu, self->mask, &bad, 52);
	bad.state.header.reserved[5] = 1;
	TEST_ASSERT_KVMI(set_xsave(&self->s, &bad), -KVM_EINVAL);

	make_image(self->vcpu, self->mask, &bad, 53);
	*(u32 *)(bad.bytes + MXCSR) |= MXCSR_BAD;
	TEST_ASSERT_KVMI(set_xsave(&self->s, &bad), -KVM_EINVAL);
	mxcsr = MXCSR_BAD;
	TEST_ASSERT_KVMI(set_xsave2(&self->s, MXCSR, &mxcsr, sizeof(mxcsr)),
			 -KVM_EINVAL);

	/* A byte is missing. */
	make_image(self->vcpu, self->mask, &bad, 54);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_SET_XSAVE, &bad,
				       KVMI_XSAVE_SIZE - 1, NULL, 0),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_SET_XSAVE, NULL,
				       0, NULL, 0), -KVM_EINVAL);

	TEST_ASSERT_KVMI(get_xsave2(&self->s, 0, IMAGE_SIZE, IMAGE_SIZE, &total,
				    &bad), 0);
	compare(self->vcpu, self->mask, bad.bytes, image.bytes);
	finish_unchanged(self);
}

KVMI_TEST(kvmi_xstate, get_xsave2)
{
	u32 total = total_size(&self->s), again, size, offset;
	union image image;
	u8 *state;

	TEST_ASSERT(total >= KVMI_XSAVE_SIZE, "%u bytes", total);
	TEST_ASSERT_KVMI(get_xsave(&self->s, &image), 0);

	/* In parts of an odd size */
	state = calloc(1, total);
	for (offset = 0; offset < total; offset += size) {
		size = min(total - offset, 1013u);
		TEST_ASSERT_KVMI(get_xsave2(&self->s, offset, 1013, size, &again,
					    state + offset), 0);
		TEST_ASSERT_EQ(again, total);
	}
	compare(self->vcpu, self->mask, state, image.bytes);
	if (total == KVMI_XSAVE_SIZE)
		TEST_ASSERT(!memcmp(state, &image, total), "Other bytes");

	TEST_ASSERT_KVMI(get_xsave2(&self->s, XMM0, 1, 1, &again, image.bytes), 0);
	TEST_ASSERT_EQ(image.bytes[0], state[XMM0]);
	TEST_ASSERT_KVMI(get_xsave2(&self->s, total - 1, 1, 1, &again,
				    image.bytes), 0);
	free(state);
	finish_unchanged(self);
}

KVMI_TEST(kvmi_xstate, get_xsave2_limits)
{
	u32 total = total_size(&self->s);
	struct kvmi_session *s = &self->s;
	u8 data[MAX_PART];

	TEST_ASSERT_EQ(MAX_PART, KVMI_MAX_MSG_SIZE -
				 sizeof(struct kvmi_error_code) -
				 sizeof(struct kvmi_vcpu_get_xsave2_reply));
	TEST_ASSERT_KVMI(get_xsave2(s, 0, MAX_PART, min_t(u32, total, MAX_PART),
				    &total, data), 0);
	TEST_ASSERT_KVMI(get_xsave2(s, total - 1, MAX_PART, 1, &total, data), 0);

	TEST_ASSERT_KVMI(get_xsave2(s, 0, MAX_PART + 1, 0, &total, data),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(get_xsave2(s, 0, ~0u, 0, &total, data), -KVM_EINVAL);
	TEST_ASSERT_KVMI(get_xsave2(s, 0, 0, 0, &total, data), -KVM_EINVAL);
	TEST_ASSERT_KVMI(get_xsave2(s, total, 1, 0, &total, data), -KVM_EINVAL);
	TEST_ASSERT_KVMI(get_xsave2(s, ~0u, 1, 0, &total, data), -KVM_EINVAL);
	finish_unchanged(self);
}

/* A byte, and the whole in two parts */
KVMI_TEST(kvmi_xstate, set_xsave2)
{
	union image wanted, out;
	u32 half = XMM0 + 24;

	wanted = self->in;
	wanted.bytes[XMM0 + 5] ^= 0xff;
	TEST_ASSERT_KVMI(set_xsave2(&self->s, XMM0 + 5, wanted.bytes + XMM0 + 5,
				    1), 0);
	TEST_ASSERT_KVMI(get_xsave(&self->s, &out), 0);
	compare(self->vcpu, self->mask, out.bytes, wanted.bytes);

	make_image(self->vcpu, self->mask, &wanted, 200);
	TEST_ASSERT_KVMI(set_xsave2(&self->s, half, wanted.bytes + half,
				    IMAGE_SIZE - half), 0);
	TEST_ASSERT_KVMI(set_xsave2(&self->s, 0, wanted.bytes, half), 0);
	finish(self, &out);
	compare(self->vcpu, self->mask, out.bytes, wanted.bytes);
}

KVMI_TEST(kvmi_xstate, set_xsave2_errors)
{
	struct kvmi_vcpu_set_xsave2 req = {};
	u32 total = total_size(&self->s);
	struct kvmi_session *s = &self->s;
	u8 data[MAX_PART];

	fill(data, sizeof(data), 9);
	TEST_ASSERT_KVMI(set_xsave2(s, 0, data, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_XSAVE2, &req, 4,
				       NULL, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_XSAVE2, NULL, 0,
				       NULL, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(set_xsave2(s, total, data, 1), -KVM_EINVAL);
	TEST_ASSERT_KVMI(set_xsave2(s, total - 1, data, 2), -KVM_EINVAL);
	TEST_ASSERT_KVMI(set_xsave2(s, ~0u, data, 1), -KVM_EINVAL);
	TEST_ASSERT_KVMI(set_xsave2(s, ~0u - 8, data, 16), -KVM_EINVAL);
	if (total < MAX_PART)
		TEST_ASSERT_KVMI(set_xsave2(s, 0, data, MAX_PART), -KVM_EINVAL);

	/* Padding in front of data that is good */
	req.offset = XMM0;
	req.padding = 1;
	memcpy(data, &req, sizeof(req));
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_SET_XSAVE2, data,
				       sizeof(req) + 16, NULL, 0), -KVM_EINVAL);
	finish_unchanged(self);
}

/* Not the host's components: the guest's */
KVMI_TEST(kvmi_xstate, component_the_guest_has_not_got)
{
	struct kvm_cpuid_entry2 *leaf;
	struct kvmi_runner r;
	struct kvmi_event ev;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct kvmi_session s;
	union image image;
	struct ucall uc;
	u64 one = 1;

	finish_unchanged(self);
	if (!(self->mask & XFEATURE_MASK_YMM))
		SKIP(return, "The host has no AVX to hide");

	vm = create_vm(&vcpu);
	vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_AVX);
	leaf = __vcpu_get_cpuid_entry(vcpu, 0xd, 0);
	leaf->eax = XFEATURE_MASK_FP | XFEATURE_MASK_SSE;
	leaf->edx = 0;
	vcpu_set_cpuid(vcpu);
	write_guest_global(vm, guest_in, self->in);
	self->mask &= ~XFEATURE_MASK_YMM;
	write_guest_global(vm, guest_mask, self->mask);
	write_guest_global(vm, guest_go, one);

	kvmi_hook(&s, vm);
	kvmi_park(&r, &s, vcpu, &ev);
	TEST_ASSERT_KVMI(get_xsave(&s, &image), 0);
	TEST_ASSERT_EQ(image.state.header.xstate_bv & XFEATURE_MASK_YMM, 0);
	image.state.header.xstate_bv |= XFEATURE_MASK_YMM;
	TEST_ASSERT_KVMI(set_xsave(&s, &image), -KVM_EINVAL);
	kvmi_unpark(&s, &ev);
	kvmi_run_wait_sync(&r, &uc);
	kvmi_unhook(&s);
	kvm_vm_free(vm);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
