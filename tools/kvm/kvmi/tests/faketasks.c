// SPDX-License-Identifier: GPL-2.0-only
/*
 * The processes of the pretended kernel, and the BTF that says where it has what.
 *
 * They lie in a page that is mapped where a kernel has all of memory, in structures
 * that are no larger than what the tool looks at, and unlike those of any kernel.
 */
#include <string.h>
#include "fakevm.h"

#define BTF		(IMAGE + 0x6010)
#define GETPID		(IMAGE + 0x100 + 39 * 8)
#define CURRENT		(IMAGE_GVA + 0x4000)	/* before the base of GS is added */

/* struct task_struct, the last of it in a structure without a name */
enum {
	FLAGS = 8, EXIT_STATE = 12, STATE = 16, COMM = 20, TASKS = 40, INNER = 56,
	PID = 4, TGID = 0, PARENT = 8, CRED = 16, THREAD_NODE = 24, MM = 40, SIGNAL = 48,
	TASK_SIZE = 128,
};

/* struct signal_struct, cred and mm_struct, one after the other */
enum {
	NR_THREADS = 4, THREAD_HEAD = 8, UID = 4, PGD = 8,
	SIGNAL_OF = 0, CRED_OF = 32, MM_OF = 48, MORE_SIZE = 64,
};

#define TASKS_AT	0x000
#define MORE_AT		0x800
#define STACKS_AT	0xc00
#define USER_STACK	0x1000
#define SLOTS_AT	0xf00	/* what each CPU runs */

static const struct {
	unsigned int pid, tgid, parent;	/* the latter by its place here */
	unsigned int flags, state, exit_state, uid;
	const char *comm;
} tasks[] = {
	{ 0, 0, 0, 0x200000, 0, 0, 0, "swapper/0" },
	{ 1, 1, 0, 0, 1, 0, 0, "init" },
	{ 2, 2, 0, 0x200000, 0x402, 0, 0, "kthreadd" },
	{ 45, 45, 1, 0, 0, 0, 1000, "server" },
	{ 47, 47, 3, 0, 2, 0, 1000, "\033[2J no end\\\nxx" },
	{ 48, 48, 3, 0, 0x80, 0x20, 1000, "ended" },
	{ 46, 45, 1, 0, 1, 0, 1000, "a thread" },	/* in no list but that of threads */
};

#define NTASKS	(sizeof(tasks) / sizeof(tasks[0]))
#define LISTED	(NTASKS - 1)
#define SERVER	3

static uint64_t task(unsigned int i)
{
	return TASKS_GVA + TASKS_AT + i * TASK_SIZE;
}

static uint64_t more(unsigned int i)
{
	/* Threads share it */
	return TASKS_GVA + MORE_AT + (i == LISTED ? SERVER : i) * MORE_SIZE;
}

static void set(uint64_t gva, uint64_t value, size_t size)
{
	memcpy(ram + TASKS_PAGE + (gva - TASKS_GVA), &value, size);
}

static void put_task(unsigned int i)
{
	uint64_t t = task(i), inner = t + INNER, head = more(i) + SIGNAL_OF + THREAD_HEAD;
	unsigned int prev = i ? i - 1 : LISTED - 1, next = i + 1 < LISTED ? i + 1 : 0;

	set(t + STATE, tasks[i].state, 4);
	set(t + EXIT_STATE, tasks[i].exit_state, 4);
	set(t + FLAGS, tasks[i].flags, 4);
	memcpy(ram + TASKS_PAGE + (t - TASKS_GVA) + COMM, tasks[i].comm,
	       strnlen(tasks[i].comm, 16));
	if (i < LISTED) {
		set(t + TASKS, task(next) + TASKS, 8);
		set(t + TASKS + 8, task(prev) + TASKS, 8);
	}
	set(inner + PID, tasks[i].pid, 4);
	set(inner + TGID, tasks[i].tgid, 4);
	set(inner + PARENT, task(tasks[i].parent), 8);
	set(inner + CRED, more(i) + CRED_OF, 8);
	set(inner + SIGNAL, more(i) + SIGNAL_OF, 8);
	if (tasks[i].flags || tasks[i].exit_state)
		set(inner + MM, 0, 8);
	else
		set(inner + MM, more(i) + MM_OF, 8);
	set(more(i) + MM_OF + PGD, TASKS_GVA + 0x123 * 8, 8);
	set(more(i) + CRED_OF + UID, tasks[i].uid, 4);
	set(more(i) + SIGNAL_OF + NR_THREADS, i == SERVER || i == LISTED ? 2 : 1, 4);
	set(head, inner + THREAD_NODE, 8);
	set(inner + THREAD_NODE, head, 8);
	if (i == LISTED) {
		set(head, task(SERVER) + INNER + THREAD_NODE, 8);
		set(task(SERVER) + INNER + THREAD_NODE, inner + THREAD_NODE, 8);
	}
}

/* ---- BTF ---- */
static struct {
	uint32_t types[512];
	unsigned int ntypes;
	char strings[1024];
	unsigned int nstrings;
} btf;

static uint32_t name(const char *text)
{
	uint32_t at = btf.nstrings;

	strcpy(btf.strings + at, text);
	btf.nstrings += strlen(text) + 1;
	return at;
}

static void word(uint32_t value)
{
	btf.types[btf.ntypes++] = value;
}

/* Type number 1, of all that have a name; what they are does not matter */
static void add_int(void)
{
	word(name("int"));
	word(1 << 24);
	word(4);
	word(32);
}

static void add_struct(const char *tag, uint32_t size, unsigned int members)
{
	word(*tag ? name(tag) : 0);
	word(4 << 24 | members);
	word(size);
}

static void add_member(const char *member, uint32_t type, uint32_t offset)
{
	word(*member ? name(member) : 0);
	word(type);
	word(offset * 8);
}

static void put_btf(const char *wrong)
{
	uint32_t head[6] = { 0x0001eb9f, 24, 0 };
	bool self = !strcmp(wrong, "selfbtf");

	memset(&btf, 0, sizeof(btf));
	btf.nstrings = 1;
	add_int();
	add_struct("", 56, 7);				/* 2 */
	add_member("pid", 1, PID);
	add_member("tgid", 1, TGID);
	add_member("real_parent", 1, PARENT);
	add_member("cred", 1, CRED);
	add_member("thread_node", 1, THREAD_NODE);
	add_member("mm", 1, MM);
	add_member("signal", 1, SIGNAL);
	/* One that a structure with that name refers to, but is no kernel's */
	add_struct("task_struct", 4, 1);		/* 3 */
	add_member("pid", 1, 0xfffffff);
	add_struct("task_struct", TASK_SIZE, self ? 8 : 6);	/* 4 */
	if (self) {
		add_member("", 4, 0);
		add_member("", 4, 8);
	}
	add_member("__state", 1, STATE);
	add_member("exit_state", 1, EXIT_STATE);
	add_member("flags", 1, FLAGS);
	add_member("comm", 1, COMM);
	add_member("tasks", 1, TASKS);
	add_member("", 2, INNER);
	add_struct("signal_struct", 24, 2);
	add_member("nr_threads", 1, NR_THREADS);
	add_member("thread_head", 1, THREAD_HEAD);
	add_struct("cred", 8, 1);
	add_member("uid", 1, UID);
	add_struct("mm_struct", 16, 1);
	add_member("pgd", 1, PGD);

	head[3] = btf.ntypes * 4;
	head[4] = head[3];
	head[5] = btf.nstrings;
	if (!strcmp(wrong, "hugebtf"))
		head[5] = 0xfffffff0;
	if (!strcmp(wrong, "cutbtf"))
		btf.types[5] = 4 << 24 | 0xffff;
	/* That of "pid" */
	if (!strcmp(wrong, "namesbtf"))
		btf.types[7] = 0x7fffffff;
	/* As every program that knows BTF has it among its constants */
	memcpy(ram + BTF - 16, head, 4);
	memcpy(ram + BTF, head, sizeof(head));
	memcpy(ram + BTF + sizeof(head), btf.types, head[3]);
	memcpy(ram + BTF + sizeof(head) + head[3], btf.strings, btf.nstrings);
}

/* What getpid() begins with */
static void put_getpid(bool old)
{
	static const unsigned char rip_relative[] = { 0x65, 0x48, 0x8b, 0x3d };
	/* What is no process comes first, as the canary of a stack does */
	static const unsigned char absolute[] = {
		0x65, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0,
		0x65, 0x48, 0x8b, 0x3c, 0x25, 0, 0x40, 0, 0x81,
	};
	int32_t disp = CURRENT - (GETPID - IMAGE + IMAGE_GVA + 8);

	if (old) {
		memcpy(ram + GETPID, absolute, sizeof(absolute));
		return;
	}
	memcpy(ram + GETPID, rip_relative, sizeof(rip_relative));
	memcpy(ram + GETPID + sizeof(rip_relative), &disp, sizeof(disp));
}

/* Where system calls enter: what does not matter there is left out */
static void put_entry(const char *wrong, bool old)
{
	/* Something else is called first; then do_syscall_64() is, and a question asked */
	static const unsigned char entry[] = {
		0xe8, 0x20, 0, 0, 0, 0x90,
		0xe8, 0x10, 0, 0, 0, 0x84, 0xc0,
	}, old_entry[] = {
		0xe8, 0x20, 0, 0, 0, 0x90,
		0xe8, 0x10, 0, 0, 0, 0x0f, 0x1f, 0x44, 0, 0, 0x48, 0x8b, 0x4c, 0x24, 0x58,
	};

	if (old)
		memcpy(ram + MAKES_CALL - 6, old_entry, sizeof(old_entry));
	else
		memcpy(ram + MAKES_CALL - 6, entry, sizeof(entry));
	if (!strcmp(wrong, "noentry"))
		ram[MAKES_CALL] = 0x90;
	/* To nowhere */
	if (!strcmp(wrong, "wildentry"))
		ram[MAKES_CALL + 4] = 0x7f;
}

/* Have a program's registers on a stack of the kernel's.  Returns where they are. */
uint64_t fake_tasks_call(unsigned int stack, const struct fake_call *call)
{
	static const unsigned char places[] = { 14, 13, 12, 7 };
	uint64_t regs = TASKS_GVA + STACKS_AT + stack * 0x100;
	unsigned int i;

	for (i = 0; i < sizeof(places); i++)
		set(regs + places[i] * 8, call->args[i], 8);
	set(regs + 10 * 8, call->result, 8);
	set(regs + 15 * 8, (int64_t)call->nr, 8);
	set(regs + 16 * 8, call->ip, 8);
	set(regs + 19 * 8, USER_STACK, 8);
	fake_put(USER_STACK + 48 + 13 * 8, 4);
	fake_put(USER_STACK + 48 + 16 * 8, call->saved_ip);
	return regs;
}

static void map_data(void)
{
	fake_put(FAKE_CR3 + 273 * 8, 0xa6000 | 3);
	fake_put(0xa6000, 0xa7000 | 3);
	fake_put(0xa7000, 0xa8000 | 3);
	fake_put(0xa8000 + TASKS_PAGE / 4096 * 8, TASKS_PAGE | 3);
}

/*
 * The vCPUs are in a program, whose page tables have the kernel's text, which is long,
 * and of its data only some that is read-only; those of the kernel are beside them.
 */
static void isolate(void)
{
	const uint64_t kernel = 0xaa000, user = 0xab000;
	unsigned int i;

	memcpy(ram + kernel, ram + FAKE_CR3, 4096);
	fake_put(user + 511 * 8, 0xac000 | 3);
	fake_put(0xac000 + 510 * 8, 0xad000 | 3);
	fake_put(0xad000 + 8 * 8, 0xae000 | 3);
	for (i = 0; i < 6; i++)
		fake_put(0xae000 + i * 8, (IMAGE + i * 4096) | 1 | (i < 4 ? 0 : 1ull << 63));
	fake_put(0xad000 + 9 * 8, 0xaf000 | 3);
	for (i = 0; i < 512; i++)
		fake_put(0xaf000 + i * 8, (IMAGE + 0x200000 + i * 4096) | 1);
	peer_sregs.cr3 = user;
	peer_in_program = true;
}

/* @wrong: what is unusual about them */
void fake_tasks_boot(const char *wrong)
{
	bool old = !strcmp(wrong, "absolute") || !strcmp(wrong, "oldtrace");
	uint64_t last = task(LISTED - 1);
	unsigned int i;

	map_data();
	for (i = 0; i < NTASKS; i++)
		put_task(i);
	for (i = 0; i < VCPUS; i++) {
		set(TASKS_GVA + SLOTS_AT + 16 * i,
		    task(i || !strcmp(wrong, "thread") ? LISTED : SERVER), 8);
		peer_gs_base[i] = TASKS_GVA + SLOTS_AT + 16 * i - CURRENT;
	}
	put_getpid(old);
	put_entry(wrong, old);
	if (strncmp(wrong, "nobtf", 5))
		put_btf(wrong);
	if (!strcmp(wrong, "isolated"))
		isolate();
	if (!strcmp(wrong, "ring"))
		set(last + TASKS, task(2) + TASKS, 8);
	if (!strcmp(wrong, "wild"))
		set(last + TASKS, 0xffff888012345678, 8);
	if (!strcmp(wrong, "user"))
		set(last + TASKS, 0x5000 + TASKS, 8);
	if (!strcmp(wrong, "threadring"))
		set(task(SERVER) + INNER + THREAD_NODE, task(SERVER) + INNER + THREAD_NODE, 8);
	if (!strcmp(wrong, "noparents"))
		set(task(0) + INNER + PARENT, task(1), 8);
}
