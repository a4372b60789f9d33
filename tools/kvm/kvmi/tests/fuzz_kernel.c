// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking for a kernel, its types and its processes, and reading names and text, in
 * memory that the guest has made up: what is at an address is the input's to say, and
 * may be something else at the next read.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "../tool/tool.h"
#include "fuzz.h"

#define PAGES 16	/* of which all of memory is made */

static const uint8_t *bytes;
static size_t nbytes;
static unsigned int reads;
static bool in_tasks;	/* memory has what processes are made of */

/* ---- What the tool's parts need of the rest ---- */
int kint_read_physical(struct kint_conn *conn, uint64_t gpa, void *buf, size_t size)
{
	uint64_t word;
	size_t i, at;

	(void)conn;
	/* A guest without end is as good as one that takes long */
	if (++reads > 2000)
		return -ECANCELED;
	if (gpa >> 40 & 1)
		return -ENOENT;
	memset(buf, 0, size);
	for (i = 0; i + 8 <= size; i += 8) {
		at = (gpa + i) / 8 % (PAGES * 512);
		/* Every so often another value than before */
		at += reads % 64 == 63;
		if (nbytes < 40 || (at % 512 % 7 > 3 && !(bytes[17] & 1)))
			continue;
		memcpy(&word, bytes + at * 8 % (nbytes - 8), 8);
		/* A pointer, or a number; or an entry of a page table that leads somewhere */
		if (in_tasks)
			word = at % 4 ? UPPER_HALF | (word & 0xfff8) : word & 0xff;
		else if (bytes[17] & 1)
			/* ... as the image of a kernel does, mapped in one piece */
			word = (word & 0x8000000000000163ull) | 1 | at % 512 << 12;
		else if (at & 1)
			word = (word & 0x80000000000001e7ull) | 1 |
			       (uint64_t)(word >> 20 & (PAGES - 1)) << 12;
		/* Text is read to anywhere */
		memcpy((char *)buf + i, &word, 8);
	}
	return 0;
}

int kint_get_registers(struct kint_conn *conn, uint16_t vcpu, struct kint_registers *regs,
		       const uint32_t *msrs, uint64_t *values, uint16_t nmsrs)
{
	uint32_t entry = 0;

	(void)conn;
	(void)vcpu;
	(void)msrs;
	memset(regs, 0, sizeof(*regs));
	regs->sregs.cr0 = 0x80000001;
	regs->sregs.efer = 0x500;
	if (nbytes > 40) {
		memcpy(&regs->sregs.cr3, bytes, 8);
		memcpy(&regs->sregs.cr4, bytes + 8, 8);
		if (bytes[16] == 1)
			regs->sregs.efer = 0;
	}
	if (nbytes > 40)
		memcpy(&entry, bytes + 20, sizeof(entry));
	if (nmsrs)
		values[0] = KERNEL_MAP + entry % (KERNEL_MAP_LAST - KERNEL_MAP + 1);
	return 0;
}

int kint_translate_gva(struct kint_conn *conn, uint16_t vcpu, uint64_t gva, uint64_t *gpa)
{
	(void)conn;
	(void)vcpu;
	if (gva >> 41 & 1)
		return -EFAULT;
	*gpa = gva;
	return 0;
}

void error(const char *format, ...)
{
	(void)format;
}

bool asked_to_leave(void)
{
	return false;
}

bool parse_number(const char *text, uint64_t *value)
{
	(void)text;
	(void)value;
	return false;
}

void process_hurry(struct tool *tool)
{
	(void)tool;
}

int64_t now_ns(void)
{
	return 0;
}

int still_wanted(struct tool *tool)
{
	(void)tool;
	return 0;
}

/* ---- What it is about ---- */
static int look(void *arg, const struct process *p)
{
	if (strlen(p->comm) > COMM_SIZE || !p->state)
		abort();
	print_text(arg, p->comm);
	return 0;
}

/* A kernel whose structures may be anywhere, and all in one page */
static void try_processes(struct input *in, FILE *null)
{
	static struct guest_linux guest;
	struct kint_event event = { 0 };
	struct tool tool = { 0 };
	struct process p;
	unsigned int i;

	memset(&guest, 0, sizeof(guest));
	guest.known = true;
	guest.span = PAGE_SIZE;
	for (i = 0; i < NR_FIELDS; i++)
		guest.layout.at[i] = take(in) * 8 % (PAGE_SIZE - COMM_SIZE);
	guest.first = take_number(in) | UPPER_HALF;
	guest.current = take_number(in);
	memcpy(&guest.sregs.cr3, bytes, nbytes < 8 ? nbytes : 8);
	guest.sregs.cr0 = 0x80000001;
	guest.sregs.efer = 0x500;
	event.common.arch.sregs = guest.sregs;
	event.common.arch.mode = KVMI_X86_MODE_64;
	event.common.arch.sregs.gs.base = take_number(in) | UPPER_HALF;
	/* Or else page tables have to lead there */
	in_tasks = take(in) & 7;
	if (in_tasks)
		guest.mappings[0] = (struct mapping){ .gva = UPPER_HALF, .size = UPPER_HALF };
	reads = 0;
	if (!linux_current(&tool, &guest, &event, &p))
		look(null, &p);
	linux_processes(&tool, &guest, take(in) & 1, look, null);
	in_tasks = false;
}

/* Types that refer to each other, and may be of the wrong kind, or nowhere */
static void try_types(struct input *in)
{
	static const char names[] = "\0task_struct\0pid\0comm\0tasks\0cred\0uid\0mm_struct\0pgd";
	uint32_t data[2048] = { 0x0001eb9f, 24, 0 };
	unsigned int n = 6, members, kind;
	struct layout layout;
	bool odd = take(in) & 1;

	while (in->left && n < 1500) {
		kind = take(in);
		members = kind & 1 ? take(in) % 64 : 0;
		kind = kind & 3 ? 4 : kind >> 2;
		data[n++] = take(in) % (odd ? 128 : sizeof(names));
		data[n++] = kind << 24 | members;
		data[n++] = odd ? take_number(in) : take(in);
		for (; members && kind == 4 && n < 1500; members--) {
			data[n++] = take(in) % 2 ? 0 : take(in) % sizeof(names);
			data[n++] = odd ? take_number(in) : take(in);
			data[n++] = take(in) * 8;
		}
	}
	data[3] = (n - 6) * 4;
	data[4] = data[3];
	data[5] = sizeof(names);
	memcpy(data + n, names, sizeof(names));
	if (odd)
		data[take(in) % 6] ^= take_number(in);
	layout_of_btf(data, n * 4 + sizeof(names), &layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	static struct guest_kernel k;
	static struct guest_linux guest;
	struct tool tool = { 0 };
	struct kint_event event = { 0 };
	struct input in = { data, size };
	uint64_t call;
	char *text;

	if (!null)
		null = fopen("/dev/null", "w");
	bytes = data;
	nbytes = size;
	reads = 0;
	if (!kernel_find(&tool, 0, &k) && k.nranges > MAX_KERNEL_RANGES)
		abort();
	if (kernel_range_of(&k, take_number(&in)) && !k.nranges)
		abort();
	if (k.found && !kernel_find_dispatch(&tool, &k, &call) && call - k.entry > PAGE_SIZE)
		abort();
	reads = 0;
	if (!linux_find(&tool, 0, &k, size & 1, &guest) && !guest.known)
		abort();
	reads = 0;
	event.common.arch.regs.rdi = take_number(&in);
	print_call(null, &tool, &event, take(&in) & 1 ? 257 : take_number(&in));
	try_processes(&in, null);
	try_types(&in);
	print_call_result(null, take(&in), take_number(&in));
	text = malloc(in.left + 1);
	if (!text)
		return 0;
	memcpy(text, in.data, in.left);
	text[in.left] = 0;
	print_text(null, text);
	json_string(null, text);
	free(text);
	return 0;
}
