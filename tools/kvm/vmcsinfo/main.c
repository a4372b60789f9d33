// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define SYSFS_NOTE	"/sys/devices/system/cpu/vmcs_note"
#define MAX_SELECTED	4096

static const char usage_text[] =
"usage: vmcsinfo save FILE\n"
"       vmcsinfo fields [-l NOTE | -d DUMP]\n"
"       vmcsinfo find   -d DUMP [-l NOTE]\n"
"       vmcsinfo print  -d DUMP [-l NOTE] ADDRESS\n"
"       vmcsinfo print  [-l NOTE] -r FILE\n"
"       vmcsinfo core   -d DUMP [-l NOTE] [-t VMLINUX] -o FILE [ADDRESS...]\n"
"\n"
"Save the layout of VMCSs, print it; find and print the VMCSs in a dump of a host;\n"
"make an ELF core of a guest out of that.\n"
"\n"
"  -d, --dump=FILE    an ELF dump of the host, /proc/vmcore or /proc/kcore\n"
"  -l, --layout=FILE  what \"vmcsinfo save\" saved on the host; without it the layout\n"
"                     is looked for in the dump\n"
"  -r, --region=FILE  a VMCS region by itself\n"
"  -t, --types=FILE   the host's vmlinux or kvm-intel.ko with debugging information,\n"
"                     for the general registers\n"
"  -o, --output=FILE  where the core goes, - for the standard output\n"
"  ADDRESS            the physical address of a VMCS\n";

static struct {
	const char *dump, *layout, *region, *types, *output;
} options;

static void __attribute__((noreturn)) usage(void)
{
	fputs(usage_text, stderr);
	exit(2);
}

static size_t read_whole(const char *name, void *buf, size_t size)
{
	size_t total = 0;
	ssize_t n = 0;
	int fd;

	fd = open(name, O_RDONLY);
	if (fd < 0)
		die("%s: %s", name, strerror(errno));
	while (total < size && (n = read(fd, (char *)buf + total, size - total)) > 0)
		total += n;
	if (n < 0)
		die("%s: %s", name, strerror(errno));
	close(fd);
	return total;
}

static size_t read_note(const char *name, struct layout *l, char *buf)
{
	size_t size = read_whole(name, buf, MAX_NOTE), used;

	if (!layout_parse_note(l, buf, size, &used))
		die("%s: it is no layout of VMCSs", name);
	return used;
}

static void get_layout(struct layout *l, struct dump *d)
{
	char buf[MAX_NOTE];

	if (options.layout)
		read_note(options.layout, l, buf);
	else if (!d)
		read_note(SYSFS_NOTE, l, buf);
	else if (d->has_layout)
		*l = d->layout;
	else if (!layout_find(d, l))
		die("%s: the layout of VMCSs is not in it (use -l)", d->name);
}

static void save(const char *name)
{
	char buf[MAX_NOTE];
	struct layout l;
	size_t size;
	FILE *f;

	size = read_note(SYSFS_NOTE, &l, buf);
	f = fopen(name, "w");
	if (!f || fwrite(buf, 1, size, f) != size || fclose(f))
		die("%s: %s", name, strerror(errno));
}

static void print_fields(void)
{
	static const char * const layouts[] = {
		"", "  big-endian", "  rotated", "  packed"
	};
	unsigned int i;
	struct layout l;
	struct dump d;

	if (options.dump)
		dump_open(&d, options.dump);
	get_layout(&l, options.dump ? &d : NULL);
	printf("revision 0x%x, %u bytes\n", l.revision, l.region_size);
	for (i = 0; i < l.nr; i++) {
		const struct vmcsinfo_field *f = &l.fields[i];
		const char *name = field_name(f->encoding);

		if (f->offset)
			printf("%04x  0x%03x  %u  %s%s\n", f->encoding, f->offset, f->size,
			       name ? name : "?", layouts[f->layout]);
	}
	if (options.dump)
		dump_close(&d);
}

static void print_region(const struct layout *l, const uint8_t *region)
{
	static const char * const kinds[] = {
		"controls", "exit information", "guest state", "host state"
	};
	uint64_t value;
	uint32_t head[2];
	unsigned int kind, i;

	memcpy(head, region, sizeof(head));
	printf("revision 0x%x, abort indicator 0x%x\n", head[0], head[1]);
	for (kind = 0; kind < 4; kind++) {
		printf("%s\n", kinds[kind]);
		for (i = 0; i < l->nr; i++) {
			const uint32_t encoding = l->fields[i].encoding;
			const char *name = field_name(encoding);

			if ((encoding >> 10 & 3) == kind && layout_get(l, region, encoding, &value))
				printf("  %-30s 0x%" PRIx64 "\n", name ? name : "?", value);
		}
	}
}

static uint64_t parse_address(const char *text)
{
	char *end;
	uint64_t address;

	errno = 0;
	address = strtoull(text, &end, 0);
	if (errno || *end || end == text || address & 0xfff)
		die("%s: it is no address of a page", text);
	return address;
}

static void read_vmcs(const struct dump *d, const struct layout *l, uint64_t address,
		      struct vmcs *v)
{
	if (!dump_read(d, address, v->region, sizeof(v->region)))
		die("0x%" PRIx64 " is not in the dump", address);
	vmcs_set(v, l, address);
}

static void print(int argc, char **argv)
{
	struct vmcs v = {};
	struct layout l;
	const char *why;
	struct dump d;

	if (!options.region == !options.dump || argc != !!options.dump)
		usage();
	if (options.dump) {
		dump_open(&d, options.dump);
		get_layout(&l, &d);
		read_vmcs(&d, &l, parse_address(argv[0]), &v);
		dump_close(&d);
	} else {
		get_layout(&l, NULL);
		if (read_whole(options.region, v.region, sizeof(v.region)) < l.region_size)
			die("%s: it is smaller than a VMCS region", options.region);
	}
	if (!vmcs_plausible(&l, v.region, &why))
		fprintf(stderr, "vmcsinfo: that may be no VMCS of a VM: %s\n", why);
	print_region(&l, v.region);
}

static void find(void)
{
	struct layout l;
	struct vmcs *v;
	struct dump d;
	size_t nr, i;

	if (!options.dump)
		usage();
	dump_open(&d, options.dump);
	get_layout(&l, &d);
	v = vmcs_find(&d, &l, &nr);
	for (i = 0; i < nr; i++) {
		printf("0x%" PRIx64 "  RIP 0x%" PRIx64 "  RSP 0x%" PRIx64 "  CR3 0x%" PRIx64
		       "  EPTP 0x%" PRIx64 "\n", v[i].physical,
		       layout_value(&l, v[i].region, GUEST_RIP),
		       layout_value(&l, v[i].region, GUEST_RSP),
		       layout_value(&l, v[i].region, GUEST_CR3), v[i].eptp);
	}
	if (!nr)
		die("%s: there is no VMCS in it", options.dump);
	free(v);
	dump_close(&d);
}

/* The vCPUs of one guest have one EPTP; of which guest is for the user to say */
static struct vmcs *select_guest(const struct dump *d, const struct layout *l, size_t *nr)
{
	struct vmcs *v = vmcs_find(d, l, nr);
	size_t i, kept = 0;

	for (i = 0; i < *nr; i++) {
		if (v[i].eptp)
			v[kept++] = v[i];
	}
	*nr = kept;
	for (i = 1; i < kept; i++) {
		if (v[i].eptp != v[0].eptp)
			die("%s: there are several guests in it: name the VMCSs of one",
			    d->name);
	}
	if (!kept)
		die("%s: there is no VMCS of a guest with EPT in it", d->name);
	return v;
}

static void core(int argc, char **argv)
{
	struct registers *r;
	struct layout l;
	struct types t;
	struct vmcs *v;
	struct dump d;
	size_t nr, i, j;

	if (!options.dump || !options.output || argc > MAX_SELECTED)
		usage();
	if (options.types)
		types_read(&t, options.types);
	dump_open(&d, options.dump);
	get_layout(&l, &d);
	nr = argc;
	if (nr) {
		v = allocate(nr, sizeof(*v));
		for (i = 0; i < nr; i++) {
			read_vmcs(&d, &l, parse_address(argv[i]), &v[i]);
			if (!v[i].eptp || v[i].eptp != v[0].eptp)
				die("%s: it has no EPT, or that of another guest than %s",
				    argv[i], argv[0]);
		}
	} else {
		v = select_guest(&d, &l, &nr);
	}

	r = allocate(nr, sizeof(*r));
	if (options.types)
		registers_find(&d, &t, v, r, nr);
	for (i = 0; i < nr; i++) {
		if (options.types && !r[i].known)
			fprintf(stderr, "vmcsinfo: 0x%" PRIx64
				": its general registers are not known, no vCPU has it\n",
				v[i].physical);
	}
	/* By the number of the vCPU, which is the guest's CPU */
	for (i = 1; i < nr; i++) {
		for (j = i; j && r[j].known && r[j - 1].known && r[j].id < r[j - 1].id; j--) {
			const struct registers tr = r[j];
			const struct vmcs tv = v[j];

			r[j] = r[j - 1];
			r[j - 1] = tr;
			v[j] = v[j - 1];
			v[j - 1] = tv;
		}
	}
	core_write(&d, &l, v, r, nr, options.output);
	free(r);
	free(v);
	dump_close(&d);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "dump", required_argument, NULL, 'd' },
		{ "layout", required_argument, NULL, 'l' },
		{ "region", required_argument, NULL, 'r' },
		{ "types", required_argument, NULL, 't' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	const char *command;
	int o;

	while ((o = getopt_long(argc, argv, "d:l:r:t:o:h", longs, NULL)) != -1) {
		switch (o) {
		case 'd':
			options.dump = optarg;
			break;
		case 'l':
			options.layout = optarg;
			break;
		case 'r':
			options.region = optarg;
			break;
		case 't':
			options.types = optarg;
			break;
		case 'o':
			options.output = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (argc < 1)
		usage();
	command = argv[0];
	argc--;
	argv++;
	if (!strcmp(command, "save") && argc == 1)
		save(argv[0]);
	else if (!strcmp(command, "fields") && !argc)
		print_fields();
	else if (!strcmp(command, "find") && !argc)
		find();
	else if (!strcmp(command, "print"))
		print(argc, argv);
	else if (!strcmp(command, "core"))
		core(argc, argv);
	else
		usage();
	return 0;
}
