// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest programs made at random, by classes of instructions.  Most find operands
 * with which they do something; time does not count, and nothing is endless but
 * by chance.
 */
#include "kvmi_program.h"
#include "test_util.h"

/* Prefixes */
#define LOCK		BIT(0)
#define REPNE		BIT(1)
#define REP		BIT(2)
#define OPSIZE		BIT(3)
#define REX_W		BIT(4)

enum { AX, CX, DX, BX, SP, BP, SI, DI };

struct gen {
	struct kvm_random_state random;
	struct kvmi_program *p;
	/* Where the next byte goes. */
	u64 pos;
};

struct operand {
	/* A prefix, or 0 */
	u8 segment;
	/* ModRM without the register, SIB, displacement */
	u8 bytes[8];
	u8 size;
};

static u32 below(struct gen *g, u32 n)
{
	/* The lowest bits of a random number are the least random. */
	return (u64)(kvm_random_u32(&g->random) & 0x7fffffff) * n >> 31;
}

static bool one_in(struct gen *g, u32 n)
{
	return !below(g, n);
}

static bool is_16bit(struct gen *g)
{
	return kvmi_program_is_real(g->p);
}

static bool is_64bit(struct gen *g)
{
	return kvmi_program_is_64bit(g->p);
}

static void put(struct gen *g, u64 val, int size)
{
	memcpy(g->p->mem + g->pos, &val, size);
	g->pos += size;
}

/* Each instruction is begun with this. */
static void begin(struct gen *g)
{
	struct kvmi_program *p = g->p;

	p->insns[p->nr_insns++] = g->pos - p->code;
}

static bool is_full(struct gen *g)
{
	struct kvmi_program *p = g->p;

	return p->nr_insns > KVMI_PROGRAM_MAX_INSNS - 16 ||
	       g->pos - p->code > KVMI_PROGRAM_MAX_SIZE - 96;
}

static void put_opcode(struct gen *g, u32 opcode)
{
	if (opcode >= 0x10000)
		put(g, opcode >> 16, 1);
	if (opcode >= 0x100)
		put(g, opcode >> 8 & 0xff, 1);
	put(g, opcode & 0xff, 1);
}

static void put_prefixes(struct gen *g, u32 prefixes, const struct operand *op)
{
	if (op && op->segment)
		put(g, op->segment, 1);
	if (prefixes & LOCK)
		put(g, 0xf0, 1);
	if (prefixes & REPNE)
		put(g, 0xf2, 1);
	if (prefixes & REP)
		put(g, 0xf3, 1);
	if (prefixes & OPSIZE)
		put(g, 0x66, 1);
	if (prefixes & REX_W && is_64bit(g))
		put(g, 0x48, 1);
}

/* An instruction without operands */
static void simple(struct gen *g, u32 opcode)
{
	begin(g);
	put_opcode(g, opcode);
}

static void simple_imm(struct gen *g, u32 opcode, u64 imm, int size)
{
	simple(g, opcode);
	put(g, imm, size);
}

/* An instruction with ModRM; a mandatory prefix is one of those. */
static void insn(struct gen *g, u32 prefixes, u32 opcode, int reg,
		 const struct operand *op)
{
	begin(g);
	put_prefixes(g, prefixes, op);
	put_opcode(g, opcode);
	put(g, op->bytes[0] | (reg & 7) << 3, 1);
	if (op->size > 1) {
		memcpy(g->p->mem + g->pos, op->bytes + 1, op->size - 1);
		g->pos += op->size - 1;
	}
}

static struct operand reg_operand(int reg)
{
	return (struct operand) { .bytes[0] = 0xc0 | reg, .size = 1 };
}

/* Any register but the stack pointer */
static int any_reg(struct gen *g)
{
	int reg = below(g, 7);

	return reg == SP ? DI : reg;
}

/* The size of an operand that is neither 1 nor 8 bytes */
static int op_size(struct gen *g, u32 prefixes)
{
	return is_16bit(g) == !!(prefixes & OPSIZE) ? 4 : 2;
}

static u32 any_size(struct gen *g)
{
	if (is_64bit(g) && one_in(g, 3))
		return REX_W;
	return one_in(g, 4) ? OPSIZE : 0;
}

static u64 any_address(struct gen *g)
{
	switch (below(g, 20)) {
	case 0 ... 5:
		return KVMI_PROGRAM_DATA + 8 * below(g, 1000);
	case 6 ... 7:
		/* In two pages */
		return KVMI_PROGRAM_DATA + 0x1000 - 1 - below(g, 7);
	case 8:
		return KVMI_PROGRAM_READ_ONLY + below(g, 0x1000);
	case 9:
		return KVMI_PROGRAM_READ_ONLY - 1 - below(g, 7);
	case 10:
		return KVMI_PROGRAM_NO_EXEC - 4 + below(g, 0x1000);
	case 11:
		return KVMI_PROGRAM_ABSENT - 1 - below(g, 7);
	case 12:
		return KVMI_PROGRAM_ABSENT + below(g, 0x1000);
	case 13 ... 14:
		return KVMI_PROGRAM_MMIO + below(g, 64);
	case 15:
		/* What comes next; see modify(). */
		if (kvmi_program_on_qemu())
			return KVMI_PROGRAM_DATA;
		return g->pos + 5 + below(g, 24);
	case 16:
		return KVMI_PROGRAM_USER_STACK - below(g, 64);
	case 17:
		return KVMI_PROGRAM_STACK - below(g, 64);
	case 18:
		return below(g, KVMI_PROGRAM_CODE);
	default:
		return is_64bit(g) ? 0x7fffffff - below(g, 1024) :
				     0xfffffff8 + below(g, 8);
	}
}

/*
 * Not in the code: whether a string instruction that changes itself goes on as it
 * was depends on when it is interrupted.
 */
static u64 string_address(struct gen *g)
{
	u64 address = any_address(g);

	if (address >= KVMI_PROGRAM_CODE - 64 && address < KVMI_PROGRAM_MMIO)
		return KVMI_PROGRAM_DATA;
	return address;
}

static u64 any_value(struct gen *g)
{
	switch (below(g, 5)) {
	case 0:
		return below(g, 9);
	case 1:
		return -1 - (u64)below(g, 9);
	case 2:
		return any_address(g);
	default:
		return kvm_random_u64(&g->random);
	}
}

/* An absolute address; real mode has the MMIO at FS:0. */
static struct operand at(struct gen *g, u64 address)
{
	struct operand op = {};

	if (is_16bit(g)) {
		if (address >= KVMI_PROGRAM_MMIO && address < 0x30000)
			op.segment = 0x64;
		op.bytes[0] = 0x06;
		memcpy(op.bytes + 1, &address, 2);
		op.size = 3;
	} else if (is_64bit(g)) {
		op.bytes[0] = 0x04;
		op.bytes[1] = 0x25;
		memcpy(op.bytes + 2, &address, 4);
		op.size = 6;
	} else {
		op.bytes[0] = 0x05;
		memcpy(op.bytes + 1, &address, 4);
		op.size = 5;
	}
	return op;
}

/* [BX], [SI], [DI], [BP + 8] and so on */
static struct operand at_reg(struct gen *g)
{
	static const u8 rm16[] = { 7, 4, 5, 6, 0 }, rm32[] = { 3, 6, 7, 5, 0 };
	struct operand op = {};

	op.bytes[0] = 0x40 | (is_16bit(g) ? rm16 : rm32)[below(g, 5)];
	op.bytes[1] = below(g, 16);
	op.size = 2;
	if (one_in(g, 12))
		op.segment = 0x64 + below(g, 2);
	return op;
}

static struct operand mem_operand(struct gen *g)
{
	return one_in(g, 3) ? at_reg(g) : at(g, any_address(g));
}

/*
 * Memory in one page, for what has several parts: in which order they are accessed,
 * and which are done when there is a fault, is up to the processor.
 */
static struct operand structure_operand(struct gen *g)
{
	return at(g, KVMI_PROGRAM_DATA + 16 * below(g, 500));
}

static struct operand any_operand(struct gen *g)
{
	return one_in(g, 3) ? reg_operand(any_reg(g)) : mem_operand(g);
}

static bool is_mem(const struct operand *op)
{
	return op->bytes[0] < 0xc0;
}

static u32 any_lock(struct gen *g, const struct operand *op)
{
	/* See atomic(). */
	if (kvmi_program_on_qemu() && is_mem(op))
		return 0;
	/* Some are #UD. */
	return one_in(g, is_mem(op) ? 4 : 40) ? LOCK : 0;
}

/* MOV REG, VAL; 32 bits at least */
static void mov_imm(struct gen *g, int reg, u64 val)
{
	begin(g);
	if (is_16bit(g)) {
		put(g, 0x66, 1);
		put(g, 0xb8 + reg, 1);
		put(g, val, 4);
	} else if (is_64bit(g) && val >> 32) {
		put(g, 0x48, 1);
		put(g, 0xb8 + reg, 1);
		put(g, val, 8);
	} else {
		put(g, 0xb8 + reg, 1);
		put(g, val, 4);
	}
}

static void push_imm(struct gen *g, u32 val)
{
	simple_imm(g, 0x68, val, is_16bit(g) ? 2 : 4);
}

static u64 any_rflags(struct gen *g)
{
	u64 flags = kvm_random_u32(&g->random) &
		    (X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF |
		     X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_OF);

	if (one_in(g, 3))
		flags |= X86_EFLAGS_TF;
	if (one_in(g, 2))
		flags |= X86_EFLAGS_IF;
	if (one_in(g, 4))
		flags |= X86_EFLAGS_DF;
	if (one_in(g, 8))
		flags |= X86_EFLAGS_RF;
	if (one_in(g, 2))
		flags |= 3 * X86_EFLAGS_IOPL;
	return flags | X86_EFLAGS_FIXED;
}

static u16 any_selector(struct gen *g)
{
	static const u16 selectors[] = {
		0, KVMI_PROGRAM_KERNEL_DS, KVMI_PROGRAM_USER_DS,
		KVMI_PROGRAM_USER_DS, KVMI_PROGRAM_ABSENT_DS, KVMI_PROGRAM_TR,
		KVMI_PROGRAM_GDT_SIZE, 4, KVMI_PROGRAM_KERNEL_CS,
		KVMI_PROGRAM_USER_CS32,
	};

	if (is_16bit(g))
		return one_in(g, 3) ? KVMI_PROGRAM_MMIO >> 4 : 0;
	return selectors[below(g, ARRAY_SIZE(selectors))];
}

/*
 * Not one of code: where it is written to KVM's emulator looks for page faults
 * before it looks at the segment.
 */
static u16 data_selector(struct gen *g)
{
	u16 selector = any_selector(g);

	if (!is_16bit(g) && (selector == KVMI_PROGRAM_KERNEL_CS ||
			     selector == KVMI_PROGRAM_USER_CS32))
		return KVMI_PROGRAM_USER_DS;
	return selector;
}

static u16 own_ss(struct gen *g)
{
	if (is_16bit(g))
		return 0;
	return g->p->user ? KVMI_PROGRAM_USER_DS : KVMI_PROGRAM_KERNEL_DS;
}

static u16 own_cs(struct gen *g)
{
	if (is_16bit(g))
		return 0;
	if (!g->p->user)
		return KVMI_PROGRAM_KERNEL_CS;
	return is_64bit(g) ? KVMI_PROGRAM_USER_CS64 : KVMI_PROGRAM_USER_CS32;
}

static void alu(struct gen *g)
{
	struct operand op = any_operand(g);
	u32 size = any_size(g);
	int nr = below(g, 8);
	bool byte;

	switch (below(g, 8)) {
	case 0 ... 2:
		insn(g, size | any_lock(g, &op), nr << 3 | below(g, 4),
		     any_reg(g), &op);
		break;
	case 3:
		insn(g, size | any_lock(g, &op), 0x81, nr, &op);
		put(g, any_value(g), op_size(g, size));
		break;
	case 4:
		insn(g, size | any_lock(g, &op), one_in(g, 2) ? 0x80 : 0x83,
		     nr, &op);
		put(g, any_value(g), 1);
		break;
	case 5:
		/* TEST, NOT, NEG, MUL, IMUL, DIV, IDIV; INC, DEC */
		nr = below(g, 10);
		byte = one_in(g, 2);
		if (nr >= 8) {
			insn(g, size | any_lock(g, &op), 0xff - byte, nr - 8, &op);
			break;
		}
		insn(g, size | any_lock(g, &op), 0xf7 - byte, nr, &op);
		if (nr < 2)
			put(g, any_value(g), byte ? 1 : op_size(g, size));
		break;
	case 6:
		/* Shifts and rotations */
		byte = one_in(g, 2);
		if (one_in(g, 2)) {
			insn(g, size, 0xc1 - byte, nr, &op);
			put(g, below(g, 40), 1);
		} else {
			insn(g, size, 0xd3 - byte, nr, &op);
		}
		break;
	default:
		/* IMUL, SHLD, SHRD, TEST, CMOVcc, SETcc, MOVZX, MOVSX */
		switch (below(g, 8)) {
		case 0:
			insn(g, size, 0x0faf, any_reg(g), &op);
			break;
		case 1:
			insn(g, size, one_in(g, 2) ? 0x0fa5 : 0x0fad,
			     any_reg(g), &op);
			break;
		case 2:
			insn(g, size, 0x84 + below(g, 2), any_reg(g), &op);
			break;
		case 3:
			insn(g, size, 0x0f40 + below(g, 16), any_reg(g), &op);
			break;
		case 4:
			insn(g, 0, 0x0f90 + below(g, 16), 0, &op);
			break;
		case 5:
			insn(g, size, 0x0fb6 + below(g, 2), any_reg(g), &op);
			break;
		case 6:
			insn(g, size, 0x0fbe + below(g, 2), any_reg(g), &op);
			break;
		default:
			/* ADC AL, imm and its like */
			simple_imm(g, 0x04 | nr << 3, any_value(g), 1);
		}
	}
}

static void move(struct gen *g)
{
	struct operand op = any_operand(g);
	u32 size = any_size(g);

	switch (below(g, 8)) {
	case 0 ... 3:
		insn(g, size, 0x88 + below(g, 4), any_reg(g), &op);
		break;
	case 4:
		insn(g, size, 0xc6, 0, &op);
		put(g, any_value(g), 1);
		break;
	case 5:
		insn(g, size, 0xc7, 0, &op);
		put(g, any_value(g), op_size(g, size));
		break;
	case 6:
		op = mem_operand(g);
		insn(g, size, 0x8d, any_reg(g), &op);
		break;
	default:
		if (is_64bit(g)) {
			mov_imm(g, any_reg(g), any_value(g));
			break;
		}
		/* MOV AL, [address] and its like */
		simple_imm(g, 0xa0 + below(g, 4), any_address(g),
			   is_16bit(g) ? 2 : 4);
	}
}

/* Write to code that comes soon. */
static void modify(struct gen *g)
{
	static const u8 bytes[] = { 0x90, 0xcc, 0x40, 0x9c, 0xf8, 0xfb };
	struct operand op = at(g, g->pos + 12 + below(g, 20));

	if (one_in(g, 3)) {
		insn(g, any_size(g), 0x89, any_reg(g), &op);
	} else {
		insn(g, 0, 0xc6, 0, &op);
		put(g, bytes[below(g, ARRAY_SIZE(bytes))], 1);
	}
	/*
	 * QEMU has translated some of what follows, and may execute it as it was
	 * up to the next branch.
	 */
	if (kvmi_program_on_qemu() || one_in(g, 2))
		simple_imm(g, 0xeb, 0, 1);
}

static void atomic(struct gen *g)
{
	/*
	 * QEMU loses flags when a locked operation that is not aligned ends with
	 * a VM exit.
	 */
	struct operand op = kvmi_program_on_qemu() ?
			    at(g, any_address(g) & ~15ull) : mem_operand(g);
	u32 prefixes = any_size(g) | (one_in(g, 2) ? LOCK : 0);
	/* QEMU has flags that BT leaves undefined differ from run to run. */
	int nr = below(g, kvmi_program_on_qemu() ? 4 : 6);

	switch (nr) {
	case 0:
		insn(g, prefixes & ~LOCK, 0x86 + below(g, 2), any_reg(g), &op);
		break;
	case 1:
		insn(g, prefixes, 0x0fb0 + below(g, 2), any_reg(g), &op);
		break;
	case 2:
		insn(g, prefixes, 0x0fc0 + below(g, 2), any_reg(g), &op);
		break;
	case 3:
		/* CMPXCHG8B, CMPXCHG16B */
		insn(g, prefixes & ~OPSIZE, 0x0fc7, 1, &op);
		break;
	case 4:
		/* BT, BTS, BTR, BTC with a number: a small one, as it is an offset */
		mov_imm(g, DX, below(g, 64));
		insn(g, prefixes, 0x0fa3 + 8 * below(g, 4), DX, &op);
		break;
	default:
		insn(g, prefixes, 0x0fba, 4 + below(g, 4), &op);
		put(g, below(g, 64), 1);
	}
}

static void string(struct gen *g)
{
	/* MOVS, CMPS, STOS, LODS, SCAS */
	static const u8 opcodes[] = { 0xa4, 0xa6, 0xaa, 0xac, 0xae };
	u8 opcode = opcodes[below(g, ARRAY_SIZE(opcodes))];
	u64 si = string_address(g), di = string_address(g);
	u32 prefixes = any_size(g);

	/* Which of the operands of CMPS is read first, i.e. if the other is absent? */
	if (opcode == 0xa6) {
		si = KVMI_PROGRAM_DATA + 64 + 8 * below(g, 900);
		if (di < KVMI_PROGRAM_MMIO || di >= KVMI_PROGRAM_MMIO + 64)
			di = KVMI_PROGRAM_DATA + 64 + 8 * below(g, 900);
	}
	mov_imm(g, SI, si);
	mov_imm(g, DI, di);
	if (!one_in(g, 3)) {
		mov_imm(g, CX, below(g, 5));
		prefixes |= one_in(g, 2) ? REP : REPNE;
	}
	if (one_in(g, 6))
		simple(g, 0xfc + below(g, 2));
	begin(g);
	put_prefixes(g, prefixes, NULL);
	put(g, opcode + below(g, 2), 1);
}

static void port(struct gen *g)
{
	u32 prefixes = any_size(g);

	switch (below(g, 4)) {
	case 0:
		simple_imm(g, 0xe4 + below(g, 4), 0xe0 + below(g, 16), 1);
		break;
	case 1:
		mov_imm(g, DX, 0xe0 + below(g, 16));
		simple(g, 0xec + below(g, 4));
		break;
	default:
		/* INS, OUTS */
		mov_imm(g, DX, 0xe0 + below(g, 16));
		mov_imm(g, one_in(g, 2) ? SI : DI, string_address(g));
		if (!one_in(g, 3)) {
			mov_imm(g, CX, below(g, 5));
			prefixes |= REP;
		}
		begin(g);
		put_prefixes(g, prefixes & ~REX_W, NULL);
		put(g, 0x6c + below(g, 4), 1);
	}
}

static void stack(struct gen *g)
{
	struct operand op = mem_operand(g);
	u32 size = one_in(g, 4) ? OPSIZE : 0;

	switch (below(g, 10)) {
	case 0 ... 1:
		simple(g, 0x50 + any_reg(g));
		break;
	case 2 ... 3:
		simple(g, 0x58 + any_reg(g));
		break;
	case 4:
		insn(g, size, 0xff, 6, &op);
		break;
	case 5:
		insn(g, size, 0x8f, 0, &op);
		break;
	case 6:
		push_imm(g, any_value(g));
		break;
	case 7:
		if (is_64bit(g)) {
			push_imm(g, any_value(g));
			break;
		}
		/* PUSHA, POPA: what is popped is anything. */
		simple(g, 0x60 + below(g, 2));
		break;
	case 8:
		simple_imm(g, 0xc8, below(g, 32) | below(g, 3) << 16, 3);
		break;
	default:
		simple(g, 0xc9);
	}
}

static void flags(struct gen *g)
{
	switch (below(g, 12)) {
	case 0 ... 3:
		push_imm(g, any_rflags(g));
		simple(g, 0x9d);
		break;
	case 4 ... 5:
		begin(g);
		put_prefixes(g, any_size(g) & OPSIZE, NULL);
		put(g, 0x9c, 1);
		break;
	case 6 ... 7:
		simple(g, 0xfb);
		break;
	case 8:
		simple(g, 0xfa);
		break;
	default:
		/* CMC, CLC, STC, CLD, STD, SAHF, LAHF, CBW, CWD */
		switch (below(g, 4)) {
		case 0:
			simple(g, 0xf5);
			break;
		case 1:
			simple(g, 0xf8 + below(g, 2));
			break;
		case 2:
			simple(g, 0xfc + below(g, 2));
			break;
		default:
			begin(g);
			put_prefixes(g, any_size(g), NULL);
			put(g, one_in(g, 2) ? 0x9e + below(g, 2) :
					      0x98 + below(g, 2), 1);
		}
	}
}

/* Load the stack segment, with what inhibits until behind the next instruction. */
static void load_ss(struct gen *g)
{
	struct operand op;

	switch (below(g, 3)) {
	case 0:
		/* PUSH SS stores four bytes or two, depending on the processor. */
		if (!is_64bit(g)) {
			push_imm(g, own_ss(g));
			simple(g, 0x17);
			break;
		}
		fallthrough;
	case 1:
		mov_imm(g, AX, own_ss(g));
		op = reg_operand(AX);
		insn(g, 0, 0x8e, 2, &op);
		break;
	default:
		op = at(g, KVMI_PROGRAM_DATA + 0x120);
		insn(g, 0, 0x8e, 2, &op);
	}
}

static void segment(struct gen *g)
{
	struct operand op;
	int reg;

	switch (below(g, 6)) {
	case 0 ... 1:
		load_ss(g);
		break;
	case 2:
		mov_imm(g, AX, data_selector(g));
		reg = below(g, 6);
		/* SS would not come back. */
		if (reg == 2)
			reg = 3;
		op = reg_operand(AX);
		insn(g, 0, 0x8e, reg, &op);
		break;
	case 3:
		op = any_operand(g);
		insn(g, any_size(g), 0x8c, below(g, 6), &op);
		break;
	case 4:
		push_imm(g, data_selector(g));
		/* POP ES, DS, FS, GS; the first two are #UD in 64-bit mode. */
		reg = below(g, 4);
		simple(g, reg == 0 ? 0x07 : reg == 1 ? 0x1f :
			  reg == 2 ? 0x0fa1 : 0x0fa9);
		break;
	default:
		/* LES, LDS, LFS, LGS */
		op = structure_operand(g);
		if (is_64bit(g) || one_in(g, 2))
			insn(g, 0, 0x0fb4 + below(g, 2), any_reg(g), &op);
		else
			insn(g, 0, 0xc4 + below(g, 2), any_reg(g), &op);
	}
}

static void exception(struct gen *g)
{
	static const u8 vectors[] = { 0x20, 0x31, 0x80, 0x7e, 0x81, 0xfe, 3, 4, 1, 6 };
	struct operand op;

	switch (below(g, 9)) {
	case 0 ... 1:
		simple_imm(g, 0xcd, vectors[below(g, ARRAY_SIZE(vectors))], 1);
		break;
	case 2 ... 3:
		simple(g, 0xcc);
		break;
	case 4:
		simple(g, 0x0f0b);
		break;
	case 5:
		/* DIV by 0 */
		mov_imm(g, CX, 0);
		op = reg_operand(CX);
		insn(g, any_size(g), 0xf7, 6 + below(g, 2), &op);
		break;
	case 6:
		simple(g, 0xf1);
		break;
	case 7:
		if (!is_64bit(g)) {
			simple(g, 0xce);
			break;
		}
		fallthrough;
	default:
		op = mem_operand(g);
		if (is_64bit(g))
			insn(g, 0, 0x0fff, any_reg(g), &op);
		else
			insn(g, 0, 0x62, any_reg(g), &op);
	}
}

static void branch(struct gen *g)
{
	struct operand op;
	u64 target;

	switch (below(g, 8)) {
	case 0 ... 2:
		simple_imm(g, 0x70 + below(g, 16), below(g, 10), 1);
		break;
	case 3:
		simple_imm(g, 0xeb, below(g, 6), 1);
		break;
	case 4:
		/* CALL, and back with what the stack has then */
		simple_imm(g, 0xe8, below(g, 3), is_16bit(g) ? 2 : 4);
		break;
	case 5:
		/* PUSH target; RET */
		target = g->pos + (is_16bit(g) ? 3 : 5) + 1 + below(g, 3);
		push_imm(g, target);
		simple(g, 0xc3);
		break;
	case 6:
		/* LOOP and its like */
		mov_imm(g, CX, 1 + below(g, 3));
		target = g->pos;
		simple(g, 0x40 + DX);
		simple_imm(g, 0xe0 + below(g, 3), target - (g->pos + 2), 1);
		break;
	default:
		/* QEMU raises #GP where it has got to, if that is no address. */
		if (kvmi_program_on_qemu() && is_64bit(g))
			break;
		op = mem_operand(g);
		insn(g, 0, 0xff, 2 + below(g, 4), &op);
	}
}

/* IRET to behind itself, with other flags and at times as a user */
static void iret(struct gen *g)
{
	bool drop = !is_16bit(g) && !g->p->user && one_in(g, 4);
	bool is_long = is_64bit(g);
	u16 cs = own_cs(g), ss = own_ss(g);
	int size = is_16bit(g) ? 3 : 5;

	if (drop) {
		cs = is_long ? KVMI_PROGRAM_USER_CS64 : KVMI_PROGRAM_USER_CS32;
		ss = KVMI_PROGRAM_USER_DS;
	}
	if (is_long || drop) {
		push_imm(g, ss);
		if (drop)
			push_imm(g, KVMI_PROGRAM_USER_STACK - 0x100);
		else
			simple(g, 0x54);
	}
	push_imm(g, any_rflags(g));
	push_imm(g, cs);
	push_imm(g, g->pos + size + (is_long ? 2 : 1));
	begin(g);
	put_prefixes(g, REX_W, NULL);
	put(g, 0xcf, 1);
}

static void far_branch(struct gen *g)
{
	int size = is_16bit(g) ? 2 : 4;
	struct operand op;

	switch (below(g, 3)) {
	case 0:
		/* PUSH CS; PUSH target; RETF */
		push_imm(g, own_cs(g));
		push_imm(g, g->pos + 1 + size + 1 + is_64bit(g));
		begin(g);
		put_prefixes(g, REX_W, NULL);
		put(g, 0xcb, 1);
		break;
	case 1:
		if (!is_64bit(g)) {
			/* JMP FAR, CALL FAR */
			simple(g, one_in(g, 2) ? 0xea : 0x9a);
			put(g, g->pos + size + 2, size);
			put(g, one_in(g, 4) ? any_selector(g) : own_cs(g), 2);
			break;
		}
		fallthrough;
	default:
		op = structure_operand(g);
		insn(g, any_size(g), 0xff, one_in(g, 2) ? 3 : 5, &op);
	}
}

static void system_call(struct gen *g)
{
	int reg = is_16bit(g) ? 0 : below(g, 6);

	switch (reg) {
	case 0 ... 1:
		simple(g, 0x0f05);
		break;
	case 2:
		simple(g, 0x0f34);
		break;
	case 3:
		/* SYSEXIT to behind it */
		mov_imm(g, CX, KVMI_PROGRAM_USER_STACK - 0x80);
		mov_imm(g, DX, g->pos + 5 + (is_64bit(g) ? 3 : 2));
		begin(g);
		put_prefixes(g, REX_W, NULL);
		put_opcode(g, 0x0f35);
		break;
	case 4:
		/* SYSRET to behind it */
		mov_imm(g, CX, g->pos + (is_64bit(g) ? 5 + 7 + 3 : 5 + 2));
		if (is_64bit(g)) {
			/* MOV R11, flags */
			begin(g);
			put(g, 0xc3c749, 3);
			put(g, any_rflags(g) & ~X86_EFLAGS_RF, 4);
		}
		begin(g);
		put_prefixes(g, REX_W, NULL);
		put_opcode(g, 0x0f07);
		break;
	default:
		simple(g, 0x0f01f8);
	}
}

static void control_register(struct gen *g)
{
	static const u32 cr0[] = {
		X86_CR0_WP, X86_CR0_TS, X86_CR0_MP, X86_CR0_NE, X86_CR0_AM,
		X86_CR0_CD, X86_CR0_NW, X86_CR0_PE, 0, X86_CR0_EM,
	};
	static const u32 cr4[] = {
		X86_CR4_PSE, X86_CR4_PGE, X86_CR4_DE, X86_CR4_OSFXSR,
		X86_CR4_OSXMMEXCPT, BIT(31), X86_CR4_PVI, 0, X86_CR4_VME,
	};
	struct operand op = reg_operand(AX);
	u32 change;
	int cr;

	switch (below(g, 8)) {
	case 0 ... 1:
		cr = 0;
		change = cr0[below(g, ARRAY_SIZE(cr0))];
		break;
	case 2 ... 3:
		cr = 4;
		change = cr4[below(g, ARRAY_SIZE(cr4))];
		break;
	case 4:
		cr = 3;
		change = below(g, 4) << 3;
		/*
		 * QEMU sets accessed bits in PDPTEs.  They are reserved, which KVM
		 * finds if it loads CR3.
		 */
		if (kvmi_program_on_qemu() && g->p->mode == KVMI_PROGRAM_PAE)
			cr = 2;
		break;
	case 5:
		/* CLTS, SMSW, LMSW */
		switch (below(g, 3)) {
		case 0:
			simple(g, 0x0f06);
			break;
		case 1:
			op = any_operand(g);
			insn(g, any_size(g), 0x0f01, 4, &op);
			break;
		default:
			mov_imm(g, AX, below(g, 16) | !is_16bit(g));
			insn(g, 0, 0x0f01, 6, &op);
		}
		return;
	case 6:
		/* Any, also such as do not exist */
		op = reg_operand(any_reg(g));
		insn(g, 0, 0x0f20, below(g, 9), &op);
		return;
	default:
		cr = 2;
		change = below(g, 0x10000);
	}

	/* XOR the register with the change. */
	insn(g, 0, 0x0f20, cr, &op);
	begin(g);
	if (is_16bit(g))
		put(g, 0x66, 1);
	put(g, 0x35, 1);
	put(g, change, 4);
	insn(g, 0, 0x0f22, cr, &op);
}

static void debug_register(struct gen *g)
{
	static const u32 dr7[] = {
		0x400, 0x401, 0x10401, 0x30401, 0xf0402, 0xd0401, 0xf0d00455,
	};
	struct operand op = reg_operand(AX);
	u64 address;

	switch (below(g, 5)) {
	case 0 ... 1:
		address = one_in(g, 2) ? g->pos + below(g, 32) :
					 KVMI_PROGRAM_DATA + 8 * below(g, 8);
		mov_imm(g, AX, address);
		insn(g, 0, 0x0f23, below(g, 4), &op);
		mov_imm(g, AX, dr7[below(g, ARRAY_SIZE(dr7))]);
		insn(g, 0, 0x0f23, 7, &op);
		break;
	case 2:
		mov_imm(g, AX, KVMI_PROGRAM_DR6 | below(g, 16));
		insn(g, 0, 0x0f23, 6, &op);
		break;
	default:
		op = reg_operand(any_reg(g));
		insn(g, 0, 0x0f21, below(g, 8), &op);
	}
}

static void msr(struct gen *g)
{
	u32 nr = kvmi_program_msrs[below(g, KVMI_PROGRAM_NR_MSRS)];
	u64 val;

	if (one_in(g, 5))
		nr = MSR_EFER;
	else if (one_in(g, 8))
		nr = 0x12345;
	mov_imm(g, CX, nr);
	if (one_in(g, 3)) {
		simple(g, 0x0f32);
		return;
	}
	if (nr == MSR_EFER) {
		/* SCE and NXE as it comes, the rest as it is */
		simple(g, 0x0f32);
		begin(g);
		if (is_16bit(g))
			put(g, 0x66, 1);
		put(g, 0x35, 1);
		put(g, one_in(g, 2) ? EFER_SCE : one_in(g, 2) ? EFER_NX : 2, 4);
		simple(g, 0x0f30);
		return;
	}
	val = one_in(g, 4) ? any_value(g) :
	      (u64)below(g, 0x10000) << 32 | any_address(g);
	if (nr == MSR_IA32_CR_PAT)
		val = 0x0007040600070406ull ^ (one_in(g, 3) ? 2 : 0);
	/*
	 * On Intel's processors KVM makes canonical what should be #GP, if it has
	 * the WRMSR intercepted.  QEMU checks no address, and keeps more bits than
	 * AMD's processors and KVM do.
	 */
	if (nr == MSR_IA32_SYSENTER_ESP || nr == MSR_IA32_SYSENTER_EIP ||
	    (kvmi_program_on_qemu() && nr != MSR_STAR))
		val = (u32)val;
	if (kvmi_program_on_qemu() && nr == MSR_IA32_SYSENTER_CS)
		val = (u16)val;
	mov_imm(g, AX, (u32)val);
	mov_imm(g, DX, val >> 32);
	simple(g, 0x0f30);
}

static void descriptor(struct gen *g)
{
	struct operand op = any_operand(g);

	switch (below(g, 10)) {
	case 0:
		/* What the table register has, to begin with */
		op = at(g, KVMI_PROGRAM_DATA + 0x100);
		insn(g, one_in(g, 8) ? OPSIZE : 0, 0x0f01, 2, &op);
		break;
	case 1:
		op = at(g, KVMI_PROGRAM_DATA + 0x110);
		insn(g, one_in(g, 8) ? OPSIZE : 0, 0x0f01, 3, &op);
		break;
	case 2 ... 3:
		op = structure_operand(g);
		insn(g, 0, 0x0f01, below(g, 2), &op);
		break;
	case 4:
		insn(g, any_size(g), 0x0f00, below(g, 2), &op);
		break;
	case 5:
		mov_imm(g, AX, one_in(g, 4) ? any_selector(g) :
			one_in(g, 4) ? 0 : KVMI_PROGRAM_LDTR);
		op = reg_operand(AX);
		insn(g, 0, 0x0f00, 2, &op);
		break;
	case 6:
		mov_imm(g, AX, one_in(g, 4) ? any_selector(g) :
					      KVMI_PROGRAM_TR2);
		op = reg_operand(AX);
		insn(g, 0, 0x0f00, 3, &op);
		break;
	case 7:
		mov_imm(g, AX, any_selector(g));
		op = reg_operand(AX);
		insn(g, 0, 0x0f00, 4 + below(g, 2), &op);
		break;
	case 8:
		mov_imm(g, AX, any_selector(g));
		op = reg_operand(AX);
		insn(g, 0, 0x0f02 + below(g, 2), any_reg(g), &op);
		break;
	default:
		op = mem_operand(g);
		insn(g, 0, 0x0f01, 7, &op);
	}
}

static void other_system(struct gen *g)
{
	static const u32 leaves[] = {
		0, 1, 4, 7, 0xd, 0x40000000, 0x80000000, 0x80000001, 0x80000008,
	};

	switch (below(g, 6)) {
	case 0 ... 1:
		mov_imm(g, AX, leaves[below(g, ARRAY_SIZE(leaves))]);
		mov_imm(g, CX, below(g, 3));
		simple(g, 0x0fa2);
		break;
	case 2:
		/* XGETBV, XSETBV */
		mov_imm(g, CX, 0);
		simple(g, 0x0f01d0);
		begin(g);
		put(g, 0x34, 1);
		put(g, below(g, 8), 1);
		simple(g, 0x0f01d1);
		break;
	case 3:
		/* A hypercall that does not exist */
		g->p->has_hypercall = true;
		mov_imm(g, AX, 0x1234);
		simple(g, host_cpu_is_amd_compatible ? 0x0f01d9 : 0x0f01c1);
		break;
	case 4:
		/* QEMU lets users do it, if it is intercepted, as KVM does. */
		if (!kvmi_program_on_qemu()) {
			simple(g, one_in(g, 2) ? 0x0f09 : 0x0f08);
			break;
		}
		fallthrough;
	default:
		simple(g, one_in(g, 2) ? 0x90 : 0xf390);
	}
}

static void floating_point(struct gen *g)
{
	struct operand op = mem_operand(g);

	switch (below(g, 7)) {
	case 0:
		simple(g, 0xdbe3);
		break;
	case 1:
		simple(g, 0xd9e8);
		break;
	case 2:
		insn(g, 0, 0xdd, one_in(g, 2) ? 3 : 2, &op);
		break;
	case 3:
		insn(g, 0, 0xdb, one_in(g, 2) ? 0 : 3, &op);
		break;
	case 4:
		insn(g, 0, 0xd9, 7, &op);
		break;
	case 5:
		simple(g, 0x9b);
		break;
	default:
		simple(g, 0xdfe0);
	}
}

static void vector(struct gen *g)
{
	struct operand op = mem_operand(g);
	int reg = below(g, 4);

	switch (below(g, 9)) {
	case 0 ... 1:
		insn(g, 0, 0x0f10 + below(g, 2), reg, &op);
		break;
	case 2:
		insn(g, one_in(g, 2) ? OPSIZE : 0, 0x0f28 + below(g, 2), reg, &op);
		break;
	case 3:
		insn(g, OPSIZE, one_in(g, 2) ? 0x0f6f : 0x0f7f, reg, &op);
		break;
	case 4:
		insn(g, REP, one_in(g, 2) ? 0x0f6f : 0x0f7f, reg, &op);
		break;
	case 5:
		insn(g, OPSIZE, one_in(g, 2) ? 0x0ffe : 0x0fef, reg, &op);
		break;
	case 6:
		/* MOVQ, MOVD */
		insn(g, any_size(g), one_in(g, 2) ? 0x0f6e : 0x0f7e, reg, &op);
		break;
	case 7:
		/* FXSAVE, STMXCSR, and CLFLUSH, which has no faults in QEMU */
		insn(g, 0, 0x0fae, one_in(g, 3) ? 0 :
		     one_in(g, 2) || kvmi_program_on_qemu() ? 3 : 7, &op);
		break;
	default:
		/* MOVNTI, PREFETCH */
		if (one_in(g, 2))
			insn(g, 0, 0x0fc3, reg, &op);
		else
			insn(g, 0, 0x0f18, reg, &op);
	}
}

/* Nothing that has to do with time, or with numbers that are truly random */
static void noise(struct gen *g)
{
	int i, n = 1 + below(g, 5);
	u8 last = 0, byte;

	begin(g);
	for (i = 0; i < n; i++) {
		byte = below(g, 256);
		if (last == 0x0f && (byte == 0x31 || byte == 0x33 ||
				     byte == 0x01 || byte == 0xc7))
			byte = 0x0b;
		put(g, byte, 1);
		last = byte;
	}
	if (last == 0x0f)
		g->p->mem[g->pos - 1] = 0x90;
}

static const struct {
	void (*make)(struct gen *g);
	int weight;
} classes[] = {
	{ alu, 12 },
	{ move, 12 },
	{ modify, 3 },
	{ atomic, 6 },
	{ string, 8 },
	{ port, 3 },
	{ stack, 7 },
	{ flags, 8 },
	{ segment, 7 },
	{ exception, 7 },
	{ branch, 6 },
	{ iret, 4 },
	{ far_branch, 2 },
	{ system_call, 3 },
	{ control_register, 4 },
	{ debug_register, 3 },
	{ msr, 4 },
	{ descriptor, 4 },
	{ other_system, 4 },
	{ floating_point, 2 },
	{ vector, 4 },
	{ noise, 3 },
};

static void make_code(struct gen *g)
{
	int nr = 3 + below(g, 10), total = 0, pick, i;

	for (i = 0; i < ARRAY_SIZE(classes); i++)
		total += classes[i].weight;
	while (nr-- && !is_full(g)) {
		pick = below(g, total);
		for (i = 0; pick >= classes[i].weight; i++)
			pick -= classes[i].weight;
		classes[i].make(g);
	}
}

static u64 any_register(struct gen *g)
{
	u64 val = any_value(g);

	return is_64bit(g) ? val : (u32)val;
}

static void make_registers(struct gen *g)
{
	struct kvmi_program *p = g->p;
	struct kvm_regs *regs = &p->regs;
	__u64 *reg;

	for (reg = &regs->rax; reg <= &regs->r15; reg++)
		*reg = any_register(g);
	if (!kvmi_program_is_64bit(p))
		memset(&regs->r8, 0, 8 * sizeof(regs->r8));
	regs->rbx = KVMI_PROGRAM_DATA + 8 * below(g, 600);
	regs->rsi = string_address(g);
	regs->rdi = string_address(g);
	if (one_in(g, 2))
		regs->rbp = KVMI_PROGRAM_USER_STACK - 0x80;
	if (one_in(g, 2))
		regs->rcx = below(g, 4);
	regs->rsp = (p->user ? KVMI_PROGRAM_USER_STACK : KVMI_PROGRAM_STACK) -
		    0x200;
	regs->rip = p->code;
	regs->rflags = any_rflags(g) & ~(X86_EFLAGS_RF | X86_EFLAGS_TF);
	if (one_in(g, 10))
		regs->rflags |= X86_EFLAGS_TF;
}

/* Any instruction but the first */
static u64 any_insn(struct gen *g)
{
	struct kvmi_program *p = g->p;

	return p->code + p->insns[1 + below(g, p->nr_insns)];
}

static void make_msrs(struct gen *g)
{
	struct kvmi_program *p = g->p;

	p->msrs[0] = (u64)KVMI_PROGRAM_KERNEL_CS << 32 |
		     (u64)(KVMI_PROGRAM_USER_CS32 & ~3) << 48 | any_insn(g);
	p->msrs[1] = any_insn(g);
	p->msrs[2] = any_insn(g);
	p->msrs[3] = any_rflags(g);
	p->msrs[4] = KVMI_PROGRAM_DATA;
	p->msrs[5] = KVMI_PROGRAM_KERNEL_CS;
	p->msrs[6] = KVMI_PROGRAM_STACK - 0x100;
	p->msrs[7] = any_insn(g);
	p->msrs[8] = 0x0007040600070406ull;
}

static void fill(struct gen *g, u64 gpa, size_t size)
{
	u32 *mem = (u32 *)(g->p->mem + gpa);
	size_t i;

	for (i = 0; i < size / 4; i += 4)
		mem[i] = kvm_random_u32(&g->random);
}

/* Pseudo-descriptors that can be loaded, and a selector for SS */
static void make_data(struct gen *g)
{
	const struct kvm_sregs *sregs = &g->p->sregs;
	u8 *mem = g->p->mem + KVMI_PROGRAM_DATA;
	u16 ss = own_ss(g);

	fill(g, KVMI_PROGRAM_DATA, 0x400);
	fill(g, KVMI_PROGRAM_DATA + 0xfc0, 0x80);
	memcpy(mem + 0x100, &sregs->gdt.limit, 2);
	memcpy(mem + 0x102, &sregs->gdt.base, 8);
	memcpy(mem + 0x110, &sregs->idt.limit, 2);
	memcpy(mem + 0x112, &sregs->idt.base, 8);
	memcpy(mem + 0x120, &ss, 2);
}

void kvmi_program_make(struct kvmi_program *p, u32 seed)
{
	struct gen g = {
		/* Neighbours must not have much in common. */
		.random = new_kvm_random_state((seed * 0x9e3779b1u >> 1) | 1),
		.p = p,
	};
	int i;

	for (i = 0; i < 4; i++)
		kvm_random_u32(&g.random);

	memset(p, 0, offsetof(struct kvmi_program, mem));
	p->seed = seed;
	p->mode = below(&g, KVMI_PROGRAM_NR_MODES + 2);
	if (p->mode >= KVMI_PROGRAM_NR_MODES)
		p->mode = KVMI_PROGRAM_LONG;
	if (p->mode == KVMI_PROGRAM_COMPAT)
		p->user = true;
	else if (!kvmi_program_is_real(p))
		p->user = one_in(&g, 3);

	kvmi_program_make_guest(p);
	if (one_in(&g, 2))
		p->sregs.cr0 |= X86_CR0_WP;
	if (one_in(&g, 2))
		p->sregs.efer |= EFER_SCE;
	if (this_cpu_has(X86_FEATURE_XSAVE))
		p->sregs.cr4 |= X86_CR4_OSXSAVE;

	/* At times the code is in two pages. */
	p->code = KVMI_PROGRAM_CODE + (one_in(&g, 3) ? 0x1000 - below(&g, 64) :
						       16 * below(&g, 16));
	g.pos = p->code;
	make_data(&g);
	make_code(&g);
	p->end = g.pos;
	p->insns[p->nr_insns] = p->end - p->code;
	make_registers(&g);
	make_msrs(&g);
	kvmi_program_end_guest(p);
}

static void get_insn(struct kvmi_program *p, int insn, u8 **from, int *size)
{
	*from = p->mem + p->code + p->insns[insn];
	*size = p->insns[insn + 1] - p->insns[insn];
}

void kvmi_program_drop(struct kvmi_program *p, int insn, u8 *saved)
{
	u8 *from;
	int size;

	get_insn(p, insn, &from, &size);
	memcpy(saved, from, size);
	memset(from, 0x90, size);
}

void kvmi_program_restore(struct kvmi_program *p, int insn, const u8 *saved)
{
	u8 *from;
	int size;

	get_insn(p, insn, &from, &size);
	memcpy(from, saved, size);
}
