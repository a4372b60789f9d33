// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_CONTROL_MSR and KVMI_VCPU_EVENT_MSR
 */
#include "apic.h"
#include "kvmi_test_harness.h"

#define WRITE_INSN_SIZE		2

#define X2APIC_MSR(reg)		(APIC_BASE_MSR + ((reg) >> 4))

/* A write by way of KVM's emulator */
static u8 emulate_wrmsr(u32 msr, u64 val)
{
	return kvm_asm_safe_fep("wrmsr", "a"((u32)val), "d"(val >> 32), "c"(msr));
}

/* Flip bits of an MSR, and tell how that went. */
static void guest_code(u64 msr, u64 bits, u64 emulate)
{
	u64 old, vector;

	for (;;) {
		old = rdmsr(msr);
		vector = emulate ? emulate_wrmsr(msr, old ^ bits) :
				   wrmsr_safe(msr, old ^ bits);
		GUEST_SYNC3(old, rdmsr(msr), vector);
	}
}

/* Many enough to tell from the exits that happen anyway. */
#define NR_WRITES 400

static void guest_code_many(u64 msr, u64 val)
{
	int i;

	for (;;) {
		for (i = 0; i < NR_WRITES; i++)
			wrmsr(msr, val + (i & 1) * 0x1000);
		GUEST_SYNC(0);
	}
}

/* A write that is not followed by a read */
static void guest_code_write(u64 msr, u64 val)
{
	u64 vector;

	for (;;) {
		vector = wrmsr_safe(msr, val);
		GUEST_SYNC1(vector);
	}
}

FIXTURE(kvmi_msr) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	u64 old;
	u64 new;
};

/* @bits and @other are for the guest to flip, @illegal is not. */
FIXTURE_VARIANT(kvmi_msr) {
	u32 msr;
	u64 bits;
	u64 other;
	u64 illegal;
	/* The guest writes it without leaving. */
	bool vmx_passthrough;
	bool svm_passthrough;
	bool emulate;
};

FIXTURE_VARIANT_ADD(kvmi_msr, lstar) {
	.msr = MSR_LSTAR,
	.bits = 0xffffffff81000000,
	.other = 0xffffffff82000000,
	.illegal = BIT(62),
	.svm_passthrough = true,
};

FIXTURE_VARIANT_ADD(kvmi_msr, kernel_gs_base) {
	.msr = MSR_KERNEL_GS_BASE,
	.bits = 0xffff888000001000,
	.other = 0xffff888000002000,
	.illegal = BIT(62),
	.vmx_passthrough = true,
	.svm_passthrough = true,
};

FIXTURE_VARIANT_ADD(kvmi_msr, sysenter_eip) {
	.msr = MSR_IA32_SYSENTER_EIP,
	.bits = 0x12345000,
	.other = 0x6789a000,
	/* Nothing is illegal: KVM makes any address canonical. */
	.vmx_passthrough = true,
	.svm_passthrough = true,
};

FIXTURE_VARIANT_ADD(kvmi_msr, efer) {
	.msr = MSR_EFER,
	.bits = EFER_SCE,
	.other = 0,
	.illegal = BIT(62),
};

FIXTURE_VARIANT_ADD(kvmi_msr, lstar_emulated) {
	.msr = MSR_LSTAR,
	.bits = 0xffffffff81000000,
	.other = 0xffffffff82000000,
	.illegal = BIT(62),
	.emulate = true,
};

FIXTURE_VARIANT_ADD(kvmi_msr, efer_emulated) {
	.msr = MSR_EFER,
	.bits = EFER_SCE,
	.other = 0,
	.illegal = BIT(62),
	.emulate = true,
};

FIXTURE_SETUP(kvmi_msr)
{
	if (variant->emulate && !is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 3, (u64)variant->msr, variant->bits,
		      (u64)variant->emulate);
	self->old = vcpu_get_msr(self->vcpu, variant->msr);
	self->new = self->old ^ variant->bits;
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_msr)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void enable(struct kvmi_session *s, u32 msr)
{
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, msr, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
}

/* Start the guest with the event enabled, and receive it. */
static void start(struct _test_data_kvmi_msr *self, u32 msr, struct kvmi_event *ev)
{
	struct kvmi_event pause;
	u8 insn[2];
	u64 rip;

	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	enable(&self->s, msr);
	kvmi_unpark(&self->s, &pause);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, ev);
	TEST_ASSERT_EQ(ev->msr.msr, msr);
	TEST_ASSERT_EQ(ev->msr.old_value, self->old);
	TEST_ASSERT_EQ(ev->msr.new_value, self->new);

	/* The event comes before the write. */
	TEST_ASSERT_EQ(ev->common.vcpu, 0);
	rip = ev->common.arch.regs.rip;
	memcpy(insn, addr_gva2hva(self->vm, rip), sizeof(insn));
	TEST_ASSERT(insn[0] == 0x0f && insn[1] == 0x30,
		    "RIP 0x%lx is not at a WRMSR", rip);
}

/* The guest's next write undoes the last one. */
static void undo(struct _test_data_kvmi_msr *self)
{
	u64 old = self->old;

	self->old = self->new;
	self->new = old;
}

/* The guest has seen this value after the write, and this exception if any. */
static void finish(struct _test_data_kvmi_msr *self, u32 msr, u64 value, u8 vector)
{
	struct ucall uc;

	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], self->old);
	TEST_ASSERT_EQ(uc.args[1], value);
	TEST_ASSERT_EQ(uc.args[2], vector);
	TEST_ASSERT_EQ(vcpu_get_msr(self->vcpu, msr), value);
}

KVMI_TEST(kvmi_msr, allow)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, allow_guest_value)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, self->new);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, allow_old_value)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, self->old);
	finish(self, variant->msr, self->old, 0);
}

KVMI_TEST(kvmi_msr, allow_other_value)
{
	struct kvmi_event ev;
	u64 val = self->old ^ variant->other;

	start(self, variant->msr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, val);
	finish(self, variant->msr, val, 0);
}

/* A value that the processor refuses is refused, whoever it comes from. */
KVMI_TEST(kvmi_msr, allow_illegal_value)
{
	struct kvmi_event ev;

	if (!variant->illegal)
		SKIP(return, "Every value is legal");

	start(self, variant->msr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW,
		       self->old ^ variant->illegal);
	finish(self, variant->msr, self->old, GP_VECTOR);
}

KVMI_TEST(kvmi_msr, skip)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->msr, self->old, 0);
}

/* The value is for ALLOW. */
KVMI_TEST(kvmi_msr, skip_with_value)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_SKIP, self->new);
	finish(self, variant->msr, self->old, 0);
}

KVMI_TEST(kvmi_msr, retry)
{
	struct kvmi_event first, ev;
	int i;

	start(self, variant->msr, &first);
	kvmi_reply(&self->s, &first, KVMI_EVENT_ACTION_RETRY);
	for (i = 0; i < 3; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
		TEST_ASSERT(!memcmp(&ev.msr, &first.msr, sizeof(ev.msr)),
			    "The instruction did something else");
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, first.common.arch.regs.rip);
		kvmi_reply(&self->s, &ev, i == 2 ? KVMI_EVENT_ACTION_ALLOW :
						   KVMI_EVENT_ACTION_RETRY);
	}
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, retry_with_the_event_disabled)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, variant->msr, 0), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, retry_with_rip_moved)
{
	struct kvmi_event ev;
	struct kvm_regs regs;

	start(self, variant->msr, &ev);
	regs = ev.common.arch.regs;
	regs.rip += WRITE_INSN_SIZE;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	finish(self, variant->msr, self->old, 0);
}

KVMI_TEST(kvmi_msr, crash)
{
	struct kvmi_event ev;
	int i;

	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	TEST_ASSERT_EQ(vcpu_get_msr(self->vcpu, variant->msr), self->old);

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

KVMI_TEST(kvmi_msr, bad_action)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply_val(&self->s, &ev, 4, self->old);
	kvmi_expect_closed(&self->s);
	/* What the guest wanted is what happens. */
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, tool_closes)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_close(&self->s);
	finish(self, variant->msr, self->new, 0);

	/* Nobody is there to be asked from now on. */
	undo(self);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, unhook)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_unhook(&self->s);
	finish(self, variant->msr, self->new, 0);

	/* The next session does not inherit anything. */
	kvmi_hook(&self->s, self->vm);
	undo(self);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, same_value_is_not_reported)
{
	struct kvmi_event ev;

	vcpu_args_set(self->vcpu, 3, (u64)variant->msr, 0ull,
		      (u64)variant->emulate);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, variant->msr);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->msr, self->old, 0);
}

/* If asked for it is. */
KVMI_TEST(kvmi_msr, same_value)
{
	struct kvmi_event ev;
	int i;

	vcpu_args_set(self->vcpu, 3, (u64)variant->msr, 0ull,
		      (u64)variant->emulate);
	self->new = self->old;
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, variant->msr);
	TEST_ASSERT_KVMI(kvmi_control_msr_flags(&self->s, 0, variant->msr,
						KVMI_CONTROL_SAME_VALUE), 0);
	kvmi_unpark(&self->s, &ev);
	for (i = 0; i < 2; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
		TEST_ASSERT_EQ(ev.msr.msr, variant->msr);
		TEST_ASSERT_EQ(ev.msr.old_value, self->old);
		TEST_ASSERT_EQ(ev.msr.new_value, self->old);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		finish(self, variant->msr, self->old, 0);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	}

	/* The last word counts. */
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	enable(&self->s, variant->msr);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->msr, self->old, 0);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	finish(self, variant->msr, self->old, 0);
}

KVMI_TEST(kvmi_msr, other_msrs_are_not_reported)
{
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_MSR, 1),
			 0);
	/* Not all of them exist. */
	kvmi_control_msr(&self->s, 0, variant->msr + 1, 1);
	kvmi_control_msr(&self->s, 0, variant->msr - 1, 1);
	kvmi_control_msr(&self->s, 0, variant->msr ^ 0xc0000000, 1);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, msr_without_event_is_not_reported)
{
	struct kvmi_event ev;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, variant->msr, 1), 0);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->msr, self->new, 0);
}

KVMI_TEST(kvmi_msr, disabled_again)
{
	struct kvmi_event ev;
	int i;

	for (i = 0; i < 2; i++) {
		start(self, variant->msr, &ev);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		finish(self, variant->msr, self->new, 0);

		/* By MSR the first time, by event the second. */
		undo(self);
		kvmi_park(&self->r, &self->s, self->vcpu, &ev);
		if (i)
			TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0,
							    KVMI_VCPU_EVENT_MSR,
							    0), 0);
		else
			TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0,
							  variant->msr, 0), 0);
		kvmi_unpark(&self->s, &ev);
		finish(self, variant->msr, self->new, 0);
		undo(self);
	}
}

/* What the VMM writes is not the guest's doing. */
KVMI_TEST(kvmi_msr, host_writes_are_not_reported)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->msr, self->old, 0);

	/* This reads the value back. */
	vcpu_set_msr(self->vcpu, variant->msr, self->new);
}

/* An MSR that the guest writes on its own is intercepted for the event. */
KVMI_TEST(kvmi_msr, intercepted_while_enabled)
{
	/* Both, the MSR and the event, are needed. */
	static const struct {
		u8 chosen, event;
	} rounds[] = { { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 }, { 1, 1 }, { 0, 0 } };
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvmi_event ev;
	struct ucall uc;
	u64 exits;
	int i, j;

	if (!(host_cpu_is_intel ? variant->vmx_passthrough :
				  variant->svm_passthrough))
		SKIP(return, "The guest does not write the MSR on its own");

	vcpu_arch_set_entry_point(vcpu, guest_code_many);

	for (i = 0; i < ARRAY_SIZE(rounds); i++) {
		kvmi_park(&self->r, &self->s, vcpu, &ev);
		TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, variant->msr,
						  rounds[i].chosen), 0);
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_MSR,
						    rounds[i].event), 0);
		exits = vcpu_get_stat(vcpu, exits);
		kvmi_unpark(&self->s, &ev);
		for (j = 0; j < NR_WRITES && rounds[i].chosen && rounds[i].event; j++) {
			kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
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

/* The intercept goes with the session. */
KVMI_TEST(kvmi_msr, not_intercepted_after_unhook)
{
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvmi_event ev;
	struct ucall uc;
	u64 exits;

	if (!(host_cpu_is_intel ? variant->vmx_passthrough :
				  variant->svm_passthrough))
		SKIP(return, "The guest does not write the MSR on its own");

	vcpu_arch_set_entry_point(vcpu, guest_code_many);
	kvmi_park(&self->r, &self->s, vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, variant->msr, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);

	kvmi_unhook(&self->s);
	exits = vcpu_get_stat(vcpu, exits);
	kvmi_run_to_sync(NULL, vcpu, &uc);
	exits = vcpu_get_stat(vcpu, exits) - exits;
	TEST_ASSERT(exits < 500, "%lu exits", exits);
}

static void deny_write(struct kvm_vm *vm, u32 msr, bool deny)
{
	u8 bitmap = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_WRITE,
			.nmsrs = deny,
			.base = msr,
			.bitmap = &bitmap,
		},
	};

	if (!deny)
		filter.ranges[0].flags = 0;
	vm_ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter);
}

/* What userspace does not let the guest write is not the tool's business. */
KVMI_TEST(kvmi_msr, filtered_before)
{
	struct kvmi_event ev;

	deny_write(self->vm, variant->msr, true);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, variant->msr, 1),
			 -KVM_EPERM);
	TEST_ASSERT_KVMI(kvmi_control_msr(&self->s, 0, variant->msr, 0), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_MSR, 1),
			 0);
	kvmi_unpark(&self->s, &ev);
	finish(self, variant->msr, self->old, GP_VECTOR);

	deny_write(self->vm, variant->msr, false);
	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->msr, self->new, 0);
}

/* Nor when userspace comes second. */
KVMI_TEST(kvmi_msr, filtered_after)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->msr, self->old, 0);

	deny_write(self->vm, variant->msr, true);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	finish(self, variant->msr, self->old, GP_VECTOR);

	/* The tool's wish is not forgotten meanwhile. */
	deny_write(self->vm, variant->msr, false);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->msr, self->new, 0);
}

/* A filter for one MSR does not undo the intercept of another. */
KVMI_TEST(kvmi_msr, other_msr_filtered_after)
{
	struct kvmi_event ev;

	start(self, variant->msr, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->msr, self->old, 0);

	deny_write(self->vm, MSR_CSTAR, true);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->msr, self->new, 0);
}

/* Nor does a change of the guest's CPUID, after which KVM looks at all anew. */
KVMI_TEST(kvmi_msr, cpuid_set_after)
{
	struct kvmi_event pause, ev;

	/* Possible as the guest has not run yet. */
	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	enable(&self->s, variant->msr);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	vcpu_set_cpuid(self->vcpu);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_unpark(&self->s, &pause);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.msr, variant->msr);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->msr, self->new, 0);
}

/* Every vCPU has its own filter. */
KVMI_TEST(kvmi_msr, other_vcpus_are_not_reported)
{
	struct kvmi_event ev;
	struct kvm_vcpu *vcpu;
	struct ucall uc;

	vcpu = vm_vcpu_add(self->vm, 1, guest_code);
	vcpu_args_set(vcpu, 3, (u64)variant->msr, variant->bits,
		      (u64)variant->emulate);

	start(self, variant->msr, &ev);
	kvmi_run_to_sync(NULL, vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[1], self->new);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	finish(self, variant->msr, self->old, 0);
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

/*
 * KVM may handle a write to this one right after the VM exit, with interrupts
 * off.  The tool hears of it nonetheless.
 */
KVMI_TEST(kvmi_control, tsc_deadline)
{
	struct kvmi_event ev;
	struct ucall uc;

	if (!kvm_cpu_has(X86_FEATURE_TSC_DEADLINE_TIMER) &&
	    !vcpu_cpuid_has(self->vcpu, X86_FEATURE_TSC_DEADLINE_TIMER))
		vcpu_set_cpuid_feature(self->vcpu, X86_FEATURE_TSC_DEADLINE_TIMER);

	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	vcpu_args_set(self->vcpu, 2, (u64)MSR_IA32_TSC_DEADLINE, 0x12345ull);

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, MSR_IA32_TSC_DEADLINE);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.msr, MSR_IA32_TSC_DEADLINE);
	TEST_ASSERT_EQ(ev.msr.new_value, 0x12345);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0);
}

KVMI_TEST(kvmi_control, errors)
{
	static const struct kvmi_vcpu_control_msr bad[] = {
		{ .msr = MSR_LSTAR, .flags = KVMI_CONTROL_SAME_VALUE },
		{ .msr = MSR_LSTAR, .enable = 1, .flags = 2 },
		{ .msr = MSR_LSTAR, .enable = 1, .flags = 0x80 },
		{ .msr = MSR_LSTAR, .padding = 0x8000 },
		{ .msr = MSR_LSTAR, .enable = 2 },
		{ .msr = MSR_LSTAR, .enable = 255 },
		{ .msr = 0x2000, .enable = 1 },
		{ .msr = 0x4b564d00, .enable = 1 },
		{ .msr = 0xbfffffff, .enable = 1 },
		{ .msr = 0xc0002000, .enable = 1 },
		{ .msr = 0xffffffff, .enable = 1 },
		{ .msr = 0x2000 },
		/* There are none such, or they cannot be read */
		{ .msr = 0x1fff, .enable = 1 },
		{ .msr = 0xc0001fff, .enable = 1 },
		{ .msr = MSR_IA32_PRED_CMD, .enable = 1 },
		{ .msr = MSR_IA32_FLUSH_CMD, .enable = 1 },
	};
	/* KVM may let the guest write them on its own, or stop to. */
	static const u32 on_demand[] = {
		X2APIC_MSR(0), X2APIC_MSR(APIC_TASKPRI), X2APIC_MSR(APIC_EOI),
		X2APIC_MSR(APIC_ICR), X2APIC_MSR(APIC_SELF_IPI), 0x8ff,
		MSR_LBR_SELECT, MSR_LBR_TOS, MSR_LBR_NHM_FROM,
		MSR_LBR_NHM_TO + 31, MSR_LBR_INFO_0, MSR_LBR_CORE_FROM,
	};
	static const u32 good[] = {
		MSR_IA32_APICBASE, MSR_IA32_SYSENTER_CS, MSR_EFER, MSR_STAR,
	};
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 3, (u64)MSR_STAR, 0x1ull << 32, 0ull);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_MSR,
					       &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(on_demand); i++) {
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, on_demand[i], 1),
				 -KVM_EOPNOTSUPP);
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, on_demand[i], 0), 0);
	}
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, good[i], 0), 0);
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, good[i], 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, good[i], 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, good[i], 0), 0);
	}
	/* What cannot be turned on can be turned off. */
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_IA32_PRED_CMD, 0), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, 0x1fff, 0), 0);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[2], 0);
}

/* KVM has the MSR, but not for this guest: there is no write to ask about. */
KVMI_TEST(kvmi_control, msr_that_the_guest_does_not_have)
{
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_clear_cpuid_feature(self->vcpu, X86_FEATURE_RDTSCP);
	vcpu_clear_cpuid_feature(self->vcpu, X86_FEATURE_RDPID);
	if (!kvm_cpu_has(X86_FEATURE_RDTSCP))
		SKIP(return, "The processor has no TSC_AUX");

	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	vcpu_args_set(self->vcpu, 2, (u64)MSR_TSC_AUX, 0x123ull);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, MSR_TSC_AUX);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], GP_VECTOR);
}

/*
 * Instructions other than WRMSR change what is in MSRs, and are not reported.  See
 * coverage.rst.
 */
#define OTHER_BASE	0x1234000ull

static void guest_code_swapgs(void)
{
	wrmsr(MSR_KERNEL_GS_BASE, OTHER_BASE);
	GUEST_SYNC(0);
	asm volatile("swapgs");
	GUEST_SYNC2(rdmsr(MSR_GS_BASE), rdmsr(MSR_KERNEL_GS_BASE));
}

static void guest_code_wrfsbase(void)
{
	set_cr4(get_cr4() | X86_CR4_FSGSBASE);
	GUEST_SYNC(0);
	asm volatile("wrfsbase %0; wrgsbase %0" : : "r"(OTHER_BASE));
	GUEST_SYNC2(rdmsr(MSR_FS_BASE), rdmsr(MSR_GS_BASE));
}

/* The base of a segment is what its descriptor says, in 64-bit code, too. */
static void guest_code_load_fs(void)
{
	wrmsr(MSR_FS_BASE, OTHER_BASE);
	GUEST_SYNC(0);
	asm volatile("mov %%ds, %%ax; mov %%ax, %%fs" : : : "rax");
	GUEST_SYNC2(rdmsr(MSR_FS_BASE), 0);
}

/* The user's part of CET: IA32_U_CET and IA32_PL3_SSP */
#define U_CET_VALUE	2ull

static u8 xsave_area[4096] __aligned(64);

static void guest_code_xrstors(void)
{
	u64 *header = (u64 *)(xsave_area + 512);
	u64 *cet = (u64 *)(xsave_area + 576);

	set_cr4(get_cr4() | X86_CR4_OSXSAVE);
	wrmsr(MSR_IA32_XSS, XFEATURE_MASK_CET_USER);
	header[0] = XFEATURE_MASK_CET_USER;
	header[1] = XFEATURE_MASK_CET_USER | BIT_ULL(63);
	cet[0] = U_CET_VALUE;
	cet[1] = OTHER_BASE;
	GUEST_SYNC(0);
	asm volatile("xrstors64 %0" : : "m"(xsave_area),
		     "a"((u32)XFEATURE_MASK_CET_USER), "d"(0));
	GUEST_SYNC2(rdmsr(MSR_IA32_U_CET), rdmsr(MSR_IA32_PL3_SSP));
}

/* The two move each other. */
static void guest_code_tsc_adjust(void)
{
	u64 old;

	GUEST_SYNC(0);
	old = rdmsr(MSR_IA32_TSC_ADJUST);
	wrmsr(MSR_IA32_TSC, rdmsr(MSR_IA32_TSC) + BIT_ULL(40));
	GUEST_SYNC2(rdmsr(MSR_IA32_TSC_ADJUST) - old, 0);
}

static void run_with_bases_watched(struct _test_data_kvmi_control *self,
				   void *code, struct ucall *uc)
{
	struct kvmi_event ev;

	vcpu_arch_set_entry_point(self->vcpu, code);
	kvmi_run_to_sync(&self->s, self->vcpu, uc);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, MSR_FS_BASE);
	enable(&self->s, MSR_GS_BASE);
	enable(&self->s, MSR_KERNEL_GS_BASE);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, uc);
}

KVMI_TEST(kvmi_control, swapgs_is_not_reported)
{
	struct ucall uc;

	run_with_bases_watched(self, guest_code_swapgs, &uc);
	TEST_ASSERT_EQ(uc.args[0], OTHER_BASE);
}

KVMI_TEST(kvmi_control, wrfsbase_is_not_reported)
{
	struct ucall uc;

	if (!kvm_cpu_has(X86_FEATURE_FSGSBASE))
		SKIP(return, "The processor has no WRFSBASE");

	run_with_bases_watched(self, guest_code_wrfsbase, &uc);
	TEST_ASSERT_EQ(uc.args[0], OTHER_BASE);
	TEST_ASSERT_EQ(uc.args[1], OTHER_BASE);
}

KVMI_TEST(kvmi_control, segment_load_is_not_reported)
{
	struct ucall uc;

	run_with_bases_watched(self, guest_code_load_fs, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0);
}

KVMI_TEST(kvmi_control, tsc_adjust)
{
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_tsc_adjust);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, MSR_IA32_TSC_ADJUST);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT(uc.args[0] >> 39, "TSC_ADJUST has changed by 0x%lx only",
		    uc.args[0]);
}

KVMI_TEST(kvmi_control, xrstors_is_not_reported)
{
	struct kvmi_event ev;
	struct ucall uc;

	if (!kvm_cpu_has(X86_FEATURE_SHSTK))
		SKIP(return, "The processor, or the host, has no shadow stacks");

	vcpu_arch_set_entry_point(self->vcpu, guest_code_xrstors);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	enable(&self->s, MSR_IA32_U_CET);
	enable(&self->s, MSR_IA32_PL3_SSP);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], U_CET_VALUE);
	TEST_ASSERT_EQ(uc.args[1], OTHER_BASE);
}

/* The tool sees what the VMM sees, not what the guest may. */
KVMI_TEST(kvmi_control, filter_is_for_the_guest)
{
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_READ,
			.nmsrs = 1,
			.base = MSR_IA32_SYSENTER_EIP,
			.bitmap = (u8[]) { 0 },
		},
	};
	struct {
		struct kvmi_vcpu_get_registers hdr;
		u32 msr;
	} req = { .hdr.nmsrs = 1, .msr = MSR_IA32_SYSENTER_EIP };
	struct {
		struct kvmi_vcpu_get_registers_reply hdr;
		struct kvm_msr_entry msr;
	} rpl;
	struct kvmi_event ev;
	struct ucall uc;

	vm_ioctl(self->vm, KVM_X86_SET_MSR_FILTER, &filter);
	vcpu_set_msr(self->vcpu, MSR_IA32_SYSENTER_EIP, 0x4321);
	vcpu_arch_set_entry_point(self->vcpu, guest_code_write);
	vcpu_args_set(self->vcpu, 2, (u64)MSR_IA32_SYSENTER_EIP, 0x1234ull);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_REGISTERS, &req,
				       sizeof(req), &rpl, sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.msr.data, 0x4321);
	enable(&self->s, MSR_IA32_SYSENTER_EIP);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_MSR, &ev);
	TEST_ASSERT_EQ(ev.msr.old_value, 0x4321);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 0);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
