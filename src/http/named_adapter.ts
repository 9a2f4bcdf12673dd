/** An adapter that requests may name, and how it answers them. */
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import type { WayTimes } from "./compare_ways.ts";
import type { HeldModel } from "./held_model.ts";

/**
 * How adapters answer: `bound`, their matrices are inputs of the base's graph; `merged`, each has a model of
 * its own, once it is made; `auto`, bound at first, and then whichever is faster.
 */
export const ADAPTER_WAYS = ["auto", "bound", "merged"] as const;
export type AdapterWay = typeof ADAPTER_WAYS[number];

/** An adapter as it was read. */
export interface AdapterSource {
  /** As it was given. */
  readonly path: string;
  readonly rank: number;
  /** What the base takes for it; absent if it can only be merged. */
  readonly matrices?: AdapterMatrices;
  readonly way: AdapterWay;
  /** Whether it can be merged. */
  readonly isMergeable: boolean;
}

/** An adapter that answers requests. */
export interface NamedAdapter {
  readonly name: string;
  /** Its number in `/lora-adapters`, in the order of loading. */
  readonly id: number;
  readonly source: AdapterSource;
  /** Number of the change that brought it. */
  readonly generation: number;
  /** Seconds since 1970. */
  readonly created: number;
  /** What answers requests for its name, if it is merged. */
  readonly merged?: HeldModel;
  /** Share of its gain that the merged model keeps, by the certificate. */
  readonly gainKept?: number;
  /** What was measured to choose between both ways. */
  readonly times?: WayTimes;
}

/** A merge in the background. */
export interface AdapterMerge {
  /** Of the adapter. */
  readonly path: string;
  /** `declined`: the base with the adapter's matrices answers faster. */
  readonly state: "running" | "failed" | "declined" | "done";
  /** Why it has failed. */
  readonly error?: string;
}

/** All about a name. */
export interface AdapterEntry {
  readonly name: string;
  readonly id: number;
  /** Absent while its first merge has not ended. */
  readonly current?: NamedAdapter;
  /** What the name will stand for once it is merged. */
  readonly pending?: AdapterSource;
  /** What was replaced, which can be brought back. */
  readonly previous?: AdapterSource;
  /** The last merge. */
  readonly merge?: AdapterMerge;
}
