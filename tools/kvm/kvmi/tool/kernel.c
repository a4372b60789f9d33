// SPDX-License-Identifier: GPL-2.0-only
/*
 * The Linux kernel of the guest, found from outside.
 *
 * LSTAR says where system calls enter it, which is in its text.  The image lies in
 * one piece in physical memory, and is mapped at KERNEL_MAP and above.  What of it
 * is mapped read-only there is its text and its read-only data: the kernel says
 * so itself, with the page tables it uses once it has booted.  The table of
 * system calls is recognized by the calls that were given up and all lead to one
 * function.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MSR_LSTAR	0xc0000082
#define CHUNK		65536
#define MAX_BRANCH	32	/* bytes of a branch of a switch that calls a function */
#define ENTRY_SIZE	512	/* of the code where system calls enter */
#define CALL		0xe8
#define CALL_SIZE	5
#define BOOT_NS		500000000ll	/* longer than a kernel is in the middle of it */

static int add_range(void *arg, const struct mapping *m)
{
	struct guest_kernel *k = arg;
	struct kernel_range *r = k->nranges ? &k->ranges[k->nranges - 1] : NULL;

	/* Modules are not in one piece with the image */
	if (m->user || m->writable || m->gva - m->gpa != k->offset)
		return 0;
	if (r && r->gva + r->size == m->gva && r->text == m->executable) {
		r->size += m->size;
		return 0;
	}
	if (k->nranges == MAX_KERNEL_RANGES) {
		k->left_out++;
		return 0;
	}
	k->ranges[k->nranges++] = (struct kernel_range){
		.gva = m->gva, .gpa = m->gpa, .size = m->size, .text = m->executable,
	};
	return 0;
}

static int note_offset(void *arg, const struct mapping *m)
{
	struct guest_kernel *k = arg;

	k->offset = m->gva - m->gpa;
	k->found = !m->user && m->executable;
	return 0;
}

static int scan(struct tool *tool, const struct kvm_sregs *sregs, struct guest_kernel *k)
{
	int err;

	k->nranges = 0;
	k->left_out = 0;
	k->found = false;
	err = walk_pages(tool, sregs, k->entry, k->entry, note_offset, k);
	if (err || !k->found)
		return err;
	return walk_pages(tool, sregs, KERNEL_MAP, KERNEL_MAP_LAST, add_range, k);
}

const struct kernel_range *kernel_range_of(const struct guest_kernel *k, uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < k->nranges; i++)
		if (gpa - k->ranges[i].gpa < k->ranges[i].size)
			return &k->ranges[i];
	return NULL;
}

static bool is_text(const struct guest_kernel *k, uint64_t gva)
{
	const struct kernel_range *r = kernel_range_of(k, gva - k->offset);

	return r && r->text && gva >= KERNEL_MAP;
}

/* Calls that no 64-bit Linux has: they lead to sys_ni_syscall() */
static bool is_call_table(const struct guest_kernel *k, const uint64_t *v)
{
	static const unsigned short gone[] = {
		174, 177, 178, 180, 181, 182, 183, 184, 185, 205, 211, 214, 215, 236,
	};
	uint64_t low = ~0ull, high = 0;
	unsigned int i;

	for (i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		if (v[gone[i]] != v[gone[0]])
			return false;
	/* read, write, open, close, and then all of them */
	for (i = 0; i < 4; i++)
		if (v[i] == v[gone[0]] || v[i] == v[(i + 1) % 4])
			return false;
	for (i = 0; i < NR_TABLE_CALLS; i++) {
		if (!is_text(k, v[i]))
			return false;
		low = v[i] < low ? v[i] : low;
		high = v[i] > high ? v[i] : high;
	}
	/* The switch that Linux has in its place leads to places in one function */
	return high - low > NR_TABLE_CALLS * MAX_BRANCH;
}

static int find_call_table(struct tool *tool, struct guest_kernel *k)
{
	const size_t table = NR_TABLE_CALLS * sizeof(uint64_t);
	uint64_t *buf = malloc(CHUNK + table), at;
	const struct kernel_range *r;
	size_t size, i;
	int err = 0;

	if (!buf)
		return -ENOMEM;
	for (r = k->ranges; r < k->ranges + k->nranges && !k->call_table && !err; r++) {
		for (at = 0; !r->text && at + table <= r->size && !k->call_table; at += CHUNK) {
			size = r->size - at < CHUNK + table ? r->size - at : CHUNK + table;
			process_hurry(tool);
			err = kint_read_physical(tool->conn, r->gpa + at, buf, size);
			if (err)
				break;
			for (i = 0; i + table <= size && i < CHUNK; i += 8)
				if (is_text(k, buf[i / 8]) && is_call_table(k, buf + i / 8))
					break;
			if (i + table > size || i >= CHUNK)
				continue;
			k->call_table = r->gva + at + i;
			memcpy(k->calls, buf + i / 8, table);
		}
		/* It names what is no memory: the others may be all right */
		if (err == -ENOENT)
			err = 0;
	}
	free(buf);
	return err;
}

/* Instructions that do nothing, and keep the place of others: how long are they? */
static unsigned int skip_nops(const unsigned char *code, unsigned int room)
{
	static const struct {
		unsigned char size, bytes[5];
	} nops[] = {
		{ 1, { 0x90 } }, { 2, { 0x66, 0x90 } }, { 3, { 0x0f, 0x1f, 0x00 } },
		{ 4, { 0x0f, 0x1f, 0x40, 0x00 } }, { 5, { 0x0f, 0x1f, 0x44, 0x00, 0x00 } },
	};
	unsigned int n = 0, i;

	do {
		for (i = 0; i < 5; i++)
			if (n + nops[i].size <= room &&
			    !memcmp(code + n, nops[i].bytes, nops[i].size))
				break;
		n += i < 5 ? nops[i].size : 0;
	} while (i < 5);
	return n;
}

/*
 * Where all 64-bit system calls are made: the instruction after the entry that calls
 * do_syscall_64(), with struct pt_regs on top of the stack.  It is the one after which
 * the kernel asks whether SYSRET will do: by what the function says, or by RCX and RIP.
 * *@call is set to it, or -ENOENT.
 */
int kernel_find_dispatch(struct tool *tool, const struct guest_kernel *k, uint64_t *call)
{
	static const unsigned char asks[] = { 0x84, 0xc0 };	/* test %al,%al */
	/* mov 0x58(%rsp),%rcx */
	static const unsigned char compares[] = { 0x48, 0x8b, 0x4c, 0x24, 0x58 };
	const struct kernel_range *r = kernel_range_of(k, k->entry - k->offset);
	unsigned char code[ENTRY_SIZE];
	unsigned int i, next;
	int32_t distance;
	size_t size;
	int err;

	if (!r || !r->text)
		return -ENOENT;
	size = r->gva + r->size - k->entry;
	if (size > sizeof(code))
		size = sizeof(code);
	tool->doing = "reading where system calls enter";
	err = kint_read_physical(tool->conn, k->entry - k->offset, code, size);
	for (i = 0; !err && i + CALL_SIZE < size; i++) {
		if (code[i] != CALL)
			continue;
		memcpy(&distance, code + i + 1, sizeof(distance));
		next = i + CALL_SIZE;
		if (!is_text(k, k->entry + next + distance))
			continue;
		next += skip_nops(code + next, size - next);
		if (next + sizeof(compares) > size ||
		    (memcmp(code + next, asks, sizeof(asks)) &&
		     memcmp(code + next, compares, sizeof(compares))))
			continue;
		*call = k->entry + i;
		return 0;
	}
	return err ? err : -ENOENT;
}

/* What kernel_find() has returned, in words; NULL if it is another error */
const char *kernel_missing(int err)
{
	switch (err) {
	case MONITOR_LATER:
		return "the guest runs no 64-bit Linux kernel, or has not booted yet";
	case MONITOR_OTHER:
		return "--symbols: of another kernel than the guest's";
	default:
		return NULL;
	}
}

/* Has the kernel made it read-only?  One that boots does so piece by piece. */
static bool is_sealed(const struct guest_kernel *k, uint64_t address)
{
	return kernel_range_of(k, address - k->offset);
}

/*
 * The entry is where it is in many kernels.  What else the file says of this one: where
 * calls are made, and a text.  What it does not say does not count.
 */
static int check_symbols(struct tool *tool, const struct guest_kernel *k)
{
	static const struct {
		unsigned int nr;
		const char *name;
	} calls[] = {
		{ 0, "__x64_sys_read" }, { 1, "__x64_sys_write" }, { 3, "__x64_sys_close" },
		{ 16, "__x64_sys_ioctl" }, { 39, "__x64_sys_getpid" }, { 59, "__x64_sys_execve" },
		{ 62, "__x64_sys_kill" }, { 110, "__x64_sys_getppid" }, { 257, "__x64_sys_openat" },
	};
	static const char banner[] = "Linux version ";
	char text[sizeof(banner) - 1];
	uint64_t address;
	unsigned int i;
	int err;

	for (i = 0; k->call_table && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (symbol_address(calls[i].name, &address) && address != k->calls[calls[i].nr])
			return MONITOR_OTHER;
	if (!k->call_table && symbol_address("sys_call_table", &address) && !is_sealed(k, address))
		return MONITOR_LATER;
	if (!symbol_address("linux_banner", &address))
		return 0;
	if (!is_sealed(k, address))
		return MONITOR_LATER;
	err = kint_read_physical(tool->conn, address - k->offset, text, sizeof(text));
	if (err && err != -ENOENT)
		return err;
	return err || memcmp(text, banner, sizeof(text)) ? MONITOR_OTHER : 0;
}

/* Fill in @k by what the vCPU sees.  MONITOR_LATER or MONITOR_OTHER: kernel_missing(). */
int kernel_find(struct tool *tool, uint16_t vcpu, struct guest_kernel *k)
{
	static const uint32_t lstar = MSR_LSTAR;
	struct kint_registers regs;
	int err;

	memset(k, 0, sizeof(*k));
	tool->doing = "looking for the guest's kernel";
	err = kint_get_registers(tool->conn, vcpu, &regs, &lstar, &k->entry, 1);
	if (err)
		return err;
	if (k->entry >= KERNEL_MAP && k->entry <= KERNEL_MAP_LAST) {
		err = kernel_tables(tool, &regs.sregs);
		if (!err)
			err = scan(tool, &regs.sregs, k);
	}
	if (err && err != -EOPNOTSUPP)
		return err;
	if (err || !k->found || !k->nranges)
		return MONITOR_LATER;
	err = find_call_table(tool, k);
	if (err || !symbols_loaded())
		return err;
	return symbols_relocate(k->entry) ? check_symbols(tool, k) : MONITOR_OTHER;
}

static bool is_as_before(const struct guest_kernel *k, const struct guest_kernel *before)
{
	const struct kernel_range *r = k->ranges, *s = before->ranges;
	unsigned int i;

	if (k->nranges != before->nranges)
		return false;
	for (i = 0; i < k->nranges; i++, r++, s++)
		if (r->gva != s->gva || r->gpa != s->gpa || r->size != s->size ||
		    r->text != s->text)
			return false;
	return true;
}

/*
 * As kernel_find().  A kernel that boots makes itself read-only piece by piece, and frees then
 * what is left between the pieces: while it is waited for, two looks have to see the same, and not
 * just one after the other on two vCPUs.
 */
int kernel_wait_for(struct tool *tool, uint16_t vcpu, struct guest_kernel *k,
		    struct kernel_wait *w)
{
	int err = kernel_find(tool, vcpu, k);

	if (kernel_missing(err)) {
		w->boots = true;
		w->before.nranges = 0;
	}
	if (err || !w->boots)
		return err;
	if (is_as_before(k, &w->before) && now_ns() - w->looked > BOOT_NS)
		return 0;
	if (!is_as_before(k, &w->before)) {
		w->before = *k;
		w->looked = now_ns();
	}
	return MONITOR_LATER;
}
