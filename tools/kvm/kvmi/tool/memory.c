// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the guest has memory, and reading of it where some of that is missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define TRIES 10

/* Returns how many there are, *@slots being the caller's to free */
int read_slots(struct tool *tool, uint16_t as_id, struct kvmi_memslot **slots, uint32_t *cookie)
{
	unsigned int max = 64, tries;
	int n;

	for (tries = 0; tries < TRIES; tries++) {
		free(*slots);
		*slots = calloc(max, sizeof(**slots));
		if (!*slots)
			return -ENOMEM;
		n = kint_get_memslots(tool->conn, as_id, *slots, max, cookie);
		if (n > (int)max)
			max = n;
		else if (n != -EAGAIN)
			return n;
	}
	return -EAGAIN;
}

/* Of memory that the device manager has added for the tool, and not for the guest? */
bool is_tool_slot(const struct tool *tool, const struct kvmi_memslot *slot)
{
	const struct kint_peer *peer = kint_peer_info(tool->conn);
	uint64_t first = peer->tool_gpa / PAGE_SIZE;

	return slot->gfn >= first && slot->gfn - first < peer->tool_size / PAGE_SIZE;
}

/* Like kint_read_physical(), and a page that is no memory reads as zero */
int read_or_zero(struct tool *tool, uint64_t gpa, void *buf, size_t size)
{
	int err = kint_read_physical(tool->conn, gpa, buf, size);
	size_t part;

	if (err != -ENOENT)
		return err;
	for (; size; size -= part, gpa += part, buf = (char *)buf + part) {
		part = PAGE_SIZE - gpa % PAGE_SIZE;
		if (part > size)
			part = size;
		err = kint_read_physical(tool->conn, gpa, buf, part);
		if (err == -ENOENT)
			memset(buf, 0, part);
		else if (err)
			return err;
	}
	return 0;
}

static int on_event(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	if (!event->is_vcpu)
		return -ECANCELED;
	/* A vCPU that began to run after the others were paused waits with them */
	if (event->id == KVMI_VCPU_EVENT_PAUSE && kint_event_is_own(conn, event))
		return 0;
	return pass_by(arg, event);
}

/*
 * Going through much memory takes a while: is the tool to leave meanwhile?  What comes while this
 * looks is for the next time: it may be without end.
 */
int still_wanted(struct tool *tool)
{
	int err = kint_dispatch(tool->conn, on_event, tool);

	return !err && asked_to_leave() ? -EINTR : err;
}
