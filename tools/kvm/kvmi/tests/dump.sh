# SPDX-License-Identifier: GPL-2.0-only
# Dumps of a guest: a part of tool.sh

# at OFFSET SIZE: bytes of the dump, as text
at() { tail -c +$(($1 + 1)) "$dir/core" | head -c "$2"; }
elf() { readelf "$@" "$dir/core" >"$dir/out" 2>&1; }
no_file() { [ ! -e "$dir/core" ] && [ "$(find "$dir" -name 'core*' | wc -l)" = 0 ]; }
old_file() { [ "$(cat "$dir/core")" = old ] && [ "$(find "$dir" -name 'core*' | wc -l)" = 1 ]; }
one_line() { [ "$(wc -l <"$dir/out")" = 1 ] && has "$1"; }

# ---- Formats
run linuxinfo dump "$dir/core"
ok "dump succeeds" status_is 0
ok "dump: told" has 'ELF core, 1 MiB of memory, of which .*; 2 vCPUs; 2 mappings .*; with VMCOREINFO; the guest stood still'
ok "dump: a page that only looks like VMCOREINFO" has '1 page of the guest looks like VMCOREINFO'
ok "dump leaves nothing on" vm_has 'left on: 0 0 0 0'
ok "dump: for nobody else" [ "$(stat -c %a "$dir/core")" = 600 ]
ok "dump: zeros take no room" [ "$(du -k "$dir/core" | cut -f1)" -lt 100 ]
elf -lW
ok "dump: an ELF core" has 'file type is CORE'
ok "dump: a segment for memory" has 'LOAD  *0x041000 0x0000000000000000 0x0000000000041000 0x0bf000 0x0bf000'
ok "dump: for a hole there is none" sh -c "! grep -q 0x0000000000040000 $dir/out"
ok "dump: a segment for the kernel" has 'LOAD  *0x0b0000 0xffffffff81000000 0x00000000000b0000 0x009000 0x009000'
ok "dump: a segment for a module" has 'LOAD  *0x0c0000 0xffffffffa0000000 0x00000000000c0000 0x001000 0x001000'
ok "dump: segments for all of it" [ "$(grep -c LOAD "$dir/out")" = 5 ]
ok "dump: memory" [ "$(at $((0x1000 + 0x2000)) 13)" = /etc/hostname ]
elf -nW
ok "dump: registers of each vCPU" [ "$(grep -c NT_PRSTATUS "$dir/out")" = 2 ]
ok "dump: VMCOREINFO" grep -q 'CRASHTIME=1' "$dir/core"
ok "dump: only that of the kernel" [ "$(readelf -nW "$dir/core" 2>/dev/null | grep -c VMCOREINFO)" = 1 ]
ok "dump: paused" sh -c "strings $dir/core | grep -qx STATE=paused"
if command -v gdb >/dev/null; then
	gdb -batch -nx -ex 'info threads' -ex 'info registers' -ex 'x/2xb 0xffffffff81000908' \
		-c "$dir/core" >"$dir/out" 2>&1
	ok "dump: gdb has a thread for each vCPU" has ' 2  *LWP 2 '
	ok "dump: gdb has the registers" has '^rip  *0xffffffff81234567'
	ok "dump: gdb has more than the general ones" has '^eflags  *0x246 '
	ok "dump: gdb has the kernel's memory" has '^0xffffffff81000908:.*0x90.*0x90'
fi
rm -f "$dir/core"

run linuxinfo dump "$dir/core" --running
ok "dump: with the guest running" has 'not of one moment'
ok "dump: which the core says" sh -c "strings $dir/core | grep -q '^STATE=running: '"
ok "dump: and no vCPU was paused" sh -c "! grep -q PAUSE $dir/vm"
rm -f "$dir/core"
run boot dump "$dir/core" --format raw
ok "dump: raw" has 'raw memory, 1 MiB of memory'
ok "dump: raw: at its address" [ "$(at $((0x7ffa)) 13)" = 'Linux version' ]
ok "dump: raw: of all addresses" [ "$(stat -c %s "$dir/core")" = 4294967296 ]
ok "dump: raw: holes take no room" [ "$(du -k "$dir/core" | cut -f1)" -lt 100 ]
rm -f "$dir/core"
run boot dump "$dir/core" --format lime
ok "dump: LiME" has 'LiME image, 1 MiB of memory'
od -An -v -tx8 -N 32 "$dir/core" >"$dir/out"
ok "dump: LiME: version 1, from 0" has '^ 000000014c694d45 0000000000000000$'
ok "dump: LiME: to the last byte" has '^ 000000000003ffff 0000000000000000$'
od -An -v -tx8 -j $((0x40020)) -N 32 "$dir/core" >"$dir/out"
ok "dump: LiME: the second range" has '^ 000000014c694d45 0000000000041000$'
ok "dump: LiME: memory" [ "$(at $((0x7ffa + 32)) 13)" = 'Linux version' ]
ok "dump: LiME: three ranges" [ "$(stat -c %s "$dir/core")" = $((3 * 32 + 0x40000 + 0xbf000 + 0x40000)) ]
rm -f "$dir/core"
run old dump "$dir/core"
ok "dump: an old kernel's, by what the device manager says" status_is 0
elf -lW
ok "dump: which is one segment with zeros" has 'LOAD  *0x001000 0x0000000000000000 0x0000000000000000 0x100000'
rm -f "$dir/core"
FAKE_MAX_GPA=0 run old dump "$dir/core"
ok "dump: nobody says where there is memory" one_line 'nobody says where the guest has memory'
ok "dump: then there is no file" no_file

# ---- Guests
run lonely dump "$dir/core"
ok "dump: a vCPU that is not started" has '2 vCPUs, 1 of them not started'
elf -nW
ok "dump: it has its place" [ "$(grep -c NT_PRSTATUS "$dir/out")" = 2 ]
rm -f "$dir/core"
run linuxfakeinfo dump "$dir/core"
ok "dump: no VMCOREINFO but those made up" has 'no VMCOREINFO; the guest'
ok "dump: and how many" has '2 pages of the guest look like VMCOREINFO'
rm -f "$dir/core"
run linuxself dump "$dir/core"
ok "dump: page tables that map themselves" status_is 0
elf -lW
ok "dump: and the kernel" has 'LOAD .* 0xffffffff81000000 0x00000000000b0000'
rm -f "$dir/core"
run linuxmany dump "$dir/core"
ok "dump: more mappings than a core has room for" has 'more mappings than a core can have, some'
elf -hW
ok "dump: as many as are counted" has 'Number of program headers: *32004$'
rm -f "$dir/core"

# ---- What goes wrong
for bad in 'overlap:broke the protocol' 'nomemory:broke the protocol' 'moves:was rearranged meanwhile' \
	'leaves:asked to leave' 'hangsup:ended the session' 'deny:not allowed by the device manager'; do
	echo old >"$dir/core"
	run "${bad%%:*}" dump "$dir/core"
	ok "dump: ${bad%%:*}: told" one_line "${bad#*:}"
	ok "dump: ${bad%%:*}: which is a failure" status_is 1
	ok "dump: ${bad%%:*}: the old file is as it was" old_file
done
run stopped dump "$dir/core" --timeout 0.2
ok "dump: of a stopped VM" one_line 'is the VM stopped'
ok "dump: the old file is still there" old_file
rm -f "$dir/core"
run boot dump "$dir/nowhere/core"
ok "dump: no such directory" one_line 'dump .*/nowhere/core: a file beside it: No such file'
run boot dump "$dir"
ok "dump: a directory" one_line 'Is a directory'
run linux dump /dev/full
ok "dump: no space" one_line 'dump /dev/full: No space left on device'
ok "dump: which is a failure, too" status_is 1
# As on a full disk, in the middle of it: the message is of another number
(
	trap '' XFSZ
	ulimit -f 8
	run linux dump "$dir/core"
	[ $status = 1 ] && one_line 'dump .*/core: File too large' && no_file
)
ok "dump: no space in the middle" [ $? = 0 ]
start_vm slow
in_background "$out/kvmi" dump "$dir/core" >"$dir/out" 2>&1
i=0
until [ "$(find "$dir" -name 'core.*' -size +0 | wc -l)" = 1 ] || [ $i -gt 100 ]; do sleep 0.05; i=$((i + 1)); done
ok "dump: ^C ends it" ends_by INT
ok "dump: with a word" one_line 'dump: interrupted'
ok "dump: and a status" status_is 1
wait $vm
ok "dump: nothing of it is left" no_file
ok "dump: nor in the guest" vm_has 'left on: 0 0 0 0'
if command -v script >/dev/null; then
	start_vm slow
	script -qec "$out/kvmi dump $dir/core --format raw" /dev/null >"$dir/out" 2>&1 </dev/null
	wait $vm
	ok "dump: progress on a terminal" has '/core  *[1-9][0-9]*% of 1 MiB'
	run slow dump "$dir/core" --format raw
	ok "dump: and nowhere else" sh -c "! grep -q % $dir/out"
	rm -f "$dir/core"
fi
