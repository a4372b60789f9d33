#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The tool against a pretended VM: tool.sh DIRECTORY-OF-THE-BUILD
out=$1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0
failed=0
sock=$dir/sock
KVMI_LISTEN=unix:$sock
export KVMI_LISTEN

# ok NAME COMMAND...: the command succeeds
ok() {
	name=$1; shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n tool: $name"
	else
		failed=1
		echo "not ok $n tool: $name"
		sed 's/^/# /' "$dir/out" "$dir/vm"
	fi
}

# run WHAT ARGUMENTS...: the tool against a VM; output, status and the VM's view
run() {
	what=$1; shift
	: >"$dir/vm"
	"$out/tests/fakevm" "$sock" "$what" >"$dir/vm" 2>&1 &
	vm=$!
	timeout 20 "$out/kvmi" "$@" >"$dir/out" 2>&1
	status=$?
	wait $vm
}

# until PATTERN FILE, 5 s at most
until_seen() {
	i=0
	while ! grep -q "$1" "$2" && [ $i -lt 100 ]; do sleep 0.05; i=$((i + 1)); done
}

# run_then SIGNAL WHAT ARGUMENTS...: send a signal once the VM has been attacked
run_then() {
	signal=$1 what=$2; shift 2
	: >"$dir/vm"
	"$out/tests/fakevm" "$sock" "$what" >"$dir/vm" 2>&1 &
	vm=$!
	timeout 20 "$out/kvmi" "$@" >"$dir/out" 2>&1 &
	tool=$!
	until_seen '^0 cr4.*' "$dir/vm"
	sleep 0.3
	# timeout(1) passes the signal on
	kill -"$signal" $tool
	wait $tool
	status=$?
	wait $vm
}

has() { grep -q -e "$1" "$dir/out"; }
vm_has() { grep -q -e "$1" "$dir/vm"; }
status_is() { [ "$status" = "$1" ]; }

run boot info
ok "info succeeds" status_is 0
ok "info: name and vCPUs" has '^vCPUs *2'
ok "info: a forbidden command is not listed" sh -c "! grep -q WRITE_PHYSICAL $dir/out"
ok "info: TSC" has '2000.000 MHz'
ok "info leaves nothing on" vm_has 'left on: 0 0 0 0'

run early info
ok "refused at first, then allowed" status_is 0
ok "and the commands are seen as allowed" has VM_READ_PHYSICAL

run boot regs --vcpu 1 --msr lstar --msr EFER --msr 0x174
ok "regs succeeds" status_is 0
ok "regs: CR4 decoded" has 'cr4.*SMAP SMEP'
ok "regs: MSRs" has 'LSTAR.*0000000000000000'
run boot regs --vcpu 2
ok "regs: no such vCPU" has 'the VM has 2'
run boot regs --msr 0x666
ok "regs: no such MSR" has 'lacks one of the MSRs'
run stopped regs --timeout 0.3
ok "regs of a stopped VM ends" status_is 1
ok "regs of a stopped VM says so" has 'is the VM stopped'

run boot mem --search 'Linux version '
ok "mem: text across a page border" has '^000000007ffa  Linux version 9.9.9 (somebody@somewhere) #1 SMP$'
run boot mem --search hex:4c696e7578
ok "mem: bytes" has '^000000007ffa .*|Linux version 9.|'
run boot mem --search nonsense
ok "mem: nothing found" status_is 1
run boot mem 0x7ff0 32
ok "mem: dump" has '^000000008000  76 65 72 73.*rsion 9'
run boot mem 0x3f000 12K --output "$dir/file"
ok "mem: file of the right size" test "$(wc -c <"$dir/file")" = 12288
ok "mem: hole reported" has '4096 bytes of the range are no memory'
run boot mem 0x40000 16
ok "mem: only a hole" has 'no memory at 0x40000'

run_then INT boot watch
ok "watch ends well on ^C" status_is 0
ok "watch: CR0 decoded" has 'CR0 .*0x60000010 -> 0x11 *+PE -CD -NW'
ok "watch: long mode" has 'EFER .*+LME.*long mode enabled'
ok "watch: LSTAR" has 'vCPU 1  LSTAR .*0xffffffff81000080'
ok "watch: CR3 counted" has 'CR3 .*loaded 3 times so far, with 2 page tables'
ok "watch: flushes counted" has 'CR4 .*PGE off and on again.* 1 time so far'
ok "watch: a lone PGE shown" has '0x3000a0 -> 0x300020  -PGE'
ok "watch says that all is undone" has 'everything is undone'
ok "watch allows everything" sh -c "! grep -v -e ALLOW -e left $dir/vm"
ok "watch leaves nothing on" vm_has 'left on: 0 0 0 0'
run unhook watch --once --json
ok "watch ends when asked to" status_is 0
ok "watch: JSON of a bit" has '"event":"cr","cr":4,.*"set":\["SMAP","SMEP","PGE"\],"cleared":\[\]'
ok "watch: JSON of an MSR" has '"event":"msr","msr":"0xc0000082","name":"LSTAR"'
if command -v python3 >/dev/null; then
	ok "watch: JSON parses" python3 -c 'import json,sys
for l in open(sys.argv[1]): json.loads(l)' "$dir/out"
fi
ok "watch leaves nothing on, being asked to go" vm_has 'left on: 0 0 0 0'
run close watch --once
ok "watch: the VM ends" has 'end after .*: the VM ended the session'
run boot watch --once --cr 4 --msr LSTAR --timeout 0.01 --cr 7
ok "watch: wrong CR" has 'one or more of 0,3,4'

run unhook guard --once --msr lstar --cr4-bit smep,smap
ok "guard succeeds" status_is 0
ok "guard: first write on each vCPU" sh -c "[ \$(grep -c '0xc0000082 ALLOW' $dir/vm) = 2 ]"
ok "guard: second write blocked" vm_has '0 msr 0xc0000082 SKIP'
ok "guard tells" has 'blocked *LSTAR *0xffffffff81000080 -> 0x41414141'
ok "guard: SMAP stays" vm_has 'cr4 SKIP'
ok "guard leaves nothing on" vm_has 'left on: 0 0 0 0'
run unhook guard --once --msr lstar --action allow
ok "guard that only reports" vm_has '0 msr 0xc0000082 ALLOW'
ok "and says what it would do" has 'would-block *LSTAR'
run unhook guard --once --msr lstar --action crash
ok "guard that crashes the VM" vm_has '0 msr 0xc0000082 CRASH'
run unhook guard --once --msr lstar --allow-first 2
ok "guard that allows two" sh -c "! grep -q SKIP $dir/vm"
run_then TERM boot guard --msr lstar
ok "guard ends well on SIGTERM" status_is 0
ok "guard leaves nothing on after SIGTERM" vm_has 'left on: 0 0 0 0'

printf secret >"$dir/cookie"
run boot info --cookie "$dir/cookie"
ok "cookie" vm_has 'cookie e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4'
run badcookie info
ok "wrong cookie" has 'wrong or missing --cookie'
timeout 5 "$out/kvmi" info --wait 0.1 >"$dir/out" 2>&1
ok "nobody connects" has 'no VM connected'
timeout 5 "$out/kvmi" info --listen tcp:1 >"$dir/out" 2>&1
ok "no address" has 'not of the form'
timeout 5 env -u KVMI_LISTEN "$out/kvmi" info >"$dir/out" 2>&1
ok "not told where to listen" has 'say where to listen'
timeout 5 "$out/kvmi" guard >"$dir/out" 2>&1
ok "guard nothing" has 'say what to guard'
ok "no socket file left" test ! -e "$sock"
echo "1..$n"
exit $failed
