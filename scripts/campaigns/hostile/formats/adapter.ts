/** Adapter folders of every method: both files of each in one; read, merged and run on their base. */
import { concat } from "@std/bytes/concat";
import { adapterOf } from "../../../../src/finetune/adapted_model.ts";
import { addAdapter } from "../../../../src/finetune/add_adapter.ts";
import { type FineTuneInput, resolveConfig } from "../../../../src/finetune/mod.ts";
import { encodeAdapter } from "../../../../src/lora/adapter_files.ts";
import { decodeAdapter } from "../../../../src/lora/adapter_files.ts";
import { applyAdapter, checkBase } from "../../../../src/lora/apply.ts";
import { BadInputError } from "../../../../src/errors.ts";
import { loadOnnx } from "../../../../src/model/load_onnx.ts";
import { type HostileFormat, lazily, RUNNING } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { otherHeader } from "../mutators/headers.ts";
import { otherJson } from "../mutators/json.ts";
import { HOSTILE_WORDS } from "../mutators/words.ts";
import { closeProbes, mergeModel, runModel } from "../probes/model.ts";
import { pick, type Random } from "../random.ts";

const FIXTURES = new URL("../../../../tests/fixtures/", import.meta.url).pathname;
const FOLDERS = ["adapter_init", "adapter_after_10_steps"].map((name) =>
  `${FIXTURES}reference/tiny-llama-int4.all/${name}`
);

/** The configuration's length, the configuration, the tensors. */
function joined(config: Uint8Array, tensors: Uint8Array): Uint8Array {
  return concat([new Uint8Array(Uint32Array.of(config.byteLength).buffer), config, tensors]);
}

function parts(file: Uint8Array): readonly [config: Uint8Array, tensors: Uint8Array] {
  if (file.byteLength < 4) throw new BadInputError("there are no two files");
  const end = 4 + new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  return [file.subarray(4, end), file.subarray(end)];
}

const base = lazily(() => loadOnnx(`${FIXTURES}models/tiny-llama-genai-int4/model.onnx`));

/** What of `graft train` makes an adapter of each method. */
const METHODS: readonly Partial<FineTuneInput>[] = [
  { useDora: true, rank: 2 },
  { adapterType: ["lora", "houlsby"], rank: 2 },
  { adapterType: ["pfeiffer"], reductionFactor: 32 },
  { adapterType: ["prompt_tuning"], numVirtualTokens: 3 },
  { adapterType: ["prefix_tuning"], numVirtualTokens: 3 },
];

/** An adapter of a method before its first step. */
function untrained(method: Partial<FineTuneInput>): Uint8Array {
  const config = resolveConfig({ model: "base", data: "data", ...method });
  const { model } = base();
  const files = encodeAdapter(adapterOf(addAdapter(model, config, undefined), new Map(), {
    baseDigest: `sha256:${"0".repeat(64)}`,
    task: "causal",
    config: {},
  }));
  const [settings, tensors] = ["adapter_config.json", "adapter_model.safetensors"]
    .map((name) => concat([...files.get(name)!]));
  return joined(settings, tensors);
}

/** Patterns that take long, and words for names and numbers. */
const VALUES: readonly unknown[] = [
  ...[null, true, -1, 0, 0.5, 1e300, 2 ** 31, "", [], {}, [[]], [null], ["constructor"]],
  ...[{ ".*.*.*!": 4 }, { "(a+)+$": 4 }, { "__proto__": 8 }, { "constructor": 8 }, { "": 8 }],
  ...[{ "q_proj": 0 }, { "q_proj": 1e9 }, { "\\": 1 }, { "^": 8 }, { [".*".repeat(100)]: 8 }],
  ...HOSTILE_WORDS,
];

function mutant(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  const [config, tensors] = parts(pick(random, seeds));
  switch (random(5)) {
    case 0:
      return joined(
        damaged([config], ['"r":', "[[[[", "{", "}", "1e400", '"', "\\u0000"], random),
        tensors,
      );
    case 1:
      return joined(config, damaged([tensors], [], random));
    case 2:
      return joined(config, otherHeader([tensors], random));
    case 3:
      return joined(otherJson([config], VALUES, random), otherHeader([tensors], random));
    default:
      return joined(otherJson([config], VALUES, random), tensors);
  }
}

async function probe(file: Uint8Array): Promise<void> {
  const [config, tensors] = parts(file);
  const files = new Map([["adapter_config.json", config], ["adapter_model.safetensors", tensors]]);
  const adapter = decodeAdapter(files, "adapter");
  const { model } = base();
  checkBase(adapter, model, "adapter");
  await mergeModel(model, adapter);
  await runModel(applyAdapter(model, adapter).model);
}

export const ADAPTER: HostileFormat = {
  name: "adapter",
  seeds: lazily(() => [
    ...FOLDERS.map((folder) =>
      joined(
        Deno.readFileSync(`${folder}/adapter_config.json`),
        Deno.readFileSync(`${folder}/adapter_model.safetensors`),
      )
    ),
    ...METHODS.map(untrained),
  ]),
  mutate: mutant,
  prepare: async () => await probe(ADAPTER.seeds()[0]),
  probe,
  finish: closeProbes,
  limits: RUNNING,
};
