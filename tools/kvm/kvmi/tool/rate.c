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
	unsigned long long left_out, told;
	int64_t told_time;
} rate;

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
	rate.left_out = 0;
	rate.told = 0;
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
		rate.left_out++;
		return false;
	}
	rate.credit -= SECOND_NS;
	return true;
}

/* What has been left out since the last time, at most once a second unless @now */
void rate_print(const struct tool *tool, bool json, bool now)
{
	if (rate.left_out == rate.told || (!now && now_ns() - rate.told_time < SECOND_NS))
		return;
	rate.told = rate.left_out;
	rate.told_time = now_ns();
	if (json)
		printf("{\"time\":%.6f,\"event\":\"left-out\",\"events\":%llu}\n",
		       session_seconds(tool), rate.left_out);
	else
		printf("%9.3f  all     %llu more so far, without a line (--rate)\n",
		       session_seconds(tool), rate.left_out);
}
