// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi views: views of guest memory.  They end with the session, so that several
 * actions can be given, which are done in order, and a time to stay.
 */
#include <errno.h>
#include <string.h>
#include "tool.h"

#define MAX_FIELDS 3

/* Tell which views there are, and which vCPUs are in them */
static int list(struct tool *tool, unsigned int views)
{
	uint64_t gpa = 0;
	unsigned int view, vcpu, n;
	uint16_t in;
	uint8_t access;
	int err;

	for (view = 0; view < views; view++) {
		tool->doing = "asking for the views";
		err = kint_get_page_access(tool->conn, view, 0, &gpa, &access, 1);
		if (err == -EINVAL)
			continue;
		if (err)
			return err;
		printf("view %u  vCPUs", view);
		tool->doing = "asking a vCPU for its view";
		for (n = 0, vcpu = 0; vcpu < tool->vcpus; vcpu++) {
			err = kint_get_view(tool->conn, vcpu, &in);
			if (err && err != -EAGAIN)
				return err;
			if (err || in != view)
				continue;
			printf(" %u", vcpu);
			n++;
		}
		printf(n ? "\n" : " none\n");
	}
	return 0;
}

static int create(struct tool *tool, const uint64_t *field, unsigned int n)
{
	uint16_t view;
	int err = kint_create_view(tool->conn, n ? field[0] : 0, &view);

	if (err == -EBUSY) {
		error("create: there are as many views as there can be");
		return MONITOR_TOLD;
	}
	if (!err)
		printf("view %u created\n", view);
	return err;
}

static int destroy(struct tool *tool, const uint64_t *field, unsigned int n)
{
	int err = kint_destroy_view(tool->conn, field[0]);

	(void)n;
	if (err == -EBUSY) {
		error("destroy=%llu: a vCPU is in it", ull(field[0]));
		return MONITOR_TOLD;
	}
	return err;
}

static int change(struct tool *tool, const uint64_t *field, unsigned int n)
{
	uint64_t vcpu = n > 1 ? field[1] : 0;
	int err = 0;

	if (n > 1)
		return kint_set_view(tool->conn, vcpu, field[0]);
	for (; vcpu < tool->vcpus && !err; vcpu++)
		err = kint_set_view(tool->conn, vcpu, field[0]);
	return err;
}

static int show(struct tool *tool, const uint64_t *field, unsigned int n)
{
	(void)n;
	return kint_change_gfn(tool->conn, field[0], 0, field[1] / PAGE_SIZE,
			       field[2] / PAGE_SIZE);
}

/* What is left of the access to a page */
static int access_of(struct tool *tool, const uint64_t *field, unsigned int n)
{
	uint8_t access;
	char buf[8];
	int err = kint_get_page_access(tool->conn, field[0], 0, &field[1], &access, 1);

	(void)n;
	if (!err)
		printf("view %llu  %#llx  %s\n", ull(field[0]), ull(field[1]),
		       access_letters(access, buf));
	return err;
}

static const struct action {
	const char *name;
	unsigned int min, max;	/* fields after the "=" */
	int (*run)(struct tool *tool, const uint64_t *field, unsigned int n);
} actions[] = {
	{ "list", 0, 0, NULL },
	{ "create", 0, 1, create },
	{ "destroy", 1, 1, destroy },
	{ "switch", 1, 2, change },
	{ "show", 3, 3, show },
	{ "access", 2, 2, access_of },
};

/* "show=1,0x1000,0x5000" */
static const struct action *parse_action(const char *text, uint64_t field[MAX_FIELDS],
					 unsigned int *n)
{
	const struct action *a;
	char copy[80], *save, *item;
	size_t len = strcspn(text, "=");
	unsigned int i;

	*n = 0;
	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strlen(actions[i].name) == len && !strncmp(text, actions[i].name, len))
			break;
	if (i == sizeof(actions) / sizeof(actions[0]) || strlen(text) >= sizeof(copy))
		return NULL;
	a = &actions[i];
	strcpy(copy, text + len + (text[len] == '='));
	for (item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save))
		if (*n == a->max || !parse_size(item, &field[(*n)++]))
			return NULL;
	/* The first is a view, and so is that of the others that is no address */
	if (*n && field[0] > UINT16_MAX)
		return NULL;
	if (a->run == change && *n > 1 && field[1] > UINT16_MAX)
		return NULL;
	return *n < a->min ? NULL : a;
}

static int run(struct tool *tool, const char *text, unsigned int views)
{
	const struct action *a;
	uint64_t field[MAX_FIELDS];
	unsigned int n;
	int err;

	a = parse_action(text, field, &n);
	if (!a->run)
		return list(tool, views);
	tool->doing = text;
	err = a->run(tool, field, n);
	if (err != -EINVAL)
		return err;
	error("%s: no such view, or no memory there", text);
	return MONITOR_TOLD;
}

static int stay(struct tool *tool, int stay_ms)
{
	int64_t deadline = deadline_ns(stay_ms);
	struct kint_event event;
	int err;

	for (;;) {
		err = next_event(tool, &event, deadline);
		if (err == -ETIMEDOUT || err == -EINTR)
			return 0;
		if (!err)
			err = pass_by(tool, &event);
		if (err)
			return err;
	}
}

static void print_usage(void)
{
	printf("usage: kvmi views --listen ADDRESS [options] [common options] [ACTION]...\n"
	       "  list                   the views there are, and the vCPUs in them (also without\n"
	       "                         ACTION)\n"
	       "  create[=VIEW]          make a view, a copy of that one (0)\n"
	       "  destroy=VIEW           end a view\n"
	       "  switch=VIEW[,VCPU]     have a vCPU, or all, go on in that view\n"
	       "  show=VIEW,ADDRESS,OTHER  show the page at OTHER in place of that at ADDRESS\n"
	       "  access=VIEW,ADDRESS    what is left of the access to a page\n"
	       "  --for SECONDS          stay that long; views end when the command does (0)\n");
}

int cmd_views(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "for", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 }
	};
	struct kvmi_vm_get_features_reply features;
	int opt, err, i, stay_ms = 0;
	uint64_t field[MAX_FIELDS];
	unsigned int n;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'f':
			if (parse_seconds(optarg, &stay_ms))
				break;
			error("--for %s: give a number of seconds", optarg);
			return EXIT_USAGE;
		default:
			return EXIT_USAGE;
		}
	}
	for (i = optind; i < argc; i++) {
		if (parse_action(argv[i], field, &n))
			continue;
		error("views: '%s' is no action; see kvmi views --help", argv[i]);
		return EXIT_USAGE;
	}
	err = session_open(tool);
	if (err)
		return err;
	tool->doing = "what the host can do";
	err = kint_get_features(tool->conn, &features);
	if (!err && !features.views) {
		error("views: the host has none: it has no EPT or NPT");
		return EXIT_ERROR;
	}
	if (!err && optind == argc)
		err = list(tool, features.views);
	for (i = optind; i < argc && !err; i++)
		err = run(tool, argv[i], features.views);
	if (!err)
		err = stay(tool, stay_ms);
	if (err && err != MONITOR_TOLD)
		error("views: %s: %s", tool->doing, explain(err));
	return err ? EXIT_ERROR : EXIT_OK;
}
