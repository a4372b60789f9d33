/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a processor keeps the fields of a VMCS, and values by it */
#ifndef VMCSINFO_LAYOUT_H
#define VMCSINFO_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/vmcsinfo.h>

/* The note is what the kernel has one page for; many more fields than there are */
#define MAX_NOTE	4096
#define MAX_FIELDS	512

/* Encodings that the tool itself asks for */
enum {
	GUEST_ES_SELECTOR	= 0x0800,
	GUEST_CS_SELECTOR	= 0x0802,
	GUEST_SS_SELECTOR	= 0x0804,
	GUEST_DS_SELECTOR	= 0x0806,
	GUEST_FS_SELECTOR	= 0x0808,
	GUEST_GS_SELECTOR	= 0x080a,
	GUEST_LDTR_SELECTOR	= 0x080c,
	GUEST_TR_SELECTOR	= 0x080e,
	EPT_POINTER		= 0x201a,
	VMCS_LINK_POINTER	= 0x2800,
	PRIMARY_CONTROLS	= 0x4002,
	ENTRY_CONTROLS		= 0x4012,
	SECONDARY_CONTROLS	= 0x401e,
	GUEST_ES_LIMIT		= 0x4800,
	GUEST_GDTR_LIMIT	= 0x4810,
	GUEST_IDTR_LIMIT	= 0x4812,
	GUEST_ES_RIGHTS		= 0x4814,
	GUEST_CR0		= 0x6800,
	GUEST_CR3		= 0x6802,
	GUEST_CR4		= 0x6804,
	GUEST_ES_BASE		= 0x6806,
	GUEST_FS_BASE		= 0x680e,
	GUEST_GS_BASE		= 0x6810,
	GUEST_GDTR_BASE		= 0x6816,
	GUEST_IDTR_BASE		= 0x6818,
	GUEST_RSP		= 0x681c,
	GUEST_RIP		= 0x681e,
	GUEST_RFLAGS		= 0x6820,
	HOST_CR0		= 0x6c00,
	HOST_CR3		= 0x6c02,
	HOST_CR4		= 0x6c04,
	HOST_RIP		= 0x6c16,
};

struct layout {
	uint32_t revision;
	uint32_t region_size;
	unsigned int nr;
	struct vmcsinfo_field fields[MAX_FIELDS];
};

/* The descriptor of a note, false if it is none that can be right */
bool layout_parse(struct layout *l, const void *desc, size_t size);

/* A whole note, as it is in sysfs and in memory; its size is returned in @used */
bool layout_parse_note(struct layout *l, const void *note, size_t size, size_t *used);

bool layout_equal(const struct layout *a, const struct layout *b);

const struct vmcsinfo_field *layout_field(const struct layout *l, uint32_t encoding);

/* The value of a field in @region, of region_size bytes; false if it's not known */
bool layout_get(const struct layout *l, const uint8_t *region, uint32_t encoding,
		uint64_t *value);

/* Zero if it's not known */
uint64_t layout_value(const struct layout *l, const uint8_t *region, uint32_t encoding);

/* Name of a field, NULL if it has none */
const char *field_name(uint32_t encoding);

#endif /* VMCSINFO_LAYOUT_H */
