/* SPDX-License-Identifier: GPL-2.0-only */
#if !defined(__KVMI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define __KVMI_TRACE_H

#include <linux/kvm_host.h>
#include <linux/tracepoint.h>

#include <uapi/linux/kvmi.h>

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvmi

/* What the numbers of messages and events stand for */
#define KVMI_TRACE_MESSAGES(M, last)					\
	M(KVMI_VM_EVENT, "VM_EVENT")					\
	M(KVMI_GET_VERSION, "GET_VERSION")				\
	M(KVMI_VM_CHECK_COMMAND, "VM_CHECK_COMMAND")			\
	M(KVMI_VM_CHECK_EVENT, "VM_CHECK_EVENT")			\
	M(KVMI_VM_GET_INFO, "VM_GET_INFO")				\
	M(KVMI_VM_CONTROL_EVENTS, "VM_CONTROL_EVENTS")			\
	M(KVMI_VM_READ_PHYSICAL, "VM_READ_PHYSICAL")			\
	M(KVMI_VM_WRITE_PHYSICAL, "VM_WRITE_PHYSICAL")			\
	M(KVMI_VM_PAUSE_VCPU, "VM_PAUSE_VCPU")				\
	M(KVMI_VM_CONTROL_CLEANUP, "VM_CONTROL_CLEANUP")		\
	M(KVMI_VM_SET_PAGE_ACCESS, "VM_SET_PAGE_ACCESS")		\
	M(KVMI_VM_GET_FEATURES, "VM_GET_FEATURES")			\
	M(KVMI_VM_GET_MAX_GFN, "VM_GET_MAX_GFN")			\
	M(KVMI_VM_GET_MEMSLOTS, "VM_GET_MEMSLOTS")			\
	M(KVMI_VM_GET_PAGE_ACCESS, "VM_GET_PAGE_ACCESS")		\
	M(KVMI_VM_PAUSE_ALL, "VM_PAUSE_ALL")				\
	M(KVMI_VM_SHUTDOWN, "VM_SHUTDOWN")				\
	M(KVMI_VM_CREATE_VIEW, "VM_CREATE_VIEW")			\
	M(KVMI_VM_DESTROY_VIEW, "VM_DESTROY_VIEW")			\
	M(KVMI_VM_CHANGE_GFN, "VM_CHANGE_GFN")				\
	M(KVMI_VM_SET_RULES, "VM_SET_RULES")				\
	M(KVMI_VM_GET_RULES, "VM_GET_RULES")				\
	M(KVMI_VM_LIST_PAGE_ACCESS, "VM_LIST_PAGE_ACCESS")		\
	M(KVMI_VM_LIST_CHANGED_GFNS, "VM_LIST_CHANGED_GFNS")		\
	M(KVMI_VM_LIST_VIEWS, "VM_LIST_VIEWS")				\
	M(KVMI_VM_GET_VCPUS, "VM_GET_VCPUS")				\
	M(KVMI_VCPU_EVENT, "VCPU_EVENT")				\
	M(KVMI_VCPU_GET_INFO, "VCPU_GET_INFO")				\
	M(KVMI_VCPU_CONTROL_EVENTS, "VCPU_CONTROL_EVENTS")		\
	M(KVMI_VCPU_GET_REGISTERS, "VCPU_GET_REGISTERS")		\
	M(KVMI_VCPU_SET_REGISTERS, "VCPU_SET_REGISTERS")		\
	M(KVMI_VCPU_GET_CPUID, "VCPU_GET_CPUID")			\
	M(KVMI_VCPU_CONTROL_CR, "VCPU_CONTROL_CR")			\
	M(KVMI_VCPU_INJECT_EXCEPTION, "VCPU_INJECT_EXCEPTION")		\
	M(KVMI_VCPU_GET_XCR, "VCPU_GET_XCR")				\
	M(KVMI_VCPU_GET_XSAVE, "VCPU_GET_XSAVE")			\
	M(KVMI_VCPU_SET_XSAVE, "VCPU_SET_XSAVE")			\
	M(KVMI_VCPU_GET_MTRR_TYPE, "VCPU_GET_MTRR_TYPE")		\
	M(KVMI_VCPU_CONTROL_MSR, "VCPU_CONTROL_MSR")			\
	M(KVMI_VCPU_CONTROL_SINGLESTEP, "VCPU_CONTROL_SINGLESTEP")	\
	M(KVMI_VCPU_TRANSLATE_GVA, "VCPU_TRANSLATE_GVA")		\
	M(KVMI_VCPU_SET_VIEW, "VCPU_SET_VIEW")				\
	M(KVMI_VCPU_GET_VIEW, "VCPU_GET_VIEW")				\
	M(KVMI_VCPU_CONTROL_EVENT_SET, "VCPU_CONTROL_EVENT_SET")	\
	M(KVMI_VCPU_GET_XSAVE2, "VCPU_GET_XSAVE2")			\
	M(KVMI_VCPU_SET_XSAVE2, "VCPU_SET_XSAVE2")			\
	M(KVMI_VCPU_GET_CONTROL, "VCPU_GET_CONTROL")			\
	M(KVMI_VCPU_GET_DEBUGREGS, "VCPU_GET_DEBUGREGS")		\
	last(KVMI_VCPU_SET_DEBUGREGS, "VCPU_SET_DEBUGREGS")

#define KVMI_TRACE_EVENTS(M, last)					\
	M(KVMI_VM_EVENT_UNHOOK, "UNHOOK")				\
	M(KVMI_VCPU_EVENT_PAUSE, "PAUSE")				\
	M(KVMI_VCPU_EVENT_HYPERCALL, "HYPERCALL")			\
	M(KVMI_VCPU_EVENT_BREAKPOINT, "BREAKPOINT")			\
	M(KVMI_VCPU_EVENT_CR, "CR")					\
	M(KVMI_VCPU_EVENT_TRAP, "TRAP")					\
	M(KVMI_VCPU_EVENT_XSETBV, "XSETBV")				\
	M(KVMI_VCPU_EVENT_DESCRIPTOR, "DESCRIPTOR")			\
	M(KVMI_VCPU_EVENT_MSR, "MSR")					\
	M(KVMI_VCPU_EVENT_PF, "PF")					\
	M(KVMI_VCPU_EVENT_SINGLESTEP, "SINGLESTEP")			\
	M(KVMI_VCPU_EVENT_CPUID, "CPUID")				\
	M(KVMI_VCPU_EVENT_ACCESS, "ACCESS")				\
	last(KVMI_VCPU_EVENT_CREATE_VCPU, "CREATE_VCPU")

#define KVMI_TRACE_ENUM(number, name)	TRACE_DEFINE_ENUM(number);
#define KVMI_TRACE_NAME(number, name)	{ number, name },
#define KVMI_TRACE_LAST_NAME(number, name)	{ number, name }

KVMI_TRACE_MESSAGES(KVMI_TRACE_ENUM, KVMI_TRACE_ENUM)
KVMI_TRACE_EVENTS(KVMI_TRACE_ENUM, KVMI_TRACE_ENUM)

#define show_kvmi_message(id)						\
	__print_symbolic(id, KVMI_TRACE_MESSAGES(KVMI_TRACE_NAME,	\
						 KVMI_TRACE_LAST_NAME))
#define show_kvmi_event(id)						\
	__print_symbolic(id, KVMI_TRACE_EVENTS(KVMI_TRACE_NAME,		\
					       KVMI_TRACE_LAST_NAME))

#define show_kvmi_action(action)					\
	__print_symbolic(action,					\
			 { KVMI_EVENT_ACTION_ALLOW,	"ALLOW" },	\
			 { KVMI_EVENT_ACTION_RETRY,	"RETRY" },	\
			 { KVMI_EVENT_ACTION_CRASH,	"CRASH" },	\
			 { KVMI_EVENT_ACTION_SKIP,	"SKIP" })

#define show_kvmi_error(err)						\
	__print_symbolic(err,						\
			 { 0,			"OK" },			\
			 { -KVM_EPERM,		"EPERM" },		\
			 { -KVM_ENOENT,		"ENOENT" },		\
			 { -KVM_E2BIG,		"E2BIG" },		\
			 { -KVM_EAGAIN,		"EAGAIN" },		\
			 { -KVM_ENOMEM,		"ENOMEM" },		\
			 { -KVM_EBUSY,		"EBUSY" },		\
			 { -KVM_EINVAL,		"EINVAL" },		\
			 { -KVM_EOPNOTSUPP,	"EOPNOTSUPP" },		\
			 { -KVM_ENOSYS,		"ENOSYS" })

/* In place of the index of a vCPU, for messages to and from the VM */
#define KVMI_TRACE_VM	(-1)

/*
 * A VM is identified by the process that created it, which the receiver and the
 * vCPU threads belong to.
 */
DECLARE_EVENT_CLASS(kvmi_session,
	TP_PROTO(struct kvm *kvm),
	TP_ARGS(kvm),

	TP_STRUCT__entry(
		__field(pid_t, vm)
		__field(int, vcpus)
	),

	TP_fast_assign(
		__entry->vm = kvm->userspace_pid;
		__entry->vcpus = atomic_read(&kvm->online_vcpus);
	),

	TP_printk("vm %d vcpus %d", __entry->vm, __entry->vcpus)
);

DEFINE_EVENT(kvmi_session, kvmi_hook,
	TP_PROTO(struct kvm *kvm),
	TP_ARGS(kvm)
);

/* The tool is lost, or has violated the protocol. */
DEFINE_EVENT(kvmi_session, kvmi_defunct,
	TP_PROTO(struct kvm *kvm),
	TP_ARGS(kvm)
);

DEFINE_EVENT(kvmi_session, kvmi_attach,
	TP_PROTO(struct kvm *kvm),
	TP_ARGS(kvm)
);

DEFINE_EVENT(kvmi_session, kvmi_unhook,
	TP_PROTO(struct kvm *kvm),
	TP_ARGS(kvm)
);

DECLARE_EVENT_CLASS(kvmi_command,
	TP_PROTO(struct kvm *kvm, int vcpu, const struct kvmi_msg_hdr *hdr),
	TP_ARGS(kvm, vcpu, hdr),

	TP_STRUCT__entry(
		__field(pid_t, vm)
		__field(int, vcpu)
		__field(u16, id)
		__field(u16, size)
		__field(u32, seq)
	),

	TP_fast_assign(
		__entry->vm = kvm->userspace_pid;
		__entry->vcpu = vcpu;
		__entry->id = hdr->id;
		__entry->size = hdr->size;
		__entry->seq = hdr->seq;
	),

	TP_printk("vm %d vcpu %d %s (%u) seq %u size %u", __entry->vm,
		  __entry->vcpu, show_kvmi_message(__entry->id), __entry->id,
		  __entry->seq, __entry->size)
);

/* A command has arrived, known and allowed or not. */
DEFINE_EVENT(kvmi_command, kvmi_command_received,
	TP_PROTO(struct kvm *kvm, int vcpu, const struct kvmi_msg_hdr *hdr),
	TP_ARGS(kvm, vcpu, hdr)
);

/* Its handler is called, by the receiver or the vCPU's thread. */
DEFINE_EVENT(kvmi_command, kvmi_command_run,
	TP_PROTO(struct kvm *kvm, int vcpu, const struct kvmi_msg_hdr *hdr),
	TP_ARGS(kvm, vcpu, hdr)
);

TRACE_EVENT(kvmi_reply,
	TP_PROTO(struct kvm *kvm, int vcpu, const struct kvmi_msg_hdr *hdr,
		 int err),
	TP_ARGS(kvm, vcpu, hdr, err),

	TP_STRUCT__entry(
		__field(pid_t, vm)
		__field(int, vcpu)
		__field(u16, id)
		__field(u16, size)
		__field(u32, seq)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->vm = kvm->userspace_pid;
		__entry->vcpu = vcpu;
		__entry->id = hdr->id;
		__entry->size = hdr->size;
		__entry->seq = hdr->seq;
		__entry->err = err;
	),

	TP_printk("vm %d vcpu %d %s (%u) seq %u size %u err %d %s", __entry->vm,
		  __entry->vcpu, show_kvmi_message(__entry->id), __entry->id,
		  __entry->seq, __entry->size, __entry->err,
		  show_kvmi_error(__entry->err))
);

TRACE_EVENT(kvmi_event,
	TP_PROTO(struct kvm *kvm, int vcpu, u16 id, u32 seq, u64 rip),
	TP_ARGS(kvm, vcpu, id, seq, rip),

	TP_STRUCT__entry(
		__field(pid_t, vm)
		__field(int, vcpu)
		__field(u16, id)
		__field(u32, seq)
		__field(u64, rip)
	),

	TP_fast_assign(
		__entry->vm = kvm->userspace_pid;
		__entry->vcpu = vcpu;
		__entry->id = id;
		__entry->seq = seq;
		__entry->rip = rip;
	),

	TP_printk("vm %d vcpu %d %s (%u) seq %u rip 0x%llx", __entry->vm,
		  __entry->vcpu, show_kvmi_event(__entry->id), __entry->id,
		  __entry->seq, __entry->rip)
);

TRACE_EVENT(kvmi_answer,
	TP_PROTO(struct kvm *kvm, int vcpu, u16 id, u32 seq, u8 action),
	TP_ARGS(kvm, vcpu, id, seq, action),

	TP_STRUCT__entry(
		__field(pid_t, vm)
		__field(int, vcpu)
		__field(u16, id)
		__field(u8, action)
		__field(u32, seq)
	),

	TP_fast_assign(
		__entry->vm = kvm->userspace_pid;
		__entry->vcpu = vcpu;
		__entry->id = id;
		__entry->action = action;
		__entry->seq = seq;
	),

	TP_printk("vm %d vcpu %d %s (%u) seq %u action %u %s", __entry->vm,
		  __entry->vcpu, show_kvmi_event(__entry->id), __entry->id,
		  __entry->seq, __entry->action,
		  show_kvmi_action(__entry->action))
);

#endif /* __KVMI_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../../virt/kvm/introspection
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

/* This part must be outside protection */
#include <trace/define_trace.h>
