// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: allocations that fail
 *
 * The nth allocation of a thread fails.  What is tested is done with n = 1, 2, ...
 * until it takes fewer than n.  As some are tried again in another way, it is also
 * done with two in a row that fail, the first of them after n * STEP bytes.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "kvmi_test_harness.h"
#include "kvmi_view.h"

/* More allocations than anything here does */
#define MAX_N		5000

/* The smallest of what a view is made of, or less */
#define STEP		256

#define NR_PAGES	128
#define RWX		KVMI_PAGE_ACCESS_RWX
#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)
#define RW		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W)

/* What became of a command other than 0 and -KVM_ENOMEM: the session was closed. */
#define CLOSED		1

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == strlen(text);
	close(fd);
	return ok;
}

#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define FAIL_PAGE	"/sys/kernel/debug/fail_page_alloc/"

/* Any allocation may fail, also one that may wait, and nothing is said of it. */
static bool enable_faults(void)
{
	return !access("/proc/self/fail-nth", W_OK) &&
	       write_file(FAILSLAB "ignore-gfp-wait", "N") &&
	       write_file(FAILSLAB "verbose", "0") &&
	       write_file(FAILSLAB "task-filter", "Y") &&
	       write_file(FAIL_PAGE "ignore-gfp-wait", "N") &&
	       write_file(FAIL_PAGE "min-order", "0") &&
	       write_file(FAIL_PAGE "verbose", "0");
}

/* Files of a thread in /proc.  Using them allocates nothing, opening them does. */
struct thread {
	int fail_nth;
	int make_it_fail;
};

static int open_file(pid_t tid, const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	fd = open(path, O_RDWR);
	TEST_ASSERT(fd >= 0, "%s", path);
	return fd;
}

static struct thread open_thread(pid_t tid)
{
	return (struct thread) {
		.fail_nth = open_file(tid, "fail-nth"),
		.make_it_fail = open_file(tid, "make-it-fail"),
	};
}

static void close_thread(struct thread *thread)
{
	close(thread->fail_nth);
	close(thread->make_it_fail);
}

static void begin_fault(struct thread *thread, int n)
{
	char text[16];
	int size = snprintf(text, sizeof(text), "%d", n);

	TEST_ASSERT(n < MAX_N, "%d allocations and no end", n);
	TEST_ASSERT_EQ(pwrite(thread->fail_nth, text, size, 0), size);
}

/* Has it failed?  A vCPU's thread may have ended meanwhile, if the session did. */
static bool end_fault(struct thread *thread)
{
	char text[16] = "";

	if (pread(thread->fail_nth, text, sizeof(text) - 1, 0) < 0) {
		TEST_ASSERT_EQ(errno, ESRCH);
		return true;
	}
	(void)!pwrite(thread->fail_nth, "0", 1, 0);
	return !atoi(text);
}

static void begin_two_faults(struct thread *thread, int n)
{
	char text[16];

	TEST_ASSERT(n < MAX_N, "%d allocations and no end", n);
	snprintf(text, sizeof(text), "%d", (n - 1) * STEP);
	TEST_ASSERT(write_file(FAILSLAB "space", text) &&
		    write_file(FAILSLAB "times", "2") &&
		    write_file(FAILSLAB "probability", "100"), FAILSLAB);
	TEST_ASSERT_EQ(pwrite(thread->make_it_fail, "1", 1, 0), 1);
}

static bool end_two_faults(struct thread *thread)
{
	int fd = open(FAILSLAB "times", O_RDONLY);
	char text[16] = "";

	(void)!pwrite(thread->make_it_fail, "0", 1, 0);
	TEST_ASSERT(write_file(FAILSLAB "probability", "0"), FAILSLAB);
	TEST_ASSERT(read(fd, text, sizeof(text) - 1) > 0, FAILSLAB "times");
	close(fd);
	return atoi(text) != 2;
}

/* The only thread of the process with such a name, but for the calling one */
static struct thread find_thread(bool is_receiver)
{
	pid_t tid, found, self = syscall(SYS_gettid);
	char path[64], comm[32];
	struct dirent *e;
	int n, tries;
	DIR *dir;
	FILE *f;

	/* One that has ended is to be seen for a moment. */
	for (tries = 0; tries < 1000; tries++) {
		dir = opendir("/proc/self/task");
		TEST_ASSERT(dir, "opendir()");
		n = 0;
		while ((e = readdir(dir))) {
			tid = atoi(e->d_name);
			if (!tid || tid == self)
				continue;
			snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
			f = fopen(path, "r");
			if (!f)
				continue;
			/* KVM's other threads are called kvm-, too. */
			if (fgets(comm, sizeof(comm), f) &&
			    (is_receiver ? !strncmp(comm, "kvm-introspect", 14) :
					   !!strncmp(comm, "kvm-", 4))) {
				found = tid;
				n++;
			}
			fclose(f);
		}
		closedir(dir);
		if (n == 1)
			return open_thread(found);
		usleep(1000);
	}
	TEST_FAIL("%d threads", n);
	return (struct thread) { };
}

/* The thread of a session that reads from the tool. */
static struct thread open_receiver(void)
{
	return find_thread(true);
}

/* The thread that runs the vCPU, while it does */
static struct thread open_vcpu_thread(void)
{
	return find_thread(false);
}

static void guest_code(u64 *page)
{
	for (;;)
		GUEST_SYNC1(READ_ONCE(*page));
}

static void assert_alive(struct kvmi_session *s)
{
	struct kvmi_get_version_reply rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
}

static void assert_not_hooked(struct kvm_vm *vm)
{
	struct kvmi_session s;

	TEST_ASSERT_EQ(__kvmi_command(vm, 1, -1), -1);
	kvmi_hook(&s, vm);
	assert_alive(&s);
	kvmi_unhook(&s);
}

FIXTURE(kvmi_fault_ioctl) {
	struct thread self;
};

FIXTURE_SETUP(kvmi_fault_ioctl)
{
	if (!enable_faults())
		SKIP(return, "The kernel cannot inject faults");
	self->self = open_thread(syscall(SYS_gettid));
}

FIXTURE_TEARDOWN(kvmi_fault_ioctl)
{
	close_thread(&self->self);
}

/* Nothing is left of a HOOK that failed, and vCPUs have what they need at last. */
KVMI_TEST(kvmi_fault_ioctl, hook)
{
	struct kvm_vcpu *vcpus[2];
	int fds[2], n, ret, err;
	bool failed = true;
	struct kvm_vm *vm;
	struct ucall uc;
	u64 page = 0;

	for (n = 1; failed; n++) {
		vm = vm_create_with_vcpus(2, guest_code, vcpus);
		vcpu_args_set(vcpus[0], 1, vm_alloc_page(vm));
		TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");

		begin_fault(&self->self, n);
		ret = __kvmi_hook(vm, fds[0]);
		err = errno;
		failed = end_fault(&self->self);
		if (ret) {
			TEST_ASSERT(failed && (err == ENOMEM || err == EAGAIN),
				    "HOOK: %s, allocation %d", strerror(err), n);
			assert_not_hooked(vm);
		} else {
			TEST_ASSERT_EQ(__kvmi_unhook(vm), 0);
			assert_not_hooked(vm);
		}
		vcpu_run(vcpus[0]);
		TEST_ASSERT_EQ(get_ucall(vcpus[0], &uc), UCALL_SYNC);
		TEST_ASSERT_EQ(uc.args[0], page);

		close(fds[0]);
		close(fds[1]);
		kvm_vm_free(vm);
	}
	TEST_ASSERT(n > 4, "%d allocations", n - 2);
}

/* A session ends, whatever happens, and so do its restrictions. */
KVMI_TEST(kvmi_fault_ioctl, unhook)
{
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	bool failed = true;
	struct kvm_vm *vm;
	struct ucall uc;
	gva_t page;
	int n;

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	page = vm_alloc_page(vm);
	vcpu_args_set(vcpu, 1, page);

	for (n = 1; failed; n++) {
		kvmi_hook(&s, vm);
		if (kvmi_has_page_access()) {
			u16 view = kvmi_new_view(&s, 0);

			TEST_ASSERT_KVMI(kvmi_set_page_access(&s, 0,
							      addr_gva2gpa(vm, page),
							      1, RX), 0);
			TEST_ASSERT_KVMI(kvmi_change_gfn(&s, view,
							 addr_gva2gpa(vm, page),
							 0), 0);
		}
		begin_fault(&self->self, n);
		TEST_ASSERT_EQ(__kvmi_unhook(vm), 0);
		failed = end_fault(&self->self);
		kvmi_close(&s);

		vcpu_run(vcpu);
		TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);
	}
	assert_not_hooked(vm);
	kvm_vm_free(vm);
}

/* The others need no memory, or do without. */
KVMI_TEST(kvmi_fault_ioctl, others)
{
	struct kvmi_session s;
	bool failed = true;
	struct kvm_vm *vm;
	struct kvmi_msg msg;
	int n, ret;

	vm = vm_create_barebones();
	kvmi_hook(&s, vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(&s, KVMI_VM_EVENT_UNHOOK, 1), 0);

	begin_fault(&self->self, 1);
	TEST_ASSERT_EQ(__kvmi_command(vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_event(vm, 1, -1), 0);
	TEST_ASSERT(!end_fault(&self->self), "An allocation");

	for (n = 1; failed; n++) {
		begin_fault(&self->self, n);
		ret = __kvmi_preunhook(vm);
		failed = end_fault(&self->self);
		TEST_ASSERT(!ret || failed, "PREUNHOOK: %s", strerror(errno));
		if (!ret) {
			kvmi_recv(&s, &msg);
			TEST_ASSERT_EQ(msg.hdr.id, KVMI_VM_EVENT);
		}
		assert_alive(&s);
	}
	kvmi_unhook(&s);
	kvm_vm_free(vm);
}

/* A vCPU is created with its introspection, or not at all. */
KVMI_TEST(kvmi_fault_ioctl, create_vcpu)
{
	struct kvmi_vm_get_info_reply info;
	struct kvmi_session s;
	bool failed = true;
	struct kvm_vm *vm;
	int n, fd, err;

	for (n = 1; failed; n++) {
		vm = vm_create_barebones();
		kvmi_hook(&s, vm);
		begin_fault(&self->self, n);
		fd = __vm_ioctl(vm, KVM_CREATE_VCPU, (void *)0);
		err = errno;
		failed = end_fault(&self->self);
		TEST_ASSERT(fd >= 0 || (failed && err == ENOMEM),
			    "KVM_CREATE_VCPU: %s, allocation %d", strerror(err), n);
		TEST_ASSERT_KVMI(kvmi_cmd(&s, KVMI_VM_GET_INFO, NULL, 0, &info,
					  sizeof(info)), 0);
		TEST_ASSERT_EQ(info.vcpu_count, fd >= 0);
		if (fd >= 0)
			close(fd);
		kvmi_unhook(&s);
		kvm_vm_free(vm);
	}
}

/* A session, the thread of which has allocations fail */
struct victim {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	struct thread receiver;
	bool twice;
	u64 gpa[2];
};

FIXTURE(kvmi_fault) {
	struct victim v;
};

FIXTURE_VARIANT(kvmi_fault) {
	bool twice;
};

FIXTURE_VARIANT_ADD(kvmi_fault, one) { .twice = false };
FIXTURE_VARIANT_ADD(kvmi_fault, two) { .twice = true };

FIXTURE_SETUP(kvmi_fault)
{
	struct victim *v = &self->v;
	gva_t page;
	int i;

	if (!enable_faults())
		SKIP(return, "The kernel cannot inject faults");

	v->twice = variant->twice;
	v->vm = vm_create_with_one_vcpu(&v->vcpu, guest_code);
	for (i = 0; i < 2; i++) {
		page = vm_alloc_page(v->vm);
		v->gpa[i] = addr_gva2gpa(v->vm, page);
		*(u64 *)addr_gva2hva(v->vm, page) = i + 1;
		if (!i)
			vcpu_args_set(v->vcpu, 1, page);
	}
	kvmi_hook(&v->s, v->vm);
	v->receiver = open_receiver();
}

FIXTURE_TEARDOWN(kvmi_fault)
{
	struct victim *v = &self->v;

	if (!v->vm)
		return;
	kvmi_unhook(&v->s);
	close_thread(&v->receiver);
	kvm_vm_free(v->vm);
}

static void hook_again(struct victim *v)
{
	kvmi_unhook(&v->s);
	close_thread(&v->receiver);
	kvmi_hook(&v->s, v->vm);
	v->receiver = open_receiver();
}

static void begin(struct victim *v, struct thread *thread, int n)
{
	if (v->twice)
		begin_two_faults(thread, n);
	else
		begin_fault(thread, n);
}

static bool end(struct victim *v, struct thread *thread)
{
	return v->twice ? end_two_faults(thread) : end_fault(thread);
}

static bool is_closed(struct kvmi_session *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	ssize_t ret;
	char c;

	do {
		ret = poll(&pfd, 1, KVMI_TIMEOUT * 1000);
	} while (ret < 0 && errno == EINTR);
	TEST_ASSERT(ret > 0, "No answer");
	ret = recv(s->fd, &c, 1, MSG_PEEK);
	return !ret || (ret < 0 && errno == ECONNRESET);
}

/*
 * The answer to a command with a failing allocation.  If it is for the answer
 * itself, the session ends.
 */
static int answer(struct kvmi_session *s, u16 id, u32 seq, void *rpl, size_t size)
{
	int err;

	if (is_closed(s))
		return CLOSED;
	err = kvmi_recv_reply(s, id, seq, rpl, size);
	TEST_ASSERT(!err || err == -KVM_ENOMEM, "Command %u: answered %d", id, err);
	return err;
}

static int try(struct victim *v, int n, u16 id, const void *req,
	       size_t size, void *rpl, size_t rpl_size, bool *failed)
{
	u32 seq;
	int ret;

	begin(v, &v->receiver, n);
	seq = kvmi_send_cmd(&v->s, id, req, size);
	ret = answer(&v->s, id, seq, rpl, rpl_size);
	*failed = end(v, &v->receiver);
	TEST_ASSERT(!ret || *failed, "Command %u: %d without a reason", id, ret);
	return ret;
}

/* Every second page of the first NR_PAGES has this access, the others @other. */
static void fill_entries(struct kvmi_page_entries *msg, u16 view, u8 access, u8 other)
{
	int i;

	memset(msg, 0, sizeof(*msg));
	msg->hdr.view = view;
	for (i = 0; i < NR_PAGES; i++) {
		msg->entries[i].gpa = i * 4096;
		msg->entries[i].npages = 1;
		msg->entries[i].access = i % 2 ? access : other;
	}
	msg->hdr.count = NR_PAGES;
}

static void assert_entries(struct kvmi_session *s, u16 view, u8 access, u8 other)
{
	struct {
		struct kvmi_vm_get_page_access hdr;
		u64 gpa[NR_PAGES];
	} req = { .hdr.view = view, .hdr.count = NR_PAGES };
	u8 is[NR_PAGES];
	int i;

	for (i = 0; i < NR_PAGES; i++)
		req.gpa[i] = i * 4096;
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, &req, sizeof(req),
				  is, sizeof(is)), 0);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(is[i] == (i % 2 ? access : other),
			    "Access of page %d: %x", i, is[i]);
}

static void set_entries(struct kvmi_session *s, u8 access, u8 other)
{
	struct kvmi_page_entries msg;

	fill_entries(&msg, 0, access, other);
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
	assert_entries(s, 0, access, other);
}

static u64 guest_reads(struct victim *v)
{
	struct ucall uc;

	kvmi_run_to_sync(&v->s, v->vcpu, &uc);
	return uc.args[0];
}

/* From a few ranges to many, and back: all or nothing. */
KVMI_TEST(kvmi_fault, set_page_access)
{
	struct victim *v = &self->v;
	static const u8 access[][4] = {
		/* before, and after */
		{ RWX, RWX, RX, RW },
		{ RX, RW, RWX, RWX },
		{ RX, RWX, RWX, RX },
	};
	struct kvmi_session *s = &v->s;
	struct kvmi_page_entries msg;
	int i, n, ret, refused = 0;
	bool failed;

	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");

	for (i = 0; i < ARRAY_SIZE(access); i++) {
		set_entries(s, access[i][0], access[i][1]);
		failed = true;
		for (n = 1; failed; n++) {
			fill_entries(&msg, 0, access[i][2], access[i][3]);
			ret = try(v, n, KVMI_VM_SET_PAGE_ACCESS, &msg,
				  offsetof(struct kvmi_page_entries,
					   entries[msg.hdr.count]),
				  NULL, 0, &failed);
			if (ret == CLOSED) {
				hook_again(v);
			} else if (ret) {
				refused++;
				assert_entries(s, 0, access[i][0], access[i][1]);
			} else {
				assert_entries(s, 0, access[i][2], access[i][3]);
			}
			set_entries(s, access[i][0], access[i][1]);
		}
	}
	TEST_ASSERT(refused || !v->twice, "No allocation");

	/* There is as much room as ever. */
	set_entries(s, RWX, RWX);
	TEST_ASSERT_EQ(guest_reads(v), 1);
}

KVMI_TEST(kvmi_fault, views)
{
	struct victim *v = &self->v;
	struct kvmi_vm_create_view create = { };
	struct kvmi_vm_create_view_reply rpl;
	struct kvmi_vm_destroy_view destroy = { };
	struct kvmi_session *s = &v->s;
	int n, ret, refused = 0;
	bool failed = true;
	u16 view;

	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");

	for (n = 1; failed; n++) {
		set_entries(s, RX, RW);
		TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, v->gpa[0], v->gpa[1]), 0);
		ret = try(v, n, KVMI_VM_CREATE_VIEW, &create, sizeof(create),
			  &rpl, sizeof(rpl), &failed);
		if (ret == CLOSED) {
			hook_again(v);
			continue;
		}
		if (ret) {
			refused++;
			assert_entries(s, 0, RX, RW);
		}
		/* The number is free, and the view is whole. */
		view = ret ? kvmi_new_view(s, 0) : rpl.view;
		TEST_ASSERT_EQ(view, 1);
		assert_entries(s, view, RX, RW);
		TEST_ASSERT_KVMI(kvmi_destroy_view(s, view), 0);
	}
	TEST_ASSERT(refused, "No allocation");

	failed = true;
	for (n = 1; failed; n++) {
		destroy.view = kvmi_new_view(s, 0);
		ret = try(v, n, KVMI_VM_DESTROY_VIEW, &destroy, sizeof(destroy),
			  NULL, 0, &failed);
		if (ret == CLOSED)
			hook_again(v);
		else
			TEST_ASSERT_EQ(ret, 0);
	}
}

KVMI_TEST(kvmi_fault, change_gfn)
{
	struct victim *v = &self->v;
	struct kvmi_vm_change_gfn req = { };
	struct kvmi_session *s = &v->s;
	int i, n, page, ret, refused = 0;
	bool failed;

	if (!kvmi_has_page_access())
		SKIP(return, "Access to pages cannot be taken away");
	TEST_ASSERT_EQ(guest_reads(v), 1);

	req.gfn = v->gpa[0] / 4096;
	for (i = 0; i < 2; i++) {
		failed = true;
		for (n = 1; failed; n++) {
			/* Others, for the tree to have several levels */
			for (page = 0; page < NR_PAGES; page += 2)
				TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, page * 4096, 0), 0);
			/* The second round takes the change back. */
			if (i)
				TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, v->gpa[0],
								 v->gpa[1]), 0);
			req.new_gfn = v->gpa[!i] / 4096;
			ret = try(v, n, KVMI_VM_CHANGE_GFN, &req, sizeof(req),
				  NULL, 0, &failed);
			if (ret == CLOSED) {
				hook_again(v);
				TEST_ASSERT_EQ(guest_reads(v), 1);
				continue;
			}
			for (page = 0; page < NR_PAGES; page += 2)
				TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, page * 4096,
								 page * 4096), 0);
			if (ret) {
				TEST_ASSERT(!i, "No memory for taking a change back");
				refused++;
				TEST_ASSERT_EQ(guest_reads(v), 1);
			} else {
				TEST_ASSERT_EQ(guest_reads(v), i ? 1 : 2);
			}
			TEST_ASSERT_KVMI(kvmi_change_gfn(s, 0, v->gpa[0],
							 v->gpa[0]), 0);
			TEST_ASSERT_EQ(guest_reads(v), 1);
		}
	}
	TEST_ASSERT(refused || !v->twice, "No allocation");
}

/* Commands of the VM that need no memory but for their answer */
KVMI_TEST(kvmi_fault, vm_commands)
{
	struct victim *v = &self->v;
	struct kvmi_vm_read_physical read = { .gpa = v->gpa[0], .size = 8 };
	struct kvmi_vm_get_features_reply features;
	struct kvmi_vm_pause_vcpu pause = { };
	struct kvmi_vm_get_info_reply info;
	const struct {
		u16 id;
		const void *req;
		size_t size;
		void *rpl;
		size_t rpl_size;
	} cmds[] = {
		{ KVMI_VM_GET_INFO, NULL, 0, &info, sizeof(info) },
		{ KVMI_VM_GET_FEATURES, NULL, 0, &features, sizeof(features) },
		{ KVMI_VM_PAUSE_VCPU, &pause, sizeof(pause), NULL, 0 },
		{ KVMI_VM_READ_PHYSICAL, &read, sizeof(read), &(u64){ 0 }, 8 },
	};
	bool failed;
	int i, n, ret;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		failed = true;
		for (n = 1; failed; n++) {
			ret = try(v, n, cmds[i].id, cmds[i].req, cmds[i].size,
				  cmds[i].rpl, cmds[i].rpl_size, &failed);
			if (ret == CLOSED)
				hook_again(v);
			else
				TEST_ASSERT_EQ(ret, 0);
		}
		hook_again(v);
		TEST_ASSERT_EQ(guest_reads(v), 1);
	}
}

/* KVM_RUN needs memory itself, e.g. for page tables. */
static void wait_sync(struct victim *v, struct ucall *uc)
{
	kvmi_run_wait(&v->r);
	if (v->r.ret && v->r.err == ENOMEM) {
		kvmi_run_to_sync(&v->s, v->vcpu, uc);
		return;
	}
	TEST_ASSERT(!v->r.ret, "KVM_RUN failed: %s", strerror(v->r.err));
	TEST_ASSERT_EQ(get_ucall(v->vcpu, uc), UCALL_SYNC);
}

static void get_xsave(struct kvmi_session *s, u8 *xsave, size_t size)
{
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_XSAVE, NULL, 0, xsave,
				       size), 0);
}

/*
 * Commands of a vCPU: its thread, which waits, reads and queues them, or leaves that
 * to the receiver if it can't, and runs them.
 */
KVMI_TEST(kvmi_fault, vcpu_commands)
{
	struct victim *v = &self->v;
	struct kvmi_vcpu_get_registers get = { };
	struct kvmi_vcpu_control_events event = {
		.event_id = KVMI_VCPU_EVENT_CR, .enable = 1,
	};
	static u8 xsave[KVMI_XSAVE_SIZE], rpl[KVMI_MAX_MSG_SIZE];
	const struct {
		u16 id;
		const void *req;
		size_t size;
		size_t rpl_size;
	} cmds[] = {
		{ KVMI_VCPU_CONTROL_EVENTS, &event, sizeof(event), 0 },
		{ KVMI_VCPU_GET_REGISTERS, &get, sizeof(get),
		  sizeof(struct kvmi_vcpu_get_registers_reply) },
		{ KVMI_VCPU_GET_XSAVE, NULL, 0, sizeof(xsave) },
		{ KVMI_VCPU_SET_XSAVE, xsave, sizeof(xsave), 0 },
	};
	struct kvmi_event pause;
	struct thread vcpu_thread, *thread;
	int i, n, ret, on, refused[2] = { };
	struct ucall uc;
	bool failed;
	u32 seq;

	for (i = 0; i < ARRAY_SIZE(cmds) * 2; i++) {
		u16 id = cmds[i / 2].id;

		on = i % 2;
		failed = true;
		for (n = 1; failed; n++) {
			kvmi_park(&v->r, &v->s, v->vcpu, &pause);
			if (id == KVMI_VCPU_SET_XSAVE)
				get_xsave(&v->s, xsave, sizeof(xsave));
			vcpu_thread = open_vcpu_thread();
			thread = on ? &vcpu_thread : &v->receiver;
			if (!on)
				begin(v, &vcpu_thread, 1);
			begin(v, thread, n);
			seq = kvmi_send_vcpu_cmd(&v->s, 0, id, cmds[i / 2].req,
						 cmds[i / 2].size);
			ret = answer(&v->s, id, seq, rpl, cmds[i / 2].rpl_size);
			failed = end(v, thread);
			if (!on)
				end(v, &vcpu_thread);
			close_thread(&vcpu_thread);
			TEST_ASSERT(!ret || failed, "Command %u: %d", id, ret);
			if (ret == CLOSED) {
				/* The vCPU goes on without the tool. */
				wait_sync(v, &uc);
				hook_again(v);
				continue;
			}
			if (ret) {
				refused[on]++;
				ret = kvmi_vcpu_cmd(&v->s, 0, id, cmds[i / 2].req,
						    cmds[i / 2].size, rpl,
						    cmds[i / 2].rpl_size);
				TEST_ASSERT_EQ(ret, 0);
			}
			kvmi_unpark(&v->s, &pause);
			wait_sync(v, &uc);
			TEST_ASSERT_EQ(uc.args[0], 1);
		}
	}
	TEST_ASSERT(refused[0] && refused[1], "No allocation: %d %d", refused[0],
		    refused[1]);
}

/* An event that cannot be sent ends the session, and the guest goes on. */
KVMI_TEST(kvmi_fault, event)
{
	struct victim *v = &self->v;
	struct kvmi_event pause;
	struct thread thread;
	struct ucall uc;
	bool failed = true;
	int n;

	for (n = 1; failed; n++) {
		kvmi_park(&v->r, &v->s, v->vcpu, &pause);
		TEST_ASSERT_KVMI(kvmi_pause(&v->s, 0, 0), 0);
		thread = open_vcpu_thread();
		begin(v, &thread, n);
		kvmi_unpark(&v->s, &pause);
		if (is_closed(&v->s)) {
			failed = end(v, &thread);
			TEST_ASSERT(failed, "The session ended");
			wait_sync(v, &uc);
			hook_again(v);
		} else {
			kvmi_wait_event(&v->s, KVMI_VCPU_EVENT_PAUSE, &pause);
			failed = end(v, &thread);
			kvmi_unpark(&v->s, &pause);
			wait_sync(v, &uc);
		}
		close_thread(&thread);
		TEST_ASSERT_EQ(uc.args[0], 1);
	}
}

TEST_HARNESS_MAIN
