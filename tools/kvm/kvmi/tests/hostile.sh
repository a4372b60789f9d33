# SPDX-License-Identifier: GPL-2.0-only
# The tool against peers that break the protocol, readers that do not read, and users
# who are in a hurry: a part of tool.sh

# in_background COMMAND...: the tool, with a VM or without; its number in $tool
in_background() {
	timeout 30 "$@" &
	tool=$!
}

# ends_by SIGNAL: within some seconds; its status in $status
ends_by() {
	kill -"$1" $tool
	i=0
	while kill -0 $tool 2>/dev/null && [ $i -lt 200 ]; do sleep 0.05; i=$((i + 1)); done
	left=0
	kill -0 $tool 2>/dev/null && left=1 && kill -KILL $tool
	wait $tool 2>/dev/null
	status=$?
	[ $left = 0 ]
}

# waits_for_vm: until the tool listens
waits_for_vm() {
	i=0
	while [ ! -S "$sock" ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i + 1)); done
}

# start_vm WHAT
start_vm() {
	: >"$dir/vm"
	"$out/tests/fakevm" "$sock" "$1" >"$dir/vm" 2>&1 &
	vm=$!
}

# ---- Numbers
run manypauses pause
ok "pause: more vCPUs than can be" has 'broke the protocol'
ok "pause: which is a failure" status_is 1
run manyvcpus watch --once
ok "watch: more vCPUs than can be" has 'broke the protocol'
run manyvcpus regs
ok "regs: more vCPUs than can be" has 'broke the protocol'
echo before >"$dir/grown"
run xsavegrows xsave --output "$dir/grown"
ok "xsave: a state that grew" has 'broke the protocol'
ok "xsave: the file that was there is as it was" grep -q before "$dir/grown"
run boot mem 0xfffffffffffff000 0x100
ok "mem: the last page of all" status_is 1
ok "mem: which is no memory" has 'no memory at 0xfffffffffffff000'
run boot mem 0xfffffffffffff000 0x100 --search x
ok "mem: nor found in" has 'not found'
FAKE_MAX_GPA=0x10000000000
export FAKE_MAX_GPA
run boot mem --output "$dir/whole"
ok "mem: memory that ends where the device manager says" status_is 0
ok "mem: of the slots' size" test "$(wc -c <"$dir/whole")" = 4294967296
ok "mem: holes take no room" test "$(du -k "$dir/whole" | cut -f1)" -lt 2048
rm -f "$dir/whole"
unset FAKE_MAX_GPA
run boot mem 0x3f000 0x10000000
ok "mem: a line for a hole" sh -c "[ \$(grep -c 'no memory' $dir/out) -lt 5 ]"
run linux break 0xffffffff81000040 --spare 0xb0000+4096 --once
ok "break: no page for a copy" has 'no page for a copy'
run linuxwrite break 0xffffffff81000040 --spare 0+4096 --once
ok "break: the first page of all is in use: no page for a copy" has 'no page for a copy'
ok "break: the first page of all is in use: which is a failure" status_is 1
# A page that is all zero, as those for copies are
run linuxwrite break 0x1010 --spare 0x1000+4K --once
ok "break: a page is not its own copy" has 'no page for a copy'
ok "break: nor is it shown" sh -c "! grep 'shows 0x1$' $dir/vm"
run linuxwrite break 0xffff88800009c010 0xffffffff81000040 --spare 0x9b000+12K --once
ok "break: a page with breakpoints is not another's copy" vm_has '^view 1: 0xb0 shows 0x9b$'
ok "break: its own is elsewhere" vm_has '^view 1: 0x9c shows 0x9d$'
ok "break: nothing is written to it" sh -c "! grep '^written at 0x9c000' $dir/vm"

# ---- A guest that reboots, or has not booted: protected when it has
run linuxlate protect --kernel --once
ok "protect: no kernel, once" status_is 1
ok "protect: and says so" has 'runs no 64-bit Linux kernel, or has not booted yet$'
start_vm linuxlate
in_background "$out/kvmi" protect --kernel >"$dir/out" 2>&1
until_seen 'event 17 SKIP' "$dir/vm"
ok "protect: waits for a kernel" has 'has not booted yet; waiting for it$'
ok "protect: which is told once" sh -c "[ \$(grep -c waiting $dir/out) = 1 ]"
ok "protect: and then protects it" vm_has 'event 17 SKIP'
ok "protect: all of it, once" sh -c "[ \$(grep -c 'access 5$' $dir/vm) = 2 ]"
ok "protect: ends well" ends_by TERM
wait $vm
start_vm linuxlatewrite
in_background "$out/kvmi" break --call openat >"$dir/out" 2>&1
until_seen 'event 7 ' "$dir/vm"
ok "break: waits for a kernel" has 'has not booted yet; waiting for it$'
ok "break: and then stops there" vm_has '^event [0-9]* RETRY, view 0, stepping$'
ends_by TERM
wait $vm

start_vm linuxlateseals
in_background "$out/kvmi" protect --kernel >"$dir/out" 2>&1
until_seen 'event 17 SKIP' "$dir/vm"
ok "protect: a kernel that is about to protect itself: all of it" \
	vm_has '^view 0: 0xb4000, 4 pages: access 5$'
ok "protect: a kernel that is about to protect itself: at once" \
	sh -c "[ \$(grep -c 'access 5$' $dir/vm) = 2 ]"
ends_by TERM
wait $vm
# By its symbols: what is not read-only yet may be what they say
printf '%s\n' 'ffffffff82000000 T _text' 'ffffffff82000040 T entry_SYSCALL_64' \
	'ffffffff82000908 T __x64_sys_openat' 'ffffffff82004c00 R sys_call_table' \
	'ffffffff82007f00 R linux_banner' >"$dir/ownmap"
start_vm linuxlateseals
in_background "$out/kvmi" protect --kernel --symbols "$dir/ownmap" >"$dir/out" 2>&1
until_seen 'event 17 SKIP' "$dir/vm"
ok "protect: a kernel that is about to protect itself, and its symbols" \
	vm_has '^view 0: 0xb4000, 4 pages: access 5$'
ok "protect: they are those of this kernel" sh -c "! grep 'another kernel' $dir/out"
ends_by TERM
wait $vm
# A guest may run another kernel next time, and come back
sed 's/908 T/910 T/' "$dir/ownmap" >"$dir/nextmap"
start_vm linux
in_background "$out/kvmi" protect --kernel --range 0x1000+8K --symbols "$dir/nextmap" \
	--trust _text --trust entry_SYSCALL_64 >"$dir/out" 2>&1
until_seen '^left on' "$dir/vm"
ok "protect: another kernel than its symbols say: the range is protected" \
	vm_has '^view 0: 0x1000, 2 pages: access 5$'
ok "protect: another kernel than its symbols say: that is told" \
	sh -c "[ \$(grep -c 'symbols: of another kernel than the guest.s; waiting' $dir/out) = 1 ]"
ok "protect: another kernel than its symbols say: nothing of it is protected" \
	sh -c "! grep '0xb.*access 5$' $dir/vm"
ok "protect: another kernel than its symbols say: nothing is trusted" \
	sh -c "grep -q '^event 17 SKIP' $dir/vm && ! grep 'event 17 ALLOW' $dir/vm"
start_vm linuxlate
until_seen '^left on' "$dir/vm"
ok "protect: no kernel: the range is protected" vm_has '^view 0: 0x1000, 2 pages: access 5$'
ok "protect: it is there all the time" ends_by TERM
ok "protect: and ends well" status_is 0
FAKE_RULES=1
export FAKE_RULES
start_vm linux
in_background "$out/kvmi" protect --kernel --range 0x1000+8K --symbols "$dir/nextmap" \
	--trust _text --quiet >"$dir/out" 2>&1
until_seen '^left on' "$dir/vm"
ok "protect: another kernel than its symbols say: nothing is trusted by a rule" \
	sh -c "grep -q '^event 17 SKIP.*by rule' $dir/vm && ! grep 'event 17 ALLOW' $dir/vm"
ends_by TERM
# What is allowed beside a range is not when all of the page is protected
start_vm linuxlatebytes
in_background "$out/kvmi" protect --kernel --range 0xb5408+8 --exact >"$dir/out" 2>&1
until_seen '^left on' "$dir/vm"
ok "protect: exact, and then the kernel: there are rules for the range at first" \
	sh -c "grep -q '^rules of event 17: 5/' $dir/vm && grep -q '^rules of event 23: 1/' $dir/vm"
ok "protect: exact, and then the kernel: nothing of its page is written" \
	sh -c "[ \$(grep -c '^event 17 SKIP' $dir/vm) = 10 ] && ! grep 'bytes written' $dir/vm"
unset FAKE_RULES
ends_by TERM
start_vm linux
in_background "$out/kvmi" protect --kernel --symbols "$dir/ownmap" >"$dir/out" 2>&1
until_seen 'event 17 SKIP' "$dir/vm"
ok "protect: the symbols of the guest's kernel" vm_has '^view 0: 0xb4000, 4 pages: access 5$'
ends_by TERM
wait $vm
# Before there is a kernel nothing is restricted, and nothing to be kept by leaving without a word
start_vm linuxlatenomore
"$out/kvmi" protect --kernel >"$dir/out" 2>&1
ok "protect: an error before there is a kernel: no vCPU is held" vm_has '^left on: 0 0 0 0$'
ok "protect: an error before there is a kernel: is no loss of protection" \
	sh -c "! grep 'nothing is undone' $dir/out"
wait $vm
start_vm linuxlatenomore
"$out/kvmi" protect --kernel --range 0x1000+8K >"$dir/out" 2>&1
ok "protect: the same, and a range that is protected by then: nothing is undone" \
	has '^kvmi: protect: nothing is undone: that is left to the device manager$'
wait $vm
start_vm linuxlatelonely
"$out/kvmi" protect --kernel >"$dir/out" 2>&1 &
tool=$!
i=0
while ! vm_has 'access 5$' && kill -0 $tool 2>/dev/null && [ $i -lt 300 ]; do
	sleep 0.1
	i=$((i + 1))
done
ok "protect: waits also if not all vCPUs have been started" \
	vm_has '^view 0: 0xb4000, 4 pages: access 5$'
ends_by TERM
wait $vm

# ---- A page that a device writes
start_vm linuxwritedma
in_background "$out/kvmi" break --call openat >"$dir/out" 2>&1
until_seen 'the device' "$dir/vm"
ok "break: the copy follows what no vCPU wrote" vm_has 'the copy has what the device wrote'
ends_by TERM
wait $vm
ok "break: and what it wrote to the page of the copy stays" vm_has 'copy is left with 0x99'

# ---- Page tables of the guest's
run linuxfirsthole protect --kernel --once
ok "protect: what is no memory comes first: the rest is protected" \
	has 'denied  *write of 0xb5408 (table of system calls, entry 257, openat)'
ok "protect: what is no memory comes first: it is left out" has 'protect: 0x40000-0x40fff is left out'
run linuxholes protect --kernel --once
ok "protect: what is no memory is left out" has '0x100000-0x100fff is left out, not all of it is memory$'
ok "protect: and pieces beyond so many" has 'protect: [0-9]* pieces of the kernel are left out, it is in more than 64$'
ok "protect: and the rest is protected" vm_has '^view 0: 0xb4000, 4 pages: access 5$'
run linuxlarge protect --kernel --once
ok "protect: a page larger than can be is none" has 'runs no 64-bit Linux kernel'

# ---- Text
FAKE_NAME=$(printf '\033[2J\033]0;title\007\nuuid        fake "\\ Pr\303\274f \302\233 \377')
export FAKE_NAME
run boot info
ok "info: the name is one line" sh -c "[ \$(grep -c uuid $dir/out) = 2 ] && [ \$(grep -c ^uuid $dir/out) = 1 ]"
ok "info: what is no text is escaped" \
	has '^name  *\\x1b\[2J\\x1b]0;title\\x07\\x0auuid  *fake \\"\\\\ Prüf \\xc2\\x9b \\xff$'
ok "info: nothing for the terminal" sh -c "! LC_ALL=C grep -q '[[:cntrl:]]' $dir/out"
run unhook watch --once
ok "watch: nothing for the terminal" sh -c "! LC_ALL=C grep -q '[[:cntrl:]]' $dir/out"
run unhook watch --once --json
ok "watch: JSON keeps UTF-8" has '"name":"\\u001b\[2J\\u001b]0;title\\u0007\\u000auuid  *fake \\"\\\\ Prüf \\u009b \\ufffd"'
if command -v python3 >/dev/null; then
	ok "watch: JSON of such a name parses" python3 -c 'import json,sys
for l in open(sys.argv[1]): json.loads(l)' "$dir/out"
fi
unset FAKE_NAME
printf 'ffffffff81000100 t \033[31mred\n' >"$dir/redmap"
printf 'ffffffff81000040 T entry_SYSCALL_64\n' >>"$dir/redmap"
printf 'ffffffff82000000 T end\n' >>"$dir/redmap"
run linux protect --kernel --symbols "$dir/redmap" --once
ok "protect: a symbol's name" has '<\\x1b\[31mred+0x23>'

FAKE_PATH='a", 0x0, 0) \x1b'
export FAKE_PATH
run linuxwrite break --call openat --once
ok "break: quotes and backslashes in a path" grep -qF 'openat(AT_FDCWD, "a\", 0x0, 0) \\x1b", 0x8000, 0)' "$dir/out"
run linuxwritetasks-trace trace --once
ok "trace: quotes and backslashes in a path" \
	grep -qF 'openat(AT_FDCWD, "a\", 0x0, 0) \\x1b", 0x8000, 0) = -1 ENOENT' "$dir/out"
unset FAKE_PATH
run linux step --count 2 --json
ok "step: JSON: where it begins" sh -c "head -n 1 $dir/out | grep -q '\"event\":\"pause\"'"
ok "step: JSON: the others" sh -c "[ \$(grep -c '\"event\":\"singlestep\"' $dir/out) = 2 ]"
run unknown watch --once --json
ok "watch: JSON of an event that is not known" has '"event":"unknown","id":27,'
ok "watch: JSON: all lines have an event" sh -c "! grep -v '\"event\":' $dir/out"
run unknown watch --once
ok "watch: an event that is not known" has 'unknown  *a kind that this tool does not know$'
ok "watch: which is allowed" vm_has '^0 event 27 ALLOW$'

# ---- Files
run boot mem 0 64 --output "$dir/secret"
ok "mem: for the user's eyes only" sh -c "[ \$(stat -c %a $dir/secret) = 600 ]"
run boot xsave --output "$dir/secret2"
ok "xsave: for the user's eyes only" sh -c "[ \$(stat -c %a $dir/secret2) = 600 ]"
echo before >"$dir/secret"
run deny mem 0x5000 16 --smm --output "$dir/secret"
ok "mem: a refused command leaves the file" grep -q before "$dir/secret"
ok "mem: and none beside it" sh -c "! ls $dir/secret.* 2>/dev/null | grep -q ."
run ioerror mem 0 64 --output "$dir/secret"
ok "mem: an error of the other side's is not the file's" sh -c "! grep -e secret -e 'write failed' $dir/out"
ok "mem: but the protocol's" has '^kvmi: mem: the other side broke the protocol'
run ioerror mem 0 64
ok "mem: an error of the other side's, without a file" sh -c "! grep -e null -e output $dir/out"
ok "mem: and says so" has '^kvmi: mem: the other side broke the protocol'
run boot mem 0 64 --output /dev/full
ok "mem: no room" has '--output /dev/full: No space left on device'
ok "mem: which is a failure" status_is 1
run boot mem 0 64 --output /dev/stdout
ok "mem: to standard output" status_is 0
ok "mem: which is a file" cmp -s -n 64 "$dir/out" /dev/zero
ok "mem: and not replaced" test -L /dev/stdout
run boot mem 0 64 --output "$dir/no/where"
ok "mem: to a directory that is not there" has "where: .*No such file"

# ---- Signals
mkfifo "$dir/fifo"
# Somebody who reads what is not for him, in a directory such as /tmp
if chown 12345 "$dir/fifo" 2>/dev/null; then
	cat "$dir/fifo" >"$dir/read" 2>/dev/null &
	reader=$!
	for command in "mem 0x2000 16 --output" "dump" "xsave --output"; do
		# shellcheck disable=SC2086
		run linux $command "$dir/fifo"
		ok "${command%% *}: a pipe of another user's: is refused" has ": a pipe of another user's, who would read it$"
		ok "${command%% *}: a pipe of another user's: which is a failure" status_is 1
	done
	kill $reader
	wait $reader 2>/dev/null
	ok "a pipe of another user's: nothing was read" test ! -s "$dir/read"
	# That may be standard output all the same: whoever runs the tool has said so
	cat "$dir/fifo" >"$dir/read" 2>/dev/null &
	reader=$!
	start_vm boot
	timeout 20 "$out/kvmi" mem 0x2000 16 --output /dev/stdout >"$dir/fifo" 2>"$dir/out"
	status=$?
	wait $vm
	wait $reader
	ok "a pipe of another user's: as standard output" \
		sh -c "[ $status = 0 ] && head -c 16 $dir/read | cmp -s -n 16 - /dev/zero"
	chown 0 "$dir/fifo"
fi
# A terminal is one, and shows it
if mknod "$dir/device" c 1 3 2>/dev/null && chown 12345 "$dir/device"; then
	run linux mem 0x2000 16 --output "$dir/device"
	ok "mem: a device of another user's: is refused" has ": a device of another user's, who would read it$"
	ok "mem: a device of another user's: which is a failure" status_is 1
	chown 0 "$dir/device"
	run linux mem 0x2000 16 --output "$dir/device"
	ok "mem: a device of root's" status_is 0
	rm "$dir/device"
fi
in_background "$out/kvmi" info --cookie "$dir/fifo" >"$dir/out" 2>&1
sleep 0.3
ok "signal while a file is opened" ends_by TERM
ok "which is a failure" status_is 2
run boot protect --kernel --symbols /dev/zero --once
ok "symbols without an end" has 'not the System.map'
kill $vm; wait $vm 2>/dev/null
for signal in TERM INT HUP; do
	start_vm boot
	# Somebody has the pipe open and does not read
	sleep 30 <"$dir/fifo" &
	reader=$!
	in_background "$out/kvmi" mem 0x41000 700K --cookie "$dir/cookie" >"$dir/fifo" 2>"$dir/out"
	until_seen '^cookie' "$dir/vm"
	sleep 0.5
	ok "mem: $signal while nobody reads" ends_by $signal
	wait $vm
	ok "mem: $signal: the session ends" vm_has 'left on'
	kill $reader; wait $reader 2>/dev/null
done
start_vm boot
sleep 30 <"$dir/fifo" &
reader=$!
# Not below timeout(1), which sends it twice
"$out/kvmi" mem 0x41000 700K --cookie "$dir/cookie" --output "$dir/fifo" >"$dir/out" 2>&1 &
tool=$!
until_seen '^cookie' "$dir/vm"
sleep 0.5
ok "mem: TERM while nobody reads the file" ends_by TERM
wait $vm
ok "mem: TERM while nobody reads the file: the session ends" vm_has 'left on'
kill $reader; wait $reader 2>/dev/null
start_vm chatty
sleep 30 <"$dir/fifo" &
reader=$!
in_background "$out/kvmi" watch --cr 4 --once >"$dir/fifo" 2>"$dir/out"
until_seen 'all events answered' "$dir/vm"
i=0
while ! vm_has 'all events answered' && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
ok "watch: the guest goes on while nobody reads" vm_has 'all events answered'
kill $reader; wait $reader 2>/dev/null
wait $tool
ok "watch: lines are missing, which is a failure" test $? = 1
ok "watch: and says so" has 'lines were left out'
wait $vm
start_vm chatty
(until_seen 'half of them answered' "$dir/vm"; cat) \
	<"$dir/fifo" >"$dir/lines" &
reader=$!
in_background "$out/kvmi" watch --cr 4 --once >"$dir/fifo" 2>"$dir/out"
wait $tool; wait $reader; wait $vm
ok "watch: read late, some is missing" grep -q 'lines were left out' "$dir/lines"
ok "watch: whole lines only" sh -c "! grep CR4 $dir/lines | grep -v '^ *[0-9.]* *vCPU 0  CR4 .*)\$'"

start_vm boot
timeout 20 "$out/kvmi" watch 2>"$dir/err" | head -n 1 >"$dir/out"
wait $vm
ok "watch: a reader that leaves" vm_has 'left on: 0 0 0 0'
ok "watch: and says so" grep -q 'standard output: write failed' "$dir/err"
# fewer THAN WHAT: what the VM has counted, if it has
fewer() { [ "$(sed -n "s/^\([0-9]*\) $2\$/\1/p" "$dir/vm")" -lt "$1" ]; }
start_vm slow
timeout 20 "$out/kvmi" mem 0 64M 2>"$dir/err" | head -n 1 >"$dir/out"
wait $vm
ok "mem: a reader that leaves" has '^000000000000  '
ok "mem: no more is read then" fewer 64 'pages were read'
start_vm linux
timeout 20 "$out/kvmi" step --count 100000 2>"$dir/err" | head -n 1 >"$dir/out"
wait $vm
ok "step: a reader that leaves" has '64-bit code'
ok "step: nothing is executed then" fewer 20000 'instructions were executed'
start_vm unhook
timeout 20 "$out/kvmi" guard --msr lstar --once 2>"$dir/err" | head -n 1 >"$dir/out"
wait $vm
ok "guard: goes on without a reader" vm_has '0 msr 0xc0000082 SKIP'

in_background sh -c "exec \"$out/kvmi\" watch <&-" >"$dir/out" 2>&1
waits_for_vm
ok "signal without standard input" ends_by TERM
ok "which is no failure" status_is 0
# Not below timeout(1), here as well: it is the tool's descriptors that are looked at
sh -c "exec \"$out/kvmi\" watch --once <&- >&- 2>&-" &
tool=$!
waits_for_vm
ok "none of the standard descriptors: none is used for something else" \
	sh -c "[ \"\$(readlink /proc/$tool/fd/0 /proc/$tool/fd/1 /proc/$tool/fd/2 | uniq)\" = /dev/null ]"
start_vm boot
until_seen '^0 cr4 ALLOW' "$dir/vm"
ok "none of the standard descriptors: a signal" ends_by TERM
ok "none of the standard descriptors: which is no failure" status_is 0
wait $vm
ok "none of the standard descriptors: all is undone" vm_has '^left on: 0 0 0 0$'
start_vm boot
timeout 20 sh -c "exec \"$out/kvmi\" regs --msr 0x666 <&- >&- 2>&-"
status=$?
wait $vm
ok "none of the standard descriptors: an error" status_is 1
# Not below timeout(1), which has an opinion on signals of its own
sh -c "trap '' HUP; exec \"$out/kvmi\" watch" >"$dir/out" 2>&1 &
tool=$!
waits_for_vm
kill -HUP $tool
sleep 0.3
ok "a signal that is ignored" kill -0 $tool
ok "and one that is not" ends_by TERM

# ---- A VM that does not answer any more is left in some two seconds
# leaves WHAT ARGUMENTS...: with the first signal; in $took, in tenths of a second
leaves() {
	start_vm "$1"; shift
	"$out/kvmi" "$@" --timeout 20 >"$dir/out" 2>&1 &
	tool=$!
	until_seen 'no more answers' "$dir/vm"
	kill -TERM $tool
	took=0
	while kill -0 $tool 2>/dev/null && [ $took -lt 100 ]; do sleep 0.1; took=$((took + 1)); done
	kill -KILL $tool 2>/dev/null
	wait $tool 2>/dev/null
	status=$?
	wait $vm
}
FAKE_RULES=1
export FAKE_RULES
for what in 'bootdeaf guard --msr lstar --cr4-bit smap' 'linuxdeaf protect --kernel --quiet' \
	'linuxwritemute break --call openat' 'linuxwritedeaf break --call openat'; do
	# shellcheck disable=SC2086
	leaves $what
	ok "$what: leaves" [ $took -lt 60 ]
	ok "$what: and says so" has 'interrupted; left to the device manager to undo'
	ok "$what: which is a failure" status_is 1
done
unset FAKE_RULES
start_vm bootdeaf
"$out/kvmi" guard --msr lstar --timeout 0.3 >"$dir/out" 2>&1 &
tool=$!
wait $vm
until_seen 'end after' "$dir/out"
ok "guard: a VM that does not answer: reported" has 'end after .*: no answer in time'
ok "guard: and nothing is undone" [ "$(grep -c '^not answered: ' "$dir/vm")" = 1 ]
start_vm unhook
until_seen '0 msr 0xc0000082 SKIP' "$dir/vm"
ok "guard: is guarded when it comes again" vm_has '0 msr 0xc0000082 SKIP'
ok "guard: and ends well" ends_by TERM
ok "guard: which is a success" status_is 0
wait $vm
run bootdeaf guard --msr lstar --timeout 0.3 --once
ok "guard: a VM that does not answer, once" status_is 1
run nomore guard --msr lstar --once
ok "guard: an error: is reported" has 'end after .*: Cannot allocate memory$'
ok "guard: an error: nothing is undone" vm_has '^left on: 2 2 0 2$'
ok "guard: an error: and that is told" has '^kvmi: guard: nothing is undone: that is left to the device manager$'
run nomorelonely guard --msr lstar --once
ok "guard: an error, and a vCPU that is not started: nothing is undone" vm_has '^left on: 2 1 0 1$'
ok "guard: an error: which is a failure" status_is 1
: >"$dir/vm"
start_vm unhook
"$out/kvmi" guard --msr lstar --once >/dev/full 2>"$dir/out"
status=$?
wait $vm
ok "guard: no room for lines, which may be there again" has 'lines were left out, nobody read them$'
ok "guard: no room for lines: it guards" vm_has '0 msr 0xc0000082 SKIP'
leaves linuxwritemute break --call openat
ok "break: a vCPU that may be in the view has its own page" vm_has '^view 1: 0xb0 shows 0xb0$'
ok "break: before that of the copy is empty" \
	sh -c "! sed '/shows 0xb0\$/,\$d' $dir/vm | grep -q '^written at 0x9d000: 0*\$'"
leaves linuxwritestuck break --call openat
ok "break: no copy is written to that may be executed" \
	sh -c "! sed '1,/no more answers/d' $dir/vm | grep -q '^written at'"

# What comes all the time is not what is waited for
for command in "pause --for 0" step "inject PF" shutdown; do
	# shellcheck disable=SC2086
	run babbles $command --timeout 0.3
	ok "${command%% *}: does not wait for ever for what does not come" status_is 1
done

# ---- What the status says, and how often
run hangup guard --msr lstar --once
ok "guard: a session that ended before all was guarded" status_is 1
run hangup watch --once
ok "watch: the same" status_is 1
in_background "$out/kvmi" watch >"$dir/out" 2>&1
waits_for_vm
for i in 1 2 3; do
	"$out/tests/fakevm" "$sock" badcookie >/dev/null 2>&1
done
ends_by TERM
ok "a failure that repeats" sh -c "[ \$(grep -c 'closed by the device manager' $dir/out) = 1 ]"
in_background "$out/kvmi" info >"$dir/out" 2>&1
waits_for_vm
"$out/tests/fakevm" "$sock" http
start_vm boot
wait $tool
status=$?
ok "info: somebody who is no device manager, and then one" has '^vCPUs *2'
ok "info: which is success" status_is 0
wait $vm
in_background "$out/kvmi" info --timeout 1 >"$dir/out" 2>&1
waits_for_vm
"$out/tests/fakevm" "$sock" silent >"$dir/silent" &
silent=$!
until_seen '^connected' "$dir/silent"
start_vm boot
wait $tool
status=$?
ok "info: somebody who says nothing, and then one" has '^vCPUs *2'
ok "info: which is a success as well" status_is 0
ok "info: the first is told about" has '^kvmi: handshake: no answer in time'
wait $silent $vm
in_background sh -c "ulimit -n 7; exec \"$out/kvmi\" watch" >"$dir/out" 2>&1
waits_for_vm
start_vm boot
sleep 1
ok "no descriptors left" sh -c "[ \$(wc -l <$dir/out) -lt 10 ]"
kill $vm; wait $vm 2>/dev/null
ends_by TERM

# ---- A guest that makes events in a loop
run chatty guard --cr4-bit VME --once
ok "guard: the lines are limited" sh -c "[ \$(grep -c blocked $dir/out) -lt 1100 ]"
ok "guard: but for the first thousand" sh -c "[ \$(grep -c 'blocked  *CR4' $dir/out) -ge 1000 ]"
ok "guard: the others are counted" has 'all     [345][0-9][0-9] more so far, without a line'
ok "guard: and all are blocked" has ', 1500 blocked: '
run chatty guard --cr4-bit VME --once --json
ok "guard: JSON as well" sh -c "[ \$(wc -l <$dir/out) -lt 1100 ]"
ok "guard: JSON: the others are counted" has '"event":"left-out","events":[345][0-9][0-9]}'
run chatty guard --cr4-bit VME --once --rate 0
ok "guard: no limit" sh -c "[ \$(grep -c 'blocked  *CR4' $dir/out) = 1500 ]"
run chatty watch --cr 4 --once
ok "watch: no limit" sh -c "[ \$(grep -c ' CR4 ' $dir/out) = 3000 ]"
run chatty watch --cr 4 --once --rate 20
ok "watch: a limit" sh -c "[ \$(grep -c ' CR4 ' $dir/out) -lt 1200 ]"
ok "watch: the others are counted" has 'all     19[0-9][0-9] more so far, without a line'
run linuxloop protect --kernel --once --json --rate 1
ok "protect: JSON: a limit" sh -c "[ \$(grep -c denied $dir/out) -lt 1400 ]"
ok "protect: but for the first thousand" sh -c "[ \$(grep -c '\"event\":\"pf\".*denied' $dir/out) -ge 1000 ]"
ok "protect: the others are counted" has '"event":"left-out","events":[4-8][0-9][0-9]}'
ok "protect: and all are denied" sh -c "[ \$(grep -c '^event 17 SKIP' $dir/vm) = 1800 ]"
run linuxloop protect --kernel --once --json
ok "protect: a limit without being asked" has '"event":"left-out"'
run linuxloop protect --kernel --once --json --rate 0
ok "protect: no limit" sh -c "[ \$(grep -c denied $dir/out) -ge 1800 ]"
run linuxwriteloop break --call openat --once --rate 1
ok "break: a limit" sh -c "[ \$(grep -c openat\( $dir/out) -lt 1150 ]"
ok "break: but for the first thousand" sh -c "[ \$(grep -c openat\( $dir/out) -ge 1000 ]"
ok "break: the others are counted" has 'all     [12][0-9][0-9] more so far, without a line (--rate)'
ok "break: and all go on" has ' end after 1200 stops: '
run linuxwriteloop break --call openat --once
ok "break: no limit unless asked for" sh -c "[ \$(grep -c openat\( $dir/out) = 1200 ]"

# ---- Words
mkdir "$dir/directory"
"$out/kvmi" info --listen "unix:$dir/directory" >"$dir/out" 2>&1
ok "listen: a directory" has 'something else than a socket'
"$out/kvmi" info --listen "unix:$dir/nowhere/sock" >"$dir/out" 2>&1
ok "listen: no directory" has 'No such file or directory'
touch "$dir/plain"
"$out/kvmi" info --listen "unix:$dir/plain" >"$dir/out" 2>&1
ok "listen: what is no socket" has 'something else than a socket'
ok "listen: and stays" test -f "$dir/plain"
"$out/kvmi" info --listen "unix:$dir/$(printf '%0200d' 0)" >"$dir/out" 2>&1
ok "listen: too long" has 'too long'
"$out/kvmi" info --nonsense >"$dir/out" 2>&1
ok "an unknown option" has '^kvmi: '
for wrong in "--socket-mode 0" "--socket-mode 9" "--socket-mode 1777" "--socket-group no-such-group" \
	"--peer 0" "--peer me"; do
	# shellcheck disable=SC2086
	"$out/kvmi" info $wrong >"$dir/out" 2>&1
	status=$?
	ok "kvmi info $wrong" status_is 2
done
in_background "$out/kvmi" watch --socket-mode 666 --socket-group root >"$dir/out" 2>&1
waits_for_vm
ok "the socket's mode" sh -c "[ \"\$(stat -c '%a %G' $sock)\" = '666 root' ]"
ends_by TERM
