// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the caller has turned on in the guest, so that it can be turned off.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "internal.h"

#define MSRS_OF_RANGE	8192	/* that can be chosen, of each of the two ranges */

static_assert(sizeof(struct kvmi_vcpu_get_control_reply) == 24 + 4 * MSRS_OF_RANGE / 8, "wire");

/* Time limits of kint_detach(), in milliseconds: of a command, of all, and of all it does */
#define UNDO_EACH	250
#define UNDO_ALL	1000
#define DETACH		1500

/*
 * Note the outcome of a command that turns something on or off, and return it.
 * A command that was given up on may still be carried out, so it counts as done
 * if it turned something on, and as not done if it turned something off.
 */
int kint_wish_update(struct kint_conn *conn, enum wish_kind kind, uint16_t vcpu, uint32_t id,
		     bool enable, int result)
{
	bool unsure = result == -ETIMEDOUT || result == -EINTR;
	struct wish **p, *wish;

	if (result && !(unsure && enable))
		return result;
	for (p = &conn->wishes; *p; p = &(*p)->next)
		if ((*p)->kind == kind && (*p)->vcpu == vcpu && (*p)->id == id)
			break;
	wish = *p;
	if (!enable && wish) {
		*p = wish->next;
		free(wish);
	} else if (enable && !wish) {
		wish = calloc(1, sizeof(*wish));
		if (!wish)
			return -ENOMEM;
		wish->kind = kind;
		wish->vcpu = vcpu;
		wish->id = id;
		wish->next = conn->wishes;
		conn->wishes = wish;
		/* Some may have arrived right behind the reply */
		kint_events_wished(conn, unsure ? conn->narrived : conn->narrived_then);
	}
	return result;
}

/* Has the caller, or the library, turned it on? */
bool kint_wishes(const struct kint_conn *conn, enum wish_kind kind, uint16_t vcpu, uint32_t id)
{
	const struct wish *wish;

	for (wish = conn->wishes; wish; wish = wish->next)
		if (wish->kind == kind && wish->vcpu == vcpu && wish->id == id)
			return true;
	return false;
}

void kint_wishes_free(struct kint_conn *conn)
{
	struct wish *wish;

	while (conn->wishes) {
		wish = conn->wishes;
		conn->wishes = wish->next;
		free(wish);
	}
}

/* Does a vCPU have to run for it? */
static bool needs_vcpu(const struct wish *wish)
{
	return wish->kind != WISH_VM_EVENT && wish->kind != WISH_RULES;
}

static int turn_off(struct kint_conn *conn, const struct wish *wish)
{
	if (conn->no_cleanup && (wish->kind == WISH_CR || wish->kind == WISH_MSR))
		return kint_wish_update(conn, wish->kind, wish->vcpu, wish->id, false, 0);
	switch (wish->kind) {
	case WISH_VM_EVENT:
		return kint_control_vm_events(conn, wish->id, false);
	case WISH_RULES:
		return kint_set_rules(conn, wish->id, NULL, 0);
	case WISH_EVENT:
		return kint_control_events(conn, wish->vcpu, wish->id, false);
	case WISH_CR:
		return kint_control_cr(conn, wish->vcpu, wish->id, false);
	case WISH_STEP:
		return kint_control_singlestep(conn, wish->vcpu, false);
	default:
		return kint_control_msr(conn, wish->vcpu, wish->id, false);
	}
}

/* What is not there, or not allowed, nobody has turned on */
static int off(int err)
{
	return err == -EPERM || err == -EOPNOTSUPP || err == -ENOSYS ? 0 : err;
}

/* By the place of a bit in kvmi_vcpu_get_control_reply */
static uint32_t msr_of(unsigned int bit)
{
	return bit < MSRS_OF_RANGE ? bit : 0xc0000000 + (bit - MSRS_OF_RANGE);
}

int kint_clear_control(struct kint_conn *conn, uint16_t vcpu)
{
	struct kvmi_vcpu_get_control_reply on;
	unsigned int bit;
	int err = kint_vcpu_command(conn, KVMI_VCPU_GET_CONTROL, vcpu, NULL, 0, &on, sizeof(on));

	if (err && off(err))
		return err;
	/* The guest may hang with it, and it is no loss if it was off */
	if (err)
		on = (struct kvmi_vcpu_get_control_reply){ .singlestep = 1 };
	err = 0;
	if (on.singlestep && !kint_wishes(conn, WISH_STEP, vcpu, 0))
		err = off(kint_control_singlestep(conn, vcpu, false));
	for (bit = 0; bit < 64 && !err; bit++)
		if (on.events >> bit & 1 && !kint_wishes(conn, WISH_EVENT, vcpu, bit))
			err = off(kint_control_events(conn, vcpu, bit, false));
	for (bit = 0; bit < 32 && !err; bit++)
		if (on.crs >> bit & 1 && !kint_wishes(conn, WISH_CR, vcpu, bit))
			err = off(kint_control_cr(conn, vcpu, bit, false));
	for (bit = 0; bit < 2 * MSRS_OF_RANGE && !err; bit++)
		if (on.msrs[bit / 64] >> bit % 64 & 1 &&
		    !kint_wishes(conn, WISH_MSR, vcpu, msr_of(bit)))
			err = off(kint_control_msr(conn, vcpu, msr_of(bit), false));
	return err;
}

/* The next one that kint_detach() has to turn off */
static struct wish *next_to_undo(const struct kint_conn *conn)
{
	struct wish *wish;

	for (wish = conn->wishes; wish; wish = wish->next)
		if (!wish->tried && wish->kind < WISH_TRAP)
			break;
	return wish;
}

int kint_detach(struct kint_conn *conn)
{
	int64_t deadline = kint_deadline(UNDO_ALL);
	int dead_vcpu = -1, first, err;
	struct wish wish, *next;

	kint_set_interrupt_fd(conn, -1);
	kint_set_timeout(conn, UNDO_EACH);
	kint_set_deadline(conn, DETACH);
	/* As long as events are on that keep the guest from them */
	first = kint_pages_undo(conn, deadline);
	while ((next = next_to_undo(conn)) && !conn->error && kint_now_ms() < deadline) {
		/* What cannot be turned off stays in the list: its events are the caller's */
		next->tried = true;
		wish = *next;
		err = needs_vcpu(&wish) && wish.vcpu == dead_vcpu ?
		      -ETIMEDOUT : turn_off(conn, &wish);
		if (err == -ETIMEDOUT && needs_vcpu(&wish))
			dead_vcpu = wish.vcpu;
		if (err && !first)
			first = err;
	}
	if (next && !first)
		first = conn->error ? conn->error : -ETIMEDOUT;
	/*
	 * A vCPU answers a command after it has sent its events, so all those
	 * there will ever be have arrived.
	 */
	err = kint_allow_own(conn);
	if (err && !first)
		first = err;
	kint_close(conn);
	return first;
}
