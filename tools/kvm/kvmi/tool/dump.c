// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi dump: all of a guest in a file, for the programs that read dumps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define BLOCK	65536

static const struct {
	const char *name, *what;
} formats[] = {
	[IMAGE_ELF] = { "elf", "ELF core" },
	[IMAGE_RAW] = { "raw", "raw memory" },
	[IMAGE_LIME] = { "lime", "LiME image" },
};

#define NFORMATS (sizeof(formats) / sizeof(formats[0]))

static bool is_zero(const unsigned char *p, size_t size)
{
	return !size || (!*p && !memcmp(p, p + 1, size - 1));
}

/* *@used grows by the bytes that take room */
static int save(struct tool *tool, const struct image *image, struct output *file,
		struct progress *progress, uint64_t *used)
{
	static unsigned char block[BLOCK];
	const struct image_part *part;
	uint64_t offset, size, page, i;
	int err = 0;

	for (offset = 0; offset < image->size && !err; offset += size) {
		err = still_wanted(tool);
		if (err)
			break;
		size = image_extent(image, offset, image->size - offset, &part);
		if (!part) {
			err = output_hole(file, size);
			continue;
		}
		if (size > BLOCK)
			size = BLOCK;
		err = image_read(tool, image, offset, block, size);
		for (i = 0; i < size && !err; i += page) {
			page = size - i < PAGE_SIZE ? size - i : PAGE_SIZE;
			if (is_zero(block + i, page)) {
				err = output_hole(file, page);
				continue;
			}
			err = output_write(file, block + i, page);
			*used += page;
		}
		progress_add(progress, size);
	}
	return err;
}

static void print_result(const struct tool *tool, const char *path, const struct image *image,
			 uint64_t used, int64_t held_ns)
{
	printf("%s: %s, %llu MiB of memory, of which %llu KiB take room", path,
	       formats[image->format].what, ull(image->memory >> 20), ull(used >> 10));
	if (image->format == IMAGE_ELF) {
		printf("; %u vCPU%s", tool->vcpus, tool->vcpus == 1 ? "" : "s");
		if (image->not_started)
			printf(", %u of them not started", image->not_started);
		printf("; %u mapping%s of the kernel; %s VMCOREINFO", image->mappings,
		       image->mappings == 1 ? "" : "s", image->vmcoreinfo ? "with" : "no");
	}
	if (image->running)
		printf("; not of one moment, as the guest ran meanwhile\n");
	else
		printf("; the guest stood still for %.1f s\n", held_ns / 1e9);
	if (image->cut)
		error("dump: the kernel has more mappings than a core can have, some are left out");
}

/* With the guest paused, or running if that is asked for */
static int make_and_save(struct tool *tool, struct image *image, const char *path,
			 struct output *file, uint64_t *used)
{
	struct progress progress;
	uint32_t after;
	int err = image_make(tool, image, 0);

	progress_begin(&progress, path, image->memory);
	if (!err)
		err = save(tool, image, file, &progress, used);
	progress_end(&progress);
	if (!err && image->has_layout && kint_get_memslots(tool->conn, 0, NULL, 0, &after) >= 0 &&
	    after != image->layout)
		err = -ESTALE;
	return err;
}

static int dump(struct tool *tool, struct image *image, const char *path)
{
	struct output *file = output_open("dump", path);
	struct held held = { 0 };
	int64_t begin;
	uint64_t used = 0;
	int err = 0;

	if (!file)
		return EXIT_ERROR;
	if (image->format == IMAGE_ELF)
		err = vmcoreinfo_find(tool, true, &image->vmcoreinfo);
	begin = now_ns();
	if (!err && !image->running)
		err = hold_guest(tool, &held);
	if (!err)
		err = make_and_save(tool, image, path, file, &used);
	if (!err)
		err = let_go(tool, &held);
	begin = now_ns() - begin;
	free(held.events);
	tell_image_error(tool, err);
	if (err)
		output_discard(file);
	if (err || !output_commit(file))
		return EXIT_ERROR;
	print_result(tool, path, image, used, begin);
	return EXIT_OK;
}

static bool parse_format(const char *text, enum image_format *format)
{
	unsigned int i;

	for (i = 0; i < NFORMATS; i++) {
		if (strcmp(text, formats[i].name))
			continue;
		*format = i;
		return true;
	}
	return false;
}

static void print_usage(void)
{
	printf("usage: kvmi dump FILE --listen ADDRESS [options] [common options]\n"
	       "  --format elf   an ELF core: memory, registers and what the kernel says of\n"
	       "                 itself, for crash, drgn, gdb and Volatility (the default)\n"
	       "  --format raw   memory, by physical address\n"
	       "  --format lime  memory, as LiME saves it\n"
	       "  --running      let the guest run meanwhile\n");
}

int cmd_dump(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "running", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 }
	};
	struct image image = { .format = IMAGE_ELF };
	int opt, ret;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'f':
			if (parse_format(optarg, &image.format))
				break;
			error("--format %s: give elf, raw or lime", optarg);
			return EXIT_USAGE;
		case 'r':
			image.running = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc != optind + 1) {
		error("dump: give one FILE to write");
		return EXIT_USAGE;
	}
	ret = session_open(tool);
	if (ret)
		return ret;
	ret = dump(tool, &image, argv[optind]);
	image_free(&image);
	return ret;
}
