# SPDX-License-Identifier: GPL-2.0
# A guest on the emulated host for the tests of the kvmi tool, and TAP; sourced by
# tool-job, never run.

cd /tmp || exit 1
export KVMI_LISTEN=unix:/tmp/kvmi.sock
n=0
failed=0
# QEMU's TCG as an SVM host does not report XSETBV
cpu=qemu64 vmx=
if grep -qw vmx /proc/cpuinfo; then cpu=host,-vmx vmx=1; fi

ok() {
	n=$((n + 1))
	name=$1; shift
	if "$@" >/dev/null 2>&1; then
		echo "ok $n $name"
	else
		failed=1
		echo "not ok $n $name"
		for f in out tool.txt qemu.txt guest.txt qmp.txt; do
			# Of a guest's panic the beginning says most
			lines=15
			[ $f != guest.txt ] || lines=60
			[ ! -e $f ] || tail -n $lines $f | sed "s/^/# $f: /"
		done
	fi
}
skip() {
	n=$((n + 1))
	echo "ok $n $1 # SKIP $2"
}
# on_vmx NAME COMMAND...: skipped on the other machine
on_vmx() {
	if [ -n "$vmx" ]; then ok "$@"; else skip "$1" "the emulated CPU cannot do it"; fi
}
# with_steps NAME COMMAND...: skipped where KVM cannot execute single instructions
with_steps() {
	if [ -n "$steps" ]; then ok "$@"; else skip "$1" "the host cannot single-step"; fi
}
has() { grep -q -e "$1" out; }
says() { grep -q -e "$1" guest.txt; }
saw() { grep -q -e "$1" tool.txt; }

# tell COMMAND: for the guest's shell; returns when it has been executed
told=0
tell() {
	told=$((told + 1))
	echo "$*; echo told $told" >&3
	until_seen "^told $told" guest.txt
}

# Until a command succeeds: a minute at most, four with a debug kernel
limit=1200
[ ! -e /sys/kernel/debug/kmemleak ] || limit=4800
until_true() {
	# Its own: what is waited for may wait for something
	local i=0
	until "$@"; do
		i=$((i + 1))
		[ $i -le $limit ] || return 1
		sleep 0.05
	done 2>/dev/null
}
until_seen() { until_true grep -q -e "$1" "$2"; }
# begin COMMAND...: in the background, its output in tool.txt.  That is emptied before
# and not by the child: whoever waits for a line of it must not find an older tool's
begin() {
	: >tool.txt
	"$@" >>tool.txt 2>&1 &
	tool=$!
}
# A watching tool turns events on when the vCPUs leave the guest, in no time
until_armed() { until_seen '^watching' tool.txt; tell sleep 1; }
gone() { ! kill -0 $qemu; }
more_than() { [ "$(grep -c -e "$2" "$3")" -gt "$1" ]; }

mkfifo guest.in monitor.in monitor.out
exec 3<>guest.in 4<>monitor.in 5<>monitor.out

# The monitor repeats each letter it is told, and must not come to a stop
cat <&5 >/dev/null &

machine=microvm,acpi=off
kernel=/opt/kvmi/guest/bzImage kernel_args=nokaslr
# start ARGUMENTS...: a guest; its serial line is guest.in and guest.txt
start() {
	told=0
	# What was told to a guest that is gone is not for the next
	rm -f guest.in
	mkfifo guest.in
	exec 3<>guest.in
	: >guest.txt
	: >tool.txt
	: >out
	qemu-system-x86_64 -L /opt/kvmi/share -name tested -M $machine -accel kvm -cpu $cpu \
		-m 128 -nodefaults -no-user-config -display none -no-reboot \
		-chardev pipe,id=monitor,path=/tmp/monitor -mon monitor -serial stdio \
		-kernel $kernel -initrd /opt/kvmi/guest/initrd.gz \
		-append "console=ttyS0 loglevel=3 $kernel_args panic=-1 reboot=t guest=obey" \
		"$@" <guest.in >guest.txt 2>qemu.txt &
	qemu=$!
}
unix="-chardev socket,id=tool,path=/tmp/kvmi.sock,reconnect-ms=100 -object introspection,id=kvmi,chardev=tool"
stop() { kill $qemu 2>/dev/null; wait $qemu 2>/dev/null; }
