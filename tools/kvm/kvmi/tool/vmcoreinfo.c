// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMCOREINFO: what a Linux kernel says of itself for those who read its dumps.
 *
 * It is a note of an ELF core in a page of its own, somewhere in memory.  Any program
 * of the guest can have a page that looks like one, so that it is held against the
 * kernel that is found from outside.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define BLOCK	65536

static const char note_name[] = "VMCOREINFO";

/* The value after @key at the beginning of a line, with @base; false if there is none */
static bool number_of(const char *text, const char *key, int base, uint64_t *value)
{
	const char *line = text;
	size_t length = strlen(key);
	char *end;

	while (line && strncmp(line, key, length)) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return false;
	*value = strtoull(line + length, &end, base);
	return end != line + length && *end == '\n';
}

/* Does it speak of the kernel that runs? */
static bool is_of_kernel(const char *text, const struct guest_kernel *k)
{
	uint64_t stext, base;
	unsigned int i;

	if (!k->found)
		return true;
	if (number_of(text, "NUMBER(phys_base)=", 10, &base) && KERNEL_MAP - base != k->offset)
		return false;
	if (!number_of(text, "SYMBOL(_stext)=", 16, &stext))
		return false;
	for (i = 0; i < k->nranges; i++)
		if (k->ranges[i].text && stext - k->ranges[i].gva < k->ranges[i].size)
			return true;
	return false;
}

/* The text of a page that is such a note, the caller's to free; or NULL */
static char *text_of(const unsigned char *page)
{
	const size_t start = sizeof(Elf64_Nhdr) + ((sizeof(note_name) + 3) & ~3ul);
	Elf64_Nhdr h;
	size_t i;

	memcpy(&h, page, sizeof(h));
	if (h.n_namesz != sizeof(note_name) || h.n_type || h.n_descsz > PAGE_SIZE - start ||
	    memcmp(page + sizeof(h), note_name, sizeof(note_name)) ||
	    memcmp(page + start, "OSRELEASE=", strlen("OSRELEASE=")))
		return NULL;
	page += start;
	/* Lines of text, nothing else */
	for (i = 0; i < h.n_descsz; i++)
		if (page[i] != '\n' && (page[i] < 0x20 || page[i] > 0x7e))
			return NULL;
	return h.n_descsz ? strndup((const char *)page, h.n_descsz) : NULL;
}

/* *@others is set to the number of those that were passed over */
static int look_through(struct tool *tool, const struct image *where,
			const struct guest_kernel *kernel, char **text, unsigned int *others)
{
	static unsigned char block[BLOCK];
	const struct image_part *p;
	struct progress progress;
	uint64_t at;
	size_t size, i;
	int err = 0;

	progress_begin(&progress, "looking for VMCOREINFO,", where->memory);
	for (p = where->parts; p < where->parts + where->nparts && !*text && !err; p++) {
		for (at = 0; at < p->size && !*text && !err; at += size) {
			err = still_wanted(tool);
			size = p->size - at < BLOCK ? p->size - at : BLOCK;
			if (!err)
				err = read_or_zero(tool, p->gpa + at, block, size);
			progress_add(&progress, size);
			for (i = 0; i < size && !*text && !err; i += PAGE_SIZE) {
				*text = text_of(block + i);
				if (!*text || is_of_kernel(*text, kernel))
					continue;
				free(*text);
				*text = NULL;
				++*others;
			}
		}
	}
	progress_end(&progress);
	return err;
}

/*
 * Look for it in all memory and set *@text, or leave it NULL.  What was found earlier
 * is kept, unless another kernel runs.  @always: even if none is known to run.
 */
int vmcoreinfo_find(struct tool *tool, bool always, char **text)
{
	struct image where = { .format = IMAGE_RAW };
	static struct guest_kernel kernel;
	unsigned int others = 0;
	int err;

	err = kernel_find(tool, 0, &kernel);
	if (err && !kernel_missing(err) && err != -EAGAIN)
		return err;
	if (*text && is_of_kernel(*text, &kernel))
		return 0;
	free(*text);
	*text = NULL;
	if (!kernel.found && !always)
		return 0;
	err = image_make(tool, &where, 0);
	if (!err)
		err = look_through(tool, &where, &kernel, text, &others);
	image_free(&where);
	if (others)
		error("%s: %u page%s of the guest look%s like VMCOREINFO, and not of its kernel",
		      tool->command, others, others == 1 ? "" : "s", others == 1 ? "s" : "");
	return err;
}
