// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device manager, a kernel and a guest with two vCPUs, all pretended, that
 * the tool can be pointed at.
 *
 *   fakevm SOCKET [WHAT]
 *
 * WHAT: "boot" (default) plays a boot and an attack as soon as every vCPU has had its PAUSE
 * event, then waits for the tool to leave; "unhook" then asks the tool to leave, as does
 * "repeat", where a signal has the first write to LSTAR asked about once more; "close" then
 * closes; "stopped" never answers a vCPU; "early" refuses everything for 100 ms; "badcookie"
 * closes after the handshake; "zoo" plays one event of each kind and asks to leave, "unknown"
 * one of a newer kernel's; "old" is a
 * kernel of the first KVMI series, "oldboot" boots with it; "deny" allows reading only,
 * "notrap" all but TRAP events, "nopause" all but PAUSE events; "write" and "oldwrite" allow
 * writing too; "linux" has views, page access and a kernel in its memory, see fakelinux.c, and
 * "linuxwrite" too; "linuxlate" and "linuxlatewrite" boot when every vCPU has had a PAUSE
 * event, and "linuxlateseals" is in the middle of making its memory read-only then,
 * "linuxlateidle" does nothing else for a while, "linuxloop" and "linuxwriteloop" do what they
 * do NR_ROUNDS times, in "linuxwritedma" a device writes the text, which no vCPU reports, in
 * "linuxwriteearly" a vCPU that the tool has not come to yet does, in "linuxwriterace" the
 * guest writes to pages of copies at the worst moments, "linuxholes", "linuxfirsthole" and
 * "linuxlarge" have page tables that are wrong, in "linuxself" they map themselves, in
 * "linuxmany" more than anybody wants; in "linuxbytes" it is the size of what is written that
 * counts, in "linuxlatebytes" once the kernel is protected as well, in "linuxdelivery" it is
 * exceptions that write; "linuxinfo" has VMCOREINFO, after a page that only looks like it,
 * "linuxfakeinfo" such pages only; "linuxtasks" has processes, see faketasks.c, and something
 * unusual about them if that is said after a "-", "lag" is that reads take their time while an
 * event is open; "chatty" plays NR_CHATTY events and asks to leave; "manyvcpus", "manypauses"
 * and "xsavegrows" tell numbers that cannot be; "hangup" closes when a vCPU is paused; "http"
 * is no device manager, nor is "silent", which says nothing; where WHAT has "mute" in it no
 * vCPU answers any more once the guest
 * has done all it does, and where it has "deaf" nobody does; where it has "stuck" commands
 * about views are not answered, either, and others are; where it has "lonely" there is a vCPU
 * that the guest has not started, in "lonelysoon" at first; the memory of "overlap" and
 * "nomemory" cannot be, that of "moves" is rearranged all the time, that of "slow" takes its
 * time, and its pages are counted that were read, that of "ioerror" answers with an error that
 * is none of the protocol's, "leaves" asks to leave when it is read and "hangsup" closes then,
 * if a vCPU stands still; "nostep" does not answer when it is to step; "babbles" has no event for who waits for
 * one, and notifications all the time, by rules of a tool that was lost; "nomore" and
 * "nomorelonely" are "boot", and cannot say after a while how many vCPUs it has, as
 * "linuxlatenomore" cannot before it has booted; in "linuxtasks-busy" the vCPU that had its
 * PAUSE last is busy and tells no registers, and the guest does what it does while it is
 * asked.
 *
 * The environment may have the VM's name, FAKE_NAME, where its memory ends,
 * FAKE_MAX_GPA, how much there is for the tool, FAKE_TOOL, that it is not allowed to ask
 * for features, FAKE_NO_FEATURES, the version of the guest's kernel, FAKE_BANNER, and the
 * file that "linux" opens, FAKE_PATH.
 * With FAKE_SMM the attack of "linux" comes from SMM, whose memory is that of the others,
 * but for what lies above 0xb4000 if FAKE_SMM is "part", and nothing if it is "empty":
 * then it does not come from there.  With FAKE_VIEWS_LEFT "linux" has views of a tool that
 * was lost, which may not be listed with FAKE_NO_LIST, nor left with FAKE_NO_SET_VIEW, and
 * FAKE_PENDING is what a vCPU has stopped for since.  With FAKE_CONTROL_LEFT that tool has turned
 * on events, and steps in "linux"; what is turned on and off is printed.  It may not be asked for
 * with FAKE_NO_LIST.
 *
 * Prints the answers to its events, and at the end what is still turned on.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "fakevm.h"

#define LSTAR 0xc0000082
#define EFER 0xc0000080
#define KERNEL_GS_BASE 0xc0000102
#define NR_CHATTY 3000
#define NR_ROUNDS 600
#define IDLE_MS 4000
#define BANNER 0x7ffa		/* crosses into the next page */
#define VERSION 14		/* of 5 bytes */

static const struct step {
	uint16_t vcpu;
	uint8_t cr;
	uint32_t msr;
	uint64_t old, new;
} boot[] = {
	{ 0, 0, 0, 0x60000010, 0x11 },
	{ 0, 4, 0, 0, 0x20 },
	{ 0, 3, 0, 0, 0x1000 },
	{ 0, 0, EFER, 0, 0x100 },
	{ 0, 0, 0, 0x11, 0x80010011 },
	{ 0, 3, 0, 0x1000, 0x2000 },
	{ 0, 3, 0, 0x2000, 0x1000 },
	{ 0, 0, LSTAR, 0, 0xffffffff81000080 },
	{ 1, 0, LSTAR, 0, 0xffffffff81000080 },
	{ 0, 0, 0x174, 0, 0x10 },
	{ 0, 4, 0, 0x20, 0x3000a0 },
	/* a TLB flush; and a half one */
	{ 0, 4, 0, 0x3000a0, 0x300020 },
	{ 0, 4, 0, 0x300020, 0x3000a0 },
	{ 0, 4, 0, 0x3000a0, 0x300020 },
	/* the same register by two numbers */
	{ 0, 0, 0x48, 0, 1 },
	{ 0, 0, 0xc001011f, 1, 0 },
	/* the attack */
	{ 0, 0, LSTAR, 0xffffffff81000080, 0x41414141 },
	{ 0, 0, EFER, 0x900, 0x100 },
	{ 0, 4, 0, 0x3000a0, 0x1000a0 },
};

#define STEPS (sizeof(boot) / sizeof(boot[0]))

/* One of each kind, and what is filtered or counted */
static const struct event {
	uint16_t vcpu, id;
	unsigned char data[24] __attribute__((aligned(8)));
	size_t size;
} zoo[] = {
	{ 0, KVMI_VCPU_EVENT_XSETBV, { 0, [8] = 1, [16] = 7 }, 24 },
	{ 0, KVMI_VCPU_EVENT_CPUID, { 1 }, 16 },
	/* the same leaf: there it does not matter what ECX is */
	{ 1, KVMI_VCPU_EVENT_CPUID, { 1, [4] = 99 }, 16 },
	{ 0, KVMI_VCPU_EVENT_CPUID, { 7, [4] = 1 }, 16 },
	{ 0, KVMI_VCPU_EVENT_BREAKPOINT, { 0, 0x30, [8] = 1 }, 16 },
	{ 1, KVMI_VCPU_EVENT_TRAP, { 13, 1, [4] = 8 }, 16 },
	{ 1, KVMI_VCPU_EVENT_TRAP, { 14, 1, [4] = 6, [8] = 0x99 }, 16 },
	{ 1, KVMI_VCPU_EVENT_TRAP, { 1, 0, [9] = 0x40 }, 16 },
	{ 0, KVMI_VCPU_EVENT_DESCRIPTOR, { KVMI_DESC_GDTR, 0 }, 8 },
	{ 0, KVMI_VCPU_EVENT_DESCRIPTOR, { KVMI_DESC_IDTR, 1 }, 8 },
	{ 0, KVMI_VCPU_EVENT_HYPERCALL, "", 0 },
	{ 2, KVMI_VCPU_EVENT_CREATE_VCPU, "", 0 },
}, unknown[] = {
	/* After the last that there is */
	{ 0, KVMI_VCPU_EVENT_CREATE_VCPU + 2, "", 0 },
};

#define ZOO (sizeof(zoo) / sizeof(zoo[0]))
#define UNKNOWN (sizeof(unknown) / sizeof(unknown[0]))

static const struct event *animals = zoo, *animals_end = zoo + ZOO;

static const char banner[] = "Linux version 9.9.9 (somebody@somewhere) #1 SMP";
static int on[8], sock;
static struct kvmi_vcpu_get_control_reply control[VCPUS + 1];
unsigned char ram[RAM + MAX_TOOL_MEMORY];
static uint64_t lstar[VCPUS + 1];	/* and of the one that "zoo" adds */
static uint32_t seq;
static unsigned int step, paused;
static uint16_t last_paused;
static long asked_since;	/* in "busy", in ms; or 0 */
static long booted;		/* when "linuxlate" was, in ms; or 0 */
static const char *what = "boot";
static bool stopped, stuck, deaf, in_zoo, chatty, late, old, deny, writable, lonely, asked;
static bool babbles, owes;
bool in_linux;
uint64_t fake_events_on;
static unsigned int vcpus = VCPUS;

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void unhook(void)
{
	struct kvmi_event_hdr hdr = { .event = KVMI_VM_EVENT_UNHOOK };

	peer_send(sock, KVMI_VM_EVENT, ++seq, &hdr, sizeof(hdr));
}

/* The guest has done all it does */
static void finished(void)
{
	stuck = strstr(what, "stuck");
	stopped = stuck || strstr(what, "mute");
	deaf = strstr(what, "deaf");
	if (stopped || deaf)
		printf("no more answers\n");
	else
		unhook();
}

static const char *const actions[] = { "ALLOW", "RETRY", "CRASH", "SKIP" };

/* Ask the tool, unless rules decide: then return true, and the action */
static bool decided(uint16_t vcpu, uint16_t id, const void *data, size_t size,
		    unsigned int *action)
{
	uint8_t verdict = fake_rules_verdict(id, vcpu, 0, data, false);

	if (verdict == KVMI_RULE_ASK) {
		peer_vcpu_event(sock, ++seq, vcpu, id, data, size);
		return false;
	}
	if (verdict == KVMI_RULE_NOTIFY)
		peer_vcpu_notification(sock, ++seq, vcpu, id, data, size);
	*action = fake_rules_action(verdict);
	return true;
}

static void zoo_done(unsigned int action, const char *how)
{
	const struct event *e = &animals[step++];

	printf("%u event %u %s%s\n", e->vcpu, e->id, actions[action], how);
}

/* Returns true if the guest goes on */
static bool send_zoo(void)
{
	const struct event *e = &animals[step];
	unsigned int action;

	if (e == animals_end) {
		unhook();
		return false;
	}
	if (e->id == KVMI_VCPU_EVENT_CREATE_VCPU)
		vcpus++;
	if (!decided(e->vcpu, e->id, e->data, e->size, &action))
		return false;
	zoo_done(action, " by rule");
	return true;
}

static void step_done(unsigned int action, const char *how)
{
	static bool repeated;
	const struct step *s = &boot[step++];

	if (s->msr)
		printf("%u msr %#x %s%s\n", s->vcpu, s->msr, actions[action], how);
	else
		printf("%u cr%u %s%s\n", s->vcpu, s->cr, actions[action], how);
	if (s->msr == LSTAR && !strcmp(what, "repeat") && !repeated) {
		repeated = true;
		step--;
		return;
	}
	if (s->msr == LSTAR && action == KVMI_EVENT_ACTION_ALLOW)
		lstar[s->vcpu] = s->new;
}

static bool send_boot(void)
{
	const struct step *s = &boot[step];
	struct kvmi_vcpu_event_msr msr = {
		.msr = s->msr, .old_value = s->old, .new_value = s->new,
	};
	struct kvmi_vcpu_event_cr cr = { .cr = s->cr, .old_value = s->old, .new_value = s->new };
	unsigned int action;
	bool done;

	if (s->msr)
		done = decided(s->vcpu, KVMI_VCPU_EVENT_MSR, &msr, sizeof(msr), &action);
	else
		done = decided(s->vcpu, KVMI_VCPU_EVENT_CR, &cr, sizeof(cr), &action);
	if (done)
		step_done(action, " by rule");
	return done;
}

static void send_chatty(void)
{
	struct kvmi_vcpu_event_cr cr = { .cr = 4 };

	if (step++ == NR_CHATTY) {
		printf("all events answered\n");
		unhook();
		return;
	}
	/* Long enough for who is slow to have given up, and not for the tool */
	if (step == NR_CHATTY / 2) {
		printf("half of them answered\n");
		sleep(2);
	}
	cr.old_value = step;
	cr.new_value = ~step;
	peer_vcpu_event(sock, ++seq, 0, KVMI_VCPU_EVENT_CR, &cr, sizeof(cr));
}

static void send_step(void)
{
	if (in_zoo) {
		while (send_zoo())
			;
		return;
	}
	if (chatty) {
		send_chatty();
		return;
	}
	while (step < STEPS && send_boot())
		;
	if (step < STEPS)
		return;
	if (!strcmp(what, "unhook") || !strcmp(what, "repeat") || !strcmp(what, "oldboot") ||
	    strstr(what, "mute") || strstr(what, "stuck") || strstr(what, "deaf"))
		finished();
	if (!strcmp(what, "close"))
		exit(0);
}

static void zoo_reply(const struct peer_msg *msg)
{
	const struct kvmi_vcpu_hdr *hdr = (const void *)msg->data;
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(msg->data + 8);

	if (msg->hdr.seq != seq || hdr->vcpu != animals[step].vcpu || rpl->action > 3) {
		printf("a wrong reply\n");
		exit(1);
	}
	zoo_done(rpl->action, "");
	send_step();
}

static void boot_linux(void)
{
	peer_sregs.cr0 = 0x80050033;
	peer_sregs.cr4 = 0x3006f0;
	peer_sregs.efer = 0xd01;
	peer_sregs.cr3 = FAKE_CR3;
	fake_linux_boot();
	lstar[0] = 0xffffffff81000040;
	lstar[1] = lstar[0];
}

/*
 * What a vCPU has stopped for before the tool came, which it is asked about before a PAUSE
 * event: FAKE_PENDING is "msr", "breakpoint", or the address of a write, of vCPU 0; "pause" is a
 * PAUSE that such a tool has asked for, and "step" what it was to be told of; "leaving" is
 * a breakpoint of vCPU 1, which is not asked about before the tool is to leave, and "last" an MSR
 * of vCPU 1, when vCPU 0 has had its PAUSE event, "inject" one of vCPU 0 that is on its way when an
 * exception is injected.  With FAKE_OWES vCPU 0 owes as many PAUSE events as
 * there can be.
 */
static const char *pending_kind;
static uint32_t pending;
static uint16_t pending_vcpu;
static bool pause_owed;

static void send_pending(const char *kind)
{
	struct kvmi_vcpu_event_msr msr = { .msr = LSTAR, .new_value = 0xffffffff81000090 };
	struct kvmi_vcpu_event_breakpoint bp = { .gpa = IMAGE + 0x800, .insn_len = 1 };
	struct kvmi_vcpu_event_pf pf = { .access = KVMI_PAGE_ACCESS_W };
	struct kvmi_vcpu_event_singlestep insn = { 0 };

	if (!kind)
		return;
	pending = ++seq;
	fake_linux_asked();
	peer_view = fake_linux_view(pending_vcpu);
	if (!strcmp(kind, "msr") || !strcmp(kind, "last")) {
		peer_vcpu_event(sock, seq, pending_vcpu, KVMI_VCPU_EVENT_MSR, &msr, sizeof(msr));
	} else if (!strcmp(kind, "breakpoint") || !strcmp(kind, "leaving")) {
		peer_vcpu_event(sock, seq, pending_vcpu, KVMI_VCPU_EVENT_BREAKPOINT, &bp,
				sizeof(bp));
	} else if (!strcmp(kind, "pause")) {
		peer_vcpu_event(sock, seq, pending_vcpu, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	} else if (!strcmp(kind, "step")) {
		peer_vcpu_event(sock, seq, pending_vcpu, KVMI_VCPU_EVENT_SINGLESTEP, &insn,
				sizeof(insn));
	} else {
		pf.gpa = strtoull(kind, NULL, 0);
		pf.gva = pf.gpa;
		pf.view = peer_view;
		peer_vcpu_event(sock, seq, 0, KVMI_VCPU_EVENT_PF, &pf, sizeof(pf));
	}
	peer_view = 0;
}

/* Before it has been answered by who knows what it has stopped for */
static void owe_pause(void)
{
	pause_owed = true;
	printf("vCPU 0 owes one more PAUSE\n");
}

static void send_pause(uint16_t vcpu)
{
	if (babbles)
		return;
	if (vcpu != pending_vcpu || !(pending || vcpu))
		peer_vcpu_event(sock, ++seq, vcpu, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	else
		owe_pause();
}

static void pending_reply(const struct kvmi_vcpu_event_reply *rpl, size_t size)
{
	printf("pending %s, view %u%s\n", actions[rpl->action & 3], fake_linux_view(pending_vcpu),
	       size > sizeof(*rpl) && *(const uint32_t *)(rpl + 1) &&
	       rpl->event == KVMI_VCPU_EVENT_PF ? ", traced" : "");
	pending = 0;
	fake_linux_answered();
	if (pending_vcpu)
		unhook();
	if (pause_owed && !pending_vcpu)
		send_pause(0);
}

static void event_reply(const struct peer_msg *msg)
{
	const struct kvmi_vcpu_hdr *hdr = (const void *)msg->data;
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(msg->data + 8);
	const struct step *s;

	if (pending && msg->hdr.seq == pending) {
		pending_reply(rpl, msg->hdr.size - 8);
		return;
	}
	if (rpl->event == KVMI_VCPU_EVENT_PAUSE) {
		paused++;
		last_paused = hdr->vcpu;
	} else if (asked_since > 0) {
		printf("answered after %ld ms\n", now_ms() - asked_since);
		asked_since = -1;
	}
	if (pending_vcpu && !pending) {
		if (!strcmp(getenv("FAKE_PENDING"), "leaving"))
			unhook();
		send_pending(getenv("FAKE_PENDING"));
		return;
	}
	if (in_linux) {
		if (fake_linux_reply(sock, rpl)) {
			finished();
		} else if (rpl->event == KVMI_VCPU_EVENT_PAUSE && paused % VCPUS == 0 &&
			   (late ? paused > VCPUS : paused == VCPUS && !strstr(what, "busy"))) {
			if (late && strstr(what, "seals"))
				fake_linux_seal();
			if (fake_linux_run(sock))
				finished();
		} else if (rpl->event == KVMI_VCPU_EVENT_PAUSE && late && paused == VCPUS) {
			boot_linux();
			booted = now_ms();
		}
		return;
	}
	if (rpl->event == KVMI_VCPU_EVENT_PAUSE) {
		if (paused == VCPUS)
			send_step();
		return;
	}
	if (chatty) {
		send_step();
		return;
	}
	if (rpl->event == KVMI_VCPU_EVENT_TRAP && !in_zoo) {
		printf("injected exception %s\n", actions[rpl->action]);
		return;
	}
	if (in_zoo) {
		zoo_reply(msg);
		return;
	}
	s = &boot[step];
	if (msg->hdr.seq != seq || hdr->vcpu != s->vcpu || rpl->action > 3) {
		printf("a wrong reply\n");
		exit(1);
	}
	step_done(rpl->action, "");
	send_step();
}

/* In "lonelysoon" another vCPU starts it just before that one is paused */
static bool not_started(uint16_t vcpu)
{
	return lonely && vcpu && !(asked && strstr(what, "soon"));
}

static void registers(const struct peer_msg *msg)
{
	struct {
		struct kvmi_vcpu_get_registers_reply r;
		struct kvm_msr_entry e[64];
	} out;
	const struct kvmi_vcpu_get_registers *req = (const void *)(msg->data + 8);
	uint16_t vcpu = ((const struct kvmi_vcpu_hdr *)msg->data)->vcpu;
	unsigned int i;

	if (not_started(vcpu)) {
		peer_reply(sock, msg, -EAGAIN, NULL, 0);
		return;
	}
	memset(&out, 0, sizeof(out));
	out.r.mode = 8;
	out.r.regs.rip = 0xffffffff81234567;
	out.r.regs.rflags = 0x246;
	out.r.sregs.cr0 = 0x80050033;
	out.r.sregs.cr4 = 0x3006f0;
	out.r.sregs.efer = 0xd01;
	out.r.sregs.cr3 = peer_sregs.cr3 ? peer_sregs.cr3 : FAKE_CR3;
	if (peer_in_program)
		out.r.sregs.ss.dpl = 3;
	else
		out.r.sregs.gs.base = peer_gs_base[vcpu];
	out.r.msrs.nmsrs = req->nmsrs;
	for (i = 0; i < req->nmsrs; i++) {
		out.e[i].index = req->msrs_idx[i];
		if (out.e[i].index == LSTAR)
			out.e[i].data = lstar[vcpu];
		if (out.e[i].index == KERNEL_GS_BASE && peer_in_program)
			out.e[i].data = peer_gs_base[vcpu];
		if (out.e[i].index == 0x666) {
			peer_reply(sock, msg, -EINVAL, NULL, 0);
			return;
		}
	}
	peer_reply(sock, msg, 0, &out, sizeof(out.r) + req->nmsrs * sizeof(out.e[0]));
}

/* Is it the vCPU that does not answer?  What another one does waits then. */
static bool is_busy(uint16_t vcpu)
{
	if (!strstr(what, "busy") || paused < VCPUS || vcpu != last_paused)
		return false;
	if (!asked_since && !late) {
		asked_since = now_ms();
		fake_linux_run(sock);
	}
	return true;
}

/* The exception asked for; "boot" has a #GP in front of an #UD */
static void inject(const struct peer_msg *msg)
{
	const struct kvmi_vcpu_inject_exception *req = (const void *)(msg->data + 8);
	struct kvmi_vcpu_event_trap trap = {
		.nr = req->nr, .error_code = req->error_code, .address = req->address,
	};

	if (req->nr == 9) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	if (req->nr == 6)
		trap.nr = 13;
	peer_reply(sock, msg, 0, NULL, 0);
	printf("vCPU %u is to take exception %u\n", msg->data[0], req->nr);
	/* It comes to that first */
	if (pending_kind && !strcmp(pending_kind, "inject"))
		send_pending("msr");
	else if (!babbles)
		peer_vcpu_event(sock, ++seq, msg->data[0], KVMI_VCPU_EVENT_TRAP, &trap,
				sizeof(trap));
}

static void pause_all(const struct peer_msg *msg)
{
	struct kvmi_vm_pause_all_reply reply = { .count = VCPUS };
	unsigned int i;

	if (!strcmp(what, "manypauses"))
		reply.count = 0xffffffff;

	reply.count -= owes;
	peer_reply(sock, msg, 0, &reply, sizeof(reply));
	if (!strcmp(what, "hangup"))
		exit(0);
	asked = true;
	for (i = owes; i < (lonely ? 1 : VCPUS) && !stopped; i++)
		send_pause(i);
	if (lonely)
		printf("vCPU 1 owes a PAUSE\n");
}

/* What this kernel, or this device manager, refuses */
static int refusal(const struct peer_msg *msg)
{
	uint16_t id = msg->hdr.id;

	if (old && id >= KVMI_VM_GET_FEATURES)
		return -1000;
	if (old && (id == KVMI_VM_READ_PHYSICAL || id == KVMI_VM_WRITE_PHYSICAL) &&
	    ((const struct kvmi_vm_read_physical *)msg->data)->flags)
		return -EINVAL;
	if (old && id == KVMI_VM_CONTROL_EVENTS && msg->data[0])
		return -EINVAL;
	if (old && (id == KVMI_VM_CHECK_COMMAND || id == KVMI_VM_CHECK_EVENT) &&
	    msg->data[0] >= (id == KVMI_VM_CHECK_EVENT ? 20 : KVMI_VM_GET_FEATURES))
		return -ENOENT;
	if (old && id == KVMI_VCPU_CONTROL_EVENTS && msg->data[8] > KVMI_VCPU_EVENT_MSR)
		return -EINVAL;
	if (!strcmp(what, "notrap") && id == KVMI_VCPU_CONTROL_EVENTS &&
	    msg->data[8] == KVMI_VCPU_EVENT_TRAP)
		return -EPERM;
	if (!strcmp(what, "nopause") && (id == KVMI_VM_PAUSE_VCPU || id == KVMI_VM_PAUSE_ALL))
		return -EPERM;
	if (id == KVMI_VM_WRITE_PHYSICAL && !writable)
		return -EPERM;
	if (id == KVMI_VM_GET_FEATURES && getenv("FAKE_NO_FEATURES"))
		return -EPERM;
	if (deny && id != KVMI_VM_GET_INFO && id != KVMI_VM_CHECK_COMMAND &&
	    id != KVMI_VM_READ_PHYSICAL)
		return -EPERM;
	return 0;
}

/* @vcpu is to have what @bit of @word stands for; @count is of all vCPUs */
static void turn(const char *what_it_is, uint16_t vcpu, uint64_t *word, unsigned int bit,
		 bool enable, int *count)
{
	if ((*word >> bit & 1) == enable)
		return;
	*word ^= 1ull << bit;
	*count += enable ? 1 : -1;
	if (getenv("FAKE_CONTROL_LEFT"))
		printf("vCPU %u: %s %u %s\n", vcpu, what_it_is, bit, enable ? "on" : "off");
}

static void turn_event(uint16_t vcpu, uint16_t event, bool enable)
{
	uint64_t events = control[vcpu].events;

	turn("event", vcpu, &events, event, enable, &on[1]);
	control[vcpu].events = events;
}

static void turn_cr(uint16_t vcpu, uint8_t cr, bool enable)
{
	uint64_t crs = control[vcpu].crs;

	turn("CR", vcpu, &crs, cr, enable, &on[2]);
	control[vcpu].crs = crs;
}

static void turn_msr(uint16_t vcpu, uint32_t msr, bool enable)
{
	unsigned int word = (msr & 0x1fff) / 64 + (msr >= EFER ? 128 : 0);
	uint64_t bits = control[vcpu].msrs[word];

	turn(msr >= EFER ? "MSR 0xc0000000 and" : "MSR", vcpu, &bits, msr % 64, enable, &on[3]);
	control[vcpu].msrs[word] = bits;
}

/* What a tool was to be asked about that was lost */
static void control_left(void)
{
	unsigned int i;

	for (i = 0; i < VCPUS && getenv("FAKE_CONTROL_LEFT"); i++) {
		turn_event(i, KVMI_VCPU_EVENT_CR, true);
		turn_event(i, KVMI_VCPU_EVENT_MSR, true);
		turn_event(i, KVMI_VCPU_EVENT_PF, true);
		turn_cr(i, 3, true);
		turn_msr(i, 0x174, true);
		turn_msr(i, LSTAR, true);
	}
}

static void command(const struct peer_msg *msg)
{
	struct kvmi_vm_get_info_reply info = { .vcpu_count = vcpus, .address_spaces = 2 };
	struct kvmi_vcpu_get_info_reply tsc = { .tsc_speed = 2000000000 };
	const unsigned char *d = msg->data;
	static bool owed;

	int err = refusal(msg);

	if (deaf)
		printf("not answered: %u\n", msg->hdr.id);
	if (deaf || (stopped && (msg->hdr.id & 1)))
		return;
	if (stuck && (msg->hdr.id == KVMI_VM_DESTROY_VIEW || msg->hdr.id == KVMI_VM_CHANGE_GFN))
		return;
	if (!strcmp(what, "nostep") && msg->hdr.id == KVMI_VCPU_CONTROL_SINGLESTEP)
		return;
	if (err) {
		peer_reply(sock, msg, err, NULL, 0);
		return;
	}
	if (in_linux && fake_linux(sock, msg))
		return;
	if (strstr(what, "nomore") && msg->hdr.id == KVMI_VM_GET_INFO &&
	    paused >= (lonely ? 1 : VCPUS)) {
		peer_reply(sock, msg, -ENOMEM, NULL, 0);
		return;
	}
	if (!strcmp(what, "manyvcpus"))
		info.vcpu_count = 0x80000000;
	if (!strcmp(what, "hangup") && msg->hdr.id == KVMI_VM_PAUSE_VCPU)
		exit(0);
	if (msg->hdr.id == KVMI_VM_READ_PHYSICAL) {
		if (!strcmp(what, "slow"))
			usleep(10000);
		if (!strcmp(what, "hangsup") && asked)
			exit(0);
		if (!strcmp(what, "leaves") && asked) {
			unhook();
			asked = false;
		}
	}
	if (fake_state(sock, msg))
		return;
	switch (msg->hdr.id) {
	case KVMI_VM_GET_INFO:
		peer_reply(sock, msg, 0, &info, sizeof(info));
		return;
	case KVMI_VCPU_GET_INFO:
		peer_reply(sock, msg, 0, &tsc, sizeof(tsc));
		return;
	case KVMI_VCPU_INJECT_EXCEPTION:
		inject(msg);
		return;
	case KVMI_VM_PAUSE_ALL:
		pause_all(msg);
		return;
	case KVMI_VM_SHUTDOWN:
		printf("shut down\n");
		peer_reply(sock, msg, 0, NULL, 0);
		if (!strcmp(what, "close"))
			exit(0);
		if (!stopped && !babbles)
			unhook();
		return;
	case KVMI_VCPU_GET_REGISTERS:
		if (!is_busy(d[0]))
			registers(msg);
		return;
	case KVMI_VM_CHECK_COMMAND:
		peer_reply(sock, msg, d[0] == KVMI_VM_WRITE_PHYSICAL ? -EPERM : 0, NULL, 0);
		return;
	case KVMI_VM_PAUSE_VCPU:
		if (not_started(d[0])) {
			/* The kernel takes more of them than this, but not any number */
			peer_reply(sock, msg, owed ? -EBUSY : 0, NULL, 0);
			owed = true;
			printf("vCPU 1 owes a PAUSE\n");
			return;
		}
		peer_reply(sock, msg, owes && !d[0] ? -EBUSY : 0, NULL, 0);
		asked = true;
		if (owes && !d[0])
			owe_pause();
		else if (!stopped)
			send_pause(d[0]);
		return;
	case KVMI_VM_CONTROL_EVENTS:
		on[0] += d[2] ? 1 : -1;
		break;
	case KVMI_VCPU_CONTROL_EVENTS:
		turn_event(d[0], d[8], d[10]);
		if (d[10])
			fake_events_on |= 1ull << d[8];
		break;
	case KVMI_VCPU_CONTROL_CR:
		turn_cr(d[0], d[8], d[9]);
		break;
	case KVMI_VCPU_CONTROL_MSR:
		if (in_zoo && d[0] == VCPUS && d[8])
			printf("new vCPU: MSR watched\n");
		turn_msr(d[0], *(const uint32_t *)(d + 12), d[8]);
		break;
	case KVMI_VCPU_GET_CONTROL:
		if (getenv("FAKE_NO_LIST"))
			peer_reply(sock, msg, -EPERM, NULL, 0);
		else
			peer_reply(sock, msg, 0, &control[d[0]], sizeof(control[0]));
		return;
	}
	peer_reply(sock, msg, 0, NULL, 0);
}

/* In "idle" the guest does what it does a while after it has booted */
static bool wait_for_tool(void)
{
	struct pollfd fd = { .fd = sock, .events = POLLIN };

	while (babbles && poll(&fd, 1, 20) == 0)
		peer_vcpu_notification(sock, ++seq, 0, KVMI_VCPU_EVENT_HYPERCALL, NULL, 0);
	while (booted && strstr(what, "idle") && poll(&fd, 1, 100) == 0) {
		if (now_ms() - booted < IDLE_MS)
			continue;
		booted = 0;
		fake_linux_run(sock);
	}
	return true;
}

int main(int argc, char **argv)
{
	const char *name = getenv("FAKE_NAME"), *end = getenv("FAKE_MAX_GPA"), *version;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct peer_msg msg;
	uint8_t cookie[20];
	long start;
	int i;

	if (argc < 2 || strlen(argv[1]) >= sizeof(sun.sun_path))
		return 2;
	if (argc > 2)
		what = argv[2];
	setvbuf(stdout, NULL, _IOLBF, 0);
	stopped = !strcmp(what, "stopped");
	babbles = !strcmp(what, "babbles");
	in_zoo = !strcmp(what, "zoo") || !strcmp(what, "unknown");
	if (!strcmp(what, "unknown")) {
		animals = unknown;
		animals_end = unknown + UNKNOWN;
	}
	chatty = !strcmp(what, "chatty");
	fake_xsave_grows = !strcmp(what, "xsavegrows");
	writable = strstr(what, "write");
	old = !strncmp(what, "old", 3);
	in_linux = !strncmp(what, "linux", 5);
	late = !strncmp(what, "linuxlate", 9);
	if (strstr(what, "loop"))
		fake_linux_rounds = NR_ROUNDS;
	fake_linux_dma = strstr(what, "dma");
	fake_linux_maps = in_linux ? what + strlen("linux") : "";
	if (in_linux && !late)
		boot_linux();
	deny = !strcmp(what, "deny");
	lonely = strstr(what, "lonely");
	owes = getenv("FAKE_OWES");
	fake_memory = what;
	fake_tool_memory();
	memcpy(ram + BANNER, banner, sizeof(banner));
	/* In place of the version's number */
	version = getenv("FAKE_BANNER");
	for (i = 0; version && version[i]; i++)
		ram[BANNER + VERSION + i] = version[i];
	if (version)
		strcpy((char *)ram + BANNER + VERSION + i, banner + VERSION + 5);
	memcpy(sun.sun_path, argv[1], strlen(argv[1]));
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	for (i = 0; connect(sock, (struct sockaddr *)&sun, sizeof(sun)); i++) {
		if (i == 500) {
			perror("connect");
			return 1;
		}
		usleep(10000);
	}
	if (!strcmp(what, "http")) {
		dprintf(sock, "GET / HTTP/1.0\r\n\r\n");
		return 0;
	}
	if (!strcmp(what, "silent")) {
		printf("connected\n");
		while (read(sock, cookie, sizeof(cookie)) > 0)
			;
		return 0;
	}
	if (!peer_handshake(sock, name ? name : "fake", end ? strtoull(end, NULL, 0) : RAM,
			    cookie)) {
		printf("no handshake\n");
		return 1;
	}
	for (i = 0; i < 20 && !cookie[i]; i++)
		;
	if (i < 20) {
		printf("cookie ");
		for (i = 0; i < 20; i++)
			printf("%02x", cookie[i]);
		printf("\n");
	}
	if (!strcmp(what, "badcookie"))
		return 0;

	fake_rules_begin();
	control_left();
	pending_kind = getenv("FAKE_PENDING");
	if (pending_kind && (!strcmp(pending_kind, "leaving") || !strcmp(pending_kind, "last")))
		pending_vcpu = 1;
	else if (!pending_kind || strcmp(pending_kind, "inject"))
		send_pending(pending_kind);
	start = now_ms();
	while (wait_for_tool() && peer_receive(sock, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_EVENT)
			event_reply(&msg);
		else if (msg.hdr.id == KVMI_GET_VERSION)
			peer_version(sock, &msg);
		else if (!strcmp(what, "early") && now_ms() - start < 100)
			peer_reply(sock, &msg, -EPERM, NULL, 0);
		else
			command(&msg);
	}
	if (in_linux)
		fake_linux_end();
	if (!strcmp(what, "slow"))
		printf("%u pages were read\n", fake_pages_read);
	fake_rules_end();
	if (pending)
		printf("pending is left open\n");
	printf("left on: %d %d %d %d\n", on[0], on[1], on[2], on[3]);
	return 0;
}
