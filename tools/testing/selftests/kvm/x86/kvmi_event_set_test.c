// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_CONTROL_EVENT_SET
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

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
