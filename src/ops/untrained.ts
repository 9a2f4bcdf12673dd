/** Operators that models run with and nothing trains through: they have no rule, but are something. */
import { MICROSOFT } from "../graph/types.ts";
import type { FileTraits, Kind } from "./traits.ts";

const KINDS: readonly (readonly [Kind, domain: string, operators: string])[] = [
  ["pooling", "", "LpPool"],
  ["random", "", "Bernoulli Multinomial"],
  ["random", "", "RandomNormal RandomNormalLike RandomUniform RandomUniformLike"],
  ["recurrence", "", "GRU LSTM Loop RNN Scan"],
  ["resampling", "", "Resize Upsample"],
  ["rounded product", "", "ConvInteger QLinearConv QLinearMatMul"],
  ["rounded product", MICROSOFT, "QGemm"],
];

/** By domain and name, as the registry has its rules. */
export const UNTRAINED: ReadonlyMap<string, { readonly traits: FileTraits }> = new Map(
  KINDS.flatMap(([kind, domain, operators]) =>
    operators.split(" ").map((opType) =>
      [`${domain}:${opType}`, { traits: { kind, rows: "mixed" } }] as const
    )
  ),
);
