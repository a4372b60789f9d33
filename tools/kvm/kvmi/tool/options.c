// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options that every command has, numbers, and error messages.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_COOKIE 65536

void error(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "kvmi: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	return !errno && !*end;
}

/* A number with an optional K, M, G or T */
bool parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned int shift;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (!*end)
		return true;
	unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
	if (!unit || end[1])
		return false;
	shift = 10 * (unit - units + 1);
	if (*value >> (64 - shift))
		return false;
	*value <<= shift;
	return true;
}

static bool parse_seconds(const char *text, int *ms)
{
	char *end;
	double value;

	if (*text < '0' || *text > '9')
		return false;
	value = strtod(text, &end);
	if (*end || value > 1000000)
		return false;
	*ms = value * 1000;
	return true;
}

static bool read_cookie(struct tool *tool, const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file) {
		error("--cookie %s: %s", path, strerror(errno));
		return false;
	}
	free(tool->cookie);
	tool->cookie = malloc(MAX_COOKIE);
	if (tool->cookie)
		tool->cookie_size = fread(tool->cookie, 1, MAX_COOKIE, file);
	if (!tool->cookie || ferror(file) || !tool->cookie_size || !feof(file)) {
		error("--cookie %s: give a file of 1 to %d bytes", path, MAX_COOKIE - 1);
		fclose(file);
		return false;
	}
	fclose(file);
	return true;
}

/* Returns 0, or the exit status to leave with */
int common_option(struct tool *tool, int opt, const char *arg)
{
	switch (opt) {
	case OPT_LISTEN:
		tool->address = arg;
		return 0;
	case OPT_COOKIE:
		return read_cookie(tool, arg) ? 0 : EXIT_USAGE;
	case OPT_TIMEOUT:
		if (parse_seconds(arg, &tool->timeout_ms) && tool->timeout_ms > 0)
			return 0;
		error("--timeout %s: give a number of seconds above 0", arg);
		return EXIT_USAGE;
	case OPT_WAIT:
		if (parse_seconds(arg, &tool->wait_ms))
			return 0;
		error("--wait %s: give a number of seconds", arg);
		return EXIT_USAGE;
	default:
		fprintf(stderr, "see kvmi %s --help\n", tool->command);
		return EXIT_USAGE;
	}
}
