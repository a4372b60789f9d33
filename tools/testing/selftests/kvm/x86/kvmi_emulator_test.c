// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: instructions that KVM emulates for reasons of its own obey the
 * vCPU's view as those that the processor executes, and see what it shows
 */
#include <poll.h>
#include <sys/mman.h>

#include <linux/kvm_para.h>
#include <linux/userfaultfd.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

#define DATA		KVMI_GUEST_DATA
/* Where a restricted page is pushed to */
#define STACK_PAGE	(KVMI_GUEST_STACK - PAGE)
/* What is shown in the place of another page */
#define SHOWN		0xd000

/* A port and an address that nothing else uses */
#define PORT		0x1234
#define DEVICE		0xf000
#define DEVICE_GPA	0x100000

/* KVM emulates what follows. */
#define FEP		"\x0f\x0bkvm"
#define FEP_SIZE	5

/* The most bytes that go through the device in a test */
#define MAX_BYTES	16

/* The device: the bytes it was asked for so far, and those it was given */
struct device {
	u8 read;
	u8 written;
	u8 bytes[MAX_BYTES];
};

/* What the device answers to the nth question, as a value of @size */
static u64 device_value(u8 n, unsigned int size)
{
	/* Also where code is called */
	return size == 1 ? 0xa0 + n : DATA;
}

/* The same of the port, of one or two bytes */
static u16 port_value(u8 n)
{
	return (n ^ 0x80) << 8 | (u8)device_value(n, 1);
}

static void serve_mmio(struct kvmi_guest *g, struct device *d)
{
	struct kvm_run *run = g->vcpu->run;
	u64 val;

	TEST_ASSERT_EQ(run->mmio.phys_addr & -PAGE, DEVICE_GPA);
	if (run->mmio.is_write) {
		TEST_ASSERT(d->written + run->mmio.len <= MAX_BYTES, "Written again");
		memcpy(d->bytes + d->written, run->mmio.data, run->mmio.len);
		d->written += run->mmio.len;
		return;
	}
	val = device_value(d->read++, run->mmio.len);
	memcpy(run->mmio.data, &val, run->mmio.len);
}

static void serve_port(struct kvmi_guest *g, struct device *d)
{
	struct kvm_run *run = g->vcpu->run;
	u8 *data = (void *)run + run->io.data_offset;
	u16 val;
	u32 i;

	for (i = 0; i < run->io.count; i++) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			val = port_value(d->read++);
			memcpy(data + i * run->io.size, &val, run->io.size);
			continue;
		}
		TEST_ASSERT(d->written < MAX_BYTES, "Written again");
		d->bytes[d->written++] = data[i];
	}
}

/* Is the exit one to the device?  If so, be the device and go on. */
static bool serve(struct kvmi_guest *g, struct device *d)
{
	struct kvm_run *run = g->vcpu->run;

	if (run->exit_reason == KVM_EXIT_MMIO)
		serve_mmio(g, d);
	else if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT)
		serve_port(g, d);
	else
		return false;

	kvmi_run_start(&g->r, g->r.s, g->vcpu);
	return true;
}

/* Serve the device until the guest stops, or the tool is asked: true. */
static bool run(struct kvmi_guest *g, struct device *d)
{
	do {
		struct pollfd fds[] = {
			{ .fd = g->r.done, .events = POLLIN },
			{ .fd = g->r.s ? g->s.fd : -1, .events = POLLIN },
		};

		TEST_ASSERT(poll(fds, ARRAY_SIZE(fds), KVMI_TIMEOUT * 1000) > 0,
			    "Neither an exit nor an event");
		if (fds[1].revents)
			return true;
		kvmi_run_wait(&g->r);
	} while (serve(g, d));

	return false;
}

/* kvmi_guest_stop() for a vCPU that has stopped */
static void look(struct kvmi_guest *g)
{
	TEST_ASSERT_EQ(g->vcpu->run->exit_reason, KVM_EXIT_IO);
	kvmi_guest_get_state(g, &g->state);
	if (g->state.regs.rip == g->end + 2)
		g->state.regs.rip = g->end;
}

FIXTURE(kvmi_emulator) {
	struct kvmi_guest g;
	struct device normal;
	struct device d;
	struct kvmi_event ev;
};

/*
 * @page is accessed as @access says, at @offset, @nr times: a byte each time if
 * that is more than once.  @vain: so many times the device is read in vain.
 */
FIXTURE_VARIANT(kvmi_emulator) {
	const char *code;
	size_t size;
	u64 rsi;
	u64 rdi;
	u64 page;
	u64 offset;
	u8 access;
	u8 nr;
	u8 vain;
	bool prefix;
	enum kvmi_guest_mode mode;
};

#define CODE(bytes)	.code = bytes, .size = sizeof(bytes) - 1,	\
			.mode = KVMI_GUEST_LONG, .nr = 1
#define EMULATED(bytes)	CODE(FEP bytes), .prefix = true

/* REP MOVSB */
FIXTURE_VARIANT_ADD(kvmi_emulator, from_device) {
	CODE("\xf3\xa4"),
	.rsi = DEVICE,
	.rdi = DATA,
	.page = DATA,
	.access = W,
	.nr = 4,
};

/* MOVSQ, to two pages */
FIXTURE_VARIANT_ADD(kvmi_emulator, from_device_across_pages) {
	CODE("\x48\xa5"),
	.rsi = DEVICE,
	.rdi = DATA - 4,
	.page = DATA,
	.access = W,
};

/* REP MOVSB */
FIXTURE_VARIANT_ADD(kvmi_emulator, to_device) {
	CODE("\xf3\xa4"),
	.rsi = DATA,
	.rdi = DEVICE,
	.page = DATA,
	.access = R,
	.nr = 4,
};

/* REP INSB */
FIXTURE_VARIANT_ADD(kvmi_emulator, from_port) {
	CODE("\xf3\x6c"),
	.rdi = DATA,
	.page = DATA,
	.access = W,
	.nr = 4,
};

/* REP OUTSB */
FIXTURE_VARIANT_ADD(kvmi_emulator, to_port) {
	CODE("\xf3\x6e"),
	.rsi = DATA,
	.page = DATA,
	.access = R,
	.nr = 4,
};

/* PUSH [RDI] */
FIXTURE_VARIANT_ADD(kvmi_emulator, push_from_device) {
	CODE("\xff\x37"),
	.rdi = DEVICE,
	.page = STACK_PAGE,
	.offset = PAGE - 8,
	.access = W,
	.vain = 1,
};

/* CALL [RDI]: to the data page */
FIXTURE_VARIANT_ADD(kvmi_emulator, call_through_device) {
	CODE("\xff\x17"),
	.rdi = DEVICE,
	.page = STACK_PAGE,
	.offset = PAGE - 8,
	.access = W,
	.vain = 1,
};

/* MOV [RDI], AL */
FIXTURE_VARIANT_ADD(kvmi_emulator, write) {
	EMULATED("\x88\x07"),
	.rdi = DATA + 1,
	.offset = 1,
	.page = DATA,
	.access = W,
};

/* MOV AL, [RDI] */
FIXTURE_VARIANT_ADD(kvmi_emulator, read) {
	EMULATED("\x8a\x07"),
	.rdi = DATA + 1,
	.offset = 1,
	.page = DATA,
	.access = R,
};

/* LOCK INC DWORD [RDI] */
FIXTURE_VARIANT_ADD(kvmi_emulator, locked) {
	EMULATED("\xf0\xff\x07"),
	.rdi = DATA,
	.page = DATA,
	.access = W,
};

/* MOV [RDI], RAX */
FIXTURE_VARIANT_ADD(kvmi_emulator, across_pages) {
	EMULATED("\x48\x89\x07"),
	.rdi = DATA - 4,
	.page = DATA,
	.access = W,
};

/* PUSH RAX */
FIXTURE_VARIANT_ADD(kvmi_emulator, push) {
	EMULATED("\x50"),
	.page = STACK_PAGE,
	.offset = PAGE - 8,
	.access = W,
};

/* MOV DS, EAX */
FIXTURE_VARIANT_ADD(kvmi_emulator, descriptor) {
	EMULATED("\x8e\xd8"),
	.page = KVMI_GUEST_GDT,
	.offset = KVMI_GUEST_USER_DS & ~7,
	.access = R,
};

/* MOV DS, EAX: the descriptor is marked as accessed */
FIXTURE_VARIANT_ADD(kvmi_emulator, accessed_descriptor) {
	EMULATED("\x8e\xd8"),
	.page = KVMI_GUEST_GDT,
	.offset = KVMI_GUEST_USER_DS & ~7,
	.access = W,
};

FIXTURE_SETUP(kvmi_emulator)
{
	/* NOP; OUT as at the end of the code */
	u8 stop[] = { 0x90, 0xe6, 0xf4 };
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (variant->prefix && !is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");
	if (variant->access == R && !host_cpu_is_intel)
		SKIP(return, "Nested paging without a right to read");

	kvmi_guest_create(g, variant->mode);
	g->start.regs.rax = KVMI_GUEST_USER_DS;
	g->start.regs.rcx = variant->nr;
	g->start.regs.rdx = PORT;
	g->start.regs.rsi = variant->rsi;
	if (variant->rdi)
		g->start.regs.rdi = variant->rdi;
	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
	memcpy(g->start.mem + DATA, stop, sizeof(stop));
	/* The type of a segment that nobody has loaded: loading it writes, too */
	if (variant->access == W)
		g->start.mem[KVMI_GUEST_GDT + (KVMI_GUEST_USER_DS & ~7) + 5] &= ~1;
	__kvmi_guest_code(g, (const u8 *)variant->code, variant->size);
	if (!strcmp(variant->code, "\xff\x17"))
		g->end = DATA + 1;
	kvmi_guest_reset(g);

	kvmi_run_start(&g->r, NULL, g->vcpu);
	run(g, &self->normal);
	look(g);
	g->normal = g->state;
	TEST_ASSERT_EQ(g->normal.regs.rip, g->end);
	kvmi_guest_reset(g);
}

FIXTURE_TEARDOWN(kvmi_emulator)
{
	kvmi_guest_free(&self->g);
}

static void restrict_page(struct _test_data_kvmi_emulator *self, u64 page, u8 access)
{
	kvmi_guest_restrict(&self->g, page, access == R ? 0 : R | X);
}

static void begin(struct _test_data_kvmi_emulator *self)
{
	struct kvmi_event pause;

	kvmi_guest_park(&self->g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->g.s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->g.s, &pause);
}

/* Wait for the nth event, before which nothing has happened. */
static void wait_pf(struct _test_data_kvmi_emulator *self, u64 gpa, u8 access)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT(run(g, &self->d), "The tool is not asked");
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &self->ev);
	TEST_ASSERT_EQ(self->ev.pf.access, access);
	TEST_ASSERT_EQ(self->ev.pf.gpa, gpa);
	TEST_ASSERT_EQ(self->ev.pf.gva, gpa);
	if (access == W)
		TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, gpa), g->start.mem[gpa]);
}

/* The end is as without introspection. */
static void finish(struct _test_data_kvmi_emulator *self, u8 vain)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT(!run(g, &self->d), "The tool is asked once more");
	look(g);
	if (vain) {
		TEST_ASSERT_EQ(self->d.read, self->normal.read + vain);
	} else {
		TEST_ASSERT(!memcmp(&self->d, &self->normal, sizeof(self->d)),
			    "Read %u, written %u", self->d.read, self->d.written);
	}
	kvmi_guest_compare(&g->state, &g->normal);
}

KVMI_TEST(kvmi_emulator, allow)
{
	int i;

	restrict_page(self, variant->page, variant->access);
	begin(self);
	for (i = 0; i < variant->nr; i++) {
		wait_pf(self, variant->page + variant->offset + i, variant->access);
		/* A device is not read in vain, nor is it written too early. */
		TEST_ASSERT_EQ(self->d.read + self->d.written, i + variant->vain);
		kvmi_reply(&self->g.s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	}
	finish(self, variant->vain);
}

KVMI_TEST(kvmi_emulator, skip)
{
	struct kvmi_guest *g = &self->g;

	restrict_page(self, variant->page, variant->access);
	begin(self);
	wait_pf(self, variant->page + variant->offset, variant->access);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_SKIP);
	if (g->end == DATA + 1)
		g->end = KVMI_GUEST_CODE + variant->size;
	TEST_ASSERT(!run(g, &self->d), "The tool is asked once more");
	look(g);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
	g->state.regs.rip = g->start.regs.rip;
	kvmi_guest_compare(&g->state, &g->start);
}

/* With the access given back */
KVMI_TEST(kvmi_emulator, retry)
{
	struct kvmi_guest *g = &self->g;

	restrict_page(self, variant->page, variant->access);
	begin(self);
	wait_pf(self, variant->page + variant->offset, variant->access);
	kvmi_guest_restrict(g, variant->page, R | W | X);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_RETRY);
	finish(self, variant->vain);
}

/* KVM_RUN returns while the tool is asked, and nothing is lost. */
KVMI_TEST(kvmi_emulator, signal)
{
	struct kvmi_guest *g = &self->g;
	int i;

	if (variant->prefix || variant->vain)
		SKIP(return, "It begins anew in another way");

	restrict_page(self, variant->page, variant->access);
	begin(self);
	for (i = 0; i < variant->nr; i++) {
		wait_pf(self, variant->page + variant->offset + i, variant->access);
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	}
	finish(self, 0);
}

/* KVM_RUN completes the access to the device, and does not wait for the tool then. */
KVMI_TEST(kvmi_emulator, immediate_exit)
{
	struct kvmi_guest *g = &self->g;

	if (!variant->vain)
		SKIP(return, "The tool is asked before the device");

	restrict_page(self, variant->page, variant->access);
	begin(self);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	serve_mmio(g, &self->d);
	g->vcpu->run->immediate_exit = 1;
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_run_wait_eintr(&g->r);
	TEST_ASSERT_EQ(kvmi_bytes_to_read(&g->s), 0);
	g->vcpu->run->immediate_exit = 0;
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(self, variant->page + variant->offset, variant->access);
	kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	finish(self, variant->vain + 1);
}

KVMI_TEST(kvmi_emulator, event_off)
{
	struct kvmi_guest *g = &self->g;

	restrict_page(self, variant->page, variant->access);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	finish(self, variant->vain);
}

/* What the instruction does not access does not matter. */
KVMI_TEST(kvmi_emulator, nothing_to_tell)
{
	restrict_page(self, SHOWN, W);
	begin(self);
	finish(self, 0);
}

/*
 * REP INS: @nr times @size bytes from @rdi on, up or @down, of which the first @free
 * ones are not in @page, which may not be written.
 */
FIXTURE(kvmi_input) {
	struct kvmi_guest g;
	struct device normal;
	struct device d;
	struct kvmi_event ev;
};

FIXTURE_VARIANT(kvmi_input) {
	const char *code;
	u64 rdi;
	u64 page;
	u16 free;
	u8 size;
	u8 nr;
	bool down;
	/* Page tables are restricted instead, which is for KVM to deal with */
	bool walked;
};

/* REP INSB: more than is in an event */
FIXTURE_VARIANT_ADD(kvmi_input, bytes) {
	.code = "\xf3\x6c",
	.rdi = DATA,
	.page = DATA,
	.size = 1,
	.nr = 64,
};

/* REP INSW */
FIXTURE_VARIANT_ADD(kvmi_input, words) {
	.code = "\x66\xf3\x6d",
	.rdi = DATA + PAGE - 50,
	.page = DATA,
	.size = 2,
	.nr = 25,
};

/* From an unrestricted page to the restricted one */
FIXTURE_VARIANT_ADD(kvmi_input, words_to_next_page) {
	.code = "\x66\xf3\x6d",
	.rdi = SHOWN + PAGE - 80,
	.page = SHOWN + PAGE,
	.free = 40,
	.size = 2,
	.nr = 44,
};

/* The same down, with RFLAGS.DF */
FIXTURE_VARIANT_ADD(kvmi_input, words_to_page_before) {
	.code = "\x66\xf3\x6d",
	.rdi = SHOWN + PAGE + 78,
	.page = SHOWN,
	.free = 40,
	.size = 2,
	.nr = 44,
	.down = true,
};

FIXTURE_VARIANT_ADD(kvmi_input, bytes_walked) {
	.code = "\xf3\x6c",
	.rdi = DATA,
	.free = 64,
	.size = 1,
	.nr = 64,
	.walked = true,
};

FIXTURE_VARIANT_ADD(kvmi_input, words_to_page_before_walked) {
	.code = "\x66\xf3\x6d",
	.rdi = SHOWN + PAGE + 78,
	.free = 44,
	.size = 2,
	.nr = 44,
	.down = true,
	.walked = true,
};

static void restrict_tables(struct kvmi_guest *g)
{
	int i;

	for (i = 0; i < 4; i++)
		kvmi_guest_restrict(g, KVMI_GUEST_PAGE_TABLES + i * PAGE, 0);
}

FIXTURE_SETUP(kvmi_input)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rcx = variant->nr;
	g->start.regs.rdx = PORT;
	g->start.regs.rdi = variant->rdi;
	if (variant->down)
		g->start.regs.rflags |= X86_EFLAGS_DF;
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));
	kvmi_guest_reset(g);

	kvmi_run_start(&g->r, NULL, g->vcpu);
	run(g, &self->normal);
	look(g);
	g->normal = g->state;
	TEST_ASSERT_EQ(g->normal.regs.rip, g->end);
	TEST_ASSERT_EQ(self->normal.read, variant->nr);
	kvmi_guest_reset(g);

	if (variant->walked)
		restrict_tables(g);
	else
		kvmi_guest_restrict(g, variant->page, R | X);
	kvmi_guest_park(g, &self->ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_unpark(&g->s, &self->ev);
}

FIXTURE_TEARDOWN(kvmi_input)
{
	kvmi_guest_free(&self->g);
}

/* Wait for an event about the nth iteration, before which only others are done. */
static void wait_input(struct _test_data_kvmi_input *self, u16 id, u64 gpa, u8 size, u8 n)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT(run(g, &self->d), "The tool is not asked");
	kvmi_wait_event(&g->s, id, &self->ev);
	TEST_ASSERT(!memcmp(addr_gpa2hva(g->vm, gpa), g->start.mem + gpa, size),
		    "Iteration %u is done", n);
	TEST_ASSERT_EQ(self->ev.common.arch.regs.rcx, g->start.regs.rcx - n);
}

static void finish_input(struct _test_data_kvmi_input *self)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT(!run(g, &self->d), "The tool is asked once more");
	look(g);
	TEST_ASSERT_EQ(self->d.read, self->normal.read);
	kvmi_guest_compare(&g->state, &g->normal);
}

/* The tool gets to know each byte, and nothing is read in vain. */
KVMI_TEST(kvmi_input, trap_access)
{
	struct kvmi_vcpu_event_pf_reply reply = { .flags = KVMI_PF_TRAP_ACCESS };
	int step = variant->down ? -variant->size : variant->size;
	struct kvmi_guest *g = &self->g;
	u64 gpa;
	u16 val;
	u8 n;

	for (n = variant->free; n < variant->nr; n++) {
		gpa = variant->rdi + n * step;
		wait_input(self, KVMI_VCPU_EVENT_PF, gpa, variant->size, n);
		TEST_ASSERT_EQ(self->ev.pf.gpa, gpa);
		TEST_ASSERT_EQ(self->d.read, n);
		kvmi_reply_data(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW, &reply,
				sizeof(reply));

		wait_input(self, KVMI_VCPU_EVENT_ACCESS, gpa, variant->size, n);
		val = port_value(n);
		TEST_ASSERT_EQ(self->ev.access.gpa, gpa);
		TEST_ASSERT_EQ(self->ev.access.size, variant->size);
		TEST_ASSERT(!memcmp(self->ev.access.data, &val, variant->size),
			    "Other bytes");
		kvmi_reply(&g->s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	}
	finish_input(self);
}

KVMI_TEST(kvmi_input, allow)
{
	int step = variant->down ? -variant->size : variant->size;
	u8 n;

	for (n = variant->free; n < variant->nr; n++) {
		wait_input(self, KVMI_VCPU_EVENT_PF, variant->rdi + n * step,
			   variant->size, n);
		TEST_ASSERT_EQ(self->d.read, n);
		kvmi_reply(&self->g.s, &self->ev, KVMI_EVENT_ACTION_ALLOW);
	}
	finish_input(self);
}

/* What userspace is asked for is no less than what the guest gets. */
FIXTURE(kvmi_hooked_input) {
	struct kvmi_guest g;
	struct device normal;
	struct device d;
};

FIXTURE_SETUP(kvmi_hooked_input)
{
	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
}

FIXTURE_TEARDOWN(kvmi_hooked_input)
{
	kvmi_guest_free(&self->g);
}

/* KVM reads ahead for both pages, which introspection would not. */
KVMI_TEST(kvmi_hooked_input, words_to_next_page)
{
	struct kvmi_guest *g = &self->g;

	g->start.regs.rcx = 50;
	g->start.regs.rdx = PORT;
	g->start.regs.rdi = DATA + PAGE - 50;
	/* REP INSW */
	kvmi_guest_code(g, "\x66\xf3\x6d");
	kvmi_guest_reset(g);

	kvmi_run_start(&g->r, NULL, g->vcpu);
	run(g, &self->normal);
	look(g);
	g->normal = g->state;
	TEST_ASSERT_EQ(self->normal.read, 50);
	kvmi_guest_reset(g);

	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	TEST_ASSERT(g->vcpu->run->io.count > 25, "KVM does not read ahead");
	kvmi_hook(&g->s, g->vm);
	g->r.s = &g->s;
	TEST_ASSERT(serve(g, &self->d), "Another exit");
	TEST_ASSERT(!run(g, &self->d), "The tool is asked");
	look(g);
	TEST_ASSERT_EQ(self->d.read, self->normal.read);
	kvmi_guest_compare(&g->state, &g->normal);
}

/* Code that the processor is not allowed to execute either */
FIXTURE(kvmi_emulated_code) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_emulated_code)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
	g->start.regs.rdi = DEVICE;
	g->start.regs.rax = 0x11111111;
	g->start.regs.rcx = 0x22222222;
	g->start.regs.rsi = DATA;
	memset(g->start.mem + DATA, 0x33, PAGE);
	kvmi_guest_code(g, "");
	memcpy(g->start.mem + SHOWN, g->start.mem + KVMI_GUEST_CODE, PAGE);
}

FIXTURE_TEARDOWN(kvmi_emulated_code)
{
	kvmi_guest_free(&self->g);
}

/*
 * Executing a page is a matter of the address being a user's, not of the CPL, and
 * all pages of this guest are users'.
 */
KVMI_TEST(kvmi_emulated_code, user_page_of_supervisor)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;
	struct device d = {};

	/* MOV [RDI], EAX */
	kvmi_guest_code(g, "\x89\x07");
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!(features.flags & KVMI_FEATURE_USER_EXEC))
		SKIP(return, "X is the same for all");

	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W | KVMI_PAGE_ACCESS_XU);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT(!run(g, &d), "The tool is asked");
	look(g);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
	TEST_ASSERT_EQ(d.written, 4);
}

/* Own code is put in place, and shown code of another length. */
static void show_code(struct kvmi_guest *g, const char *own, size_t own_size,
		      const char *shown, size_t shown_size)
{
	/* OUT 0xf4, AL */
	static const u8 stop[] = { 0xe6, 0xf4 };

	memcpy(g->start.mem + KVMI_GUEST_CODE, own, own_size);
	memcpy(g->start.mem + KVMI_GUEST_CODE + own_size, stop, sizeof(stop));
	memcpy(g->start.mem + SHOWN, shown, shown_size);
	memcpy(g->start.mem + SHOWN + shown_size, stop, sizeof(stop));
	g->end = KVMI_GUEST_CODE + shown_size;
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, KVMI_GUEST_CODE, SHOWN), 0);
}

#define SHOW_CODE(g, own, shown)	show_code(g, own, sizeof(own) - 1, shown, sizeof(shown) - 1)

/* MOV [RDI], ECX and NOPs, where MOV [RDI], EAX and one NOP is executed */
KVMI_TEST(kvmi_emulated_code, device)
{
	struct kvmi_guest *g = &self->g;
	struct device d = {};

	SHOW_CODE(g, "\x89\x0f\x90\x90\x90", "\x89\x07\x90");
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT(!run(g, &d), "The tool is asked");
	look(g);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
	TEST_ASSERT_EQ(d.written, 4);
	TEST_ASSERT_EQ(*(u32 *)d.bytes, 0x11111111);
}

/* MOVSD: from a page that another one is shown in place of */
KVMI_TEST(kvmi_emulated_code, data_for_device)
{
	struct kvmi_guest *g = &self->g;
	struct device d = {};

	kvmi_guest_code(g, "\xa5");
	memset(g->start.mem + SHOWN, 0x44, PAGE);
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, DATA, SHOWN), 0);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT(!run(g, &d), "The tool is asked");
	TEST_ASSERT_EQ(*(u32 *)d.bytes, 0x44444444);
}

static void wait_write(struct kvmi_guest *g, struct kvmi_event *ev)
{
	struct kvmi_event pause;

	kvmi_guest_restrict(g, DATA, R | X);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.access, W);
	TEST_ASSERT_EQ(ev->pf.gpa & -PAGE, DATA);
}

/* MOV [RSI], RAX: 3 bytes; MOV [0x4000], EAX: 7 bytes */
KVMI_TEST(kvmi_emulated_code, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	SHOW_CODE(g, "\x48\x89\x06\x90\x90\x90\x90", "\x89\x04\x25\x00\x40\x00\x00");
	wait_write(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[DATA], 0x33);
}

/* MOV DWORD [RSI], 1; MOV DWORD [RSI], 2 */
KVMI_TEST(kvmi_emulated_code, trap_access)
{
	struct kvmi_vcpu_event_pf_reply reply = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	SHOW_CODE(g, "\xc7\x06\x01\x00\x00\x00", "\xc7\x06\x02\x00\x00\x00");
	wait_write(g, &ev);
	kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, &reply, sizeof(reply));
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, &ev);
	TEST_ASSERT_EQ(ev.access.size, 4);
	TEST_ASSERT_EQ(*(u32 *)ev.access.data, 2);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(*(u32 *)(g->state.mem + DATA), 2);
}

/* MOVSD from a page that is shown, to one that may not be written */
KVMI_TEST(kvmi_emulated_code, trap_access_of_shown_data)
{
	struct kvmi_vcpu_event_pf_reply reply = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	g->start.regs.rsi = 0xe000;
	g->start.regs.rdi = DATA;
	kvmi_guest_code(g, "\xa5");
	memset(g->start.mem + SHOWN, 0x44, PAGE);
	memset(g->start.mem + 0xe000, 0x55, PAGE);
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, 0xe000, SHOWN), 0);
	wait_write(g, &ev);
	kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, &reply, sizeof(reply));
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, &ev);
	TEST_ASSERT_EQ(*(u32 *)ev.access.data, 0x44444444);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* LOCK INC DWORD [RSI], where the page that is shown is not the one that is written */
static void trap_access_to_shown_data(struct kvmi_guest *g)
{
	struct kvmi_vcpu_event_pf_reply reply = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_event ev;

	kvmi_guest_code(g, "\xf0\xff\x06");
	memset(g->start.mem + SHOWN, 0x44, PAGE);
	kvmi_guest_reset(g);
	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, DATA, SHOWN), 0);
	wait_write(g, &ev);
	kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, &reply, sizeof(reply));
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, &ev);
	TEST_ASSERT_EQ(*(u32 *)ev.access.data, 0x33333334);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(*(u32 *)(g->state.mem + DATA), 0x33333334);
}

KVMI_TEST(kvmi_emulated_code, trap_access_to_shown_data)
{
	trap_access_to_shown_data(&self->g);
}

/* CPUID.(EAX=7,ECX=1):EAX[26], and the bits of CR3 and of an address that it is about */
#define FEATURE_LAM	KVM_X86_CPU_FEATURE(0x7, 1, EAX, 26)
#define CR3_LAM_U57	BIT_ULL(61)
#define TAG		BIT_ULL(57)

/* With an address whose upper bits the processor ignores */
KVMI_TEST(kvmi_emulated_code, trap_access_to_shown_data_by_tagged_address)
{
	struct kvmi_guest *g = &self->g;

	if (!kvm_cpu_has(FEATURE_LAM))
		SKIP(return, "Needs LAM");

	g->start.sregs.cr3 |= CR3_LAM_U57;
	g->start.regs.rsi |= TAG;
	trap_access_to_shown_data(g);
}

/* What the processor steps is what it has fetched, too. */
KVMI_TEST(kvmi_emulated_code, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	SHOW_CODE(g, "\xc7\x06\x01\x00\x00\x00", "\xc7\x06\x02\x00\x00\x00");
	wait_write(g, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(*(u32 *)(g->state.mem + DATA), 2);
}

/* INT3 in place of a NOP, in a page that may not be executed */
KVMI_TEST(kvmi_emulated_code, breakpoint)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev, pause;

	if (!kvmi_guest_int3_is_intercepted())
		SKIP(return, "INT3 is not intercepted");

	SHOW_CODE(g, "\x90", "\xcc");
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_BREAKPOINT, 1), 0);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_BREAKPOINT, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, R | W | X);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/*
 * An access of KVM's emulator that has been looked at, and is being made, when the
 * tool changes what it was looked at by
 */
FIXTURE(kvmi_emulator_in_flight) {
	struct kvmi_guest g;
	struct device d;
	int fd;
};

FIXTURE_SETUP(kvmi_emulator_in_flight)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	self->fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (self->fd < 0)
		SKIP(return, "The kernel has no userfaultfd");

	TEST_ASSERT(!ioctl(self->fd, UFFDIO_API, &api), "UFFDIO_API");
	kvmi_guest_create(g, KVMI_GUEST_LONG);
	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
}

FIXTURE_TEARDOWN(kvmi_emulator_in_flight)
{
	close(self->fd);
	kvmi_guest_free(&self->g);
}

/* Take a page away from the host process: who accesses it waits for provide(). */
static void withhold(struct _test_data_kvmi_emulator_in_flight *self, u64 gpa)
{
	void *hva = addr_gpa2hva(self->g.vm, gpa);
	struct uffdio_register reg = {
		.range.start = (u64)hva,
		.range.len = PAGE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	TEST_ASSERT(!ioctl(self->fd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
	TEST_ASSERT(!madvise(hva, PAGE, MADV_DONTNEED), "MADV_DONTNEED");
}

static void provide(struct _test_data_kvmi_emulator_in_flight *self, u64 gpa)
{
	static u8 page[PAGE] __aligned(PAGE) = { 0x44 };
	struct uffdio_copy copy = {
		.src = (u64)page,
		.dst = (u64)addr_gpa2hva(self->g.vm, gpa),
		.len = PAGE,
	};

	TEST_ASSERT(!ioctl(self->fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
}

static bool is_readable(int fd, int timeout)
{
	struct pollfd fds = { .fd = fd, .events = POLLIN };

	return poll(&fds, 1, timeout) > 0;
}

/* The reply to a command does not come before the access to @gpa is done. */
static void change(struct _test_data_kvmi_emulator_in_flight *self, u64 gpa, u16 id,
		   const void *req, size_t size)
{
	struct kvmi_guest *g = &self->g;
	u32 seq;

	TEST_ASSERT(is_readable(self->fd, KVMI_TIMEOUT * 1000), "There is no access");
	seq = kvmi_send_cmd(&g->s, id, req, size);
	TEST_ASSERT(!is_readable(g->s.fd, 300), "The access is yet to come");
	provide(self, gpa);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&g->s, id, seq, NULL, 0), 0);
}

/* MOVSB from the device */
KVMI_TEST(kvmi_emulator_in_flight, write)
{
	struct {
		struct kvmi_vm_set_page_access hdr;
		struct kvmi_page_access_entry entry;
	} req = {
		.hdr.count = 1,
		.entry = { .gpa = DATA, .access = R | X, .npages = 1 },
	};
	struct kvmi_guest *g = &self->g;

	g->start.regs.rsi = DEVICE;
	kvmi_guest_code(g, "\xa4");
	kvmi_hook(&g->s, g->vm);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	withhold(self, DATA);
	TEST_ASSERT(serve(g, &self->d), "Another exit");
	change(self, DATA, KVMI_VM_SET_PAGE_ACCESS, &req, sizeof(req));
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g->vm, DATA), device_value(0, 1));
	TEST_ASSERT(!run(g, &self->d), "The tool is asked");
	look(g);
	TEST_ASSERT_EQ(g->state.regs.rip, g->end);
}

/* MOV AL, [RDI], from a page that is shown in place of another one */
KVMI_TEST(kvmi_emulator_in_flight, read_shown)
{
	struct kvmi_vm_change_gfn req = {
		.gfn = DATA / PAGE,
		.new_gfn = DATA / PAGE,
	};
	struct kvmi_guest *g = &self->g;

	if (!is_forced_emulation_enabled)
		SKIP(return, "Needs kvm.force_emulation_prefix");

	kvmi_guest_code(g, FEP "\x8a\x07");
	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, DATA, SHOWN), 0);
	withhold(self, SHOWN);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	change(self, SHOWN, KVMI_VM_CHANGE_GFN, &req, sizeof(req));
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ((u8)g->state.regs.rax, 0x44);
}

/* KVM's own writes for paravirtual guests are not restricted: see page-access.rst. */
FIXTURE(kvmi_paravirt) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_paravirt) {
	u32 msr;
	u64 flags;
};

FIXTURE_VARIANT_ADD(kvmi_paravirt, wall_clock) {
	.msr = MSR_KVM_WALL_CLOCK_NEW,
};

FIXTURE_VARIANT_ADD(kvmi_paravirt, clock) {
	.msr = MSR_KVM_SYSTEM_TIME_NEW,
	.flags = KVM_MSR_ENABLED,
};

FIXTURE_VARIANT_ADD(kvmi_paravirt, steal_time) {
	.msr = MSR_KVM_STEAL_TIME,
	.flags = KVM_MSR_ENABLED,
};

FIXTURE_SETUP(kvmi_paravirt)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rcx = variant->msr;
	g->start.regs.rax = DATA | variant->flags;
	g->start.regs.rdx = 0;
	memset(g->start.mem + DATA, 0xff, PAGE);
	/* WRMSR; CPUID, with KVM having done what it does when it enters the guest */
	kvmi_guest_code(g, "\x0f\x30\x31\xc0\x0f\xa2\x0f\xa2");
	kvmi_guest_reset(g);
}

FIXTURE_TEARDOWN(kvmi_paravirt)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_paravirt, not_restricted)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	kvmi_guest_restrict(g, DATA, R | X);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&g->s, &pause);
	/* Without an event */
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT(memcmp(g->state.mem + DATA, g->start.mem + DATA, 32),
		    "Nothing was written");
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
