/* SPDX-License-Identifier: GPL-2.0-only */
/* An ELF dump of a host: a vmcore, /proc/vmcore or /proc/kcore */
#ifndef VMCSINFO_DUMP_H
#define VMCSINFO_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct segment {
	uint64_t physical;
	uint64_t virtual;
	uint64_t size;
	uint64_t offset;
};

/* Whole pages, of one segment or of several that adjoin */
struct run {
	uint64_t physical;
	uint64_t size;
};

struct dump {
	int fd;
	const char *name;
	/* Those with a physical address, sorted by it, none overlaps */
	struct segment *segments;
	size_t nr;
	/* The same as pages, sorted */
	struct run *runs;
	size_t nr_runs;
	/* Of all runs */
	uint64_t memory;
	/* Pages that could not be read when all memory was looked at */
	uint64_t unreadable;
	/* From a note of the dump, if there is one */
	bool has_layout;
	struct layout layout;
};

/* Ends the program with a message if @name isn't a dump */
void dump_open(struct dump *d, const char *name);
void dump_close(struct dump *d);

/* False if some of it is not in the dump */
bool dump_read(const struct dump *d, uint64_t physical, void *buf, size_t size);

/*
 * The first pages from @physical to @end that are in the dump, all up to the next
 * hole; 0 if there are none, else how many bytes.  Both are addresses of pages.
 */
uint64_t dump_next(const struct dump *d, uint64_t physical, uint64_t end, uint64_t *start);

/* What the host's direct map has for @physical; false if it isn't in the dump */
bool dump_virtual(const struct dump *d, uint64_t physical, uint64_t *virtual);

/* Have @visit look at all memory in parts of up to 1 MiB that are whole pages */
void dump_scan(struct dump *d,
	       void (*visit)(void *arg, uint64_t physical, const uint8_t *data, size_t size),
	       void *arg);

/*
 * Have @visit look at the first word of each page: where a page is copied by a slow
 * processor, as /proc/kcore does, that is far less than all of it.
 */
void dump_scan_heads(struct dump *d,
		     void (*visit)(void *arg, uint64_t physical, uint32_t head), void *arg);

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* What the user should know of a result that there is nevertheless */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *allocate(size_t n, size_t size);
/* Make room for one more than @nr elements in an array that has @room */
void *grow(void *array, size_t nr, size_t *room, size_t size);

#endif /* VMCSINFO_DUMP_H */
