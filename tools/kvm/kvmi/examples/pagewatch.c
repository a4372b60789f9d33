// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pagewatch ADDRESS GPA: who writes to a page of guest memory, live.  An example of a tool.
 *
 *	cc -o pagewatch pagewatch.c $(pkg-config --cflags --libs libkint)
 *	./pagewatch unix:/run/kvmi.sock 0x1e1b000
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <kint/libkint.h>

/* What the guest does is allowed, and told; returns 0 or an error */
static int handle(struct kint_conn *conn, const struct kint_event *ev)
{
	unsigned int vcpu = ev->common.vcpu;
	int err = 0;

	/* What a tool was to be asked about that was lost is for the next one that knows it */
	if (!kint_event_is_own(conn, ev))
		return 0;
	if (ev->id == KVMI_VCPU_EVENT_PAUSE)
		err = kint_control_events(conn, vcpu, KVMI_VCPU_EVENT_PF, true);
	else if (ev->id == KVMI_VCPU_EVENT_PF)
		printf("vCPU %u  write to %#llx, by code at %#llx\n", vcpu, ev->pf.gpa,
		       ev->common.arch.regs.rip);
	return err ? err : kint_reply(conn, ev, KVMI_EVENT_ACTION_ALLOW);
}

/* The name is somebody else's: nothing of it is for the terminal */
static void print_name(const char *name)
{
	printf("watching VM ");
	for (; *name; name++)
		putchar(*name >= 0x20 && *name < 0x7f ? *name : '?');
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct kvmi_page_access_entry page = { .access = KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X };
	struct kint_options opts = { 0 };
	struct kint_listener *listener;
	struct kint_conn *conn;
	struct kint_event ev;
	sigset_t signals;
	int err;

	if (argc != 3) {
		fprintf(stderr, "usage: %s ADDRESS GPA\n", argv[0]);
		return 2;
	}
	/* ^C ends whatever the library waits for, with -EINTR */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	opts.interrupt_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	setvbuf(stdout, NULL, _IOLBF, 0);

	err = kint_listen(argv[1], &listener);
	if (err) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-err));
		return 1;
	}
	err = kint_accept(listener, &opts, -1, &conn);
	if (!err) {
		print_name(kint_peer_info(conn)->name);
		page.gpa = strtoull(argv[2], NULL, 0);
		err = kint_set_page_access(conn, 0, 0, &page, 1);
		/* Each vCPU, also one that has yet to be started, has a PAUSE event first */
		if (!err)
			err = kint_pause_all(conn, false, NULL);
		/* An event of the VM itself: the device manager asks to leave */
		while (!err && !(err = kint_next_event(conn, &ev, -1)) && ev.is_vcpu)
			err = handle(conn, &ev);
		kint_detach(conn);
	}
	kint_listener_free(listener);
	printf("end: %s\n", err ? strerror(-err) : "asked to leave");
	return err && err != -EINTR;
}
