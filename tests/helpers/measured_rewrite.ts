/** Watches from outside what rewriting a model's weights adds to a process. */
import { type ProcessMemory, processMemory } from "../../src/system/memory.ts";
import { USERS_FLAGS } from "./measured_training.ts";
import type { MergeMethod } from "../../src/lora/merge/mod.ts";

/** A rewrite of a model. */
export interface Rewrite {
  /** Folder of the model. */
  readonly model: string;
  /** A way to merge, or quantising to 4 bits. */
  readonly how: MergeMethod | "quantize";
  /** Layers that a made-up adapter of rank 8 changes. */
  readonly targetModules: readonly string[];
  /**
   * Random tokens whose activations are collected, through the model, to steer `compensated` and
   * `8bit`; 0 leaves the collecting out: the former is given made-up sums, the latter none.
   */
  readonly tokens: number;
}

/** What a rewrite added at its peak to what the process had before. */
export interface MeasuredRewrite {
  /** Size of the model's files. */
  readonly sizeBytes: number;
  /** Memory that is the process's own: heaps and stacks. */
  readonly anonymousBytes: number;
  /** Pages of files, which the kernel may drop. */
  readonly fileBytes: number;
  readonly seconds: number;
}

/** How often the kernel's figures are read. */
const INTERVAL_MS = 2;

/** @throws {Error} where the rewrite fails */
export async function measureRewrite(rewrite: Rewrite): Promise<MeasuredRewrite> {
  const script = new URL("rewrite_child.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...USERS_FLAGS, script, JSON.stringify(rewrite)],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const peak = { anonymousBytes: 0, fileBytes: 0 };
  let timer: ReturnType<typeof setInterval> | undefined;
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    timer ??= setInterval(() => {
      const now = processMemory(child.pid);
      if (now === undefined) return;
      peak.anonymousBytes = Math.max(peak.anonymousBytes, now.anonymousBytes);
      peak.fileBytes = Math.max(peak.fileBytes, now.fileBytes);
    }, INTERVAL_MS);
  }
  clearInterval(timer);
  const { code } = await child.status;
  if (code !== 0) throw new Error(`${JSON.stringify(rewrite)} ended with ${code}`);
  const { before, seconds, sizeBytes }: {
    readonly before: ProcessMemory;
    readonly seconds: number;
    readonly sizeBytes: number;
  } = JSON.parse(text.slice(text.indexOf("\n") + 1));
  return {
    sizeBytes,
    anonymousBytes: peak.anonymousBytes - before.anonymousBytes,
    fileBytes: peak.fileBytes - before.fileBytes,
    seconds,
  };
}
