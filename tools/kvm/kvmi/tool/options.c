// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options that every command has, numbers, and error messages.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
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

bool parse_count(const char *text, uint64_t *count)
{
	if (parse_number(text, count) && *count)
		return true;
	error("--count %s: give a number above 0", text);
	return false;
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

/* From /etc/group: the tool may be linked statically, and getgrnam() needs more then */
static bool group_number(const char *name, unsigned int *number)
{
	FILE *file = fopen("/etc/group", "r");
	size_t length = strlen(name);
	bool found = false;
	char line[4096];

	while (file && !found && fgets(line, sizeof(line), file))
		found = length && !strncmp(line, name, length) && line[length] == ':' &&
			sscanf(line + length, ":%*[^:]:%u", number) == 1;
	if (file)
		fclose(file);
	return found;
}

static bool parse_mode(struct tool *tool, const char *text)
{
	char *end;

	errno = 0;
	tool->listen.mode = strtoul(text, &end, 8);
	if (!errno && end != text && !*end && tool->listen.mode && tool->listen.mode <= 0777)
		return true;
	error("--socket-mode %s: give an octal number, 660 say", text);
	return false;
}

static bool parse_group(struct tool *tool, const char *text)
{
	uint64_t value;

	tool->listen.set_group = true;
	if (parse_number(text, &value) && value < UINT32_MAX) {
		tool->listen.group = value;
		return true;
	}
	if (group_number(text, &tool->listen.group))
		return true;
	error("--socket-group %s: there is no such group", text);
	return false;
}

static bool parse_peer(struct tool *tool, const char *text)
{
	uint64_t value;

	tool->listen.peer_cid = VMADDR_CID_ANY;
	if (!strcmp(text, "any"))
		return true;
	if (parse_number(text, &value) && value && value < VMADDR_CID_ANY) {
		tool->listen.peer_cid = value;
		return true;
	}
	error("--peer %s: give a vsock context ID, or any", text);
	return false;
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
	case OPT_SOCKET_MODE:
		return parse_mode(tool, arg);
	case OPT_SOCKET_GROUP:
		return parse_group(tool, arg);
	case OPT_PEER:
		return parse_peer(tool, arg);
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
		{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
		{ "socket-group", required_argument, NULL, OPT_SOCKET_GROUP },
		{ "peer", required_argument, NULL, OPT_PEER },
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
		if (opt < OPT_LISTEN ? opt != '?' : opt > OPT_PEER)
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
