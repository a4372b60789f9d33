// SPDX-License-Identifier: GPL-2.0-only
/*
 * Breakpoints that the guest cannot see.
 *
 * The vCPUs run in a view of memory of their own.  It shows, in place of a page
 * that has breakpoints, a copy with INT3 in it, which can be executed only: what
 * reads or writes the page is stepped in the guest's own memory, see break.c.
 *
 * An instruction at a breakpoint is executed in a third view, which shows the
 * guest's own pages and lets none of them be written: a write is reported, and the
 * copy follows.
 *
 * The copies lie in memory that the device manager has added for the tool, if it has,
 * and nothing of the guest gets at them.  Else they lie in pages that the guest has and
 * does not use.  When it begins to use one, as a guest that boots may, the copy moves to
 * another.
 */
#include <errno.h>
#include <string.h>
#include "tool.h"

#define MAX_PAGES	16
#define INT3		0xcc
/* Linux leaves all memory below 1 MiB alone but for what it finds in use at boot */
#define SPARE_FIRST	0x10000
#define SPARE_LAST	0x9e000

struct page {
	uint64_t gpa, spare;
	bool ours;			/* @spare is no page of the guest's */
	unsigned char own[PAGE_SIZE];	/* what the guest has there */
};

static struct {
	struct page pages[MAX_PAGES];
	unsigned int npages;
	uint64_t points[MAX_HIDDEN];	/* physical addresses */
	unsigned int npoints;
	uint64_t spare_end;		/* pages for copies are looked for below */
	uint64_t given, given_size;
	uint16_t view, step_view;	/* the latter is 0 if there is none */
	uint8_t rest;
} hidden;

/* Where copies may lie, if the user knows better.  Says what is wrong. */
bool parse_spare(const char *text)
{
	uint64_t start, size;

	if (!parse_extent(text, &start, &size) || size < PAGE_SIZE) {
		error("--spare %s: give START+LENGTH or START-LAST, physical", text);
		return false;
	}
	hidden.given = start;
	hidden.given_size = size;
	return true;
}

uint16_t hidden_view(void)
{
	return hidden.view;
}

/* Where an instruction at a breakpoint can be executed by itself, or 0 */
uint16_t hidden_step_view(void)
{
	return hidden.step_view;
}

static struct page *page_of(uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < hidden.npages; i++)
		if (hidden.pages[i].gpa == gpa - gpa % PAGE_SIZE)
			return &hidden.pages[i];
	return NULL;
}

bool hidden_has(uint64_t gpa)
{
	return page_of(gpa);
}

/* Is there memory for the tool, and is it to be used? */
static bool has_own_memory(const struct tool *tool)
{
	return kint_peer_info(tool->conn)->tool_size && !hidden.given_size;
}

void hidden_explain(struct tool *tool)
{
	const struct kint_peer *peer = kint_peer_info(tool->conn);
	unsigned int i, n = 0;

	for (i = 0; i < hidden.npages; i++)
		n += hidden.pages[i].ours;
	printf("copies of pages with breakpoints: ");
	if (n)
		printf("%u in memory of the device manager's for the tool, %#llx-%#llx\n", n,
		       ull(peer->tool_gpa), ull(peer->tool_gpa + peer->tool_size - 1));
	if (n < hidden.npages)
		printf("%s%u in pages of the guest's that are all zero\n", n ? "  " : "",
		       hidden.npages - n);
	if (n == hidden.npages)
		return;
	if (hidden.given_size)
		printf("  as --spare says\n");
	else if (peer->tool_size)
		printf("  as the device manager's memory for the tool does not do\n");
	else
		printf("  as the device manager has no memory for the tool\n");
}

static int set_access(struct tool *tool, uint16_t view, uint64_t gpa, uint8_t access)
{
	struct kvmi_page_access_entry entry = { .gpa = gpa, .npages = 1, .access = access };

	return kint_set_page_access(tool->conn, view, 0, &entry, 1);
}

/* In all views: a vCPU is in view 0 at times.  The guest may read it, and finds the copy. */
static int allow_writing(struct tool *tool, uint64_t gpa, bool allow)
{
	uint8_t access = KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X |
			 (allow ? KVMI_PAGE_ACCESS_W : 0);
	int err = set_access(tool, hidden.view, gpa, access);

	if (!err && hidden.step_view)
		err = set_access(tool, hidden.step_view, gpa, access);
	return err ? err : set_access(tool, 0, gpa, access);
}

/* Is there memory that is all zero?  -ENOENT if it is something else, or none. */
static int check_zero(struct tool *tool, uint64_t gpa)
{
	static const unsigned char zero[PAGE_SIZE];
	unsigned char data[PAGE_SIZE];
	int err = kint_read_physical(tool->conn, gpa, data, sizeof(data));

	return !err && memcmp(data, zero, sizeof(zero)) ? -ENOENT : err;
}

/*
 * The guest may put something there that very moment: then it is to keep it.  So it may not
 * write the page any more before it is looked at for the last time.
 */
static int take_spare(struct tool *tool, uint64_t gpa)
{
	int err = check_zero(tool, gpa), undone;

	if (err)
		return err;
	err = allow_writing(tool, gpa, false);
	if (!err)
		err = check_zero(tool, gpa);
	if (err != -ENOENT)
		return err;
	undone = allow_writing(tool, gpa, true);
	return undone ? undone : err;
}

/* A page of the guest that is all zero, for the copy of that at @gpa; nobody writes it */
static int find_spare(struct tool *tool, uint64_t gpa, uint64_t *spare)
{
	uint64_t first = SPARE_FIRST;
	int err;

	if (hidden.given_size)
		first = (hidden.given + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	while (hidden.spare_end > first && hidden.spare_end - first >= PAGE_SIZE) {
		hidden.spare_end -= PAGE_SIZE;
		/* Not one that breakpoints are in, or are to be in */
		if (hidden_has(hidden.spare_end) || hidden.spare_end == gpa ||
		    hidden_is_copy(hidden.spare_end))
			continue;
		err = take_spare(tool, hidden.spare_end);
		if (err == -ENOENT)
			continue;
		*spare = hidden.spare_end;
		return err;
	}
	error("no page for a copy: none that is all zero is left %s; see --spare",
	      hidden.given_size ? "there" : "below 640K");
	return MONITOR_TOLD;
}

/*
 * A page for the copy of @page->gpa.  Somebody else may have all that there are, or the
 * device manager does not allow what it takes: those of the guest may do.
 */
static int find_place(struct tool *tool, struct page *page)
{
	uint64_t gfn;
	int err;

	page->ours = false;
	if (!has_own_memory(tool))
		return find_spare(tool, page->gpa, &page->spare);
	err = kint_alloc_page(tool->conn, &gfn);
	if (err == -ENOSPC || err == -EPERM || err == -ENOSYS)
		return find_spare(tool, page->gpa, &page->spare);
	page->ours = !err;
	page->spare = gfn * PAGE_SIZE;
	return err;
}

static void make_copy(const struct page *page, unsigned char copy[PAGE_SIZE])
{
	unsigned int i;

	memcpy(copy, page->own, PAGE_SIZE);
	for (i = 0; i < hidden.npoints; i++)
		if (page_of(hidden.points[i]) == page)
			copy[hidden.points[i] % PAGE_SIZE] = INT3;
}

static int write_copy(struct tool *tool, const struct page *page)
{
	unsigned char copy[PAGE_SIZE];

	make_copy(page, copy);
	return kint_write_physical(tool->conn, page->spare, copy, sizeof(copy));
}

/* The kernel refuses replies that step if the device manager does not allow stepping */
static bool may_step_by_reply(struct tool *tool, const struct kvmi_vm_get_features_reply *f)
{
	return f->flags & KVMI_FEATURE_REPLY_FLAGS && f->views > 2 &&
	       !kint_check_command(tool->conn, KVMI_VCPU_CONTROL_SINGLESTEP) &&
	       !kint_check_event(tool->conn, KVMI_VCPU_EVENT_SINGLESTEP);
}

/*
 * Forget what was there: another session, or a new one with the same VM.  @rest: what
 * pages without breakpoints can be used for in the view.
 */
int hidden_begin(struct tool *tool, uint8_t rest)
{
	struct kvmi_vm_get_features_reply f;
	int err = kint_get_features(tool->conn, &f);

	if (err)
		return err;
	hidden.step_view = 0;
	memset(hidden.pages, 0, sizeof(hidden.pages));
	hidden.npages = 0;
	hidden.npoints = 0;
	hidden.rest = rest;
	hidden.spare_end = SPARE_LAST + PAGE_SIZE;
	if (hidden.given_size)
		hidden.spare_end = (hidden.given + hidden.given_size) / PAGE_SIZE * PAGE_SIZE;
	err = kint_create_view(tool->conn, 0, &hidden.view);
	if (!err && may_step_by_reply(tool, &f))
		err = kint_create_view(tool->conn, 0, &hidden.step_view);
	return err;
}

/* Have the copy of a page, and nothing else, in page->spare */
static int place_copy(struct tool *tool, const struct page *page)
{
	int err = write_copy(tool, page);

	return err ? err : kint_change_gfn(tool->conn, hidden.view, 0, page->gpa / PAGE_SIZE,
					   page->spare / PAGE_SIZE);
}

static struct page *page_copied_to(uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < hidden.npages; i++)
		if (hidden.pages[i].spare == gpa - gpa % PAGE_SIZE)
			return &hidden.pages[i];
	return NULL;
}

bool hidden_is_copy(uint64_t gpa)
{
	return page_copied_to(gpa);
}

/* The guest is about to write the page of a copy: it gets it as it was */
int hidden_move(struct tool *tool, uint64_t gpa)
{
	static const unsigned char zero[PAGE_SIZE];
	struct page *page = page_copied_to(gpa);
	uint64_t old = page->spare;
	int err;

	err = find_spare(tool, page->gpa, &page->spare);
	if (err == MONITOR_TOLD)
		return -ENOSPC;
	if (!err)
		err = place_copy(tool, page);
	if (!err)
		err = kint_write_physical(tool->conn, old, zero, sizeof(zero));
	return err ? err : allow_writing(tool, old, true);
}

static int add_page(struct tool *tool, uint64_t gpa, uint8_t access)
{
	struct page *page = &hidden.pages[hidden.npages];
	int err;

	if (hidden.npages == MAX_PAGES) {
		error("breakpoints in more than %u pages", MAX_PAGES);
		return MONITOR_TOLD;
	}
	/* The copy of another page lies there, and must not be taken for the guest's */
	if (hidden_is_copy(gpa)) {
		error("break: %#llx is in a page that holds a copy; see --spare", ull(gpa));
		return MONITOR_TOLD;
	}
	page->gpa = gpa;
	err = kint_read_physical(tool->conn, gpa, page->own, sizeof(page->own));
	if (!err)
		err = find_place(tool, page);
	if (err)
		return err;
	hidden.npages++;
	err = place_copy(tool, page);
	if (!err)
		err = set_access(tool, hidden.view, gpa, access);
	if (!err && hidden.step_view)
		err = set_access(tool, hidden.step_view, gpa,
				 KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X);
	return err;
}

/* @access: what the page can be used for in the view */
int hidden_add(struct tool *tool, uint64_t gpa, uint8_t access)
{
	uint64_t start = gpa - gpa % PAGE_SIZE;
	int err = 0;

	if (hidden.npoints == MAX_HIDDEN) {
		error("more than %u breakpoints", MAX_HIDDEN);
		return MONITOR_TOLD;
	}
	if (!page_of(gpa))
		err = add_page(tool, start, access);
	if (err)
		return err;
	hidden.points[hidden.npoints++] = gpa;
	return write_copy(tool, page_of(gpa));
}

/* Nothing is hidden in the page any more: it is shown as it is, and can be used */
static int remove_page(struct tool *tool, struct page *page)
{
	static const unsigned char zero[PAGE_SIZE];
	uint64_t spare = page->spare;
	bool ours = page->ours;
	int err;

	err = kint_change_gfn(tool->conn, hidden.view, 0, page->gpa / PAGE_SIZE,
			      page->gpa / PAGE_SIZE);
	if (!err)
		err = set_access(tool, hidden.view, page->gpa, hidden.rest);
	if (!err && hidden.step_view)
		err = set_access(tool, hidden.step_view, page->gpa, KVMI_PAGE_ACCESS_RWX);
	*page = hidden.pages[--hidden.npages];
	if (ours)
		return err ? err : kint_free_page(tool->conn, spare / PAGE_SIZE);
	if (!err)
		err = kint_write_physical(tool->conn, spare, zero, sizeof(zero));
	if (!err)
		err = allow_writing(tool, spare, true);
	/* It may hold a copy again */
	if (hidden.spare_end < spare + PAGE_SIZE)
		hidden.spare_end = spare + PAGE_SIZE;
	return err;
}

/* Take a breakpoint away, which there is */
int hidden_remove(struct tool *tool, uint64_t gpa)
{
	struct page *page = page_of(gpa);
	unsigned int i;

	for (i = 0; hidden.points[i] != gpa; i++)
		;
	hidden.points[i] = hidden.points[--hidden.npoints];
	for (i = 0; i < hidden.npoints; i++)
		if (page_of(hidden.points[i]) == page)
			return write_copy(tool, page);
	return remove_page(tool, page);
}

/* The guest, or a device, may have written its pages: the copies have to follow */
int hidden_refresh(struct tool *tool)
{
	unsigned char now[PAGE_SIZE];
	struct page *page;
	int err = 0;

	for (page = hidden.pages; page < hidden.pages + hidden.npages && !err; page++) {
		err = kint_read_physical(tool->conn, page->gpa, now, sizeof(now));
		if (err || !memcmp(now, page->own, sizeof(now)))
			continue;
		memcpy(page->own, now, sizeof(now));
		err = write_copy(tool, page);
	}
	return err;
}

/*
 * An instruction that is emulated is about to access a page.  What it writes to one that has
 * breakpoints the copy has to follow before anything is executed from it.  KVM is to write it,
 * and not the tool: in one go, if it is a locked instruction.
 * Returns 1 if the vCPU has to be in the guest's own memory until the instruction is over.
 */
int hidden_on_access(struct tool *tool, const struct kvmi_vcpu_event_access *access)
{
	if (access->access != KVMI_PAGE_ACCESS_W)
		return 0;
	if (hidden_is_copy(access->gpa))
		return hidden_move(tool, access->gpa);
	return hidden_has(access->gpa);
}

/*
 * Have vCPUs leave the view, all at once: one that is slow does not take the others' time.
 * Returns 0 or the first error.
 */
int hidden_leave(struct tool *tool, unsigned int vcpus)
{
	struct kint_batch *batch = NULL;
	int err = kint_batch_new(tool->conn, &batch);
	unsigned int vcpu;

	for (vcpu = 0; vcpu < vcpus && err >= 0; vcpu++)
		err = kint_queue_set_view(batch, vcpu, 0);
	if (err < 0)
		goto out;
	kint_batch_commit(batch);
	for (vcpu = 0, err = 0; vcpu < vcpus && !err; vcpu++) {
		err = kint_batch_error(batch, vcpu);
		/* It has never been there: the guest has not started it */
		if (err == -EAGAIN)
			err = 0;
	}
out:
	kint_batch_free(batch);
	return err;
}

/*
 * A vCPU that does not answer may be in the view still: it executes the guest's own pages
 * then.  Returns false if it may execute copies.
 */
static bool show_own(struct tool *tool)
{
	const struct page *page;
	int err = 0;

	for (page = hidden.pages; page < hidden.pages + hidden.npages && !err; page++)
		err = kint_change_gfn(tool->conn, hidden.view, 0, page->gpa / PAGE_SIZE,
				      page->gpa / PAGE_SIZE);
	/* There is no such view: it was destroyed after all */
	return !err || err == -EINVAL;
}

/*
 * Leave the pages of the copies as they were, but for those that the guest has put
 * something into meanwhile, and those that are executed.
 */
void hidden_end(struct tool *tool)
{
	static const unsigned char zero[PAGE_SIZE];
	unsigned char copy[PAGE_SIZE], now[PAGE_SIZE];
	uint64_t refused = kint_refused_accesses(tool->conn);
	const struct page *page;
	bool gone, unused;

	gone = !kint_destroy_view(tool->conn, hidden.view);
	unused = gone || show_own(tool);
	if (hidden.step_view && !kint_destroy_view(tool->conn, hidden.step_view))
		hidden.step_view = 0;
	for (page = hidden.pages; page < hidden.pages + hidden.npages; page++) {
		if (page->ours && unused)
			kint_free_page(tool->conn, page->spare / PAGE_SIZE);
		if (page->ours)
			continue;
		/* A device may write there as well */
		make_copy(page, copy);
		if (unused && !kint_read_physical(tool->conn, page->spare, now, sizeof(now)) &&
		    !memcmp(now, copy, sizeof(copy)))
			kint_write_physical(tool->conn, page->spare, zero, sizeof(zero));
		/* The last: from now on the guest puts something there */
		if (!gone)
			set_access(tool, hidden.view, page->spare, KVMI_PAGE_ACCESS_RWX);
		if (hidden.step_view)
			set_access(tool, hidden.step_view, page->spare, KVMI_PAGE_ACCESS_RWX);
		set_access(tool, 0, page->spare, KVMI_PAGE_ACCESS_RWX);
	}
	hidden.npages = 0;
	if (refused)
		error("the guest uses memory that is for the tool: refused %llu times",
		      ull(refused));
}
