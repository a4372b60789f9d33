// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the life of a session
 *
 * The ioctls with all their errors, and all the ways in which the VMM,
 * the tool or the VM may go away.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "kvmi_test_harness.h"

static u64 stop;

static void guest_code(u64 arg)
{
	for (;;)
		GUEST_SYNC1(arg);
}

/* Flip a bit of CR4 that KVM does not let the guest have on its own. */
static void guest_code_cr4(void)
{
	for (;;) {
		asm volatile("mov %0, %%cr4" : : "a"(get_cr4() ^ X86_CR4_PSE));
		GUEST_SYNC1(get_cr4());
	}
}

static void guest_code_cr4_loop(void)
{
	while (!READ_ONCE(stop))
		set_cr4(get_cr4() ^ X86_CR4_PSE);
	GUEST_SYNC(0);
}

static void guest_code_spin(void)
{
	while (!READ_ONCE(stop))
		cpu_relax();
	GUEST_SYNC(0);
}

static u64 host_cr4(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	return sregs.cr4;
}

static void assert_alive(struct kvmi_session *s)
{
	struct kvmi_get_version_reply rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
}

static bool module_parameter(void)
{
	return kvm_get_module_param_bool("kvm", "introspection");
}

FIXTURE(kvmi_off) {
	struct kvm_vm *vm;
};

FIXTURE_SETUP(kvmi_off)
{
	if (module_parameter())
		SKIP(return, "The module parameter is on");
	self->vm = vm_create_barebones();
}

FIXTURE_TEARDOWN(kvmi_off)
{
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_off, every_ioctl_is_refused)
{
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_INTROSPECTION), 0);
	TEST_ASSERT_EQ(vm_check_cap(self->vm, KVM_CAP_INTROSPECTION), 0);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), ENOTTY);
	TEST_ASSERT_ERRNO(__kvmi_unhook(self->vm), ENOTTY);
	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), ENOTTY);
	TEST_ASSERT_ERRNO(__kvmi_command(self->vm, 1, -1), ENOTTY);
	TEST_ASSERT_ERRNO(__kvmi_event(self->vm, 1, -1), ENOTTY);
	TEST_ASSERT_ERRNO(__kvmi_attach(self->vm, -1), ENOTTY);
	/* Whatever else is wrong */
	TEST_ASSERT_ERRNO(__kvmi_hook(self->vm, -1), ENOTTY);
	TEST_ASSERT_ERRNO(__kvmi_command(self->vm, 2, -2), ENOTTY);
}

/* A VM that is not hooked yet */
FIXTURE(kvmi_hook) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_hook)
{
	if (!module_parameter())
		SKIP(return, "The module parameter is off");

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 1, 42ull);
}

FIXTURE_TEARDOWN(kvmi_hook)
{
	if (self->vm)
		kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_hook, capability)
{
	/* It is the version of the interface. */
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_INTROSPECTION), 1);
	TEST_ASSERT_EQ(vm_check_cap(self->vm, KVM_CAP_INTROSPECTION), 1);
}

static void assert_unsupported(struct kvm_vm *vm)
{
	TEST_ASSERT_EQ(vm_check_cap(vm, KVM_CAP_INTROSPECTION), 0);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(vm), EOPNOTSUPP);
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_INTROSPECTION), 1);
	/* What is wrong with the socket comes first. */
	TEST_ASSERT_ERRNO(__kvmi_hook(vm, -1), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, -1), ENOTCONN);
	TEST_ASSERT_EQ(__kvmi_unhook(vm), 0);
}

/* Memory that is not what the VMM has mapped */
KVMI_TEST(kvmi_hook, private_memory)
{
	struct kvm_vm *vm;

	if (!(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM)))
		SKIP(return, "No KVM_X86_SW_PROTECTED_VM");

	vm = vm_create_barebones_type(KVM_X86_SW_PROTECTED_VM);
	assert_unsupported(vm);
	/* Now, or once it has something to hide */
	__vm_vcpu_add(vm, 0);
	assert_unsupported(vm);
	kvm_vm_free(vm);
}

static int sev_ioctl(struct kvm_vm *vm, u32 id)
{
	struct kvm_sev_cmd cmd = {
		.id = id,
		.sev_fd = open("/dev/sev", O_RDWR),
	};
	int ret = ioctl(vm->fd, KVM_MEMORY_ENCRYPT_OP, &cmd);
	int err = errno;

	close(cmd.sev_fd);
	errno = err;
	return ret;
}

static bool has_sev(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SEV_VM);
}

/* A VM of the default type may become an SEV guest, if it is not hooked. */
KVMI_TEST(kvmi_hook, sev_init)
{
	struct kvm_vm *vm;

	if (!has_sev())
		SKIP(return, "No SEV");

	vm = vm_create_barebones();
	kvmi_hook(&self->s, vm);
	TEST_ASSERT_ERRNO(sev_ioctl(vm, KVM_SEV_INIT), EBUSY);
	kvmi_unhook(&self->s);
	TEST_ASSERT_EQ(sev_ioctl(vm, KVM_SEV_INIT), 0);
	assert_unsupported(vm);

	/* The source is not hooked, the destination is. */
	kvmi_hook(&self->s, self->vm);
	TEST_ASSERT_ERRNO(__vm_enable_cap(self->vm, KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM,
					  vm->fd), EBUSY);
	TEST_ASSERT_ERRNO(__vm_enable_cap(self->vm, KVM_CAP_VM_COPY_ENC_CONTEXT_FROM,
					  vm->fd), EBUSY);
	kvmi_unhook(&self->s);
	kvm_vm_free(vm);
}

/* One of a type of its own is never introspected. */
KVMI_TEST(kvmi_hook, sev_type)
{
	struct kvm_vm *vm;

	if (!has_sev())
		SKIP(return, "No SEV");

	vm = vm_create_barebones_type(KVM_X86_SEV_VM);
	assert_unsupported(vm);
	kvm_vm_free(vm);
}

/* The next HOOK is as good as the first: a failed one leaves nothing behind. */
static void assert_not_hooked(struct kvm_vm *vm)
{
	struct kvmi_session s;

	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, -1), ENOTCONN);
	kvmi_hook(&s, vm);
	assert_alive(&s);
	kvmi_unhook(&s);
}

static void assert_bad_fd(struct kvm_vm *vm, int fd)
{
	TEST_ASSERT_ERRNO(__kvmi_hook(vm, fd), EINVAL);
	assert_not_hooked(vm);
	close(fd);
}

KVMI_TEST(kvmi_hook, bad_argument)
{
	static const struct kvm_introspection_hook bad[] = {
		{ .flags = 1 },
		{ .flags = 0x80000000 },
		{ .on_loss = KVM_INTROSPECTION_CRASH },
		{ .on_loss = 0xffffffff },
		{ .timeout = 1, .on_timeout = 3 },
		/* A limit that there is not cannot be passed. */
		{ .on_timeout = KVM_INTROSPECTION_STOP },
		{ .max_timeout = 1 },
		{ .timeout = 2, .max_timeout = 1 },
		{ .pad = 1 },
		{ .reserved = { 1 } },
		{ .reserved = { [6] = 0x8000000000000000 } },
		{ .commands = { [1] = BIT_ULL(KVMI_NUM_COMMANDS - 64) } },
		{ .commands = { [3] = 0x8000000000000000 } },
		{ .events = BIT_ULL(KVMI_NUM_EVENTS) },
	};
	struct kvm_introspection_hook hook;
	int fds[2], i;

	TEST_ASSERT_ERRNO(ioctl(self->vm->fd, KVM_INTROSPECTION_HOOK, NULL),
			  EFAULT);
	TEST_ASSERT_ERRNO(ioctl(self->vm->fd, KVM_INTROSPECTION_HOOK, -1ul),
			  EFAULT);
	assert_not_hooked(self->vm);

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		hook = bad[i];
		hook.fd = fds[0];
		hook.eventfd = -1;
		TEST_ASSERT_ERRNO(__vm_ioctl(self->vm, KVM_INTROSPECTION_HOOK, &hook),
				  EINVAL);
	}
	/* Not an eventfd, and none at all */
	hook = (struct kvm_introspection_hook) { .fd = fds[0], .eventfd = fds[1] };
	TEST_ASSERT_ERRNO(__vm_ioctl(self->vm, KVM_INTROSPECTION_HOOK, &hook), EINVAL);
	hook.eventfd = -2;
	TEST_ASSERT_ERRNO(__vm_ioctl(self->vm, KVM_INTROSPECTION_HOOK, &hook), EBADF);
	assert_not_hooked(self->vm);

	close(fds[0]);
	close(fds[1]);
}

KVMI_TEST(kvmi_hook, not_a_socket)
{
	int fds[2];

	assert_bad_fd(self->vm, -1);
	assert_bad_fd(self->vm, 0x7fffffff);
	assert_bad_fd(self->vm, open("/dev/null", O_RDWR));
	assert_bad_fd(self->vm, kvm_new_eventfd());
	assert_bad_fd(self->vm, dup(self->vm->fd));
	TEST_ASSERT(!pipe(fds), "pipe()");
	assert_bad_fd(self->vm, fds[0]);
	assert_bad_fd(self->vm, fds[1]);

	/* A socket that was one */
	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");
	close(fds[0]);
	TEST_ASSERT_ERRNO(__kvmi_hook(self->vm, fds[0]), EINVAL);
	close(fds[1]);
}

KVMI_TEST(kvmi_hook, not_a_connected_socket)
{
	struct sockaddr_un addr = {
		.sun_family = AF_UNIX,
		/* In the abstract name space */
		.sun_path = "\0kvmi_hook_test",
	};
	int fd, fds[2];

	assert_bad_fd(self->vm, socket(AF_UNIX, SOCK_STREAM, 0));
	assert_bad_fd(self->vm, socket(AF_UNIX, SOCK_SEQPACKET, 0));
	assert_bad_fd(self->vm, socket(AF_UNIX, SOCK_DGRAM, 0));

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	TEST_ASSERT(!bind(fd, (void *)&addr, sizeof(addr)), "bind()");
	TEST_ASSERT(!listen(fd, 1), "listen()");
	assert_bad_fd(self->vm, fd);

	/* Connected, but without streams */
	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), "socketpair()");
	assert_bad_fd(self->vm, fds[0]);
	close(fds[1]);

	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd >= 0)
		assert_bad_fd(self->vm, fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd >= 0)
		assert_bad_fd(self->vm, fd);
	fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (fd >= 0)
		assert_bad_fd(self->vm, fd);
}

/* Only AF_UNIX and AF_VSOCK will do: not a stream of another family. */
KVMI_TEST(kvmi_hook, connected_inet_socket)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int server, client;

	server = socket(AF_INET, SOCK_STREAM, 0);
	if (server < 0 || bind(server, (void *)&addr, sizeof(addr)) ||
	    listen(server, 1))
		SKIP(return, "No IP network");
	TEST_ASSERT(!getsockname(server, (void *)&addr, &len), "getsockname()");
	client = socket(AF_INET, SOCK_STREAM, 0);
	if (fcntl(client, F_SETFL, O_NONBLOCK) < 0 ||
	    (connect(client, (void *)&addr, sizeof(addr)) && errno != EINPROGRESS))
		SKIP(return, "No loopback network");
	assert_bad_fd(self->vm, client);
	close(server);
}

/* Returns false if the host has none. */
static bool connect_vsock(int type, int *server, int *client)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_port = VMADDR_PORT_ANY,
		.svm_cid = VMADDR_CID_LOCAL,
	};
	socklen_t len = sizeof(addr);

	*server = socket(AF_VSOCK, type, 0);
	if (*server < 0 || bind(*server, (void *)&addr, sizeof(addr)) ||
	    listen(*server, 1))
		return false;
	TEST_ASSERT(!getsockname(*server, (void *)&addr, &len), "getsockname()");
	*client = socket(AF_VSOCK, type, 0);

	return !connect(*client, (void *)&addr, sizeof(addr));
}

KVMI_TEST(kvmi_hook, vsock)
{
	int server, client;

	if (!connect_vsock(SOCK_STREAM, &server, &client))
		SKIP(return, "No local vsock");

	self->s.vm = self->vm;
	self->s.type = SOCK_STREAM;
	self->s.fd = accept(server, NULL, NULL);
	TEST_ASSERT(self->s.fd >= 0, "accept()");
	TEST_ASSERT_EQ(__kvmi_hook(self->vm, client), 0);
	close(client);
	assert_alive(&self->s);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	kvmi_expect_closed(&self->s);
	kvmi_close(&self->s);
	close(server);
}

/* A part of a record could keep KVM busy, or waiting. */
KVMI_TEST(kvmi_hook, vsock_seqpacket)
{
	int server, client;

	if (!connect_vsock(SOCK_SEQPACKET, &server, &client))
		SKIP(return, "No local vsock");
	assert_bad_fd(self->vm, client);
	close(server);
}

static ssize_t try_send_file(int to, int fd)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION };
	struct iovec iov = { .iov_base = &hdr, .iov_len = sizeof(hdr) };
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {
		.hdr = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(fd));
	return sendmsg(to, &msg, MSG_NOSIGNAL);
}

/* KVM would have to close them. */
static void send_file(struct kvmi_session *s, int fd, int err)
{
	TEST_ASSERT(try_send_file(s->fd, fd) < 0 && errno == err,
		    "A file can be sent to KVM");
}

KVMI_TEST(kvmi_hook, files)
{
	kvmi_hook_type(&self->s, self->vm, SOCK_STREAM);
	send_file(&self->s, self->vm->fd, EPERM);
	assert_alive(&self->s);
	kvmi_unhook(&self->s);

	kvmi_hook_type(&self->s, self->vm, SOCK_SEQPACKET);
	send_file(&self->s, self->vm->fd, EPERM);
	assert_alive(&self->s);
	kvmi_unhook(&self->s);
}

KVMI_TEST(kvmi_hook, files_before)
{
	int fds[2];

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");
	TEST_ASSERT(try_send_file(fds[1], self->vm->fd) > 0, "sendmsg()");
	TEST_ASSERT_ERRNO(__kvmi_hook(self->vm, fds[0]), EINVAL);
	close(fds[0]);
	close(fds[1]);
}

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/* Linux 6.12 has no such option. */
static void expect_no_rights(int fd)
{
	int yes = 1, no = 0;

	TEST_ASSERT(setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &yes, sizeof(yes)) < 0 &&
		    (errno == EPERM || errno == ENOPROTOOPT), "SO_PASSRIGHTS");
	TEST_ASSERT(!setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no)) ||
		    errno == ENOPROTOOPT, "SO_PASSRIGHTS");
}

/* Nor can the owner of the socket change that, neither in the session nor after it. */
KVMI_TEST(kvmi_hook, files_for_good)
{
	int fds[2];

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");
	TEST_ASSERT_EQ(__kvmi_hook(self->vm, fds[0]), 0);
	expect_no_rights(fds[0]);
	TEST_ASSERT(try_send_file(fds[1], self->vm->fd) < 0 && errno == EPERM,
		    "A file can be sent to KVM");
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	expect_no_rights(fds[0]);
	/* UNHOOK has shut it down. */
	TEST_ASSERT(try_send_file(fds[0], self->vm->fd) < 0 && errno == EPIPE,
		    "The socket was not shut down");
	close(fds[0]);
	close(fds[1]);
}

/* The VM's own file is sent: it must not stay for ever, nor keep its process from ending. */
static void send_vm_and_exit(int type, bool defunct)
{
	struct kvmi_msg_hdr bad = { .size = -1 };
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fds[2], i;

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	TEST_ASSERT(!socketpair(AF_UNIX, type, 0, fds), "socketpair()");
	TEST_ASSERT_EQ(__kvmi_hook(vm, fds[0]), 0);
	expect_no_rights(fds[0]);
	if (defunct)
		TEST_ASSERT(send(fds[1], &bad, sizeof(bad), MSG_NOSIGNAL) > 0, "send()");
	for (i = 0; i < 100; i++)
		TEST_ASSERT(try_send_file(fds[1], vm->fd) < 0, "A file can be sent to KVM");
	_exit(0);
}

static bool vm_is_gone(pid_t pid)
{
	char name[32];
	struct dirent *entry;
	bool gone = true;
	DIR *dir;

	snprintf(name, sizeof(name), "%d-", pid);
	dir = opendir("/sys/kernel/debug/kvm");
	TEST_ASSERT(dir, "/sys/kernel/debug/kvm");
	while ((entry = readdir(dir))) {
		if (!strncmp(entry->d_name, name, strlen(name)))
			gone = false;
	}
	closedir(dir);

	return gone;
}

KVMI_TEST(kvmi_hook, files_of_the_owner)
{
	int i, j, status;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			send_vm_and_exit(i & 1 ? SOCK_SEQPACKET : SOCK_STREAM, i & 2);
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT_EQ(status, 0);
		for (j = 0; j < KVMI_TIMEOUT * 100 && !vm_is_gone(pid); j++)
			usleep(10000);
		TEST_ASSERT(vm_is_gone(pid), "The VM is still there");
	}
}

/* The socket says first that the tool has not read all, then what it has sent. */
KVMI_TEST(kvmi_hook, seqpacket_last_words)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION };
	struct kvmi_event ev;
	int i;

	for (i = 0; i < 20; i++) {
		kvmi_hook_type(&self->s, self->vm, SOCK_SEQPACKET);
		TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, -1), 0);
		TEST_ASSERT_EQ(__kvmi_event(self->vm, 1, -1), 0);
		kvmi_park(&self->r, &self->s, self->vcpu, &ev);
		/* A reply that nobody reads */
		kvmi_send(&self->s, &hdr, sizeof(hdr));
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
		kvmi_close(&self->s);
		kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
		TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	}
}

/* Each message is a packet then, in both directions. */
KVMI_TEST(kvmi_hook, seqpacket)
{
	const struct kvmi_vcpu_hdr vcpu = { .vcpu = self->vcpu->id };
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_event ev;
	struct ucall uc;
	u32 first, i;

	kvmi_hook_type(&self->s, self->vm, SOCK_SEQPACKET);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 1, -1), 0);
	assert_alive(&self->s);
	TEST_ASSERT_KVMI(kvmi_check_command(&self->s, 0xffff), -KVM_ENOENT);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	assert_alive(&self->s);

	/* The vCPU finds all of these in its queue. */
	first = kvmi_send_cmd(&self->s, KVMI_VCPU_GET_INFO, &vcpu, sizeof(vcpu));
	for (i = 1; i < 3; i++)
		TEST_ASSERT_EQ(kvmi_send_cmd(&self->s, KVMI_VCPU_GET_INFO, &vcpu,
					     sizeof(vcpu)), first + i);
	assert_alive(&self->s);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	for (i = 0; i < 3; i++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s, KVMI_VCPU_GET_INFO, first + i,
						 &info, sizeof(info)), 0);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_unhook(&self->s);
}

KVMI_TEST(kvmi_hook, seqpacket_of_wrong_size_closes)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION, .size = 1 };

	kvmi_hook_type(&self->s, self->vm, SOCK_SEQPACKET);
	kvmi_send(&self->s, &hdr, sizeof(hdr));
	kvmi_expect_closed(&self->s);
	kvmi_unhook(&self->s);

	kvmi_hook_type(&self->s, self->vm, SOCK_SEQPACKET);
	kvmi_send(&self->s, &hdr, sizeof(hdr) - 1);
	kvmi_expect_closed(&self->s);
	kvmi_unhook(&self->s);
}

KVMI_TEST(kvmi_hook, twice)
{
	struct kvmi_session other;

	kvmi_hook(&self->s, self->vm);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EEXIST);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EEXIST);
	assert_alive(&self->s);
	TEST_ASSERT_KVMI(kvmi_check_command(&self->s, KVMI_VM_PAUSE_VCPU), 0);

	/* The tool has gone, the session has not. */
	shutdown(self->s.fd, SHUT_RDWR);
	kvmi_expect_closed(&self->s);
	kvmi_close(&self->s);
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EEXIST);

	kvmi_unhook(&self->s);
	kvmi_hook(&other, self->vm);
	assert_alive(&other);
	kvmi_unhook(&other);
}

/* Two VMs have two sessions. */
KVMI_TEST(kvmi_hook, two_vms)
{
	struct kvmi_session other;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
	kvmi_hook_type(&other, vm, SOCK_STREAM);
	TEST_ASSERT_KVMI(kvmi_check_command(&self->s, KVMI_VM_PAUSE_VCPU), 0);
	TEST_ASSERT_KVMI(kvmi_check_command(&other, KVMI_VM_PAUSE_VCPU),
			 -KVM_EPERM);
	kvmi_unhook(&self->s);
	assert_alive(&other);
	kvmi_unhook(&other);
	kvm_vm_free(vm);
}

KVMI_TEST(kvmi_hook, unhook)
{
	struct kvmi_event ev;
	struct ucall uc;

	/* Never an error */
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);

	kvmi_hook(&self->s, self->vm);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	kvmi_expect_closed(&self->s);
	kvmi_close(&self->s);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);

	/* With the vCPU having run, without it running in between. */
	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_unhook(&self->s);
	assert_not_hooked(self->vm);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
}

/* Masks of what the tool may do */
KVMI_TEST(kvmi_hook, command)
{
	static const u16 always[] = {
		KVMI_GET_VERSION, KVMI_VM_CHECK_COMMAND, KVMI_VM_CHECK_EVENT,
	};
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;
	int i;

	/* Not hooked.  That an id cannot be is told nevertheless. */
	TEST_ASSERT_ERRNO(ioctl(vm->fd, KVM_INTROSPECTION_COMMAND, NULL), EFAULT);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, -1), ENOTCONN);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 0, KVMI_VM_GET_INFO), ENOTCONN);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, KVMI_NUM_COMMANDS - 1), ENOTCONN);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, KVMI_NUM_COMMANDS), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, -2), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 2, -1), EINVAL);

	kvmi_hook_type(s, vm, SOCK_STREAM);
	TEST_ASSERT_ERRNO(ioctl(vm->fd, KVM_INTROSPECTION_COMMAND, NULL), EFAULT);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 2, -1), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 0xffffffff, KVMI_VM_GET_INFO), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, -2), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 0, INT32_MIN), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, KVMI_NUM_COMMANDS), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 0, KVMI_NUM_COMMANDS), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, INT32_MAX), EINVAL);
	/* An id in the range that is no command is no error. */
	TEST_ASSERT_EQ(__kvmi_command(vm, 1, 22), 0);
	TEST_ASSERT_EQ(__kvmi_command(vm, 0, 22), 0);
	TEST_ASSERT_EQ(__kvmi_command(vm, 1, KVMI_NUM_COMMANDS - 1), 0);
	TEST_ASSERT_KVMI(kvmi_check_command(s, 22), -KVM_ENOENT);

	/* At first, nothing but these is allowed. */
	for (i = 0; i < KVMI_NUM_COMMANDS; i++) {
		int err = kvmi_check_command(s, i);

		if (i == always[0] || i == always[1] || i == always[2])
			TEST_ASSERT_EQ(err, 0);
		else if (i != KVMI_NUM_COMMANDS - 1)
			TEST_ASSERT(err == -KVM_EPERM || err == -KVM_ENOENT,
				    "Command %d: %d", i, err);
	}

	/* Nor can these be forbidden. */
	for (i = 0; i < ARRAY_SIZE(always); i++) {
		TEST_ASSERT_ERRNO(__kvmi_command(vm, 0, always[i]), EPERM);
		TEST_ASSERT_EQ(__kvmi_command(vm, 1, always[i]), 0);
		TEST_ASSERT_KVMI(kvmi_check_command(s, always[i]), 0);
	}
	TEST_ASSERT_EQ(__kvmi_command(vm, 0, -1), 0);
	for (i = 0; i < ARRAY_SIZE(always); i++)
		TEST_ASSERT_KVMI(kvmi_check_command(s, always[i]), 0);

	/* One and not another */
	TEST_ASSERT_EQ(__kvmi_command(vm, 1, KVMI_VM_GET_INFO), 0);
	TEST_ASSERT_KVMI(kvmi_check_command(s, KVMI_VM_GET_INFO), 0);
	TEST_ASSERT_KVMI(kvmi_check_command(s, KVMI_VM_PAUSE_VCPU), -KVM_EPERM);
	TEST_ASSERT_EQ(__kvmi_command(vm, 1, -1), 0);
	TEST_ASSERT_KVMI(kvmi_check_command(s, KVMI_VM_PAUSE_VCPU), 0);

	/* Nothing of that passes on to the next session. */
	kvmi_unhook(s);
	TEST_ASSERT_ERRNO(__kvmi_command(vm, 1, -1), ENOTCONN);
	kvmi_hook_type(s, vm, SOCK_STREAM);
	TEST_ASSERT_KVMI(kvmi_check_command(s, KVMI_VM_GET_INFO), -KVM_EPERM);
	kvmi_unhook(s);
}

KVMI_TEST(kvmi_hook, event)
{
	static const u16 events[] = {
		KVMI_VM_EVENT_UNHOOK, KVMI_VCPU_EVENT_PAUSE, KVMI_VCPU_EVENT_CR,
		KVMI_VCPU_EVENT_MSR,
	};
	struct kvmi_session *s = &self->s;
	struct kvm_vm *vm = self->vm;
	int i;

	TEST_ASSERT_ERRNO(ioctl(vm->fd, KVM_INTROSPECTION_EVENT, NULL), EFAULT);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, -1), ENOTCONN);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 0, KVMI_VCPU_EVENT_CR), ENOTCONN);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, KVMI_NUM_EVENTS - 1), ENOTCONN);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, KVMI_NUM_EVENTS), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, -2), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 2, -1), EINVAL);

	kvmi_hook_type(s, vm, SOCK_STREAM);
	TEST_ASSERT_ERRNO(ioctl(vm->fd, KVM_INTROSPECTION_EVENT, NULL), EFAULT);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 2, -1), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 0xffffffff, KVMI_VCPU_EVENT_CR), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, -2), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 0, INT32_MIN), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, KVMI_NUM_EVENTS), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 0, KVMI_NUM_EVENTS), EINVAL);
	TEST_ASSERT_ERRNO(__kvmi_event(vm, 1, INT32_MAX), EINVAL);
	TEST_ASSERT_EQ(__kvmi_event(vm, 1, 2), 0);
	TEST_ASSERT_EQ(__kvmi_event(vm, 0, 2), 0);
	TEST_ASSERT_EQ(__kvmi_event(vm, 1, KVMI_NUM_EVENTS - 1), 0);
	TEST_ASSERT_KVMI(kvmi_check_event(s, 2), -KVM_ENOENT);

	for (i = 0; i < ARRAY_SIZE(events); i++)
		TEST_ASSERT_KVMI(kvmi_check_event(s, events[i]), -KVM_EPERM);
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		TEST_ASSERT_EQ(__kvmi_event(vm, 1, events[i]), 0);
		TEST_ASSERT_KVMI(kvmi_check_event(s, events[i]), 0);
		TEST_ASSERT_EQ(__kvmi_event(vm, 0, events[i]), 0);
		TEST_ASSERT_KVMI(kvmi_check_event(s, events[i]), -KVM_EPERM);
	}
	TEST_ASSERT_EQ(__kvmi_event(vm, 1, -1), 0);
	for (i = 0; i < ARRAY_SIZE(events); i++)
		TEST_ASSERT_KVMI(kvmi_check_event(s, events[i]), 0);
	TEST_ASSERT_EQ(__kvmi_event(vm, 0, -1), 0);
	for (i = 0; i < ARRAY_SIZE(events); i++)
		TEST_ASSERT_KVMI(kvmi_check_event(s, events[i]), -KVM_EPERM);
	kvmi_unhook(s);
}

KVMI_TEST(kvmi_hook, preunhook)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_event_hdr ev;
	} *ev;
	struct kvmi_session *s = &self->s;
	struct kvmi_msg msg;
	int i;

	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), ENOTCONN);
	kvmi_hook(s, self->vm);
	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), ENOENT);

	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	for (i = 1; i <= 2; i++) {
		TEST_ASSERT_EQ(__kvmi_preunhook(self->vm), 0);
		kvmi_recv(s, &msg);
		ev = (void *)&msg;
		TEST_ASSERT_EQ(ev->hdr.id, KVMI_VM_EVENT);
		TEST_ASSERT_EQ(ev->hdr.size, sizeof(ev->ev));
		TEST_ASSERT_EQ(ev->hdr.seq, i);
		TEST_ASSERT_EQ(ev->ev.event, KVMI_VM_EVENT_UNHOOK);
		TEST_ASSERT_EQ(ev->ev.padding[0], 0);
		TEST_ASSERT_EQ(ev->ev.padding[1], 0);
		TEST_ASSERT_EQ(ev->ev.flags, 0);
	}
	/* The session goes on, until somebody ends it. */
	assert_alive(s);

	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 0), 0);
	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), ENOENT);

	/* Nobody is there to receive it. */
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	kvmi_close(s);
	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), EPIPE);
	kvmi_unhook(s);
	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), ENOTCONN);
}

KVMI_TEST(kvmi_hook, vcpu_created_later)
{
	struct kvmi_vm_get_info_reply info;
	struct kvmi_event ev;
	struct kvm_vcpu *vcpu;
	struct ucall uc;
	u64 cr4;

	kvmi_hook(&self->s, self->vm);
	vcpu = vm_vcpu_add(self->vm, 1, guest_code_cr4);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_GET_INFO, NULL, 0, &info,
				  sizeof(info)), 0);
	TEST_ASSERT_EQ(info.vcpu_count, 2);

	cr4 = host_cr4(vcpu);
	kvmi_park(&self->r, &self->s, vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 1, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 1, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	TEST_ASSERT_EQ(ev.common.vcpu, 1);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4);
	kvmi_unhook(&self->s);
}

/* A VM may be hooked before it has any vCPU. */
KVMI_TEST(kvmi_hook, first_vcpu_created_later)
{
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_event ev;
	struct ucall uc;

	vm = vm_create(1);
	kvmi_hook(&self->s, vm);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), -KVM_EINVAL);
	vcpu = vm_vcpu_add(vm, 0, guest_code);
	kvmi_park(&self->r, &self->s, vcpu, &ev);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_unhook(&self->s);
	kvm_vm_free(vm);
}

static void ignore_signal(int nr)
{
}

static void *run_uninitialized(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	do {
		TEST_ASSERT(__vcpu_run(vcpu) == -1, "KVM_RUN");
	} while (errno == EAGAIN);
	TEST_ASSERT(errno == EINTR, "KVM_RUN");

	return NULL;
}

/*
 * A crash is not for a vCPU that waits for INIT: what it executes one day has nothing
 * to do with it.
 */
KVMI_TEST(kvmi_hook, shutdown_of_a_vcpu_that_is_not_ready)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_UNINITIALIZED };
	struct kvm_vcpu *vcpu = vm_vcpu_add(self->vm, 1, guest_code);
	struct sigaction sa = { .sa_handler = ignore_signal };
	pthread_t thread;
	struct ucall uc;
	int i;

	TEST_ASSERT(!sigaction(SIGUSR1, &sa, NULL), "sigaction()");
	for (i = 0; i < 2; i++) {
		state.mp_state = KVM_MP_STATE_UNINITIALIZED;
		vcpu_mp_state_set(vcpu, &state);
		kvmi_hook(&self->s, self->vm);
		TEST_ASSERT(!pthread_create(&thread, NULL, run_uninitialized, vcpu),
			    "pthread_create()");
		usleep(10000);
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_SHUTDOWN, NULL, 0, NULL, 0), 0);
		/* It may have been woken by that, or not yet. */
		usleep(i * 10000);
		kvmi_unhook(&self->s);
		pthread_kill(thread, SIGUSR1);
		pthread_join(thread, NULL);

		/* Also when nobody looks at what introspection has asked for */
		if (!i)
			sleep(2);
		else
			kvmi_hook(&self->s, self->vm);
		state.mp_state = KVM_MP_STATE_RUNNABLE;
		vcpu_mp_state_set(vcpu, &state);
		kvmi_run_start(&self->r, i ? &self->s : NULL, vcpu);
		kvmi_run_wait_sync(&self->r, &uc);
		if (i)
			kvmi_unhook(&self->s);
	}
}

/* Hooking does not wait for a guest that does not leave by itself. */
KVMI_TEST(kvmi_hook, vcpu_is_running)
{
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_spin);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	for (i = 0; i < 5; i++) {
		kvmi_hook(&self->s, self->vm);
		assert_alive(&self->s);
		TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, 3, 1), 0);
		kvmi_unhook(&self->s);
	}
	write_guest_global(self->vm, stop, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_hook, vm_destroyed_while_hooked)
{
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, 3, 1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);

	kvm_vm_free(self->vm);
	self->vm = NULL;
	kvmi_expect_closed(&self->s);
	kvmi_close(&self->s);
}

KVMI_TEST(kvmi_hook, vm_destroyed_after_the_tool)
{
	kvmi_hook(&self->s, self->vm);
	kvmi_close(&self->s);
	kvm_vm_free(self->vm);
	self->vm = NULL;
}

/* An event that is open when KVM_RUN has returned goes with the VM. */
KVMI_TEST(kvmi_hook, vm_destroyed_with_an_open_event)
{
	struct kvmi_event ev;

	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	kvmi_send_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	kvm_vm_free(self->vm);
	self->vm = NULL;
	kvmi_expect_closed(&self->s);
	kvmi_close(&self->s);
}

KVMI_TEST(kvmi_hook, tool_closes)
{
	struct ucall uc;

	kvmi_hook(&self->s, self->vm);
	kvmi_close(&self->s);
	/* The masks are the session's, and that is still there. */
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, -1), 0);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	kvmi_unhook(&self->s);
	assert_not_hooked(self->vm);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
}

KVMI_TEST(kvmi_hook, tool_closes_while_a_vcpu_waits)
{
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_close(&self->s);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 42);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	kvmi_unhook(&self->s);
}

/* A tool that leaves without a reply leaves commands unanswered, too. */
KVMI_TEST(kvmi_hook, tool_closes_with_commands_queued)
{
	struct ucall uc;
	int i;

	kvmi_hook(&self->s, self->vm);
	for (i = 0; i < 10; i++)
		kvmi_send_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	kvmi_close(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	kvmi_unhook(&self->s);
}

KVMI_TEST(kvmi_hook, unhook_while_a_vcpu_waits)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	for (i = 0; i < 3; i++) {
		kvmi_hook(&self->s, self->vm);
		kvmi_park(&self->r, &self->s, self->vcpu, &ev);
		kvmi_unhook(&self->s);
		kvmi_run_wait_sync(&self->r, &uc);
		TEST_ASSERT_EQ(uc.args[0], 42);
	}
}

/*
 * A signal brings the vCPU's thread back from KVM_RUN, the event stays open.
 * Whether the answer comes before the next KVM_RUN or after makes no odds.
 */
KVMI_TEST(kvmi_hook, signal_in_pause_event)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	kvmi_hook(&self->s, self->vm);
	for (i = 0; i < 3; i++) {
		kvmi_park(&self->r, &self->s, self->vcpu, &ev);
		kvmi_run_signal(&self->r);
		kvmi_run_wait_eintr(&self->r);
		/* More than once; who answers commands is in KVM_RUN */
		if (i == 2) {
			kvmi_run_start(&self->r, &self->s, self->vcpu);
			TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
			kvmi_run_signal(&self->r);
			kvmi_run_wait_eintr(&self->r);
		}

		if (i == 0)
			kvmi_unpark(&self->s, &ev);
		kvmi_run_start(&self->r, &self->s, self->vcpu);
		if (i != 0)
			kvmi_unpark(&self->s, &ev);
		kvmi_run_wait_sync(&self->r, &uc);
		TEST_ASSERT_EQ(uc.args[0], 42);
	}
	kvmi_unhook(&self->s);
}

/* Have the guest in an event for its write to CR4. */
static u64 start_cr4(struct _test_data_kvmi_hook *self, struct kvmi_event *ev)
{
	u64 cr4 = host_cr4(self->vcpu);
	struct kvmi_event pause;

	kvmi_hook(&self->s, self->vm);
	vcpu_arch_set_entry_point(self->vcpu, guest_code_cr4);
	kvmi_park(&self->r, &self->s, self->vcpu, &pause);
	TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&self->s, &pause);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, ev);
	TEST_ASSERT_EQ(ev->cr.old_value, cr4);
	TEST_ASSERT_EQ(ev->cr.new_value, cr4 ^ X86_CR4_PSE);
	return cr4;
}

/* The answer is for the write, which the guest does again: it is not lost. */
KVMI_TEST(kvmi_hook, signal_in_cr_event)
{
	struct kvmi_event ev;
	struct ucall uc;
	u64 cr4;

	cr4 = start_cr4(self, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	TEST_ASSERT_EQ(host_cr4(self->vcpu), cr4);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4);

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_reply_val(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW, cr4 ^ X86_CR4_MCE);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4 ^ X86_CR4_MCE);
	kvmi_unhook(&self->s);
}

/* If the guest does something else then, the tool is asked about that. */
KVMI_TEST(kvmi_hook, signal_then_another_event)
{
	struct kvm_regs regs;
	struct kvmi_event ev, next;
	struct ucall uc;
	u64 cr4;

	cr4 = start_cr4(self, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	vcpu_regs_get(self->vcpu, &regs);
	TEST_ASSERT_EQ(regs.rip, ev.common.arch.regs.rip);
	TEST_ASSERT_EQ(regs.rax, cr4 ^ X86_CR4_PSE);
	regs.rax = cr4 ^ X86_CR4_MCE;
	vcpu_regs_set(self->vcpu, &regs);

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &next);
	TEST_ASSERT(next.hdr.seq != ev.hdr.seq, "The number was used before");
	TEST_ASSERT_EQ(next.cr.old_value, cr4);
	TEST_ASSERT_EQ(next.cr.new_value, cr4 ^ X86_CR4_MCE);
	kvmi_reply(&self->s, &next, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4 ^ X86_CR4_MCE);
	kvmi_unhook(&self->s);
}

/* Or if it does nothing of the kind: then the answer is void. */
KVMI_TEST(kvmi_hook, signal_then_no_event)
{
	struct kvmi_event ev;
	struct kvm_regs regs;
	struct ucall uc;
	u64 cr4;

	cr4 = start_cr4(self, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	/* Past the write, as if the VMM had emulated it. */
	vcpu_regs_get(self->vcpu, &regs);
	regs.rip += 3;
	vcpu_regs_set(self->vcpu, &regs);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4);
	kvmi_unhook(&self->s);
}

KVMI_TEST(kvmi_hook, signal_then_crash)
{
	struct kvmi_event ev;
	u64 cr4;

	cr4 = start_cr4(self, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_run_wait_exit(&self->r, KVM_EXIT_INTROSPECTION);
	TEST_ASSERT_EQ(host_cr4(self->vcpu), cr4);
	kvmi_unhook(&self->s);
}

/* Without an answer, the guest gets what it wants. */
KVMI_TEST(kvmi_hook, signal_then_tool_closes)
{
	struct kvmi_event ev;
	struct ucall uc;
	u64 cr4;

	cr4 = start_cr4(self, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	kvmi_close(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], cr4 ^ X86_CR4_PSE);
	kvmi_unhook(&self->s);
}

KVMI_TEST(kvmi_hook, signal_then_unhook)
{
	struct kvmi_event ev;
	struct ucall uc;
	u64 cr4;
	int i;

	/* With and without an answer, which nobody is left to use. */
	for (i = 0; i < 2; i++) {
		cr4 = start_cr4(self, &ev);
		kvmi_run_signal(&self->r);
		kvmi_run_wait_eintr(&self->r);
		if (i) {
			kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
			assert_alive(&self->s);
		}
		kvmi_unhook(&self->s);
		kvmi_run_to_sync(NULL, self->vcpu, &uc);
		TEST_ASSERT_EQ(uc.args[0], cr4 ^ X86_CR4_PSE);
	}
}

/* Commands to a vCPU whose thread was called away wait for its return. */
KVMI_TEST(kvmi_hook, commands_after_signal)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_event ev;
	struct kvm_regs regs;
	struct ucall uc;
	u32 seq;

	kvmi_hook(&self->s, self->vm);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	seq = kvmi_send_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	assert_alive(&self->s);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s, KVMI_VCPU_GET_INFO, seq,
					 &info, sizeof(info)), 0);

	/* The event is open as before. */
	regs = ev.common.arch.regs;
	regs.rdi = 43;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], 43);
	kvmi_unhook(&self->s);
}

/* KVM_RUN with immediate_exit does not wait for a tool, either. */
KVMI_TEST(kvmi_hook, immediate_exit)
{
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_hook(&self->s, self->vm);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	self->vcpu->run->immediate_exit = 1;
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_run_wait_eintr(&self->r);
	self->vcpu->run->immediate_exit = 0;

	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	self->vcpu->run->immediate_exit = 1;
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	kvmi_run_wait_eintr(&self->r);
	self->vcpu->run->immediate_exit = 0;
	kvmi_unpark(&self->s, &ev);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
	TEST_ASSERT_EQ(uc.args[0], 42);
	kvmi_unhook(&self->s);
}

/* Ask until nothing more goes either way, as the tool does not read. */
static int fill_socket(struct kvmi_session *s)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION };
	struct timeval tv = { .tv_sec = 2 };
	int nr;

	TEST_ASSERT(!setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)),
		    "setsockopt()");
	for (nr = 0; send(s->fd, &hdr, sizeof(hdr), MSG_NOSIGNAL) == sizeof(hdr);)
		hdr.seq = ++nr;
	TEST_ASSERT(errno == EAGAIN, "send()");
	return nr;
}

static bool is_unhook_event(const struct kvmi_msg *msg)
{
	const struct kvmi_event_hdr *ev = (void *)msg->data;

	return msg->hdr.id == KVMI_VM_EVENT && ev->event == KVMI_VM_EVENT_UNHOOK;
}

/*
 * The VMM gets to KVM_INTROSPECTION_UNHOOK, and the tool gets to know
 * when it reads again.
 */
KVMI_TEST(kvmi_hook, tool_does_not_read_preunhook)
{
	struct kvmi_session *s = &self->s;
	bool told = false;
	struct kvmi_msg msg;
	int i, nr;

	kvmi_hook(s, self->vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	nr = fill_socket(s);
	for (i = 0; i < 10; i++)
		TEST_ASSERT_EQ(__kvmi_preunhook(self->vm), 0);

	for (i = 0; i < nr || !told;) {
		kvmi_recv(s, &msg);
		if (is_unhook_event(&msg))
			told = true;
		else
			i++;
	}
	TEST_ASSERT_EQ(i, nr);
	assert_alive(s);
	kvmi_unhook(s);

	/* Or it never does. */
	kvmi_hook(s, self->vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	fill_socket(s);
	TEST_ASSERT_EQ(__kvmi_preunhook(self->vm), 0);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	kvmi_close(s);
	assert_not_hooked(self->vm);
}

/* A message is ended when there is room, by whomever: nobody calls KVM_RUN. */
KVMI_TEST(kvmi_hook, tool_does_not_read_cut_message)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_get_version_reply version;
	struct kvmi_session *s = &self->s;
	struct kvmi_msg msg;
	int i, nr;
	u32 seq;

	kvmi_hook(s, self->vm);
	seq = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	nr = fill_socket(s);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	while (kvmi_run_is_going(&self->r))
		kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);

	for (i = 0; i < nr; i++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, i, &version,
						 sizeof(version)), 0);
	/* The reply that the vCPU has not begun to send waits for it. */
	kvmi_run_start(&self->r, NULL, self->vcpu);
	kvmi_recv(s, &msg);
	TEST_ASSERT_EQ(msg.hdr.seq, seq);
	TEST_ASSERT_EQ(msg.hdr.size,
		       sizeof(struct kvmi_error_code) + sizeof(info));
	kvmi_run_wait(&self->r);
	kvmi_unhook(s);
}

static void guest_code_cpuid(void)
{
	u32 eax, ebx, ecx, edx;

	while (!READ_ONCE(stop))
		cpuid(0, &eax, &ebx, &ecx, &edx);
	GUEST_SYNC(0);
}

#define NR_BUSY		2

/* A tool that answers all it is sent, until its end of the socket is shut */
struct answering_tool {
	struct kvmi_session *s;
	u64 events;
	u64 unhooks;
};

static void *answer_thread(void *arg)
{
	struct answering_tool *tool = arg;
	struct kvmi_event ev;
	struct kvmi_msg msg;

	for (;;) {
		kvmi_recv(tool->s, &msg);
		if (is_unhook_event(&msg)) {
			WRITE_ONCE(tool->unhooks, tool->unhooks + 1);
			continue;
		}
		if (msg.hdr.id == KVMI_VM_CONTROL_EVENTS)
			return NULL;
		TEST_ASSERT_EQ(msg.hdr.id, KVMI_VCPU_EVENT);
		kvmi_parse_event(&msg, &ev);
		kvmi_reply(tool->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		WRITE_ONCE(tool->events, tool->events + 1);
	}
}

/* PREUNHOOK does not fail because others are sending. */
KVMI_TEST(kvmi_hook, preunhook_while_others_send)
{
	struct kvmi_vm_control_events off = { .event_id = KVMI_VM_EVENT_UNHOOK };
	struct answering_tool tool = { .s = &self->s };
	struct kvm_vcpu *vcpus[NR_BUSY];
	struct kvmi_runner r[NR_BUSY];
	struct kvmi_event pause, ev[NR_BUSY];
	struct kvmi_session *s = &self->s;
	time_t end;
	struct kvm_vm *vm;
	struct ucall uc;
	pthread_t thread;
	u64 events, n;
	int i;

	vm = vm_create_with_vcpus(NR_BUSY, guest_code_cpuid, vcpus);
	kvmi_hook(s, vm);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	for (i = 0; i < NR_BUSY; i++) {
		kvmi_park(&r[i], s, vcpus[i], &pause);
		TEST_ASSERT_KVMI(kvmi_control_event(s, i, KVMI_VCPU_EVENT_CPUID, 1),
				 0);
		kvmi_unpark(s, &pause);
		kvmi_wait_event(s, KVMI_VCPU_EVENT_CPUID, &ev[i]);
		r[i].s = NULL;
	}
	TEST_ASSERT(!pthread_create(&thread, NULL, answer_thread, &tool),
		    "pthread_create()");
	for (i = 0; i < NR_BUSY; i++)
		kvmi_reply(s, &ev[i], KVMI_EVENT_ACTION_ALLOW);

	/* As long as it takes for many events, and a few calls at least */
	for (n = 0; n < 100 || READ_ONCE(tool.events) < 1000; n++)
		TEST_ASSERT_EQ(__kvmi_preunhook(vm), 0);

	/* Each was followed by an event, and those that came before it by one. */
	end = time(NULL) + KVMI_TIMEOUT;
	for (i = 0; i < 100; i++) {
		u64 unhooks = READ_ONCE(tool.unhooks);

		events = READ_ONCE(tool.events);
		TEST_ASSERT_EQ(__kvmi_preunhook(vm), 0);
		while (READ_ONCE(tool.unhooks) == unhooks) {
			TEST_ASSERT(time(NULL) < end, "No UNHOOK event");
			sched_yield();
		}
	}
	TEST_ASSERT(READ_ONCE(tool.events) >= events, "No events");

	write_guest_global(vm, stop, 1);
	for (i = 0; i < NR_BUSY; i++)
		kvmi_run_wait_sync(&r[i], &uc);
	kvmi_send_cmd(s, KVMI_VM_CONTROL_EVENTS, &off, sizeof(off));
	pthread_join(thread, NULL);
	kvmi_unhook(s);
	kvm_vm_free(vm);
}

/* A tool that does not read holds up nobody but itself. */
KVMI_TEST(kvmi_hook, tool_does_not_read_unhook)
{
	struct ucall uc;

	kvmi_hook(&self->s, self->vm);
	fill_socket(&self->s);
	TEST_ASSERT_EQ(__kvmi_unhook(self->vm), 0);
	kvmi_close(&self->s);
	kvmi_run_to_sync(NULL, self->vcpu, &uc);
	assert_not_hooked(self->vm);
}

KVMI_TEST(kvmi_hook, tool_does_not_read_destroy)
{
	kvmi_hook(&self->s, self->vm);
	fill_socket(&self->s);
	kvm_vm_free(self->vm);
	self->vm = NULL;
	kvmi_close(&self->s);
}

/* Nor is any message lost or cut if a signal calls the vCPU away then. */
KVMI_TEST(kvmi_hook, tool_does_not_read_signal)
{
	struct kvmi_get_version_reply rpl;
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int i, nr;
	u32 seq;

	kvmi_hook(s, self->vm);
	seq = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	TEST_ASSERT_KVMI(kvmi_pause(s, 0, 0), 0);
	nr = fill_socket(s);

	for (i = 0; i < 3; i++) {
		kvmi_run_start(&self->r, NULL, self->vcpu);
		/* Not sure to find it in KVM_RUN; try until it does. */
		while (kvmi_run_is_going(&self->r))
			kvmi_run_signal(&self->r);
		kvmi_run_wait_eintr(&self->r);
	}

	for (i = 0; i < nr; i++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, i, &rpl,
						 sizeof(rpl)), 0);
	kvmi_run_start(&self->r, s, self->vcpu);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_GET_INFO, seq, &info,
					 sizeof(info)), 0);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_PAUSE, &ev);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 42);
	kvmi_unhook(s);
}

/* The VMM in a process of its own, to be killed */
static void vmm(int fd, bool wait_in_event)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	if (!wait_in_event)
		vcpu_arch_set_entry_point(vcpu, guest_code_spin);
	TEST_ASSERT_EQ(__kvmi_hook(vm, fd), 0);
	TEST_ASSERT_EQ(__kvmi_event(vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_command(vm, 1, -1), 0);
	close(fd);
	for (;;)
		__vcpu_run(vcpu);
}

static void kill_vmm(struct kvmi_session *s, bool wait_in_event)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_event ev;
	int fds[2], status, err;
	pid_t pid;

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair()");
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	if (!pid) {
		close(fds[1]);
		vmm(fds[0], wait_in_event);
	}
	close(fds[0]);

	*s = (struct kvmi_session) { .fd = fds[1], .type = SOCK_STREAM };
	if (wait_in_event) {
		/* The permissions may not be there yet. */
		do {
			err = kvmi_pause(s, 0, 0);
		} while (err == -KVM_EPERM);
		TEST_ASSERT_EQ(err, 0);
		kvmi_wait_event(s, KVMI_VCPU_EVENT_PAUSE, &ev);
	} else {
		do {
			err = kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0,
					    &info, sizeof(info));
		} while (err == -KVM_EPERM);
		TEST_ASSERT_EQ(err, 0);
	}

	TEST_ASSERT(!kill(pid, SIGKILL), "kill()");
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "Status 0x%x", status);
	kvmi_expect_closed(s);
	kvmi_close(s);
}

KVMI_TEST(kvmi_hook, vmm_killed_while_a_vcpu_waits)
{
	kill_vmm(&self->s, true);
}

KVMI_TEST(kvmi_hook, vmm_killed_while_a_vcpu_runs)
{
	kill_vmm(&self->s, false);
}

/* Who has inherited the VM's descriptor has no say in its introspection. */
KVMI_TEST(kvmi_hook, other_process)
{
	int status;
	pid_t pid;

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork()");
	if (!pid) {
		TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EIO);
		_exit(0);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT(!status, "Status 0x%x", status);
	assert_not_hooked(self->vm);
}

/* Ends of all kinds in quick succession, with the guest in full swing */
KVMI_TEST(kvmi_hook, storm)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i, j;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_cr4_loop);
	kvmi_run_start(&self->r, NULL, self->vcpu);
	for (i = 0; i < 60; i++) {
		kvmi_hook(&self->s, self->vm);
		if (i % 6 == 0) {
			kvmi_unhook(&self->s);
			continue;
		}
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0,
						    KVMI_VCPU_EVENT_CR, 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(&self->s, 0, 4, 1), 0);
		for (j = 0; j < i % 6; j++) {
			kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_CR, &ev);
			if (j == i % 6 - 1)
				break;
			kvmi_reply(&self->s, &ev, j & 1 ? KVMI_EVENT_ACTION_SKIP :
							  KVMI_EVENT_ACTION_ALLOW);
		}
		if (i & 1) {
			TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 1), 0);
			kvmi_close(&self->s);
		}
		kvmi_unhook(&self->s);
	}
	write_guest_global(self->vm, stop, 1);
	kvmi_run_wait_sync(&self->r, &uc);
}

int main(int argc, char **argv)
{
	__TEST_REQUIRE(!access("/sys/module/kvm/parameters/introspection", R_OK),
		       "KVM is built without introspection");
	return test_harness_run(argc, argv);
}
