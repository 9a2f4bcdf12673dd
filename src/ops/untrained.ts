/** Operators that models run but nothing trains through: they have no rule, but have a kind. */
import { MICROSOFT } from "../graph/types.ts";
import type { FileTraits, Kind } from "./traits.ts";

const KINDS: readonly (readonly [Kind, domain: string, operators: string])[] = [
  ["pooling", "", "LpPool"],
  ["random", "", "Bernoulli Multinomial"],
  ["random", "", "RandomNormal RandomNormalLike RandomUniform RandomUniformLike"],
  ["rounded product", "", "ConvInteger QLinearConv QLinearMatMul"],
  ["rounded product", MICROSOFT, "QGemm"],
];

export const UNTRAINED: readonly {
  readonly domain: string;
  readonly opType: string;
  readonly traits: FileTraits;
}[] = KINDS.flatMap(([kind, domain, operators]) =>
  operators.split(" ").map((opType) => ({ domain, opType, traits: { kind, rows: "mixed" } }))
);
