// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi mem --write
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_WRITE	(64 << 20)
#define MAX_COMPARE	8

static unsigned char *load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	unsigned char *data = NULL;

	if (!file) {
		error("--write file:%s: %s", path, strerror(errno));
		return NULL;
	}
	data = malloc(MAX_WRITE);
	*size = data ? fread(data, 1, MAX_WRITE, file) : 0;
	if (ferror(file) || !feof(file) || !*size) {
		error("--write file:%s: give a file of 1 byte to less than %d MiB", path,
		      MAX_WRITE >> 20);
		free(data);
		data = NULL;
	}
	fclose(file);
	return data;
}

static unsigned char *bytes_of(const char *text, size_t *size)
{
	unsigned char *data;
	bool is_text;

	if (!strncmp(text, "file:", 5))
		return load(text + 5, size);
	data = malloc(strlen(text) + 1);
	if (data && parse_bytes(text, data, strlen(text), size, &is_text))
		return data;
	error("--write: give hex:BYTES, file:PATH or a text");
	free(data);
	return NULL;
}

static bool can_compare(const unsigned char *expected, size_t expected_size, size_t size,
			uint64_t gpa)
{
	if (expected_size != size || (size & (size - 1)) || size > MAX_COMPARE) {
		error("--expect: give as many bytes as --write has, 1, 2, 4 or 8");
		return false;
	}
	if (gpa % size) {
		error("--expect: %zu bytes are compared at a multiple of %zu, %#llx is none",
		      size, size, ull(gpa));
		return false;
	}
	return expected;
}

static void print_bytes(FILE *out, const unsigned char *data, size_t size)
{
	while (size--)
		fprintf(out, "%02x", *data++);
}

#define REARRANGED "mem: the guest's memory was rearranged meanwhile, or dirty rings are full; try again"

/* Somebody else's bytes are there: whose? */
static void tell_found(struct tool *tool, uint16_t as_id, uint64_t gpa,
		       const unsigned char *expected, size_t size)
{
	unsigned char found[MAX_COMPARE];
	uint32_t cookie;

	if (kint_read_physical_cookie(tool->conn, as_id, gpa, found, size, &cookie)) {
		error("mem: memory is not as expected, nothing was written");
		return;
	}
	if (!memcmp(found, expected, size)) {
		error(REARRANGED);
		return;
	}
	fflush(stdout);
	fprintf(stderr, "kvmi: mem: memory holds hex:");
	print_bytes(stderr, found, size);
	fprintf(stderr, ", not what was expected; nothing was written\n");
}

static void tell_error(int err, uint16_t as_id, uint64_t gpa)
{
	switch (err) {
	case -ENOENT:
		error("mem: no memory, or read-only, at %#llx or after it", ull(gpa));
		break;
	case -EAGAIN:
		error(REARRANGED);
		break;
	case -EINVAL:
		error(as_id ? "--smm: " NO_SMM :
		      "mem: the host's kernel is too old for --expect");
		break;
	default:
		error("mem: %s", explain(err));
	}
}

/*
 * @data and @expected (which may be NULL) as given on the command line.  Where
 * the kernel tells the generation of the memory layout, it is held to that.
 */
int write_memory(struct tool *tool, uint16_t as_id, uint64_t gpa, const char *data,
		 const char *expected)
{
	unsigned char old[MAX_COMPARE + 1];
	size_t size, old_size = 0;
	unsigned char *new;
	uint32_t cookie = 0;
	bool is_text;
	int err;

	new = bytes_of(data, &size);
	if (!new)
		return EXIT_USAGE;
	if (expected && !parse_bytes(expected, old, sizeof(old), &old_size, &is_text))
		old_size = 0;
	if (expected && !can_compare(old, old_size, size, gpa)) {
		free(new);
		return EXIT_USAGE;
	}
	err = session_open(tool);
	if (err) {
		free(new);
		return err;
	}

	err = kint_get_memslots(tool->conn, as_id, NULL, 0, &cookie);
	if (expected)
		err = kint_write_physical_compare(tool->conn, as_id, gpa, old, new, size,
						  err < 0 ? NULL : &cookie);
	else if (err >= 0)
		err = kint_write_physical_cookie(tool->conn, as_id, gpa, new, size, cookie);
	else if (!as_id)
		err = kint_write_physical(tool->conn, gpa, new, size);
	free(new);
	if (!err)
		printf("%zu byte%s written to %#llx\n", size, size == 1 ? "" : "s", ull(gpa));
	else if (err == -EAGAIN && expected)
		tell_found(tool, as_id, gpa, old, size);
	else
		tell_error(err, as_id, gpa);
	return err ? EXIT_ERROR : EXIT_OK;
}
