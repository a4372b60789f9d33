# SPDX-License-Identifier: GPL-2.0-only
# kvmi-report with pretended selftests and guests; sourced by tool.sh

report=$(dirname "$0")/../kvmi-report
st=$dir/selftests
mkdir -p "$st/x86" "$dir/bin" "$dir/home/x"
# program NAME TEXT: a selftest
program() { printf '#!/bin/sh\n%b\n' "$2" >"$st/$1" && chmod +x "$st/$1"; }
program x86/kvmi_good_test 'echo TAP version 13; echo 1..3; echo ok 1 a.b; echo "ok 2 a.c # SKIP not here"; echo ok 3 a.d'
program x86/kvmi_skip_test 'echo "1..0 # SKIP no hardware"; exit 4'
program x86/kvmi_bench 'echo Random seed: 5; echo figures "$@"'
program plain_test 'exit 0'
program x86/some.so 'exit 1'
printf '#!/bin/sh\necho gretchen.example.org\n' >"$dir/bin/hostname"
chmod +x "$dir/bin/hostname"
# write_report ARGUMENTS...
write_report() {
	rm -f "$dir/report"
	: >"$dir/vm"
	(cd "$dir/home/x" && exec timeout 120 env -u KVMI_LISTEN USER=mephisto HOME="$dir/home" PATH="$dir/bin:$PATH" \
		sh "$report" --kvmi "$out/kvmi" --output "$dir/report" "$@") >"$dir/out" 2>"$dir/vm"
	status=$?
	[ ! -e "$dir/report" ] || sed -n '/^== Selftests/,$p' "$dir/report" >>"$dir/out"
}
case $report in /*) ;; *) report=$PWD/$report ;; esac
case $out in /*) ;; *) out=$PWD/$out ;; esac
reported() { grep -q -e "$1" "$dir/report"; }
hides() { ! grep -q -e "$1" "$dir/report"; }

write_report --selftests "$st" --qemu none --operations 7
ok "report: all passed" status_is 0
ok "report: the processor" reported '^processor  *[A-Za-z0-9]'
ok "report: the kernel" reported "^kernel  *Linux $(uname -r) "
ok "report: what the host lacks" reported '^ok       tool         kvmi '
ok "report: a program" reported '^ok       kvmi_good_test  *2 passed, 0 failed, 1 skipped  [0-9.]* s$'
ok "report: one without TAP" reported '^ok       plain_test  *[0-9.]* s$'
ok "report: one that is skipped" reported '^skipped  kvmi_skip_test .*no hardware$'
ok "report: no libraries" hides some.so
ok "report: a benchmark" reported '^| figures -n 7$'
ok "report: one that is not there" reported '^skipped  kvmi_page_bench '
ok "report: no guest" reported '^not run: --qemu none$'
ok "report: the sum" reported '^programs: 3 ok, 0 failed, 1 skipped$'
ok "report: the sum of tests" reported '^tests: 2 passed, 0 failed, 1 skipped$'
ok "report: nothing failed" reported '^failed: nothing$'
ok "report: the sum is shown" has '^written to '

write_report --selftests "$st" --qemu none --tests 'plain* kvmi_g*'
ok "report: some tests" reported '^programs: 3 ok, 0 failed, 0 skipped$'
ok "report: but not the others" hides kvmi_skip_test
write_report --selftests "$st" --qemu none --tests nothing
ok "report: no such test" reported "^not run: nothing in that directory is called 'nothing'$"

program kvmi_bad_test 'echo 1..2; echo ok 1 a.b
echo "$USER at $(hostname), gretchen: 52:54:00:12:34:56, 10.1.2.3, 01234567-89ab-cdef-0123-456789abcdef, a.b@c.org"
echo "$HOME/y $PWD/z /home/faust/w version 10.0.13 0000:00:1f.2 mephistopheles"
echo not ok 2 a.bad; exit 1'
program kvmi_hang_test 'exec sleep 60'
program kvmi_short_test 'echo 1..5; echo ok 1 x'
program kvmi_status_test 'echo 1..1; echo ok 1 x; exit 3'
program x86/kvmi_bench 'echo oops; exit 1'
write_report --selftests "$st" --qemu none --tests 'kvmi_[bhs]*' --limit 1
ok "report: failures" status_is 1
ok "report: a test that fails" reported '^FAILED   kvmi_bad_test  *exit status 1; 1 passed, 1 failed, 0 skipped  '
ok "report: its name" reported '^         not ok  a.bad$'
ok "report: its words, and no names" reported '^         | NAME at NAME, NAME: MAC, IP, UUID, ADDRESS$'
ok "report: no places" reported '^         | HOME/y SELFTESTS/z HOME/w version 10.0.13 0000:00:1f.2 mephistopheles$'
ok "report: a test that hangs" reported '^FAILED   kvmi_hang_test  *stopped by its time limit'
ok "report: a test that ends early" reported '^FAILED   kvmi_short_test  *only 1 of 5 tests reported;'
ok "report: a test that fails at its end" reported '^FAILED   kvmi_status_test  *exit status 3; 1 passed'
ok "report: a benchmark that fails" reported '^FAILED   kvmi_bench  *exit status 1'
ok "report: what failed" reported '^failed: kvmi_bad_test kvmi_hang_test kvmi_short_test kvmi_status_test kvmi_bench$'
for word in gretchen 'mephisto\>' faust "$dir" example.org; do
	ok "report: no $word" hides "$word"
done

# A QEMU that has a guest for every session
cat >"$dir/bin/qemu" <<END
#!/bin/sh
case "\$*" in
--version) echo "QEMU emulator version 10.0.2"; exit ;;
*help) exit 1 ;;
esac
sock=\${*#*socket,id=tool,path=}
for what in \$FAKE; do
	# Whoever has seen enough of the one before leaves first
	[ \$what != last ] || { what=boot; sleep 3; }
	# It may meet the listener of a tool that is about to end
	until $out/tests/fakevm "\${sock%%,*}" \$what; do :; done
done
END
chmod +x "$dir/bin/qemu"
FAKE="linux boot boot boot boot boot linux last"
export FAKE
write_report --qemu "$dir/bin/qemu" --guest /dev/null
ok "report: a guest" status_is 0
ok "report: QEMU" reported '^QEMU  *QEMU emulator version 10.0.2$'
for s in 'what is possible, before it runs' 'its boot, watched' 'what is known of it' registers \
	'layout of its memory' 'its memory, searched' 'its kernel, protected' 'shut down'; do
	ok "report: a guest: $s" reported "^ok       guest: $s  *[0-9.]* s$"
done
ok "report: a guest: features" reported '^| page access    R W X$'
FAKE=boot
write_report --qemu "$dir/bin/qemu" --guest /dev/null --limit 1
ok "report: a guest that is lost" status_is 1
ok "report: a guest that is lost: so it says" reported '^FAILED   guest: its boot, watched '
ok "report: no page access" reported '^skipped  guest: its kernel, protected  *no page access$'
# The package's is the one to take
FAKE=
mv "$dir/bin/qemu" "$dir/bin/qemu-system-x86_64-kvmi"
printf '#!/bin/sh\nexit 1\n' >"$dir/bin/qemu-system-x86_64"
chmod +x "$dir/bin/qemu-system-x86_64"
write_report --guest /dev/null --limit 1
ok "report: QEMU by default" reported '^QEMU  *QEMU emulator version 10.0.2$'
ok "report: no guest comes" reported '^failed: .guest: what is possible, before it runs.$'
unset FAKE

# refuses PATTERN ARGUMENTS...
refuses() {
	pattern=$1; shift
	write_report "$@"
	cat "$dir/vm" >>"$dir/out"
	ok "report: wrong: $*" sh -c "[ $status = 2 ] && grep -q -e '^kvmi-report: .*$pattern' $dir/vm"
}
refuses "unknown option" --nonsense
refuses "needs a value" --tests
refuses "is no number above 0" --limit 0
refuses "is no number above 0" --operations x
refuses "no such directory" --selftests /nowhere
refuses "cannot be read" --guest /nowhere
refuses "cannot be read" --guest /dev/null,/nowhere
refuses "no program" --kvmi /nowhere
refuses "cannot be written" --output /nowhere/file
write_report --qemu none
ok "report: nothing to run" status_is 3
rm -rf "$st" "$dir/home" "$dir/bin" "$dir/report"
