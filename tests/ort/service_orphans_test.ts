import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { ChildSteps } from "../../src/service/child_steps.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const SETTINGS = {
  ...{ model: "base", data: "data", trainConfig: "", validationSplit: 0.1 },
  ...{ runtimeFlags: [], dataFlags: [] },
};

/** A process with graft's words for its arguments; a shell that waits. */
function waiting(cwd: string, ...words: string[]): Deno.ChildProcess {
  const script = "sleep 60; true";
  return new Deno.Command("bash", { args: ["-c", script, "graft", ...words], cwd }).spawn();
}

Deno.test("ChildSteps ends what a killed job left writing in its cycle, and nothing else", () =>
  inTempDir(async (path) => {
    const [own, other] = ["own", "other"].map((name) => join(path, name));
    for (const folder of [own, other]) {
      Deno.mkdirSync(join(folder, "state/cycles/0001"), { recursive: true });
    }
    const cycle = "state/cycles/0001";
    const processes = {
      merging: waiting(own, "merge", "--save-path", join(own, cycle, "model")),
      training: waiting(path, "train", "--adapter-path", join(own, cycle, "adapter")),
      elsewhere: waiting(other, "merge", "--save-path", join(other, cycle, "model")),
      reading: waiting(own, "eval", "model", "--data", join(own, cycle, "data")),
    };
    try {
      const steps = new ChildSteps(SETTINGS, () => {}, AbortSignal.abort());
      await steps.merge(join(own, cycle));
      const signals = await Promise.all(
        [processes.merging, processes.training].map(async ({ status }) => (await status).signal),
      );
      assertEquals(signals, ["SIGKILL", "SIGKILL"]);
      for (const { pid } of [processes.elsewhere, processes.reading]) {
        assertMatch(Deno.readTextFileSync(`/proc/${pid}/stat`), /\) [SR] /); // no zombie
      }
    } finally {
      for (const process of Object.values(processes)) {
        try {
          process.kill("SIGKILL");
        } catch {
          // it has ended
        }
        await process.status;
      }
    }
  }));
