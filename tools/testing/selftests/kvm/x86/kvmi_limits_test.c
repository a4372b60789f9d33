// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the limits of what a tool can make the kernel keep, at
 * their edges, and of how long it can keep a vCPU
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "kvmi_test_harness.h"
#include "kvmi_view.h"

/* These are part of the protocol's documentation, not of its headers. */
#define MAX_QUEUED	32
#define MAX_PAUSES	1001
#define MAX_MSRS	481
#define MAX_NODES	131072
#define NODES_PER_1G	16
#define NR_VIEWS	7

#define NR_VCPUS	2

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

FIXTURE(kvmi_limits) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_VARIANT(kvmi_limits) {
	int type;
};

FIXTURE_VARIANT_ADD(kvmi_limits, stream) { .type = SOCK_STREAM };
FIXTURE_VARIANT_ADD(kvmi_limits, seqpacket) { .type = SOCK_SEQPACKET };

FIXTURE_SETUP(kvmi_limits)
{
	self->vm = vm_create_with_vcpus(NR_VCPUS, guest_code, self->vcpus);
	kvmi_hook_type(&self->s, self->vm, variant->type);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 1, -1), 0);
}

FIXTURE_TEARDOWN(kvmi_limits)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static u32 ask(struct kvmi_session *s, u16 vcpu)
{
	return kvmi_send_vcpu_cmd(s, vcpu, KVMI_VCPU_GET_INFO, NULL, 0);
}

static int answer_of(struct kvmi_session *s, u32 seq)
{
	struct kvmi_vcpu_get_info_reply info;

	return kvmi_recv_reply(s, KVMI_VCPU_GET_INFO, seq, &info, sizeof(info));
}

/*
 * Queue as many commands as a vCPU takes that is not in KVM_RUN.  The answers to
 * what is too much are the first to come.
 */
static void fill_queue(struct kvmi_session *s, u16 vcpu, u32 *seqs)
{
	int i;

	for (i = 0; i < MAX_QUEUED; i++)
		seqs[i] = ask(s, vcpu);
	for (i = 0; i < 3; i++)
		TEST_ASSERT_KVMI(answer_of(s, ask(s, vcpu)), -KVM_EBUSY);
}

/* 32 commands wait for a vCPU, not one more, and all are answered. */
KVMI_TEST(kvmi_limits, queued_commands)
{
	u32 seqs[MAX_QUEUED];
	struct ucall uc;
	int i, round;

	for (round = 0; round < 2; round++) {
		fill_queue(&self->s, 0, seqs);
		kvmi_run_start(&self->r, &self->s, self->vcpus[0]);
		for (i = 0; i < MAX_QUEUED; i++)
			TEST_ASSERT_KVMI(answer_of(&self->s, seqs[i]), 0);
		kvmi_run_wait_sync(&self->r, &uc);
	}
}

/* That is the limit of each vCPU. */
KVMI_TEST(kvmi_limits, queued_commands_of_two_vcpus)
{
	u32 seqs[NR_VCPUS][MAX_QUEUED];
	struct ucall uc;
	int i, j;

	for (i = 0; i < NR_VCPUS; i++)
		fill_queue(&self->s, i, seqs[i]);
	for (i = 0; i < NR_VCPUS; i++) {
		kvmi_run_start(&self->r, &self->s, self->vcpus[i]);
		for (j = 0; j < MAX_QUEUED; j++)
			TEST_ASSERT_KVMI(answer_of(&self->s, seqs[i][j]), 0);
		kvmi_run_wait_sync(&self->r, &uc);
	}
}

/* A queue that is full holds up no commands to the VM. */
KVMI_TEST(kvmi_limits, full_queue_and_vm_commands)
{
	struct kvmi_vm_get_info_reply info;
	u32 seqs[MAX_QUEUED];
	struct ucall uc;
	int i;

	fill_queue(&self->s, 0, seqs);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_GET_INFO, NULL, 0, &info,
				  sizeof(info)), 0);
	TEST_ASSERT_EQ(info.vcpu_count, NR_VCPUS);
	kvmi_run_start(&self->r, &self->s, self->vcpus[0]);
	for (i = 0; i < MAX_QUEUED; i++)
		TEST_ASSERT_KVMI(answer_of(&self->s, seqs[i]), 0);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* The same while an event is open that a signal has taken the vCPU away from. */
KVMI_TEST(kvmi_limits, queued_commands_in_event)
{
	u32 seqs[MAX_QUEUED];
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	kvmi_park(&self->r, &self->s, self->vcpus[0], &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	fill_queue(&self->s, 0, seqs);
	kvmi_run_start(&self->r, &self->s, self->vcpus[0]);
	for (i = 0; i < MAX_QUEUED; i++)
		TEST_ASSERT_KVMI(answer_of(&self->s, seqs[i]), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* The queue goes with the session. */
KVMI_TEST(kvmi_limits, full_queue_then_unhook)
{
	u32 seqs[MAX_QUEUED];
	struct ucall uc;

	fill_queue(&self->s, 0, seqs);
	kvmi_unhook(&self->s);
	kvmi_hook(&self->s, self->vm);
	kvmi_run_to_sync(&self->s, self->vcpus[0], &uc);
	fill_queue(&self->s, 0, seqs);
	kvmi_unhook(&self->s);
	kvmi_run_to_sync(NULL, self->vcpus[0], &uc);
}

/* Pauses that one vCPU owes leave room for those of another. */
KVMI_TEST(kvmi_limits, pauses)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	for (i = 0; i < MAX_PAUSES; i++)
		TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, i & 1), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), -KVM_EBUSY);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), -KVM_EBUSY);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 1, 1), 0);

	/* One that is sent is owed no more. */
	kvmi_run_start(&self->r, &self->s, self->vcpus[0]);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), -KVM_EBUSY);
	for (i = 0; i < MAX_PAUSES; i++) {
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	}
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* The longest message is taken, whatever its command makes of it. */
KVMI_TEST(kvmi_limits, message_size)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_get_version_reply version;
	u8 data[KVMI_MAX_MSG_SIZE] = {};
	struct kvmi_event ev;
	struct ucall uc;
	u32 seq;

	TEST_ASSERT_EQ(sizeof(data), 8184);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_GET_VERSION, data, sizeof(data),
				  &version, sizeof(version)), 0);
	TEST_ASSERT_EQ(version.max_msg_size, sizeof(data));
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, 0xffff, data, sizeof(data), NULL, 0),
			 -KVM_ENOSYS);

	kvmi_park(&self->r, &self->s, self->vcpus[0], &ev);
	seq = kvmi_send_cmd(&self->s, KVMI_VCPU_GET_INFO, data, sizeof(data));
	TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s, KVMI_VCPU_GET_INFO, seq, &info,
					 sizeof(info)), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* One byte more ends the session. */
KVMI_TEST(kvmi_limits, message_too_long)
{
	struct kvmi_msg_hdr *hdr;
	u8 data[sizeof(*hdr) + KVMI_MAX_MSG_SIZE + 1] = {};

	hdr = (void *)data;
	hdr->id = KVMI_GET_VERSION;
	hdr->size = KVMI_MAX_MSG_SIZE + 1;
	kvmi_send(&self->s, data, sizeof(data));
	kvmi_expect_closed(&self->s);
}

/* The longest replies */
KVMI_TEST(kvmi_limits, reply_size)
{
	struct {
		struct kvmi_vcpu_get_registers req;
		u32 index[MAX_MSRS + 1];
	} list = {};
	struct {
		struct kvmi_vcpu_get_registers_reply rpl;
		struct kvm_msr_entry entries[MAX_MSRS];
	} *registers = calloc(1, sizeof(*registers));
	const size_t max_read = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) -
				sizeof(struct kvmi_mem_cookie);
	struct kvmi_vm_read_physical read = {
		.size = max_read,
		.flags = KVMI_MEM_COOKIE,
	};
	u8 data[KVMI_MAX_MSG_SIZE];
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_READ_PHYSICAL, &read,
				  sizeof(read), data,
				  KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code)),
			 0);
	read.size++;
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_READ_PHYSICAL, &read,
				  sizeof(read), NULL, 0), -KVM_EINVAL);

	for (i = 0; i < ARRAY_SIZE(list.index); i++)
		list.index[i] = MSR_STAR;
	kvmi_park(&self->r, &self->s, self->vcpus[0], &ev);
	list.req.nmsrs = MAX_MSRS;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_REGISTERS, &list,
				       sizeof(list), registers, sizeof(*registers)),
			 0);
	list.req.nmsrs = MAX_MSRS + 1;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_REGISTERS, &list,
				       sizeof(list), NULL, 0), -KVM_EINVAL);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	free(registers);
}

/* A tool that never stops asking */
struct flood {
	struct kvmi_session *s;
	pthread_t thread;
	bool stop;
	u64 successes;
};

static void *flood_thread(void *arg)
{
	struct flood *f = arg;
	struct kvmi_error_code ec;
	struct kvmi_msg msg;
	int i;

	while (!READ_ONCE(f->stop)) {
		/* Few enough for a socket that holds ten packets */
		for (i = 0; i < 8; i++)
			ask(f->s, 0);
		for (i = 0; i < 8; i++) {
			kvmi_recv(f->s, &msg);
			TEST_ASSERT_EQ(msg.hdr.id, KVMI_VCPU_GET_INFO);
			memcpy(&ec, msg.data, sizeof(ec));
			TEST_ASSERT(!ec.err || ec.err == -KVM_EBUSY,
				    "Answer %d", ec.err);
			if (!ec.err)
				WRITE_ONCE(f->successes, f->successes + 1);
		}
	}
	return NULL;
}

static void start_flood(struct flood *f, struct kvmi_session *s)
{
	*f = (struct flood){ .s = s };
	TEST_ASSERT(!pthread_create(&f->thread, NULL, flood_thread, f),
		    "pthread_create()");
}

static void wait_for_flood(struct flood *f)
{
	u64 successes = READ_ONCE(f->successes);
	time_t end = time(NULL) + KVMI_TIMEOUT;

	while (READ_ONCE(f->successes) < successes + 100) {
		TEST_ASSERT(time(NULL) < end, "Commands are not answered");
		sched_yield();
	}
}

static void stop_flood(struct flood *f)
{
	WRITE_ONCE(f->stop, true);
	TEST_ASSERT(!pthread_join(f->thread, NULL), "pthread_join()");
}

/* It cannot keep the vCPU's thread from a signal, every time. */
/* A signal that comes before KVM_RUN is lost. */
static void interrupt(struct kvmi_runner *r)
{
	do {
		kvmi_run_signal(r);
	} while (kvmi_run_is_going(r));
	kvmi_run_wait_eintr(r);
}

static void interrupt_flood(struct flood *f, struct kvmi_runner *r,
			    struct kvmi_session *s, struct kvm_vcpu *vcpu)
{
	int i;

	start_flood(f, s);
	for (i = 0; i < 10; i++) {
		wait_for_flood(f);
		interrupt(r);
		/* What the tool sends in between is for the flood's thread. */
		kvmi_run_start(r, NULL, vcpu);
	}
	stop_flood(f);
}

KVMI_TEST(kvmi_limits, endless_commands_in_event)
{
	struct kvmi_event ev;
	struct flood f;
	struct ucall uc;

	kvmi_park(&self->r, &self->s, self->vcpus[0], &ev);
	self->r.s = NULL;
	interrupt_flood(&f, &self->r, &self->s, self->vcpus[0]);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_limits, endless_commands_to_running_vcpu)
{
	struct flood f;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpus[0], guest_code_spin);
	kvmi_run_start(&self->r, NULL, self->vcpus[0]);
	interrupt_flood(&f, &self->r, &self->s, self->vcpus[0]);
	write_guest_global(self->vm, stop, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_limits, endless_commands_to_halted_vcpu)
{
	struct flood f;

	vcpu_arch_set_entry_point(self->vcpus[0], guest_code_halt);
	kvmi_run_start(&self->r, NULL, self->vcpus[0]);
	interrupt_flood(&f, &self->r, &self->s, self->vcpus[0]);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
}

/* Nor does it keep the guest from running. */
KVMI_TEST(kvmi_limits, endless_commands_and_the_guest)
{
	struct flood f;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpus[0], guest_code_spin);
	kvmi_run_start(&self->r, NULL, self->vcpus[0]);
	start_flood(&f, &self->s);
	wait_for_flood(&f);
	write_guest_global(self->vm, stop, 1);
	kvmi_run_wait_sync(&self->r, &uc);

	/* The flood may have left commands behind. */
	vcpu_arch_set_entry_point(self->vcpus[0], guest_code_halt);
	kvmi_run_start(&self->r, NULL, self->vcpus[0]);
	stop_flood(&f);
	interrupt(&self->r);
}

/* Commands and their replies, as fast as the socket takes them */
static void *send_without_end(void *arg)
{
	struct kvmi_session *s = arg;
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION };

	while (send(s->fd, &hdr, sizeof(hdr), MSG_NOSIGNAL) == sizeof(hdr))
		hdr.seq++;
	return NULL;
}

static void *receive_without_end(void *arg)
{
	struct flood *f = arg;
	char buf[4096];

	while (recv(f->s->fd, buf, sizeof(buf), 0) > 0)
		WRITE_ONCE(f->successes, f->successes + 1);
	return NULL;
}

/* What the tool sent before the session ends counts, but that has an end. */
KVMI_TEST(kvmi_limits, endless_commands_and_unhook)
{
	struct flood f = { .s = &self->s };
	pthread_t sender;

	TEST_ASSERT(!pthread_create(&f.thread, NULL, receive_without_end, &f),
		    "pthread_create()");
	TEST_ASSERT(!pthread_create(&sender, NULL, send_without_end, &self->s),
		    "pthread_create()");
	wait_for_flood(&f);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	TEST_ASSERT(!pthread_join(sender, NULL), "pthread_join()");
	TEST_ASSERT(!pthread_join(f.thread, NULL), "pthread_join()");
	kvmi_close(&self->s);
}

/* Such commands are run by the thread of a vCPU that waits for a reply. */
KVMI_TEST(kvmi_limits, endless_quick_commands_in_event)
{
	struct flood f = { .s = &self->s };
	struct kvmi_event ev;
	pthread_t sender;
	struct ucall uc;
	int i;

	kvmi_park(&self->r, &self->s, self->vcpus[0], &ev);
	self->r.s = NULL;
	TEST_ASSERT(!pthread_create(&f.thread, NULL, receive_without_end, &f),
		    "pthread_create()");
	TEST_ASSERT(!pthread_create(&sender, NULL, send_without_end, &self->s),
		    "pthread_create()");
	for (i = 0; i < 10; i++) {
		wait_for_flood(&f);
		interrupt(&self->r);
		kvmi_run_start(&self->r, NULL, self->vcpus[0]);
	}
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	TEST_ASSERT(!pthread_join(sender, NULL), "pthread_join()");
	TEST_ASSERT(!pthread_join(f.thread, NULL), "pthread_join()");
	kvmi_close(&self->s);
	kvmi_run_wait_sync(&self->r, &uc);
}

/*
 * Restrictions: one page in each of so many 2M, the same in all views, until there
 * is no room for a few more.
 */
#define PAGE		4096ul
#define SIZE_2M		(512 * PAGE)
#define NODES_GPA	0x100000000ul
#define NODES_SLOT	10
#define NODES_SIZE	(40ul << 30)
#define NR_1G		36
#define NR_PAGES	(MAX_NODES / NR_VIEWS - NR_1G * NODES_PER_1G)
/* Nodes that are left then */
#define NR_LEFT		(MAX_NODES % NR_VIEWS)

/* The last 1G has room for some more. */
static_assert(NR_PAGES > (NR_1G - 1) * 512 && NR_PAGES + NR_LEFT + 10 < NR_1G * 512);

#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)
#define RO		KVMI_PAGE_ACCESS_R
#define RWX		KVMI_PAGE_ACCESS_RWX

FIXTURE(kvmi_nodes) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	void *memory;
};

FIXTURE_SETUP(kvmi_nodes)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	/* Hardly any of it is used. */
	self->memory = mmap(NULL, NODES_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(self->memory != MAP_FAILED, "mmap()");
	madvise(self->memory, NODES_SIZE, MADV_NOHUGEPAGE);
	vm_set_user_memory_region(self->vm, NODES_SLOT, 0, NODES_GPA, NODES_SIZE,
				  self->memory);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_nodes)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
	munmap(self->memory, NODES_SIZE);
}

static u64 node_gpa(u32 i)
{
	return NODES_GPA + i * SIZE_2M;
}

static void add_page(struct kvmi_page_entries *msg, u32 i, u8 access)
{
	msg->entries[msg->hdr.count++] = (struct kvmi_page_access_entry) {
		.gpa = node_gpa(i),
		.access = access,
	};
}

static void fill_view(struct kvmi_session *s, u32 nr)
{
	struct kvmi_page_entries msg = {};
	u32 i;

	for (i = 0; i < nr; i++) {
		add_page(&msg, i, RX);
		if (msg.hdr.count < KVMI_MAX_ENTRIES && i < nr - 1)
			continue;
		TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
		msg.hdr.count = 0;
	}
}

static void expect_page(struct kvmi_session *s, u64 gpa, u8 wanted)
{
	u8 access;

	TEST_ASSERT_KVMI(kvmi_get_page_access(s, 0, gpa, &access), 0);
	TEST_ASSERT_EQ(access, wanted);
}

KVMI_TEST(kvmi_nodes, all_views)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_page_entries msg = {};
	u16 view;
	u32 i;

	fill_view(s, NR_PAGES);
	for (i = 1; i < NR_VIEWS; i++)
		TEST_ASSERT_KVMI(kvmi_create_view(s, 0, &view), 0);

	/* Nothing is done if there is no room for all of it. */
	add_page(&msg, 0, RO);
	for (i = 0; i <= NR_LEFT; i++)
		add_page(&msg, NR_PAGES + i, RO);
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), -KVM_ENOMEM);
	expect_page(s, node_gpa(0), RX);
	for (i = 0; i <= NR_LEFT; i++)
		expect_page(s, node_gpa(NR_PAGES + i), RWX);

	/* All but the last fit. */
	msg.hdr.count--;
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	expect_page(s, node_gpa(0), RO);
	expect_page(s, node_gpa(NR_PAGES + NR_LEFT - 1), RO);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, node_gpa(NR_PAGES), 1, RX),
			 -KVM_ENOMEM);
	expect_page(s, node_gpa(NR_PAGES + NR_LEFT), RWX);

	/* Other pages of the same 2M take no more room, nor does nothing. */
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1) + PAGE, 511, RO), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(NR_PAGES + NR_LEFT), 1,
					      RWX), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(NR_1G * 512), 1, RWX), 0);

	/* Room is given back by what is the same in all of a 2M. */
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1), 1, RO), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, node_gpa(NR_PAGES), 1, RX), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, node_gpa(NR_PAGES + 1), 1, RX),
			 -KVM_ENOMEM);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, node_gpa(NR_PAGES), 1, RWX), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, view, node_gpa(NR_PAGES + 1), 1, RX),
			 0);

	/* Nothing is left of what would make a difference in one, however often. */
	for (i = 0; i < 5; i++) {
		TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1) + PAGE, 1, RWX),
				 -KVM_ENOMEM);
		TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1) + PAGE, 512,
						      RWX), -KVM_ENOMEM);
		expect_page(s, node_gpa(1) + PAGE, RO);
	}
	/* As many pages as there are take none. */
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1), 512, RWX), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, NODES_GPA + (39ul << 30),
					      1 << 18, RO), 0);
	expect_page(s, NODES_GPA + (40ul << 30) - PAGE, RO);

	/* A copy of a view is no way around it. */
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1), 1, RX), -KVM_ENOMEM);
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(1), 1, RX), 0);
	TEST_ASSERT_KVMI(kvmi_create_view(s, 0, &view), -KVM_ENOMEM);
	for (i = 0; i < NR_LEFT; i++)
		TEST_ASSERT_KVMI(kvmi_set_page_access(s, 0, node_gpa(NR_PAGES + i),
						      1, RWX), 0);
	TEST_ASSERT_KVMI(kvmi_create_view(s, 0, &view), 0);
}

/* A vCPU switches its view while another view is copied, which takes long. */
KVMI_TEST(kvmi_nodes, set_view_during_long_command)
{
	struct kvmi_vm_create_view create = {};
	struct kvmi_vcpu_set_view set[2] = {};
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct kvmi_msg msg;
	int i, nr = 0;
	u16 view;

	kvmi_park(&self->r, s, self->vcpu, &ev);
	view = kvmi_new_view(s, 0);
	fill_view(s, NR_PAGES);

	set[1].view = view;
	for (i = 0; i < MAX_QUEUED; i++)
		kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_SET_VIEW, &set[i % 2],
				   sizeof(set[0]));
	kvmi_send_cmd(s, KVMI_VM_CREATE_VIEW, &create, sizeof(create));
	for (;;) {
		kvmi_recv(s, &msg);
		if (msg.hdr.id == KVMI_VM_CREATE_VIEW)
			break;
		TEST_ASSERT_EQ(msg.hdr.id, KVMI_VCPU_SET_VIEW);
		nr++;
	}
	TEST_ASSERT(nr == MAX_QUEUED, "%d of %d views set before the copy was made",
		    nr, MAX_QUEUED);
	TEST_ASSERT_EQ(kvmi_view_of(s, 0), view);

	/* The vCPU counts as in it, and once. */
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), -KVM_EBUSY);
	TEST_ASSERT_KVMI(kvmi_set_view(s, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), 0);
	kvmi_unpark(s, &ev);
}

/* Pages that the guest uses for the first time */
#define NR_TOUCHED	4000

static void guest_code_touch(u8 *p)
{
	int i;

	for (i = 0; i < NR_TOUCHED; i++)
		WRITE_ONCE(p[i * PAGE], 1);
	GUEST_SYNC(0);
}

/* They are mapped at once, whatever a command allocates meanwhile. */
KVMI_TEST(kvmi_nodes, faults_during_long_commands)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_page_entries msg = {};
	const gva_t gva = 0xc0000000;
	struct ucall uc;
	u64 faults;
	u32 i = 0;

	virt_map(self->vm, gva, NODES_GPA, NR_TOUCHED);
	vcpu_arch_set_entry_point(self->vcpu, guest_code_touch);
	vcpu_args_set(self->vcpu, 1, gva);

	/* Each entry takes a node; the first one and the last are around the pages. */
	kvmi_run_start(&self->r, s, self->vcpu);
	do {
		for (msg.hdr.count = 0; msg.hdr.count < KVMI_MAX_ENTRIES; i++)
			add_page(&msg, msg.hdr.count ? 2 + i % (NR_1G * 512 - 2) : 0, RX);
		msg.entries[0].access = RWX;
		TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	} while (kvmi_run_is_going(&self->r));
	kvmi_run_wait_sync(&self->r, &uc);

	faults = vcpu_get_stat(self->vcpu, pf_taken);
	TEST_ASSERT(faults < NR_TOUCHED * 11 / 10, "%lu faults of %u pages", faults,
		    NR_TOUCHED);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
