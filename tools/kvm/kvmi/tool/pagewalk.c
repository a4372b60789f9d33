// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's page tables, read from outside: what is mapped in a range of
 * addresses, and with which rights.
 */
#include <errno.h>
#include <stdlib.h>
#include "tool.h"

/* Tables of a kernel that are looked at: of 4K pages they would map 64 GiB */
#define MAX_TABLES	(1u << 15)

#define PRESENT		(1ull << 0)
#define WRITABLE	(1ull << 1)
#define USER		(1ull << 2)
#define LARGE		(1ull << 7)
#define NO_EXECUTE	(1ull << 63)
#define ADDRESS		0x000ffffffffff000ull

struct walk {
	struct tool *tool;
	uint64_t start, last;
	int (*found)(void *arg, const struct mapping *m);
	void *arg;
	/* NULL, or a hash table of 2 * MAX_TABLES: the tables that were looked at */
	uint64_t *seen;
	unsigned int *nseen;
};

/* Bits of an address that a table of this level does not look at */
static unsigned int shift_of(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

/* Returns 0 for a table that is new, 1 if it was looked at, or an error */
static int look_once(const struct walk *w, uint64_t table)
{
	const uint64_t key = table | 1;		/* never 0 */
	unsigned int i = (table / PAGE_SIZE) * 0x9e3779b97f4a7c15ull >> 48;

	for (;; i++) {
		i %= 2 * MAX_TABLES;
		if (w->seen[i] == key)
			return 1;
		if (!w->seen[i])
			break;
	}
	if (*w->nseen == MAX_TABLES)
		return -E2BIG;
	++*w->nseen;
	w->seen[i] = key;
	return 0;
}

static int walk_table(const struct walk *w, unsigned int level, uint64_t table, uint64_t base,
		      struct mapping rights)
{
	unsigned int i, first = 0, shift = shift_of(level);
	uint64_t entries[512], entry, gva, size = 1ull << shift;
	struct mapping m;
	int err;

	err = w->seen ? look_once(w, table) : 0;
	if (err)
		return err > 0 ? 0 : err;
	process_hurry(w->tool);
	err = kint_read_physical(w->tool->conn, table, entries, sizeof(entries));
	if (err)
		return err == -ENOENT ? 0 : err;
	if (w->start > base)
		first = (w->start - base) >> shift;
	for (i = first; i < 512 && !err; i++) {
		entry = entries[i];
		gva = base + ((uint64_t)i << shift);
		if (gva > w->last)
			break;
		if (!(entry & PRESENT))
			continue;
		m = rights;
		m.writable = m.writable && (entry & WRITABLE);
		m.user = m.user && (entry & USER);
		m.executable = m.executable && !(entry & NO_EXECUTE);
		/* A fault to hardware: there are no larger pages than of 1 GiB */
		if (level > 3 && (entry & LARGE))
			continue;
		if (level > 1 && !(entry & LARGE)) {
			err = walk_table(w, level - 1, entry & ADDRESS, gva, m);
			continue;
		}
		m.gva = gva;
		m.size = size;
		m.gpa = entry & ADDRESS & ~(size - 1);
		err = w->found(w->arg, &m);
	}
	return err;
}

static int walk(struct walk *w, const struct kvm_sregs *sregs)
{
	unsigned int levels = sregs->cr4 & 1 << 12 ? 5 : 4;
	struct mapping all = { .writable = true, .user = true, .executable = true };
	uint64_t base = 0, upper_half = ~0ull << (shift_of(levels) + 8);

	if (!(sregs->cr0 >> 31 & 1) || !(sregs->efer >> 10 & 1))
		return -EOPNOTSUPP;
	if (w->start >> 63) {
		base = upper_half << 1;
		if (w->start < upper_half)
			w->start = upper_half;
	}
	return walk_table(w, levels, sregs->cr3 & ADDRESS, base, all);
}

/*
 * Tell @found about everything mapped from @start to @last, in order; both in the
 * same half of the address space.  It returns 0 to go on.  -EOPNOTSUPP if the
 * guest does not use 64-bit page tables.
 */
int walk_pages(struct tool *tool, const struct kvm_sregs *sregs, uint64_t start, uint64_t last,
	       int (*found)(void *arg, const struct mapping *m), void *arg)
{
	struct walk w = {
		.tool = tool, .start = start, .last = last, .found = found, .arg = arg,
	};

	return walk(&w, sregs);
}

/*
 * The same for ranges of any size: what the guest made of its tables may have no end.
 * One that is there again is not followed again, as in a map of the tables themselves or
 * in KASAN's.  -E2BIG if there are too many.
 */
int walk_pages_once(struct tool *tool, const struct kvm_sregs *sregs, uint64_t start,
		    uint64_t last, int (*found)(void *arg, const struct mapping *m), void *arg)
{
	unsigned int nseen = 0;
	struct walk w = {
		.tool = tool, .start = start, .last = last, .found = found, .arg = arg,
		.seen = calloc(2 * MAX_TABLES, sizeof(*w.seen)), .nseen = &nseen,
	};
	int err = w.seen ? walk(&w, sregs) : -ENOMEM;

	free(w.seen);
	return err;
}

static int is_writable(void *arg, const struct mapping *m)
{
	(void)arg;
	return m->writable && !m->user;
}

/*
 * A Linux kernel that isolates page tables has two for each program, and leaves it with
 * the one that shows little of the kernel: its text perhaps, and none of its data.  Have
 * the other one in @sregs then.
 */
int kernel_tables(struct tool *tool, struct kvm_sregs *sregs)
{
	struct kvm_sregs other = *sregs;
	int ret;

	if (!(sregs->cr3 & PTI_USER_TABLE))
		return 0;
	ret = walk_pages(tool, sregs, KERNEL_MAP, KERNEL_MAP_LAST, is_writable, NULL);
	if (ret)
		return ret > 0 ? 0 : ret;
	other.cr3 &= ~PTI_USER_TABLE;
	ret = walk_pages(tool, &other, KERNEL_MAP, KERNEL_MAP_LAST, is_writable, NULL);
	if (ret <= 0)
		return ret;
	*sregs = other;
	return 0;
}

/* Guest virtual memory, as the vCPU's kernel sees it; -EFAULT it is not there */
int read_virtual(struct tool *tool, uint16_t vcpu, uint64_t gva, void *buf, size_t size)
{
	uint64_t gpa;
	size_t part;
	int err = 0;

	for (; size && !err; size -= part, gva += part, buf = (char *)buf + part) {
		part = PAGE_SIZE - gva % PAGE_SIZE;
		if (part > size)
			part = size;
		err = kint_translate_gva(tool->conn, vcpu, gva, &gpa);
		if (!err)
			err = kint_read_physical(tool->conn, gpa, buf, part);
	}
	return err == -ENOENT ? -EFAULT : err;
}

/* Up to the zero byte, or as much as is there and has room */
int read_text(struct tool *tool, uint16_t vcpu, uint64_t gva, char *text, size_t room)
{
	size_t done = 0, part, i;
	int err;

	while (done < room - 1) {
		part = PAGE_SIZE - (gva + done) % PAGE_SIZE;
		if (part > room - 1 - done)
			part = room - 1 - done;
		err = read_virtual(tool, vcpu, gva + done, text + done, part);
		if (err && (!done || err != -EFAULT))
			return err;
		if (err)
			break;
		for (i = 0; i < part; i++)
			if (!text[done + i])
				return 0;
		done += part;
	}
	text[done] = 0;
	return 0;
}
