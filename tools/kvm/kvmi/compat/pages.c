// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pages of the tool's own: memory that the device manager has added above all that
 * the guest knows of, for kvmi_change_gfn() to show.  Who has which of them is
 * nobody's business but the library's.
 */
#include <errno.h>
#include <stdlib.h>
#include "compat.h"

struct tool_pages {
	uint64_t first, n;
	bool taken[];
};

/* NULL if there are none */
static struct tool_pages *pages_of(struct domain *d)
{
	const struct kint_peer *peer = kint_peer_info(d->conn);
	uint64_t n = peer->tool_size / 4096;

	/* It may be more than there can be, if somebody tells nonsense */
	if (!d->pages && n && n <= 1 << 20) {
		d->pages = calloc(1, sizeof(*d->pages) + n);
		if (d->pages) {
			d->pages->first = peer->tool_gpa / 4096;
			d->pages->n = n;
		}
	}
	return d->pages;
}

void pages_free(struct domain *d)
{
	free(d->pages);
}

int kvmi_get_next_available_gfn(void *dom, __u64 *gfn)
{
	struct domain *d = domain_enter(dom);
	struct tool_pages *pages;
	uint64_t i;

	if (!d)
		return -1;
	pages = pages_of(d);
	for (i = 0; pages && i < pages->n && pages->taken[i]; i++)
		;
	if (!pages || i == pages->n)
		return domain_leave(d, -ENOSPC);
	*gfn = pages->first + i;
	return domain_leave(d, 0);
}

/* Take it, or give it back */
static int set_taken(void *dom, uint64_t gfn, bool take)
{
	struct domain *d = domain_enter(dom);
	struct tool_pages *pages;
	int err = 0;

	if (!d)
		return -1;
	pages = pages_of(d);
	if (!pages || gfn < pages->first || gfn - pages->first >= pages->n)
		err = -EINVAL;
	else if (pages->taken[gfn - pages->first] == take)
		err = take ? -EBUSY : -ENOENT;
	else
		pages->taken[gfn - pages->first] = take;
	return domain_leave(d, err);
}

int kvmi_alloc_gfn(void *dom, __u64 gfn)
{
	return set_taken(dom, gfn, true);
}

int kvmi_free_gfn(void *dom, __u64 gfn)
{
	return set_taken(dom, gfn, false);
}
