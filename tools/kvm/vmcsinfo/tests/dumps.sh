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

found() {
	"$tool" find -d host >find && cat find &&
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

has_registers() {
	"$tool" core -d host -t "$dir/fake-host.o" -o core || return 1
	# In struct elf_prstatus: 112 bytes, then from R15 to GS
	offset=$(readelf -lW core | awk '$1 == "NOTE" { print $2 }')
	od -A n -t x8 -v -w8 -j $((offset + 12 + 8 + 112)) -N $((27 * 8)) core | tr -d ' ' >regs
	cat regs
	[ "$(sed -n 1p regs)" = ffffffffffffffff ] && [ "$(sed -n 2p regs)" = eeeeeeeeeeeeeeee ] &&
		[ "$(sed -n 11p regs)" = 0000000000000000 ] && [ "$(sed -n 12p regs)" = 1111111111111111 ] &&
		[ "$(sed -n 17p regs)" = ffffffff80000125 ] && [ "$(sed -n 20p regs)" = ffffffff80001ff0 ]
}

echo 1..15
"$dir/fake-host" >host
check "the layout is found in memory" sh -c "'$tool' fields -d host | grep -q '^681c  0x0f8  8  GUEST_RSP  big-endian'"
check "find: the VMCS, and none that only looks like one" found
check "print: fields in each form" printed
check "core: memory, by physical and virtual address" has_memory
check "core: registers, by the types of the host" has_registers
"$tool" print -d host 0x10c000 >out 2>err
check "print says why something is no VMCS" grep -q 'RFLAGS of the guest' err
head -c 100000 host >cut
check "a truncated dump" refuses truncated "$tool" find -d cut
head -c 100 host >cut
check "a dump without its headers" refuses . "$tool" find -d cut
echo text >text
check "text" refuses 'no ELF' "$tool" find -d text
check "a program" refuses 'no dump' "$tool" find -d "$tool"
check "an address that is not there" refuses 'not in the dump' "$tool" print -d host 0x900000
check "a VMCS without EPT has no core" refuses 'it has no EPT' "$tool" core -d host -o core 0x10c000
check "a layout that is none" refuses 'no layout' "$tool" find -d host -l text
check "types that are none" refuses . "$tool" core -d host -t text -o core
check "hostile dumps and types" "$dir/hostile" "$tool" host "$dir/fake-host.o" "$count"
exit $failed
