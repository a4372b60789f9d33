// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: a server for gdb, whose threads are the vCPUs.
 *
 * All of them stop when one does, and go on when gdb says so.  The guest stands still
 * from the start of the session until gdb has come and lets it go, and everything is
 * undone when gdb leaves.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "gdb.h"

#define TICK_MS		200
#define STOPPING_MS	20
#define SIGNAL_INT	2	/* by gdb's own numbers */
#define SIGNAL_TRAP	5

static struct {
	const char *address;
	bool ready;		/* the guest stands still for the first time */
	bool waiting;		/* gdb, for a vCPU to stop */
	bool interrupted;
	bool leave;
	bool swbreak, hwbreak;	/* gdb knows these reasons */
	int error;		/* that ends the session */
	unsigned int thread;	/* chosen by gdb, a vCPU's number and 1 */
	char last[128];		/* why it has stopped */
} gdb;

/* ---- Replies ---- */
static void put_error(struct gdb_reply *reply, int err)
{
	put_text(reply, "E%02x", -err & 0xff);
	if (err == -EPIPE || err == -EPROTO || err == -EINTR || err == -ECANCELED)
		gdb.error = err;
}

static void put_result(struct gdb_reply *reply, int err)
{
	if (err)
		put_error(reply, err);
	else
		put_text(reply, "OK");
}

static const char *reason_of(const struct gdb_vcpu *v)
{
	static char text[64];
	static const char *const names[] = {
		[GDB_WATCH] = "watch", [GDB_RWATCH] = "rwatch", [GDB_AWATCH] = "awatch",
	};

	text[0] = 0;
	if (v->reason == GDB_SWBREAK && gdb.swbreak)
		return "swbreak:;";
	if (v->reason == GDB_HWBREAK && gdb.hwbreak)
		return "hwbreak:;";
	if (v->reason >= GDB_WATCH)
		snprintf(text, sizeof(text), "%s:%llx;", names[v->reason], ull(v->address));
	return text;
}

static void send_text(const char *text)
{
	struct gdb_reply reply = { 0 };

	put_text(&reply, "%s", text);
	gdb_link_send(&reply);
}

/* In gdb's own words: the path of a socket, and a port is one of a host */
static void invite(struct tool *tool)
{
	const char *address = gdb.address;

	printf("%9.3f  the guest stands still; in gdb: target remote ", session_seconds(tool));
	if (!strncmp(address, "unix:", 5))
		printf("%s\n", address + 5);
	else if (*address == '/')
		printf("and the other end of %s\n", address);
	else
		printf("%s%s\n", strchr(address, ':') ? "" : "localhost:", address);
	fflush(stdout);
}

/* @v: NULL if none has stopped by itself */
void gdb_report(struct tool *tool, struct gdb_vcpu *v)
{
	unsigned int signal = v || !gdb.interrupted ? SIGNAL_TRAP : SIGNAL_INT;

	gdb.interrupted = false;
	if (!v && gdb.thread)
		v = gdb_vcpu(gdb.thread - 1);
	if (!v || !v->stopped)
		v = gdb_stopped_vcpu(-1);
	gdb.thread = v->nr + 1;
	snprintf(gdb.last, sizeof(gdb.last), "T%02x%sthread:%x;", signal, reason_of(v),
		 gdb.thread);
	if (!gdb.ready)
		invite(tool);
	gdb.ready = true;
	if (gdb.waiting)
		send_text(gdb.last);
	gdb.waiting = false;
}

/* ---- Threads ---- */
enum { ALL_THREADS = -1, ANY_THREAD = 0 };

/* "-1", "0", a number, or one after that of a process, "p1.2" */
static bool take_thread(const char **text, int *thread)
{
	uint64_t value;

	if (take_char(text, 'p')) {
		if (!take_word(text, "-1") && !take_hex(text, &value))
			return false;
		*thread = ALL_THREADS;
		if (!take_char(text, '.'))
			return true;
	}
	*thread = ALL_THREADS;
	if (take_word(text, "-1"))
		return true;
	if (!take_hex(text, &value) || value > UINT16_MAX + 1)
		return false;
	*thread = value;
	return true;
}

/* The one that stands still, or NULL */
static struct gdb_vcpu *thread_vcpu(int thread)
{
	struct gdb_vcpu *v;

	if (thread <= ANY_THREAD)
		return gdb_stopped_vcpu(-1);
	v = gdb_vcpu(thread - 1);
	return v && v->stopped ? v : NULL;
}

static struct gdb_vcpu *chosen(void)
{
	return thread_vcpu(gdb.thread);
}

static void choose_thread(const char *p, struct gdb_reply *reply)
{
	bool for_resume = *p == 'c';
	int thread;

	if ((*p != 'g' && *p != 'c') || !(p++, take_thread(&p, &thread)) || *p) {
		put_error(reply, -EINVAL);
		return;
	}
	if (!thread_vcpu(thread)) {
		put_error(reply, -ESRCH);
		return;
	}
	/* What is to go on comes with vCont */
	if (!for_resume && thread > ANY_THREAD)
		gdb.thread = thread;
	put_text(reply, "OK");
}

static void list_threads(struct gdb_reply *reply)
{
	const struct gdb_vcpu *v;
	const char *before = "m";

	for (v = gdb_stopped_vcpu(-1); v; v = gdb_stopped_vcpu(v->nr)) {
		/* Of more there is no use: the rest is left out */
		if (reply->size > GDB_PACKET_SIZE - 8)
			break;
		put_text(reply, "%s%x", before, v->nr + 1);
		before = ",";
	}
}

static void describe_thread(const char *p, struct gdb_reply *reply)
{
	const struct kvmi_vcpu_event_arch *a;
	const struct gdb_vcpu *v;
	char text[64];
	int thread;

	v = take_thread(&p, &thread) && !*p ? thread_vcpu(thread) : NULL;
	if (!v) {
		put_error(reply, -ESRCH);
		return;
	}
	a = &v->event.common.arch;
	snprintf(text, sizeof(text), "vCPU %u, %u-bit code, CPL %u", v->nr, mode_bits(a->mode),
		 a->sregs.ss.dpl);
	put_hex(reply, text, strlen(text));
}

static void is_alive(const char *p, struct gdb_reply *reply)
{
	int thread;

	put_result(reply, take_thread(&p, &thread) && !*p && thread_vcpu(thread) ? 0 : -ESRCH);
}

/* ---- Going on ---- */
static bool take_action(const char **p, enum gdb_want *want)
{
	uint64_t signal;
	char c = **p;

	switch (c) {
	case 'c':
	case 'C':
		*want = GDB_GO;
		break;
	case 's':
	case 'S':
		*want = GDB_STEP;
		break;
	default:
		return false;
	}
	++*p;
	/* There are no signals to deliver */
	return c == 'c' || c == 's' || take_hex(p, &signal);
}

static void want_of(int thread, enum gdb_want want, bool *given)
{
	struct gdb_vcpu *v;
	unsigned int i;

	for (i = 0; (v = gdb_vcpu(i)); i++) {
		if (given[i] || (thread == ANY_THREAD ? v != chosen() :
				 thread > ANY_THREAD && i != thread - 1u))
			continue;
		given[i] = true;
		v->want = want;
	}
}

static void go_on(struct tool *tool, struct gdb_reply *reply)
{
	int err;

	gdb.waiting = true;
	reply->later = true;
	err = gdb_resume(tool);
	if (!err)
		return;
	gdb.waiting = false;
	reply->later = false;
	put_error(reply, err);
	/* Some vCPUs run, and gdb takes it that none does */
	if (!gdb_stands())
		gdb.error = err;
}

/* ";c", ";s:2;c" and the like: the first that is for a thread counts */
static void resume(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	static bool given[UINT16_MAX + 1];
	struct gdb_vcpu *v;
	enum gdb_want want;
	unsigned int i;
	bool any = false;
	int thread;

	memset(given, 0, sizeof(given));
	for (i = 0; (v = gdb_vcpu(i)); i++)
		v->want = v->stopped ? GDB_STAY : GDB_GO;
	while (*p) {
		thread = ALL_THREADS;
		if (!take_char(&p, ';') || !take_action(&p, &want) ||
		    (take_char(&p, ':') && !take_thread(&p, &thread)) || (*p && *p != ';')) {
			put_error(reply, -EINVAL);
			return;
		}
		want_of(thread, want, given);
	}
	for (v = gdb_stopped_vcpu(-1); v; v = gdb_stopped_vcpu(v->nr))
		any |= v->want != GDB_STAY;
	if (any)
		go_on(tool, reply);
	else
		put_error(reply, -EINVAL);
}

/* The old way: all go on, or the chosen one steps while the others run */
static void resume_old(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	bool steps = *p == 's' || *p == 'S';
	char actions[32];
	enum gdb_want want;

	/* With an address to go on at it is for those who know no P */
	if (!take_action(&p, &want) || *p) {
		put_error(reply, -EINVAL);
		return;
	}
	snprintf(actions, sizeof(actions), steps ? ";s:%x;c" : ";c", chosen()->nr + 1);
	resume(tool, actions, reply);
}

/* ---- Memory, registers and breakpoints ---- */
static bool take_range(const char **p, uint64_t *start, uint64_t *size)
{
	return take_hex(p, start) && take_char(p, ',') && take_hex(p, size);
}

static void read_memory(struct tool *tool, const char *p, bool binary, struct gdb_reply *reply)
{
	unsigned char data[GDB_PACKET_SIZE / 2 - 1];
	uint64_t gva, size;
	int n = 0;

	if (!take_range(&p, &gva, &size) || *p) {
		put_error(reply, -EINVAL);
		return;
	}
	if (size > sizeof(data))
		size = sizeof(data);
	if (size)
		n = gdb_read(tool, chosen(), gva, data, size);
	if (n < 0) {
		put_error(reply, n == -ENOENT ? -EFAULT : n);
		return;
	}
	if (binary) {
		put_text(reply, "b");
		put_binary(reply, data, n);
	} else {
		put_hex(reply, data, n);
	}
}

static void write_memory_at(struct tool *tool, const char *p, const char *end, bool binary,
			    struct gdb_reply *reply)
{
	unsigned char data[GDB_PACKET_SIZE];
	uint64_t gva, size;
	int n = 0;

	if (!take_range(&p, &gva, &size) || !take_char(&p, ':') || size > sizeof(data) ||
	    (binary ? (uint64_t)(end - p) != size : !take_bytes(&p, data, size) || *p)) {
		put_error(reply, -EINVAL);
		return;
	}
	if (binary)
		memcpy(data, p, size);
	if (size)
		n = gdb_write(tool, chosen(), gva, data, size);
	if (n >= 0 && (uint64_t)n < size)
		n = -EFAULT;
	put_result(reply, n < 0 ? n == -ENOENT ? -EFAULT : n : 0);
}

static void get_register(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	uint64_t nr;

	if (!take_hex(&p, &nr) || *p || !gdb_get_one(tool, chosen(), nr, reply))
		put_error(reply, -EINVAL);
}

static void set_register(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	uint64_t nr;

	if (take_hex(&p, &nr) && take_char(&p, '='))
		put_result(reply, gdb_set_one(tool, chosen(), nr, p));
	else
		put_error(reply, -EINVAL);
}

static void change_point(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	bool insert = *p++ == 'Z';
	uint64_t type, gva, size;

	if (!take_hex(&p, &type) || !take_char(&p, ',') || !take_range(&p, &gva, &size) || *p) {
		put_error(reply, -EINVAL);
		return;
	}
	if (type > GDB_ACCESS)
		return;
	if (insert)
		put_result(reply, gdb_break_insert(tool, type, gva, size));
	else
		put_result(reply, gdb_break_remove(type, gva, size) ? 0 : -ENOENT);
}

/* ---- Questions, and what has a name ---- */
static void tell_abilities(const char *p, struct gdb_reply *reply)
{
	gdb.swbreak = strstr(p, "swbreak+");
	gdb.hwbreak = strstr(p, "hwbreak+");
	put_text(reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;"
		 "swbreak+;hwbreak+;binary-upload+", GDB_PACKET_SIZE);
}

static void describe_target(const char *p, struct gdb_reply *reply)
{
	uint64_t offset, size;

	if (take_word(&p, "target.xml:") && take_range(&p, &offset, &size) && !*p)
		gdb_target_xml(reply, offset, size);
	else
		put_error(reply, -EINVAL);
}

static void monitor(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	char text[256];
	size_t size = strlen(p) / 2;

	if (size >= sizeof(text) || !take_bytes(&p, text, size) || *p) {
		put_error(reply, -EINVAL);
		return;
	}
	text[size] = 0;
	gdb_monitor(tool, chosen(), text);
	put_text(reply, "OK");
}

static void query(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	if (take_word(&p, "qSupported"))
		tell_abilities(p, reply);
	else if (take_word(&p, "qXfer:features:read:"))
		describe_target(p, reply);
	else if (take_word(&p, "qfThreadInfo"))
		list_threads(reply);
	else if (take_word(&p, "qsThreadInfo"))
		put_text(reply, "l");
	else if (take_word(&p, "qThreadExtraInfo,"))
		describe_thread(p, reply);
	else if (!strcmp(p, "qC"))
		put_text(reply, "QC%x", chosen()->nr + 1);
	else if (take_word(&p, "qAttached"))
		put_text(reply, "1");
	else if (take_word(&p, "qSymbol"))
		put_text(reply, "OK");
	else if (take_word(&p, "qRcmd,"))
		monitor(tool, p, reply);
}

static void end_guest(struct tool *tool)
{
	int err = kint_shutdown(tool->conn);

	if (err)
		error("gdb: shutting down: %s", explain(err));
	else
		printf("%9.3f  gdb has killed the guest\n", session_seconds(tool));
	gdb.leave = true;
}

static void named(struct tool *tool, const char *p, struct gdb_reply *reply)
{
	if (!strcmp(p, "vCont?")) {
		put_text(reply, "vCont;c;C;s;S");
	} else if (take_word(&p, "vCont")) {
		resume(tool, p, reply);
	} else if (take_word(&p, "vKill")) {
		put_text(reply, "OK");
		end_guest(tool);
	}
}

/* An empty reply: there is no such packet here */
static void answer(struct tool *tool, const char *p, size_t size, struct gdb_reply *reply)
{
	switch (*p) {
	case '?':
		put_text(reply, "%s", gdb.last);
		break;
	case 'q':
		query(tool, p, reply);
		break;
	case 'v':
		named(tool, p, reply);
		break;
	case 'H':
		choose_thread(p + 1, reply);
		break;
	case 'T':
		is_alive(p + 1, reply);
		break;
	case 'g':
		gdb_get_all(tool, chosen(), reply);
		break;
	case 'G':
		put_result(reply, gdb_set_all(tool, chosen(), p + 1));
		break;
	case 'p':
		get_register(tool, p + 1, reply);
		break;
	case 'P':
		set_register(tool, p + 1, reply);
		break;
	case 'm':
	case 'x':
		read_memory(tool, p + 1, *p == 'x', reply);
		break;
	case 'M':
	case 'X':
		write_memory_at(tool, p + 1, p + size, *p == 'X', reply);
		break;
	case 'Z':
	case 'z':
		change_point(tool, p, reply);
		break;
	case 'c':
	case 'C':
	case 's':
	case 'S':
		resume_old(tool, p, reply);
		break;
	case 'D':
		put_text(reply, "OK");
		gdb.leave = true;
		break;
	}
}

static void on_packet(struct tool *tool, char *packet, size_t size)
{
	struct gdb_reply reply = { 0 };
	int err;

	if (gdb.leave || gdb.error)
		return;
	if (!packet) {
		/* A second one changes nothing */
		gdb.interrupted = gdb.waiting;
		err = gdb.waiting ? gdb_stop_all(tool) : 0;
		if (!err)
			err = gdb_settle(tool);
		gdb.error = err;
		return;
	}
	if (*packet == 'k') {
		end_guest(tool);
		return;
	}
	if (!gdb_stands())
		put_error(&reply, -EBUSY);
	else if (!strcmp(packet, "QStartNoAckMode"))
		put_text(&reply, "OK");
	else
		answer(tool, packet, size, &reply);
	if (!reply.later)
		gdb_link_send(&reply);
	/* The last one that is acknowledged is that */
	if (*packet == 'Q' && reply.size == 2)
		gdb_link_no_ack();
}

/* ---- The session ---- */
static int on_event(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	(void)conn;
	return gdb_event(arg, event);
}

static int wait_ms(void)
{
	if (gdb_stands())
		return -1;
	return gdb_stops() ? STOPPING_MS : TICK_MS;
}

/* Until somebody has had enough.  Returns why: 0 is gdb. */
static int serve(struct tool *tool)
{
	struct pollfd fds[3] = {
		{ .fd = kint_fd(tool->conn), .events = POLLIN },
		{ .fd = tool->signal_fd, .events = POLLIN },
		{ .events = POLLIN },
	};
	int64_t next_tick = 0;
	bool used;
	int err = 0;

	while (!err && !gdb.error && !gdb.leave) {
		used = gdb_link_used();
		/* gdb has to wait until there is something to see */
		fds[2].fd = gdb.ready ? gdb_link_fd() : -1;
		if (poll(fds, 3, wait_ms()) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -EINTR;
		if (fds[2].fd >= 0 && fds[2].revents && !gdb_link_ready(tool, on_packet))
			break;
		err = kint_dispatch(tool->conn, on_event, tool);
		if (!err)
			err = gdb_settle(tool);
		/* It hung up when it was sent why a vCPU has stopped */
		if (!err && used && !gdb_link_used())
			break;
		if (!err && now_ns() > next_tick) {
			/* What a device writes to the guest's text is reported by no vCPU */
			err = gdb_break_tick(tool);
			next_tick = now_ns() + TICK_MS * 1000000ll;
		}
	}
	return err ? err : gdb.error;
}

static int begin(struct tool *tool)
{
	int err = gdb_break_begin(tool);

	if (!err && !gdb_run_begin(tool))
		err = -ENOMEM;
	if (!err)
		err = gdb_stop_all(tool);
	if (err)
		return err;
	/* One that was started with -S may be continued now */
	printf("gdb may debug ");
	session_describe(tool, stdout);
	fflush(stdout);
	return 0;
}

static int run_session(struct tool *tool)
{
	int err, left = 0, detached;

	err = takeover_begin(tool);
	if (!err)
		err = begin(tool);
	if (!err)
		err = serve(tool);
	/* To gdb the guest is gone */
	if (err && gdb.waiting && gdb_link_used())
		send_text("W00");
	if (err != -EPIPE) {
		leave_within(tool, LEAVE_VCPUS_MS);
		left = gdb_break_end(tool);
	}
	/* As in monitor_run() */
	if (left)
		kint_close(tool->conn);
	detached = left ? left : kint_detach(tool->conn);
	tool->conn = NULL;
	if (err && err != -EINTR && err != -ECANCELED && err != -EPIPE) {
		error("gdb: %s", explain(err));
		return EXIT_ERROR;
	}
	printf("%9.3f  %s; %s\n", session_seconds(tool), err ? explain(err) : "gdb has left",
	       detached ? "left to the device manager to undo" : "everything is undone");
	return detached && err != -EPIPE ? EXIT_ERROR : EXIT_OK;
}

static void print_usage(void)
{
	printf("usage: kvmi gdb --listen ADDRESS --gdb ADDRESS [options] [common options]\n"
	       "  --gdb ADDRESS  where gdb connects to: PORT of this machine, HOST:PORT,\n"
	       "                 unix:PATH, or a serial line, /dev/ttyS1\n"
	       "  --32bit        registers of a guest that stays in 16 and 32-bit code\n"
	       "  --spare RANGE  physical START+LENGTH the guest has and does not use; pages of\n"
	       "                 it that are all zero hold copies (below 640K, as Linux has it)\n"
	       "  --visible      on a host without execute-only pages: faster breakpoints, which\n"
	       "                 who reads the code of the guest sees\n"
	       "In gdb, with the guest's vmlinux: target remote ADDRESS; monitor help\n");
}

int cmd_gdb(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "gdb", required_argument, NULL, 'g' },
		{ "32bit", no_argument, NULL, '3' },
		{ "spare", required_argument, NULL, 'p' },
		{ "visible", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 }
	};
	int opt, err;

	tool->wait_ms = -1;
	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'g':
			gdb.address = optarg;
			break;
		case '3':
			gdb_registers_begin(true);
			break;
		case 'p':
			if (!parse_spare(optarg))
				return EXIT_USAGE;
			break;
		case 'v':
			gdb_break_options(true);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	if (!gdb.address) {
		error("gdb: say where gdb connects to: --gdb PORT or --gdb unix:PATH");
		return EXIT_USAGE;
	}
	if (!gdb_link_open(gdb.address))
		return EXIT_USAGE;
	streams_live(false, true);
	err = session_open(tool);
	if (!err)
		err = run_session(tool);
	else if (asked_to_leave())
		err = EXIT_OK;
	gdb_link_close();
	gdb_run_end();
	return err;
}
