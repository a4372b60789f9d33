// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session with one VM: waiting for it, errors in words, the end.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "tool.h"

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

double session_seconds(const struct tool *tool)
{
	return (now_ns() - tool->start_ns) / 1e9;
}

/* What went wrong during a session, and what to do */
const char *explain(int err)
{
	switch (-err) {
	case EPIPE:
		return "the VM ended the session";
	case EPROTO:
		return "the other side broke the protocol, or speaks another version of it";
	case ETIMEDOUT:
		return "no answer in time; is the VM stopped? (QMP cont, or a longer --timeout)";
	case EINTR:
		return "interrupted";
	case EPERM:
		return "not allowed by the device manager (QEMU: command= and event=)";
	case EACCES:
		return "closed by the device manager: a wrong or missing --cookie, or see its log";
	case ECANCELED:
		return "the device manager asked to leave: the VM is stopped, reset or migrated";
	case ENOSYS:
		return "the host's kernel is older than this command and does not know it";
	case EAGAIN:
		return "the guest has not started this vCPU";
	case EBUSY:
		return "KVM has enough of that to do already, try again";
	case EOPNOTSUPP:
		return "the hardware of the host cannot do it";
	default:
		return strerror(-err);
	}
}

static int start_listening(struct tool *tool)
{
	int err;

	if (tool->listener)
		return 0;
	if (!tool->address) {
		error("say where to listen: --listen unix:PATH or --listen vsock:PORT");
		return EXIT_USAGE;
	}
	err = kvmi_listen(tool->address, &tool->listener);
	switch (err) {
	case 0:
		return 0;
	case -EINVAL:
		error("--listen %s: not of the form unix:PATH, vsock:PORT or vsock:CID:PORT",
		      tool->address);
		return EXIT_USAGE;
	case -EADDRINUSE:
		error("--listen %s: in use, choose another or stop the other program",
		      tool->address);
		return EXIT_ERROR;
	default:
		error("--listen %s: %s", tool->address, strerror(-err));
		return EXIT_ERROR;
	}
}

/* Wait for a VM.  Returns 0, or the exit status to leave with. */
int session_open(struct tool *tool)
{
	struct kvmi_options opts = {
		.cookie = tool->cookie,
		.cookie_size = tool->cookie_size,
		.timeout_ms = tool->timeout_ms,
		.interrupt_fd = tool->signal_fd,
	};
	struct kvmi_vm_get_info_reply info;
	int err = start_listening(tool);

	if (err)
		return err;
	err = kvmi_accept(tool->listener, &opts, tool->wait_ms, &tool->conn);
	if (err == -EINTR)
		return EXIT_ERROR;
	if (err == -EAGAIN) {
		error("no VM connected to %s within %g s; see kvmi --help for QEMU's options",
		      tool->address, tool->wait_ms / 1000.0);
		return EXIT_ERROR;
	}
	if (err) {
		error("handshake: %s", explain(err));
		return EXIT_ERROR;
	}
	tool->start_ns = now_ns();

	err = kvmi_get_info(tool->conn, &info);
	if (!err && info.arch != KVMI_ARCH_X86) {
		error("the VM is of an architecture this tool was not built for");
		session_close(tool);
		return EXIT_ERROR;
	}
	if (err) {
		error("number of vCPUs: %s", explain(err));
		session_close(tool);
		return EXIT_ERROR;
	}
	tool->vcpus = info.vcpu_count;

	/* To leave when asked to; without it the socket is just closed on us */
	err = kvmi_control_vm_events(tool->conn, KVMI_VM_EVENT_UNHOOK, true);
	if (err && err != -EPERM) {
		error("UNHOOK event: %s", explain(err));
		session_close(tool);
		return EXIT_ERROR;
	}
	return 0;
}

void session_close(struct tool *tool)
{
	if (!tool->conn)
		return;
	kvmi_detach(tool->conn);
	tool->conn = NULL;
}

/* Says what is wrong; a negative number stands for all */
bool vcpu_exists(const struct tool *tool, int vcpu)
{
	if (vcpu < (int)tool->vcpus)
		return true;
	error("--vcpu %d: the VM has %u, and the first is 0", vcpu, tool->vcpus);
	return false;
}

void session_describe(const struct tool *tool, FILE *out)
{
	const struct kvmi_peer *peer = kvmi_peer_info(tool->conn);

	fprintf(out, "VM %s, %u vCPU%s", *peer->name ? peer->name : "without a name",
		tool->vcpus, tool->vcpus == 1 ? "" : "s");
	if (peer->max_gpa)
		fprintf(out, ", memory up to %#llx", (unsigned long long)peer->max_gpa);
	fputc('\n', out);
}
