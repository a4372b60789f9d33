// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define PAGE			4096

#define CR0_PE			0x1ull
#define CR0_NE			0x20ull
#define CR0_PG			0x80000000ull
#define CR4_PAE			0x20ull
#define CR4_VMXE		0x2000ull
#define RFLAGS_FIXED		0x2ull
#define RFLAGS_RESERVED		(~0x3f7fd7ull)
#define SECONDARY_ACTIVE	0x80000000ull
#define SECONDARY_EPT		0x2ull

static bool canonical_kernel(uint64_t address)
{
	return address >> 56 == 0xff;
}

static bool uses_ept(const struct layout *l, const uint8_t *region)
{
	return layout_value(l, region, PRIMARY_CONTROLS) & SECONDARY_ACTIVE &&
	       layout_value(l, region, SECONDARY_CONTROLS) & SECONDARY_EPT;
}

bool vmcs_read(const struct dump *d, uint64_t physical, uint8_t *region)
{
	return dump_read(d, physical, region, PAGE);
}

void vmcs_set(struct vmcs *v, const struct layout *l, uint64_t physical,
	      const uint8_t *region)
{
	*v = (struct vmcs) { .physical = physical };
	if (uses_ept(l, region))
		v->eptp = layout_value(l, region, EPT_POINTER);
}

bool vmcs_plausible(const struct layout *l, const uint8_t *region, const char **why)
{
	const char *reason = NULL;
	uint64_t link;
	uint32_t head[2];

#define value(field)	layout_value(l, region, field)
	memcpy(head, region, sizeof(head));
	link = value(VMCS_LINK_POINTER);
	if (head[0] != l->revision)
		reason = "it has another revision";
	else if (head[1])
		reason = "its abort indicator is set";
	else if ((value(HOST_CR0) & (CR0_PE | CR0_NE | CR0_PG)) != (CR0_PE | CR0_NE | CR0_PG))
		reason = "CR0 of the host can't be right";
	else if ((value(HOST_CR4) & (CR4_PAE | CR4_VMXE)) != (CR4_PAE | CR4_VMXE))
		reason = "CR4 of the host can't be right";
	else if (!canonical_kernel(value(HOST_RIP)))
		reason = "RIP of the host is not in the kernel";
	else if (!value(HOST_CR3) || value(HOST_CR3) >> 52)
		reason = "CR3 of the host can't be right";
	else if (link != ~0ull && (link & 0xfff || link >> 52))
		reason = "the link pointer can't be right";
	else if ((value(GUEST_RFLAGS) & (RFLAGS_FIXED | RFLAGS_RESERVED)) != RFLAGS_FIXED)
		reason = "RFLAGS of the guest can't be right";
	else if (uses_ept(l, region) && !eptp_ok(value(EPT_POINTER)))
		reason = "the EPT pointer can't be right";
#undef value
	if (why)
		*why = reason;
	return !reason;
}

struct search {
	const struct dump *dump;
	const struct layout *layout;
	struct vmcs *found;
	size_t nr, room;
};

static void find_vmcs(void *arg, uint64_t physical, uint32_t revision)
{
	struct search *s = arg;
	uint8_t region[PAGE];

	if (revision != s->layout->revision || !vmcs_read(s->dump, physical, region) ||
	    !vmcs_plausible(s->layout, region, NULL))
		return;
	s->found = grow(s->found, s->nr, &s->room, sizeof(*s->found));
	vmcs_set(&s->found[s->nr++], s->layout, physical, region);
}

struct vmcs *vmcs_find(struct dump *d, const struct layout *l, size_t *nr)
{
	struct search s = { .dump = d, .layout = l };

	dump_scan_heads(d, find_vmcs, &s);
	*nr = s.nr;
	return s.found;
}

struct layouts {
	const char *dump;
	struct layout *layout;
	bool found;
	uint64_t where;
};

/*
 * The memory of guests is searched, too, and so are files in the page cache.  Which of
 * two is that of this host can't be told.
 */
static void find_layout(void *arg, uint64_t physical, const uint8_t *data, size_t size)
{
	struct layouts *s = arg;
	struct layout l;
	size_t i, used;

	for (i = 0; i < size; i += PAGE) {
		if (!layout_parse_note(&l, data + i, PAGE, &used))
			continue;
		if (!s->found) {
			*s->layout = l;
			s->where = physical + i;
			s->found = true;
		} else if (!layout_equal(s->layout, &l)) {
			die("%s: there are different layouts in it, of revision 0x%x at 0x%"
			    PRIx64 " and of revision 0x%x at 0x%" PRIx64
			    ": a guest may have written one (use -l)", s->dump,
			    s->layout->revision, s->where, l.revision, physical + i);
		}
	}
}

bool layout_find(struct dump *d, struct layout *l)
{
	struct layouts s = { .dump = d->name, .layout = l };

	dump_scan(d, find_layout, &s);
	return s.found;
}
