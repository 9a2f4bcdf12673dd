/** The worker's side of `guarded.ts`: one text processor, asked by message. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort } from "node:worker_threads";
import { ownThread } from "../system/thread_work.ts";
import { type Call, READY, type Reply, SETUP } from "./guard_protocol.ts";
import { LocalText, type TextFiles } from "./text.ts";

let text: LocalText | undefined;

/**
 * Making the tables leaves several times their size behind, which V8 (Deno 2.9) would hold for later
 * use, even past this thread's end.
 */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  // A compiled program has it from its start, or cannot get it.
  const gc: unknown = (globalThis as { gc?: unknown }).gc ??
    runInNewContext("typeof gc === 'function' ? gc : undefined");
  if (typeof gc === "function") gc();
}

async function answer({ id, method, args }: Call): Promise<Reply> {
  try {
    if (method === SETUP) {
      text = new LocalText(args[0] as TextFiles);
      collectGarbage();
      return { id, value: { info: text.info, hasTemplate: text.hasTemplate } };
    }
    const run = text![method] as (...args: readonly unknown[]) => Promise<unknown>;
    return { id, value: await run.call(text, ...args) };
  } catch (error) {
    const { name, message } = error as Error;
    return { id, error: { name, message } };
  }
}

parentPort!.on("message", async (call: Call) => parentPort!.postMessage(await answer(call)));
parentPort!.postMessage({ id: READY, value: ownThread() } satisfies Reply);
