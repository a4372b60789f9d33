// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM whose vCPUs do all the time what introspection has events for
 */
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "kvmi_busy_vm.h"
#include "kvmi_util.h"
#include "test_util.h"

/* What a vCPU of the guest knows of itself; FS points there. */
struct guest_cpu {
	u64 rsp;
	u64 self;
	struct kvm_random_state random;
};

#define PORT	0x99

static void guest_loop(struct guest_cpu *cpu);

/*
 * Start all over.  Only FS is needed for that, whatever else was done to the
 * registers.
 */
static void guest_start(void)
{
	asm volatile("mov %%fs:0, %%rsp\n\t"
		     "mov %%fs:8, %%rdi\n\t"
		     "xor %%ebp, %%ebp\n\t"
		     "call *%%rax"
		     :: "a"(guest_loop) : "memory");
}

static void guest_exception(struct ex_regs *regs)
{
	regs->rip = (u64)guest_start;
	regs->rflags = X86_EFLAGS_FIXED;
}

static void guest_write_cr(u32 random)
{
	switch (random % 3) {
	case 0:
		set_cr0(get_cr0() ^ X86_CR0_WP);
		break;
	case 1:
		set_cr3(get_cr3() ^ BIT(3));
		break;
	default:
		set_cr4(get_cr4() ^ X86_CR4_PSE);
	}
}

static void guest_write_msr(u32 random)
{
	static const u32 msrs[] = {
		MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,
		MSR_IA32_SYSENTER_EIP, MSR_STAR, MSR_LSTAR, MSR_CSTAR,
		MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	};

	wrmsr(msrs[random % ARRAY_SIZE(msrs)], random);
}

static void guest_hypercall(void)
{
	u64 rax = KVM_HC_XEN_HVM_OP;
	u64 rdi = KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT;

	if (host_cpu_is_intel)
		asm volatile("vmcall" : "+a"(rax) : "D"(rdi), "S"(0) : "memory");
	else
		asm volatile("vmmcall" : "+a"(rax) : "D"(rdi), "S"(0) : "memory");
}

static void guest_descriptors(u32 random)
{
	struct desc_ptr table;
	u16 selector;

	switch (random % 6) {
	case 0:
		asm volatile("sgdt %0; lgdt %0" : "=m"(table));
		break;
	case 1:
		asm volatile("sidt %0; lidt %0" : "=m"(table));
		break;
	case 2:
		asm volatile("sldt %0; lldt %0" : "=m"(selector));
		break;
	default:
		asm volatile("str %0" : "=m"(selector));
	}
}

static void guest_exceptions(u32 random)
{
	switch (random % 5) {
	case 0:
		asm volatile("ud2");
		break;
	case 1:
		asm volatile("int3");
		break;
	case 2:
		asm volatile("int1");
		break;
	case 3:
		/* #GP */
		READ_ONCE(*(u64 *)BIT_ULL(62));
		break;
	default:
		/* #PF */
		READ_ONCE(*(u64 *)(BIT_ULL(40) + (random & 0xfffff8)));
	}
}

/*
 * QEMU's emulation of SVM does not intercept XSETBV, so that the host, too, gets
 * what the guest writes.
 */
static void guest_xsetbv(void)
{
	if (!host_cpu_is_intel)
		return;

	set_cr4(get_cr4() | X86_CR4_OSXSAVE);
	xsetbv(0, xgetbv(0) ^ XFEATURE_MASK_SSE);
	xsetbv(0, xgetbv(0) | XFEATURE_MASK_FP | XFEATURE_MASK_SSE);
}

static void guest_loop(struct guest_cpu *cpu)
{
	u32 eax, ebx, ecx, edx, random, i;

	for (;;) {
		/* The VMM sees that the vCPU lives. */
		asm volatile("outb %%al, %0" :: "i"(PORT), "a"(0));

		for (i = 0; i < 8; i++) {
			random = kvm_random_u32(&cpu->random);
			switch (random % 8) {
			case 0:
			case 1:
				guest_write_cr(random / 8);
				break;
			case 2:
			case 3:
				guest_write_msr(random / 8);
				break;
			case 4:
				cpuid(random & 0xf, &eax, &ebx, &ecx, &edx);
				break;
			case 5:
				guest_hypercall();
				break;
			case 6:
				if (random & BIT(20))
					guest_xsetbv();
				else
					guest_descriptors(random / 8);
				break;
			default:
				guest_exceptions(random / 8);
			}
		}
	}
}

static void ignore_signal(int sig)
{
}

static void run_once(struct kvmi_busy_vcpu *v)
{
	struct kvm_run *run = v->vcpu->run;

	if (__vcpu_run(v->vcpu)) {
		TEST_ASSERT(errno == EINTR, "KVM_RUN: %s", strerror(errno));
		WRITE_ONCE(v->signals, v->signals + 1);
	} else if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT) {
		WRITE_ONCE(v->exits, v->exits + 1);
		sched_yield();
	} else if (run->exit_reason == KVM_EXIT_INTROSPECTION &&
		   run->introspection.reason == KVM_INTROSPECTION_EXIT_LOST) {
		/* There will be another tool. */
		sched_yield();
	} else {
		WRITE_ONCE(v->broken, true);
	}
}

static void *vcpu_thread(void *arg)
{
	struct kvmi_busy_vcpu *v = arg;

	/* Much of the guest makes little of the tool where CPUs are few. */
	setpriority(PRIO_PROCESS, 0, 5);

	for (;;) {
		if (READ_ONCE(v->hold) || READ_ONCE(v->broken)) {
			sem_post(&v->stopped);
			while (sem_wait(&v->go))
				;
			if (READ_ONCE(v->quit))
				return NULL;
		}
		run_once(v);
	}
}

static void wait_until_stopped(struct kvmi_busy_vcpu *v)
{
	struct timespec end;
	int ret;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += KVMI_TIMEOUT;
	do {
		ret = sem_timedwait(&v->stopped, &end);
	} while (ret && errno == EINTR);
	TEST_ASSERT(!ret, "vCPU %u does not leave KVM_RUN", v->vcpu->id);
}

void kvmi_busy_create(struct kvmi_busy_vm *b, int nr_vcpus, u32 seed)
{
	struct kvm_vcpu *vcpus[KVMI_BUSY_MAX_VCPUS];
	struct sigaction sa = { .sa_handler = ignore_signal };
	struct userspace_mem_region *region;
	struct guest_cpu *cpu;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	gva_t gva;
	int i;

	TEST_ASSERT(nr_vcpus <= KVMI_BUSY_MAX_VCPUS, "Too many vCPUs");
	TEST_ASSERT(!sigaction(SIGUSR1, &sa, NULL), "sigaction()");

	memset(b, 0, sizeof(*b));
	b->nr = nr_vcpus;
	b->vm = vm_create_with_vcpus(nr_vcpus, guest_start, vcpus);
	for (i = 0; i < 32; i++)
		vm_install_exception_handler(b->vm, i, guest_exception);
	vm_userspace_mem_region_add(b->vm, VM_MEM_SRC_ANONYMOUS, KVMI_BUSY_GPA,
				    KVMI_BUSY_SLOT, KVMI_BUSY_PAGES, 0);

	for (i = 0; i < nr_vcpus; i++) {
		struct kvmi_busy_vcpu *v = &b->vcpus[i];

		v->vcpu = vcpus[i];
		gva = vm_alloc_page(b->vm);
		vcpu_regs_get(v->vcpu, &regs);
		cpu = addr_gva2hva(b->vm, gva);
		cpu->rsp = regs.rsp & ~0xful;
		cpu->self = gva;
		cpu->random = new_kvm_random_state(seed + i + 1);
		vcpu_sregs_get(v->vcpu, &sregs);
		sregs.fs.base = gva;
		vcpu_sregs_set(v->vcpu, &sregs);

		v->state = vcpu_save_state(v->vcpu);
		v->hold = true;
		sem_init(&v->stopped, 0, 0);
		sem_init(&v->go, 0, 0);
	}

	region = memslot2region(b->vm, 0);
	b->memory_size = region->region.memory_size;
	b->memory = malloc(b->memory_size);
	TEST_ASSERT(b->memory, "malloc()");
	memcpy(b->memory, region->host_mem, b->memory_size);

	for (i = 0; i < nr_vcpus; i++) {
		TEST_ASSERT(!pthread_create(&b->vcpus[i].thread, NULL,
					    vcpu_thread, &b->vcpus[i]),
			    "pthread_create()");
		wait_until_stopped(&b->vcpus[i]);
	}
}

void kvmi_busy_free(struct kvmi_busy_vm *b)
{
	int i;

	for (i = 0; i < b->nr; i++) {
		struct kvmi_busy_vcpu *v = &b->vcpus[i];

		WRITE_ONCE(v->quit, true);
		sem_post(&v->go);
		pthread_join(v->thread, NULL);
		kvm_x86_state_cleanup(v->state);
	}
	free(b->memory);
	kvm_vm_free(b->vm);
}

void kvmi_busy_go(struct kvmi_busy_vm *b)
{
	int i;

	for (i = 0; i < b->nr; i++) {
		WRITE_ONCE(b->vcpus[i].hold, false);
		b->vcpus[i].vcpu->run->immediate_exit = 0;
		sem_post(&b->vcpus[i].go);
	}
}

void kvmi_busy_hold(struct kvmi_busy_vm *b)
{
	int i;

	for (i = 0; i < b->nr; i++) {
		WRITE_ONCE(b->vcpus[i].hold, true);
		WRITE_ONCE(b->vcpus[i].vcpu->run->immediate_exit, 1);
		pthread_kill(b->vcpus[i].thread, SIGUSR1);
	}
	for (i = 0; i < b->nr; i++)
		wait_until_stopped(&b->vcpus[i]);
}

void kvmi_busy_signal(struct kvmi_busy_vm *b)
{
	int i;

	for (i = 0; i < b->nr; i++)
		pthread_kill(b->vcpus[i].thread, SIGUSR1);
}

bool kvmi_busy_is_broken(struct kvmi_busy_vm *b)
{
	int i;

	for (i = 0; i < b->nr; i++) {
		if (READ_ONCE(b->vcpus[i].broken))
			return true;
	}
	return false;
}

/* The selftests' memcpy() goes byte by byte: most of the time of a fuzzing run. */
static void copy_pages(void *to, const void *from, size_t size)
{
	size /= sizeof(u64);
	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

void kvmi_busy_reset(struct kvmi_busy_vm *b)
{
	int i;

	copy_pages(memslot2region(b->vm, 0)->host_mem, b->memory, b->memory_size);
	for (i = 0; i < b->nr; i++) {
		struct kvmi_busy_vcpu *v = &b->vcpus[i];

		/* Have an OUT done with before RIP is set. */
		v->vcpu->run->immediate_exit = 1;
		__vcpu_run(v->vcpu);
		vcpu_load_state(v->vcpu, v->state);
		WRITE_ONCE(v->broken, false);
	}
}

void kvmi_busy_check(struct kvmi_busy_vm *b)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;
	int i;

	for (i = 0; i < b->nr; i++) {
		struct kvmi_busy_vcpu *v = &b->vcpus[i];
		u64 exits = READ_ONCE(v->exits);

		while (READ_ONCE(v->exits) < exits + 3) {
			TEST_ASSERT(!READ_ONCE(v->broken),
				    "vCPU %d is broken, exit reason %u", i,
				    v->vcpu->run->exit_reason);
			TEST_ASSERT(time(NULL) < end, "vCPU %d is stuck", i);
			sched_yield();
		}
	}
}

void kvmi_busy_check_session(struct kvmi_busy_vm *b)
{
	struct kvmi_vcpu_get_registers_reply regs;
	struct kvmi_get_version_reply version;
	struct kvmi_session s;
	struct kvmi_event ev;
	int i;

	kvmi_hook(&s, b->vm);
	TEST_ASSERT_KVMI(kvmi_cmd(&s, KVMI_GET_VERSION, NULL, 0, &version,
				  sizeof(version)), 0);
	TEST_ASSERT_EQ(version.version, KVMI_VERSION);
	for (i = 0; i < b->nr; i++) {
		TEST_ASSERT_KVMI(kvmi_get_registers(&s, i, &regs), 0);
		TEST_ASSERT_KVMI(kvmi_pause(&s, i, 1), 0);
		kvmi_wait_event(&s, KVMI_VCPU_EVENT_PAUSE, &ev);
		TEST_ASSERT_EQ(ev.common.vcpu, i);
		kvmi_reply(&s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_unhook(&s);
	kvmi_busy_check(b);
}
