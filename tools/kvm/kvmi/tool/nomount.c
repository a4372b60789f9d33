// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi mount of a tool that was built without libfuse3.
 */
#include "tool.h"

static void print_usage(void)
{
	printf("usage: kvmi mount DIR --listen ADDRESS [options] [common options]\n"
	       "This kvmi was built without libfuse3 and cannot; kvmi dump saves the guest.\n");
}

/* It takes what the other takes, and is as strict about it */
int cmd_mount(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "pause", no_argument, NULL, 'p' },
		{ "write", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 }
	};
	int opt;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		if (opt == 'h') {
			print_usage();
			return EXIT_OK;
		}
		if (opt != 'p' && opt != 'w')
			return EXIT_USAGE;
	}
	if (argc != optind + 1) {
		error("mount: give one DIR to mount the guest at");
		return EXIT_USAGE;
	}
	error("mount: built without libfuse3 (Debian: libfuse3-dev); kvmi dump saves the guest");
	return EXIT_ERROR;
}
