// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rules by which the kernel decides events.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

static_assert(sizeof(struct kvmi_rule) == 88, "wire");
static_assert(sizeof(struct kvmi_vm_set_rules) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_get_rules) == 8, "wire");
static_assert(sizeof(struct kvmi_rule_info) == 96, "wire");
static_assert(sizeof(struct kvmi_vm_get_rules_reply) == 16, "wire");

int kint_set_rules(struct kint_conn *conn, uint16_t event, const struct kvmi_rule *rules,
		   size_t n)
{
	struct kvmi_vm_set_rules msg = { .event = event, .count = n };
	struct request req = {
		KVMI_VM_SET_RULES, { &msg, rules }, { sizeof(msg), n * sizeof(*rules) },
	};

	if (n > KINT_MAX_RULES)
		return -EINVAL;
	return kint_wish_update(conn, WISH_RULES, 0, event, n,
				kint_command(conn, &req, NULL, 0, NULL));
}

int kint_get_rules(struct kint_conn *conn, uint16_t event, bool reset,
		   struct kvmi_rule_info *rules, size_t room, size_t *n, uint64_t *dropped)
{
	struct kvmi_vm_get_rules msg = { .event = event, .reset = reset };
	struct request req = { KVMI_VM_GET_RULES, { &msg }, { sizeof(msg) } };
	struct {
		struct kvmi_vm_get_rules_reply hdr;
		struct kvmi_rule_info rules[KINT_MAX_RULES];
	} reply;
	size_t got = 0;
	int err;

	err = kint_command(conn, &req, &reply, sizeof(reply), &got);
	if (err)
		return err;
	if (got < sizeof(reply.hdr) || reply.hdr.count > KINT_MAX_RULES ||
	    got < sizeof(reply.hdr) + reply.hdr.count * sizeof(reply.rules[0]))
		return kint_fail(conn, -EPROTO);

	*n = reply.hdr.count < room ? reply.hdr.count : room;
	if (*n)
		memcpy(rules, reply.rules, *n * sizeof(*rules));
	*dropped = reply.hdr.dropped;
	return 0;
}

/* There are none of such an event, or they are nobody's to set here */
static bool cannot_have(int err)
{
	return err == -EINVAL || err == -EPERM;
}

int kint_clear_rules(struct kint_conn *conn)
{
	struct kvmi_rule_info info;
	uint64_t dropped;
	bool seen;
	uint16_t id;
	size_t n;
	int err;

	for (id = 0; id < 64; id++) {
		if (!kint_event_actions(id))
			continue;
		n = 1;
		err = kint_get_rules(conn, id, false, &info, 1, &n, &dropped);
		if (err == -ENOSYS)
			return 0;
		if (err && !cannot_have(err))
			return err;
		seen = !err && n;
		/* It may be allowed to set them and not to read them */
		if (n)
			err = kint_set_rules(conn, id, NULL, 0);
		if (err && (seen || !cannot_have(err)))
			return err;
	}
	return 0;
}
