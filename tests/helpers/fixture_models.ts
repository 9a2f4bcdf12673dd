/** Decoded models of the fixtures, and the oracles beside them. */
import { decodeModel } from "../../src/onnx/mod.ts";
import { qoperatorsToQdq } from "../../src/graph/passes/qoperators_to_qdq.ts";
import type { Model } from "../../src/graph/types.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url).pathname;

/** Folder of a tiny model. */
export const modelDir = (name: string) => `${FIXTURES}models/${name}`;

/** Folder of an oracle. */
export const referenceDir = (name: string) => `${FIXTURES}reference/${name}`;

/** The model that graft embeds. */
export const MINILM_DIR = new URL("../../models/all-minilm-l6-v2-int8", import.meta.url).pathname;

/** Reads `model.onnx` of a folder with its external data, as graft's verbs do. */
export function readModel(dir: string): Model {
  const file = `${dir}/model.onnx`;
  const data = new Map<string, Uint8Array>();
  const decoded = decodeModel(Deno.readFileSync(file), {
    file,
    external({ location, offset, length }) {
      let bytes = data.get(location);
      if (bytes === undefined) data.set(location, bytes = Deno.readFileSync(`${dir}/${location}`));
      return bytes.subarray(offset, offset + length);
    },
  });
  return qoperatorsToQdq(decoded);
}
