/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_ASM_X86_VMCSINFO_H
#define _UAPI_ASM_X86_VMCSINFO_H

#include <linux/types.h>

/*
 * Where a processor keeps the fields of a VMCS in the VMCS region: the contents
 * of /sys/devices/system/cpu/vmcs_note.  It is an ELF note with this name and
 * type, and a descriptor of struct vmcsinfo_header and as many of struct
 * vmcsinfo_field as that counts, in ascending order of their encodings.
 */
#define VMCSINFO_NOTE_NAME	"VMCSINFO"
#define VMCSINFO_NOTE_TYPE	1

#define VMCSINFO_VERSION	1

struct vmcsinfo_header {
	__u32 version;
	/* VMCS revision identifier, the first four bytes of a region */
	__u32 revision;
	/* In bytes */
	__u32 region_size;
	__u32 nr_fields;
};

struct vmcsinfo_field {
	/* Of the whole field, i.e. bit 0 is clear */
	__u32 encoding;
	/* 0: there is no such field, or it is not known where */
	__u16 offset;
	/* How many bytes it takes in the region: 2, 4 or 8, or 0 as above */
	__u8 size;
	/* VMCSINFO_LAYOUT_* */
	__u8 layout;
};

#define VMCSINFO_LAYOUT_LITTLE_ENDIAN	0
#define VMCSINFO_LAYOUT_BIG_ENDIAN	1
/*
 * Processors keep the access rights of segments in another form than VMREAD
 * returns: rotated left by 8 bits; or in two bytes, with the bit for an unusable
 * segment (16) as bit 11.
 */
#define VMCSINFO_LAYOUT_ROTATED		2
#define VMCSINFO_LAYOUT_PACKED		3

#endif /* _UAPI_ASM_X86_VMCSINFO_H */
