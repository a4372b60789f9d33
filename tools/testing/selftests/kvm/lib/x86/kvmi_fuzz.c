// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random messages of KVM introspection, and what is due to them
 *
 * A command that the kernel learns gets a line in commands[]; an event one in
 * events[].  The test fails if there is none.
 */
#include "kvmi_fuzz.h"

/* What a field of a request is likely to hold */
enum kind {
	PAD,
	NUMBER,
	BOOL,
	VCPU,
	COMMAND,
	EVENT,
	EVENTS,
	GPA,
	GVA,
	SIZE,
	FLAGS,
	AS_ID,
	MSR,
	CR,
	LEAF,
	VECTOR,
	OFFSET,
	NR_MSRS,
	NR_PAGES,
	PAGES,
	GFN,
	VIEW,
	ACCESS,
};

/* What follows the fields */
enum tail {
	NO_TAIL,
	MEMORY,
	MSRS,
	REGISTERS,
	XSAVE,
	XSAVE_PART,
	PAGE_ACCESS,
	GPAS,
	RULES,
};

struct field {
	u8 kind;
	u8 size;
	u16 offset;
};

struct command {
	u16 id;
	bool always_allowed;
	/* Needs permission for an event, or of somebody else. */
	bool asks;
	/* Used once in that many times */
	u16 rare;
	u8 tail;
	/* Bytes of the request's fields, and of a successful answer's data */
	u16 size;
	u16 answer, answer_max;
	struct field fields[6];
	/* Of the answer */
	struct field pads[2];
};

#define SIZE_OF(type, ...)	sizeof(((type *)NULL)->__VA_ARGS__)
#define F(kind, ...)							\
	{ kind, SIZE_OF(__VA_ARGS__), offsetof(__VA_ARGS__) }
#define REQUEST(of)	.size = sizeof(struct of)
#define ANSWER(of)	.answer = sizeof(struct of)

#define IS_VCPU(id)	((id) & 1)

static const struct command commands[] = {
	{ KVMI_GET_VERSION, .always_allowed = true,
	  ANSWER(kvmi_get_version_reply),
	  .pads = { F(PAD, struct kvmi_get_version_reply, features.padding) } },
	{ KVMI_VM_CHECK_COMMAND, .always_allowed = true, .asks = true,
	  REQUEST(kvmi_vm_check_command),
	  .fields = { F(COMMAND, struct kvmi_vm_check_command, id),
		      F(PAD, struct kvmi_vm_check_command, padding1),
		      F(PAD, struct kvmi_vm_check_command, padding2) } },
	{ KVMI_VM_CHECK_EVENT, .always_allowed = true, .asks = true,
	  REQUEST(kvmi_vm_check_event),
	  .fields = { F(EVENT, struct kvmi_vm_check_event, id),
		      F(PAD, struct kvmi_vm_check_event, padding1),
		      F(PAD, struct kvmi_vm_check_event, padding2) } },
	{ KVMI_VM_GET_INFO, ANSWER(kvmi_vm_get_info_reply),
	  .pads = { F(PAD, struct kvmi_vm_get_info_reply, padding) } },
	{ KVMI_VM_CONTROL_EVENTS, .asks = true,
	  REQUEST(kvmi_vm_control_events),
	  .fields = { F(EVENT, struct kvmi_vm_control_events, event_id),
		      F(BOOL, struct kvmi_vm_control_events, enable),
		      F(PAD, struct kvmi_vm_control_events, padding1),
		      F(PAD, struct kvmi_vm_control_events, padding2) } },
	{ KVMI_VM_READ_PHYSICAL, REQUEST(kvmi_vm_read_physical),
	  .fields = { F(GPA, struct kvmi_vm_read_physical, gpa),
		      F(SIZE, struct kvmi_vm_read_physical, size),
		      F(FLAGS, struct kvmi_vm_read_physical, flags),
		      F(AS_ID, struct kvmi_vm_read_physical, as_id),
		      F(PAD, struct kvmi_vm_read_physical, padding) } },
	{ KVMI_VM_WRITE_PHYSICAL, .tail = MEMORY,
	  REQUEST(kvmi_vm_write_physical),
	  .fields = { F(GPA, struct kvmi_vm_write_physical, gpa),
		      F(SIZE, struct kvmi_vm_write_physical, size),
		      F(FLAGS, struct kvmi_vm_write_physical, flags),
		      F(AS_ID, struct kvmi_vm_write_physical, as_id),
		      F(PAD, struct kvmi_vm_write_physical, padding) } },
	{ KVMI_VM_PAUSE_VCPU, .asks = true, .rare = 3,
	  REQUEST(kvmi_vm_pause_vcpu),
	  .fields = { F(VCPU, struct kvmi_vm_pause_vcpu, vcpu),
		      F(BOOL, struct kvmi_vm_pause_vcpu, wait),
		      F(PAD, struct kvmi_vm_pause_vcpu, padding1),
		      F(PAD, struct kvmi_vm_pause_vcpu, padding2) } },
	{ KVMI_VM_CONTROL_CLEANUP, REQUEST(kvmi_vm_control_cleanup),
	  .fields = { F(BOOL, struct kvmi_vm_control_cleanup, enable),
		      F(PAD, struct kvmi_vm_control_cleanup, padding) } },
	{ KVMI_VM_SET_PAGE_ACCESS, .tail = PAGE_ACCESS,
	  REQUEST(kvmi_vm_set_page_access),
	  .fields = { F(NR_PAGES, struct kvmi_vm_set_page_access, count),
		      F(VIEW, struct kvmi_vm_set_page_access, view),
		      F(AS_ID, struct kvmi_vm_set_page_access, as_id),
		      F(PAD, struct kvmi_vm_set_page_access, padding) } },
	{ KVMI_VM_GET_FEATURES, ANSWER(kvmi_vm_get_features_reply) },
	{ KVMI_VM_GET_MAX_GFN, ANSWER(kvmi_vm_get_max_gfn_reply) },
	{ KVMI_VM_GET_MEMSLOTS, REQUEST(kvmi_vm_get_memslots),
	  .answer = sizeof(struct kvmi_vm_get_memslots_reply),
	  .answer_max = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code),
	  .fields = { F(AS_ID, struct kvmi_vm_get_memslots, as_id),
		      F(NUMBER, struct kvmi_vm_get_memslots, start),
		      F(PAD, struct kvmi_vm_get_memslots, padding) } },
	{ KVMI_VM_GET_PAGE_ACCESS, .tail = GPAS,
	  REQUEST(kvmi_vm_get_page_access),
	  .fields = { F(NR_PAGES, struct kvmi_vm_get_page_access, count),
		      F(VIEW, struct kvmi_vm_get_page_access, view),
		      F(AS_ID, struct kvmi_vm_get_page_access, as_id),
		      F(PAD, struct kvmi_vm_get_page_access, padding) } },
	{ KVMI_VM_PAUSE_ALL, .asks = true, .rare = 6,
	  REQUEST(kvmi_vm_pause_all), ANSWER(kvmi_vm_pause_all_reply),
	  .fields = { F(BOOL, struct kvmi_vm_pause_all, wait),
		      F(PAD, struct kvmi_vm_pause_all, padding) },
	  .pads = { F(PAD, struct kvmi_vm_pause_all_reply, padding) } },
	{ KVMI_VM_SHUTDOWN, .rare = 200 },
	{ KVMI_VM_CREATE_VIEW, REQUEST(kvmi_vm_create_view),
	  ANSWER(kvmi_vm_create_view_reply),
	  .fields = { F(VIEW, struct kvmi_vm_create_view, copy_of),
		      F(PAD, struct kvmi_vm_create_view, padding) },
	  .pads = { F(PAD, struct kvmi_vm_create_view_reply, padding) } },
	{ KVMI_VM_DESTROY_VIEW, REQUEST(kvmi_vm_destroy_view),
	  .fields = { F(VIEW, struct kvmi_vm_destroy_view, view),
		      F(PAD, struct kvmi_vm_destroy_view, padding) } },
	{ KVMI_VM_CHANGE_GFN, REQUEST(kvmi_vm_change_gfn),
	  .fields = { F(VIEW, struct kvmi_vm_change_gfn, view),
		      F(AS_ID, struct kvmi_vm_change_gfn, as_id),
		      F(PAD, struct kvmi_vm_change_gfn, padding),
		      F(GFN, struct kvmi_vm_change_gfn, gfn),
		      F(GFN, struct kvmi_vm_change_gfn, new_gfn) } },
	{ KVMI_VM_SET_RULES, .asks = true, .tail = RULES,
	  REQUEST(kvmi_vm_set_rules),
	  .fields = { F(EVENT, struct kvmi_vm_set_rules, event),
		      F(NR_MSRS, struct kvmi_vm_set_rules, count),
		      F(PAD, struct kvmi_vm_set_rules, padding) } },
	{ KVMI_VM_GET_RULES, .asks = true, REQUEST(kvmi_vm_get_rules),
	  .answer = sizeof(struct kvmi_vm_get_rules_reply),
	  .answer_max = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code),
	  .fields = { F(EVENT, struct kvmi_vm_get_rules, event),
		      F(BOOL, struct kvmi_vm_get_rules, reset),
		      F(PAD, struct kvmi_vm_get_rules, padding1),
		      F(PAD, struct kvmi_vm_get_rules, padding2) },
	  .pads = { F(PAD, struct kvmi_vm_get_rules_reply, padding) } },
	{ KVMI_VM_LIST_PAGE_ACCESS, REQUEST(kvmi_vm_list_page_access),
	  .answer = sizeof(struct kvmi_vm_list_page_access_reply),
	  .answer_max = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code),
	  .fields = { F(VIEW, struct kvmi_vm_list_page_access, view),
		      F(AS_ID, struct kvmi_vm_list_page_access, as_id),
		      F(PAD, struct kvmi_vm_list_page_access, padding),
		      F(GPA, struct kvmi_vm_list_page_access, start) },
	  .pads = { F(PAD, struct kvmi_vm_list_page_access_reply, padding) } },
	{ KVMI_VM_LIST_CHANGED_GFNS, REQUEST(kvmi_vm_list_changed_gfns),
	  .answer = sizeof(struct kvmi_vm_list_changed_gfns_reply),
	  .answer_max = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code),
	  .fields = { F(VIEW, struct kvmi_vm_list_changed_gfns, view),
		      F(AS_ID, struct kvmi_vm_list_changed_gfns, as_id),
		      F(PAD, struct kvmi_vm_list_changed_gfns, padding),
		      F(GFN, struct kvmi_vm_list_changed_gfns, start) },
	  .pads = { F(PAD, struct kvmi_vm_list_changed_gfns_reply, padding) } },
	{ KVMI_VM_LIST_VIEWS,
	  .answer = sizeof(struct kvmi_vm_list_views_reply),
	  .answer_max = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code),
	  .pads = { F(PAD, struct kvmi_vm_list_views_reply, padding) } },
	{ KVMI_VM_GET_VCPUS, REQUEST(kvmi_vm_get_vcpus),
	  .answer = sizeof(struct kvmi_vm_get_vcpus_reply),
	  .answer_max = KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code),
	  .fields = { F(NUMBER, struct kvmi_vm_get_vcpus, start),
		      F(PAD, struct kvmi_vm_get_vcpus, padding) },
	  .pads = { F(PAD, struct kvmi_vm_get_vcpus_reply, padding),
		    F(PAD, struct kvmi_vm_get_vcpus_reply, padding2) } },
	{ KVMI_VCPU_GET_INFO, ANSWER(kvmi_vcpu_get_info_reply) },
	{ KVMI_VCPU_CONTROL_EVENTS, .asks = true,
	  REQUEST(kvmi_vcpu_control_events),
	  .fields = { F(EVENT, struct kvmi_vcpu_control_events, event_id),
		      F(BOOL, struct kvmi_vcpu_control_events, enable),
		      F(PAD, struct kvmi_vcpu_control_events, padding1),
		      F(PAD, struct kvmi_vcpu_control_events, padding2) } },
	{ KVMI_VCPU_GET_REGISTERS, .tail = MSRS,
	  REQUEST(kvmi_vcpu_get_registers),
	  .fields = { F(NR_MSRS, struct kvmi_vcpu_get_registers, nmsrs),
		      F(PAD, struct kvmi_vcpu_get_registers, padding1),
		      F(PAD, struct kvmi_vcpu_get_registers, padding2) },
	  .pads = { F(PAD, struct kvmi_vcpu_get_registers_reply, padding),
		    F(PAD, struct kvmi_vcpu_get_registers_reply, msrs.pad) } },
	{ KVMI_VCPU_SET_REGISTERS, .tail = REGISTERS },
	{ KVMI_VCPU_GET_CPUID, REQUEST(kvmi_vcpu_get_cpuid),
	  ANSWER(kvmi_vcpu_get_cpuid_reply),
	  .fields = { F(LEAF, struct kvmi_vcpu_get_cpuid, function),
		      F(NUMBER, struct kvmi_vcpu_get_cpuid, index) } },
	{ KVMI_VCPU_CONTROL_CR, REQUEST(kvmi_vcpu_control_cr),
	  .fields = { F(CR, struct kvmi_vcpu_control_cr, cr),
		      F(BOOL, struct kvmi_vcpu_control_cr, enable),
		      F(BOOL, struct kvmi_vcpu_control_cr, flags),
		      F(PAD, struct kvmi_vcpu_control_cr, padding1),
		      F(PAD, struct kvmi_vcpu_control_cr, padding2) } },
	{ KVMI_VCPU_INJECT_EXCEPTION, .asks = true,
	  REQUEST(kvmi_vcpu_inject_exception),
	  .fields = { F(VECTOR, struct kvmi_vcpu_inject_exception, nr),
		      F(PAD, struct kvmi_vcpu_inject_exception, padding1),
		      F(PAD, struct kvmi_vcpu_inject_exception, padding2),
		      F(NUMBER, struct kvmi_vcpu_inject_exception, error_code),
		      F(GVA, struct kvmi_vcpu_inject_exception, address) } },
	{ KVMI_VCPU_GET_XCR, REQUEST(kvmi_vcpu_get_xcr),
	  ANSWER(kvmi_vcpu_get_xcr_reply),
	  .fields = { F(BOOL, struct kvmi_vcpu_get_xcr, xcr),
		      F(PAD, struct kvmi_vcpu_get_xcr, padding) } },
	{ KVMI_VCPU_GET_XSAVE, .answer = KVMI_XSAVE_SIZE },
	{ KVMI_VCPU_SET_XSAVE, .tail = XSAVE },
	{ KVMI_VCPU_GET_MTRR_TYPE, REQUEST(kvmi_vcpu_get_mtrr_type),
	  ANSWER(kvmi_vcpu_get_mtrr_type_reply),
	  .fields = { F(GPA, struct kvmi_vcpu_get_mtrr_type, gpa) },
	  .pads = { F(PAD, struct kvmi_vcpu_get_mtrr_type_reply, padding) } },
	{ KVMI_VCPU_CONTROL_MSR, .asks = true, REQUEST(kvmi_vcpu_control_msr),
	  .fields = { F(BOOL, struct kvmi_vcpu_control_msr, enable),
		      F(BOOL, struct kvmi_vcpu_control_msr, flags),
		      F(PAD, struct kvmi_vcpu_control_msr, padding),
		      F(MSR, struct kvmi_vcpu_control_msr, msr) } },
	/* Little gets done while it is on. */
	{ KVMI_VCPU_CONTROL_SINGLESTEP, .asks = true, .rare = 10,
	  REQUEST(kvmi_vcpu_control_singlestep),
	  .fields = { F(BOOL, struct kvmi_vcpu_control_singlestep, enable),
		      F(PAD, struct kvmi_vcpu_control_singlestep, padding) } },
	{ KVMI_VCPU_TRANSLATE_GVA, REQUEST(kvmi_vcpu_translate_gva),
	  ANSWER(kvmi_vcpu_translate_gva_reply),
	  .fields = { F(GVA, struct kvmi_vcpu_translate_gva, gva) } },
	{ KVMI_VCPU_SET_VIEW, REQUEST(kvmi_vcpu_set_view),
	  .fields = { F(VIEW, struct kvmi_vcpu_set_view, view),
		      F(PAD, struct kvmi_vcpu_set_view, padding) } },
	{ KVMI_VCPU_GET_VIEW, ANSWER(kvmi_vcpu_get_view_reply),
	  .pads = { F(PAD, struct kvmi_vcpu_get_view_reply, padding) } },
	{ KVMI_VCPU_CONTROL_EVENT_SET, .asks = true,
	  REQUEST(kvmi_vcpu_control_event_set),
	  ANSWER(kvmi_vcpu_control_event_set_reply),
	  .fields = { F(EVENTS, struct kvmi_vcpu_control_event_set, enable),
		      F(EVENTS, struct kvmi_vcpu_control_event_set, disable) } },
	{ KVMI_VCPU_GET_XSAVE2, REQUEST(kvmi_vcpu_get_xsave2),
	  .answer = sizeof(struct kvmi_vcpu_get_xsave2_reply) + 1,
	  .fields = { F(OFFSET, struct kvmi_vcpu_get_xsave2, offset),
		      F(SIZE, struct kvmi_vcpu_get_xsave2, size) },
	  .pads = { F(PAD, struct kvmi_vcpu_get_xsave2_reply, padding) } },
	{ KVMI_VCPU_SET_XSAVE2, .tail = XSAVE_PART,
	  REQUEST(kvmi_vcpu_set_xsave2),
	  .fields = { F(OFFSET, struct kvmi_vcpu_set_xsave2, offset),
		      F(PAD, struct kvmi_vcpu_set_xsave2, padding) } },
	{ KVMI_VCPU_GET_CONTROL, ANSWER(kvmi_vcpu_get_control_reply),
	  .pads = { F(PAD, struct kvmi_vcpu_get_control_reply, padding) } },
	{ KVMI_VCPU_GET_DEBUGREGS, ANSWER(kvmi_vcpu_debugregs) },
	{ KVMI_VCPU_SET_DEBUGREGS, REQUEST(kvmi_vcpu_debugregs),
	  .fields = { F(GVA, struct kvmi_vcpu_debugregs, dr[0]),
		      F(GVA, struct kvmi_vcpu_debugregs, dr[3]),
		      F(NUMBER, struct kvmi_vcpu_debugregs, dr6),
		      F(NUMBER, struct kvmi_vcpu_debugregs, dr7) } },
};

#define ACTION(a)	BIT(KVMI_EVENT_ACTION_##a)
#define ALL_ACTIONS	(ACTION(ALLOW) | ACTION(RETRY) | ACTION(CRASH) | ACTION(SKIP))

struct event {
	u16 id;
	u8 actions;
	u8 reply;
};

static const struct event events[] = {
	{ KVMI_VCPU_EVENT_PAUSE, ACTION(ALLOW) | ACTION(CRASH) },
	{ KVMI_VCPU_EVENT_HYPERCALL, ALL_ACTIONS },
	{ KVMI_VCPU_EVENT_BREAKPOINT, ALL_ACTIONS },
	{ KVMI_VCPU_EVENT_CR, ALL_ACTIONS,
	  sizeof(struct kvmi_vcpu_event_cr_reply) },
	/* RETRY depends on the exception. */
	{ KVMI_VCPU_EVENT_TRAP, ACTION(ALLOW) | ACTION(CRASH) },
	{ KVMI_VCPU_EVENT_XSETBV, ALL_ACTIONS },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, ALL_ACTIONS },
	{ KVMI_VCPU_EVENT_MSR, ALL_ACTIONS,
	  sizeof(struct kvmi_vcpu_event_msr_reply) },
	{ KVMI_VCPU_EVENT_PF, ALL_ACTIONS,
	  sizeof(struct kvmi_vcpu_event_pf_reply) },
	{ KVMI_VCPU_EVENT_SINGLESTEP, ACTION(ALLOW) | ACTION(CRASH) },
	{ KVMI_VCPU_EVENT_CPUID, ALL_ACTIONS },
	/* SKIP is for writes. */
	{ KVMI_VCPU_EVENT_ACCESS, ACTION(ALLOW) | ACTION(RETRY) | ACTION(CRASH),
	  sizeof(struct kvmi_vcpu_event_access_reply) },
	{ KVMI_VCPU_EVENT_CREATE_VCPU, ACTION(ALLOW) | ACTION(CRASH) },
};

static const u32 msrs[] = {
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_EFER, MSR_IA32_CR_PAT, MSR_IA32_TSC, MSR_IA32_APICBASE,
};

/* Random bytes, made once as many are needed */
static u8 pool[2 * KVMI_MAX_MSG_SIZE];

void fuzz_init(struct kvm_random_state *r)
{
	size_t i;

	for (i = 0; i < sizeof(pool); i++)
		pool[i] = kvm_random_u32(r) >> 8;
}

static const u8 *random_bytes(struct kvm_random_state *r)
{
	return pool + fuzz_below(r, KVMI_MAX_MSG_SIZE);
}

static const struct command *find_command(u16 id)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].id == id)
			return &commands[i];
	}
	return NULL;
}

static const struct event *find_event(u16 id)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		if (events[i].id == id)
			return &events[i];
	}
	TEST_FAIL("Event %u is not in the table", id);
	return NULL;
}

static u64 random_number(struct kvm_random_state *r)
{
	switch (fuzz_below(r, 6)) {
	case 0:
		return fuzz_below(r, 8);
	case 1:
		return BIT_ULL(fuzz_below(r, 64));
	case 2:
		return ~0ull - fuzz_below(r, 8);
	case 3:
		return kvm_random_u64(r);
	default:
		return kvm_random_u32(r);
	}
}

static u64 random_event(struct kvm_random_state *r)
{
	if (fuzz_one_in(r, 8))
		return random_number(r);
	return events[fuzz_below(r, ARRAY_SIZE(events))].id;
}

static u64 random_gpa(struct kvm_random_state *r, const struct fuzz_guest *g)
{
	switch (fuzz_below(r, 64)) {
	case 0:
		return fuzz_below(r, g->memory_size);
	case 1 ... 3:
		return random_number(r);
	case 4 ... 7:
		/* About the end */
		return g->gpa + g->gpa_size - 16 + fuzz_below(r, 32);
	default:
		return g->gpa + fuzz_below(r, g->gpa_size);
	}
}

static u64 random_page(struct kvm_random_state *r, const struct fuzz_guest *g)
{
	switch (fuzz_below(r, 8)) {
	case 0:
		return fuzz_below(r, g->memory_size);
	case 1 ... 2:
		return random_gpa(r, g);
	default:
		return g->used[fuzz_below(r, ARRAY_SIZE(g->used))];
	}
}

static u64 random_field(struct kvm_random_state *r, enum kind kind,
			const struct fuzz_guest *g)
{
	/* Now and then anything may hold anything. */
	if (fuzz_one_in(r, 48))
		return random_number(r);

	switch (kind) {
	case PAD:
		return 0;
	case BOOL:
	case AS_ID:
		return fuzz_below(r, 2);
	case VCPU:
		return fuzz_below(r, g->nr_vcpus + fuzz_one_in(r, 16));
	case COMMAND:
		return fuzz_below(r, KVMI_NUM_COMMANDS + 8);
	case EVENT:
		return random_event(r);
	case EVENTS:
		return fuzz_one_in(r, 4) ? 0 : BIT_ULL(random_event(r) % 64);
	case GPA:
		return random_gpa(r, g);
	case GVA:
		return fuzz_one_in(r, 2) ? g->regs.rip : random_number(r);
	case SIZE:
		return fuzz_one_in(r, 8) ? fuzz_below(r, KVMI_MAX_MSG_SIZE) :
					   1u << fuzz_below(r, 7);
	case FLAGS:
		return fuzz_below(r, 4);
	case MSR:
		return msrs[fuzz_below(r, ARRAY_SIZE(msrs))];
	case CR:
		return fuzz_below(r, 5);
	case LEAF:
		return fuzz_below(r, 0x20) | (fuzz_one_in(r, 2) ? BIT(31) : 0);
	case VECTOR:
		return fuzz_below(r, 33);
	case OFFSET:
		return fuzz_below(r, 1024);
	case NR_MSRS:
		return fuzz_one_in(r, 32) ? fuzz_below(r, 500) : fuzz_below(r, 4);
	case NR_PAGES:
		return fuzz_one_in(r, 32) ? fuzz_below(r, 500) : fuzz_below(r, 4);
	case PAGES:
		return fuzz_one_in(r, 16) ? fuzz_below(r, 1024) : fuzz_below(r, 4);
	case GFN:
		return random_page(r, g) / getpagesize();
	case VIEW:
		/* The one there always is, or any */
		return fuzz_one_in(r, 2) ? 0 : fuzz_below(r, 8);
	case ACCESS:
		/* As it may be everywhere, but for some */
		return fuzz_one_in(r, 16) ? fuzz_below(r, 33) :
		       KVMI_PAGE_ACCESS_R | (fuzz_below(r, 4) << 1);
	default:
		return random_number(r);
	}
}

static u16 get_u16(const void *p)
{
	u16 val;

	memcpy(&val, p, sizeof(val));
	return val;
}

void fuzz_registers(struct kvm_random_state *r, struct kvm_regs *regs)
{
	__u64 *gprs[] = {
		&regs->rax, &regs->rbx, &regs->rcx, &regs->rdx, &regs->rsi,
		&regs->rdi, &regs->rbp, &regs->r8, &regs->r9, &regs->r10,
		&regs->r11, &regs->r12, &regs->r13, &regs->r14, &regs->r15,
	};

	*gprs[fuzz_below(r, ARRAY_SIZE(gprs))] = random_number(r);
	switch (fuzz_below(r, 64)) {
	case 0:
		regs->rip = random_number(r);
		break;
	case 1:
		regs->rsp = random_number(r);
		break;
	case 2:
		regs->rflags = random_number(r);
		break;
	}
}

static size_t make_page_access(struct kvm_random_state *r,
			       const struct fuzz_guest *g, u16 count, u8 *p)
{
	struct kvmi_page_access_entry entry = { };
	size_t size = 0;

	for (count = min(count, 500); count; count--) {
		entry.gpa = random_page(r, g);
		entry.access = random_field(r, ACCESS, g);
		entry.npages = random_field(r, PAGES, g);
		memcpy(p + size, &entry, sizeof(entry));
		size += sizeof(entry);
	}
	return size;
}

static size_t make_gpas(struct kvm_random_state *r, const struct fuzz_guest *g,
			u16 count, u8 *p)
{
	size_t size = 0;
	u64 gpa;

	for (count = min(count, 1000); count; count--) {
		gpa = random_page(r, g);
		memcpy(p + size, &gpa, sizeof(gpa));
		size += sizeof(gpa);
	}
	return size;
}

/* Few conditions, which are met at times, and mostly such as the event has */
static struct kvmi_rule random_rule(struct kvm_random_state *r,
				    const struct fuzz_guest *g)
{
	struct kvmi_rule rule = { .verdict = fuzz_below(r, 6) };

	/* The guest is to go on. */
	if (rule.verdict == KVMI_RULE_CRASH && !fuzz_one_in(r, 100))
		rule.verdict = KVMI_RULE_ASK;

	if (fuzz_one_in(r, 2))
		rule.match = 1u << fuzz_below(r, 9);
	if (fuzz_one_in(r, 4))
		rule.match |= 1u << fuzz_below(r, 10);

	if (rule.match & KVMI_MATCH_CPL)
		rule.cpls = fuzz_below(r, 17);
	if (rule.match & KVMI_MATCH_VCPU)
		rule.vcpu = fuzz_below(r, g->nr_vcpus + 1);
	if (rule.match & KVMI_MATCH_VIEW)
		rule.view = random_field(r, VIEW, g);
	if (rule.match & KVMI_MATCH_CR3)
		rule.cr3_mask = random_number(r);
	if (rule.match & KVMI_MATCH_RIP) {
		rule.rip_first = fuzz_one_in(r, 2) ? 0 : random_field(r, GVA, g);
		rule.rip_last = fuzz_one_in(r, 2) ? ~0ull : random_field(r, GVA, g);
	}
	if (rule.match & KVMI_MATCH_NUMBER) {
		rule.first = fuzz_one_in(r, 2) ? 0 : random_page(r, g) & ~0xfffull;
		rule.last = fuzz_one_in(r, 2) ? fuzz_below(r, 32) :
						random_page(r, g) | 0xfff;
	}
	if (rule.match & KVMI_MATCH_VALUE) {
		rule.value_mask = random_number(r);
		rule.value = rule.value_mask & random_number(r);
	}
	if (rule.match & KVMI_MATCH_CHANGED)
		rule.changed = random_number(r);
	if (rule.match & KVMI_MATCH_KIND)
		rule.kinds = fuzz_below(r, 8);
	if (fuzz_one_in(r, 100))
		rule.padding = 1;

	return rule;
}

static size_t make_rules(struct kvm_random_state *r, const struct fuzz_guest *g,
			 u16 count, u8 *p)
{
	struct kvmi_rule rule;
	size_t size = 0;

	for (count = min(count, 80); count; count--) {
		rule = random_rule(r, g);
		memcpy(p + size, &rule, sizeof(rule));
		size += sizeof(rule);
	}
	return size;
}

/* Returns the bytes of the tail. */
static size_t make_tail(struct kvm_random_state *r, const struct command *c,
			const struct fuzz_guest *g, const u8 *request, u8 *p)
{
	const struct kvmi_vm_write_physical *write = (const void *)request;
	struct kvm_regs regs = g->regs;
	struct kvmi_mem_cookie cookie = { };
	size_t size = 0, i;
	u32 msr;

	switch (c->tail) {
	case MEMORY:
		size = min(write->size, KVMI_MAX_MSG_SIZE / 4);
		if (write->flags & KVMI_MEM_COMPARE)
			size *= 2;
		if (write->flags & KVMI_MEM_COOKIE)
			size += sizeof(cookie);
		memcpy(p, random_bytes(r), size);
		if (write->flags & KVMI_MEM_COOKIE)
			memcpy(p, &cookie, sizeof(cookie));
		break;
	case MSRS:
		size = min(get_u16(request), 500) * sizeof(msr);
		for (i = 0; i < size; i += sizeof(msr)) {
			msr = random_field(r, MSR, g);
			memcpy(p + i, &msr, sizeof(msr));
		}
		break;
	case REGISTERS:
		fuzz_registers(r, &regs);
		size = sizeof(regs);
		memcpy(p, &regs, size);
		break;
	case XSAVE:
		size = KVMI_XSAVE_SIZE;
		memcpy(p, g->xsave, size);
		/* Mostly vector registers, also MXCSR and the header */
		i = fuzz_one_in(r, 4) ? fuzz_below(r, 640) :
					160 + fuzz_below(r, 256);
		memcpy(p + i, random_bytes(r), 1 + fuzz_below(r, 16));
		break;
	case XSAVE_PART:
		size = 1 + fuzz_below(r, fuzz_one_in(r, 8) ? 4096 : 64);
		memcpy(p, random_bytes(r), size);
		break;
	case PAGE_ACCESS:
		size = make_page_access(r, g, get_u16(request), p);
		break;
	case GPAS:
		size = make_gpas(r, g, get_u16(request), p);
		break;
	case RULES:
		size = make_rules(r, g, get_u16(request + 2), p);
		break;
	}

	return size;
}

static size_t make_request(struct kvm_random_state *r, const struct command *c,
			   const struct fuzz_guest *g, u8 *p)
{
	const struct field *field;
	u64 val;

	memset(p, 0, c->size);
	for (field = c->fields; field < c->fields + ARRAY_SIZE(c->fields); field++) {
		val = field->size ? random_field(r, field->kind, g) : 0;
		memcpy(p + field->offset, &val, min_t(size_t, field->size, sizeof(val)));
	}
	return c->size + make_tail(r, c, g, p, p + c->size);
}

static void make_anything(struct kvm_random_state *r, struct kvmi_msg *msg)
{
	do {
		msg->hdr.id = fuzz_one_in(r, 4) ? kvm_random_u32(r) :
						  fuzz_below(r, 300);
	} while (msg->hdr.id == KVMI_VCPU_EVENT);
	msg->hdr.size = fuzz_below(r, fuzz_one_in(r, 16) ? KVMI_MAX_MSG_SIZE + 1 :
							   64);
	memcpy(msg->data, random_bytes(r), msg->hdr.size);
}

static void mutate(struct kvm_random_state *r, struct kvmi_msg *msg)
{
	u32 i, size = msg->hdr.size;

	switch (fuzz_below(r, 16)) {
	case 0:
		for (i = fuzz_below(r, 4); size && i; i--)
			msg->data[fuzz_below(r, size)] ^= 1u << fuzz_below(r, 8);
		break;
	case 1:
		msg->hdr.size = fuzz_below(r, size + 1);
		break;
	case 2:
		i = fuzz_below(r, min_t(u32, 64, sizeof(msg->data) - size) + 1);
		memcpy(msg->data + size, random_bytes(r), i);
		msg->hdr.size += i;
		break;
	}
}

void fuzz_make_message(struct kvm_random_state *r, const struct fuzz_guest *g,
		       struct kvmi_msg *msg)
{
	struct kvmi_vcpu_hdr hdr = { };
	const struct command *c;
	size_t size = 0;

	if (fuzz_one_in(r, 12)) {
		make_anything(r, msg);
		return;
	}

	do {
		c = &commands[fuzz_below(r, ARRAY_SIZE(commands))];
	} while (c->rare && !fuzz_one_in(r, c->rare));

	if (IS_VCPU(c->id)) {
		hdr.vcpu = random_field(r, VCPU, g);
		hdr.padding1 = random_field(r, PAD, g);
		hdr.padding2 = random_field(r, PAD, g);
		size = sizeof(hdr);
		memcpy(msg->data, &hdr, size);
	}
	size += make_request(r, c, g, msg->data + size);
	msg->hdr.id = c->id;
	msg->hdr.size = size;
	mutate(r, msg);
}

static const u8 crs[] = { 0, 3, 4 };

static const int wishes_of_vcpu = ARRAY_SIZE(events) + ARRAY_SIZE(crs) +
				  ARRAY_SIZE(msrs);

int fuzz_nr_wishes(const struct fuzz_guest *g)
{
	return g->nr_vcpus * wishes_of_vcpu;
}

void fuzz_make_wish(const struct fuzz_guest *g, int nr, struct kvmi_msg *msg)
{
	struct {
		struct kvmi_vcpu_hdr hdr;
		union {
			struct kvmi_vcpu_control_events event;
			struct kvmi_vcpu_control_cr cr;
			struct kvmi_vcpu_control_msr msr;
		};
	} wish = { .hdr.vcpu = nr / wishes_of_vcpu };

	nr %= wishes_of_vcpu;
	if (nr < ARRAY_SIZE(events)) {
		msg->hdr.id = KVMI_VCPU_CONTROL_EVENTS;
		wish.event.event_id = events[nr].id;
		wish.event.enable = 1;
	} else if (nr < ARRAY_SIZE(events) + ARRAY_SIZE(crs)) {
		msg->hdr.id = KVMI_VCPU_CONTROL_CR;
		wish.cr.cr = crs[nr - ARRAY_SIZE(events)];
		wish.cr.enable = 1;
	} else {
		msg->hdr.id = KVMI_VCPU_CONTROL_MSR;
		wish.msr.msr = msrs[nr - ARRAY_SIZE(events) - ARRAY_SIZE(crs)];
		wish.msr.enable = 1;
	}
	msg->hdr.size = sizeof(wish);
	memcpy(msg->data, &wish, sizeof(wish));
}

static u64 random_value(struct kvm_random_state *r, const struct kvmi_event *ev)
{
	/* CR and MSR are alike here. */
	switch (fuzz_below(r, 64)) {
	case 0:
		return random_number(r);
	case 1 ... 16:
		return ev->cr.old_value;
	default:
		return ev->cr.new_value;
	}
}

static void make_reply_data(struct kvm_random_state *r,
			    const struct kvmi_event *ev, u8 *data)
{
	u64 val = random_value(r, ev);

	/* The guest needs the right bytes, as those of its registers. */
	if (ev->ev.event == KVMI_VCPU_EVENT_ACCESS) {
		memcpy(data, ev->access.data, sizeof(ev->access.data));
		return;
	}

	/* Flags */
	if (ev->ev.event == KVMI_VCPU_EVENT_PF)
		val = fuzz_below(r, 2) * KVMI_PF_TRAP_ACCESS;
	memcpy(data, &val, sizeof(val));
}

static void spoil_reply(struct kvm_random_state *r, const struct event *event,
			struct fuzz_reply *reply)
{
	switch (fuzz_below(r, 7)) {
	case 0:
		reply->hdr.seq += 1 + fuzz_below(r, 1000);
		break;
	case 1:
		reply->hdr.size = fuzz_below(r, sizeof(reply->vcpu) +
						sizeof(reply->rpl));
		break;
	case 2:
		reply->hdr.size = sizeof(*reply) - sizeof(reply->hdr) -
				  fuzz_below(r, sizeof(reply->data) - event->reply);
		break;
	case 3:
		reply->rpl.view = 1 + fuzz_below(r, 0xffff);
		break;
	case 4:
		reply->rpl.flags = (KVMI_REPLY_STEP_IN_VIEW << 1) +
				   fuzz_below(r, 0xffff);
		break;
	case 5:
		reply->rpl.event += 1 + fuzz_below(r, 255);
		break;
	default:
		reply->rpl.action = KVMI_EVENT_ACTION_SKIP + 1 + fuzz_below(r, 252);
	}
}

void fuzz_make_reply(struct kvm_random_state *r, const struct kvmi_event *ev,
		     bool good, struct fuzz_reply *reply)
{
	const struct event *event = find_event(ev->ev.event);
	u8 actions = event->actions;
	size_t size = 0;

	if (event->id == KVMI_VCPU_EVENT_TRAP && (ev->trap.flags & KVMI_TRAP_RETRY))
		actions |= ACTION(RETRY);
	if (event->id == KVMI_VCPU_EVENT_ACCESS &&
	    ev->access.access == KVMI_PAGE_ACCESS_W)
		actions |= ACTION(SKIP);

	memset(reply, 0, sizeof(*reply));
	reply->vcpu.vcpu = ev->common.vcpu;
	reply->rpl.event = ev->ev.event;
	do {
		reply->rpl.action = fuzz_one_in(r, 2) ? 0 : fuzz_below(r, 4);
	} while (!(actions & BIT(reply->rpl.action)) ||
		 (reply->rpl.action == KVMI_EVENT_ACTION_CRASH &&
		  !fuzz_one_in(r, 100)));

	if (event->reply && fuzz_one_in(r, 2)) {
		make_reply_data(r, ev, reply->data);
		size = fuzz_one_in(r, 50) ? fuzz_below(r, event->reply) :
					    event->reply;
	}

	reply->hdr.id = KVMI_VCPU_EVENT;
	reply->hdr.size = sizeof(reply->vcpu) + sizeof(reply->rpl) + size;
	reply->hdr.seq = ev->hdr.seq;
	if (!good)
		spoil_reply(r, event, reply);
}

bool fuzz_is_command(u16 id)
{
	return find_command(id);
}

bool fuzz_is_always_allowed(u16 id)
{
	const struct command *c = find_command(id);

	return c && c->always_allowed;
}

bool fuzz_is_vcpu_command(u16 id)
{
	return fuzz_is_command(id) && IS_VCPU(id);
}

bool fuzz_may_be_denied(u16 id)
{
	const struct command *c = find_command(id);

	return c && c->asks;
}

/* The beginning of a request, made up with zeroes */
static void get_request(const struct kvmi_msg *msg, void *request, size_t size)
{
	size_t skip = IS_VCPU(msg->hdr.id) ? sizeof(struct kvmi_vcpu_hdr) : 0;

	memset(request, 0, size);
	if (msg->hdr.size > skip)
		memcpy(request, msg->data + skip,
		       min_t(size_t, size, msg->hdr.size - skip));
}

void fuzz_answer_size(const struct kvmi_msg *msg, u16 *min, u16 *max)
{
	const struct command *c = find_command(msg->hdr.id);
	struct kvmi_vcpu_get_registers registers;
	struct kvmi_vm_get_page_access access;
	struct kvmi_vcpu_get_xsave2 xsave;
	struct kvmi_vm_read_physical read;

	*min = c->answer;
	*max = c->answer_max ?: c->answer;

	switch (c->id) {
	case KVMI_VM_READ_PHYSICAL:
		get_request(msg, &read, sizeof(read));
		*min = read.size;
		if (read.flags & KVMI_MEM_COOKIE)
			*min += sizeof(struct kvmi_mem_cookie);
		*max = *min;
		break;
	case KVMI_VM_GET_PAGE_ACCESS:
		get_request(msg, &access, sizeof(access));
		*min = access.count;
		*max = *min;
		break;
	case KVMI_VCPU_GET_REGISTERS:
		get_request(msg, &registers, sizeof(registers));
		*min = sizeof(struct kvmi_vcpu_get_registers_reply) +
		       registers.nmsrs * sizeof(struct kvm_msr_entry);
		*max = *min;
		break;
	case KVMI_VCPU_GET_XSAVE2:
		get_request(msg, &xsave, sizeof(xsave));
		*max = sizeof(struct kvmi_vcpu_get_xsave2_reply) + xsave.size;
		break;
	}
}

bool fuzz_is_cut(const struct kvmi_msg *msg)
{
	struct kvmi_vm_set_page_access access;
	struct kvmi_vm_write_physical write;
	struct kvmi_vm_set_rules rules;
	size_t size;

	switch (msg->hdr.id) {
	case KVMI_VM_WRITE_PHYSICAL:
		get_request(msg, &write, sizeof(write));
		size = write.size;
		if (write.flags & KVMI_MEM_COMPARE)
			size *= 2;
		if (write.flags & KVMI_MEM_COOKIE)
			size += sizeof(struct kvmi_mem_cookie);
		return msg->hdr.size < sizeof(write) + size;
	case KVMI_VM_SET_PAGE_ACCESS:
		get_request(msg, &access, sizeof(access));
		size = access.count * sizeof(struct kvmi_page_access_entry);
		return msg->hdr.size < sizeof(access) + size;
	case KVMI_VM_SET_RULES:
		get_request(msg, &rules, sizeof(rules));
		size = rules.count * sizeof(struct kvmi_rule);
		return msg->hdr.size < sizeof(rules) + size;
	case KVMI_VM_GET_PAGE_ACCESS:
		/* The two begin alike. */
		get_request(msg, &access, sizeof(access));
		return msg->hdr.size < sizeof(access) + access.count * sizeof(u64);
	default:
		return false;
	}
}

bool fuzz_spoils_guest(const struct kvmi_msg *msg, const struct fuzz_guest *g)
{
	struct kvmi_vm_write_physical write;

	switch (msg->hdr.id) {
	case KVMI_VM_WRITE_PHYSICAL:
		get_request(msg, &write, sizeof(write));
		return write.gpa < g->memory_size;
	case KVMI_VM_SET_PAGE_ACCESS:
	case KVMI_VM_CHANGE_GFN:
	case KVMI_VM_SET_RULES:
		/* An instruction may be skipped, or be another. */
		return true;
	default:
		return false;
	}
}

void fuzz_check_padding(u16 id, const void *data, size_t size)
{
	const struct command *c = find_command(id);
	const struct field *pad;
	u32 i;

	if (!c)
		return;
	for (pad = c->pads; pad < c->pads + ARRAY_SIZE(c->pads); pad++) {
		for (i = pad->offset; i < pad->offset + pad->size && i < size; i++)
			TEST_ASSERT(!((const u8 *)data)[i],
				    "Byte %u of the answer to %u is not zero",
				    i, id);
	}
}

bool fuzz_error_known(int err)
{
	static const int known[] = {
		0, -KVM_EPERM, -KVM_ENOENT, -KVM_EAGAIN, -KVM_ENOMEM,
		-KVM_EBUSY, -KVM_EINVAL, -KVM_EOPNOTSUPP, -KVM_ENOSYS,
		-KVM_E2BIG,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (err == known[i])
			return true;
	}
	return false;
}
