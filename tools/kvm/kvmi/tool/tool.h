/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TOOL_H
#define KVMI_TOOL_H

#include <getopt.h>
#include <stdio.h>
#include <kint/libkint.h>

enum { EXIT_OK, EXIT_ERROR, EXIT_USAGE };

#define MAX_VCPUS	65536	/* their index has 16 bits */

struct vcpu_set {
	unsigned char bits[MAX_VCPUS / 8];
};

static inline bool vcpu_set_has(const struct vcpu_set *set, uint16_t vcpu)
{
	return set->bits[vcpu / 8] & 1 << vcpu % 8;
}

static inline void vcpu_set_put(struct vcpu_set *set, uint16_t vcpu, bool value)
{
	set->bits[vcpu / 8] = (set->bits[vcpu / 8] & ~(1 << vcpu % 8)) | value << vcpu % 8;
}

/* What the options common to all commands say, and the session */
struct tool {
	const char *command;		/* name of the subcommand */
	const char *address;		/* --listen */
	unsigned char *cookie;		/* --cookie */
	size_t cookie_size;
	int timeout_ms;			/* --timeout */
	int wait_ms;			/* --wait */
	bool once;			/* --once */
	int signal_fd;			/* readable once it is to leave, see signals.c */
	struct kint_listen_options listen;	/* --socket-mode, --socket-group, --peer */

	struct kint_listener *listener;
	struct kint_conn *conn;
	unsigned int vcpus;
	struct vcpu_set left_open;	/* an event of them is, see pass_by() */
	const char *doing;		/* what an error is about, for monitor.c */
	int64_t start_ns;		/* of the session, for time stamps */
	const char *told_doing;		/* the last failure to begin one */
	int told_err;
};

/* For printf, which has no format of its own for the 64-bit types */
static inline unsigned long long ull(uint64_t value)
{
	return value;
}

/* options.c: getopt values above any letter */
enum {
	OPT_LISTEN = 256, OPT_COOKIE, OPT_TIMEOUT, OPT_WAIT, OPT_SOCKET_MODE, OPT_SOCKET_GROUP,
	OPT_PEER, OPT_ONCE, OPT_RATE, OPT_PROCESS,
	OPT_SYMBOLS
};

void error(const char *format, ...) __attribute__((format(printf, 1, 2)));
int next_option(struct tool *tool, int argc, char **argv, const struct option *own);
bool no_arguments(const struct tool *tool, int argc, char **argv);
bool parse_number(const char *text, uint64_t *value);
bool parse_count(const char *text, uint64_t *count);
bool parse_size(const char *text, uint64_t *value);
bool parse_seconds(const char *text, int *ms);
bool parse_bytes(const char *text, unsigned char *bytes, size_t max, size_t *size, bool *is_text);
bool parse_vcpu(const char *text, int *vcpu);

/* signals.c */
int signals_init(void);
void leave_soon(void);
bool asked_to_leave(void);

/* streams.c */
bool streams_init(int fd);
void streams_live(bool json, bool guards);
bool streams_end(void);

/* rate.c: how many lines of events there may be, and what has none */
struct untold {
	unsigned long long count, told;
	int64_t time;
};

/* Is there more to tell than the last time, and not just now unless @now?  Then tell it. */
bool untold_due(struct untold *u, bool now);
void untold_begin(struct untold *u);

#define GUARDS_RATE 10		/* of what runs for long, with nobody looking */

void rate_init(unsigned int lines);
bool parse_rate(const char *text);
void rate_begin(void);
bool rate_allows(void);
void rate_print(const struct tool *tool, bool json, bool now);

/* output.c */
struct output *output_open(const char *option, const char *path);
int output_write(struct output *o, const void *data, size_t size);
int output_hole(struct output *o, uint64_t size);
bool output_commit(struct output *o);
void output_discard(struct output *o);

/* session.c: how long leaving may take in all, with kint_detach() some two seconds */
enum { LEAVE_VCPUS_MS = 400, LEAVE_VM_MS = 300 };

int64_t now_ns(void);
double session_seconds(const struct tool *tool);
const char *explain(int err);
int session_open(struct tool *tool);
int pass_by(struct tool *tool, const struct kint_event *event);
int64_t deadline_ns(int ms);
int next_event(struct tool *tool, struct kint_event *event, int64_t deadline);
int stop_vcpu(struct tool *tool, uint16_t vcpu, struct kint_event *event);
int wait_for_event(struct tool *tool, uint16_t vcpu, uint16_t id, struct kint_event *event);
void session_close(struct tool *tool);
void leave_within(struct tool *tool, int ms);
bool vcpu_exists(const struct tool *tool, int vcpu);
void session_describe(const struct tool *tool, FILE *out);

/* monitor.c: the loop of the commands that live on events */
/*
 * Of arm(): it failed, and said so; the guest has no kernel to look at yet, or another one than
 * --symbols says, see kernel_missing()
 */
enum { MONITOR_TOLD = 1, MONITOR_LATER, MONITOR_OTHER };

struct monitor {
	/* it cannot do without CREATE_VCPU events; they are used anyway if allowed */
	bool create_vcpu;
	/* what is not done to a vCPU before it runs if there are none; or NULL */
	const char *late;
	/* an event of the vCPU is open: turn on what is wanted; sets tool->doing */
	/* ... again, unless there is --once, if kernel_missing() */
	int (*arm)(struct tool *tool, uint16_t vcpu);
	/* answer the event, which is of a vCPU and no PAUSE or CREATE_VCPU */
	int (*event)(struct tool *tool, const struct kint_event *event);
	/* a vCPU that was added is about to run; may be NULL */
	void (*created)(struct tool *tool, const struct kint_event *event);
	/* a session begins; all vCPUs are armed; several times a second; it ends */
	void (*begin)(struct tool *tool);
	void (*armed)(struct tool *tool);
	int (*tick)(struct tool *tool);
	/* is something restricted while no vCPU is armed yet? may be NULL */
	bool (*restricts)(void);
	/* it is about to end, with everything still turned on; may be NULL */
	int (*leave)(struct tool *tool);
	void (*end)(struct tool *tool, const char *why);
};

int monitor_run(struct tool *tool, const struct monitor *monitor);

/* takeover.c: what a tool has left that was lost */
int takeover_begin(struct tool *tool);
int takeover_vcpu(struct tool *tool, uint16_t vcpu);
int takeover_armed(struct tool *tool, uint16_t vcpu);
bool takeover_repeats(const struct kint_event *event);

/* rules.c */
/* What a rule counts: events that are asked about, let pass, refused, only counted */
enum rule_tag { RULE_ASKS, RULE_ALLOWS, RULE_REFUSES, RULE_COUNTS, NR_RULE_TAGS };

struct rule_list {
	struct kvmi_rule rules[KINT_MAX_RULES];
	uint8_t tags[KINT_MAX_RULES];
	unsigned int n;
	bool full;		/* there were more: ask about everything */
	char reasons[2048];	/* each with a 0 behind it */
	size_t size;
};

#define NO_RULES "the host's kernel has no rules, or the VMM does not allow them"

int rules_begin(struct tool *tool);
bool rules_available(void);
void rules_new(struct rule_list *list);
struct kvmi_rule *rules_add(struct rule_list *list, enum rule_tag tag, uint8_t verdict);
struct kvmi_rule *rules_add_numbers(struct rule_list *list, enum rule_tag tag, uint8_t verdict,
				    uint64_t first, uint64_t last);
void rules_reason(struct rule_list *list, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int rules_set(struct tool *tool, uint16_t event, const struct rule_list *list);
void rules_explain(uint16_t event, const struct rule_list *list);
int rules_count(struct tool *tool, bool now);
uint64_t rules_hits(enum rule_tag tag);
void rules_print_end(const struct tool *tool, bool json);
void rules_tell_lost(void);

/* decode.c */
struct bit_name {
	uint8_t bit;
	const char *name;
	const char *on, *off;	/* what it means to set or clear it, or NULL */
};

extern const struct bit_name cr0_bits[], cr4_bits[], efer_bits[], rflags_bits[], xcr0_bits[];

/* A write to a register: CR, MSR and XSETBV events */
struct change {
	const char *name, *meaning;	/* @meaning may be NULL, and @bits */
	uint64_t old, new;
	const struct bit_name *bits;
	char buf[16];
};

const struct bit_name *cr_bits(unsigned int cr);
const struct bit_name *msr_bits(uint32_t msr);
bool parse_bits(const struct bit_name *bits, const char *list, uint64_t *mask);
bool parse_msr(const char *text, uint32_t *msr);
const char *msr_name(uint32_t msr, char buf[16]);
uint32_t msr_alias(uint32_t msr);
void print_bits(FILE *out, const struct bit_name *bits, uint64_t value);
bool decode_change(const struct kint_event *event, struct change *c);
void print_change(FILE *out, const struct kint_event *event);
unsigned int mode_bits(unsigned int mode);
bool leaf_has_subleaves(uint32_t leaf);

/* names.c: lists end with a NULL name */
struct id_name {
	uint16_t id;
	const char *name;
};

#define NR_EXCEPTIONS 32

extern const struct id_name command_names[], event_names[];

const char *event_name(uint16_t id);
bool parse_event_name(const char *text, size_t len, uint16_t *id);
const char *exception_name(unsigned int nr, char buf[16]);
bool exception_has_code(unsigned int nr);
bool parse_exception(const char *text, uint8_t *nr);

/* event.c */
#define UNMAPPED (~0ull)	/* kvmi_vcpu_event_breakpoint.gpa, kvmi_vcpu_event_pf.gva */

const char *access_name(uint8_t access);

const char *descriptor_insn(const struct kvmi_vcpu_event_descriptor *d);
void print_event(FILE *out, const struct kint_event *event);

/* tally.c */
void tally_reset(void);
void tally_cr3(uint64_t cr3);
bool tally_cpuid(uint32_t function, uint32_t index);
void tally_page_faults(uint64_t n);
void tally_flush(void);
void tally_print(const struct tool *tool, bool json, bool now);

/* text.c: the only way to print what the guest or its device manager chose */
void print_text(FILE *out, const char *text);
void json_string(FILE *out, const char *text);

/* json.c */
struct process;

void json_process(FILE *out, const struct process *p);
void json_bits(FILE *out, const char *key, const struct bit_name *bits, uint64_t value);
void json_session(FILE *out, const struct tool *tool);
void json_event(FILE *out, struct tool *tool, const struct kint_event *event,
		const char *verdict);
void json_armed(FILE *out, const struct tool *tool);
void json_end(FILE *out, const struct tool *tool, const char *why);

/* access.c */
bool parse_access(const char *text, uint8_t *access);
const char *access_letters(uint8_t access, char buf[8]);
bool parse_extent(const char *text, uint64_t *start, uint64_t *size);
int check_access(struct tool *tool, uint8_t access);
int take_access(struct tool *tool, uint64_t gpa, uint64_t size, uint8_t access);
int restrict_pages(struct tool *tool, uint64_t gpa, uint64_t size, uint8_t access);

/* layout.c: where Linux has what in its structures; nolayout.c without its libraries */
enum field {
	TASK_STATE, TASK_EXIT_STATE, TASK_FLAGS, TASK_TASKS, TASK_MM, TASK_PID, TASK_TGID,
	TASK_REAL_PARENT, TASK_THREAD_NODE, TASK_CRED, TASK_COMM,
	TASK_SIGNAL,
	SIGNAL_NR_THREADS, SIGNAL_THREAD_HEAD, CRED_UID, MM_PGD,
	NR_FIELDS,
	LAST_OF_TASK = TASK_SIGNAL
};

struct layout {
	bool known;
	uint32_t at[NR_FIELDS];
};

#define NO_LAYOUT "built without libbpf and libdw (Debian: libbpf-dev, libdw-dev)"

int layout_of_btf(const void *data, size_t size, struct layout *l);
int layout_of_vmlinux(const char *path, bool (*add)(uint64_t address, const char *name),
		      struct layout *l);

/* symbols.c: the guest's System.map or vmlinux */
#define KERNEL_MAP	0xffffffff80000000ull	/* where Linux maps its image */
#define KERNEL_MAP_LAST	0xffffffffbfffffffull

bool symbols_load(const char *path);
bool symbols_loaded(void);
const struct layout *symbols_layout(void);
void symbols_free(void);
bool symbol_address(const char *name, uint64_t *address);
bool symbol_extent(const char *name, uint64_t *start, uint64_t *end);
bool symbols_relocate(uint64_t entry);
void print_symbol(FILE *out, uint64_t address);

/* pagewalk.c */
#define PAGE_SIZE	4096
#define UPPER_HALF	(1ull << 63)	/* the first address there, or below it */
#define PTI_USER_TABLE	(1ull << 12)	/* of CR3: its other half is the kernel's */

struct mapping {
	uint64_t gva, gpa, size;
	bool writable, user, executable;
};

int walk_pages(struct tool *tool, const struct kvm_sregs *sregs, uint64_t start, uint64_t last,
	       int (*found)(void *arg, const struct mapping *m), void *arg);
int walk_pages_once(struct tool *tool, const struct kvm_sregs *sregs, uint64_t start,
		    uint64_t last, int (*found)(void *arg, const struct mapping *m), void *arg);
int kernel_tables(struct tool *tool, struct kvm_sregs *sregs);
int read_virtual(struct tool *tool, uint16_t vcpu, uint64_t gva, void *buf, size_t size);
int read_text(struct tool *tool, uint16_t vcpu, uint64_t gva, char *text, size_t room);

/* kernel.c: the guest's Linux kernel */
#define MAX_KERNEL_RANGES 64
#define NR_TABLE_CALLS 335	/* those that every 64-bit Linux of the last years has */

struct kernel_range {
	uint64_t gva, gpa, size;
	bool text;		/* else read-only data */
};

struct guest_kernel {
	bool found;
	uint64_t entry;		/* where system calls enter */
	uint64_t offset;	/* of virtual from physical addresses of the image */
	uint64_t call_table;	/* of system calls, 0 if it was not found */
	uint64_t calls[NR_TABLE_CALLS];
	struct kernel_range ranges[MAX_KERNEL_RANGES];
	unsigned int nranges;
	unsigned int left_out;	/* pieces for which there is no room in @ranges */
};

const char *kernel_missing(int err);
int kernel_find(struct tool *tool, uint16_t vcpu, struct guest_kernel *k);

/* Of one that may boot meanwhile; zero it when a session begins */
struct kernel_wait {
	bool boots;
	struct guest_kernel before;	/* as it was at the last look */
	int64_t looked;
};

int kernel_wait_for(struct tool *tool, uint16_t vcpu, struct guest_kernel *k,
		    struct kernel_wait *w);
int kernel_find_dispatch(struct tool *tool, const struct guest_kernel *k, uint64_t *call);
const struct kernel_range *kernel_range_of(const struct guest_kernel *k, uint64_t gpa);

/* linux.c: the processes of a Linux guest */
#define NR_MAPPINGS	32
#define COMM_SIZE	16
#define NO_ID		UINT32_MAX

struct process {
	uint64_t task;			/* where struct task_struct is */
	uint32_t pid, tid, ppid, uid;	/* NO_ID if unknown; those of the first namespaces */
	uint32_t threads;
	uint64_t cr3;			/* of its page tables, 0 if it has none */
	char state;			/* as ps(1) has it */
	bool kernel;			/* a thread of the kernel's */
	char comm[COMM_SIZE + 1];	/* whatever the guest has put there */

	/* for linux.c */
	uint64_t next, next_thread, parent, signal, cred, mm;
};

struct guest_linux {
	bool known;
	bool monitored;			/* events are answered by who asks */
	struct layout layout;
	uint32_t low, span;		/* of struct task_struct, what is read */
	uint64_t current;		/* from the base of GS: the task that a CPU runs */
	uint64_t first;			/* init_task */
	struct kvm_sregs sregs;		/* page tables that have the kernel */
	struct mapping mappings[NR_MAPPINGS];
	unsigned int oldest;
	unsigned int looked;		/* at tasks, one after the other */
};

int linux_find(struct tool *tool, uint16_t vcpu, const struct guest_kernel *k, bool monitored,
	       struct guest_linux *l);
int linux_current(struct tool *tool, struct guest_linux *l, const struct kint_event *event,
		  struct process *p);
int linux_processes(struct tool *tool, struct guest_linux *l, bool threads,
		    int (*found)(void *arg, const struct process *p), void *arg);

/* process.c: who did it; --process */
void process_want(void);
bool process_wanted(void);
void process_guards(void);
void process_begin(void);
bool process_look(struct tool *tool, uint16_t vcpu);
void process_hurry(struct tool *tool);
int process_find(struct tool *tool, uint16_t vcpu, const struct guest_kernel *k);
int process_of(struct tool *tool, const struct kint_event *event, struct process *p);
void print_process(FILE *out, const struct process *p);
void who_look(struct tool *tool, const struct kint_event *event);
void print_who(FILE *out);
void json_who(FILE *out);

/* hidden.c: breakpoints in copies of pages, in a view of their own */
#define MAX_HIDDEN 64

bool parse_spare(const char *text);
int hidden_begin(struct tool *tool, uint8_t rest);
int hidden_add(struct tool *tool, uint64_t gpa, uint8_t access);
int hidden_remove(struct tool *tool, uint64_t gpa);
int hidden_refresh(struct tool *tool);
int hidden_on_access(struct tool *tool, const struct kvmi_vcpu_event_access *access);
bool hidden_is_copy(uint64_t gpa);
int hidden_move(struct tool *tool, uint64_t gpa);
bool hidden_has(uint64_t gpa);
uint16_t hidden_view(void);
uint16_t hidden_step_view(void);
void hidden_explain(struct tool *tool);
int hidden_leave(struct tool *tool, unsigned int vcpus);
void hidden_end(struct tool *tool);

/* stops.c: what happens at breakpoints */
void stops_forget(void);
int stops_check_host(struct tool *tool, bool visible);
int stops_open(struct tool *tool,
	       int (*hit)(struct tool *tool, const struct kint_event *event,
			  unsigned int point));
int stops_add(struct tool *tool, uint16_t vcpu, uint64_t gva, uint64_t *gpa);
int stops_set_rules(struct tool *tool);
void stops_explain(struct tool *tool);
void stops_cancel(struct tool *tool);
int turn_event_on(struct tool *tool, uint16_t vcpu, uint16_t event);
int stops_arm(struct tool *tool, uint16_t vcpu);
int stops_event(struct tool *tool, const struct kint_event *event);
int stops_tick(struct tool *tool);
int stops_leave(struct tool *tool);

/* syscall.c */
bool parse_call(const char *name, unsigned int *nr);
const char *call_name(unsigned int nr, char buf[16]);
void print_call(FILE *out, struct tool *tool, const struct kint_event *event, unsigned int nr);

#define NR_CALL_ARGS	6
#define NR_PT_REGS	20	/* the words of struct pt_regs up to RSP */
#define PT_REGS_AX	10
#define PT_REGS_NR	15
#define PT_REGS_IP	16
#define PT_REGS_SP	19

void call_args_of(const uint64_t regs[NR_PT_REGS], uint64_t args[NR_CALL_ARGS]);
unsigned int call_args(unsigned int nr);
bool print_call_args(FILE *out, struct tool *tool, uint16_t vcpu, unsigned int nr,
		     const uint64_t args[NR_CALL_ARGS]);
int call_error(uint64_t result);
void print_call_result(FILE *out, unsigned int nr, uint64_t result);

/* pause.c: vCPUs that stand still */
struct held {
	struct tool *tool;
	int vcpu;			/* the only one, or negative */
	bool tell;			/* where they are */
	struct kint_event *events;	/* open, which this tool has asked for */
	unsigned int n;
	unsigned int standing;		/* these vCPUs, and those with an event that is left open */
	unsigned int wanted;		/* to stand still: all but those not started */
	unsigned int not_started;
	struct vcpu_set found;		/* they have been started */
	struct vcpu_set stands;
};

int hold_vcpus(struct tool *tool, int vcpu, bool tell, struct held *held);
int hold_guest(struct tool *tool, struct held *held);
int let_go(struct tool *tool, const struct held *held);
void print_left(const struct held *held);

/* regs.c */
int print_vcpu(FILE *out, struct tool *tool, unsigned int vcpu, const uint32_t *msrs,
	       unsigned int nmsrs);

/* memory.c */
int read_slots(struct tool *tool, uint16_t as_id, struct kvmi_memslot **slots, uint32_t *cookie);
bool is_tool_slot(const struct tool *tool, const struct kvmi_memslot *slot);
int read_or_zero(struct tool *tool, uint64_t gpa, void *buf, size_t size);
int still_wanted(struct tool *tool);

/* image.c: all of memory as a file */
enum image_format { IMAGE_ELF, IMAGE_RAW, IMAGE_LIME };

struct image_part {
	uint64_t offset, size;	/* in the file */
	uint64_t gpa;
	const void *data;	/* if it is no memory */
};

struct image {
	enum image_format format;
	bool running;			/* the guest was not paused for it */
	char *vmcoreinfo;		/* or NULL; image_free() frees it */
	struct image_part *parts;	/* by offset; the rest is zero */
	unsigned int nparts;
	uint64_t size;			/* of the file */
	uint64_t memory;		/* bytes of memory in it */
	bool has_layout;
	uint32_t layout;		/* generation of the slots */
	unsigned char *head;		/* what the parts with @data point to */
	size_t head_size;
	unsigned int not_started;	/* vCPUs */
	unsigned int mappings;		/* segments by virtual address, not all if @cut */
	bool cut;
};

int image_make(struct tool *tool, struct image *image, uint64_t start);
void image_free(struct image *image);
bool image_offset(const struct image *image, uint64_t gpa, uint64_t *offset, uint64_t *left);
uint64_t image_extent(const struct image *image, uint64_t offset, uint64_t max,
		      const struct image_part **part);
int image_read(struct tool *tool, const struct image *image, uint64_t offset, void *buf,
	       size_t size);
void tell_image_error(const struct tool *tool, int err);

/* core.c: the rest of an ELF core */
int core_head(struct tool *tool, struct image *image);
void core_place(struct image *image);

/* progress.c */
struct progress {
	const char *doing;
	uint64_t done, total;
	int64_t last;
	bool visible, shown;
};

void progress_begin(struct progress *p, const char *doing, uint64_t total);
void progress_add(struct progress *p, uint64_t amount);
void progress_end(struct progress *p);

/* vmcoreinfo.c */
int vmcoreinfo_find(struct tool *tool, bool always, char **text);

/* memwrite.c */
#define NO_SMM "the VM has no memory of its own for system management mode"

int write_memory(struct tool *tool, uint16_t as_id, uint64_t gpa, const char *data,
		 const char *expected);

/* the subcommands */
int cmd_info(struct tool *tool, int argc, char **argv);
int cmd_features(struct tool *tool, int argc, char **argv);
int cmd_slots(struct tool *tool, int argc, char **argv);
int cmd_regs(struct tool *tool, int argc, char **argv);
int cmd_check(struct tool *tool, int argc, char **argv);
int cmd_cpuid(struct tool *tool, int argc, char **argv);
int cmd_xsave(struct tool *tool, int argc, char **argv);
int cmd_translate(struct tool *tool, int argc, char **argv);
int cmd_mem(struct tool *tool, int argc, char **argv);
int cmd_dump(struct tool *tool, int argc, char **argv);
int cmd_mount(struct tool *tool, int argc, char **argv);
int cmd_ps(struct tool *tool, int argc, char **argv);
int cmd_watch(struct tool *tool, int argc, char **argv);
int cmd_guard(struct tool *tool, int argc, char **argv);
int cmd_views(struct tool *tool, int argc, char **argv);
int cmd_protect(struct tool *tool, int argc, char **argv);
int cmd_step(struct tool *tool, int argc, char **argv);
int cmd_break(struct tool *tool, int argc, char **argv);
int cmd_trace(struct tool *tool, int argc, char **argv);
int cmd_gdb(struct tool *tool, int argc, char **argv);
int cmd_pause(struct tool *tool, int argc, char **argv);
int cmd_inject(struct tool *tool, int argc, char **argv);
int cmd_shutdown(struct tool *tool, int argc, char **argv);

#endif
