/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counts of what the kernel does for a few threads, by way of tracefs
 */
#ifndef SELFTEST_KVM_KVMI_TRACE_H
#define SELFTEST_KVM_KVMI_TRACE_H

#include "test_util.h"

#define KVMI_TRACE_THREADS	8
#define KVMI_TRACE_SITES	32
#define KVMI_TRACE_NAME		64

/**
 * struct kvmi_trace_counts - what was counted
 * @switches: times each thread has got a CPU
 * @wakeups: times each thread was woken
 * @syscalls: system calls of each thread
 * @kvm_ipis: interrupts that KVM has sent to other CPUs, in any of the threads
 * @socket_allocs: allocations of sockets and their buffers, by all the threads
 * @other_allocs: all other allocations of each thread
 * @sites: where the latter were made
 * @nr_sites: number of them
 */
struct kvmi_trace_counts {
	u64 switches[KVMI_TRACE_THREADS];
	u64 wakeups[KVMI_TRACE_THREADS];
	u64 syscalls[KVMI_TRACE_THREADS];
	u64 kvm_ipis;
	u64 socket_allocs;
	u64 other_allocs[KVMI_TRACE_THREADS];
	struct {
		char name[KVMI_TRACE_NAME];
		u64 count;
	} sites[KVMI_TRACE_SITES];
	int nr_sites;
};

/*
 * Prepare to count for these threads; their order is that of the counts.
 * Returns false if the kernel offers no tracing.
 */
bool kvmi_trace_open(const pid_t *threads, int nr);
void kvmi_trace_start(void);
void kvmi_trace_stop(struct kvmi_trace_counts *counts);
void kvmi_trace_close(void);

/* Adds the threads of a process to a list, returns its new length. */
int kvmi_trace_threads_of(pid_t process, pid_t *threads, int nr);

u64 kvmi_trace_sum(const u64 *per_thread);
/* Where allocations other than a socket's were made; 0 if not there */
u64 kvmi_trace_site(const struct kvmi_trace_counts *counts, const char *name);

#endif /* SELFTEST_KVM_KVMI_TRACE_H */
