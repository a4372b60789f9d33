// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi mount of a tool that was built without libfuse3.
 */
#include "tool.h"

int cmd_mount(struct tool *tool, int argc, char **argv)
{
	(void)tool;
	(void)argc;
	(void)argv;
	error("mount: built without libfuse3 (Debian: libfuse3-dev); kvmi dump saves the guest");
	return EXIT_ERROR;
}
