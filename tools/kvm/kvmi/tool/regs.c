// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi regs
 */
#include <errno.h>
#include "tool.h"

#define MAX_MSRS 64

static void print_table(FILE *out, const char *name, const struct kvm_dtable *t)
{
	fprintf(out, "%-6s base %016llx limit %04x\n", name, (unsigned long long)t->base, t->limit);
}

static void print_segment(FILE *out, const char *name, const struct kvm_segment *s)
{
	fprintf(out, "%-6s %04x base %016llx limit %08x dpl %u%s%s%s%s\n", name, s->selector,
		ull(s->base), s->limit, s->dpl, s->l ? " 64-bit" : "", s->db ? " 32-bit" : "",
		s->g ? " pages" : "", s->unusable ? " unusable" : "");
}

static void print_decoded(FILE *out, const char *name, uint64_t value,
			  const struct bit_name *bits)
{
	fprintf(out, "%-6s %016llx", name, (unsigned long long)value);
	if (bits) {
		fprintf(out, "  ");
		print_bits(out, bits, value);
	}
	fprintf(out, "\n");
}

static void print_registers(FILE *out, unsigned int vcpu, const struct kint_registers *r)
{
	const struct kvm_sregs *s = &r->sregs;
	const struct kvm_regs *g = &r->regs;
	const struct { const char *name; uint64_t value; } general[] = {
		{ "rax", g->rax }, { "rbx", g->rbx }, { "rcx", g->rcx }, { "rdx", g->rdx },
		{ "rsi", g->rsi }, { "rdi", g->rdi }, { "rsp", g->rsp }, { "rbp", g->rbp },
		{ "r8", g->r8 }, { "r9", g->r9 }, { "r10", g->r10 }, { "r11", g->r11 },
		{ "r12", g->r12 }, { "r13", g->r13 }, { "r14", g->r14 }, { "r15", g->r15 },
	};
	unsigned int i;

	fprintf(out, "vCPU %u, %u-bit code, CPL %u\n", vcpu, mode_bits(r->mode), s->ss.dpl);
	print_decoded(out, "rip", g->rip, NULL);
	print_decoded(out, "rflags", g->rflags, rflags_bits);
	for (i = 0; i < 16; i++)
		fprintf(out, "%-6s %016llx%s", general[i].name, ull(general[i].value),
			i % 4 == 3 ? "\n" : "  ");
	print_decoded(out, "cr0", s->cr0, cr0_bits);
	print_decoded(out, "cr2", s->cr2, NULL);
	print_decoded(out, "cr3", s->cr3, NULL);
	print_decoded(out, "cr4", s->cr4, cr4_bits);
	print_decoded(out, "cr8", s->cr8, NULL);
	print_decoded(out, "efer", s->efer, efer_bits);
	print_decoded(out, "apic", s->apic_base, NULL);
	print_segment(out, "cs", &s->cs);
	print_segment(out, "ds", &s->ds);
	print_segment(out, "es", &s->es);
	print_segment(out, "fs", &s->fs);
	print_segment(out, "gs", &s->gs);
	print_segment(out, "ss", &s->ss);
	print_segment(out, "tr", &s->tr);
	print_segment(out, "ldt", &s->ldt);
	print_table(out, "gdt", &s->gdt);
	print_table(out, "idt", &s->idt);
}

/* What the kernel or the VMM keeps back is left out */
static int print_debug_registers(FILE *out, struct tool *tool, unsigned int vcpu)
{
	struct kvmi_vcpu_debugregs regs;
	unsigned int i;
	int err;

	err = kint_get_debugregs(tool->conn, vcpu, &regs);
	if (err == -ENOSYS || err == -EPERM)
		return 0;
	if (err)
		return err;
	for (i = 0; i < 4; i++)
		fprintf(out, "dr%-4u %016llx%s", i, ull(regs.dr[i]), i < 3 ? "  " : "\n");
	print_decoded(out, "dr6", regs.dr6, NULL);
	print_decoded(out, "dr7", regs.dr7, NULL);
	return 0;
}

/* All registers of a vCPU, and the MSRs asked for.  -EINVAL if it lacks one of those. */
int print_vcpu(FILE *out, struct tool *tool, unsigned int vcpu, const uint32_t *msrs,
	       unsigned int nmsrs)
{
	uint64_t values[MAX_MSRS];
	struct kint_registers regs;
	unsigned int i;
	char buf[16];
	int err;

	err = kint_get_registers(tool->conn, vcpu, &regs, msrs, values, nmsrs);
	if (err == -EAGAIN) {
		fprintf(out, "vCPU %u, not started by the guest yet\n", vcpu);
		return 0;
	}
	if (err)
		return err;
	print_registers(out, vcpu, &regs);
	err = print_debug_registers(out, tool, vcpu);
	for (i = 0; i < nmsrs && !err; i++) {
		fprintf(out, "%-14s %016llx  ", msr_name(msrs[i], buf), ull(values[i]));
		if (msr_bits(msrs[i]))
			print_bits(out, msr_bits(msrs[i]), values[i]);
		fprintf(out, "\n");
	}
	return err;
}

static void print_usage(void)
{
	printf("usage: kvmi regs --listen ADDRESS [--vcpu N] [--msr MSR]... [common options]\n"
	       "  --vcpu N       only this vCPU, else all\n"
	       "  --msr MSR      also this one, LSTAR or 0xc0000082; may be repeated\n");
}

int cmd_regs(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ "msr", required_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 }
	};
	uint32_t msrs[MAX_MSRS];
	int only = -1, vcpu;
	unsigned int nmsrs = 0;
	int opt, err;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'v':
			if (!parse_vcpu(optarg, &only))
				return EXIT_USAGE;
			break;
		case 'm':
			if (nmsrs == MAX_MSRS || !parse_msr(optarg, &msrs[nmsrs++])) {
				error("--msr %s: no such MSR; give LSTAR or its number", optarg);
				return EXIT_USAGE;
			}
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;
	if (!vcpu_exists(tool, only))
		return EXIT_ERROR;

	for (vcpu = 0; vcpu < (int)tool->vcpus; vcpu++) {
		if (only >= 0 && vcpu != only)
			continue;
		err = print_vcpu(stdout, tool, vcpu, msrs, nmsrs);
		if (err == -EINVAL) {
			error("vCPU %d: it lacks one of the MSRs asked for", vcpu);
			return EXIT_ERROR;
		}
		if (err) {
			error("vCPU %d: %s", vcpu, explain(err));
			return EXIT_ERROR;
		}
	}
	return EXIT_OK;
}
