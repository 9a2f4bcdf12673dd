import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, graftReacting } from "../helpers/graft.ts";
import { pairs, readMetrics, sha256 } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** A `/sys` with a thermal zone and a battery of 5%. */
function fakeSys(path: string, millidegrees: number, batteryIs = "Charging"): string {
  const zone = join(path, "sys/class/thermal/thermal_zone0");
  const battery = join(path, "sys/class/power_supply/BAT0");
  for (const directory of [zone, battery]) Deno.mkdirSync(directory, { recursive: true });
  Deno.writeTextFileSync(join(zone, "type"), "cpu-thermal\n");
  Deno.writeTextFileSync(join(zone, "temp"), `${millidegrees}\n`);
  Deno.writeTextFileSync(join(battery, "type"), "Battery\n");
  Deno.writeTextFileSync(join(battery, "status"), `${batteryIs}\n`);
  Deno.writeTextFileSync(join(battery, "capacity"), "5\n");
  return join(path, "sys");
}

function argsOf(path: string): string[] {
  Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(8));
  return [
    "train",
    ...["--model", modelDir("tiny-llama-genai-int4"), "--data", path, "--threads=1"],
    ...["--iters=4", "--max-temperature=85", "--adapter-path", join(path, "adapters")],
  ];
}

Deno.test("graft train --max-temperature pauses while a sensor is above it and goes on by itself", () =>
  inTempDir(async (path) => {
    const args = argsOf(path);
    const sys = fakeSys(path, 91_500);
    const { code, stderr } = await graftReacting(
      /Paused/,
      () => Deno.writeTextFileSync(join(sys, "class/thermal/thermal_zone0/temp"), "62000\n"),
      { GRAFT_SYSFS: sys },
      ...args,
    );
    assertEquals(code, 0, stderr);
    assertStringIncludes(
      stderr,
      "Paused after step 0: cpu-thermal is at 91.5 °C, --max-temperature is 85",
    );
    assertStringIncludes(stderr, "Going on after step 0");
    const adapter = join(path, "adapters");
    assert(readMetrics(adapter).some((record) => "paused_seconds" in record));
    const hash = await sha256(join(adapter, "adapter_model.safetensors"));

    const straight = await graft(
      ...args.filter((arg) => !arg.startsWith("--max-temperature")),
      "--overwrite",
    );
    assertEquals(straight.code, 0, straight.stderr);
    assertEquals(await sha256(join(adapter, "adapter_model.safetensors")), hash);
  }));

Deno.test("graft train pauses while a battery that is nearly empty discharges, and goes on at the mains", () =>
  inTempDir(async (path) => {
    const sys = fakeSys(path, 40_000, "Discharging");
    const { code, stderr } = await graftReacting(
      /Paused/,
      () => Deno.writeTextFileSync(join(sys, "class/power_supply/BAT0/status"), "Charging\n"),
      { GRAFT_SYSFS: sys },
      ...argsOf(path),
    );
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /Paused after step 0: .*BAT0.* 5%.*--min-battery/);
    assertStringIncludes(stderr, "Going on after step 0");
  }));

Deno.test("graft train --window pauses outside it, says until when, and ends in order when it is stopped", () =>
  inTempDir(async (path) => {
    // An hour that is half a day away from now.
    const hour = (new Date().getHours() + 12) % 24;
    const at = (offset: number) => `${String((hour + offset) % 24).padStart(2, "0")}:00`;
    const { code, stderr } = await graftReacting(
      /Paused/,
      (child) => child.kill("SIGTERM"),
      {},
      ...[
        ...argsOf(path).filter((arg) => !arg.startsWith("--max-temp")),
        "--window",
        `${at(0)}-${at(1)}`,
      ],
    );
    assertEquals(code, 130, stderr);
    assertMatch(stderr, /Paused after step 0: .*--window/);
  }));
