// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi cpuid: what CPUID tells the guest.
 */
#include <errno.h>
#include <string.h>
#include "tool.h"

#define MAX_LEAVES 0x100	/* of each of the ranges */
#define MAX_SUBLEAVES 64
#define BASIC 0
#define HYPERVISOR 0x40000000
#define EXTENDED 0x80000000

struct leaf {
	uint32_t function, index;
	struct kvmi_vcpu_get_cpuid_reply regs;
};

static void print_leaf(const struct leaf *l)
{
	printf("%08x %02x  %08x %08x %08x %08x\n", l->function, l->index, l->regs.eax,
	       l->regs.ebx, l->regs.ecx, l->regs.edx);
}

static void print_head(void)
{
	printf("leaf     sub eax      ebx      ecx      edx\n");
}

static int get(struct tool *tool, int vcpu, uint32_t function, uint32_t index, struct leaf *l)
{
	l->function = function;
	l->index = index;
	return kint_get_cpuid(tool->conn, vcpu, function, index, &l->regs);
}

/* Registers that hold text, which may end early and may not be text */
static void print_words(const char *name, const uint32_t *words, unsigned int n)
{
	const unsigned char *text = (const unsigned char *)words;
	unsigned int i;

	printf("%-10s  ", name);
	for (i = 0; i < n * sizeof(*words) && text[i]; i++)
		putchar(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '.');
	putchar('\n');
}

/* Vendor, brand and hypervisor, as far as there are such leaves */
static int print_names(struct tool *tool, int vcpu)
{
	uint32_t words[12];
	struct leaf l;
	int i, err;

	err = get(tool, vcpu, BASIC, 0, &l);
	if (err)
		return err;
	words[0] = l.regs.ebx;
	words[1] = l.regs.edx;
	words[2] = l.regs.ecx;
	print_words("vendor", words, 3);
	/* A leaf within the range that KVM does not have is zero to the guest */
	memset(words, 0, sizeof(words));
	for (i = 0; i < 3; i++) {
		err = get(tool, vcpu, EXTENDED + 2 + i, 0, &l);
		if (!err)
			memcpy(words + 4 * i, &l.regs, sizeof(l.regs));
		else if (err != -ENOENT)
			return err;
	}
	if (words[0])
		print_words("brand", words, 12);
	err = get(tool, vcpu, HYPERVISOR, 0, &l);
	if (err)
		return err == -ENOENT ? 0 : err;
	memcpy(words, &l.regs.ebx, 3 * sizeof(*words));
	print_words("hypervisor", words, 3);
	return 0;
}

static bool is_empty(const struct leaf *l)
{
	return !(l->regs.eax | l->regs.ebx | l->regs.ecx | l->regs.edx);
}

/* The subleaves of XSAVE (0xd) have holes, the others end with an empty one */
static int print_subleaves(struct tool *tool, int vcpu, uint32_t function)
{
	struct leaf l;
	uint32_t i;
	int err;

	for (i = 1; i < MAX_SUBLEAVES; i++) {
		err = get(tool, vcpu, function, i, &l);
		if (err == -ENOENT || (!err && is_empty(&l))) {
			if (function != 0xd)
				return 0;
			continue;
		}
		if (err)
			return err;
		print_leaf(&l);
	}
	return 0;
}

/* The first leaf of a range tells the last one */
static int print_range(struct tool *tool, int vcpu, uint32_t first)
{
	struct leaf l;
	uint32_t last, i;
	int err = get(tool, vcpu, first, 0, &l);

	if (err)
		return err == -ENOENT ? 0 : err;
	last = l.regs.eax;
	if (last < first)
		last = first;
	if (last - first >= MAX_LEAVES)
		last = first + MAX_LEAVES - 1;
	for (i = first; i <= last; i++) {
		err = get(tool, vcpu, i, 0, &l);
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		print_leaf(&l);
		if (leaf_has_subleaves(i))
			err = print_subleaves(tool, vcpu, i);
		if (err)
			return err;
	}
	return 0;
}

static int print_all(struct tool *tool, int vcpu)
{
	int err = print_names(tool, vcpu);

	if (err)
		return err;
	print_head();
	err = print_range(tool, vcpu, BASIC);
	if (!err)
		err = print_range(tool, vcpu, HYPERVISOR);
	if (!err)
		err = print_range(tool, vcpu, EXTENDED);
	return err;
}

static void print_usage(void)
{
	printf("usage: kvmi cpuid --listen ADDRESS [LEAF [SUBLEAF]] [--vcpu N] [common options]\n"
	       "  LEAF SUBLEAF   only this one, 7 0 or 0x80000008; else all there are\n"
	       "  --vcpu N       what this vCPU is told (0)\n");
}

int cmd_cpuid(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 }
	};
	uint64_t number[2] = { 0 };
	int opt, err, i, vcpu = 0;
	struct leaf l;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'v':
			if (!parse_vcpu(optarg, &vcpu))
				return EXIT_USAGE;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	for (i = optind; i < argc; i++) {
		if (i < optind + 2 && parse_number(argv[i], &number[i - optind]) &&
		    number[i - optind] <= UINT32_MAX)
			continue;
		error("cpuid: '%s': give a leaf and a subleaf, numbers below 2^32", argv[i]);
		return EXIT_USAGE;
	}
	err = session_open(tool);
	if (err)
		return err;
	if (!vcpu_exists(tool, vcpu))
		return EXIT_ERROR;

	if (optind == argc) {
		err = print_all(tool, vcpu);
	} else {
		err = get(tool, vcpu, number[0], number[1], &l);
		if (err == -ENOENT) {
			error("cpuid: the guest has no leaf %#llx, subleaf %#llx",
			      (unsigned long long)number[0], (unsigned long long)number[1]);
			return EXIT_ERROR;
		}
		if (!err) {
			print_head();
			print_leaf(&l);
		}
	}
	if (err)
		error("cpuid: vCPU %d: %s", vcpu, explain(err));
	return err ? EXIT_ERROR : EXIT_OK;
}
