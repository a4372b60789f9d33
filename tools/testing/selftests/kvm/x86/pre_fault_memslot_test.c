// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY comes to an end if a memslot is deleted before it or
 * meanwhile, i.e. if the root of the vCPU's page tables becomes obsolete.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define SLOT		10
#define SLOT_GPA	0x40000000ul
#define OTHER_SLOT	11
#define OTHER_GPA	0x80000000ul

/* More than enough, and only waited for if the test fails */
#define TIMEOUT_SECONDS	20

struct prefault {
	pthread_t thread;
	struct kvm_vcpu *vcpu;
	int nr;
	int ret, err;
};

static pid_t delete_tid;

/* Do nothing but interrupt a system call. */
static void handle_signal(int sig)
{
}

static void *prefault_thread(void *data)
{
	struct prefault *p = data;
	struct kvm_pre_fault_memory range = {
		.gpa = SLOT_GPA + p->nr * getpagesize(),
		.size = getpagesize(),
	};

	p->ret = __vcpu_ioctl(p->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	p->err = errno;
	return NULL;
}

static void *delete_thread(void *data)
{
	WRITE_ONCE(delete_tid, syscall(__NR_gettid));
	vm_mem_region_delete(data, OTHER_SLOT);
	return NULL;
}

static int register_uffd(void *hva)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (u64)hva,
		.range.len = 2 * getpagesize(),
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	__TEST_REQUIRE(uffd >= 0, "userfaultfd() failed, errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API");
	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");

	return uffd;
}

static void begin_prefault(struct prefault *p, struct kvm_vcpu *vcpu, int nr)
{
	p->vcpu = vcpu;
	p->nr = nr;
	kvm_pthread_create(&p->thread, NULL, prefault_thread, p);
}

/* Start to prefault page @nr, and return when there has to be memory for it. */
static void start_prefault(struct prefault *p, struct kvm_vcpu *vcpu, int nr,
			   int uffd)
{
	struct uffd_msg msg;

	begin_prefault(p, vcpu, nr);
	TEST_ASSERT_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	TEST_ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
}

static void finish_prefault(struct prefault *p)
{
	struct timespec timeout;

	clock_gettime(CLOCK_REALTIME, &timeout);
	timeout.tv_sec += TIMEOUT_SECONDS;
	if (pthread_timedjoin_np(p->thread, NULL, &timeout)) {
		pthread_kill(p->thread, SIGUSR1);
		pthread_join(p->thread, NULL);
	}
	TEST_ASSERT(!p->ret, "Page %d: errno %d%s", p->nr, p->err,
		    p->err == EINTR ? ", i.e. tried until there was a signal" : "");
}

static void end_prefault(struct prefault *p, void *hva, int uffd)
{
	struct uffdio_zeropage zero = {
		.range.start = (u64)hva + p->nr * getpagesize(),
		.range.len = getpagesize(),
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE");
	finish_prefault(p);
}

/* Wait until the thread that deletes the slot sleeps in the kernel. */
static void wait_for_delete(void)
{
	char path[64], stat[256] = {}, *state;
	FILE *file;

	while (!READ_ONCE(delete_tid))
		cpu_relax();
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", delete_tid);
	do {
		usleep(50000);
		file = fopen(path, "r");
		TEST_ASSERT(file, "No %s", path);
		TEST_ASSERT(fgets(stat, sizeof(stat), file), "Empty %s", path);
		fclose(file);
		state = strrchr(stat, ')') + 2;
	} while (*state != 'D');
	usleep(50000);
}

static void guest_code(void)
{
	GUEST_DONE();
}

static struct kvm_vm *create_vm(struct kvm_vcpu **vcpus)
{
	struct kvm_vm *vm;

	vm = vm_create_with_vcpus(2, guest_code, vcpus);
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, SLOT_GPA, SLOT, 2, 0);
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, OTHER_GPA, OTHER_SLOT, 1, 0);
	return vm;
}

/* The vCPU has a root, which nothing but the prefault can replace. */
static void test_deleted_before(void)
{
	struct kvm_vcpu *vcpus[2];
	struct prefault prefault;
	struct kvm_vm *vm;

	vm = create_vm(vcpus);
	vcpu_run(vcpus[0]);
	TEST_ASSERT_EQ(get_ucall(vcpus[0], NULL), UCALL_DONE);
	vm_mem_region_delete(vm, OTHER_SLOT);
	begin_prefault(&prefault, vcpus[0], 0);
	finish_prefault(&prefault);
	kvm_vm_free(vm);
}

static void test_deleted_meanwhile(void)
{
	struct prefault first, second;
	struct kvm_vcpu *vcpus[2];
	pthread_t delete;
	struct kvm_vm *vm;
	void *hva;
	int uffd;

	vm = create_vm(vcpus);
	hva = addr_gpa2hva(vm, SLOT_GPA);
	uffd = register_uffd(hva);

	/*
	 * Deleting a slot is done in two steps, each of which waits for those who
	 * use the memslots.  The roots become obsolete between the two: have one
	 * prefault hold off the first step, and start another one meanwhile,
	 * which that step does not wait for.
	 */
	start_prefault(&first, vcpus[0], 0, uffd);
	kvm_pthread_create(&delete, NULL, delete_thread, vm);
	wait_for_delete();
	start_prefault(&second, vcpus[1], 1, uffd);
	end_prefault(&first, hva, uffd);
	wait_for_delete();
	end_prefault(&second, hva, uffd);

	kvm_pthread_join(delete, NULL);
	close(uffd);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	const struct sigaction action = { .sa_handler = handle_signal };

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));

	sigaction(SIGUSR1, &action, NULL);
	test_deleted_before();
	test_deleted_meanwhile();

	return 0;
}
