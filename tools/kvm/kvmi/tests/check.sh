# SPDX-License-Identifier: GPL-2.0-only
# "kvmi check" on pretended hosts; sourced by tool.sh

host=$dir/host
# put FILE TEXT: a file of the host
put() { mkdir -p "$host/${1%/*}" && printf '%b' "$2" >"$host/$1"; }
# parameters MODULE NAME=VALUE...
parameters() {
	module=$1; shift
	mkdir -p "$host/sys/module/$module/parameters"
	for p; do echo "${p#*=}" >"$host/sys/module/$module/parameters/${p%%=*}"; done
}
# A host where all is well, with Intel's processor or AMD's
new_host() {
	rm -rf "$host"
	put proc/sys/kernel/osrelease '7.3.4-kvmi\n'
	put etc/passwd 'root:x:0:0:root:/:/bin/sh\nlibvirt-qemu:x:64055:994:q:/:/bin/false\n'
	put etc/group 'kvm:x:994:\ntools:x:77:other,libvirt-qemu\n'
	put dev/kvm 'kvm 12 1 1\n'
	parameters kvm introspection=Y tdp_mmu=Y
	case $1 in
	intel)
		put proc/cpuinfo 'processor\t: 0\nflags\t\t: fpu vmx lm\nvmx flags\t: ept ept_x_only mtf ept_mode_based_exec\n\nflags\t\t: none\n'
		parameters kvm_intel ept=Y unrestricted_guest=Y nested=N mbec=Y ;;
	amd)
		put proc/cpuinfo 'processor\t: 0\nflags\t\t: fpu svm hypervisor npt\n'
		parameters kvm_amd npt=Y nested=0 ;;
	esac
	put bin/qemu '#!/bin/sh
case "$*" in
--version) echo "QEMU emulator version 10.0.2"; echo Copyright ;;
"-object introspection,help") printf "introspection options:\\n  chardev=<string>\\n  on-tool-loss=<string>\\n  event-timeout=<uint32>\\n" ;;
"-accel help") printf "Accelerators supported in QEMU binary:\\ntcg\\nkvm\\n" ;;
esac\n'
	chmod +x "$host/bin/qemu"
}
# examine ARGUMENTS...
examine() {
	timeout 20 env -u KVMI_LISTEN "$out/tests/fakehost" check --root "$host" --qemu "$host/bin/qemu" "$@" \
		>"$dir/out" 2>&1
	status=$?
}
# lacks NAME STATUS PATTERN: that many, and a line of that kind
lacks() { ok "check: $1" sh -c "[ $status = $2 ] && grep -q -e '$3' $dir/out"; }

new_host intel
examine
lacks "all is well" 0 '^ok       kernel       Linux 7.3.4-kvmi, introspection on, protocol version 1$'
ok "check: a line each" [ "$(cut -d' ' -f1 "$dir/out" | tr '\n' ' ')" = "ok ok ok ok ok ok ok " ]
ok "check: the tool's versions" has '^ok       tool         kvmi [0-9.]*, libkint [0-9.]*, protocol version [0-9]*$'
ok "check: the processor" has '^ok       processor    Intel VMX$'
ok "check: a VM" has '^ok       VM           can be created, and introspected$'
ok "check: page access" has '^ok       page access  read, write, execute; views$'
ok "check: QEMU" has "^ok       QEMU         $host/bin/qemu (QEMU emulator version 10.0.2)$"

new_host amd
examine
lacks "AMD" 0 '^ok       processor    AMD SVM, itself in a VM$'
ok "check: AMD's limit" has '^limit    page access  .*cannot refuse reads'
parameters kvm_amd npt=N
examine
lacks "no NPT" 0 '^limit    page access  kvm_amd.npt=N: no page access, no views, no single-stepping: load'

new_host intel
put proc/cpuinfo 'flags\t\t: fpu vmx_not svmx\n'
examine
lacks "no virtualization" 1 '^missing  processor    no VMX, no SVM: turn on'
put proc/cpuinfo 'Features\t: fp asimd\n'
examine
lacks "another architecture" 3 '^unknown  processor .*x86'

new_host intel
rm -r "$host/dev/kvm" "$host/sys"
examine
lacks "not loaded" 1 '^missing  KVM          not loaded: modprobe kvm_intel;'
ok "check: the kernel is not blamed" has '^unknown  kernel       Linux 7.3.4-kvmi: whether'
put dev/kvm 'kvm 12 1 1\n'
examine
lacks "without /sys" 0 '^ok       kernel       Linux 7.3.4-kvmi, introspection on'
put dev/kvm 'kvm 12 0 0\n'
examine
lacks "without /sys, another kernel" 1 '^missing  kernel       KVM of Linux 7.3.4-kvmi has no introspection'

new_host intel
rm "$host/dev/kvm"
examine
lacks "no /dev/kvm" 1 '^missing  KVM          /dev/kvm: No such file or directory: let udev make it'
mkdir "$host/dev/kvm"
examine
lacks "a /dev/kvm that cannot be opened" 1 '^missing  KVM          /dev/kvm: Is a directory: dmesg'
rmdir "$host/dev/kvm"
put dev/kvm nonsense
examine
lacks "another /dev/kvm" 1 '^missing  KVM          /dev/kvm is not KVM'
# Of root, nothing keeps its own /dev/kvm
if command -v setpriv >/dev/null && [ "$(id -u)" = 0 ]; then
	new_host intel
	chmod 755 "$dir"
	chmod 600 "$host/dev/kvm"
	timeout 20 setpriv --reuid 65534 --regid 65534 --clear-groups env -u KVMI_LISTEN "$out/tests/fakehost" \
		check --root "$host" --qemu "$host/bin/qemu" >"$dir/out" 2>&1
	status=$?
	# A build that nobody else can read is no matter of the tool's
	if [ $status != 126 ] && [ $status != 127 ]; then
		lacks "any user" 3 '^unknown  KVM          no right to open /dev/kvm: .*(kvm)'
		ok "check: any user: the kernel" has '^ok       kernel       Linux 7.3.4-kvmi, kvm.introspection=Y$'
	fi
fi

new_host intel
rm "$host/sys/module/kvm/parameters/introspection"
examine
lacks "another kernel" 1 '^missing  kernel       Linux 7.3.4-kvmi has no introspection: boot'
parameters kvm introspection=N
examine
lacks "off" 1 '^missing  kernel       .* it is off: boot with kvm.introspection=1'
ok "check: how many are missing" has '^kvmi: check: .*: 1 missing$'
new_host intel
put dev/kvm 'kvm 12 2 2\n'
examine
lacks "another protocol" 1 '^missing  kernel       Linux 7.3.4-kvmi speaks version 2 of the protocol, this tool version 1'
put dev/kvm 'kvm 12 1 0\n'
examine
lacks "no VM to be introspected" 1 '^missing  VM           KVM refuses'
put dev/kvm 'kvm 12 1 -16\n'
examine
lacks "no VM" 1 '^missing  VM           KVM creates none: Device or resource busy'

new_host intel
parameters kvm_intel ept=N
examine
lacks "no EPT" 0 '^limit    page access  kvm_intel.ept=N: no page access, no views: load'
new_host intel
parameters kvm tdp_mmu=N
examine
lacks "no TDP MMU" 0 '^limit    page access  kvm.tdp_mmu=N'
new_host intel
parameters kvm_intel nested=Y unrestricted_guest=N mbec=N
examine
lacks "nested" 0 '^limit    nested       kvm_intel.nested is on.*-cpu host,-vmx$'
ok "check: no unrestricted guest" has '^limit    real mode    kvm_intel.unrestricted_guest=N'
ok "check: MBEC is off" has '^limit    page access  execution by .*: kvm_intel.mbec=N$'
new_host intel
rm "$host/sys/module/kvm_intel/parameters/mbec"
examine
lacks "a kernel without MBEC" 0 '^limit    page access  execution by .*: KVM of Linux 7.3.4-kvmi cannot$'
new_host intel
put proc/cpuinfo 'flags\t\t: vmx\nvmx flags\t: ept\n'
parameters kvm_intel mbec=N
examine
lacks "an old processor" 0 '^limit    single-step  the processor has no monitor trap flag$'
ok "check: an old processor: execute-only" has '^limit    page access  .*executed and not read$'
ok "check: an old processor: MBEC" has '^limit    page access  .*: the processor cannot$'

new_host intel
timeout 20 env -u KVMI_LISTEN PATH="$host" "$out/tests/fakehost" check --root "$host" >"$dir/out" 2>&1
status=$?
lacks "no QEMU" 1 '^missing  QEMU         no qemu-system-x86_64: install qemu-system-x86-kvmi, or give --qemu'
# One that is there already, and then that of the package beside it
cp "$host/bin/qemu" "$host/bin/qemu-system-x86_64"
by_default() {
	timeout 20 env -u KVMI_LISTEN PATH="$host/bin" "$out/tests/fakehost" check --root "$host" >"$dir/out" 2>&1
	status=$?
}
by_default
lacks "QEMU by default" 0 '^ok       QEMU         qemu-system-x86_64 (QEMU emulator version 10.0.2)$'
sed 's/10.0.2/10.0.13/' "$host/bin/qemu" >"$host/bin/qemu-system-x86_64-kvmi"
chmod +x "$host/bin/qemu-system-x86_64-kvmi"
by_default
lacks "QEMU of the package" 0 '^ok       QEMU         qemu-system-x86_64-kvmi (QEMU emulator version 10.0.13)$'
# If it is there and broken, the other one is not what is wanted
put bin/qemu-system-x86_64-kvmi '#!/nowhere\n'
chmod 644 "$host/bin/qemu-system-x86_64-kvmi"
by_default
lacks "QEMU of the package, broken" 1 '^missing  QEMU         qemu-system-x86_64-kvmi --version: Permission denied'
rm "$host/bin/qemu-system-x86_64" "$host/bin/qemu-system-x86_64-kvmi"
examine --qemu none
lacks "another VMM" 0 '^ok       VM'
ok "check: another VMM: no QEMU" sh -c "! grep -q QEMU $dir/out"
examine --qemu "$host/etc/passwd"
lacks "no program" 1 '^missing  QEMU         .*/etc/passwd --version: Permission denied'
put bin/qemu '#!/bin/sh\ncase $1 in --version) printf "QEMU \\033[2J\\n";; *) echo invalid object type; exit 1;; esac\n'
examine
lacks "QEMU without the object" 1 "^missing  QEMU .* has no object .introspection.: install qemu-system-x86-kvmi"
ok "check: what QEMU says is printed as text" has 'QEMU \\x1b\[2J'
put bin/qemu '#!/bin/sh\ncase $2 in introspection,help) printf "x:\\n  chardev=<string>\\n";; help) echo tcg;; *) echo QEMU;; esac\n'
examine
lacks "QEMU without KVM" 1 '^missing  QEMU         it was built without KVM'
ok "check: an older QEMU" has '^limit    QEMU         its patches are older'
put bin/qemu '#!/bin/sh\nexec sleep 20\n'
examine --timeout 0.3
lacks "QEMU hangs" 1 '^missing  QEMU         .*: does not end'
put bin/qemu '#!/bin/sh\nyes\n'
examine --timeout 0.3
lacks "QEMU goes on and on" 1 '^missing  QEMU         .*: does not end'
put bin/qemu '#!/bin/sh\nkill -SEGV $$\n'
examine
lacks "QEMU crashes" 1 '^missing  QEMU         .*: fails'

new_host intel
mkdir -m 711 "$host/run"
examine --listen "unix:$host/run/sock"
lacks "socket" 0 "^ok       socket       $host/run/sock can be made, mode 600$"
ok "check: nothing is left there" [ -z "$(ls "$host/run")" ]
examine --listen "unix:$host/nowhere/sock"
lacks "no directory" 1 '^missing  socket       .*/nowhere is no directory'
examine --listen "unix:$host/bin/qemu"
lacks "no socket" 1 '^missing  socket       .*/bin/qemu is there, and no socket'
examine --listen "unix:$host/run/$(printf %0100d 0)"
lacks "a long path" 1 '^missing  socket       unix:.*107 bytes$'
examine --listen tcp:5
lacks "no address" 1 '^missing  socket       tcp:5: not of the form'
chmod 777 "$host/run"
examine --listen "unix:$host/run/sock"
lacks "everybody's directory" 1 '^missing  socket       everybody can replace .*: chmod o-w$'
chmod 1777 "$host/run"
examine --listen "unix:$host/run/sock"
lacks "everybody's directory, sticky" 0 '^ok       socket'
chmod 711 "$host/run" "$dir"
examine --listen "unix:$host/run/sock" --qemu-user libvirt-qemu
lacks "QEMU's user" 1 '^missing  socket       mode 600 .*: user libvirt-qemu may not connect; add --socket-mode 660 --socket-group 994 '
examine --listen "unix:$host/run/sock" --qemu-user libvirt-qemu --socket-mode 660 --socket-group 994
lacks "QEMU's group" 0 '^ok       socket       user libvirt-qemu may connect$'
examine --listen "unix:$host/run/sock" --qemu-user libvirt-qemu --socket-mode 660 --socket-group 77
lacks "another group of QEMU's user" 0 'user libvirt-qemu may connect$'
examine --listen "unix:$host/run/sock" --qemu-user 1234:5 --socket-mode 660 --socket-group 77
lacks "a group that it is not in" 1 'user 1234:5 may not connect'
examine --listen "unix:$host/run/sock" --qemu-user root
lacks "root" 0 'user root may connect$'
chmod 700 "$host/run"
examine --listen "unix:$host/run/sock" --qemu-user libvirt-qemu --socket-mode 666
lacks "a directory it cannot enter" 1 '^missing  socket       user libvirt-qemu cannot enter .*/run:'
chmod 700 "$dir"
for u in nobody-here 5: 5:6:7 5x ''; do
	examine --qemu-user "$u"
	lacks "no user '$u'" 2 'no such user in /etc/passwd; give UID or UID:GID'
done

timeout 20 "$out/kvmi" check --root "$dir/nowhere" --qemu none >"$dir/out" 2>&1
status=$?
lacks "no host at all" 1 '^missing  KVM'
timeout 20 "$out/kvmi" --version >"$dir/out"
ok "versions" has '^kvmi [0-9.]*, libkint [0-9.]*, protocol version [0-9]*$'
rm -rf "$host"
