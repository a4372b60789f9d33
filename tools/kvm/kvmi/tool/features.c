// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi features: what the kernel knows and the device manager allows.
 */
#include <errno.h>
#include "tool.h"

static const char *state_of(int err)
{
	switch (err) {
	case 0:
		return "allowed";
	case -EPERM:
		return "not allowed by the device manager";
	default:
		return "not in this kernel";
	}
}

/* @have: whether the kernel and the host have it, where the kernel tells */
static int print_list(struct tool *tool, const char *title, const struct id_name *names,
		      int (*check)(struct kint_conn *conn, uint16_t id), const uint64_t *have)
{
	int err;

	for (; names->name; names++) {
		err = check(tool->conn, names->id);
		if (err && err != -EPERM && err != -ENOENT)
			return err;
		printf("%s %3u  %-22s  %s\n", title, names->id, names->name,
		       !have || err == -ENOENT || have[names->id / 64] >> names->id % 64 & 1 ?
		       state_of(err) : "not on this host");
	}
	return 0;
}

static void print_bit_names(const char *title, uint32_t bits, const char *const *names,
			    unsigned int n)
{
	unsigned int i;

	printf("%-14s", title);
	for (i = 0; i < n; i++)
		if (bits >> i & 1)
			printf(" %s", names[i]);
	printf(bits ? "\n" : " none\n");
}

static void print_features(const struct kvmi_vm_get_features_reply *f)
{
	static const char *const actions[] = {
		[KVMI_EVENT_ACTION_ALLOW] = "ALLOW", [KVMI_EVENT_ACTION_RETRY] = "RETRY",
		[KVMI_EVENT_ACTION_CRASH] = "CRASH", [KVMI_EVENT_ACTION_SKIP] = "SKIP",
	};
	static const char *const access[] = { "R", "W", "X", "XS", "XU" };
	/* By the bits of KVMI_FEATURE_* */
	static const char *const abilities[] = { "execute-only", "single-step", "user-execute",
						 "same-value", "reply-flags", "rules" };

	print_bit_names("actions", f->actions, actions, 4);
	print_bit_names("page access", f->access, access, 5);
	print_bit_names("abilities", f->flags, abilities, 6);
	printf("views          %u\naddress spaces %u%s\n", f->views, f->address_spaces,
	       f->address_spaces > 1 ? ", the second is that of SMM" : "");
}

int cmd_features(struct tool *tool, int argc, char **argv)
{
	struct kvmi_vm_get_features_reply features;
	bool told;
	int opt, err;

	opt = next_option(tool, argc, argv, NULL);
	if (opt == 'h') {
		printf("usage: kvmi features --listen ADDRESS [common options]\n");
		return EXIT_OK;
	}
	if (opt != -1 || !no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;

	err = kint_get_features(tool->conn, &features);
	told = !err;
	if (told)
		print_features(&features);
	else if (err == -EPERM || err == -ENOSYS)
		printf("features       %s\n", explain(err));
	else
		goto fail;

	err = print_list(tool, "command", command_names, kint_check_command,
			 told ? (uint64_t *)features.commands : NULL);
	if (!err)
		err = print_list(tool, "event  ", event_names, kint_check_event,
				 told ? (uint64_t *)&features.events : NULL);
	if (!err)
		return EXIT_OK;
fail:
	error("features: %s", explain(err));
	return EXIT_ERROR;
}
