// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: breakpoints and watchpoints, none of which the guest can see.
 *
 * A software breakpoint is an INT3 in a copy of its page, see hidden.c.  On a host that
 * has pages which can be executed and not read, the vCPUs run in the view with the copies.
 * On another one they run in view 0, where the page itself cannot be executed; one that
 * is about to goes to the view with the copies, where nothing else can, and comes back from
 * there with the first instruction elsewhere.  If there is no room for copies, and for
 * hardware breakpoints, each instruction of the page asks first.  Watchpoints take the
 * right to read or write away from their pages.
 *
 * gdb takes all of them away when it stops, and puts them back to go on.  What that
 * comes to is done when vCPUs are about to run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "gdb.h"

#define MAX_POINTS	4096
#define MAX_WATCHED	(1 << 20)	/* bytes of one */
#define MAX_SLOTS	512
#define MAX_ACCESS	64		/* bytes that an instruction accesses at once */
#define LIKELY_ACCESS	8		/* if it cannot be found out */
#define LONGEST_INSN	15
/* Bits of CR3 that do not say which page tables: PCID, and LAM */
#define NOT_TABLES	(3ull << 61 | 0xfff)

struct point {
	struct point *next;
	enum gdb_point_type type;
	uint64_t gva, size;
	bool wanted;		/* gdb has it */
	bool in;		/* vCPUs stop there */
	bool copy;		/* by an INT3 */
	unsigned char *old;	/* of what is watched for writes */
	unsigned int npages;
	uint64_t pages[];	/* physical addresses, or UNMAPPED */
};

struct restriction {
	uint64_t gpa;
	uint8_t access;
};

static struct {
	bool visible;		/* --visible */

	uint8_t can_take;	/* KVMI_PAGE_ACCESS_* */
	bool exec_only;
	bool copies;		/* can be made */
	bool around;		/* vCPUs run around the view of the copies, not in it */
	bool traps;		/* ACCESS events */
	bool hidden;		/* there is a view of hidden breakpoints */
	bool redo;		/* pages of it have been changed */
	struct point *points;
	unsigned int npoints;
	struct restriction *restricted;
	unsigned int nrestricted;
	bool filter;
	uint64_t cr3, not_tables;
} brk;

void gdb_break_options(bool visible)
{
	brk.visible = visible;
}

int gdb_break_begin(struct tool *tool)
{
	struct kvmi_vm_get_features_reply f;
	int err;

	err = kint_get_features(tool->conn, &f);
	/* An older kernel, which has nothing of all this */
	if (err == -ENOSYS || err == -EPERM)
		return 0;
	if (err)
		return err;
	brk.can_take = f.access;
	brk.exec_only = f.flags & KVMI_FEATURE_EXEC_ONLY;
	brk.copies = f.views > 1 && (f.flags & KVMI_FEATURE_SINGLESTEP);
	brk.around = !brk.exec_only && !brk.visible;
	brk.traps = true;
	return 0;
}

/* What may not be reported is done without, as far as that goes */
static int turn_on(struct tool *tool, struct gdb_vcpu *v, uint16_t event, bool *without)
{
	int err = turn_event_on(tool, v->nr, event);

	if (err != -EPERM && err != -EOPNOTSUPP && err != -EBUSY && err != -EINVAL)
		return err;
	*without = true;
	return 0;
}

int gdb_break_arm(struct tool *tool, struct gdb_vcpu *v)
{
	bool no_breakpoints = false, no_faults = !brk.can_take, no_traps = no_faults;
	int err;

	err = turn_on(tool, v, KVMI_VCPU_EVENT_BREAKPOINT, &no_breakpoints);
	if (!err && !no_faults)
		err = turn_on(tool, v, KVMI_VCPU_EVENT_PF, &no_faults);
	if (!err && !no_faults)
		err = turn_on(tool, v, KVMI_VCPU_EVENT_ACCESS, &no_traps);
	if (no_breakpoints || no_faults)
		brk.copies = false;
	if (no_faults)
		brk.can_take = 0;
	if (no_traps)
		brk.traps = false;
	return err;
}

/* Where the vCPU runs, when it is not to be in the guest's own memory for a step */
uint16_t gdb_break_view(const struct gdb_vcpu *v)
{
	return brk.hidden && (v->inside || !brk.around) ? hidden_view() : 0;
}

void gdb_break_no_filter(void)
{
	brk.filter = false;
}

/*
 * Only the stops of the process with these page tables count.  They may be two, the kernel's and
 * the program's, where the kernel is isolated.
 */
int gdb_break_filter(struct tool *tool, const struct gdb_vcpu *v, uint64_t cr3)
{
	struct kvm_sregs sregs = v->event.common.arch.sregs;
	int err;

	sregs.cr3 = cr3 | PTI_USER_TABLE;
	err = kernel_tables(tool, &sregs);
	if (err && err != -EOPNOTSUPP)
		return err;
	brk.filter = true;
	brk.cr3 = cr3;
	brk.not_tables = NOT_TABLES;
	if (!err && !(sregs.cr3 & PTI_USER_TABLE))
		brk.not_tables |= PTI_USER_TABLE;
	return 0;
}

static bool filtered(const struct gdb_vcpu *v)
{
	return brk.filter && (v->event.common.arch.sregs.cr3 ^ brk.cr3) & ~brk.not_tables;
}

/* ---- What gdb wants ---- */
static bool is_mapped(const struct point *p)
{
	unsigned int i;

	for (i = 0; i < p->npages; i++)
		if (p->pages[i] == UNMAPPED)
			return false;
	return true;
}

/* Where it is, by the page tables of @sregs, or of a vCPU, or of the process chosen */
static int map_point(struct tool *tool, struct point *p, const struct gdb_vcpu *v,
		     const struct kvm_sregs *sregs)
{
	struct kvm_sregs chosen = v->event.common.arch.sregs;
	unsigned int i;
	uint64_t gva;
	int err;

	if (brk.filter) {
		chosen.cr3 = brk.cr3;
		sregs = &chosen;
	}
	for (i = 0; i < p->npages; i++) {
		if (p->pages[i] != UNMAPPED)
			continue;
		gva = p->gva - p->gva % PAGE_SIZE + (uint64_t)i * PAGE_SIZE;
		err = gdb_translate(tool, v, sregs, gva, &p->pages[i]);
		if (err)
			p->pages[i] = UNMAPPED;
		if (err && err != -EFAULT)
			return err;
		if (!err)
			p->pages[i] -= p->pages[i] % PAGE_SIZE;
	}
	return 0;
}

static bool is_breakpoint(const struct point *p)
{
	return p->type == GDB_SOFTWARE || p->type == GDB_HARDWARE;
}

/* What is to be taken away from its pages */
static uint8_t taken_for(enum gdb_point_type type)
{
	switch (type) {
	case GDB_SOFTWARE:
	case GDB_HARDWARE:
		return KVMI_PAGE_ACCESS_X;
	case GDB_WRITE:
		return KVMI_PAGE_ACCESS_W;
	default:
		return KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W;
	}
}

static bool can_take(uint8_t access)
{
	/* Where R cannot be taken alone all goes with it */
	if ((access & KVMI_PAGE_ACCESS_R) && !(brk.can_take & KVMI_PAGE_ACCESS_R))
		access = KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X;
	return !(access & ~brk.can_take);
}

static struct point *find_point(enum gdb_point_type type, uint64_t gva, uint64_t size)
{
	struct point *p;

	for (p = brk.points; p; p = p->next)
		if (p->type == type && p->gva == gva && p->size == size)
			return p;
	return NULL;
}

static void free_point(struct point *p)
{
	struct point **link;

	for (link = &brk.points; *link != p; link = &(*link)->next)
		;
	*link = p->next;
	brk.npoints--;
	free(p->old);
	free(p);
}

/* @size: of a breakpoint it does not matter */
int gdb_break_insert(struct tool *tool, enum gdb_point_type type, uint64_t gva, uint64_t size)
{
	const struct gdb_vcpu *v = gdb_stopped_vcpu(-1);
	unsigned int npages, i;
	struct point *p;
	int err;

	if (type == GDB_SOFTWARE || type == GDB_HARDWARE)
		size = 1;
	if (!size || size > MAX_WATCHED || gva + size < gva)
		return -EINVAL;
	if (!can_take(taken_for(type)) && !(type == GDB_SOFTWARE && brk.copies))
		return -EOPNOTSUPP;
	p = find_point(type, gva, size);
	if (p) {
		p->wanted = true;
		return 0;
	}
	if (brk.npoints == MAX_POINTS)
		return -ENOSPC;
	npages = (gva % PAGE_SIZE + size - 1) / PAGE_SIZE + 1;
	p = calloc(1, sizeof(*p) + npages * sizeof(p->pages[0]));
	if (!p)
		return -ENOMEM;
	*p = (struct point){
		.next = brk.points, .type = type, .gva = gva, .size = size, .npages = npages,
		.wanted = true,
	};
	for (i = 0; i < npages; i++)
		p->pages[i] = UNMAPPED;
	if (type == GDB_WRITE)
		p->old = calloc(1, size);
	brk.points = p;
	brk.npoints++;
	err = type == GDB_WRITE && !p->old ? -ENOMEM : map_point(tool, p, v, NULL);
	if (err)
		free_point(p);
	return err;
}

/* False if there is none */
bool gdb_break_remove(enum gdb_point_type type, uint64_t gva, uint64_t size)
{
	struct point *p = find_point(type, gva, type <= GDB_HARDWARE ? 1 : size);

	if (!p || !p->wanted)
		return false;
	p->wanted = false;
	return true;
}

void gdb_break_remove_all(void)
{
	struct point *p;

	for (p = brk.points; p; p = p->next)
		p->wanted = false;
}

/* There are some at what is not mapped yet */
bool gdb_break_wants_crs(void)
{
	const struct point *p;

	for (p = brk.points; p; p = p->next)
		if (p->wanted && !p->in)
			return true;
	return false;
}

/* ---- What vCPUs stop at ---- */
static uint64_t gpa_of(const struct point *p)
{
	return p->pages[0] + p->gva % PAGE_SIZE;
}

/* The part of it in one of its pages: physical, and where that is in what is watched */
static void part_of(const struct point *p, unsigned int page, uint64_t *gpa, uint64_t *size,
		    uint64_t *offset)
{
	uint64_t before = page ? 0 : p->gva % PAGE_SIZE;
	uint64_t start = page ? page * (uint64_t)PAGE_SIZE - p->gva % PAGE_SIZE : 0;

	*gpa = p->pages[page] + before;
	*size = PAGE_SIZE - before;
	if (*size > p->size - start)
		*size = p->size - start;
	*offset = start;
}

static int read_watched(struct tool *tool, const struct point *p, unsigned char *data)
{
	uint64_t gpa, size, offset;
	unsigned int i;
	int err = 0;

	for (i = 0; i < p->npages && !err; i++) {
		part_of(p, i, &gpa, &size, &offset);
		err = kint_read_physical(tool->conn, gpa, data + offset, size);
	}
	return err;
}

static uint8_t copy_access(void)
{
	return KVMI_PAGE_ACCESS_X | (brk.exec_only ? 0 : KVMI_PAGE_ACCESS_R);
}

static int set_access(struct tool *tool, uint16_t view, uint64_t gpa, uint8_t access,
		      uint32_t npages)
{
	struct kvmi_page_access_entry entry = {
		.gpa = gpa, .access = access, .npages = npages
	};

	return kint_set_page_access(tool->conn, view, 0, &entry, 1);
}

/* Without R there is no W, and on some hosts no X */
static uint8_t possible(uint8_t access)
{
	if (access & KVMI_PAGE_ACCESS_R)
		return access;
	return brk.exec_only ? access & KVMI_PAGE_ACCESS_X : 0;
}

static int restrict_page(struct tool *tool, const struct restriction *r)
{
	uint8_t access = r->access;
	int err = set_access(tool, 0, r->gpa, possible(access), 1);

	if (err || !brk.hidden)
		return err;
	if (hidden_has(r->gpa))
		access = brk.around || (access & KVMI_PAGE_ACCESS_X) ? copy_access() : 0;
	else if (brk.around)
		access &= ~KVMI_PAGE_ACCESS_X;
	return set_access(tool, hidden_view(), r->gpa, possible(access), 1);
}

/* Around the copies nothing can be executed in their view */
static int begin_hidden(struct tool *tool)
{
	struct kvmi_memslot slots[MAX_SLOTS];
	int n = 0, i, err;

	if (brk.around)
		n = kint_get_memslots(tool->conn, 0, slots, MAX_SLOTS, NULL);
	if (n < 0 || n > MAX_SLOTS)
		return n < 0 ? n : -ENOSPC;
	err = hidden_begin(tool, brk.around ? KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W :
			   KVMI_PAGE_ACCESS_RWX);
	if (err)
		return err;
	brk.hidden = true;
	for (i = 0; i < n && !err; i++)
		err = set_access(tool, hidden_view(), slots[i].gfn * PAGE_SIZE,
				 KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W, slots[i].npages);
	return err;
}

static struct restriction *restriction_of(struct restriction *list, unsigned int n, uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (list[i].gpa == gpa)
			return &list[i];
	return NULL;
}

/* All that is to be in force, from all points.  NULL without memory. */
static struct restriction *make_restrictions(unsigned int *n)
{
	struct restriction *list, *r;
	const struct point *p;
	unsigned int i;
	size_t max = 1;

	for (p = brk.points; p; p = p->next)
		max += p->npages;
	list = calloc(max, sizeof(*list));
	*n = 0;
	for (p = brk.points; list && p; p = p->next) {
		for (i = 0; p->in && (!p->copy || brk.around) && i < p->npages; i++) {
			r = restriction_of(list, *n, p->pages[i]);
			if (!r) {
				r = &list[(*n)++];
				*r = (struct restriction){ p->pages[i], KVMI_PAGE_ACCESS_RWX };
			}
			r->access &= ~taken_for(p->type);
			/* A copy follows what is written */
			if (p->copy)
				r->access &= ~KVMI_PAGE_ACCESS_W;
		}
	}
	return list;
}

static int update_restrictions(struct tool *tool)
{
	struct restriction *list, *r;
	unsigned int n, i;
	int err = 0;

	list = make_restrictions(&n);
	if (!list)
		return -ENOMEM;
	for (i = 0; i < brk.nrestricted && !err; i++) {
		r = &brk.restricted[i];
		if (restriction_of(list, n, r->gpa))
			continue;
		r->access = KVMI_PAGE_ACCESS_RWX;
		err = restrict_page(tool, r);
	}
	for (i = 0; i < n && !err; i++) {
		r = restriction_of(brk.restricted, brk.nrestricted, list[i].gpa);
		if (brk.redo || !r || r->access != list[i].access)
			err = restrict_page(tool, &list[i]);
	}
	free(brk.restricted);
	brk.restricted = list;
	brk.nrestricted = n;
	brk.redo = false;
	return err;
}

/*
 * By an INT3 in a copy of the page if that can be, else by not letting it be executed,
 * which around the copies works for a page without one only.
 */
static int put_copy(struct tool *tool, struct point *p)
{
	int err = 0;

	if (!brk.hidden)
		err = begin_hidden(tool);
	if (!err)
		err = hidden_add(tool, gpa_of(p), copy_access());
	brk.redo = true;
	p->copy = !err;
	if (err == MONITOR_TOLD && can_take(KVMI_PAGE_ACCESS_X) &&
	    !(brk.around && hidden_has(gpa_of(p))))
		err = 0;
	return err == MONITOR_TOLD ? -ENOSPC : err;
}

static int put_in(struct tool *tool, struct point *p)
{
	int err = 0;

	/* A page that has copies is executed in their view, where there is nothing else */
	if (brk.copies && (p->type == GDB_SOFTWARE || (p->type == GDB_HARDWARE && brk.around)))
		err = put_copy(tool, p);
	if (!err)
		p->in = true;
	return err;
}

static int take_out(struct tool *tool, struct point *p)
{
	int err = 0;

	if (p->copy) {
		brk.redo = true;
		err = hidden_remove(tool, gpa_of(p));
	}
	free_point(p);
	return err;
}

/* Have the vCPUs stop where gdb wants them to; @removals: and nowhere else */
int gdb_break_apply(struct tool *tool, bool removals)
{
	const struct gdb_vcpu *v = gdb_stopped_vcpu(-1);
	struct point *p, *next;
	int err = 0;

	for (p = brk.points; p && !err; p = next) {
		next = p->next;
		if (!p->wanted && (removals || !p->in))
			err = take_out(tool, p);
		else if (p->wanted && !p->in)
			err = map_point(tool, p, v, NULL);
	}
	for (p = brk.points; p && !err; p = p->next)
		if (p->wanted && !p->in && is_mapped(p))
			err = put_in(tool, p);
	if (!err)
		err = update_restrictions(tool);
	/* gdb may have written to both */
	for (p = brk.points; p && !err; p = p->next)
		if (p->in && p->old)
			err = read_watched(tool, p, p->old);
	return !err && brk.hidden ? hidden_refresh(tool) : err;
}

int gdb_break_tick(struct tool *tool)
{
	return brk.hidden ? hidden_refresh(tool) : 0;
}

/* ---- What they do there ---- */
static const struct point *copy_at(uint64_t gpa)
{
	const struct point *p;

	for (p = brk.points; p; p = p->next)
		if (p->in && p->copy && gpa_of(p) == gpa)
			return p;
	return NULL;
}

static bool is_hidden(uint16_t view)
{
	return brk.hidden && view == hidden_view();
}

/* Is it one of those in copies?  Else the guest has its own INT3 there. */
static bool is_ours(const struct kint_event *event)
{
	return event->id == KVMI_VCPU_EVENT_BREAKPOINT && is_hidden(event->common.arch.view) &&
	       copy_at(event->breakpoint.gpa);
}

/* In the guest's own memory, for an instruction, from the answer on */
static void begin_excursion(struct gdb_vcpu *v)
{
	v->excursion = true;
	v->from = v->event.common.arch.regs.rip;
}

static int make_excursion(struct tool *tool, struct gdb_vcpu *v)
{
	begin_excursion(v);
	return gdb_answer(tool, v, KVMI_EVENT_ACTION_RETRY);
}

int gdb_on_breakpoint(struct tool *tool, struct gdb_vcpu *v)
{
	const struct point *p;

	if (!is_ours(&v->event))
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
	p = copy_at(v->event.breakpoint.gpa);
	if (filtered(v) || !p->wanted)
		return make_excursion(tool, v);
	v->reason = p->type == GDB_SOFTWARE ? GDB_SWBREAK : GDB_HWBREAK;
	return 0;
}

/* Is it the rest of an instruction that cannot be fetched, in the page behind? */
static bool is_second_page(const struct gdb_vcpu *v)
{
	return !(v->event.pf.gpa % PAGE_SIZE) &&
	       gdb_pc(&v->event.common.arch) % PAGE_SIZE > PAGE_SIZE - LONGEST_INSN;
}

/* At the instruction that cannot be fetched, and not at the second page of it */
static const struct point *point_at_fetch(const struct gdb_vcpu *v)
{
	uint64_t pc = gdb_pc(&v->event.common.arch), gpa = v->event.pf.gpa;
	const struct point *p;

	if (is_second_page(v))
		return NULL;
	gpa += pc % PAGE_SIZE - gpa % PAGE_SIZE;
	for (p = brk.points; p; p = p->next)
		if (p->in && p->wanted && !p->copy && is_breakpoint(p) && gpa_of(p) == gpa)
			return p;
	return NULL;
}

static bool concerns(const struct point *p, uint8_t access)
{
	return p->in && p->wanted && !is_breakpoint(p) &&
	       ((access & KVMI_PAGE_ACCESS_W) ? p->type != GDB_READ : p->type != GDB_WRITE);
}

static void note_access(struct gdb_vcpu *v, const struct point *p, uint64_t address)
{
	/* Of writes the result is looked at, see gdb_break_stepped() */
	if (p->type == GDB_WRITE)
		return;
	v->seen = p->type == GDB_READ ? GDB_RWATCH : GDB_AWATCH;
	v->seen_at = address;
}

/*
 * The access begins at @gpa, and has @size bytes; 0 if that is not known.  Sets
 * @v->watching, and returns true if it should be known.
 */
static bool look_at_access(struct gdb_vcpu *v, uint64_t gpa, uint64_t size, uint8_t access,
			   bool guess)
{
	uint64_t start, length, offset;
	const struct point *p;
	bool unclear = false;
	unsigned int i;

	for (p = brk.points; p; p = p->next) {
		for (i = 0; concerns(p, access) && i < p->npages; i++) {
			part_of(p, i, &start, &length, &offset);
			if (gpa >= start + length || gpa + (size ? size : MAX_ACCESS) <= start)
				continue;
			v->watching = true;
			if (gpa >= start || size || (guess && start - gpa < LIKELY_ACCESS))
				note_access(v, p, p->gva + offset +
					    (gpa > start ? gpa - start : 0));
			else if (p->type != GDB_WRITE && !guess)
				unclear = true;
		}
	}
	return unclear;
}

static int on_data(struct tool *tool, struct gdb_vcpu *v)
{
	const struct kvmi_vcpu_event_pf *pf = &v->event.pf;
	bool guess = !brk.traps || (pf->flags & KVMI_PF_NOT_EMULATED), unclear;
	int err;

	if (hidden_is_copy(pf->gpa) && (pf->access & KVMI_PAGE_ACCESS_W)) {
		err = hidden_move(tool, pf->gpa);
		return err ? err : gdb_answer(tool, v, KVMI_EVENT_ACTION_RETRY);
	}
	if (is_hidden(v->event.common.arch.view) && hidden_has(pf->gpa))
		return make_excursion(tool, v);
	/* In the guest's own memory, which the copy has to follow */
	if (brk.around && brk.hidden && hidden_has(pf->gpa) && (pf->access & KVMI_PAGE_ACCESS_W))
		begin_excursion(v);
	if (filtered(v))
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
	if (!v->watching)
		v->from = v->event.common.arch.regs.rip;
	unclear = look_at_access(v, pf->gpa, 0, pf->access & KVMI_PAGE_ACCESS_R, guess);
	unclear |= look_at_access(v, pf->gpa, 0, pf->access & KVMI_PAGE_ACCESS_W, guess);
	return gdb_answer_pf(tool, v, unclear ? KVMI_PF_TRAP_ACCESS : 0);
}

int gdb_on_page_fault(struct tool *tool, struct gdb_vcpu *v)
{
	const struct point *p = NULL;

	if (!(v->event.pf.access & KVMI_PAGE_ACCESS_X))
		return on_data(tool, v);
	/*
	 * To and from the view of the copies, if not in the guest's own memory for a step.
	 * In neither view can both pages of an instruction be executed: it stays.
	 */
	if (brk.around && brk.hidden && v->want != GDB_STEP && !v->excursion &&
	    !is_second_page(v) &&
	    is_hidden(v->event.common.arch.view) != hidden_has(v->event.pf.gpa)) {
		v->inside = hidden_has(v->event.pf.gpa);
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_RETRY);
	}
	/* One that steps has stopped there before */
	if (v->want != GDB_STEP && !filtered(v))
		p = point_at_fetch(v);
	if (!p)
		return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
	v->reason = p->type == GDB_SOFTWARE ? GDB_SWBREAK : GDB_HWBREAK;
	return 0;
}

int gdb_on_access(struct tool *tool, struct gdb_vcpu *v)
{
	const struct kvmi_vcpu_event_access *a = &v->event.access;
	int ret;

	look_at_access(v, a->gpa, a->size, a->access, true);
	ret = brk.hidden ? hidden_on_access(tool, a) : 0;
	if (ret < 0)
		return ret;
	if (ret)
		begin_excursion(v);
	return gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
}

/* Has anything that is watched for writes changed? */
static int compare_watched(struct tool *tool, struct gdb_vcpu *v)
{
	unsigned char *now;
	struct point *p;
	int err = 0;

	for (p = brk.points; p && !err; p = p->next) {
		if (!p->in || !p->wanted || !p->old)
			continue;
		now = malloc(p->size);
		err = now ? read_watched(tool, p, now) : -ENOMEM;
		if (!err && memcmp(now, p->old, p->size)) {
			v->reason = GDB_WATCH;
			v->address = p->gva;
			memcpy(p->old, now, p->size);
		}
		free(now);
	}
	return err;
}

/* Is it still watched? */
bool gdb_break_watches(uint64_t address)
{
	const struct point *p;

	for (p = brk.points; p; p = p->next)
		if (p->wanted && !is_breakpoint(p) && address - p->gva < p->size)
			return true;
	return false;
}

/* An instruction has been executed for the tool's sake, or gdb's */
int gdb_break_stepped(struct tool *tool, struct gdb_vcpu *v)
{
	int err = 0;

	if (v->excursion)
		err = hidden_refresh(tool);
	if (!err && v->watching)
		err = compare_watched(tool, v);
	if (!v->reason && v->seen) {
		v->reason = v->seen;
		v->address = v->seen_at;
	}
	v->excursion = false;
	v->watching = false;
	v->seen = GDB_NO_REASON;
	return err;
}

/* Other page tables: what was not mapped may be */
int gdb_on_cr(struct tool *tool, struct gdb_vcpu *v)
{
	struct kvm_sregs sregs = v->event.common.arch.sregs;
	bool found = false;
	struct point *p;
	unsigned int i;
	int err = 0;

	if (v->event.cr.cr == 3)
		sregs.cr3 = v->event.cr.new_value;
	for (p = brk.points; p && !err; p = p->next) {
		if (!p->wanted || p->in)
			continue;
		err = map_point(tool, p, v, &sregs);
		found |= is_mapped(p);
	}
	if (!err && found)
		err = gdb_break_apply(tool, false);
	/* The others run, in the view that they are in */
	for (i = 0; found && brk.hidden && !brk.around && gdb_vcpu(i) && !err; i++) {
		if (gdb_vcpu(i) == v || gdb_vcpu(i)->stopped || gdb_vcpu(i)->silent)
			continue;
		err = kint_set_view(tool->conn, i, hidden_view());
		if (err == -EAGAIN)
			err = 0;
	}
	return err ? err : gdb_answer(tool, v, KVMI_EVENT_ACTION_ALLOW);
}

/* ---- The end ---- */
static void last_event(struct tool *tool, const struct kint_event *event, bool repeats)
{
	if (repeats || is_ours(event))
		kint_reply(tool->conn, event, KVMI_EVENT_ACTION_RETRY);
	else
		pass_by(tool, event);
}

static int last_events(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	const struct gdb_vcpu *v;

	(void)conn;
	if (!event->is_vcpu)
		return 0;
	v = gdb_vcpu(event->common.vcpu);
	last_event(arg, event, !(v && v->armed) && takeover_repeats(event));
	return 0;
}

/*
 * Undo everything.  Before breakpoints are no longer reported no vCPU may run into
 * one: all go back to view 0, where there are none.  Returns 0, or the first error: then
 * something is left to the device manager.
 */
int gdb_break_end(struct tool *tool)
{
	struct gdb_vcpu *v;
	int err = 0, ret;
	unsigned int i;

	if (brk.hidden)
		err = hidden_leave(tool, tool->vcpus);
	for (i = 0; (v = gdb_vcpu(i)); i++) {
		if (v->singlestep) {
			ret = kint_control_singlestep(tool->conn, i, false);
			err = err ? err : ret;
		}
		if (v->stopped)
			last_event(tool, &v->event, v->repeats);
	}
	kint_dispatch(tool->conn, last_events, tool);
	leave_within(tool, LEAVE_VM_MS);
	for (i = 0; i < brk.nrestricted; i++) {
		brk.restricted[i].access = KVMI_PAGE_ACCESS_RWX;
		ret = restrict_page(tool, &brk.restricted[i]);
		err = err ? err : ret;
	}
	if (brk.hidden)
		hidden_end(tool);
	while (brk.points)
		free_point(brk.points);
	free(brk.restricted);
	brk.restricted = NULL;
	brk.nrestricted = 0;
	brk.hidden = false;
	return err;
}
