// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi check: is there a QEMU that can be a device manager?
 */
#define _GNU_SOURCE	/* pipe2() */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

/* The program of the package of QEMU with introspection, and everybody's */
#define QEMU_OF_PACKAGE	"qemu-system-x86_64-kvmi"
#define QEMU_OF_OTHERS	"qemu-system-x86_64"

static int spawn(const char *program, char *const argv[], int output, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t defaults;
	int err;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, 1);
	posix_spawn_file_actions_adddup2(&files, output, 2);
	posix_spawnattr_init(&attr);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawnp(pid, program, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -err;
}

/* Of a program that says more, the beginning.  Returns 0 at its end. */
static int read_output(const struct tool *tool, int fd, char *text, size_t size)
{
	struct pollfd fds[2] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = tool->signal_fd, .events = POLLIN },
	};
	int64_t end = now_ns() + tool->timeout_ms * 1000000ll, left;
	size_t used = 0;
	char rest[4096];
	ssize_t n;

	text[0] = '\0';
	for (;;) {
		left = (end - now_ns()) / 1000000;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(fds, 2, left) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -EINTR;
		if (!fds[0].revents)
			continue;
		n = used + 1 < size ? read(fd, text + used, size - 1 - used) :
				      read(fd, rest, sizeof(rest));
		if (n < 0)
			return -errno;
		if (!n)
			return 0;
		if (used + 1 < size) {
			used += n;
			text[used] = '\0';
		}
	}
}

/*
 * Run QEMU with up to two arguments, which make it say something and leave.  Returns
 * its exit status, or a negative error.
 */
static int run_qemu(const struct check *c, const char *arg1, const char *arg2, char *text,
		    size_t size)
{
	char *const argv[] = { (char *)c->qemu, (char *)arg1, (char *)arg2, NULL };
	int fds[2], status, err;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	err = spawn(c->qemu, argv, fds[1], &pid);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		return err;
	}
	err = read_output(c->tool, fds[0], text, size);
	close(fds[0]);
	if (err)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (err)
		return err;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* "  NAME=..." in QEMU's list of an object's properties */
static bool has_property(const char *text, const char *name)
{
	char line[64];

	snprintf(line, sizeof(line), "\n  %s=", name);
	return strstr(text, line);
}

void check_qemu(struct check *c)
{
	char text[16384], version[128];
	int status;

	if (c->qemu && !strcmp(c->qemu, "none"))
		return;
	if (c->qemu) {
		status = run_qemu(c, "--version", NULL, text, sizeof(text));
	} else {
		c->qemu = QEMU_OF_PACKAGE;
		status = run_qemu(c, "--version", NULL, text, sizeof(text));
		if (status == -ENOENT) {
			c->qemu = QEMU_OF_OTHERS;
			status = run_qemu(c, "--version", NULL, text, sizeof(text));
		}
	}
	if (status == -ENOENT) {
		report(c, CHECK_MISSING, "QEMU",
		       "no %s: install qemu-system-x86-kvmi, or give --qemu PROGRAM, or --qemu none for another VMM",
		       c->qemu);
		return;
	}
	if (status) {
		report(c, CHECK_MISSING, "QEMU", "%s --version: %s", c->qemu,
		       status == -ETIMEDOUT ? "does not end; give --qemu PROGRAM" :
		       status < 0 ? strerror(-status) : "fails; give --qemu PROGRAM");
		return;
	}
	snprintf(version, sizeof(version), "%.*s", (int)strcspn(text, "\n"), text);

	status = run_qemu(c, "-object", "introspection,help", text, sizeof(text));
	if (status || !has_property(text, "chardev")) {
		report(c, CHECK_MISSING, "QEMU",
		       "%s (%s) has no object 'introspection': install qemu-system-x86-kvmi, or build it with patches/qemu and give --qemu PROGRAM",
		       c->qemu, version);
		return;
	}
	report(c, CHECK_OK, "QEMU", "%s (%s)", c->qemu, version);
	if (!has_property(text, "on-tool-loss") || !has_property(text, "event-timeout"))
		report(c, CHECK_LIMIT, "QEMU",
		       "its patches are older: no on-tool-loss= or event-timeout=");
	if (run_qemu(c, "-accel", "help", text, sizeof(text)) || !strstr(text, "\nkvm\n"))
		report(c, CHECK_MISSING, "QEMU", "it was built without KVM (--enable-kvm)");
}
