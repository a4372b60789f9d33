// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of libkvmi: a client that makes the calls that LibVMI makes, in the order it
 * makes them, and those of other programs, against a pretended VM.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../compat/include/libkvmi.h"
#include "compat_vm.h"

#define RIP 0xffffffff81000000
#define NR_VCPUS 2
#define SOON 10000		/* nothing is to take as long */

static int failures, number;
static bool broken;
static char dir[64] = "/tmp/kvmi-test.XXXXXX", path[96], other[96];

#define CHECK(cond) check(cond, #cond, __LINE__)

static void check(bool cond, const char *text, int line)
{
	if (cond)
		return;
	printf("# compat.c:%d: %s (errno %d)\n", line, text, errno);
	broken = true;
}

/* ---- A tool as LibVMI is one ---- */
struct tool {
	pthread_mutex_t lock;
	pthread_cond_t connected;
	void *ctx, *dom;
	unsigned int vcpus, version, guests, handshakes;
	bool refuse_handshake, refuse_guest;
	struct vm *vm;
	struct kvmi_dom_event *paused[NR_VCPUS];
};

static int new_guest(void *dom, unsigned char (*uuid)[16], void *ctx)
{
	struct tool *t = ctx;

	CHECK((*uuid)[0] == 0x5a);
	CHECK(kvmi_connection_fd(dom) >= 0);
	CHECK(!kvmi_get_version(dom, &t->version));
	pthread_mutex_lock(&t->lock);
	t->guests++;
	if (t->refuse_guest) {
		pthread_cond_signal(&t->connected);
		pthread_mutex_unlock(&t->lock);
		return 1;
	}
	/* It has connected again */
	if (t->dom)
		kvmi_domain_close(t->dom, true);
	t->dom = dom;
	pthread_cond_signal(&t->connected);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static int handshake(const struct kvmi_qemu2introspector *qemu,
		     struct kvmi_introspector2qemu *answer, void *ctx)
{
	struct tool *t = ctx;
	bool refused;

	pthread_mutex_lock(&t->lock);
	t->handshakes++;
	refused = t->refuse_handshake;
	pthread_mutex_unlock(&t->lock);
	CHECK(qemu->struct_size == sizeof(*qemu) && qemu->uuid[15] == 0x5a);
	CHECK(qemu->start_time == 1000 && !strncmp(qemu->name, "vm", 2));
	CHECK(answer->struct_size == sizeof(*answer));
	memset(answer->cookie_hash, 0xee, sizeof(answer->cookie_hash));
	return refused;
}

static void refuse(struct tool *t, bool handshakes, bool guests)
{
	pthread_mutex_lock(&t->lock);
	t->refuse_handshake = handshakes;
	t->refuse_guest = guests;
	pthread_mutex_unlock(&t->lock);
}

static bool wait_for_guest(struct tool *t, unsigned int guests)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&t->lock);
	while (t->guests < guests && !err)
		err = pthread_cond_timedwait(&t->connected, &t->lock, &until);
	pthread_mutex_unlock(&t->lock);
	return !err;
}

static void tool_listen(struct tool *t, const char *socket)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->connected, NULL);
	t->ctx = kvmi_init_unix_socket(socket, new_guest, handshake, t);
	CHECK(t->ctx);
}

/* As it begins without events */
static void tool_begin(struct tool *t, const char *socket)
{
	bool spp = true, vmfunc = true, eptp = false, ve = true;
	unsigned long long end = 0;

	tool_listen(t, socket);
	t->vm = vm_connect(socket, "vm");
	CHECK(wait_for_guest(t, 1));
	CHECK(t->version == KVMI_VERSION && t->handshakes == 1);
	CHECK(!kvmi_spp_support(t->dom, &spp) && !spp);
	CHECK(!kvmi_vmfunc_support(t->dom, &vmfunc) && !vmfunc);
	CHECK(!kvmi_eptp_support(t->dom, &eptp) && eptp);
	CHECK(!kvmi_ve_support(t->dom, &ve) && !ve);
	CHECK(!kvmi_get_vcpu_count(t->dom, &t->vcpus) && t->vcpus == NR_VCPUS);
	CHECK(!kvmi_get_maximum_gfn(t->dom, &end) && end == 0x4000);
}

static const int events[] = {
	KVMI_EVENT_CR, KVMI_EVENT_MSR, KVMI_EVENT_PF, KVMI_EVENT_SINGLESTEP,
};

static void tool_events(struct tool *t, bool enable)
{
	unsigned int vcpu, i;

	for (vcpu = 0; vcpu < t->vcpus; vcpu++)
		for (i = 0; i < 4; i++)
			CHECK(!kvmi_control_events(t->dom, vcpu, events[i], enable));
}

static void tool_begin_events(struct tool *t, const char *socket)
{
	tool_begin(t, socket);
	tool_events(t, true);
}

static void tool_end(struct tool *t)
{
	if (t->dom)
		kvmi_domain_close(t->dom, true);
	kvmi_uninit(t->ctx);
	if (broken)
		vm_print(t->vm);
	vm_disconnect(t->vm);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->connected);
}

static struct kvmi_dom_event *next_event(struct tool *t)
{
	struct kvmi_dom_event *ev = NULL;

	if (kvmi_wait_event(t->dom, SOON) || kvmi_pop_event(t->dom, &ev))
		printf("# no event: %s\n", strerror(errno));
	return ev;
}

static bool is_event(const struct kvmi_dom_event *ev, int id, unsigned int vcpu)
{
	return ev && ev->event.common.event == id && ev->event.common.vcpu == vcpu &&
	       ev->event.common.size == sizeof(ev->event.common) && ev->seq;
}

/* Answers and frees */
static int reply(struct tool *t, struct kvmi_dom_event *ev, int action)
{
	struct {
		struct kvmi_vcpu_hdr hdr;
		struct kvmi_event_reply common;
	} rpl = { 0 };
	int ret;

	if (!ev)
		return -1;
	rpl.hdr.vcpu = ev->event.common.vcpu;
	rpl.common.event = ev->event.common.event;
	rpl.common.action = action;
	ret = kvmi_reply_event(t->dom, ev->seq, &rpl, sizeof(rpl));
	free(ev);
	return ret;
}

static void tool_pause(struct tool *t)
{
	unsigned int i;

	CHECK(!kvmi_pause_all_vcpus(t->dom, t->vcpus));
	for (i = 0; i < t->vcpus; i++) {
		struct kvmi_dom_event *ev = next_event(t);

		CHECK(ev && ev->event.common.event == KVMI_EVENT_PAUSE_VCPU);
		if (ev)
			t->paused[ev->event.common.vcpu] = ev;
	}
	CHECK(t->paused[0] && t->paused[1]);
}

static void tool_resume(struct tool *t)
{
	unsigned int i;

	for (i = 0; i < t->vcpus; i++) {
		CHECK(!reply(t, t->paused[i], KVMI_EVENT_ACTION_CONTINUE));
		t->paused[i] = NULL;
	}
}

/* ---- The whole of a session ---- */
static void test_session(void)
{
	struct tool t;
	struct stat st;

	tool_begin_events(&t, path);
	CHECK(!stat(path, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0777);
	CHECK(vm_saw(t.vm, "hash ee"));
	CHECK(vm_saw(t.vm, "event 1 PF on"));
	CHECK(vm_count(t.vm, "event 0 ACCESS on") == 1);
	tool_pause(&t);
	CHECK(vm_count(t.vm, "pause 0 wait") == 1 && vm_count(t.vm, "pause 1 wait") == 1);
	tool_resume(&t);
	CHECK(vm_saw(t.vm, "reply 0 PAUSE ALLOW") && vm_saw(t.vm, "reply 1 PAUSE ALLOW"));
	CHECK(kvmi_wait_event(t.dom, 0) == -1 && errno == ETIMEDOUT);
	CHECK(kvmi_wait_event(t.dom, 20) == -1 && errno == ETIMEDOUT);
	CHECK(kvmi_get_pending_events(t.dom) == 0);
	tool_events(&t, false);
	CHECK(vm_saw(t.vm, "event 1 SINGLESTEP off"));
	tool_end(&t);
	CHECK(stat(path, &st) && errno == ENOENT);
}

static void test_events(void)
{
	struct {
		struct kvmi_vcpu_hdr hdr;
		struct kvmi_event_reply common;
		__u64 value;
	} rpl = { 0 };
	struct kvmi_dom_event *ev;
	struct pollfd pfd = { .events = POLLIN };
	struct tool t;

	tool_begin_events(&t, path);
	CHECK(!kvmi_control_cr(t.dom, 0, 3, true) && vm_saw(t.vm, "cr 0 3 on"));
	CHECK(!kvmi_control_msr(t.dom, 1, 0xc0000082, true) && vm_saw(t.vm, "msr 1 0xc0000082 on"));
	CHECK(!kvmi_control_singlestep(t.dom, 1, true) && vm_saw(t.vm, "step 1 on"));
	pfd.fd = kvmi_connection_fd(t.dom);
	CHECK(poll(&pfd, 1, 0) == 0);
	vm_cr(t.vm, 1, 3, 0x7000, false);
	CHECK(poll(&pfd, 1, SOON) == 1);
	CHECK(!kvmi_wait_event(t.dom, SOON) && kvmi_get_pending_events(t.dom) == 1);
	CHECK(poll(&pfd, 1, 0) == 1);
	CHECK(!kvmi_pop_event(t.dom, &ev) && is_event(ev, KVMI_EVENT_CR, 1));
	CHECK(poll(&pfd, 1, 0) == 0);
	CHECK(ev->event.cr.cr == 3);
	CHECK(ev->event.cr.old_value == 1 && ev->event.cr.new_value == 0x7000);
	CHECK(ev->event.common.arch.mode == 8 && !ev->event.common.arch.padding1 &&
	      ev->event.common.arch.regs.rip == RIP && ev->event.common.arch.sregs.cr3 == 0x1001 &&
	      ev->event.common.arch.msrs.lstar == 0x1234);
	rpl.hdr.vcpu = 1;
	rpl.common.event = KVMI_EVENT_CR;
	rpl.value = 0x9000;
	/* What is no reply to it */
	CHECK(kvmi_reply_event(t.dom, ev->seq + 1, &rpl, sizeof(rpl)) && errno == EINVAL);
	CHECK(kvmi_reply_event(t.dom, ev->seq, &rpl, 15) && errno == EINVAL);
	rpl.hdr.vcpu = 0;
	CHECK(kvmi_reply_event(t.dom, ev->seq, &rpl, sizeof(rpl)) && errno == EINVAL);
	rpl.hdr.vcpu = 1;
	rpl.common.event = KVMI_EVENT_MSR;
	CHECK(kvmi_reply_event(t.dom, ev->seq, &rpl, sizeof(rpl)) && errno == EINVAL);
	rpl.common.event = KVMI_EVENT_CR;
	rpl.common.action = 3;
	CHECK(kvmi_reply_event(t.dom, ev->seq, &rpl, sizeof(rpl)) && errno == EINVAL);
	rpl.common.action = KVMI_EVENT_ACTION_CONTINUE;
	CHECK(!kvmi_reply_event(t.dom, ev->seq, &rpl, sizeof(rpl)));
	CHECK(vm_saw(t.vm, "reply 1 CR ALLOW 0x9000"));
	CHECK(kvmi_reply_event(t.dom, ev->seq, &rpl, sizeof(rpl)) && errno == EINVAL);
	free(ev);
	CHECK(kvmi_pop_event(t.dom, &ev) && errno == EAGAIN && !ev);
	/* Without the value it is the guest's */
	vm_cr(t.vm, 0, 4, 0x20, false);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 CR ALLOW 0x20\n"));
	vm_breakpoint(t.vm, 0);
	ev = next_event(&t);
	CHECK(is_event(ev, KVMI_EVENT_BREAKPOINT, 0) && ev->event.breakpoint.gpa == 0x3000 &&
	      ev->event.breakpoint.insn_len == 1);
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CRASH) && vm_saw(t.vm, "reply 0 BREAKPOINT CRASH"));
	/* One of the VM: only if it is wanted; it has no reply */
	vm_unhook(t.vm);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(!kvmi_control_vm_events(t.dom, KVMI_EVENT_UNHOOK, true));
	CHECK(kvmi_control_vm_events(t.dom, KVMI_EVENT_CR, true) && errno == EINVAL);
	CHECK(kvmi_control_events(t.dom, 0, KVMI_EVENT_UNHOOK, true) && errno == EINVAL);
	CHECK(kvmi_control_events(t.dom, 0, 12, true) && errno == EINVAL);
	CHECK(kvmi_control_events(t.dom, 7, KVMI_EVENT_CR, true) && errno == EINVAL);
	vm_unhook(t.vm);
	ev = next_event(&t);
	CHECK(is_event(ev, KVMI_EVENT_UNHOOK, 0));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	tool_end(&t);
}

/* ---- S1: vCPUs that do not run ---- */
static void test_unstarted(void)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	unsigned short view = 9;
	unsigned int mode;
	struct tool t;

	tool_begin(&t, path);
	vm_unstarted(t.vm, 1);
	tool_events(&t, true);
	CHECK(vm_saw(t.vm, "event 0 PF on") && vm_count(t.vm, "event 1") == 0);
	CHECK(vm_count(t.vm, "pause 1") == 1);
	CHECK(!kvmi_control_cr(t.dom, 1, 3, true) && !kvmi_control_msr(t.dom, 1, 0x10, true));
	CHECK(!kvmi_control_cr(t.dom, 1, 4, true) && !kvmi_control_cr(t.dom, 1, 4, false));
	CHECK(!kvmi_control_singlestep(t.dom, 1, true) && !kvmi_switch_ept_view(t.dom, 1, 2));
	CHECK(!kvmi_switch_ept_view(t.dom, 1, 3));
	CHECK(!kvmi_get_ept_view(t.dom, 1, &view) && view == 3);
	CHECK(kvmi_get_registers(t.dom, 1, &regs, &sregs, NULL, &mode) && errno == EAGAIN);
	/* One of each, the one made up */
	tool_pause(&t);
	CHECK(vm_count(t.vm, "pause 0 wait") == 1 && vm_count(t.vm, "pause 1") == 1);
	CHECK(t.paused[1]->event.common.arch.view == 3);
	tool_resume(&t);
	CHECK(vm_saw(t.vm, "reply 0 PAUSE ALLOW") && vm_count(t.vm, "reply 1") == 0);

	/* The guest starts it */
	vm_run(t.vm, 1);
	CHECK(kvmi_wait_event(t.dom, 100) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "event 1 CR on", "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "event 1 SINGLESTEP on", "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "cr 1 3 on", "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "cr 1 4 off", "reply 1 PAUSE ALLOW") && !vm_count(t.vm, "cr 1 4 on"));
	CHECK(vm_order(t.vm, "msr 1 0x10 on", "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "step 1 on", "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "view of 1 is 3", "reply 1 PAUSE ALLOW"));
	CHECK(!vm_count(t.vm, "view of 1 is 2"));
	/* And now it is like others */
	CHECK(!kvmi_get_registers(t.dom, 1, &regs, &sregs, NULL, &mode) && regs.rip == RIP);
	tool_pause(&t);
	CHECK(vm_count(t.vm, "pause 1 wait") == 1);
	tool_resume(&t);
	tool_end(&t);
}

/* It is started while it is paused, as far as the caller knows */
static void test_started_in_pause(void)
{
	struct tool t;

	tool_begin(&t, path);
	vm_unstarted(t.vm, 1);
	/* LibVMI without events: nothing was asked of the vCPU before */
	tool_pause(&t);
	vm_run(t.vm, 1);
	CHECK(kvmi_wait_event(t.dom, 100) && errno == ETIMEDOUT);
	CHECK(vm_count(t.vm, "reply 1") == 0);
	tool_resume(&t);
	CHECK(vm_saw(t.vm, "reply 1 PAUSE ALLOW"));
	tool_end(&t);
}

/* -S: no vCPU of the VM runs, and none answers */
static void test_stopped(void)
{
	struct tool t;

	tool_begin(&t, path);
	vm_stopped(t.vm, 0);
	vm_stopped(t.vm, 1);
	tool_events(&t, true);
	tool_pause(&t);
	tool_resume(&t);
	CHECK(vm_count(t.vm, "event") == 0);
	vm_run(t.vm, 0);
	vm_run(t.vm, 1);
	CHECK(kvmi_wait_event(t.dom, 100) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 PAUSE ALLOW") && vm_saw(t.vm, "reply 1 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "event 0 CR on", "reply 0 PAUSE ALLOW"));
	CHECK(vm_order(t.vm, "event 1 PF on", "reply 1 PAUSE ALLOW"));
	tool_end(&t);
}

/* ---- S2: CONTINUE that means RETRY ---- */
static void test_continue(void)
{
	struct kvm_regs regs = { .rip = RIP };
	struct kvmi_dom_event *ev;
	struct tool t;

	tool_begin_events(&t, path);
	/* To where it was is no change */
	vm_breakpoint(t.vm, 0);
	ev = next_event(&t);
	CHECK(!kvmi_set_registers(t.dom, 0, &regs));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 BREAKPOINT ALLOW"));
	vm_breakpoint(t.vm, 0);
	ev = next_event(&t);
	regs.rip = RIP + 1;
	CHECK(!kvmi_set_registers(t.dom, 0, &regs) && vm_saw(t.vm, "rip 0xffffffff81000001"));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 BREAKPOINT RETRY"));
	/* And that is over */
	vm_forget(t.vm);
	vm_breakpoint(t.vm, 0);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 BREAKPOINT ALLOW"));
	/* Not where there is no such thing */
	CHECK(!kvmi_pause_vcpu(t.dom, 0));
	ev = next_event(&t);
	CHECK(!kvmi_set_registers(t.dom, 0, &regs));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE) && vm_saw(t.vm, "reply 0 PAUSE ALLOW"));
	CHECK(!kvmi_pause_vcpu(t.dom, 1));
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_RETRY));
	CHECK(vm_saw(t.vm, "reply 1 PAUSE ALLOW"));
	vm_cr(t.vm, 0, 3, 0x5000, true);
	ev = next_event(&t);
	CHECK(!kvmi_set_registers(t.dom, 0, &regs));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 CR ALLOW 0x5000"));
	/* The view was switched in a page fault, and in something else */
	vm_pf(t.vm, 0, 0x1000, 0x1000, KVMI_PAGE_ACCESS_X, false);
	ev = next_event(&t);
	CHECK(!kvmi_switch_ept_view(t.dom, 0, 1));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE) && vm_saw(t.vm, "reply 0 PF RETRY"));
	vm_pf(t.vm, 0, 0x1000, 0x1000, KVMI_PAGE_ACCESS_X, false);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 PF ALLOW"));
	vm_forget(t.vm);
	vm_breakpoint(t.vm, 0);
	ev = next_event(&t);
	CHECK(!kvmi_switch_ept_view(t.dom, 0, 0));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 BREAKPOINT ALLOW"));
	tool_end(&t);
}

/* ---- S3: what an instruction reads instead ---- */
struct pf_reply {
	struct kvmi_vcpu_hdr hdr;
	struct kvmi_event_reply common;
	struct kvmi_event_pf_reply pf;
};

/* To be sent at once, or with a batch */
static void reply_context(struct tool *t, void *batch, struct kvmi_dom_event *ev, const char *text)
{
	struct pf_reply rpl = { 0 };

	if (!ev)
		return;
	rpl.hdr.vcpu = ev->event.common.vcpu;
	rpl.common.event = KVMI_EVENT_PF;
	rpl.pf.ctx_addr = ev->event.page_fault.gva;
	rpl.pf.ctx_size = strlen(text);
	memcpy(rpl.pf.ctx_data, text, strlen(text));
	if (batch)
		CHECK(!kvmi_queue_reply_event(batch, ev->seq, &rpl, sizeof(rpl)));
	else
		CHECK(!kvmi_reply_event(t->dom, ev->seq, &rpl, sizeof(rpl)));
	free(ev);
}

static void test_emulated_read(void)
{
	unsigned long long gpa = 0x5000;
	unsigned char access = KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X;
	struct kvmi_dom_event *ev;
	struct tool t;

	tool_begin_events(&t, path);
	CHECK(!kvmi_set_page_access(t.dom, &gpa, &access, 1, 0));
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	ev = next_event(&t);
	CHECK(is_event(ev, KVMI_EVENT_PF, 0) && ev->event.page_fault.gva == 0x7ff010 &&
	      ev->event.page_fault.gpa == 0x5010 &&
	      ev->event.page_fault.access == KVMI_PAGE_ACCESS_R);
	reply_context(&t, NULL, ev, "fake");
	CHECK(vm_saw(t.vm, "reply 0 PF ALLOW flags 1"));
	/* All of it, a part, more than there is, and elsewhere */
	vm_access(t.vm, 0, 0x7ff010, 0x5010, false, "true");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'fake'"));
	vm_access(t.vm, 0, 0x7ff00e, 0x500e, false, "true");
	vm_access(t.vm, 0, 0x7ff012, 0x5012, false, "truetrue");
	vm_access(t.vm, 0, 0x7ff014, 0x5014, false, "true");
	vm_access(t.vm, 0, 0x7ff010, 0x5010, true, "true");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'trfa'"));
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'keuetrue'"));
	CHECK(vm_count(t.vm, "reply 0 ACCESS ALLOW\n") == 2);
	/* That was said to one vCPU */
	vm_access(t.vm, 1, 0x7ff010, 0x5010, false, "true");
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 1 ACCESS ALLOW\n"));
	/* The next event is about another instruction */
	vm_breakpoint(t.vm, 0);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_RETRY));
	vm_forget(t.vm);
	vm_access(t.vm, 0, 0x7ff010, 0x5010, false, "true");
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
	/* One that KVM cannot emulate is not asked about for ever */
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	reply_context(&t, NULL, next_event(&t), "fake");
	vm_forget(t.vm);
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, true);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 PF ALLOW\n"));
	/* Hardware does not tell the virtual address, the emulator does */
	vm_pf(t.vm, 0, ~0ull, 0x5010, KVMI_PAGE_ACCESS_R, false);
	reply_context(&t, NULL, next_event(&t), "fake");
	vm_forget(t.vm);
	vm_access(t.vm, 0, 0x7ff00e, 0x500e, false, "true");
	vm_access(t.vm, 0, 0x7ff014, 0x5014, false, "true");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'trfa'"));
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
	/* Nothing to be read instead */
	vm_forget(t.vm);
	vm_pf(t.vm, 1, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	reply_context(&t, NULL, next_event(&t), "");
	CHECK(vm_saw(t.vm, "reply 1 PF ALLOW\n"));
	tool_end(&t);
}

static bool is_access(const struct kvmi_dom_event *ev, uint64_t gpa, unsigned int access)
{
	return is_event(ev, KVMI_EVENT_PF, 0) && ev->event.page_fault.gpa == gpa &&
	       ev->event.page_fault.gva == gpa + 0x7fa000 &&
	       ev->event.page_fault.access == access;
}

/* The caller is asked about each page that the instruction uses, however it is executed */
static void test_rest_of_instruction(void)
{
	unsigned long long gpa[] = { 0x5000, 0x6000, 0x7000 };
	unsigned char access[] = {
		KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X,
		0,
	};
	struct kvm_regs regs = { .rip = RIP + 1 };
	struct kvmi_dom_event *ev;
	struct tool t;
	void *batch;

	tool_begin_events(&t, path);
	CHECK(!kvmi_set_page_access(t.dom, gpa, access, 3, 0));
	/* MOVS from one page to another */
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	reply_context(&t, NULL, next_event(&t), "fake");
	vm_access(t.vm, 0, 0x7ff010, 0x5010, false, "true");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'fake'"));
	vm_access(t.vm, 0, 0x800010, 0x6010, true, "fake");
	ev = next_event(&t);
	CHECK(is_access(ev, 0x6010, KVMI_PAGE_ACCESS_W));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
	/* What was allowed is, for this instruction */
	vm_forget(t.vm);
	vm_access(t.vm, 0, 0x800018, 0x6018, true, "fake");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
	/* Reading the third page is another matter, and so is writing it */
	vm_access(t.vm, 0, 0x801010, 0x7010, false, "true");
	ev = next_event(&t);
	CHECK(is_access(ev, 0x7010, KVMI_PAGE_ACCESS_R));
	reply_context(&t, NULL, ev, "other");
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'othe'"));
	vm_access(t.vm, 0, 0x801014, 0x7014, false, "true");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'rrue'"));
	vm_access(t.vm, 0, 0x801010, 0x7010, true, "true");
	ev = next_event(&t);
	CHECK(is_access(ev, 0x7010, KVMI_PAGE_ACCESS_W));
	/* An instruction in the middle begins anew */
	vm_forget(t.vm);
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_RETRY) && vm_saw(t.vm, "reply 0 ACCESS RETRY\n"));
	/* It is to go on elsewhere, with RETRY and with CONTINUE */
	vm_forget(t.vm);
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	reply_context(&t, NULL, next_event(&t), "fake");
	vm_access(t.vm, 0, 0x800010, 0x6010, true, "fake");
	ev = next_event(&t);
	CHECK(!kvmi_set_registers(t.dom, 0, &regs));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_RETRY) && vm_saw(t.vm, "reply 0 ACCESS RETRY\n"));
	vm_forget(t.vm);
	vm_access(t.vm, 0, 0x801010, 0x7010, false, "true");
	ev = next_event(&t);
	CHECK(!kvmi_set_registers(t.dom, 0, &regs));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE) && vm_saw(t.vm, "ACCESS RETRY\n"));
	/* In a batch */
	vm_forget(t.vm);
	vm_access(t.vm, 0, 0x801010, 0x7010, false, "true");
	batch = kvmi_batch_alloc(t.dom);
	reply_context(&t, batch, next_event(&t), "batched");
	CHECK(!kvmi_batch_commit(batch) && vm_saw(t.vm, "reply 0 ACCESS ALLOW 'batc'"));
	kvmi_batch_free(batch);
	vm_access(t.vm, 0, 0x801010, 0x7010, true, "true");
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CRASH));
	CHECK(vm_saw(t.vm, "reply 0 ACCESS CRASH"));

	/* Who may write may read, in the same instruction */
	vm_forget(t.vm);
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_W, false);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 PF ALLOW flags 1"));
	vm_access(t.vm, 0, 0x7ff010, 0x5010, false, "true");
	ev = next_event(&t);
	CHECK(is_access(ev, 0x5010, KVMI_PAGE_ACCESS_R));
	reply_context(&t, NULL, ev, "fake");
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW 'fake'"));
	vm_access(t.vm, 0, 0x7ff010, 0x5010, true, "fakf");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
	/* KVM does not emulate it: it may have read */
	vm_forget(t.vm);
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_W, true);
	ev = next_event(&t);
	CHECK(is_access(ev, 0x5010, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W));
	reply_context(&t, NULL, ev, "fake");
	CHECK(vm_saw(t.vm, "reply 0 PF ALLOW\n"));
	tool_end(&t);

	/* Without ACCESS events nothing may be emulated, as nothing of it would be known */
	vm_no_access_events = true;
	tool_begin_events(&t, path);
	CHECK(!kvmi_set_page_access(t.dom, gpa, access, 3, 0));
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_W, false);
	ev = next_event(&t);
	CHECK(is_access(ev, 0x5010, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE) && vm_saw(t.vm, "reply 0 PF ALLOW\n"));
	vm_forget(t.vm);
	vm_pf(t.vm, 0, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	reply_context(&t, NULL, next_event(&t), "fake");
	CHECK(vm_saw(t.vm, "reply 0 PF ALLOW\n"));
	vm_no_access_events = false;
	tool_end(&t);
}

/* ---- S4: TRAP events ---- */
static void test_trap(void)
{
	struct kvmi_dom_event *ev;
	struct tool t;

	tool_begin_events(&t, path);
	CHECK(!kvmi_inject_exception(t.dom, 1, 0x99, 6, 14) && vm_saw(t.vm, "inject 1 vector 14"));
	vm_trap(t.vm, 1, 14);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 1 TRAP ALLOW"));
	CHECK(!kvmi_control_events(t.dom, 1, KVMI_EVENT_TRAP, true));
	vm_trap(t.vm, 1, 14);
	ev = next_event(&t);
	CHECK(is_event(ev, KVMI_EVENT_TRAP, 1) && ev->event.trap.vector == 14 &&
	      ev->event.trap.error_code == 6 && ev->event.trap.cr2 == 0x99);
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_RETRY) && vm_saw(t.vm, "reply 1 TRAP RETRY"));
	/* That of another vCPU is nobody's */
	vm_trap(t.vm, 0, 13);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 0 TRAP ALLOW"));
	CHECK(!kvmi_control_events(t.dom, 1, KVMI_EVENT_TRAP, false));
	vm_forget(t.vm);
	vm_trap(t.vm, 1, 13);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 1 TRAP ALLOW"));
	tool_end(&t);
}

/* ---- S5: views ---- */
static void test_views(void)
{
	unsigned short view = 0, in = 9;
	struct kvmi_dom_event *ev;
	unsigned int i;
	struct tool t;

	tool_begin_events(&t, path);
	CHECK(!kvmi_create_ept_view(t.dom, &view) && view == 1);
	for (i = 0; i < t.vcpus; i++)
		CHECK(!kvmi_change_gfn(t.dom, i, view, 0x10, 0x4001));
	CHECK(vm_saw(t.vm, "view 1 0x10 shows 0x4001"));
	for (i = 0; i < t.vcpus; i++)
		CHECK(!kvmi_switch_ept_view(t.dom, i, view));
	CHECK(!kvmi_get_ept_view(t.dom, 1, &in) && in == 1);
	vm_pf(t.vm, 1, 0x10000, 0x10000, KVMI_PAGE_ACCESS_W, false);
	ev = next_event(&t);
	CHECK(is_event(ev, KVMI_EVENT_PF, 1) && ev->event.common.arch.view == 1 &&
	      ev->event.page_fault.view == 1);
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE) && vm_saw(t.vm, "reply 1 PF ALLOW"));
	vm_breakpoint(t.vm, 0);
	ev = next_event(&t);
	CHECK(ev && ev->event.common.arch.view == 1);
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	for (i = 0; i < t.vcpus; i++) {
		CHECK(!kvmi_switch_ept_view(t.dom, i, 0));
		CHECK(!kvmi_change_gfn(t.dom, i, view, 0x10, ~0ull));
	}
	CHECK(vm_saw(t.vm, "view 1 0x10 shows 0x10\n"));
	CHECK(!kvmi_destroy_ept_view(t.dom, view) && vm_saw(t.vm, "destroy 1"));
	tool_end(&t);
}

/* ---- S6: threads ---- */
static void *waits(void *dom)
{
	int err = kvmi_wait_event(dom, -1);

	return (void *)(intptr_t)(err ? errno : 0);
}

static void test_threads(void)
{
	struct tool t;
	struct vm *second;
	unsigned char byte;
	pthread_t thread;
	void *old, *result;
	int i;

	tool_begin_events(&t, path);
	CHECK(!pthread_create(&thread, NULL, waits, t.dom));
	usleep(20000);
	for (i = 0; i < 100; i++)
		CHECK(!kvmi_read_physical(t.dom, i << 12, &byte, 1) && byte == i);
	vm_breakpoint(t.vm, 0);
	CHECK(!pthread_join(thread, &result) && !result);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));

	/* A PAUSE event that is made up by another thread ends the waiting too */
	vm_unstarted(t.vm, 1);
	CHECK(!pthread_create(&thread, NULL, waits, t.dom));
	usleep(20000);
	CHECK(!kvmi_pause_vcpu(t.dom, 1));
	CHECK(!pthread_join(thread, &result) && !result);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));

	/* The VM connects again while somebody waits for the old one's events */
	old = t.dom;
	CHECK(!pthread_create(&thread, NULL, waits, t.dom));
	usleep(20000);
	second = vm_connect(path, "vm2");
	CHECK(wait_for_guest(&t, 2));
	CHECK(!pthread_join(thread, &result) && (intptr_t)result == ENOTCONN);
	CHECK(t.dom != old && kvmi_read_physical(old, 0, &byte, 1) && errno == ENOTCONN);
	CHECK(!kvmi_read_physical(t.dom, 0x5000, &byte, 1) && byte == 5);
	CHECK(vm_saw(t.vm, "closed"));
	tool_end(&t);
	vm_disconnect(second);
}

static void test_two(void)
{
	char name[8] = "";
	struct tool a, b;

	tool_begin_events(&a, path);
	tool_begin_events(&b, other);
	CHECK(a.dom != b.dom);
	vm_breakpoint(b.vm, 1);
	CHECK(!reply(&b, next_event(&b), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(kvmi_wait_event(a.dom, 0) && errno == ETIMEDOUT);
	vm_breakpoint(a.vm, 0);
	CHECK(!reply(&a, next_event(&a), KVMI_EVENT_ACTION_CONTINUE));
	tool_end(&a);
	kvmi_domain_name(b.dom, name, 2);
	CHECK(!strcmp(name, "v"));
	CHECK(kvmi_domain_is_connected(b.dom));
	tool_end(&b);

	/* Again, by the same name, which the first is to lose */
	tool_listen(&a, path);
	tool_begin(&b, path);
	CHECK(a.guests == 0);
	kvmi_uninit(a.ctx);
	CHECK(!access(path, F_OK));
	tool_end(&b);
	CHECK(access(path, F_OK));
}

static void test_refusals(void)
{
	struct tool t;
	struct vm *vm;
	int status;
	pid_t child;
	FILE *file;

	tool_listen(&t, path);
	refuse(&t, true, false);
	vm = vm_connect(path, "vm");
	CHECK(vm_saw(vm, "closed") && t.handshakes == 1 && !t.guests);
	vm_disconnect(vm);
	refuse(&t, false, true);
	vm = vm_connect(path, "vm");
	CHECK(wait_for_guest(&t, 1) && vm_saw(vm, "closed") && !t.dom);
	vm_disconnect(vm);
	/* A child that was forked has the sockets, and no thread */
	child = fork();
	if (!child) {
		kvmi_close(t.ctx);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && !status);
	CHECK(!access(path, F_OK));
	refuse(&t, false, false);
	t.vm = vm_connect(path, "vm");
	CHECK(wait_for_guest(&t, 2));
	/* Closed by the VM */
	vm_disconnect(t.vm);
	CHECK(kvmi_wait_event(t.dom, SOON) && errno == ENOTCONN);
	CHECK(!kvmi_domain_is_connected(t.dom));
	CHECK(kvmi_get_vcpu_count(t.dom, &t.vcpus) && errno == ENOTCONN);
	CHECK(kvmi_pause_all_vcpus(t.dom, 1) && errno == ENOTCONN);
	kvmi_domain_close(t.dom, false);
	kvmi_close(t.ctx);
	kvmi_domain_close(NULL, true);
	kvmi_uninit(NULL);
	kvmi_close(NULL);

	CHECK(!kvmi_init_unix_socket("/nowhere/at/all", new_guest, NULL, NULL) && errno == ENOENT);
	CHECK(!kvmi_init_unix_socket(path, NULL, NULL, NULL) && errno == EINVAL);
	file = fopen(path, "w");
	fclose(file);
	CHECK(!kvmi_init_unix_socket(path, new_guest, NULL, NULL) && errno == EEXIST);
	unlink(path);
	errno = 0;
	CHECK(!kvmi_init_vsock(~0u, new_guest, NULL, NULL) && errno);
}

/* ---- The rest ---- */
static void test_access(void)
{
	unsigned long long gpa[] = { 0x5000, 0x6000, 0x7000, 0x8000 };
	unsigned char access[] = {
		KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X, KVMI_PAGE_ACCESS_X,
		KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X, KVMI_PAGE_ACCESS_W,
	};
	unsigned char left = 0, all = 7;
	unsigned short view;
	struct tool t;

	tool_begin_events(&t, path);
	CHECK(!kvmi_set_page_access(t.dom, gpa, access, 4, 0));
	CHECK(vm_saw(t.vm, "access 0 0x5000 4") && vm_saw(t.vm, "access 0 0x6000 4") &&
	      vm_saw(t.vm, "access 0 0x7000 5") && vm_saw(t.vm, "access 0 0x8000 0"));
	CHECK(!kvmi_get_page_access(t.dom, 0x5123, &left) && left == access[0]);
	CHECK(!kvmi_get_page_access(t.dom, 0x9000, &left) && left == 7);
	/* Reading is what was to be reported, writing is not */
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_W, false);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT && vm_saw(t.vm, "reply 0 PF ALLOW"));
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_R, false);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_RETRY));
	vm_pf(t.vm, 0, 0, 0x7008, KVMI_PAGE_ACCESS_W, false);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_RETRY));
	/* A new view begins as a copy, and its end is not that of the others */
	CHECK(!kvmi_create_ept_view(t.dom, &view) && !kvmi_switch_ept_view(t.dom, 0, view));
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_W, false);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(!kvmi_destroy_ept_view(t.dom, view));
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_W, false);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_RETRY));
	CHECK(!kvmi_switch_ept_view(t.dom, 0, 0));
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_W, false);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	/* No more */
	CHECK(!kvmi_set_page_access(t.dom, gpa, &all, 1, 0));
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_W, false);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_RETRY));
	CHECK(kvmi_set_page_access(t.dom, gpa, access, 0, 0) && errno == EINVAL);
	CHECK(kvmi_set_page_access(t.dom, gpa, access, 513, 0) && errno == EINVAL);
	tool_end(&t);

	/* Where a page can be executed it can be read */
	vm_no_exec_only = true;
	tool_begin_events(&t, path);
	CHECK(!kvmi_set_page_access(t.dom, gpa, access, 2, 0));
	CHECK(vm_saw(t.vm, "access 0 0x5000 0") && vm_saw(t.vm, "access 0 0x6000 0"));
	vm_pf(t.vm, 0, 0, 0x6008, KVMI_PAGE_ACCESS_X, false);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT && vm_saw(t.vm, "reply 0 PF ALLOW"));
	vm_no_exec_only = false;
	tool_end(&t);
}

static void test_state(void)
{
	struct {
		struct kvm_msrs msrs;
		struct kvm_msr_entry entries[7];
	} m = {
		.msrs = { .nmsrs = 7 },
		.entries = {
			{ 0x174 }, { 0x175 }, { 0x176 }, { 0xc0000080 }, { 0xc0000081 },
			{ 0xc0000082 }, { 0xc0000083 },
		},
	};
	unsigned char page[5000] = { 0 }, xsave[700] = { 1 }, type = 0;
	unsigned int eax, ebx, ecx, edx, mode = 0, i;
	unsigned long long speed = 0;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	__u64 value = 0;
	struct tool t;

	tool_begin(&t, path);
	CHECK(!kvmi_get_registers(t.dom, 1, &regs, &sregs, &m.msrs, &mode));
	CHECK(regs.rip == RIP && sregs.cr3 == 0x1001 && mode == 8);
	for (i = 0; i < 7; i++)
		CHECK(m.entries[i].data == m.entries[i].index + 1ull);
	CHECK(kvmi_get_registers(t.dom, 2, &regs, &sregs, NULL, &mode) && errno == EINVAL);
	m.msrs.nmsrs = 1000;
	CHECK(kvmi_get_registers(t.dom, 0, &regs, &sregs, &m.msrs, &mode) && errno == EINVAL);
	CHECK(!kvmi_read_physical(t.dom, 0x3f00, page, 5000) && page[0] == 3 && page[4999] == 5);
	CHECK(kvmi_read_physical(t.dom, 0x4000000, page, 1) && errno == ENOENT);
	CHECK(!kvmi_write_physical(t.dom, 0x3ff0, page, 32) && vm_saw(t.vm, "write 0x4000 16"));
	CHECK(!kvmi_get_tsc_speed(t.dom, &speed) && speed == 2000000000);
	CHECK(!kvmi_get_cpuid(t.dom, 0, 1, 0, &eax, &ebx, &ecx, &edx));
	CHECK(eax == 1 && ebx == 2 && ecx == 3 && edx == 4);
	CHECK(!kvmi_get_mtrr_type(t.dom, 0x1000, &type) && type == 6);
	CHECK(!kvmi_get_xcr(t.dom, 0, 0, &value) && value == 7);
	CHECK(!kvmi_get_xsave(t.dom, 0, xsave, 700) && xsave[599] == 0x77 && xsave[600] == 0);
	CHECK(!kvmi_set_xsave(t.dom, 0, xsave, 576) && vm_saw(t.vm, "xsave 0 576 bytes"));
	CHECK(!kvmi_translate_gva(t.dom, 0, 0x100, &value) && value == 0x5000);
	CHECK(!kvmi_translate_gva(t.dom, 0, 0x101, &value) && value == ~0ull);
	CHECK(kvmi_get_starttime(t.dom) == 1000000);
	CHECK(!kvmi_check_command(t.dom, KVMI_GET_REGISTERS));
	CHECK(kvmi_check_command(t.dom, KVMI_WRITE_PHYSICAL) && errno == EPERM);
	CHECK(kvmi_check_command(t.dom, KVMI_CONTROL_SPP) && errno == ENOENT);
	CHECK(!kvmi_check_event(t.dom, KVMI_EVENT_PF));
	CHECK(kvmi_check_event(t.dom, KVMI_EVENT_XSETBV) && errno == EPERM);
	CHECK(kvmi_check_event(t.dom, 99) && errno == ENOENT);
	CHECK(!kvmi_shutdown_guest(t.dom) && vm_saw(t.vm, "shutdown"));
	tool_end(&t);
}

static void test_pages(void)
{
	__u64 gfn = 0, first;
	struct tool t;

	tool_begin(&t, path);
	CHECK(!kvmi_get_next_available_gfn(t.dom, &first) && first == 0x4000);
	CHECK(!vm_count(t.vm, "access"));
	CHECK(!kvmi_alloc_gfn(t.dom, first));
	CHECK(vm_order(t.vm, "access 0 0x4000000 0\n", "write 0x4000000 4096\n"));
	CHECK(kvmi_alloc_gfn(t.dom, first) && errno == EBUSY);
	CHECK(!kvmi_get_next_available_gfn(t.dom, &gfn) && gfn == first + 1);
	CHECK(!kvmi_alloc_gfn(t.dom, first + 1) && !kvmi_alloc_gfn(t.dom, first + 2));
	CHECK(kvmi_get_next_available_gfn(t.dom, &gfn) && errno == ENOSPC);
	CHECK(!kvmi_change_gfn(t.dom, 0, 0, 5, first + 1));
	CHECK(kvmi_free_gfn(t.dom, first + 1) && errno == EBUSY);
	CHECK(!kvmi_change_gfn(t.dom, 0, 0, 5, ~0ull));
	CHECK(!kvmi_free_gfn(t.dom, first + 1) && vm_saw(t.vm, "access 0 0x4001000 7\n"));
	CHECK(kvmi_free_gfn(t.dom, first + 1) && errno == ENOENT);
	CHECK(!kvmi_get_next_available_gfn(t.dom, &gfn) && gfn == first + 1);
	CHECK(kvmi_alloc_gfn(t.dom, first + 3) && errno == EINVAL);
	CHECK(kvmi_alloc_gfn(t.dom, 5) && errno == EINVAL);
	tool_end(&t);
}

/* An instruction begins with a page fault, also if libkint answers that */
static void test_pages_and_others(void)
{
	unsigned long long gpa = 0x5000;
	unsigned char none = 0;
	struct tool t;
	__u64 first;
	int i;

	tool_begin_events(&t, path);
	CHECK(!kvmi_get_next_available_gfn(t.dom, &first) && !kvmi_alloc_gfn(t.dom, first));
	CHECK(!kvmi_set_page_access(t.dom, &gpa, &none, 1, 0));
	for (i = 0; i < 2; i++) {
		vm_pf(t.vm, 0, RIP, first << 12, KVMI_PAGE_ACCESS_W, false);
		vm_access(t.vm, 0, 0x15008, 0x5008, true, "1234");
		CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
		CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
		/* The same instruction: a part of it is not asked about again */
		vm_forget(t.vm);
		vm_access(t.vm, 0, 0x1500c, 0x500c, true, "5678");
		CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
		CHECK(vm_saw(t.vm, "reply 0 ACCESS ALLOW\n"));
		vm_forget(t.vm);
	}
	/* What it is to read instead is no matter of the next one's, either */
	for (i = 0; i < 2; i++) {
		vm_pf(t.vm, 0, RIP, first << 12, KVMI_PAGE_ACCESS_R, false);
		vm_access(t.vm, 0, 0x15008, 0x5008, false, "real");
		reply_context(&t, NULL, next_event(&t), i ? "more" : "word");
		CHECK(vm_saw(t.vm, i ? "reply 0 ACCESS ALLOW 'more'\n" :
			     "reply 0 ACCESS ALLOW 'word'\n"));
		vm_forget(t.vm);
	}
	tool_end(&t);
}

static void test_batch(void)
{
	struct {
		struct kvmi_vcpu_hdr hdr;
		struct kvmi_event_reply common;
	} rpl = { 0 };
	unsigned long long gpa[] = { 0x5000, 0x6000 };
	unsigned char access[] = { 6, 5 };
	struct kvm_regs regs = { .rip = RIP + 3 };
	struct kvmi_dom_event *ev;
	struct tool t;
	void *batch;

	tool_begin_events(&t, path);
	vm_breakpoint(t.vm, 1);
	ev = next_event(&t);
	batch = kvmi_batch_alloc(t.dom);
	CHECK(batch && ev);
	rpl.hdr.vcpu = 1;
	rpl.common.event = KVMI_EVENT_BREAKPOINT;
	CHECK(!kvmi_queue_page_access(batch, gpa, access, 2, 0));
	CHECK(!kvmi_queue_registers(batch, 1, &regs));
	CHECK(!kvmi_queue_reply_event(batch, ev->seq, &rpl, sizeof(rpl)));
	CHECK(kvmi_queue_spp_access(batch, NULL, NULL, 0, 0) && errno == ENOSYS);
	CHECK(kvmi_queue_page_access(batch, gpa, access, 0, 0) && errno == EINVAL);
	CHECK(vm_count(t.vm, "access") == 0);
	CHECK(!kvmi_batch_commit(batch));
	CHECK(vm_saw(t.vm, "reply 1 BREAKPOINT RETRY"));
	CHECK(vm_order(t.vm, "access 0 0x5000 4", "registers 1") &&
	      vm_order(t.vm, "registers 1", "reply 1 BREAKPOINT"));
	CHECK(kvmi_reply_event(t.dom, ev->seq, &rpl, sizeof(rpl)) && errno == EINVAL);
	vm_pf(t.vm, 0, 0, 0x5008, KVMI_PAGE_ACCESS_W, false);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(kvmi_queue_reply_event(batch, ev->seq, &rpl, sizeof(rpl)) == 0);
	CHECK(kvmi_batch_commit(batch) && errno == EINVAL);
	free(ev);
	/* All vCPUs, of which one does not run */
	vm_unstarted(t.vm, 0);
	CHECK(!kvmi_queue_pause_vcpu(batch, 0) && !kvmi_queue_pause_vcpu(batch, 1));
	CHECK(!kvmi_batch_commit(batch));
	ev = next_event(&t);
	CHECK(is_event(ev, KVMI_EVENT_PAUSE_VCPU, 0));
	rpl.hdr.vcpu = 0;
	rpl.common.event = KVMI_EVENT_PAUSE_VCPU;
	CHECK(ev && !kvmi_queue_reply_event(batch, ev->seq, &rpl, sizeof(rpl)) &&
	      !kvmi_batch_commit(batch));
	free(ev);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 1 PAUSE ALLOW"));
	CHECK(!kvmi_queue_pause_vcpu(batch, 9) && kvmi_batch_commit(batch) && errno == EINVAL);
	/* A command that fails does not make the reply behind it fail */
	vm_pf(t.vm, 1, 0x7ff010, 0x5010, KVMI_PAGE_ACCESS_R, false);
	CHECK(!kvmi_queue_registers(batch, 9, &regs));
	reply_context(&t, batch, next_event(&t), "fake");
	CHECK(kvmi_batch_commit(batch) && errno == EINVAL);
	CHECK(vm_saw(t.vm, "reply 1 PF ALLOW flags 1"));
	vm_access(t.vm, 1, 0x7ff010, 0x5010, false, "true");
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_saw(t.vm, "reply 1 ACCESS ALLOW 'fake'"));
	/* Registers that cannot be set are still where the event came from */
	vm_breakpoint(t.vm, 1);
	ev = next_event(&t);
	vm_unstarted(t.vm, 1);
	CHECK(!kvmi_queue_registers(batch, 1, &regs));
	CHECK(kvmi_batch_commit(batch) && errno == EAGAIN);
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_saw(t.vm, "reply 1 BREAKPOINT ALLOW"));
	vm_run(t.vm, 1);
	/* What is behind one that cannot be has not been sent, and is as it was */
	vm_breakpoint(t.vm, 1);
	ev = next_event(&t);
	vm_forget(t.vm);
	rpl.hdr.vcpu = 1;
	rpl.common.event = KVMI_EVENT_BREAKPOINT;
	CHECK(!kvmi_queue_page_access(batch, gpa, access, 2, 0));
	CHECK(!kvmi_queue_pause_vcpu(batch, 9));
	CHECK(ev && !kvmi_queue_reply_event(batch, ev->seq, &rpl, sizeof(rpl)));
	CHECK(kvmi_batch_commit(batch) && errno == EINVAL);
	CHECK(vm_saw(t.vm, "access 0 0x5000 4") && !vm_count(t.vm, "reply"));
	CHECK(!reply(&t, ev, KVMI_EVENT_ACTION_CONTINUE));
	kvmi_batch_free(batch);
	kvmi_batch_free(NULL);
	tool_end(&t);
}

/* A VM that was closed stays closed, whichever connects after it */
static void test_handles(void)
{
	unsigned int i;
	struct tool t;
	void *old;

	tool_begin(&t, path);
	for (i = 0; i < 8 && !broken; i++) {
		old = t.dom;
		kvmi_domain_close(old, true);
		t.dom = NULL;
		vm_disconnect(t.vm);
		t.vm = vm_connect(path, "vm");
		CHECK(wait_for_guest(&t, i + 2));
		CHECK(kvmi_domain_is_connected(t.dom));
		CHECK(t.dom != old && !kvmi_domain_is_connected(old) && errno == ENOTCONN);
	}
	tool_end(&t);
}

/* Whether a child that does this ends well, and ends */
static bool child(void (*body)(void))
{
	pid_t pid = fork(), ended = 0;
	int status = -1, i;

	if (!pid) {
		broken = false;
		body();
		_exit(broken);
	}
	for (i = 0; i < 500 && !ended; i++) {
		usleep(20000);
		ended = waitpid(pid, &status, WNOHANG);
	}
	if (!ended) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return ended == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

static void listen_without_files(void)
{
	struct tool t;

	close(0);
	tool_listen(&t, path);
	kvmi_uninit(t.ctx);
}

static void test_no_files(void)
{
	CHECK(child(listen_without_files));
}

/* ---- Functions of the caller's that end the thread that calls them ---- */
static struct {
	void *ctx;
	unsigned int handshakes, guests;	/* looked at when the thread has ended */
	bool in_handshake;
} ends;

static int end_in_handshake(const struct kvmi_qemu2introspector *qemu,
			    struct kvmi_introspector2qemu *answer, void *ctx)
{
	(void)qemu;
	(void)answer;
	(void)ctx;
	ends.handshakes++;
	if (ends.in_handshake)
		kvmi_uninit(ends.ctx);
	return 0;
}

static int end_in_guest(void *dom, unsigned char (*uuid)[16], void *ctx)
{
	(void)uuid;
	(void)ctx;
	ends.guests++;
	kvmi_domain_close(dom, true);
	kvmi_uninit(ends.ctx);
	return 1;
}

static void test_ends_itself(void)
{
	struct vm *vm;
	int i, waits;

	for (i = 0; i < 2; i++) {
		ends.in_handshake = i;
		ends.handshakes = 0;
		ends.guests = 0;
		ends.ctx = kvmi_init_unix_socket(path, end_in_guest, end_in_handshake, NULL);
		CHECK(ends.ctx);
		vm = vm_connect(path, "vm");
		for (waits = 0; waits < 500 && !access(path, F_OK); waits++)
			usleep(20000);
		vm_disconnect(vm);
		CHECK(access(path, F_OK) && errno == ENOENT);
		CHECK(ends.handshakes == 1 && ends.guests == !ends.in_handshake);
	}
}

/* Rules of another tool that cannot be taken back would decide what this one is to be asked */
static void test_rules(void)
{
	struct vm *vm;
	struct tool t;

	vm_rules_error = -ENOMEM;
	tool_listen(&t, path);
	vm = vm_connect(path, "vm");
	CHECK(vm_saw(vm, "closed"));
	vm_disconnect(vm);
	vm_rules_error = -1000;
	t.vm = vm_connect(path, "vm");
	CHECK(wait_for_guest(&t, 1));
	CHECK(t.handshakes == 2 && t.guests == 1);
	tool_end(&t);
}

/* Views of another tool, where nothing holds that this one does */
static void test_views_left(void)
{
	struct kvmi_dom_event *event;
	unsigned short view;
	struct tool t;

	vm_view_left = true;
	tool_listen(&t, path);
	t.vm = vm_connect(path, "vm");
	vm_view_left = false;
	CHECK(wait_for_guest(&t, 1));
	CHECK(vm_saw(t.vm, "view of 0 is 0\n") && vm_saw(t.vm, "view of 1 is 0\n"));
	CHECK(vm_saw(t.vm, "destroy 3\n"));
	/* What a vCPU has stopped for there is nothing to this one, nor to the guest */
	CHECK(vm_saw(t.vm, "reply 0 BREAKPOINT RETRY\n"));
	CHECK(kvmi_pop_event(t.dom, &event) < 0);
	/* Its number may be that of a view of the caller's */
	CHECK(!kvmi_create_ept_view(t.dom, &view) && !kvmi_create_ept_view(t.dom, &view));
	CHECK(!kvmi_create_ept_view(t.dom, &view) && view == 3);
	CHECK(!kvmi_switch_ept_view(t.dom, 0, view));
	vm_breakpoint(t.vm, 0);
	CHECK(!kvmi_wait_event(t.dom, 1000));
	tool_end(&t);
}

/* A vCPU that another tool steps gets no interrupts */
static void test_steps_left(void)
{
	struct tool t;

	tool_begin(&t, path);
	vm_singlestep(t.vm, 1);
	CHECK(kvmi_wait_event(t.dom, 50) && errno == ETIMEDOUT);
	CHECK(vm_order(t.vm, "step 1 off", "reply 1 SINGLESTEP ALLOW"));
	/* Of the caller's own */
	CHECK(!kvmi_control_singlestep(t.dom, 1, true));
	vm_forget(t.vm);
	vm_singlestep(t.vm, 1);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(!kvmi_control_singlestep(t.dom, 1, false));
	vm_singlestep(t.vm, 1);
	CHECK(!reply(&t, next_event(&t), KVMI_EVENT_ACTION_CONTINUE));
	CHECK(vm_count(t.vm, "step 1 off") == 1);
	tool_end(&t);
}

/* Events that nobody asked for, one after the other: no call goes on for ever for that */
static void test_storm(void)
{
	struct kvmi_dom_event *event;
	struct tool t;

	tool_begin(&t, path);
	vm_storm(t.vm, 2000);
	CHECK(kvmi_pop_event(t.dom, &event) && errno == EAGAIN);
	CHECK(vm_storm_answers(t.vm) < 50);
	CHECK(kvmi_wait_event(t.dom, 0) && errno == ETIMEDOUT);
	CHECK(vm_storm_answers(t.vm) < 100);
	/* All of them have their answers in the end */
	while (vm_storm_answers(t.vm) < 2000 && !broken)
		CHECK(kvmi_wait_event(t.dom, 100) && errno == ETIMEDOUT);
	tool_end(&t);
}

/* ---- A function for messages that calls back ---- */
static void *log_dom;
static int log_errno;

static void calling_log_cb(kvmi_log_level level, const char *s, void *ctx)
{
	unsigned int n;

	(void)level;
	(void)s;
	(void)ctx;
	if (kvmi_get_vcpu_count(log_dom, &n))
		log_errno = errno;
	kvmi_domain_close(log_dom, true);
}

static void log_calls(void)
{
	unsigned int n;
	struct tool t;

	tool_begin(&t, path);
	log_dom = t.dom;
	vm_unstarted(t.vm, 1);
	kvmi_set_log_cb(calling_log_cb, NULL);
	CHECK(!kvmi_control_events(t.dom, 1, KVMI_EVENT_CR, true));
	kvmi_set_log_cb(NULL, NULL);
	CHECK(log_errno == EDEADLK);
	CHECK(!kvmi_get_vcpu_count(t.dom, &n));
	tool_end(&t);
}

static void test_log_calls(void)
{
	CHECK(child(log_calls));
}

static unsigned int logged;

static void log_cb(kvmi_log_level level, const char *s, void *ctx)
{
	logged += ctx == &logged && *s && level <= KVMI_LOG_LEVEL_ERROR;
}

static void test_missing(void)
{
	bool flag = true;
	struct tool t;

	kvmi_set_log_cb(log_cb, &logged);
	tool_begin(&t, path);
	CHECK(logged);
	kvmi_set_log_cb(NULL, NULL);
	CHECK(kvmi_set_page_write_bitmap(t.dom, NULL, NULL, 0) && errno == ENOSYS);
	CHECK(kvmi_set_ve_info_page(t.dom, 0, 0) && errno == ENOSYS);
	CHECK(kvmi_disable_ve(t.dom, 0) && errno == ENOSYS);
	CHECK(kvmi_set_ept_page_conv(t.dom, 0, 0, true) && errno == ENOSYS);
	CHECK(kvmi_get_ept_page_conv(t.dom, 0, 0, &flag) && errno == ENOSYS);
	CHECK(kvmi_control_ept_view(t.dom, 0, 1, true) && errno == ENOSYS);
	CHECK(kvmi_memory_mapping(t.dom, true) && errno == ENOSYS);
	CHECK(kvmi_map_physical_page(t.dom, 0) == MAP_FAILED && errno == ENOSYS);
	CHECK(kvmi_unmap_physical_page(t.dom, NULL) && errno == ENOSYS);
	CHECK(!kvmi_remote_mapping_v2());
	tool_end(&t);
}

static void run(const char *name, void (*test)(void))
{
	broken = false;
	test();
	printf("%sok %d %s\n", broken ? "not " : "", ++number, name);
	failures += broken;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/socket", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	run("a session with events, a pause and its end", test_session);
	run("events and replies", test_events);
	run("S1: a vCPU that the guest has not started", test_unstarted);
	run("S1: a vCPU that is started in a pause", test_started_in_pause);
	run("S1: a VM that is stopped", test_stopped);
	run("S2: CONTINUE from somewhere else, and in another view", test_continue);
	run("S3: a read of something else", test_emulated_read);
	run("each page that an instruction uses", test_rest_of_instruction);
	run("S4: TRAP events that nobody asked for", test_trap);
	run("S5: the view of an event", test_views);
	run("S6: waiting, calling, connecting again", test_threads);
	run("two VMs in one process", test_two);
	run("refusals, the end of the VM, and what cannot be listened on", test_refusals);
	run("page access that goes together", test_access);
	run("state and memory", test_state);
	run("pages of the tool", test_pages);
	run("pages of the tool, and what the caller is asked about", test_pages_and_others);
	run("batches", test_batch);
	run("what there is not", test_missing);
	run("a VM that was closed stays closed", test_handles);
	run("a program without standard files", test_no_files);
	run("functions that end the listening", test_ends_itself);
	run("messages whose function calls back", test_log_calls);
	run("rules of another tool that cannot be taken back", test_rules);
	run("views of another tool", test_views_left);
	run("steps of another tool", test_steps_left);
	run("events that do not end", test_storm);
	if (rmdir(dir)) {
		printf("not ok %d nothing is left in the directory\n", ++number);
		failures++;
	}
	printf("1..%d\n", number);
	return failures != 0;
}
