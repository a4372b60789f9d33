/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef KINT_INTERNAL_H
#define KINT_INTERNAL_H

#include <kint/libkint.h>

#define MSG_SIZE (sizeof(struct kvmi_msg_hdr) + KVMI_MAX_MSG_SIZE)
/* Commands under way at a time, and those given up on */
#define MAX_RUN 16
#define MAX_LATE (4 * MAX_RUN)

/*
 * Numbers that the other side tells, and that somebody allocates or counts by:
 * no kernel can mean more than this, see kint_bounded().
 */
#define MAX_VCPUS 65536		/* their index has 16 bits */
#define MAX_MEMSLOTS 65536	/* and so has that of slots to ask for */
#define MAX_TOOL_PAGES (1 << 20)	/* 4 GiB for the tool */
#define MAX_KNOWN_VIEWS 64		/* there are 7 */
#define MAX_XSAVE (1 << 20)	/* CPUID leaf 0xd says some 11 KiB today */

/* An event that arrived and that the caller has not been given yet */
struct queued_event {
	struct queued_event *next;
	struct kint_event event;
};

/* An event the kernel waits for the answer to */
struct open_event {
	struct open_event *next;
	uint32_t seq;
	uint16_t vcpu;
	uint16_t id;
	uint32_t actions;	/* bit n: it accepts KVMI_EVENT_ACTION_ n */
	uint64_t nr;		/* in the order of arrival */
	bool own;		/* see kint_event_is_own() */
};

/*
 * Something turned on in the guest, to be turned off by kint_detach(); or, from WISH_TRAP on, an
 * event that comes once, which nothing turns off: of an exception that was injected, and of the
 * instruction that KVMI_REPLY_SINGLESTEP is about.
 */
enum wish_kind {
	WISH_VM_EVENT, WISH_RULES, WISH_EVENT, WISH_CR, WISH_MSR, WISH_STEP,
	WISH_TRAP, WISH_STEP_ONCE
};

struct wish {
	struct wish *next;
	enum wish_kind kind;
	uint16_t vcpu;
	uint32_t id;
	bool tried;		/* to be turned off, in vain */
};

/* What a command asks for, in up to three pieces that need not be adjacent */
struct request {
	uint16_t id;
	const void *part[3];
	size_t size[3];
};

/*
 * A command: what is asked for, and where the reply data goes.  With @got the
 * data may be shorter than @size, and *@got is set to its size.  With @answers it
 * is the tool's reply to the event @seq, to which there is no reply.
 */
struct command {
	struct request req;
	void *data;
	size_t size;
	size_t *got;
	uint32_t seq;
	bool answers;
	bool sent;
	bool replied;
	int err;
};

/* The tool's reply to an event */
struct answer {
	struct kvmi_vcpu_hdr vcpu;
	struct kvmi_vcpu_event_reply reply;
	unsigned char data[sizeof(struct kvmi_vcpu_event_access_reply)];
};

struct kint_conn {
	int sock;
	int poll_fd;		/* epoll of @sock and @wake_fd: kint_fd() */
	int wake_fd;		/* eventfd, readable while @queue is not empty */
	int error;		/* why the connection is of no more use, or 0 */
	int timeout_ms;
	int64_t last_moment;	/* see kint_set_deadline(); -1 for none */
	int interrupt_fd;

	struct kint_peer peer;
	struct kvmi_get_version_reply version;

	uint32_t seq;		/* of the last command */
	struct command *run;	/* the commands under way */
	unsigned int nrun;
	int64_t grace_until;	/* see kint_command() */
	uint32_t late[MAX_LATE];	/* commands given up on */
	unsigned int nlate;

	struct queued_event *queue, **queue_end;
	unsigned int nqueued, nnotes;	/* the latter are notifications */
	uint64_t nlost;		/* notifications for which @queue had no room */
	struct open_event *open;
	uint64_t narrived;	/* events that were open at some time */
	uint64_t narrived_then;	/* when the reply to the last command did */
	struct wish *wishes;
	int *pauses;		/* of each vCPU: PAUSE events asked for, less those that came */
	unsigned int npauses;	/* vCPUs that @pauses has room for */
	unsigned int pause_alls;	/* how often they were asked for of all of them */
	struct tool_pages *pages;	/* pages.c */
	uint64_t views;		/* bit n: the caller has made view n */
	bool no_cleanup;	/* the last kint_control_cleanup() */

	size_t rx_size;
	unsigned char rx[2 * MSG_SIZE];
	size_t tx_size;
	unsigned char tx[MSG_SIZE];
};

/* message.c */
int64_t kint_now_ms(void);
int64_t kint_deadline(int timeout_ms);
int64_t kint_conn_deadline(const struct kint_conn *conn);
int kint_wait_fd(int fd, short events, int64_t deadline, int interrupt_fd);
int kint_fail(struct kint_conn *conn, int error);
int kint_bounded(struct kint_conn *conn, uint64_t number, uint64_t max);
int kint_receive(struct kint_conn *conn);
int kint_run(struct kint_conn *conn, struct command *cmds, unsigned int n);
int kint_command(struct kint_conn *conn, const struct request *req, void *data, size_t size,
		 size_t *got);

/* vcpu.c */
int kint_vcpu_command(struct kint_conn *conn, uint16_t id, uint16_t vcpu, const void *msg,
		      size_t size, void *data, size_t data_size);

/* event.c */
int kint_event_arrived(struct kint_conn *conn, const struct kvmi_msg_hdr *hdr,
		       const unsigned char *payload);
int kint_answer(const struct kint_conn *conn, const struct kint_event *event,
		unsigned int action, const void *data, size_t size, struct answer *answer);
int kint_answer_value(const struct kint_conn *conn, const struct kint_event *event,
		      unsigned int action, uint64_t value, struct answer *answer);
int kint_answer_action(const struct kint_conn *conn, const struct kint_event *event,
		       unsigned int action, struct answer *answer);
int kint_answer_pf(const struct kint_conn *conn, const struct kint_event *event,
		   uint32_t flags, struct answer *answer);
int kint_answer_access(const struct kint_conn *conn, const struct kint_event *event,
		       const void *data, struct answer *answer);
void kint_answered(struct kint_conn *conn, uint32_t seq);
void kint_events_wished(struct kint_conn *conn, uint64_t from);
int kint_pause_asked(struct kint_conn *conn, uint16_t vcpu, int n);
void kint_events_free(struct kint_conn *conn);
int kint_allow_own(struct kint_conn *conn);

/* wish.c */
int kint_wish_update(struct kint_conn *conn, enum wish_kind kind, uint16_t vcpu, uint32_t id,
		     bool enable, int result);
bool kint_wishes(const struct kint_conn *conn, enum wish_kind kind, uint16_t vcpu, uint32_t id);
void kint_wishes_free(struct kint_conn *conn);

/* pages.c */
void kint_pages_told(struct kint_peer *peer, uint64_t gpa, uint64_t size);
void kint_page_shown(struct kint_conn *conn, uint16_t view, uint16_t as_id, uint64_t gfn,
		     uint64_t new_gfn);
void kint_page_batched(struct kint_conn *conn, uint64_t new_gfn);
void kint_pages_view_copied(struct kint_conn *conn, uint16_t copy_of, uint16_t view);
void kint_pages_view_gone(struct kint_conn *conn, uint16_t view);
int kint_pages_undo(struct kint_conn *conn, int64_t deadline);
int kint_page_event(struct kint_conn *conn, const struct kint_event *event);
void kint_pages_free(struct kint_conn *conn);

/* handshake.c */
int kint_handshake(int fd, const struct kint_options *opts, int timeout_ms,
		   struct kint_peer *peer);

/* sha1.c */
void kint_sha1(const void *data, size_t size, uint8_t digest[20]);

#endif
