import logging
import subprocess
import sys

from gdviz.app import log

FAIL = """
import gdviz.app.page, logging
from gdviz.app.runner import Job, Runner
gdviz.app.page.show("perceptron_limit").runner.wait()
def fail(watch): raise ZeroDivisionError("a detail")
ignore = lambda *_: None
runner = Runner()
runner.submit(Job(fail, ignore, ignore, ignore, lambda error: print("id", error)))
runner.wait()
"""


def test_the_full_story_goes_to_the_file_and_not_to_standard_error(tmp_path, monkeypatch):
    file = tmp_path / "a log.txt"
    monkeypatch.setenv("GDVIZ_LOG", str(file))
    done = subprocess.run([sys.executable, "-c", FAIL], capture_output=True, text=True, check=True)
    error = done.stdout.split()[1]
    assert "detail" not in done.stderr
    told = file.read_text("utf-8")
    assert error in told
    assert "ZeroDivisionError: a detail" in told


def test_one_kernel_does_not_fill_the_disk(tmp_path):
    handler = logging.FileHandler(tmp_path / "log")
    handler.addFilter(log.few())
    for _ in range(3 * log.MOST):
        handler.handle(logging.makeLogRecord({"msg": "ignored"}))
    handler.close()
    assert len((tmp_path / "log").read_text().splitlines()) == log.MOST
