// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: accesses that are granted to a vCPU for one instruction,
 * in addition to what its view permits.
 *
 * Such an instruction is executed with page tables that no other vCPU uses.
 * Afterwards SPTEs that exist by a grant are zapped, and the TLB is flushed
 * before the vCPU uses these page tables again.
 */

#include <linux/kvm_host.h>

#include <asm/kvmi_host.h>

#include "introspection/vcpu.h"
#include "introspection/view.h"
#include "grants.h"
#include "mmu/tdp_mmu.h"
#include "step.h"

static void kvmi_unmap_grant(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	if (!tdp_mmu_enabled)
		return;

	read_lock(&vcpu->kvm->mmu_lock);
	kvm_tdp_mmu_zap_local_leaf(vcpu, gfn);
	read_unlock(&vcpu->kvm->mmu_lock);
}

static struct kvmi_grant *kvmi_find_grant(struct kvmi_grants *grants, int as_id,
					  gfn_t gfn)
{
	unsigned int i;

	for (i = 0; i < grants->nr; i++) {
		if (grants->all[i].gfn == gfn && grants->all[i].as_id == as_id)
			return &grants->all[i];
	}

	return NULL;
}

/*
 * Return true if the page that the view maps at @gfn, or @gfn itself, has a
 * memslot.
 */
static bool shows_memory(struct kvm_vcpu *vcpu, gfn_t gfn, gfn_t *shown)
{
	struct kvmi_view *view = kvmi_view_find(vcpu->kvm, kvmi_vcpu_view(vcpu));

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

static struct kvmi_grant *kvmi_add_grant(struct kvm_vcpu *vcpu, int as_id,
					 gfn_t gfn)
{
	struct kvmi_grants *grants = &kvmi_to_vcpu(vcpu)->arch.grants;
	struct kvmi_grant *grant;
	gfn_t old;

	if (grants->nr < KVMI_MAX_GRANTS) {
		grant = &grants->all[grants->nr++];
		*grant = (struct kvmi_grant) { .gfn = gfn, .as_id = as_id };
		return grant;
	}

	grant = &grants->all[grants->oldest];
	grants->oldest = (grants->oldest + 1) % KVMI_MAX_GRANTS;
	old = grant->gfn;
	*grant = (struct kvmi_grant) { .gfn = gfn, .as_id = as_id };
	kvmi_unmap_grant(vcpu, old);
	kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);

	return grant;
}

/*
 * Grant an access to a page until kvmi_end_grants().  For a remapped gfn, the
 * page it is remapped to is executed, and the guest's own page is read and
 * written.
 *
 * If there are too many grants, replace the oldest.  Only instructions that can
 * be continued, such as gathers, need so many.
 *
 * On the vCPU's thread, within kvm->srcu.  Return false if the session that has
 * allowed the access was unhooked meanwhile.
 */
bool kvmi_grant(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	int as_id = kvm_arch_vcpu_memslots_id(vcpu);
	struct kvmi_grant *grant;
	gfn_t shown;

	if (!is_hooked(vi))
		return false;
	if (vi->arch.grants.session != vi->arch.asked) {
		kvmi_end_grants(vcpu);
		vi->arch.grants.session = vi->arch.asked;
	}

	grant = kvmi_find_grant(&vi->arch.grants, as_id, gfn);
	if (!grant)
		grant = kvmi_add_grant(vcpu, as_id, gfn);
	grant->access |= access;
	kvmi_set_todo(vcpu);

	if (grant->own)
		return true;
	grant->own = !shows_memory(vcpu, gfn, &shown) ||
		     (access & (KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W));
	/* Zap first, a present SPTE must not change its page. */
	if (grant->own && shown != gfn) {
		kvmi_unmap_grant(vcpu, gfn);
		kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);
	}

	return true;
}

/*
 * Withdraw one, if the instruction is not executed as the tool has allowed, but
 * goes on; vCPU's thread only.
 */
void kvmi_end_grant(struct kvm_vcpu *vcpu, gfn_t gfn, u8 access)
{
	struct kvmi_grant *grant;

	grant = kvmi_find_grant(&kvmi_to_vcpu(vcpu)->arch.grants,
				kvm_arch_vcpu_memslots_id(vcpu), gfn);
	if (!grant)
		return;

	grant->access &= ~access;
	kvmi_unmap_grant(vcpu, gfn);
	kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, vcpu);
}

/* Return what is granted to a vCPU for a page, or NULL; vCPU's thread only. */
const struct kvmi_grant *kvmi_granted(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	/* Unhooking leaves grants to this thread, and the next tool knows none. */
	if (!vi || !vi->arch.grants.nr ||
	    vi->arch.grants.session != READ_ONCE(vi->nr_sessions))
		return NULL;

	return kvmi_find_grant(&vi->arch.grants,
			       kvm_arch_vcpu_memslots_id(vcpu), gfn);
}

/*
 * End all grants, before the TLB is flushed for the next use of the vCPU's own
 * page tables; vCPU's thread only.
 */
void kvmi_end_grants(struct kvm_vcpu *vcpu)
{
	struct kvmi_grants *grants = &kvmi_to_vcpu(vcpu)->arch.grants;
	unsigned int i;

	for (i = 0; i < grants->nr; i++)
		kvmi_unmap_grant(vcpu, grants->all[i].gfn);
	grants->nr = 0;
	grants->oldest = 0;
}
