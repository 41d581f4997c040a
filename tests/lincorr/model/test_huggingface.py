"""transformers, imported where it is first needed."""

import subprocess
import sys

TWO_THREADS = """
import sys, threading, time
from lincorr.model.huggingface import quiet_transformers

inside, found = threading.Event(), []

class Slow:  # the first thread is inside the import until the second one waits for it
    def find_spec(self, name, path=None, target=None):
        if name == "transformers.utils" and not inside.is_set():
            inside.set()
            time.sleep(0.3)

def second():
    inside.wait()
    found.append(quiet_transformers())

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=second)
thread.start()
found.append(quiet_transformers())
thread.join()
print(*[hasattr(module, "AutoTokenizer") for module in found])
"""


def test_threads_that_import_at_once_get_the_same_whole_module():
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
