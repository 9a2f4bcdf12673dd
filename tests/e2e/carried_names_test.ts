import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { graft } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

Deno.test("default and quickstart name the embedded model and data in train, merge and run", () =>
  inTempDir(async (path) => {
    const [adapter, merged] = [join(path, "adapter"), join(path, "merged")];
    const trained = await graft(
      ...["train", "--model", "default", "--data", "quickstart", "--adapter-path", adapter],
      ...["--iters=4", "--batch-size=8", "--learning-rate=2e-3", "--val-batches=1", "--threads=1"],
    );
    assertEquals(trained.code, 0, trained.stderr);
    const { code, stderr } = await graft(
      ...["merge", "--model", "default", "--adapter-path", adapter, "--save-path", merged],
      ...["--val-batches=1", "--calibration-tokens=64", "--no-latency", "--threads=1"],
    );
    assertEquals(code, 0, stderr);
    // What it was trained on is found again, so that the merge is measured.
    assert(!stderr.includes("cannot be read"), stderr);
    const { stdout } = await graft("run", merged, "turn on the light");
    assertMatch(stdout, /\t0\.\d+/);
  }));
