import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, graftReacting } from "../helpers/graft.ts";
import { pairs, readMetrics, sha256 } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** A `/sys` with a thermal zone and a battery on mains. */
function fakeSys(path: string, millidegrees: number): string {
  const zone = join(path, "sys/class/thermal/thermal_zone0");
  const battery = join(path, "sys/class/power_supply/BAT0");
  for (const directory of [zone, battery]) Deno.mkdirSync(directory, { recursive: true });
  Deno.writeTextFileSync(join(zone, "type"), "cpu-thermal\n");
  Deno.writeTextFileSync(join(zone, "temp"), `${millidegrees}\n`);
  Deno.writeTextFileSync(join(battery, "type"), "Battery\n");
  Deno.writeTextFileSync(join(battery, "status"), "Charging\n");
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
