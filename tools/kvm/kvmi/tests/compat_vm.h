/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TEST_COMPAT_VM_H
#define KVMI_TEST_COMPAT_VM_H

/*
 * A VM for the tests of libkvmi: what happens in it, and what it was told.  Without
 * any name of either protocol: the tests know libkvmi's, the VM the kernel's.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

/* Connect to a tool; the VM's RAM ends at 64 MiB, the tool's pages are 3 from there on */
struct vm *vm_connect(const char *path, const char *name);
void vm_disconnect(struct vm *vm);

/* Its vCPUs: one that the guest has not started, one that does not run with its VM */
void vm_unstarted(struct vm *vm, unsigned int vcpu);
void vm_stopped(struct vm *vm, unsigned int vcpu);
/* It runs: the PAUSE events that were ordered come */
void vm_run(struct vm *vm, unsigned int vcpu);
/* Hardware without pages that can be executed and not read; before vm_connect() */
extern bool vm_no_exec_only;
/* What those that connect from then on answer to a question for rules: -errno */
extern int vm_rules_error;

/* The device manager does not allow ACCESS events */
extern bool vm_no_access_events;
/* Those that connect from then on are in view 3, of a tool that was lost */
extern bool vm_view_left;

void vm_cr(struct vm *vm, unsigned int vcpu, unsigned int cr, uint64_t value, bool done);
void vm_breakpoint(struct vm *vm, unsigned int vcpu);
void vm_pf(struct vm *vm, unsigned int vcpu, uint64_t gva, uint64_t gpa, unsigned int access,
	   bool not_emulated);
void vm_access(struct vm *vm, unsigned int vcpu, uint64_t gva, uint64_t gpa, bool write,
	       const char *data);
void vm_trap(struct vm *vm, unsigned int vcpu, unsigned int vector);
/* @n TRAP events in all, one for each answer and some at first; how many were answered */
void vm_storm(struct vm *vm, unsigned int n);
unsigned int vm_storm_answers(struct vm *vm);
void vm_singlestep(struct vm *vm, unsigned int vcpu);
void vm_unhook(struct vm *vm);

/*
 * A line for each command and each reply.  vm_saw() waits until there is a line with
 * that text; vm_count() is how many there are.
 */
bool vm_saw(struct vm *vm, const char *text);
unsigned int vm_count(struct vm *vm, const char *text);
bool vm_order(struct vm *vm, const char *first, const char *then);
void vm_forget(struct vm *vm);
void vm_print(struct vm *vm);

#endif
