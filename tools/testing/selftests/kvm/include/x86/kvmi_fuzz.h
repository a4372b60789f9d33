/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random messages of KVM introspection, and what is due to them
 */
#ifndef SELFTEST_KVM_KVMI_FUZZ_H
#define SELFTEST_KVM_KVMI_FUZZ_H

#include "kvmi_util.h"
#include "test_util.h"

#define FUZZ_USED_PAGES	5

/* What random messages are about */
struct fuzz_guest {
	/* Memory below this size is the guest's own, there is some at another address. */
	u64 memory_size;
	/* It cannot do without these pages. */
	u64 used[FUZZ_USED_PAGES];
	u64 gpa;
	u64 gpa_size;
	int nr_vcpus;
	/* Good values, to be made worse */
	struct kvm_regs regs;
	const struct kvm_xsave *xsave;
};

struct fuzz_reply {
	struct kvmi_msg_hdr hdr;
	struct kvmi_vcpu_hdr vcpu;
	struct kvmi_vcpu_event_reply rpl;
	u8 data[64];
};

static inline u32 fuzz_below(struct kvm_random_state *r, u32 n)
{
	return kvm_random_u32(r) % n;
}

static inline bool fuzz_one_in(struct kvm_random_state *r, u32 n)
{
	return !fuzz_below(r, n);
}

void fuzz_init(struct kvm_random_state *r);

/* Make a message, of any id but KVMI_VCPU_EVENT; seq is left out. */
void fuzz_make_message(struct kvm_random_state *r, const struct fuzz_guest *g,
		       struct kvmi_msg *msg);
/* Make the messages that turn events on, from 0 to fuzz_nr_wishes() - 1. */
int fuzz_nr_wishes(const struct fuzz_guest *g);
void fuzz_make_wish(const struct fuzz_guest *g, int nr, struct kvmi_msg *msg);
/* Change some general registers. */
void fuzz_registers(struct kvm_random_state *r, struct kvm_regs *regs);
/* Answer an event; if not good, in a way that closes the session. */
void fuzz_make_reply(struct kvm_random_state *r, const struct kvmi_event *ev,
		     bool good, struct fuzz_reply *reply);

bool fuzz_is_command(u16 id);
bool fuzz_is_always_allowed(u16 id);
bool fuzz_is_vcpu_command(u16 id);
/* Is -KVM_EPERM an answer although the command is allowed? */
bool fuzz_may_be_denied(u16 id);
/* Bytes that a successful answer has after its error code */
void fuzz_answer_size(const struct kvmi_msg *msg, u16 *min, u16 *max);
/* Does the message lack data, which is a reason to close the session? */
bool fuzz_is_cut(const struct kvmi_msg *msg);
/* May the guest be unable to go on after it? */
bool fuzz_spoils_guest(const struct kvmi_msg *msg, const struct fuzz_guest *g);
/* Assert that what an answer has to have zero is zero. */
void fuzz_check_padding(u16 id, const void *data, size_t size);
bool fuzz_error_known(int err);

#endif /* SELFTEST_KVM_KVMI_FUZZ_H */
