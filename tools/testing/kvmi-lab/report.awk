# SPDX-License-Identifier: GPL-2.0
# Read the console of an emulated host that executes host/runtests, print one
# line per test as it ends and leave in the file "state" what the runner needs:
#	done NUMBER | running NUMBER NAME | count PASSED FAILED SKIPPED
# and in the file "failures" the lines of what failed once more.
# Variables: machine, state, failures, plan, splat (regular expression); timing, the
# names of tests that measure time, and again: the file where those that fail are
# listed, as in the plan, to be run once more instead of having failed.
function line(verdict, what, text,	whole)
{
	if (verdict == "not ok" && measures) verdict = "again"
	whole = sprintf("%-6s %s  %s%s", verdict, machine, what, text == "" ? "" : ": " text)
	print whole
	fflush()
	if (verdict == "ok") passed++
	else if (verdict == "skip") skipped++
	else if (verdict == "again") bad = 1
	else { failed++; bad = 1; print whole >>failures; close(failures) }
}

# What the test said from line FROM to line TO, or the end of that
function show(from, to,	i)
{
	for (i = to - from > 15 ? to - 15 : from; i <= to; i++) {
		print "         | " text[i]
		if (!measures) print "         | " text[i] >>failures
	}
	close(failures)
	fflush()
}

function finish(rc, secs,	i, shown, before, skipped_before)
{
	bad = 0
	before = passed
	skipped_before = skipped
	measures = index(" " timing " ", " " name " ")
	for (i = 1; i <= taps; i++) {
		line(verdict[i], name, desc[i])
		if (verdict[i] == "not ok") { show(last[i - 1] + 1, last[i]); shown = failed }
	}
	if (timed_out(rc, secs))
		line("not ok", name, "stopped after its time limit of " limit[number] " s")
	else if (bail != "")
		line("not ok", name, bail)
	else if (whole_skip != "" || rc == 4)
		# What is in the list is known to run on this machine
		line("not ok", name, "skipped, but is listed as running on this machine (" whole_skip ")")
	else if (planned >= 0 && taps < planned && !bad)
		line("not ok", name, "only " taps " of " planned " tests reported, exit status " rc)
	else if (rc != 0 && !bad)
		line("not ok", name, "exit status " rc)
	else if (!taps)
		line(rc ? "not ok" : "ok", name, "")
	for (i = 1; i <= splats; i++)
		line("not ok", name, "the host kernel complained: " splat_line[i])
	if (bad && shown != failed)
		show(1, lines)
	if (bad && measures) {
		print rest[number] >>again
		close(again)
		passed = before
		skipped = skipped_before
	}
	measures = 0
	if (secs > slowest) { slowest = secs; slowest_name = name }
	print "done", number > state
	number = 0
}

function timed_out(rc, secs) { return rc == 137 && secs >= limit[number] - 1 }

BEGIN {
	while ((getline l < plan) > 0) {
		split(l, f, " ")
		limit[f[1]] = f[3]
		sub(/^[^ ]* /, "", l)
		rest[f[1]] = l
	}
}

{ sub(/\r$/, "") }

/^KVMI-TEST begin / {
	number = $3; name = $4
	taps = lines = splats = 0; planned = -1; bail = whole_skip = ""
	next
}
/^KVMI-TEST splat / { sub(/^KVMI-TEST splat [0-9]* /, ""); splat_line[++splats] = $0; next }
/^KVMI-TEST end / { finish($4, $5); next }
/^KVMI-LAB-STATUS/ { next }

number && /^\| / {
	sub(/^\| /, "")
	text[++lines] = $0
	if (/^1\.\.0/) { whole_skip = $0; sub(/^1\.\.0 *(# *)?/, "", whole_skip) }
	else if (/^1\.\.[0-9]+/) { planned = $0; sub(/^1\.\./, "", planned); planned += 0 }
	else if (/^Bail out!/) bail = $0
	else if (/^(ok|not ok) /) {
		last[++taps] = lines
		verdict[taps] = /^ok .*# *SKIP/ ? "skip" : /^ok / ? "ok" : "not ok"
		sub(/^(not )?ok [0-9]* *-? */, "")
		desc[taps] = $0
	}
	next
}

# What the kernel says during a test is reported by runtests, and of KCSAN's
# reports only those that are ours
!number && /^kernel\| / && $0 ~ splat && !/KCSAN/ { line("not ok", "host kernel", $0) }

END {
	if (number)
		print "running", number, name > state
	print "count", passed + 0, failed + 0, skipped + 0 > state
	if (slowest >= 20)
		printf "       %s  (slowest: %s, %d s of the machine's time)\n", machine, slowest_name, slowest
}
