// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ELF core of a guest: its memory as EPT maps it, once, in segments by guest
 * physical address, and again in segments by the virtual addresses of its kernel,
 * which take no room as they are of the same part of the file; and notes with the
 * registers of its vCPUs, and its VMCOREINFO.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "guest.h"

#define PAGE			4096ull
#define ADDRESS			0xffffffffff000ull
/* KVM marks a leaf so, be it accessible or not at the moment */
#define EPT_KVM_PRESENT		(1ull << 11)
#define EPT_RWX			7ull
#define EPT_LARGE		(1ull << 7)
#define PTE_PRESENT		1ull
#define PTE_LARGE		(1ull << 7)
#define CR0_PG			(1ull << 31)
#define CR4_LA57		(1ull << 12)
#define ENTRY_IA32E_MODE	(1ull << 9)
/* Of ELF's e_phnum, with room for the notes */
#define MAX_PHDRS		65000
/* How many times the host's memory a guest may seem to have, as pages are merged */
#define MAX_OVERCOMMIT		16

/* A part of guest memory, contiguous in the guest and the host */
struct range {
	uint64_t guest;
	uint64_t host;
	uint64_t size;
	uint64_t offset;
};

struct mapping {
	uint64_t virtual;
	uint64_t guest;
	uint64_t size;
};

struct core {
	const struct dump *dump;
	struct range *ranges;
	size_t nr_ranges, room;
	uint64_t memory;
	struct mapping *mappings;
	size_t nr_mappings, mapping_room;
	uint64_t tables;
	char *notes;
	size_t notes_size;
};

/* Tables of a guest are fewer than pages of the host; a loop of them is not */
static void read_table(struct core *c, uint64_t host, uint64_t *table)
{
	if (++c->tables > c->dump->memory / PAGE)
		die("there are more page tables than memory: the dump is corrupt");
	if (!dump_read(c->dump, host, table, PAGE))
		memset(table, 0, PAGE);
}

static void add_range(struct core *c, uint64_t guest, uint64_t host, uint64_t size)
{
	struct range *r = c->nr_ranges ? &c->ranges[c->nr_ranges - 1] : NULL;

	c->memory += size;
	if (c->memory / MAX_OVERCOMMIT > c->dump->memory)
		die("EPT maps far more than the host's memory: the dump is corrupt");
	if (r && r->guest + r->size == guest && r->host + r->size == host) {
		r->size += size;
		return;
	}
	c->ranges = grow(c->ranges, c->nr_ranges, &c->room, sizeof(*r));
	c->ranges[c->nr_ranges++] = (struct range) { guest, host, size, 0 };
}

static bool in_dump(const struct core *c, uint64_t host)
{
	uint8_t byte;

	return dump_read(c->dump, host, &byte, 1);
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

static void walk_ept(struct core *c, uint64_t host, unsigned int level, uint64_t guest)
{
	const uint64_t size = PAGE << (9 * (level - 1));
	uint64_t *table = allocate(1, PAGE), page;
	bool leaf;
	int i;

	read_table(c, host, table);
	for (i = 0; i < 512; i++, guest += size) {
		leaf = level == 1 || (level <= 3 && table[i] & EPT_LARGE);
		if (!ept_present(table[i], leaf))
			continue;
		host = table[i] & ADDRESS;
		if (!leaf) {
			walk_ept(c, host, level - 1, guest);
			continue;
		}
		host &= ~(size - 1);
		/* Of a huge page, what the dump has */
		for (page = 0; page < size; page += PAGE) {
			if (in_dump(c, host + page))
				add_range(c, guest + page, host + page, PAGE);
		}
	}
	free(table);
}

static int compare_range(const void *key, const void *element)
{
	const uint64_t guest = *(const uint64_t *)key;
	const struct range *r = element;

	return guest < r->guest ? -1 : guest - r->guest >= r->size;
}

static const struct range *range_at(const struct core *c, uint64_t guest)
{
	return bsearch(&guest, c->ranges, c->nr_ranges, sizeof(*c->ranges), compare_range);
}

static bool read_guest_page(struct core *c, uint64_t guest, void *buf)
{
	const struct range *r = range_at(c, guest);

	return r && dump_read(c->dump, r->host + (guest - r->guest), buf, PAGE);
}

static void add_mapping(struct core *c, uint64_t virtual, uint64_t guest, uint64_t size)
{
	struct mapping *m = c->nr_mappings ? &c->mappings[c->nr_mappings - 1] : NULL;

	if (m && m->virtual + m->size == virtual && m->guest + m->size == guest) {
		m->size += size;
		return;
	}
	c->mappings = grow(c->mappings, c->nr_mappings, &c->mapping_room, sizeof(*m));
	c->mappings[c->nr_mappings++] = (struct mapping) { virtual, guest, size };
}

/* A mapping of which the dump has parts only is as many mappings */
static void add_mappings(struct core *c, uint64_t virtual, uint64_t guest, uint64_t size)
{
	uint64_t n;

	for (; size; virtual += n, guest += n, size -= n) {
		const struct range *r = range_at(c, guest);

		n = r ? r->guest + r->size - guest : PAGE;
		if (n > size)
			n = size;
		if (r && c->nr_mappings < MAX_PHDRS)
			add_mapping(c, virtual, guest, n);
	}
}

/* The upper half of the guest's virtual addresses, which is its kernel's */
static void walk_guest(struct core *c, uint64_t guest, unsigned int level, uint64_t virtual,
		       unsigned int first)
{
	const uint64_t size = PAGE << (9 * (level - 1));
	uint64_t *table = allocate(1, PAGE), address;
	unsigned int i;

	if (++c->tables > c->dump->memory / PAGE)
		die("the guest has more page tables than there is memory: the dump is corrupt");
	if (!read_guest_page(c, guest, table))
		memset(table, 0, PAGE);
	for (i = first; i < 512; i++) {
		if (!(table[i] & PTE_PRESENT))
			continue;
		address = table[i] & ADDRESS;
		if (level > 1 && !(level <= 3 && table[i] & PTE_LARGE))
			walk_guest(c, address, level - 1, virtual + i * size, 0);
		else
			add_mappings(c, virtual + i * size, address & ~(size - 1), size);
	}
	free(table);
}

/* ------------------------------------------------------------------------ notes */

static void add_note(struct core *c, const char *name, uint32_t type, const void *desc,
		     size_t size)
{
	const size_t name_size = strlen(name) + 1, name_room = (name_size + 3) & ~3ul;
	const size_t room = (size + 3) & ~3ul;
	const Elf64_Nhdr h = { name_size, size, type };
	char *p;

	c->notes = realloc(c->notes, c->notes_size + sizeof(h) + name_room + room);
	if (!c->notes)
		die("out of memory");
	p = c->notes + c->notes_size;
	memset(p, 0, sizeof(h) + name_room + room);
	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), name, name_size);
	memcpy(p + sizeof(h) + name_room, desc, size);
	c->notes_size += sizeof(h) + name_room + room;
}

/* What QEMU adds to dumps of its guests: those registers that have no place elsewhere */
struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_cpu {
	uint32_t version, size;
	uint64_t gpr[16];
	uint64_t rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

static struct qemu_segment segment(const struct layout *l, const uint8_t *region, int i)
{
	struct qemu_segment s = {
		.selector = layout_value(l, region, GUEST_ES_SELECTOR + 2 * i),
		.limit = layout_value(l, region, GUEST_ES_LIMIT + 2 * i),
		.flags = layout_value(l, region, GUEST_ES_RIGHTS + 2 * i) << 8,
		.base = layout_value(l, region, GUEST_ES_BASE + 2 * i),
	};

	return s;
}

static void add_cpu(struct core *c, const struct layout *l, const struct vmcs *v,
		    const struct registers *r, unsigned int cpu)
{
	static const int qemu_order[] = { 0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct elf_prstatus status = { .pr_pid = cpu + 1 };
	struct qemu_cpu q = { .version = 1, .size = sizeof(q) };
	unsigned long long *reg = status.pr_reg;
	uint64_t gpr[16], rip;
	int i;

#define value(field)	layout_value(l, v->region, field)
	memcpy(gpr, r->gpr, sizeof(gpr));
	if (!r->rsp_changed)
		gpr[4] = value(GUEST_RSP);
	rip = r->rip_changed ? r->rip : value(GUEST_RIP);

	/* The order of struct user_regs_struct */
	reg[0] = gpr[15];
	reg[1] = gpr[14];
	reg[2] = gpr[13];
	reg[3] = gpr[12];
	reg[4] = gpr[5];
	reg[5] = gpr[3];
	reg[6] = gpr[11];
	reg[7] = gpr[10];
	reg[8] = gpr[9];
	reg[9] = gpr[8];
	reg[10] = gpr[0];
	reg[11] = gpr[1];
	reg[12] = gpr[2];
	reg[13] = gpr[6];
	reg[14] = gpr[7];
	reg[15] = -1ull;
	reg[16] = rip;
	reg[17] = value(GUEST_CS_SELECTOR);
	reg[18] = value(GUEST_RFLAGS);
	reg[19] = gpr[4];
	reg[20] = value(GUEST_SS_SELECTOR);
	reg[21] = value(GUEST_FS_BASE);
	reg[22] = value(GUEST_GS_BASE);
	reg[23] = value(GUEST_DS_SELECTOR);
	reg[24] = value(GUEST_ES_SELECTOR);
	reg[25] = value(GUEST_FS_SELECTOR);
	reg[26] = value(GUEST_GS_SELECTOR);
	add_note(c, "CORE", NT_PRSTATUS, &status, sizeof(status));

	for (i = 0; i < 16; i++)
		q.gpr[i] = gpr[qemu_order[i]];
	q.rip = rip;
	q.rflags = value(GUEST_RFLAGS);
	q.es = segment(l, v->region, 0);
	q.cs = segment(l, v->region, 1);
	q.ss = segment(l, v->region, 2);
	q.ds = segment(l, v->region, 3);
	q.fs = segment(l, v->region, 4);
	q.gs = segment(l, v->region, 5);
	q.ldt = segment(l, v->region, 6);
	q.tr = segment(l, v->region, 7);
	q.gdt.limit = value(GUEST_GDTR_LIMIT);
	q.gdt.base = value(GUEST_GDTR_BASE);
	q.idt.limit = value(GUEST_IDTR_LIMIT);
	q.idt.base = value(GUEST_IDTR_BASE);
	q.cr[0] = value(GUEST_CR0);
	q.cr[3] = value(GUEST_CR3);
	q.cr[4] = value(GUEST_CR4);
	add_note(c, "QEMU", 0, &q, sizeof(q));
#undef value
}

/* A Linux guest has a note for its own dumps, in a page of its own */
static void add_vmcoreinfo(struct core *c)
{
	static const char name[] = "VMCOREINFO";
	const size_t name_room = (sizeof(name) + 3) & ~3ul;
	char page[PAGE + 1];
	uint64_t offset;
	Elf64_Nhdr h;
	size_t i;

	for (i = 0; i < c->nr_ranges; i++) {
		for (offset = 0; offset < c->ranges[i].size; offset += PAGE) {
			if (!dump_read(c->dump, c->ranges[i].host + offset, page, PAGE))
				continue;
			memcpy(&h, page, sizeof(h));
			if (h.n_namesz != sizeof(name) || h.n_type ||
			    h.n_descsz > PAGE - sizeof(h) - name_room ||
			    memcmp(page + sizeof(h), name, sizeof(name)))
				continue;
			page[PAGE] = 0;
			if (strncmp(page + sizeof(h) + name_room, "OSRELEASE=", 10))
				continue;
			add_note(c, name, 0, page + sizeof(h) + name_room, h.n_descsz);
			return;
		}
	}
}

/* ----------------------------------------------------------------------- output */

struct output {
	FILE *file;
	const char *name;
};

static void put(struct output *o, const void *data, size_t size)
{
	if (fwrite(data, 1, size, o->file) != size)
		die("%s: %s", o->name, strerror(errno));
}

static void put_memory(struct core *c, struct output *o)
{
	const size_t chunk = 1 << 20;
	char *buf = allocate(1, chunk);
	uint64_t done, n;
	size_t i;

	for (i = 0; i < c->nr_ranges; i++) {
		for (done = 0; done < c->ranges[i].size; done += n) {
			n = c->ranges[i].size - done < chunk ? c->ranges[i].size - done : chunk;
			if (!dump_read(c->dump, c->ranges[i].host + done, buf, n))
				memset(buf, 0, n);
			put(o, buf, n);
		}
	}
	free(buf);
}

static void put_file(struct core *c, const char *name)
{
	const size_t phdrs = 1 + c->nr_ranges + c->nr_mappings;
	const uint64_t notes = sizeof(Elf64_Ehdr) + phdrs * sizeof(Elf64_Phdr);
	uint64_t offset = (notes + c->notes_size + PAGE - 1) & ~(PAGE - 1);
	static const char zeros[PAGE];
	const uint64_t start = offset;
	struct output o = { .name = name };
	Elf64_Ehdr e = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(e),
		.e_ehsize = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = phdrs,
	};
	Elf64_Phdr p = { .p_type = PT_NOTE, .p_offset = notes, .p_filesz = c->notes_size };
	size_t i;
	int fd;

	if (phdrs > MAX_PHDRS)
		die("the guest's memory is in too many parts (%zu)", phdrs);

	/* The registers and memory of a guest are not for everyone */
	fd = !strcmp(name, "-") ? dup(1) : open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	o.file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!o.file)
		die("%s: %s", name, strerror(errno));
	put(&o, &e, sizeof(e));
	put(&o, &p, sizeof(p));
	for (i = 0; i < c->nr_ranges; i++) {
		struct range *r = &c->ranges[i];

		r->offset = offset;
		p = (Elf64_Phdr) {
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X, .p_offset = offset,
			.p_paddr = r->guest, .p_filesz = r->size, .p_memsz = r->size,
		};
		put(&o, &p, sizeof(p));
		offset += r->size;
	}
	for (i = 0; i < c->nr_mappings; i++) {
		const struct mapping *m = &c->mappings[i];
		const struct range *r = range_at(c, m->guest);

		p = (Elf64_Phdr) {
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X,
			.p_offset = r->offset + (m->guest - r->guest),
			.p_vaddr = m->virtual, .p_paddr = m->guest,
			.p_filesz = m->size, .p_memsz = m->size,
		};
		put(&o, &p, sizeof(p));
	}
	put(&o, c->notes, c->notes_size);
	put(&o, zeros, start - notes - c->notes_size);
	put_memory(c, &o);
	if (fclose(o.file))
		die("%s: %s", name, strerror(errno));
}

void core_write(const struct dump *d, const struct layout *l, const struct vmcs *v,
		const struct registers *r, size_t nr, const char *file)
{
	const uint64_t eptp = v[0].eptp;
	struct core c = { .dump = d };
	uint64_t cr4;
	size_t i;

	walk_ept(&c, eptp & ADDRESS, (eptp >> 3 & 7) + 1, 0);
	if (!c.nr_ranges)
		die("EPT maps nothing that is in the dump");

	cr4 = layout_value(l, v[0].region, GUEST_CR4);
	c.tables = 0;
	/* KVM leaves EFER of the guest out of the VMCS if that of the host will do */
	if (layout_value(l, v[0].region, GUEST_CR0) & CR0_PG &&
	    layout_value(l, v[0].region, ENTRY_CONTROLS) & ENTRY_IA32E_MODE) {
		const unsigned int levels = cr4 & CR4_LA57 ? 5 : 4;

		walk_guest(&c, layout_value(l, v[0].region, GUEST_CR3) & ADDRESS, levels,
			   levels == 5 ? 0xfe00000000000000 : 0xffff000000000000, 256);
	}

	for (i = 0; i < nr; i++)
		add_cpu(&c, l, &v[i], &r[i], i);
	add_vmcoreinfo(&c);
	/* With many parts, those by physical address are what must be there */
	if (1 + c.nr_ranges + c.nr_mappings > MAX_PHDRS)
		c.nr_mappings = c.nr_ranges + 1 < MAX_PHDRS ? MAX_PHDRS - 1 - c.nr_ranges : 0;
	put_file(&c, file);
	fprintf(stderr, "%s: %zu vCPU%s, %llu KiB of memory\n", file, nr, nr == 1 ? "" : "s",
		(unsigned long long)c.memory / 1024);
	free(c.ranges);
	free(c.mappings);
	free(c.notes);
}
