// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files for --output: a guest's memory and registers.
 *
 * A regular file is written beside the one of that name and takes its place when all
 * of it is there, for the user's eyes only.  Anything else, a pipe or a device, is
 * written to as it is, unless it is somebody else's; and so is standard output, whatever that is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tool.h"

struct output {
	const char *option;	/* that names it, for messages; or the command */
	const char *path;
	char *beside;		/* name of the file until it is complete, or NULL */
	int fd;
	bool sparse;		/* what is skipped is zero */
};

/* Says what is wrong */
static struct output *failed(struct output *o, const char *what)
{
	error("%s %s: %s%s", o->option, o->path, what, strerror(errno));
	output_discard(o);
	return NULL;
}

/* Is it standard output or error, by the name of /dev/stdout say?  Else -1. */
static int stream_of(const struct stat *st)
{
	struct stat stream;
	int fd;

	for (fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (!fstat(fd, &stream) && stream.st_dev == st->st_dev &&
		    stream.st_ino == st->st_ino)
			return fd;
	return -1;
}

/*
 * In a directory such as /tmp anybody may have made it, and read what goes there; and a terminal
 * is looked at by its user.
 */
static bool is_foreign(const struct stat *st)
{
	return !S_ISDIR(st->st_mode) && st->st_uid && st->st_uid != geteuid();
}

/* What is no regular file */
static struct output *open_special(struct output *o, const struct stat *there)
{
	struct stat st = *there;

	/* Without a reader it cannot be opened yet: who made it is to be known before */
	if (!is_foreign(&st)) {
		o->fd = open(o->path, O_WRONLY | O_CLOEXEC);
		if (o->fd < 0 || fstat(o->fd, &st))
			return failed(o, "");
	}
	/* It may have been replaced */
	if (!is_foreign(&st))
		return o;
	error("%s %s: a %s of another user's, who would read it", o->option, o->path,
	      S_ISFIFO(st.st_mode) ? "pipe" : S_ISREG(st.st_mode) ? "file" : "device");
	output_discard(o);
	return NULL;
}

struct output *output_open(const char *option, const char *path)
{
	struct output *o = calloc(1, sizeof(*o));
	struct stat st;
	bool there;
	int stream;

	if (!o) {
		error("%s %s: %s", option, path, strerror(errno));
		return NULL;
	}
	o->option = option;
	o->path = path;
	o->fd = -1;
	there = !stat(path, &st);
	if (!there && errno != ENOENT)
		return failed(o, "");
	/* Whoever runs the tool has opened it, and the name may be that of a link */
	stream = there ? stream_of(&st) : -1;
	if (stream >= 0) {
		fflush(stdout);
		o->fd = fcntl(stream, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		return o->fd < 0 ? failed(o, "") : o;
	}
	if (there && !S_ISREG(st.st_mode))
		return open_special(o, &st);
	if (asprintf(&o->beside, "%s.XXXXXX", path) < 0)
		o->beside = NULL;
	if (!o->beside)
		return failed(o, "");
	o->fd = mkostemp(o->beside, O_CLOEXEC);		/* of mode 0600 */
	if (o->fd < 0) {
		free(o->beside);
		o->beside = NULL;
		return failed(o, "a file beside it: ");
	}
	o->sparse = true;
	return o;
}

/* Returns 0, or -EIO after saying what is wrong; -EINTR if the tool is to leave */
int output_write(struct output *o, const void *data, size_t size)
{
	struct pollfd fd = { .fd = o->fd, .events = POLLOUT };
	const char *p = data;
	ssize_t n;

	while (size) {
		/* A pipe that nobody reads is waited for, until a signal ends poll() */
		while ((n = poll(&fd, 1, 100)) <= 0) {
			if (asked_to_leave())
				return -EINTR;
			if (n && errno != EINTR)
				return -errno;
		}
		n = write(o->fd, p, o->sparse || size < PIPE_BUF ? size : PIPE_BUF);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			error("%s %s: %s", o->option, o->path, strerror(errno));
			return -EIO;
		}
		p += n;
		size -= n;
	}
	return 0;
}

/* @size bytes that are zero; returns what output_write() does */
int output_hole(struct output *o, uint64_t size)
{
	static const char zero[65536];
	size_t part;
	int err = 0;

	if (o->sparse) {
		if (lseek(o->fd, size, SEEK_CUR) >= 0)
			return 0;
		error("%s %s: %s", o->option, o->path, strerror(errno));
		return -EIO;
	}
	for (; size && !err; size -= part) {
		/* There may be a lot of it, and a reader that never lets output_write() wait */
		if (asked_to_leave())
			return -EINTR;
		part = size < sizeof(zero) ? size : sizeof(zero);
		err = output_write(o, zero, part);
	}
	return err;
}

void output_discard(struct output *o)
{
	if (!o)
		return;
	if (o->fd >= 0)
		close(o->fd);
	if (o->beside)
		unlink(o->beside);
	free(o->beside);
	free(o);
}

/* All is written.  Says what is wrong; @o is gone in any case. */
bool output_commit(struct output *o)
{
	off_t end = o->sparse ? lseek(o->fd, 0, SEEK_CUR) : 0;
	bool ok = !o->sparse || (end >= 0 && !ftruncate(o->fd, end));

	ok = !close(o->fd) && ok;
	o->fd = -1;
	ok = ok && (!o->beside || !rename(o->beside, o->path));
	if (!ok) {
		failed(o, "");
		return false;
	}
	free(o->beside);
	free(o);
	return true;
}
