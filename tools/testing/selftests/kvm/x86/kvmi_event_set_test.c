// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_CONTROL_EVENT_SET, and what a tool can want of a vCPU
 * without its thread
 */
#include "kvmi_test_harness.h"

#define EVENT(name)	BIT_ULL(KVMI_VCPU_EVENT_##name)

/* Every event of a vCPU that can be turned on for it */
#define ALL_EVENTS	(EVENT(PAUSE) | EVENT(HYPERCALL) | EVENT(BREAKPOINT) | \
			 EVENT(CR) | EVENT(TRAP) | EVENT(XSETBV) |	       \
			 EVENT(DESCRIPTOR) | EVENT(MSR) | EVENT(PF) |	       \
			 EVENT(SINGLESTEP) | EVENT(CPUID) | EVENT(ACCESS))

/* Something for CR, and something for CPUID */
static void guest_code(void)
{
	u32 eax, ebx, ecx, edx;

	for (;;) {
		set_cr4(get_cr4() ^ X86_CR4_PSE);
		cpuid(0, &eax, &ebx, &ecx, &edx);
		GUEST_SYNC(0);
	}
}

FIXTURE(kvmi_event_set) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	/* The vCPU is in this event at the beginning of a test. */
	struct kvmi_event pause;
};

FIXTURE_SETUP(kvmi_event_set)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &self->pause);
}

FIXTURE_TEARDOWN(kvmi_event_set)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void finish(struct _test_data_kvmi_event_set *self)
{
	struct ucall uc;

	kvmi_run_wait_sync(&self->r, &uc);
}

static int control(struct kvmi_session *s, u64 enable, u64 disable, u64 *enabled)
{
	struct kvmi_vcpu_control_event_set req = {
		.enable = enable,
		.disable = disable,
	};
	struct kvmi_vcpu_control_event_set_reply rpl = { };
	int err;

	err = kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_EVENT_SET, &req, sizeof(req),
			    &rpl, sizeof(rpl));
	*enabled = rpl.enabled;
	return err;
}

static void expect_set(struct kvmi_session *s, u64 enable, u64 disable, u64 enabled)
{
	u64 val;

	TEST_ASSERT_KVMI(control(s, enable, disable, &val), 0);
	TEST_ASSERT_EQ(val, enabled);
}

/* A command that fails leaves everything as it was. */
static void expect_error(struct kvmi_session *s, u64 enable, u64 disable, int error)
{
	u64 before, after;

	TEST_ASSERT_KVMI(control(s, 0, 0, &before), 0);
	TEST_ASSERT_KVMI(control(s, enable, disable, &after), error);
	expect_set(s, 0, 0, before);
}

KVMI_TEST(kvmi_event_set, enable_and_disable)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;

	expect_set(s, 0, 0, 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	expect_set(s, EVENT(CR), 0, EVENT(CR));
	expect_set(s, EVENT(CPUID), 0, EVENT(CR) | EVENT(CPUID));
	kvmi_unpark(s, &self->pause);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self);

	/* One is turned off as the other is turned on. */
	kvmi_park(&self->r, s, self->vcpu, &self->pause);
	expect_set(s, 0, EVENT(CPUID), EVENT(CR));
	expect_set(s, EVENT(CPUID), EVENT(CR), EVENT(CPUID));
	kvmi_unpark(s, &self->pause);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self);
}

/* What is on may be turned on, and what is off, off. */
KVMI_TEST(kvmi_event_set, twice)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_session *s = &self->s;
	u64 all;
	int i;

	kvmi_get_features(s, &features);
	all = ALL_EVENTS & features.events;
	for (i = 0; i < 2; i++)
		expect_set(s, all, 0, all);
	for (i = 0; i < 2; i++)
		expect_set(s, 0, all, 0);
	kvmi_unpark(s, &self->pause);
	finish(self);
}

/* The other command and this one are about the same events. */
KVMI_TEST(kvmi_event_set, and_control_events)
{
	struct kvmi_session *s = &self->s;

	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
	expect_set(s, EVENT(BREAKPOINT), 0, EVENT(MSR) | EVENT(BREAKPOINT));
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 1),
			 -KVM_EBUSY);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 0), 0);
	expect_set(s, 0, 0, EVENT(MSR));
	kvmi_unpark(s, &self->pause);
	finish(self);
}

KVMI_TEST(kvmi_event_set, errors)
{
	struct kvmi_session *s = &self->s;
	u64 bit;
	int i;

	expect_set(s, EVENT(MSR), 0, EVENT(MSR));
	expect_error(s, EVENT(CR), EVENT(CR), -KVM_EINVAL);
	expect_error(s, EVENT(CR) | EVENT(MSR), EVENT(MSR), -KVM_EINVAL);
	for (i = 0; i < 64; i++) {
		bit = BIT_ULL(i);
		if (bit & ALL_EVENTS)
			continue;
		expect_error(s, bit, 0, -KVM_EINVAL);
		expect_error(s, 0, bit, -KVM_EINVAL);
		expect_error(s, bit | EVENT(CR), EVENT(MSR), -KVM_EINVAL);
	}

	/* The first that is wrong counts. */
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, KVMI_VCPU_EVENT_CR), 0);
	expect_error(s, EVENT(CR) | EVENT(CPUID), EVENT(MSR), -KVM_EPERM);
	expect_error(s, EVENT(CPUID), EVENT(CR), -KVM_EPERM);
	expect_error(s, EVENT(CR) | EVENT(CREATE_VCPU), 0, -KVM_EPERM);
	expect_error(s, EVENT(CR) | BIT_ULL(KVMI_VM_EVENT_UNHOOK), 0, -KVM_EINVAL);
	kvmi_unpark(s, &self->pause);
	finish(self);
}

/* The guest may go on */
static u64 go;

static void guest_code_wait(void)
{
	u32 eax, ebx, ecx, edx;

	while (!READ_ONCE(go))
		cpu_relax();
	set_cr4(get_cr4() ^ X86_CR4_PSE);
	cpuid(0, &eax, &ebx, &ecx, &edx);
	GUEST_SYNC(0);
}

static void guest_code_halt(void)
{
	asm volatile("cli; hlt");
	GUEST_FAIL("The guest went on after HLT");
}

enum place { USERSPACE, GUEST, HALTED };

FIXTURE(kvmi_no_event) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

/* Where the vCPU is when the tool wants something of it */
FIXTURE_VARIANT(kvmi_no_event) {
	enum place place;
};

FIXTURE_VARIANT_ADD(kvmi_no_event, in_userspace) { .place = USERSPACE };
FIXTURE_VARIANT_ADD(kvmi_no_event, in_guest) { .place = GUEST };
FIXTURE_VARIANT_ADD(kvmi_no_event, halted) { .place = HALTED };

static void wait_until_halted(struct kvm_vcpu *vcpu)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;

	while (!vcpu_get_stat(vcpu, blocking)) {
		TEST_ASSERT(time(NULL) < end, "The vCPU does not halt");
		sched_yield();
	}
}

FIXTURE_SETUP(kvmi_no_event)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, variant->place == HALTED ?
							guest_code_halt : guest_code_wait);
	kvmi_hook(&self->s, self->vm);
	if (variant->place != USERSPACE)
		kvmi_run_start(&self->r, &self->s, self->vcpu);
	if (variant->place == HALTED)
		wait_until_halted(self->vcpu);
}

FIXTURE_TEARDOWN(kvmi_no_event)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void let_guest_go_on(struct _test_data_kvmi_no_event *self, enum place place)
{
	write_guest_global(self->vm, go, 1);
	if (place == USERSPACE)
		kvmi_run_start(&self->r, &self->s, self->vcpu);
}

/* Without an event */
static void end_run(struct _test_data_kvmi_no_event *self, enum place place)
{
	struct ucall uc;

	if (place == HALTED) {
		kvmi_run_signal(&self->r);
		kvmi_run_wait_eintr(&self->r);
	} else {
		let_guest_go_on(self, place);
		kvmi_run_wait_sync(&self->r, &uc);
	}
}

static void get_control(struct kvmi_session *s, struct kvmi_vcpu_get_control_reply *rpl)
{
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_CONTROL, NULL, 0, rpl,
				       sizeof(*rpl)), 0);
}

/* The vCPU need not run for it, and what was asked for holds from the reply on. */
KVMI_TEST(kvmi_no_event, turn_on)
{
	struct kvmi_vcpu_get_control_reply rpl;
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;

	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	expect_set(s, EVENT(CR), 0, EVENT(CR) | EVENT(CPUID));
	get_control(s, &rpl);
	TEST_ASSERT_EQ(rpl.events, EVENT(CR) | EVENT(CPUID));
	TEST_ASSERT_EQ(rpl.crs, BIT(4));

	if (variant->place == HALTED) {
		end_run(self, HALTED);
		return;
	}
	let_guest_go_on(self, variant->place);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_no_event, turn_off)
{
	u64 wakeups = vcpu_get_stat(self->vcpu, halt_wakeup);
	struct kvmi_session *s = &self->s;
	int i;

	for (i = 0; i < 20; i++) {
		expect_set(s, EVENT(CR) | EVENT(CPUID), 0, EVENT(CR) | EVENT(CPUID));
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CPUID, 0), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 0), 0);
	}
	/* Its thread has slept on. */
	if (variant->place == HALTED)
		TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, halt_wakeup), wakeups);
	end_run(self, variant->place);
}

/* The replies of a vCPU come in order, also if its thread does not run all commands. */
KVMI_TEST(kvmi_no_event, order)
{
	const struct {
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_control_events req;
	} on = {
		.req.event_id = KVMI_VCPU_EVENT_CPUID,
		.req.enable = 1,
	};
	const struct kvmi_vm_set_rules rules = { .event = KVMI_VCPU_EVENT_CR };
	struct kvmi_session *s = &self->s;
	struct kvmi_msg msg;
	u32 vcpu, i, round;
	struct kvmi_batch batch;

	if (variant->place == USERSPACE)
		SKIP(return, "Nobody replies to the second command");
	for (round = 0; round < 50; round++) {
		batch.size = 0;
		kvmi_batch_add(&batch, KVMI_VCPU_CONTROL_EVENTS, 0, &on, sizeof(on));
		kvmi_batch_add(&batch, KVMI_VCPU_GET_INFO, 1, &on.vcpu, sizeof(on.vcpu));
		/* It takes long. */
		kvmi_batch_add(&batch, KVMI_VM_SET_RULES, 2, &rules, sizeof(rules));
		kvmi_send(s, batch.data, batch.size);
		for (i = 0, vcpu = 0; i < 3; i++) {
			kvmi_recv(s, &msg);
			if (msg.hdr.id != KVMI_VM_SET_RULES)
				TEST_ASSERT_EQ(msg.hdr.seq, vcpu++);
		}
	}
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CPUID, 0), 0);
	end_run(self, variant->place);
}

KVMI_TEST(kvmi_no_event, errors)
{
	struct kvmi_session *s = &self->s;
	u64 val;

	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CPUID, 2), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, 63, 1), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 2, 1), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, 0x5000, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_LSTAR, 0), 0);
	TEST_ASSERT_KVMI(control(s, EVENT(CR), EVENT(CR), &val), -KVM_EINVAL);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, KVMI_VCPU_EVENT_CR), 0);
	TEST_ASSERT_KVMI(control(s, EVENT(CPUID) | EVENT(CR), 0, &val), -KVM_EPERM);
	expect_set(s, 0, 0, 0);
	end_run(self, variant->place);
}

/*
 * Breakpoints may be userspace's, and an MSR has to be read: that is for the vCPU's
 * thread, and what follows waits for it.
 */
KVMI_TEST(kvmi_no_event, for_the_thread)
{
	struct kvmi_vcpu_control_msr msr = { .msr = MSR_LSTAR, .enable = 1 };
	struct kvmi_vcpu_get_control_reply rpl;
	struct kvmi_vcpu_control_events bp = {
		.event_id = KVMI_VCPU_EVENT_BREAKPOINT,
		.enable = 1,
	};
	enum place place = variant->place;
	struct kvmi_session *s = &self->s;
	u32 seqs[3];

	seqs[0] = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_EVENTS, &bp, sizeof(bp));
	seqs[1] = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_MSR, &msr, sizeof(msr));
	seqs[2] = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_CONTROL, NULL, 0);
	if (place == USERSPACE) {
		/* The receiver has got all of them. */
		TEST_ASSERT_KVMI(kvmi_check_command(s, KVMI_GET_VERSION), 0);
		TEST_ASSERT_EQ(kvmi_bytes_to_read(s), 0);
		kvmi_run_start(&self->r, s, self->vcpu);
		place = GUEST;
	}
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_CONTROL_EVENTS, seqs[0], NULL, 0),
			 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_CONTROL_MSR, seqs[1], NULL, 0), 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_GET_CONTROL, seqs[2], &rpl,
					 sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.events, EVENT(BREAKPOINT));
	TEST_ASSERT(rpl.msrs[128 + (MSR_LSTAR & 0x1fff) / 64] & BIT_ULL(MSR_LSTAR % 64),
		    "LSTAR was not chosen");
	end_run(self, place);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
