// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_CONTROL_CR and KVMI_VCPU_EVENT_CR
 */
#include "kvmi_test_harness.h"

/* The guest writes this way so that the tool knows the length: MOV RAX, CRn */
#define WRITE_INSN_SIZE		3

static u64 read_cr(u64 cr)
{
	switch (cr) {
	case 0:
		return get_cr0();
	case 3:
		return get_cr3();
	default:
		return get_cr4();
	}
}

static u8 write_cr(u64 cr, u64 val)
{
	switch (cr) {
	case 0:
		return kvm_asm_safe("mov %%rax, %%cr0", "a"(val));
	case 3:
		return kvm_asm_safe("mov %%rax, %%cr3", "a"(val));
	default:
		return kvm_asm_safe("mov %%rax, %%cr4", "a"(val));
	}
}

/* The same by way of KVM's emulator */
static u8 emulate_write_cr(u64 cr, u64 val)
{
	switch (cr) {
	case 0:
		return kvm_asm_safe_fep("mov %%rax, %%cr0", "a"(val));
	case 3:
		return kvm_asm_safe_fep("mov %%rax, %%cr3", "a"(val));
	default:
		return kvm_asm_safe_fep("mov %%rax, %%cr4", "a"(val));
	}
}

/* Flip bits of a register, and tell how that went. */
static void guest_code(u64 cr, u64 bits, u64 emulate)
{
	u64 old, vector;

	for (;;) {
		old = read_cr(cr);
		vector = emulate ? emulate_write_cr(cr, old ^ bits) :
				   write_cr(cr, old ^ bits);
		GUEST_SYNC3(old, read_cr(cr), vector);
	}
}

/* Many enough to tell from the exits that happen anyway. */
#define NR_WRITES 400

static void guest_code_many(u64 cr, u64 bits)
{
	int i;

	for (;;) {
		for (i = 0; i < NR_WRITES; i++)
			write_cr(cr, read_cr(cr) ^ bits);
		GUEST_SYNC(0);
	}
}

FIXTURE(kvmi_cr) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u64 old;
	u64 new;
};

/* @bit and @other are for the guest to flip, @illegal is not. */
FIXTURE_VARIANT(kvmi_cr) {
	u8 cr;
	u64 bit;
	u64 other;
	u64 illegal;
	/* The guest flips @bit without leaving, given two-dimensional paging. */
	bool vmx_passthrough;
	bool svm_passthrough;
	bool emulate;
};

FIXTURE_VARIANT_ADD(kvmi_cr, cr0) {
	.cr = 0,
	.bit = X86_CR0_AM,
	.other = X86_CR0_CD,
	.illegal = X86_CR0_NW,
};

FIXTURE_VARIANT_ADD(kvmi_cr, cr0_wp) {
	.cr = 0,
	.bit = X86_CR0_WP,
	.other = X86_CR0_WP | X86_CR0_AM,
	.illegal = X86_CR0_WP | X86_CR0_NW,
	.vmx_passthrough = true,
};

/* PWT and PCD */
FIXTURE_VARIANT_ADD(kvmi_cr, cr3) {
	.cr = 3,
	.bit = BIT(3),
	.other = BIT(4),
	.illegal = BIT(60),
	.vmx_passthrough = true,
	.svm_passthrough = true,
};

FIXTURE_VARIANT_ADD(kvmi_cr, cr4) {
	.cr = 4,
	.bit = X86_CR4_PSE,
	.other = X86_CR4_MCE,
	.illegal = BIT(31),
};

FIXTURE_VARIANT_ADD(kvmi_cr, cr4_pge) {
	.cr = 4,
	.bit = X86_CR4_PGE,
	.other = X86_CR4_PGE | X86_CR4_DE,
	.illegal = X86_CR4_PGE | BIT(31),
	.vmx_passthrough = true,
};

static u64 host_cr(struct kvm_vcpu *vcpu, u8 cr)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	return cr == 0 ? sregs.cr0 : cr == 3 ? sregs.cr3 : sregs.cr4;
}

static u64 event_cr(struct kvmi_event *ev, u8 cr)
{
	struct kvm_sregs *sregs = &ev->common.arch.sregs;

	return cr == 0 ? sregs->cr0 : cr == 3 ? sregs->cr3 : sregs->cr4;
}

FIXTURE_VARIANT_ADD(kvmi_cr, cr0_emulated) {
	.cr = 0,
	.bit = X86_CR0_AM,
	.other = X86_CR0_CD,
	.illegal = X86_CR0_NW,
	.emulate = true,
};

FIXTURE_VARIANT_ADD(kvmi_cr, cr3_emulated) {
	.cr = 3,
	.bit = BIT(3),
	.other = BIT(4),
	.illegal = BIT(60),
	.emulate = true,
};

FIXTURE_VARIANT_ADD(kvmi_cr, cr4_emulated) {
	.cr = 4,
	.bit = X86_CR4_PSE,
	.other = X86_CR4_MCE,
	.illegal = BIT(31),
	.emulate = true,
};

/* This bit is 1 after any write to CR0: have it so before. */
static void set_cr0_et(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr0 |= X86_CR0_ET;
	vcpu_sregs_set(vcpu, &sregs);
}

FIXTURE_SETUP(kvmi_cr)
{
	if (variant->emulate && !is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	set_cr0_et(self->vcpu);
	vcpu_args_set(self->vcpu, 3, (u64)variant->cr, variant->bit,
		      (u64)variant->emulate);
	self->old = host_cr(self->vcpu, variant->cr);
	self->new = self->old ^ variant->bit;
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_cr)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void enable(struct kvmi_session *s, u8 cr)
{
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, cr, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
}

/* Start the guest with the event enabled, and receive it. */
static void start(struct _test_data_kvmi_cr *self, u8 cr, struct kvmi_event *ev)
{
	struct kvmi_event pause;
	u8 insn[2];
	u64 rip;

	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	enable(&self->s, cr);
	kvmi_unpark(&self->s, &pause);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, ev);
	TEST_ASSERT_EQ(ev->cr.cr, cr);
	TEST_ASSERT_EQ(ev->cr.old_value, self->old);
	TEST_ASSERT_EQ(ev->cr.new_value, self->new);

	/* The event comes before the write, with RIP where that is. */
	TEST_ASSERT_EQ(ev->common.vcpu, 0);
	TEST_ASSERT_EQ(event_cr(ev, cr), self->old);
	rip = ev->common.arch.regs.rip;
	memcpy(insn, addr_gva2hva(self->vm, rip), sizeof(insn));
	TEST_ASSERT(insn[0] == 0x0f && insn[1] == 0x22,
		    "RIP 0x%lx is not at a write to a CR", rip);
}

/* The guest's next write undoes the last one. */
static void undo(struct _test_data_kvmi_cr *self)
{
	u64 old = self->old;

	self->old = self->new;
	self->new = old;
}

/* The guest has seen this value after the write, and this exception if any. */
static void finish(struct _test_data_kvmi_cr *self, u8 cr, u64 value, u8 vector)
{
	struct ucall uc;

	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], self->old);
	TEST_ASSERT_EQ(uc.args[1], value);
	TEST_ASSERT_EQ(uc.args[2], vector);
	TEST_ASSERT_EQ(host_cr(self->vcpu, cr), value);
}

KVMI_TEST(kvmi_cr, allow)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, allow_guest_value)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, self->new);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, allow_old_value)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, self->old);
	finish(self, variant->cr, self->old, 0);
}

KVMI_TEST(kvmi_cr, allow_other_value)
{
	struct kvmi_event ev;
	u64 val = self->old ^ variant->other;

	start(self, variant->cr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, val);
	finish(self, variant->cr, val, 0);
}

/* A value that the processor refuses is refused, whoever it comes from. */
KVMI_TEST(kvmi_cr, allow_illegal_value)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW,
		       self->old ^ variant->illegal);
	finish(self, variant->cr, self->old, GP_VECTOR);
}

/* The same without a tool, as proof that the value is illegal. */
KVMI_TEST(kvmi_cr, illegal_value_of_the_guest)
{
	if (variant->cr == 3 && kvm_is_tdp_enabled() && !variant->emulate)
		SKIP(return, "It is not KVM that looks at the guest's value");

	vcpu_args_set(self->vcpu, 3, (u64)variant->cr, variant->illegal,
		      (u64)variant->emulate);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	finish(self, variant->cr, self->old, GP_VECTOR);
}

KVMI_TEST(kvmi_cr, skip)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->cr, self->old, 0);
}

/* The value is for ALLOW. */
KVMI_TEST(kvmi_cr, skip_with_value)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_SKIP, self->new);
	finish(self, variant->cr, self->old, 0);
}

KVMI_TEST(kvmi_cr, retry)
{
	struct kvmi_event first, ev;
	int i;

	start(self, variant->cr, &first);
	kvmi_reply(&self->s, &first, KVMI_EVENT_ACTION_RETRY);
	for (i = 0; i < 3; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
		TEST_ASSERT(!memcmp(&ev.cr, &first.cr, sizeof(ev.cr)),
			    "The instruction did something else");
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, first.common.arch.regs.rip);
		kvmi_reply(&self->s, &ev, i == 2 ? KVMI_EVENT_ACTION_ALLOW :
						   KVMI_EVENT_ACTION_RETRY);
	}
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, retry_with_the_event_disabled)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, variant->cr, 0), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, retry_with_rip_moved)
{
	struct kvmi_event ev;
	struct kvm_regs regs;

	start(self, variant->cr, &ev);
	regs = ev.common.arch.regs;
	regs.rip += WRITE_INSN_SIZE;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	finish(self, variant->cr, self->old, 0);
}

KVMI_TEST(kvmi_cr, retry_with_another_value)
{
	struct kvmi_event ev;
	struct kvm_regs regs;
	u64 val = self->old ^ variant->other;

	start(self, variant->cr, &ev);
	regs = ev.common.arch.regs;
	TEST_ASSERT_EQ(regs.rax, self->new);
	regs.rax = val;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.old_value, self->old);
	TEST_ASSERT_EQ(ev.cr.new_value, val);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->cr, val, 0);
}

KVMI_TEST(kvmi_cr, crash)
{
	struct kvmi_event ev;
	int i;

	start(self, variant->cr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	TEST_ASSERT_EQ(host_cr(self->vcpu, variant->cr), self->old);

	for (i = 0; i < 3; i++) {
		self->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&self->r, &self->s, self->vcpu);
		kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	}

	/* Without introspection there is nothing wrong with the guest. */
	kvmi_unhook(&self->s);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_IO);
}

KVMI_TEST(kvmi_cr, bad_action)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply_val(&self->s, &ev, 4, self->old);
	kvmi_expect_closed(&self->s);
	/* What the guest wanted is what happens. */
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, tool_closes)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_close(&self->s);
	finish(self, variant->cr, self->new, 0);

	/* Nobody is there to be asked from now on. */
	undo(self);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, unhook)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_unhook(&self->s);
	self->r.s = NULL;
	finish(self, variant->cr, self->new, 0);

	/* The next session does not inherit anything. */
	kvmi_hook(&self->s, self->vm);
	undo(self);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, same_value_is_not_reported)
{
	struct kvmi_event ev;

	vcpu_args_set(self->vcpu, 3, (u64)variant->cr, 0ull,
		      (u64)variant->emulate);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, variant->cr);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->cr, self->old, 0);
}

/* If asked for it is, where the processor exits for it. */
KVMI_TEST(kvmi_cr, same_value)
{
	struct kvmi_event ev;
	int i;

	vcpu_args_set(self->vcpu, 3, (u64)variant->cr, 0ull,
		      (u64)variant->emulate);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, variant->cr);
	TEST_ASSERT_KVMI(kvmi_control_cr_flags(&self->s, 0, variant->cr,
					       KVMI_CONTROL_SAME_VALUE),
			 variant->cr == 3 ? 0 : -KVM_EOPNOTSUPP);
	kvmi_unpark(&self->s, &ev);
	for (i = 0; i < 2 && variant->cr == 3; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
		TEST_ASSERT_EQ(ev.cr.cr, variant->cr);
		TEST_ASSERT_EQ(ev.cr.old_value, self->old);
		TEST_ASSERT_EQ(ev.cr.new_value, self->old);
		/* The last word counts. */
		if (i)
			enable(&self->s, variant->cr);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		finish(self, variant->cr, self->old, 0);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	}
	finish(self, variant->cr, self->old, 0);
}

KVMI_TEST(kvmi_cr, other_registers_are_not_reported)
{
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, variant->cr == 0 ? 3 : 0);
	enable(&self->s, variant->cr == 4 ? 3 : 4);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, register_without_event_is_not_reported)
{
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, variant->cr, 1), 0);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, event_without_register_is_not_reported)
{
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->cr, self->new, 0);
}

KVMI_TEST(kvmi_cr, disabled_again)
{
	struct kvmi_event ev;
	int i;

	for (i = 0; i < 2; i++) {
		start(self, variant->cr, &ev);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		finish(self, variant->cr, self->new, 0);

		/* By register the first time, by event the second. */
		undo(self);
		kvmi_park(&self->r, &self->s, self->vcpu, &ev);
		if (i)
			TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0,
							    KVMI_VCPU_EVENT_CR,
							    0), 0);
		else
			TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0,
							 variant->cr, 0), 0);
		kvmi_unpark(&self->s, &ev);
		finish(self, variant->cr, self->new, 0);
		undo(self);
	}
}

/* What the VMM withdraws afterwards stays on. */
KVMI_TEST(kvmi_cr, event_withdrawn)
{
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, -1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_CR, 1),
			 -KVM_EPERM);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->cr, self->new, 0);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.new_value, self->old);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	undo(self);
	finish(self, variant->cr, self->old, 0);
}

/* What the VMM writes is not the guest's doing. */
KVMI_TEST(kvmi_cr, host_writes_are_not_reported)
{
	struct kvm_sregs sregs;
	struct kvmi_event ev;

	start(self, variant->cr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->cr, self->old, 0);

	vcpu_sregs_get(self->vcpu, &sregs);
	*(variant->cr == 0 ? &sregs.cr0 : variant->cr == 3 ? &sregs.cr3 :
	  &sregs.cr4) = self->new;
	vcpu_sregs_set(self->vcpu, &sregs);
	TEST_ASSERT_EQ(host_cr(self->vcpu, variant->cr), self->new);
}

/* A register that the guest writes on its own is intercepted for the event. */
KVMI_TEST(kvmi_cr, intercepted_while_enabled)
{
	/* Both, the register and the event, are needed. */
	static const struct {
		u8 chosen, event;
	} rounds[] = { { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 }, { 1, 1 }, { 0, 0 } };
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvmi_event ev;
	struct ucall uc;
	u64 exits;
	int i, j;

	if (!kvm_is_tdp_enabled() ||
	    !(host_cpu_is_intel ? variant->vmx_passthrough :
				  variant->svm_passthrough))
		SKIP(return, "The guest does not write the register on its own");

	vcpu_arch_set_entry_point(vcpu, guest_code_many);

	for (i = 0; i < ARRAY_SIZE(rounds); i++) {
		kvmi_park(&self->r, &self->s, vcpu, &ev);
		TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, variant->cr,
						 rounds[i].chosen), 0);
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_CR,
						    rounds[i].event), 0);
		exits = vcpu_get_stat(vcpu, exits);
		kvmi_unpark(&self->s, &ev);
		for (j = 0; j < NR_WRITES && rounds[i].chosen && rounds[i].event; j++) {
			kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
			kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		}
		kvmi_run_wait_sync(&self->r, &uc);
		exits = vcpu_get_stat(vcpu, exits) - exits;
		if (rounds[i].chosen && rounds[i].event)
			TEST_ASSERT(exits >= NR_WRITES, "Only %lu exits", exits);
		else
			TEST_ASSERT(exits < NR_WRITES / 2, "Round %d: %lu exits",
				    i, exits);
	}
}

/* Every vCPU has its own filter. */
KVMI_TEST(kvmi_cr, other_vcpus_are_not_reported)
{
	struct kvmi_event ev;
	struct kvm_vcpu *vcpu;
	struct ucall uc;

	vcpu = vm_vcpu_add(self->vm, 1, guest_code);
	vcpu_args_set(vcpu, 3, (u64)variant->cr, variant->bit,
		      (u64)variant->emulate);
	set_cr0_et(vcpu);

	start(self, variant->cr, &ev);
	kvmi_run_to_sync(NULL, vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[1], uc.args[0] ^ variant->bit);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->cr, self->old, 0);
}

/* With PCIDs, bit 63 has the TLB keep what it has.  CR3 does not get it. */
static void guest_code_pcid(u64 emulate)
{
	u64 cr3, noflush = BIT_ULL(63);

	set_cr4(get_cr4() | X86_CR4_PCIDE);
	for (;;) {
		cr3 = get_cr3();
		GUEST_ASSERT_EQ(emulate ? emulate_write_cr(3, cr3 | noflush) :
					  write_cr(3, cr3 | noflush), 0);
		GUEST_ASSERT_EQ(get_cr3(), cr3);
		cr3 ^= BIT(3);
		GUEST_ASSERT_EQ(emulate ? emulate_write_cr(3, cr3 | noflush) :
					  write_cr(3, cr3 | noflush), 0);
		GUEST_SYNC2(cr3, get_cr3());
	}
}

/* TS is the guest's own, whoever executes the instruction. */
static void guest_code_ts(u64 emulate)
{
	u64 cr0;

	for (;;) {
		cr0 = get_cr0();
		if (emulate) {
			GUEST_ASSERT_EQ(emulate_write_cr(0, cr0 | X86_CR0_TS), 0);
			GUEST_ASSERT_EQ(get_cr0(), cr0 | X86_CR0_TS);
			GUEST_ASSERT_EQ(kvm_asm_safe_fep("clts"), 0);
		} else {
			GUEST_ASSERT_EQ(write_cr(0, cr0 | X86_CR0_TS), 0);
			GUEST_ASSERT_EQ(get_cr0(), cr0 | X86_CR0_TS);
			asm volatile("clts");
		}
		GUEST_SYNC2(cr0, get_cr0());
	}
}

/* LMSW writes CR0, too. */
static void guest_code_lmsw_safe(u64 emulate)
{
	u64 old, vector;

	for (;;) {
		old = get_cr0();
		vector = emulate ? kvm_asm_safe_fep("lmsw %%ax", "a"(old ^ X86_CR0_MP)) :
				   kvm_asm_safe("lmsw %%ax", "a"(old ^ X86_CR0_MP));
		GUEST_SYNC3(old, get_cr0(), vector);
	}
}

static void guest_code_lmsw(void)
{
	u64 old;

	for (;;) {
		old = get_cr0();
		asm volatile("lmsw %w0" : : "r"(old | X86_CR0_MP));
		GUEST_SYNC1(get_cr0());
		set_cr0(old);
	}
}

FIXTURE(kvmi_control) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_control)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, NULL);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_control)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_control, control_cr_errors)
{
	static const struct kvmi_vcpu_control_cr bad[] = {
		{ .cr = 0, .padding1 = 1 },
		{ .cr = 3, .flags = KVMI_CONTROL_SAME_VALUE },
		{ .cr = 3, .enable = 1, .flags = 2 },
		{ .cr = 3, .enable = 1, .flags = 0x81 },
		{ .cr = 3, .padding2 = 0x80000000 },
		{ .cr = 4, .enable = 2 },
		{ .cr = 4, .enable = 255 },
		{ .cr = 1, .enable = 1 },
		{ .cr = 2, .enable = 1 },
		{ .cr = 5, .enable = 1 },
		{ .cr = 8, .enable = 1 },
		{ .cr = 255, .enable = 1 },
		{ .cr = 1 },
	};
	static const u8 good[] = { 0, 3, 4 };
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 3, 0ull, 0ull, 0ull);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_CR,
					       &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, good[i], 0), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, good[i], 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, good[i], 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, good[i], 0), 0);
	}
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_control, control_events_errors)
{
	static const struct kvmi_vcpu_control_events bad[] = {
		{ .event_id = KVMI_VCPU_EVENT_CR, .padding1 = 1 },
		{ .event_id = KVMI_VCPU_EVENT_CR, .padding2 = 1 },
		{ .event_id = KVMI_VCPU_EVENT_CR, .enable = 2 },
		{ .event_id = KVMI_VM_EVENT_UNHOOK },
		{ .event_id = KVMI_VM_EVENT_UNHOOK, .enable = 1 },
		{ .event_id = 2, .enable = 1 },
		{ .event_id = 63, .enable = 1 },
		{ .event_id = 255, .enable = 1 },
		{ .event_id = 0xffff, .enable = 1 },
	};
	static const u16 good[] = {
		KVMI_VCPU_EVENT_PAUSE, KVMI_VCPU_EVENT_CR, KVMI_VCPU_EVENT_MSR,
	};
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int i, allow;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 3, 0ull, 0ull, 0ull);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	for (allow = 1; allow >= 0; allow--) {
		TEST_ASSERT_EQ(__kvmi_event(self->vm, allow, -1), 0);
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0,
						       KVMI_VCPU_CONTROL_EVENTS,
						       &bad[i], sizeof(bad[i]),
						       NULL, 0), -KVM_EINVAL);
		for (i = 0; i < ARRAY_SIZE(good); i++) {
			TEST_ASSERT_KVMI(kvmi_control_event(s, 0, good[i], 1),
					 allow ? 0 : -KVM_EPERM);
			TEST_ASSERT_KVMI(kvmi_control_event(s, 0, good[i], 0),
					 allow ? 0 : -KVM_EPERM);
		}
	}
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_control, lmsw)
{
	static const u8 actions[] = {
		KVMI_EVENT_ACTION_SKIP, KVMI_EVENT_ACTION_ALLOW,
	};
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	if (!host_cpu_is_intel)
		SKIP(return, "The guest changes CR0.MP on its own");

	set_cr0_et(self->vcpu);
	vcpu_arch_set_entry_point(self->vcpu, guest_code_lmsw);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, 0);
	kvmi_unpark(&self->s, &ev);
	for (i = 0; i < 2; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
		TEST_ASSERT_EQ(ev.cr.cr, 0);
		TEST_ASSERT_EQ(ev.cr.new_value, ev.cr.old_value | X86_CR0_MP);
		kvmi_reply(&self->s, &ev, actions[i]);
		kvmi_run_wait_sync(&self->r, &uc);
		TEST_ASSERT_EQ(uc.args[0], i ? ev.cr.new_value : ev.cr.old_value);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	}
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.new_value, ev.cr.old_value & ~X86_CR0_MP);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
}

FIXTURE(kvmi_cr_insn) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_VARIANT(kvmi_cr_insn) {
	bool emulate;
};

FIXTURE_VARIANT_ADD(kvmi_cr_insn, executed) {
	.emulate = false,
};

FIXTURE_VARIANT_ADD(kvmi_cr_insn, emulated) {
	.emulate = true,
};

FIXTURE_SETUP(kvmi_cr_insn)
{
	if (variant->emulate && !is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, NULL);
	set_cr0_et(self->vcpu);
	vcpu_args_set(self->vcpu, 1, (u64)variant->emulate);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_cr_insn)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void start_insn(struct _test_data_kvmi_cr_insn *self, void *code, u8 cr)
{
	struct kvmi_event ev;

	vcpu_arch_set_entry_point(self->vcpu, code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, cr);
	kvmi_unpark(&self->s, &ev);
}

KVMI_TEST(kvmi_cr_insn, no_flush)
{
	static const u8 actions[] = {
		KVMI_EVENT_ACTION_ALLOW, KVMI_EVENT_ACTION_SKIP,
	};
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	if (!kvm_cpu_has(X86_FEATURE_PCID))
		SKIP(return, "The processor has no PCIDs");

	start_insn(self, guest_code_pcid, 3);
	for (i = 0; i < 4; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
		TEST_ASSERT_EQ(ev.cr.new_value, ev.cr.old_value ^ BIT(3));
		if (i < 2)
			kvmi_reply(&self->s, &ev, actions[i]);
		else
			kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW,
				       i == 2 ? ev.cr.new_value :
						ev.cr.old_value);
		kvmi_run_wait_sync(&self->r, &uc);
		TEST_ASSERT_EQ(uc.args[0], ev.cr.new_value);
		TEST_ASSERT_EQ(uc.args[1], i & 1 ? ev.cr.old_value :
						   ev.cr.new_value);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	}

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr_flags(&self->s, 0, 3,
					       KVMI_CONTROL_SAME_VALUE), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.new_value, ev.cr.old_value);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
}

KVMI_TEST(kvmi_cr_insn, ts_is_not_reported)
{
	struct ucall uc;

	start_insn(self, guest_code_ts, 0);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], uc.args[1]);
}

/* The tool's value raises #GP as it does with MOV to CR0. */
KVMI_TEST(kvmi_cr_insn, lmsw_with_illegal_value)
{
	struct kvmi_event ev;
	struct ucall uc;

	if (!host_cpu_is_intel && !variant->emulate)
		SKIP(return, "The guest changes CR0.MP on its own");

	start_insn(self, guest_code_lmsw_safe, 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.cr.new_value, ev.cr.old_value ^ X86_CR0_MP);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW,
		       ev.cr.old_value | X86_CR0_NW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], ev.cr.old_value);
	TEST_ASSERT_EQ(uc.args[1], ev.cr.old_value);
	TEST_ASSERT_EQ(uc.args[2], GP_VECTOR);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
