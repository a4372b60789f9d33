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
"       vmcsinfo find   -d DUMP [-l NOTE] [-t VMLINUX]\n"
"       vmcsinfo print  -d DUMP [-l NOTE] ADDRESS\n"
"       vmcsinfo print  [-l NOTE] -r FILE\n"
"       vmcsinfo core   -d DUMP [-l NOTE] [-t VMLINUX] [-f] -o FILE [ADDRESS...]\n"
"\n"
"Save the layout of VMCSs, print it; find and print the VMCSs in a dump of a host;\n"
"make an ELF core of a guest out of that.\n"
"\n"
"  -d, --dump=FILE    an ELF dump of the host, /proc/vmcore or /proc/kcore\n"
"  -l, --layout=FILE  what \"vmcsinfo save\" saved on the host; without it the layout\n"
"                     is looked for in the dump; or the address of a page of the\n"
"                     dump that has it\n"
"  -r, --region=FILE  a VMCS region by itself\n"
"  -t, --types=FILE   the host's vmlinux or kvm-intel.ko with debugging information,\n"
"                     for the general registers, and to know which VMCSs KVM has\n"
"  -f, --force        use VMCSs that are doubtful, or of which the EPTs differ\n"
"  -o, --output=FILE  where the core goes, - for the standard output\n"
"  ADDRESS            the physical address of a VMCS\n";

static struct {
	const char *dump, *layout, *region, *types, *output;
	bool force;
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

static void get_layout(struct layout *l, struct dump *d)
{
	char buf[MAX_NOTE];
	size_t used;

	if (options.layout && d && !strncmp(options.layout, "0x", 2)) {
		if (!dump_read(d, parse_address(options.layout), buf, sizeof(buf)) ||
		    !layout_parse_note(l, buf, sizeof(buf), &used))
			die("%s: there is no layout of VMCSs", options.layout);
	} else if (options.layout) {
		read_note(options.layout, l, buf);
	} else if (!d) {
		read_note(SYSFS_NOTE, l, buf);
	} else if (d->has_layout) {
		*l = d->layout;
	} else if (!layout_find(d, l)) {
		die("%s: the layout of VMCSs is not in it (use -l)", d->name);
	}
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

static void print(int argc, char **argv)
{
	uint8_t region[4096] = {};
	uint64_t address;
	struct layout l;
	const char *why;
	struct dump d;

	if (!options.region == !options.dump || argc != !!options.dump)
		usage();
	if (options.dump) {
		dump_open(&d, options.dump);
		get_layout(&l, &d);
		address = parse_address(argv[0]);
		if (!vmcs_read(&d, address, region))
			die("0x%" PRIx64 " is not in the dump", address);
		dump_close(&d);
	} else {
		get_layout(&l, NULL);
		if (read_whole(options.region, region, sizeof(region)) < l.region_size)
			die("%s: it is smaller than a VMCS region", options.region);
	}
	if (!vmcs_plausible(&l, region, &why))
		warn("that may be no VMCS of a VM: %s", why);
	print_region(&l, region);
}

static void find(void)
{
	uint8_t region[4096];
	struct vcpu vcpu;
	struct layout l;
	struct types t;
	struct vmcs *v;
	struct dump d;
	size_t nr, i;

	if (!options.dump)
		usage();
	if (options.types)
		types_read(&t, options.types);
	dump_open(&d, options.dump);
	get_layout(&l, &d);
	v = vmcs_find(&d, &l, &nr);
	if (options.types) {
		vcpus_find(&d, &t, v, nr);
		vmcs_check_owner(&d, &t, v, nr);
	}
	for (i = 0; i < nr; i++) {
		if (!vmcs_read(&d, v[i].physical, region))
			continue;
		printf("0x%" PRIx64 "  RIP 0x%" PRIx64 "  RSP 0x%" PRIx64 "  CR3 0x%" PRIx64
		       "  EPTP 0x%" PRIx64, v[i].physical, layout_value(&l, region, GUEST_RIP),
		       layout_value(&l, region, GUEST_RSP), layout_value(&l, region, GUEST_CR3),
		       v[i].eptp);
		if (options.types)
			vcpu_read(&d, &t, &v[i], &vcpu);
		if (options.types && vcpu.known)
			printf("  VM 0x%" PRIx64 "  vCPU %u%s%s", vcpu.kvm, vcpu.id,
			       v[i].eptp && !vcpu.has_root ? "  (EPT is obsolete)" : "",
			       vcpu.nested ? "  (runs a guest of its guest)" : "");
		if (v[i].doubt)
			printf("  (%s)", v[i].doubt);
		putchar('\n');
	}
	if (!nr)
		die("%s: there is no VMCS in it", options.dump);
	free(v);
	dump_close(&d);
}

static void core(int argc, char **argv)
{
	uint64_t *addresses;
	struct layout l;
	struct guest g;
	struct types t;
	struct dump d;
	int i;

	if (!options.dump || !options.output || argc > MAX_SELECTED)
		usage();
	if (options.types)
		types_read(&t, options.types);
	dump_open(&d, options.dump);
	get_layout(&l, &d);
	addresses = allocate(argc, sizeof(*addresses));
	for (i = 0; i < argc; i++)
		addresses[i] = parse_address(argv[i]);
	guest_select(&g, &d, &l, options.types ? &t : NULL, addresses, argc, options.force);
	core_write(&d, &l, &g, options.output);
	guest_free(&g);
	free(addresses);
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
		{ "force", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	const char *command;
	int o;

	while ((o = getopt_long(argc, argv, "d:l:r:t:o:fh", longs, NULL)) != -1) {
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
		case 'f':
			options.force = true;
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
