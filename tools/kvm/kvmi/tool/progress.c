// SPDX-License-Identifier: GPL-2.0-only
/*
 * How far something is that takes a while: a line on standard error that is written
 * over again and again, if that is a terminal.
 */
#include <unistd.h>
#include "tool.h"

#define INTERVAL_NS	200000000

void progress_begin(struct progress *p, const char *doing, uint64_t total)
{
	*p = (struct progress){ .doing = doing, .total = total, .last = now_ns() };
	p->visible = isatty(STDERR_FILENO);
}

void progress_add(struct progress *p, uint64_t amount)
{
	p->done += amount;
	if (!p->visible || now_ns() - p->last < INTERVAL_NS)
		return;
	p->last = now_ns();
	p->shown = true;
	fprintf(stderr, "\r%s %3llu%% of %llu MiB", p->doing,
		p->total ? ull(p->done / (p->total / 100 + 1)) : 100, ull(p->total >> 20));
	fflush(stderr);
}

/* Whatever is said next begins in an empty line */
void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	p->shown = false;
}
