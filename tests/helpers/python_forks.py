"""Runs scripts in forks of one process that has imported torch, transformers and PEFT, which takes seconds.

usage: python_forks.py SOCKET

Each connection to the Unix socket sends {"script": path, "input": text}, and gets {"code": its exit code,
"stdout": text, "stderr": text}. Imports at the first connection; ends with its standard input.
"""
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback


def preload():
    try:
        import peft  # noqa: F401, torch and transformers with it
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification  # noqa: F401
    except ImportError:
        pass  # the script that needs it says so


def run(script, text):
    """Runs a script as the main program, with a text as its standard input; returns its exit code."""
    with tempfile.TemporaryFile() as given:
        given.write(text.encode())
        given.seek(0)
        os.dup2(given.fileno(), 0)
    sys.argv = [script]
    # As `python script.py` has it.
    sys.path[0] = os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
        return 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve(connection):
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read())
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        code = run(request["script"], request["input"])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    connection.sendall(json.dumps({"code": code, "stdout": texts[0], "stderr": texts[1]}).encode())
    connection.close()


def main(path):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    # Whoever started this waits for the end of its output.
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
    loaded = False
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if not loaded:
            preload()
            loaded = True
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(connection)
            os._exit(0)
        connection.close()


main(sys.argv[1])
