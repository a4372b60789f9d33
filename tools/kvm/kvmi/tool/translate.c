// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi translate: guest virtual to guest physical addresses.
 */
#include <errno.h>
#include "tool.h"

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[0] = "UC", [1] = "WC", [4] = "WT", [5] = "WP", [6] = "WB",
	};

	return type < sizeof(names) / sizeof(names[0]) && names[type] ? names[type] : "?";
}

static int translate(struct tool *tool, int vcpu, uint64_t gva)
{
	uint64_t gpa;
	uint8_t type;
	int err = kint_translate_gva(tool->conn, vcpu, gva, &gpa);

	if (err == -EFAULT) {
		printf("%#llx  not mapped\n", ull(gva));
		return err;
	}
	if (err)
		return err;
	printf("%#llx  %#llx", ull(gva), ull(gpa));
	/* The MTRRs' part in it is of interest, and not worth a failure */
	if (!kint_get_mtrr_type(tool->conn, vcpu, gpa, &type))
		printf("  %s", type_name(type));
	printf("\n");
	return 0;
}

int cmd_translate(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 }
	};
	int opt, err, i, vcpu = 0;
	bool missing = false;
	uint64_t gva;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			printf("usage: kvmi translate --listen ADDRESS GVA... [common options]\n"
			       "  GVA       guest virtual address\n"
			       "  --vcpu N  by the page tables that this vCPU uses now (0)\n");
			return EXIT_OK;
		case 'v':
			if (!parse_vcpu(optarg, &vcpu))
				return EXIT_USAGE;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		error("translate: give one or more guest virtual addresses");
		return EXIT_USAGE;
	}
	for (i = optind; i < argc; i++) {
		if (parse_number(argv[i], &gva))
			continue;
		error("translate: '%s' is no address; give a number like 0xffffffff81000000",
		      argv[i]);
		return EXIT_USAGE;
	}
	err = session_open(tool);
	if (err)
		return err;
	if (!vcpu_exists(tool, vcpu))
		return EXIT_ERROR;

	for (i = optind; i < argc; i++) {
		parse_number(argv[i], &gva);
		err = translate(tool, vcpu, gva);
		missing |= err == -EFAULT;
		if (err && err != -EFAULT) {
			error("translate: vCPU %d: %s", vcpu, explain(err));
			return EXIT_ERROR;
		}
	}
	return missing ? EXIT_ERROR : EXIT_OK;
}
