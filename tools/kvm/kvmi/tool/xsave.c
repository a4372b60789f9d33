// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi xsave: FPU and vector registers, in XSAVE's standard format.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tool.h"

#define MAX_STATE	(1 << 20)
#define HEADER		512	/* after what FXSAVE has */
#define YMM_HIGH	576	/* component 2 is always here in this format */
#define X87		(1 << 0)
#define SSE		(1 << 1)
#define AVX		(1 << 2)
#define LEAF_XSAVE	0xd

static uint64_t number_at(const unsigned char *data, size_t offset, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, data + offset, size);
	return value;
}

/* Highest byte first, as the value of a register is written */
static void print_bytes(const unsigned char *data, size_t size)
{
	while (size--)
		printf("%02x", data[size]);
}

static void print_legacy(const unsigned char *data, uint64_t present)
{
	unsigned int i;

	printf("fcw %04llx  fsw %04llx  ftw %02llx  fop %04llx  fip %016llx  fdp %016llx\n",
	       ull(number_at(data, 0, 2)), ull(number_at(data, 2, 2)),
	       ull(number_at(data, 4, 1)), ull(number_at(data, 6, 2)),
	       ull(number_at(data, 8, 8)), ull(number_at(data, 16, 8)));
	printf("mxcsr %08llx  mask %08llx\n", ull(number_at(data, 24, 4)),
	       ull(number_at(data, 28, 4)));
	for (i = 0; i < 8 && (present & X87); i++) {
		printf("st%u    ", i);
		print_bytes(data + 32 + 16 * i, 10);
		printf("\n");
	}
}

static void print_vectors(const unsigned char *data, size_t size, uint64_t present)
{
	bool high = (present & AVX) && size >= YMM_HIGH + 16 * 16;
	unsigned int i;

	for (i = 0; i < 16 && (present & (SSE | AVX)); i++) {
		printf(high ? "ymm%-3u " : "xmm%-3u ", i);
		if (high) {
			print_bytes(data + YMM_HIGH + 16 * i, 16);
			printf("_");
		}
		print_bytes(data + 160 + 16 * i, 16);
		printf("\n");
	}
}

/* Where the other components are is in CPUID */
static int print_components(struct tool *tool, int vcpu, uint64_t present)
{
	struct kvmi_vcpu_get_cpuid_reply leaf;
	unsigned int i;
	int err;

	for (i = 3; i < 63; i++) {
		if (!(present >> i & 1))
			continue;
		err = kint_get_cpuid(tool->conn, vcpu, LEAF_XSAVE, i, &leaf);
		if (err == -ENOENT || err == -EPERM)
			continue;
		if (err)
			return err;
		printf("component %u ", i);
		print_bits(stdout, xcr0_bits, 1ull << i);
		printf(": %u bytes at %u\n", leaf.eax, leaf.ebx);
	}
	return 0;
}

static int print_state(struct tool *tool, int vcpu, const unsigned char *data, size_t size)
{
	uint64_t present = number_at(data, HEADER, 8), xcr0;
	int err = kint_get_xcr(tool->conn, vcpu, 0, &xcr0);

	printf("vCPU %d, %zu bytes\n", vcpu, size);
	if (!err) {
		printf("xcr0      %016llx  ", ull(xcr0));
		print_bits(stdout, xcr0_bits, xcr0);
		printf("\n");
	} else if (err != -EPERM) {
		return err;
	}
	printf("xstate_bv %016llx  ", ull(present));
	print_bits(stdout, xcr0_bits, present);
	printf("\nxcomp_bv  %016llx\n", ull(number_at(data, HEADER + 8, 8)));
	print_legacy(data, present);
	print_vectors(data, size, present);
	return print_components(tool, vcpu, present);
}

/* All of the state, or as much as an older kernel can tell; *@data is to be freed */
static int read_state(struct tool *tool, int vcpu, unsigned char **data, size_t *size)
{
	int err = kint_get_xsave2(tool->conn, vcpu, NULL, 0, size);
	bool old = err == -ENOSYS || err == -EPERM;
	size_t total;

	if (err && !old)
		return err;
	if (old)
		*size = KVMI_XSAVE_SIZE;
	if (*size < YMM_HIGH || *size > MAX_STATE)
		return -EPROTO;
	*data = calloc(1, *size);
	if (!*data)
		return -ENOMEM;
	if (old)
		return kint_get_xsave(tool->conn, vcpu, *data);
	err = kint_get_xsave2(tool->conn, vcpu, *data, *size, &total);
	/* A vCPU's state does not grow between two commands */
	return err || total == *size ? err : -EPROTO;
}

static int write_state(struct tool *tool, int vcpu, const unsigned char *data, size_t size)
{
	int err = kint_set_xsave2(tool->conn, vcpu, 0, data, size);

	if ((err == -ENOSYS || err == -EPERM) && size == KVMI_XSAVE_SIZE)
		err = kint_set_xsave(tool->conn, vcpu, data);
	return err;
}

static bool save(const char *path, const unsigned char *data, size_t size)
{
	struct output *o = output_open("--output", path);

	if (!o)
		return false;
	if (!output_write(o, data, size))
		return output_commit(o);
	output_discard(o);
	return false;
}

static unsigned char *load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	unsigned char *data;

	if (!file) {
		error("--restore %s: %s", path, strerror(errno));
		return NULL;
	}
	data = malloc(MAX_STATE);
	*size = data ? fread(data, 1, MAX_STATE, file) : 0;
	if (ferror(file) || !feof(file) || *size < YMM_HIGH) {
		error("--restore %s: not a file that --output wrote", path);
		free(data);
		data = NULL;
	}
	fclose(file);
	return data;
}

static int show_or_save(struct tool *tool, int vcpu, const char *output)
{
	unsigned char *data = NULL;
	bool ok = true;
	size_t size;
	int err = read_state(tool, vcpu, &data, &size);

	if (!err && output)
		ok = save(output, data, size);
	else if (!err)
		err = print_state(tool, vcpu, data, size);
	free(data);
	if (err)
		error("xsave: vCPU %d: %s", vcpu, explain(err));
	return err || !ok ? EXIT_ERROR : EXIT_OK;
}

static int restore(struct tool *tool, int vcpu, const unsigned char *data, size_t size)
{
	int err = write_state(tool, vcpu, data, size);

	if (err == -EINVAL)
		error("--restore: not a state that vCPU %d can have", vcpu);
	else if (err)
		error("xsave: vCPU %d: %s", vcpu, explain(err));
	return err ? EXIT_ERROR : EXIT_OK;
}

static void print_usage(void)
{
	printf("usage: kvmi xsave --listen ADDRESS [options] [common options]\n"
	       "  --vcpu N         of this vCPU (0)\n"
	       "  --output FILE    write the state to FILE as it is, in XSAVE's standard format\n"
	       "  --restore FILE   set the state to what --output wrote\n");
}

int cmd_xsave(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpu", required_argument, NULL, 'v' },
		{ "output", required_argument, NULL, 'o' },
		{ "restore", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 }
	};
	const char *output = NULL, *input = NULL;
	unsigned char *data = NULL;
	int opt, err, vcpu = 0;
	size_t size = 0;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'v':
			if (!parse_vcpu(optarg, &vcpu))
				return EXIT_USAGE;
			break;
		case 'o':
			output = optarg;
			break;
		case 'r':
			input = optarg;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!no_arguments(tool, argc, argv))
		return EXIT_USAGE;
	if (output && input) {
		error("xsave: give --output or --restore, not both");
		return EXIT_USAGE;
	}
	if (input) {
		data = load(input, &size);
		if (!data)
			return EXIT_USAGE;
	}
	err = session_open(tool);
	if (!err && !vcpu_exists(tool, vcpu))
		err = EXIT_ERROR;
	if (!err && input)
		err = restore(tool, vcpu, data, size);
	else if (!err)
		err = show_or_save(tool, vcpu, output);
	free(data);
	return err;
}
