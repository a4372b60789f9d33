// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pretended VM's answers to commands about memory and state.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fakevm.h"

#define XSAVE_SIZE 9000		/* more than a message holds */

static unsigned char xsave[XSAVE_SIZE];
static bool xsave_made;
bool fake_xsave_grows;
const char *fake_memory;
unsigned int fake_pages_read;

static void make_xsave(void)
{
	unsigned int i;

	if (xsave_made)
		return;
	xsave_made = true;
	xsave[0] = 0x7f;
	xsave[1] = 0x03;
	xsave[24] = 0x80;
	xsave[25] = 0x1f;
	xsave[512] = 7;
	xsave[513] = 2;		/* PKRU */
	for (i = 0; i < 16; i++) {
		memset(xsave + 160 + 16 * i, 0x10 + i, 16);
		memset(xsave + 576 + 16 * i, 0x20 + i, 16);
	}
	memset(xsave + 32, 0xab, 10);
}

static void get_features(int sock, const struct peer_msg *msg)
{
	struct kvmi_vm_get_features_reply f = {
		.commands = { ~0ull, ~0ull }, .actions = 0xf, .address_spaces = 2,
	};

	if (fake_has_rules())
		f.flags = KVMI_FEATURE_RULES;
	/* This host has no descriptor-table exiting */
	f.events = ~(1ull << KVMI_VCPU_EVENT_DESCRIPTOR);
	peer_reply(sock, msg, 0, &f, sizeof(f));
}

static void get_memslots(int sock, const struct peer_msg *msg)
{
	const struct kvmi_vm_get_memslots *req = (const void *)msg->data;
	struct {
		struct kvmi_vm_get_memslots_reply hdr;
		struct kvmi_memslot slots[4];
	} out = {
		.hdr = { .nr_slots = peer_tool_size ? 4 : 3, .cookie = FAKE_COOKIE },
		.slots = {
			{ .gfn = 0, .npages = HOLE / 4096 },
			{ .gfn = HOLE / 4096 + 1, .npages = (RAM - HOLE) / 4096 - 1 },
			{ .gfn = RAM / 4096, .npages = peer_tool_size / 4096 },
			{ .gfn = 0xfffc0, .npages = 0x40, .flags = KVMI_MEMSLOT_READONLY },
		},
	};
	unsigned int n = out.hdr.nr_slots, skip = req->start < n ? req->start : n;
	static unsigned int moved;

	if (!peer_tool_size)
		out.slots[2] = out.slots[3];
	if (!strcmp(fake_memory, "moves"))
		out.hdr.cookie += ++moved;
	if (!strcmp(fake_memory, "overlap"))
		out.slots[1].gfn = 1;
	if (!strcmp(fake_memory, "nomemory"))
		out.slots[2].npages = 1ull << 52;

	if (req->as_id && !getenv("FAKE_SMM")) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	if (req->as_id && !fake_has_smm()) {
		out.hdr.nr_slots = 0;
		peer_reply(sock, msg, 0, &out, sizeof(out.hdr));
		return;
	}
	memmove(out.slots, out.slots + skip, (n - skip) * sizeof(out.slots[0]));
	peer_reply(sock, msg, 0, &out, sizeof(out.hdr) + (n - skip) * sizeof(out.slots[0]));
}

/* Has the address space of SMM memory?  There is one if the environment has FAKE_SMM. */
bool fake_has_smm(void)
{
	const char *smm = getenv("FAKE_SMM");

	return smm && strcmp(smm, "empty");
}

void fake_tool_memory(void)
{
	const char *size = getenv("FAKE_TOOL");

	peer_tool_gpa = RAM;
	peer_tool_size = size ? strtoull(size, NULL, 0) : 0;
	if (peer_tool_size > MAX_TOOL_MEMORY)
		peer_tool_size = MAX_TOOL_MEMORY;
}

bool fake_is_ram(uint64_t gpa, size_t size)
{
	uint64_t end = RAM + peer_tool_size;

	return gpa < end && gpa + size <= end && (gpa + size <= HOLE || gpa >= HOLE + 4096);
}

static void read_physical(int sock, const struct peer_msg *msg)
{
	const struct kvmi_vm_read_physical *req = (const void *)msg->data;
	struct {
		struct kvmi_mem_cookie cookie;
		unsigned char data[KINT_MAX_COOKIE_READ];
	} out = { .cookie = { .cookie = FAKE_COOKIE } };

	fake_pages_read++;
	if (!strcmp(fake_memory, "ioerror")) {
		peer_reply(sock, msg, -EIO, NULL, 0);
	} else if (!req->size || req->as_id ||
	    (!req->flags && req->gpa % 4096 + req->size > 4096)) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
	} else if (!fake_is_ram(req->gpa, req->size)) {
		peer_reply(sock, msg, -ENOENT, NULL, 0);
	} else if (req->flags) {
		memcpy(out.data, ram + req->gpa, req->size);
		peer_reply(sock, msg, 0, &out, sizeof(out.cookie) + req->size);
	} else {
		peer_reply(sock, msg, 0, ram + req->gpa, req->size);
	}
}

static void write_physical(int sock, const struct peer_msg *msg)
{
	const struct kvmi_vm_write_physical *req = (const void *)msg->data;
	const unsigned char *data = msg->data + sizeof(*req);
	const struct kvmi_mem_cookie *cookie = (const void *)data;
	unsigned int i;
	int err = 0;

	if (req->flags & KVMI_MEM_COOKIE)
		data += sizeof(*cookie);
	if (req->as_id)
		err = -EINVAL;
	else if (!fake_is_ram(req->gpa, req->size))
		err = -ENOENT;
	else if ((req->flags & KVMI_MEM_COOKIE) && cookie->cookie != FAKE_COOKIE)
		err = -EAGAIN;
	else if ((req->flags & KVMI_MEM_COMPARE) && memcmp(ram + req->gpa, data, req->size))
		err = -EAGAIN;
	if (req->flags & KVMI_MEM_COMPARE)
		data += req->size;
	if (!err) {
		memcpy(ram + req->gpa, data, req->size);
		printf("%swritten at %#llx: ", req->flags & KVMI_MEM_COMPARE ? "compared and " : "",
		       (unsigned long long)req->gpa);
		for (i = 0; i < req->size && i < 64; i++)
			printf("%02x", data[i]);
		printf("\n");
	}
	peer_reply(sock, msg, err, NULL, 0);
}

static void get_cpuid(int sock, const struct peer_msg *msg)
{
	static const struct {
		struct kvmi_vcpu_get_cpuid in;
		struct kvmi_vcpu_get_cpuid_reply out;
	} leaves[] = {
		{ { 0, 0 }, { 0xd, 0x756e6547, 0x6c65746e, 0x49656e69 } },
		{ { 1, 0 }, { 0x000806f8, 0x00010800, 0x80000000, 0x178bfbff } },
		{ { 4, 0 }, { 1, 1, 1, 1 } },
		{ { 4, 1 }, { 2, 2, 2, 2 } },
		{ { 4, 2 }, { 0, 0, 0, 0 } },
		{ { 4, 3 }, { 9, 9, 9, 9 } },
		{ { 0xd, 0 }, { 0x207, 0xa88, 0xa88, 0 } },
		{ { 0xd, 2 }, { 0x100, 0x240, 0, 0 } },
		{ { 0xd, 9 }, { 8, 0xa80, 0, 0 } },
		{ { 0x40000000, 0 }, { 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d } },
		{ { 0x40000001, 0 }, { 0x1000000, 0, 0, 0 } },
		{ { 0x80000000, 0 }, { 0x80000002, 0, 0, 0 } },
	};
	const struct kvmi_vcpu_get_cpuid *req = (const void *)(msg->data + 8);
	unsigned int i;

	for (i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		if (memcmp(req, &leaves[i].in, sizeof(*req)))
			continue;
		peer_reply(sock, msg, 0, &leaves[i].out, sizeof(leaves[i].out));
		return;
	}
	peer_reply(sock, msg, -ENOENT, NULL, 0);
}

static void get_xsave2(int sock, const struct peer_msg *msg)
{
	const struct kvmi_vcpu_get_xsave2 *req = (const void *)(msg->data + 8);
	struct {
		struct kvmi_vcpu_get_xsave2_reply hdr;
		unsigned char data[KINT_MAX_XSAVE_READ];
	} out = { .hdr = { .total = XSAVE_SIZE } };
	size_t size = XSAVE_SIZE - req->offset;
	static unsigned int asked;

	/* The first to ask is told of less than there is then */
	if (fake_xsave_grows && !asked++) {
		out.hdr.total = 4096;
		size = 4096;
	}
	if (size > req->size)
		size = req->size;
	memcpy(out.data, xsave + req->offset, size);
	peer_reply(sock, msg, 0, &out, sizeof(out.hdr) + size);
}

/* The last byte of a state that the guest cannot have is 0xff */
static void set_xsave2(int sock, const struct peer_msg *msg)
{
	const struct kvmi_vcpu_set_xsave2 *req = (const void *)(msg->data + 8);
	size_t size = msg->hdr.size - 16;

	if (req->offset + size > XSAVE_SIZE || msg->data[msg->hdr.size - 1] == 0xff) {
		peer_reply(sock, msg, -EINVAL, NULL, 0);
		return;
	}
	memcpy(xsave + req->offset, msg->data + 16, size);
	printf("xsave at %u, %zu bytes\n", req->offset, size);
	peer_reply(sock, msg, 0, NULL, 0);
}

static void translate(int sock, const struct peer_msg *msg)
{
	const struct kvmi_vcpu_translate_gva *req = (const void *)(msg->data + 8);
	struct kvmi_vcpu_translate_gva_reply gpa = { .gpa = ~0ull };

	if (in_linux)
		fake_linux_translate(req->gva, &gpa.gpa);
	else if (req->gva >= 0xffffffff81000000 && req->gva < 0xffffffff82000000)
		gpa.gpa = req->gva - 0xffffffff80000000;
	peer_reply(sock, msg, 0, &gpa, sizeof(gpa));
}

bool fake_state(int sock, const struct peer_msg *msg)
{
	struct kvmi_vcpu_get_mtrr_type_reply wb = { .type = 6 };
	struct kvmi_vcpu_get_xcr_reply xcr0 = { .value = 0x207 };
	struct kvmi_vm_get_max_gfn_reply end = { .gfn = 0x100000 };
	struct kvmi_vcpu_debugregs dr = { .dr[3] = 0x1234, .dr6 = 0xffff0ff0, .dr7 = 0x440 };

	make_xsave();
	if (fake_rules(sock, msg))
		return true;
	switch (msg->hdr.id) {
	case KVMI_VM_GET_FEATURES:
		get_features(sock, msg);
		return true;
	case KVMI_VM_GET_MEMSLOTS:
		get_memslots(sock, msg);
		return true;
	case KVMI_VM_LIST_VIEWS:
		peer_reply(sock, msg, -EOPNOTSUPP, NULL, 0);
		return true;
	case KVMI_VM_GET_MAX_GFN:
		peer_reply(sock, msg, 0, &end, sizeof(end));
		return true;
	case KVMI_VM_READ_PHYSICAL:
		read_physical(sock, msg);
		return true;
	case KVMI_VM_WRITE_PHYSICAL:
		write_physical(sock, msg);
		return true;
	case KVMI_VCPU_GET_CPUID:
		get_cpuid(sock, msg);
		return true;
	case KVMI_VCPU_GET_XCR:
		peer_reply(sock, msg, 0, &xcr0, sizeof(xcr0));
		return true;
	case KVMI_VCPU_GET_XSAVE:
		peer_reply(sock, msg, 0, xsave, KVMI_XSAVE_SIZE);
		return true;
	case KVMI_VCPU_GET_XSAVE2:
		get_xsave2(sock, msg);
		return true;
	case KVMI_VCPU_SET_XSAVE:
		printf("xsave of the old size\n");
		peer_reply(sock, msg, 0, NULL, 0);
		return true;
	case KVMI_VCPU_SET_XSAVE2:
		set_xsave2(sock, msg);
		return true;
	case KVMI_VCPU_GET_DEBUGREGS:
		peer_reply(sock, msg, 0, &dr, sizeof(dr));
		return true;
	case KVMI_VCPU_GET_MTRR_TYPE:
		peer_reply(sock, msg, 0, &wb, sizeof(wb));
		return true;
	case KVMI_VCPU_TRANSLATE_GVA:
		translate(sock, msg);
		return true;
	default:
		return false;
	}
}
