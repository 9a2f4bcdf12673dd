/**
 * The text process: one text processor on standard input and output, for `guarded.ts`, or grammars, for
 * `guarded_grammars.ts`.
 *
 * It processes untrusted files, so it gives up all permissions before it reads the first: it can then
 * neither read nor write files, connect, nor start programs. It ends with its input, and with its parent
 * even while an expression runs endlessly.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { endWithParent } from "../system/own_process.ts";
import { decodeFrames, encodeFrame } from "./guard_frames.ts";
import type { Grammars } from "./grammar.ts";
import {
  type Call,
  GRAMMAR_SETUP,
  type GrammarMethod,
  type Reply,
  SETUP,
  type TextMethod,
} from "./guard_protocol.ts";
import { packRows } from "./packed_rows.ts";
import type { EncodeOptions } from "./encode.ts";
import type { PlacedRow } from "./dataset.ts";
import { LocalText, type TextFiles } from "./text.ts";
import { Tokenizer } from "./tokenizer.ts";

const PERMISSIONS = ["read", "write", "net", "run", "ffi", "env", "sys"] as const;

/** What answers calls after the first one. */
type Worker = (method: Call["method"], args: readonly unknown[]) => unknown;

let worker: Worker | undefined;

/** Collects garbage: building the tables leaves several times their size, which V8 would keep. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  // A compiled program has the function from its start, or cannot get it.
  const gc: unknown = (globalThis as { gc?: unknown }).gc ??
    runInNewContext("typeof gc === 'function' ? gc : undefined");
  if (typeof gc === "function") gc();
}

function dropPermissions(): void {
  for (const name of PERMISSIONS) Deno.permissions.revokeSync({ name });
}

async function work({ method, args }: Call): Promise<unknown> {
  if (method === SETUP) {
    dropPermissions();
    const text = new LocalText(args[0] as TextFiles);
    worker = textWorker(text);
    collectGarbage();
    return { info: text.info, hasTemplate: text.hasTemplate };
  }
  if (method === GRAMMAR_SETUP) {
    // The library is a file; nothing untrusted has been read yet.
    const create = await (await import("./grammar.ts")).Grammars.load();
    dropPermissions();
    const [files, endIds] = args as [TextFiles, readonly number[]];
    const grammars = await create(new Tokenizer(files).grammarVocabulary(files, endIds));
    worker = grammarWorker(grammars);
    collectGarbage();
    return undefined;
  }
  return await worker!(method, args);
}

function textWorker(text: LocalText): Worker {
  return async (method, args) => {
    if (method === "encodeRows") {
      return packRows(await text.encodeRows(...args as [readonly PlacedRow[], EncodeOptions]));
    }
    const run = text[method as TextMethod] as (...args: readonly unknown[]) => Promise<unknown>;
    return await run.call(text, ...args);
  };
}

function grammarWorker(grammars: Grammars): Worker {
  return (method, args) => {
    const run = grammars[method as GrammarMethod] as (...args: readonly unknown[]) => unknown;
    return run.call(grammars, ...args);
  };
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
  send({});
  for await (const call of decodeFrames(Deno.stdin.readable, Infinity)) {
    send(await answer(call as Call));
  }
}

if (import.meta.main) {
  await serveText();
  Deno.exit();
}
