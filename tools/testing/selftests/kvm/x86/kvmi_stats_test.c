// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the counters in the binary statistics of VMs and vCPUs
 */
#include "kvmi_test_harness.h"

static void guest_code(void)
{
	for (;;) {
		set_cr4(get_cr4() ^ X86_CR4_PGE);
		GUEST_SYNC(0);
	}
}

FIXTURE(kvmi_stats) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvm_vcpu *other;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_stats)
{
	struct kvm_vcpu *vcpus[2];

	self->vm = vm_create_with_vcpus(2, guest_code, vcpus);
	self->vcpu = vcpus[0];
	self->other = vcpus[1];
}

FIXTURE_TEARDOWN(kvmi_stats)
{
	kvm_vm_free(self->vm);
}

static void ask(struct kvmi_session *s)
{
	struct kvmi_get_version_reply rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
}

KVMI_TEST(kvmi_stats, sessions)
{
	int i;

	TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_sessions), 0);
	for (i = 1; i <= 3; i++) {
		kvmi_hook(&self->s, self->vm);
		TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_sessions), i);
		/* Not those that did not begin */
		TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EEXIST);
		kvmi_unhook(&self->s);
		TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_sessions), i);
	}
}

/* What the receiver ran, not what it refused or handed to a vCPU */
KVMI_TEST(kvmi_stats, vm_commands)
{
	struct kvmi_session *s = &self->s;
	struct ucall uc;
	int i;

	kvmi_hook(s, self->vm);
	TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_vm_commands), 0);
	for (i = 1; i <= 5; i++) {
		ask(s);
		TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_vm_commands), i);
	}

	/* One that fails has run. */
	TEST_ASSERT_KVMI(kvmi_check_command(s, 0xffff), -KVM_ENOENT);
	TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_vm_commands), 6);

	TEST_ASSERT_KVMI(kvmi_cmd(s, 0xffff, NULL, 0, NULL, 0), -KVM_ENOSYS);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, KVMI_VM_GET_INFO), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_INFO, NULL, 0, NULL, 0),
			 -KVM_EPERM);
	kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	ask(s);
	TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_vm_commands), 7);

	kvmi_unhook(s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	TEST_ASSERT_EQ(vm_get_stat(self->vm, introspection_vm_commands), 7);
}

KVMI_TEST(kvmi_stats, vcpu_commands_and_events)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	u64 waits;
	int i;

	kvmi_hook(s, self->vm);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_events), 1);
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_commands), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	/* One that fails in the vCPU has run, one that does not get there has not. */
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 5, 1), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 2, 4, 1), -KVM_EINVAL);
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_commands), 3);
	kvmi_unpark(s, &ev);

	for (i = 2; i < 6; i++) {
		kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
		TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_events), i);
		kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_run_wait_sync(&self->r, &uc);
		if (i < 5)
			kvmi_run_start(&self->r, s, self->vcpu);
	}
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_commands), 3);

	/* A fast tool may answer before the vCPU sleeps. */
	waits = vcpu_get_stat(self->vcpu, introspection_waits);
	TEST_ASSERT(waits <= 5 + 3, "%lu waits", waits);

	/* The other vCPU has its own. */
	TEST_ASSERT_EQ(vcpu_get_stat(self->other, introspection_events), 0);
	TEST_ASSERT_EQ(vcpu_get_stat(self->other, introspection_commands), 0);
	TEST_ASSERT_EQ(vcpu_get_stat(self->other, introspection_waits), 0);
	kvmi_unhook(s);
}

/* A tool that takes its time makes the vCPU sleep. */
KVMI_TEST(kvmi_stats, waits)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	while (!vcpu_get_stat(self->vcpu, introspection_waits)) {
		TEST_ASSERT(time(NULL) < end, "The vCPU does not sleep");
		sched_yield();
	}
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_waits), 1);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, introspection_waits), 1);
	kvmi_unhook(&self->s);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
