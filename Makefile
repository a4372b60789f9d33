# SPDX-License-Identifier: GPL-2.0
#
# KVM introspection: build, try, test and post the series.  `make help` lists
# the targets.  Everything that is built or fetched goes to build/, or to
# $KVMI_CACHE; every step knows by the contents of its inputs whether it has
# something to do, so no target here has a prerequisite file.

LAB := tools/testing/kvmi-lab
export KVMI_CACHE BASE LINUX QEMU_SRC BOCHS JOBS

# The steps depend on each other; what is parallel is inside them
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all

.PHONY: all help lab-packages packages packages-qemu packages-check tree bochs qemu qemu-newest kernel-host kernel-debug kernel-kcsan user images \
	test test-all test-debug test-kcsan bench shell demo check series apply export kernel report clean distclean \
	test-can bench-can shell-can kernel-deb-can report-can

all: images bochs

help:
	@echo 'To see it work'
	@echo '  make demo              A Linux guest introspected on an emulated VMX machine'
	@echo '  make test              All tests on both machines, VMX (Bochs) and SVM (QEMU)'
	@echo '  make test T=name M=vmx One test, or a pattern of names, on one machine'
	@echo '  make test-all          The same, and what takes some hours more'
	@echo '  make test-debug        On SVM with KASAN, lockdep, kmemleak in the host kernel'
	@echo '  make test-kcsan        Some of them on SVM with KCSAN, for data races'
	@echo '  make bench             What events and commands cost, counted'
	@echo '  make shell M=svm       A shell on an emulated host (M=vmx or svm)'
	@echo 'To work on it'
	@echo '  make                   Build all that the targets above need'
	@echo '  make check             checkpatch, sparse, W=1, builds with options off'
	@echo '  make check STEPS=...   Some of its steps only, e.g. "readme style"'
	@echo '  make export            Write the commits of build/linux back to patches/linux'
	@echo '  make qemu-newest       Merge patches/qemu with a newer QEMU, and build that; QEMU_SRC='
	@echo '  make clean             Remove what was built, keep sources and downloads'
	@echo '  make distclean         Remove everything'
	@echo 'To use it'
	@echo '  make series            The mailable patch series, in build/series'
	@echo '  make apply LINUX=dir   Apply the series to your kernel tree'
	@echo '  make kernel CONFIG=file  Debian packages of a patched host kernel'
	@echo '  make packages          Debian packages of tool, libraries and documentation'
	@echo '  make packages-qemu     One of QEMU with introspection, beside the one you have'
	@echo '  make packages-check    Install them in a clean Debian, RELEASE=trixie for another'
	@echo '  make report            On a host that runs such a kernel: test it, write a file to mail'
	@echo 'Variables: KVMI_CACHE= where to build, JOBS= how parallel; BASE=6.12 for Linux'
	@echo '6.12 in place of 7.3, as long as a target is not about the series; and own sources'
	@echo '(directory or tarball): LINUX= kernel 7.3, QEMU_SRC= QEMU 10, BOCHS= Bochs 3.0'

# What the lab needs of Debian
lab-packages:
	@$(LAB)/packages

# The kernel tree: branch "base", then our series on top
tree: lab-packages
	@$(LAB)/tree
	@if [ -x $(LAB)/series ]; then $(LAB)/series sync; fi

bochs: lab-packages
	@$(LAB)/bochs

qemu: lab-packages
	@$(LAB)/qemu

# QEMU_SRC= the newer one, by default the newest that Debian has
qemu-newest: lab-packages
	@$(LAB)/qemu-newest

kernel-host: tree
	@$(LAB)/kernel host

kernel-debug: tree
	@$(LAB)/kernel debug

kernel-kcsan: tree
	@$(LAB)/kernel kcsan

user: kernel-host
	@$(LAB)/user

images: user qemu
	@$(LAB)/images

# What cannot be is told before anything is built for it
MACHINE = $(if $(M),--machine '$(M)')
TEST = $(if $(T),--test '$(T)')
test-can:
	@$(LAB)/test --can $(MACHINE) $(TEST)
bench-can shell-can kernel-deb-can report-can:
	@$(LAB)/$(@:-can=) --can $(MACHINE)

# T= a test or a shell pattern of tests, M= vmx or svm
test: test-can images bochs
	@$(LAB)/test $(MACHINE) $(TEST)

# Also what tests.list names as too long for every day
test-all: test-can images bochs
	@$(LAB)/test --all $(MACHINE) $(TEST)

test-debug: test-can images bochs kernel-debug
	@$(LAB)/test --debug $(MACHINE) $(TEST)

test-kcsan: test-can images kernel-kcsan
	@$(LAB)/test --kcsan $(TEST)

# ARGS= arguments of kvmi_bench, e.g. -p
bench: bench-can images bochs
	@$(LAB)/bench $(MACHINE) $(ARGS)

shell: shell-can images $(if $(filter vmx,$(M)),bochs)
	@$(LAB)/shell $(MACHINE)

demo: images bochs
	@$(LAB)/demo/run

# STEPS= some of them
check: tree
	@$(LAB)/check $(STEPS)

series: tree
	@$(LAB)/series write

apply:
	@[ -n "$(LINUX)" ] || { echo 'usage: make apply LINUX=your-kernel-tree' >&2; exit 1; }
	@LINUX= $(LAB)/series apply "$(LINUX)"

export:
	@$(LAB)/series export

# CONFIG= a kernel configuration (default: that of the running kernel),
# LINUX= another tree than Debian's, KERNEL_OUT= where the packages go
export CONFIG KERNEL_OUT
kernel: kernel-deb-can lab-packages
	@$(LAB)/kernel-deb

# Debian packages of tool, libraries and documentation, in DEBS= or the cache
packages: lab-packages
	@$(LAB)/debs $(DEBS)
	@echo "  more      of QEMU: make packages-qemu; of a kernel: make kernel"

# One of QEMU, which takes its time
packages-qemu: lab-packages
	@$(LAB)/qemu-deb $(DEBS)

# RELEASE= another Debian release than this machine's
packages-check: lab-packages
	@$(LAB)/debs-check $(RELEASE)

# T= some of the tests, REPORT= the file
export REPORT
report: report-can images
	@$(LAB)/report $(TEST)

# The trees that people work in (linux, qemu-src) and the downloads stay
clean:
	@$(LAB)/clean

distclean:
	@$(LAB)/clean all
