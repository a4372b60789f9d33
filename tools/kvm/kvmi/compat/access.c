// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Guest memory, page access and views.
 *
 * Hardware cannot take every kind of access alone: a page that cannot be read cannot
 * be written, and on some hosts not be executed.  More is taken away then than the
 * caller has asked for, and what the caller did not ask for is allowed by the library
 * when it happens.  Such pages are remembered, all others are not.
 */
#define _GNU_SOURCE	/* tdestroy(), twalk_r() */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include "compat.h"

/* What libkvmi takes at a time is bounded by its messages */
#define MAX_ENTRIES 512

struct widened {
	uint64_t gfn;
	uint16_t view;
	uint8_t access;			/* what the caller wanted to be left */
};

static int compare(const void *a, const void *b)
{
	const struct widened *x = a, *y = b;

	if (x->view != y->view)
		return x->view < y->view ? -1 : 1;
	return x->gfn < y->gfn ? -1 : x->gfn > y->gfn;
}

static struct widened *find(const struct domain *d, uint16_t view, uint64_t gfn)
{
	struct widened key = { .gfn = gfn, .view = view };
	struct widened **node = tfind(&key, &d->widened, compare);

	return node ? *node : NULL;
}

static void forget(struct domain *d, uint16_t view, uint64_t gfn)
{
	struct widened *w = find(d, view, gfn);

	if (!w)
		return;
	tdelete(w, &d->widened, compare);
	free(w);
}

static int keep(struct domain *d, uint16_t view, uint64_t gfn, uint8_t access)
{
	struct widened *w = find(d, view, gfn);

	if (!w) {
		w = malloc(sizeof(*w));
		if (!w)
			return -ENOMEM;
		*w = (struct widened){ .gfn = gfn, .view = view };
		if (!tsearch(w, &d->widened, compare)) {
			free(w);
			return -ENOMEM;
		}
	}
	w->access = access;
	return 0;
}

void access_free(struct domain *d)
{
	tdestroy(d->widened, free);
	d->widened = NULL;
}

/* Those of a view, in a list of the caller's to free() */
struct collected {
	uint16_t view;
	struct widened *list;
	size_t n;
	bool failed;
};

static void collect(const void *node, VISIT visit, void *arg)
{
	const struct widened *w = *(struct widened *const *)node;
	struct collected *c = arg;
	struct widened *list;

	if ((visit != postorder && visit != leaf) || w->view != c->view)
		return;
	list = realloc(c->list, (c->n + 1) * sizeof(*list));
	if (!list) {
		c->failed = true;
		return;
	}
	c->list = list;
	c->list[c->n++] = *w;
}

/* A new view begins as a copy of view 0 */
static int copy_widened(struct domain *d, uint16_t view)
{
	struct collected c = { .view = 0 };
	int err = 0;
	size_t i;

	twalk_r(d->widened, collect, &c);
	for (i = 0; i < c.n && !err; i++)
		err = keep(d, view, c.list[i].gfn, c.list[i].access);
	free(c.list);
	return c.failed ? -ENOMEM : err;
}

static void forget_view(struct domain *d, uint16_t view)
{
	struct collected c = { .view = view };
	size_t i;

	twalk_r(d->widened, collect, &c);
	for (i = 0; i < c.n; i++)
		forget(d, view, c.list[i].gfn);
	free(c.list);
}

static uint8_t possible(const struct domain *d, uint8_t access)
{
	access &= KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X;
	if (!(access & KVMI_PAGE_ACCESS_R))
		access &= d->exec_only ? KVMI_PAGE_ACCESS_X : 0;
	return access;
}

/* What hardware can do of what the caller asks for */
int access_entries(struct domain *d, const unsigned long long *gpa, const unsigned char *access,
		   unsigned short count, struct kvmi_page_access_entry *entries)
{
	unsigned int i;

	if (!count || count > MAX_ENTRIES)
		return -EINVAL;
	for (i = 0; i < count; i++)
		entries[i] = (struct kvmi_page_access_entry){
			.gpa = gpa[i], .access = possible(d, access[i]), .npages = 1,
		};
	return 0;
}

/* It has been done */
int access_remember(struct domain *d, const unsigned char *access,
		    const struct kvmi_page_access_entry *entries, unsigned short count,
		    unsigned short view)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < count && !err; i++) {
		if (entries[i].access == access[i])
			forget(d, view, entries[i].gpa / 4096);
		else
			err = keep(d, view, entries[i].gpa / 4096, access[i]);
	}
	return err;
}

/* Was this access only taken away together with another? */
bool access_not_asked(const struct domain *d, uint16_t view, uint64_t gpa, uint8_t access)
{
	const struct widened *w = find(d, view, gpa / 4096);

	return w && w->access & access;
}

/* The other was reading, which whoever is granted this access may do as well */
bool reading_is_asked(const struct domain *d, const struct kvmi_vcpu_event_pf *pf)
{
	const struct widened *w = find(d, pf->view, pf->gpa / 4096);

	return w && !(w->access & KVMI_PAGE_ACCESS_R);
}

/* ---- What the caller calls ---- */

int kvmi_read_physical(void *dom, unsigned long long gpa, void *buffer, size_t size)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, kint_read_physical(d->conn, gpa, buffer, size)) : -1;
}

int kvmi_write_physical(void *dom, unsigned long long gpa, const void *buffer, size_t size)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, kint_write_physical(d->conn, gpa, buffer, size)) : -1;
}

int kvmi_set_page_access(void *dom, unsigned long long *gpa, unsigned char *access,
			 unsigned short count, unsigned short view)
{
	struct kvmi_page_access_entry entries[MAX_ENTRIES];
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = access_entries(d, gpa, access, count, entries);
	if (!err)
		err = kint_set_page_access(d->conn, view, 0, entries, count);
	if (!err)
		err = access_remember(d, access, entries, count, view);
	return domain_leave(d, err);
}

int kvmi_get_page_access(void *dom, unsigned long long gpa, unsigned char *access)
{
	struct domain *d = domain_enter(dom);
	uint64_t address = gpa;
	struct widened *w;
	int err = 0;

	if (!d)
		return -1;
	w = find(d, 0, gpa / 4096);
	if (w)
		*access = w->access;
	else
		err = kint_get_page_access(d->conn, 0, 0, &address, access, 1);
	return domain_leave(d, err);
}

int kvmi_eptp_support(void *dom, bool *supported)
{
	struct domain *d = domain_enter(dom);

	*supported = d && d->views > 1;
	return d ? domain_leave(d, 0) : -1;
}

int kvmi_create_ept_view(void *dom, unsigned short *view)
{
	struct domain *d = domain_enter(dom);
	uint16_t new_view;
	int err;

	if (!d)
		return -1;
	err = kint_create_view(d->conn, 0, &new_view);
	if (err == -EBUSY && d->left_views) {
		err = kint_clear_views(d->conn, &d->left_views);
		if (!err)
			err = kint_create_view(d->conn, 0, &new_view);
	}
	if (!err) {
		d->left_views &= ~(1ull << new_view % 64);
		err = copy_widened(d, new_view);
		if (err)
			kint_destroy_view(d->conn, new_view);
	}
	if (!err)
		*view = new_view;
	return domain_leave(d, err);
}

int kvmi_destroy_ept_view(void *dom, unsigned short view)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = kint_destroy_view(d->conn, view);
	if (!err)
		forget_view(d, view);
	return domain_leave(d, err);
}

/* Callers go through the vCPUs; here a change is one for all of them */
int kvmi_change_gfn(void *dom, unsigned short vcpu, unsigned short view, __u64 old_gfn,
		    __u64 new_gfn)
{
	struct domain *d = domain_enter(dom);

	(void)vcpu;
	if (!d)
		return -1;
	if (new_gfn == ~0ull)
		new_gfn = old_gfn;
	return domain_leave(d, kint_change_gfn(d->conn, view, 0, old_gfn, new_gfn));
}
