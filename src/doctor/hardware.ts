/** Findings on processor, device, temperature and power. */
import type { Device } from "../system/device.ts";
import type { Battery, Temperature } from "../system/sensors.ts";
import type { Finding } from "./finding.ts";

/** Temperature (°C) from which devices reduce their clock rate. */
const HOT = 85;

/** Instruction sets that the kernels of int8 and float products use, by the kernel's names. */
const SETS = [
  ..."avx2 avx512f avx_vnni avx512_vnni amx_int8 amx_bf16".split(" "),
  ..."asimd asimddp i8mm bf16 sve".split(" "),
];

/** Sets of which at least one is needed for fast float products. */
const LEAST_SETS = ["avx2", "asimd"];

/** Those that multiply 8-bit integers faster than floats. */
const INT8_SETS = ["avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"];

/** Instruction sets of `/proc/cpuinfo` that matter here. */
export function instructionSets(cpuinfo: string): readonly string[] {
  const line = /^(?:flags|Features)\s*: *(.*)$/m.exec(cpuinfo)?.[1] ?? "";
  const all = new Set(line.split(/\s+/));
  return SETS.filter((name) => all.has(name));
}

export function processorFindings(
  { name, threads }: { readonly name: string; readonly threads: number },
  sets: readonly string[],
): readonly Finding[] {
  const found: Finding[] = [{ id: "cpu.cores", level: "ok", what: `${threads} × ${name}` }];
  const what = `Instruction sets: ${sets.join(", ") || "none of those that matter"}`;
  if (!sets.some((set) => LEAST_SETS.includes(set))) {
    found.push({
      id: "cpu.simd",
      level: "warning",
      what,
      advice: "without AVX2 or NEON training is many times slower: prefer another machine",
    });
  } else if (!sets.some((set) => INT8_SETS.includes(set))) {
    found.push({
      id: "cpu.simd",
      level: "hint",
      what,
      advice: "no fast 8-bit products: `--numeric fast` gains less here, " +
        "`graft bench kernels` shows how much",
    });
  } else found.push({ id: "cpu.simd", level: "ok", what });
  return found;
}

export function deviceFindings({ model, l4t, powerMode, governor }: Device): readonly Finding[] {
  const found: Finding[] = [];
  const jetPack = l4t?.jetPack === undefined ? "" : ` (JetPack ${l4t.jetPack})`;
  const linux = l4t === undefined ? "" : `, Jetson Linux ${l4t.release}${jetPack}`;
  found.push({
    id: "device.model",
    level: "ok",
    what: (model ?? "The device reports no model") + linux,
  });
  if (powerMode !== undefined) {
    found.push({
      id: "power.mode",
      level: "hint",
      what: `Power mode ${powerMode} of nvpmodel`,
      advice: "`nvpmodel -q` names it; the mode MAXN (`nvpmodel -m 0` on most boards) is fastest",
    });
  }
  if (governor === "powersave" && l4t === undefined) {
    found.push({
      id: "power.governor",
      level: "hint",
      what: "Clock rates are chosen to save power",
      advice: "`cpupower frequency-set -g performance` makes training faster on some machines",
    });
  }
  return found;
}

export function sensorFindings(
  temperatures: readonly Temperature[],
  batteries: readonly Battery[],
): readonly Finding[] {
  const found: Finding[] = [];
  if (temperatures.length === 0) {
    found.push({
      id: "temperature",
      level: "hint",
      what: "No temperature sensor can be read",
      advice: "`graft train --max-temperature` cannot be used here",
    });
  } else {
    const hottest = temperatures.reduce((a, b) => a.celsius >= b.celsius ? a : b);
    const what = `${temperatures.length} temperature sensors, the hottest ${hottest.name} at ` +
      `${hottest.celsius.toFixed(1)} °C`;
    found.push(
      hottest.celsius < HOT ? { id: "temperature", level: "ok", what } : {
        id: "temperature",
        level: "warning",
        what,
        advice: "it may slow down: cool it, or train with `--max-temperature`",
      },
    );
  }
  for (const { name, percent, discharging } of batteries) {
    found.push({
      id: `power.battery.${name}`,
      level: discharging ? "hint" : "ok",
      what: `Battery ${name} holds ${percent}%${discharging ? " and discharges" : ""}`,
      ...(discharging ? { advice: "training pauses below `--min-battery`" } : {}),
    });
  }
  return found;
}
