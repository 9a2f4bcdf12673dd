/**
 * Plans one segment for all that are alike. The blocks of a model differ only in the names of their weights
 * and activations, so the first block's calls, renamed, serve the others.
 */
import { typeIn } from "../graph/facts.ts";
import type { Node } from "../graph/types.ts";
import type { PlannedCall } from "./call.ts";
import type { Segment } from "./cut.ts";
import { attributesText, shapeText, tensorText } from "../graph/graph_text.ts";
import type { Kept, KeptForm } from "./kept_form.ts";
import { codesName, cotangentName, float16Name, gradientName, scalesName } from "./names.ts";
import {
  type Backward,
  backwardCall,
  forwardCall,
  type PlanContext,
  trainablesOf,
} from "./segment_calls.ts";

/** The calls of a segment. */
export interface SegmentPlanner {
  forward(segment: Segment, kept?: Kept, from?: KeptForm): PlannedCall;
  backward(segment: Segment, options: BackwardOptions): Backward;
}

type BackwardOptions = Parameters<typeof backwardCall>[2];

/** Plans the segments of one lowered graph. */
export function segmentPlanner(context: PlanContext): SegmentPlanner {
  const forwards = new Map<string, { rename: Renaming; call: PlannedCall }>();
  const backwards = new Map<string, { rename: Renaming; backward: Backward }>();
  const planner: SegmentPlanner = {
    forward(segment, kept = new Map(), from = "unchanged") {
      const { text, names, numbers } = signatureOf(context, segment);
      const stored = [...kept].map(([value, form]) => `${numbers.get(value)} ${form}`);
      const key = `${text}\n${stored}\n${from}`;
      const { copyOf } = segment;
      if (!forwards.has(key) && copyOf !== undefined) {
        const original = signatureOf(context, copyOf.segment).names;
        const keptThere = [...kept].map(([value, form]) =>
          [original[numbers.get(value)!], form] as const
        );
        planner.forward(copyOf.segment, new Map(keptThere), from);
      }
      const found = forwards.get(key);
      if (found !== undefined) {
        const rename = found.rename(names);
        return renamed(found.call, rename, `forward to ${segment.output}`);
      }
      const call = forwardCall(context, segment, kept, from);
      forwards.set(key, { rename: renaming(names), call });
      return call;
    },
    backward(segment, options) {
      const { text, names } = signatureOf(context, segment);
      const key = `${text}\n${options.wantInput} ${options.keep} ${options.again}`;
      if (!backwards.has(key) && segment.copyOf !== undefined) {
        planner.backward(segment.copyOf.segment, options);
      }
      const found = backwards.get(key);
      if (found !== undefined) {
        const rename = found.rename(names);
        const { call, kept } = found.backward;
        return {
          ...found.backward,
          call: renamed(call, rename, `backward from ${segment.output}`),
          kept: new Map([...kept].map(([value, form]) => [rename(value), form])),
        };
      }
      const backward = backwardCall(context, segment, options);
      backwards.set(key, { rename: renaming(names), backward });
      return backward;
    },
  };
  return planner;
}

/** A piece of graph apart from its names. */
export interface Signature {
  /** Equal for pieces that differ only in names. */
  readonly text: string;
  /** Names in the order of their first appearance in the text. */
  readonly names: readonly string[];
  readonly numbers: ReadonlyMap<string, number>;
}

const signatures = new WeakMap<Segment, Signature>();

/** The signature of a segment of the context's graph, computed once. */
export function signatureOf(context: PlanContext, segment: Segment): Signature {
  const { nodes, input = "", output, copyOf } = segment;
  const found = signatures.get(segment) ??
    (copyOf === undefined
      ? signature(context, nodes, [input, output, ...trainablesOf(context, segment)])
      : renamedSignature(signatureOf(context, copyOf.segment), copyOf.rename));
  signatures.set(segment, found);
  return found;
}

function renamedSignature(
  { text, names }: Signature,
  rename: (name: string) => string,
): Signature {
  const others = names.map(rename);
  return { text, names: others, numbers: new Map(others.map((name, number) => [name, number])) };
}

/**
 * The signature of some nodes.
 *
 * @param ends values whose role matters in addition to how the nodes use them
 */
export function signature(
  context: Pick<PlanContext, "lowered" | "fed" | "constants">,
  nodes: readonly Node[],
  ends: readonly string[],
): Signature {
  const numbers = new Map<string, number>();
  const lines: string[] = [];
  const numberOf = (name: string): string => {
    if (name === "") return "";
    let found = numbers.get(name);
    if (found === undefined) {
      numbers.set(name, found = numbers.size);
      lines.push(`${found}: ${describe(context, name)}`);
    }
    return String(found);
  };
  for (const node of nodes) {
    const inputs = node.inputs.map(numberOf);
    const outputs = node.outputs.map(numberOf);
    const { domain, opType, attributes } = node;
    lines.push(`${outputs} = ${domain}.${opType}(${inputs}) ${attributesText(attributes)}`);
  }
  const last = ends.map(numberOf);
  return { text: [...lines, last].join("\n"), names: [...numbers.keys()], numbers };
}

/** Everything about a value that planning looks at, apart from what produces and reads it. */
function describe(
  { lowered, fed, constants }: Pick<PlanContext, "lowered" | "fed" | "constants">,
  name: string,
): string {
  const constant = lowered.initializers.get(name);
  if (constant !== undefined) {
    const { dtype, dims } = constant;
    return fed.has(name) ? `${dtype}[${shapeText(dims)}] fed` : tensorText(constant);
  }
  const type = typeIn(lowered, name);
  const shape = shapeText(type?.dims ?? []);
  return `${type?.dtype}[${shape}]${constants.has(name) ? " constant" : ""}`;
}

/** Maps the names of the planned segment to those of a segment like it; other names, such as labels, stay. */
export type Renaming = (to: readonly string[]) => (name: string) => string;

const RELATED_NAMES = [cotangentName, float16Name, codesName, scalesName, gradientName];

/** @param from names in the order of those that will replace them */
export function renaming(from: readonly string[]): Renaming {
  const replacements = new Map<string, (to: readonly string[]) => string>();
  from.forEach((name, i) => {
    replacements.set(name, (to) => to[i]);
    for (const related of RELATED_NAMES) {
      replacements.set(related(name), (to) => related(to[i]));
    }
  });
  return (to) => (name) => replacements.get(name)?.(to) ?? name;
}

/** The call with the names of its feeds and results replaced. */
export function renamed(
  call: PlannedCall,
  rename: (name: string) => string,
  label: string,
): PlannedCall {
  const through = (names: ReadonlyMap<string, string>) =>
    new Map([...names].map(([canonical, name]) => [canonical, rename(name)]));
  return { ...call, label, feeds: through(call.feeds), fetches: through(call.fetches) };
}
