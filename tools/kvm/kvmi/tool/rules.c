// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel decides for the tool: filters as rules.
 */
#include <errno.h>
#include <string.h>
#include "tool.h"

static const char *const verdicts[] = {
	[KVMI_RULE_ASK] = "ask", [KVMI_RULE_ALLOW] = "allow", [KVMI_RULE_SKIP] = "skip",
	[KVMI_RULE_CRASH] = "crash", [KVMI_RULE_NOTIFY] = "notify", [KVMI_RULE_TRACE] = "trace",
};

/* Whether the kernel has rules, and the VMM lets the tool set them */
bool rules_available(struct tool *tool)
{
	struct kvmi_vm_get_features_reply f;

	return !kint_get_features(tool->conn, &f) && f.flags & KVMI_FEATURE_RULES &&
	       !kint_check_command(tool->conn, KVMI_VM_SET_RULES);
}

/* A rule without conditions yet.  If there are too many the list asks about everything. */
struct kvmi_rule *rules_add(struct rule_list *list, uint8_t verdict)
{
	static struct kvmi_rule surplus;
	struct kvmi_rule *rule = &surplus;

	if (list->n < KINT_MAX_RULES)
		rule = &list->rules[list->n++];
	else
		list->full = true;
	memset(rule, 0, sizeof(*rule));
	rule->verdict = verdict;
	return rule;
}

void rules_add_numbers(struct rule_list *list, uint8_t verdict, uint64_t first, uint64_t last)
{
	struct kvmi_rule *rule = rules_add(list, verdict);

	rule->match = KVMI_MATCH_NUMBER;
	rule->first = first;
	rule->last = last;
}

int rules_set(struct tool *tool, uint16_t event, const struct rule_list *list)
{
	return kint_set_rules(tool->conn, event, list->rules, list->full ? 0 : list->n);
}

static void print_rule(const struct kvmi_rule *rule)
{
	if (rule->match & KVMI_MATCH_NUMBER) {
		printf(" %#llx", ull(rule->first));
		if (rule->last != rule->first)
			printf("-%#llx", ull(rule->last));
	}
	if (rule->match & KVMI_MATCH_KIND)
		printf(" kinds %#x", rule->kinds);
	if (!rule->match)
		printf(" all else");
	printf(" %s", verdicts[rule->verdict]);
}

/* One line for people who want to know what costs what */
void rules_explain(uint16_t event, const struct rule_list *list)
{
	unsigned int i;

	printf("%s:", event_name(event));
	for (i = 0; !list->full && i < list->n; i++) {
		print_rule(&list->rules[i]);
		putchar(',');
	}
	if (list->full || !list->n || list->rules[list->n - 1].match)
		printf(" all else ask\n");
	else
		printf(" by the kernel alone\n");
}
