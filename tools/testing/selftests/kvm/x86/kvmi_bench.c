// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what events and commands cost
 *
 * Not a test: nothing here passes or fails by a number; kvmi_cost_test does.  One process is the
 * introspection tool and measures, its child is the VMM.  Two floors are
 * measured with the same means: instructions that KVM handles without asking
 * anybody, and a ping-pong between the two processes over a socket like that of
 * the session.
 *
 * Times are lower quartiles, in ticks of the TSC; an emulator may make these
 * instructions.  They are taken in the guest where it is the guest that waits,
 * else in the tool.  All other columns are exact counts, the difference of a
 * long run and a short one, and come from the kernel's tracepoints and KVM's
 * statistics.
 *
 * Documentation/virt/kvm/introspection/cost.rst describes the columns.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvmi_trace.h"
#include "kvmi_util.h"
#include "kvmi_workload.h"
#include "test_util.h"

#define MAX_OPS		(KVMI_WORKLOAD_OPS / 2)
#define PAGE_GPA	0x1000
/* vCPUs of the VM at the end, one until then */
#define NR_VCPUS	4
/* Commands that are sent together */
#define BATCH		64
/* As many as a vCPU has in its queue */
#define VCPU_BATCH	32

/* The VMM's process */

enum vmm_cmd {
	VMM_HOOK,
	VMM_RUN,
	/* More vCPUs, and runs on all of them at once */
	VMM_ADD_VCPUS,
	VMM_RUN_ALL,
	VMM_PING,
};

struct vmm_req {
	enum vmm_cmd cmd;
	enum kvmi_workload_op op;
	u64 ops;
};

/* What an event and the answer to it have on the wire */
#define PING_SIZE	(offsetof(struct kvmi_event, cr) + sizeof(struct kvmi_vcpu_event_cr))
#define PONG_SIZE	(sizeof(struct kvmi_msg_hdr) + sizeof(struct kvmi_vcpu_hdr) + \
			 sizeof(struct kvmi_vcpu_event_reply))

static void vmm_wake(int sig)
{
}

static void vmm_ping(int fd, const struct vmm_req *req, struct kvmi_workload_result *rpl)
{
	u64 i, start, ticks[KVMI_WORKLOAD_OPS];
	u8 buf[PING_SIZE] = {};

	for (i = 0; i < req->ops; i++) {
		start = rdtsc();
		TEST_ASSERT(send(fd, buf, PING_SIZE, 0) == PING_SIZE, "send()");
		TEST_ASSERT(recv(fd, buf, PONG_SIZE, 0) == PONG_SIZE, "recv()");
		ticks[i] = rdtsc() - start;
	}
	rpl->exits = 0;
	rpl->ticks = kvmi_workload_quartile(ticks, req->ops);
}

/* Threads that stay, so that they are counted */
static struct vmm_worker {
	struct kvm_vcpu *vcpu;
	sem_t go;
	sem_t done;
	struct vmm_req req;
	struct kvmi_workload_result result;
} vmm_workers[NR_VCPUS];

static void *vmm_work(void *arg)
{
	struct vmm_worker *w = arg;

	for (;;) {
		TEST_ASSERT(!sem_wait(&w->go), "sem_wait()");
		kvmi_workload_run(w->vcpu, w->req.op, w->req.ops, &w->result);
		TEST_ASSERT(!sem_post(&w->done), "sem_post()");
	}

	return NULL;
}

static void vmm_add_workers(struct kvm_vcpu *vcpu)
{
	pthread_t thread;
	int i, r;

	vmm_workers[0].vcpu = vcpu;
	for (i = 1; i < NR_VCPUS; i++) {
		struct vmm_worker *w = &vmm_workers[i];

		w->vcpu = kvmi_workload_add_vcpu(vcpu->vm, i);
		TEST_ASSERT(!sem_init(&w->go, 0, 0) && !sem_init(&w->done, 0, 0),
			    "sem_init()");
		r = pthread_create(&thread, NULL, vmm_work, w);
		TEST_ASSERT(!r, "pthread_create() returned %d", r);
	}
}

/* The ticks are those of the first vCPU, the exits those of all. */
static void vmm_run_all(const struct vmm_req *req, struct kvmi_workload_result *rpl)
{
	int i;

	for (i = 1; i < NR_VCPUS; i++) {
		vmm_workers[i].req = *req;
		TEST_ASSERT(!sem_post(&vmm_workers[i].go), "sem_post()");
	}
	kvmi_workload_run(vmm_workers[0].vcpu, req->op, req->ops, rpl);
	for (i = 1; i < NR_VCPUS; i++) {
		TEST_ASSERT(!sem_wait(&vmm_workers[i].done), "sem_wait()");
		rpl->exits += vmm_workers[i].result.exits;
	}
}

static void vmm_main(int ctl, int session, int ping)
{
	struct sigaction sa = { .sa_handler = vmm_wake };
	struct kvmi_workload_result rpl;
	struct kvm_vcpu *vcpu;
	struct vmm_req req;
	struct kvm_vm *vm;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGUSR1, &sa, NULL);
	vm = kvmi_workload_create(&vcpu);
	/* A vCPU that is halted is to sleep, not to poll. */
	vm_enable_cap(vm, KVM_CAP_HALT_POLL, 0);

	while (recv(ctl, &req, sizeof(req), 0) == sizeof(req)) {
		memset(&rpl, 0, sizeof(rpl));
		switch (req.cmd) {
		case VMM_HOOK:
			TEST_ASSERT(!__kvmi_hook(vm, session), "Cannot hook");
			TEST_ASSERT(!__kvmi_command(vm, 1, -1), "Cannot allow");
			TEST_ASSERT(!__kvmi_event(vm, 1, -1), "Cannot allow");
			close(session);
			break;
		case VMM_RUN:
			kvmi_workload_run(vcpu, req.op, req.ops, &rpl);
			break;
		case VMM_ADD_VCPUS:
			vmm_add_workers(vcpu);
			break;
		case VMM_RUN_ALL:
			vmm_run_all(&req, &rpl);
			break;
		case VMM_PING:
			vmm_ping(ping, &req, &rpl);
			break;
		}
		TEST_ASSERT(send(ctl, &rpl, sizeof(rpl), 0) == sizeof(rpl), "send()");
	}
	kvm_vm_free(vm);
}

/* The tool's process */

static struct {
	pid_t vmm;
	int ctl;
	int session;
	int ping;
	bool poll;
	/* Each send() is a message */
	bool packets;
	u32 seq;
	u64 bytes;
	u64 ticks[KVMI_WORKLOAD_OPS];
	struct kvmi_event pause;
} tool;

static void vmm_start(enum vmm_cmd cmd, enum kvmi_workload_op op, u64 ops)
{
	struct vmm_req req = { .cmd = cmd, .op = op, .ops = ops };

	TEST_ASSERT(send(tool.ctl, &req, sizeof(req), 0) == sizeof(req), "send()");
}

static struct kvmi_workload_result vmm_finish(void)
{
	struct kvmi_workload_result rpl;

	TEST_ASSERT(recv(tool.ctl, &rpl, sizeof(rpl), 0) == sizeof(rpl),
		    "The VMM failed");
	return rpl;
}

static void tool_send(const void *msg, size_t size)
{
	ssize_t n = send(tool.session, msg, size, MSG_NOSIGNAL);

	TEST_ASSERT(n == size, "send() returned %zd, wanted %zu", n, size);
	tool.bytes += n;
}

/* Nobody sends before this has been answered: there is one message to read. */
static const struct kvmi_msg *tool_recv(void)
{
	struct pollfd pfd = { .fd = tool.session, .events = POLLIN };
	static struct kvmi_msg msg;
	ssize_t n;

	if (tool.poll)
		TEST_ASSERT(poll(&pfd, 1, -1) == 1, "poll()");
	n = recv(tool.session, &msg, sizeof(msg), 0);
	TEST_ASSERT(n >= (ssize_t)sizeof(msg.hdr) &&
		    n == sizeof(msg.hdr) + msg.hdr.size,
		    "recv() returned %zd, which is not one message", n);
	tool.bytes += n;
	return &msg;
}

/* What it returns is good until the next message is received. */
static const struct kvmi_event *tool_wait_event(u16 event)
{
	const struct kvmi_event *ev = (void *)tool_recv();

	TEST_ASSERT(ev->hdr.id == KVMI_VCPU_EVENT && ev->ev.event == event,
		    "Message %u, event %u, instead of event %u",
		    ev->hdr.id, ev->ev.event, event);
	return ev;
}

static void tool_reply(const struct kvmi_event *ev, u8 action)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply rpl;
	} msg = {
		.hdr.id = KVMI_VCPU_EVENT,
		.hdr.size = sizeof(msg) - sizeof(msg.hdr),
		.hdr.seq = ev->hdr.seq,
		.vcpu.vcpu = ev->common.vcpu,
		.rpl.action = action,
		.rpl.event = ev->ev.event,
	};

	tool_send(&msg, sizeof(msg));
}

static void tool_fill_cmd(struct kvmi_msg *cmd, u16 id, const void *req, size_t size)
{
	size_t vcpu = id & 1 ? sizeof(struct kvmi_vcpu_hdr) : 0;

	cmd->hdr.id = id;
	cmd->hdr.size = vcpu + size;
	memset(cmd->data, 0, vcpu);
	if (size)
		memcpy(cmd->data + vcpu, req, size);
}

/* Returns 0 or -KVM_E*; @data is what is in the reply after that. */
static int tool_send_cmd(struct kvmi_msg *cmd, const void **data)
{
	const struct kvmi_error_code *ec;
	const struct kvmi_msg *rpl;

	cmd->hdr.seq = ++tool.seq;
	tool_send(cmd, sizeof(cmd->hdr) + cmd->hdr.size);

	rpl = tool_recv();
	TEST_ASSERT(rpl->hdr.id == cmd->hdr.id && rpl->hdr.seq == cmd->hdr.seq,
		    "Message %u instead of the reply to %u", rpl->hdr.id,
		    cmd->hdr.id);
	ec = (void *)rpl->data;
	if (data)
		*data = ec + 1;
	return ec->err;
}

static int tool_cmd(u16 id, const void *req, size_t size)
{
	static struct kvmi_msg cmd;

	tool_fill_cmd(&cmd, id, req, size);
	return tool_send_cmd(&cmd, NULL);
}

static void tool_pause(u16 id)
{
	const u64 req[2] = {};
	size_t size;

	size = id == KVMI_VM_PAUSE_ALL ? sizeof(struct kvmi_vm_pause_all) :
					 sizeof(struct kvmi_vm_pause_vcpu);
	TEST_ASSERT(!tool_cmd(id, req, size), "Cannot pause");
}

/* The vCPU is in a PAUSE event, which is open, until tool_unpark(). */
static void tool_park(void)
{
	tool_pause(KVMI_VM_PAUSE_VCPU);
	vmm_start(VMM_RUN, OP_NONE, 0);
	tool.pause = *tool_wait_event(KVMI_VCPU_EVENT_PAUSE);
}

static struct kvmi_workload_result tool_unpark(void)
{
	tool_reply(&tool.pause, KVMI_EVENT_ACTION_ALLOW);
	return vmm_finish();
}

/* Rows of the table */

struct row {
	const char *name;
	/* What performs @n operations, and the exits of the guest meanwhile */
	struct kvmi_workload_result (*run)(const struct row *row, u64 n);
	/* Of the guest */
	enum kvmi_workload_op op;
	/* An operation is this many, of which one is shown; 0 for one */
	unsigned int per;
	/* Of the event, and what it takes to get it */
	u16 event;
	u16 control;
	u8 action;
	/* Or of the rule that decides it */
	u8 verdict;
	/* Of the command; the data can be what another command replies. */
	u16 cmd;
	u16 from;
	size_t size;
	union {
		u8 data[4104];
		struct kvmi_vcpu_control_cr cr;
		struct kvmi_vcpu_control_msr msr;
		struct kvmi_vm_read_physical memory;
	};
};

static struct kvmi_workload_result run_in_guest(const struct row *row, u64 n)
{
	vmm_start(VMM_RUN, row->op, n);
	return vmm_finish();
}

static struct kvmi_workload_result run_ping(const struct row *row, u64 n)
{
	u8 buf[PING_SIZE];
	u64 i;

	vmm_start(VMM_PING, OP_NONE, n);
	for (i = 0; i < n; i++) {
		TEST_ASSERT(recv(tool.ping, buf, PING_SIZE, 0) == PING_SIZE, "recv()");
		TEST_ASSERT(send(tool.ping, buf, PONG_SIZE, 0) == PONG_SIZE, "send()");
		tool.bytes += PING_SIZE + PONG_SIZE;
	}
	return vmm_finish();
}

static struct kvmi_workload_result run_event(const struct row *row, u64 n)
{
	u64 i;

	vmm_start(VMM_RUN, row->op, n);
	for (i = 0; i < n; i++)
		tool_reply(tool_wait_event(row->event), row->action);
	return vmm_finish();
}

/* Several events, which are of one size, may be there at once. */
static struct kvmi_workload_result run_events_at_once(const struct row *row, u64 n)
{
	const size_t size = offsetof(struct kvmi_event, cpuid) +
			    sizeof(struct kvmi_vcpu_event_cpuid);
	static struct kvmi_event ev;
	u64 i;

	vmm_start(VMM_RUN_ALL, row->op, n);
	for (i = 0; i < n * NR_VCPUS; i++) {
		TEST_ASSERT(recv(tool.session, &ev, size, MSG_WAITALL) == size, "recv()");
		TEST_ASSERT(ev.hdr.size == size - sizeof(ev.hdr) &&
			    ev.ev.event == row->event,
			    "Message %u, event %u", ev.hdr.id, ev.ev.event);
		tool.bytes += size;
		tool_reply(&ev, row->action);
	}
	return vmm_finish();
}

/*
 * The guest does not wait: several may be there at once, and those that the socket
 * has no room for get lost.
 */
static struct kvmi_workload_result run_notified(const struct row *row, u64 n)
{
	struct pollfd fds[] = {
		{ .fd = tool.session, .events = POLLIN },
		{ .fd = tool.ctl, .events = POLLIN },
	};
	static u8 buf[1 << 16];
	ssize_t size;

	vmm_start(VMM_RUN, row->op, n);
	do {
		TEST_ASSERT(poll(fds, ARRAY_SIZE(fds), -1) > 0, "poll()");
		do {
			size = recv(tool.session, buf, sizeof(buf), MSG_DONTWAIT);
			if (size > 0)
				tool.bytes += size;
		} while (size > 0);
	} while (!fds[1].revents);
	return vmm_finish();
}

/* One more PAUSE event for each that is answered */
static struct kvmi_workload_result run_pause(const struct row *row, u64 n)
{
	u64 i, start;

	tool_park();
	for (i = 0; i < n; i++) {
		start = rdtsc();
		tool_pause(row->cmd);
		tool_reply(&tool.pause, KVMI_EVENT_ACTION_ALLOW);
		tool.pause.hdr = tool_wait_event(KVMI_VCPU_EVENT_PAUSE)->hdr;
		tool.ticks[i] = rdtsc() - start;
	}
	return tool_unpark();
}

static void run_commands(const struct row *row, u64 n)
{
	static struct kvmi_msg cmd;
	u64 i, start;

	tool_fill_cmd(&cmd, row->cmd, row->data, row->size);
	for (i = 0; i < n; i++) {
		start = rdtsc();
		TEST_ASSERT(!tool_send_cmd(&cmd, NULL), "%s failed", row->name);
		tool.ticks[i] = rdtsc() - start;
	}
}

/* Commands that are sent together; each reply is as large as the first. */
static void run_batches(const struct row *row, u64 n)
{
	static u8 sent[BATCH * (sizeof(struct kvmi_msg_hdr) + 16)];
	static u8 replies[BATCH * 64];
	struct kvmi_msg_hdr *hdr = (void *)replies;
	const unsigned int batch = row->per;
	static struct kvmi_msg cmd;
	size_t size;
	u64 i, start;

	tool_fill_cmd(&cmd, row->cmd, row->data, row->size);
	size = sizeof(cmd.hdr) + cmd.hdr.size;
	TEST_ASSERT(size * batch <= sizeof(sent), "Commands are too large");
	for (i = 0; i < n; i++) {
		size_t got = 0, wanted = sizeof(*hdr);
		unsigned int j;

		start = rdtsc();
		for (j = 0; j < batch; j++) {
			cmd.hdr.seq = ++tool.seq;
			memcpy(sent + j * size, &cmd, size);
		}
		tool_send(sent, size * batch);
		while (got < wanted) {
			ssize_t r = recv(tool.session, replies + got,
					 sizeof(replies) - got, 0);

			TEST_ASSERT(r > 0, "recv() returned %zd", r);
			got += r;
			if (got >= sizeof(*hdr))
				wanted = batch * (sizeof(*hdr) + hdr->size);
		}
		tool.ticks[i] = rdtsc() - start;
		TEST_ASSERT(got == wanted, "%zu bytes instead of %zu", got, wanted);
		tool.bytes += got;
		for (j = 0; j < batch; j++) {
			hdr = (void *)(replies + j * (wanted / batch));
			TEST_ASSERT(hdr->id == row->cmd &&
				    hdr->seq == tool.seq - batch + 1 + j &&
				    !((struct kvmi_error_code *)(hdr + 1))->err,
				    "Reply %u is wrong", j);
		}
		hdr = (void *)replies;
	}
}

static struct kvmi_workload_result run_batch(const struct row *row, u64 n)
{
	tool_park();
	run_batches(row, n);
	return tool_unpark();
}

/* A vCPU in an event waits for commands. */
static struct kvmi_workload_result run_command(const struct row *row, u64 n)
{
	tool_park();
	run_commands(row, n);
	return tool_unpark();
}

/* One that is halted is woken, one that runs is made to leave the guest. */
static struct kvmi_workload_result run_command_outside(const struct row *row, u64 n)
{
	vmm_start(VMM_RUN, row->op, 1);
	run_commands(row, n);
	kill(tool.vmm, SIGUSR1);
	return vmm_finish();
}

#define FLOOR(_name, _op)							\
	{ .name = _name, .run = run_in_guest, .op = _op }
#define EVENT(_name, _op, _event, _action, ...)					\
	{ .name = _name, .run = run_event, .op = _op, .event = _event,		\
	  .action = KVMI_EVENT_ACTION_##_action, ##__VA_ARGS__ }
#define EVENT_CR(_cr)								\
	EVENT("CR, CR" #_cr, OP_CR##_cr, KVMI_VCPU_EVENT_CR, ALLOW,		\
	      .control = KVMI_VCPU_CONTROL_CR, .cr.cr = _cr)
#define RULE(_name, _run, _op, _event, _verdict, ...)				\
	{ .name = _name, .run = _run, .op = _op, .event = _event,		\
	  .verdict = KVMI_RULE_##_verdict, ##__VA_ARGS__ }
#define CMD(_id, ...)								\
	{ .name = #_id, .run = run_command, .cmd = KVMI_##_id, ##__VA_ARGS__ }

static const struct row guest_rows[] = {
	FLOOR("CPUID", OP_CPUID),
	FLOOR("hypercall", OP_HYPERCALL),
	FLOOR("write to CR0", OP_CR0),
	FLOOR("write to CR3", OP_CR3),
	FLOOR("write to CR4", OP_CR4),
	FLOOR("WRMSR", OP_MSR),
	FLOOR("INT3", OP_INT3),
	FLOOR("UD2", OP_UD2),
	FLOOR("XSETBV", OP_XSETBV),
	FLOOR("SGDT", OP_SGDT),
};

static const struct row ping_row = { .name = "ping-pong", .run = run_ping };

static struct row event_rows[] = {
	EVENT("CPUID", OP_CPUID, KVMI_VCPU_EVENT_CPUID, ALLOW),
	EVENT("HYPERCALL", OP_HYPERCALL, KVMI_VCPU_EVENT_HYPERCALL, ALLOW),
	EVENT_CR(0),
	EVENT_CR(3),
	EVENT_CR(4),
	EVENT("MSR", OP_MSR, KVMI_VCPU_EVENT_MSR, ALLOW,
	      .control = KVMI_VCPU_CONTROL_MSR, .msr.msr = MSR_LSTAR),
	EVENT("BREAKPOINT, SKIP", OP_INT3, KVMI_VCPU_EVENT_BREAKPOINT, SKIP),
	EVENT("TRAP, #UD", OP_UD2, KVMI_VCPU_EVENT_TRAP, ALLOW),
	EVENT("XSETBV", OP_XSETBV, KVMI_VCPU_EVENT_XSETBV, ALLOW),
	EVENT("DESCRIPTOR, SGDT", OP_SGDT, KVMI_VCPU_EVENT_DESCRIPTOR, ALLOW),
	EVENT("DESCRIPTOR, SKIP", OP_SGDT, KVMI_VCPU_EVENT_DESCRIPTOR, SKIP),
	{ .name = "PAUSE, with VM_PAUSE_VCPU", .run = run_pause,
	  .cmd = KVMI_VM_PAUSE_VCPU },
	{ .name = "PAUSE, with VM_PAUSE_ALL", .run = run_pause,
	  .cmd = KVMI_VM_PAUSE_ALL },
};

static struct row rule_rows[] = {
	RULE("CPUID, ALLOW", run_in_guest, OP_CPUID, KVMI_VCPU_EVENT_CPUID, ALLOW),
	RULE("CR3, ALLOW", run_in_guest, OP_CR3, KVMI_VCPU_EVENT_CR, ALLOW,
	     .control = KVMI_VCPU_CONTROL_CR, .cr.cr = 3),
	RULE("MSR, ALLOW", run_in_guest, OP_MSR, KVMI_VCPU_EVENT_MSR, ALLOW,
	     .control = KVMI_VCPU_CONTROL_MSR, .msr.msr = MSR_LSTAR),
	RULE("HYPERCALL, ALLOW", run_in_guest, OP_HYPERCALL, KVMI_VCPU_EVENT_HYPERCALL,
	     ALLOW),
	RULE("TRAP, #UD, ALLOW", run_in_guest, OP_UD2, KVMI_VCPU_EVENT_TRAP, ALLOW),
	RULE("CPUID, NOTIFY", run_notified, OP_CPUID, KVMI_VCPU_EVENT_CPUID, NOTIFY),
	RULE("CR3, NOTIFY", run_notified, OP_CR3, KVMI_VCPU_EVENT_CR, NOTIFY,
	     .control = KVMI_VCPU_CONTROL_CR, .cr.cr = 3),
};

static struct row command_rows[] = {
	CMD(GET_VERSION),
	CMD(VM_CHECK_COMMAND, .size = sizeof(struct kvmi_vm_check_command),
	    .data = { KVMI_GET_VERSION }),
	CMD(VM_CHECK_EVENT, .size = sizeof(struct kvmi_vm_check_event),
	    .data = { KVMI_VCPU_EVENT_PAUSE }),
	CMD(VM_GET_INFO),
	CMD(VM_GET_FEATURES),
	CMD(VM_GET_MAX_GFN),
	CMD(VM_GET_MEMSLOTS, .size = sizeof(struct kvmi_vm_get_memslots)),
	CMD(VM_CONTROL_EVENTS, .size = sizeof(struct kvmi_vm_control_events),
	    .data = { KVMI_VM_EVENT_UNHOOK }),
	CMD(VM_CONTROL_CLEANUP, .size = sizeof(struct kvmi_vm_control_cleanup)),
	CMD(VM_READ_PHYSICAL, .name = "VM_READ_PHYSICAL, 8 B",
	    .size = sizeof(struct kvmi_vm_read_physical),
	    .memory = { .gpa = PAGE_GPA, .size = 8 }),
	CMD(VM_READ_PHYSICAL, .name = "VM_READ_PHYSICAL, 4096 B",
	    .size = sizeof(struct kvmi_vm_read_physical),
	    .memory = { .gpa = PAGE_GPA, .size = 4096 }),
	CMD(VM_WRITE_PHYSICAL, .name = "VM_WRITE_PHYSICAL, 8 B",
	    .size = sizeof(struct kvmi_vm_write_physical) + 8,
	    .memory = { .gpa = PAGE_GPA, .size = 8 }),
	CMD(VM_WRITE_PHYSICAL, .name = "VM_WRITE_PHYSICAL, 2048 B",
	    .size = sizeof(struct kvmi_vm_write_physical) + 2048,
	    .memory = { .gpa = PAGE_GPA, .size = 2048 }),
	CMD(GET_VERSION, .name = "GET_VERSION, one of 64", .run = run_batch,
	    .per = BATCH),
	CMD(VM_READ_PHYSICAL, .name = "VM_READ_PHYSICAL, one of 64", .run = run_batch,
	    .size = sizeof(struct kvmi_vm_read_physical),
	    .memory = { .gpa = PAGE_GPA, .size = 8 }, .per = BATCH),
	CMD(VCPU_GET_INFO),
	CMD(VCPU_GET_INFO, .name = "VCPU_GET_INFO, one of 32", .run = run_batch,
	    .per = VCPU_BATCH),
	CMD(VCPU_GET_INFO, .name = "VCPU_GET_INFO, halted vCPU",
	    .run = run_command_outside, .op = OP_HLT),
	CMD(VCPU_GET_INFO, .name = "VCPU_GET_INFO, running vCPU",
	    .run = run_command_outside, .op = OP_SPIN),
	CMD(VCPU_GET_REGISTERS, .size = sizeof(struct kvmi_vcpu_get_registers)),
	CMD(VCPU_SET_REGISTERS, .from = KVMI_VCPU_EVENT,
	    .size = sizeof(struct kvm_regs)),
	CMD(VCPU_GET_CPUID, .size = sizeof(struct kvmi_vcpu_get_cpuid)),
	CMD(VCPU_GET_XCR, .size = sizeof(struct kvmi_vcpu_get_xcr)),
	CMD(VCPU_GET_XSAVE),
	CMD(VCPU_SET_XSAVE, .from = KVMI_VCPU_GET_XSAVE, .size = KVMI_XSAVE_SIZE),
	CMD(VCPU_GET_XSAVE2, .name = "VCPU_GET_XSAVE2, 512 B",
	    .size = sizeof(struct kvmi_vcpu_get_xsave2), .data = { [5] = 2 }),
	CMD(VCPU_GET_DEBUGREGS),
	CMD(VCPU_SET_DEBUGREGS, .from = KVMI_VCPU_GET_DEBUGREGS,
	    .size = sizeof(struct kvmi_vcpu_debugregs)),
	CMD(VCPU_GET_MTRR_TYPE, .size = sizeof(struct kvmi_vcpu_get_mtrr_type)),
	CMD(VCPU_TRANSLATE_GVA, .size = sizeof(struct kvmi_vcpu_translate_gva)),
	CMD(VCPU_CONTROL_EVENTS, .size = sizeof(struct kvmi_vcpu_control_events),
	    .data = { KVMI_VCPU_EVENT_PAUSE }),
	CMD(VCPU_CONTROL_EVENT_SET,
	    .size = sizeof(struct kvmi_vcpu_control_event_set)),
	CMD(VCPU_CONTROL_CR, .size = sizeof(struct kvmi_vcpu_control_cr),
	    .cr.cr = 3),
	CMD(VCPU_CONTROL_MSR, .size = sizeof(struct kvmi_vcpu_control_msr),
	    .msr.msr = MSR_LSTAR),
};

static const struct row at_once_row =
	EVENT("CPUID, 4 vCPUs at once", OP_CPUID, KVMI_VCPU_EVENT_CPUID, ALLOW,
	      .run = run_events_at_once, .per = NR_VCPUS);

/* Rows to measure: those with this in their name, or NULL for all */
static const char *only;

static bool tracing;

/* Ticks of the floors */
static u64 exit_ticks[NR_OPS], ping_ticks;

/*
 * What the tool is asked about costs an exit and a ping-pong at least, what a rule
 * decides an exit.  At most so many times that
 */
#define BAR	1.25

/* Every row is measured twice, as this many operations and as double that. */
struct sample {
	u64 bytes;
	struct kvmi_workload_result vmm;
	struct kvmi_trace_counts trace;
};

static void sample(const struct row *row, u64 n, struct sample *s)
{
	memset(s, 0, sizeof(*s));
	tool.bytes = 0;
	if (tracing)
		kvmi_trace_start();
	s->vmm = row->run(row, n);
	if (tracing)
		kvmi_trace_stop(&s->trace);
	s->bytes = tool.bytes;
}

static void print_count(u64 one, u64 two, u64 n, bool known)
{
	if (known)
		printf(" %8.2f", ((double)two - (double)one) / n);
	else
		printf(" %8s", "-");
}

/* How many times its floor a row costs; 0 without one, e.g. without an exit */
static double of_floor(const struct row *row, u64 ticks)
{
	u64 floor = exit_ticks[row->op];

	if (only)
		return 0;
	/* Not every exit is one without the event. */
	if (!row->event || row->op == OP_CR3 || row->op == OP_INT3 ||
	    row->op == OP_SGDT || row->verdict == KVMI_RULE_NOTIFY || row->per)
		return 0;
	if (!row->verdict)
		floor += ping_ticks;

	return (double)ticks / floor;
}

static void print_bar(const struct row *row, u64 ticks)
{
	double ratio = of_floor(row, ticks);

	if (ratio)
		printf("  %.3f of the floor%s", ratio,
		       ratio <= BAR ? "" : ", which is more than 1.25");
}

static void print_row(const struct row *row, u64 n)
{
	static struct sample one, two;
	struct kvmi_workload_result rpl;
	u64 ticks, before;
	int i;

	if (only && !strstr(row->name, only))
		return;

	/* Without tracing, which takes time; and to have the memory mapped */
	rpl = row->run(row, 2 * n);
	ticks = rpl.ticks;
	if (row->run == run_command || row->run == run_command_outside ||
	    row->run == run_pause || row->run == run_batch)
		ticks = kvmi_workload_quartile(tool.ticks, 2 * n);

	ticks /= row->run == run_batch ? row->per : 1;

	sample(row, n, &one);
	sample(row, 2 * n, &two);

	n *= row->per ?: 1;

	printf("%-28s %8lu", row->name, ticks);
	print_count(one.vmm.exits, two.vmm.exits, n, true);
	print_count(kvmi_trace_sum(one.trace.switches),
		    kvmi_trace_sum(two.trace.switches), n, tracing);
	print_count(kvmi_trace_sum(one.trace.wakeups),
		    kvmi_trace_sum(two.trace.wakeups), n, tracing);
	print_count(one.trace.syscalls[0], two.trace.syscalls[0], n, tracing);
	print_count(one.bytes, two.bytes, n, true);
	print_count(one.trace.socket_allocs, two.trace.socket_allocs, n, tracing);
	print_count(kvmi_trace_sum(one.trace.other_allocs),
		    kvmi_trace_sum(two.trace.other_allocs), n, tracing);

	if (row->run == run_in_guest && !row->event && !exit_ticks[row->op])
		exit_ticks[row->op] = ticks;
	else if (row->run == run_ping)
		ping_ticks = ticks;
	print_bar(row, ticks);

	/* Where the latter are made */
	for (i = 0; i < two.trace.nr_sites; i++) {
		before = kvmi_trace_site(&one.trace, two.trace.sites[i].name);
		if (two.trace.sites[i].count >= before + n / 2)
			printf(" %s", two.trace.sites[i].name);
	}
	printf("\n");
}

static void print_title(const char *title)
{
	printf("\n%-28s %8s %8s %8s %8s %8s %8s %8s %8s\n", title, "ticks",
	       "exits", "switches", "wakeups", "syscalls", "bytes", "skbs",
	       "allocs");
}

static void print_guest_rows(const char *title, u64 n)
{
	int i;

	print_title(title);
	for (i = 0; i < ARRAY_SIZE(guest_rows); i++)
		print_row(&guest_rows[i], n);
}

/* Turn the event of a row on or off. */
static void control(const struct row *row, u8 enable)
{
	struct kvmi_vcpu_control_events req = {
		.event_id = row->event,
		.enable = enable,
	};
	struct kvmi_vcpu_control_msr msr = row->msr;
	struct kvmi_vcpu_control_cr cr = row->cr;
	int r = 0;

	msr.enable = enable;
	cr.enable = enable;
	tool_park();
	if (row->control == KVMI_VCPU_CONTROL_CR)
		r = tool_cmd(row->control, &cr, sizeof(cr));
	else if (row->control == KVMI_VCPU_CONTROL_MSR)
		r = tool_cmd(row->control, &msr, sizeof(msr));
	TEST_ASSERT(!r, "%s: error %d", row->name, r);
	r = tool_cmd(KVMI_VCPU_CONTROL_EVENTS, &req, sizeof(req));
	TEST_ASSERT(!r, "%s: error %d", row->name, r);
	tool_unpark();
}

static bool supported(u16 check, u16 id)
{
	struct kvmi_vm_check_event req = { .id = id };

	return !tool_cmd(check, &req, sizeof(req));
}

/* Some processors, or emulators of them, lack an intercept. */
static bool event_comes(const struct row *row)
{
	struct pollfd fds[] = {
		{ .fd = tool.session, .events = POLLIN },
		{ .fd = tool.ctl, .events = POLLIN },
	};
	bool comes;

	if (!row->event)
		return true;
	/* Twice, so that registers have the value again that they had */
	vmm_start(VMM_RUN, row->op, 2);
	TEST_ASSERT(poll(fds, ARRAY_SIZE(fds), -1) > 0, "poll()");
	comes = fds[0].revents;
	if (comes) {
		tool_reply(tool_wait_event(row->event), row->action);
		tool_reply(tool_wait_event(row->event), row->action);
	}
	vmm_finish();
	return comes;
}

static void print_event_rows(u64 n)
{
	int i;

	print_title("event and its answer");
	for (i = 0; i < ARRAY_SIZE(event_rows); i++) {
		struct row *row = &event_rows[i];

		if (row->cmd ? !supported(KVMI_VM_CHECK_COMMAND, row->cmd) :
			       !supported(KVMI_VM_CHECK_EVENT, row->event)) {
			printf("%-28s not in this kernel\n", row->name);
			continue;
		}
		if (row->event)
			control(row, 1);
		if (event_comes(row))
			print_row(row, n);
		else
			printf("%-28s not intercepted here\n", row->name);
		if (row->event)
			control(row, 0);
	}
}

static void set_rule(const struct row *row, u16 count)
{
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rule;
	} req = {
		.hdr = { .event = row->event, .count = count },
		.rule.verdict = row->verdict,
	};
	int r;

	r = tool_cmd(KVMI_VM_SET_RULES, &req, sizeof(req.hdr) + count * sizeof(req.rule));
	TEST_ASSERT(!r, "%s: error %d", row->name, r);
}

static void print_rule_rows(u64 n)
{
	int i;

	print_title("event decided by a rule");
	for (i = 0; i < ARRAY_SIZE(rule_rows); i++) {
		struct row *row = &rule_rows[i];

		set_rule(row, 1);
		control(row, 1);
		print_row(row, n);
		control(row, 0);
		set_rule(row, 0);
	}
}

/* Give a command the data that it needs. */
static void prepare(struct row *row)
{
	static struct kvmi_msg cmd;
	const void *data;

	if (!row->from)
		return;
	tool_park();
	if (row->from == KVMI_VCPU_EVENT) {
		memcpy(row->data, &tool.pause.common.arch.regs, row->size);
	} else {
		tool_fill_cmd(&cmd, row->from, NULL, 0);
		TEST_ASSERT(!tool_send_cmd(&cmd, &data), "%s", row->name);
		memcpy(row->data, data, row->size);
	}
	tool_unpark();
}

static void print_command_rows(u64 n)
{
	int i;

	print_title("command and its reply");
	for (i = 0; i < ARRAY_SIZE(command_rows); i++) {
		struct row *row = &command_rows[i];

		if (!supported(KVMI_VM_CHECK_COMMAND, row->cmd)) {
			printf("%-28s not in this kernel\n", row->name);
			continue;
		}
		if (row->run == run_batch && tool.packets) {
			printf("%-28s not with such sockets\n", row->name);
			continue;
		}
		prepare(row);
		print_row(row, n);
	}
}

/* vCPUs that do not run process what is sent to them when they do. */
static void print_at_once_row(u64 n)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_control_events req;
	} cmd = {
		.hdr.id = KVMI_VCPU_CONTROL_EVENTS,
		.hdr.size = sizeof(cmd) - sizeof(cmd.hdr),
		.req.event_id = at_once_row.event,
		.req.enable = 1,
	};
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_error_code ec;
	} rpl;
	int i, replies = 0;

	for (i = 0; i < NR_VCPUS; i++) {
		cmd.hdr.seq = ++tool.seq;
		cmd.vcpu.vcpu = i;
		tool_send(&cmd, sizeof(cmd));
	}
	/* They may have run before the commands have got to them. */
	while (replies < NR_VCPUS) {
		vmm_start(VMM_RUN_ALL, OP_NONE, 0);
		vmm_finish();
		while (recv(tool.session, &rpl, sizeof(rpl), MSG_DONTWAIT) == sizeof(rpl)) {
			TEST_ASSERT(rpl.hdr.id == cmd.hdr.id && !rpl.ec.err,
				    "CONTROL_EVENTS");
			replies++;
		}
	}

	print_title("events at once, one of four");
	print_row(&at_once_row, n);
}

static void trace_again(void)
{
	pid_t threads[KVMI_TRACE_THREADS] = { getpid() };
	int nr = kvmi_trace_threads_of(tool.vmm, threads, 1);

	tracing = kvmi_trace_open(threads, nr);
}

static void bench(u64 n)
{
	trace_again();
	if (!tracing)
		printf("No tracefs: columns are missing\n");
	print_guest_rows("instruction, not hooked", n);
	print_title("socket");
	print_row(&ping_row, n);
	kvmi_trace_close();
	if (!kvm_has_cap(KVM_CAP_INTROSPECTION)) {
		printf("\nThere is no introspection here, or it is turned off\n");
		return;
	}

	/* The receiver is one more thread of the VMM. */
	vmm_start(VMM_HOOK, OP_NONE, 0);
	vmm_finish();
	trace_again();
	print_guest_rows("instruction, hooked", n);
	print_event_rows(n);
	print_rule_rows(n);
	print_command_rows(n);
	kvmi_trace_close();

	vmm_start(VMM_ADD_VCPUS, OP_NONE, 0);
	vmm_finish();
	trace_again();
	print_at_once_row(n);
	kvmi_trace_close();
}

int main(int argc, char *argv[])
{
	int ctl[2], session[2], ping[2];
	int type = SOCK_STREAM;
	u64 n = 100;
	int opt;

	while ((opt = getopt(argc, argv, "n:pt:w")) != -1) {
		switch (opt) {
		case 'n':
			n = atoi_positive("Number of operations", optarg);
			break;
		case 'p':
			type = SOCK_SEQPACKET;
			tool.packets = true;
			break;
		case 't':
			only = optarg;
			break;
		case 'w':
			tool.poll = true;
			break;
		default:
			printf("usage: %s [-n OPERATIONS] [-p] [-t TEXT] [-w]\n"
			       "  -p  sockets of type SOCK_SEQPACKET instead of SOCK_STREAM\n"
			       "  -t  only rows with TEXT in their name, compared with no floor\n"
			       "  -w  the tool waits with poll() before each recv()\n",
			       argv[0]);
			return 1;
		}
	}
	TEST_ASSERT(n >= 2 && n <= MAX_OPS, "From 2 to %u operations", MAX_OPS);
	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ctl) &&
		    !socketpair(AF_UNIX, type, 0, session) &&
		    !socketpair(AF_UNIX, type, 0, ping), "socketpair()");

	/* Before there is a VM: memory of a guest is not to be copied on write. */
	tool.vmm = fork();
	TEST_ASSERT(tool.vmm >= 0, "fork()");
	if (!tool.vmm) {
		close(ctl[1]);
		close(session[1]);
		close(ping[1]);
		vmm_main(ctl[0], session[0], ping[0]);
		return 0;
	}
	close(ctl[0]);
	close(session[0]);
	close(ping[0]);
	tool.ctl = ctl[1];
	tool.session = session[1];
	tool.ping = ping[1];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s sockets%s, %lu operations per row\n",
	       type == SOCK_STREAM ? "stream" : "seqpacket",
	       tool.poll ? " with poll()" : "", n);
	bench(n);
	return 0;
}
