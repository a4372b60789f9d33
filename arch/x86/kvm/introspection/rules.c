// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: what rules compare of the events of x86.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/event.h"
#include "introspection/rules.h"
#include "introspection/vcpu.h"
#include "intercepts.h"
#include "regs.h"
#include "x86.h"

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

/*
 * A page fault does not have the size of the access, which may begin in front
 * of a range of bytes and end in it.
 */
bool kvmi_arch_check_rule(u16 id, const struct kvmi_rule *rule)
{
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
		break;
	}
	case KVMI_VCPU_EVENT_MSR: {
		const struct kvmi_vcpu_event_msr *msr = data;

		set_number(op, msr->msr);
		op->alias = kvmi_msr_alias(msr->msr);
		op->value = msr->new_value;
		op->changed = msr->old_value ^ msr->new_value;
		break;
	}
	case KVMI_VCPU_EVENT_XSETBV: {
		const struct kvmi_vcpu_event_xsetbv *xsetbv = data;

		set_number(op, xsetbv->xcr);
		op->value = xsetbv->new_value;
		op->changed = xsetbv->old_value ^ xsetbv->new_value;
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
		op->kind = pf->access;
		/* KVM has found that it can't, and asks what to do instead. */
		if (pf->flags & KVMI_PF_NOT_EMULATED)
			op->impossible = BIT(KVMI_RULE_SKIP) | BIT(KVMI_RULE_TRACE);
		/* Without ACCESS events, accesses would not be asked about. */
		if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_ACCESS))
			op->impossible |= BIT(KVMI_RULE_TRACE);
		break;
	}
	case KVMI_VCPU_EVENT_ACCESS: {
		const struct kvmi_vcpu_event_access *access = data;

		op->first = access->gpa;
		op->alias = access->gpa;
		op->last = access->gpa + access->size - 1;
		op->kind = access->access;
		break;
	}
	case KVMI_VCPU_EVENT_BREAKPOINT: {
		const struct kvmi_vcpu_event_breakpoint *breakpoint = data;

		set_number(op, breakpoint->gpa);
		break;
	}
	case KVMI_VCPU_EVENT_DESCRIPTOR: {
		const struct kvmi_vcpu_event_descriptor *descriptor = data;

		op->kind = BIT(descriptor->descriptor) <<
			   (descriptor->write ? KVMI_KIND_WRITE_SHIFT : 0);
		break;
	}
	}
}

/* Where the vCPU's guest is */
void kvmi_arch_vcpu_get_place(struct kvm_vcpu *vcpu, struct kvmi_place *at)
{
	at->cpl = kvm_x86_call(get_cpl)(vcpu);
	at->cr3 = kvm_read_cr3(vcpu);
	at->rip = kvm_rip_read(vcpu);
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

	/* On a vCPU that is created just now more is intercepted than has to be. */
	kvm_for_each_vcpu(i, vcpu, kvm)
		WRITE_ONCE(kvmi_to_vcpu(vcpu)->arch.unasked, unasked);
	kvmi_arch_vm_recalc(kvm);
}
