// SPDX-License-Identifier: GPL-2.0-only
/*
 * A client of libkvmi that makes the calls that LibVMI makes, in the order it makes
 * them, for real guests.
 *
 *   vmiclient SOCKET|PORT WHAT [ADDRESS]
 *
 * "events" begins with events, on a guest that may be stopped or have vCPUs that are
 * not started, tells of writes to LSTAR until every vCPU has made one, and ends; "pause"
 * pauses and resumes; "hold" pauses and stays; "read" has the program whose word is
 * at ADDRESS read something else than there is; "view" switches the view in a page
 * fault; "inject" injects a page fault at ADDRESS; "twice" begins and ends twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../compat/include/libkvmi.h"

#define MAX_VCPUS 8
#define LSTAR 0xc0000082
#define CONNECT_SECONDS 60
#define EVENT_MS 100
#define GIVE_UP 600		/* events that do not come, one after the other */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t connected = PTHREAD_COND_INITIALIZER;
static void *ctx, *dom;
static unsigned int vcpus;
static struct kvmi_dom_event *paused[MAX_VCPUS];

static void die(const char *format, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, format);
	printf("failed: ");
	vprintf(format, ap);
	printf(": %s\n", strerror(err));
	exit(1);
}

static int new_guest(void *d, unsigned char (*uuid)[16], void *arg)
{
	unsigned int version;

	(void)uuid;
	(void)arg;
	kvmi_connection_fd(d);
	if (kvmi_get_version(d, &version))
		return 1;
	pthread_mutex_lock(&lock);
	if (dom)
		kvmi_domain_close(dom, true);
	dom = d;
	pthread_cond_signal(&connected);
	pthread_mutex_unlock(&lock);
	return 0;
}

static int handshake(const struct kvmi_qemu2introspector *qemu,
		     struct kvmi_introspector2qemu *answer, void *arg)
{
	(void)answer;
	(void)arg;
	printf("VM %s\n", qemu->name);
	return 0;
}

static void log_cb(kvmi_log_level level, const char *s, void *arg)
{
	(void)arg;
	if (level >= KVMI_LOG_LEVEL_INFO)
		printf("libkvmi: %s\n", s);
}

static void begin(const char *socket)
{
	bool spp, vmfunc, eptp, ve;
	unsigned long long end;
	struct timespec until;
	int err = 0;

	kvmi_set_log_cb(log_cb, NULL);
	pthread_mutex_lock(&lock);
	if (atoi(socket) > 0)
		ctx = kvmi_init_vsock(atoi(socket), new_guest, handshake, NULL);
	else
		ctx = kvmi_init_unix_socket(socket, new_guest, handshake, NULL);
	if (!ctx)
		die("listening");
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CONNECT_SECONDS;
	while (!dom && !err)
		err = pthread_cond_timedwait(&connected, &lock, &until);
	pthread_mutex_unlock(&lock);
	errno = err;
	if (err)
		die("no VM");
	if (kvmi_spp_support(dom, &spp) || kvmi_vmfunc_support(dom, &vmfunc) ||
	    kvmi_eptp_support(dom, &eptp) || kvmi_ve_support(dom, &ve))
		die("features");
	if (kvmi_get_vcpu_count(dom, &vcpus) || vcpus > MAX_VCPUS)
		die("vCPUs");
	if (kvmi_get_maximum_gfn(dom, &end))
		die("memory");
	printf("%u vCPUs, memory up to %#llx, views: %s\n", vcpus, end << 12, eptp ? "yes" : "no");
}

static const int events[] = {
	KVMI_EVENT_CR, KVMI_EVENT_MSR, KVMI_EVENT_PF, KVMI_EVENT_SINGLESTEP,
};

static void control_events(bool enable)
{
	unsigned int vcpu, i;

	for (vcpu = 0; vcpu < vcpus; vcpu++)
		for (i = 0; i < sizeof(events) / sizeof(events[0]); i++)
			if (kvmi_control_events(dom, vcpu, events[i], enable))
				die("event %d of vCPU %u", events[i], vcpu);
}

static void finish(void)
{
	kvmi_domain_close(dom, true);
	dom = NULL;
	kvmi_uninit(ctx);
	printf("end\n");
}

/* NULL if none comes in time */
static struct kvmi_dom_event *next_event(int ms)
{
	struct kvmi_dom_event *ev;

	if (kvmi_wait_event(dom, ms)) {
		if (errno == ETIMEDOUT)
			return NULL;
		die("waiting for an event");
	}
	if (kvmi_pop_event(dom, &ev))
		die("taking an event");
	return ev;
}

/* With as much of the reply as the event has */
static void reply(struct kvmi_dom_event *ev, const void *data, size_t size)
{
	struct {
		struct kvmi_vcpu_hdr hdr;
		struct kvmi_event_reply common;
		unsigned char data[sizeof(struct kvmi_event_pf_reply)];
	} rpl = { 0 };

	rpl.hdr.vcpu = ev->event.common.vcpu;
	rpl.common.event = ev->event.common.event;
	rpl.common.action = KVMI_EVENT_ACTION_CONTINUE;
	memcpy(rpl.data, data, size);
	if (kvmi_reply_event(dom, ev->seq, &rpl,
			     sizeof(rpl.hdr) + sizeof(rpl.common) + size))
		die("reply to event %u", ev->event.common.event);
	free(ev);
}

static void reply_continue(struct kvmi_dom_event *ev)
{
	reply(ev, "", 0);
}

static void pause_vm(void)
{
	unsigned int vcpu, left = vcpus;
	struct kvmi_dom_event *ev;

	if (kvmi_pause_all_vcpus(dom, vcpus))
		die("pause");
	while (left) {
		ev = next_event(10000);
		if (!ev)
			die("no PAUSE event");
		vcpu = ev->event.common.vcpu;
		if (ev->event.common.event != KVMI_EVENT_PAUSE_VCPU || paused[vcpu])
			die("event %u in a pause", ev->event.common.event);
		paused[vcpu] = ev;
		left--;
		printf("vCPU %u paused at %#llx\n", vcpu,
		       (unsigned long long)ev->event.common.arch.regs.rip);
	}
}

static void resume_vm(void)
{
	unsigned int vcpu;

	for (vcpu = 0; vcpu < vcpus; vcpu++) {
		reply_continue(paused[vcpu]);
		paused[vcpu] = NULL;
	}
	printf("resumed\n");
}

static void msr_events(void)
{
	unsigned int vcpu, left = vcpus, tries = 0;
	bool seen[MAX_VCPUS] = { false };
	struct kvmi_event_msr_reply value;
	struct kvmi_dom_event *ev;

	pause_vm();
	for (vcpu = 0; vcpu < vcpus; vcpu++)
		if (kvmi_control_msr(dom, vcpu, LSTAR, true))
			die("LSTAR of vCPU %u", vcpu);
	resume_vm();
	while (left && tries < GIVE_UP) {
		ev = next_event(EVENT_MS);
		if (!ev) {
			tries++;
			continue;
		}
		if (ev->event.common.event != KVMI_EVENT_MSR)
			die("event %u", ev->event.common.event);
		vcpu = ev->event.common.vcpu;
		printf("vCPU %u writes %#llx to LSTAR\n", vcpu,
		       (unsigned long long)ev->event.msr.new_value);
		value.new_val = ev->event.msr.new_value;
		reply(ev, &value, sizeof(value));
		left -= !seen[vcpu];
		seen[vcpu] = true;
	}
	for (vcpu = 0; vcpu < vcpus; vcpu++)
		if (kvmi_control_msr(dom, vcpu, LSTAR, false))
			die("LSTAR of vCPU %u", vcpu);
	printf("%u vCPUs have not written\n", left);
}

/* Where the word is in memory: in the page tables of a vCPU that runs the program */
static uint64_t find_word(uint64_t gva)
{
	unsigned int i;
	char text[8];
	__u64 gpa;

	for (i = 0; i < GIVE_UP; i++) {
		if (!kvmi_translate_gva(dom, i % vcpus, gva, &gpa) && gpa != ~0ull &&
		    !kvmi_read_physical(dom, gpa, text, 8) && !memcmp(text, "KVMI-old", 8))
			return gpa;
		usleep(20000);
	}
	die("no such word");
	return 0;
}

static void set_access(uint64_t gpa, unsigned char access, unsigned short view)
{
	unsigned long long address = gpa;

	if (kvmi_set_page_access(dom, &address, &access, 1, view))
		die("access %u to %#" PRIx64, access, gpa);
}

static void emulated_read(uint64_t gva)
{
	struct kvmi_event_pf_reply pf = { .ctx_size = 8 };
	unsigned char all = 7, no_read = KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X;
	unsigned int tries, faked = 0;
	uint64_t gpa = find_word(gva);
	struct kvmi_dom_event *ev;

	memcpy(pf.ctx_data, "KVMI-new", 8);
	printf("the word is at %#" PRIx64 "\n", gpa);
	set_access(gpa, no_read, 0);
	for (tries = 0; tries < GIVE_UP; tries++) {
		ev = next_event(EVENT_MS);
		/* It has been read, and is not any more */
		if (!ev && faked)
			break;
		if (!ev)
			continue;
		if (ev->event.common.event != KVMI_EVENT_PF ||
		    !(ev->event.page_fault.access & KVMI_PAGE_ACCESS_R))
			die("event %u", ev->event.common.event);
		if (!faked && ev->event.page_fault.gpa == gpa) {
			printf("read of the word by code at %#llx\n",
			       (unsigned long long)ev->event.common.arch.regs.rip);
			faked++;
			pf.ctx_addr = ev->event.page_fault.gva;
			reply(ev, &pf, sizeof(pf));
			continue;
		}
		/* What the program does with what it has read is its own business */
		if (faked)
			set_access(gpa, all, 0);
		reply_continue(ev);
	}
	set_access(gpa, all, 0);
	printf("%u reads of something else\n", faked);
}

static void switch_all(unsigned short view)
{
	unsigned int vcpu;

	for (vcpu = 0; vcpu < vcpus; vcpu++)
		if (kvmi_switch_ept_view(dom, vcpu, view))
			die("view of vCPU %u", vcpu);
}

/* The page where system calls begin cannot be executed in another view */
static void view_switch(void)
{
	struct {
		struct kvm_msrs msrs;
		struct kvm_msr_entry entry;
	} m = { .msrs = { .nmsrs = 1 }, .entry = { .index = LSTAR } };
	unsigned int tries = 0, mode, vcpu, n = 0;
	bool seen[MAX_VCPUS] = { false };
	struct kvmi_dom_event *ev;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	unsigned short view;
	__u64 gpa;

	pause_vm();
	if (kvmi_get_registers(dom, 0, &regs, &sregs, &m.msrs, &mode) ||
	    kvmi_translate_gva(dom, 0, m.entry.data, &gpa))
		die("where system calls begin");
	if (kvmi_create_ept_view(dom, &view))
		die("view");
	set_access(gpa, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W, view);
	switch_all(view);
	resume_vm();
	while (n < vcpus && tries < GIVE_UP) {
		ev = next_event(EVENT_MS);
		if (!ev) {
			tries++;
			continue;
		}
		vcpu = ev->event.common.vcpu;
		if (ev->event.common.event != KVMI_EVENT_PF || seen[vcpu])
			die("event %u", ev->event.common.event);
		printf("vCPU %u, in view %u, executes at %#llx\n", vcpu, ev->event.common.arch.view,
		       (unsigned long long)ev->event.page_fault.gpa);
		if (ev->event.common.arch.view != view || ev->event.page_fault.view != view)
			die("a wrong view");
		if (kvmi_switch_ept_view(dom, vcpu, 0))
			die("view of vCPU %u", vcpu);
		reply_continue(ev);
		seen[vcpu] = true;
		n++;
	}
	switch_all(0);
	if (kvmi_destroy_ept_view(dom, view))
		die("the end of a view");
	printf("%u vCPUs are in view 0 again\n", n);
}

static void inject(uint64_t address)
{
	struct kvmi_dom_event *ev;
	unsigned int n = 0;

	pause_vm();
	/* A write by the kernel to where it may: Linux takes it for a stale TLB entry */
	if (kvmi_inject_exception(dom, 0, address, 3, 14))
		die("injecting");
	resume_vm();
	for (ev = next_event(1000); ev; ev = next_event(100)) {
		n++;
		reply_continue(ev);
	}
	printf("injected, %u events\n", n);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[2] : "";
	uint64_t address = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		return 2;
	begin(argv[1]);
	if (!strcmp(what, "twice")) {
		finish();
		begin(argv[1]);
	}
	control_events(true);
	if (!strcmp(what, "events")) {
		msr_events();
	} else if (!strcmp(what, "read")) {
		emulated_read(address);
	} else if (!strcmp(what, "view")) {
		view_switch();
	} else if (!strcmp(what, "inject")) {
		inject(address);
	} else {
		pause_vm();
		if (!strcmp(what, "hold"))
			pause();
		resume_vm();
	}
	/* As at the end of LibVMI */
	pause_vm();
	control_events(false);
	resume_vm();
	finish();
	return 0;
}
