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

# until PATTERN FILE, 30 s at most
until_seen() {
	i=0
	while ! grep -q "$1" "$2" && [ $i -lt 600 ]; do sleep 0.05; i=$((i + 1)); done
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
ok "regs: debug registers" has 'dr3 *0000000000001234'
run old regs
ok "regs: a kernel without debug registers" status_is 0
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

run boot mem 0x5000 --write hex:cafe
ok "mem: a write that is not allowed" has 'not allowed by the device manager'
run write mem 0x5000 --write 'some text'
ok "mem: a text is written" vm_has 'written at 0x5000: 736f6d652074657874$'
ok "mem: and told" has '^9 bytes written to 0x5000$'
printf 'from a file' >"$dir/data"
run write mem 0x5000 --write "file:$dir/data"
ok "mem: a file is written" vm_has 'written at 0x5000: 66726f6d20612066696c65$'
run write mem 0x7ffa --write hex:6c --expect hex:4c
ok "mem: a write that compares" vm_has 'compared and written at 0x7ffa: 6c$'
run write mem 0x7ffc --write abcd --expect efgh
ok "mem: a write that finds something else" has 'memory holds hex:6e757820, not what was expected'
ok "mem: which writes nothing" sh -c "! grep -q written $dir/vm"
run write mem 0x40000 --write hex:00
ok "mem: a write to a hole" has 'no memory, or read-only, at 0x40000'
run write mem --smm 0 16
ok "mem: no SMM" has 'no memory of its own for system management'
run write mem --smm 0 --write hex:00
ok "mem: no SMM to write to" has 'no memory of its own for system management'
run oldwrite mem 0x5000 --write hex:cafe
ok "mem: an old kernel is written to" vm_has 'written at 0x5000: cafe$'
run oldwrite mem 0x5000 --write hex:ca --expect hex:00
ok "mem: an old kernel does not compare" has 'too old for --expect'

run boot features
ok "features succeeds" status_is 0
ok "features: actions" has '^actions  *ALLOW RETRY CRASH SKIP$'
ok "features: an event" has '^event  *21  CPUID  *allowed$'
ok "features: a command that is not allowed" has '^command  14  VM_WRITE_PHYSICAL *not allowed by'
ok "features: what the host lacks" has '^event  *13  DESCRIPTOR *not on this host$'
run old features
ok "features of an old kernel" status_is 0
ok "features: what an old kernel lacks" has '^command  72  VM_PAUSE_ALL *not in this kernel$'

run boot slots
ok "slots: ranges" has '^000000041000-0000000fffff  *764 KiB$'
ok "slots: a read-only one" has '^0000fffc0000-0000ffffffff  *256 KiB  read-only$'
ok "slots: the end" has '^3 slots, generation 0x1234, memory ends at 0x100000000$'
run boot slots --smm
ok "slots: no SMM" has 'no memory of its own for system management'
run old slots
ok "slots of an old kernel" has "the host's kernel is older than this command"

run boot cpuid
ok "cpuid: vendor" has '^vendor  *GenuineIntel$'
ok "cpuid: hypervisor" has '^hypervisor  *KVMKVMKVM$'
ok "cpuid: subleaves to their end" sh -c "[ \$(grep -c '^00000004 0[01] ' $dir/out) = 2 ] && ! grep -q '^00000004 03' $dir/out"
ok "cpuid: subleaves with holes" has '^0000000d 09  00000008 00000a80 00000000 00000000$'
run boot cpuid 4 1
ok "cpuid: one leaf" has '^00000004 01  00000002 00000002 00000002 00000002$'
run boot cpuid 0x63
ok "cpuid: no such leaf" has 'the guest has no leaf 0x63'

run boot xsave
ok "xsave: header" has '^xstate_bv 0000000000000207  X87 SSE AVX PKRU$'
ok "xsave: AVX registers" has '^ymm15  \(2f\)\{16\}_\(1f\)\{16\}$'
ok "xsave: where the others are" has '^component 9 PKRU: 8 bytes at 2688$'
run boot xsave --output "$dir/state"
ok "xsave: all of it saved" test "$(wc -c <"$dir/state")" = 9000
run boot xsave --restore "$dir/state"
ok "xsave: all of it restored" vm_has '^xsave at 8168, 832 bytes$'
run old xsave --output "$dir/oldstate"
ok "xsave: an old kernel's saved" test "$(wc -c <"$dir/oldstate")" = 4096
run old xsave --restore "$dir/oldstate"
ok "xsave: an old kernel's restored" vm_has 'xsave of the old size'
head -c 9000 /dev/zero | tr '\0' '\377' >"$dir/badstate"
run boot xsave --restore "$dir/badstate"
ok "xsave: a state that cannot be" has 'not a state that vCPU 0 can have'

run boot translate 0xffffffff81000010 5
ok "translate: an address" has '^0xffffffff81000010  0x1000010  WB$'
ok "translate: one that is not mapped" has '^0x5  not mapped$'
ok "translate: which is a failure" status_is 1

run boot pause --for 0.1
ok "pause succeeds" status_is 0
ok "pause: every vCPU" has '^vCPU 1  paused at 0xffffffff81000123, 64-bit code, CPL 0'
ok "pause: goes on" has 'and go on$'
run lonely pause --for 0
ok "pause: a vCPU that is not started" has 'all of them stand still; 1 the guest has not started$'
ok "pause: which is a success" status_is 0
ok "pause: nor asked to pause: it would stop for it when nobody knows why" \
	sh -c "! grep 'owes a PAUSE' $dir/vm"
run lonely pause --for 0 --vcpu 1
ok "pause: that one only" has '^kvmi: pause: the guest has not started this vCPU$'
ok "pause: that one only: it is not asked to pause either" sh -c "! grep 'owes a PAUSE' $dir/vm"
run lonelysoon pause --for 0
ok "pause: a vCPU that is started meanwhile" has '^vCPU 1  paused at '
run old pause --for 0
ok "pause with an old kernel" has '^vCPU 1  paused'
run stopped pause --timeout 0.2
ok "pause of a stopped VM" has '2 of 2 vCPUs did not stop: .* is the VM stopped'

run boot inject PF --error-code 2 --address 0x1000
ok "inject succeeds" status_is 0
ok "inject tells" has '#PF .*error code 0x2 (write, kernel, not mapped), address 0x1000$'
ok "inject lets it pass" vm_has 'injected exception ALLOW'
run nopause inject PF
ok "inject: of a vCPU that may not be paused" vm_has 'injected exception ALLOW'
run boot inject UD
ok "inject: another was first" has 'that one came first'
run boot inject 9
ok "inject: not by KVM" has 'does not inject vector 9'

run boot shutdown
ok "shutdown succeeds" status_is 0
ok "shutdown: the VM is told" vm_has 'shut down'
run stopped shutdown --timeout 0.2
ok "shutdown of a stopped VM" has 'QMP cont first'
run deny shutdown
ok "shutdown: not allowed" has 'not allowed by the device manager'

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
run zoo watch --once --all
ok "watch: XCR0" has 'vCPU 0  XCR0 .*0x1 -> 0x7  +SSE +AVX$'
ok "watch: CPUID" has 'CPUID .*leaf 0x7, subleaf 0x1, at 0xffffffff81000123, CPL 0$'
ok "watch: a leaf appears once" sh -c "[ \$(grep -c '  leaf 0x1, at' $dir/out) = 1 ]"
ok "watch: CPUIDs counted" has 'CPUID .*asked 3 times so far, for 2 leaves'
ok "watch: breakpoint" has 'INT3 .*physical 0x3000$'
ok "watch: exception" has 'vCPU 1  #GP .*error code 0x8$'
ok "watch: debug exception" has '#DB .*DR6 bits 0x4000$'
ok "watch: page faults counted" has '#PF .*1 page fault so far$'
ok "watch: descriptor table stored" has 'SGDT .*GDT is at 0$'
ok "watch: descriptor table loaded" has 'LIDT .*, IDT was at 0$'
ok "watch: hypercall" has 'HYPERCALL .*rcx 0'
ok "watch: new vCPU" has 'vCPU 2  NEW VCPU '
ok "watch: all allowed" sh -c "[ \$(grep -c ' ALLOW$' $dir/vm) = 12 ]"
ok "watch: nothing of all that left on" vm_has 'left on: 0 0 0 0'
run zoo watch --once --trap PF,13 --cpuid 7 --cpuid-all
ok "watch: a page fault asked for" has '#PF .*(write, user, not mapped), address 0x99$'
ok "watch: exceptions not asked for" sh -c "! grep -q '#DB' $dir/out"
ok "watch: leaves not asked for" sh -c "! grep -q '  leaf 0x1, at' $dir/out"
run zoo watch --once --no-wait --cpuid all
ok "watch: a kernel without rules" has '^kvmi: --no-wait: the host.s kernel has no rules'
ok "watch: a kernel without rules is left alone" vm_has 'left on: 0 0 0 0'
FAKE_RULES=1
export FAKE_RULES
run zoo watch --once --explain --trap PF,13 --cpuid 7,0x40000000
ok "watch: rules of exceptions" vm_has '^rules of event 9: 1/0x20 1/0x20$'
ok "watch: rules of leaves" vm_has '^rules of event 21: 0/0x20 0/0x20 1/0$'
ok "watch: rules of exceptions explained" has '^TRAP: 0-0xc allow, 0xf-0x1f allow, all else ask$'
ok "watch: rules of leaves explained" \
	has '^CPUID: 0x7 ask, 0x40000000 ask, all else allow$'
ok "watch: why some are" has '^  leaves that --cpuid has not$'
ok "watch: why others are not" has '^  asked about, as the guest waits until it is shown; see --no-wait$'
ok "watch: what rules decide is counted" has 'end after 6 events, 3 decided by rules: '
ok "watch: no more rules than filters" sh -c "[ \$(grep -c '^rules.*/' $dir/vm) = 2 ]"
ok "watch: they decide" vm_has '^1 event 9 ALLOW by rule$'
ok "watch: what was asked for is asked about" vm_has '^1 event 9 ALLOW$'
ok "watch: no rules are left" sh -c "! grep -q 'are left' $dir/vm"
FAKE_LOST=3
export FAKE_LOST
run zoo watch --once --no-wait --action trap=crash --hypercall --trap all
ok "watch: notifications" vm_has '^rules of event 3: 4/0$'
ok "watch: what is refused is asked about" sh -c "! grep -q '^rules of event 9' $dir/vm"
ok "watch: notifications that were lost" has '^kvmi: 3 more events were lost'
unset FAKE_LOST
run zoo watch --once --explain --trap all
ok "watch: page faults without lines are counted by a rule" vm_has '^rules of event 9: 1/0x21$'
ok "watch: which decides" sh -c "[ \$(grep -c '^1 event 9 ALLOW by rule$' $dir/vm) = 1 ]"
ok "watch: and they are counted" has '#PF .*1 page fault so far$'
ok "watch: the rule explained" has '^TRAP: 0xe allow, all else ask$'
run zoo watch --once --json --trap UD
ok "watch: JSON of what rules decide" has '"event":"rules","decided":3,"lost":0}$'
FAKE_RULES=left
run zoo watch --once --hypercall --breakpoint
ok "watch: rules of a tool that was lost are taken back" vm_has '^rules of event 5: none$'
ok "watch: those of other events, too" vm_has '^rules of event 21: none$'
ok "watch: what they would have allowed is asked about" vm_has '^0 event 3 ALLOW$'
ok "watch: and nothing else is decided" sh -c "! grep -q 'by rule' $dir/vm"
run boot info
ok "info: takes no rules back" sh -c "! grep -q 'none' $dir/vm"
unset FAKE_RULES
run zoo watch --once --explain --trap UD
ok "watch: no rules, explained" has '^  all is asked about: the host.s kernel has no rules, or the VMM'
run zoo watch --once --json --all
ok "watch: JSON of an exception" has '"event":"trap","vector":13,"name":"#GP","error_code":8,"address":"0","fault":true'
ok "watch: JSON of a descriptor access" has '"event":"descriptor","instruction":"LIDT","write":true'
ok "watch: JSON of sums" has '"event":"cpuid-sum","asked":3,"leaves":2'
if command -v python3 >/dev/null; then
	ok "watch: JSON of each kind parses" python3 -c 'import json,sys
for l in open(sys.argv[1]): json.loads(l)' "$dir/out"
fi
run zoo watch --once --descriptor idtr --action descriptor=skip --cpuid all
ok "watch: skips what was asked for" vm_has '^0 event 13 SKIP$'
ok "watch: and tells" has 'LIDT .*, skipped$'
ok "watch: allows the others" sh -c "[ \$(grep -c ' ALLOW$' $dir/vm) = 11 ]"
run oldboot watch --once --all
ok "watch: an old kernel's events" has 'LSTAR'
ok "watch: what an old kernel lacks" has 'CPUID is not watched: .*kernel does not have it'
run old watch --once --cpuid all
ok "watch: asked for what an old kernel lacks" has 'vCPU .: CPUID: .*kernel does not have it'
ok "watch: which is a failure" status_is 1
run old watch --once --create-vcpu
ok "watch: an old kernel has no CREATE_VCPU" has 'CREATE_VCPU event: .*kernel does not have it'
run notrap watch --once --trap all
ok "watch: an event that is not allowed" has 'TRAP: not allowed by the device manager'

run unhook guard --once --msr lstar --cr4-bit smep,smap
ok "guard succeeds" status_is 0
ok "guard: first write on each vCPU" sh -c "[ \$(grep -c '0xc0000082 ALLOW' $dir/vm) = 2 ]"
ok "guard: second write blocked" vm_has '0 msr 0xc0000082 SKIP'
ok "guard tells" has 'blocked *LSTAR *0xffffffff81000080 -> 0x41414141'
ok "guard: SMAP stays" vm_has 'cr4 SKIP'
ok "guard leaves nothing on" vm_has 'left on: 0 0 0 0'
run unhook guard --once --msr lstar --json
ok "guard: JSON: since when" has '^{"time":[0-9.]*,"event":"armed","vcpus":2}$'
run unhook guard --once --msr lstar --action allow
ok "guard that only reports" vm_has '0 msr 0xc0000082 ALLOW'
ok "and says what it would do" has 'would-block *LSTAR'
run unhook guard --once --msr lstar --action crash
ok "guard that crashes the VM" vm_has '0 msr 0xc0000082 CRASH'
run unhook guard --once --msr lstar --allow-first 2
ok "guard that allows two" sh -c "! grep -q SKIP $dir/vm"
run unhook guard --once --msr 0x48
ok "guard: an MSR that has two numbers" vm_has '^0 msr 0x48 ALLOW$'
ok "guard: is not written by the other one" vm_has '^0 msr 0xc001011f SKIP$'
run zoo guard --once --msr lstar
ok "guard of a vCPU that is added" vm_has '^new vCPU: MSR watched$'
ok "guard: who is added later is guarded from the first instruction" \
	sh -c "! grep -q 'second late' $dir/out"
run oldboot guard --once --msr lstar
ok "guard: an old kernel has no CREATE_VCPU" \
	has '^kvmi: vCPUs that are added are guarded a second late: .*kernel does not have it$'
ok "guard: and is guarded all the same" vm_has '0 msr 0xc0000082 SKIP'
run unhook watch --once --cr 3 --action cr=skip
ok "watch: each CR3 load that is skipped has a line" sh -c "[ \$(grep -c 'CR3 .*, skipped$' $dir/out) = 3 ]"
FAKE_RULES=1
export FAKE_RULES
run unhook guard --once --msr lstar --cr4-bit smep,smap --explain
ok "guard: rules of bits" vm_has '^rules of event 7: 0/0xe0 0/0xe0 1/0$'
ok "guard: explained" has '^CR: 0x4 changes 0x100000 to 0 ask, 0x4 changes 0x200000 to 0 ask, all else allow$'
ok "guard: why" has '^  --cr0-bit, --cr4-bit: who clears one is asked about, for the line$'
ok "guard: why MSRs have none" has '^  --msr: asked about, for the line; see --quiet$'
ok "guard: a rule decides what is allowed" sh -c "[ \$(grep -c '^0 cr. ALLOW by rule$' $dir/vm) = 10 ]"
ok "guard: and nothing else" sh -c "[ \$(grep -c 'by rule$' $dir/vm) = 10 ]"
ok "guard: SMAP stays, and the tool is asked" vm_has '^0 cr4 SKIP$'
ok "guard: so is LSTAR" vm_has '^0 msr 0xc0000082 SKIP$'
ok "guard: which has a line" has 'blocked *LSTAR *0xffffffff81000080 -> 0x41414141'
ok "guard: all is counted" has 'end after 17 writes allowed, 2 blocked, 10 decided by rules: '
ok "guard: no rules are left" sh -c "! grep -q 'are left' $dir/vm"
run unhook guard --once --efer-bit nx
ok "guard: EFER: what is allowed is not waited for" vm_has '^0 msr 0xc0000080 ALLOW by rule$'
ok "guard: EFER: and has its line" has 'allowed *EFER *0 -> 0x100'
ok "guard: EFER: NX stays" vm_has '^0 msr 0xc0000080 SKIP$'
ok "guard: EFER: no other MSR is decided" sh -c "[ \$(grep -c 'by rule$' $dir/vm) = 1 ]"
ok "guard: EFER: counted once" has 'end after 18 writes allowed, 1 blocked, 1 decided by rules: '
run unhook guard --once --quiet --explain --msr lstar,0x48,efer --efer-bit nx --cr0-bit pg --cr4-bit smap --allow-first 0
ok "guard: quiet: LSTAR stays" sh -c "[ \$(grep -c 'msr 0xc0000082 SKIP by rule$' $dir/vm) = 3 ]"
ok "guard: quiet: no MSR of these is asked about" sh -c "! grep 'msr 0x[4c].*[PW]$' $dir/vm"
ok "guard: quiet: by either number" vm_has '^0 msr 0xc001011f SKIP by rule$'
ok "guard: quiet: SMAP stays" vm_has '^0 cr4 SKIP by rule$'
ok "guard: quiet: no lines" sh -c "! grep -e 'blocked  ' -e 'allowed  ' $dir/out"
ok "guard: quiet: counted" has 'end after 11 writes allowed, 8 blocked, 18 decided by rules: '
ok "guard: quiet: explained" has '^  --msr: refused, and counted, where no writes are left$'
run unhook guard --once --quiet --msr lstar
ok "guard: quiet: who may still write is asked about" vm_has '^rules of event 15: 0/0x28 0/0x28 2/0x20$'
ok "guard: quiet: the first write of each" sh -c "[ \$(grep -c '0xc0000082 ALLOW$' $dir/vm) = 2 ]"
ok "guard: quiet: no other" vm_has '0 msr 0xc0000082 SKIP'
run repeat guard --once --quiet --msr lstar
ok "guard: quiet: a write that is asked about again is the same" \
	sh -c "[ \$(grep -c '^0 msr 0xc0000082 ALLOW$' $dir/vm) = 2 ]"
ok "guard: quiet: and counted once" has 'end after 18 writes allowed, 1 blocked'
ok "guard: quiet: others are refused" vm_has '^0 msr 0xc0000082 SKIP'
run_then TERM boot guard --quiet --msr lstar
ok "guard: quiet: who has been refused one is not asked about" vm_has '^rules of event 15: 0/0x28 2/0x20$'
ok "guard: quiet: and leaves nothing" sh -c "! grep -q 'are left' $dir/vm"
run unhook guard --once --quiet --msr lstar --allow-first 0 --action allow
ok "guard: quiet, and only reports" sh -c "[ \$(grep -c '0xc0000082 ALLOW by rule$' $dir/vm) = 3 ]"
ok "guard: quiet: counts what it would block" has '3 would-block, 3 decided by rules'
run unhook guard --once --quiet --msr lstar --allow-first 0 --action crash
ok "guard: quiet, and crashes the VM" vm_has '0xc0000082 CRASH by rule$'
run unhook guard --once --json --quiet --msr lstar --allow-first 0
ok "guard: quiet: JSON" has '"event":"rules","decided":3,"lost":0}$'
: >"$dir/vm"
"$out/tests/fakevm" "$sock" boot >"$dir/vm" 2>&1 &
vm=$!
"$out/kvmi" guard --cr4-bit smap >"$dir/out" 2>&1 &
tool=$!
until_seen '^0 cr4 SKIP' "$dir/vm"
kill -KILL $tool
{ wait $tool; wait $vm; } 2>/dev/null
ok "guard: killed: the rules stay" vm_has '^rules of event 7 are left$'
FAKE_RULES=left
run unhook guard --once --msr lstar --cr4-bit smep,smap
ok "guard: rules of a tool that was lost do not decide" vm_has '^0 msr 0xc0000082 SKIP$'
ok "guard: neither about the others" vm_has '^0 cr4 SKIP$'
ok "guard: they are gone" vm_has '^rules of event 17: none$'
FAKE_NO_FEATURES=1
export FAKE_NO_FEATURES
run unhook guard --once --msr lstar --cr4-bit smep,smap
ok "guard: rules of another tool, and no features: LSTAR stays" vm_has '^0 msr 0xc0000082 SKIP$'
ok "guard: rules of another tool, and no features: SMAP stays" vm_has '^0 cr4 SKIP$'
unset FAKE_NO_FEATURES
unset FAKE_RULES
FAKE_PENDING=msr
export FAKE_PENDING
run unhook guard --once --msr lstar
ok "guard: what a vCPU has stopped for is its first write" vm_has '^pending ALLOW'
ok "guard: the only one" sh -c "! grep -q '^0 msr 0xc0000082 ALLOW' $dir/vm"
unset FAKE_PENDING
run unhook guard --once --quiet --explain --msr lstar --allow-first 0
ok "guard: quiet, without rules" sh -c "[ \$(grep -c '0xc0000082 SKIP$' $dir/vm) = 3 ]"
ok "guard: quiet, without rules: no lines" sh -c "! grep -e 'blocked  ' $dir/out"
ok "guard: quiet, without rules: counted" has ', 3 blocked: '
ok "guard: no rules, explained" has 'all is asked about: the host'
run_then TERM boot guard --msr lstar
ok "guard ends well on SIGTERM" status_is 0
ok "guard leaves nothing on after SIGTERM" vm_has 'left on: 0 0 0 0'

run linux protect --kernel --once
ok "protect succeeds" status_is 0
ok "protect: the kernel's text" has '0xffffffff81000000-0xffffffff81003fff  text  *16 KiB at 0xb0000$'
ok "protect: its read-only data" has '0xffffffff81004000-0xffffffff81007fff  read-only data  *16 KiB at 0xb4000$'
ok "protect: where system calls are" has '0xffffffff81004c00  *table of system calls$'
ok "protect: taken away" vm_has '^view 0: 0xb4000, 4 pages: access 5$'
ok "protect: nothing else" sh -c "[ \$(grep -c 'access 5$' $dir/vm) = 2 ]"
ok "protect: denied" sh -c "[ \$(grep -c 'event 17 SKIP' $dir/vm) = 3 ]"
ok "protect: which system call" has 'denied  *write of 0xb5408 (table of system calls, entry 257, openat), by code at'
ok "protect: kernel text" has 'denied  *write of 0xb0048 (kernel text 0xffffffff81000048), by'
ok "protect: a line for each" sh -c "[ \$(grep -c ' denied  *write' $dir/out) = 2 ]"
ok "protect: the others counted" has 'the same again, 1 times so far'
ok "protect leaves nothing on" vm_has 'left on: 0 0 0 0'
FAKE_SMM=1
export FAKE_SMM
run linux protect --kernel --once
ok "protect: also in SMM" vm_has '^view 0: 0xb4000, 4 pages: access 5 in SMM$'
ok "protect: all of it" sh -c "[ \$(grep -c 'access 5 in SMM$' $dir/vm) = 2 ]"
ok "protect: denied to code in SMM" sh -c "[ \$(grep -c 'event 17 SKIP' $dir/vm) = 3 ]"
run linux watch --write 0xb0000 --once
ok "watch: writes in SMM" vm_has '^view 0: 0xb0000, 1 pages: access 5 in SMM$'
for FAKE_RULES in '' 1; do
	[ -z "$FAKE_RULES" ] && unset FAKE_RULES || export FAKE_RULES
	run linux protect --kernel --trust 0xffffffff81000100-0xffffffff810001ff --once
	ok "protect: code in SMM is not trusted${FAKE_RULES:+, by a rule}" \
		sh -c "[ \$(grep -c 'event 17 SKIP' $dir/vm) = 3 ] && ! grep -q 'by rule' $dir/vm"
done
unset FAKE_RULES
FAKE_SMM=part
run linux protect --kernel --once
ok "protect: what SMM has no memory for" \
	has 'protect: 0xb4000-0xb7fff is not protected in SMM, where not all of it is memory$'
ok "protect: and the rest is protected there" vm_has '^view 0: 0xb0000, 4 pages: access 5 in SMM$'
ok "protect: all of it elsewhere" sh -c "[ \$(grep -c 'access 5$' $dir/vm) = 2 ]"
FAKE_SMM=empty
run linux protect --kernel --once
ok "protect: SMM without memory" sh -c "[ $status = 0 ] && ! grep -q SMM $dir/out"
ok "protect: there is nothing to protect in it" sh -c "! grep -q SMM $dir/vm"
unset FAKE_SMM
run linux protect --range 5 --once
ok "protect: a start alone is of its page" vm_has '^view 0: 0x5, 1 pages: access 5$'
run linux protect --range 0x1000+8K --policy report --against rw --once --json
ok "protect: a range" vm_has '^view 0: 0x1000, 2 pages: access 4$'
ok "protect: JSON: since when" \
	sh -c "sed -n 2p $dir/out | grep -qx '{\"time\":[0-9.]*,\"event\":\"armed\",\"vcpus\":2}'"
ok "protect that only reports" sh -c "[ \$(grep -c 'event 17 ALLOW' $dir/vm) = 3 ]"
ok "protect: JSON" has '"event":"pf","access":"write","gpa":"0xb5408",.*"verdict":"would-deny"'
if command -v python3 >/dev/null; then
	ok "protect: JSON parses" python3 -c 'import json,sys
for l in open(sys.argv[1]): json.loads(l)' "$dir/out"
fi
run linux protect --range 4K-8K --policy crash --once
ok "protect that crashes the VM" vm_has 'event 17 CRASH'
printf '%s\n' 'ffffffff82000000 T _text' 'ffffffff82000040 T entry_SYSCALL_64' \
	'ffffffff82000100 t text_poke' 'ffffffff82000200 T other' 'ffffffff82004100 R sys_call_table' >"$dir/map"
run linux protect --kernel --symbols "$dir/map" --trust text_poke --once
ok "protect: symbols, and a kernel that was moved" has 'by code at 0xffffffff81000123 <text_poke+0x23>, CPL 0$'
ok "protect: trusted code" vm_has 'event 17 ALLOW'
ok "protect: all of it counted" has 'end after 0 accesses denied, 3 trusted:'
FAKE_RULES=1
export FAKE_RULES
run linux protect --kernel --symbols "$dir/map" --trust text_poke --once --explain
ok "protect: trusted code by a rule" vm_has '^event 17 ALLOW, view 0, by rule$'
ok "protect: and nothing is asked" sh -c "! grep -q '^event.*[0-9]$' $dir/vm"
ok "protect: has its line" has 'trusted  *write of 0xb5408 '
ok "protect: counted once" has 'end after 0 accesses denied, 3 trusted, 3 decided by rules: '
ok "protect: explained" has '^PF: by code at 0xffffffff81000100-0xffffffff810001ff notify, all else ask$'
ok "protect: why" has '^  --trust: allowed, and the guest goes on while they are shown$'
run linux protect --kernel --trust 0xffffffff81000124-0xffffffff81000200 --once
ok "protect: other code is asked about" sh -c "[ \$(grep -c '^event 17 SKIP, view 0$' $dir/vm) = 3 ]"
run linux protect --kernel --once --quiet
ok "protect: quiet: by a rule" sh -c "[ \$(grep -c '^event 17 SKIP, view 0, by rule$' $dir/vm) = 3 ]"
ok "protect: quiet: no lines" sh -c "! grep -q 'denied  ' $dir/out"
ok "protect: quiet: counted" has 'end after 3 accesses denied, 3 decided by rules: '
ok "protect: no rules are left" sh -c "! grep -q 'are left' $dir/vm"
run linux protect --kernel --once --quiet --policy crash
ok "protect: quiet: crashes the VM" vm_has '^event 17 CRASH, view 0, by rule$'
run linux protect --kernel --once --quiet --policy report
ok "protect: quiet: only counts" has 'end after 3 accesses would-deny, 3 decided by rules: '
FAKE_RULES=left
run linux protect --kernel --once
ok "protect: rules of a tool that was lost do not decide" sh -c "[ \$(grep -c '^event 17 SKIP, view 0$' $dir/vm) = 3 ]"

unset FAKE_RULES

# What a tool has left that was lost
FAKE_PENDING=0xb5408
export FAKE_PENDING
run linux protect --kernel --symbols "$dir/map" --trust text_poke --once
ok "protect: what a vCPU has stopped for: trusted code" vm_has '^pending ALLOW'
run linux protect --kernel --once
ok "protect: what a vCPU has stopped for: denied" vm_has '^pending SKIP'
ok "protect: which has its line" has 'denied  *write of 0xb5408 (table of system calls'
FAKE_PENDING=0xb5400
run linuxbytes protect --range 0xb5408+8 --exact --once
ok "protect: what a vCPU has stopped for: beside the range" vm_has '^pending ALLOW.*traced$'
FAKE_VIEWS_LEFT=1
export FAKE_VIEWS_LEFT
FAKE_PENDING=breakpoint
for FAKE_NO_LIST in '' 1; do
	[ -z "$FAKE_NO_LIST" ] && unset FAKE_NO_LIST || export FAKE_NO_LIST
	with=${FAKE_NO_LIST:+ that may not be listed}
	run linux protect --kernel --once
	ok "protect: views of a tool that was lost$with: nobody is in one" \
		sh -c "[ \$(grep -c '^event 17 SKIP, view 0$' $dir/vm) = 3 ]"
	ok "protect: views of a tool that was lost$with: its INT3 is nothing to the guest" \
		vm_has '^pending RETRY, view 0$'
done
unset FAKE_NO_LIST
# Commands that do not take its place: what it was to be asked about stays open
run linux regs
ok "regs: the INT3 of a tool that was lost is left to the next one" vm_has '^pending is left open$'
unset FAKE_VIEWS_LEFT
# It is a PAUSE of a vCPU that was not guarded yet when a guard was lost
for FAKE_PENDING in msr pause step; do
	rm -f "$dir/core"
	for command in info regs "mem 0x7ff0 32" "mem --search nothing" "pause --for 0" \
		"pause --for 0 --vcpu 1" "views list" "ps --running" ps "dump $dir/core" slots; do
		# shellcheck disable=SC2086
		run linuxtasks $command
		ok "${command%% /*}: what a lost tool was to be asked about is left to the next one ($FAKE_PENDING)" \
			sh -c "grep -q '^pending is left open$' $dir/vm && ! grep -q 'not stop' $dir/out"
		ok "${command%% /*}: and not asked for one more PAUSE ($FAKE_PENDING)" \
			sh -c "! grep 'one more PAUSE' $dir/vm"
	done
	ok "dump: such a vCPU stands still ($FAKE_PENDING)" test -s "$dir/core"
	run linux pause --for 0
	ok "pause: so it does here ($FAKE_PENDING)" has '^vCPU 0  paused at '
	ok "pause: and afterwards ($FAKE_PENDING)" \
		has 'and go on, but for 1 that waits for the answer of a tool that was lost$'
done
run unhook guard --once --msr lstar
ok "guard: a step of a tool that was lost is over" vm_has '^pending ALLOW'
FAKE_PENDING=pause
run unhook guard --once --msr lstar
ok "guard: a PAUSE of a tool that was lost: it guards" vm_has '^0 msr 0xc0000082 SKIP$'
FAKE_OWES=1
export FAKE_OWES
run unhook guard --once --msr lstar
ok "guard: as many as there can be: it guards" vm_has '^0 msr 0xc0000082 SKIP$'
run linuxtasks ps
ok "ps: as many as there can be" has 'server$'
ok "ps: as many as there can be: they are left" vm_has '^pending is left open$'
unset FAKE_OWES
FAKE_PENDING=msr
for command in step "inject UD"; do
	# shellcheck disable=SC2086
	run boot $command
	ok "${command%% *}: is told about it" has 'vCPU 0 waits for the answer of a tool that was lost (MSR)'
	ok "${command%% *}: and leaves it open" vm_has '^pending is left open$'
done
ok "inject: nor does the vCPU take it later" sh -c "! grep 'is to take exception' $dir/vm"
run boot inject UD --vcpu 1
ok "inject: another vCPU is free" vm_has '^injected exception ALLOW'
FAKE_PENDING=inject
run nopause inject PF
ok "inject: it may not be paused: the exception is still to come, and that is told" \
	has '^kvmi: inject: KVM has taken it: the exception comes when vCPU 0 goes on$'
ok "inject: it may not be paused: which is a failure" status_is 1
FAKE_PENDING=msr
run boot guard --once --msr 0x666
ok "guard: one that fails before it guards lets nothing pass" vm_has '^pending is left open$'
unset FAKE_PENDING
FAKE_VIEWS_LEFT=1
export FAKE_VIEWS_LEFT
run linux protect --kernel --once
ok "protect: views of a tool that was lost: they are ended" \
	sh -c "[ \$(grep -c '^view [12] destroyed$' $dir/vm) = 2 ]"
FAKE_NO_SET_VIEW=1
export FAKE_NO_SET_VIEW
run linux protect --kernel --once
ok "protect: views of a tool that was lost: it may not leave them" \
	has "^kvmi: vCPU 0: taking it back from another tool's view: not allowed by the device manager"
ok "protect: which is a failure" sh -c "[ $status = 1 ] && ! grep -q '  protected:' $dir/out"
unset FAKE_NO_SET_VIEW FAKE_VIEWS_LEFT
FAKE_CONTROL_LEFT=1
export FAKE_CONTROL_LEFT
run linux protect --kernel --once
ok "protect: what a tool that was lost has turned on is off" vm_has '^left on: 0 0 0 0$'
ok "protect: also while it protects" \
	sh -c "sed -n '/^event 17 SKIP/q;p' $dir/vm | grep -c ' off$' | grep -qx 10"
ok "protect: but not what it wants itself" \
	sh -c "! sed -n '/^event 17 SKIP/q;p' $dir/vm | grep ' event 17 off$'"
ok "protect: such a vCPU is not stepped" vm_has '^event 17 SKIP, view 0$'
run boot guard --once --msr 0x666
ok "guard: one that fails before it guards has taken nothing back" vm_has '^left on: 0 6 2 4$'
run linux regs
ok "regs: neither does another command" vm_has '^left on: 0 6 2 4$'
FAKE_NO_LIST=1
export FAKE_NO_LIST
run linux protect --kernel --once
ok "protect: which may not be listed: it is not stepped" vm_has '^event 17 SKIP, view 0$'
unset FAKE_CONTROL_LEFT FAKE_NO_LIST

# wrote: what has been written of the page of the table, by "linuxbytes"
wrote() {
	[ "$(sed -n 's/^\([0-9]*\) bytes written at 0x/\1 /p' "$dir/vm" | tr '\n' ,)" = "$1" ]
}
beside='8 b5400,4 b5410,16 b5000,4 b5ffc,'
for FAKE_RULES in 1 ''; do
	[ -n "$FAKE_RULES" ] || unset FAKE_RULES
	with=${FAKE_RULES:+by rules}
	run linuxbytes protect --range 0xb5408+8 --exact --once --explain
	ok "protect: exact: what is beside is written, nothing else ($with)" wrote "$beside"
	ok "protect: exact: what touches it has lines ($with)" sh -c "[ \$(grep -c 'denied  *write of' $dir/out) = 2 ]"
	ok "protect: exact: what cannot be emulated is denied ($with)" vm_has '^event 17 SKIP, view 0$'
	ok "protect: exact: counted ($with)" has 'end after 6 accesses denied, 4 beside the ranges'
	ok "protect: exact leaves nothing on ($with)" vm_has 'left on: 0 0 0 0'
	run linuxbytes protect --range 0xb5400+4 --range 0xb5408+8 --exact --once
	ok "protect: exact: two ranges in a page ($with)" wrote '4 b5410,16 b5000,4 b5ffc,'
	run linuxbytes protect --range 0xb5000+0x408 --range 0xb5408+0xbf8 --exact --once
	ok "protect: exact: ranges that leave nothing of it ($with)" wrote ''
	run linuxbytes protect --kernel --range 0xb5408+8 --exact --once
	ok "protect: exact: in a page of the kernel ($with)" wrote ''
	run linuxbytes protect --range 0xb5408+8 --exact --once --quiet
	ok "protect: exact and quiet ($with)" wrote "$beside"
	ok "protect: exact and quiet: counted ($with)" has 'end after 6 accesses denied, 4 beside the ranges'
	ok "protect: exact and quiet: no lines ($with)" sh -c "! grep -q 'denied  ' $dir/out"
	run linuxbytes protect --range 0xb5408+8 --exact --once --policy report
	ok "protect: exact, only reported ($with)" wrote '8 b5400,8 b5408,8 b5404,2 b540f,4 b5410,32 b5400,16 b5000,4 b5ffc,0 b5800,4 b0048,'
	run linuxbytes protect --range 0xb5408+8 --exact --once --json
	ok "protect: exact: JSON ($with)" has '"event":"access","access":"write","gpa":"0xb5404",.*"verdict":"denied"'
done
FAKE_RULES=1
export FAKE_RULES
run linuxbytes protect --range 0xb5408+8 --exact --once --explain
ok "protect: exact: the page is traced by a rule" vm_has '^event 17 ALLOW, view 0, traced, by rule$'
ok "protect: exact: what is beside is by a rule" sh -c "[ \$(grep -c '^event 23 ALLOW, view 0, by rule$' $dir/vm) = 4 ]"
ok "protect: exact: what touches it is asked about" sh -c "[ \$(grep -c '^event 23 SKIP, view 0$' $dir/vm) = 4 ]"
ok "protect: exact: rules explained" has '^ACCESS: 0xb5000-0xb5407 allow, 0xb5410-0xb5fff allow, all else ask$'
ok "protect: exact: pages explained" has '^PF: 0xb5000-0xb5fff write trace, all else ask$'
many=$(i=0; while [ $i -lt 33 ]; do printf ' --range %d+8' $((i * 4096 + 16)); i=$((i + 1)); done)
# shellcheck disable=SC2086
run linuxbytes protect $many --range 0xb5408+8 --exact --once --explain
ok "protect: exact: more than rules can say" has '^  all is asked about: more than 64 rules would be needed$'
ok "protect: exact: and the same is written" wrote "$beside"
unset FAKE_RULES
run linux protect --kernel --trust 0xffffffff81000124-0xffffffff81000200 --once
ok "protect: code that is not trusted" sh -c "! grep -q ALLOW $dir/vm"
run linuxdelivery protect --kernel --symbols "$dir/map" --trust text_poke --once
ok "protect: trusted code is interrupted" vm_has 'event 17 SKIP'
ok "protect: a delivery is not trusted" sh -c "! grep -q 'event 17 ALLOW' $dir/vm"
{ cat "$dir/map"; printf 'ffffffff82004200 t %0511d\n' 0; } >"$dir/longmap"
run linux protect --kernel --symbols "$dir/longmap" --trust text_poke --once
ok "protect: symbols as long as the kernel has them" vm_has 'event 17 ALLOW'
sed s/ffffffff82000040/ffffffff82000044/ "$dir/map" >"$dir/othermap"
run linux protect --kernel --symbols "$dir/othermap" --once
ok "protect: symbols of another kernel" has '--symbols: of another kernel'
# The entry is at the same place; calls, and the kernel's name, are not
{ cat "$dir/map"; echo 'ffffffff82000908 T __x64_sys_openat'; } >"$dir/callsmap"
run linux protect --kernel --symbols "$dir/callsmap" --trust text_poke --once
ok "protect: symbols of this kernel, by its calls" vm_has 'event 17 ALLOW'
sed -i 's/908 T/910 T/' "$dir/callsmap"
run linux protect --kernel --symbols "$dir/callsmap" --trust text_poke --once
ok "protect: symbols of another kernel with the same entry" has '--symbols: of another kernel'
ok "protect: nothing is trusted then" sh -c "! grep -q 'event 17 ALLOW' $dir/vm"
{ cat "$dir/map"; echo 'ffffffff82004100 D linux_banner'; } >"$dir/bannermap"
run linux protect --kernel --symbols "$dir/bannermap" --trust text_poke --once
ok "protect: symbols of another kernel by its name" has '--symbols: of another kernel'
run linuxwrite break text_poke --symbols "$dir/bannermap" --once
ok "break: symbols of another kernel" has '--symbols: of another kernel'
ok "break: which changes nothing" sh -c "! grep -q '^written' $dir/vm"
run linux watch --write 0xb0000+4K,0xb5000 --once
ok "watch: writes to memory" has 'PAGE  *write of 0xb5408 (virtual 0xffffffff81005408), at 0xffffffff81000123, CPL 0$'
ok "watch: to pages that were named" sh -c "[ \$(grep -c '1 pages: access 5$' $dir/vm) = 2 ]"
ok "watch: which are allowed" sh -c "[ \$(grep -c 'event 17 ALLOW' $dir/vm) = 3 ]"
run linux watch --write 0xb0000 --action pf=skip --once
ok "watch: or skipped" sh -c "[ \$(grep -c 'event 17 SKIP' $dir/vm) = 3 ]"
run boot watch --write 0 --once
ok "watch: writes on a host that cannot" has 'it has no EPT or NPT'
run linux protect --range 0x200000 --once
ok "protect: no memory" has 'not all of 0x200000-0x200fff is memory'
run boot protect --kernel --once
ok "protect: a host that cannot" has 'it has no EPT or NPT'
ok "protect: which is a failure" status_is 1
run linux protect --range 0 --against r --once
ok "protect: written and not read" has "page access 'wx': pages that can be written can also be read"

run linuxwrite break --call openat --once
ok "break succeeds" status_is 0
ok "break: found in the table" has '^breakpoint at 0xffffffff81000908, physical 0xb0908$'
ok "break: another page is shown" vm_has '^view 1: 0xb0 shows 0x9e$'
ok "break: which can only be executed" vm_has '^view 1: 0xb0000, 1 pages: access 4$'
ok "break: INT3 in the copy only" vm_has '^the copy has 0xcc, the guest 0x90$'
ok "break: the call" has 'vCPU 0  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0)$'
ok "break: the instruction in view 0" vm_has '^event 5 RETRY, view 0, stepping$'
ok "break: stays there when it was not executed" vm_has '^event 19 ALLOW, view 0, stepping$'
ok "break: and comes back" vm_has '^event 19 ALLOW, view 1$'
ok "break: who reads or writes, too" sh -c "[ \$(grep -c '^event 17 RETRY, view 0, stepping$' $dir/vm) = 2 ]"
ok "break: and the copy follows" vm_has '^the copy has 0x77$'
ok "break: also when it was read first" vm_has '^the copy has 0x66$'
ok "break: INT3 of the guest's own at a breakpoint" vm_has '^event 5 ALLOW, view 0, stepping$'
ok "break: which is no stop" sh -c "[ \$(grep -c openat\\( $dir/out) = 2 ]"
ok "break: INT3 of somebody else" vm_has '^event 5 ALLOW, view 1$'
ok "break: nobody writes to the copy" vm_has '^view 1: 0x9e000, 1 pages: access 5$'
ok "break: nor in the guest's own view" vm_has '^view 0: 0x9e000, 1 pages: access 5$'
ok "break: unless it is somewhere else by then" vm_has '^view 1: 0xb0 shows 0x9d$'
ok "break: and the page empty" vm_has '^the page of the first copy has 0, the copy 0x77$'
ok "break: and writable" vm_has '^view 0: 0x9e000, 1 pages: access 7$'
ok "break: the write is tried again" sh -c "[ \$(grep -c '^event 17 RETRY, view 1$' $dir/vm) = 1 ]"
ok "break: no view left" vm_has '^view 1 destroyed$'
ok "break leaves nothing on" vm_has 'left on: 0 0 0 0'
FAKE_VIEWS_LEFT=1
export FAKE_VIEWS_LEFT
run linuxwrite break --call openat --once
ok "break: views of a tool that was lost: they are ended" \
	sh -c "[ \$(grep -c '^view [12] destroyed$' $dir/vm) = 3 ]"
ok "break: views of a tool that was lost: it stops" has 'vCPU 0  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0)$'
FAKE_PENDING=breakpoint
export FAKE_PENDING
run linuxwrite break 0x999999 --once
ok "break: a breakpoint of a tool that was lost, and it cannot begin: nothing to the guest" \
	vm_has '^pending RETRY, view 0$'
FAKE_PENDING=leaving
run linuxwrite break --call openat --once
ok "break: a breakpoint of a tool that was lost, and it is to leave: nothing to the guest" \
	vm_has '^pending RETRY, view 0$'
unset FAKE_VIEWS_LEFT
FAKE_PENDING=msr
run linuxwrite break 0x999999 --once
ok "break: what it was to be asked about, and it cannot begin" vm_has '^pending is left open$'
unset FAKE_PENDING
run linuxwriterace break --call openat --once
ok "break: a page that the guest begins to use that moment is none for a copy" vm_has '^view 1: 0xb0 shows 0x9d$'
ok "break: it may be written again" vm_has '^it may write 0x9e000, which has 0$'
ok "break: no code is left where the guest may write" sh -c "! grep '^it may write' $dir/vm | grep -v ' 0$'"
ok "break: what the guest has written stays" vm_has '^left of the guest.s: 0x[34]1 0x41, and of the copy 0$'
run linuxwriteearly break --call openat --once
ok "break: the copy follows what was written while it began" \
	vm_has '^all are armed, the copy has 0x55$'
FAKE_RULES=1
export FAKE_RULES
run linuxwrite break --call openat 0xffffffff81000100 --once --explain
ok "break: rules" vm_has '^rules of event 5: 0/0x20 1/0$'
ok "break: the guest's own INT3 elsewhere by a rule" vm_has '^event 5 ALLOW, view 1, by rule$'
ok "break: and nothing else" sh -c "[ \$(grep -c 'by rule' $dir/vm) = 1 ]"
ok "break: a stop is asked about" vm_has '^event 5 RETRY, view 0, stepping$'
ok "break: so is the guest's own INT3 there" vm_has '^event 5 ALLOW, view 0, stepping$'
ok "break: explained" has '^BREAKPOINT: 0xb0000-0xb0fff ask, all else allow$'
ok "break: what is none, explained" has '^PF: ask$'
ok "break: counted" has 'end after 2 stops, 1 decided by rules: '
ok "break: no rules are left" sh -c "! grep -q 'are left' $dir/vm"
FAKE_RULES=left
run linuxwrite break --call openat --once
ok "break: rules of a tool that was lost do not decide" vm_has '^event 5 RETRY, view 0, stepping$'
unset FAKE_RULES
run linuxwrite break --symbols "$dir/map" text_poke+4 --once
ok "break: no such symbol" has 'text_poke+4: no address, and no symbol'
run linuxwrite break --symbols "$dir/map" text_poke --count 1 --spare 0xe0000+8K --once
ok "break: a symbol" has '^breakpoint at 0xffffffff81000100 <text_poke>, physical 0xb0100$'
ok "break: a page that was given" vm_has '^view 1: 0xb0 shows 0xe1$'
run linuxwrite break 0x999999 --once
ok "break: nothing there" has 'nothing is mapped at 0x999999'
run linuxwrite break 0xffffffff81000020 0x999999 --once
ok "break: nothing there at the second place" has 'nothing is mapped at 0x999999'
ok "break: nothing there: no view left" vm_has '^view 1 destroyed$'
ok "break: nothing there: no copy left" vm_has '^the page of the copy is left with 0$'
run linuxwrite break 0xffffffff81000100 --spare 0x9e000+4K --once
ok "break: the guest uses the only page for copies" has 'no page for a copy'
ok "break: which is a failure" status_is 1
run linuxwrite break 0xffffffff81000100 --spare 0xb4000+4K --once
ok "break: a page in use" has 'none that is all zero is left there; see --spare'
run boot break --call openat --once
ok "break: a host that cannot" has 'no views of guest memory'
run linuxwrite break --call openat --once --explain
ok "break: where the copies are, explained" has '^copies of pages with breakpoints: 1 in pages of the guest'
ok "break: why, explained" has '^  as the device manager has no memory for the tool$'

# With memory of the device manager's for the tool
FAKE_TOOL=12288
export FAKE_TOOL
run linuxwrite break --call openat --once --explain
ok "break: memory for the tool: succeeds" status_is 0
ok "break: memory for the tool: explained" has '^copies of pages with breakpoints: 1 in memory of the device manager.s for the tool, 0x100000-0x102fff$'
ok "break: memory for the tool: shown" vm_has '^view 1: 0xb0 shows 0x100$'
ok "break: memory for the tool: INT3 in the copy only" vm_has '^the copy has 0xcc, the guest 0x90$'
ok "break: memory for the tool: no access to it" vm_has '^view 0: 0x100000, 1 pages: access 0$'
ok "break: memory for the tool: in any view" vm_has '^view 1: 0x100000, 1 pages: access 0$'
ok "break: memory for the tool: the call" has 'vCPU 0  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0)$'
ok "break: memory for the tool: a write goes nowhere" vm_has '^event 23 SKIP, view 1$'
ok "break: memory for the tool: what KVM cannot emulate" vm_has '^event 17 SKIP, view 1$'
ok "break: memory for the tool: nothing is executed" vm_has '^event 17 RETRY, view 1$'
ok "break: memory for the tool: nothing is let through" sh -c "! grep -q '^event 17 ALLOW, view [0-9]$' $dir/vm"
ok "break: memory for the tool: what the instruction writes elsewhere is written in one go" \
	vm_has '^KVM has written 0xb0010$'
ok "break: memory for the tool: and the copy follows" vm_has '^written at 0x100000: [0-9a-f]\{32\}44'
ok "break: memory for the tool: before it goes on" vm_has '^event 23 ALLOW, view 0, stepping$'
ok "break: memory for the tool: and comes back" \
	sh -c "[ \$(grep -c '^event 19 ALLOW, view 1$' $dir/vm) = 2 ]"
ok "break: memory for the tool: told" has '^kvmi: the guest uses memory that is for the tool: refused 5 times$'
ok "break: memory for the tool: given back" vm_has '^page 0 for the tool: access 7, 0$'
ok "break: memory for the tool: the rest left alone" vm_has '^page 1 for the tool: access 7, 0x55$'
ok "break: memory for the tool: no view left" vm_has '^view 1 destroyed$'
ok "break: memory for the tool: nothing on" vm_has 'left on: 0 0 0 0'
FAKE_TOOL_LEFT=1
export FAKE_TOOL_LEFT
run linuxwrite break --call openat --once
ok "break: a page of a tool that was lost: another one" vm_has '^view 1: 0xb0 shows 0x101$'
ok "break: a page of a tool that was lost: left alone" vm_has '^page 0 for the tool: access 0, 0x55$'
FAKE_TOOL=4096
run linuxwrite break --call openat --once --explain
ok "break: no page is left: one of the guest's" vm_has '^view 1: 0xb0 shows 0x9e$'
ok "break: no page is left: explained" has '^  as the device manager.s memory for the tool does not do$'
unset FAKE_TOOL_LEFT
FAKE_TOOL=12288
run linuxwrite break --call openat --once --spare 0xe0000+8K --explain
ok "break: a page that was given, and not one for the tool" vm_has '^view 1: 0xb0 shows 0xe1$'
ok "break: a page that was given, explained" has '^  as --spare says$'
run linuxwrite break 0xffffffff81000020 0x999999 --once
ok "break: memory for the tool, nothing there: given back" vm_has '^page 0 for the tool: access 7, 0$'
run boot slots
ok "slots: memory for the tool" has '^000000100000-000000102fff *12 KiB  for the tool$'
run boot info
ok "info: memory for the tool" has '^for tools *12 KiB at 0x100000$'
run boot dump "$dir/core" --format raw
ok "dump: memory for the tool is not the guest's" \
	sh -c "[ $status = 0 ] && [ $(stat -c %s "$dir/core") = 4294967296 ] && ! cmp -n 1 -i 1048576:0 $dir/core /dev/null"
unset FAKE_TOOL

run linux step --count 3
ok "step succeeds" status_is 0
ok "step: where it begins" has '^0xffffffff81000123  64-bit code, CPL 0$'
ok "step: what changes" has '^0xffffffff8100012c  rax 0x3$'
ok "step: no more than that" sh -c "[ \$(wc -l <$dir/out) = 4 ]"
run linux step --count 1 --symbols "$dir/map"
ok "step: names" has '^0xffffffff81000126 <text_poke+0x26>  rax 0x1$'
run boot step --timeout 0.2
ok "step: nothing is executed" has 'does the guest wait in HLT'

run nostep step --timeout 0.2
ok "step: no answer" has '^kvmi: step: single-stepping: no answer in time'
ok "step: of no instructions" sh -c "! grep -q instructions $dir/out"

run linux views
ok "views: there is one" has '^view 0  vCPUs 0 1$'
run linux views create create=1 switch=2,1 list access=2,0x1000 show=1,0x1000,0x5000
ok "views succeeds" status_is 0
ok "views: created" has '^view 2 created$'
ok "views: a vCPU is in it" has '^view 2  vCPUs 1$'
ok "views: one that is empty" has '^view 1  vCPUs none$'
ok "views: access" has '^view 2  0x1000  rwx$'
ok "views: another page" vm_has '^view 1: 0x1 shows 0x5$'
run linux views create switch=1 destroy=1
ok "views: one in use" has 'destroy=1: a vCPU is in it'
run linux views destroy=3
ok "views: one that is not there" has 'destroy=3: no such view'
run boot views
ok "views: a host that has none" has 'the host has none'
run linux features
ok "features: page access" has '^page access  *R W X$'
ok "features: abilities" has '^abilities  *execute-only single-step$'
ok "features: views" has '^views  *7$'
ok "features: a command of pages" has '^command  20  VM_SET_PAGE_ACCESS *allowed$'

# wrong PATTERN ARGUMENTS...: refused with a line that says what to do, no VM
wrong() {
	pattern=$1; shift
	timeout 5 "$out/kvmi" "$@" >"$dir/out" 2>&1 </dev/null
	status=$?
	ok "wrong: kvmi $*" sh -c "[ $status = 2 ] && head -n 1 $dir/out | grep -q -e '$pattern'"
}
wrong "no command" nonsense
wrong "one or more of 0,3,4" watch --cr 7
wrong "give one or more of 0,3,4" watch --cr ,
wrong "names like LSTAR" watch --msr 0x99999999
wrong "exceptions like GP,UD" watch --trap XX
wrong "exceptions like GP,UD" watch --trap 32
wrong "gdtr,idtr,ldtr,tr" watch --descriptor cs
wrong "leaves like 1,0x40000000" watch --cpuid 0x100000000
wrong "EVENT=ACTION" watch --action skip
wrong "allow and crash" watch --trap all --action trap=skip
wrong "allow, skip and crash" watch --cpuid all --action cpuid=retry
wrong "not watched" watch --action cpuid=skip
wrong "physical addresses like" watch --write all
wrong "is too much" watch 7
wrong "exact is about --range" protect --kernel --exact
wrong "exact is about writes" protect --range 0+8 --exact --against rw
wrong "a number of lines" guard --msr LSTAR --rate x
wrong "a number of lines" watch --rate 1000001
wrong "what to protect" protect
wrong "give report, deny or crash" protect --kernel --policy maybe
wrong "letters rwx" protect --kernel --against q
wrong "START-LAST or START+LENGTH" protect --range 8K-4K
wrong "START-LAST or START+LENGTH" protect --range 0xfffffffffffff000+8K
wrong "give a symbol" protect --kernel --trust 5-4
wrong "give a symbol" protect --kernel --trust ""
wrong "or START for what is left of its page" protect --range 8K-4K
wrong "or START for what is left of its page" protect --kernel --trust 5-4
wrong "no such symbol" protect --kernel --trust text_poke
wrong "no such symbol" protect --kernel --trust elsewhere --symbols "$dir/map"
wrong "No such file" protect --kernel --symbols /nowhere
wrong "not the System.map" protect --kernel --symbols /dev/null
wrong "say where" break
wrong "number of the system call" break --call nonsense
wrong "a number above 0" break --call openat --count 0
wrong "START+LENGTH" break --call openat --spare 0+16
wrong "a number above 0" step --count 0
wrong "is too much" step 1
wrong "is no action" views look
wrong "is no action" views switch
wrong "is no action" views destroy=65536
wrong "is no action" views create=1,2
wrong "number of a vCPU" regs --vcpu x
wrong "number of a vCPU" pause --vcpu 65536
wrong "number of seconds" pause --for ever
wrong "give one exception" inject
wrong "give one exception" inject 32
wrong "NMI is an interrupt" inject 2
wrong "UD has none" inject UD --error-code 1
wrong "only a page fault" inject GP --address 1
wrong "below 2^32" inject GP --error-code 0x100000000
wrong "guest virtual addresses" translate
wrong "is no address" translate kernel
wrong "a leaf and a subleaf" cpuid 1 2 3
wrong "not both" xsave --output a --restore b
wrong "No such file" xsave --restore /nowhere
wrong "not a file that --output wrote" xsave --restore /dev/null
wrong "No such file" info --cookie /nowhere
wrong "a file of 1 to" info --cookie /dev/null
wrong "START and LENGTH" mem 16
wrong "is no range" mem 16 0
wrong "START, the address" mem --write hex:00
wrong "hex:BYTES" mem 0 --write hex:0
wrong "No such file" mem 0 --write file:/nowhere
wrong "goes with --write" mem 0 16 --expect a
wrong "as many bytes" mem 0 --write abc --expect abc
wrong "a multiple of 4" mem 2 --write abcd --expect abcd
wrong "one FILE to write" dump
wrong "one FILE to write" dump a b
wrong "one DIR to mount" mount
wrong "one DIR to mount" mount a b
wrong "give elf, raw or lime" dump a --format zip
wrong "one of --search" mem 0 --write a --search b
wrong "is too much" check all

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
. "$(dirname "$0")/hostile.sh"
. "$(dirname "$0")/dump.sh"
. "$(dirname "$0")/mount.sh"
. "$(dirname "$0")/gdb.sh"
. "$(dirname "$0")/processes.sh"
. "$(dirname "$0")/trace.sh"
. "$(dirname "$0")/examples.sh"
. "$(dirname "$0")/check.sh"
. "$(dirname "$0")/report.sh"

ok "no socket file left" test ! -e "$sock"

# same_names LIBRARY PREFIX HEADER
same_names() {
	grep -oE "\\b$2[a-z0-9_]+\\(" "$(dirname "$0")/../$3" | tr -d '(' | sort -u >"$dir/out"
	nm -D --defined-only "$out/$1" | sed -n "s/.* \\($2[a-z0-9_]*\\).*/\\1/p" | sort -u >"$dir/vm"
	cmp -s "$dir/out" "$dir/vm"
}
# Not in a static build
if [ -e "$out/libkint.so.1" ] && command -v nm >/dev/null; then
	ok "the shared library has what the header declares" \
		same_names libkint.so.1 kint_ include/kint/libkint.h
	ok "and so has that for programs of others" \
		same_names libkvmi.so.1 kvmi_ compat/include/libkvmi.h
	ok "which shows nothing else" \
		sh -c "! nm -D --defined-only $out/libkvmi.so.1 | grep -v ' A KVMI_1.0$' | grep -v '@@KVMI_1.0$'"
	ok "there are 71" test "$(wc -l <"$dir/vm")" = 71
fi
echo "1..$n"
exit $failed
