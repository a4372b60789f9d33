# SPDX-License-Identifier: GPL-2.0
# For drgn: the version, the tasks and the log of a Linux guest, out of its core.
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.printk import get_dmesg

print(prog.read(prog.symbol("linux_banner").address, 256).split(b"\n")[0].decode())
for task in for_each_task(prog):
    print("task", task.pid.value_(), task.comm.string_().decode())
print(get_dmesg(prog).decode())
