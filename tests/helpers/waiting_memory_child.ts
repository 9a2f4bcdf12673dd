/**
 * Runs a graph whose first and last wide values have the same shape and whose wide value between them has
 * another, and prints the predicted peak and the process's growth, in bytes.
 *
 * usage: deno run -A tests/helpers/waiting_memory_child.ts
 */
import { GraphBuilder } from "../../src/graph/builder.ts";
import { int } from "../../src/graph/attributes.ts";
import { asDims } from "../../src/graph/extents.ts";
import { times } from "../../src/graph/extent_arithmetic.ts";
import { Sizes } from "../../src/graph/size.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { graphAt } from "../../src/plan/call_graph.ts";
import { callMemoryAt, callPeak } from "../../src/plan/call_memory.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { processMemory } from "../../src/system/memory.ts";
import { CallSessions } from "../../src/train/call_sessions.ts";

const ROWS = 4096;
const COLUMNS = 1024;
/** With so many copies, a wide value fits into no free memory but that of another. */
const COPIES = 7;
export const WIDE_BYTES = 4 * COPIES * ROWS * COLUMNS;

/** Memory of a run, in bytes. */
export interface WaitingMemory {
  readonly predicted: number;
  readonly grown: number;
}

async function measure(): Promise<WaitingMemory> {
  const sizes = new Sizes(new Map([["rows", ROWS]]));
  const b = new GraphBuilder(inferTraining);
  const rows = sizes.symbol("rows");
  let y = b.input("x", "float32", asDims([rows, COLUMNS]));
  for (const halves of [1, 2, 1]) {
    const part = b.reshape(y, [times(rows, halves), COLUMNS / halves]);
    const wide = b.op("Concat", new Array(COPIES).fill(part), { axis: int(1) });
    y = b.op("Add", [part, b.op("ReduceSum", [wide, b.int64s([1])])]);
  }
  const call = callOf(b, "waiting", new Map([[y, "y"]]));
  const bound = sizes.at(new Map([["rows", ROWS]]))!;
  const { initializers } = graphAt(call, bound);
  using runner = createOrtRunner({ threads: 1 });
  using sessions = new CallSessions(runner);
  const x = float32([ROWS, COLUMNS], new Float32Array(ROWS * COLUMNS));
  const session = await sessions.of(call);
  const feeds = Object.fromEntries(
    [...call.feeds.keys()].map((name) => [
      name,
      runner.upload(initializers.get(name) ?? x),
    ]),
  );
  const before = processMemory().anonymousBytes;
  for (const result of Object.values(await session.run(feeds))) result[Symbol.dispose]();
  return {
    predicted: callPeak(callMemoryAt(call, bound)).bytes,
    grown: processMemory().anonymousBytes - before,
  };
}

if (import.meta.main) console.log(JSON.stringify(await measure()));
