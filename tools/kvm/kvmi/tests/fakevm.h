/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TEST_FAKEVM_H
#define KVMI_TEST_FAKEVM_H

#include <kint/libkint.h>
#include "peer.h"

#define RAM (1 << 20)
#define MAX_TOOL_MEMORY (4 * 4096)	/* follows; FAKE_TOOL is its size */
#define HOLE 0x40000		/* one page that is no memory */
#define FAKE_COOKIE 0x1234

/* The kernel that fakelinux.c has */
#define FAKE_CR3	0xa0000
#define IMAGE		0xb0000
#define IMAGE_GVA	0xffffffff81000000ull
#define VCPUS		2

extern unsigned char ram[RAM + MAX_TOOL_MEMORY];
extern bool in_linux, fake_xsave_grows;
extern unsigned int fake_linux_rounds;	/* how often the guest does what it does */
extern bool fake_linux_dma;		/* a device writes its text instead */
extern const char *fake_linux_maps;	/* what is wrong with its page tables */

extern uint64_t fake_events_on;		/* bit n: event n, of some vCPU */

extern const char *fake_memory;		/* what is wrong with its memory */
extern unsigned int fake_pages_read;	/* or parts of a page */

/* peer_tool_size, and where that is, from the environment */
void fake_tool_memory(void);
bool fake_is_ram(uint64_t gpa, size_t size);
bool fake_has_smm(void);

/* fakestate.c: answer a command about memory or state; false for another one */
bool fake_state(int sock, const struct peer_msg *msg);

/* fakerules.c: rules, and what becomes of an event by them */
bool fake_has_rules(void);
void fake_rules_begin(void);
void fake_rules_end(void);
bool fake_rules(int sock, const struct peer_msg *msg);
uint8_t fake_rules_verdict(uint16_t id, uint16_t vcpu, uint16_t view, const void *data,
			   bool access_on);
unsigned int fake_rules_action(uint8_t verdict);

/* fakelinux.c: a kernel in memory, views and page access */
void fake_linux_boot(void);
void fake_linux_seal(void);
void fake_put(uint64_t gpa, uint64_t value);
bool fake_linux_translate(uint64_t gva, __u64 *gpa);
bool fake_linux(int sock, const struct peer_msg *msg);
bool fake_linux_run(int sock);
void fake_linux_asked(void);
void fake_linux_answered(void);
void fake_linux_end(void);
uint16_t fake_linux_view(uint16_t vcpu);
bool fake_linux_reply(int sock, const struct kvmi_vcpu_event_reply *rpl);

/* faketasks.c: its processes, and where they enter it */
#define TASKS_PAGE	0x9c000
#define TASKS_GVA	(0xffff888000000000ull + TASKS_PAGE)
#define MAKES_CALL	(IMAGE + 0x60)
#define CALL_RETURNS	(MAKES_CALL + 5)
#define FAKE_IP		0x401002	/* after SYSCALL */

struct fake_call {
	int nr;
	int64_t args[4], result;
	uint64_t ip;		/* the program goes on there */
	uint64_t saved_ip;	/* ... after a signal's handler, with 4 in RAX */
};

void fake_tasks_boot(const char *wrong);
uint64_t fake_tasks_call(unsigned int stack, const struct fake_call *call);

#endif
