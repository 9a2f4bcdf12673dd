/** A service's folder: rounds that train and promote, rollbacks, the journal. */
import { join } from "@std/path";
import { ServiceState } from "../../../../src/service/state.ts";
import {
  type InUse,
  readEarlier,
  readInUse,
  readJournal,
} from "../../../../src/service/state_files.ts";
import { treeOf } from "../folder.ts";
import { digestOfTree, type Recording } from "../operations.ts";
import { recordModule } from "../record.ts";
import type { PowerCase } from "../replay.ts";
import { doRound, rowsOf } from "../rounds_child.ts";

const CHILD = new URL("../rounds_child.ts", import.meta.url);
/** What comes into use, one after the other. */
const IN_USE = ["base", "0001", "0002", "0003", "0002", "base", "0005"];

/**
 * Whoever reads the folder finds the model before or the one after, whole; what was reported stays; a
 * rollback is offered whole models only; the next round goes on and promotes.
 */
export function roundsCase(): PowerCase {
  let isWhole: (model: InUse) => boolean;
  return {
    name: "rounds",
    async record(root): Promise<Recording> {
      const recording = await recordModule(root, CHILD, root);
      const { path } = readInUse(root);
      const last = digestOfTree(treeOf(path!));
      const shape = shapeOf(path!);
      if (!last.includes("config.json")) throw new Error("the last round left no model");
      isWhole = ({ name, path }) =>
        path === undefined || shapeOf(path) === shape && textOf(path) === `model of ${name}`;
      return recording;
    },
    async check(folder, said) {
      const { damage, keptFiles } = readJournal(folder);
      if (damage !== undefined) return `the journal is damaged in line ${damage.line}`;
      if (keptFiles.length > 0) return `the journal was damaged: ${keptFiles}`;
      const told = said.filter((line) => line.startsWith("in use ")).length;
      const before = readInUse(folder);
      if (!isWhole(before)) return `the link leads to a torn model, ${before.name}`;
      const earlier = readEarlier(folder).find((model) => !isWhole(model));
      if (earlier !== undefined) return `a rollback is offered the torn model ${earlier.name}`;
      using state = ServiceState.open(folder);
      const { inUse } = state.standing;
      const expected = [IN_USE[told], IN_USE[told + 1]];
      if (!expected.includes(inUse ?? "base")) return `in use is ${inUse}, and not ${expected}`;
      const now = readInUse(folder);
      if (now.name !== inUse || !isWhole(now)) return `in use is a torn model, ${now.name}`;
      const model = state.standing.promoted.map((name) => ({
        name,
        path: join(state.model(name), "model"),
      })).find((model) => isThere(model.path) && !isWhole(model));
      if (model !== undefined) return `the promoted model ${model.name} is torn`;
      const { outcome, ...more } = await doRound(state, rowsOf(9));
      return outcome === "promoted"
        ? undefined
        : `the next round ${outcome}: ${JSON.stringify(more)}`;
    },
  };
}

/** Names and sizes of a model's files: equal for all models of the rounds. */
function shapeOf(path: string): string {
  return [...treeOf(path)].map(([name, leaf]) =>
    `${name} ${leaf.type === "file" ? leaf.bytes.length : ""}`
  ).sort().join();
}

/** The text that all lines of a model's files have, `undefined` where they differ. */
function textOf(path: string): string | undefined {
  const text = JSON.parse(Deno.readTextFileSync(join(path, "config.json")));
  const lines = ["model.onnx", "weights/layers/0.data"].flatMap((name) =>
    Deno.readTextFileSync(join(path, name)).trimEnd().split("\n")
  );
  return lines.every((line) => line === text) ? text : undefined;
}

function isThere(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}
