/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers for tests of KVM introspection: a test is VMM and
 * introspection tool at once.
 */
#ifndef SELFTEST_KVM_KVMI_UTIL_H
#define SELFTEST_KVM_KVMI_UTIL_H

#include <linux/kvmi.h>

#include "kvm_util.h"
#include "processor.h"

/* In seconds.  These only end what has failed: nothing waits for a time. */
#define KVMI_TIMEOUT		60
#define KVMI_TEST_TIMEOUT	300
/* How long to wait for an event of vCPUs that do not run any more */
#define KVMI_RETURNED_TIMEOUT	10

/* One past the ids that KVM_INTROSPECTION_COMMAND and _EVENT accept. */
#define KVMI_NUM_COMMANDS	94
#define KVMI_NUM_EVENTS		26

struct kvmi_msg {
	struct kvmi_msg_hdr hdr;
	u8 data[KVMI_MAX_MSG_SIZE];
};

/* An event of a vCPU as it is on the wire. */
struct kvmi_event {
	struct kvmi_msg_hdr hdr;
	struct kvmi_event_hdr ev;
	struct kvmi_vcpu_event common;
	union {
		struct kvmi_vcpu_event_breakpoint breakpoint;
		struct kvmi_vcpu_event_cr cr;
		struct kvmi_vcpu_event_trap trap;
		struct kvmi_vcpu_event_xsetbv xsetbv;
		struct kvmi_vcpu_event_descriptor descriptor;
		struct kvmi_vcpu_event_msr msr;
		struct kvmi_vcpu_event_cpuid cpuid;
		struct kvmi_vcpu_event_pf pf;
		struct kvmi_vcpu_event_singlestep singlestep;
		struct kvmi_vcpu_event_access access;
	};
};

#define KVMI_MAX_QUEUED_EVENTS	8

/* The tool's end of an introspection session. */
struct kvmi_session {
	struct kvm_vm *vm;
	int fd;
	int type;
	u32 seq;
	/* Events that came while the tool waited for a reply. */
	struct kvmi_event queue[KVMI_MAX_QUEUED_EVENTS];
	int nr_queued;
};

/* A thread in KVM_RUN. */
struct kvmi_runner {
	struct kvmi_session *s;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	int done;
	int ret;
	int err;
	/* All that have been started and not been waited for */
	struct kvmi_runner *next;
};

/* The VMM's side: return what the ioctl returns. */
int __kvmi_hook(struct kvm_vm *vm, int fd);
/* HOOK with a socket whose other end is closed right away. */
int __kvmi_hook_dead(struct kvm_vm *vm);
int __kvmi_attach(struct kvm_vm *vm, int fd);
int __kvmi_attach_dead(struct kvm_vm *vm);
int __kvmi_unhook(struct kvm_vm *vm);
int __kvmi_preunhook(struct kvm_vm *vm);
int __kvmi_command(struct kvm_vm *vm, u32 allow, s32 id);
int __kvmi_event(struct kvm_vm *vm, u32 allow, s32 id);

#define TEST_ASSERT_ERRNO(expr, expected)					\
do {										\
	int __ret, __err, __want = (expected);					\
										\
	errno = 0;								\
	__ret = (expr);								\
	__err = errno;								\
	TEST_ASSERT(__ret == -1 && __err == __want,				\
		    "%s: returned %d, errno %d (%s), wanted %s", #expr,		\
		    __ret, __err, strerror(__err), #expected);			\
} while (0)

/* Hook with a new socket, and every command and event allowed. */
void kvmi_hook(struct kvmi_session *s, struct kvm_vm *vm);
/* The same, and what else HOOK can be told; an eventfd of 0 is none. */
void kvmi_hook_with(struct kvmi_session *s, struct kvm_vm *vm,
		    struct kvm_introspection_hook hook);
/* A new tool for a session that has lost its own */
void kvmi_attach(struct kvmi_session *s, struct kvm_vm *vm);
/* The same, as soon as KVM knows that the last tool has gone */
void kvmi_attach_when_lost(struct kvmi_session *s, struct kvm_vm *vm);
/* Hook with a new socket of a type; nothing is allowed. */
void kvmi_hook_type(struct kvmi_session *s, struct kvm_vm *vm, int type);
/* Unhook, after a check that the tool has read all there was to read. */
void kvmi_unhook(struct kvmi_session *s);
/* The tool goes away. */
void kvmi_close(struct kvmi_session *s);
/* Wait until the kernel has closed the session. */
void kvmi_expect_closed(struct kvmi_session *s);

/* How much is there to read? */
int kvmi_bytes_to_read(struct kvmi_session *s);

/* Messages that are sent together */
struct kvmi_batch {
	size_t size;
	/* More than two thousand commands with little data */
	u8 data[50000];
};

void kvmi_batch_add(struct kvmi_batch *batch, u16 id, u32 seq, const void *data,
		    size_t size);

/* The tool's side.  Results are 0 or -KVM_E*. */
void kvmi_send(struct kvmi_session *s, const void *buf, size_t size);
void kvmi_recv(struct kvmi_session *s, struct kvmi_msg *msg);
u32 kvmi_send_cmd(struct kvmi_session *s, u16 id, const void *req, size_t size);
u32 kvmi_send_vcpu_cmd(struct kvmi_session *s, u16 vcpu, u16 id,
		       const void *req, size_t size);
int kvmi_recv_reply(struct kvmi_session *s, u16 id, u32 seq,
		    void *rpl, size_t size);
int kvmi_cmd(struct kvmi_session *s, u16 id, const void *req, size_t size,
	     void *rpl, size_t rpl_size);
int kvmi_vcpu_cmd(struct kvmi_session *s, u16 vcpu, u16 id,
		  const void *req, size_t size, void *rpl, size_t rpl_size);

#define TEST_ASSERT_KVMI(expr, expected)					\
do {										\
	int __want = (expected), __err = (expr);				\
										\
	TEST_ASSERT(__err == __want, "%s: answered %d, wanted %d (%s)",		\
		    #expr, __err, __want, #expected);				\
} while (0)

static inline bool kvmi_is_zero(const void *p, size_t size)
{
	const u8 *b = p;

	while (size--) {
		if (*b++)
			return false;
	}
	return true;
}

#define KVMI_ASSERT_ZERO(field)						\
	TEST_ASSERT(kvmi_is_zero(&(field), sizeof(field)),		\
		    "Padding is not zero: %s", #field)

int kvmi_check_command(struct kvmi_session *s, u16 id);
int kvmi_check_event(struct kvmi_session *s, u16 id);
int kvmi_pause(struct kvmi_session *s, u16 vcpu, u8 wait);
int kvmi_control_vm_event(struct kvmi_session *s, u16 event, u8 enable);
int kvmi_control_event(struct kvmi_session *s, u16 vcpu, u16 event, u8 enable);
int kvmi_control_cr(struct kvmi_session *s, u16 vcpu, u8 cr, u8 enable);
int kvmi_control_msr(struct kvmi_session *s, u16 vcpu, u32 msr, u8 enable);
/* The same with flags, to turn it on */
int kvmi_control_cr_flags(struct kvmi_session *s, u16 vcpu, u8 cr, u8 flags);
int kvmi_control_msr_flags(struct kvmi_session *s, u16 vcpu, u32 msr, u8 flags);
int kvmi_get_registers(struct kvmi_session *s, u16 vcpu,
		       struct kvmi_vcpu_get_registers_reply *rpl);
int kvmi_set_registers(struct kvmi_session *s, u16 vcpu,
		       const struct kvm_regs *regs);
int kvmi_inject(struct kvmi_session *s, u16 vcpu, u8 nr, u32 error_code,
		u64 address);
void kvmi_get_features(struct kvmi_session *s,
		       struct kvmi_vm_get_features_reply *rpl);

/* Can this host take access to pages away?  It can with page tables of its own. */
bool kvmi_has_page_access(void);

/* One range, and one page, of the default address space */
int kvmi_set_page_access(struct kvmi_session *s, u16 view, u64 gpa, u32 npages,
			 u8 access);
int kvmi_get_page_access(struct kvmi_session *s, u16 view, u64 gpa, u8 *access);

/* Take a message for an event, and check its form. */
void kvmi_parse_event(const struct kvmi_msg *msg, struct kvmi_event *ev);
/* Wait for an event, which must be this one. */
void kvmi_wait_event(struct kvmi_session *s, u16 event, struct kvmi_event *ev);
void kvmi_reply(struct kvmi_session *s, const struct kvmi_event *ev, u8 action);
/* Reply with data of the event's own. */
void kvmi_reply_data(struct kvmi_session *s, const struct kvmi_event *ev,
		     u8 action, const void *data, size_t size);
/* Reply with KVMI_REPLY_*. */
void kvmi_reply_flags(struct kvmi_session *s, const struct kvmi_event *ev,
		      u8 action, u32 flags, u16 view);
/* Reply to a CR or an MSR event with a value to write. */
void kvmi_reply_val(struct kvmi_session *s, const struct kvmi_event *ev,
		    u8 action, u64 val);

/*
 * One KVM_RUN in a thread.  Waiting for its end fails when the session sends
 * anything: whatever is expected has to be received before.
 */
void kvmi_run_start(struct kvmi_runner *r, struct kvmi_session *s,
		    struct kvm_vcpu *vcpu);
void kvmi_run_signal(struct kvmi_runner *r);
bool kvmi_run_is_going(struct kvmi_runner *r);
void kvmi_run_wait(struct kvmi_runner *r);
void kvmi_run_wait_exit(struct kvmi_runner *r, u32 reason);
void kvmi_run_wait_eintr(struct kvmi_runner *r);
void kvmi_run_wait_sync(struct kvmi_runner *r, struct ucall *uc);

/* Run a vCPU that has a pause pending: it is in the PAUSE event after this. */
void kvmi_park(struct kvmi_runner *r, struct kvmi_session *s,
	       struct kvm_vcpu *vcpu, struct kvmi_event *ev);
/* Answer that event. */
void kvmi_unpark(struct kvmi_session *s, const struct kvmi_event *ev);

/* Run a vCPU whose next exit must be GUEST_SYNC*(), without any event. */
void kvmi_run_to_sync(struct kvmi_session *s, struct kvm_vcpu *vcpu,
		      struct ucall *uc);

#endif /* SELFTEST_KVM_KVMI_UTIL_H */
