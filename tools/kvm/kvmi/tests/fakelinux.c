// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pretended VM with a kernel in its memory, views, and page access.
 *
 * The kernel's page tables begin at CR3 and map its image, of which four pages
 * are text, four read-only data and one is data; and a module elsewhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fakevm.h"

#define COPY 0x9e000		/* where the tool puts the first copy of a page */
#define TABLE		(IMAGE + 0x4c00)	/* of system calls */
#define SWITCH		(IMAGE + 0x4100)	/* where a switch for them leads to */
#define NR_CALLS	335
#define NR_OPENAT	257
#define ENTRY		(TABLE + NR_OPENAT * 8)	/* of openat() in the table */
#define OPENAT		(IMAGE + 0x100 + NR_OPENAT * 8)
#define LINUX_BANNER	(IMAGE + 0x7f00)
#define NAME		0x2000
#define LATE_NAME	0x3000
#define VIEWS		7

#define INFO		0xd0000		/* VMCOREINFO */
#define MANY		0x10000		/* tables of one page mapped again and again */

#define RO_X		0x1ull
#define RO_NX		(1ull << 63 | 0x1)
#define RW_NX		(1ull << 63 | 0x3)

static bool exists[VIEWS] = { true };
static uint16_t view_of[VCPUS];
static bool stepping[VCPUS];
static unsigned int restricted, changed;
unsigned int fake_linux_rounds = 1;
bool fake_linux_dma;
const char *fake_linux_maps;
static uint64_t spare;
static uint8_t tool_access[VIEWS][MAX_TOOL_MEMORY / 4096];
static bool asked;			/* the tool, about what the guest does */
static bool read_late;			/* LATE_NAME is in memory */

void fake_put(uint64_t gpa, uint64_t value)
{
	memcpy(ram + gpa, &value, sizeof(value));
}

/* A page like VMCOREINFO, of a kernel at @base of physical memory */
static void put_info(uint64_t gpa, uint64_t base, const char *more)
{
	const unsigned int hdr[] = { 11, 0, 0 };
	int n;

	memcpy(ram + gpa, hdr, sizeof(hdr));
	memcpy(ram + gpa + 12, "VMCOREINFO", 11);
	n = sprintf((char *)ram + gpa + 24, "OSRELEASE=9.9.9\nSYMBOL(_stext)=ffffffff81000000\n"
		    "NUMBER(phys_base)=%lld\n%s", (long long)base - 0x1000000, more);
	memcpy(ram + gpa + 4, &n, sizeof(n));
}

/* The kernel has written to its read-only data for the last time */
void fake_linux_seal(void)
{
	unsigned int i;

	for (i = 4; i < 8; i++)
		fake_put(0xa3000 + i * 8, (IMAGE + i * 4096) | RO_NX);
}

static void wrong_maps(void)
{
	unsigned int i, n;
	uint64_t table;

	if (!strcmp(fake_linux_maps, "holes")) {
		/* Pages beyond the end of memory, and more pieces than anybody wants to see */
		for (i = 10; i < 300; i += 2)
			fake_put(0xa3000 + i * 8, (IMAGE + i * 4096) | RO_NX);
	}
	/* One that is no memory comes first */
	if (!strcmp(fake_linux_maps, "firsthole")) {
		fake_put(0xa2000 + 7 * 8, 0xa9000 | 3);
		fake_put(0xa9000 + 0x190 * 8, HOLE | RO_NX);
	}
	/* It has begun to protect itself, and its data can be written still */
	if (strstr(fake_linux_maps, "seals")) {
		for (i = 4; i < 8; i++)
			fake_put(0xa3000 + i * 8, (IMAGE + i * 4096) | RW_NX);
	}
	/* No processor has pages of 512 GiB */
	if (!strcmp(fake_linux_maps, "large"))
		fake_put(FAKE_CR3 + 511 * 8, 0xa1000 | 0x83);
	if (!strcmp(fake_linux_maps, "self")) {
		for (i = 256; i < 500; i++)
			fake_put(FAKE_CR3 + i * 8, (i % 2 ? FAKE_CR3 : 0xa1000) | 3);
	}
	if (!strcmp(fake_linux_maps, "many")) {
		fake_put(0xa1000, 0xa5000 | 3);
		for (n = 0; n < 70; n++) {
			table = MANY + n * 4096;
			table += table >= HOLE ? 4096 : 0;
			fake_put(0xa5000 + n * 8, table | 3);
			for (i = 0; i < 512; i++)
				fake_put(table + i * 8, IMAGE | RW_NX);
		}
	}
	if (strstr(fake_linux_maps, "info"))
		put_info(0x60000, 0x5000000, "");
	if (!strcmp(fake_linux_maps, "fakeinfo")) {
		put_info(0x61000, IMAGE, "no text: \1");
		put_info(0x62000, IMAGE, "");
		fake_put(0x62000, 0xffffffff0000000bull);
		put_info(0x63000, IMAGE, "");
		memcpy(ram + 0x63024, "7000", 4);
	}
	if (!strcmp(fake_linux_maps, "info"))
		put_info(INFO, IMAGE, "CRASHTIME=1\n");
}

void fake_linux_boot(void)
{
	static const unsigned short gone[] = {
		174, 177, 178, 180, 181, 182, 183, 184, 185, 205, 211, 214, 215, 236,
	};
	const char *path = getenv("FAKE_PATH"), *tasks;
	unsigned int i;

	/* The first page is that of a tool that was lost */
	memset(tool_access, 7, sizeof(tool_access));
	memset(ram + RAM, 0x55, MAX_TOOL_MEMORY);
	if (getenv("FAKE_TOOL_LEFT"))
		tool_access[0][0] = 0;
	fake_put(FAKE_CR3 + 511 * 8, 0xa1000 | 3);
	fake_put(0xa1000 + 510 * 8, 0xa2000 | 3);
	fake_put(0xa2000 + 8 * 8, 0xa3000 | 3);
	for (i = 0; i < 9; i++)
		fake_put(0xa3000 + i * 8, (IMAGE + i * 4096) |
			 (i < 4 ? RO_X : i < 8 ? RO_NX : RW_NX));
	/* A module: read-only too, but not in one piece with the image */
	fake_put(0xa2000 + 256 * 8, 0xa4000 | 3);
	fake_put(0xa4000, 0xc0000 | RO_X);
	wrong_maps();

	for (i = 0; i < NR_CALLS; i++) {
		fake_put(TABLE + i * 8, IMAGE_GVA + 0x100 + i * 8);
		fake_put(SWITCH + i * 8, IMAGE_GVA + 0x100 + i * 5);
	}
	for (i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		fake_put(TABLE + gone[i] * 8, IMAGE_GVA + 0x3000);
		fake_put(SWITCH + gone[i] * 8, IMAGE_GVA + 0x80);
	}

	/* struct pt_regs at 0, as RDI of the events says: openat() */
	fake_put(14 * 8, -100ll);
	fake_put(13 * 8, NAME);
	fake_put(12 * 8, 0x8000);
	if (!path)
		path = "/etc/hostname";
	memcpy(ram + NAME, path, strlen(path) + 1);
	memcpy(ram + LATE_NAME, "/late", 6);
	memset(ram + OPENAT, 0x90, 16);
	memcpy(ram + LINUX_BANNER, "Linux version 9.9.9", 19);
	/* As are these views, one with every vCPU in it and one with none */
	if (getenv("FAKE_VIEWS_LEFT")) {
		exists[1] = true;
		exists[2] = true;
		view_of[0] = 1;
		view_of[1] = 1;
	}
	if (getenv("FAKE_CONTROL_LEFT"))
		stepping[0] = true;
	tasks = strstr(fake_linux_maps, "tasks");
	if (tasks)
		fake_tasks_boot(tasks[5] ? tasks + 6 : "");
}

bool fake_linux_translate(uint64_t gva, __u64 *gpa)
{
	if (gva >= IMAGE_GVA && gva < IMAGE_GVA + 9 * 4096)
		*gpa = gva - IMAGE_GVA + IMAGE;
	else if (gva < 0x3000)
		*gpa = gva;
	else if (read_late && gva >= LATE_NAME && gva < LATE_NAME + 4096)
		*gpa = gva;
	else if (gva >= TASKS_GVA && gva < TASKS_GVA + 4096)
		*gpa = gva - TASKS_GVA + TASKS_PAGE;
	else
		return false;
	return true;
}

/* The guest writes to the page of a copy just before it may not, and as soon as it may */
static void race(uint64_t gpa, uint8_t access)
{
	static bool once;

	if (access & KVMI_PAGE_ACCESS_W) {
		ram[gpa + 0x30] = 0x41;
		printf("it may write %#llx, which has %#x\n", (unsigned long long)gpa,
		       ram[gpa + OPENAT % 4096]);
	} else if (!once) {
		once = true;
		ram[gpa + 0x30] = 0x31;
	}
}

static int set_access(const struct peer_msg *msg)
{
	const struct kvmi_vm_set_page_access *req = (const void *)msg->data;
	unsigned int i;

	if (req->view >= VIEWS || !exists[req->view] || (req->as_id && !fake_has_smm()))
		return -EINVAL;
	for (i = 0; i < req->count; i++) {
		if (strstr(fake_linux_maps, "race") && !req->view && !req->as_id)
			race(req->entries[i].gpa, req->entries[i].access);
		if (!fake_is_ram(req->entries[i].gpa, 4096) ||
		    (req->as_id && !strcmp(getenv("FAKE_SMM"), "part") &&
		     req->entries[i].gpa >= 0xb4000))
			return -EINVAL;
		if (req->entries[i].gpa >= RAM)
			tool_access[req->view][(req->entries[i].gpa - RAM) / 4096] =
				req->entries[i].access;
		printf("view %u: %#llx, %u pages: access %u%s\n", req->view,
		       (unsigned long long)req->entries[i].gpa, req->entries[i].npages,
		       req->entries[i].access, req->as_id ? " in SMM" : "");
	}
	restricted += req->count;
	return 0;
}

static int change_gfn(const struct peer_msg *msg)
{
	const struct kvmi_vm_change_gfn *req = (const void *)msg->data;

	if (req->view >= VIEWS || !exists[req->view] || !fake_is_ram(req->new_gfn * 4096, 4096))
		return -EINVAL;
	printf("view %u: %#llx shows %#llx\n", req->view, (unsigned long long)req->gfn,
	       (unsigned long long)req->new_gfn);
	spare = req->new_gfn * 4096;
	changed++;
	return 0;
}

static int set_view(uint16_t vcpu, uint16_t view)
{
	if (getenv("FAKE_NO_SET_VIEW"))
		return -EPERM;
	if (view >= VIEWS || !exists[view])
		return -EINVAL;
	view_of[vcpu] = view;
	return 0;
}

uint16_t fake_linux_view(uint16_t vcpu)
{
	return view_of[vcpu];
}

static int destroy_view(uint16_t view)
{
	unsigned int i;

	if (!view || view >= VIEWS || !exists[view])
		return -EINVAL;
	for (i = 0; i < VCPUS; i++)
		if (view_of[i] == view)
			return -EBUSY;
	exists[view] = false;
	printf("view %u destroyed\n", view);
	return 0;
}

static void list_views(int sock, const struct peer_msg *msg)
{
	struct {
		struct kvmi_vm_list_views_reply hdr;
		struct kvmi_view_info views[VIEWS];
	} list = { .hdr = { .count = 0 } };
	unsigned int i, vcpu;

	for (i = 0; i < VIEWS; i++) {
		if (!exists[i])
			continue;
		list.views[list.hdr.count].view = i;
		for (vcpu = 0; vcpu < VCPUS; vcpu++)
			list.views[list.hdr.count].nr_vcpus += view_of[vcpu] == i;
		list.hdr.count++;
	}
	peer_reply(sock, msg, 0, &list,
		   sizeof(list.hdr) + list.hdr.count * sizeof(list.views[0]));
}

/* Once the guest waits for an answer each read takes its time: how many are there? */
#define LAG_US 50000

static unsigned int reads;

/* A command about pages, views or steps; false for another one */
bool fake_linux(int sock, const struct peer_msg *msg)
{
	struct kvmi_vm_get_features_reply f = {
		.commands = { ~0ull, ~0ull }, .events = ~0ull, .actions = 0xf,
		.address_spaces = getenv("FAKE_SMM") ? 2 : 1, .access = 7, .views = VIEWS,
		.flags = KVMI_FEATURE_EXEC_ONLY | KVMI_FEATURE_SINGLESTEP |
			 (fake_has_rules() ? KVMI_FEATURE_RULES : 0),
	};
	const struct kvmi_vm_get_page_access *get = (const void *)msg->data;
	uint16_t vcpu = msg->data[0];
	struct kvmi_vcpu_get_view_reply in = { 0 };
	struct kvmi_vm_create_view_reply new = { 0 };
	unsigned char all[KINT_MAX_GET_ACCESS];

	if (fake_linux_dma && spare && ram[spare + 0x10] == 0x88) {
		printf("the copy has what the device wrote\n");
		/* And then it writes to the page of the copy */
		ram[spare + 0x20] = 0x99;
		fake_linux_dma = false;
	}
	if (msg->hdr.id == KVMI_VM_READ_PHYSICAL && asked && strstr(fake_linux_maps, "lag")) {
		usleep(LAG_US);
		reads++;
	}
	switch (msg->hdr.id) {
	case KVMI_VM_GET_FEATURES:
		peer_reply(sock, msg, 0, &f, sizeof(f));
		return true;
	case KVMI_VM_SET_PAGE_ACCESS:
		peer_reply(sock, msg, set_access(msg), NULL, 0);
		return true;
	case KVMI_VM_GET_PAGE_ACCESS:
		memset(all, 7, sizeof(all));
		if (get->gpa[0] >= RAM && get->view < VIEWS)
			all[0] = tool_access[get->view][(get->gpa[0] - RAM) / 4096 %
							(MAX_TOOL_MEMORY / 4096)];
		if (get->view < VIEWS && exists[get->view])
			peer_reply(sock, msg, 0, all, get->count);
		else
			peer_reply(sock, msg, -EINVAL, NULL, 0);
		return true;
	case KVMI_VM_CREATE_VIEW:
		for (new.view = 0; new.view < VIEWS && exists[new.view]; new.view++)
			;
		if (new.view == VIEWS) {
			peer_reply(sock, msg, -EBUSY, NULL, 0);
			return true;
		}
		exists[new.view] = true;
		memcpy(tool_access[new.view], tool_access[0], sizeof(tool_access[0]));
		peer_reply(sock, msg, 0, &new, sizeof(new));
		return true;
	case KVMI_VM_DESTROY_VIEW:
		peer_reply(sock, msg, destroy_view(msg->data[0]), NULL, 0);
		return true;
	case KVMI_VM_LIST_VIEWS:
		if (getenv("FAKE_NO_LIST"))
			peer_reply(sock, msg, -EPERM, NULL, 0);
		else
			list_views(sock, msg);
		return true;
	case KVMI_VM_CHANGE_GFN:
		peer_reply(sock, msg, change_gfn(msg), NULL, 0);
		return true;
	case KVMI_VCPU_SET_VIEW:
		peer_reply(sock, msg, set_view(vcpu, msg->data[8]), NULL, 0);
		return true;
	case KVMI_VCPU_GET_VIEW:
		in.view = view_of[vcpu];
		peer_reply(sock, msg, 0, &in, sizeof(in));
		return true;
	case KVMI_VCPU_CONTROL_SINGLESTEP:
		stepping[vcpu] = msg->data[8];
		if (getenv("FAKE_CONTROL_LEFT"))
			printf("vCPU %u: steps %u\n", vcpu, stepping[vcpu]);
		peer_reply(sock, msg, 0, NULL, 0);
		return true;
	default:
		return false;
	}
}

/* ---- What the guest does, and the answers ---- */
#define ACT(id, gpa, what) { KVMI_VCPU_EVENT_##id, gpa, what, 0, { .nr = 0 }, 0 }
/* Of so many bytes */
#define WRITE(gpa, size) \
	{ KVMI_VCPU_EVENT_PF, gpa, KVMI_PAGE_ACCESS_W, 0, { .nr = 0 }, size }
#define READ(gpa, size) \
	{ KVMI_VCPU_EVENT_PF, gpa, KVMI_PAGE_ACCESS_R, 0, { .nr = 0 }, size }
/* A system call of that vCPU's process, which comes back; and the step after either */
#define MAKE(vcpu, nr, ...) \
	{ KVMI_VCPU_EVENT_BREAKPOINT, MAKES_CALL, 0, vcpu, \
	  { nr, { __VA_ARGS__ }, -38, FAKE_IP, 0 }, 0 }
#define COME(vcpu, nr, result, ip, saved_ip) \
	{ KVMI_VCPU_EVENT_BREAKPOINT, CALL_RETURNS, 0, vcpu, \
	  { nr, { 0 }, result, ip, saved_ip }, 0 }
#define STEP(vcpu) { KVMI_VCPU_EVENT_SINGLESTEP, 0, 0, vcpu, { .nr = 0 }, 0 }

static const struct act {
	uint16_t id;
	uint64_t gpa;
	uint8_t what;		/* access, or failed */
	uint16_t vcpu;
	struct fake_call call;	/* what is on its stack */
	uint8_t size;		/* of the access; 0 if KVM cannot emulate it */
} attack[] = {
	ACT(PF, TABLE + NR_OPENAT * 8, KVMI_PAGE_ACCESS_W),
	ACT(PF, TABLE + NR_OPENAT * 8, KVMI_PAGE_ACCESS_W),
	ACT(PF, IMAGE + 0x48, KVMI_PAGE_ACCESS_W),
}, bytes[] = {
	/* In front of the entry of openat() in the table, in it, and across its ends */
	WRITE(ENTRY - 8, 8),
	WRITE(ENTRY, 8),
	WRITE(ENTRY - 4, 8),
	WRITE(ENTRY + 7, 2),
	WRITE(ENTRY + 8, 4),
	WRITE(ENTRY - 8, 32),
	/* The ends of the page */
	WRITE(IMAGE + 0x5000, 16),
	WRITE(IMAGE + 0x5ffc, 4),
	/* Far away from it, but who knows how much */
	WRITE(IMAGE + 0x5800, 0),
	/* Another page */
	WRITE(IMAGE + 0x48, 4),
}, breaks[] = {
	ACT(BREAKPOINT, OPENAT, 0),
	ACT(SINGLESTEP, 0, 1),
	ACT(SINGLESTEP, 0, 0),
	/* Somebody reads the page, and MOVS writes it too, somebody writes it */
	ACT(PF, IMAGE + 0x10, KVMI_PAGE_ACCESS_R),
	ACT(SINGLESTEP, 0, 0),
	ACT(PF, IMAGE + 0x10, KVMI_PAGE_ACCESS_W),
	ACT(SINGLESTEP, 0, 0),
	/* It is hit again, and the guest has an INT3 of its own there by then */
	ACT(BREAKPOINT, OPENAT, 0),
	ACT(BREAKPOINT, OPENAT, 0),
	ACT(SINGLESTEP, 0, 0),
	/* Not the tool's */
	ACT(BREAKPOINT, 0x5000, 0),
	/* The guest begins to use the page of the copy */
	ACT(PF, COPY + 0x10, KVMI_PAGE_ACCESS_W),
},
/* It does if it is one of those for the tool: in ways that KVM can emulate, and others */
pokes[] = {
	ACT(BREAKPOINT, OPENAT, 0),
	ACT(SINGLESTEP, 0, 0),
	WRITE(RAM + 0x10, 4),
	READ(RAM + 0x908, 8),
	WRITE(RAM + 0x10, 0),
	ACT(PF, RAM, KVMI_PAGE_ACCESS_X),
	/* The other page of an instruction that KVM emulates */
	{ KVMI_VCPU_EVENT_ACCESS, IMAGE + 0x10, KVMI_PAGE_ACCESS_W, 0, { .nr = 0 }, 1 },
	ACT(SINGLESTEP, 0, 0),
},
/* System calls of two processes; each ends with that of the other under way */
calls[] = {
	MAKE(0, NR_OPENAT, -100, NAME, 0x8000, 0), STEP(0),
	MAKE(1, 0, 3, 0x1234, 4096), STEP(1),
	COME(0, NR_OPENAT, -2, FAKE_IP, 0), STEP(0),
	/* The thread was killed, and another has its stack */
	MAKE(1, 9, 0, 8192, 3, 0x22), STEP(1),
	COME(1, 9, 0x7f0000000000, FAKE_IP, 0), STEP(1),
	/* It was under way when the tool came */
	COME(0, 39, 45, FAKE_IP, 0), STEP(0),
	/* The registers are others afterwards, and there is no path any more */
	MAKE(0, 59, NAME, 0, 0), STEP(0),
	COME(0, -1, 0, 0x5000, 0), STEP(0),
	COME(0, -1, 7, 0x5000, 0), STEP(0),
	/* A signal: it is made again; and another one, which is handled */
	MAKE(0, 0, 3, 0x1234, 4096), STEP(0),
	COME(0, 0, 0, FAKE_IP - 2, 0), STEP(0),
	MAKE(0, 35, 0x5678, 0), STEP(0),
	COME(0, 35, 0, 0x6000, 0), STEP(0),
	MAKE(0, 61, -1, 0, 0, 0), STEP(0),
	COME(0, 61, 0, 0x6000, FAKE_IP), STEP(0),
	/* A name that is not in memory before the kernel reads it */
	MAKE(0, 80, LATE_NAME), STEP(0),
	COME(0, 80, 0, FAKE_IP, 0), STEP(0),
	MAKE(0, 231, 3), STEP(0),
	MAKE(1, 1000, 1, 2, 3, 4), STEP(1),
};

static const struct act *act, *acts, *acts_end;
static bool traced, not_emulated;	/* the access of @act */
static uint32_t seq = 1000;
static unsigned int steps;		/* that "step" has had executed */

/* The question that @act is by now */
static uint16_t make_event(unsigned char data[64], size_t *size)
{
	struct kvmi_vcpu_event_access access = {
		.gpa = act->gpa, .gva = act->gpa - IMAGE + IMAGE_GVA, .access = act->what,
		.size = act->size, .data[0] = 0x44,
	};
	struct kvmi_vcpu_event_pf pf = {
		.gpa = act->gpa, .gva = access.gva, .access = act->what, .view = view_of[0],
		.flags = (not_emulated ? KVMI_PF_NOT_EMULATED : 0) |
			 (!strcmp(fake_linux_maps, "delivery") ? KVMI_PF_DELIVERY : 0),
	};
	struct kvmi_vcpu_event_breakpoint bp = { .gpa = act->gpa, .insn_len = 1 };
	struct kvmi_vcpu_event_singlestep step = { .failed = act->what };

	if (traced || act->id == KVMI_VCPU_EVENT_ACCESS) {
		*size = sizeof(access);
		memcpy(data, &access, sizeof(access));
		return KVMI_VCPU_EVENT_ACCESS;
	}
	if (act->id == KVMI_VCPU_EVENT_PF) {
		*size = sizeof(pf);
		memcpy(data, &pf, sizeof(pf));
	} else if (act->id == KVMI_VCPU_EVENT_BREAKPOINT) {
		*size = sizeof(bp);
		memcpy(data, &bp, sizeof(bp));
	} else {
		*size = sizeof(step);
		memcpy(data, &step, sizeof(step));
	}
	return act->id;
}

/* Returns true when the guest has nothing left to do */
static bool act_done(unsigned int action, bool trace, const char *how)
{
	static const char *const actions[] = { "ALLOW", "RETRY", "CRASH", "SKIP" };
	uint16_t id = traced ? KVMI_VCPU_EVENT_ACCESS : act->id;

	printf("event %u %s, view %u%s%s%s\n", id, actions[action & 3], view_of[act->vcpu],
	       stepping[act->vcpu] ? ", stepping" : "", trace ? ", traced" : "", how);
	if (act->id == KVMI_VCPU_EVENT_ACCESS && action == KVMI_EVENT_ACTION_ALLOW) {
		printf("KVM has written %#llx\n", (unsigned long long)act->gpa);
		ram[act->gpa] = 0x44;
	}
	/* The page with the breakpoint: the guest's own has changed */
	if (act->gpa == COPY + 0x10)
		printf("the page of the first copy has %#x, the copy %#x\n", ram[COPY + 0x10],
		       ram[spare + 0x10]);
	else if (act->id == KVMI_VCPU_EVENT_PF && changed && act->gpa < RAM)
		ram[IMAGE + 0x10] = act->what == KVMI_PAGE_ACCESS_R ? 0x66 : 0x77;
	if (act->id == KVMI_VCPU_EVENT_SINGLESTEP && spare < RAM)
		printf("the copy has %#x\n", ram[spare + 0x10]);

	if (trace && action == KVMI_EVENT_ACTION_ALLOW && !not_emulated) {
		traced = act->size;
		not_emulated = !act->size;
		return false;
	}
	if (act->id == KVMI_VCPU_EVENT_PF && action == KVMI_EVENT_ACTION_ALLOW)
		printf("%u bytes written at %#llx\n", act->size, (unsigned long long)act->gpa);
	traced = false;
	not_emulated = false;
	if (++act < acts_end)
		return false;
	act = acts;
	return !--fake_linux_rounds;
}

/* Returns true when the guest has nothing left to do, and waits for no reply */
static bool send_act(int sock)
{
	_Alignas(8) unsigned char data[64];
	uint8_t verdict;
	uint16_t id;
	size_t size;

	do {
		if (act->call.ip)
			peer_regs.rsp = fake_tasks_call(act->vcpu, &act->call);
		read_late = act->gpa == CALL_RETURNS;
		id = make_event(data, &size);
		verdict = fake_rules_verdict(id, act->vcpu, view_of[act->vcpu], data,
					     fake_events_on >> KVMI_VCPU_EVENT_ACCESS & 1);
		if (verdict == KVMI_RULE_ASK) {
			peer_vcpu_event(sock, ++seq, act->vcpu, id, data, size);
			asked = true;
			return false;
		}
		if (verdict == KVMI_RULE_NOTIFY)
			peer_vcpu_notification(sock, ++seq, act->vcpu, id, data, size);
	} while (!act_done(fake_rules_action(verdict), verdict == KVMI_RULE_TRACE, ", by rule"));
	return true;
}

static void send_step(int sock)
{
	struct kvmi_vcpu_event_singlestep step = { 0 };

	steps++;
	peer_regs.rip += 3;
	peer_regs.rax++;
	peer_vcpu_event(sock, ++seq, 0, KVMI_VCPU_EVENT_SINGLESTEP, &step, sizeof(step));
}

/* Every vCPU has had its PAUSE event.  Returns true when there is nothing left to do. */
bool fake_linux_run(int sock)
{
	if (strstr(fake_linux_maps, "early"))
		printf("all are armed, the copy has %#x\n", ram[spare + 0x10]);
	if (fake_linux_dma) {
		ram[IMAGE + 0x10] = 0x88;
	} else if (changed && strstr(fake_linux_maps, "trace")) {
		acts = calls;
		acts_end = calls + sizeof(calls) / sizeof(calls[0]);
	} else if (changed && spare >= RAM) {
		printf("the copy has %#x, the guest %#x\n", ram[spare + OPENAT % 4096],
		       ram[OPENAT]);
		acts = pokes;
		acts_end = pokes + sizeof(pokes) / sizeof(pokes[0]);
	} else if (changed) {
		printf("the copy has %#x, the guest %#x\n", ram[spare + OPENAT % 4096],
		       ram[OPENAT]);
		acts = breaks;
		acts_end = breaks + sizeof(breaks) / sizeof(breaks[0]);
	} else if (restricted && strstr(fake_linux_maps, "bytes")) {
		/* Not before the kernel is protected, too, which has two pieces */
		if (strstr(fake_linux_maps, "late") && restricted < 3)
			return false;
		acts = bytes;
		acts_end = bytes + sizeof(bytes) / sizeof(bytes[0]);
	} else if (restricted) {
		acts = attack;
		acts_end = attack + sizeof(attack) / sizeof(attack[0]);
	}
	act = acts;
	peer_as_id = acts == attack && fake_has_smm();
	return act && send_act(sock);
}

/* The tool is asked about something, and has answered */
void fake_linux_asked(void)
{
	asked = true;
}

void fake_linux_answered(void)
{
	if (reads)
		printf("answered after %u reads\n", reads);
	reads = 0;
	asked = false;
}

void fake_linux_end(void)
{
	unsigned int i;

	for (i = 0; i < peer_tool_size / 4096; i++)
		printf("page %u for the tool: access %u, %#x\n", i, tool_access[0][i],
		       ram[RAM + i * 4096 + OPENAT % 4096]);
	if (steps)
		printf("%u instructions were executed\n", steps);
	if (spare && spare < RAM)
		printf("the page of the copy is left with %#x\n", ram[spare + 0x20]);
	if (strstr(fake_linux_maps, "race"))
		printf("left of the guest's: %#x %#x, and of the copy %#x\n", ram[COPY + 0x30],
		       ram[spare + 0x30], ram[spare + OPENAT % 4096]);
}

/* Returns true when the guest has nothing left to do */
bool fake_linux_reply(int sock, const struct kvmi_vcpu_event_reply *rpl)
{
	struct kvmi_vcpu_event_pf_reply pf = { 0 };

	/* The first vCPU is in the view, and the second one writes the page without being asked */
	if (rpl->event == KVMI_VCPU_EVENT_PAUSE && strstr(fake_linux_maps, "early"))
		ram[IMAGE + 0x10] = 0x55;
	if (rpl->event == KVMI_VCPU_EVENT_PAUSE || !act) {
		if (stepping[0])
			send_step(sock);
		return false;
	}
	fake_linux_answered();
	/* Zero if there is none */
	if (rpl->event == KVMI_VCPU_EVENT_PF)
		memcpy(&pf, rpl + 1, sizeof(pf));
	return act_done(rpl->action, pf.flags & KVMI_PF_TRAP_ACCESS, "") || send_act(sock);
}
