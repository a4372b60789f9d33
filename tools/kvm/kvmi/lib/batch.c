// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Batches: commands and replies to events that are sent together.
 *
 * The messages are made when they are queued, so that what the caller passed need
 * not stay.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define PAGE_SIZE 4096

struct kint_batch {
	struct kint_conn *conn;
	struct command *cmds;
	unsigned int n, room;
	bool committed;
};

int kint_batch_new(struct kint_conn *conn, struct kint_batch **batch)
{
	*batch = calloc(1, sizeof(**batch));
	if (!*batch)
		return -ENOMEM;
	(*batch)->conn = conn;
	return 0;
}

static void forget(struct kint_batch *batch)
{
	while (batch->n)
		free((void *)batch->cmds[--batch->n].req.part[0]);
	batch->committed = false;
}

void kint_batch_free(struct kint_batch *batch)
{
	if (!batch)
		return;
	forget(batch);
	free(batch->cmds);
	free(batch);
}

/* Queue a copy of a message that is in up to three pieces */
static int queue(struct kint_batch *batch, const struct request *req, struct command **cmd)
{
	size_t size = req->size[0] + req->size[1] + req->size[2], done = 0;
	struct command *cmds;
	unsigned int room;
	char *copy;
	int i;

	if (size > KVMI_MAX_MSG_SIZE)
		return -EINVAL;
	if (batch->committed)
		forget(batch);
	if (batch->n == KINT_MAX_BATCH)
		return -ENOBUFS;
	if (batch->n == batch->room) {
		room = batch->room ? 2 * batch->room : MAX_RUN;
		cmds = realloc(batch->cmds, room * sizeof(*cmds));
		if (!cmds)
			return -ENOMEM;
		batch->cmds = cmds;
		batch->room = room;
	}
	/* There is always something, of a message to a vCPU at least which one */
	copy = malloc(size);
	if (!copy)
		return -ENOMEM;
	for (i = 0; i < 3; i++) {
		if (req->size[i])
			memcpy(copy + done, req->part[i], req->size[i]);
		done += req->size[i];
	}
	*cmd = &batch->cmds[batch->n];
	**cmd = (struct command){ .req = { req->id, { copy }, { size } } };
	return batch->n++;
}

static int queue_vcpu(struct kint_batch *batch, uint16_t id, uint16_t vcpu, const void *msg,
		      size_t size)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	struct request req = { id, { &hdr, msg }, { sizeof(hdr), size } };
	struct command *cmd;

	return queue(batch, &req, &cmd);
}

int kint_queue_read_physical(struct kint_batch *batch, uint64_t gpa, void *buf, size_t size)
{
	struct kvmi_vm_read_physical msg = { .gpa = gpa, .size = size };
	struct request req = { KVMI_VM_READ_PHYSICAL, { &msg }, { sizeof(msg) } };
	struct command *cmd;
	int index;

	if (!size || size > PAGE_SIZE - gpa % PAGE_SIZE)
		return -EINVAL;
	index = queue(batch, &req, &cmd);
	if (index >= 0) {
		cmd->data = buf;
		cmd->size = size;
	}
	return index;
}

int kint_queue_write_physical(struct kint_batch *batch, uint64_t gpa, const void *buf, size_t size)
{
	struct kvmi_vm_write_physical msg = { .gpa = gpa, .size = size };
	struct request req = { KVMI_VM_WRITE_PHYSICAL, { &msg, buf }, { sizeof(msg), size } };
	struct command *cmd;

	if (!size || size > PAGE_SIZE - gpa % PAGE_SIZE)
		return -EINVAL;
	return queue(batch, &req, &cmd);
}

int kint_queue_page_access(struct kint_batch *batch, uint16_t view, uint16_t as_id,
			   const struct kvmi_page_access_entry *entries, size_t n)
{
	struct kvmi_vm_set_page_access msg = { .view = view, .as_id = as_id, .count = n };
	struct request req = {
		KVMI_VM_SET_PAGE_ACCESS, { &msg, entries }, { sizeof(msg), n * sizeof(*entries) },
	};
	struct command *cmd;

	if (!n || n > KINT_MAX_SET_ACCESS)
		return -EINVAL;
	return queue(batch, &req, &cmd);
}

int kint_queue_change_gfn(struct kint_batch *batch, uint16_t view, uint16_t as_id, uint64_t gfn,
			  uint64_t new_gfn)
{
	struct kvmi_vm_change_gfn msg = {
		.view = view, .as_id = as_id, .gfn = gfn, .new_gfn = new_gfn,
	};
	struct request req = { KVMI_VM_CHANGE_GFN, { &msg }, { sizeof(msg) } };
	struct command *cmd;

	kint_page_batched(batch->conn, new_gfn);
	return queue(batch, &req, &cmd);
}

int kint_queue_pause_vcpu(struct kint_batch *batch, uint16_t vcpu, bool wait)
{
	struct kvmi_vm_pause_vcpu msg = { .vcpu = vcpu, .wait = wait };
	struct request req = { KVMI_VM_PAUSE_VCPU, { &msg }, { sizeof(msg) } };
	int err = kint_pause_asked(batch->conn, vcpu, 0);
	struct command *cmd;

	return err ? err : queue(batch, &req, &cmd);
}

int kint_queue_set_view(struct kint_batch *batch, uint16_t vcpu, uint16_t view)
{
	struct kvmi_vcpu_set_view msg = { .view = view };

	return queue_vcpu(batch, KVMI_VCPU_SET_VIEW, vcpu, &msg, sizeof(msg));
}

int kint_queue_set_registers(struct kint_batch *batch, uint16_t vcpu, const struct kvm_regs *regs)
{
	return queue_vcpu(batch, KVMI_VCPU_SET_REGISTERS, vcpu, regs, sizeof(*regs));
}

/* @size is what made @answer returned */
static int queue_answer(struct kint_batch *batch, uint32_t seq, const struct answer *answer,
			int size)
{
	struct request req = { KVMI_VCPU_EVENT, { answer }, { size } };
	struct command *cmd;
	unsigned int i;
	int index;

	if (size < 0)
		return size;
	/* Two replies to one event are the end of the session */
	for (i = 0; !batch->committed && i < batch->n; i++)
		if (batch->cmds[i].answers && batch->cmds[i].seq == seq)
			return -EINVAL;
	index = queue(batch, &req, &cmd);
	if (index >= 0) {
		cmd->answers = true;
		cmd->seq = seq;
	}
	return index;
}

int kint_queue_reply(struct kint_batch *batch, const struct kint_event *event,
		     unsigned int action)
{
	struct answer answer;
	int size = kint_answer_action(batch->conn, event, action, &answer);

	return queue_answer(batch, event->seq, &answer, size);
}

int kint_queue_reply_value(struct kint_batch *batch, const struct kint_event *event,
			   uint64_t value)
{
	struct answer answer;
	int size = kint_answer_value(batch->conn, event, KVMI_EVENT_ACTION_ALLOW, value, &answer);

	return queue_answer(batch, event->seq, &answer, size);
}

int kint_queue_reply_pf(struct kint_batch *batch, const struct kint_event *event, uint32_t flags)
{
	struct answer answer;
	int size = kint_answer_pf(batch->conn, event, flags, &answer);

	return queue_answer(batch, event->seq, &answer, size);
}

int kint_queue_reply_access(struct kint_batch *batch, const struct kint_event *event,
			    const void *data)
{
	struct answer answer;
	int size = kint_answer_access(batch->conn, event, data, &answer);

	return queue_answer(batch, event->seq, &answer, size);
}

/* If it asks for a PAUSE event: one more, or less.  There is room for that since it was queued. */
static void count_pause(struct kint_conn *conn, const struct command *cmd, int n)
{
	const struct kvmi_vm_pause_vcpu *msg = cmd->req.part[0];

	if (cmd->req.id == KVMI_VM_PAUSE_VCPU)
		kint_pause_asked(conn, msg->vcpu, n);
}

int kint_batch_commit(struct kint_batch *batch)
{
	unsigned int i, done, n;
	int err = 0;

	if (batch->committed)
		return 0;
	batch->committed = true;
	for (i = 0; i < batch->n; i++)
		batch->cmds[i].err = -ECANCELED;
	for (i = 0; i < batch->n; i++)
		count_pause(batch->conn, &batch->cmds[i], 1);
	/* No more at a time than can be given up on */
	for (done = 0; done < batch->n && !err; done += n) {
		struct command *cmds = batch->cmds + done;

		n = batch->n - done < MAX_RUN ? batch->n - done : MAX_RUN;
		err = kint_run(batch->conn, cmds, n);
		for (i = 0; i < n; i++) {
			if (cmds[i].sent && cmds[i].answers)
				kint_answered(batch->conn, cmds[i].seq);
			else if (err && !(cmds[i].sent && cmds[i].replied))
				cmds[i].err = err;
		}
	}
	/* One that was sent and has no reply may still be carried out */
	for (i = 0; i < batch->n; i++)
		if (batch->cmds[i].err && !(batch->cmds[i].sent && !batch->cmds[i].replied))
			count_pause(batch->conn, &batch->cmds[i], -1);
	for (i = 0; i < batch->n && !err; i++)
		err = batch->cmds[i].err;
	return err;
}

int kint_batch_error(const struct kint_batch *batch, int index)
{
	if (!batch->committed || index < 0 || (unsigned int)index >= batch->n)
		return -EINVAL;
	return batch->cmds[index].err;
}
