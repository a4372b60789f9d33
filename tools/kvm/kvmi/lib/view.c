// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Page access, views of guest memory, and single-stepping.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

static_assert(sizeof(struct kvmi_page_access_entry) == 16, "wire");
static_assert(sizeof(struct kvmi_vm_set_page_access) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_get_page_access) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_create_view) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_create_view_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_destroy_view) == 8, "wire");
static_assert(sizeof(struct kvmi_view_info) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_list_views_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_change_gfn) == 24, "wire");
static_assert(sizeof(struct kvmi_vcpu_set_view) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_view_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_control_singlestep) == 8, "wire");

int kint_set_page_access(struct kint_conn *conn, uint16_t view, uint16_t as_id,
			 const struct kvmi_page_access_entry *entries, size_t n)
{
	struct kvmi_vm_set_page_access msg = { .view = view, .as_id = as_id };
	struct request req = { KVMI_VM_SET_PAGE_ACCESS, { &msg }, { sizeof(msg) } };
	int err;

	do {
		msg.count = n < KINT_MAX_SET_ACCESS ? n : KINT_MAX_SET_ACCESS;
		req.part[1] = entries;
		req.size[1] = msg.count * sizeof(*entries);
		err = kint_command(conn, &req, NULL, 0, NULL);
		entries += msg.count;
		n -= msg.count;
	} while (!err && n);
	return err;
}

int kint_get_page_access(struct kint_conn *conn, uint16_t view, uint16_t as_id,
			 const uint64_t *gpas, uint8_t *access, size_t n)
{
	struct kvmi_vm_get_page_access msg = { .view = view, .as_id = as_id };
	struct request req = { KVMI_VM_GET_PAGE_ACCESS, { &msg }, { sizeof(msg) } };
	int err;

	do {
		msg.count = n < KINT_MAX_GET_ACCESS ? n : KINT_MAX_GET_ACCESS;
		req.part[1] = gpas;
		req.size[1] = msg.count * sizeof(*gpas);
		err = kint_command(conn, &req, access, msg.count, NULL);
		gpas += msg.count;
		access += msg.count;
		n -= msg.count;
	} while (!err && n);
	return err;
}

int kint_create_view(struct kint_conn *conn, uint16_t copy_of, uint16_t *view)
{
	struct kvmi_vm_create_view msg = { .copy_of = copy_of };
	struct request req = { KVMI_VM_CREATE_VIEW, { &msg }, { sizeof(msg) } };
	struct kvmi_vm_create_view_reply reply;
	int err = kint_command(conn, &req, &reply, sizeof(reply), NULL);

	if (err)
		return err;
	*view = reply.view;
	kint_pages_view_copied(conn, copy_of, reply.view);
	return 0;
}

int kint_destroy_view(struct kint_conn *conn, uint16_t view)
{
	struct kvmi_vm_destroy_view msg = { .view = view };
	struct request req = { KVMI_VM_DESTROY_VIEW, { &msg }, { sizeof(msg) } };
	int err = kint_command(conn, &req, NULL, 0, NULL);

	if (!err)
		kint_pages_view_gone(conn, view);
	return err;
}

int kint_list_views(struct kint_conn *conn, struct kvmi_view_info *views, size_t room, size_t *n)
{
	struct request req = { .id = KVMI_VM_LIST_VIEWS };
	struct {
		struct kvmi_vm_list_views_reply hdr;
		struct kvmi_view_info views[MAX_KNOWN_VIEWS];
	} reply;
	size_t got = 0;
	int err;

	err = kint_command(conn, &req, &reply, sizeof(reply), &got);
	if (err)
		return err;
	if (got < sizeof(reply.hdr) || reply.hdr.count > MAX_KNOWN_VIEWS ||
	    got < sizeof(reply.hdr) + reply.hdr.count * sizeof(reply.views[0]))
		return kint_fail(conn, -EPROTO);

	*n = reply.hdr.count < room ? reply.hdr.count : room;
	if (*n)
		memcpy(views, reply.views, *n * sizeof(*views));
	return 0;
}

/* Those that may be there: of all, if it is not allowed to ask */
static int find_views(struct kint_conn *conn, uint64_t *found)
{
	struct kvmi_view_info views[MAX_KNOWN_VIEWS];
	size_t n = 0, i;
	int err;

	*found = 0;
	err = kint_list_views(conn, views, MAX_KNOWN_VIEWS, &n);
	for (i = 0; i < n; i++)
		if (views[i].view < MAX_KNOWN_VIEWS)
			*found |= 1ull << views[i].view;
	if (err == -ENOSYS || err == -EOPNOTSUPP)
		return 0;
	if (err != -EPERM)
		return err;
	/* Whoever was not allowed to have vCPUs change their views has not done so */
	err = kint_check_command(conn, KVMI_VCPU_SET_VIEW);
	if (!err)
		*found = ~0ull;
	return err == -EPERM || err == -ENOENT ? 0 : err;
}

int kint_clear_views(struct kint_conn *conn, uint64_t *views)
{
	unsigned int view;
	uint64_t found;
	int err;

	err = find_views(conn, &found);
	if (err)
		return err;
	*views &= found & ~1ull;
	for (view = 1; view < MAX_KNOWN_VIEWS; view++) {
		if (!(*views >> view & 1))
			continue;
		err = kint_destroy_view(conn, view);
		if (!err || err == -EINVAL)
			*views &= ~(1ull << view);
		else if (err != -EBUSY && err != -EPERM)
			return err;
	}
	return 0;
}

int kint_change_gfn(struct kint_conn *conn, uint16_t view, uint16_t as_id, uint64_t gfn,
		    uint64_t new_gfn)
{
	struct kvmi_vm_change_gfn msg = {
		.view = view, .as_id = as_id, .gfn = gfn, .new_gfn = new_gfn,
	};
	struct request req = { KVMI_VM_CHANGE_GFN, { &msg }, { sizeof(msg) } };
	int err = kint_command(conn, &req, NULL, 0, NULL);

	/* What was given up on may still be done: it is not known where pages are then */
	if (err == -ETIMEDOUT || err == -EINTR)
		kint_page_batched(conn, new_gfn);
	if (!err)
		kint_page_shown(conn, view, as_id, gfn, new_gfn);
	return err;
}

int kint_set_view(struct kint_conn *conn, uint16_t vcpu, uint16_t view)
{
	struct kvmi_vcpu_set_view msg = { .view = view };

	return kint_vcpu_command(conn, KVMI_VCPU_SET_VIEW, vcpu, &msg, sizeof(msg), NULL, 0);
}

int kint_get_view(struct kint_conn *conn, uint16_t vcpu, uint16_t *view)
{
	struct kvmi_vcpu_get_view_reply reply;
	int err = kint_vcpu_command(conn, KVMI_VCPU_GET_VIEW, vcpu, NULL, 0, &reply,
				    sizeof(reply));

	if (!err)
		*view = reply.view;
	return err;
}

int kint_control_singlestep(struct kint_conn *conn, uint16_t vcpu, bool enable)
{
	struct kvmi_vcpu_control_singlestep msg = { .enable = enable };
	int ret = kint_vcpu_command(conn, KVMI_VCPU_CONTROL_SINGLESTEP, vcpu, &msg, sizeof(msg),
				    NULL, 0);

	return kint_wish_update(conn, WISH_STEP, vcpu, 0, enable, ret);
}
