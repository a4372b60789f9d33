// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi: look into virtual machines that run under KVM, from outside.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

static const struct {
	const char *name;
	int (*run)(struct tool *tool, int argc, char **argv);
	const char *help;
} commands[] = {
	{ "info",      cmd_info,      "what KVM and the device manager tell about the VM" },
	{ "features",  cmd_features,  "commands and events of this kernel, allowed or not" },
	{ "slots",     cmd_slots,     "where the guest has memory" },
	{ "regs",      cmd_regs,      "registers and MSRs of the vCPUs" },
	{ "cpuid",     cmd_cpuid,     "what CPUID tells the guest" },
	{ "xsave",     cmd_xsave,     "FPU and vector registers: show, save, restore" },
	{ "translate", cmd_translate, "guest virtual to guest physical addresses" },
	{ "mem",       cmd_mem,       "dump, save, search or write guest memory" },
	{ "dump",      cmd_dump,      "save the whole guest for crash, drgn, gdb or Volatility" },
	{ "mount",     cmd_mount,     "the running guest as files, for the same programs" },
	{ "ps",        cmd_ps,        "the processes of a Linux guest" },
	{ "watch",     cmd_watch,     "live: registers written, exceptions, CPUID and more" },
	{ "guard",     cmd_guard,     "refuse writes to chosen MSRs and control register bits" },
	{ "protect",   cmd_protect,   "keep the guest from writing its kernel, or other memory" },
	{ "break",     cmd_break,     "breakpoints that the guest cannot see" },
	{ "trace",     cmd_trace,     "system calls of a Linux guest, with what they return" },
	{ "gdb",       cmd_gdb,       "a server for gdb, to debug the guest as any remote target" },
	{ "step",      cmd_step,      "execute instructions one by one, show registers" },
	{ "views",     cmd_views,     "views of guest memory: list, create, switch, change" },
	{ "pause",     cmd_pause,     "hold vCPUs, show where they are, let them go" },
	{ "inject",    cmd_inject,    "have the guest take an exception" },
	{ "shutdown",  cmd_shutdown,  "end the guest" },
	{ "check",     cmd_check,     "what introspection lacks on this host; needs no VM" },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static int print_usage(FILE *out)
{
	unsigned int i;

	fprintf(out, "usage: kvmi COMMAND --listen unix:PATH|vsock:PORT [options]\n\n");
	for (i = 0; i < NCOMMANDS; i++)
		fprintf(out, "  %-9s  %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n"
		"Options of every command:\n"
		"  --listen ADDRESS  where the device manager connects to\n"
		"                    (also from the environment, KVMI_LISTEN)\n"
		"  --cookie FILE     the secret shared with the device manager\n"
		"  --timeout SECONDS time limit of each command (5)\n"
		"  --wait SECONDS    how long to wait for a VM to connect\n"
		"  --socket-mode OCTAL, --socket-group GROUP\n"
		"                    permissions of the socket (600) and its group\n"
		"  --peer CID        vsock: who may connect, or any (the host, this machine)\n"
		"  --help            the options of a command\n\n"
		"QEMU: -chardev socket,id=kvmi,path=PATH,reconnect-ms=1000\n"
		"      -object introspection,id=kvmi0,chardev=kvmi\n");
	return out == stdout ? EXIT_OK : EXIT_USAGE;
}

/*
 * Descriptors 0 to 2 are open, if only to nothing: no socket gets one of them, and
 * no message for the user goes to a VM.
 */
static bool fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return false;
	} while (fd <= 2);
	close(fd);
	return true;
}

int main(int argc, char **argv)
{
	struct tool tool = { .timeout_ms = 5000, .wait_ms = 30000 };
	unsigned int i;
	int ret;

	if (!fill_standard_fds())
		return EXIT_ERROR;
	if (argc < 2)
		return print_usage(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return print_usage(stdout);
	if (!strcmp(argv[1], "--version")) {
		printf("kvmi %s, libkint %s, protocol version %d\n", KVMI_TOOL_VERSION,
		       kint_library_version(), KVMI_VERSION);
		return EXIT_OK;
	}
	for (i = 0; i < NCOMMANDS && strcmp(argv[1], commands[i].name); i++)
		;
	if (i == NCOMMANDS) {
		fprintf(stderr, "kvmi: no command '%s'; see kvmi --help\n", argv[1]);
		return EXIT_USAGE;
	}

	tool.command = commands[i].name;
	tool.address = getenv("KVMI_LISTEN");
	tool.signal_fd = signals_init();
	if (tool.signal_fd < 0 || !streams_init(tool.signal_fd)) {
		perror("kvmi");
		return EXIT_ERROR;
	}

	argv[1] = (char *)"kvmi";	/* how getopt's errors begin, like all others */
	ret = commands[i].run(&tool, argc - 1, argv + 1);

	session_close(&tool);
	kint_listener_free(tool.listener);
	symbols_free();
	free(tool.cookie);
	return streams_end() ? ret : EXIT_ERROR;
}
