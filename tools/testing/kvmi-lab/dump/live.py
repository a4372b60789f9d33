# SPDX-License-Identifier: GPL-2.0
# For drgn: the first task by name, and all of them, in a guest that may be running.
from drgn.helpers.linux.pid import for_each_task

print("init_task", prog["init_task"].comm.string_().decode())
for task in for_each_task(prog):
    print("task", task.pid.value_(), task.comm.string_().decode())
