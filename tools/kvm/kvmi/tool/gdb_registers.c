// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: registers, and the description of them that gdb asks for.
 *
 * They come with the event that a vCPU stands still for, but for those of FPU and
 * vectors, which are read when gdb first wants them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include "gdb.h"

/* XSAVE's standard format */
#define XSTATE_BV	512
#define YMM_HIGH	576
#define X87		(1 << 0)
#define SSE		(1 << 1)
#define AVX		(1 << 2)

enum kind {
	GENERAL,	/* of struct kvm_regs */
	PC,
	SPECIAL,	/* of struct kvm_sregs, as the rest read only */
	SELECTOR,
	SHADOW_GS,
	STACK,		/* what XSAVE has, from here on; those of the FPU */
	FPU,
	TAGS,		/* two bits for each, where XSAVE has one */
	VECTOR,
	VECTOR_HIGH
};

struct reg {
	const char *name;	/* with a %u for the number if there are several */
	const char *type;
	unsigned char bits;
	enum kind kind;
	unsigned short offset, size;	/* where it is, and in how many bytes */
	unsigned short count, stride;	/* 0 is one */
};

#define GENERAL_64(r) { #r, "int64", 64, GENERAL, offsetof(struct kvm_regs, r), 8, 0, 0 }
#define GENERAL_32(n, r) { n, "int32", 32, GENERAL, offsetof(struct kvm_regs, r), 4, 0, 0 }
#define POINTER(n, bits, size, r) \
	{ n, "data_ptr", bits, GENERAL, offsetof(struct kvm_regs, r), size, 0, 0 }
#define SELECTOR_REG(s) \
	{ #s, "int32", 32, SELECTOR, offsetof(struct kvm_sregs, s.selector), 2, 0, 0 }
#define FPU_REG(n, o, s) { n, "int", 32, FPU, o, s, 0, 0 }
#define VECTORS(n) { "xmm%u", "vec128", 128, VECTOR, 160, 16, n, 16 }
#define HIGH_VECTORS(n) { "ymm%uh", "uint128", 128, VECTOR_HIGH, YMM_HIGH, 16, n, 16 }
#define SPECIAL_REG(n, t, r) { n, t, 64, SPECIAL, offsetof(struct kvm_sregs, r), 8, 0, 0 }
#define END { NULL, NULL, 0, GENERAL, 0, 0, 0, 0 }

static const struct reg general_64[] = {
	GENERAL_64(rax), GENERAL_64(rbx), GENERAL_64(rcx), GENERAL_64(rdx),
	GENERAL_64(rsi), GENERAL_64(rdi), POINTER("rbp", 64, 8, rbp), POINTER("rsp", 64, 8, rsp),
	GENERAL_64(r8), GENERAL_64(r9), GENERAL_64(r10), GENERAL_64(r11),
	GENERAL_64(r12), GENERAL_64(r13), GENERAL_64(r14), GENERAL_64(r15),
	{ "rip", "code_ptr", 64, PC, 0, 8, 0, 0 }, END
};

static const struct reg general_32[] = {
	GENERAL_32("eax", rax), GENERAL_32("ecx", rcx), GENERAL_32("edx", rdx),
	GENERAL_32("ebx", rbx), POINTER("esp", 32, 4, rsp), POINTER("ebp", 32, 4, rbp),
	GENERAL_32("esi", rsi), GENERAL_32("edi", rdi),
	{ "eip", "code_ptr", 32, PC, 0, 4, 0, 0 }, END
};

static const struct reg flags_and_more[] = {
	{ "eflags", "i386_eflags", 32, GENERAL, offsetof(struct kvm_regs, rflags), 4, 0, 0 },
	SELECTOR_REG(cs), SELECTOR_REG(ss), SELECTOR_REG(ds), SELECTOR_REG(es),
	SELECTOR_REG(fs), SELECTOR_REG(gs),
	{ "st%u", "i387_ext", 80, STACK, 32, 10, 8, 16 },
	FPU_REG("fctrl", 0, 2), FPU_REG("fstat", 2, 2),
	{ "ftag", "int", 32, TAGS, 4, 1, 0, 0 },
	FPU_REG("fiseg", 12, 2), FPU_REG("fioff", 8, 4), FPU_REG("foseg", 20, 2),
	FPU_REG("fooff", 16, 4), FPU_REG("fop", 6, 2), END
};

static const struct reg vectors_64[] = { VECTORS(16), END }, vectors_32[] = { VECTORS(8), END };
static const struct reg high_64[] = { HIGH_VECTORS(16), END }, high_32[] = { HIGH_VECTORS(8), END };
static const struct reg mxcsr[] = { { "mxcsr", "i386_mxcsr", 32, VECTOR, 24, 4, 0, 0 }, END };

static const struct reg segments[] = {
	SPECIAL_REG("fs_base", "int", fs.base), SPECIAL_REG("gs_base", "int", gs.base), END
};

static const struct reg control[] = {
	{ "k_gs_base", "int64", 64, SHADOW_GS, 0, 8, 0, 0 },
	SPECIAL_REG("cr0", "x86_cr0", cr0), SPECIAL_REG("cr2", "int64", cr2),
	SPECIAL_REG("cr3", "int64", cr3), SPECIAL_REG("cr4", "x86_cr4", cr4),
	SPECIAL_REG("cr8", "int64", cr8), SPECIAL_REG("efer", "x86_efer", efer), END
};

enum types { NO_TYPES, CORE_TYPES, VECTOR_TYPES, CONTROL_TYPES };

/* What belongs together to gdb, in one or two lists */
struct feature {
	const char *name;
	enum types types;
	const struct reg *regs[3];
};

static const struct feature features_64[] = {
	{ "org.gnu.gdb.i386.core", CORE_TYPES, { general_64, flags_and_more, NULL } },
	{ "org.gnu.gdb.i386.sse", VECTOR_TYPES, { vectors_64, mxcsr, NULL } },
	{ "org.gnu.gdb.i386.avx", NO_TYPES, { high_64, NULL, NULL } },
	{ "org.gnu.gdb.i386.segments", NO_TYPES, { segments, NULL, NULL } },
	{ "kvmi.x86.control", CONTROL_TYPES, { control, NULL, NULL } },
	{ NULL, NO_TYPES, { NULL, NULL, NULL } }
}, features_32[] = {
	{ "org.gnu.gdb.i386.core", CORE_TYPES, { general_32, flags_and_more, NULL } },
	{ "org.gnu.gdb.i386.sse", VECTOR_TYPES, { vectors_32, mxcsr, NULL } },
	{ "org.gnu.gdb.i386.avx", NO_TYPES, { high_32, NULL, NULL } },
	{ "kvmi.x86.control", CONTROL_TYPES, { control, NULL, NULL } },
	{ NULL, NO_TYPES, { NULL, NULL, NULL } }
};

static bool is_32bit;

void gdb_registers_begin(bool only_32bit)
{
	is_32bit = only_32bit;
}

static const struct feature *first_feature(void)
{
	return is_32bit ? features_32 : features_64;
}

static unsigned int count_of(const struct reg *r)
{
	return r->count ? r->count : 1;
}

/* The register with this number, by itself; false if there is none */
static bool find_reg(uint64_t nr, struct reg *reg)
{
	const struct feature *f;
	const struct reg *r;
	unsigned int i;

	for (f = first_feature(); f->name; f++) {
		for (i = 0; f->regs[i]; i++) {
			for (r = f->regs[i]; r->name; r++) {
				if (nr < count_of(r)) {
					*reg = *r;
					reg->offset += nr * r->stride;
					return true;
				}
				nr -= count_of(r);
			}
		}
	}
	return false;
}

/* ---- The description ---- */
struct xml {
	struct gdb_reply *reply;
	uint64_t skip, room;	/* of the part that is wanted */
	bool more;
};

static void add(struct xml *xml, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct xml *xml, const char *format, ...)
{
	char buf[256];
	va_list ap;
	size_t size;

	va_start(ap, format);
	size = vsnprintf(buf, sizeof(buf), format, ap);
	va_end(ap);
	if (xml->skip >= size) {
		xml->skip -= size;
		return;
	}
	size -= xml->skip;
	xml->more |= size > xml->room;
	if (size > xml->room)
		size = xml->room;
	put_binary(xml->reply, buf + xml->skip, size);
	xml->skip = 0;
	xml->room -= size;
}

/* From the last entry of a list, which has the lowest bit, to the first */
static void add_bits(struct xml *xml, const char *id, unsigned int size,
		     const struct bit_name *bits)
{
	unsigned int n;

	for (n = 0; bits[n].name; n++)
		;
	add(xml, "<flags id=\"%s\" size=\"%u\">\n", id, size);
	while (n--)
		add(xml, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n", bits[n].name,
		    bits[n].bit, bits[n].bit);
	add(xml, "</flags>\n");
}

static void add_vector_types(struct xml *xml)
{
	static const struct {
		const char *id, *type, *field;
		unsigned int count;
	} views[] = {
		{ "vf4", "ieee_single", "v4_float", 4 }, { "vd2", "ieee_double", "v2_double", 2 },
		{ "vb16", "int8", "v16_int8", 16 }, { "vw8", "int16", "v8_int16", 8 },
		{ "vi4", "int32", "v4_int32", 4 }, { "vl2", "int64", "v2_int64", 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(views) / sizeof(views[0]); i++)
		add(xml, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>\n", views[i].id,
		    views[i].type, views[i].count);
	add(xml, "<union id=\"vec128\">\n");
	for (i = 0; i < sizeof(views) / sizeof(views[0]); i++)
		add(xml, "<field name=\"%s\" type=\"%s\"/>\n", views[i].field, views[i].id);
	add(xml, "<field name=\"uint128\" type=\"uint128\"/>\n</union>\n");
}

static void add_types(struct xml *xml, enum types types)
{
	static const struct bit_name mxcsr_bits[] = {
		{ 15, "FZ", NULL, NULL }, { 12, "PM", NULL, NULL }, { 11, "UM", NULL, NULL },
		{ 10, "OM", NULL, NULL }, { 9, "ZM", NULL, NULL }, { 8, "DM", NULL, NULL },
		{ 7, "IM", NULL, NULL }, { 6, "DAZ", NULL, NULL }, { 5, "PE", NULL, NULL },
		{ 4, "UE", NULL, NULL }, { 3, "OE", NULL, NULL }, { 2, "ZE", NULL, NULL },
		{ 1, "DE", NULL, NULL }, { 0, "IE", NULL, NULL }, { 0, NULL, NULL, NULL }
	};

	switch (types) {
	case CORE_TYPES:
		add_bits(xml, "i386_eflags", 4, rflags_bits);
		break;
	case VECTOR_TYPES:
		add_vector_types(xml);
		add_bits(xml, "i386_mxcsr", 4, mxcsr_bits);
		break;
	case CONTROL_TYPES:
		add_bits(xml, "x86_cr0", 8, cr0_bits);
		add_bits(xml, "x86_cr4", 8, cr4_bits);
		add_bits(xml, "x86_efer", 8, efer_bits);
		break;
	default:
		break;
	}
}

static void add_regs(struct xml *xml, const struct reg *r)
{
	char name[16];
	unsigned int i;

	for (; r->name; r++) {
		for (i = 0; i < count_of(r); i++) {
			snprintf(name, sizeof(name), r->name, i);
			add(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"%s/>\n", name, r->bits,
			    r->type, r->kind == FPU || r->kind == TAGS ? " group=\"float\"" : "");
		}
	}
}

/* The part of it that gdb asks for, after "m" if there is more, else "l" */
void gdb_target_xml(struct gdb_reply *reply, uint64_t offset, uint64_t size)
{
	/* Each byte may take two */
	struct xml xml = {
		.reply = reply, .skip = offset,
		.room = size < GDB_PACKET_SIZE / 2 - 1 ? size : GDB_PACKET_SIZE / 2 - 1,
	};
	const struct feature *f;
	unsigned int i;

	put_text(reply, "l");
	add(&xml, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
	    "<target version=\"1.0\">\n<architecture>%s</architecture>\n",
	    is_32bit ? "i386" : "i386:x86-64");
	for (f = first_feature(); f->name; f++) {
		add(&xml, "<feature name=\"%s\">\n", f->name);
		add_types(&xml, f->types);
		for (i = 0; f->regs[i]; i++)
			add_regs(&xml, f->regs[i]);
		add(&xml, "</feature>\n");
	}
	add(&xml, "</target>\n");
	if (xml.more)
		reply->data[0] = 'm';
}

/* ---- Their values ---- */
uint64_t gdb_pc(const struct kvmi_vcpu_event_arch *arch)
{
	if (arch->mode == KVMI_X86_MODE_64)
		return arch->regs.rip;
	return (uint32_t)(arch->sregs.cs.base + arch->regs.rip);
}

static bool have_xsave(struct tool *tool, struct gdb_vcpu *v)
{
	size_t total;

	if (!v->xsave_read) {
		v->xsave_read = true;
		v->xsave_size = 0;
		if (!kint_get_xsave2(tool->conn, v->nr, v->xsave, sizeof(v->xsave), &total))
			v->xsave_size = total < sizeof(v->xsave) ? total : sizeof(v->xsave);
	}
	return v->xsave_size;
}

static unsigned int tag_of(const unsigned char *xsave, unsigned int i)
{
	unsigned int top = xsave[3] >> 3 & 7;
	const unsigned char *st = xsave + 32 + 16 * ((i - top) & 7);
	unsigned int exponent = (st[9] & 0x7f) << 8 | st[8], k;

	if (!(xsave[4] >> i & 1))
		return 3;
	if (exponent == 0x7fff)
		return 2;
	if (exponent)
		return st[7] >> 7 ? 0 : 2;
	for (k = 0; k < 8 && !st[k]; k++)
		;
	return k == 8 ? 1 : 2;
}

/* False if it is not to be had */
static bool get(struct tool *tool, struct gdb_vcpu *v, const struct reg *r, void *value)
{
	const struct kvmi_vcpu_event_arch *arch = &v->event.common.arch;
	unsigned int i, tags = 0;
	uint64_t pc;

	switch (r->kind) {
	case GENERAL:
		memcpy(value, (const char *)&arch->regs + r->offset, r->size);
		return true;
	case PC:
		pc = gdb_pc(arch);
		memcpy(value, &pc, r->size);
		return true;
	case SPECIAL:
	case SELECTOR:
		memcpy(value, (const char *)&arch->sregs + r->offset, r->size);
		return true;
	case SHADOW_GS:
		memcpy(value, &arch->msrs.shadow_gs, r->size);
		return true;
	default:
		break;
	}
	if (!have_xsave(tool, v) || r->offset + r->size > v->xsave_size)
		return false;
	if (r->kind != TAGS) {
		memcpy(value, v->xsave + r->offset, r->size);
		return true;
	}
	for (i = 0; i < 8; i++)
		tags |= tag_of(v->xsave, i) << 2 * i;
	memcpy(value, &tags, sizeof(tags));
	return true;
}

static void put_reg(struct tool *tool, struct gdb_vcpu *v, const struct reg *r,
		    struct gdb_reply *reply)
{
	unsigned char value[16] = { 0 };
	unsigned int i;

	if (get(tool, v, r, value)) {
		put_hex(reply, value, r->bits / 8);
		return;
	}
	for (i = 0; i < r->bits / 8u; i++)
		put_text(reply, "xx");
}

void gdb_get_all(struct tool *tool, struct gdb_vcpu *v, struct gdb_reply *reply)
{
	struct reg r;
	uint64_t nr;

	for (nr = 0; find_reg(nr, &r); nr++)
		put_reg(tool, v, &r, reply);
}

bool gdb_get_one(struct tool *tool, struct gdb_vcpu *v, uint64_t nr, struct gdb_reply *reply)
{
	struct reg r;

	if (!find_reg(nr, &r))
		return false;
	put_reg(tool, v, &r, reply);
	return true;
}

/* ---- Changing them ---- */
static int set_general(struct tool *tool, struct gdb_vcpu *v, const struct kvm_regs *regs)
{
	int err;

	if (!memcmp(regs, &v->event.common.arch.regs, sizeof(*regs)))
		return 0;
	err = kint_set_registers(tool->conn, v->nr, regs);
	if (err)
		return err;
	v->event.common.arch.regs = *regs;
	return 0;
}

static int set_xsave(struct tool *tool, struct gdb_vcpu *v, const struct reg *r,
		     const unsigned char *value)
{
	unsigned char present = r->kind == VECTOR ? SSE : r->kind == VECTOR_HIGH ? AVX : X87;
	unsigned char state[sizeof(v->xsave)];
	unsigned int i, tags;
	int err;

	memcpy(state, v->xsave, sizeof(state));
	state[XSTATE_BV] |= present;
	if (r->kind == TAGS) {
		memcpy(&tags, value, sizeof(tags));
		state[4] = 0;
		for (i = 0; i < 8; i++)
			state[4] |= ((tags >> 2 * i & 3) != 3) << i;
	} else {
		memcpy(state + r->offset, value, r->size);
	}
	err = kint_set_xsave2(tool->conn, v->nr, 0, state, v->xsave_size);
	if (!err)
		memcpy(v->xsave, state, sizeof(state));
	return err;
}

/*
 * Those of the FPU and vectors are changed at once, the others in @regs.  What cannot be
 * changed may be set to what it is.
 */
static int set(struct tool *tool, struct gdb_vcpu *v, const struct reg *r,
	       const unsigned char *value, struct kvm_regs *regs)
{
	const struct kvmi_vcpu_event_arch *arch = &v->event.common.arch;
	unsigned char old[16] = { 0 };
	uint64_t pc = 0;

	if (!get(tool, v, r, old) || !memcmp(old, value, r->bits / 8))
		return 0;
	switch (r->kind) {
	case GENERAL:
		memcpy((char *)regs + r->offset, value, r->size);
		return 0;
	case PC:
		memcpy(&pc, value, r->size);
		if (arch->mode != KVMI_X86_MODE_64)
			pc = (uint32_t)(pc - arch->sregs.cs.base);
		regs->rip = pc;
		return 0;
	case SPECIAL:
	case SELECTOR:
	case SHADOW_GS:
		return -EPERM;
	default:
		return set_xsave(tool, v, r, value);
	}
}

/* Of an "x" for what gdb does not know, nothing is changed */
static int take(struct tool *tool, struct gdb_vcpu *v, const struct reg *r, const char **hex,
		struct kvm_regs *regs)
{
	unsigned char value[16];

	if (**hex == 'x' && strspn(*hex, "x") >= r->bits / 4u) {
		*hex += r->bits / 4;
		return 0;
	}
	if (!take_bytes(hex, value, r->bits / 8))
		return -EINVAL;
	return set(tool, v, r, value, regs);
}

int gdb_set_one(struct tool *tool, struct gdb_vcpu *v, uint64_t nr, const char *hex)
{
	struct kvm_regs regs = v->event.common.arch.regs;
	struct reg r;
	int err;

	if (!find_reg(nr, &r) || strlen(hex) != r.bits / 4u)
		return -EINVAL;
	err = take(tool, v, &r, &hex, &regs);
	return err ? err : set_general(tool, v, &regs);
}

int gdb_set_all(struct tool *tool, struct gdb_vcpu *v, const char *hex)
{
	struct kvm_regs regs = v->event.common.arch.regs;
	struct reg r;
	uint64_t nr;
	int err = 0;

	for (nr = 0; *hex && find_reg(nr, &r) && !err; nr++)
		err = take(tool, v, &r, &hex, &regs);
	if (!err && *hex)
		err = -EINVAL;
	return err ? err : set_general(tool, v, &regs);
}
