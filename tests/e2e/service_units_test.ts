import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { unitFiles } from "../../src/service/units.ts";
import { graft, startGraftUnder } from "../helpers/graft.ts";
import { testNeeding, testWithTool, toolMissing } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
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

testNeeding(
  toolMissing("unshare", ["-rm", "true"]),
  "GRAFT_REQUIRE_TOOLS",
  "graft service install writes nothing where systemd does not run, unless it is for later",
  async () => {
    // With empty folders in the place of those that an installation writes to.
    const script = 'for folder in /run /opt /etc; do mount -t tmpfs none "$folder"; done; ' +
      '"$@"; echo "ended with $?"; find /opt /etc -type f';
    const inside = async (...flags: string[]) => {
      const under = ["unshare", "-rm", "sh", "-c", script, "sh"];
      const { stdout, stderr } = await startGraftUnder(under, "service", ...flags).output();
      const decoder = new TextDecoder();
      return { stdout: decoder.decode(stdout).trim(), stderr: decoder.decode(stderr) };
    };
    const exec = ["--exec", "/usr/bin/graft"];
    const refused = await inside("install", ...exec);
    assertStringIncludes(refused.stderr, "systemd does not run here, and nothing was written");
    assertEquals(refused.stdout, "ended with 1");
    const later = await inside("install", "--no-start", ...exec);
    assertStringIncludes(later.stdout, "ended with 0");
    assertStringIncludes(later.stdout, "\n/etc/systemd/system/graft-train.timer");
  },
);

Deno.test("graft service install refuses what the service could not see or is no value", async () => {
  const exec = ["--exec", "/usr/bin/graft", "--dry-run"];
  for (
    const [flags, said] of [
      [["--data", "/home/me/data"], "The services cannot see files in /home"],
      [["--data", "data"], "--data must be an absolute path"],
      [["--exec", "/root/graft"], "The services cannot see files in /root"],
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
