/** Identifies the device: a Jetson, another board, or a PC. */
import { join } from "@std/path";
import { readKernelFile } from "./kernel_files.ts";

/** Facts about the device. */
export interface Device {
  /** Model as the device tree or the firmware names it; `undefined` if neither does. */
  readonly model?: string;
  /** NVIDIA's board support package, on a Jetson. */
  readonly l4t?: L4t;
  /** Name or number of the power mode that nvpmodel set, on a Jetson. */
  readonly powerMode?: string;
  /** How the kernel chooses clock rates: `performance`, `powersave`, `schedutil`. */
  readonly governor?: string;
}

/** Release of Jetson Linux (Linux for Tegra). */
export interface L4t {
  /** As `36.4.3`. */
  readonly release: string;
  /** The JetPack of this major number, if known. */
  readonly jetPack?: number;
}

/** JetPack by Jetson Linux's major number. Source: NVIDIA's Jetson Linux archive. */
const JETPACK: Readonly<Record<string, number>> = { "32": 4, "35": 5, "36": 6, "38": 7, "39": 7 };

/**
 * Parses `/etc/nv_tegra_release`, whose first line is like `# R36 (release), REVISION: 4.3, GCID:
 * 38968081, BOARD: generic, …`.
 */
export function parseL4t(text: string): L4t | undefined {
  const [, major, revision] = /R(\d+) \(release\), REVISION: ([\d.]+)/.exec(text) ?? [];
  if (major === undefined) return undefined;
  return { release: `${major}.${revision}`, jetPack: JETPACK[major] };
}

/** @param root root of the system's files; another tree for tests */
export function device(root = "/"): Device {
  const of = (path: string) =>
    readKernelFile(join(root, path))?.replaceAll("\0", "").trim() || undefined;
  const mode = /pmode:0*(\d+)/.exec(of("var/lib/nvpmodel/status") ?? "")?.[1];
  return {
    model: of("proc/device-tree/model") ?? of("sys/class/dmi/id/product_name"),
    l4t: parseL4t(of("etc/nv_tegra_release") ?? ""),
    powerMode: mode,
    governor: of("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
  };
}
