// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: a tool that does not read holds up nobody who does not wait
 * for it
 *
 * One vCPU fills the socket and waits with its reply half sent.  Another one gets
 * to each of the places where KVM waits for the tool.  The VMM, in the
 * thread that the VM's users wait for, must get its work done in spite of both.
 */
#include <pthread.h>
#include <semaphore.h>

#include "kvmi_test_harness.h"

#include <asm/pvclock-abi.h>

#define NR_VCPUS	2
/* As many as fit in a reply: some 8000 bytes */
#define NR_MSRS		481

#define SLOT		10
#define SLOT_GPA	0x100000000ul

static void guest_code_spin(void)
{
	for (;;)
		cpu_relax();
}

static void guest_code_cpuid(void)
{
	u32 eax, ebx, ecx, edx;

	for (;;)
		cpuid(0, &eax, &ebx, &ecx, &edx);
}

/* What the second vCPU does that the tool has to read */
enum place {
	NOTHING,
	COMMAND,
	COMMAND_IN_EVENT,
	PAUSE,
	EVENT,
	ANSWER,
};

FIXTURE(kvmi_blocked) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct kvmi_session s;
	struct kvmi_runner r[NR_VCPUS];
};

FIXTURE_VARIANT(kvmi_blocked) {
	enum place place;
};

FIXTURE_VARIANT_ADD(kvmi_blocked, nothing) { .place = NOTHING };
FIXTURE_VARIANT_ADD(kvmi_blocked, command) { .place = COMMAND };
FIXTURE_VARIANT_ADD(kvmi_blocked, command_in_event) { .place = COMMAND_IN_EVENT };
FIXTURE_VARIANT_ADD(kvmi_blocked, pause) { .place = PAUSE };
FIXTURE_VARIANT_ADD(kvmi_blocked, event) { .place = EVENT };
FIXTURE_VARIANT_ADD(kvmi_blocked, answer) { .place = ANSWER };

/* Ask a vCPU until it can answer no more. */
static void fill_socket(struct kvmi_session *s, u16 vcpu)
{
	struct {
		struct kvmi_vcpu_get_registers req;
		u32 index[NR_MSRS];
	} list = { .req.nmsrs = NR_MSRS };
	int i, before, rounds;

	for (i = 0; i < NR_MSRS; i++)
		list.index[i] = MSR_STAR;
	do {
		before = kvmi_bytes_to_read(s);
		kvmi_send_vcpu_cmd(s, vcpu, KVMI_VCPU_GET_REGISTERS, &list,
				   sizeof(list));
		for (rounds = 0; rounds < 50; rounds++) {
			if (kvmi_bytes_to_read(s) >= before + NR_MSRS * 16)
				break;
			usleep(10000);
		}
	} while (rounds < 50);
}

static void enable_cpuid_event(struct _test_data_kvmi_blocked *self)
{
	struct kvmi_event ev;

	kvmi_park(&self->r[1], &self->s, self->vcpus[1], &ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 1, KVMI_VCPU_EVENT_CPUID, 1),
			 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_run_signal(&self->r[1]);
	kvmi_run_wait_eintr(&self->r[1]);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
}

FIXTURE_SETUP(kvmi_blocked)
{
	struct kvmi_session *s = &self->s;
	enum place place = variant->place;
	struct kvmi_vm_pause_vcpu pause = { .vcpu = 1 };
	struct kvmi_event ev;

	self->vm = vm_create_with_vcpus(NR_VCPUS, guest_code_spin, self->vcpus);
	if (place == EVENT || place == ANSWER)
		vcpu_arch_set_entry_point(self->vcpus[1], guest_code_cpuid);
	kvmi_hook(s, self->vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);

	switch (place) {
	case EVENT:
	case ANSWER:
		enable_cpuid_event(self);
		break;
	case COMMAND_IN_EVENT:
		kvmi_park(&self->r[1], s, self->vcpus[1], &ev);
		break;
	case COMMAND:
	case PAUSE:
		kvmi_run_start(&self->r[1], NULL, self->vcpus[1]);
		break;
	default:
		break;
	}
	if (place == ANSWER) {
		kvmi_run_start(&self->r[1], NULL, self->vcpus[1]);
		kvmi_wait_event(s, KVMI_VCPU_EVENT_CPUID, &ev);
	}

	kvmi_run_start(&self->r[0], NULL, self->vcpus[0]);
	fill_socket(s, 0);

	switch (place) {
	case COMMAND:
	case COMMAND_IN_EVENT:
		kvmi_send_vcpu_cmd(s, 1, KVMI_VCPU_GET_INFO, NULL, 0);
		break;
	case PAUSE:
		kvmi_send_cmd(s, KVMI_VM_PAUSE_VCPU, &pause, sizeof(pause));
		break;
	case EVENT:
		kvmi_run_start(&self->r[1], NULL, self->vcpus[1]);
		break;
	default:
		break;
	}
	/* Nothing depends on it, but there it should be by now. */
	usleep(200000);
}

/* The thread may not be in KVM_RUN yet: try until it is. */
static void interrupt(struct kvmi_runner *r)
{
	r->s = NULL;
	while (kvmi_run_is_going(r))
		kvmi_run_signal(r);
	kvmi_run_wait_eintr(r);
}

FIXTURE_TEARDOWN(kvmi_blocked)
{
	int i;

	/* The tool has not read, and that is the point. */
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	kvmi_close(&self->s);
	for (i = 0; i < NR_VCPUS; i++) {
		if (i && variant->place == NOTHING)
			continue;
		interrupt(&self->r[i]);
	}
	kvm_vm_free(self->vm);
}

/* What the VMM does, in a thread that can be given up */
struct work {
	struct kvm_vm *vm;
	void (*fn)(struct kvm_vm *vm);
	sem_t done;
};

static void *work_thread(void *arg)
{
	struct work *work = arg;

	work->fn(work->vm);
	sem_post(&work->done);
	return NULL;
}

static void expect_done(struct kvm_vm *vm, void (*fn)(struct kvm_vm *vm))
{
	struct work work = { .vm = vm, .fn = fn };
	struct timespec end;
	pthread_t thread;
	int ret;

	sem_init(&work.done, 0, 0);
	TEST_ASSERT(!pthread_create(&thread, NULL, work_thread, &work),
		    "pthread_create()");
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += KVMI_TIMEOUT / 2;
	do {
		ret = sem_timedwait(&work.done, &end);
	} while (ret && errno == EINTR);
	TEST_ASSERT(!ret, "The VMM waits for the tool");
	pthread_join(thread, NULL);
}

static void change_memslots(struct kvm_vm *vm)
{
	int i;

	for (i = 0; i < 3; i++) {
		vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, SLOT_GPA,
					    SLOT, 1, 0);
		vm_mem_region_delete(vm, SLOT);
	}
}

KVMI_TEST(kvmi_blocked, memslots)
{
	expect_done(self->vm, change_memslots);
}

static struct pvclock_vcpu_time_info told_clock;

static void guest_code_told(gpa_t gpa)
{
	u32 eax, ebx, ecx, edx;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, gpa | KVM_MSR_ENABLED);
	while (!(READ_ONCE(told_clock.flags) & PVCLOCK_GUEST_STOPPED))
		cpuid(0, &eax, &ebx, &ecx, &edx);
	GUEST_DONE();
}

/* The guest is told that a vCPU of it stands still. */
KVMI_TEST(kvmi_blocked, standstill)
{
	struct ucall uc;

	/* In the other variants there is no vCPU that runs. */
	if (variant->place != NOTHING)
		return;

	vcpu_arch_set_entry_point(self->vcpus[1], guest_code_told);
	vcpu_args_set(self->vcpus[1], 1,
		      addr_gva2gpa(self->vm, (gva_t)&told_clock));
	kvmi_run_start(&self->r[1], NULL, self->vcpus[1]);
	kvmi_run_wait_exit(&self->r[1], KVM_EXIT_IO);
	TEST_ASSERT_EQ(get_ucall(self->vcpus[1], &uc), UCALL_DONE);
}

/* Other grace periods of KVM's */
static void change_others(struct kvm_vm *vm)
{
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
	struct kvm_ioeventfd eventfd = {
		.addr = SLOT_GPA,
		.len = 4,
		.fd = kvm_new_eventfd(),
	};

	vm_ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter);
	vm_ioctl(vm, KVM_IOEVENTFD, &eventfd);
	eventfd.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	vm_ioctl(vm, KVM_IOEVENTFD, &eventfd);
	close(eventfd.fd);
}

KVMI_TEST(kvmi_blocked, filter_and_ioeventfd)
{
	expect_done(self->vm, change_others);
}

static void use_introspection(struct kvm_vm *vm)
{
	TEST_ASSERT_EQ(__kvmi_preunhook(vm), 0);
	TEST_ASSERT_EQ(__kvmi_command(vm, 0, KVMI_VM_GET_INFO), 0);
	TEST_ASSERT_EQ(__kvmi_event(vm, 0, KVMI_VCPU_EVENT_CR), 0);
	TEST_ASSERT_EQ(__kvmi_preunhook(vm), 0);
}

KVMI_TEST(kvmi_blocked, introspection_ioctls)
{
	expect_done(self->vm, use_introspection);
}

static void add_vcpu(struct kvm_vm *vm)
{
	__vm_vcpu_add(vm, NR_VCPUS);
}

KVMI_TEST(kvmi_blocked, new_vcpu)
{
	expect_done(self->vm, add_vcpu);
}

/* A signal gets each thread out of KVM_RUN, and back into it. */
KVMI_TEST(kvmi_blocked, signals)
{
	int i, j;

	for (i = 0; i < 3; i++) {
		for (j = 0; j < NR_VCPUS; j++) {
			if (j && variant->place == NOTHING)
				continue;
			interrupt(&self->r[j]);
			kvmi_run_start(&self->r[j], NULL, self->vcpus[j]);
		}
	}
}

static void unhook(struct kvm_vm *vm)
{
	TEST_ASSERT_EQ(__kvmi_unhook(vm), 0);
}

KVMI_TEST(kvmi_blocked, unhook)
{
	expect_done(self->vm, unhook);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
