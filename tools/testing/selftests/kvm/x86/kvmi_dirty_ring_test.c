// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_WRITE_PHYSICAL to memory that dirty rings track
 *
 * The write is recorded in the ring of any vCPU, whatever the vCPUs do.
 */
#include <asm/barrier.h>
#include <sched.h>
#include <sys/socket.h>

#include "kvmi_test_harness.h"

#define PAGE		4096ul

/* Bytes of a ring: the least that KVM takes, as tests fill it entry by entry */
#define MIN_RING_SIZE	4096
#define MAX_RING_SIZE	65536

#define SLOT		10
#define SLOT_PAGES	16
#define GPA		0x10000000ul

#define NR_VCPUS	2

/* Fewer than a ring has entries */
#define NR_LAST_WRITES	64

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

static void guest_code_cpuid(void)
{
	u32 eax, ebx, ecx, edx;

	for (;;)
		cpuid(0, &eax, &ebx, &ecx, &edx);
}

FIXTURE(kvmi_dirty_ring) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	u32 fetched[NR_VCPUS];
	struct kvmi_session s;
	struct kvmi_runner r[NR_VCPUS];
	u8 *mem;
};

static void enable_dirty_ring(struct kvm_vm *vm)
{
	u32 size;

	for (size = MIN_RING_SIZE; size <= MAX_RING_SIZE; size *= 2) {
		if (__vm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, size))
			continue;
		vm->dirty_ring_size = size;
		return;
	}
	TEST_FAIL("No size of a dirty ring is good enough");
}

FIXTURE_SETUP(kvmi_dirty_ring)
{
	int i;

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL));

	self->vm = vm_create(NR_VCPUS);
	enable_dirty_ring(self->vm);
	for (i = 0; i < NR_VCPUS; i++) {
		self->vcpus[i] = vm_vcpu_add(self->vm, i, guest_code);
		vcpu_map_dirty_ring(self->vcpus[i]);
	}
	vm_userspace_mem_region_add(self->vm, VM_MEM_SRC_ANONYMOUS, GPA, SLOT,
				    SLOT_PAGES, KVM_MEM_LOG_DIRTY_PAGES);
	self->mem = addr_gpa2hva(self->vm, GPA);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_dirty_ring)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* Returns the pages of a slot that the rings have, one bit each. */
static u64 harvest_slot(struct _test_data_kvmi_dirty_ring *self, u32 slot)
{
	u64 dirty = 0;
	u32 n = 0;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		struct kvm_dirty_gfn *ring = self->vcpus[i]->dirty_gfns, *gfn;

		for (;; n++, self->fetched[i]++) {
			gfn = &ring[self->fetched[i] %
				    self->vcpus[i]->dirty_gfns_count];
			/* What the entry says is written before its flags. */
			if (!(smp_load_acquire(&gfn->flags) & KVM_DIRTY_GFN_F_DIRTY))
				break;
			TEST_ASSERT_EQ(gfn->slot, slot);
			TEST_ASSERT(gfn->offset < SLOT_PAGES, "Page %llu", gfn->offset);
			dirty |= BIT_ULL(gfn->offset);
			/* It was read before KVM may use it again. */
			smp_store_release(&gfn->flags, KVM_DIRTY_GFN_F_RESET);
		}
	}
	TEST_ASSERT_EQ(kvm_vm_reset_dirty_ring(self->vm), n);
	return dirty;
}

static u64 harvest(struct _test_data_kvmi_dirty_ring *self)
{
	return harvest_slot(self, SLOT);
}

struct write_msg {
	struct kvmi_vm_write_physical req;
	u8 data[KVMI_MAX_MSG_SIZE];
};

static u32 send_write(struct kvmi_session *s, u64 gpa, u8 byte)
{
	struct write_msg msg = {
		.req = { .gpa = gpa, .size = 1 },
		.data = { byte },
	};

	return kvmi_send_cmd(s, KVMI_VM_WRITE_PHYSICAL, &msg, sizeof(msg.req) + 1);
}

static int write_byte(struct kvmi_session *s, u64 gpa, u8 byte)
{
	u32 seq = send_write(s, gpa, byte);

	return kvmi_recv_reply(s, KVMI_VM_WRITE_PHYSICAL, seq, NULL, 0);
}

/* Write to a page; the rings must have this page and no other. */
static void write_page(struct _test_data_kvmi_dirty_ring *self, int page)
{
	u8 *p = self->mem + page * PAGE + 7, byte = *p + 1;

	TEST_ASSERT_KVMI(write_byte(&self->s, GPA + page * PAGE + 7, byte), 0);
	TEST_ASSERT_EQ(*p, byte);
	TEST_ASSERT_EQ(harvest(self), BIT_ULL(page));
}

static u32 get_cookie(struct kvmi_session *s)
{
	struct kvmi_vm_read_physical req = {
		.gpa = GPA,
		.size = 1,
		.flags = KVMI_MEM_COOKIE,
	};
	struct {
		struct kvmi_mem_cookie cookie;
		u8 data;
	} __packed rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req),
				  &rpl, sizeof(rpl)), 0);
	return rpl.cookie.cookie;
}

static void release(struct _test_data_kvmi_dirty_ring *self, int vcpu)
{
	struct ucall uc;
	u64 one = 1;

	write_guest_global(self->vm, stop, one);
	kvmi_run_wait_sync(&self->r[vcpu], &uc);
}

static void spin(struct _test_data_kvmi_dirty_ring *self, int vcpu)
{
	struct kvmi_vcpu_get_registers_reply rpl;

	vcpu_arch_set_entry_point(self->vcpus[vcpu], guest_code_spin);
	kvmi_run_start(&self->r[vcpu], &self->s, self->vcpus[vcpu]);
	/* It is in KVM_RUN once it has answered. */
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, vcpu, &rpl), 0);
}

static void wait_until_blocked(struct kvm_vcpu *vcpu)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;

	while (!vcpu_get_stat(vcpu, blocking)) {
		TEST_ASSERT(time(NULL) < end, "The vCPU does not halt");
		sched_yield();
	}
}

KVMI_TEST(kvmi_dirty_ring, vcpus_in_userspace)
{
	int i;

	TEST_ASSERT_EQ(harvest(self), 0);
	for (i = 0; i < SLOT_PAGES; i++)
		write_page(self, i);
}

KVMI_TEST(kvmi_dirty_ring, vcpu_in_the_guest)
{
	int i;

	spin(self, 0);
	for (i = 0; i < SLOT_PAGES; i++)
		write_page(self, i);
	release(self, 0);
}

KVMI_TEST(kvmi_dirty_ring, all_vcpus_in_the_guest)
{
	int i;

	spin(self, 0);
	spin(self, 1);
	for (i = 0; i < SLOT_PAGES; i++)
		write_page(self, i);
	release(self, 0);
	release(self, 1);
}

KVMI_TEST(kvmi_dirty_ring, all_vcpus_in_an_event)
{
	struct kvmi_event ev[NR_VCPUS];
	struct ucall uc;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		kvmi_park(&self->r[i], &self->s, self->vcpus[i], &ev[i]);
	for (i = 0; i < SLOT_PAGES; i++)
		write_page(self, i);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmi_unpark(&self->s, &ev[i]);
		kvmi_run_wait_sync(&self->r[i], &uc);
	}
}

/* In HLT, and waiting for a start-up IPI */
KVMI_TEST(kvmi_dirty_ring, all_vcpus_blocked)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	int i;

	vcpu_arch_set_entry_point(self->vcpus[0], guest_code_halt);
	vcpu_mp_state_set(self->vcpus[1], &mp);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmi_run_start(&self->r[i], &self->s, self->vcpus[i]);
		wait_until_blocked(self->vcpus[i]);
	}
	for (i = 0; i < SLOT_PAGES; i++)
		write_page(self, i);
	for (i = 0; i < NR_VCPUS; i++) {
		wait_until_blocked(self->vcpus[i]);
		kvmi_run_signal(&self->r[i]);
		kvmi_run_wait_eintr(&self->r[i]);
	}
}

KVMI_TEST(kvmi_dirty_ring, crashed_vcpu)
{
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_SHUTDOWN, NULL, 0, NULL, 0), 0);
	write_page(self, 3);
}

KVMI_TEST(kvmi_dirty_ring, several_pages)
{
	struct kvmi_mem_cookie cookie = { .cookie = get_cookie(&self->s) };
	struct write_msg msg = {
		.req = {
			.gpa = GPA + 2 * PAGE - 1,
			.size = PAGE + 2,
			.flags = KVMI_MEM_COOKIE,
		},
	};
	size_t size = sizeof(msg.req) + sizeof(cookie) + msg.req.size;
	u8 *data = msg.data + sizeof(cookie);
	int spinning;

	for (spinning = 0; spinning < 2; spinning++) {
		memcpy(msg.data, &cookie, sizeof(cookie));
		memset(data, 0x40 + spinning, msg.req.size);
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
					  size, NULL, 0), 0);
		TEST_ASSERT(!memcmp(self->mem + 2 * PAGE - 1, data,
				    msg.req.size), "Not written");
		TEST_ASSERT_EQ(harvest(self), BIT(1) | BIT(2) | BIT(3));
		if (!spinning) {
			spin(self, 0);
			spin(self, 1);
		}
	}
	release(self, 0);
	release(self, 1);
}

KVMI_TEST(kvmi_dirty_ring, exchange)
{
	struct write_msg msg = {
		.req = {
			.gpa = GPA + 5 * PAGE,
			.size = 4,
			.flags = KVMI_MEM_COMPARE,
		},
	};
	size_t size = sizeof(msg.req) + 2 * msg.req.size;

	memset(msg.data + 4, 0x55, 4);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg, size,
				  NULL, 0), 0);
	TEST_ASSERT_EQ(*(u32 *)(self->mem + 5 * PAGE), 0x55555555);
	TEST_ASSERT_EQ(harvest(self), BIT(5));
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg, size,
				  NULL, 0), -KVM_EAGAIN);
	TEST_ASSERT_EQ(harvest(self), 0);
}

/* The same errors as elsewhere, and no entry for what was not written. */
KVMI_TEST(kvmi_dirty_ring, errors)
{
	struct kvmi_mem_cookie cookie = { .cookie = get_cookie(&self->s) };
	struct write_msg msg = {
		.req = {
			.gpa = GPA + SLOT_PAGES * PAGE - 1,
			.size = 2,
			.flags = KVMI_MEM_COOKIE,
		},
	};
	size_t size = sizeof(msg.req) + sizeof(cookie) + msg.req.size;

	memcpy(msg.data, &cookie, sizeof(cookie));
	msg.data[sizeof(cookie)] = 0xff;
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg, size,
				  NULL, 0), -KVM_ENOENT);
	msg.data[0] ^= 1;
	msg.req.gpa = GPA;
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg, size,
				  NULL, 0), -KVM_EAGAIN);
	TEST_ASSERT_EQ(self->mem[SLOT_PAGES * PAGE - 1], 0);
	TEST_ASSERT_EQ(self->mem[0], 0);
	TEST_ASSERT_EQ(harvest(self), 0);
}

/* Slots of SMM have rings, too. */
KVMI_TEST(kvmi_dirty_ring, smm_address_space)
{
	struct write_msg msg = {
		.req = { .gpa = GPA + PAGE, .size = 1, .as_id = 1 },
		.data = { 0x77 },
	};

	if (vm_check_cap(self->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "No address space for SMM");

	vm_set_user_memory_region(self->vm, SLOT | 1 << 16,
				  KVM_MEM_LOG_DIRTY_PAGES, GPA,
				  SLOT_PAGES * PAGE, self->mem);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg,
				  sizeof(msg.req) + 1, NULL, 0), 0);
	TEST_ASSERT_EQ(self->mem[PAGE], 0x77);
	TEST_ASSERT_EQ(harvest_slot(self, SLOT | 1 << 16), BIT(1));
	vm_set_user_memory_region(self->vm, SLOT | 1 << 16, 0, GPA, 0, NULL);
}

#define FILLED	(BIT(0) | BIT(1) | BIT(2))

/* Fill the rings, three pages at a time; returns how many writes that took. */
static int fill_rings(struct _test_data_kvmi_dirty_ring *self)
{
	struct kvmi_mem_cookie cookie = { .cookie = get_cookie(&self->s) };
	struct write_msg msg = {
		.req = {
			.gpa = GPA + PAGE - 1,
			.size = PAGE + 2,
			.flags = KVMI_MEM_COOKIE,
		},
	};
	size_t size = sizeof(msg.req) + sizeof(cookie) + msg.req.size;
	u8 *first = self->mem + PAGE - 1;
	int n, err = 0;

	memcpy(msg.data, &cookie, sizeof(cookie));
	memset(msg.data + sizeof(cookie), 0xee, msg.req.size);
	for (n = 0; n <= NR_VCPUS * self->vcpus[0]->dirty_gfns_count; n++) {
		*first = 0;
		err = kvmi_cmd(&self->s, KVMI_VM_WRITE_PHYSICAL, &msg, size,
			       NULL, 0);
		if (err)
			break;
		TEST_ASSERT_EQ(*first, 0xee);
	}
	TEST_ASSERT_EQ(err, -KVM_EAGAIN);
	TEST_ASSERT_EQ(*first, 0);
	TEST_ASSERT(n >= NR_VCPUS, "Full after %d writes", n);
	return n;
}

/* Nothing is written until there is room. */
KVMI_TEST(kvmi_dirty_ring, full)
{
	int n;

	n = fill_rings(self);
	TEST_ASSERT_KVMI(write_byte(&self->s, GPA + 3 * PAGE, 0xee), -KVM_EAGAIN);
	TEST_ASSERT_EQ(self->mem[3 * PAGE], 0);
	TEST_ASSERT_EQ(harvest(self), FILLED);

	/* All of the rings is there again, for pages that nobody tracks, too. */
	write_page(self, 1);
	TEST_ASSERT_EQ(fill_rings(self), n);
	TEST_ASSERT_EQ(harvest(self), FILLED);
}

/* A vCPU whose ring is full leaves KVM_RUN, as if the guest had filled it. */
KVMI_TEST(kvmi_dirty_ring, full_in_the_guest)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		spin(self, i);
	fill_rings(self);
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_exit(&self->r[i], KVM_EXIT_DIRTY_RING_FULL);
	TEST_ASSERT_EQ(harvest(self), FILLED);
	write_page(self, 2);

	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_start(&self->r[i], &self->s, self->vcpus[i]);
	release(self, 0);
	release(self, 1);
}

/* Have all vCPUs in KVM_RUN where they cannot serve anybody. */
static void start_uninitialized(struct _test_data_kvmi_dirty_ring *self)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_UNINITIALIZED };
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		vcpu_mp_state_set(self->vcpus[i], &mp);
		kvmi_run_start(&self->r[i], &self->s, self->vcpus[i]);
		wait_until_blocked(self->vcpus[i]);
	}
}

static void expect_no_answer(struct kvmi_session *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };

	TEST_ASSERT_EQ(poll(&pfd, 1, 100), 0);
}

/* Then the write waits, and what follows is answered after it. */
KVMI_TEST(kvmi_dirty_ring, waits_for_a_vcpu)
{
	struct kvmi_get_version_reply rpl;
	u32 write, version;
	int i;

	start_uninitialized(self);
	write = send_write(&self->s, GPA, 0x11);
	version = kvmi_send_cmd(&self->s, KVMI_GET_VERSION, NULL, 0);
	expect_no_answer(&self->s);
	TEST_ASSERT_EQ(self->mem[0], 0);

	kvmi_run_signal(&self->r[1]);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s, KVMI_VM_WRITE_PHYSICAL, write,
					 NULL, 0), 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s, KVMI_GET_VERSION, version,
					 &rpl, sizeof(rpl)), 0);
	TEST_ASSERT_EQ(self->mem[0], 0x11);
	TEST_ASSERT_EQ(harvest(self), BIT(0));
	kvmi_run_signal(&self->r[0]);
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_eintr(&self->r[i]);
}

/* A write that waits does not keep the session from ending. */
KVMI_TEST(kvmi_dirty_ring, unhook_while_waiting)
{
	int i;

	start_uninitialized(self);
	send_write(&self->s, GPA, 0x11);
	expect_no_answer(&self->s);
	kvmi_unhook(&self->s);
	TEST_ASSERT_EQ(self->mem[0], 0);
	TEST_ASSERT_EQ(harvest(self), 0);

	for (i = 0; i < NR_VCPUS; i++) {
		self->r[i].s = NULL;
		kvmi_run_signal(&self->r[i]);
		kvmi_run_wait_eintr(&self->r[i]);
	}
	kvmi_hook(&self->s, self->vm);
	write_page(self, 0);
}

KVMI_TEST(kvmi_dirty_ring, tool_closes_while_waiting)
{
	int i;

	start_uninitialized(self);
	send_write(&self->s, GPA, 0x11);
	expect_no_answer(&self->s);
	kvmi_close(&self->s);

	for (i = 0; i < NR_VCPUS; i++) {
		self->r[i].s = NULL;
		kvmi_run_signal(&self->r[i]);
		kvmi_run_wait_eintr(&self->r[i]);
	}
}

/* What the tool has sent needs a vCPU, and they all wait until it is known to be lost. */
KVMI_TEST(kvmi_dirty_ring, tool_leaves_with_writes_to_do)
{
	struct {
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply rpl;
	} allow = {
		.rpl.event = KVMI_VCPU_EVENT_CPUID,
		.rpl.action = KVMI_EVENT_ACTION_ALLOW,
	};
	struct write_msg msg = { .req = { .gpa = GPA, .size = 1 } };
	struct kvmi_batch batch = { };
	struct kvmi_event ev[NR_VCPUS];
	int i;

	kvmi_unhook(&self->s);
	kvmi_hook_with(&self->s, self->vm, (struct kvm_introspection_hook) {
		.on_loss = KVM_INTROSPECTION_STOP,
	});
	for (i = 0; i < NR_VCPUS; i++) {
		vcpu_arch_set_entry_point(self->vcpus[i], guest_code_cpuid);
		kvmi_run_start(&self->r[i], &self->s, self->vcpus[i]);
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, i,
						    KVMI_VCPU_EVENT_CPUID, 1), 0);
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CPUID, &ev[i]);
		self->r[i].s = NULL;
	}

	TEST_ASSERT(!shutdown(self->s.fd, SHUT_RD), "shutdown()");
	for (i = 0; i < NR_VCPUS; i++) {
		allow.vcpu.vcpu = i;
		kvmi_batch_add(&batch, KVMI_VCPU_EVENT, ev[i].hdr.seq, &allow,
			       sizeof(allow));
	}
	for (i = 0; i < NR_LAST_WRITES; i++)
		kvmi_batch_add(&batch, KVMI_VM_WRITE_PHYSICAL, i, &msg,
			       sizeof(msg.req) + msg.req.size);
	kvmi_send(&self->s, batch.data, batch.size);

	for (i = 0; i < NR_VCPUS; i++) {
		kvmi_run_wait_exit(&self->r[i], KVM_EXIT_INTROSPECTION);
		TEST_ASSERT_EQ(self->vcpus[i]->run->introspection.reason,
			       KVM_INTROSPECTION_EXIT_LOST);
	}
	kvmi_close(&self->s);
}

static void pin(pthread_t thread, int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	TEST_ASSERT(!pthread_setaffinity_np(thread, sizeof(cpus), &cpus),
		    "pthread_setaffinity_np()");
}

/* Longer than the receiver waits for a vCPU at a time, less than the session for it */
#define HOG_MS	200

struct hog {
	int cpu;
	/* 1 when nothing else runs on the CPU, -1 if it cannot be had */
	int state;
};

static void *hog_thread(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	struct timespec begin, now;
	struct hog *hog = arg;

	pin(pthread_self(), hog->cpu);
	if (sched_setscheduler(0, SCHED_FIFO, &param)) {
		WRITE_ONCE(hog->state, -1);
		return NULL;
	}
	WRITE_ONCE(hog->state, 1);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - begin.tv_sec) * 1000 +
		 (now.tv_nsec - begin.tv_nsec) / 1000000 < HOG_MS);
	return NULL;
}

/* They are in KVM_RUN, and do not run when the session is to end. */
KVMI_TEST(kvmi_dirty_ring, tool_leaves_while_vcpus_are_preempted)
{
	struct hog hog = { };
	pthread_t thread;
	cpu_set_t cpus;
	int i, nr = 0;

	TEST_ASSERT(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity()");
	for (i = 0; i < CPU_SETSIZE && nr < 2; i++) {
		if (!CPU_ISSET(i, &cpus))
			continue;
		if (nr++)
			hog.cpu = i;
		else
			pin(pthread_self(), i);
	}
	if (nr < 2)
		SKIP(return, "Needs two CPUs");

	/* With a receiver on this CPU */
	kvmi_unhook(&self->s);
	kvmi_hook(&self->s, self->vm);
	for (i = 0; i < NR_VCPUS; i++) {
		spin(self, i);
		pin(self->r[i].thread, hog.cpu);
		self->r[i].s = NULL;
	}
	pthread_create(&thread, NULL, hog_thread, &hog);
	while (!READ_ONCE(hog.state))
		usleep(1000);
	if (hog.state > 0) {
		send_write(&self->s, GPA, 0x33);
		kvmi_close(&self->s);
		TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
		TEST_ASSERT_EQ(self->mem[0], 0x33);
		TEST_ASSERT_EQ(harvest(self), BIT(0));
		kvmi_hook(&self->s, self->vm);
	}
	pthread_join(thread, NULL);
	for (i = 0; i < NR_VCPUS; i++)
		release(self, i);
	if (hog.state < 0)
		SKIP(return, "Needs real-time scheduling");
}

/* Memory that is not tracked needs no vCPU. */
KVMI_TEST(kvmi_dirty_ring, memory_that_is_not_tracked)
{
	int i;

	vm_mem_region_set_flags(self->vm, SLOT, 0);
	start_uninitialized(self);
	TEST_ASSERT_KVMI(write_byte(&self->s, GPA, 0x22), 0);
	TEST_ASSERT_EQ(self->mem[0], 0x22);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmi_run_signal(&self->r[i]);
		kvmi_run_wait_eintr(&self->r[i]);
	}
	TEST_ASSERT_EQ(harvest(self), 0);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
