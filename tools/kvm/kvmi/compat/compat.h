/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef KVMI_COMPAT_H
#define KVMI_COMPAT_H

/*
 * libkvmi on top of libkint.
 *
 * The kernel's <linux/kvmi.h> and that of libkvmi have names in common.  Here those
 * of libkvmi begin with v7_ or V7_, and its events are V7_EVENT_*.
 */
#include <pthread.h>
#include <stdbool.h>
#include <kint/libkint.h>

#define kvmi_features v7_features
#define kvmi_msg_hdr v7_msg_hdr
#define kvmi_page_access_entry v7_page_access_entry
#define kvmi_vcpu_hdr v7_vcpu_hdr
#define KVMI_GET_VERSION V7_GET_VERSION
#define KVMI_VCPU_CONTROL_SINGLESTEP V7_VCPU_CONTROL_SINGLESTEP
#define KVMI_VCPU_GET_XCR V7_VCPU_GET_XCR
#define KVMI_VCPU_SET_XSAVE V7_VCPU_SET_XSAVE
#define KVMI_VCPU_TRANSLATE_GVA V7_VCPU_TRANSLATE_GVA
/* The same numbers in both */
#undef KVMI_VERSION
#undef KVMI_EVENT_ACTION_CONTINUE
#undef KVMI_EVENT_ACTION_RETRY
#undef KVMI_EVENT_ACTION_CRASH
#undef KVMI_PAGE_ACCESS_R
#undef KVMI_PAGE_ACCESS_W
#undef KVMI_PAGE_ACCESS_X
#undef KVMI_DESC_IDTR
#undef KVMI_DESC_GDTR
#undef KVMI_DESC_LDTR
#undef KVMI_DESC_TR
#include "include/libkvmi.h"
#undef kvmi_features
#undef kvmi_msg_hdr
#undef kvmi_page_access_entry
#undef kvmi_vcpu_hdr
#undef KVMI_GET_VERSION
#undef KVMI_VCPU_CONTROL_SINGLESTEP
#undef KVMI_VCPU_GET_XCR
#undef KVMI_VCPU_SET_XSAVE
#undef KVMI_VCPU_TRANSLATE_GVA

/* An event that the caller has been given, or will be, and has not answered */
struct open_event {
	struct open_event *next;
	unsigned int seq;		/* as the caller knows it */
	uint16_t id;			/* of the event that the caller takes it for */
	bool made_up;			/* of @event only the vCPU counts */
	bool moved;			/* RIP has been set to something else */
	struct kint_event event;
};

/* Something to be turned on or off once the vCPU runs */
enum wish_kind { WISH_EVENT, WISH_CR, WISH_MSR, WISH_STEP, WISH_VIEW };

struct wish {
	struct wish *next;
	enum wish_kind kind;
	unsigned int id;		/* or the view */
	bool enable;
};

struct vcpu {
	bool heard;			/* it has carried out a command */
	/*
	 * It does not run: not started by the guest, or stopped with the VM.  A
	 * PAUSE event has been ordered, which comes before its first instruction.
	 */
	bool asleep;
	struct wish *wishes;		/* to be done then, in this order */
	unsigned int made_up;		/* PAUSE events made up meanwhile and not answered */
	bool held;			/* the ordered PAUSE has come, and waits for them: */
	struct kint_event pause;
	uint32_t events;		/* KVMI_EVENT_* that the caller has turned on */
	uint16_t view;
	struct kvmi_event_pf_reply context;	/* what it reads instead, until its next event */
	bool context_is_gpa;		/* it begins at this address too: */
	uint64_t context_gpa;
	bool traces;			/* it has ACCESS events */
	bool stepped;			/* the caller has had it step */
	/* What the caller has allowed of the instruction that is emulated */
	struct {
		uint64_t gfn;
		uint8_t access;
	} allowed[4];
	unsigned int nallowed;
};

struct domain {
	/* registry.c */
	struct domain *next;
	void *handle;			/* what the caller of the library has */
	unsigned int users;		/* under the registry's lock */
	bool closing;
	pthread_mutex_t lock;		/* of what follows */

	struct kint_conn *conn;
	bool gone;			/* the connection is of no more use */
	int poll_fd;			/* epoll of kint_fd() and @wake_fd */
	int wake_fd;			/* readable while @queue is not empty, or @closing */
	uint64_t end;			/* of RAM, a gfn; 0 not known yet */
	bool exec_only;			/* pages can be executed and not read */
	uint16_t views;
	uint64_t left_views;		/* bit n: view n is of a tool that was lost */

	unsigned int nvcpus;
	struct vcpu *vcpus;
	uint32_t vm_events;		/* as vcpu.events */

	unsigned int seq;		/* of the last event */
	struct open_event *open;
	struct kvmi_dom_event *queue, **queue_end;
	size_t nqueued;
	uint64_t refused;		/* the last kint_refused_accesses() */

	void *widened;			/* access.c */
};

/* registry.c */
void *domain_new(struct kint_conn *conn);
struct domain *domain_enter(const void *dom);
int domain_leave(struct domain *d, int err);

/* event.c */
int event_id_of(int v7_id);
void pump(struct domain *d);
int make_up_pause(struct domain *d, uint16_t vcpu);
void events_free(struct domain *d);

/* reply.c */
struct reply {
	struct open_event *open;
	enum {
		REPLY_NOTHING, REPLY_ACTION, REPLY_VALUE, REPLY_CONTEXT, REPLY_DATA
	} how;
	unsigned int action;
	bool allows;			/* the access that the caller was asked about */
	uint64_t value;
	unsigned char data[32];
	struct kvmi_event_pf_reply context;
};

int reply_prepare(struct domain *d, unsigned int seq, const void *data, size_t size,
		  struct reply *r);
int reply_queue(struct kint_batch *batch, const struct reply *r);
void reply_done(struct domain *d, struct reply *r);
bool answer_access(struct domain *d, struct vcpu *v, const struct kint_event *event);
bool registers_set(struct domain *d, uint16_t vcpu, const struct kvm_regs *regs);
void registers_not_set(struct domain *d, uint16_t vcpu, bool before);

/* vcpu.c */
int views_take_back(struct domain *d);
struct vcpu *vcpu_get(struct domain *d, uint16_t vcpu);
int vcpu_contact(struct domain *d, uint16_t vcpu, struct vcpu **v);
int vcpu_check_awake(struct domain *d, uint16_t vcpu);
void vcpu_woken(struct domain *d, const struct kint_event *pause);
void vcpus_free(struct domain *d);

/* access.c */
int access_entries(struct domain *d, const unsigned long long *gpa, const unsigned char *access,
		   unsigned short count, struct kvmi_page_access_entry *entries);
int access_remember(struct domain *d, const unsigned char *access,
		    const struct kvmi_page_access_entry *entries, unsigned short count,
		    unsigned short view);
bool access_not_asked(const struct domain *d, uint16_t view, uint64_t gpa, uint8_t access);
bool reading_is_asked(const struct domain *d, const struct kvmi_vcpu_event_pf *pf);
void access_free(struct domain *d);

/* log.c */
bool logging(void);
void note(kvmi_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
