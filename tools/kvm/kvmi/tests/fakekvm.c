// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linked into the tool in place of ioctl(): a plain file is /dev/kvm, if it has a line
 *
 *	kvm API-VERSION PROTOCOL-VERSION PROTOCOL-VERSION-OF-A-VM
 *
 * where a negative number is the error that KVM_CREATE_VM fails with.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kvm.h>

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	static int vm_fd = -1;
	char text[64] = "";
	int api, host, vm;
	unsigned long arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
	    sscanf(text, "kvm %d %d %d", &api, &host, &vm) != 3)
		return syscall(SYS_ioctl, fd, request, arg);
	switch (request) {
	case KVM_GET_API_VERSION:
		return api;
	case KVM_CHECK_EXTENSION:
		return fd == vm_fd ? vm : host;
	case KVM_CREATE_VM:
		if (vm < 0) {
			errno = -vm;
			return -1;
		}
		vm_fd = dup(fd);
		return vm_fd;
	default:
		errno = ENOTTY;
		return -1;
	}
}
