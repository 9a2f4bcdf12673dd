/** Temperatures and batteries, as Linux shows them under `/sys`. */
import { join } from "@std/path";
import { listKernelFolder, readKernelFile } from "./kernel_files.ts";

/** A temperature sensor's reading. */
export interface Temperature {
  /** The kernel's name of the zone, as `cpu-thermal` or `x86_pkg_temp`. */
  readonly name: string;
  readonly celsius: number;
}

/** A battery that powers this machine. */
export interface Battery {
  readonly name: string;
  /** Charge, 0 to 100. */
  readonly percent: number;
  readonly discharging: boolean;
}

/** Range of valid readings; sensors report others if they have no value. */
const PLAUSIBLE = { least: -60, most: 150 };

/** Path of `/sys`; another tree for tests. */
function sysRoot(): string {
  return Deno.env.get("GRAFT_SYSFS") ?? "/sys";
}

/**
 * All thermal zones that can be read now.
 *
 * Source: Documentation/driver-api/thermal/sysfs-api.rst of the Linux kernel (millidegrees Celsius).
 */
export function temperatures(root = sysRoot()): readonly Temperature[] {
  return entriesOf(join(root, "class/thermal")).filter((name) => name.startsWith("thermal_zone"))
    .flatMap((zone) => {
      const path = join(root, "class/thermal", zone);
      const celsius = Number(textOf(join(path, "temp")) ?? NaN) / 1000;
      const plausible = celsius > PLAUSIBLE.least && celsius < PLAUSIBLE.most;
      return plausible ? [{ name: textOf(join(path, "type")) ?? zone, celsius }] : [];
    });
}

/**
 * Batteries of the machine itself; those of its mice and keyboards are left out.
 *
 * Source: Documentation/ABI/testing/sysfs-class-power of the Linux kernel.
 */
export function batteries(root = sysRoot()): readonly Battery[] {
  return entriesOf(join(root, "class/power_supply")).flatMap((name) => {
    const of = (file: string) => textOf(join(root, "class/power_supply", name, file));
    const percent = Number(of("capacity") ?? NaN);
    if (of("type") !== "Battery" || of("scope") === "Device" || Number.isNaN(percent)) return [];
    return [{ name, percent, discharging: of("status") === "Discharging" }];
  });
}

const entriesOf = (directory: string) => listKernelFolder(directory).toSorted();

/** A file's trimmed text; `undefined` if it is missing or, as sensors do, answers with an error. */
const textOf = (path: string) => readKernelFile(path)?.trim();
