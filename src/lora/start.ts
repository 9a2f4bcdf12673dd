/** How an adapter's matrices start, in the words of PEFT's `init_lora_weights`. */
import { ParameterError } from "../errors.ts";
import type { LoraInit } from "./config.ts";

/** Where the initial values of A and B come from. */
export type LoraStart =
  | { readonly from: "random"; readonly init: LoraInit }
  /** Singular vectors of the weight; with `iterations`, approximated by as many power iterations. */
  | { readonly from: "pissa"; readonly iterations?: number }
  /** The weight's QR factors. */
  | { readonly from: "olora" }
  /** Singular vectors of what quantisation took from the weight. */
  | { readonly from: "loftq" };

const LORA_INITS: readonly LoraInit[] = ["kaiming", "gaussian", "orthogonal"];

/** All values, for help and messages. */
const LORA_STARTS: readonly string[] = [
  ...LORA_INITS,
  "pissa",
  "pissa_niter_N",
  "olora",
  "loftq",
];

/** Power iterations beyond which nothing changes but the time. */
const MOST_ITERATIONS = 1000;

/** @throws {ParameterError} if the text is none of {@linkcode LORA_STARTS} */
export function parseLoraStart(text: string): LoraStart {
  const init = LORA_INITS.find((name) => name === text);
  if (init !== undefined) return { from: "random", init };
  if (text === "pissa" || text === "olora" || text === "loftq") return { from: text };
  const iterations = Number(/^pissa_niter_(\d+)$/.exec(text)?.[1]);
  if (iterations >= 0 && iterations <= MOST_ITERATIONS) return { from: "pissa", iterations };
  throw new ParameterError(
    "initLoraWeights",
    (name) =>
      `${name("initLoraWeights")} must be one of ${LORA_STARTS.join(", ")} (N power iterations, ` +
      `0 to ${MOST_ITERATIONS}): current value is "${text}"`,
  );
}
