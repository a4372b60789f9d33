// SPDX-License-Identifier: GPL-2.0
/*
 * The types of which a dump is read, for the object's debugging information: those
 * of the host's KVM, and of a guest's tasks and log.  The kernel of the lab, which
 * is that of host and guest, is built without, as that takes twice the time.
 */
#include <linux/module.h>
#include <linux/sched.h>

#include "vmx/vmx.h"
#include "printk_ringbuffer.h"

struct vcpu_vmx *vcpu_vmx_type;
struct task_struct *task_struct_type;
struct printk_ringbuffer *printk_ringbuffer_type;
struct printk_info *printk_info_type;

MODULE_DESCRIPTION("Types, not to be loaded");
MODULE_LICENSE("GPL");
