// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: writes to control registers and MSRs.
 */

#include <linux/kvm_host.h>

#include "introspection/command.h"
#include "introspection/event.h"
#include "intercepts.h"
#include "msrs.h"
#include "regs.h"
#include "registers.h"
#include "x86.h"

/**
 * kvmi_arch_vcpu_clear - want nothing more
 * @arch: the wishes
 * @forget: the choice of control registers and MSRs, too
 */
void kvmi_arch_vcpu_clear(struct kvmi_arch_vcpu *arch, bool forget)
{
	arch->injection = (struct kvmi_injection) { };
	WRITE_ONCE(arch->view, 0);
	WRITE_ONCE(arch->ad_disabled, 0);
	arch->step = (struct kvmi_step) { };
	arch->not_emulated = false;
	if (!forget)
		return;

	WRITE_ONCE(arch->crs, 0);
	bitmap_zero(arch->low_msrs, KVMI_NR_RANGE_MSRS);
	bitmap_zero(arch->high_msrs, KVMI_NR_RANGE_MSRS);
}

/**
 * kvmi_arch_vcpu_recalc - have a vCPU recompute what it intercepts
 * @vcpu: the vCPU
 *
 * Context: the vCPU's thread.
 */
void kvmi_arch_vcpu_recalc(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_RECALC_INTERCEPTS, vcpu);
}

/**
 * kvmi_arch_vm_recalc - have all vCPUs recompute what they intercept
 * @kvm: the VM
 *
 * When this returns no vCPU runs guest code with the old intercepts.
 */
void kvmi_arch_vm_recalc(struct kvm *kvm)
{
	kvm_make_all_cpus_request(kvm, KVM_REQ_RECALC_INTERCEPTS);
	kvm_make_all_cpus_request(kvm, KVM_REQ_OUTSIDE_GUEST_MODE);
}

bool __kvmi_wants_cr(struct kvm_vcpu *vcpu, int cr)
{
	return kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_CR) &&
	       test_bit(cr, &kvmi_to_vcpu(vcpu)->arch.crs);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_wants_cr);

static unsigned long *find_msr(struct kvmi_arch_vcpu *arch, u32 msr,
			       unsigned int *bit)
{
	*bit = msr & (KVMI_NR_RANGE_MSRS - 1);

	switch (msr & ~(KVMI_NR_RANGE_MSRS - 1)) {
	case 0:
		return arch->low_msrs;
	case KVMI_HIGH_MSRS:
		return arch->high_msrs;
	default:
		return NULL;
	}
}

bool __kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	unsigned long *msrs;
	unsigned int bit;

	if (!kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_MSR))
		return false;

	msrs = find_msr(&kvmi_to_vcpu(vcpu)->arch, msr, &bit);
	return msrs && test_bit(bit, msrs);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_wants_msr);

/**
 * kvmi_verdict_of - what an answer means for an instruction
 * @action: KVMI_EVENT_ACTION_* or KVMI_EVENT_INTERRUPTED
 */
enum kvmi_verdict kvmi_verdict_of(int action)
{
	switch (action) {
	case KVMI_EVENT_ACTION_ALLOW:
		return KVMI_ALLOW;
	case KVMI_EVENT_ACTION_SKIP:
		return KVMI_SKIP;
	default:
		return KVMI_RETRY;
	}
}

static unsigned long read_cr(struct kvm_vcpu *vcpu, int cr)
{
	switch (cr) {
	case 0:
		return kvm_read_cr0(vcpu);
	case 3:
		return kvm_read_cr3(vcpu);
	default:
		return kvm_read_cr4(vcpu);
	}
}

enum kvmi_verdict __kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
				  unsigned long *val)
{
	struct kvmi_vcpu_event_cr_reply reply = { .new_val = *val };
	struct kvmi_vcpu_event_cr event = {
		.cr = cr,
		.new_value = *val,
	};
	enum kvmi_verdict v;

	if (!__kvmi_wants_cr(vcpu, cr))
		return KVMI_ALLOW;

	event.old_value = read_cr(vcpu, cr);
	if (event.old_value == event.new_value)
		return KVMI_ALLOW;

	v = kvmi_verdict_of(kvmi_event(vcpu, KVMI_VCPU_EVENT_CR, &event,
				       sizeof(event), &reply, sizeof(reply)));
	if (v == KVMI_ALLOW)
		*val = reply.new_val;

	return v;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_cr_write);

enum kvmi_verdict __kvmi_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 *data)
{
	struct kvmi_vcpu_event_msr_reply reply = { .new_val = *data };
	struct kvmi_vcpu_event_msr event = {
		.msr = msr,
		.new_value = *data,
	};
	enum kvmi_verdict v;

	if (!__kvmi_wants_msr(vcpu, msr))
		return KVMI_ALLOW;

	/* What userspace denies the guest is between the two of them. */
	if (!kvm_msr_allowed(vcpu, msr, KVM_MSR_FILTER_WRITE))
		return KVMI_ALLOW;

	/* There is nothing to decide about an MSR that does not exist. */
	if (kvmi_get_msr(vcpu, msr, &event.old_value) ||
	    event.old_value == event.new_value)
		return KVMI_ALLOW;

	v = kvmi_verdict_of(kvmi_event(vcpu, KVMI_VCPU_EVENT_MSR, &event,
				       sizeof(event), &reply, sizeof(reply)));
	if (v == KVMI_ALLOW)
		*data = reply.new_val;

	return v;
}

/**
 * kvmi_vcpu_control_cr - KVMI_VCPU_CONTROL_CR
 * @req: the request
 */
int kvmi_vcpu_control_cr(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_cr *data = req->data;

	if (data->padding1 || data->padding2 || data->enable > 1)
		return -KVM_EINVAL;
	if (data->cr != 0 && data->cr != 3 && data->cr != 4)
		return -KVM_EINVAL;

	assign_bit(data->cr, &req->vi->arch.crs, data->enable);
	kvmi_arch_vcpu_recalc(req->vcpu);

	return 0;
}

/**
 * kvmi_vcpu_control_msr - KVMI_VCPU_CONTROL_MSR
 * @req: the request
 */
int kvmi_vcpu_control_msr(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_msr *data = req->data;
	unsigned long *msrs;
	unsigned int bit;

	if (data->padding1 || data->padding2 || data->enable > 1)
		return -KVM_EINVAL;
	msrs = find_msr(&req->vi->arch, data->msr, &bit);
	if (!msrs)
		return -KVM_EINVAL;
	if (data->enable &&
	    !kvm_msr_allowed(req->vcpu, data->msr, KVM_MSR_FILTER_WRITE))
		return -KVM_EPERM;

	assign_bit(bit, msrs, data->enable);
	kvmi_arch_vcpu_recalc(req->vcpu);

	return 0;
}
