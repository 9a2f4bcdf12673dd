import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import { FleetBox, recordOf, rowsIn } from "../helpers/fleet_boxes.ts";
import { FLEET } from "../helpers/fleet_rounds.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { startGraft } from "../helpers/graft.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { SuperLink } from "../helpers/superlink.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { until } from "../helpers/until.ts";

const MODEL = modelDir("tiny-llama-genai-int4");

const tensorsOf = (folder: string) =>
  decodeSafetensors(Deno.readFileSync(join(folder, "adapter_model.safetensors"))).tensors;

testWithPython(
  ["flwr"],
  "graft fleet join trains in the rounds of a real SuperLink, beside a box of another rank",
  () =>
    inTempDir(async (path) => {
      await using link = await SuperLink.start({ folder: path });
      const [one, two] = [rowsIn(join(path, "rows-1"), 6), rowsIn(join(path, "rows-2"), 8)];
      const state = join(path, "box-1");
      const child = startGraft(
        ...["fleet", "join", link.url, "--insecure", "--state", state, "--threads=1"],
        ...["--model", MODEL, "--data", one, "--save-path", join(path, "kept")],
      );
      const [stdout, stderr] = [child.stdout, child.stderr].map((s) => new Response(s).text());
      const run = join(path, "run");
      {
        await using _box = new FleetBox(join(path, "box-2"), link.url, {
          ...{ model: MODEL, data: two, rank: 2, training: { threads: 1 } },
        });
        await link.run(FLEET, {
          ...{ "rounds": 2, "rank": 4, "learning-rate": 0.01, "max-steps": 3, "batch-size": 3 },
          ...{ "fraction-evaluate": 1, "save-path": run, "round-timeout": 300, "seed": 5 },
        });
        await until("the second round is evaluated", () => {
          const found = recordOf(run).filter((line) => "evaluated" in line);
          return found.length === 2 ? found : undefined;
        }, 240_000);
      }
      child.kill("SIGTERM");
      const [{ code }, notes] = [await child.status, await stderr];
      await stdout;
      assertEquals(code, 0, notes);
      assertMatch(notes, /^Joined http:.* \(Flower 1\.4\d\.\d+\) as node \d+$/m);
      assertEquals(notes.match(/^Round \d: train, stack$/gm)?.length, 2, notes);
      const record = recordOf(run);
      const rounds = record.filter((line) => "replies" in line);
      assertEquals(rounds.map((line) => line.replies), [2, 2], JSON.stringify(record));
      assertEquals(rounds.flatMap((line) => line.rejected), []);
      assertEquals(rounds.map((line) => line["num-examples"]), [14, 14]);
      const losses = record.filter((line) => "evaluated" in line);
      assertEquals(losses.map((line) => line["num-examples"]), [8, 8]);
      assert(Number(losses[1].loss) < Number(losses[0].loss), JSON.stringify(losses));
      // What came last is what the server had made of the last round.
      const [kept, made] = [join(path, "kept"), join(run, "round-0002")].map(tensorsOf);
      assertEquals([...kept.keys()].sort(), [...made.keys()].sort());
      for (const [name, { dims, bytes }] of made) {
        assertEquals(kept.get(name)!.dims, dims);
        assertEquals(kept.get(name)!.bytes, bytes, name);
      }
      // The key is the box's own, and no task is left.
      assertEquals(Deno.statSync(join(state, "key.pem")).mode! & 0o777, 0o600);
      assertEquals([...Deno.readDirSync(state)].map(({ name }) => name).sort(), [
        ...["key.pem", "key.pub", "node.json", "training"],
      ]);
    }),
);
