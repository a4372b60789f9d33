// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names of the guest's kernel, from its System.map or its vmlinux.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

struct symbol {
	uint64_t address;
	char *name;
};

static struct symbol *symbols;
static size_t nsymbols;

/* What the guest's addresses are off from the file's, with KASLR */
static uint64_t slide;

/* What a vmlinux says of the kernel's structures */
static struct layout layout;

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static bool add(uint64_t address, const char *name)
{
	struct symbol *bigger;

	/* What lies below are offsets in per-CPU data */
	if (address < KERNEL_MAP)
		return true;
	if (!(nsymbols & (nsymbols - 1))) {
		bigger = realloc(symbols, (nsymbols ? 2 * nsymbols : 1) * sizeof(*symbols));
		if (!bigger)
			return false;
		symbols = bigger;
	}
	symbols[nsymbols].address = address;
	symbols[nsymbols].name = strdup(name);
	return symbols[nsymbols++].name;
}

static bool add_line(const char *line)
{
	unsigned long long address;
	char name[128];

	return sscanf(line, "%llx %*c %127s", &address, name) != 2 || add(address, name);
}

/* Says what is wrong */
static bool load_vmlinux(const char *path)
{
	int err = layout_of_vmlinux(path, add, &layout);

	if (err == -ENOSYS)
		error("--symbols %s: " NO_LAYOUT ": give a System.map", path);
	else if (err == -ENOEXEC || (!err && !nsymbols))
		error("--symbols %s: not the vmlinux of a 64-bit kernel", path);
	else if (err)
		error("--symbols %s: %s", path, strerror(-err));
	return !err && nsymbols;
}

/* Says what is wrong */
bool symbols_load(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[1024];	/* names have up to 511 bytes, as those of Rust */
	bool ok = true, elf = false;

	if (!file) {
		error("--symbols %s: %s", path, strerror(errno));
		return false;
	}
	/* A line without an end is none of a System.map: /dev/zero has nothing else */
	while (ok && !elf && fgets(line, sizeof(line), file)) {
		elf = !nsymbols && !strncmp(line, ELFMAG, SELFMAG);
		ok = elf || (strchr(line, '\n') && !asked_to_leave() && add_line(line));
	}
	ok = ok && !ferror(file);
	fclose(file);
	if (elf && !load_vmlinux(path))
		return false;
	if (!ok || !nsymbols) {
		error("--symbols %s: not the System.map of a 64-bit kernel", path);
		return false;
	}
	qsort(symbols, nsymbols, sizeof(*symbols), by_address);
	return true;
}

bool symbols_loaded(void)
{
	return nsymbols;
}

/* Where the kernel has what in its structures, or NULL if the file does not say */
const struct layout *symbols_layout(void)
{
	return layout.known ? &layout : NULL;
}

static const struct symbol *find(const char *name)
{
	size_t i;

	for (i = 0; i < nsymbols; i++)
		if (!strcmp(symbols[i].name, name))
			return &symbols[i];
	return NULL;
}

bool symbol_address(const char *name, uint64_t *address)
{
	const struct symbol *s = find(name);

	if (s)
		*address = s->address + slide;
	return s;
}

/* From the symbol to the next one that is elsewhere */
bool symbol_extent(const char *name, uint64_t *start, uint64_t *end)
{
	const struct symbol *s = find(name), *next;

	if (!s)
		return false;
	for (next = s; next < symbols + nsymbols && next->address == s->address; next++)
		;
	if (next == symbols + nsymbols)
		return false;
	*start = s->address + slide;
	*end = next->address + slide;
	return true;
}

/* Find out by how much the kernel was moved; false if this is another kernel */
bool symbols_relocate(uint64_t entry)
{
	uint64_t address;

	slide = 0;
	if (!symbol_address("entry_SYSCALL_64", &address) || (entry - address) % (2 << 20))
		return false;
	slide = entry - address;
	return true;
}

/* " <name+0x12>", or nothing */
void print_symbol(FILE *out, uint64_t address)
{
	size_t low = 0, high = nsymbols, middle;

	/* The last one that is not above */
	while (low < high) {
		middle = low + (high - low) / 2;
		if (symbols[middle].address + slide <= address)
			low = middle + 1;
		else
			high = middle;
	}
	/* Far from any is a module's or no code */
	if (!low || address - symbols[low - 1].address - slide >= 1 << 20 || low == nsymbols)
		return;
	fprintf(out, " <");
	print_text(out, symbols[low - 1].name);
	if (address != symbols[low - 1].address + slide)
		fprintf(out, "+%#llx", ull(address - symbols[low - 1].address - slide));
	fputc('>', out);
}

void symbols_free(void)
{
	while (nsymbols)
		free(symbols[--nsymbols].name);
	free(symbols);
	symbols = NULL;
}
