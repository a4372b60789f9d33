// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers for tests of KVM introspection
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvmi_guest.h"
#include "kvmi_util.h"
#include "test_util.h"

/* Several threads of a test may start vCPUs. */
static pthread_mutex_t runners_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kvmi_runner *runners;

int __kvmi_hook(struct kvm_vm *vm, int fd)
{
	struct kvm_introspection_hook hook = { .fd = fd, .eventfd = -1 };

	return __vm_ioctl(vm, KVM_INTROSPECTION_HOOK, &hook);
}

int __kvmi_attach(struct kvm_vm *vm, int fd)
{
	struct kvm_introspection_attach attach = { .fd = fd };

	return __vm_ioctl(vm, KVM_INTROSPECTION_ATTACH, &attach);
}

static int with_dead_socket(struct kvm_vm *vm, int (*fn)(struct kvm_vm *vm, int fd))
{
	int fds[2];
	int ret, err;

	ret = socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
	TEST_ASSERT(!ret, "socketpair() failed");
	ret = fn(vm, fds[0]);
	err = errno;
	close(fds[0]);
	close(fds[1]);
	errno = err;
	return ret;
}

int __kvmi_hook_dead(struct kvm_vm *vm)
{
	return with_dead_socket(vm, __kvmi_hook);
}

int __kvmi_attach_dead(struct kvm_vm *vm)
{
	return with_dead_socket(vm, __kvmi_attach);
}

int __kvmi_unhook(struct kvm_vm *vm)
{
	return __vm_ioctl(vm, KVM_INTROSPECTION_UNHOOK, NULL);
}

int __kvmi_preunhook(struct kvm_vm *vm)
{
	return __vm_ioctl(vm, KVM_INTROSPECTION_PREUNHOOK, NULL);
}

int __kvmi_command(struct kvm_vm *vm, u32 allow, s32 id)
{
	struct kvm_introspection_feature feature = { .allow = allow, .id = id };

	return __vm_ioctl(vm, KVM_INTROSPECTION_COMMAND, &feature);
}

int __kvmi_event(struct kvm_vm *vm, u32 allow, s32 id)
{
	struct kvm_introspection_feature feature = { .allow = allow, .id = id };

	return __vm_ioctl(vm, KVM_INTROSPECTION_EVENT, &feature);
}

/* A session with the other end of a new socket */
static int new_session(struct kvmi_session *s, struct kvm_vm *vm, int type)
{
	int fds[2];
	int ret;

	ret = socketpair(AF_UNIX, type, 0, fds);
	TEST_ASSERT(!ret, "socketpair() failed");

	memset(s, 0, sizeof(*s));
	s->vm = vm;
	s->fd = fds[1];
	s->type = type;
	return fds[0];
}

void kvmi_hook_type(struct kvmi_session *s, struct kvm_vm *vm, int type)
{
	int fd = new_session(s, vm, type);
	int ret = __kvmi_hook(vm, fd);

	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_INTROSPECTION_HOOK, ret));
	close(fd);
}

void kvmi_hook_with(struct kvmi_session *s, struct kvm_vm *vm,
		    struct kvm_introspection_hook hook)
{
	int ret, i;

	hook.fd = new_session(s, vm, SOCK_STREAM);
	if (!hook.eventfd)
		hook.eventfd = -1;
	for (i = 0; i < KVMI_NUM_COMMANDS; i++)
		hook.commands[i / 64] |= BIT_ULL(i % 64);
	hook.events = BIT_ULL(KVMI_NUM_EVENTS) - 1;
	ret = __vm_ioctl(vm, KVM_INTROSPECTION_HOOK, &hook);
	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_INTROSPECTION_HOOK, ret));
	close(hook.fd);
}

void kvmi_hook(struct kvmi_session *s, struct kvm_vm *vm)
{
	kvmi_hook_with(s, vm, (struct kvm_introspection_hook) { });
}

static void attach(struct kvmi_session *s, struct kvm_vm *vm, bool when_lost)
{
	int fd = new_session(s, vm, SOCK_STREAM);
	int ret;

	do {
		ret = __kvmi_attach(vm, fd);
	} while (ret && when_lost && errno == EBUSY);
	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_INTROSPECTION_ATTACH, ret));
	close(fd);
}

void kvmi_attach(struct kvmi_session *s, struct kvm_vm *vm)
{
	attach(s, vm, false);
}

void kvmi_attach_when_lost(struct kvmi_session *s, struct kvm_vm *vm)
{
	attach(s, vm, true);
}

void kvmi_close(struct kvmi_session *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->nr_queued = 0;
}

void kvmi_unhook(struct kvmi_session *s)
{
	struct kvmi_msg_hdr hdr;
	int ret;

	TEST_ASSERT(!s->nr_queued, "Event %u was not expected",
		    s->queue[0].ev.event);
	if (s->fd >= 0) {
		ret = recv(s->fd, &hdr, sizeof(hdr), MSG_PEEK | MSG_DONTWAIT);
		TEST_ASSERT(ret <= 0, "Message %u was not expected", hdr.id);
	}

	ret = __kvmi_unhook(s->vm);
	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_INTROSPECTION_UNHOOK, ret));
	kvmi_close(s);
}

int kvmi_bytes_to_read(struct kvmi_session *s)
{
	int bytes;

	TEST_ASSERT(!ioctl(s->fd, FIONREAD, &bytes), "FIONREAD");
	return bytes;
}

void kvmi_send(struct kvmi_session *s, const void *buf, size_t size)
{
	ssize_t ret = send(s->fd, buf, size, MSG_NOSIGNAL);

	TEST_ASSERT(ret == size, "send() returned %zd, wanted %zu", ret, size);
}

static bool is_readable(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int ret = poll(&pfd, 1, ms);

	TEST_ASSERT(ret >= 0 || errno == EINTR, "poll()");
	return ret > 0;
}

/* What KVM_RUN returned is the reason why nothing comes. */
static void print_returned(const struct kvmi_runner *r)
{
	struct kvm_run *run = r->vcpu->run;
	struct kvm_regs regs;
	struct ucall uc;
	int vector;

	if (r->ret) {
		ksft_print_msg("vCPU %u: KVM_RUN returned %d, %s\n", r->vcpu->id,
			       r->ret, strerror(r->err));
		return;
	}

	vcpu_regs_get(r->vcpu, &regs);
	ksft_print_msg("vCPU %u: KVM_RUN returned, exit reason %u (%s), RIP 0x%llx\n",
		       r->vcpu->id, run->exit_reason,
		       exit_reason_str(run->exit_reason), regs.rip);
	vector = kvmi_guest_stopped_by(r->vcpu, regs.rip);
	if (vector != KVMI_GUEST_NO_EXCEPTION)
		ksft_print_msg("vCPU %u: exception %d\n", r->vcpu->id, vector);
	/* It says what is wrong, e.g. an exception that it has no handler for. */
	if (get_ucall(r->vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
}

/*
 * Has everybody returned from KVM_RUN who may send something?  Not so if nobody is
 * known: a test may have threads of its own.
 */
static bool have_returned(const struct kvmi_session *s, bool print)
{
	struct kvmi_runner *r;
	bool all = true;
	int nr = 0;

	pthread_mutex_lock(&runners_lock);
	for (r = runners; r; r = r->next) {
		if (r->s != s)
			continue;
		nr++;
		if (!is_readable(r->done, 0))
			all = false;
		else if (print)
			print_returned(r);
	}
	pthread_mutex_unlock(&runners_lock);

	return nr && all;
}

/* Wait for something to read, if it is an event only as long as there is a reason to. */
static void wait_for_message(const struct kvmi_session *s, bool is_event)
{
	int seconds, returned = 0;

	for (seconds = 0; seconds < KVMI_TIMEOUT; seconds++) {
		if (is_readable(s->fd, 1000))
			return;
		if (!is_event || !have_returned(s, false))
			returned = 0;
		else if (++returned == KVMI_RETURNED_TIMEOUT)
			break;
	}

	have_returned(s, true);
	TEST_FAIL("Nothing received in %d seconds", seconds);
}

/* Returns 0 at the end of the stream. */
static size_t kvmi_read(struct kvmi_session *s, void *buf, size_t size)
{
	size_t done = 0;
	ssize_t ret;

	while (done < size) {
		wait_for_message(s, false);
		ret = recv(s->fd, buf + done, size - done, 0);
		if (!ret || (ret < 0 && errno == ECONNRESET)) {
			TEST_ASSERT(!done, "Message cut after %zu bytes", done);
			return 0;
		}
		TEST_ASSERT(ret > 0, "recv() failed");
		done += ret;
		if (s->type == SOCK_SEQPACKET)
			break;
	}
	return done;
}

static bool __kvmi_recv(struct kvmi_session *s, struct kvmi_msg *msg)
{
	size_t size;

	if (s->type == SOCK_SEQPACKET) {
		size = kvmi_read(s, msg, sizeof(*msg));
		if (!size)
			return false;
		TEST_ASSERT(size == sizeof(msg->hdr) + msg->hdr.size,
			    "%zu bytes in a packet, %u in the header", size,
			    msg->hdr.size);
		return true;
	}

	if (!kvmi_read(s, &msg->hdr, sizeof(msg->hdr)))
		return false;
	TEST_ASSERT(msg->hdr.size <= sizeof(msg->data),
		    "Message %u is too long: %u bytes", msg->hdr.id,
		    msg->hdr.size);
	if (msg->hdr.size) {
		size = kvmi_read(s, msg->data, msg->hdr.size);
		TEST_ASSERT(size == msg->hdr.size, "Message without its end");
	}
	return true;
}

void kvmi_recv(struct kvmi_session *s, struct kvmi_msg *msg)
{
	TEST_ASSERT(__kvmi_recv(s, msg), "The session was closed");
}

void kvmi_expect_closed(struct kvmi_session *s)
{
	struct kvmi_msg msg;

	if (__kvmi_recv(s, &msg))
		TEST_FAIL("Message %u instead of the end of the session",
			  msg.hdr.id);
}

static void kvmi_check_sregs(const struct kvm_sregs *sregs)
{
	const struct kvm_segment *seg = &sregs->cs;

	/* CS, DS, ES, FS, GS, SS, TR, LDT */
	for (; seg <= &sregs->ldt; seg++)
		KVMI_ASSERT_ZERO(seg->padding);
	KVMI_ASSERT_ZERO(sregs->gdt.padding);
	KVMI_ASSERT_ZERO(sregs->idt.padding);
}

void kvmi_parse_event(const struct kvmi_msg *msg, struct kvmi_event *ev)
{
	size_t size = msg->hdr.size + sizeof(msg->hdr);
	size_t wanted = offsetof(struct kvmi_event, cr);

	TEST_ASSERT(size <= sizeof(*ev), "Event of %zu bytes", size);
	memset(ev, 0, sizeof(*ev));
	memcpy(ev, msg, size);

	switch (ev->ev.event) {
	case KVMI_VCPU_EVENT_PAUSE:
	case KVMI_VCPU_EVENT_HYPERCALL:
	case KVMI_VCPU_EVENT_CREATE_VCPU:
		break;
	case KVMI_VCPU_EVENT_BREAKPOINT:
		wanted += sizeof(ev->breakpoint);
		KVMI_ASSERT_ZERO(ev->breakpoint.padding);
		break;
	case KVMI_VCPU_EVENT_CR:
		wanted += sizeof(ev->cr);
		KVMI_ASSERT_ZERO(ev->cr.padding);
		break;
	case KVMI_VCPU_EVENT_TRAP:
		wanted += sizeof(ev->trap);
		KVMI_ASSERT_ZERO(ev->trap.padding);
		break;
	case KVMI_VCPU_EVENT_XSETBV:
		wanted += sizeof(ev->xsetbv);
		KVMI_ASSERT_ZERO(ev->xsetbv.padding);
		break;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		wanted += sizeof(ev->descriptor);
		KVMI_ASSERT_ZERO(ev->descriptor.padding);
		break;
	case KVMI_VCPU_EVENT_MSR:
		wanted += sizeof(ev->msr);
		KVMI_ASSERT_ZERO(ev->msr.padding);
		break;
	case KVMI_VCPU_EVENT_CPUID:
		wanted += sizeof(ev->cpuid);
		KVMI_ASSERT_ZERO(ev->cpuid.padding);
		break;
	case KVMI_VCPU_EVENT_PF:
		wanted += sizeof(ev->pf);
		KVMI_ASSERT_ZERO(ev->pf.padding);
		break;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		wanted += sizeof(ev->singlestep);
		KVMI_ASSERT_ZERO(ev->singlestep.padding);
		break;
	case KVMI_VCPU_EVENT_ACCESS:
		wanted += sizeof(ev->access);
		KVMI_ASSERT_ZERO(ev->access.padding);
		break;
	default:
		TEST_FAIL("Unknown event %u", ev->ev.event);
	}
	TEST_ASSERT(size == wanted, "Event %u has %zu bytes, wanted %zu",
		    ev->ev.event, size, wanted);
	TEST_ASSERT_EQ(ev->common.size, sizeof(ev->common));
	KVMI_ASSERT_ZERO(ev->ev.padding);
	KVMI_ASSERT_ZERO(ev->common.arch.padding);
	kvmi_check_sregs(&ev->common.arch.sregs);
}

static void kvmi_queue_event(struct kvmi_session *s, const struct kvmi_msg *msg)
{
	TEST_ASSERT(s->nr_queued < KVMI_MAX_QUEUED_EVENTS, "Too many events");
	kvmi_parse_event(msg, &s->queue[s->nr_queued++]);
}

void kvmi_batch_add(struct kvmi_batch *batch, u16 id, u32 seq, const void *data,
		    size_t size)
{
	struct kvmi_msg_hdr hdr = { .id = id, .size = size, .seq = seq };

	TEST_ASSERT(batch->size + sizeof(hdr) + size <= sizeof(batch->data),
		    "The batch is too long");
	memcpy(batch->data + batch->size, &hdr, sizeof(hdr));
	if (size)
		memcpy(batch->data + batch->size + sizeof(hdr), data, size);
	batch->size += sizeof(hdr) + size;
}

u32 kvmi_send_cmd(struct kvmi_session *s, u16 id, const void *req, size_t size)
{
	struct kvmi_msg_hdr hdr = {
		.id = id,
		.size = size,
		.seq = ++s->seq,
	};
	struct iovec iov[] = {
		{ &hdr, sizeof(hdr) },
		{ (void *)req, size },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	ssize_t ret;

	TEST_ASSERT(size <= KVMI_MAX_MSG_SIZE, "Command of %zu bytes", size);
	ret = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
	TEST_ASSERT(ret == sizeof(hdr) + size, "sendmsg() returned %zd", ret);
	return hdr.seq;
}

u32 kvmi_send_vcpu_cmd(struct kvmi_session *s, u16 vcpu, u16 id,
		       const void *req, size_t size)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	u8 buf[KVMI_MAX_MSG_SIZE];

	TEST_ASSERT(size <= sizeof(buf) - sizeof(hdr), "Command of %zu bytes",
		    size);
	memcpy(buf, &hdr, sizeof(hdr));
	if (size)
		memcpy(buf + sizeof(hdr), req, size);
	return kvmi_send_cmd(s, id, buf, sizeof(hdr) + size);
}

int kvmi_recv_reply(struct kvmi_session *s, u16 id, u32 seq,
		    void *rpl, size_t size)
{
	struct kvmi_error_code ec;
	struct kvmi_msg msg;

	for (;;) {
		kvmi_recv(s, &msg);
		if (msg.hdr.id != KVMI_VCPU_EVENT)
			break;
		kvmi_queue_event(s, &msg);
	}

	TEST_ASSERT(msg.hdr.id == id && msg.hdr.seq == seq,
		    "Reply has id %u and seq %u, wanted %u and %u",
		    msg.hdr.id, msg.hdr.seq, id, seq);
	TEST_ASSERT(msg.hdr.size >= sizeof(ec), "Reply of %u bytes",
		    msg.hdr.size);
	memcpy(&ec, msg.data, sizeof(ec));
	KVMI_ASSERT_ZERO(ec.padding);
	TEST_ASSERT(ec.err <= 0, "Reply with error %d", ec.err);

	if (ec.err)
		size = 0;
	TEST_ASSERT(msg.hdr.size == sizeof(ec) + size,
		    "Reply to command %u, error %d, has %u bytes, wanted %zu",
		    id, ec.err, msg.hdr.size, sizeof(ec) + size);
	if (size)
		memcpy(rpl, msg.data + sizeof(ec), size);
	return ec.err;
}

int kvmi_cmd(struct kvmi_session *s, u16 id, const void *req, size_t size,
	     void *rpl, size_t rpl_size)
{
	u32 seq = kvmi_send_cmd(s, id, req, size);

	return kvmi_recv_reply(s, id, seq, rpl, rpl_size);
}

int kvmi_vcpu_cmd(struct kvmi_session *s, u16 vcpu, u16 id,
		  const void *req, size_t size, void *rpl, size_t rpl_size)
{
	u32 seq = kvmi_send_vcpu_cmd(s, vcpu, id, req, size);

	return kvmi_recv_reply(s, id, seq, rpl, rpl_size);
}

int kvmi_check_command(struct kvmi_session *s, u16 id)
{
	struct kvmi_vm_check_command req = { .id = id };

	return kvmi_cmd(s, KVMI_VM_CHECK_COMMAND, &req, sizeof(req), NULL, 0);
}

int kvmi_check_event(struct kvmi_session *s, u16 id)
{
	struct kvmi_vm_check_event req = { .id = id };

	return kvmi_cmd(s, KVMI_VM_CHECK_EVENT, &req, sizeof(req), NULL, 0);
}

int kvmi_pause(struct kvmi_session *s, u16 vcpu, u8 wait)
{
	struct kvmi_vm_pause_vcpu req = { .vcpu = vcpu, .wait = wait };

	return kvmi_cmd(s, KVMI_VM_PAUSE_VCPU, &req, sizeof(req), NULL, 0);
}

int kvmi_control_vm_event(struct kvmi_session *s, u16 event, u8 enable)
{
	struct kvmi_vm_control_events req = {
		.event_id = event,
		.enable = enable,
	};

	return kvmi_cmd(s, KVMI_VM_CONTROL_EVENTS, &req, sizeof(req), NULL, 0);
}

int kvmi_control_event(struct kvmi_session *s, u16 vcpu, u16 event, u8 enable)
{
	struct kvmi_vcpu_control_events req = {
		.event_id = event,
		.enable = enable,
	};

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_CONTROL_EVENTS, &req,
			     sizeof(req), NULL, 0);
}

int kvmi_control_cr(struct kvmi_session *s, u16 vcpu, u8 cr, u8 enable)
{
	struct kvmi_vcpu_control_cr req = { .cr = cr, .enable = enable };

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_CONTROL_CR, &req, sizeof(req),
			     NULL, 0);
}

int kvmi_control_msr(struct kvmi_session *s, u16 vcpu, u32 msr, u8 enable)
{
	struct kvmi_vcpu_control_msr req = { .msr = msr, .enable = enable };

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_CONTROL_MSR, &req, sizeof(req),
			     NULL, 0);
}

int kvmi_control_cr_flags(struct kvmi_session *s, u16 vcpu, u8 cr, u8 flags)
{
	struct kvmi_vcpu_control_cr req = {
		.cr = cr,
		.enable = 1,
		.flags = flags,
	};

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_CONTROL_CR, &req, sizeof(req),
			     NULL, 0);
}

int kvmi_control_msr_flags(struct kvmi_session *s, u16 vcpu, u32 msr, u8 flags)
{
	struct kvmi_vcpu_control_msr req = {
		.msr = msr,
		.enable = 1,
		.flags = flags,
	};

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_CONTROL_MSR, &req, sizeof(req),
			     NULL, 0);
}

int kvmi_get_registers(struct kvmi_session *s, u16 vcpu,
		       struct kvmi_vcpu_get_registers_reply *rpl)
{
	struct kvmi_vcpu_get_registers req = {};
	int err;

	err = kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_GET_REGISTERS, &req, sizeof(req),
			    rpl, sizeof(*rpl));
	if (!err) {
		KVMI_ASSERT_ZERO(rpl->padding);
		KVMI_ASSERT_ZERO(rpl->msrs.pad);
		kvmi_check_sregs(&rpl->sregs);
	}
	return err;
}

int kvmi_set_registers(struct kvmi_session *s, u16 vcpu,
		       const struct kvm_regs *regs)
{
	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_SET_REGISTERS, regs,
			     sizeof(*regs), NULL, 0);
}

int kvmi_inject(struct kvmi_session *s, u16 vcpu, u8 nr, u32 error_code,
		u64 address)
{
	struct kvmi_vcpu_inject_exception req = {
		.nr = nr,
		.error_code = error_code,
		.address = address,
	};

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_INJECT_EXCEPTION, &req,
			     sizeof(req), NULL, 0);
}

void kvmi_get_features(struct kvmi_session *s,
		       struct kvmi_vm_get_features_reply *rpl)
{
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_FEATURES, NULL, 0, rpl,
				  sizeof(*rpl)), 0);
}

bool kvmi_has_page_access(void)
{
	return kvm_is_tdp_enabled() && get_kvm_param_bool("tdp_mmu");
}

int kvmi_set_page_access(struct kvmi_session *s, u16 view, u64 gpa, u32 npages,
			 u8 access)
{
	struct {
		struct kvmi_vm_set_page_access hdr;
		struct kvmi_page_access_entry entry;
	} req = {
		.hdr.count = 1,
		.hdr.view = view,
		.entry.gpa = gpa,
		.entry.access = access,
		.entry.npages = npages,
	};

	return kvmi_cmd(s, KVMI_VM_SET_PAGE_ACCESS, &req, sizeof(req), NULL, 0);
}

int kvmi_get_page_access(struct kvmi_session *s, u16 view, u64 gpa, u8 *access)
{
	struct {
		struct kvmi_vm_get_page_access hdr;
		u64 gpa;
	} req = {
		.hdr.count = 1,
		.hdr.view = view,
		.gpa = gpa,
	};

	return kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, &req, sizeof(req), access,
			sizeof(*access));
}

void kvmi_wait_event(struct kvmi_session *s, u16 event, struct kvmi_event *ev)
{
	struct kvmi_msg msg;

	if (!s->nr_queued) {
		wait_for_message(s, true);
		kvmi_recv(s, &msg);
		TEST_ASSERT(msg.hdr.id == KVMI_VCPU_EVENT,
			    "Message %u instead of event %u", msg.hdr.id, event);
		kvmi_queue_event(s, &msg);
	}

	*ev = s->queue[0];
	s->nr_queued--;
	memmove(&s->queue[0], &s->queue[1], s->nr_queued * sizeof(*ev));
	TEST_ASSERT(ev->ev.event == event, "Event %u instead of %u",
		    ev->ev.event, event);
}

static void reply_as(struct kvmi_session *s, const struct kvmi_event *ev,
		     const struct kvmi_vcpu_event_reply *rpl,
		     const void *data, size_t size)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply rpl;
		u8 data[64];
	} msg = {
		.hdr.id = KVMI_VCPU_EVENT,
		.hdr.seq = ev->hdr.seq,
		.vcpu.vcpu = ev->common.vcpu,
		.rpl = *rpl,
	};

	TEST_ASSERT(size <= sizeof(msg.data), "Reply with %zu bytes", size);
	if (size)
		memcpy(msg.data, data, size);
	msg.hdr.size = sizeof(msg.vcpu) + sizeof(msg.rpl) + size;
	kvmi_send(s, &msg, sizeof(msg.hdr) + msg.hdr.size);
}

void kvmi_reply_data(struct kvmi_session *s, const struct kvmi_event *ev,
		     u8 action, const void *data, size_t size)
{
	struct kvmi_vcpu_event_reply rpl = {
		.action = action,
		.event = ev->ev.event,
	};

	reply_as(s, ev, &rpl, data, size);
}

void kvmi_reply_flags(struct kvmi_session *s, const struct kvmi_event *ev,
		      u8 action, u32 flags, u16 view)
{
	struct kvmi_vcpu_event_reply rpl = {
		.action = action,
		.event = ev->ev.event,
		.view = view,
		.flags = flags,
	};

	reply_as(s, ev, &rpl, NULL, 0);
}

void kvmi_reply(struct kvmi_session *s, const struct kvmi_event *ev, u8 action)
{
	kvmi_reply_data(s, ev, action, NULL, 0);
}

void kvmi_reply_val(struct kvmi_session *s, const struct kvmi_event *ev,
		    u8 action, u64 val)
{
	kvmi_reply_data(s, ev, action, &val, sizeof(val));
}

static void kvmi_signal_handler(int sig)
{
}

static void *kvmi_runner_thread(void *arg)
{
	struct kvmi_runner *r = arg;

	r->ret = __vcpu_run(r->vcpu);
	r->err = r->ret ? errno : 0;
	TEST_ASSERT(!eventfd_write(r->done, 1), "eventfd_write() failed");
	return NULL;
}

void kvmi_run_start(struct kvmi_runner *r, struct kvmi_session *s,
		    struct kvm_vcpu *vcpu)
{
	struct sigaction sa = { .sa_handler = kvmi_signal_handler };
	int ret;

	ret = sigaction(SIGUSR1, &sa, NULL);
	TEST_ASSERT(!ret, "sigaction() failed");

	r->s = s;
	r->vcpu = vcpu;
	r->done = kvm_new_eventfd();
	ret = pthread_create(&r->thread, NULL, kvmi_runner_thread, r);
	TEST_ASSERT(!ret, "pthread_create() returned %d", ret);

	pthread_mutex_lock(&runners_lock);
	r->next = runners;
	runners = r;
	pthread_mutex_unlock(&runners_lock);
}

static void forget_runner(struct kvmi_runner *r)
{
	struct kvmi_runner **p;

	pthread_mutex_lock(&runners_lock);
	for (p = &runners; *p != r; p = &(*p)->next)
		TEST_ASSERT(*p, "vCPU %u does not run", r->vcpu->id);
	*p = r->next;
	pthread_mutex_unlock(&runners_lock);
}

void kvmi_run_signal(struct kvmi_runner *r)
{
	int ret = pthread_kill(r->thread, SIGUSR1);

	TEST_ASSERT(!ret, "pthread_kill() returned %d", ret);
}

bool kvmi_run_is_going(struct kvmi_runner *r)
{
	/* A while, not a time to rely on */
	return !is_readable(r->done, 10);
}

void kvmi_run_wait(struct kvmi_runner *r)
{
	struct pollfd pfd[] = {
		{ .fd = r->done, .events = POLLIN },
		{ .fd = r->s ? r->s->fd : -1, .events = POLLIN },
	};
	struct kvmi_msg msg;
	int ret;

	if (r->s && r->s->nr_queued)
		TEST_FAIL("Event %u was not expected", r->s->queue[0].ev.event);

	for (;;) {
		ret = poll(pfd, ARRAY_SIZE(pfd), KVMI_TIMEOUT * 1000);
		if (ret < 0 && errno == EINTR)
			continue;
		TEST_ASSERT(ret > 0, "KVM_RUN did not return in %d seconds",
			    KVMI_TIMEOUT);
		if (pfd[0].revents)
			break;
		if (!pfd[1].revents)
			continue;
		if (__kvmi_recv(r->s, &msg))
			TEST_FAIL("Message %u (event %u) was not expected",
				  msg.hdr.id, msg.data[0]);
		/* A closed session has nothing to say any more. */
		pfd[1].fd = -1;
	}

	forget_runner(r);
	ret = pthread_join(r->thread, NULL);
	TEST_ASSERT(!ret, "pthread_join() returned %d", ret);
	close(r->done);
}

void kvmi_run_wait_exit(struct kvmi_runner *r, u32 reason)
{
	kvmi_run_wait(r);
	TEST_ASSERT(!r->ret, "KVM_RUN failed: %s", strerror(r->err));
	TEST_ASSERT_KVM_EXIT_REASON(r->vcpu, reason);
}

void kvmi_run_wait_eintr(struct kvmi_runner *r)
{
	kvmi_run_wait(r);
	TEST_ASSERT(r->ret == -1 && r->err == EINTR,
		    "KVM_RUN returned %d (%s, exit reason %u), wanted EINTR",
		    r->ret, strerror(r->err), r->vcpu->run->exit_reason);
}

void kvmi_run_wait_sync(struct kvmi_runner *r, struct ucall *uc)
{
	kvmi_run_wait_exit(r, KVM_EXIT_IO);
	switch (get_ucall(r->vcpu, uc)) {
	case UCALL_SYNC:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(*uc);
		break;
	default:
		TEST_FAIL("Unexpected ucall %lu", uc->cmd);
	}
}

void kvmi_park(struct kvmi_runner *r, struct kvmi_session *s,
	       struct kvm_vcpu *vcpu, struct kvmi_event *ev)
{
	TEST_ASSERT_KVMI(kvmi_pause(s, vcpu->id, 0), 0);
	kvmi_run_start(r, s, vcpu);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_PAUSE, ev);
	TEST_ASSERT_EQ(ev->common.vcpu, vcpu->id);
}

void kvmi_unpark(struct kvmi_session *s, const struct kvmi_event *ev)
{
	kvmi_reply(s, ev, KVMI_EVENT_ACTION_ALLOW);
}

void kvmi_run_to_sync(struct kvmi_session *s, struct kvm_vcpu *vcpu,
		      struct ucall *uc)
{
	struct kvmi_runner r;

	kvmi_run_start(&r, s, vcpu);
	kvmi_run_wait_sync(&r, uc);
}
