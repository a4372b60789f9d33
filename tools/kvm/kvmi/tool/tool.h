/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TOOL_H
#define KVMI_TOOL_H

#include <getopt.h>
#include <stdio.h>
#include <kvmi/libkvmi.h>

enum { EXIT_OK, EXIT_ERROR, EXIT_USAGE };

/* What the options common to all commands say, and the session */
struct tool {
	const char *command;		/* name of the subcommand */
	const char *address;		/* --listen */
	unsigned char *cookie;		/* --cookie */
	size_t cookie_size;
	int timeout_ms;			/* --timeout */
	int wait_ms;			/* --wait */
	bool once;			/* --once */
	int signal_fd;

	struct kvmi_listener *listener;
	struct kvmi_conn *conn;
	unsigned int vcpus;
	int64_t start_ns;		/* of the session, for time stamps */
};

/* options.c: getopt values above any letter */
enum { OPT_LISTEN = 256, OPT_COOKIE, OPT_TIMEOUT, OPT_WAIT, OPT_ONCE };

void error(const char *format, ...) __attribute__((format(printf, 1, 2)));
int next_option(struct tool *tool, int argc, char **argv, const struct option *own);
bool no_arguments(const struct tool *tool, int argc, char **argv);
bool parse_number(const char *text, uint64_t *value);
bool parse_size(const char *text, uint64_t *value);

/* session.c */
int64_t now_ns(void);
double session_seconds(const struct tool *tool);
const char *explain(int err);
int session_open(struct tool *tool);
void session_close(struct tool *tool);
void session_describe(const struct tool *tool, FILE *out);

/* monitor.c: the loop of the commands that live on events */
struct monitor {
	/* a vCPU's PAUSE event is open: turn on what is wanted */
	int (*arm)(struct tool *tool, uint16_t vcpu);
	/* answer the event, which is of a vCPU and no PAUSE */
	int (*event)(struct tool *tool, const struct kvmi_event *event);
	/* a session begins; all vCPUs are armed; several times a second; it ends */
	void (*begin)(struct tool *tool);
	void (*armed)(struct tool *tool);
	void (*tick)(struct tool *tool);
	void (*end)(struct tool *tool, const char *why);
};

int monitor_run(struct tool *tool, const struct monitor *monitor);

/* decode.c */
struct bit_name {
	uint8_t bit;
	const char *name;
	const char *on, *off;	/* what it means to set or clear it, or NULL */
};

extern const struct bit_name cr0_bits[], cr4_bits[], efer_bits[], rflags_bits[];

const struct bit_name *cr_bits(unsigned int cr);
const struct bit_name *msr_bits(uint32_t msr);
bool parse_bits(const struct bit_name *bits, const char *list, uint64_t *mask);
bool parse_msr(const char *text, uint32_t *msr);
const char *msr_name(uint32_t msr, char buf[16]);
void print_bits(FILE *out, const struct bit_name *bits, uint64_t value);
void print_change(FILE *out, const struct kvmi_event *event);
unsigned int mode_bits(unsigned int mode);

/* json.c */
void json_string(FILE *out, const char *text);
void json_bits(FILE *out, const char *key, const struct bit_name *bits, uint64_t value);
void json_session(FILE *out, const struct tool *tool);
void json_change(FILE *out, const struct tool *tool, const struct kvmi_event *event,
		 const char *verdict);
void json_end(FILE *out, const struct tool *tool, const char *why);

/* the subcommands */
int cmd_info(struct tool *tool, int argc, char **argv);
int cmd_regs(struct tool *tool, int argc, char **argv);
int cmd_mem(struct tool *tool, int argc, char **argv);
int cmd_watch(struct tool *tool, int argc, char **argv);
int cmd_guard(struct tool *tool, int argc, char **argv);

#endif
