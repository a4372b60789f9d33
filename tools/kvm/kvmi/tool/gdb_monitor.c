// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: what gdb's command "monitor" passes on, for what gdb does not know.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "gdb.h"

#define MAX_DUMP	4096
#define LINE		16
#define MAX_WORDS	4

/* A piece of text for gdb's user */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	struct gdb_reply reply = { 0 };
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	put_text(&reply, "O");
	put_hex(&reply, text, strlen(text));
	gdb_link_send(&reply);
}

static void say_error(const char *what, int err)
{
	say("%s: %s\n", what, err == -ENOENT ? "no memory there" : explain(err));
}

static void phys(struct tool *tool, struct gdb_vcpu *v, char **words)
{
	unsigned char data[MAX_DUMP];
	uint64_t gpa, size = 64, i, j;
	char text[3 * LINE + 1];
	int err;

	(void)v;
	if (!words[1] || !parse_number(words[1], &gpa) ||
	    (words[2] && !parse_number(words[2], &size)) || !size || size > MAX_DUMP) {
		say("monitor phys ADDRESS [BYTES], up to %u\n", MAX_DUMP);
		return;
	}
	err = kint_read_physical(tool->conn, gpa, data, size);
	if (err) {
		say_error(words[1], err);
		return;
	}
	for (i = 0; i < size; i += LINE) {
		for (j = 0; j < LINE && i + j < size; j++)
			sprintf(text + 3 * j, " %02x", data[i + j]);
		say("%012llx %s\n", ull(gpa + i), text);
	}
}

static void cr3(struct tool *tool, struct gdb_vcpu *v, char **words)
{
	const struct kvmi_vcpu_event_arch *a;

	(void)tool;
	(void)words;
	for (v = gdb_stopped_vcpu(-1); v; v = gdb_stopped_vcpu(v->nr)) {
		a = &v->event.common.arch;
		say("vCPU %u  cr3 %#llx, %u-bit code, CPL %u\n", v->nr, ull(a->sregs.cr3),
		    mode_bits(a->mode), a->sregs.ss.dpl);
	}
}

static void msr(struct tool *tool, struct gdb_vcpu *v, char **words)
{
	struct kint_registers regs;
	uint64_t value;
	uint32_t index;
	int err;

	if (!words[1] || !parse_msr(words[1], &index)) {
		say("monitor msr NAME|NUMBER, LSTAR or 0xc0000082\n");
		return;
	}
	err = kint_get_registers(tool->conn, v->nr, &regs, &index, &value, 1);
	if (err)
		say("%s: %s\n", words[1], err == -EINVAL ? "there is no such MSR" : explain(err));
	else
		say("vCPU %u  %s %#llx\n", v->nr, words[1], ull(value));
}

static void translate(struct tool *tool, struct gdb_vcpu *v, char **words)
{
	uint64_t gva, gpa;
	int err;

	if (!words[1] || !parse_number(words[1], &gva)) {
		say("monitor translate ADDRESS\n");
		return;
	}
	err = gdb_translate(tool, v, NULL, gva, &gpa);
	if (err)
		say("%s: %s\n", words[1], err == -EFAULT ? "not mapped" : explain(err));
	else
		say("%#llx is at %#llx\n", ull(gva), ull(gpa));
}

static void filter(struct tool *tool, struct gdb_vcpu *v, char **words)
{
	uint64_t value = v->event.common.arch.sregs.cr3;
	int err;

	if (words[1] && !strcmp(words[1], "off")) {
		gdb_break_no_filter();
		say("breakpoints stop every process\n");
	} else if (words[1] && strcmp(words[1], "this") && !parse_number(words[1], &value)) {
		say("monitor filter CR3|this|off\n");
	} else if (words[1]) {
		err = gdb_break_filter(tool, v, value);
		if (err)
			say("%s: %s\n", words[1], explain(err));
		else
			say("breakpoints stop the process with CR3 %#llx only\n", ull(value));
	} else {
		say("monitor filter CR3|this|off\n");
	}
}

static const struct {
	const char *name, *help;
	void (*run)(struct tool *tool, struct gdb_vcpu *v, char **words);
} commands[] = {
	{ "cr3", "cr3                     CR3, mode and CPL of each vCPU", cr3 },
	{ "filter", "filter CR3|this|off     stop only in the process with these page tables",
	  filter },
	{ "msr", "msr NAME|NUMBER         an MSR of this vCPU", msr },
	{ "phys", "phys ADDRESS [BYTES]    guest physical memory", phys },
	{ "translate", "translate ADDRESS       where a virtual address is in physical memory",
	  translate },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

void gdb_monitor(struct tool *tool, struct gdb_vcpu *v, char *line)
{
	char *words[MAX_WORDS + 1] = { 0 }, *word, *save;
	unsigned int i, n = 0;

	for (word = strtok_r(line, " \t\n", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " \t\n", &save))
		words[n++] = word;
	for (i = 0; n && i < NCOMMANDS; i++) {
		if (!strcmp(words[0], commands[i].name)) {
			commands[i].run(tool, v, words);
			return;
		}
	}
	if (n && strcmp(words[0], "help"))
		say("there is no such command; there are\n");
	for (i = 0; i < NCOMMANDS; i++)
		say("%s\n", commands[i].help);
}
