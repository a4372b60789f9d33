// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libelf.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dump.h"

#define PAGE		4096
#define CHUNK		(1 << 20)
/* All notes of a dump of a host with thousands of CPUs take less */
#define MAX_NOTES	(64u << 20)
/* A dump has a few per NUMA node and hole in memory */
#define MAX_SEGMENTS	(1u << 20)

static void message(const char *format, va_list args)
{
	fflush(stdout);
	fputs("vmcsinfo: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(format, args);
	va_end(args);
	exit(1);
}

void warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(format, args);
	va_end(args);
}

void *allocate(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		die("out of memory");
	return p;
}

void *grow(void *array, size_t nr, size_t *room, size_t size)
{
	if (nr < *room)
		return array;
	*room = *room ? 2 * *room : 64;
	array = realloc(array, *room * size);
	if (!array)
		die("out of memory");
	return array;
}

static bool read_at(int fd, uint64_t offset, void *buf, size_t size)
{
	char *p = buf;
	ssize_t n;

	while (size) {
		n = pread(fd, p, size, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		offset += n;
		size -= n;
	}
	return true;
}

static int by_physical(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	if (x->physical != y->physical)
		return x->physical < y->physical ? -1 : 1;
	/* The larger one first */
	return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

static void add_segment(struct dump *d, const GElf_Phdr *p, uint64_t file_size)
{
	struct segment *s = &d->segments[d->nr];

	/* /proc/kcore says so of what is not memory, e.g. of vmalloc */
	if (!p->p_filesz || p->p_paddr == ~0ull)
		return;
	if (p->p_paddr + p->p_filesz < p->p_paddr || p->p_offset + p->p_filesz < p->p_offset ||
	    p->p_vaddr + p->p_filesz - 1 < p->p_vaddr)
		die("%s: a segment ends before it starts: the dump is corrupt", d->name);
	if (file_size && p->p_offset + p->p_filesz > file_size)
		die("%s: memory is missing at its end: the dump is truncated", d->name);
	s->physical = p->p_paddr;
	s->virtual = p->p_vaddr;
	s->size = p->p_filesz;
	s->offset = p->p_offset;
	d->nr++;
}

static void read_notes(struct dump *d, Elf *elf, const GElf_Phdr *p, uint64_t file_size)
{
	size_t offset = 0, next, name, desc;
	const char *notes;
	GElf_Nhdr nhdr;
	Elf_Data *data;

	if (!p->p_filesz)
		return;
	if (p->p_filesz > MAX_NOTES || p->p_offset + p->p_filesz < p->p_offset ||
	    (file_size && p->p_offset + p->p_filesz > file_size))
		die("%s: its notes are truncated or corrupt", d->name);
	data = elf_getdata_rawchunk(elf, p->p_offset, p->p_filesz, ELF_T_NHDR);
	if (!data)
		die("%s: cannot read its notes: %s", d->name, elf_errmsg(-1));
	notes = data->d_buf;
	while (!d->has_layout && (next = gelf_getnote(data, offset, &nhdr, &name, &desc))) {
		if (nhdr.n_type == VMCSINFO_NOTE_TYPE &&
		    nhdr.n_namesz == sizeof(VMCSINFO_NOTE_NAME) &&
		    !memcmp(notes + name, VMCSINFO_NOTE_NAME, sizeof(VMCSINFO_NOTE_NAME)))
			d->has_layout = layout_parse(&d->layout, notes + desc, nhdr.n_descsz);
		offset = next;
	}
}

/*
 * The kernel's image is there twice.  Where segments overlap, that of the direct map
 * is to remain, which is larger; of the other one what is beyond.
 */
static void merge_segments(struct dump *d)
{
	size_t i, n = 1;

	qsort(d->segments, d->nr, sizeof(*d->segments), by_physical);
	for (i = 1; i < d->nr; i++) {
		struct segment *last = &d->segments[n - 1], s = d->segments[i];
		const uint64_t end = last->physical + last->size;
		uint64_t skip;

		if (s.physical < end && s.physical > last->physical && s.size > last->size) {
			last->size = s.physical - last->physical;
		} else if (s.physical < end) {
			/* All memory from there to the end is in segments already */
			skip = end - s.physical;
			if (skip >= s.size)
				continue;
			s.physical += skip;
			s.virtual += skip;
			s.offset += skip;
			s.size -= skip;
		}
		d->segments[n++] = s;
	}
	d->nr = n;
}

static void make_runs(struct dump *d)
{
	uint64_t start, end, skip;
	size_t i, j;

	d->runs = allocate(d->nr, sizeof(*d->runs));
	for (i = 0; i < d->nr; i = j) {
		start = d->segments[i].physical;
		end = start + d->segments[i].size;
		for (j = i + 1; j < d->nr && d->segments[j].physical == end; j++)
			end += d->segments[j].size;
		skip = -start & (PAGE - 1);
		if (end - start < skip + PAGE)
			continue;
		start += skip;
		end &= ~(uint64_t)(PAGE - 1);
		d->runs[d->nr_runs++] = (struct run) { start, end - start };
		d->memory += end - start;
	}
}

void dump_open(struct dump *d, const char *name)
{
	uint64_t file_size;
	struct statfs fs;
	off_t size;
	GElf_Ehdr ehdr;
	GElf_Phdr phdr;
	size_t n, i;
	Elf *elf;

	memset(d, 0, sizeof(*d));
	d->name = name;
	d->fd = open(name, O_RDONLY);
	if (d->fd < 0 || fstatfs(d->fd, &fs))
		die("%s: %s", name, strerror(errno));
	/* In /proc the size is anything */
	size = fs.f_type == PROC_SUPER_MAGIC ? 0 : lseek(d->fd, 0, SEEK_END);
	file_size = size > 0 ? size : 0;
	lseek(d->fd, 0, SEEK_SET);

	elf_version(EV_CURRENT);
	elf = elf_begin(d->fd, ELF_C_READ, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &ehdr))
		die("%s: it is no ELF file", name);
	if (gelf_getclass(elf) != ELFCLASS64 || ehdr.e_machine != EM_X86_64 ||
	    ehdr.e_type != ET_CORE || ehdr.e_ident[EI_DATA] != ELFDATA2LSB)
		die("%s: it is no dump of a 64-bit x86 host", name);
	if (elf_getphdrnum(elf, &n) || !n || n > MAX_SEGMENTS)
		die("%s: it has no segments: the dump is corrupt", name);

	d->segments = allocate(n, sizeof(*d->segments));
	for (i = 0; i < n; i++) {
		if (!gelf_getphdr(elf, i, &phdr))
			die("%s: segment %zu is missing: the dump is truncated", name, i);
		if (phdr.p_type == PT_LOAD)
			add_segment(d, &phdr, file_size);
		else if (phdr.p_type == PT_NOTE)
			read_notes(d, elf, &phdr, file_size);
	}
	elf_end(elf);
	if (!d->nr)
		die("%s: it has no memory in it", name);

	merge_segments(d);
	make_runs(d);
	if (!d->nr_runs)
		die("%s: it has no page of memory in it", name);
}

void dump_close(struct dump *d)
{
	if (d->unreadable)
		warn("%s: %" PRIu64 " pages of it can't be read", d->name, d->unreadable);
	free(d->segments);
	free(d->runs);
	close(d->fd);
}

static int compare_segment(const void *key, const void *element)
{
	const uint64_t physical = *(const uint64_t *)key;
	const struct segment *s = element;

	return physical < s->physical ? -1 : physical - s->physical >= s->size;
}

static const struct segment *segment_at(const struct dump *d, uint64_t physical)
{
	return bsearch(&physical, d->segments, d->nr, sizeof(*d->segments), compare_segment);
}

bool dump_read(const struct dump *d, uint64_t physical, void *buf, size_t size)
{
	const struct segment *s;
	uint64_t n, skip;

	while (size) {
		s = segment_at(d, physical);
		if (!s)
			return false;
		skip = physical - s->physical;
		n = s->size - skip < size ? s->size - skip : size;
		if (!read_at(d->fd, s->offset + skip, buf, n))
			return false;
		buf = (char *)buf + n;
		physical += n;
		size -= n;
	}
	return true;
}

uint64_t dump_next(const struct dump *d, uint64_t physical, uint64_t end, uint64_t *start)
{
	size_t low = 0, high = d->nr_runs, i;
	const struct run *r;

	/* The first that ends behind @physical */
	while (low < high) {
		i = low + (high - low) / 2;
		r = &d->runs[i];
		if (r->physical + r->size <= physical)
			low = i + 1;
		else
			high = i;
	}
	r = &d->runs[low];
	if (low == d->nr_runs || r->physical >= end)
		return 0;
	*start = r->physical > physical ? r->physical : physical;
	if (r->physical + r->size < end)
		end = r->physical + r->size;
	return end - *start;
}

bool dump_virtual(const struct dump *d, uint64_t physical, uint64_t *virtual)
{
	const struct segment *s = segment_at(d, physical);

	if (s)
		*virtual = s->virtual + (physical - s->physical);
	return s;
}

void dump_scan(struct dump *d,
	       void (*visit)(void *arg, uint64_t physical, const uint8_t *data, size_t size),
	       void *arg)
{
	uint8_t *chunk = allocate(1, CHUNK);
	uint64_t done, n, page;
	size_t i;

	for (i = 0; i < d->nr_runs; i++) {
		const struct run *r = &d->runs[i];

		for (done = 0; done < r->size; done += n) {
			n = r->size - done < CHUNK ? r->size - done : CHUNK;
			if (dump_read(d, r->physical + done, chunk, n)) {
				visit(arg, r->physical + done, chunk, n);
				continue;
			}
			/* In /proc some pages can't be read, by themselves */
			for (page = 0; page < n; page += PAGE) {
				if (dump_read(d, r->physical + done + page, chunk, PAGE))
					visit(arg, r->physical + done + page, chunk, PAGE);
				else
					d->unreadable++;
			}
		}
	}
	free(chunk);
}

void dump_scan_heads(struct dump *d,
		     void (*visit)(void *arg, uint64_t physical, uint32_t head), void *arg)
{
	uint64_t done;
	uint32_t head;
	size_t i;

	for (i = 0; i < d->nr_runs; i++) {
		for (done = 0; done < d->runs[i].size; done += PAGE) {
			if (dump_read(d, d->runs[i].physical + done, &head, sizeof(head)))
				visit(arg, d->runs[i].physical + done, head);
			else
				d->unreadable++;
		}
	}
}
