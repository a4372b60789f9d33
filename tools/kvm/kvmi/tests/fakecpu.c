// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM with two vCPUs that execute: a pretended guest for a debugger.
 *
 *   fakecpu SOCKET [WHAT]
 *
 * The first vCPU runs the instructions in program[] again and again, the second one an
 * endless loop of two.  Both obey breakpoints, page access, views and steps as KVM does.
 *
 * WHAT has some of these words in it: "svm" there are no pages that can be executed and
 * not read, nor any that can be written only; "boot" the kernel is not mapped until the guest
 * has written CR3; "ap" the second vCPU is started late; "stopped" the VM is, for a
 * while; "real" the guest is in 16-bit code; "old" a kernel without page access; "deny" few
 * events are allowed; "unhook" the device manager ends the session after a while; "close" so
 * does the VM; "rsm" CR3 has been loaded by something else than a write when the vCPU is
 * paused; "noxsave" and "notrap" refuse these; in "program" it runs, with page tables beside which
 * are those of another, and in "isolated" those of a kernel that it does not see.
 *
 * The rules of a tool that was lost, see fakerules.c, decide nothing here.  With FAKE_OWES the
 * second vCPU owes such a tool as many PAUSE events as there can be.
 *
 * Prints what the guest notices, and at the end what is left of the tool.
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
#include "peer.h"

#define PAGES		(RAM / 4096)
#define BASE		0xffffffff81000000ull
#define TABLES		0xb0000		/* of pages, from here on */
#define NO_TABLES	0xa0000		/* which map nothing */
#define PROGRAM_TABLES	0xa3000
#define BESIDE_THEM	0xa2000
#define VIEWS		3
#define VCPUS		2
#define MAX_GRANTS	8
#define MAX_PAUSES	20		/* that a vCPU owes */
#define CODE		0x5000
#define DATA		0x7000
#define XSAVE		832
#define START_AFTER	200	/* instructions of the first vCPU, until it starts the second */
#define END_AFTER	400
#define STOPPED_MS	700

enum what { NOTHING, WRITE, WRITE_SAME, READ, READ_WIDE, LOOK, SET_CR3, OWN_INT3, JUMP };

static const struct insn {
	uint16_t at, length;
	enum what what;
	uint16_t to, size;
} program[] = {
	{ CODE, 3, NOTHING, 0, 0 },
	{ CODE + 3, 4, WRITE, DATA + 0x10, 8 },
	{ CODE + 7, 4, READ, DATA + 0x20, 4 },
	{ CODE + 11, 3, NOTHING, 0, 0 },
	{ CODE + 14, 4, LOOK, CODE, 1 },
	{ CODE + 18, 3, SET_CR3, 0, 0 },
	{ CODE + 21, 4, READ_WIDE, DATA + 0x30, 16 },
	{ CODE + 25, 4, WRITE_SAME, DATA + 0x50, 8 },
	{ CODE + 29, 1, OWN_INT3, 0, 0 },
	{ CODE + 30, 2, JUMP, CODE, 0 },
	{ CODE + 0x1000, 2, NOTHING, 0, 0 },
	{ CODE + 0x1002, 2, JUMP, CODE + 0x1000, 0 },
};

static struct vcpu {
	bool started, open, step, trap, delivered, skipped;
	bool done;		/* the event is of a register that has its new value already */
	bool hit;		/* a breakpoint of a tool that was lost, not reported yet */
	uint16_t event, view;
	uint32_t seq;
	unsigned int pauses;
	uint64_t events, count;
	struct kvm_regs regs;
	struct { uint32_t gfn; uint8_t access; } grants[MAX_GRANTS];
	unsigned int ngrants;
	uint32_t pf_gfn;	/* of the last PF */
	uint8_t pf_access;
} vcpus[VCPUS];

static unsigned char xsave[XSAVE];
unsigned char ram[RAM + MAX_TOOL_MEMORY];
static uint8_t access_of[VIEWS][PAGES];
static uint16_t shown[VIEWS][PAGES];
static bool exists[VIEWS] = { true };
static uint64_t cr3 = TABLES;
static const char *what = "";
static int sock, vm_events;
static bool refused;		/* a PAUSE, as there were too many */
static bool asked;		/* to stop for the first time: the tool has come */
static uint32_t seq;
static uint64_t seen_breakpoints, executed;

static bool is(const char *word)
{
	return strstr(what, word);
}

static void put(uint64_t gpa, uint64_t value)
{
	memcpy(ram + gpa, &value, sizeof(value));
}

static void make_guest(void)
{
	unsigned int i, v;

	put(TABLES + 511 * 8, (TABLES + 0x1000) | 3);
	put(TABLES + 0x1000 + 510 * 8, (TABLES + 0x2000) | 3);
	put(TABLES + 0x2000 + 8 * 8, 0 | 0x83);
	if (is("program") || is("isolated")) {
		cr3 = PROGRAM_TABLES;
		put(BESIDE_THEM + 511 * 8, (TABLES + 0x1000) | 3);
		put(BESIDE_THEM, 0xa4000 | 7);
		put(0xa4000, 0xa5000 | 7);
		put(0xa5000, 0 | 0x87);
	}
	if (is("program"))
		put(PROGRAM_TABLES + 511 * 8, (TABLES + 0x1000) | 3);
	for (i = 0; i < sizeof(program) / sizeof(program[0]); i++)
		memset(ram + program[i].at, program[i].what == OWN_INT3 ? 0xcc : 0x90,
		       program[i].length);
	put(DATA + 0x20, 0x2020202020202020);
	put(DATA + 0x50, 0x5050505050505050);
	if (is("boot"))
		cr3 = NO_TABLES;
	for (i = 0; i < PAGES; i++) {
		for (v = 0; v < VIEWS; v++) {
			access_of[v][i] = KVMI_PAGE_ACCESS_RWX;
			shown[v][i] = i;
		}
	}
	xsave[1] = 3;
	xsave[0] = 0x7f;
	xsave[24] = 0x80;
	xsave[25] = 0x1f;
	xsave[160] = 0x42;
	xsave[576] = 0x24;
	/* Of a tool that was lost, with a breakpoint that nobody knows of any more */
	if (getenv("FAKE_VIEWS_LEFT")) {
		exists[1] = true;
		memcpy(ram + 0xa8000, ram + CODE, 4096);
		ram[0xa8000 + 3] = 0xcc;
		shown[1][CODE / 4096] = 0xa8;
		vcpus[0].view = 1;
		vcpus[1].view = 1;
	}
	for (i = 0; i < VCPUS; i++) {
		vcpus[i].started = !i || !is("ap");
		/* Of a tool that was lost */
		if (getenv("FAKE_RULES"))
			vcpus[i].events = 1ull << KVMI_VCPU_EVENT_BREAKPOINT;
		vcpus[i].regs.rip = (is("real") ? 0 : BASE) + CODE + i * 0x1000;
		vcpus[i].regs.rsp = BASE + 0x9000;
		vcpus[i].regs.rflags = 2;
	}
	/* As many as there can be */
	if (getenv("FAKE_OWES"))
		vcpus[1].pauses = MAX_PAUSES;
	if (getenv("FAKE_CONTROL_LEFT")) {
		vcpus[0].events = 1ull << KVMI_VCPU_EVENT_MSR | 1ull << KVMI_VCPU_EVENT_CPUID;
		vcpus[0].step = true;
	}
	/* At that breakpoint: it comes to that before anything else */
	if (getenv("FAKE_VIEWS_LEFT") && !strcmp(getenv("FAKE_VIEWS_LEFT"), "hit")) {
		vcpus[0].hit = true;
		vcpus[0].events = 1ull << KVMI_VCPU_EVENT_BREAKPOINT;
		vcpus[0].regs.rip += 3;
	}
}

static void send_event(struct vcpu *v, uint16_t id, const void *data, size_t size)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		unsigned char data[64];
	} ev = {
		.hdr = { .event = id },
		.common = { .size = sizeof(ev.common), .vcpu = v - vcpus },
	};
	struct kvmi_vcpu_event_arch *a = &ev.common.arch;

	a->mode = is("real") ? KVMI_X86_MODE_16 : KVMI_X86_MODE_64;
	a->view = v->view;
	a->regs = v->regs;
	a->sregs.cr0 = is("real") ? 0x10 : 0x80050033;
	a->sregs.cr3 = cr3;
	a->sregs.cr4 = 0x3006f0;
	a->sregs.efer = is("real") ? 0 : 0xd01;
	a->sregs.cs.selector = 0x10;
	a->sregs.ss.dpl = cr3 == PROGRAM_TABLES ? 3 : 0;
	a->sregs.fs.base = 0xf5f5;
	if (is("real")) {
		a->sregs.cs.base = 0x4000;
		a->regs.rip -= 0x4000;
	}
	a->msrs.shadow_gs = 0x6565;
	if (size)
		memcpy(ev.data, data, size);
	v->open = true;
	v->done = false;
	v->event = id;
	v->seq = ++seq;
	peer_send(sock, KVMI_VCPU_EVENT, seq, &ev, sizeof(ev.hdr) + sizeof(ev.common) + size);
}

static bool wants(const struct vcpu *v, uint16_t id)
{
	return v->events >> id & 1;
}

static void grant(struct vcpu *v, uint32_t gfn, uint8_t access)
{
	if (v->ngrants < MAX_GRANTS) {
		v->grants[v->ngrants].gfn = gfn;
		v->grants[v->ngrants++].access = access;
	}
}

/* Is it left, or does an event ask for it? */
static bool may(struct vcpu *v, uint64_t gpa, uint8_t access)
{
	struct kvmi_vcpu_event_pf pf = {
		.gpa = gpa, .gva = is("svm") ? ~0ull : BASE + gpa, .access = access,
		.view = v->view,
	};
	uint32_t gfn = gpa / 4096;
	uint8_t left = access_of[v->view][gfn];
	unsigned int i;

	/* What is shown in place of a page is not written to */
	if (shown[v->view][gfn] != gfn)
		left &= ~KVMI_PAGE_ACCESS_W;
	for (i = 0; i < v->ngrants; i++)
		if (v->grants[i].gfn == gfn)
			left |= v->grants[i].access;
	if (!(access & ~left) || !wants(v, KVMI_VCPU_EVENT_PF))
		return true;
	v->pf_gfn = gfn;
	v->pf_access = access;
	send_event(v, KVMI_VCPU_EVENT_PF, &pf, sizeof(pf));
	return false;
}

static bool trapped(struct vcpu *v, const struct insn *insn, uint8_t access)
{
	struct kvmi_vcpu_event_access a = {
		.gpa = insn->to, .gva = BASE + insn->to, .access = access, .size = insn->size,
	};

	if (!v->trap)
		return false;
	v->trap = false;
	send_event(v, KVMI_VCPU_EVENT_ACCESS, &a, sizeof(a));
	return true;
}

static void look(const struct vcpu *v, const struct insn *insn)
{
	if (ram[shown[v->view][insn->to / 4096] * 4096u + insn->to % 4096] == 0x90)
		return;
	if (!seen_breakpoints++)
		printf("the guest sees a breakpoint\n");
}

/* Returns false if it waits for an answer */
static bool do_insn(struct vcpu *v, const struct insn *insn)
{
	struct kvmi_vcpu_event_cr cr = { .cr = 3, .old_value = cr3, .new_value = TABLES };
	struct kvmi_vcpu_event_breakpoint bp = { .gpa = insn->at, .insn_len = 1 };
	unsigned char byte;

	if (!may(v, insn->at, KVMI_PAGE_ACCESS_X))
		return false;
	byte = ram[shown[v->view][insn->at / 4096] * 4096u + insn->at % 4096];
	if (byte == 0xcc && !v->delivered && wants(v, KVMI_VCPU_EVENT_BREAKPOINT)) {
		send_event(v, KVMI_VCPU_EVENT_BREAKPOINT, &bp, sizeof(bp));
		return false;
	}
	/* Not with the tool's */
	if (byte == 0xcc && insn->what != OWN_INT3)
		printf("the guest gets the tool's breakpoint\n");
	switch (insn->what) {
	case WRITE:
	case WRITE_SAME:
		if (!may(v, insn->to, KVMI_PAGE_ACCESS_W) ||
		    trapped(v, insn, KVMI_PAGE_ACCESS_W))
			return false;
		if (insn->what == WRITE && !v->skipped)
			ram[insn->to]++;
		v->skipped = false;
		break;
	case READ:
	case READ_WIDE:
	case LOOK:
		if (!may(v, insn->to, KVMI_PAGE_ACCESS_R) ||
		    trapped(v, insn, KVMI_PAGE_ACCESS_R))
			return false;
		if (insn->what == LOOK)
			look(v, insn);
		break;
	case SET_CR3:
		if (!v->delivered && wants(v, KVMI_VCPU_EVENT_CR)) {
			send_event(v, KVMI_VCPU_EVENT_CR, &cr, sizeof(cr));
			return false;
		}
		/* It waits to be looked at before it does */
		if (!is("boot") || v->delivered)
			cr3 = TABLES;
		break;
	default:
		break;
	}
	return true;
}

/* RIP, in physical memory */
static uint64_t where(const struct vcpu *v)
{
	return v->regs.rip - (is("real") ? 0 : BASE);
}

static void execute(struct vcpu *v)
{
	struct kvmi_vcpu_event_singlestep step = { 0 };
	uint64_t gpa = where(v);
	struct kvmi_vcpu_event_cr cr = {
		.cr = 3, .flags = KVMI_CHANGE_DONE, .old_value = TABLES, .new_value = cr3,
	};
	unsigned int i;

	/* By RSM, say, which comes before a pause */
	if (v->pauses && is("rsm") && !v->delivered && wants(v, KVMI_VCPU_EVENT_CR)) {
		send_event(v, KVMI_VCPU_EVENT_CR, &cr, sizeof(cr));
		v->done = true;
		return;
	}
	/* It has not come to the first of them before the tool asks for one more */
	if (v->pauses == MAX_PAUSES && !refused)
		return;
	if (v->pauses && !v->hit) {
		v->pauses--;
		send_event(v, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
		return;
	}
	for (i = 0; i < sizeof(program) / sizeof(program[0]) && program[i].at != gpa; i++)
		;
	if (i == sizeof(program) / sizeof(program[0])) {
		printf("vCPU %td at %#llx: no instruction\n", v - vcpus,
		       (unsigned long long)v->regs.rip);
		exit(1);
	}
	v->hit = false;
	if (!do_insn(v, &program[i]))
		return;
	v->regs.rip += program[i].what == JUMP ? (uint64_t)program[i].to - program[i].at :
		       program[i].length;
	v->regs.rax = ++v->count;
	v->ngrants = 0;
	v->trap = false;
	v->delivered = false;
	executed++;
	if (v->step)
		send_event(v, KVMI_VCPU_EVENT_SINGLESTEP, &step, sizeof(step));
}

static void event_reply(const struct peer_msg *msg)
{
	struct vcpu *v = &vcpus[((const struct kvmi_vcpu_hdr *)msg->data)->vcpu % VCPUS];
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(msg->data + 8);
	const struct kvmi_vcpu_event_pf_reply *pf = (const void *)(msg->data + 16);

	if (!v->open || rpl->event != v->event || msg->hdr.seq != v->seq) {
		printf("a wrong reply\n");
		exit(1);
	}
	v->open = false;
	v->trap = false;
	if (v->done && rpl->action == KVMI_EVENT_ACTION_RETRY) {
		printf("what is done is tried again\n");
		exit(1);
	}
	/* It is made by the tool instead: with LOCK another vCPU may write in between */
	if (v->event == KVMI_VCPU_EVENT_ACCESS && rpl->action == KVMI_EVENT_ACTION_SKIP) {
		printf("the guest's write is in two pieces\n");
		v->skipped = true;
		return;
	}
	if (rpl->action != KVMI_EVENT_ACTION_ALLOW) {
		v->ngrants = 0;
		return;
	}
	if (v->event == KVMI_VCPU_EVENT_BREAKPOINT || v->event == KVMI_VCPU_EVENT_CR)
		v->delivered = true;
	if (v->event == KVMI_VCPU_EVENT_BREAKPOINT && ram[where(v)] != 0xcc)
		printf("the guest gets the tool's breakpoint\n");
	if (v->event == KVMI_VCPU_EVENT_PF) {
		grant(v, v->pf_gfn, v->pf_access);
		v->trap = msg->hdr.size > 16 && pf->flags & KVMI_PF_TRAP_ACCESS;
	}
}

static int set_access(const struct peer_msg *msg)
{
	const struct kvmi_vm_set_page_access *req = (const void *)msg->data;
	unsigned int i, first;
	uint8_t access;

	if (req->view >= VIEWS || !exists[req->view])
		return -EINVAL;
	for (i = 0; i < req->count; i++) {
		access = req->entries[i].access;
		first = req->entries[i].gpa / 4096;
		if (first >= PAGES || req->entries[i].npages > PAGES - first)
			return -EINVAL;
		if ((access & KVMI_PAGE_ACCESS_W) && !(access & KVMI_PAGE_ACCESS_R))
			return -EINVAL;
		if (is("svm") && access && !(access & KVMI_PAGE_ACCESS_R))
			return -EINVAL;
		memset(&access_of[req->view][first], access, req->entries[i].npages);
	}
	return 0;
}

static int create_view(struct kvmi_vm_create_view_reply *view)
{
	for (view->view = 1; view->view < VIEWS && exists[view->view]; view->view++)
		;
	if (view->view == VIEWS)
		return -EBUSY;
	exists[view->view] = true;
	memcpy(access_of[view->view], access_of[0], sizeof(access_of[0]));
	memcpy(shown[view->view], shown[0], sizeof(shown[0]));
	return 0;
}

static int destroy_view(uint16_t view)
{
	unsigned int i;

	if (!view || view >= VIEWS || !exists[view])
		return -EINVAL;
	for (i = 0; i < VCPUS; i++)
		if (vcpus[i].view == view)
			return -EBUSY;
	exists[view] = false;
	return 0;
}

static void list_views(const struct peer_msg *msg)
{
	struct {
		struct kvmi_vm_list_views_reply hdr;
		struct kvmi_view_info views[VIEWS];
	} list = { .hdr = { .count = 0 } };
	unsigned int i;

	for (i = 0; i < VIEWS; i++)
		if (exists[i])
			list.views[list.hdr.count++].view = i;
	peer_reply(sock, msg, 0, &list,
		   sizeof(list.hdr) + list.hdr.count * sizeof(list.views[0]));
}

static int change_gfn(const struct peer_msg *msg)
{
	const struct kvmi_vm_change_gfn *req = (const void *)msg->data;

	if (req->view >= VIEWS || !exists[req->view] || req->gfn >= PAGES || req->new_gfn >= PAGES)
		return -EINVAL;
	shown[req->view][req->gfn] = req->new_gfn;
	return 0;
}

static int memory(const struct peer_msg *msg)
{
	const struct kvmi_vm_write_physical *req = (const void *)msg->data;

	if (req->gpa >= RAM || req->gpa + req->size > RAM)
		return -ENOENT;
	if (msg->hdr.id == KVMI_VM_WRITE_PHYSICAL)
		memcpy(ram + req->gpa, req->data, req->size);
	return 0;
}

static bool vm_command(const struct peer_msg *msg)
{
	struct kvmi_vm_get_info_reply info = { .vcpu_count = VCPUS, .address_spaces = 1 };
	struct kvmi_vm_get_features_reply f = {
		.commands = { ~0ull, ~0ull }, .events = ~0ull, .actions = 0xf, .views = VIEWS,
		.access = KVMI_PAGE_ACCESS_RWX & ~(is("svm") ? KVMI_PAGE_ACCESS_R : 0),
		.flags = KVMI_FEATURE_SINGLESTEP | (is("svm") ? 0 : KVMI_FEATURE_EXEC_ONLY) |
			 (fake_has_rules() ? KVMI_FEATURE_RULES : 0),
	};
	struct {
		struct kvmi_vm_get_memslots_reply hdr;
		struct kvmi_memslot slot;
	} slots = { .hdr.nr_slots = 1, .slot.npages = PAGES };
	const struct kvmi_vm_read_physical *req = (const void *)msg->data;
	struct kvmi_vm_create_view_reply view = { 0 };
	int err = 0;

	if (fake_rules(sock, msg))
		return true;
	switch (msg->hdr.id) {
	case KVMI_GET_VERSION:
		peer_version(sock, msg);
		return true;
	case KVMI_VM_GET_INFO:
		return peer_reply(sock, msg, 0, &info, sizeof(info));
	case KVMI_VM_GET_FEATURES:
		return is("old") ? peer_reply(sock, msg, -1000, NULL, 0) :
		       peer_reply(sock, msg, 0, &f, sizeof(f));
	case KVMI_VM_GET_MEMSLOTS:
		return peer_reply(sock, msg, 0, &slots, sizeof(slots));
	case KVMI_VM_READ_PHYSICAL:
		err = memory(msg);
		return peer_reply(sock, msg, err, err ? NULL : ram + req->gpa, err ? 0 : req->size);
	case KVMI_VM_WRITE_PHYSICAL:
		err = memory(msg);
		break;
	case KVMI_VM_CONTROL_EVENTS:
		vm_events += msg->data[2] ? 1 : -1;
		break;
	case KVMI_VM_PAUSE_VCPU:
		asked = true;
		if (vcpus[msg->data[0] % VCPUS].pauses == MAX_PAUSES) {
			err = -EBUSY;
			refused = true;
		} else {
			vcpus[msg->data[0] % VCPUS].pauses++;
		}
		break;
	case KVMI_VM_SET_PAGE_ACCESS:
		err = set_access(msg);
		break;
	case KVMI_VM_CREATE_VIEW:
		err = create_view(&view);
		return peer_reply(sock, msg, err, &view, err ? 0 : sizeof(view));
	case KVMI_VM_DESTROY_VIEW:
		err = destroy_view(msg->data[0]);
		break;
	case KVMI_VM_LIST_VIEWS:
		if (is("old"))
			peer_reply(sock, msg, -1000, NULL, 0);
		else
			list_views(msg);
		return true;
	case KVMI_VM_CHANGE_GFN:
		err = change_gfn(msg);
		break;
	case KVMI_VM_SHUTDOWN:
		printf("shut down\n");
		break;
	default:
		return false;
	}
	peer_reply(sock, msg, err, NULL, 0);
	return true;
}

static void get_registers(struct vcpu *v, const struct peer_msg *msg)
{
	const struct kvmi_vcpu_get_registers *req = (const void *)(msg->data + 8);
	struct {
		struct kvmi_vcpu_get_registers_reply r;
		struct kvm_msr_entry e[1];
	} out;

	memset(&out, 0, sizeof(out));
	out.r.mode = 8;
	out.r.regs = v->regs;
	out.r.msrs.nmsrs = req->nmsrs;
	if (req->nmsrs > 1 || (req->nmsrs && req->msrs_idx[0] == 0x666)) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	out.e[0].index = req->nmsrs ? req->msrs_idx[0] : 0;
	out.e[0].data = 0xabcdef;
	peer_reply(sock, msg, 0, &out, sizeof(out.r) + req->nmsrs * sizeof(out.e[0]));
}

static int control_events(struct vcpu *v, const unsigned char *d)
{
	bool few = is("deny") && (d[0] == KVMI_VCPU_EVENT_PF || d[0] == KVMI_VCPU_EVENT_BREAKPOINT);

	if (few || (is("notrap") && d[0] == KVMI_VCPU_EVENT_ACCESS))
		return -EPERM;
	/* An error for this event alone */
	if (d[0] == KVMI_VCPU_EVENT_BREAKPOINT && wants(v, d[0]) == !!d[2])
		return -EBUSY;
	if (d[0] == KVMI_VCPU_EVENT_BREAKPOINT)
		printf("BREAKPOINT %s\n", d[2] ? "on" : "off");
	if (d[2])
		v->events |= 1ull << d[0];
	else
		v->events &= ~(1ull << d[0]);
	return 0;
}

static void get_xsave(const struct peer_msg *msg)
{
	const struct kvmi_vcpu_get_xsave2 *req = (const void *)(msg->data + 8);
	struct {
		struct kvmi_vcpu_get_xsave2_reply hdr;
		unsigned char data[XSAVE];
	} out = { .hdr = { .total = XSAVE } };
	size_t size = req->size < XSAVE - req->offset ? req->size : XSAVE - req->offset;

	memcpy(out.data, xsave + req->offset, size);
	peer_reply(sock, msg, 0, &out, sizeof(out.hdr) + size);
}

static void vcpu_command(const struct peer_msg *msg)
{
	struct vcpu *v = &vcpus[((const struct kvmi_vcpu_hdr *)msg->data)->vcpu % VCPUS];
	const struct kvmi_vcpu_translate_gva *gva = (const void *)(msg->data + 8);
	struct kvmi_vcpu_translate_gva_reply gpa = { .gpa = ~0ull };
	struct kvmi_vcpu_get_control_reply control = { 0 };
	const unsigned char *d = msg->data + 8;
	int err = 0;

	if (!v->started && !v->open) {
		peer_reply(sock, msg, -EAGAIN, NULL, 0);
		return;
	}
	switch (msg->hdr.id) {
	case KVMI_VCPU_GET_REGISTERS:
		get_registers(v, msg);
		return;
	case KVMI_VCPU_SET_REGISTERS:
		err = v->open ? 0 : -EOPNOTSUPP;
		if (!err)
			memcpy(&v->regs, d, sizeof(v->regs));
		if (!err && is("real"))
			v->regs.rip += 0x4000;
		break;
	case KVMI_VCPU_CONTROL_EVENTS:
		err = control_events(v, d);
		break;
	case KVMI_VCPU_CONTROL_SINGLESTEP:
		v->step = d[0];
		break;
	case KVMI_VCPU_GET_CONTROL:
		control.events = v->events;
		control.singlestep = v->step;
		peer_reply(sock, msg, 0, &control, sizeof(control));
		return;
	case KVMI_VCPU_SET_VIEW:
		err = d[0] < VIEWS && exists[d[0]] ? 0 : -EINVAL;
		if (!err)
			v->view = d[0];
		break;
	case KVMI_VCPU_TRANSLATE_GVA:
		if (is("real") && gva->gva < RAM)
			gpa.gpa = gva->gva;
		if (!is("real") && (cr3 == TABLES || is("program")) && gva->gva - BASE < RAM)
			gpa.gpa = gva->gva - BASE;
		peer_reply(sock, msg, 0, &gpa, sizeof(gpa));
		return;
	case KVMI_VCPU_GET_XSAVE2:
		if (!is("noxsave")) {
			get_xsave(msg);
			return;
		}
		err = -EPERM;
		break;
	case KVMI_VCPU_SET_XSAVE2:
		memcpy(xsave, d + 8, msg->hdr.size - 16);
		break;
	}
	peer_reply(sock, msg, err, NULL, 0);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void tell_what_is_left(void)
{
	unsigned int i, v, left[4] = { 0 };
	uint64_t events = 0;

	for (i = 0; i < VCPUS; i++) {
		left[0] += vcpus[i].step;
		left[1] += vcpus[i].view != 0;
		events |= vcpus[i].events;
	}
	for (i = 0; i < PAGES; i++)
		left[2] += access_of[0][i] != KVMI_PAGE_ACCESS_RWX;
	for (v = 1; v < VIEWS; v++)
		left[3] += exists[v];
	for (i = 0x10000; i < 0x9f000 && !ram[i]; i++)
		;
	printf("left: events %llx, %d of the VM, steps %u, vCPUs in views %u, ",
	       (unsigned long long)events, vm_events, left[0], left[1]);
	printf("pages %u, views %u%s\n", left[2], left[3], i < 0x9f000 ? ", a copy" : "");
	printf("executed %llu\n", (unsigned long long)executed);
}

/* One instruction of each vCPU that runs, now and then */
static void run_guest(void)
{
	struct kvmi_event_hdr unhook = { .event = KVMI_VM_EVENT_UNHOOK };
	unsigned int i;

	for (i = 0; i < VCPUS; i++)
		if (vcpus[i].started && !vcpus[i].open)
			execute(&vcpus[i]);
	if (vcpus[0].count > START_AFTER)
		vcpus[1].started = true;
	if (vcpus[0].count == END_AFTER && is("close"))
		exit(0);
	if (vcpus[0].count == END_AFTER && is("unhook")) {
		peer_send(sock, KVMI_VM_EVENT, ++seq, &unhook, sizeof(unhook));
		what = "";
	}
	usleep(20);
}

int main(int argc, char **argv)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct pollfd fd = { .events = POLLIN };
	struct peer_msg msg;
	uint8_t cookie[20];
	bool stopped;
	long start;
	int i;

	if (argc < 2 || strlen(argv[1]) >= sizeof(sun.sun_path))
		return 2;
	if (argc > 2)
		what = argv[2];
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_guest();
	fake_rules_begin();
	memcpy(sun.sun_path, argv[1], strlen(argv[1]));
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	for (i = 0; connect(sock, (struct sockaddr *)&sun, sizeof(sun)); i++) {
		if (i == 500) {
			perror("connect");
			return 1;
		}
		usleep(10000);
	}
	if (!peer_handshake(sock, "executing", RAM, cookie)) {
		printf("no handshake\n");
		return 1;
	}
	fd.fd = sock;
	start = now_ms();
	for (;;) {
		stopped = is("stopped") && now_ms() - start < STOPPED_MS;
		if (poll(&fd, 1, 0) <= 0) {
			if (!stopped && asked)
				run_guest();
			else
				usleep(1000);
			continue;
		}
		if (!peer_receive(sock, &msg))
			break;
		if (msg.hdr.id == KVMI_VCPU_EVENT)
			event_reply(&msg);
		/* A vCPU that does not run does not answer */
		else if (!vm_command(&msg) && !stopped)
			vcpu_command(&msg);
	}
	tell_what_is_left();
	return 0;
}
