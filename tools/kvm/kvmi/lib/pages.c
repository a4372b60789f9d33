// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pages of the tool's own: memory that the device manager has added above all that
 * the guest knows of, for kint_change_gfn() to show.
 *
 * Who has which page is nobody's business but the library's.  A page that is handed
 * out cannot be used by the guest under its own address: nothing is left of the access
 * to it in any view, and the library answers the events of a guest that tries all the
 * same, as if there were no memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define PAGE 4096

enum page_state { PAGE_FREE, PAGE_TAKEN, PAGE_FOREIGN };

struct shown {
	struct shown *next;
	uint16_t view, as_id;
	uint64_t gfn;		/* where */
	uint64_t page;		/* which one: its index */
};

struct tool_pages {
	uint64_t first, n;	/* page frame numbers */
	uint64_t ntaken;
	uint16_t address_spaces;
	bool batched;		/* pages are shown that are not in @shown */
	struct shown *shown;
	uint64_t refused;	/* accesses of the guest's */
	uint8_t state[];	/* enum page_state */
};

/* What the device manager told may be nonsense: then there are none */
void kint_pages_told(struct kint_peer *peer, uint64_t gpa, uint64_t size)
{
	bool sane = !(gpa % PAGE) && size / PAGE <= MAX_TOOL_PAGES && gpa + size >= gpa;

	size -= size % PAGE;
	peer->tool_gpa = sane && size ? gpa : 0;
	peer->tool_size = sane ? size : 0;
}

/* -ENODEV there are none */
static int pages_of(struct kint_conn *conn, struct tool_pages **pages)
{
	uint64_t n = conn->peer.tool_size / PAGE;
	struct kvmi_vm_get_info_reply info;
	int err;

	*pages = conn->pages;
	if (conn->pages)
		return 0;
	if (!n)
		return -ENODEV;
	err = kint_get_info(conn, &info);
	if (err)
		return err;
	conn->pages = calloc(1, sizeof(*conn->pages) + n);
	if (!conn->pages)
		return -ENOMEM;
	conn->pages->first = conn->peer.tool_gpa / PAGE;
	conn->pages->n = n;
	conn->pages->address_spaces = info.address_spaces > 1 ? 2 : 1;
	*pages = conn->pages;
	return 0;
}

/* The index of a page, or how many there are if it is none of them */
static uint64_t index_of(const struct tool_pages *pages, uint64_t gfn)
{
	return gfn < pages->first || gfn - pages->first >= pages->n ? pages->n :
								      gfn - pages->first;
}

static bool is_taken(const struct tool_pages *pages, uint64_t gfn)
{
	uint64_t i = pages ? index_of(pages, gfn) : 0;

	return pages && i < pages->n && pages->state[i] == PAGE_TAKEN;
}

void kint_pages_free(struct kint_conn *conn)
{
	struct shown *s;

	while (conn->pages && conn->pages->shown) {
		s = conn->pages->shown;
		conn->pages->shown = s->next;
		free(s);
	}
	free(conn->pages);
	conn->pages = NULL;
}

static int set_access_in(struct kint_conn *conn, uint16_t view, uint64_t gfn, uint8_t access)
{
	struct kvmi_page_access_entry entry = {
		.gpa = gfn * PAGE, .npages = 1, .access = access,
	};
	int err = kint_set_page_access(conn, view, 0, &entry, 1);

	/* Where system management mode has memory of its own this may be none of it */
	if (!err && conn->pages->address_spaces > 1) {
		err = kint_set_page_access(conn, view, 1, &entry, 1);
		if (err == -EINVAL)
			err = 0;
	}
	return err;
}

/* In view 0 and all that the caller has made */
static int set_access(struct kint_conn *conn, uint64_t gfn, uint8_t access)
{
	unsigned int view;
	int err = 0;

	for (view = 0; view < MAX_KNOWN_VIEWS && !err; view++)
		if (!view || conn->views & 1ull << view)
			err = set_access_in(conn, view, gfn, access);
	return err;
}

static int clear(struct kint_conn *conn, uint64_t gfn)
{
	static const unsigned char zero[PAGE];

	return kint_write_physical(conn, gfn * PAGE, zero, sizeof(zero));
}

/* Somebody else has it if not all is left: a tool that was lost, whose session goes on */
static int find_free(struct kint_conn *conn, uint64_t i, bool search, uint64_t *found)
{
	struct tool_pages *pages = conn->pages;
	uint8_t access;
	uint64_t gpa;
	int err;

	for (; i < pages->n; i++) {
		gpa = (pages->first + i) * PAGE;
		if (pages->state[i] == PAGE_FREE) {
			err = kint_get_page_access(conn, 0, 0, &gpa, &access, 1);
			if (err)
				return err;
			*found = i;
			if (access == KVMI_PAGE_ACCESS_RWX)
				return 0;
			pages->state[i] = PAGE_FOREIGN;
		}
		if (!search)
			return -EBUSY;
	}
	return -ENOSPC;
}

int kint_next_page(struct kint_conn *conn, uint64_t *gfn)
{
	struct tool_pages *pages;
	uint64_t i = 0;
	int err = pages_of(conn, &pages);

	if (!err)
		err = find_free(conn, 0, true, &i);
	if (!err)
		*gfn = pages->first + i;
	return err;
}

static int take(struct kint_conn *conn, uint64_t i)
{
	struct tool_pages *pages = conn->pages;
	uint64_t gfn = pages->first + i;
	int err, undone;

	/* In this order: what the guest has put there before is not for the tool to find */
	err = set_access(conn, gfn, 0);
	if (!err)
		err = clear(conn, gfn);
	if (!err) {
		pages->state[i] = PAGE_TAKEN;
		pages->ntaken++;
		return 0;
	}
	undone = set_access(conn, gfn, KVMI_PAGE_ACCESS_RWX);
	if (undone)
		pages->state[i] = PAGE_FOREIGN;
	return err;
}

int kint_alloc_page(struct kint_conn *conn, uint64_t *gfn)
{
	uint64_t next;
	int err = kint_next_page(conn, &next);

	if (!err)
		err = take(conn, next - conn->pages->first);
	if (!err)
		*gfn = next;
	return err;
}

int kint_alloc_page_at(struct kint_conn *conn, uint64_t gfn)
{
	struct tool_pages *pages;
	uint64_t i = 0;
	int err = pages_of(conn, &pages);

	if (!err && index_of(pages, gfn) == pages->n)
		err = -EINVAL;
	if (!err)
		err = find_free(conn, index_of(pages, gfn), false, &i);
	return err ? err : take(conn, i);
}

int kint_free_page(struct kint_conn *conn, uint64_t gfn)
{
	struct tool_pages *pages;
	const struct shown *s;
	uint64_t i;
	int err = pages_of(conn, &pages);

	if (err)
		return err;
	i = index_of(pages, gfn);
	if (i == pages->n)
		return -EINVAL;
	if (pages->state[i] != PAGE_TAKEN)
		return -ENOENT;
	for (s = pages->shown; s; s = s->next)
		if (s->page == i)
			return -EBUSY;
	err = clear(conn, gfn);
	if (!err)
		err = set_access(conn, gfn, KVMI_PAGE_ACCESS_RWX);
	if (!err) {
		pages->state[i] = PAGE_FREE;
		pages->ntaken--;
	}
	return err;
}

uint64_t kint_pages_left(const struct kint_conn *conn)
{
	const struct tool_pages *pages = conn->pages;
	uint64_t i, n = 0;

	if (!pages)
		return conn->peer.tool_size / PAGE;
	for (i = 0; i < pages->n; i++)
		n += pages->state[i] == PAGE_FREE;
	return n;
}

uint64_t kint_refused_accesses(const struct kint_conn *conn)
{
	return conn->pages ? conn->pages->refused : 0;
}

/* ---- Where pages are shown, so that none is freed that somebody executes ---- */

static struct shown **find_shown(struct tool_pages *pages, uint16_t view, uint16_t as_id,
				 uint64_t gfn)
{
	struct shown **s;

	for (s = &pages->shown; *s; s = &(*s)->next)
		if ((*s)->view == view && (*s)->as_id == as_id && (*s)->gfn == gfn)
			break;
	return s;
}

static void add_shown(struct tool_pages *pages, const struct shown *like, uint16_t view)
{
	struct shown *s = malloc(sizeof(*s));

	if (!s) {
		pages->batched = true;
		return;
	}
	*s = *like;
	s->view = view;
	s->next = pages->shown;
	pages->shown = s;
}

/* It was shown there, or may have been */
void kint_page_shown(struct kint_conn *conn, uint16_t view, uint16_t as_id, uint64_t gfn,
		     uint64_t new_gfn)
{
	struct tool_pages *pages = conn->pages;
	struct shown like = { .as_id = as_id, .gfn = gfn }, **old, *s;

	if (!pages)
		return;
	old = find_shown(pages, view, as_id, gfn);
	s = *old;
	if (s) {
		*old = s->next;
		free(s);
	}
	like.page = index_of(pages, new_gfn);
	if (gfn != new_gfn && like.page < pages->n)
		add_shown(pages, &like, view);
}

void kint_page_batched(struct kint_conn *conn, uint64_t new_gfn)
{
	if (conn->pages && index_of(conn->pages, new_gfn) < conn->pages->n)
		conn->pages->batched = true;
}

void kint_pages_view_copied(struct kint_conn *conn, uint16_t copy_of, uint16_t view)
{
	struct shown *s;

	if (view < MAX_KNOWN_VIEWS)
		conn->views |= 1ull << view;
	/* New ones are put in front */
	for (s = conn->pages ? conn->pages->shown : NULL; s; s = s->next)
		if (s->view == copy_of)
			add_shown(conn->pages, s, view);
}

void kint_pages_view_gone(struct kint_conn *conn, uint16_t view)
{
	struct shown **p = conn->pages ? &conn->pages->shown : NULL, *s;

	if (view < MAX_KNOWN_VIEWS)
		conn->views &= ~(1ull << view);
	while (p && *p) {
		s = *p;
		if (s->view != view) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		free(s);
	}
}

/*
 * Show the guest's own pages again, and give back what is taken.  What cannot be undone
 * is left to the end of the session.
 */
int kint_pages_undo(struct kint_conn *conn, int64_t deadline)
{
	struct tool_pages *pages = conn->pages;
	const struct shown *s;
	int err = 0;
	uint64_t i;

	if (!pages || pages->batched)
		return 0;
	while (pages->shown && !err && kint_now_ms() < deadline) {
		s = pages->shown;
		err = kint_change_gfn(conn, s->view, s->as_id, s->gfn, s->gfn);
	}
	for (i = 0; i < pages->n && pages->ntaken && !pages->shown && !err &&
	     kint_now_ms() < deadline; i++)
		if (pages->state[i] == PAGE_TAKEN)
			err = kint_free_page(conn, pages->first + i);
	return err ? err : pages->ntaken ? -ETIMEDOUT : 0;
}

/* ---- The guest uses such a page by its address ---- */

/* What is read comes from nowhere, and what is written goes there: QEMU has zero there */
static int answer_access(struct kint_conn *conn, const struct kint_event *event)
{
	static const unsigned char nothing[sizeof(event->access.data)];

	if (event->access.access == KVMI_PAGE_ACCESS_W)
		return kint_reply(conn, event, KVMI_EVENT_ACTION_SKIP);
	return kint_reply_access(conn, event, nothing);
}

/*
 * There is no instruction to be executed.  Others are emulated, if the tool may have the
 * event ACCESS, and skipped else.  One that KVM does not know, or that comes of something
 * else than an instruction, asks again and again, and the guest's interrupts get through.
 */
static int answer_pf(struct kint_conn *conn, const struct kint_event *event)
{
	uint16_t vcpu = event->common.vcpu;
	int err = 0;

	if (event->pf.access == KVMI_PAGE_ACCESS_X)
		return kint_reply(conn, event, KVMI_EVENT_ACTION_RETRY);
	if (event->pf.flags & KVMI_PF_NOT_EMULATED)
		return kint_reply(conn, event, KVMI_EVENT_ACTION_SKIP);
	if (!kint_wishes(conn, WISH_EVENT, vcpu, KVMI_VCPU_EVENT_ACCESS))
		err = kint_control_events(conn, vcpu, KVMI_VCPU_EVENT_ACCESS, true);
	if (!err)
		return kint_reply_pf(conn, event, KVMI_PF_TRAP_ACCESS);
	if (conn->error)
		return err;
	return kint_reply(conn, event, KVMI_EVENT_ACTION_SKIP);
}

/* Returns 1 if the event was the library's to answer, 0 if it is the caller's */
int kint_page_event(struct kint_conn *conn, const struct kint_event *event)
{
	int err;

	if (!conn->pages || !conn->pages->ntaken || !event->is_vcpu || event->notified)
		return 0;
	if (event->id == KVMI_VCPU_EVENT_PF && is_taken(conn->pages, event->pf.gpa / PAGE)) {
		conn->pages->refused++;
		err = answer_pf(conn, event);
		return err ? err : 1;
	}
	if (event->id == KVMI_VCPU_EVENT_ACCESS &&
	    is_taken(conn->pages, event->access.gpa / PAGE)) {
		err = answer_access(conn, event);
		return err ? err : 1;
	}
	return 0;
}
