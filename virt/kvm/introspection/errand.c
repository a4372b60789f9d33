// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: errands, which the receiver runs on behalf of a vCPU.
 *
 * What KVM keeps per vCPU, e.g. its dirty ring, belongs to whoever has the vCPU
 * loaded.  That is the receiver if it gets the vCPU's mutex, else it is a thread
 * in KVM_RUN, which is asked to run the errand between two entries of the guest
 * or while it waits for an event's answer.
 *
 * The receiver never waits for a mutex: whoever has it may be waiting for the
 * receiver.
 */

#include "command.h"
#include "errand.h"

/* Leave alone what KVM keeps free for the vCPU's own exits. */
static bool has_room(struct kvm_vcpu *vcpu)
{
	struct kvm_dirty_ring *ring = &vcpu->dirty_ring;

	return READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index) <
	       ring->soft_limit;
}

static bool try_to_run(struct kvm_vcpu *vcpu, struct kvmi_errand *errand)
{
	bool run;

	if (!mutex_trylock(&vcpu->mutex))
		return false;

	run = has_room(vcpu);
	if (run) {
		vcpu_load(vcpu);
		errand->result = errand->fn(errand);
		vcpu_put(vcpu);
	}
	mutex_unlock(&vcpu->mutex);

	return run;
}

/* Returns whether the vCPU's thread has run the errand. */
static bool hand_over(struct kvm_vcpu *vcpu, struct kvmi_errand *errand)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	bool taken;

	spin_lock(&vi->lock);
	WRITE_ONCE(vi->errand, errand);
	wake_up(&vi->wait);
	spin_unlock(&vi->lock);
	kvmi_vcpu_request(vcpu);

	if (wait_for_completion_timeout(&errand->done, KVMI_ERRAND_PATIENCE))
		return true;

	/* It may have left KVM_RUN, or be waiting for something. */
	spin_lock(&vi->lock);
	taken = !vi->errand;
	WRITE_ONCE(vi->errand, NULL);
	spin_unlock(&vi->lock);

	if (taken)
		wait_for_completion_state(&errand->done, TASK_IDLE);

	return taken;
}

static bool is_ending(struct kvm_introspection *session)
{
	return READ_ONCE(session->defunct) || READ_ONCE(session->ending);
}

/**
 * kvmi_errand_run - have an errand run on behalf of any vCPU
 * @session: the session
 * @errand: the errand, with its function
 *
 * Context: the receiver.
 * Return: what the errand returned; -KVM_EAGAIN it was not run, as the dirty
 * rings of all vCPUs are full or the session is ending.
 */
int kvmi_errand_run(struct kvm_introspection *session, struct kvmi_errand *errand)
{
	struct kvm_vcpu *vcpu, *running;
	unsigned long i, next = 0;
	bool room;

	init_completion(&errand->done);

	do {
		running = NULL;
		room = false;
		kvm_for_each_vcpu(i, vcpu, session->kvm) {
			if (!has_room(vcpu))
				continue;
			if (try_to_run(vcpu, errand))
				return errand->result;
			room = true;
			/* Ask them in turn. */
			if (kvmi_arch_vcpu_ready(vcpu) &&
			    (!running || (i >= next && running->vcpu_idx < next)))
				running = vcpu;
		}
		if (running) {
			next = running->vcpu_idx + 1;
			if (hand_over(running, errand))
				return errand->result;
		} else if (room) {
			schedule_timeout_idle(KVMI_ERRAND_PATIENCE);
		}
	} while (room && !is_ending(session));

	return -KVM_EAGAIN;
}

/**
 * kvmi_errand_serve - run the errand that the receiver has for a vCPU, if any
 * @vcpu: the vCPU, loaded
 *
 * Context: the vCPU's thread, between kvmi_vcpu_enter() and kvmi_vcpu_leave().
 */
void kvmi_errand_serve(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);
	struct kvmi_errand *errand;

	if (!READ_ONCE(vi->errand))
		return;

	spin_lock(&vi->lock);
	errand = vi->errand;
	WRITE_ONCE(vi->errand, NULL);
	spin_unlock(&vi->lock);

	if (errand) {
		errand->result = has_room(vcpu) ? errand->fn(errand) : -KVM_EAGAIN;
		complete(&errand->done);
	}
}
