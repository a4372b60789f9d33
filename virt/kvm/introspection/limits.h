/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_LIMITS_H
#define __KVMI_LIMITS_H

/*
 * Every bound on what a tool can make the kernel keep, in one place.
 *
 * Memory that a tool can cause to be allocated is charged to the memory cgroup
 * of the process that owns the VM.
 */

/*
 * Commands that wait for one vCPU's thread.  A tool that sends more gets
 * -KVM_EBUSY for the surplus.
 */
#define KVMI_MAX_QUEUED_COMMANDS	32

/*
 * Messages of the tool that are looked at once unhooking has begun.  A tool that
 * has gone cannot have left more, unless it was asking for trouble.
 */
#define KVMI_MAX_LATE_MESSAGES		4096

/* Jiffies for which messages of the tool are looked at then; some take long to do. */
#define KVMI_MAX_LATE_TIME		HZ

/* PAUSE events that one vCPU still owes. */
#define KVMI_MAX_PAUSES			1001

/*
 * Jiffies that a vCPU may wait for the tool before its guest is told that it stands
 * still, and before it is told again.
 */
#define KVMI_STANDSTILL			HZ

/*
 * Answers that come while a vCPU's thread is in userspace and are kept until its guest
 * does the same again.  An instruction may raise one event before it accesses memory,
 * with one PF after the other.
 */
#define KVMI_MAX_KEPT_ANSWERS		3

/* Bytes of an event's own data, and of its reply's. */
#define KVMI_MAX_EVENT_DATA		56
#define KVMI_MAX_EVENT_REPLY		32

/*
 * Views of guest memory, the first one included.  Together with the one that
 * steps are made in they have to fit in kvm_mmu_page_role.view.
 */
#define KVMI_NR_VIEWS			7

/*
 * Memory for the restrictions of all views of a VM together, in nodes of 256 bytes:
 * one for each 2M of which not all has the same access, and 16 for each 1G with
 * such.  Besides there is one word for each 1G of guest memory at most.  And
 * changed pages, of all views together.  More is -KVM_ENOMEM and -KVM_EBUSY.
 */
#define KVMI_MAX_ACCESS_NODES		BIT(17)
#define KVMI_MAX_CHANGED_GFNS		1024

/*
 * Jiffies that the receiver waits for one vCPU's thread to run an errand before
 * it asks another.
 */
#define KVMI_ERRAND_PATIENCE		1

/*
 * Ids that KVM_INTROSPECTION_COMMAND and KVM_INTROSPECTION_EVENT take are below
 * these.
 */
#define KVMI_NR_COMMAND_IDS		94
#define KVMI_NR_EVENT_IDS		26

#endif /* __KVMI_LIMITS_H */
