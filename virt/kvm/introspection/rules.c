// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: rules that decide events without asking the tool.
 *
 * The rules of an event are an ordered list, which a command replaces as a
 * whole.  The first one that matches decides.  The number of rules is bounded,
 * and they only look at the vCPU's registers and at the event's data.
 */

#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "arch.h"
#include "command.h"
#include "event.h"
#include "rules.h"
#include "session.h"
#include "vcpu.h"

/* Conditions that are not about the event's own data */
#define MATCH_VCPU	(KVMI_MATCH_CPL | KVMI_MATCH_CR3 | KVMI_MATCH_RIP | \
			 KVMI_MATCH_VCPU | KVMI_MATCH_VIEW)

/* Verdicts that let the guest go on, for accesses that are within a range */
#define GOES_ON		(BIT(KVMI_RULE_ALLOW) | BIT(KVMI_RULE_NOTIFY))

static bool is_in_range(const struct kvmi_rule *rule, const struct kvmi_operands *op)
{
	/*
	 * What an access that is not wholly within the range does outside of it
	 * is up to the rules that follow.  In SMM, another page may be there.
	 */
	if (BIT(rule->verdict) & GOES_ON)
		return !op->elsewhere && op->first >= rule->first &&
		       op->last <= rule->last;

	/* A register can't be written, nor a leaf read, unasked by another number. */
	if (op->alias >= rule->first && op->alias <= rule->last)
		return true;

	return op->first <= rule->last && op->last >= rule->first;
}

/* Not inlined, as compare_event(): few rules need the variables, which are cleared. */
static noinline bool is_where(struct kvm_vcpu *vcpu,
			      const struct kvmi_rule *rule)
{
	struct kvmi_place at;

	if (rule->match & KVMI_MATCH_VCPU && rule->vcpu != vcpu->vcpu_idx)
		return false;

	kvmi_arch_vcpu_get_place(vcpu, &at);
	if (rule->match & KVMI_MATCH_CPL && !(rule->cpls & BIT(at.cpl)))
		return false;
	if (rule->match & KVMI_MATCH_CR3 && (at.cr3 & rule->cr3_mask) != rule->cr3)
		return false;
	if (rule->match & KVMI_MATCH_RIP &&
	    (at.rip < rule->rip_first || at.rip > rule->rip_last))
		return false;

	return !(rule->match & KVMI_MATCH_VIEW) ||
	       rule->view == kvmi_arch_vcpu_view(&kvmi_to_vcpu(vcpu)->arch);
}

static bool vcpu_matches(struct kvm_vcpu *vcpu, const struct kvmi_rule *rule)
{
	return !(rule->match & MATCH_VCPU) || is_where(vcpu, rule);
}

/* Return true for a condition about where the instruction is that causes the event. */
static bool is_about_place(const struct kvmi_rule *rule)
{
	return rule->match & (KVMI_MATCH_CPL | KVMI_MATCH_CR3 | KVMI_MATCH_RIP);
}

static bool event_matches(const struct kvmi_rule *rule,
			  const struct kvmi_operands *op)
{
	u16 match = rule->match;

	if (match & KVMI_MATCH_NUMBER && !is_in_range(rule, op))
		return false;
	if (match & KVMI_MATCH_VALUE && (op->value & rule->value_mask) != rule->value)
		return false;
	if (match & KVMI_MATCH_CHANGED && !(op->changed & rule->changed))
		return false;

	return !(match & KVMI_MATCH_KIND) || op->kind & rule->kinds;
}

/* Return false for a verdict that the event does not accept this time. */
static bool is_possible(u8 verdict, u8 actions, const struct kvmi_operands *op)
{
	if (op && op->impossible & BIT(verdict))
		return false;

	return verdict != KVMI_RULE_SKIP || actions & BIT(KVMI_EVENT_ACTION_SKIP);
}

/*
 * Return the verdict of the first rule that matches, and count it; KVMI_RULE_ASK if
 * there is none.  @op: what rules compare of the event, or NULL if none does
 */
static __always_inline u8 find_verdict(struct kvm_vcpu *vcpu,
				       struct kvmi_rules *rules, u8 actions,
				       const struct kvmi_operands *op)
{
	struct kvmi_counted_rule *rule;

	for (rule = rules->all; rule < rules->all + rules->nr; rule++) {
		if (op && !event_matches(&rule->rule, op))
			continue;
		/* The guest is somewhere else by now. */
		if (op && op->done && is_about_place(&rule->rule))
			return KVMI_RULE_ASK;
		if (!vcpu_matches(vcpu, &rule->rule))
			continue;
		if (!is_possible(rule->rule.verdict, actions, op))
			return KVMI_RULE_ASK;
		atomic64_inc(&rule->hits);
		return rule->rule.verdict;
	}

	return KVMI_RULE_ASK;
}

static noinline u8 compare_event(struct kvm_vcpu *vcpu, struct kvmi_rules *rules,
				 u16 id, u8 actions, const void *data)
{
	struct kvmi_operands op = { };

	kvmi_arch_rule_operands(vcpu, id, data, &op);

	return find_verdict(vcpu, rules, actions, &op);
}

/*
 * Return the verdict of the rules about an event.  @actions: the actions that the
 * event accepts
 */
u8 kvmi_rules_verdict(struct kvm_vcpu *vcpu, struct kvmi_rules *rules, u16 id,
		      u8 actions, const void *data)
{
	return rules->compares ? compare_event(vcpu, rules, id, actions, data) :
				 find_verdict(vcpu, rules, actions, NULL);
}

/* No vCPU uses the rules any more. */
void kvmi_rules_free(struct kvm_introspection *session)
{
	unsigned int id;

	for (id = 0; id < KVMI_NR_EVENT_IDS; id++)
		kvfree(rcu_dereference_protected(session->rules[id], true));
}

/* Fields of conditions that don't apply must be zero. */
static bool unused_is_zero(const struct kvmi_rule *rule)
{
	u16 match = rule->match;

	if (rule->padding)
		return false;
	if (!(match & KVMI_MATCH_CPL) && rule->cpls)
		return false;
	if (!(match & KVMI_MATCH_VCPU) && rule->vcpu)
		return false;
	if (!(match & KVMI_MATCH_VIEW) && rule->view)
		return false;
	if (!(match & KVMI_MATCH_CR3) && (rule->cr3 || rule->cr3_mask))
		return false;
	if (!(match & KVMI_MATCH_RIP) && (rule->rip_first || rule->rip_last))
		return false;
	if (!(match & KVMI_MATCH_NUMBER) && (rule->first || rule->last))
		return false;
	if (!(match & KVMI_MATCH_VALUE) && (rule->value || rule->value_mask))
		return false;
	if (!(match & KVMI_MATCH_CHANGED) && rule->changed)
		return false;

	return match & KVMI_MATCH_KIND || !rule->kinds;
}

/* Return false for conditions that nothing can meet. */
static bool can_match(const struct kvmi_rule *rule)
{
	u16 match = rule->match;

	if (match & KVMI_MATCH_CPL && (!rule->cpls || rule->cpls & ~GENMASK(3, 0)))
		return false;
	if (match & KVMI_MATCH_VIEW && rule->view >= KVMI_NR_VIEWS)
		return false;
	if (match & KVMI_MATCH_CR3 && rule->cr3 & ~rule->cr3_mask)
		return false;
	if (match & KVMI_MATCH_RIP && rule->rip_first > rule->rip_last)
		return false;
	if (match & KVMI_MATCH_NUMBER && rule->first > rule->last)
		return false;
	if (match & KVMI_MATCH_VALUE && rule->value & ~rule->value_mask)
		return false;
	if (match & KVMI_MATCH_CHANGED && !rule->changed)
		return false;

	return !(match & KVMI_MATCH_KIND) || rule->kinds;
}

static bool is_good(u16 id, const struct kvmi_rule *rule)
{
	switch (rule->verdict) {
	case KVMI_RULE_ASK:
	case KVMI_RULE_ALLOW:
	case KVMI_RULE_CRASH:
	case KVMI_RULE_NOTIFY:
		break;
	case KVMI_RULE_SKIP:
		if (!kvmi_event_accepts(id, KVMI_EVENT_ACTION_SKIP))
			return false;
		break;
	case KVMI_RULE_TRACE:
		if (id != KVMI_VCPU_EVENT_PF)
			return false;
		break;
	default:
		return false;
	}

	return !(rule->match & ~(MATCH_VCPU | kvmi_arch_rule_conditions(id))) &&
	       unused_is_zero(rule) && can_match(rule) &&
	       kvmi_arch_check_rule(id, rule);
}

/*
 * Numbers below 32, e.g. of exceptions, for which the first rule that may match
 * does so in any case, and allows
 */
static u32 unasked_numbers(const struct kvmi_rules *rules)
{
	u32 number, unasked = 0;

	for (number = 0; number < 32; number++) {
		unsigned int i;

		for (i = 0; i < rules->nr; i++) {
			const struct kvmi_rule *rule = &rules->all[i].rule;

			if (rule->match & KVMI_MATCH_NUMBER &&
			    (number < rule->first || number > rule->last))
				continue;
			if (rule->verdict == KVMI_RULE_ALLOW &&
			    !(rule->match & ~KVMI_MATCH_NUMBER))
				unasked |= BIT(number);
			break;
		}
	}

	return unasked;
}

static void replace_rules(struct kvm_introspection *session, u16 id,
			  struct kvmi_rules *rules)
{
	struct kvmi_rules *old = kvmi_rules_of(session, id);

	rcu_assign_pointer(session->rules[id], rules);
	kvmi_arch_rules_changed(session->kvm, id, rules ? unasked_numbers(rules) : 0);
	/* From here on no vCPU decides by the old rules. */
	synchronize_srcu(&session->kvm->srcu);
	kvfree(old);
}

int kvmi_vm_set_rules(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_set_rules *data = req->data;
	size_t size = struct_size(data, rules, data->count);
	struct kvmi_rules *rules = NULL;
	unsigned int i;
	int err;

	static_assert(sizeof(struct kvmi_rule) == 88);
	static_assert(struct_size_t(struct kvmi_vm_set_rules, rules,
				    KVMI_MAX_RULES) <= KVMI_MAX_MSG_SIZE);

	err = kvmi_check_list(req, size, data->count);
	if (err)
		return err;
	if (data->padding || data->count > KVMI_MAX_RULES ||
	    !kvmi_event_has_rules(data->event))
		return -KVM_EINVAL;
	if (!kvmi_event_allowed(req->session, data->event))
		return -KVM_EPERM;
	for (i = 0; i < data->count; i++) {
		if (!is_good(data->event, &data->rules[i]))
			return -KVM_EINVAL;
	}

	if (data->count) {
		rules = kvzalloc_flex(*rules, all, data->count, GFP_KERNEL_ACCOUNT);
		if (!rules)
			return -KVM_ENOMEM;
		rules->nr = data->count;
		/* Not all verdicts about a PF are always possible. */
		rules->compares = data->event == KVMI_VCPU_EVENT_PF;
		for (i = 0; i < data->count; i++) {
			rules->all[i].rule = data->rules[i];
			if (data->rules[i].match & ~(KVMI_MATCH_VCPU | KVMI_MATCH_VIEW))
				rules->compares = true;
		}
	}
	replace_rules(req->session, array_index_nospec(data->event, KVMI_NR_EVENT_IDS),
		      rules);

	return 0;
}

int kvmi_vm_get_rules(struct kvmi_vm_request *req)
{
	const struct kvmi_vm_get_rules *data = req->data;
	struct kvmi_vm_get_rules_reply *reply = req->reply;
	struct kvmi_rules *rules;
	unsigned int i, nr;

	static_assert(struct_size_t(struct kvmi_vm_get_rules_reply, rules,
				    KVMI_MAX_RULES) <= KVMI_MAX_REPLY_DATA);

	if (data->padding1 || data->padding2 || data->reset > 1 ||
	    !kvmi_event_has_rules(data->event))
		return -KVM_EINVAL;
	if (!kvmi_event_allowed(req->session, data->event))
		return -KVM_EPERM;

	rules = kvmi_rules_of(req->session,
			      array_index_nospec(data->event, KVMI_NR_EVENT_IDS));
	nr = rules ? rules->nr : 0;
	*reply = (struct kvmi_vm_get_rules_reply) { .count = nr };
	for (i = 0; i < nr; i++) {
		struct kvmi_counted_rule *rule = &rules->all[i];

		reply->rules[i] = (struct kvmi_rule_info) {
			.rule = rule->rule,
			.hits = data->reset ? atomic64_xchg(&rule->hits, 0) :
					      atomic64_read(&rule->hits),
		};
	}
	if (rules)
		reply->dropped = data->reset ? atomic64_xchg(&rules->dropped, 0) :
					       atomic64_read(&rules->dropped);
	req->reply_size = struct_size(reply, rules, nr);

	return 0;
}
