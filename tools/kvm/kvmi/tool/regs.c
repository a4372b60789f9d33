// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi regs
 */
#include <errno.h>
#include "tool.h"

#define MAX_MSRS 64

static void print_table(const char *name, const struct kvm_dtable *t)
{
	printf("%-6s base %016llx limit %04x\n", name, (unsigned long long)t->base, t->limit);
}

static void print_segment(const char *name, const struct kvm_segment *s)
{
	printf("%-6s %04x base %016llx limit %08x dpl %u%s%s%s%s\n", name, s->selector,
	       (unsigned long long)s->base, s->limit, s->dpl, s->l ? " 64-bit" : "",
	       s->db ? " 32-bit" : "", s->g ? " pages" : "", s->unusable ? " unusable" : "");
}

static void print_decoded(const char *name, uint64_t value, const struct bit_name *bits)
{
	printf("%-6s %016llx", name, (unsigned long long)value);
	if (bits) {
		printf("  ");
		print_bits(stdout, bits, value);
	}
	printf("\n");
}

static void print_registers(unsigned int vcpu, const struct kint_registers *r)
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

	printf("vCPU %u, %u-bit code, CPL %u\n", vcpu, mode_bits(r->mode), s->ss.dpl);
	print_decoded("rip", g->rip, NULL);
	print_decoded("rflags", g->rflags, rflags_bits);
	for (i = 0; i < 16; i++)
		printf("%-6s %016llx%s", general[i].name, (unsigned long long)general[i].value,
		       i % 4 == 3 ? "\n" : "  ");
	print_decoded("cr0", s->cr0, cr0_bits);
	print_decoded("cr2", s->cr2, NULL);
	print_decoded("cr3", s->cr3, NULL);
	print_decoded("cr4", s->cr4, cr4_bits);
	print_decoded("cr8", s->cr8, NULL);
	print_decoded("efer", s->efer, efer_bits);
	print_decoded("apic", s->apic_base, NULL);
	print_segment("cs", &s->cs);
	print_segment("ds", &s->ds);
	print_segment("es", &s->es);
	print_segment("fs", &s->fs);
	print_segment("gs", &s->gs);
	print_segment("ss", &s->ss);
	print_segment("tr", &s->tr);
	print_segment("ldt", &s->ldt);
	print_table("gdt", &s->gdt);
	print_table("idt", &s->idt);
}

/* False if it cannot be known.  What the kernel or the VMM keeps back is left out. */
static bool print_debug_registers(struct tool *tool, unsigned int vcpu)
{
	struct kvmi_vcpu_debugregs regs;
	unsigned int i;
	int err;

	err = kint_get_debugregs(tool->conn, vcpu, &regs);
	if (err == -ENOSYS || err == -EPERM)
		return true;
	if (err) {
		error("vCPU %u: %s", vcpu, explain(err));
		return false;
	}
	for (i = 0; i < 4; i++)
		printf("dr%-4u %016llx%s", i, (unsigned long long)regs.dr[i], i < 3 ? "  " : "\n");
	print_decoded("dr6", regs.dr6, NULL);
	print_decoded("dr7", regs.dr7, NULL);
	return true;
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
	uint64_t values[MAX_MSRS];
	struct kint_registers regs;
	int only = -1, vcpu;
	unsigned int nmsrs = 0, i;
	char buf[16];
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
		err = kint_get_registers(tool->conn, vcpu, &regs, msrs, values, nmsrs);
		if (err == -EINVAL) {
			error("vCPU %d: it lacks one of the MSRs asked for", vcpu);
			return EXIT_ERROR;
		}
		if (err == -EAGAIN) {
			printf("vCPU %d, not started by the guest yet\n", vcpu);
			continue;
		}
		if (err) {
			error("vCPU %d: %s", vcpu, explain(err));
			return EXIT_ERROR;
		}
		print_registers(vcpu, &regs);
		if (!print_debug_registers(tool, vcpu))
			return EXIT_ERROR;
		for (i = 0; i < nmsrs; i++) {
			printf("%-14s %016llx  ", msr_name(msrs[i], buf),
			       (unsigned long long)values[i]);
			if (msr_bits(msrs[i]))
				print_bits(stdout, msr_bits(msrs[i]), values[i]);
			printf("\n");
		}
	}
	return EXIT_OK;
}
