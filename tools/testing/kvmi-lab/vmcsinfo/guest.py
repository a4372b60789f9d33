# SPDX-License-Identifier: GPL-2.0
# For drgn: the tasks and the log of a Linux guest, out of its core.
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.printk import get_dmesg

for task in sorted(for_each_task(prog), key=lambda task: task.pid.value_()):
    print("task", task.pid.value_(), task.comm.string_().decode())
print(get_dmesg(prog).decode(errors="replace"))
