# SPDX-License-Identifier: GPL-2.0-only
# A guest that is mounted: a part of tool.sh, after dump.sh

m=$dir/mnt
patience="timeout 30"
mkdir "$m"

# mount_it WHAT ARGUMENTS...: returns when it is mounted, or has failed
mount_it() {
	start_vm "$1"; shift
	: >"$dir/out"
	$patience "$out/kvmi" mount "$m" "$@" >"$dir/out" 2>&1 &
	tool=$!
	until_seen '^mounted\|^kvmi: mount /\|^kvmi: [a-z]*:' "$dir/out"
}
unmount() { umount "$1" 2>/dev/null || fusermount3 -u "$1"; }
# ended STATUS: of the tool, which has left nothing
ended() {
	wait $tool
	status=$?
	wait $vm
	[ $status = "$1" ] && [ "$(stat -c %d "$m")" = "$(stat -c %d "$dir")" ]
}

timeout 5 "$out/kvmi" mount "$dir/nowhere" >"$dir/out" 2>&1
has_fuse=
if has 'built without libfuse3'; then
	ok "mount: a tool without libfuse3" one_line 'libfuse3-dev'
elif has '/dev/fuse: '; then
	ok "mount: no /dev/fuse" one_line '^kvmi: mount: /dev/fuse: '
else
	# There is one, which a container may not use
	mount_it boot
	if has 'not permitted\|denied'; then
		wait $tool $vm
	else
		has_fuse=1
		unmount "$m"
		ended 0
	fi
fi
if [ -z "$has_fuse" ]; then
	n=$((n + 1))
	echo "ok $n tool: mount # SKIP $(sed -n '1s/^kvmi: mount:* *//p' "$dir/out")"
else
timeout 5 "$out/kvmi" mount "$dir/nowhere" >"$dir/out" 2>&1
ok "mount: no such directory" one_line 'mount .*/nowhere: No such file or directory'
# wrong_dir PATTERN DIR: no VM is waited for
wrong_dir() {
	timeout 5 "$out/kvmi" mount "$2" >"$dir/out" 2>&1
	status=$?
	ok "mount: $1" sh -c "[ $status = 1 ] && [ \$(wc -l <$dir/out) = 1 ] && grep -q '$1' $dir/out"
}
wrong_dir 'Not a directory' "$out/kvmi"
wrong_dir 'is not empty' "$dir"
wrong_dir 'something is mounted there' /proc

mount_it linuxinfo
ok "mount: told" has '^mounted at .*/mnt: core, mem and vcpuN/regs of VM fake, 2 vCPUs'
ok "mount: files" [ "$(cd "$m" && find . -type f | sort | tr '\n' ' ')" = './core ./mem ./vcpu0/regs ./vcpu1/regs ' ]
ok "mount: for nobody else" [ "$(stat -c %a "$m/core" "$m/mem" | tr '\n' ' ')" = '400 400 ' ]
readelf -lnW "$m/core" >"$dir/elf" 2>&1
ok "mount: core: memory" grep -q 'LOAD  *0x840000 0x0000000000000000 0x0000000000041000 0x0bf000' "$dir/elf"
ok "mount: core: the kernel" grep -q 'LOAD  *0x8af000 0xffffffff81000000 0x00000000000b0000 0x009000' "$dir/elf"
ok "mount: core: registers" [ "$(grep -c NT_PRSTATUS "$dir/elf")" = 2 ]
ok "mount: core: VMCOREINFO" grep -q ' VMCOREINFO ' "$dir/elf"
ok "mount: core: the guest runs" sh -c "head -c 65536 $m/core | strings | grep -q '^STATE=running: '"
ok "mount: core: its memory" [ "$(tail -c +$((0x802001)) "$m/core" | head -c 13)" = /etc/hostname ]
ok "mount: core: all of it" [ "$(wc -c <"$m/core")" = $((0x800000 + 0x13f000)) ]
ok "mount: mem" [ "$(head -c $((0x200d)) "$m/mem" | tail -c 13)" = /etc/hostname ]
ok "mount: mem: a hole is zero" [ "$(head -c $((0x41000)) "$m/mem" | tail -c 4096 | tr -d '\0' | wc -c)" = 0 ]
ok "mount: regs" grep -q '^rip    ffffffff81234567$' "$m/vcpu1/regs"
ok "mount: regs: of that vCPU" grep -q '^vCPU 1, 64-bit code' "$m/vcpu1/regs"
ok "mount: no such vCPU" [ ! -e "$m/vcpu2" ]
ok "mount: nothing can be written" sh -c "! echo x 2>/dev/null >$m/mem"
wrong_dir 'something is mounted there' "$m"
unmount "$m"
ok "mount: umount ends it" ended 0
ok "mount: leaves nothing on" vm_has 'left on: 0 0 0 0'

mount_it linuxwrite --write --pause
ok "mount: paused" sh -c "head -c 65536 $m/core | strings | grep -qx STATE=paused"
printf text | dd of="$m/mem" bs=4096 oflag=seek_bytes seek=$((0x5000)) conv=notrunc 2>/dev/null
ok "mount: written" vm_has '^written at 0x5000: 74657874$'
ok "mount: and read" [ "$(head -c $((0x5004)) "$m/mem" | tail -c 4)" = text ]
ok "mount: core cannot be written" [ "$(stat -c %a "$m/core")" = 400 ]
dd if=/dev/zero of="$m/mem" bs=1 seek=$((0x40000)) count=1 conv=notrunc 2>"$dir/dd"
ok "mount: no memory to write to" grep -q 'No such device or address' "$dir/dd"
exec 6<"$m/core"
ok "mount: ^C ends it, though a file is open" ends_by INT
ok "mount: and nothing is mounted any more" ended 0
exec 6<&-
ok "mount: paused: leaves nothing on" vm_has 'left on: 0 0 0 0'

# With AddressSanitizer in the tool, what it leaves allocated is another exit status
ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=1:exitcode=99 mount_it linuxinfo
exec 6<"$m/core" 7<"$m/mem" 8<"$m/vcpu0/regs"
kill $vm
ok "mount: the guest goes while files are open: nothing is left of them" ended 1
exec 6<&- 7<&- 8<&-

mount_it lonely
ok "mount: a vCPU that is not started" grep -q 'not started by the guest yet' "$m/vcpu1/regs"
ok "mount: and the core" [ "$(readelf -nW "$m/core" 2>/dev/null | grep -c NT_PRSTATUS)" = 2 ]
unmount "$m"
ok "mount: of it: ends" ended 0
mount_it boot --write
dd if=/dev/zero of="$m/mem" bs=1 count=1 conv=notrunc 2>"$dir/dd"
ok "mount: writing is not allowed" grep -q 'Operation not permitted' "$dir/dd"
unmount "$m"
ok "mount: not allowed to write: ends" ended 0
mount_it leaves --pause
ok "mount: the device manager asks to leave" ended 1
ok "mount: which is told" has 'asked to leave'
mount_it hangsup --pause
ok "mount: the VM ends" ended 1
ok "mount: which is told, too" has 'ended the session'
for bad in 'overlap:broke the protocol' 'deny:not allowed by the device manager' 'stopped:is the VM stopped'; do
	# Only what is never answered is to take no longer
	mount_it "${bad%%:*}" $([ "${bad%%:*}" != stopped ] || echo --timeout 0.5)
	ok "mount: ${bad%%:*}" ended 1
	ok "mount: ${bad%%:*}: told" one_line "${bad#*:}"
done

# timeout(1) would be killed, and not the tool
patience=
mount_it linux
kill -KILL $tool
wait $tool 2>/dev/null
wait $vm
wrong_dir 'left by one that was killed' "$m"
unmount "$m"
mount_it linux
ok "mount: again, after it was killed" has '^mounted at'
unmount "$m"
ok "mount: again: ends" ended 0
fi
rmdir "$m"
