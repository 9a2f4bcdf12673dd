"""Names of the Rust crates that Deno's runtime is built from on Linux, as its lockfile has them.

usage: python scripts/runtime_crates.py DENO.git TAG [scripts/compile/crates.json]

DENO.git is a clone of github.com/denoland/deno, TAG its release that a binary is compiled from (`graft
--version` names it). Prints a name a line; with a table, of the crates that it lacks. Tools of the build
(macros, build scripts) are among them. A lockfile does not tell which dependencies are for other systems:
those of Deno's own crates are told by their manifests, all others by their names.
"""
import json, re, subprocess, sys, tomllib

OTHER_SYSTEMS = re.compile(
    r"^(windows|winapi|winreg|winsafe|ipconfig|clipboard-win|error-code|anstyle-wincon|schannel|wit-|wasi|wasm-bindgen|web-sys|js-sys"
    r"|wasm-|console_error|core-foundation|core-graphics|security-framework|objc|block2?$|metal$|raw-window-metal|cocoa|fsevent|kqueue"
    r"|mach2?$|dispatch|system-configuration|ndk|jni|android|hermit|redox|libredox|errno-dragonfly|r-efi|foreign-types|glutin_wgl"
    r"|junction|deno_subprocess_windows|wgpu-core-deps-(apple|emscripten))"
)
# Of a manifest's `[target.'cfg(...)']`.
FOR_OTHERS = re.compile(r"windows|macos|apple|ios|android|wasm")


def read(repository, tag, path):
    return subprocess.run(["git", "-C", repository, "show", f"{tag}:{path}"], check=True, capture_output=True, text=True).stdout


def manifests(repository, tag):
    """Those of Deno's own crates, by name, and the dependencies that they share."""
    listed = subprocess.run(["git", "-C", repository, "ls-tree", "-r", "--name-only", tag], check=True, capture_output=True, text=True)
    paths = [path for path in listed.stdout.split("\n") if path.endswith("Cargo.toml")]
    parsed = {path: tomllib.loads(read(repository, tag, path)) for path in paths}
    own = {one["package"]["name"]: one for one in parsed.values() if "package" in one}
    return own, parsed["Cargo.toml"]["workspace"]["dependencies"]


def dependencies(manifest, shared):
    """What a crate of Deno's own needs on Linux when it runs."""
    tables = [manifest.get("dependencies", {})]
    for condition, target in manifest.get("target", {}).items():
        if not FOR_OTHERS.search(condition) or re.search(r"not\(|unix|linux", condition):
            tables.append(target.get("dependencies", {}))
    for name, of in (item for table in tables for item in table.items()):
        if isinstance(of, dict) and of.get("workspace"):
            of = shared.get(name)
        yield of.get("package", name) if isinstance(of, dict) else name


def crates(repository, tag):
    locked = {}
    for package in tomllib.loads(read(repository, tag, "Cargo.lock"))["package"]:
        needs = {one.split(" ")[0] for one in package.get("dependencies", [])}
        locked.setdefault(package["name"], set()).update(needs)
    own, shared = manifests(repository, tag)
    found, left = set(), ["denort"]
    while left:
        name = left.pop()
        if name in found or OTHER_SYSTEMS.match(name):
            continue
        found.add(name)
        needs = locked.get(name, set())
        left += needs & set(dependencies(own[name], shared)) if name in own else needs
    return sorted(found)


if __name__ == "__main__":
    repository, tag, *table = sys.argv[1:]
    known = json.load(open(table[0])) if table else {}
    for name in crates(repository, tag):
        if name not in known:
            print(name)
