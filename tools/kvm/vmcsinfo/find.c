// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define PAGE			4096
/* Far more vCPUs than a host can have */
#define MAX_VMCS		(1u << 20)

#define CR0_PE			0x1ull
#define CR0_NE			0x20ull
#define CR0_PG			0x80000000ull
#define CR4_PAE			0x20ull
#define CR4_VMXE		0x2000ull
#define RFLAGS_FIXED		0x2ull
#define RFLAGS_RESERVED		(~0x3f7fd7ull)
#define SECONDARY_ACTIVE	0x80000000ull
#define SECONDARY_EPT		0x2ull

static bool eptp_ok(uint64_t eptp)
{
	const unsigned int type = eptp & 7, levels = (eptp >> 3 & 7) + 1;

	return (type == 0 || type == 6) && (levels == 4 || levels == 5) &&
	       !(eptp & 0xf00) && !(eptp >> 52);
}

static bool canonical_kernel(uint64_t address)
{
	return address >> 56 == 0xff;
}

static bool uses_ept(const struct layout *l, const uint8_t *region)
{
	return layout_value(l, region, PRIMARY_CONTROLS) & SECONDARY_ACTIVE &&
	       layout_value(l, region, SECONDARY_CONTROLS) & SECONDARY_EPT;
}

void vmcs_set(struct vmcs *v, const struct layout *l, uint64_t physical)
{
	v->physical = physical;
	v->eptp = uses_ept(l, v->region) ? layout_value(l, v->region, EPT_POINTER) : 0;
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
	struct vmcs *v;

	if (revision != s->layout->revision ||
	    !dump_read(s->dump, physical, region, PAGE) ||
	    !vmcs_plausible(s->layout, region, NULL))
		return;
	if (s->nr == MAX_VMCS)
		die("there are too many VMCSs: the dump or the layout is wrong");
	s->found = grow(s->found, s->nr, &s->room, sizeof(*v));
	v = &s->found[s->nr++];
	memcpy(v->region, region, PAGE);
	vmcs_set(v, s->layout, physical);
}

struct vmcs *vmcs_find(const struct dump *d, const struct layout *l, size_t *nr)
{
	struct search s = { .dump = d, .layout = l };

	dump_scan_heads(d, find_vmcs, &s);
	*nr = s.nr;
	return s.found;
}

static bool find_layout(void *arg, uint64_t physical, const uint8_t *data, size_t size)
{
	size_t i, used;

	(void)physical;
	for (i = 0; i + PAGE <= size; i += PAGE) {
		if (layout_parse_note(arg, data + i, PAGE, &used))
			return true;
	}
	return false;
}

bool layout_find(const struct dump *d, struct layout *l)
{
	return dump_scan(d, find_layout, l);
}
