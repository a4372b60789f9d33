// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kinds of access to pages and ranges of memory, as they are given and shown.
 */
#include <errno.h>
#include <string.h>
#include "tool.h"

/* By the bits of KVMI_PAGE_ACCESS_*: the last two are X for supervisor and user */
static const char letters[] = "rwxsu";

/* "rx"; "-" is none */
bool parse_access(const char *text, uint8_t *access)
{
	const char *letter;

	*access = 0;
	if (!strcmp(text, "-"))
		return true;
	if (!*text)
		return false;
	for (; *text; text++) {
		letter = strchr(letters, *text);
		if (!letter)
			return false;
		*access |= 1 << (letter - letters);
	}
	return true;
}

const char *access_letters(uint8_t access, char buf[8])
{
	unsigned int i, n = 0;

	for (i = 0; i < sizeof(letters) - 1; i++)
		if (access >> i & 1)
			buf[n++] = letters[i];
	if (!n)
		buf[n++] = '-';
	buf[n] = 0;
	return buf;
}

/* "START-LAST" or "START+LENGTH", in bytes; START alone is that page */
bool parse_extent(const char *text, uint64_t *start, uint64_t *size)
{
	char first[32];
	const char *rest = strpbrk(text, "+-");
	size_t len = rest ? (size_t)(rest - text) : strlen(text);
	uint64_t value;

	if (len >= sizeof(first))
		return false;
	memcpy(first, text, len);
	first[len] = 0;
	if (!parse_size(first, start))
		return false;
	if (!rest) {
		*size = PAGE_SIZE - *start % PAGE_SIZE;
		return true;
	}
	if (!parse_size(rest + 1, &value))
		return false;
	if (*rest == '-' && value < *start)
		return false;
	*size = *rest == '-' ? value - *start + 1 : value;
	return *size && *start + *size - 1 >= *start;
}

/*
 * Slots of the address space of system management mode, where that has one; negative if they
 * may not be asked for.  What is taken away elsewhere is not taken away there.
 */
static int smm_slots;

/* Can the host leave pages with this access?  Says what is wrong. */
int check_access(struct tool *tool, uint8_t access)
{
	struct kvmi_vm_get_features_reply f;
	uint8_t taken = KVMI_PAGE_ACCESS_RWX & ~access;
	const char *why = NULL;
	char buf[8];
	int err;

	tool->doing = "what the host can do";
	err = kint_get_features(tool->conn, &f);
	if (err)
		return err;
	if (access & (KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU))
		taken &= ~KVMI_PAGE_ACCESS_X;
	if (!f.access)
		why = "the host cannot take access to pages away: it has no EPT or NPT";
	else if ((access & KVMI_PAGE_ACCESS_W) && !(access & KVMI_PAGE_ACCESS_R))
		why = "pages that can be written can also be read";
	else if (access & ~f.access & (KVMI_PAGE_ACCESS_XS | KVMI_PAGE_ACCESS_XU))
		why = "the host cannot tell execution in the kernel from that in programs";
	else if (taken & ~f.access)
		why = "the host cannot take this access away";
	else if (access && !(access & KVMI_PAGE_ACCESS_R) && !(f.flags & KVMI_FEATURE_EXEC_ONLY))
		why = "the host has no pages that can be executed and not read";
	smm_slots = 0;
	if (!why && f.address_spaces > 1)
		smm_slots = kint_get_memslots(tool->conn, 1, NULL, 0, NULL);
	if (smm_slots < 0 && smm_slots != -EPERM)
		return smm_slots;
	if (!why)
		return 0;
	error("page access '%s': %s", access_letters(access, buf), why);
	return MONITOR_TOLD;
}

static int take_access_in(struct tool *tool, uint16_t as_id, uint64_t gpa, uint64_t size,
			  uint8_t access)
{
	struct kvmi_page_access_entry entry = { .gpa = gpa, .access = access };
	uint64_t pages = (gpa + size - 1) / PAGE_SIZE - gpa / PAGE_SIZE + 1;
	int err = 0;

	tool->doing = "taking access away";
	while (pages && !err) {
		entry.npages = pages < UINT32_MAX ? pages : UINT32_MAX;
		err = kint_set_page_access(tool->conn, 0, as_id, &entry, 1);
		entry.gpa += (uint64_t)entry.npages * PAGE_SIZE;
		pages -= entry.npages;
	}
	return err;
}

/*
 * Leave pages in view 0 with this access, after check_access().  -EINVAL if not all of them
 * are memory.  A guest's kernel that gets at SMRAM has code in SMM do what it cannot.
 */
int take_access(struct tool *tool, uint64_t gpa, uint64_t size, uint8_t access)
{
	int err = take_access_in(tool, 0, gpa, size, access);

	if (err || !smm_slots)
		return err;
	err = take_access_in(tool, 1, gpa, size, access);
	if (err != -EINVAL)
		return err;
	error("%s: %#llx-%#llx is not protected in SMM, where not all of it is memory",
	      tool->command, ull(gpa), ull(gpa + size - 1));
	return 0;
}

/* The same.  Says what is wrong. */
int restrict_pages(struct tool *tool, uint64_t gpa, uint64_t size, uint8_t access)
{
	int err = take_access(tool, gpa, size, access);

	if (err != -EINVAL)
		return err;
	error("not all of %#llx-%#llx is memory", ull(gpa), ull(gpa + size - 1));
	return MONITOR_TOLD;
}
