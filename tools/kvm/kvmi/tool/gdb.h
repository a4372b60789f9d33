/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TOOL_GDB_H
#define KVMI_TOOL_GDB_H

/*
 * kvmi gdb: a server of gdb's remote serial protocol.  gdb_packet.c has the line to
 * gdb, gdb_registers.c and gdb_memory.c what gdb reads and writes, gdb_run.c the vCPUs that
 * stop and go on, gdb_break.c what they stop at, gdb_monitor.c the commands that are not
 * gdb's, and gdb.c what ties a packet to all that.
 */
#include "tool.h"

/* ---- gdb_packet.c ---- */
#define GDB_PACKET_SIZE 0x4000	/* of what is between $ and #, as gdb is told */

struct gdb_reply {
	size_t size;
	bool cut;		/* there was no room for all of it */
	bool later;		/* it comes when a vCPU stops */
	char data[GDB_PACKET_SIZE];
};

/* Called for each packet, and with a NULL for an interrupt (^C) */
typedef void (*gdb_handler)(struct tool *tool, char *packet, size_t size);

bool gdb_link_open(const char *address);
int gdb_link_fd(void);
bool gdb_link_ready(struct tool *tool, gdb_handler handler);
bool gdb_link_used(void);
void gdb_link_close(void);
void gdb_link_no_ack(void);
void gdb_link_send(const struct gdb_reply *reply);

void put_text(struct gdb_reply *reply, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void put_hex(struct gdb_reply *reply, const void *data, size_t size);
void put_binary(struct gdb_reply *reply, const void *data, size_t size);

/* Hexadecimal, up to the first other character; false without a digit, or for too many */
bool take_hex(const char **text, uint64_t *value);
bool take_bytes(const char **text, void *data, size_t size);
bool take_char(const char **text, char c);
bool take_word(const char **text, const char *word);

/* ---- gdb_run.c ---- */
enum gdb_want { GDB_STAY, GDB_STEP, GDB_GO };

enum gdb_reason {
	GDB_NO_REASON, GDB_STEPPED, GDB_SWBREAK, GDB_HWBREAK, GDB_WATCH, GDB_RWATCH, GDB_AWATCH
};

struct gdb_vcpu {
	uint16_t nr;
	bool armed;		/* what is to be reported is turned on */
	bool stopped;		/* @event waits for the answer, and gdb may look */
	bool repeats;		/* it is of another tool's view, see takeover_repeats() */
	bool silent;		/* not started by the guest, or the VM is stopped */
	bool singlestep;	/* is on */
	bool crs;		/* CR events are on */
	unsigned int pauses;	/* PAUSE events that will come */
	enum gdb_want want;
	struct kint_event event;

	/* Why it has stopped, if gdb has not been told */
	enum gdb_reason reason;
	uint64_t address;

	/* An instruction is executed for the tool's sake, see gdb_break.c */
	bool inside;		/* it is in a page that has copies */
	bool excursion;		/* in view 0 instead of the one of hidden breakpoints */
	bool watching;		/* it accesses a page that is watched */
	enum gdb_reason seen;	/* it has read or written what is watched */
	uint64_t seen_at;
	uint64_t from;		/* RIP */

	/* gdb_registers.c: read once in a stop */
	bool xsave_read;
	size_t xsave_size;
	unsigned char xsave[1088];
};

bool gdb_run_begin(struct tool *tool);
void gdb_run_end(void);
struct gdb_vcpu *gdb_vcpu(unsigned int nr);
struct gdb_vcpu *gdb_stopped_vcpu(int after);
bool gdb_stands(void);
bool gdb_stops(void);
int gdb_stop_all(struct tool *tool);
int gdb_resume(struct tool *tool);
int gdb_event(struct tool *tool, const struct kint_event *event);
int gdb_settle(struct tool *tool);
int gdb_answer(struct tool *tool, struct gdb_vcpu *v, unsigned int action);
int gdb_answer_pf(struct tool *tool, struct gdb_vcpu *v, uint32_t flags);
uint64_t gdb_pc(const struct kvmi_vcpu_event_arch *arch);

/* gdb.c: all vCPUs stand still, @v has stopped for @v->reason, or nobody has */
void gdb_report(struct tool *tool, struct gdb_vcpu *v);

/* ---- gdb_break.c ---- */
enum gdb_point_type { GDB_SOFTWARE, GDB_HARDWARE, GDB_WRITE, GDB_READ, GDB_ACCESS };

void gdb_break_options(bool visible);
int gdb_break_begin(struct tool *tool);
int gdb_break_arm(struct tool *tool, struct gdb_vcpu *v);
int gdb_break_insert(struct tool *tool, enum gdb_point_type type, uint64_t gva, uint64_t size);
bool gdb_break_remove(enum gdb_point_type type, uint64_t gva, uint64_t size);
void gdb_break_remove_all(void);
int gdb_break_apply(struct tool *tool, bool removals);
int gdb_break_tick(struct tool *tool);
int gdb_break_end(struct tool *tool);
uint16_t gdb_break_view(const struct gdb_vcpu *v);
bool gdb_break_wants_crs(void);
bool gdb_break_watches(uint64_t address);
void gdb_break_no_filter(void);
int gdb_break_filter(struct tool *tool, const struct gdb_vcpu *v, uint64_t cr3);
/* These answer the event, unless they set @v->reason */
int gdb_on_breakpoint(struct tool *tool, struct gdb_vcpu *v);
int gdb_on_page_fault(struct tool *tool, struct gdb_vcpu *v);
int gdb_on_access(struct tool *tool, struct gdb_vcpu *v);
int gdb_on_cr(struct tool *tool, struct gdb_vcpu *v);
int gdb_break_stepped(struct tool *tool, struct gdb_vcpu *v);

/* ---- gdb_memory.c ---- */
int gdb_translate(struct tool *tool, const struct gdb_vcpu *v, const struct kvm_sregs *sregs,
		  uint64_t gva, uint64_t *gpa);
/* How many bytes could be read or written, or why not even one */
int gdb_read(struct tool *tool, const struct gdb_vcpu *v, uint64_t gva, void *data, size_t size);
int gdb_write(struct tool *tool, const struct gdb_vcpu *v, uint64_t gva, const void *data,
	      size_t size);

/* ---- gdb_registers.c ---- */
void gdb_registers_begin(bool is_32bit);
void gdb_target_xml(struct gdb_reply *reply, uint64_t offset, uint64_t size);
void gdb_get_all(struct tool *tool, struct gdb_vcpu *v, struct gdb_reply *reply);
bool gdb_get_one(struct tool *tool, struct gdb_vcpu *v, uint64_t nr, struct gdb_reply *reply);
int gdb_set_all(struct tool *tool, struct gdb_vcpu *v, const char *hex);
int gdb_set_one(struct tool *tool, struct gdb_vcpu *v, uint64_t nr, const char *hex);

/* ---- gdb_monitor.c ---- */
void gdb_monitor(struct tool *tool, struct gdb_vcpu *v, char *line);

#endif
