#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# dumps.sh TOOL DIR [COUNT]: tests of the tool with a made-up dump of a host, and
# with COUNT hostile ones; TAP.  DIR has what the Makefile builds of tests/.
tool=$(readlink -f "$1") dir=$(readlink -f "$2") count=${3:-400}
# A program that ends with an error leaves its memory to the system
export ASAN_OPTIONS="exitcode=99:detect_leaks=0:$ASAN_OPTIONS" UBSAN_OPTIONS="exitcode=99:$UBSAN_OPTIONS"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0 failed=0

check() { # TEXT COMMAND...
	text=$1
	shift
	n=$((n + 1))
	if "$@" >out 2>&1; then
		echo "ok $n $text"
	else
		echo "not ok $n $text"
		head -n 20 out
		failed=1
	fi
}

# refuses PATTERN COMMAND...: an error of the tool's own, and that one
refuses() {
	pattern=$1
	shift
	"$@" >refused 2>&1
	[ $? = 1 ] && grep -q "^vmcsinfo: .*$pattern" refused || { cat refused; false; }
}

found() { # DUMP
	"$tool" find -d "$1" >find && cat find &&
		[ "$(cat find)" = '0x101000  RIP 0xffffffff80000123  RSP 0xffffffff80001ff0  CR3 0x1000  EPTP 0x10201e' ]
}

printed() {
	"$tool" print -d host 0x101000 >print || return 1
	cat print
	grep -q 'GUEST_ES_AR_BYTES  *0x1c093$' print && grep -q 'GUEST_CS_AR_BYTES  *0xa09b$' print &&
		grep -q 'GUEST_RFLAGS  *0x46$' print && ! grep -q '?' print
}

segments() { readelf -lW core | awk '$1 == "LOAD"'; }

has_memory() {
	"$tool" core -d host -o core || return 1
	segments
	# Six pages; by virtual address the pages of a large one that there are
	[ "$(segments | awk '$3 == "0x0000000000000000"' | wc -l)" -ge 1 ] || return 1
	offset=$(segments | awk '$3 == "0x0000000000000000" && $4 == "0x0000000000000000" { print $2; exit }')
	tail -c +$((offset + 0x123 + 1)) core | head -c 16 | grep -q "the guest's code" || return 1
	segments | grep -q '0xffffffff80000000 0x0000000000000000' || return 1
	grep -q "the guest's last page" core && readelf -n core 2>/dev/null | grep -q VMCOREINFO
}

# In struct elf_prstatus: 112 bytes, then from R15 to GS
registers() {
	offset=$(readelf -lW core | awk '$1 == "NOTE" { print $2 }')
	od -A n -t x8 -v -w8 -j $((offset + 12 + 8 + 112)) -N $((27 * 8)) core | tr -d ' ' >regs
	cat regs
}

has_registers() {
	make_core host -t "$types" || return 1
	registers
	[ "$(sed -n 1p regs)" = ffffffffffffffff ] && [ "$(sed -n 2p regs)" = eeeeeeeeeeeeeeee ] &&
		[ "$(sed -n 11p regs)" = 0000000000000000 ] && [ "$(sed -n 12p regs)" = 1111111111111111 ] &&
		[ "$(sed -n 17p regs)" = ffffffff80000125 ] && [ "$(sed -n 20p regs)" = ffffffff80001ff0 ]
}

make_core() { # DUMP ARGUMENT...: what it says on stderr is in err
	dump=$1
	shift
	"$tool" core -d "$dump" -o core "$@" 2>err || { cat err; false; }
}

said() { grep -q "$1" err || { cat err; false; }; }

# The core of the guest itself, and nothing of another one
right_core() {
	grep -q "the guest's last page" core && ! grep -q "another guest" core
}

# Not more than a few seconds, even if the machine is slow and the tool is checked
ends() { timeout 60 "$@"; }

decoy_without_types() {
	refuses 'several guests.*use -t' "$tool" core -d decoy -o core
}

decoy_with_types() {
	make_core decoy -t "$types" && right_core &&
		refuses 'no vCPU has it' "$tool" core -d decoy -o core -t "$types" 0x116000 &&
		make_core decoy -t "$types" -f 0x116000 && said 'no vCPU has it' && grep -q 'secret' core
}

decoy_listed() {
	"$tool" find -d decoy -t "$types" >find && cat find &&
		grep -q '^0x101000.*vCPU 3$' find && grep -q '^0x116000.*(no vCPU has it)$' find
}

forged_vcpu() {
	"$tool" find -d forged -t "$types" && make_core forged -t "$types" && right_core &&
		refuses 'memory of a guest' "$tool" core -d forged -o core -t "$types" 0x116000
}

forged_twice() {
	"$tool" find -d forged-twice -t "$types" >find && cat find && grep -q '^0x101000.*(it, or what seems its vCPU' find &&
		refuses 'memory of a guest' "$tool" core -d forged-twice -o core -t "$types" 0x116000 &&
		refuses 'are doubtful' "$tool" core -d forged-twice -o core -t "$types" &&
		make_core forged-twice -t "$types" -f 0x101000 && said 'registers are not known' && right_core
}

forged_loops() {
	"$tool" find -d forged-loops -t "$types" >find && cat find && [ "$(grep -c '(.*)$' find)" = 4 ] &&
		refuses 'are doubtful' ends "$tool" core -d forged-loops -o core -t "$types"
}

one_layout() {
	"$tool" find -d same-note && refuses 'different layouts.*use -l' "$tool" find -d other-note &&
		"$tool" find -d other-note -l note | grep -q 0xffffffff80000123 &&
		"$tool" find -d other-note -l 0x100000 | grep -q 0xffffffff80000123 &&
		refuses 'no layout' "$tool" find -d other-note -l 0x101000
}

nested_guest() {
	make_core nested -t "$types" && said 'vCPU 3 runs a guest of this guest' || return 1
	registers
	# RIP and RSP are what the VMCS has; R15 is not that of the guest's guest
	[ "$(sed -n 1p regs)" = 0000000000000000 ] && [ "$(sed -n 17p regs)" = ffffffff80000123 ] &&
		[ "$(sed -n 20p regs)" = ffffffff80001ff0 ]
}

several_roots() {
	make_core roots -t "$types" && said '2 EPTs.*EPTP 0x10201e' && said '3 vCPUs, 52 KiB' && right_core &&
		make_core roots -t "$types" 0x10f000 && right_core &&
		refuses 'use -t' "$tool" core -d roots -o core &&
		refuses 'another EPT' "$tool" core -d roots -o core 0x101000 0x10f000 &&
		make_core roots -f 0x101000 0x10f000 && said '2 EPTs' && right_core
}

several_guests() {
	"$tool" find -d two-guests -t "$types" >find && cat find && grep -q 'vCPU 1$' find &&
		refuses 'several guests' "$tool" core -d two-guests -o core -t "$types" &&
		refuses 'another guest' "$tool" core -d two-guests -o core -t "$types" 0x101000 0x10f000 &&
		make_core two-guests -t "$types" 0x101000
}

# begins DUMP: the start of a core that is large, and how many segments it has
begins() {
	{ ends "$tool" core -d "$1" -t "$types" -o -; } 2>err | head -c 70M >core
	cat err
	readelf -hW core 2>/dev/null | grep 'Number of program headers'
	segments | wc -l >count
	cat count
}

scattered_memory() {
	begins scattered && [ "$(cat count)" -lt 10 ] && grep -q "the guest's last page" core
}

memory_with_holes() {
	begins holes && [ "$(cat count)" -gt 70000 ] && readelf -hW core 2>/dev/null | grep -q '65535 (7'
}

many_mappings() {
	begins mappings && grep -q 'vmcsinfo: not all .* too many mappings' err && [ "$(cat count)" -gt 1000000 ]
}

endless_ept() {
	refuses 'more tables than there is memory' ends "$tool" core -d endless -o core &&
		ends "$tool" core -d elsewhere -o core 2>err && said '20937965568 KiB .*not in the dump' && right_core
}

endless_guest() {
	ends "$tool" core -d guest-endless -o core 2>err && said '44 page tables that repeat are left out' &&
		right_core && segments | grep -q '0xffffffff80000000 0x0000000000000000'
}

overlapping_segments() {
	for variant in overlap overlap-larger; do
		"$dir/fake-host" $variant >$variant
		found $variant && make_core $variant -t "$types" && right_core || return 1
	done
}

# The second page of the guest
unreadable_page() {
	if ldd "$tool" 2>&1 | grep -q 'not a dynamic'; then
		echo "the tool is static"
		return 0
	fi
	ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS" UNREADABLE=$((8 * 4096)) \
		LD_PRELOAD=$dir/unreadable.so "$tool" core -d host -t "$types" -o core 2>err || { cat err; false; } || return 1
	said '1 pages of the guest can.t be read' && right_core && grep -q "the guest's code" core
}

no_types() { make_core host && said 'without -t general registers are zero'; }

in_proc() { refuses truncated "$tool" find -d /proc/self/cwd/cut; }

echo 1..34
types=$dir/fake-host.o
"$dir/fake-host" >host
for variant in decoy forged forged-twice forged-loops same-note other-note nested roots two-guests scattered holes mappings \
	       endless elsewhere guest-endless; do
	"$dir/fake-host" $variant >$variant
done
tail -c +4097 host | head -c 4096 >note
check "the layout is found in memory" sh -c "'$tool' fields -d host | grep -q '^681c  0x0f8  8  GUEST_RSP  big-endian'"
check "find: the VMCS, and none that only looks like one" found host
check "print: fields in each form" printed
check "core: memory, by physical and virtual address" has_memory
check "core: registers, by the types of the host" has_registers
"$tool" print -d host 0x10c000 >out 2>err
check "print says why something is no VMCS" grep -q 'RFLAGS of the guest' err
head -c 100000 host >cut
check "a truncated dump" refuses truncated "$tool" find -d cut
check "the same, by a name in /proc" in_proc
head -c 100 host >cut
check "a dump without its headers" refuses . "$tool" find -d cut
echo text >text
check "text" refuses 'no ELF' "$tool" find -d text
check "a program" refuses 'no dump' "$tool" find -d "$tool"
check "an address that is not there" refuses 'not in the dump' "$tool" print -d host 0x900000
check "a VMCS without EPT has no core" refuses 'it has no EPT' "$tool" core -d host -o core 0x10c000
check "a layout that is none" refuses 'no layout' "$tool" find -d host -l text
check "types that are none" refuses . "$tool" core -d host -t text -o core
check "different layouts in memory are refused" one_layout
check "a decoy in the guest's memory: no core without types" decoy_without_types
check "a decoy: the right core with types" decoy_with_types
check "a decoy: find says so with types" decoy_listed
check "a decoy with a vCPU of its own" forged_vcpu
check "a decoy, and a vCPU for the real VMCS" forged_twice
check "decoys whose EPTs have no end" forged_loops
check "a guest that runs a guest: no registers of that one" nested_guest
check "a guest with several EPTs, one obsolete" several_roots
check "two guests" several_guests
check "memory that is scattered in the host is one segment" scattered_memory
check "more segments than e_phnum can count" memory_with_holes
check "more mappings than are made segments of" many_mappings
check "EPT that maps far more than memory ends" endless_ept
check "page tables of a guest that map far more than memory end" endless_guest
check "segments that overlap" overlapping_segments
check "a page that can't be read is one page" unreadable_page
check "core says that there are no general registers without types" no_types
check "hostile dumps and types" "$dir/hostile" "$tool" host "$types" "$count"
exit $failed
