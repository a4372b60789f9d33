// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls of 64-bit Linux guests: names, and calls with their arguments.
 */
#include <string.h>
#include "tool.h"

#define MAX_TEXT 256

/*
 * Arguments: d a number, f a descriptor that may be AT_FDCWD, s a string, x a
 * hexadecimal number, o an octal one.
 */
static const struct call {
	unsigned int nr;
	const char *name, *args;
} calls[] = {
	{ 0, "read", "dxd" }, { 1, "write", "dxd" }, { 2, "open", "sxo" }, { 3, "close", "d" },
	{ 4, "stat", "sx" }, { 9, "mmap", "xxxxdx" }, { 10, "mprotect", "xxx" },
	{ 16, "ioctl", "dxx" }, { 21, "access", "so" }, { 41, "socket", "ddd" },
	{ 42, "connect", "dxd" }, { 49, "bind", "dxd" }, { 56, "clone", "xxxxx" },
	{ 57, "fork", "" }, { 59, "execve", "sxx" }, { 62, "kill", "dd" }, { 80, "chdir", "s" },
	{ 82, "rename", "ss" }, { 83, "mkdir", "so" }, { 84, "rmdir", "s" },
	{ 87, "unlink", "s" }, { 88, "symlink", "ss" }, { 90, "chmod", "so" },
	{ 101, "ptrace", "ddxx" }, { 105, "setuid", "d" }, { 161, "chroot", "s" },
	{ 165, "mount", "sssx" }, { 175, "init_module", "xds" }, { 176, "delete_module", "sx" },
	{ 257, "openat", "fsxo" }, { 258, "mkdirat", "fso" }, { 262, "newfstatat", "fsxx" },
	{ 263, "unlinkat", "fsx" }, { 269, "faccessat", "fso" }, { 313, "finit_module", "dsx" },
	{ 316, "renameat2", "fsfsx" }, { 319, "memfd_create", "sx" }, { 321, "bpf", "dxd" },
	{ 322, "execveat", "fsxxx" }, { 332, "statx", "fsxxx" },
};

#define NCALLS (sizeof(calls) / sizeof(calls[0]))

static const struct call *find(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < NCALLS; i++)
		if (calls[i].nr == nr)
			return &calls[i];
	return NULL;
}

/* A name, or the number of one that has none here */
bool parse_call(const char *name, unsigned int *nr)
{
	uint64_t value;
	unsigned int i;

	for (i = 0; i < NCALLS; i++) {
		if (strcmp(name, calls[i].name))
			continue;
		*nr = calls[i].nr;
		return true;
	}
	if (!parse_number(name, &value) || value >= NR_TABLE_CALLS)
		return false;
	*nr = value;
	return true;
}

const char *call_name(unsigned int nr, char buf[16])
{
	const struct call *call = find(nr);

	if (call)
		return call->name;
	snprintf(buf, 16, "call %u", nr);
	return buf;
}

static void print_string(FILE *out, struct tool *tool, uint16_t vcpu, uint64_t address)
{
	char text[MAX_TEXT];

	/* A page that is not there yet is read when the kernel touches it */
	if (read_text(tool, vcpu, address, text, sizeof(text))) {
		fprintf(out, "%#llx", ull(address));
		return;
	}
	fputc('"', out);
	print_text(out, text);
	fputc('"', out);
}

static void print_argument(FILE *out, struct tool *tool, uint16_t vcpu, char kind,
			   uint64_t value)
{
	if (kind == 'f' && (int32_t)value == -100) {
		fprintf(out, "AT_FDCWD");
		return;
	}
	switch (kind) {
	case 's':
		print_string(out, tool, vcpu, value);
		return;
	case 'd':
	case 'f':
		fprintf(out, "%d", (int32_t)value);
		return;
	case 'o':
		fprintf(out, "%#o", (uint32_t)value);
		return;
	default:
		fprintf(out, "%#llx", ull(value));
	}
}

/*
 * "openat(AT_FDCWD, "/etc/passwd", 0x8000, 0)", at the first instruction of the
 * function that the table of system calls has for @nr.  It is given the address
 * of the program's registers.
 */
void print_call(FILE *out, struct tool *tool, const struct kint_event *event, unsigned int nr)
{
	/* Where struct pt_regs of 64-bit Linux has the arguments: di, si, dx, r10, r8, r9 */
	static const unsigned char places[] = { 14, 13, 12, 7, 9, 8 };
	const struct call *call = find(nr);
	const char *args = call ? call->args : "xxxxxx";
	uint16_t vcpu = event->common.vcpu;
	uint64_t regs[15];
	char buf[16];
	unsigned int i;

	fprintf(out, "%s(", call_name(nr, buf));
	if (read_virtual(tool, vcpu, event->common.arch.regs.rdi, regs, sizeof(regs))) {
		fprintf(out, "?)");
		return;
	}
	for (i = 0; args[i]; i++) {
		if (i)
			fprintf(out, ", ");
		print_argument(out, tool, vcpu, args[i], regs[places[i]]);
	}
	fputc(')', out);
}
