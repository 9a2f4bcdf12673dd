/** safetensors: read strictly, and written again. */
import { decodeSafetensors, encodeSafetensors } from "../../../../src/safetensors/mod.ts";
import { type HostileFormat, lazily } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { otherHeader } from "../mutators/headers.ts";

const FIXTURES = new URL("../../../../tests/fixtures/", import.meta.url).pathname;

const TOKENS = [
  ...['"F32"', '"BF16"', '"F4"', '"shape":', '"data_offsets":[0,0],', '"__metadata__":{},'],
  ...['"__proto__":{', '"constructor":{', "[[[[", "{", "}", ",", "-1", "1e400"],
  ...["9007199254740993", "NaN", "null", "../", "\\u0000", "\\", '"'],
];

export const SAFETENSORS: HostileFormat = {
  name: "safetensors",
  seeds: lazily(() =>
    [
      "models/tiny-bert-hf/model.safetensors",
      "reference/tiny-llama-int4.all/adapter_init/adapter_model.safetensors",
      "reference/tiny-bert-fp32.qv/adapter_init/adapter_model.safetensors",
    ].map((path) => Deno.readFileSync(FIXTURES + path))
  ),
  mutate: (random, seeds) =>
    random(2) === 0 ? damaged(seeds, TOKENS, random) : otherHeader(seeds, random),
  probe(file) {
    const { tensors, metadata } = decodeSafetensors(file);
    encodeSafetensors(tensors, metadata);
  },
};
