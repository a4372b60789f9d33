// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of the pretended VM, which decide as those of the kernel do.
 *
 * The environment says whether it has any: FAKE_RULES is "1", or "left" if a tool that
 * was lost has left some that allow everything.  FAKE_LOST is how many notifications
 * there was no room for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fakevm.h"

#define NR_EVENTS	64
#define SPEC_CTRL	0x48
#define VIRT_SPEC_CTRL	0xc001011f
#define MATCH_VCPU	(KVMI_MATCH_CPL | KVMI_MATCH_CR3 | KVMI_MATCH_RIP | \
			 KVMI_MATCH_VCPU | KVMI_MATCH_VIEW)

static struct {
	struct kvmi_rule_info rules[KINT_MAX_RULES];
	unsigned int n;
} lists[NR_EVENTS];

/* What rules compare of an event */
struct operands {
	uint64_t first, last, alias, value, changed;
	uint32_t kind, impossible;
	bool elsewhere;
};

bool fake_has_rules(void)
{
	return getenv("FAKE_RULES");
}

static uint16_t conditions(uint16_t id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_CR:
	case KVMI_VCPU_EVENT_MSR:
	case KVMI_VCPU_EVENT_XSETBV:
		return KVMI_MATCH_NUMBER | KVMI_MATCH_VALUE | KVMI_MATCH_CHANGED;
	case KVMI_VCPU_EVENT_CPUID:
	case KVMI_VCPU_EVENT_TRAP:
		return KVMI_MATCH_NUMBER | KVMI_MATCH_VALUE;
	case KVMI_VCPU_EVENT_PF:
	case KVMI_VCPU_EVENT_ACCESS:
		return KVMI_MATCH_NUMBER | KVMI_MATCH_KIND;
	case KVMI_VCPU_EVENT_BREAKPOINT:
		return KVMI_MATCH_NUMBER;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		return KVMI_MATCH_KIND;
	default:
		return 0;
	}
}

static bool has_rules(uint16_t id)
{
	return conditions(id) || id == KVMI_VCPU_EVENT_HYPERCALL;
}

static bool is_good(uint16_t id, const struct kvmi_rule *r)
{
	uint16_t m = r->match;

	if (r->verdict > KVMI_RULE_TRACE ||
	    (r->verdict == KVMI_RULE_SKIP && id == KVMI_VCPU_EVENT_TRAP) ||
	    (r->verdict == KVMI_RULE_TRACE && id != KVMI_VCPU_EVENT_PF) ||
	    m & ~(MATCH_VCPU | conditions(id)) || r->padding)
		return false;
	if (id == KVMI_VCPU_EVENT_PF && (r->first % 4096 || (r->last + 1) % 4096) &&
	    m & KVMI_MATCH_NUMBER)
		return false;
	return (m & KVMI_MATCH_CPL ? r->cpls && r->cpls < 16 : !r->cpls) &&
	       (m & KVMI_MATCH_VCPU || !r->vcpu) && (m & KVMI_MATCH_VIEW || !r->view) &&
	       (m & KVMI_MATCH_CR3 ? !(r->cr3 & ~r->cr3_mask) : !r->cr3 && !r->cr3_mask) &&
	       (m & KVMI_MATCH_RIP ? r->rip_first <= r->rip_last :
				     !r->rip_first && !r->rip_last) &&
	       (m & KVMI_MATCH_NUMBER ? r->first <= r->last : !r->first && !r->last) &&
	       (m & KVMI_MATCH_VALUE ? !(r->value & ~r->value_mask) :
				       !r->value && !r->value_mask) &&
	       !(m & KVMI_MATCH_CHANGED) == !r->changed && !(m & KVMI_MATCH_KIND) == !r->kinds;
}

static void set_rules(int sock, const struct peer_msg *msg)
{
	struct kvmi_vm_set_rules req;
	struct kvmi_rule rule;
	unsigned int i;

	memcpy(&req, msg->data, sizeof(req));
	if (req.count > KINT_MAX_RULES || req.padding || !has_rules(req.event)) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	for (i = 0; i < req.count; i++) {
		memcpy(&rule, msg->data + sizeof(req) + i * sizeof(rule), sizeof(rule));
		if (is_good(req.event, &rule))
			continue;
		printf("rule %u of event %u is wrong\n", i, req.event);
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	printf("rules of event %u:", req.event);
	for (i = 0; i < req.count; i++) {
		memcpy(&rule, msg->data + sizeof(req) + i * sizeof(rule), sizeof(rule));
		printf(" %u/%#x", rule.verdict, rule.match);
		lists[req.event].rules[i] = (struct kvmi_rule_info){ .rule = rule };
	}
	printf(req.count ? "\n" : " none\n");
	lists[req.event].n = req.count;
	peer_reply(sock, msg, 0, NULL, 0);
}

static void get_rules(int sock, const struct peer_msg *msg)
{
	const char *lost = getenv("FAKE_LOST");
	struct {
		struct kvmi_vm_get_rules_reply hdr;
		struct kvmi_rule_info rules[KINT_MAX_RULES];
	} reply = { .hdr.dropped = lost ? atoi(lost) : 0 };
	struct kvmi_vm_get_rules req;
	size_t size;

	memcpy(&req, msg->data, sizeof(req));
	if (!has_rules(req.event)) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	reply.hdr.count = lists[req.event].n;
	size = reply.hdr.count * sizeof(reply.rules[0]);
	memcpy(reply.rules, lists[req.event].rules, size);
	peer_reply(sock, msg, 0, &reply, sizeof(reply.hdr) + size);
}

/* Answer a command about rules; false for another one */
bool fake_rules(int sock, const struct peer_msg *msg)
{
	if (msg->hdr.id == KVMI_VM_SET_RULES)
		set_rules(sock, msg);
	else if (msg->hdr.id == KVMI_VM_GET_RULES)
		get_rules(sock, msg);
	else
		return false;
	return true;
}

/* What the tool has left, which there should be nothing of unless it was killed */
void fake_rules_end(void)
{
	uint16_t id;

	for (id = 0; id < NR_EVENTS; id++)
		if (lists[id].n)
			printf("rules of event %u are left\n", id);
}

void fake_rules_begin(void)
{
	uint16_t id;

	if (!fake_has_rules() || strcmp(getenv("FAKE_RULES"), "left"))
		return;
	for (id = 0; id < NR_EVENTS; id++) {
		if (!has_rules(id))
			continue;
		lists[id].n = 1;
		lists[id].rules[0].rule.verdict = KVMI_RULE_ALLOW;
	}
}

static void set_number(struct operands *op, uint64_t number)
{
	op->first = number;
	op->last = number;
	op->alias = number;
}

/* Of the MSRs that have two numbers, those that the guest uses */
static uint32_t msr_alias(uint32_t msr)
{
	return msr == SPEC_CTRL ? VIRT_SPEC_CTRL : msr == VIRT_SPEC_CTRL ? SPEC_CTRL : msr;
}

static void get_operands(uint16_t id, const void *data, bool access_on, struct operands *op)
{
	switch (id) {
	case KVMI_VCPU_EVENT_CR: {
		const struct kvmi_vcpu_event_cr *cr = data;

		set_number(op, cr->cr);
		op->value = cr->new_value;
		op->changed = cr->old_value ^ cr->new_value;
		break;
	}
	case KVMI_VCPU_EVENT_MSR: {
		const struct kvmi_vcpu_event_msr *msr = data;

		set_number(op, msr->msr);
		op->alias = msr_alias(msr->msr);
		op->value = msr->new_value;
		op->changed = msr->old_value ^ msr->new_value;
		break;
	}
	case KVMI_VCPU_EVENT_CPUID: {
		const struct kvmi_vcpu_event_cpuid *cpuid = data;

		set_number(op, cpuid->function);
		op->value = cpuid->index;
		break;
	}
	case KVMI_VCPU_EVENT_TRAP: {
		const struct kvmi_vcpu_event_trap *trap = data;

		set_number(op, trap->nr);
		op->value = trap->error_code;
		break;
	}
	case KVMI_VCPU_EVENT_PF: {
		const struct kvmi_vcpu_event_pf *pf = data;

		set_number(op, pf->gpa);
		op->elsewhere = peer_as_id;
		op->kind = pf->access;
		if (pf->flags & KVMI_PF_DELIVERY)
			op->impossible = ~(1U << KVMI_RULE_CRASH);
		if (pf->flags & KVMI_PF_NOT_EMULATED)
			op->impossible |= 1 << KVMI_RULE_SKIP | 1 << KVMI_RULE_TRACE;
		if (!access_on)
			op->impossible |= 1 << KVMI_RULE_TRACE;
		break;
	}
	case KVMI_VCPU_EVENT_ACCESS: {
		const struct kvmi_vcpu_event_access *access = data;

		set_number(op, access->gpa);
		op->elsewhere = peer_as_id;
		op->last = access->gpa + access->size - 1;
		op->kind = access->access;
		break;
	}
	case KVMI_VCPU_EVENT_BREAKPOINT:
		set_number(op, ((const struct kvmi_vcpu_event_breakpoint *)data)->gpa);
		break;
	case KVMI_VCPU_EVENT_DESCRIPTOR: {
		const struct kvmi_vcpu_event_descriptor *d = data;

		op->kind = 1u << d->descriptor << (d->write ? KVMI_KIND_WRITE_SHIFT : 0);
		break;
	}
	}
}

/* The vCPUs have CPL 0 and CR3 0 */
static bool matches(const struct kvmi_rule *r, const struct operands *op, uint16_t vcpu,
		    uint16_t view)
{
	bool within = op->first >= r->first && op->last <= r->last;
	uint16_t m = r->match;

	/* In SMM, another page may be there */
	within = within && !op->elsewhere;
	if (r->verdict != KVMI_RULE_ALLOW && r->verdict != KVMI_RULE_NOTIFY)
		within = (op->first <= r->last && op->last >= r->first) ||
			 (op->alias >= r->first && op->alias <= r->last);
	return !((m & KVMI_MATCH_NUMBER && !within) ||
		 (m & KVMI_MATCH_VALUE && (op->value & r->value_mask) != r->value) ||
		 (m & KVMI_MATCH_CHANGED && !(op->changed & r->changed)) ||
		 (m & KVMI_MATCH_KIND && !(op->kind & r->kinds)) ||
		 (m & KVMI_MATCH_CPL && !(r->cpls & 1)) ||
		 (m & KVMI_MATCH_CR3 && r->cr3) ||
		 (m & KVMI_MATCH_VCPU && r->vcpu != vcpu) ||
		 (m & KVMI_MATCH_VIEW && r->view != view) ||
		 (m & KVMI_MATCH_RIP &&
		  (peer_regs.rip < r->rip_first || peer_regs.rip > r->rip_last)));
}

/* Returns KVMI_RULE_*, ASK if no rule decides; @access_on: ACCESS events are */
uint8_t fake_rules_verdict(uint16_t id, uint16_t vcpu, uint16_t view, const void *data,
			   bool access_on)
{
	struct operands op = { 0 };
	struct kvmi_rule_info *r;

	if (id >= NR_EVENTS || !has_rules(id))
		return KVMI_RULE_ASK;
	get_operands(id, data, access_on, &op);
	for (r = lists[id].rules; r < lists[id].rules + lists[id].n; r++) {
		if (!matches(&r->rule, &op, vcpu, view))
			continue;
		if (op.impossible >> r->rule.verdict & 1)
			return KVMI_RULE_ASK;
		r->hits++;
		return r->rule.verdict;
	}
	return KVMI_RULE_ASK;
}

/* What the guest goes on with if the kernel decides */
unsigned int fake_rules_action(uint8_t verdict)
{
	return verdict == KVMI_RULE_SKIP ? KVMI_EVENT_ACTION_SKIP :
	       verdict == KVMI_RULE_CRASH ? KVMI_EVENT_ACTION_CRASH : KVMI_EVENT_ACTION_ALLOW;
}
