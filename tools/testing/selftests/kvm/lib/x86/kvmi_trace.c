// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts of what the kernel does for a few threads, by way of tracefs
 *
 * An instance of its own, so that nobody else's tracing is disturbed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvmi_trace.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/kvmi_selftest"

static const char * const kvmi_trace_events[] = {
	"sched/sched_switch",
	"sched/sched_wakeup",
	"raw_syscalls/sys_enter",
	"kmem/kmalloc",
	"kmem/kmem_cache_alloc",
	"ipi/ipi_send_cpu",
	"ipi/ipi_send_cpumask",
};

static char thread_list[KVMI_TRACE_THREADS * 16];
static pid_t threads[KVMI_TRACE_THREADS];
static int nr_threads;

static bool try_write(const char *file, const char *text)
{
	char path[256];
	int fd, len = strlen(text), n;

	snprintf(path, sizeof(path), INSTANCE "/%s", file);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return false;
	n = write(fd, text, len);
	close(fd);
	return n == len;
}

static void must_write(const char *file, const char *text)
{
	TEST_ASSERT(try_write(file, text), "Cannot write '%s' to %s", text, file);
}

/* What is prepared takes time, even while tracing is off: do it late. */
static bool enable_events(bool enable)
{
	char path[64];
	int i;

	for (i = 0; i < ARRAY_SIZE(kvmi_trace_events); i++) {
		snprintf(path, sizeof(path), "events/%s/enable",
			 kvmi_trace_events[i]);
		if (!try_write(path, enable ? "1" : "0"))
			return false;
	}
	return true;
}

bool kvmi_trace_open(const pid_t *pids, int nr)
{
	int i;

	TEST_ASSERT(nr <= KVMI_TRACE_THREADS, "Too many threads");
	if (mkdir(INSTANCE, 0700) && errno != EEXIST)
		return false;
	if (!try_write("tracing_on", "0") || !enable_events(true)) {
		kvmi_trace_close();
		return false;
	}
	enable_events(false);

	thread_list[0] = '\0';
	for (i = 0; i < nr; i++) {
		threads[i] = pids[i];
		sprintf(thread_list + strlen(thread_list), "%d ", pids[i]);
	}
	nr_threads = nr;
	must_write("buffer_size_kb", "4096");
	return true;
}

void kvmi_trace_close(void)
{
	rmdir(INSTANCE);
}

void kvmi_trace_start(void)
{
	must_write("trace", "");
	must_write("set_event_pid", thread_list);
	TEST_ASSERT(enable_events(true), "Cannot enable events");
	must_write("tracing_on", "1");
}

static int thread_index(const char *number)
{
	pid_t pid = strtol(number, NULL, 10);
	int i;

	for (i = 0; i < nr_threads; i++) {
		if (threads[i] == pid)
			return i;
	}
	return -1;
}

/* A number in the text of an event: that of a thread of ours, or -1 */
static int thread_in(const char *args, const char *field)
{
	const char *p = strstr(args, field);

	return p ? thread_index(p + strlen(field)) : -1;
}

static void count_alloc(struct kvmi_trace_counts *c, int thread, const char *args)
{
	const char *p = strstr(args, "call_site=");
	char name[KVMI_TRACE_NAME] = "";
	int i;

	if (p)
		sscanf(p, "call_site=%63[^+ ]", name);
	if (strstr(name, "skb") || strstr(name, "sock")) {
		c->socket_allocs++;
		return;
	}

	c->other_allocs[thread]++;
	for (i = 0; i < c->nr_sites; i++) {
		if (!strcmp(c->sites[i].name, name))
			break;
	}
	if (i == c->nr_sites) {
		if (i == KVMI_TRACE_SITES)
			return;
		strcpy(c->sites[i].name, name);
		c->nr_sites++;
	}
	c->sites[i].count++;
}

/* Sent by KVM, to kick or to flush, rather than by the scheduler */
static bool is_of_kvm(const char *args)
{
	return strstr(args, "kvm") || strstr(args, "=ack_kick");
}

/* COMM-PID [CPU] FLAGS TIME: EVENT: ARGUMENTS */
static void count_line(struct kvmi_trace_counts *c, char *line)
{
	char *cpu = strstr(line, " ["), *pid, *event, *args;
	int thread;

	if (line[0] == '#' || !cpu)
		return;
	TEST_ASSERT(!strstr(line, "LOST"), "The trace is incomplete: %s", line);
	*cpu = '\0';
	pid = strrchr(line, '-');
	event = strstr(cpu + 1, ": ");
	args = event ? strchr(event + 2, ':') : NULL;
	if (!pid || !args)
		return;
	event += 2;
	*args++ = '\0';
	thread = thread_index(pid + 1);

	if (!strcmp(event, "sched_switch")) {
		thread = thread_in(args, " next_pid=");
		if (thread >= 0)
			c->switches[thread]++;
	} else if (!strcmp(event, "sched_wakeup")) {
		thread = thread_in(args, " pid=");
		if (thread >= 0)
			c->wakeups[thread]++;
	} else if (thread >= 0) {
		if (!strcmp(event, "sys_enter"))
			c->syscalls[thread]++;
		else if (!strncmp(event, "ipi_send_", strlen("ipi_send_")))
			c->kvm_ipis += is_of_kvm(args);
		else
			count_alloc(c, thread, args);
	}
}

void kvmi_trace_stop(struct kvmi_trace_counts *counts)
{
	char line[1024];
	FILE *f;

	must_write("tracing_on", "0");
	enable_events(false);
	must_write("set_event_pid", "");

	memset(counts, 0, sizeof(*counts));
	f = fopen(INSTANCE "/trace", "r");
	TEST_ASSERT(f, "Cannot read the trace");
	while (fgets(line, sizeof(line), f))
		count_line(counts, line);
	fclose(f);
}

int kvmi_trace_threads_of(pid_t process, pid_t *pids, int nr)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", process);
	dir = opendir(path);
	TEST_ASSERT(dir, "Cannot read %s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		TEST_ASSERT(nr < KVMI_TRACE_THREADS, "Too many threads");
		pids[nr++] = atoi(entry->d_name);
	}
	closedir(dir);
	return nr;
}

u64 kvmi_trace_sum(const u64 *per_thread)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < KVMI_TRACE_THREADS; i++)
		sum += per_thread[i];
	return sum;
}

u64 kvmi_trace_site(const struct kvmi_trace_counts *counts, const char *name)
{
	int i;

	for (i = 0; i < counts->nr_sites; i++) {
		if (!strcmp(counts->sites[i].name, name))
			return counts->sites[i].count;
	}
	return 0;
}
