// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_PAUSE_VCPU and KVMI_VCPU_EVENT_PAUSE
 */
#include "kvmi_test_harness.h"

#include <asm/pvclock-abi.h>

/* Pauses that may be outstanding */
#define MAX_PAUSES	1001

static u64 stop;

static void guest_code(void)
{
	for (;;)
		GUEST_SYNC(0);
}

static void guest_code_spin(void)
{
	while (!READ_ONCE(stop))
		cpu_relax();
	GUEST_SYNC(0);
}

static void guest_code_halt(void)
{
	asm volatile("cli; hlt");
	GUEST_FAIL("The guest went on after HLT");
}

static void guest_code_cr(void)
{
	set_cr4(get_cr4() ^ X86_CR4_PSE);
	GUEST_SYNC1(get_cr4());
}

FIXTURE(kvmi_pause) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_pause)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, NULL);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_pause)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void release(struct _test_data_kvmi_pause *self)
{
	struct ucall uc;

	write_guest_global(self->vm, stop, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Answer all the events that are left, and nothing else: then the guest runs. */
static void answer(struct kvmi_session *s, int nr)
{
	struct kvmi_event ev;

	while (nr--) {
		kvmi_wait_event(s, KVMI_VCPU_EVENT_PAUSE, &ev);
		TEST_ASSERT_EQ(ev.common.vcpu, 0);
		kvmi_reply(s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
}

KVMI_TEST(kvmi_pause, errors)
{
	static const struct kvmi_vm_pause_vcpu bad[] = {
		{ .padding1 = 1 },
		{ .padding2 = 0x80000000 },
		{ .wait = 2 },
		{ .wait = 255 },
		{ .vcpu = 1, .padding1 = 1 },
	};
	struct kvmi_session *s = &self->s;
	struct ucall uc;
	int i, allow;

	for (allow = 1; allow >= 0; allow--) {
		TEST_ASSERT_EQ(__kvmi_event(self->vm, allow,
					    KVMI_VCPU_EVENT_PAUSE), 0);
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_PAUSE_VCPU, &bad[i],
						  sizeof(bad[i]), NULL, 0),
					 -KVM_EINVAL);
		/* Permission comes before the vCPU. */
		TEST_ASSERT_KVMI(kvmi_pause(s, 1, 0),
				 allow ? -KVM_EINVAL : -KVM_EPERM);
		TEST_ASSERT_KVMI(kvmi_pause(s, 0xffff, 1),
				 allow ? -KVM_EINVAL : -KVM_EPERM);
	}
	TEST_ASSERT_KVMI(kvmi_pause(s, 0, 0), -KVM_EPERM);

	/* None of them paused anything. */
	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_run_to_sync(s, self->vcpu, &uc);
}

/* The event needs permission, the tool need not turn it on. */
KVMI_TEST(kvmi_pause, event_need_not_be_enabled)
{
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PAUSE, 0),
			 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* The answer does not wait for a vCPU that is in userspace. */
KVMI_TEST(kvmi_pause, vcpu_in_userspace)
{
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	answer(&self->s, 2);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_pause, running_vcpu)
{
	vcpu_arch_set_entry_point(self->vcpu, guest_code_spin);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	answer(&self->s, 1);
	release(self);
}

KVMI_TEST(kvmi_pause, running_vcpu_wait)
{
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_spin);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	for (i = 0; i < 20; i++) {
		TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);
		answer(&self->s, 1);
	}
	release(self);
}

/* One event for each pause. */
KVMI_TEST(kvmi_pause, several_pauses)
{
	vcpu_arch_set_entry_point(self->vcpu, guest_code_spin);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);
	answer(&self->s, 3);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	answer(&self->s, 1);
	release(self);
}

/* While the vCPU is in an event, more of them queue up behind. */
KVMI_TEST(kvmi_pause, pause_while_paused)
{
	struct kvmi_event ev, next;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_EQ(self->s.nr_queued, 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &next);
	TEST_ASSERT_EQ(next.hdr.seq, ev.hdr.seq + 1);
	TEST_ASSERT_EQ(next.common.arch.regs.rip, ev.common.arch.regs.rip);
	kvmi_reply(&self->s, &next, KVMI_EVENT_ACTION_ALLOW);
	answer(&self->s, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Behind an event of another kind, too. */
KVMI_TEST(kvmi_pause, pause_in_another_event)
{
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_cr);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&self->s, &ev);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);
	TEST_ASSERT_EQ(self->s.nr_queued, 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	answer(&self->s, 1);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], ev.cr.new_value);
}

KVMI_TEST(kvmi_pause, limit)
{
	struct ucall uc;
	int nr, err;

	for (nr = 0; nr < 2 * MAX_PAUSES; nr++) {
		err = kvmi_pause(&self->s, 0, 0);
		if (err)
			break;
	}
	TEST_ASSERT_EQ(err, -KVM_EBUSY);
	TEST_ASSERT_EQ(nr, MAX_PAUSES);

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	answer(&self->s, nr);
	kvmi_run_wait_sync(&self->r, &uc);

	/* There is room again. */
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	answer(&self->s, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Until the vCPU sleeps in HLT, as its statistics tell. */
static void wait_until_blocked(struct kvm_vcpu *vcpu)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;

	while (!vcpu_get_stat(vcpu, blocking)) {
		TEST_ASSERT(time(NULL) < end, "The vCPU does not halt");
		sched_yield();
	}
}

/* A pause wakes the thread of a halted vCPU, not the guest. */
KVMI_TEST(kvmi_pause, halted_vcpu)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvm_mp_state mp;
	struct kvmi_event ev;
	u64 rip;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_halt);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	wait_until_blocked(self->vcpu);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	rip = rpl.regs.rip;

	for (i = 0; i < 4; i++) {
		wait_until_blocked(self->vcpu);
		TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, i & 1), 0);
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, rip);
		TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
		TEST_ASSERT_EQ(rpl.regs.rip, rip);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}

	wait_until_blocked(self->vcpu);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	vcpu_mp_state_get(self->vcpu, &mp);
	TEST_ASSERT_EQ(mp.mp_state, KVM_MP_STATE_HALTED);
}

/* A processor that waits for its start-up IPI goes on waiting. */
KVMI_TEST(kvmi_pause, vcpu_waiting_for_sipi)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvm_vcpu *ap;
	struct kvm_regs regs;
	struct kvmi_event ev;

	ap = vm_vcpu_add(self->vm, 1, guest_code_halt);
	vcpu_mp_state_set(ap, &mp);
	vcpu_regs_get(ap, &regs);

	kvmi_run_start(&self->r, &self->s, ap);
	wait_until_blocked(ap);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 1, &rpl), 0);
	TEST_ASSERT_EQ(rpl.regs.rip, regs.rip);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 1, 1), 0);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_EQ(ev.common.vcpu, 1);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, regs.rip);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	wait_until_blocked(ap);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	vcpu_mp_state_get(ap, &mp);
	TEST_ASSERT_EQ(mp.mp_state, KVM_MP_STATE_INIT_RECEIVED);
}

KVMI_TEST(kvmi_pause, crash)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);

	for (i = 0; i < 3; i++) {
		self->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
		kvmi_run_start(&self->r, &self->s, self->vcpu);
		kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	}

	/* That is the session's doing, and ends with it. */
	kvmi_unhook(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	kvmi_hook(&self->s, self->vm);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

/* It survives the tool: only UNHOOK ends it. */
KVMI_TEST(kvmi_pause, crash_then_close)
{
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	kvmi_close(&self->s);

	self->vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
	kvmi_run_start(&self->r, NULL, self->vcpu);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);

	kvmi_unhook(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
}

/* A vCPU that has crashed does not take another with it. */
KVMI_TEST(kvmi_pause, crash_of_one_of_two)
{
	struct kvm_vcpu *other = vm_vcpu_add(self->vm, 1, guest_code);
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);

	kvmi_run_to_sync(&self->s, other, &uc);
	kvmi_park(&self->r, &self->s, other, &ev);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* The answers may come in any order. */
KVMI_TEST(kvmi_pause, two_vcpus)
{
	struct kvm_vcpu *other = vm_vcpu_add(self->vm, 1, guest_code);
	struct kvmi_event ev[2];
	struct kvmi_runner r[2];
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	for (i = 0; i < 2; i++) {
		kvmi_park(&r[0], &self->s, i ? other : self->vcpu, &ev[0]);
		kvmi_park(&r[1], &self->s, i ? self->vcpu : other, &ev[1]);
		kvmi_unpark(&self->s, &ev[1]);
		kvmi_run_wait_sync(&r[1], &uc);
		kvmi_unpark(&self->s, &ev[0]);
		kvmi_run_wait_sync(&r[0], &uc);
	}
}

/* The answer to the event of one vCPU is no answer to that of another. */
KVMI_TEST(kvmi_pause, reply_to_the_other_vcpu_closes)
{
	struct kvm_vcpu *other = vm_vcpu_add(self->vm, 1, guest_code);
	struct kvmi_runner r[2];
	struct kvmi_event ev[2];
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&r[0], &self->s, self->vcpu, &ev[0]);
	kvmi_park(&r[1], &self->s, other, &ev[1]);
	ev[1].hdr.seq = ev[0].hdr.seq;
	kvmi_unpark(&self->s, &ev[1]);
	kvmi_expect_closed(&self->s);

	/* All who wait are released. */
	kvmi_run_wait_sync(&r[0], &uc);
	kvmi_run_wait_sync(&r[1], &uc);
}

/* Pauses that nobody has seen yet end with the session. */
KVMI_TEST(kvmi_pause, forgotten_when_the_tool_closes)
{
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_close(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
}

KVMI_TEST(kvmi_pause, forgotten_after_unhook)
{
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_unhook(&self->s);
	kvmi_hook(&self->s, self->vm);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

/* Withdrawing the permission does not take back the event that is owed. */
KVMI_TEST(kvmi_pause, withdrawn_after_the_command)
{
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, KVMI_VCPU_EVENT_PAUSE), 0);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	answer(&self->s, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

/*
 * A guest whose vCPU waits for the tool for long is told by kvm-clock that it stands
 * still, or else its watchdogs would take that for a lockup.
 */
FIXTURE(kvmi_standstill) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[2];
	struct kvmi_session s;
	struct kvmi_runner r[2];
};

static struct pvclock_vcpu_time_info clocks[2] __aligned(PAGE_SIZE);

static void guest_code_clock(int vcpu, gpa_t gpa)
{
	u32 eax, ebx, ecx, edx;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, gpa | KVM_MSR_ENABLED);
	GUEST_SYNC(READ_ONCE(clocks[vcpu].flags) & PVCLOCK_GUEST_STOPPED);
	/* KVM writes to the clock between a VM exit and the next VM-Enter. */
	while (!(READ_ONCE(clocks[vcpu].flags) & PVCLOCK_GUEST_STOPPED))
		cpuid(0, &eax, &ebx, &ecx, &edx);
	GUEST_DONE();
}

FIXTURE_SETUP(kvmi_standstill)
{
	struct ucall uc;
	gpa_t gpa;
	int i;

	self->vm = vm_create_with_vcpus(2, guest_code_clock, self->vcpus);
	for (i = 0; i < 2; i++) {
		gpa = addr_gva2gpa(self->vm, (gva_t)&clocks[i]);
		vcpu_args_set(self->vcpus[i], 2, i, gpa);
		vcpu_run(self->vcpus[i]);
		TEST_ASSERT_EQ(get_ucall(self->vcpus[i], &uc), UCALL_SYNC);
		TEST_ASSERT_EQ(uc.args[1], 0);
	}
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_standstill)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void expect_told(struct _test_data_kvmi_standstill *self, int vcpu)
{
	struct ucall uc;

	kvmi_run_wait_exit(&self->r[vcpu], KVM_EXIT_IO);
	TEST_ASSERT_EQ(get_ucall(self->vcpus[vcpu], &uc), UCALL_DONE);
}

/* The other vCPU hears of it in the meantime, and this one when it goes on. */
KVMI_TEST(kvmi_standstill, pause)
{
	struct kvmi_event ev;

	kvmi_park(&self->r[0], &self->s, self->vcpus[0], &ev);
	kvmi_run_start(&self->r[1], NULL, self->vcpus[1]);
	expect_told(self, 1);
	kvmi_unpark(&self->s, &ev);
	expect_told(self, 0);
}

/* The same with the vCPU's thread in userspace now and then */
KVMI_TEST(kvmi_standstill, interrupted)
{
	struct kvmi_event ev;

	kvmi_park(&self->r[0], &self->s, self->vcpus[0], &ev);
	kvmi_run_start(&self->r[1], NULL, self->vcpus[1]);
	while (kvmi_run_is_going(&self->r[1])) {
		kvmi_run_signal(&self->r[0]);
		kvmi_run_wait_eintr(&self->r[0]);
		kvmi_run_start(&self->r[0], &self->s, self->vcpus[0]);
		usleep(100000);
	}
	expect_told(self, 1);
	kvmi_unpark(&self->s, &ev);
	expect_told(self, 0);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
