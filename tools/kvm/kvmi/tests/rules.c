// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rules, notifications, and flags of replies
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "test.h"

static struct peer_msg got;
static uint32_t rules_of_peer;
static size_t reply_size;

/* Keep what SET_RULES said; GET_RULES gets as many as rules_of_peer says */
static void peer_rules(int fd)
{
	struct {
		struct kvmi_vm_get_rules_reply hdr;
		struct kvmi_rule_info rules[KINT_MAX_RULES];
	} reply = { .hdr.dropped = 7 };
	struct peer_msg msg;
	unsigned int i;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VM_SET_RULES) {
			got = msg;
			peer_reply(fd, &msg, 0, NULL, 0);
			continue;
		}
		got = msg;
		reply.hdr.count = rules_of_peer;
		for (i = 0; i < KINT_MAX_RULES; i++)
			reply.rules[i].hits = 100 + i;
		peer_reply(fd, &msg, 0, &reply, reply_size);
	}
}

static bool body_set(struct kint_conn *conn)
{
	struct kvmi_rule rules[KINT_MAX_RULES + 1] = {
		{ .verdict = KVMI_RULE_ALLOW, .match = KVMI_MATCH_CPL, .cpls = 8 },
		{ .verdict = KVMI_RULE_CRASH },
	};
	struct kvmi_vm_set_rules hdr;

	CHECK(!(last = kint_set_rules(conn, KVMI_VCPU_EVENT_CR, rules, 2)));
	memcpy(&hdr, got.data, sizeof(hdr));
	CHECK(got.hdr.size == sizeof(hdr) + 2 * sizeof(rules[0]));
	CHECK(hdr.event == KVMI_VCPU_EVENT_CR && hdr.count == 2 && !hdr.padding);
	CHECK(!memcmp(got.data + sizeof(hdr), rules, 2 * sizeof(rules[0])));

	CHECK(!(last = kint_set_rules(conn, KVMI_VCPU_EVENT_CR, NULL, 0)));
	CHECK(got.hdr.size == sizeof(hdr));
	CHECK(!(last = kint_set_rules(conn, KVMI_VCPU_EVENT_CR, rules, KINT_MAX_RULES)));
	got.hdr.id = 0;
	CHECK((last = kint_set_rules(conn, KVMI_VCPU_EVENT_CR, rules, KINT_MAX_RULES + 1)) ==
	      -EINVAL);
	CHECK(!got.hdr.id);
	return true;
}

static bool body_get(struct kint_conn *conn)
{
	struct kvmi_rule_info rules[KINT_MAX_RULES];
	struct kvmi_vm_get_rules req;
	uint64_t dropped;
	size_t n;

	rules_of_peer = 2;
	reply_size = sizeof(struct kvmi_vm_get_rules_reply) + 2 * sizeof(rules[0]);
	CHECK(!(last = kint_get_rules(conn, KVMI_VCPU_EVENT_PF, true, rules, KINT_MAX_RULES,
				      &n, &dropped)));
	memcpy(&req, got.data, sizeof(req));
	CHECK(req.event == KVMI_VCPU_EVENT_PF && req.reset == 1);
	CHECK(n == 2 && dropped == 7 && rules[0].hits == 100 && rules[1].hits == 101);
	/* Less room than there is to tell */
	CHECK(!(last = kint_get_rules(conn, KVMI_VCPU_EVENT_PF, false, rules, 1, &n, &dropped)));
	CHECK(n == 1);
	return true;
}

/* More rules than the reply has, or than there can be */
static bool body_get_bad(struct kint_conn *conn)
{
	struct kvmi_rule_info rules[KINT_MAX_RULES];
	uint64_t dropped;
	size_t n;

	CHECK((last = kint_get_rules(conn, KVMI_VCPU_EVENT_PF, false, rules, KINT_MAX_RULES,
				     &n, &dropped)) == -EPROTO);
	return true;
}

static bool test_get_bad(void)
{
	static const struct { uint32_t n; size_t size; } cases[] = {
		{ 2, sizeof(struct kvmi_vm_get_rules_reply) + sizeof(struct kvmi_rule_info) },
		{ 1, sizeof(struct kvmi_vm_get_rules_reply) },
		{ 0, sizeof(struct kvmi_vm_get_rules_reply) - 1 },
		{ 0, 0 },
		{ KINT_MAX_RULES + 1, sizeof(struct kvmi_vm_get_rules_reply) },
		{ 0xffffffff, sizeof(struct kvmi_vm_get_rules_reply) },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rules_of_peer = cases[i].n;
		reply_size = cases[i].size;
		if (!adopt_with(peer_rules, body_get_bad)) {
			printf("# case %u\n", i);
			return false;
		}
	}
	return true;
}

static struct peer_msg reply_seen;

static void peer_notification(int fd)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		struct kvmi_vcpu_event_cr cr;
	} ev = {
		.hdr = { .event = KVMI_VCPU_EVENT_CR, .flags = KVMI_EVENT_NOTIFICATION },
		.common = { .size = sizeof(ev.common), .vcpu = 3 },
		.cr = { .cr = 3, .new_value = 0x1000 },
	};
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	peer_send(fd, KVMI_VCPU_EVENT, 5, &ev, sizeof(ev));
	peer_vcpu_event(fd, 6, 1, KVMI_VCPU_EVENT_HYPERCALL, NULL, 0);
	peer_receive(fd, &reply_seen);
	linger(fd);
}

static bool body_notification(struct kint_conn *conn)
{
	struct kint_event event, open;

	CHECK(!(last = kint_next_event(conn, &event, 1000)));
	CHECK(event.notified && event.common.vcpu == 3 && event.cr.new_value == 0x1000);
	CHECK((last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)) == -EINVAL);
	CHECK((last = kint_reply_flags(conn, &event, KVMI_EVENT_ACTION_ALLOW, 0, 0)) == -EINVAL);
	CHECK(!(last = kint_next_event(conn, &open, 1000)));
	CHECK(!open.notified);
	CHECK((last = kint_reply_flags(conn, &open, KVMI_EVENT_ACTION_RETRY,
				       KVMI_REPLY_STEP_IN_VIEW << 1, 0)) == -EINVAL);
	CHECK(!(last = kint_reply_flags(conn, &open, KVMI_EVENT_ACTION_RETRY,
					KVMI_REPLY_STEP_IN_VIEW, 2)));
	CHECK((last = kint_reply(conn, &open, KVMI_EVENT_ACTION_ALLOW)) == -EINVAL);
	return true;
}

static bool test_notification(void)
{
	struct kvmi_vcpu_event_reply reply;
	bool ok = adopt_with(peer_notification, body_notification);

	memcpy(&reply, reply_seen.data + 8, sizeof(reply));
	return ok && reply_seen.hdr.seq == 6 && reply.action == KVMI_EVENT_ACTION_RETRY &&
	       reply.flags == KVMI_REPLY_STEP_IN_VIEW && reply.view == 2;
}

/* ---- Rules of somebody else ---- */
static int32_t get_error, set_error;
static unsigned int asked, cleared;
static uint16_t last_cleared;

/* Only MSR has any */
static void peer_left(int fd)
{
	struct {
		struct kvmi_vm_get_rules_reply hdr;
		struct kvmi_rule_info rule;
	} reply = { .hdr.count = 1 }, none = { 0 };
	struct peer_msg msg;
	uint16_t event;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		memcpy(&event, msg.data, sizeof(event));
		if (msg.hdr.id == KVMI_VM_SET_RULES) {
			cleared += !msg.data[2];
			last_cleared = event;
			peer_reply(fd, &msg, event == KVMI_VCPU_EVENT_PAUSE ? -EINVAL : set_error,
				   NULL, 0);
			continue;
		}
		asked++;
		if (get_error)
			peer_reply(fd, &msg, get_error, NULL, 0);
		else if (event == KVMI_VCPU_EVENT_MSR)
			peer_reply(fd, &msg, 0, &reply, sizeof(reply));
		else
			peer_reply(fd, &msg, 0, &none, sizeof(none.hdr));
	}
}

static bool body_clear(struct kint_conn *conn)
{
	return !(last = kint_clear_rules(conn));
}

static bool test_clear(void)
{
	asked = 0;
	cleared = 0;
	get_error = 0;
	CHECK(adopt_with(peer_left, body_clear));
	CHECK(asked > 10 && cleared == 1 && last_cleared == KVMI_VCPU_EVENT_MSR);
	/* They cannot be read */
	cleared = 0;
	get_error = -EPERM;
	CHECK(adopt_with(peer_left, body_clear));
	CHECK(cleared > 10);
	/* The kernel has none */
	asked = 0;
	cleared = 0;
	get_error = -1000;
	CHECK(adopt_with(peer_left, body_clear));
	CHECK(asked == 1 && !cleared);
	/* That is no answer to it */
	get_error = -ENOMEM;
	CHECK(!adopt_with(peer_left, body_clear));
	/* They may be neither read nor set; there are some, and they may not be set */
	set_error = -EPERM;
	get_error = -EPERM;
	CHECK(adopt_with(peer_left, body_clear));
	get_error = 0;
	CHECK(!adopt_with(peer_left, body_clear) && last == -EPERM);
	set_error = 0;
	return true;
}

void rules_tests(void)
{
	result("rules are set", adopt_with(peer_rules, body_set));
	result("rules are read", adopt_with(peer_rules, body_get));
	result("rules of somebody else are taken back", test_clear());
	result("replies about rules that are not right", test_get_bad());
	result("a notification has no reply, a reply has flags", test_notification());
}
