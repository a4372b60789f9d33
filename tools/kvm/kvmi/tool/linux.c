// SPDX-License-Identifier: GPL-2.0-only
/*
 * A Linux guest's processes, seen from outside.
 *
 * Where its kernel has what in its structures is said by BTF, which lies among the
 * kernel's read-only data, or by the user's vmlinux.  Which process a vCPU runs is in a
 * variable that each CPU has, at an address from the base of GS: getpid() begins by
 * reading it.  The first process is the one that is its own parent, and the others are
 * in a list that begins and ends there.
 *
 * All of it is the guest's to make up.  Nothing here is followed without an end: lists
 * may be loops or lead anywhere, and what is at an address may change with each look.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

/* Limits to what a guest can have; the first is Linux's own, of PIDs */
#define MAX_PID		(1u << 22)
#define MAX_TASKS	(2 * MAX_PID)	/* a process is one of its threads */
#define MAX_ANCESTORS	65536
#define MAX_TASK_SPAN	16384		/* bytes from the first field to the last */
#define MAX_BTF		(64u << 20)
#define MAX_BTFS	8		/* that look like the kernel's, and are not */

#define CHUNK		65536
#define CODE		64		/* bytes of getpid() */
#define NR_GETPID	39
#define KERNEL_GS_BASE	0xc0000102

#define PF_KTHREAD	0x00200000
#define TASK_IDLE	0x402		/* UNINTERRUPTIBLE and NOLOAD */
#define TASK_WAITS	0x9000		/* RTLOCK_WAIT, FROZEN */

/* What every version of BTF begins with */
struct btf_start {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t hdr_len, type_off, type_len, str_off, str_len;
};

#define BTF_MAGIC	0xeb9f
#define BTF_VERSION	1

static bool is_kernel(uint64_t gva)
{
	return gva >= UPPER_HALF;
}

/* ---- The kernel's memory, by the page tables that were used last ---- */
static int note_mapping(void *arg, const struct mapping *m)
{
	*(struct mapping *)arg = *m;
	return 1;
}

/* Returns 1 if it is mapped */
static int walk_to(struct tool *tool, const struct guest_linux *l, uint64_t gva,
		   struct mapping *m)
{
	struct kvm_sregs sregs = l->sregs;
	int ret = walk_pages(tool, &sregs, gva, gva, note_mapping, m);

	/* A program's page tables show next to nothing of a kernel that isolates them */
	if (ret || !(sregs.cr3 & PTI_USER_TABLE))
		return ret;
	sregs.cr3 &= ~PTI_USER_TABLE;
	return walk_pages(tool, &sregs, gva, gva, note_mapping, m);
}

/*
 * What the kernel maps for good, its memory as a whole and what each CPU has, is not
 * looked up again.
 */
static int translate(struct tool *tool, struct guest_linux *l, uint64_t gva, uint64_t *gpa)
{
	struct mapping *m;
	int ret;

	for (m = l->mappings; m < l->mappings + NR_MAPPINGS; m++) {
		if (m->size && gva - m->gva < m->size) {
			*gpa = m->gpa + (gva - m->gva);
			return 0;
		}
	}
	m = &l->mappings[l->oldest++ % NR_MAPPINGS];
	m->size = 0;
	ret = is_kernel(gva) ? walk_to(tool, l, gva, m) : 0;
	if (ret != 1)
		return ret && ret != -EOPNOTSUPP ? ret : -EFAULT;
	*gpa = m->gpa + (gva - m->gva);
	return 0;
}

static int read_kernel(struct tool *tool, struct guest_linux *l, uint64_t gva, void *buf,
		       size_t size)
{
	uint64_t gpa;
	size_t part;
	int err = 0;

	for (; size && !err; size -= part, gva += part, buf = (char *)buf + part) {
		part = PAGE_SIZE - gva % PAGE_SIZE;
		if (part > size)
			part = size;
		err = translate(tool, l, gva, &gpa);
		if (!err)
			err = kint_read_physical(tool->conn, gpa, buf, part);
	}
	return err == -ENOENT ? -EFAULT : err;
}

/* ---- Structures ---- */
static uint64_t field(const struct guest_linux *l, const unsigned char *span, enum field f,
		      size_t size)
{
	uint64_t value = 0;

	memcpy(&value, span + (l->layout.at[f] - l->low), size);
	return value;
}

static char state_of(uint32_t state, uint32_t exit_state)
{
	static const char letters[] = "SDTtXZP";
	unsigned int i;

	if ((state & TASK_IDLE) == TASK_IDLE)
		return 'I';
	for (i = strlen(letters); i--; )
		if ((state | exit_state) >> i & 1)
			return letters[i];
	return state & TASK_WAITS ? 'D' : 'R';
}

/* -EFAULT if there is no process */
static int read_task(struct tool *tool, struct guest_linux *l, uint64_t task,
		     struct process *p)
{
	unsigned char span[MAX_TASK_SPAN];
	int err;

	if (!is_kernel(task) || task % 8)
		return -EFAULT;
	err = read_kernel(tool, l, task + l->low, span, l->span);
	if (err)
		return err;
	memset(p, 0, sizeof(*p));
	p->task = task;
	p->tid = field(l, span, TASK_PID, 4);
	p->pid = field(l, span, TASK_TGID, 4);
	p->next = field(l, span, TASK_TASKS, 8) - l->layout.at[TASK_TASKS];
	p->parent = field(l, span, TASK_REAL_PARENT, 8);
	p->signal = field(l, span, TASK_SIGNAL, 8);
	p->cred = field(l, span, TASK_CRED, 8);
	p->mm = field(l, span, TASK_MM, 8);
	p->next_thread = field(l, span, TASK_THREAD_NODE, 8) - l->layout.at[TASK_THREAD_NODE];
	p->state = state_of(field(l, span, TASK_STATE, 4), field(l, span, TASK_EXIT_STATE, 4));
	p->kernel = field(l, span, TASK_FLAGS, 4) & PF_KTHREAD;
	memcpy(p->comm, span + (l->layout.at[TASK_COMM] - l->low), COMM_SIZE);
	return p->tid > MAX_PID || p->pid > MAX_PID ? -EFAULT : 0;
}

/* What is not in the task itself; what cannot be read is left out */
static int read_more(struct tool *tool, struct guest_linux *l, struct process *p)
{
	struct {
		uint64_t gva;
		void *to;
		size_t size;
	} more[] = {
		{ p->parent + l->layout.at[TASK_TGID], &p->ppid, 4 },
		{ p->cred + l->layout.at[CRED_UID], &p->uid, 4 },
		{ p->signal + l->layout.at[SIGNAL_NR_THREADS], &p->threads, 4 },
		{ p->mm + l->layout.at[MM_PGD], &p->cr3, 8 },
	};
	unsigned int i;
	int err = 0;

	p->uid = NO_ID;
	for (i = 0; i < 4 && !err; i++) {
		err = read_kernel(tool, l, more[i].gva, more[i].to, more[i].size);
		if (err == -EFAULT)
			err = 0;
	}
	if (!err && p->cr3)
		err = translate(tool, l, p->cr3, &p->cr3);
	if (err == -EFAULT) {
		p->cr3 = 0;
		err = 0;
	}
	return err;
}

/* ---- What lies where ---- */

/* Much is looked at.  Events that a monitor has to answer are not answered here. */
static int may_go_on(struct tool *tool, const struct guest_linux *l)
{
	if (!l->monitored)
		return still_wanted(tool);
	process_hurry(tool);
	return 0;
}

/* A header of BTF; its size, of all there is, or 0 if it cannot be */
static uint64_t size_of_btf(const struct btf_start *h, uint64_t room)
{
	uint64_t size = (uint64_t)h->str_off + h->str_len;

	if (h->magic != BTF_MAGIC || h->version != BTF_VERSION || h->flags ||
	    h->hdr_len < sizeof(*h) || h->hdr_len % 4 || h->hdr_len > PAGE_SIZE || h->type_off)
		return 0;
	size += h->hdr_len;
	return size <= room && size <= MAX_BTF && h->str_off >= h->type_len ? size : 0;
}

static int try_btf(struct tool *tool, struct guest_linux *l, uint64_t gpa, uint64_t size)
{
	unsigned char *data = malloc(size);
	uint64_t at, part;
	int err = 0;

	if (!data)
		return -ENOMEM;
	/* It is the guest that says how much it is */
	for (at = 0; at < size && !err; at += part) {
		part = size - at < CHUNK ? size - at : CHUNK;
		err = may_go_on(tool, l);
		if (!err)
			err = kint_read_physical(tool->conn, gpa + at, data + at, part);
	}
	if (!err)
		err = layout_of_btf(data, size, &l->layout);
	free(data);
	return err;
}

/* In one piece of read-only data.  -ENOENT if it is not there. */
static int look_for_btf(struct tool *tool, struct guest_linux *l, const struct kernel_range *r,
			unsigned int *tries)
{
	static const unsigned char magic[] = { 0x9f, 0xeb, BTF_VERSION, 0 };
	unsigned char buf[CHUNK + sizeof(struct btf_start)];
	const unsigned char *hit;
	struct btf_start h;
	uint64_t at, size;
	int err = 0;
	size_t n;

	for (at = 0; at < r->size; at += CHUNK) {
		n = r->size - at < sizeof(buf) ? r->size - at : sizeof(buf);
		err = may_go_on(tool, l);
		if (!err)
			err = kint_read_physical(tool->conn, r->gpa + at, buf, n);
		if (err)
			return err;
		for (hit = buf; *tries; hit++) {
			hit = memmem(hit, buf + n - hit, magic, sizeof(magic));
			if (!hit || hit >= buf + CHUNK ||
			    (size_t)(buf + n - hit) < sizeof(h))
				break;
			memcpy(&h, hit, sizeof(h));
			size = size_of_btf(&h, r->size - at - (hit - buf));
			if (!size)
				continue;
			--*tries;
			err = try_btf(tool, l, r->gpa + at + (hit - buf), size);
			if (err != -ENOENT)
				return err;
		}
	}
	return -ENOENT;
}

static int find_layout(struct tool *tool, const struct guest_kernel *k, struct guest_linux *l)
{
	const struct layout *given = symbols_layout();
	unsigned int i, tries = MAX_BTFS;
	int err = -ENOENT;

	tool->doing = "looking for the types of the guest's kernel";
	if (given) {
		l->layout = *given;
		return 0;
	}
	for (i = 0; i < k->nranges && err == -ENOENT; i++)
		if (!k->ranges[i].text)
			err = look_for_btf(tool, l, &k->ranges[i], &tries);
	/* A page of it that is no memory is the guest's making */
	if (err == -ENOENT)
		error("the guest's kernel has no BTF: give its vmlinux, with types, as --symbols");
	else if (err == -ENOSYS)
		error(NO_LAYOUT ", and cannot tell processes");
	return err == -ENOENT || err == -ENOSYS ? MONITOR_TOLD : err;
}

/* The bytes of struct task_struct that are read each time */
static bool measure(struct guest_linux *l)
{
	uint32_t high = 0;
	unsigned int i;

	l->low = UINT32_MAX;
	for (i = 0; i <= LAST_OF_TASK; i++) {
		if (l->layout.at[i] < l->low)
			l->low = l->layout.at[i];
		if (l->layout.at[i] > high)
			high = l->layout.at[i];
	}
	l->span = high + COMM_SIZE - l->low;
	return l->span <= MAX_TASK_SPAN;
}

/* Of a list that may come back to where it has been, and not to its head: Brent's way */
struct cycle {
	uint64_t mark;
	unsigned int n, limit;
};

/* The next of a list of tasks.  -ELOOP if it has been there, or there are too many. */
static int next_of(struct tool *tool, struct guest_linux *l, struct cycle *c, uint64_t task,
		   struct process *p)
{
	int err = c->n % 64 ? 0 : may_go_on(tool, l);

	if (err)
		return err;
	/* In all: each process may lead to the threads of all others */
	if ((c->n && task == c->mark) || l->looked == MAX_TASKS)
		return -ELOOP;
	l->looked++;
	if (c->n++ == c->limit) {
		c->limit = 2 * c->limit + 1;
		c->mark = task;
	}
	return read_task(tool, l, task, p);
}

/* From any process up to the one that is its own parent */
static int find_first(struct tool *tool, struct guest_linux *l, uint64_t task)
{
	struct cycle cycle = { 0 };
	struct process p;
	int err;

	l->looked = 0;
	for (; cycle.n < MAX_ANCESTORS; task = p.parent) {
		err = next_of(tool, l, &cycle, task, &p);
		if (err)
			return err;
		if (p.parent != task)
			continue;
		if (p.tid || p.pid || strncmp(p.comm, "swapper", 7))
			return -EFAULT;
		l->first = task;
		return 0;
	}
	return -ELOOP;
}

/*
 * A load from where GS leads to, which does not depend on another register: MOV with
 * the address after RIP, or by itself.  Returns its size, or 0 for another instruction.
 */
static unsigned int decode_load(const unsigned char *code, uint64_t rip, uint64_t *offset)
{
	unsigned int size;
	int32_t disp;

	if (code[0] != 0x65 || (code[1] & 0xfb) != 0x48 || code[2] != 0x8b)
		return 0;
	if ((code[3] & 0xc7) == 0x05)
		size = 8;
	else if ((code[3] & 0xc7) == 0x04 && code[4] == 0x25)
		size = 9;
	else
		return 0;
	memcpy(&disp, code + size - 4, 4);
	*offset = (int64_t)disp + (size == 8 ? rip + size : 0);
	return size;
}

/* Where a CPU has the process it runs, from the base of GS on */
static int find_current(struct tool *tool, struct guest_linux *l, uint64_t getpid, uint64_t base)
{
	unsigned char code[CODE];
	unsigned int i;
	uint64_t task;
	int err;

	tool->doing = "looking for the process that runs";
	err = read_kernel(tool, l, getpid, code, sizeof(code));
	for (i = 0; i + 9 <= CODE && !err; i++) {
		if (!decode_load(code + i, getpid + i, &l->current))
			continue;
		err = read_kernel(tool, l, base + l->current, &task, sizeof(task));
		if (!err)
			err = find_first(tool, l, task);
		if (!err)
			return 0;
		/* Something else, as the canary of a stack */
		if (err == -EFAULT || err == -ELOOP)
			err = 0;
	}
	return err ? err : -EFAULT;
}

/* The kernel's base of GS, in the kernel and in a program; 0 if it has none yet */
static uint64_t gs_base(const struct kvm_sregs *sregs, uint64_t shadow)
{
	/* Between the kernel's first instruction and SWAPGS it is the other one */
	if (sregs->ss.dpl != 3 && is_kernel(sregs->gs.base))
		return sregs->gs.base;
	return is_kernel(shadow) ? shadow : 0;
}

/*
 * Get to know the guest whose kernel is @k, by what the vCPU runs.  Returns 0, an
 * error, or MONITOR_TOLD, or MONITOR_LATER without a word: it has not come so far.
 * @monitored: events of other vCPUs may wait, and are not to be answered here.
 */
int linux_find(struct tool *tool, uint16_t vcpu, const struct guest_kernel *k, bool monitored,
	       struct guest_linux *l)
{
	static const uint32_t msr = KERNEL_GS_BASE;
	uint64_t shadow = 0, base, getpid = k->calls[NR_GETPID];
	struct kint_registers regs;
	int err;

	memset(l, 0, sizeof(*l));
	l->monitored = monitored;
	tool->doing = "registers";
	err = kint_get_registers(tool->conn, vcpu, &regs, &msr, &shadow, 1);
	if (err)
		return err;
	l->sregs = regs.sregs;
	base = gs_base(&regs.sregs, shadow);
	if (!base)
		return MONITOR_LATER;
	err = find_layout(tool, k, l);
	if (err)
		return err;
	if (!measure(l) || (!k->call_table && !symbol_address("__x64_sys_getpid", &getpid))) {
		error("the guest's kernel is unlike others: its processes cannot be told");
		return MONITOR_TOLD;
	}
	err = find_current(tool, l, getpid, base);
	l->known = !err;
	if (err == -EFAULT) {
		error("no process is where the types of the guest's kernel say%s",
		      symbols_layout() ? ": is --symbols of another kernel?" : "");
		return MONITOR_TOLD;
	}
	return err;
}

/* What ran on the vCPU of an event, which waits; -EFAULT cannot be told */
int linux_current(struct tool *tool, struct guest_linux *l, const struct kint_event *event,
		  struct process *p)
{
	const struct kvmi_vcpu_event_arch *arch = &event->common.arch;
	uint64_t base = gs_base(&arch->sregs, arch->msrs.shadow_gs), task;
	int err;

	if (!l->known || !base || arch->mode != KVMI_X86_MODE_64)
		return -EFAULT;
	/* Those of before may be of a process that has ended */
	l->sregs = arch->sregs;
	err = read_kernel(tool, l, base + l->current, &task, sizeof(task));
	return err ? err : read_task(tool, l, task, p);
}

/* ---- All of them ---- */

static int walk_threads(struct tool *tool, struct guest_linux *l, const struct process *leader,
			int (*found)(void *arg, const struct process *p), void *arg)
{
	uint64_t head = leader->signal + l->layout.at[SIGNAL_THREAD_HEAD];
	uint64_t end = head - l->layout.at[TASK_THREAD_NODE], item = 0;
	struct cycle cycle = { 0 };
	struct process p;
	int err;

	err = read_kernel(tool, l, head, &item, sizeof(item));
	item -= l->layout.at[TASK_THREAD_NODE];
	for (; !err && item != end; item = p.next_thread) {
		err = next_of(tool, l, &cycle, item, &p);
		if (!err)
			err = read_more(tool, l, &p);
		if (!err)
			err = found(arg, &p);
	}
	return err;
}

/*
 * Tell @found about each process, or each thread.  -EFAULT the list leads nowhere,
 * -ELOOP it has no end, as may be in a guest that runs, or one that has been tampered
 * with; what @found returns if that is not 0.
 */
int linux_processes(struct tool *tool, struct guest_linux *l, bool threads,
		    int (*found)(void *arg, const struct process *p), void *arg)
{
	struct cycle cycle = { 0 };
	struct process p;
	int err;

	tool->doing = "the list of processes";
	l->looked = 0;
	err = read_task(tool, l, l->first, &p);
	while (!err && p.next != l->first) {
		err = next_of(tool, l, &cycle, p.next, &p);
		if (!err && threads) {
			err = walk_threads(tool, l, &p, found, arg);
			continue;
		}
		if (!err)
			err = read_more(tool, l, &p);
		if (!err)
			err = found(arg, &p);
	}
	return err;
}
