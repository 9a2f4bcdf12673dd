import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { unitFiles, UNITS, type UnitSettings } from "../../src/service/units.ts";
import { graft } from "../helpers/graft.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/training_runs.ts";

const SETTINGS: UnitSettings = {
  exec: ["/bin/true"],
  model: "default",
  data: "/var/lib/graft/data",
  schedule: "*-*-* 02:00:00",
  margin: 0.01,
  keep: 3,
  memoryMax: "60%",
  trainMemoryMax: "60%",
  socketMode: "600",
  devices: [],
  deviceGroups: [],
  environment: {},
};

const GPU = {
  devices: ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"],
  deviceGroups: ["video"],
};

function analyze(...args: string[]) {
  const { code, stdout, stderr } = new Deno.Command("systemd-analyze", { args }).outputSync();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

testWithTool(
  "systemd-analyze",
  "the units' exposure is at most 1.5 without a GPU",
  () =>
    inTempDir((folder) => {
      for (
        const [what, settings] of [["no GPU", SETTINGS], ["a GPU", {
          ...SETTINGS,
          ...GPU,
        }]] as const
      ) {
        for (const [name, text] of unitFiles(settings)) {
          if (name === UNITS.timer) continue;
          const path = join(folder, name);
          Deno.writeTextFileSync(path, text);
          const { stdout, stderr } = analyze("security", "--offline=true", "--no-pager", path);
          const exposure = /exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1];
          assert(exposure !== undefined, stderr);
          console.log(`exposure of ${name} with ${what}: ${exposure}`);
          if (what === "no GPU") assert(Number(exposure) <= 1.5, stdout);
        }
      }
      return Promise.resolve();
    }),
);

testWithTool(
  "systemd-analyze",
  "systemd-analyze finds no fault in the units",
  () =>
    inTempDir((folder) => {
      const paths = [...unitFiles({ ...SETTINGS, ...GPU, environment: { A: 'b "c" 100%' } })]
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
