/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_LIMITS_H
#define __KVMI_LIMITS_H

/*
 * Every bound on what a tool can make the kernel keep, in one place.
 *
 * Memory that a tool can cause to be allocated is charged to the memory cgroup
 * of the process that owns the VM.
 */

/* Commands queued for one vCPU's thread.  Further ones get -KVM_EBUSY. */
#define KVMI_MAX_QUEUED_COMMANDS	32

/*
 * Messages of the tool that are processed once unhooking has begun.  A tool that
 * has gone away before cannot have left more, unless it floods the socket.
 */
#define KVMI_MAX_LATE_MESSAGES		4096

/*
 * Jiffies for which messages are processed then, and when the time for an event has
 * expired; some commands take long
 */
#define KVMI_MAX_LATE_TIME		HZ

/*
 * Pending PAUSE events of one vCPU.  Version 12 of the series, which introduced
 * the protocol, had the same limit.
 */
#define KVMI_MAX_PAUSES			1001

/*
 * Jiffies that a vCPU may wait for the tool before its guest is notified that
 * it was stopped, and between two such notifications.
 */
#define KVMI_STANDSTILL			HZ

/*
 * Replies that arrive while a vCPU's thread is in userspace, and are kept until
 * the guest repeats what they are about.  An instruction may raise one event
 * before it accesses memory, and then one PF event after the other.
 */
#define KVMI_MAX_KEPT_ANSWERS		3

/*
 * How often a vCPU tries to get the socket for a message that may get lost: about
 * as long as it takes another thread to write one.
 */
#define KVMI_MAX_LOCK_TRIES		1000

/*
 * Rules of one event.  They are looked at whenever the event occurs, and fit in
 * a message.
 */
#define KVMI_MAX_RULES			64

/* Bytes of event-specific data, and of event-specific data of a reply */
#define KVMI_MAX_EVENT_DATA		56
#define KVMI_MAX_EVENT_REPLY		32

/*
 * Views of guest memory, including the first one.  They have to fit in
 * kvm_mmu_page_role.view.
 */
#define KVMI_NR_VIEWS			7

/*
 * Memory for the restrictions of all views of a VM, in nodes of 256 bytes: one
 * for each 2M whose pages differ in access, and 16 for each 1G with such.
 * Besides, there is at most one word for each 1G of guest memory.  And remapped
 * gfns of all views.  Beyond these limits commands return -KVM_ENOMEM and
 * -KVM_EBUSY.
 */
#define KVMI_MAX_ACCESS_NODES		BIT(17)
#define KVMI_MAX_CHANGED_GFNS		1024

/*
 * Jiffies that the receiver waits for one vCPU's thread to run its work before
 * trying another vCPU.
 */
#define KVMI_VCPU_WORK_TIMEOUT		1

/*
 * Ids of commands and events, as in KVM_INTROSPECTION_COMMAND and
 * KVM_INTROSPECTION_EVENT, are below these.
 */
#define KVMI_NR_COMMAND_IDS		94
#define KVMI_NR_EVENT_IDS		26

#endif /* __KVMI_LIMITS_H */
