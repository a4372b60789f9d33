// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi check: what introspection needs of this host, and what to do about what it lacks.
 * There is no VM and no session, and any user may run it.
 */
#include <limits.h>
#include <stdarg.h>
#include "check.h"

void report(struct check *c, enum verdict kind, const char *what, const char *format, ...)
{
	static const char *const words[] = { "ok", "limit", "missing", "unknown" };
	char text[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	c->count[kind]++;
	printf("%-8s %-12s ", words[kind], what);
	/* Paths, and what QEMU says of itself, are others' */
	print_text(stdout, text);
	printf("\n");
}

const char *check_path(const struct check *c, const char *format, ...)
{
	static char path[PATH_MAX];
	va_list ap;
	int n;

	n = snprintf(path, sizeof(path), "%s", c->root);
	if (n >= (int)sizeof(path))
		return "";	/* which is not there */
	va_start(ap, format);
	vsnprintf(path + n, sizeof(path) - n, format, ap);
	va_end(ap);
	return path;
}

static int usage(void)
{
	printf("usage: kvmi check [--qemu PROGRAM|none] [--qemu-user USER] [--root DIR]\n"
	       "                  [--listen ADDRESS] [common options]\n"
	       "Says what this host has and lacks for introspection, a line each, and what to do:\n"
	       "  ok       it is there\n"
	       "  limit    guests can be introspected, but not in every way\n"
	       "  missing  without it they cannot\n"
	       "  unknown  it could not be looked at, for lack of rights say\n"
	       "  --qemu PROGRAM    the QEMU to look at (qemu-system-x86_64-kvmi, or else\n"
	       "                    qemu-system-x86_64); none: another VMM\n"
	       "  --qemu-user USER  may QEMU connect to the socket as this user?  A name, or\n"
	       "                    numbers, UID or UID:GID\n"
	       "  --root DIR        look at DIR/proc, DIR/sys, DIR/dev and DIR/etc\n"
	       "With --listen unix:PATH the place of the socket is looked at, too.\n"
	       "Exit status: 0 nothing is missing, 1 something is, 2 wrong usage, 3 nothing is\n"
	       "missing as far as could be seen.\n");
	return EXIT_OK;
}

int cmd_check(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "qemu", required_argument, NULL, 'q' },
		{ "qemu-user", required_argument, NULL, 'u' },
		{ "root", required_argument, NULL, 'r' },
		{ 0 }
	};
	struct check c = { .tool = tool, .root = "" };
	int opt;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			return usage();
		case 'q':
			c.qemu = optarg;
			break;
		case 'u':
			c.qemu_user = optarg;
			break;
		case 'r':
			c.root = optarg;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	if (c.qemu_user && !qemu_user_known(&c)) {
		error("--qemu-user %s: no such user in /etc/passwd; give UID or UID:GID",
		      c.qemu_user);
		return EXIT_USAGE;
	}

	report(&c, CHECK_OK, "tool", "kvmi %s, libkint %s, protocol version %d",
	       KVMI_TOOL_VERSION, kint_library_version(), KVMI_VERSION);
	check_kvm(&c);
	check_qemu(&c);
	check_socket(&c);

	if (c.count[CHECK_MISSING]) {
		error("check: no guest can be introspected here: %u missing",
		      c.count[CHECK_MISSING]);
		return EXIT_ERROR;
	}
	return c.count[CHECK_UNKNOWN] ? (int)EXIT_UNKNOWN : (int)EXIT_OK;
}
