// SPDX-License-Identifier: GPL-2.0
/*
 * line SOCKET: a serial line of Bochs, which wants a terminal, at a socket for gdb.
 * Prints the terminal's name, and ends with the machine or with the script that it is of.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Returns 0 at the end */
static int copy(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf)), done, m;

	if (n <= 0)
		return 0;
	/* Whoever is not there misses it, as with QEMU */
	for (done = 0; to >= 0 && done < n; done += m) {
		m = write(to, buf + done, n - done);
		if (m <= 0)
			return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int pty = posix_openpt(O_RDWR | O_NOCTTY), listener, client = -1;
	struct pollfd fds[2];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	if (argc != 2 || strlen(argv[1]) >= sizeof(sun.sun_path))
		return 2;
	strcpy(sun.sun_path, argv[1]);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (pty < 0 || grantpt(pty) || unlockpt(pty) ||
	    bind(listener, (struct sockaddr *)&sun, sizeof(sun)) || listen(listener, 1)) {
		perror("line");
		return 1;
	}
	puts(ptsname(pty));
	fclose(stdout);
	for (;;) {
		fds[0] = (struct pollfd){ .fd = pty, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = client < 0 ? listener : client, .events = POLLIN };
		if (poll(fds, 2, -1) < 0)
			return 1;
		if (fds[0].revents && !copy(pty, client))
			break;
		if (!fds[1].revents)
			continue;
		if (client < 0) {
			client = accept(listener, NULL, NULL);
		} else if (!copy(client, pty)) {
			close(client);
			client = -1;
		}
	}
	unlink(argv[1]);
	return 0;
}
