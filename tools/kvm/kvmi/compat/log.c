// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Messages for the caller's log.
 */
#include <stdarg.h>
#include <stdio.h>
#include "compat.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kvmi_log_cb log_cb;
static void *log_ctx;
static __thread bool in_log;	/* the caller's function is called by this thread */

void kvmi_set_log_cb(kvmi_log_cb cb, void *ctx)
{
	pthread_mutex_lock(&lock);
	log_cb = cb;
	log_ctx = ctx;
	pthread_mutex_unlock(&lock);
}

/* What the caller's function calls would wait for a lock that this thread has */
bool logging(void)
{
	return in_log;
}

void note(kvmi_log_level level, const char *format, ...)
{
	kvmi_log_cb cb;
	char text[256];
	va_list ap;
	void *ctx;

	pthread_mutex_lock(&lock);
	cb = log_cb;
	ctx = log_ctx;
	pthread_mutex_unlock(&lock);
	if (!cb || in_log)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	in_log = true;
	cb(level, text, ctx);
	in_log = false;
}
