// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: a tool that sends whatever a hostile tool might
 *
 * Most messages are well-formed requests with random fields, so that they get
 * past the first checks; the others are cut, padded, flipped, or noise.  Events
 * are answered late, wrongly or not at all.  Sessions end in every way there
 * is, and the next one begins.
 *
 * That is not to crash anything.  And whatever the tool does, the kernel keeps
 * to the protocol: every message gets the one answer it is due, of the size
 * that it must have, with an error that is known, and the session is closed
 * for good reason only.
 *
 * The messages of a seed are the same in each run.  What events there are to
 * answer, and when, is up to the machine.
 */
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/align.h>

#include "kselftest.h"
#include "kvmi_busy_vm.h"
#include "kvmi_fuzz.h"
#include "kvmi_util.h"
#include "test_util.h"

#define NR_VCPUS	2

/* Messages that the tool has no answers to before it waits for some */
#define MAX_UNANSWERED	256
#define MAX_SESSION	4096

enum ending {
	/* Wait for all answers */
	END_CLEAN,
	END_CLOSE,
	END_UNHOOK,
	/* A message without its end */
	END_CUT,
	/* Not a message at all */
	END_NOISE,
	NR_ENDINGS,
};

/* What is due to a message */
struct due {
	u16 id;
	bool vcpu;
	bool answered;
	s32 err;
	u16 min, max;
};

struct fuzz {
	struct kvmi_busy_vm busy;
	struct kvm_random_state random;
	/* For what depends on events */
	struct kvm_random_state reaction;
	struct fuzz_guest guest;
	struct kvmi_vm_get_features_reply features;
	bool seqpacket;

	/* The session */
	struct kvmi_session s;
	u64 commands[2], events;
	u32 base;
	u32 sent;
	u32 unanswered;
	struct due due[MAX_SESSION];
	bool deaf;
	bool may_close, must_close;
	bool noise;
	bool closed;
	bool spoilt;
	struct kvmi_event event[NR_VCPUS];
	bool event_open[NR_VCPUS];

	/* What goes out, in bytes or in messages */
	u8 out[1 << 16];
	size_t out_size, out_done;
	u8 in[1 << 16];
	size_t in_size;

	/* Totals */
	u64 messages, sessions, endings[NR_ENDINGS], closed_by_kernel;
	u64 answers, resets;
	u64 succeeded[KVMI_NUM_COMMANDS];
	u64 seen[KVMI_NUM_EVENTS];
};

/* A message in fuzz.out, if the socket has packets */
struct packet {
	u32 size;
	u32 room;
	u8 data[];
};

/* ---- What comes in ---- */

static void check_answer(struct fuzz *f, const struct kvmi_msg *msg)
{
	u32 n = msg->hdr.seq - f->base;
	struct kvmi_error_code ec;
	struct due *due;
	size_t size;

	TEST_ASSERT(msg->hdr.size >= sizeof(ec), "Answer of %u bytes to %u",
		    msg->hdr.size, msg->hdr.id);
	memcpy(&ec, msg->data, sizeof(ec));
	size = msg->hdr.size - sizeof(ec);
	TEST_ASSERT(!ec.padding, "Padding after the error");
	TEST_ASSERT(fuzz_error_known(ec.err), "Unknown error %d to %u", ec.err,
		    msg->hdr.id);
	TEST_ASSERT(!ec.err || !size, "Error %d with %zu bytes", ec.err, size);
	f->answers++;
	if (!ec.err) {
		TEST_ASSERT(msg->hdr.id < KVMI_NUM_COMMANDS,
			    "Success of unknown command %u", msg->hdr.id);
		fuzz_check_padding(msg->hdr.id, msg->data + sizeof(ec), size);
		f->succeeded[msg->hdr.id]++;
	}

	if (n >= f->sent) {
		TEST_ASSERT(f->noise, "Answer to nothing: id %u, seq %u",
			    msg->hdr.id, msg->hdr.seq);
		return;
	}

	due = &f->due[n];
	if (f->noise && (due->answered || due->id != msg->hdr.id))
		return;
	TEST_ASSERT(due->id == msg->hdr.id, "Answer has id %u, wanted %u",
		    msg->hdr.id, due->id);
	TEST_ASSERT(!due->answered, "Second answer to %u", due->id);
	due->answered = true;
	f->unanswered--;

	if (due->err)
		TEST_ASSERT_EQ(ec.err, due->err);
	else if (ec.err)
		TEST_ASSERT(ec.err != -KVM_EPERM || fuzz_may_be_denied(due->id),
			    "Command %u is denied", due->id);
	else
		TEST_ASSERT(size >= due->min && size <= due->max,
			    "Answer to %u has %zu bytes, wanted %u to %u",
			    due->id, size, due->min, due->max);
}

static void take_event(struct fuzz *f, const struct kvmi_msg *msg)
{
	struct kvmi_event ev;

	kvmi_parse_event(msg, &ev);
	TEST_ASSERT(ev.common.vcpu < NR_VCPUS, "Event of vCPU %u",
		    ev.common.vcpu);
	TEST_ASSERT(f->events & BIT_ULL(ev.ev.event), "Event %u is denied",
		    ev.ev.event);
	/* A rule has decided. */
	if (ev.ev.flags == KVMI_EVENT_NOTIFICATION) {
		f->seen[ev.ev.event]++;
		return;
	}
	TEST_ASSERT_EQ(ev.ev.flags, 0);
	TEST_ASSERT(!f->event_open[ev.common.vcpu] || f->noise,
		    "Event %u while another is open", ev.ev.event);
	f->event[ev.common.vcpu] = ev;
	f->event_open[ev.common.vcpu] = true;
	f->guest.regs = ev.common.arch.regs;
	f->seen[ev.ev.event]++;
}

static void take_message(struct fuzz *f, const struct kvmi_msg *msg)
{
	struct kvmi_event_hdr hdr;

	switch (msg->hdr.id) {
	case KVMI_VM_EVENT:
		/* It is not a command, but may have been sent as one. */
		if (msg->hdr.seq & BIT(31) || f->noise) {
			check_answer(f, msg);
			return;
		}
		TEST_ASSERT_EQ(msg->hdr.size, sizeof(hdr));
		memcpy(&hdr, msg->data, sizeof(hdr));
		TEST_ASSERT(!hdr.event && !hdr.flags && !hdr.padding[0] &&
			    !hdr.padding[1], "Not the UNHOOK event");
		f->seen[KVMI_VM_EVENT_UNHOOK]++;
		break;
	case KVMI_VCPU_EVENT:
		take_event(f, msg);
		break;
	default:
		check_answer(f, msg);
	}
}

static void session_closed(struct fuzz *f)
{
	TEST_ASSERT(f->may_close || f->must_close || f->noise,
		    "The kernel closed the session after message %u of session %lu",
		    f->sent, f->sessions);
	f->closed = true;
	f->closed_by_kernel++;
}

/* Read what there is. */
static void read_some(struct fuzz *f)
{
	struct kvmi_msg *msg;
	size_t done, size;
	ssize_t ret;

	while (!f->closed) {
		ret = recv(f->s.fd, f->in + f->in_size,
			   sizeof(f->in) - f->in_size, MSG_DONTWAIT);
		if (ret < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (!ret || (ret < 0 && errno == ECONNRESET)) {
			TEST_ASSERT(!f->in_size, "Message cut after %zu bytes",
				    f->in_size);
			session_closed(f);
			return;
		}
		TEST_ASSERT(ret > 0, "recv()");
		f->in_size += ret;

		for (done = 0;; done += size) {
			msg = (void *)(f->in + done);
			if (f->in_size - done < sizeof(msg->hdr))
				break;
			TEST_ASSERT(msg->hdr.size <= sizeof(msg->data),
				    "Message of %u bytes", msg->hdr.size);
			size = sizeof(msg->hdr) + msg->hdr.size;
			if (f->in_size - done < size)
				break;
			take_message(f, msg);
		}
		TEST_ASSERT(!f->seqpacket || done == f->in_size,
			    "A packet is not one message");
		f->in_size -= done;
		memmove(f->in, f->in + done, f->in_size);
	}
}

/* ---- What goes out ---- */

static bool out_empty(struct fuzz *f)
{
	return f->out_done == f->out_size;
}

/* Write what can be written; false if the connection takes no more. */
static bool write_some(struct fuzz *f)
{
	while (!out_empty(f) && !f->closed) {
		u8 *p = f->out + f->out_done;
		size_t size = f->out_size - f->out_done;
		ssize_t ret;

		if (f->seqpacket) {
			struct packet *packet = (void *)p;

			ret = send(f->s.fd, packet->data, packet->size,
				   MSG_DONTWAIT | MSG_NOSIGNAL);
			if (ret >= 0) {
				TEST_ASSERT_EQ(ret, packet->size);
				f->out_done += packet->room;
				continue;
			}
		} else {
			/* Any two bytes may arrive separately. */
			if (size > 1 && fuzz_one_in(&f->random, 4))
				size = 1 + fuzz_below(&f->random, size - 1);
			ret = send(f->s.fd, p, size, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (ret >= 0) {
				f->out_done += ret;
				continue;
			}
		}
		if (errno == EAGAIN || errno == EINTR)
			return false;
		TEST_ASSERT(errno == EPIPE || errno == ECONNRESET, "send()");
		f->out_done = f->out_size;
	}

	return true;
}

static void put(struct fuzz *f, const void *data, size_t size)
{
	struct packet *packet;
	size_t room = size;

	if (out_empty(f)) {
		f->out_size = 0;
		f->out_done = 0;
	}
	if (f->seqpacket)
		room = ALIGN(sizeof(*packet) + size, sizeof(u32));
	TEST_ASSERT(f->out_size + room <= sizeof(f->out), "No room");

	if (f->seqpacket) {
		packet = (void *)(f->out + f->out_size);
		packet->size = size;
		packet->room = room;
		memcpy(packet->data, data, size);
	} else {
		memcpy(f->out + f->out_size, data, size);
	}
	f->out_size += room;
}

/* A message that is answered */
static void put_message(struct fuzz *f, struct kvmi_msg *msg)
{
	struct due *due = &f->due[f->sent];
	u16 id = msg->hdr.id;

	if (f->sent == MAX_SESSION)
		return;

	msg->hdr.seq = f->base + f->sent;
	*due = (struct due){ .id = id, .vcpu = fuzz_is_vcpu_command(id) };
	if (!fuzz_is_command(id))
		due->err = -KVM_ENOSYS;
	else if (!(f->commands[id / 64] & BIT_ULL(id % 64)))
		due->err = -KVM_EPERM;
	else
		fuzz_answer_size(msg, &due->min, &due->max);

	/* Closed unless there is another error */
	if (fuzz_is_cut(msg))
		f->may_close = true;
	if (fuzz_spoils_guest(msg, &f->guest))
		f->spoilt = true;
	put(f, msg, sizeof(msg->hdr) + msg->hdr.size);
	f->sent++;
	f->unanswered++;
	f->messages++;
}

static void put_random_message(struct fuzz *f)
{
	struct kvmi_msg msg;

	fuzz_make_message(&f->random, &f->guest, &msg);
	put_message(f, &msg);
}

/* Events come of asking for them on purpose, hardly by chance. */
static void put_wishes(struct fuzz *f)
{
	struct kvmi_msg msg;
	int i;

	for (i = 0; i < fuzz_nr_wishes(&f->guest); i++) {
		if (fuzz_one_in(&f->random, 4))
			continue;
		fuzz_make_wish(&f->guest, i, &msg);
		put_message(f, &msg);
	}
}

/* A message that ends the session */
static void put_last_message(struct fuzz *f)
{
	struct kvmi_msg msg = { };
	size_t size;

	fuzz_make_message(&f->random, &f->guest, &msg);
	f->messages++;
	if (fuzz_one_in(&f->random, 2)) {
		/* Too long */
		f->must_close = true;
		msg.hdr.size = KVMI_MAX_MSG_SIZE + 1 +
			       fuzz_below(&f->random, 0xffff - KVMI_MAX_MSG_SIZE);
		put(f, &msg, sizeof(msg.hdr));
	} else {
		/* Answers to what was never asked */
		f->must_close = true;
		msg.hdr.id = KVMI_VCPU_EVENT;
		msg.hdr.seq = 0;
		size = fuzz_below(&f->random, 64);
		msg.hdr.size = size;
		memset(msg.data, 0, min(size, sizeof(struct kvmi_vcpu_hdr)));
		put(f, &msg, sizeof(msg.hdr) + size);
	}
}

static void put_set_registers(struct fuzz *f, u16 vcpu)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	struct kvm_regs regs = f->event[vcpu].common.arch.regs;
	struct kvmi_msg msg = {
		.hdr.id = KVMI_VCPU_SET_REGISTERS,
		.hdr.size = sizeof(hdr) + sizeof(regs),
	};

	fuzz_registers(&f->reaction, &regs);
	memcpy(msg.data, &hdr, sizeof(hdr));
	memcpy(msg.data + sizeof(hdr), &regs, sizeof(regs));
	put_message(f, &msg);
}

static bool is_allowed(struct fuzz *f, u16 id)
{
	return f->commands[id / 64] & BIT_ULL(id % 64);
}

/* Add what a reply may have besides an action, as far as the session allows it. */
static void add_flags(struct fuzz *f, u16 event, struct kvmi_vcpu_event_reply *rpl)
{
	u32 flags = fuzz_below(&f->reaction, 5);
	bool retries = rpl->action == KVMI_EVENT_ACTION_RETRY;
	bool allows = rpl->action == KVMI_EVENT_ACTION_ALLOW;

	if (flags & (KVMI_REPLY_SET_VIEW | KVMI_REPLY_STEP_IN_VIEW) &&
	    (!(f->features.access) || !is_allowed(f, KVMI_VCPU_SET_VIEW)))
		return;
	if (flags & (KVMI_REPLY_SINGLESTEP | KVMI_REPLY_STEP_IN_VIEW) &&
	    !(f->features.flags & KVMI_FEATURE_SINGLESTEP))
		return;
	if (flags & KVMI_REPLY_SINGLESTEP &&
	    (!(allows || retries) || !is_allowed(f, KVMI_VCPU_CONTROL_SINGLESTEP) ||
	     !(f->events & BIT_ULL(KVMI_VCPU_EVENT_SINGLESTEP))))
		return;
	if (flags & KVMI_REPLY_STEP_IN_VIEW && !retries &&
	    !(allows && (event == KVMI_VCPU_EVENT_PAUSE ||
			 event == KVMI_VCPU_EVENT_SINGLESTEP)))
		return;

	/* View 0 is the only one that there is for sure. */
	rpl->flags = flags;
}

/* Answer an event, as a rule in a way that it accepts. */
static void put_reply(struct fuzz *f, u16 vcpu)
{
	struct kvmi_event *ev = &f->event[vcpu];
	struct fuzz_reply reply;
	bool good = !fuzz_one_in(&f->reaction, 4000);

	if (fuzz_one_in(&f->reaction, 20))
		put_set_registers(f, vcpu);

	fuzz_make_reply(&f->reaction, ev, good, &reply);
	if (!good)
		f->must_close = true;
	else if (fuzz_one_in(&f->reaction, 4))
		add_flags(f, ev->ev.event, &reply.rpl);
	f->event_open[vcpu] = false;
	put(f, &reply, sizeof(reply.hdr) + reply.hdr.size);
	f->messages++;
}

static void put_replies(struct fuzz *f, u32 delay)
{
	int i;

	for (i = 0; i < NR_VCPUS && !f->must_close; i++) {
		if (f->event_open[i] && fuzz_one_in(&f->reaction, delay))
			put_reply(f, i);
	}
}

/* ---- Sessions ---- */

static bool unanswered_vcpu_only(struct fuzz *f)
{
	u32 i;

	for (i = 0; i < f->sent; i++) {
		if (!f->due[i].answered && !f->due[i].vcpu)
			return false;
	}
	return true;
}

/*
 * Read and write until everything is written and no more than some messages are
 * unanswered, or the session is over.
 */
static void pump(struct fuzz *f, u32 unanswered)
{
	struct pollfd pfd = { .fd = f->s.fd };
	bool written;
	int ret;

	while (!f->closed) {
		written = write_some(f);
		if (f->deaf) {
			if (written)
				return;
			/* Stuck: listen, or leave it at that. */
			f->deaf = false;
			if (fuzz_one_in(&f->random, 2))
				return;
			continue;
		}
		read_some(f);
		if (f->closed)
			return;
		if (out_empty(f)) {
			if (f->unanswered > unanswered || f->must_close)
				put_replies(f, 1);
			if (out_empty(f) && f->unanswered <= unanswered &&
			    !f->must_close)
				return;
			/* A vCPU that is broken does not answer. */
			if (kvmi_busy_is_broken(&f->busy) && !f->must_close &&
			    unanswered_vcpu_only(f))
				return;
		}

		pfd.events = POLLIN | (out_empty(f) ? 0 : POLLOUT);
		ret = poll(&pfd, 1, kvmi_busy_is_broken(&f->busy) ? 10 :
				    KVMI_TIMEOUT * 1000);
		TEST_ASSERT(ret >= 0 || errno == EINTR, "poll()");
		TEST_ASSERT(ret || kvmi_busy_is_broken(&f->busy),
			    "No answer: %u of %u, %zu bytes unsent, events %d %d, must close %d",
			    f->unanswered, f->sent, f->out_size - f->out_done,
			    f->event_open[0], f->event_open[1], f->must_close);
	}
}

/* Deny a few commands and events, as a VMM may. */
static void set_permissions(struct fuzz *f)
{
	u32 i, id;

	TEST_ASSERT_EQ(__kvmi_command(f->busy.vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_event(f->busy.vm, 1, -1), 0);
	memset(f->commands, 0xff, sizeof(f->commands));
	f->events = ~0ull;
	for (i = fuzz_below(&f->random, 4); i; i--) {
		id = fuzz_below(&f->random, KVMI_NUM_COMMANDS);
		if (!fuzz_is_always_allowed(id)) {
			TEST_ASSERT_EQ(__kvmi_command(f->busy.vm, 0, id), 0);
			f->commands[id / 64] &= ~BIT_ULL(id % 64);
		}
	}
	for (i = fuzz_below(&f->random, 2); i; i--) {
		id = fuzz_below(&f->random, KVMI_NUM_EVENTS);
		TEST_ASSERT_EQ(__kvmi_event(f->busy.vm, 0, id), 0);
		f->events &= ~BIT_ULL(id);
	}
}

static void begin(struct fuzz *f)
{
	kvmi_hook_type(&f->s, f->busy.vm,
		       f->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM);
	/* Events count from 1. */
	f->base = kvm_random_u32(&f->random) | BIT(31);
	f->sent = 0;
	f->unanswered = 0;
	f->out_size = 0;
	f->out_done = 0;
	f->in_size = 0;
	f->deaf = fuzz_one_in(&f->random, 20);
	f->may_close = false;
	f->must_close = false;
	f->noise = false;
	f->closed = false;
	memset(f->event_open, 0, sizeof(f->event_open));
	set_permissions(f);
	f->sessions++;
}

static void put_cut(struct fuzz *f)
{
	struct kvmi_msg msg;
	size_t size;

	fuzz_make_message(&f->random, &f->guest, &msg);
	size = sizeof(msg.hdr) + msg.hdr.size;
	/* A packet that is cut is wrong, a stream may go on. */
	f->must_close = f->seqpacket;
	f->may_close = true;
	put(f, &msg, 1 + fuzz_below(&f->random, size - 1));
	f->messages++;
}

static void put_noise(struct fuzz *f)
{
	u8 noise[512];
	size_t size = 1 + fuzz_below(&f->random, sizeof(noise));
	size_t i;

	for (i = 0; i < size; i++)
		noise[i] = fuzz_one_in(&f->random, 2) ? 0 : kvm_random_u32(&f->random);
	f->noise = true;
	f->spoilt = true;
	put(f, noise, size);
	f->messages++;
}

static void unhook(struct fuzz *f)
{
	TEST_ASSERT_EQ(__kvmi_unhook(f->busy.vm), 0);
	kvmi_close(&f->s);
}

static void end(struct fuzz *f)
{
	enum ending ending = fuzz_below(&f->random, NR_ENDINGS);

	f->endings[ending]++;
	switch (ending) {
	case END_CLEAN:
		if (fuzz_one_in(&f->random, 2))
			__kvmi_preunhook(f->busy.vm);
		f->deaf = false;
		pump(f, 0);
		unhook(f);
		break;
	case END_CUT:
		if (!f->closed)
			put_cut(f);
		pump(f, MAX_SESSION);
		shutdown(f->s.fd, SHUT_WR);
		unhook(f);
		break;
	case END_NOISE:
		if (!f->closed)
			put_noise(f);
		pump(f, MAX_SESSION);
		unhook(f);
		break;
	case END_CLOSE:
		kvmi_close(&f->s);
		unhook(f);
		break;
	default:
		unhook(f);
	}
}

/* Put the guest back to its feet. */
static void mend(struct fuzz *f)
{
	if (!f->spoilt && !kvmi_busy_is_broken(&f->busy))
		return;

	kvmi_busy_hold(&f->busy);
	kvmi_busy_reset(&f->busy);
	kvmi_busy_go(&f->busy);
	f->spoilt = false;
	f->resets++;
}

static void session(struct fuzz *f, u64 messages)
{
	u32 batch;

	mend(f);
	begin(f);
	if (!fuzz_one_in(&f->random, 8))
		put_wishes(f);
	messages = min_t(u64, messages, 1 + fuzz_below(&f->random, 2000));
	while (f->sent < messages && !f->closed && !f->must_close &&
	       !kvmi_busy_is_broken(&f->busy)) {
		for (batch = 1 + fuzz_below(&f->random, 16); batch; batch--) {
			if (f->sent == messages || f->must_close)
				break;
			if (sizeof(f->out) - f->out_size <
			    4 * sizeof(struct kvmi_msg))
				break;
			if (fuzz_one_in(&f->random, 2000))
				put_last_message(f);
			else
				put_random_message(f);
			put_replies(f, 2);
		}
		if (fuzz_one_in(&f->random, 50))
			kvmi_busy_signal(&f->busy);
		pump(f, fuzz_below(&f->random, MAX_UNANSWERED));
		if (!out_empty(f))
			break;
	}
	end(f);
}

static void report(struct fuzz *f)
{
	u64 successes = 0;
	int i;

	for (i = 0; i < KVMI_NUM_COMMANDS; i++)
		successes += f->succeeded[i];
	ksft_print_msg("%lu messages, %lu sessions, %lu answers, %lu of them successful\n",
		       f->messages, f->sessions, f->answers, successes);
	ksft_print_msg("ended %lu cleanly, %lu by close, %lu by unhook, %lu cut, %lu with noise\n",
		       f->endings[END_CLEAN], f->endings[END_CLOSE],
		       f->endings[END_UNHOOK], f->endings[END_CUT],
		       f->endings[END_NOISE]);
	ksft_print_msg("%lu of them were closed by the kernel before\n",
		       f->closed_by_kernel);
	for (i = 0; i < KVMI_NUM_COMMANDS; i++) {
		if (fuzz_is_command(i))
			ksft_print_msg("command %d: %lu successes\n", i,
				       f->succeeded[i]);
	}
	for (i = 0; i < KVMI_NUM_EVENTS; i++) {
		if (f->seen[i])
			ksft_print_msg("event %d: %lu times\n", i, f->seen[i]);
	}
	ksft_print_msg("the guest was mended %lu times\n", f->resets);
}

static void fuzz(struct fuzz *f, bool seqpacket, u64 messages)
{
	u64 end = f->messages + messages;

	f->seqpacket = seqpacket;
	while (f->messages < end)
		session(f, end - f->messages);
}

/* The fuzzer knows what the kernel knows. */
static void check_tables(struct fuzz *f)
{
	u16 id;

	kvmi_hook(&f->s, f->busy.vm);
	for (id = 0; id < 256; id++) {
		if (id != KVMI_VCPU_EVENT)
			TEST_ASSERT_KVMI(kvmi_check_command(&f->s, id),
					 fuzz_is_command(id) ? 0 : -KVM_ENOENT);
	}
	kvmi_get_features(&f->s, &f->features);
	kvmi_unhook(&f->s);
}

/* Code, stack, what FS points to, page tables and interrupt table */
static void get_used_pages(struct fuzz *f)
{
	struct kvm_x86_state *state = f->busy.vcpus[0].state;
	struct kvm_vm *vm = f->busy.vm;

	f->guest.used[0] = addr_gva2gpa(vm, state->regs.rip);
	f->guest.used[1] = addr_gva2gpa(vm, state->regs.rsp - 8);
	f->guest.used[2] = addr_gva2gpa(vm, state->sregs.fs.base);
	f->guest.used[3] = state->sregs.cr3;
	f->guest.used[4] = addr_gva2gpa(vm, state->sregs.idt.base);
}

static void help(const char *name)
{
	printf("usage: %s [-s seed] [-n messages]\n", name);
	exit(0);
}

int main(int argc, char **argv)
{
	u64 messages = 1000000;
	u32 seed = 1;
	struct fuzz *f;
	int opt;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	while ((opt = getopt(argc, argv, "s:n:h")) != -1) {
		switch (opt) {
		case 's':
			seed = atoi_positive("Seed", optarg);
			break;
		case 'n':
			messages = atoi_positive("Messages", optarg);
			break;
		default:
			help(argv[0]);
		}
	}

	ksft_print_header();
	ksft_set_plan(4);
	ksft_print_msg("seed %u\n", seed);

	f = calloc(1, sizeof(*f));
	TEST_ASSERT(f, "calloc()");
	f->random = new_kvm_random_state(seed);
	f->reaction = new_kvm_random_state(seed + 1);
	kvmi_busy_create(&f->busy, NR_VCPUS, seed);
	f->guest = (struct fuzz_guest){
		.memory_size = f->busy.memory_size,
		.gpa = KVMI_BUSY_GPA,
		.gpa_size = KVMI_BUSY_PAGES * getpagesize(),
		.nr_vcpus = NR_VCPUS,
		.regs = f->busy.vcpus[0].state->regs,
		.xsave = f->busy.vcpus[0].state->xsave,
	};
	get_used_pages(f);
	fuzz_init(&f->random);
	check_tables(f);
	kvmi_busy_go(&f->busy);

	fuzz(f, false, messages - messages / 10);
	ksft_test_result_pass("stream\n");
	fuzz(f, true, messages / 10);
	ksft_test_result_pass("seqpacket\n");
	report(f);

	f->spoilt = true;
	mend(f);
	kvmi_busy_check(&f->busy);
	ksft_test_result_pass("guest_lives\n");
	kvmi_busy_check_session(&f->busy);
	ksft_test_result_pass("next_session\n");

	kvmi_busy_hold(&f->busy);
	kvmi_busy_free(&f->busy);
	ksft_finished();
}
