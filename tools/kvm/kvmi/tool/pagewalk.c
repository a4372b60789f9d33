// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's page tables, read from outside: what is mapped in a range of
 * addresses, and with which rights.
 */
#include <errno.h>
#include "tool.h"

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
};

/* Bits of an address that a table of this level does not look at */
static unsigned int shift_of(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

static int walk_table(const struct walk *w, unsigned int level, uint64_t table, uint64_t base,
		      struct mapping rights)
{
	unsigned int i, first = 0, shift = shift_of(level);
	uint64_t entries[512], entry, gva, size = 1ull << shift;
	struct mapping m;
	int err;

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

/*
 * Tell @found about everything mapped from @start to @last, in order; both in the
 * same half of the address space.  It returns 0 to go on.  -EOPNOTSUPP if the
 * guest does not use 64-bit page tables.
 */
int walk_pages(struct tool *tool, const struct kvm_sregs *sregs, uint64_t start, uint64_t last,
	       int (*found)(void *arg, const struct mapping *m), void *arg)
{
	unsigned int levels = sregs->cr4 & 1 << 12 ? 5 : 4;
	const struct walk w = {
		.tool = tool, .start = start, .last = last, .found = found, .arg = arg,
	};
	struct mapping all = { .writable = true, .user = true, .executable = true };
	uint64_t base = 0;

	if (!(sregs->cr0 >> 31 & 1) || !(sregs->efer >> 10 & 1))
		return -EOPNOTSUPP;
	if (start >> 63)
		base = ~0ull << (shift_of(levels) + 9);
	return walk_table(&w, levels, sregs->cr3 & ADDRESS, base, all);
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
