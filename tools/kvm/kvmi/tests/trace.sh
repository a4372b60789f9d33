# SPDX-License-Identifier: GPL-2.0-only
# System calls of a Linux guest: a part of tool.sh

run linuxwritetasks-trace trace --once
ok "trace succeeds" status_is 0
ok "trace: one with its result" \
	has '^ *[0-9.]*  vCPU 0  [^ ]*  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0) = -1 ENOENT$'
ok "trace: another vCPU's that is under way meanwhile" has 'vCPU 1  .*  mmap(0, 8192, 0x3, 0x22, 0, 0) = 0x7f0000000000$'
ok "trace: one whose thread was ended in it" has '  read(3, 0x1234, 4096) = ?$'
ok "trace: one that began before" has '  getpid() = 45 (began before)$'
ok "trace: one that leaves nothing of its arguments" has '  execve("/etc/hostname", 0, 0) = 0$'
ok "trace: nothing returns that was not made" sh -c "[ \$(grep -c ' = ' $dir/out) = 11 ]"
ok "trace: one that is made again" has '  read(3, 0x1234, 4096) = ? (made again after a signal)$'
ok "trace: a signal that takes the result along" has '  nanosleep(0x5678, 0) = ? (a signal is handled first)$'
ok "trace: a signal that leaves the result" has '  wait4(-1, 0, 0, 0) = 4$'
ok "trace: a name that was not in memory" has '  chdir("/late") = 0$'
ok "trace: one that does not return" has '  exit_group(3) = ?$'
ok "trace: one without a name here" has '  call 1000(0x1, 0x2, 0x3, 0x4, 0, 0) = ?$'
ok "trace: that is all" has 'end after 11 calls: '
ok "trace: breakpoints that cannot be read" vm_has '^view 1: 0xb0000, 1 pages: access 4$'
ok "trace: no view left" vm_has '^view 1 destroyed$'
ok "trace leaves nothing on" vm_has 'left on: 0 0 0 0'
ok "trace: nothing in the guest's memory" vm_has '^the page of the copy is left with 0$'
if [ "$(sed -n 's/.*  \(.*\)  getpid.*/\1/p' "$dir/out")" != '?' ]; then
	ok "trace: the process" has 'vCPU 0  server\[45]  openat('
	ok "trace: a thread" has 'vCPU 1  a thread\[45/46]  mmap('
	run linuxwritetasks-trace trace --once --pid 45,1
	ok "trace: all of a process" has 'end after 11 calls: '
	run linuxwritetasks-trace trace --once --pid 7
	ok "trace: nothing of another one" has 'end after 0 calls: '
	run linuxwritetasks-nobtftrace trace --once --symbols "$out/tests/fakekernel"
	ok "trace: the process by a vmlinux" has 'vCPU 0  server\[45]  openat('
	run linuxwritetasks-nobtftrace trace --once --pid 45
	ok "trace: a process that cannot be told" status_is 1
	ok "trace: which is a reason not to begin" has '^kvmi: the guest.s kernel has no BTF'
fi
run linuxwritetasks-nobtftrace trace --once
ok "trace: without processes" has 'vCPU 0  ?  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0) = -1 ENOENT$'
run linuxwritetasks-oldtrace trace --once
ok "trace: a kernel of before 6.7" has '  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0) = -1 ENOENT$'
run linuxwritetasks-trace trace --once --call openat,61,openat2
ok "trace: some calls only" has 'end after 2 calls: '
ok "trace: by number" has '  wait4(-1'
run linuxwritetasks-trace trace --count 2
ok "trace: as many as wanted" has 'end after 2 calls: as many as wanted; everything is undone$'
ok "trace: which is a success" status_is 0
run linuxwritetasks-trace trace --once --json
ok "trace: JSON of one" has '"event":"call","nr":257,"name":"openat","args":\["0xffffffffffffff9c","0x2000","0x8000","0"],"text":"openat(AT_FDCWD, \\"/etc/hostname\\", 0x8000, 0)","end":"returned","result":"0xfffffffffffffffe","errno":2,"error":"ENOENT","took":'
ok "trace: JSON of one that is open" has '"name":"exit_group",.*"end":"open"}$'
ok "trace: JSON of one that began before" has '"result":"0x2d","began_before":true}$'
ok "trace: JSON of signals" sh -c "grep -q '\"end\":\"restarted\"' $dir/out && grep -q '\"end\":\"signalled\"' $dir/out"
if command -v python3 >/dev/null; then
	ok "trace: JSON parses" python3 -c 'import json,sys
for l in open(sys.argv[1]): l[0] == "k" or json.loads(l)' "$dir/out"
fi
for wrong in noentry wildentry; do
	run linuxwritetasks-$wrong trace --once
	ok "trace: another kernel ($wrong)" has 'where system calls enter, the guest.s kernel is unlike others$'
	ok "trace: which is left alone ($wrong)" vm_has 'left on: 0 0 0 0'
done
run linux trace --once
ok "trace: not allowed to write" has 'not allowed by the device manager\|unlike others'
run boot trace --once
ok "trace: a host that cannot" has '^kvmi: trace: the host has no views'
wrong "names or numbers of system calls" trace --call nonsense
wrong "numbers of processes" trace --pid init
wrong "a number above 0" trace --count 0
wrong "START+LENGTH" trace --spare 0+16
wrong "is too much" trace openat
wrong "No such file" trace --symbols /nowhere
wrong "number of the system call" break --call openat2
