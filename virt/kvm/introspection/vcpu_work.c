// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: work that the receiver needs a loaded vCPU for.
 *
 * Per-vCPU state of KVM, e.g. the dirty ring, may only be touched by the task
 * that has the vCPU loaded: the receiver, if it can take vcpu->mutex, else the
 * task in KVM_RUN, which is asked to run the work between two VM-Enters or
 * while it waits for the reply to an event.
 *
 * The receiver never waits for vcpu->mutex, as its owner may be waiting for the
 * receiver.
 */

#include <linux/kvm_host.h>

#include "arch.h"
#include "limits.h"
#include "session.h"
#include "vcpu.h"
#include "vcpu_work.h"

/* Leave the entries alone that KVM reserves for VM exits of the vCPU. */
static bool has_room(struct kvm_vcpu *vcpu)
{
	struct kvm_dirty_ring *ring = &vcpu->dirty_ring;

	return READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index) <
	       ring->soft_limit;
}

static bool try_to_run(struct kvm_vcpu *vcpu, struct kvmi_vcpu_work *work)
{
	bool run;

	if (!mutex_trylock(&vcpu->mutex))
		return false;

	run = has_room(vcpu);
	if (run) {
		vcpu_load(vcpu);
		work->result = work->fn(work);
		vcpu_put(vcpu);
	}
	mutex_unlock(&vcpu->mutex);

	return run;
}

/* Return true if the vCPU's thread has run the work. */
static bool hand_over(struct kvm_vcpu *vcpu, struct kvmi_vcpu_work *work)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	bool taken;

	work->ran = false;
	reinit_completion(&work->done);
	spin_lock(&vi->lock);
	WRITE_ONCE(vi->work, work);
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);
	kvmi_vcpu_request(vcpu);

	if (wait_for_completion_timeout(&work->done, KVMI_VCPU_WORK_TIMEOUT))
		return work->ran;

	/* The thread may have left KVM_RUN, or be blocked. */
	spin_lock(&vi->lock);
	taken = !vi->work;
	WRITE_ONCE(vi->work, NULL);
	spin_unlock(&vi->lock);

	if (taken)
		wait_for_completion_state(&work->done, TASK_IDLE);

	return work->ran;
}

/* What was sent before the session ends is still done. */
static bool gives_up(struct kvm_introspection *session)
{
	return READ_ONCE(session->defunct) || kvmi_session_too_late(session) ||
	       fatal_signal_pending(current);
}

/*
 * Run work with any vCPU loaded.  Return what it has returned, or -KVM_EAGAIN
 * if it was not run because the dirty rings of all vCPUs are full or the
 * session is ending.
 */
int kvmi_run_on_vcpu(struct kvm_introspection *session,
		     struct kvmi_vcpu_work *work)
{
	struct kvm_vcpu *vcpu, *running;
	unsigned long i, next = 0;
	bool room;

	init_completion(&work->done);

	do {
		running = NULL;
		room = false;
		kvm_for_each_vcpu(i, vcpu, session->kvm) {
			if (!has_room(vcpu))
				continue;
			if (try_to_run(vcpu, work))
				return work->result;
			room = true;
			/* Round robin */
			if (kvmi_arch_vcpu_ready(vcpu) &&
			    (!running || (i >= next && running->vcpu_idx < next)))
				running = vcpu;
		}
		if (running) {
			next = running->vcpu_idx + 1;
			if (hand_over(running, work))
				return work->result;
		} else if (room) {
			schedule_timeout_idle(KVMI_VCPU_WORK_TIMEOUT);
		}
	} while (room && !gives_up(session));

	return -KVM_EAGAIN;
}

/* Run the receiver's work for a vCPU, if any, on the vCPU's thread. */
void kvmi_vcpu_run_work(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_vcpu_work *work;

	if (!READ_ONCE(vi->work))
		return;

	spin_lock(&vi->lock);
	work = vi->work;
	WRITE_ONCE(vi->work, NULL);
	spin_unlock(&vi->lock);

	if (work) {
		/* VM exits of this vCPU may have filled its ring. */
		work->ran = has_room(vcpu);
		if (work->ran)
			work->result = work->fn(work);
		complete(&work->done);
	}
}
