// SPDX-License-Identifier: GPL-2.0-only
/*
 * All of the guest's memory as a file: an ELF core, a raw image, or LiME's format.
 *
 * An image says what is where in the file, and memory is read when its part of the file
 * is, for a file that is written once as for one that stays open.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_PAGES	(1ull << 40)	/* of 2^52 bytes, more than processors can address */
#define LIME_MAGIC	0x4c694d45
#define LIME_VERSION	1

/* What LiME has in front of each range of memory */
struct lime_header {
	uint32_t magic, version;
	uint64_t first, last;
	uint8_t reserved[8];
};

static int leave_out_tool_slots(const struct tool *tool, struct kvmi_memslot *slots, int n)
{
	int i, left = 0;

	for (i = 0; i < n; i++)
		if (!is_tool_slot(tool, &slots[i]))
			slots[left++] = slots[i];
	return n < 0 ? n : left;
}

/* Where memory is; in order and none overlaps, or it is not to be believed */
static int read_ranges(struct tool *tool, struct image *image)
{
	struct kvmi_memslot *slots = NULL;
	uint64_t end = 0;
	int n, i;

	n = read_slots(tool, 0, &slots, &image->layout);
	image->has_layout = n >= 0;
	if (n == -EPERM || n == -ENOSYS) {
		/* One range then, as long as the device manager says, with holes */
		free(slots);
		slots = calloc(1, sizeof(*slots));
		if (!slots)
			return -ENOMEM;
		slots->npages = kint_peer_info(tool->conn)->max_gpa / PAGE_SIZE;
		n = slots->npages ? 1 : -ENODATA;
	}
	n = leave_out_tool_slots(tool, slots, n);
	image->parts = calloc(n > 0 ? 2 * n + 1 : 1, sizeof(*image->parts));
	if (n >= 0 && !image->parts)
		n = -ENOMEM;
	for (i = 0; i < n; i++) {
		if (slots[i].gfn < end || slots[i].gfn > MAX_PAGES || !slots[i].npages ||
		    slots[i].npages > MAX_PAGES) {
			n = -EPROTO;
			break;
		}
		end = slots[i].gfn + slots[i].npages;
		image->parts[i].gpa = slots[i].gfn * PAGE_SIZE;
		image->parts[i].size = slots[i].npages * PAGE_SIZE;
		image->memory += image->parts[i].size;
	}
	free(slots);
	if (n < 0)
		return n;
	image->nparts = n;
	return n ? 0 : -ENODATA;
}

/* Make room for what is in front of memory, whose first byte is at @start of the file */
static void place(struct image *image, uint64_t start)
{
	struct image_part *p;

	image->size = start;
	for (p = image->parts; p < image->parts + image->nparts; p++) {
		p->offset = image->size;
		image->size += p->size;
	}
}

/* Where in the file a guest physical address is; @left: how much is there from it on */
bool image_offset(const struct image *image, uint64_t gpa, uint64_t *offset, uint64_t *left)
{
	const struct image_part *p;

	for (p = image->parts; p < image->parts + image->nparts; p++) {
		if (p->data || gpa < p->gpa || gpa - p->gpa >= p->size)
			continue;
		*offset = p->offset + (gpa - p->gpa);
		*left = p->size - (gpa - p->gpa);
		return true;
	}
	return false;
}

static int make_raw(struct image *image)
{
	struct image_part *p;

	for (p = image->parts; p < image->parts + image->nparts; p++) {
		p->offset = p->gpa;
		image->size = p->gpa + p->size;
	}
	return 0;
}

static int make_lime(struct image *image)
{
	struct lime_header *h = calloc(image->nparts, sizeof(*h));
	unsigned int i;

	if (!h)
		return -ENOMEM;
	image->head = (unsigned char *)h;
	for (i = image->nparts; i--; ) {
		image->parts[2 * i + 1] = image->parts[i];
		h[i] = (struct lime_header){
			.magic = LIME_MAGIC, .version = LIME_VERSION,
			.first = image->parts[i].gpa,
			.last = image->parts[i].gpa + image->parts[i].size - 1,
		};
		image->parts[2 * i] = (struct image_part){ .size = sizeof(*h), .data = &h[i] };
	}
	image->nparts *= 2;
	place(image, 0);
	return 0;
}

/* What comes first in an ELF core is made by core.c, and may be more than fits */
static int make_core(struct tool *tool, struct image *image, uint64_t start)
{
	unsigned int i;
	int err;

	/* Its size depends on what is found, but not on where in the file memory is */
	place(image, start);
	err = core_head(tool, image);
	if (err)
		return err;
	if (!start)
		start = (image->head_size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	if (start < image->head_size)
		return -E2BIG;
	place(image, start);
	core_place(image);
	for (i = image->nparts; i--; )
		image->parts[i + 1] = image->parts[i];
	image->parts[0] = (struct image_part){ .size = image->head_size, .data = image->head };
	image->nparts++;
	return 0;
}

/*
 * Fill in @image, of which the caller has set the format and what is to be known.  Memory
 * of a core begins at @start, or after the rest with 0.  Free it with image_free(), also
 * after an error.
 */
int image_make(struct tool *tool, struct image *image, uint64_t start)
{
	int err = read_ranges(tool, image);

	if (err)
		return err;
	switch (image->format) {
	case IMAGE_RAW:
		return make_raw(image);
	case IMAGE_LIME:
		return make_lime(image);
	default:
		return make_core(tool, image, start);
	}
}

void image_free(struct image *image)
{
	free(image->parts);
	free(image->head);
	free(image->vmcoreinfo);
	image->vmcoreinfo = NULL;
	image->parts = NULL;
	image->head = NULL;
	image->nparts = 0;
}

/*
 * How much of the file from @offset on is one part, or nothing; up to @max.  *@part is
 * set to the part, or to NULL.
 */
uint64_t image_extent(const struct image *image, uint64_t offset, uint64_t max,
		      const struct image_part **part)
{
	const struct image_part *p;
	uint64_t size = max;

	*part = NULL;
	for (p = image->parts; p < image->parts + image->nparts; p++) {
		if (offset < p->offset) {
			size = p->offset - offset;
			break;
		}
		if (offset - p->offset < p->size) {
			*part = p;
			size = p->size - (offset - p->offset);
			break;
		}
	}
	return size < max ? size : max;
}

/* What is no memory, and what is between the parts, is zero */
int image_read(struct tool *tool, const struct image *image, uint64_t offset, void *buf,
	       size_t size)
{
	const struct image_part *p;
	size_t n;
	int err;

	for (; size; size -= n, offset += n, buf = (char *)buf + n) {
		n = image_extent(image, offset, size, &p);
		if (!p) {
			memset(buf, 0, n);
			continue;
		}
		if (p->data) {
			memcpy(buf, (const char *)p->data + (offset - p->offset), n);
			continue;
		}
		err = read_or_zero(tool, p->gpa + (offset - p->offset), buf, n);
		if (err)
			return err;
	}
	return 0;
}

/* Of all that makes or reads an image; what is told already is told once */
void tell_image_error(const struct tool *tool, int err)
{
	if (err == -ESTALE)
		error("%s: the guest's memory was rearranged meanwhile, try again", tool->command);
	else if (err == -ENODATA)
		error("%s: nobody says where the guest has memory", tool->command);
	else if (err < 0 && err != -EIO)
		error("%s: %s", tool->command, explain(err));
}
