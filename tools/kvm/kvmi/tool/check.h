/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_CHECK_H
#define KVMI_CHECK_H

#include "tool.h"

/* The fourth exit status, of "kvmi check" alone */
enum { EXIT_UNKNOWN = 3 };

enum verdict {
	CHECK_OK,
	CHECK_LIMIT,	/* guests can be introspected, but not in every way */
	CHECK_MISSING,	/* without it they cannot */
	CHECK_UNKNOWN,	/* it could not be looked at */
	CHECK_VERDICTS
};

struct check {
	const struct tool *tool;
	const char *root;	/* --root: where /proc, /sys, /dev and /etc are looked for */
	const char *qemu;	/* --qemu, or NULL */
	const char *qemu_user;	/* --qemu-user, or NULL */
	unsigned int count[CHECK_VERDICTS];
};

void report(struct check *c, enum verdict kind, const char *what, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* An absolute path below --root; the buffer is overwritten by the next call */
const char *check_path(const struct check *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* check_kvm.c, check_qemu.c, check_socket.c */
void check_kvm(struct check *c);
void check_qemu(struct check *c);
bool qemu_user_known(const struct check *c);
void check_socket(struct check *c);

#endif
