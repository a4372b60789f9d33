// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names of MSRs and of the bits of registers, and changes in words.
 */
#include <string.h>
#include <strings.h>
#include "tool.h"

const struct bit_name cr0_bits[] = {
	{ 31, "PG", "paging on", "paging off" },
	{ 30, "CD", "caches off", "caches on" },
	{ 29, "NW", NULL, NULL },
	{ 18, "AM", NULL, NULL },
	{ 16, "WP", "the kernel obeys read-only pages", "the kernel may write read-only pages" },
	{ 5, "NE", NULL, NULL },
	{ 4, "ET", NULL, NULL },
	{ 3, "TS", NULL, NULL },
	{ 2, "EM", NULL, NULL },
	{ 1, "MP", NULL, NULL },
	{ 0, "PE", "protected mode", "real mode" },
	{ 0, NULL, NULL, NULL }
};

const struct bit_name cr4_bits[] = {
	{ 32, "FRED", NULL, NULL },
	{ 28, "LAM_SUP", NULL, NULL },
	{ 27, "LASS", NULL, NULL },
	{ 25, "UINTR", NULL, NULL },
	{ 24, "PKS", NULL, NULL },
	{ 23, "CET", "shadow stacks", "no shadow stacks" },
	{ 22, "PKE", NULL, NULL },
	{ 21, "SMAP", "the kernel keeps off user data", "the kernel may touch user data" },
	{ 20, "SMEP", "the kernel cannot run user code", "the kernel may run user code" },
	{ 19, "KL", NULL, NULL },
	{ 18, "OSXSAVE", NULL, NULL },
	{ 17, "PCIDE", "TLB entries tagged by process", NULL },
	{ 16, "FSGSBASE", NULL, NULL },
	{ 14, "SMXE", NULL, NULL },
	{ 13, "VMXE", "virtualization in the guest", NULL },
	{ 12, "LA57", "5-level paging", "4-level paging" },
	{ 11, "UMIP", NULL, NULL },
	{ 10, "OSXMMEXCPT", NULL, NULL },
	{ 9, "OSFXSR", "SSE on", NULL },
	{ 8, "PCE", NULL, NULL },
	{ 7, "PGE", "global pages", NULL },
	{ 6, "MCE", "machine checks on", NULL },
	{ 5, "PAE", "64-bit page tables", NULL },
	{ 4, "PSE", NULL, NULL },
	{ 3, "DE", NULL, NULL },
	{ 2, "TSD", NULL, NULL },
	{ 1, "PVI", NULL, NULL },
	{ 0, "VME", NULL, NULL },
	{ 0, NULL, NULL, NULL }
};

const struct bit_name efer_bits[] = {
	{ 21, "AIBRSE", NULL, NULL },
	{ 20, "UAIE", NULL, NULL },
	{ 18, "INTWB", NULL, NULL },
	{ 17, "MCOMMIT", NULL, NULL },
	{ 15, "TCE", NULL, NULL },
	{ 14, "FFXSR", NULL, NULL },
	{ 13, "LMSLE", NULL, NULL },
	{ 12, "SVME", "virtualization in the guest", NULL },
	{ 11, "NX", "no-execute pages", "every page executable" },
	{ 10, "LMA", NULL, NULL },
	{ 8, "LME", "long mode enabled", "long mode disabled" },
	{ 0, "SCE", "SYSCALL enabled", "SYSCALL disabled" },
	{ 0, NULL, NULL, NULL }
};

/* XCR0, and the components of XSAVE's format */
const struct bit_name xcr0_bits[] = {
	{ 0, "X87", NULL, NULL },
	{ 1, "SSE", NULL, NULL },
	{ 2, "AVX", NULL, NULL },
	{ 3, "BNDREGS", NULL, NULL },
	{ 4, "BNDCSR", NULL, NULL },
	{ 5, "OPMASK", NULL, NULL },
	{ 6, "ZMM_HI256", NULL, NULL },
	{ 7, "HI16_ZMM", NULL, NULL },
	{ 8, "PT", NULL, NULL },
	{ 9, "PKRU", NULL, NULL },
	{ 10, "PASID", NULL, NULL },
	{ 11, "CET_U", NULL, NULL },
	{ 12, "CET_S", NULL, NULL },
	{ 17, "XTILECFG", NULL, NULL },
	{ 18, "XTILEDATA", NULL, NULL },
	{ 19, "APX", NULL, NULL },
	{ 0, NULL, NULL, NULL }
};

const struct bit_name rflags_bits[] = {
	{ 21, "ID", NULL, NULL },
	{ 18, "AC", NULL, NULL },
	{ 17, "VM", NULL, NULL },
	{ 16, "RF", NULL, NULL },
	{ 14, "NT", NULL, NULL },
	{ 11, "OF", NULL, NULL },
	{ 10, "DF", NULL, NULL },
	{ 9, "IF", NULL, NULL },
	{ 8, "TF", NULL, NULL },
	{ 7, "SF", NULL, NULL },
	{ 6, "ZF", NULL, NULL },
	{ 4, "AF", NULL, NULL },
	{ 2, "PF", NULL, NULL },
	{ 0, "CF", NULL, NULL },
	{ 0, NULL, NULL, NULL }
};

#define MSR_EFER 0xc0000080

/* The first name for an index is the one that is printed */
static const struct {
	uint32_t msr;
	const char *name;
	const char *meaning;
} msrs[] = {
	{ 0x10, "TSC", NULL },
	{ 0x1b, "APIC_BASE", NULL },
	{ 0x3a, "FEAT_CTL", NULL },
	{ 0x3b, "TSC_ADJUST", NULL },
	{ 0x48, "SPEC_CTRL", NULL },
	{ 0x174, "SYSENTER_CS", "code segment of SYSENTER" },
	{ 0x175, "SYSENTER_ESP", "stack of SYSENTER" },
	{ 0x176, "SYSENTER_EIP", "entry of SYSENTER" },
	{ 0x1a0, "MISC_ENABLE", NULL },
	{ 0x1d9, "DEBUGCTL", NULL },
	{ 0x277, "PAT", "page attribute table" },
	{ 0x2ff, "MTRR_DEF_TYPE", NULL },
	{ 0x6a0, "U_CET", NULL },
	{ 0x6a2, "S_CET", NULL },
	{ 0x6a4, "PL0_SSP", NULL },
	{ 0x6a8, "INT_SSP_TAB", NULL },
	{ 0x6e0, "TSC_DEADLINE", NULL },
	{ 0xda0, "XSS", NULL },
	{ MSR_EFER, "EFER", NULL },
	{ 0xc0000081, "STAR", "code segments of SYSCALL and SYSRET" },
	{ 0xc0000082, "LSTAR", "entry of SYSCALL, 64-bit programs" },
	{ 0xc0000083, "CSTAR", "entry of SYSCALL, 32-bit programs" },
	{ 0xc0000084, "SFMASK", "flags cleared by SYSCALL" },
	{ 0xc0000084, "SYSCALL_MASK", NULL },
	{ 0xc0000084, "FMASK", NULL },
	{ 0xc0000100, "FS_BASE", NULL },
	{ 0xc0000101, "GS_BASE", NULL },
	{ 0xc0000102, "KERNEL_GS_BASE", NULL },
	{ 0xc0000103, "TSC_AUX", NULL },
};

#define NMSRS (sizeof(msrs) / sizeof(msrs[0]))

const struct bit_name *cr_bits(unsigned int cr)
{
	return cr == 0 ? cr0_bits : cr == 4 ? cr4_bits : NULL;
}

const struct bit_name *msr_bits(uint32_t msr)
{
	return msr == MSR_EFER ? efer_bits : NULL;
}

/* "smep,smap" */
bool parse_bits(const struct bit_name *bits, const char *list, uint64_t *mask)
{
	const struct bit_name *b;
	size_t len;

	for (;; list += len + 1) {
		len = strcspn(list, ",");
		for (b = bits; b->name; b++)
			if (strlen(b->name) == len && !strncasecmp(list, b->name, len))
				break;
		if (!b->name)
			return false;
		*mask |= 1ull << b->bit;
		if (!list[len])
			return true;
	}
}

/* A number, or a name with or without MSR_ or IA32_ before it */
bool parse_msr(const char *text, uint32_t *msr)
{
	uint64_t value;
	unsigned int i;

	if (parse_number(text, &value)) {
		*msr = value;
		return value <= 0x1fff || (value >= 0xc0000000 && value <= 0xc0001fff);
	}
	if (!strncasecmp(text, "MSR_", 4))
		text += 4;
	if (!strncasecmp(text, "IA32_", 5))
		text += 5;
	for (i = 0; i < NMSRS; i++) {
		if (strcasecmp(text, msrs[i].name))
			continue;
		*msr = msrs[i].msr;
		return true;
	}
	return false;
}

const char *msr_name(uint32_t msr, char buf[16])
{
	unsigned int i;

	for (i = 0; i < NMSRS; i++)
		if (msrs[i].msr == msr)
			return msrs[i].name;
	snprintf(buf, 16, "MSR %#x", msr);
	return buf;
}

/*
 * The other number of a register that has two, or the same.  Who has chosen one of them
 * is told about the other, with the number that the guest has used.  Of those that can be
 * chosen.
 */
uint32_t msr_alias(uint32_t msr)
{
	static const struct {
		uint32_t first, other, n;
	} aliases[] = {
		{ 0x11, 0x4b564d00, 2 },	/* clocks of KVM */
		{ 0x48, 0xc001011f, 1 },	/* SPEC_CTRL */
		{ 0xc1, 0x4c1, 8 },		/* performance counters */
	};
	unsigned int i;

	for (i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (msr - aliases[i].first < aliases[i].n)
			return msr - aliases[i].first + aliases[i].other;
		if (msr - aliases[i].other < aliases[i].n)
			return msr - aliases[i].other + aliases[i].first;
	}
	return msr;
}

static const char *msr_meaning(uint32_t msr)
{
	unsigned int i;

	for (i = 0; i < NMSRS; i++)
		if (msrs[i].msr == msr)
			return msrs[i].meaning;
	return NULL;
}

/* The bits that are set: "PG WP PE" */
void print_bits(FILE *out, const struct bit_name *bits, uint64_t value)
{
	const char *space = "";

	for (; bits->name; bits++) {
		if (!(value >> bits->bit & 1))
			continue;
		fprintf(out, "%s%s", space, bits->name);
		space = " ";
	}
}

static void print_bit_changes(FILE *out, const struct bit_name *bits, uint64_t old, uint64_t new)
{
	const struct bit_name *b;
	const char *sep = "  (", *text;
	int i;

	/* The changes that are turned on first */
	for (i = 1; i >= 0; i--)
		for (b = bits; b->name; b++)
			if (((old ^ new) >> b->bit & 1) && (new >> b->bit & 1) == (unsigned int)i)
				fprintf(out, " %c%s", i ? '+' : '-', b->name);
	for (b = bits; b->name; b++) {
		if (!((old ^ new) >> b->bit & 1))
			continue;
		text = new >> b->bit & 1 ? b->on : b->off;
		if (!text)
			continue;
		fprintf(out, "%s%s", sep, text);
		sep = ", ";
	}
	if (*sep == ',')
		fputc(')', out);
}

/* Take a CR, MSR or XSETBV event apart; false for others */
bool decode_change(const struct kint_event *event, struct change *c)
{
	switch (event->id) {
	case KVMI_VCPU_EVENT_CR:
		snprintf(c->buf, sizeof(c->buf), "CR%u", event->cr.cr);
		c->name = c->buf;
		c->old = event->cr.old_value;
		c->new = event->cr.new_value;
		c->bits = cr_bits(event->cr.cr);
		c->meaning = NULL;
		return true;
	case KVMI_VCPU_EVENT_XSETBV:
		snprintf(c->buf, sizeof(c->buf), "XCR%u", event->xsetbv.xcr);
		c->name = c->buf;
		c->old = event->xsetbv.old_value;
		c->new = event->xsetbv.new_value;
		c->bits = xcr0_bits;
		c->meaning = NULL;
		return true;
	case KVMI_VCPU_EVENT_MSR:
		c->name = msr_name(event->msr.msr, c->buf);
		c->old = event->msr.old_value;
		c->new = event->msr.new_value;
		c->bits = msr_bits(event->msr.msr);
		c->meaning = msr_meaning(event->msr.msr);
		return true;
	default:
		return false;
	}
}

/* "CR4           0x20 -> 0xa0  +PGE  (global pages)", without a line end */
void print_change(FILE *out, const struct kint_event *event)
{
	struct change c;

	if (!decode_change(event, &c))
		return;
	fprintf(out, "%-12s  %#llx -> %#llx", c.name, (unsigned long long)c.old,
		(unsigned long long)c.new);
	if (c.bits) {
		fputc(' ', out);
		print_bit_changes(out, c.bits, c.old, c.new);
	} else if (c.meaning) {
		fprintf(out, "  (%s)", c.meaning);
	}
}

/* KVMI tells bytes, people think in bits */
unsigned int mode_bits(unsigned int mode)
{
	return mode * 8;
}

/* CPUID takes no notice of ECX, the subleaf, for the others */
bool leaf_has_subleaves(uint32_t leaf)
{
	static const uint32_t list[] = {
		0x4, 0x7, 0xb, 0xd, 0xf, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1b, 0x1d, 0x1e, 0x1f,
		0x20, 0x23, 0x24, 0x8000001d, 0x80000020, 0x80000026,
	};
	unsigned int i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i] == leaf)
			return true;
	return false;
}
