/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that executes one instruction again and again, each of a kind that
 * introspection can have an event for
 */
#ifndef SELFTEST_KVM_KVMI_WORKLOAD_H
#define SELFTEST_KVM_KVMI_WORKLOAD_H

#include <pthread.h>

#include "kvm_util.h"
#include "processor.h"

#define KVMI_WORKLOAD_OPS	2000

/* Guest physical and virtual address of the memory that the guest uses */
#define KVMI_WORKLOAD_MEMORY	0x200000000ul
#define KVMI_WORKLOAD_SLOT	10

/* Those that write do so with a new value each time. */
enum kvmi_workload_op {
	OP_NONE,
	OP_CPUID,
	OP_CR0,
	OP_CR3,
	OP_CR4,
	OP_MSR,
	OP_HYPERCALL,
	OP_INT3,
	OP_UD2,
	OP_XSETBV,
	OP_SGDT,
	/* These need kvmi_workload_add_memory(). */
	OP_READ,
	OP_WRITE,
	OP_CALL,
	NR_OPS,
	/* These two take until a signal comes. */
	OP_HLT = NR_OPS,
	OP_SPIN,
};

/**
 * struct kvmi_workload_result - what a run of the guest took
 * @exits: exits that the guest caused, without those for the host's interrupts
 * @ticks: of one operation, in the guest's TSC, see kvmi_workload_quartile()
 */
struct kvmi_workload_result {
	u64 exits;
	u64 ticks;
};

struct kvm_vm *kvmi_workload_create(struct kvm_vcpu **vcpu);
/* Add a vCPU; others may run at the same time, which execute the same. */
struct kvm_vcpu *kvmi_workload_add_vcpu(struct kvm_vm *vm, u32 id);
/* Execute the instruction @ops times; KVMI_WORKLOAD_OPS at most. */
void kvmi_workload_run(struct kvm_vcpu *vcpu, enum kvmi_workload_op op, u64 ops,
		       struct kvmi_workload_result *result);
/*
 * Give the guest a memory slot, of which it sees as many pages as there are
 * operations at most.
 */
void kvmi_workload_add_memory(struct kvm_vm *vm, u64 npages);
/* Have KVM map these pages anew when the guest uses them. */
void kvmi_workload_unmap_memory(struct kvm_vm *vm);
/* Let one operation after the other be to the next of these pages; 1 at first */
void kvmi_workload_use_pages(struct kvm_vm *vm, u64 npages);
/*
 * The lower quartile: interrupts of the host only add to what an operation takes, and to
 * more than every second one if it takes long.
 */
u64 kvmi_workload_quartile(u64 *ticks, u64 n);

/**
 * struct kvmi_workload_thread - a run in a thread, where it can wait for a tool
 * @vcpu: of the guest
 * @op: what the guest does
 * @ops: how often
 * @result: what it took, after kvmi_workload_finish()
 * @tid: of the thread, once the guest runs
 * @thread: the thread
 */
struct kvmi_workload_thread {
	struct kvm_vcpu *vcpu;
	enum kvmi_workload_op op;
	u64 ops;
	struct kvmi_workload_result result;
	pid_t tid;
	pthread_t thread;
};

void kvmi_workload_start(struct kvmi_workload_thread *t);
void kvmi_workload_finish(struct kvmi_workload_thread *t);

#endif /* SELFTEST_KVM_KVMI_WORKLOAD_H */
