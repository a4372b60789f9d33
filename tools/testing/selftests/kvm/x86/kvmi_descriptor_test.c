// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_DESCRIPTOR
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"

#define KVMI_INSN_FIXTURE	kvmi_descriptor
#define KVMI_INSN_EVENT		KVMI_VCPU_EVENT_DESCRIPTOR

/* 0x0f, the opcode in the first, and its extension in the second digit */
enum insn {
	SLDT = 0x00,
	STR  = 0x01,
	LLDT = 0x02,
	LTR  = 0x03,
	SGDT = 0x10,
	SIDT = 0x11,
	LGDT = 0x12,
	LIDT = 0x13,
};

static const u8 descriptors[] = {
	[SLDT] = KVMI_DESC_LDTR,
	[STR]  = KVMI_DESC_TR,
	[LLDT] = KVMI_DESC_LDTR,
	[LTR]  = KVMI_DESC_TR,
	[SGDT] = KVMI_DESC_GDTR,
	[SIDT] = KVMI_DESC_IDTR,
	[LGDT] = KVMI_DESC_GDTR,
	[LIDT] = KVMI_DESC_IDTR,
};

static bool is_load(enum insn insn)
{
	return insn & 2;
}

/* The second operand byte: where the other operand is */
#define IN_MEMORY	0x07	/* [BX], [EDI] or [RDI] */
#define IN_REGISTER	0xc0	/* AX, EAX or RAX */

/* What has KVM emulate the instruction that follows */
#define PREFIX		"\x0f\x0bkvm"
#define PREFIX_SIZE	(sizeof(PREFIX) - 1)

/* What the guest loads; the highest byte does not count for 16-bit code. */
#define NEW_BASE	(0x99000000 | (KVMI_GUEST_GDT + 8))
#define NEW_LIMIT	0x6f

static void __set_insn(struct kvmi_guest *g, enum insn insn, u8 operand,
		       bool emulate)
{
	const u8 bytes[] = { 0x0f, insn >> 4, operand | (insn & 7) << 3 };
	u8 *data = g->start.mem + KVMI_GUEST_DATA;
	u8 code[PREFIX_SIZE + sizeof(bytes)];
	u64 selector, base = NEW_BASE;
	u16 limit = NEW_LIMIT;
	int prefix = 0;

	if (emulate) {
		memcpy(code, PREFIX, PREFIX_SIZE);
		prefix = PREFIX_SIZE;
	}
	memcpy(code + prefix, bytes, sizeof(bytes));
	memset(data, 0x55, 16);
	if (insn == LGDT || insn == LIDT) {
		memcpy(data, &limit, 2);
		memcpy(data + 2, &base, 8);
	} else if (is_load(insn)) {
		selector = insn == LTR ? KVMI_GUEST_TR2 : KVMI_GUEST_LDTR;
		memcpy(data, &selector, 2);
	}

	/* Only 16 bits of it are a selector. */
	g->start.regs.rax = 0x12340000 |
			    (insn == LTR ? KVMI_GUEST_TR2 : KVMI_GUEST_LDTR);
	if (kvmi_guest_is_64bit(g))
		g->start.regs.rax |= 0x1122334400000000;

	__kvmi_guest_code(g, code, prefix + sizeof(bytes));
	kvmi_guest_run_normally(g);
}

static void set_insn(struct kvmi_guest *g, enum insn insn, u8 operand)
{
	__set_insn(g, insn, operand, false);
}

static bool is_supported(void)
{
	struct kvmi_vm_get_features_reply rpl;
	struct kvmi_session s;
	struct kvm_vm *vm;

	vm = vm_create_barebones();
	kvmi_hook(&s, vm);
	TEST_ASSERT_KVMI(kvmi_cmd(&s, KVMI_VM_GET_FEATURES, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	kvmi_unhook(&s);
	kvm_vm_free(vm);
	return rpl.events & BIT_ULL(KVMI_VCPU_EVENT_DESCRIPTOR);
}

static void check_event(const struct kvmi_event *ev, enum insn insn, u64 rip)
{
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, rip);
	TEST_ASSERT_EQ(ev->descriptor.descriptor, descriptors[insn]);
	TEST_ASSERT_EQ(ev->descriptor.write, is_load(insn));
}

static void start_insn(struct kvmi_guest *g, enum insn insn,
		       struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_DESCRIPTOR, ev);
	check_event(ev, insn, KVMI_GUEST_CODE);
}

/* The tests of all such events, with some of the instructions */
FIXTURE(kvmi_descriptor) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_descriptor) {
	enum kvmi_guest_mode mode;
	enum insn insn;
};

FIXTURE_VARIANT_ADD(kvmi_descriptor, real_lidt) {
	.mode = KVMI_GUEST_REAL,
	.insn = LIDT,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor, prot_ltr) {
	.mode = KVMI_GUEST_PROT,
	.insn = LTR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor, compat_user_sldt) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.insn = SLDT,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor, long_sgdt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SGDT,
};

static enum insn insn_at_start;

FIXTURE_SETUP(kvmi_descriptor)
{
	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	insn_at_start = variant->insn;
	kvmi_guest_create(&self->g, variant->mode);
	set_insn(&self->g, variant->insn, IN_MEMORY);
	TEST_ASSERT_EQ(self->g.normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_descriptor)
{
	kvmi_guest_free(&self->g);
}

static void start(struct kvmi_guest *g, struct kvmi_event *ev)
{
	start_insn(g, insn_at_start, ev);
}

static void stop_allowed(struct kvmi_guest *g)
{
	kvmi_guest_stop_normally(g);
}

#include "kvmi_insn_tests.h"

/* All instructions and modes, with the four actions */
FIXTURE(kvmi_descriptor_insns) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_descriptor_insns) {
	enum kvmi_guest_mode mode;
	enum insn insn;
	u8 operand;
};

/* Real mode has neither an LDT nor a TSS, users must not load. */
FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, real_sgdt) {
	.mode = KVMI_GUEST_REAL,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, real_sidt) {
	.mode = KVMI_GUEST_REAL,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, real_lgdt) {
	.mode = KVMI_GUEST_REAL,
	.insn = LGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, real_lidt) {
	.mode = KVMI_GUEST_REAL,
	.insn = LIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_sldt) {
	.mode = KVMI_GUEST_PROT,
	.insn = SLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_str) {
	.mode = KVMI_GUEST_PROT,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_lldt) {
	.mode = KVMI_GUEST_PROT,
	.insn = LLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_ltr) {
	.mode = KVMI_GUEST_PROT,
	.insn = LTR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_sgdt) {
	.mode = KVMI_GUEST_PROT,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_sidt) {
	.mode = KVMI_GUEST_PROT,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_lgdt) {
	.mode = KVMI_GUEST_PROT,
	.insn = LGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_lidt) {
	.mode = KVMI_GUEST_PROT,
	.insn = LIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_sldt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_str) {
	.mode = KVMI_GUEST_LONG,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_lldt) {
	.mode = KVMI_GUEST_LONG,
	.insn = LLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_ltr) {
	.mode = KVMI_GUEST_LONG,
	.insn = LTR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_sgdt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_sidt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_lgdt) {
	.mode = KVMI_GUEST_LONG,
	.insn = LGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_lidt) {
	.mode = KVMI_GUEST_LONG,
	.insn = LIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_user_sldt) {
	.mode = KVMI_GUEST_PROT_USER,
	.insn = SLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_user_sgdt) {
	.mode = KVMI_GUEST_PROT_USER,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, compat_user_str) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, compat_user_sidt) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_user_str) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_user_sgdt) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_sldt_register) {
	.mode = KVMI_GUEST_PROT,
	.insn = SLDT,
	.operand = IN_REGISTER,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, prot_lldt_register) {
	.mode = KVMI_GUEST_PROT,
	.insn = LLDT,
	.operand = IN_REGISTER,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_str_register) {
	.mode = KVMI_GUEST_LONG,
	.insn = STR,
	.operand = IN_REGISTER,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_insns, long_ltr_register) {
	.mode = KVMI_GUEST_LONG,
	.insn = LTR,
	.operand = IN_REGISTER,
};

FIXTURE_SETUP(kvmi_descriptor_insns)
{
	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	kvmi_guest_create(&self->g, variant->mode);
	set_insn(&self->g, variant->insn, variant->operand);
	TEST_ASSERT_EQ(self->g.normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_descriptor_insns)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_descriptor_insns, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_descriptor_insns, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_descriptor_insns, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
	check_event(&ev, variant->insn, KVMI_GUEST_CODE);
	kvmi_insn_disable(g);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_descriptor_insns, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, variant->insn, &ev);
	kvmi_guest_crash(g, &ev);
}

/* The same where it is KVM that comes across the instruction */
FIXTURE(kvmi_descriptor_emulated) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_descriptor_emulated) {
	enum kvmi_guest_mode mode;
	enum insn insn;
	u8 operand;
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, real_sgdt) {
	.mode = KVMI_GUEST_REAL,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, real_sidt) {
	.mode = KVMI_GUEST_REAL,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, real_lgdt) {
	.mode = KVMI_GUEST_REAL,
	.insn = LGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, real_lidt) {
	.mode = KVMI_GUEST_REAL,
	.insn = LIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_sldt) {
	.mode = KVMI_GUEST_PROT,
	.insn = SLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_str) {
	.mode = KVMI_GUEST_PROT,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_lldt) {
	.mode = KVMI_GUEST_PROT,
	.insn = LLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_ltr) {
	.mode = KVMI_GUEST_PROT,
	.insn = LTR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_sgdt) {
	.mode = KVMI_GUEST_PROT,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_sidt) {
	.mode = KVMI_GUEST_PROT,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_lgdt) {
	.mode = KVMI_GUEST_PROT,
	.insn = LGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_lidt) {
	.mode = KVMI_GUEST_PROT,
	.insn = LIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_sldt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_str) {
	.mode = KVMI_GUEST_LONG,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_lldt) {
	.mode = KVMI_GUEST_LONG,
	.insn = LLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_ltr) {
	.mode = KVMI_GUEST_LONG,
	.insn = LTR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_sgdt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_sidt) {
	.mode = KVMI_GUEST_LONG,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_lgdt) {
	.mode = KVMI_GUEST_LONG,
	.insn = LGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_lidt) {
	.mode = KVMI_GUEST_LONG,
	.insn = LIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_user_sgdt) {
	.mode = KVMI_GUEST_PROT_USER,
	.insn = SGDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, compat_user_str) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.insn = STR,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_user_sldt) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = SLDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_user_sidt) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = SIDT,
	.operand = IN_MEMORY,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, long_lldt_register) {
	.mode = KVMI_GUEST_LONG,
	.insn = LLDT,
	.operand = IN_REGISTER,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_emulated, prot_str_register) {
	.mode = KVMI_GUEST_PROT,
	.insn = STR,
	.operand = IN_REGISTER,
};

FIXTURE_SETUP(kvmi_descriptor_emulated)
{
	if (!is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");
	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	kvmi_guest_create(&self->g, variant->mode);
	__set_insn(&self->g, variant->insn, variant->operand, true);
	TEST_ASSERT_EQ(self->g.normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_descriptor_emulated)
{
	kvmi_guest_free(&self->g);
}

static void start_emulated(struct kvmi_guest *g, enum insn insn,
			   struct kvmi_event *ev)
{
	kvmi_guest_start(g, KVMI_VCPU_EVENT_DESCRIPTOR, ev);
	check_event(ev, insn, KVMI_GUEST_CODE + PREFIX_SIZE);
}

KVMI_TEST(kvmi_descriptor_emulated, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_descriptor_emulated, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_descriptor_emulated, skip_with_registers)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), KVMI_GUEST_HANDLERS);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

/* It is the processor's from then on, behind the prefix. */
KVMI_TEST(kvmi_descriptor_emulated, retry)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
	check_event(&ev, variant->insn, KVMI_GUEST_CODE + PREFIX_SIZE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_descriptor_emulated, retry_with_rip_moved)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_insn_set(g, kvmi_insn_other_regs(g), g->end);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	g->start.regs = kvmi_insn_other_regs(g);
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_descriptor_emulated, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_guest_crash(g, &ev);
}

KVMI_TEST(kvmi_descriptor_emulated, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_descriptor_emulated, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_emulated(g, variant->insn, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_unchanged(g);
}

/*
 * What KVM emulates after a VM exit it fetches itself.  Here the processor executes
 * a write to a device out of a page that it still has in its TLB, while the page
 * tables say another one, with a LIDT.  If the processor has forgotten about the
 * page, it executes the LIDT; the tool is asked in any case.
 */
#define STALE_GVA	0xe000
#define STALE_GPA	0xe000
#define OTHER_GPA	0xf000
#define DEVICE_GVA	0xd000
#define DEVICE_GPA	0x100000

FIXTURE(kvmi_descriptor_stale) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_descriptor_stale)
{
	/* MOV [RSI], RAX; JMP RDX, and in its place LIDT [RDI]; JMP RDX */
	static const u8 device[] = { 0x48, 0x89, 0x06, 0xff, 0xe2 };
	static const u8 lidt[] = { 0x0f, 0x01, 0x1f, 0xff, 0xe2 };
	/* CALL to where there is a RET; MOV [R8], RCX: another page; JMP R9 */
	static const u8 code[] = {
		0x41, 0xff, 0xd2, 0x49, 0x89, 0x08, 0x41, 0xff, 0xe1,
	};
	struct kvmi_guest *g = &self->g;
	u64 pte = KVMI_GUEST_PAGE_TABLES + 3 * 4096 + STALE_GVA / 4096 * 8;

	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	set_insn(g, LIDT, IN_MEMORY);
	memcpy(g->start.mem + STALE_GPA, device, sizeof(device));
	memcpy(g->start.mem + OTHER_GPA, lidt, sizeof(lidt));
	g->start.mem[STALE_GPA + 0x10] = 0xc3;
	g->start.mem[OTHER_GPA + 0x10] = 0xc3;
	kvmi_guest_map(g, g->start.mem, DEVICE_GVA, DEVICE_GPA, KVMI_GUEST_PTE);
	/* KVM takes an operand at the same offset for the one that faulted. */
	g->start.regs.rsi = DEVICE_GVA + 0x800;
	g->start.regs.rcx = OTHER_GPA | KVMI_GUEST_PTE;
	g->start.regs.r8 = pte;
	g->start.regs.r9 = STALE_GVA;
	g->start.regs.r10 = STALE_GVA + 0x10;
	g->start.regs.rdx = KVMI_GUEST_CODE + sizeof(code);
	__kvmi_guest_code(g, code, sizeof(code));
}

FIXTURE_TEARDOWN(kvmi_descriptor_stale)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_descriptor_stale, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, STALE_GVA);
	TEST_ASSERT_EQ(ev.descriptor.descriptor, KVMI_DESC_IDTR);
	TEST_ASSERT_EQ(ev.descriptor.write, 1);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.sregs.idt.base, g->start.sregs.idt.base);
}

KVMI_TEST(kvmi_descriptor_stale, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.sregs.idt.limit, NEW_LIMIT);
}

/* Instructions that fault: the tool is asked before anybody knows. */
FIXTURE(kvmi_descriptor_faults) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_descriptor_faults) {
	enum kvmi_guest_mode mode;
	enum insn insn;
	bool unmapped;
	u64 base;
	u16 selector;
	u8 vector;
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_faults, store_to_nothing) {
	.mode = KVMI_GUEST_LONG,
	.insn = SGDT,
	.unmapped = true,
	.vector = PF_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_faults, load_from_nothing) {
	.mode = KVMI_GUEST_PROT,
	.insn = LIDT,
	.unmapped = true,
	.vector = PF_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_faults, user_stores_to_nothing) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.insn = STR,
	.unmapped = true,
	.vector = PF_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_faults, base_not_canonical) {
	.mode = KVMI_GUEST_LONG,
	.insn = LGDT,
	.base = 0x8000000000000000,
	.vector = GP_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_faults, lldt_of_data) {
	.mode = KVMI_GUEST_LONG,
	.insn = LLDT,
	.selector = KVMI_GUEST_KERNEL_DS,
	.vector = GP_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_faults, ltr_of_busy) {
	.mode = KVMI_GUEST_PROT,
	.insn = LTR,
	.selector = KVMI_GUEST_TR,
	.vector = GP_VECTOR,
};

FIXTURE_SETUP(kvmi_descriptor_faults)
{
	struct kvmi_guest *g = &self->g;
	u8 *data = g->start.mem + KVMI_GUEST_DATA;

	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	kvmi_guest_create(g, variant->mode);
	if (variant->unmapped)
		g->start.regs.rdi = KVMI_GUEST_UNMAPPED;
	set_insn(g, variant->insn, IN_MEMORY);
	if (variant->base)
		memcpy(data + 2, &variant->base, sizeof(variant->base));
	if (variant->selector)
		memcpy(data, &variant->selector, sizeof(variant->selector));
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	if (host_cpu_is_amd_compatible && variant->base &&
	    g->normal_vector == KVMI_GUEST_NO_EXCEPTION)
		SKIP(return, "The (emulated) processor does not check the base");
	TEST_ASSERT_EQ(g->normal_vector, variant->vector);
}

FIXTURE_TEARDOWN(kvmi_descriptor_faults)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_descriptor_faults, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);
}

KVMI_TEST(kvmi_descriptor_faults, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, variant->insn, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* What is not for users is not reported. */
FIXTURE(kvmi_descriptor_user) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_descriptor_user) {
	enum kvmi_guest_mode mode;
	enum insn insn;
	bool umip;
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, prot_lgdt) {
	.mode = KVMI_GUEST_PROT_USER,
	.insn = LGDT,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, compat_lldt) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.insn = LLDT,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, long_ltr) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = LTR,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, long_lidt) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = LIDT,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, umip_prot_sgdt) {
	.mode = KVMI_GUEST_PROT_USER,
	.insn = SGDT,
	.umip = true,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, umip_prot_str) {
	.mode = KVMI_GUEST_PROT_USER,
	.insn = STR,
	.umip = true,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, umip_long_sidt) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = SIDT,
	.umip = true,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_user, umip_long_sldt) {
	.mode = KVMI_GUEST_LONG_USER,
	.insn = SLDT,
	.umip = true,
};

FIXTURE_SETUP(kvmi_descriptor_user)
{
	struct kvmi_guest *g = &self->g;

	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	if (variant->umip && !kvm_cpu_has(X86_FEATURE_UMIP))
		SKIP(return, "Needs UMIP");

	kvmi_guest_create(g, variant->mode);
	if (variant->umip)
		g->start.sregs.cr4 |= X86_CR4_UMIP;
	set_insn(g, variant->insn, IN_MEMORY);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);
}

FIXTURE_TEARDOWN(kvmi_descriptor_user)
{
	kvmi_guest_free(&self->g);
}

/* Also not after the event: where KVM emulates UMIP it goes on to do so. */
KVMI_TEST(kvmi_descriptor_user, is_not_reported)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;
	int i;

	for (i = 1; i >= 0; i--) {
		kvmi_guest_park(g, &pause);
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0,
						    KVMI_VCPU_EVENT_DESCRIPTOR,
						    i), 0);
		kvmi_unpark(&g->s, &pause);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
	}
}

/* UMIP is nothing to the supervisor. */
FIXTURE(kvmi_descriptor_umip) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_descriptor_umip) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_umip, prot) {
	.mode = KVMI_GUEST_PROT,
};

FIXTURE_VARIANT_ADD(kvmi_descriptor_umip, long) {
	.mode = KVMI_GUEST_LONG,
};

FIXTURE_SETUP(kvmi_descriptor_umip)
{
	struct kvmi_guest *g = &self->g;

	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	if (!kvm_cpu_has(X86_FEATURE_UMIP))
		SKIP(return, "Needs UMIP");

	kvmi_guest_create(g, variant->mode);
	g->start.sregs.cr4 |= X86_CR4_UMIP;
	set_insn(g, SGDT, IN_MEMORY);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_descriptor_umip)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_descriptor_umip, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, SGDT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_descriptor_umip, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_insn(g, SGDT, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

FIXTURE(kvmi_descriptor_control) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_descriptor_control)
{
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
}

FIXTURE_TEARDOWN(kvmi_descriptor_control)
{
	kvmi_guest_free(&self->g);
}

/* The list of features tells whether the event can be turned on. */
KVMI_TEST(kvmi_descriptor_control, support)
{
	struct kvmi_guest *g = &self->g;
	int err = is_supported() ? 0 : -KVM_EOPNOTSUPP;
	struct kvmi_event pause;

	kvmi_guest_code(g, "\x90");
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_DESCRIPTOR,
					    1), err);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_DESCRIPTOR,
					    1), err);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_DESCRIPTOR,
					    0), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_guest_stop_unchanged(g);
}

/* Without the event the guest does all that on its own, before and after. */
KVMI_TEST(kvmi_descriptor_control, intercepted_while_enabled)
{
	struct kvmi_guest *g = &self->g;
	const u8 *code = g->start.mem + KVMI_GUEST_CODE;
	struct kvmi_event pause, ev;
	u64 exits;
	int i;

	if (!is_supported())
		SKIP(return, "The processor does not intercept them");

	/* 100 times STR EAX, then LOOP */
	g->start.regs.rcx = 100;
	kvmi_guest_code(g, "\x0f\x00\xc8\xe2\xfb");
	TEST_ASSERT_EQ(code[0], 0x0f);

	for (i = 0; i < 3; i++) {
		kvmi_guest_reset(g);
		kvmi_guest_park(g, &pause);
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0,
						    KVMI_VCPU_EVENT_DESCRIPTOR,
						    i == 1), 0);
		exits = vcpu_get_stat(g->vcpu, exits);
		kvmi_unpark(&g->s, &pause);
		if (i == 1) {
			kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
			kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
			TEST_ASSERT_EQ(ev.common.arch.regs.rcx, 99);
			kvmi_insn_disable(g);
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		}
		TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
		TEST_ASSERT_EQ(g->state.regs.rax, KVMI_GUEST_TR);
		exits = vcpu_get_stat(g->vcpu, exits) - exits;
		TEST_ASSERT(exits < 50, "Round %d: %lu exits", i, exits);
	}
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
