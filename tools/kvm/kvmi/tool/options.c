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

bool parse_seconds(const char *text, int *ms)
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

static int hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A text, or hex:0f 05; 1 to @max bytes */
bool parse_bytes(const char *text, unsigned char *bytes, size_t max, size_t *size, bool *is_text)
{
	int high, low;

	*size = 0;
	*is_text = strncmp(text, "hex:", 4);
	if (*is_text) {
		*size = strlen(text);
		if (!*size || *size > max)
			return false;
		memcpy(bytes, text, *size);
		return true;
	}
	for (text += 4; *text; text++) {
		if (*text == ' ')
			continue;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0 || *size == max)
			return false;
		bytes[(*size)++] = high << 4 | low;
		text++;
	}
	return *size > 0;
}

/* Says what is wrong */
bool parse_vcpu(const char *text, int *vcpu)
{
	uint64_t value;

	if (!parse_number(text, &value) || value > UINT16_MAX) {
		error("--vcpu %s: give the number of a vCPU, the first is 0", text);
		return false;
	}
	*vcpu = value;
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

/* Returns false after saying what is wrong */
static bool common_option(struct tool *tool, int opt, const char *arg)
{
	switch (opt) {
	case OPT_LISTEN:
		tool->address = arg;
		return true;
	case OPT_COOKIE:
		return read_cookie(tool, arg);
	case OPT_TIMEOUT:
		if (parse_seconds(arg, &tool->timeout_ms) && tool->timeout_ms > 0)
			return true;
		error("--timeout %s: give a number of seconds above 0", arg);
		return false;
	case OPT_WAIT:
		if (parse_seconds(arg, &tool->wait_ms))
			return true;
		error("--wait %s: give a number of seconds", arg);
		return false;
	default:
		fprintf(stderr, "see kvmi %s --help\n", tool->command);
		return false;
	}
}

/*
 * getopt_long() for the options of a command and those that every command has,
 * which are dealt with here.  Returns 'h' for --help, -1 at the end, and '?'
 * after an error that has been told.
 */
int next_option(struct tool *tool, int argc, char **argv, const struct option *own)
{
	static const struct option common[] = {
		{ "listen", required_argument, NULL, OPT_LISTEN },
		{ "cookie", required_argument, NULL, OPT_COOKIE },
		{ "timeout", required_argument, NULL, OPT_TIMEOUT },
		{ "wait", required_argument, NULL, OPT_WAIT },
		{ "help", no_argument, NULL, 'h' },
	};
	struct option all[32] = { 0 };
	unsigned int n = sizeof(common) / sizeof(common[0]);
	int opt;

	memcpy(all, common, sizeof(common));
	for (; own && own->name; own++)
		all[n++] = *own;

	for (;;) {
		opt = getopt_long(argc, argv, "h", all, NULL);
		if (opt < OPT_LISTEN ? opt != '?' : opt > OPT_WAIT)
			return opt;
		if (!common_option(tool, opt, optarg))
			return '?';
	}
}

/* For commands that take options only */
bool no_arguments(const struct tool *tool, int argc, char **argv)
{
	if (optind == argc)
		return true;
	error("%s: '%s' is too much; see kvmi %s --help", tool->command, argv[optind],
	      tool->command);
	return false;
}
