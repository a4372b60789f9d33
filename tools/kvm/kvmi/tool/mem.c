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
		return kvmi_read_physical(tool->conn, gpa, buf, size);
	return kvmi_read_physical_cookie(tool->conn, as_id, gpa, buf, size, &cookie);
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

/* Going through much memory takes a while: leave if asked to meanwhile */
static int still_wanted(struct tool *tool)
{
	struct kvmi_event event;
	int err = kvmi_next_event(tool->conn, &event, 0);

	if (err == -EAGAIN)
		return 0;
	return err ? err : -ECANCELED;
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

static uint64_t page_end(uint64_t gpa, uint64_t end)
{
	uint64_t next = (gpa / PAGE_SIZE + 1) * PAGE_SIZE;

	return next < end ? next : end;
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
			gpa = page_end(gpa, end);
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
static int copy(struct tool *tool, uint64_t start, uint64_t end, FILE *file)
{
	static unsigned char block[BLOCK];
	uint64_t gpa = start, next, hole = 0;
	int size;

	for (; gpa < end; gpa = next) {
		size = read_block(tool, gpa, end, block);
		if (size < 0)
			return size;
		next = size ? gpa + size : page_end(gpa, end);
		if (!size) {
			hole += next - gpa;
			memset(block, 0, next - gpa);
		}
		if (!file && !size)
			printf("%012llx  no memory\n", (unsigned long long)gpa);
		else if (!file)
			dump(gpa, block, size);
		else if (fwrite(block, 1, next - gpa, file) != next - gpa)
			return -EIO;
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
			 FILE *file)
{
	uint32_t before, after;
	bool told = kvmi_get_memslots(tool->conn, as_id, NULL, 0, &before) >= 0;
	int err = s->size ? search(tool, start, end, s) : copy(tool, start, end, file);

	if (err || !told || kvmi_get_memslots(tool->conn, as_id, NULL, 0, &after) < 0)
		return err;
	return before == after ? 0 : -EAGAIN;
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
	FILE *file = NULL;
	int err;

	if (!length)
		length = kvmi_peer_info(tool->conn)->max_gpa;
	if (!length) {
		error("mem: the device manager does not say how much there is; give START LENGTH");
		return EXIT_ERROR;
	}
	if (output) {
		file = fopen(output, "wb");
		if (!file) {
			error("--output %s: %s", output, strerror(errno));
			return EXIT_ERROR;
		}
	}

	err = in_one_layout(tool, start, start + length, s, file);
	if (file && fclose(file) && !err)
		err = -EIO;
	if (err == -EIO)
		error("--output %s: write failed", output);
	else if (err == -EINVAL && as_id)
		error("--smm: " NO_SMM);
	else if (err == -EAGAIN)
		error("mem: the guest's memory was rearranged meanwhile, try again");
	else if (err && err != -ENOENT)
		error("mem: %s", explain(err));
	if (err)
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
