# SPDX-License-Identifier: GPL-2.0-only
# The server for gdb, with a guest that executes: a part of tool.sh

line=$dir/gdb
text=ffffffff81005	# addresses of the guest, see fakecpu.c
data=ffffffff81007

# serve WHAT [OPTION]...: until the guest stands still; gdb's end is at $line
serve() {
	: >"$dir/vm"
	: >"$dir/out"
	"$out/tests/fakecpu" "$sock" "$1" >"$dir/vm" 2>&1 &
	vm=$!
	shift
	timeout 60 "$out/kvmi" gdb --gdb "unix:$line" "$@" >"$dir/out" 2>&1 &
	tool=$!
	until_seen 'the guest stands still' "$dir/out"
}
ended() {
	wait $tool
	status=$?
	wait $vm
}
# said: each reply matches its pattern
said() {
	while read -r pattern <&3; do
		read -r reply <&4 || reply='(no more)'
		echo "$reply" | grep -qxE -e "$pattern" || echo "# $reply, not $pattern"
	done 3<"$dir/patterns" 4<"$dir/said" >"$dir/differences"
	! grep . "$dir/differences" && [ "$(wc -l <"$dir/patterns")" = "$(wc -l <"$dir/said")" ]
}

# exchange NAME WHAT [OPTION]...: a session of lines "PACKET => PATTERN", which the whole
# reply matches, or "PACKET" if there is none; at the end all has to be as it was
exchange() {
	topic=$1
	shift
	sed 's/\$text/'$text'/g; s/\$data/'$data'/g' >"$dir/exchange"
	serve "$@"
	sed 's/ => .*//' "$dir/exchange" | timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
	ended
	sed -n 's/.* => //p' "$dir/exchange" >"$dir/patterns"
	ok "gdb: $topic" said
	ok "gdb: $topic: ends well" status_is 0
	ok "gdb: $topic: everything is undone" \
		vm_has '^left: events 0, 0 of the VM, steps 0, vCPUs in views 0, pages 0, views 0$'
	ok "gdb: $topic: the guest notices nothing" sh -c "! grep 'the guest' '$dir/vm'"
}

FAKE_RULES=left
export FAKE_RULES
exchange 'rules of a tool that was lost' '' <<'END'
? => T05thread:1;
Z0,$text00b,1 => OK
vCont;c => T05(swbreak:;)?thread:1;
z0,$text00b,1 => OK
D => OK
END
unset FAKE_RULES
ok "gdb: rules of a tool that was lost are taken back" vm_has '^rules of event 5: none$'
ok "gdb: and so is the event that is on" vm_has '^BREAKPOINT on$'
FAKE_VIEWS_LEFT=1
export FAKE_VIEWS_LEFT
exchange 'views of a tool that was lost' '' <<'END'
? => T05thread:1;
Z0,$text00b,1 => OK
vCont;c => T05(swbreak:;)?thread:1;
z0,$text00b,1 => OK
D => OK
END
FAKE_CONTROL_LEFT=1
export FAKE_CONTROL_LEFT
exchange 'what a tool that was lost has turned on' '' <<'END'
? => T05thread:1;
Z0,$text00b,1 => OK
vCont;c => T05(swbreak:;)?thread:1;
z0,$text00b,1 => OK
D => OK
END
unset FAKE_CONTROL_LEFT
FAKE_OWES=1
export FAKE_OWES
exchange 'a vCPU that owes PAUSE events to tools that were lost' '' <<'END'
? => T05thread:1;
Z0,$text00b,1 => OK
vCont;c => T05(swbreak:;)?thread:1;
z0,$text00b,1 => OK
D => OK
END
unset FAKE_OWES
FAKE_VIEWS_LEFT=hit
exchange 'a vCPU at a breakpoint of a tool that was lost' '' <<'END'
? => T05thread:1;
D => OK
END
unset FAKE_VIEWS_LEFT

exchange 'what gdb asks first' '' <<'END'
qSupported:swbreak+;hwbreak+;multiprocess+ => PacketSize=4000;QStartNoAckMode[+];qXfer:features:read[+];vContSupported[+];swbreak[+];hwbreak[+];binary-upload[+]
QStartNoAckMode => OK
? => T05thread:1;
qfThreadInfo => m1,2
qsThreadInfo => l
qThreadExtraInfo,2 => 7643505520312c2036342d62697420636f64652c2043504c2030
qThreadExtraInfo,3 => E03
qC => QC1
qAttached => 1
T1 => OK
T3 => E03
Tz => E03
Hg2 => OK
qC => QC2
Hgp1.1 => OK
Hg3 => E03
Hx1 => E16
Hg1, => E16
Hc-1 => OK
qSymbol:: => OK
vCont? => vCont;c;C;s;S
vMustReplyEmpty => 
qNobodyKnows => 
! => 
qXfer:features:read:target.xml:0,15 => m<[?]xml version="1[.]0"[?]>.*
qXfer:features:read:target.xml:ff00,40 => l
qXfer:features:read:other.xml:0,40 => E16
qXfer:features:read:target.xml:0 => E16
D => OK
END
ok "gdb: says how to connect" has "in gdb: target remote $line\$"
ok "gdb: says that gdb has left" has 'gdb has left; everything is undone$'

exchange registers '' <<'END'
g => [0-9a-f]{1728}
P10=0b500081ffffffff => OK
p10 => 0b500081ffffffff
P0=8877665544332211 => OK
p0 => 8877665544332211
p11 => 02000000
P11=03000000 => OK
p12 => 10000000
P18=00000000000000804000 => OK
p18 => 00000000000000804000
p20 => 7f030000
p22 => ffff0000
P22=fcff0000 => OK
p22 => fcff0000
p28 => 42000000000000000000000000000000
P28=11000000000000000000000000000000 => OK
p28 => 11000000000000000000000000000000
p38 => 801f0000
p39 => 24000000000000000000000000000000
P39=25000000000000000000000000000000 => OK
p39 => 25000000000000000000000000000000
p49 => f5f5000000000000
P49=f5f5000000000000 => OK
P49=0000000000000000 => E01
p4b => 6565000000000000
p4c => 3300058000000000
P4e=0000000000000000 => E01
p52 => E16
P52=00 => E16
P0=11 => E16
P0=zz77665544332211 => E16
P0 => E16
p => E16
pzz => E16
G1100000000000000 => OK
p0 => 1100000000000000
Gxxxxxxxxxxxxxxxx2200000000000000 => OK
p1 => 2200000000000000
G11 => E16
Gz => E16
D => OK
END
exchange 'registers of a kernel that has no FPU to show' noxsave <<'END'
p18 => [x]{20}
P18=00000000000000804000 => OK
p28 => [x]{32}
D => OK
END
exchange 'registers of 32 bits' '' --32bit <<'END'
qXfer:features:read:target.xml:57,40 => .*<architecture>i386</.*
g => [0-9a-f]{984}
p8 => [0-9a-f]{8}
D => OK
END

exchange memory '' <<'END'
m$text000,4 => 90909090
x$text000,4 => b\\x90\\x90\\x90\\x90
m$text000,0 => 
mffffffff810ffffe,8 => 0000
m0,4 => E0e
M$data000,4:01020304 => OK
m$data000,4 => 01020304
X$data002,5:a}]b => E16
X$data002,3:a}]b => OK
m$data000,6 => 0102617d6200
x$data002,3 => b[a]}]b
X$data000,0: => OK
Mffffffff810ffffe,4:01020304 => E0e
M0,1:00 => E0e
M$data000,4:0102 => E16
M$data000,4:010203zz => E16
M$data000,1 => E16
m$data000 => E16
m$data000, => E16
m => E16
m11111111111111111,1 => E16
mffffffffffffffff,10 => E0e
M$data000,fffff:00 => E16
D => OK
END

# Breakpoints: in a copy, and by the right to execute
for kind in '' svm notrap; do
exchange "breakpoints, ${kind:-hidden}" "$kind" <<'END'
qSupported:swbreak+;hwbreak+ => .*
Z0,$text00b,1 => OK
Z0,$text00b,1 => OK
Z1,ffffffff81006002,1 => OK
Hg1 => OK
vCont;c => T05(swbreak:;thread:1|hwbreak:;thread:2);
vCont;c => T05(swbreak:;thread:1|hwbreak:;thread:2);
m$text000,10 => (90){16}
z1,ffffffff81006002,1 => OK
vCont;c => T05swbreak:;thread:1;
p10 => 0b500081ffffffff
z0,$text00b,1 => OK
vCont;s:1 => T05thread:1;
p10 => 0e500081ffffffff
Z0,$text00b,1 => OK
vCont;c => T05swbreak:;thread:1;
z0,$text00b,1 => OK
z0,$text00b,1 => E02
vCont;s:1 => T05thread:1;
Z1,$text00b,1 => OK
vCont;c => T05hwbreak:;thread:1;
p10 => 0b500081ffffffff
z1,$text00b,1 => OK
no-answer vCont;c
sleep 100
^C
wait => T02thread:1;
D => OK
END
done

exchange watchpoints '' <<'END'
Z2,$data010,8 => OK
vCont;c => T05watch:ffffffff81007010;thread:1;
p10 => 07500081ffffffff
vCont;c => T05watch:ffffffff81007010;thread:1;
z2,$data010,8 => OK
Z3,$data020,4 => OK
vCont;c => T05rwatch:ffffffff81007020;thread:1;
p10 => 0b500081ffffffff
z3,$data020,4 => OK
Z4,$data050,1 => OK
vCont;c => T05awatch:ffffffff81007050;thread:1;
p10 => 1d500081ffffffff
z4,$data050,1 => OK
Z3,$data038,8 => OK
vCont;c => T05rwatch:ffffffff81007038;thread:1;
p10 => 19500081ffffffff
z3,$data038,8 => OK
Z2,ffffffff81006ffc,20 => OK
vCont;c => T05watch:ffffffff81006ffc;thread:1;
z2,ffffffff81006ffc,20 => OK
Z2,$data050,8 => OK
Z3,$data024,4 => OK
no-answer vCont;c
sleep 200
^C
wait => T02thread:1;
D => OK
END
exchange 'watchpoints without execute-only pages' svm <<'END'
Z3,$data020,4 => OK
Z2,$data010,1 => OK
Hg1 => OK
vCont;c => T05(watch:ffffffff81007010|rwatch:ffffffff81007020);thread:1;
vCont;c => T05(watch:ffffffff81007010|rwatch:ffffffff81007020);thread:1;
D => OK
END
exchange 'watchpoints beside breakpoints' svm <<'END'
Z0,$data060,1 => OK
Z4,$data014,4 => OK
Hg1 => OK
vCont;c => T05awatch:ffffffff81007014;thread:1;
p10 => 07500081ffffffff
m$data010,1 => 01
vCont;c => T05awatch:ffffffff81007014;thread:1;
m$data010,1 => 02
D => OK
END
exchange 'watchpoints without the events of accesses' notrap <<'END'
Z3,$data038,8 => OK
no-answer vCont;c
sleep 100
^C
wait => T02thread:1;
z3,$data038,8 => OK
Z3,$data034,8 => OK
vCont;c => T05rwatch:ffffffff81007034;thread:1;
D => OK
END

exchange 'breakpoints that cannot be' '' <<'END'
Z2,$data000,0 => E16
Z2,$data000,200000 => E16
Z2,ffffffffffffffff,8 => E16
Z0,$text000 => E16
Z0 => E16
Z0,$text000,1;X1,00 => E16
Z5,$text000,1 => 
z1,$text000,1 => E02
D => OK
END
exchange 'a kernel without page access' old <<'END'
Z0,$text00b,1 => E5f
Z2,$data010,8 => E5f
vCont;s:1 => T05thread:1;
D => OK
END
exchange 'events that are not allowed' deny <<'END'
Z0,$text00b,1 => E5f
Z2,$data010,8 => E5f
D => OK
END

exchange steps '' <<'END'
P10=00500081ffffffff => OK
vCont;s:1 => T05thread:1;
p10 => 03500081ffffffff
Hg2 => OK
p10 => (00|02)600081ffffffff
p0 => .*
vCont;s:2 => T05thread:2;
vCont;s:2 => T05thread:2;
vCont;S05:2 => T05thread:2;
Hg1 => OK
p10 => 03500081ffffffff
vCont;s:1;c => T05thread:1;
p10 => 07500081ffffffff
s => T05thread:1;
S05 => T05thread:1;
p10 => 0e500081ffffffff
vCont => E16
vCont;q => E16
vCont;s:z => E16
vCont;s:9 => E16
vCont;C => E16
vCont;c:1:2 => E16
c1234 => E16
Z0,$text00b,1 => OK
c => T05thread:1;
D => OK
END

exchange 'a kernel that is not mapped yet' boot <<'END'
m$text000,1 => E0e
Z0,$text019,1 => OK
Z2,$data010,8 => OK
vCont;c => T05thread:1;
p10 => 19500081ffffffff
p4e => 00000b0000000000
z0,$text019,1 => OK
vCont;c => T05watch:ffffffff81007010;thread:1;
D => OK
END
exchange 'CR3 was loaded, and the vCPU stands there' rsm <<'END'
Z0,ffffffffa0000000,1 => OK
no-answer vCont;c
sleep 100
^C
wait => T02thread:1;
no-answer vCont;c
sleep 100
^C
wait => T02thread:1;
D => OK
END
exchange 'real mode' real <<'END'
qThreadExtraInfo,1 => 7643505520302c2031362d62697420636f64652c2043504c2030
p10 => [0-9a-f]{2}50000000000000
P10=0050000000000000 => OK
p10 => 0050000000000000
Z0,500b,1 => OK
vCont;c => T05thread:1;
p10 => 0b50000000000000
D => OK
END
exchange 'a vCPU that is started late' ap <<'END'
qfThreadInfo => m1
T2 => E03
Z0,ffffffff81006002,1 => OK
vCont;c => T05thread:2;
qfThreadInfo => m1,2
D => OK
END
exchange 'a VM that is stopped at first' stopped --timeout 2 <<'END'
? => T05thread:1;
D => OK
END
exchange 'processes' '' <<'END'
Z0,$text00b,1 => OK
qRcmd,66696c746572203078313233343030300a => O.*
wait => OK
no-answer vCont;c
sleep 100
^C
wait => T02thread:1;
qRcmd,66696c74657220746869730a => O.*
wait => OK
vCont;c => T05thread:1;
qRcmd,66696c746572206f6666 => O.*
wait => OK
qRcmd,66696c746572207a => O.*
wait => OK
D => OK
END

# monitor COMMAND => the text
words() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }
monitor() {
	want=$2
	serve "$what" && { echo "qRcmd,$(words "$1")"; for i in $3 1; do echo wait; done; echo D; } |
		timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
	ended
	ok "gdb: monitor $1" grep -q "^O$(words "$want")" "$dir/said"
}
what=
monitor 'phys 0x5000 8' '000000005000  90 90 90 90 90 90 90 90'
monitor 'phys' 'monitor phys ADDRESS'
monitor 'phys 0x5000 999999' 'monitor phys ADDRESS'
monitor 'phys 0x7000000' '0x7000000: no memory there'
monitor 'cr3' 'vCPU 0  cr3 0xb0000, 64-bit code, CPL 0' 1
monitor 'msr LSTAR' 'vCPU 0  LSTAR 0xabcdef'
monitor 'msr 0x666' '0x666: there is no such MSR'
monitor 'msr' 'monitor msr NAME'
monitor 'translate 0xffffffff81005000' '0xffffffff81005000 is at 0x5000'
monitor 'translate 0x5000' '0x5000: not mapped'
monitor 'translate' 'monitor translate ADDRESS'
monitor 'help' 'cr3  ' 4
monitor 'nonsense' 'there is no such command' 5
what=program
monitor 'translate 0xffffffff81005000' '0xffffffff81005000 is at 0x5000'
monitor 'translate 0x5000' '0x5000: not mapped'
monitor 'translate 0xffffffff82005000' '0xffffffff82005000: not mapped'
monitor 'filter this' 'breakpoints stop the process with CR3 0xa3000 only'
what=isolated
monitor 'translate 0xffffffff81005000' '0xffffffff81005000 is at 0x5000'
monitor 'translate 0x5000' '0x5000: not mapped'

# ---- The line
exchange 'a line with errors' '' <<'END'
bad => -
qC => QC1
nak => QC1
raw $qC$qC#b4
wait => QC1
raw noise+++$?#zz
qC => [(]-[)] QC1
raw #00
qRcmd,zz => E16
qRcmd,6 => E16
D => OK
END
serve ''
{ printf 'M%s000,1000:' $data; head -c 20000 /dev/zero | tr '\0' 0; echo; echo qC; echo D; } |
	timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
ended
ok "gdb: a packet that is too long" grep -q '^E69$' "$dir/said"
ok "gdb: and then another" grep -q '^QC1$' "$dir/said"

# ---- Ends
serve ''
printf 'no-answer vCont;c\nsleep 100\nqC\n' | timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
ended
ok "gdb: a question while the guest runs" grep -q '^E10$' "$dir/said"
ok "gdb: gone while the guest runs" has 'gdb has left; everything is undone'
ok "gdb: and the guest goes on" vm_has '^left: events 0, 0 of the VM, steps 0, vCPUs in views 0, pages 0, views 0$'
serve ''
printf 'Z0,%s00b,1\nvCont;c\nno-answer k\n' $text | timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
ended
ok "gdb: kill" vm_has '^shut down$'
ok "gdb: kill: says so" has 'gdb has killed the guest'
serve ''
printf 'vKill;1\n' | timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
ended
ok "gdb: kill by name" vm_has '^shut down$'
for end in unhook close; do
	serve $end
	printf 'Z2,%s050,8\nvCont;c\n' $data | timeout 60 "$out/tests/rsp" "$line" >"$dir/said" 2>&1
	ended
	ok "gdb: $end: gdb is told" grep -q '^W00$' "$dir/said"
	ok "gdb: $end: so is the user" has 'the device manager asked to leave\|the VM ended the session'
done
serve ''
kill -TERM $tool
ended
ok "gdb: SIGTERM" status_is 0
ok "gdb: SIGTERM: everything is undone" has 'interrupted; everything is undone'

# ---- Where gdb connects to
refused() {
	timeout 5 "$out/kvmi" gdb "$@" >"$dir/out" 2>&1
	status=$?
}
refused
ok "gdb: nowhere" has 'say where gdb connects to'
refused --gdb elsewhere
ok "gdb: no address" has 'give PORT, HOST:PORT, unix:PATH or a serial line'
refused --gdb 0
ok "gdb: no port" has 'give PORT, HOST:PORT'
refused --gdb 1.2.3.4.5:1234
ok "gdb: no host" has 'give PORT, HOST:PORT'
refused --gdb 192.0.2.1:1234
ok "gdb: another host's" has 'gdb 192.0.2.1:1234: .*assign'
refused --gdb "$dir/none"
ok "gdb: no serial line" has 'No such file'
refused --gdb /dev/null
ok "gdb: what is no serial line" has 'no serial line'
refused --gdb unix:/nowhere/at/all
ok "gdb: no directory for a socket" has 'No such file'
ok "gdb: which is wrong usage" status_is 2
refused --gdb 1234 --spare x
ok "gdb: no spare memory" has 'give START+LENGTH'

# ---- What is no gdb
for seed in 1 2 3 4; do
	serve $([ $((seed % 2)) = 0 ] && echo svm || echo '-')
	timeout 100 "$out/tests/rsp" "$line" $seed 400 >"$dir/said" 2>&1
	kill -TERM $tool 2>/dev/null
	ended
	ok "gdb: garbage $seed: the tool lives, or was told to go" status_is 0
	ok "gdb: garbage $seed: everything is undone" vm_has '^left: events 0, 0 of the VM, steps 0, vCPUs in views 0, pages 0, views 0$'
done
