"""The first moments of an engine's process: it is tied to the life of its parent, then becomes the engine.

Run by path with `python -I -S`, so it imports the standard library only:

    become.py PARENT_PID DEATH_SIGNAL UID GID COMMAND...

UID and GID of -1 keep the account. A program of its own and not a `preexec_fn`, which is not safe in a process with
threads.
"""

import ctypes
import os
import sys

# From linux/prctl.h and linux/capability.h
_SET_PARENT_DEATH_SIGNAL = 1
_SET_KEEP_CAPABILITIES = 8
_AMBIENT_CAPABILITY = 47
_AMBIENT_RAISE = 2
_CAPABILITY_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def _prctl(option: int, *arguments: int) -> None:
    if sys.platform == "linux":
        values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
        ctypes.CDLL(None).prctl(option, *values)


def _keep_access_to_files() -> None:
    """Let the new account pass the folders of the old one, which stay closed to everybody else.

    Where capabilities are not to be had, nothing is said here: the engine then says which path it cannot read.
    """
    if sys.platform != "linux":
        return
    mask = 1 << _CAPABILITY_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    ctypes.CDLL(None).capset(header, data)
    _prctl(_AMBIENT_CAPABILITY, _AMBIENT_RAISE, _CAPABILITY_DAC_OVERRIDE)


def _change_account(user_id: int, group_id: int) -> None:
    _prctl(_SET_KEEP_CAPABILITIES, 1)
    os.setgroups([])
    os.setgid(group_id)
    os.setuid(user_id)
    _keep_access_to_files()


def main(arguments: list[str]) -> None:
    """Never return: the process is the engine afterwards, or has ended."""
    parent, death_signal, user_id, group_id = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    if user_id != -1:
        _change_account(user_id, group_id)
    _prctl(_SET_PARENT_DEATH_SIGNAL, death_signal)  # after the change of account, which takes it back
    if os.getppid() != parent:  # the parent died before the line above: nobody would ever stop us
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the command is our own


if __name__ == "__main__":
    main(sys.argv[1:])
