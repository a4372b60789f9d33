// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: accesses of a vCPU that are granted, beyond what its view of
 * guest memory leaves, for as long as one instruction takes.
 *
 * A vCPU that executes an instruction with accesses granted uses page tables that
 * no other vCPU uses.  At the end what is mapped there by a grant is unmapped, and
 * the TLB flushed before the vCPU uses these page tables again.
 */

#include <linux/kvm_host.h>

#include "introspection/command.h"
#include "introspection/view.h"
#include "grants.h"
#include "step.h"
#include "mmu/tdp_mmu.h"

static void unmap(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	if (!tdp_mmu_enabled)
		return;

	read_lock(&vcpu->kvm->mmu_lock);
	kvm_tdp_mmu_zap_local_leaf(vcpu, gfn);
	read_unlock(&vcpu->kvm->mmu_lock);
}

static struct kvmi_grant *find(struct kvmi_grants *grants, int as_id, gfn_t gfn)
{
	unsigned int i;

	for (i = 0; i < grants->nr; i++) {
		if (grants->all[i].gfn == gfn && grants->all[i].as_id == as_id)
			return &grants->all[i];
	}

	return NULL;
}

/* Has the page that the view shows there, if any, any memory? */
static bool shows_memory(struct kvm_vcpu *vcpu, gfn_t gfn, gfn_t *shown)
{
	struct kvmi_view *view = kvmi_view_find(vcpu->kvm, __kvmi_vcpu_view(vcpu));

	*shown = gfn;
	if (view)
		*shown = kvmi_view_shown_gfn(view, kvm_arch_vcpu_memslots_id(vcpu),
					     gfn);

	return kvm_vcpu_gfn_to_memslot(vcpu, *shown);
}

static bool is_hooked(struct kvm_vcpu_introspection *vi)
{
	guard(spinlock)(&vi->lock);

	return vi->session && vi->arch.asked == vi->nr_sessions;
}

static struct kvmi_grant *add(struct kvm_vcpu *vcpu, int as_id, gfn_t gfn)
{
	struct kvmi_grants *grants = &kvmi_to_vcpu(vcpu)->arch.grants;
	struct kvmi_grant *grant;
	gfn_t old;

	if (grants->nr < KVMI_MAX_GRANTS) {
		grant = &grants->all[grants->nr++];
		*grant = (struct kvmi_grant) { .gfn = gfn, .as_id = as_id };
		return grant;
	}

	grant = &grants->all[grants->oldest++ % KVMI_MAX_GRANTS];
	old = grant->gfn;
	*grant = (struct kvmi_grant) { .gfn = gfn, .as_id = as_id };
	unmap(vcpu, old);
	kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);

	return grant;
}

/**
 * kvmi_grant - grant an access to a page until kvmi_end_grants()
 * @vcpu: the vCPU
 * @gfn: guest frame number
 * @access: KVMI_PAGE_ACCESS_R, KVMI_PAGE_ACCESS_W and KVMI_PAGE_ACCESS_X
 *
 * Where the view shows another page it is that one that is executed, and the guest's
 * own page that is read and written.
 *
 * If there are too many grants the oldest one ends.  An instruction that can be
 * continued, such as a gather, gets on; no other one needs so many.
 *
 * Context: the vCPU's thread, within kvm->srcu.
 * Return: false if who has allowed it has been unhooked meanwhile.
 */
bool kvmi_grant(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	int as_id = kvm_arch_vcpu_memslots_id(vcpu);
	struct kvmi_grant *grant;
	gfn_t shown;

	if (!is_hooked(vi))
		return false;

	grant = find(&vi->arch.grants, as_id, gfn);
	if (!grant)
		grant = add(vcpu, as_id, gfn);
	grant->access |= access;
	kvmi_set_todo(vcpu);

	if (grant->own)
		return true;
	grant->own = !shows_memory(vcpu, gfn, &shown) ||
		     (access & (KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W));
	/* No mapping of a page is replaced by one of another page. */
	if (grant->own && shown != gfn) {
		unmap(vcpu, gfn);
		kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);
	}

	return true;
}

/**
 * kvmi_granted - what is granted to a vCPU of a page?
 * @vcpu: the vCPU
 * @gfn: guest frame number
 *
 * Context: the vCPU's thread.
 * Return: NULL if nothing is.
 */
const struct kvmi_grant *kvmi_granted(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	if (!vi || !vi->arch.grants.nr)
		return NULL;

	return find(&vi->arch.grants, kvm_arch_vcpu_memslots_id(vcpu), gfn);
}

/**
 * kvmi_end_grants - end all grants
 * @vcpu: the vCPU, which does not enter the guest with its own page tables before
 *	its TLB is flushed
 *
 * Context: the vCPU's thread.
 */
void kvmi_end_grants(struct kvm_vcpu *vcpu)
{
	struct kvmi_grants *grants = &kvmi_to_vcpu(vcpu)->arch.grants;
	unsigned int i;

	for (i = 0; i < grants->nr; i++)
		unmap(vcpu, grants->all[i].gfn);
	grants->nr = 0;
	grants->oldest = 0;
}
