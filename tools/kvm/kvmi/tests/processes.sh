# SPDX-License-Identifier: GPL-2.0-only
# Processes of a Linux guest: a part of tool.sh

vmlinux=$out/tests/fakekernel
run linuxtasks ps
if has 'built without libbpf and libdw'; then
	ok "ps: a tool without the libraries" one_line 'libbpf-dev, libdw-dev'
	ok "ps: which is a failure" status_is 1
	run linux protect --kernel --symbols "$vmlinux" --once
	ok "symbols: a tool without the libraries" has 'libdw-dev): give a System.map$'
else
ok "ps succeeds" status_is 0
ok "ps: a head" has '^    PID    PPID     UID  S  THREADS           CR3  COMMAND$'
ok "ps: a process" has '^     45       1    1000  R        2       0x9c918  server$'
ok "ps: a thread of the kernel's" has '^      2       0       0  I        1             0  \[kthreadd]$'
ok "ps: one that has ended" has '^     48      45    1000  Z        1             0  ended$'
ok "ps: a name without end that is no text" has ' D .*  \\x1b\[2J no end\\\\\\x0axx$'
ok "ps: threads have no lines" sh -c "[ \$(wc -l <$dir/out) = 6 ]"
ok "ps: the guest was paused, and goes on" sh -c "! grep -v 'left on: 0 0 0 0' $dir/vm"
run linuxtasks ps --threads --running
ok "ps: threads" has '^     45      46       1    1000  S       0x9c918  a thread$'
ok "ps: threads: others as well" sh -c "[ \$(wc -l <$dir/out) = 7 ]"
run linuxtasks ps --json --threads
ok "ps: JSON" has '^{"pid":45,"tid":46,"comm":"a thread","ppid":1,"uid":1000,"state":"S","threads":2,"kernel":false,"task":"0xffff88800009c300","cr3":"0x9c918"}$'
ok "ps: JSON of what is no text" has '"comm":"\\u001b\[2J no end\\\\\\u000axx"'
run linuxtasks-absolute ps
ok "ps: a kernel of before 6.10" has '^     45 .*server$'

run linuxtasks-isolated ps
ok "ps: from a program that sees little of the kernel" has '^     45 .*server$'
run linuxtasks-isolated watch --write 0xb5000+4K --process --once
ok "watch: the process, of a program's event" has 'vCPU 0  server\[45]  PAGE '

# Its types from a file
run linuxtasks-nobtf ps
ok "ps: a kernel without BTF" has '^kvmi: the guest.s kernel has no BTF: give its vmlinux'
ok "ps: which is a failure" status_is 1
run linuxtasks-nobtf ps --symbols "$vmlinux"
ok "ps: a vmlinux" has '^     45 .*server$'
ok "ps: a vmlinux: all of them" sh -c "[ \$(wc -l <$dir/out) = 6 ]"
printf 'ffffffff81000040 T entry_SYSCALL_64\nffffffff82000000 T end\n' >"$dir/entrymap"
run linuxtasks ps --symbols "$dir/entrymap"
ok "ps: a System.map and BTF" has '^     45 .*server$'
run linuxtasks-nobtf ps --symbols "$dir/entrymap"
ok "ps: a System.map has no types" has 'the guest.s kernel has no BTF'
strip -g -o "$dir/stripped" "$vmlinux"
run linuxtasks ps --symbols "$dir/stripped"
ok "ps: a vmlinux without types, and BTF" has '^     45 .*server$'
run linuxwrite break entry_SYSCALL_64 --symbols "$vmlinux" --once
ok "symbols: of a vmlinux" has '^breakpoint at 0xffffffff81000040 <entry_SYSCALL_64>'
wrong "not the vmlinux of a 64-bit kernel" ps --symbols "$out/tests/fakevm"
head -c 3000 "$vmlinux" >"$dir/cut"
wrong "not the vmlinux of a 64-bit kernel" ps --symbols "$dir/cut"
ok "symbols: a file that is cut has one line" sh -c "[ \$(wc -l <$dir/out) = 1 ]"

# What a guest may make of it
run linuxtasks-ring ps
ok "ps: a list without end ends" status_is 1
ok "ps: and that is told" has '^kvmi: ps: the guest.s list of processes has no end, [0-9]* are shown$'
for wrong in wild user; do
	run linuxtasks-$wrong ps
	ok "ps: a list that leads nowhere ($wrong)" has 'processes leads nowhere after 5$'
	ok "ps: after all that were there ($wrong)" has '^     48 .*ended$'
done
run linuxtasks-threadring ps --threads
ok "ps: threads without end" has 'has no end'
run linuxtasks-noparents ps
ok "ps: parents without end" has '^kvmi: no process is where the types of the guest.s kernel say$'
for wrong in hugebtf cutbtf selfbtf; do
	run linuxtasks-$wrong ps
	ok "ps: BTF that is none ($wrong)" has 'the guest.s kernel has no BTF'
	ok "ps: in one line ($wrong)" sh -c "[ \$(wc -l <$dir/out) = 1 ]"
done
run linuxtasks-namesbtf ps
ok "ps: a member whose name is nowhere" status_is 1

# Who did it
run linuxwritetasks break --call openat --process --once
ok "break: the process" has 'vCPU 0  server\[45]  openat(AT_FDCWD, "/etc/hostname", 0x8000, 0)$'
ok "break: leaves nothing on" vm_has 'left on: 0 0 0 0'
run linuxtasks protect --kernel --process --once
ok "protect: the process" has 'denied  *server\[45]  write of 0xb5408 (table of system calls'
run linuxtasks watch --write 0xb5000+4K --process --once
ok "watch: the process" has 'vCPU 0  server\[45]  PAGE  *write of 0xb5408'
run linuxtasks watch --write 0xb5000+4K --process --once --json
ok "watch: JSON of the process" has '"vcpu":0,"pid":45,"tid":45,"comm":"server","event":"pf"'
run linuxtasks-thread protect --kernel --process --once --json
ok "protect: JSON of a thread" has '"vcpu":0,"pid":45,"tid":46,"comm":"a thread","event":"pf"'
run linuxtasks-thread protect --kernel --process --once
ok "protect: a thread" has 'denied  *a thread\[45/46]  write of '
# Who takes long may be too late
soon() { vm_has '^answered after' && ! grep '^answered after' "$dir/vm" | grep -qv 'after [1-8] reads$'; }
run linuxtasks-lag protect --kernel --process --once
ok "protect: who is not to be found soon is not waited for" soon
ok "protect: all is denied all the same" sh -c "[ \$(grep -c 'event 17 SKIP' $dir/vm) = 3 ]"
ok "protect: and has its line" has 'denied  .*write of 0xb0048 (kernel text'
run linuxtasks-lag protect --kernel --process --once --policy crash --json
ok "protect: JSON: nor is it waited for" soon
# What a vCPU has stopped for before, when the last one is armed
FAKE_PENDING=last
export FAKE_PENDING
run linuxtasks-lag guard --msr lstar --process --once
ok "guard: who begins does not hold what it has to refuse" soon
ok "guard: which is refused" vm_has '^pending SKIP'
unset FAKE_PENDING
# It boots when the tool is there, and there is time enough before it does something
run linuxlateidletasks-lag protect --range 0xb5000+4K --process --once
ok "protect: a guest that has booted meanwhile is known" has 'denied  *server\[45]  write of 0xb5408'
ok "protect: and not looked at when it counts" soon
# A vCPU that does not answer is not waited for while another one does, nor asked for ever
run linuxtasks-busy protect --range 0xb5000+4K --process --once
ok "protect: a vCPU that is asked about the guest and does not answer: another one is not held" \
	sh -c "sed -n 's/^answered after \([0-9]*\) ms$/\1/p' $dir/vm | grep -qx '[1-4]\?[0-9]\?[0-9]'"
ok "protect: and is denied what it does" vm_has '^event 17 SKIP'
run linuxlateidletasks-busy protect --range 0xb5000+4K --process --once
ok "protect: a vCPU that does not answer: the guest is known by another one" \
	has 'denied  *server\[45]  write of 0xb5408'
run linuxtasks-nobtf protect --kernel --process --once
ok "protect: a process that cannot be told" has 'denied  *?  write of 0xb5408'
ok "protect: all is denied as ever" sh -c "[ \$(grep -c 'event 17 SKIP' $dir/vm) = 3 ]"
ok "protect: and why it cannot is told once" sh -c "[ \$(grep -c 'has no BTF' $dir/out) = 1 ]"
run linuxtasks-nobtf protect --kernel --process --once --symbols "$vmlinux"
ok "protect: the process by a vmlinux" has 'denied  *server\[45]  write of'
run linuxtasks-nobtf watch --write 0xb5000+4K --process --once --symbols "$vmlinux"
ok "watch: the process by a vmlinux" has 'vCPU 0  server\[45]  PAGE'
fi
run unhook guard --once --msr lstar --process
ok "guard: no Linux, no process" has 'blocked  *?  LSTAR *0xffffffff81000080 -> 0x41414141'
ok "guard: which is blocked all the same" vm_has '0 msr 0xc0000082 SKIP'
wrong "not with --no-wait" watch --process --no-wait
run boot ps
ok "ps: no Linux" has 'the guest runs no 64-bit Linux kernel, or has not booted yet$'
run lonely ps
ok "ps: a vCPU that is not started" status_is 1
run deny ps
ok "ps: not allowed" has 'not allowed by the device manager'
wrong "is too much" ps 1
