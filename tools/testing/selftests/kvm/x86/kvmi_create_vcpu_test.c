// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_CREATE_VCPU
 */
#include "kvmi_test_harness.h"

#define EVENT	KVMI_VCPU_EVENT_CREATE_VCPU

static u64 started;

static void guest_code(u64 arg)
{
	u32 eax, ebx, ecx, edx;

	WRITE_ONCE(started, started + 1);
	cpuid(0, &eax, &ebx, &ecx, &edx);
	for (;;)
		GUEST_SYNC(arg);
}

static void other_guest_code(u64 arg)
{
	for (;;)
		GUEST_SYNC(~arg);
}

FIXTURE(kvmi_create) {
	struct kvm_vm *vm;
	/* There before the session */
	struct kvm_vcpu *old;
	/* Created in it, with the event enabled, but not run yet */
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

static struct kvm_vcpu *add_vcpu(struct kvm_vm *vm, u32 id)
{
	struct kvm_vcpu *vcpu = vm_vcpu_add(vm, id, guest_code);

	vcpu_args_set(vcpu, 1, 0x1000ull + id);
	return vcpu;
}

FIXTURE_SETUP(kvmi_create)
{
	self->vm = vm_create(4);
	self->old = add_vcpu(self->vm, 0);
	kvmi_hook(&self->s, self->vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 1), 0);
	self->vcpu = add_vcpu(self->vm, 1);
}

FIXTURE_TEARDOWN(kvmi_create)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static u64 nr_started(struct kvm_vm *vm)
{
	sync_global_from_guest(vm, started);
	return started;
}

static void start(struct kvmi_session *s, struct kvmi_runner *r,
		  struct kvm_vcpu *vcpu, struct kvmi_event *ev)
{
	u64 before = nr_started(vcpu->vm);

	kvmi_run_start(r, s, vcpu);
	kvmi_wait_event(s, EVENT, ev);
	TEST_ASSERT_EQ(ev->common.vcpu, vcpu->id);
	TEST_ASSERT_EQ(ev->common.arch.mode, KVMI_X86_MODE_64);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, (u64)guest_code);
	TEST_ASSERT_EQ(ev->common.arch.regs.rdi, 0x1000 + vcpu->id);
	TEST_ASSERT_EQ(nr_started(vcpu->vm), before);
}

static void finish(struct kvmi_runner *r, u64 arg)
{
	struct ucall uc;

	kvmi_run_wait_sync(r, &uc);
	TEST_ASSERT_EQ(uc.args[1], arg);
}

/* The next KVM_RUN has nothing to tell. */
static void run_again(struct kvmi_session *s, struct kvm_vcpu *vcpu)
{
	struct kvmi_runner r;

	kvmi_run_start(&r, s, vcpu);
	finish(&r, 0x1000 + vcpu->id);
}

KVMI_TEST(kvmi_create, allow)
{
	struct kvmi_event ev;

	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, 0x1001);
	TEST_ASSERT_EQ(nr_started(self->vm), 1);
	run_again(&self->s, self->vcpu);
}

KVMI_TEST(kvmi_create, every_new_vcpu)
{
	struct kvmi_event ev;
	int id;

	for (id = 2; id < 4; id++) {
		start(&self->s, &self->r, add_vcpu(self->vm, id), &ev);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		finish(&self->r, 0x1000 + id);
	}
}

/* Another vCPU runs while a new one waits. */
KVMI_TEST(kvmi_create, others_run)
{
	struct kvmi_event ev;

	start(&self->s, &self->r, self->vcpu, &ev);
	run_again(&self->s, self->old);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, 0x1001);
}

KVMI_TEST(kvmi_create, crash)
{
	struct kvmi_event ev;
	int i;

	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	for (i = 0; i < 3; i++) {
		self->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&self->r, &self->s, self->vcpu);
		kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	}
	TEST_ASSERT_EQ(nr_started(self->vm), 0);

	/* The other vCPU is not concerned, nor is this one after the session. */
	run_again(&self->s, self->old);
	kvmi_unhook(&self->s);
	run_again(NULL, self->vcpu);
}

KVMI_TEST(kvmi_create, bad_action)
{
	static const u8 actions[] = {
		KVMI_EVENT_ACTION_RETRY, KVMI_EVENT_ACTION_SKIP, 4, 255,
	};
	struct kvmi_event ev;
	int i;

	for (i = 0; i < ARRAY_SIZE(actions); i++) {
		if (i) {
			kvmi_unhook(&self->s);
			kvmi_hook(&self->s, self->vm);
			TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 1),
					 0);
			self->vcpu = add_vcpu(self->vm, i + 1);
		}
		start(&self->s, &self->r, self->vcpu, &ev);
		kvmi_reply(&self->s, &ev, actions[i]);
		kvmi_expect_closed(&self->s);
		finish(&self->r, 0x1001 + i);
	}
}

/* The tool decides where and with what a vCPU begins. */
KVMI_TEST(kvmi_create, set_registers)
{
	struct kvmi_event ev;
	struct kvm_regs regs;

	start(&self->s, &self->r, self->vcpu, &ev);
	regs = ev.common.arch.regs;
	regs.rip = (u64)other_guest_code;
	regs.rdi = 0x1234;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 1, &regs), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, ~0x1234ull);
	TEST_ASSERT_EQ(nr_started(self->vm), 0);
}

/* It is the time to turn on the events of the vCPU. */
KVMI_TEST(kvmi_create, enable_events)
{
	struct kvmi_vcpu_get_registers_reply regs;
	struct kvmi_event ev;

	start(&self->s, &self->r, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 1, &regs), 0);
	TEST_ASSERT_EQ(regs.regs.rip, (u64)guest_code);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 1, KVMI_VCPU_EVENT_CPUID, 1),
			 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_EQ(ev.common.vcpu, 1);
	TEST_ASSERT_EQ(nr_started(self->vm), 1);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, 0x1001);
}

/* A pause of a vCPU that has not begun comes after. */
KVMI_TEST(kvmi_create, before_pause)
{
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 1, 0), 0);
	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_EQ(ev.common.vcpu, 1);
	TEST_ASSERT_EQ(nr_started(self->vm), 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, 0x1001);
}

KVMI_TEST(kvmi_create, tool_closes)
{
	struct kvmi_event ev;

	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_close(&self->s);
	finish(&self->r, 0x1001);
	run_again(NULL, add_vcpu(self->vm, 2));
}

KVMI_TEST(kvmi_create, unhook)
{
	struct kvmi_event ev;

	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_unhook(&self->s);
	self->r.s = NULL;
	finish(&self->r, 0x1001);

	/* The next session does not inherit the event. */
	kvmi_hook(&self->s, self->vm);
	run_again(&self->s, add_vcpu(self->vm, 2));
}

/* A vCPU that has not run in one session is an old one to the next. */
KVMI_TEST(kvmi_create, next_session)
{
	kvmi_unhook(&self->s);
	kvmi_hook(&self->s, self->vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 1), 0);
	run_again(&self->s, self->vcpu);
}

/* The event stays open while nobody runs the vCPU. */
KVMI_TEST(kvmi_create, signal)
{
	struct kvmi_event ev;
	struct kvm_regs regs;

	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	vcpu_regs_get(self->vcpu, &regs);
	TEST_ASSERT_EQ(regs.rip, (u64)guest_code);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	run_again(&self->s, self->vcpu);
	TEST_ASSERT_EQ(nr_started(self->vm), 1);
	run_again(&self->s, self->vcpu);
}

/* KVM_RUN waits for the answer that the last one did not get. */
KVMI_TEST(kvmi_create, answer_after_signal)
{
	struct kvmi_event ev;

	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	TEST_ASSERT(kvmi_run_is_going(&self->r), "KVM_RUN did not wait");
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, 0x1001);
}

/* A processor that waits for INIT and SIPI does not enter the guest yet. */
KVMI_TEST(kvmi_create, not_started)
{
	struct kvm_mp_state uninitialized = {
		.mp_state = KVM_MP_STATE_UNINITIALIZED,
	};
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvmi_event ev;

	vcpu_mp_state_set(self->vcpu, &uninitialized);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	TEST_ASSERT(kvmi_run_is_going(&self->r), "KVM_RUN did not wait");
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	vcpu_mp_state_set(self->vcpu, &runnable);
	start(&self->s, &self->r, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	finish(&self->r, 0x1001);
}

KVMI_TEST(kvmi_create, old_vcpus_are_not_reported)
{
	run_again(&self->s, self->old);
}

KVMI_TEST(kvmi_create, disabled)
{
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 0), 0);
	run_again(&self->s, add_vcpu(self->vm, 2));
}

KVMI_TEST(kvmi_create, not_allowed)
{
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, EVENT), 0);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 1), -KVM_EPERM);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 0), -KVM_EPERM);
	TEST_ASSERT_KVMI(kvmi_check_event(&self->s, EVENT), -KVM_EPERM);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 1, EVENT), 0);
	TEST_ASSERT_KVMI(kvmi_check_event(&self->s, EVENT), 0);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&self->s, EVENT, 0), 0);
}

/* It is an event of vCPUs that belongs to the VM. */
KVMI_TEST(kvmi_create, scope)
{
	static const struct kvmi_vm_control_events bad[] = {
		{ .event_id = EVENT, .padding1 = 1 },
		{ .event_id = EVENT, .padding2 = 1 },
		{ .event_id = EVENT, .enable = 2 },
		{ .event_id = KVMI_VCPU_EVENT_CPUID, .enable = 1 },
		{ .event_id = KVMI_VCPU_EVENT_PAUSE, .enable = 1 },
	};
	struct kvmi_event ev;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_CONTROL_EVENTS,
					  &bad[i], sizeof(bad[i]), NULL, 0),
				 -KVM_EINVAL);

	kvmi_park(&self->r, &self->s, self->old, &ev);
	for (i = 0; i < 2; i++)
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, EVENT, i),
				 -KVM_EINVAL);
	kvmi_unpark(&self->s, &ev);
	finish(&self->r, 0x1000);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
