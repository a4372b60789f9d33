// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: vCPUs that wait for the tool.
 *
 * They hold nothing that others need but vcpu->mutex.
 *
 * A guest with a vCPU that waits for long is told by kvm-clock that it stands still.
 * Its other vCPUs, which may be waiting for that one, are told again and again, as their
 * watchdogs run on.  This is looked after once a second, and not at all as long as no
 * vCPU waits.
 */

#include "command.h"
#include "vcpu.h"

static void watch_waits(struct kvm_introspection *session)
{
	if (!READ_ONCE(session->watched) && !xchg(&session->watched, true))
		schedule_delayed_work(&session->watch, KVMI_STANDSTILL);
}

/**
 * kvmi_vcpu_begin_wait - begin to wait for the tool on the vCPU's thread
 * @vcpu: the vCPU, loaded; its SRCU lock is held, and dropped
 * @session: the session
 *
 * Whoever waits for a lock of KVM's, or for a grace period, e.g. the VMM's main
 * thread, must not wait for the tool.
 *
 * Context: between kvmi_vcpu_enter() and kvmi_vcpu_leave().
 */
void kvmi_vcpu_begin_wait(struct kvm_vcpu *vcpu,
			  struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	lockdep_assert_not_held(&vi->lock);

	WRITE_ONCE(vi->waits_since, jiffies);
	WRITE_ONCE(vi->waits, true);
	/* Pairs with that of watch(): it sees that this vCPU waits, or is started. */
	smp_mb();
	watch_waits(session);

	kvm_vcpu_srcu_read_unlock(vcpu);
	kvmi_assert_may_wait(vcpu->kvm);
}

/**
 * kvmi_vcpu_end_wait - end what kvmi_vcpu_begin_wait() began
 * @vcpu: the vCPU; its SRCU lock is retaken
 */
void kvmi_vcpu_end_wait(struct kvm_vcpu *vcpu)
{
	kvm_vcpu_srcu_read_lock(vcpu);
	WRITE_ONCE(kvmi_to_vcpu(vcpu)->waits, false);
}

/* With an event open it waits even while its thread is in userspace. */
static bool waits(struct kvm_vcpu_introspection *vi, unsigned long *since)
{
	if (READ_ONCE(vi->event.state) == KVMI_EVENT_OPEN) {
		*since = READ_ONCE(vi->event.since);
		return true;
	}

	*since = READ_ONCE(vi->waits_since);
	return READ_ONCE(vi->waits);
}

static void watch(struct work_struct *work)
{
	struct kvm_introspection *session =
		container_of(to_delayed_work(work), struct kvm_introspection, watch);
	bool any = false, still = false;
	struct kvm_vcpu *vcpu;
	unsigned long i, since;

	WRITE_ONCE(session->watched, false);
	/* Pairs with that of kvmi_vcpu_begin_wait(). */
	smp_mb();

	kvm_for_each_vcpu(i, vcpu, session->kvm) {
		if (!waits(kvmi_to_vcpu(vcpu), &since))
			continue;
		any = true;
		if (time_after_eq(jiffies, since + KVMI_STANDSTILL))
			still = true;
	}

	if (still) {
		kvm_for_each_vcpu(i, vcpu, session->kvm)
			kvmi_arch_vcpu_stood_still(vcpu);
	}
	if (any)
		watch_waits(session);
}

/**
 * kvmi_waits_init - prepare to look after the vCPUs of a session that wait
 * @session: the session
 */
void kvmi_waits_init(struct kvm_introspection *session)
{
	INIT_DELAYED_WORK(&session->watch, watch);
}

/**
 * kvmi_waits_end - look after them no more
 * @session: the session, which no vCPU uses any more
 */
void kvmi_waits_end(struct kvm_introspection *session)
{
	cancel_delayed_work_sync(&session->watch);
}
