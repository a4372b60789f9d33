/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM whose vCPUs do all the time what introspection has events for
 *
 * Each vCPU has a thread that calls KVM_RUN again and again.  A tool may do
 * whatever it likes to the guest: a vCPU that cannot go on stops, until all are
 * put back to where they began.
 */
#ifndef SELFTEST_KVM_KVMI_BUSY_VM_H
#define SELFTEST_KVM_KVMI_BUSY_VM_H

#include <pthread.h>
#include <semaphore.h>

#include "kvm_util.h"
#include "processor.h"

#define KVMI_BUSY_MAX_VCPUS	4

/* Memory for a tool to play with; the guest does not use it. */
#define KVMI_BUSY_SLOT		1
#define KVMI_BUSY_GPA		0x10000000ul
#define KVMI_BUSY_PAGES		16

struct kvmi_busy_vcpu {
	struct kvm_vcpu *vcpu;
	struct kvm_x86_state *state;
	pthread_t thread;
	/* Counts the times the thread has stopped, and was told to go on. */
	sem_t stopped;
	sem_t go;
	bool hold;
	bool quit;
	/* KVM_RUN returned something that the guest does not do on its own. */
	bool broken;
	u64 exits;
	u64 signals;
};

struct kvmi_busy_vm {
	struct kvm_vm *vm;
	int nr;
	struct kvmi_busy_vcpu vcpus[KVMI_BUSY_MAX_VCPUS];
	void *memory;
	size_t memory_size;
};

/* Create a VM.  Its vCPUs are held. */
void kvmi_busy_create(struct kvmi_busy_vm *b, int nr_vcpus, u32 seed);
/* Destroy it; the vCPUs have to be held. */
void kvmi_busy_free(struct kvmi_busy_vm *b);

/* Let the vCPUs run, have them out of KVM_RUN. */
void kvmi_busy_go(struct kvmi_busy_vm *b);
void kvmi_busy_hold(struct kvmi_busy_vm *b);
/* Interrupt KVM_RUN; it is called again at once. */
void kvmi_busy_signal(struct kvmi_busy_vm *b);

bool kvmi_busy_is_broken(struct kvmi_busy_vm *b);
/* Mend vCPUs that are held: all registers and memory as they were at first. */
void kvmi_busy_reset(struct kvmi_busy_vm *b);
/* Assert that every vCPU gets on. */
void kvmi_busy_check(struct kvmi_busy_vm *b);
/* Assert that a tool that behaves finds everything in order. */
void kvmi_busy_check_session(struct kvmi_busy_vm *b);

#endif /* SELFTEST_KVM_KVMI_BUSY_VM_H */
