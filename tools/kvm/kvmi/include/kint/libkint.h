/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef _KINT_LIBKINT_H
#define _KINT_LIBKINT_H

/*
 * libkint: the introspection tool's end of a KVMI session.
 *
 * The library is LGPL, unlike the tool next to it, so that introspection
 * engines of any licence can be linked with it, as libbpf allows for loaders.
 *
 * Conventions
 *  - Functions return 0 (or a count where said so) or a negative errno.
 *  - A command that the kernel refuses returns the kernel's own number:
 *    -EINVAL, -EPERM, -ENOENT, ...; see <linux/kvmi.h> for each command's.
 *    KVM_ENOSYS is returned as -ENOSYS.
 *  - Any function that talks to the other side can also return
 *	-EPIPE		the connection is gone; nothing but kint_close() is of use
 *	-EPROTO		the other side broke the protocol; the same applies
 *	-ETIMEDOUT	no answer within the time limit; the connection lives on
 *			and a late answer is dropped
 *	-EINTR		kint_options.interrupt_fd became readable meanwhile
 *	-ENOMEM, -ENOBUFS
 *  - A connection belongs to one thread at a time; the library has no locks
 *    and no global state.
 *  - Structures that the library fills belong to the caller.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvmi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kint_listener;
struct kint_conn;
struct kint_batch;
struct kint_peer;

/* Limit on events that wait for the caller; a vCPU has at most one open. */
#define KINT_MAX_QUEUED_EVENTS 4112

/**
 * kint_handshake_handler - called when the device manager has introduced its VM
 * @peer: what it told; valid during the call only
 * @hash: what the answer will have: the hash of the cookie, or zero.  It may be
 *	replaced, e.g. by that of a cookie chosen by the VM's name: 20 bytes, SHA-1.
 * @arg: kint_options.handshake_arg
 *
 * It returns 0 to go on, anything else to refuse the VM: the socket is closed
 * without an answer.  There is no session yet for commands.
 */
typedef int (*kint_handshake_handler)(const struct kint_peer *peer, uint8_t hash[20], void *arg);

/**
 * struct kint_options - how to open a connection; all zero is a good default
 * @cookie: the secret shared with the device manager, or NULL
 * @cookie_size: bytes of @cookie
 * @timeout_ms: time limit of the handshake and of every command, in
 *	milliseconds; 0 stands for 5000, a negative number for no limit
 * @interrupt_fd: a descriptor (a signalfd, say) that makes every wait of the
 *	library return -EINTR while it is readable; 0 or negative for none.
 *	It stays the caller's.
 * @handshake: called during the handshake, or NULL
 * @handshake_arg: passed to @handshake
 */
struct kint_options {
	const void *cookie;
	size_t cookie_size;
	int timeout_ms;
	int interrupt_fd;
	kint_handshake_handler handshake;
	void *handshake_arg;
};

/**
 * struct kint_peer - what the device manager told about its VM
 * @uuid: the VM's UUID, all zero if it has none
 * @start_time: when the VM was started or last reset, in seconds since 1970
 * @name: the VM's name, always terminated; may be empty
 * @max_gpa: end of the highest RAM, in bytes; 0 from an old device manager
 * @tool_gpa: where memory for the tool's own use begins, which the guest does not know
 *	of; see kint_alloc_page()
 * @tool_size: size of that memory in bytes, a multiple of 4096; 0 for none, or if what
 *	the device manager told cannot be
 */
struct kint_peer {
	uint8_t uuid[16];
	int64_t start_time;
	char name[65];
	uint64_t max_gpa;
	uint64_t tool_gpa;
	uint64_t tool_size;
};

/**
 * kint_library_version - the version of the library that runs, "1.0" say
 *
 * The protocol that it speaks has a version of its own, KVMI_VERSION; that of the other
 * side is in kint_version().
 */
const char *kint_library_version(void);

/* ---- Listening and connecting (listener.c, connection.c, handshake.c) ---- */

/**
 * struct kint_listen_options - how to listen; all zero is a good default
 * @mode: permissions of the socket file, 0 to 0777 whatever the umask; 0 stands
 *	for 0600
 * @set_group: does @group count?
 * @group: group of the socket file
 * @peer_cid: on vsock, who may connect: a context ID, VMADDR_CID_ANY for
 *	everybody, or 0 for the host and this machine.  Each guest of a host can
 *	connect that has a vsock device, and pose as a device manager.
 */
struct kint_listen_options {
	unsigned int mode;
	bool set_group;
	unsigned int group;
	unsigned int peer_cid;
};

/**
 * kint_listen_with - wait for device managers on a socket
 * @address: "unix:PATH", "vsock:PORT" or "vsock:CID:PORT"
 * @opts: options, NULL for the defaults
 * @listener: set on success; free it with kint_listener_free()
 *
 * A socket file at PATH that nobody listens on any more is replaced.  The directory
 * is locked meanwhile, by flock(), for a second at most.
 *
 * Errors: -EINVAL not an address, or options; -ENAMETOOLONG PATH has more bytes
 * than the 107 of a socket's address; -EEXIST PATH is something else than a socket;
 * -EADDRINUSE somebody listens there; what socket(), bind(), listen(), chmod() and
 * chown() return, -EAFNOSUPPORT without vsock in the kernel for instance.
 */
int kint_listen_with(const char *address, const struct kint_listen_options *opts,
		     struct kint_listener **listener);

/** kint_listen - kint_listen_with() without options */
int kint_listen(const char *address, struct kint_listener **listener);

/** kint_listener_fd - descriptor that is readable when somebody connects */
int kint_listener_fd(const struct kint_listener *listener);

/**
 * kint_listener_free - stop listening
 *
 * The socket file is removed if it is the listener's own, and if the process is the
 * one that began to listen: a child that was forked only closes its copy.
 */
void kint_listener_free(struct kint_listener *listener);

/**
 * kint_accept - take the next connection and begin a session
 * @listener: from kint_listen()
 * @opts: options, NULL for the defaults
 * @wait_ms: how long to wait for somebody to connect, in milliseconds;
 *	negative for as long as it takes
 * @conn: set on success; end it with kint_detach() or kint_close()
 *
 * Errors: -EAGAIN nobody connected; those of kint_open(), but for -EPIPE:
 * somebody who hangs up during the handshake does not count.  Somebody who
 * failed the handshake is disconnected, and the function may be called again.
 */
int kint_accept(struct kint_listener *listener, const struct kint_options *opts,
		int wait_ms, struct kint_conn **conn);

/**
 * kint_open - handshake and first command on a connected socket
 * @fd: stream socket; the connection's from now on, also on failure, when it
 *	is closed
 * @opts: options, NULL for the defaults
 * @conn: set on success
 *
 * Errors: -EPROTO what came is no handshake, or the kernel speaks another
 * version; -EPIPE closed during the handshake; -EACCES closed after it: the
 * cookie is wrong, or KVM refused the session; -ECANCELED kint_options.handshake
 * refused the VM.
 */
int kint_open(int fd, const struct kint_options *opts, struct kint_conn **conn);

/**
 * kint_adopt - like kint_open(), without a handshake
 *
 * For a socket whose other end was passed to KVM_INTROSPECTION_HOOK by the
 * caller, or by somebody who does not do the handshake.
 */
int kint_adopt(int fd, const struct kint_options *opts, struct kint_conn **conn);

/**
 * kint_detach - undo everything, then close
 *
 * Turns off every event, control register and MSR that was turned on through
 * this connection, takes its rules back, answers with ALLOW the open events that are
 * its own, see kint_event_is_own(), and closes.  The last that was turned on is the first
 * to be undone: set rules before their event is turned on, and what they decide is not
 * asked meanwhile.  Takes 1.5 seconds at most, whatever the other side does: closing is
 * what counts, since the device manager unhooks the VM then.  Control registers and MSRs
 * stay chosen after kint_control_cleanup() with false.
 *
 * Returns 0 if everything is undone, or the first error met on the way, -ETIMEDOUT
 * if there was no time for all of it; @conn is freed in any case.
 */
int kint_detach(struct kint_conn *conn);

/** kint_close - close and free at once.  NULL is allowed. */
void kint_close(struct kint_conn *conn);

/** kint_peer_info - what the handshake told; all zero after kint_adopt() */
const struct kint_peer *kint_peer_info(const struct kint_conn *conn);

/** kint_version - the answer to KVMI_GET_VERSION at the start of the session */
const struct kvmi_get_version_reply *kint_version(const struct kint_conn *conn);

/** kint_set_timeout - replace kint_options.timeout_ms; returns the old one */
int kint_set_timeout(struct kint_conn *conn, int timeout_ms);

/**
 * kint_set_deadline - a last moment for commands and replies
 * @ms: how far off it is, in milliseconds; a negative number for none
 *
 * No command, nor reply, is waited for beyond it, whatever the time limit of each, and
 * no command is sent any more after it, nor a reply in a batch with one: -ETIMEDOUT.  For
 * a tool that has much to undo and is to be gone soon.  kint_detach() has one of its own.
 */
void kint_set_deadline(struct kint_conn *conn, int ms);

/** kint_set_interrupt_fd - replace kint_options.interrupt_fd */
void kint_set_interrupt_fd(struct kint_conn *conn, int fd);

/* ---- Events (event.c) ---- */

/**
 * struct kint_event - an event
 * @seq: identifies the event towards the kernel
 * @id: KVMI_VM_EVENT_UNHOOK, or enum kvmi_vcpu_event_id
 * @is_vcpu: false for an event of the VM, which has no reply and only an @id
 * @notified: by a rule of the tool's, kint_set_rules(), the guest has gone on: there
 *	is no reply, and kint_reply() returns -EINVAL
 * @common: vCPU index, memory cookie and the state of the vCPU
 * @breakpoint: data of KVMI_VCPU_EVENT_BREAKPOINT
 * @cr: data of KVMI_VCPU_EVENT_CR
 * @trap: data of KVMI_VCPU_EVENT_TRAP
 * @xsetbv: data of KVMI_VCPU_EVENT_XSETBV
 * @descriptor: data of KVMI_VCPU_EVENT_DESCRIPTOR
 * @msr: data of KVMI_VCPU_EVENT_MSR
 * @pf: data of KVMI_VCPU_EVENT_PF
 * @singlestep: data of KVMI_VCPU_EVENT_SINGLESTEP
 * @cpuid: data of KVMI_VCPU_EVENT_CPUID
 * @access: data of KVMI_VCPU_EVENT_ACCESS
 *
 * KVMI_VCPU_EVENT_PAUSE, _HYPERCALL and _CREATE_VCPU have no data of their own.
 */
struct kint_event {
	uint32_t seq;
	uint16_t id;
	bool is_vcpu;
	bool notified;
	struct kvmi_vcpu_event common;
	union {
		struct kvmi_vcpu_event_breakpoint breakpoint;
		struct kvmi_vcpu_event_cr cr;
		struct kvmi_vcpu_event_trap trap;
		struct kvmi_vcpu_event_xsetbv xsetbv;
		struct kvmi_vcpu_event_descriptor descriptor;
		struct kvmi_vcpu_event_msr msr;
		struct kvmi_vcpu_event_pf pf;
		struct kvmi_vcpu_event_singlestep singlestep;
		struct kvmi_vcpu_event_cpuid cpuid;
		struct kvmi_vcpu_event_access access;
	};
};

/**
 * kint_fd - descriptor for the caller's own poll() or epoll
 *
 * Readable when kint_dispatch() has something to do, which includes events that
 * came in during a command, and the end of the connection.  It is not the
 * socket: do nothing but poll it.
 */
int kint_fd(const struct kint_conn *conn);

/**
 * kint_pending - number of events that have arrived and wait for the caller
 *
 * Those that were read from the socket, e.g. during a command.  There may be more
 * in the socket: kint_fd() tells whether there is anything at all.
 */
unsigned int kint_pending(const struct kint_conn *conn);

/**
 * kint_lost_notifications - number of notifications that were lost in the library
 *
 * Events that have kint_event.notified set are dropped and counted when half of
 * KINT_MAX_QUEUED_EVENTS of them wait for the caller: there can be any number.  The others,
 * which vCPUs wait in, have room of their own.  Those that the kernel drops are another number, see
 * kint_get_rules().
 */
uint64_t kint_lost_notifications(const struct kint_conn *conn);

/**
 * kint_event_handler - called by kint_dispatch() for each event
 * @conn: the connection
 * @event: valid during the call only
 * @arg: as passed to kint_dispatch()
 *
 * The handler may use commands, and either answers the event with kint_reply()
 * or keeps a copy of it to answer later; the vCPU waits until then.
 * It returns 0 to go on, anything else to stop kint_dispatch().
 */
typedef int (*kint_event_handler)(struct kint_conn *conn, const struct kint_event *event,
				  void *arg);

/**
 * kint_dispatch - hand the events that have arrived to a function
 *
 * Does not wait.  Returns 0, what the handler returned if that was not 0, or an
 * error once no event is left.  Those that arrive while the handler sends commands are for the
 * next time: kint_fd() stays readable.
 */
int kint_dispatch(struct kint_conn *conn, kint_event_handler handler, void *arg);

/**
 * kint_next_event - wait for one event
 * @event: filled in
 * @timeout_ms: in milliseconds; 0 to only look, negative for no limit
 *
 * Errors: -EAGAIN no event came in time.
 */
int kint_next_event(struct kint_conn *conn, struct kint_event *event, int timeout_ms);

/**
 * kint_event_actions - the actions that a kind of event accepts
 * @id: enum kvmi_vcpu_event_id
 *
 * Returns bit n for KVMI_EVENT_ACTION_ n, and 0 for an unknown event.  That of
 * TRAP has RETRY, which an event accepts that has KVMI_TRAP_RETRY in its flags;
 * that of ACCESS has SKIP, which is for writes.
 */
uint32_t kint_event_actions(uint16_t id);

/**
 * kint_event_accepts - does this very event accept an action?
 * @action: KVMI_EVENT_ACTION_*
 *
 * RETRY for instance makes no sense for a register that has its new value already,
 * KVMI_CHANGE_DONE.  kint_reply() refuses what is not accepted.
 */
bool kint_event_accepts(const struct kint_event *event, unsigned int action);

/**
 * kint_event_is_own - has this connection asked for the event?
 *
 * Where a tool was lost, and the VMM keeps the session for the next one, vCPUs stop for what
 * that tool was to be asked about.  A tool that takes its place answers all of it; one that does
 * not had better leave unanswered what is not its own, as it knows nothing of it: the next tool
 * is asked then.  The vCPU waits until then, and takes commands.
 *
 * Its own are the events of a vCPU that it has turned on there, CREATE_VCPU if it has turned
 * that on, the TRAP of an exception that it has injected, SINGLESTEP if it steps the vCPU, and as
 * many PAUSEs of a vCPU as it has asked for: one more is owed to a tool that was lost, which may
 * have been about to turn on events of that vCPU.  False for an event that is not open.
 */
bool kint_event_is_own(const struct kint_conn *conn, const struct kint_event *event);

/**
 * kint_reply - answer an event of a vCPU
 * @action: KVMI_EVENT_ACTION_*
 *
 * With ALLOW the guest's value is what a CR or MSR event writes.  With SKIP of a
 * CPUID or HYPERCALL event the guest finds in its registers what the tool put
 * there with kint_set_registers().
 *
 * Errors: -EINVAL the event does not accept that action (the kernel would end
 * the session), is not open any more, or is one of the VM.
 */
int kint_reply(struct kint_conn *conn, const struct kint_event *event, unsigned int action);

/**
 * kint_reply_flags - answer an event of a vCPU, and switch its view or step it
 * @flags: KVMI_REPLY_*
 * @view: the view of KVMI_REPLY_SET_VIEW or KVMI_REPLY_STEP_IN_VIEW, else 0
 *
 * Spares commands.  Needs KVMI_FEATURE_REPLY_FLAGS of kint_get_features().  What
 * the kernel does not accept, e.g. a view that there is not, ends the connection.
 *
 * Errors: -EINVAL as kint_reply(), or an unknown flag.
 */
int kint_reply_flags(struct kint_conn *conn, const struct kint_event *event,
		     unsigned int action, uint32_t flags, uint16_t view);

/**
 * kint_reply_value - answer a CR or MSR event with ALLOW and another value
 * @value: what to write instead of the guest's value
 *
 * Errors: -EINVAL as kint_reply(), or neither CR nor MSR.
 */
int kint_reply_value(struct kint_conn *conn, const struct kint_event *event, uint64_t value);

/**
 * kint_reply_pf - answer a PF event with ALLOW, and ask for more
 * @flags: KVMI_PF_TRAP_ACCESS, to be told with ACCESS events what the instruction
 *	reads from and writes to pages it may not
 *
 * Errors: -EINVAL as kint_reply(), or no PF event.
 */
int kint_reply_pf(struct kint_conn *conn, const struct kint_event *event, uint32_t flags);

/**
 * kint_reply_access - answer an ACCESS event with ALLOW and other data
 * @data: kvmi_vcpu_event_access.size bytes, to be read or written instead
 *
 * Errors: -EINVAL as kint_reply(), or no ACCESS event.
 */
int kint_reply_access(struct kint_conn *conn, const struct kint_event *event, const void *data);

/* ---- Commands for the VM (vm.c) ---- */

/** kint_get_version - ask for KVMI_GET_VERSION again */
int kint_get_version(struct kint_conn *conn, struct kvmi_get_version_reply *version);

/** kint_check_command - 0 allowed, -EPERM not allowed, -ENOENT unknown */
int kint_check_command(struct kint_conn *conn, uint16_t id);

/** kint_check_event - the same for an event */
int kint_check_event(struct kint_conn *conn, uint16_t id);

/** kint_get_info - number of vCPUs, architecture, address spaces */
int kint_get_info(struct kint_conn *conn, struct kvmi_vm_get_info_reply *info);

/**
 * kint_get_features - what this kernel and host can do, allowed or not
 *
 * Errors: -ENOSYS a kernel that knows the commands and events of the first KVMI
 * series, and none of their additions.
 */
int kint_get_features(struct kint_conn *conn, struct kvmi_vm_get_features_reply *features);

/**
 * kint_control_vm_events - turn an event of the VM on or off
 * @event: KVMI_VM_EVENT_UNHOOK or KVMI_VCPU_EVENT_CREATE_VCPU
 */
int kint_control_vm_events(struct kint_conn *conn, uint16_t event, bool enable);

/**
 * kint_pause_vcpu - ask for one PAUSE event
 * @wait: return after the vCPU has left the guest
 *
 * Works for a vCPU that does not run yet: the event comes before its first
 * instruction.  That, with the commands sent while the event is open, is how to
 * see everything a guest does from the start.
 */
int kint_pause_vcpu(struct kint_conn *conn, uint16_t vcpu, bool wait);

/**
 * kint_pause_all - ask for one PAUSE event of each vCPU
 * @wait: return after all of them have left the guest
 * @count: set to how many of them have been asked, but for those that owe too many
 *	already; or NULL
 *
 * Errors: -EBUSY each vCPU owes too many of them already.
 */
int kint_pause_all(struct kint_conn *conn, bool wait, uint32_t *count);

/**
 * kint_shutdown - end the guest
 *
 * As if every vCPU had an event that is answered with CRASH: the device manager
 * is told that the VM has shut down, and does with it what it does then.  A vCPU
 * that has an event open stops after the answer.
 */
int kint_shutdown(struct kint_conn *conn);

/**
 * kint_control_cleanup - does the end of the session forget CRs and MSRs?
 * @enable: true, as at the start: it does; false: what kint_control_cr() and
 *	kint_control_msr() chose is still chosen in the next session of the VM
 */
int kint_control_cleanup(struct kint_conn *conn, bool enable);

/**
 * kint_get_max_gfn - the end of guest memory
 * @gfn: set to the number of the first page (of 4096 bytes) after all memory
 */
int kint_get_max_gfn(struct kint_conn *conn, uint64_t *gfn);

/**
 * kint_get_memslots - where guest memory is
 * @as_id: address space; 0 is the one outside of system management mode
 * @slots: filled in, in the order of addresses; NULL if @max is 0
 * @max: room in @slots
 * @cookie: set to the generation of this layout, as of
 *	kint_read_physical_cookie(); or NULL
 *
 * Returns how many there are, which may be more than @max, or an error:
 * -EAGAIN the layout changed between two commands, start again; -EINVAL @as_id.
 */
int kint_get_memslots(struct kint_conn *conn, uint16_t as_id, struct kvmi_memslot *slots,
		      unsigned int max, uint32_t *cookie);

/* ---- Guest memory (memory.c) ---- */

/**
 * kint_read_physical - read guest memory
 * @gpa: guest physical address, in bytes
 * @buf: where to
 * @size: any number of bytes; split into one command for each page touched, of
 *	which several are under way at a time
 *
 * Errors: -ENOENT a page is no memory; what comes before it has been read.  On
 * any error the rest of @buf is undefined.
 */
int kint_read_physical(struct kint_conn *conn, uint64_t gpa, void *buf, size_t size);

/**
 * kint_read_physical_cookie - read guest memory, and its layout's generation
 * @as_id: address space; 0 is the one outside of system management mode
 * @cookie: set to the cookie
 *
 * Split into commands as large as the protocol allows.
 *
 * Errors: as kint_read_physical(); -EAGAIN the layout changed between two
 * commands, start again.
 */
int kint_read_physical_cookie(struct kint_conn *conn, uint16_t as_id, uint64_t gpa, void *buf,
			      size_t size, uint32_t *cookie);

/**
 * kint_write_physical - write guest memory; as kint_read_physical()
 *
 * Errors: -ENOENT a page is no memory, or read-only; -EAGAIN the device manager
 * tracks writes with dirty rings and they are full, try again.  What comes before
 * it has been written.
 */
int kint_write_physical(struct kint_conn *conn, uint64_t gpa, const void *buf, size_t size);

/**
 * kint_write_physical_cookie - write unless the memory layout has changed
 * @cookie: from kint_read_physical_cookie() or an event
 *
 * Errors: as kint_write_physical(); -EAGAIN also the layout has changed.  A write of
 * more than KINT_MAX_COOKIE_WRITE bytes is split, and only each part is atomic
 * with regard to the layout.
 */
int kint_write_physical_cookie(struct kint_conn *conn, uint16_t as_id, uint64_t gpa,
			       const void *buf, size_t size, uint32_t cookie);

/**
 * kint_write_physical_compare - replace bytes, if they are what was expected
 * @gpa: guest physical address, a multiple of @size
 * @expected: the bytes that memory must hold, @size of them
 * @buf: the bytes to write, @size of them
 * @size: 1, 2, 4 or 8
 * @cookie: NULL, or as of kint_write_physical_cookie()
 *
 * One atomic operation to the guest's vCPUs.
 *
 * Errors: as kint_write_physical(); -EAGAIN memory holds other bytes or the
 * layout has changed, and nothing was written; -EINVAL @size or @gpa.
 */
int kint_write_physical_compare(struct kint_conn *conn, uint16_t as_id, uint64_t gpa,
				const void *expected, const void *buf, size_t size,
				const uint32_t *cookie);

/* Bytes that fit into one message of the functions with a cookie */
#define KINT_MAX_COOKIE_READ \
	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) - sizeof(struct kvmi_mem_cookie))
#define KINT_MAX_COOKIE_WRITE \
	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_write_physical) - \
	 sizeof(struct kvmi_mem_cookie))

/* ---- Page access, views and single-stepping (view.c) ----
 *
 * Restrictions and views last until the device manager unhooks the VM, which it
 * does when the connection is closed.  Without page tables of the host's own for
 * the guest (EPT, NPT) the commands fail with -EOPNOTSUPP.
 */

/**
 * kint_set_page_access - take access to pages away, or give it back
 * @view: view of guest memory; 0 is what every vCPU starts in
 * @as_id: address space; 0 is the one outside of system management mode
 * @entries: what is left, for ranges of pages
 * @n: number of them; more than KINT_MAX_SET_ACCESS are split, and only each
 *	part is done as a whole or not at all
 *
 * No vCPU can use more than what is left when the function returns.
 *
 * Errors: -EINVAL no such view, no memory, or a combination that the host cannot
 * do, see kvmi_vm_get_features_reply.access.
 */
int kint_set_page_access(struct kint_conn *conn, uint16_t view, uint16_t as_id,
			 const struct kvmi_page_access_entry *entries, size_t n);

/**
 * kint_get_page_access - what is left of the access to pages
 * @gpas: guest physical addresses, @n of them
 * @access: set to KVMI_PAGE_ACCESS_*, a byte for each
 */
int kint_get_page_access(struct kint_conn *conn, uint16_t view, uint16_t as_id,
			 const uint64_t *gpas, uint8_t *access, size_t n);

/* Entries and addresses that fit into one message */
#define KINT_MAX_SET_ACCESS \
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_set_page_access)) / \
	 sizeof(struct kvmi_page_access_entry))
#define KINT_MAX_GET_ACCESS \
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_get_page_access)) / sizeof(uint64_t))

/**
 * kint_create_view - make another view of guest memory
 * @copy_of: the view it starts as a copy of
 * @view: set to its number
 *
 * Errors: -EBUSY there are as many as there can be.
 */
int kint_create_view(struct kint_conn *conn, uint16_t copy_of, uint16_t *view);

/** kint_destroy_view - end a view; -EBUSY a vCPU is in it */
int kint_destroy_view(struct kint_conn *conn, uint16_t view);

/**
 * kint_list_views - the views there are, and how many vCPUs are in them
 * @views: what the kernel says of up to @room of them, view 0 first
 * @n: set to how many there are in @views
 *
 * Errors: -ENOSYS the kernel has no such command.
 */
int kint_list_views(struct kint_conn *conn, struct kvmi_view_info *views, size_t room, size_t *n);

/**
 * kint_clear_views - end views of another tool
 * @views: bit n: view n is to be ended if there is one; cleared for those that there are
 *	not any more
 *
 * As with kint_clear_rules() there are some where the device manager keeps a session that has
 * lost its tool.  vCPUs that are in one go on without regard to what is taken away in
 * view 0, and come to breakpoints that the tool has put there.  So a tool that begins, with
 * all bits set, has those that are left in @views ended: each vCPU has to go to view 0, best
 * while an event of it is open, and then this is called again.  An event that comes from
 * another view is best answered with RETRY.
 */
int kint_clear_views(struct kint_conn *conn, uint64_t *views);

/**
 * kint_change_gfn - show another page in a view
 * @gfn: guest frame number of the page to change
 * @new_gfn: guest frame number of the page to show there; @gfn to put it back
 *
 * It can be read and executed there as far as the access to @gfn allows; a write
 * is always told with a PF event, and goes to the guest's own page.
 *
 * Errors: -EBUSY too many pages are changed; -EINVAL no such view or memory.
 */
int kint_change_gfn(struct kint_conn *conn, uint16_t view, uint16_t as_id, uint64_t gfn,
		    uint64_t new_gfn);

/* ---- Pages of the tool's own (pages.c) ----
 *
 * Memory that the VMM has added for the tool, above all that the guest is told of, to be
 * shown with kint_change_gfn() in place of the guest's pages: kint_peer.tool_gpa and
 * tool_size (QEMU: "tool-memory=SIZE" of its object).  Page frame numbers are physical
 * addresses divided by 4096.  The library knows which pages are in use, until the
 * connection is closed; nothing of it is known to the kernel or the VMM.
 *
 * A page in use is all zero at first.  Of the access to its own address nothing is left
 * in view 0 and in all views of kint_create_view(), made before or afterwards.  Where it
 * is shown, what counts is the access to the address there.
 *
 * A guest that uses the page's own address causes the event PF.  On the vCPUs that have
 * it on, the library answers it, and the caller does not see it: the guest reads zero and
 * what it writes is lost, as with QEMU where there is no memory, and an instruction in the
 * page is not executed but asks again.  For that the library turns the event ACCESS on
 * for that vCPU; if it may not, the instruction that reads or writes is skipped.  With PF
 * off, or decided by a rule of kint_set_rules(), the guest gets at the page as at any
 * that is restricted.  So do its devices, always.
 *
 * As all of a connection, this is for one thread at a time.
 */

/**
 * kint_alloc_page - have a page that nobody else has
 * @gfn: set to the page frame number of a page that is all zero
 *
 * Needs the commands GET_PAGE_ACCESS, SET_PAGE_ACCESS, WRITE_PHYSICAL, and the first one
 * GET_INFO.  A page that somebody has restricted already is left alone: the VMM may have
 * kept the session of a tool that was lost.
 *
 * A guest that uses the page by its address gets PF answered by the library, and the
 * instruction is emulated: what it does to other restricted pages comes as ACCESS.
 *
 * Errors: -ENODEV the VMM has added no such memory; -ENOSPC all of it is in use;
 * -EOPNOTSUPP the host has no page access; those of the commands.
 */
int kint_alloc_page(struct kint_conn *conn, uint64_t *gfn);

/**
 * kint_alloc_page_at - have this page
 * @gfn: page frame number, in the memory for the tool
 *
 * Errors: -EINVAL it is not there; -EBUSY it is in use; else as kint_alloc_page().
 */
int kint_alloc_page_at(struct kint_conn *conn, uint64_t gfn);

/**
 * kint_next_page - the page that kint_alloc_page() would have
 * @gfn: set to its page frame number
 *
 * Errors: as kint_alloc_page().
 */
int kint_next_page(struct kint_conn *conn, uint64_t *gfn);

/**
 * kint_free_page - give a page back
 * @gfn: page frame number, from kint_alloc_page()
 *
 * It is overwritten with zero, and then nothing is taken from its address any more.
 * kint_detach() does so with all that are left, after it has shown the guest's own pages
 * wherever kint_change_gfn() has put one of these.  If a batch has done that, the end of
 * the session does it.
 *
 * Errors: -ENODEV the VMM has added no such memory; -EINVAL the page is not in it;
 * -ENOENT it is not in use; -EBUSY a view shows it; those of the commands, after which
 * the page is still in use.
 */
int kint_free_page(struct kint_conn *conn, uint64_t gfn);

/** kint_pages_left - number of pages that are not in use, as far as is known */
uint64_t kint_pages_left(const struct kint_conn *conn);

/** kint_refused_accesses - number of events that the library has answered for its pages */
uint64_t kint_refused_accesses(const struct kint_conn *conn);

/** kint_set_view - the view that the vCPU is in from its next instruction on */
int kint_set_view(struct kint_conn *conn, uint16_t vcpu, uint16_t view);

/** kint_get_view - the view that the vCPU is in */
int kint_get_view(struct kint_conn *conn, uint16_t vcpu, uint16_t *view);

/**
 * kint_control_singlestep - a SINGLESTEP event after each instruction, or no more
 *
 * Errors: -EPERM the SINGLESTEP event is not allowed; -EOPNOTSUPP.
 */
int kint_control_singlestep(struct kint_conn *conn, uint16_t vcpu, bool enable);

/* ---- Rules that decide events in the kernel (rules.c) ---- */

/** KINT_MAX_RULES - rules of one event, at most */
#define KINT_MAX_RULES 64

/**
 * kint_set_rules - decide an event in the kernel
 * @event: event of a vCPU that a guest causes
 * @rules: in the order in which they are looked at; zero what is not used
 * @n: number of them; 0 to be asked about everything
 *
 * Replaces the rules of the event.  By the time this returns no vCPU decides by the
 * old ones.  Rules do not turn their event on: kint_control_events() does.  They are
 * undone by kint_detach(), with the session, or with @n 0.  When a tool is lost, and
 * the VMM keeps the session for the next one, they stay until that one replaces them.
 * Needs KVMI_FEATURE_RULES of kint_get_features().
 *
 * An event that a rule with KVMI_RULE_NOTIFY has decided has kint_event.notified set.
 *
 * Errors: -EINVAL more than KINT_MAX_RULES, or not as described at struct kvmi_rule;
 * -EPERM the VMM does not allow the event; -ENOMEM; -ENOSYS an older kernel.
 */
int kint_set_rules(struct kint_conn *conn, uint16_t event, const struct kvmi_rule *rules,
		   size_t n);

/**
 * kint_get_rules - read the rules of an event
 * @event: as in kint_set_rules()
 * @reset: set the counters to zero as they are read
 * @rules: the rules, and how many events each has decided
 * @room: number of entries that @rules has room for, KINT_MAX_RULES is enough
 * @n: number of entries that were written
 * @dropped: notifications that were lost in the kernel as the caller did not read them
 *	in time; kint_lost_notifications() is how many were in the library
 *
 * Errors: -EINVAL not such an event; -EPERM; -ENOSYS as kint_set_rules().
 */
int kint_get_rules(struct kint_conn *conn, uint16_t event, bool reset,
		   struct kvmi_rule_info *rules, size_t room, size_t *n, uint64_t *dropped);

/**
 * kint_clear_rules - take back the rules of all events, whoever has set them
 *
 * Rules of a tool that was lost are still in force where the VMM keeps the session for
 * the next one, which would not be asked about what they decide.  For a tool that
 * begins.
 *
 * Returns 0 also if there can be none: an older kernel, or the VMM does not allow it.
 *
 * Errors: -EPERM there are some, and the VMM does not allow to take them back; else those
 * of the commands.  Events may be decided that the tool believes to be asked about.
 */
int kint_clear_rules(struct kint_conn *conn);

/* ---- Commands for a vCPU (vcpu.c) ----
 *
 * All of them are carried out by the vCPU's own thread: they wait, up to the
 * time limit, while the device manager keeps the vCPU stopped.
 * -EAGAIN the vCPU has not been started by the guest and has no open event.
 */

/** kint_vcpu_get_info - TSC frequency in Hz, 0 if not known */
int kint_vcpu_get_info(struct kint_conn *conn, uint16_t vcpu,
		       struct kvmi_vcpu_get_info_reply *info);

/** kint_control_events - turn an event of the vCPU on or off */
int kint_control_events(struct kint_conn *conn, uint16_t vcpu, uint16_t event, bool enable);

/**
 * kint_control_event_set - turn several events of the vCPU on and off
 * @enable: bit n turns the event with id n on
 * @disable: bit n turns the event with id n off
 * @enabled: set to what is on now, a bit for each id; or NULL
 *
 * Both may be 0, to ask only.  On an error nothing has changed.
 */
int kint_control_event_set(struct kint_conn *conn, uint16_t vcpu, uint64_t enable,
			   uint64_t disable, uint64_t *enabled);

/**
 * kint_clear_control - turn off what another tool has turned on at a vCPU
 *
 * As with kint_clear_rules() that may be events, control registers and MSRs, and
 * single-stepping, where the device manager keeps a session that has lost its tool.  What this
 * connection has turned on stays so.  For a tool that takes the place of that one, when it has
 * turned on what it wants itself: until then nothing is to be let through.  A vCPU that is
 * stepped should be set free at once, with kint_control_singlestep(): its interrupts wait.
 *
 * If it cannot be told what is on, by an older kernel or as the VMM does not allow it,
 * single-stepping is turned off, and the rest stays: such events come as if asked for.
 *
 * Errors: those of the commands; not what the VMM does not allow.
 */
int kint_clear_control(struct kint_conn *conn, uint16_t vcpu);

/**
 * struct kint_registers - registers of a vCPU
 * @mode: KVMI_X86_MODE_*
 * @regs: general registers, RIP and RFLAGS
 * @sregs: segments, descriptor tables, control registers, EFER, APIC base
 */
struct kint_registers {
	uint32_t mode;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

/**
 * kint_get_registers - registers, and MSRs by index
 * @regs: filled in
 * @msrs: indices of the MSRs wanted, NULL if @nmsrs is 0
 * @values: filled in, @nmsrs entries
 * @nmsrs: number of MSRs
 *
 * Errors: -EINVAL an MSR does not exist, or too many for one message.
 */
int kint_get_registers(struct kint_conn *conn, uint16_t vcpu, struct kint_registers *regs,
		       const uint32_t *msrs, uint64_t *values, uint16_t nmsrs);

/**
 * kint_set_registers - general registers, effective when the event is answered
 *
 * Errors: -EOPNOTSUPP no event of the vCPU is open; -EINVAL the processor does not
 * have such values in RFLAGS or RIP in the mode it is in; -EBUSY RFLAGS.IF is clear
 * while an interrupt is delivered.
 */
int kint_set_registers(struct kint_conn *conn, uint16_t vcpu, const struct kvm_regs *regs);

/** kint_get_debugregs - the guest's DR0 to DR3, DR6 and DR7 */
int kint_get_debugregs(struct kint_conn *conn, uint16_t vcpu, struct kvmi_vcpu_debugregs *regs);

/**
 * kint_set_debugregs - the guest's DR0 to DR3, DR6 and DR7, effective at once
 *
 * Errors: -EINVAL DR6 or DR7 has more than 32 bits.
 */
int kint_set_debugregs(struct kint_conn *conn, uint16_t vcpu,
		       const struct kvmi_vcpu_debugregs *regs);

/** kint_control_cr - choose whether KVMI_VCPU_EVENT_CR reports CR0, 3 or 4 */
int kint_control_cr(struct kint_conn *conn, uint16_t vcpu, uint8_t cr, bool enable);

/** kint_control_msr - choose whether KVMI_VCPU_EVENT_MSR reports an MSR */
int kint_control_msr(struct kint_conn *conn, uint16_t vcpu, uint32_t msr, bool enable);

/* ---- More state of a vCPU (state.c) ---- */

/**
 * kint_get_cpuid - what CPUID tells the guest
 * @function: EAX, the leaf
 * @index: ECX, the subleaf
 *
 * Errors: -ENOENT the guest has no such leaf.
 */
int kint_get_cpuid(struct kint_conn *conn, uint16_t vcpu, uint32_t function, uint32_t index,
		   struct kvmi_vcpu_get_cpuid_reply *cpuid);

/**
 * kint_inject_exception - have the guest take an exception
 * @nr: vector, 0 to 31 but not 2
 * @error_code: for the vectors that have one
 * @address: for #PF, what CR2 is to be
 *
 * It happens before the guest's next instruction.  A TRAP event comes first,
 * which is to be answered; it is about another exception if that one got in
 * front, and then the guest does not take this one.
 *
 * Errors: -EPERM the TRAP event is not allowed; -EINVAL @nr; -EBUSY the TRAP
 * event of an earlier one has not come yet.
 */
int kint_inject_exception(struct kint_conn *conn, uint16_t vcpu, uint8_t nr,
			  uint32_t error_code, uint64_t address);

/** kint_get_xcr - an extended control register; there is number 0 */
int kint_get_xcr(struct kint_conn *conn, uint16_t vcpu, uint8_t xcr, uint64_t *value);

/**
 * kint_get_xsave - the first KVMI_XSAVE_SIZE bytes of the FPU and vector registers
 * @data: room for KVMI_XSAVE_SIZE bytes, in XSAVE's standard format
 */
int kint_get_xsave(struct kint_conn *conn, uint16_t vcpu, void *data);

/**
 * kint_set_xsave - FPU and vector registers; what lies beyond stays as it is
 * @data: KVMI_XSAVE_SIZE bytes, in XSAVE's standard format
 *
 * Errors: -EINVAL a state that the guest cannot have.
 */
int kint_set_xsave(struct kint_conn *conn, uint16_t vcpu, const void *data);

/**
 * kint_get_xsave2 - the FPU and vector registers, of any size
 * @data: filled in with the first @size bytes, or all if that is less; NULL if
 *	@size is 0
 * @total: set to the size of the whole state, in bytes
 *
 * A state of more than KINT_MAX_XSAVE_READ bytes is read in parts: they belong
 * together if an event is open on the vCPU meanwhile.
 */
int kint_get_xsave2(struct kint_conn *conn, uint16_t vcpu, void *data, size_t size,
		    size_t *total);

/**
 * kint_set_xsave2 - a part of the FPU and vector registers, or all of them
 * @offset: where in the state, in bytes
 *
 * More than KINT_MAX_XSAVE_WRITE bytes are set in parts.
 *
 * Errors: -EINVAL no data, beyond the end, or a state that the guest cannot
 * have; earlier parts have been set then.
 */
int kint_set_xsave2(struct kint_conn *conn, uint16_t vcpu, uint32_t offset, const void *data,
		    size_t size);

/* Bytes that fit into one message */
#define KINT_MAX_XSAVE_READ \
	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) - \
	 sizeof(struct kvmi_vcpu_get_xsave2_reply))
#define KINT_MAX_XSAVE_WRITE \
	(KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vcpu_hdr) - sizeof(struct kvmi_vcpu_set_xsave2))

/**
 * kint_get_mtrr_type - memory type of an address by the guest's MTRRs
 * @gpa: guest physical address, in bytes
 * @type: set to the type: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB
 */
int kint_get_mtrr_type(struct kint_conn *conn, uint16_t vcpu, uint64_t gpa, uint8_t *type);

/**
 * kint_translate_gva - guest virtual to guest physical address
 * @gva: guest virtual (linear) address, in bytes
 * @gpa: set to the guest physical address, by the page tables in use
 *
 * Errors: -EFAULT the guest's kernel could not read there.
 */
int kint_translate_gva(struct kint_conn *conn, uint16_t vcpu, uint64_t gva, uint64_t *gpa);

/* ---- Batches (batch.c) ----
 *
 * Commands, and replies to events, that are sent together, as many with one send() as
 * fit, and whose replies are collected afterwards: one round trip instead of many.
 * They are carried out in the order they were queued in, those for the VM by its
 * receiver and those for a vCPU by that vCPU: a command for the VM does not wait for
 * an earlier one for a vCPU.  A vCPU has done what a batch tells it to do before it
 * takes a reply to its event that is queued behind.
 *
 * A queue function returns the number of what it queued, 0 for the first of the
 * batch, or an error: -EINVAL it cannot be, -ENOBUFS KINT_MAX_BATCH are queued,
 * -ENOMEM.  What it is given is copied, but for a buffer that is read into.
 * kint_detach() does not undo what was done by batches.
 */

/* Commands and replies of a batch */
#define KINT_MAX_BATCH 4096

/** kint_batch_new - an empty batch; end it with kint_batch_free(), before the connection */
int kint_batch_new(struct kint_conn *conn, struct kint_batch **batch);

/** kint_batch_free - forget a batch, and what is queued in it.  NULL is allowed. */
void kint_batch_free(struct kint_batch *batch);

/**
 * kint_batch_commit - send what is queued and wait for the replies
 *
 * Returns the first error in the order of the batch.  Others are carried out
 * nevertheless, unless the error is one of the connection.  The time limit is for
 * each 16 of them.  The batch is empty then, and can be used again.
 */
int kint_batch_commit(struct kint_batch *batch);

/**
 * kint_batch_error - what became of a command, after kint_batch_commit()
 * @index: what the queue function returned
 *
 * Returns 0 or the command's error; -ECANCELED it was not sent, -EINVAL there is no
 * such command.
 */
int kint_batch_error(const struct kint_batch *batch, int index);

/**
 * kint_queue_read_physical - read guest memory, within one page
 * @buf: filled in by kint_batch_commit(), if there is no error
 */
int kint_queue_read_physical(struct kint_batch *batch, uint64_t gpa, void *buf, size_t size);

/** kint_queue_write_physical - write guest memory, within one page */
int kint_queue_write_physical(struct kint_batch *batch, uint64_t gpa, const void *buf,
			      size_t size);

/** kint_queue_page_access - kint_set_page_access(); @n is KINT_MAX_SET_ACCESS at most */
int kint_queue_page_access(struct kint_batch *batch, uint16_t view, uint16_t as_id,
			   const struct kvmi_page_access_entry *entries, size_t n);

/** kint_queue_change_gfn - kint_change_gfn() */
int kint_queue_change_gfn(struct kint_batch *batch, uint16_t view, uint16_t as_id, uint64_t gfn,
			  uint64_t new_gfn);

/** kint_queue_pause_vcpu - kint_pause_vcpu() */
int kint_queue_pause_vcpu(struct kint_batch *batch, uint16_t vcpu, bool wait);

/** kint_queue_set_view - kint_set_view() */
int kint_queue_set_view(struct kint_batch *batch, uint16_t vcpu, uint16_t view);

/** kint_queue_set_registers - kint_set_registers(); queue the reply to the event behind it */
int kint_queue_set_registers(struct kint_batch *batch, uint16_t vcpu, const struct kvm_regs *regs);

/** kint_queue_reply - kint_reply(); once for an event */
int kint_queue_reply(struct kint_batch *batch, const struct kint_event *event,
		     unsigned int action);

/** kint_queue_reply_value - kint_reply_value() */
int kint_queue_reply_value(struct kint_batch *batch, const struct kint_event *event,
			   uint64_t value);

/** kint_queue_reply_access - kint_reply_access() */
int kint_queue_reply_access(struct kint_batch *batch, const struct kint_event *event,
			    const void *data);

/** kint_queue_reply_pf - kint_reply_pf() */
int kint_queue_reply_pf(struct kint_batch *batch, const struct kint_event *event,
			uint32_t flags);

#ifdef __cplusplus
}
#endif

#endif /* _KINT_LIBKINT_H */
