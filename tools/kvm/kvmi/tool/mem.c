// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi mem: dump, save, search or write guest memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define BLOCK		65536
#define MAX_PATTERN	256
#define MAX_TEXT	240
#define MAX_PAGES	(1ull << 52)	/* of 2^64 bytes */

struct search {
	unsigned char pattern[MAX_PATTERN];
	size_t size;
	bool text;		/* show what is found as text */
	uint64_t limit;		/* --max */
	uint64_t found;
};

/* Address space: 0, or 1 for that of system management mode */
static uint16_t as_id;

static int read_memory(struct tool *tool, uint64_t gpa, unsigned char *buf, size_t size)
{
	uint32_t cookie;

	if (!as_id)
		return kint_read_physical(tool->conn, gpa, buf, size);
	return kint_read_physical_cookie(tool->conn, as_id, gpa, buf, size, &cookie);
}

static void dump(uint64_t gpa, const unsigned char *data, size_t size)
{
	size_t i, j;

	for (i = 0; i < size; i += 16) {
		printf("%012llx ", (unsigned long long)(gpa + i));
		for (j = i; j < i + 16; j++) {
			if (j < size)
				printf(" %02x", data[j]);
			else
				printf("   ");
			if (j == i + 7)
				putchar(' ');
		}
		printf("  |");
		for (j = i; j < i + 16 && j < size; j++)
			putchar(data[j] >= 0x20 && data[j] < 0x7f ? data[j] : '.');
		printf("|\n");
	}
}

/* The text at @gpa up to its end, or a line of bytes around it */
static int show_found(struct tool *tool, uint64_t gpa, const struct search *s)
{
	unsigned char data[MAX_TEXT];
	size_t size = s->text ? sizeof(data) : 16, i;
	int err;

	/* Less of it if what follows is no memory */
	err = read_memory(tool, gpa, data, size);
	if (err == -ENOENT) {
		size = PAGE_SIZE - gpa % PAGE_SIZE < size ? PAGE_SIZE - gpa % PAGE_SIZE : size;
		err = read_memory(tool, gpa, data, size);
	}
	if (err)
		return err;
	if (!s->text) {
		dump(gpa, data, size);
		return 0;
	}
	printf("%012llx  ", (unsigned long long)gpa);
	for (i = 0; i < size && ((data[i] >= 0x20 && data[i] < 0x7f) || data[i] == '\t'); i++)
		putchar(data[i]);
	putchar('\n');
	return 0;
}

/*
 * Read up to BLOCK bytes, not beyond the next multiple of BLOCK, and only as far
 * as there is memory.  Returns the size, 0 for a hole to the end of its page.
 */
static int read_block(struct tool *tool, uint64_t gpa, uint64_t end, unsigned char *buf)
{
	size_t size = BLOCK - gpa % BLOCK, done, part;
	int err = still_wanted(tool);

	if (err)
		return err;
	if (size > end - gpa)
		size = end - gpa;
	err = read_memory(tool, gpa, buf, size);
	if (err != -ENOENT)
		return err ? err : (int)size;
	/* A hole: page by page, to find where it begins */
	for (done = 0; done < size; done += part) {
		part = PAGE_SIZE - (gpa + done) % PAGE_SIZE;
		if (part > size - done)
			part = size - done;
		err = read_memory(tool, gpa + done, buf + done, part);
		if (err)
			return err == -ENOENT ? (int)done : err;
	}
	return done;
}

/* Where the guest has memory, if the device manager lets it be known */
static struct {
	struct kvmi_memslot *slots;
	unsigned int n;
	uint32_t cookie;
} layout;

static int read_layout(struct tool *tool)
{
	int n = read_slots(tool, as_id, &layout.slots, &layout.cookie);

	if (n >= 0) {
		layout.n = n;
		return 0;
	}
	free(layout.slots);
	layout.slots = NULL;
	return n == -EPERM || n == -ENOSYS ? 0 : n;
}

/* The end of what is asked for when nothing is: of the RAM, 0 if nobody knows */
static uint64_t memory_end(const struct tool *tool)
{
	uint64_t end = 0, told = kint_peer_info(tool->conn)->max_gpa;
	const struct kvmi_memslot *s;

	for (s = layout.slots; s < layout.slots + layout.n; s++)
		if (s->npages <= MAX_PAGES && s->gfn <= MAX_PAGES - s->npages &&
		    (s->gfn + s->npages) * PAGE_SIZE > end)
			end = (s->gfn + s->npages) * PAGE_SIZE;
	/* Devices have memory beyond the RAM, and there may be less than was told */
	return end && (end < told || !told) ? end : told;
}

/* There is no memory at @gpa: where to go on */
static uint64_t hole_end(uint64_t gpa, uint64_t end)
{
	uint64_t next = gpa - gpa % PAGE_SIZE + PAGE_SIZE, first = end, gfn = next / PAGE_SIZE;
	const struct kvmi_memslot *s;

	/* The last page of all, or of what is asked for */
	if (next < gpa || next >= end)
		return end;
	if (!layout.slots)
		return next;
	for (s = layout.slots; s < layout.slots + layout.n; s++) {
		/* Memory of a slot may be missing in part */
		if (s->gfn <= gfn && gfn - s->gfn < s->npages)
			return next;
		if (s->gfn > gfn && s->gfn < MAX_PAGES && s->gfn * PAGE_SIZE < first)
			first = s->gfn * PAGE_SIZE;
	}
	return first;
}

/*
 * The end of each block is kept before the next one, so that what crosses the
 * border is found too.
 */
static int search(struct tool *tool, uint64_t start, uint64_t end, struct search *s)
{
	static unsigned char window[MAX_PATTERN + BLOCK];
	unsigned char *p;
	uint64_t gpa = start, base;
	size_t kept = 0, left;
	int size, err;

	while (gpa < end) {
		size = read_block(tool, gpa, end, window + kept);
		if (size < 0)
			return size;
		if (!size) {
			kept = 0;
			gpa = hole_end(gpa, end);
			continue;
		}
		base = gpa - kept;
		left = kept + size;
		p = window;
		while (left >= s->size && (p = memmem(p, left, s->pattern, s->size))) {
			err = show_found(tool, base + (p - window), s);
			if (err)
				return err;
			if (++s->found == s->limit)
				return 0;
			p++;
			left = window + kept + size - p;
		}
		/* What may be the start of a match that ends in the next block */
		left = kept + size;
		kept = left < s->size - 1 ? left : s->size - 1;
		memmove(window, window + left - kept, kept);
		gpa += size;
	}
	return 0;
}

/* To standard output as a dump, or to a file as it is; holes are zero there */
static int copy(struct tool *tool, uint64_t start, uint64_t end, struct output *file)
{
	static unsigned char block[BLOCK];
	uint64_t gpa = start, next, hole = 0, last_hole = 0;
	int size, err;

	for (; gpa < end; gpa = next) {
		size = read_block(tool, gpa, end, block);
		if (size < 0)
			return size;
		next = size ? gpa + size : hole_end(gpa, end);
		if (!size)
			hole += next - gpa;
		err = 0;
		if (file)
			err = size ? output_write(file, block, size) :
				     output_hole(file, next - gpa);
		else if (size)
			dump(gpa, block, size);
		else if (last_hole != gpa || gpa == start)
			printf("%012llx  no memory\n", (unsigned long long)gpa);
		if (err)
			return err;
		if (!size)
			last_hole = next;
	}
	if (hole == end - start) {
		error("mem: no memory at %#llx", (unsigned long long)start);
		return -ENOENT;
	}
	if (hole && file)
		error("mem: %llu bytes of the range are no memory and were saved as zero",
		      (unsigned long long)hole);
	return 0;
}

/* -EAGAIN if the guest's memory was moved meanwhile: then it is a mixture */
static int in_one_layout(struct tool *tool, uint64_t start, uint64_t end, struct search *s,
			 struct output *file)
{
	int err = s->size ? search(tool, start, end, s) : copy(tool, start, end, file);
	uint32_t after;

	if (err || !layout.slots || kint_get_memslots(tool->conn, as_id, NULL, 0, &after) < 0)
		return err;
	return layout.cookie == after ? 0 : -EAGAIN;
}

static void print_usage(void)
{
	printf("usage: kvmi mem --listen ADDRESS [START LENGTH] [options] [common options]\n"
	       "       kvmi mem --listen ADDRESS START --write BYTES [--expect BYTES] [--smm]\n"
	       "  START LENGTH     in bytes; 0x10000 and 64K are the same; all of the memory for\n"
	       "                   --search and --output if not given\n"
	       "  --search TEXT    where TEXT is found, or the bytes hex:0f05...\n"
	       "  --max N          stop searching after N finds (16; 0 for no limit)\n"
	       "  --output FILE    write the bytes to FILE\n"
	       "  --write BYTES    write them to START: hex:0f05..., file:PATH, or text as it is\n"
	       "  --expect BYTES   only if memory holds these, as many, 1, 2, 4 or 8; at once for\n"
	       "                   the guest's vCPUs\n"
	       "  --smm            memory as it is in system management mode\n");
}

/* Where and how much; says what is wrong */
static bool parse_range(int argc, char **argv, bool writing, uint64_t *start, uint64_t *length)
{
	if (writing) {
		if (argc == optind + 1 && parse_size(argv[optind], start))
			return true;
		error("mem: --write: give START, the address to write to, and nothing else");
		return false;
	}
	if (argc == optind)
		return true;
	if (argc != optind + 2) {
		error("mem: give START and LENGTH, as in kvmi mem 16M 64");
		return false;
	}
	if (parse_size(argv[optind], start) && parse_size(argv[optind + 1], length) &&
	    *length && *start + *length >= *start)
		return true;
	error("mem: %s %s is no range of memory", argv[optind], argv[optind + 1]);
	return false;
}

static int show(struct tool *tool, uint64_t start, uint64_t length, struct search *s,
		const char *output)
{
	struct output *file = NULL;
	int err = read_layout(tool);

	if (!err && !length) {
		length = memory_end(tool);
		if (!length) {
			error("mem: nobody says how much there is; give START LENGTH");
			return EXIT_ERROR;
		}
	}
	if (!err && output) {
		file = output_open("--output", output);
		if (!file)
			return EXIT_ERROR;
	}
	if (!err)
		err = in_one_layout(tool, start, start + length, s, file);
	if (err == -EINVAL && as_id)
		error("--smm: " NO_SMM);
	else if (err == -EAGAIN)
		error("mem: the guest's memory was rearranged meanwhile, try again");
	else if (err && err != -ENOENT && err != -EIO)
		error("mem: %s", explain(err));
	free(layout.slots);
	if (file && err)
		output_discard(file);
	if (err || (file && !output_commit(file)))
		return EXIT_ERROR;
	if (s->size && !s->found) {
		error("mem: not found");
		return EXIT_ERROR;
	}
	return EXIT_OK;
}

int cmd_mem(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "search", required_argument, NULL, 's' },
		{ "max", required_argument, NULL, 'n' },
		{ "output", required_argument, NULL, 'o' },
		{ "write", required_argument, NULL, 'w' },
		{ "expect", required_argument, NULL, 'e' },
		{ "smm", no_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 }
	};
	const char *output = NULL, *data = NULL, *expected = NULL;
	struct search s = { .limit = 16 };
	uint64_t start = 0, length = 0;
	int opt, err;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 's':
			if (parse_bytes(optarg, s.pattern, MAX_PATTERN, &s.size, &s.text))
				break;
			error("--search: give a text or hex:BYTES, 1 to %d bytes", MAX_PATTERN);
			return EXIT_USAGE;
		case 'n':
			if (parse_number(optarg, &s.limit))
				break;
			error("--max %s: give a number", optarg);
			return EXIT_USAGE;
		case 'o':
			output = optarg;
			break;
		case 'w':
			data = optarg;
			break;
		case 'e':
			expected = optarg;
			break;
		case 'm':
			as_id = 1;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if ((s.size && output) || (data && (s.size || output))) {
		error("mem: give one of --search, --output and --write");
		return EXIT_USAGE;
	}
	if (expected && !data) {
		error("mem: --expect goes with --write");
		return EXIT_USAGE;
	}
	if (argc == optind && !s.size && !output && !data) {
		error("mem: give START and LENGTH, or --search, or --output; see kvmi mem --help");
		return EXIT_USAGE;
	}
	if (!parse_range(argc, argv, data, &start, &length))
		return EXIT_USAGE;
	if (data)
		return write_memory(tool, as_id, start, data, expected);

	err = session_open(tool);
	return err ? err : show(tool, start, length, &s, output);
}
