// SPDX-License-Identifier: GPL-2.0-only
/*
 * Standard output and standard error, when nobody reads them.
 *
 * A reader that is stopped, a pager or a terminal after ^S, must not keep the tool
 * from leaving, nor a guest from running: a vCPU waits while its event is printed.
 * And a reader that is gone ends the tool, unless its output is not what it is for.
 */
#define _GNU_SOURCE	/* fopencookie() */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "tool.h"

/*
 * How long a vCPU may be held up by a reader, in all until that reads again.  What a guard is to
 * refuse is allowed if the answer takes longer than the device manager says.
 */
#define PATIENCE_MS 1000
#define GUARDS_PATIENCE_MS 100

struct stream {
	int fd;
	bool lossy;		/* leave lines out rather than wait for long */
	bool json;
	bool stalled;		/* waited for in vain, and not read since */
	bool cut;		/* the rest of a line was left out */
	bool gone;		/* nobody will ever read it */
	unsigned long long lost;	/* lines */
};

static struct stream output = { .fd = STDOUT_FILENO }, errors = { .fd = STDERR_FILENO };
static int leave_fd = -1;
static bool is_for_reading = true;

/* Returns 1 if it can be written to, 0 if not, -1 if the tool is to leave */
static int wait_for_room(const struct stream *s)
{
	struct pollfd fds[2] = {
		{ .fd = s->fd, .events = POLLOUT },
		{ .fd = leave_fd, .events = POLLIN },
	};
	int patience = is_for_reading ? PATIENCE_MS : GUARDS_PATIENCE_MS;
	int64_t end = now_ns() + (s->stalled ? 0 : patience) * 1000000ll, left;

	for (;;) {
		left = (end - now_ns()) / 1000000;
		if (left < 0)
			left = 0;
		if (poll(fds, 2, s->lossy ? left : -1) < 0 && errno != EINTR)
			return 1;
		if (fds[0].revents)
			return 1;
		if (fds[1].revents)
			return -1;
		if (s->lossy && !left)
			return 0;
	}
}

/* As much as can be without waiting.  Returns how much that is. */
static size_t put(struct stream *s, const char *buf, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size && !s->gone) {
		n = wait_for_room(s);
		if (n <= 0)
			break;
		/* A pipe that can be written to takes this without waiting */
		n = size - done < PIPE_BUF ? size - done : PIPE_BUF;
		n = write(s->fd, buf + done, n);
		if (n >= 0)
			done += n;
		else if (errno == ENOSPC && !is_for_reading)
			break;	/* as a reader that does not read: there may be room again */
		else if (errno != EINTR && errno != EAGAIN)
			s->gone = true;
	}
	return done;
}

static bool put_text(struct stream *s, const char *text)
{
	return put(s, text, strlen(text)) == strlen(text);
}

/* Once it is read again: what is missing there */
static bool tell_lost(struct stream *s)
{
	char text[100];

	if (s->cut && !put_text(s, "\n"))
		return false;
	s->cut = false;
	snprintf(text, sizeof(text), s->json ? "{\"event\":\"lost\",\"lines\":%llu}\n" :
		 "kvmi: %llu lines were left out, nobody read them\n", s->lost);
	if (!put_text(s, text))
		return false;
	s->lost = 0;
	return true;
}

static void leave_out(struct stream *s, const char *buf, size_t size)
{
	for (; size; size--, buf++)
		s->lost += *buf == '\n';
}

static ssize_t stream_write(void *cookie, const char *buf, size_t size)
{
	struct stream *s = cookie;
	size_t done;

	if (s->stalled) {
		if (wait_for_room(s) <= 0 || !tell_lost(s)) {
			leave_out(s, buf, size);
			return size;
		}
		s->stalled = false;
	}
	done = put(s, buf, size);
	if (done < size && !s->gone) {
		s->stalled = true;
		s->cut = done ? buf[done - 1] != '\n' : s->cut;
		leave_out(s, buf + done, size - done);
	}
	if (!s->gone)
		return size;
	/* What a guard does is worth doing without anybody looking */
	if (is_for_reading)
		leave_soon();
	return done ? (ssize_t)done : -1;
}

static FILE *wrap(struct stream *s)
{
	cookie_io_functions_t functions = { .write = stream_write };
	FILE *file = fopencookie(s, "w", functions);

	if (file)
		setvbuf(file, NULL, _IOLBF, BUFSIZ);
	return file;
}

/* From now on stdout and stderr go through here; @fd: of signals_init() */
bool streams_init(int fd)
{
	FILE *file;

	leave_fd = fd;
	file = wrap(&output);
	if (!file)
		return false;
	stdout = file;
	file = wrap(&errors);
	if (!file)
		return false;
	stderr = file;
	return true;
}

/* The tool has vCPUs wait while it prints; @guards: it is of use unread */
void streams_live(bool json, bool guards)
{
	output.lossy = true;
	errors.lossy = true;
	output.json = json;
	is_for_reading = !guards;
}

/* Was all of the output written?  Says what is wrong */
bool streams_end(void)
{
	if (fflush(stdout) || ferror(stdout)) {
		error("standard output: write failed");
		return false;
	}
	if (output.lost)
		error("standard output: %llu lines were left out, nobody read them", output.lost);
	return !output.lost;
}
