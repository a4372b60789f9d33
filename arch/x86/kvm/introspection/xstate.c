// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: the extended state of an x86 vCPU, i.e. its FPU and vector
 * registers and what controls them.
 *
 * Commands run in KVM_RUN, where the guest's FPU state is in the CPU and has to
 * be saved to memory first.
 */

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include <asm/cpuid/api.h>

#include "introspection/arch.h"
#include "introspection/command.h"
#include "fpu.h"
#include "x86.h"

static_assert(sizeof_field(struct kvm_xsave, region) == KVMI_XSAVE_SIZE);

int kvmi_vcpu_get_xcr(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_get_xcr *data = req->data;
	struct kvmi_vcpu_get_xcr_reply *reply = req->reply;

	if (memchr_inv(data->padding, 0, sizeof(data->padding)) || data->xcr)
		return -KVM_EINVAL;

	reply->value = req->vcpu->arch.xcr0;
	req->reply_size = sizeof(*reply);

	return 0;
}

/* Return true if end_access() has to load the state again. */
static bool begin_access(struct kvm_vcpu *vcpu)
{
	bool in_use = vcpu->arch.guest_fpu.fpstate->in_use;

	if (in_use)
		kvm_put_guest_fpu(vcpu);

	return in_use;
}

static void end_access(struct kvm_vcpu *vcpu, bool in_use)
{
	if (in_use)
		kvm_load_guest_fpu(vcpu);
}

static size_t state_size(struct kvm_vcpu *vcpu)
{
	return max_t(size_t, vcpu->arch.guest_fpu.uabi_size, KVMI_XSAVE_SIZE);
}

static u64 *xstate_bv(void *state)
{
	return &((struct xregs_state *)state)->header.xfeatures;
}

/* Return the whole state, in the format of struct kvm_xsave, or NULL. */
static void *get_state(struct kvm_vcpu *vcpu)
{
	size_t size = state_size(vcpu);
	bool in_use;
	void *state;

	state = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!state)
		return NULL;

	in_use = begin_access(vcpu);
	kvm_vcpu_ioctl_x86_get_xsave2(vcpu, state, size);
	end_access(vcpu, in_use);

	return state;
}

/*
 * Unlike userspace, a tool must not load more than CPUID reports to the guest.
 */
static int set_state(struct kvm_vcpu *vcpu, void *state)
{
	bool in_use;
	int r;

	if (*xstate_bv(state) &
	    ~(vcpu->arch.guest_supported_xcr0 | XFEATURE_MASK_FPSSE))
		return -KVM_EINVAL;

	in_use = begin_access(vcpu);
	r = kvm_vcpu_ioctl_x86_set_xsave(vcpu, state);
	end_access(vcpu, in_use);

	return r ? -KVM_EINVAL : 0;
}

/* The part of the state that KVMI_VCPU_GET_XSAVE and KVMI_VCPU_SET_XSAVE access */
struct visible_part {
	/* Bytes of the state */
	unsigned int end;
	/* Components that are not entirely in these bytes */
	u64 beyond;
};

static struct visible_part visible_part(struct kvm_vcpu *vcpu)
{
	struct visible_part part = { .end = KVMI_XSAVE_SIZE };
	unsigned long components = vcpu->arch.guest_supported_xcr0;
	u32 size, offset, ecx, edx;
	unsigned int i;

	if (state_size(vcpu) == KVMI_XSAVE_SIZE)
		return part;

	/* x87 and SSE come first, and are not enumerated by CPUID. */
	components &= ~XFEATURE_MASK_FPSSE;
	for_each_set_bit(i, &components, BITS_PER_LONG) {
		cpuid_count(CPUID_LEAF_XSTATE, i, &size, &offset, &ecx, &edx);
		if (offset + size <= KVMI_XSAVE_SIZE)
			continue;
		part.end = min(part.end, offset);
		part.beyond |= BIT_ULL(i);
	}

	return part;
}

int kvmi_vcpu_get_xsave(struct kvmi_vcpu_request *req)
{
	struct visible_part part = visible_part(req->vcpu);
	void *state = get_state(req->vcpu);

	if (!state)
		return -KVM_ENOMEM;

	*xstate_bv(state) &= ~part.beyond;
	memset(req->reply, 0, KVMI_XSAVE_SIZE);
	memcpy(req->reply, state, part.end);
	kvfree(state);
	req->reply_size = KVMI_XSAVE_SIZE;

	return 0;
}

int kvmi_vcpu_set_xsave(struct kvmi_vcpu_request *req)
{
	struct visible_part part = visible_part(req->vcpu);
	void *state;
	u64 beyond;
	int err;

	if (req->size < KVMI_XSAVE_SIZE)
		return -KVM_EINVAL;
	state = get_state(req->vcpu);
	if (!state)
		return -KVM_ENOMEM;

	beyond = *xstate_bv(state) & part.beyond;
	memcpy(state, req->data, part.end);
	*xstate_bv(state) &= ~part.beyond;
	*xstate_bv(state) |= beyond;
	err = set_state(req->vcpu, state);
	kvfree(state);

	return err;
}

int kvmi_vcpu_get_xsave2(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_get_xsave2 *data = req->data;
	struct kvmi_vcpu_get_xsave2_reply *reply = req->reply;
	size_t total = state_size(req->vcpu);
	size_t size;
	u8 *state;

	if (!data->size || data->size > KVMI_MAX_REPLY_DATA - sizeof(*reply))
		return -KVM_EINVAL;
	if (data->offset >= total)
		return -KVM_EINVAL;
	state = get_state(req->vcpu);
	if (!state)
		return -KVM_ENOMEM;

	size = min(data->size, total - data->offset);
	*reply = (struct kvmi_vcpu_get_xsave2_reply) { .total = total };
	memcpy(reply->data, state + data->offset, size);
	kvfree(state);
	req->reply_size = struct_size(reply, data, size);

	return 0;
}

int kvmi_vcpu_set_xsave2(struct kvmi_vcpu_request *req)
{
	const struct kvmi_vcpu_set_xsave2 *data = req->data;
	size_t total = state_size(req->vcpu);
	size_t size;
	u8 *state;
	int err;

	if (data->padding || req->size <= sizeof(*data))
		return -KVM_EINVAL;
	size = req->size - sizeof(*data);
	if (data->offset > total || size > total - data->offset)
		return -KVM_EINVAL;
	state = get_state(req->vcpu);
	if (!state)
		return -KVM_ENOMEM;

	memcpy(state + data->offset, data->data, size);
	err = set_state(req->vcpu, state);
	kvfree(state);

	return err;
}
