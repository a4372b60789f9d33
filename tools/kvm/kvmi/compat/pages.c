// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pages of the tool's own, for kvmi_change_gfn() to show: those of libkint.
 */
#include <errno.h>
#include "compat.h"

/* Callers know one error for none */
static int none_left(int err)
{
	return err == -ENODEV ? -ENOSPC : err;
}

int kvmi_get_next_available_gfn(void *dom, __u64 *gfn)
{
	struct domain *d = domain_enter(dom);
	uint64_t next;
	int err;

	if (!d)
		return -1;
	err = kint_next_page(d->conn, &next);
	if (!err)
		*gfn = next;
	return domain_leave(d, none_left(err));
}

int kvmi_alloc_gfn(void *dom, __u64 gfn)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, none_left(kint_alloc_page_at(d->conn, gfn))) : -1;
}

int kvmi_free_gfn(void *dom, __u64 gfn)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, none_left(kint_free_page(d->conn, gfn))) : -1;
}
