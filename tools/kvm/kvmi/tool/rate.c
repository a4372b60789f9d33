// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many lines of events there may be.
 *
 * A guest can make as many events as it likes, by a loop around a write that is
 * refused, and where the lines go may be a file.  What goes beyond is counted, and
 * the count told once a second.
 */
#include "tool.h"

#define SECOND_NS	1000000000ll
/* Lines that may come at once, after a time without any */
#define AT_ONCE		1000
#define MAX_RATE	1000000

static struct {
	uint64_t lines;			/* a second on average, 0 without a limit */
	int64_t credit, credit_time;	/* in lines times SECOND_NS */
	struct untold left_out;
} rate;

bool untold_due(struct untold *u, bool now)
{
	if (u->count == u->told || (!now && now_ns() - u->time < SECOND_NS))
		return false;
	u->told = u->count;
	u->time = now_ns();
	return true;
}

void untold_begin(struct untold *u)
{
	u->count = 0;
	u->told = 0;
}

void rate_init(unsigned int lines)
{
	rate.lines = lines;
	rate.credit = AT_ONCE * SECOND_NS;
	rate.credit_time = now_ns();
}

/* Says what is wrong */
bool parse_rate(const char *text)
{
	uint64_t value;

	if (!parse_number(text, &value) || value > MAX_RATE) {
		error("--rate %s: give a number of lines a second, 0 for no limit", text);
		return false;
	}
	rate_init(value);
	return true;
}

/* The count is of a session, the limit is not: else a guest could reboot for more */
void rate_begin(void)
{
	untold_begin(&rate.left_out);
}

/* May an event have a line?  Ask once for each. */
bool rate_allows(void)
{
	int64_t now = now_ns(), passed = now - rate.credit_time;

	if (!rate.lines)
		return true;
	if (passed > AT_ONCE * SECOND_NS)
		passed = AT_ONCE * SECOND_NS;
	rate.credit += passed * rate.lines;
	rate.credit_time = now;
	if (rate.credit > AT_ONCE * SECOND_NS)
		rate.credit = AT_ONCE * SECOND_NS;
	if (rate.credit < SECOND_NS) {
		rate.left_out.count++;
		return false;
	}
	rate.credit -= SECOND_NS;
	return true;
}

/* What has been left out since the last time, at most once a second unless @now */
void rate_print(const struct tool *tool, bool json, bool now)
{
	if (!untold_due(&rate.left_out, now))
		return;
	if (json)
		printf("{\"time\":%.6f,\"event\":\"left-out\",\"events\":%llu}\n",
		       session_seconds(tool), rate.left_out.count);
	else
		printf("%9.3f  all     %llu more so far, without a line (--rate)\n",
		       session_seconds(tool), rate.left_out.count);
}
