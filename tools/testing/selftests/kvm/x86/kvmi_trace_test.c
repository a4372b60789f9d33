// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: tracepoints
 *
 * What a session says on its socket is compared with what the tracepoints say
 * about it.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kvmi_test_harness.h"
#include "kvmi_view.h"

#define TRACEFS		"/sys/kernel/tracing"
#define EVENTS		TRACEFS "/events/kvmi"

static void guest_code(void)
{
	for (;;) {
		set_cr4(get_cr4() ^ X86_CR4_PGE);
		GUEST_SYNC(0);
	}
}

FIXTURE(kvmi_trace) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
	/* An instance of the trace buffer for this test alone */
	char dir[64];
	char *log;
};

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[128];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_TRUNC);
	TEST_ASSERT(fd >= 0, "open(%s) failed", path);
	ret = write(fd, text, strlen(text));
	TEST_ASSERT(ret == strlen(text), "write(%s) returned %zd", path, ret);
	close(fd);
}

FIXTURE_SETUP(kvmi_trace)
{
	if (access(TRACEFS "/trace", F_OK))
		mount("nodev", TRACEFS, "tracefs", 0, NULL);
	__TEST_REQUIRE(!access(TRACEFS "/trace", F_OK),
		       "The kernel has no tracefs");
	__TEST_REQUIRE(!access(EVENTS, F_OK), "The kernel has no trace events");

	snprintf(self->dir, sizeof(self->dir), TRACEFS "/instances/kvmi_trace_%d",
		 getpid());
	TEST_ASSERT(!mkdir(self->dir, 0700), "mkdir(%s)", self->dir);
	write_file(self->dir, "events/kvmi/enable", "1");
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
}

FIXTURE_TEARDOWN(kvmi_trace)
{
	kvm_vm_free(self->vm);
	free(self->log);
	write_file(self->dir, "events/kvmi/enable", "0");
	rmdir(self->dir);
}

/* All that has been traced so far */
static const char *read_log(struct _test_data_kvmi_trace *self)
{
	size_t size = 0, max = 1 << 20;
	char path[128];
	ssize_t ret;
	int fd;

	if (!self->log)
		self->log = malloc(max);
	snprintf(path, sizeof(path), "%s/trace", self->dir);
	fd = open(path, O_RDONLY);
	TEST_ASSERT(fd >= 0, "open(%s) failed", path);
	while ((ret = read(fd, self->log + size, max - size - 1)) > 0)
		size += ret;
	TEST_ASSERT(!ret, "read(%s) failed", path);
	close(fd);
	self->log[size] = 0;
	return self->log;
}

/* How many lines have this text? */
static int count_traced(struct _test_data_kvmi_trace *self, const char *text)
{
	const char *p;
	int n = 0;

	for (p = read_log(self); (p = strstr(p, text)); p++)
		n++;
	return n;
}

/*
 * This many lines must have this text, which is about the test's own VM.  What is
 * sent is traced after it: wait for it.
 */
static void assert_traced(struct _test_data_kvmi_trace *self, int times,
			  const char *event, const char *fmt, ...)
{
	char text[256], what[160];
	int n, tries = 1000;
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	snprintf(text, sizeof(text), " %s: vm %d %s\n", event, getpid(), what);
	while ((n = count_traced(self, text)) < times && --tries)
		usleep(10000);
	TEST_ASSERT(n == times, "%s traced %d times, not %d:\n%s", event, n, times,
		    self->log);
}

KVMI_TEST(kvmi_trace, session)
{
	kvmi_hook(&self->s, self->vm);
	assert_traced(self, 1, "kvmi_hook", "vcpus 1");
	assert_traced(self, 0, "kvmi_unhook", "vcpus 1");
	kvmi_unhook(&self->s);
	assert_traced(self, 1, "kvmi_unhook", "vcpus 1");
	assert_traced(self, 0, "kvmi_defunct", "vcpus 1");
}

KVMI_TEST(kvmi_trace, session_that_is_broken)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION, .size = 0xffff };

	kvmi_hook(&self->s, self->vm);
	kvmi_send(&self->s, &hdr, sizeof(hdr));
	kvmi_expect_closed(&self->s);
	assert_traced(self, 1, "kvmi_defunct", "vcpus 1");
	kvmi_close(&self->s);
	assert_traced(self, 0, "kvmi_attach", "vcpus 1");
	kvmi_attach(&self->s, self->vm);
	assert_traced(self, 1, "kvmi_attach", "vcpus 1");
	kvmi_unhook(&self->s);
	assert_traced(self, 1, "kvmi_defunct", "vcpus 1");
	assert_traced(self, 1, "kvmi_unhook", "vcpus 1");
}

KVMI_TEST(kvmi_trace, vm_command)
{
	struct kvmi_vm_check_command req = { .id = 0xffff };
	struct kvmi_get_version_reply rpl;
	struct kvmi_session *s = &self->s;
	u32 seq;

	kvmi_hook(s, self->vm);
	seq = kvmi_send_cmd(s, KVMI_GET_VERSION, NULL, 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, seq, &rpl,
					 sizeof(rpl)), 0);
	assert_traced(self, 1, "kvmi_command_received",
		      "vcpu -1 GET_VERSION (2) seq %u size 0", seq);
	assert_traced(self, 1, "kvmi_command_run",
		      "vcpu -1 GET_VERSION (2) seq %u size 0", seq);
	assert_traced(self, 1, "kvmi_reply",
		      "vcpu -1 GET_VERSION (2) seq %u size 24 err 0 OK", seq);

	/* One that fails */
	seq = kvmi_send_cmd(s, KVMI_VM_CHECK_COMMAND, &req, sizeof(req));
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VM_CHECK_COMMAND, seq, NULL, 0),
			 -KVM_ENOENT);
	assert_traced(self, 1, "kvmi_command_run",
		      "vcpu -1 VM_CHECK_COMMAND (4) seq %u size 8", seq);
	assert_traced(self, 1, "kvmi_reply",
		      "vcpu -1 VM_CHECK_COMMAND (4) seq %u size 8 err -2 ENOENT",
		      seq);
	kvmi_unhook(s);
}

/* What is refused is received, but does not run. */
KVMI_TEST(kvmi_trace, refused_command)
{
	struct kvmi_session *s = &self->s;
	u32 seq;

	kvmi_hook(s, self->vm);
	seq = kvmi_send_cmd(s, 0x7ffe, NULL, 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, 0x7ffe, seq, NULL, 0), -KVM_ENOSYS);
	assert_traced(self, 1, "kvmi_command_received",
		      "vcpu -1 0x7ffe (32766) seq %u size 0", seq);
	assert_traced(self, 0, "kvmi_command_run",
		      "vcpu -1 0x7ffe (32766) seq %u size 0", seq);
	assert_traced(self, 1, "kvmi_reply",
		      "vcpu -1 0x7ffe (32766) seq %u size 8 err -1000 ENOSYS", seq);

	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, KVMI_VCPU_GET_XCR), 0);
	seq = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_XCR, NULL, 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_GET_XCR, seq, NULL, 0),
			 -KVM_EPERM);
	assert_traced(self, 1, "kvmi_reply",
		      "vcpu 0 VCPU_GET_XCR (17) seq %u size 8 err -1 EPERM", seq);
	kvmi_unhook(s);
}

KVMI_TEST(kvmi_trace, vcpu_command_and_event)
{
	struct kvmi_vcpu_control_cr req = { .cr = 4, .enable = 1 };
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	u32 seq;

	kvmi_hook(s, self->vm);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	assert_traced(self, 1, "kvmi_event", "vcpu 0 PAUSE (1) seq %u rip 0x%llx",
		      ev.hdr.seq, ev.common.arch.regs.rip);

	seq = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_CR, &req, sizeof(req));
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_CONTROL_CR, seq, NULL, 0),
			 0);
	assert_traced(self, 1, "kvmi_command_received",
		      "vcpu 0 VCPU_CONTROL_CR (13) seq %u size 16", seq);
	assert_traced(self, 1, "kvmi_command_run",
		      "vcpu 0 VCPU_CONTROL_CR (13) seq %u size 16", seq);
	assert_traced(self, 1, "kvmi_reply",
		      "vcpu 0 VCPU_CONTROL_CR (13) seq %u size 8 err 0 OK", seq);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	assert_traced(self, 0, "kvmi_answer", "vcpu 0 PAUSE (1) seq %u action 0 ALLOW",
		      ev.hdr.seq);
	kvmi_unpark(s, &ev);

	seq = ev.hdr.seq;
	kvmi_wait_event(s, KVMI_VCPU_EVENT_CR, &ev);
	assert_traced(self, 1, "kvmi_answer", "vcpu 0 PAUSE (1) seq %u action 0 ALLOW",
		      seq);
	assert_traced(self, 1, "kvmi_event", "vcpu 0 CR (7) seq %u rip 0x%llx",
		      ev.hdr.seq, ev.common.arch.regs.rip);
	kvmi_reply(s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	assert_traced(self, 1, "kvmi_answer", "vcpu 0 CR (7) seq %u action 3 SKIP",
		      ev.hdr.seq);
	kvmi_unhook(s);
}

/* A vCPU's thread tries it, and leaves it to the receiver. */
KVMI_TEST(kvmi_trace, command_in_event_that_fails)
{
	struct kvmi_vm_read_physical req = { .gpa = 1ull << 40, .size = 8 };
	struct kvmi_session *s = &self->s;
	struct kvmi_event pause;
	struct ucall uc;
	u32 seq;

	kvmi_hook(s, self->vm);
	kvmi_park(&self->r, s, self->vcpu, &pause);
	seq = kvmi_send_cmd(s, KVMI_VM_READ_PHYSICAL, &req, sizeof(req));
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VM_READ_PHYSICAL, seq, NULL, 0),
			 -KVM_ENOENT);
	assert_traced(self, 1, "kvmi_command_received",
		      "vcpu -1 VM_READ_PHYSICAL (%u) seq %u size %zu",
		      KVMI_VM_READ_PHYSICAL, seq, sizeof(req));
	assert_traced(self, 1, "kvmi_command_run",
		      "vcpu -1 VM_READ_PHYSICAL (%u) seq %u size %zu",
		      KVMI_VM_READ_PHYSICAL, seq, sizeof(req));
	kvmi_unpark(s, &pause);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_unhook(s);
}

KVMI_TEST(kvmi_trace, vm_event)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_msg msg;

	kvmi_hook(s, self->vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	TEST_ASSERT_EQ(__kvmi_preunhook(self->vm), 0);
	kvmi_recv(s, &msg);
	TEST_ASSERT_EQ(msg.hdr.id, KVMI_VM_EVENT);
	assert_traced(self, 1, "kvmi_event", "vcpu -1 UNHOOK (0) seq %u rip 0x0",
		      msg.hdr.seq);
	kvmi_unhook(s);
}

/* Every command has a name. */
KVMI_TEST(kvmi_trace, names)
{
	struct kvmi_vm_get_features_reply rpl;
	struct kvmi_session *s = &self->s;
	char number[32];
	int id;

	kvmi_hook(s, self->vm);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_FEATURES, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, -1), 0);
	for (id = 2; id < 256; id++) {
		u32 seq;

		if (!(rpl.commands[id / 64] & BIT_ULL(id % 64)) || id < 8)
			continue;
		seq = kvmi_send_cmd(s, id, NULL, 0);
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, id, seq, NULL, 0),
				 -KVM_EPERM);
		snprintf(number, sizeof(number), " 0x%x (%d) ", id, id);
		TEST_ASSERT(!strstr(read_log(self), number),
			    "Command %d has no name", id);
		snprintf(number, sizeof(number), " (%d) seq %u ", id, seq);
		TEST_ASSERT(strstr(self->log, number), "%d: not traced", id);
	}
	kvmi_unhook(s);
}

/*
 * Whoever ends the session does not wait for a command that is about all pages, many
 * times or once: restrictions end with the session.  That it is given up is seen by
 * its reply, which nobody receives.
 */
#define PAGES_GPA	0x100000000ul
#define PAGES_SLOT	10
#define NR_1G		16
#define PAGES_PER_1G	(1u << 18)

#define RO		KVMI_PAGE_ACCESS_R
#define RWX		KVMI_PAGE_ACCESS_RWX

/* A command may be over before the session is ended. */
#define MAX_TRIES	50

static void add_memory(struct kvm_vm *vm)
{
	const u64 size = (u64)NR_1G << 30;
	void *memory;

	/* None of it is used. */
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(memory != MAP_FAILED, "mmap()");
	vm_set_user_memory_region(vm, PAGES_SLOT, 0, PAGES_GPA, size, memory);
}

/* Entry i is about npages of 1G number i % NR_1G. */
static void set_entry(struct kvmi_page_entries *msg, u32 i, u32 npages, u8 access)
{
	msg->entries[i] = (struct kvmi_page_access_entry) {
		.gpa = PAGES_GPA + ((u64)(i % NR_1G) << 30),
		.npages = npages,
		.access = access,
	};
}

/* Each 1G has a page that is not like its others. */
static void split_all(struct kvmi_session *s)
{
	struct kvmi_page_entries msg = { .hdr.count = NR_1G };
	u32 i;

	for (i = 0; i < NR_1G; i++)
		set_entry(&msg, i, 1, RO);
	TEST_ASSERT_KVMI(kvmi_set_page_entries(s, &msg), 0);
}

/* Return true if the command was given up. */
static bool unhook_in_command(struct _test_data_kvmi_trace *self,
			      const struct kvmi_page_entries *msg)
{
	struct kvmi_session *s = &self->s;
	size_t size = offsetof(struct kvmi_page_entries, entries[msg->hdr.count]);
	char run[160], given_up[160], done[160], id[64];
	u32 seq;

	kvmi_hook(s, self->vm);
	split_all(s);
	seq = kvmi_send_cmd(s, KVMI_VM_SET_PAGE_ACCESS, msg, size);
	snprintf(id, sizeof(id), "vm %d vcpu -1 VM_SET_PAGE_ACCESS (%u) seq %u",
		 getpid(), KVMI_VM_SET_PAGE_ACCESS, seq);
	snprintf(run, sizeof(run), " kvmi_command_run: %s size %zu\n", id, size);
	snprintf(given_up, sizeof(given_up), " kvmi_reply: %s size 8 err %d EAGAIN\n",
		 id, -KVM_EAGAIN);
	snprintf(done, sizeof(done), " kvmi_reply: %s size 8 err 0 OK\n", id);
	while (!count_traced(self, run))
		;
	kvmi_unhook(s);
	if (count_traced(self, given_up))
		return true;

	TEST_ASSERT(count_traced(self, done), "No reply:\n%s", self->log);
	write_file(self->dir, "trace", "");
	return false;
}

static void expect_given_up(struct _test_data_kvmi_trace *self,
			    const struct kvmi_page_entries *msg)
{
	int i;

	add_memory(self->vm);
	for (i = 0; i < MAX_TRIES; i++) {
		if (unhook_in_command(self, msg))
			return;
	}
	TEST_FAIL("The command was done to its end %d times", i);
}

KVMI_TEST(kvmi_trace, unhook_in_a_long_message)
{
	static struct kvmi_page_entries msg = { .hdr.count = KVMI_MAX_ENTRIES };
	u32 i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	for (i = 0; i < KVMI_MAX_ENTRIES; i++)
		set_entry(&msg, i, PAGES_PER_1G, i / NR_1G % 2 ? RWX : RO);
	expect_given_up(self, &msg);
}

KVMI_TEST(kvmi_trace, unhook_in_a_long_entry)
{
	static struct kvmi_page_entries msg = { .hdr.count = 1 };

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	set_entry(&msg, 0, NR_1G * PAGES_PER_1G, RWX);
	expect_given_up(self, &msg);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
