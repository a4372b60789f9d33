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
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "guest.h"

#define PAGE			4096ull
#define PTE_PRESENT		1ull
#define PTE_LARGE		(1ull << 7)
#define CR0_PG			(1ull << 31)
#define CR4_LA57		(1ull << 12)
#define ENTRY_IA32E_MODE	(1ull << 9)
/* Segments by virtual address: far more than a kernel has contiguous mappings */
#define MAX_MAPPINGS		(1u << 20)
/* Entries of a guest's tables are not more than that many for each page it has */
#define MAX_ENTRIES		16

/* A part of guest memory, contiguous in the guest and the host */
struct range {
	uint64_t guest;
	uint64_t host;
	uint64_t size;
};

/* A part that is contiguous in the guest, and so in the core */
struct part {
	uint64_t guest;
	uint64_t size;
	/* From the first one */
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
	size_t nr_ranges, range_room;
	struct part *parts;
	size_t nr_parts, part_room;
	uint64_t memory;
	struct mapping *mappings;
	size_t nr_mappings, mapping_room;
	/* Of the guest's own page tables: which page was one, by its offset in the core */
	uint8_t *is_table;
	uint64_t entries, tables_again, tables_missing;
	const char *cut;
	char *notes;
	size_t notes_size;
};

static void add_range(void *arg, uint64_t guest, uint64_t host, uint64_t size)
{
	struct core *c = arg;
	struct range *r = c->nr_ranges ? &c->ranges[c->nr_ranges - 1] : NULL;
	struct part *p = c->nr_parts ? &c->parts[c->nr_parts - 1] : NULL;

	if (p && p->guest + p->size == guest) {
		p->size += size;
	} else {
		c->parts = grow(c->parts, c->nr_parts, &c->part_room, sizeof(*p));
		c->parts[c->nr_parts++] = (struct part) { guest, size, c->memory };
	}
	c->memory += size;
	if (r && r->guest + r->size == guest && r->host + r->size == host) {
		r->size += size;
		return;
	}
	c->ranges = grow(c->ranges, c->nr_ranges, &c->range_room, sizeof(*r));
	c->ranges[c->nr_ranges++] = (struct range) { guest, host, size };
}

static int compare_range(const void *key, const void *element)
{
	const uint64_t guest = *(const uint64_t *)key;
	const struct range *r = element;

	return guest < r->guest ? -1 : guest - r->guest >= r->size;
}

static bool read_guest_page(const struct core *c, uint64_t guest, void *buf)
{
	const struct range *r = bsearch(&guest, c->ranges, c->nr_ranges, sizeof(*r),
					compare_range);

	return r && dump_read(c->dump, r->host + (guest - r->guest), buf, PAGE);
}

/* The first part that ends behind @guest */
static size_t part_from(const struct core *c, uint64_t guest)
{
	size_t low = 0, high = c->nr_parts, i;

	while (low < high) {
		i = low + (high - low) / 2;
		if (c->parts[i].guest + c->parts[i].size <= guest)
			low = i + 1;
		else
			high = i;
	}
	return low;
}

/* Where in the core @guest is, which is in it */
static uint64_t core_offset(const struct core *c, uint64_t guest)
{
	const struct part *p = &c->parts[part_from(c, guest)];

	return p->offset + (guest - p->guest);
}

static void add_mapping(struct core *c, uint64_t virtual, uint64_t guest, uint64_t size)
{
	struct mapping *m = c->nr_mappings ? &c->mappings[c->nr_mappings - 1] : NULL;

	if (m && m->virtual + m->size == virtual && m->guest + m->size == guest) {
		/* In the same part, as parts do not adjoin */
		m->size += size;
		return;
	}
	if (c->nr_mappings == MAX_MAPPINGS) {
		c->cut = "it has too many mappings";
		return;
	}
	c->mappings = grow(c->mappings, c->nr_mappings, &c->mapping_room, sizeof(*m));
	c->mappings[c->nr_mappings++] = (struct mapping) { virtual, guest, size };
}

/* A mapping of which the core has parts only is as many mappings */
static void add_mappings(struct core *c, uint64_t virtual, uint64_t guest, uint64_t size)
{
	const uint64_t last = guest + size - 1;
	uint64_t from, to;
	size_t i;

	for (i = part_from(c, guest); i < c->nr_parts && !c->cut; i++) {
		const struct part *p = &c->parts[i];

		if (p->guest > last)
			break;
		from = p->guest > guest ? p->guest : guest;
		to = p->guest + p->size - 1 < last ? p->guest + p->size - 1 : last;
		add_mapping(c, virtual + (from - guest), from, to - from + 1);
	}
}

/*
 * The upper half of the guest's virtual addresses, which is its kernel's.  These tables
 * are what the guest makes of them, and it may make what has no end: they only end what
 * is found by them.  A table that is there again, as in a map of the tables themselves
 * or in KASAN's, is not followed again.
 */
static void walk_guest(struct core *c, uint64_t guest, unsigned int level, uint64_t virtual,
		       unsigned int first)
{
	const uint64_t size = PAGE << (9 * (level - 1));
	uint64_t table[512], address, page;
	unsigned int i;

	if (!read_guest_page(c, guest, table)) {
		c->tables_missing++;
		return;
	}
	page = core_offset(c, guest) / PAGE;
	if (c->is_table[page / 8] & 1 << page % 8) {
		c->tables_again++;
		return;
	}
	c->is_table[page / 8] |= 1 << page % 8;
	for (i = first; i < 512 && !c->cut; i++) {
		if (!(table[i] & PTE_PRESENT))
			continue;
		if (++c->entries > MAX_ENTRIES * (c->memory / PAGE) + MAX_MAPPINGS) {
			c->cut = "its page tables have far more entries than it has memory";
			break;
		}
		address = table[i] & ADDRESS;
		if (level > 1 && !(level <= 3 && table[i] & PTE_LARGE))
			walk_guest(c, address, level - 1, virtual + i * size, 0);
		else
			add_mappings(c, virtual + i * size, address & ~(size - 1), size);
	}
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

static void add_cpu(struct core *c, const struct layout *l, const uint8_t *region,
		    const struct vcpu *r, unsigned int cpu)
{
	static const int qemu_order[] = { 0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct elf_prstatus status = { .pr_pid = cpu + 1 };
	struct qemu_cpu q = { .version = 1, .size = sizeof(q) };
	unsigned long long *reg = status.pr_reg;
	uint64_t gpr[16], rip;
	int i;

#define value(field)	layout_value(l, region, field)
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
	q.es = segment(l, region, 0);
	q.cs = segment(l, region, 1);
	q.ss = segment(l, region, 2);
	q.ds = segment(l, region, 3);
	q.fs = segment(l, region, 4);
	q.gs = segment(l, region, 5);
	q.ldt = segment(l, region, 6);
	q.tr = segment(l, region, 7);
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
	uint64_t done, n, page, host, unreadable = 0;
	size_t i;

	for (i = 0; i < c->nr_ranges; i++) {
		for (done = 0; done < c->ranges[i].size; done += n) {
			n = c->ranges[i].size - done < chunk ? c->ranges[i].size - done : chunk;
			host = c->ranges[i].host + done;
			if (!dump_read(c->dump, host, buf, n)) {
				for (page = 0; page < n; page += PAGE) {
					if (dump_read(c->dump, host + page, buf + page, PAGE))
						continue;
					memset(buf + page, 0, PAGE);
					unreadable++;
				}
			}
			put(o, buf, n);
		}
	}
	free(buf);
	if (unreadable)
		warn("%" PRIu64 " pages of the guest can't be read and are zero", unreadable);
}

static void put_file(struct core *c, const char *name)
{
	const size_t phdrs = 1 + c->nr_parts + c->nr_mappings;
	/* If they are more than e_phnum can count, a section header that is none does */
	const bool many = phdrs >= PN_XNUM;
	const uint64_t table = sizeof(Elf64_Ehdr) + (many ? sizeof(Elf64_Shdr) : 0);
	const uint64_t notes = table + phdrs * sizeof(Elf64_Phdr);
	const uint64_t start = (notes + c->notes_size + PAGE - 1) & ~(PAGE - 1);
	static const char zeros[PAGE];
	const Elf64_Shdr s = { .sh_info = phdrs };
	struct output o = { .name = name };
	Elf64_Ehdr e = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = table,
		.e_shoff = many ? sizeof(e) : 0,
		.e_ehsize = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = many ? PN_XNUM : phdrs,
		.e_shentsize = many ? sizeof(s) : 0,
		.e_shnum = many,
	};
	Elf64_Phdr p = { .p_type = PT_NOTE, .p_offset = notes, .p_filesz = c->notes_size };
	size_t i;
	int fd;

	/* The registers and memory of a guest are not for everyone */
	fd = !strcmp(name, "-") ? dup(1) : open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	o.file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!o.file)
		die("%s: %s", name, strerror(errno));
	put(&o, &e, sizeof(e));
	if (many)
		put(&o, &s, sizeof(s));
	put(&o, &p, sizeof(p));
	for (i = 0; i < c->nr_parts; i++) {
		const struct part *r = &c->parts[i];

		p = (Elf64_Phdr) {
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X,
			.p_offset = start + r->offset,
			.p_paddr = r->guest, .p_filesz = r->size, .p_memsz = r->size,
		};
		put(&o, &p, sizeof(p));
	}
	for (i = 0; i < c->nr_mappings; i++) {
		const struct mapping *m = &c->mappings[i];

		p = (Elf64_Phdr) {
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X,
			.p_offset = start + core_offset(c, m->guest),
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

/* Of the EPTs that a guest has, the one that maps most; others may be obsolete, or SMM's */
static uint64_t choose_eptp(const struct dump *d, const struct guest *g)
{
	const char *error, *last_error = "EPT maps nothing that is in the dump";
	uint64_t eptp = 0, most = 0;
	struct ept ept;
	size_t i;

	for (i = 0; i < g->nr_eptps; i++) {
		error = ept_walk(d, g->eptps[i], &ept, NULL, NULL);
		if (error) {
			last_error = error;
			if (g->nr_eptps > 1)
				warn("EPTP 0x%" PRIx64 ": %s", g->eptps[i], error);
		} else if (ept.memory > most) {
			most = ept.memory;
			eptp = g->eptps[i];
		}
	}
	if (!most)
		die("%s: %s", d->name, last_error);
	if (g->nr_eptps > 1)
		warn("the guest has %zu EPTs: its memory is by EPTP 0x%" PRIx64 ", which maps most",
		     g->nr_eptps, eptp);
	return eptp;
}

/* By the first vCPU that has paging on, in 64-bit mode */
static void add_kernel(struct core *c, const struct layout *l, const uint8_t *region)
{
	const unsigned int levels = layout_value(l, region, GUEST_CR4) & CR4_LA57 ? 5 : 4;

	c->is_table = allocate(c->memory / PAGE / 8 + 1, 1);
	walk_guest(c, layout_value(l, region, GUEST_CR3) & ADDRESS, levels,
		   levels == 5 ? 0xfe00000000000000 : 0xffff000000000000, 256);
	free(c->is_table);
	if (c->cut)
		warn("not all of the guest is there by virtual addresses: %s", c->cut);
	if (c->tables_missing)
		warn("%" PRIu64 " page tables of the guest are not in the dump", c->tables_missing);
}

void core_write(const struct dump *d, const struct layout *l, const struct guest *g,
		const char *file)
{
	struct core c = { .dump = d };
	bool has_kernel = false;
	uint8_t region[PAGE];
	struct ept ept;
	size_t i;

	if (ept_walk(d, choose_eptp(d, g), &ept, add_range, &c))
		die("%s: EPT changes: it is of a host that runs", d->name);
	for (i = 0; i < g->nr; i++) {
		if (!vmcs_read(d, g->vmcs[i].physical, region))
			die("0x%" PRIx64 " can't be read", g->vmcs[i].physical);
		add_cpu(&c, l, region, &g->vcpus[i], i);
		/* KVM leaves EFER of the guest out of the VMCS if that of the host will do */
		if (!has_kernel && layout_value(l, region, GUEST_CR0) & CR0_PG &&
		    layout_value(l, region, ENTRY_CONTROLS) & ENTRY_IA32E_MODE) {
			add_kernel(&c, l, region);
			has_kernel = true;
		}
	}
	add_vmcoreinfo(&c);
	put_file(&c, file);
	if (ept.missing)
		warn("%" PRIu64 " KiB that EPT maps are not in the dump, nor in the core",
		     ept.missing / 1024);
	if (ept.tables_missing)
		warn("%" PRIu64 " tables of EPT are not in the dump, nor what they map in the core",
		     ept.tables_missing);
	fprintf(stderr, "%s: %zu vCPU%s, %" PRIu64 " KiB of memory", file, g->nr,
		g->nr == 1 ? "" : "s", c.memory / 1024);
	/* Linux has such, for ESPFIX: it is no reason for a warning */
	if (c.tables_again)
		fprintf(stderr, "; %" PRIu64 " page tables that repeat are left out",
			c.tables_again);
	fputc('\n', stderr);
	free(c.ranges);
	free(c.parts);
	free(c.mappings);
	free(c.notes);
}
