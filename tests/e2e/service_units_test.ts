import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { unitFiles } from "../../src/service/units.ts";
import { graft } from "../helpers/graft.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/training_runs.ts";
import { analyze, GPU_UNIT_SETTINGS, unitExposures } from "../helpers/unit_exposure.ts";

testWithTool(
  "systemd-analyze",
  "the units' exposure is at most 1.5 without a GPU",
  () =>
    inTempDir((folder) => {
      for (const { unit, gpu, exposure, table } of unitExposures(folder)) {
        console.log(`exposure of ${unit} with ${gpu ? "a GPU" : "no GPU"}: ${exposure}`);
        if (!gpu) assert(exposure <= 1.5, table);
      }
      return Promise.resolve();
    }),
);

testWithTool(
  "systemd-analyze",
  "systemd-analyze finds no fault in the units",
  () =>
    inTempDir((folder) => {
      const paths = [...unitFiles({ ...GPU_UNIT_SETTINGS, environment: { A: 'b "c" 100%' } })]
        .map(([name, text]) => {
          Deno.writeTextFileSync(join(folder, name), text);
          return join(folder, name);
        });
      const { code, stderr } = analyze("verify", "--man=no", ...paths);
      assertEquals([code, stderr], [0, ""]);
      return Promise.resolve();
    }),
);

Deno.test("graft service install --dry-run prints the units and writes nothing", async () => {
  const exec = Deno.env.has("GRAFT_BINARY") ? [] : ["--exec", "/usr/bin/graft"];
  const { code, stdout, stderr } = await graft(
    ...["service", "install", "--dry-run", "--schedule", "Sat 03:00", "--socket-mode", "666"],
    ...exec,
  );
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /^# \/etc\/systemd\/system\/graft\.service\n\[Unit\]\n/);
  assertStringIncludes(stdout, "OnCalendar=Sat 03:00");
  assertMatch(stdout, /ExecStart=\S*graft service run --model default --socket-mode 666/);
  assertStringIncludes(stderr, "Nothing was written");
});

Deno.test("graft service install refuses what the service could not see or is no value", async () => {
  const exec = ["--exec", "/usr/bin/graft", "--dry-run"];
  for (
    const [flags, said] of [
      [["--data", "/home/me/data"], "The services cannot see what is in /home"],
      [["--data", "data"], "--data must be an absolute path"],
      [["--exec", "/root/graft"], "The services cannot see what is in /root"],
      [["--socket-mode", "rw"], "--socket-mode must be three octal digits"],
      [["--model", "/nowhere"], 'Cannot load model "/nowhere"'],
      [["--train-config", "/nowhere.yaml"], "Cannot read /nowhere.yaml"],
    ] as const
  ) {
    const words = flags[0] === "--exec" ? ["--dry-run", ...flags] : [...exec, ...flags];
    const { code, stderr } = await graft("service", "install", ...words);
    assert(code === 2 || code === 65, `${flags}: ${code}`);
    assertStringIncludes(stderr, said);
  }
});
