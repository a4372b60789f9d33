# SPDX-License-Identifier: GPL-2.0-only
# The examples of tools: a part of tool.sh

examples=$(dirname "$0")/../examples
# example WHAT COMMAND...: against a VM, as run() does with the tool
example() {
	: >"$dir/vm"
	"$out/tests/fakevm" "$sock" "$1" >"$dir/vm" 2>&1 &
	vm=$!
	shift
	timeout 20 "$@" >"$dir/out" 2>&1
	status=$?
	wait $vm
}

example linux "$out/examples/pagewatch" "$KVMI_LISTEN" 0xb5000
ok "pagewatch succeeds" status_is 0
ok "pagewatch: which VM" has '^watching VM fake$'
ok "pagewatch: a write to the page" has '^vCPU 0  write to 0xb5408, by code at 0xffffffff81000123$'
ok "pagewatch: the device manager asks to leave" has '^end: asked to leave$'
ok "pagewatch: reading and executing are left" vm_has '^view 0: 0xb5000, 0 pages: access 5$'
ok "pagewatch: writing is allowed then" [ "$(grep -c ' ALLOW' "$dir/vm")" = 3 ]
ok "pagewatch leaves nothing on" vm_has 'left on: 0 0 0 0'
FAKE_NAME=$(printf '\033[2Jfake')
export FAKE_NAME
example linux "$out/examples/pagewatch" "$KVMI_LISTEN" 0xb5000
ok "pagewatch: nothing for the terminal" has '^watching VM ?\[2Jfake$'
unset FAKE_NAME
example deny "$out/examples/pagewatch" "$KVMI_LISTEN" 0x5000
ok "pagewatch: not allowed" has '^end: Operation not permitted$'
ok "pagewatch: not allowed is a failure" status_is 1
FAKE_PENDING=msr
export FAKE_PENDING
example linux timeout -s TERM 2 "$out/examples/pagewatch" "$KVMI_LISTEN" 0xb5000
ok "pagewatch: what another tool was to be asked about is left to that one" vm_has '^pending is left open$'
unset FAKE_PENDING
example hangup "$out/examples/pagewatch" "$KVMI_LISTEN" 0x5000
ok "pagewatch: the VM ends" has '^end: Broken pipe$'
example boot timeout -s TERM 2 "$out/examples/pagewatch" "$KVMI_LISTEN" 0x5000
ok "pagewatch: a signal ends it" has '^end: Interrupted system call$'
ok "pagewatch: a signal: nothing is left on" vm_has 'left on: 0 0 0 0'
timeout 20 "$out/examples/pagewatch" tcp:1 0 >"$dir/out" 2>&1
ok "pagewatch: no address" [ "$?" = 1 ]

# The interpreter has to have the sanitizers before a library that was built with them
if ! command -v python3 >/dev/null || [ ! -e "$out/libkint.so.1" ]; then
	n=$((n + 1))
	echo "ok $n tool: guestinfo # SKIP no python3, or a static build"
else
	preload=$(ldd "$out/libkint.so.1" | sed -n 's/.*lib[au][a-z]*san[^ ]* => \([^ ]*\).*/\1/p' | paste -sd:)
	# guestinfo WHAT
	guestinfo() {
		example "$1" env LD_LIBRARY_PATH="$out" ${preload:+LD_PRELOAD="$preload"} \
			ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" \
			python3 "$(dirname "$0")/../examples/guestinfo.py" "$KVMI_LISTEN"
	}
	guestinfo boot
	ok "guestinfo succeeds" status_is 0
	ok "guestinfo: the vCPUs" [ "$(grep -c '^vCPU [01] at 0xffffffff81000123, stack at 0x0$' "$dir/out")" = 2 ]
	ok "guestinfo: the kernel, across a page border" \
		has '^0x7ffa: Linux version 9.9.9 (somebody@somewhere) #1 SMP$'
	ok "guestinfo leaves nothing on" vm_has 'left on: 0 0 0 0'
	FAKE_BANNER=$(printf '\033[2J')
	export FAKE_BANNER
	guestinfo boot
	ok "guestinfo: nothing for the terminal" \
		has '^0x7ffa: Linux version ?\[2J (somebody@somewhere) #1 SMP$'
	unset FAKE_BANNER
	guestinfo lonely
	ok "guestinfo: a vCPU that is not started" [ "$(grep -c '^vCPU 0 at ' "$dir/out")" = 1 ]
	for FAKE_PENDING in msr pause; do
		export FAKE_PENDING
		guestinfo boot
		ok "guestinfo: what another tool was to be asked about is left to that one ($FAKE_PENDING)" \
			vm_has '^pending is left open$'
		ok "guestinfo: the other vCPU ($FAKE_PENDING)" [ "$(grep '^vCPU . at ' "$dir/out" | cut -c-6)" = 'vCPU 1' ]
		ok "guestinfo: and the kernel ($FAKE_PENDING)" has '^0x7ffa: Linux version 9.9.9'
	done
	unset FAKE_PENDING
	guestinfo deny
	ok "guestinfo: not allowed" one_line '^guestinfo: Operation not permitted$'
	ok "guestinfo: not allowed is a failure" status_is 1
	ok "guestinfo: no socket file left" test ! -e "$sock"
fi
