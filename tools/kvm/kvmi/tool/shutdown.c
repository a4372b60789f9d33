// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi shutdown: end the guest.
 */
#include <errno.h>
#include "tool.h"

/* Until the device manager ends the session, as it does when the VM has shut down */
static int wait_for_end(struct tool *tool)
{
	int64_t deadline = deadline_ns(tool->timeout_ms);
	struct kint_event event;
	int err;

	do {
		err = next_event(tool, &event, deadline);
		if (!err)
			err = pass_by(tool, &event);
	} while (!err);
	return err == -ECANCELED ? 0 : err;
}

int cmd_shutdown(struct tool *tool, int argc, char **argv)
{
	int opt, err;

	opt = next_option(tool, argc, argv, NULL);
	if (opt == 'h') {
		printf("usage: kvmi shutdown --listen ADDRESS [common options]\n"
		       "The guest ends at once, as after a triple fault; the device manager decides\n"
		       "what becomes of the VM (QEMU resets it, or ends with -no-reboot).\n");
		return EXIT_OK;
	}
	if (opt != -1 || !no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;

	err = kint_shutdown(tool->conn);
	if (err) {
		error("shutdown: %s", explain(err));
		return EXIT_ERROR;
	}
	err = wait_for_end(tool);
	if (err == -ETIMEDOUT) {
		error("shutdown: the VM is stopped and has not noticed; QMP cont first");
		return EXIT_ERROR;
	}
	if (err && err != -EPIPE) {
		error("shutdown: %s", explain(err));
		return EXIT_ERROR;
	}
	printf("the VM has shut down\n");
	return EXIT_OK;
}
