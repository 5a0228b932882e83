import os
import subprocess
import sys

from config import processes


def test_a_process_stays_itself_when_its_parent_ends():
    # The middle one starts a grandchild, says its number, and ends.
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as middle:
        one = processes.read(int(middle.stdout.readline()))

    assert one.parent == middle.pid
    assert processes.read(one.pid).parent != middle.pid
    assert one.alive
    processes.kill([one])
    assert processes.wait_gone([one], 5) == []


def test_a_zombie_is_not_alive():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert processes.read(pid) is None
    os.waitpid(pid, 0)


def test_descendants_are_found_down_to_the_last():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as child:
        child.stdout.readline()

        assert processes.with_descendants(child.pid)[0].pid == child.pid
        assert len(processes.with_descendants(child.pid)) == 2
