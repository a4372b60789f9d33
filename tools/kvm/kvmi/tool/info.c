// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi info
 */
#include <errno.h>
#include <time.h>
#include "tool.h"

static void print_peer(const struct kint_peer *peer)
{
	time_t start = peer->start_time;
	char when[64] = "";
	struct tm tm;
	int i;

	printf("name        ");
	print_text(stdout, *peer->name ? peer->name : "-");
	printf("\nuuid        ");
	for (i = 0; i < 16; i++)
		printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", peer->uuid[i]);
	if (localtime_r(&start, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("\nstarted     %s\n", when);
	if (peer->max_gpa)
		printf("memory      up to %#llx (%llu MiB)\n", (unsigned long long)peer->max_gpa,
		       (unsigned long long)peer->max_gpa >> 20);
	if (peer->tool_size)
		printf("for tools   %llu KiB at %#llx\n", (unsigned long long)peer->tool_size >> 10,
		       (unsigned long long)peer->tool_gpa);
}

static int print_allowed(struct tool *tool)
{
	const struct id_name *n;
	int err;

	/* Those every tool may use are not worth a word here */
	printf("commands   ");
	for (n = command_names; n->name; n++) {
		if (n->id <= KVMI_VM_GET_INFO && !(n->id & 1))
			continue;
		err = kint_check_command(tool->conn, n->id);
		if (!err)
			printf(" %s", n->name);
		else if (err != -EPERM && err != -ENOENT)
			return err;
	}
	printf("\nevents     ");
	for (n = event_names; n->name; n++) {
		err = kint_check_event(tool->conn, n->id);
		if (!err)
			printf(" %s", n->name);
		else if (err != -EPERM && err != -ENOENT)
			return err;
	}
	printf("\n");
	return 0;
}

int cmd_info(struct tool *tool, int argc, char **argv)
{
	const struct kvmi_get_version_reply *version;
	struct kvmi_vcpu_get_info_reply vcpu;
	struct kvmi_vm_get_info_reply vm;
	int opt, err;

	opt = next_option(tool, argc, argv, NULL);
	if (opt == 'h') {
		printf("usage: kvmi info --listen ADDRESS [common options]\n");
		return EXIT_OK;
	}
	if (opt != -1)
		return EXIT_USAGE;
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	err = session_open(tool);
	if (err)
		return err;

	print_peer(kint_peer_info(tool->conn));
	version = kint_version(tool->conn);
	printf("protocol    version %u, messages up to %u bytes\n", version->version,
	       version->max_msg_size);
	err = kint_get_info(tool->conn, &vm);
	if (!err) {
		printf("vCPUs       %u\n", vm.vcpu_count);
		if (vm.address_spaces)
			printf("memory maps %u\n", vm.address_spaces);
		err = print_allowed(tool);
	}
	if (!err) {
		err = kint_vcpu_get_info(tool->conn, 0, &vcpu);
		if (!err && vcpu.tsc_speed)
			printf("TSC         %.3f MHz\n", vcpu.tsc_speed / 1e6);
	}
	if (err) {
		error("info: %s", explain(err));
		return EXIT_ERROR;
	}
	return EXIT_OK;
}
