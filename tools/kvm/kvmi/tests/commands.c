// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory and registers
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "test.h"

/* ---- Memory ---- */
static unsigned char memory[5 * 4096];
static uint32_t layout = 5;
static unsigned int commands_seen;

static void peer_memory(int fd)
{
	struct kvmi_vm_read_physical req;
	struct { struct kvmi_mem_cookie c; unsigned char data[KINT_MAX_COOKIE_READ]; } out;
	struct peer_msg msg;
	const unsigned char *data;
	bool ok;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		commands_seen++;
		memcpy(&req, msg.data, sizeof(req));
		data = msg.data + sizeof(req);
		ok = req.size && (req.flags || req.gpa % 4096 + req.size <= 4096);
		memset(&out, 0, sizeof(out));
		if (!ok) {
			peer_reply(fd, &msg, -EINVAL, NULL, 0);
		} else if (req.gpa + req.size > sizeof(memory)) {
			peer_reply(fd, &msg, -ENOENT, NULL, 0);
		} else if (msg.hdr.id == KVMI_VM_READ_PHYSICAL) {
			out.c.cookie = layout;
			memcpy(out.data, memory + req.gpa, req.size);
			if (req.flags)
				peer_reply(fd, &msg, 0, &out, 8 + req.size);
			else
				peer_reply(fd, &msg, 0, out.data, req.size);
		} else {
			if (req.flags) {
				memcpy(&out.c, data, 8);
				data += 8;
			}
			ok = msg.hdr.size == data - msg.data + req.size;
			if (req.flags && out.c.cookie != layout) {
				peer_reply(fd, &msg, -EAGAIN, NULL, 0);
				continue;
			}
			memcpy(memory + req.gpa, data, req.size);
			peer_reply(fd, &msg, ok ? 0 : -EINVAL, NULL, 0);
		}
	}
}

static bool body_memory(struct kint_conn *conn)
{
	static unsigned char buf[sizeof(memory)], new[sizeof(memory)];
	uint32_t cookie = 0;
	size_t i;

	for (i = 0; i < sizeof(memory); i++) {
		memory[i] = i * 7 + i / 256;
		new[i] = ~memory[i];
	}
	commands_seen = 0;
	CHECK(!(last = kint_read_physical(conn, 4000, buf, 10000)));
	CHECK(!memcmp(buf, memory + 4000, 10000) && commands_seen == 4);
	CHECK((last = kint_read_physical(conn, sizeof(memory) - 8, buf, 16)) == -ENOENT);
	CHECK(!(last = kint_write_physical(conn, 4090, new + 4090, 9000)));
	CHECK(!memcmp(memory + 4090, new + 4090, 9000) && memory[4089] != new[4089]);
	commands_seen = 0;
	CHECK(!(last = kint_read_physical_cookie(conn, 0, 0, buf, sizeof(buf), &cookie)));
	CHECK(!memcmp(buf, memory, sizeof(buf)) && cookie == 5 && commands_seen == 3);
	CHECK(!(last = kint_write_physical_cookie(conn, 0, 1, new + 1, sizeof(new) - 1, 5)));
	CHECK(!memcmp(memory + 1, new + 1, sizeof(new) - 1));
	CHECK((last = kint_write_physical_cookie(conn, 0, 0, buf, 4, 4)) == -EAGAIN);
	CHECK(!(last = kint_read_physical(conn, 0, buf, 0)));
	return true;
}

static void peer_short_memory(int fd)
{
	struct peer_msg msg;

	if (version_first(fd, &msg) && peer_receive(fd, &msg))
		peer_reply(fd, &msg, 0, "1234567", 7);
	linger(fd);
}

static bool body_short_memory(struct kint_conn *conn)
{
	char buf[8];

	CHECK((last = kint_read_physical(conn, 0, buf, 8)) == -EPROTO);
	return true;
}

/* ---- Registers ---- */
static unsigned int regs_told;

static void peer_registers(int fd)
{
	struct {
		struct kvmi_vcpu_get_registers_reply r;
		struct kvm_msr_entry e[2];
	} out = {
		.e = { { .index = 0x174, .data = 16 }, { .index = 0xc0000082, .data = 0xabc } },
	};
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	out.r.mode = 8;
	out.r.regs.rip = 0x1000;
	out.r.sregs.cr4 = 0x20;
	out.r.msrs.nmsrs = regs_told;
	while (peer_receive(fd, &msg))
		peer_reply(fd, &msg, 0, &out, sizeof(out));
}

static const uint32_t two_msrs[] = { 0x174, 0xc0000082 };

static bool body_registers(struct kint_conn *conn)
{
	struct kint_registers regs;
	static uint32_t many[500];
	static uint64_t values[500];

	CHECK(!(last = kint_get_registers(conn, 0, &regs, two_msrs, values, 2)));
	CHECK(regs.mode == 8 && regs.regs.rip == 0x1000 && regs.sregs.cr4 == 0x20);
	CHECK(values[0] == 16 && values[1] == 0xabc);
	CHECK((last = kint_get_registers(conn, 0, &regs, many, values, 482)) == -EINVAL);
	CHECK(!(last = kint_set_registers(conn, 0, &regs.regs)));
	return true;
}

static bool body_bad_registers(struct kint_conn *conn)
{
	struct kint_registers regs;
	uint64_t values[2];

	CHECK((last = kint_get_registers(conn, 0, &regs, two_msrs, values, 2)) == -EPROTO);
	return true;
}

void command_tests(void)
{
	result("memory, any size, with and without cookie", adopt_with(peer_memory, body_memory));
	result("memory reply too short", adopt_with(peer_short_memory, body_short_memory));
	regs_told = 2;
	result("registers and MSRs", adopt_with(peer_registers, body_registers));
	regs_told = 3;
	result("registers with a wrong number of MSRs",
	       adopt_with(peer_registers, body_bad_registers));
}
