/**
 * Takes packed weights apart once, before the first step, instead of in every call that reads them:
 * 4-bit codes become a byte each, and what is left in the calls is one DequantizeLinear. The numbers
 * are the same to the bit; a weight takes a byte instead of half of one.
 */
import { typeIn } from "../graph/facts.ts";
import { prune } from "../graph/passes/prune.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";
import { Derivations, type DerivedGraph } from "./derivations.ts";

/** Elements below which a value stays where it is computed: zero points of a few blocks. */
const LEAST_ELEMENTS = 1024;

/**
 * @param lowered graph of float operators
 * @param trainable initializers that change
 * @param except nodes whose results are needed as they are (those of a head that runs in chunks)
 */
export function unpackWeights(
  lowered: Graph,
  trainable: ReadonlySet<string>,
  except: ReadonlySet<Node> = new Set(),
): DerivedGraph {
  const derivations = new Derivations(lowered, trainable);
  const { frozen, producers } = derivations;
  for (const node of lowered.nodes) {
    if (node.opType !== "DequantizeLinear" || except.has(node)) continue;
    const [codes] = node.inputs;
    if (!producers.has(codes) || !frozen.has(codes) || derivations.has(codes)) continue;
    const { dtype, dims } = typeIn(lowered, codes)!;
    if (dtype !== "uint8" && dtype !== "int8" || elementCount(dims) < LEAST_ELEMENTS) continue;
    derivations.add(codes, { label: `codes ${codes}`, names: [codes] }, (_, value) => [value]);
  }
  const derived = new Set(derivations.calls.flatMap(({ fetches }) => [...fetches.values()]));
  if (derived.size === 0) return { graph: lowered, derivations: [], derived };
  const nodes = lowered.nodes.filter(({ outputs }) => !outputs.some((name) => derived.has(name)));
  const graph = verify(prune({ ...lowered, nodes }), "unpackWeights()", derived);
  return { graph, derivations: derivations.calls, derived };
}
