// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: vCPUs that wait for the tool.
 *
 * They hold nothing that other tasks need but vcpu->mutex.
 *
 * A guest with a vCPU that waits for long is notified through kvm-clock that it
 * was stopped.  So are its other vCPUs, again and again, as they may be waiting
 * for that one while their watchdogs run on.  A worker looks for such vCPUs
 * once a second, as long as any vCPU waits.
 */

#include <linux/kvm_host.h>

#include "arch.h"
#include "limits.h"
#include "message.h"
#include "session.h"
#include "vcpu.h"
#include "wait.h"

static void watch_waits(struct kvm_introspection *session)
{
	if (!READ_ONCE(session->watched) && !xchg(&session->watched, true))
		schedule_delayed_work(&session->watch, KVMI_STANDSTILL);
}

/*
 * Begin to wait for the tool, on the vCPU's thread, between kvmi_vcpu_enter() and
 * kvmi_vcpu_leave().  The vCPU is loaded.  Its SRCU lock is dropped until
 * kvmi_vcpu_end_wait().
 *
 * A task that waits for a lock of KVM, or for an SRCU grace period, e.g. the
 * main thread of the VMM, must not have to wait for the tool.
 */
void kvmi_vcpu_begin_wait(struct kvm_vcpu *vcpu,
			  struct kvm_introspection *session)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	lockdep_assert_not_held(&vi->lock);

	WRITE_ONCE(vi->waits_since, jiffies);
	WRITE_ONCE(vi->waits, true);
	/*
	 * Pairs with that of kvmi_watch_vcpus(): either it sees this vCPU wait,
	 * or it is scheduled.
	 */
	smp_mb();
	watch_waits(session);

	kvm_vcpu_srcu_read_unlock(vcpu);
	kvmi_assert_may_wait(vcpu->kvm);
}

/* Retakes the SRCU lock of the vCPU. */
void kvmi_vcpu_end_wait(struct kvm_vcpu *vcpu)
{
	kvm_vcpu_srcu_read_lock(vcpu);
	WRITE_ONCE(kvmi_to_vcpu(vcpu)->waits, false);
}

/* With an event open a vCPU waits even while its thread is in userspace. */
static bool kvmi_vcpu_waits(struct kvm_vcpu_introspection *vi,
			    unsigned long *since)
{
	if (READ_ONCE(vi->event.state) == KVMI_EVENT_OPEN) {
		*since = READ_ONCE(vi->event.since);
		return true;
	}

	*since = READ_ONCE(vi->waits_since);
	return READ_ONCE(vi->waits);
}

static void kvmi_watch_vcpus(struct work_struct *work)
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
		if (!kvmi_vcpu_waits(kvmi_to_vcpu(vcpu), &since))
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

void kvmi_waits_init(struct kvm_introspection *session)
{
	INIT_DELAYED_WORK(&session->watch, kvmi_watch_vcpus);
}

/* No vCPU uses the session any more. */
void kvmi_waits_end(struct kvm_introspection *session)
{
	cancel_delayed_work_sync(&session->watch);
}
