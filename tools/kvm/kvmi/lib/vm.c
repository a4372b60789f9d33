// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Commands for the VM.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

static_assert(sizeof(struct kvmi_get_version_reply) == 16, "wire");
static_assert(sizeof(struct kvmi_vm_get_info_reply) == 16, "wire");
static_assert(sizeof(struct kvmi_vm_get_features_reply) == 56, "wire");
static_assert(sizeof(struct kvmi_vm_pause_vcpu) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_pause_all) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_pause_all_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_control_cleanup) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_get_memslots) == 8, "wire");
static_assert(sizeof(struct kvmi_memslot) == 24, "wire");

#define MAX_SLOTS \
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) - \
	  sizeof(struct kvmi_vm_get_memslots_reply)) / sizeof(struct kvmi_memslot))

int kint_get_version(struct kint_conn *conn, struct kvmi_get_version_reply *version)
{
	struct request req = { .id = KVMI_GET_VERSION };

	return kint_command(conn, &req, version, sizeof(*version), NULL);
}

int kint_check_command(struct kint_conn *conn, uint16_t id)
{
	struct kvmi_vm_check_command msg = { .id = id };
	struct request req = { KVMI_VM_CHECK_COMMAND, { &msg }, { sizeof(msg) } };

	return kint_command(conn, &req, NULL, 0, NULL);
}

int kint_check_event(struct kint_conn *conn, uint16_t id)
{
	struct kvmi_vm_check_event msg = { .id = id };
	struct request req = { KVMI_VM_CHECK_EVENT, { &msg }, { sizeof(msg) } };

	return kint_command(conn, &req, NULL, 0, NULL);
}

int kint_get_info(struct kint_conn *conn, struct kvmi_vm_get_info_reply *info)
{
	struct request req = { .id = KVMI_VM_GET_INFO };

	int err = kint_command(conn, &req, info, sizeof(*info), NULL);

	return err ? err : kint_bounded(conn, info->vcpu_count, MAX_VCPUS);
}

int kint_get_features(struct kint_conn *conn, struct kvmi_vm_get_features_reply *features)
{
	struct request req = { .id = KVMI_VM_GET_FEATURES };

	return kint_command(conn, &req, features, sizeof(*features), NULL);
}

int kint_control_vm_events(struct kint_conn *conn, uint16_t event, bool enable)
{
	struct kvmi_vm_control_events msg = { .event_id = event, .enable = enable };
	struct request req = { KVMI_VM_CONTROL_EVENTS, { &msg }, { sizeof(msg) } };

	return kint_wish_update(conn, WISH_VM_EVENT, 0, event, enable,
				kint_command(conn, &req, NULL, 0, NULL));
}

/* A command that was given up on may still be carried out */
static bool has_failed(int err)
{
	return err && err != -ETIMEDOUT && err != -EINTR;
}

int kint_pause_vcpu(struct kint_conn *conn, uint16_t vcpu, bool wait)
{
	struct kvmi_vm_pause_vcpu msg = { .vcpu = vcpu, .wait = wait };
	struct request req = { KVMI_VM_PAUSE_VCPU, { &msg }, { sizeof(msg) } };
	int err = kint_pause_asked(conn, vcpu, 1);

	if (err)
		return err;
	err = kint_command(conn, &req, NULL, 0, NULL);
	if (has_failed(err))
		kint_pause_asked(conn, vcpu, -1);
	return err;
}

int kint_pause_all(struct kint_conn *conn, bool wait, uint32_t *count)
{
	struct kvmi_vm_pause_all msg = { .wait = wait };
	struct request req = { KVMI_VM_PAUSE_ALL, { &msg }, { sizeof(msg) } };
	struct kvmi_vm_pause_all_reply reply;
	int err;

	conn->pause_alls++;
	err = kint_command(conn, &req, &reply, sizeof(reply), NULL);
	if (has_failed(err))
		conn->pause_alls--;
	if (!err)
		err = kint_bounded(conn, reply.count, MAX_VCPUS);
	if (!err && count)
		*count = reply.count;
	return err;
}

int kint_shutdown(struct kint_conn *conn)
{
	struct request req = { .id = KVMI_VM_SHUTDOWN };

	return kint_command(conn, &req, NULL, 0, NULL);
}

int kint_control_cleanup(struct kint_conn *conn, bool enable)
{
	struct kvmi_vm_control_cleanup msg = { .enable = enable };
	struct request req = { KVMI_VM_CONTROL_CLEANUP, { &msg }, { sizeof(msg) } };
	int err = kint_command(conn, &req, NULL, 0, NULL);

	if (!err)
		conn->no_cleanup = !enable;
	return err;
}

int kint_get_max_gfn(struct kint_conn *conn, uint64_t *gfn)
{
	struct request req = { .id = KVMI_VM_GET_MAX_GFN };
	struct kvmi_vm_get_max_gfn_reply reply;
	int err = kint_command(conn, &req, &reply, sizeof(reply), NULL);

	if (!err)
		*gfn = reply.gfn;
	return err;
}

int kint_get_memslots(struct kint_conn *conn, uint16_t as_id, struct kvmi_memslot *slots,
		      unsigned int max, uint32_t *cookie)
{
	struct kvmi_vm_get_memslots msg = { .as_id = as_id };
	struct request req = { KVMI_VM_GET_MEMSLOTS, { &msg }, { sizeof(msg) } };
	struct {
		struct kvmi_vm_get_memslots_reply hdr;
		struct kvmi_memslot slots[MAX_SLOTS];
	} reply;
	unsigned int done = 0, n;
	uint32_t first = 0;
	size_t got;
	int err;

	do {
		msg.start = done;
		err = kint_command(conn, &req, &reply, sizeof(reply), &got);
		if (err)
			return err;
		if (got < sizeof(reply.hdr) || (got - sizeof(reply.hdr)) % sizeof(*slots))
			return kint_fail(conn, -EPROTO);
		err = kint_bounded(conn, reply.hdr.nr_slots, MAX_MEMSLOTS);
		if (err)
			return err;
		if (done && reply.hdr.cookie != first)
			return -EAGAIN;
		first = reply.hdr.cookie;
		n = (got - sizeof(reply.hdr)) / sizeof(*slots);
		if (n > reply.hdr.nr_slots - done || (!n && reply.hdr.nr_slots > done))
			return kint_fail(conn, -EPROTO);
		if (n > max - done)
			n = max - done;
		if (n)
			memcpy(slots + done, reply.slots, n * sizeof(*slots));
		done += n;
	} while (done < reply.hdr.nr_slots && done < max);
	if (cookie)
		*cookie = first;
	return reply.hdr.nr_slots;
}
