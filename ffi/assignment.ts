/** The execution provider of each node of a session, if the library reports it. */
import { type Handle, Out, readCString } from "./pointer.ts";
import type { Session } from "./session.ts";
import { unwrap } from "./status.ts";

/** Session configuration entry that makes a session record it. */
export const RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info";

/** First minor release with these functions, according to `onnxruntime_c_api.h`. */
const SINCE = 24;

const SLOTS = {
  // OrtStatus* Session_GetEpGraphAssignmentInfo(const OrtSession* session,
  //   const OrtEpAssignedSubgraph* const** ep_subgraphs, size_t* num_ep_subgraphs)
  Session_GetEpGraphAssignmentInfo: {
    slot: 407,
    parameters: ["pointer", "buffer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* EpAssignedSubgraph_GetEpName(const OrtEpAssignedSubgraph* ep_subgraph,
  //   const char** out)
  EpAssignedSubgraph_GetEpName: { slot: 408, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* EpAssignedSubgraph_GetNodes(const OrtEpAssignedSubgraph* ep_subgraph,
  //   const OrtEpAssignedNode* const** ep_nodes, size_t* num_ep_nodes)
  EpAssignedSubgraph_GetNodes: {
    slot: 409,
    parameters: ["pointer", "buffer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* EpAssignedNode_GetOperatorType(const OrtEpAssignedNode* ep_node, const char** out)
  EpAssignedNode_GetOperatorType: {
    slot: 412,
    parameters: ["pointer", "buffer"],
    result: "pointer",
  },
} as const;

/** A node after the optimisations that precede the assignment to providers. */
export interface AssignedNode {
  /** E.g. `"CUDAExecutionProvider"`. */
  readonly provider: string;
  readonly operator: string;
}

/**
 * The nodes of a session that was created with {@linkcode RECORD_ASSIGNMENT}; `undefined` before release
 * 1.24, which does not report them.
 */
export function assignedNodes(session: Session): AssignedNode[] | undefined {
  const { ort } = session;
  const [major, minor] = ort.version.split(".").map(Number);
  if (major === 1 && minor < SINCE) return undefined;
  const table = new Deno.UnsafePointerView(ort.table);
  const bind = <Name extends keyof typeof SLOTS>(name: Name) => {
    const address = table.getPointer(8 * SLOTS[name].slot);
    return new Deno.UnsafeFnPointer(
      address as Deno.PointerObject<typeof SLOTS[Name]>,
      SLOTS[name],
    );
  };
  const info = bind("Session_GetEpGraphAssignmentInfo");
  const epName = bind("EpAssignedSubgraph_GetEpName");
  const nodesOf = bind("EpAssignedSubgraph_GetNodes");
  const operatorOf = bind("EpAssignedNode_GetOperatorType");

  // The session owns the returned objects.
  const text = (call: (out: BigUint64Array<ArrayBuffer>) => Deno.PointerValue) => {
    const out = new Out();
    unwrap(ort.api, call(out.cell));
    return readCString(out.pointer);
  };
  const list = (
    call: (
      items: BigUint64Array<ArrayBuffer>,
      count: BigUint64Array<ArrayBuffer>,
    ) => Deno.PointerValue,
  ): Handle[] => {
    const items = new Out();
    const count = new Out();
    unwrap(ort.api, call(items.cell, count.cell));
    if (count.number === 0) return [];
    const view = new Deno.UnsafePointerView(items.handle);
    return Array.from({ length: count.number }, (_, i) => view.getPointer(8 * i)!);
  };
  return list((items, count) => info.call(session.handle, items, count)).flatMap((subgraph) => {
    const provider = text((out) => epName.call(subgraph, out));
    return list((items, count) => nodesOf.call(subgraph, items, count)).map((node) => ({
      provider,
      operator: text((out) => operatorOf.call(node, out)),
    }));
  });
}
