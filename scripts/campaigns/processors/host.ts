/** What this machine has to run tests as on other processors. */
import { run } from "./command.ts";
import { ortLibraryFor } from "./ort_library.ts";
import { trappingCopy } from "./trapping_copy.ts";
import type { Host, Kind } from "./ways.ts";

const MASK = new URL("cpuid_mask.c", import.meta.url).pathname;

/** Where Debian puts the C and C++ libraries of arm64. */
const ARM64_LIBRARIES = "/usr/aarch64-linux-gnu";

/** @param folder where what is compiled or fetched lies, until the caller removes it */
export function thisHost(folder: string): Host {
  const found = new Map<Kind["arch"], ReturnType<Host["emulatorOf"]>>();
  let mask: ReturnType<Host["mask"]> | undefined;
  return {
    arch: Deno.build.arch,
    flags: processorFlags(),
    deno: Deno.execPath(),
    mask: () => mask ??= compileMask(folder),
    emulatorOf(arch) {
      const emulator = found.get(arch) ??
        (arch === "arm64" ? arm64Emulator(folder) : x64Emulator());
      found.set(arch, emulator);
      return emulator;
    },
  };
}

function processorFlags(): ReadonlySet<string> {
  const [, flags = ""] = /^flags\s*:(.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo")) ?? [];
  return new Set(flags.trim().split(/\s+/));
}

function compileMask(folder: string): ReturnType<Host["mask"]> {
  const mask = `${folder}/cpuid_mask.so`;
  const compiled = run("gcc", ["-shared", "-fPIC", "-O2", "-o", mask, MASK, "-ldl"]);
  if (compiled === undefined) return { missing: "gcc cannot compile cpuid_mask.c" };
  const env = { LD_PRELOAD: mask };
  if (run("true", [], { env: { ...env, CPUID_LEVEL: "1" } }) !== undefined) return { env };
  const library = ortLibraryFor("x64");
  const copy = trappingCopy(library, folder);
  if ("missing" in copy) {
    return { missing: `this processor or kernel cannot make cpuid fault, and ${copy.missing}` };
  }
  return opensCopy(library, copy.path, env)
    ? { env: { ...env, CPUID_COPY: copy.path } }
    : { missing: "Deno does not open the copy in which cpuid is a trap" };
}

/** Whether a process that opens the library has the copy, and goes on after its traps. */
function opensCopy(library: string, copy: string, env: Record<string, string>): boolean {
  const code = `Deno.dlopen(${JSON.stringify(library)}, {}); ` +
    'console.log(Deno.readTextFileSync("/proc/self/maps"));';
  const maps = run(Deno.execPath(), ["eval", code], {
    env: { ...env, CPUID_COPY: copy, CPUID_LEVEL: "3" },
  });
  return maps !== undefined && maps.includes(copy) && !maps.includes(library);
}

function x64Emulator(): ReturnType<Host["emulatorOf"]> {
  const command = emulatorNamed("qemu-x86_64");
  if (command === undefined) return { missing: "qemu-x86_64 is not installed" };
  return { command: [command], deno: Deno.execPath() };
}

/** With Deno for arm64 from npm, of this Deno's release. */
function arm64Emulator(folder: string): ReturnType<Host["emulatorOf"]> {
  const command = emulatorNamed("qemu-aarch64");
  if (command === undefined) return { missing: "qemu-aarch64 is not installed" };
  const library = `${ARM64_LIBRARIES}/lib/libstdc++.so.6`;
  if (run("test", ["-e", library]) === undefined) return { missing: `${library} is not there` };
  const name = `@deno/linux-arm64-glibc@${Deno.version.deno}`;
  const packed = run("npm", ["pack", "--silent", name], { cwd: folder });
  if (packed === undefined || run("tar", ["xf", packed.trim()], { cwd: folder }) === undefined) {
    return { missing: `npm cannot fetch ${name}` };
  }
  return { command: [command, "-L", ARM64_LIBRARIES], deno: `${folder}/package/deno` };
}

/** Debian's packages qemu-user and qemu-user-static name it differently. */
function emulatorNamed(name: string): string | undefined {
  return [name, `${name}-static`].find((command) => run(command, ["--version"]) !== undefined);
}
