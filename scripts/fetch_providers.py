"""Fetches ONNX Runtime libraries: those with other execution providers, for the tests that look at them,
or the ones that are named.

usage: fetch_providers.py FOLDER [VARIABLE=REQUIREMENT...]

Prints the variables that name them, for a shell to evaluate. Wheels are PyPI's; of each only the
libraries are kept, below the folder that is given.
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

# GRAFT_GPU_ORT loads on a machine without a card and says what its providers lack;
# GRAFT_OPENVINO_ORT has a provider that runs on any x64 processor.
WHEELS = {
    "GRAFT_GPU_ORT": "onnxruntime-gpu==1.31.1",
    "GRAFT_OPENVINO_ORT": "onnxruntime-openvino==1.24.1",
}


def fetch(requirement: str, folder: pathlib.Path) -> None:
    """Unpacks a wheel's libraries; the folder appears when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", work, requirement]
        subprocess.run(command, check=True, stdout=sys.stderr)
        [wheel] = pathlib.Path(work).glob("*.whl")
        libraries = pathlib.Path(work, "libraries")
        libraries.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = pathlib.PurePosixPath(name)
                if path.match("onnxruntime/capi/lib*.so*"):
                    (libraries / path.name).write_bytes(archive.read(name))
        libraries.rename(folder)


root = pathlib.Path(sys.argv[1]).resolve()
root.mkdir(parents=True, exist_ok=True)
named = dict(argument.split("=", 1) for argument in sys.argv[2:])
for variable, requirement in (named or WHEELS).items():
    folder = root / requirement.replace("==", "-")
    if not folder.exists():
        fetch(requirement, folder)
    [library] = folder.glob("libonnxruntime.so.*")
    print(f"export {variable}='{library}'")
