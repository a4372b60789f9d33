// SPDX-License-Identifier: GPL-2.0-only
#include "guest.h"

#define PAGE			4096ull
/* KVM marks a leaf so, be it accessible or not at the moment */
#define EPT_KVM_PRESENT		(1ull << 11)
#define EPT_RWX			7ull
#define EPT_LARGE		(1ull << 7)
/* How many times the host's memory a guest may seem to have, as pages are merged */
#define MAX_OVERCOMMIT		16
/* And leaves that map what is not in the dump: devices, pages that were left out */
#define MAX_ELSEWHERE		(1u << 18)

struct walk {
	const struct dump *dump;
	struct ept *ept;
	void (*visit)(void *arg, uint64_t guest, uint64_t host, uint64_t size);
	void *arg;
	uint64_t elsewhere;
};

bool eptp_ok(uint64_t eptp)
{
	const unsigned int type = eptp & 7, levels = (eptp >> 3 & 7) + 1;

	return (type == 0 || type == 6) && (levels == 4 || levels == 5) &&
	       !(eptp & 0xf00) && !(eptp >> 52);
}

static bool ept_present(uint64_t entry, bool leaf)
{
	switch (entry & EPT_RWX) {
	case 0:
		/* Neither read, write nor execute: KVM keeps pages so to see if they're used */
		return leaf && entry & EPT_KVM_PRESENT;
	case 2:
	case 6:
		/* A misconfiguration: KVM's mark for MMIO */
		return false;
	default:
		return true;
	}
}

/* Of a huge page, what the dump has */
static const char *map(struct walk *w, uint64_t guest, uint64_t host, uint64_t size)
{
	const uint64_t end = host + size;
	uint64_t start, n, found = 0;

	while ((n = dump_next(w->dump, host, end, &start))) {
		w->ept->memory += n;
		if (w->ept->memory / MAX_OVERCOMMIT > w->dump->memory)
			return "EPT maps far more than is in the dump";
		if (w->visit)
			w->visit(w->arg, guest + size - (end - start), start, n);
		found += n;
		host = start + n;
	}
	w->ept->missing += size - found;
	if (!found && ++w->elsewhere >
		      MAX_ELSEWHERE + MAX_OVERCOMMIT * (w->dump->memory / PAGE))
		return "EPT maps far more than is in the dump";
	return NULL;
}

static const char *walk(struct walk *w, uint64_t address, unsigned int level, uint64_t guest)
{
	const uint64_t size = PAGE << (9 * (level - 1));
	uint64_t table[512], host;
	const char *error = NULL;
	bool leaf;
	int i;

	/* Tables of a guest are fewer than pages of the host; a loop of them is not */
	if (++w->ept->tables > w->dump->memory / PAGE)
		return "EPT has more tables than there is memory";
	if (!dump_read(w->dump, address, table, PAGE)) {
		w->ept->tables_missing++;
		return NULL;
	}
	for (i = 0; i < 512 && !error; i++, guest += size) {
		leaf = level == 1 || (level <= 3 && table[i] & EPT_LARGE);
		if (!ept_present(table[i], leaf))
			continue;
		host = table[i] & ADDRESS;
		if (leaf)
			error = map(w, guest, host & ~(size - 1), size);
		else
			error = walk(w, host, level - 1, guest);
	}
	return error;
}

const char *ept_walk(const struct dump *d, uint64_t eptp, struct ept *ept,
		     void (*visit)(void *arg, uint64_t guest, uint64_t host, uint64_t size),
		     void *arg)
{
	struct walk w = { .dump = d, .ept = ept, .visit = visit, .arg = arg };

	*ept = (struct ept) {};
	if (!eptp_ok(eptp))
		return "the EPT pointer can't be right";
	return walk(&w, eptp & ADDRESS, (eptp >> 3 & 7) + 1, 0);
}
