/** Small training runs through the command line: data, the command, what it leaves. */
import { join } from "@std/path";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import type { FineTuneInput } from "../../src/finetune/mod.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { modelDir } from "./fixture_models.ts";

const COLOURS = ["red", "green", "blue", "white"];
const THINGS = ["card", "door", "lamp", "coat", "bag"];

/** Prompts whose completion is a word of theirs: something to learn. */
export function pairs(count: number): string {
  return Array.from({ length: count }, (_, i) => {
    const [colour, thing] = [COLOURS[i % 4], THINGS[Math.floor(i / 4) % 5]];
    const prompt = `What colour is the ${colour} ${thing}?`;
    return `${JSON.stringify({ prompt, completion: colour })}\n`;
  }).join("");
}

/** Requests with one of three classes. */
export function requests(count: number): string {
  const rows = Array.from({ length: count }, (_, i) => {
    const thing = THINGS[Math.floor(i / 3) % 5];
    return [
      `lock the ${thing} please,close`,
      `open my ${thing} now,open`,
      `is the ${thing} shut,ask`,
    ][i % 3];
  });
  return ["text,label", ...rows, ""].join("\n");
}

/**
 * A short training of a tiny model into a folder, on rows that it writes there.
 *
 * @param validRows rows to validate on
 */
export function tinyTraining(
  folder: string,
  validRows: number,
  more: Partial<FineTuneInput>,
): FineTuneInput {
  Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(6));
  Deno.writeTextFileSync(join(folder, "valid.jsonl"), pairs(validRows));
  return {
    model: modelDir("tiny-llama-genai-int4"),
    data: folder,
    adapterPath: join(folder, "adapter"),
    batchSize: 3,
    threads: 1,
    ...more,
  };
}

/** A line of `metrics.jsonl`. */
export interface Metric {
  readonly step: number;
  /** Of a report. */
  readonly loss?: number;
  /** Of a report of several ranks. */
  readonly wait_share?: number;
  /** Of an evaluation. */
  readonly val_loss?: number;
}

export function readMetrics(adapter: string): Metric[] {
  return Deno.readTextFileSync(join(adapter, "metrics.jsonl")).trim().split("\n")
    .map((line) => JSON.parse(line));
}

/** All numbers of an adapter's matrices. */
export function adapterNumbers(adapter: string): number[] {
  const file = join(adapter, "adapter_model.safetensors");
  const { tensors } = decodeSafetensors(Deno.readFileSync(file), { file });
  return [...tensors.values()].flatMap((tensor) => Array.from(toNumbers(tensor)));
}

/** SHA-256 of a file, in hexadecimal. */
export async function sha256(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}
