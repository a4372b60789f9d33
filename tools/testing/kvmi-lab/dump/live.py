# SPDX-License-Identifier: GPL-2.0
# For drgn: the first task by name, all of them, what programs called sleep are in, and the
# modules, in a guest that may be running.
from drgn import Object
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.pid import for_each_task

print("init_task", prog["init_task"].comm.string_().decode())
for task in for_each_task(prog):
    name = task.comm.string_().decode()
    print("task", task.pid.value_(), name)
    if name == "sleep":
        for frame in prog.stack_trace(task):
            print("sleeps in", frame.name)
# Not by its name: there is no DWARF of where it is
modules = Object(prog, "struct list_head", address=prog.symbol("modules").address)
for module in list_for_each_entry("struct module", modules.address_of_(), "list"):
    print("module", module.name.string_().decode())
