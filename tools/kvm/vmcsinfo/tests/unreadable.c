// SPDX-License-Identifier: GPL-2.0-only
/*
 * To be preloaded: reading what is at the offset UNREADABLE of a file fails, as with
 * memory that is broken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t pread64(int fd, void *buf, size_t size, off_t offset)
{
	const char *text = getenv("UNREADABLE");
	const off_t bad = text ? atoll(text) : -1;

	if (offset <= bad && bad - offset < (off_t)size) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, size, offset);
}

/* With _FORTIFY_SOURCE it is this one */
ssize_t __pread64_chk(int fd, void *buf, size_t size, off_t offset, size_t room);

ssize_t __pread64_chk(int fd, void *buf, size_t size, off_t offset, size_t room)
{
	if (size > room)
		abort();
	return pread64(fd, buf, size, offset);
}
