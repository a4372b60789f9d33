/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBKVMI_H
#define LIBKVMI_H

/*
 * libkvmi: the functions that LibVMI and other programs for KVM introspection call.
 *
 * The functions, their arguments and the structures are those of the library that
 * has had this name since the first introspection patches for KVM.  This one talks
 * to the kernel it comes with.  A program of your own had better use libkint.
 *
 * Conventions
 *  - Functions that return an int return 0, or -1 with errno:
 *	ENOTCONN	the connection is gone, or @dom was closed
 *	ETIMEDOUT	no answer in time
 *	EAGAIN		the guest has not started that vCPU
 *	ENOSYS		what KVM does not have
 *	and those of the kernel: EINVAL, EPERM, ENOENT, EBUSY, EOPNOTSUPP, ...
 *  - @dom is a connected VM, from the first callback on until kvmi_domain_close().  It is
 *    no address, and no other VM will ever have the same.
 *  - Any thread may call any function at any time.  One that waits for an event does
 *    not keep others from calling.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "linux/kvmi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Milliseconds; negative is for ever */
typedef int kvmi_timeout_t;

enum { KVMI_NOWAIT = 0, KVMI_WAIT = 150 };

struct kvmi_dom_event {
	void *next;		/* of no meaning to the caller, and so is buf */
	struct {
		struct kvmi_event common;
		union {
			struct kvmi_event_cr cr;
			struct kvmi_event_msr msr;
			struct kvmi_event_breakpoint breakpoint;
			struct kvmi_event_pf page_fault;
			struct kvmi_event_trap trap;
			struct kvmi_event_descriptor desc;
			struct kvmi_event_cpuid cpuid;
			struct kvmi_event_singlestep ss;
		};
	} event;
	unsigned char buf[KVMI_MSG_SIZE];
	unsigned int seq;
};

/* What the device manager says about its VM, and the answer */
struct kvmi_qemu2introspector {
	uint32_t struct_size;
	unsigned char uuid[16];
	uint32_t padding;
	int64_t start_time;	/* seconds since 1970 */
	char name[64];
};

struct kvmi_introspector2qemu {
	uint32_t struct_size;
	uint8_t cookie_hash[20];
};

typedef enum {
	KVMI_LOG_LEVEL_DEBUG,
	KVMI_LOG_LEVEL_INFO,
	KVMI_LOG_LEVEL_WARNING,
	KVMI_LOG_LEVEL_ERROR
} kvmi_log_level;

typedef void (*kvmi_log_cb)(kvmi_log_level level, const char *s, void *ctx);

/* Another result than 0 refuses the VM */
typedef int (*kvmi_new_guest_cb)(void *dom, unsigned char (*uuid)[16], void *ctx);
typedef int (*kvmi_handshake_cb)(const struct kvmi_qemu2introspector *qemu,
				 struct kvmi_introspector2qemu *answer, void *ctx);

/*
 * Listening: a thread accepts VMs until kvmi_uninit() and calls the functions, of
 * which hsk_cb may be NULL.  Whatever socket has the name is replaced, and everybody
 * may connect to the new one, whose mode is 0777: put it into a directory that not
 * everybody may enter.  On vsock, only the host and this very machine may connect.
 * NULL with errno is an error.  kvmi_close() is for a child that was forked, which
 * only has copies of the sockets; elsewhere it is kvmi_uninit().  NULL is allowed for
 * both.  Both functions may call either: the thread ends when they have returned.
 *
 * log_cb is called in the middle of other functions: those of a VM fail with EDEADLK when
 * it calls them, and kvmi_domain_close() does nothing.
 */
void *kvmi_init_unix_socket(const char *socket, kvmi_new_guest_cb accept_cb,
			    kvmi_handshake_cb hsk_cb, void *cb_ctx);
void *kvmi_init_vsock(unsigned int port, kvmi_new_guest_cb accept_cb,
		      kvmi_handshake_cb hsk_cb, void *cb_ctx);
void kvmi_uninit(void *ctx);
void kvmi_close(void *ctx);
void kvmi_set_log_cb(kvmi_log_cb cb, void *ctx);

/*
 * The VM.  Closing with do_shutdown undoes everything; without, only this process's
 * copy of the socket is closed.  NULL is allowed.  The descriptor is for poll() only:
 * it is readable when kvmi_wait_event() would not wait.
 */
void kvmi_domain_close(void *dom, bool do_shutdown);
bool kvmi_domain_is_connected(const void *dom);
void kvmi_domain_name(const void *dom, char *dest, size_t dest_size);
int kvmi_connection_fd(const void *dom);
int64_t kvmi_get_starttime(const void *dom);	/* milliseconds since 1970 */
int kvmi_get_version(void *dom, unsigned int *version);
int kvmi_check_command(void *dom, int id);
int kvmi_check_event(void *dom, int id);
int kvmi_get_vcpu_count(void *dom, unsigned int *count);
int kvmi_get_maximum_gfn(void *dom, unsigned long long *gfn);	/* where RAM ends */
int kvmi_shutdown_guest(void *dom);

/*
 * What to report.  For a vCPU that the guest has not started, or that does not
 * run because the whole VM does not, it is remembered, and done before the vCPU
 * executes an instruction.
 */
int kvmi_control_events(void *dom, unsigned short vcpu, int id, bool enable);
int kvmi_control_vm_events(void *dom, int id, bool enable);
int kvmi_control_cr(void *dom, unsigned short vcpu, unsigned int cr, bool enable);
int kvmi_control_msr(void *dom, unsigned short vcpu, unsigned int msr, bool enable);
int kvmi_control_singlestep(void *dom, unsigned short vcpu, bool enable);

/*
 * When these return, the vCPUs are out of the guest, and there will be a PAUSE_VCPU
 * event of each; that of a vCPU that does not run yet is made up, without registers.
 */
int kvmi_pause_all_vcpus(void *dom, unsigned int count);
int kvmi_pause_vcpu(void *dom, unsigned short vcpu);

/* The state of a vCPU */
int kvmi_get_registers(void *dom, unsigned short vcpu, struct kvm_regs *regs,
		       struct kvm_sregs *sregs, struct kvm_msrs *msrs, unsigned int *mode);
int kvmi_set_registers(void *dom, unsigned short vcpu, const struct kvm_regs *regs);
int kvmi_get_tsc_speed(void *dom, unsigned long long *speed);
int kvmi_get_cpuid(void *dom, unsigned short vcpu, unsigned int function, unsigned int index,
		   unsigned int *eax, unsigned int *ebx, unsigned int *ecx, unsigned int *edx);
int kvmi_get_mtrr_type(void *dom, unsigned long long gpa, unsigned char *type);
int kvmi_get_xcr(void *dom, unsigned short vcpu, __u8 xcr, __u64 *value);
int kvmi_get_xsave(void *dom, unsigned short vcpu, void *buffer, size_t size);
int kvmi_set_xsave(void *dom, unsigned short vcpu, const void *buffer, size_t size);
int kvmi_translate_gva(void *dom, unsigned short vcpu, __u64 gva, __u64 *gpa);
int kvmi_inject_exception(void *dom, unsigned short vcpu, unsigned long long gva,
			  unsigned int error, unsigned char vector);

/* Memory.  A kind of access that only goes with another is taken together with it. */
int kvmi_read_physical(void *dom, unsigned long long gpa, void *buffer, size_t size);
int kvmi_write_physical(void *dom, unsigned long long gpa, const void *buffer, size_t size);
int kvmi_get_page_access(void *dom, unsigned long long gpa, unsigned char *access);
int kvmi_set_page_access(void *dom, unsigned long long *gpa, unsigned char *access,
			 unsigned short count, unsigned short view);

/* Views, and pages of the tool's own, which are no memory of the guest's */
int kvmi_eptp_support(void *dom, bool *supported);
int kvmi_create_ept_view(void *dom, unsigned short *view);
int kvmi_destroy_ept_view(void *dom, unsigned short view);
int kvmi_switch_ept_view(void *dom, unsigned short vcpu, unsigned short view);
int kvmi_get_ept_view(void *dom, unsigned short vcpu, unsigned short *view);
int kvmi_change_gfn(void *dom, unsigned short vcpu, unsigned short view, __u64 old_gfn,
		    __u64 new_gfn);	/* ~0 puts back */
int kvmi_get_next_available_gfn(void *dom, __u64 *gfn);
int kvmi_alloc_gfn(void *dom, __u64 gfn);
int kvmi_free_gfn(void *dom, __u64 gfn);

/*
 * Events: kvmi_pop_event() returns one that the caller free()s, and the vCPU waits
 * until it is answered by its seq.
 */
int kvmi_wait_event(void *dom, kvmi_timeout_t ms);
int kvmi_pop_event(void *dom, struct kvmi_dom_event **event);
size_t kvmi_get_pending_events(void *dom);
int kvmi_reply_event(void *dom, unsigned int seq, const void *data, size_t data_size);

/* What is queued is sent together, and in this order, by kvmi_batch_commit() */
void *kvmi_batch_alloc(void *dom);
int kvmi_batch_commit(void *batch);
void kvmi_batch_free(void *batch);
int kvmi_queue_registers(void *batch, unsigned short vcpu, const struct kvm_regs *regs);
int kvmi_queue_reply_event(void *batch, unsigned int seq, const void *data, size_t data_size);
int kvmi_queue_page_access(void *batch, unsigned long long *gpa, unsigned char *access,
			   unsigned short count, unsigned short view);
int kvmi_queue_pause_vcpu(void *batch, unsigned short vcpu);

/*
 * What KVM does not have: sub-page protection, virtualization exceptions, views that
 * the guest switches, and mappings of guest memory.  *supported is set to false; the
 * others fail with ENOSYS.
 */
int kvmi_spp_support(void *dom, bool *supported);
int kvmi_ve_support(void *dom, bool *supported);
int kvmi_vmfunc_support(void *dom, bool *supported);
int kvmi_set_page_write_bitmap(void *dom, __u64 *gpa, __u32 *bitmap, unsigned short count);
int kvmi_queue_spp_access(void *batch, __u64 *gpa, __u32 *bitmap, __u16 view, __u16 count);
int kvmi_set_ve_info_page(void *dom, unsigned short vcpu, unsigned long long gpa);
int kvmi_disable_ve(void *dom, unsigned short vcpu);
int kvmi_set_ept_page_conv(void *dom, unsigned short index, unsigned long long gpa, bool sve);
int kvmi_get_ept_page_conv(void *dom, unsigned short index, unsigned long long gpa, bool *sve);
int kvmi_control_ept_view(void *dom, unsigned short vcpu, unsigned short view, bool visible);
int kvmi_memory_mapping(void *dom, bool enable);
void *kvmi_map_physical_page(void *dom, unsigned long long gpa);	/* MAP_FAILED */
int kvmi_unmap_physical_page(void *dom, void *addr);
bool kvmi_remote_mapping_v2(void);

#ifdef __cplusplus
}
#endif

#endif /* LIBKVMI_H */
