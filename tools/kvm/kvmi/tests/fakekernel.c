// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands for the vmlinux of the pretended kernel: its symbols, and the types of
 * faketasks.c as DWARF.  It is linked to where kernels are, and never run.
 */
struct list_head {
	struct list_head *next, *prev;
};

struct signal_struct {
	int filler, nr_threads;
	struct list_head thread_head;
};

struct cred {
	int usage;
	unsigned int uid;
};

struct mm_struct {
	long filler;
	void *pgd;
};

struct task_struct {
	long filler;
	unsigned int flags;
	int exit_state;
	unsigned int __state;
	char comm[20];
	struct list_head tasks;
	struct {
		int tgid, pid;
		struct task_struct *real_parent;
		struct cred *cred;
		struct list_head thread_node;
		struct mm_struct *mm;
		struct signal_struct *signal;
	};
	char more[16];
};

struct task_struct init_task;
struct cred init_cred;
struct mm_struct init_mm;
struct signal_struct init_signals;

/* At the beginning of the text: the latter is where system calls enter */
__asm__(".text\n"
	".globl _start, entry_SYSCALL_64\n"
	"_start: .skip 0x40, 0xcc\n"
	"entry_SYSCALL_64: .skip 0x40, 0xcc\n");
