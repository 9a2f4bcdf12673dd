/** Reads runs of nodes from ONNX Runtime's profiles. */

/** One run of one node. */
export interface NodeRun {
  readonly operator: string;
  /** As ORT lists it. */
  readonly provider: string | undefined;
  /** Milliseconds since the profile began. */
  readonly at: number;
  readonly milliseconds: number;
}

/**
 * The runs of nodes in a profile, which is a list of events: each run has one whose name ends with
 * `_kernel_time`. A subgraph that a provider compiled is one node.
 *
 * @param profile text that ONNX Runtime wrote
 */
export function nodeRuns(profile: string): NodeRun[] {
  const events = JSON.parse(profile) as {
    readonly cat?: string;
    readonly name?: string;
    readonly ts: number;
    readonly dur: number;
    readonly args?: { readonly op_name?: string; readonly provider?: string };
  }[];
  return events.flatMap(({ cat, name, ts, dur, args }) =>
    cat === "Node" && name?.endsWith("_kernel_time") && args?.op_name
      ? [{
        operator: args.op_name,
        provider: args.provider,
        at: ts / 1000,
        milliseconds: dur / 1000,
      }]
      : []
  );
}
