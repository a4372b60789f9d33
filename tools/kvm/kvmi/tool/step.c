// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi step: have a vCPU execute instructions one by one, and show what each of
 * them does to the registers.
 */
#include <errno.h>
#include <stddef.h>
#include "tool.h"

static struct {
	uint64_t count;
	bool json;
	struct kvm_regs last;
} step = { .count = 10 };

static const struct {
	const char *name;
	size_t offset;
} registers[] = {
#define REGISTER(r) { #r, offsetof(struct kvm_regs, r) }
	REGISTER(rax), REGISTER(rbx), REGISTER(rcx), REGISTER(rdx), REGISTER(rsi), REGISTER(rdi),
	REGISTER(rbp), REGISTER(rsp), REGISTER(r8), REGISTER(r9), REGISTER(r10), REGISTER(r11),
	REGISTER(r12), REGISTER(r13), REGISTER(r14), REGISTER(r15), REGISTER(rflags),
#undef REGISTER
};

static uint64_t value_of(const struct kvm_regs *regs, unsigned int i)
{
	return *(const uint64_t *)((const char *)regs + registers[i].offset);
}

/* Where it is now, and what the last instruction changed */
static void show(struct tool *tool, const struct kint_event *event, bool first)
{
	const struct kvmi_vcpu_event_arch *arch = &event->common.arch;
	unsigned int i;

	if (step.json) {
		json_event(stdout, tool, event, NULL);
		return;
	}
	printf("%#llx", ull(arch->regs.rip));
	print_symbol(stdout, arch->regs.rip);
	if (first) {
		printf("  %u-bit code, CPL %u", mode_bits(arch->mode), arch->sregs.ss.dpl);
	} else {
		for (i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
			if (value_of(&arch->regs, i) != value_of(&step.last, i))
				printf("  %s %#llx", registers[i].name,
				       ull(value_of(&arch->regs, i)));
		if (event->singlestep.failed)
			printf("  (KVM had to do something in its place)");
	}
	putchar('\n');
	step.last = arch->regs;
}

static int run_steps(struct tool *tool, uint16_t vcpu)
{
	struct kint_event event;
	uint64_t done;
	int err, off;

	tool->doing = "pausing the vCPU";
	err = stop_vcpu(tool, vcpu, &event);
	if (err)
		return err;
	show(tool, &event, true);
	tool->doing = "single-stepping";
	err = kint_control_singlestep(tool->conn, vcpu, true);
	for (done = 0; !err && done < step.count; done++) {
		err = kint_reply(tool->conn, &event, KVMI_EVENT_ACTION_ALLOW);
		if (!err)
			err = wait_for_event(tool, vcpu, KVMI_VCPU_EVENT_SINGLESTEP, &event);
		if (!err)
			show(tool, &event, false);
	}
	if (err == -ETIMEDOUT && done) {
		error("step: %llu instructions, then nothing; does the guest wait in HLT?",
		      ull(done - 1));
		err = MONITOR_TOLD;
	}
	/* While the last event is open: the next instruction is not stepped */
	kint_set_interrupt_fd(tool->conn, -1);
	off = kint_control_singlestep(tool->conn, vcpu, false);
	if (err)
		return err;
	return off ? off : kint_reply(tool->conn, &event, KVMI_EVENT_ACTION_ALLOW);
}

static void print_usage(void)
{
	printf("usage: kvmi step --listen ADDRESS [options] [common options]\n"
	       "  --vcpu N        the vCPU (0)\n"
	       "  --count N       how many instructions (10)\n"
	       "  --symbols FILE  System.map or vmlinux of the guest's kernel, for names\n"
	       "  --json          JSON lines\n");
}

int cmd_step(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ "count", required_argument, NULL, 'n' },
		{ "symbols", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 }
	};
	static struct guest_kernel kernel;
	int opt, err, vcpu = 0;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'v':
			if (!parse_vcpu(optarg, &vcpu))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!parse_count(optarg, &step.count))
				return EXIT_USAGE;
			break;
		case 's':
			if (!symbols_load(optarg))
				return EXIT_USAGE;
			break;
		case 'j':
			step.json = true;
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
	if (!vcpu_exists(tool, vcpu))
		return EXIT_ERROR;
	/* With symbols the kernel is looked for, as it may have moved */
	err = symbols_loaded() ? kernel_find(tool, vcpu, &kernel) : 0;
	if (!err)
		err = run_steps(tool, vcpu);
	if (kernel_missing(err))
		error("step: %s", kernel_missing(err));
	else if (err && err != MONITOR_TOLD)
		error("step: %s: %s", tool->doing, explain(err));
	return err ? EXIT_ERROR : EXIT_OK;
}
