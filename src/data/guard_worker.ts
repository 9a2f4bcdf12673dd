/** The worker's side of `guarded.ts`: one text processor, asked by message. */
import { parentPort } from "node:worker_threads";
import { type Call, READY, type Reply, SETUP } from "./guard_protocol.ts";
import { LocalText, type TextFiles } from "./text.ts";

let text: LocalText | undefined;

async function answer({ id, method, args }: Call): Promise<Reply> {
  try {
    if (method === SETUP) {
      text = new LocalText(args[0] as TextFiles);
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
parentPort!.postMessage({ id: READY } satisfies Reply);
