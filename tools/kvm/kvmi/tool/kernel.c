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

static int add_range(void *arg, const struct mapping *m)
{
	struct guest_kernel *k = arg;
	struct kernel_range *r = k->nranges ? &k->ranges[k->nranges - 1] : NULL;

	/* Modules are not in one piece with the image */
	if (m->user || m->writable || m->gva - m->gpa != k->offset)
		return 0;
	k->size += m->size;
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
	k->size = 0;
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
	}
	free(buf);
	return err;
}

/* Fill in @k by what the vCPU sees.  MONITOR_TOLD, or MONITOR_LATER without a word. */
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
	if (k->entry >= KERNEL_MAP && k->entry <= KERNEL_MAP_LAST)
		err = scan(tool, &regs.sregs, k);
	/* A program's page tables show next to nothing of a kernel that isolates them */
	if (!err && k->found && k->size < 1 << 20 && (regs.sregs.cr3 & PTI_USER_TABLE)) {
		regs.sregs.cr3 &= ~PTI_USER_TABLE;
		err = scan(tool, &regs.sregs, k);
	}
	if (err && err != -EOPNOTSUPP)
		return err;
	if (err || !k->found || !k->nranges)
		return MONITOR_LATER;
	if (symbols_loaded() && !symbols_relocate(k->entry)) {
		error("--symbols: of another kernel than the guest's");
		return MONITOR_TOLD;
	}
	return find_call_table(tool, k);
}
