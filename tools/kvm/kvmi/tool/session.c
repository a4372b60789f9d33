// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session with one VM: waiting for it, errors in words, the end.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include "tool.h"

#define RETRY_MS 100

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
	case ENOEXEC:
		return "it is of an architecture this tool was not built for";
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
	err = kint_listen_with(tool->address, &tool->listen, &tool->listener);
	switch (err) {
	case 0:
		return 0;
	case -EINVAL:
		error("--listen %s: not of the form unix:PATH, vsock:PORT or vsock:CID:PORT",
		      tool->address);
		return EXIT_USAGE;
	case -ENAMETOOLONG:
		error("--listen %s: too long, a socket's path has 107 bytes at most",
		      tool->address);
		return EXIT_USAGE;
	case -EEXIST:
		error("--listen %s: there is something else than a socket, choose another path",
		      tool->address);
		return EXIT_ERROR;
	case -EADDRINUSE:
		error("--listen %s: in use, choose another or stop the other program",
		      tool->address);
		return EXIT_ERROR;
	default:
		error("--listen %s: %s", tool->address, strerror(-err));
		return EXIT_ERROR;
	}
}

/* Who tries again and again is told about once */
static void tell_failure(struct tool *tool, const char *doing, int err)
{
	if (tool->told_err != err || tool->told_doing != doing)
		error("%s: %s", doing, explain(err));
	tool->told_err = err;
	tool->told_doing = doing;
}

/* What begins every session.  Returns 0, or an error that has been told. */
static int begin_session(struct tool *tool)
{
	struct kvmi_vm_get_info_reply info;
	int err;

	tool->start_ns = now_ns();
	memset(&tool->left_open, 0, sizeof(tool->left_open));
	err = kint_get_info(tool->conn, &info);
	if (err) {
		tell_failure(tool, "number of vCPUs", err);
		return err;
	}
	if (info.arch != KVMI_ARCH_X86) {
		tell_failure(tool, "the VM", -ENOEXEC);
		return -ENOEXEC;
	}
	tool->vcpus = info.vcpu_count;

	/* To leave when asked to; without it the socket is just closed on us */
	err = kint_control_vm_events(tool->conn, KVMI_VM_EVENT_UNHOOK, true);
	if (err && err != -EPERM) {
		tell_failure(tool, "UNHOOK event", err);
		return err;
	}
	return 0;
}

/* Is another one to be waited for?  What came may have been no device manager. */
static bool try_next(const struct tool *tool, int err)
{
	switch (err) {
	case -EPROTO:
	case -ETIMEDOUT:
		return true;
	case -EACCES:
	case -EPIPE:
	case -ENOEXEC:
	case -EOPNOTSUPP:
		return tool->wait_ms < 0;
	default:
		return false;
	}
}

/* Wait for a VM.  Returns 0, or the exit status to leave with. */
int session_open(struct tool *tool)
{
	struct kint_options opts = {
		.cookie = tool->cookie,
		.cookie_size = tool->cookie_size,
		.timeout_ms = tool->timeout_ms,
		.interrupt_fd = tool->signal_fd,
	};
	int64_t end = now_ns() + tool->wait_ms * 1000000ll, left = -1;
	struct pollfd leave = { .fd = tool->signal_fd, .events = POLLIN };
	int err = start_listening(tool);

	if (err)
		return err;
	for (;;) {
		if (tool->wait_ms >= 0)
			left = end > now_ns() ? (end - now_ns()) / 1000000 : 0;
		err = kint_accept(tool->listener, &opts, left, &tool->conn);
		if (err == -EINTR)
			return EXIT_ERROR;
		if (err == -EAGAIN) {
			error("no VM connected to %s within %g s; see kvmi --help for %s",
			      tool->address, tool->wait_ms / 1000.0, "QEMU's options");
			return EXIT_ERROR;
		}
		if (err)
			tell_failure(tool, "handshake", err);
		else
			err = begin_session(tool);
		if (!err) {
			tool->told_err = 0;
			return 0;
		}
		session_close(tool);
		/* Not as fast as somebody can connect */
		if (!try_next(tool, err) || poll(&leave, 1, RETRY_MS) > 0)
			return EXIT_ERROR;
	}
}

/*
 * Of a command that the event means nothing to: let the vCPU go on.  What a tool was to be asked
 * about that was lost stays open, for the next one that knows what to answer.
 */
int pass_by(struct tool *tool, const struct kint_event *event)
{
	if (kint_event_is_own(tool->conn, event))
		return kint_reply(tool->conn, event, KVMI_EVENT_ACTION_ALLOW);
	/* Nothing waits for an answer to a notification, by a rule of that tool's */
	if (!event->notified)
		vcpu_set_put(&tool->left_open, event->common.vcpu, true);
	return 0;
}

/* For next_event(); a negative number stands for no limit */
int64_t deadline_ns(int ms)
{
	return ms < 0 ? -1 : now_ns() + ms * 1000000ll;
}

/*
 * Wait for an event of a vCPU.  -ETIMEDOUT if the time is over, also if events have come that
 * nobody waits for, as there can be any number of them; -ECANCELED the tool is to leave.
 */
int next_event(struct tool *tool, struct kint_event *event, int64_t deadline)
{
	int64_t left = deadline < 0 ? -1 : (deadline - now_ns()) / 1000000;
	int err;

	if (deadline >= 0 && left <= 0)
		return -ETIMEDOUT;
	err = kint_next_event(tool->conn, event, left);
	if (err)
		return err == -EAGAIN ? -ETIMEDOUT : err;
	return event->is_vcpu ? 0 : -ECANCELED;
}

/* It is not to be let pass, and the vCPU is needed: MONITOR_TOLD.  Else as pass_by(). */
static int pass_by_unless(struct tool *tool, const struct kint_event *event, uint16_t vcpu)
{
	if (event->common.vcpu != vcpu || event->notified || kint_event_is_own(tool->conn, event))
		return pass_by(tool, event);
	error("%s: vCPU %u waits for the answer of a tool that was lost (%s): start that one first",
	      tool->command, vcpu, event_name(event->id));
	return MONITOR_TOLD;
}

/* Wait for what was asked for, for --timeout in all */
int wait_for_event(struct tool *tool, uint16_t vcpu, uint16_t id, struct kint_event *event)
{
	int64_t deadline = deadline_ns(tool->timeout_ms);
	int err;

	for (;;) {
		err = next_event(tool, event, deadline);
		if (err)
			return err;
		if (event->id == id && event->common.vcpu == vcpu &&
		    kint_event_is_own(tool->conn, event))
			return 0;
		err = pass_by_unless(tool, event, vcpu);
		if (err)
			return err;
	}
}

struct needed {
	struct tool *tool;
	uint16_t vcpu;
};

static int before_it_is_stopped(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	const struct needed *needed = arg;

	(void)conn;
	return event->is_vcpu ? pass_by_unless(needed->tool, event, needed->vcpu) : -ECANCELED;
}

/*
 * Have a vCPU stand still that is needed: -EAGAIN, or MONITOR_TOLD, if it does already.  As with
 * hold_vcpus() it is not asked to unless it answers, and what it waits with has arrived then.
 */
int stop_vcpu(struct tool *tool, uint16_t vcpu, struct kint_event *event)
{
	struct needed needed = { tool, vcpu };
	struct kint_registers regs;
	int err;

	err = kint_get_registers(tool->conn, vcpu, &regs, NULL, NULL, 0);
	/* What may not be asked is no reason not to pause it */
	if (!err || err == -EPERM)
		err = kint_dispatch(tool->conn, before_it_is_stopped, &needed);
	if (!err)
		err = kint_pause_vcpu(tool->conn, vcpu, false);
	/* There is one that it owes to another tool, which is found then */
	if (err && err != -EBUSY)
		return err;
	return wait_for_event(tool, vcpu, KVMI_VCPU_EVENT_PAUSE, event);
}

void session_close(struct tool *tool)
{
	if (!tool->conn)
		return;
	kint_detach(tool->conn);
	tool->conn = NULL;
}

/* While leaving, no command is waited for longer than this */
#define LEAVE_EACH_MS 200

/*
 * What is to be done before the session ends begins, or another part of it: it is not to be
 * interrupted by what may have caused that, and whoever does not answer does not delay it.
 */
void leave_within(struct tool *tool, int ms)
{
	kint_set_interrupt_fd(tool->conn, -1);
	kint_set_timeout(tool->conn, LEAVE_EACH_MS);
	kint_set_deadline(tool->conn, ms);
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
	const struct kint_peer *peer = kint_peer_info(tool->conn);

	fprintf(out, "VM ");
	print_text(out, *peer->name ? peer->name : "without a name");
	fprintf(out, ", %u vCPU%s", tool->vcpus, tool->vcpus == 1 ? "" : "s");
	if (peer->max_gpa)
		fprintf(out, ", memory up to %#llx", (unsigned long long)peer->max_gpa);
	fputc('\n', out);
}
