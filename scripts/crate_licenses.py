"""Licences and copyright lines of Rust crates, as Debian's packages of them state them.

usage: python scripts/crate_licenses.py NAME... > facts.json      (Debian, after apt-get update)

Prints JSON by crate: {"license": SPDX expression, "copyright": [line, ...]}; crates without a package are
missing. scripts/compile/crates.json holds what it printed for the crates of scripts/runtime_crates.py, and what
was read in the repositories of others.
"""
import json, os, re, subprocess, sys, tempfile

SPDX = {
    "expat": "MIT", "mit": "MIT", "apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause", "bsd-3-clause~google": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause", "isc": "ISC", "zlib": "Zlib", "unlicense": "Unlicense", "cc0": "CC0-1.0", "cc0-1.0": "CC0-1.0",
    "mpl-2.0+": "MPL-2.0", "mpl-2.0": "MPL-2.0", "unicode": "Unicode-DFS-2016", "unicode-3.0": "Unicode-3.0",
    "openssl license": "OpenSSL", "apache-2.0 with llvm exception": "Apache-2.0 WITH LLVM-exception",
    "apache-2.0 with llvm-exception": "Apache-2.0 WITH LLVM-exception",
}
# Files that no program is built from.
NOT_BUILT = re.compile(r"^(\./)?(debian|tests?|examples?|fuzz|benches|packages)\b|/tests/")


def stanzas(text):
    for part in re.split(r"\n\s*\n", text):
        fields, key = {}, None
        for line in part.split("\n"):
            if re.match(r" ?[A-Z][A-Za-z-]+:", line):
                key, value = line.split(":", 1)
                key = key.strip()
                fields[key] = [value.strip()] if value.strip() else []
            elif key and line.strip():
                fields[key].append(line.strip())
        yield fields


def expression(license):
    """Debian's short names as an SPDX expression."""
    words = re.split(r"(\s+(?:or|and|OR|AND)\s+|[()])", license)
    return "".join(
        SPDX.get(word.strip().lower(), word) if not re.fullmatch(r"\s+(or|and)\s+|[()]?", word, re.I) else word.upper() for word in words
    )


def facts(copyright_file):
    licenses, lines = [], []
    for fields in stanzas(copyright_file):
        files = " ".join(fields.get("Files", [])).split()
        if not files or all(NOT_BUILT.search(name) for name in files):
            continue
        found = expression(fields["License"][0])
        alternatives = "(" in found or " OR " in found
        for one in [found] if alternatives else found.split(" AND "):
            if one not in licenses:
                licenses.append(one)
        lines += [line for line in (re.sub(r"\s+", " ", line) for line in fields.get("Copyright", [])) if line not in lines]
    return {"license": licenses[0] if len(licenses) == 1 else " AND ".join(f"({one})" if " " in one else one for one in licenses), "copyright": lines}


def package_of(name, packages):
    name = re.escape(name.replace("_", "-").lower())
    return next((one for one in packages if re.fullmatch(rf"librust-{name}(-[0-9.]+)?-dev", one)), None)


def copyright_of(package):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
        (archive,) = os.listdir(folder)
        files = subprocess.run(["dpkg-deb", "--fsys-tarfile", os.path.join(folder, archive)], check=True, capture_output=True).stdout
        wanted = ["tar", "xO", "--wildcards", "./usr/share/doc/*/copyright"]
        return subprocess.run(wanted, input=files, check=True, capture_output=True).stdout.decode(errors="replace")


if __name__ == "__main__":
    listed = subprocess.run(["apt-cache", "pkgnames", "librust-"], check=True, capture_output=True, text=True).stdout
    packages = sorted(listed.split())
    found = {name: package_of(name, packages) for name in sys.argv[1:]}
    print(json.dumps({name: facts(copyright_of(package)) for name, package in found.items() if package}, indent=1, ensure_ascii=False))
