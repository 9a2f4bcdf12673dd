/** Models that a merge or a quantisation writes, new and in the place of older ones. */
import { dirname, join } from "@std/path";
import { clearLeftovers } from "../../../../src/model/leftovers.ts";
import { StagedDirectory } from "../../../../src/model/staged_directory.ts";
import { exists } from "../../../../src/system/durable_files.ts";
import { treeOf } from "../folder.ts";
import { digestOfTree } from "../operations.ts";
import { record } from "../record.ts";
import type { PowerCase } from "../replay.ts";

export interface ModelCaseOptions extends Pick<PowerCase, "onDisk"> {
  /** Path of the model in the folder. */
  readonly target: string;
  /** Leaves an older model there. */
  readonly old?: (target: string) => void | Promise<void>;
  /** Command line that writes the new one. */
  words(target: string): readonly string[];
  /** Matches what it tells when it is done. */
  readonly done: RegExp;
}

/**
 * The older model is there or the whole new one, the new one once it was reported; nothing else is
 * left once the next merge has cleared up, and that can write.
 */
export function modelCase(
  name: string,
  { target, old, words, done, onDisk }: ModelCaseOptions,
): PowerCase {
  let [before, after] = ["", ""];
  const contentOf = (path: string) => digestOfTree(treeOf(path));
  return {
    name,
    onDisk,
    async record(root) {
      const path = join(root, target);
      await old?.(path);
      before = old === undefined ? "" : contentOf(path);
      const recording = await record(root, words(path));
      after = contentOf(path);
      return recording;
    },
    check(folder, said) {
      const path = join(folder, target);
      const parent = dirname(path);
      clearLeftovers(parent); // as the next merge does
      const isThere = exists(path);
      const found = isThere ? contentOf(path) : "";
      if (found !== before && found !== after) return `a torn model: ${namesIn(path)}`;
      if (said.some((line) => done.test(line)) && found !== after) return "the new model is lost";
      if (exists(parent) && namesIn(parent).length > (isThere ? 1 : 0)) {
        return `left over: ${namesIn(parent)}`;
      }
      using next = new StagedDirectory(path);
      next.write("model.onnx", [new Uint8Array(1)]);
      next.commit(true);
      return undefined;
    },
  };
}

const namesIn = (path: string) => Array.from(Deno.readDirSync(path), ({ name }) => name).sort();
