/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_RULES_H
#define __KVMI_RULES_H

#include <linux/atomic.h>
#include <linux/kvm_host.h>

#include <uapi/linux/kvmi.h>

#include "limits.h"
#include "session.h"

struct kvmi_vm_request;

/* A rule, and how often it has decided an event */
struct kvmi_counted_rule {
	struct kvmi_rule rule;
	atomic64_t hits;
};

/* The rules of an event, immutable but for the counters */
struct kvmi_rules {
	/* Notifications that the socket had no room for */
	atomic64_t dropped;
	/* struct kvmi_operands matters */
	bool compares;
	u16 nr;
	struct kvmi_counted_rule all[] __counted_by(nr);
};

/* What rules compare, filled in by the architecture */
struct kvmi_operands {
	/* KVMI_MATCH_NUMBER: all of these are accessed */
	u64 first;
	u64 last;
	/* Another number of the same register or leaf, or @first */
	u64 alias;
	/* They are addresses, but not of the address space that ranges are about */
	bool elsewhere;
	/* KVMI_MATCH_VALUE */
	u64 value;
	/* KVMI_MATCH_CHANGED */
	u64 changed;
	/* KVMI_MATCH_KIND */
	u32 kind;
	/* It has happened, so that the guest is not where it was caused any more */
	bool done;
	/* Verdicts that can't be applied this time, as bits of KVMI_RULE_* */
	u32 impossible;
};

/* Where the guest of a vCPU is */
struct kvmi_place {
	u64 cr3;
	u64 rip;
	u8 cpl;
};

/*
 * Return the rules of an event, or NULL.  Within kvm->srcu, or with reader.lock
 * held, as commands replace them.
 */
static inline struct kvmi_rules *kvmi_rules_of(struct kvm_introspection *session,
					       u16 id)
{
	return rcu_dereference_check(session->rules[id],
				     srcu_read_lock_held(&session->kvm->srcu) ||
				     lockdep_is_held(&session->reader.lock));
}

/* Return true if there are rules that may decide an event. */
static inline bool kvmi_has_rules(struct kvm_introspection *session, u16 id)
{
	return rcu_access_pointer(session->rules[id]);
}

u8 kvmi_rules_verdict(struct kvm_vcpu *vcpu, struct kvmi_rules *rules, u16 id,
		      u8 actions, const void *data);
void kvmi_rules_free(struct kvm_introspection *session);

int kvmi_vm_set_rules(struct kvmi_vm_request *req);
int kvmi_vm_get_rules(struct kvmi_vm_request *req);

#endif /* __KVMI_RULES_H */
