/**
 * The text process: one text processor on standard input and output, for `guarded.ts`.
 *
 * It processes untrusted files, so it has no permission at all: it can neither read nor write files,
 * connect, nor start programs. It ends with its input, and with its parent even while an expression runs
 * endlessly.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { endWithParent } from "../system/own_process.ts";
import { decodeFrames, encodeFrame } from "./guard_frames.ts";
import { type Call, type Reply, SETUP } from "./guard_protocol.ts";
import { packRows } from "./packed_rows.ts";
import type { EncodeOptions } from "./encode.ts";
import type { PlacedRow } from "./dataset.ts";
import { LocalText, type TextFiles } from "./text.ts";

const PERMISSIONS = ["read", "write", "net", "run", "ffi", "env", "sys"] as const;

let text: LocalText | undefined;

/** Collects garbage: building the tables leaves several times their size, which V8 would keep. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  // A compiled program has the function from its start, or cannot get it.
  const gc: unknown = (globalThis as { gc?: unknown }).gc ??
    runInNewContext("typeof gc === 'function' ? gc : undefined");
  if (typeof gc === "function") gc();
}

async function work({ method, args }: Call): Promise<unknown> {
  if (method === SETUP) {
    text = new LocalText(args[0] as TextFiles);
    collectGarbage();
    return { info: text.info, hasTemplate: text.hasTemplate };
  }
  if (method === "encodeRows") {
    return packRows(await text!.encodeRows(...args as [readonly PlacedRow[], EncodeOptions]));
  }
  const run = text![method] as (...args: readonly unknown[]) => Promise<unknown>;
  return await run.call(text, ...args);
}

async function answer(call: Call): Promise<Reply> {
  try {
    return { value: await work(call) };
  } catch (error) {
    const { name, message } = error as Error;
    return { error: { name, message } };
  }
}

function send(reply: Reply): void {
  const frame = encodeFrame(reply);
  for (let done = 0; done < frame.length;) done += Deno.stdout.writeSync(frame.subarray(done));
}

/** Answers calls until its input ends. */
export async function serveText(): Promise<void> {
  endWithParent();
  // The parent handles a terminal's Ctrl-C, and may still need the current result.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => {});
  }
  for (const name of PERMISSIONS) Deno.permissions.revokeSync({ name });
  send({});
  for await (const call of decodeFrames(Deno.stdin.readable, Infinity)) {
    send(await answer(call as Call));
  }
}

if (import.meta.main) {
  await serveText();
  Deno.exit();
}
