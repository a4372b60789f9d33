// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Batches, and what has to be done when one is sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "compat.h"

enum op_kind { OP_REGISTERS, OP_ACCESS, OP_PAUSE, OP_REPLY };

/* Something queued */
struct op {
	struct op *next;
	enum op_kind kind;
	uint16_t vcpu;			/* or the view */
	unsigned int seq;
	unsigned short count;
	struct kvm_regs regs;
	bool moved;			/* it was elsewhere before, see registers_set() */
	struct kvmi_page_access_entry *entries;
	unsigned char *access;
	struct reply reply;
	int index;			/* in the batch of libkint, or negative */
	size_t size;
	unsigned char data[];
};

struct batch {
	void *dom;
	struct op *ops, **end;
};

void *kvmi_batch_alloc(void *dom)
{
	struct domain *d = domain_enter(dom);
	struct batch *batch;

	if (!d)
		return NULL;
	batch = calloc(1, sizeof(*batch));
	if (domain_leave(d, batch ? 0 : -ENOMEM))
		return NULL;
	batch->dom = dom;
	batch->end = &batch->ops;
	return batch;
}

static void forget(struct batch *batch)
{
	struct op *op;

	while (batch->ops) {
		op = batch->ops;
		batch->ops = op->next;
		free(op->entries);
		free(op);
	}
	batch->end = &batch->ops;
}

void kvmi_batch_free(void *batch)
{
	if (!batch)
		return;
	forget(batch);
	free(batch);
}

static struct op *queue(struct batch *batch, enum op_kind kind, const void *data, size_t size)
{
	struct op *op = calloc(1, sizeof(*op) + size);

	if (!op) {
		errno = ENOMEM;
		return NULL;
	}
	op->kind = kind;
	op->index = -1;		/* until it is in the batch of libkint */
	op->size = size;
	if (size)
		memcpy(op->data, data, size);
	*batch->end = op;
	batch->end = &op->next;
	return op;
}

int kvmi_queue_registers(void *batch, unsigned short vcpu, const struct kvm_regs *regs)
{
	struct op *op = queue(batch, OP_REGISTERS, NULL, 0);

	if (!op)
		return -1;
	op->vcpu = vcpu;
	op->regs = *regs;
	return 0;
}

int kvmi_queue_reply_event(void *batch, unsigned int seq, const void *data, size_t data_size)
{
	struct op *op;

	if (data_size > KVMI_MSG_SIZE) {
		errno = EINVAL;
		return -1;
	}
	op = queue(batch, OP_REPLY, data, data_size);
	if (!op)
		return -1;
	op->seq = seq;
	return 0;
}

int kvmi_queue_page_access(void *b, unsigned long long *gpa, unsigned char *access,
			   unsigned short count, unsigned short view)
{
	struct kvmi_page_access_entry *entries = calloc(count, sizeof(*entries));
	struct batch *batch = b;
	struct domain *d;
	struct op *op;
	int err;

	if (count && !entries) {
		errno = ENOMEM;
		return -1;
	}
	d = domain_enter(batch->dom);
	err = d ? domain_leave(d, access_entries(d, gpa, access, count, entries)) : -1;
	op = err ? NULL : queue(batch, OP_ACCESS, access, count);
	if (!op) {
		free(entries);
		return -1;
	}
	op->vcpu = view;
	op->count = count;
	op->entries = entries;
	return 0;
}

int kvmi_queue_pause_vcpu(void *batch, unsigned short vcpu)
{
	struct op *op = queue(batch, OP_PAUSE, NULL, 0);

	if (!op)
		return -1;
	op->vcpu = vcpu;
	return 0;
}

static int submit_pause(struct domain *d, struct kint_batch *kb, struct op *op)
{
	struct vcpu *v;
	int err = vcpu_contact(d, op->vcpu, &v);

	if (err)
		return err;
	if (v->asleep)
		return make_up_pause(d, op->vcpu);
	op->index = kint_queue_pause_vcpu(kb, op->vcpu, false);
	return op->index < 0 ? op->index : 0;
}

static int submit_reply(struct domain *d, struct kint_batch *kb, struct op *op)
{
	int err = reply_prepare(d, op->seq, op->data, op->size, &op->reply);

	if (err)
		return err;
	/* Some are for the library only */
	if (op->reply.how == REPLY_NOTHING) {
		reply_done(d, &op->reply);
		return 0;
	}
	op->index = reply_queue(kb, &op->reply);
	return op->index < 0 ? op->index : 0;
}

static int submit(struct domain *d, struct kint_batch *kb, struct op *op)
{
	switch (op->kind) {
	case OP_REGISTERS:
		op->index = kint_queue_set_registers(kb, op->vcpu, &op->regs);
		/* A reply behind it depends on them */
		if (op->index >= 0)
			op->moved = registers_set(d, op->vcpu, &op->regs);
		break;
	case OP_ACCESS:
		op->index = kint_queue_page_access(kb, op->vcpu, 0, op->entries, op->count);
		break;
	case OP_PAUSE:
		return submit_pause(d, kb, op);
	default:
		return submit_reply(d, kb, op);
	}
	return op->index < 0 ? op->index : 0;
}

/* What has been done is to be remembered */
static int committed(struct domain *d, struct kint_batch *kb, struct op *op)
{
	int err;

	if (op->index < 0)
		return 0;
	err = kint_batch_error(kb, op->index);
	if (err && op->kind == OP_REGISTERS)
		registers_not_set(d, op->vcpu, op->moved);
	if (err)
		return err;
	/* Another that failed may have been in front of it */
	if (op->kind == OP_REGISTERS)
		registers_set(d, op->vcpu, &op->regs);
	if (op->kind == OP_REPLY)
		reply_done(d, &op->reply);
	if (op->kind == OP_ACCESS)
		return access_remember(d, op->data, op->entries, op->count, op->vcpu);
	return 0;
}

int kvmi_batch_commit(void *b)
{
	struct batch *batch = b;
	struct domain *d = domain_enter(batch->dom);
	struct kint_batch *kb;
	int err, first = 0;
	struct op *op;

	if (!d)
		return -1;
	err = kint_batch_new(d->conn, &kb);
	for (op = batch->ops; op && !err; op = op->next)
		err = submit(d, kb, op);
	/* All of them, or those before the one that cannot be */
	first = err;
	if (kb) {
		kint_batch_commit(kb);
		for (op = batch->ops; op; op = op->next) {
			err = committed(d, kb, op);
			if (err && !first)
				first = err;
		}
	}
	kint_batch_free(kb);
	forget(batch);
	return domain_leave(d, first);
}
