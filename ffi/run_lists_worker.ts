/** A thread that executes lists of runs: see `run_threads.ts`. */
import { canFlushDenormals, flushDenormals } from "./denormals.ts";
import {
  carryOut,
  type EncodedLists,
  type ListEnd,
  type ListFunctions,
  listFunctions,
} from "./run_lists.ts";

/** Messages to the thread: one at the start, and one per list. */
export type Order =
  | { readonly run: bigint; readonly release: bigint }
  | { readonly encoded: EncodedLists; readonly number: number };

declare const self: {
  onmessage: (event: MessageEvent<Order>) => void;
  postMessage(end: ListEnd): void;
};

let functions: ListFunctions;

self.onmessage = ({ data }) => {
  if ("run" in data) {
    if (canFlushDenormals()) flushDenormals();
    functions = listFunctions(data.run, data.release);
  } else self.postMessage(carryOut(data.encoded, data.number, functions));
};
