// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: writes to control registers and MSRs.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/arch.h"
#include "introspection/command.h"
#include "introspection/event.h"
#include "introspection/limits.h"
#include "introspection/vcpu.h"
#include "hooks_emulator.h"
#include "hooks_regs.h"
#include "intercepts.h"
#include "msrs.h"
#include "registers.h"
#include "regs.h"
#include "step.h"
#include "x86.h"

static void clear_msrs(unsigned long (*msrs)[KVMI_RANGE_LONGS])
{
	unsigned int i;

	for (i = 0; i < KVMI_RANGE_LONGS; i++) {
		WRITE_ONCE(msrs[0][i], 0);
		WRITE_ONCE(msrs[1][i], 0);
	}
}

/*
 * Clear what the tool has requested, with @forget including the choice of
 * control registers and MSRs.  Called by unhooking with the vCPU's lock held,
 * while the vCPU's thread may be reading: fields that it uses only if one of
 * these is set are left alone.
 */
void kvmi_arch_vcpu_clear(struct kvm_vcpu *vcpu, bool forget)
{
	struct kvmi_arch_vcpu *arch = &vcpu->introspection->arch;

	WRITE_ONCE(arch->injection.pending, false);
	WRITE_ONCE(arch->injection.reported, false);
	WRITE_ONCE(arch->unasked, 0);
	WRITE_ONCE(arch->view, 0);
	WRITE_ONCE(arch->ad_disabled, 0);
	WRITE_ONCE(arch->step.allowed, false);
	WRITE_ONCE(arch->step.wanted, false);
	WRITE_ONCE(arch->step.once, false);
	WRITE_ONCE(arch->step.in_view, false);
	WRITE_ONCE(arch->step.pending, false);
	kvmi_update_view(vcpu);
	WRITE_ONCE(arch->not_emulated, false);
	/* Interrupts may have had to wait for a step. */
	kvm_make_request(KVM_REQ_EVENT, vcpu);
	if (!forget)
		return;

	WRITE_ONCE(arch->crs, 0);
	WRITE_ONCE(arch->same_crs, 0);
	clear_msrs(arch->msrs);
	clear_msrs(arch->same_msrs);
}

/* Make a vCPU recompute its intercepts before it enters the guest again. */
void kvmi_arch_vcpu_recalc(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_RECALC_INTERCEPTS, vcpu);
}

/*
 * Make all vCPUs recompute their intercepts.  When this returns no vCPU
 * executes guest code with the old ones.
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

static unsigned long *find_msr(unsigned long (*msrs)[KVMI_RANGE_LONGS], u32 msr,
			       unsigned int *bit)
{
	*bit = msr & (KVMI_NR_RANGE_MSRS - 1);

	switch (msr & ~(KVMI_NR_RANGE_MSRS - 1)) {
	case 0:
		return msrs[0];
	case KVMI_HIGH_MSRS:
		return msrs[1];
	default:
		return NULL;
	}
}

/* Return the other index of a register that has two, or the same index. */
u32 kvmi_msr_alias(u32 msr)
{
	u32 nr;

	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
		return MSR_KVM_WALL_CLOCK_NEW;
	case MSR_KVM_WALL_CLOCK_NEW:
		return MSR_KVM_WALL_CLOCK;
	case MSR_KVM_SYSTEM_TIME:
		return MSR_KVM_SYSTEM_TIME_NEW;
	case MSR_KVM_SYSTEM_TIME_NEW:
		return MSR_KVM_SYSTEM_TIME;
	case MSR_IA32_SPEC_CTRL:
		return MSR_AMD64_VIRT_SPEC_CTRL;
	case MSR_AMD64_VIRT_SPEC_CTRL:
		return MSR_IA32_SPEC_CTRL;
	case MSR_IA32_PERFCTR0 ... MSR_IA32_PERFCTR0 + 7:
		return msr - MSR_IA32_PERFCTR0 + MSR_IA32_PMC0;
	case MSR_IA32_PMC0 ... MSR_IA32_PMC0 + 7:
		return msr - MSR_IA32_PMC0 + MSR_IA32_PERFCTR0;
	case MSR_K7_EVNTSEL0 ... MSR_K7_EVNTSEL3:
		return MSR_F15H_PERF_CTL + 2 * (msr - MSR_K7_EVNTSEL0);
	case MSR_K7_PERFCTR0 ... MSR_K7_PERFCTR3:
		return MSR_F15H_PERF_CTR + 2 * (msr - MSR_K7_PERFCTR0);
	case MSR_F15H_PERF_CTL ... MSR_F15H_PERF_CTL + 7:
		nr = (msr - MSR_F15H_PERF_CTL) / 2;
		return msr & 1 ? MSR_K7_PERFCTR0 + nr : MSR_K7_EVNTSEL0 + nr;
	default:
		return msr;
	}
}

static bool is_chosen(unsigned long (*chosen)[KVMI_RANGE_LONGS], u32 msr)
{
	unsigned long *msrs;
	unsigned int bit;

	msrs = find_msr(chosen, msr, &bit);
	return msrs && test_bit(bit, msrs);
}

static bool is_msr_chosen(struct kvm_vcpu *vcpu, u32 msr)
{
	struct kvmi_arch_vcpu *arch = &kvmi_to_vcpu(vcpu)->arch;

	return is_chosen(arch->msrs, msr) ||
	       is_chosen(arch->msrs, kvmi_msr_alias(msr));
}

bool __kvmi_wants_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	return kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_MSR) &&
	       is_msr_chosen(vcpu, msr);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvmi_wants_msr);

static bool wants_same_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return is_chosen(vi->arch.same_msrs, msr) ||
	       is_chosen(vi->arch.same_msrs, kvmi_msr_alias(msr));
}

enum kvmi_verdict kvmi_action_to_verdict(int action)
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

/*
 * Get the length of the instruction that caused the VM exit, 0 if there is nothing
 * to move RIP past.  Without hardware that provides it, it is decoded from memory,
 * where another vCPU can change it; KVM then skips as many bytes.  Return false if there is
 * another instruction already, which is to be executed.
 */
bool kvmi_get_insn_len(struct kvm_vcpu *vcpu, u8 *len)
{
	*len = kvm_x86_call(get_exit_insn_len)(vcpu);

	return *len || boot_cpu_has(X86_FEATURE_VMX);
}

/* Report an instruction that caused a VM exit, or is being emulated. */
enum kvmi_verdict kvmi_report_insn(struct kvm_vcpu *vcpu, u16 id, const void *data,
				   size_t size, void *reply, size_t reply_size)
{
	u8 len;

	/* KVM's emulator knows where it goes on, and so does VMX. */
	if (!boot_cpu_has(X86_FEATURE_VMX) && !__kvmi_emulation_watched(vcpu) &&
	    !kvmi_get_insn_len(vcpu, &len))
		return KVMI_RETRY;

	return kvmi_action_to_verdict(kvmi_event(vcpu, id, data, size, reply, reply_size));
}

unsigned long kvmi_read_cr(struct kvm_vcpu *vcpu, int cr)
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

/* Return true if a change of a control register is to be reported. */
bool kvmi_cr_differs(int cr, u64 old, u64 new)
{
	/* The guest owns TS, where hardware supports that. */
	return (old ^ new) & ~(cr ? 0 : X86_CR0_TS);
}

enum kvmi_verdict __kvmi_cr_write(struct kvm_vcpu *vcpu, int cr,
				  unsigned long *val)
{
	struct kvmi_vcpu_event_cr_reply reply = { };
	struct kvmi_vcpu_event_cr event = {
		.cr = cr,
		.new_value = *val,
	};
	enum kvmi_verdict v;

	if (!test_bit(cr, &kvmi_to_vcpu(vcpu)->arch.crs))
		return KVMI_ALLOW;

	/* A hint for the TLB, not part of the register */
	if (cr == 3 && kvm_is_cr4_bit_set(vcpu, X86_CR4_PCIDE))
		event.new_value &= ~X86_CR3_PCID_NOFLUSH;

	event.old_value = kvmi_read_cr(vcpu, cr);
	if (!kvmi_cr_differs(cr, event.old_value, event.new_value) &&
	    !test_bit(cr, &kvmi_to_vcpu(vcpu)->arch.same_crs))
		return KVMI_ALLOW;

	reply.new_val = event.new_value;
	v = kvmi_report_insn(vcpu, KVMI_VCPU_EVENT_CR, &event, sizeof(event), &reply,
			     sizeof(reply));
	if (v == KVMI_ALLOW && reply.new_val != event.new_value)
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

	if (!is_msr_chosen(vcpu, msr))
		return KVMI_ALLOW;

	/* The MSR filter of userspace takes precedence, if there is one. */
	if (rcu_access_pointer(vcpu->kvm->arch.msr_filter) &&
	    !kvm_msr_allowed(vcpu, msr, KVM_MSR_FILTER_WRITE))
		return KVMI_ALLOW;

	/* Nothing to report for an MSR that the guest does not have */
	if (__kvm_emulate_msr_read(vcpu, msr, &event.old_value) ||
	    (event.old_value == event.new_value && !wants_same_msr(vcpu, msr)))
		return KVMI_ALLOW;

	v = kvmi_report_insn(vcpu, KVMI_VCPU_EVENT_MSR, &event, sizeof(event), &reply,
			     sizeof(reply));
	if (v == KVMI_ALLOW)
		*data = reply.new_val;

	return v;
}

static bool valid_flags(u8 flags, bool enable)
{
	return !(flags & ~KVMI_CONTROL_SAME_VALUE) && (enable || !flags);
}

int kvmi_vcpu_control_cr(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_cr *data = req->data;

	if (data->padding1 || data->padding2 || data->enable > 1)
		return -KVM_EINVAL;
	if (data->cr != 0 && data->cr != 3 && data->cr != 4)
		return -KVM_EINVAL;
	if (!valid_flags(data->flags, data->enable))
		return -KVM_EINVAL;
	/* VM exits for the others occur only if their value changes. */
	if (data->flags & KVMI_CONTROL_SAME_VALUE && data->cr != 3)
		return -KVM_EOPNOTSUPP;

	assign_bit(data->cr, &req->vi->arch.crs, data->enable);
	assign_bit(data->cr, &req->vi->arch.same_crs,
		   data->flags & KVMI_CONTROL_SAME_VALUE);
	kvmi_arch_vcpu_recalc(req->vcpu);

	return 0;
}

/*
 * MSRs that KVM itself passes through and intercepts dynamically: the registers
 * of an x2APIC, and those of last branches.
 */
static bool is_passed_through_on_demand(u32 msr)
{
	switch (msr) {
	case APIC_BASE_MSR ... APIC_BASE_MSR + 0xff:
	case MSR_LBR_SELECT:
	case MSR_LBR_TOS:
	case MSR_LBR_CORE_FROM ... MSR_LBR_CORE_FROM + 7:
	case MSR_LBR_CORE_TO ... MSR_LBR_CORE_TO + 7:
	case MSR_LBR_NHM_FROM ... MSR_LBR_NHM_FROM + 0x1f:
	case MSR_LBR_NHM_TO ... MSR_LBR_NHM_TO + 0x1f:
	case MSR_LBR_INFO_0 ... MSR_LBR_INFO_0 + 0x1f:
		return true;
	default:
		return false;
	}
}

/*
 * Return 0 if every WRMSR to an MSR can be reported.  Some MSRs change by other
 * instructions, too, which no hardware intercepts, e.g. SWAPGS.
 */
static int check_msr(struct kvm_vcpu *vcpu, u32 msr)
{
	u64 value;

	if (!kvm_msr_allowed(vcpu, msr, KVM_MSR_FILTER_WRITE))
		return -KVM_EPERM;
	if (is_passed_through_on_demand(msr))
		return -KVM_EOPNOTSUPP;
	/* The event includes the old value. */
	if (kvmi_get_msr(vcpu, msr, &value))
		return -KVM_EINVAL;

	return 0;
}

int kvmi_vcpu_control_msr(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_control_msr *data = req->data;
	struct kvmi_arch_vcpu *arch = &req->vi->arch;
	unsigned long *msrs, *same_msrs;
	unsigned int bit;
	int err;

	if (data->padding || data->enable > 1 ||
	    !valid_flags(data->flags, data->enable))
		return -KVM_EINVAL;
	msrs = find_msr(arch->msrs, data->msr, &bit);
	same_msrs = find_msr(arch->same_msrs, data->msr, &bit);
	if (!msrs)
		return -KVM_EINVAL;
	if (data->enable) {
		if (req->unloaded)
			return KVMI_ON_VCPU;
		err = check_msr(req->vcpu, data->msr);
		if (err)
			return err;
	}

	assign_bit(bit, msrs, data->enable);
	assign_bit(bit, same_msrs, data->flags & KVMI_CONTROL_SAME_VALUE);
	kvmi_arch_vcpu_recalc(req->vcpu);

	return 0;
}

int kvmi_vcpu_get_control(struct kvmi_vcpu_request *req)
{
	struct kvmi_vcpu_get_control_reply *reply = req->reply;
	const struct kvmi_arch_vcpu *arch = &req->vi->arch;

	static_assert(sizeof(*reply) <= KVMI_MAX_REPLY_DATA);
	static_assert(sizeof(reply->msrs) == sizeof(arch->msrs));
	static_assert(sizeof(reply->same_msrs) == sizeof(arch->same_msrs));

	*reply = (struct kvmi_vcpu_get_control_reply) {
		.events = req->vcpu->introspection_events,
		.crs = arch->crs,
		.same_crs = arch->same_crs,
		.singlestep = READ_ONCE(arch->step.wanted),
	};
	memcpy(reply->msrs, arch->msrs, sizeof(reply->msrs));
	memcpy(reply->same_msrs, arch->same_msrs, sizeof(reply->same_msrs));
	req->reply_size = sizeof(*reply);

	return 0;
}
