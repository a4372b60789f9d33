// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what rules compare of the events of x86.
 */

#include <linux/kvm_host.h>

#include "introspection/arch.h"
#include "introspection/event.h"
#include "introspection/rules.h"
#include "introspection/vcpu.h"
#include "cpuid.h"
#include "intercepts.h"
#include "regs.h"
#include "x86.h"

#define ALL_DESCRIPTORS	GENMASK(KVMI_DESC_TR, KVMI_DESC_IDTR)

/* Return the conditions that are about the event's own data. */
u16 kvmi_arch_rule_conditions(u16 id)
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

/* Bits of kvmi_rule.kinds that an event can have */
static u32 kinds_of(u16 id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_PF:
		return KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_X;
	case KVMI_VCPU_EVENT_ACCESS:
		return KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		return ALL_DESCRIPTORS | ALL_DESCRIPTORS << KVMI_KIND_WRITE_SHIFT;
	default:
		return 0;
	}
}

/*
 * A page fault does not have the size of the access, which may begin in front
 * of a range of bytes and end in it.
 */
bool kvmi_arch_check_rule(u16 id, const struct kvmi_rule *rule)
{
	/* A rule that is meant for what never occurs leaves it to those behind. */
	if (rule->kinds & ~kinds_of(id))
		return false;
	if (id != KVMI_VCPU_EVENT_PF || !(rule->match & KVMI_MATCH_NUMBER))
		return true;

	return !offset_in_page(rule->first) && !offset_in_page(rule->last + 1);
}

static void set_number(struct kvmi_operands *op, u64 number)
{
	op->first = number;
	op->last = number;
	op->alias = number;
}

static void set_gpa(struct kvmi_operands *op, struct kvm_vcpu *vcpu, u64 gpa)
{
	set_number(op, gpa);
	op->elsewhere = kvm_arch_vcpu_memslots_id(vcpu);
}

static bool has_subleaves(const struct kvm_cpuid_entry2 *leaf)
{
	return leaf->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
}

/*
 * KVM may answer the last basic leaf instead of one that does not exist, and
 * ignores the subleaf of one without any.  A subleaf that does not exist is zero.
 */
static void set_leaf(struct kvmi_operands *op, struct kvm_vcpu *vcpu,
		     const struct kvmi_vcpu_event_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *leaf;
	u32 function = cpuid->function;

	set_number(op, function);
	op->value = cpuid->index;

	leaf = kvm_find_cpuid_entry_index(vcpu, function, cpuid->index);
	if (!leaf)
		leaf = kvm_find_out_of_range_cpuid_entry(vcpu, &function, cpuid->index);
	op->alias = function;
	if (leaf && !has_subleaves(leaf))
		op->value = 0;
}

/* Fill in what rules compare, from the data of an event. */
void kvmi_arch_rule_operands(struct kvm_vcpu *vcpu, u16 id, const void *data,
			     struct kvmi_operands *op)
{
	switch (id) {
	case KVMI_VCPU_EVENT_CR: {
		const struct kvmi_vcpu_event_cr *cr = data;

		set_number(op, cr->cr);
		op->value = cr->new_value;
		op->changed = cr->old_value ^ cr->new_value;
		op->done = cr->flags & KVMI_CHANGE_DONE;
		break;
	}
	case KVMI_VCPU_EVENT_MSR: {
		const struct kvmi_vcpu_event_msr *msr = data;

		set_number(op, msr->msr);
		op->alias = kvmi_msr_alias(msr->msr);
		op->value = msr->new_value;
		op->changed = msr->old_value ^ msr->new_value;
		op->done = msr->flags & KVMI_CHANGE_DONE;
		break;
	}
	case KVMI_VCPU_EVENT_XSETBV: {
		const struct kvmi_vcpu_event_xsetbv *xsetbv = data;

		set_number(op, xsetbv->xcr);
		op->value = xsetbv->new_value;
		op->changed = xsetbv->old_value ^ xsetbv->new_value;
		break;
	}
	case KVMI_VCPU_EVENT_CPUID:
		set_leaf(op, vcpu, data);
		break;
	case KVMI_VCPU_EVENT_TRAP: {
		const struct kvmi_vcpu_event_trap *trap = data;

		set_number(op, trap->nr);
		op->value = trap->error_code;
		break;
	}
	case KVMI_VCPU_EVENT_PF: {
		const struct kvmi_vcpu_event_pf *pf = data;

		set_gpa(op, vcpu, pf->gpa);
		op->kind = pf->access;
		/*
		 * It is not the instruction at RIP that makes an access in the
		 * delivery of an event, nor code of this CPL.
		 */
		if (pf->flags & KVMI_PF_DELIVERY)
			op->impossible = ~(u32)BIT(KVMI_RULE_CRASH);
		/* KVM has found that it can't, and asks what to do instead. */
		if (pf->flags & KVMI_PF_NOT_EMULATED)
			op->impossible |= BIT(KVMI_RULE_SKIP) | BIT(KVMI_RULE_TRACE);
		/* Without ACCESS events, accesses would not be asked about. */
		if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_ACCESS))
			op->impossible |= BIT(KVMI_RULE_TRACE);
		break;
	}
	case KVMI_VCPU_EVENT_ACCESS: {
		const struct kvmi_vcpu_event_access *access = data;

		set_gpa(op, vcpu, access->gpa);
		op->last = access->gpa + access->size - 1;
		op->kind = access->access;
		break;
	}
	case KVMI_VCPU_EVENT_BREAKPOINT: {
		const struct kvmi_vcpu_event_breakpoint *breakpoint = data;

		set_gpa(op, vcpu, breakpoint->gpa);
		break;
	}
	case KVMI_VCPU_EVENT_DESCRIPTOR: {
		const struct kvmi_vcpu_event_descriptor *descriptor = data;

		op->kind = BIT(descriptor->descriptor) <<
			   (descriptor->write ? KVMI_KIND_WRITE_SHIFT : 0);
		op->done = descriptor->flags & KVMI_CHANGE_DONE;
		break;
	}
	}
}

/* Where the vCPU's guest is */
void kvmi_arch_vcpu_get_place(struct kvm_vcpu *vcpu, struct kvmi_place *at)
{
	at->cpl = kvm_x86_call(get_cpl)(vcpu);
	at->cr3 = kvm_read_cr3(vcpu);
	at->rip = kvm_get_linear_rip(vcpu);
}

/*
 * Exceptions that are allowed in any case, the bits of @unasked, don't have to be
 * intercepted.
 */
void kvmi_arch_rules_changed(struct kvm *kvm, u16 id, u32 unasked)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (id != KVMI_VCPU_EVENT_TRAP)
		return;

	/*
	 * A vCPU that is created just now, or later, intercepts more than it
	 * has to, until rules are set once more.
	 */
	kvm_for_each_vcpu(i, vcpu, kvm)
		WRITE_ONCE(kvmi_to_vcpu(vcpu)->arch.unasked, unasked);
	kvmi_arch_vm_recalc(kvm);
}
