/** How tests run as on another processor: with instruction sets hidden, at full speed, or emulated. */

/** A kind of processor, by what it multiplies 8-bit integers with. */
export interface Kind {
  readonly arch: "arm64" | "x64";
  /** Flags of /proc/cpuinfo that the machine must have to run as it. */
  readonly needs?: readonly string[];
  /** What it has not got: a level of `cpuid_mask.c`. */
  readonly hides?: 1 | 2 | 3;
  /** The name that qemu has for one; absent where qemu lacks its instructions. */
  readonly emulated?: string;
}

export const KINDS: Readonly<Record<string, Kind>> = {
  "avx512-vnni": { arch: "x64", needs: ["avx512_vnni"], hides: 1 },
  "avx2": { arch: "x64", needs: ["avx2", "fma"], hides: 2, emulated: "Haswell" },
  "sse4": { arch: "x64", needs: ["sse4_1"], hides: 3, emulated: "Nehalem" },
  // Nothing of their own, dot products, products of matrices.
  "cortex-a72": { arch: "arm64", emulated: "cortex-a72" },
  "cortex-a76": { arch: "arm64", emulated: "cortex-a76" },
  "max": { arch: "arm64", emulated: "max" },
};

/** Flags of /proc/cpuinfo that the levels of `cpuid_mask.c` hide, each beside those before it. */
const HIDDEN = [/^amx_/, /^(avx512|avx_vnni|avx_ifma|avx10)/, /^(avx2|fma)$/];

/** A program that runs another processor's, with the Deno that it runs. */
export interface Emulator {
  readonly command: readonly string[];
  readonly deno: string;
}

type Environment = Readonly<Record<string, string>>;

/** What the machine has that runs the tests. */
export interface Host {
  /** As `Deno.build.arch` names it. */
  readonly arch: string;
  /** Flags of its processor; none where it is no x64. */
  readonly flags: ReadonlySet<string>;
  /** The Deno that runs this. */
  readonly deno: string;
  /** The environment in which `cpuid_mask.c` works, or why it cannot; asked only where it matters. */
  readonly mask: () => { readonly env: Environment } | { readonly missing: string };
  readonly emulatorOf: (arch: Kind["arch"]) => Emulator | { readonly missing: string };
}

/** Command and environment that a test's arguments are added to. */
export interface Way {
  readonly how: "as it is" | "hidden" | "emulated";
  readonly command: readonly string[];
  readonly env: Environment;
}

/** The quickest way of running as a kind of processor, or why there is none. */
export function wayTo(
  { arch, needs = [], hides = 1, emulated }: Kind,
  host: Host,
): Way | { readonly missing: string } {
  const why: string[] = [];
  if (arch === "x64" && host.arch === "x86_64") {
    const lacking = needs.filter((flag) => !host.flags.has(flag));
    if (lacking.length > 0) why.push(`this processor lacks ${lacking.join(", ")}`);
    else {
      const hidden = HIDDEN.slice(0, hides);
      const hasNone = ![...host.flags].some((flag) => hidden.some((set) => set.test(flag)));
      if (hasNone) return { how: "as it is", command: [host.deno], env: {} };
      const mask = host.mask();
      if ("env" in mask) {
        const env = { ...mask.env, CPUID_LEVEL: `${hides}` };
        return { how: "hidden", command: [host.deno], env };
      }
      why.push(mask.missing);
    }
  }
  if (emulated === undefined) why.push("qemu has none like it");
  else {
    const emulator = host.emulatorOf(arch);
    if (!("missing" in emulator)) {
      const command = [...emulator.command, "-cpu", emulated, emulator.deno];
      return { how: "emulated", command, env: {} };
    }
    why.push(emulator.missing);
  }
  return { missing: why.join("; ") };
}
