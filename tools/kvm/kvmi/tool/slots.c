// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi slots: where the guest has memory.
 */
#include <errno.h>
#include <stdlib.h>
#include "tool.h"

#define PAGE_SHIFT 12

static void print_slot(const struct tool *tool, const struct kvmi_memslot *slot)
{
	uint64_t size = slot->npages << PAGE_SHIFT, start = slot->gfn << PAGE_SHIFT;
	const char *unit = "KiB";

	printf("%012llx-%012llx  ", ull(start), ull(start + size - 1));
	size >>= 10;
	if (!(size % 1024)) {
		size >>= 10;
		unit = "MiB";
	}
	printf("%8llu %s%s%s\n", ull(size), unit,
	       slot->flags & KVMI_MEMSLOT_READONLY ? "  read-only" : "",
	       is_tool_slot(tool, slot) ? "  for the tool" : "");
}

int cmd_slots(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "smm", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 }
	};
	struct kvmi_memslot *slots = NULL;
	uint16_t as_id = 0;
	uint32_t cookie;
	uint64_t end;
	int opt, n, i;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			printf("usage: kvmi slots --listen ADDRESS [--smm] [common options]\n"
			       "  --smm   memory as it is in system management mode\n");
			return EXIT_OK;
		case 's':
			as_id = 1;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	i = session_open(tool);
	if (i)
		return i;

	n = read_slots(tool, as_id, &slots, &cookie);
	for (i = 0; i < n; i++)
		print_slot(tool, &slots[i]);
	free(slots);
	if (n >= 0) {
		i = kint_get_max_gfn(tool->conn, &end);
		if (!i) {
			printf("%d slot%s, generation %#x, memory ends at %#llx\n", n,
			       n == 1 ? "" : "s", cookie, ull(end << PAGE_SHIFT));
			return EXIT_OK;
		}
		n = i;
	}
	if (n == -EINVAL && as_id)
		error("--smm: " NO_SMM);
	else if (n == -EAGAIN)
		error("slots: the memory layout keeps changing, try again");
	else
		error("slots: %s", explain(n));
	return EXIT_ERROR;
}
