// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_EVENT_PF and what a processor reads and writes
 * without being told by an instruction's operand: page tables, descriptor tables,
 * and the stack of exceptions.
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

/* Flag of a page table entry */
#define ACCESSED	0x20
#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

#define WRITE_BYTE	"\xc6\x07\x5a"

/* Accessed and dirty */
#define AD_BITS		0x60

/* Where the processor pushes */
#define STACK_PAGE	(KVMI_GUEST_STACK - PAGE)

static void begin(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&g->s, &pause);
}

static void wait_pf(struct kvmi_guest *g, struct kvmi_event *ev, u8 access,
		    u64 page)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT(ev->pf.access == access && (ev->pf.gpa & -PAGE) == page,
		    "Access %u to 0x%llx, wanted %u to 0x%lx", ev->pf.access,
		    ev->pf.gpa, access, page);
}

/* Page tables that nobody may write */
FIXTURE(kvmi_pf_tables) {
	struct kvmi_guest g;
	int levels;
};

FIXTURE_VARIANT(kvmi_pf_tables) {
	enum kvmi_guest_mode mode;
};

FIXTURE_VARIANT_ADD(kvmi_pf_tables, prot) { .mode = KVMI_GUEST_PROT };
FIXTURE_VARIANT_ADD(kvmi_pf_tables, long) { .mode = KVMI_GUEST_LONG };
FIXTURE_VARIANT_ADD(kvmi_pf_tables, long_user) { .mode = KVMI_GUEST_LONG_USER };

FIXTURE_SETUP(kvmi_pf_tables)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->mode);
	self->levels = kvmi_guest_is_long(g) ? 4 : 2;
}

FIXTURE_TEARDOWN(kvmi_pf_tables)
{
	kvmi_guest_free(&self->g);
}

/* Have the processor set these bits by itself. */
static void clear_accessed_and_dirty(struct _test_data_kvmi_pf_tables *self)
{
	struct kvmi_guest *g = &self->g;
	int size = kvmi_guest_is_long(g) ? 8 : 4;
	u64 gpa;

	for (gpa = KVMI_GUEST_PAGE_TABLES;
	     gpa < KVMI_GUEST_PAGE_TABLES + self->levels * PAGE; gpa += size)
		g->start.mem[gpa] &= ~AD_BITS;
}

static void restrict_tables(struct kvmi_guest *g, int levels)
{
	int i;

	for (i = 0; i < levels; i++)
		kvmi_guest_restrict(g, KVMI_GUEST_PAGE_TABLES + i * PAGE, R | X);
}

/* It is not the guest that writes. */
KVMI_TEST(kvmi_pf_tables, accessed_and_dirty)
{
	struct kvmi_guest *g = &self->g;
	u64 pte;
	int i;

	clear_accessed_and_dirty(self);
	kvmi_guest_code(g, WRITE_BYTE);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	/* The last level's entry for the data page */
	pte = KVMI_GUEST_PAGE_TABLES + (self->levels - 1) * PAGE +
	      KVMI_GUEST_DATA / PAGE * (self->levels == 4 ? 8 : 4);
	TEST_ASSERT_EQ(g->start.mem[pte] & AD_BITS, 0);
	TEST_ASSERT_EQ(g->normal.mem[pte] & AD_BITS, AD_BITS);

	restrict_tables(g, self->levels);
	begin(g);
	kvmi_guest_stop_normally(g);

	/* Now that KVM knows the tables, and without anyone to ask */
	for (i = 0; i < 2; i++) {
		kvmi_guest_reset(g);
		if (i)
			kvmi_close(&g->s);
		kvmi_run_start(&g->r, i ? NULL : &g->s, g->vcpu);
		kvmi_guest_stop_normally(g);
	}
}

#define DEVICE		0xf000
#define DEVICE_GPA	0x100000

/*
 * PUSH [RDI], from a device to a page that nobody may write: the tool is asked when the
 * device has been read, and not just the device again.
 */
KVMI_TEST(kvmi_pf_tables, device_and_restricted_stack)
{
	u64 stack = (self->g.start.regs.rsp - 8) & -PAGE;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_map(g, g->start.mem, DEVICE, DEVICE_GPA, KVMI_GUEST_PTE);
	clear_accessed_and_dirty(self);
	g->start.regs.rdi = DEVICE;
	kvmi_guest_code(g, "\xff\x37");
	kvmi_guest_reset(g);
	restrict_tables(g, self->levels);
	kvmi_guest_restrict(g, stack, R | X);
	begin(g);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(g->vcpu->run->mmio.phys_addr, DEVICE_GPA);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_pf(g, &ev, W, stack);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_MMIO);
	memset(g->vcpu->run->mmio.data, 0x5a, sizeof(g->vcpu->run->mmio.data));
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[g->state.regs.rsp], 0x5a);
}

/* The walk says nothing, what it leads to does. */
KVMI_TEST(kvmi_pf_tables, accessed_and_dirty_of_restricted_page)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	clear_accessed_and_dirty(self);
	kvmi_guest_code(g, WRITE_BYTE);
	kvmi_guest_run_normally(g);
	restrict_tables(g, self->levels);
	kvmi_guest_restrict(g, KVMI_GUEST_DATA, R | X);
	begin(g);
	wait_pf(g, &ev, W, KVMI_GUEST_DATA);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* Tables that are up to date */
KVMI_TEST(kvmi_pf_tables, nothing_to_set)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_code(g, WRITE_BYTE);
	kvmi_guest_run_normally(g);
	restrict_tables(g, self->levels);
	begin(g);
	kvmi_guest_stop_normally(g);
}

/* A string of writes, each of which needs the tables */
KVMI_TEST(kvmi_pf_tables, many_pages)
{
	struct kvmi_guest *g = &self->g;

	clear_accessed_and_dirty(self);
	g->start.regs.rdi = 0xd000;
	g->start.regs.rcx = 3 * PAGE;
	g->start.regs.rax = 0x77;
	/* REP STOSB */
	kvmi_guest_code(g, "\xf3\xaa");
	kvmi_guest_run_normally(g);
	restrict_tables(g, self->levels);
	begin(g);
	kvmi_guest_stop_normally(g);
}

/* Of the page tables that the guarded ones took there is nothing left. */
KVMI_TEST(kvmi_pf_tables, unhook)
{
	struct kvmi_guest *g = &self->g;
	u64 pages;
	int i;

	kvmi_guest_code(g, WRITE_BYTE);
	kvmi_guest_run_normally(g);
	pages = vm_get_stat(g->vm, pages_4k);
	TEST_ASSERT(pages, "Nothing is mapped");

	for (i = 0; i < 3; i++) {
		restrict_tables(g, self->levels);
		begin(g);
		kvmi_guest_stop_normally(g);
		kvmi_unhook(&g->s);
		g->s.vm = NULL;

		kvmi_guest_reset(g);
		kvmi_run_start(&g->r, NULL, g->vcpu);
		kvmi_guest_stop_normally(g);
		kvmi_guest_reset(g);
		TEST_ASSERT_EQ(vm_get_stat(g->vm, pages_4k), pages);
	}
}

/* What is written is logged as ever, in whatever way KVM has it walk the tables. */
KVMI_TEST(kvmi_pf_tables, dirty_log)
{
	unsigned long log[BITS_TO_LONGS(KVMI_GUEST_MEM_SIZE / PAGE)];
	struct kvmi_guest *g = &self->g;
	int i;

	kvmi_guest_code(g, WRITE_BYTE);
	kvmi_guest_run_normally(g);
	restrict_tables(g, self->levels);
	begin(g);
	kvmi_guest_stop_normally(g);

	vm_mem_region_set_flags(g->vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
	for (i = 0; i < 3; i++) {
		kvm_vm_get_dirty_log(g->vm, 0, log);
		TEST_ASSERT_EQ(test_bit(KVMI_GUEST_DATA / PAGE, log), i > 0);
		TEST_ASSERT_EQ(test_bit(KVMI_GUEST_USER_STACK / PAGE, log), 0);

		kvmi_guest_reset(g);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_guest_stop_normally(g);
	}
}

/* Many instructions and a few walks */
KVMI_TEST(kvmi_pf_tables, loop)
{
	struct kvmi_guest *g = &self->g;
	u64 exits, emulated;

	g->start.regs.rcx = 1000;
	/* INC DWORD [RDI]; LOOP */
	kvmi_guest_code(g, "\xff\x07\xe2\xfc");
	kvmi_guest_run_normally(g);
	restrict_tables(g, self->levels);
	exits = vcpu_get_stat(g->vcpu, exits);
	emulated = vcpu_get_stat(g->vcpu, insn_emulation);
	begin(g);
	kvmi_guest_stop_normally(g);

	exits = vcpu_get_stat(g->vcpu, exits) - exits;
	emulated = vcpu_get_stat(g->vcpu, insn_emulation) - emulated;
	ksft_print_msg("%lu exits, %lu instructions decoded by KVM\n", exits,
		       emulated);
	/* With EPT the processor completes its walks, if KVM lets it. */
	if (host_cpu_is_intel) {
		TEST_ASSERT_EQ(emulated, 0);
		TEST_ASSERT(exits < 100, "%lu exits", exits);
	}
}

/* If KVM has to emulate the instruction and cannot, the tool is to decide. */
KVMI_TEST(kvmi_pf_tables, unknown_to_emulator)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	/* FLD1 */
	kvmi_guest_code(g, "\xd9\xe8");
	kvmi_guest_run_normally(g);
	restrict_tables(g, self->levels);
	begin(g);
	for (i = 0; i < self->levels && !host_cpu_is_intel; i++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.access, W);
		TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, KVMI_GUEST_PAGE_TABLES + i * PAGE);
		TEST_ASSERT_EQ(ev.pf.flags, i ? KVMI_PF_AGAIN : 0);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_guest_stop_normally(g);
}

/* The guest's own write to a table in use, which it then uses */
static void map_another_page(struct _test_data_kvmi_pf_tables *self)
{
	struct kvmi_guest *g = &self->g;
	int size = kvmi_guest_is_long(g) ? 8 : 4;

	/* What maps 0xf000 is to map 0xe000. */
	g->start.mem[0xe000] = 0xee;
	g->start.mem[0xf000] = 0xff;
	g->start.regs.rdi = KVMI_GUEST_PAGE_TABLES + (self->levels - 1) * PAGE +
			    0xf * size;
	g->start.regs.rsi = 0xf000;
	g->start.regs.rax = 0xe000 | KVMI_GUEST_PTE;
	/* MOV DL, [RSI]; MOV [RDI], EAX; INVLPG [RSI]; MOV CL, [RSI] */
	kvmi_guest_code(g, "\x8a\x16\x89\x07\x0f\x01\x3e\x8a\x0e");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.regs.rdx, 0xff);
	TEST_ASSERT_EQ(g->normal.regs.rcx, 0xee);
}

KVMI_TEST(kvmi_pf_tables, write)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (kvmi_guest_is_user(g))
		SKIP(return, "INVLPG is for supervisors");

	map_another_page(self);
	restrict_tables(g, self->levels);
	begin(g);
	wait_pf(g, &ev, W, g->start.regs.rdi & -PAGE);
	TEST_ASSERT_EQ(ev.pf.gpa, g->start.regs.rdi);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + 2);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_tables, write_skipped)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (kvmi_guest_is_user(g))
		SKIP(return, "INVLPG is for supervisors");

	map_another_page(self);
	restrict_tables(g, self->levels);
	begin(g);
	wait_pf(g, &ev, W, g->start.regs.rdi & -PAGE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);

	g->start.regs.rdx = 0xff;
	g->start.regs.rcx = 0xff;
	kvmi_guest_stop_unchanged(g);
}

/* Instructions that need a walk, with page tables that nobody may write */
FIXTURE(kvmi_pf_walk) {
	struct kvmi_guest g;
	int levels;
};

FIXTURE_VARIANT(kvmi_pf_walk) {
	enum kvmi_guest_mode mode;
	const char *code;
	/* The exception it raises, if it does */
	u8 vector;
	/* A page that it accesses, in a way that may be taken away */
	u64 page;
	u8 access;
	/* Where in the page */
	u64 offset;
	/* How often, one byte after the other; 0: once */
	u8 nr_events;
	u64 operand;
	u64 rcx;
	/* It returns from a handler. */
	bool returns;
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_write) {
	.mode = KVMI_GUEST_PROT,
	.code = WRITE_BYTE,
	.page = KVMI_GUEST_DATA,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_user_write) {
	.mode = KVMI_GUEST_LONG_USER,
	.code = WRITE_BYTE,
	.page = KVMI_GUEST_DATA,
	.access = W,
};

/* With more in RCX than it sees */
FIXTURE_VARIANT_ADD(kvmi_pf_walk, compat_user_write) {
	.mode = KVMI_GUEST_COMPAT_USER,
	.code = WRITE_BYTE,
	.page = KVMI_GUEST_DATA,
	.access = W,
	.rcx = BIT_ULL(40),
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_read) {
	.mode = KVMI_GUEST_LONG,
	/* MOV AL, [RDI] */
	.code = "\x8a\x07",
	.page = KVMI_GUEST_DATA,
	.access = R,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_increment) {
	.mode = KVMI_GUEST_LONG,
	/* LOCK INC DWORD [RDI] */
	.code = "\xf0\xff\x07",
	.page = KVMI_GUEST_DATA,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_exchange) {
	.mode = KVMI_GUEST_LONG,
	/* LOCK CMPXCHG [RDI], EDI */
	.code = "\xf0\x0f\xb1\x3f",
	.page = KVMI_GUEST_DATA,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_push) {
	.mode = KVMI_GUEST_LONG,
	/* PUSH RAX */
	.code = "\x50",
	.page = STACK_PAGE,
	.access = W,
	.offset = PAGE - 8,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_call) {
	.mode = KVMI_GUEST_PROT,
	/* CALL EBX: NOPs and a stop in the data page */
	.code = "\xff\xd3",
	.page = STACK_PAGE,
	.access = W,
	.offset = PAGE - 4,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_jump) {
	.mode = KVMI_GUEST_LONG,
	/* JMP RBX: a NOP and a stop in the data page */
	.code = "\xff\xe3",
	.page = KVMI_GUEST_DATA,
	.access = X,
	.nr_events = 2,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_string) {
	.mode = KVMI_GUEST_LONG,
	/* REP STOSB */
	.code = "\xf3\xaa",
	.page = KVMI_GUEST_DATA,
	.access = W,
	.nr_events = 4,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_user_string) {
	.mode = KVMI_GUEST_PROT_USER,
	/* REP MOVSB */
	.code = "\xf3\xa4",
	.page = KVMI_GUEST_DATA,
	.access = W,
	.nr_events = 4,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_processor_id) {
	.mode = KVMI_GUEST_LONG,
	/* CPUID */
	.code = "\x0f\xa2",
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_swap) {
	.mode = KVMI_GUEST_LONG,
	/* SWAPGS */
	.code = "\x0f\x01\xf8",
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_interrupt) {
	.mode = KVMI_GUEST_PROT,
	/* INT 5 */
	.code = "\xcd\x05",
	.vector = 5,
	.page = STACK_PAGE,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_interrupt) {
	.mode = KVMI_GUEST_LONG,
	/* INT 5 */
	.code = "\xcd\x05",
	.vector = 5,
	.page = STACK_PAGE,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_undefined) {
	.mode = KVMI_GUEST_PROT,
	/* UD2 */
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
	.page = STACK_PAGE,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_user_undefined) {
	.mode = KVMI_GUEST_PROT_USER,
	/* UD2 */
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
	.page = STACK_PAGE,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_user_undefined) {
	.mode = KVMI_GUEST_LONG_USER,
	/* UD2 */
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
	.page = STACK_PAGE,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_page_fault) {
	.mode = KVMI_GUEST_LONG,
	.code = WRITE_BYTE,
	.operand = KVMI_GUEST_UNMAPPED,
	.vector = PF_VECTOR,
	.page = STACK_PAGE,
	.access = W,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, long_return) {
	.mode = KVMI_GUEST_LONG,
	/* IRETQ */
	.code = "\x48\xcf",
	.returns = true,
	.page = STACK_PAGE,
	.access = R,
};

FIXTURE_VARIANT_ADD(kvmi_pf_walk, prot_return) {
	.mode = KVMI_GUEST_PROT,
	/* IRET */
	.code = "\xcf",
	.returns = true,
	.page = STACK_PAGE,
	.access = R,
};

/* What IRET pops, to go on behind it */
static void push_frame(struct kvmi_guest *g, size_t insn_size)
{
	int size = kvmi_guest_is_long(g) ? 8 : 4, slots = size == 8 ? 5 : 3;
	const u64 frame[] = {
		KVMI_GUEST_CODE + insn_size, KVMI_GUEST_KERNEL_CS,
		X86_EFLAGS_FIXED, KVMI_GUEST_STACK, KVMI_GUEST_KERNEL_DS,
	};
	int i;

	g->start.regs.rsp -= slots * size;
	for (i = 0; i < slots; i++)
		memcpy(g->start.mem + g->start.regs.rsp + i * size, &frame[i],
		       size);
}

/* Does it go to the data page? */
static bool is_jump(const char *code)
{
	return !strcmp(code, "\xff\xd3") || !strcmp(code, "\xff\xe3");
}

FIXTURE_SETUP(kvmi_pf_walk)
{
	struct kvmi_guest *g = &self->g;
	/* NOP; OUT as at the end of the code */
	u8 stop[] = { 0x90, 0xe6, 0xf4 };

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->mode);
	self->levels = kvmi_guest_is_long(g) ? 4 : 2;
	if (variant->operand)
		g->start.regs.rdi = variant->operand;
	if (variant->nr_events)
		g->start.regs.rcx = variant->nr_events;
	if (variant->rcx)
		g->start.regs.rcx = variant->rcx;
	g->start.regs.rsi = 0xe000;
	g->start.mem[0xe002] = 0xee;
	memcpy(g->start.mem + KVMI_GUEST_DATA, stop, sizeof(stop));
	if (variant->returns)
		push_frame(g, strlen(variant->code));
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));
	if (is_jump(variant->code))
		g->end = KVMI_GUEST_DATA + 1;

	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, variant->vector ? variant->vector :
					 KVMI_GUEST_NO_EXCEPTION);
	restrict_tables(g, self->levels);
}

FIXTURE_TEARDOWN(kvmi_pf_walk)
{
	kvmi_guest_free(&self->g);
}

/* It does nothing that is forbidden. */
KVMI_TEST(kvmi_pf_walk, nothing_to_tell)
{
	begin(&self->g);
	kvmi_guest_stop_normally(&self->g);
}

/* It does, and that alone is told, before it takes effect. */
KVMI_TEST(kvmi_pf_walk, forbidden)
{
	u8 left = R | W | X, i = 0;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!variant->page)
		SKIP(return, "Accesses no memory");
	if (variant->access == R && !host_cpu_is_intel)
		SKIP(return, "Nested paging without a right to read");

	left = variant->access == R ? 0 : left & ~variant->access;
	kvmi_guest_restrict(g, variant->page, left);
	begin(g);
	do {
		wait_pf(g, &ev, variant->access, variant->page);
		if (!variant->vector && !variant->returns) {
			TEST_ASSERT_EQ(ev.pf.gva, variant->page +
						  variant->offset + i);
			TEST_ASSERT_EQ(ev.pf.gpa, ev.pf.gva);
		}
		TEST_ASSERT(!memcmp(addr_gpa2hva(g->vm, ev.pf.gpa),
				    g->start.mem + ev.pf.gpa, 1), "Written");
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	} while (++i < variant->nr_events);
	kvmi_guest_stop_normally(g);
}

/* Without anyone to ask */
KVMI_TEST(kvmi_pf_walk, event_off)
{
	struct kvmi_guest *g = &self->g;

	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* The delivery of an exception */
FIXTURE(kvmi_pf_delivery) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf_delivery) {
	enum kvmi_guest_mode mode;
	const char *code;
	u8 vector;
	/* Where the instruction writes, if it does */
	u64 operand;
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, prot_undefined) {
	.mode = KVMI_GUEST_PROT,
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, prot_user_undefined) {
	.mode = KVMI_GUEST_PROT_USER,
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, long_undefined) {
	.mode = KVMI_GUEST_LONG,
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, long_page_fault) {
	.mode = KVMI_GUEST_LONG,
	.code = WRITE_BYTE,
	.vector = PF_VECTOR,
	.operand = KVMI_GUEST_UNMAPPED,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, long_user_page_fault) {
	.mode = KVMI_GUEST_LONG_USER,
	.code = WRITE_BYTE,
	.vector = PF_VECTOR,
	.operand = KVMI_GUEST_UNMAPPED,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, long_user_protection) {
	.mode = KVMI_GUEST_LONG_USER,
	/* HLT */
	.code = "\xf4",
	.vector = GP_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, long_breakpoint) {
	.mode = KVMI_GUEST_LONG,
	.code = "\xcc",
	.vector = BP_VECTOR,
};

FIXTURE_VARIANT_ADD(kvmi_pf_delivery, long_interrupt_instruction) {
	.mode = KVMI_GUEST_LONG,
	/* INT 5 */
	.code = "\xcd\x05",
	.vector = 5,
};

FIXTURE_SETUP(kvmi_pf_delivery)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->mode);
	if (variant->operand)
		g->start.regs.rdi = variant->operand;
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, variant->vector);
}

FIXTURE_TEARDOWN(kvmi_pf_delivery)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_pf_delivery, stack)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, STACK_PAGE, R | X);
	begin(g);
	wait_pf(g, &ev, W, STACK_PAGE);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_delivery, stack_given_back)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, STACK_PAGE, R | X);
	begin(g);
	wait_pf(g, &ev, W, STACK_PAGE);
	kvmi_guest_restrict(g, STACK_PAGE, KVMI_PAGE_ACCESS_RWX);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_delivery, stack_with_event_off)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_restrict(g, STACK_PAGE, R | X);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_delivery, stack_with_tool_gone)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, STACK_PAGE, R | X);
	begin(g);
	wait_pf(g, &ev, W, STACK_PAGE);
	kvmi_close(&g->s);
	kvmi_guest_stop_normally(g);
}

/* The gate is read, and then the stack is written: of one delivery */
KVMI_TEST(kvmi_pf_delivery, gate_and_stack)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!host_cpu_is_intel)
		SKIP(return, "Nested paging without a right to read");

	kvmi_guest_restrict(g, KVMI_GUEST_IDT, 0);
	kvmi_guest_restrict(g, STACK_PAGE, 0);
	begin(g);
	wait_pf(g, &ev, R, KVMI_GUEST_IDT);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, &ev, W, STACK_PAGE);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN | KVMI_PF_DELIVERY);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* The handler's instructions are others. */
KVMI_TEST(kvmi_pf_delivery, stack_and_handler)
{
	u64 handler = KVMI_GUEST_HANDLERS + variant->vector * 16;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, STACK_PAGE, R | X);
	kvmi_guest_restrict(g, KVMI_GUEST_HANDLERS, R | W);
	begin(g);
	wait_pf(g, &ev, W, STACK_PAGE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	wait_pf(g, &ev, X, KVMI_GUEST_HANDLERS);
	TEST_ASSERT_EQ(ev.pf.gpa, handler);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/*
 * A frame that is pushed into a page table in use, which nobody may write, in ways in
 * which the address or the right to access it is easily got wrong
 */
FIXTURE(kvmi_pf_push) {
	struct kvmi_guest g;
	u64 table;
};

FIXTURE_VARIANT(kvmi_pf_push) {
	enum kvmi_guest_mode mode;
	const char *code;
	u8 vector;
	u64 operand;
	/* Supervisors' data are no users' pages, and the stack is one. */
	bool smap;
	u64 rflags;
	/* The handler is a user's. */
	bool user_handler;
	/* A stack segment of 16 bits, whose SP wraps around */
	bool wraps;
};

FIXTURE_VARIANT_ADD(kvmi_pf_push, long_smap_undefined) {
	.mode = KVMI_GUEST_LONG,
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
	.smap = true,
	.rflags = X86_EFLAGS_AC,
};

FIXTURE_VARIANT_ADD(kvmi_pf_push, long_smap_interrupt) {
	.mode = KVMI_GUEST_LONG,
	/* INT 5 */
	.code = "\xcd\x05",
	.vector = 5,
	.smap = true,
	.rflags = X86_EFLAGS_AC,
};

FIXTURE_VARIANT_ADD(kvmi_pf_push, long_user_smap_undefined) {
	.mode = KVMI_GUEST_LONG_USER,
	.code = "\x0f\x0b",
	.vector = UD_VECTOR,
	.smap = true,
	.user_handler = true,
};

FIXTURE_VARIANT_ADD(kvmi_pf_push, prot_16bit_stack) {
	.mode = KVMI_GUEST_PROT,
	.code = WRITE_BYTE,
	.vector = PF_VECTOR,
	.operand = KVMI_GUEST_UNMAPPED,
	.wraps = true,
};

/* Where the stack is mapped, and where in the page it begins */
#define PUSH_PAGE	0xe000
#define PUSH_OFFSET	0x800
/* A page that is not for users */
#define SUPERVISOR_PTE	(KVMI_GUEST_PTE & ~BIT(2))

static void map_stack(struct _test_data_kvmi_pf_push *self, bool user)
{
	struct kvmi_guest *g = &self->g;
	u8 *mem = g->start.mem;
	u64 gva;

	for (gva = 0; gva < KVMI_GUEST_MEM_SIZE; gva += PAGE) {
		bool code = gva == KVMI_GUEST_CODE || gva == KVMI_GUEST_HANDLERS;

		kvmi_guest_map(g, mem, gva, gva, user && code ? KVMI_GUEST_PTE :
								SUPERVISOR_PTE);
	}
	kvmi_guest_map(g, mem, PUSH_PAGE, self->table, KVMI_GUEST_PTE);
	g->start.regs.rsp = PUSH_PAGE + PUSH_OFFSET;
}

/* The error code is pushed to the end of the segment, and what is before it to the base. */
static void wrap_stack(struct _test_data_kvmi_pf_push *self)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_segment *ss = &g->start.sregs.ss;

	ss->base = self->table + PUSH_OFFSET;
	ss->limit = 0xffff;
	ss->g = 0;
	ss->db = 0;
	kvmi_guest_map(g, g->start.mem, (ss->base + 0xfffc) & -PAGE, PUSH_PAGE,
		       KVMI_GUEST_PTE);
	g->start.regs.rsp = 12;
}

static bool table_is_unchanged(const struct kvmi_guest *g, u64 table)
{
	const u8 *mem = addr_gpa2hva(g->vm, table);
	const u8 *old = g->start.mem + table;
	int i;

	for (i = 0; i < PAGE; i++) {
		if ((mem[i] ^ old[i]) & ~AD_BITS)
			return false;
	}

	return true;
}

FIXTURE_SETUP(kvmi_pf_push)
{
	struct kvmi_guest *g = &self->g;
	u64 cs;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, variant->mode);
	if (variant->smap && !vcpu_cpuid_has(g->vcpu, X86_FEATURE_SMAP))
		SKIP(return, "Needs SMAP");

	self->table = KVMI_GUEST_PAGE_TABLES + (kvmi_guest_is_long(g) ? 3 : 1) * PAGE;
	g->start.regs.rflags |= variant->rflags;
	if (variant->operand)
		g->start.regs.rdi = variant->operand;
	if (variant->smap) {
		g->start.sregs.cr4 |= X86_CR4_SMAP;
		map_stack(self, kvmi_guest_is_user(g));
	}
	if (variant->wraps)
		wrap_stack(self);
	if (variant->user_handler) {
		cs = KVMI_GUEST_USER_CS;
		memcpy(g->start.mem + KVMI_GUEST_IDT + variant->vector * 16 + 2, &cs, 2);
	}
	__kvmi_guest_code(g, (const u8 *)variant->code, strlen(variant->code));

	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	if (table_is_unchanged(g, self->table))
		SKIP(return, "This processor pushes to somewhere else");
	kvmi_guest_reset(g);
}

FIXTURE_TEARDOWN(kvmi_pf_push)
{
	kvmi_guest_free(&self->g);
}

/* The tool is asked, if only about the walk, before the table changes. */
static void expect_push(struct kvmi_guest *g, u64 table, u8 vector)
{
	u64 handler = KVMI_GUEST_HANDLERS + vector * 16;
	struct kvmi_event ev;
	struct kvm_regs regs;

	begin(g);
	wait_pf(g, &ev, W, table);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT(table_is_unchanged(g, table), "Written");
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	vcpu_regs_get(g->vcpu, &regs);
	TEST_ASSERT(regs.rip == handler || regs.rip == handler + 2,
		    "Stopped at 0x%llx", regs.rip);
	TEST_ASSERT(!table_is_unchanged(g, table), "Not written");
}

KVMI_TEST(kvmi_pf_push, asked)
{
	kvmi_guest_restrict(&self->g, self->table, R | X);
	expect_push(&self->g, self->table, variant->vector);
}

/*
 * The same with a stack pointer that is also an entry of a page table, which nobody
 * protects: looking at where the stack is sets its flags, and so moves the stack.
 */
#define ENTRY		0xe000
#define ENTRY_GVA	0x200000
#define TSS		0xd000
#define PUSHED		0xf000

FIXTURE(kvmi_pf_push_entry) {
	struct kvmi_guest g;
	u64 table;
};

static void put_entry(struct kvmi_guest *g, u64 gpa, u64 entry)
{
	memcpy(g->start.mem + gpa, &entry, sizeof(entry));
}

FIXTURE_SETUP(kvmi_pf_push_entry)
{
	struct kvmi_guest *g = &self->g;
	u64 directory = KVMI_GUEST_PAGE_TABLES + 2 * PAGE;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (!host_cpu_is_amd_compatible)
		SKIP(return, "KVM completes the walk");

	kvmi_guest_create(g, KVMI_GUEST_LONG_USER);
	self->table = directory + PAGE;
	put_entry(g, directory + 8, ENTRY | KVMI_GUEST_PTE);
	/*
	 * Present and writable, of the page in front of the one that the value, taken
	 * for an address, is in
	 */
	put_entry(g, ENTRY, (ENTRY_GVA + PAGE) | 3);
	put_entry(g, ENTRY + 8, self->table | SUPERVISOR_PTE);
	/* RSP0 of the TSS */
	g->start.sregs.tr.base = ENTRY - 4;
	/* UD2 */
	kvmi_guest_code(g, "\x0f\x0b");
	kvmi_guest_reset(g);
}

FIXTURE_TEARDOWN(kvmi_pf_push_entry)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_pf_push_entry, asked)
{
	kvmi_guest_restrict(&self->g, self->table, R | X);
	expect_push(&self->g, self->table, UD_VECTOR);
}

/* A frame in two pages: RSP0 is 16 bytes above the boundary. */
static void push_to_two_pages(struct kvmi_guest *g, u64 upper)
{
	put_entry(g, ENTRY, KVMI_GUEST_STACK | SUPERVISOR_PTE);
	put_entry(g, ENTRY + 8, upper | SUPERVISOR_PTE);
	g->start.sregs.tr.base = TSS;
	put_entry(g, TSS + 4, ENTRY_GVA + PAGE + 2 * sizeof(u64));
}

/*
 * The upper one is the page table that maps the lower one: what is pushed first, SS
 * and RSP, decides where the rest goes to.
 */
KVMI_TEST(kvmi_pf_push_entry, across_pages)
{
	struct kvmi_guest *g = &self->g;

	/* SS is pushed to the second entry, and RSP to the first. */
	push_to_two_pages(g, ENTRY);
	g->start.regs.rsp = self->table | SUPERVISOR_PTE;
	kvmi_guest_reset(g);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	if (table_is_unchanged(g, self->table))
		SKIP(return, "This processor looks ahead");
	kvmi_guest_reset(g);

	kvmi_guest_restrict(g, self->table, R | X);
	expect_push(g, self->table, UD_VECTOR);
}

/* In ordinary pages it is granted like others. */
KVMI_TEST(kvmi_pf_push_entry, across_ordinary_pages)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;

	push_to_two_pages(g, PUSHED);
	kvmi_guest_reset(g);

	kvmi_guest_restrict(g, self->table, R | X);
	begin(g);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	vcpu_regs_get(g->vcpu, &regs);
	TEST_ASSERT_EQ(regs.rip & ~0xfull, KVMI_GUEST_HANDLERS + UD_VECTOR * 16);
	TEST_ASSERT(*(u64 *)addr_gpa2hva(g->vm, PUSHED + 8), "Nothing was pushed");
}

/* Descriptors that the processor marks */
FIXTURE(kvmi_pf_descriptor) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_pf_descriptor) {
	u8 code[3];
	u16 selector;
};

FIXTURE_VARIANT_ADD(kvmi_pf_descriptor, accessed) {
	/* MOV DS, EAX; NOP */
	.code = { 0x8e, 0xd8, 0x90 },
	.selector = KVMI_GUEST_USER_DS,
};

FIXTURE_VARIANT_ADD(kvmi_pf_descriptor, busy) {
	/* LTR AX */
	.code = { 0x0f, 0x00, 0xd8 },
	.selector = KVMI_GUEST_TR2,
};

FIXTURE_SETUP(kvmi_pf_descriptor)
{
	struct kvmi_guest *g = &self->g;
	u64 type = KVMI_GUEST_GDT + (variant->selector & ~7) + 5;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = variant->selector;
	if (variant->selector == KVMI_GUEST_USER_DS)
		g->start.mem[type] &= ~1;
	__kvmi_guest_code(g, variant->code, sizeof(variant->code));
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT(g->normal.mem[type] != g->start.mem[type], "No mark");
}

FIXTURE_TEARDOWN(kvmi_pf_descriptor)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_pf_descriptor, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, KVMI_GUEST_GDT, R | X);
	begin(g);
	wait_pf(g, &ev, W, KVMI_GUEST_GDT);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_descriptor, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, KVMI_GUEST_GDT, R | X);
	begin(g);
	wait_pf(g, &ev, W, KVMI_GUEST_GDT);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	/*
	 * Bochs loads TR before it has written what the tool is asked about, and
	 * QEMU a part of it.
	 */
	if (ev.common.arch.sregs.tr.selector == KVMI_GUEST_TR2)
		g->start.sregs.tr.selector = KVMI_GUEST_TR2;
	if (ev.common.arch.sregs.tr.base == KVMI_GUEST_TSS2)
		g->start.sregs.tr.base = KVMI_GUEST_TSS2;
	kvmi_guest_stop_unchanged(g);
}

/*
 * PDPTEs are loaded by MOV to CR on VMX.  The instruction has no memory operand, and
 * yet reads.
 */
#define PDPT		0xc000
#define OTHER_PDPT	0xd000
#define PD		0xe000

FIXTURE(kvmi_pf_pdptes) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_pf_pdptes)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;
	u64 pdpte = PD | 1, pde = 0xe7;

	if (!host_cpu_is_intel)
		SKIP(return, "The processor loads PDPTEs when it walks");

	kvmi_guest_create(g, KVMI_GUEST_PROT);
	memcpy(g->start.mem + PDPT, &pdpte, sizeof(pdpte));
	memcpy(g->start.mem + OTHER_PDPT, &pdpte, sizeof(pdpte));
	memcpy(g->start.mem + PD, &pde, sizeof(pde));
	g->start.sregs.cr3 = PDPT;
	g->start.sregs.cr4 |= X86_CR4_PAE;
	g->start.regs.rax = OTHER_PDPT;
	/* MOV CR3, EAX */
	kvmi_guest_code(g, "\x0f\x22\xd8");
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	kvmi_hook(&g->s, g->vm);
	kvmi_get_features(&g->s, &features);
	if (!(features.flags & KVMI_FEATURE_EXEC_ONLY))
		SKIP(return, "The right to read cannot be taken away");
}

FIXTURE_TEARDOWN(kvmi_pf_pdptes)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_pf_pdptes, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, OTHER_PDPT, KVMI_PAGE_ACCESS_X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev.pf.gpa & ~0xfffull, OTHER_PDPT);
	TEST_ASSERT_EQ(ev.pf.gva, ~0ull);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_R);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_pf_pdptes, skip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_restrict(g, OTHER_PDPT, KVMI_PAGE_ACCESS_X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

/* Code that the view shows in place of the guest's own, and walks that are refused */
FIXTURE(kvmi_pf_shown) {
	struct kvmi_guest g;
	int levels;
};

FIXTURE_SETUP(kvmi_pf_shown)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(&self->g, KVMI_GUEST_LONG);
	self->levels = 4;
}

FIXTURE_TEARDOWN(kvmi_pf_shown)
{
	kvmi_guest_free(&self->g);
}

/* What is shown, and the page that it is in */
#define CPUID		"\x0f\xa2"
#define SHOWN		0xd000

/* What KVM decodes is what the processor executes: it accesses no memory. */
KVMI_TEST(kvmi_pf_shown, code)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_guest *g = &self->g;
	u8 left = R | X;
	int i;

	kvmi_guest_code(g, CPUID);
	memcpy(g->start.mem + SHOWN, g->start.mem + KVMI_GUEST_CODE, PAGE);
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	/* The guest's own is UD2. */
	g->start.mem[KVMI_GUEST_CODE + 1] = 0x0b;
	g->normal.mem[KVMI_GUEST_CODE + 1] = 0x0b;
	kvmi_guest_reset(g);

	kvmi_hook(&g->s, g->vm);
	if (host_cpu_is_intel) {
		kvmi_get_features(&g->s, &features);
		if (!(features.flags & KVMI_FEATURE_EXEC_ONLY))
			SKIP(return, "EPT completes walks");
		left = X;
	}
	for (i = 0; i < self->levels; i++)
		kvmi_guest_restrict(g, KVMI_GUEST_PAGE_TABLES + i * PAGE, left);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, KVMI_GUEST_CODE, SHOWN), 0);
	begin(g);
	kvmi_guest_stop_normally(g);
}

/*
 * In a page table the code is another one as soon as the walk is granted, so that is
 * asked about.
 */
KVMI_TEST(kvmi_pf_shown, code_in_page_table)
{
	u64 code = KVMI_GUEST_PAGE_TABLES + PAGE / 2;
	struct kvmi_guest *g = &self->g;
	u8 *mem = g->start.mem;
	struct kvmi_event ev;

	if (host_cpu_is_intel)
		SKIP(return, "The (emulated) processor sets flags where it may not write");

	g->start.regs.rip = code;
	kvmi_guest_code(g, WRITE_BYTE);
	memcpy(mem + code, mem + KVMI_GUEST_CODE, 16);
	g->end = code + sizeof(WRITE_BYTE) - 1;
	memcpy(mem + SHOWN, mem + KVMI_GUEST_PAGE_TABLES, PAGE);
	memcpy(mem + SHOWN + PAGE / 2, CPUID, sizeof(CPUID) - 1);
	/* There is a flag to be set, if that makes a difference. */
	mem[SHOWN] &= ~ACCESSED;
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);

	kvmi_hook(&g->s, g->vm);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, KVMI_GUEST_PAGE_TABLES, SHOWN),
			 0);
	begin(g);
	wait_pf(g, &ev, W, KVMI_GUEST_PAGE_TABLES);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, code);
	TEST_ASSERT(!memcmp(addr_gpa2hva(g->vm, KVMI_GUEST_DATA),
			    mem + KVMI_GUEST_DATA, PAGE), "Written");

	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, 0, KVMI_GUEST_PAGE_TABLES,
					 KVMI_GUEST_PAGE_TABLES), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
