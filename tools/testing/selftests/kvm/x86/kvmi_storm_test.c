// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: sessions that begin and end while all else goes on
 *
 * Each test is many rounds of hook and unhook against vCPUs that never rest,
 * with a thread beside it that does what may get in the way.  After that the VM
 * is as good as new, and nothing is left of the sessions.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "kvmi_busy_vm.h"
#include "kvmi_fuzz.h"
#include "kvmi_test_harness.h"
#include "kvmi_view.h"

#define NR_VCPUS	2

/* Memory that comes and goes, behind that of the busy VM */
#define SLOT		2
#define SLOT_GPA	0x20000000ul
#define SLOT_SIZE	(16 * 4096ul)

/* What a session of a VM of this size takes, and more */
#define SESSION_BYTES	(32 * 1024)

FIXTURE(kvmi_storm) {
	struct kvmi_busy_vm busy;
	struct kvm_vm *vm;
	/* A VM that is hooked all the time, see vcpus_run */
	struct kvmi_session other;
	struct kvm_random_state random;
	int nr_fds;
	char *cgroup;
	long kernel_memory;

	/* A thread that gets in the way */
	pthread_t thread;
	bool stop;
	u64 rounds;
	void *memory;
};

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int nr = 0;

	TEST_ASSERT(dir, "opendir(%s)", path);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* The receivers of sessions are threads of the VMM. */
static int count_receivers(void)
{
	DIR *dir = opendir("/proc/self/task");
	char path[64], name[64];
	struct dirent *entry;
	int nr = 0;

	TEST_ASSERT(dir, "opendir()");
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm",
			 entry->d_name);
		if (read_text(path, name, sizeof(name)) > 0 &&
		    !strncmp(name, "kvm-introspecti", 15))
			nr++;
	}
	closedir(dir);
	return nr;
}

/*
 * In a cgroup of its own a test sees what the kernel keeps on its behalf.  It
 * does without, and says so, where it may not have one.
 */
static char *enter_cgroup(void)
{
	char root[PATH_MAX], name[32];
	char *cgroup;

	if (cg_find_unified_root(root, sizeof(root), NULL) ||
	    cg_read_strstr(root, "cgroup.controllers", "memory") ||
	    cg_write(root, "cgroup.subtree_control", "+memory")) {
		ksft_print_msg("No cgroups to be had: memory is not looked at\n");
		return NULL;
	}

	snprintf(name, sizeof(name), "kvmi_storm.%d", getpid());
	cgroup = cg_name(root, name);
	TEST_ASSERT(!cg_create(cgroup) && !cg_enter_current(cgroup),
		    "Cannot enter %s", cgroup);
	TEST_ASSERT(cg_read_key_long(cgroup, "memory.stat", "kernel ") >= 0,
		    "Nothing is told of the memory of %s", cgroup);

	return cgroup;
}

static void leave_cgroup(char *cgroup)
{
	char root[PATH_MAX];

	if (!cgroup)
		return;
	TEST_ASSERT(!cg_find_unified_root(root, sizeof(root), NULL) &&
		    !cg_enter_current(root), "Cannot leave %s", cgroup);
	cg_destroy(cgroup);
	free(cgroup);
}

static long kernel_memory(const char *cgroup)
{
	return cgroup ? cg_read_key_long(cgroup, "memory.stat", "kernel ") : 0;
}

FIXTURE_SETUP(kvmi_storm)
{
	self->cgroup = enter_cgroup();
	self->random = new_kvm_random_state(1);
	kvmi_busy_create(&self->busy, NR_VCPUS, 1);
	self->vm = self->busy.vm;
	kvmi_hook(&self->other, vm_create_barebones());
	kvmi_busy_go(&self->busy);

	/* What is allocated once is there after this. */
	kvmi_busy_check_session(&self->busy);
	self->nr_fds = count_entries("/proc/self/fd");
	self->kernel_memory = kernel_memory(self->cgroup);
}

FIXTURE_TEARDOWN(kvmi_storm)
{
	kvmi_busy_check_session(&self->busy);
	kvmi_unhook(&self->other);
	kvm_vm_free(self->other.vm);
	kvmi_busy_hold(&self->busy);
	kvmi_busy_free(&self->busy);
	leave_cgroup(self->cgroup);
}

/*
 * Nothing is left after so many sessions.  A receiver that has said that it ends
 * is still to be seen for a moment, and RCU frees when it gets to it.
 */
static void check_leaks(struct _test_data_kvmi_storm *self)
{
	time_t end = time(NULL) + KVMI_TIMEOUT;
	int receivers;
	long grown;

	for (;;) {
		receivers = count_receivers();
		/* With room for the per-CPU caches of the memory cgroup */
		grown = kernel_memory(self->cgroup) - self->kernel_memory;
		if (receivers == 1 && grown < 100 * SESSION_BYTES)
			break;
		TEST_ASSERT(time(NULL) < end,
			    "%d receivers and %ld bytes are left", receivers, grown);
		usleep(10000);
	}
	TEST_ASSERT_EQ(count_entries("/proc/self/fd"), self->nr_fds);
}

static void start_thread(struct _test_data_kvmi_storm *self, void *(*fn)(void *))
{
	TEST_ASSERT(!pthread_create(&self->thread, NULL, fn, self),
		    "pthread_create()");
}

static void stop_thread(struct _test_data_kvmi_storm *self)
{
	WRITE_ONCE(self->stop, true);
	pthread_join(self->thread, NULL);
	TEST_ASSERT(self->rounds, "The thread did nothing");
}

/* Ask for all events of all vCPUs; do not wait for the answers. */
static void ask_for_events(struct kvmi_session *s)
{
	static const struct fuzz_guest guest = { .nr_vcpus = NR_VCPUS };
	struct kvmi_msg msg;
	u8 buf[8192];
	size_t size, used = 0;
	int i;

	for (i = 0; i < fuzz_nr_wishes(&guest); i++) {
		fuzz_make_wish(&guest, i, &msg);
		size = sizeof(msg.hdr) + msg.hdr.size;
		TEST_ASSERT(used + size <= sizeof(buf), "Too many wishes");
		memcpy(buf + used, &msg, size);
		used += size;
	}
	kvmi_send(s, buf, used);
}

static void wait_for_event(struct kvmi_session *s, struct kvmi_event *ev)
{
	struct kvmi_msg msg;

	do {
		kvmi_recv(s, &msg);
	} while (msg.hdr.id != KVMI_VCPU_EVENT);
	kvmi_parse_event(&msg, ev);
}

static void unhook(struct kvmi_session *s)
{
	TEST_ASSERT_EQ(__kvmi_unhook(s->vm), 0);
	kvmi_close(s);
}

/*
 * A round: have up to so many events, of which the last one is left open, then
 * end the session.
 */
static void session(struct _test_data_kvmi_storm *self, int max_events, bool die)
{
	int i, nr = fuzz_below(&self->random, max_events + 1);
	struct kvmi_session s;
	struct kvmi_event ev;

	kvmi_hook(&s, self->vm);
	if (max_events)
		ask_for_events(&s);
	for (i = 0; i < nr; i++) {
		wait_for_event(&s, &ev);
		if (i < nr - 1)
			kvmi_reply(&s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	if (die)
		kvmi_close(&s);
	unhook(&s);
}

static void sessions(struct _test_data_kvmi_storm *self, int rounds, int max_events,
		     bool die)
{
	while (rounds--)
		session(self, max_events, die);
}

/* All tests together have more than a hundred times as many rounds. */
static int percent = 100;

/* The only VM that is hooked: the hooks are patched in and out each time. */
KVMI_TEST(kvmi_storm, vcpus_run)
{
	kvmi_unhook(&self->other);
	sessions(self, 5 * percent, 0, false);
	kvmi_hook(&self->other, self->other.vm);

	sessions(self, 25 * percent, 0, false);
	check_leaks(self);
}

KVMI_TEST(kvmi_storm, events_are_open)
{
	sessions(self, 15 * percent, 3, false);
	check_leaks(self);
}

KVMI_TEST(kvmi_storm, tool_dies)
{
	sessions(self, 15 * percent, 3, true);
	check_leaks(self);
}

/* One tool after the other, each in the middle of some events */
static void tools(struct _test_data_kvmi_storm *self, int nr, u32 on_loss)
{
	struct kvmi_session s;
	struct kvmi_event ev;
	int i;

	kvmi_hook_with(&s, self->vm, (struct kvm_introspection_hook) {
		.on_loss = on_loss,
	});
	ask_for_events(&s);
	while (nr--) {
		for (i = fuzz_below(&self->random, 4); i; i--) {
			wait_for_event(&s, &ev);
			if (i > 1)
				kvmi_reply(&s, &ev, KVMI_EVENT_ACTION_ALLOW);
		}
		kvmi_close(&s);
		kvmi_attach_when_lost(&s, s.vm);
	}
	unhook(&s);
}

KVMI_TEST(kvmi_storm, tools_are_lost)
{
	int i;

	for (i = 0; i < percent; i++) {
		tools(self, 5, KVM_INTROSPECTION_STOP);
		tools(self, 5, KVM_INTROSPECTION_ALLOW);
	}
	check_leaks(self);
}

static void *signal_thread(void *arg)
{
	struct _test_data_kvmi_storm *self = arg;

	while (!READ_ONCE(self->stop)) {
		kvmi_busy_signal(&self->busy);
		self->rounds++;
		sched_yield();
	}
	return NULL;
}

KVMI_TEST(kvmi_storm, signals)
{
	int i;

	start_thread(self, signal_thread);
	sessions(self, 5 * percent, 2, false);
	sessions(self, 5 * percent, 2, true);
	for (i = 0; i < percent; i++)
		tools(self, 2, KVM_INTROSPECTION_STOP);
	stop_thread(self);
	check_leaks(self);
}

static void set_slot(struct _test_data_kvmi_storm *self, u64 gpa, u64 size, u32 flags)
{
	TEST_ASSERT(!__vm_set_user_memory_region(self->vm, SLOT, flags, gpa, size,
						 self->memory),
		    "KVM_SET_USER_MEMORY_REGION");
}

/* Take access away from what the vCPUs cannot do without, and switch their view. */
static void restrict_pages(struct _test_data_kvmi_storm *self,
			   struct kvmi_session *s)
{
	struct kvm_x86_state *state = self->busy.vcpus[0].state;
	/* Code, a stack, data and page tables */
	const u64 pages[] = {
		addr_gva2gpa(self->vm, state->regs.rip),
		addr_gva2gpa(self->vm, state->regs.rsp - 8),
		addr_gva2gpa(self->vm, state->sregs.fs.base),
		state->sregs.cr3,
	};
	struct kvmi_vcpu_set_view set;
	int i;

	for (i = 0; i < 2; i++) {
		set.view = i ? kvmi_new_view(s, 0) : 0;
		TEST_ASSERT_KVMI(kvmi_set_page_access(s, set.view,
						      pages[fuzz_below(&self->random,
								       ARRAY_SIZE(pages))],
						      1, KVMI_PAGE_ACCESS_R |
						      fuzz_below(&self->random, 4) << 1), 0);
	}
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, set.view, pages[0], KVMI_BUSY_GPA), 0);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, set.view, pages[0], pages[0]), 0);
	TEST_ASSERT_KVMI(kvmi_change_gfn(s, set.view, KVMI_BUSY_GPA, pages[1]), 0);

	memset(set.padding, 0, sizeof(set.padding));
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_send_vcpu_cmd(s, i, KVMI_VCPU_SET_VIEW, &set, sizeof(set));
}

/* Instructions are stepped, or about to be, as the session ends. */
KVMI_TEST(kvmi_storm, pages_are_restricted)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_session s;
	struct kvmi_event ev;
	int i, nr;

	for (i = 0; i < 10 * percent; i++) {
		kvmi_hook(&s, self->vm);
		if (!i) {
			kvmi_get_features(&s, &features);
			if (!features.views) {
				unhook(&s);
				SKIP(return, "No page tables for views");
			}
		}
		restrict_pages(self, &s);
		nr = 0;
		if (i % 4) {
			ask_for_events(&s);
			nr = fuzz_below(&self->random, 8);
		}
		while (nr--) {
			wait_for_event(&s, &ev);
			kvmi_reply(&s, &ev, KVMI_EVENT_ACTION_ALLOW);
		}
		if (i % 3)
			kvmi_close(&s);
		unhook(&s);
	}
	check_leaks(self);
}

static void *memory_thread(void *arg)
{
	struct _test_data_kvmi_storm *self = arg;

	while (!READ_ONCE(self->stop)) {
		set_slot(self, SLOT_GPA, SLOT_SIZE, 0);
		set_slot(self, SLOT_GPA, SLOT_SIZE, KVM_MEM_LOG_DIRTY_PAGES);
		set_slot(self, SLOT_GPA, SLOT_SIZE, 0);
		set_slot(self, SLOT_GPA + SLOT_SIZE, SLOT_SIZE, 0);
		set_slot(self, 0, 0, 0);
		self->rounds++;
	}
	return NULL;
}

/* The tool uses memory that is there or not. */
static void use_memory(struct _test_data_kvmi_storm *self, struct kvmi_session *s)
{
	struct {
		struct kvmi_vm_write_physical req;
		u8 data[64];
	} msg = {
		.req.gpa = SLOT_GPA + 4096 - sizeof(msg.data) / 2,
		.req.size = sizeof(msg.data),
		.req.flags = KVMI_MEM_COOKIE,
	};
	u8 data[sizeof(struct kvmi_mem_cookie) + sizeof(msg.data)];
	int err;

	err = kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, &msg.req, sizeof(msg.req), data,
		       sizeof(data));
	TEST_ASSERT(!err || err == -KVM_ENOENT, "Reading answered %d", err);
	/* The cookie may be right, or not any more. */
	msg.req.size -= sizeof(struct kvmi_mem_cookie);
	memcpy(msg.data, data, sizeof(struct kvmi_mem_cookie));
	if (!err)
		err = kvmi_cmd(s, KVMI_VM_WRITE_PHYSICAL, &msg, sizeof(msg),
			       NULL, 0);
	TEST_ASSERT(!err || err == -KVM_ENOENT || err == -KVM_EAGAIN,
		    "Writing answered %d", err);
}

KVMI_TEST(kvmi_storm, memory_slots_change)
{
	struct kvmi_session s;
	int i, j;

	self->memory = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(self->memory != MAP_FAILED, "mmap()");
	start_thread(self, memory_thread);
	for (i = 0; i < 10 * percent; i++) {
		kvmi_hook(&s, self->vm);
		for (j = 0; j < 4; j++)
			use_memory(self, &s);
		if (i % 2)
			ask_for_events(&s);
		unhook(&s);
	}
	stop_thread(self);
	check_leaks(self);
	munmap(self->memory, SLOT_SIZE);
}

static void *shown_memory_thread(void *arg)
{
	struct _test_data_kvmi_storm *self = arg;

	while (!READ_ONCE(self->stop)) {
		set_slot(self, SLOT_GPA, SLOT_SIZE, 0);
		memset(self->memory, 1, SLOT_SIZE);
		madvise(self->memory, SLOT_SIZE, MADV_DONTNEED);
		sched_yield();
		set_slot(self, 0, 0, 0);
		self->rounds++;
	}
	return NULL;
}

/* A page that the vCPUs use, one that is there, or one that comes and goes */
static u64 some_page(struct _test_data_kvmi_storm *self)
{
	struct kvm_x86_state *state = self->busy.vcpus[0].state;

	switch (fuzz_below(&self->random, 6)) {
	case 0:
		return addr_gva2gpa(self->vm, state->regs.rip);
	case 1:
		return addr_gva2gpa(self->vm, state->regs.rsp - 8);
	case 2:
		return state->sregs.cr3;
	case 3:
		return KVMI_BUSY_GPA + fuzz_below(&self->random, KVMI_BUSY_PAGES) * 4096;
	default:
		return SLOT_GPA + fuzz_below(&self->random, SLOT_SIZE / 4096) * 4096;
	}
}

static void send_some_access(struct _test_data_kvmi_storm *self,
			     struct kvmi_session *s, u16 view)
{
	struct kvmi_page_entries msg = {
		.hdr.view = view,
		.hdr.count = 1 + fuzz_below(&self->random, 8),
	};
	int i;

	for (i = 0; i < msg.hdr.count; i++)
		msg.entries[i] = (struct kvmi_page_access_entry) {
			.gpa = some_page(self),
			.npages = fuzz_below(&self->random, 3),
			.access = KVMI_PAGE_ACCESS_R |
				  fuzz_below(&self->random, 4) << 1,
		};
	/* All of the memory that the VM has at first */
	if (!fuzz_below(&self->random, 4)) {
		msg.entries[0].gpa = 0;
		msg.entries[0].npages = 600;
	}
	kvmi_send_cmd(s, KVMI_VM_SET_PAGE_ACCESS, &msg,
		      offsetof(struct kvmi_page_entries, entries[msg.hdr.count]));
}

/* A command about views; whether it succeeds depends on those before. */
static void send_some_command(struct _test_data_kvmi_storm *self,
			      struct kvmi_session *s)
{
	u16 view = fuzz_below(&self->random, 4);
	struct kvmi_vm_create_view create = { .copy_of = view };
	struct kvmi_vm_destroy_view destroy = { .view = view };
	struct kvmi_vcpu_set_view set = { .view = view };
	struct kvmi_vm_change_gfn change = { .view = view };

	switch (fuzz_below(&self->random, 8)) {
	case 0:
		kvmi_send_cmd(s, KVMI_VM_CREATE_VIEW, &create, sizeof(create));
		break;
	case 1:
		kvmi_send_cmd(s, KVMI_VM_DESTROY_VIEW, &destroy, sizeof(destroy));
		break;
	case 2:
	case 3:
		kvmi_send_vcpu_cmd(s, fuzz_below(&self->random, NR_VCPUS),
				   KVMI_VCPU_SET_VIEW, &set, sizeof(set));
		break;
	case 4:
	case 5:
		change.gfn = some_page(self) / 4096;
		change.new_gfn = some_page(self) / 4096;
		/* A guest that sees other code, stacks or page tables is no use. */
		if (change.gfn < KVMI_BUSY_GPA / 4096)
			change.new_gfn = change.gfn;
		kvmi_send_cmd(s, KVMI_VM_CHANGE_GFN, &change, sizeof(change));
		break;
	default:
		send_some_access(self, s, view);
	}
}

/* Views are made, changed, switched and ended as sessions and memory slots are. */
KVMI_TEST(kvmi_storm, views_change)
{
	struct kvmi_session s;
	struct kvmi_msg msg;
	int i, j;

	if (!kvmi_has_page_access())
		SKIP(return, "No page tables for views");

	self->memory = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(self->memory != MAP_FAILED, "mmap()");
	start_thread(self, shown_memory_thread);
	for (i = 0; i < 10 * percent; i++) {
		kvmi_hook(&s, self->vm);
		kvmi_new_view(&s, 0);
		for (j = fuzz_below(&self->random, 24); j; j--)
			send_some_command(self, &s);
		/* In the middle of them, or when all are done */
		if (i % 2) {
			kvmi_send_cmd(&s, KVMI_GET_VERSION, NULL, 0);
			do {
				kvmi_recv(&s, &msg);
			} while (msg.hdr.id != KVMI_GET_VERSION);
		}
		if (i % 3)
			kvmi_close(&s);
		unhook(&s);
	}
	stop_thread(self);
	check_leaks(self);
	munmap(self->memory, SLOT_SIZE);
}

static void *vcpu_thread(void *arg)
{
	struct _test_data_kvmi_storm *self = arg;
	int fd;

	/* Their number is limited. */
	while (!READ_ONCE(self->stop) && self->rounds < 200) {
		fd = __vm_ioctl(self->vm, KVM_CREATE_VCPU,
				(void *)(NR_VCPUS + self->rounds));
		TEST_ASSERT(fd >= 0, KVM_IOCTL_ERROR(KVM_CREATE_VCPU, fd));
		/* It stays with the VM. */
		close(fd);
		self->rounds++;
	}
	WRITE_ONCE(self->stop, true);
	return NULL;
}

KVMI_TEST(kvmi_storm, vcpus_are_created)
{
	int rounds = 0;

	start_thread(self, vcpu_thread);
	while (!READ_ONCE(self->stop)) {
		session(self, rounds % 3, false);
		rounds++;
	}
	stop_thread(self);
	/* With all the vCPUs, and the memory of theirs, in the sessions */
	sessions(self, 20, 2, true);
	TEST_ASSERT_EQ(count_entries("/proc/self/fd"), self->nr_fds);
}

static void check_errno(int ret, int allowed)
{
	/*
	 * ENOENT: no tool asked for the UNHOOK event.  EBUSY: a new tool for a
	 * session that has one.
	 */
	TEST_ASSERT(!ret || errno == allowed || errno == ENOENT || errno == EBUSY,
		    "ioctl: %s", strerror(errno));
}

static void *ioctl_thread(void *arg)
{
	struct _test_data_kvmi_storm *self = arg;
	struct kvm_random_state random = new_kvm_random_state(2);
	int ret;

	while (!READ_ONCE(self->stop)) {
		switch (fuzz_below(&random, 6)) {
		case 0:
			ret = __kvmi_preunhook(self->vm);
			/* The tool is gone. */
			if (ret && errno == EPIPE)
				break;
			check_errno(ret, ENOTCONN);
			break;
		case 1:
			check_errno(__kvmi_hook_dead(self->vm), EEXIST);
			break;
		case 2:
			check_errno(__kvmi_unhook(self->vm), 0);
			break;
		case 3:
			check_errno(__kvmi_command(self->vm, 1, -1), ENOTCONN);
			break;
		case 4:
			check_errno(__kvmi_attach_dead(self->vm), ENOTCONN);
			break;
		default:
			check_errno(__kvmi_event(self->vm, 1, -1), ENOTCONN);
		}
		self->rounds++;
	}
	return NULL;
}

/* Several threads of a VMM that do not know of each other */
KVMI_TEST(kvmi_storm, ioctls_in_parallel)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION };
	int i, ret, fds[2];

	start_thread(self, ioctl_thread);
	for (i = 0; i < 20 * percent; i++) {
		TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds),
			    "socketpair()");
		ret = __kvmi_hook(self->vm, fds[0]);
		check_errno(ret, EEXIST);
		close(fds[0]);
		if (!ret)
			(void)!send(fds[1], &hdr, sizeof(hdr), MSG_NOSIGNAL);
		check_errno(__kvmi_command(self->vm, 1, -1), ENOTCONN);
		check_errno(__kvmi_event(self->vm, 1, -1), ENOTCONN);
		check_errno(__kvmi_unhook(self->vm), 0);
		close(fds[1]);
	}
	stop_thread(self);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	check_leaks(self);
}

/* The VM ends with its session, and threads of vCPUs in the middle of it. */
KVMI_TEST(kvmi_storm, vms_end)
{
	struct kvmi_busy_vm busy;
	struct kvmi_session s;
	struct kvmi_event ev;
	int i;

	for (i = 0; i < 20; i++) {
		kvmi_busy_create(&busy, NR_VCPUS, i);
		kvmi_busy_go(&busy);
		kvmi_hook(&s, busy.vm);
		ask_for_events(&s);
		if (i % 2)
			wait_for_event(&s, &ev);
		kvmi_busy_hold(&busy);
		kvmi_busy_free(&busy);
		kvmi_close(&s);
	}
	check_leaks(self);
}

/* Exceptions that a tool asks for while it is unhooked */
FIXTURE(kvmi_storm_inject) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct kvmi_runner runners[NR_VCPUS];
	struct kvm_random_state random;
};

#define INJECTED_ERROR_CODE	0x5a0
#define INJECTED_ADDRESS	0x123456789000ul

/* What the guest has seen, and the first of what nobody has asked for */
static u64 injected, foreign, foreign_vector, foreign_error_code, foreign_address;

static void count_exception(struct ex_regs *regs)
{
	u64 cr2;

	asm volatile("mov %%cr2, %0" : "=r"(cr2));
	if (regs->vector == PF_VECTOR && regs->error_code == INJECTED_ERROR_CODE &&
	    cr2 == INJECTED_ADDRESS) {
		__atomic_add_fetch(&injected, 1, __ATOMIC_RELAXED);
	} else if (!__atomic_fetch_add(&foreign, 1, __ATOMIC_RELAXED)) {
		foreign_vector = regs->vector;
		foreign_error_code = regs->error_code;
		foreign_address = cr2;
	}
}

static void guest_code_spin(void)
{
	for (;;)
		cpu_relax();
}

static u64 guest_u64(struct kvm_vm *vm, u64 *var)
{
	return READ_ONCE(*(u64 *)addr_gva2hva(vm, (gva_t)var));
}

FIXTURE_SETUP(kvmi_storm_inject)
{
	int i;

	self->random = new_kvm_random_state(3);
	self->vm = vm_create_with_vcpus(NR_VCPUS, guest_code_spin, self->vcpus);
	for (i = 0; i < 32; i++) {
		if (i != NMI_VECTOR)
			vm_install_exception_handler(self->vm, i, count_exception);
	}
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_start(&self->runners[i], NULL, self->vcpus[i]);
}

FIXTURE_TEARDOWN(kvmi_storm_inject)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		kvmi_run_signal(&self->runners[i]);
		kvmi_run_wait_eintr(&self->runners[i]);
	}
	kvm_vm_free(self->vm);
}

/* The guest gets what the tool has asked for, or nothing. */
KVMI_TEST(kvmi_storm_inject, unhook)
{
	struct kvmi_vcpu_inject_exception req = {
		.nr = PF_VECTOR,
		.error_code = INJECTED_ERROR_CODE,
		.address = INJECTED_ADDRESS,
	};
	struct kvmi_session s;
	struct kvmi_msg msg;
	int i, j, wait;

	for (i = 0; i < 3 * percent; i++) {
		kvmi_hook(&s, self->vm);
		for (j = 0; j < NR_VCPUS; j++)
			kvmi_send_vcpu_cmd(&s, j, KVMI_VCPU_INJECT_EXCEPTION, &req,
					   sizeof(req));
		/* Wait for some of the replies, and perhaps the events. */
		wait = fuzz_below(&self->random, 2 * NR_VCPUS + 1);
		while (wait--)
			kvmi_recv(&s, &msg);
		unhook(&s);
		TEST_ASSERT(!guest_u64(self->vm, &foreign),
			    "Exception %lu, error code 0x%lx, address 0x%lx",
			    guest_u64(self->vm, &foreign_vector),
			    guest_u64(self->vm, &foreign_error_code),
			    guest_u64(self->vm, &foreign_address));
	}
	TEST_ASSERT(guest_u64(self->vm, &injected), "No exception arrived");
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	/* -n percent: another number of rounds; the rest is the harness's. */
	if (argc > 2 && !strcmp(argv[1], "-n")) {
		percent = atoi_positive("Percent", argv[2]);
		argc -= 2;
		argv += 2;
	}

	return test_harness_run(argc, argv);
}
