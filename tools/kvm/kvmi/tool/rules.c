// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel decides for the tool: filters as rules.
 *
 * A rule says what the tool would answer to an event in any case, and is only made
 * where the tool would do no more than answer.  What no rule is about is asked.
 *
 * Rules outlive a tool that is killed, if the device manager keeps the session for the next
 * one.  They are that tool's, with its options: a session begins with taking them back.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "tool.h"

#define MAX_EVENT_ID	63
#define COUNT_EVERY_NS	1000000000ll

static const char *const verdicts[] = {
	[KVMI_RULE_ASK] = "ask", [KVMI_RULE_ALLOW] = "allow", [KVMI_RULE_SKIP] = "skip",
	[KVMI_RULE_CRASH] = "crash", [KVMI_RULE_NOTIFY] = "notify", [KVMI_RULE_TRACE] = "trace",
};

/* Of the session */
static struct {
	bool available;
	uint64_t set;			/* bit n: event n has rules */
	uint8_t tags[MAX_EVENT_ID + 1][KINT_MAX_RULES];
	uint64_t before[NR_RULE_TAGS], lost_before;	/* by rules that were replaced */
	uint64_t hits[NR_RULE_TAGS], lost;		/* in all */
	int64_t counted;
} rules;

static bool cannot_have(int err)
{
	return err == -EPERM || err == -EINVAL || err == -ENOSYS;
}

/*
 * A session begins.  By the time this returns the tool is asked about whatever it turns
 * on, and nothing is decided by what another tool has left.
 */
static int take_back(struct tool *tool)
{
	struct kvmi_vm_get_features_reply f;
	int err;

	memset(&rules, 0, sizeof(rules));
	err = kint_get_features(tool->conn, &f);
	/* A VMM that does not let the features be asked for may have let rules be set */
	if (err == -EPERM)
		return kint_clear_rules(tool->conn);
	if (err || !(f.flags & KVMI_FEATURE_RULES))
		return err == -ENOSYS ? 0 : err;
	err = kint_check_command(tool->conn, KVMI_VM_SET_RULES);
	if (err && err != -EPERM)
		return err;
	rules.available = !err;
	return kint_clear_rules(tool->conn);
}

/* Says what is wrong */
int rules_begin(struct tool *tool)
{
	int err = take_back(tool);

	if (err && err != -EPIPE && err != -EINTR)
		error("taking rules of another tool back: %s", explain(err));
	return err;
}

/* Whether the kernel has rules, and the VMM lets the tool set them */
bool rules_available(void)
{
	return rules.available;
}

void rules_new(struct rule_list *list)
{
	list->n = 0;
	list->full = false;
	list->size = 0;
}

/* A rule without conditions yet.  If there are too many the list asks about everything. */
struct kvmi_rule *rules_add(struct rule_list *list, enum rule_tag tag, uint8_t verdict)
{
	static struct kvmi_rule surplus;
	struct kvmi_rule *rule = &surplus;

	if (list->n < KINT_MAX_RULES) {
		list->tags[list->n] = tag;
		rule = &list->rules[list->n++];
	} else {
		list->full = true;
	}
	memset(rule, 0, sizeof(*rule));
	rule->verdict = verdict;
	return rule;
}

struct kvmi_rule *rules_add_numbers(struct rule_list *list, enum rule_tag tag, uint8_t verdict,
				    uint64_t first, uint64_t last)
{
	struct kvmi_rule *rule = rules_add(list, tag, verdict);

	rule->match = KVMI_MATCH_NUMBER;
	rule->first = first;
	rule->last = last;
	return rule;
}

/* For rules_explain(): what has become of a filter, and why */
void rules_reason(struct rule_list *list, const char *format, ...)
{
	size_t room = sizeof(list->reasons) - list->size;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(list->reasons + list->size, room, format, ap);
	va_end(ap);
	/* All of it or nothing */
	if (n >= 0 && (size_t)n < room)
		list->size += n + 1;
}

/* Add up what rules of an event have decided */
static int count_event(struct tool *tool, uint16_t event, uint64_t hits[NR_RULE_TAGS],
		       uint64_t *lost)
{
	struct kvmi_rule_info info[KINT_MAX_RULES];
	uint64_t dropped;
	size_t n, i;
	int err;

	err = kint_get_rules(tool->conn, event, false, info, KINT_MAX_RULES, &n, &dropped);
	if (err)
		return cannot_have(err) ? 0 : err;
	for (i = 0; i < n; i++)
		hits[rules.tags[event][i]] += info[i].hits;
	*lost += dropped;
	return 0;
}

/*
 * Put rules in force.  An event for which there can be none is no error: it is asked
 * about, or cannot be turned on either.  What rules decide between being read and being
 * replaced is not counted.  An empty list takes back those of the list before.
 */
int rules_set(struct tool *tool, uint16_t event, const struct rule_list *list)
{
	unsigned int n = list->full ? 0 : list->n;
	int err = 0;

	tool->doing = "setting rules";
	if (!rules.available || (!n && !(rules.set >> event & 1)))
		return 0;
	if (rules.set >> event & 1)
		err = count_event(tool, event, rules.before, &rules.lost_before);
	if (!err)
		err = kint_set_rules(tool->conn, event, list->rules, n);
	if (err)
		return cannot_have(err) ? 0 : err;
	memcpy(rules.tags[event], list->tags, sizeof(list->tags));
	rules.set &= ~(1ull << event);
	if (n)
		rules.set |= 1ull << event;
	return 0;
}

/* How much has been decided by now, at most once a second unless @now */
int rules_count(struct tool *tool, bool now)
{
	uint64_t hits[NR_RULE_TAGS], lost = rules.lost_before;
	unsigned int id;
	int err;

	if (!rules.set || (!now && now_ns() - rules.counted < COUNT_EVERY_NS))
		return 0;
	memcpy(hits, rules.before, sizeof(hits));
	for (id = 0; id <= MAX_EVENT_ID; id++) {
		err = rules.set >> id & 1 ? count_event(tool, id, hits, &lost) : 0;
		if (err)
			return err;
	}
	memcpy(rules.hits, hits, sizeof(hits));
	rules.lost = lost + kint_lost_notifications(tool->conn);
	rules.counted = now_ns();
	return 0;
}

uint64_t rules_hits(enum rule_tag tag)
{
	return rules.hits[tag];
}

/* For the last line: what the kernel has decided without asking */
void rules_print_end(const struct tool *tool, bool json)
{
	uint64_t decided = 0;
	unsigned int tag;

	for (tag = RULE_ASKS + 1; tag < NR_RULE_TAGS; tag++)
		decided += rules.hits[tag];
	if (decided && json)
		printf("{\"time\":%.6f,\"event\":\"rules\",\"decided\":%llu,\"lost\":%llu}\n",
		       session_seconds(tool), ull(decided), ull(rules.lost));
	else if (decided)
		printf(", %llu decided by rules", ull(decided));
}

/* Notifications that nobody has read in time */
void rules_tell_lost(void)
{
	if (rules.lost)
		error("%llu more events were lost: they came faster than they could be shown",
		      ull(rules.lost));
}

static void print_range(const char *what, uint64_t first, uint64_t last)
{
	printf(" %s%#llx", what, ull(first));
	if (last != first)
		printf("-%#llx", ull(last));
}

static void print_rule(uint16_t event, const struct kvmi_rule *rule)
{
	unsigned int kinds = rule->kinds;

	if (rule->match & KVMI_MATCH_NUMBER && (rule->first || ~rule->last))
		print_range("", rule->first, rule->last);
	if (rule->match & KVMI_MATCH_CHANGED)
		printf(" changes %#llx", ull(rule->changed));
	if (rule->match & KVMI_MATCH_VALUE)
		printf(" to %#llx", ull(rule->value));
	if (rule->match & KVMI_MATCH_KIND && event == KVMI_VCPU_EVENT_PF)
		printf(" %s", access_name(kinds));
	else if (rule->match & KVMI_MATCH_KIND)
		printf(" kinds %#x", kinds);
	if (rule->match & KVMI_MATCH_RIP)
		print_range("by code at ", rule->rip_first, rule->rip_last);
	if (rule->match & KVMI_MATCH_VCPU)
		printf(" vCPU %u", rule->vcpu);
	if (rule->match & KVMI_MATCH_VIEW)
		printf(" view %u", rule->view);
	if (!rule->match)
		printf(" all else");
	printf(" %s", verdicts[rule->verdict]);
}

/* For people who want to know what costs what: the rules, and what is behind them */
void rules_explain(uint16_t event, const struct rule_list *list)
{
	unsigned int n = list->full || !rules.available ? 0 : list->n, i;
	const char *reason;

	printf("%s:", event_name(event));
	for (i = 0; i < n; i++) {
		print_rule(event, &list->rules[i]);
		if (i + 1 < n)
			putchar(',');
	}
	if (!n)
		printf(" ask");
	else if (list->rules[n - 1].match)
		printf(", all else ask");
	putchar('\n');
	for (reason = list->reasons; reason < list->reasons + list->size;
	     reason += strlen(reason) + 1)
		printf("  %s\n", reason);
	if (!rules.available)
		printf("  all is asked about: " NO_RULES "\n");
	else if (list->full)
		printf("  all is asked about: more than %u rules would be needed\n",
		       KINT_MAX_RULES);
}
