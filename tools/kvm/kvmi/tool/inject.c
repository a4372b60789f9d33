// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi inject: have the guest take an exception.
 */
#include <errno.h>
#include "tool.h"

#define PF_VECTOR 14
#define NMI_VECTOR 2

struct exception {
	uint8_t nr;
	uint64_t error_code, address;
	bool code_given, address_given;
};

static bool makes_sense(const struct exception *x, const char *name)
{
	if (x->nr == NMI_VECTOR) {
		error("inject: an NMI is an interrupt, not an exception");
		return false;
	}
	if (x->code_given && !exception_has_code(x->nr)) {
		error("--error-code: %s has none", name);
		return false;
	}
	if (x->address_given && x->nr != PF_VECTOR) {
		error("--address: only a page fault (PF) has one");
		return false;
	}
	return true;
}

/* The TRAP event tells which exception the guest takes.  Says what is wrong. */
static int wait_for_trap(struct tool *tool, int vcpu, const struct exception *x)
{
	struct kint_event event;
	int err = wait_for_event(tool, vcpu, KVMI_VCPU_EVENT_TRAP, &event);

	if (err) {
		if (err != MONITOR_TOLD)
			error("inject: vCPU %d: %s", vcpu, explain(err));
		if (err != -EPIPE)
			error("inject: KVM has taken it: the exception comes when vCPU %d goes on",
			      vcpu);
		return EXIT_ERROR;
	}
	printf("vCPU %d  ", vcpu);
	print_event(stdout, &event);
	printf("\n");
	err = kint_reply(tool->conn, &event, KVMI_EVENT_ACTION_ALLOW);
	if (err) {
		error("inject: vCPU %d: %s", vcpu, explain(err));
	} else if (event.trap.nr != x->nr) {
		error("inject: that one came first and yours was dropped; try again");
		err = EXIT_ERROR;
	}
	return err ? EXIT_ERROR : EXIT_OK;
}

/*
 * While the vCPU stands still nothing can come in front that this tool may not answer.  Where it
 * may not be paused, what it waits for is known, and what comes meanwhile delays the exception.
 */
static int inject(struct tool *tool, int vcpu, const struct exception *x)
{
	struct kint_event pause;
	int err = stop_vcpu(tool, vcpu, &pause);
	bool stands = !err;

	if (err && err != -EPERM)
		return err;
	err = kint_inject_exception(tool->conn, vcpu, x->nr, x->error_code, x->address);
	if (err == -EINVAL) {
		error("inject: KVM does not inject vector %u", x->nr);
		return MONITOR_TOLD;
	}
	if (!err && stands)
		err = kint_reply(tool->conn, &pause, KVMI_EVENT_ACTION_ALLOW);
	return err;
}

static void print_usage(void)
{
	printf("usage: kvmi inject --listen ADDRESS EXCEPTION [options] [common options]\n"
	       "  EXCEPTION         by name or vector: PF, UD, 3\n"
	       "  --vcpu N          on this vCPU (0)\n"
	       "  --error-code N    for those that have one (0)\n"
	       "  --address N       for PF, the address in CR2 (0)\n"
	       "The guest takes it wherever it happens to be.\n");
}

int cmd_inject(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ "error-code", required_argument, NULL, 'e' },
		{ "address", required_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 }
	};
	struct exception x = { 0 };
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
		case 'e':
			if (!parse_number(optarg, &x.error_code) || x.error_code > UINT32_MAX) {
				error("--error-code %s: give a number below 2^32", optarg);
				return EXIT_USAGE;
			}
			x.code_given = true;
			break;
		case 'a':
			if (!parse_number(optarg, &x.address)) {
				error("--address %s: give an address like 0xffffffff81000000",
				      optarg);
				return EXIT_USAGE;
			}
			x.address_given = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc != optind + 1 || !parse_exception(argv[optind], &x.nr)) {
		error("inject: give one exception, by name like PF or number, 0 to 31");
		return EXIT_USAGE;
	}
	if (!makes_sense(&x, argv[optind]))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;
	if (!vcpu_exists(tool, vcpu))
		return EXIT_ERROR;

	err = inject(tool, vcpu, &x);
	if (!err)
		return wait_for_trap(tool, vcpu, &x);
	if (err != MONITOR_TOLD)
		error("inject: vCPU %d: %s", vcpu, explain(err));
	return EXIT_ERROR;
}
