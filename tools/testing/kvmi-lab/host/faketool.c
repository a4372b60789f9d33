// SPDX-License-Identifier: GPL-2.0
/*
 * faketool mute|files|garbage: on the emulated host, a tool as QEMU may not trust it.  It
 * listens for QEMU, and says in a line on stdout when it has done its part:
 *
 * mute:    on vsock port 1234, takes nothing of what QEMU says
 * files:   on /tmp/kvmi.sock, sends open files along with part of its answer
 * garbage: on /tmp/kvmi.sock, answers, and then sends KVM what is no message
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <err.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/sockios.h>
#include <linux/vm_sockets.h>

#define FILES 8

static int listener(int family, const void *addr, socklen_t len)
{
	unsigned long long credit = 0;
	int s = socket(family, SOCK_STREAM, 0);

	if (s < 0)
		err(1, "socket");
	if (family == AF_VSOCK &&
	    (setsockopt(s, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MIN_SIZE, &credit, sizeof(credit)) ||
	     setsockopt(s, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &credit, sizeof(credit))))
		err(1, "vsock's credit");
	if (bind(s, addr, len) || listen(s, 1))
		err(1, "listen");
	return s;
}

static void send_garbage(int s)
{
	char greeting[104], answer[24] = { sizeof(answer) }, garbage[64];

	memset(garbage, 0xff, sizeof(garbage));
	if (recv(s, greeting, sizeof(greeting), MSG_WAITALL) != sizeof(greeting))
		err(1, "recv");
	if (send(s, answer, sizeof(answer), 0) != sizeof(answer) ||
	    send(s, garbage, sizeof(garbage), 0) != sizeof(garbage))
		err(1, "send");
}

static void send_files(int s)
{
	/* The size of what the tool says, and nothing yet of that */
	unsigned int size = 24;
	int files[FILES], i, unread;
	struct iovec iov = { &size, sizeof(size) };
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(files))];
	} control = {
		.hdr = { CMSG_LEN(sizeof(files)), SOL_SOCKET, SCM_RIGHTS },
	};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	for (i = 0; i < FILES; i++) {
		files[i] = open("/tmp/passed", O_RDWR | O_CREAT, 0600);
		if (files[i] < 0)
			err(1, "/tmp/passed");
	}
	memcpy(CMSG_DATA(&control.hdr), files, sizeof(files));
	if (sendmsg(s, &msg, 0) != sizeof(size))
		err(1, "sendmsg");
	do {
		usleep(10000);
		if (ioctl(s, SIOCOUTQ, &unread))
			err(1, "SIOCOUTQ");
	} while (unread);
}

int main(int argc, char **argv)
{
	struct sockaddr_vm vm = { .svm_family = AF_VSOCK, .svm_port = 1234, .svm_cid = VMADDR_CID_ANY };
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/tmp/kvmi.sock" };
	const char *what = argc == 2 ? argv[1] : "";
	int mute = !strcmp(what, "mute"), files = !strcmp(what, "files");
	int s, peer;

	if (!mute && !files && strcmp(what, "garbage"))
		errx(1, "mute, files or garbage?");
	if (!mute) {
		unlink(un.sun_path);
		s = listener(AF_UNIX, &un, sizeof(un));
	} else {
		s = listener(AF_VSOCK, &vm, sizeof(vm));
	}
	peer = accept(s, NULL, NULL);
	if (peer < 0)
		err(1, "accept");
	if (files)
		send_files(peer);
	else if (!mute)
		send_garbage(peer);
	puts("done");
	fflush(stdout);
	pause();
	return 0;
}
