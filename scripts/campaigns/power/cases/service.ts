/** A round of the service by `graft service train`, and a rollback. */
import { join } from "@std/path";
import { ServiceState } from "../../../../src/service/state.ts";
import { readInUse } from "../../../../src/service/state_files.ts";
import { modelDir } from "../../../../tests/helpers/fixture_models.ts";
import { graft } from "../../../../tests/helpers/graft.ts";
import { pairs } from "../../../../tests/helpers/training_runs.ts";
import { treeOf, writeTree } from "../folder.ts";
import { graftWords, inTurn } from "../graft_words.ts";
import { digestOfTree } from "../operations.ts";
import { record } from "../record.ts";
import type { PowerCase } from "../replay.ts";

/** What is in use, one after the other, and what says that it is. */
const IN_USE = [null, "0001", null];
const TOLD = /^(Model 0001 is in use now|In use now: )/;
const MORE_ROWS = 60;

/**
 * The model in use is the one before or the one after, whole, and the one that was reported; the next
 * round goes on.
 *
 * @param work folder for what is not recorded
 * @param roundEvery states of which one is given more data and another round
 */
export function serviceCase(work: string, roundEvery: number): PowerCase {
  const [data, config, model, again] = ["data", "train.yaml", "promoted", "again"]
    .map((name) => join(work, name));
  Deno.mkdirSync(data, { recursive: true });
  Deno.writeTextFileSync(join(data, "rows.jsonl"), pairs(40));
  Deno.writeTextFileSync(
    config,
    "iters: 60\nlearning_rate: 0.01\nsave_every: 20\ntarget_modules: [all-linear]\nthreads: 1\n",
  );
  const args = (state: string) => [
    ...["service", "train", "--model", modelDir("tiny-llama-genai-int4"), "--state", state],
    ...["--data", data, "--train-config", config],
  ];
  const stateIn = (root: string) => join(root, "var/state");
  let expected = "";
  let states = 0;
  return {
    name: "graft service",
    onDisk: true,
    async record(root) {
      const state = stateIn(root);
      const recording = await record(
        root,
        inTurn(
          graftWords(...args(state)),
          ["cp", "-r", join(state, "models/0001/model"), model],
          graftWords("service", "rollback", "--state", state),
        ),
      );
      expected = digestOfTree(treeOf(model));
      Deno.writeTextFileSync(join(data, "more.jsonl"), pairs(MORE_ROWS));
      return recording;
    },
    async check(folder, said) {
      const state = stateIn(folder);
      const told = said.filter((line) => TOLD.test(line)).length;
      const isWhole = ({ path }: ReturnType<typeof readInUse>) =>
        path === undefined || digestOfTree(treeOf(path)) === expected;
      if (!isWhole(readInUse(state))) return "the link leads to a torn model";
      {
        using opened = ServiceState.open(state);
        const { inUse } = opened.standing;
        if (![IN_USE[told], IN_USE[told + 1]].includes(inUse)) {
          return `in use is ${inUse} where ${IN_USE[told]} was told`;
        }
        const now = readInUse(state);
        if (now.name !== inUse || !isWhole(now)) return "in use is a torn model";
      }
      if (states++ % roundEvery !== 0) return undefined;
      writeTree(again, treeOf(folder));
      const { code, stdout, stderr } = await graft(...args(stateIn(again)));
      if (code === 0 && /is in use now|rejected/.test(stdout)) return undefined;
      return `the next round ends with ${code}: ${stdout}${stderr}`;
    },
  };
}
